"""How log lines look: text on a terminal, JSON elsewhere; never what was said, a prompt or a secret."""

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from agent.confidential import guard_stderr
from agent.reduction import STANDARD, Reduction, catch_what_nobody_caught
from agent.settings import Settings

MOST_JOBS = 1000
"""Jobs whose session is remembered; the oldest is forgotten for a new one."""

DIGEST_SHOWN = len("sha256:") + 8
"""Characters of a digest that a log line has."""

_ABOUT: ContextVar[Mapping[str, str]] = ContextVar("about", default=MappingProxyType({}))

_TEXT = "%(asctime)s %(levelname)-7s %(name)s  %(message)s"


@contextlib.contextmanager
def about(fields: Mapping[str, str]) -> Iterator[None]:
    """
    Whatever is logged in this block is about one session, also in the tasks and threads that begin in it.

    Args:
        fields: What its lines say of it: `session` and, where they are known, `bundle` and `digest`.
    """
    before = _ABOUT.set(fields)
    try:
        yield
    finally:
        _ABOUT.reset(before)


class _TextFormatter(logging.Formatter):
    """The message, then what belongs to it as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        extra = {k: v for k, v in record.__dict__.items() if k not in STANDARD and _may_show(k, v)}
        line = super().format(record)
        return line + ("  " + " ".join(f"{k}={v}" for k, v in extra.items()) if extra else "")


class SessionFields(logging.Filter):
    """
    Puts the session, bundle and digest on the parent's lines that do not name them.

    Those are of a block that is `about` a session, and the library's about a job's process, which name the
    job alone (livekit-agents 1.8.9). What belongs to a job is seen on the lines of the job itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()  # each job's lines come in a thread of their own
        self._known: dict[str, dict[str, Any]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Every record passes."""
        fields = record.__dict__
        for name, value in _ABOUT.get().items():
            fields.setdefault(name, value)
        job = fields.get("job_id")
        if not isinstance(job, str):
            return True
        said = {name: fields[name] for name in ("session", "bundle", "digest") if name in fields}
        with self._lock:
            known = self._known.pop(job, {}) | said
            if known:
                self._known[job] = known
            if len(self._known) > MOST_JOBS:
                del self._known[next(iter(self._known))]
        for name, value in known.items():
            fields.setdefault(name, value)
        return True


def _may_show(name: str, value: Any) -> bool:
    return not name.startswith("_") and value not in (None, "")


def _dress(handler: logging.Handler, settings: Settings) -> None:
    as_json = settings.log_format == "json" or (settings.log_format is None and not sys.stderr.isatty())
    handler.setFormatter(
        JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s", rename_fields={"levelname": "level"})
        if as_json
        else _TextFormatter(_TEXT, datefmt="%H:%M:%S")
    )
    handler.addFilter(Reduction(settings.modules))


def set_up_before_fork(settings: Settings) -> None:
    """
    In the fork server, which has no handler: what it warns of looks as everything else does.

    By Python's last resort, which jobs do not use: they get a handler of the library's.
    """
    if logging.lastResort is not None:
        _dress(logging.lastResort, settings)
    catch_what_nobody_caught()


def set_up(settings: Settings) -> None:
    """Log to stderr from now on, where nothing that is written any more holds a secret."""
    guard_stderr(settings)
    handler = logging.StreamHandler()
    _dress(handler, settings)
    handler.addFilter(SessionFields())
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    catch_what_nobody_caught()
    for name in (
        "httpx",
        "httpcore",
        "httpx2",
        "httpcore2",
        "aiohttp.access",
        "asyncio",
        "openai",
        "alembic",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)

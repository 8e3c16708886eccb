"""How log lines look: text on a terminal, JSON elsewhere; never what was said, a prompt or a secret."""

import logging
import sys
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from agent.confidential import guard_stderr
from agent.reduction import STANDARD, Reduction, catch_what_nobody_caught
from agent.settings import Settings

_TEXT = "%(asctime)s %(levelname)-7s %(name)s  %(message)s"


class _TextFormatter(logging.Formatter):
    """The message, then what belongs to it as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        extra = {k: v for k, v in record.__dict__.items() if k not in STANDARD and _may_show(k, v)}
        line = super().format(record)
        return line + ("  " + " ".join(f"{k}={v}" for k, v in extra.items()) if extra else "")


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

"""How log lines look: text on a terminal, JSON elsewhere; never what was said, a prompt or a secret."""

import logging
import sys
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from agent.confidential import guard_stderr
from agent.settings import Settings

_TEXT = "%(asctime)s %(levelname)-7s %(name)s  %(message)s"
_STANDARD = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class _TextFormatter(logging.Formatter):
    """The message, then what belongs to it as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        extra = {k: v for k, v in record.__dict__.items() if k not in _STANDARD and _may_show(k, v)}
        line = super().format(record)
        return line + ("  " + " ".join(f"{k}={v}" for k, v in extra.items()) if extra else "")


class _ContentFilter(logging.Filter):
    """Drop what livekit marks as personal: fields named `lk.pii.…`, and lines that hold nothing else."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name in [name for name in record.__dict__ if ".pii." in name or name in ("job", "participant")]:
            del record.__dict__[name]
        return True


def _may_show(name: str, value: Any) -> bool:
    return not name.startswith("_") and ".pii." not in name and value not in (None, "")


def set_up(settings: Settings) -> None:
    """Log to stderr from now on, where nothing that is written any more holds a secret."""
    guard_stderr(settings)
    as_json = settings.log_format == "json" or (settings.log_format is None and not sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s", rename_fields={"levelname": "level"})
        if as_json
        else _TextFormatter(_TEXT, datefmt="%H:%M:%S")
    )
    handler.addFilter(_ContentFilter())
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for name in ("httpx", "httpcore", "httpx2", "aiohttp.access", "asyncio", "openai", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)

"""
Log records without content: what libraries say of exceptions, requests and turns is left out of their lines.

An exception of a provider quotes the request, one of a tool the words of the user, and libraries write both
into their lines. So an exception is its type and its frames here, and a library's line is what stands in the
library's source: the numbers in it stay, its texts do not. Our own lines are written to hold no content.

A filter on handlers, because it sees whole records, whoever made them: in the parent, and in each job, whose
records are plain text by the time they reach the parent.
"""

import contextlib
import inspect
import logging
import sys
import threading
import traceback
from collections.abc import Collection, Iterator
from types import TracebackType
from typing import Any

from livekit.agents import JobProcess

from agent.confidential import without_secrets
from agent.settings import Settings

OURS = ("agent", "config_store")
"""Packages whose messages hold no content, and whose exceptions have a text for people."""

TEXT = "[text]"
"""Stands where a text was left out."""

FIELDS = frozenset({
    "accepted_sources", "agent_name", "call_id", "deployment", "dispatch_id", "error_type", "exception_type",
    "function", "functions", "id", "impl_id", "item_id", "job_id", "label", "language", "llm", "method",
    "model", "packages", "provider", "reason", "region", "request_id", "role", "room", "room_id",
    "rtc-version", "source", "speech_id", "status", "stt", "thread_name", "tool_name", "track_id", "tts",
    "version",
})  # fmt: skip
"""Fields of libraries' lines whose text is a name or an id; of all others only numbers stay."""

STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
"""What every record has; all else in it are fields."""

MOST_FRAMES = 60
"""Of one exception, the last ones; a recursion without end has a thousand."""
MOST_INNER = 10
"""Exceptions of a group, and links of a chain, that are told."""
LEAST_PIECE = 4
"""Characters of the shortest piece of source that says anything in a line."""

_DONE = "_is_reduced"
_SDK_LINE = "%s:%s:%s - %s"
"""How the SDK's native part logs (livekit 1.1.21): place, line, module and a text of its own."""

logger = logging.getLogger(__name__)


class Reduction(logging.Filter):
    """
    Takes content out of records. A record that cannot be looked at becomes a line that says so.

    Args:
        modules: AGENT_MODULES: what they log is their own affair, but for exceptions.
    """

    def __init__(self, modules: Collection[str] = ()) -> None:
        super().__init__()
        self._speaking = (*OURS, *modules)

    def filter(self, record: logging.LogRecord) -> bool:
        """Every record passes, reduced; what a job reduced already is only put in order."""
        if getattr(record, _DONE, False):
            _untie(record)
            return True
        try:
            _reduce(record, speaks=_is_in(record.name, self._speaking))
        except Exception as exc:  # noqa: BLE001 - objects in a record do anything when they are looked at
            for name in record.__dict__.keys() - STANDARD:
                del record.__dict__[name]
            record.msg, record.args = f"a line that could not be read: {_name(type(exc))}", None
            record.exc_info = record.exc_text = record.stack_info = None
        setattr(record, _DONE, True)
        return True


def reduce_job(settings: Settings, _: JobProcess) -> None:
    """In a job's process, before its job: what it logs goes to the parent reduced."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(Reduction(settings.modules))


def catch_what_nobody_caught() -> None:
    """
    From now on, here and in forks, an exception that nobody caught is a log line without its message.

    Unless somebody else has asked to be told of it. It also ends the tracebacks that logging itself prints
    when a line cannot be written: they show its arguments.
    """
    logging.raiseExceptions = False
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _in_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _unraisable
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _at_last


def _in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit:
        _log("a thread ended by an exception", args.exc_value)


def _unraisable(args: "sys.UnraisableHookArgs") -> None:
    _log("an exception came where nobody could catch it", args.exc_value)


def _at_last(kind: type[BaseException], exc: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, exc, trace)
    else:
        _log("the process ends by an exception", exc)


def _log(message: str, exc: BaseException | None) -> None:
    with contextlib.suppress(Exception):  # the interpreter may be half gone
        logger.error(message, exc_info=exc)


def _is_in(name: str, packages: Collection[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _reduce(record: logging.LogRecord, *, speaks: bool) -> None:
    for name in record.__dict__.keys() - STANDARD:
        if ".pii." in name or name in ("job", "participant"):  # what livekit marks as personal
            del record.__dict__[name]
        else:
            record.__dict__[name] = _field(record.__dict__[name], keep=speaks or name in FIELDS)
    record.msg = without_secrets(_spoken(record) if speaks else _written(record))
    record.args = None
    exc = record.exc_info[1] if record.exc_info else None
    is_ours = _is_in(record.name, OURS)
    record.exc_text = without_secrets("\n".join(_told(exc, is_ours=is_ours))) if exc is not None else None
    record.exc_info = None
    frames = [line for line in (record.stack_info or "").splitlines() if line.startswith('  File "')]
    record.stack_info = "\n".join(("Stack (most recent call last):", *frames)) if frames else None


def _untie(record: logging.LogRecord) -> None:
    """A job's record has its traceback a second time, behind the message (livekit-agents 1.8.9)."""
    if record.exc_text and isinstance(record.msg, str):
        record.msg = record.msg.removesuffix(f"\n{record.exc_text}")


def _field(value: Any, *, keep: bool) -> Any:
    """A field as it can be pickled and shown: numbers, texts that may be kept, else what type it has."""
    match value:
        case None | bool():
            return value
        case int():
            return int(value)
        case float():
            return float(value)
        case str():
            return without_secrets(str.__str__(value)) if keep or not value else TEXT
        case list() | tuple() | set() | frozenset() if keep:
            return [_field(each, keep=True) for each in value]
        case dict() if keep:
            return {_field(name, keep=True): _field(each, keep=True) for name, each in value.items()}
    return _name(value if isinstance(value, type) else type(value))


def _spoken(record: logging.LogRecord) -> str:
    """The message of somebody who minds what they say; the exceptions in it by type unless we wrote it."""
    if isinstance(record.args, tuple) and not _is_in(record.name, OURS):
        record.args = tuple(_name(type(a)) if isinstance(a, BaseException) else a for a in record.args)
    if isinstance(record.msg, BaseException):
        return _name(type(record.msg))
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - wrong arguments, or one that cannot be shown
        return str(record.msg)


def _written(record: logging.LogRecord) -> str:
    """A library's message as far as it stands in the library's source, and the numbers that it fills in."""
    message = record.msg
    if not isinstance(message, str):
        return _name(type(message))
    if record.name == "livekit" and message == _SDK_LINE:
        return record.getMessage()
    if record.name == "asyncio" and not record.args:  # made up of the reprs of callbacks and futures
        return message.splitlines()[0].partition("(")[0].partition(": ")[0] if message else ""
    pieces = _source_texts(record)
    if message in pieces:
        return _filled(message, record.args)
    known = [p for p in pieces if " " in p and len(p.strip()) >= LEAST_PIECE and p in message]
    before, piece, after = message.partition(max(known, key=len)) if known else ("", "", message)
    return f"{TEXT if before else ''}{piece}{TEXT if after else ''}"


def _filled(template: str, args: Any) -> str:
    """The message with its numbers; of anything else only that there was something."""
    if not args:
        return template
    shown = (
        {name: _argument(value) for name, value in args.items()}
        if isinstance(args, dict)
        else tuple(map(_argument, args))
    )
    try:
        return template % shown
    except (TypeError, ValueError, KeyError):
        return template


def _argument(value: Any) -> Any:
    return TEXT if isinstance(value, str | bytes) else _field(value, keep=False)


def _source_texts(record: logging.LogRecord) -> list[str]:
    """The texts that stand in the code of the function that logs; none when it is not among the callers."""
    frame = inspect.currentframe()
    while frame is not None:
        code = frame.f_code
        if code.co_filename == record.pathname and code.co_name == record.funcName:
            return [constant for constant in code.co_consts if isinstance(constant, str)]
        frame = frame.f_back
    return []


def _told(exc: BaseException, *, is_ours: bool, seen: frozenset[int] = frozenset()) -> Iterator[str]:
    """An exception's type and frames, behind those of what caused it, before those that it groups."""
    seen |= {id(exc)}
    cause = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    if cause is not None and id(cause) not in seen and len(seen) <= MOST_INNER:
        yield from _told(cause, is_ours=is_ours, seen=seen)
        yield "which led to:" if exc.__cause__ is None else "which caused:"
    yield "Traceback (most recent call last):"
    for frame, line in [*traceback.walk_tb(exc.__traceback__)][-MOST_FRAMES:]:
        yield f'  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_name}'
    has_words = is_ours and _is_in(type(exc).__module__, OURS)
    yield f"{_name(type(exc))}: {exc}" if has_words else _name(type(exc))
    if isinstance(exc, BaseExceptionGroup) and len(seen) <= MOST_INNER:
        for inner in exc.exceptions[:MOST_INNER]:
            yield from (f"  | {line}" for line in _told(inner, is_ours=is_ours, seen=seen))


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"

"""How commands answer: data to stdout, problems to stderr, one line each, or JSON for programs."""

import contextvars
import json
import sys
from typing import Any, NoReturn

import typer

from agent.plain_text import one_line

WRONG_USE = 2
"""Exit status: the caller got something wrong (usage, unknown id, invalid bundle)."""
FAILED = 1
"""Exit status: something failed that the caller asked for rightly."""

_json_wanted: contextvars.ContextVar[bool] = contextvars.ContextVar("json_wanted", default=False)


def want_json(value: bool) -> bool:
    """Remember that this command answers in JSON; use it as the callback of `--json`."""
    _json_wanted.set(value)
    return value


def print_json(value: Any) -> None:
    """One JSON document on stdout, indented on a terminal and compact elsewhere; in UTF-8, else in ASCII."""
    indent = 2 if sys.stdout.isatty() else None
    takes_all = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    sys.stdout.write(json.dumps(value, ensure_ascii=not takes_all, indent=indent) + "\n")


def fail(message: str, code: str = "failed", exit: int = WRONG_USE, as_json: bool | None = None) -> NoReturn:  # noqa: A002
    """
    End the command with one line on stderr, or `{"error": {"code", "message"}}` when JSON was asked for.

    Args:
        message: The place, the cause and the next step, in one line.
        code: A word for programs, such as `unknown_session`.
        exit: Exit status, 2 when the caller got something wrong, 1 when something failed.
        as_json: Whether the answer is JSON; None: what `--json` of this command said.
    """
    if _json_wanted.get() if as_json is None else as_json:
        sys.stderr.write(json.dumps({"error": {"code": code, "message": message}}, ensure_ascii=False) + "\n")
    else:
        sys.stderr.write(f"error: {one_line(message)}\n")
    raise typer.Exit(exit)

"""The standard streams of a command, which may be closed, full, or take no UTF-8."""

import errno
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.cli.output import FAILED, fail

_UNWRITABLE = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Of a pipe that nobody reads, and of a full disk; those of other files have a name and are the command's."""


def prepare(arguments: Sequence[str], *, as_json: bool) -> None:
    """
    Make the streams such that any text can be printed, and end a command with an argument that is no text.

    A character that the encoding of the terminal lacks is shown as its escape. A stream that is closed
    leads nowhere; its number must not go to the next file that is opened, for prints would end up there.

    Args:
        arguments: Of the command line.
        as_json: Whether the command answers in JSON.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - to the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for place, argument in enumerate(arguments, 1):
        if not _is_text(argument):
            shown = argument.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            fail(f"argument {place} is not UTF-8: {shown}", code="usage", as_json=as_json)


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:  # of bytes that could not be read
        return False
    return True


def end_when_unwritable(problem: OSError, *, as_json: bool) -> None:
    """
    End the command when this error is one of writing to stdout, else return.

    Whoever reads a pipe may close it when they have seen enough: that needs no word.
    """
    if problem.errno not in _UNWRITABLE or problem.filename is not None:
        return
    # what is left goes nowhere, or Python would fail with it once more as it ends
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if problem.errno == errno.EPIPE:
        sys.exit(FAILED)
    fail(f"the output cannot be written: {problem.strerror}", code="output", exit=FAILED, as_json=as_json)

"""How a log line looks: for people on a terminal, for programs elsewhere."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SAY = """
import logging
from agent import logs, settings
logs.set_up(settings.load())
extra = {"session": "s-1", "lk.pii.text": "parrot", "empty": ""}
logging.getLogger("agent.test").info("hello", extra=extra)
logging.getLogger("agent.test").debug("not at this level")
"""


def said(on_terminal: bool, **environment: str) -> str:
    """What the worker's logging writes to stderr."""
    master, slave = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", SAY],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=slave if on_terminal else subprocess.PIPE,
            timeout=60,
            check=True,
        )
        return os.read(master, 10_000).decode() if on_terminal else done.stderr.decode()
    finally:
        os.close(slave)
        os.close(master)


def test_text_on_a_terminal() -> None:
    """Time, level, who, what, and what belongs to it as name=value; nothing that is marked as personal."""
    line = said(on_terminal=True).strip()
    assert line.endswith("INFO    agent.test  hello  session=s-1")
    assert "parrot" not in line


@pytest.mark.parametrize("on_terminal", [False, True])
def test_json_elsewhere_or_when_asked(on_terminal: bool) -> None:
    """One object per line where no terminal is, and on one with AGENT_LOG_FORMAT=json."""
    line = said(on_terminal, **({"AGENT_LOG_FORMAT": "json"} if on_terminal else {}))
    found = json.loads(line)
    assert (found["level"], found["name"], found["message"], found["session"]) == (
        "INFO", "agent.test", "hello", "s-1",
    )  # fmt: skip
    assert "parrot" not in line


def test_the_level_is_a_setting() -> None:
    """AGENT_LOG_LEVEL lets lines of a lesser level through, or holds back those of a higher one."""
    assert "not at this level" in said(on_terminal=False, AGENT_LOG_LEVEL="DEBUG")
    assert said(on_terminal=False, AGENT_LOG_LEVEL="WARNING") == ""

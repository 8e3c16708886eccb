"""The caller started by hand, where there is nobody to call; tests/test_docs_run.py has it in a call."""

import json
import subprocess
import sys

import pytest

from agent.services.ports import free_ports


def visit(stdin: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "agent.demo.visit", "hello"],
        input=stdin, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("stdin", ["", "not JSON", "[]", '{"url": "ws://localhost"}'])
def test_without_a_session_it_says_where_one_comes_from(stdin: str) -> None:
    """What is no answer of `agent session start --json` is one line and status 2."""
    done = visit(stdin)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: stdin has no session; pipe `agent session start … --json` into it\n"


def test_a_server_that_is_away_is_one_line() -> None:
    """Nobody at the address: status 1 and the address."""
    url = f"ws://127.0.0.1:{free_ports(1)[0]}"
    done = visit(json.dumps({"url": url, "token": "t"}))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: caller: no connection to {url}")
    assert done.stderr.count("\n") == 1

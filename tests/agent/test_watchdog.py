"""The watchdog kills its own process, so each of these is one; its times are short there."""

import signal
import subprocess
import sys

import pytest

SHORT = """
import asyncio, time
from agent import watchdog
watchdog.LIMIT_SECONDS, watchdog.TICK_SECONDS, watchdog.PAUSE_SECONDS = 0.4, 0.02, 60.0

def tell(what):
    print(what, time.monotonic(), flush=True)

async def main():
    dog = watchdog.Watchdog(lambda: None)
    {does}

asyncio.run(main())
"""


def run(does: str) -> subprocess.CompletedProcess[str]:
    """A process with a watchdog that does this on its event loop."""
    return subprocess.run(
        [sys.executable, "-c", SHORT.format(does=does)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("hangs", "limit", "says"),
    [
        ("time.sleep(600)", 0.4, "the event loop was blocked for 0.4 s"),
        ("await asyncio.sleep(600)", 0.2, "this process did not end by itself"),
    ],
    ids=["a loop that is blocked", "a process that does not leave"],
)
def test_what_hangs_is_killed_after_its_limit_and_what_must_be_safe_is_done_before(
    hangs: str, limit: float, says: str
) -> None:
    """SIGKILL, not before the limit; `last` is called first, and the log says why."""
    leave = 600 if "blocked" in says else limit
    ended = run(f"dog.leave_within({leave}, lambda: tell('last')); tell('hangs'); {hangs}")

    assert ended.returncode == -signal.SIGKILL, ended.stderr
    (began, hung_at), (last, last_at) = (line.split() for line in ended.stdout.splitlines())
    assert (began, last) == ("hangs", "last")
    assert float(last_at) - float(hung_at) > limit - 0.1
    assert says in ended.stderr


def test_a_blocked_loop_is_killed_without_anything_to_be_done_before() -> None:
    """A session that goes on has left nothing to be done: it is killed all the same."""
    ended = run("time.sleep(600)")

    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "")
    assert "blocked" in ended.stderr


def test_a_loop_that_works_for_longer_than_the_limit_is_left_alone() -> None:
    """Many short pieces of work are no block, however long they take together."""
    ended = run(
        "until = time.monotonic() + 3 * watchdog.LIMIT_SECONDS\n"
        "    while time.monotonic() < until:\n"
        "        time.sleep(0.01)\n"
        "        await asyncio.sleep(0)"
    )

    assert (ended.returncode, ended.stderr) == (0, "")

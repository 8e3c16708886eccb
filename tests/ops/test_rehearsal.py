"""The rehearsal before the fork leaves nothing that a fork does not survive."""

import subprocess
import sys
from pathlib import Path

import pytest

BUNDLES = Path(__file__).parent.parent / "e2e" / "bundles"

SCRIPT = """
from agent import settings
from agent.bundles import Bundles
loaded = settings.load()
Bundles(loaded).compile()
import agent.preload
import agent.before_fork
from agent import rehearsal
import threading
print("left", rehearsal.left_behind(), threading.active_count())
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a fork server that is about to load what jobs need."""
    return {
        "PATH": "/usr/bin:/bin",
        "AGENT_BUNDLES": str(BUNDLES),
        "AGENT_DATA": str(tmp_path),
        "AGENT_PREWARM": "offline",
        "AGENT_MODULES": "agent.demo.tools,tests.e2e.tools",
    }


def test_the_rehearsal_plays_and_leaves_no_thread_and_no_native_runtime(environment: dict[str, str]) -> None:
    """After it there is one thread and no runtime of the native library, and nothing was complained about."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment,
        cwd=Path(__file__).parent.parent.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "left [] 1", done.stderr
    assert "rehearsal" not in done.stderr, done.stderr

"""Real job processes killed at random moments: nothing acknowledged is missing, one record each."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

JOBS = 30


def test_no_acknowledged_entry_of_a_killed_job_is_missing(tmp_path: Path) -> None:
    """After SIGKILL of real jobs acknowledged entries are in a record, and each session has exactly one."""
    out = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks.records", "--jobs", str(JOBS), "--times", "0"]
    ran = subprocess.run(
        [*command, "--restarts", "0", "--json", str(out)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr[-3000:]
    found = json.loads(out.read_text())["kills"]
    assert found["missing"] == 0
    assert found["acknowledged"] > JOBS
    assert (found["records"], found["reasons"]) == (JOBS, {"crashed": JOBS})

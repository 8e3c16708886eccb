"""The cores that a worker counts on are those that it may use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cores import cores_within

ROOT = Path(__file__).parent.parent.parent

V2 = "0::/\n"
V1 = "4:memory:/\n3:cpuset:/\n2:cpu,cpuacct:/\n1:name=systemd:/\n"


def made(folder: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    """A list of cgroups and a mount with these files."""
    listed, mount = folder / "cgroup", folder / "mount"
    listed.write_text(membership)
    for name, text in files.items():
        (mount / name).parent.mkdir(parents=True, exist_ok=True)
        (mount / name).write_text(text)
    return listed, mount


def v1(quota: int, folder: str = "cpu") -> dict[str, str]:
    """The files of a quota in microseconds per 100 ms."""
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        (V2, {"cpu.max": "200000 100000\n"}, 2),
        (V2, {"cpu.max": "150000 100000\n"}, 2),
        (V2, {"cpu.max": "1000 100000\n"}, 1),
        (V2, {"cpu.max": "6400000 100000\n"}, 8),
        (V2, {"cpu.max": "max 100000\n"}, 8),
        (V2, {"cpu.max": ""}, 8),
        (V2, {}, 8),
        ("0::/system.slice/agent.service\n", {"system.slice/agent.service/cpu.max": "300000 100000\n"}, 3),
        ("0::/pod/one\n", {"pod/cpu.max": "200000 100000\n", "pod/one/cpu.max": "max 100000\n"}, 2),
        ("0::/outside/of/here\n", {"cpu.max": "250000 100000\n"}, 3),
        ("0::/../other\n", {"cpu.max": "250000 100000\n"}, 3),
        (V1, v1(200_000), 2),
        (V1, v1(50_000), 1),
        (V1, v1(-1), 8),
        ("2:cpu:/docker/abc\n0::/\n", {**v1(-1), **v1(300_000, "cpu/docker/abc")}, 3),
        ("2:cpuacct,cpu:/docker/abc\n", v1(300_000), 3),
        ("2:cpuset:/\n", v1(100_000), 8),
    ],
)  # fmt: skip
def test_a_quota_is_the_limit(tmp_path: Path, membership: str, files: dict[str, str], cores: int) -> None:
    """Of 8 cores, what the tightest quota leaves: both versions, own cgroup and those around it."""
    assert cores_within(8, *made(tmp_path, membership, files)) == cores


def test_without_cgroups_the_cores_are_all(tmp_path: Path) -> None:
    """A system without them has no quota."""
    assert cores_within(8, tmp_path / "none", tmp_path) == 8


def test_the_cap_follows_the_affinity() -> None:
    """A worker that may run on one core takes 6 sessions, however many the machine has."""
    one = min(os.sched_getaffinity(0))
    program = (
        f"import os; os.sched_setaffinity(0, [{one}])\n"
        "from agent.settings import Settings\n"
        "print(Settings().session_cap, Settings(max_sessions=9).session_cap)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["6", "9"]

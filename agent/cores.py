"""How many cores this process may use: often fewer than the machine has, above all in a container."""

import functools
import math
import os
from collections.abc import Iterator
from pathlib import Path

MEMBERSHIP = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")
_V1_FILES = ("cpu.cfs_quota_us", "cpu.cfs_period_us")


@functools.cache
def usable_cores() -> int:
    """Cores that this process may run on, and no more than its quota is worth; as of the first call."""
    affinity = getattr(os, "sched_getaffinity", None)  # not everywhere
    return cores_within(len(affinity(0)) if affinity else os.cpu_count() or 1)


def cores_within(cores: int, membership: Path = MEMBERSHIP, mount: Path = MOUNT) -> int:
    """
    What the CPU quotas of this process's cgroup and of those around it leave, rounded up and at least 1.

    Args:
        cores: Without a quota.
        membership: The list of the process's cgroups, as in `/proc/self/cgroup`; not there: no quota.
        mount: Where cgroups are mounted: version 2, or version 1 with a folder for each controller.
    """
    try:
        lines = membership.read_text().splitlines()
    except (OSError, ValueError):
        lines = []
    quotas = (math.ceil(quota) for line in lines for quota in _quotas(line, mount))
    return max(1, min([cores, *quotas]))


def _quotas(line: str, mount: Path) -> Iterator[float]:
    """In cores, from the outermost cgroup of a line `number:controllers:path` to the process's own."""
    controllers, _, path = line.partition(":")[2].partition(":")
    if controllers and "cpu" not in controllers.split(","):
        return
    folder, files = (mount / "cpu", _V1_FILES) if controllers else (mount, ("cpu.max",))
    # a container may see its own cgroup as the mount, and the path as it is outside
    for name in ("", *(part for part in path.split("/") if part not in ("", ".."))):
        folder /= name
        try:
            quota, period = map(int, " ".join((folder / file).read_text() for file in files).split())
        except (OSError, ValueError):  # not there, or "max"
            continue
        if quota > 0 and period > 0:
            yield quota / period

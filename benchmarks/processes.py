"""
Memory and CPU of a worker: the process, its fork server, its jobs.

Memory is the proportional set size as if nothing else on the machine had mapped the same files: anonymous
pages by the kernel's own share (`Pss_Anon`; processes forked from each other share these), pages of files
once for the whole tree, taken as the largest resident part of each mapping. The kernel's plain PSS shares
file pages with everything else that runs from the same environment, callers included, and flatters.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

MB = 1024.0
"""kB in an MB of these figures."""
_TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """The process and all its descendants that live."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children[int(fields[1])].append(int(entry.name))
    found, left = [], [pid]
    while left:
        one = left.pop()
        found.append(one)
        left += children[one]
    return found


def memory_mb(pids: list[int]) -> float:
    """Memory of these processes together in MB."""
    anonymous = 0.0
    files: dict[tuple[str, str], int] = defaultdict(int)
    for pid in pids:
        try:
            rollup = dict(_fields(Path(f"/proc/{pid}/smaps_rollup")))
            anonymous += rollup.get("Pss_Anon", 0) + rollup.get("Pss_Shmem", 0)
            for path, offset, resident in _mapped_files(pid):
                files[path, offset] = max(files[path, offset], resident)
        except OSError:
            continue
    return (anonymous + sum(files.values())) / MB


def private_mb(pid: int) -> float:
    """What this process alone holds, in MB (USS)."""
    rollup = dict(_fields(Path(f"/proc/{pid}/smaps_rollup")))
    return (rollup.get("Private_Clean", 0) + rollup.get("Private_Dirty", 0)) / MB


def by_role(pids: list[int], calls: int) -> dict[str, dict[str, float]]:
    """
    PSS and USS in MB, by the kernel, of a worker's parent, its fork server and the median job that serves.

    Args:
        pids: All of the worker's processes, as `tree` gives them: the parent first.
        calls: How many of them serve a call; those hold the most of their own.
    """
    parent, *others = pids
    servers = [pid for pid in others if "resource_tracker" not in _command(pid)]
    jobs = sorted((pid for pid in servers if _parent(pid) in servers), key=private_mb)[-calls:]
    roots = [pid for pid in servers if _parent(pid) == parent]
    chosen = {"parent": [parent], "fork server": roots[:1], "job": jobs[len(jobs) // 2 :][:1]}
    return {
        role: {"pss_mb": round(_pss_mb(pid), 1), "uss_mb": round(private_mb(pid), 1)}
        for role, found in chosen.items()
        for pid in found
    }


def _pss_mb(pid: int) -> float:
    return dict(_fields(Path(f"/proc/{pid}/smaps_rollup"))).get("Pss", 0) / MB


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of these processes so far."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def busy_seconds() -> float:
    """CPU time that the whole machine has been busy."""
    fields = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) / _TICKS


def _fields(path: Path) -> Iterator[tuple[str, int]]:
    for line in path.read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        if value.strip().endswith("kB"):
            yield name, int(value.split()[0])


def _mapped_files(pid: int) -> Iterator[tuple[str, str, int]]:
    """(path, offset, kB resident and unchanged) of each mapping of a file."""
    place: tuple[str, str] | None = None
    resident = 0
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        head, _, rest = line.partition(" ")
        if not head.endswith(":"):
            words = rest.split(maxsplit=4)
            path = words[4] if len(words) > 4 else ""
            place = (path, words[1]) if path.startswith("/") else None
        elif place is not None and head == "Rss:":
            resident = int(rest.split()[0])
        elif place is not None and head == "Anonymous:":
            yield place[0], place[1], resident - int(rest.split()[0])

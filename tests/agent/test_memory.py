"""What the allocator is told before a fork."""

import subprocess
import sys

SCRIPT = """
import ctypes
from agent import memory

lib = ctypes.CDLL(None)
lib.malloc.restype = ctypes.c_void_p
lib.malloc.argtypes = [ctypes.c_ssize_t]
lib.free.argtypes = [ctypes.c_void_p]
blocks = [lib.malloc(3000) for _ in range(4000)]
for block in blocks[::2]:
    lib.free(block)
last = max(blocks)
if FILL:
    memory.fill_holes()
print(sum(lib.malloc(size) < last for size in (300, 1000, 3000) for _ in range(200)))
"""


def _blocks_in_holes(*, fill: bool) -> int:
    """How many of 600 new blocks lie among old ones, in a process with 2000 holes."""
    script = SCRIPT.replace("FILL", str(fill))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_after_filling_holes_new_blocks_lie_behind_all_old_ones() -> None:
    """What a job makes after the fork touches no page that it shares; without filling, most of it would."""
    assert _blocks_in_holes(fill=False) > 500
    assert _blocks_in_holes(fill=True) < 30  # the thread's own small cache of free blocks

"""What the allocator of the C library is told, so that processes keep little memory that they do not use."""

import contextlib
import ctypes

_M_ARENA_MAX = -8
"""From malloc.h."""


def give_back() -> None:
    """Return what was freed to the system; a few milliseconds. On other libraries than glibc: nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def one_arena() -> None:
    """All threads of this process share one heap from now on; without it each may get one of its own."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)

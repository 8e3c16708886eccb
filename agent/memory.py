"""What the allocator of the C library is told, so that processes keep little memory that they do not use."""

import contextlib
import ctypes
import sys

_OPTIONS = {
    "MALLOC_ARENA_MAX": (-8, 1),
    "MALLOC_TRIM_THRESHOLD_": (-1, 32 * 1024),
    "MALLOC_TOP_PAD_": (-2, 16 * 1024),
}
"""
By the variable that a new process reads: the option's number in malloc.h, and its value.

All threads share one heap, and of its end little is kept, in bytes: a quarter and an eighth of glibc's own
values, 0.15 MB less for a call. A threshold that is named does not grow with what is freed.
"""
_LARGEST_HOLE = 64 * 1024
_SMALLEST_HOLE = 32
"""Bytes; glibc makes larger blocks outside of the heap, and has none smaller."""


def give_back() -> None:
    """Return what was freed to the system; a few milliseconds. On other libraries than glibc: nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_small() -> None:
    """
    All threads of this process, and of those forked from it, share one heap, and what is freed goes back.

    Without it each thread may get a heap of its own. On other libraries than glibc: nothing.
    """
    with contextlib.suppress(OSError, AttributeError):
        for option, value in _OPTIONS.values():
            ctypes.CDLL(None).mallopt(option, value)


def small_environment() -> dict[str, str]:
    """The same for a process that is started anew."""
    return {variable: str(value) for variable, (_, value) in _OPTIONS.items()}


def forget_names() -> None:
    """
    Empty the interpreter's cache of names that were looked up; to be called before what calls do is tried.

    For a process that forks others: a name that a call looks up takes the place of one from the imports, and
    the reference that goes costs a private copy of the page around the older name, 0.4 MB for a call. From
    Python 3.12 on the references of such names are not counted, and nothing is done.
    """
    if sys.version_info < (3, 12):
        sys._clear_type_cache()


def fill_holes() -> None:
    """
    Take all that is free inside of the heap and keep it, so that later objects lie close together behind it.

    For a process that forks others: an object that one of them puts into a hole costs it a private copy of
    the whole page around that hole, about 4 MB for a call. The holes cost nothing: their pages stay untouched
    but for a header. On other libraries than glibc: nothing.
    """
    with contextlib.suppress(OSError, AttributeError):
        lib = ctypes.CDLL(None)
        lib.malloc.restype = lib.sbrk.restype = ctypes.c_void_p
        lib.malloc.argtypes = [ctypes.c_size_t]
        lib.sbrk.argtypes = [ctypes.c_ssize_t]
        lib.free.argtypes = [ctypes.c_void_p]
        lib.malloc_trim(0)
        end = lib.sbrk(0) or 0
        size = _LARGEST_HOLE
        while size >= _SMALLEST_HOLE:
            while (block := lib.malloc(size) or end) < end:
                pass  # kept for good
            if block != end:
                lib.free(block)
            size = size * 7 // 8 // 16 * 16 if size > 1024 else size - 16

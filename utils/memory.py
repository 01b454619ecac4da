"""How the C library deals with memory that tensors on a CPU have freed."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # parameters of glibc's mallopt (malloc.h)


def keep_freed_memory(keep: bool = True) -> bool:
    """Let this process keep what it frees and use it again; `keep` False: as glibc does by itself. True where it works.

    By itself glibc gives a large tensor's memory back to the system, and the next tensor takes new memory: page by
    page, each filled with zeros. That is up to half of the time of a training step on a CPU. The price is a process
    that stays as large as it once was. Other C libraries than glibc (of Linux) have no such setting and are left alone.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    largest = 32 << 20  # bytes; where glibc's own threshold ends up after it has seen larger blocks
    settings = (
        ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
        if keep
        else ((_MMAP_MAX, 65536), (_MMAP_THRESHOLD, largest), (_TRIM_THRESHOLD, 2 * largest))
    )
    return all([mallopt(*setting) for setting in settings])

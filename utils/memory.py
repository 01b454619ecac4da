"""How much memory there is, and what the C library does with what tensors on a CPU have freed."""

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8  # parameters of glibc's mallopt (malloc.h)


def keep_freed_memory(keep: bool = True) -> bool:
    """Make the allocator of this process keep freed memory for reuse; with `keep` False, restore glibc's behavior.

    Returns whether that is possible: only glibc (Linux) has such a setting. The price is that the process does not
    shrink.
    """
    # By default glibc returns the memory of a large tensor to the system as soon as it is freed, and the next tensor
    # takes new pages, which the system fills with zeros one by one. That is up to half of the time of a training step.
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # glibc raises its threshold with the blocks that it sees, up to 32 MiB. A fixed one can only be restored to that.
    largest = 32 << 20
    # Threads other than the first one would get memory of their own, in pieces of 64 MiB that are always returned.
    settings = (
        ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_ARENA_MAX, 1))
        if keep
        else ((_MMAP_MAX, 65536), (_MMAP_THRESHOLD, largest), (_TRIM_THRESHOLD, 2 * largest), (_ARENA_MAX, 0))
    )
    return all([mallopt(*setting) for setting in settings])


def total_memory() -> int:
    """Bytes of main memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

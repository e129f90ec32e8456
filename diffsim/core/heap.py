"""Freed memory kept by the process, so that the next derivative need not ask the system for it again.

A gradient allocates its tape, frees it, and the next gradient allocates the same again.  By default glibc returns what is free at the end
of the heap to the system at every turn; each page is then faulted in anew, which costs more than the arithmetic on it.  Time to allocate,
fill and free 100 arrays of n numbers in a loop, microseconds an array (glibc 2.36, a virtual machine):

=========  =======  ====
n          default  kept
=========  =======  ====
1,000      1.75     0.59
10,000     27       3.2
100,000    640      110
1,000,000  4000     2050
=========  =======  ====

The first transform of a process therefore sets three of glibc's parameters, once: ``M_TRIM_THRESHOLD`` (how much free memory at the end of
the heap is kept), ``M_TOP_PAD`` (how much of it remains when there was more), and ``M_MMAP_THRESHOLD``, as setting any of them ends its
adjustment by glibc: to 32 MB, the largest value glibc would itself arrive at.  Larger arrays for which the heap has no room have mappings
of their own, which go back to the system as they are freed.  Where Linux gives huge pages to those who ask, the heap is first extended by
half of what may be kept (addresses, no memory yet) and asks: a 100,000-number array of a long tape is then written in 91 us instead of
113, and read in 59 instead of 85.

At most a sixteenth of the machine's memory and at most 1 GB is kept.  ``DIFFSIM_KEEP_MB`` sets another bound in megabytes; 0 leaves
the allocator alone.  It is left alone, too, where the user has set it (``MALLOC_TRIM_THRESHOLD_`` and its like, ``GLIBC_TUNABLES``) and
where the C library is another.
"""

import ctypes
import os
import sys

from ..errors import InputError

#: Numbers of the parameters (malloc.h).
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
MB = 1 << 20
#: Share of the machine's memory that is kept, in MB at least and at most.
SHARE, LEAST, MOST = 16, 64, 1024
#: Megabytes that remain when more than the bound is free: well below a heap of another thread (64), which else would never be returned.
PAD = 16
#: Megabytes from which an array has its own mapping.
MAPPED = 32
#: What ``madvise`` is told (mman.h), and the size of a huge page: a larger one is served, too.
MADV_HUGEPAGE, HUGE_PAGE = 14, 2 * MB
#: What ``mallopt`` can be told: it takes an int.
LARGEST = (1 << 31) - 1


def kept_bytes():
    """How much freed memory is to be kept; 0 where the allocator is left alone.

    Raises
    ------
    InputError
        ``DIFFSIM_KEEP_MB`` is no whole number.
    """
    wanted = os.environ.get("DIFFSIM_KEEP_MB")
    if wanted is not None:
        if not wanted.strip().isdecimal():
            raise InputError(f"DIFFSIM_KEEP_MB={wanted!r}: megabytes of freed memory to keep, a whole number; 0 leaves the allocator alone")
        return min(int(wanted) * MB, LARGEST)
    if any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return 0
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        memory = 0
    return min(max(memory // SHARE, LEAST * MB), MOST * MB)


def keep_heap():
    """Tell glibc to keep freed memory; does nothing where the C library is another.

    Returns
    -------
    int
        Bytes kept at most; 0 where nothing was set.
    """
    kept = kept_bytes()
    if not kept or not _is_glibc():
        return 0
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt") or not libc.mallopt(TRIM_THRESHOLD, kept):
        return 0
    libc.mallopt(MMAP_THRESHOLD, min(MAPPED * MB, kept))
    if _huge_pages_on_request():
        _ask_for_huge_pages(libc, kept)
    libc.mallopt(TOP_PAD, min(PAD * MB, kept))
    return kept


def _ask_for_huge_pages(libc, kept):
    """Extend the heap by half of what is to be kept, without touching it, and say that it should be made of huge pages."""
    request = MAPPED * MB // 2
    if kept < 8 * request:
        return
    libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
    start = libc.sbrk(ctypes.c_ssize_t(0))
    libc.mallopt(TOP_PAD, kept // 2)                        # with the request, less than what would be given back at once
    block = libc.malloc(ctypes.c_size_t(request))
    end = libc.sbrk(ctypes.c_ssize_t(0))
    first = -(-start // HUGE_PAGE) * HUGE_PAGE
    if first < end:                                         # else the heap of another thread had room, or memory is limited
        libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), MADV_HUGEPAGE)
    libc.free(ctypes.c_void_p(block))


def _huge_pages_on_request():
    """Whether the system gives huge pages to those who ask: it may give them to all, or to nobody."""
    try:
        with open("/sys/kernel/mm/transparent_hugepage/enabled") as f:
            return "[madvise]" in f.read()
    except OSError:
        return False


def _is_glibc():
    """Whether this process runs on glibc, with addresses of 64 bits."""
    try:
        return sys.maxsize > LARGEST and os.confstr("CS_GNU_LIBC_VERSION").startswith("glibc")
    except (AttributeError, ValueError, OSError):
        return False


__all__ = ["keep_heap", "kept_bytes"]

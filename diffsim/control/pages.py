"""Whether an array was written to, asked of the system instead of its elements.

A guard compares every large array a program closes over with a copy, at every call: 80 MB take 13 ms.  Linux (6.7 and later) can tell
instead whether any page of a range was written to since it last was asked to look: pages are write-protected through userfaultfd in its
asynchronous mode, in which the first write to a page is let through and noted, wherever it comes from, and PAGEMAP_SCAN reads the notes;
80 MB take 5 us.  Where the system cannot, or may not, arrays are compared.

See ``Documentation/admin-guide/mm/userfaultfd.rst`` and ``pagemap.rst`` of the kernel.  Only memory that NumPy allocated itself is watched:
what other processes write to memory they share is not noted.  ``DIFFSIM_WATCH_PAGES=0`` switches this off.
"""

import contextlib
import ctypes
import os
import platform
import sys
import threading
import weakref

import numpy as np

from ..core.bits import DATA, same_bits
from ..core.held import owner

#: Arrays of this many bytes and more are watched: a question costs what comparing this much does.
WATCHED = 1 << 18
#: Arrays watched at most: each may split a mapping of memory, of which a process may have 65,530.
MOST = 4096
SYSCALL = {"x86_64": 323, "aarch64": 282, "riscv64": 282}
#: Requests and flags of linux/userfaultfd.h and linux/fs.h.
API, REGISTER, UNREGISTER, PROTECT, SCAN = 0xC018AA3F, 0xC020AA00, 0x8010AA01, 0xC018AA06, 0xC0606610
USER_MODE, VERSION, WP, UNPOPULATED, ASYNC, MODE_WP = 1, 0xAA, 1 << 0, 1 << 13, 1 << 15, 1 << 1
CHECK_ASYNC, IS_WRITTEN = 1 << 1, 1 << 1
_word = ctypes.c_void_p.from_address


class System:
    """What answers questions about pages.

    Raises
    ------
    OSError
        The system cannot, or may not.
    """

    def __init__(self):
        number = SYSCALL.get(platform.machine())
        if not sys.platform.startswith("linux") or number is None or sys.maxsize < 1 << 32:
            raise OSError("not on this system")
        libc = ctypes.CDLL(None, use_errno=True)
        self._ioctl = libc.ioctl
        self._ioctl.argtypes, self._ioctl.restype = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p], ctypes.c_int
        libc.syscall.restype = ctypes.c_long
        self._fault = libc.syscall(ctypes.c_long(number), ctypes.c_int(os.O_CLOEXEC | os.O_NONBLOCK | USER_MODE))
        if self._fault < 0:
            raise OSError(ctypes.get_errno(), "userfaultfd")
        self._map = -1
        try:
            self._ask(self._fault, API, VERSION, WP | UNPOPULATED | ASYNC, 0)
            self._map = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self.close()
            raise

    def close(self):
        """Give up: nothing is watched any more."""
        for file in (self._fault, self._map):
            with contextlib.suppress(OSError):
                os.close(file)

    def _ask(self, file, request, *words):
        if self._ioctl(file, request, (ctypes.c_uint64 * len(words))(*words)) < 0:
            raise OSError(ctypes.get_errno(), "userfaultfd")

    def watch(self, start, size):
        """Note writes to a range of whole pages from now on."""
        self._ask(self._fault, REGISTER, start, size, MODE_WP, 0)
        try:
            self.protect(start, size)
        except OSError:
            self.forget(start, size)
            raise

    def protect(self, start, size):
        """Forget the writes noted so far."""
        self._ask(self._fault, PROTECT, start, size, WP)

    def forget(self, start, size):
        """Watch a range no longer."""
        with contextlib.suppress(OSError):
            self._ask(self._fault, UNREGISTER, start, size)

    def question(self, start, size):
        """A function that tells whether a write to the range was noted; it says so, too, where the system does not answer."""
        found = (ctypes.c_uint64 * 3)()
        words = (ctypes.c_uint64 * 12)(96, CHECK_ASYNC, start, start + size, 0, ctypes.addressof(found), 1, 1, 0, IS_WRITTEN, 0, IS_WRITTEN)
        ioctl, file, place = self._ioctl, self._map, ctypes.addressof(words)

        def written(keep=(found, words)):
            return ioctl(file, SCAN, place) != 0

        return written


class Pages:
    """The whole pages of one array that owns its memory.

    Attributes
    ----------
    generation : int
        Counts how often writes were noted and forgotten: what was known of the array in an earlier generation says nothing of it now.
    """

    def __init__(self, root, system):
        page, begin = os.sysconf("SC_PAGE_SIZE"), _word(id(root) + DATA).value
        self.start = -(-begin // page) * page
        self.end = (begin + root.nbytes) // page * page
        self.generation, self.system, self.begin, self.size = 0, system, begin, root.nbytes
        system.watch(self.start, self.end - self.start)
        self.written = system.question(self.start, self.end - self.start)
        self.root = weakref.ref(root, self._gone)

    def _gone(self, _):
        self.system.forget(self.start, self.end - self.start)
        self.written = _always
        for key in [k for k, p in list(_known.items()) if p is self]:
            _known.pop(key, None)

    def again(self):
        """Forget the writes noted so far; returns the new generation."""
        self.generation += 1
        try:
            self.system.protect(self.start, self.end - self.start)
        except OSError:
            self.written = _always
        return self.generation


def _always():
    return True


class Watcher:
    """``watcher(a)``: whether an array is, bit for bit, what another one was.

    Parameters
    ----------
    x : ndarray
    copy : ndarray
        Contiguous copy of it.
    pages : Pages
        Those of the memory it shows.
    """

    def __init__(self, x, copy, pages):
        self._x, self._copy, self._pages, self._generation = weakref.ref(x), copy, pages, -1
        self._address = address = _word(id(x) + DATA).value
        flat, head, tail = copy.reshape(-1).view(np.uint8), max(pages.start - address, 0), max(address + x.nbytes - pages.end, 0)
        edges = (address, flat[:head]), (address + x.nbytes - tail, flat[x.nbytes - tail:])
        self._edges = [(ctypes.c_char * part.size).from_address(at) if part.size else None for at, part in edges]
        self._bytes = [part.tobytes() for _, part in edges]

    def __call__(self, a):
        pages, copy = self._pages, self._copy
        if a is not self._x() or _word(id(a) + DATA).value != self._address or pages.root() is None:
            return self._equal(a)
        if a.shape != copy.shape or a.dtype != copy.dtype or not a.flags.c_contiguous:
            return False                                    # they may be set
        if self._generation != pages.generation or pages.written():
            return self._looked_at(a)
        return all(part is None or part.raw == kept for part, kept in zip(self._edges, self._bytes, strict=True))

    def _looked_at(self, a):
        pages = self._pages
        with _lock:
            generation = pages.again() if pages.written() else pages.generation
        same = self._equal(a)
        if same:
            self._generation = generation
        return same

    def _equal(self, a):
        copy = self._copy
        return a.__class__ is np.ndarray and a.shape == copy.shape and a.dtype == copy.dtype and same_bits(a, copy)


#: The system once it was asked for, False where it cannot; pages by the id of their array.
_system, _known, _lock = None, {}, threading.Lock()


def watcher(x, copy):
    """A :class:`Watcher` of an array; None where its pages cannot be watched.

    Parameters
    ----------
    x : ndarray
    copy : ndarray
        Contiguous copy of it.
    """
    global _system
    root, owned = owner(x)
    if not owned or type(root) is not np.ndarray or not root.flags.owndata or not root.flags.forc or not x.flags.c_contiguous:
        return None
    if _allocator(root) != "default_allocator":
        return None
    with _lock:
        if _system is None:
            _system = False
            if os.environ.get("DIFFSIM_WATCH_PAGES") != "0":
                with contextlib.suppress(OSError):
                    _system = System()
        if not _system:
            return None
        pages = _known.get(id(root))
        if pages is None and len(_known) >= MOST:
            return None
        if pages is None or pages.root() is not root or (pages.begin, pages.size) != (_word(id(root) + DATA).value, root.nbytes):
            try:
                pages = _known[id(root)] = Pages(root, _system)
            except OSError:
                return None
    return Watcher(x, copy, pages)


def _allocator(x):
    """Name of what allocated an array's memory, as NumPy calls it."""
    core = getattr(np, "_core", None)
    name = getattr(getattr(core, "multiarray", None), "get_handler_name", None)
    return None if name is None else name(x)


def _after_fork():
    """A child process has memory of its own, which nobody watches: what was known holds no more."""
    global _system
    if _system:
        _system.close()
    for pages in list(_known.values()):
        pages.written = _always
    _known.clear()
    _system = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

__all__ = ["WATCHED", "Pages", "System", "Watcher", "watcher"]

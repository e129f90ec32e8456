"""The user's arrays a derivative goes on reading: copied where they are small, locked while the trace runs where they are large.

A locked array is read-only, and so is the array whose memory it shows; writing to either raises at the user's line.  A view that was made
before cannot be locked: samples of the elements tell whether one was written through.
"""

import threading

import numpy as np

from ..errors import MutationError

#: Arrays up to this size (bytes) are copied.
COPY_BYTES = 1 << 16
#: How many elements of a large array are compared to see whether it was written.
SAMPLES = 512

#: id -> [array, how many traces lock it, views of it that wait to be unlocked with it]
_locks, _mutex = {}, threading.Lock()


def owner(x):
    """The array whose memory ``x`` shows, and whether an array owns it at all (a file or a buffer may)."""
    while isinstance(x.base, np.ndarray):
        x = x.base
    return x, x.base is None


def changeable(x):
    """Whether somebody may write to an array, directly or through the array it is a view of."""
    root, owned = owner(x)
    return x.flags.writeable or root.flags.writeable or not owned or id(x) in _locks or id(root) in _locks


def _lock(x):
    with _mutex:
        entry = _locks.get(id(x))
        if entry is not None:
            entry[1] += 1
        elif x.flags.writeable:
            x.flags.writeable = False
            _locks[id(x)] = [x, 1]
        else:
            return False
    return True


def _unlock(x):
    with _mutex:
        entry = _locks[id(x)]
        entry[1] -= 1
        if entry[1]:
            return
        del _locks[id(x)]
        root = _locks.get(id(owner(x)[0]))
        if root is not None:                                # NumPy makes no view writeable before its owner is
            root.append(x)
            return
        for each in (x, *entry[2:]):
            each.flags.writeable = True


def _samples(x):
    step = max(x.size // SAMPLES, 1)
    return x.flat[::step]


def _same(a, b):
    return a.tobytes() == b.tobytes()


class Held:
    """The large arrays of one trace.

    Parameters
    ----------
    lasting : bool
        Whether what the trace leaves is used after it ends, while the arrays may be written again: they are then copied, once each.
    """

    __slots__ = ("_copies", "_known", "_locked", "lasting")

    def __init__(self, lasting=False):
        self.lasting, self._locked, self._known, self._copies = lasting, [], {}, {}

    def keep(self, x):
        """``x``, or a copy of it, safe from later writes by the user."""
        if x.nbytes <= COPY_BYTES:
            return x.copy()
        if not changeable(x):
            return x
        root, owned = owner(x)
        if not owned:
            return x.copy()
        known = self._known.get(id(x))
        now = _samples(x)
        if known is None:
            for each in (root, x) if root is not x else (x,):
                if _lock(each):
                    self._locked.append(each)
            self._known[id(x)] = x, now
        elif not _same(known[1], now):
            if not self.lasting:
                raise _changed(x)
            self._known[id(x)] = x, now
            self._copies.pop(id(x), None)
        if not self.lasting:
            return x
        copy = self._copies.get(id(x))
        if copy is None:
            copy = self._copies[id(x)] = x.copy()
        return copy

    def release(self):
        """Make the arrays writeable again."""
        for x in self._locked:                              # owners stand before their views
            _unlock(x)
        self._locked.clear()

    def check(self):
        """Raise if an array was written through a view made before.

        Raises
        ------
        MutationError
        """
        if not self.lasting:
            for x, then in self._known.values():
                if not _same(then, _samples(x)):
                    raise _changed(x)


def _changed(x):
    return MutationError(
        f"an array of shape {x.shape} from outside the function was read by it and then written through another view of the same memory "
        f"while its derivative was recorded. Create that array inside the function (np.zeros, np.empty), or use a copy of it each time.")


__all__ = ["Held", "changeable", "owner"]

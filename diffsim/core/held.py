"""The user's arrays a derivative goes on reading: copied where they are small, locked while the trace runs where they are large.

A locked array is read-only, and so is the array whose memory it shows; writing to either raises at the user's line.  A view that was made
before cannot be locked.  Whether one was written through tell sums of the bits of all elements, taken when the array is first read and at
the end of the trace (some 0.7 ms for 8 MB each time), and, where a copy is kept, the copy.  In between a sample of the elements is
compared at every read: what is missed is a small write that is undone before the trace ends.
"""

import threading

import numpy as np

from ..errors import MutationError

#: Arrays up to this size (bytes) are copied.
COPY_BYTES = 1 << 16
#: How many elements of a large array are compared to see whether it was written.
SAMPLES = 512
#: Length of the rows whose sums are compared.
ROW = 4096

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
    """Bits of some elements; a third of the time where the array lies in order."""
    step = max(x.size // SAMPLES, 1)
    return (x.reshape(-1) if x.flags.c_contiguous else x.flat)[::step].tobytes()


def _words(x):
    """The bits of an array as integers in one dimension, in the order they lie in."""
    flat = x.ravel("K")                                     # a view but for arrays with gaps
    return flat.view(np.uint64 if flat.nbytes % 8 == 0 else np.uint8)


def digest(x):
    """Sums over the rows and over the columns of the bits of an array, laid out in rows: no change of one element leaves them equal."""
    words = _words(x)
    n = words.size - words.size % ROW
    rows = words[:n].reshape(-1, ROW)
    return rows.sum(1, dtype=np.uint64).tobytes() + rows.sum(0, dtype=np.uint64).tobytes() + words[n:].tobytes()


class Held:
    """The large arrays of one trace.

    Parameters
    ----------
    lasting : bool
        Whether what the trace leaves is used after it ends, while the arrays may be written again: they are then copied, once each.
    """

    __slots__ = ("_copies", "_digests", "_known", "_locked", "lasting")

    def __init__(self, lasting=False):
        self.lasting, self._locked, self._known, self._copies, self._digests = lasting, [], {}, {}, {}

    def keep(self, x):
        """``x``, or a copy of it, safe from later writes by the user."""
        if x.nbytes <= COPY_BYTES:
            return x.copy()
        if not changeable(x):
            return x
        root, owned = owner(x)
        if not owned:
            return x.copy()
        if id(x) not in self._known:
            for each in (root, x) if root is not x else (x,):
                if _lock(each):
                    self._locked.append(each)
        return self._copied(x) if self.lasting else self._watched(x)

    def _copied(self, x):
        """A copy of what the array holds now, shared by all reads until it changes."""
        copy = self._copies.get(id(x))
        if copy is None or not np.array_equal(_words(x), _words(copy)):
            copy = self._copies[id(x)] = x.copy("K")
        self._known[id(x)] = x, None
        return copy

    def _watched(self, x):
        """The array itself, known from now on by its digest and its samples."""
        known, now = self._known.get(id(x)), _samples(x)
        if known is None:
            self._known[id(x)], self._digests[id(x)] = (x, now), digest(x)
        elif known[1] != now:
            raise _changed(x)
        return x

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
            for x, _ in self._known.values():
                if self._digests[id(x)] != digest(x):
                    raise _changed(x)


def _changed(x):
    return MutationError(
        f"an array of shape {x.shape} from outside the function was read by it and then written through another view of the same memory "
        f"while its derivative was recorded. Create that array inside the function (np.zeros, np.empty), or use a copy of it each time.")


__all__ = ["Held", "changeable", "owner"]

"""Where the elements of a mutable array would lie: strides, flags, the order of results, and ``a.flat``.

A *shadow* is a strided NumPy array over one and the same piece of memory, never read: NumPy itself then says what a view of the real
array would be (contiguous, overlapping, possible at all).
"""

import math

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..core import METHODS, user_line
from ..errors import InputTypeError
from . import indexing
from .stacking import Handle, lift
from .views import Moved, Permute

_MEMORY = np.empty(32, np.uint8)


def c_strides(shape, itemsize):
    """Strides of an array in C order."""
    out, step = [], itemsize
    for s in reversed(shape):
        out.append(step)
        step *= max(s, 1)
    return tuple(reversed(out))


def shadow(shape, dtype, path):
    """A strided array without memory of its own, as the view path ``path`` of an array of this shape and dtype would be."""
    first = np.ndarray((1,), dtype, buffer=_MEMORY)
    s = as_strided(first, shape, c_strides(shape, first.itemsize))
    for step in path:
        s = step.shadow(s)
    return s


def places(shape, path):
    """Where in memory each element of a view lies, counted in elements; an array that itself lies as the view does."""
    at = np.arange(math.prod(shape)).reshape(shape)
    for step in path:
        at = step.read(at)
    return at


def viewable(s, shape, order="C"):
    """Whether NumPy could give a strided array this shape without copying."""
    try:
        np.reshape(s, shape, order, copy=False)
    except ValueError:
        return False
    return True


def out_of_order(path):
    """Whether the memory of a view may be in another order than C."""
    return any(step.__class__ is Permute or step.__class__ is Moved for step in path)


def memory_order(s):
    """Axes of a strided array from the slowest to the fastest; None where that is their own order."""
    shape, strides = s.shape, s.strides
    if len(shape) < 2 or s.size == 0:
        return None
    axes = [i for i in range(len(shape)) if shape[i] != 1]
    ranked = iter(sorted(axes, key=lambda i: -abs(strides[i])))
    order = tuple(i if shape[i] == 1 else next(ranked) for i in range(len(shape)))
    return None if order == tuple(range(len(shape))) else order


def result_order(shadows, shape):
    """Memory order NumPy gives the result of an elementwise operation on operands that lie as the shadows do (its 'K' order)."""
    small = [as_strided(s, [min(n, 2) for n in s.shape], s.strides) for s in shadows]
    if any(s.size == 0 for s in small) or 0 in shape:
        return None
    flags = [["readonly"]] * len(small) + [["writeonly", "allocate"]]
    it = np.nditer([*small, None], ["zerosize_ok"], flags, [*[s.dtype for s in small], "i1"], order="K")
    return memory_order(it.operands[-1])


class Flags:
    """What ``a.flags`` says, by NumPy's names; ``writeable`` may be set to False."""

    __slots__ = ("_array", "_flags")

    def __init__(self, array):
        self._array, self._flags = array, array._shadow().flags

    def __getattr__(self, name):
        return getattr(self._flags, name)

    @property
    def owndata(self):
        return self._array.base is None

    @property
    def writeable(self):
        return self._array._refusal() is None

    @writeable.setter
    def writeable(self, value):
        self._array.setflags(write=bool(value))

    def __getitem__(self, key):
        return {"OWNDATA": self.owndata, "O": self.owndata, "WRITEABLE": self.writeable, "W": self.writeable}.get(key, None) \
            if key in ("OWNDATA", "O", "WRITEABLE", "W") else self._flags[key]

    def __setitem__(self, key, value):
        if key not in ("WRITEABLE", "W"):
            raise InputTypeError(f"{user_line()}: of the flags only WRITEABLE can be set, not {key!r}")
        self.writeable = value

    def __repr__(self):
        names = ("C_CONTIGUOUS", "F_CONTIGUOUS", "OWNDATA", "WRITEABLE", "ALIGNED", "WRITEBACKIFCOPY")
        return "\n".join(f"  {n} : {self[n]}" for n in names)


class FlatIterator(Handle):
    """``a.flat``: the elements in row-major order, read and written through one position.

    Parameters
    ----------
    array : Array
    """

    __slots__ = ("base", "index")
    __hash__ = None

    def __init__(self, array):
        self.base, self.index = array, 0

    @property
    def coords(self):
        return tuple(int(i) for i in np.unravel_index(self.index, self.base.shape)) if self.index < len(self) else self.base.shape

    def __len__(self):
        return self.base.size

    def __iter__(self):
        self.index = 0
        return self

    def __next__(self):
        if self.index >= len(self):
            raise StopIteration
        self.index += 1
        return self[self.index - 1]

    def copy(self):
        """The elements in one dimension, copied."""
        return self.base.flatten()

    def read(self):
        """The elements in one dimension: a tracer or a plain array."""
        return self.copy().read()

    def _at(self, key):
        """Positions a key of one dimension selects."""
        if isinstance(key, tuple) and len(key) == 1:
            key = key[0]
        if key is Ellipsis or (isinstance(key, tuple) and not key):
            key = slice(None)
        if isinstance(key, tuple):
            raise IndexError("unsupported iterator index")
        key = indexing.concrete(lift(key), "an index") if not isinstance(key, slice) else key
        return np.arange(len(self))[key]

    def __getitem__(self, key):
        at = self._at(key)
        picked = self.base[np.unravel_index(at, self.base.shape)] if self.base.ndim else self.base[()] if np.ndim(at) == 0 else \
            self.base.reshape(1)[at]
        return picked

    def __setitem__(self, key, new):
        at, new = self._at(key), lift(new)
        new = new if hasattr(new, "shape") else np.asarray(new)
        n = math.prod(np.shape(at))
        if np.ndim(at) == 0 and math.prod(new.shape) != 1:
            raise ValueError("Error setting single item of array.")
        if n == 0:
            return
        if math.prod(new.shape) == 0:
            raise ValueError("Cannot copy iterator values from an empty array")
        cycled = indexing.take_along(new, lambda p: np.resize(p.ravel(), np.shape(at)))
        if self.base.ndim:
            self.base[np.unravel_index(at, self.base.shape)] = cycled
        else:
            self.base[()] = cycled if np.ndim(at) == 0 else indexing.getitem(cycled, -1)

    def __array__(self, dtype=None, copy=None):
        return self.base.flatten().__array__(dtype, copy)

    def __array_function__(self, func, types, args, kwargs):
        return METHODS["__array_function__"](func, [x.copy() if isinstance(x, FlatIterator) else x for x in args], kwargs)

    def _compare(name):                                     # noqa: N805  (it makes methods)
        def method(self, other):
            return getattr(self.base.flatten(), name)(other)
        return method

    __eq__, __ne__, __lt__, __le__, __gt__, __ge__ = map(_compare, ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"))
    del _compare


__all__ = ["Flags", "FlatIterator", "c_strides", "memory_order", "out_of_order", "places", "result_order", "shadow", "viewable"]

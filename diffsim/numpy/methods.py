"""Methods of traced and mutable arrays: those of ``numpy.ndarray``, and every ufunc of one operand by name.

The latter serve object arrays: NumPy calls ``x.sin()`` on each element of one.  What cannot be had is refused with the reason
(``REFUSED_METHODS``).
"""

import numpy as np

from ..core import FUNCTIONS, METHODS, UFUNCS, Tracer, user_line
from ..errors import DerivativeLost, InputTypeError, MissingRule
from . import indexing
from .array import Array, fresh, holding
from .dispatch import handed, reason_of
from .stacking import lift

_SAME = {"sum": np.sum, "mean": np.mean, "prod": np.prod, "max": np.max, "min": np.min, "any": np.any, "all": np.all, "argmax": np.argmax,
         "argmin": np.argmin, "var": np.var, "std": np.std, "cumsum": np.cumsum, "cumprod": np.cumprod, "clip": np.clip,
         "squeeze": np.squeeze, "swapaxes": np.swapaxes, "ravel": np.ravel, "take": np.take, "repeat": np.repeat,
         "diagonal": np.diagonal, "trace": np.trace, "round": np.round, "dot": np.dot, "ptp": np.ptp, "nonzero": np.nonzero,
         "argsort": np.argsort, "argpartition": np.argpartition, "searchsorted": np.searchsorted, "choose": np.choose, "put": np.put}

_BYTES = "it reads the bytes of the numbers, which a traced value does not have"
_MEMORY = "it hands out memory, which other code could write to without this array noticing; pass np.array(x) instead"

#: Methods and attributes of ``numpy.ndarray`` that traced and mutable arrays do not have, and why.
REFUSED_METHODS = {
    "byteswap": _BYTES, "getfield": _BYTES + "; use x.real and x.imag", "setfield": _BYTES + "; write x.real[...] or x.imag[...]",
    "ctypes": _MEMORY, "data": _MEMORY,
    "dump": "it writes a file; do that with plain values outside the transform",
    "dumps": "it writes bytes; do that with plain values outside the transform",
    "tofile": "it writes a file; do that with plain values outside the transform",
    "resize": "it changes the size of memory that views may share; write x = np.resize(x, shape)",
}


def _forward(function):
    def method(self, *args, **kwargs):
        rule = FUNCTIONS.get(function)
        if rule is None:
            raise MissingRule(f"ndarray.{function.__name__}", "derivative", f"{user_line()}: {reason_of(function) or 'it has no rule'}")
        return handed(rule(self, *args, **kwargs), 3)
    return method


def _ufunc_method(ufunc):
    def method(self):
        y = UFUNCS[ufunc](self)
        return fresh(y) if self.__class__ is Array else y
    return method


def reshape(self, *shape, order="C", copy=None):
    """As ``ndarray.reshape``: the shape as one tuple or as several ints."""
    return handed(FUNCTIONS[np.reshape](self, shape[0] if len(shape) == 1 else shape, order=order, copy=copy), 3)


def transpose(self, *axes):
    """As ``ndarray.transpose``: the axes as one tuple or as several ints."""
    if len(axes) == 1 and not isinstance(axes[0], int):
        axes = axes[0]
    return FUNCTIONS[np.transpose](self, axes or None)


def copy(self, order="C"):
    """An array of its own that may be written."""
    return FUNCTIONS[np.copy](self, order=order)


def flatten(self, order="C"):
    """All elements in one dimension, copied."""
    y = FUNCTIONS[np.ravel](self, order=order)
    return FUNCTIONS[np.copy](y)


def astype(self, dtype, order="K", casting="unsafe", subok=True, copy=True):
    """The values in another dtype; with ``copy=False`` the array itself where it has it already."""
    dtype = np.dtype(dtype)
    if not np.can_cast(self.dtype, dtype, casting):
        raise TypeError(f"Cannot cast array data from {self.dtype!r} to {dtype!r} according to the rule {casting!r}")
    if not isinstance(self, Array):
        return handed(FUNCTIONS[np.astype](self, dtype), 3)
    if dtype != self.dtype:
        y = FUNCTIONS[np.astype](self, dtype)
        return y.copy(order) if isinstance(y, Array) and order not in ("C", "K") else y
    return self if not copy and in_order(self, order) else self.copy(order)


def in_order(x, order):
    """Whether a mutable array lies in memory as a letter asks; K asks for nothing, A for either contiguous order."""
    if order in (None, "K"):
        return True
    flags = x._shadow().flags
    return {"C": flags.c_contiguous, "F": flags.f_contiguous, "A": flags.c_contiguous or flags.f_contiguous}[order]


def compress(self, condition, axis=None):
    """Slices along an axis where a condition holds."""
    return FUNCTIONS[np.compress](condition, self, axis)


def conj(self):
    """The complex conjugate: a real array itself."""
    if self.dtype.kind != "c":
        return self
    return np.conjugate(self)


def item(self, *index):
    """A Python number, where there is one."""
    x = lift(self)
    if isinstance(x, Tracer):
        if x.dtype.kind in "iub":
            return indexing.concrete(x, "item()").item(*index)
        raise DerivativeLost(f"{user_line()}: item() of a traced value would drop its derivative. Use the value itself: x[0], or x where "
                             f"it has no dimension")
    return x.item(*index)


def tolist(self):
    """Nested lists; the elements of a traced array stay traced."""
    x = lift(self)
    if not isinstance(x, Tracer):
        return x.tolist()
    return [tolist(e) for e in x] if x.shape else x


def _written(self, what, remedy):
    if not isinstance(self, Array):
        raise DerivativeLost(f"{user_line()}: {what}() on a traced value, which cannot be written. Write {remedy}")
    return self


def fill(self, value):
    """Set every element of a mutable array."""
    _written(self, "fill", "np.full_like(x, value)").write(value)


def sort(self, axis=-1, kind=None, order=None, *, stable=None):
    """Sort a mutable array in place."""
    _written(self, "sort", "x = np.sort(x)").write(FUNCTIONS[np.sort](self, axis))


def partition(self, kth, axis=-1, kind="introselect", order=None):
    """Order a mutable array in place about its kth element."""
    _written(self, "partition", "x = np.partition(x, kth)").write(np.take_along_axis(self, np.argpartition(self, kth, axis), axis))


def tobytes(self, order="C"):
    """Bytes of a plain value."""
    return np.asarray(indexing.concrete(lift(self), "tobytes()")).tobytes(order)


def view(self, dtype=None, type=None):
    """Another name of the same elements, of the same dtype."""
    if isinstance(dtype, np.dtype) or (dtype is not None and dtype is not np.ndarray and not _is_array_class(dtype)):
        if np.dtype(dtype) != self.dtype:
            raise InputTypeError(f"{user_line()}: a view of {self.dtype} as {np.dtype(dtype)} {_BYTES[3:]}; use astype, or x.real and "
                                 f"x.imag")
    return self[...] if isinstance(self, Array) else self


def _is_array_class(cls):
    return isinstance(cls, type) and (issubclass(cls, np.ndarray) or (isinstance(cls, type(type)) and cls.__name__ == "_Ndarray"))


def to_device(self, device, /, *, stream=None):
    """The array itself: there is one device, the cpu."""
    if device != "cpu":
        raise ValueError(f'The stream argument in to_device() or the device {device!r} is not supported: only "cpu" is')
    return self


def __array_namespace__(self, /, *, api_version=None):                      # noqa: N807  (the standard's name)
    """NumPy."""
    return np


#: Attributes that are no methods, of values that are not mutable arrays.
ATTRIBUTES = {
    "device": lambda x: "cpu",
    "itemsize": lambda x: x.dtype.itemsize,
    "nbytes": lambda x: x.size * x.dtype.itemsize,
    "mT": lambda x: FUNCTIONS[np.matrix_transpose](x),
    "base": lambda x: None,
    "flat": lambda x: holding(x).flat,
    "strides": lambda x: holding(x).strides,
    "flags": lambda x: _sealed(x).flags,
}


def _sealed(x):
    x = holding(x)
    x.setflags(write=False)
    return x


class _Attribute:
    """Stands in ``METHODS`` for what is computed when it is asked for, or refused."""

    __slots__ = ("name",)

    def __init__(self, name):
        self.name = name

    def __get__(self, instance, owner=None):
        reason = REFUSED_METHODS.get(self.name)
        if reason is not None:
            raise AttributeError(f"{user_line()}: ndarray.{self.name} is not available in a differentiated function: {reason}")
        return ATTRIBUTES[self.name](instance)


def _install():
    for name, function in _SAME.items():
        METHODS.setdefault(name, _forward(function))
    for ufunc in UFUNCS:
        if ufunc.nin == 1 and ufunc.nout == 1:
            METHODS.setdefault(ufunc.__name__, _ufunc_method(ufunc))
    for function in (reshape, transpose, copy, flatten, astype, compress, conj, item, tolist, fill, sort, partition, tobytes, view,
                     to_device):
        METHODS[function.__name__] = function
    METHODS["conjugate"] = conj
    for name in (*REFUSED_METHODS, *ATTRIBUTES):
        METHODS[name] = _Attribute(name)
    for name, ufunc in (("arctan2", np.arctan2), ("hypot", np.hypot), ("logaddexp", np.logaddexp)):
        METHODS[name] = lambda self, other, ufunc=ufunc: ufunc(self, other)


_install()

__all__ = ["ATTRIBUTES", "REFUSED_METHODS", "in_order"]

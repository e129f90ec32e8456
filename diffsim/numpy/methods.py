"""Methods of traced and mutable arrays: those of ``numpy.ndarray``, and every ufunc of one operand by name.

The latter serve object arrays: NumPy calls ``x.sin()`` on each element of one.
"""

import numpy as np

from ..core import FUNCTIONS, METHODS, UFUNCS, Tracer, user_line
from ..errors import DerivativeLost
from . import indexing
from .array import Array, fresh
from .stacking import lift

_SAME = {"sum": np.sum, "mean": np.mean, "prod": np.prod, "max": np.max, "min": np.min, "any": np.any, "all": np.all, "argmax": np.argmax,
         "argmin": np.argmin, "var": np.var, "std": np.std, "cumsum": np.cumsum, "cumprod": np.cumprod, "clip": np.clip,
         "squeeze": np.squeeze,
         "swapaxes": np.swapaxes, "ravel": np.ravel, "take": np.take, "repeat": np.repeat, "diagonal": np.diagonal, "trace": np.trace,
         "round": np.round, "dot": np.dot, "ptp": np.ptp, "compress": np.compress, "nonzero": np.nonzero, "argsort": np.argsort,
         "searchsorted": np.searchsorted, "choose": np.choose, "put": np.put}


def _forward(function):
    def method(self, *args, **kwargs):
        return FUNCTIONS[function](self, *args, **kwargs)
    return method


def _ufunc_method(ufunc):
    def method(self):
        y = UFUNCS[ufunc](self)
        return fresh(y) if self.__class__ is Array else y
    return method


def reshape(self, *shape, order="C", copy=None):
    """As ``ndarray.reshape``: the shape as one tuple or as several ints."""
    return FUNCTIONS[np.reshape](self, shape[0] if len(shape) == 1 else shape, order=order, copy=copy)


def transpose(self, *axes):
    """As ``ndarray.transpose``: the axes as one tuple or as several ints."""
    if len(axes) == 1 and not isinstance(axes[0], int):
        axes = axes[0]
    return FUNCTIONS[np.transpose](self, axes or None)


def copy(self, order="C"):
    """An array of its own that may be written."""
    return FUNCTIONS[np.copy](self)


def flatten(self, order="C"):
    """All elements in one dimension, copied."""
    y = FUNCTIONS[np.ravel](self, order=order)
    return FUNCTIONS[np.copy](y)


def astype(self, dtype, order="K", casting="unsafe", subok=True, copy=True):
    """The values in another dtype."""
    return FUNCTIONS[np.astype](self, dtype)


def compress(self, condition, axis=None):
    """Slices along an axis where a condition holds."""
    return FUNCTIONS[np.compress](condition, self, axis)


def conj(self):
    """The complex conjugate: a real array itself."""
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


def fill(self, value):
    """Set every element of a mutable array."""
    if not isinstance(self, Array):
        raise DerivativeLost(f"{user_line()}: fill() on a traced value, which cannot be written. Write np.full_like(x, value)")
    self.write(value)


def sort(self, axis=-1, kind=None, order=None, *, stable=None):
    """Sort a mutable array in place."""
    if not isinstance(self, Array):
        raise DerivativeLost(f"{user_line()}: sort() on a traced value, which cannot be written. Write x = np.sort(x)")
    self.write(FUNCTIONS[np.sort](self, axis))



def tobytes(self, order="C"):
    """Bytes of a plain value."""
    return np.asarray(indexing.concrete(lift(self), "tobytes()")).tobytes(order)


def _install():
    for name, function in _SAME.items():
        METHODS.setdefault(name, _forward(function))
    for ufunc in UFUNCS:
        if ufunc.nin == 1 and ufunc.nout == 1:
            METHODS.setdefault(ufunc.__name__, _ufunc_method(ufunc))
    for function in (reshape, transpose, copy, flatten, astype, conj, item, tolist, fill, sort, tobytes):
        METHODS[function.__name__] = function
    METHODS["compress"], METHODS["conjugate"] = compress, conj
    for name, ufunc in (("arctan2", np.arctan2), ("hypot", np.hypot), ("logaddexp", np.logaddexp)):
        METHODS[name] = lambda self, other, ufunc=ufunc: ufunc(self, other)


_install()

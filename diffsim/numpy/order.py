"""The memory order of what a NumPy function returns, where an operand lies in another order than C.

The order decides whether a later ``reshape`` or ``ravel`` is a view.  Elementwise operations have one rule (``memory.result_order``); for
any other function NumPy itself is asked, with arrays of ones that lie as the operands do.
"""

import warnings

import numpy as np

from ..core import Tracer
from . import memory
from .array import Array, laid


def out_of_order(x):
    """Whether an argument is, or holds, a mutable array of two dimensions or more in another order than C."""
    if x.__class__ is Array:
        return bool(x._path) and memory.out_of_order(x._path)
    return x.__class__ in (list, tuple) and any(map(out_of_order, x))


def _stand_in(x):
    if x.__class__ is Array:
        return np.ones_like(memory.places(x._cell.shape, x._path), dtype=float)
    if isinstance(x, Tracer):
        return np.ones(x.shape)
    return x.__class__(map(_stand_in, x)) if x.__class__ in (list, tuple) else x


def as_laid(function, args, kwargs, result):
    """A result as an array that lies as the NumPy function's own would."""
    if result.__class__ is not Array or result._path or result.ndim == 1:
        return result
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = function(*map(_stand_in, args), **{k: _stand_in(x) for k, x in kwargs.items()})
    except Exception:                                       # ones are no legal operand of it: what it returns is in C order as a rule
        return result
    if not isinstance(wanted, np.ndarray) or wanted.shape != result.shape:
        return result
    return laid(result.read(), memory.memory_order(wanted))


__all__ = ["as_laid", "out_of_order"]

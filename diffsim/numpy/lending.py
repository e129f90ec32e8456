"""Arrays from outside as a function under a transform receives them: traced ones refuse to be written, plain ones stay the user's own.

A plain array of the user's is *borrowed*: what is computed from it and what is copied from it are arrays of ours, so that traced values
may be stored in them; it is itself written where it lies, as NumPy would, and takes no traced value.
"""

import numpy as np

from ..core import Tracer
from . import memory
from .array import Array, laid
from .views import Borrowed, Permute, Strided


def borrowed(x):
    """A plain array of floating-point or complex numbers as an array of ours over the same memory; any other value itself."""
    if x.__class__ is not np.ndarray or x.dtype.kind not in "fc" or not x.shape:
        return x
    path, order = (), None if x.flags.c_contiguous else memory.memory_order(x)
    if order is not None:
        x, path = x.transpose(order), (Permute(tuple(int(i) for i in np.argsort(order))),)
    if not x.flags.c_contiguous:
        path = (Strided(x.strides), *path)
    y = object.__new__(Array)
    y.owner = None
    y._cell, y._path = Borrowed(x), path
    if path:
        y._root = y._sealed = y._seen = y._cache = None
    return y


def own(x):
    """The user's own array behind a borrowed one, or behind a view of one; any other value itself."""
    return x._peek() if x.__class__ is Array and x.owner is None and x._cell.__class__ is Borrowed else x


def lent(value, order=None):
    """A traced input as an array whose views alias and which refuses to be written; its elements lie in memory as the caller's do.

    Values of no dimension, and plain ones, are handed through.  ``order`` gives the axes from the slowest to the fastest where the value
    behind a symbol is not known.
    """
    if not isinstance(value, Tracer) or not value.shape or value.dtype.kind not in "fciub":
        return value
    plain = value
    while isinstance(plain, Tracer):
        plain = plain.primal
    if plain.__class__ is np.ndarray:
        order = memory.memory_order(plain)
    x = Array(value.owner, value.primal, value.dual) if order is None else laid(value, order)
    x._sealed = (f"writing into an input of {value.owner.verb}. Write into a copy (y = y.copy()) or into an array the function creates "
                 f"(np.zeros, np.empty_like).")
    return x


def taken(value):
    """An argument as the user's function takes it: a traced one lent, a plain array borrowed."""
    return borrowed(value) if value.__class__ is np.ndarray else lent(value)


__all__ = ["borrowed", "lent", "own", "taken"]

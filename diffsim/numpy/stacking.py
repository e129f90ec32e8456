"""Operands as values: what the front door accepts, turned into a tracer, a plain array or a scalar.

``np.array([s, t])`` of tracers outside a rebound function cannot be intercepted and gives an object array of tracers.  Nothing is
lost: object arrays, lists of tracers and mutable arrays are made one value wherever they meet the front door or are returned.
"""

import numpy as np

from ..core import ArrayTracer, Tracer, is_weak
from ..errors import InputError, InputTypeError
from ..prims import layout

OBJECT = np.dtype(object)

#: Classes that are values already.
READY = frozenset({Tracer, ArrayTracer, float, int, bool, complex, np.float64, np.float32, np.int64, np.int32, np.bool_})


class Handle:
    """Base of what stands for a value and must be read first: the mutable array."""

    __slots__ = ()

    def read(self):
        """The value now: a tracer or a plain array."""
        raise NotImplementedError


def lift(x):
    """An operand as a value: tracer, plain array or scalar.

    Parameters
    ----------
    x : array_like
        May be an object array of tracers, a nested list holding tracers, or a mutable array.

    Raises
    ------
    InputError
        A list of values of different shapes.
    InputTypeError
        A list or an object array holds something that is not a number, such as None.
    """
    kind = x.__class__
    if kind in READY:
        return x
    if kind is np.ndarray:
        return x if x.dtype is not OBJECT else _from_objects(x)
    if isinstance(x, Handle):
        return x.read()
    if kind is list or kind is tuple:
        return _from_sequence(x)
    if isinstance(x, (np.generic, Tracer)):
        return x
    x = np.asarray(x)
    return x if x.dtype is not OBJECT else _from_objects(x)


def strengthened(x):
    """A value as one of NumPy's functions returns or takes it: a number of Python's is one of NumPy's, which keeps its dtype."""
    return layout.convert(x, dtype=x.dtype) if x.__class__ is Tracer and is_weak(x) else x


def is_value(x):
    """Whether a leaf is numbers, traced or not: what transforms and graphs can carry."""
    if isinstance(x, np.ndarray):
        return x.dtype.kind in "fiubc" or (x.dtype is OBJECT and holds_traced(x))
    return isinstance(x, (Tracer, Handle, float, int, complex)) or (isinstance(x, np.generic) and x.dtype.kind in "fiubc")


def lift_all(sequence):
    """Each member of a sequence of arrays as a value."""
    return [lift(x) for x in sequence]


def holds_traced(x):
    """Whether a nested list, tuple or object array holds a tracer or a mutable array."""
    if isinstance(x, (Tracer, Handle)):
        return True
    if isinstance(x, np.ndarray):
        return x.dtype is OBJECT and any(holds_traced(e) for e in x.flat)
    return isinstance(x, (list, tuple)) and any(map(holds_traced, x))


def _from_sequence(x):
    return join(lift_all(x)) if holds_traced(x) else np.asarray(x)


def _from_objects(x):
    """Value of an object array: its elements stacked, in its shape."""
    if not x.shape:                                         # what np.asarray makes of None: there is no element to go down to
        raise InputTypeError(f"{x[()]!r:.60} is no number, and was to be part of an array; is a return or a default missing?")
    flat = join(lift_all(x.flat)) if x.size else np.zeros(0)
    shape = x.shape + tuple(flat.shape[1:])
    return flat if tuple(flat.shape) == shape else layout.reshape(flat, shape=shape)


def join(values, axis=0):
    """Values of one shape joined along a new axis.

    Raises
    ------
    InputError
        The shapes differ, or there is nothing to join.
    """
    if not values:
        raise InputError("nothing to stack: the sequence is empty")
    values = [x if hasattr(x, "shape") else np.asarray(x) for x in values]
    shapes = {tuple(x.shape) for x in values}
    if len(shapes) > 1:
        raise InputError(f"values of different shapes cannot be stacked into one array: {', '.join(map(str, sorted(shapes)))}")
    values = same_dtype(values)
    if not any(isinstance(x, Tracer) for x in values):
        return np.stack(values, axis)
    return layout.stack(*values, axis=axis)


def same_dtype(values):
    """Values in the dtype NumPy would give an array of them all."""
    dtypes = [x.dtype for x in values]
    if all(d == dtypes[0] for d in dtypes):
        return [x if isinstance(x, Tracer) else np.asarray(x) for x in values]
    dtype = np.result_type(*dtypes)
    return [(x if x.dtype == dtype else layout.convert(x, dtype=dtype)) if isinstance(x, Tracer) else np.asarray(x, dtype) for x in values]


def stacked(x):
    """What a user's function returned, as one value.

    Lists, object arrays of tracers and mutable arrays become one tracer or array; anything else is handed back as it is.
    """
    if isinstance(x, (list, tuple, Handle)) or (x.__class__ is np.ndarray and x.dtype is OBJECT and holds_traced(x)):
        return lift(x)
    return x


__all__ = ["OBJECT", "Handle", "holds_traced", "join", "lift", "lift_all", "same_dtype", "stacked"]

"""Results written into the caller's own arrays: ``f(*args, out=tree)``."""

from itertools import combinations

import numpy as np

from .. import tree
from ..core import Tracer
from ..errors import InputError, InputTypeError
from ..numpy.array import Array

#: Effort, in NumPy's units, to find out whether two arrays share memory; what takes more counts as sharing.
EFFORT = 10_000


def written(result, out):
    """The result, its arrays written into those of ``out``.

    Numbers of no dimension are written where ``out`` has an array of no dimension, and returned as they are elsewhere.

    Raises
    ------
    InputError
        The structures differ, or an array of ``out`` is of another shape or dtype, cannot be written, or shares memory with another one.
        Nothing has been written then.
    InputTypeError
        The result is traced, or ``out`` holds something else than a plain array where the result has one.
    """
    values, struct = tree.flatten(result)
    places, other = tree.flatten(out)
    if any(isinstance(x, (Tracer, Array)) for x in values):
        raise InputTypeError("jit: out= is for calls on plain arrays; inside a transform use the result")
    if struct != other:
        raise InputError(f"jit: out= has another structure than the result: {tree.unflatten(other, [0] * len(places))} in place of "
                         f"{tree.unflatten(struct, [0] * len(values))} (0 stands for a leaf)")
    taken = []
    for i, (x, y) in enumerate(zip(values, places, strict=True)):
        if isinstance(x, np.ndarray) or (isinstance(x, np.generic) and isinstance(y, np.ndarray)):
            _check(i, x, y)
            taken.append(i)
    for i, j in combinations(taken, 2):
        if _shared(places[i], places[j]):
            raise InputError(f"jit: leaves {i} and {j} of out= share memory: one result would overwrite the other")
    for i in taken:
        places[i][...] = values[i]
        values[i] = places[i]
    return tree.unflatten(struct, values)


def _check(i, x, y):
    if not isinstance(y, np.ndarray):
        raise InputTypeError(f"jit: leaf {i} of out= is a {type(y).__name__}; the result is an array, {x.dtype} of shape {x.shape}")
    if y.shape != x.shape or y.dtype != x.dtype:
        raise InputError(f"jit: leaf {i} of out= is an array of shape {y.shape} and dtype {y.dtype}; the result is one of shape {x.shape} "
                         f"and dtype {x.dtype}")
    if not y.flags.writeable:
        raise InputError(f"jit: leaf {i} of out= is read-only")


def _shared(x, y):
    try:
        return np.shares_memory(x, y, EFFORT)
    except np.exceptions.TooHardError:
        return True


__all__ = ["written"]

"""Leaves of users' pytrees: which are operands, which constants, and what tangents and cotangents must look like beside them."""

import functools

import numpy as np

from .. import tree
from ..core import Tracer
from ..core.aval import is_float
from ..errors import InputError
from ..numpy.lending import lent
from ..numpy.stacking import is_value, stacked


def spread(struct, x, fail):
    """Leaves of ``x`` in the order of a structure; None stands for None at all leaves below.

    Parameters
    ----------
    struct : structure of a pytree
    x : pytree
    fail : callable
        ``fail(reason)`` raises where the structures differ.
    """
    if x is None:
        return [None] * leaf_count(struct)
    if struct == tree.LEAF:
        if isinstance(x, (list, tuple, dict)):
            fail(f"an array or a number is needed, got {short(x)}")
        return [x]
    kind, meta, children = struct
    if kind in (list, tuple):
        if not isinstance(x, (list, tuple)) or len(x) != len(children):
            fail(f"a {kind.__name__} of {len(children)} entries is needed, got {short(x)}")
        parts = x
    elif issubclass(kind, dict):
        if not isinstance(x, dict) or set(x) != set(meta):
            fail(f"a dictionary with the keys {sorted(map(str, meta))} is needed, got {short(x)}")
        parts = [x[k] for k in meta]
    else:
        if not isinstance(x, kind):
            fail(f"a {kind.__name__} is needed, got {short(x)}")
        parts = x if meta is None else [getattr(x, name) for name in meta]
    return [leaf for child, part in zip(children, parts, strict=True) for leaf in spread(child, part, fail)]


def short(x):
    """What a value is, in words."""
    return f"a {type(x).__name__} of {len(x)} entries" if isinstance(x, (list, tuple, dict)) else f"a {type(x).__name__}"


@functools.lru_cache(maxsize=1024)
def leaf_count(struct):
    """Number of leaves of a structure."""
    return 1 if struct == tree.LEAF else sum(map(leaf_count, struct[2]))


def value_of(x):
    """A leaf as a tracer, array or NumPy scalar."""
    x = stacked(x)
    return x if isinstance(x, (Tracer, np.ndarray, np.generic)) else np.asarray(x)[()]


def zeros_of(aval):
    """Zeros of an aval, a NumPy scalar where it has no dimension."""
    return np.zeros(aval.shape, aval.dtype)[()]


class Place:
    """Which leaves of a tree are operands: the others are constants, kept beside it."""

    __slots__ = ("constants", "on", "struct")

    def __init__(self, struct, on, constants):
        self.struct, self.on, self.constants = struct, tuple(on), tuple(constants)

    @classmethod
    def of(cls, x):
        """The place of a tree, and its operands.  Python's ints and bools are constants, as in ``jit``."""
        leaves, struct = tree.flatten(x)
        on = [is_value(v) and type(v) not in (int, bool) for v in leaves]
        return (cls(struct, on, [v for v, o in zip(leaves, on, strict=True) if not o]),
                [value_of(v) for v, o in zip(leaves, on, strict=True) if o])

    @property
    def key(self):
        return tree.ordered(self.struct), self.on, self.constants

    def build(self, values):
        """The tree with other operands."""
        values, constants = iter(values), iter(self.constants)
        return tree.unflatten(self.struct, [lent(next(values)) if on else next(constants) for on in self.on])

    def beside(self, values):
        """A tree of what belongs to the operands (tangents); None beside constants."""
        values = iter(values)
        return tree.unflatten(self.struct, [next(values) if on else None for on in self.on])

    def pick(self, x, fail):
        """What a tree has beside the operands."""
        return [leaf for leaf, on in zip(spread(self.struct, x, fail), self.on, strict=True) if on]


def fitted(t, aval, what):
    """A tangent or cotangent, checked against what it belongs to; None where that carries no derivative.

    Raises
    ------
    InputError
        Naming the rule.
    """
    if t is None or not is_float(aval.dtype):
        return None
    weak = type(t) in (int, float, bool)
    t = value_of(t)
    if tuple(t.shape) != tuple(aval.shape):
        raise InputError(f"{what} has shape {tuple(t.shape)}; it belongs to {aval} and must have its shape")
    if weak:
        return aval.dtype.type(t)
    if t.dtype != aval.dtype:
        raise InputError(f"{what} has dtype {t.dtype}; it belongs to {aval} and must have its dtype (.astype({aval.dtype.name}))")
    return t


__all__ = ["Place", "fitted", "leaf_count", "short", "spread", "value_of", "zeros_of"]

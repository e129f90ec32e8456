"""Batching: a function written for one member computes all members at once.

A primitive's ``batch`` rule does it in one call of NumPy; where the slot is Absent, or the rule returns NotImplemented for what is batched,
the members are computed one by one and stacked.
"""

import functools

import numpy as np

from ..core import NO_PARAMS, Absent, ArrayTracer, Aval, Opaque, Trace, Tracer, aval_of, bind, user_line, wrap
from ..core.emission import Call
from ..errors import ConcretizationError, InputError, SolveError
from ..prims.layout import Basic, aligned, index, stack
from .operands import strong
from .rest import CLOSED_OVER
from .stage import GraphTrace
from .watch import WATCH, Watched

BINARY = 2


@functools.lru_cache(maxsize=4096)
def _member(shape, dtype):
    """Aval of one member of a batch of the given shape."""
    return Aval(shape[1:], dtype)


class Alone(Exception):  # noqa: N818  (a word to whoever asked for the batch, not an error)
    """In a graph a loop would be written out for each member."""


class BatchTrace(Trace):
    """Interprets a primitive on all members: ``primal`` is the Aval of one, ``dual`` their values with the batch axis leading.

    Opaque values, which cannot be stacked, are a tuple of the members'.
    """

    __slots__ = ("n", "told")
    batches = True

    def __init__(self, verb, n, told=False):
        super().__init__(verb)
        self.n, self.told = n, told

    def process(self, prim, args, params):
        if prim.derivs is not None and not params:
            if len(args) == 1:
                return self.unary(prim, args[0])
            if len(args) == BINARY:
                return self.binary(prim, *args)
        operands, batched = [], []
        for x in args:
            on = isinstance(x, Tracer) and x.owner is self
            operands.append(x.dual if on else x)
            batched.append(on)
        rule = prim.batch
        if rule.__class__ is Absent or any(x.__class__ is tuple for x in operands):
            return self._one_by_one(prim, operands, batched, params) if self.n else self._none(prim, args, params)
        y = rule(self.n, tuple(batched), *operands, **params)
        if y is NotImplemented:
            return self._one_by_one(prim, operands, batched, params)
        return tuple(map(self.wrapped, y)) if prim.multiple else self.wrapped(y)

    def unary(self, prim, x):
        """Members keep their places under an elementwise primitive; this and ``binary`` are the way most operations take."""
        a, aval = x.dual, x.primal
        kind = a.__class__
        y = bind(prim, (a,), NO_PARAMS) if kind is ArrayTracer or kind is Tracer else prim.quick(a)
        return (ArrayTracer if aval.shape else Tracer)(self, aval if y.dtype is aval.dtype else _member(y.shape, y.dtype), y)

    def binary(self, prim, x, y):
        aval, plain = None, True
        kind = x.__class__
        if kind is ArrayTracer or kind is Tracer:
            if x.owner is self:
                aval, x = x.primal, x.dual
                kind = x.__class__
            plain = kind is not ArrayTracer and kind is not Tracer
        on = aval is not None
        kind = y.__class__
        if kind is ArrayTracer or kind is Tracer:
            both = y.owner is self
            if both:
                aval, y = y.primal, y.dual
                kind = y.__class__
            plain = plain and kind is not ArrayTracer and kind is not Tracer
        else:
            both = False
        gap = len(getattr(x, "shape", ())) - len(getattr(y, "shape", ()))
        if gap != 0 if on and both else gap <= 0 if on else gap >= 0:   # a member has fewer axes than the other operand
            x, y = aligned((on, both), (x, y))
        z = prim.quick(x, y) if plain else bind(prim, (x, y), NO_PARAMS)
        shape = z.shape
        same = shape[1:] == aval.shape and z.dtype is aval.dtype
        return (ArrayTracer if len(shape) > 1 else Tracer)(self, aval if same else _member(tuple(shape), z.dtype), z)

    def wrapped(self, y):
        """A tracer of one member from the values of all."""
        if y.__class__ is tuple:
            return wrap(self, aval_of(y[0]), y)
        if isinstance(y, Tracer) and y.owner.level >= self.level:
            raise InputError(CLOSED_OVER)
        return wrap(self, _member(tuple(y.shape), y.dtype), y)

    def _one_by_one(self, prim, operands, batched, params):
        if self.told and isinstance(prim.emit, Call) and prim.emit.request is not None and any(map(recorded, operands)):
            raise Alone
        rows = []
        for i in range(self.n):
            try:
                y = bind(prim, tuple(_pick(x, i) if on else x for x, on in zip(operands, batched, strict=True)), params)
            except SolveError as error:
                error.args = (f"member {i} of {self.n}: {error}",)
                raise
            rows.append(y if prim.multiple else (y,))
        made = tuple(self.wrapped(_together(column)) for column in zip(*rows, strict=True))
        return made if prim.multiple else made[0]

    def _none(self, prim, args, params):
        """A batch without members: shapes are all there is to know."""
        out = prim.rule("aval")(*map(aval_of, strong(args)), **params)
        values = [() if a.__class__ is Opaque else np.zeros((0, *a.shape), a.dtype) for a in (out if prim.multiple else (out,))]
        made = tuple(wrap(self, a, v) for a, v in zip(out if prim.multiple else (out,), values, strict=True))
        return made if prim.multiple else made[0]

    def concrete(self, tracer, what):
        raise ConcretizationError(
            f"{user_line()}: {what} needs the number behind a traced {tracer.aval}, but {self.verb} computes {self.n} members at once, and "
            f"they may differ in it. Write the choice as np.where (np.maximum, np.clip, ...), take the value from an argument that is the "
            f"same for all members (in_axes None), or loop over the members.")


class WatchedBatch(Watched, BatchTrace):
    """The same, looking for NaN."""

    __slots__ = ()


def recorded(x):
    """Whether a value is a symbol in a graph, at the bottom of whatever transforms."""
    while isinstance(x, Tracer):
        if isinstance(x.owner, GraphTrace):
            return True
        x = x.dual if getattr(x.owner, "batches", False) else x.primal
    return False


def _pick(x, i):
    """Member i."""
    if x.__class__ is tuple or x.__class__ is np.ndarray:
        return x[i]
    return index(x, at=Basic((i, *[(0, s, 1) for s in x.shape[1:]]), None))


def _together(members):
    """The values of all members as one array; opaque ones as a tuple."""
    return tuple(members) if aval_of(members[0]).__class__ is Opaque else stack(*members, axis=0)


def batch(f, n, operands, batched, verb="vmap", told=False):
    """Values of ``f`` for ``n`` members at once.

    Parameters
    ----------
    f : callable
        Takes arrays, those of one member, and returns a list of arrays.
    n : int
        Number of members.
    operands : sequence of array
    batched : sequence of bool
        Which operands hold one value a member, along axis 0; the others are the same for all.
    verb : str
        The user's verb, for messages.
    told : bool
        Whether to raise ``Alone`` where a graph would get a loop for each member.

    Returns
    -------
    y : list of array
    batched : list of bool
        Which of them hold one value a member, along axis 0; the others do not depend on the batched operands.
    """
    trace = (WatchedBatch if WATCH.get() else BatchTrace)(verb, n, told)
    try:
        out = f(*[trace.wrapped(x) if on else x for x, on in zip(operands, batched, strict=True)])
        pairs = [(x.dual, True) if isinstance(x, Tracer) and x.owner is trace else (x, False) for x in out]
    finally:
        trace.end()
    return [y for y, _ in pairs], [on for _, on in pairs]


__all__ = ["BatchTrace", "batch"]

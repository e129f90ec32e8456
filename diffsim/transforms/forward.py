"""Forward accumulation: values carry their tangents."""

import numpy as np

from ..core import NO_PARAMS, TRACED, ArrayTracer, Trace, Tracer, bind, wrap
from ..core.plain import plain_derivs
from ..prims.layout import like
from .linear import culprit
from .operands import split
from .rest import AtRest, at_rest, both, of, resting
from .strong import product, repaired
from .watch import WATCH, Watched


class ForwardTrace(Trace):
    """Interprets a primitive on dual numbers: ``primal`` is the value, ``dual`` its tangent or None for zero."""

    __slots__ = ("met", "times")

    def __init__(self, verb):
        super().__init__(verb)
        self.times, self.direct = product(), True

    def process(self, prim, args, params):
        primals, tangents = split(self, args)
        if prim.ruled is not None and any(t is not None for t in tangents):
            return self._ruled(prim, primals, tangents, params)
        if prim.together is not None:
            y, y_dot = prim.together(primals, tangents, **params)
        else:
            if prim.prepare is not None:
                params = prim.prepare(primals, tuple(t is not None for t in tangents), params)
            y = bind(prim, primals, params)
            if all(t is None for t in tangents):
                return y
            y_dot = self._elementwise(prim, primals, y, tangents, params) if prim.derivs is not None else prim.rule("jvp")(
                primals, y, tangents, **params)
        if y_dot is None:
            return y
        if prim.multiple:
            return tuple(v if t is None else wrap(self, v, t) for v, t in zip(y, y_dot, strict=True))
        return wrap(self, y, y_dot)

    def _ruled(self, prim, primals, tangents, params):
        with at_rest(self, RestingForward):
            y, y_dot = prim.ruled(primals, tangents, False, **params)
            y, y_dot = resting(self, y), resting(self, y_dot)
        if self.met:                                      # the rule closes over values of this trace: what they add to the tangent
            y_dot = [both(t, v.dual) if of(self, v) else t for v, t in zip(prim.impl(*primals, **params), y_dot, strict=True)]
        return tuple(v if t is None else wrap(self, v, t) for v, t in zip(y, y_dot, strict=True))

    def _elementwise(self, prim, primals, y, tangents, params):
        """The sum over operands of derivative times tangent."""
        total = None
        for d, t in zip(prim.derivs, tangents, strict=True):
            if t is not None and d is not None:
                part = self.times(t, d(*primals, y, **params)) if d.__class__ is not int else t if d == 1 else -t
                total = part if total is None else total + part
        return None if total is None else like(total, y)

    def unary(self, prim, x, made=ArrayTracer):
        """The common case written out, as is that of two operands: eager programs spend their time here."""
        t, x = x.dual, x.primal
        kind = x.__class__
        if kind is ArrayTracer or kind is Tracer:
            y, d = bind(prim, (x,), NO_PARAMS), prim.derivs[0]
        else:
            y, d = prim.quick(x), (prim.plain_derivs or plain_derivs(prim))[0]
        if d is None:
            return y
        t = self.times(t, d(x, y)) if d.__class__ is not int else t if d == 1 else -t
        if t.shape != y.shape or t.dtype != y.dtype:
            t = like(t, y)
        return made(self, y, t) if y.shape else Tracer(self, y, t)

    def binary(self, prim, x, y, made=ArrayTracer):
        t = u = None
        if x.__class__ in TRACED and x.owner is self:
            t, x = x.dual, x.primal
        if y.__class__ in TRACED and y.owner is self:
            u, y = y.dual, y.primal
        if isinstance(x, Tracer) or isinstance(y, Tracer):
            z, (dx, dy) = bind(prim, (x, y), NO_PARAMS), prim.derivs
        else:
            z, (dx, dy) = prim.quick(x, y), prim.plain_derivs or plain_derivs(prim)
        if z.__class__ is complex:                          # what Python makes of its own complex number times a NumPy float
            z = np.complex128(z)
        if t is not None:
            t = None if dx is None else self.times(t, dx(x, y, z)) if dx.__class__ is not int else t if dx == 1 else -t
        if u is not None:
            u = None if dy is None else self.times(u, dy(x, y, z)) if dy.__class__ is not int else u if dy == 1 else -u
        total = u if t is None else t if u is None else t + u
        if total is None:
            return z
        if total.shape != z.shape or total.dtype != z.dtype:
            total = like(total, z)
        return made(self, z, total) if z.shape else Tracer(self, z, total)

    def concrete(self, tracer, what):
        return tracer.primal


class RestingForward(AtRest, ForwardTrace):
    """The same while a user's rule runs."""

    __slots__ = ()


def jvp(f, primals, tangents, verb="jvp"):
    """Value and tangent of ``f`` (lists of arrays to a list of arrays).

    Parameters
    ----------
    f : callable
        Takes ``len(primals)`` arrays, returns a list of arrays.
    primals, tangents : sequence of array
        A tangent may be None for zero: its primal is then a constant.

    Returns
    -------
    y, y_dot : list
        ``y_dot[i]`` is None where the tangent is zero.
    """
    def run():
        return _run(f, primals, tangents, verb)

    y, y_dot = run()
    given = [*[v for v, t in zip(y, y_dot, strict=True) if t is not None], *tangents]
    return y, repaired(lambda: run()[1], y_dot, given, lambda: culprit((f, primals, [t is not None for t in tangents], verb)))


class WatchedForward(Watched, ForwardTrace):
    """The same, looking for NaN."""

    __slots__ = ()


def _run(f, primals, tangents, verb):
    trace = (WatchedForward if WATCH.get() else ForwardTrace)(verb)
    try:
        out = f(*[x if t is None else wrap(trace, x, t) for x, t in zip(primals, tangents, strict=True)])
        pairs = [(x.primal, x.dual) if isinstance(x, Tracer) and x.owner is trace else (x, None) for x in out]
    finally:
        trace.end()
    return [p for p, _ in pairs], [t for _, t in pairs]

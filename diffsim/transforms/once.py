"""Recording for one backward sweep: the way of gradients, where each operation is to cost little beside NumPy's own call.

The list is swept once and emptied on the way, which allows for less work than :class:`~diffsim.transforms.linear.LinearTrace` does: a
derivative of large arrays that is no more than a function of what is there anyway (``late`` in its row) is computed in the sweep, where
its memory is used at once and freed; and equations between values of equal shape say so by their length.  Beside the two forms of every
list (tuples of four) there are

- ``(out, n, d)``: variable ``out`` is ``d`` times variable ``n``;
- ``(out, n, deriv, kept, prim)``: it is ``deriv(kept, kept)`` times ``n``, ``kept`` being the operand or the value;
- ``(out, n, d, m, e, prim)``: it is ``d`` times ``n`` plus ``e`` times ``m``;

``out``, ``n`` and ``m`` being of one shape and dtype; as everywhere the int 1 or -1 in the place of a factor says that the tangent passes
as it is or negated.  Values that are traced themselves (an outer derivative), or of different shapes, take the general way.

What is kept of large arrays is written to memory that is not in the processor's cache.  A function computes long enough an element to hide
that, a product does not: gradients of chains of sines, products and sums of 10,000 numbers are 5 % faster where the sines take that memory.
"""

import numpy as np

from ..core import ArrayTracer, Tracer, wrap
from ..core.plain import plain_derivs
from ..prims.elementwise import mul
from .linear import LinearTrace, linearize, record
from .strong import STRONG
from .watch import WATCH

#: Classes of values that take the short way.
PLAIN = frozenset((np.ndarray, np.float64, np.float32))
#: Elements from which a derivative waits for the sweep: for less it does not matter.
WAITS = 1 << 10
#: Lengths of the equations.
ONE_TERM, LATE, TWO_TERMS = 3, 5, 6
_new, ndarray, FLOAT = object.__new__, np.ndarray, np.dtype(float)


class OnceTrace(LinearTrace):
    """A linear trace whose list is swept once.  Objects are made without their constructors, which would cost as much again."""

    __slots__ = ()

    def __init__(self, verb, lasting=False):
        super().__init__(verb, lasting)
        self.list.once = True
        self.avals, self.note = self.list.avals, self.list.eqns.append

    def process(self, prim, args, params):
        if not params or len(args) != 1 or prim.derivs is None or args[0].primal.__class__ not in PLAIN:
            return LinearTrace.process(self, prim, args, params)
        x = args[0]
        n, a = x.dual, x.primal
        z, d, aval = prim.impl(a, **params), plain_derivs(prim)[0], self.avals[n]
        if d is None or z.dtype is not aval.dtype:
            return LinearTrace.process(self, prim, args, params)
        self.note((len(self.avals), n, d if d.__class__ is int else _factor(d(a, z, **params), aval.dtype)))
        self.avals.append(aval)
        return wrap(self, z, len(self.avals) - 1)

    def unary(self, prim, x, made=ArrayTracer):
        n = x.dual
        a = x.primal
        if a.__class__ is not ndarray and a.__class__ not in PLAIN:
            return LinearTrace.unary(self, prim, x, made)
        large = a.size > WAITS
        if large:
            spare = np.empty(a.shape, a.dtype)              # memory used last is left to a product or sum: a function can wait for other
            z = prim.quick(a)
            del spare
        else:
            z = prim.quick(a)
        d = (prim.plain_derivs or plain_derivs(prim))[0]
        avals = self.avals
        aval = avals[n]
        if d is None or z.dtype is not aval.dtype:
            return LinearTrace.unary(self, prim, x, made)
        out = len(avals)
        avals.append(aval)
        if d.__class__ is int:
            self.note((out, n, d))
        elif not large or prim.late is None:
            d = d(a, z)
            self.note((out, n, d if aval.dtype is FLOAT else _factor(d, aval.dtype)))
        else:
            self.note((out, n, d, a if prim.late == "x" else z, prim))
        y = _new(made if aval.shape else Tracer)
        y.owner = self
        y.primal = z
        y.dual = out
        return y

    def both(self, prim, x, y, made):
        n = x.dual
        m = y.dual
        a = x.primal
        b = y.primal
        avals = self.avals
        aval = avals[n]
        if aval is not avals[m] and (a.shape != b.shape or a.dtype is not b.dtype):
            return self.binary(prim, x, y, made)
        if (a.__class__ is not ndarray or b.__class__ is not ndarray) and (a.__class__ not in PLAIN or b.__class__ not in PLAIN):
            return self.binary(prim, x, y, made)
        z = prim.quick(a, b)
        out = len(avals)
        if prim is mul:
            equation = out, n, b, m, a, prim
        else:
            d, e = prim.plain_derivs or plain_derivs(prim)
            if d is None or e is None or z.dtype is not aval.dtype:
                return self.binary(prim, x, y, made)
            d = d if d.__class__ is int else _factor(d(a, b, z), aval.dtype)
            equation = out, n, d, m, e if e.__class__ is int else _factor(e(a, b, z), aval.dtype), prim
        avals.append(aval)
        self.note(equation)
        y = _new(made if aval.shape else Tracer)
        y.owner = self
        y.primal = z
        y.dual = out
        return y

    def binary(self, prim, x, y, made=ArrayTracer):
        """A value and an array of its shape that does not vary make an equation of one term; all else goes the general way."""
        place = 0 if y.__class__ is ndarray else 1 if x.__class__ is ndarray else None
        v, other = (y, x) if place else (x, y)
        if place is None or v.owner is not self or v.primal.__class__ is not ndarray or v.primal.shape != other.shape:
            return LinearTrace.binary(self, prim, x, y, made)
        n, a = v.dual, v.primal
        x, y = (other, a) if place else (a, other)
        z, d, avals = prim.quick(x, y), (prim.plain_derivs or plain_derivs(prim))[place], self.avals
        aval = avals[n]
        if d is None or z.dtype is not aval.dtype:
            return LinearTrace.binary(self, prim, *((other, v) if place else (v, other)), made)
        if d.__class__ is not int:
            d = d(x, y, z)
            d = self.held.keep(d) if d is other and d.dtype is aval.dtype else _factor(d, aval.dtype)
        self.note((len(avals), n, d))
        avals.append(aval)
        return made(self, z, len(avals) - 1)

    def scaled(self, prim, x, number, made):
        n = x.dual
        a = x.primal
        if a.__class__ is not ndarray and a.__class__ not in PLAIN:
            return self.binary(prim, x, number, made)
        z = prim.quick(a, number)
        d = (prim.plain_derivs or plain_derivs(prim))[0]
        avals = self.avals
        aval = avals[n]
        if d is None or z.dtype is not aval.dtype:
            return self.binary(prim, x, number, made)
        out = len(avals)
        avals.append(aval)
        if d.__class__ is not int:
            d = _factor(number if prim is mul else d(a, number, z), aval.dtype)
        self.note((out, n, d))
        y = _new(made if aval.shape else Tracer)
        y.owner = self
        y.primal = z
        y.dual = out
        return y


def linearize_once(f, primals, active, verb):
    """As :func:`~diffsim.transforms.linear.linearize`, for a list that is swept backward once, with ``pull(..., consume=True)``."""
    return linearize(f, primals, active, verb) if WATCH.get() or STRONG.get() else record(OnceTrace, f, primals, active, verb)


def _factor(d, dtype):
    """A derivative as the factor of an equation, where an int is no number: cotangents keep their dtype."""
    kind = d.__class__
    if kind is int or kind is float:
        return float(d)
    return d if d.dtype is dtype else d.astype(dtype)


__all__ = ["LATE", "ONE_TERM", "PLAIN", "TWO_TERMS", "OnceTrace", "linearize_once"]

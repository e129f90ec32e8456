"""Reverse accumulation: direct linearisation into a flat list, and its transposition.

Running a function under a ``LinearTrace`` computes its values now and appends the linear equations of its tangents to a ``LinearList``.
An equation is a tuple ``(out, prim, args, params)`` with a ``Ref(number)`` for each linear operand; the equation of an elementwise
primitive is ``(out, None, terms, prim)``, ``terms`` holding ``(number, factor)``: the tangent is the sum of factors times tangents, where
the int 1 or -1 says that the tangent passes as it is or negated.  The list is data:
``push`` runs it forwards, ``pull`` transposes it.
"""

import contextlib
import gc

import numpy as np

from ..core import NO_PARAMS, TRACED, ArrayTracer, Aval, Trace, Tracer, aval_of, bind, user_line, wrap
from ..core.held import Held
from ..core.plain import plain_derivs
from ..errors import InputError
from .operands import split, strong
from .rest import AtRest, at_rest, both, of, resting
from .strong import finite
from .watch import WATCH, Watched

BINARY = 2
#: Objects made between two passes of the cyclic collector while a program is recorded.
PATIENCE = 200_000


class Ref:
    """A linear operand of an equation, by number."""

    __slots__ = ("n",)

    def __init__(self, n):
        self.n = n


class LinearList:
    """Linear equations in order.  ``avals[i]`` is the aval of variable i; the first ones are the inputs.

    ``values`` are what the function returned; ``origin`` the arguments of :func:`linearize`, to run it again; ``lines`` the user's line of
    each equation where they were noted; ``once`` says that it is written for a single backward sweep (see ``once``).
    """

    __slots__ = ("avals", "eqns", "lines", "once", "origin", "values")

    def __init__(self):
        self.avals, self.eqns, self.lines, self.origin, self.values, self.once = [], [], None, None, (), False

    def new(self, aval):
        self.avals.append(aval)
        return len(self.avals) - 1


class TangentTrace(Trace):
    """Records primitives of tangents.  Its tracers appear only inside tangent rules."""

    __slots__ = ("list",)

    def __init__(self, level, verb, linear_list):
        super().__init__(verb)
        self.level, self.list = level, linear_list

    def process(self, prim, args, params):
        args = tuple(self._operand(x) for x in strong(args))
        avals = [self.list.avals[x.n] if x.__class__ is Ref else aval_of(x) for x in args]
        out = prim.rule("aval")(*avals, **params)
        if prim.multiple:
            numbers = tuple(self.list.new(a) for a in out)
            self.list.eqns.append((numbers, prim, args, params))
            return tuple(wrap(self, a, n) for a, n in zip(out, numbers, strict=True))
        number = self.list.new(out)
        self.list.eqns.append((number, prim, args, params))
        return wrap(self, out, number)

    def _operand(self, x):
        if not isinstance(x, Tracer) or x.owner.level != self.level:
            return x
        if x.owner is self:
            return Ref(x.dual)
        x.owner.met = True                                # a value of the linear trace, met by a rule that closes over it
        return x.primal

    def concrete(self, tracer, what):
        raise InputError(f"{user_line()}: {what} needs the number behind a tangent or cotangent; a rule is linear in it and cannot choose "
                         f"by it")


class LinearTrace(Trace):
    """Computes values and records how tangents follow: ``primal`` is the value, ``dual`` the number of its tangent or None."""

    __slots__ = ("avals", "held", "list", "met", "note", "tangents")

    def __init__(self, verb, lasting=False):
        super().__init__(verb)
        self.direct = True
        self.list, self.held = LinearList(), Held(lasting)
        self.tangents = TangentTrace(self.level, verb, self.list)

    def process(self, prim, args, params):
        if prim.derivs is None:
            return self._general(prim, args, params)
        if not params and len(args) == 1:
            return self.unary(prim, args[0])
        if not params and len(args) == BINARY:
            return self.binary(prim, *args)
        return self._elementwise(prim, args, params)

    def unary(self, prim, x, made=ArrayTracer):
        """One equation of one term.  With ``binary`` the hot path of eager derivatives, hence written out."""
        n = x.dual
        x = x.primal
        if x.__class__ in TRACED:
            y = bind(prim, (x,), NO_PARAMS)
            d = prim.derivs[0]
        else:
            y = prim.quick(x)
            d = (prim.plain_derivs or plain_derivs(prim))[0]
        if d.__class__ is not int:
            if d is None:
                return y
            d = d(x, y)
        linear_list = self.list
        avals = linear_list.avals
        out = len(avals)
        aval = avals[n]
        if y.dtype is not aval.dtype:
            aval = Aval(aval.shape, y.dtype)
        avals.append(aval)
        linear_list.eqns.append((out, None, ((n, d),), prim))
        return made(self, y, out) if aval.shape else Tracer(self, y, out)

    def binary(self, prim, x, y, made=ArrayTracer):         # noqa: C901  (written out: calls cost more than the work)
        """One equation of one or two terms."""
        n = m = None
        if x.__class__ in TRACED and x.owner is self:
            n = x.dual
            x = x.primal
        if y.__class__ in TRACED and y.owner is self:
            m = y.dual
            y = y.primal
        plain = x.__class__ not in TRACED and y.__class__ not in TRACED
        z = prim.quick(x, y) if plain else bind(prim, (x, y), NO_PARAMS)
        if z.__class__ is complex:                          # what Python makes of its own complex number times a NumPy float
            z = np.complex128(z)
        dx, dy = (prim.plain_derivs or plain_derivs(prim)) if plain else prim.derivs
        if n is not None and dx is not None:
            if dx.__class__ is not int:
                dx = dx(x, y, z)
                if dx is y and m is None and dx.__class__ is np.ndarray:
                    dx = self.held.keep(dx)
                elif dx.__class__ is int:
                    dx = float(dx)
            terms = ((n, dx),)
        else:
            terms = None
        if m is not None and dy is not None:
            if dy.__class__ is not int:
                dy = dy(x, y, z)
                if dy is x and n is None and dy.__class__ is np.ndarray:
                    dy = self.held.keep(dy)
                elif dy.__class__ is int:
                    dy = float(dy)
            terms = ((m, dy),) if terms is None else ((n, dx), (m, dy))
        if terms is None:
            return z
        linear_list = self.list
        avals = linear_list.avals
        out = len(avals)
        aval = avals[m if n is None else n]
        shape = z.shape
        if shape != aval.shape or z.dtype is not aval.dtype:
            aval = Aval(shape, z.dtype)
        avals.append(aval)
        linear_list.eqns.append((out, None, terms, prim))
        return made(self, z, out) if shape else Tracer(self, z, out)

    def _elementwise(self, prim, args, params):
        """One equation, for any number of operands and with parameters."""
        primals, numbers = split(self, args)
        y = bind(prim, primals, params)
        terms = []
        for d, n in zip(prim.derivs, numbers, strict=True):
            if n is None or d is None:
                continue
            if d.__class__ is not int:
                d = d(*primals, y, **params)
                if d.__class__ is np.ndarray and any(d is x for x in primals):
                    d = self.held.keep(d)
                elif d.__class__ is int:
                    d = float(d)
            terms.append((n, d))
        if not terms:
            return y
        out = self.list.new(Aval(tuple(y.shape), y.dtype))
        self.list.eqns.append((out, None, tuple(terms), prim))
        return wrap(self, y, out)

    def _general(self, prim, args, params):
        primals, numbers = split(self, args)
        if prim.ruled is not None and any(n is not None for n in numbers):
            return self._ruled(prim, primals, numbers, params)
        if prim.prepare is not None:
            params = prim.prepare(primals, tuple(n is not None for n in numbers), params)
        y = bind(prim, primals, params)
        if all(n is None for n in numbers):
            return y
        primals = tuple(self.held.keep(x) if n is None and x.__class__ is np.ndarray else x for x, n in zip(primals, numbers, strict=True))
        tangents = tuple(None if n is None else wrap(self.tangents, self.list.avals[n], n) for n in numbers)
        y_dot = prim.rule("jvp")(primals, y, tangents, **params)
        if y_dot is None:
            return y
        if prim.multiple:
            return tuple(wrap(self, v, t.dual) if of(self.tangents, t) else v for v, t in zip(y, y_dot, strict=True))
        return wrap(self, y, y_dot.dual) if isinstance(y_dot, Tracer) and y_dot.owner is self.tangents else y

    def _ruled(self, prim, primals, numbers, params):
        primals = tuple(self.held.keep(x) if x.__class__ is np.ndarray else x for x in primals)
        tangents = tuple(None if n is None else wrap(self.tangents, self.list.avals[n], n) for n in numbers)
        with at_rest(self, RestingLinear):
            y, y_dot = prim.ruled(primals, tangents, True, **params)
            y, y_dot = resting(self, y), resting(self, y_dot)
        y_dot = [t if of(self.tangents, t) else None for t in y_dot]
        if self.met:                                      # the rule closes over values of this trace: what they add to the tangent
            extra = [wrap(self.tangents, v.primal, v.dual) if of(self, v) and v.dual is not None else None
                     for v in prim.impl(*primals, **params)]
            y_dot = [both(a, b) for a, b in zip(y_dot, extra, strict=True)]
        return tuple(v if t is None else wrap(self, v, t.dual) for v, t in zip(y, y_dot, strict=True))

    def close(self):
        """End the trace: its tracers are dead, arrays it locked are writeable again."""
        self.end()
        self.tangents.end()
        self.held.release()

    def concrete(self, tracer, what):
        return tracer.primal


class RestingLinear(AtRest, LinearTrace):
    """The same while a user's rule runs."""

    __slots__ = ()


class LinedTrace(LinearTrace):
    """The same, noting the user's line of each equation."""

    __slots__ = ()

    def __init__(self, verb, lasting=False):
        super().__init__(verb, lasting)
        self.list.lines = []

    def process(self, prim, args, params):
        return self._noted(super().process(prim, args, params))

    def unary(self, prim, x, made=ArrayTracer):
        return self._noted(super().unary(prim, x, made))

    def binary(self, prim, x, y, made=ArrayTracer):
        return self._noted(super().binary(prim, x, y, made))

    def _noted(self, y):
        new = len(self.list.eqns) - len(self.list.lines)
        if new:
            self.list.lines += [user_line()] * new
        return y


class WatchedTrace(Watched, LinedTrace):
    """The same, looking for NaN."""

    __slots__ = ()


@contextlib.contextmanager
def patient_collector():
    """Python's cyclic collector at work less often: recording makes many objects and no cycles, and each pass looks at all of them."""
    usual = gc.get_threshold()
    if usual[0]:
        gc.set_threshold(max(usual[0], PATIENCE), *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def linearize(f, primals, active, verb, lasting=False):
    """Values of ``f`` at ``primals`` and the list of linear equations from the active inputs' tangents to the outputs'.

    Parameters
    ----------
    f : callable
        Takes arrays, returns a list of arrays.
    primals : sequence of array
    active : sequence of bool
        Which inputs are differentiated.
    lasting : bool
        Whether the list is used after the caller's own code runs again: large constants in it are then copies.

    Returns
    -------
    y : list of array
    linear_list : LinearList
        Its first variables are the tangents of the active inputs, in order.
    outputs : list of int or None
        Number of each output's tangent; None where it is zero.
    """
    return record(WatchedTrace if WATCH.get() else LinearTrace, f, primals, active, verb, lasting)


def record(kind, f, primals, active, verb, lasting=False):
    """:func:`linearize` under a given kind of trace."""
    trace = kind(verb, lasting)
    inputs = [wrap(trace, x, trace.list.new(aval_of(x))) if on else x for x, on in zip(primals, active, strict=True)]
    try:
        with patient_collector():
            out = f(*inputs)
        pairs = [(x.primal, x.dual) if isinstance(x, Tracer) and x.owner is trace else (x, None) for x in out]
    finally:
        trace.close()
    trace.held.check()
    trace.list.values, trace.list.origin = [p for p, _ in pairs], (f, primals, active, verb)
    return [p for p, _ in pairs], trace.list, [n for _, n in pairs]


def culprit(origin, recorded=None):
    """The operation whose derivative is infinite, in words: the function is run again with its lines noted."""
    try:
        _, again, _ = record(LinedTrace, *origin)
    except Exception:                                       # the function may not be run again: another trace has ended, a file is gone
        again = recorded or LinearList()
    for k, (_, prim, args, params) in enumerate(again.eqns):
        if prim is None and not finite([d for _, d in args if d.__class__ is not int]):
            return f"the derivative of `{params.name}` is not finite" + (f" ({again.lines[k]})" if again.lines else "")
    return "the derivative of some operation is not finite"


__all__ = ["LinearList", "LinedTrace", "Ref", "culprit", "linearize", "record"]

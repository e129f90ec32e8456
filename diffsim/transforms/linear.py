"""Reverse accumulation: direct linearisation into a flat list, and its transposition.

Running a function under a ``LinearTrace`` computes its values now and appends the linear equations of its tangents to a ``LinearList``.
An equation is a tuple ``(out, prim, args, params)`` with a ``Ref(number)`` for each linear operand; the equation of an elementwise
primitive is ``(out, None, terms, prim)``, ``terms`` holding ``(number, factor)``: the tangent is the sum of factors times tangents, where
the int 1 or -1 says that the tangent passes as it is or negated.  The list is data:
``push`` runs it forwards, ``pull`` transposes it.
"""

import contextlib
import gc
import operator

import numpy as np

from ..core import NO_PARAMS, ArrayTracer, Aval, Linear, Trace, Tracer, aval_of, bind, wrap
from ..core.aval import is_float
from ..core.held import Held
from ..core.plain import plain_derivs
from ..prims.elementwise import add, mul, neg
from ..prims.layout import like, unbroadcast
from .forward import split

BINARY = 2
#: Objects made between two passes of the cyclic collector while a program is recorded.
PATIENCE = 200_000
PLAIN = (np.ndarray, np.float64, np.float32)
WEAK = frozenset((bool, int, float, complex))


class Ref:
    """A linear operand of an equation, by number."""

    __slots__ = ("n",)

    def __init__(self, n):
        self.n = n


class LinearList:
    """Linear equations in order.  ``avals[i]`` is the aval of variable i; the first ones are the inputs."""

    __slots__ = ("avals", "eqns")

    def __init__(self):
        self.avals, self.eqns = [], []

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
        args = strong(args)
        avals = [aval_of(x) for x in args]
        out = prim.rule("aval")(*avals, **params)
        args = tuple(Ref(x.dual) if isinstance(x, Tracer) and x.owner is self else x for x in args)
        if prim.multiple:
            numbers = tuple(self.list.new(a) for a in out)
            self.list.eqns.append((numbers, prim, args, params))
            return tuple(wrap(self, a, n) for a, n in zip(out, numbers, strict=True))
        number = self.list.new(out)
        self.list.eqns.append((number, prim, args, params))
        return wrap(self, out, number)


class LinearTrace(Trace):
    """Computes values and records how tangents follow: ``primal`` is the value, ``dual`` the number of its tangent or None."""

    __slots__ = ("held", "list", "tangents")

    def __init__(self, verb, lasting=False):
        super().__init__(verb)
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

    def unary(self, prim, x):
        """One equation of one term.  With ``binary`` the hot path of eager derivatives, hence written out."""
        if prim.derivs is None:
            return self._general(prim, (x,), NO_PARAMS)
        n, x = x.dual, x.primal
        kind = x.__class__
        if kind is ArrayTracer or kind is Tracer:
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
        out, aval, shape = len(avals), avals[n], y.shape
        avals.append(aval if shape == aval.shape and y.dtype is aval.dtype else Aval(shape, y.dtype))
        linear_list.eqns.append((out, None, ((n, d),), prim))
        return ArrayTracer(self, y, out) if shape else Tracer(self, y, out)

    def binary(self, prim, x, y):                           # noqa: C901  (written out: calls cost more than the work)
        """One equation of one or two terms."""
        if prim.derivs is None:
            return self._general(prim, (x, y), NO_PARAMS)
        n = m = None
        plain = True
        kind = x.__class__
        if kind is ArrayTracer or kind is Tracer:
            if x.owner is self:
                n, x = x.dual, x.primal
                kind = x.__class__
            if kind is ArrayTracer or kind is Tracer:
                plain = False
        kind = y.__class__
        if kind is ArrayTracer or kind is Tracer:
            if y.owner is self:
                m, y = y.dual, y.primal
                kind = y.__class__
            if kind is ArrayTracer or kind is Tracer:
                plain = False
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
            terms = ()
        if m is not None and dy is not None:
            if dy.__class__ is not int:
                dy = dy(x, y, z)
                if dy is x and n is None and dy.__class__ is np.ndarray:
                    dy = self.held.keep(dy)
                elif dy.__class__ is int:
                    dy = float(dy)
            terms = (*terms, (m, dy)) if terms else ((m, dy),)
        if not terms:
            return z
        linear_list = self.list
        avals = linear_list.avals
        out, aval, shape = len(avals), avals[terms[0][0]], z.shape
        avals.append(aval if shape == aval.shape and z.dtype is aval.dtype else Aval(shape, z.dtype))
        linear_list.eqns.append((out, None, terms, prim))
        return ArrayTracer(self, z, out) if shape else Tracer(self, z, out)

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
            return tuple(v if t is None else wrap(self, v, t.dual) for v, t in zip(y, y_dot, strict=True))
        return wrap(self, y, y_dot.dual) if isinstance(y_dot, Tracer) and y_dot.owner is self.tangents else y

    def close(self):
        """End the trace: its tracers are dead, arrays it locked are writeable again."""
        self.alive = self.tangents.alive = False
        self.held.release()

    def concrete(self, tracer, what):
        return tracer.primal


def strong(args):
    """Operands with Python scalars made arrays of the dtype they take beside the others (NEP 50)."""
    if not any(type(x) in WEAK for x in args):
        return args
    dtypes = [x.dtype for x in args if hasattr(x, "dtype") and x.dtype.kind in "iufc"]
    return tuple(np.asarray(x, np.result_type(x, *dtypes)) if type(x) in WEAK else x for x in args)


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
    trace = LinearTrace(verb, lasting)
    inputs = [wrap(trace, x, trace.list.new(aval_of(x))) if on else x for x, on in zip(primals, active, strict=True)]
    try:
        with patient_collector():
            out = f(*inputs)
        pairs = [(x.primal, x.dual) if isinstance(x, Tracer) and x.owner is trace else (x, None) for x in out]
    finally:
        trace.close()
    trace.held.check()
    return [p for p, _ in pairs], trace.list, [n for _, n in pairs]


def push(linear_list, tangents, outputs):
    """Run the list forwards: tangents of the outputs (None for zero) from those of the active inputs.

    A value is dropped after its last use, so that memory is what lives at one time.
    """
    values, dead = dict(enumerate(tangents)), _last_uses(linear_list, outputs)
    for k, (out, prim, args, params) in enumerate(linear_list.eqns):
        if prim is None:
            values[out] = like(_scaled_sum(args, values), linear_list.avals[out])
        else:
            result = bind(prim, tuple(values[x.n] if x.__class__ is Ref else x for x in args), params)
            values.update(zip(out, result, strict=True) if prim.multiple else ((out, result),))
        for n in dead.get(k, ()):
            values[n] = None
    return [None if n is None else values[n] for n in outputs]


def _last_uses(linear_list, outputs):
    """For each equation, the variables read there for the last time; outputs excepted."""
    seen, dead = {n for n in outputs if n is not None}, {}
    for k in range(len(linear_list.eqns) - 1, -1, -1):
        _, prim, args, _ = linear_list.eqns[k]
        for n in [n for n, _ in args] if prim is None else [x.n for x in args if x.__class__ is Ref]:
            if n not in seen:
                seen.add(n)
                dead.setdefault(k, []).append(n)
    return dead


def _scaled_sum(terms, values):
    total = None
    for n, d in terms:
        term = mul(d, values[n]) if d.__class__ is not int else values[n] if d == 1 else neg(values[n])
        total = term if total is None else add(total, term)
    return total


def pull(linear_list, cotangents, outputs, n_inputs, product=operator.mul):
    """Transpose the list: cotangents of the active inputs (None for zero) from those of the outputs.

    Sums are formed in program order reversed, so results repeat bit for bit.  A sum that belongs to this sweep alone is added to in place.

    ``product`` multiplies a cotangent by a factor.
    """
    avals = linear_list.avals
    bars, owned = [None] * len(avals), bytearray(len(avals))
    for n, bar in zip(outputs, cotangents, strict=True):
        if n is not None and bar is not None:
            _accumulate(bars, owned, n, bar)
    for out, prim, args, params in reversed(linear_list.eqns):
        if prim is not None:
            _pull_equation(linear_list, bars, owned, (out, prim, args, params))
            continue
        y_bar = bars[out]
        if y_bar is None:
            continue
        bars[out] = None
        for n, d in args:
            bar = product(y_bar, d) if d.__class__ is not int else y_bar if d == 1 else -y_bar
            aval = avals[n]
            if bar.shape != aval.shape or bar.dtype is not aval.dtype:
                bar = unbroadcast(bar, aval)
            have = bars[n]
            if have is None:
                bars[n] = bar
            elif owned[n] and bar.__class__ is np.ndarray:
                have += bar
            else:
                bars[n] = have = have + bar
                owned[n] = have.__class__ is np.ndarray
    return bars[:n_inputs]


def _pull_equation(linear_list, bars, owned, eqn):
    out, prim, args, params = eqn
    avals = linear_list.avals
    if prim.multiple:
        y_bar = tuple(bars[n] for n in out)
        if all(b is None for b in y_bar):
            return
        y_bar = tuple(np.zeros(avals[n].shape, avals[n].dtype) if b is None else b for n, b in zip(out, y_bar, strict=True))
    else:
        y_bar = bars[out]
        if y_bar is None:
            return
        bars[out] = None
    first = args[0]
    if prim.linear_fast is not None and first.__class__ is Ref and y_bar.__class__ in PLAIN:
        n = first.n
        if bars[n] is None:
            bars[n], owned[n] = np.zeros(avals[n].shape, avals[n].dtype), 1
        if owned[n] and bars[n].__class__ is np.ndarray:
            prim.linear_fast(bars[n], y_bar, *args, **params)
            return
    x = tuple(Linear(avals[a.n]) if a.__class__ is Ref else a for a in args)
    for a, bar in zip(args, prim.rule("transpose")(y_bar, *x, **params), strict=True):
        if a.__class__ is Ref and bar is not None:
            _accumulate(bars, owned, a.n, bar)


def _accumulate(bars, owned, n, bar):
    have = bars[n]
    if have is None:
        bars[n] = bar
    elif owned[n] and bar.__class__ in PLAIN and have.dtype == bar.dtype:
        have += bar
    else:
        bars[n] = have = have + bar
        owned[n] = have.__class__ is np.ndarray


__all__ = ["LinearList", "is_float", "linearize", "pull", "push", "strong"]

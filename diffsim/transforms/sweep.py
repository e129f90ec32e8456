"""Sweeps over a list of linear equations: ``push`` runs it forwards, ``pull`` transposes it."""

import operator
import warnings

import numpy as np

from ..core import Linear, Tracer, bind
from ..prims.elementwise import add, neg
from ..prims.layout import like, unbroadcast
from .blocks import LARGE, late, times_late, twice
from .linear import LinearTrace, Ref, culprit, record
from .once import LATE, ONE_TERM
from .strong import STRONG, product, repaired
from .watch import WATCH, watched_sweep

PLAIN = (np.ndarray, np.float64, np.float32)
#: Arrays larger than this are multiplied in place where they may be: fresh memory costs more than the multiplication.
IN_PLACE = 4096
#: Length of an equation that every list may have.
GENERAL = 4


def push(linear_list, tangents, outputs):
    """Run the list forwards: tangents of the outputs (None for zero) from those of the active inputs.

    A value is dropped after its last use, so that memory is what lives at one time.
    """
    def run():
        return _push(linear_list, tangents, outputs)
    return repaired(run, run(), [*linear_list.values, *tangents], lambda: culprit(linear_list.origin, linear_list))


def _push(linear_list, tangents, outputs):
    values, dead, times = dict(enumerate(tangents)), _last_uses(linear_list, outputs), product()
    for k, (out, prim, args, params) in enumerate(linear_list.eqns):
        if prim is None:
            values[out] = like(_scaled_sum(args, values, times), linear_list.avals[out])
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


def _scaled_sum(terms, values, times):
    total = None
    for n, d in terms:
        term = times(values[n], d) if d.__class__ is not int else values[n] if d == 1 else neg(values[n])
        total = term if total is None else add(total, term)
    return total


def pull(linear_list, cotangents, outputs, n_inputs, consume=False):
    """Transpose the list: cotangents of the active inputs (None for zero) from those of the outputs.

    Sums are formed in program order reversed, so results repeat bit for bit.  A sum that belongs to this sweep alone is added to in place.

    With ``consume`` the list is emptied on the way, so that what an equation holds is free as soon as it has served; should the sweep have
    to be repeated, the list is recorded again.
    """
    if consume and not WATCH.get():
        return _consumed(linear_list, cotangents, outputs, n_inputs)

    def run(equations=linear_list.eqns):
        return _pull(linear_list.avals, reversed(equations), cotangents, outputs)

    bars = run()
    if WATCH.get():
        watched_sweep(linear_list, outputs, cotangents, bars, run)
    values = [v for v, bar in zip(linear_list.values, cotangents, strict=False) if bar is not None]
    return repaired(lambda: run()[:n_inputs], bars[:n_inputs], [*values, *cotangents], lambda: culprit(linear_list.origin, linear_list))


def _consumed(linear_list, cotangents, outputs, n_inputs):
    sweep, equations = (_pull_once, linear_list.eqns) if linear_list.once else (_pull, _emptied(linear_list.eqns))
    bars = sweep(linear_list.avals, equations, cotangents, outputs)[:n_inputs]
    if linear_list.origin is None:
        return bars

    def again():
        token = STRONG.set(False)                             # the same list as before: only this sweep is strong
        try:
            with warnings.catch_warnings(action="ignore"):    # said already
                _, more, numbers = record(LinearTrace, *linear_list.origin)
        finally:
            STRONG.reset(token)
        return _pull(more.avals, _emptied(more.eqns), cotangents, numbers[:len(outputs)])[:n_inputs]
    values = [v for v, bar in zip(linear_list.values, cotangents, strict=False) if bar is not None]
    return repaired(again, bars, [*values, *cotangents], lambda: culprit(linear_list.origin))


def _emptied(equations):
    """The equations last to first, each forgotten by the list."""
    while equations:
        yield equations.pop()


def _start(avals, outputs, cotangents):
    """Cotangents of all variables before a sweep, and which of them are arrays of the sweep's own (none)."""
    bars, owned = [None] * len(avals), bytearray(len(avals))
    for n, bar in zip(outputs, cotangents, strict=True):
        if n is not None and bar is not None:
            _accumulate(bars, owned, n, bar)
    return bars, owned


def _pull(avals, equations, cotangents, outputs):
    """Cotangents of all variables; ``equations`` come last to first."""
    times = product()
    overwrite = times is operator.mul
    bars, owned = _start(avals, outputs, cotangents)
    for out, prim, args, params in equations:
        if prim is not None:
            _pull_equation(avals, bars, owned, (out, prim, args, params))
            continue
        y_bar = bars[out]
        if y_bar is not None:
            bars[out] = None
            _pull_terms(avals, bars, owned, out, y_bar, args, times, overwrite)
    return bars


def _pull_terms(avals, bars, owned, out, y_bar, terms, times, overwrite):
    """One equation of an elementwise primitive, whatever the shapes."""
    mine = owned[out]                                       # nobody else holds this array: the last factor may overwrite it
    large = mine and overwrite and y_bar.size > IN_PLACE
    left = len(terms)
    for n, d in terms:
        left -= 1
        fresh = True
        if d.__class__ is not int:
            if large and not left and _fits(d, y_bar):
                y_bar *= d
                bar = y_bar
            else:
                bar = times(y_bar, d)
        elif d == 1:
            bar = y_bar
            fresh = mine and not left
            large = mine = False
        else:
            bar = -y_bar
        aval = avals[n]
        if bar.shape != aval.shape or bar.dtype is not aval.dtype:
            bar = unbroadcast(bar, aval)
        have = bars[n]
        if have is None:
            bars[n] = bar
            owned[n] = fresh and bar.__class__ is np.ndarray
        elif owned[n] and bar.__class__ is np.ndarray:
            have += bar
        else:
            bars[n] = have = have + bar
            owned[n] = have.__class__ is np.ndarray


def _pull_once(avals, equations, cotangents, outputs):      # noqa: C901  (the hot path of gradients is written out)
    """:func:`_pull` of a list with the equations of :mod:`~diffsim.transforms.once`, which is emptied.

    Arrays of one element are not written in place: NumPy takes twice as long for that as for a new one.
    """
    bars, owned = _start(avals, outputs, cotangents)
    array, multiply, last = np.ndarray, np.multiply, equations.pop
    while equations:
        equation = last()
        size = len(equation)
        if size == GENERAL:
            _pull_other(avals, bars, owned, equation)
            continue
        out = equation[0]
        y_bar = bars[out]
        if y_bar is None:
            continue
        bars[out] = None
        mine = owned[out]                                   # nobody else holds this array: the last factor may overwrite it
        if size == ONE_TERM:
            _, n, d = equation
        elif size == LATE:
            _, n, deriv, d, _ = equation
            d = times_late(y_bar, deriv, d) if mine and y_bar.size > LARGE else late(deriv, d)
        else:
            _, n, d, m, e, _ = equation
            if mine and not owned[n] and n != m:            # the last one takes the place of y_bar
                n, d, m, e = m, e, n, d
            if mine and d.__class__ is array and y_bar.size > LARGE and owned[n] and twice(y_bar, d, e, bars[n]):
                n, d = m, 1
            else:
                bar = y_bar * d if d.__class__ is not int else y_bar if d == 1 else -y_bar
                have = bars[n]
                if have is None:
                    bars[n] = bar
                    mine = mine and bar is not y_bar
                    owned[n] = bar is not y_bar and bar.__class__ is array and bar.size > 1
                elif owned[n] and bar.__class__ is array:
                    have += bar
                else:
                    bars[n] = have = have + bar
                    owned[n] = have.__class__ is array and have.size > 1
                n, d = m, e
        if d.__class__ is not int:
            if mine:
                bar = multiply(y_bar, d, y_bar)
            else:
                bar = y_bar * d
                mine = bar.__class__ is array and bar.size > 1
        elif d == 1:
            bar = y_bar
        else:
            bar = -y_bar
            mine = bar.__class__ is array and bar.size > 1
        have = bars[n]
        if have is None:
            bars[n] = bar
            owned[n] = mine
        elif owned[n] and bar.__class__ is array:
            have += bar
        else:
            bars[n] = have = have + bar
            owned[n] = have.__class__ is array and have.size > 1
    return bars


def _pull_other(avals, bars, owned, equation):
    """An equation of the general forms."""
    out, prim, args, _ = equation
    if prim is not None:
        _pull_equation(avals, bars, owned, equation)
        return
    y_bar = bars[out]
    if y_bar is not None:
        bars[out] = None
        _pull_terms(avals, bars, owned, out, y_bar, args, operator.mul, True)


def _symbolic(args):
    """Whether an operand is a tracer: positions of a graph, which no array can be indexed with."""
    return any(isinstance(a, Tracer) for a in args)


def _fits(d, y_bar):
    """Whether a product with ``d`` may take the place of ``y_bar``."""
    if d.__class__ is float:
        return True
    return d.__class__ in PLAIN and d.dtype == y_bar.dtype and (d.shape == y_bar.shape or not d.shape)


def _pull_equation(avals, bars, owned, eqn):
    out, prim, args, params = eqn
    if prim.multiple:
        y_bar = tuple(bars[n] for n in out)
        if all(b is None for b in y_bar):
            return
        y_bar = tuple(np.zeros(avals[n].shape, avals[n].dtype) if b is None else b for n, b in zip(out, y_bar, strict=True))
        for n in out:
            bars[n] = None
    else:
        y_bar = bars[out]
        if y_bar is None:
            return
        bars[out] = None
    first = args[0]
    in_place = prim.linear_fast is not None and first.__class__ is Ref and y_bar.__class__ in PLAIN and not _symbolic(args)
    if in_place and y_bar.dtype == avals[first.n].dtype:    # a complex cotangent of a real operand goes the general way
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


__all__ = ["pull", "push"]

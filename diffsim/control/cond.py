"""The choice between programs as a primitive: ``switch(index, *operands)`` runs one of several graphs.

Its tangent and its transpose are choices between the tangents and the transposes: the branch taken is computed again there.
"""

import hashlib

import numpy as np

from ..core import Aval, Graph, Linear, Primitive, Tracer, Var, bind, user_line
from ..prims.elementwise import add, equal, mul, where
from ..prims.family import zeros
from ..prims.gather import gather
from ..prims.layout import convert, reshape
from ..prims.reduce import argmax, reduce_any, reduce_max, reduce_min
from ..transforms import trace
from . import bodies, lean
from .bodies import NO_SAMPLES, derived, selected, spread, used
from .emit import SWITCH
from .patterns import of_switch

INDEX = np.dtype(np.int64)


class Branches(tuple):
    """Graphs of one signature."""

    __slots__ = ()

    @property
    def digest(self):
        """Hash of the programs."""
        return hashlib.sha256("".join(g.digest for g in self).encode()).hexdigest()

    def __str__(self):
        return ", ".join(f"graph {g.digest[:8]}" for g in self)


def branches_of(graphs):
    """Branches met before, if these compute the same."""
    return Branches(map(bodies.interned, graphs))


def _impl(i, *x, branches):
    n = int(i)
    if not 0 <= n < len(branches):
        raise IndexError(f"{user_line()}: switch: index {n}, but there are branches 0 to {len(branches) - 1}")
    return bodies.runner(branches[n])(*x)


def _aval(i, *x, branches):
    for g in branches:
        if list(x) != bodies.avals(g) or bodies.out_avals(g) != bodies.out_avals(branches[0]):
            raise ValueError(f"a branch of {[str(a) for a in bodies.avals(g)]} was given {[str(a) for a in x]}")
    return tuple(bodies.out_avals(branches[0]))


def _each(branches, key, make):
    """``make()`` once for these branches."""
    return derived(branches[0], (*key, branches[1:]), make)


def _aligned(graphs, flags, given):
    """Graphs with the outputs that any of them has (zeros elsewhere) and the first inputs that any of them reads."""
    out = tuple(map(any, zip(*flags, strict=True)))
    read = tuple(map(any, zip(*[used(g)[:given] for g in graphs], strict=True)))
    made = []
    for g, f in zip(graphs, flags, strict=True):
        values = spread(g.outputs, f)
        shapes = [next(v.aval for v in column if v is not None) if on else None for on, column in zip(
            out, zip(*[spread(h.outputs, k) for h, k in zip(graphs, flags, strict=True)], strict=True), strict=True)]
        full = [bodies.zero_const(a) if v is None else v for v, a, on in zip(values, shapes, out, strict=True) if on]
        made.append(Graph([*selected(g.inputs[:given], read), *g.inputs[given:]], g.eqns, full))
    return Branches(made), read, out


def _jvp(x, y, x_dot, *, branches):
    i, *x = x
    active = tuple(t is not None for t in x_dot[1:])
    if not any(active):
        return (None,) * len(y)

    def make():
        made = [bodies.tangent(g, active) for g in branches]
        return _aligned([t.graph for t in made], [t.out for t in made], len(x))
    tangents, read, out = _each(branches, ("tangents", active), make)
    operands = [*selected(x, read), *selected(x_dot[1:], active)]
    return tuple(spread(bind(switch, [i, *operands], {"branches": tangents}), out))


def _together(x, x_dot, *, branches):
    i, *x = x
    active = tuple(t is not None for t in x_dot[1:])
    n_out = len(branches[0].outputs)

    def make():
        made = [bodies.together(g, active) for g in branches]
        flags = [(*[True] * n_out, *t.out) for t in made]
        graphs, read, out = _aligned([t.graph for t in made], flags, len(x))
        return graphs, read, out[n_out:]
    graphs, read, out = _each(branches, ("together", active), make)
    both = bind(switch, [i, *selected(x, read), *selected(x_dot[1:], active)], {"branches": graphs})
    return both[:n_out], tuple(spread(both[n_out:], out))


def _transpose(y_bar, i, *x, branches):
    linear = tuple(isinstance(a, Linear) for a in x)
    at = len(linear) - sum(linear)

    def make():
        made = [bodies.transposed(g, linear) for g in branches]
        out = tuple(map(any, zip(*[t.out for t in made], strict=True)))
        graphs = []
        for t in made:                                      # all take the cotangents that any of them takes
            bars = spread(t.graph.inputs[at:], t.out)
            bars = [Var(a) if b is None else b for a, b, on in zip(bodies.out_avals(branches[0]), bars, out, strict=True) if on]
            graphs.append(Graph([*t.graph.inputs[:at], *bars], t.graph.eqns, t.graph.outputs))
        return (*_aligned(graphs, [[True] * sum(linear)] * len(graphs), at), out)
    graphs, read, _, out = _each(branches, ("back", linear), make)
    rest = selected([a for a in x if not isinstance(a, Linear)], read)
    return (None, *spread(bind(switch, [i, *rest, *selected(y_bar, out)], {"branches": graphs}), linear))


# ---------------------------------------------------------------- batches
def rows(x, at):
    """Members ``at`` of a batch."""
    shape = tuple(map(int, x.shape))
    size = int(np.prod(shape[1:]))
    flat = add(mul(reshape(at, shape=(shape[0], 1)), size), np.arange(size))
    return reshape(gather(x, flat), shape=shape)


def like_them(pick, n):
    """Each picked member itself, for the others the first picked one: numbers they never meet give no NaN to their derivatives."""
    if not n:
        return np.arange(0)
    return where(pick, np.arange(n), argmax(pick, axis=0))


def chosen(pick, yes, no):
    """``yes`` for picked members, ``no`` for the others."""
    return where(reshape(pick, shape=(int(pick.shape[0]), *[1] * (len(yes.shape) - 1))), yes, no)


def _all_wide(graph, n, flags):
    """The batched graph, every output with a batch axis."""
    made = bodies.batched(graph, n, flags)
    return lambda *x: [bodies.widened(v, n, on) for v, on in zip(bodies.eval_graph(made.graph, *x), made.out, strict=True)]


def _within(i, n, branches):
    """The indices of all members; computing them raises IndexError where one names no branch."""
    if not n or (not isinstance(i, Tracer) and 0 <= np.min(i) and np.max(i) < len(branches)):
        return i
    same = _each(branches, ("within", n), lambda: Branches([trace(lambda i: [i], [Aval((n,), INDEX)], verb="vmap")[0]] * len(branches)))
    for extreme in (reduce_min, reduce_max):
        (i,) = bind(switch, [extreme(i, axes=(0,)), i], {"branches": same})
    return i


def _batch(n, flags, i, *x, branches):
    flags = tuple(flags)
    given = [bodies.wide(a, n, on) for a, on in zip(bodies.avals(branches[0]), flags[1:], strict=True)]
    if not flags[0]:
        def make():
            return Branches(trace(_all_wide(g, n, flags[1:]), given, verb="vmap")[0] for g in branches)
        return bind(switch, [i, *x], {"branches": _each(branches, ("wide", n, flags), make)})
    i = _within(i, n, branches)
    outs = [bodies.wide(a, n) for a in bodies.out_avals(branches[0])]
    y = [zeros(a) for a in outs]
    for b, g in enumerate(branches):
        def taken(pick, *operands, g=g):
            at = like_them(pick, n)
            return _all_wide(g, n, flags[1:])(*[rows(v, at) if on else v for v, on in zip(operands, flags[1:], strict=True)])

        def make(taken=taken):
            signature = [Aval((n,), np.dtype(bool)), *given]
            return Branches(trace(f, signature, verb="vmap")[0] for f in (lambda *operands: [zeros(a) for a in outs], taken))
        pick = equal(i, b)
        some = convert(reduce_any(pick, axes=(0,)), dtype=INDEX)
        part = bind(switch, [some, pick, *x], {"branches": derived(g, ("taken", n, flags), make)})
        y = [chosen(pick, new, old) for new, old in zip(part, y, strict=True)]
    return tuple(y)


switch = Primitive("switch", impl=_impl, aval=_aval, jvp=_jvp, transpose=_transpose, batch=_batch, emit=SWITCH,
                   lean=lean.switch, samples=NO_SAMPLES,
                   multiple=True, sparsity=of_switch, together=_together)

__all__ = ["Branches", "branches_of", "chosen", "like_them", "rows", "switch"]

"""Tracing to a graph: the function is run once on symbols, and what it does is recorded."""

import numpy as np

from ..core import Const, Eqn, Graph, PythonNumbers, Trace, Tracer, Var, aval_of, concretization_error, user_line, wrap
from ..core.bits import one_number, same_bits
from ..core.held import changeable
from ..prims.layout import broadcast_to
from .operands import narrowed, strong


class GraphTrace(Trace):
    """Records primitives as equations: ``primal`` is an Aval, ``dual`` a graph variable.

    Tracers of outer levels that the function closes over become further inputs of the graph (``captured``), as do arrays of more than
    ``HOISTED_SIZE`` elements.  Arrays that hold one number everywhere (the cotangents of sums, most of all) become that number, repeated.
    """

    __slots__ = ("captured", "derives", "eqns", "hoist", "keep", "known", "lines")

    def __init__(self, verb, hoist=False, lines=False, keep=np.copy):
        super().__init__(verb)
        self.eqns, self.captured, self.known, self.hoist, self.lines, self.keep = [], [], {}, hoist, lines, keep
        self.derives = False

    def process(self, prim, args, params):
        args = strong(narrowed(prim, args))
        inputs = [self.atom(x) for x in args]
        if prim.prepare is not None:
            params = prim.prepare(args, None, params)
        out = prim.rule("aval")(*[x.aval for x in inputs], **params)
        outputs = [Var(a) for a in (out if prim.multiple else (out,))]
        self.eqns.append(Eqn(prim, inputs, params, outputs, user_line() if self.lines else None))
        made = tuple(wrap(self, v.aval, v) for v in outputs)
        return made if prim.multiple else made[0]

    def atom(self, x):
        """The graph's name for an operand."""
        if isinstance(x, Tracer):
            return x.dual if x.owner is self else self._capture(x)
        x = np.asarray(x)
        if self.hoist and x.size > HOISTED_SIZE and x.dtype.kind == "f":
            return self._repeated(x) if one_number(x) else self._capture(x)
        return Const(x.copy() if changeable(x) else x)

    def _repeated(self, x):
        """One number, broadcast."""
        out = Var(aval_of(x))
        self.eqns.append(Eqn(broadcast_to, [Const(x[(0,) * x.ndim])], {"shape": x.shape}, [out], user_line() if self.lines else None))
        return out

    def _capture(self, x):
        """The input that stands for an outer tracer, or for an array as it is now: one that was written since is another input."""
        key = id(x)
        known = self.known.get(key)
        if known is not None and not isinstance(x, Tracer) and not same_bits(known[1], x):
            known = None
        if known is None and not isinstance(x, Tracer):         # a loop and its derivative hold arrays of one content
            like = (k for k in self.known.values() if not isinstance(k[1], Tracer) and (k[1].shape, k[1].dtype) == (x.shape, x.dtype))
            known = next((k for k in like if same_bits(k[1], x)), None)
            if known is not None:
                known = self.known[key] = (*known[:2], x)
        if known is None:
            value = x if isinstance(x, Tracer) or not changeable(x) else self.keep(x)
            known = self.known[key] = (Var(aval_of(x)), value, x)
            self.captured.append(known[:2])
        return known[0]

    def concrete(self, tracer, what):
        raise concretization_error(tracer, what)


#: Constant arrays larger than this become inputs of a graph traced with ``hoist``.
HOISTED_SIZE = 64


def trace(f, avals, verb="make_graph", hoist=False, lines=False, keep=np.copy, weak=()):
    """Graph of ``f`` at the given avals, and the outer values it captured.

    Parameters
    ----------
    f : callable
        Takes arrays, returns a list of arrays.
    avals : sequence of Aval
    verb : str
        The user's verb, for messages.
    hoist : bool
        Whether large constant arrays become inputs.
    lines : bool
        Whether equations remember the user's line.
    keep : callable
        ``keep(array)`` gives a copy of a large constant array.
    weak : sequence of bool
        Which inputs are numbers of Python's, and take the dtype of what they are combined with.  Without it there are none at all.

    Returns
    -------
    graph : Graph
        Its inputs are ``len(avals)`` variables, then one for each captured value.
    captured : list
        Tracers of outer levels (and hoisted arrays), in the order of those inputs.
    """
    level = GraphTrace(verb, hoist, lines, keep)
    inputs = [Var(a) for a in avals]
    if weak:
        level.weak = PythonNumbers(v for v, on in zip(inputs, weak, strict=True) if on)
    try:
        outputs = [level.atom(x) for x in f(*[wrap(level, v.aval, v) for v in inputs])]
    finally:
        level.end()
    graph = Graph(inputs + [v for v, _ in level.captured], level.eqns, outputs)
    graph.derives, graph.narrowed = level.derives, level.weak is not None and level.weak.narrowed
    return graph, [x for _, x in level.captured]

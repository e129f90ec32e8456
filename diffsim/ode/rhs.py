"""A user's right-hand side as a system: traced to a graph, or kept as Python where it cannot be."""

import itertools

import numpy as np

from .. import tree
from ..codegen.emissions import emission
from ..control.jit import described, warn_once
from ..core import Aval, Eqn, Graph, Tracer, Var, eval_graph
from ..core.aval import is_float
from ..core.emission import Call
from ..errors import ConcretizationError, DerivativeLost, InputError, InputTypeError, MissingRule
from ..numpy.lending import taken
from ..numpy.rebind import original, rebound
from ..numpy.stacking import Handle, stacked
from ..passes import inline, optimise
from ..prims.layout import convert, reshape
from ..transforms import trace
from .arguments import recorded
from .system import FLOAT, SCALAR, System


class Arguments:
    """args of the user's function split into parameter leaves and constants."""

    def __init__(self, args):
        if args is None:
            args = ()
        if not isinstance(args, tuple):
            args = tuple(args) if isinstance(args, list) else (args,)
        flat, self.struct = tree.flatten(args)
        self.flat, self.is_leaf, self.leaves = flat, [], []
        for x in flat:
            x = x.read() if isinstance(x, Handle) else x
            x = stacked(x) if isinstance(x, np.ndarray) and x.dtype == object else x
            leaf = (isinstance(x, (Tracer, np.ndarray, np.generic)) and is_float(x.dtype)) or type(x) is float
            self.is_leaf.append(leaf)
            if leaf:
                self.leaves.append(np.float64(x) if type(x) is float else x if x.dtype == FLOAT else convert(x, dtype=FLOAT))

    def rebuild(self, leaves):
        """args with other leaves."""
        leaves = iter(leaves)
        return tree.unflatten(self.struct, [next(leaves) if leaf else x for x, leaf in zip(self.flat, self.is_leaf, strict=True)])


def _vector_of(f, n, fun):
    """dy/dt as one vector of shape (n,)."""
    if f is None:
        raise InputTypeError(f"solve_ivp: {getattr(original(fun), '__name__', 'fun')}(t, y) returned None; is a return missing?")
    f = stacked(f)
    shape = tuple(np.shape(f)) if not isinstance(f, Tracer) else f.shape
    name = getattr(original(fun), "__name__", "fun")
    if shape != (n,):
        if shape == () and n == 1:
            return reshape(f if isinstance(f, Tracer) else np.asarray(f, float), shape=(1,))
        raise InputError(f"solve_ivp: {name}(t, y) returned shape {shape}, but y0 has shape ({n},)")
    f = f if isinstance(f, Tracer) else np.asarray(f)
    if f.dtype.kind == "c":
        raise InputTypeError(f"solve_ivp: {name}(t, y) returned complex numbers; split the state into real and imaginary parts")
    return f if f.dtype == FLOAT else convert(f, dtype=FLOAT)


def system_of(fun, t0, y0, args):
    """System of the right-hand side and its parameter leaves (outer values it closes over included)."""
    if not callable(fun):
        raise InputTypeError(f"solve_ivp: fun must be callable, not a {type(fun).__name__}")
    n, split = y0.shape[0], Arguments(args)
    avals = [Aval(tuple(x.shape), FLOAT) for x in split.leaves]
    run = rebound(fun)

    def flat(t, y, *leaves):
        return [_vector_of(run(t, taken(y), *split.rebuild(map(taken, leaves))), n, fun)]

    try:
        graph, captured = trace(flat, [SCALAR, Aval((n,), FLOAT), *avals], verb="solve_ivp", hoist=True)
        graph = optimise(graph)
        _check_emission(graph)
        if _met_once(graph) and not any(map(recorded, (t0, y0, *split.leaves))):
            return _python_system(flat, avals, split.leaves, y0, t0, (fun, None)), split.leaves
    except (ConcretizationError, DerivativeLost, MissingRule) as reason:
        return _python_system(flat, avals, split.leaves, y0, t0, (fun, reason)), split.leaves
    graph, values = _hoisted(_in_double(graph))
    captured = [x if x.dtype == FLOAT else convert(x, dtype=FLOAT) for x in captured] + values
    return System(n, [v.aval for v in graph.inputs[2:]], graph=graph), [*split.leaves, *captured]


def _check_emission(graph):
    """Raise MissingRule, with the user's remedy, if an equation cannot become code."""
    for v in graph.inputs:
        if v.aval.dtype.kind == "c":
            raise MissingRule("solve_ivp", "emit", "stepping loops hand real numbers to a right-hand side, and it closes over complex ones")
    for eqn in inline(graph).eqns:
        emit = emission(eqn)
        if isinstance(emit, Call) and not emit.inside:
            raise MissingRule(eqn.prim.name, "emit", "a solve inside a right-hand side is not compiled")


def _met_once(graph):
    """Whether it calls a function of the user's that was not met before: one run of it is not worth compiling for."""
    return any(not getattr(eqn.params.get("fn"), "lasting", True) for eqn in graph.eqns)


def _in_double(graph):
    """The graph with every input in double precision, which is how loops hand over parameters: others are cast inside."""
    avals = [v.aval for v in graph.inputs]
    if all(a.dtype == FLOAT for a in avals):
        return graph

    def fun(*x):
        return eval_graph(graph, *[v if a.dtype == FLOAT else convert(v, dtype=a.dtype) for v, a in zip(x, avals, strict=True)])
    return trace(fun, [Aval(a.shape, FLOAT) for a in avals])[0]


#: Digests of programs up to their numbers, to the numbers they were first seen with.
_numbers_of = {}


def _hoisted(graph):
    """The graph, and values of inputs added to it.

    A right-hand side that comes back with other numbers in it (a constant in a closure that is varied) has them made inputs: it is
    compiled once more, and not for each number.
    """
    inputs = {}

    def place(x):
        if isinstance(x, Var) or x.value.ndim or x.value.dtype != FLOAT or x.value in (0.0, 1.0, -1.0, 2.0, 0.5):
            return x
        return inputs.setdefault(x, Var(x.aval))

    eqns = [Eqn(e.prim, map(place, e.inputs), e.params, e.outputs, e.line) for e in graph.eqns]
    bare = Graph([*graph.inputs, *inputs.values()], eqns, [place(x) for x in graph.outputs])
    values = [x.value[()] for x in inputs]
    if _numbers_of.setdefault(bare.digest, values) == values:
        return graph, []
    return bare, values


def _python_system(flat, avals, leaves, y0, t0, cause):
    """The right-hand side uncompiled; inside jit there is nothing to run, so the reason is passed on."""
    fun, reason = cause
    if any(map(recorded, (t0, y0, *leaves))):
        raise reason
    if reason is None:
        return _uncompiled(flat, avals, y0)
    place = described(fun)
    key = f"{place} {reason}" if isinstance(reason, MissingRule) else str(reason)
    warn_once(key, f"solve_ivp runs the right-hand side {place} uncompiled (the same answer, slower): {reason}")
    return _uncompiled(flat, avals, y0)


def _uncompiled(flat, avals, y0):
    return System(y0.shape[0], avals, fun=lambda t, y, *p: flat(t, y, *p)[0], digest=f"python {next(_python_systems)}")


_python_systems = itertools.count()

"""A user's right-hand side as a system: traced to a graph, or kept as Python where it cannot be."""

import inspect
import itertools
import threading

import numpy as np

from .. import tree
from ..codegen.emissions import emission
from ..control.jit import described, warn_once
from ..core import Aval, Eqn, Graph, Tracer, Var, eval_graph
from ..core.aval import is_float
from ..core.emission import Call
from ..core.switches import without
from ..errors import ConcretizationError, DerivativeLost, InputTypeError, MissingRule
from ..numpy.lending import taken
from ..numpy.rebind import original, rebound
from ..numpy.stacking import Handle, stacked
from ..passes import inline, optimise
from ..prims.complexes import make_complex
from ..prims.elementwise import add
from ..prims.layout import convert
from ..transforms import trace
from .arguments import first_member, in_double, recorded
from .events.conditions import Conditions
from .split import Split
from .states import vector_layout
from .system import FLOAT, SCALAR, System


def _is_row(x):
    """Whether args is a vector, whose elements are the arguments, as in SciPy."""
    return isinstance(x, (np.ndarray, Tracer)) and len(x.shape) == 1


class Arguments:
    """args of the user's function split into parameter leaves and constants."""

    def __init__(self, args):
        if args is None:
            args = ()
        if not isinstance(args, tuple):
            args = tuple(args) if isinstance(args, list) or _is_row(args) else (args,)
        flat, self.struct = tree.flatten(args)
        self.flat, self.kinds, self.leaves = flat, [], []
        for x in flat:
            x = x.read() if isinstance(x, Handle) else np.asarray(x)[()] if type(x) in (float, complex) else x
            x = stacked(x) if isinstance(x, np.ndarray) and x.dtype == object else x
            leaf = isinstance(x, (Tracer, np.ndarray, np.generic)) and is_float(x.dtype)
            self.kinds.append(x.dtype.kind if leaf else None)
            if leaf:
                self.leaves += in_double(x)

    def rebuild(self, leaves):
        """args with other leaves."""
        leaves = iter(leaves)
        flat = [x if kind is None else taken(make_complex(next(leaves), next(leaves)) if kind == "c" else next(leaves))
                for x, kind in zip(self.flat, self.kinds, strict=True)]
        return tree.unflatten(self.struct, flat)


def _told(fun, args):
    """The call of a right-hand side, in words: its name and what it was given."""
    names = ["t", "y", *[f"args[{i}]" for i in range(len(args))]]
    return f"{getattr(original(fun), '__name__', 'fun')}({', '.join(names)})"


def _explain(fun, given, error):
    """InputTypeError if a right-hand side does not take the arguments it was given."""
    try:
        signature = inspect.signature(original(fun))
    except (TypeError, ValueError):                       # a built-in function tells nothing
        return
    try:
        signature.bind(*given)
    except TypeError as reason:
        many = f"args has {len(given) - 2}" if len(given) > 2 else "there are no args"
        raise InputTypeError(f"solve_ivp: {described(fun)} was called with {len(given)} arguments, as fun(t, y, *args): {many}; "
                             f"it is {getattr(original(fun), '__name__', 'fun')}{signature}, and so {reason}") from error


def _flat(fun, split, layout, hybrid=None, apart=False):
    """The right-hand side as a function of t, the vector of the state and the leaves, to a list of vectors.

    The slopes, or their two parts if they are wanted ``apart``; then the conditions, if it is ``hybrid`` and there are any.
    """
    parts = [_slopes(part, split, layout) for part in (fun.parts if isinstance(fun, Split) else (fun,))]

    def slopes(t, y, leaves):
        found = [part(t, y, leaves) for part in parts]
        return found if apart or len(found) == 1 else [add(*found)]
    return hybrid.flat(slopes, split, layout) if hybrid else lambda t, y, *leaves: slopes(t, y, leaves)


def _slopes(fun, split, layout):
    """A right-hand side as a function of t, the vector of the state and a list of the leaves, to a vector."""
    run = rebound(fun)

    def slopes(t, y, leaves):
        given = (t, layout.argument(y), *split.rebuild(leaves))
        try:
            f = run(*given)
        except (TypeError, IndexError) as error:
            _explain(fun, given, error)
            if layout.scalar and any(word in str(error) for word in ("subscriptable", "index to scalar", "too many indices")):
                raise InputTypeError(f"solve_ivp: {described(fun)} takes an element of y, and y is a number because y0 is one: give "
                                     f"y0 = [...] for a vector") from error
            raise
        return layout.flat(f, _told(fun, given[2:]))
    return slopes


def system_of(fun, t0, y0, args, layout=None, hybrid=None, apart=False):
    """System of the right-hand side and its parameter leaves (outer values it closes over included).

    If it is ``hybrid``, the leaves that differ between its stretches come first, and it learns its conditions.

    Parameters
    ----------
    fun : callable
    t0, y0 : scalar, shape (n,)
        Whether these are numbers decides whether a right-hand side that cannot be traced can run at all.
    args : tuple or None
    layout : Layout, optional
        How the user's state lies in the vector; default: it is the vector.
    hybrid : Hybrid, optional
        Events and scheduled times.
    apart : bool
        Whether the two parts of a :class:`Split` make one system each, the second as ``gentle`` of the first.
    """
    if not callable(fun):
        raise InputTypeError(f"solve_ivp: fun must be callable, not a {type(fun).__name__}")
    layout, split = layout or vector_layout(y0.shape[0]), Arguments(args)
    n = layout.n
    leaves = split.leaves if hybrid is None else [*map(np.zeros, hybrid.extras(n)), *split.leaves]
    avals = [Aval(tuple(x.shape), FLOAT) for x in leaves]
    flat = _flat(fun, split, layout, hybrid, apart)
    try:
        graph, captured = trace(flat, [SCALAR, Aval((n,), FLOAT), *avals], verb="solve_ivp", hoist=True)
        reason = None
        if _met_once(graph) and not any(map(recorded, (t0, y0, *leaves))):
            graph = None
        else:
            system, conditions, values = _traced_system(graph, apart)
    except (ConcretizationError, DerivativeLost, MissingRule) as why:
        graph, reason = None, why
    if graph is None and hybrid is not None and not any(map(recorded, (t0, y0, *leaves))):
        flat(*map(first_member, (t0, y0, *leaves)))          # so that it tells what is to be watched
    if hybrid is not None and hybrid.learnt():
        return system_of(fun, t0, y0, args, layout, hybrid, apart)
    if graph is None:
        system = _python_system(flat, avals, leaves, y0, t0, (fun, reason), apart)
        _watch(hybrid, system, fun=lambda t, y, *p: flat(t, y, *p)[-1])
        return system, leaves
    _watch(hybrid, system, graph=conditions)
    return system, [*leaves, *[part for x in captured for part in in_double(x)], *values]


def _watch(hybrid, system, graph=None, fun=None):
    """Let a solve of stretches know its conditions, as a graph or as Python."""
    if hybrid is not None:
        digest = None if fun is None else f"{system.digest} conditions"
        if not hybrid.count:
            graph, fun, digest = None, None, "stops"
        hybrid.conditions = Conditions(system.n, system.p_avals, *hybrid.ways(), graph=graph, fun=fun, digest=digest, names=hybrid.names())


#: Systems of the programs met last, and values of the inputs added to them (see ``_hoisted``), by what was traced.
_known, _lock = {}, threading.Lock()
KEPT = 128


def _traced_system(graph, apart):
    """The system of a traced right-hand side, the graph of its conditions (None without), and values of the inputs added to it.

    A program that comes back, as in a loop of solves, has its system back, with what was derived from it.
    """
    key = graph.digest, without(), apart
    found = _known.get(key)
    if found is None:
        made = optimise(_of_doubles(graph))
        _check_emission(made)
        made, values = _hoisted(made)
        parts = [made] if len(made.outputs) == 1 else [optimise(Graph(made.inputs, made.eqns, [x])) for x in made.outputs]
        n, avals, slopes = made.inputs[1].aval.size, [v.aval for v in made.inputs[2:]], 2 if apart else 1
        system = _of_parts([System(n, avals, graph=part) for part in parts[:slopes]])
        found = system, parts[slopes] if len(parts) > slopes else None, values
        with _lock:
            while len(_known) >= KEPT:
                del _known[next(iter(_known))]
            _known[key] = found
    return found


def _of_parts(systems):
    """One system of one or two parts of its slopes."""
    return systems[0] if len(systems) == 1 else systems[0].with_gentle(systems[1])


def _check_emission(graph):
    """Raise MissingRule, with the user's remedy, if an equation cannot become code."""
    for eqn in inline(graph).eqns:
        emit = emission(eqn)
        if isinstance(emit, Call) and not emit.inside:
            raise MissingRule(eqn.prim.name, "emit", "a solve inside a right-hand side is not compiled")


def _met_once(graph):
    """Whether it calls a function of the user's that was not met before: one run of it is not worth compiling for."""
    return any(not getattr(eqn.params.get("fn"), "lasting", True) for eqn in graph.eqns)


def _of_doubles(graph):
    """The graph with every input in double precision, complex ones as two: others are made of them inside."""
    avals = [v.aval for v in graph.inputs]
    if all(a.dtype == FLOAT for a in avals):
        return graph

    def fun(*x):
        x, values = iter(x), []
        for a in avals:
            v = make_complex(next(x), next(x)) if a.dtype.kind == "c" else next(x)
            values.append(v if v.dtype == a.dtype else convert(v, dtype=a.dtype))
        return eval_graph(graph, *values)
    return trace(fun, [Aval(a.shape, FLOAT) for a in avals for _ in range(2 if a.dtype.kind == "c" else 1)])[0]


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


def _python_system(flat, avals, leaves, y0, t0, cause, apart):
    """The right-hand side uncompiled; inside jit there is nothing to run, so the reason is passed on."""
    fun, reason = cause
    if any(map(recorded, (t0, y0, *leaves))):
        raise reason
    if reason is None:
        return _uncompiled(flat, avals, y0, apart)
    place = described(fun)
    key = f"{place} {reason}" if isinstance(reason, MissingRule) else str(reason)
    warn_once(key, f"solve_ivp runs the right-hand side {place} uncompiled (the same answer, slower): {reason}")
    return _uncompiled(flat, avals, y0, apart)


def _uncompiled(flat, avals, y0, apart):
    def part(i):
        return System(y0.shape[0], avals, fun=lambda t, y, *p: flat(t, y, *p)[i], digest=f"python {next(_python_systems)}")
    return _of_parts([part(i) for i in range(2 if apart else 1)])


_python_systems = itertools.count()

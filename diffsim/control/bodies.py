"""Graphs as functions: run on arrays, differentiated, transposed, batched.

What is derived from a graph is a graph again, made once and kept as long as the graph lives; graphs that compute the same are made one
object (:func:`interned`), so that a loop met again in the next call of a program finds everything derived from its body.
"""

import contextvars
import functools
import threading
import weakref
from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from ..core import Absent, Aval, Const, Eqn, Graph, Tracer, Var, aval_of, eval_graph, wrap
from ..core.aval import is_float
from ..passes import dce, finished, optimise
from ..passes.cse import param_key
from ..prims.elementwise import mul
from ..prims.layout import broadcast_to
from ..transforms import forward, linearize, pull, push, trace
from ..transforms.batch import batch
from ..transforms.linear import LinearTrace
from ..transforms.strong import STRONG, strong_product

#: Slots of the primitives of control flow.
NOT_EMITTED = Absent("control flow runs in the graph interpreter")
NO_SAMPLES = Absent("its operands follow from a graph: tests/test_control.py holds its laws")
#: While loops of unknown length are recorded as if their number of iterations were known: a list of the symbols of these numbers.
ASSUMED = contextvars.ContextVar("assumed", default=None)
#: Graphs kept for later calls.
INTERNED = 512
_interned, _derived, _lock = OrderedDict(), weakref.WeakKeyDictionary(), threading.Lock()


def interned(graph):
    """The graph of that digest met first."""
    with _lock:
        have = _interned.get(graph.digest)
        if have is None or not _same(have, graph):
            have = _interned[graph.digest] = graph
        _interned.move_to_end(graph.digest)
        while len(_interned) > INTERNED:
            _interned.popitem(last=False)
    return have


def _same(a, b):
    """Whether graphs of one digest have one meaning too: primitives are named in it, and parameters printed."""
    return all(x.prim is y.prim and params_key(x) == params_key(y) for x, y in zip(a.eqns, b.eqns, strict=True))


def params_key(eqn):
    """The parameters of an equation, for comparison; graphs by identity."""
    return [(k, [id(g) for g in v]) if isinstance(v, tuple) and any(isinstance(g, Graph) for g in v) else
            (k, id(v)) if isinstance(v, Graph) else (k, param_key(v)) for k, v in sorted(eqn.params.items())]


def derived(graph, key, make):
    """``make()``, once for a graph and a key."""
    table = _derived.get(graph)
    if table is None:
        table = _derived[graph] = {}
    if key not in table:
        token = STRONG.set(False)                             # a graph is for all sweeps: those that repair run it strongly
        outer = ASSUMED.set(None)                             # and loops inside it have numbers of iterations of their own
        try:
            table[key] = make()
        finally:
            ASSUMED.reset(outer)
            STRONG.reset(token)
    return table[key]


def avals(graph):
    """Avals of the inputs."""
    return [v.aval for v in graph.inputs]


def avals_of(values):
    """Avals of values."""
    return [aval_of(x) for x in values]


def out_avals(graph):
    """Avals of the outputs."""
    return [x.aval for x in graph.outputs]


def zeros(aval):
    """Zeros of an aval."""
    return np.zeros(aval.shape, aval.dtype)


def filled(values, like):
    """Values with zeros where there is None."""
    return [zeros(a) if v is None else v for v, a in zip(values, like, strict=True)]


def selected(values, flags):
    """Values whose flag is set."""
    return [v for v, on in zip(values, flags, strict=True) if on]


def spread(values, flags):
    """The inverse of :func:`selected`: None where the flag is not set."""
    values = iter(values)
    return [next(values) if on else None for on in flags]


# ---------------------------------------------------------------- running
def runner(graph):
    """The graph as a Python function of arrays: straight-line code, each value forgotten after its last use.

    While spoiled derivatives are repaired products are strong: 0 times infinity is 0.
    """
    strong = STRONG.get()
    return derived(graph, ("run", strong), lambda: _compiled(optimise(graph), strong))


def _compiled(graph, strong):
    last = {}
    for n, eqn in enumerate(graph.eqns):
        last.update(dict.fromkeys((x for x in eqn.inputs if isinstance(x, Var)), n))
    for x in graph.outputs:
        last[x] = len(graph.eqns)
    name = {v: f"v{i}" for i, v in enumerate(graph.inputs)}
    scope, lines = {"__name__": __name__}, [f"def run({', '.join(name.values())}):"]

    def read(x):
        if isinstance(x, Var):
            return name[x]
        key = f"c{len(scope)}"
        scope[key] = x.value
        return key

    for n, eqn in enumerate(graph.eqns):
        key = f"f{len(scope)}"
        impl = strong_product if strong and eqn.prim is mul else eqn.prim.impl
        scope[key] = functools.partial(impl, **eqn.params) if eqn.params else impl
        call = f"{key}({', '.join(map(read, eqn.inputs))})"
        for v in eqn.outputs:
            name[v] = f"v{len(name)}" if v in last else "_"
        left = ", ".join(name[v] for v in eqn.outputs) + (", " if eqn.prim.multiple and eqn.outputs else "")
        lines.append(f"    {left} = {call}" if eqn.outputs else f"    {call}")
        dead = dict.fromkeys(name[x] for x in eqn.inputs if isinstance(x, Var) and last[x] == n)
        dead |= dict.fromkeys(name[v] for v in eqn.outputs if v not in last)
        if dead:
            lines.append(f"    del {', '.join(dead)}")
    outputs = [name[x] if isinstance(x, Var) else f"{read(x)}.copy()" for x in graph.outputs]
    lines.append(f"    return ({''.join(f'{x}, ' for x in outputs)})")
    exec(compile("\n".join(lines), "<graph>", "exec"), scope)
    return scope["run"]


def lowered(graph):
    """The graph as code is generated from it."""
    return derived(graph, "lowered", lambda: finished(graph))


# ---------------------------------------------------------------- what a body passes on
#: For primitives that hand operands on unchanged: ``rule(params) -> tuple``, for each value the number of the operand it is, or None.
PASSING = {}


def passed(graph):
    """For each output the number of the input it always equals, or None."""
    return derived(graph, "passed", lambda: _passed(graph))


def _passed(graph):
    source = {v: i for i, v in enumerate(graph.inputs)}
    for eqn in graph.eqns:
        rule = PASSING.get(eqn.prim.name)
        if rule is not None:
            for v, i in zip(eqn.outputs, rule(eqn.params), strict=True):
                if i is not None and eqn.inputs[i] in source:
                    source[v] = source[eqn.inputs[i]]
    return tuple(source.get(x) for x in graph.outputs)


def constant_carries(body, carries):
    """Which of the first ``carries`` inputs of a loop's body come back as they are."""
    return tuple(i == j for j, i in enumerate(passed(body)[:carries]))


def used(graph):
    """Which inputs are read."""
    read = {x for eqn in graph.eqns for x in eqn.inputs} | set(graph.outputs)
    return tuple(v in read for v in graph.inputs)


# ---------------------------------------------------------------- derivatives
class Tangent(NamedTuple):
    """A tangent program: inputs of the primal graph, saved values, tangents of the active inputs; ``out`` marks the outputs it has."""

    graph: Graph
    out: tuple


def tangent(graph, active, saved=0):
    """Linear part of the derivative along the active inputs.

    The last ``saved`` outputs of the graph are intermediate values that the tangent program takes as inputs, and does not compute.
    """
    return derived(graph, ("tangent", active, saved), lambda: _tangent(graph, active, saved))


def _tangent(graph, active, saved):
    at, found = len(graph.inputs), {}

    def f(*operands):
        y, equations, outputs = linearize(lambda *x: eval_graph(graph, *x), operands[:at], active, "a tangent")
        dots = push(equations, operands[at:], outputs)
        found["out"] = tuple(t is not None for t in dots)
        return [t for t in dots if t is not None] + y[len(y) - saved:]

    made, _ = trace(f, avals(graph) + selected(avals(graph), active), verb="a tangent")
    extra, fresh = made.outputs[len(made.outputs) - saved:], []
    place = {}
    for x in extra:                                       # what was computed is given
        v = Var(x.aval)
        fresh.append(v)
        if isinstance(x, Var) and x not in made.inputs:
            place[x] = v
    eqns = [Eqn(e.prim, [place.get(x, x) for x in e.inputs], e.params, e.outputs, e.line) for e in made.eqns]
    outputs = [place.get(x, x) for x in made.outputs[:len(made.outputs) - saved]]
    return Tangent(optimise(Graph([*made.inputs[:at], *fresh, *made.inputs[at:]], eqns, outputs)), found["out"])


def together(graph, active):
    """Value and tangent: inputs of the graph, then tangents of the active ones; outputs, then the tangents marked by ``out``."""
    return derived(graph, ("together", active), lambda: _together(graph, active))


def _together(graph, active):
    at, found = len(graph.inputs), {}

    def f(*operands):
        y, y_dot = forward.jvp(lambda *x: eval_graph(graph, *x), operands[:at], spread(operands[at:], active), "a tangent")
        found["out"] = tuple(t is not None for t in y_dot)
        return [*y, *[t for t in y_dot if t is not None]]

    made, _ = trace(f, avals(graph) + selected(avals(graph), active), verb="a tangent")
    return Tangent(optimise(made), found["out"])


class Transposed(NamedTuple):
    """Cotangents of linear inputs: inputs are the other inputs, then the cotangents of the outputs that depend on linear ones (``out``)."""

    graph: Graph
    out: tuple


def transposed(graph, linear):
    """Transpose of a graph in the inputs it is linear in."""
    return derived(graph, ("transposed", linear), lambda: _transposed(graph, linear))


def _transposed(graph, linear):
    at, found = len(linear) - sum(linear), {}
    inputs, outs = avals(graph), out_avals(graph)
    carrying = [is_float(a.dtype) for a in outs]

    def f(*operands):
        bars = spread(operands[at:], carrying)
        got, found["out"] = transpose_by_trace(lambda *x: eval_graph(graph, *x), operands[:at], inputs, linear, bars)
        return got

    made, _ = trace(f, selected(inputs, [not on for on in linear]) + selected(outs, carrying), verb="a transpose")
    made = optimise(made)
    bars = spread(made.inputs[at:], carrying)
    return Transposed(Graph(made.inputs[:at] + selected(bars, found["out"]), made.eqns, made.outputs), found["out"])


def transpose_by_trace(f, rest, inputs, linear, bars):
    """Cotangents of the linear inputs of ``f`` (zeros spelled out), and which outputs depend on them.

    Parameters
    ----------
    f : callable
        Of arrays, linear in some, returning a list.
    rest : sequence of array
        The other operands.
    inputs : sequence of Aval
        Of all operands.
    linear : sequence of bool
    bars : sequence of array or None
        Cotangents of the outputs.
    """
    level, rest = LinearTrace("a transpose"), iter(rest)
    made = [wrap(level.tangents, a, level.list.new(a)) if on else next(rest) for a, on in zip(inputs, linear, strict=True)]
    try:
        numbers = [x.dual if isinstance(x, Tracer) and x.owner is level.tangents else None for x in f(*made)]
    finally:
        level.close()
    got = pull(level.list, bars, numbers, sum(linear), consume=True)
    return filled(got, selected(inputs, linear)), tuple(n is not None for n in numbers)


# ---------------------------------------------------------------- batches
class Batched(NamedTuple):
    """The graph for all members at once; ``out`` marks the outputs with a batch axis, which leads."""

    graph: Graph
    out: tuple


def batched(graph, n, flags):
    """The graph for ``n`` members; flagged inputs have a leading axis of length n."""
    return derived(graph, ("batched", n, flags), lambda: _batched(graph, n, flags))


def wide(aval, n, on=True):
    """Aval with a batch axis."""
    return Aval((n, *aval.shape), aval.dtype) if on else aval


def _batched(graph, n, flags):
    found = {}

    def f(*operands):
        y, on = batch(lambda *x: eval_graph(graph, *x), n, operands, flags)
        found["out"] = tuple(on)
        return y

    made, _ = trace(f, [wide(a, n, on) for a, on in zip(avals(graph), flags, strict=True)], verb="vmap")
    return Batched(optimise(made), found["out"])


def widened(x, n, on):
    """A value with a batch axis; repeated if it has none."""
    return x if on else broadcast_to(x, shape=(n, *map(int, x.shape)))


def with_outputs(graph, outputs):
    """The graph with other outputs, dead equations dropped."""
    return dce(Graph(graph.inputs, graph.eqns, outputs))


def zero_const(aval):
    """Zeros as a graph's constant."""
    return Const(zeros(aval))

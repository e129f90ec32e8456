"""The loop of known length as a primitive, closed under differentiation.

Operands are the carries, then the arrays whose slices the steps read; the body is a graph from carries and slices to carries and slices of
results.  A carry the body returns as it is is a constant of the loop; what a body closes over comes in that way.  Values are the last
carries, the stacked results, and for each carry the states it had before each step where ``keep`` asks for them (else none).

The tangent of a scan is a scan of the tangents alone: it reads the kept states as slices.  It is linear in all its carries but constants,
so its transpose is a scan of the transposed body from the other end, whose carries are the cotangents.  Both are ordinary scans and have
derivatives of their own.  Forward mode carries value and tangent together and keeps nothing.

With fewer states kept a loop is a chain of parts (``schedule.py``), each but the last a ``checkpoint`` (``remat.py``): a part that is not
kept is computed again when it is transposed, and consists of such parts itself.
"""

from typing import NamedTuple

import numpy as np

from ..core import Aval, Graph, Linear, Primitive, Var, bind, eval_graph
from ..prims.elementwise import add
from ..prims.layout import basic, concatenate, index, reshape
from ..prims.layout import transpose as permuted
from ..transforms import trace
from . import bodies, lean
from .bodies import NO_SAMPLES, constant_carries, derived, filled, selected, spread, used
from .emit import SCAN
from .long import by_program
from .patterns import of_scan
from .remat import PLAIN, checkpoint
from .schedule import segments, two_level


def _counts(body, carries):
    """Numbers of sliced operands and of stacked results."""
    return len(body.inputs) - carries, len(body.outputs) - carries


def _stacked(n, aval):
    return Aval((n, *aval.shape), aval.dtype)


def _impl(*x, body, length, reverse, carries, keep, asked):
    params = {"body": body, "length": length, "reverse": reverse, "carries": carries, "keep": keep, "asked": asked}
    compiled = by_program("scan", x, body, length, params)
    return _by_steps(*x, **params) if compiled is None else compiled


def _by_steps(*x, body, length, reverse, carries, keep, asked):
    """The loop as Python."""
    run, state, xs = bodies.runner(body), x[:carries], x[carries:]
    ys = [np.empty((length, *a.shape), a.dtype) for a in bodies.out_avals(body)[carries:]]
    kept = [np.empty((length if j in keep else 0, *v.aval.shape), v.aval.dtype) for j, v in enumerate(body.inputs[:carries])]
    for i in range(length - 1, -1, -1) if reverse else range(length):
        for j in keep:
            kept[j][i] = state[j]
        out = run(*state, *[a[i] for a in xs])
        state = out[:carries]
        for y, v in zip(ys, out[carries:], strict=True):
            y[i] = v
    return (*state, *ys, *kept)


def _aval(*x, body, length, reverse, carries, keep, asked):
    given = [Aval(a.shape[1:], a.dtype) if i >= carries else a for i, a in enumerate(x)]
    if given != bodies.avals(body):
        raise ValueError(f"a scan of a body of {[str(a) for a in bodies.avals(body)]} was given {[str(a) for a in x]}")
    out = bodies.out_avals(body)
    return (*out[:carries], *[_stacked(length, a) for a in out[carries:]],
            *[_stacked(length if j in keep else 0, a) for j, a in enumerate(out[:carries])])


# ---------------------------------------------------------------- which carries have tangents
def carried(program, body, carries, active):
    """``program(body, active)`` with the carries made active that become so in some step, and those flags."""
    active = list(active)
    while True:
        made = program(body, tuple(active))
        grown = [a or b for a, b in zip(active[:carries], made.out[:carries], strict=True)]
        if grown == active[:carries]:
            return made, tuple(active)
        active[:carries] = grown


class Plan(NamedTuple):
    """The tangent of a scan as a scan: its body and where its operands come from, by number of the carry or of the sliced operand."""

    body: Graph
    active: tuple                                         # operands with a tangent
    constants: tuple                                      # constant carries it reads
    states: tuple                                         # carries it reads in each step
    slices: tuple                                         # sliced operands it reads
    out: tuple                                            # results with a tangent


def plan(body, carries, active):
    """The tangent scan of a body."""
    return derived(body, ("plan", carries, active), lambda: _plan(body, carries, active))


def _plan(body, carries, active):
    (graph, out), active = carried(bodies.tangent, body, carries, active)
    constant, total = constant_carries(body, carries), len(body.inputs)
    read, primal, dots = used(graph), graph.inputs[:total], graph.inputs[total:]
    constants = tuple(j for j in range(carries) if read[j] and constant[j])
    states = tuple(j for j in range(carries) if read[j] and not constant[j])
    slices = tuple(j for j in range(carries, total) if read[j])
    n_dots = sum(active[:carries])
    inputs = [*[primal[j] for j in constants], *dots[:n_dots], *[primal[j] for j in (*states, *slices)], *dots[n_dots:]]
    values = spread(graph.outputs, out)
    ends = [bodies.zero_const(body.inputs[j].aval) if values[j] is None else values[j] for j in range(carries) if active[j]]
    outputs = [*[primal[j] for j in constants], *ends, *[v for v in values[carries:] if v is not None]]
    return Plan(Graph(inputs, graph.eqns, outputs), active, constants, states, tuple(j - carries for j in slices), out[carries:])


def linear_scan(made, x, kept, x_dot, *, length, reverse, carries, asked):
    """Tangents of the last carries, the results and the ``asked`` kept states; each a list with None where there is none."""
    on, n_constants = made.active[:carries], len(made.constants)
    starts = selected(filled(x_dot[:carries], bodies.avals_of(x[:carries])), on)
    number = {j: n_constants + i for i, j in enumerate(j for j in range(carries) if on[j])}
    keep = tuple(number[j] for j in asked if j in number)
    operands = [*[x[j] for j in made.constants], *starts, *[kept[j] for j in made.states], *[x[carries + j] for j in made.slices],
                *selected(x_dot[carries:], made.active[carries:])]
    n_carries = n_constants + len(starts)
    out = bind(scan, operands, dict(body=made.body, length=length, reverse=reverse, carries=n_carries, keep=keep, asked=keep))
    ends = spread(out[n_constants:n_carries], on)
    results = spread(out[n_carries:n_carries + sum(made.out)], made.out)
    states = out[n_carries + sum(made.out):]
    return ends, results, [states[number[j]] if j in asked and j in number else None for j in range(carries)]


# ---------------------------------------------------------------- derivatives
def _prepare(x, active, params):
    """Before a derivative is taken, have the states kept that it reads; what was kept for others before needs a derivative too."""
    if active is None:
        return params
    need = plan(params["body"], params["carries"], active).states
    return {**params, "keep": tuple(sorted({*params["keep"], *need})), "asked": params["keep"]}


def _jvp(x, y, x_dot, *, body, length, reverse, carries, keep, asked):
    made = plan(body, carries, tuple(t is not None for t in x_dot))
    kept = y[len(y) - carries:]
    if not set(made.states) <= set(keep):                 # nobody called prepare
        params = dict(body=body, length=length, reverse=reverse, carries=carries, keep=made.states, asked=())
        kept = bind(scan, x, params)[len(y) - carries:]
    ends, results, states = linear_scan(made, x, kept, x_dot, length=length, reverse=reverse, carries=carries, asked=asked)
    return (*ends, *results, *states)


def _together(x, x_dot, *, body, length, reverse, carries, keep, asked):
    graph, active, out = doubled(body, carries, tuple(t is not None for t in x_dot))
    on, on_xs = active[:carries], active[carries:]
    starts = selected(filled(x_dot[:carries], bodies.avals_of(x[:carries])), on)
    number = {j: carries + i for i, j in enumerate(j for j in range(carries) if on[j])}
    both = tuple(sorted({*keep, *[number[j] for j in keep if j in number]}))
    operands = [*x[:carries], *starts, *x[carries:], *selected(x_dot[carries:], on_xs)]
    n, n_y = carries + len(starts), len(body.outputs) - carries
    y = bind(scan, operands, dict(body=graph, length=length, reverse=reverse, carries=n, keep=both, asked=both))
    ends, results, kept = y[:n], y[n:len(y) - n], y[len(y) - n:]
    value = (*ends[:carries], *results[:n_y], *kept[:carries])
    states = [kept[number[j]] if j in keep and j in number else None for j in range(carries)]
    return value, (*spread(ends[carries:], on), *spread(results[n_y:], out), *states)


def doubled(body, carries, active):
    """Body of value and tangent together, the operands that have a tangent in it, and the results that do."""
    return derived(body, ("doubled", carries, active), lambda: _doubled(body, carries, active))


def _doubled(body, carries, active):
    (graph, out), active = carried(bodies.together, body, carries, active)
    total, n_out, n_dots = len(body.inputs), len(body.outputs), sum(active[:carries])
    primal, dots = graph.inputs[:total], graph.inputs[total:]
    values, dot_values = graph.outputs[:n_out], spread(graph.outputs[n_out:], out)
    ends = [bodies.zero_const(body.inputs[j].aval) if dot_values[j] is None else dot_values[j] for j in range(carries) if active[j]]
    both = Graph([*primal[:carries], *dots[:n_dots], *primal[carries:], *dots[n_dots:]], graph.eqns,
                 [*values[:carries], *ends, *values[carries:], *[t for t in dot_values[carries:] if t is not None]])
    return both, active, out[carries:]


# ---------------------------------------------------------------- transposition
def _transpose(y_bar, *x, body, length, reverse, carries, keep, asked):
    asked_for = tuple(isinstance(a, Linear) for a in x)
    _, linear = carried(bodies.transposed, body, carries, asked_for)      # a tangent may start from zeros
    bars = cotangents(y_bar, x, linear, body, length, reverse, carries, keep)
    return tuple(b if on else None for b, on in zip(bars, asked_for, strict=True))


def cotangents(y_bar, x, linear, body, length, reverse, carries, keep):
    """Cotangents of the linear operands."""
    constant = constant_carries(body, carries)
    moving = tuple(j for j in range(carries) if not (linear[j] or constant[j]))
    if moving:                                            # carries that are not linear: run them first
        return _transpose_beside(y_bar, x, linear, moving, body, length, reverse, carries, keep)
    back = derived(body, ("back", carries, linear, keep), lambda: _back(body, carries, linear, keep))
    rest, _ = _counts(body, carries)
    ends, results, states = y_bar[:carries], y_bar[carries:len(y_bar) - carries], y_bar[len(y_bar) - carries:]
    operands = [*[x[j] for j in range(carries) if not linear[j]], *selected(ends, linear[:carries]),
                *[x[j] for j in range(carries, carries + rest) if not linear[j]], *selected(results, back.out[carries:]),
                *[states[j] for j in keep if linear[j]]]
    out = bind(scan, operands, dict(body=back.graph, length=length, reverse=not reverse, carries=carries, keep=(), asked=()))
    n_still = carries - sum(linear[:carries])
    n_bars = len(back.graph.outputs)
    return tuple(spread(out[n_still:n_bars], linear))


def _back(body, carries, linear, keep):
    """Body of the transposed scan: carries are the constants and the cotangents of the linear ones."""
    graph, out = bodies.transposed(body, linear)
    total, at = len(body.inputs), len(body.inputs) - sum(linear)
    still = spread(graph.inputs[:at], [not on for on in linear])
    bars, back = spread(graph.inputs[at:], out), spread(graph.outputs, linear)
    bars = [Var(body.inputs[j].aval) if j < carries and linear[j] and b is None else b for j, b in enumerate(bars)]
    states = {j: Var(body.inputs[j].aval) for j in keep if linear[j]}
    constants = [still[j] for j in range(carries) if not linear[j]]
    inputs = [*constants, *[bars[j] for j in range(carries) if linear[j]], *[still[j] for j in range(carries, total) if not linear[j]],
              *[b for b in bars[carries:] if b is not None], *states.values()]
    plain = Graph(inputs, graph.eqns, [*constants, *selected(back, linear)])
    if not states:
        return bodies.Transposed(plain, out)
    place = {j: len(constants) + i for i, j in enumerate(j for j in range(carries) if linear[j])}

    def f(*operands):
        outputs = eval_graph(plain, *operands)
        for bar, j in zip(operands[len(operands) - len(states):], states, strict=True):
            outputs[place[j]] = add(outputs[place[j]], bar)
        return outputs
    return bodies.Transposed(trace(f, bodies.avals(plain), verb="a transpose")[0], out)


def _transpose_beside(y_bar, x, linear, moving, body, length, reverse, carries, keep):
    """Transpose of a scan some of whose carries move without being linear: their states become slices of a scan of the others."""
    alone, still = apart(body, carries, linear)
    n = carries - sum(linear[:carries])
    kept = bind(scan, [x[j] for j, on in enumerate(linear) if not on], dict(
        body=alone, length=length, reverse=reverse, carries=n, keep=tuple(range(n)), asked=()))
    kept = spread(kept[len(kept) - n:], [not on for on in linear[:carries]])
    stay = [j for j in range(carries) if j not in moving]
    operands = [*[x[j] for j in stay], *[kept[j] for j in moving], *x[carries:]]
    position = {j: i for i, j in enumerate(stay)}
    bars = [*[y_bar[j] for j in stay], *y_bar[carries:len(y_bar) - carries], *[y_bar[len(y_bar) - carries + j] for j in stay]]
    order = [*stay, *moving, *range(carries, len(x))]
    got = cotangents(bars, operands, tuple(linear[j] for j in order), still, length, reverse, len(stay),
                      tuple(position[j] for j in keep if j in position))
    place = {j: i for i, j in enumerate(order)}
    return tuple(got[place[j]] for j in range(len(x)))


def apart(body, carries, linear):
    """The part of a body that no linear input enters, and the body with its moving carries among the slices."""
    return derived(body, ("apart", carries, linear), lambda: _apart(body, carries, linear))


def _apart(body, carries, linear):
    rest = [v for v, on in zip(body.inputs, linear, strict=True) if not on]
    alone = bodies.with_outputs(Graph(rest, body.eqns, body.outputs), [body.outputs[j] for j in range(carries) if not linear[j]])
    constant = constant_carries(body, carries)
    stay = [j for j in range(carries) if linear[j] or constant[j]]
    moving = [j for j in range(carries) if j not in stay]
    still = Graph([*[body.inputs[j] for j in stay], *[body.inputs[j] for j in moving], *body.inputs[carries:]], body.eqns,
                  [*[body.outputs[j] for j in stay], *body.outputs[carries:]])
    return alone, still


# ---------------------------------------------------------------- batches
def _batch(n, flags, *x, body, length, reverse, carries, keep, asked):
    made, on = carried(lambda g, f: bodies.batched(g, n, f), body, carries, flags)
    graph, out = made
    wide = derived(graph, ("wide", carries, on), lambda: _wide(graph, body, n, carries, on, out))
    state = [bodies.widened(a, n, have) if want else a for a, have, want in zip(x[:carries], flags[:carries], on, strict=False)]
    xs = [swapped(a) if have else a for a, have in zip(x[carries:], flags[carries:], strict=True)]
    y = bind(scan, [*state, *xs], dict(body=wide, length=length, reverse=reverse, carries=carries, keep=keep, asked=asked))
    m = len(y) - carries
    ends = [bodies.widened(v, n, have) for v, have in zip(y[:carries], on, strict=False)]
    results = [swapped(v) if have else bodies.widened(v, n, False) for v, have in zip(y[carries:m], out[carries:], strict=True)]
    states = [swapped(v) if have else bodies.widened(v, n, False) for v, have in zip(y[m:], on, strict=False)]
    return (*ends, *results, *states)


def swapped(x):
    """The two leading axes exchanged."""
    return permuted(x, axes=(1, 0, *range(2, len(x.shape))))


def _wide(graph, body, n, carries, on, out):
    """The batched body with each batched carry batched on its way out too."""
    if tuple(on[:carries]) == tuple(out[:carries]):
        return graph

    def f(*operands):
        y = eval_graph(graph, *operands)
        ends = [v if have == want else bodies.widened(v, n, False) for v, have, want in zip(y, out, on, strict=False)][:carries]
        return [*ends, *y[carries:]]
    return trace(f, bodies.avals(graph), verb="vmap")[0]


# ---------------------------------------------------------------- the row
def _passing(params):
    body, carries = params["body"], params["carries"]
    constant = constant_carries(body, carries)
    return (*[j if on else None for j, on in enumerate(constant)], *[None] * len(body.outputs))


scan = Primitive("scan", impl=_impl, aval=_aval, jvp=_jvp, transpose=_transpose, batch=_batch, emit=SCAN,
                 lean=lean.scan, samples=NO_SAMPLES,
                 multiple=True, sparsity=of_scan, prepare=_prepare, together=_together)
bodies.PASSING["scan"] = _passing


# ---------------------------------------------------------------- fewer states
def run(operands, body, *, length, reverse, carries, kept=None):
    """Last carries and stacked results of a scan.

    Parameters
    ----------
    operands : list of array
    body : Graph
    length : int
    reverse : bool
    carries : int
    kept : tuple, optional
        ``("all", n)``, ``("sqrt", n)`` or ``("binomial", s)``, see ``schedule.chosen``.
    """
    kind, s = kept or ("all", length)
    loop = _Loop(body, carries, reverse)
    if kind == "sqrt":
        return loop.two_level(operands, length)
    if kind == "binomial":
        return loop.chain(operands, length, s)
    return loop.plain(operands, length)


class _Loop:
    """A body with its constant parameters; slices are counted in the order the steps run."""

    def __init__(self, body, carries, reverse):
        self.body, self.carries, self.reverse = body, carries, reverse

    def plain(self, operands, n):
        out = bind(scan, operands, dict(body=self.body, length=n, reverse=self.reverse, carries=self.carries, keep=(), asked=()))
        return list(out[:len(out) - self.carries])

    def once(self, operands):
        """A loop of one step, its derivative computed from its state alone."""
        state, xs = operands[:self.carries], operands[self.carries:]
        out = checkpoint(*state, *[_part(x, 0) for x in xs], body=self.body, **PLAIN)
        return [*out[:self.carries], *[_row(y) for y in out[self.carries:]]]

    def chain(self, operands, n, s):
        """``n`` steps with ``s`` states kept: parts computed again when they are transposed, and the rest."""
        parts, rest = segments(n, s)
        pieces = [(k, self._again(k, room)) for k, room in parts]
        if rest > 1:
            pieces.append((rest - 1, lambda x, m=rest - 1: self.plain(x, m)))
        return self._joined(operands, n, [*pieces, (1, self.once)])

    def two_level(self, operands, n):
        m, q, rest = two_level(n)
        inner = self.graph(m, lambda x: self.plain(x, m), ("plain", m))
        state, xs = operands[:self.carries], operands[self.carries:]

        def parts(x):
            deep = [_folded(a, q, m) for a in x[self.carries:]]
            out = bind(scan, [*x[:self.carries], *deep], dict(
                body=self.graph(m, lambda v: checkpoint(*v, body=inner, **PLAIN), ("part", m)), length=q, reverse=self.reverse,
                carries=self.carries, keep=(), asked=()))
            out = out[:len(out) - self.carries]
            return [*out[:self.carries], *[_unfolded(y, q * m) for y in out[self.carries:]]]
        pieces = [(q * m, parts)]
        if rest:
            tail = self.graph(rest, lambda x: self.plain(x, rest), ("plain", rest))
            pieces.append((rest, lambda x: checkpoint(*x, body=tail, **PLAIN)))
        return self._joined([*state, *xs], n, pieces)

    def _again(self, k, s):
        if k == 1:
            return self.once
        graph = self.graph(k, lambda x: self.chain(x, k, s), ("chain", k, s))
        return lambda x: checkpoint(*x, body=graph, **PLAIN)

    def graph(self, n, f, key):
        """Graph of ``f`` for n steps, made once for the body."""
        inputs = bodies.avals(self.body)
        given = [*inputs[:self.carries], *[_stacked(n, a) for a in inputs[self.carries:]]]
        key = (*key, self.carries, self.reverse)
        return derived(self.body, key, lambda: trace(lambda *x: list(f(list(x))), given, verb="scan")[0])

    def _joined(self, operands, n, pieces):
        """Pieces one after the other, each with its slices; results joined in the order of the slices."""
        state, xs, results, at = operands[:self.carries], operands[self.carries:], [], 0
        for k, piece in pieces:
            low = n - at - k if self.reverse else at
            out = piece([*state, *[_slices(x, low, k) for x in xs]])
            state, at = list(out[:self.carries]), at + k
            results.append(list(out[self.carries:]))
        if len(results) == 1:
            return [*state, *results[0]]
        results = results[::-1] if self.reverse else results
        return [*state, *[concatenate(*column, axis=0) for column in zip(*results, strict=True)]]


def _slices(x, low, k):
    shape = tuple(map(int, x.shape))
    return x if k == shape[0] else index(x, at=basic(shape, (slice(low, low + k), *[slice(None)] * (len(shape) - 1))))


def _part(x, i):
    shape = tuple(map(int, x.shape))
    return index(x, at=basic(shape, (i, *[slice(None)] * (len(shape) - 1))))


def _row(y):
    return reshape(y, shape=(1, *map(int, y.shape)))


def _folded(x, q, m):
    return reshape(x, shape=(q, m, *map(int, x.shape[1:])))


def _unfolded(y, n):
    return reshape(y, shape=(n, *map(int, y.shape[2:])))


def state_bytes(body, carries):
    """Size of the state of a loop: of the carries that are no constants of it."""
    constant = constant_carries(body, carries)
    return sum(v.aval.size * v.aval.dtype.itemsize for v, on in zip(body.inputs[:carries], constant, strict=True) if not on)


__all__ = ["apart", "carried", "cotangents", "doubled", "linear_scan", "plan", "run", "scan", "state_bytes", "swapped"]

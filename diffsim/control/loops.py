"""The loop of unknown length as a primitive.

Operands are the carries; ``cond`` is a graph from them to one bool, ``body`` a graph from them to the next ones (a carry that comes back as
it is is a constant of the loop).  Values are the last carries, the number of iterations, and the states kept before each iteration.

Forward mode carries value and tangent together.  For reverse mode the states are kept while the loop runs; then their number is known and
the tangent is a ``scan`` over them.  Where it is not yet known (in a graph, in a batch) the derivative is a primitive of its own,
``while_derivative``: it holds the loop and how it is to be differentiated and transposed, and does that when it is run.  Its derivatives
are of its kind.
"""

import hashlib

import numpy as np

from ..core import Aval, Eqn, Graph, Linear, Primitive, Tracer, Var, bind, user_line
from ..core.aval import is_float
from ..errors import ConcretizationError
from ..passes.cse import operand_key
from ..prims.elementwise import add
from ..prims.layout import convert
from ..prims.reduce import reduce_any
from ..transforms import linearize, push, trace
from ..transforms.forward import ForwardTrace
from ..transforms.linear import LinearTrace
from . import bodies, lean
from .bodies import ASSUMED, NO_SAMPLES, NOT_EMITTED, constant_carries, derived, filled, selected, spread
from .cond import chosen, like_them, rows
from .emit import WHILE
from .long import by_program, worth
from .scan import apart, carried, cotangents, doubled, linear_scan, plan, swapped
from .unknown import TRIPS, kept_by, recorded, rewritten

COUNT = Aval((), np.dtype(np.int64))
NOT_KEPT = {"keep": (), "asked": ()}


def known(x):
    """Whether there are numbers behind a value, or shall be taken to be: it is traced for derivatives at most."""
    if ASSUMED.get() is not None:
        return True
    while isinstance(x, Tracer):
        if not isinstance(x.owner, (ForwardTrace, LinearTrace)):
            return False
        x = x.primal
    return True


def _trips(count):
    """The number of iterations; what stands for it while a derivative is recorded."""
    assumed = ASSUMED.get()
    if assumed is None:
        return int(count)
    while isinstance(count, Tracer) and isinstance(count.owner, (ForwardTrace, LinearTrace)):
        count = count.primal
    assumed.append(count)
    return TRIPS


def _impl(*x, cond, body, keep, asked):
    going, run, n = bodies.runner(cond), bodies.runner(body), 0
    kept = [[] for _ in keep]
    while going(*x)[0]:
        for states, j in zip(kept, keep, strict=True):
            states.append(x[j])
        x = run(*x)
        n += 1
        if worth(n, body) and not worth(n - 1, body):         # it is a long one: what is left of it runs compiled
            rest = _rest(x, n, cond, body, keep)
            if rest is not None:
                return _joined(n, kept, keep, rest, len(x))
    return (*x, np.int64(n), *_stacks(kept, keep, body))


def _rest(x, n, cond, body, keep):
    """Values of a loop that has run n times, by compiled programs: of itself, then, its length known, of a scan that keeps states."""
    out = by_program("while", x, body, n, {"cond": cond, "body": body, **NOT_KEPT})
    if out is None or not keep:
        return out
    more = {"body": body, "length": int(out[len(x)]), "reverse": False, "carries": len(x), "keep": keep, "asked": keep}
    again = by_program("scan", x, body, more["length"], more)
    return None if again is None else (*again[:len(x)], out[len(x)], *again[len(x):])


def _stacks(kept, keep, body):
    """The states kept of each carry, stacked; none where they were not asked for."""
    made = dict(zip(keep, kept, strict=True))
    return [np.stack(made[j]) if made.get(j) else np.zeros((0, *v.aval.shape), v.aval.dtype) for j, v in enumerate(body.inputs)]


def _joined(n, kept, keep, rest, carries):
    """Values of a loop from those of its first ``n`` iterations and of the others."""
    stacks = list(rest[carries + 1:])
    for states, j in zip(kept, keep, strict=True):
        stacks[j] = np.concatenate([np.stack(states), stacks[j]])
    return (*rest[:carries], np.int64(n + rest[carries]), *stacks)


def _aval(*x, cond, body, keep, asked):
    if list(x) != bodies.avals(body):
        raise ValueError(f"a loop over {[str(a) for a in bodies.avals(body)]} was given {[str(a) for a in x]}")
    if keep and ASSUMED.get() is None:
        raise ConcretizationError(f"{user_line()}: the states of a while_loop are as many as it has iterations, which is not known here")
    return (*x, COUNT, *[Aval((TRIPS if j in keep else 0, *a.shape), a.dtype) for j, a in enumerate(x)])


def _prepare(x, active, params):
    if active is None or not all(map(known, x)):
        return params
    body = params["body"]
    need = plan(body, len(x), active).states
    return {**params, "keep": tuple(sorted({*params["keep"], *need})), "asked": params["keep"]}


def _jvp(x, y, x_dot, *, cond, body, keep, asked):
    n, active = len(x), tuple(t is not None for t in x_dot)
    made = plan(body, n, active)
    if set(made.states) <= set(keep) and known(y[n]):
        ends, _, states = linear_scan(made, x, y[n + 1:], x_dot, length=_trips(y[n]), reverse=False, carries=n, asked=asked)
        return (*ends, None, *states)
    term = Tangent(Loop(cond, body), active)
    dots = bind(while_derivative, [*x, *selected(x_dot, active)], {"of": term})
    return (*spread(dots, term.out), None, *[None] * n)


def _together(x, x_dot, *, cond, body, keep, asked):
    n, active = len(x), tuple(t is not None for t in x_dot)
    graph, active, _ = doubled(body, n, active)
    test = derived(cond, ("doubled", active), lambda: Graph([*cond.inputs, *graph.inputs[n:]], cond.eqns, cond.outputs))
    number = {j: n + i for i, j in enumerate(j for j in range(n) if active[j])}
    both = tuple(sorted({*keep, *[number[j] for j in keep if j in number]}))
    starts = selected(filled(x_dot, bodies.avals_of(x)), active)
    y = bind(while_, [*x, *starts], {"cond": test, "body": graph, "keep": both, "asked": both})
    total = n + len(starts)
    ends, trips, kept = y[:total], y[total], y[total + 1:]
    states = [kept[number[j]] if j in keep and j in number else None for j in range(n)]
    return (*ends[:n], trips, *kept[:n]), (*spread(ends[n:], active), None, *states)


def _transpose(y_bar, *x, cond, body, keep, asked):
    """Carries that are linear follow the others, which are run first: then the loop is a scan."""
    asked_for = tuple(isinstance(a, Linear) for a in x)
    rest = [a for a in x if not isinstance(a, Linear)]
    n = len(x)
    if not all(map(known, rest)):
        term = Transposed(Loop(cond, body), asked_for)
        bars = [b for b, a in zip(y_bar, bodies.out_avals(body), strict=False) if is_float(a.dtype)]
        return tuple(spread(bind(while_derivative, [*rest, *bars], {"of": term}), asked_for))
    _, linear = carried(bodies.transposed, body, n, asked_for)
    alone, still = apart(body, n, linear)
    beside = [not on for on in linear]
    test = derived(cond, ("beside", linear), lambda: Graph(selected(cond.inputs, beside), cond.eqns, cond.outputs))
    m = sum(beside)
    run = bind(while_, selected(x, beside), {"cond": test, "body": alone, "keep": tuple(range(m)), "asked": ()})
    kept, constant = spread(run[m + 1:], beside), constant_carries(body, n)
    stay = [j for j in range(n) if linear[j] or constant[j]]
    moving = [j for j in range(n) if j not in stay]
    operands = [*[x[j] for j in stay], *[kept[j] for j in moving]]
    order = [*stay, *moving]
    bars = [*[y_bar[j] for j in stay], *[y_bar[n + 1 + j] for j in stay]]
    got = cotangents(bars, operands, tuple(linear[j] for j in order), still, _trips(run[m]), False, len(stay), ())
    place = {j: i for i, j in enumerate(order)}
    return tuple(got[place[j]] if asked_for[j] else None for j in range(n))


# ---------------------------------------------------------------- batches
def _batch(n, flags, *x, cond, body, keep, asked):
    """All members at once, until the last is done; those that are done follow one that is not and forget what they compute."""
    k, constant = len(x), constant_carries(body, len(x))
    _, on = carried(lambda g, f: bodies.batched(g, n, f), body, k, tuple(flags))
    apart_ = bodies.batched(cond, n, on).out[0]
    if apart_:                                              # members stop by themselves: whatever moves differs between them
        on = tuple(a or not c for a, c in zip(on, constant, strict=True))
    wide = bodies.batched(body, n, on)
    test = bodies.batched(cond, n, on)

    def step(count, *z):
        if not apart_:
            new = bodies.eval_graph(wide.graph, *z)
            return [add(count, 1), *[bodies.widened(v, n, have) if want else v for v, have, want in zip(new, wide.out, on, strict=True)]]
        (going,) = bodies.eval_graph(test.graph, *z)
        at = like_them(going, n)
        new = bodies.eval_graph(wide.graph, *[rows(v, at) if want else v for v, want in zip(z, on, strict=True)])
        new = [old if c else chosen(going, bodies.widened(v, n, have), old)
               for v, have, old, c in zip(new, wide.out, z, constant, strict=True)]
        return [add(count, convert(going, dtype=COUNT.dtype)), *new]

    def going(count, *z):
        (more,) = bodies.eval_graph(test.graph, *z)
        return [reduce_any(more, axes=(0,)) if apart_ else more]

    key = ("batched loop", n, on, cond.digest)
    given = [bodies.wide(COUNT, n, apart_), *[bodies.wide(a, n, want) for a, want in zip(bodies.avals(body), on, strict=True)]]
    wide_body, wide_cond = derived(body, key, lambda: tuple(trace(f, given, verb="vmap")[0] for f in (step, going)))
    start = [bodies.widened(v, n, have) if want else v for v, have, want in zip(x, flags, on, strict=True)]
    count = np.zeros(given[0].shape, COUNT.dtype)
    y = bind(while_, [count if apart_ else count[()], *start], {"cond": wide_cond, "body": wide_body, **NOT_KEPT})
    ends = [bodies.widened(v, n, have) for v, have in zip(y[1:k + 1], on, strict=True)]
    states = [swapped(v) if have else bodies.widened(v, n, False) for v, have in zip(y[k + 3:], on, strict=True)]
    return (*ends, bodies.widened(y[0], n, apart_), *states)


while_ = Primitive("while", impl=_impl, aval=_aval, jvp=_jvp, transpose=_transpose, batch=_batch, emit=WHILE,
                   lean=lean.while_, samples=NO_SAMPLES,
                   multiple=True, prepare=_prepare, together=_together)


# ---------------------------------------------------------------- derivatives to be taken when the loop runs
class Term:
    """A loop, or a derivative of a term: a function of arrays with known avals.

    Attributes
    ----------
    inputs, outputs : list of Aval
    digest : str
        Equal for terms that compute the same.
    """

    __slots__ = ("digest", "inputs", "name", "outputs")

    def _named(self, name, *parts):
        self.name, self.digest = name, hashlib.sha256(f"{name}{parts}".encode()).hexdigest()

    def __eq__(self, other):
        return isinstance(other, Term) and self.digest == other.digest

    def __hash__(self):
        return hash(self.digest)

    def __call__(self, *x):
        """Values: a list of arrays."""
        raise NotImplementedError


class Loop(Term):
    """The last carries of a loop."""

    __slots__ = ("body", "cond")

    def __init__(self, cond, body):
        self.cond, self.body, self.inputs, self.outputs = cond, body, bodies.avals(body), bodies.out_avals(body)
        self._named("loop", cond.digest, body.digest)

    def __call__(self, *x):
        return list(bind(while_, x, {"cond": self.cond, "body": self.body, **NOT_KEPT})[:len(x)])


class Tangent(Term):
    """Tangents of the floating-point outputs (``out``) along the active inputs: takes all inputs, then their tangents."""

    __slots__ = ("active", "of", "out")

    def __init__(self, of, active):
        self.of, self.active = of, active
        self.out = tuple(is_float(a.dtype) for a in of.outputs)
        self.inputs, self.outputs = [*of.inputs, *selected(of.inputs, active)], selected(of.outputs, self.out)
        self._named(f"tangent of {of.name}", of.digest, active)

    def __call__(self, *x):
        n = len(self.active)
        _, equations, outputs = linearize(self.of, x[:n], self.active, "the derivative of a while_loop")
        dots = push(equations, x[n:], outputs)
        return filled(selected(dots, self.out), self.outputs)


class Transposed(Term):
    """Cotangents of the linear inputs: takes the other inputs, then the cotangents of the floating-point outputs."""

    __slots__ = ("linear", "of")

    def __init__(self, of, linear):
        self.of, self.linear = of, linear
        bars = [a for a in of.outputs if is_float(a.dtype)]
        self.inputs, self.outputs = [*selected(of.inputs, [not on for on in linear]), *bars], selected(of.inputs, linear)
        self._named(f"transpose of {of.name}", of.digest, linear)

    def __call__(self, *x):
        at = len(self.linear) - sum(self.linear)
        bars = spread(x[at:], [is_float(a.dtype) for a in self.of.outputs])
        return bodies.transpose_by_trace(self.of, x[:at], self.of.inputs, self.linear, bars)[0]


def _derivative_lean(eqn, needed, maker):
    """The equations themselves, over loops that leave what they need in memory that grows."""
    term = eqn.params["of"]
    graph = rewritten(recorded(term), term.name)
    place, eqns = dict(zip(graph.inputs, eqn.inputs, strict=True)), []
    run, changed = _run_before(term, eqn, maker), {}
    for e in graph.eqns:
        here = kept_by(run, e) if run is not None and not changed else None
        if here is not None:                                  # the loop runs once, for its value and for this
            changed[run], found = here
            place.update(found)
            continue
        outputs = [Var(v.aval) for v in e.outputs]
        eqns.append(Eqn(e.prim, [place.get(x, x) for x in e.inputs], e.params, outputs, eqn.line))
        place.update(zip(e.outputs, outputs, strict=True))
    return eqns, {v: place.get(x, x) for v, x in zip(eqn.outputs, graph.outputs, strict=True)}, changed


def _run_before(term, eqn, maker):
    """The equation of the loop itself, if it stands before that of its derivative."""
    while not isinstance(term, Loop):
        term = term.of
    x = [operand_key(v) for v in eqn.inputs[:len(term.inputs)]]
    for e in dict.fromkeys(maker.values()):
        if e.prim is while_ and not e.params["keep"] and (e.params["cond"], e.params["body"]) == (term.cond, term.body):
            if [operand_key(v) for v in e.inputs] == x and maker[e.outputs[0]] is e:
                return e
    return None


def _derivative_jvp(x, y, x_dot, *, of):
    active = tuple(t is not None for t in x_dot)
    term = Tangent(of, active)
    return tuple(spread(bind(while_derivative, [*x, *selected(x_dot, active)], {"of": term}), term.out))


def _derivative_transpose(y_bar, *x, of):
    linear = tuple(isinstance(a, Linear) for a in x)
    rest = [a for a in x if not isinstance(a, Linear)]
    bars = [b for b, a in zip(y_bar, of.outputs, strict=True) if is_float(a.dtype)]
    return tuple(spread(bind(while_derivative, [*rest, *bars], {"of": Transposed(of, linear)}), linear))


while_derivative = Primitive(
    "while_derivative", impl=lambda *x, of: tuple(of(*x)), aval=lambda *x, of: tuple(of.outputs), jvp=_derivative_jvp,
    transpose=_derivative_transpose, emit=NOT_EMITTED, samples=NO_SAMPLES, multiple=True, lean=_derivative_lean)

__all__ = ["known", "while_", "while_derivative"]

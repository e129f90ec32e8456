"""A call whose intermediate values are not kept for its derivative but computed again, but for those a policy saves.

The body is a graph whose last ``saved`` outputs are the intermediate values to save.  Its tangent is a call of the tangent graph, which
holds the operands and the saved values and computes everything else again; the transpose of that is a call again, so that derivatives of
any order forget in the same way.
"""

import numpy as np

from ..codegen.emissions import emission
from ..codegen.plan import work
from ..codegen.scalars import cost
from ..core import Graph, Linear, Primitive, bind
from ..core.emission import Gather, Scalar
from ..errors import InputError, InputTypeError
from ..prims.family import REAL, draw
from . import bodies, lean
from .bodies import NO_SAMPLES, selected, spread
from .emit import CALL
from .patterns import of_call

#: Values with fewer operations a byte than this are not worth saving: they are moves and single sums.
CHEAP = 0.25


def _tangent_call(x, saved, x_dot, body, n_saved, want):
    """Tangents of the outputs marked by ``want``, None where there is none; operands the tangent graph does not read are let go."""
    active = tuple(t is not None for t in x_dot)
    made = bodies.tangent(body, active, n_saved)
    key = ("call", active, n_saved, want)
    graph, read, out = bodies.derived(body, key, lambda: _trimmed(made, want, len(x) + n_saved))
    operands = [*selected([*x, *saved], read), *[t for t in x_dot if t is not None]]
    return spread(bind(checkpoint, operands, {"body": graph, **PLAIN}), out)


def _trimmed(made, want, given):
    """The tangent graph with the wanted outputs and the given values it reads."""
    graph, out = made
    keep = [w and on for w, on in zip(want, out, strict=True)]
    graph = bodies.with_outputs(graph, selected(spread(graph.outputs, out), keep))
    read = bodies.used(graph)[:given]
    return Graph([*selected(graph.inputs[:given], read), *graph.inputs[given:]], graph.eqns, graph.outputs), read, tuple(keep)


PLAIN = {"saved": 0, "kept": False, "asked": False}


def _impl(*x, body, saved, kept, asked):
    return bodies.runner(body)(*x)


def _aval(*x, body, saved, kept, asked):
    if list(x) != bodies.avals(body):
        raise ValueError(f"a call of a graph of {[str(a) for a in bodies.avals(body)]} was given {[str(a) for a in x]}")
    return tuple(bodies.out_avals(body))


def _prepare(x, active, params):
    """Note whether a derivative above reads the saved values: then they have tangents."""
    return params if active is None or not params["saved"] else {**params, "kept": True, "asked": params["kept"]}


def _jvp(x, y, x_dot, *, body, saved, kept, asked):
    n = len(y) - saved
    want = (*[True] * n, *[asked] * saved)
    return tuple(_tangent_call(x, y[n:], x_dot, body, saved, want))


def _together(x, x_dot, *, body, saved, kept, asked):
    graph, out = bodies.together(body, tuple(t is not None for t in x_dot))
    both = bind(checkpoint, [*x, *[t for t in x_dot if t is not None]], {"body": graph, **PLAIN})
    n = len(body.outputs)
    return both[:n], tuple(spread(both[n:], out))


def _transpose(y_bar, *x, body, saved, kept, asked):
    linear = tuple(isinstance(a, Linear) for a in x)
    graph, read, out = bodies.derived(body, ("back", linear), lambda: _back(body, linear))
    rest = selected([a for a in x if not isinstance(a, Linear)], read)
    return tuple(spread(bind(checkpoint, [*rest, *selected(y_bar, out)], {"body": graph, **PLAIN}), linear))


def _back(body, linear):
    graph, out = bodies.transposed(body, linear)
    at = len(linear) - sum(linear)
    read = bodies.used(graph)[:at]
    return Graph([*selected(graph.inputs[:at], read), *graph.inputs[at:]], graph.eqns, graph.outputs), read, out


def _batch(n, flags, *x, body, saved, kept, asked):
    graph, out = bodies.batched(body, n, flags)
    y = bind(checkpoint, x, {"body": graph, **PLAIN})
    return tuple(bodies.widened(v, n, on) for v, on in zip(y, out, strict=True))


def _passing(params):
    return bodies.passed(params["body"])


checkpoint = Primitive(
    "checkpoint", impl=_impl, aval=_aval, jvp=_jvp, transpose=_transpose, batch=_batch, multiple=True, prepare=_prepare, together=_together,
    sparsity=of_call, emit=CALL, lean=lean.call, samples=NO_SAMPLES)
bodies.PASSING["checkpoint"] = _passing


# ---------------------------------------------------------------- names
checkpoint_name = Primitive(
    "checkpoint_name",
    impl=lambda x, *, name: x,
    aval=lambda x, *, name: x,
    jvp=lambda x, y, x_dot, *, name: x_dot[0],
    transpose=lambda y_bar, x, *, name: (y_bar,),
    batch=lambda n, batched, x, *, name: checkpoint_name(x, name=name),
    sparsity=lambda i, x, *, name: (np.arange(x.size), np.arange(x.size)),
    emit=Scalar(lambda k, x, *, name: x),
    samples=lambda rng: [((draw(rng, REAL, s),), {"name": "state"}) for s in ((), (3,), (0, 2))],
)


# ---------------------------------------------------------------- policies
class Policy:
    """Which intermediate values of a checkpointed function are saved.

    Parameters
    ----------
    name : str
    values : callable
        ``values(graph) -> list``: the variables to save.
    """

    __slots__ = ("name", "values")

    def __init__(self, name, values):
        self.name, self.values = name, values

    def __repr__(self):
        return f"<policy {self.name}>"


def _where(test):
    """The values of equations that pass a test."""
    return lambda graph: [v for eqn in graph.eqns if test(eqn) for v in eqn.outputs]


class Policies:
    """What ``checkpoint`` may save: the entries of ``checkpoint_policies``."""

    __slots__ = ()
    #: Nothing: everything is computed again (the default).
    nothing_saveable = Policy("nothing_saveable", lambda graph: [])
    #: Everything: nothing is computed again.
    everything_saveable = Policy("everything_saveable", _where(lambda eqn: True))
    #: Products of matrices and solutions of linear systems, which are dear to compute again for what they take.
    dots_saveable = Policy("dots_saveable", _where(lambda eqn: eqn.prim.name in DOTS))

    @staticmethod
    def save_only_these_names(*names):
        """Values marked by ``checkpoint_name`` with one of the names."""
        for name in names:
            if not isinstance(name, str):
                raise InputTypeError(f"save_only_these_names: {name!r} is not a string")
        return Policy(f"save_only_these_names{names}", _where(lambda e: e.prim is checkpoint_name and e.params["name"] in names))

    @staticmethod
    def save_within(nbytes):
        """As many values as fit into a budget of bytes, those first that cost most operations a byte to compute again."""
        if not nbytes >= 0:
            raise InputError(f"save_within: {nbytes!r} is not a number of bytes")
        return Policy(f"save_within({nbytes})", lambda graph: _dearest(graph, nbytes))

    def __repr__(self):
        return "<policies: nothing_saveable, everything_saveable, dots_saveable, save_only_these_names(*names), save_within(nbytes)>"


DOTS = frozenset(("dot_general", "solve"))
checkpoint_policies = Policies()


def _operations(eqn):
    """Scalar operations of an equation, a function such as exp counted by its cost."""
    emit = emission(eqn)
    each = cost(emit.rule, [x.aval.dtype for x in eqn.inputs], eqn.params) if isinstance(emit, Scalar) else 1
    return each * work(eqn) if isinstance(emit, (Scalar, Gather)) and not getattr(emit, "moves", False) else 0


def _dearest(graph, nbytes):
    found = []
    for n, eqn in enumerate(graph.eqns):
        size = sum(v.aval.size * v.aval.dtype.itemsize for v in eqn.outputs)
        if size and _operations(eqn) > CHEAP * size:
            found.append((-_operations(eqn) / size, n, size, eqn.outputs))
    saved = []
    for _, _, size, outputs in sorted(found, key=lambda entry: entry[:2]):
        if size <= nbytes:
            nbytes -= size
            saved += outputs
    return saved


def saving(graph, policy):
    """The graph with the values a policy saves as further outputs, and their number.

    Parameters
    ----------
    graph : Graph
    policy : Policy, callable or None
        A callable is asked ``policy(prim, *avals, **params)`` of each equation.

    Raises
    ------
    InputTypeError
        It is none of these.
    """
    if policy is None:
        return graph, 0
    if isinstance(policy, Policy):
        values = policy.values(graph)
    elif callable(policy):
        values = _where(lambda eqn: policy(eqn.prim, *[x.aval for x in eqn.inputs], **eqn.params))(graph)
    else:
        raise InputTypeError(f"checkpoint: the policy is a {type(policy).__name__}; take one of checkpoint_policies, or a function")
    values = list(dict.fromkeys(values))
    return Graph(graph.inputs, graph.eqns, [*graph.outputs, *values]), len(values)


__all__ = ["PLAIN", "Policy", "checkpoint", "checkpoint_name", "checkpoint_policies", "saving"]

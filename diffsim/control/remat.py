"""A call whose intermediate values are not kept for its derivative but computed again, but for those a policy saves.

The body is a graph whose last ``saved`` outputs are the intermediate values to save.  Its tangent is a call of the tangent graph, which
holds the operands and the saved values and computes everything else again; the transpose of that is a call again, so that derivatives of
any order forget in the same way.
"""

from ..core import Graph, Linear, Primitive, bind
from . import bodies
from .bodies import NO_SAMPLES, NOT_EMITTED, selected, spread


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
    emit=NOT_EMITTED, samples=NO_SAMPLES)
bodies.PASSING["checkpoint"] = _passing

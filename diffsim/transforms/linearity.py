"""Whether a list of equations is linear: asked of the rules users write, where nothing else would notice.

An equation is linear in some of its operands together if its primitive can be transposed in them and its tangent does not depend on
where they are.  What is left, a constant added on the way, shows when the list is run on zeros.
"""

import numpy as np

from ..core import Absent, Aval, Tracer, Var, aval_of, wrap
from ..errors import DiffsimError
from .forward import jvp
from .linear import LinearTrace, Ref
from .rest import of
from .stage import trace
from .sweep import push


def record(f, avals, verb):
    """Linear equations of a function that is linear in all its arguments, which it knows by shape and dtype alone.

    Parameters
    ----------
    f : callable
        Takes tracers, returns a list of arrays.
    avals : sequence of Aval
    verb : str

    Returns
    -------
    y : list
        What ``f`` returned where it does not depend on the arguments, else None.
    linear_list : LinearList
        Its first variables are the arguments.
    outputs : list of int or None
        Number of each output; None where it does not depend on the arguments.
    """
    trace = LinearTrace(verb)
    inputs = [wrap(trace.tangents, a, trace.list.new(a)) for a in avals]
    try:
        out = f(*inputs)
        pairs = [(None, x.dual) if of(trace.tangents, x) else (x, None) for x in out]
    finally:
        trace.close()
    return [y for y, _ in pairs], trace.list, [n for _, n in pairs]


def fault(values, linear_list, n_inputs, outputs):
    """What keeps recorded equations from being linear, in words; None if they are.

    Parameters
    ----------
    values, linear_list, outputs
        As :func:`record` returns them.
    n_inputs : int
        How many of the first variables are the arguments.
    """
    for _, prim, args, params in linear_list.eqns:
        if isinstance(prim.transpose, Absent) or not _is_linear(prim, args, params, linear_list.avals):
            return f"it applies `{prim.name}` to the tangents, which is not linear in them"
    if any(x is not None and differs_from_zero(x) for x in values):
        return "part of what it returns is not zero for zero tangents"
    if any(isinstance(x, Tracer) and _is_symbol(x) for _, _, args, _ in linear_list.eqns for x in args):
        return None                                       # its numbers are not known yet
    zeros = [np.zeros(a.shape, a.dtype) for a in linear_list.avals[:n_inputs]]
    at_zero = push(linear_list, zeros, outputs)
    return "what it returns is not zero for zero tangents" if any(x is not None and differs_from_zero(x) for x in at_zero) else None


def differs_from_zero(x):
    """Whether a value is known to be finite and not zero somewhere."""
    if _is_symbol(x):
        return False
    while isinstance(x, Tracer):
        x = x.primal
    return bool(np.any(np.isfinite(x) & (np.asarray(x) != 0)))


def _is_symbol(x):
    """Whether there is no number behind a traced value."""
    while isinstance(x, Tracer):
        x = x.primal
    return isinstance(x, Aval)


def _is_linear(prim, args, params, avals):
    """Whether the tangent of an equation in its linear operands depends on none of them."""
    on = [x.__class__ is Ref for x in args]
    shapes = [avals[x.n] if x.__class__ is Ref else aval_of(x) for x in args]

    def tangent(*z):
        x, x_dot = z[:len(args)], iter(z[len(args):])
        _, y_dot = jvp(lambda *x: list(prim(*x, **params)) if prim.multiple else [prim(*x, **params)], x,
                       [next(x_dot) if linear else None for linear in on])
        return [t for t in y_dot if t is not None]

    try:
        graph, _ = trace(tangent, [*shapes, *[a for a, linear in zip(shapes, on, strict=True) if linear]])
    except (DiffsimError, TypeError, ValueError):         # it can only be run on numbers: the transpose rule answers for it
        return True
    needed = {x for x in graph.outputs if isinstance(x, Var)}
    for eqn in reversed(graph.eqns):
        if any(v in needed for v in eqn.outputs):
            needed.update(x for x in eqn.inputs if isinstance(x, Var))
    return not any(v in needed for v, linear in zip(graph.inputs, on, strict=False) if linear)


__all__ = ["differs_from_zero", "fault", "record"]

"""Forward accumulation: values carry their tangents."""

from ..core import Trace, Tracer, bind, wrap


class ForwardTrace(Trace):
    """Interprets a primitive on dual numbers: ``primal`` is the value, ``dual`` its tangent or None for zero."""

    __slots__ = ()

    def process(self, prim, args, params):
        primals, tangents = split(self, args)
        if prim.prepare is not None:
            params = prim.prepare(primals, tuple(t is not None for t in tangents), params)
        y = bind(prim, primals, params)
        if all(t is None for t in tangents):
            return y
        y_dot = prim.rule("jvp")(primals, y, tangents, **params)
        if y_dot is None:
            return y
        if prim.multiple:
            return tuple(v if t is None else wrap(self, v, t) for v, t in zip(y, y_dot, strict=True))
        return wrap(self, y, y_dot)

    def concrete(self, tracer, what):
        return tracer.primal


def split(trace, args):
    """Primals and duals of operands: a value of another trace is a constant."""
    primals, duals = [], []
    for x in args:
        if isinstance(x, Tracer) and x.owner is trace:
            primals.append(x.primal)
            duals.append(x.dual)
        else:
            primals.append(x)
            duals.append(None)
    return tuple(primals), tuple(duals)


def jvp(f, primals, tangents, verb="jvp"):
    """Value and tangent of ``f`` (lists of arrays to a list of arrays).

    Parameters
    ----------
    f : callable
        Takes ``len(primals)`` arrays, returns a list of arrays.
    primals, tangents : sequence of array
        A tangent may be None for zero: its primal is then a constant.

    Returns
    -------
    y, y_dot : list
        ``y_dot[i]`` is None where the tangent is zero.
    """
    trace = ForwardTrace(verb)
    try:
        out = f(*[x if t is None else wrap(trace, x, t) for x, t in zip(primals, tangents, strict=True)])
        pairs = [(x.primal, x.dual) if isinstance(x, Tracer) and x.owner is trace else (x, None) for x in out]
    finally:
        trace.alive = False
    return [p for p, _ in pairs], [t for _, t in pairs]

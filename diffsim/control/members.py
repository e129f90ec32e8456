"""Members of a batch one after another, in a loop: what ``vmap`` does in a recorded program with what cannot be computed for all at once.

A solve takes its own steps for each member.  Written out, a program of many members would be as many programs long.
"""

from ..core import Aval, Graph, aval_of, bind
from ..numpy.stacking import is_value
from ..prims.layout import basic, index
from ..transforms import trace
from ..transforms.batch import Alone, batch
from .bodies import interned
from .scan import scan

#: So many members are written out.
FEW = 4


def members(f, n, operands, batched, verb="vmap"):
    """As :func:`diffsim.transforms.batch`; in a graph with solves in it, by a loop over the members."""
    try:
        return batch(f, n, operands, batched, verb, told=n > FEW)
    except Alone:
        return looped(f, n, operands, batched, verb)


def looped(f, n, operands, batched, verb="vmap"):
    """As :func:`members`, by a loop over the members in any case."""
    beside = []

    def member(*x):
        out = f(*x)
        beside[:] = [None if is_value(v) else (v,) for v in out]
        return [v for v in out if is_value(v)]

    avals = [Aval(tuple(x.shape)[1:], x.dtype) if on else aval_of(x) for x, on in zip(operands, batched, strict=True)]
    graph, captured = trace(member, avals, verb=verb)
    flags = [*batched, *[False] * len(captured)]
    values = [*operands, *captured]
    still = [v for v, on in zip(graph.inputs, flags, strict=True) if not on]
    moving = [v for v, on in zip(graph.inputs, flags, strict=True) if on]
    body = interned(Graph([*still, *moving], graph.eqns, [*still, *graph.outputs]))
    given = [*[x for x, on in zip(values, flags, strict=True) if not on], *[x for x, on in zip(values, flags, strict=True) if on]]
    out = bind(scan, given, dict(body=body, length=n, reverse=False, carries=len(still), keep=(), asked=()))
    depends = _reached(graph, moving)
    rows = iter(zip(graph.outputs, out[len(still):], strict=False))
    y, on = [], []
    for other in beside:
        if other is not None:
            y.append(other[0])
            on.append(False)
            continue
        x, v = next(rows)
        on.append(x in depends)
        y.append(v if x in depends else index(v, at=basic(tuple(map(int, v.shape)), (0, *[slice(None)] * (len(v.shape) - 1)))))
    return y, on


def _reached(graph, inputs):
    """Variables that depend on some inputs."""
    found = set(inputs)
    for e in graph.eqns:
        if any(x in found for x in e.inputs):
            found.update(e.outputs)
    return found


__all__ = ["looped", "members"]

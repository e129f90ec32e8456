"""Primitives that stand for a program are replaced by it."""

from ..core import Eqn, Graph, Var


def inline(graph):
    """Replace equations whose primitive has a body by the body's equations."""
    if not any(eqn.prim.body is not None for eqn in graph.eqns):
        return graph
    eqns, replaced = [], {}

    def now(x):
        return replaced.get(x, x)

    for eqn in graph.eqns:
        inputs = tuple(map(now, eqn.inputs))
        if eqn.prim.body is None:
            eqns.append(eqn if inputs == eqn.inputs else Eqn(eqn.prim, inputs, eqn.params, eqn.outputs, eqn.line))
            continue
        body = inline(eqn.prim.body(*[x.aval for x in inputs], **eqn.params))
        here = dict(zip(body.inputs, inputs, strict=True))
        for each in body.eqns:
            outputs = [Var(v.aval) for v in each.outputs]
            eqns.append(Eqn(each.prim, [here.get(x, x) for x in each.inputs], each.params, outputs, eqn.line))
            here.update(zip(each.outputs, outputs, strict=True))
        replaced.update((v, here.get(x, x)) for v, x in zip(eqn.outputs, body.outputs, strict=True))
    return Graph(graph.inputs, eqns, [now(x) for x in graph.outputs])


__all__ = ["inline"]

"""Dead code elimination."""

from ..core import Graph


def dce(graph):
    """Drop equations that no output needs."""
    needed, kept = set(graph.outputs), []
    for eqn in reversed(graph.eqns):
        if any(v in needed for v in eqn.outputs):
            needed.update(eqn.inputs)
            kept.append(eqn)
    return graph if len(kept) == len(graph.eqns) else Graph(graph.inputs, kept[::-1], graph.outputs)

"""Passes: functions from graph to graph that keep its meaning.  A pass that finds nothing to do returns the graph it was given."""

from .cse import cse
from .dce import dce
from .fold import fold
from .inline import inline
from .simplify import simplify

PASSES = (fold, simplify, cse, dce)
#: Rounds of all passes; each round makes the graph smaller, so that few are ever needed.
MAX_ROUNDS = 8


def optimise(graph):
    """Run all passes until none finds anything to do.

    Parameters
    ----------
    graph : Graph

    Returns
    -------
    Graph
        The same inputs and as many outputs; bitwise the same values, except that a zero may change its sign.
    """
    for _ in range(MAX_ROUNDS):
        before = graph
        for each in PASSES:
            graph = each(graph)
        if graph is before:
            break
    return graph


__all__ = ["PASSES", "cse", "dce", "fold", "inline", "optimise", "simplify"]

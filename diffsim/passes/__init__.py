"""Passes: functions from graph to graph that keep its meaning.  A pass that finds nothing to do returns the graph it was given."""

from ..core.switches import without
from .chains import chains
from .cse import cse
from .dce import dce
from .early import early
from .fold import fold
from .inline import inline
from .lean import lean
from .quotients import quotients
from .simplify import simplify
from .sink import sink
from .split import split

PASSES = (fold, simplify, sink, cse, dce)
#: Those before code is generated: what is left is not differentiated any more, and ``early``, ``chains`` and ``quotients`` may round
#: otherwise.
LAST = (split, early, *PASSES, chains, quotients, lean)
#: Rounds of all passes; each round makes the graph smaller, so that few are ever needed.
MAX_ROUNDS = 8


def optimise(graph, passes=PASSES):
    """Run all passes until none finds anything to do.

    Parameters
    ----------
    graph : Graph
    passes : sequence of callable
        But for those that the environment switches off (``core.switches``).

    Returns
    -------
    Graph
        The same inputs and as many outputs; by ``PASSES`` bitwise the same values, except that a zero may change its sign.  ``early``,
        ``chains`` and ``quotients`` keep values up to rounding.
    """
    off = without()
    passes = [each for each in passes if each.__name__ not in off]
    for _ in range(MAX_ROUNDS):
        before = graph
        for each in passes:
            graph = each(graph)
        if graph is before:
            break
    return graph


def finished(graph):
    """The graph as code is generated from it: composed primitives and complex numbers replaced by what they consist of, all passes run.

    Products of several matrices may be associated anew (``chains``): the values are the graph's up to rounding.
    """
    return optimise(inline(graph), LAST)


__all__ = ["LAST", "PASSES", "chains", "cse", "dce", "early", "finished", "fold", "inline", "lean", "optimise", "quotients",
           "simplify", "sink", "split"]

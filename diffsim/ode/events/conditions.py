"""Event functions as the stepping loops want them: one vector of numbers of time, state and parameters."""

import numpy as np

from diffsim.core import eval_graph


class Conditions:
    """The event functions of a solve, and which of their changes of sign count.

    Parameters
    ----------
    n_states : int
    p_avals : tuple of Aval
        Parameter leaves, those of the right-hand side.
    directions : sequence of float
        -1, 0 or 1 for each function.
    active : sequence of bool
        Whether the solve ends where it changes its sign; crossings of the others are written down.
    graph : Graph, optional
        Inputs t, y, then the leaves; one output of shape (count,).
    fun : callable, optional
        ``fun(t, y, *p)``: the same as Python.
    digest : str
        Equal for those that compute the same; of the graph if left out.
    names : sequence of str
        For messages.
    """

    __slots__ = ("active", "count", "digest", "directions", "fun", "graph", "n_states", "names", "p_avals")

    def __init__(self, n_states, p_avals, directions, active, graph=None, fun=None, digest=None, names=()):
        self.n_states, self.p_avals, self.graph, self.fun = n_states, tuple(p_avals), graph, fun
        self.directions, self.active = tuple(map(float, directions)), tuple(map(bool, active))
        self.count, self.names = len(self.directions), tuple(names)
        self.digest = f"{digest or graph.digest} {self.directions} {self.active}"

    def __eq__(self, other):
        return type(other) is Conditions and self.digest == other.digest

    def __hash__(self):
        return hash(self.digest)

    def __repr__(self):
        return f"<{self.count} event functions, {self.digest[:8]}>"

    def call(self, t, y, *p):
        """Values, shape (count,), of arrays or tracers."""
        return self.fun(t, y, *p) if self.graph is None else eval_graph(self.graph, t, y, *p)[0]

    @property
    def ways(self):
        """What ``watch.watched`` is told, shape (2, count)."""
        return np.array([self.directions, self.active], float)

    @property
    def room(self):
        """Length of ``news``: enough for what happens in one step, and more where crossings are written down."""
        passive = self.count - sum(self.active)
        return 0 if self is NOTHING else 3 + 2 * self.count + 3 * (passive and 64 + 9 * passive)


#: No event functions, for solves without any.
NOTHING = Conditions(0, (), (), (), digest="none")

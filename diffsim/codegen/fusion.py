"""What compiling makes of a graph: which equations share loops, what is stored, what is recomputed where it is read, and what it costs."""

from ..core import Const, Graph, Var
from ..core.emission import Call, Scalar
from ..errors import MissingRule
from .calling import Places
from .count import counted
from .emissions import emission
from .entry import BODY
from .lower import Lowering
from .plan import ELEMENTS, INLINE, MEMORY, OPAQUE

#: Where an equation's value is: a few single scalars; nowhere (computed in the loops that read it); memory; a call's own memory.
SCALARS, FUSED, STORED, CALLED = "scalars", "fused", "stored", "called"
_WORD = {ELEMENTS: SCALARS, INLINE: FUSED, MEMORY: STORED, OPAQUE: CALLED}


class LoopNest:
    """Equations computed in one nest of loops.

    Attributes
    ----------
    shape : tuple of int
        What the loops run over.
    eqns : list of Eqn
        In program order, those recomputed here included.
    """

    __slots__ = ("eqns", "shape")

    def __init__(self, shape):
        self.shape, self.eqns = tuple(shape), []


class Fusion:
    """The loops of a compiled graph.

    Attributes
    ----------
    nests : list of LoopNest
        In the order of their first equations.
    kept : dict of Eqn to str
        ``"scalars"``, ``"fused"``, ``"stored"`` or ``"called"``.
    homes : dict of Eqn to list of LoopNest
        Where each equation is computed: none for straight code and calls, several where it is recomputed.
    flops, bytes : int
        Of one run without its linked loops, as in ``jit(f).stats``.

    Raises
    ------
    MissingRule
        The graph cannot be compiled.
    """

    def __init__(self, graph):
        lowering, body = lowered(graph)
        self.flops, self.bytes = counted(body)
        plan = lowering.plan
        self.kept = {e: CALLED if isinstance(emission(e), Call) else _WORD[plan.mode[e.outputs[0]]] for e in graph.eqns}
        self.homes, self._loops = {e: [] for e in graph.eqns}, {}
        self._spilled(graph, lowering)
        self._group_nests(graph, lowering)
        self._own_nests(graph, plan, lowering)
        self._joined(lowering.joined)
        self._inlined(graph)
        number = {e: n for n, e in enumerate(graph.eqns)}
        nests = {nest: None for e in graph.eqns for nest in self.homes[e]}
        for e in graph.eqns:
            for nest in self.homes[e]:
                nest.eqns.append(e)
        self.nests = sorted(nests, key=lambda nest: number[nest.eqns[0]])

    def _spilled(self, graph, lowering):
        """What was to be recomputed, but is read as a whole from memory by another equation's loops: it has loops of its own."""
        for e in graph.eqns:
            if self.kept[e] == FUSED and lowering.cells[e.outputs[0]].buffer is not None:
                self.kept[e] = STORED
                self.homes[e].append(LoopNest(e.outputs[0].aval.shape))

    def _group_nests(self, graph, lowering):
        """Arrays computed, and outputs written, in loops that several equations may share."""
        maker = {v: e for e in graph.eqns for v in e.outputs}
        eqn_of = {id(cell): maker[v] for v, cell in lowering.cells.items() if v in maker}
        for group in lowering.groups.values():
            for members, loops in group.nests:
                nest = LoopNest(group.shape)
                self._loops[nest] = loops
                for cell, _, _, own in members:
                    e = eqn_of.get(id(cell))
                    if e is not None and (own or self.kept[e] == FUSED):
                        self.homes[e].append(nest)

    def _own_nests(self, graph, plan, lowering):
        """Equations that write loops of their own: sums to one number, products of matrices, scatters."""
        for e in graph.eqns:
            emit = emission(e)
            loops = self.kept[e] == STORED and not isinstance(emit, Scalar) and emit.store is not None and not self.homes[e]
            if loops or (self.kept[e] == SCALARS and e not in plan.unrolled):
                largest = max((x.aval for x in (*e.inputs, *e.outputs)), key=lambda a: a.size)
                if largest.size > 1:
                    nest = LoopNest(largest.shape)
                    self._loops[nest] = lowering.own.get(e, ())
                    self.homes[e].append(nest)

    def _joined(self, joined):
        """Nests whose loops became parts of others' are one nest, the one those were joined to."""
        holder, taken = {loop: nest for nest, loops in self._loops.items() for loop in loops}, {}

        def now(nest):
            while nest in taken:
                nest = taken[nest]
            return nest

        for loop, host in joined.items():
            if loop in holder and host in holder and now(holder[loop]) is not now(holder[host]):
                taken[now(holder[loop])] = now(holder[host])
        for e, nests in self.homes.items():
            self.homes[e] = list(dict.fromkeys(map(now, nests)))

    def _inlined(self, graph):
        """What is computed where it is read is at home with its readers."""
        readers = {}
        for e in graph.eqns:
            for x in e.inputs:
                readers.setdefault(x, []).append(e)
        for e in reversed(graph.eqns):
            if self.kept[e] == FUSED:
                found = dict.fromkeys(self.homes[e])
                for reader in readers.get(e.outputs[0], ()):
                    found.update(dict.fromkeys(self.homes[reader]))
                self.homes[e] = list(found)


def lowered(graph):
    """The lowering of a graph as a program, and the body of its function."""
    places, lowering = Places(graph), Lowering(graph, None)
    function = lowering.function(BODY, places.params, places.sources(), places.targets())
    return lowering, function.body


# ---------------------------------------------------------------- one equation
def cost(eqn):
    """Operations on floating-point numbers and bytes loaded and stored by one equation compiled alone.

    Returns
    -------
    flops, bytes : int or None
        None where it calls a loop or cannot be compiled.
    """
    try:
        called = isinstance(emission(eqn), Call)
    except MissingRule:
        called = True
    if called:
        return None, None
    made = {}
    inputs = [x if isinstance(x, Const) else made.setdefault(x, Var(x.aval)) for x in eqn.inputs]
    try:
        return counted(lowered(Graph(list(made.values()), [type(eqn)(eqn.prim, inputs, eqn.params, eqn.outputs)], eqn.outputs))[1])
    except MissingRule:
        return None, None


__all__ = ["CALLED", "FUSED", "SCALARS", "STORED", "Fusion", "LoopNest", "cost", "lowered"]

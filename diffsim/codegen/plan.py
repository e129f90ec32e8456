"""Where the values of a graph live: as single scalars, nowhere (computed where they are read), or in memory."""

import math

from ..core import Absent, Opaque, Var
from ..core.emission import Call, Gather, Scalar
from .emissions import emission
from .nest import PARTS, WIDTH, canonical
from .scalars import cost

#: Modes.  ELEMENTS: unrolled, one scalar an element.  INLINE: recomputed at each read.  MEMORY: stored by loops.
ELEMENTS, INLINE, MEMORY, OPAQUE = "elements", "inline", "memory", "opaque"
#: Arrays up to this many elements are unrolled (at 64 the Brusselator of 64 points compiles six times longer and runs half as fast as in
#: loops; 7 x 7 Pleiades does not care), unless
UNROLL, BUDGET = 16, 4000
#: Operations of functions such as exp, which gain most from vectors.
FUNCTION = 10
#: Inlined chains end at this depth, at this many operations an element, and at this many pieces of joins and paddings.
DEEP, LONG, PIECES = 20, 150, 12
#: What a trip of one element into memory or out of it costs, in vectorised additions, for arrays up to so many bytes: those of the first
#: cache, of the second, all others (measured on Rosenbrock's gradient of 1e5 and the heat equation's of 64 x 64 and 1024 x 1024).
TRIPS = ((1 << 14, 1.5), (1 << 18, 4), (math.inf, 12))


class Plan:
    """Modes of a graph's variables.

    Parameters
    ----------
    graph : Graph
    unroll : int, optional
        Size up to which arrays are unrolled; chosen by the total work if None.

    Attributes
    ----------
    mode : dict of Var to mode
    unrolled : set of Eqn
        Those whose reductions are written out too.
    """

    def __init__(self, graph, unroll=None, often=False):
        self.mode, self.unrolled = {}, set()
        self._work = {e: work(e) for e in graph.eqns}
        self._limit = self._chosen(graph) if unroll is None else unroll
        self._depth, self._cost, self._pieces = {}, {}, {}
        self._often, self._functions = often, set()          # what functions such as exp are computed of, at once or by way of sums
        must, total_reads = self._uses(graph)
        for e in graph.eqns:
            self._decide(e, must, total_reads)

    def cost(self, v):
        """Operations one element takes, those of inlined operands included."""
        return self._cost.get(v, 0)

    def pieces(self, v):
        """Joins and paddings that computing v goes through: what its loops may be cut for."""
        return self._pieces.get(v, 0)

    def _chosen(self, graph):
        limit = UNROLL
        while limit > 1 and sum(w for e, w in self._work.items() if self._small(e, limit)) > BUDGET:
            limit //= 2
        return limit

    def _small(self, e, limit):
        size = e.outputs[0].aval.size
        return size <= limit and (self._work[e] <= 2 * limit or (size == 1 and self._work[e] == 1))

    def _uses(self, graph):
        """Variables that calls read from memory, and how many elements of each variable are read in all."""
        readers, reads, must = {}, {}, set()
        for e in graph.eqns:
            for x in e.inputs:
                readers[x] = readers.get(x, 0) + 1
        for x in graph.outputs:
            readers[x] = readers.get(x, 0) + 1
            reads[x] = reads.get(x, 0) + x.aval.size
        for e in reversed(graph.eqns):
            if isinstance(emission(e), Call):
                for x in e.inputs:
                    must.add(x)
                    reads[x] = reads.get(x, 0) + x.aval.size
                continue
            out = e.outputs[0]
            size = max(out.aval.size, 1)
            if self._often and isinstance(emission(e), Scalar) and (out in self._functions or self._own(e) >= FUNCTION):
                self._functions.update(e.inputs)
            shared = out in must or (readers.get(out, 0) > 1 and not _moves(e))
            ratio = (out.aval.size if shared else reads.get(out, 0)) / size
            for x in e.inputs:
                reads[x] = reads.get(x, 0) + ratio * _elements_read(e, x, self._work[e])
        return must, reads

    def _own(self, e):
        """Operations an element of an elementwise equation takes."""
        return cost(emission(e).rule, [canonical(x.aval.dtype) for x in e.inputs], e.params)

    def apart(self, v):
        """Whether loops of functions such as exp read v, which are not vectorised where they hold other loops."""
        return v in self._functions

    def _decide(self, e, must, reads):
        emit = emission(e)
        for v in e.outputs:
            if isinstance(v.aval, Opaque):
                self.mode[v] = OPAQUE
            else:
                canonical(v.aval.dtype)
                self.mode[v] = MEMORY
        if isinstance(emit, Call) or e.outputs[0].aval.dtype in PARTS:
            return
        (v,) = e.outputs
        has_rule = not (isinstance(emit, Gather) and isinstance(emit.rule, Absent))
        if self._small(e, self._limit) or (v.aval.size == 1 and has_rule):
            if has_rule or all(not isinstance(x, Var) for x in e.inputs if x.aval.dtype.kind == "i"):
                self.mode[v] = ELEMENTS
                if self._small(e, self._limit):
                    self.unrolled.add(e)
                return
        if has_rule and v not in must and self._inline(e, v, reads.get(v, 0)):
            self.mode[v] = INLINE

    def _inline(self, e, v, reads):
        """Whether recomputing at each read beats a trip through memory."""
        emit, size = emission(e), max(v.aval.size, 1)
        inlined = [x for x in e.inputs if self.mode.get(x) == INLINE]
        depth = 1 + max((self._depth[x] for x in inlined), default=0)
        own = (
            0
            if _moves(e)
            else cost(emit.rule, [canonical(x.aval.dtype) for x in e.inputs], e.params)
            if isinstance(emit, Scalar)
            else self._work[e] / size
        )
        total = own + sum(self._cost[x] for x in inlined)
        pieces = sum(self._pieces[x] for x in inlined) + (len(e.inputs) if isinstance(emit, Gather) and emit.store is not None else 0)
        self._depth[v], self._cost[v], self._pieces[v] = depth, total, pieces
        if depth > DEEP or (total > LONG and own <= LONG) or pieces > PIECES:
            return False
        if isinstance(emit, Gather) and not emit.moves and not (emit.work is not None and own <= 1):
            return emit.store is None and reads <= 1.01 * size and not self.apart(v)
        trip = next(cost for bytes_, cost in TRIPS if size * WIDTH[canonical(v.aval.dtype)] <= bytes_)
        return total * (reads - size) <= trip * (reads + size)


def _moves(e):
    emit = emission(e)
    return isinstance(emit, Gather) and emit.moves


def work(e):
    """Scalar operations of an equation: what its row says, or the size of its largest array."""
    emit = emission(e)
    if isinstance(emit, Gather) and emit.work is not None:
        return emit.work(*[x.aval for x in e.inputs], **e.params)
    if isinstance(emit, Scalar) or _moves(e):
        return e.outputs[0].aval.size
    return max([x.aval.size for x in e.inputs] + [v.aval.size for v in e.outputs], default=1)


def _elements_read(e, x, operations):
    """Elements of operand x that one evaluation of all of e reads."""
    emit = emission(e)
    if isinstance(emit, Scalar) or (emit.moves and emit.store is None):
        return e.outputs[0].aval.size
    return x.aval.size if emit.moves else operations

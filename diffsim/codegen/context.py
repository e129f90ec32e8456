"""The context of a program: words that its calls into stepping loops keep their memory in, and what they say when they give up."""

import numpy as np

from ..core import Opaque
from ..core.emission import Call
from . import back
from .emissions import emission
from .scalars import out_of_bounds


def carried(eqn):
    """The programs an equation carries, as they are lowered."""
    emit = emission(eqn)
    return emit.graphs(**eqn.params) if isinstance(emit, Call) and emit.graphs is not None else ()


class Context:
    """Requests of the calls of a graph and of the programs it carries, and where their words are.

    A call is known by its path: the number of its equation, after those of the equations and programs that carry it.

    Attributes
    ----------
    requests : list
        One for each call that needs something, in program order, those of carried programs after that of their equation.
    bases : dict of tuple to int
        First word of each request by the path of its call.
    opaque : list of (int, int or None) or None
        First word and number of words of each input and then each output that is opaque: new words for an input, its producer's for an
        output; None for arrays.
    report : int
        The word where an index that is out of bounds is told.
    checks : list
        Kinds of indices that are checked (``guards.Guards.kinds``).

    Raises
    ------
    MissingRule
        A primitive cannot be emitted.
    """

    def __init__(self, graph):
        self.requests, self.bases, self.checks, self._words, self._holding = [], {}, [], 0, set()
        self._collect(graph, ())
        self.opaque = [self._opaque_base(graph, x) for x in (*graph.inputs, *graph.outputs)]
        self._inputs = len(graph.inputs)
        self.report, self._words = self._words, self._words + 1

    def _collect(self, graph, path):
        for number, eqn in enumerate(graph.eqns):
            emit, here = emission(eqn), (*path, number)
            if emit is back.call_back:
                back.symbol_of(eqn)
            if isinstance(emit, Call) and emit.request is not None:
                request = emit.request(eqn.params, [x.aval for x in eqn.inputs], [v.aval for v in eqn.outputs])
                self.requests.append(request)
                self.bases[here] = self._words
                self._words += request.words
                self._holding.update(here[:n] for n in range(1, len(here)))
            for i, each in enumerate(carried(eqn)):
                self._collect(each, (*here, i))

    def number(self, path):
        """Number of a call's request."""
        return list(self.bases).index(path)

    def within(self, path):
        """Whether a carried program has calls that need something."""
        return path in self._holding

    def _opaque_base(self, graph, x):
        if not isinstance(x.aval, Opaque):
            return None
        for number, eqn in enumerate(graph.eqns):
            if x in eqn.outputs:
                return self.bases[number,], None
        base = self._words
        self._words += x.aval.words
        return base, x.aval.words

    @property
    def used(self):
        """Whether any word is written to."""
        return self.report > 0 or bool(self.checks)

    def allocate(self):
        """The words of one call at a time, and the memory of its requests."""
        ctx, memory = np.zeros(self._words, np.int64), []
        for request, base in zip(self.requests, self.bases.values(), strict=True):
            words, owner = request.allocate()
            ctx[base : base + request.words] = words
            memory.append(owner)
        return ctx, memory

    def write(self, i, name):
        """Python that hands over opaque input i, which is in a variable."""
        base, words = self.opaque[i]
        return f"ctx[{base}:{base + words}] = {name}.words"

    def export(self, j, ctx, memory):
        """Opaque output j as an object of its own."""
        base = self.opaque[self._inputs + j][0]
        number = list(self.bases.values()).index(base)
        request = self.requests[number]
        return request.export(ctx[base : base + request.words], memory[number])

    def settle(self, status, ctx, memory):
        """A call within the program gave up: enlarge its memory, or raise what it has to say."""
        number, status = status >> 32, status & 0xFFFFFFFF
        if number >= len(self.requests):
            raise IndexError(out_of_bounds(int(ctx[self.report]), *self.checks[number - len(self.requests)]))
        request, base = self.requests[number], list(self.bases.values())[number]
        words = ctx[base : base + request.words]
        if not request.grow(status, words, memory[number]):
            raise back.failure() or request.error(status, words, memory[number])

"""One traced and compiled program of a function: how it is run, and what it tells of itself."""

import contextlib
import gc
import itertools
import time

from ..codegen.program import Program
from ..core import Tracer
from ..core.printing import html_table, quantity
from ..errors import SolveError
from ..passes import finished
from ..transforms.strong import finite
from .entrance import MISS, builder, entrance, into


class Stats(dict):
    """What a program is made of and what it cost: a dictionary that notebooks show as a table."""

    def _repr_html_(self):
        return html_table(["", ""], [[name, shown(x)] for name, x in self.items()], "compiled program")


def shown(x):
    """A statistic as text."""
    if isinstance(x, dict):
        return ", ".join(f"{name} {1e3 * s:.3g} ms" for name, s in x.items())
    if isinstance(x, (list, tuple)):
        return ", ".join(map(str, x)) or "none"
    return str(x) if isinstance(x, bool) or x is None else quantity(x)


@contextlib.contextmanager
def uncollected():
    """Python's collector of cycles pauses: compiling makes many objects and no cycles to speak of.

    The gradient of 10,000 statements takes 4.1 s of the processor from trace to machine code, 4.6 with the collector; small programs a
    fiftieth less.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Compiled:
    """A program of a function, and what it rests on.

    Parameters
    ----------
    signature : (structure of ``(args, kwargs)``, kinds, static arguments)
        What it was traced for; see ``Jitted``.
    graph : Graph
    captured : list
        Values of the inputs beyond the leaves: arrays, and tracers of transforms outside.
    out : structure
        Of the result.
    constants : list of (int, object)
        Leaves of the result that are no arrays.
    guard : Snapshot
    seconds : dict
        Stages so far.

    Attributes
    ----------
    call : callable
        ``call(args, kwargs)``: the result, or ``MISS``.
    """

    def __init__(self, signature, graph, captured, out, constants, guard, seconds):
        self.signature, self.graph, self.captured, self.out, self.constants = signature, graph, captured, out, constants
        self.guard, self.holds, self.seconds = guard, guard.holds, seconds
        self.build, self.derives, self.program = builder(out), graph.derives, None
        self.ticks, self._into, self._many = itertools.count(), None, None
        self._use(lambda args, kwargs: MISS)

    def _use(self, call):
        self.call, call.entry = call, self

    @property
    def calls(self):
        """How often it was called."""
        return int(repr(self.ticks)[6:-1])                  # "count(3)": looking at it does not count

    @property
    def nbytes(self):
        """Bytes of the arrays it captured."""
        return sum(x.nbytes for x in self.captured if not isinstance(x, Tracer))

    @property
    def held(self):
        """Bytes of arrays it keeps alive: those it captured, and the guard's copies."""
        return sum({id(x): x.nbytes for x in (*self.captured, *self.guard.copies) if not isinstance(x, Tracer)}.values())

    @property
    def closes_over_tracers(self):
        """Whether a transform outside is part of what was captured: such a program serves one call."""
        return any(isinstance(x, Tracer) for x in self.captured)

    def run(self, leaves):
        """Flat outputs on concrete leaves, compiled at the first call; None where a derivative is not finite.

        It is then to be computed with the care of an uncompiled one.
        """
        if self.program is None:
            self._compile()
        next(self.ticks)
        try:
            return self.program(*leaves)
        except SolveError as error:
            if self.derives and error.not_finite and finite(leaves):
                return None
            raise

    @uncollected()
    def _compile(self):
        began = time.perf_counter()
        graph = finished(self.graph)
        self.seconds["passes"] = time.perf_counter() - began
        self.program = Program(graph, constants=self.captured, watch=self.derives)
        self.seconds.update(self.program.stats["seconds"])
        calling, tick = self.program.calling, self.ticks.__next__
        self._use(entrance(self.signature, self.holds, calling, self.out, self.constants, self.derives, tick, self.graph.narrowed))

    @uncollected()
    def many(self):
        """The program as one that can be called for many members, compiled at the first call; see ``codegen.many.Members``."""
        if self._many is None:
            self._many = Program(finished(self.graph), constants=self.captured, watch=self.derives, many=True)
        return self._many.members

    def written(self, args, kwargs, out):
        """As ``call``, into the caller's arrays."""
        if self._into is None:
            calling, tick = self.program.calling, self.ticks.__next__
            self._into = into(self.signature, self.holds, calling, self.out, self.constants, tick, self.graph.narrowed)
        return self._into(args, kwargs, out)

    def result(self, out):
        """The result's tree from the program's outputs."""
        for i, x in self.constants:
            out.insert(i, x)
        return self.build(out)

    @property
    def stats(self):
        """See ``Jitted.stats``."""
        told = dict(self.program.stats)
        return Stats({"traced": len(self.graph.eqns), **told, "constants": self.nbytes, "calls": self.calls, "seconds": dict(self.seconds)})


__all__ = ["Compiled", "Stats", "shown"]

"""Programs that a primitive carries: internal functions of the module they are called from, and the requests of the calls in them.

A body of a loop, a branch, a part that is computed again becomes ``i64 body(ins..., outs..., ctx)``, one pointer an operand, lowered like
any other graph.  Where it is called once LLVM makes it part of its caller, and what lies in the caller's stack becomes registers.
"""

from collections import Counter
from typing import NamedTuple

from ..core import Opaque
from ..core.emission import Call
from ..errors import MissingRule
from .count import note
from .emissions import emission
from .llvm_printer import FunctionPrinter
from .lower import nest_of

#: Scratch memory of a carried program up to this many bytes is on its stack; more is its caller's.
STACK = 1 << 14


class Function(NamedTuple):
    """A carried program as a function: its symbol, the bytes of scratch memory its caller provides, and whether it returns a status."""

    symbol: str
    scratch: int
    status: bool


class Assembly:
    """The functions of one module.

    Parameters
    ----------
    text : Text
    modules : list of str
        Grows by what calls link.
    caller : type
        The :class:`Caller` that calls are written with.
    context : Context, optional
        None in a kernel, where nobody answers requests.

    Attributes
    ----------
    report : (int, int, list) or None
        What functions of the module are printed with, see ``FunctionPrinter``.
    """

    def __init__(self, text, modules, caller, context=None):
        self.text, self.modules, self.context, self._caller = text, modules, context, caller
        self.report = None if context is None else (context.report, len(context.requests), [])
        self.shared, self._functions = {}, {}

    def link(self, graph, path=()):
        """The function that writes the calls of a graph."""
        alike = Counter(map(call_key, graph.eqns))

        def base(x):
            return x if not isinstance(x, int) else self.context.bases[(*path, x)] if x >= 0 else self.context.opaque[-1 - x][0]

        def write(printer, statement):
            eqn = statement.eqn
            k = self._caller(printer, self, eqn, (*path, statement.number), alike[call_key(eqn)])
            statement.rule(k, statement.outs, [base(x) for x in statement.ins], **eqn.params)
        return write

    def function(self, graph, path, add=frozenset(), runs=1):
        """A carried program as a function, printed once; programs that need nothing share theirs with all that are the same.

        Outputs whose numbers are in ``add`` are added to what is there; ``runs`` says how often it is called.
        """
        key = path if self.context is not None and self.context.within(path) else graph, add
        if key not in self._functions:
            self._functions[key] = self._printed(graph, path, add, runs)
        return self._functions[key]

    def _printed(self, graph, path, add, runs):
        symbol, status = self.text.unique("body"), self.report is not None
        if any(isinstance(v.aval, Opaque) for v in (*graph.inputs, *graph.outputs)):
            raise MissingRule("a record of a solve", "emit", "it cannot enter or leave the program inside another primitive")
        function = nest_of(symbol, graph, status, add, runs)
        note(graph, function.body)
        printer = FunctionPrinter(function, self.text, STACK, link=self.link(graph, path), report=self.report, runs=runs).print()
        return Function(symbol, printer.scratch_size if printer.scratch == "param" else 0, status)


def call_key(eqn):
    """Equal for calls into loops that differ in their operands alone; None for other equations."""
    return (eqn.prim.name, *sorted(eqn.params.items(), key=lambda item: item[0])) if isinstance(emission(eqn), Call) else None


__all__ = ["Assembly", "call_key"]

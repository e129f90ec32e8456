"""Kernels: C-callable functions of a graph, for stepping loops to link with."""

import numpy as np

from ..core.emission import Call
from ..errors import MissingRule
from ..passes import dce, finished
from . import engine
from .caller import Caller
from .context import carried
from .emissions import emission, own_outputs
from .llvm_printer import LONG_LOOPS, FunctionPrinter, Text
from .lower import Output, lower
from .nest import FLOAT
from .places import in_place
from .python_printer import compiled_python, python_source
from .sub import Assembly

#: Scratch memory up to this many bytes is on the stack; more comes from malloc, once a call.
STACK = 1 << 20


def kernel_ir(symbol, params, graph, inputs, outputs, unroll=None):
    """LLVM IR of a graph as ``void symbol(params)``.

    Kernels may run in any number of threads at once: their scratch memory is the call's own.  Where an index is out of bounds, all their
    results are NaN.

    Parameters
    ----------
    symbol : str
    params : list of (str, str)
        Names and kinds, "double" or "ptr" (to contiguous float64; no two overlap where one of them is written).
    graph : Graph
    inputs : list of (str, int)
        For each input of the graph the parameter it is read from, and the element it starts at.
    outputs : list of (str, int, bool)
        For each output the parameter it is written to, the element it starts at, and whether it is added to what is there.
    unroll : int, optional
        Arrays up to this size become scalars; chosen by the size of the graph if None.

    Returns
    -------
    str

    Raises
    ------
    MissingRule
        A primitive cannot be emitted.
    """
    graph = _prepared(graph)
    function = _nest(symbol, params, graph, inputs, outputs, unroll)
    text, modules = Text(), []
    body = f"{symbol}.body"
    printer = FunctionPrinter(function, text, STACK, link=Assembly(text, modules, _Inside).link(graph)).print(given=body)
    if printer.scratch == "param":
        text.functions.append(_on_heap(symbol, params, body, printer.scratch_size, text))
    if not modules:
        return str(text)
    joined = engine.joined([str(text), *modules], [symbol])
    return f"{LONG_LOOPS}\n{joined}" if text.long_loops else joined


class _Inside(Caller):
    """Writes calls of linked functions within a kernel, which has no status to report: such functions give NaN where they fail."""

    def check(self, status):
        pass


def _on_heap(symbol, params, body, size, text):
    """Text of a function that calls ``body`` with scratch memory from malloc."""
    text.declare("malloc", "noalias ptr", ["i64"], "nounwind")
    text.declare("free", "void", ["ptr"], "nounwind")
    formal = ", ".join(f"{'ptr noalias' if kind == 'ptr' else kind} %{name}" for name, kind in params)
    actual = ", ".join([f"{kind} %{name}" for name, kind in params] + ["ptr %.d"])
    return f"""define void @{symbol}({formal}) nounwind {{
  %.m = call noalias ptr @malloc(i64 {size + 64})
  %.a = ptrtoint ptr %.m to i64
  %.b = add i64 %.a, 63
  %.c = and i64 %.b, -64
  %.d = inttoptr i64 %.c to ptr
  call void @{body}({actual})
  call void @free(ptr %.m)
  ret void
}}"""


def kernel_source(symbol, params, graph, inputs, outputs, unroll=None):
    """The same kernel as readable Python; arguments as :func:`kernel_ir`."""
    return python_source(_nest(symbol, params, _prepared(graph), inputs, outputs, unroll))


def kernel_python(symbol, params, graph, inputs, outputs, unroll=None):
    """The same kernel as a Python function on float64 arrays (``"ptr"``) and floats; arguments as :func:`kernel_ir`.

    Returns
    -------
    callable
        Its ``source`` is the text.
    """
    return compiled_python(_nest(symbol, params, _prepared(graph), inputs, outputs, unroll))


def _prepared(graph):
    graph = finished(graph)
    refuse(graph)
    return own_outputs(graph)


def refuse(graph):
    """Raise MissingRule where an equation, or one in a program it carries, cannot be part of a kernel."""
    for eqn in graph.eqns:
        emit = emission(eqn)
        if isinstance(emit, Call) and not emit.inside:
            raise MissingRule(eqn.prim.name, "emit", "a simulation cannot run inside the kernel of another one")
        for each in carried(eqn):
            refuse(each)


def _nest(symbol, params, graph, inputs, outputs, unroll):
    width = np.dtype(FLOAT).itemsize
    graph, inputs, outputs = in_place(graph, inputs, outputs)
    places = [(name, width * at, FLOAT) for name, at in inputs]
    targets = [Output(name, width * at, FLOAT, add) for name, at, add in outputs]
    return lower(symbol, params, dce(graph), places, targets, unroll)

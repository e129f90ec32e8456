"""Graphs: programs as data.  Single assignment, every shape known, constants in place."""

import hashlib

import numpy as np

from ..errors import GraphError
from .aval import Opaque, aval_of
from .primitive import bind
from .printing import graph_html, graph_text


class Var:
    """A value in a graph: an input or the result of one equation."""

    __slots__ = ("aval",)

    def __init__(self, aval):
        self.aval = aval


class Const:
    """A known array in a graph."""

    __slots__ = ("aval", "value")

    def __init__(self, value):
        self.value = np.asarray(value)
        self.aval = aval_of(self.value)


class Eqn:
    """One bound primitive: ``outputs = prim(*inputs, **params)``."""

    __slots__ = ("inputs", "line", "outputs", "params", "prim")

    def __init__(self, prim, inputs, params, outputs, line=None):
        self.prim, self.inputs, self.params, self.outputs, self.line = prim, tuple(inputs), params, tuple(outputs), line


class Graph:
    """A program: inputs, equations in order, outputs.

    Parameters
    ----------
    inputs : list of Var
    eqns : list of Eqn
    outputs : list of Var or Const

    Attributes
    ----------
    derives : bool
        Whether a derivative was taken while it was recorded.
    """

    __slots__ = ("__weakref__", "_digest", "derives", "eqns", "inputs", "narrowed", "outputs")

    def __init__(self, inputs, eqns, outputs):
        self.inputs, self.eqns, self.outputs = list(inputs), list(eqns), list(outputs)
        self._digest, self.derives, self.narrowed = None, False, False

    @property
    def digest(self):
        """Hash of the program: equal for graphs that compute the same by the same equations."""
        if self._digest is None:
            self._digest = hashlib.sha256(_canonical(self).encode()).hexdigest()
        return self._digest

    def verify(self):
        """Check that every variable is defined once before use and every aval is what its primitive predicts.

        Raises
        ------
        GraphError
            Naming the equation.
        """
        defined = set()
        for v in self.inputs:
            if v in defined:
                raise GraphError("an input appears twice")
            defined.add(v)
        for n, eqn in enumerate(self.eqns):
            where = f"equation {n} ({eqn.prim.name})"
            for x in eqn.inputs:
                if isinstance(x, Var) and x not in defined:
                    raise GraphError(f"{where} reads a variable that is not defined yet")
            predicted = eqn.prim.rule("aval")(*[x.aval for x in eqn.inputs], **eqn.params)
            predicted = predicted if eqn.prim.multiple else (predicted,)
            if tuple(predicted) != tuple(v.aval for v in eqn.outputs):
                claimed = [str(v.aval) for v in eqn.outputs]
                raise GraphError(f"{where} claims {claimed}, its primitive predicts {[str(a) for a in predicted]}")
            for v in eqn.outputs:
                if v in defined:
                    raise GraphError(f"{where} defines a variable again")
                defined.add(v)
        for x in self.outputs:
            if isinstance(x, Var) and x not in defined:
                raise GraphError("an output is not defined")
        return self

    def text(self, lines=False, cost=False):
        """The program as text, the same in every process.

        Parameters
        ----------
        lines : bool
            Whether a column gives the user's file and line, where they were recorded (``make_graph`` does).
        cost : bool
            Whether two columns give the operations on floating-point numbers of each equation, and the bytes it would load and store
            if it were compiled alone; "?" where it calls a loop or cannot be compiled.

        Returns
        -------
        str
        """
        return graph_text(self, lines, view("cost") if cost else None)

    @property
    def stats(self):
        """What the program holds and costs.

        ``equations`` and ``primitives`` (equations by primitive) count nested graphs too, each once; ``inputs``, ``outputs`` and
        ``constants`` are bytes; ``flops`` and ``bytes`` are those of one run of the compiled program (the ones of ``jit(f).stats``), None
        where it cannot be compiled.
        """
        return view("stats")(self)

    def draw(self, path=None, **options):
        """Draw the graph; see :func:`diffsim.draw`.

        Returns
        -------
        matplotlib.figure.Figure
        """
        return view("draw")(self, path, **options)

    def __str__(self):
        return graph_text(self)

    __repr__ = __str__

    def _repr_html_(self):
        return graph_html(self)


#: How graphs are seen by floors above, which know what equations cost and how to draw: "cost", "stats", "draw".
VIEWS = {}


def view(name):
    """A view that a floor above has added.

    Raises
    ------
    GraphError
        None has: only the core was imported.
    """
    if name not in VIEWS:
        raise GraphError(f"graph.{name} needs what the core does not know: import diffsim.api first")
    return VIEWS[name]


def canonical_param(value):
    """A parameter as text, equal for equal ones."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__}({','.join(map(canonical_param, value))})"
    if isinstance(value, dict):
        return f"dict({','.join(f'{k!r}:{canonical_param(v)}' for k, v in value.items())})"
    digest = getattr(value, "digest", None)
    return str(digest) if digest is not None else repr(value)


def _kind(aval):
    """Text of an aval; of an opaque one with what producer and consumers agree on, on which their programs depend."""
    return f"{aval}{aval.spec}" if aval.__class__ is Opaque else str(aval)


def _canonical(graph):
    number = {v: i for i, v in enumerate(graph.inputs)}

    def show(x):
        if isinstance(x, Const):
            return f"c:{x.aval}:" + (repr(x.value.item()) if x.value.ndim == 0 else canonical_param(x.value))
        return str(number[x])

    lines = [";".join(_kind(v.aval) for v in graph.inputs)]
    for eqn in graph.eqns:
        for v in eqn.outputs:
            number[v] = len(number)
        params = ",".join(f"{k}={canonical_param(v)}" for k, v in sorted(eqn.params.items()))
        lines.append(f"{eqn.prim.digest}|{params}|{','.join(map(show, eqn.inputs))}|{';'.join(_kind(v.aval) for v in eqn.outputs)}")
    lines.append(",".join(map(show, graph.outputs)))
    return "\n".join(lines)


def eval_graph(graph, *args):
    """Run a graph by ``bind``: on arrays it computes, under a transform it is transformed.

    Parameters
    ----------
    graph : Graph
    *args : array or tracer, one an input

    Returns
    -------
    list
    """
    if len(args) != len(graph.inputs):
        raise GraphError(f"the graph takes {len(graph.inputs)} inputs, {len(args)} were given")
    env = dict(zip(graph.inputs, args, strict=True))

    def read(x):
        return x.value if isinstance(x, Const) else env[x]

    for eqn in graph.eqns:
        out = bind(eqn.prim, tuple(map(read, eqn.inputs)), eqn.params)
        env.update(zip(eqn.outputs, out if eqn.prim.multiple else (out,), strict=True))
    return [read(x) for x in graph.outputs]


__all__ = ["Const", "Eqn", "Graph", "Opaque", "Var", "eval_graph"]

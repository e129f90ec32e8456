"""Graphs: programs as data.  Single assignment, every shape known, constants in place."""

import hashlib

import numpy as np

from ..errors import GraphError
from .aval import Opaque, aval_of
from .primitive import bind


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

    __slots__ = ("__weakref__", "_digest", "derives", "eqns", "inputs", "outputs")

    def __init__(self, inputs, eqns, outputs):
        self.inputs, self.eqns, self.outputs = list(inputs), list(eqns), list(outputs)
        self._digest, self.derives = None, False

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

    def __str__(self):
        return _print(self)

    __repr__ = __str__


def _names():
    """a, b, ..., z, ba, bb, ... : stable names in order of definition."""
    n = 0
    while True:
        name, k = "", n
        while True:
            name = chr(97 + k % 26) + name
            k //= 26
            if not k:
                break
        yield name
        n += 1


def _param_text(value):
    if isinstance(value, Graph):
        return f"graph {value.digest[:8]}"
    if isinstance(value, np.ndarray):
        return np.array2string(value, separator=",", threshold=8).replace("\n", "")
    return getattr(value, "name", None) or str(value)


def _print(graph):
    source = _names()
    name = {v: next(source) for v in graph.inputs}

    def show(x):
        if isinstance(x, Const):
            return repr(x.value.item()) if x.value.ndim == 0 else f"const {x.aval}"
        return name[x]

    lines = ["graph(" + ", ".join(f"{name[v]}: {v.aval}" for v in graph.inputs) + "):"]
    for eqn in graph.eqns:
        for v in eqn.outputs:
            name[v] = next(source)
        params = ", ".join(f"{k}={_param_text(v)}" for k, v in eqn.params.items())
        left = ", ".join(f"{name[v]}: {v.aval}" for v in eqn.outputs)
        right = " ".join([eqn.prim.name + (f"[{params}]" if params else ""), *map(show, eqn.inputs)])
        lines.append(f"  {left} = {right}")
    lines.append("  return " + ", ".join(show(x) for x in graph.outputs))
    return "\n".join(lines)


def _canonical_param(value):
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    digest = getattr(value, "digest", None)
    return str(digest) if digest is not None else repr(value)


def _canonical(graph):
    number = {v: i for i, v in enumerate(graph.inputs)}

    def show(x):
        if isinstance(x, Const):
            return f"c:{x.aval}:" + (repr(x.value.item()) if x.value.ndim == 0 else _canonical_param(x.value))
        return str(number[x])

    lines = [";".join(str(v.aval) for v in graph.inputs)]
    for eqn in graph.eqns:
        for v in eqn.outputs:
            number[v] = len(number)
        params = ",".join(f"{k}={_canonical_param(v)}" for k, v in sorted(eqn.params.items()))
        lines.append(f"{eqn.prim.name}|{params}|{','.join(map(show, eqn.inputs))}|{';'.join(str(v.aval) for v in eqn.outputs)}")
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

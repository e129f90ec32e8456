"""Inputs and outputs of kernels in the shapes they are computed in: memory knows no shapes.

A state is a vector to the loops, and often a field, or several, to the model: ``u = np.reshape(y[:n], (64, 64))``, and
``np.concatenate([du.ravel(), dv.ravel()])`` in the end. Loops over the vector would divide each position by the field's shape, and ask for
each element which piece it lies in: none of them would become vector instructions (heat on a grid of 64 x 64: 22 us a call, 5 us without).
Here such equations go: what an input, or a slice of one, is reshaped to becomes an input, further on in the same memory, and the pieces of
an output become outputs.
"""

import math

from ..core import Graph, Var

#: An output is taken apart into at most so many pieces: more of them are short, and better written in one go.
PIECES = 8


def in_place(graph, inputs, outputs):
    """The graph without reshapes, contiguous slices and joins at its rims, and the places that fit it.

    Parameters
    ----------
    graph : Graph
    inputs : list of (str, int)
        For each input the parameter it is read from, and the element it starts at.
    outputs : list of (str, int, bool)
        For each output the parameter it is written to, the element it starts at, and whether it is added to what is there.

    Returns
    -------
    graph : Graph
        Equations that nothing needs any more are still there.
    inputs, outputs : list
        As given, for the new graph.
    """
    graph, outputs = _outputs(graph, outputs)
    return *_inputs(graph, inputs), outputs


def _inputs(graph, places):
    """With what inputs, or slices of them, are reshaped to as inputs; they may overlap in memory."""
    at = dict(zip(graph.inputs, places, strict=True))
    inputs, eqns = list(graph.inputs), []
    for e in graph.eqns:
        source = e.inputs[0] if e.inputs else None
        start = _start(e) if source in at and source.aval.shape else None
        if start is not None:
            name, first = at[source]
            at[e.outputs[0]] = name, first + start
        if start is not None and e.prim.name == "reshape":
            inputs.append(e.outputs[0])
        else:
            eqns.append(e)
    if len(inputs) == len(graph.inputs):
        return graph, places
    return Graph(inputs, eqns, graph.outputs), [at[v] for v in inputs]


def _start(e):
    """Where in its operand's memory the value of an equation begins if it is a part of it; None if it is not."""
    if e.prim.name == "reshape":
        return 0
    if e.prim.name != "index":
        return None
    at, start, size, whole = e.params["at"], 0, 1, True      # whole: all axes further in are taken in full
    taken = list(at.shape)
    for offset, step, n in zip(reversed(at.offset), reversed(at.step), reversed(e.inputs[0].aval.shape), strict=True):
        s = 1 if step is None else taken.pop()
        if s > 1 and not (step == 1 and whole):
            return None
        start, size, whole = start + offset * size, size * n, whole and s == n
    return start


def _outputs(graph, places):
    """With outputs as they are before they are reshaped or joined."""
    made = {v: e for e in graph.eqns for v in e.outputs}
    values, out = [], []
    for x, (name, first, add) in zip(graph.outputs, places, strict=True):
        for part, start in _parts(x, made):
            values.append(part)
            out.append((name, first + start, add))
    if len(values) == len(graph.outputs) and all(x is y for x, y in zip(values, graph.outputs, strict=True)):
        return graph, places
    return Graph(graph.inputs, graph.eqns, values), out


def _parts(x, made):
    """The values an output's memory consists of, each with the element it starts at."""
    e = made.get(x) if type(x) is Var else None
    while e is not None and e.prim.name == "reshape":
        x = e.inputs[0]
        e = made.get(x) if type(x) is Var else None
    if e is None or e.prim.name != "concatenate" or len(e.inputs) > PIECES:
        return [(x, 0)]
    if math.prod(x.aval.shape[:e.params["axis"]]) != 1:
        return [(x, 0)]
    parts, start = [], 0
    for piece in e.inputs:
        parts += [(part, start + inner) for part, inner in _parts(piece, made)]
        start += piece.aval.size
    return parts

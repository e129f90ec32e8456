"""Transposes move behind the operations on what they transpose.

What is computed on a transposed array is computed on the array as it lies, so that loops run along its memory; two transposes that meet
undo each other (``simplify``).  A program that handles each axis through ``np.moveaxis`` or ``.T`` is left with none.
"""

import numpy as np

from ..core import REGISTRY, Aval, Const, Eqn, Var
from ..core.emission import Scalar
from ..prims.layout import Basic
from .rewrite import Rewriting


def sink(graph):
    """Rewrite operations on transposed operands as transposes of operations, where every operand allows it."""
    work, maker = _Sinking(graph), {}
    for eqn in graph.eqns:
        inputs = work.inputs(eqn)
        if len(eqn.outputs) != 1 or not work.behind(eqn, inputs, maker):
            work.keep(eqn, inputs)
        for made in work.fresh():
            maker.update((v, made) for v in made.outputs)
    return work.done()


class _Sinking(Rewriting):
    """A copy of a graph in which transposes come later."""

    def __init__(self, graph):
        super().__init__(graph)
        self._seen = 0

    def fresh(self):
        """Equations made since this was last asked."""
        made, self._seen = self.eqns[self._seen:], len(self.eqns)
        return made

    def behind(self, eqn, inputs, maker):
        """Whether an equation was replaced by one on what its operands transpose, and a transpose."""
        axes = next((e.params["axes"] for e in map(maker.get, _variables(inputs)) if e is not None and e.prim.name == "transpose"), None)
        name, (out,) = eqn.prim.name, eqn.outputs
        if axes is None or name == "transpose":
            return False
        if name == "index":
            return self._index(eqn, maker[inputs[0]], axes)
        if isinstance(eqn.prim.emit, Scalar):
            params = eqn.params
        elif name in ("embed", "index_set") and all(type(s) is tuple for s in eqn.params["at"].spec):
            params = {**eqn.params, "at": Basic(_back(eqn.params["at"].spec, axes), None)}
            if name == "embed":
                params["shape"] = _back(params["shape"], axes)
        else:
            return False
        if len(out.aval.shape) != len(axes) or not all(_movable(x, axes, maker) for x in inputs):
            return False
        operands = tuple(self._moved(x, axes, maker) for x in inputs)
        self._made(eqn, operands, params, axes)
        return True

    def _index(self, eqn, inner, axes):
        """An index of a transpose: axes that an int takes away are missing in the transpose behind it."""
        spec = eqn.params["at"].spec
        left = [axis for axis, s in zip(axes, spec, strict=True) if type(s) is tuple]
        order = tuple(sorted(left).index(axis) for axis in left)
        self._made(eqn, inner.inputs, {"at": Basic(_back(spec, axes), None)}, order)
        return True

    def _made(self, eqn, operands, params, axes):
        (out,) = eqn.outputs
        self.changed = True
        if axes == tuple(range(len(axes))):
            self.eqns.append(Eqn(eqn.prim, operands, params, eqn.outputs, eqn.line))
            return
        lies = Var(Aval(_back(out.aval.shape, axes), out.aval.dtype))
        self.eqns.append(Eqn(eqn.prim, operands, params, [lies], eqn.line))
        self.eqns.append(Eqn(REGISTRY["transpose"], (lies,), {"axes": axes}, [out], eqn.line))

    def _moved(self, x, axes, maker):
        """The operand as it lies before the transpose."""
        if x.aval.shape == ():
            return x
        if isinstance(x, Const):
            return Const(np.ascontiguousarray(np.transpose(x.value, np.argsort(axes))))
        eqn = maker[x]
        if eqn.prim.name == "transpose":
            return eqn.inputs[0]
        lies = Var(Aval(_back(x.aval.shape, axes), x.aval.dtype))
        self.eqns.append(Eqn(eqn.prim, eqn.inputs, {"shape": lies.aval.shape}, [lies], eqn.line))
        return lies


def _variables(inputs):
    return [x for x in inputs if not isinstance(x, Const)]


def _movable(x, axes, maker):
    """Whether an operand can be had as it lies before the transpose: a transpose itself, a constant, one number."""
    if x.aval.shape == ():
        return True
    if isinstance(x, Const):
        return len(x.aval.shape) == len(axes)
    eqn = maker.get(x)
    if eqn is None:
        return False
    if eqn.prim.name == "transpose":
        return eqn.params["axes"] == axes
    return eqn.prim.name == "broadcast_to" and eqn.inputs[0].aval.shape == () and len(x.aval.shape) == len(axes)


def _back(entries, axes):
    """Entries of the axes of a transpose as those of what it transposes."""
    out = [None] * len(axes)
    for entry, axis in zip(entries, axes, strict=True):
        out[axis] = entry
    return tuple(out)

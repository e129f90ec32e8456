"""Sums are taken before products: a sum over free axes of a product is the product of a sum, and the large product is never formed.

This adds in another order, as generated code does anyway; it is for graphs that code is generated from.
"""

from collections import Counter
from functools import partial

from ..core import REGISTRY, Eqn, Var
from .rewrite import Rewriting


def early(graph):
    """Move sums of floats before products of which nothing else is read, and before what only turns or scales it."""
    if not any(eqn.prim.name == "dot_general" for eqn in graph.eqns):
        return graph
    work = _Summing(graph)
    for eqn in graph.eqns:
        inputs = work.inputs(eqn)
        if eqn.prim.name != "reduce_sum" or not work.before(eqn, inputs[0]):
            work.maker.update(dict.fromkeys(eqn.outputs, work.keep(eqn, inputs)))
    return work.done()


class _Summing(Rewriting):
    """A copy of a graph in which sums come earlier.

    ``maker`` has the equations by what they make; ``reads`` says how often each variable is read.
    """

    def __init__(self, graph):
        super().__init__(graph)
        self.maker, self.reads = {}, Counter(x for e in graph.eqns for x in e.inputs)
        self.reads.update(graph.outputs)

    def before(self, eqn, x):
        """Whether a sum of ``x`` was replaced by a product of sums."""
        axes, chain = eqn.params["axes"], []
        while True:
            made = self.maker.get(x) if self.reads[x] == 1 else None
            if made is None or x.aval.dtype.kind != "f":
                return False
            if made.prim.name == "dot_general":
                break
            step = self._through(made, axes)
            if step is None:
                return False
            x, axes, behind = step
            chain.append(behind)
        value = self._product(made, axes)
        if value is None:
            return False
        for behind in reversed(chain):
            value = behind(value)
        self.replace(eqn.outputs[0], value)
        return True

    def _through(self, made, axes):
        """What an equation's value is computed from, the axes there to sum over, and what is left to do behind the sum; None if none is."""
        name, line = made.prim.name, made.line
        if name == "transpose":
            order = made.params["axes"]
            left = [i for n, i in enumerate(order) if n not in axes]
            turn = tuple(sorted(left).index(i) for i in left)
            same = turn == tuple(range(len(turn)))
            return (made.inputs[0], tuple(sorted(order[n] for n in axes)),
                    lambda y: y if same else self._made("transpose", (y,), {"axes": turn}, line))
        if name == "neg":
            return made.inputs[0], axes, lambda y: self._made("neg", (y,), {}, line)
        if name not in ("mul", "div"):
            return None
        out = made.outputs[0].aval
        for side in (0, 1)[:1 if name == "div" else 2]:
            x, factor = made.inputs[side], made.inputs[1 - side]
            shape = (1,) * (len(out.shape) - len(factor.aval.shape)) + tuple(factor.aval.shape)
            if x.aval == out and all(shape[i] == 1 for i in axes):
                left = tuple(n for i, n in enumerate(shape) if i not in axes)
                return x, axes, partial(self._scaled, made, side, left)
        return None

    def _scaled(self, made, side, shape, y):
        """A product or quotient of a sum, and of a factor that does not change along the axes summed over."""
        factor = made.inputs[1 - side]
        if factor.aval.shape not in ((), shape):
            factor = self._made("reshape", (factor,), {"shape": shape}, made.line)
        return self._made(made.prim.name, (factor, y) if side else (y, factor), {}, made.line)

    def _product(self, made, axes):
        """The product of an equation's operands summed over their part of its value's ``axes``; None where that is not the same."""
        contract, batch = made.params["contract"], made.params["batch"]
        operands, contract, batch, first = list(made.inputs), list(contract), list(batch), len(batch[0])
        if any(axis < first for axis in axes) or any(x.aval.dtype != made.outputs[0].aval.dtype for x in operands):
            return None                                     # members are summed where they are; a shorter dtype would round the sum
        for side, x in enumerate(made.inputs):
            free = [i for i in range(len(x.aval.shape)) if i not in contract[side] and i not in batch[side]]
            gone = tuple(i for n, i in enumerate(free, first) if n in axes)
            first += len(free)
            if gone:
                operands[side] = self._made("reduce_sum", (x,), {"axes": gone}, made.line)
                contract[side], batch[side] = ([i - sum(j < i for j in gone) for i in of] for of in (contract[side], batch[side]))
        return self._made("dot_general", tuple(operands), {k: tuple(map(tuple, v)) for k, v in (("contract", contract), ("batch", batch))},
                          made.line)

    def _made(self, name, operands, params, line):
        prim = REGISTRY[name]
        out = Var(prim.aval(*[x.aval for x in operands], **params))
        self.eqns.append(Eqn(prim, operands, params, [out], line))
        self.maker[out], self.reads[out] = self.eqns[-1], 1
        return out

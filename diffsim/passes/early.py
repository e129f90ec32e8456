"""Sums are taken before products: a sum over free axes of a product is the product of a sum, and the large product is never formed.

This adds in another order, as generated code does anyway; it is for graphs that code is generated from.
"""

from collections import Counter

from ..core import REGISTRY, Eqn, Var
from .rewrite import Rewriting


def early(graph):
    """Move sums of floats before products of which nothing else is read, and before negations and transposes between them."""
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
            if made.prim.name == "transpose":
                order = made.params["axes"]
                chain.append(tuple(i for n, i in enumerate(order) if n not in axes))
                axes = tuple(sorted(order[n] for n in axes))
            elif made.prim.name == "neg":
                chain.append(None)
            else:
                return False
            x = made.inputs[0]
        value = self._product(made, axes)
        if value is None:
            return False
        for order in reversed(chain):
            value = self._negative(value) if order is None else self._turned(value, order)
        self.replace(eqn.outputs[0], value)
        return True

    def _product(self, made, axes):
        """The product of an equation's operands summed over their part of its value's ``axes``; None where one is an axis of both."""
        contract, batch = made.params["contract"], made.params["batch"]
        operands, contract, batch, first = list(made.inputs), list(contract), list(batch), len(batch[0])
        if any(axis < first for axis in axes):
            return None
        for side, x in enumerate(made.inputs):
            free = [i for i in range(len(x.aval.shape)) if i not in contract[side] and i not in batch[side]]
            gone = tuple(i for n, i in enumerate(free, first) if n in axes)
            first += len(free)
            if gone:
                operands[side] = self._made("reduce_sum", (x,), {"axes": gone}, made.line)
                contract[side], batch[side] = ([i - sum(j < i for j in gone) for i in of] for of in (contract[side], batch[side]))
        return self._made("dot_general", tuple(operands), {k: tuple(map(tuple, v)) for k, v in (("contract", contract), ("batch", batch))},
                          made.line)

    def _negative(self, x):
        return self._made("neg", (x,), {}, self.maker[x].line)

    def _turned(self, x, order):
        """The value whose axes, numbered as before the sum, come in this order."""
        axes = tuple(sorted(order).index(i) for i in order)
        return x if axes == tuple(range(len(axes))) else self._made("transpose", (x,), {"axes": axes}, self.maker[x].line)

    def _made(self, name, operands, params, line):
        prim = REGISTRY[name]
        out = Var(prim.aval(*[x.aval for x in operands], **params))
        self.eqns.append(Eqn(prim, operands, params, [out], line))
        self.maker[out], self.reads[out] = self.eqns[-1], 1
        return out

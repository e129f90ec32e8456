"""Fewer divisions: derivatives of quotients and of roots divide again by what was divided by before.

A division takes as long as four to eight multiplications. The tangent of a / b has the coefficients 1 / b and (a / b) / b: the second
becomes (a / b) (1 / b). That of x sqrt(x), as in the forces between bodies, has x (c / sqrt(x)), which is c sqrt(x). Other quotients stay
what they are. What changes is rounded otherwise: this is for graphs that code is generated from.
"""

from ..core import REGISTRY, Const, Eqn, Var
from .rewrite import Rewriting


def quotients(graph):
    """Write quotients that are divided again, and numbers times the derivatives of their roots, as products."""
    if not any(e.prim.name == "div" for e in graph.eqns):
        return graph
    work = _Quotients(graph)
    for eqn in graph.eqns:
        inputs = work.inputs(eqn)
        operands = work.operands(eqn, inputs)
        if operands is None:
            work.note(work.keep(eqn, inputs))
        else:
            work.replace(eqn.outputs[0], work.product(operands, eqn.line))
    return work.done()


class _Quotients(Rewriting):
    """A copy of a graph with fewer divisions: ``maker`` has its equations by what they make, ``inverse`` reciprocals by their divisors."""

    def __init__(self, graph):
        super().__init__(graph)
        self.maker, self.inverse = {}, {}

    def note(self, eqn):
        """Remember an equation, and whether it is a reciprocal."""
        self.maker.update(dict.fromkeys(eqn.outputs, eqn))
        if eqn.prim.name == "div" and isinstance(eqn.inputs[0], Const) and (eqn.inputs[0].value == 1.0).all():
            self.inverse[eqn.inputs[1]] = eqn.outputs[0]

    def made(self, x, name):
        """The operands of what makes a float ``x`` if it is of this name; no operands if it is not."""
        e = self.maker.get(x) if type(x) is Var and x.aval.dtype.kind == "f" else None
        return e.inputs if e is not None and e.prim.name == name else ()

    def operands(self, eqn, inputs):
        """Two factors of what an equation makes, None if it stays as it is."""
        if eqn.prim.name == "div":
            return self._divided(*inputs)
        if eqn.prim.name == "mul":
            return self._rooted(*inputs, eqn.line) or self._rooted(*inputs[::-1], eqn.line)
        return None

    def _divided(self, over, by):
        """(a / b) / b, of either sign, where 1 / b is known."""
        inverse, (positive,) = self.inverse.get(by), self.made(over, "neg") or (over,)
        quotient = self.made(positive, "div")
        return (over, inverse) if inverse is not None and quotient and quotient[1] is by else None

    def _rooted(self, x, y, line):
        """x (c / sqrt(x)); (a x) (c / sqrt(x)); x (a (c / sqrt(x)))."""
        root = self._slope_of_root(y)
        if root and root[1] is x:
            return root[0], root[2]
        for a, b in _both_ways(self.made(x, "mul")):
            if root and root[1] is b:
                return a, self.product((root[0], root[2]), line)
        for a, b in _both_ways(self.made(y, "mul")):
            inner = self._slope_of_root(b)
            if inner and inner[1] is x:
                return a, self.product((inner[0], inner[2]), line)
        return None

    def _slope_of_root(self, x):
        """The number c, y and sqrt(y) if ``x`` is c / sqrt(y); nothing if it is not."""
        quotient = self.made(x, "div")
        under = self.made(quotient[1], "sqrt") if quotient and isinstance(quotient[0], Const) and not quotient[0].aval.shape else ()
        return (quotient[0], under[0], quotient[1]) if under else ()

    def product(self, factors, line):
        """The product of two values, as an equation of the copy."""
        prim = REGISTRY["mul"]
        out = Var(prim.aval(*[x.aval for x in factors]))
        self.note(self.keep(Eqn(prim, factors, {}, [out], line), factors))
        return out


def _both_ways(pair):
    return (pair, pair[::-1]) if pair else ()

"""What passes share: rebuilding a graph with some values replaced by others."""

from ..core import Eqn, Graph


class Rewriting:
    """A copy of a graph in the making.  ``replaced`` maps a variable to the variable or constant that takes its place."""

    def __init__(self, graph):
        self.graph, self.eqns, self.replaced, self.changed = graph, [], {}, False

    def inputs(self, eqn):
        """Operands of an equation after the replacements so far."""
        if not self.replaced:
            return eqn.inputs
        return tuple(self.replaced.get(x, x) for x in eqn.inputs)

    def keep(self, eqn, inputs):
        """Copy an equation with its operands as they are now."""
        made = eqn if inputs == eqn.inputs else Eqn(eqn.prim, inputs, eqn.params, eqn.outputs, eqn.line)
        self.eqns.append(made)
        return made

    def replace(self, var, other):
        """Let ``other`` stand for ``var``, whose equation is dropped."""
        self.replaced[var], self.changed = other, True

    def done(self):
        """The new graph; the old one if nothing changed."""
        if not self.changed:
            return self.graph
        return Graph(self.graph.inputs, self.eqns, [self.replaced.get(x, x) for x in self.graph.outputs])

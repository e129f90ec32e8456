"""How one equation becomes code: what its row's ``emit`` slot comes to at its shapes and dtypes."""

from ..core import REGISTRY, Absent, Eqn, Graph, Opaque, Var
from ..core.emission import Back, Either, Gather
from ..errors import MissingRule
from .back import call_back
from .nest import COMPUTED, PARTS


def emission(eqn):
    """The ``Scalar``, ``Gather`` or ``Call`` that serves an equation.

    Parameters
    ----------
    eqn : Eqn

    Raises
    ------
    MissingRule
        Its row has none.
    """
    emit = eqn.prim.emit
    if type(emit) is Absent:
        raise MissingRule(eqn.prim.name, "emit", emit.why)
    if not computed(eqn, parts=type(emit) is Gather and emit.parts):
        return call_back
    if type(emit) is Either:
        emit = emit.choose([x.aval for x in eqn.inputs], [v.aval for v in eqn.outputs], **eqn.params)
    return call_back if type(emit) is Back else emit


def computed(eqn, parts=False):
    """Whether generated code computes in the dtypes of all operands and values of an equation; ``parts``: or in their parts."""
    for x in (*eqn.inputs, *eqn.outputs):
        if type(x.aval) is not Opaque and x.aval.dtype not in COMPUTED and not (parts and x.aval.dtype in PARTS):
            return False
    return True


def own_outputs(graph):
    """The graph with each output of a dtype that code does not compute in made by an equation of its own, which can write it in place."""
    eqns, outputs, taken = list(graph.eqns), [], set(graph.inputs)
    for x in graph.outputs:
        if type(x.aval) is not Opaque and x.aval.dtype not in COMPUTED:
            if x in taken or not isinstance(x, Var):
                v = Var(x.aval)
                eqns.append(Eqn(REGISTRY["convert"], (x,), {"dtype": x.aval.dtype}, (v,)))
                x = v
            taken.add(x)
        outputs.append(x)
    return graph if len(eqns) == len(graph.eqns) else Graph(graph.inputs, eqns, outputs)


__all__ = ["computed", "emission", "own_outputs"]

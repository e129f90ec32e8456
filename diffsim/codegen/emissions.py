"""How one equation becomes code: what its row's ``emit`` slot comes to at its shapes and dtypes."""

from ..core import REGISTRY, Absent, Eqn, Graph, Opaque, Var
from ..core.emission import Back, Call, Either, Gather
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
    if not computed(eqn, _passes_parts(emit)):
        return call_back
    if type(emit) is Either:
        emit = emit.choose([x.aval for x in eqn.inputs], [v.aval for v in eqn.outputs], **eqn.params)
    return call_back if type(emit) is Back else emit


def _passes_parts(emit):
    """Whether an emission takes complex numbers as they lie in memory: their parts, or a loop or choice that hands them on."""
    return emit.parts if type(emit) is Gather else type(emit) is Call and emit.graphs is not None


def computed(eqn, parts=False):
    """Whether generated code computes in the dtypes of all operands and values of an equation; ``parts``: or in their parts."""
    for x in (*eqn.inputs, *eqn.outputs):
        if type(x.aval) is not Opaque and x.aval.dtype not in COMPUTED and not (parts and x.aval.dtype in PARTS):
            return False
    return True


def _copied(x, eqns):
    """A copy of a value; appends the equations that make it."""
    v = Var(x.aval)
    if x.aval.dtype not in PARTS:
        eqns.append(Eqn(REGISTRY["convert"], (x,), {"dtype": x.aval.dtype}, (v,)))
        return v
    parts = [Var(REGISTRY["real"].aval(x.aval)) for _ in range(2)]
    eqns += [Eqn(REGISTRY[name], (x,), {}, (part,)) for name, part in zip(("real", "imag"), parts, strict=True)]
    eqns.append(Eqn(REGISTRY["make_complex"], parts, {}, (v,)))
    return v


def own_outputs(graph):
    """The graph with each output of a dtype that code does not compute in made by an equation of its own, which can write it in place."""
    eqns, outputs, taken = list(graph.eqns), [], set(graph.inputs)
    for x in graph.outputs:
        if type(x.aval) is not Opaque and x.aval.dtype not in COMPUTED:
            if x in taken or not isinstance(x, Var):
                x = _copied(x, eqns)
            taken.add(x)
        outputs.append(x)
    return graph if len(eqns) == len(graph.eqns) else Graph(graph.inputs, eqns, outputs)


__all__ = ["computed", "emission", "own_outputs"]

"""What derivatives of a solve cost, forwards and backwards: counted, so that the same program always takes the same way."""

from ..codegen.count import counted
from ..codegen.lower import nest_of
from .compiled.kernels import jacobian, vjp_graph
from .loops.families import family_of
from .matrices.plan import RATIO
from .record import Record
from .tableaus import METHODS

#: Directions of a block lie side by side: so much faster than their operations counted one by one. (Measured: one of the 25 of POLLU costs
#: half a cotangent, one of the 6 of hare and lynx two thirds.)
SIDE_BY_SIDE = 2.0
#: What is taken for a right-hand side that runs as Python: slopes, their tangent, their cotangents.
UNTRACED = (1.0, 2.0, 3.0)


def tangent_effort(args, params):
    """Operations of a solve's derivative.

    Parameters
    ----------
    args, params
        Of the primitive ``odeint_tangent``.

    Returns
    -------
    once, each, back : float
        Tangents along k directions cost ``once + k each``, a sweep back for one cotangent ``back``.
    """
    system, method, record = params["system"], params["method"], args[0]
    slopes, along, cotangents = system.once(("effort", params["wrt"]), lambda: _flops(system, params["wrt"]))
    steps = record.steps if isinstance(record, Record) else 1
    solving = factoring = 0.0
    if family_of(method).structured:
        plan = jacobian(system).plan
        solving = 2.0 * plan.size
        factoring = solving * plan.numbers[RATIO]
    work = float(steps * METHODS[method].stages)
    return work * (slopes + factoring), work * (along + solving) / SIDE_BY_SIDE, work * (cotangents + factoring + solving)


def _flops(system, wrt):
    """Operations of a system's slopes, of one tangent of theirs beside them, and of their cotangents."""
    if system.graph is None:
        return UNTRACED
    slopes, both, back = (counted(nest_of("effort", g).body)[0]
                          for g in (system.graph, system.augmented(wrt).graph, vjp_graph(system, wrt)))
    return max(slopes, 1), max(both - slopes, 1), max(back, 1)

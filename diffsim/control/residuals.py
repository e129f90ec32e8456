"""What a loop computes and the loop of its derivative would compute again: dear values are stacked by the first and read by the second.

The loop of a derivative holds the equations of the step itself, as it knows the states alone.  Of those that stand in the first loop too,
with operands from the same rows, the ones whose computation is dear (products of matrices, elementary functions) are handed over; sums and
products of numbers are computed again, which costs less than a trip through memory.  Where states are checkpointed nothing is handed over:
the memory is the user's to give.
"""

from ..codegen.emissions import emission
from ..codegen.plan import work
from ..codegen.scalars import cost
from ..core import Absent, Aval, Const, Eqn, Graph, Opaque, Var
from ..core.emission import Gather, Scalar
from ..passes import dce
from ..passes.cse import operand_key, param_key
from .bodies import constant_carries

#: Operations an element, from which on a value is stacked, and the bytes all stacks of a loop may take.
DEAR, ROOM = 8, 1 << 28


def dear(eqn):
    """Whether computing an equation again costs more than reading its value from memory."""
    if isinstance(eqn.prim.emit, Absent):
        return False
    emit, size = emission(eqn), max(1, sum(v.aval.size for v in eqn.outputs))
    if isinstance(emit, Scalar):
        return cost(emit.rule, [x.aval.dtype for x in eqn.inputs], eqn.params) >= DEAR
    if isinstance(emit, Gather):
        return not emit.moves and work(eqn) >= DEAR * size
    return emit.graphs is None


def shared(eqn, maker):
    """A loop that reads what an earlier one computed; None where there is nothing to hand over.

    Returns
    -------
    eqn : Eqn
        The loop.
    changed : dict
        The earlier loop, and what takes its place.
    """
    if any(e.prim.name == "checkpoint" for e in maker.values()):
        return None
    for first in dict.fromkeys(maker.get(x) for x in eqn.inputs):
        if first is not None and first.prim is eqn.prim and first.params["length"] == eqn.params["length"]:
            made = _handed_over(first, eqn)
            if made is not None:
                return made
    return None


def _same(first, second):
    """Values of the second body by those of the first that they equal in every step."""
    p, q = first.params, second.params
    body, n, m = p["body"], p["carries"], q["carries"]
    last = len(first.outputs) - n
    rows = {operand_key(x): v for x, v in zip(first.inputs[n:], body.inputs[n:], strict=True)}
    rows |= {first.outputs[last + j]: body.inputs[j] for j in p["keep"]} | dict(zip(first.outputs[n:last], body.outputs[n:], strict=True))
    still = {operand_key(x): v for x, v, c in zip(first.inputs, body.inputs, constant_carries(body, n), strict=False) if c}
    same = {v: rows[operand_key(x)] for v, x in zip(q["body"].inputs[m:], second.inputs[m:], strict=True) if operand_key(x) in rows}
    for v, x, c in zip(q["body"].inputs, second.inputs, constant_carries(q["body"], m), strict=False):
        if c and operand_key(x) in still:
            same[v] = still[operand_key(x)]
    known = {_key(e, e.inputs): e for e in body.eqns}
    for e in q["body"].eqns:
        if all(isinstance(x, Const) or x in same for x in e.inputs):
            have = known.get(_key(e, [same.get(x, x) for x in e.inputs]))
            if have is not None:
                same.update(zip(e.outputs, have.outputs, strict=True))
    return same


def _key(e, inputs):
    return e.prim, tuple(map(operand_key, inputs)), tuple((k, param_key(v)) for k, v in sorted(e.params.items()))


def _chosen(body, same):
    """Values to hand over: those that are read by what is computed here alone, and take something dear to compute."""
    maker = {v: e for e in body.eqns for v in e.outputs}
    given = set(body.inputs)
    own = [e for e in body.eqns if not all(v in same for v in e.outputs)]
    wanted = {x for e in own for x in e.inputs} | set(body.outputs)
    found = {}
    for e in body.eqns:
        for v in e.outputs:
            if v in wanted and v in same and not isinstance(v.aval, Opaque) and _takes_dear(v, maker, given | set(found)):
                found[v] = same[v]
    return found


def _takes_dear(v, maker, given):
    todo, seen = [v], set()
    while todo:
        e = maker.get(todo.pop())
        if e is None or e in seen:
            continue
        if dear(e):
            return True
        seen.add(e)
        todo += [x for x in e.inputs if x not in given]
    return False


def _handed_over(first, second):
    same = _same(first, second)
    found = _chosen(second.params["body"], same)
    length = second.params["length"]
    if not found or sum(v.aval.size * v.aval.dtype.itemsize for v in found) * length > ROOM:
        return None
    p, n = first.params, first.params["carries"]
    body, last = p["body"], len(first.outputs) - n
    stacks = {v: Var(Aval((length, *v.aval.shape), v.aval.dtype)) for v in dict.fromkeys(found.values())}
    wide = Graph(body.inputs, body.eqns, [*body.outputs, *stacks])
    before = Eqn(first.prim, first.inputs, {**p, "body": wide},
                 [*first.outputs[:last], *stacks.values(), *first.outputs[last:]], first.line)
    q = second.params["body"]
    rows = {v: Var(v.aval) for v in found}
    eqns = [Eqn(e.prim, [rows.get(x, x) for x in e.inputs], e.params, e.outputs, e.line) for e in q.eqns]
    graph = dce(Graph([*q.inputs, *rows.values()], eqns, [rows.get(x, x) for x in q.outputs]))
    after = Eqn(second.prim, [*second.inputs, *[stacks[found[v]] for v in rows]], {**second.params, "body": graph}, second.outputs,
                second.line)
    return after, {first: before}


__all__ = ["dear", "shared"]

"""Sums over the steps of a loop: carries that each step adds something to and nothing else reads, as the cotangents of constants are."""

from ..core import Aval, Const, Eqn, Graph, Var
from ..passes import dce
from ..prims.contract import dot_general
from ..prims.elementwise import add
from .bodies import constant_carries, derived, lowered, selected

#: A product is formed after the loop where it has so many times the elements of what is kept for that.
WORTH = 2


def accumulated(body, carries):
    """What each step adds to a carry, by the carry's number, for those that nothing else reads."""
    return derived(body, ("accumulated", carries), lambda: _accumulated(body, carries))


def _accumulated(body, carries):
    maker, reads = {v: e for e in body.eqns for v in e.outputs}, {}
    for x in (*(x for e in body.eqns for x in e.inputs), *body.outputs):
        reads[x] = reads.get(x, 0) + 1
    found = {}
    for j, (v, x) in enumerate(zip(body.inputs[:carries], body.outputs, strict=False)):
        e = maker.get(x)
        if e is None or e.prim is not add or reads.get(v) != 1 or reads[x] != 1 or v.aval.dtype.kind != "f":
            continue
        more = [y for y in e.inputs if y is not v]
        if len(more) == 1 and more[0].aval == v.aval:
            found[j] = more[0]
    return found


def step_of(body, carries):
    """The body as code is written for it: without constants among its values, and with what a step adds in place of a sum."""
    return derived(body, ("step", carries), lambda: _step_of(body, carries))


def _step_of(body, carries):
    found, constant = accumulated(body, carries), constant_carries(body, carries)
    outputs = [found.get(j, x) for j, x in enumerate(body.outputs) if j >= carries or not constant[j]]
    return dce(Graph(body.inputs, body.eqns, outputs))


def products(eqn):
    """Sums of products of arrays as one product after the loop, of their rows; None where there are none worth it.

    Returns
    -------
    eqns : list of Eqn
    other : dict
        What stands for the sums.
    """
    p = eqn.params
    n, body = p["carries"], lowered(p["body"])
    if type(p["length"]) is not int or not p["length"]:
        return None
    maker = {v: e for e in body.eqns for v in e.outputs}
    chosen = {}
    for j, z in accumulated(body, n).items():
        e = maker.get(z)
        if j not in p["keep"] and e is not None and e.prim is dot_general and _worth(e, body, n):
            chosen[j] = e
    if not chosen:
        return None
    slices = dict(zip(body.inputs[n:], eqn.inputs[n:], strict=True))
    rows = dict.fromkeys(x for e in chosen.values() for x in e.inputs if x not in slices)
    rows = {x: Var(Aval((p["length"], *x.aval.shape), x.aval.dtype)) for x in rows}
    stay = [j not in chosen for j in range(n)]
    outputs = [*selected(body.outputs[:n], stay), *body.outputs[n:], *rows]
    graph = dce(Graph([*selected(body.inputs[:n], stay), *body.inputs[n:]], body.eqns, outputs))
    number = {j: i for i, j in enumerate(j for j in range(n) if stay[j])}
    last = len(eqn.outputs) - n
    made = Eqn(eqn.prim, [*selected(eqn.inputs[:n], stay), *eqn.inputs[n:]],
               {**p, "body": graph, "carries": sum(stay), "keep": tuple(number[j] for j in p["keep"]), "asked": ()},
               [*selected(eqn.outputs[:n], stay), *eqn.outputs[n:last], *rows.values(), *selected(eqn.outputs[last:], stay)], eqn.line)
    after, other = [], {}
    for j, e in chosen.items():
        a, b = (slices.get(x) or rows[x] for x in e.inputs)
        contract, batch = (tuple(tuple(i + 1 for i in axes) for axes in e.params[key]) for key in ("contract", "batch"))
        total = Var(eqn.outputs[j].aval)
        after.append(Eqn(dot_general, [a, b], {"contract": tuple((0, *axes) for axes in contract), "batch": batch}, [total], e.line))
        start = eqn.inputs[j]
        if not (isinstance(start, Const) and not start.value.any()):
            whole = Var(total.aval)
            after.append(Eqn(add, [start, total], {}, [whole], e.line))
            total = whole
        other[eqn.outputs[j]] = total
    return [made, *after], other


def _worth(e, body, n):
    slices = set(body.inputs[n:])
    kept = [x for x in e.inputs if x not in slices]
    if any(isinstance(x, Const) or x in body.inputs[:n] for x in kept):
        return False
    return e.outputs[0].aval.size >= WORTH * sum(x.aval.size for x in kept)


__all__ = ["accumulated", "products", "step_of"]

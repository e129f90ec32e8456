"""Smaller forms of control flow before code is generated from it.

A loop keeps what somebody reads: carries, slices and results that nobody needs go, constants that are the same array are one, known numbers
move into the body, and what a body computes from constants alone is computed before the loop, once.
"""

import numpy as np

from ..codegen.emissions import emission
from ..core import Absent, Const, Eqn, Graph, Var
from ..core.emission import Gather, Scalar
from ..passes import dce
from ..passes.cse import operand_key
from ..prims.layout import broadcast_to
from .bodies import constant_carries, lowered, selected
from .residuals import shared
from .sums import products

#: Known arrays of at most this many elements move into a body.
KNOWN = 64


def _moves(eqn):
    emit = emission(eqn)
    return isinstance(emit, Gather) and emit.moves


def _plain(eqn):
    """Whether an equation carries no program."""
    emit = emission(eqn)
    return isinstance(emit, (Scalar, Gather)) or (emit.inside and emit.graphs is None)


def _safe(eqn):
    """Whether an equation can be computed though the program might not get there."""
    return isinstance(emission(eqn), Scalar) or _moves(eqn)


def hoisted(eqns, constants, allowed):
    """Equations in two lists: those to be computed before a loop, and the others.

    Parameters
    ----------
    eqns : list of Eqn
    constants : set of Var
        Inputs that do not change in the loop.
    allowed : callable
        Whether an equation may be computed outside.
    """
    still, out = set(constants), []
    for eqn in eqns:
        known = all(isinstance(x, Const) or x in still for x in eqn.inputs)
        if known and not isinstance(eqn.prim.emit, Absent) and _plain(eqn) and allowed(eqn):
            still.update(eqn.outputs)
            out.append(eqn)
    moved, readers = set(out), {}
    for eqn in eqns:
        for x in eqn.inputs:
            readers.setdefault(x, []).append(eqn)
    for eqn in reversed(out):                                 # copies in another shape are not worth their memory
        if _moves(eqn) and not any(e in moved for v in eqn.outputs for e in readers.get(v, ())):
            moved.discard(eqn)
    return [e for e in eqns if e in moved], [e for e in eqns if e not in moved]


class _Constants:
    """The constants of a loop with their operands: equal ones merged, numbers known, computed ones added."""

    def __init__(self, pairs):
        self.inputs, self.operands, self.instead = [], [], {}
        first = {}
        for v, x in pairs:
            if isinstance(x, Const) and x.value.size <= KNOWN:
                self.instead[v] = x
            elif operand_key(x) in first:
                self.instead[v] = first[operand_key(x)]
            else:
                first[operand_key(x)] = v
                self.inputs.append(v)
                self.operands.append(x)

    def substituted(self, eqns):
        """Equations that read what stands for the constants."""
        if not self.instead:
            return list(eqns)
        return [Eqn(e.prim, [self.instead.get(x, x) for x in e.inputs], e.params, e.outputs, e.line) for e in eqns]

    def outside(self, eqns):
        """Compute equations before the loop; returns them there."""
        place, made = dict(zip(self.inputs, self.operands, strict=True)), []
        for e in eqns:
            outputs = [Var(v.aval) for v in e.outputs]
            made.append(Eqn(e.prim, [place.get(x, x) for x in e.inputs], e.params, outputs, e.line))
            place.update(zip(e.outputs, outputs, strict=True))
            self.inputs += e.outputs
            self.operands += outputs
        return made

    def read(self, eqns, outputs):
        """Drop those that nobody reads."""
        read = {x for e in eqns for x in e.inputs} | set(outputs)
        keep = [v in read for v in self.inputs]
        self.inputs, self.operands = selected(self.inputs, keep), selected(self.operands, keep)


def _live(graph, wanted, carries):
    """Which carries matter for the wanted outputs: what they read, what that reads, and so on; and the equations that compute them."""
    wanted = list(wanted)
    while True:
        outputs = selected(graph.outputs, wanted)
        eqns = dce(Graph(graph.inputs, graph.eqns, outputs)).eqns
        read = {x for e in eqns for x in e.inputs} | set(outputs)
        grown = [w or v in read for w, v in zip(wanted, graph.inputs[:carries], strict=False)]
        if grown == wanted[:carries]:
            return wanted, eqns, read
        wanted[:carries] = grown


def scan(eqn, needed, maker):
    """A loop of known length with less in it."""
    better = _rows_alike(eqn, maker) or products(eqn)
    if better is not None:
        return better
    p = eqn.params
    n, length, body = p["carries"], p["length"], lowered(p["body"])
    total, still, last = len(body.inputs), constant_carries(body, n), len(needed) - n
    constants = _Constants([(v, x) for v, x, c in zip(body.inputs, eqn.inputs, still, strict=False) if c])
    merged, first = {}, {}
    for v, x in zip(body.inputs[n:], eqn.inputs[n:], strict=True):
        if first.setdefault(operand_key(x), v) is not v:
            merged[v] = first[operand_key(x)]
    constants.instead |= merged
    outputs = [constants.instead.get(x, x) for x in body.outputs]
    keep = tuple(j for j in p["keep"] if needed[last + j] and not still[j])
    wanted = [(needed[j] or j in keep) and not still[j] for j in range(n)] + list(needed[n:last])
    wanted, eqns, read = _live(Graph(body.inputs, constants.substituted(body.eqns), outputs), wanted, n)
    live = [j for j in range(n) if wanted[j] and not still[j]]
    slices = [j for j in range(n, total) if body.inputs[j] in read and body.inputs[j] not in merged]
    ys = [j for j in range(n, len(outputs)) if wanted[j]]
    outside, eqns = hoisted(eqns, set(constants.inputs), _safe if type(length) is not int or not length else _plain)
    before = constants.outside(outside)
    results = [outputs[j] for j in (*live, *ys)]
    constants.read(eqns, results)
    m = len(constants.inputs)
    same = (m + len(live), len(slices), len(ys), keep) == (n, total - n, len(outputs) - n, p["keep"])
    if same and not before and body is p["body"]:
        more = shared(eqn, maker) if type(length) is int else None
        return None if more is None else ([more[0]], {}, more[1])
    graph = Graph([*constants.inputs, *[body.inputs[j] for j in (*live, *slices)]], eqns, [*constants.inputs, *results])
    number = {j: m + i for i, j in enumerate(live)}
    kept = {number[j]: eqn.outputs[last + j] for j in keep}
    made = Eqn(eqn.prim, [*constants.operands, *[eqn.inputs[j] for j in (*live, *slices)]],
               {"body": graph, "length": length, "reverse": p["reverse"], "carries": m + len(live), "keep": tuple(kept), "asked": ()},
               [*[Var(v.aval) for v in constants.inputs], *[eqn.outputs[j] for j in (*live, *ys)],
                *[kept.get(j) or Var(_none(v.aval)) for j, v in enumerate(graph.inputs[:m + len(live)])]], eqn.line)
    other = {eqn.outputs[j]: eqn.inputs[j] for j in range(n) if still[j]}
    for j in range(n):
        if needed[last + j] and j not in keep:
            other.update(_repeated(eqn.outputs[last + j], eqn.inputs[j], before))
    return [*before, made], other


def while_(eqn, needed, maker):
    """A loop of unknown length with less in it."""
    n, body, test = len(eqn.inputs), lowered(eqn.params["body"]), lowered(eqn.params["cond"])
    still = constant_carries(body, n)
    constants = _Constants([(v, x) for v, x, c in zip(body.inputs, eqn.inputs, still, strict=True) if c])
    outputs = [constants.instead.get(x, x) for x in body.outputs]
    asked = {v for e in test.eqns for v in e.inputs} | set(test.outputs)
    keep = tuple(j for j in eqn.params["keep"] if needed[n + 1 + j] and not still[j])
    wanted = [(needed[j] or j in keep or test.inputs[j] in asked) and not still[j] for j in range(n)]
    wanted, eqns, _ = _live(Graph(body.inputs, constants.substituted(body.eqns), outputs), wanted, n)
    live = [j for j in range(n) if wanted[j] and not still[j]]
    before, eqns = hoisted(eqns, set(constants.inputs), _safe)
    before = constants.outside(before)
    # the test reads constants by their operands' places in the body
    beside = {v: constants.instead.get(w, w) for v, w, c in zip(test.inputs, body.inputs, still, strict=True) if c}
    asked_too = {beside[v] for v in asked if isinstance(beside.get(v), Var)}
    ends = [outputs[j] for j in live]
    constants.read(eqns, [*ends, *asked_too])
    m = len(constants.inputs)
    if (m + len(live), keep, body, test) == (n, *map(eqn.params.get, ("keep", "body", "cond"))) and not before:
        return None
    graph = Graph([*constants.inputs, *[body.inputs[j] for j in live]], eqns, [*constants.inputs, *ends])
    place = {v: Var(v.aval) for v in graph.inputs}
    now = {v: place.get(w, w) for v, w in beside.items()} | {test.inputs[j]: place[body.inputs[j]] for j in live}
    going = Graph(list(place.values()), [Eqn(e.prim, [now.get(x, x) for x in e.inputs], e.params, e.outputs, e.line) for e in test.eqns],
                  [now.get(x, x) for x in test.outputs])
    kept = {m + i: eqn.outputs[n + 1 + j] for i, j in enumerate(live) if j in keep}
    made = Eqn(eqn.prim, [*constants.operands, *[eqn.inputs[j] for j in live]],
               {"cond": going, "body": graph, "keep": tuple(kept), "asked": ()},
               [*[Var(v.aval) for v in constants.inputs], *[eqn.outputs[j] for j in live], eqn.outputs[n],
                *[kept.get(j) or Var(_none(v.aval)) for j, v in enumerate(graph.inputs)]], eqn.line)
    other = {eqn.outputs[j]: eqn.inputs[j] for j in range(n) if still[j]}
    for j in range(n):
        if needed[n + 1 + j] and j not in keep:
            other.update(_repeated(eqn.outputs[n + 1 + j], eqn.inputs[j], before))
    return [*before, made], other


def _rows_alike(eqn, maker):
    """The same loop with slices that are all alike made constants of it; None where there are none."""
    p, before = eqn.params, []
    n, body = p["carries"], p["body"]
    alike = [_row(x, v.aval, maker, before) for v, x in zip(body.inputs[n:], eqn.inputs[n:], strict=True)]
    if all(x is None for x in alike):
        return None
    on = [x is not None for x in alike]
    rest, still = [not x for x in on], selected(body.inputs[n:], on)
    graph = Graph([*still, *body.inputs[:n], *selected(body.inputs[n:], rest)], body.eqns, [*still, *body.outputs])
    m, last = len(still), len(eqn.outputs) - n
    outputs = [*[Var(v.aval) for v in still], *eqn.outputs[:last], *[Var(_none(v.aval)) for v in still], *eqn.outputs[last:]]
    params = {**p, "body": graph, "carries": m + n, "keep": tuple(m + j for j in p["keep"]), "asked": ()}
    operands = [*selected(alike, on), *eqn.inputs[:n], *selected(eqn.inputs[n:], rest)]
    return [*before, Eqn(eqn.prim, operands, params, outputs, eqn.line)], {}


def _row(x, aval, maker, before):
    """What each row of an array is, where all rows are known to be alike; None elsewhere."""
    if isinstance(x, Const):
        return Const(x.value[0]) if len(x.value) and (x.value == x.value[:1]).all() else None
    made = maker.get(x)
    if made is None or made.prim is not broadcast_to:
        return None
    (y,) = made.inputs
    if len(y.aval.shape) > len(aval.shape):
        return None
    if y.aval.shape == aval.shape:
        return y
    row = Var(aval)
    before.append(Eqn(broadcast_to, [y], {"shape": aval.shape}, [row]))
    return row


def _none(aval):
    return type(aval)((0, *aval.shape), aval.dtype)


def _repeated(v, x, before):
    """What stands for the kept states of a constant: the constant, repeated."""
    if v.aval.size == 0:
        return {v: Const(np.zeros(v.aval.shape, v.aval.dtype))}
    w = Var(v.aval)
    before.append(Eqn(broadcast_to, [x], {"shape": v.aval.shape}, [w]))
    return {v: w}


# ---------------------------------------------------------------- choices and calls
def _trimmed(graphs, needed):
    """Graphs without the outputs nobody needs and the inputs none of them reads, and which inputs those are that are read."""
    cut = [dce(Graph(g.inputs, g.eqns, selected(g.outputs, needed))) for g in graphs]
    read = [{x for e in g.eqns for x in e.inputs} | set(g.outputs) for g in cut]
    keep = [any(g.inputs[i] in r for g, r in zip(cut, read, strict=True)) for i in range(len(graphs[0].inputs))]
    return [Graph(selected(g.inputs, keep), g.eqns, g.outputs) for g in cut], keep


def switch(eqn, needed, maker):
    """The branch itself where it is known; else branches without what nobody needs."""
    number, *operands = eqn.inputs
    branches = eqn.params["branches"]
    graphs = [lowered(g) for g in branches]
    if isinstance(number, Const) and 0 <= int(number.value) < len(graphs):
        return _written_out(eqn, graphs[int(number.value)], operands)
    made, keep = _trimmed(graphs, needed)
    if all(needed) and all(keep) and all(a is b for a, b in zip(graphs, branches, strict=True)):
        return None
    params, outputs = {"branches": type(branches)(made)}, selected(eqn.outputs, needed)
    return [Eqn(eqn.prim, [number, *selected(operands, keep)], params, outputs, eqn.line)], {}


def _written_out(eqn, graph, operands):
    """A graph's equations in place of a call of it."""
    place, eqns = dict(zip(graph.inputs, operands, strict=True)), []
    for e in graph.eqns:
        outputs = [Var(v.aval) for v in e.outputs]
        eqns.append(Eqn(e.prim, [place.get(x, x) for x in e.inputs], e.params, outputs, eqn.line))
        place.update(zip(e.outputs, outputs, strict=True))
    return eqns, {v: place.get(x, x) for v, x in zip(eqn.outputs, graph.outputs, strict=True)}


def call(eqn, needed, maker):
    """A call without what nobody needs."""
    body = lowered(eqn.params["body"])
    (made,), keep = _trimmed([body], needed)
    if all(needed) and all(keep) and body is eqn.params["body"]:
        return None
    return [Eqn(eqn.prim, selected(eqn.inputs, keep), {"body": made, "saved": 0, "kept": False, "asked": False},
                selected(eqn.outputs, needed), eqn.line)], {}


__all__ = ["call", "hoisted", "scan", "switch", "while_"]

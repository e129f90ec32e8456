"""Derivatives of loops of unknown length in compiled programs.

The derivative is recorded as if the loop had a number of iterations, which stands for the one it will have; then what depends on that
number, the states a loop keeps and the loops over them, is handed over to loops that leave stacks of rows in memory that grows.
"""

import numpy as np

from ..codegen.emissions import emission
from ..core import Absent, Aval, Eqn, Graph, Opaque, Primitive, Var
from ..core.emission import Scalar
from ..errors import MissingRule
from ..passes import dce, finished
from ..transforms import trace
from . import lean
from .bodies import ASSUMED, NO_SAMPLES
from .emit import KEPT, OVER, STACKS, rows_kept


class Trips(int):
    """A number of iterations that is not known: the number itself means nothing."""


TRIPS = Trips(5)
COUNT = Aval((), np.dtype(np.int64))


def recorded(term):
    """The graph of a term; loops that keep states, and loops over these, have ``TRIPS`` iterations, whose number is the last output."""
    token = ASSUMED.set([])

    def f(*x):
        out = list(term(*x))
        return [*out, (ASSUMED.get() or [np.int64(0)])[-1]]
    try:
        graph, captured = trace(f, term.inputs, verb="the derivative of a while_loop")
    finally:
        ASSUMED.reset(token)
    if captured:
        raise MissingRule(term.name, "emit", "it closes over traced values")
    return finished(graph)


class _Rewriter:
    """Replaces loops with ``TRIPS`` iterations in a graph, and what is computed from their rows."""

    def __init__(self, name, count):
        self.name, self.eqns, self.count = name, [], count
        self.rows = {}                                        # a variable of as many rows: the stacks it is in, and its number there

    def keeping(self, eqn):
        """The loop itself: counts, and leaves the states that are read."""
        n, p = len(eqn.inputs), eqn.params
        stacks = self._stacks("states", {"body": p["body"], "keep": p["keep"]})
        self.rows.update({eqn.outputs[n + 1 + j]: (stacks, i) for i, j in enumerate(p["keep"])})
        params = {"cond": p["cond"], "body": p["body"], "keep": p["keep"]}
        self.eqns.append(Eqn(while_kept, eqn.inputs, params, [*eqn.outputs[:n + 1], stacks], eqn.line))

    def over(self, eqn, body, carries, reverse, keep, xs):
        """A loop over rows: ``xs`` are what it slices."""
        handles = list(dict.fromkeys(self.rows[x][0] for x in xs))
        sources = tuple((handles.index(self.rows[x][0]), self.rows[x][1]) for x in xs)
        params = {"body": body, "reverse": reverse, "carries": carries, "keep": keep, "sources": sources}
        stacks = self._stacks("rows", params)
        made = [eqn.outputs[carries + i] for i in range(len(body.outputs) - carries)]
        if eqn.prim.name == "scan":
            made += [eqn.outputs[len(body.outputs) + j] for j in keep]
        self.rows.update({v: (stacks, i) for i, v in enumerate(made)})
        starts = eqn.inputs[:carries] if eqn.prim.name == "scan" else ()
        self.eqns.append(Eqn(scan_over, [self.count, *starts, *handles], params, [*eqn.outputs[:carries], stacks], eqn.line))

    @staticmethod
    def _stacks(what, params):
        rows = rows_kept(params)
        return Var(Opaque(what, tuple(rows), STACKS + len(rows)))

    def each(self, eqn):
        """An elementwise equation of rows: a loop over them."""
        if not isinstance(emission(eqn), Scalar) or any(x not in self.rows and x.aval.shape for x in eqn.inputs):
            raise MissingRule(self.name, "emit", f"it computes {eqn.prim.name} of all states of a loop at once")
        (out,) = eqn.outputs
        given = [x for x in eqn.inputs if x in self.rows]
        row = {x: Var(Aval(x.aval.shape[1:], x.aval.dtype)) for x in given}
        beside = [x for x in eqn.inputs if isinstance(x, Var) and x not in self.rows]
        still = {x: Var(x.aval) for x in beside}
        y = Var(Aval(out.aval.shape[1:], out.aval.dtype))
        inner = Eqn(eqn.prim, [row.get(x) or still.get(x) or x for x in eqn.inputs], eqn.params, [y], eqn.line)
        body = Graph([*still.values(), *row.values()], [inner], [*still.values(), y])
        outputs = [*[Var(x.aval) for x in beside], out]
        loop = Eqn(SCAN_LIKE, [*beside, *row], {}, outputs, eqn.line)
        self.over(loop, body, len(beside), False, (), list(row))


class _ScanLike:
    name = "scan"


SCAN_LIKE = _ScanLike()


def rewritten(graph, name):
    """The graph with loops of ``TRIPS`` iterations replaced by loops over stacks."""
    *outputs, count = graph.outputs
    work = _Rewriter(name, count)
    for eqn in graph.eqns:
        p, on = eqn.params, any(x in work.rows for x in eqn.inputs)
        if eqn.prim.name == "while" and p["keep"]:
            work.keeping(eqn)
        elif eqn.prim.name == "scan" and type(p["length"]) is Trips:
            xs = eqn.inputs[p["carries"]:]
            if any(x not in work.rows for x in xs):
                raise MissingRule(name, "emit", "a loop over its states reads other rows too")
            work.over(eqn, p["body"], p["carries"], p["reverse"], p["keep"], xs)
        elif on:
            work.each(eqn)
        else:
            work.eqns.append(eqn)
    if any(x in work.rows for x in outputs):
        raise MissingRule(name, "emit", "its value has as many rows as a loop has iterations")
    return dce(Graph(graph.inputs, work.eqns, outputs))


def kept_by(run, eqn):
    """A loop's equation that keeps the states another one keeps, and what stands for that one's values; None if it is another loop.

    Returns
    -------
    eqn : Eqn
    values : dict
    """
    if eqn.prim is not while_kept:
        return None
    body, inner, n = run.params["body"], eqn.params["body"], len(run.inputs)
    number = {v: j for j, v in enumerate(body.inputs)}
    if any(inner.inputs[j] not in number for j in eqn.params["keep"]):
        return None
    stacks = Var(eqn.outputs[-1].aval)
    params = {"cond": run.params["cond"], "body": body, "keep": tuple(number[inner.inputs[j]] for j in eqn.params["keep"])}
    if list(params["keep"]) != sorted(params["keep"]):
        return None
    values = {out: run.outputs[number[v]] for v, out in zip(inner.inputs, eqn.outputs, strict=False) if v in number}
    values |= {eqn.outputs[-2]: run.outputs[n], eqn.outputs[-1]: stacks}
    return Eqn(while_kept, run.inputs, params, [*run.outputs[:n + 1], stacks], run.line), values


def _kept_lean(eqn, needed, maker):
    """Less in the loop, as for one that keeps nothing."""
    n, p = len(eqn.inputs), eqn.params
    if not needed[-1]:
        return None
    states = [Var(Aval((TRIPS if j in p["keep"] else 0, *x.aval.shape), x.aval.dtype)) for j, x in enumerate(eqn.inputs)]
    loop = Eqn(eqn.prim, eqn.inputs, {**p, "asked": ()}, [*eqn.outputs[:n + 1], *states], eqn.line)
    better = lean.while_(loop, (*needed[:n + 1], *[j in p["keep"] for j in range(n)]), maker)
    if better is None:
        return None
    (*before, made), other = better
    params = {key: made.params[key] for key in ("cond", "body", "keep")}
    if len(params["keep"]) != len(p["keep"]):
        return None
    less = Eqn(eqn.prim, made.inputs, params, [*made.outputs[:len(made.inputs) + 1], eqn.outputs[-1]], eqn.line)
    return [*before, less], {v: x for v, x in other.items() if v in eqn.outputs}


def _kept_aval(*x, cond, body, keep):
    rows = rows_kept({"body": body, "keep": keep})
    return (*x, COUNT, Opaque("states", tuple(rows), STACKS + len(rows)))


def _over_aval(count, *x, body, reverse, carries, keep, sources):
    rows = rows_kept({"body": body, "carries": carries, "keep": keep})
    return (*x[:carries], Opaque("rows", tuple(rows), STACKS + len(rows)))


WRITTEN = Absent("it is made when code is generated")
_SHARED = {"impl": WRITTEN, "jvp": WRITTEN, "transpose": WRITTEN, "samples": NO_SAMPLES, "multiple": True}
while_kept = Primitive("while.kept", aval=_kept_aval, emit=KEPT, lean=_kept_lean, **_SHARED)
scan_over = Primitive("scan.over", aval=_over_aval, emit=OVER, **_SHARED)

__all__ = ["TRIPS", "kept_by", "recorded", "rewritten", "scan_over", "while_kept"]

"""What a loop nest costs: operations on floating-point numbers, and bytes moved between registers and memory."""

import weakref

from .context import carried
from .emissions import emission
from .lower import nest_of
from .nest import WIDTH, Choice, Link, Literal, Loop, Store, Value, canonical

FREE = frozenset({"load", "same", "convert", "select", "carried", "after", "chosen"})


_known = weakref.WeakKeyDictionary()


def note(graph, body):
    """Remember what a carried program costs, from its loop nest."""
    _known[graph] = counted(body)


def _carried(eqn):
    """``(flops, bytes)`` of the programs an equation carries, or of the routine of a library that it calls."""
    programs, emit = carried(eqn), emission(eqn)
    cost = emit.cost
    if emit.work is not None:
        avals_in, avals_out = [x.aval for x in eqn.inputs], [v.aval for v in eqn.outputs]
        return emit.work(avals_in, avals_out, **eqn.params), sum(a.size * WIDTH[canonical(a.dtype)] for a in (*avals_in, *avals_out))
    for g in programs:
        if g not in _known:
            note(g, nest_of("body", g).body)
    costs = [_known[g] for g in programs]
    return cost(costs, **eqn.params) if cost is not None else tuple(map(sum, zip(*costs, strict=True))) if costs else (0, 0)


def counted(block):
    """``(flops, bytes)`` of one run.

    A function such as exp is one operation, as is a comparison of floats; of a choice the dearer side counts.  Bytes are those of loads and
    stores, most of which meet a cache; linked loops are not in it, and of loops whose length is not known one iteration.
    """
    flops = moved = 0
    for s in block.statements:
        kind = type(s)
        if kind is Loop:
            f, b = counted(s.body)
            flops, moved = flops + (s.stop - s.start) * f, moved + (s.stop - s.start) * b
        elif kind is Choice:
            f, b = max(counted(s.yes), counted(s.no))
            flops, moved = flops + f, moved + b
        elif kind is Link:
            f, b = _carried(s.eqn)
            flops, moved = flops + f, moved + b
        elif kind is Store:
            flops += s.add and s.buffer.dtype.kind == "f"
            moved += (1 + s.add) * WIDTH[s.buffer.dtype]
        elif isinstance(s, Value) and s.op == "load":
            moved += WIDTH[s.args[0].dtype] if s.args[0].kind != "argument" else 0
        elif isinstance(s, Value) and s.op not in FREE:
            flops += any(type(a) in (Value, Literal) and a.dtype.kind == "f" for a in s.args)
    return int(flops), int(moved)

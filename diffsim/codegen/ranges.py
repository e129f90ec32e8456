"""Ranges of integer values: what they prove need not be checked when the code runs."""

import numpy as np

from .nest import BOOL, Atom, Literal

#: Expressions are followed this deep.
DEEP = 8
#: add and the like are monotonic in each operand: their extremes stand at the ends of the ranges.
CORNERS = {"add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "sum": lambda a, b: a + b}


def span(x, depth=DEEP):
    """``(lo, hi)``: where an integer or a truth is known to lie; the range of its dtype if nothing more is known."""
    if type(x) is Literal:
        return int(x.value), int(x.value)
    if isinstance(x, Atom):
        return x.lo, x.hi
    if x.dtype is BOOL:
        return 0, 1
    whole = np.iinfo(x.dtype)
    known = _computed(x, depth - 1) if depth else None
    inside = known is not None and known[0] >= whole.min and known[1] <= whole.max  # else it may wrap around
    return known if inside else (int(whole.min), int(whole.max))


def _computed(x, depth):
    """Range by interval arithmetic, None for operations it does not know."""
    op, args = x.op, x.args
    if op == "convert":
        return span(args[0], depth) if args[0].dtype.kind != "f" else None
    if op == "select":
        (a, b), (c, d) = span(args[1], depth), span(args[2], depth)
        return min(a, c), max(b, d)
    if op == "neg":
        a, b = span(args[0], depth)
        return -b, -a
    if op in ("maximum", "minimum"):
        (a, b), (c, d) = span(args[0], depth), span(args[1], depth)
        pick = max if op == "maximum" else min
        return pick(a, c), pick(b, d)
    if op not in CORNERS:
        return None
    corners = [CORNERS[op](a, b) for a in span(args[0], depth) for b in span(args[1], depth)]
    return min(corners), max(corners)

"""Loop nests: the form between a graph and printed code.

A function is a tree of blocks.  A block is a list of statements: values (single assignment), stores, loops with constant bounds, choices
and calls.  Each value stands in the outermost block where its operands are known, so that what does not change inside a loop is computed
before it, once.
"""

import math

import numpy as np

from ..errors import MissingRule

FLOAT, INT, BOOL = np.dtype(np.float64), np.dtype(np.int64), np.dtype(bool)
#: dtypes that generated code computes in.
COMPUTED = frozenset(map(np.dtype, (np.float64, np.float32, np.int64, np.int32, bool)))
#: dtypes of arrays in a program's memory, and the bytes an element takes; what is not computed in is for calls.
WIDTH = {d: d.itemsize for d in (*sorted(COMPUTED, key=str), *map(np.dtype, "bhBHILeFDgG")) if d.kind in "fciub"}
_KNOWN = {d: d for d in WIDTH}
#: Complex numbers are two real ones to generated code: an index into their memory counts these.
PARTS = {d: _KNOWN[np.empty(0, d).real.dtype] for d in WIDTH if d.kind == "c" and d.itemsize <= 16}


def numbers(dtype):
    """The dtype of the numbers in memory that an array of a dtype is made of."""
    return PARTS.get(dtype, dtype)


def canonical(dtype):
    """The one object of a dtype that arrays of programs have (NumPy may have several that are equal).

    Raises
    ------
    MissingRule
        They cannot have it.
    """
    known = _KNOWN.get(np.dtype(dtype))
    if known is None:
        raise MissingRule(str(np.dtype(dtype)), "emit", f"compiled programs hold {', '.join(sorted(d.name for d in WIDTH))}")
    return known


class Value:
    """A scalar: ``op`` of ``args``, computed in ``block``."""

    __slots__ = ("args", "block", "dtype", "number", "op")

    def __init__(self, op, args, dtype, block, number):
        self.op, self.args, self.dtype, self.block, self.number = op, args, dtype, block, number


class Atom(Value):
    """An integer known to lie in [lo, hi]: a loop counter or a position."""

    __slots__ = ("hi", "lo", "splits")

    def __init__(self, op, args, block, number, lo, hi, splits=False):
        super().__init__(op, args, INT, block, number)
        self.lo, self.hi, self.splits = lo, hi, splits


class Literal:
    """A number in the program.  ``structural`` zeros come from padding: any product with one is zero, whatever the other factor."""

    __slots__ = ("block", "dtype", "structural", "value")
    op, args, number = "literal", (), math.inf

    def __init__(self, value, dtype, block, structural=False):
        self.value, self.dtype, self.block, self.structural = value, dtype, block, structural


class Block:
    """Statements in order.  ``conditional`` blocks run or not; nothing that could fault may leave them."""

    __slots__ = ("conditional", "depth", "memo", "statements")

    def __init__(self, depth, conditional=False):
        self.depth, self.conditional, self.statements, self.memo = depth, conditional, [], {}


class Buffer:
    """Memory of ``size`` elements.

    Parameters
    ----------
    kind : {"param", "argument", "const", "scratch"}
        Behind a pointer, a number passed by value, a table, memory of the function's own.
    dtype : numpy.dtype
        Of the elements in memory.
    size : int
    base, offset : str, int
        For a param or an argument: its name, and the bytes from its start.
    value : ndarray
        For a const.
    shape : tuple of int
        Of the array it holds.
    """

    __slots__ = ("base", "dtype", "kind", "name", "offset", "shape", "size", "value")

    def __init__(self, kind, dtype, shape, *, base=None, offset=0, value=None):
        self.kind, self.dtype, self.shape, self.base, self.offset, self.value = kind, dtype, shape, base, offset, value
        self.size, self.name = int(np.prod(shape, dtype=int)), None


class Store:
    """``buffer[index] = value``, or ``+=`` with ``add``."""

    __slots__ = ("add", "buffer", "index", "value")

    def __init__(self, buffer, index, value, add=False):
        self.buffer, self.index, self.value, self.add = buffer, index, value, add


class Loop:
    """``for counter in range(start, stop)``, never empty.

    ``carried`` holds one ``(inside, initial, following, after)`` an accumulator: its value in an iteration, before the first, at the end
    of an iteration, and after the loop.
    """

    __slots__ = ("body", "carried", "counter", "start", "stop")

    def __init__(self, counter, start, stop, body):
        self.counter, self.start, self.stop, self.body, self.carried = counter, start, stop, body, []


class Check:
    """An index that must lie in [-size, size): the function fails where it does not.

    ``axis`` is the axis indexed, None for a row-major position; ``low`` and ``high`` say which end the run has to look at.
    """

    __slots__ = ("args", "axis", "high", "low", "size")
    op = "check"

    def __init__(self, index, size, axis, low, high):
        self.args, self.size, self.axis, self.low, self.high = (index,), size, axis, low, high


class Choice:
    """``if test: yes else: no``; ``result`` is ``values[0]`` or ``values[1]``."""

    __slots__ = ("no", "result", "test", "values", "yes")

    def __init__(self, test, yes, no, result, values):
        self.test, self.yes, self.no, self.result, self.values = test, yes, no, result, values


class Link:
    """A call into linked code, written by a primitive's own rule: outputs and inputs are buffers, or handles of opaque values."""

    __slots__ = ("eqn", "ins", "number", "outs", "rule")

    def __init__(self, eqn, rule, outs, ins, number):
        self.eqn, self.rule, self.outs, self.ins, self.number = eqn, rule, outs, ins, number


class Function:
    """A function to print: its name, its parameters as ``(name, "double" | "ptr")``, its body and the buffers of its results.

    ``internal`` functions are called from their own module alone.
    """

    __slots__ = ("body", "internal", "name", "params", "results")

    def __init__(self, name, params, body, results=(), internal=False):
        self.name, self.params, self.body, self.results, self.internal = name, tuple(params), body, tuple(results), internal


# ---------------------------------------------------------------- what a statement reads and writes
def operands(statement):
    """Values a statement reads itself (not in nested blocks)."""
    kind = type(statement)
    if kind is Store:
        return (statement.index, statement.value)
    if kind is Loop:
        return tuple(x for c in statement.carried for x in c[1:3])
    if kind is Choice:
        return (statement.test, *statement.values)
    return () if kind is Link else statement.args


def blocks(statement):
    """Blocks nested in a statement."""
    kind = type(statement)
    return (statement.body,) if kind is Loop else (statement.yes, statement.no) if kind is Choice else ()


def prune(block):
    """Drop values that no store, call or accumulator needs, and stores to memory that nothing reads."""
    needed = set()
    _mark(block, needed)
    _sweep(block, needed)


def _mark(block, needed):
    """Collect what is needed: values, buffers, stores.  All are written before they are read: one walk from the end sees uses first."""
    for s in reversed(block.statements):
        kind = type(s)
        if kind is Loop:
            count = -1
            while count != len(needed):  # an accumulator that another one reads is found in the next round
                count = len(needed)
                needed.update(c[2] for c in s.carried if c[3] in needed or c[0] in needed)
                _mark(s.body, needed)
            needed.update(c[1] for c in s.carried if c[3] in needed or c[0] in needed)
        elif kind is Choice:
            if s.result in needed:
                needed.update((s.test, *s.values))
                _mark(s.yes, needed)
                _mark(s.no, needed)
        elif kind is Store:
            if s.buffer.kind != "scratch" or s.buffer in needed:
                needed.update((s, s.index, s.value))
        elif kind is Link:
            needed.update(b for b in s.ins if type(b) is Buffer)
        elif kind is Check or s in needed:
            needed.update(s.args)


def _sweep(block, needed):
    kept = []
    for s in block.statements:
        kind = type(s)
        if kind is Loop:
            s.carried = [c for c in s.carried if c[3] in needed or c[0] in needed]
            _sweep(s.body, needed)
            if not s.body.statements and not s.carried:
                continue
        elif kind is Choice:
            if s.result not in needed:
                continue
            _sweep(s.yes, needed)
            _sweep(s.no, needed)
        elif kind is Store:
            if s not in needed:
                continue
        elif kind is not Link and kind is not Check and s not in needed:
            continue
        kept.append(s)
    block.statements = kept


def touched(statement):
    """Buffers a statement reads or writes, at any depth."""
    kind = type(statement)
    if kind is Store:
        return {statement.buffer}
    if kind is Link:
        return {b for b in (*statement.outs, *statement.ins) if type(b) is Buffer}
    found = {a for a in statement.args if type(a) is Buffer} if isinstance(statement, Value) else set()
    for block in blocks(statement):
        for s in block.statements:
            found |= touched(s)
    return found


def slots(body):
    """Memory plan: each scratch buffer's slot, and the bytes of each slot.  Buffers whose lives do not overlap share one.

    Returns
    -------
    slot : dict of Buffer to int
    sizes : list of int
        Multiples of 64.
    """
    first, last = {}, {}
    for n, s in enumerate(body.statements):
        for b in touched(s):
            if b.kind == "scratch":
                first.setdefault(b, n)
                last[b] = n
    slot, sizes, free_from = {}, [], []
    for b in sorted(first, key=first.get):
        need = -(-b.size * WIDTH[b.dtype] // 64) * 64
        fits = [i for i, until in enumerate(free_from) if until < first[b]]
        best = min(fits, key=lambda i: (abs(sizes[i] - need), i), default=None)
        if best is None:
            best = len(sizes)
            sizes.append(0)
            free_from.append(0)
        slot[b], sizes[best], free_from[best] = best, max(sizes[best], need), last[b]
    return slot, sizes

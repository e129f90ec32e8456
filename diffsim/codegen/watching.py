"""Results that are not finite, noticed where they are stored: the loops that compute them have the numbers in registers.

For a finite number x - x is +0, whose bits are all zero, and NaN otherwise.  The bits of these differences are joined, which takes two
instructions a vector; looking at results afterwards reads them from memory once more, a fifth of the time of a gradient of 100,000
numbers.
"""

from math import prod

from .entry import NOT_FINITE
from .guards import Guards
from .llvm_printer import FunctionPrinter
from .nest import FLOAT, Link, Literal, Loop, Store, blocks

#: Stores to one element, on average, up to which they are looked at; a look at the result afterwards costs less then.
OFTEN = 2


def seen(body, outputs):
    """Parameters of those outputs whose stores tell whether the result is finite: a call writes none, and nothing stored is replaced.

    Sums that are added up in memory are among them: where a sum is not finite on the way, it is not in the end.  Elements written at
    places that are known at run time only may replace others.  Results whose elements are stored many times each are not among them.

    Parameters
    ----------
    body : Block
    outputs : list of Place or None

    Returns
    -------
    set of str
    """
    left = {p.base: OFTEN * prod(p.shape) for p in outputs if p and p.shape and p.dtype.kind == "f"}

    def walk(block, times):
        for s in block.statements:
            if type(s) is Store and s.buffer.base in left:
                left[s.buffer.base] -= times
                if not s.add and _loaded(s.index):
                    left[s.buffer.base] = -1
            elif type(s) is Link:
                left.update((buffer.base, -1) for buffer in s.outs if buffer is not None and buffer.base in left)
            for inner in blocks(s):
                walk(inner, times * (s.stop - s.start) if type(s) is Loop else times)

    walk(body, 1)
    return {base for base, stores in left.items() if stores >= 0}


def _loaded(index):
    """Whether an index depends on numbers in memory."""
    if type(index) is Literal or index.op == "counter":
        return False
    return index.op in ("load", "carried", "after", "chosen") or any(map(_loaded, index.args))


class WatchingPrinter(FunctionPrinter):
    """Prints a function that returns ``NOT_FINITE`` in place of 0 where a number it stored in one of some parameters is not finite."""

    def __init__(self, function, text, watched, stack, link, report):
        super().__init__(function, text, stack, link=link, report=report)
        self.guards, self.watched = _Guards(self, report), watched
        if watched:
            self.spoiled = self.fresh()
            self.head += [f"  {self.spoiled} = alloca i64", f"  store i64 0, ptr {self.spoiled}"]

    def write(self, statement):
        super().write(statement)
        buffer = statement.buffer
        if buffer.kind != "param" or buffer.base not in self.watched:
            return
        value, (kind, size) = self.name(statement.value), ("double", 64) if buffer.dtype is FLOAT else ("float", 32)
        bits = self.line(f"bitcast {kind} {self.line(f'fsub {kind} {value}, {value}')} to i{size}")
        if size < 64:
            bits = self.line(f"zext i{size} {bits} to i64")
        joined = self.line(f"or i64 {self.line(f'load i64, ptr {self.spoiled}')}, {bits}")
        self.lines.append(f"  store i64 {joined}, ptr {self.spoiled}")


class _Guards(Guards):
    """Checks of indices, and at the end that of the results."""

    _ends = False

    def finish(self):
        self._ends = True
        super().finish()

    def _return(self, status, index):
        p = self.printer
        if self._ends and p.watched:
            bad = p.line(f"icmp ne i64 {p.line(f'load i64, ptr {p.spoiled}')}, 0")
            first = p.line(f"and i1 {bad}, {p.line(f'icmp eq i64 {status}, 0')}")
            status = p.line(f"select i1 {first}, i64 {NOT_FINITE}, i64 {status}")
        super()._return(status, index)


__all__ = ["WatchingPrinter", "seen"]

"""Indices that must be in bounds: what a compiled function does about those that are not.

The smallest and the largest index of each kind are kept in registers and looked at once, at the end: loops stay without branches and
can be vectorised.  Memory is safe meanwhile, as positions are clamped.
"""

import numpy as np

from .nest import INT

#: Lower half of the status of a function that met an index out of bounds.
OUT_OF_BOUNDS = 1


class Guards:
    """The checks of one function.

    Parameters
    ----------
    printer : FunctionPrinter
    report : (int, int) or None
        See there.

    Attributes
    ----------
    kinds : list of (int, int or None)
        Size and axis of each kind of index that the function checks.
    """

    def __init__(self, printer, report):
        self.printer, self.report, self.kinds, self._extremes = printer, report, [], {}

    def check(self, check):
        """Print a check: the extremes so far."""
        p, kind = self.printer, (check.size, check.axis)
        if kind not in self._extremes:
            self.kinds.append(kind)
            if self.report and kind not in self.report[2]:
                self.report[2].append(kind)
            self._extremes[kind] = tuple(p.fresh() for _ in range(2))
            p.head += [f"  {name} = alloca i64" for name in self._extremes[kind]]
            p.head += [f"  store i64 0, ptr {name}" for name in self._extremes[kind]]
        for name, op, wanted in zip(self._extremes[kind], ("llvm.smin", "llvm.smax"), (check.low, check.high), strict=True):
            if wanted:
                worst = p.call(op, INT, [p.line(f"load i64, ptr {name}"), p.name(check.args[0])])
                p.lines.append(f"  store i64 {worst}, ptr {name}")

    def _found(self):
        """Operands: whether an index was out of bounds, its status, the index; of several the kind checked first."""
        p, any_, status, index = self.printer, "false", "0", "0"
        for size, axis in reversed(self.kinds):
            low, high = (p.line(f"load i64, ptr {name}") for name in self._extremes[size, axis])
            below, above = p.line(f"icmp slt i64 {low}, {-size}"), p.line(f"icmp sge i64 {high}, {size}")
            bad, where = p.line(f"or i1 {below}, {above}"), p.line(f"select i1 {below}, i64 {low}, i64 {high}")
            any_ = p.line(f"or i1 {any_}, {bad}")
            if self.report:
                number = self.report[1] + self.report[2].index((size, axis)) << 32 | OUT_OF_BOUNDS
                status = p.line(f"select i1 {bad}, i64 {number}, i64 {status}")
                index = p.line(f"select i1 {bad}, i64 {where}, i64 {index}")
        return any_, status, index

    def leave(self):
        """Leave the function, if anything is wrong so far, before a call that might not end for it."""
        if self.kinds and self.report:
            p = self.printer
            n = p.fresh()[2:]
            bad, status, index = self._found()
            p.lines.append(f"  br i1 {bad}, label %.out{n}, label %.in{n}")
            p.open(f".out{n}")
            self._return(status, index)
            p.open(f".in{n}")

    def _return(self, status, index):
        p = self.printer
        if self.kinds:
            p.lines.append(f"  store i64 {index}, ptr {p.address('%ctx', 'i64', str(self.report[0]))}")
        p.lines.append(f"  ret i64 {status}")

    def finish(self):
        """Print the end of the function."""
        p = self.printer
        if self.report:
            _, status, index = self._found()
            self._return(status, index)
            return
        if self.kinds:
            bad, _, _ = self._found()
            p.lines.append(f"  br i1 {bad}, label %.wrong, label %.right")
            p.open(".wrong")
            for buffer in p.function.results:
                if buffer.dtype.kind == "f" and buffer.size:
                    p.fill(buffer, np.nan)    # a solve then stops instead of going on with the wrong numbers
            p.lines.append("  br label %.right")
            p.open(".right")
        p.lines.append("  ret void")



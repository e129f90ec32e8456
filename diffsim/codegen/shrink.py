"""Scratch memory that each iteration of a loop uses for itself is made as large as one iteration needs: it stays in the cache."""

from .access import Affine, Indices
from .nest import INT, Buffer, Loop, Store, Value, blocks, touched


def shrink(block, k, own=None, indices=None):
    """Shrink the scratch buffers that one loop of a block alone uses, then those that one loop inside it does.

    Parameters
    ----------
    block : Block
        Changed in place; index values that are left over stay.
    k : Builder
    own : set of Buffer, optional
        Scratch buffers that are used in this block alone; all if None.

    Returns
    -------
    bool
        Whether any buffer has become smaller.
    """
    indices = indices or Indices()
    users = {}
    for s in block.statements:
        for buffer in touched(s):
            if buffer.kind == "scratch" and (own is None or buffer in own):
                users.setdefault(buffer, []).append(s)
    loops, changed = {}, False
    for buffer, statements in users.items():
        if len(statements) == 1 and type(statements[0]) is Loop:
            loops.setdefault(statements[0], []).append(buffer)
    for loop, buffers in loops.items():
        if any(type(s) is Loop for s in loop.body.statements):
            now = _Shrinking(loop, buffers, k, indices).run()
            inner = shrink(loop.body, k, now, indices)
            changed |= inner or now != set(buffers)
    return changed


class _Shrinking:
    """One loop, and the buffers it alone uses."""

    def __init__(self, loop, buffers, k, indices):
        self.loop, self.k, self.indices = loop, k, indices
        self.found = {buffer: [] for buffer in buffers}

    def run(self):
        """Shrink what can be; returns the buffers there are then."""
        self._collect(self.loop.body)
        now = set()
        for buffer, accesses in self.found.items():
            window = self._window({s.args[1] if isinstance(s, Value) else s.index for _, s in accesses})
            now.add(buffer if window is None else self._move(buffer, accesses, *window))
        return now

    def _collect(self, block):
        for s in block.statements:
            buffer = s.buffer if type(s) is Store else s.args[0] if isinstance(s, Value) and s.op == "load" else None
            if buffer in self.found:
                self.found[buffer].append((block, s))
            for inner in blocks(s):
                self._collect(inner)

    def _window(self, at):
        """``(lo, size)``: iteration i touches ``size`` elements from some multiple of i plus ``lo``, and no other iteration does."""
        counter, step, lo, hi = self.loop.counter, None, 0, 0
        for x in at:
            form = self.indices(x)
            c = form.terms.get(counter, 0)
            span = Affine(form.const, {v: n for v, n in form.terms.items() if v is not counter}).span()
            if span is None or c <= 1 or (step is not None and c != step):
                return None
            lo, hi = span if step is None else (min(lo, span[0]), max(hi, span[1]))
            step = c
        return (lo, hi - lo + 1) if step is not None and hi - lo < step else None

    def _move(self, old, accesses, lo, size):
        """Let indices count from the start of an iteration's own elements, in the buffer that is returned."""
        new = Buffer("scratch", old.dtype, (size,))
        for block, s in accesses:
            store = type(s) is Store
            form, made = self.indices(s.index if store else s.args[1]), []
            index = self._sum(form, form.const - lo, block, made)
            at = block.statements.index(s)
            block.statements[at:at] = made
            if store:
                s.buffer, s.index = new, index
            else:
                s.args = (new, index)
        return new

    def _sum(self, form, const, block, made):
        """The index without the loop's counter; appends the values it takes to ``made``."""
        def value(op, a, b):
            self.k.made += 1
            made.append(Value(op, (a, b), INT, block, self.k.made))
            return made[-1]

        total = None
        for v, c in form.terms.items():
            if v is not self.loop.counter:
                term = v if c == 1 else value("imul", v, self.k.const(c, INT))
                total = term if total is None else value("iadd", total, term)
        if total is None:
            return self.k.const(const, INT)
        return value("iadd", total, self.k.const(const, INT)) if const else total


__all__ = ["shrink"]

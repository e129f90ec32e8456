"""Which elements of which buffers a statement reads and writes, as far as its indices are sums of loop counters."""

from .nest import INT, Atom, Choice, Link, Literal, Loop, Store, Value, blocks, operands

#: Operations that keep an index a sum of counters.
SUMS = ("iadd", "imul")


def place(buffer):
    """What tells apart memory: two buffers of one parameter that start together are one."""
    return (buffer.base, buffer.offset) if buffer.kind == "param" else buffer


class Affine:
    """``const + sum(coefficient * value)``."""

    __slots__ = ("const", "terms")

    def __init__(self, const, terms):
        self.const, self.terms = const, terms

    def span(self):
        """Range, or None where a term has none."""
        if not all(isinstance(v, Atom) for v in self.terms):
            return None
        lo = self.const + sum(c * (v.lo if c > 0 else v.hi) for v, c in self.terms.items())
        hi = self.const + sum(c * (v.hi if c > 0 else v.lo) for v, c in self.terms.items())
        return lo, hi


class Indices:
    """Affine forms of index values, each found once; ``often`` says that the statements run often, on what is in the cache."""

    def __init__(self):
        self._known, self.often = {}, False

    def __call__(self, x):
        made = self._known.get(x)
        if made is None:
            made = self._known[x] = self._form(x)
        return made

    def forget(self, loop):
        """Operands of what stands in a loop will change."""
        for block in blocks(loop):
            for s in block.statements:
                self._known.pop(s, None)
                if type(s) is Loop or type(s) is Choice:
                    self.forget(s)

    def _form(self, x):
        if type(x) is Literal:
            return Affine(int(x.value), {})
        if x.op not in SUMS:
            return Affine(0, {x: 1})
        a, b = self(x.args[0]), self(x.args[1])
        if x.op == "iadd":
            terms = dict(a.terms)
            for v, c in b.terms.items():
                terms[v] = terms.get(v, 0) + c
            return Affine(a.const + b.const, {v: c for v, c in terms.items() if c})
        if a.terms and b.terms:
            return Affine(0, {x: 1})
        a, n = (a, b.const) if a.terms else (b, a.const)
        return Affine(a.const * n, {v: c * n for v, c in a.terms.items()})


class Uses:
    """What a statement, with all that is nested in it, needs and does.

    Attributes
    ----------
    values : set
        Values it reads, those it makes itself included.
    made : list of Value
        Values it makes at its own level, for statements after it.
    reads, writes : dict
        For each place the index values accessed; None for all of it.
    ordered : bool
        It calls or checks: such statements keep their order.
    """

    __slots__ = ("made", "ordered", "reads", "values", "writes")

    def __init__(self, statement):
        self.values, self.reads, self.writes, self.ordered = set(), {}, {}, False
        kind = type(statement)
        if kind is Loop:
            self.made = [c[3] for c in statement.carried]
        elif kind is Choice:
            self.made = [statement.result]
        else:
            self.made = [statement] if isinstance(statement, Value) else []
        self._take(statement)

    def _take(self, s):
        kind = type(s)
        self.values.update(operands(s)) if not (isinstance(s, Value) and s.op == "load") else self.values.add(s.args[1])
        if kind is Store:
            self._note(self.writes, s.buffer, s.index)
            if s.add:
                self._note(self.reads, s.buffer, s.index)
        elif kind is Link:
            self.ordered = True
            for found, side in ((self.reads, s.ins), (self.writes, s.outs)):
                for b in side:
                    if not isinstance(b, int) and b is not None:
                        found[place(b)] = None
        elif isinstance(s, Value):
            if s.op == "load" and s.args[0].kind != "argument":
                self._note(self.reads, s.args[0], s.args[1])
        else:
            self.ordered |= kind not in (Loop, Choice)
            for block in blocks(s):
                for inner in block.statements:
                    self._take(inner)

    @staticmethod
    def _note(found, buffer, index):
        key = place(buffer)
        if found.setdefault(key, set()) is not None:
            found[key].add(index)

    def absorb(self, other):
        """Take over what another statement needs and does."""
        self.values |= other.values
        self.made += other.made
        self.ordered |= other.ordered
        for mine, theirs in ((self.reads, other.reads), (self.writes, other.writes)):
            for key, at in theirs.items():
                have = mine.setdefault(key, set())
                mine[key] = None if at is None or have is None else have | at


def apart(indices, a, b):
    """Whether two sets of index values surely name different elements."""
    ranges = [hull(indices, at) for at in (a, b)]
    return None not in ranges and (ranges[0][1] < ranges[1][0] or ranges[1][1] < ranges[0][0])


def hull(indices, at):
    """The range of positions that a set of index values lies in; None if it is not known."""
    if at is None:
        return None
    spans = [indices(x).span() for x in at]
    return None if None in spans else (min(s[0] for s in spans), max(s[1] for s in spans))


def in_step(indices, counter, at, other, other_at):
    """Whether two loops touch each element in one and the same iteration, or in one of them only.

    Parameters
    ----------
    indices : Indices
    counter, other : Atom
        Counters of the loops.
    at, other_at : set of index values or None
        What each touches.
    """
    if at is None or other_at is None:
        return False
    step, outer, lo, hi = None, None, 0, 0
    for mine, values in ((counter, at), (other, other_at)):
        for x in values:
            form = indices(x)
            rest = {v: c for v, c in form.terms.items() if v is not mine and v.block.depth >= mine.block.depth}
            outside = {v: c for v, c in form.terms.items() if v is not mine and v.block.depth < mine.block.depth}
            window = Affine(form.const, rest).span()
            c = form.terms.get(mine, 0)
            if window is None or c <= 0 or (step is not None and (c != step or outside != outer)):
                return False
            lo, hi = (window if step is None else (min(lo, window[0]), max(hi, window[1])))
            step, outer = c, outside
    return hi - lo < step


__all__ = ["INT", "Affine", "Indices", "Uses", "apart", "hull", "in_step", "place"]

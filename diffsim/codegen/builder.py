"""The builder ``k`` that emission rules are written on: scalars, indices, loops, reductions, choices.

An index entry is a Python int or an ``Index``.  What the ranges of the counters decide is decided here; a comparison that
changes its answer within a loop cuts the loop, so that the borders of stencils and the pieces of joins become loops of their own and
no test is left inside.
"""

from itertools import product

import numpy as np

from . import index as ix
from .nest import FLOAT, INT, Atom, Block, Choice, Literal, Loop, Store, Value, canonical, numbers
from .scalars import Scalars

#: A loop is cut into at most this many pieces more; what is undecided then is decided at run time.
MAX_CUTS = 6
#: Reductions up to this length are written out even inside loops.
SHORT = 4
START = {"add": 0, "mul": 1, "or": False, "and": True}


class Builder(Scalars):
    """What rules call.  ``unrolling``: loops run now, over ints."""

    def __init__(self):
        super().__init__()
        self.unrolling, self._claimed = False, set()

    # ------------------------------------------------------------ indices
    def iadd(self, a, b):
        return ix.add(a, b)

    def isub(self, a, b):
        return ix.add(a, ix.scale(b, -1))

    def imul(self, a, b):
        return ix.scale(a, b) if type(b) is int else ix.scale(b, a)

    def idiv(self, a, n):
        """a // n, rounded down."""
        q, r = ix.split_multiple(a, n)
        lo, hi = ix.bounds(r)
        if lo // n == hi // n:
            return ix.add(q, lo // n)
        return ix.add(q, ix.add(self._quotient("idiv", r, n, lo, hi), lo // n))

    def imod(self, a, n):
        """a mod n, in [0, n)."""
        r = ix.split_multiple(a, n)[1]
        lo, hi = ix.bounds(r)
        if lo // n == hi // n:
            return ix.add(r, -n * (lo // n))
        return self._quotient("irem", r, n, lo, hi)

    def _quotient(self, op, r, n, lo, hi):
        """Machine division, which truncates: the operand is shifted by a multiple of n to be positive."""
        shift = lo // n
        made = self.emit(op, (self.value(ix.add(r, -n * shift)), self.const(n, INT)), INT)
        top = n - 1 if op == "irem" else hi // n - shift
        return ix.of(self.atom(made, 0, top))

    def value(self, a):
        """The integer value of an index; sums of outer counters come first."""
        if type(a) is int:
            return self.const(a, INT)
        total = None
        for atom, c in a.terms:
            term = atom if c == 1 else self.emit("imul", (atom, self.const(c, INT)), INT)
            total = term if total is None else self.emit("iadd", (total, term), INT)
        return self.emit("iadd", (total, self.const(a.const, INT)), INT) if a.const else total

    def icompare(self, op, a, b):
        """Truth of a comparison of indices: a bool, or a value where only the run decides.

        Raises
        ------
        Split
            The answer changes inside a loop that may still be cut.
        """
        known = ix.decide(op, a, b)
        if known is not None:
            return known
        where = ix.cut(op, a, b)
        if where is not None:
            raise ix.Split(*where)
        return self.compare(op, self.value(a), self.value(b))

    def both(self, a, b):
        """Conjunction of results of ``icompare``."""
        if a is False or b is False:
            return False
        return b if a is True else a if b is True else self.logical("and", a, b)

    # ------------------------------------------------------------ blocks
    def within(self, block, make):
        """Run ``make()`` with statements going to ``block``, one of the chain being filled."""
        if block is self.stack[-1]:
            return make()
        kept = self.stack
        self.stack = kept[: block.depth + 1]
        try:
            return make()
        finally:
            self.stack = kept

    def outermost(self, make):
        """Run ``make()`` with statements going to the outermost block, and loops being loops whatever is unrolled meanwhile."""
        kept, self.unrolling = self.unrolling, False
        try:
            return self.within(self.top, make)
        finally:
            self.unrolling = kept

    def home(self, index):
        """The outermost block where an element at ``index`` may be computed."""
        block = self.top
        for i in index:
            if type(i) is not int:
                last = i.terms[-1][0].block
                block = last if last.depth > block.depth else block
        return self._guarded(block)

    def nested(self, block, make):
        """Fill a new block inside the current one by ``make()``; returns what that returned."""
        kept, self.stack = self.stack, [*self.stack, block]
        try:
            return make()
        finally:
            self.stack = kept

    def written(self, make):
        """Run ``make()``; returns what that returned, and the outermost loops written, but for those an inner call has returned."""
        first = len(self.top.statements)
        made = make()
        loops = [s for s in self.top.statements[first:] if type(s) is Loop and s not in self._claimed]
        self._claimed.update(loops)
        return made, loops

    def append(self, statement):
        self.stack[-1].statements.append(statement)

    # ------------------------------------------------------------ memory
    def load(self, buffer, at):
        """Number ``at`` (an index into the flat buffer) in the buffer's dtype: an element, or a part of a complex one."""
        at = self.value(at)
        block = self._guarded(at.block)
        key = ("load", buffer, at)
        made = block.memo.get(key)
        if made is None:
            made = block.memo[key] = Value("load", (buffer, at), numbers(canonical(buffer.dtype)), block, self._count())
            block.statements.append(made)
        return made

    def store(self, buffer, at, x, add=False):
        """Write (or add to) number ``at`` of the flat buffer."""
        self.append(Store(buffer, self.value(at), self.convert(x, numbers(buffer.dtype)), add))

    def part(self, x, index, which):
        """The real (0) or imaginary (1) part of an element of a complex operand."""
        return self.load(x.memory(), ix.add(ix.scale(flatten(index, x.shape), 2), which))

    def store_parts(self, out, index, re, im):
        """Write an element of a complex array."""
        at = ix.scale(flatten(index, out.shape), 2)
        self.store(out.buffer, at, re)
        self.store(out.buffer, ix.add(at, 1), im)

    def element(self, x, position):
        """Element of operand ``x`` at a flat position that is a value; the function fails where there is none."""
        return x.flat(self.position_index(position, x.size))

    def position_index(self, position, size):
        """A position in row-major order as an index in [0, size)."""
        position = self.wrapped(position, size)
        return int(position.value) if type(position) is Literal else ix.of(position)

    # ------------------------------------------------------------ loops
    def loop(self, shape, body):
        """``body(index)`` for every index of ``shape``, row by row."""
        if 0 in shape:
            return
        if self.unrolling:
            for i in product(*map(range, shape)):
                body(i)
        else:
            self._axis(tuple(shape), (), body)

    def _axis(self, shape, index, body):
        if len(index) == len(shape):
            body(index)
        else:
            self._pieces(0, shape[len(index)], lambda i, _: (self._axis(shape, (*index, i), body), ())[1], ())

    def fold(self, n, start, step):
        """``total = step(i, total)`` for i in range(n), from ``start``; returns the last total."""
        return self._folds(0, n, lambda i, totals: (step(i, totals[0]),), (start,))[0]

    def _folds(self, lo, hi, step, totals):
        if hi <= lo:
            return totals
        if self.unrolling or hi - lo <= 1:
            for i in range(lo, hi):
                totals = step(i, totals)
            return totals
        return self._pieces(lo, hi, step, totals)

    def _pieces(self, lo, hi, run, totals):
        """Loop over [lo, hi) with carried values, cut where a comparison asks for it.  ``run(i, totals) -> totals``."""
        todo, cuts = [(lo, hi)], 0
        while todo:
            lo, hi = todo.pop()
            if hi - lo == 1:
                totals = run(lo, totals)
                continue
            block = Block(len(self.stack))
            counter = Atom("counter", (), block, self._count(), lo, hi - 1, splits=cuts < MAX_CUTS)
            try:
                totals = self._loop(counter, lo, hi, run, totals)
            except ix.Split as split:
                if split.atom is not counter:
                    raise
                todo += [(split.at, hi), (lo, split.at)]
                cuts += 1
        return totals

    def _loop(self, counter, lo, hi, run, totals):
        inside = tuple(Value("carried", (), x.dtype, counter.block, self._count()) for x in totals)
        following = self.nested(
            counter.block, lambda: [self.convert(x, old.dtype) for x, old in zip(run(ix.of(counter), inside), totals, strict=True)]
        )
        loop = Loop(counter, lo, hi, counter.block)
        after = tuple(Value("after", (), x.dtype, self.stack[-1], self._count()) for x in totals)
        loop.carried = list(zip(inside, totals, following, after, strict=True))
        self.append(loop)
        return after

    def _count(self):
        self.made += 1
        return self.made

    # ------------------------------------------------------------ reductions
    def reduce(self, word, shape, term, aval):
        """Combine ``term(inner)`` over all ``inner`` of ``shape`` by ``add``, ``mul``, ``maximum``, ``minimum``, ``and`` or ``or``.

        Sums in loops may be reassociated by the vectoriser, as NumPy's are, and those of float32 are formed in float64; all else keeps
        its order.
        """
        dtype = canonical(aval.dtype)
        if word in ("add", "mul") and dtype.kind != "f":
            dtype = INT
        combine = self._combiner(word)
        size = int(np.prod(shape, dtype=int))
        if size == 0:
            return self.const(START[word], dtype)
        if self.unrolling or size <= SHORT:
            total = None
            for inner in product(*map(range, shape)):
                x = self.convert(term(inner), dtype)
                total = x if total is None else combine(total, x)
            return total
        if word in ("maximum", "minimum"):
            first = self.convert(term((0,) * len(shape)), dtype)
        else:
            first = self.const(START[word], dtype)
        if word == "add" and dtype.kind == "f":
            return self.convert(self._sums(tuple(shape), (), lambda inner: self.convert(self.convert(term(inner), dtype), FLOAT)), dtype)
        if word in ("maximum", "minimum") and dtype.kind == "f":
            def combine(total, x):
                return self.emit(f"reduce_{word}", (total, x), dtype)
        return self._nested_folds(tuple(shape), (), lambda inner, total: combine(total, self.convert(term(inner), dtype)), first)

    def _nested_folds(self, shape, index, step, total):
        if len(index) == len(shape):
            return step(index, total)
        return self._folds(0, shape[len(index)], lambda i, t: (self._nested_folds(shape, (*index, i), step, t[0]),), (total,))[0]

    def _combiner(self, word):
        if word in ("and", "or"):
            return lambda a, b: self.logical(word, a, b)
        return getattr(self, word)

    def _sums(self, shape, index, term):
        """Sum over nested loops, each from zero: the sums of rows are then summed like any others."""
        if len(index) == len(shape):
            return term(index)
        return self._folds(
            0, shape[len(index)], lambda i, t: (self._sum(t[0], self._sums(shape, (*index, i), term)),), (self.const(0, FLOAT),)
        )[0]

    def _sum(self, total, x):
        if type(x) is Literal and x.value == 0:
            return total
        return x if type(total) is Literal and total.value == 0 else self.emit("sum", (total, x), x.dtype)

    def position(self, op, n, term, aval):
        """Where ``term(i) op term(j)`` for all j, i the first such; the first NaN wins, as in NumPy."""
        canonical(aval.dtype)

        def step(i, totals):
            best, at = totals
            x = term(i)
            better = self.compare(op, x, best)
            if x.dtype.kind == "f":
                better = self.logical("or", better, self.logical("and", self.compare("!=", x, x), self.compare("==", best, best)))
            return self.select(better, x, best), self.select(better, self.value(i), at)

        at = self._folds(1, n, step, (term(0), self.const(0, INT)))[1]
        return at if type(at) is Literal else self.atom(at, 0, n - 1)

    def partial_sum(self, x, index, axis, reverse):
        """Sum of x from the start of an axis (from its end, if ``reverse``) to ``index``, whose entry there is an int."""
        at, n = index[axis], x.shape[axis]
        total = None
        for j in range(n - 1, at - 1, -1) if reverse else range(at + 1):
            term = x((*index[:axis], j, *index[axis + 1 :]))
            total = term if total is None else self.add(total, term)
        return total

    def ravel(self, index, shape):
        """Row-major position of an index."""
        return flatten(index, shape)

    def unravel(self, flat, shape):
        """Index at a row-major position."""
        return unflatten(self, flat, shape)

    # ------------------------------------------------------------ choices by index
    def choose(self, test, yes, no, aval):
        """``yes()`` where test, else ``no()``; only the chosen one is computed."""
        if test is True or test is False:
            return (yes if test else no)()
        dtype = canonical(aval.dtype)
        first, second = Block(len(self.stack), conditional=True), Block(len(self.stack), conditional=True)
        a = self.nested(first, lambda: self.convert(yes(), dtype))
        b = self.nested(second, lambda: self.convert(no(), dtype))
        if not first.statements and not second.statements:
            return self.select(test, a, b)
        result = Value("chosen", (), dtype, self.stack[-1], self._count())
        self.append(Choice(test, first, second, result, (a, b)))
        return result

    def guarded(self, test, make, aval):
        """``make()`` where test, else a zero that cancels whatever multiplies it."""
        return self.choose(test, make, lambda: self.const(0, aval.dtype, structural=True), aval)


def flatten(index, shape):
    """Row-major position of an index."""
    flat = 0
    for i, s in zip(index, shape, strict=True):
        flat = ix.add(ix.scale(flat, s), i)
    return flat


def unflatten(k, flat, shape):
    """Index at a row-major position."""
    index = []
    for s in reversed(shape):
        index.append(k.imod(flat, s) if s != 1 else 0)
        flat = k.idiv(flat, s) if s != 1 else flat
    return tuple(reversed(index))

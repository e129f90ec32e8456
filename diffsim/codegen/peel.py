"""The first and last iterations of a loop as statements before and after it: loops over nearly one range can then become one."""

from .nest import INT, Atom, Block, Check, Choice, Literal, Loop, Store, Value


def peel(loop, start, stop, block):
    """Let a loop run over [start, stop) only.

    Parameters
    ----------
    loop : Loop
        Changed in place.
    start, stop : int
        Inside its range.
    block : Block
        Where it stands.

    Returns
    -------
    before, after : list of statements
        Its other iterations, to stand before and after it.
    """
    first, before, after = [c[1] for c in loop.carried], [], []
    for i in range(loop.start, start):
        first = _iteration(loop, i, first, block, before)
    last = inner = [Value("after", (), c[3].dtype, block, c[3].number) for c in loop.carried]
    for i in range(stop, loop.stop):
        last = _iteration(loop, i, last, block, after)
    for (*_, end), x in zip(loop.carried, last, strict=True):   # later statements read the value there was after the loop
        end.op, end.args = "same", (x,)
        after.append(end)
    loop.carried = [(c[0], x, c[2], y) for c, x, y in zip(loop.carried, first, inner, strict=True)]
    loop.start, loop.stop = start, stop
    return before, after


def _iteration(loop, i, totals, block, out):
    """Append a copy of one iteration to ``out``; returns what it leaves in the accumulators."""
    copy = _Copy({loop.counter: Literal(i, INT, block), **{c[0]: x for c, x in zip(loop.carried, totals, strict=True)}})
    out += copy.statements(loop.body, block)
    return [copy.now(c[2]) for c in loop.carried]


class _Copy:
    """Copies of statements that read other values."""

    def __init__(self, made):
        self.made = made

    def now(self, x):
        """What stands for a value in the copy."""
        return self.made.get(x, x)

    def statements(self, source, target):
        """Copies of a block's statements, to stand in another one."""
        return [self._statement(s, target) for s in source.statements]

    def _statement(self, s, block):
        now, kind = self.now, type(s)
        if kind is Store:
            return Store(s.buffer, now(s.index), now(s.value), s.add)
        if kind is Check:
            return Check(now(s.args[0]), s.size, s.axis, s.low, s.high)
        if kind is Loop:
            return self._loop(s, block)
        if kind is Choice:
            return self._choice(s, block)
        args = tuple(map(now, s.args))
        made = Atom(s.op, args, block, s.number, s.lo, s.hi) if kind is Atom else Value(s.op, args, s.dtype, block, s.number)
        self.made[s] = made
        return made

    def _loop(self, s, block):
        body = Block(block.depth + 1)
        counter = self.made[s.counter] = Atom("counter", (), body, s.counter.number, s.counter.lo, s.counter.hi)
        made = Loop(counter, s.start, s.stop, body)
        for inside, *_ in s.carried:
            self.made[inside] = Value("carried", (), inside.dtype, body, inside.number)
        body.statements = self.statements(s.body, body)
        for inside, initial, following, after in s.carried:
            self.made[after] = Value("after", (), after.dtype, block, after.number)
            made.carried.append((self.made[inside], self.now(initial), self.now(following), self.made[after]))
        return made

    def _choice(self, s, block):
        yes, no = Block(block.depth + 1, conditional=True), Block(block.depth + 1, conditional=True)
        yes.statements, no.statements = self.statements(s.yes, yes), self.statements(s.no, no)
        result = self.made[s.result] = Value("chosen", (), s.result.dtype, block, s.result.number)
        return Choice(self.now(s.test), yes, no, result, tuple(map(self.now, s.values)))


__all__ = ["peel"]

"""Fusion of loops: loops over one range become one loop where no value has to wait for all of another.

Groups (``cells.Group``) compute arrays of one shape together.  This pass joins what groups cannot know of, on the loop nests themselves:
sums with what they sum and with each other, rows of an array with the sums of these rows.  A value that one of the loops stores and the
next loads is handed on in a register; memory that nothing reads any more is dropped by ``nest.prune`` afterwards.
"""

from . import vector_math
from .access import Indices, Uses, apart, hull, in_step
from .nest import FLOAT, INT, Choice, Loop, Store, Value, blocks
from .peel import peel
from .scalars import FUNCTIONS, Special
from .weight import size, work

#: A loop may join one of the last so many of its range in the same block; statements in a fused body, at any depth.
CANDIDATES, LARGEST = 24, 400
#: Loops of at least so many iterations may be joined with others that begin or end up to so many iterations earlier or later, where that
#: repeats at most so many statements for each of these.
PEELED, EDGE, EDGES = 64, 2, 120
#: Steps taken in all to look for paths between loops: the time this pass takes stays linear.
STEPS = 100_000
#: A loop without loops inside joins one with loops inside where its work is at most this part of theirs: it is no longer vectorised.
SCALAR_PART = 0.5
#: Carried values that the vectoriser knows how to combine.
COMBINED = frozenset({"sum", "reduce_maximum", "reduce_minimum", "and", "or"})


def fuse(block, indices=None, often=False):
    """Fuse the loops of a block, then those inside each.

    Parameters
    ----------
    block : Block
        Changed in place.
    often : bool
        Whether functions such as exp stay in loops of their own: the block runs often, on what is in the cache.

    Returns
    -------
    dict
        For each loop of the block that is gone, the loop it has become a part of.
    """
    indices = indices or Indices()
    indices.often = indices.often or often
    joined = {}
    if sum(type(s) is Loop for s in block.statements) > 1:
        joined = _Fusion(block, indices).run()
    for s in block.statements:
        if type(s) is Loop and any(type(inner) is Loop for inner in s.body.statements):
            fuse(s.body, indices)
    return joined


class _Unit:
    """Statements that stay together: one, or a loop and those it has taken in."""

    __slots__ = ("after", "before", "body", "level", "needs", "shape", "statement", "users", "uses")

    def __init__(self, statement, uses, indices):
        self.statement, self.uses, self.body = statement, uses, None
        self.before, self.after = [], []                    # iterations of these loops that not all have
        self.needs, self.users, self.level = {}, [], 0      # units that come before, in order, those that come after; longest path to it
        self.shape = _Shape(statement, indices) if type(statement) is Loop else None

    def need(self, units):
        """Let units come before this one: what comes after it moves up."""
        for u in units:
            if u not in self.needs:
                self.needs[u] = None
                u.users.append(self)
        todo = [self]
        while todo:
            unit = todo.pop()
            level = max((u.level + 1 for u in unit.needs), default=0)
            if level > unit.level:
                unit.level = level
                todo += unit.users


class _Shape:
    """What decides whether two loops are better off as one."""

    __slots__ = ("functions", "nested", "statements", "vector", "work")

    def __init__(self, loop, indices):
        self.statements, self.work = size(loop.body), work(loop.body)
        self.nested = any(type(s) is Loop for s in loop.body.statements)
        self.vector = not self.nested and all(map(_combines, loop.carried)) and all(
            _vectorises(s, loop.counter, indices) for s in loop.body.statements)
        self.functions = indices.often and self.vector and any(isinstance(s, Value) and in_vectors(s.op) for s in loop.body.statements)

    def suits(self, other):
        """Whether a loop of another shape may join this one."""
        if self.statements + other.statements > LARGEST:
            return False
        if self.nested == other.nested:
            return self.vector == other.vector
        flat, nest = (self, other) if other.nested else (other, self)
        return flat.work <= SCALAR_PART * nest.work and not flat.functions


def _combines(carried):
    following = carried[2]
    return following.op in COMBINED or (following.op == "add" and following.dtype is INT)


def in_vectors(op):
    """Whether an operation is a function that vectors of numbers are handed to."""
    known = FUNCTIONS.get(op) if type(op) is str else None
    return known is not None and not known[0].startswith("llvm.")


def _vectorises(s, counter, indices):
    if type(s) is Store:
        return not s.add and counter in indices(s.index).terms
    if not isinstance(s, Value):
        return False
    return not called_one_by_one(s)


def called_one_by_one(s):
    """Whether a value is that of a function which takes no vectors of numbers."""
    return type(s.op) is Special or (in_vectors(s.op) and not (s.dtype is FLOAT and s.op in vector_math.variants()))


class _Fusion:
    """The fusion of one block's loops."""

    def __init__(self, block, indices):
        self.block, self.indices = block, indices
        self.units, self.maker, self.writers, self.readers = [], {}, {}, {}
        self.recent, self.ordered, self.steps, self.joined = {}, None, STEPS, {}

    def run(self):
        for s in self.block.statements:
            self._add(s)
        self.block.statements = self._in_order()
        return self.joined

    # ------------------------------------------------------------ dependences
    def _add(self, statement):
        unit = _Unit(statement, Uses(statement), self.indices)
        needs, soft = self._needs(unit.uses)
        joined = type(statement) is Loop and self._join(unit, needs, soft)
        if not joined:
            unit.need((*needs, *soft))
            self.units.append(unit)
            if type(statement) is Loop:
                self.recent.setdefault((statement.start, statement.stop), []).append(unit)
        self._enter(joined or unit, unit.uses)

    def _needs(self, uses):
        """Units that must come before: those whose values are read, and those that share memory with it (which may be fused with it)."""
        maker = self.maker
        needs = dict.fromkeys(maker[v] for v in uses.values if v in maker)
        if uses.ordered and self.ordered is not None:
            needs[self.ordered] = None
        soft = {}
        for key, at in uses.reads.items():
            self._meet(soft, self.writers.get(key, ()), at)
        for key, at in uses.writes.items():
            self._meet(soft, self.writers.get(key, ()), at)
            self._meet(soft, self.readers.get(key, ()), at)
        return needs, soft

    def _meet(self, soft, others, at):
        """Collect those units that touch memory at these places, or may."""
        if not others:
            return
        mine = hull(self.indices, at)
        lo, hi = mine or (None, None)
        for unit, theirs in others:
            if unit not in soft and (mine is None or theirs is None or (hi >= theirs[0] and theirs[1] >= lo)):
                soft[unit] = None

    def _enter(self, unit, uses):
        for v in uses.made:
            self.maker[v] = unit
        for found, mine in ((self.readers, uses.reads), (self.writers, uses.writes)):
            for key, at in mine.items():
                found.setdefault(key, []).append((unit, hull(self.indices, at)))
        if uses.ordered:
            self.ordered = unit

    def _enter_again(self, unit):
        """The ranges of its counters have changed."""
        for found, mine in ((self.readers, unit.uses.reads), (self.writers, unit.uses.writes)):
            for key, at in mine.items():
                found[key] = [*(entry for entry in found.get(key, ()) if entry[0] is not unit), (unit, hull(self.indices, at))]

    def _behind(self, units, level):
        """All units above a level, or at it, that must come before one of these; None if the search takes too long."""
        seen, todo = set(), [u for unit in units for u in unit.needs]
        while todo:
            unit = todo.pop()
            if unit not in seen:
                seen.add(unit)
                if unit.level > level:                      # those before it are below
                    todo += [u for u in unit.needs if u not in seen]
        self.steps -= len(seen)
        return seen if self.steps > 0 else None

    # ------------------------------------------------------------ joining
    def _join(self, unit, needs, soft):
        """The unit that takes in this one, None if there is none."""
        found = [host for host in self._alike(unit.statement)
                 if host not in needs and host.shape.suits(unit.shape) and self._share(host, unit)]
        behind = self._behind((*needs, *soft), min(host.level for host in found)) if found else None
        if behind is None:
            return None
        for host in found:
            if host not in behind and self._in_step(host, unit):
                self._peel(host, unit)
                self._take(host, unit, [u for u in (*needs, *soft) if u is not host])
                return host
        return None

    def _alike(self, loop):
        """Units of loops over the range of this one, the last ones first, then those over nearly that range."""
        same = self.recent.get((loop.start, loop.stop), ())[:-CANDIDATES - 1:-1]
        if loop.stop - loop.start < PEELED or size(loop.body) >= EDGES:
            return same
        near = [(loop.start + i, loop.stop + j) for i in range(-EDGE, EDGE + 1) for j in range(-EDGE, EDGE + 1) if i or j]
        return [*same, *(unit for bounds in near for unit in self.recent.get(bounds, ())[:-3:-1] if unit.shape.statements < EDGES)]

    def _peel(self, host, unit):
        """Make two loops run over what their ranges have in common."""
        a, b = host.statement, unit.statement
        start, stop = max(a.start, b.start), min(a.stop, b.stop)
        lo, hi = min(a.counter.lo, b.counter.lo), max(a.counter.hi, b.counter.hi)
        for counter in (a.counter, b.counter):              # ranges of indices tell what memory the iterations moved out touch, too
            counter.lo, counter.hi = lo, hi
        if (a.start, a.stop) != (b.start, b.stop):
            self._enter_again(host)
        for each in (host, unit):
            loop = each.statement
            if (loop.start, loop.stop) != (start, stop):
                if each is host:
                    self.recent[loop.start, loop.stop].remove(host)
                    self.recent.setdefault((start, stop), []).append(host)
                before, after = peel(loop, start, stop, self.block)
                each.before, each.after = each.before + before, after + each.after

    @staticmethod
    def _share(host, unit):
        """Whether they meet in memory; a loop without loops inside joins one with loops only for what it makes or needs."""
        a, b = host.uses, unit.uses
        handed = any(key in b.reads for key in a.writes)
        return handed or (host.shape.nested == unit.shape.nested and any(key in b.reads for key in a.reads))

    def _in_step(self, host, unit):
        a, b = host.uses, unit.uses
        mine, theirs = host.statement.counter, unit.statement.counter
        for first, second in ((a.writes, b.reads), (a.writes, b.writes), (a.reads, b.writes)):
            for key, at in first.items():
                if key in second and not apart(self.indices, at, second[key]) and not in_step(
                        self.indices, mine, at, theirs, second[key]):
                    return False
        return True

    def _take(self, host, unit, before):
        loop, other = host.statement, unit.statement
        host.body = host.body or _Body(loop)
        self.indices.forget(other)
        renamed = host.body.take(other)
        self.joined[other] = loop
        unit.uses.values = {renamed.get(v, v) for v in unit.uses.values}
        for found in (unit.uses.reads, unit.uses.writes):
            for key, at in found.items():
                found[key] = at and {renamed.get(x, x) for x in at}
        host.uses.absorb(unit.uses)
        host.before, host.after = host.before + unit.before, host.after + unit.after
        host.need(before)
        host.shape = _Shape(loop, self.indices)

    def _in_order(self):
        """Statements such that each comes after what it needs, else as they stood."""
        done, out = set(), []
        for first in self.units:
            todo = [first]
            while todo:
                unit = todo[-1]
                waiting = [u for u in unit.needs if u not in done] if unit not in done else ()
                if waiting:
                    todo += waiting[::-1]
                    continue
                todo.pop()
                if unit not in done:
                    done.add(unit)
                    out += [*unit.before, unit.statement, *unit.after]
        return out


class _Body:
    """The body of a loop that takes in those of others."""

    def __init__(self, loop):
        self.loop, self.renamed = loop, {}
        self.stored, self.written, self.memo = {}, set(), {}
        for s in loop.body.statements:
            self._note(s)
            if isinstance(s, Value):
                self.memo[self._key(s)] = s

    @staticmethod
    def _key(s):
        return (s.op, s.dtype.num, type(s), *s.args)

    def _note(self, s):
        """Remember what is in memory after a statement."""
        plain = type(s) is Store and not s.add
        for buffer in () if plain else _written(s):
            self.stored = {key: x for key, x in self.stored.items() if key[0] is not buffer}
        self.written.update(_written(s))
        if plain:
            self.stored[s.buffer, s.index] = s.value

    def take(self, other):
        """Move another loop's statements in; returns what stands for each value that is gone."""
        body = self.loop.body
        self.renamed = {other.counter: self.loop.counter}
        for s in other.body.statements:
            self._rename(s)
            if isinstance(s, Value):
                known = self._known(s)
                if known is not None:
                    self.renamed[s] = known
                    continue
                s.block = body
            else:
                self._note(s)
            body.statements.append(s)
        now = self.renamed.get
        for inside, initial, following, after in other.carried:
            inside.block = body
            self.loop.carried.append((inside, initial, now(following, following), after))
        return self.renamed

    def _known(self, s):
        """A value of the body that is the same as this one; else it is remembered."""
        if s.op == "load":
            handed = self.stored.get(s.args)
            if handed is not None:
                return handed
            if s.args[0] in self.written:
                return None
        key = self._key(s)
        known = self.memo.setdefault(key, s)
        return None if known is s else known

    def _rename(self, s):
        """Let a statement, and all nested in it, read what stands for what it read."""
        now = self.renamed.get
        kind = type(s)
        if kind is Store:
            s.index, s.value = now(s.index, s.index), now(s.value, s.value)
            return
        if kind is Loop:
            s.carried = [(inside, now(a, a), now(b, b), after) for inside, a, b, after in s.carried]
        elif kind is Choice:
            s.test, s.values = now(s.test, s.test), tuple(now(x, x) for x in s.values)
        else:
            s.args = tuple(now(a, a) for a in s.args)
            return
        for block in blocks(s):
            for each in block.statements:
                self._rename(each)


def _written(s):
    if type(s) is Store:
        return (s.buffer,)
    found = set()
    for block in blocks(s):
        for inner in block.statements:
            found.update(_written(inner))
    return found


__all__ = ["fuse"]

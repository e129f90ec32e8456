"""Values of a graph as emission rules see them: each answers for one element at an index."""

import numpy as np

from .builder import flatten, unflatten
from .nest import FLOAT, INT, Buffer, canonical
from .ranges import span

#: Arrays computed in one nest of loops: at most this many, of at most this many operations an element in all.
MEMBERS, OPERATIONS = 16, 300


class Cell:
    """A value of the graph as rules see it: called with an index it gives the element there."""

    __slots__ = ("aval", "buffer", "dtype", "k", "shape")
    sources = frozenset()

    def __init__(self, k, aval, buffer=None):
        self.k, self.aval, self.buffer = k, aval, buffer
        self.shape, self.dtype = aval.shape, canonical(aval.dtype)

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def size(self):
        return self.aval.size

    def __call__(self, index):
        """Element at an index, from memory."""
        return self.flat(flatten(index, self.shape))

    def flat(self, position):
        """Element at a row-major position, from memory."""
        return self.k.convert(self.k.load(self.memory(), position), self.dtype)

    def memory(self):
        """The buffer that holds the whole value."""
        return self.buffer


class Constant(Cell):
    """A known array: a number where the index is known or all elements are alike, a table otherwise, or memory behind a parameter."""

    __slots__ = ("alike", "base", "span", "value")

    def __init__(self, k, const, base=None):
        super().__init__(k, const.aval)
        self.base = base
        self.value = np.ascontiguousarray(const.value).reshape(-1)
        self.alike = self.value.size > 0 and bool((self.value == self.value[0]).all())
        whole = self.value.size and self.value.dtype.kind == "i"
        self.span = (int(self.value.min()), int(self.value.max())) if whole else None

    def flat(self, position):
        if type(position) is int or self.alike:
            return self.k.const(self.value[position if type(position) is int else 0], self.dtype)
        x = self.k.load(self.memory(), position)
        return self.k.atom(x, *self.span) if self.span else x

    def memory(self):
        if self.buffer is None:
            if self.base is None:
                self.buffer = Buffer("const", self.dtype, self.shape, value=self.value.astype(self.dtype))
            else:
                self.buffer = Buffer("param", self.dtype, self.shape, base=self.base)
        return self.buffer


class Unrolled(Cell):
    """An array whose elements are scalars by their index."""

    __slots__ = ("elements",)

    def __init__(self, k, aval):
        super().__init__(k, aval)
        self.elements = {}

    def __call__(self, index):
        made = self.elements.get(index)
        return super().__call__(index) if made is None else made

    def flat(self, position):
        if type(position) is int:
            return self.elements[unflatten(self.k, position, self.shape)]
        return super().flat(position)

    def memory(self):
        if self.buffer is None:
            self.buffer = Buffer("scratch", self.dtype, self.shape)
            self.k.outermost(self._spill)
        return self.buffer

    def _spill(self):
        for index, x in self.elements.items():
            self.k.store(self.buffer, flatten(index, self.shape), x)

    # what a store rule writes to, when its loops run over ints
    def accumulator(self):
        return self

    def store(self, index, x):
        self.elements[index] = self.k.convert(x, self.dtype)

    def add(self, index, x):
        self.elements[index] = self.k.add(self.elements[index], self.k.convert(x, self.dtype))

    def store_flat(self, position, x):
        self.store(self._place(position), x)

    def add_flat(self, position, x):
        self.add(self._place(position), x)

    def _place(self, position):
        return unflatten(self.k, self.k.position_index(position, self.size), self.shape)


class Inlined(Cell):
    """A value computed where it is read, once in each loop that reads it."""

    __slots__ = ("rule", "sources")

    def __init__(self, k, aval, rule, operands):
        super().__init__(k, aval)
        self.rule, self.sources = rule, waiting(operands)

    def __call__(self, index):
        return self.element(index)

    def element(self, index):
        """The rule at an index, once in the block where it belongs."""
        k = self.k
        home = k.home(index)
        key = (self, index)
        made = home.memo.get(key)
        if made is None:
            made = k.within(home, lambda: self.rule(index))
            home.memo[key] = made
        return made

    def flat(self, position):
        return self(unflatten(self.k, position, self.shape))

    def memory(self):
        if self.buffer is None:
            self.buffer = Buffer("scratch", self.dtype, self.shape)
            self.k.outermost(lambda: self.k.loop(self.shape, lambda i: self.k.store(self.buffer, flatten(i, self.shape), self(i))))
        return self.buffer


class Target:
    """Memory that a store rule writes to."""

    __slots__ = ("buffer", "dtype", "k", "shape", "size")

    def __init__(self, k, buffer):
        self.k, self.buffer, self.shape, self.dtype, self.size = k, buffer, buffer.shape, buffer.dtype, buffer.size

    def __call__(self, index):
        return self.k.load(self.buffer, flatten(index, self.shape))

    def accumulator(self):
        """Memory of the same shape to sum in: itself, unless its numbers are too short."""
        return Target(self.k, Buffer("scratch", FLOAT, self.shape)) if self.dtype.kind == "f" and self.dtype is not FLOAT else self

    def store(self, index, x):
        self.k.store(self.buffer, flatten(index, self.shape), x)

    def add(self, index, x):
        self.k.store(self.buffer, flatten(index, self.shape), x, add=True)

    def store_flat(self, position, x):
        self.k.store(self.buffer, self.k.position_index(position, self.size), x)

    def add_flat(self, position, x):
        self.k.store(self.buffer, self.k.position_index(position, self.size), x, add=True)


class Conflict(Exception):  # noqa: N818  (a request to the group of loops, not an error)
    """An array is read elsewhere than where it is being computed."""


class Stored(Inlined):
    """An array in memory, computed together with others of its shape when it is first read.

    In one nest of loops they share what they read, and hand values on without a trip through memory.
    """

    __slots__ = ("group", "span", "state")
    WAITING, COMPUTED, DONE = range(3)

    def __init__(self, k, aval, rule, operands, buffer):
        super().__init__(k, aval, rule, operands)
        self.buffer, self.state, self.group, self.span = buffer, Stored.WAITING, None, None

    def __call__(self, index):
        if self.state == Stored.COMPUTED and index == self.group.index:
            return self.element(index)
        return self.flat(flatten(index, self.shape))

    def flat(self, position):
        x = Cell.flat(self, position)
        return self.k.atom(x, *self.span) if self.span else x

    def widen(self, x):
        """Take note of the range of a value that an element has."""
        if self.dtype is INT:
            lo, hi = span(x)
            self.span = (min(lo, self.span[0]), max(hi, self.span[1])) if self.span else (lo, hi)

    def memory(self):
        if self.state == Stored.COMPUTED:
            raise Conflict
        if self.state == Stored.WAITING:
            self.group.run()
        return self.buffer


def waiting(operands):
    """Arrays not computed yet that operands depend on."""
    found = set()
    for cell in operands:
        found.update([cell] if isinstance(cell, Stored) else cell.sources)
    return frozenset(c for c in found if c.state == Stored.WAITING)


class Group:
    """Arrays of one shape that are computed in one nest of loops, as far as each reads the others only where it is itself computed.

    Members are ``(cell, buffer, add, own)``: what to compute, where to write it, whether to add it to what is there, and whether the cell
    is an array that waits for its computation here (else it is read where it is).  ``nests`` holds the members of each nest written, and
    its loops.
    """

    def __init__(self, k, shape):
        self.k, self.shape, self.members, self.operations, self.index, self._reader = k, shape, [], 0, None, 0
        self.nests = []

    def compute(self, cell, operations):
        """Take over the computation of a ``Stored``."""
        self._join(cell.sources, (cell, cell.buffer, False, True), operations)
        cell.group = self

    def write(self, cell, buffer, add, operations):
        """Write a value that lives elsewhere, or nowhere, to memory as well."""
        self._join(waiting([cell]), (cell, buffer, add, False), operations)

    def _join(self, sources, member, operations):
        """Add a member.  What it needs of other groups is computed first: no group waits for another."""
        for source in sources:
            if source.state == Stored.WAITING and source.group is not self:
                source.group.run()
        if len(self.members) >= MEMBERS or self.operations + operations > OPERATIONS:
            self.run()
        self.members.append(member)
        self.operations += operations

    def run(self):
        """Write all members' loops, at the outermost level."""
        members, self.members, self.operations = self.members, [], 0
        if members:
            self.k.outermost(lambda: self._split(members))

    def _split(self, members):
        while members:
            try:
                self._loops(members)
                return
            except Conflict:
                reader = self._reader
                self._set(members, Stored.WAITING)
            self._split(members[:reader])
            members = members[reader:]

    def _loops(self, members):
        self._set(members, Stored.COMPUTED)
        _, loops = self.k.written(lambda: self.k.loop(self.shape, lambda index: self._body(index, members)))
        self._set(members, Stored.DONE)
        self.nests.append((members, loops))

    def _body(self, index, members):
        self.index, values = index, []
        for self._reader, member in enumerate(members):
            values.append(member[0](index))
        at = flatten(index, self.shape)
        for (cell, buffer, add, own), value in zip(members, values, strict=True):
            self.k.store(buffer, at, value, add)
            if own:
                cell.widen(value)

    @staticmethod
    def _set(members, state):
        for cell, _, _, own in members:
            if own:
                cell.state = state

"""Sets of inputs, one for each element of a variable: as sorted lists where they are few among many, as bits where inputs are few.

Both classes answer the same calls: ``identity``, ``take``, ``joined``, ``mapped``, ``full``, ``nothing``, ``entries``.
"""

import numpy as np

#: More entries than this are not held at once: the caller takes fewer inputs at a time.
MOST_ENTRIES = 1 << 26
#: The largest table of bits.
MOST_BITS = 1 << 24
#: Entries are sorted as numbers that hold the row above the column.
SHIFT = 32
MASK = (1 << SHIFT) - 1
WORD = 64


class TooManyEntriesError(Exception):
    """Sets exceed the limit."""


class Sets:
    """What both have alike."""

    __slots__ = ()

    def mapped(self, rows, columns, size):
        """A variable of ``size`` elements; those numbered ``rows`` depend on the elements ``columns`` of this one."""
        p = self if len(columns) == len(self) and np.array_equal(columns, np.arange(len(self))) else self.take(columns)
        return p.placed(rows, size) if np.all(rows[1:] > rows[:-1]) else p.merged(rows, size)


class Lists(Sets):
    """Element i depends on the inputs ``columns[start[i]:start[i + 1]]``, ascending."""

    __slots__ = ("columns", "start")

    def __init__(self, start, columns):
        self.start, self.columns = start, columns

    def __len__(self):
        return len(self.start) - 1

    @classmethod
    def identity(cls, numbers, n):
        """Elements that are inputs, by number; those outside 0 ... n - 1 depend on nothing."""
        inside = (numbers >= 0) & (numbers < n)
        return cls(_starts(inside.astype(np.int64)), numbers[inside])

    def take(self, at):
        """The elements of the given numbers."""
        if len(self.columns) == len(self) and np.all(np.diff(self.start) == 1):
            return Lists(np.arange(len(at) + 1), self.columns[at])
        first = self.start[at]
        lengths = self.start[at + 1] - first
        start = _starts(lengths)
        if start[-1] > MOST_ENTRIES:
            raise TooManyEntriesError
        return Lists(start, self.columns[np.arange(start[-1]) + np.repeat(first - start[:-1], lengths)])

    def placed(self, rows, size):
        """A variable whose elements ``rows``, ascending, are these; the others depend on nothing."""
        if len(rows) == size:
            return self
        lengths = np.zeros(size, np.int64)
        lengths[rows] = np.diff(self.start)
        return Lists(_starts(lengths), self.columns)

    def merged(self, rows, size):
        """A variable whose element i is the union of these where ``rows`` is i."""
        return from_keys(self.keys(rows), size)

    @staticmethod
    def joined(parts):
        """Union, element by element."""
        at = np.arange(len(parts[0]))
        return from_keys(np.concatenate([p.keys(at) for p in parts]), len(at))

    @staticmethod
    def full(parts, size):
        """Each element depends on all that any element of any part depends on."""
        union = np.unique(np.concatenate([p.columns for p in parts]))
        if len(union) * size > MOST_ENTRIES:
            raise TooManyEntriesError
        return Lists(np.arange(size + 1) * len(union), np.tile(union, size))

    def nothing(self, size):
        """A variable of the same inputs whose elements depend on none."""
        return Lists(np.zeros(size + 1, np.int64), self.columns[:0])

    def entries(self):
        """Row and column of each entry."""
        return np.repeat(np.arange(len(self)), np.diff(self.start)), self.columns

    def keys(self, rows):
        """Entries as numbers that hold the row, given for each element, above the column."""
        return np.repeat(rows << SHIFT, np.diff(self.start)) | self.columns


def _starts(lengths):
    start = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=start[1:])
    return start


def from_keys(keys, size):
    """Lists from entries given as ``row << 32 | column`` in any order, repeats allowed; the array is used up."""
    if len(keys) > MOST_ENTRIES:
        raise TooManyEntriesError
    if np.any(keys[1:] <= keys[:-1]):
        keys.sort()
        new = keys[1:] != keys[:-1]
        if not new.all():
            keys = keys[np.concatenate([[True], new])]
    start = _starts(np.bincount(keys >> SHIFT, minlength=size))
    keys &= MASK
    return Lists(start, keys)


class Bits(Sets):
    """Element i depends on input j where bit j of row i is set."""

    __slots__ = ("words",)

    def __init__(self, words):
        self.words = words

    def __len__(self):
        return len(self.words)

    @classmethod
    def identity(cls, numbers, n):
        words = np.zeros((len(numbers), -(-n // WORD)), np.uint64)
        at = np.flatnonzero((numbers >= 0) & (numbers < n))
        words[at, numbers[at] // WORD] = np.uint64(1) << (numbers[at] % WORD).astype(np.uint64)
        return cls(words)

    def take(self, at):
        return Bits(self.words[at])

    def placed(self, rows, size):
        if len(rows) == size:
            return self
        words = np.zeros((size, self.words.shape[1]), np.uint64)
        words[rows] = self.words
        return Bits(words)

    def merged(self, rows, size):
        order = np.argsort(rows, kind="stable")
        rows = rows[order]
        first = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]])[:len(rows)])
        words = np.zeros((size, self.words.shape[1]), np.uint64)
        if len(first):
            words[rows[first]] = np.bitwise_or.reduceat(self.words[order], first, axis=0)
        return Bits(words)

    @staticmethod
    def joined(parts):
        words = parts[0].words | parts[1].words
        for p in parts[2:]:
            words |= p.words
        return Bits(words)

    @staticmethod
    def full(parts, size):
        union = np.bitwise_or.reduce([np.bitwise_or.reduce(p.words, axis=0) for p in parts], axis=0)
        return Bits(np.broadcast_to(union, (size, len(union))))

    def nothing(self, size):
        return Bits(np.zeros((size, self.words.shape[1]), np.uint64))

    def entries(self):
        rows, words = np.nonzero(self.words)
        bits = np.unpackbits(np.ascontiguousarray(self.words[rows, words], "<u8").view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
        which, bit = np.nonzero(bits)
        return rows[which], words[which] * WORD + bit


def fitting(n, sizes):
    """The class for variables of the given sizes over ``n`` inputs: bits where the largest is small as a table of bits."""
    return Bits if n * max(sizes, default=0) <= MOST_BITS else Lists


__all__ = ["SHIFT", "Bits", "Lists", "TooManyEntriesError", "fitting", "from_keys"]

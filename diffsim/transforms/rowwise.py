"""Sets of inputs of arrays that are computed row by row: the lists of a few arrays, and which rows of these each row joins.

What a program does with its observations, cells or members one by one joins the same sets again and again: nine unions of 860,000
entries for a projection of 32,000 points.  Here an element of row i is the union of elements of row i of some *sources*, which stand in
a small table, the same for all rows; unions are formed once, when a map mixes the rows, or at the end.  Maps are looked at: one that
does the same with every row changes the table alone.
"""

import numpy as np

from .dependence import Lists, from_keys

#: Rows of more elements than this, or of more sources, are not held as tables.
WIDEST, MOST_SOURCES = 24, 96


class Rowwise:
    """Element ``i * width + k`` depends on all that the elements of row i of the sources in ``table[k]`` depend on.

    Parameters
    ----------
    n : int
        Rows.
    table : ndarray of bool, shape (width, number of sources)
    sources : list of (Lists, int, int)
        Lists, and the elements ``offset + stride * i`` of them: stride, offset.
    """

    __slots__ = ("_whole", "n", "sources", "table")

    def __init__(self, n, table, sources, whole=None):
        self.n, self.table, self.sources, self._whole = n, table, sources, whole

    @classmethod
    def of(cls, lists, n=None):
        """Lists in n rows; each element is a row if that is not said."""
        n = len(lists) if n is None else n
        width = len(lists) // n if n else 1
        return cls(n, np.eye(width, dtype=bool), [(lists, width, k) for k in range(width)], lists)

    @classmethod
    def identity(cls, numbers, n):
        """As for ``Lists``."""
        return cls.of(Lists.identity(numbers, n))

    def __len__(self):
        return self.n * len(self.table)

    @property
    def whole(self):
        """The same sets as lists."""
        if self._whole is None:
            at, taken, keys = np.arange(self.n), {}, []
            for k, row in enumerate(self.table):
                for j in np.flatnonzero(row):
                    lists, stride, offset = self.sources[j]
                    if j not in taken:
                        taken[j] = lists if (stride, offset) == (1, 0) else lists.take(offset + stride * at)
                    keys.append(taken[j].keys(at * len(self.table) + k))
            self._whole = taken[0] if len(keys) == 1 and len(self.table) == 1 and 0 in taken else from_keys(
                np.concatenate(keys) if keys else np.zeros(0, np.int64), len(self))
        return self._whole

    def in_rows(self, n):
        """The same sets in fewer rows, if each of them holds several of these and is not too wide; else as they are."""
        if n == self.n or not n or self.n % n or len(self) // n > WIDEST or len(self.sources) * (self.n // n) > MOST_SOURCES:
            return self
        f = self.n // n
        table = np.kron(np.eye(f, dtype=bool), self.table)
        sources = [(lists, f * stride, j * stride + offset) for j in range(f) for lists, stride, offset in self.sources]
        return Rowwise(n, table, sources, self._whole)

    # ------------------------------------------------------------ what sets answer
    def mapped(self, rows, columns, size):
        """Sets of a value of ``size`` elements; those numbered ``rows`` depend on the elements ``columns`` of this one."""
        small = _same_in_rows(rows, columns, self.n, size, len(self.table))
        if small is None:
            return Rowwise.of(self.whole.mapped(rows, columns, size))
        table = np.zeros((size // self.n, len(self.sources)), bool)
        np.logical_or.at(table, small[0], self.table[small[1]])
        used = table.any(axis=0)
        return Rowwise(self.n, table[:, used], [s for s, on in zip(self.sources, used, strict=True) if on])

    def take(self, at):
        """The elements of the given numbers."""
        return self.mapped(np.arange(len(at)), at, len(at))

    @staticmethod
    def joined(parts):
        """Union, element by element."""
        n = min(p.n for p in parts)
        parts = [p.in_rows(n) for p in parts]
        if any(p.n != n for p in parts) or len({s for p in parts for s in p.sources}) > MOST_SOURCES:
            return Rowwise.of(Lists.joined([p.whole for p in parts]))
        number = {}
        for s in (s for p in parts for s in p.sources):
            number.setdefault(s, len(number))
        table = np.zeros((len(parts[0].table), len(number)), bool)
        for p in parts:
            table[:, [number[s] for s in p.sources]] |= p.table
        return Rowwise(n, table, list(number))

    @staticmethod
    def full(parts, size):
        """Each element depends on all that any element of any part depends on."""
        return Rowwise.of(Lists.full([p.whole for p in parts], size))

    def nothing(self, size):
        """A variable of the same inputs whose elements depend on none."""
        return Rowwise(size, np.zeros((1, 0), bool), [])

    def entries(self):
        """Row and column of each entry."""
        return self.whole.entries()


def _same_in_rows(rows, columns, n, size, width):
    """The map ``(rows, columns)`` within a row, if it is the same in each of n rows of ``width`` elements; else None."""
    if not n or size % n or len(rows) % n or size // n > WIDEST:
        return None
    at = np.arange(n)[:, None]
    to, of = rows.reshape(n, -1), columns.reshape(n, -1)
    first = to[0].copy(), of[0].copy()
    if len(rows) and (first[0].max() >= size // n or first[1].max() >= width):
        return None
    same = np.array_equal(to, first[0] + at * (size // n)) and np.array_equal(of, first[1] + at * width)
    return first if same else None


__all__ = ["Rowwise"]

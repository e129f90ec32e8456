"""Patterns: which entries of a matrix may differ from zero, and colourings of them."""

import dataclasses
from functools import cached_property

import numpy as np

from ..errors import InputError, InputTypeError
from . import picture
from .columns import colour_columns, compressed, split_rows
from .orders import lists
from .symmetric import Substitution, colour_symmetric, star_columns

#: Cost of a pull in pushes: from 0.9 to 3 in the programs of benchmarks/sparse.py.
PULL_COST = 1.5
JACOBIAN_MODES, HESSIAN_MODES = ("fwd", "rev", "mixed"), ("star", "acyclic")


@dataclasses.dataclass(frozen=True, eq=False)
class Colouring:
    """Groups of columns and rows that are differentiated at once, and where each entry is found in the results.

    Attributes
    ----------
    mode : {"fwd", "rev", "mixed", "star", "acyclic"}
    columns : ndarray of int, shape (n_columns,)
        Colour of each column, -1 where it is not pushed.
    rows : ndarray of int, shape (n_rows,)
        Colour of each row, -1 where it is not pulled.
    n_forward, n_reverse : int
        Numbers of pushes and of pulls.
    at : ndarray of int, shape (nnz,) or, for "acyclic", (number of unknowns,)
        Positions in the pushes, then the pulls, laid end to end.
    substitution : Substitution or None
        What remains to be done for "acyclic".
    """

    mode: str
    columns: np.ndarray
    rows: np.ndarray
    n_forward: int
    n_reverse: int
    at: np.ndarray
    substitution: object = None

    @property
    def n_colours(self):
        """Number of directional derivatives."""
        return self.n_forward + self.n_reverse

    def __repr__(self):
        each = [f"{n} {word}" for n, word in ((self.n_forward, "forward"), (self.n_reverse, "reverse")) if n]
        return f"<colouring {self.mode}: {' + '.join(each) or 'nothing to evaluate'}>"


class Pattern:
    """Structural nonzeros of a Jacobian or Hessian, row by row.

    Parameters
    ----------
    shape : (int, int)
    rows, cols : array_like of int
        Positions of the entries, in any order; repeats count once.
    symmetric : bool
        The matrix is symmetric (a Hessian), whatever its point: colourings may use it.
    path : str, optional
        Fingerprint of the program the pattern was found on.

    Raises
    ------
    InputError
        Positions outside the shape; a symmetric pattern that is not.

    Notes
    -----
    ``pattern | other`` joins two patterns, ``pattern <= other`` says whether the other covers it, and :meth:`of` makes one of a matrix.

    >>> import numpy as np
    >>> p = Pattern((3, 3), [0, 1, 1, 2], [0, 0, 1, 2])
    >>> p.nnz, p.colouring("fwd").n_colours
    (4, 2)
    """

    def __init__(self, shape, rows, cols, symmetric=False, path=None):
        self.shape = (int(shape[0]), int(shape[1]))
        rows, cols = (np.asarray(x).ravel() for x in (rows, cols))
        if any(x.dtype.kind not in "iu" and x.size for x in (rows, cols)):
            raise InputTypeError(f"Pattern: rows and cols are arrays of integers, not of {rows.dtype} and {cols.dtype}")
        if rows.shape != cols.shape:
            raise InputError(f"Pattern: {rows.size} rows but {cols.size} columns; each entry takes one of both")
        for x, n, word in ((rows, self.shape[0], "row"), (cols, self.shape[1], "column")):
            if x.size and not (x.min() >= 0 and x.max() < n):
                raise InputError(f"Pattern: {word}s run from 0 to {n - 1} in shape {self.shape}; got {x.min()} to {x.max()}")
        keys = rows.astype(np.int64)                         # a copy; what is large is not copied twice
        keys *= self.shape[1]
        keys += cols.astype(np.int64, copy=False)
        if np.all(keys[1:] > keys[:-1]):
            self.rows, self.cols = rows.astype(np.int64), cols.astype(np.int64)
        else:
            keys = np.unique(keys)
            self.rows, self.cols = np.divmod(keys, max(self.shape[1], 1))
        self.symmetric, self.path = bool(symmetric), path
        self._colourings = {}
        if self.symmetric and not self._is_symmetric(keys):
            raise InputError("Pattern: symmetric=True, but an entry's mirror image is missing (or the matrix is not square)")

    def _is_symmetric(self, keys):
        return self.shape[0] == self.shape[1] and np.array_equal(np.sort(self.cols * self.shape[1] + self.rows), keys)

    @classmethod
    def of(cls, matrix, symmetric=False):
        """The pattern of a matrix: of what a SciPy sparse one stores, of the nonzeros of an array; a Pattern as it is."""
        if isinstance(matrix, cls):
            return matrix
        if hasattr(matrix, "tocoo"):
            coo = matrix.tocoo()
            return cls(coo.shape, coo.row, coo.col, symmetric)
        array = np.asarray(matrix)
        if array.ndim != 2 or array.dtype.kind not in "biufc":
            raise InputTypeError(f"Pattern.of: a pattern is a Pattern, a SciPy sparse matrix or a 2-d array, not a {type(matrix).__name__}")
        return cls(array.shape, *np.nonzero(array), symmetric)

    @property
    def nnz(self):
        """Number of entries."""
        return len(self.rows)

    @cached_property
    def indptr(self):
        """Where each row starts among the entries; with ``cols``, what ``scipy.sparse.csr_array`` takes."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.rows, minlength=self.shape[0]))])

    def csr(self, data=None):
        """The matrix with the given entries (ones by default), as ``scipy.sparse.csr_array``."""
        from scipy.sparse import csr_array  # noqa: PLC0415  (import diffsim stays light)
        data = np.ones(self.nnz, bool) if data is None else data
        return csr_array((data, self.cols.copy(), self.indptr.copy()), shape=self.shape)

    # ------------------------------------------------------------ colourings
    @property
    def modes(self):
        """Ways to compress it."""
        return HESSIAN_MODES if self.symmetric else JACOBIAN_MODES

    @property
    def n_colours(self):
        """Number of directional derivatives each way of compressing takes, as a dictionary."""
        return {mode: self.colouring(mode).n_colours for mode in self.modes}

    def colouring(self, mode="auto", pull_cost=PULL_COST):
        """The colouring of a mode; "auto" is the cheapest (for a symmetric pattern "star").

        Parameters
        ----------
        mode : {"auto", "fwd", "rev", "mixed", "star", "acyclic"}
        pull_cost : float
            What a pull costs in pushes.

        Raises
        ------
        InputError
            No such mode; "star" or "acyclic" of a pattern that is not symmetric.
        """
        if mode == "auto":
            return self._cheapest(pull_cost)
        if mode not in JACOBIAN_MODES + HESSIAN_MODES:
            raise InputError(f"colouring: mode is one of auto, {', '.join(JACOBIAN_MODES + HESSIAN_MODES)}, not {mode!r}")
        if mode in HESSIAN_MODES and not self.symmetric:
            raise InputError(f"colouring: {mode!r} is for symmetric patterns (Hessians); use one of {', '.join(JACOBIAN_MODES)}")
        key = (mode, pull_cost) if mode == "mixed" else mode
        if key not in self._colourings:
            self._colourings[key] = self._symmetric(mode) if mode in HESSIAN_MODES else self._one_way(mode, pull_cost)
        return self._colourings[key]

    def _cheapest(self, pull_cost):
        if self.symmetric:
            return self.colouring("star")
        return min(self._one_sided(pull_cost), self.colouring("mixed", pull_cost), key=lambda c: _cost(c, pull_cost))

    def _one_sided(self, pull_cost):
        """The cheaper of pushes alone and pulls alone; the longest row and column tell where one of them need not be tried."""
        longest_row = int(np.diff(self.indptr).max(initial=0))
        longest_column = int(np.bincount(self.cols, minlength=1).max(initial=0))
        modes = ["fwd", "rev"] if longest_row <= pull_cost * longest_column else ["rev", "fwd"]
        tried = [self.colouring(modes[0])]
        bound = pull_cost * longest_column if modes[1] == "rev" else longest_row
        if bound < _cost(tried[0], pull_cost):
            tried.append(self.colouring(modes[1]))
        return min(tried, key=lambda c: _cost(c, pull_cost))

    @cached_property
    def _compressed(self):
        """By rows and by columns."""
        return (self.indptr, self.cols), compressed(self.cols, self.rows, self.shape[1])

    def _one_way(self, mode, pull_cost):
        by_row, by_column = self._compressed
        none = np.full(self.shape[0], -1), np.full(self.shape[1], -1)
        if mode == "fwd":
            return self._direct(mode, none[0], colour_columns(by_row, by_column))
        if mode == "rev":
            return self._direct(mode, colour_columns(by_column, by_row), none[1])
        best = dataclasses.replace(self._one_sided(pull_cost), mode="mixed")
        split = split_rows(by_row, self.shape, pull_cost, _cost(best, pull_cost))
        if split is not None:
            best = self._direct("mixed", *split, split[0][self.rows] >= 0)
        split = split_rows(by_column, self.shape[::-1], 1 / pull_cost, _cost(best, pull_cost) / pull_cost)
        return best if split is None else self._direct("mixed", *split[::-1], split[0][self.cols] < 0)

    def _direct(self, mode, row_colours, column_colours, pulled=None):
        """Entries marked ``pulled`` are read off the pull of their row, others off the push of their column.

        If that is not said, mode "rev" pulls all and mode "fwd" pushes all.
        """
        m, n = self.shape
        n_forward, n_reverse = int(column_colours.max(initial=-1)) + 1, int(row_colours.max(initial=-1)) + 1
        at = None if mode == "rev" else column_colours[self.cols] * m + self.rows
        if mode != "fwd":
            pulls = n_forward * m + row_colours[self.rows] * n + self.cols
            at = pulls if at is None else np.where(pulled, pulls, at)
        return Colouring(mode, column_colours, row_colours, n_forward, n_reverse, at)

    def _symmetric(self, mode):
        n = self.shape[0]
        off = self.rows != self.cols
        ptr = np.concatenate([[0], np.cumsum(np.bincount(self.rows[off], minlength=n))])
        colours = colour_symmetric(lists(ptr, self.cols[off]), mode)
        rest = Substitution(self.rows, self.cols, colours) if mode == "acyclic" else None
        seed, row = (rest.seed, rest.row) if rest else star_columns(self.rows, self.cols, colours)
        used = np.unique(seed)                               # a colour from which nothing is read needs no product
        number = np.full(int(colours.max(initial=-1)) + 2, -1)
        number[used] = np.arange(len(used))
        return Colouring(mode, number[colours], np.full(n, -1), len(used), 0, number[seed] * n + row, rest)

    # ------------------------------------------------------------ sets, files, pictures
    def _same_shape(self, other):
        other = Pattern.of(other)
        if other.shape != self.shape:
            raise InputError(f"Pattern: shapes {self.shape} and {other.shape} differ")
        return other

    def __or__(self, other):
        """Entries of either."""
        other = self._same_shape(other)
        return Pattern(self.shape, np.concatenate([self.rows, other.rows]), np.concatenate([self.cols, other.cols]),
                       self.symmetric and other.symmetric)

    def __le__(self, other):
        """Whether the other has every entry of this one."""
        other = self._same_shape(other)
        n = self.shape[1]
        return bool(np.isin(self.rows * n + self.cols, other.rows * n + other.cols, assume_unique=True).all())

    def __eq__(self, other):
        return isinstance(other, Pattern) and self.shape == other.shape and self.symmetric == other.symmetric \
            and np.array_equal(self.rows, other.rows) and np.array_equal(self.cols, other.cols)

    __hash__ = object.__hash__

    def save(self, file):
        """Write it to a file of NumPy's format (``.npz``)."""
        np.savez_compressed(file, shape=self.shape, rows=self.rows, cols=self.cols, symmetric=self.symmetric, path=self.path or "")

    @classmethod
    def load(cls, file):
        """Read what :meth:`save` wrote."""
        with np.load(file, allow_pickle=False) as z:
            return cls(z["shape"], z["rows"], z["cols"], bool(z["symmetric"]), str(z["path"]) or None)

    def plot(self, ax=None, mode="auto"):
        """Draw the entries, each in the colour of the derivative it is read from, with the colours of columns and rows along the edges.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure otherwise.
        mode : str
            Which colouring; see :meth:`colouring`.

        Returns
        -------
        matplotlib Axes
        """
        return picture.draw(self, self.colouring(mode), ax)

    def __repr__(self):
        kind = "symmetric pattern" if self.symmetric else "pattern"
        known = ", ".join(f"{c.mode} {c.n_colours}" for c in self._colourings.values())
        return f"<{kind} {self.shape[0]} x {self.shape[1]}, {self.nnz} nonzeros{'; colours: ' + known if known else ''}>"

    def _repr_html_(self):
        return picture.html(self, self.colouring())


def _cost(colouring, pull_cost):
    return colouring.n_forward + pull_cost * colouring.n_reverse


__all__ = ["Colouring", "Pattern"]

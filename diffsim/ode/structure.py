"""How the matrices M - scale J of a system are stored and factorised: found once, before a solve, from where they may differ from zero."""

import numpy as np

from . import lu

#: Up to this many states a matrix is full: loops over it have counts the compiler knows and unrolls.
SMALL = 8
#: A band of at most this many diagonals beside the main one is narrow: its solves wait for one product after the other.
NARROWEST = 12


class Plan:
    """The plan of one pattern: what ``lu.py`` is told, as one vector of integers, and the sizes of its work.

    Parameters
    ----------
    n : int
    rows, columns : ndarray of int, shape (nnz,)
        Where J may differ from zero, no place twice.
    mass : Mass, optional
        M; the identity if not given.

    Attributes
    ----------
    numbers : ndarray of int
        The plan.
    mass : ndarray
        Entries of M, then of what completes it to a regular matrix.
    size : int
        Numbers in W's vector.
    place : ndarray of int, shape (n,)
        Rows and columns are renumbered by it.
    kl, ku : int
        Half-widths of the band that the renumbered entries lie in.
    """

    def __init__(self, n, rows, columns, mass=None):
        mass = mass or Mass.identity(n)
        all_rows, all_columns = np.concatenate([rows, mass.rows]), np.concatenate([columns, mass.columns])
        self.place = narrow(n, all_rows, all_columns) if n > SMALL else np.arange(n)
        gap = self.place[all_rows] - self.place[all_columns]
        self.kl, self.ku = (int(max(gap.max(initial=0), 0)), int(max(-gap.min(initial=0), 0))) if n > SMALL else (n - 1, n - 1)
        height = 2 * self.kl + self.ku + 1
        stride, shift = (height - 1, self.kl + self.ku) if height < n else (n, 0)
        self.size = n * height if height < n else n * n
        header = {lu.KIND: lu.BANDED, lu.STRIDE: stride, lu.SHIFT: shift, lu.KL: self.kl, lu.KU: self.ku,
                  lu.NARROW: int(n > SMALL and self.kl + self.ku <= NARROWEST)}
        self.numbers = _laid_out(header, self.place, (rows, columns), mass, lambda i, j: j * stride + i + shift)
        self.mass = mass.values


class Mass:
    """A constant mass matrix by its entries, and entries that complete it to a regular matrix where it is singular.

    Parameters
    ----------
    rows, columns : ndarray of int, shape (m + f,)
    values : ndarray, shape (m + f,)
        Entries of M, then fillers.
    fillers : int
        f.
    plain : bool
        Whether M is the identity.
    """

    def __init__(self, rows, columns, values, fillers=0, plain=False):
        self.rows, self.columns, self.values, self.fillers, self.plain = rows, columns, values, fillers, plain

    @staticmethod
    def identity(n):
        return Mass(np.arange(n), np.arange(n), np.ones(n), plain=True)


def _laid_out(header, place, entries, mass, at):
    """The plan: the header, then lists, each where the header says it begins."""
    rows, columns = entries
    header |= {lu.MASSES: len(mass.rows) - mass.fillers, lu.FILLERS: mass.fillers, lu.PLAIN: int(mass.plain)}
    lists = {
        lu.PLACE: place, lu.JACOBIAN_AT: at(place[rows], place[columns]), lu.MASS_AT: at(place[mass.rows], place[mass.columns]),
        lu.MASS_ROWS: [] if mass.plain else mass.rows, lu.MASS_COLUMNS: [] if mass.plain else mass.columns,
    }  # fmt: skip
    start = lu.HEADER
    for name, numbers in lists.items():
        header[name] = start
        start += len(numbers)
    return np.concatenate([[header[i] for i in range(lu.HEADER)], *lists.values()]).astype(np.int64)


def narrow(n, rows, columns):
    """Place of each component that makes a band narrow: reverse Cuthill-McKee order of the symmetrised pattern, if it helps."""
    from scipy.sparse import coo_matrix  # noqa: PLC0415  (import diffsim stays light)
    from scipy.sparse.csgraph import reverse_cuthill_mckee  # noqa: PLC0415

    ones = np.ones(2 * len(rows))
    matrix = coo_matrix((ones, (np.concatenate([rows, columns]), np.concatenate([columns, rows]))), (n, n)).tocsr()
    order = reverse_cuthill_mckee(matrix, symmetric_mode=True)
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    return min((np.arange(n), place), key=lambda q: np.abs(q[rows] - q[columns]).max(initial=0))

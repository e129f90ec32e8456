"""How the matrices M - scale J of a system are stored and factorised: found once, before a solve, from where they may differ from zero.

Full matrices, bands and sparse factors are weighed by counted operations: one factorisation and as many solves as a step has stages.
GMRES, which is asked for, takes the same lists as sparse factors with fewer of them.

Sources: George & Liu, Computer Solution of Large Sparse Positive Definite Systems, 1981 (orders, fill); Davis, Direct Methods for Sparse
Linear Systems, SIAM 2006, chapter 4 (elimination trees).
"""

import numpy as np

from diffsim.errors import InputError

from . import plan as header

#: Up to this many states a matrix is full: loops over it have counts the compiler knows and unrolls.
SMALL = 8
#: A band of at most this many diagonals beside the main one is narrow: its solves wait for one product after the other.
NARROWEST = 12
#: Cycles of one product: of long columns, and the start of each; of a narrow band; of entries found by their columns (measured: 3.6 to
#: 5 in factorisations of 200 to 1024 random and grid equations, 3 in solves).
LONG, COLUMN, WAITING, FOUND = 0.5, 8.0, 4.0, 4.0
#: Solves for each factorisation.
SOLVES = 10
#: Up to this many rows fill is counted row by row and needs no symmetric pattern.
EXACT = 500
#: Turns after which GMRES starts again: where it is asked for, and where it helps out sparse factors.
RESTART, HELPING = 40, 20


#: Fewer solves than this are not iterated for the sake of a factorisation.
FEWEST = 8


class Plan:
    """The plan of one pattern: what ``lu.py`` is told, as one vector of integers, and the sizes of its work.

    Parameters
    ----------
    n : int
    rows, columns : ndarray of int, shape (nnz,)
        Where J may differ from zero, no place twice.
    mass : Mass, optional
        M; the identity if not given.
    solver : {"auto", "dense", "banded", "sparse", "gmres", "gmres jacobi"}

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
    kind : {"dense", "banded", "sparse", "gmres", "gmres jacobi"}
    kl, ku : int
        Half-widths of the band that the renumbered entries lie in.
    fill : int
        Entries of the factors, if they are sparse.
    """

    def __init__(self, n, rows, columns, mass=None, solver="auto"):
        mass = mass or Mass.identity(n)
        entries = np.concatenate([rows, mass.rows]), np.concatenate([columns, mass.columns])
        self.mass, self.fill = mass.values, 0
        layouts = [_layout(kind, n, *entries, mass) for kind in _kinds(n, solver, mass)]
        best = min((x for x in layouts if x is not None), key=lambda x: x.cost, default=None)
        if best is None:
            raise InputError(f"solve_ivp: linear_solver={solver!r} is not for this problem: some component's equation has neither that "
                             f"component nor a derivative of it; use 'banded' or 'auto'")
        self.kind, self.place, self.size, self.kl, self.ku = best.kind, best.place, best.size, best.kl, best.ku
        self.fill = best.fill
        self.numbers = _laid_out(best, (rows, columns), mass)


def _kinds(n, solver, mass):
    if solver != "auto":
        return (solver,)
    return ("dense",) if n <= SMALL else ("dense", "banded") if mass.fillers else ("dense", "banded", "sparse")


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


# ---------------------------------------------------------------- layouts
class _Layout:
    """One way to store W: its kind, renumbering, size, cost in cycles; header entries; extra lists; where an entry is."""

    def __init__(self, kind, place, size, costs, numbers, at, lists=None, band=(0, 0)):
        self.kind, self.place, self.size, self.numbers, self.at = kind, place, size, numbers, at
        factorising, solving = costs
        self.cost, self.budget = factorising + SOLVES * solving, int(factorising / solving)
        self.lists, self.fill = lists or {}, 0
        self.kl, self.ku = band


def _layout(kind, n, rows, columns, mass):
    return {"dense": _dense, "banded": _banded, "sparse": _sparse, "gmres": _incomplete, "gmres jacobi": _diagonal}[kind](
        n, rows, columns, mass)


def _dense(n, rows, columns, mass):
    numbers = {header.KIND: header.BANDED, header.FORMED: n * n, header.STRIDE: n, header.SHIFT: 0, header.KL: n - 1, header.KU: n - 1,
               header.NARROW: 0}  # fmt: skip
    return _Layout("dense", np.arange(n), n * n, _with_interchanges(n, n - 1, n - 1), numbers, lambda i, j: j * n + i, band=(n - 1, n - 1))


def _banded(n, rows, columns, mass):
    place = narrow(n, rows, columns)
    gap = place[rows] - place[columns]
    kl, ku = int(max(gap.max(initial=0), 0)), int(max(-gap.min(initial=0), 0))
    is_narrow, height = kl + ku <= NARROWEST, 2 * kl + ku + 1
    if is_narrow:
        costs = n * kl * (ku + 2) * WAITING, n * 4 * WAITING
    else:
        costs = _with_interchanges(n, kl, ku)
    stride, shift = height - 1, kl + ku
    numbers = {header.KIND: header.BANDED, header.FORMED: n * height, header.STRIDE: stride, header.SHIFT: shift, header.KL: kl,
               header.KU: ku, header.NARROW: int(is_narrow)}  # fmt: skip
    return _Layout("banded", place, n * height, costs, numbers, lambda i, j: j * stride + i + shift, band=(kl, ku))


def _with_interchanges(n, kl, ku):
    """Costs of the factors of a band of long columns, and of a solve with them."""
    after = np.arange(n)                                  # columns to the right of each, and rows below it
    below, right = np.minimum(after, kl), np.minimum(after, kl + ku)
    return float(right @ (below * LONG + COLUMN)), float(np.sum(below + right)) * LONG + 2 * n * COLUMN


def _sparse(n, rows, columns, mass):
    rows, columns = _with_diagonal(n, rows, columns, mass)
    if rows is None:
        return None
    place = sparing(n, rows, columns)
    starts, diagonals, found = fill(n, place[rows], place[columns])
    below, above = np.bincount(found[found < _rows(starts)], minlength=n), starts[1:] - diagonals - 1
    costs = float(below @ above) * FOUND + (len(found) + 10 * n) * COLUMN, len(found) * FOUND + 2 * n * COLUMN
    return _by_rows("sparse", n, (place[rows], place[columns]), place, (starts, diagonals, found), costs, HELPING)


def _incomplete(n, rows, columns, mass):
    """Factors without fill, in the order of a narrow band."""
    rows, columns = _with_diagonal(n, rows, columns, mass)
    if rows is None:
        return None
    place = narrow(n, rows, columns)
    own = _sorted_rows(n, place[rows], place[columns])
    return _by_rows("gmres", n, (place[rows], place[columns]), place, own, _iterated(len(own[2]), n), RESTART)


def _diagonal(n, rows, columns, mass):
    """The diagonal alone as factors."""
    rows, columns = _with_diagonal(n, rows, columns, mass)
    if rows is None:
        return None
    every = np.arange(n)
    return _by_rows("gmres jacobi", n, (rows, columns), every, (np.arange(n + 1), every, every), _iterated(len(rows), n), RESTART)


def _iterated(entries, n):
    """Costs of incomplete factors and of an iteration with them."""
    return entries * FOUND * 4, (entries * FOUND * 2 + n * RESTART * LONG) * RESTART / 2


def _with_diagonal(n, rows, columns, mass):
    """Entries with all of the diagonal; none if M is singular and a component's equation has neither it nor a derivative of it."""
    if mass.fillers and not _diagonal_present(n, rows[:len(rows) - mass.fillers], columns[:len(rows) - mass.fillers]):
        return None, None
    return np.concatenate([rows, np.arange(n)]), np.concatenate([columns, np.arange(n)])


def _rows(starts):
    """Row of each entry."""
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


def _sorted_rows(n, rows, columns):
    """Entries row by row, each once: where each row begins, where its diagonal entry is, columns."""
    key = np.unique(rows * n + columns)
    starts = np.searchsorted(key, np.arange(n + 1) * n)
    return starts, np.searchsorted(key, np.arange(n) * (n + 1)), key % n


def _by_rows(kind, n, entries, place, factors, costs, restart):
    """The layout of ``sparse_lu.py``: W's entries, its factors, a row of work, the memory of ``krylov.py``."""
    own, (starts, diagonals, found) = _sorted_rows(n, *entries), factors
    key, kept = _rows(own[0]) * n + own[2], _rows(starts) * n + found
    into = np.minimum(np.searchsorted(kept, key), len(kept) - 1)
    own_count, memory, restart = len(key), len(key) + len(found) + n, max(min(n, restart), 1)
    numbers = dict.fromkeys((header.STRIDE, header.SHIFT, header.KL, header.KU, header.NARROW), 0) | {
        header.KIND: header.SPARSE, header.FORMED: own_count, header.KRYLOV: memory, header.RESTART: restart,
        header.INCOMPLETE: int(kind != "sparse"),
    }  # fmt: skip
    lists = {
        header.ROWS: starts + own_count, header.DIAGONALS: diagonals + own_count, header.COLUMNS: found, header.OWN_ROWS: own[0],
        header.OWN_COLUMNS: own[2], header.INTO: np.where(kept[into] == key, into + own_count, -1),
    }  # fmt: skip
    size = memory + (restart + 3) * n + (restart + 1) * restart + 3 * restart + 1

    def at(i, j):
        return np.searchsorted(key, i * n + j)
    layout = _Layout(kind, place, size, costs, numbers, at, lists)
    layout.fill = len(found)
    return layout


def _diagonal_present(n, rows, columns):
    return len(np.unique(rows[rows == columns])) == n


def _laid_out(layout, entries, mass):
    """The plan: the header, then lists, each where the header says it begins."""
    place, at, (rows, columns) = layout.place, layout.at, entries
    numbers = layout.numbers | {
        header.RATIO: layout.budget, header.BUDGET: layout.budget if layout.budget >= FEWEST and len(place) > SMALL else 0,
        header.MASSES: len(mass.rows) - mass.fillers, header.FILLERS: mass.fillers, header.PLAIN: int(mass.plain),
    }  # fmt: skip
    lists = {
        header.PLACE: place, header.JACOBIAN_AT: at(place[rows], place[columns]),
        header.MASS_AT: at(place[mass.rows], place[mass.columns]), header.MASS_ROWS: [] if mass.plain else mass.rows,
        header.MASS_COLUMNS: [] if mass.plain else mass.columns,
    } | layout.lists  # fmt: skip
    start = header.HEADER
    for name, x in lists.items():
        numbers[name] = start
        start += len(x)
    if layout.lists:
        numbers[header.COLUMNS] -= numbers[header.FORMED]  # entry e of the factors lies at FORMED + e
    return np.concatenate([[numbers.get(i, 0) for i in range(header.HEADER)], *lists.values()]).astype(np.int64)


# ---------------------------------------------------------------- orders and fill
def _symmetrised(n, rows, columns):
    from scipy.sparse import coo_matrix  # noqa: PLC0415  (import diffsim stays light)

    both = np.concatenate([rows, columns]), np.concatenate([columns, rows])
    return coo_matrix((np.ones(2 * len(rows)), both), (n, n)).tocsr()


def narrow(n, rows, columns):
    """Place of each component that makes a band narrow: reverse Cuthill-McKee order of the symmetrised pattern, if it helps."""
    from scipy.sparse.csgraph import reverse_cuthill_mckee  # noqa: PLC0415

    order = reverse_cuthill_mckee(_symmetrised(n, rows, columns), symmetric_mode=True)
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    return min((np.arange(n), place), key=lambda q: np.abs(q[rows] - q[columns]).max(initial=0))


def sparing(n, rows, columns):
    """Place of each component that makes little fill: SuperLU's minimum degree order of the symmetrised pattern."""
    from scipy.sparse import identity  # noqa: PLC0415
    from scipy.sparse.linalg import splu  # noqa: PLC0415

    pattern = _symmetrised(n, rows, columns)
    pattern.data[:] = -1.0
    dominant = (pattern + (pattern.getnnz(1).max() + 2.0) * identity(n)).tocsc()
    factors = splu(dominant, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return factors.perm_c.astype(np.int64)


def fill(n, rows, columns):
    """Rows of L and U together: where each begins, where its diagonal entry is, and the columns of all of them, ascending."""
    above = _fill_by_rows(n, rows, columns) if n <= EXACT else _fill_by_tree(n, rows, columns)
    starts = np.concatenate([[0], np.cumsum([len(x) for x in above])])
    found = np.concatenate(above)
    diagonals = starts[:-1] + np.array([np.searchsorted(x, i) for i, x in enumerate(above)])
    return starts.astype(np.int64), diagonals.astype(np.int64), found.astype(np.int64)


def _fill_by_rows(n, rows, columns):
    """Row i of U, and of L, is the pattern's row joined with U's rows k < i that it meets."""
    out, upper = [], []
    for i in range(n):
        row = set(columns[rows == i].tolist()) | {i}
        for k in range(i):
            if k in row:
                row |= upper[k]
        upper.append({j for j in row if j > i})
        out.append(np.array(sorted(row)))
    return out


def _fill_by_tree(n, rows, columns):
    """For the symmetrised pattern: row i of U is the pattern's joined with those of its children in the elimination tree."""
    from scipy.sparse import csr_matrix  # noqa: PLC0415

    pattern = _symmetrised(n, rows, columns)
    upper, children = [], [[] for _ in range(n)]
    for i in range(n):
        row = set(pattern.indices[pattern.indptr[i]:pattern.indptr[i + 1]].tolist())
        row = {j for j in row if j > i}
        for child in children[i]:
            row |= upper[child]
        row.discard(i)
        upper.append(row)
        if row:
            children[min(row)].append(i)
    lengths = [len(x) for x in upper]
    flat = np.fromiter((j for x in upper for j in x), np.int64, sum(lengths))
    half = csr_matrix((np.ones(len(flat)), flat, np.concatenate([[0], np.cumsum(lengths)])), (n, n))
    whole = (half + half.T + csr_matrix((np.ones(n), np.arange(n), np.arange(n + 1)), (n, n))).tocsr()
    whole.sort_indices()
    return np.split(whole.indices, whole.indptr[1:-1])

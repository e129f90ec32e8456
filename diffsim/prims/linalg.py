"""Linear systems: dense, triangular, banded.

Tangents of A x = b: x' = A⁻¹ (b' - A' x) (Giles, Collected matrix derivative results for forward and reverse mode AD, 2008, sec. 2.2.3).
A dense matrix that is about to be differentiated is factorised once; primal, tangents and cotangents share the factors.
"""

import numpy as np

from ..core import Aval, Linear, Primitive, Tracer
from .elementwise import mul, neg, sub, where
from .gather import gather
from .layout import reduce_sum, reshape, spread, transpose, unbroadcast
from .linalg_base import (
    BY_LAPACK,
    batch_leading,
    each_matrix,
    either,
    lapack,
    lower_part,
    per_column,
    product,
    swap,
    upper_part,
    well_conditioned,
)


class Factors:
    """LU factors of matrices, or of their transposes."""

    __slots__ = ("lu", "pivots", "transposed")

    def __init__(self, lu, pivots, transposed=False):
        self.lu, self.pivots, self.transposed = lu, pivots, transposed

    @classmethod
    def of(cls, a):
        """Factors of each matrix of an array.

        Raises
        ------
        numpy.linalg.LinAlgError
            A matrix is singular.
        """
        getrf, = lapack(("getrf",), a)

        def one(m):
            lu, pivots, info = getrf(m)
            if info > 0:
                raise np.linalg.LinAlgError("Singular matrix")
            return lu, pivots
        return cls(*each_matrix(one, (Aval(a.shape, a.dtype), Aval(a.shape[:-1], np.dtype(np.int32))), a))

    @property
    def T(self):                                            # noqa: N802  (NumPy's name)
        return Factors(self.lu, self.pivots, not self.transposed)

    def solve(self, b):
        """Solution for right-hand sides, one matrix of them for each matrix."""
        getrs, = lapack(("getrs",), self.lu, b)
        trans = int(self.transposed)
        return each_matrix(lambda lu, pivots, m: (getrs(lu, pivots, m, trans)[0],), (Aval(b.shape, b.dtype),), self.lu, self.pivots, b)[0]

    def __repr__(self):
        return f"factors of {self.lu.shape}" + (" transposed" if self.transposed else "")


def _known(a):
    """The numbers behind a matrix if differentiation alone stands between, else None."""
    shape = tuple(a.shape)
    while isinstance(a, Tracer):
        a = a.primal
    return a if a.__class__ is np.ndarray and a.shape == shape else None


def _solve_prepare(x, active, params):
    """Factorise once for the value and its derivatives."""
    if active is None or params.get("factors") is not None:
        return params
    a = _known(x[0])
    return params if a is None or a.size == 0 or a.dtype.kind not in "fc" else {"factors": Factors.of(a)}


def _solve_impl(a, b, *, factors=None):
    if factors is not None and a.dtype == b.dtype == factors.lu.dtype:
        return factors.solve(b)
    return np.linalg.solve(a, b)


def _solve_jvp(x, y, x_dot, *, factors=None):
    (a, _), (a_dot, b_dot) = x, x_dot
    if a_dot is None:
        return solve(a, b_dot, factors=factors)
    change = product(a_dot, y)
    return solve(a, neg(change) if b_dot is None else sub(b_dot, change), factors=factors)


def _solve_transpose(y_bar, a, b, *, factors=None):
    if isinstance(a, Linear):
        return None, None
    return None, unbroadcast(solve(swap(a), y_bar, factors=factors and factors.T), b.aval)


def _solve_batch(n, batched, a, b, *, factors=None):
    """Right-hand sides of one matrix become more columns."""
    if batched[0]:
        return solve(*spread(n, batched, (a, b)))
    k = len(b.shape)
    columns = transpose(b, axes=(*range(1, k - 1), 0, k - 1))
    y = solve(a, reshape(columns, shape=(*b.shape[1:-1], n * b.shape[-1])), factors=factors)
    return transpose(reshape(y, shape=tuple(columns.shape)), axes=(k - 2, *range(k - 2), k - 1))


def _solve_samples(rng):
    cases = [((), 3, 1, "f"), ((), 2, 3, "f"), ((2,), 3, 2, "f"), ((), 3, 2, "c")]
    return [((well_conditioned(rng, (*lead, n, n), kind), either(rng, (*lead, n, m), kind)), {}) for lead, n, m, kind in cases]


solve = per_column(Primitive(
    "solve",
    impl=_solve_impl,
    aval=lambda a, b, **params: Aval(b.shape, np.result_type(a.dtype, b.dtype)),
    jvp=_solve_jvp,
    transpose=_solve_transpose,
    batch=_solve_batch,
    emit=BY_LAPACK,
    samples=_solve_samples,
    prepare=_solve_prepare,
))


# ---------------------------------------------------------------- triangular
def _triangle(a, lower, unit):
    """The part of ``a`` that is read."""
    return lower_part(a, -1 if unit else 0) if lower else upper_part(a, 1 if unit else 0)


def _triangular_impl(a, b, *, lower, unit):
    if b.size == 0:
        return np.zeros(b.shape, b.dtype)
    trtrs, = lapack(("trtrs",), a, b)

    def one(m, c):
        y, info = trtrs(m, c, lower=lower, unitdiag=unit)
        if info > 0:
            raise np.linalg.LinAlgError(f"singular matrix: diagonal element {info - 1} of a triangular matrix is zero")
        return (y,)
    return each_matrix(one, (Aval(b.shape, b.dtype),), a, b)[0]


def _triangular_jvp(x, y, x_dot, *, lower, unit):
    (a, _), (a_dot, b_dot) = x, x_dot
    if a_dot is None:
        return triangular_solve(a, b_dot, lower=lower, unit=unit)
    change = product(_triangle(a_dot, lower, unit), y)
    return triangular_solve(a, neg(change) if b_dot is None else sub(b_dot, change), lower=lower, unit=unit)


def _triangular_transpose(y_bar, a, b, *, lower, unit):
    if isinstance(a, Linear):
        return None, None
    return None, triangular_solve(swap(a), y_bar, lower=not lower, unit=unit)


triangular_solve = per_column(batch_leading(Primitive(
    "triangular_solve",                                     # one triangle of the matrix is read; ``unit``: its diagonal counts as ones
    impl=_triangular_impl,
    aval=lambda a, b, **params: b,
    jvp=_triangular_jvp,
    transpose=_triangular_transpose,
    emit=BY_LAPACK,
    samples=lambda rng: [((well_conditioned(rng, (*lead, n, n), kind), either(rng, (*lead, n, m), kind)), {"lower": lower, "unit": unit})
                         for lead, n, m, kind, lower, unit in (((), 3, 2, "f", True, False), ((2,), 2, 1, "f", False, False),
                                                               ((), 3, 1, "f", False, True), ((), 3, 2, "c", True, False))],
)))


# ---------------------------------------------------------------- banded
def _band_at(n, low, up):
    """Where row i of A stands in its band: for band entry r, column i + r - low; which of them are inside; their diagonal rows."""
    column = np.arange(n) + np.arange(low + up + 1)[:, None] - low
    inside = (column >= 0) & (column < n)
    return np.clip(column, 0, n - 1), inside, np.broadcast_to(low + up - np.arange(low + up + 1)[:, None], column.shape)


def _picked(x, *key):
    """Elements of the last two axes, by arrays of positions; leading axes stay."""
    at = np.arange(int(np.prod(x.shape))).reshape(x.shape)[(..., *key)]
    return gather(x, at)


def by_rows(ab, low, up):
    """Band with row i of A in column i: entry r is A[i, i + r - low], zero outside."""
    column, inside, band = _band_at(ab.shape[-1], low, up)
    return where(inside, _picked(ab, band, column), 0.0)


def band_product(ab, x, low, up):
    """A x for a band matrix in LAPACK's storage, ``ab[up + i - j, j] = A[i, j]``."""
    column, _, _ = _band_at(ab.shape[-1], low, up)
    rows = by_rows(ab, low, up)
    terms = mul(reshape(rows, shape=(*rows.shape, 1)), _picked(x, column, slice(None)))
    return reduce_sum(terms, axes=(len(terms.shape) - 3,))


def _banded_impl(ab, b, *, low, up):
    if b.size == 0:
        return np.zeros(b.shape, b.dtype)
    gbsv, = lapack(("gbsv",), ab, b)

    def one(m, c):
        work = np.zeros((2 * low + up + 1, m.shape[-1]), gbsv.dtype)
        work[low:] = m
        _, _, y, info = gbsv(low, up, work, c, overwrite_ab=True)
        if info > 0:
            raise np.linalg.LinAlgError("singular matrix")
        return (y,)
    return each_matrix(one, (Aval(b.shape, b.dtype),), ab, b)[0]


def _banded_jvp(x, y, x_dot, *, low, up):
    (ab, _), (ab_dot, b_dot) = x, x_dot
    if ab_dot is None:
        return banded_solve(ab, b_dot, low=low, up=up)
    change = band_product(ab_dot, y, low, up)
    return banded_solve(ab, neg(change) if b_dot is None else sub(b_dot, change), low=low, up=up)


def _banded_transpose(y_bar, ab, b, *, low, up):
    """The band of Aᵀ is the band of A by rows, upside down: (Aᵀ)[j, i] stands at low + j - i."""
    if isinstance(ab, Linear):
        return None, None
    return None, banded_solve(by_rows(ab, low, up), y_bar, low=up, up=low)


def _banded_samples(rng):
    out = []
    for lead, n, m, kind, low, up in (((), 5, 1, "f", 1, 1), ((), 4, 2, "f", 2, 1), ((2,), 4, 1, "f", 0, 2), ((), 4, 1, "c", 1, 1)):
        ab = either(rng, (*lead, low + up + 1, n), kind)
        ab[..., up, :] += 6
        out.append(((ab, either(rng, (*lead, n, m), kind)), {"low": low, "up": up}))
    return out


banded_solve = per_column(batch_leading(Primitive(
    "banded_solve",                                         # storage of LAPACK: ab[up + i - j, j] = A[i, j]; the rest is not read
    impl=_banded_impl,
    aval=lambda ab, b, **params: b,
    jvp=_banded_jvp,
    transpose=_banded_transpose,
    emit=BY_LAPACK,
    samples=_banded_samples,
)))


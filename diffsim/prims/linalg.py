"""Linear systems: dense, triangular, banded.

Tangents of A x = b: x' = A⁻¹ (b' - A' x) (Giles, Collected matrix derivative results for forward and reverse mode AD, 2008, sec. 2.2.3).
A dense matrix that is about to be differentiated is factorised once; primal, tangents and cotangents share the factors.
"""

import numpy as np

from ..core import REGISTRY, Aval, Const, Eqn, Linear, Primitive, Tracer, Var
from . import lapack
from .elementwise import mul, neg, sub, where
from .gather import gather
from .layout import reduce_sum, reshape, spread, transpose, unbroadcast
from .linalg_base import (
    BY_LAPACK,
    batch_leading,
    coupled,
    each_matrix,
    either,
    lower_part,
    per_column,
    product,
    routines,
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
        getrf, = routines(("getrf",), a)

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
        getrs, = routines(("getrs",), self.lu, b)
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


# ---------------------------------------------------------------- in programs that are compiled
def flipped_of(x, maker):
    """y where x is y with its last two axes exchanged, else None."""
    e, n = maker.get(x), len(x.aval.shape)
    swaps = e is not None and e.prim is transpose and e.params["axes"] == (*range(n - 2), n - 1, n - 2)
    return e.inputs[0] if swaps else None


def _triangular_factor(x, maker):
    """``(matrix, lower, transposed)`` of a value that is known to be triangular by how it was made, else None."""
    below = flipped_of(x, maker)
    if below is not None:
        found = _triangular_factor(below, maker)
        return found and (found[0], found[1], not found[2])
    e = maker.get(x)
    if e is not None and e.prim.name == "cholesky":
        return x, e.params["lower"], False
    if e is not None and e.prim is where and isinstance(e.inputs[0], Const) and isinstance(e.inputs[2], Const):
        mask, _, other = e.inputs
        whole = np.broadcast_to(mask.value, x.aval.shape)
        for lower, kept in ((True, np.tril(whole)), (False, np.triu(whole))):
            if not other.value.any() and (kept == whole).all():
                return x, lower, False
    return None


def _solve_lean(eqn, needed, maker):
    """A system with a triangle is solved as one; systems with one matrix or its transpose share its factors, also with its ``slogdet``."""
    a, b = eqn.inputs
    if eqn.params.get("factors") is not None or not a.aval.dtype == b.aval.dtype == eqn.outputs[0].aval.dtype or a.aval.dtype.kind != "f":
        return None
    found = _triangular_factor(a, maker)
    if found is not None:
        matrix, lower, transposed = found
        how = {"lower": lower, "unit": False, "transposed": transposed, "right": False}
        return [Eqn(triangular_solve, (matrix, b), how, eqn.outputs, eqn.line)], {}
    base = flipped_of(a, maker)
    root = a if base is None else base
    others = (e for e in maker.values() if e is not eqn and (e.prim is solve or e.prim.name in ("lu", "slogdet")))
    if not any(e.inputs[0] is root or flipped_of(e.inputs[0], maker) is root for e in others):
        return None
    packed, pivots = (Var(v) for v in REGISTRY["lu"].aval(root.aval))
    factor = Eqn(REGISTRY["lu"], (root,), {}, (packed, pivots), eqn.line)
    how = {"transposed": base is not None}
    return [factor, Eqn(REGISTRY["factored_solve"], (packed, pivots, b), how, eqn.outputs, eqn.line)], {}


def _triangular_lean(eqn, needed, maker):
    """A transposed triangle is read as it lies."""
    a, b = eqn.inputs
    base = flipped_of(a, maker)
    if base is None:
        return None
    how = {"transposed": False, "right": False, **eqn.params}
    how |= {"lower": not how["lower"], "transposed": not how["transposed"]}
    return [Eqn(triangular_solve, (base, b), how, eqn.outputs, eqn.line)], {}


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
    emit=lapack.solve(BY_LAPACK),
    samples=_solve_samples,
    prepare=_solve_prepare,
    lean=_solve_lean,
))


# ---------------------------------------------------------------- triangular
def _triangle(a, lower, unit):
    """The part of ``a`` that is read."""
    return lower_part(a, -1 if unit else 0) if lower else upper_part(a, 1 if unit else 0)


def _triangular_impl(a, b, *, lower, unit, transposed=False, right=False):
    if b.size == 0:
        return np.zeros(b.shape, b.dtype)
    trtrs, = routines(("trtrs",), a, b)

    def one(m, c):
        y, info = trtrs(m, c.T if right else c, lower=lower, unitdiag=unit, trans=int(transposed != right))
        if info > 0:
            raise np.linalg.LinAlgError(f"singular matrix: diagonal element {info - 1} of a triangular matrix is zero")
        return (y.T if right else y,)
    return each_matrix(one, (Aval(b.shape, b.dtype),), a, b)[0]


def _triangular_jvp(x, y, x_dot, *, lower, unit, transposed=False, right=False):
    (a, _), (a_dot, b_dot) = x, x_dot
    how = {"lower": lower, "unit": unit, "transposed": transposed, "right": right}
    if a_dot is None:
        return triangular_solve(a, b_dot, **how)
    moved = _triangle(a_dot, lower, unit)
    moved = swap(moved) if transposed else moved
    change = product(y, moved) if right else product(moved, y)
    return triangular_solve(a, neg(change) if b_dot is None else sub(b_dot, change), **how)


def _triangular_transpose(y_bar, a, b, *, lower, unit, transposed=False, right=False):
    if isinstance(a, Linear):
        return None, None
    return None, triangular_solve(a, y_bar, lower=lower, unit=unit, transposed=not transposed, right=right)


def _triangular_sparsity(i, a, b, *, right=False, **how):
    """Columns do not mix; from the right, rows."""
    axis = (len(b.shape) - (1 if right else 2),)
    return coupled(tuple(b.shape), axis, tuple(b.shape), axis)


def _triangular_samples(rng):
    cases = (((), 3, 2, "f", True, False, {}), ((2,), 2, 1, "f", False, False, {}), ((), 3, 1, "f", False, True, {"transposed": True}),
             ((), 3, 2, "c", True, False, {}), ((), 3, 2, "f", True, False, {"transposed": True}),
             ((), 3, 2, "c", False, False, {"transposed": True, "right": True}), ((2,), 3, 1, "f", True, True, {"right": True}))
    out = []
    for lead, n, m, kind, lower, unit, more in cases:
        shape = (m, n) if more.get("right") else (n, m)
        how = {"lower": lower, "unit": unit, **more}
        out.append(((well_conditioned(rng, (*lead, n, n), kind), either(rng, (*lead, *shape), kind)), how))
    return out


# op(A) X = B, or X op(A) = B with ``right``, op(A) being Aᵀ with ``transposed``; one triangle of the matrix is read, ``unit``: its
# diagonal counts as ones
triangular_solve = batch_leading(Primitive(
    "triangular_solve",
    impl=_triangular_impl,
    aval=lambda a, b, **params: b,
    jvp=_triangular_jvp,
    transpose=_triangular_transpose,
    sparsity=_triangular_sparsity,
    emit=lapack.triangular(BY_LAPACK),
    samples=_triangular_samples,
    lean=_triangular_lean,
))


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
    gbsv, = routines(("gbsv",), ab, b)

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
    emit=lapack.banded(BY_LAPACK),
    samples=_banded_samples,
)))


"""Factorisations without a spectrum: Cholesky, LU, QR.

A derivative is that of the function LAPACK computes, for any change of the operand: ``cholesky`` reads one triangle, so the cotangent of
its operand stands in that triangle (the Hermitian part of it is the gradient among Hermitian matrices).
"""

import numpy as np

from ..core import Aval, Linear, Primitive
from . import lapack, lapack_cholesky, lapack_spectral
from .complexes import imag, make_complex
from .elementwise import add, equal, mul, neg, sub, where
from .family import NOT_LINEAR, nondifferentiable
from .layout import basic, concatenate, embed, reshape
from .linalg import triangular_solve
from .linalg_base import (
    BY_LAPACK,
    adjoint,
    batch_leading,
    conjugate,
    each_matrix,
    either,
    hermitian_from_lower,
    in_dtype,
    lower_part,
    part,
    per_column,
    positive_definite,
    product,
    routines,
    swap,
    upper_part,
)
from .linalg_gauge import unrotated


# ---------------------------------------------------------------- Cholesky
def _halved(a):
    """Lower triangle with half the diagonal: the operator Phi of Murray (2016)."""
    return sub(lower_part(a), mul(where(np.eye(a.shape[-1], dtype=bool), a, 0.0), 0.5))


def _cholesky_jvp(x, y, x_dot, *, lower):
    """L' = L Phi(L⁻¹ A' L⁻ᴴ) (Murray, Differentiation of the Cholesky decomposition, arXiv:1602.07527, eq. 8)."""
    if not lower:
        return adjoint(_cholesky_jvp((adjoint(x[0]),), adjoint(y), (adjoint(x_dot[0]),), lower=True))
    if y.dtype.kind != "c" and x_dot[0].dtype == y.dtype:
        return cholesky_push(y, x_dot[0])
    inner = triangular_solve(y, hermitian_from_lower(x_dot[0]), lower=True, unit=False)
    inner = triangular_solve(conjugate(y), inner, lower=True, unit=False, transposed=True, right=True)
    return product(y, _halved(inner))


def _inner(factor, a_dot):
    """L⁻¹ A' L⁻ᵀ, of the symmetric matrix in the lower triangle of A'."""
    inner = triangular_solve(factor, hermitian_from_lower(a_dot), lower=True, unit=False)
    return triangular_solve(factor, inner, lower=True, unit=False, transposed=True, right=True)


def _outer(factor, inner):
    """L⁻ᵀ M L⁻¹."""
    outer = triangular_solve(factor, inner, lower=True, unit=False, transposed=True)
    return triangular_solve(factor, outer, lower=True, unit=False, right=True)


def _folded(a):
    """What stands in the upper triangle added to the lower."""
    return add(lower_part(a), lower_part(swap(a), -1))


def _push_jvp(x, y, x_dot):
    """Of L Phi(W), with W' = -(L⁻¹ L') W - W (L⁻¹ L')ᵀ."""
    (factor, a_dot), (factor_dot, a_dot_dot) = x, x_dot
    out = None if a_dot_dot is None else cholesky_push(factor, a_dot_dot)
    if factor_dot is None:
        return out
    factor, factor_dot, inner = lower_part(factor), lower_part(factor_dot), _inner(factor, a_dot)
    change = product(triangular_solve(factor, factor_dot, lower=True, unit=False), inner)
    moved = sub(product(factor_dot, _halved(inner)), product(factor, _halved(add(change, swap(change)))))
    return moved if out is None else add(out, moved)


def _pull_jvp(x, y, x_dot):
    """Of the fold of Z = L⁻ᵀ M L⁻¹, with M = Phi(Lᵀ L̄) and Z' = L⁻ᵀ (M' - L'ᵀ Z L - Lᵀ Z L') L⁻¹."""
    (factor, bar), (factor_dot, bar_dot) = x, x_dot
    out = None if bar_dot is None else cholesky_pull(factor, bar_dot)
    if factor_dot is None:
        return out
    factor, factor_dot, bar = lower_part(factor), lower_part(factor_dot), lower_part(bar)
    z = _outer(factor, _halved(product(swap(factor), bar)))
    change = _halved(product(swap(factor_dot), bar))
    change = sub(sub(change, product(swap(factor_dot), product(z, factor))), product(product(swap(factor), z), factor_dot))
    moved = _folded(_outer(factor, change))
    return moved if out is None else add(out, moved)


def _factor_samples(rng):
    shapes = (((), 3), ((2,), 2), ((), 1), ((), 0))
    return [((np.linalg.cholesky(positive_definite(rng, (*lead, n, n))), either(rng, (*lead, n, n), "f")), {}) for lead, n in shapes]


def _of_factor(impl):
    """A rule of plain arrays by the primitives' own, which reads the lower triangle of the factor; of empty matrices nothing."""
    return lambda factor, a: np.zeros(a.shape, a.dtype) if a.size == 0 else impl(np.tril(factor), a)


# the tangent L' = L Phi(L⁻¹ A' L⁻ᵀ) of the factor L of a real matrix, from the lower triangle of A', and its transpose
cholesky_push = batch_leading(Primitive(
    "cholesky_push",
    impl=_of_factor(lambda factor, a_dot: np.matmul(factor, _halved(_inner(factor, a_dot)))),
    aval=lambda factor, a_dot: a_dot,
    jvp=_push_jvp,
    transpose=lambda bar, factor, a_dot: (None, cholesky_pull(factor, bar) if isinstance(a_dot, Linear) else None),
    emit=lapack_cholesky.push(BY_LAPACK),
    samples=_factor_samples,
))
cholesky_pull = batch_leading(Primitive(
    "cholesky_pull",
    impl=_of_factor(lambda factor, bar: _folded(_outer(factor, _halved(np.matmul(np.swapaxes(factor, -1, -2), lower_part(bar)))))),
    aval=lambda factor, bar: bar,
    jvp=_pull_jvp,
    transpose=lambda a_dot, factor, bar: (None, cholesky_push(factor, a_dot) if isinstance(bar, Linear) else None),
    emit=lapack_cholesky.pull(BY_LAPACK),
    samples=_factor_samples,
))
cholesky = batch_leading(Primitive(
    "cholesky",                                             # of the Hermitian matrix in one triangle
    impl=lambda a, *, lower: np.linalg.cholesky(a, upper=not lower),
    aval=lambda a, *, lower: a,
    jvp=_cholesky_jvp,
    transpose=NOT_LINEAR,
    emit=lapack.cholesky(BY_LAPACK),
    samples=lambda rng: [((positive_definite(rng, (*lead, n, n), kind),), {"lower": lower}) for lead, n, kind, lower in (
        ((), 3, "f", True), ((2,), 2, "f", False), ((), 3, "c", True), ((), 1, "f", True))],
))


# ---------------------------------------------------------------- LU
def _lu_impl(a):
    """Packed factors of an m by n matrix and LAPACK's pivots."""
    getrf, = routines(("getrf",), a)
    return each_matrix(lambda x: getrf(x)[:2] if x.size else (x, ()), _lu_aval(Aval(a.shape, a.dtype)), a)


def _lu_aval(a):
    return a, Aval((*a.shape[:-2], min(a.shape[-2:])), np.dtype(np.int32))


def _permutation_impl(pivots, *, size):
    out = np.empty((*pivots.shape[:-1], size), np.intp)
    for at in np.ndindex(*pivots.shape[:-1]):
        order = np.arange(size)
        for i, p in enumerate(pivots[at]):
            order[[i, p]] = order[[p, i]]
        out[at] = order
    return out


def _permutation_batch(n, batched, pivots, *, size):
    return permutation(pivots, size=size)


permutation = nondifferentiable(
    "permutation",                                          # of rows, from LAPACK's pivots: row i of P A is row perm[i] of A
    impl=_permutation_impl,
    aval=lambda pivots, *, size: Aval((*pivots.shape[:-1], size), np.dtype(np.intp)),
    batch=_permutation_batch,
    emit=BY_LAPACK,
    samples=lambda rng: [((np.array([[2, 1, 2], [0, 2, 2]], np.int32),), {"size": 3}), ((np.array([3, 1], np.int32),), {"size": 4})],
)


def permutation_matrix(pivots, size, dtype):
    """P of P A = L U."""
    perm = permutation(pivots, size=size)
    return in_dtype(equal(reshape(perm, shape=(*perm.shape, 1)), np.arange(size)), dtype)


def _lu_jvp(x, y, x_dot):
    """P A' = L' U + L U': with G = L⁻¹ P A' and M the strictly lower part of G U⁻¹, L' = L M and U' = upper(G - M U).

    Only the leading block of U whose inverse enters M is solved with, so the last pivot may vanish (de Hoog, Anderssen & Lukas,
    Math. Comp. 80, 2011, 1585-1600; here for m by n matrices).
    """
    (packed, pivots), (a_dot,) = y, x_dot
    m, n = packed.shape[-2:]
    k, c = min(m, n), min(m - 1, n)
    left = lower_part(part(packed, slice(None), slice(0, k)), -1)
    left = concatenate(left, np.zeros((*packed.shape[:-1], m - k), packed.dtype), axis=len(packed.shape) - 1) if m > k else left
    g = triangular_solve(left, product(permutation_matrix(pivots, m, packed.dtype), a_dot), lower=True, unit=True)
    if c == 0:
        return upper_part(g), None
    block = part(packed, slice(0, c), slice(0, c))
    first = part(g, slice(None), slice(0, c))
    inner = lower_part(triangular_solve(block, first, lower=False, unit=False, right=True), -1)
    l_dot = add(inner, product(left, inner))                # L = 1 + left
    u_dot = upper_part(sub(g, product(inner, upper_part(part(packed, slice(0, c), slice(None))))))
    at = basic(tuple(packed.shape), (*[slice(None)] * (len(packed.shape) - 1), slice(0, c)))
    return add(u_dot, embed(lower_part(l_dot, -1), shape=tuple(packed.shape), at=at)), None


lu = batch_leading(Primitive(
    "lu",                                                   # packed factors and pivots, as LAPACK
    impl=_lu_impl,
    aval=_lu_aval,
    jvp=_lu_jvp,
    transpose=NOT_LINEAR,
    emit=lapack.lu(BY_LAPACK),
    samples=lambda rng: [((either(rng, (*lead, m, n), kind) + 3 * np.eye(m, n),), {}) for lead, m, n, kind in (
        ((), 3, 3, "f"), ((2,), 2, 4, "f"), ((), 4, 2, "f"), ((), 3, 3, "c"), ((), 1, 2, "f"), ((), 2, 1, "f"))],
    multiple=True,
))


# ---------------------------------------------------------------- systems by their factors
def _factored_impl(packed, pivots, b, *, transposed):
    getrs, = routines(("getrs",), packed, b)

    def one(lu, p, c):
        if not np.all(np.diagonal(lu)):
            raise np.linalg.LinAlgError("Singular matrix")
        return (getrs(lu, p, c, int(transposed))[0],)
    return each_matrix(one, (Aval(b.shape, b.dtype),), packed, pivots, b)[0] if b.size else np.zeros(b.shape, b.dtype)


def _factored_jvp(x, y, x_dot, *, transposed):
    """A' = Pᵀ (L' U + L U') of the factors, and x' as of any system."""
    (packed, pivots, _), (t, _, b_dot) = x, x_dot
    if t is None:
        return factored_solve(packed, pivots, b_dot, transposed=transposed)
    p = permutation_matrix(pivots, packed.shape[-1], packed.dtype)
    left, upper = lower_part(packed, -1), upper_part(packed)
    moved = add(product(lower_part(t, -1), upper), add(upper_part(t), product(left, upper_part(t))))
    moved = product(swap(p), moved)
    change = product(swap(moved) if transposed else moved, y)
    return factored_solve(packed, pivots, neg(change) if b_dot is None else sub(b_dot, change), transposed=transposed)


def _factored_transpose(y_bar, packed, pivots, b, *, transposed):
    return None, None, None if isinstance(packed, Linear) else factored_solve(packed, pivots, y_bar, transposed=not transposed)


def _factored_samples(rng):
    out = []
    for lead, n, m, kind, transposed in (((), 3, 2, "f", False), ((2,), 3, 1, "f", True), ((), 3, 2, "c", True)):
        packed, pivots = _lu_impl(either(rng, (*lead, n, n), kind) + 2 * np.eye(n)[::-1])
        out.append(((packed, pivots, either(rng, (*lead, n, m), kind)), {"transposed": transposed}))
    return out


factored_solve = per_column(batch_leading(Primitive(
    "factored_solve",                                       # of A, or Aᵀ, by the factors and pivots of ``lu``
    impl=_factored_impl,
    aval=lambda packed, pivots, b, **params: b,
    jvp=_factored_jvp,
    transpose=_factored_transpose,
    emit=lapack.factored(BY_LAPACK),
    samples=_factored_samples,
)))


# ---------------------------------------------------------------- QR
def _qr_aval(a, *, complete):
    m, n = a.shape[-2:]
    k = m if complete else min(m, n)
    return Aval((*a.shape[:-2], m, k), a.dtype), Aval((*a.shape[:-2], k, n), a.dtype)


def _skew(x):
    """Skew-Hermitian matrix with the strictly lower triangle of ``x`` and the imaginary part of its diagonal."""
    low = lower_part(x, -1)
    low = sub(low, adjoint(low))
    if x.dtype.kind != "c":
        return low
    d = imag(where(np.eye(x.shape[-1], dtype=bool), x, 0.0))
    return add(low, make_complex(np.zeros(tuple(d.shape), d.dtype), d))


def _qr_jvp(x, y, x_dot, *, complete):
    """Q' and R' from X = Qᴴ A' R⁻¹, whose skew part is Qᴴ Q' (Walter, Lehmann & Lamour, Optim. Methods Softw. 27, 2012, 391-403).

    LAPACK's R has a real diagonal.  A wide matrix is factorised by its first columns, which must be independent.
    """
    (a,), (q, r), (a_dot,) = x, y, x_dot
    m, n = a.shape[-2:]
    k = min(m, n)
    full, q = q, part(q, slice(None), slice(0, k))
    head = part(r, slice(0, k), slice(0, k))
    z = triangular_solve(head, part(a_dot, slice(None), slice(0, k)), lower=False, unit=False, right=True)
    inner = product(adjoint(q), z)
    change = upper_part(sub(inner, _skew(inner)))           # R' R⁻¹
    q_dot = sub(z, product(q, change))
    r_dot = product(change, head)
    axis = len(a.shape) - 1
    if n > k:
        rest = slice(k, n)
        tail = add(product(adjoint(q_dot), part(a, slice(None), rest)), product(adjoint(q), part(a_dot, slice(None), rest)))
        r_dot = concatenate(r_dot, tail, axis=axis)
    if complete and m > k:
        others = part(full, slice(None), slice(k, m))
        turned = unrotated(neg(product(q, product(adjoint(q_dot), others))), others, pulled=False)
        q_dot = concatenate(q_dot, turned, axis=axis)
        r_dot = concatenate(r_dot, np.zeros((*a.shape[:-2], m - k, n), a.dtype), axis=axis - 1)
    return q_dot, r_dot


qr = batch_leading(Primitive(
    "qr",
    impl=lambda a, *, complete: tuple(np.linalg.qr(a, "complete" if complete else "reduced")),
    aval=_qr_aval,
    jvp=_qr_jvp,
    transpose=NOT_LINEAR,
    emit=lapack_spectral.qr(BY_LAPACK),
    samples=lambda rng: [((either(rng, (*lead, m, n), kind) + 2 * np.eye(m, n),), {"complete": full}) for lead, m, n, kind, full in (
        ((), 3, 3, "f", False), ((2,), 4, 2, "f", False), ((), 2, 4, "f", False), ((), 3, 2, "c", False), ((), 2, 3, "c", True))],
    multiple=True,
))

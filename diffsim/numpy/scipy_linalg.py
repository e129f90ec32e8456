"""``scipy.linalg``: systems, factorisations and spectra under SciPy's names and signatures.

Options that choose an algorithm or let memory be overwritten (``overwrite_a``, ``lapack_driver``, ``check_finite``) are accepted and change
nothing: the value is that of NumPy's LAPACK.
"""

import numpy as np

from ..core import user_line
from ..errors import InputError, MissingRule
from ..prims import elementwise as ew
from ..prims import linalg as la
from ..prims import linalg_factor as factor
from ..prims import linalg_scalar as scalar
from ..prims import linalg_spectral as spectral
from ..prims.layout import basic, concatenate, convert, embed
from ..prims.linalg_base import adjoint, conjugate, eyes, hermitian_from_lower, lower_part, product, swap, upper_part
from . import indexing, matrices, norms
from .dispatch import value_of
from .matrices import inexact, known, same_lead, square, stacked_matrices
from .shapes import broadcast_to, reshaped
from .stacking import lift
from .standins import StandIn

_FREE = "its vectors are those of an algorithm and not of the matrix alone, which no rule follows yet; eig, eigh, svd, qr and lu have rules"
_REASONS = dict.fromkeys(("schur", "rsf2csf", "qz", "ordqz", "hessenberg", "cossin", "ldl", "rq", "qr_multiply", "qr_update", "qr_insert",
                          "qr_delete"), _FREE)
_REASONS |= dict.fromkeys(("eig_banded", "eigh_tridiagonal"), "use eigh of the full matrix")
_REASONS |= {"funm": "the derivative of the function it is given is not known; use expm, logm, sqrtm, sinm and their like",
             "clarkson_woodruff_transform": "it is random", "signm": "it is constant but where it has no derivative"}

stand_in = StandIn("scipy.linalg", _REASONS)
entry = stand_in.entry


# ---------------------------------------------------------------- operands
def _vector_or_matrix(rule, a, b):
    """Apply ``rule`` to matrices and right-hand sides with equal leading axes; one right-hand side may be a vector."""
    if len(b.shape) == 1:
        if a.shape[-2] != b.shape[0]:
            raise ValueError(f"incompatible dimensions: a has shape {tuple(a.shape)}, b {tuple(b.shape)}")
        x = rule(*same_lead(a, reshaped(b, (b.shape[0], 1))))
        return reshaped(x, tuple(x.shape[:-1]))
    if a.shape[-2] != b.shape[-2]:
        raise ValueError(f"incompatible dimensions: a has shape {tuple(a.shape)}, b {tuple(b.shape)}")
    return rule(*same_lead(a, b))


def _from_triangle(a, lower, hermitian=True):
    """Hermitian (or symmetric) matrix of one triangle."""
    if hermitian:
        return hermitian_from_lower(a if lower else adjoint(a))
    low = lower_part(a if lower else swap(a), -1)
    return low + swap(low) + ew.where(np.eye(a.shape[-1], dtype=bool), a, 0.0)


#: What ``assume_a`` says of a matrix -> the part of it that is read.
_READ = {"sym": lambda a, lower: _from_triangle(a, lower, False), "her": _from_triangle, "pos": _from_triangle,
         "diagonal": lambda a, lower: ew.where(np.eye(a.shape[-1], dtype=bool), a, 0.0),
         "tridiagonal": lambda a, lower: lower_part(upper_part(a, -1), 1),
         "upper triangular": lambda a, lower: upper_part(a), "lower triangular": lambda a, lower: lower_part(a)}
_SAME = {"symmetric": "sym", "hermitian": "her", "positive definite": "pos"}


def _read(a, assume_a, lower, name):
    if assume_a in (None, "gen", "general", "banded"):
        return a
    read = _READ.get(_SAME.get(assume_a, assume_a))
    if read is None:
        raise ValueError(f"{name}: {assume_a!r} is not a structure of a matrix that is known")
    return read(a, lower)


# ---------------------------------------------------------------- systems
@entry()
def solve(a, b, lower=False, overwrite_a=False, overwrite_b=False, check_finite=True, assume_a=None, transposed=False):
    """Solution of a linear system."""
    a, b = inexact(a, b)
    a = _read(square(a, "solve"), assume_a, lower, "solve")
    return _vector_or_matrix(la.solve, swap(a) if transposed else a, b)


@entry()
def solve_triangular(a, b, trans=0, lower=False, unit_diagonal=False, overwrite_b=False, check_finite=True):
    """Solution of a triangular system."""
    a, b = inexact(a, b)
    square(a, "solve_triangular")
    trans = {"N": 0, "T": 1, "C": 2}.get(trans, trans)
    lower = bool(lower) != (trans != 0)
    a = (a, swap(a), adjoint(a))[trans] if trans else a
    return _vector_or_matrix(lambda a, b: la.triangular_solve(a, b, lower=lower, unit=bool(unit_diagonal)), a, b)


def banded(ab, b, low, up):
    if ab.shape[-2] != low + up + 1:
        raise ValueError(f"invalid values for the number of lower and upper diagonals: l+u+1 ({low + up + 1}) does not equal ab.shape[0] "
                         f"({ab.shape[-2]})")
    vector = len(b.shape) == 1
    b = reshaped(b, (b.shape[0], 1)) if vector else b
    if ab.shape[-1] != b.shape[-2]:
        raise ValueError(f"shapes of ab {tuple(ab.shape)} and b {tuple(b.shape)} are not compatible.")
    lead = np.broadcast_shapes(tuple(ab.shape[:-2]), tuple(b.shape[:-2]))
    ab, b = (broadcast_to(x, lead + tuple(x.shape[-2:])) for x in (ab, b))
    x = la.banded_solve(ab, b, low=low, up=up)
    return reshaped(x, tuple(x.shape[:-1])) if vector else x


@entry()
def solve_banded(l_and_u, ab, b, overwrite_ab=False, overwrite_b=False, check_finite=True):
    """Solution of a banded system."""
    return banded(*inexact(ab, b), *map(int, l_and_u))


@entry()
def solveh_banded(ab, b, overwrite_ab=False, overwrite_b=False, lower=False, check_finite=True):
    """Solution of a banded Hermitian system; that the matrix is positive definite is not required."""
    ab, b = inexact(ab, b)
    k = ab.shape[-2] - 1
    rows = conjugate(la.by_rows(ab, k, 0) if lower else la.by_rows(ab, 0, k))       # the other triangle, by columns
    rest = slice(0, k) if lower else slice(1, None)
    other = indexing.getitem(rows, (..., rest, slice(None)))
    parts = (other, ab) if lower else (ab, other)
    return banded(concatenate(*parts, axis=len(ab.shape) - 2), b, k, k)


@entry()
def inv(a, overwrite_a=False, check_finite=True, *, assume_a=None, lower=False):
    """Inverse of a matrix."""
    a = _read(square(inexact(a), "inv"), assume_a, lower, "inv")
    return la.solve(a, eyes(a))


@entry()
def det(a, overwrite_a=False, check_finite=True):
    """Determinant of a matrix."""
    return matrices.det(a)


@entry()
def lstsq(a, b, cond=None, overwrite_a=False, overwrite_b=False, check_finite=True, lapack_driver=None):
    """Solution of least squares, residuals, rank and singular values."""
    a, b = inexact(a, b)
    rcond = float(np.finfo(a.dtype).eps) if cond is None else float(cond)
    x, residuals, rank, s = matrices.lstsq(a, b, rcond)
    if len(b.shape) == 1 and residuals.shape == (1,):
        residuals = indexing.getitem(residuals, 0)
    return x, residuals, rank, s


@entry()
def pinv(a, *, atol=None, rtol=None, return_rank=False, check_finite=True):
    """Pseudoinverse of a matrix."""
    a = stacked_matrices(inexact(a), "pinv")
    if atol:
        raise InputError(f"pinv: {user_line()}: atol has no rule; give rtol, relative to the largest singular value")
    rtol = max(a.shape[-2:]) * float(np.finfo(a.dtype).eps) if rtol is None else float(value_of(rtol, "rtol of pinv"))
    p = scalar.pinv(a, rcond=rtol)
    return (p, matrices.matrix_rank(a, rtol=rtol)) if return_rank else p


@entry()
def pinvh(a, atol=None, rtol=None, lower=True, return_rank=False, check_finite=True):
    """Pseudoinverse of a Hermitian matrix."""
    return pinv(_from_triangle(square(inexact(a), "pinvh"), lower), atol=atol, rtol=rtol, return_rank=return_rank)


@entry()
def norm(a, ord=None, axis=None, keepdims=False, check_finite=True):
    """Norm of a vector or matrix."""
    return norms.norm(lift(a), ord, axis, keepdims)


# ---------------------------------------------------------------- Cholesky
@entry()
def cholesky(a, lower=False, overwrite_a=False, check_finite=True):
    """Triangular factor of a positive definite matrix."""
    return factor.cholesky(square(inexact(a), "cholesky"), lower=bool(lower))


@entry()
def cho_factor(a, lower=False, overwrite_a=False, check_finite=True):
    """Triangular factor of a positive definite matrix for `cho_solve`; the other triangle is that of ``a``, as LAPACK leaves it."""
    a = square(inexact(a), "cho_factor")
    c = factor.cholesky(a, lower=bool(lower))
    return c + (upper_part(a, 1) if lower else lower_part(a, -1)), lower


@entry()
def cho_solve(c_and_lower, b, overwrite_b=False, check_finite=True):
    """Solution of a system by its Cholesky factor."""
    c, lower = c_and_lower
    c, b = inexact(lift(c), b)
    square(c, "cho_solve")

    def rule(c, b):
        first, second = (c, adjoint(c)) if lower else (adjoint(c), c)
        return la.triangular_solve(second, la.triangular_solve(first, b, lower=True, unit=False), lower=False, unit=False)
    return _vector_or_matrix(rule, c, b)


# ---------------------------------------------------------------- LU
def _unpacked(a):
    packed, pivots = factor.lu(a)
    m, n = packed.shape[-2:]
    k = min(m, n)
    p = factor.permutation_matrix(pivots, m, packed.dtype)
    unit = ew.where(np.eye(m, k, dtype=bool), 1.0, lower_part(indexing.getitem(packed, (..., slice(0, k))), -1))
    low = unit if unit.dtype == packed.dtype else convert(unit, dtype=packed.dtype)
    return p, low, upper_part(indexing.getitem(packed, (..., slice(0, k), slice(None)))), factor.permutation(pivots, size=m)


@entry()
def lu(a, permute_l=False, overwrite_a=False, check_finite=True, p_indices=False):
    """Factors P, L, U of a matrix."""
    p, low, up, order = _unpacked(stacked_matrices(inexact(a), "lu"))
    if permute_l:
        return product(swap(p), low), up
    if p_indices:
        return np.argsort(value_of(order, "lu with p_indices=True"), -1), low, up
    return swap(p), low, up


@entry()
def lu_factor(a, overwrite_a=False, check_finite=True):
    """Packed factors and pivots of a matrix, for `lu_solve`."""
    return factor.lu(stacked_matrices(inexact(a), "lu_factor"))


@entry()
def lu_solve(lu_and_piv, b, trans=0, overwrite_b=False, check_finite=True):
    """Solution of a system by its LU factors."""
    packed, pivots = lu_and_piv
    packed, b = inexact(lift(packed), b)
    p = factor.permutation_matrix(lift(pivots), square(packed, "lu_solve").shape[-1], packed.dtype)
    if trans not in (0, 1, 2):
        raise ValueError(f"lu_solve: trans is 0, 1 or 2, not {trans!r}")

    def rule(f, b):
        q = broadcast_to(p, tuple(f.shape))
        if trans == 0:
            return la.triangular_solve(f, la.triangular_solve(f, product(q, b), lower=True, unit=True), lower=False, unit=False)
        t = swap(f) if trans == 1 else adjoint(f)
        return product(swap(q), la.triangular_solve(t, la.triangular_solve(t, b, lower=True, unit=False), lower=False, unit=True))
    return _vector_or_matrix(rule, packed, b)


# ---------------------------------------------------------------- QR
@entry()
def qr(a, overwrite_a=False, lwork=None, mode="full", pivoting=False, check_finite=True):
    """Orthogonal and triangular factor of a matrix."""
    a = stacked_matrices(inexact(a), "qr")
    if mode not in ("full", "r", "economic"):
        if mode == "raw":
            raise MissingRule("scipy.linalg.qr", "derivative", f"{user_line()}: mode='raw' gives the Householder vectors of LAPACK; use "
                                                               f"'full', 'economic' or 'r'")
        raise ValueError("Mode argument should be one of ['full', 'r', 'economic', 'raw']")
    order = ()
    if pivoting:
        plain = value_of(a, "qr with pivoting=True (the order of the columns)")
        order = (stand_in.real().qr(plain, mode="r", pivoting=True)[1],)
        a = indexing.take_along(a, lambda at: np.take_along_axis(at, order[0][..., None, :], -1))
    q, r = factor.qr(a, complete=mode != "economic" and a.shape[-2] > a.shape[-1])
    return (r, *order) if mode == "r" else (q, r, *order)


# ---------------------------------------------------------------- spectra
def _chosen(w, by_index, by_value):
    """Slice of the eigenvalues that were asked for."""
    if by_index is not None:
        return slice(int(by_index[0]), int(by_index[1]) + 1)
    if by_value is None:
        return slice(None)
    plain = value_of(w, "eigh with subset_by_value (how many eigenvalues there are)")
    inside = np.flatnonzero((plain > by_value[0]) & (plain <= by_value[1]))
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)


@entry()
def eigh(a, b=None, *, lower=True, eigvals_only=False, overwrite_a=False, overwrite_b=False, type=1, check_finite=True,
         subset_by_index=None, subset_by_value=None, driver=None):
    """Eigenvalues and eigenvectors of a Hermitian matrix, or of a pair of them."""
    if b is not None and type != 1:
        raise MissingRule("scipy.linalg.eigh", "derivative", f"{user_line()}: only type=1 (a v = w b v) has a rule")
    if b is None:
        w, v = spectral.eigh(square(inexact(a), "eigh"), lower=bool(lower), driver=driver or "evr")
    else:
        a, b = same_lead(*inexact(a, b))
        w, v = spectral.eigh_pair(square(a, "eigh"), square(b, "eigh"), lower=bool(lower))
    part = _chosen(w, subset_by_index, subset_by_value)
    w = indexing.getitem(w, (..., part))
    return w if eigvals_only else (w, indexing.getitem(v, (..., part)))


@entry()
def eigvalsh(a, b=None, *, lower=True, overwrite_a=False, overwrite_b=False, type=1, check_finite=True, subset_by_index=None,
             subset_by_value=None, driver=None):
    """Eigenvalues of a Hermitian matrix, or of a pair of them."""
    return eigh(a, b, lower=lower, eigvals_only=True, type=type, subset_by_index=subset_by_index, subset_by_value=subset_by_value)


@entry()
def eigvalsh_tridiagonal(d, e, select="a", select_range=None, check_finite=True, tol=0.0, lapack_driver="auto"):
    """Eigenvalues of a symmetric tridiagonal matrix."""
    if select != "a":
        raise MissingRule("scipy.linalg.eigvalsh_tridiagonal", "derivative", f"{user_line()}: select={select!r} has no rule; take a "
                                                                             f"slice of all eigenvalues")
    d, e = inexact(lift(d), lift(e))
    n = d.shape[0]
    a = embed(d, shape=(n * n,), at=basic((n * n,), (slice(0, n * n, n + 1),)))
    if n > 1:
        a = ew.add(a, embed(e, shape=(n * n,), at=basic((n * n,), (slice(n, n * n, n + 1),))))
    return spectral.eigh(reshaped(a, (n, n)), lower=True)[0]


@entry()
def eig(a, b=None, left=False, right=True, overwrite_a=False, overwrite_b=False, check_finite=True, homogeneous_eigvals=False):
    """Eigenvalues (complex) and right eigenvectors of a matrix."""
    if left or homogeneous_eigvals or (b is not None and right):
        raise MissingRule("scipy.linalg.eig", "derivative", f"{user_line()}: only the eigenvalues of one matrix and its right eigenvectors "
                          f"have a rule; left ones are the rows of inv(v), and of a pair solve(b, a) has the same eigenvalues")
    a = square(inexact(a), "eig")
    if b is not None:
        a, b = inexact(a, lift(b))
        a = la.solve(*same_lead(b, a))
    w, v = spectral.eig(a)
    if not right:
        return w
    numbers = known(w) if a.dtype.kind != "c" else None
    return w, (v if numbers is None or np.any(numbers.imag) else spectral.real_part(v))


@entry()
def eigvals(a, b=None, overwrite_a=False, check_finite=True, homogeneous_eigvals=False):
    """Eigenvalues (complex) of a matrix, or of a pair."""
    return eig(a, b, right=False, homogeneous_eigvals=homogeneous_eigvals)


@entry()
def svd(a, full_matrices=True, compute_uv=True, overwrite_a=False, check_finite=True, lapack_driver="gesdd"):
    """Singular values and vectors of a matrix."""
    y = matrices.svd(lift(a), full_matrices, compute_uv)
    return tuple(y) if compute_uv else y


@entry()
def svdvals(a, overwrite_a=False, check_finite=True):
    """Singular values of a matrix."""
    return matrices.svdvals(lift(a))


def _rank(s, rcond, shape):
    """How many singular values count, as a plain number."""
    plain = value_of(s, "the rank of a matrix")
    rcond = np.finfo(plain.dtype).eps * max(shape) if rcond is None else rcond
    return int(np.sum(plain > np.max(plain, initial=0.0) * rcond))


@entry()
def orth(A, rcond=None):                                    # noqa: N803  (SciPy's name)
    """Orthonormal basis of the range of a matrix."""
    u, s, _ = matrices.svd(A, full_matrices=False)
    return indexing.getitem(u, (slice(None), slice(0, _rank(s, rcond, A.shape))))


@entry()
def null_space(A, rcond=None, *, overwrite_a=False, check_finite=True, lapack_driver="gesdd"):      # noqa: N803
    """Orthonormal basis of the null space of a matrix."""
    _, s, vh = matrices.svd(A)
    return adjoint(indexing.getitem(vh, slice(_rank(s, rcond, A.shape), None)))


__all__ = ["cho_factor", "cho_solve", "cholesky", "det", "eig", "eigh", "eigvals", "eigvalsh", "eigvalsh_tridiagonal", "entry", "inv",
           "lstsq", "lu", "lu_factor", "lu_solve", "norm", "null_space", "orth", "pinv", "pinvh", "qr", "solve", "solve_banded",
           "solve_triangular", "solveh_banded", "stand_in", "svd", "svdvals"]

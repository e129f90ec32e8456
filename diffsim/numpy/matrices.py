"""``numpy.linalg``: systems, factorisations, spectra, determinants, composed of the primitives of linear algebra."""

import numpy as np

from ..core import Tracer, user_line
from ..errors import ConcretizationError, InputError, MissingRule
from ..prims import elementwise as ew
from ..prims import linalg as la
from ..prims import linalg_factor as factor
from ..prims import linalg_scalar as scalar
from ..prims import linalg_spectral as spectral
from ..prims import linalg_values as values
from ..prims.complexes import real
from ..prims.layout import convert, reduce_sum
from ..prims.linalg_base import adjoint, columns_times, eyes
from ..prims.reduce import reduce_max
from . import indexing
from .dispatch import row, value_of
from .linear import dot
from .reductions import at_least_array, count_nonzero
from .shapes import broadcast_to, permuted, reshaped
from .stacking import lift_all
from .ufuncs import matmul

MATRIX = 2
_NONE = np._NoValue

#: The named tuples NumPy answers with.
EigResult, EighResult, QRResult, SlogdetResult, SVDResult = (type(f(np.eye(1))) for f in (
    np.linalg.eig, np.linalg.eigh, np.linalg.qr, np.linalg.slogdet, np.linalg.svd))


# ---------------------------------------------------------------- operands
def inexact(*arrays):
    """Arrays in their common dtype; integers become double precision, as in ``numpy.linalg``.

    Raises
    ------
    TypeError
        Half precision, for which LAPACK has no routines.
    """
    arrays = [at_least_array(x) for x in arrays]
    dtype = np.result_type(*[x.dtype for x in arrays])
    dtype = np.dtype(float) if dtype.kind in "biu" else dtype
    if dtype.char not in "fdFD":
        raise TypeError(f"array type {dtype.name} is unsupported in linalg")
    out = [x if x.dtype == dtype else convert(x, dtype=dtype) for x in arrays]
    return out if len(out) > 1 else out[0]


def stacked_matrices(a, name):
    """Check for two dimensions or more.

    Raises
    ------
    numpy.linalg.LinAlgError
    """
    if len(a.shape) < MATRIX:
        raise np.linalg.LinAlgError(f"{name}: {len(a.shape)}-dimensional array given. Array must be at least two-dimensional")
    return a


def square(a, name):
    """Check for square matrices over the last two axes.

    Raises
    ------
    numpy.linalg.LinAlgError
    """
    if len(a.shape) < MATRIX or a.shape[-1] != a.shape[-2]:
        raise np.linalg.LinAlgError(f"{name}: a square matrix is needed, not an array of shape {tuple(a.shape)}")
    return a


def same_lead(*arrays, trailing=MATRIX):
    """Arrays with equal leading axes, by broadcasting."""
    lead = np.broadcast_shapes(*[tuple(a.shape[:-trailing]) for a in arrays])
    return [broadcast_to(a, lead + tuple(a.shape[-trailing:])) for a in arrays]


def known(x):
    """The numbers behind a value, None where a graph is traced."""
    try:
        return indexing.concrete(x, "")
    except ConcretizationError:
        return None


# ---------------------------------------------------------------- systems
@row(np.linalg.solve, operands=2)
def solve(a, b):
    a, b = inexact(a, b)
    square(a, "solve")
    if len(b.shape) == 1:
        x = la.solve(*same_lead(a, reshaped(b, (b.shape[0], 1))))
        return reshaped(x, tuple(x.shape[:-1]))
    return la.solve(*same_lead(a, b))


@row(np.linalg.inv)
def inv(a):
    a = square(inexact(a), "inv")
    return la.solve(a, eyes(a))


@row(np.linalg.matrix_power)
def matrix_power(a, n):
    square(a, "matrix_power")
    base, n = (inv(a), -n) if n < 0 else (a, n)
    result = None
    while n:
        if n & 1:
            result = base if result is None else matmul(result, base)
        n >>= 1
        base = matmul(base, base) if n else base
    return eyes(a) if result is None else result


def _cheapest(sizes):
    """Where to split the product of matrices ``sizes[i]`` by ``sizes[i + 1]`` (Cormen, Leiserson & Rivest, Algorithms, sec. 15.2)."""
    n = len(sizes) - 1
    cost, split = {(i, i): 0 for i in range(n)}, {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            costs = [cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1] for k in range(i, j)]
            cost[i, j] = min(costs)
            split[i, j] = i + costs.index(cost[i, j])
    return split


@row(np.linalg.multi_dot, operands=0)
def multi_dot(arrays):
    values = [at_least_array(x) for x in lift_all(arrays)]
    if len(values) < MATRIX:
        raise ValueError("Expecting at least two arrays.")
    sizes = [1 if len(values[0].shape) == 1 else values[0].shape[0], *[x.shape[-1] if len(x.shape) > 1 else 1 for x in values]]
    sizes[1:-1] = [x.shape[0] for x in values[1:]]
    split = _cheapest(sizes)

    def joined(i, j):
        return values[i] if i == j else dot(joined(i, split[i, j]), joined(split[i, j] + 1, j))
    return joined(0, len(values) - 1)


@row(np.linalg.tensorsolve, operands=2)
def tensorsolve(a, b, axes=None):
    n = len(a.shape)
    if axes is not None:
        moved = [i % n for i in axes]
        a = permuted(a, (*[i for i in range(n) if i not in moved], *moved))
    shape = tuple(a.shape[len(b.shape):])
    size = int(np.prod(shape))
    if int(np.prod(a.shape)) != size**2:
        raise np.linalg.LinAlgError(f"Input arrays must satisfy the requirement prod(a.shape[b.ndim:]) == prod(a.shape[:b.ndim]); got "
                                    f"the shapes {tuple(a.shape)} and {tuple(b.shape)}")
    return reshaped(solve(reshaped(a, (size, size)), reshaped(b, (size,))), shape)


@row(np.linalg.tensorinv)
def tensorinv(a, ind=2):
    if ind <= 0:
        raise ValueError("Invalid ind argument.")
    shape = tuple(a.shape)
    rows = int(np.prod(shape[:ind]))
    return reshaped(inv(reshaped(a, (rows, int(np.prod(shape[ind:]))))), shape[ind:] + shape[:ind])


# ---------------------------------------------------------------- least squares
def _cutoff(a, rcond, rtol):
    """Relative size below which NumPy's ``pinv`` takes singular values for zero."""
    if rcond is None:
        rcond = 1e-15 if rtol is _NONE else max(a.shape[-2:]) * float(np.finfo(a.dtype).eps) if rtol is None else rtol
    if np.ndim(rcond):
        raise InputError(f"pinv: {user_line()}: rcond is an array of shape {np.shape(rcond)}; one number for all matrices is needed here")
    return float(value_of(rcond, "rcond of np.linalg.pinv"))


@row(np.linalg.pinv)
def pinv(a, rcond=None, hermitian=False, *, rtol=_NONE):
    a = stacked_matrices(inexact(a), "pinv")
    return scalar.pinv(a, rcond=_cutoff(a, rcond, rtol))


@row(np.linalg.lstsq, operands=2)
def lstsq(a, b, rcond=None):
    a, b = inexact(a, b)
    vector = len(b.shape) == 1
    b = reshaped(b, (b.shape[0], 1)) if vector else b
    if len(a.shape) != MATRIX or len(b.shape) != MATRIX or a.shape[0] != b.shape[0]:
        raise np.linalg.LinAlgError(f"lstsq: shapes {tuple(a.shape)} and {tuple(b.shape)} do not fit")
    m, n = a.shape
    eps = float(np.finfo(a.dtype).eps)
    rcond = eps * max(m, n) if rcond is None else eps if rcond < 0 else float(rcond)
    x = scalar.lstsq(a, b, rcond=rcond)
    s = svdvals(a)
    rank = count_nonzero(ew.greater(s, ew.mul(rcond, indexing.getitem(s, 0)))) if min(m, n) else 0
    if m > n and (isinstance(rank, Tracer) or rank == n):   # a graph does not know the rank: full, as where there is a derivative
        residuals = reduce_sum(squared(ew.sub(b, matmul(a, x))), axes=(0,))
    else:
        residuals = np.zeros(0, s.dtype)
    return reshaped(x, (n,)) if vector else x, residuals, rank, s


def squared(x):
    """Square of the absolute value, smooth at 0."""
    return ew.square(x) if x.dtype.kind != "c" else real(ew.mul(x, np.conjugate(x)))


# ---------------------------------------------------------------- factorisations
@row(np.linalg.cholesky)
def cholesky(a, /, *, upper=False):
    return factor.cholesky(square(inexact(a), "cholesky"), lower=not upper)


@row(np.linalg.qr)
def qr(a, mode="reduced"):
    a = stacked_matrices(inexact(a), "qr")
    if mode not in ("reduced", "complete", "r"):
        if mode in ("raw", "full", "f", "economic", "e"):
            raise MissingRule("np.linalg.qr", "derivative", f"{user_line()}: mode={mode!r} gives the Householder vectors of LAPACK; use "
                                                            f"'reduced', 'complete' or 'r'")
        raise ValueError(f"Unrecognized mode '{mode}'")
    q, r = factor.qr(a, complete=mode == "complete")
    return r if mode == "r" else QRResult(q, r)


# ---------------------------------------------------------------- spectra
def _triangle(name, uplo):
    uplo = uplo.upper()
    if uplo not in ("L", "U"):
        raise ValueError(f"{name}: UPLO argument must be 'L' or 'U'")
    return uplo == "L"


@row(np.linalg.eigh)
def eigh(a, UPLO="L"):                                      # noqa: N803  (NumPy's name)
    return EighResult(*spectral.eigh(square(inexact(a), "eigh"), lower=_triangle("eigh", UPLO)))


@row(np.linalg.eigvalsh)
def eigvalsh(a, UPLO="L"):                                  # noqa: N803
    return values.eigvalsh(square(inexact(a), "eigvalsh"), lower=_triangle("eigvalsh", UPLO))


@row(np.linalg.eig)
def eig(a):
    a = square(inexact(a), "eig")
    w, v = spectral.eig(a)
    if a.dtype.kind != "c":                                 # real where all eigenvalues are, as NumPy; a graph cannot know
        numbers = known(w)
        if numbers is not None and not np.any(numbers.imag):
            w, v = real(w), real(v)
    return EigResult(w, v)


@row(np.linalg.eigvals)
def eigvals(a):
    return eig(a)[0]


def _svd_of_hermitian(a):
    """Singular values are the sizes of the eigenvalues, largest first."""
    w, v = eigh(a)
    numbers = value_of(w, "svd with hermitian=True (the order of its values)")
    order = np.argsort(np.abs(numbers), -1)[..., ::-1]
    w = indexing.take_along(w, lambda at: np.take_along_axis(at, order, -1))
    u = indexing.take_along(v, lambda at: np.take_along_axis(at, order[..., None, :], -1))
    sign = np.take_along_axis(np.copysign(1.0, numbers), order, -1).astype(w.dtype)
    return u, ew.absolute(w), adjoint(columns_times(u, sign))


@row(np.linalg.svd)
def svd(a, full_matrices=True, compute_uv=True, hermitian=False):
    a = stacked_matrices(inexact(a), "svd")
    if hermitian:
        square(a, "svd")
        return SVDResult(*_svd_of_hermitian(a)) if compute_uv else values.svdvals(a)
    m, n = a.shape[-2:]
    return SVDResult(*spectral.svd(a, full=bool(full_matrices) and m != n)) if compute_uv else values.svdvals(a)


@row(np.linalg.svdvals)
def svdvals(x, /):
    return svd(x, compute_uv=False)


@row(np.linalg.matrix_rank, value=True)
def matrix_rank(A, tol=None, hermitian=False, *, rtol=None):    # noqa: N803
    if rtol is not None and tol is not None:
        raise ValueError("`tol` and `rtol` can't be both set.")
    a = at_least_array(A)
    if len(a.shape) < MATRIX:
        return convert(np.any(ew.not_equal(a, 0)), dtype=np.dtype(np.intp))
    s = svdvals(a)
    if tol is None:
        rtol = max(a.shape[-2:]) * float(np.finfo(s.dtype).eps) if rtol is None else rtol
        tol = ew.mul(reduce_max(s, axes=(len(s.shape) - 1,)), rtol)
    tol = at_least_array(tol)
    return count_nonzero(ew.greater(s, reshaped(tol, (*tol.shape, 1))), axis=-1)


# ---------------------------------------------------------------- determinants
@row(np.linalg.det)
def det(a):
    return scalar.det(square(inexact(a), "det"))


@row(np.linalg.slogdet)
def slogdet(a):
    return SlogdetResult(*scalar.slogdet(square(inexact(a), "slogdet")))


__all__ = ["cholesky", "det", "eig", "eigh", "inexact", "inv", "lstsq", "pinv", "qr", "same_lead", "solve", "square", "squared",
           "stacked_matrices", "svd", "svdvals"]

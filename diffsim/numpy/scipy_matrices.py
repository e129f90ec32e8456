"""``scipy.linalg``: functions of matrices, matrix equations, and matrices of a special form."""

import numpy as np

from ..core import Tracer, user_line
from ..errors import InputError, MissingRule
from ..prims import elementwise as ew
from ..prims import linalg_equation as equation
from ..prims import linalg_function as function
from ..prims.layout import basic, concatenate, embed
from ..prims.linalg_base import adjoint, conjugate, product, swap
from . import fourier, indexing, linear, matrices
from .matrices import inexact, same_lead, square
from .reductions import at_least_array
from .reductions import sum as total
from .scipy_linalg import entry
from .shapes import reshaped
from .stacking import lift


# ---------------------------------------------------------------- functions of matrices
def _function_of_matrix(name, text):
    def rule(A):                                            # noqa: N803  (SciPy's name)
        return function.FUNCTIONS[name](square(inexact(A), name))
    rule.__name__ = rule.__qualname__ = name
    rule.__doc__ = f"{text} of a matrix."
    return entry()(rule)


expm, cosm, sinm = _function_of_matrix("expm", "Exponential"), _function_of_matrix("cosm", "Cosine"), _function_of_matrix("sinm", "Sine")
tanm, coshm = _function_of_matrix("tanm", "Tangent"), _function_of_matrix("coshm", "Hyperbolic cosine")
sinhm, tanhm = _function_of_matrix("sinhm", "Hyperbolic sine"), _function_of_matrix("tanhm", "Hyperbolic tangent")


@entry()
def logm(A, disp=True):                                     # noqa: N803
    """Principal logarithm of a matrix; that of a real one must be real."""
    return function.logm(square(inexact(A), "logm"))


@entry()
def sqrtm(A, disp=True, blocksize=64):                      # noqa: N803
    """Principal square root of a matrix; that of a real one must be real."""
    return function.sqrtm(square(inexact(A), "sqrtm"))


@entry()
def fractional_matrix_power(A, t):                          # noqa: N803
    """Power of a matrix: exp(t log A), or repeated products for a constant integer; the exponent may be differentiated."""
    a = square(inexact(A), "fractional_matrix_power")
    t = lift(t)
    if not isinstance(t, Tracer) and t == int(t):
        return matrices.matrix_power(a, int(t))
    return function.expm(ew.mul(function.logm(a), t))


@entry()
def expm_frechet(A, E, method=None, compute_expm=True, check_finite=True):      # noqa: N803
    """Exponential of a matrix and its derivative along another."""
    a, e = same_lead(*inexact(A, E))
    slope = function.DERIVATIVES["expm"](square(a, "expm_frechet"), square(e, "expm_frechet"))
    return (function.expm(a), slope) if compute_expm else slope


@entry()
def polar(a, side="right"):
    """Unitary and positive factor of a matrix."""
    if side not in ("right", "left"):
        raise ValueError("`side` must be either 'right' or 'left'")
    a = inexact(a)
    if len(a.shape) != matrices.MATRIX:
        raise ValueError("`a` must be a 2-D array.")
    u = equation.polar(a) if a.shape[0] >= a.shape[1] else adjoint(equation.polar(adjoint(a)))
    return u, (product(adjoint(u), a) if side == "right" else product(a, adjoint(u)))


@entry()
def orthogonal_procrustes(A, B, check_finite=True):         # noqa: N803
    """The orthogonal matrix that maps one best to the other, and the sum of singular values that says how well."""
    a, b = inexact(A, B)
    if len(a.shape) != matrices.MATRIX or tuple(a.shape) != tuple(b.shape):
        raise ValueError(f"the shapes of A and B differ ({tuple(a.shape)} vs {tuple(b.shape)})")
    m = product(swap(conjugate(a)), b)
    return equation.polar(m), total(matrices.svdvals(m))


# ---------------------------------------------------------------- equations
@entry()
def solve_sylvester(a, b, q):
    """X of A X + X B = Q."""
    return equation.sylvester(*same_lead(*inexact(a, b, q)))


@entry("solve_lyapunov")
def solve_continuous_lyapunov(a, q):
    """X of A X + X Aᴴ = Q."""
    a, q = same_lead(*inexact(a, q))
    return equation.sylvester(square(a, "solve_continuous_lyapunov"), adjoint(a), q)


@entry()
def solve_discrete_lyapunov(a, q, method=None):
    """X of X = A X Aᴴ + Q."""
    a, q = same_lead(*inexact(a, q))
    return equation.discrete_lyapunov(square(a, "solve_discrete_lyapunov"), q)


solve_lyapunov = solve_continuous_lyapunov


def _riccati(name, rule, text):
    def apply(a, b, q, r, e=None, s=None, balanced=True):
        if e is not None or s is not None:
            raise MissingRule(f"scipy.linalg.{name}", "derivative", f"{user_line()}: the equation with e or s has no rule; bring it to the "
                                                                    f"form without (A - B R⁻¹ Sᵀ for A, Q - S R⁻¹ Sᵀ for Q)")
        return rule(*same_lead(*inexact(a, b, q, r)))
    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = text
    return entry()(apply)


solve_continuous_are = _riccati("solve_continuous_are", equation.continuous_riccati,
                                "X of the Riccati equation Aᴴ X + X A - X B R⁻¹ Bᴴ X + Q = 0.")
solve_discrete_are = _riccati("solve_discrete_are", equation.discrete_riccati,
                              "X of the Riccati equation Aᴴ X A - X - Aᴴ X B (R + Bᴴ X B)⁻¹ Bᴴ X A + Q = 0.")


# ---------------------------------------------------------------- matrices of a special form
def _flat(x):
    x = at_least_array(lift(x))
    return reshaped(x, (int(np.prod(x.shape)),))


def _joined(*parts):
    parts = list(map(at_least_array, parts))
    dtype = np.result_type(*[x.dtype for x in parts])
    return concatenate(*[x.astype(dtype) if x.dtype != dtype else x for x in parts], axis=0)


@entry()
def toeplitz(c, r=None):
    """Matrix with constant diagonals, from its first column and row."""
    c = _flat(c)
    r = conjugate(c) if r is None else _flat(r)
    n, m = c.shape[0], r.shape[0]
    values = _joined(indexing.getitem(c, slice(None, None, -1)), indexing.getitem(r, slice(1, None)))
    return indexing.getitem(values, n - 1 - np.arange(n)[:, None] + np.arange(m))


@entry()
def hankel(c, r=None):
    """Matrix with constant antidiagonals, from its first column and last row."""
    c = _flat(c)
    n = c.shape[0]
    r = np.zeros(n, c.dtype) if r is None else _flat(r)
    values = _joined(c, indexing.getitem(r, slice(1, None)))
    return indexing.getitem(values, np.arange(n)[:, None] + np.arange(r.shape[0]))


@entry()
def circulant(c):
    """Matrix whose columns are the first one turned."""
    c = at_least_array(lift(c))
    n = c.shape[-1]
    return indexing.getitem(c, (..., (np.arange(n)[:, None] - np.arange(n)) % n if n else np.zeros((0, 0), int)))


@entry()
def companion(a):
    """Matrix whose eigenvalues are the roots of a polynomial."""
    a = _flat(inexact(lift(a)))
    n = a.shape[0] - 1
    if n < 1:
        raise ValueError("The length of `a` must be at least 2.")
    first = ew.div(ew.neg(indexing.getitem(a, slice(1, None))), indexing.getitem(a, 0))
    return _joined(reshaped(first, (1, n)), np.eye(n - 1, n, dtype=a.dtype))


@entry()
def convolution_matrix(a, n, mode="full"):
    """Matrix that convolves a vector of length ``n`` with ``a``."""
    a = _flat(a)
    k = a.shape[0]
    if n <= 0 or k == 0:
        raise ValueError("n must be a positive integer and len(a) must be at least 1")
    full = toeplitz(_joined(a, np.zeros(n - 1, a.dtype)), _joined(indexing.getitem(a, slice(0, 1)), np.zeros(n - 1, a.dtype)))
    if mode == "full":
        return full
    short, long = min(k, n), max(k, n)
    if mode == "same":
        start, length = (short - 1) // 2, long
    elif mode == "valid":
        start, length = short - 1, long - short + 1
    else:
        raise ValueError("'mode' argument must be one of ('full', 'valid', 'same')")
    return indexing.getitem(full, slice(start, start + length))


@entry()
def leslie(f, s):
    """Leslie matrix of fecundities and survival fractions."""
    f, s = inexact(lift(f), lift(s))
    n = f.shape[0]
    if len(f.shape) != 1 or len(s.shape) != 1 or s.shape[0] != n - 1:
        raise ValueError("Incorrect lengths for f and s. len(s) must be equal to len(f) - 1.")
    top = embed(f, shape=(n, n), at=basic((n, n), (0, slice(None))))
    wide = ew.mul(np.eye(n - 1, n, dtype=s.dtype), reshaped(s, (n - 1, 1)))
    return ew.add(top, embed(wide, shape=(n, n), at=basic((n, n), (slice(1, None), slice(None)))))


@entry()
def block_diag(*arrs):
    """Matrix of blocks along the diagonal."""
    blocks = [at_least_array(lift(a)) for a in (arrs or ([],))]
    blocks = [reshaped(a, (1,) * (2 - len(a.shape)) + tuple(a.shape)) for a in blocks]
    if any(len(a.shape) != matrices.MATRIX for a in blocks):
        raise InputError("block_diag: every block needs two dimensions at most here")
    dtype = np.result_type(*[a.dtype for a in blocks])
    shape = tuple(sum(a.shape[i] for a in blocks) for i in (0, 1))
    out, row, column = np.zeros(shape, dtype), 0, 0
    for a in blocks:
        at = basic(shape, (slice(row, row + a.shape[0]), slice(column, column + a.shape[1])))
        out = ew.add(out, embed(a, shape=shape, at=at))
        row, column = row + a.shape[0], column + a.shape[1]
    return out


@entry()
def khatri_rao(a, b):
    """Columns of the Kronecker product of columns."""
    a, b = at_least_array(lift(a)), at_least_array(lift(b))
    if a.shape[-1] != b.shape[-1]:
        raise ValueError("The number of columns for both arrays should be equal.")
    c = ew.mul(reshaped(a, (a.shape[0], 1, a.shape[1])), reshaped(b, (1, b.shape[0], b.shape[1])))
    return reshaped(c, (a.shape[0] * b.shape[0], a.shape[1]))


@entry()
def kron(a, b):
    """Kronecker product of two matrices."""
    return linear.kron(a, b)


@entry()
def diagsvd(s, M, N):                                       # noqa: N803  (SciPy's names)
    """Matrix of singular values, in the shape of what was decomposed."""
    s = _flat(s)
    k = s.shape[0]
    if k not in (M, N):
        raise ValueError("Length of s must be M or N.")
    square_ = ew.mul(np.eye(k, dtype=s.dtype), s)
    return embed(square_, shape=(M, N), at=basic((M, N), (slice(0, k), slice(0, k))))


# ---------------------------------------------------------------- systems of a special form
def _column_and_row(c_or_cr):
    if c_or_cr.__class__ is tuple:
        c, r = c_or_cr
        return _flat(c), _flat(r)
    c = _flat(c_or_cr)
    return c, conjugate(c)


@entry()
def solve_toeplitz(c_or_cr, b, check_finite=True):
    """Solution of a system with constant diagonals."""
    return matrices.solve(toeplitz(*_column_and_row(c_or_cr)), lift(b))


@entry()
def matmul_toeplitz(c_or_cr, x, check_finite=False, workers=None):
    """Product with a matrix of constant diagonals."""
    return linear.dot(toeplitz(*_column_and_row(c_or_cr)), lift(x))


@entry()
def solve_circulant(c, b, singular="raise", tol=None, caxis=-1, baxis=0, outaxis=0):
    """Solution of a system whose matrix is `circulant(c)`, by Fourier transforms."""
    c, b = inexact(lift(c), lift(b))
    if len(c.shape) != 1 or baxis or outaxis or singular != "raise":
        raise MissingRule("scipy.linalg.solve_circulant", "derivative",
                          f"{user_line()}: only one matrix, with singular='raise' and the right-hand sides along axis 0, has a rule")
    spectrum = fourier.fft(c)
    spectrum = reshaped(spectrum, (c.shape[0],) + (1,) * (len(b.shape) - 1))
    x = fourier.ifft(ew.div(fourier.fft(b, axis=0), spectrum), axis=0)
    return x if c.dtype.kind == "c" else np.real(x)


__all__ = ["block_diag", "circulant", "companion", "convolution_matrix", "coshm", "cosm", "diagsvd", "expm", "expm_frechet",
           "fractional_matrix_power", "hankel", "khatri_rao", "kron", "leslie", "logm", "matmul_toeplitz", "orthogonal_procrustes",
           "polar", "sinhm", "sinm", "solve_circulant", "solve_continuous_are", "solve_continuous_lyapunov", "solve_discrete_are",
           "solve_discrete_lyapunov", "solve_lyapunov", "solve_sylvester", "solve_toeplitz", "sqrtm", "tanhm", "tanm", "toeplitz"]

"""Functions of matrices.

For an analytic f, f([[A, X], [0, A]]) = [[f(A), L(A, X)], [0, f(A)]] with L the Fréchet derivative of f at A along X (Mathias, SIAM J.
Matrix Anal. Appl. 17, 1996, 610-620; Higham, Functions of Matrices, 2008, eq. 3.16).  L is a primitive of its own, linear in X, and the
same identity differentiates it in A, so that derivatives of every order follow from two rows.
"""

import numpy as np

from ..core import Aval, Linear, Primitive
from ..errors import InputError
from .elementwise import add
from .family import NOT_LINEAR
from .linalg_base import BY_LAPACK, batch_leading, blocks, each_matrix, either, part, scipy_linalg, swap, well_conditioned
from .linalg_equation import sylvester

#: Name -> primitive: the functions, and their Fréchet derivatives.
FUNCTIONS, DERIVATIVES = {}, {}

#: Imaginary parts of this size, relative to the largest element, are rounding.
ROUNDING = 1e-12


def _zero(x):
    return np.zeros(tuple(x.shape), x.dtype)


def _corner(f, a, x):
    """L(A, X) from f of the block matrix, X scaled to the size of A so that neither drowns in the other."""
    size = np.linalg.norm(x, 1)
    if not size:
        return np.zeros_like(x)
    scale = (np.linalg.norm(a, 1) or 1.0) / size
    n = a.shape[-1]
    return f(np.block([[a, x * scale], [np.zeros_like(a), a]]))[:n, n:] / scale


def matrix_function(name, f, samples, frechet=None):
    """Rows of a matrix function and its Fréchet derivative.

    Parameters
    ----------
    name : str
    f : callable
        ``f(a, **params)``: of one square matrix.
    samples : callable
        ``samples(rng)``: pairs of a square matrix and params.
    frechet : callable, optional
        ``frechet(a, x, **params)``: the Fréchet derivative; from the block matrix where none is given.
    """
    slope = frechet or (lambda a, x, **params: _corner(lambda m: f(m, **params), a, x))

    def one(function, params):
        return lambda *x: (function(*x, **params) if x[0].size else x[0],)

    def derivative_jvp(x, y, x_dot, **params):
        (a, t), (a_dot, t_dot) = x, x_dot
        out = None if t_dot is None else derivative(a, t_dot, **params)
        if a_dot is None:
            return out
        n, none = a.shape[-1], _zero(a)
        wide = derivative(blocks(a, t, none, a), blocks(a_dot, none, none, a_dot), **params)
        change = part(wide, slice(0, n), slice(n, 2 * n))
        return change if out is None else add(out, change)

    derivative = batch_leading(Primitive(
        f"{name}_frechet",
        impl=lambda a, x, **params: each_matrix(one(slope, params), (Aval(x.shape, x.dtype),), a, x)[0],
        aval=lambda a, x, **params: x,
        jvp=derivative_jvp,
        transpose=lambda y_bar, a, x, **params: (None, None) if isinstance(a, Linear) else (None, derivative(swap(a), y_bar, **params)),
        emit=BY_LAPACK,
        samples=lambda rng: [((a, either(rng, a.shape, a.dtype.kind)), params) for a, params in samples(rng)],
    ))
    DERIVATIVES[name] = derivative
    value = FUNCTIONS[name] = batch_leading(Primitive(
        name,
        impl=lambda a, **params: each_matrix(one(f, params), (Aval(a.shape, a.dtype),), a)[0],
        aval=lambda a, **params: a,
        jvp=lambda x, y, x_dot, **params: derivative(x[0], x_dot[0], **params),
        transpose=NOT_LINEAR,
        emit=BY_LAPACK,
        samples=lambda rng: [((a,), params) for a, params in samples(rng)],
    ))
    return value


def _scipy(name):
    """A matrix function of SciPy, imported when it is called, computed in double precision; the result in the dtype of the matrix.

    Raises
    ------
    InputError
        The value of a real matrix is complex.
    """
    def f(a, **params):
        y = np.asarray(getattr(scipy_linalg(), name)(a.astype(_wide(a)), **params))
        if y.dtype.kind == "c" and a.dtype.kind != "c":
            if np.max(np.abs(y.imag)) > ROUNDING * np.max(np.abs(y)):
                raise InputError(f"{name}: the value of this real matrix is complex (it has eigenvalues on the negative axis); pass it as "
                                 f"a complex array (a.astype(complex)) to have that value and its derivative")
            y = y.real
        return y.astype(a.dtype)
    return f


def _wide(a):
    return np.dtype(complex if a.dtype.kind == "c" else float)


def _expm_frechet(a, x):
    """The algorithm of Al-Mohy & Higham, SIAM J. Matrix Anal. Appl. 30, 2009, 1639-1657, in double precision."""
    size = np.linalg.norm(x)
    if not size:
        return np.zeros_like(x)
    return (scipy_linalg().expm_frechet(a.astype(_wide(a)), x.astype(_wide(a)) / size, compute_expm=False) * size).astype(x.dtype)


def _square(rng):
    return [(either(rng, (*lead, n, n), kind) / 2, {}) for lead, n, kind in (((), 3, "f"), ((2,), 2, "f"), ((), 1, "f"), ((), 2, "c"))]


def _right_half_plane(rng):
    return [(well_conditioned(rng, (*lead, n, n), kind), {}) for lead, n, kind in (((), 2, "f"), ((2,), 2, "f"), ((), 2, "c"))]


def _small(rng):
    """One and small: SciPy's functions take milliseconds."""
    return [(well_conditioned(rng, (2, 2)) / 4, {})]


expm = matrix_function("expm", _scipy("expm"), _square, _expm_frechet)
logm = matrix_function("logm", _scipy("logm"), _small)
cosm, sinm, tanm, coshm, sinhm, tanhm = (matrix_function(name, _scipy(name), _small) for name in (
    "cosm", "sinm", "tanm", "coshm", "sinhm", "tanhm"))


# ---------------------------------------------------------------- square root
sqrtm = batch_leading(Primitive(
    "sqrtm",
    impl=lambda a: each_matrix(lambda m: (_scipy("sqrtm")(m) if m.size else m,), (Aval(a.shape, a.dtype),), a)[0],
    aval=lambda a: a,
    jvp=lambda x, y, x_dot: sylvester(y, y, x_dot[0]),      # S S' + S' S = A'
    transpose=NOT_LINEAR,
    emit=BY_LAPACK,
    samples=lambda rng: [((a,), params) for a, params in _right_half_plane(rng)],
))

__all__ = ["DERIVATIVES", "FUNCTIONS", "expm", "logm", "matrix_function", "sqrtm"]

"""``scipy.linalg`` with derivatives: SciPy's names and signatures, for traced and for plain values.

Functions under a transform may call ``scipy.linalg`` itself: they are run with these in its place.  A name that is not listed here is
SciPy's own, and refused by name for a traced value.
"""

from .numpy.scipy_linalg import (
    cho_factor,
    cho_solve,
    cholesky,
    det,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    eigvalsh_tridiagonal,
    inv,
    lstsq,
    lu,
    lu_factor,
    lu_solve,
    norm,
    null_space,
    orth,
    pinv,
    pinvh,
    qr,
    solve,
    solve_banded,
    solve_triangular,
    solveh_banded,
    svd,
    svdvals,
)
from .numpy.scipy_linalg import stand_in as _stand_in
from .numpy.scipy_matrices import (
    block_diag,
    circulant,
    companion,
    convolution_matrix,
    coshm,
    cosm,
    diagsvd,
    expm,
    expm_frechet,
    fractional_matrix_power,
    hankel,
    khatri_rao,
    kron,
    leslie,
    logm,
    matmul_toeplitz,
    orthogonal_procrustes,
    polar,
    sinhm,
    sinm,
    solve_circulant,
    solve_continuous_are,
    solve_continuous_lyapunov,
    solve_discrete_are,
    solve_discrete_lyapunov,
    solve_lyapunov,
    solve_sylvester,
    solve_toeplitz,
    sqrtm,
    tanhm,
    tanm,
    toeplitz,
)

__all__ = ["block_diag", "cho_factor", "cho_solve", "cholesky", "circulant", "companion", "convolution_matrix", "coshm", "cosm", "det",
           "diagsvd", "eig", "eigh", "eigvals", "eigvalsh", "eigvalsh_tridiagonal", "expm", "expm_frechet", "fractional_matrix_power",
           "hankel", "inv", "khatri_rao", "kron", "leslie", "logm", "lstsq", "lu", "lu_factor", "lu_solve", "matmul_toeplitz", "norm",
           "null_space", "orth", "orthogonal_procrustes", "pinv", "pinvh", "polar", "qr", "sinhm", "sinm", "solve", "solve_banded",
           "solve_circulant", "solve_continuous_are", "solve_continuous_lyapunov", "solve_discrete_are", "solve_discrete_lyapunov",
           "solve_lyapunov", "solve_sylvester", "solve_toeplitz", "solve_triangular", "solveh_banded", "sqrtm", "svd", "svdvals", "tanhm",
           "tanm", "toeplitz"]


def __getattr__(name):
    try:
        return getattr(_stand_in, name)
    except AttributeError:
        raise AttributeError(f"module 'diffsim.linalg' has no attribute {name!r}: scipy.linalg has none of this name") from None


def __dir__():
    return sorted({*__all__, *dir(_stand_in)})

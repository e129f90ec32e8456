"""Eigenvalues and singular values without their vectors: their derivatives divide by no gap, so values that are equal do no harm."""

import numpy as np

from ..core import Aval, Primitive
from ..core.aval import part_dtype
from . import lapack_spectral
from .elementwise import mul, where
from .family import NOT_LINEAR
from .layout import reduce_sum
from .linalg_base import BY_LAPACK, adjoint, batch_leading, conjugate, hermitian_from_lower, product
from .linalg_gauge import is_vanishing
from .linalg_spectral import eigh, real_part, svd


def _pairing(left, a_dot, right):
    """Re diag(Lᴴ A' R): one product of matrices."""
    return real_part(reduce_sum(mul(conjugate(left), product(a_dot, right)), axes=(len(left.shape) - 2,)))


def _eigvalsh_jvp(x, y, x_dot, *, lower):
    """w' = diag(Vᴴ A' V) (Giles 2008, sec. 3.1)."""
    _, v = eigh(x[0], lower=lower)
    a_dot = x_dot[0]
    return _pairing(v, hermitian_from_lower(a_dot if lower else adjoint(a_dot)), v)


eigvalsh = batch_leading(Primitive(
    "eigvalsh",                                             # of the Hermitian matrix in one triangle
    impl=lambda a, *, lower: np.linalg.eigvalsh(a, "L" if lower else "U"),
    aval=lambda a, **params: Aval(a.shape[:-1], part_dtype(a.dtype)),
    jvp=_eigvalsh_jvp,
    transpose=NOT_LINEAR,
    emit=lapack_spectral.eigvalsh(BY_LAPACK),
    samples=eigh.samples,
))


def _svdvals_jvp(x, y, x_dot):
    """s' = Re diag(Uᴴ A' V), and 0 for values that vanish (Giles 2008, sec. 3.2)."""
    u, s, vh = svd(x[0], full=False)
    return where(is_vanishing(s), 0.0, _pairing(u, x_dot[0], adjoint(vh)))


svdvals = batch_leading(Primitive(
    "svdvals",
    impl=np.linalg.svdvals,
    aval=lambda a: Aval((*a.shape[:-2], min(a.shape[-2:])), part_dtype(a.dtype)),
    jvp=_svdvals_jvp,
    transpose=NOT_LINEAR,
    emit=lapack_spectral.svdvals(BY_LAPACK),
    samples=lambda rng: [(x, {}) for x, params in svd.samples(rng) if not params["full"]],
))

__all__ = ["eigvalsh", "svdvals"]

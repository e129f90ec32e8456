"""What a factorisation leaves free: vectors of equal eigenvalues, and bases of a complement.

Any unitary mix of such vectors is as good, so their derivative is a matter of choice, and the choice here is that they do not turn among
themselves.  A function of the space they span has its true derivative then; any other has none, which is why the rows below warn where a
tangent or cotangent enters the part that is free.
"""

import warnings

import numpy as np

from ..core import Aval, Linear, Primitive, user_depth
from ..core.aval import part_dtype
from ..errors import DegeneracyWarning
from .elementwise import mul, sub
from .family import NONZERO, draw, draw_complex, nondifferentiable
from .layout import reshape
from .linalg_base import BY_LAPACK, batch_leading

#: Eigenvalues closer than this many roundings of the largest, times their number, count as equal.
ROUNDINGS = 8


def _differences(w):
    """w[j] - w[i] at i, j."""
    return w[..., None, :] - w[..., :, None]


def degenerate(w):
    """Which pairs of different eigenvalues are equal to rounding."""
    size = np.max(np.abs(w), axis=-1, keepdims=True, initial=0.0)[..., None]
    close = np.abs(_differences(w)) <= ROUNDINGS * w.shape[-1] * np.finfo(w.dtype).eps * size
    return close & ~np.eye(w.shape[-1], dtype=bool)


def _enters(x, where):
    """Whether a tangent or cotangent is more than rounding in some places."""
    size = np.abs(x)
    return bool(np.any(size[where] > 64 * max(x.shape) * np.finfo(x.dtype).eps * np.max(size, initial=0.0)))


def _over_gaps_impl(x, w):
    """x[i, j] / (w[j] - w[i]), 0 on the diagonal and for equal eigenvalues."""
    equal = degenerate(w)
    if equal.any() and _enters(x, np.broadcast_to(equal, x.shape)):
        warnings.warn("a derivative of eigenvectors (singular vectors) was asked for where eigenvalues (singular values) are equal: it "
                      "is right only if the result depends on the space those vectors span, and neither on the vectors nor on how their "
                      "values split. Use eigvalsh (svdvals) if values are all that is needed, or a function of the matrix (expm, sqrtm).",
                      DegeneracyWarning, stacklevel=user_depth())
    gaps = np.where(equal | np.eye(w.shape[-1], dtype=bool), np.inf, _differences(w)).astype(w.dtype)
    return x / gaps if x.dtype.kind != "c" or w.dtype.kind == "c" else _complex_over_real(x, gaps)


def _complex_over_real(x, gaps):
    """Part by part: complex division by infinity would give NaN."""
    out = np.empty(x.shape, x.dtype)
    out.real, out.imag = x.real / gaps, x.imag / gaps
    return out


def _over_gaps_jvp(x, y, x_dot):
    (_, w), (t, w_dot) = x, x_dot
    if w_dot is None:
        return over_gaps(t, w)
    lead, n = tuple(w.shape[:-1]), w.shape[-1]
    change = mul(y, sub(reshape(w_dot, shape=(*lead, 1, n)), reshape(w_dot, shape=(*lead, n, 1))))
    return over_gaps(-change if t is None else sub(t, change), w)


def _over_gaps_transpose(y_bar, x, w):
    return (None, None) if isinstance(w, Linear) else (over_gaps(y_bar, w), None)


def _spread(rng, n):
    return np.cumsum(rng.uniform(0.5, 1.5, n)) - 2.0


over_gaps = batch_leading(Primitive(
    "over_gaps",
    impl=_over_gaps_impl,
    aval=lambda x, w: x,
    jvp=_over_gaps_jvp,
    transpose=_over_gaps_transpose,
    emit=BY_LAPACK,
    samples=lambda rng: [((draw(rng, NONZERO, (3, 3)), _spread(rng, 3)), {}),
                         ((draw_complex(rng, NONZERO, (2, 3, 3)), np.stack([_spread(rng, 3), _spread(rng, 3)])), {}),
                         ((draw_complex(rng, NONZERO, (2, 2)), _spread(rng, 2) + 1j * _spread(rng, 2)), {})],
))


# ---------------------------------------------------------------- division by singular values
def vanishing(s):
    """Which singular values are zero to rounding: there the pair of vectors is free, and the value has a kink as |x| at 0."""
    largest = np.max(s, axis=-1, keepdims=True, initial=0.0)
    return s <= ROUNDINGS * s.shape[-1] * np.finfo(s.dtype).eps * largest


is_vanishing = batch_leading(nondifferentiable(
    "is_vanishing",
    impl=vanishing,
    aval=lambda s: Aval(s.shape, np.dtype(bool)),
    emit=BY_LAPACK,
    samples=lambda rng: [((_spread(rng, 3) + 2.0,), {})],
))


def _over_values_impl(x, s):
    """x[i, j] / s[j], 0 where s[j] vanishes."""
    zero = vanishing(s)[..., None, :]
    if zero.any() and _enters(x, np.broadcast_to(zero, x.shape)):
        warnings.warn("a derivative was asked for of singular vectors whose singular value is zero: it is right only if the result depends "
                      "on the space those vectors span. Use svdvals if the values are all that is needed, or pinv.",
                      DegeneracyWarning, stacklevel=user_depth())
    return np.where(zero, 0.0, x / np.where(zero, 1.0, s[..., None, :])).astype(x.dtype)


def _over_values_jvp(x, y, x_dot):
    (_, s), (t, s_dot) = x, x_dot
    if s_dot is None:
        return over_values(t, s)
    change = mul(y, reshape(s_dot, shape=(*s_dot.shape[:-1], 1, s_dot.shape[-1])))
    return over_values(-change if t is None else sub(t, change), s)


over_values = batch_leading(Primitive(
    "over_values",
    impl=_over_values_impl,
    aval=lambda x, s: x,
    jvp=_over_values_jvp,
    transpose=lambda y_bar, x, s: (None if isinstance(s, Linear) else over_values(y_bar, s), None),
    emit=BY_LAPACK,
    samples=lambda rng: [((draw(rng, NONZERO, (3, 2)), _spread(rng, 2) + 2.0), {}),
                         ((draw_complex(rng, NONZERO, (2, 3, 2)), np.stack([_spread(rng, 2), _spread(rng, 2)]) + 2.0), {})],
))


def _independent_impl(v):
    if v.size and np.any(np.linalg.cond(v) * v.shape[-1] * np.finfo(v.dtype).eps > 1.0):
        raise np.linalg.LinAlgError("eig: the eigenvectors are linearly dependent (the matrix is defective), so that eigenvalues and "
                                    "eigenvectors have no derivative")
    return np.ones(v.shape[:-2], part_dtype(v.dtype))


independent = batch_leading(nondifferentiable(
    "independent",                                          # 1 for eigenvectors that are a basis
    impl=_independent_impl,
    aval=lambda v: Aval(v.shape[:-2], part_dtype(v.dtype)),
    emit=BY_LAPACK,
    samples=lambda rng: [((draw(rng, NONZERO, (2, 3, 3)) + 4 * np.eye(3),), {})],
))


# ---------------------------------------------------------------- bases of a complement
def _turns(x, u, pulled):
    """Whether a tangent of a basis is one of several, or a cotangent asks for the part that is free.

    A real function of a basis U that is the same for all U W, W unitary, has a cotangent w with wᵀ U Hermitian.
    """
    if u.size == 0 or (u.shape[-1] == 1 and u.dtype.kind != "c"):
        return False
    if not pulled:
        return bool(np.any(x))
    m = np.swapaxes(x, -1, -2) @ u
    return _enters_scaled(m - np.conj(np.swapaxes(m, -1, -2)), x)


def _enters_scaled(part, x):
    return bool(np.max(np.abs(part), initial=0.0) > 64 * max(x.shape) * np.finfo(x.dtype).eps * np.max(np.abs(x), initial=0.0))


def _unrotated_impl(x, u, *, pulled):
    if _turns(x, u, pulled):
        warnings.warn("a derivative was asked for of the vectors that complete a basis (full_matrices=True of svd, mode='complete' of qr): "
                      "any rotation of them is as good, so it is right only for functions of the space they span. Use "
                      "full_matrices=False (mode='reduced') if they are not needed.", DegeneracyWarning, stacklevel=user_depth())
    return x


unrotated = batch_leading(Primitive(
    "unrotated",                                            # a tangent (cotangent) of the free basis u, as it is
    impl=_unrotated_impl,
    aval=lambda x, u, *, pulled: x,
    jvp=lambda x, y, x_dot, *, pulled: None if x_dot[0] is None else unrotated(x_dot[0], x[1], pulled=pulled),
    transpose=lambda y_bar, x, u, *, pulled: (None if isinstance(u, Linear) else unrotated(y_bar, u, pulled=not pulled), None),
    emit=BY_LAPACK,
    samples=lambda rng: [((draw(rng, NONZERO, (3, 1)), draw(rng, NONZERO, (3, 1))), {"pulled": False})],
))

__all__ = ["degenerate", "independent", "is_vanishing", "over_gaps", "over_values", "unrotated"]

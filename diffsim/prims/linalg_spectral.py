"""Eigenvalues and singular values, with their vectors.

Vectors are defined up to sign or phase (and mixing, where values are equal); ``linalg_gauge`` says what their derivatives are then.
"""

import numpy as np

from ..core import Aval, Primitive, aval_of
from ..core.aval import part_dtype, whole_dtype
from . import lapack_spectral
from .complexes import imag, make_complex, real
from .elementwise import add, div, equal, magnitude, mul, neg, sub, where
from .family import NOT_LINEAR
from .layout import concatenate, reduce_sum, reshape
from .linalg import solve
from .linalg_base import (
    BY_LAPACK,
    adjoint,
    batch_leading,
    columns_times,
    conjugate,
    diagonal,
    each_matrix,
    either,
    hermitian_from_lower,
    in_dtype,
    part,
    per_matrix,
    positive_definite,
    product,
    scipy_linalg,
)
from .linalg_gauge import independent, is_vanishing, over_gaps, over_values, unrotated
from .reduce import argmax


def real_part(x):
    """Real part of a complex array, a real array itself."""
    return real(x) if x.dtype.kind == "c" else x


def _spread_spectrum(rng, lead, n, kind):
    """Hermitian matrices whose eigenvalues lie apart."""
    a = positive_definite(rng, (*lead, n, n), kind)
    return a + np.diag(3.0 * np.arange(n))


# ---------------------------------------------------------------- Hermitian
def _eigh_impl(a, *, lower, driver=None):
    """By NumPy, or by the LAPACK driver SciPy would take: they differ in the signs of the vectors."""
    if driver is None or not a.size:
        return tuple(np.linalg.eigh(a, "L" if lower else "U"))
    return each_matrix(lambda m: scipy_linalg().eigh(m, lower=lower, driver=driver), _eigh_aval(aval_of(a)), a)


def _eigh_aval(a, **params):
    return Aval(a.shape[:-1], part_dtype(a.dtype)), a


def _eigh_jvp(x, y, x_dot, *, lower, driver=None):
    """w' = diag(Vᴴ A' V), V' = V (F ∘ Vᴴ A' V) with F[i, j] = 1 / (w[j] - w[i]) (Giles 2008, sec. 3.1).

    Of the phases of complex eigenvectors the derivative is taken to be zero: (V')ᴴ V has a zero diagonal.
    """
    (w, v), (a_dot,) = y, x_dot
    inner = product(adjoint(v), hermitian_from_lower(a_dot if lower else adjoint(a_dot)), v)
    return real_part(diagonal(inner)), product(v, over_gaps(inner, w))


eigh = batch_leading(Primitive(
    "eigh",                                                 # of the Hermitian matrix in one triangle
    impl=_eigh_impl,
    aval=_eigh_aval,
    jvp=_eigh_jvp,
    transpose=NOT_LINEAR,
    emit=lapack_spectral.eigh(BY_LAPACK),
    samples=lambda rng: [((_spread_spectrum(rng, lead, n, "f"),), {"lower": lower}) for lead, n, lower in (
        ((), 3, True), ((2,), 2, False), ((), 1, True))],   # of complex matrices differences see LAPACK's phases
    multiple=True,
))


def _triangle(a, lower):
    return hermitian_from_lower(a if lower else adjoint(a))


def _pair_jvp(x, y, x_dot, *, lower):
    """With M = Vᴴ (A' V - B' V W): w' = diag(M), V' = V (F ∘ M - diag(Vᴴ B' V) / 2), from Vᴴ B V = 1."""
    (w, v), (a_dot, b_dot) = y, x_dot
    vh, inner, growth = adjoint(v), None, None
    if a_dot is not None:
        inner = product(vh, _triangle(a_dot, lower), v)
    if b_dot is not None:
        change = product(vh, _triangle(b_dot, lower), v)
        growth = mul(where(np.eye(v.shape[-1], dtype=bool), change, 0.0), 0.5)
        change = columns_times(change, w)
        inner = neg(change) if inner is None else sub(inner, change)
    mixed = over_gaps(inner, w)
    return real_part(diagonal(inner)), product(v, mixed if growth is None else sub(mixed, growth))


eigh_pair = batch_leading(Primitive(
    "eigh_pair",                                            # A v = w B v, B positive definite
    impl=lambda a, b, *, lower: each_matrix(lambda a, b: scipy_linalg().eigh(a, b, lower=lower), _eigh_aval(aval_of(a)), a, b),
    aval=lambda a, b, *, lower: _eigh_aval(a),
    jvp=_pair_jvp,
    transpose=NOT_LINEAR,
    emit=BY_LAPACK,
    samples=lambda rng: [((np.diag([1.0, 5.0]) + either(rng, (2, 2), "f") / 4, np.diag([1.0, 2.0]) + either(rng, (2, 2), "f") / 4),
                          {"lower": lower}) for lower in (True, False)],
    multiple=True,
))


# ---------------------------------------------------------------- general
def _eig_impl(a):
    w, v = np.linalg.eig(a)
    dtype = whole_dtype(a.dtype)
    return w.astype(dtype), v.astype(dtype)


def _eig_jvp(x, y, x_dot):
    """w' = diag(V⁻¹ A' V), V' = V (F ∘ V⁻¹ A' V), less what LAPACK's normalisation takes away.

    Each vector has norm 1 and a real largest component (Boeddeker, Hanebrink, Drude, Heymann & Haeb-Umbach, arXiv:1701.00392).
    """
    (w, v), (a_dot,) = y, x_dot
    if not v.shape[-1]:
        return None, None
    v = mul(v, per_matrix(independent(v)))
    inner = solve(v, product(in_dtype(a_dot, v.dtype), v))
    v_dot = product(v, over_gaps(inner, w))
    axis = len(v.shape) - 2
    growth = reduce_sum(real(mul(conjugate(v), v_dot)), axes=(axis,))
    size = magnitude(v)
    at = argmax(size, axis=axis)
    largest = equal(reshape(at, shape=(*at.shape[:-1], 1, at.shape[-1])), np.arange(v.shape[-1])[:, None])
    turn = div(reduce_sum(where(largest, imag(v_dot), 0.0), axes=(axis,)), reduce_sum(where(largest, real(v), 0.0), axes=(axis,)))
    return diagonal(inner), sub(v_dot, columns_times(v, make_complex(growth, turn)))


def _eig_samples(rng):
    turn = np.array([[1.0, 2.0, 0.0], [-2.0, 1.0, 0.0], [0.0, 0.0, 4.0]])
    apart = np.diag([-3.0, 0.0, 3.0])
    return [((turn + 0.2 * either(rng, (3, 3), "f"),), {}), ((np.stack([apart, -apart]) + 0.3 * either(rng, (2, 3, 3), "f"),), {}),
            ((apart * (1 + 1j) + 0.3 * either(rng, (3, 3), "c"),), {})]


eig = batch_leading(Primitive(
    "eig",                                                  # complex values, whatever the matrix
    impl=_eig_impl,
    aval=lambda a: (Aval(a.shape[:-1], whole_dtype(a.dtype)), Aval(a.shape, whole_dtype(a.dtype))),
    jvp=_eig_jvp,
    transpose=NOT_LINEAR,
    emit=BY_LAPACK,
    samples=_eig_samples,
    multiple=True,
))


# ---------------------------------------------------------------- singular values
def _svd_aval(a, *, full):
    m, n = a.shape[-2:]
    k, lead = min(m, n), a.shape[:-2]
    return (Aval((*lead, m, m if full else k), a.dtype), Aval((*lead, k), part_dtype(a.dtype)),
            Aval((*lead, n if full else k, n), a.dtype))


def _over_sums(x, s):
    """x[i, j] / (s[i] + s[j]), 0 where both vanish."""
    lead, k = tuple(s.shape[:-1]), s.shape[-1]
    total = add(reshape(s, shape=(*lead, k, 1)), reshape(s, shape=(*lead, 1, k)))
    none = equal(total, 0.0)
    return where(none, 0.0, div(x, where(none, 1.0, total)))


def _outside(q, x, s):
    """(1 - Q Qᴴ) X / s: how vectors leave their space; nothing where they span all of it."""
    return None if q.shape[-2] == q.shape[-1] else over_values(sub(x, product(q, product(adjoint(q), x))), s)


def _completed(q_dot, q, full):
    """Tangent of a basis with that of the vectors completing it."""
    k, m = q.shape[-1], full.shape[-1]
    if m == k:
        return q_dot
    others = part(full, slice(None), slice(k, m))
    turned = unrotated(neg(product(q, product(adjoint(q_dot), others))), others, pulled=False)
    return concatenate(q_dot, turned, axis=len(q.shape) - 1)


def _svd_jvp(x, y, x_dot, *, full):
    """Tangents from P = Uᴴ A' V (Wan & Zhang, arXiv:1909.02659, sec. 2), by the Hermitian and skew parts of P.

    Uᴴ U' = P₊ / (s[j] - s[i]) + P₋ / (s[j] + s[i]) and Vᴴ V' = P₊ / (s[j] - s[i]) - P₋ / (s[j] + s[i]): so written, what equal singular
    values leave determined (U Vᴴ, say) stays right, and so does the phase of complex vectors, shared by U and V.
    """
    (u_full, s, vh_full), (a_dot,) = y, x_dot
    k = s.shape[-1]
    u, v = part(u_full, slice(None), slice(0, k)), adjoint(part(vh_full, slice(0, k), slice(None)))
    av, au = product(a_dot, v), product(adjoint(a_dot), u)
    inner = product(adjoint(u), av)
    even = over_gaps(mul(add(inner, adjoint(inner)), 0.5), s)
    odd = _over_sums(mul(sub(inner, adjoint(inner)), 0.5), s)
    u_dot, v_dot = product(u, add(even, odd)), product(v, sub(even, odd))
    beyond_u, beyond_v = _outside(u, av, s), _outside(v, au, s)
    u_dot = u_dot if beyond_u is None else add(u_dot, beyond_u)
    v_dot = v_dot if beyond_v is None else add(v_dot, beyond_v)
    s_dot = where(is_vanishing(s), 0.0, real_part(diagonal(inner)))
    return _completed(u_dot, u, u_full), s_dot, adjoint(_completed(v_dot, v, adjoint(vh_full)))


def _svd_samples(rng):
    out = []
    for lead, m, n in (((), 3, 3), ((2,), 4, 2), ((), 2, 3), ((), 1, 1)):
        a = 0.3 * either(rng, (*lead, m, n), "f")
        a[..., range(min(m, n)), range(min(m, n))] += 1.0 + 1.5 * np.arange(min(m, n))
        out.append(((a,), {"full": False}))
    return [*out, ((out[0][0][0], ), {"full": True})]


svd = batch_leading(Primitive(
    "svd",
    impl=lambda a, *, full: tuple(np.linalg.svd(a, full_matrices=full)),
    aval=_svd_aval,
    jvp=_svd_jvp,
    transpose=NOT_LINEAR,
    emit=lapack_spectral.svd(BY_LAPACK),
    samples=_svd_samples,
    multiple=True,
))

__all__ = ["eig", "eigh", "eigh_pair", "real_part", "svd"]

"""Equations for matrices: Sylvester's, Lyapunov's, Riccati's, and the polar decomposition they give the tangents of."""

import numpy as np

from ..core import Aval, Linear, Primitive
from .elementwise import add, mul, neg, sub
from .family import NOT_LINEAR
from .layout import unbroadcast
from .linalg import solve
from .linalg_base import (
    BY_LAPACK,
    adjoint,
    batch_leading,
    each_matrix,
    either,
    positive_definite,
    product,
    scipy_linalg,
    swap,
    well_conditioned,
)


def _sum(*terms):
    """Sum of the terms that are not None; None if there is none."""
    total = None
    for t in terms:
        if t is not None:
            total = t if total is None else add(total, t)
    return total


def _hermitian(a):
    return mul(add(a, adjoint(a)), 0.5)


# ---------------------------------------------------------------- Sylvester's equation
def _sylvester_impl(a, b, q):
    aval = Aval(q.shape, q.dtype)
    return each_matrix(lambda a, b, q: (scipy_linalg().solve_sylvester(a, b, q) if q.size else q,), (aval,), a, b, q)[0]


def _sylvester_jvp(x, y, x_dot):
    """A X' + X' B = Q' - A' X - X B'."""
    (a, b, _), (a_dot, b_dot, q_dot) = x, x_dot
    rhs = q_dot
    for change in (None if a_dot is None else product(a_dot, y), None if b_dot is None else product(y, b_dot)):
        if change is not None:
            rhs = neg(change) if rhs is None else sub(rhs, change)
    return sylvester(a, b, rhs)


def _sylvester_transpose(y_bar, a, b, q):
    if isinstance(a, Linear) or isinstance(b, Linear):
        return None, None, None
    return None, None, unbroadcast(sylvester(swap(a), swap(b), y_bar), q.aval)


def _sylvester_samples(rng):
    return [((well_conditioned(rng, (*lead, m, m), kind), well_conditioned(rng, (*lead, n, n), kind), either(rng, (*lead, m, n), kind)), {})
            for lead, m, n, kind in (((), 3, 2, "f"), ((2,), 2, 2, "f"), ((), 2, 2, "c"))]


sylvester = batch_leading(Primitive(
    "sylvester",                                            # X of A X + X B = Q
    impl=_sylvester_impl,
    aval=lambda a, b, q: q,
    jvp=_sylvester_jvp,
    transpose=_sylvester_transpose,
    emit=BY_LAPACK,
    samples=_sylvester_samples,
))


# ---------------------------------------------------------------- Lyapunov's equation in discrete time
def _discrete_impl(a, q):
    return each_matrix(lambda a, q: (scipy_linalg().solve_discrete_lyapunov(a, q) if q.size else q,), (Aval(q.shape, q.dtype),), a, q)[0]


def _discrete_jvp(x, y, x_dot):
    """X' - A X' Aᴴ = Q' + A' X Aᴴ + A X A'ᴴ."""
    (a, _), (t, q_dot) = x, x_dot
    if t is None:
        return discrete_lyapunov(a, q_dot)
    return discrete_lyapunov(a, _sum(q_dot, product(t, y, adjoint(a)), product(a, y, adjoint(t))))


discrete_lyapunov = batch_leading(Primitive(
    "discrete_lyapunov",                                    # X of X = A X Aᴴ + Q
    impl=_discrete_impl,
    aval=lambda a, q: q,
    jvp=_discrete_jvp,
    transpose=lambda y_bar, a, q: (None, None if isinstance(a, Linear) else discrete_lyapunov(swap(a), y_bar)),
    emit=BY_LAPACK,
    samples=lambda rng: [((either(rng, (*lead, n, n), kind) / 4, either(rng, (*lead, n, n), kind)), {}) for lead, n, kind in (
        ((), 3, "f"), ((2,), 2, "f"), ((), 2, "c"))],
))


# ---------------------------------------------------------------- Riccati's equations
def _riccati(name, change):
    """Row of a Riccati equation in A, B, Q, R, of which Q and R count by their Hermitian parts.

    ``change(a, b, r, x, a_dot, b_dot, q_dot, r_dot)`` is the tangent: the equation differentiated is linear in X' (Kao & Hennequin,
    arXiv:2011.11430).
    """
    def impl(a, b, q, r):
        solver = getattr(scipy_linalg(), f"solve_{name}_are")

        def one(a, b, q, r):
            return (solver(a, b, (q + q.conj().T) / 2, (r + r.conj().T) / 2),)
        return each_matrix(one, (Aval(a.shape, a.dtype),), a, b, q, r)[0]

    def jvp(x, y, x_dot):
        a_dot, b_dot, q_dot, r_dot = x_dot
        return change(x[0], x[1], _hermitian(x[3]), y, a_dot, b_dot, None if q_dot is None else _hermitian(q_dot),
                      None if r_dot is None else _hermitian(r_dot))

    def samples(rng):
        return [((either(rng, (n, n), kind) / 2, either(rng, (n, m), kind), positive_definite(rng, (n, n), kind),
                  positive_definite(rng, (m, m), kind)), {}) for n, m, kind in ((2, 1, "f"),)]

    return batch_leading(Primitive(f"{name}_riccati", impl=impl, aval=lambda a, b, q, r: a, jvp=jvp, transpose=NOT_LINEAR, emit=BY_LAPACK,
                                   samples=samples))


def _continuous(a, b, r, x, a_dot, b_dot, q_dot, r_dot):
    """With K = R⁻¹ Bᴴ X and M = A - B K: Mᴴ X' + X' M = -(Q' + A'ᴴ X + X A' - X B' K - Kᴴ B'ᴴ X + Kᴴ R' K)."""
    gain = solve(r, product(adjoint(b), x))
    closed = sub(a, product(b, gain))
    half = _sum(None if a_dot is None else product(x, a_dot), None if b_dot is None else neg(product(x, b_dot, gain)))
    whole = None if half is None else add(half, adjoint(half))
    total = _sum(q_dot, whole, None if r_dot is None else product(adjoint(gain), r_dot, gain))
    return sylvester(adjoint(closed), closed, neg(total))


def _discrete(a, b, r, x, a_dot, b_dot, q_dot, r_dot):
    """With K = (R + Bᴴ X B)⁻¹ Bᴴ X A and M = A - B K: X' - Mᴴ X' M = Q' + (A' - B' K)ᴴ X M + Mᴴ X (A' - B' K) + Kᴴ R' K."""
    bx = product(adjoint(b), x)
    gain = solve(add(r, product(bx, b)), product(bx, a))
    closed = sub(a, product(b, gain))
    moved = _sum(a_dot, None if b_dot is None else neg(product(b_dot, gain)))
    half = None if moved is None else product(adjoint(closed), x, moved)
    whole = None if half is None else add(half, adjoint(half))
    total = _sum(q_dot, whole, None if r_dot is None else product(adjoint(gain), r_dot, gain))
    return discrete_lyapunov(adjoint(closed), total)


continuous_riccati, discrete_riccati = _riccati("continuous", _continuous), _riccati("discrete", _discrete)


# ---------------------------------------------------------------- polar decomposition
def _polar_impl(a):
    u, _, vh = np.linalg.svd(a, full_matrices=False)
    return u @ vh


def _polar_jvp(x, y, x_dot):
    """A = U P gives Uᴴ A' - A'ᴴ U = W P + P W for W = Uᴴ U' (Kenney & Laub, SIAM J. Sci. Stat. Comput. 12, 1991, 488-504).

    Equal singular values need no care, unlike in a derivative through singular vectors.
    """
    (a,), (t,) = x, x_dot
    uh = adjoint(y)
    p = _hermitian(product(uh, a))
    inner = product(uh, t)
    w = sylvester(p, p, sub(inner, adjoint(inner)))
    y_dot = product(y, w)
    if a.shape[-2] == a.shape[-1]:
        return y_dot
    outside = sub(t, product(y, inner))                     # (1 - U Uᴴ) A', then times P⁻¹ from the right
    return add(y_dot, swap(solve(swap(p), swap(outside))))


polar = batch_leading(Primitive(
    "polar",                                                # U of A = U P, for independent columns
    impl=_polar_impl,
    aval=lambda a: a,
    jvp=_polar_jvp,
    transpose=NOT_LINEAR,
    emit=BY_LAPACK,
    samples=lambda rng: [((either(rng, (*lead, m, n), kind) + 3 * np.eye(m, n),), {}) for lead, m, n, kind in (
        ((), 3, 3, "f"), ((2,), 3, 2, "f"), ((), 2, 2, "c"))],
))

__all__ = ["continuous_riccati", "discrete_lyapunov", "discrete_riccati", "polar", "sylvester"]

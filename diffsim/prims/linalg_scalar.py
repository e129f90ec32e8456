"""Determinants, and least squares through the pseudoinverse."""

import warnings

import numpy as np

from ..core import REGISTRY, Aval, Const, Eqn, Linear, Primitive, Var, user_depth
from ..core.aval import part_dtype
from ..errors import DegeneracyWarning
from . import lapack
from .complexes import imag, make_complex
from .elementwise import add, mul, neg, sub
from .family import NOT_LINEAR, nondifferentiable
from .layout import basic, reduce_sum, unbroadcast
from .linalg import flipped_of, solve
from .linalg_base import (
    BY_LAPACK,
    adjoint,
    batch_leading,
    each_matrix,
    either,
    eye,
    eyes,
    per_matrix,
    product,
    swap,
    trace,
    well_conditioned,
)
from .linalg_spectral import real_part

#: Above this condition number cofactors are computed from singular values instead of the inverse.
WELL_CONDITIONED = 1e4
MATRIX = 2


# ---------------------------------------------------------------- determinant
def _det_jvp(x, y, x_dot):
    """det' = Σ C ∘ A' with C the cofactors: right at singular matrices too (Jacobi's formula)."""
    (a,), (t,) = x, x_dot
    n = len(a.shape)
    return reduce_sum(mul(cofactors(a), t), axes=(n - 2, n - 1))


def _drawn_square(rng, kind="f"):
    return [(well_conditioned(rng, (*lead, n, n), k) / 2, k) for lead, n, k in (((), 3, "f"), ((2,), 2, "f"), ((), 1, "f"), ((), 3, "c"))]


det = batch_leading(Primitive(
    "det",
    impl=np.linalg.det,
    aval=lambda a: Aval(a.shape[:-2], a.dtype),
    jvp=_det_jvp,
    transpose=NOT_LINEAR,
    emit=lapack.det(BY_LAPACK),
    samples=lambda rng: [((a,), {}) for a, _ in _drawn_square(rng)],
))


def _without(s, count):
    """Products of all numbers but one (``count`` 1) or two: no division, so zeros need no care."""
    n = len(s)
    if count == 1:
        return np.array([np.prod(np.delete(s, i)) for i in range(n)], s.dtype)
    out = np.zeros((n, n), s.dtype)
    for i in range(n):
        for j in range(i):
            out[i, j] = out[j, i] = np.prod(np.delete(s, [i, j]))
    return out


def _cofactors_of(a):
    """adj(A)ᵀ: det(A) A⁻ᵀ, or det(U Vᴴ) (V adj(S) Uᴴ)ᵀ where that would lose digits."""
    try:
        inverse = np.linalg.inv(a)
        if np.linalg.norm(a, 1) * np.linalg.norm(inverse, 1) < WELL_CONDITIONED:
            return np.linalg.det(a) * inverse.T
    except np.linalg.LinAlgError:
        pass
    u, s, vh = np.linalg.svd(a)
    return np.linalg.det(u @ vh) * (np.conj(u) * _without(s, 1)) @ np.conj(vh)


def _cofactors_jvp(x, y, x_dot):
    return cofactors_tangent(x[0], x_dot[0])


cofactors = batch_leading(Primitive(
    "cofactors",
    impl=lambda a: each_matrix(lambda m: (_cofactors_of(m) if m.size else m,), (Aval(a.shape, a.dtype),), a)[0],
    aval=lambda a: a,
    jvp=_cofactors_jvp,
    transpose=NOT_LINEAR,
    emit=BY_LAPACK,
    samples=lambda rng: [((a,), {}) for a, _ in _drawn_square(rng)],
))


def _cofactors_tangent_of(a, x):
    """In the basis of singular vectors, P the products of all but two of them and Y = Uᴴ X V: adj' = -P ∘ Y, its diagonal P diag(Y)."""
    u, s, vh = np.linalg.svd(a)
    y, p = u.conj().T @ x @ vh.conj().T, _without(s, 2)
    inner = -p * y
    np.fill_diagonal(inner, p @ np.diag(y))
    return (np.linalg.det(u @ vh) * (vh.conj().T @ inner @ u.conj().T)).T


def _cofactors_tangent_jvp(x, y, x_dot):
    """With B = A⁻ᵀ, C = det(A) B: C'[X] = tr(Bᵀ X) C - C Xᵀ B, differentiated once more; third derivatives need the inverse."""
    (a, t), (a_dot, t_dot) = x, x_dot
    out = None if t_dot is None else cofactors_tangent(a, t_dot)
    if a_dot is None:
        return out
    b, c = solve(swap(a), eyes(a)), cofactors(a)
    b_dot, c_dot = neg(product(b, swap(a_dot), b)), cofactors_tangent(a, a_dot)
    weights = [(trace(product(swap(u), t)), v) for u, v in ((b_dot, c), (b, c_dot))]
    scaled = add(*[mul(per_matrix(w), v) for w, v in weights])
    turned = add(product(c_dot, swap(t), b), product(c, swap(t), b_dot))
    change = sub(scaled, turned)
    return change if out is None else add(out, change)


def _cofactors_tangent_transpose(y_bar, a, x):
    """The second derivative of det is a symmetric form, so the map is its own transpose."""
    return (None, None) if isinstance(a, Linear) else (None, cofactors_tangent(a, y_bar))


cofactors_tangent = batch_leading(Primitive(
    "cofactors_tangent",                                    # of the cofactors of a, along x
    impl=lambda a, x: each_matrix(lambda m, t: (_cofactors_tangent_of(m, t) if m.size else m,), (Aval(x.shape, x.dtype),), a, x)[0],
    aval=lambda a, x: x,
    jvp=_cofactors_tangent_jvp,
    transpose=_cofactors_tangent_transpose,
    emit=BY_LAPACK,
    samples=lambda rng: [((a, either(rng, a.shape, kind)), {}) for a, kind in _drawn_square(rng)],
))


def _slogdet_jvp(x, y, x_dot):
    """log|det|' = Re tr(A⁻¹ A'); the sign of a complex determinant turns by its imaginary part."""
    change = trace(solve(x[0], x_dot[0]))
    if x[0].dtype.kind != "c":
        return None, change
    turn = imag(change)
    return mul(y[0], make_complex(np.zeros(tuple(turn.shape), turn.dtype), turn)), real_part(change)


def _slogdet_lean(eqn, needed, maker):
    """Of a matrix that is factorised in the program, or whose transpose is: the product of the pivots, and of the exchanges of rows."""
    a = eqn.inputs[0]
    base = flipped_of(a, maker)
    root = a if base is None else base
    found = next((e for e in maker.values() if e.prim.name == "lu" and e.inputs[0] is root), None)
    if found is None or len(a.aval.shape) != MATRIX or a.aval.size == 0 or a.aval.dtype.kind != "f":
        return None
    n, eqns = a.aval.shape[0], []

    def do(name, *inputs, out=None, **params):
        prim = REGISTRY[name]
        eqns.append(Eqn(prim, inputs, params, [Var(prim.aval(*[x.aval for x in inputs], **params)) if out is None else out], eqn.line))
        return eqns[-1].outputs[0]

    def number(x, dtype):
        return Const(np.asarray(x, dtype))

    packed, pivots = (Var(v.aval) for v in found.outputs)
    eqns.append(Eqn(found.prim, (root,), {}, (packed, pivots), eqn.line))
    u = do("index", do("reshape", packed, shape=(n * n,)), at=basic((n * n,), (slice(None, None, n + 1),)))
    size, real_type, count = do("abs", u), a.aval.dtype, np.dtype(int)
    turns = do("ne", do("lt", u, number(0, real_type)), do("ne", pivots, number(np.arange(n), np.int32)))
    odd = do("eq", do("mod", do("reduce_sum", do("convert", turns, dtype=count), axes=(0,)), number(2, count)), number(1, count))
    sign = do("where", odd, number(-1, real_type), number(1, real_type))
    singular = do("eq", do("reduce_min", size, axes=(0,)), number(0, real_type))
    do("where", singular, number(0, real_type), sign, out=eqn.outputs[0])
    do("reduce_sum", do("log", size), axes=(0,), out=eqn.outputs[1])
    return eqns, {}


slogdet = batch_leading(Primitive(
    "slogdet",
    impl=lambda a: tuple(np.linalg.slogdet(a)),
    aval=lambda a: (Aval(a.shape[:-2], a.dtype), Aval(a.shape[:-2], part_dtype(a.dtype))),
    jvp=_slogdet_jvp,
    transpose=NOT_LINEAR,
    emit=lapack.slogdet(BY_LAPACK),
    samples=lambda rng: [((a,), {}) for a, _ in _drawn_square(rng)],
    multiple=True,
    lean=_slogdet_lean,
))


# ---------------------------------------------------------------- pseudoinverse and least squares
def _constant_rank_impl(a, *, rcond):
    s = np.linalg.svd(a, compute_uv=False)
    if s.size and np.any(s[..., -1] <= rcond * s[..., 0]):
        warnings.warn("a derivative was asked for of the pseudoinverse of (or a least-squares solution with) a matrix of deficient rank: "
                      "it is right only for changes that keep the rank; any other makes the result jump.", DegeneracyWarning,
                      stacklevel=user_depth())
    return np.ones(a.shape[:-2], part_dtype(a.dtype))


constant_rank = batch_leading(nondifferentiable(
    "constant_rank",                                        # 1; warns of a matrix whose rank may change
    impl=_constant_rank_impl,
    aval=lambda a, *, rcond: Aval(a.shape[:-2], part_dtype(a.dtype)),
    emit=BY_LAPACK,
    samples=lambda rng: [((a,), {"rcond": 1e-15}) for a, _, _ in _tall_and_wide(rng)],
))


def _remainder(a, p):
    """1 - A P."""
    return sub(np.eye(a.shape[-2], dtype=a.dtype), product(a, p))


def _pinv_jvp(x, y, x_dot, *, rcond):
    """Golub & Pereyra, SIAM J. Numer. Anal. 10, 1973, 413-432, eq. 4.12: at constant rank."""
    (a,), (t,) = x, x_dot
    p, th = mul(y, per_matrix(constant_rank(a, rcond=rcond))), adjoint(t)
    ph = adjoint(p)
    first = neg(product(p, t, p))
    second = product(p, ph, th, _remainder(a, p))
    third = product(sub(eye(a), product(p, a)), th, ph, p)
    return add(first, add(second, third))


def _tall_and_wide(rng):
    out = []
    for lead, m, n, kind in (((), 3, 3, "f"), ((), 4, 2, "f"), ((2,), 2, 3, "f"), ((), 3, 2, "c")):
        a = 0.5 * either(rng, (*lead, m, n), kind)
        a[..., range(min(m, n)), range(min(m, n))] += 2.5
        out.append((a, lead, kind))
    return out


pinv = batch_leading(Primitive(
    "pinv",
    impl=lambda a, *, rcond: np.linalg.pinv(a, rcond),
    aval=lambda a, *, rcond: Aval((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype),
    jvp=_pinv_jvp,
    transpose=NOT_LINEAR,
    emit=BY_LAPACK,
    samples=lambda rng: [((a,), {"rcond": 1e-15}) for a, _, _ in _tall_and_wide(rng)],
))


def _lstsq_impl(a, b, *, rcond):
    shape = (*b.shape[:-2], a.shape[-1], b.shape[-1])
    return each_matrix(lambda m, c: (np.linalg.lstsq(m, c, rcond)[0],), (Aval(shape, b.dtype),), a, b)[0]


def _lstsq_jvp(x, y, x_dot, *, rcond):
    """x' = P (b' - A' x) + P Pᴴ A'ᴴ r + (1 - P A) A'ᴴ Pᴴ x, P the pseudoinverse and r = b - A x (from that of P)."""
    (a, b), (a_dot, b_dot) = x, x_dot
    p = pinv(a, rcond=rcond)
    if a_dot is None:
        return product(p, b_dot)
    p = mul(p, per_matrix(constant_rank(a, rcond=rcond)))
    ph, th = adjoint(p), adjoint(a_dot)
    change = neg(product(a_dot, y))
    out = product(p, change if b_dot is None else add(b_dot, change))
    out = add(out, product(p, product(ph, product(th, sub(b, product(a, y))))))
    z = product(th, product(ph, y))
    return add(out, sub(z, product(p, product(a, z))))


lstsq = batch_leading(Primitive(
    "lstsq",                                                # the solution of least norm
    impl=_lstsq_impl,
    aval=lambda a, b, *, rcond: Aval((*b.shape[:-2], a.shape[-1], b.shape[-1]), b.dtype),
    jvp=_lstsq_jvp,
    transpose=lambda y_bar, a, b, *, rcond: (None, None if isinstance(a, Linear) else unbroadcast(
        product(swap(pinv(a, rcond=rcond)), y_bar), b.aval)),
    emit=BY_LAPACK,
    samples=lambda rng: [((a, either(rng, (*lead, a.shape[-2], 2), kind)), {"rcond": 1e-15}) for a, lead, kind in _tall_and_wide(rng)],
))

__all__ = ["cofactors", "det", "lstsq", "pinv", "slogdet"]

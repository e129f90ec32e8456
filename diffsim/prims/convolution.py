"""Convolutions over all axes, and roots of polynomials.

A convolution is whole ("full") or taken where the shorter array lies inside the longer one ("valid").  The two are each other's transposes:
y = a * b gives a_bar = valid(y_bar, b reversed) for the full one, and full(y_bar, b reversed) for the valid one (Oppenheim & Schafer,
Discrete-Time Signal Processing, 3rd ed., sec. 2.3).
"""

import importlib
import math

import numpy as np

from ..core import Aval, Linear, Primitive
from ..core.emission import Back, Gather
from .elementwise import add, div, integer_pow, mul, neg
from .family import NOT_LINEAR, REAL, draw
from .layout import basic, convert, index, reshape, stack
from .layout import unbroadcast as _settled


def _shape(a, b, mode):
    if mode == "full":
        return tuple(m + n - 1 for m, n in zip(a, b, strict=True))
    return tuple(m - n + 1 for m, n in zip(a, b, strict=True))


def _aval(a, b, *, mode):
    if len(a.shape) != len(b.shape) or 0 in a.shape or 0 in b.shape:
        raise ValueError(f"convolve: the arrays must have the same number of dimensions and no empty one, not shapes {a.shape}, {b.shape}")
    if mode == "valid" and any(m < n for m, n in zip(a.shape, b.shape, strict=True)):
        raise ValueError(f"convolve: mode 'valid' needs a first array {a.shape} at least as long as the second {b.shape} along every axis")
    return Aval(_shape(a.shape, b.shape, mode), np.result_type(a.dtype, b.dtype))


def _impl(a, b, *, mode):
    dtype = np.result_type(a.dtype, b.dtype)
    if a.ndim == 1:
        return np.convolve(a, b, mode).astype(dtype, copy=False)
    if a.ndim == 0:
        return a * b
    signal = importlib.import_module("scipy.signal")
    return signal.convolve(a, b, mode, method="direct").astype(dtype, copy=False)


def reversed_(x):
    """The array read backwards along every axis."""
    return index(x, at=basic(tuple(x.shape), (slice(None, None, -1),) * len(x.shape)))


def _transpose(y_bar, a, b, *, mode):
    if mode == "full":
        a_bar = _settled(_valid(y_bar, reversed_(b)), a.aval) if isinstance(a, Linear) else None
        return a_bar, (_settled(_valid(y_bar, reversed_(a)), b.aval) if isinstance(b, Linear) else None)
    if isinstance(a, Linear):
        return _settled(convolve(y_bar, reversed_(b), mode="full"), a.aval), None
    return None, _settled(_valid(reversed_(a), y_bar), b.aval)


def _valid(a, b):
    return convolve(a, b, mode="valid")


def _jvp(x, y, x_dot, *, mode):
    (a, b), (a_dot, b_dot) = x, x_dot
    left = None if a_dot is None else convolve(a_dot, b, mode=mode)
    right = None if b_dot is None else convolve(a, b_dot, mode=mode)
    total = right if left is None else left if right is None else add(left, right)
    return total if total.dtype == y.dtype else convert(total, dtype=y.dtype)


def _batch(n, batched, a, b, *, mode):
    """One batched operand: the other is a kernel of length one along the batch axis."""
    if all(batched):
        members = [convolve(*[index(x, at=basic(tuple(x.shape), (i, *[slice(None)] * (len(x.shape) - 1)))) for x in (a, b)], mode=mode)
                   for i in range(n)]
        return stack(*members, axis=0)
    a, b = (x if on else reshape(x, shape=(1, *x.shape)) for x, on in zip((a, b), batched, strict=True))
    if batched[1] and mode == "valid":                      # the longer array comes first: here the batch is the kernel
        return _batch_of_kernels(n, a, b)
    return convolve(a, b, mode=mode)


def _batch_of_kernels(n, a, b):
    """y[k, i] = sum_j a[i + j] b[k, len - 1 - j]: by members."""
    a = index(a, at=basic(tuple(a.shape), (0, *[slice(None)] * (len(a.shape) - 1))))
    rows = [index(b, at=basic(tuple(b.shape), (i, *[slice(None)] * (len(b.shape) - 1)))) for i in range(n)]
    return stack(*[convolve(a, row, mode="valid") for row in rows], axis=0)


def _sparsity(i, a, b, *, mode):
    """Element k of the value meets a[k - j] b[j] (full), or a[k + n - 1 - j] b[j] (valid)."""
    reach = b.shape if i == 0 or mode == "valid" else a.shape
    over = (a.shape if i == 0 else b.shape) if mode == "full" else _shape(a.shape, b.shape, mode)
    grid = np.indices(over + reach).reshape(2, len(over), -1) if over else np.zeros((2, 0, 1), int)
    first, second = grid
    out = _shape(a.shape, b.shape, mode)
    if mode == "full":
        return np.ravel_multi_index(first + second, out), np.ravel_multi_index(first, over)
    rows = np.ravel_multi_index(first, out)
    if i == 0:
        return rows, np.ravel_multi_index(first + second, a.shape)
    return rows, np.ravel_multi_index(second, b.shape)


def _emit(k, at, a, b, *, mode):
    """y[k] = sum_j a[k - j] b[j], or a[k + n - 1 - j] b[j] with every term inside."""
    def term(j):
        if mode == "valid":
            return k.mul(a(tuple(k.iadd(i, k.isub(n - 1, m)) for i, m, n in zip(at, j, b.shape, strict=True))), b(j))
        place = tuple(k.isub(i, m) for i, m in zip(at, j, strict=True))
        inside = True
        for i, n in zip(place, a.shape, strict=True):
            inside = k.both(inside, k.both(k.icompare(">=", i, 0), k.icompare("<", i, n)))
        return k.mul(k.guarded(inside, lambda: a(place), a.aval), b(j))
    return k.reduce("add", b.shape, term, Aval((), np.result_type(a.dtype, b.dtype)))


def _samples(rng):
    cases = (((4,), (3,), "full"), ((5,), (2,), "valid"), ((1,), (1,), "full"), ((3, 4), (2, 2), "full"), ((3, 4), (2, 4), "valid"),
             ((2,), (5,), "full"))
    return [((draw(rng, REAL, s), draw(rng, REAL, t)), {"mode": mode}) for s, t, mode in cases]


convolve = Primitive(
    "convolve",
    impl=_impl,
    aval=_aval,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    sparsity=_sparsity,
    emit=Gather(_emit, work=lambda a, b, *, mode: math.prod(_shape(a.shape, b.shape, mode)) * b.size),
    samples=_samples,
)


# ---------------------------------------------------------------- roots of polynomials, the other way from coefficients
def _roots_impl(p):
    return np.roots(p).astype(np.result_type(p.dtype, np.complex64))


def _polyval(p, z):
    """Value at ``z`` of the polynomial with coefficients ``p``, highest power first."""
    y = None
    for i in range(p.shape[0]):
        c = index(p, at=basic(tuple(p.shape), (i,)))
        y = c if y is None else add(mul(y, z), c)
    return y


def _roots_jvp(x, y, x_dot):
    """p(z) = 0 gives z' = -p'(z; coefficients' tangents) / (dp/dz)."""
    (p,), (p_dot,) = x, x_dot
    n = p.shape[0]
    slope = _polyval(mul(index(p, at=basic(tuple(p.shape), (slice(0, n - 1),))), np.arange(n - 1.0, 0.0, -1.0).astype(p.dtype)), y)
    total = mul(index(p_dot, at=basic(tuple(p.shape), (n - 1,))), np.ones(n - 1, y.dtype))
    for i in range(n - 1):
        total = add(mul(integer_pow(y, n=n - 1 - i), index(p_dot, at=basic(tuple(p.shape), (i,)))), total)
    return neg(div(total, slope))


def _roots_samples(rng):
    return [((np.poly(np.sort(rng.uniform(0.5, 1.0, n)) * np.arange(1, n + 1)),), {}) for n in (1, 2, 3)]


#: Roots of a polynomial whose first and last coefficients are not zero.
polynomial_roots = Primitive(
    "polynomial_roots",
    impl=_roots_impl,
    aval=lambda p: Aval((p.shape[0] - 1,), np.result_type(p.dtype, np.complex64)),
    jvp=_roots_jvp,
    transpose=NOT_LINEAR,
    emit=Back("eigenvalues are found by LAPACK through NumPy"),
    samples=_roots_samples,
)

"""Polynomials as rows of coefficients, highest power first; convolution and correlation."""

import numpy as np

from ..core import FUNCTIONS, user_line
from ..errors import MissingRule
from ..prims import elementwise as ew
from ..prims.complexes import real
from ..prims.convolution import convolve as convolved
from ..prims.convolution import polynomial_roots, reversed_
from ..prims.layout import convert
from . import indexing
from .creation import vander
from .dispatch import row, value_of
from .reductions import at_least_array, sum
from .shapes import atleast_1d, concatenate, part, permuted, reshaped
from .stacking import lift
from .ufuncs import conjugate, matmul

PLANE = 2


# ---------------------------------------------------------------- convolution
@row(np.convolve, operands=2)
def convolve(a, v, mode="full"):
    a, v = (atleast_1d(at_least_array(x)) for x in (a, v))
    if 0 in (a.shape[0], v.shape[0]):
        raise ValueError(f"{'a' if a.shape[0] == 0 else 'v'} cannot be empty")
    a, v = (v, a) if v.shape[0] > a.shape[0] else (a, v)
    if mode == "valid":
        return convolved(a, v, mode="valid")
    full = convolved(a, v, mode="full")
    if mode == "full":
        return full
    if mode != "same":
        raise ValueError(f"mode must be one of 'valid', 'same', or 'full' (got {mode!r})")
    start = (v.shape[0] - 1) // 2
    return part(full, slice(start, start + a.shape[0]))


@row(np.correlate, operands=2)
def correlate(a, v, mode="valid"):
    """c_k = sum_n a_(n+k) conj(v_n)."""
    a, v = (atleast_1d(at_least_array(x)) for x in (a, v))
    if v.shape[0] > a.shape[0]:                             # NumPy exchanges the two and reads the result backwards
        return reversed_(conjugate(correlate(v, a, mode)))
    return convolve(a, reversed_(conjugate(v)), mode)


# ---------------------------------------------------------------- arithmetic
def _row(p):
    """Coefficients as a row."""
    return atleast_1d(at_least_array(lift(p)))


def _leading(p):
    """How many leading coefficients are zero by value."""
    plain = np.asarray(value_of(p, "which leading coefficients are zero"))
    nonzero = np.flatnonzero(plain)
    return int(nonzero[0]) if nonzero.size else max(plain.size - 1, 0)


def _padded(p, n):
    return p if p.shape[0] == n else concatenate([np.zeros(n - p.shape[0], p.dtype), p], 0)


@row(np.polyadd, operands=2)
def polyadd(a1, a2):
    a1, a2 = _row(a1), _row(a2)
    n = max(a1.shape[0], a2.shape[0])
    return ew.add(_padded(a1, n), _padded(a2, n))


@row(np.polysub, operands=2)
def polysub(a1, a2):
    a1, a2 = _row(a1), _row(a2)
    n = max(a1.shape[0], a2.shape[0])
    return ew.sub(_padded(a1, n), _padded(a2, n))


@row(np.polymul, operands=2)
def polymul(a1, a2):
    a1, a2 = _row(a1), _row(a2)
    return convolve(part(a1, slice(_leading(a1), None)), part(a2, slice(_leading(a2), None)))


@row(np.polydiv, operands=2)
def polydiv(u, v):
    """Quotient and remainder by synthetic division."""
    u, v = _row(u), _row(v)
    dtype = np.result_type(u.dtype, v.dtype, 1.0)
    u, v = (x if x.dtype == dtype else convert(x, dtype=dtype) for x in (u, v))
    m, n = u.shape[0] - 1, v.shape[0] - 1
    if m < n:
        quotient, r = np.zeros(max(m - n + 1, 1), dtype), u
    else:
        scale, r, out = ew.div(np.ones((), dtype), indexing.getitem(v, 0)), u, []
        for k in range(m - n + 1):
            d = ew.mul(scale, indexing.getitem(r, k))
            out.append(reshaped(d, (1,)))
            r = indexing.setitem(r, slice(k, k + n + 1), ew.sub(indexing.getitem(r, slice(k, k + n + 1)), ew.mul(v, d)))
        quotient = concatenate(out, 0)
    plain = np.asarray(value_of(r, "which leading coefficients of the remainder are zero"))
    start = 0
    while start < plain.size - 1 and np.allclose(plain[start], 0, rtol=1e-14):
        start += 1
    return quotient, part(r, slice(start, None))


def _order(m, name):
    if int(m) < 0:
        raise ValueError(f"Order of {name} must be positive")
    return int(m)


@row(np.polyder)
def polyder(p, m=1):
    y = atleast_1d(at_least_array(p))
    for _ in range(_order(m, "derivative")):
        n = y.shape[0] - 1
        y = ew.mul(part(y, slice(0, max(n, 0))), np.arange(max(n, 0), 0, -1))
    return y


@row(np.polyint, operands=1)
def polyint(p, m=1, k=None):
    y, m = atleast_1d(at_least_array(p)), _order(m, "integral")
    constants = np.zeros(m) if k is None else _row(k)
    if constants.shape[0] == 1 and m > 1:
        constants = ew.mul(constants, np.ones(m))
    if constants.shape[0] < m:
        raise ValueError("k must be a scalar or a rank-1 array of length 1 or >m.")
    for i in range(m):
        y = concatenate([ew.div(y, np.arange(y.shape[0], 0, -1)), part(constants, slice(i, i + 1))], 0)
    return y


@row(np.polyval, operands=2)
def polyval(p, x):
    """By Horner's rule, the highest power first."""
    p, x = at_least_array(p), at_least_array(x)
    y = ew.mul(x, 0.0) if x.dtype.kind in "fc" else np.zeros(tuple(x.shape), x.dtype)
    for i in range(p.shape[0]):
        y = ew.add(ew.mul(y, x), indexing.getitem(p, i))
    return y


# ---------------------------------------------------------------- roots
@row(np.poly)
def poly(seq_of_zeros):
    """Coefficients from roots, or of the characteristic polynomial of a matrix; real if the roots are in conjugate pairs."""
    z = atleast_1d(at_least_array(seq_of_zeros))
    if len(z.shape) == PLANE and z.shape[0] == z.shape[1] and z.shape[0]:
        z = FUNCTIONS[np.linalg.eigvals](z) if np.linalg.eigvals in FUNCTIONS else _no_eigenvalues()
    if len(z.shape) != 1:
        raise ValueError("input must be 1d or non-empty square 2d array.")
    if z.shape[0] == 0:
        return 1.0
    z = z if z.dtype.kind in "fc" else convert(z, dtype=np.dtype(float))
    y = np.ones(1, z.dtype)
    for i in range(z.shape[0]):
        factor = concatenate([np.ones(1, z.dtype), ew.neg(part(z, slice(i, i + 1)))], 0)
        y = convolved(y, factor, mode="full")
    if y.dtype.kind == "c":
        plain = np.asarray(value_of(z, "whether the roots are in conjugate pairs"))
        if np.all(np.sort(plain) == np.sort(plain.conjugate())):
            y = real(y)
    return y


def _no_eigenvalues():
    raise MissingRule("np.poly", "derivative", f"{user_line()}: of a matrix it needs eigenvalues, which have no rule")


@row(np.roots)
def roots(p):
    """Roots: their derivatives by the implicit function theorem, which needs them simple."""
    p = atleast_1d(at_least_array(p))
    if len(p.shape) != 1:
        raise ValueError("Input must be a rank-1 array.")
    plain = np.asarray(value_of(p, "the degree, and whether the roots are real, in np.roots"))
    nonzero = np.flatnonzero(plain)
    if not nonzero.size:
        return np.array([])
    low, high = int(nonzero[0]), int(nonzero[-1])
    model = np.roots(plain)
    p = part(p, slice(low, high + 1))
    p = p if p.dtype.kind in "fc" else convert(p, dtype=np.dtype(float))
    if high == low:
        return np.zeros(plain.size - 1 - high, model.dtype)
    z = polynomial_roots(p)
    z = real(z) if model.dtype.kind != "c" else z
    z = z if z.dtype == model.dtype else convert(z, dtype=model.dtype)
    return concatenate([z, np.zeros(plain.size - 1 - high, z.dtype)], 0)


# ---------------------------------------------------------------- fits
def _float_row(x):
    x = at_least_array(lift(x))
    return x if x.dtype.kind in "fc" else convert(x, dtype=np.dtype(float))


@row(np.polyfit, operands=2)
def polyfit(x, y, deg, rcond=None, full=False, w=None, cov=False):
    """Least squares on the scaled Vandermonde matrix, as NumPy."""
    if np.linalg.lstsq not in FUNCTIONS:
        raise MissingRule("np.polyfit", "derivative", f"{user_line()}: it needs np.linalg.lstsq, which has no rule")
    x, y, order = _float_row(x), _float_row(y), int(deg) + 1
    if deg < 0:
        raise ValueError("expected deg >= 0")
    if len(x.shape) != 1 or not x.shape[0] or len(y.shape) not in (1, PLANE) or x.shape[0] != y.shape[0]:
        raise TypeError(f"polyfit: x of shape {tuple(x.shape)} and y of shape {tuple(y.shape)} do not fit")
    rcond = x.shape[0] * np.finfo(x.dtype).eps if rcond is None else rcond
    lhs, rhs = vander(x, order), y
    if w is not None:
        w = _float_row(w)
        lhs = ew.mul(lhs, reshaped(w, (w.shape[0], 1)))
        rhs = ew.mul(rhs, w if len(y.shape) == 1 else reshaped(w, (w.shape[0], 1)))
    scale = ew.sqrt(sum(ew.mul(lhs, lhs), 0))
    lhs = ew.div(lhs, scale)
    c, residuals, rank, singular = FUNCTIONS[np.linalg.lstsq](lhs, rhs, rcond)
    c = ew.div(c, scale if len(y.shape) == 1 else reshaped(scale, (order, 1)))
    if full:
        return c, residuals, rank, singular, rcond
    if not cov:
        return c
    base = FUNCTIONS[np.linalg.inv](matmul(permuted(lhs, (1, 0)), lhs))
    base = ew.div(base, ew.mul(reshaped(scale, (order, 1)), scale))
    if cov == "unscaled":
        return c, base
    if x.shape[0] <= order:
        raise ValueError("the number of data points must exceed order to scale the covariance matrix")
    factor = ew.div(residuals, float(x.shape[0] - order))
    return c, ew.mul(base if len(y.shape) == 1 else reshaped(base, (order, order, 1)), factor)


__all__ = ["convolve", "correlate", "poly", "polyval", "roots"]

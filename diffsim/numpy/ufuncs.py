"""Ufuncs: the entries of the primitives, and the ufuncs composed of them."""

import numpy as np

from ..core import UFUNCS, Primitive, Tracer, is_weak
from ..prims import elementwise as ew
from ..prims.complexes import conj
from ..prims.contract import dot_general
from ..prims.layout import broadcast_to, convert
from .dispatch import VALUE_ONLY, elementwise_entry, refuse, ufunc_row
from .stacking import lift

MATRIX = 2
DEGREE = np.pi / 180

_VALUED = (ew.sign, ew.floor, ew.ceil, ew.rint, ew.trunc, ew.floor_divide, ew.isfinite, ew.isnan, ew.isinf, ew.equal, ew.not_equal, ew.less,
           ew.less_equal, ew.greater, ew.greater_equal, ew.logical_and, ew.logical_or, ew.logical_xor, ew.logical_not)

for _ufunc, _prim in list(UFUNCS.items()):
    if isinstance(_prim, Primitive):
        UFUNCS[_ufunc] = elementwise_entry(_prim, _ufunc.nin)
        if _prim in _VALUED:
            VALUE_ONLY.add(_ufunc)

UFUNCS[np._core.umath.clip] = elementwise_entry(ew.clip, 3)                 # what ``a.clip(low, high)`` of a plain array calls


# ---------------------------------------------------------------- powers
_MAX_POWER, HALF = 64, 0.5


def _constant_power(x, y):
    """x to a number: integers by products (exact at 0, right for negative bases), one half by the square root."""
    if y == int(y) and abs(y) <= _MAX_POWER:
        return ew.integer_pow(x, n=int(y))
    if y == HALF:
        return ew.sqrt(x)
    return ew.scalar_pow(x, exponent=float(y))


@ufunc_row(np.power)
def power(x, y):
    if isinstance(x, Tracer) and x.dtype.kind in "fc" and not isinstance(y, Tracer):
        kind = y.__class__
        if kind is int or kind is float or (isinstance(y, (np.float64, np.integer)) and np.result_type(x.dtype, y.dtype) == x.dtype):
            if np.isfinite(y):
                return _constant_power(x, y)
        elif isinstance(y, np.ndarray) and y.dtype.kind in "iu":
            y = y.astype(np.result_type(x.dtype, y.dtype))
    return ew.power(x, y)


@ufunc_row(np.float_power)
def float_power(x, y):
    complexes = any((a if hasattr(a, "dtype") else np.asarray(a)).dtype.kind == "c" for a in (x, y))
    dtype = np.dtype(complex if complexes else float)
    return power(convert(x if hasattr(x, "shape") else np.asarray(x), dtype=dtype), y)


# ---------------------------------------------------------------- composed of others
@ufunc_row(np.positive)
def positive(x):
    np.positive.resolve_dtypes((x.dtype, None))             # raises for truth values, as NumPy does
    return x


@ufunc_row(np.absolute)
def absolute(x):
    return ew.magnitude(x)


@ufunc_row(np.conjugate)
def conjugate(x):
    if x.dtype.kind == "c":
        return conj(x)
    return x if x.dtype.kind != "b" else convert(x, dtype=np.dtype(np.int8))            # NumPy's has no loop of truth values


@ufunc_row(np.sign)
def sign(x):
    """Of a complex number its direction z / |z|, 0 at 0, which does have a derivative."""
    if x.dtype.kind != "c":
        return ew.sign(x)
    size = ew.magnitude(x)
    zero = ew.equal(size, 0.0)
    return ew.where(zero, 0.0, ew.div(x, ew.where(zero, 1.0, size)))


@ufunc_row(np.fabs)
def fabs(x):
    return ew.absolute(_inexact(np.fabs, x))


@ufunc_row(np.deg2rad, np.radians)
def deg2rad(x):
    return ew.mul(_inexact(np.deg2rad, x), DEGREE)


@ufunc_row(np.rad2deg, np.degrees)
def rad2deg(x):
    return ew.mul(_inexact(np.rad2deg, x), 180 / np.pi)


def _inexact(ufunc, x):
    """An operand in the dtype a ufunc of floating-point numbers computes in."""
    dtype = ufunc.resolve_dtypes((x.dtype, None))[0]
    return x if x.dtype == dtype else convert(x, dtype=dtype)


@ufunc_row(np.fmax)
def fmax(x, y):
    return ew.maximum(ew.where(ew.isnan(x), y, x), ew.where(ew.isnan(y), x, y))


@ufunc_row(np.fmin)
def fmin(x, y):
    return ew.minimum(ew.where(ew.isnan(x), y, x), ew.where(ew.isnan(y), x, y))


@ufunc_row(np.heaviside)
def heaviside(x, at_zero):
    step = ew.where(ew.equal(x, 0.0), at_zero, ew.where(ew.greater(x, 0.0), 1.0, 0.0))
    out = ew.where(ew.isnan(x), np.nan, step)
    kinds = [v.dtype if not is_weak(v) else v.__class__ if v.__class__ is int else float for v in (x, at_zero)]
    dtype = np.heaviside.resolve_dtypes((*kinds, None))[-1]
    return out if out.dtype == dtype else convert(out, dtype=dtype)


@ufunc_row(np.divmod)
def divmod_(x, y):
    return ew.floor_divide(x, y), ew.remainder(x, y)


@ufunc_row(np.modf)
def modf(x):
    x = lift(x)
    if x.dtype.kind in "biu":                             # the fraction of an integer is a float
        x = convert(x, dtype=np.modf.resolve_dtypes((x.dtype, None, None))[1])
    finite = ew.where(ew.isinf(x), 0.0, x)                # infinity has the fraction 0
    return ew.sub(finite, ew.trunc(finite)), ew.trunc(x)


@ufunc_row(np.ldexp)
def ldexp(x, exponent):
    x = lift(x)
    x = _inexact(np.exp2, x if hasattr(x, "dtype") else np.asarray(x))
    return ew.mul(x, ew.exp2(convert(lift(exponent) if hasattr(exponent, "shape") else np.asarray(exponent), dtype=x.dtype)))


@ufunc_row(np.signbit, value=True)
def signbit(x):
    return ew.less(ew.copysign(1.0, x), 0.0)


@ufunc_row(np.bitwise_and, value=True)
def bitwise_and(x, y):
    return _bits(ew.logical_and, ew.bitwise_and, x, y)


@ufunc_row(np.bitwise_or, value=True)
def bitwise_or(x, y):
    return _bits(ew.logical_or, ew.bitwise_or, x, y)


@ufunc_row(np.bitwise_xor, value=True)
def bitwise_xor(x, y):
    return _bits(ew.logical_xor, ew.bitwise_xor, x, y)


@ufunc_row(np.invert, value=True)
def invert(x):
    return _bits(ew.logical_not, ew.invert, x)


@ufunc_row(np.left_shift, value=True)
def left_shift(x, y):
    return _bits(ew.left_shift, ew.left_shift, x, y)


@ufunc_row(np.right_shift, value=True)
def right_shift(x, y):
    return _bits(ew.right_shift, ew.right_shift, x, y)


def _bits(of_truths, of_integers, *x):
    """A bit operation: of truth values it is a logical one."""
    if not any(isinstance(a, Tracer) for a in x):
        return of_integers.impl(*x)
    kinds = {(a.dtype if hasattr(a, "dtype") else np.asarray(a).dtype).kind for a in x}
    if kinds - set("biu"):
        raise TypeError(f"np.{of_integers.name} takes integers and truth values, not floating-point or complex numbers; as in NumPy")
    return (of_truths if kinds == {"b"} else of_integers)(*x)


# ---------------------------------------------------------------- products of matrices and vectors
def _dims(*arrays):
    return [x if hasattr(x, "shape") else np.asarray(x) for x in arrays]


def _batched(a, b, n_a, n_b):
    """Operands with equal leading axes, and how many there are; ``n_a``, ``n_b`` trailing axes take part in the product."""
    lead_a, lead_b = tuple(a.shape[:len(a.shape) - n_a]), tuple(b.shape[:len(b.shape) - n_b])
    lead = lead_a if lead_a == lead_b else np.broadcast_shapes(lead_a, lead_b)
    if lead_a != lead:
        a = broadcast_to(a, shape=lead + tuple(a.shape[len(lead_a):]))
    if lead_b != lead:
        b = broadcast_to(b, shape=lead + tuple(b.shape[len(lead_b):]))
    return a, b, len(lead)


def _contract(a, b, axis_a, axis_b, n_batch):
    """Sum over one axis of each, batched over the leading ``n_batch``; numbers of the axes count from the front."""
    if a.shape[axis_a] != b.shape[axis_b]:
        raise ValueError(f"matmul: shapes {tuple(a.shape)} and {tuple(b.shape)} do not fit: axis {axis_a} has length {a.shape[axis_a]}, "
                         f"axis {axis_b} has length {b.shape[axis_b]}")
    batch = tuple(range(n_batch))
    return dot_general(a, b, contract=((axis_a,), (axis_b,)), batch=(batch, batch))


@ufunc_row(np.matmul)
def matmul(a, b):
    a, b = _dims(a, b)
    if not a.shape or not b.shape:
        raise ValueError("matmul: an operand has no dimension; use * to multiply by a number")
    if len(b.shape) <= MATRIX:
        return _contract(a, b, len(a.shape) - 1, max(len(b.shape) - 2, 0), 0)
    if len(a.shape) == 1:
        return _contract(b, a, len(b.shape) - 2, 0, 0)
    a, b, n = _batched(a, b, 2, 2)
    return _contract(a, b, n + 1, n, n)


@ufunc_row(np.vecdot)
def vecdot(a, b):
    a, b, n = _batched(*_dims(a, b), 1, 1)
    return _contract(conjugate(a), b, n, n, n)


@ufunc_row(np.matvec)
def matvec(a, b):
    a, b, n = _batched(*_dims(a, b), 2, 1)
    return _contract(a, b, n + 1, n, n)


@ufunc_row(np.vecmat)
def vecmat(a, b):
    a, b, n = _batched(*_dims(a, b), 1, 2)
    return _contract(conjugate(a), b, n, n, n)


refuse("it is defined for dates", np.isnat)

__all__ = ["float_power", "fmax", "fmin", "matmul", "power"]

"""Norms of every order, of vectors and matrices, and condition numbers.

At a kink the derivative is a subgradient: 0 of a norm at the origin and of a singular value that vanishes, the average of those of
components that tie for an extreme.
"""

import numpy as np

from ..core import user_line
from ..errors import InputError
from ..prims import elementwise as ew
from ..prims.layout import convert, reduce_sum
from . import indexing
from .dispatch import row
from .matrices import MATRIX, inexact, inv, square, squared, stacked_matrices, svdvals
from .reductions import at_least_array, axes_of, max, min, reduced, safe_sqrt, sum
from .shapes import permuted, reshaped


def _floating(x):
    """Integers as double precision; any other dtype as it is."""
    x = at_least_array(x)
    return convert(x, dtype=np.dtype(float)) if x.dtype.kind in "biu" else x


def _size(x):
    return int(np.prod(x.shape))


@row(np.linalg.norm, operands=1)
def norm(x, ord=None, axis=None, keepdims=False):
    x = _floating(x)
    n = len(x.shape)
    if axis is None and (ord is None or (ord in ("f", "fro") and n == MATRIX) or (_is_two(ord) and n == 1)):
        return reduced(lambda v, axes: safe_sqrt(reduce_sum(squared(v), axes=axes) if axes else squared(v)), x, None, keepdims)
    axes = _given_axes(axis, n)
    if len(axes) == 1:
        return _vector_norm(x, ord, axes[0], keepdims)
    if len(axes) != MATRIX:
        raise ValueError("Improper number of dimensions to norm.")
    return _matrix_norm(x, ord, axes, keepdims)


def _is_two(order):
    return not isinstance(order, str) and order == MATRIX


def _given_axes(axis, n):
    """Axes in the order given: of a matrix norm the first counts rows."""
    if axis is None or np.ndim(axis) == 0:
        return axes_of(axis, n)
    axes = np.lib.array_utils.normalize_axis_tuple(tuple(axis), n, allow_duplicate=True)
    if len(set(axes)) != len(axes):
        raise ValueError("Duplicate axes given.")
    return tuple(axes)


@row(np.linalg.vector_norm)
def vector_norm(x, /, *, axis=None, keepdims=False, ord=2):
    x = _floating(x)
    if axis is None:
        shape = tuple(x.shape)
        y = _vector_norm(reshaped(x, (_size(x),)), ord, 0, False)
        return reshaped(y, (1,) * len(shape)) if keepdims else y
    return _vector_norm(x, ord, axes_of(axis, len(x.shape))[0], keepdims) if np.ndim(axis) == 0 else _joint_norm(x, ord, axis, keepdims)


def _joint_norm(x, ord, axis, keepdims):
    axes = axes_of(axis, len(x.shape))
    kept = tuple(i for i in range(len(x.shape)) if i not in axes)
    flat = reshaped(permuted(x, kept + axes), (*[x.shape[i] for i in kept], int(np.prod([x.shape[i] for i in axes]))))
    y = _vector_norm(flat, ord, len(kept), False)
    return reshaped(y, tuple(1 if i in axes else s for i, s in enumerate(x.shape))) if keepdims else y


@row(np.linalg.matrix_norm)
def matrix_norm(x, /, *, keepdims=False, ord="fro"):
    x = _floating(x)
    return _matrix_norm(x, ord, (len(x.shape) - 2, len(x.shape) - 1), keepdims)


def _vector_norm(x, order, axis, keepdims):
    if order is None or order == 2:
        return safe_sqrt(sum(squared(x), axis, None, keepdims))
    if isinstance(order, str):
        raise ValueError(f"Invalid norm order '{order}' for vectors")
    size = ew.magnitude(x)
    if order in (np.inf, -np.inf):
        return max(size, axis, keepdims) if order > 0 else min(size, axis, keepdims)
    if order == 0:
        return sum(convert(ew.not_equal(size, 0.0), dtype=size.dtype), axis, None, keepdims)
    if order == 1:
        return sum(size, axis, None, keepdims)
    total = sum(_powers(size, float(order)), axis, None, keepdims)
    zero = ew.equal(total, 0.0)
    return ew.where(zero, 0.0, ew.scalar_pow(ew.where(zero, 1.0, total), exponent=1.0 / float(order)))


def _powers(size, order):
    """Powers of sizes; those of zero have the derivative zero where the power is positive."""
    if order < 0:
        return ew.scalar_pow(size, exponent=order)
    zero = ew.equal(size, 0.0)
    return ew.where(zero, 0.0, ew.scalar_pow(ew.where(zero, 1.0, size), exponent=order))


def _matrix_norm(x, order, axes, keepdims):
    row_axis, column_axis = axes
    if order in (None, "fro", "f"):
        return safe_sqrt(sum(squared(x), axes, None, keepdims))
    if order in (1, -1, np.inf, -np.inf):
        inner_axis = row_axis if order in (1, -1) else column_axis
        extreme = max if order > 0 else min
        return extreme(sum(ew.magnitude(x), inner_axis, None, True), axes, keepdims)
    if order not in (2, -2, "nuc"):
        raise ValueError(f"Invalid norm order '{order}' for matrices." if isinstance(order, str) else "Invalid norm order for matrices.")
    kept = tuple(i for i in range(len(x.shape)) if i not in axes)
    s = svdvals(permuted(x, (*kept, row_axis, column_axis)))
    y = sum(s, -1) if order == "nuc" else max(s, -1) if order > 0 else min(s, -1)
    return reshaped(y, tuple(1 if i in axes else n for i, n in enumerate(x.shape))) if keepdims else y


@row(np.linalg.cond)
def cond(x, p=None):
    x = stacked_matrices(inexact(x), "cond")
    if 0 in x.shape[-2:]:
        raise np.linalg.LinAlgError("cond is not defined on empty arrays")
    if p is None or p in (2, -2):
        s = svdvals(x)
        first, last = (indexing.getitem(s, (..., i)) for i in (0, -1))
        return ew.div(last, first) if p == -2 else ew.div(first, last)
    square(x, "cond")
    if isinstance(p, str) and p not in ("fro", "nuc"):
        raise InputError(f"cond: {user_line()}: there is no norm of order {p!r}")
    return ew.mul(norm(x, p, (-2, -1)), norm(inv(x), p, (-2, -1)))


__all__ = ["cond", "norm"]

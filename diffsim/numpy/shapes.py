"""Shapes, axes, joins and rearrangements.

What NumPy returns as a view is entered with ``view=True`` and built of three steps that a mutable array takes as views: ``permuted``,
``reshaped`` and ``part``.
"""

import builtins
import operator

import numpy as np

from ..errors import InputError
from ..prims import layout
from . import indexing
from .array import Array
from .dispatch import row
from .memory import viewable
from .reductions import at_least_array, axes_of
from .stacking import Handle, join, lift, lift_all, same_dtype
from .views import resolve_shape


# ---------------------------------------------------------------- the three view steps
def permuted(x, axes):
    """Axes in another order."""
    if x.__class__ is Array:
        return x.permuted(axes)
    return x if axes == tuple(range(len(axes))) else layout.transpose(x, axes=axes)


def reshaped(x, shape):
    """Another shape over the same elements."""
    if x.__class__ is Array:
        return x.reshaped(shape)
    return x if tuple(x.shape) == tuple(shape) else layout.reshape(x, shape=tuple(shape))


def part(x, key):
    """``x[key]``."""
    return x[key] if x.__class__ is Array else indexing.getitem(x, key)


def along(axis, ndim, entry):
    """Key that takes ``entry`` along one axis and everything along the others."""
    return tuple(entry if i == axis else slice(None) for i in range(ndim))


def _size(x):
    return int(np.prod(x.shape))


# ---------------------------------------------------------------- shapes
@row(np.reshape, view=True)
def reshape(a, /, shape, order="C", *, copy=None):
    a = at_least_array(a)
    shape = resolve_shape(shape, _size(a))
    if order == "A" and a.__class__ is Array:
        order = "F" if a.flags.f_contiguous and not a.flags.c_contiguous else "C"
    if copy is False and a.__class__ is Array and not viewable(a._shadow(), shape, order):
        raise ValueError("Unable to avoid creating a copy while reshaping.")
    if order == "F":
        y = reshaped(permuted(a, tuple(reversed(range(len(a.shape))))), tuple(reversed(shape)))
        y = permuted(y, tuple(reversed(range(len(shape)))))
    else:
        y = reshaped(a, shape)
    return y.copy() if copy and isinstance(y, Handle) else y


@row(np.ravel, view=True)
def ravel(a, order="C"):
    a = at_least_array(a)
    if a.__class__ is not Array or not a._path:
        return reshape(a, -1, order=order if order != "K" else "C")
    if order == "K":
        return a.in_memory_order()
    flags = a.flags
    order = "F" if order == "F" or (order == "A" and flags.f_contiguous and not flags.c_contiguous) else "C"
    viewed = flags.c_contiguous if order == "C" else flags.f_contiguous
    return reshape(a if viewed else a.copy(order), -1, order=order)


@row(np.transpose, np.permute_dims, view=True)
def transpose(a, axes=None):
    a = at_least_array(a)
    n = len(a.shape)
    if axes is None:
        return permuted(a, tuple(reversed(range(n))))
    axes = tuple(np.lib.array_utils.normalize_axis_tuple(axes, n))
    if len(axes) != n:
        raise InputError(f"transpose: {len(axes)} axes for an array of {n} dimensions")
    return permuted(a, axes)


@row(np.matrix_transpose, np.linalg.matrix_transpose, view=True)
def matrix_transpose(x, /):
    n = len(x.shape)
    return permuted(x, (*range(n - 2), n - 1, n - 2))


@row(np.swapaxes, view=True)
def swapaxes(a, axis1, axis2):
    n = len(a.shape)
    i, j = axes_of(axis1, n)[0], axes_of(axis2, n)[0]
    return permuted(a, tuple(j if k == i else i if k == j else k for k in range(n)))


@row(np.moveaxis, view=True)
def moveaxis(a, source, destination):
    return permuted(a, tuple(n - 1 for n in np.moveaxis(_axis_numbers(a), source, destination).shape))


@row(np.rollaxis, view=True)
def rollaxis(a, axis, start=0):
    return permuted(a, tuple(n - 1 for n in np.rollaxis(_axis_numbers(a), axis, start).shape))


def _axis_numbers(a):
    """Array without memory whose axis i has length i + 1: NumPy's own axis functions then tell the order."""
    return np.broadcast_to(np.int8(0), tuple(range(1, len(a.shape) + 1)))


@row(np.expand_dims, view=True)
def expand_dims(a, axis):
    a = at_least_array(a)
    return reshaped(a, np.expand_dims(np.broadcast_to(np.int8(0), tuple(a.shape)), axis).shape)


@row(np.squeeze, view=True)
def squeeze(a, axis=None):
    shape = np.squeeze(np.broadcast_to(np.int8(0), tuple(a.shape)), axis).shape
    return a if shape == tuple(a.shape) else reshaped(a, shape)


def _at_least(n, place):
    def rule(*arys):
        out = [y if isinstance(y, Array) else at_least_array(lift(y)) for y in arys]
        out = [x if place(tuple(x.shape)) == tuple(x.shape) else reshaped(x, place(tuple(x.shape))) for x in out]
        return out[0] if len(out) == 1 else tuple(out)
    rule.__name__ = f"atleast_{n}d"
    return rule


atleast_1d = row(np.atleast_1d, operands=0, view=True)(_at_least(1, lambda s: s or (1,)))
atleast_2d = row(np.atleast_2d, operands=0, view=True)(_at_least(2, lambda s: (1,) * (2 - len(s)) + s))
atleast_3d = row(np.atleast_3d, operands=0, view=True)(_at_least(3, lambda s: ((1, 1, 1), (1, *s, 1), (*s, 1), s)[min(len(s), 3)]))


@row(np.broadcast_to, view=True)
def broadcast_to(array, shape, subok=False):
    x = at_least_array(array)
    shape = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(int(s) for s in shape)
    if x.__class__ is Array:                                # NumPy's is a read-only view
        return x.moved(lambda a: np.broadcast_to(a, shape), lambda a: layout.broadcast_to(a, shape=shape))
    np.broadcast_shapes(tuple(x.shape), shape)
    return x if tuple(x.shape) == shape else layout.broadcast_to(x, shape=shape)


@row(np.broadcast_arrays, operands=0, view=True)
def broadcast_arrays(*args, subok=False):
    args = [x if x.__class__ is Array else at_least_array(lift(x)) for x in args]
    shape = np.broadcast_shapes(*[tuple(x.shape) for x in args])
    return tuple(broadcast_to(x, shape) for x in args)


# ---------------------------------------------------------------- reversals
@row(np.flip, view=True)
def flip(m, axis=None):
    axes = axes_of(axis, len(m.shape))
    return part(m, tuple(slice(None, None, -1) if i in axes else slice(None) for i in range(len(m.shape))))


@row(np.fliplr, view=True)
def fliplr(m):
    return flip(m, 1)


@row(np.flipud, view=True)
def flipud(m):
    return flip(m, 0)


@row(np.rot90, view=True)
def rot90(m, k=1, axes=(0, 1)):
    i, j = axes_of(axes[0], len(m.shape))[0], axes_of(axes[1], len(m.shape))[0]
    k %= 4
    if k in (0, 2):
        return part(m, slice(None)) if k == 0 else flip(flip(m, i), j)
    return flip(swapaxes(m, i, j), i) if k == 1 else swapaxes(flip(m, i), i, j)


# ---------------------------------------------------------------- joins
def joined(values, axis):
    """Values end to end along an axis, in the dtype of them all."""
    values = same_dtype([at_least_array(x) for x in values])
    return values[0] if len(values) == 1 else layout.concatenate(*values, axis=axis)


@row(np.concatenate, operands=0)
def concatenate(arrays, axis=0, *, dtype=None, casting="same_kind"):
    values = [at_least_array(x) for x in lift_all(_members(arrays))]
    if axis is None:
        values, axis = [reshaped(x, (_size(x),)) for x in values], 0
    if not values:
        raise InputError("need at least one array to concatenate")
    if builtins.any(len(x.shape) == 0 for x in values):
        raise InputError("values of no dimension cannot be concatenated; use np.stack or np.array([...])")
    axis = axes_of(axis, len(values[0].shape))[0]
    _check_join(values, axis)
    y = joined(values, axis)
    return y if dtype is None else layout.convert(y, dtype=np.dtype(dtype))


def _members(arrays):
    """Arrays of a sequence: the rows of a traced or mutable array, or the sequence itself."""
    return arrays.read() if isinstance(arrays, Handle) else arrays


def _check_join(values, axis):
    rest = {tuple(s for i, s in enumerate(x.shape) if i != axis) for x in values}
    if len(rest) > 1 or len({len(x.shape) for x in values}) > 1:
        shapes = ", ".join(str(tuple(x.shape)) for x in values)
        raise InputError(f"all dimensions but axis {axis} must agree to concatenate; got the shapes {shapes}")


@row(np.stack, operands=0)
def stack(arrays, axis=0, *, dtype=None, casting="same_kind"):
    values = [at_least_array(x) for x in lift_all(_members(arrays))]
    n = len(values[0].shape) + 1 if values else 1
    y = join(values, axes_of(axis, n)[0])
    return y if dtype is None else layout.convert(y, dtype=np.dtype(dtype))


@row(np.unstack, view=True)
def unstack(x, /, *, axis=0):
    axis = axes_of(axis, len(x.shape))[0]
    return tuple(part(x, along(axis, len(x.shape), i)) for i in range(x.shape[axis]))


@row(np.vstack, operands=0)
def vstack(tup, *, dtype=None, casting="same_kind"):
    return concatenate([_at_least(2, lambda s: (1,) * (2 - len(s)) + s)(x) for x in lift_all(_members(tup))], 0, dtype=dtype)


@row(np.hstack, operands=0)
def hstack(tup, *, dtype=None, casting="same_kind"):
    values = [atleast_1d(x) for x in lift_all(_members(tup))]
    return concatenate(values, 0 if len(values[0].shape) == 1 else 1, dtype=dtype)


@row(np.dstack, operands=0)
def dstack(tup):
    return concatenate([atleast_3d(x) for x in lift_all(_members(tup))], 2)


@row(np.column_stack, operands=0)
def column_stack(tup):
    values = [at_least_array(x) for x in lift_all(_members(tup))]
    return concatenate([x if len(x.shape) > 1 else reshaped(x, (_size(x), 1)) for x in values], 1)


@row(np.block, operands=0)
def block(arrays):
    def depth(x):
        return 1 + builtins.max(map(depth, x)) if isinstance(x, list) and x else 0

    def build(x, level):
        if level == total:
            return _grown(at_least_array(lift(x)), ndim)
        return concatenate([build(e, level + 1) for e in x], axis=-(total - level))

    def widest(x):
        return builtins.max(map(widest, x)) if isinstance(x, list) else len(at_least_array(lift(x)).shape)

    total = depth(arrays)
    ndim = builtins.max(total, widest(arrays))
    return build(arrays, 0)


def _grown(x, ndim):
    return reshaped(x, (1,) * (ndim - len(x.shape)) + tuple(x.shape))


@row(np.append, operands=2)
def append(arr, values, axis=None):
    arr, values = at_least_array(arr), at_least_array(values)
    if axis is None:
        arr, values, axis = reshaped(arr, (_size(arr),)), reshaped(values, (_size(values),)), 0
    return concatenate([arr, values], axis)


@row(np.insert, operands=1)
def insert(arr, obj, values, axis=None):
    """NumPy inserts marks among the positions; the new elements are joined to the old ones and picked in that order."""
    values = at_least_array(lift(values))
    obj = indexing.concrete(lift(obj), "the places of np.insert") if not isinstance(obj, slice) else obj
    if axis is None:
        arr, axis = reshaped(arr, (_size(arr),)), 0
    axis = axes_of(axis, len(arr.shape))[0]
    n, ndim = arr.shape[axis], len(arr.shape)
    if not isinstance(obj, slice) and np.ndim(obj) == 0 and not isinstance(obj, (bool, np.bool_)):
        values = _grown(values, ndim)                       # one place: the values' first axis is the one inserted along
        values = permuted(values, _front(axis, ndim))
        obj = [operator.index(obj)] * values.shape[axis]
    if isinstance(obj, (list, np.ndarray)) and np.size(obj) == 0:
        return arr
    order = np.insert(np.arange(n), obj, -1)                # where NumPy puts the new ones
    new = np.flatnonzero(order < 0)
    shape = tuple(len(new) if i == axis else s for i, s in enumerate(arr.shape))
    pick = np.where(order < 0, n + np.cumsum(order < 0) - 1, order)
    values = values if values.dtype == arr.dtype else layout.convert(values, dtype=arr.dtype)
    values = _as_given(values, obj, n, shape, axis)
    return part(concatenate([arr, values], axis), along(axis, ndim, pick))


def _front(axis, ndim):
    """Order of axes that takes the first one to ``axis``."""
    return (*range(1, axis + 1), 0, *range(axis + 1, ndim))


def _as_given(values, obj, n, shape, axis):
    """New elements in the order of their places: NumPy sorts the places, and values along the axis go with them."""
    wide = broadcast_to(values, shape)
    at = np.arange(n)[obj] if isinstance(obj, slice) else np.asarray(obj)
    at = np.flatnonzero(at) if at.dtype == bool else np.where(at < 0, at + n, at).ravel()
    return part(wide, along(axis, len(shape), np.argsort(at, kind="stable")))


# ---------------------------------------------------------------- splits
def _pieces(function):
    def rule(ary, indices_or_sections, axis=0):
        axis = axes_of(axis, len(ary.shape))[0]
        spans = function(np.arange(ary.shape[axis]), indices_or_sections)
        out, start = [], 0
        for span in spans:
            low = int(span[0]) if len(span) else start
            out.append(part(ary, along(axis, len(ary.shape), slice(low, low + len(span)))))
            start = low + len(span)
        return out
    return rule


split = row(np.split, view=True)(_pieces(np.split))
array_split = row(np.array_split, view=True)(_pieces(np.array_split))


@row(np.hsplit, view=True)
def hsplit(ary, indices_or_sections):
    return split(ary, indices_or_sections, 0 if len(ary.shape) == 1 else 1)


@row(np.vsplit, view=True)
def vsplit(ary, indices_or_sections):
    return split(ary, indices_or_sections, 0)


@row(np.dsplit, view=True)
def dsplit(ary, indices_or_sections):
    return split(ary, indices_or_sections, 2)


__all__ = ["along", "atleast_1d", "broadcast_to", "concatenate", "flip", "joined", "part", "permuted", "ravel", "reshape", "reshaped",
           "stack", "swapaxes", "transpose"]

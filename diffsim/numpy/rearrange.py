"""Rearrangements, triangles, diagonals, choices, and what writes into its argument."""

import builtins
import warnings

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..core import Aval, Tracer, user_depth
from ..prims import complexes
from ..prims import elementwise as ew
from ..prims.gather import put
from ..prims.layout import convert, like
from . import indexing
from .array import Array, fresh, holding
from .dispatch import into, row, value_of
from .reductions import at_least_array, axes_of, sum
from .shapes import along, broadcast_to, concatenate, part, reshaped
from .stacking import lift, lift_all


# ---------------------------------------------------------------- elements moved
def _moves(function):
    """Rule of a function that only moves elements: NumPy moves the positions, one gather does the rest."""
    def rule(x, *args, **kwargs):
        return indexing.take_along(at_least_array(x), lambda at: function(at, *args, **kwargs))
    rule.__name__ = function.__name__
    return row(function)(rule)


def _shows(function):
    """Rule of a function that gives a read-only view."""
    def rule(x, *args, **kwargs):
        x = at_least_array(x)
        if x.__class__ is Array:
            return x.moved(lambda a: function(a, *args, **kwargs))
        return indexing.take_along(x, lambda at: function(at, *args, **kwargs))
    rule.__name__ = function.__name__
    return row(function, view=True)(rule)


repeat, resize, delete, tile = _moves(np.repeat), _moves(np.resize), _moves(np.delete), _moves(np.tile)
diagonal, windows = _shows(np.diagonal), _shows(sliding_window_view)


@row(np.roll)
def roll(a, shift, axis=None):
    """Two slices exchanged along each axis: kernels read them in order."""
    shape = tuple(a.shape)
    if axis is None:
        return reshaped(roll(reshaped(a, (int(np.prod(shape)),)), shift, 0), shape)
    shifts, axes = np.broadcast_arrays(shift, axis)
    for s, each in zip(shifts.ravel(), axes.ravel(), strict=True):
        i = axes_of(int(each), len(shape))[0]
        n = shape[i]
        cut = int(-s) % n if n else 0
        if cut:
            a = concatenate([part(a, along(i, len(shape), slice(cut, None))), part(a, along(i, len(shape), slice(None, cut)))], i)
    return a


# ---------------------------------------------------------------- triangles and diagonals
@row(np.tril)
def tril(m, k=0):
    return ew.where(np.tri(*m.shape[-2:], k=k, dtype=bool), m, m.dtype.type(0))


@row(np.triu)
def triu(m, k=0):
    return ew.where(np.tri(*m.shape[-2:], k=k - 1, dtype=bool), m.dtype.type(0), m)


@row(np.diag, view=True)
def diag(v, k=0):
    v = at_least_array(v)
    if len(v.shape) == 2:
        return diagonal(v, k)
    if len(v.shape) != 1:
        raise ValueError("Input must be 1- or 2-d.")
    v = lift(v)
    n = v.shape[0] + abs(k)
    start = k if k >= 0 else -k * n
    at = start + np.arange(v.shape[0]) * (n + 1)
    return put(np.zeros((n, n), v.dtype), v, at)


@row(np.diagflat)
def diagflat(v, k=0):
    v = at_least_array(v)
    return diag(reshaped(v, (int(np.prod(v.shape)),)), k)


@row(np.trace)
def trace(a, offset=0, axis1=0, axis2=1, dtype=None):
    return sum(lift(diagonal(a, offset, axis1, axis2)), -1, dtype)


row(np.linalg.diagonal, view=True)(lambda x, /, *, offset=0: diagonal(x, offset, -2, -1))
row(np.linalg.trace)(lambda x, /, *, offset=0, dtype=None: trace(x, offset, -2, -1, dtype))


# ---------------------------------------------------------------- elements chosen
@row(np.where, operands=3)
def where(condition, x=None, y=None):
    if x is None:
        return np.nonzero(value_of(condition, "np.where with one argument (the places of its true elements)"))
    return ew.where(condition, x, y)


@row(np.clip)
def clip(a, a_min=None, a_max=None, *, min=None, max=None, dtype=None):
    low, high = (a_min if a_min is not None else min), (a_max if a_max is not None else max)
    if low is None and high is None:
        return a
    least, most = _extremes(at_least_array(a).dtype)
    return ew.clip(a, least if low is None else _within(lift(low), least, most), most if high is None else _within(lift(high), least, most))


def _within(bound, least, most):
    """A whole number of Python's as a bound that the dtype can hold."""
    return bound if bound.__class__ is not int or least == -np.inf else builtins.min(builtins.max(bound, int(least)), int(most))


def _extremes(dtype):
    """Numbers that none of a dtype is beyond."""
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return dtype.type(info.min), dtype.type(info.max)
    return (False, True) if dtype.kind == "b" else (-np.inf, np.inf)


@row(np.select, operands=0)
def select(condlist, choicelist, default=0):
    y = lift(default)
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        y = ew.where(lift(condition), lift(choice), y)
    return y


@row(np.choose, operands=1)
def choose(a, choices, mode="raise"):
    choices = lift_all(choices)
    a = at_least_array(a)
    if not isinstance(a, Tracer) and mode == "raise" and a.size and not (0 <= a.min() and a.max() < len(choices)):
        raise ValueError(f"choose: the index array holds values outside 0..{len(choices) - 1}")
    if mode != "raise":
        a = ew.remainder(a, len(choices)) if mode == "wrap" else ew.clip(a, 0, len(choices) - 1)
    y = choices[-1]
    for n in range(len(choices) - 2, -1, -1):
        y = ew.where(ew.equal(a, n), choices[n], y)
    return y


@row(np.piecewise)
def piecewise(x, condlist, funclist, *args, **kw):
    conditions = lift_all(condlist) if isinstance(condlist, (list, tuple)) else [lift(condlist)]
    if len(funclist) == len(conditions) + 1:
        y, functions = funclist[-1], funclist[:-1]
    else:
        y, functions = 0.0, funclist
    y = lift(y(x, *args, **kw)) if callable(y) else y
    for condition, f in zip(conditions, functions, strict=True):
        y = ew.where(condition, lift(f(x, *args, **kw)) if callable(f) else f, y)
    return like(at_least_array(y), Aval(tuple(x.shape), x.dtype))


@row(np.take)
def take(a, indices, axis=None, mode="raise"):
    a = at_least_array(a)
    indices = lift(indices)
    n = int(np.prod(a.shape)) if axis is None else a.shape[axes_of(axis, len(a.shape))[0]]
    if mode != "raise":
        indices = ew.remainder(indices, n) if mode == "wrap" else ew.clip(indices, 0, n - 1)
        indices = indices if isinstance(indices, Tracer) else np.asarray(indices).astype(np.intp)
    if axis is None:
        return indexing.getitem(reshaped(a, (n,)), indices)
    return indexing.getitem(a, along(axes_of(axis, len(a.shape))[0], len(a.shape), indices))


@row(np.take_along_axis, operands=2)
def take_along_axis(arr, indices, axis=-1):
    if axis is None:
        return indexing.getitem(reshaped(arr, (int(np.prod(arr.shape)),)), indices)
    axis = axes_of(axis, len(arr.shape))[0]
    return indexing.getitem(arr, _grid(tuple(indices.shape), axis, indices))


def _grid(shape, axis, indices):
    """Key that pairs every position with the index given for it along one axis."""
    n = len(shape)
    return tuple(indices if i == axis else np.arange(shape[i]).reshape((1,) * i + (-1,) + (1,) * (n - i - 1)) for i in range(n))


@row(np.compress, operands=2)
def compress(condition, a, axis=None):
    keep = np.flatnonzero(value_of(condition, "the condition of np.compress"))
    return take(a, keep, axis)


@row(np.extract, operands=2)
def extract(condition, arr):
    return take(arr, np.flatnonzero(value_of(condition, "the condition of np.extract")))


# ---------------------------------------------------------------- numbers repaired, copies
@row(np.nan_to_num, view=True)
def nan_to_num(x, copy=True, nan=0.0, posinf=None, neginf=None):
    if x.__class__ is Array:
        y = nan_to_num(x.read(), True, nan, posinf, neginf)
        if copy:
            return fresh(y)
        x.write(y)
        return x
    x, options = at_least_array(x), (lift(nan), posinf if posinf is None else lift(posinf), neginf if neginf is None else lift(neginf))
    if x.dtype.kind in "biu":
        return x
    if x.dtype.kind == "c":                                 # real and imaginary part each, as NumPy
        return complexes.make_complex(_repaired(complexes.real(x), *options), _repaired(complexes.imag(x), *options))
    return _repaired(x, *options)


def _repaired(x, nan, posinf, neginf):
    info = np.finfo(x.dtype)
    y = ew.where(ew.isnan(x), nan, x)
    y = ew.where(ew.equal(x, np.inf), info.max if posinf is None else posinf, y)
    y = ew.where(ew.equal(x, -np.inf), info.min if neginf is None else neginf, y)
    return y if y.dtype == x.dtype else convert(y, dtype=x.dtype)


@row(np.real, view=True)
def real(val):
    if val.__class__ is Array:
        return val.real
    return val if at_least_array(val).dtype.kind != "c" else complexes.real(val)


@row(np.imag, view=True)
def imag(val):
    if val.__class__ is Array:
        return val.imag
    val = at_least_array(val)
    return np.zeros(tuple(val.shape), val.dtype) if val.dtype.kind != "c" else complexes.imag(val)


@row(np.real_if_close)
def real_if_close(a, tol=100):
    a = at_least_array(a)
    if a.dtype.kind != "c":
        return a
    plain = np.real_if_close(value_of(a, "np.real_if_close (whether all imaginary parts vanish)"), tol)
    return a if plain.dtype.kind == "c" else complexes.real(a)


@row(np.copy, view=True)
def copy(a, order="K", subok=False):
    a = at_least_array(a)
    if a.__class__ is Array:
        return a.copy(order)
    return holding(a) if a.dtype.kind in "fc" else a


@row(np.astype, view=True)
def astype(x, dtype, /, *, copy=True, device=None):
    dtype = np.dtype(dtype)
    if x.__class__ is Array and not copy and dtype == x.dtype:
        return x
    x = at_least_array(lift(x))
    if x.dtype.kind == "c" and dtype.kind not in "cb":
        warnings.warn("Casting complex values to real discards the imaginary part", np.exceptions.ComplexWarning, stacklevel=user_depth())
        x = complexes.real(x)
    if dtype.kind in "iub" and x.dtype.kind in "fc":
        return convert(ew.trunc(x), dtype=dtype) if dtype.kind != "b" else ew.not_equal(x, 0)
    return x if x.dtype == dtype else convert(x, dtype=dtype)


@row(np.round, np.around)
def round_(a, decimals=0):
    a = at_least_array(a)
    if a.dtype.kind in "iu":
        return a if decimals >= 0 else convert(round_(convert(a, dtype=np.dtype(float)), decimals), dtype=a.dtype)
    if decimals == 0:
        return ew.rint(a)
    scale = 10.0 ** abs(decimals)
    return ew.div(ew.rint(ew.mul(a, scale)), scale) if decimals > 0 else ew.mul(ew.rint(ew.div(a, scale)), scale)


@row(np.fix)
def fix(x):
    return ew.trunc(x)


@row(np.sinc)
def sinc(x):
    """sin(pi x)/(pi x); at 0 its derivatives are those of 1 - (pi x)²/6."""
    t = ew.mul(x, np.pi)
    small = ew.less(ew.magnitude(t), 1e-4)
    safe = ew.where(small, 1.0, t)
    t2 = ew.square(ew.where(small, t, 0.0))
    series = ew.add(ew.mul(t2, ew.sub(ew.mul(t2, 1 / 120), 1 / 6)), 1.0)
    return ew.where(small, series, ew.div(ew.sin(safe), safe))


@row(np.angle)
def angle(z, deg=False):
    z = at_least_array(z)
    scale = 180.0 / np.pi if deg else 1.0
    if z.dtype.kind == "c":
        return ew.mul(ew.arctan2(complexes.imag(z), complexes.real(z)), scale)
    z = z if z.dtype.kind == "f" else convert(z, dtype=np.dtype(float))
    y = ew.arctan2(np.zeros((), z.dtype), z)
    return ew.mul(y, scale) if deg else y


@row(np.unwrap)
def unwrap(p, discont=None, axis=-1, *, period=2 * np.pi):
    value = value_of(p, "np.unwrap (whole periods are counted)")
    return ew.add(p, np.unwrap(value, discont, axis, period=period) - value)


# ---------------------------------------------------------------- what writes into its argument
@row(np.copyto, operands=0, view=True)
def copyto(dst, src, casting="same_kind", where=True):
    target = into(dst, "copyto")
    target.write(src if where is True else ew.where(lift(where), lift(src), target.read()))


@row(np.put, operands=0, view=True)
def put_(a, ind, v, mode="raise"):
    target, at = into(a, "put"), np.ravel(value_of(ind, "the positions of np.put"))
    if mode != "raise":
        at = at % target.size if mode == "wrap" else np.clip(at, 0, target.size - 1)
    if at.size:
        target.flat[at] = v


@row(np.place, operands=0, view=True)
def place(arr, mask, vals):
    at = np.flatnonzero(value_of(mask, "the mask of np.place"))
    into(arr, "place").flat[at] = vals


@row(np.putmask, operands=0, view=True)
def putmask(a, mask, values):
    target = into(a, "putmask")
    new = _cycled(values, target.size)
    target.write(ew.where(lift(mask), reshaped(new, target.shape), target.read()))


def _cycled(v, n):
    """Values repeated until there are ``n``."""
    v = at_least_array(lift(v))
    return resize(v, (n,)) if int(np.prod(v.shape)) != n or len(v.shape) != 1 else v


@row(np.put_along_axis, operands=0, view=True)
def put_along_axis(arr, indices, values, axis):
    target, indices = into(arr, "put_along_axis"), np.asarray(value_of(indices, "the places of np.put_along_axis"))
    if axis is None:
        target, axis = target.reshaped(-1), 0
    axis = axes_of(axis, target.ndim)[0]
    target[_grid(indices.shape, axis, indices)] = broadcast_to(at_least_array(lift(values)), indices.shape)


@row(np.fill_diagonal, operands=0, view=True)
def fill_diagonal(a, val, wrap=False):
    target = into(a, "fill_diagonal")
    at = np.arange(target.size).reshape(target.shape)
    marked = np.full(target.shape, -1)
    np.fill_diagonal(marked, -2, wrap)
    chosen = at[marked == -2]
    target[np.unravel_index(chosen, target.shape)] = _cycled(val, chosen.size)


__all__ = ["clip", "copy", "nan_to_num", "put_", "round_", "take"]

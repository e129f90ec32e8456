"""Reductions, running sums and products, differences: NumPy's names over the primitives."""

import numpy as np

from ..core import PYTHON_NUMBERS, Tracer
from ..prims import elementwise as ew
from ..prims import reduce as red
from ..prims.complexes import imag, real
from ..prims.layout import broadcast_to, concatenate, convert, reduce_sum, reshape
from ..prims.layout import cumsum as running_sum
from ..prims.layout import transpose as permute
from . import indexing
from .dispatch import row
from .stacking import lift, lift_all

_NONE = np._NoValue


def axes_of(axis, ndim):
    """Axes as a sorted tuple of numbers within range; all of them for None.

    Raises
    ------
    numpy.exceptions.AxisError
    """
    if axis is None:
        return tuple(range(ndim))
    if axis.__class__ is int and 0 <= axis < ndim:
        return (axis,)
    return tuple(sorted(np.lib.array_utils.normalize_axis_tuple(axis, ndim)))


def at_least_array(x):
    """A value with a shape: Python numbers become arrays of no dimension."""
    return x if hasattr(x, "shape") else np.asarray(x)


def reduced(rule, x, axis, keepdims):
    """Apply ``rule(x, axes)`` over the axes, which stay with length one where asked."""
    x = at_least_array(x)
    axes = axes_of(axis, len(x.shape))
    y = rule(x, axes)
    if keepdims is True or (keepdims is not _NONE and keepdims):
        y = reshape(y, shape=tuple(1 if i in axes else s for i, s in enumerate(x.shape)))
    return y


def count(x, axes):
    """How many elements are reduced into one."""
    n = 1
    for i in axes:
        n *= x.shape[i]
    return n


def _masked(x, where, other):
    return x if where is _NONE or where is True else ew.where(lift(where), x, other)


def _wide(x, dtype):
    """What sums and products are taken of: the dtype asked for, or NumPy's choice, small integers as those of the machine."""
    x = at_least_array(x)
    if dtype is None and x.dtype.kind in "biu":
        dtype = np.result_type(x.dtype, np.uint if x.dtype.kind == "u" else np.int_)
    return x if dtype is None or x.dtype == dtype else convert(x, dtype=np.dtype(dtype))


def _of_dtype(x, dtype):
    """What a reduction starts from, in the dtype it is taken in."""
    x = lift(x)
    return x if x.__class__ in PYTHON_NUMBERS and dtype.kind in "fc" else convert(at_least_array(x), dtype=dtype)


# ---------------------------------------------------------------- sums
@row(np.sum)
def sum(a, axis=None, dtype=None, keepdims=_NONE, initial=_NONE, where=_NONE):
    a = _masked(_wide(a, dtype), where, 0)
    y = reduced(lambda x, axes: reduce_sum(x, axes=axes) if axes else x, a, axis, keepdims)
    if dtype is not None and y.dtype != dtype:             # small integers are summed as those of the machine
        y = convert(y, dtype=np.dtype(dtype))
    return y if initial is _NONE else ew.add(y, _of_dtype(initial, y.dtype))


@row(np.mean)
def mean(a, axis=None, dtype=None, keepdims=_NONE, *, where=_NONE):
    a = at_least_array(a)
    a = _wide(a, np.dtype(float) if dtype is None and a.dtype.kind in "biu" else dtype)       # integers are not to overflow
    if where is not _NONE and where is not True:
        mask = broadcast_to(at_least_array(lift(where)), shape=tuple(a.shape))
        return ew.div(sum(a, axis, None, keepdims, _NONE, mask), sum(convert(mask, dtype=a.dtype), axis, None, keepdims))
    return ew.div(sum(a, axis, None, keepdims), float(count(a, axes_of(axis, len(a.shape)))))


@row(np.average, operands=1)
def average(a, axis=None, weights=None, returned=False, *, keepdims=_NONE):
    a = at_least_array(a)
    axes = axes_of(axis, len(a.shape))
    if weights is None:
        y = mean(a, axis, None, keepdims)
        total = np.full(tuple(y.shape), count(a, axes), y.dtype)
    else:
        w = _weights(at_least_array(lift(weights)), a, axis)
        dtype = np.result_type(a.dtype, w.dtype, *([1.0] if a.dtype.kind in "biu" else []))
        total = sum(w, axis, dtype, keepdims)
        if not isinstance(total, Tracer) and np.any(total == 0.0):
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        a, w = (x if x.dtype == dtype else convert(x, dtype=dtype) for x in (a, w))
        y = ew.div(sum(ew.mul(a, w), axis, dtype, keepdims), total)
    return (y, broadcast_to(total, shape=tuple(y.shape)) if tuple(total.shape) != tuple(y.shape) else total) if returned else y


def _weights(w, a, axis):
    """Weights in the shape of the array: given for all of it, or for the axes averaged over in their order."""
    if tuple(w.shape) == tuple(a.shape):
        return w
    if axis is None:
        raise TypeError(f"average: axis must be specified when the shapes of a {tuple(a.shape)} and weights {tuple(w.shape)} differ")
    axes = np.lib.array_utils.normalize_axis_tuple(axis, len(a.shape))
    if tuple(w.shape) != tuple(a.shape[i] for i in axes):
        raise ValueError(f"average: weights of shape {tuple(w.shape)} for an array of shape {tuple(a.shape)} along axis {axis}")
    w = moved(w, tuple(int(i) for i in np.argsort(axes)))
    w = reshape(w, shape=tuple(s if i in axes else 1 for i, s in enumerate(a.shape)))
    return broadcast_to(w, shape=tuple(a.shape))


def _squared(x):
    """Squared magnitude, real."""
    return ew.square(x) if x.dtype.kind != "c" else ew.add(ew.square(real(x)), ew.square(imag(x)))


@row(np.var)
def var(a, axis=None, dtype=None, ddof=0, keepdims=_NONE, *, where=_NONE, mean=_NONE, correction=_NONE):
    ddof = ddof if correction is _NONE else correction
    a = at_least_array(a)
    dtype = np.result_type(a.dtype, 1.0) if dtype is None and a.dtype.kind in "biu" else dtype
    a = a if dtype is None else convert(a, dtype=np.dtype(dtype))
    axes = axes_of(axis, len(a.shape))
    if where is not _NONE and where is not True:
        mask = broadcast_to(at_least_array(lift(where)), shape=tuple(a.shape))
        n = sum(convert(mask, dtype=_real_dtype(a.dtype)), axes, None, True)
        centre = ew.div(sum(a, axes, None, True, _NONE, mask), n) if mean is _NONE else lift(mean)
        squares = sum(_squared(ew.where(mask, ew.sub(a, centre), 0.0)), axes, None, keepdims)
        return ew.div(squares, ew.maximum(ew.sub(reshape(n, shape=tuple(squares.shape)), ddof), 0.0))
    n = float(count(a, axes))
    centre = ew.div(sum(a, axes, None, True), n) if mean is _NONE else lift(mean)
    return ew.div(sum(_squared(ew.sub(a, centre)), axes, None, keepdims), max_(n - ddof))


def _real_dtype(dtype):
    return np.empty(0, dtype).real.dtype


def max_(n):
    """Degrees of freedom: not below zero, as NumPy."""
    return n if n > 0 else 0.0


def safe_sqrt(x):
    """Square root whose derivative at 0 is 0: of a sum of squares, the subgradient there."""
    zero = ew.equal(x, 0.0)
    return ew.where(zero, 0.0, ew.sqrt(ew.where(zero, 1.0, x)))


@row(np.std)
def std(a, axis=None, dtype=None, ddof=0, keepdims=_NONE, *, where=_NONE, mean=_NONE, correction=_NONE):
    return safe_sqrt(var(a, axis, dtype, ddof, keepdims, where=where, mean=mean, correction=correction))


# ---------------------------------------------------------------- products
def _halves(x, axis, low, high):
    key = tuple(slice(low, high) if i == axis else slice(None) for i in range(len(x.shape)))
    return indexing.getitem(x, key)


def _product(x, axes):
    """Product over axes, by halves: no division, so zeros need no care, in derivatives of any order."""
    keep = tuple(i for i in range(len(x.shape)) if i not in axes)
    x = moved(x, keep + axes)
    n = count(x, range(len(keep), len(x.shape)))
    x = reshape(x, shape=(*tuple(x.shape[:len(keep)]), n))
    axis = len(keep)
    if n == 0:
        return np.ones(x.shape[:axis], x.dtype)
    while n > 1:
        half = n // 2
        y = ew.mul(_halves(x, axis, 0, half), _halves(x, axis, half, 2 * half))
        x = concatenate(y, _halves(x, axis, n - 1, n), axis=axis) if n % 2 else y
        n = x.shape[axis]
    return reshape(x, shape=tuple(x.shape[:axis]))


def moved(x, order):
    """``x`` with its axes in the given order."""
    return x if order == tuple(range(len(order))) else permute(x, axes=order)


@row(np.prod)
def prod(a, axis=None, dtype=None, keepdims=_NONE, initial=_NONE, where=_NONE):
    a = _masked(_wide(a, dtype), where, 1)
    y = reduced(_product, a, axis, keepdims)
    return y if initial is _NONE else ew.mul(y, _of_dtype(initial, y.dtype))


# ---------------------------------------------------------------- extremes
def _extreme(prim, join):
    def rule(a, axis=None, keepdims=_NONE, initial=_NONE, where=_NONE):
        if where is not _NONE and where is not True:
            if initial is _NONE:
                raise ValueError("where= needs initial= here: the extreme of no element is not defined")
            a = _masked(a, where, _of_dtype(initial, a.dtype))
        y = reduced(lambda x, axes: prim(x, axes=axes) if axes else x, a, axis, keepdims)
        return y if initial is _NONE else join(y, _of_dtype(initial, y.dtype))
    return rule


max = row(np.max, np.amax)(_extreme(red.reduce_max, ew.maximum))
min = row(np.min, np.amin)(_extreme(red.reduce_min, ew.minimum))


@row(np.ptp)
def ptp(a, axis=None, keepdims=_NONE):
    return ew.sub(max(a, axis, keepdims), min(a, axis, keepdims))


def _position(prim):
    def rule(a, axis=None, *, keepdims=_NONE):
        a = at_least_array(a)
        shape = tuple(a.shape)
        if axis is None:
            y = prim(reshape(a, shape=(count(a, range(len(shape))),)), axis=0)
            return reshape(y, shape=(1,) * len(shape)) if keepdims is True else y
        axis = axes_of(axis, len(shape))[0]
        y = prim(a, axis=axis)
        return reshape(y, shape=(*shape[:axis], 1, *shape[axis + 1:])) if keepdims is True else y
    return rule


argmax = row(np.argmax, value=True)(_position(red.argmax))
argmin = row(np.argmin, value=True)(_position(red.argmin))


def _truth(prim):
    def rule(a, axis=None, keepdims=_NONE, *, where=_NONE):
        a = at_least_array(_masked(a, where, prim is red.reduce_all))
        true = a if a.dtype == bool else ew.not_equal(a, 0)
        return reduced(lambda x, axes: prim(x, axes=axes) if axes else x, true, axis, keepdims)
    return rule


any = row(np.any, value=True)(_truth(red.reduce_any))
all = row(np.all, value=True)(_truth(red.reduce_all))


# ---------------------------------------------------------------- without the NaNs
def _without_nan(function, filler):
    def rule(a, axis=None, **options):
        return function(_filled(a, filler), axis, **options)
    return rule


def _filled(a, filler):
    """The array with a number for each NaN; integers have none."""
    a = at_least_array(a)
    return a if a.dtype.kind in "biu" else ew.where(ew.isnan(a), filler, a)


nansum = row(np.nansum)(_without_nan(sum, 0.0))
nanprod = row(np.nanprod)(_without_nan(prod, 1.0))
nanmax = row(np.nanmax)(_without_nan(max, -np.inf))
nanmin = row(np.nanmin)(_without_nan(min, np.inf))


@row(np.nancumsum)
def nancumsum(a, axis=None, dtype=None):
    return cumsum(_filled(a, 0.0), axis, dtype)


@row(np.nancumprod)
def nancumprod(a, axis=None, dtype=None):
    return cumprod(_filled(a, 1.0), axis, dtype)


def _present(a, where):
    """The array with 0 for each NaN, and where it had none and is to be counted."""
    present = ew.logical_not(ew.isnan(a))
    clean = ew.where(present, a, 0.0)
    return clean, present if where is _NONE or where is True else ew.logical_and(present, lift(where))


@row(np.nanmean)
def nanmean(a, axis=None, dtype=None, keepdims=_NONE, *, where=_NONE):
    clean, present = _present(a, where)
    return mean(clean, axis, dtype, keepdims, where=present)


@row(np.nanvar)
def nanvar(a, axis=None, dtype=None, ddof=0, keepdims=_NONE, *, where=_NONE, mean=_NONE, correction=_NONE):
    clean, present = _present(a, where)
    return var(clean, axis, dtype, ddof, keepdims, where=present, mean=mean, correction=correction)


@row(np.nanstd)
def nanstd(a, axis=None, dtype=None, ddof=0, keepdims=_NONE, *, where=_NONE, mean=_NONE, correction=_NONE):
    return safe_sqrt(nanvar(a, axis, dtype, ddof, keepdims, where=where, mean=mean, correction=correction))


# ---------------------------------------------------------------- running
def _flat_or_axis(a, axis):
    a = at_least_array(a)
    if axis is None:
        return reshape(a, shape=(count(a, range(len(a.shape))),)), 0
    return a, axes_of(axis, len(a.shape))[0]


@row(np.cumsum)
def cumsum(a, axis=None, dtype=None):
    a, axis = _flat_or_axis(a, axis)
    return running_sum(_wide(a, dtype), axis=axis, reverse=False)


@row(np.cumprod)
def cumprod(a, axis=None, dtype=None):
    """Running product by doubling strides: no division, so zeros need no care."""
    a, axis = _flat_or_axis(a, axis)
    x, n, shift = _wide(a, dtype), a.shape[axis], 1
    while shift < n:
        x = concatenate(_halves(x, axis, 0, shift), ew.mul(_halves(x, axis, shift, n), _halves(x, axis, 0, n - shift)), axis=axis)
        shift *= 2
    return x


def _with_initial(function, start):
    def rule(x, /, *, axis=None, dtype=None, include_initial=False):
        if axis is None:
            if len(x.shape) > 1:
                raise ValueError("axis= is needed for an array of more than one dimension")
            axis = 0
        y = function(x, axis, dtype)
        if not include_initial:
            return y
        shape = tuple(1 if i == axis % len(y.shape) else s for i, s in enumerate(y.shape))
        return concatenate(np.full(shape, start, y.dtype), y, axis=axis % len(y.shape))
    return rule


cumulative_sum = row(np.cumulative_sum)(_with_initial(cumsum, 0.0))
cumulative_prod = row(np.cumulative_prod)(_with_initial(cumprod, 1.0))


# ---------------------------------------------------------------- differences and integrals
@row(np.diff)
def diff(a, n=1, axis=-1, prepend=_NONE, append=_NONE):
    axis = axes_of(axis, len(a.shape))[0]
    thin = (*tuple(a.shape[:axis]), 1, *tuple(a.shape[axis + 1:]))
    parts = [at_least_array(lift(x)) for x in (prepend, a, append) if x is not _NONE]
    parts = [x if x.shape else broadcast_to(x, shape=thin) for x in parts]
    a = concatenate(*parts, axis=axis) if len(parts) > 1 else a
    change = ew.not_equal if a.dtype.kind == "b" else ew.sub
    for _ in range(n):
        a = change(_halves(a, axis, 1, a.shape[axis]), _halves(a, axis, 0, a.shape[axis] - 1))
    return a


@row(np.ediff1d)
def ediff1d(ary, to_end=None, to_begin=None):
    ary = _flat_or_axis(ary, None)[0]
    y = diff(ary)
    parts = [_flat_or_axis(lift(x), None)[0] if x is not y else y for x in (to_begin, y, to_end) if x is not None]
    for x in parts:
        if not np.can_cast(x.dtype, ary.dtype, "same_kind"):
            raise TypeError(f"ediff1d: dtype {x.dtype} of to_begin or to_end is not compatible with {ary.dtype}")
    parts = [x if x.dtype == ary.dtype else convert(x, dtype=ary.dtype) for x in parts]
    return concatenate(*parts, axis=0) if len(parts) > 1 else y


@row(np.trapezoid, operands=2)
def trapezoid(y, x=None, dx=1.0, axis=-1):
    y = at_least_array(y)
    axis = axes_of(axis, len(y.shape))[0]
    n = y.shape[axis]
    if x is None:
        d = lift(dx)
    elif len(at_least_array(x).shape) == 1:
        d = diff(at_least_array(x))
        d = reshape(d, shape=tuple(n - 1 if i == axis else 1 for i in range(len(y.shape))))
    else:
        d = diff(x, axis=axis)
    return sum(ew.div(ew.mul(d, ew.add(_halves(y, axis, 1, n), _halves(y, axis, 0, n - 1))), 2.0), axis)


def _edge(f, h, axis, order, left):
    """One-sided difference at an end; ``h`` a number or the first (last) two spacings."""
    n = f.shape[axis]
    pick = (lambda i: _halves(f, axis, i, i + 1)) if left else (lambda i: _halves(f, axis, n - 1 - i, n - i))
    sign = 1.0 if left else -1.0
    if order == 1:
        return ew.mul(ew.div(ew.sub(pick(1), pick(0)), h[0]), sign)
    a, b = h
    weights = -(2.0 * a + b) / (a * (a + b)), (a + b) / (a * b), -a / (b * (a + b))
    return ew.mul(ew.add(ew.add(ew.mul(pick(0), weights[0]), ew.mul(pick(1), weights[1])), ew.mul(pick(2), weights[2])), sign)


def _gradient_along(f, h, axis, edge_order):
    n = f.shape[axis]
    if n < edge_order + 1:
        raise ValueError(f"gradient: {n} points along axis {axis} are too few; edge_order={edge_order} needs {edge_order + 1}")
    before, here, after = _halves(f, axis, 0, n - 2), _halves(f, axis, 1, n - 1), _halves(f, axis, 2, n)
    if not np.ndim(h):
        inner = ew.div(ew.sub(after, before), ew.mul(h, 2.0))
        first = last = (h, h)
    else:
        wide = tuple(-1 if i == axis else 1 for i in range(len(f.shape)))
        a, b = (reshape(_halves(h, 0, *part), shape=tuple(n - 2 if s == -1 else 1 for s in wide)) for part in ((0, n - 2), (1, n - 1)))
        inner = (-b / (a * (a + b))) * before + ((b - a) / (a * b)) * here + (a / (b * (a + b))) * after
        at = [indexing.getitem(h, i) for i in range(-min_(2, n - 1), min_(2, n - 1))]
        first, last = (at[len(at) // 2], at[-1]), (at[len(at) // 2 - 1], at[0])
    parts = _edge(f, first, axis, edge_order, True), inner, _edge(f, last, axis, edge_order, False)
    return concatenate(*[x if x.dtype == f.dtype else convert(x, dtype=f.dtype) for x in parts], axis=axis)


def min_(a, b):
    """The smaller of two counts."""
    return a if a < b else b


@row(np.gradient)
def gradient(f, *varargs, axis=None, edge_order=1):
    """Second-order central differences, one-sided at the ends, for even and uneven spacing (Fornberg, Math. Comp. 51, 1988, 699-706)."""
    axes = axes_of(axis, len(f.shape))
    spacing = lift_all(varargs) if varargs else [1.0]
    spacing = spacing * len(axes) if len(spacing) == 1 else spacing
    if len(spacing) != len(axes):
        raise TypeError(f"gradient: {len(varargs)} spacings for {len(axes)} axes")
    out = []
    f = f if f.dtype.kind in "fc" else convert(f, dtype=np.dtype(float))
    for i, h in zip(axes, spacing, strict=True):
        h = h if hasattr(h, "shape") and h.shape else lift(h)
        if np.ndim(h) and h.shape[0] != f.shape[i]:
            raise ValueError(f"gradient: {h.shape[0]} coordinates for {f.shape[i]} points along axis {i}")
        out.append(_gradient_along(f, diff(h) if np.ndim(h) else h, i, edge_order))
    return out[0] if len(out) == 1 else tuple(out)


# ---------------------------------------------------------------- values
@row(np.count_nonzero, value=True)
def count_nonzero(a, axis=None, *, keepdims=False):
    return sum(convert(ew.not_equal(a, 0), dtype=np.dtype(np.intp)), axis, None, keepdims)

__all__ = ["at_least_array", "axes_of", "count", "safe_sqrt"]

"""Sorting, order statistics: sort, partition, median, quantiles with every method of NumPy's, with or without NaN and weights."""

import numpy as np

from ..core import Tracer
from ..prims import elementwise as ew
from ..prims import order as prims_order
from ..prims.layout import convert, stop_gradient
from .dispatch import row, value_of
from .reductions import at_least_array, axes_of, count, moved
from .shapes import broadcast_to, part, reshaped
from .stacking import join, lift

_NONE = np._NoValue


def _one_axis(a, axis):
    """The array and the axis to work along: all elements in one row for None."""
    a = at_least_array(a)
    if axis is None:
        return reshaped(a, (count(a, range(len(a.shape))),)), 0
    return a, axes_of(axis, len(a.shape))[0]


@row(np.sort)
def sort(a, axis=-1, kind=None, order=None, *, stable=None):
    """Sorted values: the derivative follows the permutation, which is stable at ties."""
    a, axis = _one_axis(a, axis)
    return sorted_along(a, axis)


def sorted_along(a, axis):
    """Values in ascending order along an axis, NaN last."""
    return prims_order.sort(a, axis=axis)[0]


@row(np.argsort, value=True)
def argsort(a, axis=-1, kind=None, order=None, *, stable=None):
    a, axis = _one_axis(reshaped(lift(a), (1,)) if np.ndim(a) == 0 else a, axis)
    return _argsort(a, axis)


def _argsort(a, axis):
    return prims_order.argsort(a, axis=axis)


@row(np.partition)
def partition(a, kth, axis=-1, kind="introselect", order=None):
    """NumPy's arrangement: the permutation is the one that gives its values."""
    a, axis = _one_axis(a, axis)
    plain = value_of(a, "the order of np.partition")
    rank = np.argsort(np.argsort(np.partition(plain, kth, axis), axis, kind="stable"), axis, kind="stable")
    return prims_order.take_along(a, np.take_along_axis(np.argsort(plain, axis, kind="stable"), rank, axis), axis)


@row(np.sort_complex)
def sort_complex(a):
    """Sorted by real part, then by imaginary part; complex."""
    a = at_least_array(a)
    at = np.argsort(value_of(a, "the order of np.sort_complex"), -1, kind="stable")
    y = prims_order.take_along(a, at, len(a.shape) - 1)
    return y if y.dtype.kind == "c" else convert(y, dtype=np.dtype(complex))


# ---------------------------------------------------------------- quantiles
def _flat_last(a, axes):
    """The axes joined into one, which comes last."""
    kept = tuple(i for i in range(len(a.shape)) if i not in axes)
    return reshaped(moved(a, kept + axes), (*[a.shape[i] for i in kept], count(a, axes)))


def _lerp(ranked, rank, rank_traced):
    """Sorted values at fractional ranks, the last axis of ``rank`` pairing with that of ``ranked``; exact at whole ranks."""
    n = ranked.shape[-1]
    low = np.clip(np.floor(rank), 0, n - 1).astype(np.intp)
    high = np.minimum(low + 1, n - 1)
    t = ew.sub(rank_traced, low.astype(float))
    axis = len(ranked.shape) - 1
    a, b = prims_order.take_along(ranked, low, axis), prims_order.take_along(ranked, high, axis)
    dtype = ranked.dtype
    t = t if t.dtype == np.empty(0, dtype).real.dtype else convert(t, dtype=np.empty(0, dtype).real.dtype)
    step = ew.sub(b, a)
    finite = ew.not_equal(t, 0.0) if not isinstance(rank_traced, Tracer) else True
    near = ew.add(a, ew.mul(ew.where(finite, step, 0.0) if finite is not True else step, t))
    far = ew.sub(b, ew.mul(step, ew.sub(1.0, t)))
    return ew.where(rank - low >= 0.5, far, near)           # NumPy's choice, so that both ends are met


#: How fast the rank moves with the probability: (of n, constant); the discrete methods' ranks do not move.
_SLOPES = {"linear": (1, -1.0), "interpolated_inverted_cdf": (1, 0.0), "hazen": (1, 0.0), "weibull": (1, 1.0),
           "median_unbiased": (1, 1 / 3), "normal_unbiased": (1, 0.25)}


def _ranks(n, q, method, weights):
    """Rank, whole or between two, that NumPy's quantile takes of ``n`` sorted values: its answer for the values 0, 1, 2, ..."""
    if n == 0:
        return np.full(np.shape(q), np.nan)
    options = {} if weights is None else {"weights": weights}
    return np.asarray(np.quantile(np.arange(float(n)), q, method=method, **options))


def _moving(rank, n, q, method):
    """The rank as a function of the probability, where that is traced."""
    if not isinstance(q, Tracer) or method not in _SLOPES:
        return rank
    a, b = _SLOPES[method]
    inside = (rank > 0) & (rank < n - 1)
    return ew.add(ew.mul(ew.sub(q, stop_gradient(q)), np.where(inside, a * n + b, 0.0)), rank)


def _quantile(a, q, axis, method, keepdims, weights, skip_nan, dtype):
    """Quantiles along axes, in a dtype; the probabilities' axes come first, as NumPy's."""
    a = at_least_array(a)
    axes = axes_of(axis, len(a.shape))
    q = at_least_array(q)
    plain_q = np.asarray(value_of(q, "the probability of np.quantile"))
    flat = _flat_last(a, axes)
    ranked = sorted_along(flat, len(flat.shape) - 1)
    ranked = ranked if ranked.dtype == dtype else convert(ranked, dtype=dtype)
    rows = tuple(flat.shape[:-1])
    flat_q = reshaped(q, (int(np.prod(q.shape)),))
    rank, moving = _rank_of_rows(flat, rows, flat_q, plain_q.ravel(), method, weights, skip_nan)
    y = _lerp(ranked, rank, moving)
    if not skip_nan and flat.shape[-1]:
        y = ew.where(ew.isnan(part(ranked, (..., slice(-1, None)))), np.nan, y)
    y = y if y.dtype == dtype else convert(y, dtype=dtype)
    y = moved(y, (len(rows), *range(len(rows))))            # the probabilities first
    if keepdims is not _NONE and keepdims:
        rows = tuple(1 if i in axes else s for i, s in enumerate(a.shape))
    return reshaped(y, (*tuple(q.shape), *rows))


def _rank_of_rows(flat, rows, q, plain_q, method, weights, skip_nan):
    """Ranks of shape ``(*rows, number of probabilities)``, plain and as they move with a traced probability."""
    n = flat.shape[-1]
    if weights is None and not skip_nan:
        rank = _ranks(n, plain_q, method, None)
        moving = _moving(rank, n, q, method)
        shape = (*rows, plain_q.size)
        return np.broadcast_to(rank, shape), broadcast_to(moving, shape) if isinstance(moving, Tracer) else np.broadcast_to(rank, shape)
    plain = np.asarray(value_of(flat, "the NaN, or the order, of what np.quantile is taken of"))
    at = np.argsort(plain, -1, kind="stable")
    rank, moving = np.empty((*rows, plain_q.size)), []
    for i in np.ndindex(*rows):
        m = int(np.sum(~np.isnan(plain[i]))) if skip_nan else n
        own = None if weights is None else weights[i][at[i]][:m]
        rank[i] = _ranks(m, plain_q, method, own)
        moving.append(_moving(rank[i], m, q, method))
    if not any(isinstance(x, Tracer) for x in moving):
        return rank, rank
    return rank, reshaped(join([x if isinstance(x, Tracer) else np.asarray(x) for x in moving]), rank.shape)


def _spread_weights(weights, a, axes, axis):
    """Weights as an array of the shape of ``a`` with the axes joined last."""
    if weights is None:
        return None
    w = np.asarray(value_of(weights, "the weights of np.quantile: its value jumps where they change"))
    shape = tuple(a.shape)
    if w.shape != shape:
        order_ = np.lib.array_utils.normalize_axis_tuple(axis, len(shape)) if axis is not None else ()
        if axis is None or w.shape != tuple(shape[i] for i in order_):
            raise ValueError(f"quantile: weights of shape {w.shape} for an array of shape {shape} along axis {axis}")
        w = w.transpose(np.argsort(order_)).reshape(tuple(s if i in axes else 1 for i, s in enumerate(shape)))
        w = np.broadcast_to(w, shape)
    kept = tuple(i for i in range(len(shape)) if i not in axes)
    return w.transpose(kept + axes).reshape(*[shape[i] for i in kept], -1)


def _quantile_rule(function, scale, skip_nan):
    def rule(a, q, axis=None, overwrite_input=False, method="linear", keepdims=_NONE, *, weights=None, interpolation=None):
        a = at_least_array(a)
        method = interpolation or method
        if weights is not None and method != "inverted_cdf":
            raise ValueError(f"Only method 'inverted_cdf' supports weights. Got: {method}.")
        q = lift(q)
        options = {} if weights is None else {"weights": np.ones(1)}
        plain_q = np.zeros(q.shape, q.dtype)[()] if isinstance(q, Tracer) else q
        dtype = function(np.zeros(1, a.dtype), plain_q, method=method, axis=0, **options).dtype
        q = ew.div(q, scale) if scale != 1 else q
        spread = _spread_weights(weights, a, axes_of(axis, len(a.shape)), axis)
        return _quantile(a, q, axis, method, keepdims, spread, skip_nan, dtype)
    rule.__name__ = function.__name__
    return row(function, operands=1)(rule)


quantile, percentile = _quantile_rule(np.quantile, 1, False), _quantile_rule(np.percentile, 100, False)
nanquantile, nanpercentile = _quantile_rule(np.nanquantile, 1, True), _quantile_rule(np.nanpercentile, 100, True)


@row(np.median)
def median(a, axis=None, out=None, overwrite_input=False, keepdims=False):
    """The middle value, or the mean of the two."""
    a = at_least_array(a)
    axes = axes_of(axis, len(a.shape))
    flat = _flat_last(a, axes)
    flat = flat if flat.dtype.kind in "fc" else convert(flat, dtype=np.dtype(float))
    n = flat.shape[-1]
    if n == 0:
        middle = np.full(tuple(flat.shape[:-1]), np.nan, flat.dtype)
    else:
        ranked = sorted_along(flat, len(flat.shape) - 1)
        middle = part(ranked, (..., n // 2))
        if n % 2 == 0:
            middle = ew.mul(ew.add(part(ranked, (..., n // 2 - 1)), middle), 0.5)
        middle = ew.where(ew.isnan(part(ranked, (..., -1))), np.nan, middle)
    return reshaped(middle, tuple(1 if i in axes else s for i, s in enumerate(a.shape))) if keepdims else middle


@row(np.nanmedian)
def nanmedian(a, axis=None, out=None, overwrite_input=False, keepdims=_NONE):
    a = at_least_array(a)
    return _quantile(a, 0.5, axis, "linear", keepdims, None, True, np.result_type(a.dtype, 1.0))


__all__ = ["argsort", "median", "sort", "sorted_along"]

"""Covariances, histograms with weights, counts with weights, distinct elements.

Which bin an element falls into is a matter of its value; weights, bin edges that follow the data, and densities carry derivatives.
"""

import builtins

import numpy as np

from ..core import Tracer
from ..prims import elementwise as ew
from ..prims.complexes import imag, make_complex, real
from ..prims.contract import dot_general
from ..prims.gather import gather, scatter_add
from ..prims.layout import convert
from .creation import linspace_rule
from .dispatch import row, value_of
from .reductions import at_least_array, axes_of, count, diff, max, mean, min, sum
from .shapes import concatenate, part, permuted, reshaped
from .stacking import lift, lift_all
from .ufuncs import conjugate

_NONE, PLANE = np._NoValue, 2


# ---------------------------------------------------------------- covariances
def _observations(m, y, rowvar):
    """Variables as rows: the first operand's, then the second's."""
    def rows(x):
        if len(x.shape) > PLANE:
            raise ValueError(f"cov: an array has {len(x.shape)} dimensions; at most two are taken")
        x = reshaped(x, (1, *x.shape)) if len(x.shape) == 1 else reshaped(x, (1, 1)) if not x.shape else x
        return x
    x = rows(at_least_array(m))
    x = x if rowvar or x.shape[0] == 1 else permuted(x, (1, 0))
    if y is None:
        return x
    y = rows(at_least_array(lift(y)))
    y = y if rowvar or y.shape[0] == 1 else permuted(y, (1, 0))
    return concatenate([x, y], 0)


def _checked_weights(w, n, what, whole):
    plain = np.asarray(value_of(w, f"the signs of {what}"))
    if plain.ndim > 1:
        raise RuntimeError(f"cannot handle multidimensional {what}")
    if plain.shape[0] != n:
        raise RuntimeError(f"incompatible numbers of samples and {what}")
    if np.any(plain < 0):
        raise ValueError(f"{what} cannot be negative")
    if whole and not np.all(plain == np.around(plain)):
        raise TypeError(f"{what} must be integer")


@row(np.cov, operands=1)
def cov(m, y=None, rowvar=True, bias=False, ddof=None, fweights=None, aweights=None, *, dtype=None):
    """The mean product of deviations, weights counting (fweights) or weighing (aweights) observations."""
    x = _observations(m, y, rowvar)
    dtype = np.result_type(x.dtype, np.float64) if dtype is None else np.dtype(dtype)
    x = x if x.dtype == dtype else convert(x, dtype=dtype)
    n = x.shape[1]
    ddof = (0 if bias else 1) if ddof is None else ddof
    weights = None
    for w, what, whole in ((fweights, "fweights", True), (aweights, "aweights", False)):
        if w is not None:
            w = at_least_array(lift(w))
            _checked_weights(w, n, what, whole)
            w = w if w.dtype.kind in "fc" else convert(w, dtype=np.dtype(float))
            weights = w if weights is None else ew.mul(weights, w)
    if weights is None:
        total, centre, factor = float(n), mean(x, 1, None, True), float(n - ddof)
    else:
        total = sum(weights)
        centre = ew.div(sum(ew.mul(x, weights), 1, None, True), total)
        a = None if aweights is None else at_least_array(lift(aweights))
        loss = float(ddof) if a is None or ddof == 0 else ew.mul(ew.div(sum(ew.mul(weights, a)), total), float(ddof))
        factor = ew.sub(total, loss)
    if not isinstance(factor, Tracer):
        factor = float(factor) if factor > 0 else 0.0
    deviation = ew.sub(x, centre)
    weighed = deviation if weights is None else ew.mul(deviation, weights)
    c = ew.div(dot_general(deviation, conjugate(weighed), contract=((1,), (1,)), batch=((), ())), factor)
    c = c if c.dtype == dtype else convert(c, dtype=dtype)
    return reshaped(c, tuple(s for s in c.shape if s != 1))


@row(np.corrcoef, operands=1)
def corrcoef(x, y=None, rowvar=True, *, dtype=None):
    """Covariances over standard deviations."""
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.shape:
        return ew.div(c, c)
    n = c.shape[0]
    deviation = ew.sqrt(real(gather(c, np.arange(n) * (n + 1))))
    c = ew.div(ew.div(c, reshaped(deviation, (n, 1))), reshaped(deviation, (1, n)))
    if c.dtype.kind == "c":
        return make_complex(ew.clip(real(c), -1.0, 1.0), ew.clip(imag(c), -1.0, 1.0))
    return ew.clip(c, -1.0, 1.0)


# ---------------------------------------------------------------- counts
@row(np.bincount, operands=0)
def bincount(x, /, weights=None, minlength=0):
    """Sums of weights by number; without weights a count, which is a plain value."""
    at = np.asarray(value_of(x, "the numbers np.bincount counts"))
    if weights is None:
        return np.bincount(at, minlength=minlength)
    weights = at_least_array(lift(weights))
    size = np.bincount(at, minlength=minlength).size
    if tuple(weights.shape) != at.shape:
        raise ValueError("The weights and list don't have the same length.")
    return scatter_add(_double(weights), at.astype(np.intp), shape=(size,))


def _double(x):
    return x if x.dtype == np.float64 else convert(x, dtype=np.dtype(float))


# ---------------------------------------------------------------- histograms
def _edges(a, bins, span, weights=None):
    """Edges of the bins, as traced as what they are made of."""
    if isinstance(bins, str):
        plain = np.asarray(value_of(a, "the number of bins"))
        bins = len(np.histogram_bin_edges(plain, bins, span)) - 1
    bins = lift(bins)
    if np.ndim(bins):
        plain = np.asarray(value_of(bins, "the order of the bin edges"))
        if np.any(plain[:-1] > plain[1:]):
            raise ValueError("`bins` must increase monotonically, when an array")
        return bins
    if bins < 1:
        raise ValueError("`bins` must be positive, when an integer")
    plain = np.asarray(value_of(a, "the range of the bins"))
    dtype = np.histogram_bin_edges(plain, 1, span).dtype
    if span is not None or plain.size == 0:
        return np.histogram_bin_edges(plain, bins, span)
    low, high = min(a), max(a)
    if plain.min() == plain.max():
        low, high = ew.sub(low, 0.5), ew.add(high, 0.5)
    return linspace_rule(low, high, int(bins) + 1, dtype=dtype)


def _bin_of(a, edges):
    """Number of the bin of each element, and whether it has one; the last bin holds its right edge."""
    at = np.searchsorted(edges, a, "right") - 1
    at = np.where(a == edges[-1], len(edges) - 2, at)
    return at, (at >= 0) & (at <= len(edges) - 2)


@row(np.histogram_bin_edges, operands=1)
def histogram_bin_edges(a, bins=10, range=None, weights=None):
    return _edges(_flat(a), bins, range)


def _flat(a):
    a = at_least_array(a)
    return reshaped(a, (count(a, builtins.range(len(a.shape))),))


@row(np.histogram, operands=1)
def histogram(a, bins=10, range=None, density=None, weights=None):
    """Weights summed by bin; counts are plain values, densities follow edges that follow the data."""
    shape = np.shape(a)
    a = _flat(a)
    edges = _edges(a, bins, range)
    plain_edges, plain = (np.asarray(value_of(v, "the bins of np.histogram")) for v in (edges, a))
    if weights is None:
        h = np.histogram(plain, plain_edges)[0]
    else:
        weights = at_least_array(lift(weights))
        if tuple(weights.shape) != tuple(shape):
            raise ValueError("weights should have the same shape as a.")
        at, inside = _bin_of(plain, plain_edges)
        chosen = np.flatnonzero(inside)
        h = scatter_add(gather(_flat(weights), chosen), at[chosen], shape=(len(plain_edges) - 1,))
    if density:
        h = ew.div(ew.div(h if isinstance(h, Tracer) else np.asarray(h), _double(diff(edges))), sum(at_least_array(h)))
    return h, edges


def _sample(sample):
    """A sample as one row for each dimension."""
    if isinstance(sample, (list, tuple)):
        return [_flat(x) for x in lift_all(sample)]
    sample = at_least_array(lift(sample))
    if len(sample.shape) == 1:
        sample = reshaped(sample, (sample.shape[0], 1))
    return [part(sample, (slice(None), i)) for i in builtins.range(sample.shape[1])]


@row(np.histogramdd, operands=0)
def histogramdd(sample, bins=10, range=None, density=None, weights=None):
    rows = _sample(sample)
    n = len(rows)
    if isinstance(bins, (int, np.integer, str)):
        bins = n * [bins]
    if len(bins) != n:
        raise ValueError("The dimension of bins must be equal to the dimension of the sample x.")
    spans = [None] * n if range is None else range
    if len(spans) != n:
        raise ValueError("range argument must have one entry per dimension")
    edges = [_edges(a, b, s) for a, b, s in zip(rows, bins, spans, strict=True)]
    plain_edges = [np.asarray(value_of(e, "the bins of np.histogramdd")) for e in edges]
    placed = [_bin_of(np.asarray(value_of(a, "the sample of np.histogramdd")), e) for a, e in zip(rows, plain_edges, strict=True)]
    shape = tuple(len(e) - 1 for e in plain_edges)
    chosen = np.flatnonzero(np.logical_and.reduce([inside for _, inside in placed]))
    at = np.ravel_multi_index([a[chosen] for a, _ in placed], shape)
    if weights is None:
        h = np.bincount(at, minlength=int(np.prod(shape))).astype(float)
    else:
        h = scatter_add(gather(_double(_flat(lift(weights))), chosen), at, shape=(int(np.prod(shape)),))
    h = reshaped(h, shape)
    if density:
        total = sum(h)
        for i, e in enumerate(edges):
            h = ew.div(h, reshaped(_double(diff(e)), _thin(shape, i)))
        h = ew.div(h, total)
    return h, edges


def _thin(shape, i):
    return tuple(s if k == i else 1 for k, s in enumerate(shape))


@row(np.histogram2d, operands=0)
def histogram2d(x, y, bins=10, range=None, density=None, weights=None):
    x, y = _flat(lift(x)), _flat(lift(y))
    if tuple(x.shape) != tuple(y.shape):
        raise ValueError("x and y must have the same length.")
    if not isinstance(bins, (list, tuple)) and np.ndim(bins) == 1 and len(bins) != PLANE:
        bins = [bins, bins]
    elif isinstance(bins, (list, tuple)) and len(bins) not in (1, PLANE):
        bins = [np.asarray(bins)] * PLANE
    h, edges = histogramdd([x, y], bins, range, density, weights)
    return h, edges[0], edges[1]


# ---------------------------------------------------------------- distinct elements
@row(np.unique, operands=1)
def unique(ar, return_index=False, return_inverse=False, return_counts=False, axis=None, *, equal_nan=True, sorted=True):
    """The distinct elements, each as it first occurs."""
    ar = at_least_array(ar)
    plain = np.asarray(value_of(ar, "which elements np.unique finds distinct"))
    _, first, inverse, counts = np.unique(plain, True, True, True, axis, equal_nan=equal_nan)
    flat, i = (_flat(ar), 0) if axis is None else (ar, axes_of(axis, len(ar.shape))[0])
    values = part(flat, tuple(first if k == i else slice(None) for k in range(len(flat.shape))))
    extra = [part_ for part_, wanted in ((first, return_index), (inverse, return_inverse), (counts, return_counts)) if wanted]
    return (values, *extra) if extra else values


def _unique_named(function, *fields):
    """``unique_all`` and its like: a named tuple of what each asks for."""
    def rule(x, /, *, sorted=True):
        plain = np.asarray(value_of(x, f"which elements np.{function.__name__} finds distinct"))
        model = function(plain)
        first = np.unique(plain, return_index=True, equal_nan=False)[1]
        values = gather(_flat(x), first)
        return values if not fields else type(model)(values, *model[1:])
    rule.__name__ = function.__name__
    row(function)(rule)


_unique_named(np.unique_values)
_unique_named(np.unique_all, "indices", "inverse_indices", "counts")
_unique_named(np.unique_counts, "counts")
_unique_named(np.unique_inverse, "inverse_indices")


def _places(values, pool, what):
    """Where each of some plain values first stands in a row."""
    plain = np.asarray(value_of(pool, what))
    order = np.argsort(plain, kind="stable")
    return gather(pool, order[np.searchsorted(plain[order], values)])


def _set_operation(function):
    def rule(ar1, ar2, assume_unique=False, **options):
        pool = concatenate([_flat(ar1), _flat(ar2)], 0)
        plain = [np.asarray(value_of(_flat(x), f"the elements of np.{function.__name__}")) for x in (ar1, ar2)]
        if options.pop("return_indices", False):
            _, i, j = np.intersect1d(*plain, assume_unique, return_indices=True)
            return gather(_flat(ar1), i), i, j
        args = (assume_unique,) if function is not np.union1d else ()
        return _places(function(*plain, *args), pool, f"np.{function.__name__}")
    rule.__name__ = function.__name__
    row(function, operands=2)(rule)


for _function in (np.union1d, np.intersect1d, np.setdiff1d, np.setxor1d):
    _set_operation(_function)


@row(np.trim_zeros)
def trim_zeros(filt, trim="fb", axis=None):
    """The part between the first and the last element that is not zero."""
    filt = at_least_array(filt)
    plain = np.asarray(value_of(filt, "which elements np.trim_zeros finds zero"))
    trimmed = np.trim_zeros(np.where(plain == 0, 0, np.arange(1, plain.size + 1).reshape(plain.shape)), trim, axis)
    if trimmed.size == 0:
        return part(filt, tuple(slice(0, n) for n in trimmed.shape))
    starts = [int(np.argmax((plain != 0).any(tuple(k for k in range(plain.ndim) if k != i)))) for i in range(plain.ndim)]
    starts = [s if "f" in trim.lower() and n != full else 0 for s, n, full in zip(starts, trimmed.shape, plain.shape, strict=True)]
    return part(filt, tuple(slice(s, s + n) for s, n in zip(starts, trimmed.shape, strict=True)))


__all__ = ["bincount", "cov", "histogram"]

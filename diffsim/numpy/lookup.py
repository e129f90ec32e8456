"""Tables: searching sorted arrays, piecewise linear interpolation."""

import numpy as np

from ..core import Tracer
from ..errors import ConcretizationError
from ..prims import elementwise as ew
from ..prims.layout import concatenate, convert, reduce_sum, reshape
from ..prims.order import sort as sorted_with
from . import indexing
from .dispatch import row, value_of
from .reductions import at_least_array
from .stacking import lift


def _count(table, x, compare):
    """For each element of ``x`` how many entries of the table compare as asked: a search that a graph can hold."""
    shape = tuple(x.shape)
    wide = reshape(x, shape=(*shape, 1))
    return reduce_sum(compare(table, wide), axes=(len(shape),))


def _before(a, b):
    """Whether ``a`` sorts before ``b``: NaN stands behind all numbers."""
    return ew.less(a, b) if b.dtype.kind not in "fc" else ew.logical_or(ew.less(a, b), ew.logical_and(ew.isnan(b), ew.equal(a, a)))


def _not_after(a, b):
    """Whether ``b`` does not sort before ``a``."""
    return ew.less_equal(a, b) if b.dtype.kind not in "fc" else ew.logical_or(ew.less_equal(a, b), ew.isnan(b))


@row(np.searchsorted, operands=2, value=True)
def searchsorted(a, v, side="left", sorter=None):
    v = at_least_array(v)
    try:
        return np.searchsorted(value_of(a, "np.searchsorted"), value_of(v, "np.searchsorted"), side, sorter)
    except ConcretizationError:
        a = a if sorter is None else indexing.getitem(a, sorter)
        return _count(a, v, _before if side == "left" else _not_after)


@row(np.digitize, operands=2, value=True)
def digitize(x, bins, right=False):
    x = at_least_array(x)
    try:
        return np.digitize(value_of(x, "np.digitize"), value_of(bins, "np.digitize"), right)
    except ConcretizationError:
        plain = value_of(bins, "the order of the bins of np.digitize")
        if plain[0] <= plain[-1]:
            return _count(plain, x, _before if right else _not_after)
        return _count(plain, x, ew.greater_equal if right else ew.greater)


@row(np.interp, operands=3)
def interp(x, xp, fp, left=None, right=None, period=None):
    """Piecewise linear; at a knot the derivative is that of the cell to its right, beyond the ends zero."""
    x, xp, fp = map(_double, (x, xp, fp))
    if len(xp.shape) != 1 or tuple(xp.shape) != tuple(fp.shape):
        raise ValueError(f"interp: xp and fp are vectors of one length, not of shapes {tuple(xp.shape)} and {tuple(fp.shape)}")
    if period is not None:
        x, xp, fp = _one_period(x, xp, fp, abs(period))
        left = right = None
    n = xp.shape[0]
    first, last = (indexing.getitem(fp, i) if given is None else lift(given) for i, given in ((0, left), (-1, right)))
    below, above = ew.less(x, indexing.getitem(xp, 0)), ew.greater_equal(x, indexing.getitem(xp, -1))
    if n == 1:
        end = ew.where(ew.greater(x, indexing.getitem(xp, 0)), last, indexing.getitem(fp, 0))
        return ew.where(below, first, end)
    cell = searchsorted(xp, x, "right")
    cell = ew.minimum(ew.maximum(cell if isinstance(cell, Tracer) else np.asarray(cell), 1), n - 1)
    x0, x1, f0, f1 = (indexing.getitem(table, i) for table in (xp, fp) for i in (ew.sub(cell, 1), cell))
    inside = ew.add(ew.mul(ew.div(ew.sub(f1, f0), ew.sub(x1, x0)), ew.sub(x, x0)), f0)
    end = ew.where(ew.equal(x, indexing.getitem(xp, -1)), indexing.getitem(fp, -1), last)
    return ew.where(below, first, ew.where(above, end, inside))


def _double(x):
    """In double precision, in which NumPy interpolates whatever it is given."""
    x = at_least_array(x)
    return x if x.dtype.kind == "c" or x.dtype == np.float64 else convert(x, dtype=np.dtype(float))


def _one_period(x, xp, fp, period):
    """Argument and table reduced to one period, the table continued by a knot at either side."""
    x, xp = ew.remainder(x, period), ew.remainder(xp, period)
    xp, fp = sorted_with(xp, fp, axis=0)
    ends = slice(-1, None), slice(0, 1)
    before, after = (indexing.getitem(xp, e) for e in ends)
    xp = concatenate(ew.sub(before, period), xp, ew.add(after, period), axis=0)
    return x, xp, concatenate(indexing.getitem(fp, ends[0]), fp, indexing.getitem(fp, ends[1]), axis=0)


__all__ = ["digitize", "interp", "searchsorted"]

"""Indexing by arrays of integers: positions in row-major order, repeats allowed.

``gather(x, at)`` reads, ``scatter_add(y, at)`` is its transpose, ``put(x, new, at)`` writes (of several writes to one place the last
stands).  ``within(i)`` makes a user's index along one axis a coordinate: checked, and counted from the start.
"""

import math

import numpy as np

from ..core import Absent, Aval, Linear, Primitive, Tracer
from ..core.emission import Gather, Scalar
from .elementwise import add, equal, mul
from .family import REAL, draw, nondifferentiable, zeros
from .layout import convert, reshape, spread
from .positions import moved


def of_members(n, batched, at, size):
    """Positions in an array of ``n`` members of ``size`` elements each, from positions in a member."""
    at = reshape(at, shape=(1, *at.shape)) if not batched and at.shape else at
    rank = len(at.shape) if batched or at.shape else 1
    return add(at, np.reshape(np.arange(n) * size, (n, *(1,) * (rank - 1))))


def _samples(*cases):
    return lambda rng: [((draw(rng, REAL, s), np.asarray(at)), {}) for s, at in cases]


def _within_impl(i, *, size, axis):
    bad = np.less(i, -size) | np.greater_equal(i, size)
    if np.any(bad):
        first = np.ravel(i)[np.argmax(bad)]
        raise IndexError(f"index {first} is out of bounds for axis {axis} with size {size}")
    return np.where(np.less(i, 0), np.add(i, size), i)


def _within_aval(i, *, size, axis):
    if size == 0 and i.size:
        raise IndexError(f"an index is out of bounds for axis {axis} with size 0")
    return i


within = nondifferentiable(
    "within",
    impl=_within_impl,
    aval=_within_aval,
    batch=lambda n, batched, i, *, size, axis: within(i, size=size, axis=axis),
    emit=Scalar(lambda k, i, *, size, axis: k.wrapped(i, size, axis)),
    samples=lambda rng: [((rng.integers(-4, 4, shape),), {"size": 4, "axis": 0}) for shape in ((), (3,), (2, 30))],
)


def _nonempty(x, at):
    """Raise IndexError where an empty array is indexed."""
    if x.size == 0 and at.size:
        raise IndexError(f"an index is out of bounds for an array of shape {x.shape}")
    return x


def _gather_impl(x, at):
    return np.reshape(x, -1)[at]


def _gather_into(accumulator, y_bar, x, at):
    if accumulator.flags.c_contiguous:
        np.add.at(accumulator.reshape(-1), at, y_bar)
    else:                                                   # a flat view would be a copy
        np.add.at(accumulator, np.unravel_index(at, accumulator.shape), y_bar)


def _gather_jvp(x, y, x_dot):
    return None if x_dot[0] is None else gather(x_dot[0], x[1])


def _gather_batch(n, batched, x, at):
    if not batched[0]:
        return gather(x, at)
    return gather(x, of_members(n, batched[1], at, int(np.prod(x.shape[1:]))))


gather = Primitive(
    "gather",
    impl=_gather_impl,
    aval=lambda x, at: Aval(at.shape, _nonempty(x, at).dtype),
    jvp=_gather_jvp,
    transpose=lambda y_bar, x, at: (scatter_add(y_bar, at, shape=x.shape), None),
    batch=_gather_batch,
    emit=Gather(lambda k, index, x, at: k.element(x, at(index))),
    sparsity=moved(_gather_impl, indices=(1,)),
    samples=_samples(((4,), [2]), ((2, 3), [[0, 5], [5, 5]]), ((3,), 1)),
    linear_fast=_gather_into,
)


def _scatter_add_impl(y, at, *, shape):
    out = np.zeros(shape, y.dtype)
    np.add.at(out.reshape(-1), at, y)
    return out


def _scatter_add_store(k, out, y, at, *, shape):
    k.loop(shape, lambda i: out.store(i, k.const(0, out.dtype)))
    k.loop(y.shape, lambda i: out.add_flat(at(i), y(i)))


def _scatter_add_batch(n, batched, y, at, *, shape):
    at = of_members(n, batched[1], at, int(np.prod(shape)))
    return scatter_add(*spread(n, (batched[0],), (y,)), at, shape=(n, *shape))


scatter_add = Primitive(
    "scatter_add",
    impl=_scatter_add_impl,
    aval=lambda y, at, *, shape: _nonempty(Aval(shape, y.dtype), at),
    jvp=lambda x, y, x_dot, *, shape: None if x_dot[0] is None else scatter_add(x_dot[0], x[1], shape=shape),
    transpose=lambda y_bar, y, at, *, shape: (gather(y_bar, at), None),
    batch=_scatter_add_batch,
    emit=Gather(Absent("one element of a scatter needs a search over all writes"), _scatter_add_store),
    sparsity=lambda i, y, at, *, shape: (np.ravel(at), np.arange(at.size)),
    samples=lambda rng: [((draw(rng, REAL, np.shape(at)), np.asarray(at)), {"shape": s}) for s, at in (
        ((4,), [2]), ((2, 3), [[0, 5], [5, 5]]), ((3,), 1))],
)


def winners(at, size):
    """Where a write of ``put`` survives: the last of several to one place."""
    if isinstance(at, Tracer):
        order = np.arange(float(math.prod(at.shape))).reshape(at.shape)
        return equal(gather(put(np.zeros(size), order, at), at), order)
    at = np.asarray(at)
    last = np.full(size, -1)
    order = np.arange(at.size).reshape(at.shape)
    last[at] = order
    return last[at] == order


def _put_impl(x, new, at):
    out = np.array(x, order="C")                            # so that the flat view is no copy
    out.reshape(-1)[np.ascontiguousarray(at)] = np.ascontiguousarray(new)     # in row-major order, for the last of several writes
    return out


def _put_jvp(x, y, x_dot):
    base, new, _ = x_dot
    if base is None and new is None:
        return None
    base = zeros(Aval(tuple(x[0].shape), y.dtype)) if base is None else base
    return put(base, zeros(Aval(tuple(x[2].shape), y.dtype)) if new is None else new, x[2])


def _put_transpose(y_bar, x, new, at):
    x_bar = put(y_bar, np.zeros(at.shape, y_bar.dtype), at) if isinstance(x, Linear) else None
    if not isinstance(new, Linear):
        return x_bar, None, None
    size = int(np.prod(y_bar.shape))
    return x_bar, mul(gather(y_bar, at), convert(winners(at, size), dtype=y_bar.dtype)), None


def _put_batch(n, batched, x, new, at):
    x, new = spread(n, batched[:2], (x, new))
    return put(x, new, of_members(n, batched[2], at, int(np.prod(x.shape[1:]))))


def _put_store(k, out, x, new, at):
    k.loop(x.shape, lambda i: out.store(i, x(i)))
    k.loop(new.shape, lambda i: out.store_flat(at(i), new(i)))


put = Primitive(
    "put",
    impl=_put_impl,
    aval=lambda x, new, at: _nonempty(x, at),
    jvp=_put_jvp,
    transpose=_put_transpose,
    batch=_put_batch,
    emit=Gather(Absent("one element of a scatter needs a search over all writes"), _put_store),
    sparsity=moved(_put_impl, indices=(2,)),
    samples=lambda rng: [((draw(rng, REAL, s), draw(rng, REAL, np.shape(at)), np.asarray(at)), {}) for s, at in (
        ((4,), [2]), ((2, 3), [[0, 5], [5, 1]]), ((3,), 1))],
)

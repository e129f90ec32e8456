"""Order: sorting with what is carried along, and the stable permutation it follows."""

import numpy as np

from ..core import Aval, Primitive
from ..core.emission import Back
from .elementwise import add, mul
from .family import HALVES, NOT_LINEAR, draw, nondifferentiable
from .gather import gather
from .layout import spread

IN_NUMPY = Back("it is sorted by NumPy")

def _distinct(rng, shape):
    """Values that keep their order under small changes."""
    return np.asarray(rng.permutation(int(np.prod(shape))).reshape(shape) * 0.5 - 1.0)


argsort = nondifferentiable(
    "argsort",
    impl=lambda x, *, axis: np.argsort(x, axis, kind="stable"),
    aval=lambda x, *, axis: Aval(x.shape, np.dtype(np.intp)),
    batch=lambda n, batched, x, *, axis: argsort(x, axis=axis + 1),
    emit=IN_NUMPY,
    samples=lambda rng: [((_distinct(rng, s),), {"axis": axis}) for s, axis in (((5,), 0), ((3, 4), 0), ((2, 3), 1), ((0,), 0))],
)


def take_along(x, at, axis):
    """``np.take_along_axis`` for positions within bounds, counted from the start."""
    shape = tuple(x.shape)
    stride = int(np.prod(shape[axis + 1:]))
    base = np.arange(int(np.prod(shape))).reshape(shape) if tuple(at.shape) == shape else _corner(shape, tuple(at.shape), axis)
    along = np.arange(at.shape[axis] if at.shape else 1).reshape((-1,) + (1,) * (len(shape) - axis - 1)) * stride
    return gather(x, add(mul(at, stride), base - along))


def _corner(shape, wanted, axis):
    """Positions of the elements at the same coordinates, where the axis taken along has another length."""
    strides = [int(np.prod(shape[i + 1:])) for i in range(len(shape))]
    grid = np.indices(wanted, sparse=True)
    return np.broadcast_to(sum((g * s for g, s in zip(grid, strides, strict=True)), np.zeros((), int)), wanted)


def _sort_impl(key, *carried, axis):
    at = np.argsort(key, axis, kind="stable")
    return tuple(np.take_along_axis(x, at, axis) for x in (key, *carried))


def _sort_jvp(x, y, x_dot, *, axis):
    at = argsort(x[0], axis=axis)
    return tuple(None if t is None else take_along(t, at, axis) for t in x_dot)


def _sort_batch(n, batched, *x, axis):
    return sort(*spread(n, batched, x), axis=axis + 1)


def _sort_samples(rng):
    return [((_distinct(rng, s), *[draw(rng, HALVES, s) for _ in range(n)]), {"axis": axis}) for s, axis, n in (
        ((5,), 0, 0), ((3, 4), 0, 1), ((2, 3), 1, 2), ((0,), 0, 0))]


#: The values of the first operand in ascending order, NaN last, and the others in the same order; derivatives follow the permutation.
sort = Primitive(
    "sort",
    impl=_sort_impl,
    aval=lambda *x, axis: x,
    jvp=_sort_jvp,
    transpose=NOT_LINEAR,
    batch=_sort_batch,
    emit=IN_NUMPY,
    samples=_sort_samples,
    multiple=True,
)

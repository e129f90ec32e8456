"""Updates at positions: what ``np.add.at`` does to an array, as a value.

``add_at(x, new, at)`` adds each element of ``new`` in turn at a position (row-major, repeats allowed) of ``x``: the order, hence the
rounding, is NumPy's.
"""

import numpy as np

from ..core import Absent, Aval, Linear, Primitive
from ..core.emission import Gather
from .elementwise import add
from .family import REAL, draw
from .gather import gather, scatter_add
from .layout import broadcast_to, reshape


def _impl(x, new, at):
    out = np.array(x, order="C")                            # so that the flat view is no copy
    np.add.at(out.reshape(-1), at, new)
    return out


def _aval(x, new, at):
    if x.size == 0 and at.size:
        raise IndexError(f"an index is out of bounds for an array of shape {x.shape}")
    return Aval(tuple(x.shape), x.dtype)


def _jvp(x, y, x_dot):
    base, new, _ = x_dot
    if new is None:
        return base
    return scatter_add(new, x[2], shape=tuple(x[0].shape)) if base is None else add_at(base, new, x[2])


def _transpose(y_bar, x, new, at):
    return (y_bar if isinstance(x, Linear) else None), (gather(y_bar, at) if isinstance(new, Linear) else None), None


def _batch(n, batched, x, new, at):
    """One array of all members after another; the positions of a member start where it does."""
    size = int(np.prod(x.shape[1:] if batched[0] else x.shape))
    x, new, at = (a if on else broadcast_to(reshape(a, shape=(1, *a.shape)), shape=(n, *a.shape))
                  for a, on in zip((x, new, at), batched, strict=True))
    starts = np.reshape(np.arange(n) * size, (n,) + (1,) * (len(at.shape) - 1))
    return add_at(x, new, add(at, starts))


def _store(k, out, x, new, at):
    k.loop(x.shape, lambda i: out.store(i, x(i)))
    k.loop(new.shape, lambda i: out.add_flat(at(i), new(i)))


def _sparsity(i, x, new, at):
    if i == 0:
        each = np.arange(int(np.prod(x.shape)))
        return each, each
    return np.ravel(at), np.arange(at.size)


add_at = Primitive(
    "add_at",
    impl=_impl,
    aval=_aval,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    sparsity=_sparsity,
    emit=Gather(Absent("one element of a scatter needs a search over all writes"), _store),
    samples=lambda rng: [((draw(rng, REAL, s), draw(rng, REAL, np.shape(at)), np.asarray(at)), {}) for s, at in (
        ((4,), [2]), ((2, 3), [[0, 5], [5, 1]]), ((3,), 1), ((2,), [0, 0, 1, 0]))],
)

__all__ = ["add_at"]

"""Reductions that choose: largest and smallest, where they stand, any and all."""

import numpy as np

from ..core import Aval, Primitive
from ..core.emission import Gather
from .elementwise import div, equal, mul
from .family import NOT_LINEAR, nondifferentiable, shaped, shifted
from .layout import convert, expand, inserted, reduce_sum, without


def _extreme_jvp(x, y, x_dot, *, axes):
    """The tangent at the extreme, averaged over ties."""
    (x,), (t,) = x, x_dot
    chosen = convert(equal(x, expand(y, x.shape, axes)), dtype=y.dtype)
    return div(reduce_sum(mul(chosen, t), axes=axes), reduce_sum(chosen, axes=axes))


def _extreme_aval(x, *, axes, word):
    out = Aval(without(x.shape, axes), x.dtype)
    if x.size == 0 and out.size:
        raise ValueError(f"zero-size array to reduction operation {word} which has no identity")
    return out


def _position_aval(x, *, axis, name):
    out = Aval(without(x.shape, (axis,)), np.dtype(np.intp))
    if x.shape[axis] == 0 and out.size:
        raise ValueError(f"attempt to get {name} of an empty sequence")
    return out


def _extreme(name, ufunc, word):
    prim = Primitive(
        name,
        impl=lambda x, *, axes: ufunc.reduce(x, axis=axes),
        aval=lambda x, *, axes: _extreme_aval(x, axes=axes, word=word),
        jvp=_extreme_jvp,
        transpose=NOT_LINEAR,
        batch=lambda n, batched, x, *, axes: prim(x, axes=shifted(axes)),
        emit=Gather(lambda k, index, x, *, axes: k.reduce(
            word, tuple(x.shape[i] for i in axes), lambda inner: x(inserted(index, axes, inner)), x.aval)),
        samples=shaped(((3, 4), {"axes": (0,)}), ((2, 3, 4), {"axes": (0, 2)}), ((3,), {"axes": (0,)})),
    )
    return prim


reduce_max = _extreme("reduce_max", np.maximum, "maximum")
reduce_min = _extreme("reduce_min", np.minimum, "minimum")


def _position(name, function, compare):
    def emit(k, index, x, *, axis):
        n = x.shape[axis]
        return k.position(compare, n, lambda i: x((*index[:axis], i, *index[axis:])), x.aval)
    prim = nondifferentiable(
        name,
        impl=lambda x, *, axis: function(x, axis),
        aval=lambda x, *, axis: _position_aval(x, axis=axis, name=name),
        batch=lambda n, batched, x, *, axis: prim(x, axis=axis + 1),
        emit=Gather(emit),
        samples=shaped(((4,), {"axis": 0}), ((2, 3), {"axis": 1}), ((2, 3), {"axis": 0})),
    )
    return prim


argmax = _position("argmax", np.argmax, ">")
argmin = _position("argmin", np.argmin, "<")


def _truth(name, ufunc, word):
    prim = nondifferentiable(
        name,
        impl=lambda x, *, axes: ufunc.reduce(x, axis=axes),
        aval=lambda x, *, axes: Aval(without(x.shape, axes), np.dtype(bool)),
        batch=lambda n, batched, x, *, axes: prim(x, axes=shifted(axes)),
        emit=Gather(lambda k, index, x, *, axes: k.reduce(
            word, tuple(x.shape[i] for i in axes), lambda inner: k.truth(x(inserted(index, axes, inner))), Aval((), np.dtype(bool)))),
        samples=lambda rng: [((rng.integers(0, 2, s) == 1,), {"axes": axes}) for s, axes in (((3,), (0,)), ((2, 3), (1,)), ((0,), (0,)))],
    )
    return prim


reduce_any = _truth("any", np.logical_or, "or")
reduce_all = _truth("all", np.logical_and, "and")

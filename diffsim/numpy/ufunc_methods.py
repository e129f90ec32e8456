"""Methods of ufuncs: ``reduce``, ``accumulate``, ``reduceat``, ``outer``; ``axes``, ``axis`` and ``keepdims`` of products.

Sums, products, extremes and truths go to the reductions of their own; any other ufunc of two operands is applied element after element.
"""

import numpy as np

from ..core import UFUNCS, user_line
from ..errors import MissingRule
from ..prims import elementwise as ew
from ..prims.layout import concatenate, convert, reshape
from . import dispatch, indexing, reductions
from .dispatch import UFUNC_METHODS
from .reductions import at_least_array, axes_of, moved
from .stacking import join, lift

_NONE, _halves = np._NoValue, reductions._halves
_OWN = {np.add: reductions.sum, np.multiply: reductions.prod, np.maximum: reductions.max, np.minimum: reductions.min,
        np.logical_and: reductions.all, np.logical_or: reductions.any}
_RUNNING = {np.add: reductions.cumsum, np.multiply: reductions.cumprod}
#: Ufuncs for which NumPy reduces over several axes at once: the order of elements does not matter.
_REORDERABLE = {np.hypot, np.logaddexp, np.logaddexp2, np.fmax, np.fmin, np.logical_xor, np.bitwise_and, np.bitwise_or, np.bitwise_xor}


def _method(rule):
    UFUNC_METHODS[rule.__name__] = rule
    return rule


def _binary(ufunc, method):
    """The rule of a ufunc of two operands.

    Raises
    ------
    MissingRule
        There is none.
    """
    apply = UFUNCS.get(ufunc)
    if apply is None or ufunc.nin != 2 or ufunc.nout != 1 or ufunc.signature is not None:
        reason = dispatch.reason_of(ufunc) if apply is None else "it is not a function of two numbers"
        raise MissingRule(f"np.{ufunc.__name__}.{method}", "derivative", f"{user_line()}: {reason or 'no rule is known for this ufunc'}")
    return apply


def _cast(a, dtype):
    a = at_least_array(lift(a))
    return a if dtype is None or a.dtype == np.dtype(dtype) else convert(a, dtype=np.dtype(dtype))


@_method
def reduce(ufunc, array, axis=0, dtype=None, keepdims=False, initial=_NONE, where=True):
    """As ``ufunc.reduce``."""
    a = _cast(array, dtype)
    own = _OWN.get(ufunc)
    options = {} if where is True else {"where": where}
    if own in (reductions.all, reductions.any):
        return own(a, axis, keepdims=keepdims, **options)
    if initial is not _NONE and initial is not None:
        options["initial"] = lift(initial)
    if own is not None:
        return own(a, axis, keepdims=keepdims, **options)
    apply = _binary(ufunc, "reduce")
    axes = axes_of(axis, len(a.shape))
    if len(axes) > 1 and ufunc not in _REORDERABLE:
        raise ValueError(f"reduction operation '{ufunc.__name__}' is not reorderable, so at most one axis may be specified")
    start = initial if initial is not _NONE and initial is not None else ufunc.identity
    if where is not True:
        if start is None:
            raise ValueError(f"reduction operation '{ufunc.__name__}' does not have an identity, so to use a where mask one has to specify "
                             f"'initial'")
        a = ew.where(lift(where), a, lift(start) if ufunc.identity is None else ufunc.identity)
    return reductions.reduced(lambda x, over: _folded(apply, x, over, start, initial, ufunc), a, axes, keepdims)


def _folded(apply, x, axes, start, initial, ufunc):
    """``x`` reduced element after element over axes, beginning with ``initial`` where it is given."""
    keep = tuple(i for i in range(len(x.shape)) if i not in axes)
    n = reductions.count(x, axes)
    flat = reshape(moved(x, keep + axes), shape=(*[x.shape[i] for i in keep], n))
    members = [indexing.getitem(flat, (..., i)) for i in range(n)]
    if initial is not _NONE and initial is not None:
        members.insert(0, lift(initial))
    if not members:
        if start is None:
            raise ValueError(f"zero-size array to reduction operation {ufunc.__name__} which has no identity")
        return np.full(tuple(x.shape[i] for i in keep), start, x.dtype)
    y = members[0]
    for each in members[1:]:
        y = apply(y, each)
    return y


@_method
def accumulate(ufunc, array, axis=0, dtype=None):
    """As ``ufunc.accumulate``; maximum and minimum by doubling strides."""
    a = _cast(array, dtype)
    if ufunc in _RUNNING:
        return _RUNNING[ufunc](a, axis)
    apply = _binary(ufunc, "accumulate")
    axis = axes_of(axis, len(a.shape))[0]
    n = a.shape[axis]
    if ufunc in (np.maximum, np.minimum, np.fmax, np.fmin):
        shift = 1
        while shift < n:
            joint = apply(_halves(a, axis, shift, n), _halves(a, axis, 0, n - shift))
            a = concatenate(_halves(a, axis, 0, shift), joint, axis=axis)
            shift *= 2
        return a
    members = [indexing.getitem(a, tuple(i if k == axis else slice(None) for k in range(len(a.shape)))) for i in range(n)]
    for i in range(1, n):
        members[i] = apply(members[i - 1], members[i])
    return join(members, axis) if members else a


@_method
def reduceat(ufunc, array, indices, axis=0, dtype=None):
    """As ``ufunc.reduceat``: the parts between the indices, each reduced."""
    a = _cast(array, dtype)
    axis = axes_of(axis, len(a.shape))[0]
    n, starts = a.shape[axis], np.asarray(dispatch.value_of(indices, f"np.{ufunc.__name__}.reduceat"))
    for i in starts:
        if not 0 <= i < n:
            raise IndexError(f"index {i} out-of-bounds in {ufunc.__name__}.reduceat [0, {n})")
    parts = []
    for i, start in enumerate(starts):
        end = int(starts[i + 1]) if i + 1 < len(starts) else n
        parts.append(reduce(ufunc, _halves(a, axis, int(start), max(end, int(start) + 1)), axis))
    return join(parts, axis)


@_method
def outer(ufunc, a, b, **options):
    """As ``ufunc.outer``."""
    a, b = at_least_array(lift(a)), at_least_array(lift(b))
    a = reshape(a, shape=tuple(a.shape) + (1,) * len(b.shape))
    return ufunc(a, b, **options) if options else _binary(ufunc, "outer")(a, b)


@_method
def generalised(ufunc, apply, operands, options):
    """A matrix or vector product with ``axes``, ``axis`` or ``keepdims``: axes brought where the rule expects them, and back.

    Raises
    ------
    MissingRule
        An option none of these.
    """
    axes, axis, keepdims = options.pop("axes", None), options.pop("axis", None), options.pop("keepdims", False)
    if options:
        raise MissingRule(f"np.{ufunc.__name__}", "derivative", f"{user_line()}: no rule is known for its options {', '.join(options)}")
    inputs, _, output = ufunc.signature.partition("->")
    n_in = inputs.count("(")
    n_out = len([c for c in output.strip("()").split(",") if c])
    operands = [at_least_array(x) for x in operands]
    if axis is not None:
        axes = [(axis,)] * len(operands)
    moved_ = operands
    if axes is not None:
        moved_ = [_to_end(x, entry) for x, entry in zip(operands, axes, strict=False)]
    y = apply(*moved_)
    if keepdims:
        y, n_out = reshape(y, shape=(*tuple(y.shape), 1)), 1
        back = axes[0] if axes is not None else (-1,)
    else:
        back = axes[n_in] if axes is not None and len(axes) > n_in else None
    if back is None or not n_out:
        return y
    n = len(y.shape)
    back = [i % n for i in ((back,) if isinstance(back, int) else back)]
    order = np.argsort([*[i for i in range(n) if i not in back], *back])
    return moved(y, tuple(int(i) for i in order))


def _to_end(x, entry):
    entry = [i % len(x.shape) for i in ((entry,) if isinstance(entry, int) else entry)]
    return moved(x, (*[i for i in range(len(x.shape)) if i not in entry], *entry))

"""Subscripts: NumPy's keys as primitives.

A key of ints, slices, ``None`` and ``...`` becomes one basic index (a view in NumPy, a contiguous read in a kernel).  Any other key becomes
positions in row-major order, found by letting NumPy index the coordinates themselves, so its result is NumPy's for every legal key.
"""

import operator
from functools import lru_cache

import numpy as np

from ..core import Aval, Tracer, user_line
from ..errors import ConcretizationError
from ..prims import elementwise as ew
from ..prims.gather import gather, put, within
from ..prims.layout import Basic, convert, index, index_set, like, reshape
from .stacking import Handle, holds_traced, lift


# ---------------------------------------------------------------- basic keys
@lru_cache(maxsize=4096)
def _plan(shape, key):
    """Basic index and final shape of a canonical key: ints, (start, stop, step), None, Ellipsis."""
    entries = [k for k in key if k is not None and k is not Ellipsis]
    if len(entries) > len(shape):
        raise IndexError(f"too many indices: the array has {len(shape)} dimensions, {len(entries)} were indexed")
    missing = len(shape) - len(entries)
    if Ellipsis not in key:
        key = (*key, Ellipsis)
    spec, final, axis = [], [], 0
    for k in key:
        if k is None:
            final.append(1)
        elif k is Ellipsis:
            for _ in range(missing):
                spec.append((0, shape[axis], 1))
                final.append(shape[axis])
                axis += 1
        elif type(k) is tuple:
            part = slice(*k).indices(shape[axis])
            spec.append(part)
            final.append(len(range(*part)))
            axis += 1
        else:
            n = shape[axis]
            if not -n <= k < n:
                raise IndexError(f"index {k} is out of bounds for axis {axis} with size {n}")
            spec.append(k + n if k < 0 else k)
            axis += 1
    at, final = Basic(spec, shape), tuple(final)
    return at, (None if final == at.shape else final)


def _canonical(k):
    """Canonical form of one basic entry; raises KeyError for an entry that is not basic."""
    kind = k.__class__
    if kind is int or k is None or k is Ellipsis:
        return k
    if kind is slice:
        return tuple(None if s is None else operator.index(s) for s in (k.start, k.stop, k.step))
    if isinstance(k, np.integer):
        return int(k)
    raise KeyError


def basic_plan(shape, key):
    """Basic index of a key and the shape it gives if that differs from the index's own; None where the key is not basic.

    Raises
    ------
    IndexError
        Out of bounds, or more entries than dimensions.
    """
    kind = key.__class__
    try:
        if kind is int:
            return _plan(shape, (key,))
        if kind is tuple:
            canonical = tuple(map(_canonical, key))
            if canonical.count(Ellipsis) > 1:
                raise IndexError("an index can only have a single ellipsis ('...')")
            return _plan(shape, canonical)
        return _plan(shape, (_canonical(key),))
    except KeyError:
        return None


def getitem(x, key):
    """``x[key]`` of a value."""
    plan = basic_plan(x.shape, key)
    if plan is not None:
        at, final = plan
        y = index(x, at=at)
        return y if final is None else reshape(y, shape=final)
    return gather(x, positions(x.shape, key))


def setitem(x, key, new):
    """The value ``x`` has after ``x[key] = new``."""
    plan = basic_plan(x.shape, key)
    new = lift(new)
    new = new if hasattr(new, "shape") else np.asarray(new)
    if plan is None:
        mask = _unknown_mask(x, key, new)
        if mask is not None:
            return ew.where(mask, cast(new, Aval(tuple(x.shape), x.dtype)), x)
        at = positions(x.shape, key)
        return put(x, cast(fit(new, at.shape), Aval(tuple(at.shape), x.dtype)), at)
    at, final = plan
    new = cast(fit(new, at.shape if final is None else final), Aval(at.shape if final is None else final, x.dtype))
    return index_set(x, new if final is None else reshape(new, shape=at.shape), at=at)


def cast(new, aval):
    """``new`` as assignment stores it in an array: broadcast, in its dtype; numbers written into integers are truncated."""
    if aval.dtype.kind in "iub" and new.dtype.kind in "fc":
        new = convert(ew.trunc(new), dtype=aval.dtype) if aval.dtype.kind != "b" else ew.not_equal(new, 0)
    return like(new, aval)


def _unknown_mask(x, key, new):
    """A mask that is the whole key and not known before the program runs, in the shape of ``x``; None for any other key.

    How many elements it selects is not known either: only one value for all of them can be assigned.
    """
    mask = key[0] if isinstance(key, tuple) and len(key) == 1 else key
    mask = lift(mask) if mask.__class__ is not tuple and holds_traced(mask) else mask
    if not isinstance(mask, Tracer) or mask.dtype.kind != "b" or tuple(x.shape[:len(mask.shape)]) != tuple(mask.shape) or len(new.shape):
        return None
    try:
        concrete(mask, "a mask")
    except ConcretizationError:
        return like(reshape(mask, shape=tuple(mask.shape) + (1,) * (len(x.shape) - len(mask.shape))), Aval(tuple(x.shape), mask.dtype))
    return None


def fit(new, shape):
    """``new`` without the leading axes of length one that assignment to ``shape`` ignores."""
    extra = len(new.shape) - len(shape)
    if extra > 0 and all(s == 1 for s in new.shape[:extra]):
        new = reshape(new, shape=tuple(new.shape[extra:]))
    return new


# ---------------------------------------------------------------- positions
@lru_cache(maxsize=256)
def _arange(n):
    a = np.arange(n)
    a.flags.writeable = False
    return a


def _coordinate(shape, axis):
    """Coordinate of every element along one axis, broadcast without memory."""
    n = len(shape)
    return np.broadcast_to(_arange(shape[axis]).reshape((1,) * axis + (shape[axis],) + (1,) * (n - axis - 1)), shape)


def _strides(shape):
    out, step = [], 1
    for s in reversed(shape):
        out.append(step)
        step *= s
    return tuple(reversed(out))


def concrete(x, what):
    """The number behind a tracer, through all levels; raises where there is none."""
    while isinstance(x, Tracer):
        x = x.owner.concrete(x, what)
    return x


def unknown(key):
    """Whether a key holds an index without a number: a symbol of a graph, or one that differs between the members of a batch."""
    if key.__class__ is tuple:
        return any(map(unknown, key))
    if key.__class__ is not list and not isinstance(key, (Handle, Tracer)):
        return False
    try:
        concrete(lift(key), "an index")
    except ConcretizationError:
        return True
    return False


def _entry(k):
    """One entry of a key: tracers of integers stay where their number is unknown, anything else becomes plain."""
    if holds_traced(k):
        k = lift(k)
    if not isinstance(k, Tracer):
        return k
    if k.dtype.kind not in "iub":
        raise IndexError(f"{user_line()}: arrays used as indices must be of integer or boolean type, not a traced {k.aval}")
    try:
        return concrete(k, "a mask used as an index (its number of elements)")
    except ConcretizationError:
        if k.dtype.kind == "b":
            raise
        return k


def positions(shape, key):
    """Positions in row-major order of the elements a key selects, in the shape of the result.

    Parameters
    ----------
    shape : tuple of int
    key : any legal NumPy key; integer arrays in it may be traced

    Returns
    -------
    ndarray of int, or tracer where an entry of the key is one

    Raises
    ------
    IndexError
        As NumPy; of traced entries when the program runs.
    """
    key = tuple(map(_entry, key if isinstance(key, tuple) else (key,)))
    if any(isinstance(k, Tracer) for k in key):
        return _traced_positions(shape, key)
    if not shape:
        return np.zeros((), np.intp)[key]
    flat = 0
    for axis, stride in enumerate(_strides(shape)):
        flat = flat + _coordinate(shape, axis)[key] * stride
    return np.asarray(flat)


def _width(k):
    """How many axes an entry of a key consumes."""
    if k is None or k is Ellipsis:
        return 0
    return k.ndim if isinstance(k, np.ndarray) and k.dtype == bool else 1


def _traced_positions(shape, key):
    """Positions where some entries are traced: those of the key with zeros in their place, plus stride times entry."""
    if Ellipsis not in [k if k is Ellipsis else None for k in key]:
        key = (*key, Ellipsis)
    missing = len(shape) - sum(map(_width, key))
    flat_key = []
    for k in key:
        mask = isinstance(k, np.ndarray) and k.dtype == bool
        flat_key += [slice(None)] * missing if k is Ellipsis else k.nonzero() if mask else [k]
    plain = tuple(np.zeros(k.shape, np.intp) if isinstance(k, Tracer) else k for k in flat_key)
    base = positions(shape, plain)
    advanced = [i for i, k in enumerate(flat_key) if k is not None and not isinstance(k, slice)]
    joint = np.broadcast_shapes(*[np.shape(plain[i]) for i in advanced])
    contiguous = advanced[-1] - advanced[0] + 1 == len(advanced)
    after = sum(isinstance(k, slice) or k is None for k in (flat_key[advanced[-1]:] if contiguous else flat_key))
    strides, axis, flat = _strides(shape), 0, base
    for k in flat_key:
        if isinstance(k, Tracer):
            i = k if k.dtype == np.intp else convert(k, dtype=np.dtype(np.intp))
            wrapped = within(i, size=shape[axis], axis=axis)
            wide = like(wrapped, Aval(joint, wrapped.dtype))
            flat = ew.add(flat, ew.mul(reshape(wide, shape=joint + (1,) * after), strides[axis]))
        axis += _width(k)
    return flat


def take_along(x, at):
    """Elements of a value at positions computed by NumPy from the positions themselves: ``at`` maps an array of positions."""
    shape = tuple(x.shape)
    return gather(x, np.array(at(np.arange(int(np.prod(shape))).reshape(shape)), order="C"))


__all__ = ["basic_plan", "cast", "concrete", "fit", "getitem", "positions", "setitem", "take_along", "unknown"]

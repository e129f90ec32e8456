"""Creators: what NumPy's own return inside a differentiated or traced function.

Floating-point arrays come as mutable arrays, so that a traced value may be stored in them; arrays of integers, truth values and anything
else come as plain ones, since they index, count and select but never carry a derivative.
"""

import math

import numpy as np

from ..core import UFUNCS, Tracer
from ..prims import elementwise as ew
from ..prims import layout
from .array import Array
from .dispatch import LIKE, lost, row, value_of
from .reductions import at_least_array
from .shapes import broadcast_to, concatenate, joined, part, reshaped
from .stacking import OBJECT, Handle, holds_traced, lift, lift_all


def _made(a):
    """A new plain array, as the mutable array if it carries derivatives and has a dimension."""
    return Array(a, False) if a.dtype.kind in "fc" and a.ndim else a


def _plain_creator(function):
    def create(*args, **kwargs):
        kwargs.pop("like", None)
        return _made(function(*args, **kwargs))
    create.__name__ = create.__qualname__ = function.__name__
    create.__doc__ = function.__doc__
    return create


zeros, ones, eye, identity, tri = map(_plain_creator, (np.zeros, np.ones, np.eye, np.identity, np.tri))


def empty(shape, dtype=float, order="C", *, device=None, like=None):
    """Zeros: what NumPy leaves undefined would differ from run to run."""
    return zeros(shape, dtype)


def full(shape, fill_value, dtype=None, order="C", *, device=None, like=None):
    """As ``numpy.full``; the filling may be traced."""
    if not holds_traced(fill_value):
        return _made(np.full(shape, fill_value, dtype))
    return _filled(lift(fill_value), shape, dtype)


def _filled(x, shape, dtype):
    x = broadcast_to(x, shape)
    return _cast(x, dtype, "np.full")


def _cast(x, dtype, what):
    """A traced value in the dtype asked for, as an array of its own."""
    if dtype is not None and np.dtype(dtype) != x.dtype:
        if np.dtype(dtype).kind not in ("c" if x.dtype.kind == "c" else "fc") and x.dtype.kind in "fc":
            raise lost(f"{what} of dtype {np.dtype(dtype)}")
        x = layout.convert(x, dtype=np.dtype(dtype))
    return Array(x) if x.shape and x.dtype.kind in "fc" else x


def array(object, dtype=None, *, copy=True, order="K", subok=False, ndmin=0, like=None):
    """As ``numpy.array``; elements may be traced."""
    if holds_traced(object):
        x = at_least_array(lift(object))
        if len(x.shape) < ndmin:
            x = reshaped(x, (1,) * (ndmin - len(x.shape)) + tuple(x.shape))
        if isinstance(x, Tracer):
            return _cast(x, dtype, "np.array")
        object = x
    return _made(np.array(object, dtype, copy=copy, ndmin=ndmin))


def asarray(a, dtype=None, order=None, *, device=None, copy=None, like=None):
    """As ``numpy.asarray``: what is an array already is handed back."""
    if isinstance(a, (Array, Tracer)) and (dtype is None or np.dtype(dtype) == a.dtype) and not copy:
        return a
    if a.__class__ is np.ndarray and a.dtype is not OBJECT:
        return np.asarray(a, dtype, copy=copy)
    return array(a, dtype)


def arange(*args, dtype=None, device=None, like=None, **named):
    """As ``numpy.arange``; start and step may be traced, the number of elements may not."""
    if not any(isinstance(x, (Tracer, Handle)) for x in (*args, *named.values())):
        return _made(np.arange(*args, dtype=dtype, **named))
    parts = dict(zip(("start", "stop", "step"), args if len(args) > 1 else (0, *args), strict=False)) | named
    start, stop, step = (lift(parts.get(k, d)) for k, d in (("start", 0), ("stop", None), ("step", 1)))
    low, high, gap = (value_of(x, "the length of np.arange") for x in (start, stop, step))
    n = math.ceil(float((high - low) / gap))
    return _cast(ew.add(ew.mul(np.arange(max(n, 0)), step), start), dtype, "np.arange")


# ---------------------------------------------------------------- creators that dispatch
def _like(name, fill):
    def create(a, dtype=None, order="K", subok=True, shape=None, *, device=None):
        a = a if isinstance(a, (Tracer, Handle)) else at_least_array(lift(a))
        shape = tuple(a.shape) if shape is None else shape
        return _made(fill(shape, a.dtype if dtype is None else dtype))
    create.__name__ = create.__qualname__ = name
    return create


zeros_like, ones_like, empty_like = _like("zeros_like", np.zeros), _like("ones_like", np.ones), _like("empty_like", np.zeros)


def full_like(a, fill_value, dtype=None, order="K", subok=True, shape=None, *, device=None):
    """As ``numpy.full_like``; the filling may be traced."""
    a = a if isinstance(a, (Tracer, Handle)) else at_least_array(lift(a))
    return full(tuple(a.shape) if shape is None else shape, fill_value, a.dtype if dtype is None else dtype)


for _function, _rule in ((np.zeros_like, zeros_like), (np.ones_like, ones_like), (np.empty_like, empty_like), (np.full_like, full_like)):
    row(_function, operands=0, view=True)(_rule)


def linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0, *, device=None):
    """As ``numpy.linspace``; the ends may be traced."""
    if not holds_traced(start) and not holds_traced(stop):
        y = np.linspace(start, stop, num, endpoint, retstep, dtype, axis)
        return (_made(y[0]), y[1]) if retstep else _made(y)
    y, step = _line(lift(start), lift(stop), int(num), endpoint)
    y = Array(y)
    return (y, step) if retstep else y


def _line(start, stop, num, endpoint):
    start, stop = at_least_array(start), at_least_array(stop)
    pieces = num - 1 if endpoint else num
    span = ew.sub(stop, start)
    step = ew.div(span, float(pieces)) if pieces > 0 else ew.mul(span, np.nan)
    dtype = np.result_type(start.dtype, stop.dtype, 1.0)
    k = np.arange(num, dtype=dtype).reshape((num,) + (1,) * len(span.shape))
    y = ew.add(ew.mul(k, step), start) if pieces > 0 else broadcast_to(start, (num, *tuple(span.shape)))
    if endpoint and num > 1:                                # the end itself, not what rounding makes of it
        last = broadcast_to(stop, (1, *tuple(span.shape)))
        y = concatenate([part(y, slice(0, num - 1)), last], 0)
    return y, step


@row(np.linspace, operands=2)
def linspace_rule(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0, *, device=None):
    y, step = _line(start, stop, int(num), endpoint)
    return (y, step) if retstep else y


@row(np.logspace, operands=2)
def logspace(start, stop, num=50, endpoint=True, base=10.0, dtype=None, axis=0):
    return UFUNCS[np.power](lift(base), _line(start, stop, int(num), endpoint)[0])


@row(np.geomspace, operands=2)
def geomspace(start, stop, num=50, endpoint=True, dtype=None, axis=0):
    return ew.exp(_line(ew.log(start), ew.log(stop), int(num), endpoint)[0])


@row(np.meshgrid, operands=0)
def meshgrid(*xi, copy=True, sparse=False, indexing="xy"):
    values = [at_least_array(x) for x in lift_all(xi)]
    n = len(values)
    order = list(range(n))
    if indexing == "xy" and n > 1:
        order[0], order[1] = 1, 0
    sizes = [int(np.prod(x.shape)) for x in values]
    shape = tuple(sizes[order.index(i)] for i in range(n))
    out = [reshaped(x, tuple(s if order[k] == i else 1 for i in range(n))) for k, (x, s) in enumerate(zip(values, sizes, strict=True))]
    return tuple(out if sparse else [broadcast_to(x, shape) for x in out])


@row(np.vander)
def vander(x, N=None, increasing=False):                                    # noqa: N803  (NumPy's name)
    n, dtype = x.shape[0] if N is None else N, np.promote_types(x.dtype, int)
    x = x if x.dtype == dtype else layout.convert(x, dtype=dtype)
    powers = range(n) if increasing else range(n - 1, -1, -1)
    return joined([reshaped(ew.integer_pow(x, n=k), (x.shape[0], 1)) for k in powers], 1)


#: NumPy's creators and ours.
CREATORS = {
    np.zeros: zeros, np.ones: ones, np.empty: empty, np.full: full, np.eye: eye, np.identity: identity, np.tri: tri, np.array: array,
    np.asarray: asarray, np.asanyarray: asarray, np.ascontiguousarray: asarray, np.asfortranarray: asarray, np.arange: arange,
    np.linspace: linspace, np.zeros_like: zeros_like, np.ones_like: ones_like, np.empty_like: empty_like, np.full_like: full_like,
}

LIKE.update({f.__name__: ours for f, ours in CREATORS.items()})
LIKE["require"] = asarray

__all__ = ["CREATORS", "array", "asarray"]

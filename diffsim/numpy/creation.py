"""Creators: what NumPy's own return inside a differentiated or traced function.

Floating-point arrays come as mutable arrays, so that a traced value may be stored in them; arrays of integers, truth values and anything
else come as plain ones, since they index, count and select but never carry a derivative.
"""

import math
import operator

import numpy as np

from ..core import UFUNCS, ArrayTracer, Tracer, user_line
from ..errors import ConcretizationError, MissingRule
from ..prims import elementwise as ew
from ..prims import layout
from .array import Array, holding, laid, own_result
from .dispatch import LIKE, lost, row, value_of
from .memory import memory_order
from .methods import in_order
from .reductions import at_least_array, axes_of, moved
from .shapes import broadcast_to, concatenate, joined, part, reshaped
from .stacking import OBJECT, Handle, holds_traced, lift, lift_all, strengthened


def _made(a):
    """A new plain array, as the mutable array if it carries derivatives."""
    if a.dtype.kind not in "fc":
        return a
    return holding(a, False) if a.flags.c_contiguous else laid(a, memory_order(a))


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
    return zeros(shape, dtype, order)


def full(shape, fill_value, dtype=None, order="C", *, device=None, like=None):
    """As ``numpy.full``; the filling may be traced."""
    if not holds_traced(fill_value):
        return _made(np.full(shape, fill_value, dtype, order))
    value = lift(fill_value)
    if not isinstance(value, Tracer):
        return _made(np.full(shape, value, dtype, order))
    return _ordered(_cast(broadcast_to(value, shape), dtype, "np.full"), order)


def _ordered(x, order):
    """A new array in the memory order asked for."""
    return x.copy("F") if order == "F" and x.__class__ is Array and x.ndim > 1 else x


def _cast(x, dtype, what):
    """A traced value in the dtype asked for, as an array of its own."""
    if dtype is not None and np.dtype(dtype) != x.dtype:
        if np.dtype(dtype).kind not in ("c" if x.dtype.kind == "c" else "fc") and x.dtype.kind in "fc":
            raise lost(f"{what} of dtype {np.dtype(dtype)}")
        x = layout.convert(x, dtype=np.dtype(dtype))
    return holding(x) if x.dtype.kind in "fc" else own_result(x)


def array(object, dtype=None, *, copy=True, order="K", subok=False, ndmin=0, like=None):
    """As ``numpy.array``; elements may be traced.  Where NumPy does not copy, neither does this: the array itself is handed back."""
    if object.__class__ is Array:
        return _of_array(object, dtype, copy, order, ndmin)
    if holds_traced(object):
        x = at_least_array(lift(object))
        if copy is False and not isinstance(object, Tracer):
            raise ValueError("Unable to avoid copy while creating an array as requested.")
        if len(x.shape) < ndmin:
            x = reshaped(x, (1,) * (ndmin - len(x.shape)) + tuple(x.shape))
        if isinstance(x, Tracer):
            return _ordered(_cast(strengthened(x), dtype, "np.array"), order)
        object, copy = x, True
    made = np.array(object, dtype, copy=copy, order=order, ndmin=ndmin)
    return made if isinstance(object, np.ndarray) and np.may_share_memory(made, object) else _made(made)


def _of_array(x, dtype, copy, order, ndmin):
    """``np.array`` of a mutable array: itself, a view with more axes, or a copy."""
    same = (dtype is None or np.dtype(dtype) == x.dtype) and in_order(x, order)
    if copy is False and not same:
        raise ValueError("Unable to avoid copy while creating an array as requested.")
    if copy or not same:
        if dtype is not None and np.dtype(dtype) != x.dtype and np.dtype(dtype).kind not in "fc" and isinstance(x.read(), Tracer):
            raise lost(f"np.array of dtype {np.dtype(dtype)}")
        x = x.copy(order or "K") if dtype is None or np.dtype(dtype) == x.dtype else x.astype(dtype, order or "K")
        x = _made(x) if x.__class__ is np.ndarray else x
    return x.reshaped((1,) * (ndmin - x.ndim) + x.shape) if x.ndim < ndmin else x


def asarray(a, dtype=None, order=None, *, device=None, copy=None, like=None):
    """As ``numpy.asarray``: what is an array already is handed back."""
    if a.__class__ is Array:
        return _of_array(a, dtype, copy, order, 0)
    if a.__class__ is ArrayTracer and (dtype is None or np.dtype(dtype) == a.dtype) and not copy:
        return own_result(a)
    if a.__class__ is np.ndarray and a.dtype is not OBJECT:
        made = np.asarray(a, dtype, order, copy=copy)
        return made if np.may_share_memory(made, a) else _made(made)
    return array(a, dtype, order=order or "K")


def ascontiguousarray(a, dtype=None, *, like=None):
    """As ``numpy.ascontiguousarray``: in C order, of one dimension at least."""
    y = asarray(a, dtype, "C")
    return y if np.ndim(y) else y.reshape(1)


def asfortranarray(a, dtype=None, *, like=None):
    """As ``numpy.asfortranarray``: in Fortran order, of one dimension at least."""
    y = asarray(a, dtype, "F")
    return y if np.ndim(y) else y.reshape(1)


def require(a, dtype=None, requirements=None, *, like=None):
    """As ``numpy.require``; of the requirements the orders C and F and an array of one's own are looked at."""
    wanted = {str(r).upper()[:1] for r in ([requirements] if isinstance(requirements, str) else requirements or [])}
    y = asarray(a, dtype, "F" if "F" in wanted else "C" if "C" in wanted else None)
    refused = y.__class__ is Array and y._refusal() is not None and "W" in wanted
    return y.copy() if refused or ("O" in wanted and getattr(y, "base", None) is not None) else y


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
        if a.__class__ is Array and a._path:
            return _made(fill(a._shadow(), dtype, order, True, shape))
        if a.__class__ is np.ndarray:
            return _made(fill(a, dtype, order, True, shape))
        new = np.empty(0, a.dtype) if shape is not None else np.broadcast_to(np.zeros((), a.dtype), tuple(a.shape))
        return _made(fill(new, dtype, "C" if order in ("K", "A") else order, True, shape))
    create.__name__ = create.__qualname__ = name
    return create


zeros_like, ones_like, empty_like = (
    _like("zeros_like", np.zeros_like), _like("ones_like", np.ones_like), _like("empty_like", np.zeros_like))


def full_like(a, fill_value, dtype=None, order="K", subok=True, shape=None, *, device=None):
    """As ``numpy.full_like``; the filling may be traced."""
    y = empty_like(a, dtype, order, True, shape)
    y[...] = fill_value
    return y


for _function, _rule in ((np.zeros_like, zeros_like), (np.ones_like, ones_like), (np.empty_like, empty_like), (np.full_like, full_like)):
    row(_function, operands=0, view=True)(_rule)


def linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0, *, device=None):
    """As ``numpy.linspace``; the ends may be traced."""
    if not holds_traced(start) and not holds_traced(stop):
        y = np.linspace(start, stop, num, endpoint, retstep, dtype, axis)
        return (_made(y[0]), y[1]) if retstep else _made(y)
    y = linspace_rule(lift(start), lift(stop), num, endpoint, retstep, dtype, axis)
    y, step = y if retstep else (y, None)
    y = holding(y) if y.dtype.kind in "fc" else y
    return (y, step) if retstep else y


def _line(start, stop, num, endpoint):
    """``num`` equal steps from start to stop along a new first axis, and the step."""
    if num < 0:
        raise ValueError(f"Number of samples, {num}, must be non-negative.")
    dtype = np.result_type(*[x.dtype if hasattr(x, "shape") else x for x in (start, stop)], 1.0)
    start, stop = (_as(x, dtype) for x in (start, stop))
    pieces = num - 1 if endpoint else num
    span = ew.sub(stop, start)
    step = ew.div(span, float(pieces)) if pieces > 0 else ew.mul(span, np.nan)
    k = np.arange(num, dtype=dtype).reshape((num,) + (1,) * len(span.shape))
    if pieces <= 0:
        return broadcast_to(start, (num, *tuple(span.shape))), step
    y = ew.add(ew.mul(k, step), start)
    if endpoint and num > 1:                                # the end itself, not what rounding makes of it
        last = broadcast_to(stop, (1, *tuple(span.shape)))
        y = concatenate([part(y, slice(0, num - 1)), last], 0)
    return y, step


def _as(x, dtype):
    x = at_least_array(x)
    return x if x.dtype == dtype else layout.convert(x, dtype=dtype)


def _placed(y, axis, dtype):
    """A line of values along ``axis``, in the dtype asked for."""
    n = len(y.shape)
    i = axes_of(axis, n)[0]
    y = moved(y, (*range(1, i + 1), 0, *range(i + 1, n)))
    if dtype is None or y.dtype == np.dtype(dtype):
        return y
    return layout.convert(ew.floor(y) if np.dtype(dtype).kind in "iu" else y, dtype=np.dtype(dtype))


@row(np.linspace, operands=2)
def linspace_rule(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0, *, device=None):
    y, step = _line(start, stop, operator.index(num), endpoint)
    y = _placed(y, axis, dtype)
    return (y, step) if retstep else y


@row(np.logspace, operands=2)
def logspace(start, stop, num=50, endpoint=True, base=10.0, dtype=None, axis=0):
    base = lift(base)
    if np.ndim(base):                                       # one line for each base
        shape = np.broadcast_shapes(*[np.shape(x) for x in (start, stop, base)])
        start, stop, base = (broadcast_to(at_least_array(x), shape) for x in (start, stop, base))
        y = UFUNCS[np.power](reshaped(base, (1, *shape)), _line(start, stop, operator.index(num), endpoint)[0])
    else:
        y = UFUNCS[np.power](base, _line(start, stop, operator.index(num), endpoint)[0])
    return _placed(y, axis, dtype)


@row(np.geomspace, operands=2)
def geomspace(start, stop, num=50, endpoint=True, dtype=None, axis=0):
    """Powers between the ends, which are met exactly; negative ends are mirrored."""
    start, stop = at_least_array(start), at_least_array(stop)
    if any(x.dtype.kind == "c" for x in (start, stop)):
        raise MissingRule("np.geomspace", "derivative", f"{user_line()}: complex ends have no rule")
    sign, num = ew.sign(start), operator.index(num)
    try:
        plain = [np.sign(value_of(x, "the sign of an end of np.geomspace")) for x in (start, stop)]
        if np.any(plain[0] == 0) or np.any(plain[1] == 0):
            raise ValueError("Geometric sequence cannot include zero")
        if np.any(plain[0] != plain[1]):
            raise MissingRule("np.geomspace", "derivative", f"{user_line()}: ends of opposite sign have no rule")
    except ConcretizationError:                             # a graph: ends of opposite sign give NaN when it runs
        sign = ew.where(ew.equal(sign, ew.sign(stop)), sign, np.nan)
    own = np.result_type(start.dtype, stop.dtype, np.dtype(dtype or float))
    own = own if own.kind == "f" else np.dtype(float)
    start, stop = (_as(ew.absolute(x), own) for x in (start, stop))
    y = ew.exp(_line(ew.log(start), ew.log(stop), num, endpoint)[0])
    ends = [broadcast_to(x, (1, *tuple(y.shape[1:]))) for x in (start, stop)]
    if num > 1 and endpoint:
        y = concatenate([ends[0], part(y, slice(1, num - 1)), ends[1]], 0)
    elif num > 0:
        y = concatenate([ends[0], part(y, slice(1, num))], 0)
    return _placed(ew.mul(y, sign if sign.dtype == y.dtype else layout.convert(sign, dtype=y.dtype)), axis, dtype)


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
    if n == 0:
        return np.zeros((x.shape[0], 0), dtype)
    powers = range(n) if increasing else range(n - 1, -1, -1)
    return joined([reshaped(ew.integer_pow(x, n=k), (x.shape[0], 1)) for k in powers], 1)


def joined_entries(entries, column):
    """What ``np.r_`` (``np.c_``) makes of its entries: slices become ranges, numbers and arrays are joined along an axis.

    Raises
    ------
    MissingRule
        A matrix is asked for.
    """
    axis, ndim, start = (-1, 2, 0) if column else (0, 1, -1)
    if isinstance(entries[0], str):
        if entries[0] in ("r", "c"):
            raise MissingRule("np.r_", "value", f"{user_line()}: {entries[0]!r} makes a matrix, which has no rule; use np.stack")
        numbers = [int(n) for n in entries[0].split(",")]
        axis, ndim, start = (*numbers, *(axis, ndim, start)[len(numbers):])
        entries = entries[1:]
    made = [_entry(x, ndim, start) for x in entries]
    weak = [x.__class__ in (bool, int, float, complex) for x in entries]
    if any(weak) and not all(weak):                         # numbers of Python's take the dtype the arrays suggest
        dtype = np.result_type(*[x if w else a.dtype for x, a, w in zip(entries, made, weak, strict=True)])
        made = [layout.convert(a, dtype=np.dtype(dtype)) if w else a for a, w in zip(made, weak, strict=True)]
    return concatenate(made, axis)


def _entry(x, ndim, start):
    """One entry of ``np.r_`` as an array of at least ``ndim`` dimensions, its own beginning at axis ``start``."""
    if isinstance(x, slice):
        first, step = 0 if x.start is None else lift(x.start), 1 if x.step is None else x.step
        x = _line(first, lift(x.stop), int(abs(step)), True)[0] if isinstance(step, complex) else lift(arange(first, x.stop, step))
    x = at_least_array(lift(x))
    if not x.shape or len(x.shape) >= ndim:
        return reshaped(x, (1,) * max(ndim - len(x.shape), 0) + tuple(x.shape))
    free = ndim - len(x.shape)
    before = free if start == -1 else (start if start >= 0 else free + start + 1)
    return reshaped(x, (1,) * before + tuple(x.shape) + (1,) * (free - before))


#: NumPy's creators and ours.
CREATORS = {
    np.zeros: zeros, np.ones: ones, np.empty: empty, np.full: full, np.eye: eye, np.identity: identity, np.tri: tri, np.array: array,
    np.asarray: asarray, np.asanyarray: asarray, np.ascontiguousarray: ascontiguousarray, np.asfortranarray: asfortranarray,
    np.arange: arange, np.require: require,
    np.linspace: linspace, np.zeros_like: zeros_like, np.ones_like: ones_like, np.empty_like: empty_like, np.full_like: full_like,
}

LIKE.update({f.__name__: ours for f, ours in CREATORS.items()})

__all__ = ["CREATORS", "array", "asarray", "joined_entries"]

"""Functions of plain value: they ask for shapes, places, orders and texts, and carry no derivative."""

import numpy as np

from ..core import Tracer
from ..errors import ConcretizationError
from ..prims import elementwise as ew
from . import indexing
from .array import Array
from .dispatch import refuse, row
from .reductions import at_least_array
from .stacking import Handle, lift


# ---------------------------------------------------------------- known without the numbers
@row(np.shape, operands=0, view=True, value=True)
def shape(a):
    return tuple(a.shape) if hasattr(a, "shape") else tuple(at_least_array(lift(a)).shape)


@row(np.ndim, operands=0, view=True, value=True)
def ndim(a):
    return len(shape(a))


@row(np.size, operands=0, view=True, value=True)
def size(a, axis=None):
    return int(np.prod(shape(a))) if axis is None else int(np.prod([shape(a)[i] for i in np.atleast_1d(axis)]))


def _dtype_stand_in(x):
    return x.dtype if isinstance(x, (Tracer, Handle)) else x


@row(np.result_type, operands=0, view=True, value=True)
def result_type(*arrays_and_dtypes):
    return np.result_type(*map(_dtype_stand_in, arrays_and_dtypes))


@row(np.can_cast, operands=0, view=True, value=True)
def can_cast(from_, to, casting="safe"):
    return np.can_cast(_dtype_stand_in(from_), to, casting)


@row(np.common_type, operands=0, view=True, value=True)
def common_type(*arrays):
    return np.common_type(*[np.empty(0, _dtype_stand_in(x)) if isinstance(x, (Tracer, Handle)) else x for x in arrays])


@row(np.min_scalar_type, operands=0, view=True, value=True)
def min_scalar_type(a):
    return a.dtype


@row(np.iscomplexobj, operands=0, view=True, value=True)
def iscomplexobj(x):
    return _dtype_stand_in(x).kind == "c"


@row(np.isrealobj, operands=0, view=True, value=True)
def isrealobj(x):
    return not iscomplexobj(x)


@row(np.isreal, operands=1, value=True)
def isreal(x):
    return ew.equal(np.imag(at_least_array(x)), 0)


@row(np.iscomplex, operands=1, value=True)
def iscomplex(x):
    return ew.not_equal(np.imag(at_least_array(x)), 0)


@row(np.array_repr, operands=0, view=True, value=True)
def array_repr(arr, *args, **options):
    return repr(arr)


@row(np.array_str, np.array2string, operands=0, view=True, value=True)
def array_str(a, *args, **options):
    return str(a)


# ---------------------------------------------------------------- known from the numbers
def _plain(x, what):
    if isinstance(x, (Handle, Tracer)) or (isinstance(x, np.ndarray) and x.dtype == object):
        return indexing.concrete(lift(x), what)
    return type(x)(_plain(e, what) for e in x) if x.__class__ in (list, tuple) else x


@row(np.isclose, operands=2, value=True)
def isclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False):
    try:
        return np.isclose(*[_plain(x, "np.isclose") for x in (a, b, rtol, atol)], equal_nan)
    except ConcretizationError:
        near = ew.less_equal(np.absolute(np.subtract(a, b)), lift(atol) + lift(rtol) * np.absolute(b))
        close = ew.logical_or(ew.logical_and(near, np.isfinite(b)), ew.equal(a, b))
        return ew.logical_or(close, ew.logical_and(np.isnan(a), np.isnan(b))) if equal_nan else close


def _of_numbers(function):
    def rule(*args, **kwargs):
        what = f"np.{function.__name__}"
        return function(*[_plain(x, what) for x in args], **{k: _plain(v, what) for k, v in kwargs.items()})
    rule.__name__ = function.__name__
    row(function, operands=0, value=True)(rule)


for _function in (
        np.nonzero, np.flatnonzero, np.argwhere, np.argpartition, np.lexsort,
        np.allclose, np.array_equal, np.array_equiv, np.isneginf, np.isposinf, np.nanargmax, np.nanargmin, np.isin, np.tril_indices_from,
        np.triu_indices_from, np.diag_indices_from, np.unravel_index, np.ravel_multi_index, np.ix_):
    _of_numbers(_function)


@row(np.shares_memory, np.may_share_memory, operands=0, view=True, value=True)
def shares_memory(a, b, max_work=None):
    if isinstance(a, Array) and isinstance(b, Array):
        return a._cell is b._cell and np.shares_memory(a._shadow(), b._shadow(), max_work)
    return a is b


def _refuse(reason, names, home=np):
    refuse(reason, *[getattr(home, name) for name in names.split()])


_refuse("it packs bits", "packbits unpackbits")
_refuse("it reads or writes a file; do that with plain values outside the transform",
        "save savez savez_compressed savetxt loadtxt genfromtxt fromfile")
_refuse("it is defined for dates", "busday_count busday_offset is_busday datetime_as_string")
_refuse("it makes arrays of something else than traced numbers; use np.array", "frombuffer fromfunction fromiter fromstring")
_refuse("its result is complex for part of the arguments; use the function of the same name in numpy",
        "arccos arcsin arctanh log log10 log2 logn power sqrt", np.emath)

__all__ = ["ndim", "shape", "size"]

"""What rebound code reaches through objects: the helpers that recompiled code calls (``source``).

Each evaluates to what the expression it stands for would have, with three differences: what is called of the user's runs rebound, an array
from outside is borrowed, and a plain array can be indexed by a traced number.  What is stored in an attribute is what the user would have
stored: his own functions and arrays.
"""

import functools
import types

import numpy as np

from ..core import ArrayTracer, Tracer, user_line
from . import indexing
from .array import Array, fresh
from .creation import array
from .lending import borrowed, own
from .mathematics import scalar_type, to_float
from .rebind import READS, Globals, creator, is_user_function, is_users, original, rebound, translated
from .scipy_others import evaluator, is_sparse, product, sparse_product
from .source import ATTRIBUTE, CALLEE, ELEMENT, KEPT, LENT, PRODUCT, SLICE
from .standins import CLASSES, by_value, look_around, swapped
from .views import Borrowed

FunctionType, MethodType, BuiltinType = types.FunctionType, types.MethodType, types.BuiltinFunctionType
_NUMBERS = frozenset((Array, ArrayTracer, Tracer, np.ndarray, np.float64, float, int, complex, str, list, dict, tuple, types.ModuleType))
_UFUNCS = frozenset(f for f in vars(np).values() if isinstance(f, np.ufunc))
#: Methods of a plain array whose result is a new array.
_COPYING = frozenset(("copy", "astype", "flatten", "repeat", "cumsum", "cumprod", "round", "clip", "dot", "take"))


def callee(f):
    """What is called in place of ``f``."""
    kind = f.__class__
    if kind is np.ufunc and f in _UFUNCS:                   # the common case where NumPy is an argument of the function
        return f
    if kind is FunctionType:
        if f.__globals__.__class__ is Globals:
            return f
        return rebound(f) if is_user_function(f) else _foreign(f, f.__globals__)
    if kind is MethodType:
        g = f.__func__
        if g.__class__ is not FunctionType or g.__globals__.__class__ is Globals:
            return f
        if f.__name__ == "dot" and is_sparse(f.__self__):
            return functools.partial(_sparse_dot, f)
        return MethodType(rebound(g), f.__self__) if is_user_function(g) else _foreign(f, g.__globals__)
    if kind is BuiltinType:
        if f.__self__.__class__ is np.ndarray and f.__name__ in _COPYING:
            return _copying(f)
        return creator(f)
    if isinstance(f, type):
        return _conversion(f) or _constructor(f)
    return rebound(f) if kind is functools.partial else _object(f, kind)


def _object(f, kind):
    """What is called in place of an object that can be called."""
    call = getattr(kind, "__call__", None)                  # noqa: B004  (the function itself is wanted, not whether it exists)
    if call.__class__ is FunctionType and is_user_function(call):
        return MethodType(rebound(call), f)
    root = str(getattr(kind, "__module__", "")).partition(".")[0]
    if root == "numba":
        return functools.partial(_outside, f)
    return (evaluator(f) if root == "scipy" else None) or swapped(f)


def _sparse_dot(method, x):
    return sparse_product(method.__self__, x) if _traced(x) else method(own(x))


def _conversion(cls):
    """What converts numbers, or makes a spline, in place of a class that does; None for any other class."""
    if cls is float:
        return to_float
    if issubclass(cls, np.inexact):
        return scalar_type(cls)
    if str(getattr(cls, "__module__", "")).partition(".")[0] != "scipy":
        return None
    look_around()
    return CLASSES.get(cls)


def _foreign(f, there):
    """A function of an installed package, which sees the arrays it always saw; those that know ours, as they are."""
    root = there.get("__name__", "").partition(".")[0]
    if f.__module__ is not None and f.__module__.startswith("numpy.testing"):
        return by_value(f)
    if root in ("diffsim", "numpy", "scipy") or is_users(there) or "-packages" not in str(there.get("__file__", "")):
        return swapped(f)
    return functools.partial(_outside, f)


def _outside(f, *args, **kwargs):
    return f(*map(_bare, args), **{k: _bare(v) for k, v in kwargs.items()})


def _bare(x):
    """A mutable array without traced values as the NumPy array it lies in, so that foreign code may write to it."""
    return x._own() if x.__class__ is Array and x._plain(None) and x._refusal() is None else own(x)


def _copying(method):
    """A method of a plain array as one that returns an array of ours."""
    @functools.wraps(method)
    def call(*args, **kwargs):
        if any(isinstance(a, (Tracer, Array)) for a in (*args, *kwargs.values())):
            return getattr(borrowed(method.__self__), method.__name__)(*args, **kwargs)
        y = method(*args, **kwargs)
        return y if np.may_share_memory(y, method.__self__) else array(y, copy=False) if y.dtype.kind in "fc" and y.shape else y
    return call


def _constructor(cls):
    """A class of the user's as what makes an instance by its rebound ``__init__`` and ``__new__``; any other class itself."""
    init, new = cls.__init__, cls.__new__
    ours = [f.__class__ is FunctionType and is_user_function(f) for f in (init, new)]
    if not any(ours) or type(cls).__call__ is not type.__call__:
        return cls
    new = rebound(new) if ours[1] else new

    def make(*args, **kwargs):
        x = new(cls) if new is object.__new__ else new(cls, *args, **kwargs)
        if isinstance(x, cls):
            kind = type(x).__init__
            (rebound(kind) if kind.__class__ is FunctionType and is_user_function(kind) else kind)(x, *args, **kwargs)
        return x
    return make


def attribute(x, name):
    """``x.name``."""
    kind = x.__class__
    if kind in _NUMBERS:
        return getattr(x, name)
    for c in kind.__mro__:
        found = c.__dict__.get(name)
        if found is not None:
            if found.__class__ is property and is_user_function(found.fget) and kind.__getattribute__ is object.__getattribute__:
                return lent(rebound(found.fget)(x))
            if found.__class__ is functools.cached_property and name not in x.__dict__ and is_user_function(found.func):
                x.__dict__[name] = value = rebound(found.func)(x)
                return value
            break
    return translated(getattr(x, name), None)


def kept(value):
    """What an attribute is given: the user's own function or array rather than what stood for it."""
    kind = value.__class__
    if kind is Array:
        return own(value)
    return original(value) if kind is FunctionType or kind is MethodType else value


def element(x, key):
    """``x[key]``."""
    kind = x.__class__
    if kind is Array and key.__class__ is int and x.owner is None and x._cell.__class__ is Borrowed and not x._path:
        y = x._cell._value[key]                             # the common case of a loop over data
        if y.__class__ is not np.ndarray:
            return y
    elif kind is Tracer:                                    # as a number of NumPy's: x[()], x[...], x[None]
        return _of_number(x, key)
    elif kind is np.ndarray and _traced(key):
        y = indexing.getitem(x, key)
        return fresh(y) if hasattr(y, "shape") and y.shape else y
    return x[key]


def _of_number(x, key):
    """A subscript of a traced number, which has no axes."""
    if any(k is not None and k is not Ellipsis for k in (key if key.__class__ is tuple else (key,))):
        raise IndexError(f"{user_line()}: a traced number has no elements: only (), None and ... can be its subscript")
    y = indexing.getitem(x, key)
    return fresh(y) if y.shape else y


def _traced(key):
    if key.__class__ is tuple:
        return any(map(_traced, key))
    return isinstance(key, Tracer) or (key.__class__ is Array and isinstance(key._peek(), Tracer))


#: A value from outside, as it may be computed with.
lent = borrowed

READS.update({CALLEE: callee, ATTRIBUTE: attribute, KEPT: kept, ELEMENT: element, LENT: lent, SLICE: slice, PRODUCT: product})

__all__ = ["attribute", "callee", "element", "kept"]

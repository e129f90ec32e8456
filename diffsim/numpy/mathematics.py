"""Python's own numbers of traced ones: the functions of ``math``, ``float(x)``, ``np.float64(x)``.

They convert what they are given to a C double, which a traced number does not have.  A rebound function sees these in their place: for
plain numbers they are Python's, for a traced one the operation itself, which keeps the derivative.
"""

import functools
import math
from types import ModuleType

import numpy as np

from ..core import UFUNCS, ArrayTracer, Tracer, user_line, weaken
from ..errors import ConcretizationError
from ..prims import elementwise as ew
from ..prims.layout import convert, reshape
from . import indexing
from .array import Array
from .creation import array
from .special import LATE
from .stacking import holds_traced, lift
from .standins import STAND_INS, SWAPS

DOUBLE = np.dtype(float)


def _number(x):
    """An operand as a double without dimension; one element of an array stands for itself."""
    x = lift(x)
    if not isinstance(x, Tracer):
        return float(x)
    if x.shape:
        if math.prod(x.shape) != 1:
            raise TypeError(f"{user_line()}: only arrays of one element can be converted to a Python number, not one of shape {x.shape}")
        x = reshape(x, shape=())
    if x.dtype.kind == "c":
        raise TypeError(f"{user_line()}: a complex number cannot be converted to a float")
    return x if x.dtype == DOUBLE else convert(x, dtype=DOUBLE)


def _checked(function, x):
    """Raise what Python raises of numbers outside the domain, where the numbers are known."""
    try:
        function(*[indexing.concrete(v, "a check") if isinstance(v, Tracer) else v for v in x])
    except ConcretizationError:
        pass


def _traced(x):
    return x.__class__ is Tracer or x.__class__ is ArrayTracer or x.__class__ is Array


def _entry(function, ours):
    @functools.wraps(function)
    def apply(*args):
        if not any(map(_traced, args)):
            return function(*args)
        x = [_number(v) for v in args]
        _checked(function, x)
        return weaken(ours(*x)) if any(isinstance(v, Tracer) for v in x) else function(*x)
    return apply


def _log(x, base=None):
    return ew.log(x) if base is None else ew.div(ew.log(x), ew.log(base))


def _hypot(*x):
    return functools.reduce(ew.hypot, x) if len(x) > 1 else ew.absolute(*x)


_ALIKE = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "asinh": "arcsinh", "acosh": "arccosh",
          "atanh": "arctanh", "pow": "power", "fabs": "absolute"} | {name: name for name in (
              "sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "expm1", "exp2", "log1p", "log2", "log10", "sqrt", "cbrt", "degrees",
              "radians", "copysign", "fmod")}
#: Function of ``math`` -> ours.
MATH = {getattr(math, name): _entry(getattr(math, name), UFUNCS[getattr(np, ufunc)]) for name, ufunc in _ALIKE.items()}
MATH |= {getattr(math, name): _entry(getattr(math, name), LATE[special])
         for name, special in (("erf", "erf"), ("erfc", "erfc"), ("gamma", "gamma"), ("lgamma", "gammaln"))}
MATH |= {getattr(math, name): _entry(getattr(math, name), UFUNCS[getattr(np, name)]) for name in ("isfinite", "isnan", "isinf")}
MATH |= {math.log: _entry(math.log, _log), math.hypot: _entry(math.hypot, _hypot)}


def _fsum(seq, /):
    """As ``math.fsum``; of traced numbers the sum in order."""
    x = list(seq)
    return sum(x, 0.0) if holds_traced(x) else math.fsum(x)


def _dist(p, q, /):
    """As ``math.dist``."""
    return MATH[math.hypot](*[a - b for a, b in zip(p, q, strict=True)]) if holds_traced([*p, *q]) else math.dist(p, q)


MATH |= {math.fsum: functools.wraps(math.fsum)(_fsum), math.dist: functools.wraps(math.dist)(_dist)}


class _Math(ModuleType):
    """``math`` with these; everything else is Python's."""

    def __init__(self):
        super().__init__("math", math.__doc__)
        self.__dict__.update({name: MATH.get(value, value) for name, value in vars(math).items() if not name.startswith("__")})


STAND_INS["math"] = _Math()
SWAPS.update(MATH)


def to_float(x=0.0, /):
    """``float(x)``: of a traced number the number itself in double precision, with its derivative."""
    if not _traced(x):
        return float(x)
    y = _number(x)
    return weaken(convert(y, dtype=DOUBLE)) if isinstance(y, Tracer) else y


def scalar_type(cls):
    """A class of NumPy's floating-point or complex numbers as a conversion that keeps derivatives."""
    @functools.wraps(cls, updated=())
    def make(*args, **kwargs):
        return array(args[0], cls)[()] if len(args) == 1 and not kwargs and holds_traced(args[0]) else cls(*args, **kwargs)
    return make


__all__ = ["MATH", "scalar_type", "to_float"]

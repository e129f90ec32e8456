"""Tracers and levels: values that carry an interpretation through plain NumPy code.

Each call of a transform opens a ``Trace`` with a fresh, higher level.  ``bind`` hands an operation to the highest level among its
operands; to that trace every value of another level is a constant, which is all it takes to keep nested derivatives apart.

A tracer answers NumPy's two protocols (NEP 13 for ufuncs, NEP 18 for functions) through tables that the floors above fill:
``UFUNCS`` and ``FUNCTIONS`` map a NumPy callable to ours, ``METHODS`` a method's name.  Tracers of no dimension have no
``__getitem__`` nor ``__len__``: NumPy would take them for sequences and hide our advice behind its own message.
"""

import itertools
import math
import sys

import numpy as np

from ..errors import ConcretizationError, DerivativeLost, DiffsimError, MutationError
from .aval import Aval, Opaque
from .heap import keep_heap

UFUNCS, FUNCTIONS, METHODS = {}, {}, {}
#: Classes of numbers that take the dtype of what they are combined with.
PYTHON_NUMBERS = frozenset((bool, int, float, complex))
#: The primitive of a ufunc that is one, for those who need not go through its entry.
PRIMITIVE_OF = {}
#: The parameters of a primitive that has none.
NO_PARAMS = {}
_levels = itertools.count()


class Trace:
    """One interpretation of a program: forward tangents, a linear list, a graph, ..."""

    __slots__ = ("alive", "direct", "level", "verb", "weak")

    def __init__(self, verb):
        self.level, self.verb, self.alive, self.direct, self.weak = next(_levels), verb, True, False, None
        if not self.level:                                  # the first trace of the process
            keep_heap()

    def process(self, prim, args, params):
        """Interpret one primitive; at least one operand is a tracer of this trace."""
        raise NotImplementedError

    def end(self):
        """Its tracers are dead from now on."""
        self.alive = self.direct = False

    def unary(self, prim, x):
        """The same for an elementwise primitive of one operand: the way eager programs take."""
        return self.process(prim, (x,), NO_PARAMS)

    def binary(self, prim, x, y):
        """The same for an elementwise primitive of two operands."""
        return self.process(prim, (x, y), NO_PARAMS)

    # ``weak``, a ``PythonNumbers``, holds the duals of those values that are numbers of Python's; None where there are none.
    # ``direct`` says that the trace is alive and that the following take light mutable arrays (``diffsim.numpy.array``) for tracers,
    # and make results of the class ``made``; so do ``unary`` and ``binary`` then.
    def both(self, prim, x, y, made):
        """``binary`` of two values of this trace."""
        return self.binary(prim, x, y, made)

    def scaled(self, prim, x, number, made):
        """``binary`` of a value of this trace and a real number, Python's or NumPy's."""
        return self.binary(prim, x, number, made)

    def escaped(self, prim):
        raise DiffsimError(
            f"a value traced by {self.verb} was used by `{prim.name}` after {self.verb} had finished ({user_line()}): it was stored "
            f"outside the function. Return it from the function instead (has_aux=True lets grad return extra results), "
            f"or run the function itself once more, which stores plain values.")


def user_frame():
    """The innermost frame outside diffsim and NumPy, and its number, the caller's caller being 1."""
    frame, depth = sys._getframe(2), 1
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("diffsim", "numpy", "contextlib"):
        frame, depth = frame.f_back, depth + 1
    return frame, depth


def user_line():
    """File and line of the innermost frame outside diffsim and NumPy: the user's."""
    frame, _ = user_frame()
    return "<unknown line>" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def user_depth():
    """``stacklevel`` with which a warning given by the caller points at the user's line."""
    return user_frame()[1]


def called_by_user(depth):
    """Whether the frame that many calls up (the caller being 1) is outside diffsim: its arrays may be written, as NumPy's may."""
    return sys._getframe(depth).f_globals.get("__name__", "").partition(".")[0] != "diffsim"


def _binary(ufunc):
    def forward(self, other):
        y = UFUNCS[ufunc](self, other)
        if y.__class__ is ArrayTracer:
            return METHODS["result_of"](y, (self, other)) if called_by_user(2) else y
        return y if self.owner.weak is None else _operated(y, self, other)

    def backward(self, other):
        y = UFUNCS[ufunc](other, self)
        if y.__class__ is ArrayTracer:
            return METHODS["result_of"](y, (self, other)) if called_by_user(2) else y
        return y if self.owner.weak is None else _operated(y, self, other)
    return forward, backward


def _unary(ufunc):
    def apply(self):
        y = UFUNCS[ufunc](self)
        return y if self.owner.weak is None else _operated(y, self)
    return apply


class PythonNumbers(set):
    """Duals of a trace's values that are numbers of Python's; ``narrowed`` says that a value was another one if they were NumPy's."""

    narrowed = False


def is_weak(x):
    """Whether an operand takes the dtype of those beside it (NEP 50): a number of Python's, traced or not."""
    while x.__class__ is Tracer:
        if x.owner.weak is not None:
            return x.dual in x.owner.weak
        x = x.primal
    return x.__class__ in PYTHON_NUMBERS


def narrow(x):
    """Note that a weak operand takes another dtype than it has."""
    while x.owner.weak is None:
        x = x.primal
    x.owner.weak.narrowed = True


def weaken(x):
    """A value just made, as a number of Python's where it is recorded as one of a graph; only numbers of such kinds are weak."""
    y = x
    while y.__class__ is Tracer and not y.shape and y.dtype.kind in "fc":
        if y.owner.weak is not None:
            y.owner.weak.add(y.dual)
            break
        y = y.primal
    return x


def _operated(y, *operands):
    """What an operator gives: of Python's numbers another one, where a NumPy function would give one of NumPy's."""
    return weaken(y) if y.__class__ is Tracer and all(map(is_weak, operands)) else y


class Tracer:
    """A value under a transform.

    ``primal`` is the value one level down (forward, linear list) or an Aval (graph); ``dual`` is what the trace
    keeps beside it: a tangent, the number of a variable, a graph variable.
    """

    __slots__ = ("dual", "owner", "primal")
    __array_priority__ = 1000
    __hash__ = object.__hash__

    def __init__(self, trace, primal, dual):
        self.owner = trace                                  # one by one: a third faster than as a tuple
        self.primal = primal
        self.dual = dual

    @property
    def shape(self):
        return self.primal.shape

    @property
    def dtype(self):
        return self.primal.dtype

    @property
    def ndim(self):
        return len(self.primal.shape)

    @property
    def aval(self):
        primal = self.primal
        return primal if primal.__class__ is Opaque else Aval(primal.shape, primal.dtype)

    @property
    def size(self):
        return self.aval.size

    @property
    def T(self):                                        # noqa: N802  (NumPy's name)
        return FUNCTIONS[np.transpose](self)

    @property
    def real(self):
        return self if self.dtype.kind != "c" else FUNCTIONS[np.real](self)

    @property
    def imag(self):
        return FUNCTIONS[np.imag](self)

    __add__, __radd__ = _binary(np.add)
    __sub__, __rsub__ = _binary(np.subtract)
    __mul__, __rmul__ = _binary(np.multiply)
    __truediv__, __rtruediv__ = _binary(np.true_divide)
    __floordiv__, __rfloordiv__ = _binary(np.floor_divide)
    __mod__, __rmod__ = _binary(np.remainder)
    __pow__, __rpow__ = _binary(np.power)
    __matmul__, __rmatmul__ = _binary(np.matmul)
    __and__, __rand__ = _binary(np.bitwise_and)
    __or__, __ror__ = _binary(np.bitwise_or)
    __xor__, __rxor__ = _binary(np.bitwise_xor)
    __lshift__, __rlshift__ = _binary(np.left_shift)
    __rshift__, __rrshift__ = _binary(np.right_shift)
    __lt__, __le__ = _binary(np.less)[0], _binary(np.less_equal)[0]
    __gt__, __ge__ = _binary(np.greater)[0], _binary(np.greater_equal)[0]
    __eq__, __ne__ = _binary(np.equal)[0], _binary(np.not_equal)[0]
    __neg__, __abs__, __invert__ = _unary(np.negative), _unary(np.absolute), _unary(np.invert)

    def __pos__(self):
        return self

    def __divmod__(self, other):
        return self // other, self % other

    def __rdivmod__(self, other):
        return other // self, other % self

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if len(inputs) == 1 and method == "__call__" and not kwargs:
            apply = UFUNCS.get(ufunc)
            if apply is not None:
                return apply(self)
        return METHODS["__array_ufunc__"](ufunc, method, inputs, kwargs)

    def __array_function__(self, func, types, args, kwargs):
        return METHODS["__array_function__"](func, args, kwargs)

    def __array__(self, dtype=None, copy=None):
        if self.dtype.kind in "iub" and (dtype is None or np.dtype(dtype).kind in "iub"):
            return np.array(self._known("an index or a mask of a plain array, or an element to store in one,"), dtype)
        if dtype is not None and np.dtype(dtype) != object:
            raise DerivativeLost(
                f"{user_line()}: a traced value of shape {self.shape} was to be stored in a plain array of dtype {np.dtype(dtype)}, which "
                f"would drop its derivative. Create the array inside the function that is differentiated (np.zeros, np.empty, "
                f"np.zeros_like), or build it with np.array([...]), np.stack or np.where.")
        out = np.empty(self.shape, object)
        for i in np.ndindex(*self.shape):
            out[i] = self[i] if i else self
        return out

    def __getattr__(self, name):
        method = METHODS.get(name)
        if method is None or name.startswith("__"):
            raise AttributeError(f"a traced array has no attribute {name!r}; use the NumPy function if there is one")
        return method.__get__(self)

    def _concrete(self, what):
        return self.owner.concrete(self, what)

    def _known(self, what):
        """The number through all levels; raises where there is none."""
        x = self
        while isinstance(x, Tracer):
            x = x._concrete(what)
        return x

    def __bool__(self):
        return bool(self._concrete("a branch (if, while, and, or, not, assert)"))

    def __float__(self):
        raise DerivativeLost(
            f"{user_line()}: float() of a traced value, or storing it in a plain float array, would drop its derivative. Use the NumPy "
            f"function instead of one from math, and create arrays inside the function (np.zeros, np.empty) or with np.array([...]) or "
            f"np.stack.")

    def __complex__(self):
        self.__float__()

    def __int__(self):
        return int(self._concrete("int()"))

    def __trunc__(self):
        return int(self._concrete("math.trunc()"))

    def __floor__(self):
        return math.floor(self._concrete("math.floor()"))

    def __ceil__(self):
        return math.ceil(self._concrete("math.ceil()"))

    def __round__(self, ndigits=None):
        if ndigits is not None:
            y = FUNCTIONS[np.round](self, ndigits)
            return weaken(y) if is_weak(self) else y
        return round(self._concrete("round() to an integer"))

    def __index__(self):
        if self.dtype.kind not in "iub":
            raise TypeError(f"{user_line()}: only integers can be used as an index, not a traced {self.dtype}")
        return int(self._concrete("an index or a range"))

    def __format__(self, spec):
        return repr(self)

    def __repr__(self):
        return f"<traced {self.aval} by {self.owner.verb}>"

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        raise TypeError("a traced value cannot be pickled: it has a meaning only while its transform runs")


class ArrayTracer(Tracer):
    """A traced array of one dimension or more: adds what makes a sequence."""

    __slots__ = ()

    def __getitem__(self, index):
        return METHODS["__getitem__"](self, index)

    def __setitem__(self, index, value):
        raise MutationError(
            f"{user_line()}: writing into a traced value of shape {self.shape}, which is an input of {self.owner.verb} or computed from "
            f"one. Write into a copy (y = y.copy()) or into an array the function creates (np.zeros, np.empty_like).")

    def __len__(self):
        return self.primal.shape[0]

    def __iter__(self):
        return (self[i] for i in range(self.primal.shape[0]))

    def __contains__(self, item):
        return bool((self == item).any())


#: Classes with ``owner``, ``primal`` and ``dual``; the floors above add theirs.
TRACED = {Tracer, ArrayTracer}


def wrap(trace, primal, dual):
    """Tracer of the class its dimension asks for."""
    return (ArrayTracer if primal.shape else Tracer)(trace, primal, dual)


def concretization_error(tracer, what):
    """The error of asking a symbol for its number."""
    return ConcretizationError(
        f"{user_line()}: {what} needs the number behind a traced {tracer.aval}, which {tracer.owner.verb} does not have while it records "
        f"the program. Write the choice as np.where (np.maximum, np.clip, ...), or mark the argument it depends on as static.")

"""Operators of the mutable array."""

import numpy as np

from ..core import METHODS, PRIMITIVE_OF, UFUNCS, ArrayTracer, Tracer
from .array import Array, fresh, result_of
from .stacking import lift
from .views import Borrowed


class _Protocol(dict):
    """Operations without an entry of their own (shifts): NumPy's protocol serves plain values and refuses traced ones."""

    def __missing__(self, ufunc):
        return lambda *x: lift(METHODS["__array_ufunc__"](ufunc, "__call__", x, {}))


_PROTOCOL = _Protocol()
#: Ufuncs that are a primitive for operands of every kind.
DIRECT = (np.add, np.subtract, np.multiply, np.true_divide)
#: Classes of numbers that need no second look.
NUMBERS = frozenset((float, int, np.float64))
FLOAT, ndarray = np.dtype(float), np.ndarray
#: What stands for an operand that was not given.
ABSENT = object()


def _as_light(x):
    """An array with a cell of its own in which nothing is stored but one traced value, as that; any other as it is."""
    if not x._path:
        cell = x._cell
        if cell.pending is None and cell._value.__class__ is ArrayTracer:
            return cell._value
    return x


def _directly(prim, forward):
    """``forward`` behind the common case: a light array and a number, or another array of the same trace."""
    def apply(self, other):
        x = self
        owner = x.owner
        if owner is None:
            x = _as_light(x)
            owner = x.owner
        if owner is not None and owner.direct:
            kind = other.__class__
            if kind is Array:
                if other.owner is owner:
                    return owner.both(prim, x, other, Array)
                if other.owner is None:
                    value = _as_light(other)
                    if value.owner is owner:
                        return owner.both(prim, x, value, Array)
                    value = other.read()
                    if value.__class__ is ndarray and value.dtype is FLOAT and not other._path:
                        return owner.binary(prim, x, value, Array)
            elif kind is float or kind in NUMBERS:
                return owner.scaled(prim, x, other, Array)
            elif (kind is ndarray and other.dtype is FLOAT) or (kind is Tracer and other.owner is owner):
                return owner.binary(prim, x, other, Array)
        return forward(self, other)
    return apply


def _operators(ufunc, table=UFUNCS):
    def forward(self, other):
        cell = self._cell
        cell.shared = True
        if self._path:
            return result_of(table[ufunc](self._peek(), other.read() if other.__class__ is Array else other), (self, other))
        value = cell._value if cell.pending is None else cell.value
        if other.__class__ is Array:
            y = table[ufunc](value, other.read())
            if other._path:
                return result_of(y, (self, other))
        else:
            y = table[ufunc](value, other)
        return fresh(y)

    def backward(self, other):
        owner = self.owner
        if owner is not None and owner.direct and other.__class__ in NUMBERS and ufunc in DIRECT:
            return owner.binary(PRIMITIVE_OF[ufunc], other, self, Array)
        return result_of(table[ufunc](other, self.read()), (other, self))

    def in_place(self, other):
        self._writable()
        other = lift(other)
        if self._plain(other):
            ufunc(self._own(), other, out=self._peek())
            return self
        y = table[ufunc](self.read(), other)
        if self._cell.__class__ is Borrowed and isinstance(y, Tracer):
            own = self._peek()
            return METHODS["accumulated"](ufunc, (own,), own, y)
        check_output(ufunc, y, self)
        self.write(y)
        return self
    return forward, backward, in_place


def check_output(ufunc, y, out):
    """Refuse what NumPy refuses of a result that is to go into an array.

    Raises
    ------
    ValueError
        The result has a shape the array cannot take.
    TypeError
        Its dtype cannot be cast to the array's (``same_kind``).
    """
    shape, dtype = tuple(y.shape), y.dtype
    if shape != out.shape:
        widened = np.broadcast_shapes(shape, out.shape) if ufunc is not np.matmul else None
        if widened != out.shape:
            raise ValueError(f"non-broadcastable output operand with shape {out.shape} doesn't match the broadcast shape {shape}")
    if not np.can_cast(dtype, out.dtype, "same_kind"):
        raise TypeError(f"Cannot cast ufunc {ufunc.__name__!r} output from {dtype!r} to {out.dtype!r} with casting rule 'same_kind'")


def _unary(ufunc):
    def apply(self):
        owner = self.owner
        if owner is not None and owner.direct and ufunc in PRIMITIVE_OF:
            return owner.unary(PRIMITIVE_OF[ufunc], self, Array)
        return result_of(UFUNCS[ufunc](self.read()), (self,))
    return apply


def divmod_(self, other):
    """Quotient and remainder."""
    return self // other, self % other


def rdivmod(self, other):
    """Quotient and remainder of another value by this one."""
    return other // self, other % self


def array_ufunc(self, ufunc, method, x=ABSENT, y=ABSENT, *more, **kwargs):
    """NEP 13; a light array with a number, a plain array or another light one goes to its trace at once."""
    owner = self.owner
    if owner is not None and owner.direct and method == "__call__" and not more and not kwargs and ufunc in PRIMITIVE_OF:
        prim = PRIMITIVE_OF[ufunc]
        if y is ABSENT:
            z = owner.unary(prim, self, Array)
            return z if z.__class__ is Array else fresh(z)
        if x.__class__ is y.__class__ and x.owner is y.owner:
            return owner.both(prim, x, y, Array)
        other = y if x is self else x
        if other.__class__ is float or (other.__class__ is ndarray and other.dtype is FLOAT):
            return owner.binary(prim, x, y, Array)
    inputs = tuple(a for a in (x, y, *more) if a is not ABSENT)
    apply = UFUNCS.get(ufunc)
    if method == "__call__" and not kwargs and apply is not None and ufunc.nout == 1:
        return result_of(apply(*inputs), inputs)
    return METHODS["__array_ufunc__"](ufunc, method, inputs, kwargs)


def _install():
    arithmetic = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide, "floordiv": np.floor_divide,
                  "mod": np.remainder, "pow": np.power, "matmul": np.matmul, "and": np.bitwise_and, "or": np.bitwise_or,
                  "xor": np.bitwise_xor, "lshift": np.left_shift, "rshift": np.right_shift}
    for name, ufunc in arithmetic.items():
        forward, backward, in_place = _operators(ufunc, _PROTOCOL if ufunc in (np.left_shift, np.right_shift) else UFUNCS)
        setattr(Array, f"__{name}__", _directly(PRIMITIVE_OF[ufunc], forward) if ufunc in DIRECT else forward)
        setattr(Array, f"__r{name}__", backward)
        setattr(Array, f"__i{name}__", in_place)
    compare = {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal}
    for name, ufunc in compare.items():
        setattr(Array, f"__{name}__", _operators(ufunc)[0])
    for name, ufunc in {"neg": np.negative, "abs": np.absolute, "invert": np.invert, "pos": np.positive}.items():
        setattr(Array, f"__{name}__", _unary(ufunc))
    Array.__array_ufunc__ = array_ufunc
    Array.__divmod__, Array.__rdivmod__ = divmod_, rdivmod


_install()

__all__ = ["NUMBERS", "check_output"]

"""What the mutable array is made of: a cell that holds a value, and the steps of a view path.

A step reads its part of a value and puts a new part back, both by primitives; ``shadow`` does the same to a strided array without
memory, which answers whether NumPy would give a view or a copy.

The memory of a cell is in C order.  An array in another order is a cell with its axes exchanged and a first step that exchanges them back.
"""

import operator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..core import Tracer, user_line
from ..errors import DerivativeLost, InputError
from ..prims import complexes, layout
from ..prims.gather import gather, put
from .stacking import join

#: Arrays up to this size are stacked from their elements when some of them are written one by one.
STACKED = 64


class Cell:
    """Where the value of an array and of all its views lives.

    Single elements written with traced values wait in ``pending`` (position -> scalar) until the value is read as a whole: filling an
    array element by element then costs one stack, not one copy an element.

    ``shared`` says that a plain value was handed out and must be copied before it is written; ``frozen`` holds the reason why
    the cell must not be written, or None.
    """

    __slots__ = ("_value", "frozen", "pending", "shared")

    def __init__(self, value, shared, frozen=None):
        self._value = value
        self.shared = shared
        self.frozen = frozen
        self.pending = None

    @property
    def value(self):
        """The value with every write in it."""
        if self.pending is not None:
            pending, self.pending = self.pending, None
            self._value, self.shared = _filled(self._value, pending), True
        return self._value

    @value.setter
    def value(self, value):
        self._value = value

    @property
    def shape(self):
        return tuple(self._value.shape)

    @property
    def dtype(self):
        return self._value.dtype

    def write_element(self, position, x):
        """Note a scalar for a position in row-major order; it has the dtype of the array."""
        if self.pending is None:
            self.pending = {}
        self.pending[position] = x


class Borrowed(Cell):
    """The cell of a plain array of the user's: read and written where it lies, as NumPy would, and never with traced values.

    It is never copied before it is written, so nobody may keep its value in place of a copy.
    """

    __slots__ = ()

    def __init__(self, value):
        super().__init__(value, False)

    @property
    def frozen(self):
        return None if self._value.flags.writeable else "assignment destination is read-only"

    @frozen.setter
    def frozen(self, reason):
        pass

    @property
    def shared(self):
        return False

    @shared.setter
    def shared(self, handed_out):
        pass

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, new):
        if isinstance(new, Tracer):
            self.write_element(None, new)
        self._value[...] = new                              # of a read-only array: NumPy's own refusal

    def write_element(self, position, x):
        raise DerivativeLost(
            f"{user_line()}: a traced value was to be written into an array of shape {self.shape} that comes from outside the function, "
            f"which would drop its derivative. Write into a copy (y = y.copy()), or create the array inside the function that is "
            f"differentiated (np.zeros, np.empty_like).")


def _filled(value, pending):
    """A value with some elements replaced."""
    shape, size = tuple(value.shape), int(np.prod(value.shape))
    plain = value.__class__ is np.ndarray
    if len(pending) == size or (plain and size <= STACKED):
        flat = [pending[i] if i in pending else value.flat[i] for i in range(size)]
        return layout.reshape(join(flat), shape=shape) if len(shape) != 1 else join(flat)
    at = sorted(pending)
    new = join([pending[i] for i in at])
    if not isinstance(new, Tracer) and plain:
        value = np.array(value, order="C")
        value.reshape(-1)[at] = new
        return value
    low, n = at[0], len(at)
    if len(shape) == 1 and at[-1] - low == n - 1:
        return layout.index_set(value, new, at=layout.basic(shape, (slice(low, low + n),)))
    return put(value, new, np.array(at))


class Index:
    """View step: a basic index, and the shape it takes if ``None`` stood in the key."""

    __slots__ = ("at", "shape")

    def __init__(self, at, shape):
        self.at, self.shape = at, shape

    def read(self, value):
        part = value[(*self.at.key, ...)] if value.__class__ is np.ndarray else layout.index(value, at=self.at)
        return part if self.shape is None else layout.reshape(part, shape=self.shape)

    def put(self, base, new):
        return layout.index_set(base, new if self.shape is None else layout.reshape(new, shape=self.at.shape), at=self.at)

    def shadow(self, s):
        part = s[(*self.at.key, ...)]
        return part if self.shape is None else np.reshape(part, self.shape)

    def __eq__(self, other):
        return type(other) is Index and self.at == other.at and self.shape == other.shape

    __hash__ = None


class Strided:
    """First step of a borrowed array whose elements do not lie one behind another: where they lie."""

    __slots__ = ("strides",)

    def __init__(self, strides):
        self.strides = strides

    def read(self, value):
        return value

    def put(self, base, new):
        return new

    def shadow(self, s):
        return as_strided(s, s.shape, self.strides)

    def __eq__(self, other):
        return type(other) is Strided and self.strides == other.strides

    __hash__ = None


class Permute:
    """View step: axes in another order."""

    __slots__ = ("axes",)

    def __init__(self, axes):
        self.axes = axes

    def read(self, value):
        return layout.transpose(value, axes=self.axes)

    def put(self, base, new):
        return layout.transpose(new, axes=tuple(int(i) for i in np.argsort(self.axes)))

    def shadow(self, s):
        return np.transpose(s, self.axes)

    def __eq__(self, other):
        return type(other) is Permute and self.axes == other.axes

    __hash__ = None


class Reshape:
    """View step: another shape over the same elements; taken only where NumPy would not copy."""

    __slots__ = ("shape",)

    def __init__(self, shape):
        self.shape = shape

    def read(self, value):
        return layout.reshape(value, shape=self.shape) if tuple(value.shape) != self.shape else value

    def put(self, base, new):
        return layout.reshape(new, shape=tuple(base.shape)) if tuple(base.shape) != self.shape else new

    def shadow(self, s):
        return np.reshape(s, self.shape)

    def __eq__(self, other):
        return type(other) is Reshape and self.shape == other.shape

    __hash__ = None


class Moved:
    """View step for what no other step gives (diagonals, windows, broadcasts): ``function`` maps an array to NumPy's view of it.

    ``read_traced``, where given, reads a traced value in a better way than by positions.
    """

    __slots__ = ("_at", "_order", "function", "read_traced")

    def __init__(self, function, read_traced=None):
        self.function, self.read_traced, self._at, self._order = function, read_traced, None, None

    def _positions(self, shape):
        """Positions in the order they lie in, and that order: results of the view then lie as NumPy's, and sums round alike."""
        if self._at is None:
            at = self.function(np.arange(int(np.prod(shape))).reshape(shape))
            self._order = tuple(int(i) for i in np.argsort([-abs(s) for s in at.strides], kind="stable"))
            self._at = np.array(at.transpose(self._order), order="C")
        return self._at

    def read(self, value):
        if value.__class__ is np.ndarray:
            return self.function(value)
        if self.read_traced is not None:
            return self.read_traced(value)
        y = gather(value, self._positions(tuple(value.shape)))
        return layout.transpose(y, axes=tuple(int(i) for i in np.argsort(self._order)))

    def put(self, base, new):
        at = self._positions(tuple(base.shape))
        return put(base, layout.transpose(new, axes=self._order), at)

    def shadow(self, s):
        return self.function(s)

    def __eq__(self, other):
        return self is other

    __hash__ = None


class Part:
    """View step: the real or the imaginary part of complex numbers."""

    __slots__ = ("name",)

    def __init__(self, name):
        self.name = name

    def read(self, value):
        return getattr(value, self.name) if value.__class__ is np.ndarray else getattr(complexes, self.name)(value)

    def put(self, base, new):
        parts = (new, complexes.imag(base)) if self.name == "real" else (complexes.real(base), new)
        return complexes.make_complex(*parts)

    def shadow(self, s):
        return getattr(s, self.name)

    def __eq__(self, other):
        return type(other) is Part and self.name == other.name

    __hash__ = None


def resolve_shape(shape, size):
    """A shape given as an int or sequence, with -1 replaced.

    Raises
    ------
    InputError
        The sizes do not agree.
    """
    shape = tuple(operator.index(s) for s in shape) if isinstance(shape, (tuple, list, np.ndarray)) else (operator.index(shape),)
    if -1 in shape:
        known = -int(np.prod(shape))
        if shape.count(-1) > 1 or known == 0 or size % known:
            raise InputError(f"cannot reshape an array of size {size} into shape {shape}")
        shape = tuple(size // known if s == -1 else s for s in shape)
    if int(np.prod(shape)) != size:
        raise InputError(f"cannot reshape an array of size {size} into shape {shape}")
    return shape


__all__ = ["Borrowed", "Cell", "Index", "Moved", "Part", "Permute", "Reshape", "Strided", "resolve_shape"]

"""The mutable array: what NumPy's creators return inside a differentiated or traced function.

A handle is a cell and a view path over values that never change: reading replays the path, writing folds the new value back through it and
puts it in the cell.  So basic slices, transposes and reshapes alias one another exactly as NumPy's views do, while what the transforms
see are ordinary primitives.  As long as nothing traced is written the value is a plain array, written in place, and the handle converts to
one silently (``__array__``).  A plain value that was handed out is copied before the next write: an earlier reader never sees it change.

A handle is an instance of ``np.ndarray`` to a rebound function (see ``rebind``), and of no NumPy class elsewhere.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..core import METHODS, UFUNCS, ArrayTracer, Aval, Tracer, user_line
from ..errors import MutationError
from ..prims import layout
from ..prims.gather import scatter_add
from . import indexing
from .stacking import Handle, lift
from .views import Cell, Index, Permute, Reshape, resolve_shape


class Array(Handle):
    """A floating-point array that may be written, item by item or through views, whatever is stored in it.

    Parameters
    ----------
    value : tracer or ndarray
    shared : bool
        Whether somebody else may hold the same plain array, so that it must be copied before it is written.
    """

    __slots__ = ("__weakref__", "_cache", "_cell", "_path", "_seen")
    __array_priority__ = 2000
    __hash__ = None

    def __init__(self, value, shared=True):
        self._cell, self._path, self._seen, self._cache = Cell(value, shared), (), None, None

    def _view(self, step):
        view = object.__new__(Array)
        view._cell, view._path, view._seen, view._cache = self._cell, (*self._path, step), None, None
        return view

    # ------------------------------------------------------------ reading
    def _peek(self):
        """The value through the path, without marking a plain one as handed out."""
        cell = self._cell
        value = cell.value
        if not self._path:
            return value
        if self._seen is not value:
            part = value
            for step in self._path:
                part = step.read(part)
            self._seen, self._cache = value, part
        return self._cache

    def read(self):
        """The value now: a tracer or a plain array."""
        self._cell.shared = True
        return self._peek()

    def __array__(self, dtype=None, copy=None):
        value = self.read()
        if isinstance(value, Tracer):
            return value.__array__(dtype) if value.shape else _object_scalar(value, dtype)
        return np.array(value, dtype, copy=copy)

    def __getitem__(self, key):
        cell = self._cell
        if cell.pending is not None and not self._path:
            at = self._element(key)
            if at is not None and at in cell.pending:
                return cell.pending[at]
            value = self._peek() if at is None else cell._value
        else:
            value = self._peek()
        plan = indexing.basic_plan(value.shape, key)
        if plan is None:
            return fresh(indexing.getitem(self.read(), key))
        at, final = plan
        if final is None and not at.shape:
            return value[at.key] if value.__class__ is np.ndarray else layout.index(value, at=at)
        return self._view(Index(at, final))

    def __setitem__(self, key, new):
        self._writable()
        plan = None
        if new.__class__ is Array and new._cell is self._cell:              # the end of x[i] += v: the view was written already
            plan = indexing.basic_plan(self.shape, key)
            if plan is not None and new._path == (*self._path, Index(*plan)):
                return
        new = lift(new)
        if self._plain(new):
            self._own()[_plain_key(key)] = new
            return
        at = None if self._path or getattr(new, "shape", ()) else self._element(key)
        if at is None:
            self._fold(lambda value: indexing.setitem(value, key, new))
            return
        dtype = self._cell.dtype
        if isinstance(new, Tracer):
            self._cell.write_element(at, new if new.dtype == dtype else layout.convert(new, dtype=dtype))
        else:
            self._cell.write_element(at, dtype.type(new))

    def _element(self, key):
        """Position in row-major order of the one element a key of ints names in the whole array; None for any other key."""
        shape = self._cell.shape
        plan = indexing.basic_plan(shape, key)
        if plan is None or plan[1] is not None or plan[0].shape:
            return None
        flat = 0
        for i, n in zip(plan[0].offset, shape, strict=True):
            flat = flat * n + i
        return flat

    # ------------------------------------------------------------ writing
    def _writable(self):
        if self._cell.frozen is not None:
            raise MutationError(f"{user_line()}: {self._cell.frozen}")

    def _plain(self, new):
        cell = self._cell
        return cell.pending is None and cell._value.__class__ is np.ndarray and not isinstance(new, Tracer)

    def _own(self):
        """NumPy view of the plain value, safe to write."""
        cell = self._cell
        if cell.shared or not cell.value.flags.writeable:
            cell.value = np.array(cell.value, order="C")
            cell.shared = False
        return self._peek()

    def _fold(self, update):
        """Put an updated value in the cell: ``update`` maps the value seen through the path to the new one."""
        values = [self._cell.value]
        for step in self._path:
            values.append(step.read(values[-1]))
        new = update(values.pop())
        for step, base in zip(reversed(self._path), reversed(values), strict=True):
            new = step.put(base, new)
        self._cell.value, self._cell.shared = new, True

    def write(self, new):
        """Replace all elements: ``x[...] = new``, broadcast and cast to this array's shape and dtype.

        Raises
        ------
        MutationError
            The array is an input of a transform.
        """
        self._writable()
        new = lift(new)
        new = new if hasattr(new, "shape") else np.asarray(new)
        if self._plain(new):
            own = self._own()
            own[...] = new
            return
        self._fold(lambda value: layout.like(indexing.fit(new, tuple(value.shape)), Aval(tuple(value.shape), value.dtype)))

    def update_at(self, key, ufunc, new):
        """``ufunc.at(self, key, new)`` for add and subtract: repeated positions accumulate."""
        self._writable()
        new = lift(new)
        if self._plain(new):
            ufunc.at(self._own(), _plain_key(key), new)
            return
        new = new if ufunc is np.add else UFUNCS[np.negative](new)

        def update(value):
            at = indexing.positions(tuple(value.shape), key)
            wide = layout.like(new if hasattr(new, "shape") else np.asarray(new), Aval(tuple(at.shape), value.dtype))
            return UFUNCS[np.add](value, scatter_add(wide, at, shape=tuple(value.shape)))
        self._fold(update)

    # ------------------------------------------------------------ views
    def permuted(self, axes):
        """View with the axes in the given order."""
        return self if axes == tuple(range(len(axes))) else self._view(Permute(axes))

    def reshaped(self, shape):
        """View of another shape, or a copy where NumPy would copy."""
        shape = resolve_shape(shape, self.size)
        if shape == self.shape or not self._path:
            return self._view(Reshape(shape))
        if self._viewable(shape):
            return self._view(Reshape(shape))
        return fresh(layout.reshape(self.read(), shape=shape))

    def _viewable(self, shape):
        """Whether NumPy could give this shape without copying: asked of a strided array that takes no memory."""
        base = self._cell.shape
        strides = [int(np.prod(base[i + 1:])) for i in range(len(base))]
        shadow = as_strided(np.empty(1, np.int8), base, strides, writeable=False)
        for step in self._path:
            shadow = step.shadow(shadow)
        try:
            np.reshape(shadow, shape, copy=False)
        except ValueError:
            return False
        return True

    def copy(self, order="C"):
        """An array of its own with the same values."""
        return Array(self.read())

    # ------------------------------------------------------------ what an array knows of itself
    @property
    def shape(self):
        return tuple(self._peek().shape) if self._path else self._cell.shape

    @property
    def dtype(self):
        return self._cell.dtype

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def size(self):
        return int(np.prod(self.shape))

    @property
    def itemsize(self):
        return self.dtype.itemsize

    @property
    def nbytes(self):
        return self.size * self.dtype.itemsize

    @property
    def aval(self):
        return Aval(self.shape, self.dtype)

    @property
    def T(self):                                        # noqa: N802  (NumPy's name)
        return self.permuted(tuple(reversed(range(self.ndim))))

    @property
    def real(self):
        return self if self.dtype.kind == "f" else np.real(self)

    @property
    def imag(self):
        return np.imag(self)

    @property
    def flat(self):
        return iter(self.reshaped(-1))

    def __len__(self):
        shape = self.shape
        if not shape:
            raise TypeError("len() of unsized object")
        return shape[0]

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __contains__(self, item):
        return bool(np.any(self.read() == item))

    def __bool__(self):
        return bool(self._peek())

    def __float__(self):
        return float(self._single())

    def __int__(self):
        return int(self._single())

    def __index__(self):
        raise TypeError("only integer scalar arrays can be converted to a scalar index")

    def _single(self):
        if self.size != 1:
            raise TypeError(f"only arrays of one element can be converted to a Python number, not one of shape {self.shape}")
        value = self._peek()
        return value if not value.shape else indexing.getitem(value, (0,) * len(value.shape))

    def __format__(self, spec):
        return format(self._peek(), spec)

    def __repr__(self):
        return repr(self._peek())

    def __str__(self):
        return str(self._peek())

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        return np.asarray(self).__reduce__()

    # ------------------------------------------------------------ NumPy's protocols
    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        apply = UFUNCS.get(ufunc)
        if method == "__call__" and not kwargs and apply is not None and ufunc.nout == 1:
            y = apply(*inputs)
            return Array(y) if y.__class__ is ArrayTracer else fresh(y)
        return METHODS["__array_ufunc__"](ufunc, method, inputs, kwargs)

    def __array_function__(self, func, types, args, kwargs):
        return METHODS["__array_function__"](func, args, kwargs)

    def __getattr__(self, name):
        method = METHODS.get(name)
        if method is None or name.startswith("__"):
            raise AttributeError(f"a mutable array has no attribute {name!r}; use the NumPy function if there is one")
        return method.__get__(self)

    def __pos__(self):
        return self.copy()

    def __divmod__(self, other):
        return self // other, self % other


def _object_scalar(value, dtype):
    if dtype is not None and np.dtype(dtype) != object:
        value.__array__(dtype)                          # raises with advice
    out = np.empty((), object)
    out[()] = value
    return out


def _plain_key(key):
    """A key NumPy understands: handles in it read."""
    if isinstance(key, tuple):
        return tuple(map(_plain_key, key))
    return indexing.concrete(lift(key), "an index") if isinstance(key, (Handle, Tracer, list)) else key


def fresh(value):
    """A result computed from arrays, as an array of its own: floating-point values of one dimension or more."""
    if value.__class__ is ArrayTracer:
        return Array(value)                                 # of any dtype: its methods are the same
    if value.shape and value.dtype.kind in "fc":
        if value.__class__ is np.ndarray and not value.flags.c_contiguous:
            return Array(np.ascontiguousarray(value), False)
        return Array(value)
    return value


def lent(value):
    """A traced input as an array whose views alias and which refuses to be written.

    Values of no dimension, and plain ones, are handed through.
    """
    if not isinstance(value, Tracer) or not value.shape or value.dtype.kind not in "fc":
        return value
    x = Array(value)
    x._cell.frozen = (
        f"writing into an input of {value.owner.verb}. Write into a copy (y = y.copy()) or into an array the function creates "
        f"(np.zeros, np.empty_like).")
    return x


# ---------------------------------------------------------------- operators
def _operators(ufunc):
    def forward(self, other):
        cell = self._cell
        cell.shared = True
        y = UFUNCS[ufunc](self._peek() if self._path else cell.value, other.read() if other.__class__ is Array else other)
        return Array(y) if y.__class__ is ArrayTracer else fresh(y)

    def backward(self, other):
        return fresh(UFUNCS[ufunc](other, self.read()))

    def in_place(self, other):
        self._writable()
        other = lift(other)
        if self._plain(other):
            own = self._own()
            ufunc(own, other, out=own if own.__class__ is np.ndarray else None)
            return self
        self.write(UFUNCS[ufunc](self.read(), other))
        return self
    return forward, backward, in_place


def _unary(ufunc):
    return lambda self: fresh(UFUNCS[ufunc](self.read()))


def _install():
    arithmetic = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide, "floordiv": np.floor_divide,
                  "mod": np.remainder, "pow": np.power, "matmul": np.matmul, "and": np.logical_and, "or": np.logical_or}
    for name, ufunc in arithmetic.items():
        forward, backward, in_place = _operators(ufunc)
        setattr(Array, f"__{name}__", forward)
        setattr(Array, f"__r{name}__", backward)
        if name not in ("and", "or"):
            setattr(Array, f"__i{name}__", in_place)
    compare = {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal}
    for name, ufunc in compare.items():
        setattr(Array, f"__{name}__", _operators(ufunc)[0])
    for name, ufunc in {"neg": np.negative, "abs": np.absolute, "invert": np.logical_not}.items():
        setattr(Array, f"__{name}__", _unary(ufunc))


_install()

__all__ = ["Array", "fresh", "lent"]

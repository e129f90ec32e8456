"""The mutable array: what NumPy's creators return inside a differentiated or traced function.

A handle is a cell and a view path over values that never change: reading replays the path, writing folds the new value back through it and
puts it in the cell.  So views alias one another exactly as NumPy's do, while what the transforms see are ordinary primitives.  As long as
nothing traced is written the value is a plain array, written in place, and the handle converts to one silently (``__array__``).  A plain
value that was handed out is copied before the next write: an earlier reader never sees it change.

Most arrays are the result of one operation and an operand of the next.  Such an array is *light*: it has no cell yet but ``owner``,
``primal`` and ``dual`` of a tracer, and traces take it for one.  It gets a cell when somebody looks at it otherwise; ``owner`` is None
from then on, unless it is an input, which nobody may write.

A handle is an instance of ``np.ndarray`` to a rebound function (see ``rebind``), and of no NumPy class elsewhere.
"""

import numpy as np

from ..core import METHODS, TRACED, ArrayTracer, Aval, Tracer, user_line
from ..errors import MutationError
from ..prims import layout
from ..prims.gather import gather
from . import indexing, memory
from .conversions import Converts
from .stacking import Handle, lift
from .updates import updated
from .views import Borrowed, Cell, Index, Moved, Part, Permute, Reshape, resolve_shape

#: Slots only views have set.
_OF_VIEWS = frozenset(("_cache", "_root", "_sealed", "_seen"))
#: Why some views cannot be written, in NumPy's words.
READ_ONLY = "assignment destination is read-only"


class Array(Converts):
    """An array of floating-point or complex numbers that may be written, item by item or through views, whatever is stored in it.

    Parameters
    ----------
    owner, primal, dual
        Those of the tracer it stands for (a light array); see :func:`holding` for others.
    """

    __slots__ = ("__weakref__", "_cache", "_cell", "_path", "_root", "_sealed", "_seen", "dual", "owner", "primal")
    __array_priority__ = 2000
    __hash__ = None

    def __init__(self, owner, primal, dual):
        self.owner = owner
        self.primal = primal
        self.dual = dual

    def _weigh(self):
        """The cell of a light array, from now on its own."""
        frozen = None if self._sealed is SET_READ_ONLY else self._sealed
        cell = self._cell = Cell(ArrayTracer(self.owner, self.primal, self.dual), True, frozen)
        self._path = ()
        if frozen is None:                                  # else what it stands for never changes
            self.owner = self.primal = self.dual = None
        return cell

    def _view(self, step, sealed=None):
        view = object.__new__(Array)
        view.owner = None
        view._cell, view._path, view._seen, view._cache = self._cell, (*self._path, step), None, None
        view._root, view._sealed = self if self._root is None else self._root, sealed or self._sealed
        return view

    # ------------------------------------------------------------ reading
    def _peek(self):
        """The value through the path, without marking a plain one as handed out."""
        if self.owner is not None:
            return ArrayTracer(self.owner, self.primal, self.dual)
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
        if self.owner is not None:
            return ArrayTracer(self.owner, self.primal, self.dual)
        self._cell.shared = True
        return self._peek()

    def __array__(self, dtype=None, copy=None):
        value = self.read()
        if isinstance(value, Tracer):
            return value.__array__(dtype) if value.shape else _object_scalar(value, dtype)
        if copy or (dtype is not None and np.dtype(dtype) != value.dtype):
            return np.array(value, dtype, copy=True if copy is not False else False)
        value = value.view()
        value.flags.writeable = False                       # a write to it would not be seen by this array
        return value

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
            return self._picked(key)
        at, final = plan
        if final is None and not at.shape and not _asks_for_array(key):
            return value[at.key] if value.__class__ is np.ndarray else layout.index(value, at=at)
        return self._view(Index(at, final))

    def _picked(self, key):
        """What a key that is not basic selects: a copy, which NumPy lays out as it finds the elements."""
        y = indexing.getitem(self.read(), key)
        if self._path and len(y.shape) > 1 and memory.out_of_order(self._path):
            return laid(y, memory.memory_order(memory.places(self._cell.shape, self._path)[_plain_key(key)]))
        return fresh(y)

    def __setitem__(self, key, new):
        self._writable()
        plan = None
        if new.__class__ is Array and new._cell is self._cell:              # the end of x[i] += v: the view was written already
            plan = indexing.basic_plan(self.shape, key)
            if plan is not None and new._path == (*self._path, Index(*plan)):
                return
        new = lift(new)
        if self._plain(new) and not indexing.unknown(key):
            self._own()[_plain_key(key)] = new
            return
        at = None if self._path or getattr(new, "shape", ()) else self._element(key)
        if at is None:
            self._fold(lambda value: indexing.setitem(value, key, new))
            return
        dtype = self._cell.dtype
        if isinstance(new, Tracer):
            self._cell.write_element(at, new if new.dtype == dtype else indexing.cast(new, Aval((), dtype)))
        else:
            self._cell.write_element(at, np.asarray(new).astype(dtype)[()] if dtype.kind in "iub" else dtype.type(new))

    def _element(self, key):
        """Position in row-major order of the one element a key of ints names in the whole array; None for any other key."""
        shape = self._cell.shape
        plan = indexing.basic_plan(shape, key)
        if plan is None or plan[1] is not None or plan[0].shape or _asks_for_array(key):
            return None
        flat = 0
        for i, n in zip(plan[0].offset, shape, strict=True):
            flat = flat * n + i
        return flat

    # ------------------------------------------------------------ writing
    def _refusal(self):
        """Why this array must not be written, or None."""
        return self._cell.frozen or self._sealed

    def _writable(self):
        if self._cell.frozen is not None or self._sealed is not None:
            raise MutationError(f"{user_line()}: {self._refusal()}")

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
            The array is an input of a transform, or a view NumPy makes read-only.
        """
        self._writable()
        new = lift(new)
        new = new if hasattr(new, "shape") else np.asarray(new)
        if self._plain(new):
            own = self._own()
            own[...] = new
            return
        self._fold(lambda value: indexing.cast(indexing.fit(new, tuple(value.shape)), Aval(tuple(value.shape), value.dtype)))

    def update_at(self, key, ufunc, *operands):
        """``ufunc.at(self, key, ...)``: repeated positions are updated one after another."""
        self._writable()
        operands = [lift(x) for x in operands]
        if all(map(self._plain, operands)) and self._plain(None) and not indexing.unknown(key):
            ufunc.at(self._own(), _plain_key(key), *operands)
            return
        self._fold(lambda value: updated(value, indexing.positions(tuple(value.shape), key), ufunc, operands))

    # ------------------------------------------------------------ views
    def permuted(self, axes):
        """View with the axes in the given order."""
        return self._view(Permute(axes) if axes != tuple(range(len(axes))) else Reshape(self.shape))

    def reshaped(self, shape):
        """View of another shape, or a copy where NumPy would copy."""
        shape = resolve_shape(shape, self.size)
        if shape == self.shape or not self._path or memory.viewable(self._shadow(), shape):
            return self._view(Reshape(shape))
        return fresh(layout.reshape(self.read(), shape=shape))

    def in_memory_order(self):
        """All elements in one dimension, in the order they lie in: ``ravel("K")``, a view where NumPy gives one."""
        if self._shadow().flags.c_contiguous:
            return self.reshaped(-1)
        at = memory.places(self._cell.shape, self._path)
        flat = at.ravel("K")
        if np.shares_memory(flat, at):
            order = memory.memory_order(at)
            return (self if order is None else self.permuted(order)).reshaped(-1)
        return fresh(gather(self._cell.value, np.ascontiguousarray(flat)))

    def moved(self, function, read_traced=None, writeable=False):
        """The view NumPy's ``function`` takes of an array, read-only unless told otherwise.  It raises as NumPy's."""
        function(self._shadow())
        return self._view(Moved(function, read_traced), None if writeable else READ_ONLY)

    def _shadow(self):
        return memory.shadow(self._cell.shape, self._cell.dtype, self._path)

    def copy(self, order="C"):
        """An array of its own with the same values, in the memory order asked for."""
        value = self.read()
        if self._cell.__class__ is Borrowed:
            value = np.array(value, order="C")
        if order == "C" or len(value.shape) < 2:
            return holding(value)
        return laid(value, memory.memory_order(self._shadow()) if order == "K" else self._wanted(order))

    def _wanted(self, order):
        """Memory order of a letter, for a copy: ``A`` is Fortran's where this array is in it alone."""
        flags = self._shadow().flags
        fortran = order == "F" or (order == "A" and flags.f_contiguous and not flags.c_contiguous)
        return tuple(reversed(range(self.ndim))) if fortran else None

    def setflags(self, write=None, align=None, uic=None):
        """As ``ndarray.setflags``: an array may be made read-only, and writeable again unless it never was."""
        if write is not None and self._cell.__class__ is Borrowed and self._sealed is None:
            self._peek().setflags(write=bool(write))
            return
        if write and self._refusal() not in (None, SET_READ_ONLY):
            raise ValueError(f"{user_line()}: cannot set WRITEABLE flag to True of this array: {self._refusal()}")
        if write is not None:
            self._sealed = None if write else self._sealed or SET_READ_ONLY

    # ------------------------------------------------------------ what an array knows of itself
    @property
    def shape(self):
        return tuple(self.primal.shape if self.owner is not None else self._peek().shape if self._path else self._cell.shape)

    @shape.setter
    def shape(self, shape):
        shape = resolve_shape(shape, self.size)
        if not memory.viewable(self._shadow(), shape):
            raise AttributeError("Incompatible shape for in-place modification. Use `.reshape()` to make a copy with the desired shape.")
        self._path, self._seen = (*self._path, Reshape(shape)), None
        self.owner = self.primal = self.dual = None

    @property
    def dtype(self):
        if self.owner is not None:
            return self.primal.dtype
        dtype = self._cell.dtype
        takes_part = dtype.kind == "c" and any(step.__class__ is Part for step in self._path)
        return memory.shadow(self._cell.shape, dtype, self._path).dtype if takes_part else dtype

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
    def strides(self):
        return self._shadow().strides

    @property
    def flags(self):
        return memory.Flags(self)

    @property
    def base(self):
        return self._root

    @property
    def T(self):                                        # noqa: N802  (NumPy's name)
        return self.permuted(tuple(reversed(range(self.ndim))))

    @property
    def mT(self):                                       # noqa: N802  (NumPy's name)
        n = self.ndim
        if n < 2:
            raise ValueError("matrix transpose with ndim < 2 is undefined")
        return self.permuted((*range(n - 2), n - 1, n - 2))

    @property
    def real(self):
        return self if self.dtype.kind != "c" else self._view(Part("real"))

    @real.setter
    def real(self, new):
        self.real.write(new)

    @property
    def imag(self):
        if self.dtype.kind != "c":
            zeros = holding(np.zeros(self.shape, self.dtype), False)
            zeros._sealed = READ_ONLY
            return zeros
        return self._view(Part("imag"))

    @imag.setter
    def imag(self, new):
        if self.dtype.kind != "c":
            raise TypeError("array does not have imaginary part to set")
        self.imag.write(new)

    @property
    def flat(self):
        return memory.FlatIterator(self)

    @flat.setter
    def flat(self, new):
        memory.FlatIterator(self)[:] = new

    # ------------------------------------------------------------ NumPy's protocols
    def __array_function__(self, func, types, args, kwargs):
        return METHODS["__array_function__"](func, args, kwargs)

    def __getattr__(self, name):
        if name == "_cell":                                 # an unset slot: the array is light
            return self._weigh()
        if name == "_path":
            return ()
        if name in _OF_VIEWS:                               # set in views only
            return None
        method = METHODS.get(name)
        if method is None or name.startswith("__"):
            raise AttributeError(f"a mutable array has no attribute {name!r}; use the NumPy function if there is one")
        return method.__get__(self)


TRACED.add(Array)

#: The mark of an array the program itself made read-only, which it may undo.
SET_READ_ONLY = READ_ONLY + " (the program cleared its WRITEABLE flag)"


def _asks_for_array(key):
    """Whether a key with an ellipsis stands before us: ``a[0, ...]`` is an array of no dimension, ``a[0]`` a number."""
    return key is Ellipsis or (key.__class__ is tuple and Ellipsis in [k if k is Ellipsis else None for k in key])


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
        return Array(value.owner, value.primal, value.dual) # of any dtype: its methods are the same
    if value.shape and value.dtype.kind in "fc":
        if value.__class__ is np.ndarray and not value.flags.c_contiguous:
            return laid(value, memory.memory_order(value))
        return holding(value)
    return value


def laid(value, order):
    """An array of its own whose memory has the axes of ``value`` in the given order, from the slowest to the fastest."""
    if order is None:
        return holding(value if value.__class__ is not np.ndarray else np.array(value, order="C"))
    x = holding(layout.transpose(value, axes=order))
    if value.__class__ is np.ndarray:
        x._cell.value, x._cell.shared = np.array(x._cell.value, order="C"), False
    x._path = (Permute(tuple(int(i) for i in np.argsort(order))),)
    return x


def holding(value, shared=True):
    """An array of its own with a value.

    Parameters
    ----------
    value : tracer or ndarray
    shared : bool
        Whether somebody else may hold the same plain array, so that it must be copied before it is written.
    """
    x = object.__new__(Array)
    x.owner = None
    x._cell = Cell(value, shared)
    x._path = ()
    return x


def result_of(y, operands):
    """The result of an elementwise operation as an array, in the memory order NumPy gives it.

    Products of matrices and vectors come this way too: theirs lie in row-major order.
    """
    for x in operands if len(y.shape) > 1 else ():
        if x.__class__ is Array and x.owner is None and x._path and memory.out_of_order(x._path) and _elementwise(y, operands):
            shadows = [x._shadow() if x.__class__ is Array else x if x.__class__ is np.ndarray else
                       memory.shadow(tuple(getattr(x, "shape", np.shape(x))), np.dtype(np.int8), ()) for x in operands]
            return laid(y, memory.result_order(shadows, tuple(y.shape)))
    return Array(y.owner, y.primal, y.dual) if y.__class__ is ArrayTracer else fresh(y)


def _elementwise(y, operands):
    """Whether the result has the shape the operands broadcast to."""
    try:
        return tuple(y.shape) == np.broadcast_shapes(*[tuple(getattr(x, "shape", ())) for x in operands])
    except ValueError:
        return False


def own_result(y):
    """A result of values that are no mutable arrays themselves: NumPy's would be an array that may be written."""
    return Array(y.owner, y.primal, y.dual) if y.__class__ is ArrayTracer else y


__all__ = ["READ_ONLY", "Array", "fresh", "laid", "own_result", "result_of"]

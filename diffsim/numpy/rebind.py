"""Running a function with ``np`` rebound: ``np.zeros(n)`` followed by ``dy[0] = t`` works with plain ``import numpy as np``.

A function is run as a second function object whose globals read the real ones live and translate what they find: the module ``numpy``
becomes a stand-in with our creators, a creator imported by name becomes ours, a function of the user's becomes its rebound self, a module
of the user's a view that does the same, an array is borrowed (``lending``).  Closure cells holding such things are replaced, the others
are shared.  Methods, properties, classes, and functions kept in containers are translated where they are called or read, by code compiled
a second time (``source``, ``reads``).  Nothing is patched: code outside the call sees the NumPy it always saw.

Left alone: functions of NumPy, SciPy, Numba, diffsim, the standard library and installed packages, compiled functions, and methods that
Python calls for an operator (``__add__``, ``__getitem__``: use ``diffsim.numpy`` in those).
"""

import builtins
import dis
import functools
import sys
import types
import weakref

import numpy

from ..core import ArrayTracer, Tracer
from .creation import CREATORS, array, joined_entries
from .lending import borrowed
from .sequences import LISTS, NAMESPACES
from .source import HELPERS, rewritten
from .stacking import Handle, holds_traced
from .standins import KINDS, PARENTS, STAND_INS, SWAPS, ByValue, by_value, look_around, swapped

FunctionType, MethodType, ModuleType, CellType = types.FunctionType, types.MethodType, types.ModuleType, types.CellType
_DISPATCHER = type(numpy.sum)
_BUILTIN = type(len)
_LEFT_ALONE = {"numpy", "scipy", "numba", "llvmlite", "diffsim", "matplotlib", "pandas", "tqdm", "IPython"} | set(sys.stdlib_module_names)
_BY_NAME = "__diffsim_original__"


def _numpy():
    """NumPy with our creators; everything else is looked up in NumPy once.

    A plain module, because the interpreter reads names of those five times faster than of a class of our own.
    """
    proxy = ModuleType("numpy", numpy.__doc__)
    for function, ours in CREATORS.items():
        setattr(proxy, function.__name__, ours)
    proxy.r_, proxy.c_ = _Joined(numpy.r_, False), _Joined(numpy.c_, True)
    proxy.ndarray = _Ndarray
    for function, ours in LISTS.items():
        if getattr(numpy, function.__name__, None) is function:
            setattr(proxy, function.__name__, ours)
    proxy.linalg, proxy.fft = NAMESPACES[numpy.linalg], NAMESPACES[numpy.fft]

    def looked_up(name):
        value = getattr(numpy, name)
        value = ByValue(value) if name == "testing" else value
        if not name.startswith("__"):
            setattr(proxy, name, value)
        return value

    proxy.__getattr__, proxy.__dir__ = looked_up, lambda: dir(numpy)
    return proxy


class _ArrayClass(type):
    """Class of ``np.ndarray`` as a rebound function sees it: traced and mutable arrays are instances."""

    def __instancecheck__(cls, x):
        return isinstance(x, (numpy.ndarray, ArrayTracer, Handle))

    def __subclasscheck__(cls, other):
        return issubclass(other, numpy.ndarray)

    def __call__(cls, *args, **kwargs):
        return numpy.ndarray(*args, **kwargs)

    def __getattr__(cls, name):
        return getattr(numpy.ndarray, name)


class _Ndarray(metaclass=_ArrayClass):
    __doc__ = numpy.ndarray.__doc__


class _Joined:
    """``np.r_`` or ``np.c_``: what it joins, as an array of ours."""

    __slots__ = ("column", "real")

    def __init__(self, real, column):
        self.real, self.column = real, column

    def __getitem__(self, key):
        entries = key if isinstance(key, tuple) else (key,)
        return joined_entries(entries, self.column) if any(map(holds_traced, entries)) else array(self.real[key])

    def __len__(self):
        return 0


class _ModuleView(ModuleType):
    """A module of the user's, its functions rebound as they are read."""

    def __init__(self, module):
        object.__setattr__(self, "_module", module)

    def __getattribute__(self, name):
        module = object.__getattribute__(self, "_module")
        return translated(getattr(module, name), module.__dict__)

    def __setattr__(self, name, value):
        setattr(object.__getattribute__(self, "_module"), name, value)

    def __delattr__(self, name):
        delattr(object.__getattribute__(self, "_module"), name)

    def __dir__(self):
        return dir(object.__getattribute__(self, "_module"))


PROXY = _numpy()
_TRANSLATABLE = KINDS                                       # a set that grows as modules with stand-ins are imported
_TRANSLATABLE |= {FunctionType, MethodType, ModuleType, _DISPATCHER, _BUILTIN, functools.partial, numpy.ndarray}
#: Helper of recompiled code -> function; ``reads`` fills it.
READS = {}


def _import(name, globals=None, locals=None, fromlist=(), level=0):
    real = globals.real if globals.__class__ is Globals else globals
    module = builtins.__import__(name, real, locals, fromlist, level)
    return translated(module, real)


def _isinstance(x, classes):
    """``isinstance``, for which a traced number is one of its dtype: a program branches as it does for the number itself."""
    if isinstance(x, classes):
        return True
    if x.__class__ is not Tracer:
        return False
    dtype = x.dtype
    return issubclass(dtype.type, classes) or (dtype.kind in "biu" and issubclass(bool if dtype.kind == "b" else int, classes))


def _isscalar(element):
    return element.__class__ is Tracer or numpy.isscalar(element)


functools.update_wrapper(_isscalar, numpy.isscalar)
SWAPS[numpy.isscalar] = PROXY.isscalar = _isscalar
_BUILTINS = dict(vars(builtins), __import__=_import, isinstance=_isinstance)


class Globals(dict):
    """Globals of rebound functions: empty but for what is written during a call; reads go to the real globals and are translated."""

    __slots__ = ("lent", "names", "real")

    def __init__(self, real):
        super().__init__(READS, __builtins__=_BUILTINS, **{name: real[name] for name in _IDENTITY if name in real})
        self.real, self.names, self.lent = real, [], set()

    def __missing__(self, name):
        real = self.real
        if name not in real:
            return _BUILTINS[name]
        value = real[name]
        if value.__class__ not in _TRANSLATABLE:
            return value
        if value is numpy:                                  # kept: this name is read in every line
            self[name] = PROXY
            self.names.append(name)
            return PROXY
        return translated(value, real)

    def __contains__(self, name):
        return dict.__contains__(self, name) or name in self.real

    def get(self, name, default=None):
        """What the function's author wrote: the real global, not its translation."""
        return self.real.get(name, default)

    def lend(self, name):
        """Hold a name where code that looks into the dictionary itself finds it."""
        self[name] = self[name]
        self.lent.add(name)
        if name not in self.names:
            self.names.append(name)

    def check(self):
        """Forget a name of NumPy that means something else by now."""
        for name in list(self.names):
            value = self.real.get(name)
            if value is not numpy or name not in self.real:
                self.names.remove(name)
                self.pop(name, None)
                if name in self.real and name in self.lent:
                    self.lend(name)

    def sync(self):
        """Hand global variables written during a call to the real globals."""
        for name in [n for n in self if n not in _OURS and n not in self.names]:
            self.real[name] = self.pop(name)


#: Python itself looks these up without asking ``__missing__``.
_IDENTITY = ("__name__", "__file__")
_OURS = {"__builtins__", *_IDENTITY, *HELPERS}
_tables = {}
_MAX_TABLES = 1024


def _globals_of(real):
    look_around()
    table = _tables.get(id(real))
    if table is None:
        if len(_tables) >= _MAX_TABLES:
            _tables.clear()
        table = _tables[id(real)] = Globals(real)
    elif table.names:
        table.check()
    return table


def _root(real):
    return str(real.get("__name__", "")).partition(".")[0]


def _installed(real):
    file = str(real.get("__file__", ""))
    return "site-packages" in file or "dist-packages" in file


def is_user_function(f):
    """Whether a function is the user's own: not one of NumPy, SciPy, Numba, diffsim, the standard library or an installed package."""
    f = f.__func__ if f.__class__ is MethodType else f
    if f.__class__ is not FunctionType:
        return False
    there = f.__globals__
    return is_users(there.real if there.__class__ is Globals else there)


@functools.lru_cache(maxsize=4096)
def _is_users(name, file):
    there = {"__name__": name, "__file__": file}
    return _root(there) not in _LEFT_ALONE and not _installed(there)


def is_users(there):
    """Whether globals are those of a module of the user's."""
    return _is_users(there.get("__name__"), there.get("__file__"))


def translated(value, real):
    """What a value read inside a rebound function becomes; ``real`` are the globals of the reader."""
    kind = value.__class__
    if kind not in _TRANSLATABLE:
        return value
    if kind is numpy.ndarray:
        return borrowed(value)
    if kind is FunctionType:
        return rebound(value) if value.__globals__ is real or is_user_function(value) else creator(value)
    if kind is MethodType:
        f = value.__func__
        return rebound(value) if f.__class__ is FunctionType and translated(f, real) is not f else value
    if kind is ModuleType:
        return _module(value)
    if kind is functools.partial:
        inner = translated(value.func, real)
        return value if inner is value.func else functools.partial(inner, *value.args, **value.keywords)
    return creator(value)


def outside(x):
    """An argument from outside that is not differentiated: an array borrowed, a function of the user's rebound, anything else itself."""
    kind = x.__class__
    if kind is numpy.ndarray:
        return borrowed(x)
    return rebound(x) if kind is FunctionType or kind is MethodType else x


def _module(value):
    """NumPy and modules with a stand-in become ours, a module of the user's a view; others are left alone."""
    if value is numpy:
        return PROXY
    there = value.__dict__
    name = there.get("__name__")
    if name in STAND_INS:
        return STAND_INS[name]
    if name in PARENTS:
        return _ModuleView(value)
    if value in NAMESPACES:
        return NAMESPACES[value]
    if name == "numpy.testing":
        return ByValue(value)
    return value if _is_settled(value) else _ModuleView(value)


def _is_settled(module):
    """Whether a module holds nothing of the user's."""
    there = module.__dict__
    return not is_users(there) or _root(there) in sys.builtin_module_names


def creator(value):
    if value.__class__ is FunctionType and str(value.__module__).startswith("numpy.testing"):
        return by_value(value)
    try:
        return CREATORS.get(value) or LISTS.get(value) or SWAPS.get(value, value)
    except TypeError:                                       # a callable without hash is none of NumPy's
        return value


# ---------------------------------------------------------------- functions
_made = weakref.WeakKeyDictionary()


class _Made:
    """A rebound function, and what it no longer shares with the one it was made from: code, cells and defaults as they were then."""

    __slots__ = ("cells", "code", "defaults", "function", "kwdefaults", "outside", "table")

    def __init__(self, function, f, cells, table, outside):
        self.function, self.cells, self.table, self.outside = function, cells, table, outside
        self.code, self.defaults, self.kwdefaults = f.__code__, f.__defaults__, f.__kwdefaults__ and dict(f.__kwdefaults__)

    def current(self, f):
        """Whether it still stands for ``f``; attributes of the function are brought up to date."""
        if f.__dict__:
            self.function.__dict__.update(f.__dict__)
        if f.__code__ is not self.code or f.__defaults__ is not self.defaults:
            return False                                    # tools that load modules anew change functions in place
        if (f.__kwdefaults__ or self.kwdefaults) and not self._same_keywords(f.__kwdefaults__):
            return False
        real = self.table.real
        return _arrays_in(f) == self.outside and all(
            _content(cell) is held and (new.__class__ is not FunctionType or translated(held, real) is new)
            for cell, held, new in self.cells)

    def _same_keywords(self, now):
        old = self.kwdefaults
        return bool(now) and bool(old) and now.keys() == old.keys() and all(now[k] is old[k] for k in old)


_EMPTY = object()


def _content(cell):
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


def _arrays_in(f):
    """Names of the cells that hold plain arrays, which are borrowed where they are read: other functions may write the cell."""
    cells = f.__closure__
    if cells is None:
        return _NONE
    named = zip(f.__code__.co_freevars, cells, strict=True)
    return frozenset([name for name, cell in named if _content(cell).__class__ is numpy.ndarray]) or _NONE


_NONE = frozenset()


def _settled_names(code, real):
    """Names of a function's globals, and of those of functions in it, that mean modules which hold nothing of the user's."""
    found = [n for n in global_names(code) if real.get(n).__class__ is ModuleType]
    return frozenset([n for n in found if _is_settled(real[n])])


@functools.lru_cache(maxsize=4096)
def global_names(code):
    """Names in a code object and in those nested in it."""
    return frozenset(code.co_names).union(*[global_names(c) for c in code.co_consts if isinstance(c, types.CodeType)])


def rebound(f):
    """``f`` as it runs under a transform: with NumPy's creators rebound.

    Parameters
    ----------
    f : callable
        A Python function, bound method, ``functools.partial`` or object with ``__call__``; anything else is returned as it is.

    Returns
    -------
    callable
        Rebinding it again returns itself; :func:`original` leads back.
    """
    if f.__class__ is FunctionType:
        try:
            made = _made[f]
        except KeyError:
            return _rebind_function(f)
        if made.current(f):
            if made.table.names:
                made.table.check()
            return made.function
        return _rebind_function(f)
    if f.__class__ is MethodType:
        inner = rebound(f.__func__)
        return f if inner is f.__func__ else MethodType(inner, f.__self__)
    if f.__class__ is functools.partial:
        inner = rebound(f.func)
        return f if inner is f.func else functools.partial(inner, *f.args, **f.keywords)
    if isinstance(f, type):
        return f
    call = getattr(type(f), "__call__", None)               # noqa: B004  (the function itself is wanted, not whether it exists)
    if call.__class__ is FunctionType and _root(call.__globals__) not in _LEFT_ALONE:
        return MethodType(rebound(call), f)
    return swapped(f)


def _rebind_function(f):
    real = f.__globals__
    if real.__class__ is Globals or _root(real) in _LEFT_ALONE or _BY_NAME in f.__dict__:
        return swapped(f)
    table = _globals_of(real)
    for name in _class_body_names(f.__code__):            # class bodies do not ask __missing__
        if name in real and not dict.__contains__(table, name):
            table.lend(name)
    cells, replaced, own = [], [], []
    for cell in f.__closure__ or ():
        held = _content(cell)
        if held is f:
            own.append(len(cells))
            cells.append(CellType())
            continue
        new = translated(held, real) if held.__class__ is not numpy.ndarray else held
        if new is held:
            cells.append(cell)
        else:
            replaced.append((cell, held, new))
            cells.append(CellType(new))
    defaults = f.__defaults__ and tuple(translated(d, real) for d in f.__defaults__)
    outside = _arrays_in(f)
    code = rewritten(f.__code__, real, _settled_names(f.__code__, real), outside)
    new = FunctionType(code, table, f.__name__, defaults, tuple(cells) or None)
    for i in own:
        cells[i].cell_contents = new
    new.__kwdefaults__ = f.__kwdefaults__ and {k: translated(d, real) for k, d in f.__kwdefaults__.items()}
    new.__dict__.update(f.__dict__)
    new.__qualname__, new.__module__, new.__doc__ = f.__qualname__, f.__module__, f.__doc__
    lazily = "__annotate__" if hasattr(f, "__annotate__") else "__annotations__"            # Python 3.14 evaluates them when asked
    setattr(new, lazily, getattr(f, lazily))
    new.__dict__[_BY_NAME] = weakref.ref(f)
    if _writes_globals(f.__code__):
        new = _synced(new, table, f)
    _made[f] = _Made(new, f, replaced, table, outside)
    return new


@functools.lru_cache(maxsize=4096)
def _class_body_names(code):
    """Globals read by class bodies inside a code object."""
    names = set()
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            names |= _class_body_names(inner)
            if not inner.co_flags & 1:                    # not "optimised": its names live in a dictionary
                names |= {i.argval for i in dis.get_instructions(inner) if i.opname == "LOAD_NAME"}
    return frozenset(names)


@functools.lru_cache(maxsize=4096)
def _writes_globals(code):
    """Whether a code object, or one inside it, assigns a global name."""
    stores = any(i.opname in ("STORE_GLOBAL", "DELETE_GLOBAL") for i in dis.get_instructions(code))
    return stores or any(_writes_globals(c) for c in code.co_consts if isinstance(c, types.CodeType))


def _synced(new, table, f):
    @functools.wraps(f)
    def run(*args, **kwargs):
        try:
            return new(*args, **kwargs)
        finally:
            table.sync()
    run.__dict__.pop("__wrapped__", None)                   # it would keep f alive
    run.__dict__[_BY_NAME] = weakref.ref(f)
    return run


def original(f):
    """The function a rebound one was made from; any other callable itself."""
    if f.__class__ is MethodType:
        inner = original(f.__func__)
        return f if inner is f.__func__ else MethodType(inner, f.__self__)
    back = getattr(f, "__dict__", {}).get(_BY_NAME)
    return f if back is None else back() or f


__all__ = ["is_user_function", "original", "outside", "rebound"]

"""What would be frozen if a function were traced once and run many times: generators, iterators, clocks and Python state it changes.

``Watch`` keeps, before a function is traced, the state of what its closure, globals, defaults and objects reach; afterwards it tells what
has changed, and puts it back, so that tracing consumes no draw and counts no step.
"""

import collections
import collections.abc
import functools
import os
import random
import sys
import types

import numpy as np

from ..core import ArrayTracer, Tracer
from ..core.bits import same_bits
from ..numpy.array import Array
from ..numpy.rebind import is_user_function, original
from ..numpy.views import Cell
from .guard import ATOMS, REPEATABLE, is_users, slot_names
from .reads import called_bare, names_of

#: Modules whose functions answer differently at every call and cannot be put back.
CLOCKS = frozenset(("time", "secrets", "uuid"))
#: Longer containers are compared but not followed; larger arrays are not looked at.
LONG, LARGE = 1000, 1 << 16
#: Names that lead to the generators of NumPy and of the standard library; ``rvs`` is how distributions of SciPy draw.
SHARED = frozenset(("random", "rvs", "resample"))
#: Objects are followed this deep.
DEEP = 60
CONTAINERS = (list, dict, set, collections.deque, bytearray)
#: What a container held may have become: the same, something else, or more of what does no harm unless it is read.
SAME, GROWN, CHANGED = range(3)


class Watch:
    """State of what some functions reach.

    Parameters
    ----------
    functions : sequence of callable

    Attributes
    ----------
    moving : str or None
        Something among it whose state can neither be seen nor put back: an iterator, a clock.
    """

    __slots__ = ("_depth", "_held", "_seen", "moving")

    def __init__(self, functions):
        self._depth, self._held, self._seen, self.moving = 0, [], {}, None
        for f in functions:
            self._visit(f)

    def changed(self):
        """(how, what): the greatest change found, and the name of what changed."""
        return max(((held.change(), held.name) for held in self._held), key=lambda pair: pair[0], default=(SAME, ""))

    def restore(self):
        """Put everything back."""
        for held in self._held:
            if held.change() is not SAME:
                held.restore()

    # ------------------------------------------------------------ what is reached
    def _visit(self, x, names=frozenset()):
        if isinstance(x, ATOMS) or id(x) in self._seen or isinstance(x, Tracer) or self._depth > DEEP:
            return
        self._seen[id(x)] = x
        self._depth += 1
        self._look_at(x, names)
        self._depth -= 1

    def _look_at(self, x, names):
        if x.__class__ is Array:
            if x.owner is not None or x._cell.__class__ is Cell:
                self._held.append(_OfOurs(x))
        elif isinstance(x, types.ModuleType):
            del self._seen[id(x)]                             # another function may read other names of it
            self._module(x, names)
        elif isinstance(x, types.FunctionType):
            self._function(x)
        elif isinstance(x, (types.MethodType, types.BuiltinMethodType)):
            self._method(x)
        elif isinstance(x, functools.partial):
            self._all((x.func, x.args, x.keywords))
        elif isinstance(x, np.ndarray):
            if x.flags.writeable and x.nbytes <= LARGE and not x.dtype.hasobject:
                self._held.append(_OfArray(x))
        elif isinstance(x, type):
            self._class(x)
        else:
            self._object(x)

    def _all(self, values):
        for x in values:
            self._visit(x)

    def _object(self, x):
        kind = _kept_by(x)
        if kind is not None:
            self._held.append(kind(x))
        elif isinstance(x, random.SystemRandom) or (
                isinstance(x, collections.abc.Iterator) and type(x).__module__ in ("builtins", "itertools", "_io", "_csv")):
            self.moving = self.moving or f"a {type(x).__name__}"
        elif isinstance(x, (tuple, frozenset)):
            self._all(x if len(x) <= LONG else ())
        elif isinstance(x, CONTAINERS):
            self._held.append(_OfContainer(x))
            if not isinstance(x, bytearray) and len(x) <= LONG:
                self._all(list(x.values()) if isinstance(x, dict) else list(x))
        elif hasattr(x, "__diffsim_wraps__"):
            self._visit(x.__diffsim_wraps__)
        elif is_users(type(x)) or isinstance(x, types.SimpleNamespace):
            self._instance(x)

    def _instance(self, x):
        own = getattr(x, "__dict__", None)
        if own is not None:
            self._held.append(_OfContainer(own, f"an attribute of a {type(x).__name__}"))
            self._all(list(own.values()))
        slots = [name for name in slot_names(type(x)) if hasattr(x, name)]
        if slots:
            self._held.append(_OfNames(x, slots))
            self._all([getattr(x, name) for name in slots])
        self._visit(type(x))

    def _class(self, cls):
        for c in cls.__mro__:
            if not is_users(c):
                continue
            for name, v in list(vars(c).items()):
                if isinstance(v, property):
                    self._visit(v.fget)
                elif isinstance(v, (types.FunctionType, staticmethod, classmethod)):
                    self._visit(getattr(v, "__func__", v))
                elif not name.startswith("__") and not isinstance(v, (types.MemberDescriptorType, types.GetSetDescriptorType)):
                    self._held.append(_OfNames(c, [name]))
                    self._visit(v)

    def _method(self, x):
        if isinstance(x.__self__, types.ModuleType):
            if x.__self__.__name__ in CLOCKS or x is os.urandom:
                self.moving = self.moving or f"`{x.__name__}`"
        elif x.__self__ is not None:
            self._visit(x.__self__)
            self._visit(getattr(x, "__func__", None))

    def _function(self, f):
        inner = getattr(f, "__diffsim_wraps__", None)
        if inner is not None:
            self._visit(inner)
        if f.__module__ in CLOCKS:
            self.moving = self.moving or f"`{f.__name__}`"
        if not is_user_function(original(f)):
            return
        names, bare = _read_by(f.__code__)
        self.moving = self.moving or bare
        self._all((*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values()))
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
            self._held.append(_OfCell(cell, name))
            self._visit(_content(cell), names)
        scope = getattr(f.__globals__, "real", f.__globals__)
        found = [name for name in names if name in scope]
        if found:
            self._held.append(_OfScope(scope, found, f.__globals__))
        for name in found:
            self._visit(scope[name], names)
        if "spawn" in names:
            self.moving = self.moving or "`spawn`"            # children of a seed are counted where nothing can be put back
        if not names.isdisjoint(SHARED):
            self._shared()

    def _module(self, module, names):
        name = module.__name__
        if name in CLOCKS and any(callable(getattr(module, n, None)) for n in names):
            self.moving = self.moving or f"the module `{name}`"
        elif name == "os" and "urandom" in names:
            self.moving = self.moving or "`os.urandom`"
        elif name.startswith("numpy.random") or name == "random":
            self._shared()
        elif name.partition(".")[0] not in sys.stdlib_module_names and name.partition(".")[0] not in LEFT_ALONE:
            found = [n for n in names if n in vars(module)]
            self._held.append(_OfScope(vars(module), found))
            for n in found:
                self._visit(vars(module)[n], names)

    def _shared(self):
        """The generators that NumPy and the standard library share between all callers."""
        loaded = sys.modules.get("numpy.random.mtrand")
        self._all((random._inst, *([loaded._rand] if loaded else ())))


#: Packages whose modules keep no state that a simulation would read.
LEFT_ALONE = frozenset(("numpy", "scipy", "numba", "diffsim", "llvmlite", "matplotlib", "pandas"))


@functools.lru_cache(4096)
def _read_by(code):
    """Names a code object reads, and the generator it makes without a seed."""
    names = names_of(code)
    bare = called_bare(code, REPEATABLE) if not REPEATABLE.isdisjoint(names) else ()
    return names, next((f"`{maker}()`, without a seed" for maker in sorted(bare)), None)


def _content(cell):
    try:
        return cell.cell_contents
    except ValueError:                                        # the name is not bound yet
        return None


def _same(a, b):
    """Whether nothing was written: the same object, or an equal plain one."""
    return a is b or (type(a) is type(b) and isinstance(a, ATOMS) and bool(a == b))


def _is_traced(x):
    return isinstance(x, Tracer) or (x.__class__ is Array and isinstance(x.read(), Tracer))


def _worst(pairs):
    """The change among (old, new); a traced value that was written does no harm unless it is read."""
    return max((SAME if _same(a, b) else GROWN if _is_traced(b) else CHANGED for a, b in pairs), default=SAME)


# ---------------------------------------------------------------- kinds of state
class _OfGenerator:
    """A generator of random numbers, by functions that read its state and write it."""

    __slots__ = ("get", "name", "old", "put")

    def __init__(self, x, get, put):
        self.name, self.get, self.put = f"a {type(x).__name__}", get, put
        self.old = get()

    def change(self):
        return SAME if _equal(self.get(), self.old) else CHANGED

    def restore(self):
        self.put(self.old)


def _equal(a, b):
    """Equality of states: numbers, arrays, and containers of them."""
    if isinstance(a, dict):
        return all(_equal(v, b[k]) for k, v in a.items())
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    return bool(np.array_equal(a, b)) if isinstance(a, np.ndarray) else a == b


def _of_bits(x):
    return _OfGenerator(x, lambda: x.state, lambda state: setattr(x, "state", state))


def _of_numpy(x):
    bits = x.bit_generator
    return _OfGenerator(x, lambda: bits.state, lambda state: setattr(bits, "state", state))


def _of_random_state(x):
    return _OfGenerator(x, lambda: x.get_state(legacy=False), x.set_state)


def _of_python(x):
    return _OfGenerator(x, x.getstate, x.setstate)


def _kept_by(x):
    """What keeps the state of a generator; None for other objects."""
    loaded = sys.modules.get("numpy.random")                  # importing it takes 10 ms
    if loaded is not None:
        for kind, keeper in ((loaded.Generator, _of_numpy), (loaded.RandomState, _of_random_state), (loaded.BitGenerator, _of_bits)):
            if isinstance(x, kind):
                return keeper
    return _of_python if isinstance(x, random.Random) and not isinstance(x, random.SystemRandom) else None


class _OfArray:
    """A small array."""

    __slots__ = ("name", "old", "x")

    def __init__(self, x):
        self.x, self.old, self.name = x, x.copy(), "an array that it writes"

    def change(self):
        return SAME if self.x.tobytes() == self.old.tobytes() else CHANGED

    def restore(self):
        self.x[...] = self.old


class _OfOurs:
    """An array of ours, made by a function that is being traced."""

    __slots__ = ("light", "name", "old", "x")

    def __init__(self, x):
        self.x, self.light, self.name = x, x.owner is not None, "an array that it writes"
        self.old = ArrayTracer(x.owner, x.primal, x.dual) if self.light else x._cell.value
        if not self.light:
            x._cell.shared = True                             # what is kept is copied before it is written

    def change(self):
        if self.light and self.x.owner is not None:
            return SAME
        new = self.x._cell.value
        if new is self.old or (self.light and isinstance(new, Tracer) and new.dual is self.old.dual and new.owner is self.old.owner):
            return SAME
        if isinstance(new, Tracer) or isinstance(self.old, Tracer):
            return GROWN if isinstance(new, Tracer) else CHANGED
        return SAME if same_bits(np.asarray(new), np.asarray(self.old)) else CHANGED

    def restore(self):
        self.x._cell.value, self.x._cell.shared = self.old, True


class _OfContainer:
    """A list, dictionary, set, deque or bytearray, or the attributes of an object."""

    __slots__ = ("name", "old", "x")

    def __init__(self, x, name=None):
        self.x, self.old, self.name = x, x.copy(), name or f"a {type(x).__name__} that it changes"

    def change(self):
        x, old = self.x, self.old
        if isinstance(x, (set, bytearray)):
            return SAME if x == old else GROWN if isinstance(x, set) and x >= old else CHANGED
        if isinstance(x, dict):
            if not old.keys() <= x.keys():
                return CHANGED
            pairs = [(v, x[k]) for k, v in old.items()]
        elif len(x) < len(old):
            return CHANGED
        else:
            pairs = zip(old, x, strict=False)
        return max(_worst(pairs), SAME if len(x) == len(old) else GROWN)

    def restore(self):
        x, old = self.x, self.old
        if isinstance(x, (list, bytearray)):
            x[:] = old
            return
        x.clear()
        (x.extend if isinstance(x, collections.deque) else x.update)(old)


class _OfCell:
    """A variable of an enclosing function."""

    __slots__ = ("cell", "name", "old")

    def __init__(self, cell, name):
        self.cell, self.old, self.name = cell, _content(cell), f"`{name}`"

    def change(self):
        return _worst([(self.old, _content(self.cell))])

    def restore(self):
        self.cell.cell_contents = self.old


class _OfScope:
    """Global variables; what a rebound function writes stands in a table of its own until it returns."""

    __slots__ = ("name", "old", "own", "scope")

    def __init__(self, scope, names, own=None):
        self.scope, self.own, self.name = scope, own if own is not scope else None, "a global variable that it changes"
        self.old = {n: dict.get(self._table(n), n) for n in names}

    def _table(self, n):
        """Where a variable stands."""
        own = self.own
        return own if own is not None and dict.__contains__(own, n) and n not in own.names else self.scope

    def change(self):
        return _worst([(v, dict.get(self._table(n), n)) for n, v in self.old.items()])

    def restore(self):
        for n, v in self.old.items():
            self._table(n)[n] = v


class _OfNames:
    """Attributes of a class, or slots of an object."""

    __slots__ = ("name", "old", "x")

    def __init__(self, x, names):
        self.x, self.old = x, {n: getattr(x, n, None) for n in names}
        self.name = f"an attribute of {x.__name__ if isinstance(x, type) else type(x).__name__}"

    def change(self):
        return _worst([(v, getattr(self.x, n, None)) for n, v in self.old.items()])

    def restore(self):
        for n, v in self.old.items():
            setattr(self.x, n, v)


__all__ = ["CHANGED", "GROWN", "SAME", "Watch"]

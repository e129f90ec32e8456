"""The closure guard: a compiled program is used again only while everything it read outside its arguments is unchanged.

What a function can read is found in its bytecode (``reads.py``): globals, closure cells, imported modules and attributes of them, defaults,
and the same of the Python functions, methods and classes it reaches.  ``snapshot(f)`` keeps the values and writes one Python function,
``holds``, that looks at them again: a comparison costs some 30 ns there, several times as much through calls.  Numbers, strings and arrays
are compared by value, containers, instances and classes of the user's by their contents, other modules and classes by identity.  A large
array costs what reading it costs, unless nobody can write to it (it owns its memory, and ``x.flags.writeable = False``).
"""

import array
import collections
import collections.abc
import functools
import os
import random
import sys
import types

import numpy as np

from ..core import Tracer
from ..core.bits import same_bits
from ..core.held import changeable
from ..numpy.rebind import is_user_function, original
from .pages import WATCHED, watcher
from .reads import attribute_names, called_bare, outside_reads

ATOMS = (int, float, complex, str, bytes, bool, type(None), np.generic, np.dtype, range, slice)
#: Containers and objects are followed this deep.
DEPTH = 40
#: A longer list or dictionary of plain numbers and strings is compared as a whole.
MANY = 64
#: Builtins whose answer depends on what no guard can watch.
OUTSIDE = frozenset(("open", "input", "globals", "locals", "vars", "eval", "exec"))
#: Functions of these modules answer differently at every call; those excepted make something that answers the same again.
VOLATILE = frozenset(("numpy.random", "numpy.random.mtrand", "random", "time", "secrets", "uuid"))
REPEATABLE = frozenset(("default_rng", "Generator", "RandomState", "SeedSequence", "PCG64", "Random"))
#: What reads files, the environment or the system's random numbers, wherever it was imported from.
READERS = (np.load, np.loadtxt, np.genfromtxt, np.fromfile, np.memmap, os.urandom, os.getenv)
_READERS = frozenset(map(id, READERS))
#: Modules of these packages are taken not to change.
SETTLED = frozenset(("numpy", "scipy", "numba", "builtins", "diffsim", "math", "functools", "itertools"))


class Snapshot:
    """Values a function read when it was traced.

    Attributes
    ----------
    holds : callable
        ``holds() -> bool``: whether every value is unchanged.
    source : str
        Its code.
    copies : list of array
        Of the large arrays among them.
    volatile : str or None
        Something the function reads that changes by itself: a random number generator or a clock.
    """

    __slots__ = ("_labels", "_lines", "_scope", "copies", "holds", "source", "volatile")

    def __init__(self, lines, labels, scope, volatile, copies):
        self.volatile, self.copies, self._lines, self._labels, self._scope = volatile, copies, lines, labels, scope
        body = [f"        {line}" for line in lines or ["pass"]]
        end = ["    except (AttributeError, KeyError, IndexError, ValueError, TypeError):", "        return False", "    return True", ""]
        self.source = "\n".join(["def holds():", "    try:", *body, *end])
        exec(compile(self.source, "<closure guard>", "exec"), scope)
        self.holds = scope["holds"]

    def changed(self):
        """What was read that is not as it was, in the words of the code that reads it; None if nothing is found."""
        scope = dict(self._scope)
        for line, label in zip(self._lines, self._labels, strict=True):
            try:
                exec(line.replace("return False", "raise ValueError"), scope)
            except (AttributeError, KeyError, IndexError, ValueError, TypeError):
                return label
        return None

    def kept(self, x):
        """A copy of an array: the one the guard compares with, if it has one, which is in the processor's cache when a call begins.

        An array that nobody can write to is its own copy.
        """
        if not changeable(x):
            return x
        for copy in self.copies:
            if copy.shape == x.shape and copy.dtype == x.dtype and same_bits(x, copy):
                return copy
        return np.array(x)


def snapshot(f, constants=()):
    """Snapshot of everything ``f`` may read beside its arguments, and of arguments that are constants of the program."""
    writer = _Writer()
    writer.function(f)
    for x in constants:
        writer.where = "an argument that is a constant"
        writer.value(writer.keep(x), x, 0)
    writer.settle()
    return Snapshot(writer.lines, writer.labels, writer.scope, writer.volatile, writer.copies)


def changing(f):
    """Something ``f`` reads that changes by itself, as :attr:`Snapshot.volatile`, looked for without keeping anything it reads."""
    looker = _Looker()
    looker.function(f)
    looker.settle()
    return looker.volatile


def _same_number(a, b):
    """Equality of atoms of one type, NaN being equal to itself."""
    return type(a) is type(b) and (a == b or (a != a and b != b))


#: Arrays up to this many bytes are compared as bytes.
LARGE = 1 << 14


def _generators():
    """Classes of random number generators: NumPy's if they have been imported, which takes 10 ms."""
    loaded = sys.modules.get("numpy.random")
    return (random.Random, loaded.Generator, loaded.RandomState) if loaded else (random.Random,)


def _is_volatile(x):
    """Whether a value is a random number generator, a function of one, a clock, a reader of files, or an iterator of Python's own."""
    if isinstance(x, collections.abc.Iterator) and type(x).__module__ in ("builtins", "itertools"):
        return True
    if id(x) in _READERS or isinstance(x, _generators()) or isinstance(getattr(x, "__self__", None), _generators()):
        return True
    return isinstance(x, (types.BuiltinFunctionType, types.FunctionType)) and x.__module__ in VOLATILE and x.__name__ not in REPEATABLE


def _is_plain(x):
    """Whether equality says all of a value."""
    return type(x) in (int, float, bool, str, complex, type(None))


def _settled(x):
    return isinstance(x, types.ModuleType) and x.__name__.partition(".")[0] in SETTLED


def is_users(cls):
    """Whether a class is the user's own: its module is not a settled one or part of the standard library."""
    module = getattr(cls, "__module__", None)
    root = module.partition(".")[0] if isinstance(module, str) else "builtins"      # classes of compiled extensions may have a descriptor
    return (root not in SETTLED and root not in sys.stdlib_module_names) or root == "__main__"


class _Writer:
    """Writes the checks: each value read becomes a local name, and what hangs on it is read from there."""

    def __init__(self):
        self.lines, self.seen, self.count = [], set(), 0
        self.scope = {"same": _same_number, "equal": same_bits, "changeable": changeable, "np": np}
        self.volatile, self.suspects, self.names, self.arrays, self.copies = None, [], set(), {}, []
        self.labels, self.where = [], "the function"

    def settle(self):
        """Decide on attributes that hold a clock or a generator: they count if any code reached reads an attribute of that name."""
        for attribute, text in self.suspects:
            if attribute in self.names:
                self.volatile = self.volatile or text

    def keep(self, x):
        """Name of a constant of the guard."""
        self.count += 1
        name = f"k{self.count}"
        self.scope[name] = x
        return name

    def local(self, expression):
        """Read a value; returns the name it has from here on."""
        self.count += 1
        name = f"v{self.count}"
        self._line(f"{name} = {expression}")
        return name

    def require(self, condition):
        self._line(f"if not ({condition}): return False")

    def _line(self, text):
        self.lines.append(text)
        self.labels.append(self.where)

    def first_time(self, x):
        """Whether an object is met for the first time; the guard holds on to it, so that its id stays its own."""
        if id(x) in self.seen:
            return False
        self.seen.add(id(x))
        self.keep(x)
        return True

    # ------------------------------------------------------------ functions
    def function(self, f):
        """Checks on what a callable reads."""
        f = original(f)
        inner = getattr(f, "__diffsim_wraps__", None)
        if inner is not None:
            self.function(inner)
        elif isinstance(f, types.MethodType):
            self.where = f"the {type(f.__self__).__name__} whose method it is"
            self.value(self.keep(f.__self__), f.__self__, 0)
            self.function(f.__func__)
        elif isinstance(f, types.FunctionType):
            self.plain_function(f)
        elif isinstance(f, functools.partial) or is_users(type(f)):
            self.value(self.keep(f), f, 0)

    def plain_function(self, f):
        if not self.first_time(f):
            return
        name = self.keep(f)
        self.names.update(attribute_names(f.__code__))
        for maker in called_bare(f.__code__, REPEATABLE):
            self.volatile = f"`{maker}()`, without a seed"
        self.where = f"the code or a default value of `{f.__name__}`"
        self.require(f"{name}.__code__ is {self.keep(f.__code__)}")
        self.require(f"len({name}.__defaults__ or ()) == {len(f.__defaults__ or ())}")
        for i, x in enumerate(f.__defaults__ or ()):
            self.value(f"{name}.__defaults__[{i}]", x, 0)
        for key, x in (f.__kwdefaults__ or {}).items():
            self.value(f"{name}.__kwdefaults__[{key!r}]", x, 0)
        cells = dict(zip(f.__code__.co_freevars, f.__closure__ or (), strict=True))
        scope = getattr(f.__globals__, "real", f.__globals__)
        held, done = self.keep(scope), set()
        for root, name, attributes in outside_reads(f.__code__):
            start = self._root(root, name, scope, held, cells)
            if start is not None:
                self._chain(*start, name, attributes, done)

    def _root(self, root, name, scope, held, cells):
        """(expression, value) of the beginning of a read; None where there is nothing to watch."""
        if root == "global" and name not in scope and name in OUTSIDE:
            self.volatile = f"`{name}`"
        if root == "global":
            return (f"{held}.get({name!r})", scope[name]) if name in scope else None
        if root == "import":
            module = sys.modules.get(name.partition(".")[0])
            return None if module is None else (self.keep(module), module)
        x, filled = _content(cells[name]) if name in cells else (None, False)
        return (f"{self.keep(cells[name])}.cell_contents", x) if filled else None

    def _chain(self, expression, x, name, attributes, done):
        for attribute in attributes:
            if _settled(x):
                self.note_volatile(x, attribute, (name, *attributes))
                return
            self.note_volatile(x, attribute, (name, *attributes))
            if type(x) is np.ndarray and attribute not in ("shape", "dtype", "ndim", "size"):
                break                                     # views and methods of an array read the array
            x = getattr(x, attribute, None)
            expression = f"getattr({expression}, {attribute!r}, None)"
        if expression not in done:
            done.add(expression)
            self.where = f"`{'.'.join((name, *attributes))}`"
            self.value(expression, x, 0)

    def note_volatile(self, module, attribute, path):
        """Remember a read of a clock or a random number."""
        x = module
        for name in path[path.index(attribute):] if attribute in path else ():
            if isinstance(x, types.ModuleType) and x.__name__ in VOLATILE and name not in REPEATABLE:
                self.volatile = f"`{'.'.join(path)}`"
            x = getattr(x, name, None)
            if id(x) in _READERS:
                self.volatile = f"`{'.'.join(path)}`"

    # ------------------------------------------------------------ values
    def value(self, expression, x, depth):
        """Checks on one value and what hangs on it."""
        kind = type(x)
        if _is_volatile(x):
            self.volatile = f"`{getattr(x, '__name__', kind.__name__)}`"
        if isinstance(x, types.ModuleType):
            self.require(f"{expression} is {self.keep(x)}")
            self.module(x)
        elif isinstance(x, types.BuiltinMethodType) and not isinstance(x.__self__, (types.ModuleType, type(None), type)):
            name = self.local(expression)                 # a method of a list, a dictionary, an array
            self.require(f"{name} == {self.keep(x)}")
            self.value(f"{name}.__self__", x.__self__, depth + 1)
        elif isinstance(x, functools._lru_cache_wrapper):
            self.require(f"{expression} is {self.keep(x)}")
            self.function(x.__wrapped__)
        elif isinstance(x, (bytearray, memoryview, array.array)):
            self.require(f"bytes({expression}) == {self.keep(bytes(x))}")
        elif isinstance(x, (Tracer, types.BuiltinFunctionType, np.ufunc)) or depth >= DEPTH:
            self.require(f"{expression} is {self.keep(x)}")
        elif isinstance(x, type):
            self.require(f"{expression} is {self.keep(x)}")
            self.klass(x)
        elif isinstance(x, ATOMS):
            name, kept = self.local(expression), self.keep(x)
            self.require(f"{name} is {kept} or same({name}, {kept})")
        elif isinstance(x, np.ndarray):
            self.array(expression, x, depth)
        elif isinstance(x, (types.FunctionType, types.MethodType)):
            name, kept = self.local(expression), self.keep(x)
            self.require(f"{name} is {kept} or {name} == {kept}")
            if is_user_function(x) or hasattr(x, "__diffsim_wraps__"):
                self.function(x)
        else:
            self.container(expression, x, depth)

    def array(self, expression, x, depth):
        name = self.local(expression)
        test = f"{name}.__class__ is {self.keep(type(x))} and {name}.shape == {x.shape} and {name}.dtype == {self.keep(x.dtype)}"
        if x.dtype.hasobject:
            self.require(test)
            for i in range(x.size):
                self.value(f"{name}.flat[{i}]", x.flat[i], depth + 1)
            return
        if type(x) is np.ndarray and x.nbytes > LARGE and not changeable(x):
            test = f"{name} is {self.keep(x)} and not changeable({name})"
        elif x.nbytes <= LARGE:
            test += f" and np.asarray({name}).tobytes() == {self.keep(np.asarray(x).tobytes())}"
        else:
            self.copies.append(np.array(x, order="C", subok=False))
            watch = watcher(x, self.copies[-1]) if type(x) is np.ndarray and x.nbytes >= WATCHED else None
            if watch is not None:
                test = f"{self.keep(watch)}({name})"
            else:
                test += f" and equal({name}, {self.keep(self.copies[-1])})"
        if type(x) is not np.ndarray and isinstance(x, np.ma.MaskedArray):     # looking at ``np.ma`` imports it: 10 ms
            test += f" and np.ma.getmaskarray({name}).tobytes() == {self.keep(np.ma.getmaskarray(x).tobytes())}"
        met = self.arrays.setdefault(id(x), name)             # an array met twice is looked at once, as long as it is one
        self.require(test if met == name else f"{name} is {met} or ({test})")

    def container(self, expression, x, depth):
        kind, name = type(x), self.local(expression)
        if isinstance(x, (list, tuple, dict)) and len(x) > MANY and all(map(_is_plain, x.values() if isinstance(x, dict) else x)):
            self.require(f"{name}.__class__ is {self.keep(kind)} and {name} == {self.keep(x.copy() if kind is not tuple else x)}")
        elif isinstance(x, (list, tuple, collections.deque)):
            self.require(f"{name}.__class__ is {self.keep(kind)} and len({name}) == {len(x)}")
            if self.first_time(x) or isinstance(x, tuple):
                for i, item in enumerate(x):
                    self.value(f"{name}[{i}]", item, depth + 1)
        elif isinstance(x, dict):
            keys = list(x)
            self.require(f"{name}.__class__ is {self.keep(kind)} and list({name}) == {self.keep(keys)}")
            if self.first_time(x):
                for key, item in list(x.items()):
                    self.value(f"{name}[{self.keep(key)}]", item, depth + 1)
        elif isinstance(x, (set, frozenset, collections.UserList, collections.abc.Mapping)):
            self.collection(name, x, depth)
        elif isinstance(x, functools.partial):
            self.require(f"{name} is {self.keep(x)}")
            self.function(x.func)
            self.value(f"{name}.args", x.args, depth + 1)
            self.value(f"{name}.keywords", x.keywords, depth + 1)
        else:
            self.instance(name, x, depth)

    def collection(self, name, x, depth):
        """Checks on sets and on the library's imitations of dictionaries and lists."""
        kind = self.keep(type(x))
        if isinstance(x, (set, frozenset)):
            self.require(f"{name}.__class__ is {kind} and {name} == {self.keep(set(x))}")
        elif isinstance(x, collections.UserList):
            self.value(f"{name}.data", x.data, depth + 1)
        else:
            self.require(f"{name}.__class__ is {kind} and list({name}) == {self.keep(list(x))}")
            for key in list(x):
                self.value(f"{name}[{self.keep(key)}]", x[key], depth + 1)

    # ------------------------------------------------------------ objects
    def module(self, module):
        """Checks on the numbers, arrays and functions of a module of the user's that is handed about as a value."""
        root = module.__name__.partition(".")[0]
        if root in SETTLED or root in sys.stdlib_module_names or not self.first_time(module):
            return
        name = self.keep(vars(module))
        for attribute, x in list(vars(module).items()):
            if isinstance(x, (*ATOMS, np.ndarray, list, tuple, dict)) and not attribute.startswith("__"):
                self.value(f"{name}.get({attribute!r})", x, 1)
            elif isinstance(x, types.FunctionType):
                self.require(f"{name}.get({attribute!r}) is {self.keep(x)}")

    def instance(self, name, x, depth):
        self.require(f"{name} is {self.keep(x)}")
        inner = getattr(x, "__diffsim_wraps__", None)
        if inner is not None:
            self.function(inner)
            rules = getattr(x, "__diffsim_rules__", ())
            if rules:
                self.require(f"{name}.__diffsim_rules__ == {self.keep(rules)}")
            for rule in rules:
                self.function(rule)
            return
        if (not is_users(type(x)) and not isinstance(x, types.SimpleNamespace)) or not self.first_time(x):
            return
        own = getattr(x, "__dict__", None)
        if own is not None:
            self.require(f"len({name}.__dict__) == {len(own)}")
            for attribute, value in list(own.items()):
                if _is_volatile(value):
                    self.suspects.append((attribute, f"`{attribute}` of a {type(x).__name__}"))
                else:
                    self.value(f"{name}.__dict__[{attribute!r}]", value, depth + 1)
        for attribute in slot_names(type(x)):
            if hasattr(x, attribute):
                self.value(f"getattr({name}, {attribute!r}, None)", getattr(x, attribute), depth + 1)
        self.klass(type(x))

    def klass(self, cls):
        """Checks on the methods and attributes of a class of the user's, of its bases and of its metaclass."""
        if type(cls) is not type:
            self.klass(type(cls))
        for c in cls.__mro__:
            if not is_users(c) or not self.first_time(c):
                continue
            name, members = self.keep(c), [(n, v) for n, v in vars(c).items() if n not in MACHINERY and not n.startswith("_abc_")]
            self.require(f"len({name}.__dict__) == {len(vars(c))}")
            for attribute, v in members:
                read = f"{name}.__dict__.get({attribute!r})"
                if isinstance(v, (types.FunctionType, staticmethod, classmethod, property)):
                    self.require(f"{read} is {self.keep(v)}")
                    for f in (v, getattr(v, "__func__", None), getattr(v, "fget", None)):
                        if isinstance(f, types.FunctionType):
                            self.plain_function(f)
                elif not isinstance(v, (types.MemberDescriptorType, types.GetSetDescriptorType)):
                    self.value(read, v, 1)


#: Entries of a class that are no part of what its methods compute.
MACHINERY = frozenset((
    "__module__", "__repr__", "__hash__",
    "__dict__", "__weakref__", "__doc__", "__qualname__", "__annotations__", "__slots__", "__firstlineno__",
    "__static_attributes__", "__match_args__", "__dataclass_fields__", "__dataclass_params__", "__parameters__", "__abstractmethods__",
    "__annotate_func__", "__annotations_cache__", "__orig_bases__",
))  # fmt: skip


class _Looker(_Writer):
    """Looks at what a function reads and leaves its arrays alone."""

    def array(self, expression, x, depth):
        """An array does not change by itself."""


def _content(cell):
    """Content of a closure cell, and whether there is one."""
    try:
        return cell.cell_contents, True
    except ValueError:                                    # the name is not bound yet
        return None, False


def slot_names(cls):
    """Attribute names of a class's slots, private ones as Python stores them."""
    for c in cls.__mro__:
        slots = c.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            private = name.startswith("__") and not name.endswith("__")
            yield f"_{c.__name__.lstrip('_')}{name}" if private else name

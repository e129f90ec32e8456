"""The closure guard: a compiled program is used again only while everything it read outside its arguments is unchanged.

What a function can read is found in its bytecode: globals (and attributes of them), closure cells, defaults, and the same of the Python
functions it reaches.  ``snapshot(f)`` keeps the values and writes one Python function, ``holds``, that looks at them again: a
comparison costs some 30 ns there, several times as much through calls.  Numbers, strings and arrays are compared by value, containers
and instances of user classes by their contents, modules and classes by identity.
"""

import dis
import random
import types

import numpy as np

from ..core import Tracer
from ..numpy.rebind import is_user_function, original

ATOMS = (int, float, complex, str, bytes, bool, type(None), np.generic, np.dtype, range, slice)
#: Containers and objects are followed this deep.
DEPTH = 6
#: Functions of these modules answer differently at every call; those excepted make something that answers the same again.
VOLATILE = frozenset(("numpy.random", "numpy.random.mtrand", "random", "time", "secrets", "uuid"))
REPEATABLE = frozenset(("default_rng", "Generator", "RandomState", "SeedSequence", "PCG64", "Random"))
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
    volatile : str or None
        Something the function reads that changes by itself: a random number generator or a clock.
    """

    __slots__ = ("holds", "source", "volatile")

    def __init__(self, lines, scope, volatile):
        self.volatile = volatile
        body = [f"        {line}" for line in lines or ["pass"]]
        end = ["    except (AttributeError, KeyError, IndexError, ValueError, TypeError):", "        return False", "    return True", ""]
        self.source = "\n".join(["def holds():", "    try:", *body, *end])
        exec(compile(self.source, "<closure guard>", "exec"), scope)
        self.holds = scope["holds"]


def snapshot(f):
    """Snapshot of everything ``f`` may read beside its arguments."""
    writer = _Writer()
    writer.function(f)
    return Snapshot(writer.lines, writer.scope, writer.volatile)


def _same_number(a, b):
    """Equality of atoms of one type, NaN being equal to itself."""
    return type(a) is type(b) and (a == b or (a != a and b != b))


GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)


def _is_volatile(x):
    """Whether a value is a random number generator, a function of one, or a clock."""
    if isinstance(x, GENERATORS) or isinstance(getattr(x, "__self__", None), GENERATORS):
        return True
    return isinstance(x, (types.BuiltinFunctionType, types.FunctionType)) and x.__module__ in VOLATILE and x.__name__ not in REPEATABLE


def _settled(x):
    return isinstance(x, types.ModuleType) and x.__name__.partition(".")[0] in SETTLED


class _Writer:
    """Writes the checks: each value read becomes a local name, and what hangs on it is read from there."""

    def __init__(self):
        self.lines, self.scope, self.seen, self.count = [], {"same": _same_number}, set(), 0
        self.volatile = None

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
        self.lines.append(f"{name} = {expression}")
        return name

    def require(self, condition):
        self.lines.append(f"if not ({condition}): return False")

    # ------------------------------------------------------------ functions
    def function(self, f):
        """Checks on what a function reads."""
        f = original(f)
        inner = getattr(f, "__wrapped__", None)
        if inner is not None and getattr(f, "__module__", "").startswith("diffsim"):
            self.function(inner)
            return
        if isinstance(f, types.MethodType):
            self.value(self.keep(f.__self__), f.__self__, 0)
            f = original(f.__func__)
        if isinstance(f, types.FunctionType):
            self.plain_function(f)
            return
        call = getattr(type(f), "__call__", None)  # noqa: B004  (the function itself is wanted, not whether there is one)
        if isinstance(call, types.FunctionType):
            self.value(self.keep(f), f, 0)
            self.function(call)

    def plain_function(self, f):
        if id(f) in self.seen:
            return
        self.seen.add(id(f))
        name = self.keep(f)
        self.require(f"{name}.__code__ is {self.keep(f.__code__)}")
        for i, x in enumerate(f.__defaults__ or ()):
            self.value(f"{name}.__defaults__[{i}]", x, 0)
        for key, x in (f.__kwdefaults__ or {}).items():
            self.value(f"{name}.__kwdefaults__[{key!r}]", x, 0)
        self.globals_of(f)
        for cell in f.__closure__ or ():
            try:
                x = cell.cell_contents
            except ValueError:                            # empty: the name is not bound yet
                continue
            self.value(f"{self.keep(cell)}.cell_contents", x, 0)

    def globals_of(self, f):
        """Checks on ``name`` and ``name.attribute.attribute`` reads of globals, nested functions included."""
        scope, done = f.__globals__, set()
        held = self.keep(scope)
        for path in _global_reads(f.__code__):
            x, expression, settled = scope.get(path[0]), f"{held}.get({path[0]!r})", path[0] not in scope
            for attribute in path[1:]:
                settled = settled or _settled(x)
                self.note_volatile(x, attribute, path)
                x = getattr(x, attribute, None)
                expression = f"getattr({expression}, {attribute!r}, None)"
            if not settled and expression not in done:
                done.add(expression)
                self.value(expression, x, 0)

    def note_volatile(self, module, attribute, path):
        """Remember a read of a clock or a random number."""
        if isinstance(module, types.ModuleType) and module.__name__ in VOLATILE and attribute not in REPEATABLE:
            self.volatile = f"`{'.'.join(path)}`"

    # ------------------------------------------------------------ values
    def value(self, expression, x, depth):
        """Checks on one value and what hangs on it."""
        kind = type(x)
        if _is_volatile(x):
            self.volatile = f"`{getattr(x, '__name__', kind.__name__)}`"
        if isinstance(x, (types.ModuleType, type, Tracer, types.BuiltinFunctionType, np.ufunc)) or depth >= DEPTH:
            self.require(f"{expression} is {self.keep(x)}")
        elif isinstance(x, ATOMS):
            name, kept = self.local(expression), self.keep(x)
            self.require(f"{name} is {kept} or same({name}, {kept})")
        elif kind is np.ndarray:
            self.array(expression, x)
        elif isinstance(x, (types.FunctionType, types.MethodType)):
            name, kept = self.local(expression), self.keep(x)
            self.require(f"{name} is {kept} or {name} == {kept}")
            if is_user_function(x):
                self.function(x)
        else:
            self.container(expression, x, depth)

    def array(self, expression, x):
        if x.dtype.hasobject:
            self.require(f"{expression} is {self.keep(x)}")
            return
        name = self.local(expression)
        self.require(f"{name}.__class__ is {self.keep(np.ndarray)} and {name}.shape == {x.shape} and {name}.dtype == {self.keep(x.dtype)} "
                     f"and {name}.tobytes() == {self.keep(x.tobytes())}")

    def container(self, expression, x, depth):
        kind, name = type(x), self.local(expression)
        if isinstance(x, (list, tuple)):
            self.require(f"{name}.__class__ is {self.keep(kind)} and len({name}) == {len(x)}")
            for i, item in enumerate(x):
                self.value(f"{name}[{i}]", item, depth + 1)
        elif isinstance(x, dict):
            keys = list(x)
            self.require(f"{name}.__class__ is {self.keep(kind)} and list({name}) == {self.keep(keys)}")
            for i, item in enumerate(x.values()):
                self.value(f"{name}[{self.keep(keys[i])}]", item, depth + 1)
        else:
            self.instance(name, x, depth)

    def instance(self, name, x, depth):
        kind = type(x)
        self.require(f"{name} is {self.keep(x)}")
        if callable(x) and getattr(x, "__wrapped__", None) is not None and kind.__module__.startswith("diffsim"):
            self.function(x.__wrapped__)
            return
        if id(x) in self.seen or kind.__module__.partition(".")[0] in SETTLED:
            return
        self.seen.add(id(x))
        for attribute in _attributes(x):
            if hasattr(x, attribute):
                self.value(f"getattr({name}, {attribute!r}, None)", getattr(x, attribute), depth + 1)


def _codes(code):
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _codes(const)


def _global_reads(code):
    """Paths (name, attribute, ...) of the globals that code reads, nested functions included: each chain and its beginnings."""
    found = {}
    for each in _codes(code):
        path = None
        for op in dis.get_instructions(each):
            if op.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                path = (op.argval,)
            elif op.opname in ("LOAD_ATTR", "LOAD_METHOD") and path is not None:
                path = (*path, op.argval)
            else:
                path = None
            if path is not None:
                found[path] = None
    return list(found)


def _attributes(x):
    names = list(getattr(x, "__dict__", ()))
    for cls in type(x).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    return [n for n in names if not n.startswith("__")]

"""The closure guard: a compiled program is used again only while everything it read outside its arguments is unchanged.

What a function can read is found in its bytecode: globals (and attributes of them), closure cells, defaults, and the same of the Python
functions it reaches.  ``snapshot(f)`` keeps the values; ``Snapshot.holds()`` looks at them again.  Numbers, strings and arrays are compared by
value, containers and instances of user classes by their contents, modules and classes by identity.
"""

import dis
import types

import numpy as np

from ..core import Tracer
from ..numpy.rebind import is_user_function, original

ATOMS = (int, float, complex, str, bytes, bool, type(None), np.generic, np.dtype, range, slice)
DEPTH = 6


class Snapshot:
    """Values a function read when it was traced.

    Parameters
    ----------
    checks : list of callable
        Each says whether one value is still what it was.
    """

    __slots__ = ("checks",)

    def __init__(self, checks):
        self.checks = checks

    def holds(self):
        """Whether every value is unchanged."""
        for check in self.checks:                         # noqa: SIM110  (all() over a generator costs twice as much)
            if not check():
                return False
        return True


def snapshot(f):
    """Snapshot of everything ``f`` may read beside its arguments."""
    checks = []
    _function(f, checks, set())
    return Snapshot(checks)


def _function(f, checks, seen):
    f = original(f)
    inner = getattr(f, "__wrapped__", None)
    if inner is not None and getattr(f, "__module__", "").startswith("diffsim"):
        return _function(inner, checks, seen)
    if isinstance(f, types.MethodType):
        _value(lambda owner=f.__self__: owner, checks, seen, 0)
        f = original(f.__func__)
    if not isinstance(f, types.FunctionType):
        call = getattr(type(f), "__call__", None)
        if isinstance(call, types.FunctionType):
            _value(lambda owner=f: owner, checks, seen, 0)
            _function(call, checks, seen)
        return None
    if id(f) in seen:
        return None
    seen.add(id(f))
    code = f.__code__
    checks.append(lambda: f.__code__ is code)
    for default in (f.__defaults__ or ()), tuple((f.__kwdefaults__ or {}).values()):
        for value in default:
            _value(lambda value=value: value, checks, seen, 0)
    _read_globals(f, code, checks, seen)
    for cell in f.__closure__ or ():
        _value(_cell_reader(cell), checks, seen, 0)
    return None


def _cell_reader(cell):
    def read():
        try:
            return cell.cell_contents
        except ValueError:                                # the cell is empty: the name is not bound yet
            return None
    return read


def _codes(code):
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _codes(const)


def _read_globals(f, code, checks, seen):
    """Checks on ``name`` and ``name.attribute.attribute`` reads of globals, nested functions included."""
    scope, done = f.__globals__, set()
    for each in _codes(code):
        path = None
        for op in dis.get_instructions(each):
            if op.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                path = (op.argval,)
            elif op.opname in ("LOAD_ATTR", "LOAD_METHOD") and path is not None:
                path = (*path, op.argval)
            else:
                path = None
            if path is not None and path not in done:
                done.add(path)
                if path[0] in scope:
                    _value(_path_reader(scope, path), checks, seen, 0)


def _path_reader(scope, path):
    name, attributes = path[0], path[1:]
    if not attributes:
        return lambda: scope.get(name)

    def read():
        x = scope.get(name)
        for a in attributes:
            x = getattr(x, a, None)
        return x
    return read


def _value(read, checks, seen, depth):
    """Add the check on one value."""
    x = read()
    kind = type(x)
    if isinstance(x, types.ModuleType) or isinstance(x, type) or isinstance(x, Tracer):
        checks.append(lambda: read() is x)
    elif isinstance(x, ATOMS):
        checks.append(lambda: (y := read()) is x or (type(y) is kind and (y == x or (y != y and x != x))))
    elif kind is np.ndarray:
        checks.append(_array_check(read, x))
    elif isinstance(x, (types.FunctionType, types.MethodType)):
        checks.append(lambda: (y := read()) is x or y == x)
        if is_user_function(x):
            _function(x, checks, seen)
    elif isinstance(x, (types.BuiltinFunctionType, np.ufunc)) or depth >= DEPTH:
        checks.append(lambda: read() is x)
    else:
        _container(read, x, checks, seen, depth)


def _array_check(read, x):
    shape, dtype = x.shape, x.dtype
    if dtype.hasobject:
        return lambda: read() is x
    held = np.array(x)

    def check():
        y = read()
        return type(y) is np.ndarray and y.shape == shape and y.dtype == dtype and y.tobytes() == frozen
    frozen = held.tobytes()
    return check


def _container(read, x, checks, seen, depth):
    kind = type(x)
    if isinstance(x, (list, tuple)):
        n = len(x)
        checks.append(lambda: type(y := read()) is kind and len(y) == n)
        for i in range(n):
            _value(lambda i=i: read()[i], checks, seen, depth + 1)
    elif isinstance(x, dict):
        keys = list(x)
        checks.append(lambda: type(y := read()) is kind and list(y) == keys)
        for key in keys:
            _value(lambda key=key: read()[key], checks, seen, depth + 1)
    else:
        checks.append(lambda: read() is x)
        if id(x) in seen or kind.__module__.partition(".")[0] in ("numpy", "scipy", "numba", "builtins", "diffsim"):
            return
        seen.add(id(x))
        for name in _attributes(x):
            _value(lambda name=name: getattr(x, name, None), checks, seen, depth + 1)


def _attributes(x):
    names = list(getattr(x, "__dict__", ()))
    for cls in type(x).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    return [n for n in names if not n.startswith("__")]

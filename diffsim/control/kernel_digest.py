"""Digests of Numba functions, equal in every process: what a compiled program that calls one is found by in the cache.

Numba fixes what a function reads when it compiles it.  So its code, the constants it closes over and the functions it calls tell what it
computes; where something else is met there is no digest, and programs that call it are compiled anew in each process.
"""

import dis
import hashlib
import sys
import types

import numpy as np

NUMBERS = (bool, int, float, complex, str, bytes, type(None))
#: Modules whose contents their version tells.
KNOWN = ("numpy", "math", "cmath", "builtins", "operator", "scipy", "numba")


class Unknown(Exception):  # noqa: N818  (an answer, not an error)
    """Something whose meaning a digest cannot tell."""


def digest(*parts):
    """Digest of functions and values; None where there is none."""
    try:
        text = "\n".join([sys.version, _version("numba"), _version("numpy"), *(_told(x, []) for x in parts)])
    except (Unknown, RecursionError):
        return None
    return hashlib.sha256(text.encode()).hexdigest()


def _version(module):
    return f"{module} {getattr(sys.modules.get(module), '__version__', '')}"


def _told(x, inside):
    """A value as text."""
    if isinstance(x, NUMBERS):
        return f"{type(x).__name__}:{x!r}"
    if isinstance(x, np.generic):
        return f"{x.dtype}:{x.tobytes().hex()}"
    if isinstance(x, np.ndarray) and not x.dtype.hasobject:
        return f"{x.dtype}{x.shape}{x.flags.c_contiguous}:{hashlib.sha256(x.tobytes()).hexdigest()}"
    if isinstance(x, np.dtype):
        return str(x)
    if isinstance(x, (tuple, frozenset)):
        told = [_told(v, inside) for v in x]
        return f"{type(x).__name__}({','.join(told if isinstance(x, tuple) else sorted(told))})"
    if isinstance(x, types.ModuleType) and x.__name__.partition(".")[0] in KNOWN:
        return f"module {x.__name__} {_version(x.__name__.partition('.')[0])}"
    if hasattr(x, "py_func") and hasattr(x, "targetoptions"):
        return _function(x, inside)
    home = (getattr(x, "__module__", None) or "").partition(".")[0] or ("numpy" if isinstance(x, np.ufunc) else "")
    if home in KNOWN and isinstance(getattr(x, "__name__", None), str):
        return f"{home}.{getattr(x, '__qualname__', x.__name__)} {_version(home)}"
    raise Unknown


def _function(dispatcher, inside):
    """A Numba function: its options, its code, what it closes over."""
    f = dispatcher.py_func
    if f in inside:
        return f"itself {inside.index(f)}"
    inside = [*inside, f]
    options = sorted((k, repr(v)) for k, v in dispatcher.targetoptions.items())
    cells = [_told(c.cell_contents, inside) for c in f.__closure__ or ()]
    return f"njit {options} {_told(f.__defaults__, inside)} {cells} {_code(f.__code__, f.__globals__, inside)}"


def _code(code, scope, inside):
    """Bytecode, its constants, and what it reads of its module."""
    constants = [_code(c, scope, inside) if isinstance(c, types.CodeType) else _told(c, inside) for c in code.co_consts]
    names = sorted({i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")})
    read = [f"{name}={_told(scope[name], inside)}" for name in names if name in scope]
    shape = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
    return f"{shape} {code.co_varnames} {code.co_names} {code.co_freevars} {code.co_code.hex()} {constants} {read}"


__all__ = ["digest"]

"""Derivative formulas for plain numbers: the same formulas with NumPy in the place of primitives.

A formula such as ``lambda x, y: cos(x)`` is written once, with primitives, so that it can be differentiated again.  Where the operands are
plain numbers that costs a dispatch for nothing; its twin calls ``np.cos`` at once.
"""

from types import CodeType, FunctionType

from .primitive import Primitive

_twins = {}


def plain_derivs(prim):
    """Partial derivatives of an elementwise primitive for plain operands; made at first use."""
    made = prim.plain_derivs
    if made is None:
        made = prim.plain_derivs = tuple(twin(d) if isinstance(d, FunctionType) else d for d in prim.derivs)
    return made


def twin(f):
    """A function over the same code whose globals hold implementations where its own hold primitives."""
    made = _twins.get(f)
    if made is None:
        if f.__closure__:                                   # what it closes over may be anything
            return f
        table = {"__builtins__": f.__globals__["__builtins__"]}
        made = _twins[f] = FunctionType(f.__code__, table, f.__name__, f.__defaults__)
        made.__kwdefaults__ = f.__kwdefaults__
        for name in _names(f.__code__):
            if name in f.__globals__:
                table[name] = _translated(f.__globals__[name], f.__module__)
    return made


def _names(code):
    """Every global name a code object or one inside it may read."""
    names = set(code.co_names)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            names |= _names(inner)
    return names


def _translated(value, module):
    if isinstance(value, Primitive):
        return value.impl
    return twin(value) if isinstance(value, FunctionType) and value.__module__ == module else value


__all__ = ["plain_derivs", "twin"]

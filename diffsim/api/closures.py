"""What a function closes over, made inputs: so that what a branch computes of it alone is computed in that branch, and forgotten with it.

Found in closure cells: traced values, containers of them, functions that close over some.  What is reached in another way (a global, an
attribute) stays a value of outside, which is right too, and computed outside.
"""

import functools
import types

import numpy as np

from .. import tree
from ..core import Tracer
from ..numpy.array import Array, holding
from ..numpy.rebind import is_user_function, rebound

CONTAINERS = (tuple, list, dict)
INDEXED = frozenset("fic")


def traced(x):
    """Whether a value is traced."""
    return isinstance(x, Tracer) or (x.__class__ is Array and isinstance(x.read(), Tracer))


def table(x):
    """Whether a value is a plain array, which a traced index cannot enter."""
    return x.__class__ is np.ndarray and x.ndim > 0 and x.dtype.kind in INDEXED


def closed_over(f):
    """Traced values in the closure of a function, each once, in order."""
    found = {}

    def visit(x):
        found.setdefault(id(x), x)
        return x
    mapped(rebound(f), traced, visit)
    return list(found.values())


def with_values(f, values, new):
    """The function closing over other values instead."""
    place = {id(x): y for x, y in zip(values, new, strict=True)}
    return mapped(rebound(f), traced, lambda x: place[id(x)])


def with_tables(f):
    """The function with plain arrays it closes over as arrays that a traced index can enter."""
    return mapped(rebound(f), table, frozen)


def frozen(x):
    """A plain array as one of ours that refuses to be written."""
    made = holding(x)
    made._cell.frozen = "writing into an array from outside a function that is traced. Return the new array from the function instead."
    return made


def mapped(f, test, visit, made=None):
    """``f`` with ``visit(x)`` for each x in its closure that passes the test; ``f`` itself if nothing changes."""
    made = {} if made is None else made
    if id(f) in made:
        return made[id(f)]
    made[id(f)] = f                                           # a function that calls itself
    if f.__class__ is functools.partial:
        inner = mapped(f.func, test, visit, made)
        args, words = _content(f.args, test, visit, made), _content(f.keywords, test, visit, made)
        if inner is not f.func or args is not f.args or words is not f.keywords:
            made[id(f)] = functools.partial(inner, *args, **words)
    elif f.__class__ is types.FunctionType and f.__closure__ and is_user_function(f):
        cells = [_cell(cell, test, visit, made) for cell in f.__closure__]
        if any(new is not old for new, old in zip(cells, f.__closure__, strict=True)):
            new = types.FunctionType(f.__code__, f.__globals__, f.__name__, f.__defaults__, tuple(cells))
            new.__kwdefaults__ = f.__kwdefaults__
            new.__dict__.update(f.__dict__)
            made[id(f)] = new
    return made[id(f)]


def _cell(cell, test, visit, made):
    try:
        old = cell.cell_contents
    except ValueError:                                        # not bound yet
        return cell
    new = _content(old, test, visit, made)
    return cell if new is old else types.CellType(new)


def _content(x, test, visit, made):
    if test(x):
        return visit(x)
    if isinstance(x, (types.FunctionType, functools.partial)):
        return mapped(x, test, visit, made)
    if isinstance(x, CONTAINERS):
        leaves, struct = tree.flatten(x)
        new = [visit(v) if test(v) else v for v in leaves]
        return x if all(a is b for a, b in zip(new, leaves, strict=True)) else tree.unflatten(struct, new)
    return x


__all__ = ["closed_over", "with_tables", "with_values"]

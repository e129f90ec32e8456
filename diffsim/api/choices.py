"""Choices that transforms and graphs keep as they are.

Where the predicate is a number the branch is called, as by Python's own ``if``; where it is a symbol the branches are traced, and one
primitive runs the one taken.
"""

import numpy as np

from .. import tree
from ..control.cond import INDEX, branches_of
from ..control.cond import switch as _switch
from ..core import Tracer, aval_of, bind, user_line, weaken
from ..errors import ConcretizationError, InputError, InputTypeError
from ..numpy.stacking import is_value
from ..prims.elementwise import not_equal
from ..prims.layout import convert
from .bodies import Returned, Traced, callable_or_raise, cast, given, joined, numbers, paths, results, union, value
from .closures import closed_over, with_values


def cond(pred, true_fun, false_fun, *operands):
    """``true_fun(*operands)`` if ``pred`` is true, else ``false_fun(*operands)``.

    Parameters
    ----------
    pred : bool
        A scalar; may be traced.
    true_fun, false_fun : callable
        Of the operands; where ``pred`` is a symbol both are traced, and must return one structure of the same shapes and dtypes.
    *operands : pytree

    Returns
    -------
    pytree

    Raises
    ------
    InputTypeError
        ``pred`` is no scalar bool or integer, or the branches differ in what they return (the leaf is named).

    Notes
    -----
    One branch is computed, in derivatives too.  Under ``vmap`` with a predicate that differs between members each branch is computed for
    the members that take it.
    """
    callable_or_raise(true_fun, "cond", "true_fun")
    callable_or_raise(false_fun, "cond", "false_fun")
    pred = scalar(pred, "cond", "pred", "biu")
    return _choice("cond", pred, (false_fun, true_fun), operands, ("false_fun", "true_fun"))


def switch(index, branches, *operands):
    """``branches[index](*operands)``.

    Parameters
    ----------
    index : int
        A scalar from 0 to ``len(branches) - 1``; may be traced.
    branches : sequence of callable
        As the functions of :func:`cond`.
    *operands : pytree

    Returns
    -------
    pytree

    Raises
    ------
    IndexError
        There is no such branch.
    InputTypeError
        As :func:`cond`.
    """
    branches = tuple(branches)
    if not branches:
        raise InputError("switch: there are no branches")
    for i, f in enumerate(branches):
        callable_or_raise(f, "switch", f"branch {i}")
    return _choice("switch", scalar(index, "switch", "index", "iu"), branches, operands, [f"branch {i}" for i in range(len(branches))])


def scalar(x, verb, what, kinds):
    """A scalar: a plain number where there is one behind it, else a tracer."""
    if not is_value(x):
        raise InputTypeError(f"{verb}: {what} is a {type(x).__name__}; it must be a {_scalar_word(kinds)}")
    x = value(x, what)
    if tuple(x.shape) or x.dtype.kind not in kinds:
        raise InputTypeError(f"{user_line()}: {verb}: {what} is {aval_of(x)}; it must be a scalar {_scalar_word(kinds)}"
                             + (" (compare it with something)" if x.dtype.kind == "f" else ""))
    while isinstance(x, Tracer):
        try:
            x = x.owner.concrete(x, what)
        except ConcretizationError:
            return x
    return x


def _scalar_word(kinds):
    return "bool" if "b" in kinds else "integer"


def _choice(verb, which, branches, operands, names):
    if not isinstance(which, Tracer):
        n = int(bool(which)) if verb == "cond" else int(which)
        if not 0 <= n < len(branches):
            raise IndexError(f"{user_line()}: {verb}: index {n}, but there are branches 0 to {len(branches) - 1}")
        return branches[n](*operands)
    flat, struct = tree.flatten(operands)
    moving = [is_value(x) for x in flat]
    outside = [closed_over(f) for f in branches]
    lifted = list({id(x): x for each in outside for x in each}.values())
    operands = [*[x for x, on in zip(flat, moving, strict=True) if on], *lifted]
    leaves, python = [value(x, verb) for x in operands], numbers(operands)
    at, found = len(leaves) - len(lifted), {}

    def program(n, dtypes):
        def f(*x):
            inner = {id(old): given(new) for old, new in zip(lifted, x[at:], strict=True)}
            x = iter(x[:at])
            args = tree.unflatten(struct, [given(next(x)) if on else leaf for leaf, on in zip(flat, moving, strict=True)])
            branch = with_values(branches[n], outside[n], [inner[id(v)] for v in outside[n]])
            out = found[n] = Returned(branch(*args), verb, f"the result of {names[n]}")
            return out.values if dtypes is None else [cast(v, d) for v, d in zip(out.values, dtypes, strict=True)]
        return Traced(f, [aval_of(x) for x in leaves], verb, (branches[n],), numbers=python).steady()

    made = [program(n, None) for n in range(len(branches))]
    dtypes = _agreed([found[n] for n in range(len(branches))], verb, names)
    if any([v.dtype for v in out.values] != dtypes for out in found.values()):
        made = [program(n, dtypes) for n in range(len(branches))]
    outer = union(made)
    graph = branches_of([joined(part, len(leaves), outer) for part in made])
    i = which if which.dtype == INDEX else convert(not_equal(which, 0) if verb == "cond" else which, dtype=INDEX)
    out = bind(_switch, [i, *outer, *leaves], {"branches": graph})
    weak = [all(each) for each in zip(*[found[n].numbers for n in range(len(branches))], strict=True)]
    return results(found[0].struct, [weaken(x) if on else x for x, on in zip(out, weak, strict=True)])


def _agreed(outs, verb, names):
    """Dtypes of the results of all branches.

    Raises
    ------
    InputTypeError
        Two branches return different structures, shapes or dtypes.
    """
    first, dtypes = outs[0], []
    for out, name in zip(outs[1:], names[1:], strict=True):
        if out.struct != first.struct:
            raise InputTypeError(f"{user_line()}: {verb}: {names[0]} and {name} return different structures: "
                                 f"{', '.join(paths(first.struct, 'result')) or 'nothing'} and "
                                 f"{', '.join(paths(out.struct, 'result')) or 'nothing'}")
    for n, where in enumerate(paths(first.struct, "result")):
        shown = [(aval_of(out.values[n]), name, out.numbers[n]) for out, name in zip(outs, names, strict=True)]
        strong = [entry for entry in shown if not entry[2]] or shown[:1]
        dtype = np.result_type(strong[0][0].dtype, *[a.dtype.type(0).item() for a, _, weak in shown if weak])
        for a, name, weak in shown:
            other, whose, _ = strong[0]
            if a.shape != other.shape or (not weak and a.dtype != other.dtype) or (weak and dtype != other.dtype and not strong[0][2]):
                raise InputTypeError(f"{user_line()}: {verb}: {where} is {other} from {whose} and {a} from {name}; the branches must "
                                     f"return the same shapes and dtypes")
        dtypes.append(dtype)
    return dtypes


__all__ = ["cond", "scalar", "switch"]

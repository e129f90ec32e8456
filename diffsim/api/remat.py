"""Functions whose intermediate values are computed again for a derivative, not kept."""

import functools

from .. import tree
from ..control import bodies as graphs
from ..control.jit import warn_once
from ..control.remat import PLAIN, Policies, checkpoint_policies, saving
from ..control.remat import checkpoint as _checkpoint
from ..control.remat import checkpoint_name as _named
from ..control.steady import Watch
from ..core import Tracer, aval_of, bind, weaken
from ..core import is_weak as is_number
from ..errors import InputTypeError
from ..numpy.stacking import is_value, stacked
from .arguments import name_of
from .bodies import UNTRACEABLE, WEAK, Traced, any_traced, callable_or_raise, given, joined, numbers, result, union, value
from .closures import closed_over, with_values


def checkpoint(f=None, policy=None):
    """``f``, its intermediate values not kept for a derivative but computed again when it is pulled back.

    Parameters
    ----------
    f : callable, optional
        Of pytrees.  Without it the result is a decorator.
    policy : optional
        What is kept all the same: an entry of ``checkpoint_policies`` (``nothing_saveable``, the default; ``everything_saveable``;
        ``dots_saveable``; ``save_only_these_names("a", "b")`` for values marked by :func:`checkpoint_name`; ``save_within(nbytes)``), or a
        function ``policy(prim, *avals, **params) -> bool``.

    Returns
    -------
    callable

    Raises
    ------
    InputTypeError
        The policy is no policy.

    Notes
    -----
    The derivative of the pullback forgets in the same way.  A function that cannot be traced (a branch on a number) is run as it is, with
    one warning.
    """
    if policy is not None and not callable(policy) and not hasattr(policy, "values"):
        raise InputTypeError(f"checkpoint: the policy is a {type(policy).__name__}; take one of checkpoint_policies, or a function")
    if f is None:
        return functools.partial(checkpoint, policy=policy)
    callable_or_raise(f, "checkpoint", "the first argument")

    @functools.wraps(f, updated=())
    def run(*args, **kwargs):
        return _forgotten(f, policy, args, kwargs)

    run.__wrapped__ = run.__diffsim_wraps__ = f
    return run


def _forgotten(f, policy, args, kwargs):
    flat, struct = tree.flatten((args, kwargs))
    moving = [is_value(x) and type(x) not in WEAK for x in flat]
    outside = closed_over(f)
    operands = [*[x for x, on in zip(flat, moving, strict=True) if on], *outside]
    leaves, python = [value(x, "checkpoint") for x in operands], numbers(operands)
    at = len(leaves) - len(outside)
    if policy is Policies.everything_saveable:
        return f(*args, **kwargs)
    if not any_traced(leaves):
        before = Watch((f,))
        out = f(*args, **kwargs)
        if not any_traced(map(stacked, tree.leaves(out))):
            return out
        before.restore()
    found = {}

    def program(*x):
        forgetful, x = with_values(f, outside, map(given, x[at:])), iter(x[:at])
        again, words = tree.unflatten(struct, [given(next(x)) if on else leaf for leaf, on in zip(flat, moving, strict=True)])
        out, found["struct"] = tree.flatten(forgetful(*again, **words))
        found["static"] = [(i, v) for i, v in enumerate(out) if not is_value(v)]
        found["numbers"] = [is_number(v) for v in out if is_value(v)]
        return [value(v, "checkpoint") for v in out if is_value(v)]

    try:
        part = Traced(program, [aval_of(x) for x in leaves], "checkpoint", (f,), steady=False, numbers=python)   # one call, one draw
    except UNTRACEABLE as reason:
        warn_once(("checkpoint", str(reason)), f"checkpoint runs {name_of(f)} as it is, keeping everything: {reason}")
        return f(*args, **kwargs)
    outer = union([part])
    graph, saved = saving(joined(part, len(leaves), outer), policy)
    operands = [*outer, *leaves]
    out = bind(_checkpoint, operands, {**PLAIN, "body": graphs.interned(graph), "saved": saved})
    values = [weaken(x) if on else result(x, operands) for x, on in zip(out[:len(out) - saved], found["numbers"], strict=True)]
    for i, x in found["static"]:
        values.insert(i, x)
    return tree.unflatten(found["struct"], values)


def checkpoint_name(x, name):
    """``x``, its values marked for ``checkpoint_policies.save_only_these_names``.

    Parameters
    ----------
    x : pytree
    name : str

    Raises
    ------
    InputTypeError
        The name is no string.
    """
    if not isinstance(name, str):
        raise InputTypeError(f"checkpoint_name: the name is a {type(name).__name__}, not a string")
    return tree.map(lambda v: result(_named(stacked(v), name=name)) if isinstance(stacked(v), Tracer) else v, x)


__all__ = ["checkpoint", "checkpoint_name", "checkpoint_policies"]

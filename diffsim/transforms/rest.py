"""A trace at rest: while a user's rule runs, values of the trace that called it are constants to it.

A rule is given primals and tangents.  What else it reads of the same trace, by closing over it, has no tangent in the rule: it is
differentiated afterwards, through the function's own body.
"""

import contextlib

from ..core import NO_PARAMS, Tracer, bind
from ..errors import InputError
from ..prims.elementwise import add
from .operands import split

#: What becomes of a function with rules that reads what it was not given.
CLOSED_OVER = ("a function with rules of its own closes over a value of another transform (vmap, or a derivative taken inside this one), "
               "so that its result would be of neither: pass the value as an argument")


class AtRest:
    """Mixin of a trace: its own values are constants, and ``met`` says whether there were any."""

    __slots__ = ()

    def process(self, prim, args, params):
        self.met = True
        return bind(prim, split(self, args)[0], params)

    def unary(self, prim, x, *made):
        return self.process(prim, (x,), NO_PARAMS)

    def binary(self, prim, x, y, *made):
        return self.process(prim, (x, y), NO_PARAMS)


@contextlib.contextmanager
def at_rest(trace, resting_class):
    """Let a trace take its own values for constants meanwhile."""
    kind, direct = trace.__class__, trace.direct
    trace.__class__, trace.met, trace.direct = resting_class, False, False
    try:
        yield
    finally:
        trace.__class__, trace.direct = kind, direct


def of(trace, x):
    """Whether a value belongs to a trace."""
    return isinstance(x, Tracer) and x.owner is trace


def resting(trace, values):
    """Values a rule returned, those of the trace itself taken for constants.

    Raises
    ------
    InputError
        One belongs to a later transform, whose values the rule can only have closed over.
    """
    if any(isinstance(x, Tracer) and x.owner.level > trace.level for x in values):
        raise InputError(CLOSED_OVER)
    if any(of(trace, x) for x in values):
        trace.met = True
    return [x.primal if of(trace, x) else x for x in values]


def both(a, b):
    """Sum of two tangents, None being zero."""
    return b if a is None else a if b is None else add(a, b)


__all__ = ["CLOSED_OVER", "AtRest", "at_rest", "both", "of", "resting"]

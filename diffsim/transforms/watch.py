"""Watching for NaN: the first operation that gives one, in a value, a tangent or a cotangent, is named with the user's line."""

import contextlib
from contextvars import ContextVar

import numpy as np

from ..core import ArrayTracer, Tracer, user_line
from ..errors import NotANumberError
from .strong import numbers

#: Whether transforms watch for NaN.
WATCH = ContextVar("debug_nans", default=False)


@contextlib.contextmanager
def debug_nans():
    """Raise where a traced operation first gives NaN, in its value or in its derivative.

    Within, transforms look at every result, and compiled functions run uncompiled.  Operations on plain arrays, which carry no
    derivative, are NumPy's own and not looked at (``numpy.errstate(invalid="raise")`` is for those).

    Raises
    ------
    NotANumberError
        (FloatingPointError) naming the operation and its line.

    Examples
    --------
    >>> import numpy as np, diffsim as ds
    >>> with ds.debug_nans():                                        # doctest: +SKIP
    ...     ds.grad(lambda x: np.sum(np.sqrt(x - 1.0)))(np.zeros(2))
    NotANumberError: `sqrt` gave NaN ...
    """
    token = WATCH.set(True)
    try:
        yield
    finally:
        WATCH.reset(token)


def has_nan(x):
    """Whether a value, or its tangent, holds NaN.  An array that stands for a tracer is looked at as that."""
    if not isinstance(x, Tracer) and getattr(x, "owner", None) is not None:
        x = ArrayTracer(x.owner, x.primal, x.dual)
    return any(np.asarray(n).dtype.kind in "fc" and np.isnan(n).any() for n in numbers(x))


class Watched:
    """Mixin of a trace: looks at each result."""

    __slots__ = ()

    def process(self, prim, args, params):
        return self._looked_at(prim, args, super().process(prim, args, params))

    def unary(self, prim, x, *made):
        return self._looked_at(prim, (x,), super().unary(prim, x, *made))

    def binary(self, prim, x, y, *made):
        return self._looked_at(prim, (x, y), super().binary(prim, x, y, *made))

    def _looked_at(self, prim, args, y):
        if any(map(has_nan, y if prim.multiple else (y,))):
            came = "; an operand was NaN already: an input, or a constant" if any(map(has_nan, args)) else ""
            raise NotANumberError(f"{self.verb}: `{prim.name}` gave NaN in its value or its tangent ({user_line()}){came}")
        return y


def watched_sweep(linear_list, outputs, cotangents, bars, sweep):
    """Raise if a backward sweep gave NaN, naming the operation where the first one arose.

    It is found by bisection: ``sweep(equations)`` runs the last equations alone and gives the cotangents of all variables.
    """
    if not any(map(has_nan, bars)) or any(map(has_nan, cotangents)):
        return
    eqns, low, high = linear_list.eqns, 0, len(linear_list.eqns)  # NaN after eqns[low:], none after eqns[high:]
    while high - low > 1:
        middle = (low + high) // 2
        if any(map(has_nan, sweep(eqns[middle:]))):
            low = middle
        else:
            high = middle
    _, prim, _, params = eqns[low]
    where = f" ({linear_list.lines[low]})" if linear_list.lines else ""
    raise NotANumberError(f"the backward pass: the derivative of `{(params if prim is None else prim).name}` gave NaN{where}")


__all__ = ["WATCH", "Watched", "debug_nans", "watched_sweep"]

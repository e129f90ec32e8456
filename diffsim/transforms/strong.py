"""Strong zeros: a derivative that is spoiled by 0 · inf is computed again with that product taken as 0.

``np.where(x > 0, np.log(x), 0)`` has the derivative 0 at 0, but the logarithm's is infinite there and meets the zero that ``where`` sends
back: 0 · inf is NaN.  Nothing is spent on this as long as derivatives are finite.  Where the value is finite and its derivative is not, the
sweep is repeated with :func:`strong_product`, and a warning names the operation whose derivative was infinite.
"""

import contextlib
import operator
import warnings
from contextvars import ContextVar
from math import isfinite as isfinite_number

import numpy as np

from ..core import Tracer, user_depth
from ..core.aval import is_float
from ..errors import StrongZeroWarning
from ..prims.elementwise import equal, isfinite, logical_and, logical_not, logical_or, mul, where
from ..prims.layout import convert
from ..prims.reduce import reduce_all

#: Whether sweeps, and the kernels built meanwhile, multiply strongly; and whether they may: a repair is not repaired.
STRONG = ContextVar("strong_zeros", default=False)


def product():
    """What multiplies a tangent or a cotangent by a factor here."""
    return strong_product if STRONG.get() else operator.mul


def strong_product(g, d):
    """``g * d``, and 0 where either is 0, whatever the other."""
    with np.errstate(all="ignore"):
        part = mul(g, d)
        zero = logical_and(logical_or(equal(g, 0.0), equal(d, 0.0)), logical_not(isfinite(part)))     # else it has a derivative
        out = where(zero, 0.0, part)
    return out if out.dtype == part.dtype else convert(out, dtype=part.dtype)


@contextlib.contextmanager
def strong_zeros():
    """Products within take 0 · inf as 0."""
    token = STRONG.set(True)
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        STRONG.reset(token)


def numbers(x):
    """The plain numbers in a value, through all levels; none where a graph is recorded."""
    if x is None:
        return []
    if not isinstance(x, Tracer):
        return [x]
    return [n for part in (x.primal, x.dual) if isinstance(part, (np.ndarray, np.generic, Tracer)) for n in numbers(part)]


def finite(values):
    """Whether all numbers are finite; values that are no floating-point numbers are."""
    for x in values:
        if x.__class__ is np.float64:
            if not isfinite_number(x):
                return False
            continue
        for n in numbers(x):
            if np.asarray(n).dtype.kind in "fc" and not np.isfinite(n).all():
                return False
    return True


def repaired(run, derivatives, given, find):
    """Derivatives, computed again with strong zeros where they are not finite.

    Where a value is not finite, either, one derivative has to stay so: NaN in the data spoils the derivatives that belong to it, and the
    others are repaired; if none stayed, what was taken as 0 would be what made the value NaN (``0 * np.log(x)`` at 0).

    Parameters
    ----------
    run : callable
        Computes the derivatives.
    derivatives : list
        What it gave.
    given : sequence
        Values of the function, and tangents or cotangents.
    find : callable
        Names the operation that was the cause, for the warning.
    """
    if finite(derivatives):
        for x in derivatives:
            mark(x)
        return derivatives
    if STRONG.get():
        return derivatives
    with strong_zeros():
        again = run()
    if not finite(given):                                   # of a batch: each member for itself
        sound = logical_or(_all_finite(given), logical_not(_all_finite(again)))
        again = [x if x is None else where(sound, x, d) for x, d in zip(again, derivatives, strict=True)]
    if sum(map(_spoiled, again)) < sum(map(_spoiled, derivatives)):
        warnings.warn(f"a derivative met 0 * inf, which was taken as 0: {find()}. That is right where the value does not depend on that "
                      f"operation (np.where computes both of its branches).", StrongZeroWarning, stacklevel=user_depth())
    return again


def _all_finite(values):
    """Truth, for each member, of all values being finite."""
    sound = np.bool_(True)
    for x in values:
        if x is not None and is_float(x.dtype):
            one = isfinite(x)
            sound = logical_and(sound, reduce_all(one, axes=tuple(range(len(x.shape)))) if x.shape else one)
    return sound


def mark(x):
    """Tell the trace that records a graph, if there is one below, that a derivative is part of it."""
    while isinstance(x, Tracer):
        if hasattr(x.owner, "derives"):
            x.owner.derives = True
        x = x.primal if isinstance(x.primal, Tracer) else x.dual


def _spoiled(x):
    return sum(int(np.count_nonzero(~np.isfinite(n))) for n in numbers(x) if np.asarray(n).dtype.kind in "fc")


__all__ = ["STRONG", "finite", "numbers", "product", "repaired", "strong_product", "strong_zeros"]

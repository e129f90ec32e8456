"""Functions of the user's applied to slices, axes and elements; ``np.i0``."""

import numpy as np

from ..prims import bessel
from ..prims import elementwise as ew
from ..prims.layout import convert
from . import indexing
from .dispatch import row, ufunc_row, value_of
from .reductions import at_least_array, axes_of, moved
from .shapes import reshaped
from .stacking import join, lift


@row(np.apply_along_axis, operands=0)
def apply_along_axis(func1d, axis, arr, *args, **kwargs):
    """The function is called on each slice; its result takes the axis' place."""
    arr = at_least_array(lift(arr))
    n = len(arr.shape)
    axis = axes_of(axis, n)[0]
    rest = tuple(s for i, s in enumerate(arr.shape) if i != axis)
    if 0 in rest:
        raise ValueError("Cannot apply_along_axis when any iteration dimensions are 0")
    front = moved(arr, (*[i for i in range(n) if i != axis], axis))
    results = [at_least_array(lift(func1d(indexing.getitem(front, i), *args, **kwargs))) for i in np.ndindex(*rest)]
    inner = tuple(results[0].shape)
    y = reshaped(join(results), (*rest, *inner))
    k, m = len(rest), len(inner)
    return moved(y, (*range(axis), *range(k, k + m), *range(axis, k)))


@row(np.apply_over_axes, operands=0)
def apply_over_axes(func, a, axes):
    """The function is called for one axis after the other, axes kept."""
    y = at_least_array(lift(a))
    n = len(y.shape)
    for axis in (axes,) if np.ndim(axes) == 0 else axes:
        axis = axes_of(int(axis), n)[0]
        result = at_least_array(lift(func(y, axis)))
        if len(result.shape) != n:
            result = reshaped(result, tuple(1 if i == axis else s for i, s in enumerate(y.shape)))
        if len(result.shape) != n:
            raise ValueError("function is not returning an array of the correct shape")
        y = result
    return y


@row(np.i0)
def i0(x):
    x = at_least_array(x)
    if x.dtype.kind == "c":
        raise TypeError("i0 not supported for complex values")
    return bessel.i0(x if x.dtype.kind == "f" else convert(x, dtype=np.dtype(float)))


@ufunc_row(np.nextafter)
def nextafter(x, toward):
    """x and a constant: the distance to the next number."""
    plain = value_of(x, "np.nextafter")
    return ew.add(x, np.nextafter(plain, value_of(toward, "np.nextafter")) - plain)


@ufunc_row(np.frexp)
def frexp(x):
    """Mantissa and exponent; the exponent is a plain value."""
    exponent = np.frexp(value_of(x, "the exponent of np.frexp"))[1]
    return ew.mul(x, np.ldexp(np.ones((), x.dtype), -exponent)), exponent


def _of_values(ufunc):
    """Rule of a ufunc whose value is locally constant or whole: NumPy's own, of the numbers."""
    @ufunc_row(ufunc, value=True)
    def rule(*x):
        return ufunc(*[value_of(a, f"np.{ufunc.__name__}") for a in x])
    return rule


for _ufunc in (np.spacing, np.gcd, np.lcm, np.bitwise_count):
    _of_values(_ufunc)

__all__ = ["apply_along_axis", "apply_over_axes"]

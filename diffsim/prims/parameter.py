"""Derivatives of special functions in an order, a degree or a parameter, where no closed form is known: of interpolants of the function.

As functions of such an operand p alone these functions are analytic, mostly entire, and vary slowly: a Bessel function of order v about as
exp(v arcsinh(v/x)).  On a short interval about p the polynomial through 20 Chebyshev points is the function to rounding (Trefethen,
Approximation Theory and Approximation Practice, 2013, theorem 8.2), and its derivatives at p are weighted sums of the function's values:

    d^n f/dp^n = sum over j of w[n, j] f(p + h t_j) / h^n.

The n-th one is as accurate as SciPy's values but for a factor of about 50, 500, 10^4 and 10^5 for n = 1 to 4: against 40 digits the first
derivatives are right to some 1e-13 of the larger of f' and f/h.  ``reach`` gives h for each function: less than the distance to a
pole, about the reciprocal of the rate at which the function grows.

The interpolant's last coefficients say by themselves whether the function was smooth on the interval and its values accurate.  Where they
are not 1e-11 of the largest, the derivative is NaN: beside poles, and where SciPy's routine is not accurate to that.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..core import Aval, Primitive, user_line
from ..core.emission import Back
from ..errors import MissingRule
from .elementwise import absolute, add, batch_elementwise, div, elementwise_jvp, equal, greater, integer_pow, minimum, mul, rint, sub, where
from .family import NOT_LINEAR, broadcast_shapes
from .layout import broadcast_to, reduce_sum, reshape, stop_gradient

POINTS, TAIL = 20, 3
#: Largest size of the last coefficients beside the largest, and the size below which a function has underflowed.
TRUSTED, TINY = 1e-11, 1e-290
#: Derivatives of higher order would have less than half of the digits.
HIGHEST = 4
CHUNK = 1024
_ANGLES = np.pi * (np.arange(POINTS) + 0.5) / POINTS
NODES = np.cos(_ANGLES)
#: Values at the nodes to coefficients of Chebyshev's polynomials.
COEFFICIENTS = np.cos(np.outer(np.arange(POINTS), _ANGLES)) * (2.0 / POINTS)
COEFFICIENTS[0] *= 0.5
_SUMMED = Back("it sums values of SciPy's routine")


@functools.cache
def weights(n):
    """Of the coefficients, for the n-th derivative in the middle of (-1, 1)."""
    from numpy.polynomial import chebyshev  # noqa: PLC0415  (it takes 2 ms, and is needed rarely)

    return np.array([chebyshev.chebval(0.0, chebyshev.chebder(row, n)) for row in np.eye(POINTS)])


def _to_pole(p):
    """Distance to the next of 0, -1, -2, ..."""
    return where(greater(p, 0.0), p, absolute(sub(p, rint(p))))


def near_poles(h, p):
    """A half-length, or a quarter of the distance to the next pole at 0, -1, -2, ... where that is less."""
    return minimum(h, mul(_to_pole(p), 0.25))


class _Interpolant(NamedTuple):
    """Of a row as a function of one operand: see :func:`in_parameter`."""

    function: Callable
    operand: int
    reach: Callable
    vanishes: Callable | None

    def value(self, *x, n):
        """The n-th derivative."""
        shape = np.broadcast_shapes(*map(np.shape, x))
        dtype = self.function().aval(*[Aval(a.shape, a.dtype) for a in map(np.asarray, x)]).dtype
        flat = [_widened(a).reshape(-1, 1) for a in np.broadcast_arrays(*x)]
        out = np.empty(flat[0].size, np.result_type(dtype, float))
        with np.errstate(all="ignore"):
            for i in range(0, out.size, CHUNK):
                out[i:i + CHUNK] = self._part([a[i:i + CHUNK] for a in flat], n)
        return out.reshape(shape).astype(dtype)[()]

    def _part(self, x, n):
        h, at = self.reach(*x), list(x)
        at[self.operand] = x[self.operand] + h * NODES
        c = np.sum(self.function().impl(*at)[:, None] * COEFFICIENTS, 2)        # no product of matrices: one element as in any batch
        size = np.abs(c)
        trusted = np.max(size[:, -TAIL:], 1) <= TRUSTED * np.maximum(np.max(size, 1), TINY)
        y = np.where(trusted, np.sum(c * weights(n), 1) / h[:, 0] ** n, np.nan)
        return y if self.vanishes is None else np.where(self.vanishes(*x)[:, 0], 0.0, y)

    def mixed(self, k, *xy, n):
        """The n-th derivative, differentiated in operand k: the same sum over the function's derivatives in it."""
        *x, y = xy
        x = [a if hasattr(a, "shape") else np.asarray(a) for a in x]
        shape = broadcast_shapes(*[tuple(a.shape) for a in x])
        x = [reshape(broadcast_to(a, shape=shape), shape=(*shape, 1)) for a in x]
        h, at = stop_gradient(self.reach(*x)), [broadcast_to(a, shape=(*shape, POINTS)) for a in x]
        at[self.operand] = add(x[self.operand], mul(h, NODES))
        f = self.function()
        total = reduce_sum(mul(f.derivs[k](*at, f(*at)), weights(n) @ COEFFICIENTS), axes=(len(shape),))
        total = where(equal(y, y), div(total, integer_pow(reshape(h, shape=shape), n=n)), np.nan)
        return total if self.vanishes is None else where(reshape(self.vanishes(*x), shape=shape), 0.0, total)


def in_parameter(function, name, operand, symbol, *, reach, samples, vanishes=None):
    """The derivative of a row in one of its operands, as a row of its own: ``name_in_symbol``, with the order ``n`` as its parameter.

    Parameters
    ----------
    function : callable
        Gives the row; it need not be made yet.
    operand, symbol : int, str
        Which operand, and what it is called.
    reach : callable
        ``reach(*x)``: the half-length h of the interval, with primitives.
    samples : callable
        Where the laws try it: draws operands, whose number it has as ``operands``.
    vanishes : callable, optional
        ``vanishes(*x)``: where every derivative in the operand is zero though the interpolant cannot tell.

    Returns
    -------
    callable
        ``deriv(*x, y)``, as a row takes it.
    """
    made = _Interpolant(function, operand, reach, vanishes)

    def higher(*xy, n):
        if n == HIGHEST:
            raise MissingRule(f"scipy.special.{name}", "derivative",
                              f"{user_line()}: derivatives of more than {HIGHEST}th order in {symbol} would not be accurate")
        return row(*xy[:-1], n=n + 1)

    def drawn(rng):
        return [(x, {"n": 1}) for x, _ in samples(rng)[::2]]

    derivs = tuple(higher if k == operand else functools.partial(made.mixed, k) for k in range(samples.operands))
    row = Primitive(
        f"{name}_in_{symbol}", impl=made.value, derivs=derivs, jvp=elementwise_jvp(derivs), transpose=NOT_LINEAR,
        aval=lambda *x, n: Aval(broadcast_shapes(*[a.shape for a in x]), function().aval(*x).dtype),
        batch=batch_elementwise(lambda: row), emit=_SUMMED, samples=drawn)
    return lambda *xy: row(*xy[:-1], n=1)


def _widened(x):
    """In double precision; integers stay what they are, as some routines take counts."""
    return x.astype(np.result_type(x.dtype, float)) if x.dtype.kind in "fc" else x


__all__ = ["in_parameter", "near_poles"]

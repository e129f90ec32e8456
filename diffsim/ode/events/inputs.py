"""Inputs given at knots: functions of time for right-hand sides, whose knots the steps land on."""

from dataclasses import dataclass, field

import numpy as np

from diffsim.control.places import value_of
from diffsim.core import Tracer
from diffsim.errors import InputError
from diffsim.numpy.stacking import lift
from diffsim.ode.arguments import concrete
from diffsim.prims.gather import gather
from diffsim.prims.layout import reshape

from .switches import listener

KINDS = ("linear", "previous", "cubic")


@dataclass(frozen=True, eq=False)
class Input:
    """A function of time given by values at knots, to be called in a right-hand side.

    Parameters
    ----------
    times : array_like, shape (k,)
        Knots, increasing.
    values : array_like, shape (k,) or (k, m)
    kind : {"linear", "previous", "cubic"}
        Lines from knot to knot; the value of the last knot at or before t (a jump at each); a twice differentiable cubic spline, SciPy's
        ``CubicSpline`` with not-a-knot ends.

    Notes
    -----
    Before the first knot the value is the first one, after the last knot the last one.  Steps of ``solve_ivp`` land on the knots by
    themselves, so that kinks and jumps cost no accuracy.  An Input may be closed over or be part of ``args``; gradients with respect to
    ``values`` and ``times`` are right, jumps included.

    Examples
    --------
    >>> heating = ds.ode.Input([0.0, 2.0, 5.0], [0.0, 1.0, 0.5])
    >>> ds.solve_ivp(lambda t, y, u: u(t) - y, (0.0, 6.0), np.zeros(1), args=(heating,))
    """

    times: object
    values: object
    kind: str = "linear"
    slopes: object = field(default=None, repr=False)

    def __post_init__(self):
        if self.kind not in KINDS:
            raise InputError(f"Input: kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        times, values = _array(self.times), _array(self.values)
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "values", values)
        if len(times.shape) != 1 or times.shape[0] < 2 or values.shape[:1] != times.shape or len(values.shape) > 2:
            raise InputError(f"Input: times of shape (k,) and values of shape (k,) or (k, m), k at least 2, are needed; got "
                             f"{tuple(times.shape)} and {tuple(values.shape)}")
        known = concrete(times)
        if known is not None and not np.all(np.diff(known) > 0):
            raise InputError("Input: times must increase")
        if self.kind == "cubic" and self.slopes is None:
            object.__setattr__(self, "slopes", _spline(times, values))

    @property
    def sided(self):
        """Whether what it is, or its derivative by a knot, jumps at the knots: then a solve starts afresh at each."""
        return self.kind == "previous" or isinstance(self.times, Tracer)

    def __call__(self, t):
        """The value at time t: a number, or shape (m,)."""
        told = listener()
        if told is not None:
            if self.kind == "previous" and not told.is_time(value_of(lift(t))):
                raise InputError("Input: one of kind 'previous' jumps, and is read at something else than the time of the solve, so that "
                                 "steps cannot stop at its jumps: shift its knots instead of the time, or choose by ds.where_event")
            told.knots(_array(self.times), self.sided)
        k = int(self.times.shape[0])
        i = np.searchsorted(self.times, t, side="right") - 1
        if self.kind == "previous":
            return row(self.values, np.clip(i, 0, k - 1))
        i = np.clip(i, 0, k - 2)
        start = row(self.times, i)
        h = row(self.times, i + 1) - start
        s = np.clip((t - start) / h, 0.0, 1.0)
        low, high = (row(self.values, j) for j in (i, i + 1))
        if self.kind == "linear":
            return low + s * (high - low)
        first, last = (row(self.slopes, j) for j in (i, i + 1))
        a, b = h * first - (high - low), (high - low) - h * last
        return low + s * (high - low) + s * (1.0 - s) * (a * (1.0 - s) + b * s)


def row(x, i):
    """x[i] for an index that may be traced."""
    x = value_of(lift(x))
    if len(x.shape) == 1:
        return gather(x, i)
    m = int(x.shape[1])
    return gather(reshape(x, shape=(int(x.shape[0]) * m,)), i * m + np.arange(m))


def _array(x):
    x = value_of(lift(x))
    return x if isinstance(x, Tracer) else np.asarray(x, float)


def _spline(t, y):
    """Slopes at the knots of the cubic spline with not-a-knot ends: tridiagonal but for its ends, solved as a full system.

    Source: de Boor, A Practical Guide to Splines (1978), chapter IV.
    """
    k = int(t.shape[0])
    h = t[1:] - t[:-1]
    d = (y[1:] - y[:-1]) / (h if len(y.shape) == 1 else h[:, None])
    if k == 2:
        return np.stack([d[0], d[0]])
    if k == 3:                                                # the parabola through three points
        mid = (h[1] * d[0] + h[0] * d[1]) / (h[0] + h[1])
        return np.stack([2.0 * d[0] - mid, mid, 2.0 * d[1] - mid])
    e, inner = np.eye(k), range(1, k - 1)
    matrix = [h[1] * e[0] + (h[0] + h[1]) * e[1]]
    matrix += [h[i] * e[i - 1] + 2.0 * (h[i - 1] + h[i]) * e[i] + h[i - 1] * e[i + 1] for i in inner]
    matrix += [(h[-1] + h[-2]) * e[k - 2] + h[-2] * e[k - 1]]
    right = [((h[0] + 2.0 * (h[0] + h[1])) * h[1] * d[0] + h[0] ** 2 * d[1]) / (h[0] + h[1])]
    right += [3.0 * (h[i] * d[i - 1] + h[i - 1] * d[i]) for i in inner]
    right += [(h[-1] ** 2 * d[-2] + (2.0 * (h[-1] + h[-2]) + h[-1]) * h[-2] * d[-1]) / (h[-1] + h[-2])]
    return np.linalg.solve(np.stack(matrix), np.stack(right))

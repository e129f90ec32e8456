"""What happens at times known beforehand: doses, infusions, and stops for a right-hand side that jumps."""

from dataclasses import dataclass

import numpy as np

from diffsim.core import Tracer
from diffsim.errors import InputError, InputTypeError
from diffsim.numpy.stacking import lift
from diffsim.ode.arguments import concrete, number, vector
from diffsim.ode.system import FLOAT
from diffsim.prims.elementwise import add, div, sub
from diffsim.prims.layout import basic as at_basic
from diffsim.prims.layout import convert, index


@dataclass(frozen=True, eq=False)
class Dose:
    """An amount given to one component of the state, at once or over a time; once or again and again.

    Parameters
    ----------
    time : float
        Of the first one.
    amount : float
        In units of the state; of each one.
    into : int, or key of the state
        Component that receives it: an index of a vector, or the key or field of a state that is a tree, if that is a number.
    duration : float, optional
        Length of an infusion at the constant rate amount / duration, on from its start up to, and not including, its end. Default: all
        at once.
    lag : float
        Added to the time.
    every : float, optional
        Interval at which it is repeated.
    count : int
        How often it is given in all.

    Notes
    -----
    The result of a solve is differentiable in ``time``, ``amount``, ``duration``, ``lag`` and ``every``. An output at the time of a dose is
    the state before it, and so is the end of a span there. Where a dose is given at the start of the span, derivatives by its time are
    those for one that comes later: one that comes earlier is outside the span, and not given at all.

    Examples
    --------
    >>> Dose(time=0.0, amount=100.0, into=0, every=12.0, count=6)           # twice a day for three days
    """

    time: object
    amount: object
    into: object = 0
    duration: object = None
    lag: object = 0.0
    every: object = None
    count: int = 1


@dataclass(frozen=True, eq=False)
class Timed:
    """One thing that happens at one time.

    Attributes
    ----------
    time : float
        Maybe traced.
    into : int or key
    amount : float or None
        What the component gains.
    flow : (int, float) or None
        An infusion's number and the rate that begins to flow into the component; 0 where it ends.
    """

    time: object
    into: object = None
    amount: object = None
    flow: tuple | None = None


def checked_schedule(tstops, doses, claims=None):
    """The :class:`Timed` of ``solve_ivp(tstops=..., doses=...)``, in the order in which they were given.

    ``claims``, a list, receives what must hold of values that are not known yet: flags, and what to say where one is not set.
    """
    items, claims = [], [] if claims is None else claims
    doses = [doses] if isinstance(doses, Dose) else doses or []
    for i, dose in enumerate(doses):
        if not isinstance(dose, Dose):
            raise InputTypeError(f"solve_ivp: doses[{i}] must be a Dose, not {type(dose).__name__}")
        items += _given(dose, f"doses[{i}]", len(items), claims)
    if tstops is not None:
        times = vector(tstops if isinstance(tstops, (list, tuple)) else lift(tstops), "tstops", allow_empty=True)
        m = int(times.shape[0])
        items += [Timed(index(times, at=at_basic((m,), (i,)))) for i in range(m)]
    return items


def _given(dose, what, first, claims):
    """What one dose does, repeated as often as it says."""
    if not isinstance(dose.count, (int, np.integer)) or dose.count < 1:
        raise InputError(f"solve_ivp: {what}: count must be a positive whole number, got {dose.count!r}")
    if dose.count > 1 and dose.every is None:
        raise InputError(f"solve_ivp: {what} is given {dose.count} times: say every= how long")
    amount, start = _number(dose.amount, f"{what}.amount"), add(_number(dose.time, f"{what}.time"), _number(dose.lag, f"{what}.lag"))
    every = None if dose.every is None else _positive(dose.every, f"{what}.every", claims)
    duration = None if dose.duration is None else _positive(dose.duration, f"{what}.duration", claims)
    if concrete(start) is None:
        claims.append((np.isfinite(start), f"{what}.time must be a finite number"))
    items = []
    for i in range(dose.count):
        time = start if i == 0 else add(start, i * every)
        if duration is None:
            items.append(Timed(time, dose.into, amount=amount))
        else:
            key = first + len(items)
            items += [Timed(time, dose.into, flow=(key, div(amount, duration))), Timed(add(time, duration), dose.into, flow=(key, None))]
    return items


def _number(x, what):
    x = number(x, what)
    return x if x.dtype == FLOAT else convert(x, dtype=FLOAT)


def _positive(x, what, claims):
    x = _number(x, what)
    value = concrete(x)
    if value is None:
        claims.append((x > 0, f"{what} must be positive"))
    if value is not None and not value > 0:
        raise InputError(f"solve_ivp: {what} must be positive, got {value}")
    return x


def component(into, layout):
    """Place of a component in the vector that is integrated."""
    if isinstance(into, Tracer):
        raise InputTypeError("solve_ivp: into= of a dose must be known, not traced")
    places = {leaf.path: leaf for leaf in layout.leaves}
    if isinstance(into, (int, np.integer)) and "" in places:
        leaf = places[""]
        if not -leaf.size <= into < leaf.size:
            raise InputError(f"solve_ivp: a dose goes into component {into}, but y0 has {leaf.size}")
        return leaf.start + int(into) % leaf.size
    leaf = next((places[path] for path in (f"[{into!r}]", f".{into}") if path in places), None)
    if leaf is None or leaf.size != 1:
        raise InputError(f"solve_ivp: a dose goes into {into!r}, which is no number among the parts of y0: {', '.join(places) or 'y0'}")
    return leaf.start


def by_time(items, t0, t1):
    """Items from t0 to t1 in the order of their times; what happens at one time keeps its order.

    Those before t0 are left out, but for infusions: what has begun before t0 flows from there on.
    """
    sign = -1.0 if t1 < t0 else 1.0
    values = [float(concrete(item.time)) for item in items]
    order = sorted(range(len(items)), key=lambda i: sign * values[i])
    return [(values[i], items[i]) for i in order if sign * values[i] >= sign * t0 or items[i].flow is not None]


__all__ = ["Dose", "Timed", "by_time", "checked_schedule", "component", "sub"]

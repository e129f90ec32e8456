"""Switches in a right-hand side, found as events, and what else it tells the solve while it is traced.

``where_event(g, a, b)`` is a where g is positive and b elsewhere.  During a solve the choice is frozen: it is read off a *mode*, a
parameter of the right-hand side, while g itself is watched; where g changes its sign the solve stops, the mode changes, and a new stretch
begins.
"""

from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from diffsim.core import Tracer
from diffsim.errors import InputError
from diffsim.numpy.stacking import lift
from diffsim.prims.layout import basic, concatenate, index, reshape

_telling = ContextVar("diffsim_switches", default=None)


class Told:
    """What one run of a right-hand side told the solve around it.

    Parameters
    ----------
    level : int or None
        Of the trace that records the right-hand side; None if it runs on numbers.
    modes : array, shape (k,), or None
        1 for each switch whose condition counts as positive, else 0; None: as the conditions say.

    Attributes
    ----------
    conditions : list of array
        What switches depend on, flat, in the order in which they were met.
    inputs : list of (array, bool)
        Knots of inputs, and whether these jump there.
    """

    def __init__(self, level=None, modes=None):
        self.times, self.given, self.level, self.modes = (), (), level, modes
        self.conditions, self.inputs, self._met = [], [], 0

    @property
    def count(self):
        """Number of switches met."""
        return self._met

    def is_time(self, t):
        """Whether a value is the time that the right-hand side was given."""
        return any(t is x for x in self.times)

    def knots(self, times, jumps):
        """An input with these knots was read; those that are part of args are known already."""
        if not (isinstance(times, Tracer) and self.level is not None and times.owner.level >= self.level):
            self.inputs.append((times, jumps))
        elif jumps and not any(same(times, x) for x in self.given):
            raise InputError("Input: its knots are computed inside the right-hand side, so that steps cannot stop at them: make the Input "
                             "before the solve, and close over it or hand it over in args")

    def flags(self, condition):
        """What ``where_event`` chooses by, for a condition of any shape."""
        if isinstance(condition, Tracer) and self.level is not None and condition.owner.level > self.level:
            raise InputError("where_event: it stands inside a loop, a branch or a rule of diffsim's within the right-hand side, where the "
                             "solve cannot watch its condition: write that part as a Python loop, or take the condition out of it")
        size = int(np.prod(condition.shape, dtype=int))
        self.conditions.append(reshape(condition, shape=(size,)))
        first, self._met = self._met, self._met + size
        if self.modes is None:
            return condition > 0
        mine = index(self.modes, at=basic(tuple(self.modes.shape), (slice(first, first + size),)))
        return reshape(mine, shape=tuple(condition.shape)) > 0.5

    def values(self):
        """The conditions as one vector."""
        return self.conditions[0] if len(self.conditions) == 1 else concatenate(*self.conditions, axis=0)


def same(a, b):
    """Whether two vectors are the same numbers, or the same traced value."""
    if isinstance(a, Tracer) and isinstance(b, Tracer):
        return a is b or (a.owner is b.owner and a.primal is b.primal and a.dual is b.dual)
    return not isinstance(a, Tracer) and not isinstance(b, Tracer) and np.array_equal(a, b)


@contextmanager
def listening(told):
    """Let ``told`` hear what a right-hand side says while it runs."""
    token = _telling.set(told)
    try:
        yield told
    finally:
        _telling.reset(token)


def listener():
    """The :class:`Told` of the solve whose right-hand side runs; None outside one."""
    return _telling.get()


def where_event(condition, a, b):
    """a where condition > 0, else b; in a right-hand side the crossing is found as an event, so that gradients through it are right.

    Parameters
    ----------
    condition : float or array
        A smooth function of t, y and the parameters; not a comparison.
    a, b : array_like
        Values on either side, broadcast with the condition.

    Returns
    -------
    array

    Raises
    ------
    InputError
        The condition is a comparison, or lies where the solve cannot watch it (inside ``ds.scan``, ``ds.cond`` and the like).

    Notes
    -----
    ``solve_ivp`` ends a step where the condition changes its sign, and goes on from there with the other value: the discontinuity costs no
    accuracy, and the time of the crossing is differentiated (saltation).  A condition that is zero counts as not positive.  Outside a
    solve it is ``np.where(condition > 0, a, b)``.

    Examples
    --------
    >>> def heater(t, y, target):
    ...     return np.array([ds.where_event(target - y[0], 1.0, -0.5)])
    """
    condition = lift(condition)
    condition = condition if isinstance(condition, Tracer) else np.asarray(condition)
    if condition.dtype.kind != "f":
        raise InputError(f"where_event: the condition must be a real number that changes its sign, such as y[0] - limit, not "
                         f"{condition.dtype}: a comparison says too little")
    told = _telling.get()
    return np.where(condition > 0 if told is None else told.flags(condition), a, b)

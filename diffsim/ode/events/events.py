"""Events as a user states them: SciPy's functions with attributes, and ``Event`` with a reset."""

from dataclasses import dataclass

import numpy as np

from diffsim.core import Tracer
from diffsim.errors import InputError, InputTypeError
from diffsim.numpy.rebind import original
from diffsim.numpy.stacking import stacked
from diffsim.prims.layout import reshape


@dataclass(frozen=True, eq=False)
class Event:
    """Something that happens where a function of time and state changes its sign.

    Parameters
    ----------
    condition : callable
        ``condition(t, y, *args) -> float``.
    reset : callable, optional
        ``reset(t, y, *args) -> y``: the state just after the event from the one just before.
    terminal : bool or int
        Whether the solve ends there; a number: at which occurrence.
    direction : {0, 1, -1}
        Which changes count: any, from negative to positive, from positive to negative.
    name : str, optional
        For messages; that of the condition by default.

    Notes
    -----
    A solve that starts where the condition is zero does not count that as an event: the condition must leave zero first.  Events that
    happen at one time are applied in the order in which they are given, each to the state the one before has left.

    Where a dose or the reset of another event makes the state jump over the surface, the event happens at the time of the jump, from the
    state the jump has left; its time is then the jump's, and has that one's derivatives.
    """

    condition: object
    reset: object = None
    terminal: object = False
    direction: float = 0
    name: str | None = None


class Watched:
    """One event of a solve, checked.

    Attributes
    ----------
    condition, reset : callable
    count : int
        Occurrence that ends the solve; 0 for none.
    direction : float
    name : str
    at_start : bool
        Whether a condition that is zero at the very start is an event, as in SciPy.
    """

    __slots__ = ("at_start", "condition", "count", "direction", "name", "reset")

    def __init__(self, event, i):
        own = isinstance(event, Event)
        self.condition, self.reset = (event.condition, event.reset) if own else (event, None)
        if not callable(self.condition) or (self.reset is not None and not callable(self.reset)):
            raise InputTypeError(f"solve_ivp: events[{i}] must be a function of (t, y, *args) or an Event of such, not "
                                 f"{type(event).__name__}")
        self.at_start = not own
        self.name = (own and event.name) or getattr(original(self.condition), "__name__", f"events[{i}]")
        self.direction = float(getattr(event, "direction", 0))
        terminal = getattr(event, "terminal", None) or 0
        if int(terminal) != terminal or terminal < 0:
            raise InputError("solve_ivp: The `terminal` attribute of each event must be a boolean or positive integer.")
        self.count = int(terminal)

    @property
    def active(self):
        """Whether the solve stops there, to end or to change the state."""
        return self.count > 0 or self.reset is not None


def checked_events(events):
    """The :class:`Watched` of ``solve_ivp(events=...)``."""
    if events is None:
        return []
    events = [events] if callable(events) or isinstance(events, Event) else events
    if not isinstance(events, (list, tuple)):
        raise InputTypeError(f"solve_ivp: events must be a function of (t, y, *args), an Event or a list of such, not {events!r}")
    return [Watched(event, i) for i, event in enumerate(events)]


def number_of(value, event):
    """What a condition returned, as a vector of one number."""
    value = stacked(value) if value is not None else None
    value = value if isinstance(value, Tracer) else np.asarray(value)
    if value.dtype.kind == "b":
        raise InputError(f"solve_ivp: the event function {event.name} tells only whether something holds (bool), not how far it is from "
                         f"holding: return a number that goes through zero there, such as y[0] - 0.5 instead of y[0] > 0.5")
    if value.dtype.kind not in "fiu" or int(np.prod(value.shape, dtype=int)) != 1:
        raise InputError(f"solve_ivp: the event function {event.name} must return one real number, not {value.dtype} of shape "
                         f"{tuple(value.shape)}")
    return reshape(value, shape=(1,)) if isinstance(value, Tracer) else np.asarray(value, float).reshape(1)

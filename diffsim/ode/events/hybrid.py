"""What makes a solve one of several stretches: events, scheduled times, switches; and its right-hand side as one stretch sees it."""

import copy
import dataclasses

import numpy as np

from diffsim.core import Tracer
from diffsim.errors import InputError
from diffsim.numpy.rebind import rebound
from diffsim.numpy.stacking import lift
from diffsim.ode.arguments import concrete
from diffsim.prims.elementwise import add, maximum, minimum, sub
from diffsim.prims.layout import basic, concatenate, index, stop_gradient

from .events import checked_events, number_of
from .inputs import Input
from .schedule import checked_schedule
from .switches import Told, listening, same

#: Events of a solve, unless it is told otherwise.
MAX_EVENTS = 10_000
#: Runs of a right-hand side in which it may tell of something new: switches that open the way to switches.
ROUNDS = 16


class Hybrid:
    """Events and scheduled times of a solve, checked.

    Attributes
    ----------
    events : list of Watched
    schedule : list of Timed
    windowed, infused : bool
        Whether the right-hand side may jump at scheduled times; whether something flows into the state.
    switches : int
        How many conditions of ``where_event`` the right-hand side has; known once it has run.
    stops : list of array
        Times at which its inputs are not smooth; likewise.
    claims : list of (array, str)
        Flags that must be set, of values not known yet, and what to say where one is not.
    given : bool
        Whether ``events`` was given, so that the result has ``t_events``.
    limited : bool
        Whether ``max_events`` was given.
    max_events : int
    conditions : Conditions or None
        Set once the right-hand side is traced.
    """

    def __init__(self, events=None, tstops=None, doses=None, max_events=None, args=None):
        self.given, self.events = events is not None, checked_events(events)
        self.claims = []
        self.schedule = checked_schedule(tstops, doses, self.claims)
        self.windowed = tstops is not None
        self.infused = any(item.flow is not None for item in self.schedule)
        self.limited, self.max_events = max_events is not None, MAX_EVENTS if max_events is None else _counted(max_events)
        self.switches, self.conditions, self.heard = 0, None, Told()
        self.stops, self.jumps, self.rounds = [], [], 0
        for given in inputs_in(args):
            self.heard.knots(given.times, given.sided)
        self.learnt()

    @property
    def needed(self):
        """Whether the solve is one of stretches at all."""
        return bool(self.given or self.schedule or self.switches or self.stops)

    def looks_inside(self, t_eval):
        """Whether the steps of its stretches are interpolated: where events lie inside them, or outputs that are not scheduled times."""
        if self.count or not self.needed or t_eval is None:
            return self.count > 0
        times = [concrete(x) for x in (t_eval, *[item.time for item in self.schedule])]
        return any(x is None for x in times) or not np.all(np.isin(times[0], np.array(times[1:])))

    @property
    def ends(self):
        """Whether an event can end the solve, so that its span may have no end."""
        return any(event.count for event in self.events)

    def at(self, schedule, stops):
        """The same with other times and stops."""
        other = copy.copy(self)
        other.schedule, other.stops = schedule, stops
        return other

    @property
    def resets(self):
        """Whether an event changes the state."""
        return any(event.reset is not None for event in self.events)

    @property
    def count(self):
        """Number of functions that are watched."""
        return len(self.events) + self.switches

    def names(self):
        """Of what is watched, for messages."""
        return [f"the event {e.name}" for e in self.events] + [f"the condition of where_event number {i}" for i in range(self.switches)]

    def ways(self):
        """Wanted directions, and whether the solve stops there."""
        return ([e.direction for e in self.events] + [0.0] * self.switches, [e.active for e in self.events] + [True] * self.switches)

    def extras(self, n):
        """Shapes of the parameters that differ between stretches: the window of time, what flows in, the modes."""
        shapes = [((2,), self.windowed), ((n,), self.infused), ((self.switches,), self.switches > 0)]
        return [shape for shape, wanted in shapes if wanted]

    def spread(self, leaves):
        """Leaves as (window, inflow, modes, the user's), None for what there is not."""
        leaves = list(leaves)
        return *[leaves.pop(0) if on else None for on in (self.windowed, self.infused, self.switches > 0)], leaves

    # ------------------------------------------------------------ the right-hand side
    def flat(self, slopes, split, layout):
        """The right-hand side and the conditions as a function of t, the vector of the state and the leaves.

        Parameters
        ----------
        slopes : callable
            ``slopes(t, y, leaves) -> list`` of a vector, or of the two it is the sum of.
        split : Arguments
        layout : Layout
        """
        watched = [(rebound(event.condition), event) for event in self.events]

        def flat(t, y, *leaves):
            window, inflow, modes, own = self.spread(leaves)
            told = Told(y.owner.level if isinstance(y, Tracer) else None, modes)
            now = t if window is None else clamped(t, window)
            told.times, told.given = (now, t), [lift(given.times) for given in inputs_in(split.rebuild(own))]
            with listening(told):
                *parts, f = slopes(now, y, own)
                f = f if inflow is None else add(f, inflow)
            self.heard = told
            g = [number_of(condition(t, layout.argument(y), *split.rebuild(own)), event) for condition, event in watched]
            g += told.conditions
            return [*parts, f] if not g else [*parts, f, g[0] if len(g) == 1 else concatenate(*g, axis=0)]
        return flat

    def learnt(self):
        """Whether the last run of the right-hand side told of switches or jumps not known before; they are from now on."""
        new, self.switches = self.heard.count != self.switches, self.heard.count
        self.rounds += 1
        if self.rounds > ROUNDS:
            raise InputError("Input: its knots are other values each time the right-hand side runs, so that steps cannot stop at them: "
                             "make the Input before the solve, and close over it or hand it over in args")
        for times, jumps in self.heard.inputs:
            known = self.jumps if jumps else self.stops
            if not any(same(times, x) for x in known):
                known.append(times)
                if jumps:
                    self.schedule = self.schedule + checked_schedule(times, None)
                    if concrete(times) is None:
                        self.claims.append((times[1:] > times[:-1], "the times of an Input must increase"))
                    new, self.windowed = True, True
        return new


def inputs_in(args):
    """The :class:`Input` in a pytree of arguments."""
    if isinstance(args, Input):
        return [args]
    if isinstance(args, dict):
        args = list(args.values())
    elif dataclasses.is_dataclass(args) and not isinstance(args, type):
        args = [getattr(args, f.name) for f in dataclasses.fields(args)]
    return [x for part in args for x in inputs_in(part)] if isinstance(args, (list, tuple)) else []


def clamped(t, window):
    """t moved into the window, with the derivative of t: at its ends the right-hand side takes its values from inside."""
    low, high = (index(window, at=basic((2,), (i,))) for i in range(2))
    return add(t, stop_gradient(sub(minimum(maximum(t, low), high), t)))


def _counted(n):
    if not isinstance(n, (int, np.integer)) or n < 1:
        raise InputError(f"solve_ivp: max_events must be a positive whole number, got {n!r}")
    return int(n)

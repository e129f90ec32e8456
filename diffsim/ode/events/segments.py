"""A solve in stretches: from event to event and from one scheduled time to the next.

Each stretch is one solve that starts where the one before has left off (``odeint_until``); the time of an event (``crossing``), what a
reset makes of the state, and what is given at scheduled times are ordinary differentiable operations between stretches. Derivatives of any
order, with respect to states, parameters, thresholds and times, are those of the composition.

The step in which an event happens is a stretch of its own, of one step: what is computed at the event costs no second pass over the others.
"""

import math
import re

import numpy as np

from diffsim.core import Tracer
from diffsim.ode.arguments import concrete
from diffsim.ode.loops.bdf_steps import ORDERS_FROM
from diffsim.ode.loops.erk import COUNTS
from diffsim.ode.loops.marks import marked
from diffsim.ode.loops.watch import COUNT, END, HITS, SIZE, changes
from diffsim.ode.odeint import replay
from diffsim.ode.tableaus import METHODS, Ndf
from diffsim.prims.elementwise import add, sub
from diffsim.prims.layout import basic, concatenate, index, index_set, reshape

from .joined import Piece
from .schedule import by_time, component
from .until import crossing, odeint_until
from .verdict import CROWDED, TOO_MANY, trouble

#: Crossings whose times differ by no more than this many roundings happen at once.
TOGETHER = 8 * float(np.finfo(float).eps)
#: A crossing this close to the last one of its condition, in parts of the time, is the same, found again after a stop.
AGAIN = 1000 * TOGETHER
#: A condition that was crossed is on its surface while it is this small beside its values around the crossing.
ON_SURFACE = 1e-9
#: So many events in a row, each within this part of the span of the one before, are no solution any more.
CLOSE, MANY = 1e-8, 12
#: Steps after a reset begin no longer than this many intervals between the two events before: then events that crowd are not stepped over.
CAREFUL = 64.0
#: Where several events happen at one time, a step this long, in parts of the one they lie in, stands for the way from one to the next. (A
#: power of two leaves the marks of a step as they are; what lies behind is inside the span.)
SHORT = -(2.0 ** -10)
#: A span without end is gone along in parts of this length, each this many times the one before.
ENDLESS, LONGER = 1e3, 10.0


class BecomesSymbolError(Exception):
    """The state is a symbol from now on: a reset has brought in a value of a program that is being traced."""


class Stretches:
    """A solve that goes from stretch to stretch.

    Parameters
    ----------
    problem : Problem
    hybrid : Hybrid
    resets : list of callable or None
        ``reset(t, y) -> y`` of each event, on vectors.
    keep : bool
        Whether states between outputs will be wanted.

    Notes
    -----
    It goes by numbers. Where all times are numbers and nothing is watched, states may be symbols of a program that is being traced.
    """

    def __init__(self, problem, hybrid, resets, keep):
        times = problem.times
        self.problem, self.hybrid, self.conditions, self.keep = problem, hybrid, hybrid.conditions, keep
        self.resets = resets
        self.t, self.y, self.n = times.t0, problem.y0, problem.layout.n
        self.first, self.last = float(concrete(times.t0)), float(concrete(times.t1))
        self.sign = -1.0 if self.last < self.first else 1.0
        self.todo, self.place = by_time(hybrid.schedule, self.first, self.last), 0
        self.user = problem.leaves[len(hybrid.extras(self.n)):]
        self.window, self.flows, self.modes = [-math.inf, math.inf], {}, np.zeros(hybrid.switches)
        self.t_eval = None if times.t_eval is None else np.asarray(concrete(times.t_eval))
        self.rows, self.done, self.pieces, self.moved = [], 0, [], False
        self.traced, self.symbolic = traced(problem, hybrid)
        self.whole = isinstance(METHODS[problem.method], Ndf)
        self.seen, self.crossed = [[] for _ in hybrid.events], np.full(len(hybrid.events), np.nan)
        self.happened, self.chunk, self.latest, self.near = 0, ENDLESS, -math.inf, 0
        self.interval = math.inf
        self.sides = np.zeros((2, hybrid.count))
        self.status, self.counts = None, np.zeros(len(COUNTS), np.int64)
        self.into = [component(item.into, problem.layout) if item.into is not None else None for _, item in self.todo]

    # ------------------------------------------------------------ numbers
    @property
    def now(self):
        return float(concrete(self.t))

    def before(self, a, b):
        """Whether time a comes before b."""
        return self.sign * a < self.sign * b

    def leaves(self):
        """The parameters of the stretch that begins now."""
        hybrid, extra = self.hybrid, []
        if hybrid.windowed:
            extra.append(np.array(self.window))
        if hybrid.infused:
            inflow = np.zeros(self.n)
            for rate, i in self.flows.values():
                inflow = add(inflow, single(rate, i, self.n))
            extra.append(inflow)
        if hybrid.switches:
            extra.append(self.modes.copy())
        return [*extra, *self.user]

    # ------------------------------------------------------------ going along
    def run(self):
        """Go from the start to the end, or to the event that ends the solve."""
        if self.t_eval is not None:                           # outputs at the very start are the state before anything happens there
            at_start = int(np.sum(self.t_eval == self.first))
            self.rows += [reshape(self.y, shape=(1, self.n))] * at_start
            self.done = at_start
        self.due(np.nextafter(self.first, -self.sign * math.inf))
        if not self.apart(self.first):
            self.due(self.first)
        self.settle({})
        while self.apart(self.first):
            self.stretch()                                    # of no length: what is given at the start may come later, if not earlier
        self.starts()
        while self.status is None:
            if self.now == self.last and not self.apart(self.last):
                self.status = 0
            else:
                self.stretch()
        if self.keep and not self.pieces:                     # no time at all: dense output is the state there
            self.piece(self.t, np.float64(0.0), self.y, np.zeros(0), self.leaves())

    def apart(self, value):
        """Whether something is due at a time that is this one, but moves by itself."""
        return self.place < len(self.todo) and self.todo[self.place][0] == value and isinstance(self.todo[self.place][1].time, Tracer)

    def goal(self):
        """The time to go to next, maybe traced, and its number."""
        if self.place < len(self.todo) and not self.before(self.last, self.todo[self.place][0]):
            value, item = self.todo[self.place]
            return item.time, value
        if math.isinf(self.last):
            length, self.chunk = self.chunk, self.chunk * LONGER
            return add(self.t, self.sign * length), self.now + self.sign * length
        return self.problem.times.t1, self.last

    def due(self, value):
        """Apply what is scheduled up to a time; at that time, up to something whose time moves by itself."""
        low, high = self.window[::int(self.sign)]
        dosed = any(item.amount is not None and not self.before(value, when) for when, item in self.todo[self.place:])
        before, first = self.values() if self.hybrid.events and dosed else None, self.place
        while self.place < len(self.todo) and not self.before(value, self.todo[self.place][0]):
            (when, item), i = self.todo[self.place], self.into[self.place]
            if self.place > first and self.apart(value):
                break
            if item.amount is not None:
                self.y, self.moved = add(self.y, single(item.amount, i, self.n)), True
            elif item.flow is not None:
                key, rate = item.flow
                self.flows.pop(key, None)
                if rate is not None:
                    self.flows[key] = rate, i
            else:
                low = np.nextafter(when, self.sign * math.inf)
            self.place += 1
        later = [when for when, item in self.todo[self.place:] if item.into is None]
        high = np.nextafter(later[0], -self.sign * math.inf) if later else self.sign * math.inf
        self.window = [low, high][::int(self.sign)]
        if before is not None:
            self.leap(before)

    def stretch(self):
        """One solve: up to an event, or to the next scheduled time."""
        problem, leaves, t, y = self.problem, self.leaves(), self.t, self.y
        goal, value = self.goal()
        span, m = sub(goal, t), self.wanted(value)
        sigma = concatenate(*([sub(self.outputs(m), t)] if m else []), reshape(span, shape=(1,)), axis=0)
        ys, record, news = odeint_until(
            t, span, y, sigma, self.stops(value), self.sides, *leaves, system=problem.system, method=problem.method,
            control=problem.begun(self.now), conditions=self.conditions, probe=None, keep=self.keep,
            checkpoint=problem.policy if self.traced else None)
        size, end, h = len(concrete(sigma)), float(concrete(span)), 0.0
        if not self.symbolic:
            problem.ended(record)
            news = np.asarray(news)
            end, h = news[END], news[SIZE]
            self.counts += record.counts
        self.piece(t, span if not h and abs(end) == abs(float(concrete(span))) else end, y, record, leaves)
        inside = int(np.sum(np.abs(concrete(sigma)[:-1]) <= abs(end)))
        self.take(ys, inside)
        if self.hybrid.events:
            self.note(news, self.pieces[-1], 0.0, abs(end))
        if h and self.whole:
            self.event(t, y, leaves, news)
            return
        y = index(ys, at=basic((size, self.n), (size - 1, slice(None))))
        if h:
            self.event(add(t, end), y, leaves, news)
        elif abs(end) < abs(float(concrete(span))):           # there was no room to write down more crossings
            self.t, self.y = add(t, end), y
        else:
            self.t, self.y = goal, y
            self.due(value)
            self.settle({})

    def piece(self, *what):
        """One more piece of the solution."""
        self.pieces.append(Piece(*what, self.moved))
        self.moved = False

    def event(self, t, y, leaves, news):
        """The step of size news[SIZE] in which active conditions change their signs.

        It begins at t with the state y; where steps cannot be taken by themselves (``whole``), these are where the stretch begins.
        """
        count, h = self.conditions.count, news[SIZE]
        mesh, shift = np.array([h]), 0.0
        if self.whole:
            before = self.pieces.pop()
            mesh, shift, self.moved = before.mesh, news[END], before.jumped
        self.instant = np.array([marked(SHORT * h, ORDERS_FROM + 1) if self.whole else SHORT * h])
        hits, sizes = shift + news[HITS:HITS + count], news[HITS + count:HITS + 2 * count]
        when = float(concrete(t))
        earliest = np.min(np.abs(hits))
        together = TOGETHER * max(abs(when + shift), abs(when + self.sign * earliest))
        which = [g for g in range(count) if abs(hits[g]) - earliest <= together]
        first = which[0]
        static = {"system": self.problem.system, "method": self.problem.method}
        sigma = crossing(hits[first:first + 1], mesh, sizes[first:first + 1] / h, t, y, *leaves, conditions=self.conditions,
                         which=first, **static)
        tau = add(t, index(sigma, at=basic((1,), (0,))))
        m = self.wanted(float(concrete(tau)))
        inside = concatenate(*([sub(self.outputs(m), t)] if m else []), sigma, axis=0)
        ys, _ = replay(mesh, t, y, inside, *leaves, rate=0, **static)
        self.piece(t, index(sigma, at=basic((1,), (0,))), y, mesh, leaves)
        self.take(ys, m)
        self.note(news, self.pieces[-1], abs(news[END]), abs(news[END] - shift + hits[first]) + together)
        self.t, self.y = tau, index(ys, at=basic((m + 1, self.n), (m, slice(None))))
        self.happens(which, {g: sizes[g] for g in which})

    # ------------------------------------------------------------ outputs
    def wanted(self, value):
        """How many outputs lie between those taken and a time."""
        if self.t_eval is None:
            return 0
        return int(np.searchsorted(self.sign * self.t_eval, self.sign * value, side="right")) - self.done

    def outputs(self, m):
        """The next m output times."""
        t_eval = self.problem.times.t_eval
        return index(t_eval, at=basic(tuple(map(int, t_eval.shape)), (slice(self.done, self.done + m),)))

    def take(self, ys, m):
        """The first m rows are outputs."""
        if m and self.t_eval is not None:
            self.rows.append(index(ys, at=basic(tuple(map(int, ys.shape)), (slice(0, m), slice(None)))))
            self.done += m

    def stops(self, value):
        """Times relative to now at which the inputs are not smooth, up to the end of the stretch."""
        now = self.now
        knots = [np.ravel(np.asarray(concrete(x), float)) for x in self.hybrid.stops]
        knots = np.unique(np.concatenate(knots)) if knots else np.zeros(0)
        sigma = knots[(self.sign * knots > self.sign * now) & (self.sign * knots < self.sign * value)] - now
        if self.hybrid.resets:
            sigma = np.append(sigma, self.sign * CAREFUL * self.interval)
        return self.sign * np.sort(self.sign * sigma)

    # ------------------------------------------------------------ events
    def note(self, news, piece, low, high):
        """Crossings written down between two times of the stretch (parts of its length, signs aside), which lie in ``piece``."""
        found = news[HITS + 2 * self.conditions.count:].reshape(-1, 3)[:int(news[COUNT])]
        shift = 0.0 if self.whole else math.copysign(low, piece.end)
        for g in range(len(self.hybrid.events)):
            mine = found[found[:, 0] == g]
            far = np.abs(mine[:, 1])
            mine = mine[((far > low) | (low == 0.0)) & (far <= high)]
            if not len(mine) or self.hybrid.events[g].active:
                continue
            mine = self.unseen(g, mine, float(concrete(piece.t)) - shift)
            if not len(mine):
                continue
            at, level = mine[:, 1] - shift, mine[:, 2].copy()
            static = {"system": self.problem.system, "method": self.problem.method}
            sigma = crossing(at, piece.mesh, level, piece.t, piece.y, *piece.leaves, conditions=self.conditions, which=g,
                             **static)
            ys, _ = replay(piece.mesh, piece.t, piece.y, sigma, *piece.leaves, rate=0, **static)
            self.seen[g].append((add(sigma, piece.t), ys))
            self.tally(g, at.size)

    def unseen(self, g, mine, start):
        """Those of the crossings that are not the one taken last, where another event stopped the solve at the same time."""
        when = start + mine[:, 1]
        mine = mine[~(np.abs(when - self.crossed[g]) <= AGAIN * np.maximum(np.abs(when), abs(self.crossed[g])))]
        if len(mine):
            self.crossed[g] = start + mine[-1, 1]
        return mine

    def happens(self, which, sizes):
        """Active conditions change their signs now: resets, the end, modes."""
        events, before = self.hybrid.events, None
        for i, g in enumerate(which):
            if i:
                self.onward(g, sizes[g])
            if g >= len(events):
                self.modes[g - len(events)] = 1.0 - self.modes[g - len(events)]
            elif events[g].active:
                before = self.values() if before is None and events[g].reset is not None else before
                self.occurs(g)
        self.crowd(which[0])
        self.tally(which[0], len(which))
        if self.status is None and before is not None:
            self.leap(before, which)
        if self.status is None:
            self.settle(sizes)

    def onward(self, g, size):
        """From one event to another at the same time, whose time moves by itself: of no length, unless the first led elsewhere."""
        if not self.traced or abs(self.values()[g]) > ON_SURFACE * size:
            return
        static = {"system": self.problem.system, "method": self.problem.method}
        sigma = crossing(np.zeros(1), self.instant, np.array([size / self.instant[0]]), self.t, self.y, *self.leaves(),
                         conditions=self.conditions, which=g, **static)
        ys, _ = replay(self.instant, self.t, self.y, sigma, *self.leaves(), rate=0, **static)
        self.t, self.y = add(self.t, index(sigma, at=basic((1,), (0,)))), reshape(ys, shape=(self.n,))

    def occurs(self, g):
        """Event number g happens now."""
        event = self.hybrid.events[g]
        self.seen[g].append((reshape(self.t, shape=(1,)), reshape(self.y, shape=(1, self.n))))
        if event.reset is not None:
            self.y, self.moved = self.resets[g](self.t, self.y), True
            if concrete(self.y) is None:
                raise BecomesSymbolError
            self.traced = self.traced or isinstance(self.y, Tracer)
        if event.count and sum(int(t.shape[0]) for t, _ in self.seen[g]) >= event.count:
            self.status = 1

    def leap(self, before, fired=()):
        """Events over whose surfaces the state has just jumped happen now; so do those over which their resets make it jump.

        Parameters
        ----------
        before : array, shape (count,)
            Conditions before the jump.
        fired : list of int
            Those that have happened and made it jump.
        """
        while self.status is None:
            now, events = self.values(), self.hybrid.events
            if abs(self.now - self.latest) <= AGAIN * abs(self.now):           # what has happened just now is on its surface
                before = np.where(np.abs(before) <= self.sides[0], 0.0, before)
            fired = [g for g in range(len(events)) if g not in fired and changes(before[g], now[g], events[g].direction)]
            if not fired:
                return
            before = now
            for g in fired:
                self.occurs(g)
            self.crowd(fired[0])
            self.tally(fired[0], len(fired))

    def crowd(self, g):
        """SolveError if events follow each other without end."""
        now = self.now
        span = abs(self.last - self.first) if math.isfinite(self.last) else 1.0
        self.interval, self.latest = abs(now - self.latest), now
        self.near = self.near + 1 if self.interval <= CLOSE * max(span, abs(now)) else 0
        if self.near >= MANY:
            raise self.trouble(CROWDED, g)

    def tally(self, g, n):
        self.happened += n
        if self.happened > self.hybrid.max_events:
            raise self.trouble(TOO_MANY, g)

    def trouble(self, status, g):
        return trouble(status, self.hybrid.names()[g], self.hybrid.max_events, self.now, self.first, self.last)

    def named(self, error):
        """An error of a stretch, in the user's words: the span is that of the whole solve."""
        text = re.sub(r"(?<= of )\S+ to \S+(?=: )", f"{self.first:.6g} to {self.last:.6g}", str(error), count=1)
        error.args = (text,)
        return self.problem.named(error)

    def settle(self, sizes):
        """Before a stretch: on which side of zero conditions are.

        Parameters
        ----------
        sizes : dict
            Conditions that have just changed their signs, to the sizes of their values around.
        """
        hybrid, first = self.hybrid, len(self.hybrid.events)
        self.sides = np.zeros((2, hybrid.count))
        for g, size in sizes.items():
            self.sides[0, g] = ON_SURFACE * size
        if not hybrid.switches:
            return
        for _ in range(hybrid.switches + 1):                  # a switch may depend on those before it
            g = self.values()[first:]
            on = np.abs(g) <= self.sides[0, first:]
            fired = np.isin(np.arange(len(g)) + first, list(sizes))
            modes = np.where(on & fired, self.modes, (g > 0) * 1.0)
            if np.array_equal(modes, self.modes):
                break
            self.modes = modes
        self.sides[0, first:] = np.maximum(self.sides[0, first:], np.finfo(float).tiny)
        self.sides[1, first:] = np.where(self.modes > 0, 1.0, -1.0) * self.sides[0, first:]

    def values(self):
        """Conditions now, as numbers."""
        return np.asarray(self.conditions.call(np.float64(self.now), np.asarray(concrete(self.y)), *map(concrete, self.leaves())))

    def starts(self):
        """SciPy's functions that are zero at the very start are events there."""
        events = self.hybrid.events
        if not any(event.at_start for event in events):
            return
        g = self.values()
        zero = [i for i, event in enumerate(events) if event.at_start and g[i] == 0.0 and event.direction in (0.0, self.rising(i))]
        for i in zero:
            self.seen[i].append((reshape(self.t, shape=(1,)), reshape(self.y, shape=(1, self.n))))
            self.happened += 1
            if events[i].count == 1:
                self.status = 1

    def rising(self, i):
        """Sign of the change of condition number i along the solution from now on."""
        leaves = [np.asarray(concrete(x)) for x in self.leaves()]
        t, y = np.float64(self.now), np.asarray(concrete(self.y))
        h = self.sign * 1e-7 * max(abs(self.last - self.first) if math.isfinite(self.last) else 1.0, abs(t))
        y_next = y + h * np.asarray(self.problem.system.slopes(t, y, *leaves))
        return float(np.sign(np.asarray(self.conditions.call(t + h, y_next, *leaves))[i]))


def traced(problem, hybrid):
    """Whether anything of a solve is a tracer, and whether anything is a symbol without a number."""
    some, symbolic = problem.traced
    more = [x for item in hybrid.schedule for x in (item.time, item.amount, item.flow and item.flow[1])] + hybrid.stops
    more = [x for x in more if isinstance(x, Tracer)]
    return some or bool(more), symbolic or any(concrete(x) is None for x in more)


def single(x, i, n):
    """A vector of zeros but for one component."""
    if not isinstance(x, Tracer):
        return np.where(np.arange(n) == i, np.asarray(x, float), 0.0)
    return index_set(np.zeros(n), x, at=basic((n,), (i,)))

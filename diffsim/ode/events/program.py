"""A solve in stretches as one loop of a program: no call back into Python, however many events there are and whenever they happen.

A round of the loop is either a stretch, up to an event or to the next scheduled time, or what happens at one time: resets, and the events
over whose surfaces they make the state jump. It does what ``segments.py`` does on numbers, round by round, with the same primitives; its
derivatives are those of a loop.
"""

import numpy as np

from diffsim.control.bodies import interned
from diffsim.control.cond import branches_of
from diffsim.control.cond import switch as switch_p
from diffsim.control.loops import NOT_KEPT, while_
from diffsim.core import Graph, Tracer, Var, aval_of, bind
from diffsim.ode.loops.erk import SLACK
from diffsim.ode.loops.watch import END, HITS, SIZE
from diffsim.ode.odeint import replay
from diffsim.ode.tableaus import METHODS, Ndf
from diffsim.prims.layout import stop_gradient
from diffsim.transforms import trace

from .inputs import row
from .schedule import component
from .segments import AGAIN, CAREFUL, CLOSE, MANY, ON_SURFACE, SHORT, TOGETHER, single
from .until import crossing, odeint_until
from .verdict import CLAIMS, CROWDED, ENDED, GOES_ON, REACHED, TOO_MANY, sound

#: Switches that are settled round by round of a loop that is written out; more are left to calls back.
SWITCHES = 8


def closed(functions, avals):
    """Graphs of functions of one signature, and what they take from outside, which comes behind their own inputs."""
    parts, outer = [trace(f, avals, verb="solve_ivp") for f in functions], []
    for _, captured in parts:
        outer += [x for x in captured if not any(x is other for other in outer)]
    graphs = []
    for graph, captured in parts:
        inputs = list(graph.inputs[:len(avals)])
        own = {id(x): v for x, v in zip(captured, graph.inputs[len(avals):], strict=True)}
        inputs += [own.get(id(x)) or Var(aval_of(x)) for x in outer]
        graphs.append(Graph(inputs, graph.eqns, graph.outputs))
    return graphs, outer


def choice(flag, yes, no, *operands):
    """``yes(*operands)`` where a flag is set, else ``no(*operands)``: lists of values, of which one is computed."""
    graphs, outer = closed([no, yes], [aval_of(x) for x in operands])
    return bind(switch_p, [np.where(flag, 1, 0), *operands, *outer], {"branches": branches_of(graphs)})


def repeated(going, step, start):
    """``start = step(*start)`` as long as ``going(*start)``."""
    (test, body), outer = closed([lambda *x: [going(*x)], step], [aval_of(x) for x in start])
    body = Graph(body.inputs, body.eqns, [*body.outputs, *body.inputs[len(start):]])
    return bind(while_, [*start, *outer], {"cond": interned(test), "body": interned(body), **NOT_KEPT})[:len(start)]


def suits(problem, hybrid, rooms):
    """Whether a solve can be such a loop: what is watched is known as a graph, its crossings are not written down, and its span ends."""
    if problem.system.graph is None or (hybrid.count and hybrid.conditions.graph is None) or hybrid.switches > SWITCHES:
        return False
    if hybrid.count and isinstance(METHODS[problem.method], Ndf):              # its steps cannot be taken by themselves
        return False
    t1 = problem.times.t1
    if not isinstance(t1, Tracer) and np.isinf(t1):
        return False
    if any(room and not event.active for event, room in zip(hybrid.events, rooms, strict=True)):
        return False
    dosed = any(item.amount is not None for item in hybrid.schedule)
    return not (dosed and any(event.at_start and event.active for event in hybrid.events))


class Loop:
    """A solve in stretches as a loop.

    Parameters
    ----------
    problem : Problem
    hybrid : Hybrid
    resets : list of callable or None
    rooms : list of int
        How many occurrences of each event are kept.
    """

    def __init__(self, problem, hybrid, resets, rooms):
        self.problem, self.hybrid, self.resets, self.rooms = problem, hybrid, resets, rooms
        times, self.n, self.conditions = problem.times, problem.layout.n, hybrid.conditions
        self.t0, self.t1 = times.t0, times.t1
        self.m, self.g, self.e = int(times.t_eval.shape[0]), hybrid.count, len(hybrid.events)
        self.user = problem.leaves[len(hybrid.extras(self.n)):]
        self.sign = np.where(self.t1 < self.t0, -1.0, 1.0)
        self.t_eval = self.outputs(times.t_eval)
        self.claims += hybrid.claims
        self.plan()

    def outputs(self, t_eval):
        """Output times, of which rounding has put none outside the span."""
        first, last = self.sign * (t_eval - self.t0), self.sign * (t_eval - self.t1)
        slack = SLACK * np.abs(self.t1 - self.t0)
        order = self.sign * (t_eval[1:] - t_eval[:-1]) >= -slack
        self.claims = [((first >= -slack) & (last <= slack), "t_eval must lie between t_span[0] and t_span[1]"),
                       (order, "t_eval must be sorted from t_span[0] to t_span[1]")]
        return np.where(first < 0.0, self.t0, np.where(last > 0.0, self.t1, t_eval))

    def plan(self):
        """What is scheduled, in the order of its times."""
        items = self.hybrid.schedule
        self.k = len(items)
        if not items:
            return
        times = np.stack([1.0 * item.time for item in items])
        order = np.argsort(self.sign * times, kind="stable")
        self.times, self.place_of = row(times, order), np.argsort(order)
        into = [None if item.into is None else component(item.into, self.problem.layout) for item in items]
        amounts = [np.zeros(self.n) if item.amount is None else single(item.amount, i, self.n)
                   for item, i in zip(items, into, strict=True)]
        inside = self.sign * (times - self.t0) >= 0.0
        self.jumps = np.where(inside[:, None], np.stack(amounts), 0.0)
        self.jumps = np.stack([row(self.jumps[:, i], order) for i in range(self.n)], axis=1)
        if any(item.into is not None for item in items):
            self.claims.append((self.sign > 0.0, "doses are given as time goes on, but t_span goes back in time"))
        starts = {item.flow[0]: (j, single(item.flow[1], i, self.n)) for j, (item, i) in enumerate(zip(items, into, strict=True))
                  if item.flow is not None and item.flow[1] is not None}
        ends = {item.flow[0]: j for j, item in enumerate(items) if item.flow is not None and item.flow[1] is None}
        self.infusions = [(start, ends[key], rate) for key, (start, rate) in starts.items()]
        self.halts = np.array([j for j, item in enumerate(items) if item.into is None], int)

    # ------------------------------------------------------------ what a stretch is told
    def leaves(self, place, modes):
        """The parameters of the stretch after ``place`` scheduled things."""
        hybrid, extra = self.hybrid, []
        if hybrid.windowed:
            extra.append(self.window(place))
        if hybrid.infused:
            inflow = np.zeros(self.n)
            for start, end, rate in self.infusions:
                inflow = inflow + np.where((self.place_of[start] < place) & (self.place_of[end] >= place), rate, 0.0)
            extra.append(inflow)
        if hybrid.switches:
            extra.append(modes)
        return [*extra, *self.user]

    def window(self, place):
        """From just after the last stop to just before the next one: in which the right-hand side is smooth."""
        at, behind = stop_gradient(self.times)[self.place_of[self.halts]], self.place_of[self.halts] < place
        ulp = np.abs(at) * np.finfo(float).eps + 1e-300
        low = np.max(np.where(behind, self.sign * at + ulp, -np.inf))
        high = np.min(np.where(behind, np.inf, self.sign * at - ulp))
        return np.where(self.sign > 0, np.stack([low, high]), np.stack([-high, -low]))

    def values(self, t, y, leaves):
        """Conditions now, without derivatives."""
        return self.conditions.call(stop_gradient(t), stop_gradient(y), *map(stop_gradient, leaves))

    def settled(self, t, y, place, modes, sizes):
        """Modes, and on which side of zero conditions are, before a stretch; ``sizes`` are those of what has just happened."""
        near, first = ON_SURFACE * sizes, self.e
        if not self.hybrid.switches:
            return modes, np.stack([near, np.zeros(self.g)])
        for _ in range(self.hybrid.switches + 1):
            g = self.values(t, y, self.leaves(place, modes))[first:]
            modes = np.where((np.abs(g) <= near[first:]) & (sizes[first:] > 0.0), modes, np.where(g > 0.0, 1.0, 0.0))
        near = np.concatenate([near[:first], np.maximum(near[first:], np.finfo(float).tiny)])
        sides = np.concatenate([np.zeros(first), np.where(modes > 0.5, 1.0, -1.0) * near[first:]])
        return modes, np.stack([near, sides])

    def stops(self, t, interval):
        """Times relative to t at which inputs are not smooth, and where steps after a reset end at the latest."""
        knots = [np.ravel(np.asarray(x, float)) - t for x in self.hybrid.stops]
        if self.hybrid.resets:
            knots.append(np.reshape(self.sign * CAREFUL * interval, (1,)))
        return self.sign * np.sort(self.sign * stop_gradient(np.concatenate(knots))) if knots else np.zeros(0)

    def clear(self, before, t, memory, sides):
        """Conditions before a jump: of what has happened just now, zero."""
        recent = np.abs(t - memory[2]) <= AGAIN * np.abs(t)
        return np.where(recent & (np.abs(before) <= sides[0]), 0.0, before)

    def changed(self, before, now):
        """Which events' conditions change their signs in the wanted directions: as ``watch.changes``."""
        way = np.array([event.direction for event in self.hybrid.events])
        up = (before[:self.e] < 0.0) & (now[:self.e] >= 0.0) & (way >= 0.0)
        return up | ((before[:self.e] > 0.0) & (now[:self.e] <= 0.0) & (way <= 0.0))

    # ------------------------------------------------------------ rounds
    def run(self):
        """Outputs, then the times and the states of each event; NaN where there are none."""
        e, m, n = self.e, self.m, self.n
        out = np.where((self.t_eval == self.t0)[:, None], 1.0 * self.problem.y0, np.nan) + np.zeros((m, n))
        t0, y0 = 1.0 * self.t0, 1.0 * self.problem.y0
        kept = [x for room in self.rooms for x in (np.full(room, np.nan), np.full((room, n), np.nan))]
        fired = np.concatenate([self.starts(), np.zeros(self.hybrid.switches)])
        start = [t0, y0, np.int64(0), np.zeros(self.hybrid.switches), fired, np.zeros(self.g), np.zeros((2, self.g)), np.zeros(e),
                 np.array([0.0, 0.0, -np.inf, np.inf, -1.0, 0.0]), out, self.kept_claims(), *kept]

        def step(*x):
            stretch = [self.stretch, self.happens]
            return choice(np.any(x[4] > 0.0), stretch[1], stretch[0], *x) if self.g else stretch[0](*x)

        avals = [aval_of(x) for x in start]
        end = repeated(lambda *x: x[10] == GOES_ON, lambda *x: [_like(v, a) for v, a in zip(step(*x), avals, strict=True)],
                       [x if isinstance(x, Tracer) else np.asarray(x) for x in start])
        told = [1.0 * end[10], end[0], end[8][4], 1.0 * self.t0, 1.0 * self.t1]
        return sound(*told, end[9], *end[11:], names=tuple(self.hybrid.names()), limit=self.hybrid.max_events,
                     claims=tuple(what for _, what in self.claims))

    def kept_claims(self):
        """GOES_ON, or the number of what does not hold."""
        status = np.int64(GOES_ON)
        for i, (flags, _) in enumerate(self.claims):
            status = np.where(np.all(flags), status, CLAIMS + i)
        return status

    def starts(self):
        """SciPy's functions that are zero at the very start and end the solve are events there."""
        ends = np.array([event.at_start and event.active for event in self.hybrid.events])
        if not np.any(ends):
            return np.zeros(self.e)
        t, y = stop_gradient(1.0 * self.t0), stop_gradient(self.problem.y0)
        modes = np.zeros(self.hybrid.switches)
        modes, _ = self.settled(t, y, np.int64(0), modes, np.zeros(self.g))
        leaves = [stop_gradient(x) for x in self.leaves(np.int64(0), modes)]
        h = self.sign * 1e-7 * np.maximum(np.abs(self.t1 - self.t0), np.abs(t))
        rising = np.sign(self.values(t + h, y + h * self.problem.system.call(t, y, *leaves), leaves)[:self.e])
        way = np.array([event.direction for event in self.hybrid.events])
        zero = (self.values(t, y, leaves)[:self.e] == 0.0) & ends & ((way == 0.0) | (way == rising))
        return np.where(zero, 1.0, 0.0)

    def stretch(self, t, y, place, modes, fired, sizes, sides, counts, memory, out, status, *kept):
        """One solve, up to an event or to the next scheduled time, and what is due then."""
        sign, m = self.sign, self.m
        due, goal = np.bool_(False), 1.0 * self.t1
        if self.k:
            time = row(self.times, np.minimum(place, self.k - 1))
            due = (place < self.k) & (sign * time <= sign * self.t1)
            goal = np.where(due, np.where(sign * time < sign * t, t, time), goal)
        modes, sides = self.settled(t, y, place, modes, sizes)
        leaves, span = self.leaves(place, modes), goal - t
        wanted = self.t_eval - t
        wanted = np.where(sign * wanted > 0.0, np.where(sign * wanted <= sign * span, wanted, span), 0.0)
        ys, _, news = odeint_until(t, span, y, np.concatenate([wanted, np.reshape(span, (1,))]), self.stops(t, memory[3]), sides, *leaves,
                                   system=self.problem.system, method=self.problem.method, control=self.problem.control,
                                   conditions=self.conditions, probe=None, keep=False, checkpoint=self.problem.policy)
        end, h = (news[END], news[SIZE]) if self.g else (stop_gradient(span), np.float64(0.0))
        reached = (h == 0.0) & (np.abs(end) >= np.abs(span))
        far = sign * (self.t_eval - t)
        out = np.where(((far > 0.0) & (far <= np.abs(end)))[:, None], ys[:m], out)
        t, y, sizes = np.where(reached, goal, t + end), ys[m], np.zeros(self.g)
        if self.g:
            t, y, out, fired, sizes = choice(h != 0.0, self.meets, lambda t, y, out, news, *leaves: [t, y, out, *[np.zeros(self.g)] * 2],
                                             t, y, out, news, *leaves)
            memory = np.concatenate([memory[:5], np.reshape(SHORT * h, (1,))])
        if self.k:
            now = reached & due
            jump = np.where(now, row(self.jumps, np.minimum(place, self.k - 1)), 0.0)
            if self.e and any(item.amount is not None for item in self.hybrid.schedule):
                at = self.leaves(place, modes)
                before = self.clear(self.values(t, y, at), t, memory, sides)
                over = np.concatenate([self.changed(before, self.values(t, y + jump, at)), np.zeros(self.hybrid.switches, bool)])
                fired = np.where(over & now, 1.0, fired)
            y, place = y + jump, place + np.where(now, 1, 0)
        status = np.where(reached & np.logical_not(due), REACHED, self.trouble(memory))
        return [t, y, place, modes, fired, sizes, sides, counts, memory, out, status, *kept]

    def meets(self, t, y, out, news, *leaves):
        """The step of size news[SIZE] from t, in which active conditions change their signs: up to the first."""
        g, h = self.g, news[SIZE]
        hits, sizes = news[HITS:HITS + g], news[HITS + g:HITS + 2 * g]
        earliest = np.min(np.abs(hits))
        near = TOGETHER * np.maximum(np.abs(t), np.abs(t + self.sign * earliest))
        together = np.abs(hits) - earliest <= stop_gradient(near)
        first = np.argmax(together)
        static = {"system": self.problem.system, "method": self.problem.method}
        pick = np.where(np.arange(g) == first, 1.0, 0.0)
        mesh = np.reshape(h, (1,))
        sigma = crossing(np.reshape(hits[first], (1,)), mesh, np.reshape(sizes[first] / h, (1,)), t, y, *leaves, pick,
                         conditions=self.conditions, which=None, **static)
        wanted, far = self.t_eval - t, self.sign * (self.t_eval - t)
        mine = (far > 0.0) & (far <= np.abs(sigma[0]))
        wanted = np.where(mine, wanted, np.where(far > 0.0, sigma, 0.0))            # in order, as the way back wants them
        ys, _ = replay(mesh, t, y, np.concatenate([wanted, sigma]), *leaves, rate=0, **static)
        out = np.where(mine[:, None], ys[:self.m], out)
        return [t + sigma[0], ys[self.m], out, np.where(together, 1.0, 0.0), np.where(together, sizes, 0.0)]

    def happens(self, t, y, place, modes, fired, sizes, sides, counts, memory, out, status, *kept):
        """What happens at one time: events are kept, states reset, modes changed; then those over whose surfaces the state has jumped."""
        leaves, before, kept = self.leaves(place, modes), None, list(kept)
        if self.hybrid.resets:
            before = self.clear(self.values(t, y, leaves), t, memory, sides)
        added, jumps = [], np.bool_(False)
        for g, event in enumerate(self.hybrid.events):
            on, at = event.active & (fired[g] > 0.0), counts[g]
            added.append(np.where(on, 1.0, 0.0))
            if not event.active:
                continue
            t, y = self.onward(g, fired, t, y, sizes, memory, leaves)
            if self.rooms[g]:
                here = on & (np.arange(self.rooms[g]) == at)
                kept[2 * g] = np.where(here, t, kept[2 * g])
                kept[2 * g + 1] = np.where(here[:, None], y, kept[2 * g + 1])
            if event.reset is not None:
                (y,) = choice(on, lambda t, y, g=g: [self.resets[g](t, y)], lambda t, y: [1.0 * y], t, y)
                jumps = jumps | on
            if event.count:
                status = np.where(on & (at + 1.0 >= event.count), ENDED, status)
        for g in range(self.e, self.g):
            t, y = self.onward(g, fired, t, y, sizes, memory, leaves)
            modes = np.where((fired[g] > 0.0) & (np.arange(self.e, self.g) == g), 1.0 - modes, modes)
            leaves = self.leaves(place, modes)
        memory = self.told(memory, fired, t)
        trouble = self.trouble(memory)
        again = np.zeros(self.g)
        if before is not None:
            over = self.changed(before, self.values(t, y, leaves)) & (fired[:self.e] <= 0.0) & jumps & (status == GOES_ON)
            again = np.concatenate([np.where(over, 1.0, 0.0), np.zeros(self.hybrid.switches)])
        status = np.where(status == GOES_ON, trouble, status)
        counts = counts + np.stack(added) if added else counts
        return [t, y, place, modes, again, sizes, sides, counts, memory, out, status, *kept]

    def onward(self, g, fired, t, y, sizes, memory, leaves):
        """From what happens before it at the same time to number g, whose time moves by itself: as ``Stretches.onward``."""
        if g == 0:
            return t, y
        static = {"system": self.problem.system, "method": self.problem.method}

        def moved(t, y, short, *leaves):
            mesh = np.reshape(short, (1,))
            sigma = crossing(np.zeros(1), mesh, np.ones(1), t, y, *leaves, conditions=self.conditions, which=g, **static)
            return [t + sigma[0], replay(mesh, t, y, sigma, *leaves, rate=0, **static)[0][0]]
        met = (memory[5] != 0.0) & (fired[g] > 0.0) & np.any(fired[:g] > 0.0)
        on = met & (np.abs(self.values(t, y, leaves)[g]) <= ON_SURFACE * sizes[g])
        return choice(on, moved, lambda t, y, *rest: [1.0 * t, 1.0 * y], t, y, memory[5], *leaves)

    def told(self, memory, fired, t):
        """How many events there were, how many in a row without time between; when, how long after the one before, and which it was.

        Last, the step that stands for the way between what was met at one time (``SHORT``): there is none any more.
        """
        count, t = np.sum(fired > 0.0), stop_gradient(t)
        interval = np.abs(t - memory[2])
        scale = np.maximum(np.abs(stop_gradient(self.t1 - self.t0)), np.abs(t))
        near = np.where(interval <= CLOSE * scale, memory[1] + 1.0, 0.0)
        now = np.stack([memory[0] + count, near, t, interval, 1.0 * np.argmax(fired), 0.0])
        return np.where(count > 0, now, memory)

    def trouble(self, memory):
        """TOO_MANY, CROWDED or GOES_ON."""
        return np.where(memory[1] >= MANY, CROWDED, np.where(memory[0] > self.hybrid.max_events, TOO_MANY, GOES_ON))


def _like(x, aval):
    """A value in the shape and dtype of a carry."""
    x = x if isinstance(x, Tracer) else np.asarray(x)
    assert tuple(x.shape) == aval.shape, (x.shape, aval)
    return x if x.dtype == aval.dtype else x.astype(aval.dtype)

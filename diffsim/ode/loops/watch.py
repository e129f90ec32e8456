"""Watching event functions while a solve steps, and landing on times where the right-hand side is not smooth.

Part of the stepping loops (``erk.py``), in the same subset of Python. An event function is a number of time and state; an event is where it
changes its sign. All of them are looked at on the interpolant of every accepted step, at its end and at ``CHECKS - 1`` places inside, so
that a sign that changes twice within a step is noticed unless it does so between two of these places.

An event function is either *active*, and ends the solve before the step in which it changes its sign, or its crossings are written down.
One that starts on its surface (it has just been crossed, or reset onto) must leave it first: the first step is looked at more
closely, at places that crowd at its start.

``news`` holds, one after the other: the time up to which was solved, the size of the step in which an active function changes its sign (0
if none does), how many crossings were written down; for each function, where in that step it changes its sign first (inf if it does not)
and the size of its values around there; then the crossings written down, each as the function's number, the time
and the mean rate of change around there.

Source of the root finder: Oliveira & Takahashi, ACM Trans. Math. Softw. 47 (2020) 5 (ITP).
"""

import math

from diffsim.codegen.loops import event, row
from diffsim.ode.loops.stepsize import EPS

CHECKS = 4               # equal parts of a step whose ends are looked at
CROWD = 5                # places more in the first step: 2^-20, 2^-16 .. 2^-4 of it
END, SIZE, COUNT, HITS = range(4)


def next_goal(stops, passed, s, sign, span):
    """The next time to land on, of ``stops`` and the span's end; and how many stops lie behind."""
    while passed < stops.shape[0] and stops[passed] * sign <= s * sign:
        passed += 1
    if passed < stops.shape[0] and stops[passed] * sign < span * sign:
        return passed, stops[passed]
    return passed, span


def after_landing(size, before, reaches, passed, stops):
    """The size of the next step: what was cut short to land on a stop does not make the steps after it short."""
    if reaches and stops.shape[0] > passed:
        return max(size, before)
    return size


def rest(o, y, out):
    """All outputs from number ``o`` on become the state y; True."""
    for i in range(o, out.shape[0]):
        for q in range(out.shape[1]):
            out[i, q] = y[q]
    return True


def interpolates(o, sigma, sign, rate, following, landed, recorded, first):
    """Whether a step's interpolant is wanted: for output number o, or later for the derivatives of what is recorded."""
    if recorded and first:
        return sigma.shape[0] > 0
    here = o < sigma.shape[0] and (landed or sigma[o] * sign <= following * sign)
    return here and (recorded or rate > 0 or sigma[o] != following)


def wants_inside(error, end, c, ways, o, sigma, sign, rate, following, landed, n_rec, first):
    """Whether a step is accepted, and its interpolant wants stages of its own."""
    if not error <= 1.0 or c.shape[0] == end + 1:
        return False
    return ways.shape[1] > 0 or interpolates(o, sigma, sign, rate, following, landed, n_rec > 0, first)


def begin_watch(k, t0, y, p, sides, marks, news):
    """Values at the start; one that is no larger than sides[0] counts as sides[1]."""
    if marks.shape[1] == 0:
        return
    event(k, t0, y, p, row(marks, 0))
    for g in range(marks.shape[1]):
        if abs(marks[0, g]) <= sides[0, g]:
            marks[0, g] = sides[1, g]
    news[COUNT] = 0.0


def end_watch(s, sought, news):
    """Write down where the solve ended."""
    if news.shape[0] > 0:
        news[END] = s
        if not sought:
            news[SIZE] = 0.0


def changes(before, after, way):
    """Whether a sign changes in the wanted direction; zero is the end of what was before, and the start of nothing."""
    return (before < 0.0 and after >= 0.0 and way >= 0.0) or (before > 0.0 and after <= 0.0 and way <= 0.0)


def inside(dense, theta, h, y, ks, w, mid):
    """The interpolant at the part ``theta`` of a step."""
    for i in range(w.shape[0]):
        acc = 0.0
        for back in range(dense.shape[1]):
            acc = acc * theta + dense[i, dense.shape[1] - 1 - back]
        w[i] = h * acc * theta
    for q in range(y.shape[0]):
        acc = 0.0
        for i in range(w.shape[0]):
            acc += w[i] * ks[i, q]
        mid[q] = y[q] + acc


def locate(k, g, t, h, a, f_a, b, f_b, dense, y, ks, p, w, mid, values):
    """Part of the step at which function g is 0 between the parts a < b, where its signs differ; down to rounding of the time."""
    tiny = EPS * max(abs(t), abs(t + h)) / abs(h) + EPS * b
    slack, limit, turns = 0.2 / (b - a), tiny, 0
    while limit < 0.5 * (b - a):
        limit, turns = 2.0 * limit, turns + 1
    limit *= 2.0                                         # n0 = 1: one halving more than bisection takes
    while b - a > tiny and f_b != 0.0 and turns > -60:
        half, width = 0.5 * (a + b), b - a
        x = (f_b * a - f_a * b) / (f_b - f_a)
        toward = 1.0 if half >= x else -1.0
        shift = min(slack * width * width, abs(half - x))
        x += toward * max(shift, 0.5 * tiny) if abs(half - x) > 0.5 * tiny else half - x
        reach = max(limit - 0.5 * width, 0.0)
        if abs(x - half) > reach:
            x = half - toward * reach
        limit, turns = 0.5 * limit, turns - 1
        if x <= a or x >= b:
            x = half
        if x <= a or x >= b:
            return b
        inside(dense, x, h, y, ks, w, mid)
        event(k, t + x * h, mid, p, values)
        f = values[g]
        if f == 0.0:
            return x
        if (f > 0.0) == (f_a > 0.0):
            a, f_a = x, f
        else:
            b, f_b = x, f
    return a if abs(f_a) < abs(f_b) else b


def place(i, first):
    """Part of a step at which it is looked at the i-th time, from 1 on."""
    if first:
        return 2.0 ** (4.0 * (i - CROWD - 1)) if i <= CROWD else (i - CROWD) / CHECKS
    return i / CHECKS


def watched(accepted, k, t0, s, h, first, dense, y, new, ks, p, w, mid, ways, sides, marks, news):
    """Look at the step from s of size h, if it is accepted. Returns whether the solve ends before it.

    ``ways`` holds a column for each function: the wanted direction (-1, 0, 1), and 1 if it is active.
    """
    if not accepted or ways.shape[1] == 0:
        return False
    n_g, t, ends, before, count = ways.shape[1], t0 + s, False, 0.0, int(news[COUNT])
    for g in range(n_g):
        news[HITS + g] = math.inf
    for i in range(1, (CHECKS + CROWD if first else CHECKS) + 1):
        theta = place(i, first)
        if theta < 1.0:
            inside(dense, theta, h, y, ks, w, mid)
            event(k, t + theta * h, mid, p, row(marks, 1))
        else:
            event(k, t + h, new, p, row(marks, 1))
        for g in range(n_g):
            now = marks[1, g]
            settled = abs(now) > sides[0, g] or not first
            if settled and changes(marks[0, g], now, ways[0, g]):
                found = locate(k, g, t, h, before, marks[0, g], theta, now, dense, y, ks, p, w, mid, row(marks, 2))
                ends = jot(g, s, h, found * h, max(abs(marks[0, g]), abs(now)), count, ways, news) or ends
                if ways[1, g] <= 0.0:
                    count += 1
            if settled:
                marks[0, g] = now
        before = theta
    if ends:
        news[SIZE] = 0.0                                  # no room for what happens in this step: it is taken anew
        return True
    news[COUNT] = count
    for g in range(n_g):
        if ways[1, g] > 0.0 and news[HITS + g] < math.inf:
            news[SIZE] = h
            return True
    return False


def jot(g, s, h, delta, size, count, ways, news):
    """Write down that function g changes its sign at s + delta; True if there is no room."""
    if ways[1, g] > 0.0:
        if not news[HITS + g] < math.inf:
            news[HITS + g], news[HITS + ways.shape[1] + g] = delta, size
        return False
    at = HITS + 2 * ways.shape[1] + 3 * count
    if at + 2 >= news.shape[0]:
        return True
    news[at], news[at + 1], news[at + 2] = g, s + delta, size / h
    return False


WATCH_SHAPES = {"stops": "n_stops", "ways": "2, G", "sides": "2, G", "marks": "3, G", "news": "n_news"}
#: In the order in which they call each other.
HELPERS = (interpolates, wants_inside, next_goal, after_landing, rest, begin_watch, end_watch, changes, inside, locate, place, jot, watched)

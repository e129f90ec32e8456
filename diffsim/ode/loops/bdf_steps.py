"""One step of a numerical differentiation formula: differences, Newton's iteration, order and size. See ``bdf.py``."""

import math

from diffsim.codegen.loops import base_rhs, row
from diffsim.ode.loops.erk import copy
from diffsim.ode.loops.esdirk_stages import MANY_TURNS, base_jacobian, change, tangents
from diffsim.ode.loops.marks import mark_of, marked
from diffsim.ode.loops.radau_stages import arrived
from diffsim.ode.loops.stepsize import DONE, SINGULAR, UNORDERED, UNSOLVED, joint_error, mean_square
from diffsim.ode.matrices.lu import factor, form, solve, times_mass

SAME, LOWER, HIGHER = 1.2, 1.3, 1.4      # how much smaller a step is made than the estimate of its order allows
LEAST, MOST = 0.1, 10.0                  # factors of the size
UNSOLVED_PART = 0.3                      # of a step without a solution is tried next
ORDERS_FROM = 80                         # mark of order 0


def matrix(now, ratio, r, u, turn):
    """turn = R(ratio) U, which brings differences to steps ``ratio`` times as large. Source: Shampine & Reichelt, section 2.4."""
    for j in range(now + 1):
        r[0, j], u[0, j] = 1.0, 1.0
        for i in range(1, now + 1):
            r[i, j] = r[i - 1, j] * (i - 1 - ratio * j) / i if j > 0 else 0.0
            u[i, j] = u[i - 1, j] * (i - 1.0 - j) / i if j > 0 else 0.0
    for i in range(now + 1):
        for j in range(now + 1):
            acc = 0.0
            for m in range(now + 1):
                acc += r[i, m] * u[m, j]
            turn[i, j] = acc


def rescale(now, taken, h, slope, y, difference, r, u, turn, trial):
    """trial = the differences 0 .. ``now`` at steps of size h; from state and slope if there was no step before."""
    if taken == 0.0:
        for q in range(y.shape[0]):
            trial[0, q] = y[q]
            trial[1, q] = h * slope[q]
    elif taken == h:
        for i in range(now + 1):
            copy(row(difference, i), row(trial, i))
    else:
        matrix(now, h / taken, r, u, turn)
        for i in range(now + 1):
            for q in range(y.shape[0]):
                acc = 0.0
                for j in range(now + 1):
                    acc += turn[j, i] * difference[j, q]
                trial[i, q] = acc


def predict(now, alpha, sums, trial, new, psi, d):
    """The new state and psi with d = 0."""
    for q in range(new.shape[0]):
        acc, known = trial[now, q], sums[now] * trial[now, q]
        for back in range(now):
            acc += trial[now - 1 - back, q]
            known += sums[now - 1 - back] * trial[now - 1 - back, q]
        new[q] = acc
        psi[q] = known / alpha[now]
        d[q] = 0.0


def iterate(k, t, c, p, base, tight, gain, rtol, atol, new, mid, psi, d, r, plan, mass, lu, pivots, z):
    """Newton's iteration for d of the state alone, whose psi becomes M psi.

    Returns the number of turns, negative if it did not arrive, and its last rate.
    """
    n, before, rate = z.shape[0], 0.0, 0.0
    copy(new, mid)
    times_mass(plan, mass, psi, base, n, z, 0)
    for q in range(n):
        psi[base + q] = z[q]
    for turn in range(MANY_TURNS):
        base_rhs(k, t, new, p, r)
        times_mass(plan, mass, d, base, n, z, 0)
        for q in range(n):
            r[base + q] = c * r[base + q] - psi[base + q] - z[q]
        solve(plan, lu, pivots, r, base, z)
        for q in range(base, base + n):
            d[q] += r[q]
            new[q] = mid[q] + d[q]
        size = change(r, new, base, n) if tight else math.sqrt(mean_square(r, new, 1.0, rtol, atol, 0))
        rate = size / before if before > 0.0 else 0.0
        state = arrived(turn, size, before, gain, tight)
        if state != 0:
            return state * (turn + 1), rate
        before = size
    return -MANY_TURNS, rate


def joined(k, t, c, p, base, depth, plan, mass, new, mid, psi, d, r, late, late_lu, late_pivots, z):
    """The tangents' part of a step whose state is known. Returns a status."""
    for q in range(new.shape[0]):
        if q < base or q >= base + z.shape[0]:
            mid[q] -= psi[q]
    status = tangents(k, t, p, c, base, depth, plan, mass, new, mid, d, r, late, late_lu, late_pivots, z)
    for q in range(new.shape[0]):
        if q < base or q >= base + z.shape[0]:
            d[q] -= psi[q]
    return status


def attempt(
    k, t, c, p, base, depth, plan, mass, tight, gain, rtol, atol, new, mid, psi, d, r, lu, pivots, late, late_lu, late_pivots, z,
):  # fmt: skip
    """The new state and d of a step, from what was predicted. Returns a status, the turns and the last rate."""
    turns, rate = iterate(k, t, c, p, base, tight, gain, rtol, atol, new, mid, psi, d, r, plan, mass, lu, pivots, z)
    if turns < 0:
        return UNSOLVED, -turns, rate
    status = DONE
    if depth > 0:
        status = joined(k, t, c, p, base, depth, plan, mass, new, mid, psi, d, r, late, late_lu, late_pivots, z)
    return status, turns, rate


def update(now, new, d, trial, difference):
    """The differences after a step, and one of an order more for the choice of the order."""
    for q in range(new.shape[0]):
        difference[now + 2, q] = d[q] - difference[now + 1, q]
        acc = d[q]
        difference[now + 1, q] = acc
        for back in range(now):
            acc += trial[now - back, q]
            difference[now - back, q] = acc
        difference[0, q] = new[q]


def scaled(now, difference, h, ks):
    """Differences as slopes of the polynomial through the last states, for outputs."""
    for j in range(ks.shape[0]):
        for q in range(ks.shape[1]):
            ks[j, q] = difference[1 + j, q] / h if j < now else 0.0


def norm_of(x, factor, one, est, y, new, rtol, atol, probe_atol, probe_factor):
    """Square of the error norm of ``factor`` x."""
    for q in range(new.shape[0]):
        est[0, q] = factor * x[q]
    return joint_error(one, est, y, new, 1.0, rtol, atol, probe_atol, probe_factor)


def judged(replay, found, now, errors, d, one, est, y, new, rtol, atol, probe_atol, probe_factor):
    """Status and square of the error norm of a step: a repeated one is taken as it is, if its equations have a solution."""
    if replay > 0:
        return found, 0.0
    if found != DONE:
        return DONE, math.inf
    return DONE, norm_of(d, errors[now], one, est, y, new, rtol, atol, probe_atol, probe_factor)


def keep_start(step, room, y, stages):
    """Record the state at the start of a step."""
    for q in range(stages.shape[2]):
        stages[min(step, room), 0, q] = y[q]


def allowed(error, order, caution):
    """Factor of the size that an estimate of an order, given the square of its norm, allows."""
    wanted = caution * error ** (0.5 / (order + 1.0))
    return 1.0 / wanted if wanted > 1.0 / MOST else MOST


def choose(now, equal, size, max_step, error, errors, one, difference, est, y, new, rtol, atol, probe_atol, probe_factor):
    """Order and size after enough steps alike: of the orders around, the one that allows the largest step, if it is larger than now."""
    if equal < now + 2:
        return now, size
    best, order = allowed(error, now, SAME), now
    if now > 1:
        lower = norm_of(row(difference, now), errors[now - 1], one, est, y, new, rtol, atol, probe_atol, probe_factor)
        factor = allowed(lower, now - 1, LOWER)
        if factor > best:
            best, order = factor, now - 1
    if now < difference.shape[0] - 3:
        higher = norm_of(row(difference, now + 2), errors[now + 1], one, est, y, new, rtol, atol, probe_atol, probe_factor)
        factor = allowed(higher, now + 1, HIGHER)
        if factor > best:
            best, order = factor, now + 1
    if best > 1.0 and size < max_step:
        return order, min(max_step, size * best)
    return now, size


def retreat_to(
    now, size, error, again, found, current, errors, one, trial, d, est, y, new, rtol, atol, probe_atol, probe_factor,
):  # fmt: skip
    """Order and size after a step that was refused: half of it if the one before was, too; the same with a newer Jacobian if it was old."""
    if found != DONE:
        return now, size * UNSOLVED_PART if current else size
    if again or not error < math.inf:
        return now, 0.5 * size
    best, order = max(LEAST, allowed(error, now, SAME)), now
    if now > 1:
        for q in range(new.shape[0]):
            est[0, q] = trial[now, q] + d[q]
        lower = norm_of(row(est, 0), errors[now - 1], one, est, y, new, rtol, atol, probe_atol, probe_factor)
        factor = max(LEAST, allowed(lower, now - 1, LOWER))
        if factor > best:
            best, order = factor, now - 1
    return order, size * min(best, 0.9)


def start(ks, slope, difference):
    """Keep the first slope; no differences yet."""
    copy(row(ks, 0), slope)
    for i in range(difference.shape[0]):
        for q in range(difference.shape[1]):
            difference[i, q] = 0.0


def ordered(h, now, taken, replay):
    """The increment marked with its order, and a status: what a solve chose is written to it, what a replay repeats is read from it."""
    if replay == 0:
        return marked(h, ORDERS_FROM + now), now, DONE
    held, highest = mark_of(h) - ORDERS_FROM, now + 1 if taken != 0.0 else 1
    return h, held, DONE if held >= 1 and held <= highest and held <= 5 else UNORDERED


def renew(k, t, new, p, base, c, made, current, plan, mass, values, lu, pivots, z):
    """Jacobian, if it is to be ``current``, and factors, if those at hand are of another c. Returns a status and how many were made."""
    fresh = 0
    if current:
        base_jacobian(k, t, new, p, base, values, z)
        fresh = 1
    if not current and made == c:
        return DONE, fresh, 0
    form(plan, mass, values, c, lu)
    return DONE if factor(plan, lu, pivots) else SINGULAR, fresh, 1

"""One step of a Radau IIA method: starting values, Newton's iteration, tangents, the error estimate. See ``radau.py``."""

import math

from diffsim.codegen.loops import base_rhs, rhs, row, unroll
from diffsim.ode.loops.erk import copy
from diffsim.ode.loops.esdirk_stages import KAPPA, MANY_TURNS, ROUNDING, SETTLED, base_jacobian, change
from diffsim.ode.loops.stepsize import DONE, SINGULAR, UNSOLVED, joint_error, mean_square
from diffsim.ode.matrices.lu import factor, form, level, solve, times_mass
from diffsim.ode.matrices.stage_lu import (
    factor_pair,
    factor_stages,
    form_pair,
    form_stages,
    gather_stages,
    solve_pair,
    solve_stages,
    spread_stages,
)

FEW_TURNS = 7            # iterations before a step counts as unsolved, derivatives not wanted


def arrived(turn, size, before, gain, tight):
    """Whether an iteration has arrived (1), goes on (0) or has failed (-1), from the sizes of its last two changes.

    ``gain`` is what is left after a change, as a part of it, by the rate of the step before.
    """
    if not size < math.inf:
        return -1
    rate = size / before if before > 0.0 else 0.0
    if tight:
        if size <= ROUNDING or (turn > 0 and size <= SETTLED and rate > 0.5):
            return 1
        return -1 if turn == MANY_TURNS - 1 else 0
    if turn == 0:
        return 1 if size * gain <= KAPPA else 0
    if rate >= 1.0:
        return -1
    left = size * rate / (1.0 - rate)
    if left <= KAPPA:
        return 1
    for _ in range(FEW_TURNS - 1 - turn):
        left *= rate
    return -1 if left > KAPPA else 0


def predict(ahead, onto, b, c, before, h, y, base, former, rise, held, states, w):
    """Stages from the polynomial of the step before, of size ``before``; from its end if there was none. The tangents' are ``y``."""
    s, n, ratio = held.shape[0], former.shape[1], 0.0
    if before != 0.0:
        ratio = h / before
    else:
        for i in range(s):
            for q in range(n):
                former[i, q] = 0.0
    for i in range(s):
        unroll()
        theta = 1.0 + c[1 + i] * ratio
        for j in range(s):
            unroll()
            acc = 0.0
            for back in range(s):
                unroll()
                acc = (acc + ahead[j, s - 1 - back]) * theta
            w[j] = before * (acc - b[j])
        copy(y, row(states, i))
        for q in range(n):
            acc = 0.0
            for j in range(s):
                unroll()
                acc += w[j] * former[j, q]
            rise[i, q] = acc
    for i in range(s):
        unroll()
        for q in range(n):
            acc = 0.0
            for j in range(s):
                unroll()
                acc += onto[i, j] * rise[j, q]
            held[i, q] = acc


def correct(basis, y, base, held, rise, states, moved):
    """Z = T W and Y = y + Z; what Z changed by, given in ``moved`` as W's change, becomes Z's."""
    s = held.shape[0]
    for q in range(held.shape[1]):
        for i in range(s):
            unroll()
            acc = 0.0
            for j in range(s):
                unroll()
                acc += basis[i, j] * held[j, q]
            states[i, base + q] = y[base + q] + acc
            moved[i, q] = acc - rise[i, q]
            rise[i, q] = acc


def residual(into, h, base, r, plan, mass, held, moved):
    """moved = h T^-1 a F - M W, F the slopes times M in r."""
    s, n = held.shape[0], held.shape[1]
    for i in range(s):
        times_mass(plan, mass, row(held, i), 0, n, row(moved, i), 0)
    for q in range(n):
        for i in range(s):
            unroll()
            acc = 0.0
            for j in range(s):
                unroll()
                acc += into[i, j] * r[j, base + q]
            moved[i, q] = h * acc - moved[i, q]


def iterate(
    k, basis, into, c, t, h, y, p, base, tight, gain, rtol, atol, rise, held, moved, states, r, plan, mass, lu, pivots, re, im,
    pair_pivots, place, kl, ku, z, u,
):  # fmt: skip
    """Newton's iteration for Z of the state alone. Returns the number of turns, negative if it did not arrive, and its last rate."""
    s, n, before, rate = held.shape[0], held.shape[1], 0.0, 0.0
    for turn in range(MANY_TURNS):
        for i in range(s):
            base_rhs(k, t + c[1 + i] * h, row(states, i), p, row(r, i))
        residual(into, h, base, r, plan, mass, held, moved)
        solve(plan, lu, pivots, row(moved, 0), 0, z)
        solve_pair(re, im, pair_pivots, place, kl, ku, row(moved, 1), row(moved, 2), 0, z, u)
        for i in range(s):
            unroll()
            for q in range(n):
                held[i, q] += moved[i, q]
        correct(basis, y, base, held, rise, states, moved)
        size = 0.0
        for i in range(s):
            if tight:
                copy(row(moved, i), z)
                for q in range(n):
                    u[q] = states[i, base + q]
                size = max(size, change(z, u, 0, n))
            else:
                size = max(size, math.sqrt(mean_square(row(moved, i), y, 1.0, rtol, atol, 0)))
        rate = size / before if before > 0.0 else 0.0
        state = arrived(turn, size, before, gain, tight)
        if state != 0:
            return state * (turn + 1), rate
        before = size
    return -MANY_TURNS, rate


def slopes(inverse, h, rise, base, ks):
    """k = a^-1 Z / h of the state alone."""
    s = rise.shape[0]
    for i in range(s):
        unroll()
        for q in range(rise.shape[1]):
            acc = 0.0
            for j in range(s):
                unroll()
                acc += inverse[i, j] * rise[j, q]
            ks[1 + i, base + q] = acc / h


def true_matrix(k, a, c, t, h, p, base, plan, mass, rows, columns, states, late, wide_kl, wide_ku, wide, wide_pivots, z):
    """Factors of M - h (a_ij J_i) with the Jacobians at the stages; False if it is singular."""
    for i in range(a.shape[0]):
        base_jacobian(k, t + c[1 + i] * h, row(states, i), p, base, row(late, i), z)
    form_stages(plan, mass, late, rows, columns, a, h, wide, wide_kl)
    return factor_stages(wide, wide_pivots, wide_kl, wide_ku)


def tangents(k, a, c, t, h, y, p, base, depth, nb, place, wide_kl, wide_ku, states, ks, r, wide, wide_pivots, long):
    """The tangents' part of the stages of a step whose state is known: level by level the linear system of all their slopes."""
    s = a.shape[0]
    for now in range(1, depth + 1):
        for i in range(s):
            rhs(k, t + c[1 + i] * h, row(states, i), p, row(r, i))
        for block in range(y.shape[0] // nb):
            if level(block, base // nb, depth) == now:
                gather_stages(r, place, block * nb, long)
                solve_stages(wide, wide_pivots, wide_kl, wide_ku, long)
                spread_stages(long, place, block * nb, r)
                for q in range(block * nb, block * nb + nb):
                    for i in range(s):
                        acc = 0.0
                        for j in range(s):
                            acc += a[i, j] * r[j, q]
                        ks[1 + i, q] = r[i, q]
                        states[i, q] = y[q] + h * acc


def attempt(
    k, a, inverse, basis, onto, into, ahead, c, before, t, h, y, p, step, base, depth, rows, columns, kl, ku, wide_kl, wide_ku, tight, gain,
    rtol, atol, stages, ks, new, w, former, rise, held, moved, states, r, plan, mass, lu, pivots, re, im, pair_pivots, late, wide,
    wide_pivots, place, z, u, long,
):  # fmt: skip
    """The slopes of one step and its new state; stage states go to stages[step]. Returns a status, the turns and the last rate."""
    end = a.shape[0]
    predict(ahead, onto, row(a, end - 1), c, before, h, y, base, former, rise, held, states, w)
    for i in range(end):
        for q in range(z.shape[0]):
            states[i, base + q] += rise[i, q]
    turns, rate = iterate(k, basis, into, c, t, h, y, p, base, tight, gain, rtol, atol, rise, held, moved, states, r, plan, mass, lu,
                          pivots, re, im, pair_pivots, place, kl, ku, z, u)
    if turns < 0:
        return UNSOLVED, -turns, rate
    slopes(inverse, h, rise, base, ks)
    if depth > 0:
        if not true_matrix(k, a, c, t, h, p, base, plan, mass, rows, columns, states, late, wide_kl, wide_ku, wide, wide_pivots, z):
            return SINGULAR, turns, rate
        tangents(k, a, c, t, h, y, p, base, depth, z.shape[0], place, wide_kl, wide_ku, states, ks, r, wide, wide_pivots, long)
    copy(row(states, end - 1), new)
    for q in range(stages.shape[2]):
        stages[step, 0, q] = y[q]
        for i in range(1, end):
            stages[step, i, q] = states[i - 1, q]
    return DONE, turns, rate


def estimate(e, h, ks, start, est, work, plan, mass, lu, pivots, z):
    """est[0] = (M - h gamma J)^-1 h (e_0 start + M sum_i e_i k_i): the difference from the embedded method, filtered block by block."""
    for q in range(est.shape[1]):
        acc = 0.0
        for i in range(1, e.shape[0]):
            unroll()
            acc += e[i] * ks[i, q]
        work[q] = acc
    for first in range(0, est.shape[1], z.shape[0]):
        times_mass(plan, mass, work, first, z.shape[0], row(est, 0), first)
        for q in range(first, first + z.shape[0]):
            est[0, q] = h * (e[0] * start[q] + est[0, q])
        solve(plan, lu, pivots, row(est, 0), first, z)


def measure(
    k, e, one, relief, again, t, h, y, p, rtol, atol, probe_atol, probe_factor, ks, new, est, r, plan, mass, lu, pivots, z,
):  # fmt: skip
    """Square of the error norm of a step; if ``again``, one that would be refused is filtered once more, by f at y + estimate."""
    for first in range(0, y.shape[0], z.shape[0]):
        times_mass(plan, mass, row(ks, 0), first, z.shape[0], row(r, 1), first)
    estimate(e, h, ks, row(r, 1), est, row(r, 2), plan, mass, lu, pivots, z)
    error = relief * joint_error(one, est, y, new, 1.0, rtol, atol, probe_atol, probe_factor)
    if error > 1.0 and again:
        for q in range(y.shape[0]):
            r[0, q] = y[q] + est[0, q]
        rhs(k, t, row(r, 0), p, row(r, 1))
        estimate(e, h, ks, row(r, 1), est, row(r, 2), plan, mass, lu, pivots, z)
        error = relief * joint_error(one, est, y, new, 1.0, rtol, atol, probe_atol, probe_factor)
    return error


def factorise(plan, mass, values, rows, columns, gamma, pair_re, pair_im, h, lu, pivots, re, im, pair_pivots, kl, ku):
    """Factors of the real and the complex matrix of a step. Returns a status."""
    form(plan, mass, values, h * gamma, lu)
    form_pair(plan, mass, values, rows, columns, h * pair_re, h * pair_im, re, im, kl)
    regular = factor(plan, lu, pivots) and factor_pair(re, im, pair_pivots, kl, ku)
    return DONE if regular else SINGULAR

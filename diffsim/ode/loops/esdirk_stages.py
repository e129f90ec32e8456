"""Stages of implicit Runge-Kutta methods whose stages follow one another: Newton's iteration, its matrix, the tangents' part.

Part of the stepping loops (``esdirk.py``), in the same subset of Python.
"""

import math

from diffsim.codegen.loops import base_rhs, jac, rhs, row, unroll
from diffsim.ode.loops.erk import copy
from diffsim.ode.loops.stepsize import DONE, SINGULAR, UNSOLVED, mean_square
from diffsim.ode.matrices.lu import factor, form, level, solve, solve_level, times_mass
from diffsim.ode.matrices.plan import BUDGET, RATIO

KAPPA = 1e-2             # part of the tolerance that may be left of an iteration whose derivatives nobody wants
TURNS, MANY_TURNS = 8, 50        # iterations before a stage counts as unsolved: down to KAPPA, down to rounding
ROUNDING = 4 * 2.0**-52  # relative change that ends an iteration down to rounding
SETTLED = 1e-10          # below it an iteration that no longer gains has reached its rounding errors
EXTRA = 4                # turns that a matrix of its own must save a stage beyond what it costs
FAINT = 1e-8             # a component below this part of the largest is measured against that


def change(x, y, first, n):
    """Largest relative change x of y among n components."""
    worst, largest = 0.0, 0.0
    for q in range(first, first + n):
        largest = max(largest, abs(y[q]))
    for q in range(first, first + n):
        size = abs(x[q]) / (abs(y[q]) + FAINT * largest + 1e-300)
        if not size <= worst:
            worst = size
    return worst


def settled(turn, limit, size, before, tight):
    """Whether an iteration has arrived (1), goes on (0) or has failed (-1), from the sizes of its last two changes."""
    rate = size / before if before > 0.0 else 0.0
    if not size < math.inf:
        return -1
    if tight:
        if size <= ROUNDING or (turn > 0 and size <= SETTLED and rate > 0.5):
            return 1
        return -1 if turn == limit - 1 else 0
    if turn == 0:
        return 1 if size <= KAPPA * KAPPA else 0
    if rate < 1.0 and size * rate <= KAPPA * (1.0 - rate):
        return 1
    return -1 if rate >= 1.0 or turn == limit - 1 else 0


def stage(
    k, gamma, a, c, guess, i, t, h, y, p, base, tight, rtol, atol, values, ks, new, mid, rise, r, plan, mass, lu, pivots, z,
):  # fmt: skip
    """Iterate for ``rise`` = h gamma k_i of the state alone; as :func:`iterate`."""
    for q in range(y.shape[0]):
        acc, ahead = 0.0, 0.0
        for j in range(i):
            acc += a[i, j] * ks[j, q]
            ahead += guess[i, j] * ks[j, q]
        mid[q] = y[q] + h * acc
        rise[q] = h * gamma * ahead
        new[q] = mid[q] + rise[q]
    return iterate(k, h * gamma, t + c[i] * h, p, base, tight, rtol, atol, values, new, mid, rise, r, plan, mass, lu, pivots, z)


def iterate(k, scale, t, p, base, tight, rtol, atol, values, new, mid, rise, r, plan, mass, lu, pivots, z):
    """Newton's iteration for ``rise`` in new = mid + rise, M rise = scale f(t, new), of the state alone.

    Where an iteration down to rounding goes slowly, the matrix becomes that of the point reached, for the stages that follow too.
    Returns the number of turns, negative if they did not arrive, and how many matrices were made.
    """
    n, limit, before, made = z.shape[0], MANY_TURNS if tight else TURNS, 0.0, 0
    for turn in range(limit):
        base_rhs(k, t, new, p, r)
        times_mass(plan, mass, rise, base, n, z, 0)
        for q in range(n):
            r[base + q] = scale * r[base + q] - z[q]
        solve(plan, lu, pivots, r, base, z)
        for q in range(base, base + n):
            rise[q] += r[q]
            new[q] = mid[q] + rise[q]
        size = change(r, new, base, n) if tight else math.sqrt(mean_square(r, new, 1.0, rtol, atol, 0))
        state = settled(turn, limit, size, before, tight)
        if state != 0:
            return state * (turn + 1), made
        if tight and made == 0 and not worth_while(turn, turn + plan[RATIO] + EXTRA, size, before, ROUNDING):
            base_jacobian(k, t, new, p, base, values, z)
            form(plan, mass, values, scale, lu)
            if not factor(plan, lu, pivots):
                return -turn - 1, made
            made = 1
        before = size
    return -limit, made


def worth_while(turn, most, size, before, enough):
    """Whether an iteration that falls as its last two changes did is done in ``most`` turns."""
    if turn == 0 or size <= enough:
        return True
    rate = size / before
    return rate < 0.5 and turn + math.log(enough / size) / math.log(rate) <= most


def iterate_tangents(k, t, p, scale, base, depth, plan, mass, enough, new, mid, rise, r, lu, pivots, z):
    """The tangents' part of a stage by iteration with the step's matrix; False where a matrix for the stage is cheaper."""
    n = z.shape[0]
    for now in range(1, depth + 1):
        before, turn, going = 0.0, 0, True
        while going:
            rhs(k, t, new, p, r)
            size = 0.0
            for block in range(new.shape[0] // n):
                if level(block, base // n, depth) == now:
                    times_mass(plan, mass, rise, block * n, n, z, 0)
                    for q in range(n):
                        r[block * n + q] = scale * r[block * n + q] - z[q]
                    solve(plan, lu, pivots, r, block * n, z)
                    for q in range(block * n, block * n + n):
                        rise[q] += r[q]
                        new[q] = mid[q] + rise[q]
                    size = max(size, change(r, new, block * n, n))
            if not worth_while(turn, plan[BUDGET], size, before, enough):
                return False
            going = size > enough and not (size <= SETTLED and turn > 0 and size > 0.5 * before)
            before, turn = size, turn + 1
    return True


def tangents(k, t, p, scale, base, depth, plan, mass, new, mid, rise, r, late, late_lu, late_pivots, z):
    """The tangents' part of a stage whose state is known: level by level a linear system. Returns a status."""
    n = z.shape[0]
    base_jacobian(k, t, new, p, base, late, z)
    form(plan, mass, late, scale, late_lu)
    if not factor(plan, late_lu, late_pivots):
        return SINGULAR
    for now in range(1, depth + 1):
        for block in range(new.shape[0] // n):
            if level(block, base // n, depth) >= now:
                for q in range(block * n, block * n + n):
                    new[q] = mid[q]
        rhs(k, t, new, p, r)
        for block in range(new.shape[0] // n):
            if level(block, base // n, depth) == now:
                for q in range(block * n, block * n + n):
                    rise[q] = scale * r[q]
        solve_level(plan, late_lu, late_pivots, rise, now, base, depth, z)
        for block in range(new.shape[0] // n):
            if level(block, base // n, depth) == now:
                for q in range(block * n, block * n + n):
                    new[q] = mid[q] + rise[q]
    return DONE if late_pivots[n] >= 0 else SINGULAR


def exactness(replay, rtol):
    """Relative change that ends the iteration for a tangent: of a probe, which only steers, and of one that is wanted."""
    return FAINT if replay == 0 and rtol[0] >= 10.0 * FAINT else ROUNDING


def attempt(
    k, gamma, a, c, guess, t, h, y, p, step, base, depth, plan, mass, tight, enough, rtol, atol, values, stages, ks, new, mid, rise,
    r, lu, pivots, late, late_lu, late_pivots, z,
):  # fmt: skip
    """The slopes of one step and its new state; stage states go to stages[step]. Returns a status, the turns and the matrices made."""
    form(plan, mass, values, h * gamma, lu)
    if not factor(plan, lu, pivots):
        return SINGULAR, 0, 1
    turns, made, status = 0, 1, DONE
    for q in range(stages.shape[2]):
        stages[step, 0, q] = y[q]
    for i in range(1, c.shape[0]):
        took, renewed = stage(k, gamma, a, c, guess, i, t, h, y, p, base, tight, rtol, atol, values, ks, new, mid, rise, r, plan, mass, lu,
                              pivots, z)
        turns, made = turns + abs(took), made + renewed
        if took < 0:
            return UNSOLVED, turns, made
        if depth > 0 and not (plan[BUDGET] > 0 and iterate_tangents(
                k, t + c[i] * h, p, h * gamma, base, depth, plan, mass, enough, new, mid, rise, r, lu, pivots, z)):
            status = tangents(k, t + c[i] * h, p, h * gamma, base, depth, plan, mass, new, mid, rise, r, late, late_lu, late_pivots, z)
        if status != DONE:
            return status, turns, made
        for q in range(y.shape[0]):
            ks[i, q] = rise[q] / (h * gamma)
        if i < c.shape[0] - 1:
            for q in range(stages.shape[2]):
                stages[step, i, q] = new[q]
    return DONE, turns, made


def estimate(e, h, filtered, ks, est, r, plan, mass, lu, pivots, z):
    """est[0] = h sum_i e_i k_i, and that filtered by the step's matrix if the method's companion is not damped."""
    n = z.shape[0]
    for q in range(est.shape[1]):
        acc = 0.0
        for i in range(e.shape[0]):
            unroll()
            acc += e[i] * ks[i, q]
        est[0, q] = h * acc
    if filtered > 0:
        copy(row(est, 0), r)
        for first in range(0, est.shape[1], n):
            times_mass(plan, mass, r, first, n, row(est, 0), first)
            solve(plan, lu, pivots, row(est, 0), first, z)


def base_jacobian(k, t, y, p, base, values, z):
    """Entries of the Jacobian of the state without its tangents."""
    for q in range(z.shape[0]):
        z[q] = y[base + q]
    jac(k, t, z, p, values)

"""Stepping loops of ESDIRK methods: forward with recording and replay, and the discrete adjoint.

The same subset of Python and the same conventions as ``erk.py``. The stages of a step of size h from (t, y) are

    Y_i = y + h sum_{j<i} a_ij k_j + h gamma k_i,    M k_i = f(t + c_i h, Y_i),    i = 1 .. S,

k_0 is known from the step before, and Y_S is the new state. Newton's iteration for h gamma k_i keeps one matrix, M - h gamma J(t, y), for
all stages of a step, but for a slow one on its way down to rounding. Of a state with its tangents the state alone is iterated; the
equations of its tangents are linear: solved with the Jacobian at the stage, or iterated with the step's matrix where that is cheaper.

What is recorded, or repeated on given steps, is iterated down to rounding: its derivatives are those of the equations' solution. So are
tangents, and a replay repeats the solve bit for bit, because nothing of an iteration survives its step.

Sources: Hairer & Wanner, Solving Ordinary Differential Equations II, IV.8 (stopping); Kennedy & Carpenter, NASA/TM-2016-219173.
"""

import math

from diffsim.codegen.loops import Loop, pull, row, row3, vjp
from diffsim.ode.loops.backward import arrive, clear, depart, hand_over
from diffsim.ode.loops.erk import (
    STEERED,
    STEERING,
    begin_with_slopes,
    copy,
    gather_outputs,
    observe,
    start_outputs,
    step_outputs,
    tell,
    times_in_order,
    verdict,
    weights,
)
from diffsim.ode.loops.esdirk_stages import (
    ROUNDING,
    SETTLED,
    attempt,
    base_jacobian,
    change,
    estimate,
    exactness,
    iterate,
    iterate_tangents,
    settled,
    stage,
    tangents,
    worth_while,
)
from diffsim.ode.loops.inside import INSIDE, look_inside, within
from diffsim.ode.loops.stepsize import (
    CAREFUL,
    DONE,
    LOG_GROW,
    LOG_KEEP,
    LOG_SMALL,
    SINGULAR,
    error_square,
    exp2,
    first_not_finite,
    first_step_size,
    joint_error,
    log2,
    mean_square,
    modest_first_step,
    next_size,
    note,
    propose,
    start_norm,
    steer,
    worst_component,
)
from diffsim.ode.loops.sweep import KEEPING, KEPT_SIZES, keep_state, put
from diffsim.ode.loops.watch import HELPERS, WATCH_SHAPES, after_landing, begin_watch, end_watch, next_goal, rest, watched
from diffsim.ode.matrices.lu import (
    MATRICES,
    begin_implicit,
    factor,
    form,
    solve_joined_transposed,
    solve_transposed,
    start_cotangents,
    times_mass_transposed,
)
from diffsim.ode.matrices.plan import BUDGET


def forward(
    k, order, t0, span, rtol, probe_factor, first_step, max_step, max_steps, replay, rate, base, depth, everywhere, gamma, filtered, a, c,
    guess, e, one, dense, plan, mass, y, p, atol, probe_atol, pace, sigma, out, mesh, nodes, stages, at, kept, ks, new, w, est, values, mid,
    rise, r, lu, pivots, late, late_lu, late_pivots, z, past, history, counts, last, stops, ways, sides, marks, news,
):  # fmt: skip
    """Integrate from t0 to t0 + span; returns a status.

    Parameters
    ----------
    k, order, t0, span, rtol, probe_factor, first_step, max_step, max_steps, replay, rate, y, p, atol, probe_atol, sigma, out, mesh, nodes
        As in ``erk.forward``.
    base, depth, plan, mass
        As in ``rosenbrock.forward``.
    everywhere : int
        1 if the interpolant must hold in all of a step, not only where there are outputs (``inside.py``).
    gamma, filtered, a, c, guess, e, dense
        The tableau: a number, 0 or 1, shapes (S + 1, S + 1), (S + 1,), (S + 1, S + 1), (S + 1,), (S + 1, degree).
    one : ndarray, shape (1,)
        1.0: the weight of ``est`` in the error norm.
    stages, at, kept
        As in ``erk.forward``, stages of shape (room + 1, S, n_rec).
    ks, new, w, est, values, mid, rise, r, lu, pivots, z : ndarray
        Work: shapes (S + 1, N), (N,), (S + 1,), (1, N), (nnz,), (N,), (N,), (N,), (n_lu,), (nb + 1,) of int, (nb,).
    late, late_lu, late_pivots : ndarray
        Work: the Jacobian at a stage and its factors, as ``values``, ``lu`` and ``pivots``.
    pace, past, history, counts, last, stops, ways, sides, marks, news
        As in ``erk.forward``.

    Returns
    -------
    int
        As ``erk.forward``, or SINGULAR, UNSOLVED: a step to be repeated has no solution that Newton's iteration finds.
    """
    sign, end, n_rec, room, fresh = 1.0 if span > 0.0 else -1.0, c.shape[0] - 1, stages.shape[2], stages.shape[0] - 1, True
    s, h, error, landed, cap, before = nodes[0], 0.0, 0.0, span == 0.0, LOG_GROW, CAREFUL * LOG_SMALL
    accepted, rejected, jacobians, factorisations, tight = 0, 0, 0, 0, replay > 0 or n_rec > 0 or kept.shape[0] > 0
    passed, sought, bears = 0, False, math.inf
    status, worst, o, calls, size = begin_implicit(k, order, t0, s, span, y, p, base, plan, mass, sigma, rate, replay, first_step, max_step,
                                                   rtol, atol, probe_atol, probe_factor, values, r, lu, pivots, z, ks, new, out)
    held = keep_state(0, 0, y, row(ks, 0), at, kept)
    begin_watch(k, t0, y, p, sides, marks, news)
    while status == DONE and not landed:
        passed, goal = next_goal(stops, passed, s, sign, span)
        wanted, size = size, within(size, bears, everywhere, o, sigma, sign, s)
        status, h, size, landed = propose(size, s, goal, replay, mesh, accepted, rejected, max_steps)
        if status == DONE:
            if fresh:
                base_jacobian(k, t0 + s, y, p, base, values, z)
                jacobians, fresh = jacobians + 1, False
            found, turns, made = attempt(k, gamma, a, c, guess, t0 + s, h, y, p, min(accepted, room), base, depth, plan, mass, tight,
                                         exactness(replay, rtol), rtol, atol, values, stages, ks, new, mid, rise, r, lu, pivots, late,
                                         late_lu, late_pivots, z)
            calls, factorisations, fresh = calls + turns, factorisations + made, made > 1      # then the start's Jacobian is lost
            if replay == 0:
                error = math.inf
                if found == DONE:
                    estimate(e, h, filtered, ks, est, r, plan, mass, lu, pivots, z)
                    error = joint_error(one, est, y, new, 1.0, rtol, atol, probe_atol, probe_factor)
                size, remembered = steer(size, error, before, order, cap, pace, past)
                error, bears = look_inside(k, error, bears, everywhere, o, order, gamma, dense, sigma, sign, t0 + s, s, h, y, new, p, rtol,
                                           atol, probe_atol, probe_factor, one, ks, plan, mass, lu, pivots, w, mid, r, est, z)
                note(history, accepted + rejected, s, h, error)
            else:
                status = found
            reaches, following = landed, goal if landed else s + h
            landed = landed and goal == span
            good = error <= 1.0 and status == DONE
            sought = watched(good, k, t0, s, h, s == 0.0, dense, y, new, ks, p, w, mid, ways, sides, marks, news)
            if sought:
                landed = rest(o, y, out)
            elif good:
                o = step_outputs(o, sigma, sign, rate, dense, s, h, following, landed, y, new, ks, w, out)
                if replay == 0:
                    mesh[accepted] = h
                    size, cap, before = min(max_step, after_landing(size, wanted, reaches, passed, stops)), LOG_GROW, remembered
                s, fresh, accepted = following, True, accepted + 1
                nodes[accepted] = s
                copy(new, y)
                copy(row(ks, end), row(ks, 0))
                held = keep_state(accepted, held, y, row(ks, 0), at, kept)
            else:
                rejected, cap, landed = rejected + 1, LOG_KEEP, False
    end_watch(s, sought, news)
    for q in range(n_rec):
        stages[min(accepted, room), 0, q] = y[q]
    status, worst = verdict(status, worst, one, est, y, new, 1.0, rtol, atol, probe_atol, probe_factor)
    tell(accepted, rejected, calls, worst, jacobians, factorisations, held, s, h, error, size, counts, last)
    return status


def take_slope(a, h, i, y_bar, kappa, g):
    """kappa_i gains h sum_{j > i} a_ji g_j; y_bar gains g_{i+1}."""
    for q in range(y_bar.shape[0]):
        acc = 0.0
        for j in range(i + 1, a.shape[0]):
            acc += a[j, i] * g[j, q]
        kappa[i, q] += h * acc
        y_bar[q] += g[i + 1, q]


def refine(k, t, state, p, scale, plan, mass, r, x, work, rest, lu, pivots, z):
    """x = (M - scale J)^-T r with the factors of a matrix near it; False where factors of its own are cheaper. r is lost.

    Each change removes what the near matrix sees of the rest; the rest is then that change times the difference of the two matrices.
    """
    n, before, turn, going = z.shape[0], 0.0, 0, True
    for q in range(x.shape[0]):
        x[q] = 0.0
    while going:
        copy(r, rest)
        size = 0.0
        for first in range(0, x.shape[0], n):
            solve_transposed(plan, lu, pivots, r, first, z)
            for q in range(first, first + n):
                x[q] += r[q]
            size = max(size, change(r, x, first, n))
        if not worth_while(turn, plan[BUDGET], size, before, ROUNDING):
            return False
        going = size > ROUNDING and not (size <= SETTLED and turn > 0 and size > 0.5 * before)
        before, turn = size, turn + 1
        if going:
            pull(k, t, state, r, p, work)
            for first in range(0, x.shape[0], n):
                times_mass_transposed(plan, mass, r, first, n, z, 0)
                for q in range(n):
                    r[first + q] = rest[first + q] - z[q] + scale * work[first + q]
    return True


def retreat(
    k, gamma, a, c, t, h, p, step, stages, base, depth, plan, mass, y_bar, p_bar, t_bar, kappa, g, values, r, rest, work,
    lu, pivots, z,
):  # fmt: skip
    """Stages S .. 1 of one step, given the cotangent g[S] of its end; y_bar gains the cotangents of the states. Returns a status.

    With x_i = (1 - h gamma J_i)^-T (kappa_i + h gamma g_i), J_i at Y_i: g_i becomes g_i + J_i^T x_i, the cotangent of what the stage
    starts from.
    """
    end, n = c.shape[0] - 1, y_bar.shape[0]
    for back in range(end):
        i = end - back
        state = row3(stages, step + 1, 0) if i == end else row3(stages, step, i)
        if i < end:
            take_slope(a, h, i, y_bar, kappa, g)
            for q in range(n):
                g[i, q] = 0.0
        for q in range(n):
            r[q] = kappa[i, q] + h * gamma * g[i, q]
            kappa[i, q] = r[q]
        x, found = row(kappa, i), False
        if i < end and plan[BUDGET] > 0:
            found = refine(k, t + c[i] * h, state, p, h * gamma, plan, mass, r, row(g, 0), work, rest, lu, pivots, z)
        if found:
            copy(row(g, 0), x)
        else:
            copy(x, r)
            base_jacobian(k, t + c[i] * h, state, p, base, values, z)
            form(plan, mass, values, h * gamma, lu)
            if not factor(plan, lu, pivots):
                return SINGULAR
            if not solve_joined_transposed(k, t + c[i] * h, state, p, h * gamma, base, depth, r, plan, lu, pivots, x, z, work):
                return SINGULAR
        vjp(k, t + c[i] * h, state, p, x, row(g, i), p_bar, t_bar)
    take_slope(a, h, 0, y_bar, kappa, g)
    return DONE


def adjoint(
    k, t0, span, steps, rate, base, depth, gamma, a, c, dense, plan, mass, p, sigma, mesh, nodes, stages, out_bar, y_bar,
    p_bar, t_bar, kappa, g, w, values, r, rest, work, lu, pivots, z,
):  # fmt: skip
    """Discrete adjoint over the recorded steps, the stage equations solved exactly (implicit function theorem).

    Parameters
    ----------
    k, t0, span, rate, base, gamma, a, c, dense, plan, mass, p, sigma
        As in ``forward``.
    depth : int
        How many times the system was joined by its tangent.
    steps, out_bar, y_bar, p_bar, t_bar, kappa, g, w
        As in ``erk.adjoint``.
    mesh, nodes, stages : ndarray, shapes (>= steps,), (>= steps + 1,), (>= steps + 1, S, n)
        As recorded by ``forward``.
    values, r, rest, work, lu, pivots, z : ndarray
        Work: shapes (nnz,), (n,), (n,), (n,), (n_lu,), (nb + 1,) of int, (nb,).

    Returns
    -------
    int
        DONE or SINGULAR.
    """
    sign = 1.0 if span > 0.0 else -1.0
    end, o, status = c.shape[0] - 1, sigma.shape[0] - 1, DONE
    depart(steps, span, nodes, kappa)
    for step in range(steps - 1, -1, -1):
        h, t = mesh[step], t0 + nodes[step]
        hand_over(end, y_bar, kappa, g)
        o = gather_outputs(o, sigma, sign, rate, dense, step, h, nodes, out_bar, y_bar, row(g, end), kappa, w)
        if status == DONE:
            status = retreat(k, gamma, a, c, t, h, p, step, stages, base, depth, plan, mass, y_bar, p_bar, t_bar, kappa,
                             g, values, r, rest, work, lu, pivots, z)
    if nodes[0] == 0.0:
        start_cotangents(plan, mass, lu, pivots, z, row(kappa, 0))
    arrive(k, t0, steps, rate, o, p, nodes, stages, out_bar, y_bar, p_bar, t_bar, kappa)
    return status


SHAPES = {
    "a": "S + 1, S + 1", "c": "S + 1", "dense": "S + 1, degree", "p": "n_p", "sigma": "m", "mesh": "cap", "nodes": "cap + 1", "w": "S + 1",
    "plan": "n_plan", "mass": "n_mass", "values": "nnz", "lu": "n_lu", "pivots": "nb + 1", "z": "nb",
}  # fmt: skip
FORWARD = Loop(
    "esdirk_forward",
    forward,
    sizes=("N", "n", "n_out", "n_rec", "n_p", "S", "degree", "m", "cap", "nb", "nnz", "n_plan", "n_mass", "n_lu", *STEERED, *KEPT_SIZES,
           "G", "n_stops", "n_news"),
    integers=("max_steps", "replay", "rate", "base", "depth", "everywhere", "filtered"),
    shapes={
        **SHAPES, **WATCH_SHAPES,
        "guess": "S + 1, S + 1", "e": "S + 1", "one": "1", "y": "N", "atol": "n", "probe_atol": "n", "out": "m, n_out",
        "stages": "room + 1, S, n_rec", "ks": "S + 1, N", "new": "N", "est": "1, N", "mid": "N", "rise": "N", "r": "N", "counts": "7",
        "last": "4", **STEERING, **KEEPING, "late": "nnz", "late_lu": "n_lu", "late_pivots": "nb + 1",
    },
    integer_arrays=("counts", "at", "plan", "pivots", "late_pivots"),
    helpers=(
        *MATRICES, copy, mean_square, start_norm, first_step_size, modest_first_step, error_square, worst_component, weights, observe,
        times_in_order, start_outputs, step_outputs, log2, exp2, next_size, steer, note, propose, joint_error, first_not_finite,
        begin_with_slopes, begin_implicit, verdict, tell, put, keep_state, change,
        settled, base_jacobian, worth_while, iterate_tangents, tangents, iterate, stage, exactness, attempt, estimate, *HELPERS, *INSIDE,
    ),
)  # fmt: skip
ADJOINT = Loop(
    "esdirk_adjoint",
    adjoint,
    sizes=("n", "n_out", "n_p", "S", "degree", "m", "cap", "room", "nb", "nnz", "n_plan", "n_mass", "n_lu"),
    integers=("steps", "rate", "base", "depth"),
    shapes={
        **SHAPES, "out_bar": "m, n_out", "stages": "room + 1, S, n", "y_bar": "n", "p_bar": "n_p", "t_bar": "1", "kappa": "S + 1, n",
        "g": "S + 1, n", "r": "n", "rest": "n", "work": "n",
    },
    integer_arrays=("plan", "pivots"),
    helpers=(
        *MATRICES, weights, depart, clear, hand_over, copy, gather_outputs, take_slope, base_jacobian, change, worth_while, refine,
        retreat, arrive,
    ),
)  # fmt: skip

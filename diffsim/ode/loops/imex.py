"""Stepping loops of additive Runge-Kutta pairs: forward with recording and replay, and the discrete adjoint.

The same subset of Python and the same conventions as ``esdirk.py``. The slopes are a sum: of a stiff part f, which the kernels ``rhs``,
``jac``, ``pull`` and ``vjp`` are of, and of another g, kernels ``gentle`` and ``gentle_vjp``. The stages of a step from (t, y) are

    Y_i = y + h sum_{j<i} (a_ij k_j + d_ij f_j) + h gamma f_i,    f_i = f(t + c_i h, Y_i),    k_i = f_i + g(t + c_i h, Y_i),

i = 1 .. S, where a is the method of g and d what that of f has more; only f enters the equation of a stage. The new state, explicit, is
y + h sum_i b_i k_i. It differs from Y_S by the gap h sum_i (b_i - a_Si) g_i, which no stage has damped: the estimate of the error is
W^-1 (h sum_i e_i k_i) + (1 - W^-1) gap with the step's matrix W = 1 - h gamma J. Where nothing is stiff the second part is of the order
of the first; where J is large it is all there is, and an estimate with W left out would be of the size of f, which a state off the manifold
it is pulled to makes huge.

Source: Kennedy & Carpenter, Appl. Numer. Math. 44 (2003) 139-181; filter: Hosea & Shampine, Appl. Numer. Math. 20 (1996) 21-37.
"""

import math

from diffsim.codegen.loops import Loop, gentle, gentle_vjp, rhs, row, row3, unroll, vjp
from diffsim.ode.loops.erk import (
    STEERED,
    STEERING,
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
from diffsim.ode.loops.esdirk import refine
from diffsim.ode.loops.esdirk_stages import (
    base_jacobian,
    change,
    exactness,
    iterate,
    iterate_tangents,
    settled,
    tangents,
    worth_while,
)
from diffsim.ode.loops.inside import MIDDLE, REGAIN, WITHIN, filtered_defect, judged, wanted_inside, within
from diffsim.ode.loops.stepsize import (
    BAD_TIMES,
    CAREFUL,
    DONE,
    FLAT,
    LOG_GROW,
    LOG_KEEP,
    LOG_SMALL,
    NOT_FINITE,
    SINGULAR,
    SLOW,
    UNSOLVED,
    error_square,
    exp2,
    first_not_finite,
    joint_error,
    log2,
    mean_square,
    next_size,
    note,
    propose,
    start_norm,
    steer,
    worst_component,
)
from diffsim.ode.loops.sweep import KEEPING, KEPT_SIZES, keep_state, put
from diffsim.ode.loops.watch import HELPERS, WATCH_SHAPES, after_landing, begin_watch, end_watch, inside, next_goal, rest, watched
from diffsim.ode.matrices.lu import MATRICES, factor, form, solve, solve_joined_transposed
from diffsim.ode.matrices.plan import BUDGET


def both(k, t, y, p, spare, stiff, slope):
    """The stiff part of the slopes, and the whole."""
    rhs(k, t, y, p, stiff)
    gentle(k, t, y, p, spare)
    for q in range(y.shape[0]):
        slope[q] = stiff[q] + spare[q]


def first_size(k, order, t0, span, y, p, rtol, atol, probe_atol, probe_factor, ks, stiff, spare, new):
    """As ``stepsize.first_step_size``, with slopes of two parts."""
    sign = 1.0 if span > 0.0 else -1.0
    d0 = start_norm(y, y, rtol, atol, probe_atol, probe_factor)
    d1 = start_norm(row(ks, 0), y, rtol, atol, probe_atol, probe_factor)
    h0 = 0.01 * d0 / d1 if d0 >= SLOW and d1 >= SLOW and d0 + d1 < math.inf else 1e-6
    h0 = min(h0, abs(span))
    for q in range(y.shape[0]):
        new[q] = y[q] + sign * h0 * ks[0, q]
    both(k, t0 + sign * h0, new, p, spare, row(stiff, 1), row(ks, 1))
    for q in range(y.shape[0]):
        new[q] = (ks[1, q] - ks[0, q]) / h0
    steepest = max(d1, start_norm(new, y, rtol, atol, probe_atol, probe_factor))
    if not steepest < math.inf:
        return h0
    h1 = max(1e-6, 1e-3 * h0) if steepest <= FLAT else (0.01 / steepest) ** (1.0 / order)
    return min(100.0 * h0, h1, abs(span))


def begin_both(
    k, order, t0, s, span, y, p, sigma, rate, replay, first_step, max_step, rtol, atol, probe_atol, probe_factor, ks, stiff, spare, new,
    out,
):  # fmt: skip
    """As ``erk.begin``, with slopes of two parts, which no part of a solve is given but computes."""
    status, size, calls = DONE, first_step, 1
    both(k, t0 + s, y, p, spare, row(stiff, 0), row(ks, 0))
    o = start_outputs(sigma, 1.0 if span > 0.0 else -1.0, rate, y, ks, out, span == 0.0)
    worst = max(first_not_finite(y), first_not_finite(row(ks, 0)))
    if worst >= 0:
        status = NOT_FINITE
    elif replay == 0 and not times_in_order(sigma, 1.0 if span > 0.0 else -1.0, span):
        status = BAD_TIMES
    elif replay == 0 and size <= 0.0 and span != 0.0:
        size = first_size(k, order, t0, span, y, p, rtol, atol, probe_atol, probe_factor, ks, stiff, spare, new)
        calls = 2
    return status, worst, o, calls, min(size, max_step)


def attempt_both(
    k, gamma, a, apart, b, c, guess, t, h, y, p, step, base, depth, plan, mass, tight, enough, rtol, atol, values, stages, ks, stiff, new,
    gap, mid, rise, r, lu, pivots, late, late_lu, late_pivots, z,
):  # fmt: skip
    """The slopes of one step but the first, its new state and the gap; as ``esdirk_stages.attempt``."""
    form(plan, mass, values, h * gamma, lu)
    if not factor(plan, lu, pivots):
        return SINGULAR, 0, 1
    turns, made, status = 0, 1, DONE
    for q in range(stages.shape[2]):
        stages[step, 0, q] = y[q]
    for i in range(1, c.shape[0]):
        for q in range(y.shape[0]):
            acc, ahead = 0.0, 0.0
            for j in range(i):
                acc += a[i, j] * ks[j, q] + apart[i, j] * stiff[j, q]
                ahead += guess[i, j] * stiff[j, q]
            mid[q] = y[q] + h * acc
            rise[q] = h * gamma * ahead
            new[q] = mid[q] + rise[q]
        took, renewed = iterate(k, h * gamma, t + c[i] * h, p, base, tight, rtol, atol, values, new, mid, rise, r, plan, mass, lu, pivots,
                                z)
        turns, made = turns + abs(took), made + renewed
        if took < 0:
            return UNSOLVED, turns, made
        if depth > 0 and not (plan[BUDGET] > 0 and iterate_tangents(
                k, t + c[i] * h, p, h * gamma, base, depth, plan, mass, enough, new, mid, rise, r, lu, pivots, z)):
            status = tangents(k, t + c[i] * h, p, h * gamma, base, depth, plan, mass, new, mid, rise, r, late, late_lu, late_pivots, z)
        if status != DONE:
            return status, turns, made
        gentle(k, t + c[i] * h, new, p, r)
        for q in range(y.shape[0]):
            stiff[i, q] = rise[q] / (h * gamma)
            ks[i, q] = stiff[i, q] + r[q]
        for q in range(stages.shape[2]):
            stages[step, i, q] = new[q]
    combine(b, h, y, ks, new, gap)
    return DONE, turns, made


def combine(b, h, y, ks, new, gap):
    """From the last stage in ``new`` to the new state; the gap between them."""
    for q in range(y.shape[0]):
        acc = 0.0
        for i in range(b.shape[0]):
            unroll()
            acc += b[i] * ks[i, q]
        acc = y[q] + h * acc
        gap[q] = acc - new[q]
        new[q] = acc


def estimate_both(e, h, ks, gap, est, plan, lu, pivots, z):
    """est[0] = W^-1 (h sum_i e_i k_i - gap) + gap."""
    for q in range(est.shape[1]):
        acc = 0.0
        for i in range(e.shape[0]):
            unroll()
            acc += e[i] * ks[i, q]
        est[0, q] = h * acc - gap[q]
    for first in range(0, est.shape[1], z.shape[0]):
        solve(plan, lu, pivots, row(est, 0), first, z)
    for q in range(est.shape[1]):
        est[0, q] += gap[q]


def look_both(
    k, error, bears, everywhere, o, order, gamma, dense, sigma, sign, t, s, h, y, new, p, rtol, atol, probe_atol, probe_factor, one, ks,
    plan, mass, lu, pivots, w, mid, rise, r, est, z,
):  # fmt: skip
    """As ``inside.look_inside``, with a slope of two parts."""
    if not error <= 1.0:
        return error, bears
    if wanted_inside(everywhere, o, sigma, sign, s, abs(h)) == math.inf:
        return error, REGAIN * bears
    inside(dense, MIDDLE, h, y, ks, w, mid)
    both(k, t + MIDDLE * h, mid, p, row(est, 0), rise, r)
    filtered_defect(gamma, dense, h, ks, r, plan, mass, lu, pivots, w, mid, est, z)
    return judged(error, joint_error(one, est, y, new, 1.0, rtol, atol, probe_atol, probe_factor), order, h)


def forward(
    k, order, t0, span, rtol, probe_factor, first_step, max_step, max_steps, replay, rate, base, depth, everywhere, gamma, a, apart, b, c,
    guess, e, one, dense, plan, mass, y, p, atol, probe_atol, pace, sigma, out, mesh, nodes, stages, at, kept, ks, stiff, new, gap, w, est,
    values, mid, rise, r, lu, pivots, late, late_lu, late_pivots, z, past, history, counts, last, stops, ways, sides, marks, news,
):  # fmt: skip
    """Integrate from t0 to t0 + span; returns a status.

    Parameters
    ----------
    gamma, a, apart, b, c, guess, e, dense
        The pair: a number, shapes (S + 1, S + 1), (S + 1, S + 1), (S + 1,), (S + 1,), (S + 1, S + 1), (S + 1,), (S + 1, degree).
    stiff, gap : ndarray, shapes (S + 1, N), (N,)
        Work: the stiff part of the slopes, and the gap.
    k, order, t0, span, and all the others
        As in ``esdirk.forward``. The slopes at the start of a part of a solve are not given but computed.

    Returns
    -------
    int
        As ``esdirk.forward``.
    """
    sign, n_rec, room, fresh = 1.0 if span > 0.0 else -1.0, stages.shape[2], stages.shape[0] - 1, True
    s, h, error, landed, cap, before = nodes[0], 0.0, 0.0, span == 0.0, LOG_GROW, CAREFUL * LOG_SMALL
    accepted, rejected, jacobians, factorisations, tight = 0, 0, 0, 0, replay > 0 or n_rec > 0 or kept.shape[0] > 0
    passed, sought, bears = 0, False, math.inf
    status, worst, o, calls, size = begin_both(k, order, t0, s, span, y, p, sigma, rate, replay, first_step, max_step, rtol, atol,
                                               probe_atol, probe_factor, ks, stiff, r, new, out)
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
            found, turns, made = attempt_both(k, gamma, a, apart, b, c, guess, t0 + s, h, y, p, min(accepted, room), base, depth, plan,
                                              mass, tight, exactness(replay, rtol), rtol, atol, values, stages, ks, stiff, new, gap, mid,
                                              rise, r, lu, pivots, late, late_lu, late_pivots, z)
            calls, factorisations, fresh = calls + turns, factorisations + made, made > 1      # then the start's Jacobian is lost
            if replay == 0:
                error = math.inf
                if found == DONE:
                    estimate_both(e, h, ks, gap, est, plan, lu, pivots, z)
                    error = joint_error(one, est, y, new, 1.0, rtol, atol, probe_atol, probe_factor)
                size, remembered = steer(size, error, before, order, cap, pace, past)
                error, bears = look_both(k, error, bears, everywhere, o, order, gamma, dense, sigma, sign, t0 + s, s, h, y, new, p, rtol,
                                         atol, probe_atol, probe_factor, one, ks, plan, mass, lu, pivots, w, mid, rise, r, est, z)
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
                both(k, t0 + s, y, p, r, row(stiff, 0), row(ks, 0))
                calls, held = calls + 1, keep_state(accepted, held, y, row(ks, 0), at, kept)
            else:
                rejected, cap, landed = rejected + 1, LOG_KEEP, False
    end_watch(s, sought, news)
    for q in range(n_rec):
        stages[min(accepted, room), 0, q] = y[q]
    status, worst = verdict(status, worst, one, est, y, new, 1.0, rtol, atol, probe_atol, probe_factor)
    tell(accepted, rejected, calls, worst, jacobians, factorisations, held, s, h, error, size, counts, last)
    return status


def take_slopes(a, apart, h, i, kappa, delta, g):
    """kappa_i gains h sum_{j > i} a_ji g_j; delta_i, the cotangent of the stiff part beyond that of the whole, becomes the same with d."""
    for q in range(kappa.shape[1]):
        acc, more = 0.0, 0.0
        for j in range(i + 1, a.shape[0]):
            acc += a[j, i] * g[j, q]
            more += apart[j, i] * g[j, q]
        kappa[i, q] += h * acc
        delta[i, q] = h * more


def retreat_both(
    k, gamma, a, apart, c, t, h, p, step, stages, base, depth, plan, mass, y_bar, p_bar, t_bar, kappa, delta, g, values, r, near, work, lu,
    pivots, z,
):  # fmt: skip
    """Stages S .. 0 of one step, given the cotangents kappa of its slopes; y_bar gains those of the states. Returns a status.

    g_i begins as dg/dy^T kappa_i. With x_i = (1 - h gamma J_i)^-T (kappa_i + delta_i + h gamma g_i), J_i that of the stiff part at Y_i, it
    becomes g_i + J_i^T x_i, the cotangent of what the stage starts from.
    """
    end, n = c.shape[0] - 1, y_bar.shape[0]
    for back in range(end):
        i = end - back
        time, state, x = t + c[i] * h, row3(stages, step, i), row(delta, i)
        take_slopes(a, apart, h, i, kappa, delta, g)
        for q in range(n):
            g[i, q] = 0.0
        gentle_vjp(k, time, state, p, row(kappa, i), row(g, i), p_bar, t_bar)
        for q in range(n):
            r[q] = kappa[i, q] + delta[i, q] + h * gamma * g[i, q]
            delta[i, q] = r[q]
        found = False
        if i < end and plan[BUDGET] > 0:
            found = refine(k, time, state, p, h * gamma, plan, mass, r, row(kappa, i), work, near, lu, pivots, z)
        if found:
            copy(row(kappa, i), x)
        else:
            copy(x, r)
            base_jacobian(k, time, state, p, base, values, z)
            form(plan, mass, values, h * gamma, lu)
            if not factor(plan, lu, pivots):
                return SINGULAR
            if not solve_joined_transposed(k, time, state, p, h * gamma, base, depth, r, plan, lu, pivots, x, z, work):
                return SINGULAR
        vjp(k, time, state, p, x, row(g, i), p_bar, t_bar)
        for q in range(n):
            y_bar[q] += g[i, q]
    take_slopes(a, apart, h, 0, kappa, delta, g)
    both_back(k, t, row3(stages, step, 0), p, row(kappa, 0), row(delta, 0), y_bar, p_bar, t_bar)
    return DONE


def both_back(k, t, y, p, slope_bar, stiff_bar, y_bar, p_bar, t_bar):
    """Add the cotangents of :func:`both` for that of the slope, and beyond it that of its stiff part, which is overwritten."""
    gentle_vjp(k, t, y, p, slope_bar, y_bar, p_bar, t_bar)
    for q in range(y_bar.shape[0]):
        stiff_bar[q] += slope_bar[q]
    vjp(k, t, y, p, stiff_bar, y_bar, p_bar, t_bar)


def adjoint(
    k, t0, span, steps, rate, base, depth, gamma, a, apart, b, c, dense, plan, mass, p, sigma, mesh, nodes, stages, out_bar, y_bar, p_bar,
    t_bar, kappa, delta, g, w, values, r, near, work, lu, pivots, z,
):  # fmt: skip
    """Discrete adjoint over the recorded steps, the stage equations solved exactly (implicit function theorem).

    Parameters
    ----------
    delta : ndarray, shape (S + 1, n)
        Work: cotangents of the stiff part of the slopes, beyond those of the whole, ``kappa``.
    k, t0, span, and all the others
        As in ``esdirk.adjoint``.

    Returns
    -------
    int
        DONE or SINGULAR.
    """
    sign = 1.0 if span > 0.0 else -1.0
    n, o, status = y_bar.shape[0], sigma.shape[0] - 1, DONE
    for step in range(steps - 1, -1, -1):
        h, t = mesh[step], t0 + nodes[step]
        copy(y_bar, near)
        for q in range(n):
            y_bar[q] = 0.0
            for i in range(b.shape[0]):
                kappa[i, q] = 0.0
        o = gather_outputs(o, sigma, sign, rate, dense, step, h, nodes, out_bar, y_bar, near, kappa, w)
        for q in range(n):
            y_bar[q] += near[q]
            for i in range(b.shape[0]):
                unroll()
                kappa[i, q] += h * b[i] * near[q]
        if status == DONE:
            status = retreat_both(k, gamma, a, apart, c, t, h, p, step, stages, base, depth, plan, mass, y_bar, p_bar, t_bar, kappa, delta,
                                  g, values, r, near, work, lu, pivots, z)
    for i in range(o + 1):
        if rate == 0:
            for q in range(n):
                y_bar[q] += out_bar[i, q]
        elif rate == 1 and steps == 0:
            for q in range(n):
                delta[0, q] = 0.0
            both_back(k, t0, row3(stages, 0, 0), p, row(out_bar, i), row(delta, 0), y_bar, p_bar, t_bar)
    return status


SHAPES = {
    "a": "S + 1, S + 1", "apart": "S + 1, S + 1", "b": "S + 1", "c": "S + 1", "dense": "S + 1, degree", "p": "n_p", "sigma": "m",
    "mesh": "cap", "nodes": "cap + 1", "w": "S + 1", "plan": "n_plan", "mass": "n_mass", "values": "nnz", "lu": "n_lu",
    "pivots": "nb + 1", "z": "nb",
}  # fmt: skip
FORWARD = Loop(
    "imex_forward",
    forward,
    sizes=("N", "n", "n_out", "n_rec", "n_p", "S", "degree", "m", "cap", "nb", "nnz", "n_plan", "n_mass", "n_lu", *STEERED, *KEPT_SIZES,
           "G", "n_stops", "n_news"),
    integers=("max_steps", "replay", "rate", "base", "depth", "everywhere"),
    shapes={
        **SHAPES, **WATCH_SHAPES,
        "guess": "S + 1, S + 1", "e": "S + 1", "one": "1", "y": "N", "atol": "n", "probe_atol": "n", "out": "m, n_out",
        "stages": "room + 1, S + 1, n_rec", "ks": "S + 1, N", "stiff": "S + 1, N", "new": "N", "gap": "N", "est": "1, N", "mid": "N",
        "rise": "N", "r": "N", "counts": "7", "last": "4", **STEERING, **KEEPING, "late": "nnz", "late_lu": "n_lu",
        "late_pivots": "nb + 1",
    },
    integer_arrays=("counts", "at", "plan", "pivots", "late_pivots"),
    helpers=(
        *MATRICES, copy, mean_square, start_norm, both, first_size, error_square, worst_component, weights, observe, times_in_order,
        start_outputs, step_outputs, log2, exp2, next_size, steer, note, propose, joint_error, first_not_finite, begin_both, verdict, tell,
        put, keep_state, change, settled, base_jacobian, worth_while, iterate, iterate_tangents, tangents, exactness, combine,
        attempt_both, estimate_both, *HELPERS, *WITHIN, look_both,
    ),
)  # fmt: skip
ADJOINT = Loop(
    "imex_adjoint",
    adjoint,
    sizes=("n", "n_out", "n_p", "S", "degree", "m", "cap", "room", "nb", "nnz", "n_plan", "n_mass", "n_lu"),
    integers=("steps", "rate", "base", "depth"),
    shapes={
        **SHAPES, "out_bar": "m, n_out", "stages": "room + 1, S + 1, n", "y_bar": "n", "p_bar": "n_p", "t_bar": "1", "kappa": "S + 1, n",
        "delta": "S + 1, n", "g": "S + 1, n", "r": "n", "near": "n", "work": "n",
    },
    integer_arrays=("plan", "pivots"),
    helpers=(
        *MATRICES, weights, copy, gather_outputs, take_slopes, base_jacobian, change, worth_while, refine, both_back, retreat_both,
    ),
)  # fmt: skip

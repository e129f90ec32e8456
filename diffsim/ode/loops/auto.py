"""Stepping loops that choose between an explicit and an implicit method as they go: forward with recording and replay, and the adjoint.

The same subset of Python and the same conventions as ``erk.py``. Each step is one of ``erk.py`` or one of ``esdirk.py``; both kinds start
with the slope that the step before ended with. A solve begins explicitly.

Stiffness is measured by the explicit method's last two stages, which both lie at the step's end: the change of the slope over that of the
state, in the norm of the errors, times h, against the part of the negative axis on which the method is stable. Where a step is at
that limit ``MANY`` times, with fewer than ``PATIENCE`` others in a row between, the method is held back by stability and the implicit one
takes over. It returns where the norm of the Jacobian it has at hand, times the size of the next step, stays within the limit ``FEW`` times
in a row.

Increments hold which method took them (``marks.py``), so that a replay, tangents and the adjoint repeat the choice; derivatives are
exact, like those of the two methods.

Sources: Hairer & Wanner, Solving Ordinary Differential Equations II, IV.2 (detection); Petzold, SIAM J. Sci. Stat. Comput. 4 (1983)
136-148 (the way back).
"""

import math

from diffsim.codegen.loops import Loop, row, row3, vjp
from diffsim.ode.loops.backward import arrive, clear, depart, hand_over
from diffsim.ode.loops.erk import (
    STEERED,
    STEERING,
    advance,
    begin,
    begin_with_slopes,
    copy,
    gather_outputs,
    observe,
    retreat_explicit,
    slope_cotangent,
    start_outputs,
    step_outputs,
    tell,
    times_in_order,
    verdict,
    weights,
)
from diffsim.ode.loops.esdirk import refine, retreat, take_slope
from diffsim.ode.loops.esdirk_stages import (
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
from diffsim.ode.loops.marks import mark_of, marked
from diffsim.ode.loops.stepsize import (
    CAREFUL,
    DONE,
    FLOOR,
    LOG_GROW,
    LOG_KEEP,
    LOG_SMALL,
    UNORDERED,
    error_square,
    exp2,
    first_not_finite,
    first_step_size,
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
from diffsim.ode.loops.watch import HELPERS, WATCH_SHAPES, after_landing, begin_watch, end_watch, next_goal, rest, watched
from diffsim.ode.matrices.lu import MATRICES

EXPLICIT, IMPLICIT = 96, 97      # marks of the two methods
AT_LIMIT = 0.9                   # of what the explicit method bears counts as its limit
MANY, PATIENCE, FEW = 10, 6, 3


def method_of(h, stiff, replay):
    """The increment marked with its method, whether that is the implicit one, and a status: written by a solve, read by a replay."""
    if replay == 0:
        return marked(h, IMPLICIT if stiff else EXPLICIT), stiff, DONE
    mark = mark_of(h)
    return h, mark == IMPLICIT, DONE if mark == IMPLICIT or mark == EXPLICIT else UNORDERED


def stiffness(end, a, ks, y, new, rtol, atol):
    """|h| times the change of the slope over that of the state, from the last two stages of an explicit step."""
    slopes, states = 0.0, 0.0
    for q in range(atol.shape[0]):
        scale = 1.0 / (atol[q] + rtol[q] * max(abs(y[q]), abs(new[q])) + FLOOR)
        x, moved = scale * (ks[end, q] - ks[end - 1, q]), 0.0
        for j in range(end):
            before = a[end - 1, j] if j < end - 1 else 0.0
            moved += (a[end, j] - before) * ks[j, q]
        moved *= scale
        slopes += x * x
        states += moved * moved
    return math.sqrt(slopes / states) if states > 0.0 else 0.0


def norm_of_jacobian(values, rows, columns, y, rtol, atol, sums):
    """The largest row sum of the Jacobian's absolute entries, components measured by their tolerances."""
    largest = 0.0
    for q in range(sums.shape[0]):
        sums[q] = 0.0
    for e in range(values.shape[0]):
        i, j = rows[e], columns[e]
        sums[i] += abs(values[e]) * (atol[j] + rtol[j] * abs(y[j])) / (atol[i] + rtol[i] * abs(y[i]) + FLOOR)
        largest = max(largest, sums[i])
    return largest


def choose(stiff, measured, limit, hot, cool):
    """Which method takes the next step, and how often the limit was met or kept since the last change."""
    if stiff:
        cool = cool + 1 if measured < limit else 0
        return cool < FEW, 0, cool if cool < FEW else 0
    hot, cool = (hot + 1, 0) if measured > limit else (hot, cool + 1)
    if cool == PATIENCE:
        hot = 0
    return hot == MANY, hot if hot < MANY else 0, cool if hot < MANY else 0


def judge(stiff, size, end, a, ks, y, new, values, rows, columns, reach, rtol, atol, hot, cool, z):
    """As ``choose``, after a step that was accepted; ``size`` is that of the next one."""
    measured = size * norm_of_jacobian(values, rows, columns, y, rtol, atol, z) if stiff else stiffness(end, a, ks, y, new, rtol, atol)
    return choose(stiff, measured, AT_LIMIT * reach, hot, cool)


def either(
    k, stiff, fresh, end, a, c, gamma, stiff_a, stiff_c, guess, t, h, y, p, step, base, depth, plan, mass, tight, replay, rtol, atol,
    values, stages, ks, new, mid, rise, r, lu, pivots, late, late_lu, late_pivots, z,
):  # fmt: skip
    """A step by one of the methods. Returns a status and how many right-hand sides, Jacobians and factorisations it took."""
    if not stiff:
        advance(k, end, a, c, t, h, y, p, step, stages, ks, new)
        return DONE, end, 0, 0
    if fresh:
        base_jacobian(k, t, y, p, base, values, z)
    found, turns, made = attempt(k, gamma, stiff_a, stiff_c, guess, t, h, y, p, step, base, depth, plan, mass, tight,
                                 exactness(replay, rtol), rtol, atol, values, stages, ks, new, mid, rise, r, lu, pivots, late, late_lu,
                                 late_pivots, z)
    return found, turns, 1 if fresh else 0, made


def forward(
    k, order, t0, span, rtol, probe_factor, first_step, max_step, max_steps, replay, rate, base, depth, everywhere, end, reach, a, c, e,
    dense, gamma, filtered, stiff_a, stiff_c, guess, stiff_e, stiff_dense, one, rows, columns, plan, mass, y, p, atol, probe_atol, pace,
    sigma, out, mesh, nodes, stages, at, kept, ks, new, w, est, values, mid, rise, r, lu, pivots, late, late_lu, late_pivots, z, past,
    history, counts, last, stops, ways, sides, marks, news,
):  # fmt: skip
    """Integrate from t0 to t0 + span; returns a status.

    Parameters
    ----------
    k, order, t0, span, rtol, probe_factor, first_step, max_step, max_steps, replay, rate, end, a, c, e, dense, y, p, atol, probe_atol, pace
        As in ``erk.forward``, for the explicit method.
    base, depth, everywhere, gamma, filtered, stiff_a, stiff_c, guess, stiff_e, stiff_dense, one, plan, mass
        As in ``esdirk.forward``, for the implicit method.
    reach : float
        The explicit method is stable for |h| times the Jacobian's norm up to it.
    rows, columns : ndarray of int, shape (nnz,)
        Where the Jacobian may differ from zero.
    sigma, out, mesh, nodes, stages, at, kept, ks, new, w, past, history, counts, last, stops, ways, sides, marks, news
        As in ``erk.forward``; increments hold their methods, and those to be repeated must.
    est, values, mid, rise, r, lu, pivots, late, late_lu, late_pivots, z
        As in ``esdirk.forward``.

    Returns
    -------
    int
        As ``esdirk.forward``, or UNORDERED: a step to be repeated does not hold its method.
    """
    sign, n_rec, room, tight = 1.0 if span > 0.0 else -1.0, stages.shape[2], stages.shape[0] - 1, replay > 0 or stages.shape[2] > 0
    s, h, error, landed, cap, before = nodes[0], 0.0, 0.0, span == 0.0, LOG_GROW, CAREFUL * LOG_SMALL
    accepted, rejected, jacobians, factorisations, stiff, hot, cool, fresh, passed, sought = 0, 0, 0, 0, False, 0, 0, True, 0, False
    status, worst, o, calls, size = begin(k, order, t0, s, span, y, p, sigma, rate, replay, first_step, max_step, rtol, atol, probe_atol,
                                          probe_factor, ks, new, out)
    count, tight = keep_state(0, 0, y, row(ks, 0), at, kept), tight or kept.shape[0] > 0
    begin_watch(k, t0, y, p, sides, marks, news)
    bears = math.inf
    while status == DONE and not landed:
        passed, goal = next_goal(stops, passed, s, sign, span)
        wanted, size = size, within(size, bears if stiff else math.inf, everywhere, o, sigma, sign, s)
        status, h, size, landed = propose(size, s, goal, replay, mesh, accepted, rejected, max_steps)
        if status == DONE:
            h, stiff, status = method_of(h, stiff, replay)
        if status == DONE:
            found, spent, jacobian, made = either(
                k, stiff, fresh, end, a, c, gamma, stiff_a, stiff_c, guess, t0 + s, h, y, p, min(accepted, room), base, depth, plan, mass,
                tight, replay, rtol, atol, values, stages, ks, new, mid, rise, r, lu, pivots, late, late_lu, late_pivots, z)
            calls, jacobians, factorisations = calls + spent, jacobians + jacobian, factorisations + made
            fresh, status = made > 1 if stiff else fresh, found if replay > 0 else DONE
            if replay == 0:
                error = error_of(found, stiff, e, stiff_e, one, h, filtered, ks, y, new, est, r, plan, mass, lu, pivots, z, rtol, atol,
                                 probe_atol, probe_factor)
                size, remembered = steer(size, error, before, order, cap, pace, past)
                if stiff:
                    error, bears = look_inside(
                        k, error, bears, everywhere, o, order, gamma, stiff_dense, sigma, sign, t0 + s, s, h, y, new, p, rtol, atol,
                        probe_atol, probe_factor, one, ks, plan, mass, lu, pivots, w, mid, r, est, z)
                note(history, accepted + rejected, s, h, error)
            reaches, following, good = landed, goal if landed else s + h, error <= 1.0 and status == DONE
            landed, lines = landed and goal == span, stiff_dense if stiff else dense
            sought = watched(good, k, t0, s, h, s == 0.0, lines, y, new, ks, p, w, mid, ways, sides, marks, news)
            if sought:
                landed = rest(o, y, out)
            elif good:
                o = step_outputs(o, sigma, sign, rate, lines, s, h, following, landed, y, new, ks, w, out)
                if replay == 0:
                    mesh[accepted] = h
                    size, cap, before = min(max_step, after_landing(size, wanted, reaches, passed, stops)), LOG_GROW, remembered
                    stiff, hot, cool = judge(stiff, size, end, a, ks, y, new, values, rows, columns, reach, rtol, atol, hot, cool, z)
                s, fresh, accepted = following, True, accepted + 1
                nodes[accepted] = s
                copy(new, y)
                copy(row(ks, end), row(ks, 0))
                count = keep_state(accepted, count, y, row(ks, 0), at, kept)
            else:
                rejected, cap, landed = rejected + 1, LOG_KEEP, False
    end_watch(s, sought, news)
    for q in range(n_rec):
        stages[min(accepted, room), 0, q] = y[q]
    status, worst = verdict(status, worst, one, est, y, new, 1.0, rtol, atol, probe_atol, probe_factor)
    tell(accepted, rejected, calls, worst, jacobians, factorisations, count, s, h, error, size, counts, last)
    return status


def error_of(
    found, stiff, e, stiff_e, one, h, filtered, ks, y, new, est, r, plan, mass, lu, pivots, z, rtol, atol, probe_atol, probe_factor,
):  # fmt: skip
    """Square of the error norm of a step; ``est`` says what it is made of."""
    if found != DONE:
        return math.inf
    if stiff:
        estimate(stiff_e, h, filtered, ks, est, r, plan, mass, lu, pivots, z)
    else:
        for q in range(est.shape[1]):
            acc = 0.0
            for i in range(e.shape[0]):
                acc += e[i] * ks[i, q]
            est[0, q] = h * acc
    return joint_error(one, est, y, new, 1.0, rtol, atol, probe_atol, probe_factor)


def adjoint(
    k, t0, span, steps, rate, base, depth, end, a, c, dense, gamma, stiff_a, stiff_c, stiff_dense, plan, mass, p, sigma, mesh, nodes,
    stages, out_bar, y_bar, p_bar, t_bar, kappa, g, w, values, r, rest, work, lu, pivots, z,
):  # fmt: skip
    """Discrete adjoint over the recorded steps, each by its method.

    Parameters
    ----------
    k, t0, span, steps, rate, end, a, c, dense, p, sigma, mesh, nodes, stages, out_bar, y_bar, p_bar, t_bar, kappa, g, w
        As in ``erk.adjoint``.
    base, depth, gamma, stiff_a, stiff_c, stiff_dense, plan, mass, values, r, rest, work, lu, pivots, z
        As in ``esdirk.adjoint``.

    Returns
    -------
    int
        DONE or SINGULAR.
    """
    sign = 1.0 if span > 0.0 else -1.0
    o, status = sigma.shape[0] - 1, DONE
    depart(steps, span, nodes, kappa)
    for step in range(steps - 1, -1, -1):
        h, t = mesh[step], t0 + nodes[step]
        hand_over(end, y_bar, kappa, g)
        if mark_of(h) == IMPLICIT:
            o = gather_outputs(o, sigma, sign, rate, stiff_dense, step, h, nodes, out_bar, y_bar, row(g, end), kappa, w)
            if status == DONE:
                status = retreat(k, gamma, stiff_a, stiff_c, t, h, p, step, stages, base, depth, plan, mass, y_bar, p_bar, t_bar, kappa,
                                 g, values, r, rest, work, lu, pivots, z)
        else:
            o = gather_outputs(o, sigma, sign, rate, dense, step, h, nodes, out_bar, y_bar, row(g, end), kappa, w)
            vjp(k, t + c[end] * h, row3(stages, step + 1, 0), p, row(kappa, end), row(g, end), p_bar, t_bar)
            retreat_explicit(k, end, a, c, t, h, p, step, stages, y_bar, p_bar, t_bar, kappa, g, True)
    arrive(k, t0, steps, rate, o, p, nodes, stages, out_bar, y_bar, p_bar, t_bar, kappa)
    return status


SHAPES = {
    "a": "S + 1, S", "c": "S + 1", "dense": "S + 1, degree", "stiff_a": "S + 1, S + 1", "stiff_c": "S + 1",
    "stiff_dense": "S + 1, degree", "p": "n_p", "sigma": "m", "mesh": "cap", "nodes": "cap + 1", "w": "S + 1", "plan": "n_plan",
    "mass": "n_mass", "values": "nnz", "lu": "n_lu", "pivots": "nb + 1", "z": "nb",
}  # fmt: skip
FORWARD = Loop(
    "auto_forward",
    forward,
    sizes=("N", "n", "n_out", "n_rec", "n_p", "S", "degree", "m", "cap", "nb", "nnz", "n_plan", "n_mass", "n_lu", *STEERED, *KEPT_SIZES,
           "G", "n_stops", "n_news"),
    integers=("max_steps", "replay", "rate", "base", "depth", "everywhere", "end", "filtered"),
    shapes={
        **SHAPES, **WATCH_SHAPES, **dict.fromkeys(("y", "new", "mid", "rise", "r"), "N"),
        "e": "S + 1", "stiff_e": "S + 1", "guess": "S + 1, S + 1",
        "one": "1", "rows": "nnz", "columns": "nnz", "atol": "n", "probe_atol": "n", "out": "m, n_out", "stages": "room + 1, S, n_rec",
        "ks": "S + 1, N", "est": "1, N", "late": "nnz", "late_lu": "n_lu", "late_pivots": "nb + 1", "counts": "7", "last": "4", **STEERING,
        **KEEPING,
    },
    integer_arrays=("counts", "at", "rows", "columns", "plan", "pivots", "late_pivots"),
    helpers=(
        *MATRICES, copy, mean_square, start_norm, first_step_size, error_square, worst_component, weights, observe, times_in_order,
        start_outputs, step_outputs, log2, exp2, next_size, steer, note, propose, joint_error, first_not_finite, begin_with_slopes, begin,
        verdict, tell, put, keep_state, change, settled, base_jacobian, worth_while, iterate_tangents,
        tangents, iterate, stage, exactness, attempt, estimate, advance, mark_of, marked,
        method_of, stiffness, norm_of_jacobian, choose, judge, either, error_of, *HELPERS, *INSIDE,
    ),
)  # fmt: skip
ADJOINT = Loop(
    "auto_adjoint",
    adjoint,
    sizes=("n", "n_out", "n_p", "S", "degree", "m", "cap", "room", "nb", "nnz", "n_plan", "n_mass", "n_lu"),
    integers=("steps", "rate", "base", "depth", "end"),
    shapes={
        **SHAPES, "out_bar": "m, n_out", "stages": "room + 1, S, n", "y_bar": "n", "p_bar": "n_p", "t_bar": "1", "kappa": "S + 1, n",
        "g": "S + 1, n", "r": "n", "rest": "n", "work": "n",
    },
    integer_arrays=("plan", "pivots"),
    helpers=(
        *MATRICES, copy, weights, depart, clear, hand_over, gather_outputs, take_slope, slope_cotangent, base_jacobian, change,
        worth_while, refine, retreat, retreat_explicit, arrive, mark_of,
    ),
)  # fmt: skip

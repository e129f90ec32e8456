"""Stepping loops of Rosenbrock methods: forward with recording and replay, and the discrete adjoint.

The same subset of Python and the same conventions as ``erk.py``. A step from (t, y) of size h solves, with W = 1 - h gamma J(t, y),

    W k_i = gamma (f(t + alpha_i h, Y_i) + sum_{j<i} c_ij k_j + d_i h f_t(t, y)),    Y_i = y + h sum_{j<i} a_ij k_j,

and goes to y + h sum_i b_i k_i: one Jacobian and one factorisation a step, and no iteration.

Such a method commutes with linearisation, as Runge-Kutta methods do: applied to a state with its tangents, with the Jacobian of the
two together, it gives the tangents of the discrete solution. Such systems are solved block by block (``lu.py``): the state alone, the
*base*, is their ``nb`` components from ``base`` on, and a tangent was added ``depth`` times.

Source: Hairer & Wanner, Solving Ordinary Differential Equations II, IV.7; adjoint: Zhang & Sandu, SIAM J. Sci. Comput. 36 (2014) C504-C523.
"""

import math

from diffsim.codegen.loops import Loop, bend, jac, rhs, rhs_t, row, row3, unroll, vjp
from diffsim.ode.loops.backward import clear
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
from diffsim.ode.loops.inside import INSIDE, look_inside, within
from diffsim.ode.loops.stepsize import (
    CAREFUL,
    DONE,
    LOG_GROW,
    LOG_KEEP,
    LOG_SMALL,
    NOT_FINITE,
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
    solve_joined,
    solve_joined_transposed,
    start_cotangents,
    times_mass,
    times_mass_transposed,
)
from diffsim.ode.matrices.plan import PLAIN


def slopes_at(k, t, y, p, base, f0, ft, values, z):
    """What all stages of a step share: f, df/dt and the base's Jacobian at its start. NOT_FINITE if f is not."""
    rhs(k, t, y, p, f0)
    rhs_t(k, t, y, p, ft)
    for q in range(z.shape[0]):
        z[q] = y[base + q]
    jac(k, t, z, p, values)
    return DONE if first_not_finite(f0) < 0 else NOT_FINITE


def stage_state(a, i, h, y, ks, out):
    """Y_i = y + h sum_{j<i} a_ij k_j."""
    for q in range(y.shape[0]):
        acc = 0.0
        for j in range(i):
            acc += a[i, j] * ks[j, q]
        out[q] = y[q] + h * acc


def load(plan, mass, c, i, ks, z, out, spare):
    """out = M sum_{j<i} c_ij k_j."""
    for q in range(out.shape[0]):
        acc = 0.0
        for j in range(i):
            acc += c[i, j] * ks[j, q]
        out[q] = acc
    if plan[PLAIN] == 0:
        copy(out, spare)
        for first in range(0, out.shape[0], z.shape[0]):
            times_mass(plan, mass, spare, first, z.shape[0], out, first)


def attempt(
    k, gamma, a, c, d, alpha, b, t, h, y, p, base, depth, plan, mass, f0, ft, values, ks, new, r, work, lu, pivots, z,
):  # fmt: skip
    """The slopes of one step and its new state; False if the matrix is singular."""
    form(plan, mass, values, h * gamma, lu)
    if not factor(plan, lu, pivots):
        return False
    for i in range(b.shape[0]):
        if i > 0:
            stage_state(a, i, h, y, ks, new)
            rhs(k, t + alpha[i] * h, new, p, r)
        load(plan, mass, c, i, ks, z, work, new)
        for q in range(y.shape[0]):
            r[q] = gamma * ((f0[q] if i == 0 else r[q]) + d[i] * h * ft[q] + work[q])
        if not solve_joined(k, t, y, p, h * gamma, base, depth, r, plan, lu, pivots, row(ks, i), z, work):
            return False
    for q in range(y.shape[0]):
        acc = 0.0
        for i in range(b.shape[0]):
            unroll()
            acc += b[i] * ks[i, q]
        new[q] = y[q] + h * acc
    return True


def keep(y, ks, step, stages):
    """Record the start and the slopes of a step."""
    for q in range(stages.shape[2]):
        stages[step, 0, q] = y[q]
        for i in range(ks.shape[0]):
            stages[step, 1 + i, q] = ks[i, q]


def forward(
    k, order, t0, span, rtol, probe_factor, first_step, max_step, max_steps, replay, rate, base, depth, everywhere, gamma, a, c, d, alpha,
    b, e, one, dense, plan, mass, y, p, atol, probe_atol, pace, sigma, out, mesh, nodes, stages, at, kept, ks, new, w, est, f0, ft, values,
    r, work, lu, pivots, z, past, history, counts, last, stops, ways, sides, marks, news,
):  # fmt: skip
    """Integrate from t0 to t0 + span; returns a status.

    Parameters
    ----------
    k, order, t0, span, rtol, probe_factor, first_step, max_step, max_steps, replay, rate, y, p, atol, probe_atol, sigma, out, mesh, nodes
        As in ``erk.forward``.
    base, depth : int
        First component of the base; how many times the system was joined by its tangent.
    everywhere : int
        1 if the interpolant must hold in all of a step, not only where there are outputs (``inside.py``).
    gamma, a, c, d, alpha, b, e, one, dense
        The tableau: a number, shapes (S, S), (S, S), (S,), (S,), (S,), (S,), (1,), (S, degree).
    plan, mass : ndarray, shapes (n_plan,) of int, (n_mass,)
        How linear systems are solved, and the entries of the mass matrix (``lu.py``).
    stages : ndarray, shape (room + 1, S + 1, n_rec)
        Written: the state at the start of each step and its slopes.
    at, kept
        As in ``erk.forward``; there is no slope to be kept.
    ks, new, w, est, f0, ft, values, r, work, lu, pivots, z : ndarray
        Work: shapes (S, N), (N,), (S,), (1, N), (N,), (N,), (nnz,), (N,), (N,), (n_lu,), (nb + 1,) of int, (nb,).
    pace, past, history, counts, last, stops, ways, sides, marks, news
        As in ``erk.forward``.

    Returns
    -------
    int
        As ``erk.forward``, or SINGULAR: the matrix of a step to be repeated is singular.
    """
    sign = 1.0 if span > 0.0 else -1.0
    n_rec, room, fresh = stages.shape[2], stages.shape[0] - 1, True
    s, h, error, landed, cap, before = nodes[0], 0.0, 0.0, span == 0.0, LOG_GROW, CAREFUL * LOG_SMALL
    accepted, rejected, jacobians, factorisations, passed, sought, bears = 0, 0, 0, 0, 0, False, math.inf
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
                status = slopes_at(k, t0 + s, y, p, base, f0, ft, values, z)
                calls, jacobians, fresh = calls + 1, jacobians + 1, False
            regular = attempt(k, gamma, a, c, d, alpha, b, t0 + s, h, y, p, base, depth, plan, mass, f0, ft, values, ks, new, r,
                              work, lu, pivots, z)
            factorisations += 1
            calls += b.shape[0] - 1
            if replay == 0:
                error = math.inf
                if regular:
                    error = joint_error(e, ks, y, new, h, rtol, atol, probe_atol, probe_factor)
                size, remembered = steer(size, error, before, order, cap, pace, past)
                error, bears = look_inside(k, error, bears, everywhere, o, order, gamma, dense, sigma, sign, t0 + s, s, h, y, new, p, rtol,
                                           atol, probe_atol, probe_factor, one, ks, plan, mass, lu, pivots, w, work, r, est, z)
                note(history, accepted + rejected, s, h, error)
            elif not regular:
                status = SINGULAR
            reaches, following = landed, goal if landed else s + h
            landed = landed and goal == span
            good = error <= 1.0 and status == DONE
            sought = watched(good, k, t0, s, h, s == 0.0, dense, y, new, ks, p, w, work, ways, sides, marks, news)
            if sought:
                landed = rest(o, y, out)
            elif good:
                o = step_outputs(o, sigma, sign, rate, dense, s, h, following, landed, y, new, ks, w, out)
                keep(y, ks, min(accepted, room), stages)
                if replay == 0:
                    mesh[accepted] = h
                    size, cap, before = min(max_step, after_landing(size, wanted, reaches, passed, stops)), LOG_GROW, remembered
                s, fresh, accepted = following, True, accepted + 1
                nodes[accepted] = s
                copy(new, y)
                held = keep_state(accepted, held, y, row(ks, 0), at, kept)
            else:
                rejected, cap, landed = rejected + 1, LOG_KEEP, False
    end_watch(s, sought, news)
    for q in range(n_rec):
        stages[min(accepted, room), 0, q] = y[q]
    status, worst = verdict(status, worst, e, ks, y, new, h, rtol, atol, probe_atol, probe_factor)
    tell(accepted, rejected, calls, worst, jacobians, factorisations, held, s, h, error, size, counts, last)
    return status


def pass_to_earlier(factors, scale, i, x, kappa):
    """kappa_j gains scale factors_ij x for j < i."""
    for q in range(x.shape[0]):
        for j in range(i):
            kappa[j, q] += scale * factors[i, j] * x[q]


def retreat(
    k, gamma, a, c, d, alpha, t, h, p, step, stages, base, depth, plan, mass, y_bar, p_bar, t_bar, kappa, g, r, work, state, lu, pivots, z,
):  # fmt: skip
    """Stages S - 1 .. 0 of one step, given what its end and the outputs add to kappa; y_bar gains the cotangents of the states.

    Returns a status.
    """
    n, start = y_bar.shape[0], row3(stages, step, 0)
    for back in range(kappa.shape[0]):
        i = kappa.shape[0] - 1 - back
        x = row(kappa, i)
        copy(x, r)
        if not solve_joined_transposed(k, t, start, p, h * gamma, base, depth, r, plan, lu, pivots, x, z, work):
            return SINGULAR
        for q in range(n):
            x[q] *= gamma
            work[q] = h * stages[step, 1 + i, q]
        bend(k, t, start, work, d[i] * h, p, x, y_bar, p_bar, t_bar)
        for first in range(0, n, z.shape[0]):
            times_mass_transposed(plan, mass, x, first, z.shape[0], r, first)
        pass_to_earlier(c, 1.0, i, r, kappa)
        for q in range(n):
            acc = 0.0
            for j in range(i):
                acc += a[i, j] * stages[step, 1 + j, q]
            state[q] = start[q] + h * acc
            g[q] = 0.0
        vjp(k, t + alpha[i] * h, state, p, x, g, p_bar, t_bar)
        for q in range(n):
            y_bar[q] += g[q]
        pass_to_earlier(a, h, i, g, kappa)
    return DONE


def gather_first(k, t0, o, steps, rate, p, plan, mass, stages, out_bar, y_bar, p_bar, t_bar, g, lu, pivots, z):
    """Cotangents of the outputs up to number o, which lie at the start, given to it."""
    for q in range(y_bar.shape[0]):
        g[q] = 0.0
        for i in range(o + 1):
            g[q] += out_bar[i, q]
        if rate == 0:
            y_bar[q] += g[q]
    if steps == 0 and rate == 1:
        start_cotangents(plan, mass, lu, pivots, z, g)
        vjp(k, t0, row3(stages, 0, 0), p, g, y_bar, p_bar, t_bar)


def adjoint(
    k, t0, span, steps, rate, base, depth, gamma, a, c, d, alpha, b, dense, plan, mass, p, sigma, mesh, nodes, stages,
    out_bar, y_bar, p_bar, t_bar, kappa, g, w, values, r, work, state, lu, pivots, z,
):  # fmt: skip
    """Discrete adjoint over the recorded steps: exact, second derivatives of f included.

    Parameters
    ----------
    k, t0, span, rate, base, depth, gamma, a, c, d, alpha, b, dense, plan, mass, p, sigma
        As in ``forward``.
    steps, out_bar, y_bar, p_bar, t_bar
        As in ``erk.adjoint``.
    mesh, nodes, stages : ndarray, shapes (>= steps,), (>= steps + 1,), (>= steps + 1, S + 1, n)
        As recorded by ``forward``.
    kappa, g, w, values, r, work, state, lu, pivots, z : ndarray
        Work: cotangents of the slopes (S, n), of a state (n,), weights (S,); the others as in ``forward``.

    Returns
    -------
    int
        0, or SINGULAR.

    Notes
    -----
    With x_i = gamma W^-T kappa_i: kappa_j gains c_ij x_i and h a_ij g_i, g_i = f_y(Y_i)^T x_i; lambda_n gains g_i and the derivative of
    x_i^T (h J k_i + d_i h f_t) by the state at the start.
    """
    sign = 1.0 if span > 0.0 else -1.0
    n, o = y_bar.shape[0], sigma.shape[0] - 1
    for step in range(steps - 1, -1, -1):
        h, t = mesh[step], t0 + nodes[step]
        for q in range(n):
            g[q] = y_bar[q]
            y_bar[q] = 0.0
        clear(kappa, kappa.shape[0])
        o = gather_outputs(o, sigma, sign, rate, dense, step, h, nodes, out_bar, y_bar, g, kappa, w)
        for q in range(n):
            y_bar[q] += g[q]
            for i in range(kappa.shape[0]):
                unroll()
                kappa[i, q] += h * b[i] * g[q]
        for q in range(z.shape[0]):
            z[q] = stages[step, 0, base + q]
        jac(k, t, z, p, values)
        form(plan, mass, values, h * gamma, lu)
        status = SINGULAR
        if factor(plan, lu, pivots):
            status = retreat(k, gamma, a, c, d, alpha, t, h, p, step, stages, base, depth, plan, mass, y_bar, p_bar, t_bar, kappa, g, r,
                             work, state, lu, pivots, z)
        if status != DONE:
            return status
    gather_first(k, t0, o, steps, rate, p, plan, mass, stages, out_bar, y_bar, p_bar, t_bar, g, lu, pivots, z)
    return DONE


SHAPES = {
    "a": "S, S", "c": "S, S", "d": "S", "alpha": "S", "b": "S", "e": "S", "dense": "S, degree", "p": "n_p", "sigma": "m", "mesh": "cap",
    "nodes": "cap + 1", "w": "S", "plan": "n_plan", "mass": "n_mass", "values": "nnz", "lu": "n_lu", "pivots": "nb + 1",
    "z": "nb",
}  # fmt: skip
FORWARD = Loop(
    "rosenbrock_forward",
    forward,
    sizes=("N", "n", "n_out", "n_rec", "n_p", "S", "degree", "m", "cap", "nb", "nnz", "n_plan", "n_mass", "n_lu", *STEERED, *KEPT_SIZES,
           "G", "n_stops", "n_news"),
    integers=("max_steps", "replay", "rate", "base", "depth", "everywhere"),
    shapes={
        **SHAPES, "one": "1", "est": "1, N",
        "y": "N", "atol": "n", "probe_atol": "n", "out": "m, n_out", "stages": "room + 1, S + 1, n_rec", "ks": "S, N", "new": "N",
        "f0": "N", "ft": "N", "r": "N", "work": "N", "counts": "7", "last": "4", **STEERING, **KEEPING, **WATCH_SHAPES,
    },
    integer_arrays=("counts", "at", "plan", "pivots"),
    helpers=(
        *MATRICES, copy, mean_square, start_norm, first_step_size, modest_first_step, error_square, worst_component, weights,
        observe, times_in_order, start_outputs, step_outputs, log2, exp2, next_size, steer, note, propose, joint_error,
        first_not_finite, begin_with_slopes, begin_implicit, verdict, tell, put, keep_state, slopes_at, stage_state, load, attempt, keep,
        *HELPERS, *INSIDE,
    ),
)  # fmt: skip
ADJOINT = Loop(
    "rosenbrock_adjoint",
    adjoint,
    sizes=("n", "n_out", "n_p", "S", "degree", "m", "cap", "room", "nb", "nnz", "n_plan", "n_mass", "n_lu"),
    integers=("steps", "rate", "base", "depth"),
    shapes={
        **SHAPES, "out_bar": "m, n_out", "stages": "room + 1, S + 1, n", "y_bar": "n", "p_bar": "n_p", "t_bar": "1", "kappa": "S, n",
        "g": "n", "r": "n", "work": "n", "state": "n",
    },
    integer_arrays=("plan", "pivots"),
    helpers=(
        copy, *MATRICES, weights, clear, gather_outputs, pass_to_earlier,
        retreat, gather_first,
    ),
)  # fmt: skip

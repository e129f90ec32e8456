"""Stepping loops of numerical differentiation formulas (BDF) of orders 1 to 5: forward with recording and replay, and the discrete adjoint.

The same subset of Python and the same conventions as ``erk.py``. A solve carries the backward differences D_0 = y, D_1, .. of the last
states at equal steps. A step of another size first brings them to it, D' = (R U)^T D; then, with order k,

    Y = y' + d,    y' = D'_0 + .. + D'_k,    M (psi + d) = c f(t + h, Y),    c = h / alpha_k,    psi = sum_j gamma_j D'_j / alpha_k,

and d is the new difference of order k + 1, from which the others follow by sums: E_i = d + D'_k + .. + D'_i.

Everything but the equation for d is linear in the differences, so tangents and the adjoint are those of any one-step method whose state
is all of them: the adjoint passes on cotangents of the differences and solves one transposed system a step. These cotangents approximate
those of the continuous problem only once they have arrived at the start; the derivatives are exact.

A step is repeated only if its order is known, too: increments hold it (``marks.py``). A solve is repeated only as a whole, because all
differences go into a step.

Newton's iteration as in ``radau.py``: down to rounding with a Jacobian and factors of its own for each step where the solve is recorded or
repeated; else both are kept until it fails.

Sources: Shampine & Reichelt, SIAM J. Sci. Comput. 18 (1997) 1-22 (formulas, choice of order and size); Beigel, Mommer, Wirsching & Bock,
Numer. Math. 126 (2014) 383-412 (the discrete adjoint).
"""


from diffsim.codegen.loops import Loop, row3, vjp
from diffsim.ode.loops.bdf_steps import (
    ORDERS_FROM,
    allowed,
    attempt,
    choose,
    iterate,
    joined,
    judged,
    keep_start,
    matrix,
    norm_of,
    ordered,
    predict,
    renew,
    rescale,
    retreat_to,
    scaled,
    start,
    update,
)
from diffsim.ode.loops.erk import (
    STEERED,
    STEERING,
    begin_with_slopes,
    copy,
    observe,
    start_outputs,
    step_outputs,
    tell,
    times_in_order,
    verdict,
    weights,
)
from diffsim.ode.loops.esdirk_stages import base_jacobian, change, tangents
from diffsim.ode.loops.marks import mark_of, marked
from diffsim.ode.loops.radau import left_over
from diffsim.ode.loops.radau_stages import arrived
from diffsim.ode.loops.stepsize import (
    DONE,
    SINGULAR,
    error_square,
    first_not_finite,
    first_step_size,
    joint_error,
    mean_square,
    modest_first_step,
    note,
    propose,
    start_norm,
    worst_component,
)
from diffsim.ode.loops.watch import (
    HELPERS,
    SIZE,
    WATCH_SHAPES,
    after_landing,
    begin_watch,
    end_watch,
    next_goal,
    rest,
    watched,
)
from diffsim.ode.matrices.lu import (
    MATRICES,
    begin_implicit,
    factor,
    form,
    solve_joined_transposed,
    start_cotangents,
    times_mass_transposed,
)

SLOW = 0.2               # rate of convergence from which on the next step gets a Jacobian of its own


def forward(
    k, order, t0, span, rtol, probe_factor, first_step, max_step, max_steps, replay, rate, base, depth, alpha, sums, errors, one, dense,
    plan, mass, y, p, atol, probe_atol, pace, sigma, out, mesh, nodes, stages, ks, new, w, est, values, slope, difference,
    trial, u, v, turn, mid, psi, d, r, lu, pivots, late, late_lu, late_pivots, z, past, history, counts, last, ahead, stops, ways,
    sides, marks, news,
):  # fmt: skip
    """Integrate from t0 to t0 + span; returns a status.

    Parameters
    ----------
    k, order, t0, span, rtol, probe_factor, first_step, max_step, max_steps, replay, rate, y, p, atol, probe_atol, sigma, out, mesh, nodes
        As in ``erk.forward``; increments hold their orders, and those to be repeated must (``marks.py``).
    base, depth, plan, mass
        As in ``rosenbrock.forward``.
    alpha, sums, errors, dense
        The tableau: shapes (S + 1,), (S + 1,), (S + 2,), (S, degree).
    one : ndarray, shape (1,)
        1.0: the weight of ``est`` in the error norm.
    stages : ndarray, shape (room + 1, 1, n_rec)
        Written: the state at the step's start, as in ``erk.forward``.
    ks, new, w, est, values, slope, mid, psi, d, r : ndarray
        Work: shapes (S, N), (N,), (S,), (1, N), (nnz,), (N,) each of the others.
    difference, trial, u, v, turn : ndarray
        Work: backward differences (S + 3, N), those brought to a step (S + 1, N), three matrices (S + 1, S + 1).
    lu, pivots, late, late_lu, late_pivots, z : ndarray
        Work, as in ``esdirk.forward``.
    pace, past, history, counts, last
        As in ``erk.forward``; ``pace`` is not read: order and size are chosen together.
    ahead, stops, ways, sides, marks, news : ndarray
        As in ``erk.forward``, and the interpolant of a step from its start on, shape (S, degree). The step in which an active function
        changes its sign is taken: it cannot be repeated without those before it.

    Returns
    -------
    int
        As ``erk.forward``, or SINGULAR, UNSOLVED, UNORDERED: a step to be repeated holds no order that can follow the one before.
    """
    sign, room, tight = 1.0 if span > 0.0 else -1.0, stages.shape[0] - 1, replay > 0 or stages.shape[2] > 0
    s, h, error, landed, taken, made, gain, sought, seen = 0.0, 0.0, 0.0, span == 0.0, 0.0, 0.0, 1.0, False, 0.0
    accepted, rejected, jacobians, factorisations, now, equal, passed, stale, again = 0, 0, 0, 0, 1, 0, 0, True, False
    status, worst, o, calls, size = begin_implicit(k, order, t0, s, span, y, p, base, plan, mass, sigma, rate, replay, first_step, max_step,
                                                   rtol, atol, probe_atol, probe_factor, values, r, lu, pivots, z, ks, new, out)
    start(ks, slope, difference)
    begin_watch(k, t0, y, p, sides, marks, news)
    while status == DONE and not landed:
        passed, goal = next_goal(stops, passed, s, sign, span)
        wanted = size
        status, h, size, landed = propose(size, s, goal, replay, mesh, accepted, rejected, max_steps)
        if status == DONE:
            h, now, status = ordered(h, now, taken, replay)
        if status == DONE:
            rescale(now, taken, h, slope, y, difference, u, v, turn, trial)
            predict(now, alpha, sums, trial, new, psi, d)
            c, turns, fall, current = h / alpha[now], 0, 0.0, tight or stale
            found, fresh, factored = renew(k, t0 + s + h, new, p, base, c, made, current, plan, mass, values, lu, pivots, z)
            jacobians, factorisations, made = jacobians + fresh, factorisations + factored, c if found == DONE else 0.0
            if found == DONE:
                found, turns, fall = attempt(k, t0 + s + h, c, p, base, depth, plan, mass, tight, gain, rtol, atol, new, mid, psi, d, r,
                                             lu, pivots, late, late_lu, late_pivots, z)
            calls, gain = calls + turns, left_over(turns, fall)
            status, error = judged(replay, found, now, errors, d, one, est, y, new, rtol, atol, probe_atol, probe_factor)
            note(history, accepted + rejected, s, h, error)
            if error <= 1.0 and status == DONE:
                reaches, following, stale = landed, goal if landed else s + h, fall > SLOW
                update(now, new, d, trial, difference)
                scaled(now, difference, h, ks)
                sought, seen = watched(True, k, t0, s, h, s == 0.0, ahead, y, new, ks, p, w, mid, ways, sides, marks, news), s
                if sought and news[SIZE] == 0.0:
                    landed = rest(o, y, out)
                    break
                landed = sought or (landed and goal == span)
                o = step_outputs(o, sigma, sign, rate, dense, following, h, following, landed, new, new, ks, w, out)
                keep_start(accepted, room, y, stages)
                equal, taken, again, s = equal + 1 if h == taken else 1, h, False, following
                if replay == 0:
                    mesh[accepted] = h
                    now, size = choose(now, equal, abs(h), max_step, error, errors, one, difference, est, y, new, rtol, atol, probe_atol,
                                       probe_factor)
                    size = min(max_step, after_landing(size, wanted, reaches, passed, stops))
                accepted += 1
                nodes[accepted] = s
                copy(new, y)
            else:
                now, size = retreat_to(now, abs(h), error, again, found, current, errors, one, trial, d, est, y, new, rtol, atol,
                                       probe_atol, probe_factor)
                rejected, again, landed, stale = rejected + 1, found == DONE, False, found != DONE
    end_watch(seen if sought else s, sought, news)
    keep_start(accepted, room, y, stages)
    status, worst = verdict(status, worst, one, est, y, new, 1.0, rtol, atol, probe_atol, probe_factor)
    tell(accepted, rejected, calls, worst, jacobians, factorisations, 0, s, h, error, size, counts, last)
    return status


def gather(o, sigma, sign, rate, dense, step, now, h, nodes, out_bar, bar, w):
    """Cotangents of the outputs in one step, given to the differences after it. Returns the number of the next output."""
    s, following = nodes[step], nodes[step + 1]
    while o >= 0 and (sigma[o] * sign > s * sign or (step == 0 and rate > 0)):
        if rate == 0:
            for q in range(bar.shape[1]):
                bar[0, q] += out_bar[o, q]
        if rate > 0 or sigma[o] != following:
            weights(dense, (sigma[o] - following) / h, h, rate, w)
            for q in range(bar.shape[1]):
                for j in range(now):
                    bar[1 + j, q] += w[j] / h * out_bar[o, q]
        o -= 1
    return o


def withdraw(k, t, c, state, p, now, alpha, sums, base, depth, plan, mass, lu, pivots, bar, p_bar, t_bar, d_bar, x, g, work, z):
    """Cotangents of the differences after a step become those of the differences brought to it. Returns a status."""
    n = x.shape[0]
    for q in range(n):
        acc = 0.0
        for i in range(now + 2):
            acc += bar[i, q]
            bar[i, q] = acc
        d_bar[q] = acc
        g[q] = 0.0
    if not solve_joined_transposed(k, t, state, p, c, base, depth, d_bar, plan, lu, pivots, x, z, work):
        return SINGULAR
    for q in range(n):
        work[q] = c * x[q]
    vjp(k, t, state, p, work, g, p_bar, t_bar)
    for first in range(0, n, z.shape[0]):
        times_mass_transposed(plan, mass, x, first, z.shape[0], work, first)
    for q in range(n):
        for i in range(now + 1):
            bar[i, q] += g[q] - sums[i] / alpha[now] * work[q]
        bar[now + 1, q] = 0.0
    return DONE


def rescale_back(now, ratio, r, u, turn, bar, column):
    """The transpose of ``rescale``."""
    matrix(now, ratio, r, u, turn)
    for q in range(bar.shape[1]):
        for i in range(now + 1):
            column[i] = bar[i, q]
        for i in range(now + 1):
            acc = 0.0
            for j in range(now + 1):
                acc += turn[i, j] * column[j]
            bar[i, q] = acc


def adjoint(
    k, t0, span, steps, rate, base, depth, alpha, sums, dense, plan, mass, p, sigma, mesh, nodes, stages, out_bar, y_bar,
    p_bar, t_bar, bar, w, u, v, turn, column, values, d_bar, x, g, work, lu, pivots, z,
):  # fmt: skip
    """Discrete adjoint over the recorded steps, their equations solved exactly (implicit function theorem).

    Parameters
    ----------
    k, t0, span, rate, base, alpha, sums, dense, plan, mass, p, sigma
        As in ``forward``.
    depth : int
        How many times the system was joined by its tangent.
    steps, out_bar, y_bar, p_bar, t_bar
        As in ``erk.adjoint``.
    mesh, nodes, stages : ndarray, shapes (>= steps,), (>= steps + 1,), (>= steps + 1, 1, n)
        As recorded by ``forward``.
    bar, w, u, v, turn, column, values, d_bar, x, g, work, lu, pivots, z : ndarray
        Work: cotangents of the differences (S + 2, n), shapes (S,), (S + 1, S + 1) three times, (S + 1,), (nnz,), (n,) four times; the
        others as in ``forward``.

    Returns
    -------
    int
        DONE or SINGULAR.

    Notes
    -----
    With E_i = d + D'_k + .. + D'_i the differences after a step: the cotangent of d is the sum of all their cotangents, that of D'_m
    begins as the sum of those up to m; x = (M - c J)^-T d_bar adds c J^T x - (gamma_m / alpha_k) M^T x to it.
    """
    sign, n, o, status = 1.0 if span > 0.0 else -1.0, y_bar.shape[0], sigma.shape[0] - 1, DONE
    for q in range(n):
        for i in range(bar.shape[0]):
            bar[i, q] = y_bar[q] if i == 0 else 0.0
    for step in range(steps - 1, -1, -1):
        h, now, following = mesh[step], mark_of(mesh[step]) - ORDERS_FROM, t0 + nodes[step] + mesh[step]
        o = gather(o, sigma, sign, rate, dense, step, now, h, nodes, out_bar, bar, w)
        base_jacobian(k, following, row3(stages, step + 1, 0), p, base, values, z)
        form(plan, mass, values, h / alpha[now], lu)
        if status == DONE and not factor(plan, lu, pivots):
            status = SINGULAR
        if status == DONE:
            status = withdraw(k, following, h / alpha[now], row3(stages, step + 1, 0), p, now, alpha, sums, base, depth, plan, mass, lu,
                              pivots, bar, p_bar, t_bar, d_bar, x, g, work, z)
            if step > 0 and mesh[step - 1] != h:
                rescale_back(now, h / mesh[step - 1], u, v, turn, bar, column)
    for q in range(n):
        y_bar[q] = bar[0, q]
        work[q] = mesh[0] * bar[1, q] if steps > 0 else 0.0
        for i in range(o + 1):
            if rate == 0:
                y_bar[q] += out_bar[i, q]
            elif steps == 0 and rate == 1:
                work[q] += out_bar[i, q]
    start_cotangents(plan, mass, lu, pivots, z, work)
    vjp(k, t0, row3(stages, 0, 0), p, work, y_bar, p_bar, t_bar)
    return status


SHAPES = {
    "alpha": "S + 1", "sums": "S + 1", "dense": "S, degree", "p": "n_p", "sigma": "m", "mesh": "cap", "nodes": "cap + 1", "w": "S",
    "plan": "n_plan", "mass": "n_mass", "values": "nnz", "lu": "n_lu", "pivots": "nb + 1", "z": "nb",
    **dict.fromkeys(("u", "v", "turn"), "S + 1, S + 1"),
}  # fmt: skip
FORWARD = Loop(
    "bdf_forward",
    forward,
    sizes=("N", "n", "n_out", "n_rec", "n_p", "S", "degree", "m", "cap", "room", "nb", "nnz", "n_plan", "n_mass", "n_lu", *STEERED,
           "G", "n_stops", "n_news"),
    integers=("max_steps", "replay", "rate", "base", "depth"),
    shapes={
        **SHAPES, **WATCH_SHAPES, "ahead": "S, degree",
        **dict.fromkeys(("y", "new", "slope", "mid", "psi", "d", "r"), "N"), "errors": "S + 2", "one": "1", "atol": "n",
        "probe_atol": "n", "out": "m, n_out", "stages": "room + 1, 1, n_rec", "ks": "S, N", "est": "1, N", "difference": "S + 3, N",
        "trial": "S + 1, N", "late": "nnz", "late_lu": "n_lu", "late_pivots": "nb + 1", "counts": "7", "last": "4", **STEERING,
    },
    integer_arrays=("counts", "plan", "pivots", "late_pivots"),
    helpers=(
        *MATRICES, copy, mean_square, start_norm, first_step_size, modest_first_step, error_square, worst_component, weights, observe,
        times_in_order, start_outputs, step_outputs, propose, joint_error, first_not_finite, begin_with_slopes, begin_implicit, verdict,
        tell, note, change, arrived, base_jacobian, tangents, mark_of, marked, matrix, rescale, predict, iterate,
        joined, attempt, update, scaled, norm_of, judged, keep_start, allowed, choose, retreat_to, start, ordered, renew, left_over,
        *HELPERS,
    ),
)  # fmt: skip
ADJOINT = Loop(
    "bdf_adjoint",
    adjoint,
    sizes=("n", "n_out", "n_p", "S", "degree", "m", "cap", "room", "nb", "nnz", "n_plan", "n_mass", "n_lu"),
    integers=("steps", "rate", "base", "depth"),
    shapes={
        **SHAPES, **dict.fromkeys(("y_bar", "d_bar", "x", "g", "work"), "n"), "out_bar": "m, n_out", "stages": "room + 1, 1, n",
        "p_bar": "n_p", "t_bar": "1", "bar": "S + 2, n", "column": "S + 1",
    },
    integer_arrays=("plan", "pivots"),
    helpers=(
        *MATRICES, weights, base_jacobian, mark_of, matrix, gather, withdraw,
        rescale_back,
    ),
)  # fmt: skip

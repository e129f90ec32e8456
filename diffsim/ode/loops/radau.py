"""Stepping loops of Radau IIA methods: forward with recording and replay, and the discrete adjoint.

The same subset of Python and the same conventions as ``erk.py``. The stages of a step of size h from (t, y) are solved for together,

    Y_i = y + Z_i,    Z_i = h sum_j a_ij k_j,    M k_i = f(t + c_i h, Y_i),    i = 1 .. S,

and Y_S is the new state. Newton's iteration with one Jacobian J works on W = T^-1 Z, T of eigenvectors of a: one real and one complex
system of the size of the state take the place of one S times as large. Slopes are
then k = a^-1 Z / h, which does not magnify what the iteration left; the last one starts the next step.

The error estimate is that of the method of order 3 with weight gamma at the step's start, filtered by (M - h gamma J)^-1, and once more
where a first step or one after a rejection would be refused. It is far larger than the error of order 5; so it is held, as in Hairer &
Wanner's code, against the tolerances times 0.1 rtol^(-1/3) (``RELIEF``).

Of a state with its tangents the state alone is iterated; the equations of its tangents are linear, and solved with the Jacobians at the
stages (``stage_lu.py``), as is the adjoint. What is recorded, or repeated on given steps, is iterated down to rounding with the
Jacobian at the step's start: of a step nothing but state and slope at its end reaches the next one, and a replay repeats the solve, or any
part of it, bit for bit. Where nobody wants derivatives, the iteration starts from the polynomial of the step before, and Jacobian and
factors stay for as long as it converges fast.

Sources: Hairer & Wanner, Solving Ordinary Differential Equations II, IV.8, and J. Comput. Appl. Math. 111 (1999) 93-111.
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
from diffsim.ode.loops.esdirk_stages import base_jacobian, change
from diffsim.ode.loops.inside import INSIDE, look_inside, within
from diffsim.ode.loops.radau_stages import (
    arrived,
    attempt,
    correct,
    estimate,
    factorise,
    iterate,
    measure,
    predict,
    residual,
    slopes,
    tangents,
    true_matrix,
)
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
from diffsim.ode.matrices.lu import MATRICES, begin_implicit, level, start_cotangents
from diffsim.ode.matrices.stage_lu import (
    add_mass,
    factor_pair,
    factor_stages,
    form_pair,
    form_stages,
    gather_stages,
    solve_pair,
    solve_stages,
    solve_stages_transposed,
    spread_stages,
)

FAST = 1e-3              # rate of convergence up to which a Jacobian is kept
RELIEF = 100.0           # of the square of the error norm, times rtol^(2/3)
KEPT = 1.2               # a step that would grow by less stays as it is where this saves a factorisation


def relief_of(rtol):
    """Factor of the square of the error norm, by the largest of the tolerances."""
    largest = 0.0
    for q in range(rtol.shape[0]):
        largest = max(largest, rtol[q])
    return RELIEF * largest ** (2.0 / 3.0)


def left_over(turns, fall):
    """What the first change of the next iteration is expected to leave, as a part of itself, from the rate of this one."""
    return 1.0 if turns == 1 else max(fall, 1e-16) / (1.0 - fall)


def held_size(size, before, stale):
    """Size of the next step: that of the step before where the factors at hand serve it and it would grow by little."""
    return before if not stale and size >= before and size <= KEPT * before else size


def remember(ks, base, h, former):
    """Keep the slopes of the state alone for the step after this one, whose size is returned."""
    for i in range(former.shape[0]):
        for q in range(former.shape[1]):
            former[i, q] = ks[1 + i, base + q]
    return h


def renew(
    k, t, h, y, p, base, stale, made, plan, mass, values, rows, columns, gamma, pair_re, pair_im, lu, pivots, re, im, pair_pivots, kl, ku,
    z,
):  # fmt: skip
    """Jacobian, if the one at hand is stale, and factors, if those at hand are of another size. Returns a status and how many were made."""
    fresh = 0
    if stale:
        base_jacobian(k, t, y, p, base, values, z)
        fresh = 1
    elif made == h:
        return DONE, 0, 0
    found = factorise(plan, mass, values, rows, columns, gamma, pair_re, pair_im, h, lu, pivots, re, im, pair_pivots, kl, ku)
    return found, fresh, 1


def appraise(
    k, found, replay, current, bears, everywhere, o, gamma, dense, sigma, sign, s, w, e, one, relief, accepted, t, h, size, before,
    order, cap, y, p, rtol, atol, probe_atol, probe_factor, pace, past, ks, new, est, r, plan, mass, lu, pivots, z,
):  # fmt: skip
    """What follows from an attempted step: status, square of its error norm, whether the Jacobian is stale, size, memory of the controller,
    what the interpolant bears.

    A step without a solution is tried again with a Jacobian of its own, then at half its size.
    """
    if replay > 0:
        return found, 0.0, False, size, before, bears
    if found != DONE:
        return DONE, math.inf, not current, 0.5 * size if current else size, before, bears
    again = cap == LOG_KEEP or accepted == 0
    error = measure(k, e, one, relief, again, t, h, y, p, rtol, atol, probe_atol, probe_factor, ks, new, est, r, plan, mass, lu, pivots, z)
    size, remembered = steer(size, error, before, order, cap, pace, past)
    error, bears = look_inside(k, error, bears, everywhere, o, order, gamma, dense, sigma, sign, t, s, h, y, new, p, rtol, atol, probe_atol,
                               probe_factor, one, ks, plan, mass, lu, pivots, w, row(r, 0), row(r, 1), est, z)
    return DONE, error, False, size, remembered, bears


def forward(
    k, order, t0, span, rtol, probe_factor, first_step, max_step, max_steps, replay, rate, base, depth, everywhere, kl, ku, wide_kl,
    wide_ku, gamma, pair_re, pair_im, a, inverse, basis, onto, into, ahead, c, e, one, dense, rows, columns, place, plan, mass, y, p, atol,
    probe_atol, pace, sigma, out, mesh, nodes, stages, at, kept, ks, new, w, est, values, former, rise, held, moved, states, r, lu, pivots,
    re, im, pair_pivots, late, wide, wide_pivots, z, u, long, past, history, counts, last, stops, ways, sides, marks, news,
):  # fmt: skip
    """Integrate from t0 to t0 + span; returns a status.

    Parameters
    ----------
    k, order, t0, span, rtol, probe_factor, first_step, max_step, max_steps, replay, rate, y, p, atol, probe_atol, sigma, out, mesh, nodes
        As in ``erk.forward``.
    base, depth, everywhere, plan, mass
        As in ``rosenbrock.forward``.
    kl, ku : int
        Half-widths of the base's renumbered Jacobian.
    rows, columns, place : ndarray of int, shapes (nnz,), (nnz,), (nb,)
        Where the kernel's entries of the Jacobian belong, and the renumbering.
    wide_kl, wide_ku : int
        Half-widths of the band of the matrix of all stages.
    gamma, pair_re, pair_im, a, inverse, basis, onto, into, ahead, c, e, dense
        The tableau: numbers, and shapes (S, S) but for (S + 1,) of c and e, (S + 1, degree) of dense.
    one : ndarray, shape (1,)
        1.0: the weight of ``est`` in the error norm.
    stages, at, kept
        As in ``erk.forward``, stages of shape (room + 1, S, n_rec): the state at the step's start, then stage states.
    ks, new, w, est, values, states, r : ndarray
        Work: shapes (S + 1, N), (N,), (S + 1,), (1, N), (nnz,), (S, N), (S, N).
    former, rise, held, moved : ndarray, shape (S, nb)
        Work: slopes of the step before, Z, W, changes.
    lu, pivots, re, im, pair_pivots, late, wide, wide_pivots, z, u, long : ndarray
        Work: the real matrix, the complex one, Jacobians at the stages (S, nnz), the matrix of all stages, vectors (nb,), (nb,), (S nb,).
    pace, past, history, counts, last, stops, ways, sides, marks, news
        As in ``erk.forward``.

    Returns
    -------
    int
        As ``erk.forward``, or SINGULAR, UNSOLVED: a step to be repeated has no solution that Newton's iteration finds.
    """
    sign, end, n_rec, room, relief = 1.0 if span > 0.0 else -1.0, a.shape[0], stages.shape[2], stages.shape[0] - 1, relief_of(rtol)
    s, h, error, landed, cap, before = nodes[0], 0.0, 0.0, span == 0.0, LOG_GROW, CAREFUL * LOG_SMALL
    accepted, rejected, jacobians, factorisations, bears = 0, 0, 0, 0, math.inf
    tight = replay > 0 or n_rec > 0 or kept.shape[0] > 0
    stale, current, made, taken, gain, passed, sought = True, True, 0.0, 0.0, 1.0, 0, False
    status, worst, o, calls, size = begin_implicit(k, order, t0, s, span, y, p, base, plan, mass, sigma, rate, replay, first_step, max_step,
                                                   rtol, atol, probe_atol, probe_factor, values, row(r, 0), lu, pivots, z, ks, new, out)
    count = keep_state(0, 0, y, row(ks, 0), at, kept)
    begin_watch(k, t0, y, p, sides, marks, news)
    while status == DONE and not landed:
        passed, goal = next_goal(stops, passed, s, sign, span)
        wanted, size = size, within(size, bears, everywhere, o, sigma, sign, s)
        status, h, size, landed = propose(size, s, goal, replay, mesh, accepted, rejected, max_steps)
        if status == DONE:
            found, fresh, factored = renew(k, t0 + s, h, y, p, base, stale, made, plan, mass, values, rows, columns, gamma, pair_re,
                                           pair_im, lu, pivots, re, im, pair_pivots, kl, ku, z)
            jacobians, factorisations, current, stale = jacobians + fresh, factorisations + factored, current or stale, False
            made, turns, fall = h if found == DONE else 0.0, 0, 0.0
            if found == DONE:
                found, turns, fall = attempt(k, a, inverse, basis, onto, into, ahead, c, taken, t0 + s, h, y, p, min(accepted, room), base,
                                             depth, rows, columns, kl, ku, wide_kl, wide_ku, tight, gain, rtol, atol, stages, ks, new, w,
                                             former, rise, held, moved, states, r, plan, mass, lu, pivots, re, im, pair_pivots, late,
                                             wide, wide_pivots, place, z, u, long)
            status, error, stale, size, remembered, bears = appraise(
                k, found, replay, current, bears, everywhere, o, gamma, dense, sigma, sign, s, w, e, one, relief, accepted, t0 + s, h,
                size, before, order, cap, y, p, rtol, atol, probe_atol, probe_factor, pace, past, ks, new, est, r, plan, mass, lu,
                pivots, z)
            note(history, accepted + rejected, s, h, error)
            reaches, following, good, calls = landed, goal if landed else s + h, error <= 1.0 and status == DONE, calls + end * turns
            landed = landed and goal == span
            sought = watched(good, k, t0, s, h, s == 0.0, dense, y, new, ks, p, w, row(r, 0), ways, sides, marks, news)
            if sought:
                landed = rest(o, y, out)
            elif good:
                o = step_outputs(o, sigma, sign, rate, dense, s, h, following, landed, y, new, ks, w, out)
                taken, stale = 0.0 if tight else remember(ks, base, h, former), tight or not fall <= FAST
                current, gain = False, left_over(turns, fall)
                if replay == 0:
                    mesh[accepted] = h
                    size = held_size(min(max_step, after_landing(size, wanted, reaches, passed, stops)), abs(h), stale)
                    cap, before = LOG_GROW, remembered
                s, accepted = following, accepted + 1
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


def solve_joined(k, a, c, t, h, step, stages, p, base, depth, nb, place, wide_kl, wide_ku, wide, wide_pivots, kappa, x, pulled, long):
    """Rows 1 .. S of kappa become the solution x of M^T x_i - h sum_j a_ji J_j^T x_j = kappa_i, J_j of the state with its tangents."""
    s, n = a.shape[0], x.shape[1]
    for i in range(s):
        for q in range(n):
            x[i, q], pulled[i, q] = 0.0, 0.0
    for done in range(depth + 1):
        if done > 0:
            for j in range(s):
                state = row3(stages, step + 1, 0) if j == s - 1 else row3(stages, step, j + 1)
                pull(k, t + c[1 + j] * h, state, row(x, j), p, row(pulled, j))
        for block in range(n // nb):
            if level(block, base // nb, depth) == depth - done:
                for q in range(block * nb, block * nb + nb):
                    for i in range(s):
                        acc = 0.0
                        for j in range(s):
                            acc += a[j, i] * pulled[j, q]
                        x[i, q] = kappa[1 + i, q] + h * acc
                gather_stages(x, place, block * nb, long)
                solve_stages_transposed(wide, wide_pivots, wide_kl, wide_ku, long)
                spread_stages(long, place, block * nb, x)
    for i in range(s):
        copy(row(x, i), row(kappa, 1 + i))


def retreat(
    k, a, c, t, h, p, step, stages, base, depth, plan, mass, rows, columns, place, wide_kl, wide_ku, y_bar, p_bar, t_bar, kappa, g, late, x,
    pulled, wide, wide_pivots, z, long,
):  # fmt: skip
    """The stages of one step, given the cotangent g[S] of its end; y_bar gains the cotangents of the states. Returns a status."""
    end, n = a.shape[0], y_bar.shape[0]
    for i in range(end):
        state = row3(stages, step + 1, 0) if i == end - 1 else row3(stages, step, i + 1)
        base_jacobian(k, t + c[1 + i] * h, state, p, base, row(late, i), z)
        for q in range(n):
            kappa[1 + i, q] += h * a[end - 1, i] * g[end, q]
            if i < end - 1:
                g[1 + i, q] = 0.0
    form_stages(plan, mass, late, rows, columns, a, h, wide, wide_kl)
    if not factor_stages(wide, wide_pivots, wide_kl, wide_ku):
        return SINGULAR
    solve_joined(k, a, c, t, h, step, stages, p, base, depth, z.shape[0], place, wide_kl, wide_ku, wide, wide_pivots, kappa, x, pulled,
                 long)
    for i in range(end):
        state = row3(stages, step + 1, 0) if i == end - 1 else row3(stages, step, i + 1)
        vjp(k, t + c[1 + i] * h, state, p, row(kappa, 1 + i), row(g, 1 + i), p_bar, t_bar)
        for q in range(n):
            y_bar[q] += g[1 + i, q]
    return DONE


def adjoint(
    k, t0, span, steps, rate, base, depth, wide_kl, wide_ku, a, c, dense, rows, columns, place, plan, mass, p, sigma, mesh, nodes, stages,
    out_bar, y_bar, p_bar, t_bar, kappa, g, w, late, x, pulled, lu, pivots, wide, wide_pivots, z, long,
):  # fmt: skip
    """Discrete adjoint over the recorded steps, the equations of all stages solved exactly (implicit function theorem).

    Parameters
    ----------
    k, t0, span, rate, base, wide_kl, wide_ku, a, c, dense, rows, columns, place, plan, mass, p, sigma
        As in ``forward``.
    depth : int
        How many times the system was joined by its tangent.
    steps, out_bar, y_bar, p_bar, t_bar, kappa, g, w
        As in ``erk.adjoint``; kappa and g have S + 1 rows.
    mesh, nodes, stages : ndarray, shapes (>= steps,), (>= steps + 1,), (>= steps + 1, S, n)
        As recorded by ``forward``.
    late, x, pulled, lu, pivots, wide, wide_pivots, z, long : ndarray
        Work: Jacobians at the stages, two of shape (S, n), the others as in ``forward``.

    Returns
    -------
    int
        DONE or SINGULAR.

    Notes
    -----
    With kappa_i the cotangents of the slopes, lambda that of the new state: M^T x_i - h sum_j a_ji J_j^T x_j = kappa_i + h a_Si lambda;
    f_p(Y_i)^T x_i adds to the parameters and J_i^T x_i to the state.
    """
    sign = 1.0 if span > 0.0 else -1.0
    end, o, status = a.shape[0], sigma.shape[0] - 1, DONE
    depart(steps, span, nodes, kappa)
    for step in range(steps - 1, -1, -1):
        h, t = mesh[step], t0 + nodes[step]
        hand_over(end, y_bar, kappa, g)
        o = gather_outputs(o, sigma, sign, rate, dense, step, h, nodes, out_bar, y_bar, row(g, end), kappa, w)
        if status == DONE:
            status = retreat(k, a, c, t, h, p, step, stages, base, depth, plan, mass, rows, columns, place, wide_kl, wide_ku, y_bar, p_bar,
                             t_bar, kappa, g, late, x, pulled, wide, wide_pivots, z, long)
    if nodes[0] == 0.0:
        start_cotangents(plan, mass, lu, pivots, z, row(kappa, 0))
    arrive(k, t0, steps, rate, o, p, nodes, stages, out_bar, y_bar, p_bar, t_bar, kappa)
    return status


SHAPES = {
    "a": "S, S", "c": "S + 1", "dense": "S + 1, degree", "p": "n_p", "sigma": "m", "mesh": "cap", "nodes": "cap + 1", "w": "S + 1",
    "rows": "nnz", "columns": "nnz", "place": "nb", "late": "S, nnz", "wide": "S * nb, wide_width", "wide_pivots": "S * nb", "z": "nb",
    "long": "S * nb", "plan": "n_plan", "mass": "n_mass", "lu": "n_lu", "pivots": "nb + 1",
}  # fmt: skip
FORWARD = Loop(
    "radau_forward",
    forward,
    sizes=("N", "n", "n_out", "n_rec", "n_p", "S", "degree", "m", "cap", "nb", "nnz", "width", "wide_width", "n_plan", "n_mass",
           "n_lu", *STEERED, *KEPT_SIZES, "G", "n_stops", "n_news"),
    integers=("max_steps", "replay", "rate", "base", "depth", "everywhere", "kl", "ku", "wide_kl", "wide_ku"),
    shapes={
        **SHAPES, **WATCH_SHAPES, **dict.fromkeys(("inverse", "basis", "onto", "into", "ahead"), "S, S"),
        "e": "S + 1", "one": "1", "y": "N", "atol": "n",
        "probe_atol": "n", "out": "m, n_out", "stages": "room + 1, S, n_rec", "ks": "S + 1, N", "new": "N", "est": "1, N", "values": "nnz",
        **dict.fromkeys(("former", "rise", "held", "moved"), "S, nb"), "states": "S, N", "r": "S, N",
        "re": "nb, width", "im": "nb, width", "pair_pivots": "nb", "u": "nb",
        "counts": "7", "last": "4", **STEERING, **KEEPING,
    },
    integer_arrays=("counts", "at", "rows", "columns", "place", "plan", "pivots", "pair_pivots", "wide_pivots"),
    helpers=(
        *MATRICES, add_mass, form_pair, factor_pair, solve_pair, form_stages, factor_stages, gather_stages, spread_stages, solve_stages,
        copy, mean_square, start_norm, first_step_size, modest_first_step, error_square, worst_component, weights, observe, times_in_order,
        start_outputs, step_outputs, log2, exp2, next_size, steer, note, propose, joint_error, first_not_finite,
        begin_with_slopes, begin_implicit, verdict, tell, put,
        keep_state, change, arrived, base_jacobian, predict, correct, residual, iterate, slopes, true_matrix, tangents,
        attempt, estimate, measure, factorise,
        relief_of, left_over, held_size, remember, renew, *HELPERS, *INSIDE, appraise,
    ),
)  # fmt: skip
ADJOINT = Loop(
    "radau_adjoint",
    adjoint,
    sizes=("n", "n_out", "n_p", "S", "degree", "m", "cap", "room", "nb", "nnz", "wide_width", "n_plan", "n_mass", "n_lu"),
    integers=("steps", "rate", "base", "depth", "wide_kl", "wide_ku"),
    shapes={
        **SHAPES, "out_bar": "m, n_out", "stages": "room + 1, S, n", "y_bar": "n", "p_bar": "n_p", "t_bar": "1", "kappa": "S + 1, n",
        "g": "S + 1, n", "x": "S, n", "pulled": "S, n",
    },
    integer_arrays=("rows", "columns", "place", "plan", "pivots", "wide_pivots"),
    helpers=(
        *MATRICES, add_mass, form_stages, factor_stages, gather_stages, spread_stages, solve_stages_transposed, copy, weights, depart,
        clear, hand_over, gather_outputs, base_jacobian, solve_joined, retreat, arrive,
    ),
)  # fmt: skip

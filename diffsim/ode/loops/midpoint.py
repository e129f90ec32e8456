"""Stepping loops of the implicit midpoint rule: forward with recording, and the discrete adjoint.

The same subset of Python and the same conventions as ``erk.py``. With Y = y + h/2 f(t + h/2, Y), half a step of the implicit Euler method
and found as ``esdirk.py`` finds a stage, the new state is 2 Y - y. It is Gauss's method with one stage: symplectic and symmetric for any
system, and it keeps quadratic invariants.

Steps are given, never chosen. The states at the nodes are recorded; the stage between two of them is their mean.
"""

from diffsim.codegen.loops import Loop, rhs, row, row3, vjp
from diffsim.ode.loops.erk import copy, gather_outputs, observe, start_outputs, step_outputs, tell, weights
from diffsim.ode.loops.esdirk_stages import (
    ROUNDING,
    attempt,
    base_jacobian,
    change,
    iterate,
    iterate_tangents,
    settled,
    stage,
    tangents,
    worth_while,
)
from diffsim.ode.loops.stepsize import DONE, FULL, MAX_STEPS, NOT_FINITE, SINGULAR, first_not_finite, mean_square
from diffsim.ode.loops.sweep import KEEPING, KEPT_SIZES, keep_state, put
from diffsim.ode.loops.symplectic import clear_vector, gather_hermite, within
from diffsim.ode.matrices.lu import MATRICES, factor, form, solve_joined_transposed


def forward(
    k, t0, span, replay, rate, base, depth, a, c, guess, dense, plan, mass, y, p, atol, sigma, out, mesh, nodes, stages, at, kept, ks,
    slopes, new, w, values, mid, rise, r, lu, pivots, late, late_lu, late_pivots, z, counts, last,
):  # fmt: skip
    """Integrate from t0 to t0 + span over given steps; returns a status.

    Parameters
    ----------
    k, t0, span, rate, y, p, atol, sigma, out, mesh, nodes, at, kept, counts, last
        As in ``erk.forward``.
    replay : int
        Number of steps.
    base, depth, plan, mass
        As in ``rosenbrock.forward``.
    a, c, guess, dense : ndarray, shapes (2, 2), (2,), (2, 2), (3, degree)
        The implicit Euler method as ``esdirk.py`` takes it, and the interpolant.
    stages : ndarray, shape (room + 1, 1, n_rec)
        Written: states at the nodes.
    ks, slopes, new, w : ndarray, shapes (2, N), (3, N), (N,), (3,)
        Work: slopes of the stages before; the slopes at both ends of a step, and between them the mean one; the new state; weights.
    values, mid, rise, r, lu, pivots, late, late_lu, late_pivots, z : ndarray
        Work: as in ``esdirk.forward``.

    Returns
    -------
    int
        DONE, FULL, NOT_FINITE, SINGULAR, UNSOLVED, or MAX_STEPS if no steps were given.
    """
    sign, n_rec, s, h, accepted, calls, status = 1.0 if span > 0.0 else -1.0, stages.shape[2], nodes[0], 0.0, 0, 1, DONE
    factorisations = 0
    landed, room = span == 0.0, stages.shape[0] - 1
    rhs(k, t0 + s, y, p, row(ks, 0))
    held = keep_state(0, 0, y, row(ks, 0), at, kept)
    o = start_outputs(sigma, sign, rate, y, ks, out, landed)
    if replay == 0 and not landed:
        status = MAX_STEPS
    while status == DONE and not landed:
        if accepted == mesh.shape[0]:
            status = FULL
        else:
            h, landed = mesh[accepted], accepted == replay - 1
            following = span if landed else s + h
            base_jacobian(k, t0 + s, y, p, base, values, z)
            # iterated down to rounding: tolerances, twice atol here, are not looked at
            status, turns, made = attempt(k, 1.0, a, c, guess, t0 + s, 0.5 * h, y, p, min(accepted, room), base, depth, plan, mass, True,
                                          ROUNDING, atol, atol, values, stages, ks, new, mid, rise, r, lu, pivots, late, late_lu,
                                          late_pivots, z)
            calls, factorisations = calls + turns + 1, factorisations + made
        if status == DONE:
            for q in range(y.shape[0]):
                new[q] = 2.0 * new[q] - y[q]
            if within(o, sigma, sign, rate, following, landed):
                copy(row(ks, 0), row(slopes, 0))
                rhs(k, t0 + s + h, new, p, row(slopes, 2))
                for q in range(y.shape[0]):
                    slopes[1, q] = (new[q] - y[q]) / h
            o = step_outputs(o, sigma, sign, rate, dense, s, h, following, landed, y, new, slopes, w, out)
            copy(new, y)
            s = following
            accepted += 1
            nodes[accepted] = s
            rhs(k, t0 + s, y, p, row(ks, 0))                # where the next iteration starts from
            held = keep_state(accepted, held, y, row(ks, 0), at, kept)
    for q in range(n_rec):
        stages[min(accepted, room), 0, q] = y[q]
    worst = first_not_finite(y)
    if status == DONE and worst >= 0:
        status = NOT_FINITE
    tell(accepted, 0, calls, worst, accepted, factorisations, held, s, h, 0.0, abs(h), counts, last)
    return status


def retreat(k, t, h, p, begins, state, base, depth, plan, mass, y_bar, p_bar, t_bar, g, x, values, r, work, lu, pivots, z):
    """One step backwards: y_bar, cotangent of its end, becomes that of its start. Returns a status.

    With x = (1 - h/2 J)^-T y_bar, J at the stage, the cotangent of the start is y_bar + h J^T x.
    """
    n = y_bar.shape[0]
    for q in range(n):
        g[q] = 0.5 * (begins[q] + state[q])
        r[q] = y_bar[q]
    base_jacobian(k, t + 0.5 * h, g, p, base, values, z)
    form(plan, mass, values, 0.5 * h, lu)
    if not factor(plan, lu, pivots):
        return SINGULAR
    if not solve_joined_transposed(k, t + 0.5 * h, g, p, 0.5 * h, base, depth, r, plan, lu, pivots, x, z, work):
        return SINGULAR
    for q in range(n):
        x[q] *= h
    vjp(k, t + 0.5 * h, g, p, x, y_bar, p_bar, t_bar)
    return DONE


def adjoint(
    k, t0, span, steps, rate, base, depth, dense, plan, mass, p, sigma, mesh, nodes, stages, out_bar, y_bar, p_bar, t_bar, kappa, first, g,
    x, w, values, r, work, lu, pivots, z,
):  # fmt: skip
    """Discrete adjoint over the recorded steps, their equations solved exactly (implicit function theorem).

    Parameters
    ----------
    k, t0, span, rate, base, depth, dense, plan, mass, p, sigma
        As in ``forward``.
    steps, mesh, nodes, out_bar, y_bar, p_bar, t_bar
        As in ``erk.adjoint``.
    stages : ndarray, shape (>= steps + 1, 1, n)
        As recorded by ``forward``.
    kappa, first, g, x, w : ndarray, shapes (3, n), (n,), (n,), (n,), (3,)
        Work: cotangents of the slopes that outputs within a step read, of the state at its start; the stage, its cotangent; weights.
    values, r, work, lu, pivots, z : ndarray
        Work: as in ``esdirk.adjoint``.

    Returns
    -------
    int
        DONE or SINGULAR.
    """
    sign = 1.0 if span > 0.0 else -1.0
    n, o, status = y_bar.shape[0], sigma.shape[0] - 1, DONE
    for step in range(steps - 1, -1, -1):
        h, t, state, begins = mesh[step], t0 + nodes[step], row3(stages, step + 1, 0), row3(stages, step, 0)
        o, read = gather_hermite(o, sigma, sign, rate, dense, step, h, nodes, out_bar, first, y_bar, kappa, w)
        if read:
            vjp(k, t + h, state, p, row(kappa, 2), y_bar, p_bar, t_bar)
            vjp(k, t, begins, p, row(kappa, 0), first, p_bar, t_bar)
        if status == DONE:
            status = retreat(k, t, h, p, begins, state, base, depth, plan, mass, y_bar, p_bar, t_bar, g, x, values, r, work, lu, pivots, z)
        for q in range(n):
            y_bar[q] += first[q]
    if nodes[0] == 0.0:
        for i in range(o + 1):
            if rate == 0:
                for q in range(n):
                    y_bar[q] += out_bar[i, q]
            elif rate == 1 and steps == 0:
                vjp(k, t0, row3(stages, 0, 0), p, row(out_bar, i), y_bar, p_bar, t_bar)
    return status


SHAPES = {
    "dense": "3, degree", "p": "n_p", "sigma": "m", "mesh": "cap", "nodes": "cap + 1", "w": "3", "plan": "n_plan", "mass": "n_mass",
    "values": "nnz", "lu": "n_lu", "pivots": "nb + 1", "z": "nb",
}  # fmt: skip
FORWARD = Loop(
    "midpoint_forward",
    forward,
    sizes=("N", "n", "n_out", "n_rec", "n_p", "S", "degree", "m", "cap", "nb", "nnz", "n_plan", "n_mass", "n_lu", *KEPT_SIZES),
    integers=("replay", "rate", "base", "depth"),
    shapes={
        **SHAPES, "a": "S + 1, S + 1", "c": "S + 1", "guess": "S + 1, S + 1", "y": "N", "atol": "n", "out": "m, n_out",
        "stages": "room + 1, S, n_rec", "ks": "S + 1, N", "slopes": "3, N", "new": "N", "mid": "N", "rise": "N", "r": "N", "counts": "7",
        "last": "4", **KEEPING, "late": "nnz", "late_lu": "n_lu", "late_pivots": "nb + 1",
    },
    integer_arrays=("counts", "at", "plan", "pivots", "late_pivots"),
    helpers=(
        *MATRICES, copy, mean_square, weights, observe, start_outputs, step_outputs, first_not_finite, tell, put, keep_state, change,
        settled, base_jacobian, worth_while, iterate_tangents, tangents, iterate, stage, attempt, clear_vector, within,
    ),
)  # fmt: skip
ADJOINT = Loop(
    "midpoint_adjoint",
    adjoint,
    sizes=("n", "n_out", "n_p", "S", "degree", "m", "cap", "room", "nb", "nnz", "n_plan", "n_mass", "n_lu"),
    integers=("steps", "rate", "base", "depth"),
    shapes={
        **SHAPES, "out_bar": "m, n_out", "stages": "room + 1, S, n", "y_bar": "n", "p_bar": "n_p", "t_bar": "1", "kappa": "3, n",
        "first": "n", "g": "n", "x": "n", "r": "n", "work": "n",
    },
    integer_arrays=("plan", "pivots"),
    helpers=(*MATRICES, weights, clear_vector, gather_outputs, gather_hermite, base_jacobian, retreat),
)  # fmt: skip

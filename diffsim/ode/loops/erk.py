"""Stepping loops of explicit Runge-Kutta pairs: forward with recording and replay, and the discrete adjoint.

One source, two uses. Run as Python, ``k`` is an object with methods ``rhs`` and ``vjp`` that work on arrays. Compiled,
the shim functions of ``codegen.loops`` become calls of the external symbols ``ds_rhs`` and ``ds_vjp``, and the loop is
linked with a model's kernels. Hence the style: arrays in, numbers out, no allocation, no exceptions.

Time is relative to t0 inside the loops, so that a large t0 costs no digits: kernels are called at ``t0 + s``, outputs are
wanted at relative times sigma, sorted in the direction of integration. A sigma on a step boundary belongs to the step
that ends there.

Shapes: ``N`` size of the integrated state, of which the first ``n`` components are the state proper; ``S`` stages
that make the new state (``Tableau.stages``), evaluated again at the new state to make S + 1 slopes ``ks``; ``m`` outputs.
"""


import math

from diffsim.codegen.loops import Loop, rhs, row, row3, unroll, vjp
from diffsim.ode.loops.backward import arrive, carry, clear, depart, gather_ends
from diffsim.ode.loops.stepsize import (
    BAD_TIMES,
    CAREFUL,
    DONE,
    FULL,
    LOG_GROW,
    LOG_KEEP,
    LOG_SMALL,
    NOT_FINITE,
    error_square,
    exp2,
    first_not_finite,
    first_step_size,
    joint_error,
    log2,
    mean_square,
    next_size,
    note,
    paired_error,
    propose,
    start_norm,
    steer,
    worst_component,
)
from diffsim.ode.loops.sweep import KEEPING, KEPT_SIZES, keep_state, put
from diffsim.ode.loops.watch import HELPERS, WATCH_SHAPES, after_landing, begin_watch, end_watch, next_goal, rest, wants_inside, watched

COUNTS = ("accepted", "rejected", "rhs_calls", "worst", "jac_calls", "factorisations", "kept")   # columns of the integer statistics
LAST = ("s", "h", "error", "next_h")                            # columns of the real statistics

SLACK = 1e-12            # part of the span by which rounding may push an output time outside


def copy(source, target):
    """target[q] = source[q] for the length of target."""
    for q in range(target.shape[0]):
        target[q] = source[q]


def advance(k, end, a, c, t, h, y, p, step, stages, ks, new):
    """Slopes of one step, ks[1] .. ks[end] (ks[0] is given), and the new state; stage states go to stages[step].

    h a[i, i-1] is formed apart from the rest of the sum: the newest slope then waits for one product and two sums. Slopes that a row of the
    tableau leaves out are not read. (-0.0 is the one number that leaves any sum as it is: the compiler drops the addition.)
    """
    for q in range(stages.shape[2]):
        stages[step, 0, q] = y[q]
    for i in range(1, end + 1):
        unroll()
        newest = h * a[i, i - 1]
        for q in range(y.shape[0]):
            acc = -0.0
            for j in range(i - 1):
                unroll()
                if a[i, j] != 0.0:
                    acc += a[i, j] * ks[j, q]
            new[q] = y[q] + (h * acc + newest * ks[i - 1, q])
        if i < end:
            for q in range(stages.shape[2]):
                stages[step, i, q] = new[q]
        rhs(k, t + c[i] * h, new, p, row(ks, i))


def extend(k, end, a, c, t, h, y, p, step, stages, ks, mid):
    """Slopes ks[end + 1] .. that only the interpolant wants; their states go to stages[step], after those of the step."""
    for i in range(end + 1, c.shape[0]):
        for q in range(y.shape[0]):
            acc = 0.0
            for j in range(i):
                acc += a[i, j] * ks[j, q]
            mid[q] = y[q] + h * acc
        for q in range(stages.shape[2]):
            stages[step, i - 1, q] = mid[q]
        rhs(k, t + c[i] * h, mid, p, row(ks, i))


def weights(dense, theta, h, rate, w):
    """w_i = h^(1 - rate) (d/dtheta)^rate b_i(theta): the output is rate-th time derivative of y + sum_i w_i k_i."""
    scale = h
    for _ in range(rate):
        scale /= h
    lowest = max(rate, 1)
    for i in range(w.shape[0]):
        unroll()
        acc = 0.0
        for back in range(dense.shape[1]):
            unroll()
            d = dense.shape[1] - back
            if d >= lowest:
                factor = 1.0
                for r in range(rate):
                    factor *= d - r
                acc = acc * theta + factor * dense[i, d - 1]
        if rate == 0:
            acc *= theta
        w[i] = scale * acc


def observe(dense, theta, h, rate, y, ks, w, out):
    """One output inside a step: the interpolant, or its rate-th time derivative, at t_n + theta h."""
    weights(dense, theta, h, rate, w)
    for q in range(out.shape[0]):
        acc = w[0] * ks[0, q]
        for i in range(1, w.shape[0]):
            unroll()
            acc += w[i] * ks[i, q]
        out[q] = y[q] + acc if rate == 0 else acc


def times_in_order(sigma, sign, span):
    """Whether output times are sorted and inside the span, rounding aside; NaN is not."""
    before, limit = -SLACK * abs(span), (1.0 + SLACK) * abs(span)
    for o in range(sigma.shape[0]):
        now = sigma[o] * sign
        if not (now >= before and now <= limit):
            return False
        before = now
    return True


def start_outputs(sigma, sign, rate, y, ks, out, resting):
    """Outputs wanted at the start; all of them if no step will be taken. Returns how many."""
    o = 0
    if rate == 0 or resting:
        while o < sigma.shape[0] and (resting or sigma[o] * sign <= 0.0):
            for q in range(out.shape[1]):
                out[o, q] = y[q] if rate == 0 else (ks[0, q] if rate == 1 else 0.0)
            o += 1
    return o


def begin(k, order, t0, s, span, y, p, sigma, rate, replay, first_step, max_step, rtol, atol, probe_atol, probe_factor, ks, new, out):
    """Slopes and outputs at the start, and the first size. Returns status, worst component, outputs written, rhs calls and size.

    A replay that goes on from a later node is given the slope there.
    """
    if s == 0.0:
        rhs(k, t0, y, p, row(ks, 0))
    return begin_with_slopes(k, order, t0, s, span, y, p, sigma, rate, replay, first_step, max_step, rtol, atol, probe_atol, probe_factor,
                             ks, new, out)


def begin_with_slopes(
    k, order, t0, s, span, y, p, sigma, rate, replay, first_step, max_step, rtol, atol, probe_atol, probe_factor, ks, new, out,
):  # fmt: skip
    """As ``begin``, with the slopes at the start in ks[0] already."""
    sign, landed, status, size = 1.0 if span > 0.0 else -1.0, span == 0.0, DONE, first_step
    calls = 1 if s == 0.0 else 0
    o = start_outputs(sigma, sign, rate, y, ks, out, landed)
    worst = max(first_not_finite(y), first_not_finite(row(ks, 0)))
    if worst >= 0:
        status = NOT_FINITE
    elif replay == 0 and not times_in_order(sigma, sign, span):
        status = BAD_TIMES
    elif replay == 0 and size <= 0.0 and not landed:
        size = first_step_size(k, order, t0, span, y, p, rtol, atol, probe_atol, probe_factor, ks, new)
        calls += 1
    return status, worst, o, calls, min(size, max_step)


def step_outputs(o, sigma, sign, rate, dense, s, h, following, landed, y, new, ks, w, out):
    """Outputs from number ``o`` on that lie in the step from s to ``following``. Returns the number of the next one."""
    while o < sigma.shape[0] and (landed or sigma[o] * sign <= following * sign):
        if rate == 0 and sigma[o] == following:
            copy(new, row(out, o))
        else:
            observe(dense, (sigma[o] - s) / h, h, rate, y, ks, w, row(out, o))
        o += 1
    return o


def verdict(status, worst, e, ks, y, new, h, rtol, atol, probe_atol, probe_factor):
    """Status of a solve at its end, NOT_FINITE if its state is not, and the component to name."""
    if status == DONE:
        worst = first_not_finite(y)
        status = DONE if worst < 0 else NOT_FINITE
    elif status != FULL and worst < 0:
        worst = worst_component(e, ks, y, new, h, rtol, atol, probe_atol, probe_factor)
    return status, worst


def tell(accepted, rejected, calls, worst, jacobians, factorisations, held, s, h, error, size, counts, last):
    """Write ``COUNTS`` and ``LAST``."""
    counts[0], counts[1], counts[2], counts[3], counts[4], counts[5] = accepted, rejected, calls, worst, jacobians, factorisations
    counts[6] = held
    last[0], last[1], last[2], last[3] = s, h, math.sqrt(error), size


def forward(
    k, order, t0, span, rtol, probe_factor, first_step, max_step, max_steps, replay, rate, end, a, c, e, e_low, dense, y, p, atol,
    probe_atol, pace, sigma, out, mesh, nodes, stages, at, kept, ks, new, mid, w, past, history, counts, last, stops,
    ways, sides, marks, news,
):  # fmt: skip
    """Integrate from t0 to t0 + span; returns a status.

    Parameters
    ----------
    k : object
        Carries the kernels when run as Python.
    order : float
        Order of the error estimate plus one.
    t0, span : float
        Start, and signed length of the interval.
    rtol : ndarray, shape (n,)
        Relative tolerances of the state and of the probe.
    probe_factor : float
        0: only the first n components are in the norm. Otherwise the others are tangents, n components each, whose norms
        divided by probe_factor join by the maximum.
    first_step, max_step : float
        Size of the first step, 0 to estimate it; limit of the size.
    max_steps : int
        Limit of the attempted steps.
    replay : int
        If positive, the steps mesh[:replay] are taken as they are, without error control.  They may be a part of the steps of a solve:
        nodes[0] is where the part starts, span where it ends, and if it does not start at 0 then ks[0] is the slope there.
    rate : int
        The outputs are this time derivative of the interpolant.
    end : int
        S.
    a, c, e, e_low, dense : ndarray, shapes (S + 1 + X, S + X), (S + 1 + X,), (S + 1,), (L,), (S + 1 + X, degree)
        The tableau, with X stages more that only the interpolant wants, and L = S + 1 if there is a second estimate, else 0.
    y : ndarray, shape (N,)
        The initial state; overwritten with the final one.
    p : ndarray, shape (n_p,)
    atol, probe_atol : ndarray, shapes (n,), (n,)
        Absolute tolerances of the state and of the probe.
    pace : ndarray, shape (C,)
        The controller, as ``stepsize.steer`` reads it; empty for the usual one.
    sigma, out : ndarray, shapes (m,), (m, n_out), n_out <= N
        Relative output times; written: the first n_out components there.
    mesh, nodes : ndarray, shapes (cap,), (cap + 1,)
        Written: signed increments (read if replay), relative times but for nodes[0], which is read: 0 at the start of a solve.
    stages : ndarray, shape (room + 1, S + X, n_rec)
        Written: stage states; stages[steps, 0] is the final state. n_rec = 0 keeps nothing. Steps beyond ``room`` share the last row.
    at, kept : ndarray, shapes (slots,) of int, (slots, 2, n_kept)
        Which states to keep, with their slopes, see ``sweep.keep_state``.
    ks, new, mid, w, past : ndarray, shapes (S + 1 + X, N), (N,), (N,), (S + 1 + X,), (P,)
        Work; P = 4 if there is a ``pace``, else 0.
    history : ndarray, shape (H, 3)
        Written: start, increment and squared error norm of the last H attempted steps, see ``stepsize.note``.
    counts, last : ndarray, shapes (7,), (4,)
        Written: see ``COUNTS`` and ``LAST``.
    stops : ndarray, shape (n_stops,)
        Relative times to land on, sorted.
    ways, sides, marks, news : ndarray, shapes (2, G), (2, G), (3, G), (n_news,)
        What is watched, work, and what was seen: see ``watch.py``. Outputs after the end become the state there.

    Returns
    -------
    int
        DONE, FULL (more than cap steps: enlarge and start again), UNDERFLOW, MAX_STEPS, NOT_FINITE, BAD_TIMES (outputs outside the
        span or out of order; a replay takes them, and extrapolates its last step).

    Notes
    -----
    A replayed mesh gives bitwise the states of the solve that recorded it.
    """
    sign = 1.0 if span > 0.0 else -1.0
    n_rec, room = stages.shape[2], stages.shape[0] - 1
    s, h, error, landed, cap, before = nodes[0], 0.0, 0.0, span == 0.0, LOG_GROW, CAREFUL * LOG_SMALL
    accepted, rejected, passed, sought = 0, 0, 0, False
    status, worst, o, calls, size = begin(k, order, t0, s, span, y, p, sigma, rate, replay, first_step, max_step, rtol, atol, probe_atol,
                                          probe_factor, ks, new, out)
    held = keep_state(0, 0, y, row(ks, 0), at, kept)
    begin_watch(k, t0, y, p, sides, marks, news)
    while status == DONE and not landed:
        passed, goal = next_goal(stops, passed, s, sign, span)
        wanted = size
        status, h, size, landed = propose(size, s, goal, replay, mesh, accepted, rejected, max_steps)
        if status == DONE:
            place = min(accepted, room)
            advance(k, end, a, c, t0 + s, h, y, p, place, stages, ks, new)
            calls += end
            if replay == 0:
                error = paired_error(e, e_low, ks, y, new, h, rtol, atol, probe_atol, probe_factor)
                note(history, accepted + rejected, s, h, error)
                size, remembered = steer(size, error, before, order, cap, pace, past)
            reaches, following = landed, goal if landed else s + h
            landed = landed and goal == span
            if wants_inside(error, end, c, ways, o, sigma, sign, rate, following, landed, n_rec, s == 0.0):
                extend(k, end, a, c, t0 + s, h, y, p, place, stages, ks, mid)
                calls += c.shape[0] - 1 - end
            sought = watched(error <= 1.0, k, t0, s, h, s == 0.0, dense, y, new, ks, p, w, mid, ways, sides, marks, news)
            if sought:
                landed = rest(o, y, out)
            elif error <= 1.0:
                o = step_outputs(o, sigma, sign, rate, dense, s, h, following, landed, y, new, ks, w, out)
                if replay == 0:
                    mesh[accepted] = h
                    size, cap, before = min(max_step, after_landing(size, wanted, reaches, passed, stops)), LOG_GROW, remembered
                s = following
                accepted += 1
                nodes[accepted] = s
                for q in range(y.shape[0]):
                    y[q] = new[q]
                    ks[0, q] = ks[end, q]
                held = keep_state(accepted, held, y, row(ks, 0), at, kept)
            else:
                rejected, cap, landed = rejected + 1, LOG_KEEP, False
    end_watch(s, sought, news)
    for q in range(n_rec):
        stages[min(accepted, room), 0, q] = y[q]
    status, worst = verdict(status, worst, e, ks, y, new, h, rtol, atol, probe_atol, probe_factor)
    tell(accepted, rejected, calls, worst, 0, 0, held, s, h, error, size, counts, last)
    return status


def adjoint(
    k, t0, span, steps, rate, end, a, c, dense, p, sigma, mesh, nodes, stages, out_bar, y_bar, p_bar, t_bar, kappa, g, w,
):  # fmt: skip
    """Discrete adjoint over the recorded steps: exact for outputs at any time, because the interpolant is differentiated.

    Parameters
    ----------
    k, t0, span, rate, end, a, c, dense, p, sigma
        As in ``forward``.
    steps : int
        Steps taken.
    mesh, nodes, stages : ndarray, shapes (>= steps,), (>= steps + 1,), (>= steps + 1, S + X, n)
        As recorded by ``forward``.  They may be those of a part of the steps: if it does not end where the span does, kappa[0] is the
        cotangent of the slope at its end; if it does not start at 0, kappa[0] becomes that of the slope at its start.
    out_bar : ndarray, shape (m, >= n)
        Cotangents of the outputs.
    y_bar : ndarray, shape (n,)
        In: cotangent of the final state. Out: cotangent of the initial state.
    p_bar, t_bar : ndarray, shapes (n_p,), (1,)
        Added to: cotangents of p, and of t0 when all times shift with it.
    kappa, g, w : ndarray, shapes (S + 1 + X, n), (S + 1 + X, n), (S + 1 + X,)
        Work: cotangents of the slopes, of the stage states, weights.

    Returns
    -------
    int
        DONE. It takes S calls of the kernel a step, and one.

    Notes
    -----
    kappa_i = h sum_{j > i} a_ji g_j + sum_m w_m b_i(theta_m), g_i = f_y(Y_i)^T kappa_i, with g_S = lambda_{n+1} and the row S of a
    being b; lambda_n = lambda_{n+1} + sum_i g_i + sum_m w_m. The slope at a step's end is the first one of the next step: its
    cotangent is carried, so that its kernel is called once.
    Source: Hager, Numer. Math. 87 (2000) 247-282; Alexe & Sandu, Appl. Math. Comput. 208 (2009) 328-346.
    """
    sign = 1.0 if span > 0.0 else -1.0
    o = sigma.shape[0] - 1
    depart(steps, span, nodes, kappa)
    for step in range(steps - 1, -1, -1):
        h, t = mesh[step], t0 + nodes[step]
        carry(end, y_bar, kappa, g)
        o = gather_ends(o, sigma, rate, nodes[step + 1], out_bar, row(g, end))
        inside = o >= 0 and (sigma[o] * sign > nodes[step] * sign or (step == 0 and rate > 0))
        if inside:
            clear(kappa, end)
            o = gather_outputs(o, sigma, sign, rate, dense, step, h, nodes, out_bar, y_bar, row(g, end), kappa, w)
            withdraw(k, end, a, c, t, h, p, step, stages, y_bar, p_bar, t_bar, kappa, g)
        vjp(k, t + c[end] * h, row3(stages, step + 1, 0), p, row(kappa, end), row(g, end), p_bar, t_bar)
        retreat_explicit(k, end, a, c, t, h, p, step, stages, y_bar, p_bar, t_bar, kappa, g, inside)
    arrive(k, t0, steps, rate, o, p, nodes, stages, out_bar, y_bar, p_bar, t_bar, kappa)
    return DONE


def withdraw(k, end, a, c, t, h, p, step, stages, y_bar, p_bar, t_bar, kappa, g):
    """The stages that only the interpolant wants, last one first: cotangents of their slopes become those of the slopes before."""
    for back in range(c.shape[0] - 1 - end):
        i = c.shape[0] - 1 - back
        for q in range(y_bar.shape[0]):
            g[i, q] = 0.0
        vjp(k, t + c[i] * h, row3(stages, step, i - 1), p, row(kappa, i), row(g, i), p_bar, t_bar)
        for q in range(y_bar.shape[0]):
            y_bar[q] += g[i, q]
            for j in range(i):
                kappa[j, q] += h * a[i, j] * g[i, q]


def gather_outputs(o, sigma, sign, rate, dense, step, h, nodes, out_bar, y_bar, new_bar, kappa, w):
    """Cotangents of the outputs in one step, given to its slopes and states. Returns the number of the next output."""
    s, following = nodes[step], nodes[step + 1]
    while o >= 0 and (sigma[o] * sign > s * sign or (step == 0 and rate > 0)):
        if rate == 0 and sigma[o] == following:
            for q in range(y_bar.shape[0]):
                new_bar[q] += out_bar[o, q]
        else:
            weights(dense, (sigma[o] - s) / h, h, rate, w)
            for q in range(y_bar.shape[0]):
                for i in range(w.shape[0]):
                    unroll()
                    kappa[i, q] += w[i] * out_bar[o, q]
                if rate == 0:
                    y_bar[q] += out_bar[o, q]
        o -= 1
    return o


def slope_cotangent(end, a, h, i, kappa, g, inside):
    """kappa_i becomes h sum_{j > i} a_ji g_j, added to what outputs gave to it if there are any; g_{i+1}, the newest, enters last."""
    newest = h * a[i + 1, i]
    for q in range(kappa.shape[1]):
        acc = -0.0
        for j in range(i + 2, end + 1):
            unroll()
            if a[j, i] != 0.0:
                acc += a[j, i] * g[j, q]
        if inside:
            kappa[i, q] = (kappa[i, q] + h * acc) + newest * g[i + 1, q]
        else:
            kappa[i, q] = h * acc + newest * g[i + 1, q]


def retreat_explicit(k, end, a, c, t, h, p, step, stages, y_bar, p_bar, t_bar, kappa, g, inside):
    """Stages S - 1 .. 0 of one step, given g[S]; y_bar gains the cotangents of the states.

    ``inside`` says whether outputs have added to kappa; if not, only its first row is read.  g starts as -0.0, the one number that leaves
    any sum as it is: the compiler drops the addition.
    """
    for back in range(1, end):
        unroll()
        i = end - back
        slope_cotangent(end, a, h, i, kappa, g, inside)
        for q in range(y_bar.shape[0]):
            g[i, q] = -0.0
        vjp(k, t + c[i] * h, row3(stages, step, i), p, row(kappa, i), row(g, i), p_bar, t_bar)
    newest = h * a[1, 0]
    for q in range(y_bar.shape[0]):
        acc, total = -0.0, g[end, q]
        for j in range(2, end + 1):
            unroll()
            if a[j, 0] != 0.0:
                acc += a[j, 0] * g[j, q]
        for back in range(1, end):
            unroll()
            total += g[end - back, q]
        kappa[0, q] = (kappa[0, q] + h * acc) + newest * g[1, q]
        y_bar[q] += total


#: Shapes of tolerances and of what steers the size, of every loop that chooses its steps; and the sizes they speak of.
STEERING = {"rtol": "n", "pace": "C", "past": "P", "history": "H, 3"}
STEERED = ("C", "P", "H")
SHAPES = {
    "a": "S + 1 + X, S + X", "c": "S + 1 + X", "e": "S + 1", "e_low": "L", "dense": "S + 1 + X, degree", "p": "n_p", "y": "N", "atol": "n",
    "probe_atol": "n", "sigma": "m", "mesh": "cap", "nodes": "cap + 1", "ks": "S + 1 + X, N", "new": "N", "mid": "N", "w": "S + 1 + X",
    "counts": "7", "last": "4", **KEEPING, **STEERING, **WATCH_SHAPES,
}  # fmt: skip
FORWARD = Loop(
    "erk_forward",
    forward,
    sizes=("N", "n", "n_out", "n_rec", "n_p", "S", "X", "L", "degree", "m", "cap", *STEERED, *KEPT_SIZES, "G", "n_stops", "n_news"),
    integers=("max_steps", "replay", "rate", "end"),
    shapes={**SHAPES, "out": "m, n_out", "stages": "room + 1, S + X, n_rec"},
    integer_arrays=("counts", "at"),
    helpers=(
        copy, mean_square, start_norm, first_step_size, advance, extend, error_square, worst_component, weights,
        observe, times_in_order, start_outputs, step_outputs, log2, exp2, next_size, steer, note, propose, joint_error, paired_error,
        first_not_finite, begin_with_slopes, begin, verdict, tell, put, keep_state, *HELPERS,
    ),
)  # fmt: skip
ADJOINT = Loop(
    "erk_adjoint",
    adjoint,
    sizes=("n", "n_out", "n_p", "S", "X", "degree", "m", "cap", "room"),
    integers=("steps", "rate", "end"),
    shapes={
        **SHAPES, "out_bar": "m, n_out", "stages": "room + 1, S + X, n", "y_bar": "n", "p_bar": "n_p", "t_bar": "1",
        "kappa": "S + 1 + X, n", "g": "S + 1 + X, n",
    },
    helpers=(weights, depart, clear, carry, gather_ends, gather_outputs, withdraw, slope_cotangent, retreat_explicit, arrive),
)  # fmt: skip

"""Stepping loops of symplectic splitting methods: forward with recording, and the discrete adjoint.

The same subset of Python and the same conventions as ``erk.py``. The state is made of blocks, itself and its tangents, each of ``half``
positions and ``half`` momenta. Two kernels move it: ``drift`` is the slope of the positions, a function of the momenta, and ``kick`` that
of the momenta, a function of the positions; both write the N / 2 numbers of all blocks one after the other. The last kick of a step and
the first of the next see the same positions: one call serves both.

Steps are given, never chosen. What is recorded is the state at the nodes; the adjoint computes what lies within a step again, so that a
derivative over a million steps takes the memory of a million states.
"""

from diffsim.codegen.loops import Loop, drift, drift_vjp, kick, kick_vjp, row, row3, unroll
from diffsim.ode.loops.erk import copy, gather_outputs, observe, start_outputs, step_outputs, weights
from diffsim.ode.loops.stepsize import DONE, FULL, MAX_STEPS, NOT_FINITE, first_not_finite
from diffsim.ode.loops.sweep import KEEPING, KEPT_SIZES, keep_state, put


def move(half, at, size, slopes, y):
    """Positions (at = 0) or momenta (at = half) of all blocks gain size times their slopes."""
    for block in range(slopes.shape[0] // half):
        for j in range(half):
            y[2 * block * half + at + j] += size * slopes[block * half + j]


def part(half, at, size, y, out):
    """out gains size times the positions (at = 0) or momenta (at = half) of y."""
    for block in range(out.shape[0] // half):
        for j in range(half):
            out[block * half + j] += size * y[2 * block * half + at + j]


def clear_vector(x):
    """x becomes 0."""
    for q in range(x.shape[0]):
        x[q] = 0.0


def slopes_at(k, half, t, y, p, spare, out):
    """dy/dt."""
    clear_vector(out)
    drift(k, t, y, p, spare)
    move(half, 0, 1.0, spare, out)
    kick(k, t, y, p, spare)
    move(half, half, 1.0, spare, out)


def within(o, sigma, sign, rate, following, landed):
    """Whether output number ``o`` or a later one is read off the interpolant of the step that ends at ``following``."""
    if o == sigma.shape[0] or not (landed or sigma[o] * sign <= following * sign):
        return False
    return rate > 0 or sigma[o] != following or (landed and sigma[sigma.shape[0] - 1] != following)


def gather_hermite(o, sigma, sign, rate, dense, step, h, nodes, out_bar, first, y_bar, kappa, w):
    """As ``erk.gather_outputs`` for the cubic through both states and slopes, whose second slope is the mean one.

    Cotangents of the states at both ends go to ``first``, overwritten, and to y_bar, those of the slopes there to kappa[0] and kappa[2].
    Returns the number of the next output, and whether these slopes were read.
    """
    clear_vector(first)
    for i in range(3):
        clear_vector(row(kappa, i))
    before, following = o, nodes[step + 1]
    o = gather_outputs(o, sigma, sign, rate, dense, step, h, nodes, out_bar, first, y_bar, kappa, w)
    if o == before or (rate == 0 and sigma[o + 1] == following and sigma[before] == following):
        return o, False
    for q in range(y_bar.shape[0]):
        y_bar[q] += kappa[1, q] / h
        first[q] -= kappa[1, q] / h
    return o, True


def one_step(k, half, drifts, kicks, drift_times, kick_times, t, h, p, new, force, velocity):
    """Move ``new`` over one step; ``force`` is the slope of the momenta at its start and becomes that at its end."""
    for i in range(drifts.shape[0]):
        unroll()
        move(half, half, h * kicks[i], force, new)
        drift(k, t + drift_times[i] * h, new, p, velocity)
        move(half, 0, h * drifts[i], velocity, new)
        kick(k, t + kick_times[i + 1] * h, new, p, force)
    move(half, half, h * kicks[drifts.shape[0]], force, new)


def forward(
    k, t0, span, replay, rate, half, drifts, kicks, drift_times, kick_times, dense, y, p, sigma, out, mesh, nodes, stages, at, kept, ks,
    new, force, velocity, w, counts, last,
):  # fmt: skip
    """Integrate from t0 to t0 + span over given steps; returns a status.

    Parameters
    ----------
    k, t0, span, rate, y, p, sigma, out, mesh, nodes, counts, last
        As in ``erk.forward``.
    replay : int
        Number of steps.
    half : int
        Positions of the state proper.
    drifts, kicks, drift_times, kick_times, dense : ndarray, shapes (S,), (S + 1,), (S,), (S + 1,), (3, degree)
        The method.
    stages : ndarray, shape (room + 1, 1, n_rec)
        Written: states at the nodes.
    at, kept
        As in ``erk.forward``; there is no slope to be kept.
    ks, new, force, velocity, w : ndarray, shapes (3, N), (N,), (N // 2,), (N // 2,), (3,)
        Work: the slopes at both ends of a step, and between them the mean one; the new state; slopes of momenta and of positions; weights.

    Returns
    -------
    int
        DONE, FULL, NOT_FINITE, or MAX_STEPS if no steps were given.
    """
    sign, n_rec, s, h, accepted, status = 1.0 if span > 0.0 else -1.0, stages.shape[2], nodes[0], 0.0, 0, DONE
    landed, room, held = span == 0.0, stages.shape[0] - 1, keep_state(0, 0, y, row(ks, 0), at, kept)
    if rate > 0:
        slopes_at(k, half, t0, y, p, velocity, row(ks, 0))
    o = start_outputs(sigma, sign, rate, y, ks, out, landed)
    kick(k, t0 + s, y, p, force)
    if replay == 0 and not landed:
        status = MAX_STEPS
    while status == DONE and not landed:
        if accepted == mesh.shape[0]:
            status = FULL
        else:
            h, landed = mesh[accepted], accepted == replay - 1
            following = span if landed else s + h
            copy(y, new)
            one_step(k, half, drifts, kicks, drift_times, kick_times, t0 + s, h, p, new, force, velocity)
            if within(o, sigma, sign, rate, following, landed):
                slopes_at(k, half, t0 + s, y, p, velocity, row(ks, 0))
                slopes_at(k, half, t0 + s + h, new, p, velocity, row(ks, 2))
                for q in range(y.shape[0]):
                    ks[1, q] = (new[q] - y[q]) / h
            o = step_outputs(o, sigma, sign, rate, dense, s, h, following, landed, y, new, ks, w, out)
            for q in range(n_rec):
                stages[min(accepted, room), 0, q] = y[q]
            copy(new, y)
            s = following
            accepted += 1
            nodes[accepted] = s
            held = keep_state(accepted, held, y, row(ks, 0), at, kept)
    for q in range(n_rec):
        stages[min(accepted, room), 0, q] = y[q]
    worst = first_not_finite(y)
    if status == DONE and worst >= 0:
        status = NOT_FINITE
    counts[0], counts[1], counts[2], counts[3], counts[4], counts[5] = accepted, 0, 1 + accepted * drifts.shape[0], worst, 0, 0
    counts[6] = held
    last[0], last[1], last[2], last[3] = s, h, 0.0, abs(h)
    return status


def retrace(k, half, drifts, kicks, drift_times, kick_times, t, h, p, trail, force, velocity):
    """The states before each drift of a step, from trail[0], the state at its start."""
    end = drifts.shape[0]
    for i in range(end):
        unroll()
        kick(k, t + kick_times[i] * h, row(trail, i), p, force)
        move(half, half, h * kicks[i], force, row(trail, i))
        if i < end - 1:
            drift(k, t + drift_times[i] * h, row(trail, i), p, velocity)
            copy(row(trail, i), row(trail, i + 1))
            move(half, 0, h * drifts[i], velocity, row(trail, i + 1))


def retreat(k, half, drifts, kicks, drift_times, kick_times, t, h, p, y_bar, p_bar, t_bar, trail, force_bar, velocity):
    """One step backwards: y_bar, cotangent of its end, becomes that of its start; force_bar the one of the slope of its first kick."""
    end = drifts.shape[0]
    for back in range(end):
        unroll()
        i = end - 1 - back
        clear_vector(velocity)
        part(half, 0, h * drifts[i], y_bar, velocity)
        drift_vjp(k, t + drift_times[i] * h, row(trail, i), p, velocity, y_bar, p_bar, t_bar)
        clear_vector(force_bar)
        part(half, half, h * kicks[i], y_bar, force_bar)
        if i > 0:
            kick_vjp(k, t + kick_times[i] * h, row(trail, i), p, force_bar, y_bar, p_bar, t_bar)


def adjoint(
    k, t0, span, steps, rate, half, drifts, kicks, drift_times, kick_times, dense, p, sigma, mesh, nodes, stages, out_bar, y_bar, p_bar,
    t_bar, kappa, first, trail, force, velocity, force_bar, w,
):  # fmt: skip
    """Discrete adjoint over the recorded steps.

    Parameters
    ----------
    k, t0, span, rate, half, drifts, kicks, drift_times, kick_times, dense, p, sigma
        As in ``forward``.
    steps, mesh, nodes, out_bar, y_bar, p_bar, t_bar
        As in ``erk.adjoint``.
    stages : ndarray, shape (>= steps + 1, 1, n)
        As recorded by ``forward``.
    kappa, first, trail, force, velocity, force_bar, w : ndarray
        Work: shapes (3, n), (n,), (S, n), (n // 2,), (n // 2,), (n // 2,), (3,): cotangents of the slopes that outputs within a step
        read, of the state at its start, states before the drifts, slopes, and the cotangent of the slope a step's last kick takes.

    Returns
    -------
    int
        DONE.

    Notes
    -----
    The transpose of a kick is a drift of the cotangents and the other way round: the adjoint is a splitting method itself.
    Source: Sanz-Serna, SIAM Rev. 58 (2016) 3-33.
    """
    sign = 1.0 if span > 0.0 else -1.0
    n, o, end = y_bar.shape[0], sigma.shape[0] - 1, drifts.shape[0]
    clear_vector(force_bar)
    for step in range(steps - 1, -1, -1):
        h, t, state, begins = mesh[step], t0 + nodes[step], row3(stages, step + 1, 0), row3(stages, step, 0)
        o, read = gather_hermite(o, sigma, sign, rate, dense, step, h, nodes, out_bar, first, y_bar, kappa, w)
        if read:
            slopes_back(k, half, t + h, state, p, row(kappa, 2), velocity, y_bar, p_bar, t_bar)
            slopes_back(k, half, t, begins, p, row(kappa, 0), velocity, first, p_bar, t_bar)
        part(half, half, h * kicks[end], y_bar, force_bar)
        kick_vjp(k, t + kick_times[end] * h, state, p, force_bar, y_bar, p_bar, t_bar)
        copy(begins, row(trail, 0))
        retrace(k, half, drifts, kicks, drift_times, kick_times, t, h, p, trail, force, velocity)
        retreat(k, half, drifts, kicks, drift_times, kick_times, t, h, p, y_bar, p_bar, t_bar, trail, force_bar, velocity)
        for q in range(n):
            y_bar[q] += first[q]
    kick_vjp(k, t0 + nodes[0], row3(stages, 0, 0), p, force_bar, y_bar, p_bar, t_bar)
    for i in range(o + 1):
        if rate == 0:
            for q in range(n):
                y_bar[q] += out_bar[i, q]
        elif rate == 1 and steps == 0:
            slopes_back(k, half, t0, row3(stages, 0, 0), p, row(out_bar, i), velocity, y_bar, p_bar, t_bar)
    return DONE


def slopes_back(k, half, t, y, p, w, spare, y_bar, p_bar, t_bar):
    """Add the cotangents of :func:`slopes_at` for the cotangent w of dy/dt."""
    clear_vector(spare)
    part(half, 0, 1.0, w, spare)
    drift_vjp(k, t, y, p, spare, y_bar, p_bar, t_bar)
    clear_vector(spare)
    part(half, half, 1.0, w, spare)
    kick_vjp(k, t, y, p, spare, y_bar, p_bar, t_bar)


SHAPES = {
    "drifts": "S", "kicks": "S + 1", "drift_times": "S", "kick_times": "S + 1", "dense": "3, degree", "p": "n_p", "sigma": "m",
    "mesh": "cap", "nodes": "cap + 1", "w": "3",
}  # fmt: skip
FORWARD = Loop(
    "symplectic_forward",
    forward,
    sizes=("N", "n_out", "n_rec", "n_p", "S", "degree", "m", "cap", *KEPT_SIZES),
    integers=("replay", "rate", "half"),
    shapes={
        **SHAPES, "y": "N", "out": "m, n_out", "stages": "room + 1, 1, n_rec", "ks": "3, N", "new": "N", "force": "N // 2",
        "velocity": "N // 2", "counts": "7", "last": "4", **KEEPING,
    },
    integer_arrays=("counts", "at"),
    helpers=(
        move, part, clear_vector, copy, first_not_finite, slopes_at, within, one_step, weights, observe, start_outputs, step_outputs, put,
        keep_state,
    ),
)  # fmt: skip
ADJOINT = Loop(
    "symplectic_adjoint",
    adjoint,
    sizes=("n", "n_out", "n_p", "S", "degree", "m", "cap", "room"),
    integers=("steps", "rate", "half"),
    shapes={
        **SHAPES, "out_bar": "m, n_out", "stages": "room + 1, 1, n", "y_bar": "n", "p_bar": "n_p", "t_bar": "1", "kappa": "3, n",
        "first": "n", "trail": "S, n", "force": "n // 2", "velocity": "n // 2", "force_bar": "n // 2",
    },
    helpers=(move, part, clear_vector, copy, weights, gather_outputs, gather_hermite, retrace, retreat, slopes_back),
)  # fmt: skip

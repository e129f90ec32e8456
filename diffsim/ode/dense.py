"""Dense output of recorded steps, for ``sol(t)``: slopes evaluated again, then the tableau's interpolant."""

import numpy as np

from diffsim.codegen.loops import rhs
from diffsim.ode.erk import weights


def slopes(k, tableau, t0, p, mesh, nodes, stages):
    """Slopes of recorded steps, evaluated again.

    Parameters
    ----------
    k, t0, p, mesh, nodes, stages
        As in ``forward``; ``stages`` has n_rec = N.
    tableau : Tableau

    Returns
    -------
    ndarray, shape (steps, S + 1, N)
    """
    steps, end = len(mesh), tableau.stages
    ks = np.empty((steps, end + 1, stages.shape[2]))
    for step in range(steps):
        for i in range(end):
            rhs(k, t0 + nodes[step] + tableau.c[i] * mesh[step], stages[step, i], p, ks[step, i])
        rhs(k, t0 + nodes[step] + mesh[step], stages[step + 1, 0], p, ks[step, end])
    return ks


def interpolate(tableau, mesh, nodes, states, ks, sigma, rate=0):
    """Dense output: the interpolant of recorded steps, or its rate-th time derivative.

    Parameters
    ----------
    tableau : Tableau
    mesh, nodes : ndarray, shapes (steps,), (steps + 1,)
        Increments and relative times.
    states, ks : ndarray, shapes (steps + 1, N), (steps, S + 1, N)
        States at the nodes; slopes.
    sigma : ndarray, shape (m,)
        Relative times in any order; beyond the ends the first or last step is extrapolated.
    rate : int

    Returns
    -------
    ndarray, shape (m, N)
    """
    steps = len(mesh)
    direction = -1.0 if nodes[steps] < 0.0 else 1.0
    out = np.empty((len(sigma), states.shape[1]))
    w = np.empty(tableau.stages + 1)
    for i, at in enumerate(np.searchsorted(direction * nodes, direction * np.asarray(sigma)) - 1):
        step = min(max(at, 0), steps - 1)
        if rate == 0 and sigma[i] == nodes[step + 1]:
            out[i] = states[step + 1]
        else:
            weights(tableau.dense, (sigma[i] - nodes[step]) / mesh[step], mesh[step], rate, w)
            out[i] = (w @ ks[step]) + (states[step] if rate == 0 else 0.0)
    return out

"""Lotka-Volterra as a person would write it in Numba: the equations in the loop, Tsit5 with its interpolant, one member after another."""

import numpy as np
from numba import njit

from diffsim.ode.tableaus import TSIT5

A, E, DENSE, S = np.array(TSIT5.a), np.array(TSIT5.e), np.array(TSIT5.dense), 6
FLAGS = {"contract", "reassoc", "nsz", "arcp"}


@njit(fastmath=FLAGS, inline="always")
def rhs(y, p, out):
    meet = y[0] * y[1]
    out[0] = p[0] * y[0] - p[1] * meet
    out[1] = p[3] * meet - p[2] * y[1]


@njit(fastmath=FLAGS, error_model="numpy")
def member(y0, p, t0, times, rtol, atol, out):  # noqa: C901  (one loop, as a person would write it)
    """States at the output times."""
    k, y, new, state = np.empty((S + 1, 2)), y0.copy(), np.empty(2), np.empty(2)
    rhs(y, p, k[0])
    d0 = d1 = 0.0
    for i in range(2):
        scale = atol + rtol * abs(y[i])
        d0 += (y[i] / scale) ** 2
        d1 += (k[0, i] / scale) ** 2
    t, h, seen, end = t0, 0.01 * np.sqrt(d0 / d1), 0, times[-1]
    while seen < times.size:
        left = end - t
        h = left if h >= left * (1 - 1e-12) else min(h, 0.5 * left)
        for s in range(1, S):
            for i in range(2):
                total = 0.0
                for j in range(s):
                    total += A[s, j] * k[j, i]
                state[i] = y[i] + h * total
            rhs(state, p, k[s])
        for i in range(2):
            total = 0.0
            for j in range(S):
                total += A[S, j] * k[j, i]
            new[i] = y[i] + h * total
        rhs(new, p, k[S])
        square = 0.0
        for i in range(2):
            total = 0.0
            for j in range(S + 1):
                total += E[j] * k[j, i]
            total *= h / (atol + rtol * max(abs(y[i]), abs(new[i])))
            square += total * total
        error = np.sqrt(square / 2)
        factor = 10.0 if error == 0 else min(10.0, max(0.2, 0.9 * error**-0.2))
        if error <= 1:
            while seen < times.size and (times[seen] <= t + h or h == left):
                theta = (times[seen] - t) / h
                for i in range(2):
                    total = 0.0
                    for j in range(S + 1):
                        weight = 0.0
                        for d in range(3, -1, -1):
                            weight = (weight + DENSE[j, d]) * theta
                        total += weight * k[j, i]
                    out[seen, i] = y[i] + h * total
                seen += 1
            t += h
            for i in range(2):
                y[i], k[0, i] = new[i], k[S, i]
        h *= factor


@njit(fastmath=FLAGS, error_model="numpy")
def members(y0, p, t0, times, rtol, atol, out):
    for i in range(p.shape[0]):
        member(y0, p[i], t0, times, rtol, atol, out[i])


def solve(row, variant):
    def build(tol):
        def call():
            p = np.atleast_2d(row.p)
            out = np.empty((len(p), row.t.size, 2))
            members(row.y0, p, row.t0, row.t, tol, tol * row.floor, out)
            return out if row.members > 1 else out[0]
        return call
    return build

"""The limit: hare-lynx loss and gradient as a person would write it in Numba, kernel, solver and discrete adjoint by hand.

Tsit5 steps onto the observation times, keeps its stage states, and goes back through them.  Specialised to two states and four rates.
"""

import numpy as np
from numba import njit

from diffsim.ode.tableaus import TSIT5

A, E, S = np.array(TSIT5.a), np.array(TSIT5.e), 6
FLAGS = {"contract", "reassoc", "nsz", "arcp"}
MAX_STEPS = 4096


@njit(fastmath=FLAGS, inline="always")
def rhs(y, p, out):
    meet = y[0] * y[1]
    out[0] = p[0] * y[0] - p[1] * meet
    out[1] = p[3] * meet - p[2] * y[1]


@njit(fastmath=FLAGS, inline="always")
def vjp(y, p, w, y_bar, p_bar):
    meet, both = y[0] * y[1], p[3] * w[1] - p[1] * w[0]
    y_bar[0] += p[0] * w[0] + both * y[1]
    y_bar[1] += both * y[0] - p[2] * w[1]
    p_bar[0] += y[0] * w[0]
    p_bar[1] -= meet * w[0]
    p_bar[2] -= y[1] * w[1]
    p_bar[3] += meet * w[1]


@njit(fastmath=FLAGS, error_model="numpy")
def forward(y0, p, times, rtol, atol, stages, sizes, landed, observed):  # noqa: C901  (one loop, as a person would write it)
    """Integrate over the observation times; stage states, step sizes, the step that ends at each time, the states there."""
    k, y, new = np.empty((S + 1, 2)), y0.copy(), np.empty(2)
    observed[0], landed[0] = y, 0
    rhs(y, p, k[0])
    d0 = d1 = 0.0
    for i in range(2):
        scale = atol + rtol * abs(y[i])
        d0 += (y[i] / scale) ** 2
        d1 += (k[0, i] / scale) ** 2
    h, t, step, seen = 0.01 * np.sqrt(d0 / d1), times[0], 0, 1
    while seen < times.size:
        if step == MAX_STEPS:
            return -1
        left = times[seen] - t
        hits = h >= left * (1 - 1e-12)
        used = left if hits else min(h, 0.5 * left)
        states = stages[step]
        for i in range(2):
            states[0, i] = y[i]
        for s in range(1, S):
            for i in range(2):
                total = 0.0
                for j in range(s):
                    total += A[s, j] * k[j, i]
                states[s, i] = y[i] + used * total
            rhs(states[s], p, k[s])
        for i in range(2):
            total = 0.0
            for j in range(S):
                total += A[S, j] * k[j, i]
            new[i] = y[i] + used * total
        rhs(new, p, k[S])
        square = 0.0
        for i in range(2):
            total = 0.0
            for j in range(S + 1):
                total += E[j] * k[j, i]
            total /= atol + rtol * max(abs(y[i]), abs(new[i]))
            square += total * total
        error = used * np.sqrt(square / 2)
        factor = 10.0 if error == 0 else min(10.0, max(0.2, 0.9 * error**-0.2))
        if error <= 1:
            sizes[step] = used
            step += 1
            t += used
            for i in range(2):
                y[i], k[0, i] = new[i], k[S, i]
            if hits:
                t = times[seen]
                observed[seen], landed[seen] = y, step
                seen += 1
                h = max(h, used * factor)
            else:
                h = used * factor
        else:
            h = used * factor
    return step


@njit(fastmath=FLAGS, error_model="numpy")
def backward(p, stages, sizes, steps, landed, weights, y_bar, p_bar):
    """Discrete adjoint over the recorded steps."""
    w, g = np.empty(2), np.empty((S, 2))
    seen = landed.size - 1
    y_bar[:] = weights[seen]
    seen -= 1
    for step in range(steps - 1, -1, -1):
        h = sizes[step]
        for s in range(S - 1, -1, -1):
            for i in range(2):
                total = A[S, s] * y_bar[i]
                for j in range(s + 1, S):
                    total += A[j, s] * g[j, i]
                w[i] = h * total
                g[s, i] = 0.0
            vjp(stages[step, s], p, w, g[s], p_bar)
        for i in range(2):
            for s in range(S):
                y_bar[i] += g[s, i]
        while seen >= 0 and landed[seen] == step:
            y_bar += weights[seen]
            seen -= 1


@njit(fastmath=FLAGS, error_model="numpy")
def loss_and_grad(y0, p, times, log_data, rtol, atol, stages, sizes, landed, observed, weights, grad):
    """Loss; the gradient in (p, y0) goes to ``grad``."""
    steps = forward(y0, p, times, rtol, atol, stages, sizes, landed, observed)
    loss = 0.0
    for i in range(times.size):
        for j in range(2):
            r = np.log(observed[i, j]) - log_data[i, j]
            loss += r * r
            weights[i, j] = 2 * r / observed[i, j]
    grad[:] = 0.0
    backward(p, stages, sizes, steps, landed, weights, grad[4:], grad[:4])
    return loss


def build(times, log_data, p, y0, tol):
    """Call without arguments: loss and gradient at (p, y0)."""
    n = times.size
    stages, sizes, landed = np.empty((MAX_STEPS, S, 2)), np.empty(MAX_STEPS), np.empty(n, np.int64)
    observed, weights = np.empty((n, 2)), np.empty((n, 2))

    def call():
        grad = np.empty(6)
        return loss_and_grad(y0, p, times, log_data, tol, tol, stages, sizes, landed, observed, weights, grad), grad
    return call

"""Written by hand: derivatives on paper, loops in Numba, BLAS where a matrix is read.  The limit, not a peer."""

from math import erfc, exp, log, pi, sqrt

import numpy as np
from numba import njit

from .row import Row, row

ROWS = {}
rows = row(ROWS)


@rows("logistic")
def _(w):
    def call():
        margin = w.sign * (w.x @ w.args[0])
        e = np.exp(-np.abs(margin))
        value = np.mean(np.log1p(e) + np.maximum(-margin, 0))
        slope = -w.sign * np.where(margin > 0, e, 1) / (1 + e) / len(margin)
        return value, (slope @ w.x,)
    return Row(call)


@njit
def _rosenbrock(x, bar):
    total, n = 0.0, x.size
    bar[0] = 0.0
    for i in range(n - 1):
        a, b = x[i], x[i + 1]
        r, s = b - a * a, 1 - a
        total += 100 * r * r + s * s
        bar[i] += -400 * r * a - 2 * s
        bar[i + 1] = 200 * r
    return total


@rows("rosenbrock")
def _(w):
    def call():
        bar = np.empty_like(w.args[0])
        return _rosenbrock(w.args[0], bar), (bar,)
    return Row(call)


@njit
def _rosenbrock_hvp(x, v, out):
    out[0] = 0.0
    for i in range(x.size - 1):
        a, b = x[i], x[i + 1]
        out[i] += (1200 * a * a - 400 * b + 2) * v[i] - 400 * a * v[i + 1]
        out[i + 1] = 200 * v[i + 1] - 400 * a * v[i]


@rows("rosenbrock-hvp")
def _(w):
    def call():
        out = np.empty_like(w.args[0])
        _rosenbrock_hvp(w.args[0], w.direction, out)
        return 0.0, (out,)
    return Row(call)


@njit
def _black_scholes(spot, expiry, rate, sigma, strike, delta, theta, rho, vega):
    total = 0.0
    for i in range(spot.size):
        root_t = sqrt(expiry[i])
        root = sigma[i] * root_t
        d1 = (log(spot[i] / strike[i]) + (rate[i] + 0.5 * sigma[i] * sigma[i]) * expiry[i]) / root
        d2 = d1 - root
        up, down = 0.5 * erfc(-d1 / sqrt(2.0)), 0.5 * erfc(-d2 / sqrt(2.0))
        density = exp(-0.5 * d1 * d1) / sqrt(2 * pi)
        paid = strike[i] * exp(-rate[i] * expiry[i])
        total += spot[i] * up - paid * down
        delta[i] = up
        theta[i] = spot[i] * density * sigma[i] / (2 * root_t) + rate[i] * paid * down
        rho[i] = expiry[i] * paid * down
        vega[i] = spot[i] * density * root_t
    return total


@rows("black-scholes")
def _(w):
    def call():
        bars = [np.empty_like(w.strike) for _ in range(4)]
        return _black_scholes(*w.args, w.strike, *bars), bars
    return Row(call)


@njit
def _stencil_1d(u, k, goal, dt, u_bar, k_bar):
    n, total, left = u.size, 0.0, 0.0
    before = 0.0                                             # residual at i - 1
    for i in range(n):
        right = 0.5 * dt * (k[i + 1] + k[i]) * (u[i + 1] - u[i]) if i < n - 1 else 0.0
        r = u[i] + right - left - goal[i]
        total += r * r
        u_bar[i], k_bar[i] = r, 0.0
        if i > 0:
            face, slope = before - r, 0.5 * dt * (u[i] - u[i - 1])
            c = 0.5 * dt * (k[i] + k[i - 1])
            u_bar[i] += c * face
            u_bar[i - 1] -= c * face
            k_bar[i] += slope * face
            k_bar[i - 1] += slope * face
        before, left = r, right
    return 0.5 * total


@njit
def _stencil_2d(u, k, goal, dt, u_bar, k_bar, r):  # noqa: C901  (four neighbours, forward and back)
    n, m = u.shape
    total, h = 0.0, 0.5 * dt
    for i in range(n):
        for j in range(m):
            x = u[i, j]
            if i > 0:
                x -= h * (k[i, j] + k[i - 1, j]) * (u[i, j] - u[i - 1, j])
            if i < n - 1:
                x += h * (k[i + 1, j] + k[i, j]) * (u[i + 1, j] - u[i, j])
            if j > 0:
                x -= h * (k[i, j] + k[i, j - 1]) * (u[i, j] - u[i, j - 1])
            if j < m - 1:
                x += h * (k[i, j + 1] + k[i, j]) * (u[i, j + 1] - u[i, j])
            x -= goal[i, j]
            total += x * x
            r[i, j] = x
    for i in range(n):
        for j in range(m):
            a, b = r[i, j], 0.0
            if i > 0:
                face = r[i - 1, j] - r[i, j]
                a += h * (k[i, j] + k[i - 1, j]) * face
                b += h * (u[i, j] - u[i - 1, j]) * face
            if i < n - 1:
                face = r[i, j] - r[i + 1, j]
                a -= h * (k[i + 1, j] + k[i, j]) * face
                b += h * (u[i + 1, j] - u[i, j]) * face
            if j > 0:
                face = r[i, j - 1] - r[i, j]
                a += h * (k[i, j] + k[i, j - 1]) * face
                b += h * (u[i, j] - u[i, j - 1]) * face
            if j < m - 1:
                face = r[i, j] - r[i, j + 1]
                a -= h * (k[i, j + 1] + k[i, j]) * face
                b += h * (u[i, j + 1] - u[i, j]) * face
            u_bar[i, j], k_bar[i, j] = a, b
    return 0.5 * total


@rows("stencil-512", "stencil-64x64", "stencil-1024x1024")
def _(w):
    u, k = w.args
    kept = np.empty_like(u)

    def call():
        u_bar, k_bar = np.empty_like(u), np.empty_like(k)
        if u.ndim == 1:
            return _stencil_1d(u, k, w.goal, w.dt, u_bar, k_bar), (u_bar, k_bar)
        return _stencil_2d(u, k, w.goal, w.dt, u_bar, k_bar, kept), (u_bar, k_bar)
    return Row(call)


@njit
def _lorenz(x, y, z, s, r, b):
    return s * (y - x), x * (r - z) - y, x * y - b * z


@njit
def _lorenz_vjp(x, y, z, s, r, b, u, v, w):
    """Cotangents of the state, then of the parameters."""
    return -s * u + (r - z) * v + y * w, s * u - v + x * w, -x * v - b * w, u * (y - x), v * x, -w * z


@njit
def _scan(p, start, h, states):
    s, r, b = p
    steps = len(states) - 1
    states[0] = start
    for n in range(steps):
        x, y, z = states[n]
        a0, a1, a2 = _lorenz(x, y, z, s, r, b)
        b0, b1, b2 = _lorenz(x + 0.5 * h * a0, y + 0.5 * h * a1, z + 0.5 * h * a2, s, r, b)
        c0, c1, c2 = _lorenz(x + 0.5 * h * b0, y + 0.5 * h * b1, z + 0.5 * h * b2, s, r, b)
        d0, d1, d2 = _lorenz(x + h * c0, y + h * c1, z + h * c2, s, r, b)
        states[n + 1] = (x + h / 6 * (a0 + 2 * b0 + 2 * c0 + d0), y + h / 6 * (a1 + 2 * b1 + 2 * c1 + d1),
                         z + h / 6 * (a2 + 2 * b2 + 2 * c2 + d2))
    x, y, z = states[steps]
    value, u, v, w = x * x + y * y + z * z, 2 * x, 2 * y, 2 * z
    ps, pr, pb = 0.0, 0.0, 0.0
    for n in range(steps - 1, -1, -1):
        x, y, z = states[n]
        a0, a1, a2 = _lorenz(x, y, z, s, r, b)
        x1, y1, z1 = x + 0.5 * h * a0, y + 0.5 * h * a1, z + 0.5 * h * a2
        b0, b1, b2 = _lorenz(x1, y1, z1, s, r, b)
        x2, y2, z2 = x + 0.5 * h * b0, y + 0.5 * h * b1, z + 0.5 * h * b2
        c0, c1, c2 = _lorenz(x2, y2, z2, s, r, b)
        x3, y3, z3 = x + h * c0, y + h * c1, z + h * c2
        e, half = h / 6, 0.5 * h
        d0, d1, d2, qs, qr, qb = _lorenz_vjp(x3, y3, z3, s, r, b, e * u, e * v, e * w)
        ps, pr, pb = ps + qs, pr + qr, pb + qb
        f0, f1, f2, qs, qr, qb = _lorenz_vjp(x2, y2, z2, s, r, b, 2 * e * u + h * d0, 2 * e * v + h * d1, 2 * e * w + h * d2)
        ps, pr, pb = ps + qs, pr + qr, pb + qb
        g0, g1, g2, qs, qr, qb = _lorenz_vjp(x1, y1, z1, s, r, b, 2 * e * u + half * f0, 2 * e * v + half * f1, 2 * e * w + half * f2)
        ps, pr, pb = ps + qs, pr + qr, pb + qb
        k0, k1, k2, qs, qr, qb = _lorenz_vjp(x, y, z, s, r, b, e * u + 0.5 * h * g0, e * v + 0.5 * h * g1, e * w + 0.5 * h * g2)
        ps, pr, pb = ps + qs, pr + qr, pb + qb
        u, v, w = u + d0 + f0 + g0 + k0, v + d1 + f1 + g1 + k1, w + d2 + f2 + g2 + k2
    return value, (ps, pr, pb), (u, v, w)


@rows("scan-1000")
def _(w):
    p, y = w.args

    def call():
        value, p_bar, y_bar = _scan(p, y, w.h, np.empty((w.steps + 1, 3)))
        return value, (np.array(p_bar), np.array(y_bar))
    return Row(call)

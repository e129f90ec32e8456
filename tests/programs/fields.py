"""Partial differential equations on grids, stepped in place."""

import numpy as np
from numpy import empty_like, zeros

from . import tools


def heat(u0, alpha):
    """Explicit heat equation with fixed ends."""
    u, dx, dt = u0.copy(), 0.1, 0.002
    for _ in range(20):
        u[1:-1] += alpha * dt / dx**2 * (u[2:] - 2.0 * u[1:-1] + u[:-2])
    return u


def heat_two_buffers(u0, alpha):
    """The same in two dimensions with swapped buffers and insulated edges."""
    old, new = u0.copy(), np.empty_like(u0)
    for _ in range(8):
        new[1:-1, 1:-1] = old[1:-1, 1:-1] + alpha * (
            old[2:, 1:-1] + old[:-2, 1:-1] + old[1:-1, 2:] + old[1:-1, :-2] - 4.0 * old[1:-1, 1:-1])
        new[0], new[-1] = new[1], new[-2]
        new[:, 0] = new[:, 1]
        new[:, -1] = new[:, -2]
        old, new = new, old
    return old


def upwind_advection(u0, speed):
    """Periodic upwind scheme by modular indices."""
    n = len(u0)
    u = u0.copy()
    for _ in range(6):
        before = u.copy()
        for i in range(n):
            u[i] = before[i] - 0.4 * speed * (before[i] - before[(i - 1) % n])
    return u


def burgers(u0, nu):
    """Viscous Burgers' equation, periodic through ghost cells that are refilled each step."""
    n = u0.size
    w = np.zeros(n + 2)
    w[1:-1] = u0
    dx, dt = 1.0 / n, 0.002
    for _ in range(10):
        w[0], w[-1] = w[-2], w[1]
        flux = 0.5 * w**2
        interior = w[1:-1]
        interior += dt * (-(flux[2:] - flux[:-2]) / (2 * dx) + nu * (w[2:] - 2 * interior + w[:-2]) / dx**2)
    return w[1:-1]


def lax_wendroff(u0, c):
    """Two half steps with staggered buffers."""
    u, half = u0.copy(), empty_like(u0[1:])
    for _ in range(10):
        np.add(u[1:], u[:-1], out=half)
        half *= 0.5
        half -= 0.5 * c * (u[1:] - u[:-1])
        u[1:-1] -= c * (half[1:] - half[:-1])
    return u


def wave_leapfrog(u0, c):
    """Three time levels in one array, addressed modulo three."""
    levels = np.zeros((3, u0.size))
    levels[0] = u0
    levels[1] = u0
    for n in range(1, 12):
        now, before, after = levels[n % 3], levels[(n - 1) % 3], levels[(n + 1) % 3]
        after[1:-1] = 2 * now[1:-1] - before[1:-1] + c**2 * (now[2:] - 2 * now[1:-1] + now[:-2])
        after[0] = after[-1] = 0.0
    return levels


def gauss_seidel(b, source):
    """Poisson's equation by Gauss-Seidel sweeps over single points."""
    phi = zeros((5, 5))
    phi[0] = b
    phi[-1, :] = b[::-1]
    for _ in range(4):
        for i in range(1, 4):
            for j in range(1, 4):
                phi[i, j] = 0.25 * (phi[i + 1, j] + phi[i - 1, j] + phi[i, j + 1] + phi[i, j - 1] + source * 0.04)
    return phi


def red_black_sor(b, omega):
    """Successive over-relaxation on a coloured grid: strided slices of both colours."""
    p = np.zeros((6, 6))
    p[0, :] = b
    for _ in range(5):
        for colour in (0, 1):
            for i in range(1, 5):
                s = slice(1 + (i + colour) % 2, 5, 2)
                new = 0.25 * (p[i - 1, s] + p[i + 1, s] + p[i, s.start - 1:s.stop - 1:2] + p[i, s.start + 1:s.stop + 1:2])
                p[i, s] += omega * (new - p[i, s])
    return p


def crank_nicolson(u0, d):
    """Implicit diffusion: a tridiagonal solve each step."""
    u, n = u0.copy(), u0.size
    for _ in range(3):
        lower, main, upper = np.full(n - 1, -d / 2), np.full(n, 1 + d), np.full(n - 1, -d / 2)
        right = u.copy()
        right[1:-1] += d / 2 * (u[2:] - 2 * u[1:-1] + u[:-2])
        main[0] = main[-1] = 1.0
        upper[0] = lower[-1] = 0.0
        u = tools.thomas(lower, main, upper, right)
    return u


def gray_scott(u0, feed, kill):
    """Reaction and diffusion with np.roll and in-place updates of two fields."""
    u, v = u0.copy(), 0.5 * u0[::-1, ::-1]
    for _ in range(5):
        lap = np.empty((2, *u.shape))
        for field, out in zip((u, v), lap, strict=True):
            out[:] = -4.0 * field
            for axis in (0, 1):
                out += np.roll(field, 1, axis) + np.roll(field, -1, axis)
        uvv = u * v * v
        u += 0.16 * lap[0] - uvv + feed * (1.0 - u)
        v += 0.08 * lap[1] + uvv - (feed + kill) * v
    return u, v


def shallow_water(h0, g):
    """Lax-Friedrichs on a state of two rows, with reflecting ends written through views."""
    state = np.empty((2, h0.size))
    h, hu = state
    h[:] = h0
    hu.fill(0.0)
    for _ in range(6):
        flux = np.stack([hu, hu**2 / h + 0.5 * g * h**2])
        new = state.copy()
        new[:, 1:-1] = 0.5 * (state[:, 2:] + state[:, :-2]) - 0.05 * (flux[:, 2:] - flux[:, :-2])
        new[0, [0, -1]] = new[0, [1, -2]]
        new[1, [0, -1]] = -new[1, [1, -2]]
        state[...] = new
    return state


def cable(v0, conductance):
    """Passive cable with an injected current and a sealed end; the trajectory is preallocated."""
    steps = 15
    v = np.zeros((steps + 1, v0.size))
    v[0] = v0
    current = np.where(np.arange(steps) < 5, 1.0, 0.0)
    for k in range(steps):
        dv = v[k + 1]
        dv[:] = -v[k]
        dv[1:] += conductance * (v[k, :-1] - v[k, 1:])
        dv[:-1] += conductance * (v[k, 1:] - v[k, :-1])
        dv[0] += current[k]
        dv *= 0.05
        dv += v[k]
    return v


def finite_volume_upwind(q0, u):
    """Fluxes at faces chosen by the sign of the velocity there."""
    q = q0.copy()
    for _ in range(5):
        flux = np.zeros(q.size + 1)
        face = 0.5 * (u[1:] + u[:-1])
        flux[1:-1] = np.where(face > 0.0, face * q[:-1], face * q[1:])
        q -= 0.1 * np.diff(flux)
    return q


GRID = (0.2, 1.5, (6, 6))
PROGRAMS = {
    heat: [(0.0, 1.0, (12,)), (0.5, 1.5, ())], heat_two_buffers: [GRID, (0.05, 0.2, ())],
    upwind_advection: [(0.0, 1.0, (8,)), (0.3, 1.0, ())], burgers: [(0.1, 1.0, (16,)), (0.01, 0.05, ())],
    lax_wendroff: [(0.0, 1.0, (14,)), (0.2, 0.8, ())], wave_leapfrog: [(-1.0, 1.0, (11,)), (0.3, 0.9, ())],
    gauss_seidel: [(0.0, 1.0, (5,)), (0.5, 1.0, ())], red_black_sor: [(0.0, 1.0, (6,)), (1.0, 1.8, ())],
    crank_nicolson: [(0.0, 1.0, (8,)), (0.3, 0.9, ())], gray_scott: [GRID, (0.02, 0.06, ()), (0.05, 0.07, ())],
    shallow_water: [(1.0, 1.5, (10,)), (0.8, 1.2, ())], cable: [(-0.5, 0.5, (6,)), (0.5, 1.5, ())],
    finite_volume_upwind: [(0.0, 1.0, (9,)), (-1.0, 1.0, (9,))],
}

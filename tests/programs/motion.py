"""Particles, oscillators, epidemics: states advanced in preallocated arrays."""

import numpy as np

from .tools import accelerations


def verlet(x0, v0, k):
    """A chain of springs by velocity Verlet; positions and velocities are stored at every step."""
    steps, dt = 12, 0.05
    x, v = np.empty((steps + 1, x0.size)), np.empty((steps + 1, x0.size))
    x[0], v[0] = x0, v0

    def force(q):
        f = np.zeros_like(q)
        stretch = q[1:] - q[:-1]
        f[:-1] += k * stretch
        f[1:] -= k * stretch
        return f
    a = force(x[0])
    for n in range(steps):
        x[n + 1] = x[n] + dt * v[n] + 0.5 * dt**2 * a
        new = force(x[n + 1])
        v[n + 1] = v[n] + 0.5 * dt * (a + new)
        a = new
    return x, v


def n_body(positions, masses):
    """Gravity with np.add.at over pairs, leapfrog in place."""
    x, v = positions.copy(), np.zeros_like(positions)
    v += 0.005 * accelerations(x, masses)
    for _ in range(5):
        x += 0.01 * v
        v += 0.01 * accelerations(x, masses)
    energy = 0.5 * (masses[:, None] * v**2).sum()
    return x, v, energy


def lorenz96(x0, forcing):
    """Lorenz's model of 1996 by Runge-Kutta and np.roll."""
    x, dt = x0.copy(), 0.02

    def f(x):
        return (np.roll(x, -1) - np.roll(x, 2)) * np.roll(x, 1) - x + forcing
    for _ in range(4):
        k1 = f(x)
        k2 = f(x + dt / 2 * k1)
        k3 = f(x + dt / 2 * k2)
        k4 = f(x + dt * k3)
        x += dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


def sir_by_age(state, beta, gamma):
    """Compartments as slices of one vector, mixed by age."""
    y = state.copy()
    n = y.size // 3
    contact = np.array([[1.0, 0.3], [0.3, 0.6]])
    daily = []
    for _ in range(10):
        s, i, r = y[:n], y[n:2 * n], y[2 * n:]
        infections = beta * s * (contact @ i)
        recoveries = gamma * i
        daily.append(infections.sum())
        s -= 0.2 * infections
        i += 0.2 * (infections - recoveries)
        r += 0.2 * recoveries
    return y, np.array(daily)


def kuramoto(theta0, coupling):
    """Phases with pairwise sines, wrapped in place by np.mod's out=."""
    theta = theta0.copy()
    omega = np.linspace(-0.5, 0.5, theta.size)
    order = np.zeros(8)
    for n in range(8):
        difference = theta[None, :] - theta[:, None]
        theta += 0.1 * (omega + coupling * np.sin(difference).mean(axis=1))
        np.mod(theta, 2 * np.pi, out=theta)
        order[n] = np.hypot(np.cos(theta).mean(), np.sin(theta).mean())
    return theta, order


def delay_line(signal, gain):
    """An echo through a ring buffer."""
    ring, out = np.zeros(4), np.empty_like(signal)
    for n in range(signal.size):
        at = n % ring.size
        out[n] = signal[n] + gain * ring[at]
        ring[at] = out[n]
    return out, ring


def leaky_integrate_and_fire(current, tau):
    """Neurons that are reset by a mask when they cross a threshold, with the count of their spikes."""
    v, spikes = np.zeros_like(current), np.zeros(current.size, dtype=int)
    for _ in range(30):
        v += 0.1 * (current - v) / tau
        fired = v > 0.7
        v[fired] = 0.0
        spikes[fired] += 1
    return v * (1.0 + spikes)


class Tank:
    """A cascade of tanks kept as attributes."""

    def __init__(self, level):
        self.level = level.copy()
        self.history = []

    def drain(self, rate):
        flow = rate * np.sqrt(self.level)
        self.level -= 0.1 * flow
        self.level[1:] += 0.1 * flow[:-1]
        self.history.append(self.level.copy())


def cascade(level, rate):
    """State in an object, history in a list."""
    tank = Tank(level)
    for _ in range(6):
        tank.drain(rate)
    return np.array(tank.history)


def chemostat(state, params):
    """State in a dictionary, updated in place."""
    s = {"substrate": state[0], "biomass": np.array([state[1], state[2]])}
    mu, dilution = params
    for _ in range(10):
        growth = mu * s["substrate"] / (0.5 + s["substrate"]) * s["biomass"]
        s["biomass"] += 0.05 * (growth - dilution * s["biomass"])
        s["substrate"] += 0.05 * (dilution * (1.0 - s["substrate"]) - growth.sum())
    return s


def double_pendulum(y0, length):
    """Right-hand side written element by element into an empty array, stepped by Heun's method."""
    def rhs(y):
        dy = np.empty(4)
        delta = y[1] - y[0]
        den = 2.0 - np.cos(delta) ** 2
        dy[0] = y[2]
        dy[1] = y[3]
        dy[2] = (y[2] ** 2 * np.sin(delta) * np.cos(delta) + 9.81 / length * (np.sin(y[1]) * np.cos(delta) - 2 * np.sin(y[0]))
                 + y[3] ** 2 * np.sin(delta)) / den
        dy[3] = (-y[3] ** 2 * np.sin(delta) * np.cos(delta) + 2 * (9.81 / length * (np.sin(y[0]) * np.cos(delta) - np.sin(y[1]))
                 - y[2] ** 2 * np.sin(delta))) / den
        return dy
    y = np.array(y0)
    for _ in range(10):
        k = rhs(y)
        y += 0.01 * (k + rhs(y + 0.02 * k))
    return y


def cell_growth(mass, rate):
    """Cells that grow and divide by a mask; the daughters go to free places."""
    cells = np.zeros(8)
    cells[:4] = mass
    alive = np.arange(8) < 4
    for _ in range(6):
        cells[alive] *= 1.0 + 0.3 * rate
        ready = np.flatnonzero(cells > 1.6)
        free = np.flatnonzero(~alive)
        for parent, place in zip(ready, free, strict=False):
            cells[parent] /= 2.0
            cells[place] = cells[parent]
            alive[place] = True
    return cells


def billiard(x, v):
    """Positions reflected at the walls by masks and np.where."""
    x, v = x.copy(), v.copy()
    for _ in range(12):
        x += 0.3 * v
        low, high = x < 0.0, x > 1.0
        x[low] *= -1.0
        x[high] = 2.0 - x[high]
        v = np.where(low | high, -v, v)
    return x, v


PROGRAMS = {
    verlet: [(-1.0, 1.0, (5,)), (-0.5, 0.5, (5,)), (0.5, 1.5, ())], n_body: [(-1.0, 1.0, (4, 3)), (0.5, 1.5, (4,))],
    lorenz96: [(-1.0, 1.0, (7,)), (4.0, 8.0, ())], sir_by_age: [(0.1, 0.9, (6,)), (0.5, 1.0, ()), (0.1, 0.3, ())],
    kuramoto: [(0.5, 5.0, (6,)), (0.5, 1.5, ())], delay_line: [(-1.0, 1.0, (10,)), (0.2, 0.7, ())],
    leaky_integrate_and_fire: [(0.5, 2.0, (5,)), (0.8, 1.2, ())], cascade: [(0.5, 1.5, (4,)), (0.3, 0.6, ())],
    chemostat: [(0.4, 0.9, (3,)), (0.3, 0.8, (2,))], double_pendulum: [(-0.8, 0.8, (4,)), (0.8, 1.2, ())],
    cell_growth: [(0.6, 1.2, (4,)), (0.8, 1.2, ())], billiard: [(0.1, 0.9, (5,)), (-0.9, 0.9, (5,))],
}

#: Programs whose course depends on their numbers: they have no graph.
BY_VALUE = {leaky_integrate_and_fire, cell_growth, billiard}

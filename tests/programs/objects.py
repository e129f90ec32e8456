"""Programs whose arrays and functions are reached through objects: classes, dataclasses, tables of functions, arrays of a module."""

import functools
from dataclasses import dataclass, field

import numpy as np

GRID = np.linspace(0.0, 1.0, 7)
CONDITIONS = {"left": 0.2, "profile": np.sin(np.pi * GRID)}
COLUMNS = np.array([[0.1, 0.4], [0.5, 0.2], [0.9, 0.7]])
NEIGHBOURS = np.array([[1, 2], [0, 3], [3, 0], [2, 1]])


class Heat:
    """Explicit heat conduction on a grid that the object holds."""

    def __init__(self, n):
        self.x = np.linspace(0.0, 1.0, n)
        self.n, self.log = n, []

    @property
    def start(self):
        u = np.zeros(self.n)
        u[1:-1] = np.sin(np.pi * self.x[1:-1])
        return u

    @functools.cached_property
    def weights(self):
        w = np.ones(self.n)
        w[0] = w[-1] = 0.5
        return w / (self.n - 1)

    def step(self, u, k):
        new = np.zeros_like(u)
        new[1:-1] = u[1:-1] + 0.2 * k * (u[2:] - 2.0 * u[1:-1] + u[:-2])
        self.boundary(new, k)
        return new

    def boundary(self, u, k):
        u[0] = 0.1 * k
        u[-1] = u[-2]

    def run(self, k, steps=4):
        u = self.start
        for _ in range(steps):
            u = self.step(u, k)
        return u


ROD = Heat(7)


class Insulated(Heat):
    def boundary(self, u, k):
        super().boundary(u, k)
        u[0] = u[1] * (1.0 + 0.1 * k)


def conduction(k):
    """A simulator made beforehand, a second one made here, and a subclass of it."""
    u = ROD.run(k)
    return u, Insulated(5).run(k) @ np.ones(5), ROD.weights @ u


def profile_of_a_module(a):
    """Arrays of the module are copied, computed with, and what comes of that is written."""
    u = np.sin(np.pi * GRID)
    u[0] = a[0]
    v = GRID.copy()
    v[2:4] += a[:2]
    w = 0.5 * CONDITIONS["profile"]
    w[-1] = CONDITIONS["left"] * a[1]
    column = COLUMNS[:, 1] + 1.0
    column[1] *= a[2]
    return u * v + w, column


def euler(f, y, h):
    new = np.empty_like(y)
    new[:] = y + h * f(y)
    return new


def midpoint(f, y, h):
    half = euler(f, y, 0.5 * h)
    return y + h * f(half)


METHODS = {"euler": euler, "midpoint": midpoint}


class Oscillator:
    def __init__(self, k, c=0.1):
        self.k, self.c = k, c

    def __call__(self, y):
        out = np.zeros(2)
        out[0], out[1] = y[1], -self.k * y[0] - self.c * y[1]
        return out

    def energy(self, y):
        return 0.5 * (y[1] ** 2 + self.k * y[0] ** 2)


def integrate(method, f, y, *args, callback=None):
    for _ in range(5):
        y = METHODS[method](f, y, *args)
        if callback is not None:
            callback(y)
    return y


def dispatched(k, y0):
    """Methods looked up by name, a callable object, a bound method handed on."""
    model, energies = Oscillator(k), []
    for name in METHODS:
        y = integrate(name, model, y0, 0.05, callback=lambda y: energies.append(model.energy(y)))
    ends = [f(model, y, 0.1) for f in METHODS.values()]
    return np.array(energies), np.concatenate(ends)


@dataclass
class Network:
    """A network whose layers are kept in a list."""

    widths: tuple
    scale: float = 0.5
    layers: list = field(default_factory=list)

    def fill(self, theta):
        at = 0
        for n, m in zip(self.widths[:-1], self.widths[1:], strict=True):
            w = np.zeros((m, n + 1))
            w[:, :n] = self.scale * theta[at:at + n * m].reshape(m, n)
            w[:, n] = theta[at + n * m:at + n * m + m]
            self.layers.append(w)
            at += m * (n + 1)
        return self

    def forward(self, x):
        for w in self.layers[:-1]:
            x = np.tanh(w[:, :-1] @ x + w[:, -1])
        last = self.layers[-1]
        return last[:, :-1] @ x + last[:, -1]


def perceptron(theta):
    net = Network((2, 3, 1)).fill(theta)
    return np.array([net.forward(row)[0] for row in COLUMNS])


class Registry:
    kernels = {}                                            # noqa: RUF012  (as people write it)

    @classmethod
    def register(cls, name):
        def keep(f):
            cls.kernels[name] = f
            return f
        return keep

    @staticmethod
    def distances(x):
        d = np.zeros((len(x), len(x)))
        for i in range(len(x)):
            for j in range(i):
                d[i, j] = d[j, i] = np.abs(x[i] - x[j])
        return d


@Registry.register("gauss")
def gauss(d, length):
    k = np.empty_like(d)
    k[...] = np.exp(-0.5 * (d / length) ** 2)
    k[np.diag_indices(len(d))] += 1e-3
    return k


@Registry.register("matern")
def matern(d, length):
    s = np.sqrt(3.0) * d / length
    return (1.0 + s) * np.exp(-s)


def kernels(length, x):
    """Functions registered in a class, a static method that writes."""
    d = Registry.distances(x)
    return [Registry.kernels[name](d, length) for name in sorted(Registry.kernels)]


def lattice(spins, j):
    """Sums over the neighbours of a table of positions."""
    h = np.zeros(4)
    for i, row in enumerate(NEIGHBOURS):
        for n in row:
            h[i] -= j * spins[i] * spins[n]
    total = np.sum(spins[NEIGHBOURS], axis=1)
    return h, total * spins


class Vector:
    """Arithmetic by special methods."""

    def __init__(self, *parts):
        self.parts = np.array(parts)

    def __add__(self, other):
        return Vector(*(self.parts + other.parts))

    def __rmul__(self, s):
        return Vector(*(s * self.parts))

    def __getitem__(self, i):
        return self.parts[i]

    def norm(self):
        return np.sqrt(np.sum(self.parts**2))


def vectors(a, b):
    v = Vector(a, b, 1.0) + 2.0 * Vector(b, a * b, 0.5)
    return v.norm(), v[1]


PROGRAMS = {
    conduction: [(0.3, 1.0, ())],
    profile_of_a_module: [(0.2, 1.0, (3,))],
    dispatched: [(0.5, 2.0, ()), (-1.0, 1.0, (2,))],
    perceptron: [(-1.0, 1.0, (13,))],
    kernels: [(0.5, 1.5, ()), (0.0, 2.0, (4,))],
    lattice: [(-1.0, 1.0, (4,)), (0.2, 1.0, ())],
    vectors: [(0.3, 1.0, ()), (0.3, 1.0, ())],
}

"""Programs as scripts have them: Python's `math`, `float()`, dictionaries, iterators, subclasses, text, checks by assertion."""

import collections
import copy
import functools
import itertools
import math
from dataclasses import dataclass, field
from math import exp, hypot, log

import numpy as np
from numpy.testing import assert_allclose


def atmosphere(height, lapse):
    """Scalars by Python's math, a table of them, conversions by float()."""
    if not math.isfinite(height):
        raise ValueError(height)
    pressure = math.exp(-height / 8.0) * math.pow(1.0 - 0.01 * lapse * height, 1.5)
    rows = np.array([math.sqrt(h * height) + log(1.0 + h) * exp(-h) for h in range(1, 4)])
    speed = float(hypot(pressure, 2.0)) + math.fsum(rows) + np.float64(lapse) * math.atan2(lapse, height)
    return pressure, rows, speed, math.erf(lapse) + math.degrees(height) + math.lgamma(2.0 + lapse) + math.dist(rows, [1.0, 2.0, 3.0])


class Integrator:
    """Runge and Kutta's method with everything kept in lists."""

    def __init__(self, f, y0, t0=0.0):
        self.f, self.y, self.t = f, np.asarray(y0, dtype=float), t0
        self.ts, self.ys = [t0], [self.y.copy()]

    def step(self, h):
        k1 = self.f(self.t, self.y)
        k2 = self.f(self.t + h / 2, self.y + h / 2 * k1)
        k3 = self.f(self.t + h / 2, self.y + h / 2 * k2)
        k4 = self.f(self.t + h, self.y + h * k3)
        self.y = self.y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        self.t += h
        self.ts.append(self.t)
        self.ys.append(self.y.copy())

    def solve(self, end, h):
        while self.t < end - 1e-12:
            self.step(h)
        return np.array(self.ts), np.array(self.ys)


def pendulum(g):
    return Integrator(lambda t, y: np.array([y[1], -g * np.sin(y[0])]), [0.5, 0.0]).solve(0.5, 0.1)[1]


@dataclass
class Particle:
    mass: float
    position: np.ndarray
    velocity: np.ndarray
    history: list = field(default_factory=list)

    def kinetic(self):
        return 0.5 * self.mass * np.dot(self.velocity, self.velocity)

    def update(self, force, dt):
        self.velocity += force / self.mass * dt
        self.position += self.velocity * dt
        self.history.append(self.position.copy())


def particles(k, v0):
    made = [Particle(1.0 + i, np.array([float(i), 0.0]), v0 * (i + 1)) for i in range(3)]
    for _ in range(4):
        forces = [np.zeros(2) for _ in made]
        for (i, a), (j, b) in itertools.combinations(enumerate(made), 2):
            d = b.position - a.position
            f = k * a.mass * b.mass * d / (np.linalg.norm(d) + 0.1) ** 3
            forces[i] += f
            forces[j] -= f
        for p, f in zip(made, forces, strict=True):
            p.update(f, 0.05)
    return sum(p.kinetic() for p in made), np.array([p.history[-1] for p in made])


def binned(w):
    totals = collections.defaultdict(float)
    for i, v in enumerate(w):
        totals[i % 3] += v**2
    out = np.empty(len(totals))
    for k, v in totals.items():
        out[k] = np.sqrt(v)
    return out


State = collections.namedtuple("State", "x v")


def named(x, k):
    s, recent, means = State(x, np.zeros_like(x)), collections.deque(maxlen=3), []
    for _ in range(4):
        v = s.v - 0.1 * k * s.x
        s = s._replace(x=s.x + 0.1 * v, v=v)
        recent.append(s.x)
        means.append(sum(recent) / len(recent))
    return s, np.array(means)


class Layer:
    def __init__(self, w, b, act=np.tanh):
        self.w, self.b, self.act = w, b, act

    def __call__(self, x):
        return self.act(self.w @ x + self.b)


class Chain(list):
    def __call__(self, x):
        for layer in self:
            x = layer(x)
        return x


def chained(w1, w2):
    net = Chain([Layer(w1, np.zeros(4)), Layer(w2, np.ones(2), act=lambda z: z)])
    return net(np.array([0.1, 0.2, 0.3]))


def thomas(a, b, c, d):
    n = len(d)
    cp, dp, x = np.zeros(n), np.zeros(n), np.zeros(n)
    cp[0], dp[0] = c[0] / b[0], d[0] / b[0]
    for i in range(1, n):
        m = b[i] - a[i] * cp[i - 1]
        cp[i] = c[i] / m if i < n - 1 else 0.0
        dp[i] = (d[i] - a[i] * dp[i - 1]) / m
    x[-1] = dp[-1]
    for i in range(n - 2, -1, -1):
        x[i] = dp[i] - cp[i] * x[i + 1]
    return x


def tridiagonal(d):
    return thomas(np.full(5, -1.0), np.full(5, 4.0) + 0.1 * d, np.full(5, -1.0), d)


class Material:
    registry = {}                                           # noqa: RUF012  (as people write it)

    def __init_subclass__(cls, **kwargs):
        Material.registry[cls.__name__] = cls

    def __init__(self, **parameters):
        self.__dict__.update(parameters)


class NeoHooke(Material):
    def stress(self, f):
        s = np.zeros((2, 2))
        s[:] = self.mu * (f @ f.T - np.eye(2))
        s[np.diag_indices(2)] += self.lam * np.log(np.linalg.det(f))
        return s / np.linalg.det(f)


class Linear(Material):
    def stress(self, f):
        e = 0.5 * (f + f.T) - np.eye(2)
        return 2 * self.mu * e + self.lam * np.trace(e) * np.eye(2)


def materials(mu, lam):
    f = np.array([[1.1, 0.2], [0.0, 0.9]])
    return [Material.registry[name](mu=mu, lam=lam).stress(f) for name in ("NeoHooke", "Linear")]


def rotated(w, v):
    def product(p, q):
        r = p[0] * q[1:] + q[0] * p[1:] + np.cross(p[1:], q[1:])
        return np.concatenate(([p[0] * q[0] - np.dot(p[1:], q[1:])], r))
    angle = np.linalg.norm(w)
    q = np.r_[np.cos(angle / 2), np.sin(angle / 2) * w / angle]
    conjugate = q * np.array([1, -1, -1, -1])
    return product(product(q, np.insert(v, 0, 0.0)), conjugate)[1:]


class Box:
    def __init__(self, n):
        self._values = np.zeros(n)

    @property
    def values(self):
        return self._values

    @values.setter
    def values(self, new):
        self._values[:] = new


def boxes(x):
    """A property with a setter, a deep copy, an exception as the end of a loop, a text about it."""
    box = Box(3)
    box.values = x[:3] ** 2
    box.values[1] += x[0]
    twin = copy.deepcopy(box)
    twin.values[0] = 5.0
    total, lines = 0.0, []
    for i in range(7):
        try:
            total += x[i] ** 2
            lines.append(f"{i}: {x[i]:.3f} {x[i]!s}")
        except IndexError:
            break
    return box.values * twin.values, total * len("\n".join(lines).splitlines())


def memoised(a):
    @functools.lru_cache(None)
    def fib(n):
        return a if n < 2 else fib(n - 1) + fib(n - 2) * 0.5
    return fib(10)


def checked(x):
    """Assertions of NumPy's on the way."""
    y = np.sort(x)
    np.testing.assert_array_less(-10.0, y)
    assert_allclose(y.sum(), x.sum())
    assert np.isfinite(y).all()
    return y * np.arange(len(y))


def reduced(x):
    return (np.add.reduce(x), np.multiply.accumulate(x), np.maximum.outer(x, x[:2]), functools.reduce(np.minimum, [x, x[::-1]]),
            np.apply_along_axis(lambda r: r @ r, 1, np.outer(x, x)), [r.max() for r in np.outer(x, x)])


PROGRAMS = {
    atmosphere: [(0.5, 2.0, ()), (0.5, 2.0, ())],
    pendulum: [(1.0, 9.0, ())],
    particles: [(0.3, 1.0, ()), (-1.0, 1.0, (2,))],
    binned: [(0.3, 2.0, (8,))],
    named: [(-1.0, 1.0, (3,)), (0.3, 2.0, ())],
    chained: [(-1.0, 1.0, (4, 3)), (-1.0, 1.0, (2, 4))],
    tridiagonal: [(-1.0, 1.0, (5,))],
    materials: [(0.5, 2.0, ()), (0.5, 2.0, ())],
    rotated: [(0.3, 1.0, (3,)), (-1.0, 1.0, (3,))],
    boxes: [(0.3, 1.0, (4,))],
    memoised: [(0.3, 1.0, ())],
    checked: [(0.3, 1.0, (4,))],
    reduced: [(0.3, 1.0, (4,))],
}
BY_VALUE = {atmosphere, checked}
#: Python's math, norms and running products round in their own way.
ROUNDED = {atmosphere, rotated, reduced}

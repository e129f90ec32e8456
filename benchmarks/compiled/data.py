"""Data of the rows: the same numbers for every contestant, from fixed seeds.  NumPy only."""

from types import SimpleNamespace

import numpy as np

ROWS = {}


def row(*names):
    """Register ``f(name) -> data`` for rows that share their program."""
    def register(make):
        ROWS.update(dict.fromkeys(names, make))
        return make
    return register


def data(name):
    """What the row called ``name`` computes with; ``args`` are the arguments that are differentiated."""
    return ROWS[name](name)


@row("gmm-10", "gmm-64")
def gmm(name):
    """Gaussian mixture in the sizes of ADBench: weights, means, inverse factors of covariances (log diagonals, then lower triangles)."""
    d, k, n = (10, 25, 1000) if name == "gmm-10" else (64, 50, 1000)
    rng = np.random.default_rng(1)
    args = (rng.normal(size=k), rng.normal(size=(k, d)), 0.2 * rng.normal(size=(k, d * (d + 1) // 2)))
    rows, columns = np.tril_indices(d, -1)
    return SimpleNamespace(args=args, x=rng.normal(size=(n, d)), d=d, rows=rows, columns=columns)


@row("lstm")
def lstm(name):
    """Two layers, 1024 characters of an alphabet of 14."""
    rng, b = np.random.default_rng(2), 14
    args = (rng.uniform(-0.5, 0.5, (4, 4 * b)), rng.uniform(-0.5, 0.5, (3, b)))
    return SimpleNamespace(args=args, state=rng.uniform(size=(4, b)), text=(rng.random((1024, b)) < 0.5).astype(float))


@row("bundle")
def bundle(name):
    """49 cameras, 7776 points, 31843 observations."""
    rng, cameras, points, seen = np.random.default_rng(3), 49, 7776, 31843
    parameters = np.concatenate([rng.uniform(0.5, 1.5, 11 * cameras), rng.uniform(0.5, 1.5, 3 * points), rng.uniform(0.5, 1.5, seen)])
    camera, point = rng.integers(0, cameras, seen), rng.integers(0, points, seen)
    return SimpleNamespace(args=(parameters,), cameras=cameras, points=points, camera=camera, point=point,
                           pixels=rng.normal(size=(seen, 2)))


def _logistic(n, d, seed):
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(n, d)), rng.normal(size=d) / np.sqrt(d)
    sign = np.where(rng.random(n) < 1 / (1 + np.exp(-x @ w)), 1.0, -1.0)
    return SimpleNamespace(args=(0.5 * w,), x=x, sign=sign)


@row("logistic")
def logistic(name):
    """100,000 observations of 100 features."""
    return _logistic(100_000, 100, 4)


@row("logistic-hessian")
def logistic_hessian(name):
    """1,000 observations of 50 features."""
    return _logistic(1000, 50, 8)


@row("rosenbrock", "rosenbrock-hvp")
def rosenbrock(name):
    """100,000 numbers and a direction."""
    rng = np.random.default_rng(5)
    return SimpleNamespace(args=(rng.normal(size=100_000),), direction=rng.normal(size=100_000))


@row("black-scholes")
def black_scholes(name):
    """A million call options: spot, time to expiry, rate, volatility; strikes."""
    rng, n = np.random.default_rng(6), 1_000_000
    spot, expiry, rate, sigma = (rng.uniform(low, high, n) for low, high in ((80, 120), (0.1, 2), (0.01, 0.05), (0.1, 0.5)))
    return SimpleNamespace(args=(spot, expiry, rate, sigma), strike=rng.uniform(80, 120, n))


@row("gaussian-process")
def gaussian_process(name):
    """500 observations in the plane; three logarithms of hyperparameters."""
    rng, n = np.random.default_rng(7), 500
    x = rng.uniform(-3, 3, (n, 2))
    squares = ((x[:, None] - x[None]) ** 2).sum(2)
    return SimpleNamespace(args=(np.array([0.1, 0.2, -1.0]),), y=np.sin(x[:, 0]) * x[:, 1] + 0.3 * rng.normal(size=n), squares=squares,
                           eye=np.eye(n))


@row("latency")
def latency(name):
    """One number."""
    return SimpleNamespace(args=(0.7,))


@row("stencil-512", "stencil-64x64", "stencil-1024x1024")
def stencil(name):
    """Heights, a positive conductivity field, and what one step of diffusion should give."""
    rng, shape = np.random.default_rng(9), tuple(map(int, name.partition("-")[2].split("x")))
    return SimpleNamespace(args=(rng.normal(size=shape), rng.uniform(0.5, 1.5, shape)), goal=rng.normal(size=shape), dt=0.1)


@row("scan-1000")
def scan(name):
    """Lorenz's three equations, 1000 steps of RK4: parameters, start."""
    return SimpleNamespace(args=(np.array([10.0, 28.0, 8.0 / 3.0]), np.array([1.0, 1.0, 1.0])), steps=1000, h=1e-3)

"""diffsim: plain NumPy, ``ds.jit`` of a derivative."""

# ruff: noqa: PLC0415  (SciPy is imported by the programs that use it)

import numpy as np

import diffsim as ds

from . import programs
from .row import Row, row

ROWS = {}
rows = row(ROWS)


def gradient(loss, w):
    """Value and gradient, and the value alone, compiled."""
    argnums = tuple(range(len(w.args)))
    both, own = ds.jit(ds.value_and_grad(loss, argnums)), ds.jit(loss)
    return Row(lambda: both(*w.args), lambda: own(*w.args))


@rows("gmm-10", "gmm-64")
def _(w):
    import scipy.special
    make = programs.scaled_lower(w)
    return gradient(lambda a, m, f: programs.gmm(a, m, f, w, make, scipy.special.logsumexp, np), w)


@rows("lstm")
def _(w):
    import scipy.special

    def loss(main, extra):
        def step(state, pair):
            state, prediction = programs.lstm_step(main, extra, state, pair[0], scipy.special.expit, np)
            return state, programs.lstm_score(prediction, pair[1], np)
        scores = ds.scan(step, list(w.state), (w.text[:-1], w.text[1:]))[1]
        return -np.sum(scores) / w.text[1:].size
    return gradient(loss, w)


@rows("bundle")
def _(w):
    matrix = ds.sparse_jacobian(lambda p: programs.bundle(p, w))
    values, own = ds.jit(matrix.values), ds.jit(lambda p: programs.bundle(p, w))
    return Row(lambda: (0.0, (values(*w.args),)), lambda: own(*w.args))


@rows("logistic")
def _(w):
    return gradient(lambda weights: programs.logistic(weights, w, np), w)


@rows("logistic-hessian")
def _(w):
    def loss(weights):
        return programs.logistic(weights, w, np)
    both, own = ds.jit(lambda weights: (loss(weights), (ds.hessian(loss)(weights),))), ds.jit(loss)
    return Row(lambda: both(*w.args), lambda: own(*w.args))


@rows("rosenbrock")
def _(w):
    return gradient(lambda x: programs.rosenbrock(x, np), w)


@rows("rosenbrock-hvp")
def _(w):
    def loss(x):
        return programs.rosenbrock(x, np)
    product, own = ds.jit(lambda x, v: ds.hvp(loss, (x,), (v,))), ds.jit(loss)
    return Row(lambda: (0.0, (product(w.args[0], w.direction),)), lambda: own(*w.args))


@rows("black-scholes")
def _(w):
    import scipy.special

    return gradient(lambda *args: programs.black_scholes(*args, w.strike, scipy.special.ndtr, np), w)


@rows("gaussian-process")
def _(w):
    return gradient(lambda logs: programs.gaussian_process(logs, w, np.linalg.solve, np), w)


@rows("latency")
def _(w):
    return gradient(lambda x: programs.latency(x, np), w)


@rows("stencil-512", "stencil-64x64", "stencil-1024x1024")
def _(w):
    return gradient(lambda u, k: programs.stencil(u, k, w), w)


@rows("scan-1000")
def _(w):
    def loss(p, y):
        def step(y, _):
            return programs.rk4(lambda s: programs.lorenz(s, p, np), y, w.h), None
        return np.sum(ds.scan(step, y, None, length=w.steps)[0] ** 2)
    return gradient(loss, w)

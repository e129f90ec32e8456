"""autograd: NumPy with tapes, nothing compiled."""

import autograd.numpy as np
from autograd import hessian, hessian_vector_product, value_and_grad
from autograd.scipy.special import expit, logsumexp
from autograd.scipy.stats import norm

from . import programs
from .row import Row, row

ROWS = {}
rows = row(ROWS)


def gradient(loss, w):
    both = value_and_grad(lambda args: loss(*args))
    return Row(lambda: both(tuple(w.args)), lambda: loss(*w.args))


@rows("gmm-10")
def _(w):
    """Lower triangles by a fixed matrix, because autograd has no item assignment."""
    scatter = np.zeros((len(w.rows), w.d * w.d))
    scatter[np.arange(len(w.rows)), w.rows * w.d + w.columns] = 1.0
    eye = np.eye(w.d)

    def make(factors):
        lower = np.dot(factors[:, w.d:], scatter).reshape(-1, w.d, w.d)
        return lower + np.exp(factors[:, :w.d])[:, :, None] * eye
    return gradient(lambda a, m, f: programs.gmm(a, m, f, w, make, logsumexp, np), w)


@rows("lstm")
def _(w):
    return gradient(lambda main, extra: programs.lstm_loop(main, extra, w, expit, np), w)


@rows("logistic")
def _(w):
    return gradient(lambda weights: programs.logistic(weights, w, np), w)


@rows("logistic-hessian")
def _(w):
    def loss(weights):
        return programs.logistic(weights, w, np)
    second = hessian(loss)
    return Row(lambda: (loss(*w.args), (second(*w.args),)))


@rows("rosenbrock")
def _(w):
    return gradient(lambda x: programs.rosenbrock(x, np), w)


@rows("rosenbrock-hvp")
def _(w):
    product = hessian_vector_product(lambda x: programs.rosenbrock(x, np))
    return Row(lambda: (0.0, (product(*w.args, w.direction),)))


@rows("black-scholes")
def _(w):
    return gradient(lambda *args: programs.black_scholes(*args, w.strike, norm.cdf, np), w)


@rows("gaussian-process")
def _(w):
    return gradient(lambda logs: programs.gaussian_process(logs, w, np.linalg.solve, np), w)


@rows("latency")
def _(w):
    return gradient(lambda x: programs.latency(x, np), w)

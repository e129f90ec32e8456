"""CasADi: matrix expressions (MX) or scalar ones (SX), run through its buffer interface, which calls from Python cost least."""

import casadi as ca
import numpy as np

from .row import Row, row

ROWS = {}
rows = row(ROWS)


def call_of(function, args):
    """A call that copies arguments in and results out."""
    buffer, run = function.buffer()
    args = [np.ravel(x) for x in args]
    given = [np.array(x, float) for x in args]
    out = [np.zeros(function.nnz_out(i)) for i in range(function.n_out())]
    for i, x in enumerate(given):
        buffer.set_arg(i, memoryview(x))
    for i, x in enumerate(out):
        buffer.set_res(i, memoryview(x))
    kept = function, buffer                                  # the buffer holds addresses only

    def call():
        for place, x in zip(given, args, strict=True):
            place[:] = x
        run()
        return kept and [x.copy() for x in out]
    return call


def gradient(loss, args, kind=ca.MX):
    """Value and gradient of ``loss(*symbols)``; every argument is a vector."""
    x = [kind.sym(f"x{i}", np.size(a)) for i, a in enumerate(args)]
    value = loss(*x)
    both = ca.Function("both", x, [value, *[ca.gradient(value, s) for s in x]])
    call = call_of(both, args)

    def run():
        value, *bars = call()
        return value[0], bars
    return Row(run)


@rows("logistic")
def _(w):
    x = ca.DM(w.x)
    return gradient(lambda weights: ca.sum1(ca.log1p(ca.exp(-w.sign * ca.mtimes(x, weights)))) / len(w.sign), w.args)


@rows("logistic-hessian")
def _(w):
    x, weights = ca.DM(w.x), ca.MX.sym("weights", len(w.args[0]))
    loss = ca.sum1(ca.log1p(ca.exp(-w.sign * ca.mtimes(x, weights)))) / len(w.sign)
    call = call_of(ca.Function("second", [weights], [loss, ca.densify(ca.hessian(loss, weights)[0])]), w.args)
    n = len(w.args[0])

    def run():
        value, second = call()
        return value[0], (second.reshape(n, n),)
    return Row(run)


def _rosenbrock(x):
    return ca.sumsqr(10 * (x[1:] - x[:-1] ** 2)) + ca.sumsqr(1 - x[:-1])


@rows("rosenbrock")
def _(w):
    return gradient(_rosenbrock, w.args)


@rows("rosenbrock-hvp")
def _(w):
    n = len(w.args[0])
    x, v = ca.MX.sym("x", n), ca.MX.sym("v", n)
    first = ca.gradient(_rosenbrock(x), x)
    call = call_of(ca.Function("product", [x, v], [ca.jtimes(first, x, v)]), [*w.args, w.direction])
    return Row(lambda: (0.0, call()))


@rows("black-scholes")
def _(w):
    def loss(spot, expiry, rate, sigma):
        def cdf(x):
            return 0.5 * (1 + ca.erf(x / np.sqrt(2)))
        root = sigma * ca.sqrt(expiry)
        d1 = (ca.log(spot / w.strike) + (rate + 0.5 * sigma ** 2) * expiry) / root
        return ca.sum1(spot * cdf(d1) - w.strike * ca.exp(-rate * expiry) * cdf(d1 - root))
    return gradient(loss, w.args)


@rows("latency")
def _(w):
    return gradient(lambda x: ca.sin(x ** 2 + 1), w.args, ca.SX)


@rows("stencil-512", "stencil-64x64", "stencil-1024x1024")
def _(w):
    """Matrices are kept by rows, so that their transposes are what CasADi, which counts by columns, sees."""
    shape = w.goal.shape if w.goal.ndim == 2 else (1, w.goal.size)

    def loss(u, k):
        u, k = (ca.reshape(x, shape[1], shape[0]) for x in (u, k))
        out = u
        flux = 0.5 * w.dt * (k[1:, :] + k[:-1, :]) * (u[1:, :] - u[:-1, :])
        edge = ca.MX.zeros(1, shape[0])
        out = out + ca.vertcat(flux, edge) - ca.vertcat(edge, flux)
        if shape[0] > 1:
            flux = 0.5 * w.dt * (k[:, 1:] + k[:, :-1]) * (u[:, 1:] - u[:, :-1])
            edge = ca.MX.zeros(shape[1], 1)
            out = out + ca.horzcat(flux, edge) - ca.horzcat(edge, flux)
        return 0.5 * ca.sumsqr(out - ca.DM(w.goal.reshape(shape).T))
    return gradient(loss, [x.ravel() for x in w.args])


@rows("scan-1000")
def _(w):
    p, y, h = ca.SX.sym("p", 3), ca.SX.sym("y", 3), w.h

    def lorenz(y):
        return ca.vertcat(p[0] * (y[1] - y[0]), y[0] * (p[1] - y[2]) - y[1], y[0] * y[1] - p[2] * y[2])
    a = lorenz(y)
    b = lorenz(y + 0.5 * h * a)
    c = lorenz(y + 0.5 * h * b)
    step = ca.Function("step", [y, p], [y + h / 6 * (a + 2 * b + 2 * c + lorenz(y + h * c))])
    all_steps = step.fold(w.steps)
    return gradient(lambda p, y: ca.sumsqr(all_steps(y, ca.repmat(p, 1, w.steps))), w.args)

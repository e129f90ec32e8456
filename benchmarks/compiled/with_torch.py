"""PyTorch in double precision: eager gradients (``torch``), and ``torch.compile`` of the loss (``torch-compile``)."""

import functools

import numpy as np
import torch

from .row import Row, row

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
EAGER, COMPILED = {}, {}
tensor = torch.as_tensor


def gradient(loss, w, compiled):
    """Value and gradient with respect to fresh leaves; the tensors are prepared beforehand."""
    leaves = [tensor(x).clone().requires_grad_() for x in w.args]
    run = torch.compile(loss) if compiled else loss

    def call():
        value = run(*leaves)
        return value.detach(), torch.autograd.grad(value, leaves)
    return Row(call)


def rows(*names, compiled=True):
    """Register ``build(data) -> loss`` under eager rows and, unless compiling it is of no use, compiled ones."""
    def register(build):
        for target, flag in ((EAGER, False), (COMPILED, True)):
            if compiled or not flag:
                row(target)(*names)(functools.partial(lambda w, flag: gradient(build(w), w, flag), flag=flag))
        return build
    return register


@rows("gmm-10", "gmm-64")
def _(w):
    x, diagonal = tensor(w.x), torch.arange(w.d)
    rows_, columns = tensor(w.rows), tensor(w.columns)

    def loss(alphas, means, factors):
        lower = torch.zeros(factors.shape[0], w.d, w.d)
        lower[:, diagonal, diagonal] = torch.exp(factors[:, :w.d])
        lower[:, rows_, columns] = factors[:, w.d:]
        residual = torch.einsum("kij,nkj->nki", lower, x[:, None, :] - means[None])
        inner = alphas + factors[:, :w.d].sum(1) - 0.5 * (residual ** 2).sum(2)
        prior = 0.5 * (torch.exp(2 * factors[:, :w.d]).sum() + (factors[:, w.d:] ** 2).sum())
        n = x.shape[0]
        return torch.logsumexp(inner, 1).sum() - n * torch.logsumexp(alphas, 0) + prior - 0.5 * n * w.d * np.log(2 * np.pi)
    return loss


@rows("lstm", compiled=False)
def _(w):
    state, text = tensor(w.state), tensor(w.text)

    def loss(main, extra):
        s, total = list(state), 0.0
        for t in range(len(text) - 1):
            x, new = text[t] * extra[0], []
            for layer in (0, 2):
                gates = torch.cat([x, s[layer], x, s[layer]]) * main[layer] + main[layer + 1]
                forget, ingate, outgate, change = gates.reshape(4, -1)
                cell = torch.sigmoid(forget) * s[layer + 1] + torch.sigmoid(ingate) * torch.tanh(change)
                x = torch.sigmoid(outgate) * torch.tanh(cell)
                new += [x, cell]
            s, y = new, x * extra[1] + extra[2]
            total = total + (text[t + 1] * (y - torch.log(2 + torch.exp(y).sum()))).sum()
        return -total / text[1:].numel()
    return loss


@rows("logistic")
def _(w):
    x, sign = tensor(w.x), tensor(w.sign)
    return lambda weights: torch.nn.functional.softplus(-sign * (x @ weights), threshold=1000.0).mean()


@row(EAGER)("logistic-hessian")
def _(w):
    x, sign = tensor(w.x), tensor(w.sign)

    def loss(weights):
        return torch.logaddexp(torch.zeros(()), -sign * (x @ weights)).mean()
    weights, second = tensor(w.args[0]), torch.func.hessian(loss)
    return Row(lambda: (loss(weights), (second(weights),)))


def _rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


@rows("rosenbrock")
def _(w):
    return _rosenbrock


@row(EAGER)("rosenbrock-hvp")
def _(w):
    x, v = tensor(w.args[0]).clone().requires_grad_(), tensor(w.direction)

    def call():
        (first,) = torch.autograd.grad(_rosenbrock(x), x, create_graph=True)
        return 0.0, torch.autograd.grad(first @ v, x)
    return Row(call)


@rows("black-scholes")
def _(w):
    strike = tensor(w.strike)

    def loss(spot, expiry, rate, sigma):
        root = sigma * torch.sqrt(expiry)
        d1 = (torch.log(spot / strike) + (rate + 0.5 * sigma ** 2) * expiry) / root
        cdf = torch.special.ndtr
        return (spot * cdf(d1) - strike * torch.exp(-rate * expiry) * cdf(d1 - root)).sum()
    return loss


@rows("gaussian-process", compiled=False)
def _(w):
    squares, eye, y = tensor(w.squares), tensor(w.eye), tensor(w.y)

    def loss(logs):
        length, height, noise = torch.exp(logs)
        lower = torch.linalg.cholesky(height ** 2 * torch.exp(-0.5 * squares / length ** 2) + noise ** 2 * eye)
        white = torch.linalg.solve_triangular(lower, y[:, None], upper=False)[:, 0]
        return 0.5 * white @ white + torch.log(torch.diag(lower)).sum() + 0.5 * len(y) * np.log(2 * np.pi)
    return loss


@rows("latency")
def _(w):
    return lambda x: torch.sin(x ** 2 + 1)


@rows("stencil-512", "stencil-64x64", "stencil-1024x1024")
def _(w):
    goal = tensor(w.goal)

    def loss(u, k):
        out = u
        for axis in range(u.ndim):
            v, c = torch.movedim(u, axis, 0), torch.movedim(k, axis, 0)
            flux = 0.5 * w.dt * (c[1:] + c[:-1]) * (v[1:] - v[:-1])
            edge = torch.zeros_like(flux[:1])
            change = torch.cat([flux, edge]) - torch.cat([edge, flux])
            out = out + torch.movedim(change, 0, axis)
        return 0.5 * ((out - goal) ** 2).sum()
    return loss


@rows("scan-1000", compiled=False)
def _(w):
    def lorenz(y, p):
        return torch.stack([p[0] * (y[1] - y[0]), y[0] * (p[1] - y[2]) - y[1], y[0] * y[1] - p[2] * y[2]])

    def loss(p, y):
        h = w.h
        for _ in range(w.steps):
            a = lorenz(y, p)
            b = lorenz(y + 0.5 * h * a, p)
            c = lorenz(y + 0.5 * h * b, p)
            y = y + h / 6 * (a + 2 * b + 2 * c + lorenz(y + h * c, p))
        return (y ** 2).sum()
    return loss

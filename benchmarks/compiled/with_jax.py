"""JAX: ``jax.jit`` in double precision on the processor."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import expit as sigmoid
from jax.scipy.special import logsumexp, ndtr

from . import programs
from .row import Row, row

jax.config.update("jax_enable_x64", True)
ROWS = {}
rows = row(ROWS)


def ready(f, *args):
    """A call that waits for its result."""
    args = [jnp.asarray(x) for x in args]
    return lambda: jax.block_until_ready(f(*args))


def gradient(loss, w):
    argnums = tuple(range(len(w.args)))
    return Row(ready(jax.jit(jax.value_and_grad(loss, argnums)), *w.args), ready(jax.jit(loss), *w.args))


@rows("gmm-10", "gmm-64")
def _(w):
    diagonal = np.arange(w.d)

    def make(factors):
        lower = jnp.zeros((factors.shape[0], w.d, w.d)).at[:, diagonal, diagonal].set(jnp.exp(factors[:, :w.d]))
        return lower.at[:, w.rows, w.columns].set(factors[:, w.d:])
    return gradient(lambda a, m, f: programs.gmm(a, m, f, w, make, logsumexp, jnp), w)


@rows("lstm")
def _(w):
    def loss(main, extra):
        def step(state, pair):
            state, prediction = programs.lstm_step(main, extra, state, pair[0], sigmoid, jnp)
            return state, programs.lstm_score(prediction, pair[1], jnp)
        scores = jax.lax.scan(step, list(jnp.asarray(w.state)), (jnp.asarray(w.text[:-1]), jnp.asarray(w.text[1:])))[1]
        return -jnp.sum(scores) / w.text[1:].size
    return gradient(loss, w)


@rows("bundle")
def _(w):
    def one(v, pixel):
        return programs.reproject(v[:3], v[3:6], v[6:11], v[11:14], v[14:], pixel, jnp)

    def values(parameters):
        cameras = parameters[:11 * w.cameras].reshape(w.cameras, 11)[w.camera]
        points = parameters[11 * w.cameras:11 * w.cameras + 3 * w.points].reshape(w.points, 3)[w.point]
        weights = parameters[11 * w.cameras + 3 * w.points:]
        own = jnp.concatenate([cameras, points, weights[:, None]], axis=1)
        return jnp.concatenate([jax.vmap(jax.jacrev(one))(own, w.pixels).ravel(), -2 * weights])
    def alike(bars):
        """Without the zeros: each error depends on one coordinate of the image's centre."""
        seen, kept = len(w.pixels), np.ones((2, 15), bool)
        kept[0, 8] = kept[1, 7] = False
        blocks, rest = np.split(np.asarray(bars[0]), [30 * seen])
        return [np.concatenate([blocks.reshape(seen, 2, 15)[:, kept].ravel(), rest])]
    call = ready(jax.jit(values), *w.args)
    return Row(lambda: (0.0, (call(),)), alike=alike)


@rows("logistic")
def _(w):
    return gradient(lambda weights: programs.logistic(weights, w, jnp), w)


@rows("logistic-hessian")
def _(w):
    def loss(weights):
        return programs.logistic(weights, w, jnp)
    return Row(ready(jax.jit(lambda weights: (loss(weights), (jax.hessian(loss)(weights),))), *w.args))


@rows("rosenbrock")
def _(w):
    return gradient(lambda x: programs.rosenbrock(x, jnp), w)


@rows("rosenbrock-hvp")
def _(w):
    def loss(x):
        return programs.rosenbrock(x, jnp)
    call = ready(jax.jit(lambda x, v: jax.jvp(jax.grad(loss), (x,), (v,))[1]), *w.args, w.direction)
    return Row(lambda: (0.0, (call(),)))


@rows("black-scholes")
def _(w):
    return gradient(lambda *args: programs.black_scholes(*args, w.strike, ndtr, jnp), w)


@rows("gaussian-process")
def _(w):
    return gradient(lambda logs: programs.gaussian_process(logs, w, lambda a, b: solve_triangular(a, b, lower=True), jnp), w)


@rows("latency")
def _(w):
    return gradient(lambda x: programs.latency(x, jnp), w)


@rows("stencil-512", "stencil-64x64", "stencil-1024x1024")
def _(w):
    def diffused(u, k):
        out = u
        for axis in range(u.ndim):
            v, c = jnp.moveaxis(u, axis, 0), jnp.moveaxis(k, axis, 0)
            flux = 0.5 * w.dt * (c[1:] + c[:-1]) * (v[1:] - v[:-1])
            inside = ((1, 1),) + ((0, 0),) * (u.ndim - 1)
            padded = jnp.pad(flux, inside)
            out = out + jnp.moveaxis(padded[1:] - padded[:-1], 0, axis)
        return out
    return gradient(lambda u, k: 0.5 * jnp.sum((diffused(u, k) - w.goal) ** 2), w)


@rows("scan-1000")
def _(w):
    def loss(p, y):
        def step(y, _):
            return programs.rk4(lambda s: programs.lorenz(s, p, jnp), y, w.h), None
        return jnp.sum(jax.lax.scan(step, y, None, length=w.steps)[0] ** 2)
    return gradient(loss, w)

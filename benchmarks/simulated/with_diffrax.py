"""The problems in diffrax; programs take the tolerance as an argument and are compiled once."""

import jax

jax.config.update("jax_enable_x64", True)
import diffrax as dx  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

MAX_STEPS = 2**16


def _term(row):
    if row.form == "arrays":
        return dx.ODETerm(lambda t, y, p: row.rhs(jnp, t, y, p))
    return dx.ODETerm(lambda t, y, p: jnp.stack([jnp.asarray(x, float) for x in row.rhs(jnp, t, y, p)]))


def _states(row, method, adjoint=None, max_steps=MAX_STEPS):
    term, times = _term(row), jnp.asarray(row.t)

    def states(y0, p, tol):
        control = dx.PIDController(rtol=tol, atol=tol * row.floor, **({"pcoeff": 0.3, "icoeff": 0.4} if row.stiff else {}))
        sol = dx.diffeqsolve(term, getattr(dx, method)(), row.t0, row.t[-1], None, y0, args=p, saveat=dx.SaveAt(ts=times),
                             stepsize_controller=control, max_steps=max_steps, **({} if adjoint is None else {"adjoint": adjoint}))
        return sol.ys
    return states


def solve(row, variant):
    """The adjoint for forward mode: no checkpoints are kept."""
    states = _states(row, variant, dx.ForwardMode())
    program = jax.jit(jax.vmap(states, (None, 0, None)) if row.members > 1 else states)
    y0, p = jnp.asarray(row.y0), jnp.asarray(row.p)
    return lambda tol: lambda: np.asarray(program(y0, p, tol))


def _fixed(row, variant):
    """RK4 with steps of one size as a scan, of scans that are computed again where ``variant`` says so; the end is the one output."""
    _, kind, step = variant.split("@")
    h, n = float(step), round((row.t[-1] - row.t0) / float(step))

    def states(y0, p, tol):
        def f(y):
            return row.rhs(jnp, 0.0, y, p)

        def one(y, _):
            k1 = f(y)
            k2 = f(y + 0.5 * h * k1)
            k3 = f(y + 0.5 * h * k2)
            return y + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + f(y + h * k3)), None

        if kind == "all":
            return jax.lax.scan(one, y0, None, n)[0][None]
        outer = next(m for m in range(int(n**0.5), 0, -1) if n % m == 0)
        part = jax.checkpoint(lambda y, _: (jax.lax.scan(one, y, None, n // outer)[0], None))
        return jax.lax.scan(part, y0, None, outer)[0][None]
    return states


def gradient(row, variant):
    """A variant is a method and a mode, "Tsit5-reverse", or the kind of a scan of RK4 and its step, "RK4@all@0.1"."""
    method, _, mode = variant.partition("-")
    if "@" in variant:
        states, weights, mode = _fixed(row, variant), jnp.asarray(row.weights()[-1:]), "reverse"
    else:
        adjoint = dx.ForwardMode() if mode == "forward" else dx.RecursiveCheckpointAdjoint()
        states, weights = _states(row, method, adjoint, 4096 if mode == "reverse" else MAX_STEPS), jnp.asarray(row.weights())

    def loss(x, tol):
        y0, p = (x[:row.y0.size], x[row.y0.size:]) if row.by == "both" else (jnp.asarray(row.y0), x)
        return jnp.sum(weights * states(y0, p, tol) ** 2)

    def both(x, tol):
        if mode == "reverse":
            return jax.value_and_grad(loss)(x, tol)
        return loss(x, tol), jax.jacfwd(loss)(x, tol)

    program = jax.jit(jax.vmap(both, (0, None)) if row.members > 1 else both)
    start = jnp.concatenate([row.y0, row.p]) if row.by == "both" else jnp.asarray(row.p)

    def build(tol):
        def call():
            value, bars = program(start, tol)
            return np.asarray(value), np.ravel(np.asarray(bars))
        return call
    return build

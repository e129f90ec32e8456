"""The problems in diffsim: NumPy as a user writes it."""

import numpy as np

import diffsim as ds


def rhs_of(row):
    """fun(t, y, p) for ``solve_ivp``."""
    if row.form == "arrays":
        return lambda t, y, p: row.rhs(np, t, y, p)
    return lambda t, y, p: np.array(row.rhs(np, t, y, p))


def options(row, variant, tol):
    """Method and tolerances; a variant is a method, or a method and its step."""
    method, _, step = variant.partition("@")
    if step:
        return {"method": method, "first_step": float(step)}
    return {"method": method, "rtol": tol, "atol": tol * row.floor}


def solve(row, variant):
    """For a tolerance a call that returns the states at the outputs, shape (m, n)."""
    fun, span = rhs_of(row), (row.t0, row.t[-1])

    def build(tol):
        settings = options(row, variant, tol)

        def states(p):
            return ds.solve_ivp(fun, span, row.y0, t_eval=row.t, args=(p,), max_steps=10**6, **settings).y.T

        compiled = ds.jit(ds.vmap(states) if row.members > 1 else states)
        return lambda: compiled(row.p)
    return build


def gradient(row, variant):
    """For a tolerance a call that returns the loss and its gradient, flat."""
    fun, span, weights = rhs_of(row), (row.t0, row.t[-1]), row.weights()

    def build(tol):
        settings = options(row, variant, tol)

        def loss(y0, p):
            y = ds.solve_ivp(fun, span, y0, t_eval=row.t, args=(p,), max_steps=10**6, **settings).y.T
            return np.sum(weights * y**2)

        pair = ds.value_and_grad(loss, (0, 1) if row.by == "both" else 1)
        compiled = ds.jit(ds.vmap(pair, (None, 0)) if row.members > 1 else pair)

        def call():
            value, bars = compiled(row.y0, row.p)
            return value, np.concatenate([np.ravel(x) for x in bars]) if row.by == "both" else np.ravel(bars)
        return call
    return build

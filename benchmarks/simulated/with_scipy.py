"""The problems for scipy.integrate.solve_ivp, with a band where there is one and LSODA takes it."""

import numpy as np
from scipy.integrate import solve_ivp
from scipy.sparse import coo_array


def _sparsity(row):
    """Pattern of the Jacobian, by finite differences of the right-hand side at two points."""
    n = row.y0.size
    rng = np.random.default_rng(0)
    y = row.y0 + rng.uniform(0.1, 0.2, n)
    entries = set()
    base = np.asarray(row.rhs(np, 0.0, y, row.p))
    for j in range(n):
        moved = y.copy()
        moved[j] += 1e-3
        entries.update((i, j) for i in np.flatnonzero(np.asarray(row.rhs(np, 0.0, moved, row.p)) != base))
    i, j = np.array(sorted(entries)).T
    return coo_array((np.ones(len(i)), (i, j)), (n, n))


def solve(row, variant):
    settings = {}
    if row.form == "arrays" and variant in ("Radau", "BDF"):
        settings["jac_sparsity"] = _sparsity(row)

    def fun(t, y):
        return np.asarray(row.rhs(np, t, y, row.p))

    def build(tol):
        def call():
            sol = solve_ivp(fun, (row.t0, row.t[-1]), row.y0, variant, row.t, rtol=tol, atol=tol * row.floor, **settings)
            if not sol.success:
                raise RuntimeError(sol.message)
            return sol.y.T
        return call
    return build

"""The problems that are not stiff in heyoka: Taylor's method, compiled for the tolerance; ensembles in batches."""

import heyoka as hy
import numpy as np

WIDTH = hy.recommended_simd_size()


def _system(row, p):
    y = hy.make_vars(*[f"y{i}" for i in range(row.y0.size)])
    return list(zip(y, row.rhs(None, 0.0, y, p), strict=True)), y


def solve(row, variant):
    p = [hy.par[i] for i in range(row.p.shape[-1])]
    system, _ = _system(row, p)
    grid = np.concatenate([[row.t0], row.t]) if row.t[0] != row.t0 else row.t
    first = int(row.t[0] != row.t0)

    def build(tol):
        if row.members > 1:
            return _members(row, system, grid, first, tol)
        solver = hy.taylor_adaptive(sys=system, state=row.y0, pars=row.p, tol=tol)

        def call():
            solver.time = row.t0
            solver.state[:] = row.y0
            return solver.propagate_grid(grid)[-1][first:]
        return call
    return build


def _members(row, system, grid, first, tol):
    solver = hy.taylor_adaptive_batch(sys=system, state=np.repeat(row.y0[:, None], WIDTH, 1), pars=np.zeros((4, WIDTH)), tol=tol)
    grids = np.repeat(grid[:, None], WIDTH, 1)

    def call():
        out = np.empty((row.members, row.t.size, row.y0.size))
        for start in range(0, row.members, WIDTH):
            solver.set_time(row.t0)
            solver.state[:] = row.y0[:, None]
            solver.pars[:] = row.p[start:start + WIDTH].T
            out[start:start + WIDTH] = solver.propagate_grid(grids)[-1][first:].transpose(2, 0, 1)
        return out
    return call


def gradient(row, variant):
    """Variational equations of first order."""
    p = [hy.par[i] for i in range(row.p.size)]
    system, y = _system(row, p)
    arguments = [*y, *p] if row.by == "both" else p
    variational = hy.var_ode_sys(system, arguments, order=1)
    grid = np.concatenate([[row.t0], row.t]) if row.t[0] != row.t0 else row.t
    first, n, weights = int(row.t[0] != row.t0), row.y0.size, row.weights()

    def build(tol):
        solver = hy.taylor_adaptive(variational, row.y0, pars=row.p, tol=tol, compact_mode=n > 10)
        start = solver.state.copy()

        def call():
            solver.time = row.t0
            solver.state[:] = start
            out = solver.propagate_grid(grid)[-1][first:]
            states, slopes = out[:, :n], out[:, n:].reshape(len(row.t), n, -1)
            return float(np.sum(weights * states**2)), np.einsum("mi,mij->j", 2.0 * weights * states, slopes)
        return call
    return build

"""The problems that are not stiff in torchdiffeq."""

import numpy as np
import torch
from torchdiffeq import odeint

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


def _states(row, method, y0, p, tol):
    grid = torch.tensor(np.concatenate([[row.t0], row.t]) if row.t[0] != row.t0 else row.t)

    def fun(t, y):
        return row.rhs(torch, t, y, p) if row.form == "arrays" else torch.stack(row.rhs(None, t, list(y), p))
    return odeint(fun, y0, grid, rtol=tol, atol=tol * row.floor, method=method)[int(row.t[0] != row.t0):]


def solve(row, variant):
    y0, p = torch.tensor(row.y0), torch.tensor(row.p)

    def build(tol):
        def call():
            with torch.no_grad():
                return _states(row, variant, y0, p, tol).numpy()
        return call
    return build


def gradient(row, variant):
    weights = torch.tensor(row.weights())

    def build(tol):
        def call():
            y0, p = torch.tensor(row.y0, requires_grad=row.by == "both"), torch.tensor(row.p, requires_grad=True)
            loss = torch.sum(weights * _states(row, variant, y0, p, tol) ** 2)
            loss.backward()
            bars = (y0.grad, p.grad) if row.by == "both" else (p.grad,)
            return loss.item(), np.concatenate([x.numpy().ravel() for x in bars])
        return call
    return build

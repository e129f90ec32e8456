"""The problems in CasADi, integrated by CVODES and IDAS of SUNDIALS; errors of quadratures are controlled, or derivatives are wrong."""

import casadi as ca
import numpy as np


class _Arrays:
    """The array functions of the problems for CasADi's columns."""

    @staticmethod
    def ones(shape):
        return ca.DM.ones(shape)

    @staticmethod
    def zeros(shape):
        return ca.DM.zeros(*shape)

    @staticmethod
    def concatenate(parts, axis=0):
        return ca.vertcat(*parts) if axis == 0 else ca.horzcat(*parts)

    @staticmethod
    def reshape(x, shape):
        return ca.vec(x) if len(shape) == 1 else ca.reshape(x, *shape)       # by columns: the plate may lie either way


def _slopes(row, y, p):
    if row.form == "arrays":
        return row.rhs(_Arrays, 0.0, y, p)
    return ca.vertcat(*row.rhs(None, 0.0, [y[i] for i in range(row.y0.size)], [p[i] for i in range(p.shape[0])]))


def _integrator(row, variant, tol):
    plugin, _, kind = variant.partition("-")
    y, p = ca.SX.sym("y", row.y0.size), ca.SX.sym("p", row.p.size)
    settings = {"reltol": tol, "abstol": tol * row.floor, "max_num_steps": 10**6, "quad_err_con": True}
    if plugin == "cvodes":
        settings |= {"linear_multistep_method": kind or "bdf", "nonlinear_solver_iteration": "functional" if kind == "adams" else "newton"}
    else:
        settings["calc_ic"] = False                         # for an ODE the slopes follow from the state
    times = row.t[1:] if row.t[0] == row.t0 else row.t
    return ca.integrator("solution", plugin, {"x": y, "p": p, "ode": _slopes(row, y, p)}, row.t0, list(times), settings)


def _complete(row, states):
    """The start before the outputs where it is one of them."""
    return np.vstack([row.y0, states]) if row.t[0] == row.t0 else states


def solve(row, variant):
    def build(tol):
        solution = _integrator(row, variant, tol)
        return lambda: _complete(row, np.array(solution(x0=row.y0, p=row.p)["xf"]).T)
    return build


def gradient(row, variant):
    plugin, mode = variant.rsplit("-", 1)
    weights = row.weights()

    def build(tol):
        solution = _integrator(row, plugin, tol)
        y0, p = ca.MX.sym("y0", row.y0.size), ca.MX.sym("p", row.p.size)
        out, w = solution(x0=y0, p=p)["xf"], weights
        if row.t[0] == row.t0:
            out = ca.horzcat(y0, out)
        loss = ca.sum2(ca.sum1(ca.DM(w.T) * out**2))
        by = ca.vertcat(y0, p) if row.by == "both" else p
        if mode == "reverse":
            bars = ca.gradient(loss, by) if row.by != "both" else ca.vertcat(ca.gradient(loss, y0), ca.gradient(loss, p))
        else:
            n = by.shape[0]
            seeds = [[ca.DM.eye(n)[:y0.shape[0], :], ca.DM.eye(n)[y0.shape[0]:, :]] if row.by == "both" else [ca.DM.eye(n)]]
            arguments = [y0, p] if row.by == "both" else [p]
            bars = ca.vertcat(*[ca.vec(x) for x in ca.forward([loss], arguments, seeds)[0]])
        program = ca.Function("gradient", [y0, p], [loss, bars])

        def call():
            value, bars = program(row.y0, row.p)
            return float(value), np.array(bars).ravel()
        return call
    return build

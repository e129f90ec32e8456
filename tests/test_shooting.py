"""Multiple shooting: fits of chaotic and unstable solutions, Jacobians, what is refused."""

import re

import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import ConvergenceError, InputError, InputTypeError

TRUE = {"s": 10.0, "r": 28.0, "b": 8.0 / 3.0}
WRONG = {"s": 8.0, "r": 24.0, "b": 3.5}


def lorenz(t, y, p):
    return np.array([p["s"] * (y[1] - y[0]), y[0] * (p["r"] - y[2]) - y[1], y[0] * y[1] - p["b"] * y[2]])


def measured(end, m, noise, seed=0):
    t = np.linspace(0.0, end, m)
    y = ds.solve_ivp(lorenz, (0.0, end), [-8.0, 7.0, 27.0], "DOP853", t_eval=t, args=(TRUE,), rtol=1e-12, atol=1e-12).y.T
    return t, y + noise * np.random.default_rng(seed).normal(size=y.shape)


def logistic(t, y, p):
    return p["rate"] * y * (1 - y / p["size"])


T = np.linspace(0.0, 6.0, 13)
GROWN = 2.0 / (1 + 9 * np.exp(-1.5 * T))


def test_a_chaotic_system_is_fitted_over_many_times_its_horizon():
    """15 time units are 14 times the time in which errors of Lorenz's system grow by e."""
    t, data = measured(15.0, 301, 0.5)
    fit = ds.ode.shooting(lorenz, WRONG, t, data, 30, sigma=0.5, rtol=1e-8).solve()
    assert fit.success
    assert fit.defect < 1e-9
    for name, value in TRUE.items():
        assert abs(fit.params[name] - value) < 4 * fit.stderr[name]
        assert 0 < fit.stderr[name] < 0.01 * value
    assert abs(2 * fit.cost / (data.size - 6) - 1) < 0.2          # chi-square a degree of freedom: 903 data, 6 numbers


def test_an_unstable_problem_is_fitted():
    """Bock's test problem: errors grow as exp(60 t); sin(pi t) solves it for p = pi."""
    def bock(t, y, p):
        return np.array([y[1], 3600.0 * y[0] - (3600.0 + p["p"] ** 2) * np.sin(p["p"] * t)])

    t = np.linspace(0.0, 1.0, 21)
    exact = np.stack([np.sin(np.pi * t), np.pi * np.cos(np.pi * t)], axis=1)
    data = exact + 0.05 * np.random.default_rng(2).normal(size=exact.shape)
    fit = ds.ode.shooting(bock, {"p": 2.0}, t, data, 20, sigma=0.05, start=[0.0, np.pi], rtol=1e-9).solve()
    assert fit.success
    np.testing.assert_allclose(fit.params["p"], np.pi, rtol=1e-6)
    np.testing.assert_allclose(fit.states, exact[:-1], atol=0.02)


def test_exact_data_are_met_exactly():
    fit = ds.ode.shooting(logistic, {"rate": 1.0, "size": 1.5}, T, GROWN, 3, rtol=1e-10, atol=1e-12).solve()
    np.testing.assert_allclose([fit.params["rate"], fit.params["size"]], [1.5, 2.0], rtol=1e-7)
    assert fit.cost < 1e-12
    assert "success: True" in repr(fit)


def test_one_window_is_single_shooting():
    one = ds.ode.shooting(logistic, {"rate": 1.0, "size": 1.5}, T, GROWN + 0.01 * np.cos(7 * T), 1, rtol=1e-10)
    many = ds.ode.shooting(logistic, {"rate": 1.0, "size": 1.5}, T, GROWN + 0.01 * np.cos(7 * T), 4, rtol=1e-10)
    assert one.defects(one.start).shape == (0,)
    a, b = one.solve(), many.solve()
    np.testing.assert_allclose([a.params["rate"], a.params["size"]], [b.params["rate"], b.params["size"]], rtol=1e-6)
    np.testing.assert_allclose([a.stderr["rate"], a.cost], [b.stderr["rate"], b.cost], rtol=1e-5)


def test_standard_errors_are_those_of_the_linear_fit():
    def line(t, y, p):
        return p["slope"] + 0.0 * y

    t = np.linspace(0.0, 1.0, 11)
    fit = ds.ode.shooting(line, {"slope": 1.0}, t, 2.0 * t + 1.0, 5, sigma=0.1).solve()
    np.testing.assert_allclose(fit.stderr["slope"], 0.1 / np.sqrt(np.sum((t - t.mean()) ** 2)), rtol=1e-6)


@pytest.mark.parametrize("start", [None, [-8.0, 7.0, 27.0]])
def test_jacobians_agree_with_differences(start):
    t, data = measured(1.0, 21, 0.1)
    data[3, 1] = np.nan
    problem = ds.ode.shooting(lorenz, {**WRONG, "kind": "lorenz", "weights": np.ones(2)}, t, data, 4, start=start, rtol=1e-10,
                              observe=lambda t, y, p: np.array([y[0] * p["weights"][0], y[1], y[2] + p["weights"][1] * t]),
                              states=np.ones((4, 3)) * [-8.0, 7.0, 27.0])
    z, d = problem.start, np.random.default_rng(1).normal(size=problem.start.shape)
    by_r, by_c = problem.jacobian(z)
    up, down = problem.evaluate(z + 1e-6 * d), problem.evaluate(z - 1e-6 * d)
    np.testing.assert_allclose(by_r @ d, (up[0] - down[0]) / 2e-6, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(by_c @ d, (up[1] - down[1]) / 2e-6, rtol=1e-6, atol=1e-6)
    assert by_r.shape == (62, len(z))
    assert by_c.shape == (9, len(z))
    assert by_c.nnz <= 9 * (5 + 4)                          # params, one's own state, the next one's
    params, states = problem.unpack(z)
    assert params["kind"] == "lorenz"
    assert states.shape == (4, 3)


def test_what_is_measured_may_be_a_function_of_the_state_and_partly_missing():
    t, y = measured(4.0, 81, 0.0)
    data = y[:, 0] + 0.05 * np.random.default_rng(3).normal(size=81)
    data[5:15] = np.nan
    fit = ds.ode.shooting(lorenz, {**TRUE, "r": 26.0}, t, data, 8, sigma=0.05, observe=lambda t, y, p: y[0], states=y[::10][:8] + 1.0,
                          rtol=1e-8).solve()
    assert fit.success
    assert abs(fit.params["r"] - 28.0) < 4 * fit.stderr["r"]
    assert len(fit.residuals) == 71


def test_scipy_may_do_the_fit():
    from scipy.optimize import least_squares  # noqa: PLC0415

    problem = ds.ode.shooting(logistic, {"rate": 1.0, "size": 1.5}, T, GROWN, 4, rtol=1e-10)
    found = least_squares(lambda z: np.concatenate(problem.evaluate(z)), problem.start,
                          jac=lambda z: np.concatenate([x.toarray() for x in problem.jacobian(z)]), xtol=1e-12, ftol=1e-12, gtol=1e-12)
    np.testing.assert_allclose(problem.unpack(found.x)[0]["rate"], 1.5, rtol=1e-6)


def test_windows_are_given_by_their_starts_and_may_begin_before_the_data():
    told = {"t0": -1.0, "states": GROWN[[0, 6]][:, None]}
    problem = ds.ode.shooting(logistic, {"rate": 1.0, "size": 1.5}, T, GROWN, [-1.0, 2.9], rtol=1e-10, **told)
    np.testing.assert_array_equal(problem.edges, [-1.0, 2.9, 6.0])
    fit = problem.solve()
    np.testing.assert_allclose(fit.params["rate"], 1.5, rtol=1e-6)
    np.testing.assert_allclose(fit.states[0, 0], 2.0 / (1 + 9 * np.exp(1.5)), rtol=1e-5)


def test_a_window_that_cannot_be_solved_is_told():
    with pytest.raises(ConvergenceError, match="cannot be solved from the first guess"):
        ds.ode.shooting(lambda t, y, p: p * y**2, 50.0, T, GROWN, 2).solve()


def test_steps_are_printed_where_they_are_asked_for(capsys):
    fit = ds.ode.shooting(logistic, {"rate": 1.0, "size": 1.5}, T, GROWN, 2).solve(verbose=True)
    assert len(re.findall(r"step \d+: cost .* defect .* moved", capsys.readouterr().out)) == fit.steps
    short = ds.ode.shooting(logistic, {"rate": 1.0, "size": 1.5}, T, GROWN + 0.1 * np.cos(9 * T), 2).solve(maxiter=1, tol=1e-15)
    assert not short.success


@pytest.mark.parametrize(("told", "error", "says"), [
    ({"t": T[::-1]}, InputError, "sorted vector"),
    ({"data": GROWN[:4]}, InputError, "one row for each of the 13 times"),
    ({"t0": 1.0}, InputError, "after the first time of the data"),
    ({"windows": 13}, InputError, "from 1 to 12"),
    ({"windows": [0.0, 3.0, 2.0]}, InputError, "one after the other"),
    ({"windows": [1.0, 3.0]}, InputError, "must begin at t0 = 0"),
    ({"sigma": 0.0}, InputError, "sigma must be positive"),
    ({"observe": lambda t, y, p: y}, InputError, "states= must give a first guess"),
    ({"states": np.ones((2, 1))}, InputError, r"shape \(3, n\)"),
    ({"start": [1.0, 2.0]}, InputError, r"start must have shape \(1,\)"),
    ({"data": GROWN * np.nan}, InputError, "never measured"),
])  # fmt: skip
def test_wrong_arguments_are_named(told, error, says):
    with pytest.raises(error, match=says):
        ds.ode.shooting(logistic, {"rate": 1.0, "size": 1.5}, **{"t": T, "data": GROWN, "windows": 3, **told})


def test_more_is_refused_by_name():
    problem = ds.ode.shooting(logistic, {"rate": 1.0, "size": 1.5}, T, GROWN, 3)
    with pytest.raises(InputError, match="vector of 5 numbers"):
        problem.residuals(np.ones(3))
    with pytest.raises(InputError, match="observe returned 2 numbers, but data has 1"):
        ds.ode.shooting(logistic, {"rate": 1.0, "size": 1.5}, T, GROWN, 3, observe=lambda t, y, p: np.array([y[0], y[0]]),
                        states=np.ones((3, 1))).solve()
    with pytest.raises(InputTypeError, match="being differentiated"):
        ds.grad(lambda r: ds.ode.shooting(logistic, {"rate": r, "size": 1.5}, T, GROWN, 3).solve().cost)(1.0)

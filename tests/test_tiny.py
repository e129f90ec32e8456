"""Ten seconds: one jvp, one vjp, one compiled gradient, one solve, one adjoint, one fit.  First to read, first to run."""

import numpy as np
import pytest

import diffsim as ds


def test_jvp():
    y, y_dot = ds.jvp(lambda x: np.sin(x) * x, (2.0,), (1.0,))
    assert y == pytest.approx(2 * np.sin(2))
    assert y_dot == pytest.approx(np.sin(2) + 2 * np.cos(2))


def test_vjp():
    y, pullback = ds.vjp(lambda a, x: a @ x, np.eye(2) * 3, np.array([1.0, 2.0]))
    a_bar, x_bar = pullback(np.array([1.0, 10.0]))
    np.testing.assert_allclose(y, [3, 6])
    np.testing.assert_allclose(a_bar, [[1, 2], [10, 20]])
    np.testing.assert_allclose(x_bar, [3, 30])


def test_compiled_gradient():
    f = ds.jit(ds.value_and_grad(lambda x: np.sum(np.exp(-x) * x)))
    value, gradient = f(np.array([0.5, 1.5]))
    assert value == pytest.approx(0.5 * np.exp(-0.5) + 1.5 * np.exp(-1.5))
    np.testing.assert_allclose(gradient, [0.5 * np.exp(-0.5), -0.5 * np.exp(-1.5)])


def decay(t, y, k):
    return -k * y


def test_solve():
    sol = ds.solve_ivp(decay, (0, 2), [3.0], t_eval=[1.0, 2.0], args=(0.7,), rtol=1e-9)
    np.testing.assert_allclose(sol.y[0], 3 * np.exp([-0.7, -1.4]), rtol=1e-8)


def test_adjoint():
    gradient = ds.grad(lambda k: ds.solve_ivp(decay, (0, 2), [3.0], t_eval=[2.0], args=(k,), rtol=1e-9).y[0, 0])(0.7)
    assert gradient == pytest.approx(-6 * np.exp(-1.4), rel=1e-7)


def test_fit():
    t = np.linspace(0, 2, 9)
    data = 3 * np.exp(-0.7 * t)

    def loss(theta):
        return np.sum((ds.solve_ivp(decay, (0, 2), theta["y0"], t_eval=t, args=(theta["k"],)).y[0] - data) ** 2)

    best = ds.optimize.minimize(loss, {"k": 0.2, "y0": np.array([1.0])}, method="BFGS", options={"gtol": 1e-8})
    assert best.x["k"] == pytest.approx(0.7, rel=1e-5)
    assert best.x["y0"][0] == pytest.approx(3.0, rel=1e-5)

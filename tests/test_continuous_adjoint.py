"""Continuous adjoints: they come to the derivative of the discrete solution as tolerances tighten; backsolve says where it cannot."""


import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import InputError, InputTypeError, SolveError, StabilityWarning

P = np.array([1.0, 0.1, 0.1, 1.0])
Y0 = np.array([10.0, 5.0])
TIMES = np.array([0.0, 4.0, 4.0, 10.0])
KINDS = ("interpolating", "backsolve", "gauss")


def lotka_volterra(t, y, p):
    return np.array([p[0] * y[0] - p[1] * y[0] * y[1], p[2] * y[0] * y[1] - p[3] * y[1]])


def loss(y):
    return np.sum(np.log(y) ** 2)


def discrete(tol):
    def f(y0, p):
        return loss(ds.solve_ivp(lotka_volterra, (0.0, 10.0), y0, "DOP853", t_eval=TIMES, args=(p,), rtol=tol, atol=tol).y)

    return ds.value_and_grad(f, (0, 1))(Y0, P)


def continuous(kind, tol, method="Tsit5", **told):
    told |= {"kind": kind, "method": method, "rtol": tol, "atol": tol}
    return ds.ode.continuous_adjoint(lotka_volterra, (0.0, 10.0), Y0, TIMES, loss, (P,), **told)


def off(got, want):
    return max(np.max(np.abs(g - w)) / np.max(np.abs(w)) for g, w in zip((got.y0, got.args[0]), want, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_the_discrete_solution_as_tolerances_tighten(kind):
    value, want = discrete(1e-12)
    loose, tight = continuous(kind, 1e-5), continuous(kind, 1e-8)
    assert off(loose, want) < 1e-3
    assert off(tight, want) < 1e-6
    assert off(tight, want) < 0.02 * off(loose, want)
    np.testing.assert_allclose(tight.value, value, rtol=1e-6)
    assert tight.nfev_back > 0
    assert (tight.drift is not None) == (kind == "backsolve")


@pytest.mark.parametrize("method", ["DOP853", "Rodas5P", "BDF"])
def test_any_method_will_do(method):
    _, want = discrete(1e-12)
    assert off(continuous("interpolating", 1e-7, method), want) < (1e-3 if method == "BDF" else 1e-5)


ROBERTSON = np.array([0.04, 1e4, 3e7])
#: d y1(40) / d p, 11 digits: variational equations at 1e-13 (Serban & Hindmarsh, SUNDIALS cvsRoberts_FSA_dns prints five of them).
SLOPES = (-4.2475587717, 1.3730807973e-5, -2.2883550889e-9)


def robertson(t, y, p):
    slow, fast, square = p[0] * y[0], p[1] * y[1] * y[2], p[2] * y[1] ** 2
    return np.array([fast - slow, slow - fast - square, square])


@pytest.mark.parametrize("kind", ["interpolating", "gauss"])
def test_a_stiff_problem(kind):
    w = np.array([[1.0], [0.0], [0.0]])
    told = {"kind": kind, "method": "Rodas5P", "rtol": 1e-8, "atol": 1e-12}
    got = ds.ode.continuous_adjoint(robertson, (0.0, 40.0), [1.0, 0.0, 0.0], [40.0], w, (ROBERTSON,), **told)
    np.testing.assert_allclose(got.args[0], SLOPES, rtol=1e-4)


def test_backsolve_says_that_the_past_is_forgotten():
    def decay(t, y, k):
        return -k * (y - np.cos(t))

    with pytest.warns(StabilityWarning, match=r"came back .* away from y0"):
        got = ds.ode.continuous_adjoint(decay, (0.0, 1.0), [2.0], [1.0], [[1.0]], (25.0,), kind="backsolve")
    assert got.drift > 1e-3
    with pytest.raises(SolveError, match="what the solution forgot cannot be found again"):
        ds.ode.continuous_adjoint(decay, (0.0, 1.0), [2.0], [1.0], [[1.0]], (1e4,), kind="backsolve", method="Rodas5P", max_steps=300)


@pytest.mark.parametrize("kind", KINDS)
def test_backwards_in_time_and_arguments_of_any_kind(kind):
    def turn(t, y, p, power):
        z = p["z"] * (p["scale"] ** power)
        return np.array([np.real(z) * y[0] - np.imag(z) * y[1], np.imag(z) * y[0] + np.real(z) * y[1]])

    args = ({"z": np.complex128(-0.3 + 1.0j), "scale": 0.9}, 2)
    w = np.array([[1.0, 0.5], [-2.0, 0.0]])
    told = {"rtol": 1e-9, "atol": 1e-12}
    got = ds.ode.continuous_adjoint(turn, (1.0, -1.0), [1.0, 2.0], [0.5, -1.0], w, args, kind=kind, **told)

    def total(y0, p):
        return np.sum(w * ds.solve_ivp(turn, (1.0, -1.0), y0, t_eval=[0.5, -1.0], args=(p, 2), **told).y)

    y_bar, p_bar = ds.grad(total, (0, 1))(np.array([1.0, 2.0]), args[0])
    np.testing.assert_allclose(got.y0, y_bar, rtol=1e-7)
    np.testing.assert_allclose(got.args[0]["z"], p_bar["z"], rtol=1e-7)
    np.testing.assert_allclose(got.args[0]["scale"], p_bar["scale"], rtol=1e-7)
    assert got.args[1] is None


def test_cotangents_in_place_of_a_loss_and_an_output_at_the_start():
    w = np.array([[1.0, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0]])
    got = ds.ode.continuous_adjoint(lotka_volterra, (0.0, 10.0), Y0, TIMES, w, (P,))
    np.testing.assert_array_equal(got.y0, [1.0, 2.0])
    np.testing.assert_array_equal(got.args[0], np.zeros(4))
    assert got.value is None


@pytest.mark.parametrize(("call", "error", "says"), [
    (lambda: continuous("adjoint", 1e-6), InputError, "kind is one of interpolating, backsolve, gauss"),
    (lambda: ds.ode.continuous_adjoint(lotka_volterra, (0, 10), Y0, TIMES, np.ones(2), (P,)), InputError, r"outputs, \(2, 4\)"),
    (lambda: ds.grad(lambda p: ds.ode.continuous_adjoint(lotka_volterra, (0, 10), Y0, TIMES, loss, (p,)).value)(P), InputTypeError,
     "differentiate solve_ivp instead"),
    (lambda: continuous("gauss", 1e-6, max_steps=3), SolveError, "max_steps"),
    (lambda: continuous("gauss", 1e-6, "Rodas5P", mass=np.ones(2)), InputError, "mass= gives adjoint equations of another form"),
])  # fmt: skip
def test_wrong_arguments_are_named(call, error, says):
    with pytest.raises(error, match=says):
        call()

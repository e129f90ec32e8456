"""The bridge to scipy.optimize: pytrees, derivatives, bounds, and honesty about simulations that fail."""

from dataclasses import dataclass

import numpy as np
import pytest
import scipy.optimize

import diffsim as ds
from diffsim.errors import InputError, InputTypeError, SolveError

GRADIENT = ["CG", "BFGS", "L-BFGS-B", "TNC", "SLSQP"]
SECOND_ORDER = ["Newton-CG", "trust-ncg", "trust-krylov", "trust-exact", "dogleg", "trust-constr"]
GRADIENT_FREE = ["Nelder-Mead", "Powell", "COBYQA"]
EDGE = 0.5


@dataclass
class Point:
    a: float
    b: np.ndarray


def valley(theta):
    """Rosenbrock's valley in a and b[0], a parabola in b[1]; minimum 0 at a = 1, b = (1, 3)."""
    return (1.0 - theta["a"]) ** 2 + 100.0 * (theta["b"][0] - theta["a"] ** 2) ** 2 + (theta["b"][1] - 3.0) ** 2


def start():
    return {"a": -1.2, "b": np.array([1.0, 0.0])}


def valley_with_an_edge(theta):
    """Rosenbrock's valley that cannot be simulated beyond x = 0.5, where its constrained minimum is 0.25 at (0.5, 0.25)."""
    if theta[0] > EDGE:
        raise SolveError("step size underflow at t = 3.2", t=3.2)
    return (1.0 - theta[0]) ** 2 + 100.0 * (theta[1] - theta[0] ** 2) ** 2


@pytest.mark.parametrize("method", GRADIENT + SECOND_ORDER + GRADIENT_FREE)
def test_every_method_finds_the_valley_and_returns_the_tree_it_was_given(method):
    result = ds.optimize.minimize(valley, start(), method=method, jit=method in GRADIENT)
    assert result.success, result.message
    assert set(result.x) == {"a", "b"}
    assert result.x["b"].shape == (2,)
    np.testing.assert_allclose([result.x["a"], *result.x["b"]], [1.0, 1.0, 3.0], atol=5e-3)
    assert result.fun == valley(result.x)
    assert result.n_failed == 0


def test_the_gradient_in_the_result_has_the_shape_of_the_tree():
    result = ds.optimize.minimize(valley, start())
    assert result.jac["b"].shape == (2,)
    assert abs(result.jac["a"]) < 1e-4


@pytest.mark.parametrize("x0", [Point(-1.2, np.array([1.0, 0.0])), [-1.2, np.array([1.0, 0.0])], (-1.2, [1.0, 0.0])],
                         ids=["dataclass", "list", "tuple"])
def test_any_pytree_is_a_point(x0):
    def loss(theta):
        a, b = (theta.a, theta.b) if isinstance(theta, Point) else theta
        return valley({"a": a, "b": b})

    result = ds.optimize.minimize(loss, x0, jit=False)
    assert type(result.x) is type(x0)
    np.testing.assert_allclose(ds.tree.leaves(result.x)[0], 1.0, atol=1e-4)


def test_integers_start_as_floats_and_extra_arguments_are_passed():
    result = ds.optimize.minimize(lambda x, target: np.sum((x - target) ** 2), np.array([1, 2]), args=(np.array([3.0, 5.0]),))
    assert result.x.dtype == np.float64
    np.testing.assert_allclose(result.x, [3.0, 5.0], atol=1e-6)


@pytest.mark.parametrize("bounds", [
    {"a": (None, EDGE), "b": [(0.0, 2.0), None]},
    {"a": (None, EDGE)},
    [(None, EDGE), [(None, None), (None, None)]],
    scipy.optimize.Bounds([-np.inf, -np.inf, -np.inf], [EDGE, np.inf, np.inf]),
], ids=["dict", "partial dict", "list along the tree", "scipy"])
@pytest.mark.parametrize("method", ["L-BFGS-B", "TNC", "SLSQP", "trust-constr"])
def test_bounds_in_every_form_hold(bounds, method):
    result = ds.optimize.minimize(valley, start(), method=method, bounds=bounds, jit=False)
    assert result.x["a"] <= EDGE
    np.testing.assert_allclose([result.x["a"], *result.x["b"]], [0.5, 0.25, 3.0], atol=2e-2)
    assert result.fun == pytest.approx(0.25, abs=2e-3)


def test_flat_feeds_scipy_directly():
    fun, x0 = ds.optimize.flat(valley, start())
    result = scipy.optimize.minimize(fun, x0, jac=True)
    np.testing.assert_allclose(result.x, [1.0, 1.0, 3.0], atol=1e-4)
    assert fun.unflatten(result.x)["b"].shape == (2,)
    value, gradient = fun(x0)
    assert isinstance(value, float)
    assert type(gradient) is np.ndarray
    np.testing.assert_allclose(gradient, [-215.6, -88.0, -6.0], rtol=1e-12)
    np.testing.assert_allclose(fun.hess(x0), [[1330.0, 480.0, 0.0], [480.0, 200.0, 0.0], [0.0, 0.0, 2.0]], rtol=1e-8, atol=1e-6)


def test_value_then_gradient_then_value_is_one_evaluation():
    fun, x0 = ds.optimize.flat(valley, start(), jit=False)
    fun(x0), fun.grad(x0), fun.value(x0), fun(x0)
    assert fun.evaluations == 1


@pytest.mark.parametrize("method", GRADIENT + SECOND_ORDER + GRADIENT_FREE)
def test_where_simulations_fail_the_best_point_is_returned_and_nothing_is_called_a_success(method):
    result = ds.optimize.minimize(valley_with_an_edge, (-1.2, 1.0), method=method, jit=False)
    assert result.n_failed > 0
    assert not result.success
    assert result.fun == valley_with_an_edge(result.x)
    assert 0.25 <= result.fun < 0.30                      # inf instead of the substitute: 1.711 "successfully" (L-BFGS-B)
    assert f"{result.n_failed} failed evaluations" in result.message
    assert "t = 3.2" in result.message


def test_failures_on_the_way_to_a_minimum_are_counted_and_forgiven():
    def loss(x):
        return np.sum((x - 3.0) ** 2) if np.sum(x) < 20.0 else np.sum(x) * np.inf

    result = ds.optimize.minimize(loss, np.array([-40.0, 3.0]), method="BFGS", options={"gtol": 1e-6}, jit=False)
    np.testing.assert_allclose(result.x, 3.0, atol=1e-5)
    assert np.isfinite(result.fun)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_counts_as_failed(bad):
    def loss(x):
        return x[0] ** 2 if x[0] > 1.0 else x[0] * bad

    result = ds.optimize.minimize(loss, np.array([4.0]), jit=False)
    assert np.isfinite(result.fun)
    assert result.n_failed > 0
    assert not result.success


def test_a_start_that_cannot_be_simulated_is_an_error():
    with pytest.raises(SolveError, match=r"at x0 .*step size underflow"):
        ds.optimize.minimize(valley_with_an_edge, (0.7, 1.0), jit=False)


def test_constraints_see_the_tree_and_get_derivatives():
    def square(p):
        return p["x"] ** 2 + p["y"] ** 2

    def product(p):
        return p["x"] * p["y"]

    x0 = {"x": 1.0, "y": 2.0}
    a = ds.optimize.minimize(square, x0, method="SLSQP", constraints={"type": "ineq", "fun": lambda p: product(p) - 1.0}, jit=False)
    at_least_one = scipy.optimize.NonlinearConstraint(product, 1.0, np.inf)
    b = ds.optimize.minimize(square, x0, method="trust-constr", constraints=at_least_one, jit=False)
    for result in (a, b):
        np.testing.assert_allclose([result.x["x"], result.x["y"]], 1.0, atol=1e-3)


@pytest.mark.parametrize("method", ["L-BFGS-B", "TNC", "trust-constr", "Nelder-Mead"])
def test_callbacks_see_trees_in_both_of_scipys_forms(method):
    seen, results = [], []

    def with_result(intermediate_result):
        results.append(intermediate_result)

    ds.optimize.minimize(valley, start(), method=method, callback=seen.append, options={"maxiter": 5} if method != "TNC" else {}, jit=False)
    ds.optimize.minimize(valley, start(), method=method, callback=with_result, options={"maxiter": 5} if method != "TNC" else {}, jit=False)
    assert seen
    assert seen[0].keys() == {"a", "b"}
    assert results[0].x.keys() == {"a", "b"}
    assert np.isfinite(results[0].fun)


def test_a_callback_may_stop_the_search():
    def stop(xk):
        raise StopIteration

    assert not ds.optimize.minimize(valley, start(), callback=stop, jit=False).success


@pytest.mark.parametrize(("call", "error", "says"), [
    ({"method": "L-BFGS"}, InputError, "no method 'L-BFGS'"),
    ({"method": 3}, InputTypeError, "name or a callable"),
    ({"method": "BFGS", "bounds": {"a": (0, 1)}}, InputError, "BFGS cannot take bounds; these can: .*L-BFGS-B"),
    ({"constraints": {"type": "eq", "fun": abs}}, InputError, "cannot take constraints"),
    ({"method": "SLSQP", "constraints": "x > 1"}, InputTypeError, "a constraint is"),
    ({"bounds": {"c": (0, 1)}}, InputError, r"speaks of \['c'\]"),
    ({"bounds": {"a": (1, -2)}}, InputError, "a has lower 1.0 and upper -2.0"),
    ({"bounds": {"b": (2, 3)}}, InputError, r"outside its bounds: b\[0\] starts at 1.0"),
    ({"bounds": {"a": (1, 2, 3)}}, InputError, r"bounds of a must be \(lower, upper\)"),
])
def test_bad_calls_say_what_is_wrong(call, error, says):
    with pytest.raises(error, match=says):
        ds.optimize.minimize(valley, start(), **call, jit=False)


@pytest.mark.parametrize(("x0", "error", "says"), [
    ({"a": "one"}, InputTypeError, "a is str 'one'"),
    ({"a": 1.0 + 2.0j}, InputTypeError, "real numbers"),
    ({"a": np.nan}, InputError, "a is nan"),
    ({}, InputError, "no number"),
])
def test_bad_starts_say_what_is_wrong(x0, error, says):
    with pytest.raises(error, match=says):
        ds.optimize.minimize(lambda p: p["a"] ** 2, x0)


def test_a_loss_must_be_scalar():
    with pytest.raises((InputError, InputTypeError)):
        ds.optimize.minimize(lambda x: x**2, np.array([1.0, 2.0]), jit=False)


# NIST/ITL StRD, Misra1a: certified estimates, standard deviations and residual sum of squares; 14 observations, start 1.
MISRA_X = np.array([77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0])
MISRA_Y = np.array([10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78])


def misra(theta):
    return theta["b1"] * (1.0 - np.exp(-theta["b2"] * MISRA_X)) - MISRA_Y


@pytest.mark.parametrize("method", ["trf", "dogbox", "lm"])
def test_least_squares_reaches_certified_values(method):
    result = ds.optimize.least_squares(misra, {"b1": 500.0, "b2": 1e-4}, method=method, ftol=1e-15, xtol=1e-15, gtol=1e-15)
    assert result.x["b1"] == pytest.approx(2.3894212918e02, rel=1e-7)
    assert result.x["b2"] == pytest.approx(5.5015643181e-04, rel=1e-7)
    assert 2.0 * result.cost == pytest.approx(1.2455138894e-01, rel=1e-10)
    assert result.jac.shape == (14, 2)
    assert abs(result.grad["b1"]) < 1e-6


@pytest.mark.parametrize("bounds", [
    {"b1": (0.0, 230.0)},
    ({"b1": 0.0, "b2": 0.0}, {"b1": 230.0, "b2": 1.0}),
    ([0.0, 0.0], [230.0, np.inf]),
    scipy.optimize.Bounds([0.0, 0.0], [230.0, np.inf]),
], ids=["dict of pairs", "pair of trees", "pair of lists", "scipy"])
def test_least_squares_keeps_bounds_in_every_form(bounds):
    result = ds.optimize.least_squares(misra, {"b1": 200.0, "b2": 1e-4}, bounds=bounds, jit=False)
    assert result.x["b1"] == pytest.approx(230.0, rel=1e-6)
    assert result.x["b1"] <= 230.0


@pytest.mark.parametrize("method", ["trf", "dogbox", "lm"])
def test_least_squares_steps_back_from_failing_simulations(method):
    def residuals(theta):
        if theta[0] > EDGE:
            raise SolveError("step size underflow at t = 3.2")
        return [1.0 - theta[0], 10.0 * (theta[1] - theta[0] ** 2)]

    result = ds.optimize.least_squares(residuals, (-1.2, 1.0), method=method, jit=False)
    assert 0.25 <= 2.0 * result.cost < 0.26
    assert not result.success
    assert "failed evaluations" in result.message


def test_least_squares_needs_a_start_it_can_evaluate():
    with pytest.raises(SolveError, match="residual 1 is not finite"):
        ds.optimize.least_squares(np.log, np.array([1.0, -1.0]), jit=False)

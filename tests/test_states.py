"""States of every kind: numbers, nothing, arrays, complex arrays, trees; values, derivatives and messages."""

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

import diffsim as ds
from diffsim.errors import FallbackWarning, InputError, InputTypeError, SolveError

TIGHT = {"rtol": 1e-10, "atol": 1e-12}
A = np.array([[-0.25 + 0.14j, 0, 0.33 + 0.44j], [0.25 + 0.58j, -0.2 + 0.14j, 0], [0, 0.2 + 0.4j, -0.1 + 0.97j]])
Z0 = np.array([1.0 + 0j, 2.0 - 1j, 0.5j])


@dataclass
class Body:
    position: np.ndarray
    velocity: np.ndarray


class Pair(NamedTuple):
    slow: float
    fast: np.ndarray


def spring(t, body, k):
    return Body(body.velocity, -k * body.position)


# ---------------------------------------------------------------- shapes
def test_a_number_is_a_state():
    sol = ds.solve_ivp(lambda t, y: -2 * y, (0, 1), 1.0, dense_output=True, **TIGHT)
    assert sol.y.shape == sol.t.shape
    np.testing.assert_allclose(sol.y, np.exp(-2 * sol.t), rtol=1e-8)
    assert np.shape(sol.sol(0.5)) == ()
    assert sol.sol([0.1, 0.2, 0.3]).shape == (3,)
    slope = ds.grad(lambda y0, k: ds.solve_ivp(lambda t, y: -k * y, (0, 1), y0, t_eval=[1.0], **TIGHT).y[0], (0, 1))(1.0, 2.0)
    np.testing.assert_allclose(slope, [np.exp(-2), -np.exp(-2)], rtol=1e-8)


@pytest.mark.parametrize("method", ["Tsit5", "Rodas5P", "RK4"])
@pytest.mark.parametrize("y0", [[], np.zeros((0, 3)), {"x": np.zeros(0)}, {}])
def test_nothing_is_a_state_and_takes_one_step(y0, method):
    more = {"first_step": 1.0} if method == "RK4" else {}
    sol = ds.solve_ivp(lambda t, y: y, (0, 2), y0, method=method, dense_output=True, **more)
    theirs = scipy.integrate.solve_ivp(lambda t, y: y, (0, 2), [])
    assert sol.success
    if method != "RK4":
        np.testing.assert_array_equal(sol.t, theirs.t)
    for made, start in zip(ds.tree.leaves(sol.y), ds.tree.leaves(y0), strict=True) if isinstance(y0, dict) else [(sol.y, y0)]:
        assert made.shape == (*np.shape(start), len(sol.t))
    for made in ds.tree.leaves(sol.sol(1.0)):
        assert made.size == 0
    at = ds.solve_ivp(lambda t, y: y, (0, 2), [], t_eval=[0.5, 1.0, 2.0])
    assert at.y.shape == (0, 3)


def test_an_array_of_any_shape_keeps_it_with_time_last():
    y0 = np.arange(6.0).reshape(2, 3)
    rate = np.array([[1.0], [2.0]])
    sol = ds.solve_ivp(lambda t, y: -rate * y, (0, 1), y0, t_eval=[0.5, 1.0], dense_output=True, **TIGHT)
    assert sol.y.shape == (2, 3, 2)
    np.testing.assert_allclose(sol.y[..., 1], y0 * np.exp(-rate), rtol=1e-8)
    np.testing.assert_allclose(sol.sol(0.5), sol.y[..., 0], rtol=1e-12)
    nested = ds.solve_ivp(lambda t, y: [[-y[0][0], -y[0][1]]], (0, 1), [[1.0, 2.0]], t_eval=[1.0])
    np.testing.assert_allclose(nested.y[..., 0], np.exp(-1) * np.array([[1.0, 2.0]]), rtol=1e-5)


@pytest.mark.parametrize(("y0", "get"), [
    ({"x": np.ones((2, 2)), "v": np.zeros((2, 2))}, lambda y: (y["x"], y["v"])),
    ((np.ones(2), np.zeros(2)), lambda y: (y[0], y[1])),
    ([np.ones(2), np.zeros(2)], lambda y: (y[0], y[1])),
    (Body(np.ones(3), np.zeros(3)), lambda y: (y.position, y.velocity)),
    ({"b": {"p": 1.0}, "a": (0.0,)}, lambda y: (y["b"]["p"], y["a"][0])),
], ids=["dict", "tuple", "list", "dataclass", "nested"])
@pytest.mark.parametrize("method", ["Tsit5", "Rodas5P"])
def test_trees_come_back_as_they_went_in(y0, get, method):
    def rhs(t, y, k):
        x, v = get(y)
        made = {id(x): v, id(v): -k * x}
        return ds.tree.map(lambda leaf: made[id(leaf)], y)

    def end(y0, k):
        sol = ds.solve_ivp(rhs, (0, 1), y0, method=method, t_eval=[1.0], args=(k,), **TIGHT)
        assert ds.tree.structure(sol.y) == ds.tree.structure(y0)
        return sol.y

    x, v = get(end(y0, 4.0))
    np.testing.assert_allclose(x, np.cos(2), rtol=1e-7)
    np.testing.assert_allclose(v, -2 * np.sin(2), rtol=1e-7)
    assert x.shape == (*np.shape(get(y0)[0]), 1)
    y_bar, k_bar = ds.jit(ds.grad(lambda y0, k: np.sum(get(end(y0, k))[0]), (0, 1)))(y0, 4.0)
    assert ds.tree.structure(y_bar) == ds.tree.structure(y0)
    np.testing.assert_allclose(get(y_bar)[0], np.cos(2), rtol=1e-7)
    np.testing.assert_allclose(get(y_bar)[1], np.sin(2) / 2, rtol=1e-7)
    np.testing.assert_allclose(k_bar, -np.sin(2) / 4 * np.size(x), rtol=1e-6)


def test_a_tree_without_compiling_and_with_its_interpolant():
    def rhs(t, y):
        return Pair(y.slow * -0.1 if float(t) >= 0 else None, -y.fast)

    with pytest.warns(FallbackWarning, match="uncompiled"):
        sol = ds.solve_ivp(rhs, (0, 1), Pair(1.0, np.ones(2)), dense_output=True, **TIGHT)
    assert type(sol.y) is Pair
    np.testing.assert_allclose(sol.y.slow[-1], np.exp(-0.1), rtol=1e-8)
    inside = sol.sol([0.25, 0.75])
    np.testing.assert_allclose(inside.fast, np.exp([[-0.25, -0.75]] * 2), rtol=1e-7)


def test_tolerances_may_be_made_as_the_state():
    y0 = {"x": np.ones(2), "v": np.zeros(2)}
    rhs = lambda t, y: {"x": y["v"], "v": -y["x"]}  # noqa: E731
    loose = ds.solve_ivp(rhs, (0, 5), y0, rtol=1e-3, atol=1e-3)
    mixed = ds.solve_ivp(rhs, (0, 5), y0, rtol={"x": 1e-9, "v": 1e-3}, atol={"x": np.array([1e-10, 1e-3]), "v": 1e-3})
    assert mixed.accepted > 2 * loose.accepted
    np.testing.assert_allclose(mixed.y["x"][0, -1], np.cos(5), atol=1e-7)


def test_single_precision_and_integers_are_computed_in_double():
    for y0 in (np.ones(2, np.float32), np.array([1, 1]), [1, True]):
        sol = ds.solve_ivp(lambda t, y: -y, (0, 1), y0, t_eval=[1.0], **TIGHT)
        assert sol.y.dtype == np.float64
        np.testing.assert_allclose(sol.y[:, 0], np.exp(-1), rtol=1e-9)
    bar = ds.grad(lambda y0: np.sum(ds.solve_ivp(lambda t, y: -y, (0, 1), y0, t_eval=[1.0], **TIGHT).y))(np.ones(2, np.float32))
    assert bar.dtype == np.float32


# ---------------------------------------------------------------- complex numbers
@pytest.mark.parametrize("method", ["Tsit5", "DOP853", "Rodas5P", "Kvaerno5"])
def test_complex_states_follow_the_matrix_exponential(method):
    sol = ds.solve_ivp(lambda t, y: A @ y, (0, 4), Z0, method=method, t_eval=[2.0, 4.0], **TIGHT)
    assert sol.y.dtype == complex
    np.testing.assert_allclose(sol.y[:, 1], scipy.linalg.expm(4 * A) @ Z0, rtol=1e-7)


@pytest.mark.parametrize("method", ["Tsit5", "Rodas5P"])
@pytest.mark.parametrize("compiled", [False, True])
def test_the_derivative_of_a_holomorphic_solve_is_complex(method, compiled):
    """y' = c y: y(1) = y0 e^c; cotangents pair without conjugation, so that gradients are complex derivatives."""
    def end(y0, c):
        return ds.solve_ivp(lambda t, y, c: c * y, (0, 1), y0, method=method, t_eval=[1.0], args=(c,), **TIGHT).y[0, 0]

    y0, c, w = np.array([1.0 + 0.5j]), np.complex128(-0.3 + 2j), 0.7 - 0.2j
    f = ds.grad(lambda y0, c: np.real(w * end(y0, c)), (0, 1))
    y_bar, c_bar = (ds.jit(f) if compiled else f)(y0, c)
    np.testing.assert_allclose(y_bar, [w * np.exp(c)], rtol=1e-7)
    np.testing.assert_allclose(c_bar, w * y0[0] * np.exp(c), rtol=1e-7)
    _, dot = ds.jvp(end, (y0, c), (np.array([0.3 - 1j]), np.complex128(1j)))
    np.testing.assert_allclose(dot, (0.3 - 1j) * np.exp(c) + 1j * y0[0] * np.exp(c), rtol=1e-7)


def test_complex_values_a_right_hand_side_closes_over_are_differentiated():
    def loss(c):
        factor = c * (1 + 0j)
        return np.real(ds.solve_ivp(lambda t, y: factor * y, (0, 1), [1 + 0j], t_eval=[1.0], **TIGHT).y[0, 0])

    c = np.complex128(0.2 + 1j)
    for f in (ds.grad(loss), ds.jit(ds.grad(loss))):
        np.testing.assert_allclose(f(c), np.exp(c), rtol=1e-7)


def test_a_right_hand_side_that_conjugates_is_no_obstacle():
    """y' = i conj(y): not holomorphic, which SciPy's implicit methods need; here the Jacobian is that of the two parts."""
    for method in ("Tsit5", "Rodas5P"):
        end = ds.solve_ivp(lambda t, y: 1j * np.conj(y), (0, 1), [1 + 0j], method=method, t_eval=[1.0], **TIGHT).y[0, 0]
        np.testing.assert_allclose(end, np.cosh(1) + 1j * np.sinh(1), rtol=1e-7)


def test_complex_and_real_leaves_side_by_side():
    y0 = {"amplitude": np.array([1 + 0j, 1j]), "phase": 0.0}
    sol = ds.solve_ivp(lambda t, y: {"amplitude": -1j * y["amplitude"], "phase": np.abs(y["amplitude"][0])}, (0, 1), y0, **TIGHT)
    assert sol.y["amplitude"].dtype == complex
    assert sol.y["phase"].dtype == float
    np.testing.assert_allclose(sol.y["phase"][-1], 1, rtol=1e-9)
    np.testing.assert_allclose(sol.y["amplitude"][:, -1], np.exp(-1j) * np.array([1, 1j]), rtol=1e-8)


# ---------------------------------------------------------------- messages
@pytest.mark.parametrize(("y0", "rhs", "error", "message"), [
    ({"x": [1.0, np.nan]}, lambda t, y: y, InputError, r"y0\['x'\]\[1\] is nan"),
    ({"x": 1.0}, lambda t, y: (y["x"],), InputError, "must return what y0 is made of, a dict of x, not a tuple of 1"),
    ({"x": np.ones(2)}, lambda t, y: {"x": y["x"][:1]}, InputError, r"returned shape \(1,\) for \['x'\], but y0\['x'\] has shape \(2,\)"),
    ([1.0], lambda t, y: 1j * y, InputTypeError, "returned complex numbers, but y0 is real: give y0 a complex dtype"),
    ([1.0, [2.0, 3.0]], lambda t, y: y, InputError, "y0 must be a vector of numbers"),
    (Body(np.ones(1), "here"), lambda t, y: y, InputTypeError, r"y0\.velocity must hold numbers"),
    ([1.0], lambda t, y: ["a"], InputTypeError, "must hold numbers|must return numbers|not a number"),
])
def test_bad_states_are_named(y0, rhs, error, message):
    with pytest.raises(error, match=message):
        ds.solve_ivp(rhs, (0, 1), y0)


def test_bad_tolerances_of_a_tree_are_named():
    rhs = lambda t, y: {"x": -y["x"]}  # noqa: E731
    for atol in ({"v": 1.0}, np.ones(2), {"x": np.ones(3)}):
        with pytest.raises(InputError, match="atol must be a number or be made as y0 is, of a dict of x"):
            ds.solve_ivp(rhs, (0, 1), {"x": np.ones(2)}, atol=atol)


@pytest.mark.parametrize(("fun", "args", "said"), [
    (lambda t: t, None, r"was called with 2 arguments, as fun\(t, y, \*args\): there are no args; it is <lambda>\(t\), and so too many"),
    (lambda t, y, k: -k * y, None, r"was called with 2 arguments.* it is <lambda>\(t, y, k\), and so missing a required argument: 'k'"),
    (lambda t, y: -y, (1.0,), r"was called with 3 arguments.*: args has 1; it is <lambda>\(t, y\), and so too many"),
])
def test_a_wrong_number_of_arguments_is_told(fun, args, said):
    with pytest.raises(InputTypeError, match=rf"<lambda> \(.*test_states\.py:\d+\) {said}"):
        ds.solve_ivp(fun, (0, 1), [1.0], args=args)


def as_python(t, y):
    return -y[0] if t >= 0 else None


@pytest.mark.filterwarnings("ignore::diffsim.errors.FallbackWarning")
@pytest.mark.parametrize("fun", [lambda t, y: -y[0], as_python])
def test_an_element_of_a_number_is_told(fun):
    with pytest.raises(InputTypeError, match=r"takes an element of y, and y is a number because y0 is one: give y0 = \[\.\.\.\]"):
        ds.solve_ivp(fun, (0, 1), 1.0)


def test_members_of_a_batch_may_be_trees_of_complex_numbers():
    end = ds.vmap(lambda y0: ds.solve_ivp(lambda t, y: {"a": 1j * y["a"], "b": -y["b"]}, (0, 1), y0, t_eval=[0.5, 1.0], **TIGHT).y)
    out = end({"a": np.ones((3, 2), complex), "b": np.arange(3.0)})
    np.testing.assert_allclose(out["a"], np.broadcast_to(np.exp(np.array([0.5j, 1j])), (3, 2, 2)), rtol=1e-8)
    np.testing.assert_allclose(out["b"], np.arange(3)[:, None] * np.exp([-0.5, -1]), rtol=1e-8)


def test_second_derivatives_through_complex_states():
    def part(c):
        return np.real(ds.solve_ivp(lambda t, y: 1j * c * y, (0, 1), [1 + 0j], t_eval=[1.0], **TIGHT).y[0, 0])

    assert ds.hessian(part)(1.0) == pytest.approx(-np.cos(1), rel=1e-7)


def test_a_failure_names_the_component_in_the_users_words():
    def rhs(t, y):
        return {"still": 0.0 * y["still"], "hot": np.stack([0.0 * y["hot"][0], y["hot"][1] ** 2])}

    sol = ds.solve_ivp(rhs, (0, 2), {"still": 1.0, "hot": np.array([1 + 0j, 1 + 0j])})
    assert sol.status == -1
    assert "worst component the real part of y['hot'][1]" in sol.message
    with pytest.raises(SolveError, match=r"y\['hot'\]\[1\]"):
        ds.grad(lambda y0: ds.solve_ivp(rhs, (0, 2), y0, t_eval=[2.0]).y["still"][0])({"still": 1.0, "hot": np.array([1 + 0j, 1 + 0j])})


def test_a_column_is_what_a_vectorised_function_gets():
    shapes = set()

    def rhs(t, y):
        shapes.add(y.shape)
        return np.vstack([y[1], -y[0]])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sol = ds.solve_ivp(rhs, (0, 1), [1.0, 0.0], vectorized=True, **TIGHT)
    theirs = scipy.integrate.solve_ivp(rhs, (0, 1), [1.0, 0.0], vectorized=True, **TIGHT)
    assert shapes == {(2, 1)}
    np.testing.assert_allclose(sol.y[:, -1], theirs.y[:, -1], rtol=1e-8)
    with pytest.raises(InputError, match="vectorized=True is for a state that is a vector"):
        ds.solve_ivp(rhs, (0, 1), {"x": 1.0}, vectorized=True)

"""Black boxes: Python functions with rules, or with differences in their place."""

import warnings

import numpy as np
import pytest
from scipy.special import j0, j1, jv

import diffsim as ds
from diffsim.errors import DifferencesWarning, InputError, InputTypeError, MissingRule
from diffsim.ode import run

X = np.array([0.3, 0.7, 1.9])


def bessel(x, **rules):
    return ds.callback(j0, x, x, **rules)


JVP = {"jvp": lambda primals, tangents: -j1(primals[0]) * tangents[0]}
VJP = {"vjp": lambda primals, y_bar: (-j1(primals[0]) * y_bar,)}
RULES = pytest.mark.parametrize("rules", [JVP, VJP, JVP | VJP, JVP | {"vectorized": True}, VJP | {"vectorized": True}],
                                ids=["jvp", "vjp", "both", "jvp of many", "vjp of many"])


def loss(rules):
    return lambda x: np.sum(bessel(x, **rules) ** 2)


GRADIENT = -2.0 * j0(X) * j1(X)
HESSIAN = np.diag(2.0 * j1(X) ** 2 - 2.0 * j0(X) * (j0(X) - j1(X) / X))


@RULES
def test_one_rule_serves_both_modes(rules):
    f = loss(rules)
    np.testing.assert_allclose(ds.grad(f)(X), GRADIENT, rtol=1e-14)
    np.testing.assert_allclose(ds.jvp(f, (X,), (X,))[1], np.sum(GRADIENT * X), rtol=1e-14)
    np.testing.assert_allclose(ds.jacobian(lambda x: bessel(x, **rules))(X), np.diag(-j1(X)), rtol=1e-14)
    v, w = np.array([0.2, -1.0, 0.4]), np.array([1.3, 0.1, -0.7])
    y_dot, x_bar = ds.jvp(lambda x: bessel(x, **rules), (X,), (v,))[1], ds.vjp(lambda x: bessel(x, **rules), X)[1](w)[0]
    assert np.sum(w * y_dot) == pytest.approx(np.sum(x_bar * v), rel=1e-14)


@RULES
def test_members_of_a_batch(rules):
    rows = np.stack([X, 2.0 * X])
    wanted = -2.0 * j0(rows) * j1(rows)
    np.testing.assert_allclose(ds.vmap(ds.grad(loss(rules)))(rows), wanted, rtol=1e-14)
    np.testing.assert_allclose(ds.grad(lambda x: np.sum(ds.vmap(loss(rules))(x)))(rows), wanted, rtol=1e-14)


def test_many_members_take_one_call_where_the_function_says_so():
    calls = []

    def counted(x):
        calls.append(np.shape(x))
        return j0(x)

    def run(rows, **options):
        return ds.vmap(lambda x: ds.callback(counted, X, x, **options))(rows)

    rows = np.stack([X, 2.0 * X])
    np.testing.assert_array_equal(run(rows, vectorized=True), j0(rows))
    assert calls == [(2, 3)]
    np.testing.assert_array_equal(run(rows), j0(rows))
    assert calls == [(2, 3), (3,), (3,)]
    assert run(rows[:0]).shape == (0, 3)


def test_without_rules_differences_are_announced_and_near():
    def unruled(x):
        return np.sum(ds.callback(lambda x: j0(x), x, x))

    with pytest.warns(DifferencesWarning, match=r"test_callback\.py:\d+.*2 calls a direction and 6 for a gradient.*jvp=") as caught:
        got = ds.grad(unruled)(X)
    assert caught[0].filename == __file__
    np.testing.assert_allclose(got, -j1(X), atol=2e-10)
    for differences in (True, 1e-5):
        f = loss({"differences": differences})
        np.testing.assert_allclose(ds.grad(f)(X), GRADIENT, atol=1e-9)
        np.testing.assert_allclose(ds.jvp(f, (X,), (X,))[1], np.sum(GRADIENT * X), atol=1e-9)
    np.testing.assert_allclose(ds.hessian(loss({"differences": True}))(X), HESSIAN, atol=2e-6)
    with pytest.raises(MissingRule, match="differences=False"):
        ds.grad(loss({"differences": False}))(X)


def test_steps_of_differences_have_the_size_of_their_argument():
    """Metres and light years: a step of one size would be useless for one of them."""
    def f(x):
        return ds.callback(lambda x: np.sum(x**3), 0.0, x, differences=True)

    for scale in (1e-12, 1.0, 1e15):
        np.testing.assert_allclose(ds.grad(f)(scale * X), 3.0 * (scale * X) ** 2, rtol=1e-8)
    assert ds.grad(lambda x: ds.callback(np.sin, x, x, differences=True))(0.0) == pytest.approx(1.0, abs=1e-10)


def test_second_derivatives_of_rules_are_differences_and_exact_by_composition():
    with pytest.warns(DifferencesWarning, match="second derivatives.*custom_jvp"):
        got = ds.hessian(loss(VJP))(X)
    np.testing.assert_allclose(got, HESSIAN, atol=1e-9)

    def order(n):
        @ds.custom_jvp
        def f(x):
            return ds.callback(lambda x: jv(n, x), x, x)

        @f.defjvp
        def f_jvp(primals, tangents):
            (x,), (x_dot,) = primals, tangents
            return f(x), 0.5 * (order(n - 1)(x) - order(n + 1)(x)) * x_dot
        return f

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(ds.hessian(lambda x: np.sum(order(0)(x) ** 2))(X), HESSIAN, rtol=1e-12, atol=1e-15)


def test_trees_in_and_out_with_what_carries_no_derivative():
    def routine(state, n):
        return {"sum": n * np.sum(state["a"]) * state["b"], "count": np.int64(state["a"].size)}

    declared = {"sum": 0.0, "count": ds.ShapeDtype((), int)}

    def jvp(primals, tangents):
        (state, n), (dots, none) = primals, tangents
        assert none is None
        return {"sum": n * (np.sum(dots["a"]) * state["b"] + np.sum(state["a"]) * dots["b"]), "count": None}

    def vjp(primals, y_bar):
        state, n = primals
        assert y_bar["count"] is None
        return {"a": np.full(state["a"].shape, n * y_bar["sum"] * state["b"]), "b": n * y_bar["sum"] * np.sum(state["a"])}, None

    point = {"a": X, "b": 2.0}
    for rules in ({"jvp": jvp}, {"vjp": vjp}, {"differences": True}):
        def f(state, rules=rules):
            return ds.callback(routine, declared, state, 3, **rules)["sum"]
        got = ds.grad(f)(point)
        np.testing.assert_allclose(got["a"], np.full(3, 6.0), rtol=1e-9)
        assert got["b"] == pytest.approx(3.0 * np.sum(X), rel=1e-9)
        assert ds.jvp(f, (point,), (point,))[1] == pytest.approx(12.0 * np.sum(X), rel=1e-9)
    assert ds.callback(routine, declared, point, 3)["count"] == 3


def test_complex_arguments():
    """Re(sum(w J v)) is kept, whether the function is analytic or not."""
    def check(f, **rules):
        z, v, w = np.array([0.3 + 0.4j, -1.0 + 0.2j]), np.array([0.5 - 1.0j, 0.1j]), np.array([1.0 + 2.0j, -0.3j])
        plain, box = f, lambda z: ds.callback(f, f(z), z, **rules)
        w = w if np.iscomplexobj(f(z)) else w.real
        np.testing.assert_allclose(ds.jvp(box, (z,), (v,))[1], ds.jvp(plain, (z,), (v,))[1], atol=1e-9)
        np.testing.assert_allclose(ds.vjp(box, z)[1](w)[0], ds.vjp(plain, z)[1](w)[0], atol=1e-9)

    check(lambda z: z**2, differences=True)
    check(lambda z: np.conj(z) * z.real, differences=True)
    check(lambda z: np.abs(z) ** 2, differences=True)
    check(lambda z: np.conj(z), jvp=lambda p, t: np.conj(t[0]))
    check(lambda z: np.conj(z), vjp=lambda p, w: (np.conj(w),))


def test_in_graphs_it_stays_a_call():
    f = loss(VJP)
    assert "external" in str(ds.make_graph(f)(X).verify())
    np.testing.assert_allclose(ds.jit(ds.grad(f))(X), GRADIENT, rtol=1e-14)
    np.testing.assert_allclose(ds.grad(ds.jit(f))(X), GRADIENT, rtol=1e-14)

    def end(y0):
        return np.sum(ds.solve_ivp(lambda t, y: -bessel(y, **VJP), (0.0, 0.5), y0, t_eval=[0.5]).y)

    got = ds.grad(end)(X)
    numeric = [(end(X + 1e-5 * e) - end(X - 1e-5 * e)) / 2e-5 for e in np.eye(3)]
    np.testing.assert_allclose(got, numeric, rtol=1e-5)


def test_arguments_may_be_written_to_by_the_function():
    def writes(x):
        x *= 2.0
        return np.sum(x)

    x = X.copy()
    assert ds.callback(writes, 0.0, x, differences=True) == pytest.approx(2.0 * np.sum(X))
    np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize(("f", "rules", "why"), [
    (lambda x: x[:2], {}, r"returned float64\[2\]; float64\[3\] was declared"),
    (lambda x: 1j * x, {}, "complex128"),
    (lambda x: (x, x), {}, "structure"),
    (j0, {"vjp": lambda p, w: (w[:1],)}, r"vjp rule.*float64\[1\]"),
    (j0, {"vjp": lambda p, w: (w, w)}, "structure"),
    (j0, {"jvp": lambda p, t: np.sum(t[0])}, r"jvp rule.*float64\[\]"),
])
def test_what_does_not_match_the_declaration_is_named(f, rules, why):
    with pytest.raises(InputError, match=why):
        ds.grad(lambda x: np.sum(ds.callback(f, X, x, **rules)))(X)


def test_wrong_calls_are_refused():
    with pytest.raises(InputTypeError, match="function"):
        ds.callback(3.0, X, X)
    with pytest.raises(InputTypeError, match="ShapeDtype"):
        ds.callback(j0, "float", X)
    assert repr(ds.ShapeDtype(3)) == "ShapeDtype((3,), float64)"

    def closing(c):
        return ds.callback(lambda x: c * x, X, X)

    with pytest.raises(InputError, match="traced value"):
        ds.grad(lambda c: np.sum(closing(c)))(2.0)


def test_a_right_hand_side_is_compiled_for_functions_that_come_back(monkeypatch):
    compiled, original = [], run.compiled
    monkeypatch.setattr("diffsim.ode.run.compiled", lambda prim, args, params: compiled.append(prim.name) or original(prim, args, params))

    def sine(x):
        return np.sin(x)

    def end(y0, anew):
        f = (lambda x: np.sin(x)) if anew else sine
        return ds.solve_ivp(lambda t, y: -ds.callback(f, y, y, differences=True), (0.0, 0.5), y0, t_eval=[0.5]).y[:, 0]
    want = 2 * np.arctan(np.tan(X / 2) * np.exp(-0.5))      # y' = -sin(y)
    for _ in range(3):
        np.testing.assert_allclose(end(X, True), want, rtol=1e-3)
    assert not compiled
    np.testing.assert_allclose(end(X, False), want, rtol=1e-3)
    assert not compiled
    np.testing.assert_allclose(end(X, False), want, rtol=1e-3)
    assert compiled

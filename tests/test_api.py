"""The verbs: pytrees, argument numbers, auxiliary output, nesting, messages."""

import cmath
import collections
import dataclasses
from collections import namedtuple

import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import ConcretizationError, DerivativeLost, DiffsimError, FallbackWarning, InputError, InputTypeError, MutationError

Pair = namedtuple("Pair", "a b")


@dataclasses.dataclass
class Rates:
    birth: float
    death: np.ndarray


def energy(x):
    return np.sum(np.sin(x) * x)


X = np.array([0.3, -0.7, 1.1])


def test_gradient_of_every_container():
    def f(tree):
        assert tree["none"] is None
        return tree["list"][0] * np.sum(tree["pair"].b) + tree["rates"].birth * np.sum(tree["rates"].death ** 2)

    tree = {"list": [2.0], "pair": Pair(1.0, X), "rates": Rates(3.0, X), "none": None}
    g = ds.grad(f)(tree)
    assert type(g["pair"]) is Pair
    assert type(g["rates"]) is Rates
    assert g["none"] is None
    assert g["list"][0] == pytest.approx(X.sum())
    assert g["pair"].a == 0
    np.testing.assert_allclose(g["pair"].b, 2.0)
    np.testing.assert_allclose(g["rates"].death, 6 * X)
    compiled = ds.jit(ds.grad(f))(tree)
    np.testing.assert_allclose(compiled["rates"].death, 6 * X)


@dataclasses.dataclass
class Derived:
    k: float
    double: float = dataclasses.field(init=False)

    def __post_init__(self):
        if not self.k > 0:
            raise ValueError("a rate must be positive")
        self.double, self.half = 2 * self.k, 0.5 * self.k


def test_dataclasses_arrive_as_they_were_and_derive_what_is_no_field():
    model = Derived(2.0)
    model.double = 100.0

    def f(m):
        return m.k * m.double + m.half

    gradient = ds.grad(f)(model)
    assert (gradient.k, gradient.double) == (100.5, 2.0)
    with pytest.warns(FallbackWarning, match="test_api"):           # the check in __post_init__ is a branch
        assert ds.jit(f)(model) == 201.0


@pytest.mark.parametrize("kind", [collections.OrderedDict, collections.Counter, lambda d: collections.defaultdict(float, d)])
def test_dictionaries_of_every_kind(kind):
    tree = kind({"a": 2.0, "b": 3.0})
    for f in (ds.grad(lambda q: q["a"] ** 2 * q["b"]), ds.jit(ds.grad(lambda q: q["a"] ** 2 * q["b"]))):
        gradient = f(tree)
        assert type(gradient) is type(tree)
        assert (gradient["a"], gradient["b"]) == (12.0, 4.0)


GLOBAL = 3.0


def test_class_bodies_inside_see_globals():
    def f(x):
        class Constants:
            k = GLOBAL
            table = np.ones(2)
        return np.sum(x * Constants.k) * Constants.table[0]

    np.testing.assert_array_equal(ds.grad(f)(X), [3.0] * 3)
    globals()["GLOBAL"] = 4.0
    try:
        np.testing.assert_array_equal(ds.grad(f)(X), [4.0] * 3)
    finally:
        globals()["GLOBAL"] = 3.0


def test_argument_numbers_and_auxiliary_output():
    def f(a, x):
        return a * np.sum(x), {"sum": np.sum(x), "kind": "linear"}

    (value, aux), (da, dx) = ds.value_and_grad(f, (0, 1), has_aux=True)(2.0, X)
    assert value == pytest.approx(2 * X.sum())
    assert aux == {"sum": pytest.approx(X.sum()), "kind": "linear"}
    assert da == pytest.approx(X.sum())
    np.testing.assert_array_equal(dx, [2.0] * 3)
    gradient, _ = ds.grad(f, -1, has_aux=True)(2.0, X)
    np.testing.assert_array_equal(gradient, [2.0] * 3)


def test_results_are_plain_numpy():
    value, gradient = ds.value_and_grad(energy)(X)
    assert type(value) is np.float64
    assert type(gradient) is np.ndarray
    assert gradient.flags.writeable
    assert type(ds.grad(lambda x: x * x)(3.0)) is np.float64
    assert ds.grad(lambda x: np.sum(x * x))(X.astype(np.float32)).dtype == np.float32


def test_forward_and_reverse_agree():
    v, w = np.array([1.0, 2.0, -1.0]), np.array([0.5, -0.5, 2.0])

    def f(x):
        return np.cumsum(np.exp(x) * x)

    y, y_dot = ds.jvp(f, (X,), (v,))
    y2, pullback = ds.vjp(f, X)
    y3, f_jvp = ds.linearize(f, X)
    np.testing.assert_array_equal(y, y2)
    np.testing.assert_array_equal(y, y3)
    np.testing.assert_allclose(f_jvp(v), y_dot)
    assert w @ y_dot == pytest.approx(v @ pullback(w)[0])
    np.testing.assert_allclose(ds.jacobian(f)(X) @ v, y_dot)


def test_jacobian_of_trees():
    jac = ds.jacobian(lambda p: {"s": np.sum(p["x"]) * p["k"], "v": p["k"] * p["x"]})({"x": X, "k": 2.0})
    np.testing.assert_allclose(jac["s"]["x"], [2.0] * 3)
    assert jac["s"]["k"] == pytest.approx(X.sum())
    np.testing.assert_allclose(jac["v"]["x"], 2 * np.eye(3))
    np.testing.assert_allclose(jac["v"]["k"], X)


def test_hessian_and_hessian_vector_product():
    h = ds.hessian(energy)(X)
    np.testing.assert_allclose(h, np.diag(2 * np.cos(X) - X * np.sin(X)), atol=1e-15)
    v = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(ds.hvp(energy, (X,), (v,)), h @ v)
    np.testing.assert_allclose(ds.jit(ds.hessian(energy))(X), h, atol=1e-15)


def test_derivatives_nest_without_confusion():
    # d/dx [x d/dy (x + y)] = 1
    for outer in (ds.grad, lambda f: lambda x: ds.jvp(f, (x,), (1.0,))[1]):
        for inner in (ds.grad, lambda f: lambda x: ds.jvp(f, (x,), (1.0,))[1]):
            assert outer(lambda x, inner=inner: x * inner(lambda y: x + y)(1.0))(2.0) == 1.0

    def forward(g):
        return lambda x: ds.jvp(g, (x,), (1.0,))[1]

    f = np.sin
    for n, want in enumerate([np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin]):
        f = ds.grad(f) if n % 2 else forward(f)
        assert f(0.4) == pytest.approx(want(0.4), rel=1e-13)


def test_python_control_flow_runs():
    def f(x):
        total = 0.0
        while total < 10:
            total = total + x * x
        return total if x > 0 else -total

    assert ds.grad(f)(2.0) == pytest.approx(12.0)
    assert ds.grad(f)(-2.0) == pytest.approx(12.0)


def test_a_captured_buffer_reused_by_the_user_does_not_change_the_derivative():
    def f(x):
        buffer, total = np.ones(3), 0.0
        for i in range(3):
            buffer[:] = i
            total = total + np.sum(x * buffer)
        return total

    np.testing.assert_array_equal(ds.grad(f)(X), [3.0, 3.0, 3.0])
    outside = np.zeros(3)

    def g(x):
        total = 0.0
        for i in range(3):
            outside[:] = i
            total = total + np.sum(x * outside)
        return total

    np.testing.assert_array_equal(ds.grad(g)(X), [3.0, 3.0, 3.0])


def test_inputs_may_be_overwritten_before_the_pullback():
    x = X.copy()
    _, pullback = ds.vjp(lambda x: x * x, x)
    x[:] = 0
    np.testing.assert_allclose(pullback(np.ones(3))[0], 2 * X)


def test_a_constant_has_a_zero_gradient():
    assert ds.grad(lambda x: 3.0)(1.0) == 0
    value, gradient = ds.value_and_grad(lambda x: 2.5)(X)
    assert value == 2.5
    np.testing.assert_array_equal(gradient, np.zeros(3))
    assert ds.hessian(lambda x: 3.0)(1.0) == 0
    assert ds.jvp(lambda x: 3.0, (1.0,), (1.0,)) == (3.0, 0.0)


def test_stop_gradient():
    assert ds.grad(lambda x: x * ds.stop_gradient(x))(3.0) == 3.0
    assert ds.stop_gradient({"a": 1.5})["a"] == 1.5


def test_make_graph_prints_and_verifies():
    graph = ds.make_graph(lambda x: np.sum(np.sin(x) * 2.0))(X)
    assert str(graph.verify()) == ("graph(a: float64[3]):\n  b: float64[3] = sin a\n  c: float64[3] = mul b 2.0\n"
                                   "  d: float64[] = reduce_sum[axes=(0,)] c\n  return d")


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: ds.grad(energy)(3), InputTypeError, "argument 0 of energy is an int;.*write 1.0 instead of 1"),
    (lambda: ds.grad(energy)(np.arange(3)), InputTypeError, "an array of dtype int64"),
    (lambda: ds.grad(energy)("x"), InputTypeError, "is a str"),
    (lambda: ds.grad(np.sin)(X), InputError, r"returned a value of shape \(3,\)"),
    (lambda: ds.grad(energy, 1)(X), InputError, "argnums=1, but energy was called with 1"),
    (lambda: ds.jvp(energy, (X,), (X[:2],)), InputError, r"tangent of shape \(2,\) for a primal of shape \(3,\)"),
    (lambda: ds.jvp(energy, X, X), InputTypeError, "primals and tangents are tuples"),
    (lambda: ds.vjp(np.sin, X)[1](X[:2]), InputError, "cotangent of shape"),
    (lambda: ds.grad(lambda x: (x, x))(1.0), InputError, "returned a container"),
])
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_what_would_drop_a_derivative_is_refused_with_the_line():
    outside = np.zeros(3)

    def store(x):
        outside[0] = x[0]
        return np.sum(x)

    for f in (store, lambda x: cmath.sin(x[0]), lambda x: complex(x[0]), lambda x: x[0].item()):
        with pytest.raises((DerivativeLost, ValueError)) as caught:
            ds.grad(f)(X)
        chain = [str(caught.value), str(caught.value.__cause__)]
        assert any("test_api.py" in text for text in chain)


def test_conversion_inside_the_function_keeps_the_derivative():
    np.testing.assert_array_equal(ds.grad(lambda x: np.sum(np.array(x, dtype=float) ** 2))(X), 2 * X)


def test_writing_to_an_input_is_refused():
    def f(x):
        x[0] = 1.0
        return np.sum(x)

    with pytest.raises(MutationError, match="Write into a copy"):
        ds.grad(f)(X)


def test_an_escaped_value_is_recognised():
    kept = []
    ds.grad(lambda x: kept.append(x) or np.sum(x))(X)
    with pytest.raises(DiffsimError, match="after grad had finished"):
        np.sin(kept[0])


def test_a_branch_in_make_graph_names_the_line():
    with pytest.raises(ConcretizationError, match=r"test_api\.py:\d+.*np\.where"):
        ds.make_graph(lambda x: x if x > 0 else -x)(1.0)


@pytest.mark.parametrize(("call", "verb"), [
    (lambda: ds.hvp(np.sum, (np.ones(2, int),), (np.ones(2),)), "hvp"),
    (lambda: ds.hvp(np.sum, (np.ones(2),), (np.ones(3),)), "hvp"),
    (lambda: ds.hvp(lambda x: x, (np.ones(2),), (np.ones(2),)), "hvp"),
    (lambda: ds.hvp(np.sum, np.ones(2), (np.ones(2),)), "hvp"),
    (lambda: ds.hessian(lambda x: x)(np.ones(2)), "hessian"),
    (lambda: ds.hessian(np.sum)(np.ones(2, int)), "hessian"),
    (lambda: ds.gnvp(lambda x: x, (np.ones(2),), (np.ones(2),), loss=lambda y: y), "gnvp"),
])
def test_an_error_names_the_verb_that_was_called(call, verb):
    with pytest.raises((ds.errors.InputError, ds.errors.InputTypeError), match=rf"^{verb}: "):
        call()

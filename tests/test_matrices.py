"""Whole matrices of derivatives, products with them, reuse of a linearisation: against one another, differences and formulas."""

import warnings
from collections import namedtuple

import numpy as np
import pytest

import diffsim as ds
from diffsim.api import matrices
from diffsim.errors import InputError, InputTypeError
from diffsim.transforms import batch

A = np.random.default_rng(0).normal(size=(4, 3))
X = np.array([0.3, -0.7, 1.1])
Pair = namedtuple("Pair", "a b")


def f(x):
    return np.tanh(A @ x) * np.sum(x**2)


def f_jacobian(x):
    t = np.tanh(A @ x)
    return (1 - t**2)[:, None] * A * np.sum(x**2) + 2 * np.outer(t, x)


def loss(x):
    return np.sum(f(x) ** 2)


JACOBIANS = (ds.jacfwd, ds.jacrev, ds.jacobian)


def differences(g, x, h=1e-6):
    return np.stack([(g(x + h * e) - g(x - h * e)) / (2 * h) for e in np.eye(x.size).reshape(-1, *x.shape)], -1)


@pytest.mark.parametrize("jacobian", JACOBIANS)
@pytest.mark.parametrize("chunk_size", [None, 1, 2, 3, 100])
def test_a_jacobian_is_the_matrix_of_the_formula(jacobian, chunk_size):
    got = jacobian(f, chunk_size=chunk_size)(X)
    np.testing.assert_allclose(got, f_jacobian(X), rtol=1e-13)
    assert got.flags.owndata
    assert got.flags.writeable


@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_jacobians_of_containers(jacobian):
    def g(p, c, q):
        return {"u": p["m"] @ q.a * c, "v": [q.b * np.sum(p["m"]), c * 2.0], "w": np.zeros((2, 2))}

    p, q = {"m": np.arange(6.0).reshape(2, 3)}, Pair(X, 2.0)
    for chunk_size in (None, 4):
        at_p, at_q = jacobian(g, (0, -1), chunk_size=chunk_size)(p, 1.5, q)["u"]
        np.testing.assert_allclose(at_p["m"], 1.5 * np.einsum("ij,k->ijk", np.eye(2), X))
        np.testing.assert_allclose(at_q.a, 1.5 * p["m"])
        np.testing.assert_allclose(at_q.b, [0.0, 0.0])
        whole = jacobian(g, -1, chunk_size=chunk_size)(p, 1.5, q)
        assert whole["v"][0].b == 15.0
        assert whole["v"][1] == Pair(pytest.approx(np.zeros(3)), 0.0)
        assert whole["w"].a.shape == (2, 2, 3)
        assert not whole["w"].a.any()


@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_shapes_dtypes_and_nothing(jacobian):
    single = jacobian(lambda x: x[:2] * x[0])(X.astype(np.float32))
    assert single.dtype == np.float32
    assert jacobian(lambda x: x**2)(3.0) == 6.0
    assert jacobian(lambda x: np.outer(x, x))(X).shape == (3, 3, 3)
    assert jacobian(lambda x: x[:0])(X).shape == (0, 3)
    assert jacobian(lambda x: np.sum(x) * np.ones(2))(np.zeros(0)).shape == (2, 0)
    np.testing.assert_array_equal(jacobian(lambda x: np.ones(2))(X), np.zeros((2, 3)))
    np.testing.assert_array_equal(jacobian(lambda x: x)(X), np.eye(3))


def test_only_so_many_unit_vectors_are_taken_at_a_time(monkeypatch):
    sizes = []

    def counted(run, n, *args):
        sizes.append(n)
        return batch(run, n, *args)
    monkeypatch.setattr(matrices, "batch", counted)
    np.testing.assert_allclose(ds.jacrev(f, chunk_size=3)(X), f_jacobian(X))
    np.testing.assert_allclose(ds.jacfwd(f, chunk_size=2)(X), f_jacobian(X))
    assert sizes == [3, 1, 2, 1]
    sizes.clear()
    monkeypatch.setattr(matrices, "BATCH_BYTES", 1)
    ds.jacfwd(f)(X)
    assert sizes == [1, 1, 1]
    sizes.clear()
    monkeypatch.undo()
    monkeypatch.setattr(matrices, "batch", counted)
    ds.jacobian(lambda x: np.sin(x) * x[::-1])(np.ones(300))            # a value of 300 numbers: 2.4 kB for each
    assert sum(sizes) == 300
    assert max(sizes) == matrices.CACHE_BYTES // 2400


def test_one_linearisation_serves_all_columns():
    calls = []

    def g(x):
        calls.append(1)
        return np.sin(x) * x
    for jacobian in JACOBIANS:
        jacobian(g)(X)
    ds.hessian(lambda x: np.sum(g(x)))(X)
    assert len(calls) == 4


def test_hessians_agree_with_each_other_and_with_differences():
    h = ds.hessian(loss)(X)
    np.testing.assert_allclose(h, differences(ds.grad(loss), X), rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(h, h.T, rtol=1e-12)
    for outer in JACOBIANS:
        for inner in JACOBIANS:
            np.testing.assert_allclose(outer(inner(loss))(X), h, rtol=1e-11)
    np.testing.assert_allclose(ds.hessian(loss, chunk_size=2)(X), h, rtol=1e-13)
    np.testing.assert_allclose(ds.jacfwd(ds.hessian(loss))(X), ds.jacrev(ds.jacfwd(ds.jacrev(loss)))(X), rtol=1e-10)


def test_hessians_of_containers():
    def g(p, x):
        return p["a"] ** 2 * np.sum(x**3) + p["b"] * x[0]
    p = {"a": 2.0, "b": 3.0}
    h = ds.hessian(g, (0, 1))(p, X)
    assert h[0]["a"][0] == {"a": 2 * np.sum(X**3), "b": 0.0}
    np.testing.assert_allclose(h[0]["a"][1], 2 * 2.0 * 3 * X**2)
    np.testing.assert_allclose(h[1][0]["b"], [1.0, 0.0, 0.0])
    np.testing.assert_allclose(h[1][1], np.diag(4.0 * 6 * X))
    np.testing.assert_allclose(ds.hessian(g, -1)(p, X), h[1][1])


# ---------------------------------------------------------------- options every verb shares
VERBS = {name: getattr(ds, name) for name in ("grad", "value_and_grad", "jacfwd", "jacrev", "jacobian", "hessian")}


@pytest.mark.parametrize("verb", VERBS)
def test_argument_numbers_are_checked(verb):
    make = VERBS[verb]

    def g(x, y):
        return np.sum(x**2 * y)
    parts = [make(g, i)(X, 2.0) for i in (0, 1, -1, (1,), (-2, -1), np.int64(0))]
    if verb == "value_and_grad":
        parts = [part for _, part in parts]
    np.testing.assert_array_equal(parts[0], parts[5])
    np.testing.assert_array_equal(parts[1], parts[2])
    assert len(parts[3]) == 1
    assert len(parts[4]) == 2
    for wrong in (2, -3, (0, 2)):
        with pytest.raises(InputError, match="called with 2 positional"):
            make(g, wrong)(X, 2.0)
    with pytest.raises(InputError, match="twice"):
        make(g, (0, -2))(X, 2.0)
    with pytest.raises(InputTypeError, match="argnums"):
        make(g, "x")(X, 2.0)
    with pytest.raises(TypeError, match="argument 1"):
        make(g, 1)(X, 2)


@pytest.mark.parametrize("verb", VERBS)
def test_auxiliary_results_are_handed_out(verb):
    make = VERBS[verb]

    def g(x):
        return np.sum(x**3), {"sines": np.sin(x), "text": "as it is", "count": 3}
    got = make(g, has_aux=True)(X)
    plain = make(lambda x: g(x)[0])(X)
    if verb == "value_and_grad":
        (value, aux), got = got
        assert value == plain[0]
        plain = plain[1]
    else:
        got, aux = got
    np.testing.assert_array_equal(got, plain)
    np.testing.assert_array_equal(aux["sines"], np.sin(X))
    assert type(aux["sines"]) is np.ndarray
    assert (aux["text"], aux["count"]) == ("as it is", 3)
    with pytest.raises(InputTypeError, match="must return a pair"):
        make(lambda x: np.sum(x), has_aux=True)(X)


def test_auxiliary_results_of_the_verbs_along_directions():
    def g(x):
        return f(x), {"sines": np.sin(x)}
    y, y_dot, aux = ds.jvp(g, (X,), (X,), has_aux=True)
    z, f_jvp, more = ds.linearize(g, X, has_aux=True)
    w, pullback, most = ds.vjp(g, X, has_aux=True)
    for part in (aux, more, most):
        np.testing.assert_array_equal(part["sines"], np.sin(X))
    for value in (y, z, w):
        np.testing.assert_array_equal(value, f(X))
    np.testing.assert_allclose(y_dot, f_jacobian(X) @ X)
    np.testing.assert_allclose(f_jvp(X), y_dot)
    np.testing.assert_allclose(pullback(y)[0], f_jacobian(X).T @ y)
    outer = ds.vmap(lambda v: ds.jvp(g, (X,), (v,), has_aux=True))(np.eye(3))
    np.testing.assert_allclose(outer[1].T, f_jacobian(X))
    assert outer[2]["sines"].shape == (3, 3)


def test_bad_options_are_refused():
    for jacobian in (*JACOBIANS, ds.hessian):
        for wrong in (0, -1, 1.5, True, "all"):
            with pytest.raises(InputError, match="chunk_size"):
                jacobian(loss, chunk_size=wrong)
    with pytest.raises(InputTypeError, match="has_aux=True"):
        ds.jacobian(lambda x: (x, 3))(X)
    with pytest.raises(InputTypeError, match="returned bool"):
        ds.jacfwd(lambda x: x > 0)(X)
    with pytest.raises(InputTypeError, match="argument 0"):
        ds.jacrev(f)(np.arange(3))


# ---------------------------------------------------------------- complex numbers
Z = np.array([0.3 + 1j, -0.5 + 0.2j])
C = np.array([[1 + 2j, 0.5], [1j, -1.0], [0.3, 2j]])


def g(z):
    return np.sin(C @ z) * z[0]


G = np.cos(C @ Z)[:, None] * C * Z[0] + np.outer(np.sin(C @ Z), [1, 0])


@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_holomorphic_jacobians(jacobian):
    np.testing.assert_allclose(jacobian(g, holomorphic=True)(Z), G, rtol=1e-13)
    with pytest.raises(InputTypeError, match="holomorphic=True if"):
        jacobian(g)(Z)
    with pytest.raises(InputTypeError, match="argument of dtype float64"):
        jacobian(g, holomorphic=True)(Z.real)
    with pytest.raises(InputTypeError, match="a value of dtype float64"):
        jacobian(np.abs, holomorphic=True)(Z)


def test_holomorphic_gradients_and_hessians():
    def h(z):
        return np.sum(z**3) * z[1]
    np.testing.assert_allclose(ds.grad(h, holomorphic=True)(Z), 3 * Z**2 * Z[1] + np.array([0, np.sum(Z**3)]), rtol=1e-13)
    wanted = np.diag(6 * Z * Z[1]) + np.outer([0, 1], 3 * Z**2) + np.outer(3 * Z**2, [0, 1])
    np.testing.assert_allclose(ds.hessian(h, holomorphic=True)(Z), wanted, rtol=1e-12)
    with pytest.raises(InputTypeError, match="say holomorphic=True"):
        ds.grad(h)(Z)
    with pytest.raises(InputTypeError, match="holomorphic=True is for"):
        ds.grad(lambda z: np.abs(z), holomorphic=True)(1j)


def test_jacobians_between_real_and_complex_numbers():
    def to_complex(x):
        return np.exp(1j * x) * x[0]
    wanted = 1j * np.diag(np.exp(1j * X) * X[0]) + np.outer(np.exp(1j * X), [1, 0, 0])
    for jacobian in (ds.jacfwd, ds.jacobian):
        np.testing.assert_allclose(jacobian(to_complex)(X), wanted, rtol=1e-13)
    with pytest.raises(InputTypeError, match="jacfwd of real arguments"):
        ds.jacrev(to_complex)(X)

    def to_real(z):
        return np.abs(z) ** 2 + np.real(z[0])
    rows = np.stack([ds.grad(lambda z, i=i: to_real(z)[i])(Z) for i in range(2)])
    for jacobian in (ds.jacrev, ds.jacobian):
        np.testing.assert_allclose(jacobian(to_real)(Z), rows, rtol=1e-13)
    with pytest.raises(InputTypeError, match="jacrev of a real value"):
        ds.jacfwd(to_real)(Z)


# ---------------------------------------------------------------- products, reuse, transposes
def test_gauss_newton_products():
    v, j = np.array([0.2, 1.0, -0.4]), f_jacobian(X)
    np.testing.assert_allclose(ds.gnvp(f, (X,), (v,)), j.T @ (j @ v), rtol=1e-12)
    hess = ds.hessian(lambda y: np.sum(np.cosh(y)))(f(X))
    got = ds.gnvp(f, (X,), (v,), lambda y: np.sum(np.cosh(y)))
    np.testing.assert_allclose(got, j.T @ (hess @ (j @ v)), rtol=1e-12)
    linear = ds.gnvp(lambda x: A @ x, (X,), (v,), lambda y: np.sum(y**4))              # then it is the Hessian's own
    np.testing.assert_allclose(linear, ds.hvp(lambda x: np.sum((A @ x) ** 4), (X,), (v,)), rtol=1e-12)
    a, b = ds.gnvp(lambda x, p: {"u": f(x) * p["k"], "w": p["k"]}, (X, {"k": 2.0}), (v, {"k": 1.0}))
    full = np.vstack([np.column_stack([2 * j, f(X)]), [0, 0, 0, 1]])
    np.testing.assert_allclose([*a, b["k"]], full.T @ full @ [*v, 1.0], rtol=1e-12)
    table = ds.vmap(lambda v: ds.gnvp(f, (X,), (v,)))(np.eye(3))
    np.testing.assert_allclose(table, j.T @ j, rtol=1e-12)


def test_a_linearisation_is_used_again_in_batches_programs_and_derivatives():
    y, f_jvp = ds.linearize(f, X)
    j = f_jacobian(X)
    for _ in range(2):
        np.testing.assert_allclose(f_jvp(X), j @ X)
    np.testing.assert_allclose(ds.vmap(f_jvp, out_axes=1)(np.eye(3)), j)
    np.testing.assert_allclose(ds.jit(f_jvp)(X), j @ X)
    np.testing.assert_allclose(ds.jacrev(f_jvp)(X), j)
    np.testing.assert_allclose(ds.linear_transpose(f_jvp, X)(y)[0], j.T @ y)
    second = ds.jacfwd(lambda x: ds.linearize(f, x)[1](X))(X)                           # in the point as well
    np.testing.assert_allclose(second, differences(lambda x: f_jacobian(x) @ X, X), rtol=1e-7, atol=1e-8)
    pullback = ds.vjp(f, X)[1]
    np.testing.assert_allclose(ds.vmap(pullback)(np.eye(4))[0], j)
    np.testing.assert_allclose(ds.jacfwd(pullback)(y)[0], j.T)


def test_the_transpose_of_a_linear_function():
    def linear(x, p):
        y = np.zeros(4)
        y[1:] = p["s"] * 2.0 + x[::-1]
        return A @ x, y
    back = ds.linear_transpose(linear, X, {"s": 1.0})
    w = np.arange(4.0), np.arange(4.0) ** 2
    x_bar, p_bar = back(w)
    np.testing.assert_allclose(x_bar, A.T @ w[0] + w[1][:0:-1])
    assert p_bar == {"s": 2.0 * np.sum(w[1][1:])}
    np.testing.assert_allclose(ds.vmap(ds.linear_transpose(lambda x: A @ x, X))(np.eye(4))[0], A)
    np.testing.assert_allclose(ds.linear_transpose(lambda z: C @ z, Z)(np.ones(3, complex))[0], C.sum(0))
    np.testing.assert_allclose(ds.grad(lambda k: ds.linear_transpose(lambda x: k * x, 1.0)(3.0)[0])(2.0), 3.0)
    graph = ds.make_graph(lambda k: ds.linear_transpose(lambda x: k * x, 1.0)(3.0)[0])(2.0)
    assert [e.prim.name for e in graph.eqns].count("mul")


@pytest.mark.parametrize("h", [lambda x: x**2, lambda x: x + 1.0, np.sin, np.abs, lambda x: np.where(x > 0, x, 2 * x)])
def test_what_is_not_linear_has_no_transpose(h):
    with warnings.catch_warnings(), pytest.raises(InputError, match="not linear"):
        ds.linear_transpose(h, X)


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::diffsim.errors.StrongZeroWarning")
@pytest.mark.parametrize(("f", "x", "wanted"), [
    (lambda x: 1.0 / x, [0.0, 1.0], [[-np.inf, 0.0], [0.0, -1.0]]),
    (lambda x: np.log(x), [0.0, 1.0], [[np.inf, 0.0], [0.0, 1.0]]),
    (lambda x: np.exp(x), [1000.0, 1.0], [[np.inf, 0.0], [0.0, np.e]]),
    (lambda x: np.sqrt(x), [0.0, 4.0], [[np.inf, 0.0], [0.0, 0.25]]),
    (lambda x: x**2, [np.inf, 1.0], [[np.inf, 0.0], [0.0, 2.0]]),
    (lambda x: np.sum(np.exp(x)) * x, [1000.0, 1.0], [[np.inf, 1000.0 * np.e], [np.inf, np.inf]]),
], ids=["1/x", "log", "exp", "sqrt", "square", "sum"])
def test_infinite_derivatives_stand_in_their_own_entries_forwards_and_backwards(f, x, wanted):
    for jacobian in (ds.jacfwd, ds.jacrev, ds.jacobian):
        for run in (jacobian(f), ds.jit(jacobian(f))):
            np.testing.assert_allclose(run(np.array(x)), wanted, rtol=1e-14)

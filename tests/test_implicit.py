"""Roots, fixed points and linear solves: values, derivatives in both modes and of any order, failures."""

import numpy as np
import pytest
from scipy import sparse

import diffsim as ds
from diffsim.control import implicit
from diffsim.errors import ConvergenceError, InputError, InputTypeError, SingularError
from diffsim.testing import check_grads

P = np.array([2.0, 0.5])


def circle(x, p):
    """x² + y² = p₀, y = p₁ x."""
    return np.array([x[0] ** 2 + x[1] ** 2 - p[0], x[1] - p[1] * x[0]])


def crossing(p):
    """Its solution with x > 0."""
    x = np.sqrt(p[0] / (1.0 + p[1] ** 2))
    return np.array([x, p[1] * x])


def by_root(p, **options):
    return ds.root(circle, np.array([1.0, 1.0]), args=(p,), **options)


METHODS = pytest.mark.parametrize("method", ["hybr", "newton", "lm", "krylov"])


# ---------------------------------------------------------------- roots
@METHODS
def test_a_root_and_its_derivatives(method):
    np.testing.assert_allclose(by_root(P, method=method), crossing(P), rtol=1e-14)
    np.testing.assert_allclose(ds.jacobian(lambda p: by_root(p, method=method))(P), ds.jacobian(crossing)(P), rtol=1e-12)


def test_derivatives_in_both_modes_to_any_order():
    def loss(solve):
        return lambda p: np.sum(solve(p) ** 3 * np.array([1.0, 2.0]))

    got, wanted = loss(by_root), loss(crossing)
    np.testing.assert_allclose(ds.grad(got)(P), ds.grad(wanted)(P), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(ds.jvp(got, (P,), (P,))[1], ds.jvp(wanted, (P,), (P,))[1], rtol=1e-13)
    np.testing.assert_allclose(ds.hessian(got)(P), ds.hessian(wanted)(P), rtol=1e-11, atol=1e-13)
    third, plain = (ds.jacobian(ds.hessian(f))(P) for f in (got, wanted))
    np.testing.assert_allclose(third, plain, rtol=1e-9, atol=1e-10)


def test_check_grads_passes(rng):
    check_grads(by_root, (P,), order=2, rng=rng)


def test_values_closed_over_are_differentiated():
    def f(p):
        scale = np.sum(p)
        return ds.root(lambda x: x**3 - scale * p[0], 1.0)

    exact = lambda p: np.cbrt((p[0] + p[1]) * p[0])  # noqa: E731
    np.testing.assert_allclose(f(P), exact(P), rtol=1e-15)
    np.testing.assert_allclose(ds.grad(f)(P), ds.grad(exact)(P), rtol=1e-13)
    np.testing.assert_allclose(ds.hessian(f)(P), ds.hessian(exact)(P), rtol=1e-12)
    rows = np.array([[2.0, 0.5], [1.0, 3.0]])
    np.testing.assert_allclose(ds.vmap(f)(rows), [exact(p) for p in rows], rtol=1e-14)
    np.testing.assert_allclose(ds.vmap(ds.grad(f))(rows), [ds.grad(exact)(p) for p in rows], rtol=1e-12)


def test_trees_and_choices_by_numbers():
    def f(x, p):
        if x["a"] > 0.0:                                   # Newton runs on numbers: Python may choose by them
            return {"a": x["a"] ** 2 - p, "b": [x["b"][0] - x["a"]]}
        return {"a": x["a"] - 1.0, "b": [x["b"][0]]}

    def run(p):
        x = ds.root(f, {"a": 1.0, "b": [np.zeros(2)]}, args=(p,))
        return x["a"] + np.sum(x["b"][0])

    assert run(4.0) == pytest.approx(6.0)
    assert ds.grad(run)(4.0) == pytest.approx(0.75)

    def closing(p):
        return ds.root(lambda x: x**2 - p if x > 0.0 else x - 1.0, 1.0)

    with pytest.raises(InputError, match="pass that value in args"):
        ds.grad(closing)(4.0)


def test_a_compiled_program_calls_the_search_back():
    f = ds.jit(ds.jacobian(by_root))
    np.testing.assert_allclose(f(P), ds.jacobian(crossing)(P), rtol=1e-12)
    assert f.stats["equations"] > 1
    np.testing.assert_allclose(ds.grad(ds.jit(lambda p: np.sum(by_root(p))))(P), ds.grad(lambda p: np.sum(crossing(p)))(P), rtol=1e-12)


def test_derivatives_reuse_newtons_last_factors(monkeypatch):
    made = []

    def counted(self, matrix):
        made.append(matrix)
        return factorised(self, matrix)

    factorised = implicit.Operator._factorised
    monkeypatch.setattr(implicit.Operator, "_factorised", counted)
    by_root(P)
    alone = len(made)
    made.clear()
    _, pullback = ds.vjp(by_root, P)
    assert len(made) == alone
    pullback(np.ones(2))
    pullback(np.array([0.0, 1.0]))
    assert len(made) == alone
    made.clear()
    ds.jacobian(by_root)(P)
    assert len(made) == alone


def test_a_large_system_is_solved_without_matrices():
    """-u'' + u³ = p: Newton and its derivatives by GMRES, and the same by factorisation."""
    n = 40
    h = 1.0 / (n + 1)

    def residual(u, p):
        left, right = np.concatenate([np.zeros(1), u[:-1]]), np.concatenate([u[1:], np.zeros(1)])
        return (2.0 * u - left - right) / h**2 + u**3 - p

    def total(p, solver):
        return np.sum(ds.root(residual, np.zeros(n), args=(p,), method="newton", linear_solver=solver)) * h

    p = 10.0 * np.sin(np.linspace(0.0, 3.0, n))
    np.testing.assert_allclose(ds.grad(lambda p: total(p, "iterative"))(p), ds.grad(lambda p: total(p, "dense"))(p), rtol=1e-8)
    many = implicit.Operator("a", None, [ds.jvp(lambda x: x, (np.zeros(600),), (np.zeros(600),))[0]])
    assert many.iterative
    many.method = "dense"
    assert not many.iterative


# ---------------------------------------------------------------- failures
def test_no_root_no_gradient():
    for method in ("newton", "hybr"):
        with pytest.raises(ConvergenceError, match=r"test_implicit\.py:\d+") as caught:
            ds.root(lambda x: x**2 + 1.0, 1.3, method=method)
        assert isinstance(caught.value, ArithmeticError)
        assert caught.value.residual > 0.5
        with pytest.raises(ConvergenceError):
            ds.grad(lambda p, method=method: ds.root(lambda x: x**2 + p, 1.3, method=method))(1.0)


def test_a_singular_jacobian_is_named():
    def f(x, p):
        return np.array([x[0] + x[1] - p, 2.0 * (x[0] + x[1] - p)])

    with pytest.raises(SingularError, match=r"Jacobian of root of f .*test_implicit\.py.*singular"):
        ds.grad(lambda p: np.sum(ds.root(f, np.full(2, 0.5), args=(p,), method="newton")))(1.0)


@pytest.mark.parametrize(("call", "error", "why"), [
    (lambda: ds.root(3.0, 1.0), InputTypeError, "function"),
    (lambda: ds.root(lambda x: x, 1.0, method="bisect"), InputError, "no method"),
    (lambda: ds.root(lambda x: x[:1], np.ones(2)), InputError, "what x is like"),
    (lambda: ds.root(lambda x: (x, x), np.ones(2)), InputError, "what x is like"),
    (lambda: ds.root(lambda x: x, 1j), InputTypeError, "complex"),
    (lambda: ds.root(lambda x: x, "one"), InputTypeError, "no numbers"),
    (lambda: ds.fixed_point(lambda x: x, 1.0, method="secant"), InputError, "anderson"),
])
def test_wrong_calls_are_refused(call, error, why):
    with pytest.raises(error, match=why):
        call()


# ---------------------------------------------------------------- fixed points
@pytest.mark.parametrize("method", ["anderson", "iteration"])
def test_a_fixed_point_and_its_derivatives(method):
    """Kepler's equation E = M + e sin E: dE/dM = 1 / (1 - e cos E)."""
    def anomaly(m, e):
        return ds.fixed_point(lambda x, m: m + e * np.sin(x), m, args=(m,), method=method)

    e, m = 0.3, np.array([0.4, 2.0])
    x = anomaly(m, e)
    np.testing.assert_allclose(x - e * np.sin(x), m, rtol=1e-11)
    np.testing.assert_allclose(ds.grad(lambda m: np.sum(anomaly(m, e)))(m), 1.0 / (1.0 - e * np.cos(x)), rtol=1e-11)
    np.testing.assert_allclose(ds.grad(lambda e: np.sum(anomaly(m, e)))(e), np.sum(np.sin(x) / (1.0 - e * np.cos(x))), rtol=1e-11)
    second = ds.hessian(lambda m: np.sum(anomaly(m, e)))(m)
    np.testing.assert_allclose(np.diag(second), -e * np.sin(x) / (1.0 - e * np.cos(x)) ** 3, rtol=1e-10)


def test_an_iteration_that_does_not_converge_raises():
    with pytest.raises(ConvergenceError, match=r"test_implicit\.py:\d+.*did not converge"):
        ds.fixed_point(lambda x: 2.0 * x + 1.0, 1.0, method="iteration")
    assert ds.fixed_point(lambda x: 2.0 * x + 1.0, 1.0) == pytest.approx(-1.0)


def test_a_gradient_through_an_inner_minimum():
    """Ridge regression: the penalty's gradient through the argmin, against the closed form."""
    rng = np.random.default_rng(3)
    a, y, a_new, y_new = rng.normal(size=(8, 3)), rng.normal(size=8), rng.normal(size=(5, 3)), rng.normal(size=5)

    def inner(w, log_penalty):
        return np.sum((a @ w - y) ** 2) + np.exp(log_penalty) * np.sum(w**2)

    def outer(log_penalty):
        w = ds.root(ds.grad(inner), np.zeros(3), args=(log_penalty,), method="newton")
        return np.sum((a_new @ w - y_new) ** 2)

    def closed(log_penalty):
        w = np.linalg.solve(a.T @ a + np.exp(log_penalty) * np.eye(3), a.T @ y)
        return np.sum((a_new @ w - y_new) ** 2)

    assert outer(0.3) == pytest.approx(closed(0.3), rel=1e-13)
    assert ds.grad(outer)(0.3) == pytest.approx(ds.grad(closed)(0.3), rel=1e-11)
    assert ds.grad(ds.grad(outer))(0.3) == pytest.approx(ds.grad(ds.grad(closed))(0.3), rel=1e-10)


# ---------------------------------------------------------------- linear systems
A = np.array([[4.0, 1.0, 0.0], [0.5, 3.0, -1.0], [0.0, 0.2, 2.0]])
B = np.array([1.0, 2.0, -0.5])
SPD = A @ A.T
ROWS, COLUMNS = np.nonzero(A)


def from_data(data):
    """A from its numbers, densely."""
    out = np.zeros((3, 3))
    out[ROWS, COLUMNS] = data
    return out


def reference(data, b):
    return np.sum(np.linalg.solve(from_data(data), b) ** 2)


def solvers():
    data = A[ROWS, COLUMNS]
    indptr = sparse.csr_array(A).indptr
    yield "array", lambda d, b: ds.linear_solve(from_data(d), b), data
    yield "coo", lambda d, b: ds.linear_solve((d, (ROWS, COLUMNS)), b), data
    yield "csr", lambda d, b: ds.linear_solve((d, COLUMNS, indptr), b), data
    for method in ("dense", "iterative"):
        yield method, lambda d, b, m=method: ds.linear_solve(lambda v: from_data(d) @ v, b, method=m), data


@pytest.mark.parametrize(("solver", "data"), [(s, d) for _, s, d in solvers()], ids=[n for n, *_ in solvers()])
def test_linear_systems_in_every_form(solver, data):
    def loss(d, b):
        return np.sum(solver(d, b) ** 2)

    np.testing.assert_allclose(solver(data, B), np.linalg.solve(A, B), rtol=1e-10)
    for got, wanted in zip(ds.grad(loss, (0, 1))(data, B), ds.grad(reference, (0, 1))(data, B), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(ds.jvp(loss, (data, B), (data, B))[1], ds.jvp(reference, (data, B), (data, B))[1], rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(ds.hessian(loss)(data, B), ds.hessian(reference)(data, B), rtol=1e-7, atol=1e-9)


def test_a_sparse_constant_and_several_right_hand_sides():
    b = np.stack([B, 2.0 * B, B**2], axis=1)
    for a in (sparse.csc_array(A), sparse.coo_matrix(A)):
        np.testing.assert_allclose(ds.linear_solve(a, b), np.linalg.solve(A, b), rtol=1e-13)
        np.testing.assert_allclose(ds.jacobian(lambda b, a=a: ds.linear_solve(a, b))(B), np.linalg.inv(A), rtol=1e-12, atol=1e-15)


def test_symmetric_and_positive_operators():
    for options in ({"symmetric": True, "method": "iterative"}, {"positive": True, "method": "iterative"}, {"positive": True}):
        x = ds.linear_solve(lambda v: SPD @ v, B, **options)
        np.testing.assert_allclose(x, np.linalg.solve(SPD, B), rtol=1e-9)
        got = ds.grad(lambda s, options=options: np.sum(ds.linear_solve(lambda v: s * (SPD @ v), B, **options)))(2.0)
        assert got == pytest.approx(-np.sum(np.linalg.solve(SPD, B)) / 4.0, rel=1e-8)
    np.testing.assert_allclose(ds.grad(lambda a: np.sum(ds.linear_solve(a @ a.T, B, positive=True)))(A),
                               ds.grad(lambda a: np.sum(np.linalg.solve(a @ a.T, B)))(A), rtol=1e-11)


def test_complex_systems():
    z = A + 1j * np.diag([1.0, -0.5, 0.3])
    for solve in (lambda s, b: ds.linear_solve(lambda v: s * (z @ v), b), lambda s, b: ds.linear_solve(sparse.csr_array(z), b / s),
                  lambda s, b: ds.linear_solve(s * z, b)):
        np.testing.assert_allclose(solve(1.0, B + 0j), np.linalg.solve(z, B), rtol=1e-13)
        got = ds.grad(lambda s, b, solve=solve: np.sum(np.abs(solve(s, b)) ** 2), (0, 1))(2.0, B + 0j)
        wanted = ds.grad(lambda s, b: np.sum(np.abs(np.linalg.solve(s * z, b)) ** 2), (0, 1))(2.0, B + 0j)
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_trees_of_unknowns():
    def operator(v):
        return {"a": 2.0 * v["a"] + v["b"], "b": 3.0 * v["b"]}
    x = ds.linear_solve(operator, {"a": np.ones(2), "b": np.full(2, 6.0)})
    np.testing.assert_allclose(x["a"], -0.5)
    np.testing.assert_allclose(x["b"], 2.0)


@pytest.mark.parametrize(("call", "error", "why"), [
    (lambda: ds.linear_solve(np.ones((2, 2)), np.ones(2)), SingularError, "singular"),
    (lambda: ds.linear_solve(lambda v: 0.0 * v, np.ones(2)), SingularError, "singular"),
    (lambda: ds.linear_solve(sparse.csr_array(np.ones((2, 2))), np.ones(2)), SingularError, "singular"),
    (lambda: ds.linear_solve(-np.eye(2), np.ones(2), positive=True), SingularError, "positive"),
    (lambda: ds.linear_solve(lambda v: 0.0 * v, np.ones(2), method="iterative"), (SingularError, ConvergenceError), "singular"),
    (lambda: ds.linear_solve(lambda v: v + 1.0, np.ones(2)), InputError, "not linear"),
    (lambda: ds.linear_solve(lambda v: v * v, np.ones(2)), InputError, "not linear"),
    (lambda: ds.linear_solve(np.ones((2, 3)), np.ones(2)), InputError, "square"),
    (lambda: ds.linear_solve(np.eye(2), 1.0), InputError, r"\(n,\)"),
    (lambda: ds.linear_solve((np.ones(2), (np.array([0]), np.array([0]))), np.ones(2)), InputError, "places"),
])
def test_what_cannot_be_solved_is_said(call, error, why):
    with pytest.raises(error, match=why):
        call()


@pytest.mark.parametrize("x0", [0.0, 1.0])
def test_a_singular_jacobian_away_from_a_root_is_no_solution(x0):
    with pytest.raises(ConvergenceError, match=r"test_implicit\.py"):
        ds.root(lambda x: x**2 + 1.0, x0)
    with pytest.raises(SingularError):
        ds.root(lambda x: (x - x0) ** 2, x0)


def test_an_integer_guess_is_refused_with_the_remedy():
    with pytest.raises(InputTypeError, match=r"write 1\.0"):
        ds.root(lambda x: x**2 - 4.0, 1)


@pytest.mark.parametrize(("f", "why"), [(lambda v: v * v, "it applies `mul` to its argument$"),
                                        (lambda v: 2.0 * v + 1.0, "it returns is not zero for a zero argument$")])
def test_a_function_that_is_not_linear_is_told_in_words_of_the_user(f, why):
    with pytest.raises(InputError, match=why):
        ds.linear_solve(f, np.ones(2))


@pytest.mark.parametrize("method", ["hybr", "newton"])
@pytest.mark.parametrize("f", [lambda x, a: (x - a) ** 2, lambda x, a: x**2 - (a - 1.0), lambda x, a: (x - a) ** 3,
                               lambda x, a: np.stack([x + a - 2.0, (x - 1.0) ** 2])[1]])
def test_a_multiple_root_is_announced(f, method):
    with pytest.warns(ds.errors.DegeneracyWarning, match="multiple"):
        ds.root(lambda x: f(x, 1.0), 0.5, method=method)


@pytest.mark.parametrize("method", ["hybr", "newton"])
def test_a_single_root_is_no_multiple_one(method):
    """However small it is beside the first guess, and however its equations are scaled."""
    for a in (4.0, 1e-18):
        assert ds.grad(lambda a: ds.root(lambda x: x**2 - a, 1.0, method=method))(a) == pytest.approx(0.5 / np.sqrt(a), rel=1e-6)
    scaled = lambda a: np.sum(ds.root(lambda x: np.array([1e-9 * (x[0] - a), x[1] ** 3 - 8 * a]), np.array([0.3, 0.9]), method=method))   # noqa: E731
    assert ds.grad(scaled)(1.0) == pytest.approx(1.0 + 2.0 / 3.0)
    assert ds.grad(lambda a: ds.root(lambda x: np.sin(x) - a, 0.3, method=method))(0.0) == pytest.approx(1.0)

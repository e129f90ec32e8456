"""Linear algebra: NumPy's values, exact derivatives, and honesty where there is none.

Golden values are closed forms (Giles, Collected matrix derivative results, 2008; Magnus & Neudecker, Matrix Differential Calculus, 2019).
"""

import warnings

import numpy as np
import pytest
from keeping import keeps

import diffsim as ds
from diffsim.errors import DegeneracyWarning, MissingRule
from diffsim.prims import linalg

SQUARE, TALL, WIDE, STACK = (3, 3), (4, 3), (3, 4), (2, 3, 3)
EYE = np.eye(3)
TURN = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 3.0]])


def spd(a):
    return a @ np.swapaxes(a, -1, -2) + np.diag([2.0, 4.0, 7.0])


def apart(a):
    """Tall or wide matrix with singular values far from each other."""
    return a + 4 * np.eye(*a.shape[-2:]) * np.arange(1, a.shape[-1] + 1)


#: name: (program, shapes of its operands, options of `keeps`)
PROGRAMS = {
    "solve": (lambda a, b: np.linalg.solve(a + 4 * EYE, b), [STACK, (3, 2)]),
    "inv": (lambda a: np.linalg.inv(a + 4 * EYE), [STACK]),
    "matrix_power": (lambda a: np.linalg.matrix_power(a, -3), [SQUARE], {"low": 0.0, "high": 9.0, "tol": 1e-4}),
    "multi_dot": (lambda a, b, c, d: np.linalg.multi_dot([a, b, c, d]), [(3,), WIDE, (4, 2), (2,)]),
    "multi_dot of matrices": (lambda a, b, c: np.linalg.multi_dot([a, b, c]), [(10, 2), (2, 8), (8, 3)]),
    "tensorsolve": (lambda a, b: np.linalg.tensorsolve(a + np.eye(6).reshape(2, 3, 6) * 9, b), [(2, 3, 6), (2, 3)]),
    "tensorsolve axes": (lambda a, b: np.linalg.tensorsolve(a + 9 * np.eye(6).reshape(2, 3, 6).transpose(2, 0, 1), b, (0,)),
                         [(6, 2, 3), (2, 3)]),
    "tensorinv": (lambda a: np.linalg.tensorinv(a + np.eye(6).reshape(2, 3, 6) * 9, 2), [(2, 3, 6)]),
    "pinv": (lambda a: [np.linalg.pinv(apart(a)), np.linalg.pinv(apart(a), rcond=1e-3), np.linalg.pinv(apart(a), rtol=None)], [TALL]),
    "pinv wide": (lambda a: np.linalg.pinv(apart(a)), [(2, 3, 4)]),
    "lstsq": (lambda a, b: [x for i, x in enumerate(np.linalg.lstsq(apart(a), b)) if i != 2], [TALL, (4, 2)]),
    "lstsq vector": (lambda a, b: np.linalg.lstsq(apart(a), b, rcond=None)[0], [TALL, (4,)]),
    "lstsq wide": (lambda a, b: np.linalg.lstsq(apart(a), b, rcond=-1)[0], [WIDE, (3,)]),
    "cholesky": (lambda a: np.linalg.cholesky(spd(a)), [STACK]),
    "cholesky upper": (lambda a: np.linalg.cholesky(spd(a), upper=True), [SQUARE]),
    "cholesky reads one triangle": (lambda a: np.linalg.cholesky(np.tril(spd(a)) + np.triu(a, 1)), [SQUARE]),
    "qr": (lambda a: tuple(np.linalg.qr(apart(a))), [TALL]),
    "qr wide": (lambda a: tuple(np.linalg.qr(apart(a))), [WIDE]),
    "qr complete wide": (lambda a: tuple(np.linalg.qr(apart(a), "complete")), [WIDE]),
    "qr r": (lambda a: np.linalg.qr(apart(a), "r"), [(2, 4, 3)]),
    "eigh": (lambda a: tuple(np.linalg.eigh(spd(a))), [STACK]),
    "eigh reads one triangle": (lambda a: np.linalg.eigh(np.triu(spd(a)) + np.tril(a, -1), "U").eigenvalues, [SQUARE]),
    "eigvalsh": (lambda a: np.linalg.eigvalsh(spd(a), UPLO="U"), [SQUARE]),
    "eig": (lambda a: tuple(np.linalg.eig(spd(a) * 2 + 0.1 * a)), [SQUARE], {"traceable": False}),
    "eigvals": (lambda a: np.sort(np.abs(np.linalg.eigvals(3 * TURN + 0.1 * a))), [SQUARE], {"traceable": False}),
    "svd": (lambda a: tuple(np.linalg.svd(apart(a), full_matrices=False)), [TALL]),
    "svd wide": (lambda a: tuple(np.linalg.svd(apart(a), False)), [(2, 3, 4)]),
    "svd square": (lambda a: tuple(np.linalg.svd(apart(a))), [SQUARE]),
    "svd values": (lambda a: [np.linalg.svd(apart(a), compute_uv=False), np.linalg.svdvals(apart(a))], [TALL]),
    "svd hermitian": (lambda a: tuple(np.linalg.svd(spd(a) - 5 * EYE, hermitian=True)), [SQUARE], {"traceable": False}),
    "svd hermitian values": (lambda a: np.linalg.svd(spd(a) - 5 * EYE, compute_uv=False, hermitian=True), [SQUARE], {"traceable": False}),
    "det": (lambda a: np.linalg.det(a), [STACK]),
    "slogdet": (lambda a: np.linalg.slogdet(apart(a))[1], [STACK]),
    "cond": (lambda a: [np.linalg.cond(a, p) for p in (None, 2, -2, 1, -1, "fro", "nuc", np.inf)], [SQUARE], {"tol": 1e-5}),
    "cond of tall matrices": (lambda a: np.linalg.cond(apart(a)), [(2, 4, 3)]),
    "matrix norms": (lambda a: [np.linalg.norm(a, p) for p in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)], [TALL]),
    "matrix norms of axes": (lambda a: [np.linalg.norm(a, p, axis=(2, 0), keepdims=True) for p in ("nuc", 2, -2, 1)], [(3, 2, 4)]),
    "vector norms": (lambda a: [np.linalg.norm(a, p, axis=0) for p in (None, 1, 2, 3, 0.5, -1, -2.5, np.inf, -np.inf, 0)], [TALL]),
    "matrix_norm nuc": (lambda a: np.linalg.matrix_norm(a, ord="nuc"), [(2, 4, 3)]),
    "vector_norm": (lambda a: [np.linalg.vector_norm(a, axis=(0, 2), ord=3), np.linalg.vector_norm(a, keepdims=True)], [(2, 4, 3)]),
    "matrix_rank": (lambda a: [a.sum(), np.linalg.matrix_rank(a) * a[0, 0]], [TALL]),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_has_numpys_value_and_its_derivative(name, rng):
    f, shapes, *options = PROGRAMS[name]
    keeps(f, shapes, rng, **(options[0] if options else {}))


@pytest.mark.parametrize("name", ["cholesky", "eigh", "svd", "qr", "pinv", "lstsq", "det", "slogdet", "inv", "matrix norms of axes"])
def test_second_derivatives(name, rng):
    f, shapes, *_ = PROGRAMS[name]
    ds.testing.check_grads(lambda *x: np.sum(np.stack([np.sum(np.sin(y)) for y in _parts(f(*x))])), tuple(
        rng.uniform(0.3, 2.0, s) for s in shapes), rng=rng, atol=1e-5, rtol=1e-5)


def _parts(y):
    return y if isinstance(y, (tuple, list)) else [y]


# ---------------------------------------------------------------- complex matrices
def hermitian(z):
    return z @ np.conj(z).T + np.diag([2.0, 4.0, 7.0])


def projector(z):
    w, v = np.linalg.eigh(hermitian(z))
    return v[:, :2] @ np.diag(np.sqrt(w[:2])) @ np.conj(v[:, :2]).T


def polar(z):
    u, _, vh = np.linalg.svd(z, full_matrices=False)
    return u @ vh


COMPLEX = {
    "solve": lambda z: np.linalg.solve(z + 4 * EYE, z[:, 0]),
    "inv": lambda z: np.linalg.inv(z + 4 * EYE),
    "det": lambda z: np.linalg.det(z),
    "slogdet": lambda z: np.stack([np.linalg.slogdet(z)[0], np.linalg.slogdet(z)[1] + 0j]),
    "cholesky": lambda z: np.linalg.cholesky(hermitian(z)),
    "qr": lambda z: np.linalg.qr(z)[0],
    "eigvalsh": lambda z: np.linalg.eigvalsh(hermitian(z)),
    "eigh up to phase": projector,
    "eigvals": lambda z: np.linalg.eigvals(z + np.diag([0.0, 3.0, 6.0])),
    "eig": lambda z: np.linalg.eig(z + np.diag([0.0, 3.0, 6.0]))[1],
    "svdvals": lambda z: np.linalg.svdvals(z[:, :2]),
    "svd up to phase": polar,
    "svd wide up to phase": lambda z: polar(z[:2]),
    "pinv": lambda z: np.linalg.pinv(z[:, :2]),
    "norms": lambda z: np.stack([np.linalg.norm(z, p) for p in ("fro", "nuc", 2, 1)]),
    "vdot": lambda z: np.vdot(z[0], z[1]) + np.vecdot(z[0], z[2]) + np.vecmat(z[0], z)[1],
}


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_matrices(name, rng):
    z = rng.uniform(-1, 1, (3, 3)) + 1j * rng.uniform(-1, 1, (3, 3)) + 2 * EYE
    f = COMPLEX[name]
    np.testing.assert_allclose(ds.jvp(f, (z,), (z,))[0], f(z), rtol=1e-13, atol=1e-13)

    def loss(z):
        y = f(z)
        return np.sum(np.real(y)) + np.sum(np.real(y * np.conj(y)))
    ds.testing.check_grads(lambda x: loss(x[0] + 1j * x[1]), (np.stack([z.real, z.imag]),), rng=rng, atol=1e-5, rtol=1e-5)


# ---------------------------------------------------------------- golden values
def test_the_gradient_of_solve_is_that_of_giles(rng):
    """A_bar = -A⁻ᵀ x_bar xᵀ, b_bar = A⁻ᵀ x_bar."""
    a, b, w = rng.normal(size=(3, 3)), rng.normal(size=3), rng.normal(size=3)
    _, pullback = ds.vjp(np.linalg.solve, a, b)
    a_bar, b_bar = pullback(w)
    np.testing.assert_allclose(b_bar, np.linalg.solve(a.T, w), rtol=1e-12)
    np.testing.assert_allclose(a_bar, -np.outer(np.linalg.solve(a.T, w), np.linalg.solve(a, b)), rtol=1e-11)


def test_a_matrix_is_factorised_once_for_value_tangents_and_cotangents(rng, monkeypatch):
    made = []
    of = linalg.Factors.of.__func__
    monkeypatch.setattr(linalg.Factors, "of", classmethod(lambda cls, a: made.append(1) or of(cls, a)))
    a, b = rng.normal(size=(5, 5)), rng.normal(size=5)
    jacobian = ds.jacobian(lambda b: np.linalg.solve(a, b))(b)
    np.testing.assert_allclose(jacobian, np.linalg.inv(a), rtol=1e-10)
    assert len(made) == 1


@pytest.mark.parametrize(("a", "adjugate"), [
    ([[1.0, 2.0], [2.0, 4.0]], [[4.0, -2.0], [-2.0, 1.0]]),
    ([[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]),
    ([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]], [[-3.0, 6.0, -3.0], [6.0, -12.0, 6.0], [-3.0, 6.0, -3.0]]),
    ([[5.0]], [[1.0]])])
def test_the_gradient_of_det_is_the_cofactors_also_of_a_singular_matrix(a, adjugate):
    np.testing.assert_allclose(ds.grad(np.linalg.det)(np.array(a)), np.transpose(adjugate), atol=1e-13)


def test_the_second_derivative_of_det_at_a_singular_matrix():
    """det is a polynomial: of a 2 by 2 matrix ad - bc."""
    h = ds.hessian(np.linalg.det)(np.array([[1.0, 2.0], [2.0, 4.0]])).reshape(4, 4)
    np.testing.assert_allclose(h, [[0, 0, 0, 1], [0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0]], atol=1e-14)
    rank_one = np.outer([1.0, 2.0, 3.0], [1.0, -1.0, 2.0])
    ds.testing.check_grads(np.linalg.det, (rank_one,), order=2, modes=("fwd",))


def test_eigenvalues_may_coincide():
    """Where they do the trace of a function of them still has its gradient."""
    a = np.diag([2.0, 2.0, 5.0])
    np.testing.assert_allclose(ds.grad(lambda a: np.sum(np.linalg.eigvalsh(a) ** 2))(a), 2 * a, atol=1e-14)
    np.testing.assert_allclose(ds.grad(lambda a: np.sum(np.linalg.svdvals(a)))(2 * EYE), EYE, atol=1e-14)
    np.testing.assert_allclose(ds.grad(lambda a: np.sum(np.abs(np.linalg.eigvals(a)) ** 2))(2 * EYE), 4 * EYE, atol=1e-14)


def _block_energy(a):
    """Depends on the space of the two equal eigenvalues only."""
    _, v = np.linalg.eigh(a)
    p = v[:, :2] @ v[:, :2].T
    return np.sum(p * np.arange(9.0).reshape(3, 3))


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_eigenvectors_of_equal_eigenvalues_warn_and_are_right_for_their_space(mode, rng):
    a, t = np.diag([2.0, 2.0, 5.0]), rng.normal(size=(3, 3))
    t = t + t.T
    wanted = (_block_energy(a + 1e-6 * t) - _block_energy(a - 1e-6 * t)) / 2e-6
    with pytest.warns(DegeneracyWarning, match="eigenvalues"):
        got = ds.jvp(_block_energy, (a,), (t,))[1] if mode == "forward" else np.sum(ds.grad(_block_energy)(a) * t)
    assert got == pytest.approx(wanted, rel=1e-7)


def test_a_polar_factor_is_right_where_singular_values_are_equal(rng):
    """U Vᴴ at the identity: its derivative is the skew part of the change."""
    t = rng.normal(size=(3, 3))
    with pytest.warns(DegeneracyWarning):
        got = ds.jvp(polar, (EYE,), (t,))[1]
    np.testing.assert_allclose(got, (t - t.T) / 2, atol=1e-13)


def test_vectors_that_complete_a_basis_are_right_for_their_space(rng):
    a = rng.normal(size=(5, 2))
    weights = rng.normal(size=(5, 5))

    def energy(factor):
        def f(a):
            u = factor(a)[0][:, 2:]
            return np.sum((u @ u.T) * weights)
        return f
    for factor in (np.linalg.svd, lambda a: np.linalg.qr(a, "complete")):
        f = energy(factor)
        t = rng.normal(size=a.shape)
        wanted = (f(a + 1e-6 * t) - f(a - 1e-6 * t)) / 2e-6
        with warnings.catch_warnings():
            warnings.simplefilter("error")                  # a function of the space: reverse mode can tell
            assert np.sum(ds.grad(f)(a) * t) == pytest.approx(wanted, rel=1e-7)
            ds.grad(lambda a: np.sum(factor(a)[0][:, :2] ** 3))(a)       # noqa: B023
        with pytest.warns(DegeneracyWarning, match="complete a basis"):
            assert ds.jvp(f, (a,), (t,))[1] == pytest.approx(wanted, rel=1e-7)
        with pytest.warns(DegeneracyWarning, match="complete a basis"):
            ds.grad(lambda a: np.sum(factor(a)[0][:, 3] ** 3))(a)        # noqa: B023


def test_singular_vectors_of_a_vanishing_singular_value_warn():
    a = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    with pytest.warns(DegeneracyWarning, match="zero"):
        ds.jvp(lambda a: np.linalg.svd(a, full_matrices=False)[0], (a,), (np.ones((3, 2)),))


def test_a_defective_matrix_has_no_derivative_of_its_eigenvalues():
    with pytest.raises(np.linalg.LinAlgError, match="defective"):
        ds.grad(lambda a: np.sum(np.abs(np.linalg.eigvals(a))))(np.array([[0.0, 1.0], [0.0, 0.0]]))


def test_a_pseudoinverse_of_deficient_rank_warns():
    a = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    with pytest.warns(DegeneracyWarning, match="rank"):
        got = ds.jvp(np.linalg.pinv, (a,), (a,))[1]         # scaling keeps the rank: (c A)⁺ = A⁺ / c
    np.testing.assert_allclose(got, -np.linalg.pinv(a), atol=1e-14)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ds.grad(lambda b: np.sum(np.linalg.lstsq(a, b)[0]))(np.ones(3)) == pytest.approx(np.full(3, 1 / 3))


def test_norms_at_zero_have_the_subgradient_zero():
    for order in (None, "fro", "nuc", 1, 2, np.inf):
        np.testing.assert_array_equal(ds.grad(lambda a: np.linalg.norm(a, order))(np.zeros((3, 2))), np.zeros((3, 2)))  # noqa: B023
    for order in (1, 2, 3, 1.5, 0.5):
        np.testing.assert_array_equal(ds.grad(lambda a: np.linalg.norm(a, order))(np.zeros(2)), np.zeros(2))            # noqa: B023
    got = ds.grad(lambda a: np.linalg.norm(a, 3))(np.array([0.0, 2.0]))
    np.testing.assert_allclose(got, [0.0, 1.0])


def test_cholesky_reads_one_triangle_and_its_cotangent_stands_there():
    a = np.array([[4.0, np.nan], [2.0, 3.0]])
    g = ds.grad(lambda a: np.sum(np.linalg.cholesky(a)))(a)
    np.testing.assert_array_equal(np.linalg.cholesky(a), ds.jvp(np.linalg.cholesky, (a,), (np.ones((2, 2)),))[0])
    assert g[0, 1] == 0
    full = np.array([[4.0, 2.0], [2.0, 3.0]])
    logdet = ds.grad(lambda a: 2 * np.sum(np.log(np.diag(np.linalg.cholesky(a)))))(full)
    np.testing.assert_allclose((logdet + logdet.T) / 2, np.linalg.inv(full), rtol=1e-13)


# ---------------------------------------------------------------- shapes, dtypes, errors
@pytest.mark.parametrize("f", [
    lambda a: np.linalg.solve(a, a[..., 0:1]), np.linalg.inv, np.linalg.det, lambda a: np.linalg.slogdet(a)[1], np.linalg.cholesky,
    lambda a: np.linalg.qr(a)[1], np.linalg.eigvalsh, lambda a: np.linalg.eigh(a)[1], np.linalg.svdvals, np.linalg.pinv,
    lambda a: np.abs(np.linalg.eigvals(a)), lambda a: np.linalg.norm(a, 2), lambda a: np.linalg.norm(a, "nuc"), np.linalg.cond,
    lambda a: np.linalg.norm(a[0], 0), lambda a: np.linalg.lstsq(a, a)[0]])
def test_single_precision_stays_single(f):
    a = np.array([[4.0, 1.0], [1.0, 3.0]], np.float32)
    assert f(a).dtype == np.float32
    y, y_dot = ds.jvp(f, (a,), (np.array([[0.0, 1.0], [1.0, 0.5]], np.float32),))
    assert y.dtype == y_dot.dtype == np.float32
    assert ds.grad(lambda a: np.sum(f(a)))(a).dtype == np.float32


@pytest.mark.parametrize("f", [
    np.linalg.inv, np.linalg.det, lambda a: np.linalg.slogdet(a)[1], np.linalg.cholesky, lambda a: np.linalg.qr(a)[0], np.linalg.eigvalsh,
    lambda a: np.linalg.eigh(a)[1], np.linalg.svdvals, np.linalg.pinv, lambda a: np.linalg.solve(a, np.zeros((*a.shape[:-1], 2))),
    lambda a: np.linalg.eig(a)[0]])
@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (0, 2, 2), (3, 1, 1), (2, 0, 0)])
def test_empty_and_single_matrices(f, shape):
    a = np.full(shape, 2.0) + (np.eye(2) if shape[-1] > 1 else 0)
    y, y_dot = ds.jvp(f, (a,), (np.ones(shape),))
    assert np.shape(y) == np.shape(y_dot) == np.shape(f(a))
    assert ds.grad(lambda a: np.sum(f(a)))(a).shape == shape


def test_what_numpy_refuses_is_refused():
    for f, error in ((lambda a: np.linalg.solve(a[:2], a[0]), np.linalg.LinAlgError), (np.linalg.inv, np.linalg.LinAlgError),
                     (lambda a: np.linalg.det(a[0]), np.linalg.LinAlgError), (lambda a: np.linalg.qr(a, "raw"), MissingRule),
                     (lambda a: np.linalg.norm(a, "bad"), ValueError), (lambda a: np.linalg.norm(a, 3), ValueError),
                     (lambda a: np.linalg.norm(a[None], 2), ValueError), (lambda a: np.linalg.norm(a, 2, axis=(0, 0)), ValueError),
                     (lambda a: np.linalg.eigh(a, "Q"), ValueError), (lambda a: np.linalg.multi_dot([a]), ValueError)):
        with pytest.raises(error):
            ds.jvp(f, (np.zeros((3, 3)),), (np.ones((3, 3)),))


def test_numpys_named_results():
    def f(a):
        assert np.linalg.eigh(a).eigenvectors.shape == (2, 2)
        assert np.linalg.svd(a).S.shape == np.linalg.eig(a).eigenvalues.shape == (2,)
        assert np.linalg.qr(a).R.shape == (2, 2)
        return np.linalg.slogdet(a).logabsdet * np.linalg.slogdet(a).sign
    np.testing.assert_allclose(ds.grad(f)(np.diag([1.0, 4.0])), np.diag([1.0, 0.25]))


def test_results_of_arrays_made_inside_can_be_written():
    def f(t):
        a = np.eye(2)
        a[0, 1] = t
        w, v = np.linalg.svd(a)[:2]
        w[0, 0] = 1.0
        return np.sum(w) + np.sum(v)
    ds.testing.check_grads(f, (0.7,), order=1)


def test_multi_dot_takes_the_cheapest_order():
    graph = ds.make_graph(lambda a, b, c: np.linalg.multi_dot([a, b, c]))(np.ones((2, 30)), np.ones((30, 40)), np.ones((40, 1)))
    assert [tuple(e.outputs[0].aval.shape) for e in graph.eqns] == [(30, 1), (2, 1)]


def test_a_compiled_program_factorises():
    f = ds.jit(lambda a: np.linalg.det(a) + np.linalg.norm(a, 2))
    a = np.array([[2.0, 1.0], [0.5, 3.0]])
    assert f(a) == pytest.approx(np.linalg.det(a) + np.linalg.norm(a, 2), rel=1e-14)


@pytest.mark.parametrize("n", [1, 65, 130])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_compiled_cotangents_of_cholesky_factors_go_block_by_block(n, dtype, rng):
    x, w, v = rng.normal(size=(n, n)), rng.normal(size=(n, n)).astype(dtype), rng.normal(size=(n, n)).astype(dtype)
    a, tolerance = (x @ x.T / n + np.eye(n)).astype(dtype), 1e-12 if dtype is np.float64 else 1e-4

    def f(a):
        return np.sum(np.linalg.cholesky(a) ** 2 * w)
    want, compiled = ds.grad(f)(a), ds.jit(ds.grad(f))
    got = compiled(a)
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.max(np.abs(want)))
    assert got.dtype == dtype
    scale = np.sum(np.abs(want * v))
    assert abs(ds.jit(lambda a: ds.jvp(f, (a,), (v,))[1])(a) - np.sum(want * v)) <= tolerance * scale
    assert compiled.stats["flops"] < 1.5 * n**3 + 40 * n**2  # n^3 / 3 for the factor, 2 n^3 / 3 for its cotangent


def test_second_derivatives_of_cholesky_factors_agree_with_differences(rng):
    x, v = rng.normal(size=(70, 70)), rng.normal(size=(70, 70))
    a, h = x @ x.T / 70 + np.eye(70), 1e-5

    def f(a):
        return np.sum(np.sin(np.linalg.cholesky(a)))
    got = ds.jit(lambda a: ds.hvp(f, (a,), (v,)))(a)
    want = (ds.grad(f)(a + h * v) - ds.grad(f)(a - h * v)) / (2 * h)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * np.max(np.abs(want)))

"""Compiled programs factorise a matrix once, however many of its value, gradient and second derivatives are wanted."""

import numpy as np
import pytest
import scipy.linalg as sla

import diffsim as ds
import diffsim.numpy
from diffsim.passes import finished

FACTORISING = {"cholesky", "cofactors", "det", "eigh", "inv", "lu", "qr", "slogdet", "solve", "svd"}
N = 6
PLACES, OBSERVED = np.random.default_rng(1).normal(size=(N, 2)), np.random.default_rng(2).normal(size=N)
SQUARED = ((PLACES[:, None] - PLACES) ** 2).sum(2)


def covariance(t):
    return np.exp(t[0] - SQUARED * np.exp(t[1])) + np.exp(t[2]) * np.eye(N)


def likelihood(t):
    """Of a Gaussian process, as in Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, algorithm 2.1."""
    chol = np.linalg.cholesky(covariance(t))
    white = sla.solve_triangular(chol, OBSERVED, lower=True)
    return white @ white / 2 + np.sum(np.log(np.diag(chol)))


def likelihood_by_cho_solve(t):
    factor = sla.cho_factor(covariance(t), lower=True)
    return OBSERVED @ sla.cho_solve(factor, OBSERVED) / 2 + np.sum(np.log(np.diag(factor[0])))


def by_solve(a):
    return np.linalg.slogdet(a)[1] + OBSERVED @ np.linalg.solve(a, OBSERVED)


def by_transposed_solve(a):
    return np.linalg.slogdet(a)[1] + OBSERVED @ np.linalg.solve(a.T, OBSERVED)


def by_inverse(a):
    return np.linalg.slogdet(a)[1] + OBSERVED @ np.linalg.inv(a) @ OBSERVED


def volume(a):
    return np.linalg.slogdet(a)[1]


T, A = np.array([0.1, 0.2, -1.0]), 4 * np.eye(N) + np.random.default_rng(3).normal(size=(N, N))
FUNCTIONS = {f.__name__: (f, x, how) for f, x, how in (
    (likelihood, T, "cholesky"), (likelihood_by_cho_solve, T, "cholesky"), (by_solve, A, "lu"), (by_transposed_solve, A, "lu"),
    (by_inverse, A, "lu"), (volume, A, "lu"))}
WANTED = {
    "gradient": lambda f: ds.value_and_grad(f),
    "Hessian": lambda f: lambda x: (*ds.value_and_grad(f)(x), ds.hessian(f)(x)),
    "Hessian times vector": lambda f: lambda x: (*ds.value_and_grad(f)(x), *ds.hvp(f, (x,), (np.cos(x),))),
}


@pytest.mark.parametrize("wanted", WANTED.values(), ids=WANTED)
@pytest.mark.parametrize(("f", "x", "how"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_value_and_derivatives_share_one_factorisation(f, x, how, wanted):
    program = wanted(f)
    graph = finished(ds.make_graph(program)(x)).verify()
    assert [e.prim.name for e in graph.eqns if e.prim.name in FACTORISING] == [how]
    for got, want in zip(ds.jit(program)(x), program(x), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_a_determinant_from_shared_factors_has_its_sign(n, dtype, turned):
    def program(a):
        return (*np.linalg.slogdet(a.T if turned else a), np.linalg.solve(a, np.ones(n, dtype)))

    fast, signs = ds.jit(program), set()
    for seed in range(12):
        a = np.random.default_rng(seed).normal(size=(n, n)).astype(dtype)
        if seed == 0:
            names = [e.prim.name for e in finished(ds.make_graph(program)(a)).verify().eqns]
            assert names.count("lu") == 1
            assert "slogdet" not in names
        sign, log, x = fast(a)
        want = np.linalg.slogdet(a)
        assert (sign, sign.dtype, log.dtype) == (want[0], dtype, dtype)
        np.testing.assert_allclose(log, want[1], rtol=1e-10 if dtype is np.float64 else 1e-4, atol=1e-10 if dtype is np.float64 else 1e-5)
        np.testing.assert_allclose(x, np.linalg.solve(a, np.ones(n, dtype)), rtol=1e-9 if dtype is np.float64 else 1e-2)
        signs.add(float(sign))
    assert signs == {1.0, -1.0}


def test_a_singular_matrix_is_an_error_of_the_system_as_without_sharing():
    a = np.ones((3, 3))
    with pytest.raises(np.linalg.LinAlgError):
        ds.jit(lambda a: (np.linalg.slogdet(a)[1], np.linalg.solve(a, np.ones(3))))(a)

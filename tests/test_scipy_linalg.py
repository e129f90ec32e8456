"""scipy.linalg under a transform: SciPy's values, exact derivatives, and nothing imported that the user has not imported."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
import scipy
import scipy.linalg as sla
from keeping import keeps
from scipy import linalg
from scipy.linalg import expm, schur, solve_triangular

import diffsim as ds
from diffsim.errors import DegeneracyWarning, InputError, MissingRule

SQUARE, TALL, WIDE, STACK = (3, 3), (4, 3), (3, 4), (2, 3, 3)
EYE = np.eye(3)


def spd(a):
    return a @ np.swapaxes(a, -1, -2) + np.diag([2.0, 4.0, 7.0])


def heavy(a):
    return a + 4 * EYE


def apart(a):
    return a + 4 * np.eye(*a.shape[-2:]) * np.arange(1, a.shape[-1] + 1)


def unsigned(w, v):
    """Eigenvalues and what does not change with the signs of eigenvectors, which SciPy's LAPACK chooses differently at nearby matrices."""
    return [w, v**2, v[0] * v[1]]


def band(ab):
    """Diagonals of a matrix whose middle one is heavy; the corners outside the matrix are not read."""
    return ab + np.array([0.0, 9.0, 0.0, 0.0])[:, None]


#: name: (program, shapes of its operands, options of `keeps`)
PROGRAMS = {
    "solve": (lambda a, b: sla.solve(heavy(a), b), [SQUARE, (3,)]),
    "solve symmetric": (lambda a, b: [sla.solve(heavy(a), b, assume_a=s, lower=low) for s in ("sym", "pos") for low in (False, True)],
                        [SQUARE, (3, 2)]),
    "solve structured": (lambda a, b: [sla.solve(heavy(a), b, assume_a=s) for s in ("gen", "upper triangular", "lower triangular")],
                         [SQUARE, (3,)]),
    "solve transposed": (lambda a, b: linalg.solve(heavy(a), b, transposed=True), [SQUARE, (3,)]),
    "solve_triangular by name": (lambda a, b: [solve_triangular(heavy(a), b, trans=t, lower=low, unit_diagonal=u)
                                               for t, low, u in ((0, False, False), (1, True, False), ("T", False, True),
                                                                 ("C", True, True))],
                                 [SQUARE, (3, 2)]),
    "solve_banded": (lambda ab, b: sla.solve_banded((2, 1), band(ab), b), [(4, 5), (5,)]),
    "solve_banded columns": (lambda ab, b: sla.solve_banded((1, 2), band(ab[::-1])[::-1] + 0 * ab, b), [(4, 5), (5, 2)],
                             {"low": 0.1, "high": 0.4}),
    "solveh_banded": (lambda ab, b: [sla.solveh_banded(ab[1:] + np.array([[0.0], [0.0], [9.0]]), b),
                                     sla.solveh_banded(ab[1:] + np.array([[9.0], [0.0], [0.0]]), b, lower=True)], [(4, 5), (5,)]),
    "inv": (lambda a: sla.inv(heavy(a)), [SQUARE]),
    "det": (lambda a: sla.det(a), [SQUARE]),
    "lstsq": (lambda a, b: [x for i, x in enumerate(sla.lstsq(apart(a), b)) if i != 2], [TALL, (4,)]),
    "pinv": (lambda a: sla.pinv(apart(a), rtol=1e-8), [TALL]),
    "pinvh": (lambda a: sla.pinvh(spd(a)), [SQUARE]),
    "norm": (lambda a: [sla.norm(a, p) for p in (None, "nuc", 2, np.inf)], [TALL]),
    "cholesky": (lambda a: [sla.cholesky(spd(a)), sla.cholesky(spd(a), lower=True)], [SQUARE]),
    "cho_solve": (lambda a, b: [sla.cho_solve(sla.cho_factor(spd(a), lower=low), b) for low in (False, True)], [SQUARE, (3, 2)]),
    "lu": (lambda a: list(sla.lu(a)), [SQUARE]),
    "lu tall": (lambda a: list(sla.lu(a, permute_l=True)), [TALL]),
    "lu wide": (lambda a: list(sla.lu(a)), [WIDE]),
    "lu_solve": (lambda a, b: [sla.lu_solve(sla.lu_factor(a), b, trans=t) for t in (0, 1, 2)], [SQUARE, (3,)], {"tol": 1e-4}),
    "qr": (lambda a: list(sla.qr(apart(a), mode="economic")), [TALL]),
    "qr full": (lambda a: list(sla.qr(apart(a))), [WIDE]),
    "qr pivoted": (lambda a: list(sla.qr(apart(a), pivoting=True, mode="economic")[:2]), [TALL], {"traceable": False}),
    "eigh": (lambda a: unsigned(*sla.eigh(spd(a))), [SQUARE]),
    "eigh of a pair": (lambda a, b: unsigned(*sla.eigh(spd(a), heavy(b) @ heavy(b).T, lower=False)), [SQUARE, SQUARE]),
    "eigh subset": (lambda a: unsigned(*sla.eigh(spd(a), subset_by_index=(1, 2))), [SQUARE]),
    "eigvalsh": (lambda a: [sla.eigvalsh(spd(a)), sla.eigvalsh(spd(a), subset_by_value=(5.0, np.inf))], [SQUARE], {"traceable": False}),
    "eigvalsh_tridiagonal": (lambda d, e: sla.eigvalsh_tridiagonal(d, e), [(4,), (3,)]),
    "eig": (lambda a: [np.real(x) for x in sla.eig(apart(a))], [SQUARE], {"traceable": False}),
    "eigvals of a pair": (lambda a, b: np.real(sla.eigvals(apart(a), heavy(b))), [SQUARE, SQUARE], {"tol": 1e-5}),
    "svd": (lambda a: list(sla.svd(apart(a), full_matrices=False)), [TALL]),
    "svdvals": (lambda a: [sla.svdvals(apart(a)), sla.svd(apart(a), compute_uv=False)], [WIDE]),
    "orth": (lambda a: sla.orth(apart(a)), [TALL], {"traceable": False}),
    "expm by name": (lambda a: expm(a), [STACK]),
    "expm_frechet": (lambda a, e: [*sla.expm_frechet(a / 9, e), sla.expm_frechet(a / 9, e, compute_expm=False)], [SQUARE, SQUARE]),
    "functions": (lambda a: [f(a / 3) for f in (sla.sinm, sla.cosm, sla.tanm, sla.sinhm, sla.coshm, sla.tanhm)], [SQUARE]),
    "logm": (lambda a: sla.logm(spd(a)), [SQUARE]),
    "sqrtm": (lambda a: sla.sqrtm(spd(a)), [SQUARE]),
    "fractional_matrix_power": (lambda a, t: [sla.fractional_matrix_power(spd(a), e) for e in (0.3, 2, -1, t)], [SQUARE, ()]),
    "polar": (lambda a: [*sla.polar(apart(a)), *sla.polar(apart(a).T), *sla.polar(apart(a), side="left")], [TALL]),
    "orthogonal_procrustes": (lambda a, b: list(sla.orthogonal_procrustes(apart(a), apart(b))), [TALL, TALL]),
    "solve_sylvester": (lambda a, b, q: sla.solve_sylvester(heavy(a), b + 5 * np.eye(2), q), [SQUARE, (2, 2), (3, 2)]),
    "solve_continuous_lyapunov": (lambda a, q: sla.solve_continuous_lyapunov(heavy(a), q), [SQUARE, SQUARE]),
    "solve_lyapunov": (lambda a, q: sla.solve_lyapunov(heavy(a), q), [SQUARE, SQUARE]),
    "solve_discrete_lyapunov": (lambda a, q: sla.solve_discrete_lyapunov(a / 9, q), [SQUARE, SQUARE]),
    "solve_continuous_are": (lambda a, b, q: sla.solve_continuous_are(a, b, spd(q), np.eye(2)), [SQUARE, (3, 2), SQUARE]),
    "solve_discrete_are": (lambda a, b, q: sla.solve_discrete_are(a / 2, b, spd(q), np.eye(2)), [SQUARE, (3, 2), SQUARE], {"tol": 1e-6}),
    "toeplitz": (lambda c, r: [sla.toeplitz(c, r), sla.toeplitz(c), sla.toeplitz(2.0 * r, c)], [(3,), (4,)]),
    "hankel": (lambda c, r: [sla.hankel(c), sla.hankel(c, r)], [(3,), (4,)]),
    "circulant": (lambda c: sla.circulant(c), [(4,)]),
    "companion": (lambda c: sla.companion(c), [(4,)]),
    "convolution_matrix": (lambda c: [sla.convolution_matrix(c, n, m) for n in (2, 5) for m in ("full", "same", "valid")], [(3,)]),
    "leslie": (lambda f, s: sla.leslie(f, s), [(4,), (3,)]),
    "block_diag": (lambda a, b: sla.block_diag(a, b, 3.0 * b[0], [[1.0, 2.0]]), [(2, 3), (2, 2)]),
    "khatri_rao": (lambda a, b: sla.khatri_rao(a, b), [(2, 3), (4, 3)]),
    "diagsvd": (lambda s: [sla.diagsvd(s, 3, 5), sla.diagsvd(s, 4, 3)], [(3,)]),
    "solve_toeplitz": (lambda c, b: [sla.solve_toeplitz(c + 9 * EYE[0], b), sla.solve_toeplitz((c + 9 * EYE[0], b), b)], [(3,), (3,)]),
    "matmul_toeplitz": (lambda c, b: sla.matmul_toeplitz((c, c), b), [(3,), (3, 2)]),
    "solve_circulant": (lambda c, b: sla.solve_circulant(c + np.array([9.0, 0, 0]), b), [(3,), (3, 2)]),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_scipys_value_and_its_derivative(name, rng):
    f, shapes, *options = PROGRAMS[name]
    keeps(f, shapes, rng, **({"tol": 5e-7} | (options[0] if options else {})))


@pytest.mark.parametrize("name", sorted(set(ds.linalg.__all__) - {"kron", "null_space"}))
def test_every_function_is_tried(name):
    """Each name stands in a program above."""
    assert any(name in inspect.getsource(f) for f, *_ in PROGRAMS.values())


def test_only_what_scipy_dropped_is_not_scipys():
    assert {name for name in ds.linalg.__all__ if not hasattr(sla, name)} <= {"kron"}


@pytest.mark.parametrize("name", [name for name in ds.linalg.__all__ if hasattr(sla, name)])
def test_signatures_are_scipys(name):
    ours, theirs = (inspect.signature(getattr(m, name)).parameters for m in (ds.linalg, sla))
    assert list(ours) == list(theirs)
    for p in ours:
        if isinstance(theirs[p].default, (bool, str, int, float, type(None))):
            assert ours[p].default == theirs[p].default, p


# ---------------------------------------------------------------- golden values
@pytest.mark.parametrize("f", [expm, sla.sqrtm, sla.cosm])
def test_second_derivatives_of_matrix_functions(f, rng):
    ds.testing.check_grads(lambda a: np.sum(np.sin(f(a @ a.T + 2 * EYE))), (rng.normal(size=SQUARE) / 3,), rng=rng, atol=1e-5, rtol=1e-5)


def test_the_derivative_of_a_matrix_function_at_the_identity_is_a_multiple_of_the_direction(rng):
    """All eigenvalues are equal there, which needs no care: f'(1) X."""
    x = rng.normal(size=SQUARE)
    for f, slope in ((expm, np.e), (sla.logm, 1.0), (sla.sqrtm, 0.5), (sla.sinm, np.cos(1.0)), (sla.inv, -1.0),
                     (lambda a: sla.fractional_matrix_power(a, 0.3), 0.3)):
        np.testing.assert_allclose(ds.jvp(f, (EYE,), (x,))[1], slope * x, atol=1e-12)


def test_the_gradient_of_the_trace_of_the_exponential_is_its_transpose(rng):
    a = rng.normal(size=(4, 4))
    np.testing.assert_allclose(ds.grad(lambda a: np.trace(expm(a)))(a), expm(a).T, rtol=1e-12)
    z = a + 1j * rng.normal(size=(4, 4))
    np.testing.assert_allclose(ds.grad(lambda z: np.real(np.trace(expm(z))))(z), expm(z).T, rtol=1e-11)


def test_a_null_space_is_right_for_the_space(rng):
    a, t = rng.normal(size=(2, 4)), rng.normal(size=(2, 4))

    def f(a):
        n = sla.null_space(a)
        return np.sum((n @ n.T) * np.arange(16.0).reshape(4, 4))
    wanted = (f(a + 1e-6 * t) - f(a - 1e-6 * t)) / 2e-6
    assert np.sum(ds.grad(f)(a) * t) == pytest.approx(wanted, rel=1e-6)
    with pytest.warns(DegeneracyWarning, match="complete a basis"):
        ds.jvp(f, (a,), (t,))


def test_a_riccati_gain_of_one_state():
    """a, b, q, r numbers: x = r (a + sqrt(a² + b² q / r)) / b²."""
    def gain(a, q):
        return sla.solve_continuous_are(a.reshape(1, 1), np.eye(1), q.reshape(1, 1), np.eye(1))[0, 0]
    a, q = np.array([0.7]), np.array([2.0])
    da, dq = ds.grad(gain, argnums=(0, 1))(a, q)
    root = np.sqrt(0.49 + 2.0)
    np.testing.assert_allclose([da[0], dq[0]], [1 + 0.7 / root, 0.5 / root], rtol=1e-12)


# ---------------------------------------------------------------- rebinding
def test_the_module_is_found_however_it_is_imported():
    def f(a):
        import scipy.linalg as inside  # noqa: PLC0415
        from scipy.linalg import expm as renamed  # noqa: PLC0415
        return sum(np.trace(f(a)) for f in (scipy.linalg.expm, linalg.expm, inside.expm, renamed, expm))
    np.testing.assert_allclose(ds.grad(f)(np.zeros((2, 2))), 5 * np.eye(2))


def test_a_function_in_a_closure_is_found_and_kept():
    def make(function):
        def f(a):
            return np.trace(function(a))
        return f
    f = make(sla.expm)
    assert ds.numpy.rebound(f) is ds.numpy.rebound(f)
    np.testing.assert_allclose(ds.grad(f)(np.zeros((2, 2))), np.eye(2))
    assert f.__closure__[0].cell_contents is sla.expm


def test_plain_values_go_to_scipy_itself():
    a = np.array([[2.0, 1.0], [1.0, 3.0]])
    seen = []

    def f(t):
        seen.append((sla.schur(a)[0], linalg.expm(a), schur(a)[1], sla.LinAlgError, scipy.linalg.hilbert(2)))
        b = np.zeros((2, 2))
        b[0, 0] = 1.0
        return t * np.trace(sla.expm(b))
    assert ds.grad(f)(1.0) == pytest.approx(np.e + 1)
    for got, wanted in zip(seen[0], (sla.schur(a)[0], sla.expm(a), sla.schur(a)[1], np.linalg.LinAlgError, sla.hilbert(2)), strict=True):
        assert got is wanted or np.array_equal(got, wanted)


@pytest.mark.parametrize(("call", "match"), [
    (lambda a: sla.schur(a), r"scipy\.linalg\.schur.*test_scipy_linalg\.py:\d+"), (lambda a: schur(a), r"scipy\.linalg\.schur"),
    (lambda a: sla.funm(a, np.sin), "sinm"), (lambda a: sla.eig(a, left=True), "left"), (lambda a: sla.qr(a, mode="raw"), "Householder"),
    (lambda a: sla.subspace_angles(a, a), "no rule is known"), (lambda a: sla.eigh(a, a, type=2), "type=1")])
def test_what_has_no_rule_is_refused_by_name(call, match):
    with pytest.raises(MissingRule, match=match):
        ds.grad(lambda a: np.sum(call(a)[0]))(np.eye(2))


def test_a_complex_logarithm_of_a_real_matrix_is_refused_with_the_remedy():
    with pytest.raises(InputError, match="astype"):
        ds.grad(lambda a: np.sum(sla.logm(a)))(-np.eye(2))
    g = ds.grad(lambda a: np.sum(np.real(sla.logm(a.astype(complex)))))(np.diag([-1.0, -4.0]))
    np.testing.assert_allclose(np.diag(g), [-1.0, -0.25])


def test_diffsim_linalg_serves_plain_and_traced_values():
    a = np.array([[1.0, 2.0], [0.5, 3.0]])
    np.testing.assert_array_equal(ds.linalg.expm(a), sla.expm(a))
    np.testing.assert_allclose(ds.grad(lambda a: ds.linalg.det(a))(a), [[3.0, -0.5], [-2.0, 1.0]])
    assert ds.linalg.schur(a)[0].shape == (2, 2)
    assert ds.linalg.kron(a, np.eye(2)).shape == (4, 4)
    assert {"expm", "schur"} <= set(dir(ds.linalg))
    with pytest.raises(AttributeError, match="nothing"):
        ds.linalg.nothing  # noqa: B018


def test_nothing_of_scipy_is_imported_before_a_matrix_needs_it():
    script = ("import sys, numpy as np, diffsim as ds\n"
              "ds.grad(lambda x: np.sum(np.fft.rfft(x).real) + np.linalg.det(x.reshape(2, 2)))(np.ones(4))\n"
              "ds.linalg.expm\n"
              "print([m for m in sys.modules if m.partition('.')[0] == 'scipy'])")
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_compiled_function_calls_it_back():
    f = ds.jit(lambda a: np.trace(sla.expm(a)))
    assert f(np.eye(2)) == pytest.approx(2 * np.e)

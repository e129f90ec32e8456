"""Mass matrices: certified answers, consistent starts, exact derivatives, refusals by name."""

import warnings

import numpy as np
import pytest
import scipy.sparse

import diffsim as ds
from diffsim.errors import ConvergenceError, FallbackWarning, InputError, InputTypeError, SingularError

ACCURATE = pytest.mark.parametrize("method", ["Rodas5P", "Kvaerno5", "KenCarp4", "Kvaerno3", "TRBDF2", "Radau", "BDF"])
FAMILIES = pytest.mark.parametrize("method", ["Rodas5P", "Kvaerno5", "Radau", "BDF"])
K = np.array([0.04, 3e7, 1e4])


def robertson(t, y, k):
    """Robertson's reactions with the sum of the concentrations in place of the third equation (SUNDIALS' idaRoberts)."""
    a, b, c = k[0] * y[0], k[1] * y[1] * y[1], k[2] * y[1] * y[2]
    return np.array([c - a, a - c - b, y[0] + y[1] + y[2] - 1])


def pendulum(t, y, g):
    """A pendulum of length 1 in Cartesian coordinates, index reduced to one: positions, velocities, tension."""
    x, z, u, v, tension = y
    return np.array([u, v, -tension * x, -tension * z - g, u * u + v * v - tension * (x * x + z * z) - g * z])


# ---------------------------------------------------------------- answers
@ACCURATE
def test_robertson_as_an_algebraic_problem_has_the_published_states(method):
    rtol = 1e-5 if method in ("Kvaerno3", "TRBDF2") else 1e-7
    sol = ds.solve_ivp(robertson, (0, 40), [1, 0, 0], method=method, mass=[1, 1, 0], t_eval=[0.4, 40.0], args=(K,), rtol=rtol,
                       atol=rtol * 1e-4)
    # SUNDIALS' problem to 13 digits, by two solvers that agree
    want = [(9.851721138610e-1, 3.386395378975e-5, 1.479402218522e-2), (7.158270687194e-1, 9.185534764558e-6, 2.841637457458e-1)]
    np.testing.assert_allclose(sol.y.T, want, rtol=30 * rtol)
    np.testing.assert_allclose(sol.y.sum(axis=0), 1.0, rtol=1e-7)


@pytest.mark.parametrize("method", ["Kvaerno5", "BDF", "Rodas5P"])
def test_every_linear_solver_takes_algebraic_equations(method):
    def end(k, solver):
        return ds.solve_ivp(robertson, (0, 4), [1, 0, 0], method=method, mass=[1, 1, 0], t_eval=[4.0], args=(k,), rtol=1e-6, atol=1e-10,
                            linear_solver=solver).y[:, 0]

    values = [ds.value_and_grad(lambda k, s=solver: end(k, s)[2])(K) for solver in ("dense", "banded", "sparse", "gmres")]
    for value, slope in values[1:]:
        assert value == pytest.approx(values[0][0], rel=1e-9)
        np.testing.assert_allclose(slope, values[0][1], rtol=1e-7)


@FAMILIES
def test_a_pendulum_with_its_tension_is_the_pendulum_of_one_angle(method):
    def angle(t, y, g):
        return np.array([y[1], -g * np.sin(y[0])])

    t, g = np.linspace(0, 2, 5), 9.81
    phi, omega = ds.solve_ivp(angle, (0, 2), [1.0, 0.0], method="DOP853", t_eval=t, args=(g,), rtol=1e-12, atol=1e-12).y
    start = [np.sin(1.0), -np.cos(1.0), 0.0, 0.0, 0.0]                     # the tension is found
    sol = ds.solve_ivp(pendulum, (0, 2), start, method=method, mass=[1, 1, 1, 1, 0], t_eval=t, args=(g,), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(sol.y[:2], [np.sin(phi), -np.cos(phi)], atol=1e-6)
    np.testing.assert_allclose(sol.y[4], omega**2 + g * np.cos(phi), atol=1e-4)          # Kvaerno5 interpolates by cubics


def linear(t, y, q):
    return np.array([-q * y[0] + y[1], np.sin(t) - y[1] * y[2], y[0] - 3 * y[2] + np.cos(q * t)])


REGULAR = np.array([[2.0, 1.0, 0.0], [0.0, 1.5, 0.5], [0.3, 0.0, 1.0]])


@pytest.mark.parametrize("method", ["Rodas5P", "Rosenbrock23", "Kvaerno5", "Radau", "BDF", "Tsit5"])
@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csr_matrix, "diagonal"])
def test_a_regular_mass_matrix_is_its_inverse_applied(method, kind):
    mass = np.array([2.0, 0.5, 4.0]) if kind == "diagonal" else kind(REGULAR)
    inverse = np.diag(1 / mass) if kind == "diagonal" else np.linalg.inv(REGULAR)

    def loss(f, q, **more):
        return np.sum(ds.solve_ivp(f, (0, 1.5), [1.0, 0.5, -0.2], method=method, t_eval=[0.0, 0.7, 1.5], args=(q,), rtol=1e-7, atol=1e-7,
                                   **more).y ** 2)

    value, slope = ds.value_and_grad(lambda q: loss(linear, q, mass=mass))(1.3)
    want = ds.value_and_grad(lambda q: loss(lambda t, y, q: inverse @ linear(t, y, q), q))(1.3)
    assert value == pytest.approx(want[0], rel=1e-4 if method == "Rosenbrock23" else 2e-6)
    assert slope == pytest.approx(want[1], rel=1e-3 if method == "Rosenbrock23" else 2e-5)


@FAMILIES
def test_a_singular_matrix_without_rows_of_zeros_is_the_same_problem(method):
    """Equations and states mixed by regular matrices: A M B z' = A f(B z)."""
    a, b = REGULAR, np.array([[1.0, 0.5, 0.0], [0.0, 2.0, 0.0], [0.2, 0.0, 1.0]])

    def mixed(t, z, k):
        return a @ robertson(t, b @ z, k)

    want = ds.solve_ivp(robertson, (0, 4), [1, 0, 0], method=method, mass=[1, 1, 0], t_eval=[4.0], args=(K,), rtol=1e-8, atol=1e-11)
    mass = a @ np.diag([1.0, 1.0, 0.0]) @ b
    sol = ds.solve_ivp(mixed, (0, 4), np.linalg.solve(b, [1.0, 0, 0]), method=method, mass=mass, t_eval=[4.0], args=(K,), rtol=1e-8,
                       atol=1e-11)
    np.testing.assert_allclose(b @ sol.y[:, 0], want.y[:, 0], rtol=1e-5)


@FAMILIES
def test_finite_elements_keep_their_sparse_matrix(method):
    """Heat in a rod with linear elements: the lowest mode decays as the generalised eigenvalue says."""
    n = 40
    h = 1 / (n + 1)
    ones = np.ones(n)
    mass = scipy.sparse.diags([ones[1:] * h / 6, ones * 4 * h / 6, ones[1:] * h / 6], [-1, 0, 1])

    def rod(t, u, c):
        full = np.concatenate([[0.0], u, [0.0]])
        return c * (full[2:] - 2 * full[1:-1] + full[:-2]) / h

    mode = np.sin(np.pi * h * np.arange(1, n + 1))
    rate = 2 * (1 - np.cos(np.pi * h)) / h / (h * (4 + 2 * np.cos(np.pi * h)) / 6)

    def end(c):
        return ds.solve_ivp(rod, (0, 0.1), mode, method=method, mass=mass, t_eval=[0.1], args=(c,), rtol=1e-8, atol=1e-10).y[:, 0]

    value, slope = ds.jvp(end, (1.0,), (1.0,))
    np.testing.assert_allclose(value, mode * np.exp(-0.1 * rate), rtol=1e-5)
    np.testing.assert_allclose(slope, -0.1 * rate * value, rtol=1e-4)


# ---------------------------------------------------------------- the start
def test_inconsistent_starts_are_moved_and_the_derivative_knows():
    def start(y0, k):
        return ds.solve_ivp(robertson, (0, 1), y0, method="Rodas5P", mass=[1, 1, 0], t_eval=[0.0], args=(k,)).y[:, 0]

    y0 = np.array([0.6, 0.1, 7.0])
    np.testing.assert_allclose(start(y0, K), [0.6, 0.1, 0.3], rtol=1e-14)
    np.testing.assert_allclose(ds.jacobian(start)(y0, K), [[1, 0, 0], [0, 1, 0], [-1, -1, 0]], atol=1e-14)
    np.testing.assert_allclose(ds.jit(start)(y0, K), [0.6, 0.1, 0.3], rtol=1e-14)


def test_what_has_no_consistent_start_is_named():
    with pytest.raises(ConvergenceError, match="consistent initial values"):
        ds.solve_ivp(lambda t, y: np.array([-y[0], np.exp(y[1]) + y[0]]), (0, 1), [1.0, 1.0], method="Rodas5P", mass=[1, 0])
    with pytest.raises(SingularError, match="index higher than one"):
        ds.solve_ivp(lambda t, y: np.array([y[1], y[0] - np.sin(t) - 1]), (0, 1), [2.0, 1.0], method="Rodas5P", mass=[1, 0])


# ---------------------------------------------------------------- derivatives
@ACCURATE
@pytest.mark.parametrize("problem", ["robertson", "pendulum"])
def test_gradients_are_differences_on_the_frozen_steps(method, problem):
    if problem == "robertson":
        f, y0, p, mass, end = robertson, np.array([1.0, 0.0, 0.0]), K, [1, 1, 0], 2.0
    else:
        f, y0, p, mass, end = pendulum, np.array([0.6, -0.8, 0.4, 0.3, 9.0]), np.array([9.81]), [1, 1, 1, 1, 0], 1.0
    rtol = 1e-4

    def solve(y0, p, **more):
        q = p if problem == "robertson" else p[0]
        return ds.solve_ivp(f, (0, end), y0, method=method, mass=mass, args=(q,), rtol=rtol, atol=rtol * 1e-3, **more)

    mesh = solve(y0, p).mesh
    t = np.array([0.0, 0.31, 1.0]) * end
    weights = np.cos(np.arange(len(y0)))[:, None]

    def loss(y0, p):
        return np.sum(weights * solve(y0, p, t_eval=t, steps=mesh).y ** 2)

    rng, e = np.random.default_rng(7), 1e-3
    dy, dp = 0.01 * rng.normal(size=y0.size), 0.1 * p * rng.normal(size=p.size)
    y_bar, p_bar = ds.grad(loss, (0, 1))(y0, p)
    adjoint = y_bar @ dy + p_bar @ dp
    forward = ds.jvp(loss, (y0, p), (dy, dp))[1]

    def at(s):
        return loss(y0 + s * dy, p + s * dp)

    difference = (8 * (at(e) - at(-e)) - (at(2 * e) - at(-2 * e))) / (12 * e)
    assert adjoint == pytest.approx(forward, rel=1e-10)
    assert adjoint == pytest.approx(difference, rel=1e-7)


@FAMILIES
def test_every_order_and_form_of_a_program_agrees(method):
    y0 = np.array([0.6, -0.8, 0.4, 0.3, 9.0])

    def loss(z):
        return np.sum(ds.solve_ivp(pendulum, (0, 0.5), z[:5], method=method, mass=[1, 1, 1, 1, 0], t_eval=[0.2, 0.5], args=(z[5],),
                                   rtol=1e-4, atol=1e-5).y ** 2)

    z = np.append(y0, 9.81)
    gradient = ds.grad(loss)(z)
    np.testing.assert_allclose(ds.jit(ds.grad(loss))(z), gradient, rtol=1e-9, atol=1e-12)
    hessian = ds.hessian(loss)(z)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-7, atol=1e-8)
    v = np.array([0.3, -1.0, 0.5, 0.2, 0.0, 1.0])
    np.testing.assert_allclose(ds.jvp(ds.grad(loss), (z,), (v,))[1], hessian @ v, rtol=1e-7, atol=1e-8)
    assert hessian[4] == pytest.approx(np.zeros(6), abs=1e-9)              # the tension given is a first guess


@FAMILIES
def test_uncompiled_right_hand_sides_give_the_same(method):
    def opaque(t, y, g):
        return pendulum(t, y, g) if g > 0 else y

    def loss(f, g):
        return np.sum(ds.solve_ivp(f, (0, 0.3), [0.6, -0.8, 0.4, 0.3, 9.0], method=method, mass=[1, 1, 1, 1, 0], t_eval=[0.3], args=(g,),
                                   rtol=1e-3, atol=1e-3).y ** 2)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FallbackWarning)
        value, slope = ds.value_and_grad(lambda g: loss(opaque, g))(9.81)
    want = ds.value_and_grad(lambda g: loss(pendulum, g))(9.81)
    assert value == pytest.approx(want[0], rel=1e-10)
    assert slope == pytest.approx(want[1], rel=1e-8)


# ---------------------------------------------------------------- refusals
def test_wrong_matrices_and_methods_are_named():
    def f(t, y):
        return -y

    for mass, error, message in [
        (np.ones(2), InputError, r"shape \(3, 3\) or \(3,\), not \(2,\)"), (np.array([1.0, np.nan, 1.0]), InputError, "nan"),
        (np.ones(3) * 1j, InputTypeError, "real numbers"), (scipy.sparse.eye(2), InputError, r"not \(2, 2\)"),
    ]:
        with pytest.raises(error, match=message):
            ds.solve_ivp(f, (0, 1), np.ones(3), mass=mass)
    for method in ("Tsit5", "Rosenbrock23", "DOP853", "CrankNicolson", "ImplicitMidpoint"):
        with pytest.raises(InputError, match=f"mass is singular.*{method}.*Rodas5P"):
            ds.solve_ivp(f, (0, 1), np.ones(3), method=method, mass=[1, 1, 0])
    with pytest.raises(InputTypeError, match="plain numbers"):
        ds.grad(lambda m: ds.solve_ivp(f, (0, 1), np.ones(2), mass=np.array([1.0, 1.0]) * m, t_eval=[1.0]).y[0, 0])(2.0)


def test_auto_solves_algebraic_equations_with_its_implicit_method():
    first, second = (ds.solve_ivp(robertson, (0, 1), [1, 0, 0], method=m, mass=[1, 1, 0], args=(K,)) for m in ("auto", "Kvaerno5"))
    assert np.array_equal(first.y, second.y)
    regular = ds.solve_ivp(linear, (0, 1), [1.0, 0.5, -0.2], method="auto", mass=REGULAR, args=(1.3,), t_eval=[1.0], rtol=1e-8).y
    want = ds.solve_ivp(linear, (0, 1), [1.0, 0.5, -0.2], method="Radau", mass=REGULAR, args=(1.3,), t_eval=[1.0], rtol=1e-8).y
    np.testing.assert_allclose(regular, want, rtol=1e-6)


def test_the_identity_costs_nothing():
    plain, massive = (ds.solve_ivp(lambda t, y: -y, (0, 1), np.ones(3), method="Rodas5P", mass=m) for m in (None, np.eye(3)))
    assert np.array_equal(plain.y, massive.y)

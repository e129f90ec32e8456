"""Sparse matrices and splines of SciPy inside differentiated functions, and what is refused by name."""

import numpy as np
import pytest
from keeping import keeps
from scipy import interpolate, ndimage, optimize, sparse
from scipy.integrate import quad, solve_ivp, trapezoid
from scipy.interpolate import CubicSpline, interp1d

import diffsim as ds
from diffsim.errors import MissingRule

LAPLACE = sparse.diags([np.ones(4), -2.0 * np.ones(5), np.ones(4)], [-1, 0, 1]).tocsr()
WIDE = sparse.random_array((3, 5), density=0.5, rng=np.random.default_rng(0))
POINTS = np.array([0.0, 0.4, 1.0, 1.7, 2.2])
CUBIC, PCHIP = CubicSpline(POINTS, np.sin(POINTS)), interpolate.PchipInterpolator(POINTS, np.cos(POINTS))
PERIODIC = CubicSpline(POINTS, np.array([1.0, 2.0, 0.0, 3.0, 1.0]), bc_type="periodic")
MATRIX = CubicSpline(POINTS, np.stack([np.sin(POINTS), np.cos(POINTS)], 1))
LINES, CURVE = interp1d(POINTS, POINTS**2), interp1d(POINTS[::-1], POINTS**2, kind="cubic", fill_value="extrapolate")

CASES = {
    "sparse times vector": (lambda x: LAPLACE @ x, [(5,)]),
    "sparse times matrix": (lambda x: WIDE @ x, [(5, 2)]),
    "vector times sparse": (lambda x: x @ WIDE.tocsc(), [(3,)]),
    "matrix times sparse": (lambda x: x @ WIDE, [(2, 3)]),
    "dot": (lambda x: LAPLACE.dot(x) + LAPLACE.T.dot(x), [(5,)]),
    "steps of diffusion": (lambda u, k: [u := u + 0.1 * k * (LAPLACE @ u) for _ in range(3)][-1], [(5,), ()]),
    "correlate1d": (lambda x: ndimage.correlate1d(x, [1.0, 2.0, 0.5, 3.0], axis=0, mode="nearest", origin=1), [(5, 2)]),
    "convolve1d": (lambda x: ndimage.convolve1d(x, [1.0, 2.0, 0.5, 3.0], mode="mirror", origin=-1), [(2, 5)]),
    "correlate image": (lambda x: ndimage.correlate(x, np.array([[1.0, 2.0], [0.5, 3.0], [0.1, 0.2]]), mode="wrap"), [(4, 5)]),
    "convolve image": (lambda x: ndimage.convolve(x, np.array([[1.0, 2.0], [0.5, 3.0]]), mode="constant", cval=0.3), [(4, 5)]),
    "gauss": (lambda x: ndimage.gaussian_filter1d(x, 1.2), [(6,)]),
    "gauss of an image": (lambda x: ndimage.gaussian_filter(x, (0.5, 1.0), order=(0, 1), mode="nearest"), [(4, 5)]),
    "uniform": (lambda x: ndimage.uniform_filter(x, 3) + ndimage.uniform_filter1d(x, 4), [(4, 5)]),
    "laplace and edges": (lambda x: ndimage.laplace(x) + ndimage.sobel(x, 0) + ndimage.prewitt(x), [(4, 5)]),
    "spline at": (lambda t: CUBIC(t) + CUBIC(t, 1), [(3,)]),
    "spline at a number": (lambda t: CUBIC(t) * PCHIP(t), [()]),
    "derivative of a spline": (lambda t: CUBIC.derivative()(t) + CUBIC(t, nu=3), [(2, 2)]),
    "periodic spline": (lambda t: PERIODIC(3.0 * t), [(3,)]),
    "spline of rows": (lambda t: MATRIX(t), [(2, 2)]),
    "spline through": (lambda y: CubicSpline(POINTS, y)(np.array([0.1, 1.2, 2.0])), [(5,)]),
    "natural spline through, at": (lambda y, t: interpolate.CubicSpline(POINTS, y, bc_type="natural")(t), [(5,), (2,)]),
    "derivative of a spline through": (lambda y, t: CubicSpline(POINTS, y, bc_type="clamped").derivative(2)(t), [(5, 2), (2,)]),
    "table at": (lambda t: LINES(t), [(3,)]),
    "table of a spline at": (lambda t: CURVE(2.0 * t), [(3,)]),
    "table through, at": (lambda y, t: interp1d(POINTS, y)(t), [(5,), (3,)]),
    "table with ends": (lambda y, t: interp1d(POINTS, y, bounds_error=False, fill_value=(0.0, 7.0))(3.0 * t - 1.0), [(5,), (6,)]),
    "table extrapolated": (lambda y, t: interpolate.interp1d(POINTS, y, fill_value="extrapolate")(3.0 * t - 1.0), [(5,), (4,)]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_function_has_scipys_value_and_its_derivatives(name, rng):
    f, shapes = CASES[name]
    keeps(f, shapes, rng)


@pytest.mark.parametrize("name", ["sparse times vector", "steps of diffusion", "spline at", "spline through", "table at"])
def test_a_compiled_function_agrees(name, rng):
    f, shapes = CASES[name]
    x = [rng.uniform(0.3, 1.0, s) if s else 0.7 for s in shapes]
    np.testing.assert_allclose(ds.jit(f)(*x), f(*x), rtol=1e-12)


def test_plain_values_are_scipys():
    def f(x):
        spline = interpolate.CubicSpline(POINTS, np.sin(POINTS))
        y = LAPLACE @ np.ones(5)
        y[0] = x
        kinds.extend([type(spline) is CubicSpline, isinstance(spline, interpolate.CubicSpline), sparse.issparse(LAPLACE @ LAPLACE)])
        return np.sum(y * spline(0.3)) * optimize.brentq(lambda v: v**2 - 4.0, 0.0, 5.0) * quad(np.cos, 0.0, 1.0)[0]
    kinds = []
    assert ds.grad(f)(0.5) == pytest.approx(2.0 * np.sin(1.0) * CubicSpline(POINTS, np.sin(POINTS))(0.3))
    assert kinds == [True, True, True]


def test_a_number_outside_a_table_is_refused_as_scipy_does():
    with pytest.raises(ValueError, match="interpolation range"):
        ds.grad(lambda t: LINES(t))(5.0)
    assert np.isnan(ds.jit(lambda t: LINES(t))(5.0))
    assert np.isnan(CubicSpline(POINTS, POINTS, extrapolate=False)(5.0))
    assert np.isnan(ds.jvp(lambda t: CubicSpline(POINTS, POINTS, extrapolate=False)(t), (5.0,), (1.0,))[0])


@pytest.mark.parametrize(("f", "name", "remedy"), [
    (lambda x: optimize.root_scalar(lambda v: v**2 - x, bracket=(0.0, 5.0)).root, "scipy.optimize.root_scalar", "diffsim.root"),
    (lambda x: optimize.minimize(lambda v: np.sum((v - x) ** 2), np.zeros(1)).fun, "scipy.optimize.minimize", "diffsim.optimize"),
    (lambda x: solve_ivp(lambda t, y: -x * y, (0.0, 1.0), [1.0]).y[0, -1], "scipy.integrate.solve_ivp", "diffsim.solve_ivp"),
    (lambda x: quad(lambda t: np.exp(-x * t), 0.0, 1.0)[0], "scipy.integrate.quad", "leggauss"),
    (lambda x: np.sum(ndimage.median_filter(x * np.ones(5), 3)), "scipy.ndimage.median_filter", "np.pad"),
    (lambda x: interpolate.PchipInterpolator(POINTS, x * POINTS)(0.3), "scipy.interpolate.PchipInterpolator", "CubicSpline"),
    (lambda x: sparse.linalg.cg(LAPLACE.tocsc(), x * np.ones(5))[0], "scipy.sparse.linalg.cg", "diffsim.linear_solve"),
    (lambda x: CubicSpline(POINTS + x, POINTS)(0.3), "scipy.interpolate.CubicSpline", "its values may"),
])
def test_what_has_no_rule_is_refused_by_name_with_a_remedy(f, name, remedy):
    with pytest.raises(MissingRule, match=rf"{name}.*test_scipy_others\.py:\d+.*{remedy}"):
        ds.grad(f)(1.5)


def test_what_scipy_computes_by_numpy_alone_still_works():
    x = np.linspace(0.0, 1.0, 5)
    np.testing.assert_allclose(ds.grad(lambda y: trapezoid(y**2, x))(x), 2 * x * [0.125, 0.25, 0.25, 0.25, 0.125])


def decay(v, a, b=1.0):
    return np.exp(-a * v) - 0.3 * b


@pytest.mark.parametrize("f", [
    lambda x: optimize.brentq(lambda v: np.exp(-x * v) - 0.3, 0.0, 5.0), lambda x: optimize.brentq(decay, 0.0, 5.0, (x, 1.0)),
    lambda x: optimize.bisect(decay, 0.0, 5.0, args=(x,), xtol=1e-6), lambda x: optimize.ridder(decay, 0.0, 5.0, args=x),
    lambda x: optimize.toms748(decay, 0.0, 5.0, args=(x,), full_output=True)[0], lambda x: optimize.newton(decay, 0.5, args=(x,)),
    lambda x: optimize.newton(decay, 0.5, lambda v, a: -a * np.exp(-a * v), (x,)), lambda x: optimize.fsolve(decay, 0.5, (x,))[0],
    lambda x: optimize.fsolve(lambda v: np.array([v[0] - v[1], np.exp(-x * v[0]) - 0.3]), [0.5, 0.7])[1]])
@pytest.mark.filterwarnings("ignore::diffsim.errors.FallbackWarning")
def test_the_solution_of_an_equation_is_differentiated(f):
    x = 0.8
    assert f(x) == pytest.approx(-np.log(0.3) / x, rel=1e-5)
    for run in (ds.grad(f), ds.jit(ds.grad(f)), lambda x: ds.jvp(f, (x,), (1.0,))[1]):
        assert run(x) == pytest.approx(np.log(0.3) / x**2, rel=1e-10)
    assert ds.grad(ds.grad(f))(x) == pytest.approx(-2 * np.log(0.3) / x**3, rel=1e-9)


def test_a_sparse_system_with_a_traced_right_hand_side(rng):
    a = LAPLACE.tocsc()
    keeps(lambda b: sparse.linalg.spsolve(a, b) + LAPLACE @ b, [(5,)], rng)
    assert ds.grad(lambda k: np.sum(sparse.linalg.spsolve(a, k * np.ones(5))))(2.0) == pytest.approx(np.linalg.inv(a.toarray()).sum())

"""scipy.special: dispatch, values and derivatives against 30-digit references, functions that do not dispatch, refusals."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.special as sc
from scipy.special import logsumexp

import diffsim as ds
from diffsim.core import REGISTRY, eval_graph
from diffsim.errors import MissingRule
from diffsim.numpy.dispatch import LATE
from diffsim.prims import gammas
from diffsim.testing import check_grads

X = np.array([0.3, 0.8, 1.7])


# ---------------------------------------------------------------- golden derivatives
#: (function, arguments, operand, derivative): mpmath 1.4.1 with 40 digits, ``mp.diff`` of its functions of the same name.
GOLDEN = [
    ("erf", (0.7,), 0, 0.6912748604105386),
    ("erfc", (2.5,), 0, -0.0021782842303527095),
    ("erfinv", (0.3,), 0, 0.9545203588405493),
    ("dawsn", (1.2,), 0, -0.21745639137857506),
    ("gamma", (2.7,), 0, 1.2307796833525975),
    ("gammaln", (15.3,), 0, 2.69481725316415),
    ("digamma", (0.4,), 0, 7.275356590529597),
    ("beta", (1.3, 2.2), 1, -0.16628509955714701),
    ("betaln", (1.3, 2.2), 0, -1.2723475295120428),
    ("gammainc", (0.3, 0.2), 0, -1.0233803072203944),
    ("gammainc", (2.5, 1.5), 0, -0.25217540042362785),
    ("gammainc", (30.0, 25.0), 0, -0.049954877425834855),
    ("gammainc", (30.0, 45.0), 0, -0.0034741570951297633),
    ("gammainc", (500.0, 480.0), 0, -0.012073629060036839),
    ("gammaincc", (0.05, 3.0), 0, 0.015620284327717263),
    ("gammaincc", (12.0, 40.0), 0, 7.780877198335359e-08),
    ("betainc", (0.5, 0.5, 0.1), 0, -0.5926200221433794),
    ("betainc", (0.5, 0.5, 0.1), 1, 0.2768155243583513),
    ("betainc", (0.5, 0.5, 0.1), 2, 1.0610329539459689),
    ("betainc", (2.0, 3.0, 0.7), 0, -0.0695712511310605),
    ("betainc", (2.0, 3.0, 0.7), 1, 0.08187252372208087),
    ("betainc", (2.0, 3.0, 0.7), 2, 0.7560000000000002),
    ("betainc", (40.0, 10.0, 0.75), 0, -0.020566054911916008),
    ("betainc", (40.0, 10.0, 0.75), 1, 0.07203729713417509),
    ("betainc", (40.0, 10.0, 0.75), 2, 4.203452157415152),
    ("expi", (1.5,), 0, 2.9877927135587097),
    ("exp1", (0.4,), 0, -1.6758001150890982),
    ("expn", (3, 0.8), 1, -0.20085170128078714),
    ("lambertw", (1.7,), 0, 0.25769195681012247),
    ("jv", (1.5, 3.2), 1, -0.23094323419741714),
    ("yv", (2.0, 3.2), 1, 0.4178105031954037),
    ("iv", (0.5, 1.2), 1, 0.860719367033437),
    ("kv", (0.5, 1.2), 1, -0.488184079832642),
    ("kv", (0.5, 1.2), 0, 0.10803295874125134),
    ("kv", (20.0, 0.3), 0, 8.893025377231778e+33),
    ("kv", (3.0, 80.0), 0, 9.949554870559654e-38),
    ("j1", (0.9,), 0, 0.3564687469238718),
    ("i0e", (2.3,), 0, -0.07336998058992879),
    ("ellipk", (0.6,), 0, 1.0804186148427142),
    ("ellipe", (0.01,), 0, -0.3941809747843831),
    ("ellipkinc", (0.9, 0.4), 1, 0.13438262518063548),
    ("ellipeinc", (0.9, -0.5), 1, -0.0946607245140212),
    ("ellipkinc", (0.9, 0.02), 1, 0.10448594993999535),
    ("ndtr", (-3.0,), 0, 0.0044318484119380075),
    ("log_ndtr", (-20.0,), 0, 20.04975306852785),
    ("hyp2f1", (0.5, 1.5, 2.5, 0.3), 3, 0.4358302913873082),
    ("hyp1f1", (0.5, 1.5, -2.0), 2, 0.11570218085617286),
    ("stdtr", (3.5, 0.8), 0, 0.006718925697057567),
    ("stdtr", (3.5, 0.8), 1, 0.25478825921529624),
    ("fdtr", (3.0, 7.0, 1.4), 0, -0.00835534668327018),
    ("fdtr", (3.0, 7.0, 1.4), 1, 0.009519760077454673),
    ("voigt_profile", (0.7, 1.1, 0.4), 0, -0.10232643196053293),
    ("voigt_profile", (0.7, 1.1, 0.4), 1, -0.10740779014634011),
    ("voigt_profile", (0.7, 1.1, 0.4), 2, -0.12182707775189784),
]


@pytest.mark.parametrize(("name", "args", "operand", "wanted"), GOLDEN)
def test_a_derivative_is_the_reference(name, args, operand, wanted):
    function = getattr(ds.special, name)
    got = ds.grad(lambda v: np.real(function(*args[:operand], v, *args[operand + 1:])))(args[operand])
    assert got == pytest.approx(wanted, rel=2e-11)


@pytest.mark.parametrize(("a", "x", "n", "wanted"), [
    (0.3, 0.2, 2, 0.958991143292019), (2.5, 1.5, 3, 0.02581217938604694), (30.0, 25.0, 2, 0.009137883116240923)])
def test_higher_derivatives_in_the_parameter(a, x, n, wanted):
    got = gammas.gammainc_parameter.impl(np.float64(a), np.float64(x), n=n, upper=False)
    assert got == pytest.approx(wanted, rel=1e-11)


@pytest.mark.parametrize(("name", "x", "wanted"), [("kv", 0.5, 1.13061895), ("kve", 0.5, 1.8640755), ("kv", 1e-3, 126.25)])
def test_second_derivatives_in_the_order_of_k_at_order_zero(name, x, wanted):
    """K is even in its order; golden values by mpmath."""
    f = getattr(ds.special, name)
    second = ds.grad(ds.grad(f))
    assert second(0.0, x) == pytest.approx(wanted, rel=1e-4 if x < 0.1 else 1e-7)
    for derivative in (second, ds.grad(second, argnums=1), ds.grad(ds.grad(second)), ds.grad(second)):
        assert derivative(0.0, x) == pytest.approx(derivative(1e-12, x), rel=1e-9, abs=1e-6)


def test_the_mixed_third_derivative_of_k_at_order_zero_is_its_integral():
    t = np.linspace(0.0, 12.0, 4001)                         # DLMF 10.32.9
    wanted = -np.trapezoid(t**2 * np.cosh(t) * np.exp(-0.5 * np.cosh(t)), t)
    assert ds.grad(ds.grad(ds.grad(ds.special.kv)), argnums=1)(0.0, 0.5) == pytest.approx(wanted, rel=1e-10)


# ---------------------------------------------------------------- dispatch
def test_every_rule_answers_to_a_ufunc_of_scipy():
    for name in LATE:
        assert isinstance(getattr(sc, name), np.ufunc), name
    assert len(LATE) >= 170


def test_plain_scipy_code_is_differentiated():
    def f(x):
        y = np.zeros(3)
        y[:] = sc.erf(x) * sc.gamma(x + 1)
        return logsumexp(y) + np.sum(sc.softmax(y) * sc.jv(0, x)) + sc.log_softmax(y)[1]
    check_grads(f, (X,))
    assert ds.grad(f)(X) == pytest.approx(ds.grad(lambda x: f(x))(X))


def test_results_of_several_values_are_tuples():
    assert [len(f(X)) for f in (lambda x: ds.jvp(sc.airy, (x,), (x,))[1], lambda x: ds.jvp(sc.sici, (x,), (x,))[0])] == [4, 2]
    check_grads(lambda x: sum(np.sum(y) for y in sc.airy(x)) + sum(np.sum(y) for f in (sc.sici, sc.shichi, sc.fresnel) for y in f(x)), (X,))


def test_special_functions_do_not_load_scipy():
    code = "import sys, diffsim.numpy; assert 'scipy.special' not in sys.modules, 'loaded'"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("call", "names"), [
    (lambda v: sc.yn(v, 1.0), ("yn", "order")), (lambda v: sc.kn(v, 1.0), ("kn", "order")),
    (lambda v: sc.hyperu(1, v, 0.5), ("hyperu", "parameter b")), (lambda v: sc.eval_hermite(v, 0.5), ("eval_hermite", "")),
    (lambda v: ds.special.polygamma(v, 1.5), ("polygamma", "order")), (lambda v: sc.pbwa(0.5, v)[0], ("pbwa", "no rule")),
    (lambda v: sc.ndtri_exp(1j * v), ("", ""))])
def test_an_operand_without_derivative_is_refused_by_name(call, names):
    with pytest.raises((MissingRule, TypeError)) as caught:
        ds.grad(lambda v: np.real(call(v)))(2.0)
    assert all(part in str(caught.value) for part in names)


def test_an_operand_without_derivative_may_be_constant():
    assert ds.grad(lambda x: sc.jv(1.5, x))(2.0) == pytest.approx(sc.jvp(1.5, 2.0), rel=1e-13)


# ---------------------------------------------------------------- functions that do not dispatch
OTHERS = {
    "logsumexp": lambda f, x: f(x) + f(x, b=np.array([1.0, 2.0, 0.5])), "softmax": lambda f, x: f(x) * x,
    "log_softmax": lambda f, x: f(x) * x,
    "softplus": lambda f, x: f(x), "multigammaln": lambda f, x: f(x + 3, 3), "polygamma": lambda f, x: f(2, x),
    "zeta": lambda f, x: f(2.5, x), "lambertw": lambda f, x: np.real(f(x) * f(x, -1)), "spherical_jn": lambda f, x: f(2, x) * f(1, x, True),
    "spherical_yn": lambda f, x: f(2, x) * f(1, x, True), "spherical_in": lambda f, x: f(2, x) * f(1, x, True),
    "spherical_kn": lambda f, x: f(2, x) * f(1, x, derivative=True), "sph_harm_y": lambda f, x: np.real(f(3, 1, x, 2 * x)),
    "jvp": lambda f, x: f(2, x, 2), "yvp": lambda f, x: f(2, x, 2), "ivp": lambda f, x: f(2, x, 2), "kvp": lambda f, x: f(2, x, 3),
    "h1vp": lambda f, x: np.real(f(2, x, 3)), "h2vp": lambda f, x: np.imag(f(2, x, 3)),
    "comb": lambda f, x: f(x + 2, 1.5) + f(x + 2, x, repetition=True), "perm": lambda f, x: f(x + 2, x), "factorial": lambda f, x: f(x),
    "diric": lambda f, x: f(x, 5) * f(x, 4), "sinc": lambda f, x: f(x), "assoc_laguerre": lambda f, x: f(x, 3, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_a_function_that_does_not_dispatch(name):
    ours = getattr(ds.special, name)
    wanted = OTHERS[name](getattr(sc, name), X)
    np.testing.assert_array_equal(OTHERS[name](ours, X), wanted)
    np.testing.assert_allclose(ds.jvp(lambda x: OTHERS[name](ours, x), (X,), (X,))[0], wanted, rtol=1e-12)
    check_grads(lambda x: OTHERS[name](ours, x), (X,))


def test_every_listed_name_is_tried():
    assert set(OTHERS) == set(ds.special.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ds.special.nothing


def test_logsumexp_where_nothing_counts():
    value, slope = ds.jvp(lambda x: ds.special.logsumexp(np.where(x > 0, -np.inf, x)), (X,), (X,))
    assert value == -np.inf
    assert slope == 0
    got = ds.jvp(lambda x: ds.special.logsumexp(x, b=np.array([1.0, -2.0, 0.1]), return_sign=True), (X,), (X,))[0]
    np.testing.assert_allclose(got, sc.logsumexp(X, b=np.array([1.0, -2.0, 0.1]), return_sign=True), rtol=1e-13)


def test_limits_are_met():
    """Where a formula divides by zero its limit stands."""
    for name, at, wanted in (("exprel", 0.0, 0.5), ("ellipk", 0.0, np.pi / 8), ("ellipe", 0.0, -np.pi / 8), ("spence", 1.0, -1.0),
                             ("j1", 0.0, 0.5), ("i1", 0.0, 0.5), ("rgamma", -2.0, 2.0)):
        assert ds.grad(getattr(sc, name))(at) == pytest.approx(wanted, rel=1e-12), name
    for name, at, wanted in (("exprel", 0.0, 1 / 3), ("spence", 1.0, 0.5), ("ellipk", 0.0, 9 * np.pi / 64),
                             ("rgamma", 0.0, 2 * np.euler_gamma)):
        assert ds.grad(ds.grad(getattr(sc, name)))(at) == pytest.approx(wanted, rel=1e-12), name
    assert ds.grad(ds.grad(ds.grad(lambda x: sc.sici(x)[0])))(1e-8) == pytest.approx(-1 / 3, rel=1e-12)
    assert ds.grad(lambda y: sc.xlogy(0.0, y))(0.0) == 0.0
    assert ds.grad(lambda lmbda: sc.boxcox(2.0, lmbda))(0.0) == pytest.approx(np.log(2.0) ** 2 / 2, rel=1e-12)
    assert ds.grad(lambda m: sc.ellipkinc(0.7, m))(0.0) == pytest.approx((0.7 - np.sin(0.7) * np.cos(0.7)) / 4, rel=1e-12)


def test_special_rows_are_under_the_laws():
    assert {"erf", "gammainc", "betainc_parameter", "kv_order", "airy_ai", "ellipeinc", "stdtr", "convolve", "sort"} <= set(REGISTRY)


@pytest.mark.parametrize("dtype", [float, np.float32])
@pytest.mark.parametrize("name", ["eval_hermite", "eval_hermitenorm", "eval_legendre", "expn", "kn"])
def test_a_python_int_is_an_integer_in_graphs_too(name, dtype):
    x, f = X.astype(dtype) / 2, getattr(sc, name)
    graph = ds.make_graph(lambda x: f(2, x))(x)
    (got,) = eval_graph(graph, x)
    assert got.dtype == f(2, x).dtype
    np.testing.assert_array_equal(got, f(2, x))
    if name == "eval_legendre":
        assert ds.make_graph(lambda n: f(n, 2))(x).outputs[0].aval.dtype == f(x, 2).dtype
    wanted = ds.grad(lambda x: np.sum(f(2, x)))(x)
    (got,) = eval_graph(ds.make_graph(ds.grad(lambda x: np.sum(f(2, x))))(x), x)
    np.testing.assert_allclose(got, wanted, rtol=1e-14 if dtype is float else 1e-6)


@pytest.mark.parametrize("name", ["jv", "gammainc", "xlogy", "beta", "hyp2f1", "eval_jacobi"])
@pytest.mark.parametrize("single", [0, 1])
def test_a_python_number_beside_single_precision_is_what_scipy_makes_of_it(name, single):
    """SciPy's ufuncs take single precision for it or double, each in its own way."""
    special = pytest.importorskip("scipy.special")
    ufunc, x = getattr(special, name), np.full(2, 0.5, np.float32)
    given = [1.5] * ufunc.nin
    given[single] = x

    def f(x):
        return ufunc(*[x if i == single else v for i, v in enumerate(given)])
    assert ds.jit(f)(x).dtype == ds.make_graph(f)(x).outputs[0].aval.dtype == f(x).dtype
    np.testing.assert_allclose(ds.jit(f)(x), f(x), rtol=1e-6)

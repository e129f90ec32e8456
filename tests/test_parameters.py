"""Derivatives of special functions in orders, degrees and parameters: references, orders of differentiation, refusals."""

import numpy as np
import pytest
import scipy.special as sc

import diffsim as ds
from diffsim.core import REGISTRY
from diffsim.errors import MissingRule

#: (function, arguments, operand, derivative): mpmath 1.3.0 with 40 digits, ``mp.diff`` of its functions of the same name.
GOLDEN = [
    ("jv", (1.5, 3.2), 0, 0.21633173161222008),
    ("jv", (0.0, 0.001), 0, -7.023684788718984),
    ("jv", (40.0, 2.0), 0, -4.426362094192748e-48),
    ("jv", (3.0, 500.0), 0, -0.053506772896994716),
    ("jv", (-2.5, 1.3), 0, -1.32924862301378),
    ("yv", (0.5, 3.2), 0, 0.046706645663937764),
    ("yv", (2.0, 0.05), 0, -2095.043498272361),
    ("yv", (60.0, 70.0), 0, 0.06858522076466084),
    ("iv", (0.5, 1.2), 0, -0.7584138610111778),
    ("iv", (0.0, 0.8), 0, -0.5653471052658957),
    ("iv", (12.0, 0.4), 0, -3.547357484232593e-17),
    ("ive", (2.5, 800.0), 0, -4.393963855260104e-05),
    ("kv", (0.01, 0.001), 0, 1.263236316716405),
    ("kv", (2.5, 1e-06), 0, 5.7195546046887784e+16),
    ("kve", (1.5, 900.0), 0, 6.966721710528454e-05),
    ("kv", (0.5, 700.0), 0, 3.333770289874125e-309),
    ("struve", (0.5, 3.0), 0, 0.4450933476458058),
    ("modstruve", (1.5, 2.0), 0, -0.6982680913510046),
    ("hyp0f1", (1.5, -3.0), 0, 0.4371160639297852),
    ("hyp0f1", (0.3, 40.0), 0, -1990841.781122375),
    ("hyp1f1", (0.5, 1.5, -2.0), 0, -0.6688116781919001),
    ("hyp1f1", (0.5, 1.5, -2.0), 1, 0.19104929059205078),
    ("hyp1f1", (2.5, 4.0, 12.0), 0, 26175.455783645397),
    ("hyp2f1", (0.5, 1.5, 2.5, 0.3), 0, 0.22988108250652228),
    ("hyp2f1", (0.5, 1.5, 2.5, 0.3), 1, 0.08051103957211214),
    ("hyp2f1", (0.5, 1.5, 2.5, 0.3), 2, -0.04936366585392228),
    ("hyp2f1", (0.5, 1.2, 2.5, -4.0), 1, -0.19556506373144844),
    ("zeta", (1.1, 2.5), 0, -99.77246314472465),
    ("zeta", (4.0, 0.7), 0, 1.3885134704501811),
    ("eval_legendre", (2.6, 0.4), 0, -0.11821310259015247),
    ("eval_chebyt", (2.6, 0.4), 0, -0.1473689001150778),
    ("eval_chebyu", (2.6, 0.4), 0, -0.6492152666105057),
    ("eval_gegenbauer", (4, 1.3, 0.4), 1, -1.698743466666667),
    ("eval_gegenbauer", (2.4, 1.3, 0.4), 0, -1.407920704616113),
    ("eval_genlaguerre", (3, 0.7, 2.0), 1, -0.9216666666666667),
    ("eval_genlaguerre", (2.5, 0.7, 2.0), 0, 0.02547285343232277),
    ("eval_jacobi", (3, 0.5, 1.5, 0.2), 1, -0.549),
    ("eval_jacobi", (3, 0.5, 1.5, 0.2), 2, 0.33266666666666667),
    ("lpmv", (1, 2.5, 0.3), 1, 1.7613422492691677),
]


@pytest.mark.parametrize(("name", "args", "operand", "wanted"), GOLDEN)
def test_a_derivative_in_a_parameter_is_the_reference(name, args, operand, wanted):
    function = getattr(ds.special, name)
    got = ds.grad(lambda v: function(*args[:operand], v, *args[operand + 1:]))(args[operand])
    assert got == pytest.approx(wanted, rel=2e-12)


#: (function, arguments, operands, second derivative): as above.
SECOND = [
    ("jv", (1.5, 3.2), (0, 0), -0.5353457460261276),
    ("jv", (1.5, 3.2), (0, 1), 0.3940370477170651),
    ("yv", (0.5, 3.2), (0, 1), 0.6203665177583099),
    ("iv", (0.5, 1.2), (0, 0), -0.31280597694667733),
    ("kv", (1.5, 0.8), (0, 1), -5.117481326271729),
    ("hyp1f1", (0.5, 1.5, -2.0), (0, 1), 0.2640532360375331),
    ("hyp2f1", (0.5, 1.5, 2.5, 0.3), (2, 3), -0.2246079033911024),
    ("zeta", (2.5, 1.5), (0, 0), 0.6006957171278203),
    ("zeta", (2.5, 1.5), (0, 1), 0.12496107818968583),
    ("struve", (0.5, 3.0), (0, 1), 0.676651187387564),
]


@pytest.mark.parametrize(("name", "args", "operands", "wanted"), SECOND)
def test_a_second_derivative_is_the_reference(name, args, operands, wanted):
    function, (first, second) = getattr(ds.special, name), operands
    inner = ds.grad(function, first)
    assert ds.grad(inner, second)(*args) == pytest.approx(wanted, rel=5e-11)
    assert ds.grad(ds.grad(function, second), first)(*args) == pytest.approx(wanted, rel=5e-11)
    assert ds.jit(ds.grad(inner, second))(*args) == pytest.approx(wanted, rel=5e-11)


@pytest.mark.parametrize(("v", "x", "wanted"), [
    (5e-6, 29.9041595967592, 3.866928549615252e-21), (1e-3, 0.02, 0.02761370649109122), (60.0, 0.1, 5.661268568385242e+158)])
def test_the_order_of_kv_is_right_where_it_is_nearly_even(v, x, wanted):
    assert ds.grad(sc.kv)(v, x) == pytest.approx(wanted, rel=1e-13)


def test_orders_of_hankel_functions_and_complex_arguments():
    """H = J + iY; of J at a complex argument the reference is mpmath's."""
    for name, turn in (("hankel1", 1j), ("hankel2", -1j)):
        _, got = ds.jvp(lambda v, name=name: getattr(sc, name)(v, 3.2), (1.5,), (1.0,))
        assert got == pytest.approx(ds.grad(sc.jv)(1.5, 3.2) + turn * ds.grad(sc.yv)(1.5, 3.2), rel=1e-12)
    _, got = ds.jvp(lambda v: sc.jv(v, 1.0 + 2.0j), (0.7,), (1.0,))
    assert got == pytest.approx(-1.3147157444863213+2.218648651252595j, rel=1e-12)


def test_an_order_is_fitted_in_single_precision_and_in_batches():
    v, x = np.array([0.3, 1.5, 2.0]), np.array([0.7, 3.0, 9.0])
    one_by_one = [ds.grad(sc.jv)(a, b) for a, b in zip(v, x, strict=True)]
    np.testing.assert_allclose(ds.vmap(ds.grad(sc.jv))(v, x), one_by_one, rtol=1e-14)
    got = ds.grad(lambda v: np.sum(sc.jv(v, x.astype(np.float32))))(v.astype(np.float32))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, one_by_one, rtol=1e-5)


def test_where_the_argument_is_zero_or_the_value_underflows():
    assert ds.grad(sc.jv)(1.5, 0.0) == ds.grad(sc.iv)(0.2, 0.0) == 0.0
    assert ds.grad(sc.jv)(300.0, 1e-3) == 0.0


@pytest.mark.parametrize(("name", "args", "operand"), [
    ("jv", (2.0, -1.5), 0),                                 # not real for the orders beside
    ("jv", (0.0, 0.0), 0),                                  # jumps
    ("yv", (1.5, 0.0), 0), ("yv", (200.0, 0.01), 0),        # infinite
    ("hyp0f1", (-1.0, 0.5), 0),                             # a pole
])
def test_nothing_is_said_where_it_would_be_wrong(name, args, operand):
    row = REGISTRY[f"{name}_in_v"]
    assert np.isnan(row.impl(*map(np.float64, args), n=1))


def test_a_routine_that_is_not_accurate_is_noticed(monkeypatch):
    row, function = REGISTRY["hyp1f1_in_a"], REGISTRY["hyp1f1"]
    assert np.isfinite(row.impl(0.5, 1.5, -2.0, n=1))
    exact, rng = function.impl, np.random.default_rng(0)
    monkeypatch.setattr(function, "impl", lambda *x: exact(*x)
                        * (1.0 + 1e-9 * rng.standard_normal(np.broadcast_shapes(*map(np.shape, x)))))
    assert np.isnan(row.impl(0.5, 1.5, -2.0, n=1))


def test_derivatives_end_where_digits_do():
    f = sc.jv
    for _ in range(4):
        f = ds.grad(f)
    assert f(1.5, 3.2) == pytest.approx(0.8517297595987703, rel=1e-7)
    with pytest.raises(MissingRule, match="more than 4th order in v"):
        ds.grad(f)(1.5, 3.2)


def test_matern_smoothness_has_a_gradient():
    """A Gaussian process's likelihood in amplitude, length and smoothness (Rasmussen & Williams, eq. 4.14)."""
    x = np.linspace(0.0, 1.0, 6)
    y = np.sin(5.0 * x)

    def loss(p):
        nu = p[2]
        r = np.abs(x[:, None] - x[None, :]) + np.eye(6)
        z = np.sqrt(2.0 * nu) * r / p[1]
        k = p[0] * 2.0 ** (1.0 - nu) / sc.gamma(nu) * z**nu * sc.kv(nu, z)
        k = np.where(np.eye(6) == 1.0, p[0] + 1e-4, k)
        return 0.5 * y @ np.linalg.solve(k, y) + 0.5 * np.linalg.slogdet(k)[1]
    ds.testing.check_grads(loss, (np.array([1.2, 0.4, 1.7]),), order=2)


# ---------------------------------------------------------------- further functions of scipy.special
#: (function of one number, at, derivative): mpmath 1.3.0 with 40 digits; series of chndtr, kolmogorov and wright_bessel summed by ``nsum``.
FURTHER = [
    (lambda m: sc.ellipj(0.9, m)[0], 0.4, -0.06657268388012708),
    (lambda z: sc.elliprd(1.3, 2.2, z), 0.8, -0.8892734452226174),
    (lambda x: sc.elliprd(x, 2.2, 0.8), 1.3, -0.20995028650367073),
    (lambda p: sc.elliprj(1.3, 2.2, 0.8, p), 1.7, -0.20396904135317154),
    (lambda z: sc.elliprg(1.3, 2.2, z), 0.8, 0.15664963588686764),
    (sc.berp, 1.5, -0.4175527174155611),
    (sc.keip, 1.5, -0.1441371426860971),
    (lambda v: sc.pbdv(v, 0.6)[0], 1.4, -1.0989190745358917),
    (sc.kolmogorov, 0.7, -1.6647342660670743),
    (sc.kolmogorov, 1.4, -0.2222133182429473),
    (lambda a: sc.wright_bessel(a, 0.8, 1.2), 1.5, -1.021505011545331),
    (lambda nc: sc.chndtr(3.2, 2.5, nc), 1.4, -0.12671211623619086),
]


@pytest.mark.parametrize(("function", "at", "wanted"), FURTHER)
def test_a_further_function_has_its_derivative(function, at, wanted):
    assert ds.grad(function)(at) == pytest.approx(wanted, rel=1e-11)


@pytest.mark.parametrize("inverse", [
    lambda x: sc.fdtr(x, x + 1.0, sc.fdtri(x, x + 1.0, 0.3)), lambda x: sc.gdtr(x, 2.0, sc.gdtrix(x, 2.0, 0.3)),
    lambda x: sc.gdtr(sc.gdtria(0.3, x, 2.0), x, 2.0), lambda x: sc.gdtr(x, sc.gdtrib(x, 0.3, 2.0), 2.0),
    lambda x: sc.betainc(sc.btdtria(0.3, x, 0.4), x, 0.4), lambda x: sc.betainc(x, sc.btdtrib(x, 0.3, 0.4), 0.4)])
def test_a_distribution_of_its_inverse_stays(inverse):
    assert ds.grad(inverse)(1.7) == pytest.approx(0.0, abs=1e-12)


def test_several_values_of_one_ufunc():
    for name, count in (("ellipj", 4), ("airye", 4), ("pbdv", 2), ("itj0y0", 2), ("it2i0k0", 2)):
        args = (0.9, 0.4) if name in ("ellipj", "pbdv") else (0.9,)
        y, y_dot = ds.jvp(getattr(sc, name), args, args)
        assert len(y) == len(y_dot) == count
        np.testing.assert_array_equal(y, getattr(sc, name)(*args))
    ds.testing.check_grads(lambda x: sum(np.sum(y) for f in (sc.itj0y0, sc.iti0k0, sc.it2j0y0, sc.it2i0k0, sc.airye) for y in f(x)),
                           (np.array([0.3, 1.7]),))

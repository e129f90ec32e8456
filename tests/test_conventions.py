"""Conventions at kinks, ties, zeros and empty arrays: one table, checked against both modes.

The choices and their reasons stand in docs/conventions.md where that page exists; the values here are the contract.
"""

import numpy as np
import pytest

import diffsim as ds

NAN, INF = np.nan, np.inf

# name: (function, point, derivative)
TABLE = {
    "abs at 0": (np.abs, 0.0, 0.0),
    "sqrt at 0": (np.sqrt, 0.0, INF),
    "x**0.5 at 0": (lambda x: x**0.5, 0.0, INF),
    "x**2. at 0": (lambda x: x**2.0, 0.0, 0.0),
    "x**0. at 0": (lambda x: x**0.0, 0.0, 0.0),
    "x**0 at 0": (lambda x: x**0, 0.0, 0.0),
    "x**1 at 0": (lambda x: x**1, 0.0, 1.0),
    "x**y in x at x=0, y=2": (lambda x: np.power(x, np.array(2.0)), 0.0, 0.0),
    "x**y in x at x=0, y=0": (lambda x: np.power(x, np.array([0.0]))[0], 0.0, 0.0),
    "0**p in p at 2": (lambda p: 0.0**p, 2.0, 0.0),
    "0**p in p at 0": (lambda p: 0.0**p, 0.0, 0.0),
    "max(x, 0) at 0": (lambda x: np.maximum(x, 0.0), 0.0, 0.5),
    "max(x, x)": (lambda x: np.maximum(x, x), 3.0, 1.0),
    "min(x, 0) at 0": (lambda x: np.minimum(x, 0.0), 0.0, 0.5),
    "clip at a bound": (lambda x: np.clip(x, 0.0, 1.0), 1.0, 1.0),
    "clip outside": (lambda x: np.clip(x, 0.0, 1.0), 1.5, 0.0),
    "norm at 0": (lambda x: np.linalg.norm(x * np.ones(3)), 0.0, 0.0),
    "hypot(x, 0) at 0": (lambda x: np.hypot(x, 0.0), 0.0, 0.0),
    "arctan2(x, 0) at 0": (lambda x: np.arctan2(x, 0.0), 0.0, 0.0),
    "sinc at 0": (np.sinc, 0.0, 0.0),
    "std of a constant": (lambda x: np.std(x * np.ones(4)), 2.0, 0.0),
    "logaddexp(-inf, -inf)": (lambda x: np.logaddexp(x, -INF), -INF, 0.5),
    "sign": (np.sign, 0.7, 0.0),
    "floor": (np.floor, 0.7, 0.0),
    "mod in y, 7 mod 3": (lambda y: np.mod(7.0, y), 3.0, -2.0),
    "mod in y, -7 mod 3": (lambda y: np.mod(-7.0, y), 3.0, 3.0),
    "fmod in y, -7 fmod 3": (lambda y: np.fmod(-7.0, y), 3.0, 2.0),
    "heaviside": (lambda x: np.heaviside(x, 0.5), 0.0, 0.0),
    "nan_to_num of a number": (np.nan_to_num, 0.5, 1.0),
    "median of an even number": (lambda x: np.median(np.stack([x, 3.0 * x, 5.0, 0.0])), 1.0, 2.0),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_convention_holds_in_both_modes(name):
    f, x, wanted = TABLE[name]
    with np.errstate(all="ignore"):
        y_dot = ds.jvp(f, (x,), (1.0,))[1]
        x_bar = ds.grad(f)(x)
    np.testing.assert_allclose([y_dot, x_bar], [wanted, wanted], rtol=1e-14, atol=1e-15)


ARRAYS = {
    "reduce max, ties share": (np.max, [1.0, 3.0, 3.0], [0, 0.5, 0.5]),
    "reduce min, ties share": (np.min, [1.0, 1.0, 3.0], [0.5, 0.5, 0]),
    "prod with a zero": (np.prod, [2.0, 0.0, 3.0], [0, 6, 0]),
    "prod with two zeros": (np.prod, [2.0, 0.0, 0.0], [0, 0, 0]),
    "cumprod with a zero": (lambda x: np.sum(np.cumprod(x)), [2.0, 0.0, 3.0], [1, 8, 0]),
    "sort at ties is stable": (lambda x: np.sum(np.sort(x) * np.arange(3.0)), [2.0, 1.0, 1.0], [2, 0, 1]),
    "duplicates read add": (lambda x: np.sum(x[[0, 0, 2]]), [1.0, 2.0, 3.0], [2, 0, 1]),
    "diag of a wide matrix": (lambda x: np.sum(np.diag(np.reshape(x, (2, 4)))), np.arange(8.0), [1, 0, 0, 0, 0, 1, 0, 0]),
    "where with a scalar branch": (lambda x: np.sum(np.where([True, False, True], x[0], x)), [1.0, 2.0, 3.0], [2, 1, 0]),
    "mean": (np.mean, [1.0, 2.0], [0.5, 0.5]),
    "norm away from 0": (np.linalg.norm, [3.0, 4.0], [0.6, 0.8]),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_a_convention_of_arrays_holds(name):
    f, x, wanted = ARRAYS[name]
    np.testing.assert_allclose(ds.grad(f)(np.array(x)), wanted, rtol=1e-14)


def test_a_negative_base_has_no_derivative_in_the_exponent():
    with np.errstate(invalid="ignore"):
        assert np.isnan(ds.grad(lambda p: (-2.0) ** p)(2.0))


SECOND = {
    "x**2. at 0": (lambda x: x**2.0, 0.0, 2.0),
    "sinc at 0": (np.sinc, 0.0, -np.pi**2 / 3),
    "hypot at x=y": (lambda x: np.hypot(x, 1.0), 1.0, 0.5**1.5),
    "x**3 at 0": (lambda x: x**3, 0.0, 0.0),
    "square of the norm at 0": (lambda x: np.linalg.norm(x * np.ones(1)) ** 2, 2.0, 2.0),
}


@pytest.mark.parametrize("name", SECOND)
def test_a_second_derivative_holds(name):
    f, x, wanted = SECOND[name]
    assert ds.grad(ds.grad(f))(x) == pytest.approx(wanted, rel=1e-12, abs=1e-14)


def test_no_perturbation_confusion():
    assert ds.grad(lambda x: x * ds.grad(lambda y: x + y)(2.0))(3.0) == 1.0
    assert ds.grad(lambda x: x * ds.jvp(lambda y: x * y, (2.0,), (1.0,))[1])(3.0) == 6.0


@pytest.mark.parametrize("f", [np.sum, np.prod, np.mean, lambda x: np.sum(np.sin(x)), np.linalg.norm, lambda x: np.dot(x, x),
                               lambda x: np.sum(np.cumsum(x)), lambda x: np.sum(x[np.arange(0)])])
def test_empty_arrays_have_empty_gradients(f):
    with np.errstate(all="ignore"):
        assert ds.grad(f)(np.zeros(0)).shape == (0,)


def test_a_python_float_gives_a_numpy_float():
    g = ds.grad(lambda x: x * x)(3.0)
    assert type(g) is np.float64
    assert ds.grad(lambda x: x * x)(np.float32(3.0)).dtype == np.float32


def test_integers_are_refused_by_name():
    with pytest.raises(TypeError, match="argument 0"):
        ds.grad(lambda x: x * 1.0)(3)

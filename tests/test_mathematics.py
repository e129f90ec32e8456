"""Python's `math`, `float()` and NumPy's scalar types of traced numbers: the operation itself, with its derivative."""

import math
from math import log as natural

import numpy as np
import pytest
from numpy import float64

import diffsim as ds
from diffsim.numpy.mathematics import MATH

ONE = [f for f in MATH if f.__name__ not in ("atan2", "pow", "copysign", "fmod", "hypot", "fsum", "dist", "isfinite", "isnan", "isinf")]


def differences(f, x, h=1e-5):
    return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h)


@pytest.mark.parametrize("f", ONE, ids=lambda f: f.__name__)
def test_a_function_of_one_number_has_its_derivative(f):
    x = 1.3 if f is math.acosh else 0.6
    y, y_dot = ds.jvp(lambda x: f(x), (x,), (1.0,))
    assert y == pytest.approx(f(x), rel=1e-15)
    assert y_dot == pytest.approx(differences(f, x), rel=1e-8)
    assert ds.grad(lambda x: getattr(math, f.__name__)(x[0]))(np.array([x]))[0] == pytest.approx(y_dot, rel=1e-14)
    assert ds.jit(lambda x: f(x))(x) == pytest.approx(f(x), rel=1e-14)


@pytest.mark.parametrize("f", [
    lambda x: math.atan2(x, 2.0), lambda x: math.atan2(2.0, x), lambda x: math.pow(x, 2.5), lambda x: math.pow(2, x),
    lambda x: natural(x, 3), lambda x: math.log(3.0, x), lambda x: math.hypot(x, 1.0, 2 * x), lambda x: math.hypot(x),
    lambda x: math.fsum([x, 1.0, x * x]), lambda x: math.dist((x, 1.0), (2.0, x * x)), lambda x: math.copysign(x, -2.0),
    lambda x: math.fmod(2.5, x), lambda x: math.prod([x, x, 2.0]), lambda x: float(x) ** 2 + float("2"),
    lambda x: np.float64(x) * float64(x), lambda x: x * math.pi,
    lambda x: float(np.array(x)) if math.isfinite(x) and not math.isnan(x) else 0.0])
@pytest.mark.filterwarnings("ignore::diffsim.errors.FallbackWarning")
def test_an_expression_has_its_derivative(f):
    x = 0.6
    y, y_dot = ds.jvp(f, (x,), (1.0,))
    assert y == pytest.approx(f(x), rel=1e-15)
    assert y_dot == pytest.approx(differences(f, x), rel=1e-8)
    assert ds.grad(f)(x) == pytest.approx(y_dot, rel=1e-14)
    assert ds.jit(ds.grad(f))(x) == pytest.approx(y_dot, rel=1e-14)
    np.testing.assert_allclose(ds.grad(lambda x: np.sum(ds.vmap(lambda x: math.exp(math.sin(x)))(x)))(np.array([x, 1.0])),
                               [np.exp(np.sin(v)) * np.cos(v) for v in (x, 1.0)])


def test_plain_numbers_are_pythons():
    def f(x):
        kinds.extend([type(math.sin(0.5)), type(float("1")), type(float(np.zeros(2)[0])), type(np.float64(1.0)), type(np.float32(1.0)),
                      math.floor(2.5), math.factorial(5), isinstance(1.0, float)])
        return x
    kinds = []
    ds.grad(f)(1.0)
    assert kinds == [float, float, float, np.float64, np.float32, 2, 120, True]


@pytest.mark.parametrize(("f", "error"), [(lambda x: math.sqrt(-x), ValueError), (lambda x: math.log(x - x), ValueError),
                                          (lambda x: math.exp(1e4 * x), OverflowError), (lambda x: float(np.array([x, x])), TypeError),
                                          (lambda x: math.sin(np.array([x, x])), TypeError), (lambda x: float(1j * x), TypeError),
                                          (lambda x: math.hypot("a", x), ValueError)])
def test_what_python_refuses_is_refused(f, error):
    with pytest.raises(error):
        ds.grad(f)(0.7)


def test_single_precision_becomes_double_and_back():
    x = np.float32(0.5)
    y, y_dot = ds.jvp(lambda x: (float(x), np.float32(float(x)), np.float64(x), math.sin(x)), (x,), (np.float32(1.0),))
    assert [v.dtype for v in y] == [np.float64, np.float32, np.float64, np.float64]
    assert [float(v) for v in y_dot[:3]] == [1.0, 1.0, 1.0]

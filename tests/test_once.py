"""Gradients are recorded for one sweep: the same numbers as the general list gives, and nobody else's arrays touched."""

import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import MutationError
from diffsim.transforms.blocks import LARGE

RNG = np.random.default_rng(7)


def both_ways(f, *x, argnums=0):
    """The gradient, and the same by a list that may be pulled often."""
    numbers = argnums if isinstance(argnums, tuple) else (argnums,)
    y, pullback = ds.vjp(lambda *v: f(*[v[numbers.index(i)] if i in numbers else a for i, a in enumerate(x)]), *[x[i] for i in numbers])
    got = ds.grad(f, argnums)(*x)
    return (got if isinstance(argnums, tuple) else (got,)), pullback(np.ones_like(y)[()])


def same(f, *x, argnums=0):
    """Bit for bit."""
    for a, b in zip(*both_ways(f, *x, argnums=argnums), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
        assert a.shape == b.shape


PROGRAMS = {
    "chain": lambda x: np.sum(np.sin(x) * x + 0.5),
    "squares": lambda x: np.sum(x * x + x**2 + np.square(x) - x**3),
    "sums": lambda x: np.sum((x + x) * (x - x) + (x + x)),
    "numbers": lambda x: np.sum(2.0 * x - 1 / x + 3 - x / 7 + (1 - x) * 2),
    "late": lambda x: np.sum(np.exp(x) * np.tanh(x) + np.cosh(x) * np.sinh(x) - np.cos(x) + np.expm1(x) * np.exp2(x)),
    "unlate": lambda x: np.sum(np.log(x) * np.sqrt(x) + np.arctan(x) / x + np.arctan2(x, x + 1) + np.maximum(x, 0.5) ** 1.5),
    "negatives": lambda x: np.sum(-np.negative(x) * -x),
    "broadcast": lambda x: np.sum(x[:1] * x + x[0] * np.sin(x) - x[-1]),
    "reused": lambda x: np.sum(np.sin(np.sin(x)) * np.sin(x) / (1 + np.exp(-x)) * x),
    "views": lambda x: np.sum(x[1:] * x[:-1]) + np.sum(np.cos(x)[1:] * x[1:]),
    "ufuncs": lambda x: np.sum(np.multiply(x, np.add(x, 1.5)) - np.subtract(np.full(len(x), 0.3), x)),
    "unused": lambda x: (np.sin(x) * x, np.sum(x))[1],
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("n", [1, 2, 10, LARGE + 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gradients_are_those_of_the_general_list(name, n, dtype):
    same(PROGRAMS[name], RNG.uniform(0.2, 0.9, n).astype(dtype))


def test_numbers_of_no_dimension():
    same(lambda x: np.sin(x) * x + 2.0 * x**2 - np.exp(-x) / x, np.float64(0.3))
    same(lambda x, y: x * y - y + np.sin(x * x) * y, np.float64(0.3), np.float64(-0.4), argnums=(0, 1))


def test_operands_of_different_shapes_and_dtypes():
    a, b = RNG.uniform(0.2, 0.9, (3, 4)), RNG.uniform(0.2, 0.9, 4).astype(np.float32)
    same(lambda a, b: np.sum(np.sin(a) * b + a / b - b * 2), a, b, argnums=(0, 1))
    same(lambda a, b: np.sum(np.real(np.exp(1j * a) * b)), a, a.copy(), argnums=(0, 1))


@pytest.mark.parametrize("order", ["C", "F"])
def test_large_matrices_in_either_memory_order(order):
    a = np.asarray(RNG.uniform(0.2, 0.9, (300, 400)), order=order)
    assert a.size > LARGE
    same(lambda a: np.sum(np.sin(np.sin(a) * a) * a + np.cos(a.T).T * a), a)


@pytest.mark.parametrize("n", [10, LARGE + 3])
def test_the_sweep_writes_to_nobodys_arrays(n):
    """What the function returns beside its value, or keeps, is what the sweep reads; so is the caller's array."""
    x, constant = RNG.uniform(0.2, 0.9, n), RNG.uniform(0.2, 0.9, n)
    x_before, constant_before = x.copy(), constant.copy()

    def f(x):
        s = np.sin(x)
        p = s * x
        q = p + p
        e = np.exp(q) * constant
        return np.sum(e), (s, p, q, e)

    g, kept = ds.grad(f, has_aux=True)(x)
    s = np.sin(x)
    want = s, s * x, s * x + s * x, np.exp(s * x + s * x) * constant
    for a, b in zip(kept, want, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(x, x_before)
    np.testing.assert_array_equal(constant, constant_before)
    np.testing.assert_allclose(g, want[3] * 2 * (s + x * np.cos(x)), rtol=1e-13)


def test_a_constant_may_be_written_after_it_was_read():
    def f(x):
        c = np.array([2.0, 3.0])
        plain = CONSTANT.copy()
        y = x * plain
        plain[:] = 0.0
        return np.sum(y * c)

    np.testing.assert_array_equal(ds.grad(f)(np.ones(2)), [10.0, 21.0])


CONSTANT = np.array([5.0, 7.0])


@pytest.mark.parametrize("n", [3, 5000, LARGE + 3])
def test_derivatives_that_warn_do_so_where_the_function_is(n):
    """A late derivative must not warn outside the errstate the function set (warnings are errors here)."""
    def f(x):
        with np.errstate(all="ignore"):
            y = np.cosh(x * 1e3) + np.exp(x * 1e3) + np.sinh(x * 1e3)
        return np.sum(y)

    np.testing.assert_array_equal(ds.grad(f)(np.ones(n)), np.inf)


def test_second_derivatives_take_the_general_way():
    f = PROGRAMS["reused"]
    x, v = RNG.uniform(0.2, 0.9, 5), RNG.normal(size=5)
    h = 1e-6
    want = (ds.grad(f)(x + h * v) - ds.grad(f)(x - h * v)) / (2 * h)
    np.testing.assert_allclose(ds.hvp(f, (x,), (v,)), want, rtol=1e-7)
    np.testing.assert_allclose(ds.grad(lambda x: ds.grad(f)(x) @ v)(x), want, rtol=1e-7)


def test_an_input_stays_light_and_cannot_be_written():
    """It keeps its short way when it has been indexed, and refuses writes through all its views."""
    def refused(write):
        def f(x):
            y = x[0] * np.sum(x * x)
            write(x)
            return y
        with pytest.raises((MutationError, ValueError), match=r"input of (value_and_)?grad"):
            ds.grad(f)(np.ones(3))

    refused(lambda x: x.__setitem__(0, 1.0))
    refused(lambda x: x[1:].__setitem__(0, 1.0))
    refused(lambda x: x.reshape(3, 1).T.__setitem__((0, 0), 1.0))
    refused(lambda x: x.setflags(write=True))
    refused(lambda x: np.add(x, 1.0, out=x))

    def reshaped(x):
        first = x[0]
        x.shape = (2, 2)
        return np.sum(x[1] * first) + np.sum(x * x)
    same(reshaped, np.arange(1.0, 5.0))


def test_a_written_array_is_read_anew():
    def f(x):
        y = np.sin(x)
        total = np.sum(y * x)
        y[0] = x[1] * 3.0
        total += np.sum(y * x)
        y *= 2.0
        z = y * y
        y[1:] = 0.0
        return total + np.sum(z) + np.sum(y * y)

    same(f, RNG.uniform(0.2, 0.9, 4))


@pytest.mark.parametrize("f", [
    np.maximum.accumulate, lambda x: np.copysign(x, -1.0), np.nan_to_num, lambda x: np.maximum(x, x[::-1]), np.abs,
    lambda x: np.r_[x[:2], 1, x[0]], lambda x: x * np.array([1.0, 2.0, 3.0], np.float32), lambda x: x / np.array([1.0, 2.0, 3.0])])
def test_gradients_in_single_precision_stay_in_it(f):
    x = np.array([0.3, 1.2, 0.7], np.float32)
    y, pullback = ds.vjp(f, x)
    assert y.dtype == f(x).dtype
    assert pullback(np.ones(y.shape, y.dtype))[0].dtype == ds.grad(lambda x: np.sum(f(x)))(x).dtype == np.float32


def test_constant_arrays_beside_values_of_their_shape():
    """Each has an equation of one term; arrays written afterwards are noticed."""
    a, b = np.linspace(1.0, 2.0, 20_000), np.linspace(0.1, 0.3, 20_000)
    x = np.linspace(0.2, 0.9, 20_000)
    for f, slope in ((lambda x: a * x + b, a), (lambda x: b - x, -np.ones(20_000)), (lambda x: x / a, 1.0 / a),
                     (lambda x: a / x, -a / x**2), (lambda x: np.arctan2(x, a), a / (a * a + x * x)),
                     (lambda x: np.power(a, x), a**x * np.log(a))):
        np.testing.assert_allclose(ds.grad(lambda x, f=f: np.sum(f(x)))(x), slope, rtol=1e-13)
    assert a.flags.writeable

    def changes(x):
        view = a[1:]
        y = x * a
        view[0] = 7.0
        return np.sum(y * a)
    with pytest.raises((ds.errors.MutationError, ValueError)):
        ds.grad(changes)(x)

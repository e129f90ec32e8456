"""Numba functions in differentiable programs: uncompiled, compiled, in right-hand sides."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

import diffsim as ds
from diffsim.control.kernel_digest import digest
from diffsim.errors import DifferencesWarning, FallbackWarning, InputError, InputTypeError, SolveError

X, P = np.array([1.0, 2.0, 3.0]), np.array([2.0, 1.5])


def plain(x, p):
    return p[0] * np.exp(-p[1] / x)


@njit
def rate(x, p):
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = p[0] * np.exp(-p[1] / x[i])
    return out


@njit
def rate_jvp(primals, tangents):
    (x, p), (x_dot, p_dot) = primals, tangents
    e = np.exp(-p[1] / x)
    return p[0] * e * p[1] / x**2 * x_dot + p_dot[0] * e - p[0] * e / x * p_dot[1]


@njit
def rate_vjp(primals, y_bar):
    x, p = primals
    e = np.exp(-p[1] / x)
    return p[0] * e * p[1] / x**2 * y_bar, np.array([np.sum(y_bar * e), -np.sum(y_bar * p[0] * e / x)])


KERNELS = {
    "jvp": ds.kernel(rate, rate_jvp, out="like", differences=True),
    "vjp": ds.kernel(rate, vjp=rate_vjp, out=lambda x, p: x, differences=True),
    "differences": ds.kernel(rate, differences=True),
}
EACH = pytest.mark.parametrize("name", KERNELS)


def loss(f):
    return lambda x, p: np.sum(f(x, p) ** 2)


def end(f):
    def run(y0, p):
        sol = ds.solve_ivp(lambda t, y, p: -f(y, p), (0.0, 1.0), y0, t_eval=[1.0], args=(p,), rtol=1e-8, atol=1e-10)
        return np.sum(sol.y)
    return run


@EACH
def test_eager_batched_and_compiled_agree_with_numpy(name):
    f, tol = loss(KERNELS[name]), 1e-9 if name == "differences" else 1e-13
    wanted = ds.grad(loss(plain), (0, 1))(X, P)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FallbackWarning)
        assert ds.jit(f)(X, P) == pytest.approx(f(X, P), rel=1e-14)
        for run in (ds.grad(f, (0, 1)), ds.jit(ds.grad(f, (0, 1)))):
            for a, b in zip(run(X, P), wanted, strict=True):
                np.testing.assert_allclose(a, b, rtol=tol, atol=tol)
        tangent = ds.jvp(f, (X, P), (X, P))[1]
        np.testing.assert_allclose(tangent, np.sum(wanted[0] * X) + np.sum(wanted[1] * P), rtol=tol)
        if name == "vjp":                                  # written from the other rule
            np.testing.assert_allclose(ds.jit(lambda x, p: ds.jvp(f, (x, p), (x, p))[1])(X, P), tangent, rtol=tol)
    rows = ds.vmap(ds.grad(f), (0, None))(np.stack([X, X + 1.0]), P)
    np.testing.assert_allclose(rows[1], ds.grad(loss(plain))(X + 1.0, P), rtol=tol, atol=tol)


@pytest.mark.parametrize("name", ["vjp", "differences"])
def test_a_right_hand_side_is_compiled_with_it(name):
    f, tol = end(KERNELS[name]), 1e-8 if name == "differences" else 1e-12
    with warnings.catch_warnings():
        warnings.simplefilter("error", FallbackWarning)
        for a, b in zip(ds.grad(f, (0, 1))(X, P), ds.grad(end(plain), (0, 1))(X, P), strict=True):
            np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


@njit
def cube(x):
    return x * x * x


@njit
def cube_jvp(primals, tangents):
    return 3.0 * primals[0] ** 2 * tangents[0]


def test_second_derivatives_are_differences_of_the_rule_also_compiled():
    f = ds.kernel(cube, cube_jvp, differences=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FallbackWarning)
        for hessian in (ds.hessian(f), ds.jit(ds.hessian(f))):
            assert hessian(1.5) == pytest.approx(9.0, abs=1e-8)
    assert ds.hessian(lambda x: np.sum(KERNELS["jvp"](x, P)))(X)[1, 1] == pytest.approx(
        ds.hessian(lambda x: np.sum(plain(x, P)))(X)[1, 1], abs=1e-9)


def test_numbers_tuples_and_several_results():
    @njit
    def f(x, pair, n):
        a, b = pair
        return x * a + n * b[0], b * x, n > 2

    @njit
    def f_jvp(primals, tangents):
        (x, (a, b), n), (x_dot, (a_dot, b_dot), _) = primals, tangents
        return x_dot * a + x * a_dot + n * b_dot[0], b_dot * x + b * x_dot, None

    k = ds.kernel(f, f_jvp)

    def run(f):
        def total(x, a, b, n=3):
            u, v, flag = f(x, (a, b), n)
            return u * np.sum(v) * np.where(flag, 2.0, 1.0)
        return total

    b = np.array([0.4, -0.7])
    wanted = ds.grad(run(f.py_func), (0, 1, 2))(1.3, 0.6, b)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FallbackWarning)
        for g in (ds.grad(run(k), (0, 1, 2)), ds.jit(ds.grad(run(k), (0, 1, 2)))):
            for u, v in zip(g(1.3, 0.6, b), wanted, strict=True):
                np.testing.assert_allclose(u, v, rtol=1e-13)
    assert k(1.3, (0.6, b), 3)[2]


def test_without_rules_it_warns_once():
    @njit
    def f(x):
        return np.sin(x)

    k = ds.kernel(f)
    with pytest.warns(DifferencesWarning, match=r"test_kernel\.py:\d+"):
        assert ds.grad(k)(0.5) == pytest.approx(np.cos(0.5), abs=1e-10)
    assert ds.grad(k)(0.7) == pytest.approx(np.cos(0.7), abs=1e-10)


def test_what_goes_wrong_inside_is_said():
    @njit
    def root(x):
        if x[0] < 0.0:
            raise ValueError("negative")
        return np.sqrt(x)

    k = ds.kernel(root, out="like", differences=True)
    run = ds.jit(lambda x: np.sum(k(x)))
    assert run(np.array([4.0])) == 2.0
    with pytest.raises(RuntimeError, match=r"kernel root .*raised"):
        run(np.array([-1.0]))
    with pytest.raises(ValueError, match="negative"):
        k(np.array([-1.0]))
    sol = ds.solve_ivp(lambda t, y: -1.0 - k(y), (0.0, 2.0), np.array([1.0]))
    assert not sol.success
    with pytest.raises(SolveError):
        ds.grad(lambda y: np.sum(ds.solve_ivp(lambda t, y: -1.0 - k(y), (0.0, 2.0), y, t_eval=[2.0]).y))(np.array([1.0]))


def test_wrong_declarations_and_functions_are_refused():
    short = ds.kernel(rate, rate_jvp, out=ds.ShapeDtype((2,)))
    with pytest.raises(InputError, match=r"float64\[3\]; float64\[2\] was declared"):
        ds.grad(lambda x: np.sum(short(x, P)))(X)
    with pytest.raises(InputError, match="another shape than was declared"):
        ds.jit(lambda x: short(x, P))(X)
    with pytest.raises(InputTypeError, match=r"numba\.njit.*ds\.callback"):
        ds.kernel(np.sin)
    with pytest.raises(InputTypeError, match="jvp"):
        ds.kernel(rate, plain)


# ---------------------------------------------------------------- programs from the cache
TWICE = """
import sys
import numpy as np, diffsim as ds
from numba import njit
SCALE = {scale}

@njit
def inner(x):
    return SCALE * np.sin(x)

@njit
def curve(x):
    return inner(x) * x

@njit
def curve_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    return curve(x), (SCALE * np.cos(x) * x + inner(x)) * t

k = ds.kernel(curve, jvp=curve_jvp)
f = ds.jit(ds.grad(lambda x: ds.scan(lambda c, _: (k(c), None), x, None, length=3)[0]))
v = f(np.float64(0.7))
print(f.stats["cached"], v.hex(), "numba.core.compiler" in sys.modules)
"""


def test_programs_with_kernels_come_from_the_cache(tmp_path):
    def run(scale):
        done = subprocess.run([sys.executable, "-c", TWICE.format(scale=scale)], env={**os.environ, "DIFFSIM_CACHE_DIR": str(tmp_path)},
                              capture_output=True, text=True, check=True)
        return done.stdout.split()
    first, second, other = run(0.9), run(0.9), run(0.8)
    assert [first[0], second[0], other[0]] == ["False", "True", "False"]
    assert first[1] == second[1] != other[1]


def test_what_a_digest_tells():
    table = np.arange(3.0)

    def make(n, values):
        @njit
        def f(x):
            return x * n + values[0]
        return f
    assert digest(make(2, (1.0,))) == digest(make(2, (1.0,))) != digest(make(3, (1.0,)))
    assert digest(make(2, (1.0,))) != digest(make(2, (2.0,)))
    assert digest(njit(fastmath=True)(make(2, (1.0,)).py_func)) != digest(make(2, (1.0,)))
    assert digest(make(2, table)) == digest(make(2, table.copy())) != digest(make(2, table + 1))
    assert digest(make(2, [1.0])) is None                  # a list is another value tomorrow


@pytest.mark.parametrize("transform", [ds.grad, ds.jacobian, lambda f: lambda x: ds.jvp(f, (x,), (x,))])
def test_a_numba_function_that_is_not_wrapped_is_told_how(transform):
    twice = njit(lambda x: 2.0 * x)
    with pytest.raises(TypingError) as caught:
        transform(lambda x: twice(x))(1.0)
    assert any("wrap it in diffsim.kernel" in note for note in caught.value.__notes__)

"""0 · inf in a derivative is taken as 0 where the value is finite, with a warning that names the operation; `debug_nans` finds NaN."""

import warnings

import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import NotANumberError, StrongZeroWarning

#: name: (function, point, derivative)
CASES = {
    "where and log": (lambda x: np.where(x > 0, np.log(x), 0.0), 0.0, 0.0),
    "where and sqrt": (lambda x: np.where(x > 0, np.sqrt(x), 0.0), -1.0, 0.0),
    "where, the other branch": (lambda x: np.where(x < 1, x, np.sqrt(x)), 0.0, 1.0),
    "norm written out": (lambda x: np.sqrt(x * x), 0.0, 0.0),
    "x sqrt(x)": (lambda x: x * np.sqrt(x), 0.0, 0.0),
    "where and 1/x": (lambda x: np.where(x > 0, 1 / x, x), 0.0, 1.0),
    "where and a power": (lambda x: np.where(x > 0, x**0.3, x), 0.0, 1.0),
    "where and overflow": (lambda x: np.where(x < 0, np.exp(x), x), 1000.0, 1.0),
}
VERBS = {
    "grad": lambda f, x: ds.grad(f)(x),
    "value_and_grad": lambda f, x: ds.value_and_grad(f)(x)[1],
    "vjp": lambda f, x: ds.vjp(f, x)[1](1.0)[0],
    "jvp": lambda f, x: ds.jvp(f, (x,), (1.0,))[1],
    "linearize": lambda f, x: ds.linearize(f, x)[1](1.0),
    "jacobian": lambda f, x: ds.jacobian(f)(x),
    "vmap of grad": lambda f, x: ds.vmap(ds.grad(f))(np.array([x, x]))[1],
    "grad of vmap": lambda f, x: ds.grad(lambda z: np.sum(ds.vmap(f)(z)))(np.array([x]))[0],
    "jit of grad": lambda f, x: ds.jit(ds.grad(f))(x),
    "jit of value_and_grad": lambda f, x: ds.jit(ds.value_and_grad(f))(x)[1],
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", CASES)
def test_a_zero_stays_a_zero(name, verb):
    f, x, wanted = CASES[name]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", StrongZeroWarning)  # forward accumulation needs no repair in half of them
        assert VERBS[verb](f, x) == wanted


@pytest.mark.parametrize(("name", "verb"), [
    (name, verb) for name in ("where and log", "where and sqrt", "x sqrt(x)")
    for verb in ("grad", "vjp", "vmap of grad", "grad of vmap", "jit of grad")
    if (name, verb) != ("x sqrt(x)", "jit of grad")])      # there the product has become 1.5 sqrt(x), which needs no repair
def test_a_repair_is_announced_with_the_operation_and_its_line(name, verb):
    f, x, _ = CASES[name]
    with np.errstate(all="ignore"), pytest.warns(StrongZeroWarning, match=rf"`(log|sqrt)`.*{line_of(f)}"):
        VERBS[verb](f, x)


@pytest.mark.parametrize("verb", VERBS)
def test_a_true_infinity_stays(verb):
    with np.errstate(all="ignore"):
        assert VERBS[verb](np.sqrt, 0.0) == np.inf


@pytest.mark.parametrize(("f", "second"), [(lambda x: np.where(x > 0, np.log(x + 1), x**2), 2.0),
                                           (lambda x: np.where(x > 0, np.sqrt(x), 1.5 * x**2), 3.0)])
def test_second_derivatives_are_repaired(f, second):
    with np.errstate(all="ignore"), pytest.warns(StrongZeroWarning):
        got = [ds.grad(ds.grad(f))(-1.0), ds.hessian(f)(-1.0), ds.hvp(f, (-1.0,), (1.0,)), ds.jvp(ds.grad(f), (-1.0,), (1.0,))[1]]
    assert got == [second] * 4


def test_arrays_are_repaired_element_by_element():
    x = np.array([0.0, 2.0, -3.0])
    with np.errstate(all="ignore"), pytest.warns(StrongZeroWarning):
        g = ds.grad(lambda x: np.sum(np.where(x > 0, np.log(x), 0.0) * x))(x)
    np.testing.assert_array_equal(g, [0.0, np.log(2.0) + 1.0, 0.0])


def test_finite_derivatives_give_no_warning_and_a_bad_value_is_left_alone():
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("error")
        ds.grad(lambda x: np.where(x > 0, np.log(x), 0.0))(2.0)
        assert np.isnan(ds.grad(lambda x: np.log(x - 1) * np.sqrt(-x))(1.0))


def test_a_right_hand_side_with_a_guarded_root_has_a_gradient():
    """Torricelli's tank filled from empty: y' = q - a sqrt(y), at y = 0 on the first step."""
    def tank(t, y, p):
        return np.array([p[0] - p[1] * np.where(y[0] > 0, np.sqrt(y[0]), 0.0)])

    def level(p):
        return ds.solve_ivp(tank, (0.0, 1.0), np.zeros(1), t_eval=[1.0], args=(p,), rtol=1e-9, atol=1e-12).y[0, 0]

    p, h = np.array([1.0, 0.5]), 1e-5
    wanted = [(level(p + h * e) - level(p - h * e)) / (2 * h) for e in np.eye(2)]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", StrongZeroWarning)
        np.testing.assert_allclose(ds.grad(level)(p), wanted, rtol=1e-5)
        np.testing.assert_allclose([ds.jvp(level, (p,), (e,))[1] for e in np.eye(2)], wanted, rtol=1e-5)
        np.testing.assert_allclose(ds.jit(ds.grad(level))(p), wanted, rtol=1e-5)


def test_the_adjoint_of_a_solve_is_repaired():
    """y' = -y + f(p): dy(1)/dp = f'(p) (1 - 1/e).  The program of the first sweep, which gave NaN, must not serve the second."""
    def end(p):
        f = np.where(p > 0, np.log(p), 0.0)
        return ds.solve_ivp(lambda t, y, f: -y + np.where(f > 0, np.log(f), 0.0), (0.0, 1.0), f, t_eval=[1.0], args=(p,)).y[:, -1]

    p = np.array([0.0, 1.0])
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", StrongZeroWarning)
        forwards = ds.jacfwd(end)(p)
        assert forwards[0, 0] == 0.0
        assert np.isfinite(forwards).all()
        for _ in range(2):
            np.testing.assert_allclose(ds.jacrev(end)(p), forwards, rtol=1e-4, atol=1e-12)
        np.testing.assert_allclose(ds.jit(ds.grad(lambda p: np.sum(end(p))))(p), np.sum(forwards, axis=0), rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("derivative", [ds.grad, lambda f: ds.jit(ds.grad(f)), lambda f: (lambda p: ds.jvp(f, (p,), (np.ones(2),))[1])])
def test_a_tangent_inside_a_solve_keeps_its_zeros(derivative):
    """The probe in the error norm, and the tangent of the state, meet the root of a sum of squares at 0."""
    def loss(p):
        return ds.solve_ivp(lambda t, y, p: y * np.sqrt(np.sum(p * p)), (0.0, 1.0), np.ones(1), t_eval=[1.0], args=(p,)).y[0, 0]

    with np.errstate(all="ignore"), pytest.warns(StrongZeroWarning):
        np.testing.assert_array_equal(derivative(loss)(np.zeros(2)), 0.0)


def test_a_solve_that_is_not_finite_still_fails_under_a_derivative():
    def loss(p):
        return ds.solve_ivp(lambda t, y, p: -y + np.log(p - 1.0), (0.0, 1.0), np.ones(1), t_eval=[1.0], args=(p,)).y[0, 0]

    for derivative in (ds.grad(loss), ds.jit(ds.grad(loss))):
        with np.errstate(all="ignore"), pytest.raises(ds.errors.SolveError):
            derivative(0.5)


def line_of(f):
    return f"test_strong_zeros.py:{f.__code__.co_firstlineno}"


def test_debug_nans_names_the_first_operation_and_its_line():
    f = lambda x: np.sum(np.exp(np.sqrt(x)))                # noqa: E731
    for run in (lambda: ds.grad(f)(np.array([-1.0])), lambda: ds.jvp(f, (np.array([-1.0]),), (np.ones(1),)),
                lambda: ds.jit(ds.grad(f))(np.array([-1.0]))):
        with np.errstate(all="ignore"), ds.debug_nans(), pytest.raises(NotANumberError, match=f"`sqrt`.*{line_of(f)}"):
            run()


@pytest.mark.parametrize("f", [lambda x: np.sum(np.sqrt(x - 1.0)), lambda x: np.sum(np.exp(np.sqrt(x - 1.0)))])
def test_debug_nans_looks_at_what_is_made_of_intermediate_values(f):
    for run in (lambda: ds.grad(f)(np.zeros(2)), lambda: ds.jvp(f, (np.zeros(2),), (np.ones(2),))):
        with np.errstate(all="ignore"), ds.debug_nans(), pytest.raises(NotANumberError, match=rf"`sqrt`[^;]*{line_of(f)}\)$"):
            run()


def test_debug_nans_finds_what_arises_on_the_way_back():
    f = lambda x: np.sum(np.exp(x * np.sqrt(x) + x))        # noqa: E731
    with np.errstate(all="ignore"), ds.debug_nans(), pytest.raises(FloatingPointError, match=f"backward.*`sqrt`.*{line_of(f)}"):
        ds.grad(f)(np.array([0.0, 1.0]))


def test_debug_nans_is_silent_on_good_programs_and_ends_with_its_block():
    with ds.debug_nans():
        np.testing.assert_array_equal(ds.grad(lambda x: np.sum(x * x))(np.ones(2)), [2, 2])
    with np.errstate(all="ignore"):
        assert np.isnan(ds.grad(np.sqrt)(-1.0))


def test_debug_nans_says_where_a_nan_came_in():
    with ds.debug_nans(), pytest.raises(NotANumberError, match="operand was NaN already"):
        ds.grad(lambda x: x * np.nan)(1.0)


def test_a_product_that_is_zero_and_finite_keeps_its_derivative():
    """log(1) = 0 is a factor of the gradient of x log x, whose own derivative at 1 is 1."""
    def f(x):
        return np.sum(np.where(x > 0, np.log(x), 0.0) * x)
    with np.errstate(all="ignore"), pytest.warns(StrongZeroWarning):
        got = ds.hessian(f)(np.array([0.0, 1.0, 2.0]))
    np.testing.assert_allclose(got, np.diag([0.0, 1.0, 0.5]), atol=1e-15)


def test_nan_in_the_data_does_not_keep_other_elements_from_being_repaired():
    def loss(b):
        return np.sum(np.where(b != 0, 1 / b, 0.0))
    b = np.array([0.0, 1.0, np.nan])
    for g in (ds.grad(loss), ds.jit(ds.grad(loss)), lambda b: ds.vmap(ds.grad(loss))(np.array([b, b]))[1]):
        with np.errstate(all="ignore"), pytest.warns(StrongZeroWarning):
            got = g(b)
        np.testing.assert_array_equal(got, [0.0, -1.0, np.nan])
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", StrongZeroWarning)
        np.testing.assert_array_equal(ds.jacfwd(loss)(b), [0.0, -1.0, np.nan])


def test_what_makes_the_value_nan_is_not_repaired():
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(ds.grad(lambda x: 0.0 * np.log(x))(0.0))
        np.testing.assert_array_equal(ds.vmap(ds.grad(lambda x: 0.0 * np.log(x)))(np.array([0.0, 1.0])), [np.nan, 0.0])

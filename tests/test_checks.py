"""The public checks pass right derivatives and catch wrong ones."""

import numpy as np
import pytest

import diffsim as ds
from diffsim.core import REGISTRY
from diffsim.errors import InputError, InputTypeError
from diffsim.testing import check_grads, check_primitive, taylor_test


def right(theta, x):
    return {"a": np.sin(theta["k"] * x), "b": [np.sum(x**3) * theta["m"][0]]}


def wrong(x):
    """x², of which half the derivative is hidden."""
    return np.sum(x * ds.stop_gradient(x))


ARGS = ({"k": 1.3, "m": np.array([0.4, 0.6])}, np.array([0.2, -0.7, 1.1]))


@pytest.mark.parametrize("modes", [("fwd",), ("rev",), ("fwd", "rev")])
def test_check_grads_passes_a_right_derivative_of_pytrees(modes, rng):
    check_grads(right, ARGS, order=2, modes=modes, rng=rng)


@pytest.mark.parametrize("mode", ["fwd", "rev"])
def test_check_grads_catches_a_wrong_derivative(mode, rng):
    with pytest.raises(AssertionError, match={"fwd": "forward", "rev": "reverse"}[mode]):
        check_grads(wrong, (np.array([0.5, 1.5]),), order=1, modes=(mode,), rng=rng)


def test_check_grads_catches_a_wrong_second_derivative(rng):
    """The first derivative is right, the second hidden."""
    def hidden(x):
        return x * ds.stop_gradient(3.0 * x**2) - ds.stop_gradient(2.0 * x**3)

    check_grads(lambda x: x**3, (np.array(1.3),), order=2, rng=rng)
    assert ds.grad(hidden)(1.3) == ds.grad(lambda x: x**3)(1.3)
    with pytest.raises(AssertionError):
        check_grads(lambda x: ds.grad(hidden)(x) * 1.0, (np.array(1.3),), order=1, rng=rng)


def test_check_grads_refuses_nonsense():
    with pytest.raises(InputTypeError, match="tuple"):
        check_grads(np.sin, 1.0)
    with pytest.raises(InputError, match="modes"):
        check_grads(np.sin, (1.0,), modes=("forward",))
    with pytest.raises(InputError, match="order"):
        check_grads(np.sin, (1.0,), order=0)


def test_check_primitive_counts_the_samples():
    assert check_primitive(REGISTRY["sin"]) >= 3
    with pytest.raises(InputError, match="no samples"):
        check_primitive(REGISTRY["stop_gradient"])
    with pytest.raises(InputTypeError, match="function"):
        check_primitive(lambda x: x)


def test_taylor_test_measures_order_two(rng):
    x = {"a": np.array([0.3, 0.9]), "b": 0.5}
    assert taylor_test(lambda x: np.sum(np.exp(x["a"])) * x["b"] ** 2, x, rng=rng) == pytest.approx(2.0, abs=0.1)
    assert taylor_test(lambda x: 3.0 * x, 2.0) == np.inf


def test_taylor_test_catches_a_wrong_gradient(rng):
    with pytest.raises(AssertionError, match=r"order (0\.9|1\.0)"):
        taylor_test(wrong, np.array([0.5, 1.5]), rng=rng)

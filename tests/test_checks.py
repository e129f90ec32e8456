"""The public checks pass right derivatives and catch wrong ones."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

import diffsim as ds
from diffsim.core import REGISTRY, Absent
from diffsim.errors import InputError, InputTypeError
from diffsim.testing import check_grads, check_primitive, slot_table, taylor_test


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


# ---------------------------------------------------------------- what the checks look at
def test_leaves_that_carry_no_derivative_are_passed_over(rng):
    def f(state, n, name):
        return {"y": state["x"] ** n, "count": n, "name": name}

    check_grads(f, ({"x": np.array([0.3, 1.2]), "index": np.array([1, 2])}, 3, "cubic"), rng=rng)
    with pytest.raises(InputError, match="nothing to differentiate"):
        check_grads(lambda n: n, (3,))


def test_complex_functions_are_checked_in_both_directions(rng):
    z = np.array([0.3 + 0.4j, -1.0 + 0.2j])
    check_grads(lambda z: np.conj(z) * np.sin(z), (z,), rng=rng)
    check_grads(lambda z, x: np.abs(z) ** 2 * x, (z, np.array([1.0, 2.0])), rng=rng)

    half = ds.custom_jvp(lambda z: z**2)                   # right along the real axis only
    half.defjvp(lambda p, t: (p[0] ** 2, 2.0 * p[0] * np.real(t[0])))
    for mode in ("fwd", "rev"):
        with pytest.raises(AssertionError, match="against differences"):
            check_grads(lambda z: half(z), (z,), order=1, modes=(mode,), rng=rng)


def test_single_precision_is_compared_with_double(rng):
    x = np.array([0.3, 1.2], np.float32)
    check_grads(lambda x: np.exp(x) * x, (x,), rng=rng)
    off = ds.custom_jvp(lambda x: np.exp(x))
    off.defjvp(lambda p, t: (np.exp(p[0]), np.exp(p[0]) * t[0] * p[0].dtype.type(1.05)))
    with pytest.raises(AssertionError, match="forward"):
        check_grads(lambda x: off(x), (x,), order=1, rng=rng)


def test_the_wrong_leaf_is_named(rng):
    def f(p, y):
        return {"right": p["a"] * y[0], "wrong": np.sin(p["a"]) * ds.stop_gradient(p["b"][1]) + y[1]}

    args = ({"a": 0.4, "b": [1.0, 2.0]}, (3.0, 4.0))
    with pytest.raises(AssertionError, match=r"the value\['wrong'\]"):
        check_grads(f, args, order=1, modes=("fwd",), rng=rng)
    with pytest.raises(AssertionError, match=r"argument 0\['b'\]\[1\] \(") as caught:
        check_grads(f, args, order=1, modes=("rev",), rng=rng)
    assert "['a']" not in str(caught.value)


def test_taylor_test_measures_the_hessian(rng):
    x = {"a": np.array([0.3, 0.9]), "b": 0.5}
    assert taylor_test(lambda x: np.sum(np.exp(x["a"])) * x["b"] ** 2, x, order=2, rng=rng) == pytest.approx(3.0, abs=0.1)

    bent = ds.custom_vjp(lambda x: np.sum(x**3))           # the gradient is right, its derivative is not
    bent.defvjp(lambda x: (np.sum(x**3), x), lambda x, w: (3.0 * ds.stop_gradient(x) * x * w,))
    assert taylor_test(lambda x: bent(x), np.array([0.5, 1.5]), rng=rng) == pytest.approx(2.0, abs=0.1)
    with pytest.raises(AssertionError, match="Hessian"):
        taylor_test(lambda x: bent(x), np.array([0.5, 1.5]), order=2, rng=rng)
    with pytest.raises(InputError, match="order"):
        taylor_test(np.sum, x["a"], order=3)


def test_check_primitive_tries_operands_that_are_not_contiguous():
    def impl(x):
        out = np.array(x)
        out.reshape(-1)[0] = 0.0                           # a copy where x is in column order
        return out

    keep = np.array([[0.0, 1.0], [1.0, 1.0]])
    careless = ds.primitive.linear("careless", impl, lambda w, x: (w * keep.astype(w.dtype),), samples=[((np.ones((2, 2)),), {})])
    with pytest.raises(AssertionError, match=r"careless.*not contiguous"):
        check_primitive(careless)


# ---------------------------------------------------------------- pages
def test_the_table_of_primitives_is_current():
    page = Path(__file__).parent.parent / "docs" / "primitives.md"
    assert page.read_text() == slot_table(), "run: python -m diffsim.testing > docs/primitives.md"


def test_every_primitive_has_a_tangent():
    for prim in REGISTRY.values():
        if "." not in prim.name:
            assert not isinstance(prim.jvp, Absent), prim.name


def test_the_recipe_for_primitives_runs():
    """The blocks of docs/add_a_primitive.md, in order; what a block prints stands in the text block after it."""
    page = (Path(__file__).parent.parent / "docs" / "add_a_primitive.md").read_text()
    scope = {"__name__": "recipe"}
    blocks = re.findall(r"```(python|text)\n(.*?)```", page, re.DOTALL)
    assert sum(kind == "python" for kind, _ in blocks) >= 4
    try:
        for (kind, code), (following, expected) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
            if kind == "python":
                shown = io.StringIO()
                with contextlib.redirect_stdout(shown):
                    exec(compile(code, "docs/add_a_primitive.md", "exec"), scope)
                assert shown.getvalue() == (expected if following == "text" else "")
    finally:
        REGISTRY.pop("hinge", None)


def test_a_checked_function_may_write_into_its_own_arrays():
    def f(x):
        y = np.zeros(2)
        y[0] = x[0] * x[1]
        return y
    ds.testing.check_grads(f, (np.array([1.0, 2.0]),))

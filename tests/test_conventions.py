"""Conventions at kinks, ties, zeros, special points: the tables of docs/conventions.md, executed in both modes."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import diffsim as ds

PAGE = Path(__file__).parent.parent / "docs" / "conventions.md"


def written_twice(x):
    """Two writes to one place: the last counts."""
    y = np.zeros(3)
    y[[1, 1]] = x
    return np.sum(y * np.array([1.0, 2.0, 3.0]))


def reused_buffer(x):
    """A buffer that is written again after it was read."""
    buffer, total = np.zeros(3), 0.0
    for i in range(3):
        buffer[:] = i
        total = total + np.sum(x * buffer)
    return total


OUTSIDE = np.zeros(3)


def rows(wanted):
    """Rows of the tables whose fourth column has a given heading: (case, code, point, derivative)."""
    heading = None
    for line in PAGE.read_text().splitlines():
        cells = [c.strip() for c in line.strip().strip("|").split(" | ")] if line.startswith("| ") else None
        if cells and cells[0] == "case":
            heading = cells[3]
        elif cells and heading == wanted:
            yield pytest.param(*[c.strip("`") for c in cells[1:4]], id=re.sub(r"[^\w]+", " ", cells[0]))


def function(code):
    names = {"np": np, "written_twice": written_twice, "reused_buffer": reused_buffer}
    argument = "z" if re.search(r"\bz\b", code) else "x"
    return eval(f"lambda {argument}: {code}", names)


def value(code):
    return eval(code, {"np": np})


@pytest.mark.parametrize(("code", "at", "wanted"), list(rows("derivative")))
def test_a_convention_holds_in_both_modes(code, at, wanted):
    f, x, wanted = function(code), value(at), np.asarray(value(wanted))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ds.errors.StrongZeroWarning)
        backward = ds.grad(f)(x)
        forward = [ds.jvp(f, (x,), (e,))[1] for e in directions(x)]
    np.testing.assert_allclose(backward, wanted, rtol=1e-14, atol=1e-15)
    assert np.asarray(backward).dtype == np.asarray(x).dtype
    pairs = [np.sum(np.real(np.asarray(wanted) * e)) for e in directions(x)]
    np.testing.assert_allclose(forward, pairs, rtol=1e-14, atol=1e-15)


def directions(x):
    """The unit tangents of a point; of a complex one also the imaginary ones."""
    x = np.asarray(x)
    units = [np.eye(x.size)[i].reshape(x.shape).astype(x.dtype)[()] for i in range(x.size)]
    return units + [1j * e for e in units] if x.dtype.kind == "c" else units


@pytest.mark.parametrize(("code", "at", "wanted"), list(rows("second derivative")))
def test_a_second_derivative_holds(code, at, wanted):
    f, x, wanted = function(code), value(at), value(wanted)
    got = [ds.grad(ds.grad(f))(x), ds.hessian(f)(x), ds.jvp(ds.grad(f), (x,), (1.0,))[1]]
    np.testing.assert_allclose(got, [wanted] * 3, rtol=1e-12, atol=1e-14)


def test_the_page_has_every_table():
    assert len(list(rows("derivative"))) >= 50
    assert len(list(rows("second derivative"))) >= 5
    assert sum("**" in line.rpartition("|")[0].rpartition("|")[2] for line in PAGE.read_text().splitlines() if line.startswith("| ")) >= 9


def test_a_buffer_of_the_callers_may_be_reused():
    def f(x):
        total = 0.0
        for i in range(3):
            OUTSIDE[:] = i
            total = total + np.sum(x * OUTSIDE)
        return total
    np.testing.assert_array_equal(ds.grad(f)(np.ones(3)), [3, 3, 3])


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


@pytest.mark.parametrize("jacobian", [ds.jacfwd, ds.jacrev])
def test_a_plane_of_equal_eigenvalues_has_a_derivative(jacobian):
    """The projector on it is unique: dP = sum over the other vectors w of (P dA w wT + w wT dA P) / (a - w's) (Kato, II.2.14)."""
    def projector(x):
        v = np.linalg.eigh(x)[1][:, :2]
        return v @ v.T

    with pytest.warns(ds.errors.DegeneracyWarning, match="the space those vectors span"):
        got = jacobian(projector)(np.diag([1.0, 1.0, 3.0]))
    wanted = np.zeros((3, 3, 3, 3))
    for i in range(2):
        wanted[i, 2, 2, i] = wanted[2, i, 2, i] = -0.5
    np.testing.assert_allclose(got, wanted, atol=1e-15)

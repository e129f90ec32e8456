"""Long functions are compiled in parts: what they compute and how they fail does not change, and no function is long."""

import ctypes

import numpy as np
import pytest

import diffsim as ds
from diffsim.codegen import engine, parts, program
from diffsim.codegen.kernel import kernel_ir
from diffsim.core import Aval
from diffsim.errors import SolveError
from diffsim.prims import elementwise as e
from diffsim.prims.gather import gather, within
from diffsim.prims.layout import convert, reduce_sum
from diffsim.transforms import trace


@pytest.fixture(autouse=True)
def compiled_anew(monkeypatch):
    monkeypatch.setattr(program, "_stored", lambda key: (None, None))


@pytest.fixture(params=[1, 60])
def in_parts(request, monkeypatch):
    """Every function is split, after so many lines."""
    def split():
        monkeypatch.setattr(parts, "LONG", 0)
        monkeypatch.setattr(parts, "PART", request.param)
    return split


def waves(u):
    """Array statements, numbers that later ones read, a minimum, a choice by an index, a factorisation and a loop."""
    total = 0.0
    for _ in range(4):
        flux = u[1:] * u[:-1] + total
        total = np.sum(flux**2) / u.size
        u = np.concatenate([flux, u[:1]]) + np.min(u) * np.sin(total)
        u = u / (1 + u[np.argmax(u)] ** 2)
    root = np.linalg.cholesky(np.outer(u, u) + 9 * np.eye(u.size))
    return np.sum(ds.scan(lambda c, _: (c * np.cos(c), None), root @ u, None, length=3)[0]) + total


def test_a_program_in_parts_gives_the_same_bits(in_parts, rng):
    u, f = rng.normal(size=9), ds.value_and_grad(waves)
    whole, slope = ds.jit(f)(u)
    in_parts()
    split = ds.jit(f)
    got, bar = split(u)
    assert got == whole
    np.testing.assert_array_equal(bar, slope)
    text = split._last.program.text()
    assert text.count("define internal i64") + text.count("define internal void") > 9


def test_an_index_out_of_bounds_in_any_part_is_told(in_parts, rng):
    in_parts()
    u = rng.normal(size=6)
    f = ds.jit(lambda u, i, j: np.sum(np.sin(u[i])) + np.sum(np.cos(u) * u[j]) * np.prod(u))
    assert f(u, np.array([1, -6]), np.array([5])) == pytest.approx(np.sum(np.sin(u[[1, 0]])) + np.sum(np.cos(u)) * u[5] * np.prod(u))
    for i, j, wrong in ((7, 2, 7), (2, -9, -9)):
        with pytest.raises(IndexError, match=f"index {wrong} is out of bounds for axis 0 with size 6"):
            f(u, np.array([1, i]), np.array([j]))
    assert np.isfinite(f(u, np.array([0, 1]), np.array([0])))


def test_a_call_that_gives_up_leaves_its_part_and_the_program(in_parts):
    in_parts()

    def f(y0, k):
        first = ds.solve_ivp(lambda t, y: k * y**2, (0.0, 1.0), np.array([y0]), t_eval=[1.0], rtol=1e-6).y
        return np.sum(np.sin(first) + k) * np.cos(y0)
    compiled = ds.jit(ds.value_and_grad(f, argnums=(0, 1)))
    value, bars = compiled(0.5, 1.0)
    want, slopes = ds.value_and_grad(f, argnums=(0, 1))(0.5, 1.0)
    np.testing.assert_allclose([value, *bars], [want, *slopes], rtol=1e-12)
    with pytest.raises(SolveError):
        compiled(2.0, 1.0)                                   # y' = y**2 from 2 has no solution at 1
    np.testing.assert_allclose(compiled(0.5, 1.0)[0], want, rtol=1e-12)


def test_a_kernel_in_parts_gives_nan_for_an_index_out_of_bounds(in_parts):
    def f(x):
        at = within(convert(x, dtype=np.dtype(np.int64)), size=5, axis=0)
        return [e.add(e.mul(e.sin(gather(x, at)), reduce_sum(x, axes=(0,))), gather(x, np.arange(5)[::-1]))]
    in_parts()
    text = kernel_ir("kernel", [("x", "ptr"), ("y", "ptr")], trace(f, [Aval((5,), np.dtype(float))])[0], [("x", 0)], [("y", 0, False)])
    assert text.count("define") > 1
    run = engine.compile_ir([text], ["kernel"]).function("kernel", None, ctypes.c_void_p, ctypes.c_void_p)
    x, y = np.array([0.0, 2.0, -1.0, 4.0, 1.0]), np.empty(5)
    run(x.ctypes.data, y.ctypes.data)
    np.testing.assert_allclose(y, np.sin(x[x.astype(int)]) * np.sum(x) + x[::-1], rtol=1e-14)
    x[1] = 5.0
    run(x.ctypes.data, y.ctypes.data)
    assert np.isnan(y).all()


def test_no_function_of_a_long_program_is_long(monkeypatch):
    monkeypatch.setattr(parts, "LONG", 300)
    monkeypatch.setattr(parts, "PART", 200)

    def f(u):
        for k in range(60):
            u = 0.9 * u + 0.01 * np.sin(u[::-1] * k) * np.sum(u)
        return u
    compiled, u = ds.jit(f), np.linspace(0, 1, 40)
    np.testing.assert_allclose(compiled(u), f(u), rtol=1e-7)
    lengths = [text.count("\n") for text in compiled._last.program.text().split("\ndefine internal ")]
    assert sum(lengths) > 1500
    assert max(lengths) < 300

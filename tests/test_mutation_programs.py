"""Unmodified NumPy programs: the value bit for bit, and derivatives that agree in every mode."""

import copy

import numpy as np
import pytest
from programs import algebra, estimation, fields, motion, objects, pictures, scripts

import diffsim as ds
from diffsim.core import eval_graph
from diffsim.testing.laws import close, richardson

MODULES = (fields, motion, algebra, estimation, pictures, objects, scripts)
PROGRAMS = {f: domains for module in MODULES for f, domains in module.PROGRAMS.items()}
BY_VALUE = set().union(*[getattr(module, "BY_VALUE", set()) for module in MODULES])
#: Programs that sort, which no generated code does: jit runs them uncompiled.
#: Programs whose value is rounded otherwise in places.
ROUNDED = scripts.ROUNDED
#: Programs in single precision: differences see only that much.
SINGLE = {pictures.mixed_precision}


def points(f, rng):
    """Arguments of a program, a direction, and what plain NumPy makes of them."""
    x = [rng.uniform(low, high, shape) for low, high, shape in PROGRAMS[f]]
    x = [a if a.shape else float(a) for a in x]
    v = [rng.uniform(-1, 1, np.shape(a)) if np.ndim(a) else float(rng.uniform(-1, 1)) for a in x]
    return x, v, leaves(f(*copy.deepcopy(x)))


def leaves(value):
    return [np.asarray(a) for a in ds.tree.leaves(value)]


def identical(got, wanted, what, f=None):
    """Raise unless two lists of arrays have the same shapes, dtypes and bits (all but the last bits for a program that is rounded)."""
    for n, (a, b) in enumerate(zip(leaves(got), leaves(wanted), strict=True)):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), f"{what}, part {n}: {a.dtype}{a.shape}, NumPy's is {b.dtype}{b.shape}"
        np.testing.assert_allclose(a, b, rtol=1e-14 if f in ROUNDED else 0.0, err_msg=f"{what}, part {n}")


def test_there_are_eighty_programs():
    assert len(PROGRAMS) >= 80


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_a_program_has_numpys_value_and_its_derivatives_agree(f, rng):
    x, v, plain = points(f, rng)
    given = copy.deepcopy(x)
    value, tangent = ds.jvp(f, tuple(x), tuple(v))
    identical(value, plain, "jvp", f)
    value, pullback = ds.vjp(f, *x)
    identical(value, plain, "vjp", f)
    value, push = ds.linearize(f, *x)
    identical(value, plain, "linearize", f)
    identical(x, given, "the arguments")

    single = f in SINGLE
    wanted = richardson(lambda p: leaves(f(*[copy.copy(a) for a in p])), x, v, 1e-3)
    close(leaves(tangent), wanted, 2e-3 if single else 1e-8, "forward derivative against differences")
    close(leaves(push(*v)), leaves(tangent), 1e-6 if single else 1e-13, "linearised derivative against the forward one")
    w = [rng.uniform(-1, 1, a.shape).astype(a.dtype) for a in plain]
    struct = ds.tree.flatten(value)[1]
    bars = pullback(ds.tree.unflatten(struct, [a if a.shape else a[()] for a in w]))
    left = sum(np.sum(a * b, dtype=float) for a, b in zip(w, leaves(tangent), strict=True))
    size = sum(np.sum(np.abs(a * b)) for a, b in zip(w, leaves(tangent), strict=True))
    right = sum(np.sum(a * b, dtype=float) for a, b in zip(bars, v, strict=True))
    assert abs(left - right) <= (1e-6 if single else 1e-13) * (1.0 + size)


@pytest.mark.parametrize("f", [f for f in PROGRAMS if f not in BY_VALUE], ids=lambda f: f.__name__)
def test_the_graph_of_a_program_is_the_program(f, rng):
    x, _, plain = points(f, rng)
    graph = ds.make_graph(f)(*x).verify()
    identical(eval_graph(graph, *[np.asarray(a) for a in x]), plain, "graph", f)
    close(leaves(ds.jit(f)(*x)), plain, 1e-6 if f in SINGLE else 1e-12, "compiled")


@pytest.mark.parametrize("f", [f for f in PROGRAMS if f in BY_VALUE], ids=lambda f: f.__name__)
def test_a_program_that_asks_for_numbers_has_no_graph_and_says_so(f, rng):
    x, _, plain = points(f, rng)
    with pytest.raises(TypeError, match=rf"{f.__module__.rpartition('.')[2]}\.py:\d+"):
        ds.make_graph(f)(*x)
    with pytest.warns(ds.errors.FallbackWarning):
        identical(ds.jit(f)(*x), plain, "jit, uncompiled", f)

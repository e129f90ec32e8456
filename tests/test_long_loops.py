"""Long eager loops run compiled: the same values and derivatives, to rounding, as the loop step by step."""

import gc
import weakref

import numpy as np
import pytest

import diffsim as ds
from diffsim.control import long
from diffsim.errors import NotANumberError

COSTS = ("STEP", "COMPILE", "COMPILE_EACH")


@pytest.fixture
def counted(monkeypatch):
    """Every loop of more than ten steps is worth compiling; the primitives whose programs were made."""
    made, make = [], long._made
    monkeypatch.setattr(long, "worth", lambda steps, body: steps > 10)
    monkeypatch.setattr("diffsim.control.loops.worth", lambda steps, body: steps > 10)
    monkeypatch.setattr(long, "_made", lambda prim, *rest: made.append(prim.name) or make(prim, *rest))
    monkeypatch.setattr(long, "_programs", type(long._programs)())
    return made


def oscillator(x, v, n):
    def step(state, k):
        q, v = state
        v = v - 0.1 * (np.sin(q) + 0.3 * v) * k
        return (q + 0.1 * v, v), q * v
    (q, v), work = ds.scan(step, (x, v), np.linspace(1.0, 2.0, n))
    return np.sum(q * v) + np.sum(work * work)


def shrinking(x, v, n):
    def go_on(state):
        return state[2] < n

    def body(state):
        q, v, i = state
        v = v - 0.1 * (np.sin(q) + 0.3 * v)
        return q + 0.1 * v, v, i + 1
    q, v, _ = ds.while_loop(go_on, body, (x, v, 0))
    return np.sum(q * v * q)


DERIVATIVES = {
    "gradient": lambda f: ds.grad(f, (0, 1)), "tangent": lambda f: lambda x, v: ds.jvp(f, (x, v), (v, x))[1],
    "hessian": lambda f: ds.hessian(f, (0, 1)), "hvp": lambda f: lambda x, v: ds.hvp(f, (x, v), (v, x)),
    "batch": lambda f: lambda x, v: ds.vmap(ds.grad(f))(np.stack([x, v]), np.stack([v, x])),
}  # fmt: skip


@pytest.mark.parametrize("kind", DERIVATIVES)
@pytest.mark.parametrize("loop", [oscillator, shrinking])
def test_derivatives_are_those_of_the_loop_step_by_step(counted, monkeypatch, loop, kind):
    x, v = np.array([0.3, 0.5]), np.array([1.0, -0.2])
    got = DERIVATIVES[kind](lambda x, v: loop(x, v, 23))(x, v)
    assert counted
    monkeypatch.setattr(long, "worth", lambda steps, body: False)
    monkeypatch.setattr("diffsim.control.loops.worth", lambda steps, body: False)
    want = DERIVATIVES[kind](lambda x, v: loop(x, v, 23))(x, v)
    for a, b in zip(ds.tree.leaves(got), ds.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_a_program_serves_its_loop_alone(counted):
    x, v = np.array([0.3]), np.array([1.0])
    ends = [ds.jvp(lambda x, n=n: shrinking(x, v, n), (x,), (x,)) for n in (20, 30)]
    assert counted == ["while", "while"]
    assert ends[0][0] != ends[1][0]
    again = ds.jvp(lambda x: shrinking(x, v, 20), (x,), (x,))
    assert len(counted) == 2
    assert again == ends[0]


def test_a_loop_that_ends_while_it_is_counted_is_whole(counted):
    for n in (10, 11, 12):
        g = ds.grad(lambda x, n=n: shrinking(x, np.array([1.0]), n))(np.array([0.3]))
        assert np.all(np.isfinite(g))
    assert counted


def test_nan_is_found_in_the_steps_of_a_long_loop(counted):
    def f(x):
        return ds.scan(lambda c, k: (np.sqrt(c - k), None), x, np.ones(40))[0]
    with ds.debug_nans(), np.errstate(all="ignore"), pytest.raises(NotANumberError, match="gave NaN"):
        ds.grad(f)(1.5)
    assert not counted


def test_few_programs_are_kept(counted, monkeypatch):
    monkeypatch.setattr(long, "KEPT", 2)
    bodies, stored = [], long._programs
    for i in range(5):
        ds.grad(lambda x, i=i: ds.scan(lambda c, k: (c * np.cos(k * i), None), x, np.ones(30))[0])(0.7)
        bodies.append(weakref.ref(next(reversed(stored.values()))))
    gc.collect()
    assert len(stored) == 2
    assert sum(b() is not None for b in bodies) <= 2


def test_what_a_loop_must_cost_to_be_compiled():
    body = ds.make_graph(lambda x: np.sin(x) * x + 1.0)(np.ones(3))
    assert not long.worth(10_000, body)
    assert long.worth(100_000, body)

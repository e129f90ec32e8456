"""Implicit methods with steps of one size, Crank-Nicolson and the implicit midpoint rule: order, invariants, exact derivatives."""

import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import InputError, SolveError
from diffsim.ode.tableaus.esdirk import CRANK_NICOLSON

EACH = pytest.mark.parametrize("name", ["CrankNicolson", "ImplicitMidpoint"])


def forced(t, y, p):
    """Stiff, not linear, and driven."""
    return np.array([y[1] * (1.0 + 0.3 * np.sin(t)), -p[0] * np.sin(y[0]) - p[1] * y[0] * y[1], -50.0 * (y[2] - np.cos(t) * y[0])])


Z = {"t0": 0.1, "y0": np.array([1.0, 0.3, 0.8]), "p": np.array([1.3, 0.2]), "t": np.array([0.1, 0.45, 0.83, 1.6, 1.95])}
STEPS = np.array([0.1, 0.2, 0.3, 0.4, 0.4, 0.3, 0.3])


def loss(z, name, rhs=forced):
    y = ds.solve_ivp(rhs, (z["t0"], 2.1), z["y0"], name, z["t"], args=(z["p"],), steps=STEPS).y
    return np.sum(np.sin(y) * np.arange(1.0, 16.0).reshape(3, 5))


def tangent(rng):
    v = ds.tree.map(lambda x: rng.normal(size=np.shape(x))[()], Z)
    v["t"][0] = v["t0"]                                  # the first output stays at the start
    return v


def inner(a, b):
    return sum(np.sum(x * y) for x, y in zip(ds.tree.leaves(a), ds.tree.leaves(b), strict=True))


def difference(f, v, e=4e-3):
    def central(h):
        up, down = (ds.tree.map(lambda x, d, s=s: x + s * h * d, Z, v) for s in (1.0, -1.0))
        return (f(up) - f(down)) / (2.0 * h)
    a, b, c = central(e), central(e / 2), central(e / 4)
    b, c = (4 * b - a) / 3, (4 * c - b) / 3
    return (16 * c - b) / 15


@EACH
def test_order_is_two_at_steps_and_between(name):
    args = {"args": (Z["p"],), "t_eval": [1.03, 3.0]}
    exact = ds.solve_ivp(forced, (0.0, 3.0), Z["y0"], "DOP853", rtol=1e-12, atol=1e-13, **args).y
    coarse, fine = (np.abs(ds.solve_ivp(forced, (0.0, 3.0), Z["y0"], name, first_step=h, **args).y - exact).max(0) for h in (0.02, 0.01))
    np.testing.assert_allclose(np.log2(coarse / fine), 2.0, atol=0.1)


def test_crank_nicolson_is_the_trapezoidal_rule():
    h, y = 0.3, 0.7
    got = ds.solve_ivp(lambda t, y: -y + t, (0.0, h), [y], "CrankNicolson", first_step=h).y[0, -1]
    assert got == pytest.approx((y - 0.5 * h * y + 0.5 * h * h) / (1.0 + 0.5 * h), rel=1e-15)
    assert CRANK_NICOLSON.exact_b == CRANK_NICOLSON.exact_a[-1] == (CRANK_NICOLSON.exact_gamma,) * 2


def test_the_midpoint_rule_is_what_it_says():
    h, y = 0.3, 0.7
    got = ds.solve_ivp(lambda t, y: -y + t, (0.0, h), [y], "ImplicitMidpoint", first_step=h).y[0, -1]
    assert got == pytest.approx((y - 0.5 * h * y + 0.5 * h * h) / (1.0 + 0.5 * h), rel=1e-15)      # equal for a linear equation
    got = ds.solve_ivp(lambda t, y: y**2, (0.0, h), [y], "ImplicitMidpoint", first_step=h).y[0, -1]
    assert got == pytest.approx(y + h * (0.5 * (y + got)) ** 2, rel=1e-14)


def body(t, y):
    """Euler's equations of a rigid body: two quadratic invariants, and no separation into positions and momenta."""
    return np.array([y[1] * y[2] * (1.0 / 3.0 - 0.5), y[2] * y[0] * (1.0 - 1.0 / 3.0), y[0] * y[1] * (0.5 - 1.0)])


def test_quadratic_invariants_are_kept_to_rounding():
    y = ds.solve_ivp(body, (0.0, 200.0), [0.6, 0.5, 0.9], "ImplicitMidpoint", first_step=0.2).y
    for weights in (np.ones(3), np.array([1.0, 0.5, 1.0 / 3.0])):
        invariant = weights @ y**2
        np.testing.assert_allclose(invariant, invariant[0], rtol=1e-12)
    other = np.ones(3) @ ds.solve_ivp(body, (0.0, 200.0), [0.6, 0.5, 0.9], "CrankNicolson", first_step=0.2).y ** 2
    assert np.ptp(other) > 1e-6


def coupled(t, y):
    """The Hamiltonian p^2 (1 + q^2) / 2 - cos q, which no splitting method takes."""
    return np.array([y[1] * (1.0 + y[0] ** 2), -y[0] * y[1] ** 2 - np.sin(y[0])])


def test_any_hamiltonian_system_is_solved_symplectically():
    def end(y0):
        return ds.solve_ivp(coupled, (0.0, 3.0), y0, "ImplicitMidpoint", first_step=0.2).y[:, -1]

    y0 = np.array([0.5, 0.8])
    assert np.linalg.det(ds.jacfwd(end)(y0)) == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(ds.jacrev(end)(y0), ds.jacfwd(end)(y0), rtol=1e-11)
    with pytest.raises(InputError, match="ImplicitMidpoint"):
        ds.solve_ivp(coupled, (0.0, 3.0), y0, "Verlet", first_step=0.2)
    y = ds.solve_ivp(coupled, (0.0, 2000.0), y0, "ImplicitMidpoint", first_step=0.2).y
    energy = 0.5 * y[1] ** 2 * (1.0 + y[0] ** 2) - np.cos(y[0])
    tenth = energy.size // 10
    assert np.ptp(energy[-tenth:]) < 1.1 * np.ptp(energy[:tenth])


@EACH
def test_backwards_in_time_it_returns_to_where_it_came_from(name):
    there = ds.solve_ivp(coupled, (0.0, 2.0), [0.5, 0.8], name, first_step=0.1)
    back = ds.solve_ivp(coupled, (2.0, 0.0), there.y[:, -1], name, first_step=0.1)
    np.testing.assert_allclose(back.y[:, -1], [0.5, 0.8], rtol=1e-12)


@EACH
def test_first_and_second_derivatives_agree_three_ways(name, rng):
    u, v = tangent(rng), tangent(rng)

    def f(z):
        return loss(z, name)

    gradient = ds.grad(f)
    forward = ds.jvp(f, (Z,), (v,))[1]
    assert inner(gradient(Z), v) == pytest.approx(forward, rel=1e-11)
    assert difference(f, v) == pytest.approx(forward, rel=1e-8)
    curved = inner(ds.jvp(gradient, (Z,), (v,))[1], u)
    assert ds.jvp(lambda z: ds.jvp(f, (z,), (u,))[1], (Z,), (v,))[1] == pytest.approx(curved, rel=1e-10)
    assert inner(ds.grad(lambda z: inner(gradient(z), v))(Z), u) == pytest.approx(curved, rel=1e-10)
    assert difference(lambda z: inner(gradient(z), u), v) == pytest.approx(curved, rel=1e-6)


@EACH
def test_compiled_gradients_and_members_are_the_same(name):
    expected = ds.grad(lambda z: loss(z, name))(Z)
    for got in (ds.jit(ds.grad(lambda z: loss(z, name)))(Z),
                ds.tree.map(lambda x: x[1], ds.vmap(ds.grad(lambda z: loss(z, name)))(ds.tree.map(lambda x: np.stack([x, x]), Z)))):
        for a, b in zip(ds.tree.leaves(expected), ds.tree.leaves(got), strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-10, atol=1e-12)


def test_an_untraceable_right_hand_side_gives_the_same():
    def stubborn(t, y, p):
        if t > 1e300:                                    # keeps it from being traced
            return y
        return forced(t, y, p)

    with pytest.warns(UserWarning, match="uncompiled"):
        value = loss(Z, "ImplicitMidpoint", stubborn)
    assert value == pytest.approx(loss(Z, "ImplicitMidpoint"), rel=1e-12)


def test_steps_without_a_solution_are_a_failure_and_steps_must_be_given():
    def solve(y0):
        return ds.solve_ivp(lambda t, y: y**2 + 1.0, (0.0, 8.0), y0, "ImplicitMidpoint", first_step=2.0)
    sol = solve(np.array([1.0]))
    assert not sol.success
    assert "Newton's iteration found no solution" in sol.message
    with pytest.raises(SolveError, match="Newton's iteration found no solution"):
        ds.grad(lambda y0: solve(y0).y[0, -1])(np.array([1.0]))
    with pytest.raises(InputError, match="'CrankNicolson' takes equal steps"):
        ds.solve_ivp(body, (0.0, 1.0), [1.0, 0.0, 0.0], "CrankNicolson")

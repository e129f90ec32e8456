"""Switching between an explicit and an implicit method inside one solve: when it happens, its replay, derivatives through it."""

import dataclasses
import itertools
import warnings

import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import FallbackWarning, SolveError
from diffsim.ode.loops.auto import EXPLICIT, FEW, IMPLICIT, MANY, PATIENCE, choose
from diffsim.ode.loops.marks import mark_of
from diffsim.ode.tableaus.auto import AUTO, Auto
from diffsim.ode.tableaus.explicit import RK23


def van_der_pol(t, y, mu):
    return np.array([y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]])


def opaque(t, y, mu):
    return van_der_pol(t, y, mu) if mu > 0 else y          # asks for a number, which a traced program does not have


def solve(mu=100.0, method="auto", end=170.0, rtol=1e-5, rhs=van_der_pol, **more):
    return ds.solve_ivp(rhs, (0, end), [2.0, 0.0], method=method, args=(mu,), rtol=rtol, atol=rtol, **more)


def methods(sol):
    return [mark_of(h) for h in sol.mesh.increments]


# ---------------------------------------------------------------- the choice
def test_the_reach_is_where_the_stability_function_leaves_the_unit_interval():
    b, a = AUTO.a[-1, :6], AUTO.a[:6, :6]

    def growth(z):
        return abs(1 + z * b @ np.linalg.solve(np.eye(6) - z * a, np.ones(6)))

    assert max(growth(-z) for z in np.linspace(0, AUTO.reach - 1e-6, 1000)) <= 1
    assert growth(-AUTO.reach - 1e-6) > 1


def test_methods_of_other_shapes_do_not_go_together():
    with pytest.raises(ValueError, match="of one shape"):
        Auto(name="other", explicit=RK23, implicit=AUTO.implicit)
    assert dataclasses.replace(AUTO, name="again").reach == AUTO.reach


def test_a_change_takes_patience_both_ways():
    state = (False, 0, 0)
    for _ in range(MANY - 1):
        state = choose(state[0], 2.0, 1.0, *state[1:])
        assert not state[0]
    assert choose(state[0], 2.0, 1.0, *state[1:]) == (True, 0, 0)
    for _ in range(PATIENCE):
        state = choose(state[0], 0.5, 1.0, *state[1:])
    assert state[1] == 0, "steps well below the limit end the count"
    state = (True, 0, 0)
    for _ in range(FEW - 1):
        state = choose(state[0], 0.5, 1.0, *state[1:])
        assert state[0]
    assert choose(state[0], 0.5, 1.0, *state[1:]) == (False, 0, 0)
    assert choose(True, 2.0, 1.0, 0, FEW - 1) == (True, 0, 0)


# ---------------------------------------------------------------- solves
def test_what_is_not_stiff_is_solved_by_the_explicit_method_alone():
    sol, plain = solve(3.0, end=20.0), solve(3.0, end=20.0, method="Tsit5")
    assert set(methods(sol)) == {EXPLICIT}
    assert sol.nlu == sol.njev == 0
    assert sol.nfev == plain.nfev
    np.testing.assert_allclose(sol.y[:, -1], plain.y[:, -1], rtol=1e-6)


def test_it_changes_to_the_implicit_method_and_back():
    sol = solve()
    found = methods(sol)
    assert found[0] == EXPLICIT
    assert found.count(IMPLICIT) > 30
    assert sum(a != b for a, b in itertools.pairwise(found)) >= 3
    assert sol.nlu > 0
    assert sol.accepted + sol.rejected < 600, "an explicit method alone takes 5000"
    want = solve(method="Radau", rtol=1e-9)
    np.testing.assert_allclose(sol.y[:, -1], want.y[:, -1], rtol=5e-3)


def test_lsoda_is_another_name_for_it():
    np.testing.assert_array_equal(solve(method="LSODA").y, solve().y)


def test_a_replay_repeats_the_solve_bit_for_bit_with_and_without_tangents():
    sol = solve()
    assert np.array_equal(solve(steps=sol.mesh).y, sol.y)
    value, _ = ds.jvp(lambda mu: solve(mu, steps=sol.mesh).y, (100.0,), (1.0,))
    assert np.array_equal(value[:, :-1], sol.y[:, :-1])
    np.testing.assert_allclose(value[:, -1], sol.y[:, -1], rtol=1e-12)     # marks move the last node by less than 1e-13 of its step


def test_steps_without_marks_are_refused():
    for steps in (np.full(10, 0.1), np.append(solve(end=60.0).mesh.increments[:-1], 1.0)):
        with pytest.raises(SolveError, match="which order or method"):
            solve(end=np.sum(steps), steps=steps)


def test_the_uncompiled_loop_makes_the_same_choices():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FallbackWarning)
        slow = solve(end=90.0, rhs=opaque)
        slope = ds.grad(lambda mu: solve(mu, end=90.0, rhs=opaque, t_eval=[30.0, 90.0]).y[0, -1])(100.0)
    fast = solve(end=90.0)
    assert methods(slow) == methods(fast)
    np.testing.assert_allclose(slow.y, fast.y, rtol=1e-7, atol=1e-10)
    assert slope == pytest.approx(ds.grad(lambda mu: solve(mu, end=90.0, t_eval=[30.0, 90.0]).y[0, -1])(100.0), rel=1e-6)


# ---------------------------------------------------------------- derivatives
@pytest.mark.parametrize("rtol", [1e-3, 1e-7])
def test_gradients_by_both_modes_and_differences_agree_on_the_frozen_steps(rtol):
    t = np.array([0.0, 0.3, 50.0, 61.0, 70.0])
    mesh = solve(rtol=rtol, end=70.0).mesh
    assert {mark_of(h) for h in mesh.increments} == {EXPLICIT, IMPLICIT}

    def loss(mu):
        return np.sum(solve(mu, end=70.0, steps=mesh, t_eval=t).y * [[1.0], [0.1]])

    slope, e = ds.grad(loss)(100.0), 1e-3
    want = (8 * (loss(100 + e) - loss(100 - e)) - loss(100 + 2 * e) + loss(100 - 2 * e)) / (12 * e)
    assert slope == pytest.approx(want, rel=1e-8)
    assert slope == pytest.approx(ds.jvp(loss, (100.0,), (1.0,))[1], rel=1e-10)


def test_second_derivatives_and_compiled_programs_agree():
    def loss(z):
        sol = ds.solve_ivp(van_der_pol, (0, 90), z[:2], method="auto", args=(z[2],), rtol=1e-4, atol=1e-4, t_eval=[40.0, 90.0])
        return np.sum(sol.y[0])

    point, v = np.array([2.0, 0.0, 100.0]), np.array([0.3, -1.0, 2.0])
    hessian = ds.hessian(loss)(point)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-8, atol=1e-9 * np.abs(hessian).max())
    product = ds.jit(lambda z, v: ds.jvp(ds.grad(loss), (z,), (v,))[1])
    np.testing.assert_allclose(product(point, v), hessian @ v, rtol=1e-8, atol=1e-9 * np.abs(hessian @ v).max())

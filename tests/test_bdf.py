"""Multistep formulas: their numbers, their differences, orders and sizes as they are chosen and held in the steps, exact derivatives."""

from fractions import Fraction
from math import comb, factorial

import numpy as np
import pytest
import scipy.integrate

import diffsim as ds
from diffsim.errors import InputError, SolveError
from diffsim.ode.loops.bdf_steps import ORDERS_FROM, matrix, rescale
from diffsim.ode.loops.marks import mark_of, marked
from diffsim.ode.tableaus.bdf import BDF


# ---------------------------------------------------------------- the formulas
def differences(f, at, n):
    """Backward differences 0 .. n of f at whole steps of size 1."""
    return [sum((-1) ** i * comb(j, i) * f(at - i) for i in range(j + 1)) for j in range(n + 1)]


@pytest.mark.parametrize("k", range(1, BDF.order + 1))
@pytest.mark.parametrize("degree", range(7))
def test_a_formula_is_exact_to_its_order_and_its_error_is_what_is_claimed(k, degree):
    def y(t):
        return Fraction(t) ** degree

    before = differences(y, 0, k)
    d = y(1) - sum(before)
    slope = degree * Fraction(1) ** max(degree - 1, 0)
    defect = slope - BDF.exact_alpha[k] * d - sum(g * x for g, x in zip(BDF.exact_sums, before, strict=False))
    if degree <= k:
        assert defect == 0
    if degree == k + 1:
        assert defect == BDF.exact_errors[k] * factorial(degree)


def test_the_polynomial_goes_through_the_last_states():
    values = dict(enumerate([Fraction(3), Fraction(-1), Fraction(7), Fraction(2), Fraction(5), Fraction(11)]))
    d = differences(lambda t: values[-t], 0, BDF.order)
    for back, value in values.items():
        x = Fraction(-back)
        weights = [sum(a * x ** (i + 1) for i, a in enumerate(row)) for row in BDF.exact_dense]
        assert d[0] + sum(w * y for w, y in zip(weights, d[1:], strict=True)) == value


@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.5])
def test_differences_at_another_size_are_those_of_the_polynomial(ratio):
    polynomial = np.polynomial.Polynomial([1.0, -2.0, 0.5, 0.3, -0.1, 0.02])
    known, got = np.zeros((8, 1)), np.zeros((6, 1))
    known[:6, 0] = differences(polynomial, 0, 5)
    r, u, turn = (np.zeros((6, 6)) for _ in range(3))
    rescale(5, 1.0, ratio, np.zeros(1), np.zeros(1), known, r, u, turn, got)
    np.testing.assert_allclose(got[:, 0], differences(lambda t: polynomial(t * ratio), 0, 5), atol=1e-13)
    matrix(5, 1.0, r, u, turn)
    np.testing.assert_array_equal(turn, np.eye(6))


@pytest.mark.parametrize("h", [1.0, -0.37, 1e-200, -1e200, 0.1])
def test_an_increment_holds_a_mark_in_its_last_bits(h):
    for mark in (0, 1, 85, 255):
        held = marked(h, mark)
        assert mark_of(held) == mark
        assert marked(held, mark) == held
        assert abs(held - h) <= 2.0**-44 * abs(h)


# ---------------------------------------------------------------- solves
def van_der_pol(t, y, mu):
    return np.array([y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]])


def solve(rtol=1e-6, mu=20.0, **more):
    return ds.solve_ivp(van_der_pol, (0, 30), [2.0, 0.0], method="BDF", args=(mu,), rtol=rtol, atol=1e-2 * rtol, **more)


def test_accuracy_follows_the_tolerance_and_the_order_rises():
    want = scipy.integrate.solve_ivp(van_der_pol, (0, 30), [2.0, 0.0], method="Radau", args=(20.0,), rtol=1e-12, atol=1e-13).y[:, -1]
    sols = [solve(rtol) for rtol in (1e-4, 1e-6, 1e-8)]
    for sol, rtol in zip(sols, (1e-4, 1e-6, 1e-8), strict=True):
        np.testing.assert_allclose(sol.y[:, -1], want, rtol=1e3 * rtol)
    assert sols[2].accepted < 5 * sols[0].accepted
    orders = [mark_of(h) - ORDERS_FROM for h in sols[2].mesh.increments]
    assert orders[0] == 1
    assert set(orders) == {1, 2, 3, 4, 5}


def test_it_costs_no_more_than_scipys():
    theirs = scipy.integrate.solve_ivp(van_der_pol, (0, 30), [2.0, 0.0], method="BDF", args=(20.0,), rtol=1e-8, atol=1e-10)
    ours = solve(1e-8, t_eval=[30.0])
    assert ours.nfev < theirs.nfev
    assert ours.nlu < theirs.nlu
    assert ours.njev < ours.accepted / 3


def test_a_replay_repeats_the_solve_bit_for_bit_with_and_without_tangents():
    sol = solve()
    assert sol.rejected > 3
    assert np.array_equal(solve(steps=sol.mesh).y, sol.y)
    value, _ = ds.jvp(lambda mu: solve(mu=mu, steps=sol.mesh).y, (20.0,), (1.0,))
    assert np.array_equal(value, sol.y)


def test_steps_without_orders_are_refused():
    for steps in (np.full(300, 0.1), solve().mesh.increments[7:]):
        with pytest.raises(SolveError, match="which order or method"):
            ds.grad(lambda mu, steps=steps: ds.solve_ivp(van_der_pol, (0, np.sum(steps)), [2.0, 0.0], method="BDF", args=(mu,), steps=steps,
                                                         t_eval=[1.0]).y[0, 0])(20.0)


def test_controllers_are_refused():
    with pytest.raises(InputError, match="order and size together"):
        solve(controller="PID")


def test_parts_of_a_solve_are_not_repeated():
    with pytest.raises(InputError, match="only as a whole"):
        ds.grad(lambda mu: solve(mu=mu, t_eval=[30.0], memory=10**6).y[0, 0])(20.0)


def test_dense_output_is_continuous_and_runs_backwards_too():
    sol = solve(1e-8, dense_output=True)
    node = sol.t[len(sol.t) // 2]
    np.testing.assert_allclose(sol.sol(node - 1e-12), sol.sol(node + 1e-12), rtol=1e-9)
    t = np.linspace(0, 30, 101)
    fine = ds.solve_ivp(van_der_pol, (0, 30), [2.0, 0.0], method="Radau", args=(20.0,), rtol=1e-10, atol=1e-12, t_eval=t).y
    np.testing.assert_allclose(sol.sol(t)[0], fine[0], rtol=1e-3)
    back = ds.solve_ivp(lambda t, y: -y, (2, 0), [1.0], method="BDF", rtol=1e-8, atol=1e-10)
    assert back.y[0, -1] == pytest.approx(np.exp(2.0), rel=1e-6)


@pytest.mark.parametrize("rtol", [1e-3, 1e-7])
def test_gradients_by_both_modes_and_differences_agree_on_the_frozen_steps(rtol):
    t = np.array([0.0, 0.3, 7.1, 12.0])
    mesh = ds.solve_ivp(van_der_pol, (0, 12), [2.0, 0.0], method="BDF", args=(5.0,), rtol=rtol, atol=rtol).mesh

    def loss(mu):
        return np.sum(ds.solve_ivp(van_der_pol, (0, 12), [2.0, 0.0], method="BDF", args=(mu,), steps=mesh, t_eval=t).y * [[1.0], [0.1]])

    slope, e = ds.grad(loss)(5.0), 1e-4
    assert slope == pytest.approx((8 * (loss(5 + e) - loss(5 - e)) - loss(5 + 2 * e) + loss(5 - 2 * e)) / (12 * e), rel=1e-8)
    assert slope == pytest.approx(ds.jvp(loss, (5.0,), (1.0,))[1], rel=1e-11)

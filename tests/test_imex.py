"""Additive Runge-Kutta pairs: the stiff part of a right-hand side implicit, the other explicit, with all derivatives."""

import itertools
import warnings
from fractions import Fraction
from operator import attrgetter

import numpy as np
import pytest
from rooted_trees import density, rooted_trees
from scipy.integrate import solve_ivp as scipy_solve_ivp

import diffsim as ds
from diffsim.errors import InputError, InputTypeError
from diffsim.ode.compiled.kernels import jacobian
from diffsim.ode.rhs import system_of
from diffsim.ode.tableaus import PAIRS
from diffsim.ode.tableaus.additive import KENCARP4_PAIR, Additive
from diffsim.ode.tableaus.esdirk import KVAERNO5

EACH = pytest.mark.parametrize("pair", PAIRS.values(), ids=attrgetter("name"))
DIGITS = Fraction(1, 10**24)        # of the fractions the paper prints for what is irrational


# ---------------------------------------------------------------- the numbers
def stage_weights(tree, parts):
    """Phi_i of every tree of this shape whose vertices but the root are of two kinds."""
    branches = [[[sum(x * y for x, y in zip(row, inner, strict=True)) for row in a]
                 for a in parts for inner in stage_weights(branch, parts)] for branch in tree]
    for chosen in itertools.product(*branches):
        weights = [Fraction(1)] * len(parts[0])
        for factor in chosen:
            weights = [x * y for x, y in zip(weights, factor, strict=True)]
        yield weights


def defects(weights, pair, order):
    """How far the sums over all trees of an order with two kinds of vertices are from what they should be."""
    return [abs(sum(w * f for w, f in zip(weights, inner, strict=True)) - Fraction(1, density(tree)))
            for tree in rooted_trees(order) for inner in stage_weights(tree, pair.exact_a)]


@EACH
@pytest.mark.parametrize("part", ["propagated", "embedded"])
def test_order_is_exactly_what_is_claimed(pair, part):
    weights, order = (pair.exact_b, pair.order) if part == "propagated" else (pair.exact_b_hat, pair.embedded_order)
    for n in range(1, order + 1):
        assert max(defects(weights, pair, n)) <= DIGITS, n
    assert max(defects(weights, pair, order + 1)) > Fraction(1, 10**4), "the method is better than it claims"


@EACH
def test_interpolant_is_of_order_three_at_every_theta(pair):
    for n in range(1, 4):
        for power in range(1, pair.degree + 1):
            for tree in rooted_trees(n):
                for inner in stage_weights(tree, pair.exact_a):
                    total = sum(row[power - 1] * f for row, f in zip(pair.exact_dense, inner, strict=True))
                    assert abs(total - (Fraction(1, density(tree)) if power == n else 0)) < 1e-19
    assert [sum(row) for row in pair.exact_dense] == list(pair.exact_b)


@EACH
def test_interpolant_and_new_state_stay_bounded_however_stiff_the_problem(pair):
    """With f = -K (y - u) and K to infinity the stages go to u, and y + h sum_i b_i(theta) f_i must not grow with the first of them."""
    stiff = np.array(pair.exact_a[0], float)
    passed_on = np.linalg.solve(stiff[1:, 1:], stiff[1:, 0])
    for weights in (np.array(pair.exact_b, float), *np.array(pair.exact_dense, float).T):
        assert abs(weights[0] - weights[1:] @ passed_on) < 1e-14


@EACH
def test_what_the_loops_read_is_the_pair(pair):
    stiff, other = (np.array(a, float) for a in pair.exact_a)
    np.testing.assert_array_equal(pair.a, other)
    np.testing.assert_allclose(pair.a + pair.apart + np.diag([0.0, *[pair.gamma] * pair.stages]), stiff, rtol=0, atol=1e-15)
    assert not np.triu(pair.a).any()
    assert not np.triu(pair.apart).any()


@pytest.mark.parametrize(
    ("change", "words"), [({"a": "1/2\n1/3"}, "stages"), ({"implicit": KVAERNO5}, "stages"), ({"a": "1\n" * 5}, "stages"),
                          ({"a": "\n".join("1 " * i for i in range(1, 6))}, "nodes"), ({"dense": "1\n" * 6}, "end at")])
def test_methods_that_do_not_fit_together_are_refused(change, words):
    lines = "\n".join(" ".join(map(str, row[:i])) for i, row in enumerate(KENCARP4_PAIR.exact_a[1]) if i)
    dense = "\n".join(" ".join(map(str, row)) for row in KENCARP4_PAIR.exact_dense)
    rows = {"implicit": KENCARP4_PAIR.implicit, "a": lines, "dense": dense}
    np.testing.assert_array_equal(Additive(name="again", source="none", **rows).dense, KENCARP4_PAIR.dense)
    with pytest.raises(ValueError, match=words):
        Additive(name="none", source="none", **{**rows, **change})


# ---------------------------------------------------------------- a problem
def relaxing(t, y, p):
    """A fast pull to a curve, and a component bound to the other's square."""
    return np.array([-p[0] * (y[0] - np.cos(t)), -p[1] * (y[1] - y[0] ** 2)])


def drifting(t, y, p):
    return np.array([-p[2] * np.sin(t), np.sin(p[2] * y[0] + y[1])])


BOTH = ds.ode.Split(relaxing, drifting)
P, Y0, TIMES = np.array([80.0, 40.0, 1.3]), np.array([1.5, 0.2]), np.array([0.3, 0.7, 1.1, 2.0])


def solved(z, t_eval=TIMES, span=(0.0, 2.0), method="KenCarp4", fun=BOTH, **options):
    return ds.solve_ivp(fun, span, z[:2], method, t_eval, args=(z[2:],), **{"rtol": 1e-7, "atol": 1e-9, **options})


def loss(z, **options):
    return np.sum(np.sin(solved(z, **options).y) * np.array([1.0, -2.0, 3.0, 0.5]))


Z = np.concatenate([Y0, P])


def mesh():
    return solved(Z).mesh


def test_measured_order_is_four():
    exact = solved(Z, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    errors = [np.abs(solved(Z, [2.0], steps=np.full(n, 2.0 / n)).y[:, -1] - exact).max() for n in (400, 800, 1600)]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.all(np.abs(orders - 4) < 0.2), (orders, errors)


@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8])
def test_errors_follow_the_tolerance_at_any_stiffness(rtol):
    for stiffness in (1.0, 1e3, 1e6):
        z = np.concatenate([[1.0, 1.0], P[:2] * stiffness, P[2:]])
        exact = solved(z, [2.0], method="Radau", rtol=1e-11, atol=1e-12).y
        found = solved(z, [2.0], rtol=rtol, atol=rtol * 1e-3)
        assert found.success
        np.testing.assert_allclose(found.y, exact, rtol=20 * rtol)
    assert found.accepted < 500, "stability, which would ask for 10^7 steps, must not limit them"


def test_only_the_stiff_part_is_in_the_jacobian():
    n = 12

    def diffusion(t, y):
        dy = np.zeros(n)
        dy[1:-1] = y[2:] - 2.0 * y[1:-1] + y[:-2]
        return dy

    def everywhere(t, y):
        return np.sum(y) * np.cos(y)
    system, _ = system_of(ds.ode.Split(diffusion, everywhere), 0.0, np.ones(n), None, apart=True)
    place = jacobian(system)
    assert np.abs(place.rows - place.columns).max() == 1
    assert place.plan.kl == place.plan.ku == 1


def test_other_methods_and_scipy_solve_the_sum():
    whole = solved(Z, fun=lambda t, y, p: relaxing(t, y, p) + drifting(t, y, p), method="Kvaerno5").y
    np.testing.assert_array_equal(solved(Z, method="Kvaerno5").y, whole)
    theirs = scipy_solve_ivp(BOTH, (0.0, 2.0), Y0, "Radau", TIMES, args=(P,), rtol=1e-8, atol=1e-10).y
    np.testing.assert_allclose(solved(Z).y, theirs, rtol=1e-5)


# ---------------------------------------------------------------- derivatives
def test_gradients_agree_three_ways():
    forward, reverse, frozen = ds.jacfwd(loss)(Z), ds.grad(loss)(Z), ds.value_and_grad(loss)(Z)[1]
    np.testing.assert_allclose(forward, reverse, rtol=1e-12)
    np.testing.assert_array_equal(reverse, frozen)
    steps = mesh()
    found = ds.grad(lambda z: loss(z, steps=steps))(Z)
    for i in range(len(Z)):
        h = 1e-4 * abs(Z[i]) * np.eye(len(Z))[i]
        slope = (8 * (loss(Z + h, steps=steps) - loss(Z - h, steps=steps)) - loss(Z + 2 * h, steps=steps) + loss(Z - 2 * h, steps=steps))
        np.testing.assert_allclose(found[i], slope / (12 * h[i]), rtol=1e-7, atol=1e-10)


def test_gradients_are_those_of_the_problem():
    exact = ds.grad(lambda z: loss(z, method="Radau", rtol=1e-10, atol=1e-12))(Z)
    np.testing.assert_allclose(ds.grad(loss)(Z), exact, rtol=1e-3, atol=1e-6)


def test_second_derivatives_agree_in_every_order_of_modes():
    over, under, mixed = ds.jacfwd(ds.grad(loss))(Z), ds.jacrev(ds.jacfwd(loss))(Z), ds.hessian(loss)(Z)
    np.testing.assert_allclose(over, under, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(over, mixed, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(over, over.T, rtol=1e-8, atol=1e-12)
    steps, v = mesh(), np.array([0.3, -0.2, 2.0, 1.0, 0.1])
    h = 1e-4
    slopes = [ds.grad(lambda z: loss(z, steps=steps))(Z + s * h * v) for s in (1, -1)]
    np.testing.assert_allclose(ds.jacfwd(ds.grad(lambda z: loss(z, steps=steps)))(Z) @ v, (slopes[0] - slopes[1]) / (2 * h), rtol=1e-4,
                               atol=1e-9)


def test_times_are_differentiated():
    def at(times):
        span, t_eval = (times[0], times[1]), np.array([0.4, 1.0]) * times[2]
        sol = ds.solve_ivp(BOTH, span, Y0, "KenCarp4", t_eval, args=(P,), rtol=1e-8, atol=1e-10)
        return np.sum(sol.y * np.array([1.0, -2.0]))
    times = np.array([0.1, 2.0, 1.7])
    reverse = ds.grad(at)(times)
    np.testing.assert_allclose(ds.jacfwd(at)(times), reverse, rtol=1e-10, atol=1e-14)
    exact = [(at(times + h) - at(times - h)) / 2e-5 for h in 1e-5 * np.eye(3)]
    np.testing.assert_allclose(reverse, exact, rtol=2e-3, atol=1e-6)


def test_jit_and_vmap_give_the_same():
    np.testing.assert_allclose(ds.jit(ds.grad(loss))(Z), ds.grad(loss)(Z), rtol=1e-12)
    many = np.stack([Z, 1.02 * Z])
    np.testing.assert_allclose(ds.vmap(ds.grad(loss))(many), [ds.grad(loss)(z) for z in many], rtol=1e-12)


@pytest.mark.parametrize("policy", [ds.ode.States(), ds.ode.Binomial(3), ds.ode.TwoLevel()], ids=lambda p: type(p).__name__)
def test_what_is_kept_does_not_change_a_bit(policy):
    np.testing.assert_array_equal(ds.grad(lambda z: loss(z, checkpoint=policy))(Z), ds.grad(loss)(Z))


def test_uncompiled_loops_do_the_same():
    def branching(t, y, p):
        return relaxing(t, y, p) if y[0] > -10.0 else y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sol = solved(Z, fun=ds.ode.Split(branching, drifting), rtol=1e-4)
        slow = ds.grad(lambda z: loss(z, fun=ds.ode.Split(branching, drifting), rtol=1e-3))(Z)
    np.testing.assert_allclose(sol.y, solved(Z, rtol=1e-4).y, rtol=1e-12)
    np.testing.assert_allclose(slow, ds.grad(lambda z: loss(z, rtol=1e-3))(Z), rtol=1e-9, atol=1e-14)


# ---------------------------------------------------------------- with the rest of a solve
def test_a_replay_repeats_the_solve_bit_for_bit():
    sol = solved(Z, None)
    np.testing.assert_array_equal(solved(Z, None, steps=sol.mesh).y, ds.solve_ivp(BOTH, (0, 2.0), Y0, "KenCarp4", args=(P,), rtol=1e-7,
                                                                                  atol=1e-9, steps=sol.mesh).y)
    recorded = ds.value_and_grad(lambda z: np.sum(solved(z).y))(Z)[0]
    np.testing.assert_allclose(recorded, np.sum(solved(Z).y), rtol=1e-7)


def test_dense_output_and_time_backwards():
    sol = solved(Z, None, dense_output=True)
    np.testing.assert_allclose(sol.sol(TIMES), solved(Z).y, rtol=1e-6)
    mild = np.concatenate([Y0, [2.0, 1.0, 1.3]])
    end = solved(mild, [2.0]).y[:, -1]
    back = ds.solve_ivp(BOTH, (2.0, 0.0), end, "KenCarp4", [0.0], args=(mild[2:],), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(back.y[:, -1], Y0, rtol=1e-4)


def test_events_and_doses_reach_both_parts():
    def down(t, y, p):
        return y[0] - 0.5
    down.terminal = True

    def when(z, method="KenCarp4"):
        dose = ds.ode.Dose(time=0.5, amount=z[4], into=1)
        return ds.solve_ivp(BOTH, (0.0, 2.0), z[:2], method, events=down, doses=[dose], args=(z[2:],), rtol=1e-8, atol=1e-10).t_events[0][0]
    np.testing.assert_allclose(when(Z), when(Z, "Radau"), rtol=1e-7)
    np.testing.assert_allclose(ds.grad(when)(Z), ds.grad(lambda z: when(z, "Radau"))(Z), rtol=1e-4, atol=1e-8)


def test_states_may_be_trees_and_complex():
    def turning(t, y, w):
        return {"z": 1j * w * y["z"], "x": -w * y["x"]}

    def pushed(t, y, w):
        return {"z": y["x"] + 0j, "x": np.real(y["z"])}
    y0 = {"z": 1.0 + 0.5j, "x": 0.3}

    def end(w, method="KenCarp4"):
        y = ds.solve_ivp(ds.ode.Split(turning, pushed), (0.0, 1.0), y0, method, t_eval=[1.0], args=(w,), rtol=1e-9, atol=1e-11).y
        return np.abs(y["z"][-1]) + y["x"][-1]
    np.testing.assert_allclose(end(3.0), end(3.0, "DOP853"), rtol=1e-7)
    np.testing.assert_allclose(ds.grad(end)(3.0), ds.grad(lambda w: end(w, "DOP853"))(3.0), rtol=1e-6)


def test_a_regular_mass_matrix_is_applied_and_a_singular_one_refused():
    mass = np.array([[2.0, 0.5], [0.0, 1.0]])
    found, wanted = (solved(Z, method=m, mass=mass).y for m in ("KenCarp4", "Radau"))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    with pytest.raises(InputError, match="fun as one function"):
        solved(Z, mass=np.array([1.0, 0.0]))


def test_bad_input_is_named():
    with pytest.raises(InputTypeError, match="gentle must be callable"):
        ds.ode.Split(relaxing, 3.0)
    with pytest.raises(InputError, match=r"drifting|returned shape"):
        solved(Z, fun=ds.ode.Split(relaxing, lambda t, y, p: np.zeros(3)))
    with pytest.raises(InputTypeError, match=r"2 arguments|called with 3"):
        ds.solve_ivp(ds.ode.Split(relaxing, lambda t, y: y), (0.0, 1.0), Y0, "KenCarp4", args=(P,))
    with pytest.raises(InputError, match="no method"):
        solved(Z, method="KenCarp4 in two parts")


def test_a_failure_is_told_as_ever():
    def growing(t, y, p):
        return y**2
    sol = ds.solve_ivp(ds.ode.Split(lambda t, y, p: -y, growing), (0.0, 5.0), np.array([2.0, 1.0]), "KenCarp4", args=(P,))
    assert not sol.success

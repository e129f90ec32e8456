"""Steady states: where solutions lead, what is conserved, stability, derivatives three ways."""


import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import ConvergenceError, InputError, InputTypeError, SingularError, StabilityWarning

K = np.array([1.0, 0.5, 2.0, 0.3])
ENZYME = np.array([1.0, 10.0, 0.0, 0.0])


def enzyme(t, y, k):
    """Reversible Michaelis-Menten kinetics: enzyme and substrate are conserved."""
    e, s, c, p = y
    bind, release = k[0] * e * s - k[1] * c, k[2] * c - k[3] * e * p
    return np.array([release - bind, -bind, bind - release, release])


def toggle(t, y, a):
    """Two genes that repress each other: two stable steady states and one that is not."""
    return np.array([a[0] / (1 + y[1] ** 3) - y[0], a[1] / (1 + y[0] ** 3) - y[1]])


A = np.array([5.0, 5.0])


def at_rest(k, y0=ENZYME):
    return ds.ode.steady_state(enzyme, y0, (k,)).y


# ---------------------------------------------------------------- values
def test_a_steady_state_is_where_a_long_simulation_ends():
    rest = ds.ode.steady_state(enzyme, ENZYME, (K,))
    end = ds.solve_ivp(enzyme, (0.0, 200.0), ENZYME, "Rodas5P", args=(K,), rtol=1e-10, atol=1e-13).y[:, -1]
    np.testing.assert_allclose(rest.y, end, rtol=1e-8)
    assert rest.success
    assert rest.stable
    assert np.max(np.abs(rest.residual)) < 1e-14
    assert rest.steps < 100


def test_conserved_quantities_are_found_and_kept():
    rest = ds.ode.steady_state(enzyme, ENZYME, (K,))
    assert rest.conserved.shape == (2, 4)
    np.testing.assert_allclose(rest.conserved @ rest.conserved.T, np.eye(2), atol=1e-14)
    np.testing.assert_allclose(rest.conserved @ rest.y, rest.conserved @ ENZYME, rtol=1e-14)
    np.testing.assert_allclose([rest.y[0] + rest.y[2], rest.y[1] + rest.y[2] + rest.y[3]], [1.0, 10.0], rtol=1e-14)
    rates = np.linalg.eigvals(ds.jacobian(lambda y: enzyme(0.0, y, K))(rest.y))
    np.testing.assert_allclose(rest.abscissa, np.sort(rates.real)[1], rtol=1e-9)


def test_conserved_quantities_of_the_user():
    rows = np.array([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 1.0]])
    np.testing.assert_allclose(ds.ode.steady_state(enzyme, ENZYME, (K,), conservation=rows).y, at_rest(K), rtol=1e-13)
    with pytest.raises(InputError, match="row 1 of conservation is not conserved"):
        ds.ode.steady_state(enzyme, ENZYME, (K,), conservation=[[1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    with pytest.raises(InputError, match="rows of conservation depend on each other"):
        ds.ode.steady_state(enzyme, ENZYME, (K,), conservation=np.concatenate([rows, rows[:1] + rows[1:]]))
    with pytest.raises(InputError, match="rows of 4 weights"):
        ds.ode.steady_state(enzyme, ENZYME, (K,), conservation=[1.0, 1.0])


def test_a_start_at_the_edge_of_where_the_rates_are_defined():
    def f(t, y):
        return np.array([np.log(0.5001 - y[0]) - y[0], np.sqrt(0.5001 - y[0]) - y[1]])

    with np.errstate(invalid="ignore"):
        rest = ds.ode.steady_state(f, [0.5, 0.0])
    assert rest.success
    assert not len(rest.conserved)
    np.testing.assert_allclose(np.exp(rest.y[0]), 0.5001 - rest.y[0], rtol=1e-12)


@pytest.mark.parametrize("y0", [(2.0, 1.0), (1.0, 2.0), (0.0, 4.0)])
def test_of_several_steady_states_it_is_the_one_the_solution_leads_to(y0):
    end = ds.solve_ivp(toggle, (0.0, 60.0), y0, args=(A,), rtol=1e-10).y[:, -1]
    rest = ds.ode.steady_state(toggle, y0, (A,))
    np.testing.assert_allclose(rest.y, end, rtol=1e-7)
    assert rest.stable


def test_an_unstable_steady_state_is_reported():
    with pytest.warns(StabilityWarning, match=r"toggle .*is unstable \(largest real part of an eigenvalue: 1.17\)"):
        rest = ds.ode.steady_state(toggle, [1.4, 1.4], (A,), method="newton")
    assert rest.success
    assert rest.stable is False
    np.testing.assert_allclose(rest.y[0] * (1 + rest.y[0] ** 3), 5.0, rtol=1e-12)


def test_a_centre_is_not_asymptotically_stable():
    with pytest.warns(StabilityWarning, match="not asymptotically stable"):
        ds.ode.steady_state(lambda t, y: np.array([y[1], -y[0]]) + 0 * y, [1e-3, 0.0], method="newton")


def test_small_components_beside_large_ones_come_to_rest_too():
    """The slow small component is 1e-9 of the constant one; a norm over all would not see it move."""
    def f(t, y, k):
        return np.array([1e6 - 1e-3 * y[0], k * (1e-3 - y[1])])

    rest = ds.ode.steady_state(f, [1e9, 0.0], (np.float64(1e-4),))
    np.testing.assert_allclose(rest.y, [1e9, 1e-3], rtol=1e-12)


def test_a_stiff_start_far_away():
    def chain(t, y, k):
        return np.array([1.0 - k[0] * y[0], k[0] * y[0] - k[1] * y[1] ** 2, k[1] * y[1] ** 2 - k[2] * y[2]])

    k = np.array([1e6, 1e-3, 1e2])
    rest = ds.ode.steady_state(chain, [0.0, 0.0, 5.0], (k,))
    np.testing.assert_allclose(rest.y, [1e-6, np.sqrt(1e3), 1e-2], rtol=1e-11)


def test_many_states_use_sparse_matrices():
    n = 600

    def diffusion(t, u, s):
        edges = np.concatenate([np.zeros(1), u, np.zeros(1)])
        return (edges[2:] - 2 * u + edges[:-2]) * (n + 1) ** 2 - u**3 + s

    s = np.ones(n)
    rest = ds.ode.steady_state(diffusion, np.zeros(n), (s,))
    assert rest.success
    assert rest.stable is None
    slope = ds.grad(lambda a: np.sum(ds.ode.steady_state(diffusion, np.zeros(n), (a * s,)).y))(1.0)
    up, down = (np.sum(ds.ode.steady_state(diffusion, np.zeros(n), (a * s,)).y) for a in (1 + 1e-4, 1 - 1e-4))
    np.testing.assert_allclose(slope, (up - down) / 2e-4, rtol=1e-7)


def test_states_that_are_trees():
    def tank(t, y, k):
        return {"level": k[0] - k[1] * y["level"], "heat": y["level"] * np.array([1.0, 2.0]) - y["heat"]}

    k = np.array([3.0, 2.0])
    y = ds.ode.steady_state(tank, {"level": 1.0, "heat": np.zeros(2)}, (k,)).y
    np.testing.assert_allclose(y["level"], 1.5, rtol=1e-14)
    np.testing.assert_allclose(y["heat"], [1.5, 3.0], rtol=1e-14)


def test_a_right_hand_side_that_is_not_traced():
    def branching(t, y, k):
        return np.array([k[0] - k[1] * y[0] if float(y[0]) < 100.0 else -1.0])

    with pytest.warns(ds.errors.FallbackWarning):
        rest = ds.ode.steady_state(branching, [1.0], (np.array([6.0, 2.0]),))
    np.testing.assert_allclose(rest.y, 3.0, rtol=1e-14)


# ---------------------------------------------------------------- derivatives
def test_derivatives_agree_three_ways():
    backward, forward = ds.jacrev(at_rest, (0, 1))(K, ENZYME), ds.jacfwd(at_rest, (0, 1))(K, ENZYME)
    for i in (0, 1):
        np.testing.assert_allclose(backward[i], forward[i], rtol=1e-12, atol=1e-14)
        columns = []
        for v in np.eye(4):
            step = 1e-5 * v
            up, down = ((at_rest(K + s * step, ENZYME) if i == 0 else at_rest(K, ENZYME + s * step)) for s in (1.0, -1.0))
            columns.append((up - down) / 2e-5)
        np.testing.assert_allclose(np.transpose(columns), backward[i], rtol=1e-7, atol=1e-9)


def test_the_derivative_is_that_of_the_end_of_a_long_simulation():
    def end(k):
        return ds.solve_ivp(enzyme, (0.0, 150.0), ENZYME, "Rodas5P", args=(k,), t_eval=[150.0], rtol=1e-10, atol=1e-13).y[2, 0]

    np.testing.assert_allclose(ds.grad(lambda k: at_rest(k)[2])(K), ds.grad(end)(K), rtol=1e-6)


def test_compiled_and_second_order():
    def bound(k, y0):
        return at_rest(k, y0)[2] ** 2

    value, slopes = ds.jit(ds.value_and_grad(bound, (0, 1)))(K, ENZYME)
    assert value == bound(K, ENZYME)
    for got, want in zip(slopes, ds.grad(bound, (0, 1))(K, ENZYME), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)
    whole = ds.hessian(bound)(K, ENZYME)
    np.testing.assert_allclose(whole, whole.T, rtol=1e-9)
    np.testing.assert_allclose(whole, ds.jit(ds.hessian(bound))(K, ENZYME), rtol=1e-11)
    step = 1e-5 * np.eye(4)[1]
    change = (ds.grad(bound)(K + step, ENZYME) - ds.grad(bound)(K - step, ENZYME)) / 2e-5
    np.testing.assert_allclose(whole[1], change, rtol=1e-7)


def test_the_cost_of_a_gradient_is_one_evaluation_of_the_jacobian_more():
    calls = []

    def f(t, y, k):
        calls.append(1)
        return k * (1.0 - y)

    ds.grad(lambda k: np.sum(ds.ode.steady_state(f, np.zeros(3), (k,)).y))(np.array([1.0, 2.0, 3.0]))
    assert len(calls) == 1                                  # traced once; everything else runs its graph


def test_steady_states_of_many_members():
    got = ds.ode.ensemble(lambda k: at_rest(k)[2], np.stack([K, 2 * K, K[::-1]]))
    np.testing.assert_allclose(got.values, [at_rest(K)[2], at_rest(2 * K)[2], at_rest(K[::-1])[2]], rtol=1e-12)


# ---------------------------------------------------------------- failures
def test_a_solution_that_never_rests_is_told():
    def grow(t, y, k):
        return k + 0.0 * y

    rest = ds.ode.steady_state(grow, [1.0], (np.array([2.0]),), conservation=None, maxiter=50)
    assert not rest.success
    assert "still moves: y[0]" in rest.message
    with pytest.raises(ConvergenceError, match="still moves"):
        ds.grad(lambda k: ds.ode.steady_state(grow, [1.0], (k,), conservation=None, maxiter=50).y[0])(np.array([2.0]))


def test_steady_states_that_are_not_isolated_have_no_derivative():
    def line(t, y, k):
        return k[0] * (y[1] - y[0]) * np.array([1.0, -1.0])

    k = np.array([1.0])
    np.testing.assert_allclose(ds.ode.steady_state(line, [1.0, 3.0], (k,)).y, 2.0, rtol=1e-13)
    with pytest.warns(StabilityWarning), pytest.raises(SingularError, match=r"df/dy at the steady state of line .*conservation="):
        ds.grad(lambda k: ds.ode.steady_state(line, [1.0, 3.0], (k,), conservation=None, maxiter=60).y[0])(k)


def test_not_finite_at_the_start():
    rest = ds.ode.steady_state(lambda t, y: np.log(y), [-1.0])
    assert not rest.success
    assert "not finite at y0 (component 0)" in rest.message


@pytest.mark.parametrize(("told", "error", "says"), [
    ({"method": "bisection"}, InputError, "'pseudo_transient' or 'newton'"),
    ({"conservation": "none"}, InputTypeError, "conservation must be"),
    ({"rtol": float("nan")}, InputError, "rtol must be a number between 0 and 1"),
    ({"rtol": -1e-6}, InputError, "rtol must be a number between 0 and 1"),
    ({"maxiter": 0}, InputError, "maxiter must be a positive whole number"),
    ({"maxiter": "many"}, InputError, "maxiter must be a positive whole number"),
])  # fmt: skip
def test_wrong_arguments_are_named(told, error, says):
    with pytest.raises(error, match=says):
        ds.ode.steady_state(toggle, [1.0, 2.0], (A,), **told)


def test_time_is_frozen_only_where_it_is_asked_for():
    def driven(t, y):
        return np.sin(t) - y

    with pytest.raises(InputError, match=r"driven .*depends on t"):
        ds.ode.steady_state(driven, [0.0])
    np.testing.assert_allclose(ds.ode.steady_state(driven, [0.0], t=0.5).y, np.sin(0.5), rtol=1e-14)


def test_weights_of_what_is_conserved_may_depend_on_parameters():
    """What leaves y0 goes to y1 and y2 as k0 to k1: k1 y1 - k0 y2 is conserved, with weights that have derivatives to every order."""
    def branching(t, y, k):
        return np.array([-(k[0] + k[1]) * y[0], k[0] * y[0], k[1] * y[0]])

    def end(k):
        y = ds.ode.steady_state(branching, [1.0, 0.0, 0.2], (k,)).y
        return y[1] * (1.0 + y[2])

    def exact(k):
        part = k[0] / (k[0] + k[1])
        return part * (2.2 - part)
    k = np.array([1.0, 3.0])
    assert end(k) == pytest.approx(exact(k))
    np.testing.assert_allclose(ds.grad(end)(k), ds.grad(exact)(k), rtol=1e-9)
    np.testing.assert_allclose(ds.jacfwd(end)(k), ds.grad(end)(k), rtol=1e-11)
    np.testing.assert_allclose(ds.hessian(end)(k), ds.hessian(exact)(k), rtol=1e-8, atol=1e-11)
    with pytest.raises(ValueError, match="only outside jit"):
        ds.jit(ds.grad(end))(k)


def test_weights_that_depend_on_parameters_in_a_network():
    """Two exchanging pairs with volumes: amounts are conserved, and concentrations are weighed by the volumes."""
    def exchange(t, y, p):
        v, k = p[:2], p[2:]
        flow = k[0] * (y[0] - y[1] ** 2)
        turn = k[1] * y[1] - k[0] * y[2]
        return np.array([-flow / v[0], (flow - turn) / v[1], turn])

    def rest(p, y0):
        return ds.ode.steady_state(exchange, y0, (p,)).y
    p, y0 = np.array([2.0, 0.5, 1.0, 3.0]), np.array([1.0, 0.1, 0.3])

    def end(p, y0):
        return ds.solve_ivp(exchange, (0.0, 60.0), y0, "Rodas5P", t_eval=[60.0], args=(p,), rtol=1e-11, atol=1e-13).y[:, -1]
    backward, forward, long = (d(f, (0, 1))(p, y0) for d, f in ((ds.jacrev, rest), (ds.jacfwd, rest), (ds.jacfwd, end)))
    for i in (0, 1):
        np.testing.assert_allclose(backward[i], forward[i], rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(backward[i], long[i], rtol=1e-6, atol=1e-8)


def test_the_time_a_steady_state_is_frozen_at_is_a_plain_number():
    with pytest.raises(TypeError, match="t must be a plain number"):
        ds.grad(lambda s: ds.ode.steady_state(lambda t, y: t * t - y, [0.0], t=s).y[0])(2.0)


# ---------------------------------------------------------------- rest at zero
@pytest.mark.parametrize("method", ["pseudo_transient", "newton"])
def test_a_state_may_come_to_rest_where_all_of_it_vanishes(method):
    def dying(t, y, k):
        return np.array([-k[0] * y[0], k[0] * y[0] - k[1] * y[1], y[1] ** 2 - y[2]])

    rest = ds.ode.steady_state(dying, [1.0, 1e-3, 0.0], (np.array([1.0, 3.0]),), method=method)
    assert rest.success
    assert rest.stable
    np.testing.assert_array_equal(rest.y, 0.0)
    np.testing.assert_allclose(rest.abscissa, -1.0)


def test_the_derivative_at_rest_at_zero():
    """y' = -y + a^2 at a = 0: the rest is a^2, with derivatives 0 and 2 there."""
    def rest(a):
        return ds.ode.steady_state(lambda t, y, a: a**2 - y, [5.0], (a,)).y[0]

    assert abs(rest(0.0)) < 1e-15
    assert ds.grad(rest)(0.0) == 0.0
    assert ds.grad(ds.grad(rest))(0.0) == pytest.approx(2.0)

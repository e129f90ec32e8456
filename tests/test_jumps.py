"""What jumps: states over the surfaces of events, resets with values from outside, inputs made inside a right-hand side."""

import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import InputError, MutationError, SolveError, ToleranceWarning
from diffsim.ode import Dose, Event, Input, solve_ivp

G = 9.81
TIGHT = {"rtol": 1e-10, "atol": 1e-12}


def decay(t, y, k=1.0):
    return -k * y


# ---------------------------------------------------------------- values from outside
def height_after_a_bounce(e):
    """A body thrown up from 1 m with 3 m/s bounces at tau with the part e of its speed w: linear in e."""
    ball = Event(lambda t, y: y[0], reset=lambda t, y: np.array([0.0 * y[0], -e * y[1]]), direction=-1)
    sol = solve_ivp(lambda t, y: np.array([y[1], -G]), (0.0, 1.6), np.array([1.0, 3.0]), events=ball, t_eval=[1.6])
    return sol.y[0, -1]


def test_a_reset_may_close_over_what_is_traced():
    w = np.sqrt(9.0 + 2 * G)
    after = 1.6 - (3.0 + w) / G
    exact = 0.8 * w * after - 0.5 * G * after**2, w * after
    assert ds.value_and_grad(height_after_a_bounce)(0.8) == pytest.approx(exact, rel=1e-10)
    assert ds.jit(ds.value_and_grad(height_after_a_bounce))(0.8) == pytest.approx(exact, rel=1e-10)
    assert np.allclose(ds.vmap(ds.grad(height_after_a_bounce))(np.array([0.8, 0.7])), exact[1], rtol=1e-10)


def test_states_at_the_steps_follow_what_a_reset_brings_in():
    def last(e):
        double = Event(lambda t, y: t - 1.0, reset=lambda t, y: e * y)
        return solve_ivp(decay, (0.0, 2.0), np.ones(1), events=double, **TIGHT).y[0, -1]
    assert ds.grad(last)(3.0) == pytest.approx(np.exp(-2.0), rel=1e-9)


@pytest.mark.parametrize("given", [True, False])
def test_a_reset_takes_complex_parameters(given):
    """|c exp(-2)| along c = 1 + 2i."""
    def end(c):
        event = Event(lambda t, y, *args: t - 1.0, reset=lambda t, y, *args: y * (args[0] if given else c))
        return np.abs(solve_ivp(lambda t, y, *args: -y, (0.0, 2.0), np.array([1.0 + 0j]), events=event, args=(c,) if given else (),
                                t_eval=[2.0], **TIGHT).y[0, -1])
    c = np.complex128(1 + 2j)
    exact = np.exp(-2.0) * abs(c), np.exp(-2.0) * np.conj(c) / abs(c)
    for run in (ds.value_and_grad(end), ds.jit(ds.value_and_grad(end))):
        assert np.allclose(run(c), exact, rtol=1e-9)


# ---------------------------------------------------------------- over a surface
def test_a_dose_over_the_surface_of_an_event_is_an_event_at_its_time():
    def run(x):
        full = Event(lambda t, y: y[0] - 1.0, terminal=True, direction=1)
        return solve_ivp(decay, (0.0, 2.0), np.zeros(1), events=full, doses=Dose(x[0], x[1]))
    sol = run(np.array([0.5, 2.0]))
    assert (sol.status, sol.t[-1]) == (1, 0.5)
    assert sol.t_events[0] == pytest.approx([0.5])
    assert sol.y_events[0][0] == pytest.approx([2.0])                   # the state the dose has left
    assert np.allclose(ds.grad(lambda x: run(x).t_events[0][0])(np.array([0.5, 2.0])), [1.0, 0.0])
    assert run(np.array([0.5, 0.9])).status == 0
    assert run(np.array([0.0, 2.0])).t_events[0] == pytest.approx([0.0])
    down = solve_ivp(decay, (0.0, 2.0), np.zeros(1), events=Event(lambda t, y: 1.0 - y[0], direction=1), doses=Dose(0.5, 2.0))
    assert down.t_events[0] == pytest.approx([0.5 + np.log(2.0)], rel=1e-6)


def test_a_reset_over_the_surface_of_another_event_makes_that_happen_too():
    """Two units that leak no charge: the first fires at 1 and kicks the second over its threshold, which fires at the same time."""
    def kicks(i, by):
        charge = np.eye(2)[1 - i] * by
        return Event(lambda t, y: y[i] - 1.0, reset=lambda t, y: np.where(np.arange(2) == i, 0.0, y) + charge, direction=1)
    sol = solve_ivp(lambda t, y: np.array([1.0, 0.5]), (0.0, 1.5), np.zeros(2), events=[kicks(0, 0.7), kicks(1, 0.1)])
    assert [list(np.round(t, 12)) for t in sol.t_events] == [[1.0], [1.0]]
    assert np.allclose(sol.y[:, -1], [0.1 + 0.5, 0.25])


def test_units_that_fire_each_other_without_end_are_named():
    def unit(i):
        return Event(lambda t, y: y[i] - 1.0, reset=lambda t, y: np.where(np.arange(2) == i, 0.0, 2.0), direction=1, name=f"unit {i}")
    sol = solve_ivp(lambda t, y: np.ones(2), (0.0, 3.0), np.array([0.0, -0.5]), events=[unit(0), unit(1)])
    assert not sol.success
    assert "again and again at t = 1" in sol.message


def test_a_dose_at_the_start_has_the_derivative_of_one_that_comes_later():
    """y(2) = exp(-(2 - time)); before the span there is no dose at all."""
    def end(x):
        return solve_ivp(decay, (0.0, 2.0), np.zeros(1), doses=Dose(x[0], 1.0, lag=x[1]), t_eval=[2.0], **TIGHT).y[0, 0]
    x = np.zeros(2)
    assert np.allclose(ds.grad(end)(x), np.exp(-2.0), rtol=1e-9)
    assert np.allclose(ds.jit(ds.grad(end))(x), np.exp(-2.0), rtol=1e-9)
    assert np.allclose(ds.hessian(end)(x), np.exp(-2.0), rtol=1e-6)


# ---------------------------------------------------------------- words
def test_an_event_function_says_how_far_it_is_from_happening():
    with pytest.raises(InputError, match=r"y\[0\] - 0.5 instead of y\[0\] > 0.5"):
        solve_ivp(decay, (0.0, 1.0), np.ones(1), events=lambda t, y: y[0] > 0.5)


def test_an_input_may_be_made_inside_the_right_hand_side_if_its_knots_are_known():
    knots = np.array([0.0, 0.9, 1.7])

    def area(k):
        return solve_ivp(lambda t, y: np.array([Input(k, [1.0, 2.0, 3.0], "previous")(t)]), (0.0, 2.0), [0.0], t_eval=[2.0]).y[0, 0]
    assert area(knots) == pytest.approx(3.4, rel=1e-12)
    assert np.allclose(ds.grad(area)(knots), [0.0, -1.0, -1.0])
    assert np.allclose(ds.jit(ds.grad(area))(knots), [0.0, -1.0, -1.0])
    for inside in (lambda t, y, k: np.array([Input(k, [1.0, 2.0, 3.0], "previous")(t)]),
                   lambda t, y, k: np.array([Input(k + 0.1, [1.0, 2.0, 3.0], "previous")(t)])):
        with pytest.raises(InputError, match="make the Input before the solve"):
            solve_ivp(inside, (0.0, 2.0), [0.0], args=(knots,))


def test_messages_speak_of_the_whole_span():
    sol = solve_ivp(lambda t, y: y**2, (0.0, np.inf), np.ones(1), events=Event(lambda t, y: y[0] + 1.0, terminal=True))
    assert "stopped at t = 1 of 0 to inf:" in sol.message
    sol = solve_ivp(lambda t, y: y**2, (0.0, 3.0), np.ones(1), tstops=[0.5])
    assert "stopped at t = 1 of 0 to 3:" in sol.message


def test_tolerances_are_looked_at_in_solves_of_several_stretches():
    for t_eval in ([2.0], None):
        with pytest.warns(ToleranceWarning, match=r"y\[0\]: smaller than atol"):
            solve_ivp(decay, (0.0, 2.0), np.array([1e-12]), doses=Dose(1.0, 1e-12), t_eval=t_eval)
    solve_ivp(decay, (0.0, 2.0), np.array([1e-12]), doses=[Dose(1.0, 1.0), Dose(1.5, -0.6)], t_eval=[0.5])


def test_the_mesh_of_a_solve_with_events_holds_all_its_steps():
    event = Event(lambda t, y: y[0] - 0.3, reset=lambda t, y: y + 1.0)
    sol = solve_ivp(decay, (0.0, 3.0), np.ones(1), events=event, doses=Dose(0.4, 1.0))
    nodes = np.unique(sol.t)
    assert len(sol.mesh) == len(nodes) - 1
    assert np.allclose(sol.mesh.nodes, nodes)


def test_writing_into_the_state_is_named_as_the_solve_s_also_under_a_derivative():
    def rhs(t, y, p):
        y[0] = y[0] if float(y[0]) > -1e9 else 0.0
        return -p * y
    with pytest.warns(UserWarning, match="uncompiled"), pytest.raises(MutationError, match="an input of solve_ivp"):
        ds.grad(lambda p: solve_ivp(rhs, (0.0, 1.0), np.ones(2), args=(p,), t_eval=[1.0]).y[0, 0])(1.0)


def test_rtol_may_be_zero_as_in_scipy():
    with pytest.warns(UserWarning, match="too small"):
        sol = solve_ivp(decay, (0.0, 1.0), np.ones(1), "DOP853", rtol=0, atol=1e-10)
    assert sol.y[0, -1] == pytest.approx(np.exp(-1.0), abs=1e-8)


def test_a_solve_that_ends_by_an_error_names_it_where_a_reset_was_traced():
    def run(e):
        ball = Event(lambda t, y: y[0], reset=lambda t, y: np.array([0.0 * y[0], -e * y[1]]), direction=-1, name="bounce")
        return solve_ivp(lambda t, y: np.array([y[1], -G]), (0.0, 30.0), np.array([1.0, 0.0]), events=ball, t_eval=[30.0]).y[0, 0]
    with pytest.raises(SolveError, match="bounce happens"):
        ds.grad(run)(0.8)


# ---------------------------------------------------------------- what happens at one time
def lagged(x):
    """Two doses at times that are equal and move apart; an infusion that begins where another ends."""
    doses = [Dose(1.0, 2.0, lag=x[0]), Dose(1.0, 3.0, lag=x[1]), Dose(1.5, 1.0, duration=x[2]), Dose(1.5, 2.0, lag=x[3], duration=0.3)]
    return solve_ivp(decay, (0.0, 3.0), np.zeros(1), doses=doses, t_eval=[3.0], **TIGHT).y[0, 0]


def lagged_exact(x):
    def infusion(start, amount, duration):
        return amount / duration * np.exp(start - 3.0) * (np.exp(duration) - 1.0)
    return (2.0 * np.exp(x[0] - 2.0) + 3.0 * np.exp(x[1] - 2.0) + infusion(1.5, 1.0, x[2]) + infusion(1.5 + x[3], 2.0, 0.3))


def test_doses_at_one_time_have_derivatives_of_their_own():
    x = np.array([0.2, 0.2, 0.5, 0.5])
    exact = [(lagged_exact(x + d) - lagged_exact(x - d)) / 2e-5 for d in 1e-5 * np.eye(4)]
    assert lagged(x) == pytest.approx(lagged_exact(x), rel=1e-9)
    assert np.allclose(ds.grad(lagged)(x), exact, rtol=1e-8)
    assert np.allclose(ds.jacfwd(lagged)(x), exact, rtol=1e-8)
    assert np.allclose(ds.jit(ds.grad(lagged))(x), exact, rtol=1e-8)


# ---------------------------------------------------------------- programs
def scheduled(x):
    """What is given at known times, into a right-hand side with a kink and a jump."""
    u = Input(np.array([0.0, 1.0, 2.0]), x[:3])
    gate = Input(np.array([0.0, 1.3]), x[3:5], "previous")
    doses = [Dose(0.5, x[0], every=0.8, count=3), Dose(1.0, x[1], duration=0.7)]
    sol = solve_ivp(lambda t, y: np.array([u(t) + gate(t) - x[5] * y[0]]), (0.0, 3.0), x[:1], doses=doses, tstops=[2.5],
                    t_eval=[0.0, 0.5, 1.7, 3.0])
    return np.sum(sol.y[0] ** 2)


def calls_back(f, *x):
    """Whether the compiled program of f calls back into Python."""
    return any("eager" in eqn.prim.name for eqn in ds.make_graph(f)(*x).eqns)


def test_what_happens_at_known_times_is_part_of_the_program():
    x = np.array([1.0, 0.5, 2.0, 0.3, 0.1, 0.7])
    assert not calls_back(scheduled, x)
    assert ds.jit(scheduled)(x) == pytest.approx(scheduled(x), rel=1e-14)
    assert np.allclose(ds.jit(ds.grad(scheduled))(x), ds.grad(scheduled)(x), rtol=1e-12)
    assert np.allclose(ds.jit(ds.hessian(scheduled))(x), ds.hessian(scheduled)(x), rtol=1e-10, atol=1e-12)
    xs = np.stack([x, 1.1 * x])
    assert np.allclose(ds.vmap(ds.grad(scheduled))(xs), [ds.grad(scheduled)(v) for v in xs], rtol=1e-12)


def test_events_at_one_time_have_derivatives_of_their_own():
    """Two clocks that start afresh at p and q, which are equal: each p or q later, twice on the way."""
    def shown(x):
        first = Event(lambda t, y: y[0] - x[0], reset=lambda t, y: np.array([0.0, y[1]]))
        second = Event(lambda t, y: y[1] - x[1], reset=lambda t, y: np.array([y[0], 0.0]))
        return solve_ivp(lambda t, y: np.ones(2), (0.0, 2.0), np.zeros(2), events=[first, second], t_eval=[2.0]).y[:, 0]
    x = np.array([0.7, 0.7])
    for jacobian in (ds.jacrev, ds.jacfwd):
        assert np.allclose(jacobian(shown)(x), [[-2.0, 0.0], [0.0, -2.0]], atol=1e-12)
        assert np.allclose(ds.jit(jacobian(shown))(x), [[-2.0, 0.0], [0.0, -2.0]], atol=1e-12)

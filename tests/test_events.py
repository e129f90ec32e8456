"""Events: found where they are, their times and what comes after them differentiated, as SciPy reports them."""

import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import DegeneracyWarning, InputError, InputTypeError, SolveError
from diffsim.ode import Event, solve_ivp

G = 9.81
FAMILIES = ["Tsit5", "Kvaerno5", *[pytest.param(method, marks=pytest.mark.slow) for method in ("DOP853", "Rodas5P", "Radau", "auto")]]


def fall(t, y):
    return np.array([y[1], -G])


def height(t, y, *args):
    return y[0]


def ground(t, y, *args):
    return y[0]


ground.terminal, ground.direction = True, -1
BOUNCE = Event(height, reset=lambda t, y: np.array([0.0 * y[0], -0.8 * y[1]]), direction=-1, name="bounce")


def oscillator(t, y, w):
    return np.array([y[1], -(w**2) * y[0]])


def slope_of(f, x, h=1e-5):
    """Fourth-order central difference."""
    return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h)


# ---------------------------------------------------------------- where and what comes after
@pytest.mark.parametrize("method", FAMILIES)
def test_a_falling_body_hits_the_ground(method):
    """Closed form: tau = (v0 + sqrt(v0^2 + 2 g h)) / g."""
    def run(v0):
        return solve_ivp(fall, (0.0, 5.0), np.array([1.0, v0]), method, events=ground)

    sol = run(3.0)
    assert (sol.status, sol.message, len(sol.t_events)) == (1, "A termination event occurred.", 1)
    assert np.allclose(sol.t_events[0], 0.8511484556613763, rtol=0, atol=1e-13)
    assert sol.t[-1] == sol.t_events[0][0]
    assert np.array_equal(sol.y[:, -1], sol.y_events[0][0])

    def tau(v0):
        return run(v0).t_events[0][0]

    def speed(v0):
        return run(v0).y_events[0][0, 1]

    assert ds.grad(tau)(3.0) == pytest.approx(0.15910011764444895, abs=1e-12)
    assert ds.jvp(tau, (3.0,), (1.0,))[1] == pytest.approx(0.15910011764444895, abs=1e-12)
    assert ds.grad(speed)(3.0) == pytest.approx(-0.5607721540920443, abs=1e-12)
    root = np.sqrt(9.0 + 2 * G)                            # tau'' = 2 h / root^3
    assert ds.grad(ds.grad(tau))(3.0) == pytest.approx(2.0 / root**3, rel=1e-10)
    assert ds.jvp(ds.grad(tau), (3.0,), (1.0,))[1] == pytest.approx(2.0 / root**3, rel=1e-10)


@pytest.mark.parametrize("method", FAMILIES)
def test_a_ball_bounces(method):
    def later(v0):
        return solve_ivp(fall, (0.0, 1.6), np.array([1.0, v0]), method, events=BOUNCE, t_eval=[1.6]).y[0, -1]

    value, slope = ds.value_and_grad(later)(3.0)
    assert value == pytest.approx(0.454325427538301, abs=1e-11)
    assert slope == pytest.approx(0.8238159488, abs=1e-9)
    assert ds.grad(ds.grad(later))(3.0) == pytest.approx(slope_of(ds.grad(later), 3.0), rel=1e-7)


def bounces(v0, e, g, n):
    """Times of the first n bounces of a ball thrown up from the ground, in closed form."""
    return 2 * v0 / g * np.cumsum(e ** np.arange(n))


def test_many_bounces_and_their_derivatives():
    def run(x):
        v0, e, g = x
        ball = Event(height, reset=lambda t, y: np.array([0.0 * y[0], -e * y[1]]), direction=-1)
        return solve_ivp(lambda t, y: np.array([y[1], -g]), (0.0, 4.0), np.array([0.0, v0]), events=ball).t_events[0]

    x = np.array([4.0, 0.8, 9.81])
    n = len(run(x))
    assert n == np.sum(bounces(*x, 60) < 4.0) >= 15
    assert np.allclose(run(x), bounces(*x, n), rtol=1e-11)
    exact = np.stack([(bounces(*(x + d), n) - bounces(*(x - d), n)) / 2e-6 for d in 1e-6 * np.eye(3)], axis=1)
    jacobian = ds.jacrev(run)(x)
    assert np.allclose(jacobian, exact, rtol=1e-6)
    assert np.allclose(jacobian, ds.jacfwd(run)(x), rtol=1e-10)


def test_a_reset_at_a_threshold():
    """u' = 1, back to 0 at u = p: u(1) = 1 - p."""
    def end(p):
        event = Event(lambda t, u: u[0] - p, reset=lambda t, u: 0.0 * u)
        return solve_ivp(lambda t, u: np.ones(1), (0.0, 1.0), np.zeros(1), events=event, t_eval=[1.0]).y[0, -1]

    assert ds.value_and_grad(end)(0.7) == pytest.approx((0.3, -1.0), abs=1e-12)
    assert ds.grad(ds.grad(end))(0.7) == pytest.approx(0.0, abs=1e-10)


def test_guard_reset_and_time_all_depend_on_parameters():
    """Three-way: forward, adjoint, and differences of the solution at a tight tolerance."""
    def end(x):
        event = Event(lambda t, y, x: y[0] - x[0] - 0.1 * t, direction=1,
                      reset=lambda t, y, x: np.array([y[0] * x[1], 0.6 * y[1] + 0.1 * x[0] * t]))
        sol = solve_ivp(lambda t, y, x: np.array([y[1], -np.sin(y[0]) * x[2]]), (0.0, 6.0), np.array([0.2, x[3]]), events=event,
                        args=(x,), t_eval=[3.0, 6.0], rtol=1e-11, atol=1e-12)
        return sol.y[0, -1] * sol.y[1, 0] + sol.t_events[0][0]

    x = np.array([0.5, 0.7, 1.3, 1.1])
    reverse, forward = ds.grad(end)(x), ds.jacfwd(end)(x)
    differences = [slope_of(lambda s, d=d: end(x + s * d), 0.0, 1e-4) for d in np.eye(4)]
    assert np.allclose(reverse, forward, rtol=1e-9)
    assert np.allclose(reverse, differences, rtol=1e-6)


# ---------------------------------------------------------------- as SciPy
def crossing_up(t, y):
    return y[1] - 0.3


crossing_up.direction = 1


@pytest.mark.parametrize("span", [(0.0, 20.0), (20.0, 0.0)])
def test_times_and_states_of_events_are_scipy_s(span):
    from scipy import integrate  # noqa: PLC0415

    def third(t, y):
        return np.sin(t) - y[0]
    third.terminal = 3
    events, y0 = [height, crossing_up, third], [1.0, 0.2]
    theirs = integrate.solve_ivp(lambda t, y: oscillator(t, y, 1.3), span, y0, "DOP853", events=events, rtol=1e-12, atol=1e-13)
    ours = solve_ivp(lambda t, y: oscillator(t, y, 1.3), span, np.array(y0), "DOP853", events=events, rtol=1e-12, atol=1e-13)
    assert (ours.status, ours.message) == (theirs.status, theirs.message)
    for i in range(3):
        assert np.shape(ours.t_events[i]) == np.shape(theirs.t_events[i])
        assert np.allclose(ours.t_events[i], theirs.t_events[i], rtol=0, atol=1e-9)
        assert np.allclose(ours.y_events[i], theirs.y_events[i], rtol=0, atol=1e-9)
    assert ours.t[-1] == pytest.approx(theirs.t[-1], abs=1e-9)


def test_events_that_do_not_happen_leave_empty_lists_and_none_without_events():
    never = solve_ivp(fall, (0.0, 0.1), np.array([1.0, 0.0]), events=[height, ground])
    assert never.status == 0
    assert [x.shape for x in (*never.t_events, *never.y_events)] == [(0,)] * 4
    assert solve_ivp(fall, (0.0, 0.1), np.array([1.0, 0.0])).t_events is None
    assert solve_ivp(fall, (0.0, 0.1), np.array([1.0, 0.0]), events=[]).t_events == []


def test_a_function_that_is_zero_at_the_start_is_an_event_there_as_in_scipy_but_an_event_object_must_leave_first():
    from scipy import integrate  # noqa: PLC0415

    for direction in (0, 1, -1):
        def start(t, y):
            return y[0]
        start.direction = direction
        for speed in (2.0, -2.0):
            theirs = integrate.solve_ivp(fall, (0.0, 0.3), [0.0, speed], events=start, rtol=1e-8)
            ours = solve_ivp(fall, (0.0, 0.3), np.array([0.0, speed]), events=start)
            assert np.allclose(ours.t_events[0], theirs.t_events[0], atol=1e-8), (direction, speed)
    thrown = solve_ivp(fall, (0.0, 2.0), np.array([0.0, 3.0]), events=Event(height, terminal=True))
    assert thrown.t_events[0] == pytest.approx([6.0 / G])


def test_recorded_events_do_not_disturb_the_steps_and_are_differentiated():
    def run(w):
        return solve_ivp(oscillator, (0.0, 20.0), np.array([1.0, 0.0]), events=height, args=(w,), rtol=1e-10, atol=1e-12)

    plain = solve_ivp(oscillator, (0.0, 20.0), np.array([1.0, 0.0]), args=(1.3,), rtol=1e-10, atol=1e-12)
    watched = run(1.3)
    assert np.array_equal(plain.t, watched.t)
    exact = (np.arange(8) + 0.5) * np.pi / 1.3
    assert np.allclose(watched.t_events[0], exact, atol=1e-8)
    for jacobian in (ds.jacfwd, ds.jacrev):
        assert np.allclose(jacobian(lambda w: run(w).t_events[0])(1.3), -exact / 1.3, atol=1e-6)


def test_a_span_without_end_ends_at_an_event():
    sol = solve_ivp(lambda t, y: -0.1 * y, (0.0, np.inf), np.ones(1), events=Event(lambda t, y: y[0] - 1e-3, terminal=True))
    assert sol.t[-1] == pytest.approx(np.log(1e3) / 0.1, rel=1e-6)
    with pytest.raises(InputError, match="only events"):
        solve_ivp(lambda t, y: -y, (0.0, np.inf), np.ones(1), events=height)


# ---------------------------------------------------------------- what is hard to notice
def test_a_double_crossing_within_a_step_is_noticed():
    """One step would do for the solution; the event function dips below zero for a twentieth of it."""
    sol = solve_ivp(lambda t, y: np.ones(1), (0.0, 1.0), np.zeros(1), first_step=1.0, events=lambda t, y: (y[0] - 0.45) * (y[0] - 0.52))
    assert sol.t_events[0] == pytest.approx([0.45, 0.52])


def test_events_at_one_time_are_applied_in_their_order():
    add = Event(lambda t, y: t - 1.0, reset=lambda t, y: y + 1.0)
    double = Event(lambda t, y: 1.0 - t, reset=lambda t, y: 2.0 * y)
    for events, want in (([add, double], 4.0), ([double, add], 3.0)):
        assert solve_ivp(lambda t, y: 0.0 * y, (0.0, 2.0), np.ones(1), events=events).y[0, -1] == pytest.approx(want)


def test_the_earliest_of_several_events_in_one_step_comes_first():
    late = Event(lambda t, y: y[0] - 0.8, terminal=True, name="late")
    early = Event(lambda t, y: y[0] - 0.6, terminal=True, name="early")
    sol = solve_ivp(lambda t, y: np.ones(1), (0.0, 1.0), np.zeros(1), first_step=1.0, events=[late, early])
    assert (sol.t_events[0].size, sol.t_events[1]) == (0, pytest.approx([0.6]))


def test_bounces_without_end_are_an_error_that_names_the_event():
    sol = solve_ivp(fall, (0.0, 30.0), np.array([1.0, 0.0]), events=BOUNCE)
    assert not sol.success
    assert "bounce happens again and again at t = 4.06" in sol.message
    with pytest.raises(SolveError, match="bounce happens"):
        ds.grad(lambda v: solve_ivp(fall, (0.0, 30.0), np.array([1.0, v]), events=BOUNCE, t_eval=[30.0]).y[0, 0])(0.0)
    few = solve_ivp(fall, (0.0, 3.9), np.array([1.0, 0.0]), events=BOUNCE, max_events=5)
    assert "more than 5 events" in few.message


def test_an_event_that_grazes_its_surface_is_reported():
    def when(p):
        return solve_ivp(lambda t, y: np.ones(1), (0.0, 2.0), np.zeros(1), events=lambda t, y: (y[0] - 1.0) ** 3 - p).t_events[0][0]

    with pytest.warns(DegeneracyWarning, match="grazes zero at t = 1"):
        ds.grad(when)(1e-15)


# ---------------------------------------------------------------- outputs
@pytest.mark.parametrize("method", ["Tsit5", "Kvaerno5"])
def test_outputs_and_dense_output_go_through_events(method):
    t = np.linspace(0.0, 3.0, 31)
    sol = solve_ivp(fall, (0.0, 3.0), np.array([1.0, 3.0]), method, events=BOUNCE, t_eval=t, dense_output=True)
    assert np.array_equal(sol.t, t)
    assert np.allclose(sol.sol(t), sol.y, atol=1e-12)
    assert np.allclose(sol.sol(t[::-1]), sol.y[:, ::-1], atol=1e-12)
    assert np.all(sol.y[0] >= -1e-12)
    at = sol.t_events[0][0]
    assert sol.sol(at)[1] < 0 < sol.sol(at + 1e-9)[1]
    steps = solve_ivp(fall, (0.0, 3.0), np.array([1.0, 3.0]), method, events=BOUNCE)
    twice = steps.t[1:] == steps.t[:-1]
    assert np.array_equal(steps.t[1:][twice], steps.t_events[0])


def test_an_output_at_the_time_of_an_event_is_the_state_before_it():
    sol = solve_ivp(lambda t, y: np.ones(1), (0.0, 2.0), np.zeros(1), t_eval=[0.0, 1.0, 2.0],
                    events=Event(lambda t, y: t - 1.0, reset=lambda t, y: y + 10.0))
    assert np.allclose(sol.y[0], [0.0, 1.0, 12.0])


def test_states_may_be_trees():
    def rhs(t, s):
        return {"x": s["v"], "v": -G + 0.0 * s["x"]}

    event = Event(lambda t, s: s["x"], reset=lambda t, s: {"x": 0.0 * s["x"], "v": -0.8 * s["v"]}, direction=-1)
    sol = solve_ivp(rhs, (0.0, 1.6), {"x": 1.0, "v": 3.0}, events=event, t_eval=[1.6])
    assert sol.y["x"][0] == pytest.approx(0.454325427538301, abs=1e-11)
    assert sol.y_events[0]["v"] == pytest.approx([-5.349766350038], rel=1e-9)


def test_a_right_hand_side_that_cannot_be_traced_has_events_too():
    def rhs(t, y):
        return np.array([y[1], -G if float(y[0]) > -1e9 else 0.0])

    with pytest.warns(UserWarning, match="uncompiled"):
        sol = solve_ivp(rhs, (0.0, 1.6), np.array([1.0, 3.0]), events=BOUNCE, t_eval=[1.6])
    assert sol.y[0, -1] == pytest.approx(0.454325427538301, abs=1e-11)


@pytest.mark.parametrize(("events", "kind", "words"), [
    ([3.0], InputTypeError, r"events\[0\] must be a function"),
    (lambda t, y: y, InputError, "must return one real number"),
    (Event(height, terminal=-1), InputError, "boolean or positive integer"),
    (Event(height, reset=lambda t, y: np.zeros(5)), InputError, r"returned shape \(5,\)"),
])
def test_what_is_wrong_with_events_is_named(events, kind, words):
    with pytest.raises(kind, match=words):
        solve_ivp(fall, (0.0, 5.0), np.array([1.0, 0.0]), events=events)


# ---------------------------------------------------------------- what happens at one place
@pytest.mark.parametrize("w", [1.0, 2.0, 0.7])
def test_crossings_are_recorded_once_where_another_event_stops_the_solve(w):
    flip = Event(lambda t, y: y[0] * y[1], reset=lambda t, y: 1.0 * y)
    sol = solve_ivp(lambda t, y: [w * y[1], -w * y[0]], (0, 10), np.array([1.0, 0.3]), events=[flip, lambda t, y: y[0]])
    phase = np.arctan2(0.3, 1.0)
    exact = (np.pi / 2 + phase + np.pi * np.arange(9)) / w
    np.testing.assert_allclose(sol.t_events[1], exact[exact < 10], atol=1e-5)


def test_a_condition_that_jumps_has_no_derivative_of_its_time():
    def tau(c):
        return solve_ivp(lambda t, y, c: [1.0], (0, 1), [0.0], args=(c,), events=lambda t, y, c: np.sign(y[0] - c)).t_events[0][0]
    assert tau(0.5) == pytest.approx(0.5)
    with pytest.raises(ArithmeticError, match="jumps at zero"):
        ds.grad(tau)(0.5)


def test_the_second_derivative_by_the_knots_of_a_cubic_input_has_the_kinks_at_its_ends():
    values = np.array([1.0, -0.5, 2.0, 0.7, 1.1])

    def area(times):
        u = ds.ode.Input(times, values, kind="cubic")
        return solve_ivp(lambda t, y, u: np.array([u(t)]), (0, 5), [0.0], args=(u,), t_eval=[5.0], rtol=1e-11, atol=1e-13).y[0, 0]
    knots = np.array([0.3, 1.0, 2.2, 3.1, 4.0])
    differences = np.stack([slope_of(lambda s, d=d: ds.grad(area)(knots + s * d), 0.0, 1e-4) for d in np.eye(5)])
    np.testing.assert_allclose(ds.hessian(area)(knots), differences, atol=1e-6)


def test_an_input_that_jumps_is_read_at_the_time_of_the_solve():
    w = ds.ode.Input([1.0, 2.0], [0.0, 1.0], kind="previous")
    with pytest.raises(InputError, match="shift its knots"):
        solve_ivp(lambda t, y, lag: np.array([w(t - lag)]), (0, 4), [0.0], args=(0.3,), t_eval=[4.0])


def test_a_complex_amount_is_refused_where_it_is_traced_too():
    def end(a):
        return solve_ivp(lambda t, y: 0 * y, (0, 2), np.array([1 + 0j]), doses=[ds.ode.Dose(1.0, a, 0)], t_eval=[2.0]).y[0, 0]
    for run in (end, ds.jit(end)):
        with pytest.raises(InputTypeError, match="amount"):
            run(np.complex128(1 + 2j))

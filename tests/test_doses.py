"""Doses, stops, inputs and switches: against closed forms, with derivatives by amounts, times and parameters."""

import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import ConcretizationError, InputError, InputTypeError
from diffsim.ode import Dose, Event, Input, solve_ivp

FAMILIES = ["Tsit5", *[pytest.param(method, marks=pytest.mark.slow) for method in ("Vern7", "KenCarp4", "Rodas5P")]]
TIGHT = {"rtol": 1e-10, "atol": 1e-12}


def jacobian_of(f, x, h=1e-6):
    """Central differences of a closed form."""
    return np.stack([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(len(x))], axis=-1)


def agrees(run, exact, x, rtol=1e-6):
    """Values, both modes, and the compiled derivative."""
    assert np.allclose(run(x), exact(x), rtol=1e-7, atol=1e-9)
    reverse, forward = ds.jacrev(run)(x), ds.jacfwd(run)(x)
    assert np.allclose(reverse, forward, rtol=1e-9, atol=1e-11)
    assert np.allclose(reverse, jacobian_of(exact, x), rtol=rtol, atol=1e-7)


# ---------------------------------------------------------------- doses
T = np.linspace(0.0, 30.0, 11)


def decay(t, y, k):
    return -k * y


@pytest.mark.parametrize("method", FAMILIES)
def test_repeated_doses_into_one_compartment(method):
    """Superposition: each dose decays by itself; x holds rate, amount, lag, interval."""
    def run(x):
        doses = Dose(0.0, x[1], lag=x[2], every=x[3], count=3)
        return solve_ivp(decay, (0.0, 30.0), np.zeros(1), method, args=(x[0],), doses=doses, t_eval=T, **TIGHT).y[0]

    def exact(x):
        k, amount, lag, every = x
        since = T[:, None] - lag - every * np.arange(3)
        return np.sum(np.where(since > 0, amount * np.exp(-k * np.maximum(since, 0)), 0.0), axis=1)
    agrees(run, exact, np.array([0.2, 5.0, 0.5, 8.0]))


def test_an_oral_dose_through_two_compartments():
    """Bateman's function; the second compartment is fed by the first."""
    def run(x):
        def rhs(t, y, ka, ke):
            return np.array([-ka * y[0], ka * y[0] - ke * y[1]])
        sol = solve_ivp(rhs, (0.0, 24.0), np.zeros(2), args=(x[0], x[1]), doses=[Dose(x[3], x[2]), Dose(12.0, x[2])],
                        t_eval=[6.0, 12.0, 20.0], **TIGHT)
        return sol.y[1]

    def exact(x):
        ka, ke, amount, first = x
        def one(t):
            return np.where(t > 0, amount * ka / (ka - ke) * (np.exp(-ke * np.maximum(t, 0)) - np.exp(-ka * np.maximum(t, 0))), 0.0)
        t = np.array([6.0, 12.0, 20.0])
        return one(t - first) + one(t - 12.0)
    agrees(run, exact, np.array([1.1, 0.2, 50.0, 1.5]))


def infused(t, k, amount, duration, start):
    """Amount in one compartment, the infusion's rate being amount / duration."""
    during = np.clip(t - start, 0.0, duration)
    return amount / (duration * k) * (1.0 - np.exp(-k * during)) * np.exp(-k * np.maximum(t - start - duration, 0.0))


@pytest.mark.parametrize("method", FAMILIES)
def test_an_infusion(method):
    t = np.array([0.5, 1.7, 9.0])

    def run(x):
        doses = [Dose(x[3], x[1], duration=x[2])]
        return solve_ivp(decay, (0.0, 10.0), np.zeros(1), method, args=(x[0],), doses=doses, t_eval=t, **TIGHT).y[0]
    agrees(run, lambda x: infused(t, *x), np.array([0.3, 2.0, 1.5, 1.0]))


def test_infusions_overlap_begin_before_the_span_and_end_after_it():
    t = np.array([1.0, 4.0])
    doses = [Dose(-1.0, 3.0, duration=3.0), Dose(1.0, 2.0, duration=10.0), Dose(-5.0, 100.0)]
    sol = solve_ivp(decay, (0.0, 4.0), np.zeros(1), args=(0.3,), doses=doses, t_eval=t, **TIGHT)
    exact = infused(t, 0.3, 2.0, 2.0, 0.0) + infused(t, 0.3, 2.0, 10.0, 1.0)
    assert np.allclose(sol.y[0], exact, rtol=1e-8)


def test_a_dose_at_an_output_time_comes_after_it_and_one_at_the_end_is_in_the_steps():
    doses = [Dose(0.0, 1.0), Dose(1.0, 2.0), Dose(2.0, 4.0)]
    sol = solve_ivp(decay, (0.0, 2.0), np.zeros(1), args=(0.0,), doses=doses, t_eval=[0.0, 1.0, 2.0])
    assert np.allclose(sol.y[0], [0.0, 1.0, 3.0])
    steps = solve_ivp(decay, (0.0, 2.0), np.zeros(1), args=(0.0,), doses=doses)
    assert np.allclose(steps.y[0][steps.t == 1.0], [1.0, 3.0])
    assert np.allclose(steps.y[0, [0, -1]], [0.0, 7.0])


def test_doses_go_into_parts_of_trees_and_events_watch_them():
    event = Event(lambda t, y: y["gut"] - 1.0, direction=-1, terminal=True)
    sol = solve_ivp(lambda t, y: {"gut": -y["gut"], "blood": y["gut"]}, (0.0, 50.0), {"gut": 0.0, "blood": 0.0}, events=event,
                    doses=Dose(1.0, 5.0, into="gut"))
    assert sol.t_events[0] == pytest.approx([1.0 + np.log(5.0)], rel=1e-6)
    assert sol.y["blood"][-1] == pytest.approx(4.0, rel=1e-6)


@pytest.mark.parametrize(("doses", "kind", "words"), [
    ([3.0], InputTypeError, r"doses\[0\] must be a Dose"),
    (Dose(0.0, 1.0, into=3), InputError, "component 3, but y0 has 1"),
    (Dose(0.0, 1.0, into="gut"), InputError, "'gut'"),
    (Dose(0.0, 1.0, count=2), InputError, "say every="),
    (Dose(0.0, 1.0, duration=-1.0), InputError, "duration must be positive"),
    (Dose(np.nan, 1.0), InputError, "time must be one finite number"),
])
def test_what_is_wrong_with_doses_is_named(doses, kind, words):
    with pytest.raises(kind, match=words):
        solve_ivp(decay, (0.0, 1.0), np.zeros(1), args=(0.1,), doses=doses)


def test_doses_do_not_go_back_in_time():
    with pytest.raises(InputError, match="goes back in time"):
        solve_ivp(decay, (1.0, 0.0), np.zeros(1), args=(0.1,), doses=Dose(0.5, 1.0))


# ---------------------------------------------------------------- stops
@pytest.mark.parametrize("method", ["Tsit5", "TRBDF2", pytest.param("Kvaerno5", marks=pytest.mark.slow), "Rodas5P"])
@pytest.mark.parametrize("span", [(0.0, 2.0), (2.0, 0.0)])
def test_a_jump_of_the_right_hand_side_at_a_parameter(method, span):
    """y' = 1 before theta and 0 after: y(2) = theta, and back in time y(0) = -theta."""
    def end(theta):
        sol = solve_ivp(lambda t, y, theta: np.array([np.where(t < theta, 1.0, 0.0)]), span, np.zeros(1), method, args=(theta,),
                        tstops=[theta], t_eval=[span[1]])
        return sol.y[0, -1]
    sign = 1.0 if span[0] == 0.0 else -1.0
    assert ds.value_and_grad(end)(0.8) == pytest.approx((0.8 * sign, sign), abs=1e-11)
    assert ds.grad(ds.grad(end))(0.8) == pytest.approx(0.0, abs=1e-9)


def test_few_steps_are_rejected_where_the_steps_land_on_the_jump():
    def rhs(t, y):
        return np.array([np.where(t >= 1.0, 50.0, 1.0) - y[0]])
    landing, blind = (solve_ivp(rhs, (0.0, 3.0), np.zeros(1), tstops=stops, rtol=1e-9) for stops in ([1.0], None))
    assert landing.rejected < blind.rejected
    assert 1.0 in landing.t
    exact = 50.0 + (1.0 - np.exp(-1.0) - 50.0) * np.exp(-2.0)
    assert landing.y[0, -1] == pytest.approx(exact, rel=1e-8)


# ---------------------------------------------------------------- inputs
KNOTS, VALUES = np.array([0.0, 1.0, 2.5, 4.0]), np.array([0.0, 1.0, -1.0, 0.5])


def test_the_spline_is_scipy_s():
    from scipy.interpolate import CubicSpline  # noqa: PLC0415

    for k in (2, 3, 4, 7):
        times, values = np.sort(np.random.default_rng(k).uniform(size=k)), np.random.default_rng(k + 9).normal(size=(k, 2))
        ours, theirs = Input(times, values, "cubic"), CubicSpline(times, values)
        at = np.linspace(times[0], times[-1], 13)
        assert np.allclose([ours(t) for t in at], theirs(at), atol=1e-12)


def test_a_linear_input_and_its_derivatives_by_values_and_knots():
    """Its integral, from the first to the last but one knot, is the trapezoidal sum."""
    def run(x):
        return solve_ivp(lambda t, y, u: np.array([u(t)]), (0.5, 3.0), np.zeros(1), args=(Input(x[4:], x[:4]),), t_eval=[3.0]).y[0]

    def exact(x):
        at = np.array([0.5, *x[5:7], 3.0])
        return np.array([np.trapezoid(np.interp(at, x[4:], x[:4]), at)])
    agrees(run, exact, np.concatenate([VALUES, KNOTS]))


@pytest.mark.parametrize("method", ["Tsit5", pytest.param("Kvaerno5", marks=pytest.mark.slow)])
def test_a_sampled_input_jumps_exactly_at_its_knots(method):
    def run(x):
        return solve_ivp(lambda t, y, u: np.array([u(t)]), (0.5, 3.0), np.zeros(1), method, args=(Input(x[4:], x[:4], "previous"),),
                         t_eval=[3.0]).y[0]

    def exact(x):
        return np.array([np.diff(np.array([0.5, *x[5:7], 3.0])) @ x[:3]])
    agrees(run, exact, np.concatenate([VALUES, KNOTS]))


def test_inputs_that_are_closed_over_and_of_several_channels():
    u = Input(KNOTS, np.stack([VALUES, 2.0 * VALUES], axis=1))
    sol = solve_ivp(lambda t, y: u(t), (0.0, 4.0), np.zeros(2))
    assert np.allclose(sol.y[:, -1], np.trapezoid(VALUES, KNOTS) * np.array([1.0, 2.0]), atol=1e-12)
    assert set(KNOTS) <= set(sol.t)
    cubic = solve_ivp(lambda t, y, u: np.array([u(t)]), (0.0, 4.0), np.zeros(1), args=(Input(KNOTS, VALUES, "cubic"),), **TIGHT)
    from scipy.interpolate import CubicSpline  # noqa: PLC0415
    assert cubic.y[0, -1] == pytest.approx(CubicSpline(KNOTS, VALUES).integrate(0.0, 4.0), abs=1e-9)


# ---------------------------------------------------------------- switches
@pytest.mark.parametrize("method", ["Tsit5", *[pytest.param(method, marks=pytest.mark.slow) for method in ("Kvaerno5", "Rodas5P")]])
def test_a_switch_of_the_right_hand_side(method):
    """y' = a while y < theta, then b: y(2) = theta + b (2 - theta / a)."""
    def run(x):
        def rhs(t, y, a, b, theta):
            return np.array([ds.where_event(theta - y[0], a, b)])
        return solve_ivp(rhs, (0.0, 2.0), np.zeros(1), method, args=(x[0], x[1], x[2]), t_eval=[2.0]).y[0]
    agrees(run, lambda x: np.array([x[2] + x[1] * (2.0 - x[2] / x[0])]), np.array([2.0, 1.0, 0.8]))
    x = np.array([2.0, 1.0, 0.8])
    assert ds.hessian(lambda x: run(x)[0])(x)[0, 2] == pytest.approx(x[1] / x[0] ** 2, rel=1e-8)


def test_a_thermostat_without_hysteresis_stops_where_it_slides():
    sol = solve_ivp(lambda t, y: np.array([ds.where_event(1.0 - y[0], 1.0, -1.0)]), (0.0, 3.0), np.zeros(1))
    assert not sol.success
    assert "where_event number 0 happens again and again at t = 1" in sol.message


def test_a_dry_friction_oscillator_with_many_switches():
    """A block on a spring with Coulomb friction: each half swing loses 2 mu of its amplitude (with unit mass and stiffness)."""
    mu = 0.05

    def rhs(t, y):
        return np.array([y[1], -y[0] - mu * ds.where_event(y[1], 1.0, -1.0)])
    sol = solve_ivp(rhs, (0.0, 3 * np.pi), np.array([1.0, 0.0]), t_eval=np.arange(4) * np.pi, **TIGHT)
    assert np.allclose(np.abs(sol.y[0]), 1.0 - 2 * mu * np.arange(4), atol=1e-8)


def test_outside_a_solve_and_where_it_cannot_be_watched():
    assert np.array_equal(ds.where_event(np.array([-1.0, 0.0, 1.0]), 1.0, 2.0), [2.0, 2.0, 1.0])
    with pytest.raises(InputError, match="changes its sign"):
        ds.where_event(np.array([True]), 1.0, 2.0)

    def hidden(t, y):
        return ds.fori_loop(0, 2, lambda i, s: s + ds.where_event(s - 5.0, 1.0, 2.0), y)
    with pytest.raises(InputError, match="inside a loop"):
        solve_ivp(hidden, (0.0, 1.0), np.ones(1))


# ---------------------------------------------------------------- compiled, batched, fitted
def bounce(x):
    event = Event(lambda t, y, e: y[0], reset=lambda t, y, e: np.array([0.0 * y[0], -e * y[1]]), direction=-1)
    sol = solve_ivp(lambda t, y, e: np.array([y[1], -9.81]), (0.0, 1.6), np.array([1.0, x[0]]), events=event, args=(x[1],), t_eval=[1.6],
                    doses=Dose(0.2, x[2], into=1))
    return sol.y[0, -1]


def test_compiled_and_batched_solves_have_the_same_values_and_derivatives():
    x = np.array([3.0, 0.8, 0.1])
    assert ds.jit(bounce)(x) == bounce(x)
    assert np.allclose(ds.jit(ds.grad(bounce))(x), ds.grad(bounce)(x), rtol=1e-12)
    assert np.allclose(ds.jit(ds.hessian(bounce))(x), ds.hessian(bounce)(x), rtol=1e-9, atol=1e-10)
    xs = np.stack([x, 1.01 * x])
    assert np.allclose(ds.vmap(bounce)(xs), [bounce(v) for v in xs], rtol=1e-14)
    assert np.allclose(ds.vmap(ds.grad(bounce))(xs), [ds.grad(bounce)(v) for v in xs], rtol=1e-12)


def test_times_of_events_inside_jit_are_padded():
    def run(v):
        ends = Event(lambda t, y: y[0], terminal=True)
        return solve_ivp(lambda t, y: np.array([y[1], -9.81]), (0.0, 5.0), np.array([1.0, v]), events=[ends, lambda t, y: y[1]],
                         t_eval=[0.5, 4.0], max_events=2)
    times = ds.jit(lambda v: run(v).t_events)(3.0)
    assert times[0] == pytest.approx([0.8511484556613763])
    assert np.allclose(times[1], [3.0 / 9.81, np.nan], equal_nan=True)
    y = ds.jit(lambda v: run(v).y)(3.0)
    assert np.isfinite(y[:, 0]).all()
    assert np.isnan(y[:, 1]).all()
    with pytest.raises(ConcretizationError, match="t_eval"):
        ds.vmap(lambda v: solve_ivp(decay, (0.0, 1.0), np.ones(1), args=(v,), doses=Dose(0.5, 1.0)).y)(np.ones(2))


def test_a_switch_is_fitted():
    from diffsim.fit import Dataset, Model, Normal, Parameter, fit  # noqa: PLC0415

    t = np.linspace(0.0, 6.0, 20)
    model = Model(lambda t, y, p: np.array([ds.where_event(p.theta - y[0], p.a, 0.3)]), ["x"],
                  [Parameter("theta", 1.5), Parameter("a", 0.8), Parameter("x0", 0.0, vary=False)])
    data = np.where(t < 2.0, t, 2.0 + 0.3 * (t - 2.0)) + 1e-3 * np.random.default_rng(1).normal(size=20)
    found = fit(model, Dataset(t, {"x": data}), noise=Normal()).parameters
    assert abs(found["theta"].estimate - 2.0) < 4 * found["theta"].stderr < 0.01
    assert abs(found["a"].estimate - 1.0) < 4 * found["a"].stderr < 0.01

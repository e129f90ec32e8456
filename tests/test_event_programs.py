"""Solves with events as loops of compiled programs: the same numbers and derivatives as stretch by stretch, without a call back."""

import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import InputError, SolveError
from diffsim.ode import Dose, Event, Input, solve_ivp

TIGHT = {"rtol": 1e-8, "atol": 1e-10}
G = 9.81


def padded(y, m):
    """Outputs after the end of a solve are missing, in a program NaN."""
    have = int(y.shape[1])
    return y if have == m else np.concatenate([y, np.full((int(y.shape[0]), m - have), np.nan)], axis=1)


def bouncing(x):
    ball = Event(lambda t, y: y[0], reset=lambda t, y: np.array([0.0 * y[0], -x[1] * y[1]]), direction=-1)
    sol = solve_ivp(lambda t, y: np.array([y[1], -G]), (0.0, 3.0), np.array([1.0, x[0]]), events=ball, t_eval=[0.0, 1.0, 2.0, 3.0],
                    max_events=9, **TIGHT)
    return sol.y, sol.t_events[0]


def third_of_several(x, span=(0.0, 20.0)):
    """The third crossing of one event ends the solve, another resets the state on the way."""
    def third(t, y):
        return np.sin(t) - y[0]
    third.terminal = 3
    shrink = Event(lambda t, y: y[0] - 0.5, reset=lambda t, y: np.array([y[0] * 0.8, y[1]]), direction=1)
    sol = solve_ivp(lambda t, y: np.array([y[1], -(x[0] ** 2) * y[0]]), span, np.array([1.0, x[1]]), events=[shrink, third],
                    t_eval=np.linspace(*span, 9), **TIGHT)
    return padded(sol.y, 9), sol.t_events[1], sol.y_events[1]


def back_in_time(x):
    return third_of_several(x, (20.0, 0.0))


def at_one_time(x):
    more = Event(lambda t, y: t - x[0], reset=lambda t, y: y + x[1])
    twice = Event(lambda t, y: x[0] - t, reset=lambda t, y: 2.0 * y)
    return (solve_ivp(lambda t, y: -y, (0.0, 2.0), np.ones(1), events=[more, twice], t_eval=[0.5, 1.0, 2.0], **TIGHT).y,)


def firing_each_other(x):
    def unit(i, by):
        return Event(lambda t, y: y[i] - 1.0, reset=lambda t, y: np.where(np.arange(2) == i, 0.0, y) + np.eye(2)[1 - i] * by, direction=1)
    sol = solve_ivp(lambda t, y: np.array([1.0, 0.5]) * x[0], (0.0, 3.5), np.zeros(2), events=[unit(0, 0.7 * x[1]), unit(1, 0.1)],
                    t_eval=[1.5, 3.5], max_events=20, **TIGHT)
    return sol.y, sol.t_events[0][:3]


def dosed_over_a_surface(x):
    full = Event(lambda t, y: y[0] - 1.0, reset=lambda t, y: 0.5 * y, direction=1)
    doses = [Dose(0.5, 0.6 * x[1], every=0.4, count=6, lag=0.1 * x[0]), Dose(0.5, 0.3, duration=x[1])]
    sol = solve_ivp(lambda t, y: -y * x[0], (0.0, 4.0), np.zeros(1), events=full, doses=doses, t_eval=[0.5, 1.0, 2.0, 4.0],
                    max_events=10, **TIGHT)
    return sol.y, sol.t_events[0][:1]


def moving_doses(x):
    doses = [Dose(1.0, 2.0, lag=x[0]), Dose(1.0, 3.0, lag=x[1]), Dose(1.5, 1.0, duration=0.5 + 0.1 * x[0]),
             Dose(1.5, 2.0, lag=x[1], duration=0.3), Dose(-1.0, 7.0), Dose(-1.0, 1.0, duration=1.5), Dose(9.0, 1.0)]
    return (solve_ivp(lambda t, y: -y, (0.0, 3.0), np.zeros(1), doses=doses, t_eval=[0.0, 2.1, 3.0], **TIGHT).y,)


def switched(x):
    def rhs(t, y):
        return np.array([ds.where_event(x[0] - y[0], 1.5, 0.5 * y[0]), ds.where_event(y[0] - 0.4 * x[1], 1.0, 0.0)])
    return (solve_ivp(rhs, (0.0, 0.8), np.zeros(2), t_eval=[0.3, 0.5, 0.8], **TIGHT).y,)


def jumping_right_hand_side(x, span=(0.0, 2.0)):
    sol = solve_ivp(lambda t, y: np.array([np.where(t < x[0], 1.0, 0.3) + np.where(t < x[1], 0.0, y[0])]), span, np.zeros(1),
                    tstops=[x[0], x[1]], t_eval=np.linspace(*span, 4)[1:], **TIGHT)
    return (sol.y,)


def jumping_back(x):
    return jumping_right_hand_side(x, (2.0, 0.0))


def driven(x):
    u = Input(np.array([0.0, 0.7, 1.5]), np.array([1.0, 2.0, 0.5]) * x[0])
    gate = Input(np.array([0.0, 1.0, 2.0]) * x[1], np.array([1.0, 2.0, 0.5]), "previous")
    full = Event(lambda t, y: y[0] - 1.0, reset=lambda t, y: 0.2 * y)
    return (solve_ivp(lambda t, y: np.array([u(t) * gate(t)]), (0.0, 3.0), np.zeros(1), events=full, t_eval=[1.0, 3.0], **TIGHT).y,)


def of_complex_numbers(x):
    turn = Event(lambda t, y: y[0].real - 0.5, reset=lambda t, y: y * (x[0] + 1j * x[1]), direction=-1)
    sol = solve_ivp(lambda t, y: (-0.3 + 1j) * y, (0.0, 4.0), np.array([1.0 + 0j]), events=turn, t_eval=[1.0, 4.0], **TIGHT)
    return np.abs(sol.y), sol.y.real


def of_a_number(x):
    low = Event(lambda t, y: y - x[1], terminal=True)
    sol = solve_ivp(lambda t, y: -y * x[0], (0.0, 5.0), 1.0, events=low, t_eval=[0.1, 0.2], **TIGHT)
    return sol.y, sol.t_events[0], sol.y_events[0]


def between_moving_ends(x):
    event = Event(lambda t, y: y[0] - 0.5, reset=lambda t, y: y + 0.7)
    sol = solve_ivp(lambda t, y: -y, (x[0] * 0.1, 2.0 * x[1]), np.ones(1), events=event, t_eval=np.array([0.5 * x[1], 1.9 * x[1]]), **TIGHT)
    return (sol.y,)


def zero_at_the_start(x):
    def level(t, y):
        return y[0] - 1.0
    level.terminal = 2
    sol = solve_ivp(lambda t, y: np.array([x[0] * np.cos(t * x[1])]), (0.0, 9.0), np.ones(1), events=level, t_eval=[0.5, 6.0],
                    rtol=1e-10, atol=1e-12)
    return padded(sol.y, 2), sol.t_events[0]


def total(run):
    """A number made of all that a solve returns; what did not happen does not count."""
    def loss(x):
        out = 0.0
        for i, v in enumerate(run(x)):
            weights = np.cos(np.arange(int(np.prod(v.shape))) + i).reshape(v.shape)
            out = out + np.sum(np.where(np.isnan(v), 0.0, v) * weights)
        return out
    return loss


def calls_back(f, x):
    return any("eager" in eqn.prim.name for eqn in ds.make_graph(f)(x).eqns)


FAST = [(bouncing, (3.0, 0.8)), (third_of_several, (1.3, 0.2)), (dosed_over_a_surface, (0.7, 1.1)), (moving_doses, (0.2, 0.2))]
SLOW = [(back_in_time, (1.3, 0.2)), (at_one_time, (0.7, 0.4)), (firing_each_other, (1.0, 1.0)), (switched, (0.6, 0.9)),
        (jumping_right_hand_side, (0.8, 1.1)), (jumping_back, (0.8, 1.1)), (driven, (1.0, 0.9)), (of_complex_numbers, (1.2, 0.4)),
        (of_a_number, (0.8, 0.5)), (between_moving_ends, (1.0, 1.1)), (zero_at_the_start, (1.0, 1.0))]


@pytest.mark.parametrize(("run", "x"), [*FAST, *[pytest.param(*case, marks=pytest.mark.slow) for case in SLOW]])
def test_a_program_has_the_numbers_and_derivatives_of_the_solve(run, x):
    """The values are of the same steps; derivatives resolve the linearised flow too, and differ within the tolerance."""
    x, loss = np.array(x), total(run)
    value, slope = ds.jit(ds.value_and_grad(loss))(x)
    assert not calls_back(loss, x)
    assert value == pytest.approx(loss(x), rel=1e-11)
    assert np.allclose(slope, ds.grad(loss)(x), rtol=2e-6, atol=2e-6)
    differences = [(loss(x + d) - loss(x - d)) / 2e-5 for d in 1e-5 * np.eye(2)]
    assert np.allclose(slope, differences, rtol=1e-4, atol=1e-4)


def test_the_reverse_and_the_forward_mode_of_a_program_agree():
    """An output just after an event, others long before and after it."""
    def run(x):
        full = Event(lambda t, y: y[0] - 1.0, reset=lambda t, y: 0.2 * y)
        return solve_ivp(lambda t, y: x * np.ones(1), (0.0, 3.0), np.zeros(1), events=full, t_eval=[0.5, 1.1, 3.0]).y[0]
    assert np.allclose(ds.jit(ds.jacrev(run))(1.0), [0.5, 1.1, 3.0], rtol=1e-12)
    assert np.allclose(ds.jit(ds.jacfwd(run))(1.0), [0.5, 1.1, 3.0], rtol=1e-12)


@pytest.mark.slow
def test_members_of_a_batch_go_their_own_ways():
    loss = total(of_complex_numbers)
    xs = np.array([1.2, 0.4]) * (1.0 + 0.01 * np.arange(6))[:, None]
    each = [ds.grad(loss)(x) for x in xs]
    for run in (ds.vmap(ds.grad(loss)), ds.jit(ds.vmap(ds.grad(loss))), ds.vmap(ds.jit(ds.grad(loss)))):
        assert np.allclose(run(xs), each, rtol=1e-9)


# ---------------------------------------------------------------- what goes wrong
def test_events_without_end_are_named_in_programs():
    ball = Event(lambda t, y: y[0], reset=lambda t, y: np.array([0.0 * y[0], -0.8 * y[1]]), direction=-1, name="bounce")

    def run(v, **more):
        return solve_ivp(lambda t, y: np.array([y[1], -G]), (0.0, 30.0), np.array([1.0, v]), events=ball, t_eval=[30.0], **more).y[0, 0]
    with pytest.raises(SolveError, match=r"t = 4\.06371 of 0 to 30: the event bounce happens again and again at t = 4\.06"):
        ds.jit(run)(0.0)
    with pytest.raises(SolveError, match=r"more than 5 events, the last one the event bounce at t = 2\.88"):
        ds.jit(lambda v: run(v, max_events=5))(0.0)


@pytest.mark.parametrize(("what", "value", "words"), [
    ({"duration": None}, -1.0, r"doses\[0\].duration must be positive"),
    ({"time": None}, np.nan, r"doses\[0\].time must be a finite number"),
    ({"every": None, "count": 2}, 0.0, r"doses\[0\].every must be positive"),
])
def test_what_is_wrong_with_doses_is_named_in_programs(what, value, words):
    def run(x):
        given = {"time": 0.5, "amount": 1.0} | {name: x if v is None else v for name, v in what.items()}
        return solve_ivp(lambda t, y: -y, (0.0, 2.0), [0.0], doses=[Dose(**given)], t_eval=[2.0]).y
    with pytest.raises(InputError, match=words):
        ds.jit(run)(value)


def test_what_is_wrong_with_times_is_named_in_programs():
    def given(t):
        return solve_ivp(lambda t, y: -y, (0.0, 2.0), [0.0], doses=[Dose(0.5, 1.0, lag=0.0 * t[0])], t_eval=t).y
    for t, words in ((np.array([1.0, 3.0]), "t_eval must lie between"), (np.array([1.0, 0.3]), "t_eval must be sorted")):
        with pytest.raises(InputError, match=words):
            ds.jit(given)(t)
    with pytest.raises(InputError, match="the times of an Input must increase"):
        ds.jit(lambda k: solve_ivp(lambda t, y, u: np.array([u(t)]), (0.0, 2.0), [0.0], args=(Input(k, [1.0, 2.0, 3.0]),),
                                   t_eval=[2.0]).y)(np.array([1.0, 0.3, 0.5]))
    with pytest.raises(InputError, match="goes back in time"):
        ds.jit(lambda t: solve_ivp(lambda t, y: -y, (t, 0.0), [0.0], doses=[Dose(0.5, 1.0)], t_eval=[0.0]).y)(1.0)


# ---------------------------------------------------------------- other ways to the same derivative
@pytest.mark.parametrize("policy", [{"memory": "20 kB"}, {"checkpoint": ds.ode.States()}, {"checkpoint": ds.ode.Binomial(3)},
                                    {"checkpoint": ds.ode.Online(3)}])
def test_each_stretch_keeps_what_the_policy_says(policy):
    """Values and derivatives are the same, bit for bit."""
    def loss(x, **more):
        full = Event(lambda t, y: y[0] - 1.0, reset=lambda t, y: 0.5 * y, direction=1)
        doses = [Dose(0.5, 0.6 * x[1], every=0.4, count=6, lag=0.1 * x[0]), Dose(0.5, 0.3, duration=x[1])]
        return solve_ivp(lambda t, y: -y * x[0], (0.0, 4.0), np.zeros(1), events=full, doses=doses, t_eval=[4.0], rtol=1e-10,
                         **more).y[0, 0]
    x = np.array([0.7, 1.1])
    assert np.array_equal(ds.grad(lambda x: loss(x, **policy))(x), ds.grad(loss)(x))
    assert loss(x, **policy) == loss(x)


def test_bdf_stops_at_events_and_goes_on_from_there():
    """Its steps are those of the whole stretch: an event lies in the last of them."""
    from scipy import integrate  # noqa: PLC0415

    def low(t, y):
        return y[1] - 0.3
    low.direction = 1

    def third(t, y):
        return np.sin(t) - y[0]
    third.terminal = 3
    for span in ((0.0, 20.0), (20.0, 0.0)):
        theirs = integrate.solve_ivp(lambda t, y: [y[1], -1.69 * y[0]], span, [1.0, 0.2], "DOP853", events=[low, third], rtol=1e-12,
                                     atol=1e-13)
        ours = solve_ivp(lambda t, y: np.array([y[1], -1.69 * y[0]]), span, np.array([1.0, 0.2]), "BDF", events=[low, third], rtol=1e-9,
                         atol=1e-11, dense_output=True)
        assert ours.status == 1
        for mine, exact in zip(ours.t_events, theirs.t_events, strict=True):
            assert np.allclose(mine, exact, atol=1e-7)
        assert span[0] + ours.mesh.nodes[-1] == pytest.approx(ours.t[-1], abs=1e-12)
        assert np.allclose(ours.sol(ours.t[-1]), ours.y[:, -1], atol=1e-12)


@pytest.mark.parametrize("run", [bouncing, pytest.param(dosed_over_a_surface, marks=pytest.mark.slow)])
def test_derivatives_of_bdf_through_events(run, monkeypatch):
    x, exact = np.array([3.0, 0.8] if run is bouncing else [0.7, 1.1]), ds.grad(total(run))
    want = exact(x)
    monkeypatch.setitem(TIGHT, "method", "BDF")
    reverse, forward = ds.grad(total(run))(x), ds.jacfwd(total(run))(x)
    assert np.allclose(reverse, forward, rtol=1e-12)
    assert np.allclose(reverse, want, rtol=1e-5, atol=1e-6)


def test_a_switch_and_an_event_at_one_time_have_derivatives_of_their_own():
    """At p = q = r: a clock starts afresh at p; slopes are 1 up to q and 5 from then on; 1 up to q, 2 up to r, 10 from then on."""
    def shown(x):
        def rhs(t, y):
            fast, faster = ds.where_event(y[0] - x[1], 5.0, 1.0), ds.where_event(y[0] - x[2], 5.0, 1.0)
            return np.array([1.0, fast, (fast + 3.0) / 4.0 * faster, 1.0])
        afresh = Event(lambda t, y: y[3] - x[0], reset=lambda t, y: np.array([y[0], y[1], y[2], 0.0]))
        return solve_ivp(rhs, (0.0, 1.3), np.zeros(4), events=afresh, t_eval=[1.3]).y[1:, 0]
    x = np.full(3, 0.7)
    exact = [[0.0, -4.0, 0.0], [0.0, -1.0, -8.0], [-1.0, 0.0, 0.0]]
    assert np.allclose(ds.jacfwd(shown)(x), exact, atol=1e-11)
    assert np.allclose(ds.jit(ds.jacrev(shown))(x), exact, atol=1e-11)


def test_an_end_and_a_reset_at_one_time_have_times_of_their_own():
    def shown(x):
        def end(t, y):
            return y[1] - x[1]
        end.terminal = True
        afresh = Event(lambda t, y: y[0] - x[0], reset=lambda t, y: np.array([0.0, y[1]]))
        sol = solve_ivp(lambda t, y: np.array([1.0, 2.0]), (0.0, 2.0), np.zeros(2), events=[afresh, end], t_eval=[2.0], max_events=3)
        return np.stack([sol.t_events[0][0], sol.t_events[1][0], sol.y_events[1][0, 0]])
    x = np.array([0.5, 1.0])
    exact = [[1.0, 0.0], [0.0, 0.5], [-1.0, 0.5]]
    assert np.allclose(ds.jacrev(shown)(x), exact, atol=1e-12)
    assert np.allclose(ds.jit(ds.jacrev(shown))(x), exact, atol=1e-12)


def test_outputs_after_the_end_are_constants():
    """They are NaN and have derivative zero, so that they can be left out of a sum."""
    def shown(x):
        def end(t, y):
            return y[0] - x[0]
        end.terminal = True
        return solve_ivp(lambda t, y: np.full(1, x[1]), (0.0, 2.0), np.zeros(1), events=end, t_eval=[0.25, 0.5, 2.0]).y[0]
    x = np.array([0.36, 0.7])
    assert np.allclose(ds.jit(shown)(x), [0.175, 0.35, np.nan], equal_nan=True)
    assert np.allclose(ds.jit(ds.jacrev(shown))(x), [[0.0, 0.25], [0.0, 0.5], [0.0, 0.0]], atol=1e-12)
    assert np.allclose(ds.jit(ds.grad(lambda x: np.nansum(shown(x))))(x), [0.0, 0.75], atol=1e-12)

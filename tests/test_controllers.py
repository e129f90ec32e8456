"""Controllers, tolerances by component, limits of steps, and what is seen of a solve while it runs."""

import threading

import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import FallbackWarning, InputError, InputTypeError, SolveError
from diffsim.ode import CONTROLLERS, Controller
from diffsim.ode.loops import stepsize

P, Y0 = np.array([1.5, 1.0, 3.0, 1.0]), np.array([1.0, 1.0])
END = (1.026344767575, 0.909691078136)                     # SciPy's DOP853 at 1e-13, as in test_solve_ivp


def predator_prey(t, y, p):
    return [p[0] * y[0] - p[1] * y[0] * y[1], p[3] * y[0] * y[1] - p[2] * y[1]]


def as_python(t, y, p):
    return predator_prey(t, y, p) if t >= 0 else None


def solve(**more):
    return ds.solve_ivp(**{"fun": predator_prey, "t_span": (0, 10), "y0": Y0, "args": (P,)} | more)


# ---------------------------------------------------------------- controllers
FILTERS = [*CONTROLLERS, Controller((0.25, 0.25), (0.25,)), Controller((0.7, -0.4), safety=0.8, shrink=0.3, grow=5)]


@pytest.mark.parametrize("controller", FILTERS, ids=str)
@pytest.mark.parametrize("method", ["Tsit5", "Kvaerno5"])
def test_every_controller_keeps_the_tolerance(controller, method):
    sol = solve(controller=controller, method=method, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(sol.y[:, -1], END, rtol=2e-6)
    usual = solve(method=method, rtol=1e-8, atol=1e-10)
    assert sol.accepted + sol.rejected < 1.35 * (usual.accepted + usual.rejected)


@pytest.mark.parametrize("controller", ["PID", "predictive"])
@pytest.mark.filterwarnings("ignore::diffsim.errors.FallbackWarning")
def test_compiled_and_uncompiled_take_the_same_steps(controller):
    a, b = (solve(controller=controller, fun=fun) for fun in (predator_prey, as_python))
    np.testing.assert_allclose(a.mesh.increments, b.mesh.increments, rtol=1e-12)


def test_the_filter_is_the_formula():
    """Sizes of a solve follow from its errors by Soderlind's formula; after a rejection by the error alone."""
    beta, alpha, k = (0.6, -0.2, 0.1), (0.2, -0.1), 5
    sol = solve(controller=Controller(beta, alpha, safety=0.85, grow=1e3, shrink=1e-3), history=True)
    h, e, good = (np.asarray(x) for x in (sol.attempts.h, sol.attempts.error, sol.attempts.accepted))
    past, checked = [], 0
    for i in range(len(h) - 3):                            # the last two share what is left
        if good[i]:
            past = [(e[i], h[i]), *past][:3]
            if len(past) == 3 and not (i and not good[i - 1]):
                (e0, h0), (e1, h1), (e2, h2) = past
                want = 0.85 ** sum(beta) * h0 * e0 ** (-beta[0] / k) * e1 ** (-beta[1] / k) * e2 ** (-beta[2] / k)
                want *= (h0 / h1) ** -alpha[0] * (h1 / h2) ** -alpha[1]
                assert h[i + 1] == pytest.approx(want, rel=2e-3)             # logarithms of the controller are short
                checked += 1
        else:
            assert h[i + 1] == pytest.approx(0.85 * h[i] * e[i] ** (-1 / k), rel=2e-3)
    assert checked > 20


def test_the_predictive_controller_never_grows_beyond_the_error():
    pace, past = np.array(CONTROLLERS["predictive"].pace), np.zeros(4)
    size, _ = stepsize.steer(0.1, 0.5**2, -1.0, 4.0, 9.0, pace, past)
    again, _ = stepsize.steer(size, 0.1**2, 1.0, 4.0, 9.0, pace, past)
    assert again <= 0.9 * size * 0.1 ** (-1 / 4) * 1.001


def test_gradients_do_not_depend_on_the_controller_beyond_its_tolerance():
    def loss(p, controller):
        return np.sum(solve(args=(p,), controller=controller, t_eval=[10.0], rtol=1e-9, atol=1e-11).y)

    want = ds.grad(lambda p: loss(p, "PI"))(P)
    for controller in ("I", "predictive"):
        np.testing.assert_allclose(ds.jit(ds.grad(lambda p, c=controller: loss(p, c)))(P), want, rtol=1e-5)


def test_a_method_that_steers_itself_takes_no_controller():
    with pytest.raises(InputError, match="method 'BDF' takes no controller=, it chooses order and size together"):
        solve(method="BDF", controller="I")


@pytest.mark.parametrize(("given", "error", "message"), [
    ({"beta": ()}, InputError, "beta must be one to 3 finite numbers"),
    ({"beta": (1, 2, 3, 4)}, InputError, "beta must be one to 3 finite numbers"),
    ({"beta": (np.nan,)}, InputError, "beta must be one to 3 finite"),
    ({"beta": 0.7}, InputTypeError, r"beta must be a sequence of numbers, not 0\.7"),
    ({"beta": (1,), "alpha": (1, 2, 3)}, InputError, "alpha must be none to 2 finite"),
    ({"beta": (1,), "safety": 1.5}, InputError, r"safety must be above 0 and at most 1, got 1\.5"),
    ({"beta": (1,), "grow": np.inf}, InputError, "grow must be above 1 and finite"),
    ({"beta": (1,), "shrink": 0.95}, InputError, r"shrink = 0\.95 must be below safety = 0\.9"),
])
def test_coefficients_are_checked(given, error, message):
    with pytest.raises(error, match=f"Controller: {message}"):
        Controller(**given)


# ---------------------------------------------------------------- tolerances and limits
@pytest.mark.parametrize("method", ["Tsit5", "DOP853", "Rodas5P", "Kvaerno5"])
def test_rtol_by_component_holds_for_each(method):
    """Two decays side by side: the one with the tight tolerance is right, and asks for steps the other does not."""
    rhs = lambda t, y: -y * np.array([1.0, 1.0])  # noqa: E731
    loose = ds.solve_ivp(rhs, (0, 3), [1.0, 1.0], method=method, rtol=1e-3, atol=1e-12)
    mixed = ds.solve_ivp(rhs, (0, 3), [1.0, 1.0], method=method, rtol=[1e-3, 1e-9], atol=1e-12)
    both = ds.solve_ivp(rhs, (0, 3), [1.0, 1.0], method=method, rtol=1e-9, atol=1e-12)
    assert loose.accepted < mixed.accepted <= both.accepted
    same = ds.solve_ivp(rhs, (0, 3), [1.0, 1.0], method=method, rtol=[1e-9, 1e-9], atol=1e-12)
    np.testing.assert_array_equal(same.y, both.y)


def test_max_steps_is_a_guard_that_tells_where_it_stopped():
    sol = solve(max_steps=20)
    assert (sol.status, sol.success) == (-1, False)
    assert sol.accepted + sol.rejected == 20
    assert "max_steps was reached" in sol.message
    assert sol.failure == "max_steps"
    for part in (f"stopped at t = {sol.t[-1]:.6g} of 0 to 10", "last step size", "last error norm", "worst component y["):
        assert part in sol.message
    assert sol.y.shape == (2, sol.accepted + 1)
    assert sol.t[-1] < 10


def test_an_error_names_what_stopped_the_solve():
    with pytest.raises(SolveError) as caught:
        ds.jit(lambda p: solve(args=(p,), t_eval=[10.0], max_steps=20).y)(P)
    assert caught.value.failure == "max_steps"
    sol = ds.solve_ivp(lambda t, y: np.sqrt(0.5 - y), (0, 1), [1.0])
    assert (sol.failure, sol.y.shape) == ("not_finite", (1, 0))


def test_a_failed_solve_gives_what_was_reached_at_the_times_wanted():
    sol = ds.solve_ivp(lambda t, y: y**2, (0, 2), [1.0], t_eval=[0.0, 0.5, 0.9, 1.5], rtol=1e-9)
    assert sol.status == -1
    assert sol.failure == "step_size"
    np.testing.assert_array_equal(sol.t, [0, 0.5, 0.9])
    np.testing.assert_allclose(sol.y[0], 1 / (1 - sol.t), rtol=1e-6)


# ---------------------------------------------------------------- what is seen
@pytest.mark.parametrize("method", {type(row): name for name, row in ds.ode.METHODS.items() if not row.fixed}.values())
def test_the_history_of_a_solve_changes_nothing_and_misses_nothing(method):
    plain, seen = solve(method=method), solve(method=method, history=True)
    np.testing.assert_array_equal(plain.y, seen.y)
    tried = seen.attempts
    assert len(tried) == seen.accepted + seen.rejected
    assert np.count_nonzero(tried.accepted) == seen.accepted
    np.testing.assert_array_equal(tried.h[tried.accepted], seen.mesh.increments)
    np.testing.assert_allclose(tried.t[tried.accepted], seen.t[:-1], rtol=1e-14)
    assert np.all(tried.error[tried.accepted] <= 1)
    assert np.all(tried.error[~tried.accepted] > 1)
    assert "attempts" not in plain
    assert repr(tried) == f"Attempts({len(tried)}, {seen.rejected} of them rejected)"


def test_the_history_of_a_solve_that_failed():
    sol = ds.solve_ivp(lambda t, y: y**2, (0, 2), [1.0], history=True)
    assert len(sol.attempts) == sol.accepted + sol.rejected


def test_a_history_keeps_the_last_attempts():
    sol = ds.solve_ivp(lambda t, y: -y, (0, 1), [1.0], max_step=6e-6, max_steps=10**6, t_eval=[1.0], history=True)
    assert sol.accepted > len(sol.attempts) == 1 << 17
    assert np.all(np.diff(sol.attempts.t) > 0)
    assert sol.attempts.t[-1] + sol.attempts.h[-1] == pytest.approx(1)


def test_progress_is_told_by_another_thread_while_compiled_code_runs():
    told, threads = [], set()

    def tell(t):
        told.append(t)
        threads.add(threading.current_thread())

    sol = solve(t_span=(0, 60_000), t_eval=[60_000], max_steps=10**7, rtol=1e-8, progress=tell)
    assert sol.success
    assert told == sorted(told)
    assert told[-1] > 0
    assert all(0 <= t <= 60_000 for t in told)
    assert threading.main_thread() not in threads


def test_the_history_of_a_solve_from_event_to_event():
    bounce = ds.ode.Event(lambda t, y: y[0], direction=-1, reset=lambda t, y: np.stack([y[0], -0.8 * y[1]]))
    sol = ds.solve_ivp(lambda t, y: [y[1], -9.81], (0, 3), [1.0, 0.0], events=bounce, history=True, dense_output=True)
    assert len(sol.t_events[0]) > 2
    assert np.all(np.diff(sol.attempts.t) >= 0)
    assert sol.attempts.t[0] == 0
    assert sol.attempts.t[-1] + sol.attempts.h[-1] == pytest.approx(3)
    sizes, _ = sol.plot_steps()
    np.testing.assert_allclose(sizes.patches[0].get_data().edges[[0, -1]], [0, 3])


def test_progress_of_an_uncompiled_solve():
    told = []
    with pytest.warns(FallbackWarning, match="uncompiled"):
        ds.solve_ivp(lambda t, y: [y[1], -y[0]] if t >= 0 else None, (0, 120), [1.0, 0.0], progress=told.append, rtol=1e-7)
    assert told
    assert told == sorted(told)


def test_a_bar_is_quiet_where_nobody_looks_and_shown_in_a_terminal(capsys, monkeypatch):
    long = {"t_span": (0, 20_000), "t_eval": [20_000], "max_steps": 10**7, "progress": True}
    solve(**long)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("diffsim.ode.pictures.attempts.PATIENCE", 0.0)
    solve(**long)
    assert "t = 2e+04 of 2e+04" in capsys.readouterr().err


def test_progress_and_history_are_left_aside_in_compiled_programs():
    end = ds.jit(lambda p: solve(args=(p,), t_eval=[10.0], progress=True, history=True).y[:, 0])(P)
    np.testing.assert_allclose(end, END, rtol=1e-4)
    gradient = ds.grad(lambda p: np.sum(solve(args=(p,), t_eval=[10.0], progress=True).y))(P)
    assert np.all(np.isfinite(gradient))

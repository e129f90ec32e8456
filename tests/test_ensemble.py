"""Ensembles: members in order, each by itself, whoever runs them; derivatives; failures; executors."""

import concurrent.futures
import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import FallbackWarning, InputError, InputTypeError, SolveError, StrongZeroWarning

N = 60
RATES = np.linspace(0.5, 2.0, N)


def lotka_volterra(t, y, p):
    return np.array([p[0] * y[0] - p[1] * y[0] * y[1], p[2] * y[0] * y[1] - p[3] * y[1]])


def cycle(member):
    """A solve whose steps differ from member to member; far more for some than a record begins with."""
    sol = ds.solve_ivp(lotka_volterra, (0.0, member["end"]), member["y0"], t_eval=[0.0, 1.0], args=(member["p"],), rtol=1e-8)
    return {"y": sol.y, "last": sol.y[0, -1]}


def cycles(n=N):
    rng = np.random.default_rng(5)
    return {"p": np.array([1.0, 0.1, 0.1, 1.0]) * np.exp(0.1 * rng.normal(size=(n, 4))), "y0": 10.0 + rng.normal(size=(n, 2)),
            "end": np.where(np.arange(n) % 9 == 4, 300.0, 5.0)}


def loss(member):
    return np.sum(np.log(cycle(member)["y"]) ** 2)


def blow_up(a):
    """y' = a y^2 from 1: infinite at t = 1/a."""
    y = ds.solve_ivp(lambda t, y, a: a * y**2, (0.0, 1.0), np.array([1.0]), t_eval=[1.0], args=(a,)).y
    return y[0, 0], y[0, 0] > 2.0


def decay(k):
    return ds.solve_ivp(lambda t, y, k: -k * y, (0.0, 1.0), np.array([1.0]), t_eval=[1.0], args=(k,)).y[0, 0]


# ---------------------------------------------------------------- values
def test_members_come_in_order_as_if_computed_alone():
    members = cycles()
    one, got = ds.jit(cycle), ds.ode.ensemble(cycle, members)
    assert got.values["y"].shape == (N, 2, 2)
    assert got.values["last"].shape == (N,)
    for i in range(N):
        alone = one({name: x[i] for name, x in members.items()})
        np.testing.assert_array_equal(got.values["y"][i], alone["y"])
        assert got.values["last"][i] == alone["last"]
    assert got.success.all()
    assert not got.messages


@pytest.mark.parametrize("way", [{"threads": 1}, {"threads": 3}, {"chunk": 7}, {"threads": 2, "chunk": 1}, {"chunk": 1000}])
def test_results_do_not_depend_on_threads_and_chunks(way):
    members = cycles()
    whole, other = ds.ode.ensemble(cycle, members), ds.ode.ensemble(cycle, members, **way)
    np.testing.assert_array_equal(whole.values["y"], other.values["y"])


def test_a_list_of_members_is_a_tree_of_their_rows():
    members = cycles(5)
    rows = [{"p": members["p"][i], "y0": members["y0"][i], "end": float(members["end"][i])} for i in range(5)]
    np.testing.assert_array_equal(ds.ode.ensemble(cycle, rows).values["y"], ds.ode.ensemble(cycle, members).values["y"])
    with pytest.raises(InputError, match="member 1 has another structure"):
        ds.ode.ensemble(cycle, [rows[0], {"p": 1.0}])
    with pytest.raises(InputError, match="empty"):
        ds.ode.ensemble(cycle, [])


def test_integers_that_are_the_same_in_a_list_of_members_are_constants():
    def powers(member):
        return sum(member["x"] ** i for i in range(member["n"]))

    np.testing.assert_array_equal(ds.ode.ensemble(powers, [{"x": 2.0, "n": 3}, {"x": 3.0, "n": 3}]).values, [7.0, 13.0])


def test_numbers_texts_and_args_are_the_same_for_all():
    def power(member, exponent, table):
        base = member["x"] * member["factor"]
        return base**exponent + table[0] if member["kind"] == "power" else base

    x = np.arange(4.0)
    got = ds.ode.ensemble(power, {"x": x, "factor": 2.0, "kind": "power"}, (3.0, np.array([1.0, 5.0])))
    np.testing.assert_array_equal(got.values, (2.0 * x) ** 3 + 1.0)


def test_columns_of_any_order_and_dtype():
    whole = np.asfortranarray(np.random.default_rng(1).normal(size=(8, 3)))
    np.testing.assert_allclose(ds.ode.ensemble(np.sum, whole).values, whole.sum(1), rtol=1e-15)
    np.testing.assert_allclose(ds.ode.ensemble(np.sum, whole[::-2]).values, whole[::-2].sum(1), rtol=1e-15)
    assert ds.ode.ensemble(lambda x: 2 * x, np.arange(4)).values.dtype.kind == "i"
    assert ds.ode.ensemble(lambda x: 2 * x, np.arange(4, dtype=np.float32)).values.dtype == np.float32
    np.testing.assert_array_equal(ds.ode.ensemble(lambda z: z * z, np.array([1j, 2.0])).values, [-1.0, 4.0])


def test_what_each_member_took_is_told():
    members = cycles(6)
    got = ds.ode.solve_ensemble(lotka_volterra, (0.0, members["end"]), members["y0"], args=(members["p"],), chunk=4)
    for i in range(6):
        one = ds.solve_ivp(lotka_volterra, (0.0, members["end"][i]), members["y0"][i], args=(members["p"][i],))
        assert got.counts["accepted"][i] == one.accepted
        assert got.counts["rejected"][i] == one.rejected
        assert got.counts["rhs_calls"][i] == one.nfev
    stiff = ds.ode.solve_ensemble(lotka_volterra, (0.0, 1.0), members["y0"], "Rodas5P", args=(members["p"],)).counts
    assert np.all(stiff["factorisations"] >= stiff["accepted"])
    assert np.all(stiff["jac_calls"] > 0)
    plain = ds.ode.ensemble(np.sum, np.ones((3, 2))).counts
    np.testing.assert_array_equal(plain["accepted"], [0, 0, 0])


def test_an_ensemble_without_members_has_shapes():
    got = ds.ode.ensemble(cycle, {name: x[:0] for name, x in cycles(1).items()})
    assert got.values["y"].shape == (0, 2, 2)
    assert len(got) == 0


# ---------------------------------------------------------------- failures
def test_a_member_that_fails_leaves_the_others_as_they_are():
    a = np.where(np.arange(40) % 7 == 3, 2.0, 0.5)
    got = ds.ode.ensemble(blow_up, a)
    values, large = got.values
    np.testing.assert_array_equal(got.success, a < 1.0)
    assert np.isnan(values[a > 1.0]).all()
    assert not large[a > 1.0].any()
    np.testing.assert_allclose(values[a < 1.0], 2.0, rtol=1e-5)
    assert sorted(got.messages) == list(np.flatnonzero(a > 1.0))
    assert "step size fell" in got.messages[3]
    assert "6 failed" in repr(got)
    np.testing.assert_array_equal(got.status, np.where(a < 1.0, 0, -1))


def test_a_member_that_is_not_a_number_fails_alone():
    k = np.array([1.0, np.nan, 2.0])
    got = ds.ode.ensemble(decay, k)
    np.testing.assert_array_equal(got.success, [True, False, True])
    assert "not finite" in got.messages[1]


def test_derivatives_of_failed_members_are_nan_and_of_others_right():
    a = np.array([0.25, 2.0, 0.5])
    value, slope = ds.ode.ensemble(ds.value_and_grad(lambda a: blow_up(a)[0]), a).values
    np.testing.assert_allclose(slope[[0, 2]], (1 - a[[0, 2]]) ** -2, rtol=1e-4)
    assert np.isnan(value[1])
    assert np.isnan(slope[1])


def test_a_derivative_that_meets_zero_times_infinity_is_repaired_for_its_member():
    def f(x):
        return np.where(x > 0, np.sqrt(x), 0.0)

    with np.errstate(divide="ignore", invalid="ignore"), pytest.warns(StrongZeroWarning):
        got = ds.ode.ensemble(ds.grad(f), np.array([2.0, 0.0, 4.0]), threads=1)
    np.testing.assert_array_equal(got.values, [0.5 / np.sqrt(2.0), 0.0, 0.25])
    assert got.success.all()


def test_members_that_run_uncompiled():
    def branch(x):
        if x < 0:
            raise ArithmeticError("negative")
        return {"root": float(x) ** 0.5, "count": 3}

    with pytest.warns(FallbackWarning):
        got = ds.ode.ensemble(branch, np.array([4.0, -1.0, 9.0]))
    np.testing.assert_array_equal(got.values["root"], [2.0, np.nan, 3.0])
    assert got.messages == {1: "ArithmeticError: negative"}


def test_a_mistake_in_the_program_is_not_a_failure_of_members():
    def wrong(x):
        if x > 0:
            raise ValueError("of shape, say")
        raise TypeError("a misprint")

    with pytest.warns(FallbackWarning), pytest.raises(InputError, match="every member failed, the first with ValueError: of shape"):
        ds.ode.ensemble(wrong, np.ones(3))
    with pytest.raises(TypeError, match="a misprint"):
        ds.ode.ensemble(wrong, -np.ones(3))


# ---------------------------------------------------------------- derivatives
def test_gradients_and_jacobians_of_each_member():
    members = cycles(6)
    values, slopes = ds.ode.ensemble(ds.value_and_grad(loss), members).values
    rows = ds.ode.ensemble(ds.jacobian(lambda m: cycle(m)["y"][0]), members).values
    for i in range(6):
        value, slope = ds.value_and_grad(loss)({name: x[i] for name, x in members.items()})
        np.testing.assert_allclose(values[i], value, rtol=1e-13)
        np.testing.assert_allclose(slopes["p"][i], slope["p"], rtol=1e-11)
        row = ds.jacobian(lambda m: cycle(m)["y"][0])({name: x[i] for name, x in members.items()})
        np.testing.assert_allclose(rows["p"][i], row["p"], rtol=1e-11)


@pytest.mark.parametrize("around", [lambda f: f, ds.jit], ids=["eager", "compiled"])
def test_transforms_around_an_ensemble(around):
    k, scale = np.array([0.5, 1.0, 1.5]), 0.7

    def total(k, scale):
        return np.sum(ds.ode.ensemble(lambda m, s: decay(m * s), k, (scale,)).values ** 2)

    dk, ds_ = around(ds.grad(total, (0, 1)))(k, scale)
    np.testing.assert_allclose(dk, -2 * scale * np.exp(-2 * k * scale), rtol=1e-6)
    np.testing.assert_allclose(ds_, np.sum(-2 * k * np.exp(-2 * k * scale)), rtol=1e-6)


def test_what_the_simulation_closes_over_is_differentiated_too():
    k = np.array([0.5, 1.0, 1.5])
    slope = ds.grad(lambda s: np.sum(ds.ode.ensemble(lambda m: decay(m * s), k).values))(0.7)
    np.testing.assert_allclose(slope, np.sum(-k * np.exp(-0.7 * k)), rtol=1e-6)


def test_a_failed_member_gives_no_gradient_of_the_ensemble():
    with pytest.raises(SolveError):
        ds.grad(lambda a: np.sum(ds.ode.ensemble(lambda a: blow_up(a)[0], a).values))(np.array([0.5, 2.0]))


def test_vmap_names_the_member_that_failed():
    with pytest.raises(SolveError, match=r"member 2 of 3: solve_ivp stopped"):
        ds.vmap(lambda a: blow_up(a)[0])(np.array([0.5, 0.25, 2.0]))


def test_a_gradient_of_many_members_runs_compiled():
    """Uncompiled, each member costs a handful of calls of NumPy and of compiled programs."""
    k, entered = np.linspace(0.5, 1.5, 4000), []

    def total(k):
        return np.sum(ds.ode.ensemble(decay, k).values ** 2)

    slope = ds.grad(total)(k)
    np.testing.assert_allclose(slope, -2 * np.exp(-2 * k), rtol=1e-5)
    original = ds.ode.odeint.run.compiled
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ds.ode.odeint.run, "compiled", lambda *x: entered.append(1) or original(*x))
        np.testing.assert_array_equal(ds.grad(total)(k), slope)
    assert len(entered) < 10


# ---------------------------------------------------------------- who runs them
def test_threads_of_the_users():
    members = cycles()
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        got = ds.ode.ensemble(cycle, members, executor=threads, chunk=5)
    np.testing.assert_array_equal(got.values["y"], ds.ode.ensemble(cycle, members).values["y"])


def test_processes(monkeypatch):
    members = cycles()
    members["end"][3], members["p"][3] = 50.0, np.nan
    want = ds.ode.ensemble(ds.value_and_grad(loss), members)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as processes:
        got = ds.ode.ensemble(ds.value_and_grad(loss), members, executor=processes)
        local = 2.0
        np.testing.assert_array_equal(ds.ode.ensemble(lambda x: x * local, RATES, executor=processes).values, 2 * RATES)
        monkeypatch.setitem(sys.modules, "cloudpickle", None)
        with pytest.raises(InputTypeError, match=r"<lambda> .*cannot be sent .*install cloudpickle"):
            ds.ode.ensemble(lambda x: x * local, RATES, executor=processes)
        again = ds.ode.ensemble(decay, RATES, executor=processes)     # a function of a module needs none
    np.testing.assert_array_equal(got.values[1]["p"], want.values[1]["p"])
    np.testing.assert_array_equal(got.counts["rhs_calls"], want.counts["rhs_calls"])
    assert got.counts["accepted"][3] == 0                          # it failed
    np.testing.assert_array_equal(again.values, ds.ode.ensemble(decay, RATES).values)
    assert got.messages == want.messages
    assert list(got.messages) == [3]


def test_what_cannot_be_sent_is_named():
    lock = threading.Lock()
    with concurrent.futures.ProcessPoolExecutor(1) as processes, pytest.raises(InputTypeError, match="lives in this process alone"):
        ds.ode.ensemble(lambda x: x + lock.locked(), RATES, executor=processes)


class Counting(concurrent.futures.Executor):
    """Runs what it is given when its result is asked for, and counts what waits."""

    def __init__(self):
        self.waiting, self.most, self.calls = 0, 0, 0

    def submit(self, f, *args):
        self.waiting, self.calls = self.waiting + 1, self.calls + 1
        self.most = max(self.most, self.waiting)
        counting = self

        class Later(concurrent.futures.Future):
            def result(self, timeout=None):
                counting.waiting -= 1
                return f(*args)

        return Later()


def test_chunks_stream_and_memory_does_not_grow_with_the_ensemble():
    executor = Counting()
    k = np.linspace(0.5, 2.0, 2000)
    got = ds.ode.ensemble(decay, k, executor=executor, chunk=2)
    assert executor.calls == 1000
    assert executor.most <= 64
    np.testing.assert_allclose(got.values, np.exp(-k), rtol=1e-5)


class Breaking(Counting):
    def submit(self, f, *args):
        future = concurrent.futures.Future()
        future.set_exception(concurrent.futures.BrokenExecutor("a process died"))
        return future


def test_an_executor_that_breaks_is_an_error_that_says_where():
    with pytest.raises(RuntimeError, match=r"members from 0 on .* a worker process died"):
        ds.ode.ensemble(decay, RATES, executor=Breaking())


def test_values_go_to_arrays_of_the_callers(tmp_path):
    file = np.memmap(tmp_path / "values", np.float64, "w+", shape=(N,))
    got = ds.ode.ensemble(decay, RATES, out=file)
    assert got.values is file
    np.testing.assert_allclose(file, np.exp(-RATES), rtol=1e-5)
    with pytest.raises(InputError, match=r"out must hold an array of shape \(60,\)"):
        ds.ode.ensemble(decay, RATES, out=np.zeros(3))
    with pytest.raises(InputTypeError, match="out has the structure"):
        ds.ode.ensemble(decay, RATES, out={"a": np.zeros(N)})


def test_the_bar_is_shown_where_it_is_asked_for(capsys):
    ds.ode.ensemble(decay, RATES)
    assert capsys.readouterr().err == ""
    ds.ode.ensemble(decay, RATES, progress=True)
    assert "60/60" in capsys.readouterr().err


# ---------------------------------------------------------------- a cluster
def logged(x, path):
    """A member that takes a while, runs uncompiled and leaves a line."""
    number = float(x)
    time.sleep(0.005)
    with open(path, "a") as file:
        file.write(f"{number}\n")
    return number**2


def _kill_a_worker(client, path):
    """Kill one worker process once some members are done."""
    pid = next(iter(client.run(os.getpid).values()))

    def kill():
        while not Path(path).exists() or len(Path(path).read_text().split()) < 40:
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


@pytest.mark.filterwarnings("ignore")
def test_a_dask_client_runs_the_chunks():
    from distributed import Client  # noqa: PLC0415  (it takes a second)

    want = ds.ode.ensemble(ds.value_and_grad(loss), cycles())
    with Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        got = ds.ode.ensemble(ds.value_and_grad(loss), cycles(), executor=client, chunk=7)
    np.testing.assert_array_equal(got.values[1]["p"], want.values[1]["p"])
    np.testing.assert_array_equal(got.values[0], want.values[0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_loses_a_worker_loses_and_doubles_nothing(tmp_path):
    from distributed import Client, LocalCluster  # noqa: PLC0415  (it takes a second)

    x, path = np.arange(200.0), str(tmp_path / "log")
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        killer = _kill_a_worker(client, path)
        got = ds.ode.ensemble(logged, x, (path,), executor=cluster.scheduler_address, chunk=10)
        killer.join()
    np.testing.assert_array_equal(got.values, x**2)
    done = [float(line) for line in Path(path).read_text().split()]
    assert set(done) == set(x)
    assert got.success.all()


def test_a_scheduler_without_dask_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install 'diffsim\[dask\]'"):
        ds.ode.ensemble(decay, RATES, executor="tcp://127.0.0.1:8786")


# ---------------------------------------------------------------- arguments
@pytest.mark.parametrize(("call", "error", "says"), [
    (lambda: ds.ode.ensemble(3, RATES), InputTypeError, "must be a function"),
    (lambda: ds.ode.ensemble(decay, 1.0), InputError, "no array with an axis"),
    (lambda: ds.ode.ensemble(decay, {"a": np.zeros(3), "b": np.zeros((4, 2))}), InputError, r"3 and 4 rows .*\(4, 2\).*args="),
    (lambda: ds.ode.ensemble(decay, RATES, threads=0), InputError, "threads must be at least 1"),
    (lambda: ds.ode.ensemble(decay, RATES, threads=2, executor=Counting()), InputError, "one of the two"),
    (lambda: ds.grad(lambda k: np.sum(ds.ode.ensemble(decay, k, out=np.zeros(N)).values))(RATES), InputError, "out= takes numbers"),
    (lambda: ds.ode.ensemble(decay, RATES, chunk=1.5), InputTypeError, "chunk must be an integer"),
    (lambda: ds.ode.ensemble(decay, RATES, executor=4), InputTypeError, "dask scheduler, not a int"),
    (lambda: ds.grad(lambda k: np.sum(ds.ode.ensemble(decay, k, executor=Counting()).values))(RATES), InputError, "transform the simul"),
    (lambda: ds.ode.solve_ensemble(lotka_volterra, (0, 1), [1.0, 1.0], args=(np.ones((2, 4)),), args_axes=1), InputError, "args_axes"),
    (lambda: ds.ode.solve_ensemble(lotka_volterra, 1.0, [1.0, 1.0]), InputError, "t_span must be a pair"),
    (lambda: ds.ode.solve_ensemble(lotka_volterra, (0, 1), [1.0, 1.0]), InputError, "no array with an axis"),
])  # fmt: skip
def test_wrong_arguments_are_named(call, error, says):
    with pytest.raises(error, match=says):
        call()


# ---------------------------------------------------------------- solves
def test_solve_ensemble_is_solve_ivp_of_each_member():
    members, times = cycles(5), np.linspace(0.0, 4.0, 5)
    got = ds.ode.solve_ensemble(lotka_volterra, (0.0, 4.0), members["y0"], t_eval=times, args=(members["p"],), rtol=1e-8)
    assert got.y.shape == (5, 2, 5)
    for i in range(5):
        one = ds.solve_ivp(lotka_volterra, (0.0, 4.0), members["y0"][i], t_eval=times, args=(members["p"][i],), rtol=1e-8)
        np.testing.assert_allclose(got.y[i], one.y, rtol=1e-12)


def test_solve_ensemble_with_spans_and_times_of_each_member():
    p, ends = np.array([1.0, 0.1, 0.1, 1.0]), np.array([1.0, 2.0, 3.0])
    got = ds.ode.solve_ensemble(lotka_volterra, (0.0, ends), [10.0, 5.0], args=(p,), args_axes=None)
    whole = ds.solve_ivp(lotka_volterra, (0.0, 3.0), [10.0, 5.0], t_eval=ends, args=(p,))
    np.testing.assert_allclose(got.y[:, :, 0], whole.y.T, rtol=1e-4)
    np.testing.assert_array_equal(got.t[:, 0], ends)
    times = ends[:, None] * np.array([0.5, 1.0])
    told = {"method": "DOP853", "atol": (1e-9, 1e-9)}
    got = ds.ode.solve_ensemble(lotka_volterra, (0.0, ends), [10.0, 5.0], t_eval=times, args=(p,), args_axes=None, **told)
    assert got.y.shape == (3, 2, 2)


def test_solve_ensemble_stiff_and_differentiated():
    mu = np.array([1.0, 10.0, 100.0])

    def ends(mu):
        def van_der_pol(t, y, mu):
            return np.array([y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]])

        return ds.ode.solve_ensemble(van_der_pol, (0.0, 2.0), [2.0, 0.0], "Rodas5P", args=(mu,)).y[:, 0, 0]

    slope = ds.grad(lambda mu: np.sum(ends(mu)))(mu)
    step = 1e-4 * mu
    np.testing.assert_allclose(slope, (ends(mu + step) - ends(mu - step)) / (2 * step), rtol=1e-3)

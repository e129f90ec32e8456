"""Checkpoints of solves: every schedule is carried out by a machine, and gradients do not depend on what is kept."""

import functools
import tracemalloc

import numpy as np
import pytest

import diffsim as ds
from diffsim.control import schedule
from diffsim.errors import InputError
from diffsim.ode import Binomial, Budget, Disk, Online, States, StoreAll, TwoLevel
from diffsim.ode.checkpoints.policies import policy_of
from diffsim.ode.loops import sweep

STATE, STAGE = 16, 48                                    # bytes of a state with its slope, and of a step's stages


# ---------------------------------------------------------------- schedules
class Machine:
    """Carries out a sweep on the numbers of the steps, and refuses what is impossible."""

    def __init__(self, n):
        self.left, self.walked, self.reversed, self.longest = n, 0, [], 0

    def walk(self, y, slope, first, last):
        assert y[0] == slope[0] == first < last <= self.left
        self.walked += last - first
        y[0] = slope[0] = last
        return sweep.DONE

    def reverse(self, y, slope, first, last, begin, end):
        assert y[0] == slope[0] == first
        assert last == self.left
        assert (begin, end) == (first + (first > 0), last + 1)          # one output at each node
        self.longest = max(self.longest, last - first)
        self.reversed += range(last - 1, first - 1, -1)
        self.left = first
        y[0] = slope[0] = last                                            # what is at work then is of no use any more
        return sweep.DONE


def carried_out(policy, n, cap=None):
    """Machine, what the sweep told, and the plan, after ``n`` steps; ``cap`` is all that is known of their number, if given."""
    plan = policy.plan(cap or n, cap is None, STATE, STAGE)
    at, kept = plan.at.copy(), np.zeros((len(plan.at), 2, 1))
    held, machine, told = 0, Machine(n), np.zeros(2, np.int64)
    for i in range(n + 1):
        held = sweep.keep_state(i, held, np.full(1, float(i)), np.full(1, float(i)), at, kept)
    nodes = np.arange(n + 1.0)
    status = sweep.sweep(machine, None, n, 0, plan.room, plan.limit, held, float(n), nodes, nodes, np.zeros(1), np.zeros(1), at, kept,
                         np.zeros(plan.more, np.int64), np.zeros((plan.more, 2, 1)), told)
    assert status == sweep.DONE
    assert machine.left == 0
    assert machine.reversed == list(range(n - 1, -1, -1))
    assert machine.longest <= plan.room
    assert told[0] == machine.walked
    assert told[1] <= plan.limit
    return machine, plan, told


@functools.cache
def fewest(n, s):
    """Forward steps of the best schedule with s states, by trying every split."""
    if n <= 1:
        return 0
    return min((k + fewest(n - k, s - 1) + fewest(k, s) for k in range(1, n)), default=0) if s else np.inf


@pytest.mark.parametrize("n", range(1, 61))
def test_binomial_sweeps_are_optimal(n):
    """Walked: what dynamic programming finds least, less what the solve itself walks on the way to the last state it keeps."""
    for s in range(1, 61):
        if schedule.repeats(n, s) <= schedule.MOST_REPEATS:
            machine, plan, told = carried_out(Binomial(s), n)
            assert machine.walked == fewest(n, s) - plan.at[-2]
            assert told[1] <= s


@pytest.mark.parametrize("n", range(1, 61))
def test_other_schedules_keep_what_they_may(n):
    for s in range(2, 61):
        cap = (None, n + 3, 4 * n + 8)[s % 3]
        carried_out(Online(s), n, cap)
        assert carried_out(TwoLevel(s), n, cap)[0].walked == 0            # each step is taken once more, and not walked
    for policy in (TwoLevel(), States(), Disk(every=5)):
        for cap in (None, n + 3, 4 * n + 8):
            assert carried_out(policy, n, cap)[0].walked == 0


@pytest.mark.parametrize("n", [1, 2, 7, 60, 1000])
def test_a_budget_is_kept_and_never_wasted(n):
    walked = []
    for memory in range(16 * n + 300, 16 * n + 60 * (n + 40), 7 * n + 100):
        policy = Budget(memory)
        plan = policy.plan(n, True, STATE, STAGE)
        assert plan.bytes(STATE, STAGE) + 16 * n <= memory or plan.held == n
        if plan.held == n:
            assert (n + 1) * STAGE + 16 * n <= memory
            walked.append(-1)
            continue
        for cap in (None, n):
            machine, _, _ = carried_out(policy, n, cap)
        walked.append(machine.walked)
    assert walked == sorted(walked, reverse=True) or max(walked) < 3 * n
    assert walked[-1] == -1


def test_distances_double_where_the_number_of_steps_is_unknown():
    """With 10 slots after 1000 steps: every 128th state, and at most 3 walks of a step on the way back."""
    machine, _, _ = carried_out(Online(10), 1000, 10**6)
    assert machine.walked < 3.3 * 1000
    at, kept = np.arange(10), np.zeros((10, 2, 1))
    held = 0
    for i in range(1001):
        held = sweep.keep_state(i, held, np.full(1, float(i)), np.zeros(1), at, kept)
    assert list(at[:held]) == [128 * i for i in range(8)] == list(kept[:held, 0, 0])


# ---------------------------------------------------------------- gradients
def lorenz96(t, y, forcing):
    return (np.roll(y, -1) - np.roll(y, 2)) * np.roll(y, 1) - y + forcing * (1 + 0.1 * np.sin(t))


TIMES = np.array([0.0, 0.13, 0.5, 0.77, 1.0])
POLICIES = [TwoLevel(), TwoLevel(3), States(), Binomial(4), Online(3), Budget(4000), Budget(10**7), Disk(every=4)]


def loss(method, forcing, y0, **options):
    sol = ds.solve_ivp(lorenz96, (0.0, 1.0), y0, method=method, t_eval=TIMES, args=(forcing,), rtol=1e-5, atol=1e-7,
                       first_step=0.05 if method == "RK4" else None, **options)
    return np.sum(np.cos(sol.y) * (1 + np.arange(5.0)))


POINT = (np.linspace(2, 3, 6), np.linspace(1, 2, 6) ** 2)


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("method", ["Tsit5", "RK4"])
def test_gradients_do_not_depend_on_what_is_kept(method, policy):
    whole = ds.grad(functools.partial(loss, method), (0, 1))(*POINT)
    part = ds.grad(functools.partial(loss, method, checkpoint=policy), (0, 1))
    compiled = ds.jit(part)
    for got in (part(*POINT), compiled(*POINT), compiled(*POINT)):
        for a, b in zip(whole, got, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("method", ["DOP853", *[pytest.param(m, marks=pytest.mark.slow) for m in ("Rodas5P", "KenCarp4", "Radau")]])
def test_every_family_takes_its_steps_again(method):
    whole = ds.grad(functools.partial(loss, method), (0, 1))(*POINT)
    for policy in (TwoLevel(2), Online(2)):
        part = ds.grad(functools.partial(loss, method, checkpoint=policy), (0, 1))(*POINT)
        for a, b in zip(whole, part, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_second_derivatives_keep_to_the_policy():
    v = tuple(np.cos(x) for x in POINT)
    for policy in (TwoLevel(3), Budget(6000)):
        want, got = (ds.hvp(functools.partial(loss, "Tsit5", **o), POINT, v) for o in ({}, {"checkpoint": policy}))
        for a, b in zip(want, got, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:solve_ivp runs the right-hand side")
def test_python_right_hand_sides_are_checkpointed_too():
    def f(t, y, k):
        if y[0] > 100:                                   # a branch on the state cannot be traced
            return 0 * y
        return np.array([y[1], -k * np.sin(y[0])])

    def value(k, y0, **options):
        return np.sum(ds.solve_ivp(f, (0, 3), y0, t_eval=[1.0, 3.0], args=(k,), **options).y ** 2)
    point = np.float64(1.3), np.array([0.4, 0.1])
    whole = ds.grad(value, (0, 1))(*point)
    for policy in (TwoLevel(3), Binomial(2), Budget(3000)):
        part = ds.grad(functools.partial(value, checkpoint=policy), (0, 1))(*point)
        for a, b in zip(whole, part, strict=True):
            np.testing.assert_array_equal(a, b)


def test_memory_stays_within_the_budget():
    """100 states, 4000 steps of RK4: 12.8 MB of stages and their copy if all are kept."""
    y0 = np.linspace(1, 2, 100)

    def value(y0, **options):
        sol = ds.solve_ivp(lorenz96, (0.0, 4.0), y0, method="RK4", t_eval=[4.0], args=(np.ones(100),), first_step=1e-3, **options)
        return np.sum(sol.y)

    def peak(**options):
        f = ds.jit(ds.grad(functools.partial(value, **options)))
        tracemalloc.start()
        out = f(y0), f(y0)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most, out[1]
    (much, a), (little, b) = peak(), peak(memory="1 MB")
    np.testing.assert_array_equal(a, b)
    assert much > 12e6 > 5e6 > little


# ---------------------------------------------------------------- what users ask for
def test_the_result_tells_what_was_kept():
    seen = []

    def value(y0, **options):
        sol = ds.solve_ivp(lorenz96, (0.0, 1.0), y0, method="RK4", t_eval=[1.0], args=(np.ones(6),), first_step=0.01, **options)
        seen.append(sol.stats)
        return np.sum(sol.y)
    for options in ({}, {"checkpoint": TwoLevel(10)}, {"checkpoint": Binomial(5)}, {"memory": "20 kB"}):
        ds.grad(functools.partial(value, **options))(POINT[1])
    everything, levels, binomial, budget = seen
    assert isinstance(everything.checkpoint, StoreAll)
    assert everything.taken_again == 0
    assert (levels.steps, levels.taken_again) == (100, 100)
    assert 100 < binomial.taken_again < 500
    assert budget.bytes <= 20_000 < everything.bytes
    assert "TwoLevel(every=10)" in repr(levels)
    assert value(POINT[1]) is not None
    assert seen[-1] is None                              # nothing was kept where no derivative was asked for


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="give one of them"):
        loss("Tsit5", *POINT, memory=100, checkpoint=States())
    with pytest.raises(InputError, match="20 MB"):
        loss("Tsit5", *POINT, memory="20 lots")
    with pytest.raises(InputError, match="positive"):
        loss("Tsit5", *POINT, memory=-1)
    with pytest.raises(InputError, match=r"give an object, such as TwoLevel"):
        loss("Tsit5", *POINT, checkpoint=TwoLevel)
    with pytest.raises(InputError, match=r"ode\.TwoLevel\(\)"):
        loss("Tsit5", *POINT, checkpoint="sqrt")
    with pytest.raises(InputError, match="slots=0"):
        Binomial(0)
    with pytest.raises(InputError, match="at least 2"):
        Online(1)
    with pytest.raises(InputError, match="keep at least"):
        Binomial(1).plan(1000, True, STATE, STAGE)
    with pytest.raises(InputError, match="allow"):
        Budget(200).plan(1000, True, STATE, STAGE)
    with pytest.raises(InputError, match="cannot be made"):
        ds.grad(functools.partial(loss, "Tsit5", checkpoint=Disk("/no/such/place")))(*POINT)
    with pytest.raises(InputError, match="use 'Radau' or 'Kvaerno5'"):
        loss("BDF", *POINT, memory="1 MB")
    assert policy_of(None, StoreAll()) is None
    assert policy_of("1.5 GiB", None) == Budget(3 * 2**29)
    assert policy_of(2e6, None) == policy_of("2 MB", None)


def test_a_file_of_states_leaves_nothing_behind(tmp_path):
    policy = Disk(str(tmp_path), every=3)
    value = functools.partial(loss, "Tsit5", checkpoint=policy)
    for a, b in zip(ds.grad(value, (0, 1))(*POINT), ds.grad(functools.partial(loss, "Tsit5"), (0, 1))(*POINT), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not list(tmp_path.iterdir())                  # it has no name, even while it is in use


def test_loops_take_the_same_budgets():
    def value(x, **options):
        return ds.scan(lambda c, _: (np.sin(c) * 1.1, None), x, None, length=50, **options)[0]
    assert ds.grad(functools.partial(value, memory="80 B"))(0.3) == ds.grad(value)(0.3)
    with pytest.raises(InputError, match="20 MB"):
        value(0.3, memory="much")

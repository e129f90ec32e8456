"""What is kept and what is computed again: schedules against their optimum, loops against schedules, `checkpoint` and its policies."""

import functools
import tracemalloc

import numpy as np
import pytest

import diffsim as ds
from diffsim.control import schedule
from diffsim.control.schedule import Action
from diffsim.core import REGISTRY, Absent, Primitive
from diffsim.errors import InputError, InputTypeError
from diffsim.testing import check_grads
from diffsim.transforms import linearize


# ---------------------------------------------------------------- schedules as data
@functools.cache
def fewest(n, s):
    """Forward steps of the best schedule, by trying every split."""
    if n <= 1:
        return 0
    return min((k + fewest(n - k, s - 1) + fewest(k, s) for k in range(1, n)), default=0) if s else np.inf


class Machine:
    """Carries out actions on the numbers of the steps, and refuses what is impossible."""

    def __init__(self, n):
        self.at, self.left, self.kept, self.advanced, self.most = 0, n, set(), [0] * n, 0

    def run(self, actions):
        for a in actions:
            getattr(self, a.kind)(a)
        return self

    def keep(self, a):
        assert a.at == self.at
        assert a.at not in self.kept
        self.kept.add(a.at)
        self.most = max(self.most, len(self.kept))

    def advance(self, a):
        assert a.at == self.at < a.to <= self.left - 1 or a.to == self.left
        for i in range(a.at, a.to):
            self.advanced[i] += 1
        self.at = a.to

    def reverse(self, a):
        assert a.at == self.at == self.left - 1
        self.left -= 1

    def restore(self, a):
        assert a.at in self.kept
        self.at = a.at

    def drop(self, a):
        self.kept.remove(a.at)


@pytest.mark.parametrize("n", range(61))
def test_binomial_schedules_are_right_and_optimal(n):
    for s in range(1, 61):
        m = Machine(n).run(schedule.binomial(n, s))
        assert m.left == 0
        assert not m.kept
        assert m.most <= s
        assert sum(m.advanced) == fewest(n, s) == schedule.forward_steps(n, s)
        assert max(m.advanced, default=0) <= schedule.repeats(n, s)


def test_golden_numbers_of_the_binomial_schedule():
    """beta(s, r) and t(n, s) of Griewank & Walther (2000), table 1 and section 2; n = 10 with 3 states takes 15 + ... by hand below."""
    assert [schedule.beta(3, r) for r in range(5)] == [1, 4, 10, 20, 35]
    assert [schedule.beta(s, 3) for s in range(1, 5)] == [4, 10, 20, 35]
    assert schedule.repeats(10, 3) == 2
    assert schedule.forward_steps(10, 3) == 2 * 10 - schedule.beta(4, 1) == 15
    assert schedule.segments(10, 3) == ([(4, 3), (3, 2), (2, 1)], 1)
    assert list(schedule.binomial(3, 1)) == [
        Action("keep", 0), Action("advance", 0, 2), Action("reverse", 2), Action("restore", 0), Action("drop", 0), Action("keep", 0),
        Action("advance", 0, 1), Action("reverse", 1), Action("restore", 0), Action("drop", 0), Action("reverse", 0)]


@pytest.mark.parametrize("n", range(61))
def test_two_level_schedules(n):
    m = Machine(n).run(schedule.square_root(n))
    assert m.left == 0
    assert not m.kept
    assert max(m.advanced, default=0) <= 2
    assert m.most <= 2 * np.ceil(np.sqrt(n))


def test_a_budget_chooses_the_schedule():
    pick = functools.partial(schedule.chosen, verb="scan")
    assert pick(100, 8, None, None) == ("all", 100)
    assert pick(100, 8, None, 80) == ("binomial", 10)
    assert pick(100, 8, "binomial", 87) == ("binomial", 10)
    assert pick(100, 8, None, 8 * 99) == ("all", 100)
    assert pick(100, 0, None, 1) == ("all", 100)                             # a loop without states
    assert pick(100, 8, "sqrt", None) == ("sqrt", 100)
    assert pick(100, 8, 7, None) == ("binomial", 7)
    _, s = pick(100, 8, "binomial", None)
    assert schedule.repeats(100, s) == 3 < schedule.repeats(100, s - 1)
    for options in ((None, 7), (0, None), (-1, None)):
        with pytest.raises(InputError):
            pick(100, 8, *options)
    with pytest.raises(InputError, match=r"up to 999 times; keep at least 2 \(memory=16\)|up to 999 times"):
        pick(1000, 8, None, 8)
    with pytest.raises(InputError, match="without keeping any"):
        schedule.repeats(2, 0)


# ---------------------------------------------------------------- loops do what their schedules say
@pytest.fixture
def probe():
    """``probe(x, i)``: x, noting in ``probe.log`` when step i is computed, and when it is pulled back."""
    log = []

    def note(word):
        def impl(x, i):
            log.append((word, int(i)))
            return np.array(x)
        return impl
    fixed = {"aval": lambda x, i: x, "emit": Absent("a test"), "samples": Absent("a test")}
    back = Primitive("probe_back", impl=note("reverse"), jvp=lambda x, y, t: back(t[0], x[1]), transpose=Absent("a test"), **fixed)
    dot = Primitive("probe_dot", impl=lambda x, i: np.array(x), jvp=lambda x, y, t: dot(t[0], x[1]),
                    transpose=lambda w, x, i: (back(w, i), None), **fixed)
    made = Primitive("probe", impl=note("forward"), jvp=lambda x, y, t: dot(t[0], x[1]), transpose=Absent("a test"), **fixed)

    def call(x, i):
        return made(x, i)
    call.log = log
    yield call
    for name in ("probe", "probe_dot", "probe_back"):
        REGISTRY.pop(name)


def expected(actions, n):
    """What the steps of a loop do: the schedule's actions, and the last step once more for the value."""
    out, first = [], True
    for a in actions:
        if a.kind == "advance":
            out += [("forward", i) for i in range(a.at, a.to)]
        if a.kind == "reverse":
            out += [("forward", a.at)] * (2 if first else 1) + [("reverse", a.at)]
            first = False
    return out


def recorded(probe, n, backwards=False, **options):
    def f(c):
        c, _ = ds.scan(lambda c, i: (np.sin(probe(c, i)), None), c, np.arange(n), reverse=backwards, **options)
        return c
    ds.grad(f)(0.3)
    log = list(probe.log)
    probe.log.clear()
    return [(word, n - 1 - i) for word, i in log] if backwards else log


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("n", "s"), [(1, 1), (2, 1), (5, 1), (6, 2), (10, 3), (13, 4), (20, 3), (20, 17), (23, 5)])
def test_a_loop_carries_out_its_schedule(probe, n, s, backwards):
    log = recorded(probe, n, backwards, checkpoint=s)
    if s >= n - 1:                                                           # all states fit: one scan keeps them
        assert log == [("forward", i) for i in range(n)] + [x for i in reversed(range(n)) for x in (("forward", i), ("reverse", i))]
    else:
        assert log == expected(schedule.binomial(n, s), n)
        assert sum(word == "forward" for word, _ in log) == schedule.forward_steps(n, s) + n + 1


@pytest.mark.parametrize("n", [1, 4, 7, 16, 18])
def test_two_levels_compute_each_step_at_most_twice_before_its_reversal(probe, n):
    log = recorded(probe, n, checkpoint="sqrt")
    assert [i for word, i in log if word == "reverse"] == list(reversed(range(n)))
    for i in range(n):
        assert log[:log.index(("reverse", i))].count(("forward", i)) <= 3      # for the value, for its part, in its reversal


def test_forward_mode_computes_each_step_once(probe):
    def f(c):
        return ds.scan(lambda c, i: (np.sin(probe(c, i)), None), c, np.arange(5), checkpoint=1)[0]
    ds.jvp(f, (0.3,), (1.0,))
    assert probe.log == [("forward", i) for i in range(5)]


POLICIES = [{"checkpoint": "sqrt"}, {"checkpoint": "binomial"}, *[{"checkpoint": s} for s in (1, 2, 3, 5, 9)], {"memory": 100}]


def simulation(reverse, **options):
    def f(k, q, v, force):
        def step(state, x):
            q, v, n = state
            v = v - 0.1 * (k * np.sin(q) + 0.3 * v - x * k)
            return (q + 0.1 * v, v, n + 1), q * v * n
        (q, v, n), y = ds.scan(step, (q, v, 0), force, reverse=reverse, **options)
        return np.sum(q * v) * n + np.sum(y * np.arange(1.0, len(force) + 1)[:, None])
    return f


@pytest.mark.parametrize("options", POLICIES, ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_are_those_of_keeping_all_to_the_last_bit(rng, options, reverse):
    x = (np.float64(1.3), rng.uniform(-1, 1, 2), rng.uniform(-1, 1, 2), rng.uniform(-1, 1, (11, 2)))
    f, g = simulation(reverse, **options), simulation(reverse)
    every = (0, 1, 2, 3)
    assert f(*x) == g(*x)
    for a, b in zip(ds.value_and_grad(f, every)(*x)[1], ds.value_and_grad(g, every)(*x)[1], strict=True):
        assert np.array_equal(a, b)
    dots = tuple(np.cos(v) for v in x)
    for a, b in zip(ds.hvp(f, x, dots), ds.hvp(g, x, dots), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(ds.grad(ds.grad(f))(*x), ds.grad(ds.grad(g))(*x), rtol=1e-13)
    np.testing.assert_allclose(ds.jvp(f, x, dots)[1], ds.jvp(g, x, dots)[1], rtol=1e-13)


def test_graphs_of_loops_with_few_states_stay_small(rng):
    x = (np.float64(1.3), rng.uniform(-1, 1, 2), rng.uniform(-1, 1, 2), rng.uniform(-1, 1, (200, 2)))
    graph = ds.make_graph(ds.grad(simulation(False, checkpoint=5)))(*x).verify()
    assert len(graph.eqns) < 120


def peak(f, *x):
    """Most memory in use during a call, in arrays of the size of the first operand."""
    f(*x)
    tracemalloc.start()
    f(*x)
    most = tracemalloc.get_traced_memory()[1] / x[0].nbytes
    tracemalloc.stop()
    return most


def test_memory_is_what_the_schedule_says():
    """Beside the kept states: a cotangent for each level of repetition, and a step's own arrays (seven here)."""
    n, c = 40, np.linspace(0, 1, 20_000)

    def f(**options):
        def g(c):
            return np.sum(ds.scan(lambda c, x: (np.sin(c) * 0.9 + c * x, None), c, np.linspace(0, 0.1, n), **options)[0])
        return g
    assert n < peak(ds.grad(f()), c) < n + 7
    for s in (2, 3, 5, 8):
        assert peak(ds.grad(f(checkpoint=s)), c) < s + schedule.repeats(n, s) + 7
    assert peak(ds.grad(f(memory=5 * c.nbytes)), c) < 5 + schedule.repeats(n, 5) + 7
    assert peak(ds.grad(f(checkpoint="sqrt")), c) < 2 * np.ceil(np.sqrt(n)) + 7
    assert peak(lambda c: ds.jvp(f(), (c,), (c,)), c) < 9


# ---------------------------------------------------------------- checkpoint
def layers(x, w):
    """Products and functions, some values marked."""
    for i in range(4):
        x = np.tanh(ds.checkpoint_name(w @ x, "product"))
        x = ds.checkpoint_name(np.sin(x) * x, "layer") if i % 2 else np.exp(-x * x)
    return x


SAVE = ds.checkpoint_policies
EVERY_POLICY = [None, SAVE.nothing_saveable, SAVE.everything_saveable, SAVE.dots_saveable, SAVE.save_only_these_names("layer"),
                SAVE.save_only_these_names("layer", "product"), SAVE.save_within(0), SAVE.save_within(900), SAVE.save_within(1e9),
                lambda prim, *avals, **params: prim.name == "exp"]


def held(f, *x):
    """Bytes of the arrays that the linear list of ``f`` holds, beside its inputs."""
    _, equations, _ = linearize(lambda *v: [f(*v)], x, [True] * len(x), "grad")
    found = {}
    for _, prim, args, _ in equations.eqns:
        for a in (d for _, d in args) if prim is None or (args and args[0].__class__ is tuple) else args:
            if isinstance(a, np.ndarray) and not any(np.shares_memory(a, v) for v in x):
                found[id(a)] = a
    return sum(a.nbytes for a in found.values())


@pytest.mark.parametrize("policy", EVERY_POLICY, ids=lambda p: "own" if callable(p) else str(p))
def test_a_checkpoint_changes_no_derivative(rng, policy):
    x, w = rng.uniform(-1, 1, 30), rng.uniform(-0.3, 0.3, (30, 30))

    def f(x, w):
        return np.sum(ds.checkpoint(layers, policy=policy)(x * 2.0, w) ** 2)

    def g(x, w):
        return np.sum(layers(x * 2.0, w) ** 2)
    assert f(x, w) == g(x, w)
    for run in (lambda h: ds.grad(h, (0, 1))(x, w), lambda h: ds.jvp(h, (x, w), (w[0], w)), lambda h: ds.hvp(h, (x, w), (w[0], w)),
                lambda h: ds.grad(lambda x, w: ds.jvp(h, (x, w), (w[0], w))[1])(x, w),
                lambda h: ds.grad(lambda x, w: np.sum(ds.grad(h, 1)(x, w)[0] ** 2))(x, w)):
        for a, b in zip(ds.tree.leaves(run(f)), ds.tree.leaves(run(g)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_what_each_policy_keeps(rng):
    x, w = rng.uniform(-1, 1, 30), rng.uniform(-0.3, 0.3, (30, 30))
    one = x.nbytes

    def size(policy):
        return held(ds.checkpoint(layers, policy=policy), x, w) / one
    nothing, everything = size(None), size(SAVE.everything_saveable)
    assert nothing == size(SAVE.save_within(0)) == 0
    assert size(SAVE.save_only_these_names("layer")) == 1                     # the last one is the value, which no derivative reads
    assert size(SAVE.dots_saveable) == size(SAVE.save_only_these_names("product")) == 4
    assert 0 < size(SAVE.save_within(3.5 * one)) <= 3.5
    assert everything == held(layers, x, w) / one > 12


def test_what_is_computed_again(probe):
    def f(x):
        for i in range(3):
            x = np.sin(ds.checkpoint_name(probe(x, i), f"step {i}"))
        return x
    forward = [("forward", i) for i in range(3)]
    back = [("reverse", i) for i in (2, 1, 0)]
    for policy, again in ((None, forward), (SAVE.everything_saveable, []), (SAVE.save_only_these_names("step 1"), [forward[0], forward[2]]),
                          (SAVE.save_only_these_names("step 0", "step 1", "step 2"), [])):
        ds.grad(ds.checkpoint(f, policy))(0.3)
        assert probe.log == forward + again + back
        probe.log.clear()


def test_nested_checkpoints_compute_again_level_by_level(probe):
    @ds.checkpoint
    def inner(x):
        return np.sin(probe(x, 1))

    @ds.checkpoint
    def outer(x):
        return np.sin(probe(inner(np.sin(probe(x, 0))), 2))
    ds.grad(outer)(0.3)
    assert [i for word, i in probe.log if word == "forward"] == [0, 1, 2, 0, 1, 2, 1]
    assert [i for word, i in probe.log if word == "reverse"] == [2, 1, 0]


def test_checkpoint_takes_trees_words_and_constants():
    @ds.checkpoint(policy=SAVE.dots_saveable)
    def f(p, n, *, mode, scale=2.0):
        assert mode == "fast"
        return {"y": p["a"] * scale ** n, "mode": mode, "none": None}, [p["b"][0] * np.float64(3.0)]
    p = {"a": np.float64(1.5), "b": [np.arange(3.0)]}

    def loss(p):
        out, (b,) = f(p, 2, mode="fast")
        assert out["mode"] == "fast"
        return out["y"] ** 2 + np.sum(b)
    g = ds.grad(loss)(p)
    assert g["a"] == 2 * 1.5 * 16
    assert np.array_equal(g["b"][0], [3.0, 3, 3])
    assert f(p, 2, mode="fast")[0]["y"] == 6.0
    assert f.__name__ == "f"


def test_checkpoint_forgets_what_it_computes_of_its_closure(rng):
    a, x = rng.uniform(-1, 1, 40), rng.uniform(-1, 1, 40)

    def f(a):
        return np.sum(ds.checkpoint(lambda x: np.sin(np.exp(np.cos(a))) * x)(x))

    def g(a):
        return np.sum(np.sin(np.exp(np.cos(a))) * x)
    assert held(f, a) <= x.nbytes < held(g, a)
    np.testing.assert_allclose(ds.grad(f)(a), ds.grad(g)(a), rtol=1e-14)
    check_grads(f, (a,), order=2, rng=rng)


def test_policies_refuse_nonsense():
    with pytest.raises(InputTypeError, match="not a string"):
        SAVE.save_only_these_names("a", 3)
    with pytest.raises(InputError, match="number of bytes"):
        SAVE.save_within(-1)
    assert "dots_saveable" in repr(SAVE)

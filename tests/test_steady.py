"""Bodies that draw random numbers or change Python state: never one number repeated, under any transform."""

import itertools
import random
import warnings

import numpy as np
import pytest
from numpy.random import default_rng

import diffsim as ds
from diffsim.errors import ConcretizationError, FallbackWarning, UnsteadyError

N = 6
COUNT = 0


def euler_maruyama(make, draw):
    def f(mu):
        source = make()

        def step(x, _):
            return x + mu * x * 0.1 + 0.2 * x * draw(source), x
        return ds.scan(step, 1.0, None, length=N)[0]
    return f


def fori(mu):
    rng = np.random.default_rng(0)
    return ds.fori_loop(0, N, lambda i, x: x + mu * x * rng.normal(), 1.0)


def while_(mu):
    rng = np.random.RandomState(0)
    return ds.while_loop(lambda s: s[0] < N, lambda s: (s[0] + 1, s[1] + mu * s[1] * rng.normal()), (0, 1.0))[1]


def test_of_while(mu):
    rng = random.Random(0)
    return ds.while_loop(lambda s: s[0] + rng.random() < N, lambda s: (s[0] + 0.7, s[1] * mu), (0.0, 1.0))[1]


test_of_while.__test__ = False


def listed(s):
    k = [0]

    def step(c, _):
        k[0] += 1
        return c + s * k[0], None
    return ds.scan(step, 0.0, None, length=N)[0]


def late(s):
    k = {"n": 0, "table": np.arange(3.0)}

    def step(c, _):
        k["n"] += 1
        return c + (s * k["table"][1] if k["n"] > 3 else 0.0), None
    return ds.scan(step, 0.0, None, length=N)[0]


def nonlocal_(s):
    k = 0

    def step(i, c):
        nonlocal k
        k += 1
        return c + s * k
    return ds.fori_loop(0, N, step, 0.0)


def grown(s):
    notes = []

    def step(i, c):
        notes.append(1)
        return c + s * len(notes)
    return ds.fori_loop(0, N, step, 0.0)


def counted(s):
    class Counter:
        n = 0

        def next(self):
            self.n += 1
            return self.n
    counter = Counter()
    return ds.fori_loop(0, N, lambda i, c: c + s * counter.next(), 0.0)


def written(s):
    b = np.zeros(2)

    def step(i, x):
        b[0] += 1
        return x + s * b[0]
    return ds.fori_loop(0, N, step, 0.0)


def spawned(s):
    r = np.random.default_rng(3)
    return ds.fori_loop(0, N, lambda i, x: x + s * r.spawn(1)[0].normal(), 1.0)


def default(s):
    def step(i, x, rng=default_rng(3)):  # noqa: B008
        return x + s * rng.normal()
    return ds.fori_loop(0, N, step, 1.0)


def global_(s):
    global COUNT
    COUNT = 0

    def step(i, c):
        global COUNT
        COUNT = COUNT + 1
        return c + s * COUNT
    return ds.fori_loop(0, N, step, 0.0)


def iterated(s):
    values = iter([1.0, 3.0, 2.0, 7.0, 5.0, 4.0])
    return ds.fori_loop(0, N, lambda i, c: c + s * next(values), 0.0)


def itertools_(s):
    values = itertools.count(1)
    return ds.fori_loop(0, N, lambda i, c: c * 0.5 + s * next(values), 0.0)


def generated(s):
    values = (float(i * i) for i in range(100))
    return ds.fori_loop(0, N, lambda i, c: c * 0.5 + s * next(values), 0.0)


def chosen(s):
    r = np.random.default_rng(3)
    return ds.cond(s > 0, lambda: s * r.normal(), lambda: s * (r.normal() + 1.0))


def switched(s):
    r = random.Random(3)
    return ds.switch((s > 0) * 1, [lambda x: x * r.random(), lambda x: x + r.random()], s)


def nested(s):
    r = np.random.default_rng(5)

    def inner(i, x):
        return x + s * r.normal() * x
    return ds.fori_loop(0, 3, lambda i, x: ds.fori_loop(0, 2, inner, x), 1.0)


def within(s):
    r = np.random.default_rng(5)
    return ds.fori_loop(0, N, lambda i, x: x + ds.cond(x > 1, lambda: s * r.normal(), lambda: s * r.random()), 1.0)


def promoted(s):
    r = np.random.default_rng(5)
    return ds.fori_loop(0, N, lambda i, x: x + s * r.normal(), 0)


def forgotten(s):
    r = np.random.default_rng(5)

    @ds.checkpoint
    def step(x):
        return x + s * np.sin(x) * r.normal()
    x = s
    for _ in range(3):
        x = step(x)
    return x


SOURCES = [(lambda: np.random.default_rng(0), lambda r: r.normal()),
           (lambda: np.random.RandomState(0), lambda r: r.randn()),
           (lambda: random.Random(0), lambda r: r.gauss(0, 1)),
           (lambda: np.random.default_rng(0).normal, lambda draw: draw())]
CASES = {**{f"scan {i}": euler_maruyama(*s) for i, s in enumerate(SOURCES)}, **{f.__name__: f for f in (
    fori, while_, test_of_while, listed, late, nonlocal_, spawned, default, grown, counted, global_, iterated, itertools_, generated,
    chosen, switched,
    nested, within, promoted, forgotten)}}


def unrolled(f):
    """The function with the verbs written as plain Python."""
    def scan(step, carry, xs, length):
        ys = []
        for _ in range(length):
            carry, y = step(carry, None)
            ys.append(y)
        return carry, ys

    def fori_loop(low, high, step, x):
        for i in range(low, high):
            x = step(i, x)
        return x

    def while_loop(going, step, x):
        while going(x):
            x = step(x)
        return x

    def run(s):
        with pytest.MonkeyPatch.context() as patch:
            for name, plain in (("scan", scan), ("fori_loop", fori_loop), ("while_loop", while_loop),
                                ("cond", lambda p, a, b: a() if p else b()), ("switch", lambda i, fs, *x: fs[int(i)](*x)),
                                ("checkpoint", lambda g: g)):
                patch.setattr(ds, name, plain)
            return f(s)
    return run


@pytest.mark.parametrize("f", CASES.values(), ids=CASES)
def test_each_step_draws_its_own_number(f):
    s = 0.7
    want = unrolled(f)(s)
    slope = ds.derivative(unrolled(f))(s) if hasattr(ds, "derivative") else ds.grad(unrolled(f))(s)
    assert f(s) == want
    assert ds.value_and_grad(f)(s) == pytest.approx((want, slope), rel=1e-14)
    assert ds.jvp(f, (s,), (1.0,)) == pytest.approx((want, slope), rel=1e-14)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FallbackWarning)
        assert ds.jit(f)(s) == pytest.approx(want, rel=1e-14)
        assert ds.jit(f)(s) == pytest.approx(want, rel=1e-14)
        assert ds.grad(ds.jit(f))(s) == pytest.approx(slope, rel=1e-14)
        assert ds.jit(ds.grad(f))(s) == pytest.approx(slope, rel=1e-14)


@pytest.mark.parametrize("f", [f for n, f in CASES.items() if n not in ("chosen", "switched", "within", "test_of_while")])
def test_members_of_a_batch_draw_what_each_would_draw_alone(f):
    s = np.array([0.3, 0.7])
    np.testing.assert_allclose(ds.vmap(f)(s), [unrolled(f)(x) for x in s], rtol=1e-14)


@pytest.mark.parametrize("f", [chosen, switched, within])
def test_branches_that_draw_for_some_members_are_refused(f):
    with pytest.raises(ConcretizationError, match=r"test_steady\.py:\d+.*Draw the numbers before"):
        ds.vmap(f)(np.array([-0.3, 0.7]))


def test_an_array_that_steps_write():
    assert written(0.5) == 10.5
    assert ds.value_and_grad(written)(0.5) == (10.5, 21.0)
    with pytest.warns(FallbackWarning, match="an array that it writes"):
        assert ds.jit(written)(0.5) == 10.5


def test_jit_says_why_it_falls_back():
    def f(mu):
        rng = np.random.default_rng(0)

        def walk(x, _):
            return x + mu * rng.normal(), x
        return ds.scan(walk, 1.0, None, length=N)[0]
    with pytest.warns(FallbackWarning, match=r"walk \(.*test_steady\.py:\d+\) reads a Generator.*pass them as xs"):
        assert ds.jit(f)(0.05) == f(0.05)


def test_a_graph_cannot_hold_draws():
    with pytest.raises(UnsteadyError, match="another at every call"):
        ds.make_graph(fori)(0.5)


@pytest.mark.parametrize(("seed", "draw"), [(np.random.seed, lambda: np.random.normal()),  # noqa: NPY002
                                            (random.seed, lambda: random.random()), (random.seed, random.random)])
def test_shared_generators_under_derivatives(seed, draw):
    def f(s):
        return ds.fori_loop(0, N, lambda i, x: x + s * x * draw(), 1.0)
    seed(4)
    want = f(0.3)
    seed(4)
    assert ds.value_and_grad(f)(0.3)[0] == want
    after = draw()
    seed(4)
    f(0.3)
    assert draw() == after


def test_an_outer_generator_gives_as_many_draws_as_a_plain_call():
    rng, other = np.random.default_rng(1), np.random.default_rng(1)

    def f(s, r):
        return ds.fori_loop(0, N, lambda i, x: x + s * x * r.normal(), 1.0)
    assert ds.value_and_grad(lambda s: f(s, rng))(0.3)[0] == f(0.3, other)
    assert rng.normal() == other.normal()


def test_a_generator_made_anew_in_the_body_is_steady():
    def f(s):
        return ds.fori_loop(0, N, lambda i, x: x + s * np.random.default_rng(7).normal(), 0.0)
    assert ds.jit(f)(0.3) == pytest.approx(f(0.3), rel=1e-14)


def test_an_unseeded_generator_is_refused():
    with pytest.raises(UnsteadyError, match="without a seed"):
        ds.make_graph(lambda s: ds.fori_loop(0, N, lambda i, x: x + s * np.random.default_rng().normal(), 0.0))(0.3)


def test_notes_and_tables_do_no_harm():
    notes, table = [], {}

    def power(k):
        if k not in table:
            table[k] = 2.0**k
        return table[k]

    def f(s):
        def step(i, x):
            notes.append("called")
            return x + s * power(2)
        return ds.fori_loop(0, N, step, 0.0)
    graph = ds.make_graph(f)(0.5)
    assert [e.prim.name for e in graph.eqns].count("scan") == 1
    assert notes == ["called"]


def test_a_step_begun_again_in_another_dtype_refuses_an_iterator():
    values = iter([1.5, 2.5, 3.5])
    with pytest.raises(TypeError, match="convert the first value"):
        ds.fori_loop(0, 3, lambda i, x: x + next(values), 0)

"""Compiled calls: the closure guard, static arguments, fallbacks, tracers, threads."""

import cmath
import gc
import itertools
import math
import queue
import random
import threading
import time
from random import uniform
from time import perf_counter as clock

import numba
import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import FallbackWarning, InputError, InputTypeError

X = np.array([0.3, -0.7, 1.1])
SCALE = 2.0
TABLE = np.array([1.0, 2.0, 3.0])


class Settings:
    gain = 1.0

    def __init__(self, gain):
        self.gain = gain
        self.table = np.array([1.0, 1.0, 1.0])


SETTINGS = Settings(3.0)
DEFAULT = np.array([1.0])


def helper(x):
    return SCALE * x


def count_traces(f):
    """A compiled function, and a function that tells how often it was traced (a list would be part of what it reads)."""
    calls = queue.SimpleQueue()

    def counted(*args):
        calls.put(1)
        return f(*args)
    return ds.jit(counted), calls.qsize


def test_a_program_is_traced_once_for_each_shape():
    f, calls = count_traces(lambda x: np.sum(x * x))
    for _ in range(3):
        f(X)
    f(X[:2])
    f(X[:2] + 1)
    assert calls() == 2


@pytest.mark.parametrize("made", [lambda: iter(range(9)), itertools.count, lambda: (i for i in range(9)),
                                  lambda: zip(range(9), strict=True)])
def test_an_iterator_is_not_frozen_into_a_program(made):
    """Each call takes the next of its values: a compiled program would repeat the first."""
    held = made()

    def f(x):
        value = next(held)
        return x + (value[0] if isinstance(value, tuple) else value)
    jitted = ds.jit(f)
    with pytest.warns(FallbackWarning, match="iterator|genexpr|count|zip"):
        first = jitted(0.0)                                 # the name of a generator is that of its function
    assert [first, jitted(0.0), jitted(0.0)] == [0.0, 1.0, 2.0]


def test_a_changed_global_is_seen(monkeypatch):
    f = ds.jit(lambda x: np.sum(helper(x)))
    assert f(X) == pytest.approx(2 * X.sum())
    monkeypatch.setitem(globals(), "SCALE", 5.0)
    assert f(X) == pytest.approx(5 * X.sum())


def test_a_changed_array_is_seen():
    f = ds.jit(lambda x: np.sum(x * TABLE))
    first = f(X)
    TABLE[1] += 1.0
    try:
        assert f(X) == pytest.approx(first + X[1])
    finally:
        TABLE[1] -= 1.0
    assert f(X) == pytest.approx(first)


def test_a_changed_cell_attribute_default_and_item_are_seen():
    k = 1.0
    items = {"a": [1.0, 2.0]}

    def f(x, scale=DEFAULT):
        return np.sum(x) * k * SETTINGS.gain * items["a"][1] * scale[0] * np.sum(SETTINGS.table)

    g = ds.jit(f)
    base = g(X)
    k = 2.0
    assert g(X) == pytest.approx(2 * base)
    k = 1.0
    SETTINGS.gain = 6.0
    assert g(X) == pytest.approx(2 * base)
    SETTINGS.gain = 3.0
    items["a"][1] = 4.0
    assert g(X) == pytest.approx(2 * base)
    items["a"][1] = 2.0
    SETTINGS.table[:] = 2.0
    assert g(X) == pytest.approx(2 * base)
    SETTINGS.table[:] = 1.0
    f.__defaults__[0][0] = 2.0
    assert g(X) == pytest.approx(2 * base)
    f.__defaults__[0][0] = 1.0
    assert g(X) == pytest.approx(base)


def test_methods_can_be_compiled_where_they_are_defined():
    class Model:
        def __init__(self, k):
            self.k = k

        @ds.jit
        def loss(self, x):
            return self.k * np.sum(x)

    one, two = Model(2.0), Model(5.0)
    assert one.loss(X) == pytest.approx(2 * X.sum())
    assert two.loss(X) == pytest.approx(5 * X.sum())
    assert one.loss is one.loss
    one.k = 3.0
    assert one.loss(X) == pytest.approx(3 * X.sum())
    assert one.loss.stats["equations"] == 2


def test_static_arguments_are_counted_from_either_end_and_checked():
    f = ds.jit(lambda x, n: x ** n[0], static_argnums=-1)
    np.testing.assert_allclose(f(X, (2,)), X**2)
    np.testing.assert_allclose(f(X, (3,)), X**3)
    with pytest.raises(InputTypeError, match="argument 1 is static and must be hashable"):
        f(X, [2])
    with pytest.raises(ValueError, match="static_argnums names argument 5"):
        ds.jit(lambda x: x, static_argnums=5)(X)


def test_large_arrays_in_a_closure_are_handed_over_once_and_watched():
    table = np.linspace(0, 1, 200_000)
    f = ds.jit(lambda x: np.sum(table * x))
    assert f(2.0) == pytest.approx(2 * table.sum())
    table[7] += 1.0
    assert f(2.0) == pytest.approx(2 * table.sum(), rel=1e-12)
    assert ds.grad(f)(2.0) == pytest.approx(table.sum())


def test_methods_read_their_object_anew():
    class Model:
        def __init__(self):
            self.k = 2.0

        def loss(self, x):
            return self.k * np.sum(x)

    model = Model()
    f = ds.jit(model.loss)
    assert f(X) == pytest.approx(2 * X.sum())
    model.k = 3.0
    assert f(X) == pytest.approx(3 * X.sum())


def test_transforms_see_through_to_the_function():
    k = 1.0
    f = ds.jit(ds.value_and_grad(lambda x: k * np.sum(x * x)))
    f(X)
    k = 3.0
    value, gradient = f(X)
    assert value == pytest.approx(3 * X @ X)
    np.testing.assert_allclose(gradient, 6 * X)


def test_static_arguments_may_be_named():
    seen = queue.SimpleQueue()

    @ds.jit(static_argnames=("kind", "n"))
    def f(x, n=(1,), *, kind=("sum",)):
        seen.put(1)
        return np.sum(x ** n[0]) if kind[0] == "sum" else np.max(x ** n[0])

    assert f(X) == f(X, (1,)) == f(X, n=(1,)) == np.sum(X)
    assert f(X, (2,), kind=("max",)) == f(X, n=(2,), kind=("max",)) == np.max(X * X)
    assert seen.qsize() == 5
    for _ in range(3):
        f(X, n=(2,), kind=("max",))
    assert seen.qsize() == 5
    assert f.stats["calls"] >= 3
    np.testing.assert_allclose(ds.grad(lambda x: f(x, (2,)))(X), 2 * X)
    with pytest.raises(InputTypeError, match="'n' is static and must be hashable; a list is not"):
        f(X, n=[1])
    with pytest.raises(ValueError, match="static_argnames names 'm', which is no argument of <lambda>"):
        ds.jit(lambda x: x, static_argnames="m")


def test_a_method_with_named_static_arguments():
    class Power:
        def __init__(self, scale):
            self.scale = scale

        @ds.jit(static_argnames="n")
        def __call__(self, x, n):
            return self.scale * x ** n[0]

    for scale in (2.0, 3.0):
        power = Power(scale)
        np.testing.assert_array_equal(power(X, n=(2,)), scale * X ** 2)
        np.testing.assert_allclose(power(X, (3,)), scale * X ** 3, rtol=1e-15)


@pytest.mark.parametrize("arguments", [{}, {"static_argnums": 1}, {"static_argnums": -1}])
def test_jit_without_a_function_is_a_decorator(arguments):
    @ds.jit(**arguments)
    def f(x, n):
        """Powers."""
        return x ** n

    assert f.__doc__ == "Powers."
    np.testing.assert_allclose(f(X, 3), X ** 3, rtol=1e-15)


def test_python_ints_and_strings_are_static():
    f, calls = count_traces(lambda x, n, kind: sum((x**i for i in range(n)), start=0.0 * x) if kind == "sum" else x)
    np.testing.assert_allclose(f(X, 3, "sum"), 1 + X + X * X)
    np.testing.assert_allclose(f(X, 2, "sum"), 1 + X)
    np.testing.assert_allclose(f(X, 2, "none"), X)
    f(X, 3, "sum")
    assert calls() == 3


def test_a_compiled_function_is_differentiable():
    f = ds.jit(lambda x: np.sum(np.exp(x) * x))
    np.testing.assert_allclose(ds.grad(f)(X), np.exp(X) * (1 + X))
    np.testing.assert_allclose(ds.hessian(f)(X), np.diag(np.exp(X) * (2 + X)))
    np.testing.assert_allclose(ds.jit(ds.grad(f))(X), np.exp(X) * (1 + X))


def test_what_cannot_be_compiled_runs_with_one_warning():
    def f(x):
        return np.sum(x) if x[0] > 0 else -np.sum(x)

    g = ds.jit(f)
    with pytest.warns(FallbackWarning, match=r"test_jit\.py:\d+") as caught:
        results = [g(X), g(-X)]
    assert results == pytest.approx([X.sum(), X.sum()])
    assert len(caught) == 1


GENERATOR = np.random.default_rng(3)


@pytest.mark.parametrize("f", [
    lambda x: x + np.random.rand(),  # noqa: NPY002  (what users write)
    lambda x: x + GENERATOR.normal(),
    lambda x: x + time.perf_counter(),
    lambda x: x + clock(),
    lambda x: x + random.random(),
    lambda x: x + uniform(0.0, 1.0),
])
def test_random_numbers_and_clocks_are_not_frozen(f):
    g = ds.jit(f)
    with pytest.warns(FallbackWarning, match="changes from call to call"):
        first = g(1.0)
    assert g(1.0) != first


def test_a_generator_made_inside_from_a_seed_is_compiled():
    f = ds.jit(lambda x: x * np.random.default_rng(0).normal())
    assert f(1.0) == np.random.default_rng(0).normal()
    assert f.stats["equations"] == 1


def test_a_warning_points_at_the_users_line():
    with pytest.warns(FallbackWarning) as caught:
        ds.jit(lambda x: x if x > 0 else -x)(1.0)
    assert caught[0].filename == __file__


def test_stats_say_when_a_function_runs_uncompiled():
    f = ds.jit(lambda x: x if x > 0 else 0 * x)
    with pytest.warns(FallbackWarning):
        f(1.0)
    with pytest.raises(TypeError, match="runs uncompiled"):
        _ = f.stats


def test_what_python_alone_computes_runs_uncompiled():
    f = ds.jit(lambda x: cmath.sin(x).real)
    with pytest.warns(FallbackWarning, match="float\\(\\) of a traced value"):
        assert f(0.5) == math.sin(0.5)


def test_generators_and_coroutines_are_refused():
    def generator(x):
        yield x

    async def coroutine(x):
        return x

    for f in (generator, coroutine):
        with pytest.raises(InputTypeError, match="generator or coroutine"):
            ds.jit(f)
    with pytest.raises(InputTypeError, match="must be a function, not a int"):
        ds.jit(3)


def test_functions_compiled_by_numba_run_as_they_are():
    twice = numba.njit(lambda x: 2.0 * x)
    f = ds.jit(lambda x: np.sum(twice(x)))
    with pytest.warns(FallbackWarning, match="Numba was given a traced value.*Wrap it in diffsim.kernel"):
        assert f(X) == pytest.approx(2 * X.sum())


def test_results_are_fresh():
    f = ds.jit(lambda x: (2 * x, x))
    first, same = f(X)
    second, _ = f(X + 1)
    np.testing.assert_array_equal(first, 2 * X)
    np.testing.assert_array_equal(second, 2 * (X + 1))
    same[:] = 0
    assert X[0] == 0.3


def test_threads_do_not_share_workspaces():
    f = ds.jit(lambda x: np.cumsum(np.sin(x)) * 2.0)
    want = [np.cumsum(np.sin(X + i)) * 2.0 for i in range(8)]
    f(X)
    bad = []

    def work(i):
        for _ in range(300):
            if not np.allclose(f(X + i), want[i], rtol=1e-14):
                bad.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not bad


def test_unknown_arguments_are_refused():
    with pytest.raises(InputTypeError, match="dtype object"):
        ds.jit(lambda x: x)(np.array([None]))


def test_stats_and_source_are_shown():
    f = ds.jit(lambda x: np.sum(np.sin(x)))
    with pytest.raises(TypeError, match="not been called"):
        _ = f.graph
    f(X)
    assert "sin" in str(f.graph)
    assert "sin" in f.source
    assert f.stats["equations"] >= 2


def test_static_arguments_that_are_equal_and_not_the_same_have_programs_of_their_own():
    f = ds.jit(lambda x, n: x * 2 if isinstance(n, bool) else x * 3 if isinstance(n, int) else x / n, static_argnums=1)
    assert [float(f(1.0, n)) for n in (True, 1, 1.0, 1)] == [2.0, 3.0, 1.0, 3.0]
    with np.errstate(divide="ignore"):
        assert [float(f(1.0, n)) for n in (0.0, -0.0)] == [np.inf, -np.inf]
    g = ds.jit(lambda x, n: x * 2 if isinstance(n[0], bool) else x * 3, static_argnums=1)
    assert [float(g(1.0, n)) for n in ((1,), (True,))] == [3.0, 2.0]


def in_order(d):
    return np.sum(np.stack(list(d.values())) * np.array([1.0, 100.0]))


def test_a_program_may_see_the_order_of_keys():
    made, one, other = ds.jit(in_order), {"b": 1.0, "a": 2.0}, {"a": 2.0, "b": 1.0}
    for d in (one, other, one, other):
        assert made(d) == in_order(d)
        assert list(ds.jit(lambda d: d)(d)) == list(d)
        slopes = dict(zip(d, (1.0, 100.0), strict=True))
        assert ds.grad(in_order)(d) == slopes
        assert ds.jit(ds.grad(in_order))(d) == slopes
    assert made(dict.fromkeys("ba", 1.0)) == 101.0


def test_named_arguments_come_in_their_order():
    def f(**named):
        return in_order(named)

    made = ds.jit(f)
    for _ in range(2):
        assert (made(b=1.0, a=2.0), made(a=2.0, b=1.0)) == (201.0, 102.0)


def test_trees_of_one_structure_may_differ_in_the_order_of_keys():
    one, other = {"b": 1.0, "a": 2.0}, {"a": 10.0, "b": 20.0}
    assert ds.tree.map(lambda x, y: x + y, one, other) == {"b": 21.0, "a": 12.0}
    last, _ = ds.jit(lambda c: ds.scan(lambda c, _: ({"a": c["b"], "b": c["a"] + 1.0}, None), c, length=3))(one)
    assert last == {"b": 4.0, "a": 2.0}
    step = ds.jit(lambda d: {"a": d["a"] * 2.0, "b": d["b"]})
    assert step(one, out={"b": np.zeros(()), "a": np.zeros(())})["a"] == 4.0


def test_a_callback_sees_the_order_of_keys():
    f = ds.jit(lambda d: ds.callback(in_order, ds.ShapeDtype((), np.float64), d))
    for d in ({"b": 1.0, "a": 2.0}, {"a": 2.0, "b": 1.0}):
        assert f(d) == in_order(d)


def test_a_generator_without_a_seed_is_not_frozen():
    f = ds.jit(lambda x: np.random.default_rng().normal() + x)
    with pytest.warns(FallbackWarning, match=r"`default_rng\(\)`, without a seed"):
        first = f(0.0)
    assert f(0.0) != first
    g = ds.jit(lambda x: np.random.default_rng(3).normal() + x)
    assert g(0.0) == g(0.0)


# ---------------------------------------------------------------- numbers of Python's (NEP 50)
SINGLE = np.arange(1, 4, dtype=np.float32)


@pytest.mark.parametrize("number", [2.5, np.float64(2.5), 2.5j, np.complex128(2.5j), np.array(2.5)], ids=repr)
@pytest.mark.parametrize("f", [
    lambda x, a: x * a, lambda x, a: a - x, lambda x, a: x * (a * 2 + 1), lambda x, a: x ** 2 / -a, lambda x, a: x * np.sin(a),
    lambda x, a: np.add(x, a), lambda x, a: np.where(x > 1, x, a), lambda x, a: x[0] * a, lambda x, a: np.append(x, a),
    lambda x, a: x + abs(a), lambda x, a: x * np.full(3, a)], ids=range(11))  # fmt: skip
def test_python_numbers_take_the_dtype_of_what_is_beside_them(f, number):
    got, wanted = ds.jit(f)(SINGLE, number), f(SINGLE, number)
    assert got.dtype == wanted.dtype
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_one_program_serves_both_where_it_makes_no_difference():
    f, g = ds.jit(lambda x, a: x * a), ds.jit(lambda x, a: x * a)
    for a in (2.5, np.float64(2.5), np.array(2.5), 1.5):
        assert f(SINGLE, a).dtype == (SINGLE * a).dtype
        assert g(np.arange(3.0), a).dtype == float
    assert (f.stats["programs"], g.stats["programs"]) == (2, 1)
    out = np.empty(3, np.float32)
    assert f(SINGLE, 2.5, out=out) is out
    np.testing.assert_array_equal(out, SINGLE * 2.5)


def test_gradients_and_loops_of_python_numbers_compile_to_single_precision():
    def f(a, x):
        return np.sum(ds.scan(lambda c, _: (c * a, None), x, None, length=3)[0])
    value, slope = ds.jit(ds.value_and_grad(f))(1.5, SINGLE)
    assert (value.dtype, slope.dtype) == (np.float32, float)
    np.testing.assert_allclose([value, slope], [np.sum(SINGLE) * 1.5**3, np.sum(SINGLE) * 3 * 1.5**2], rtol=1e-6)


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_as_it_was_after_compiling(enabled, monkeypatch):
    was = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        assert ds.jit(lambda x: np.sin(x) + 0.25)(1.0) == np.sin(1.0) + 0.25
        monkeypatch.setenv("DIFFSIM_WITHOUT", "nothing of this name")
        with pytest.raises(InputError, match="DIFFSIM_WITHOUT"):
            ds.jit(lambda x: np.sin(x) + 0.75)(1.0)
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if was else gc.disable)()


#: What is NumPy's number, what is Python's, by NEP 50; x of float32, s a float.
STRONG = {
    "array": lambda x, s: x * np.array(s), "asarray": lambda x, s: x * np.asarray(s), "sum": lambda x, s: x * np.sum(s),
    "max": lambda x, s: x * np.max(s), "squeeze": lambda x, s: x * np.squeeze(s), "reshape": lambda x, s: x * np.reshape(s, ()),
    "conj": lambda x, s: x * np.conj(s), "transpose": lambda x, s: x * np.transpose(s), "dot": lambda x, s: np.dot(s, x),
    "inner": lambda x, s: np.inner(x, s), "outer": lambda x, s: np.multiply.outer(x, s), "positive": lambda x, s: x * np.positive(s),
}
WEAK = {
    "sin": lambda x, s: math.sin(s) * x, "sqrt": lambda x, s: math.sqrt(s) * x, "exp": lambda x, s: math.exp(s) * x,
    "hypot": lambda x, s: math.hypot(s, 1) * x, "pow": lambda x, s: math.pow(s, 2) * x, "round": lambda x, s: round(s, 1) * x,
    "float of an element": lambda x, s: float(x[1]) * x, "sin of an element": lambda x, s: math.sin(x[1]) * x,
    "cond, operands": lambda x, s: ds.cond(x[0] < 1, lambda x, s: x * s, lambda x, s: x + s, x, s),
    "cond, closure": lambda x, s: ds.cond(x[0] < 1, lambda x: x * s, lambda x: x + s, x),
    "cond, results": lambda x, s: ds.cond(x[0] < 1, lambda: s, lambda: 2 * s) * x,
    "switch": lambda x, s: ds.switch((x[0] > 0) * 1, [lambda x: x * s, lambda x: x + s], x),
    "checkpoint": lambda x, s: ds.checkpoint(lambda x: x * s)(x), "checkpoint, result": lambda x, s: ds.checkpoint(lambda s: 2 * s)(s) * x,
    "stop_gradient": lambda x, s: x * ds.stop_gradient(s), "np.real": lambda x, s: x * np.real(s),
}


@pytest.mark.parametrize("name", [*STRONG, *WEAK])
def test_a_number_of_pythons_is_weak_and_one_of_numpys_is_strong(name):
    f, x = (STRONG | WEAK)[name], np.arange(3, dtype=np.float32)
    wanted, got = f(x, 0.3), ds.jit(f)(x, 0.3)
    assert got.dtype == wanted.dtype == (np.float64 if name in STRONG else np.float32)
    np.testing.assert_allclose(got, wanted, rtol=1e-15 if name in STRONG else 1e-6)


def test_a_program_of_pythons_number_does_not_serve_numpys_through_a_branch():
    f = ds.jit(lambda x, s: ds.cond(x[0] < 1, lambda x: x * s, lambda x: x + s, x))
    x = np.arange(3, dtype=np.float32)
    assert [f(x, s).dtype for s in (0.3, np.float64(0.3), 0.3)] == [np.float32, np.float64, np.float32]


N = np.array([1, 2, 3])
ANSWERS = {
    "ldexp of a number": (lambda n: np.ldexp(1.0, n), N), "clip of bytes": (lambda u: np.clip(u, -1, 2), N.astype(np.uint8)),
    "clip beyond": (lambda u: np.clip(u, 2, 300), N.astype(np.uint8)), "argsort without axis": (np.argsort, np.array(2.0)),
    "isclose": (lambda x: np.isclose(x, 1.0), np.array([1.0, 1 + 1e-9, 2.0, np.nan, np.inf])),
    "isclose of infinities": (lambda x: np.isclose(x, x[0], equal_nan=True), np.array([np.inf, -np.inf, 1.0, np.nan])),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_jit_answers_as_numpy(name):
    f, x = ANSWERS[name]
    wanted, got = f(x), ds.jit(lambda x: f(x))(x)
    np.testing.assert_array_equal(got, wanted)
    assert np.asarray(got).dtype == wanted.dtype


def test_vmap_of_isclose():
    np.testing.assert_array_equal(ds.vmap(lambda x: np.isclose(x, 1.0))(np.array([1.0, 2.0])), [True, False])

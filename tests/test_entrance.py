"""The way into compiled functions: every kind of argument and result, on the short way where there is one, with the same answers."""

import collections
import dataclasses
import functools
import queue

import numpy as np
import pytest

import diffsim as ds
from diffsim.control import jit as module

X, Y = np.array([0.3, -0.7, 1.1]), np.array([2.0, 0.5, -1.0])


@dataclasses.dataclass
class Plain:
    a: object
    cls: object


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: object
    new: object = None


@dataclasses.dataclass(slots=True)
class Slots:
    a: object
    b: object


@dataclasses.dataclass
class Derived:
    a: object
    b: object
    total: object = dataclasses.field(init=False)

    def __post_init__(self):
        self.total = self.a + self.b


class Pair(collections.namedtuple("Pair", "left right")):
    __slots__ = ()


class Own(dict):
    """A dictionary of the user's."""


@pytest.fixture
def ways(monkeypatch):
    """Counts the calls that went the general way."""
    seen, general = [], module.Jitted._general

    def counted(self, args, kwargs):
        seen.append(args)
        return general(self, args, kwargs)

    monkeypatch.setattr(module.Jitted, "_general", counted)
    return seen


def same(got, want):
    """Equality of trees, types included."""
    assert type(got) is type(want)
    got, want = ds.tree.flatten(got), ds.tree.flatten(want)
    assert got[1] == want[1]
    for x, y in zip(got[0], want[0], strict=True):
        assert type(x) is type(y)
        np.testing.assert_array_equal(x, y)


TREES = {
    "dict": lambda a, b: {"b": a, "a": b},
    "keys of mixed types": lambda a, b: {1: a, "1": b},
    "list": lambda a, b: [a, b],
    "tuple of one": lambda a, b: ((a,), (b,)),
    "namedtuple": Pair,
    "dataclass": Plain,
    "frozen": Frozen,
    "slots": Slots,
    "own dict": lambda a, b: Own(x=a, y=b),
    "ordered": lambda a, b: collections.OrderedDict(z=a, a=b),
    "nested": lambda a, b: {"p": [Plain(a, {"q": b})], "none": None, "empty": {}},
}


@pytest.mark.parametrize("name", TREES)
def test_trees_go_in_and_come_out(name, ways):
    make = TREES[name]
    f = ds.jit(lambda p: ds.tree.map(lambda x: 2.0 * x, p))
    for a, b in ((X, Y), (Y, X), (X + 1, Y)):
        same(f(make(a, b)), make(2 * a, 2 * b))
    assert len(ways) == 1
    same(f(make(X[:2], Y)), make(2 * X[:2], 2 * Y))            # another shape
    same(f(make(X, 3.0)), make(2 * X, np.float64(6.0)))        # a number
    same(f(make(X, Y)), make(2 * X, 2 * Y))
    assert len(ways) == 3


def test_what_a_dataclass_derives_is_derived():
    f = ds.jit(lambda p: Derived(p.a * p.total, p.b))
    for _ in range(2):
        got = f(Derived(X, Y))
        np.testing.assert_allclose(got.total, X * (X + Y) + Y)


def test_ten_leaves_and_their_gradient(ways):
    f = ds.jit(ds.value_and_grad(lambda p: sum(np.sum(v**2) for v in p.values())))
    given = {f"k{i}": X + i for i in range(10)}
    for _ in range(3):
        value, slope = f(given)
        assert value == pytest.approx(sum(np.sum(v**2) for v in given.values()))
        same(slope, {k: 2 * v for k, v in given.items()})
    assert len(ways) == 1


def test_arguments_by_name_in_any_order(ways):
    f = ds.jit(lambda x, *, scale, shift=1.0: scale * x + shift)
    for _ in range(2):
        np.testing.assert_array_equal(f(X, scale=2.0, shift=Y), 2 * X + Y)
        np.testing.assert_array_equal(f(X, shift=Y, scale=2.0), 2 * X + Y)
        np.testing.assert_array_equal(f(X, scale=3.0), 3 * X + 1)
        np.testing.assert_array_equal(f(x=X, scale=3.0), 3 * X + 1)
    assert len(ways) == 3
    for wrong in ({"scale": 1.0, "other": 2.0}, {}, {"other": 2.0}):
        with pytest.raises(TypeError):
            f(X, **wrong)
    with pytest.raises(TypeError):
        f(X, Y, scale=2.0)


def test_numbers_of_every_kind(ways):
    f = ds.jit(lambda x, s: x * s)
    for s in (2.0, np.float64(2.0), np.array(2.0)):
        np.testing.assert_array_equal(f(X, s), 2 * X)
    assert len(ways) == 1
    for s in (np.float32(2.0), np.int64(2), np.array(2), np.bool_(True)):
        for _ in range(2):
            want = X * s
            got = f(X, s)
            np.testing.assert_array_equal(got, want)
            assert got.dtype == want.dtype
    assert len(ways) == 4
    assert f(X, 2) is not None


@pytest.mark.parametrize("n", [(2,), (1, 2.0), "ab", 1.5, None, b"x", frozenset((1, 2))])
def test_static_arguments_take_the_short_way_too(n, ways):
    f = ds.jit(lambda x, n, y: (x + y, n) if n else x, static_argnums=1)
    for _ in range(3):
        got = f(X, n, Y)
        np.testing.assert_array_equal(got[0] if n else got, X + Y if n else X)
    assert len(ways) == 1


def test_static_floats_differ_by_their_sign_and_their_type(ways):
    f = ds.jit(lambda x, n: x + np.copysign(1.0, n), static_argnums=1)
    for _ in range(2):
        assert [float(f(0.0, n)) for n in (0.0, -0.0, 0, np.float64(-0.0))] == [1.0, -1.0, 1.0, -1.0]
    g = ds.jit(lambda x, n: x + n, static_argnums=1)
    assert g(X, 1.0) is not None
    with pytest.raises(TypeError, match="static and must be hashable"):
        g(X, X)


def test_a_few_signatures_take_turns_without_being_looked_at(ways):
    f = ds.jit(lambda x: x + 1.0)
    given = [np.ones(n) for n in range(1, module.WAYS + 1)]
    for _ in range(4):
        for x in given:
            np.testing.assert_array_equal(f(x), 2.0)
    assert len(ways) == len(given)


def test_a_closure_that_alternates_takes_turns_too(ways):
    scale = 1.0
    f = ds.jit(lambda x: scale * x)
    for scale in (1.0, 2.0, 1.0, 2.0, 1.0):
        np.testing.assert_array_equal(f(X), scale * X)
    assert len(ways) == 2


LAYOUTS = [np.asfortranarray, lambda a: a[::-1], lambda a: a[:, ::2], lambda a: a.astype(">f8"), lambda a: a.astype("f4")]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_matrices_in_any_order_of_memory(layout, rng):
    f = ds.jit(lambda a: (2 * a, a.T @ a))
    a = layout(rng.normal(size=(4, 6)))
    for given in (a, np.ascontiguousarray(a, a.dtype), a):
        for got, want in zip(f(given), (2 * a, a.T @ a), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5 if a.dtype == np.float32 else 1e-13)


@pytest.mark.parametrize("make", [np.asfortranarray, lambda a: a.transpose(1, 0, 2).copy().transpose(1, 0, 2)])
def test_arrays_in_another_order_take_the_short_way(make, ways, rng):
    f = ds.jit(lambda a, s: np.sum(a * s, axis=1))
    for _ in range(3):
        a = rng.normal(size=(4, 5, 6))
        np.testing.assert_allclose(f(make(a), 2.0), 2 * a.sum(1), rtol=1e-13)
    assert len(ways) == 1
    np.testing.assert_allclose(f(a, 2.0), 2 * a.sum(1), rtol=1e-13)
    assert len(ways) == 2
    np.testing.assert_allclose(f(make(a[:2]), 2.0), 2 * a[:2].sum(1), rtol=1e-13)
    assert len(ways) == 3


def test_methods_and_partials(ways):
    @dataclasses.dataclass
    class Model:
        k: float

        @ds.jit
        def value(self, x):
            return self.k * x

    traced = queue.SimpleQueue()

    @dataclasses.dataclass(slots=True)
    class Bare:
        k: float

        @ds.jit
        def value(self, x):
            traced.put(1)
            return self.k * x

    for model in (Model(2.0), Bare(2.0)):                       # neither can be hashed
        for _ in range(3):
            np.testing.assert_array_equal(model.value(X), 2 * X)
        model.k = 3.0
        np.testing.assert_array_equal(model.value(X), 3 * X)
    assert traced.qsize() == 2
    f = ds.jit(functools.partial(lambda a, x, b: a * x + b, 2.0, b=1.0))
    before = len(ways)
    for _ in range(3):
        np.testing.assert_array_equal(f(X), 2 * X + 1)
    assert len(ways) == before + 1


def test_instances_are_not_kept_forever():
    class Model:
        @ds.jit
        def value(self, x):
            return x

    for _ in range(3 * module.INSTANCES):
        assert Model().value is not None
    assert len(Model.__dict__["value"]._bound) <= module.INSTANCES


def test_results_that_are_no_arrays_stay_as_they_are():
    f = ds.jit(lambda x: {"x": x, "name": "n", "n": 3, "f": np.sin})
    for _ in range(2):
        got = f(X)
        assert (got["name"], got["n"], got["f"]) == ("n", 3, np.sin)
        np.testing.assert_array_equal(got["x"], X)


def test_watching_for_nan_runs_uncompiled():
    f = ds.jit(lambda x: np.sqrt(x))
    f(X[:1])
    with ds.debug_nans(), pytest.warns(RuntimeWarning, match="invalid"):
        f(-X[:1])


# ---------------------------------------------------------------- results in the caller's arrays
@pytest.mark.parametrize("n", [0, 3, 5000])
def test_results_are_written_into_the_callers_arrays(n, ways):
    f = ds.jit(lambda p: {"s": p["a"] + p["b"], "n": np.sum(p["a"]), "t": (p["a"] * p["b"],)})
    a, b = np.arange(float(n)), np.linspace(1, 2, n)
    out = {"s": np.zeros(n), "n": 0.0, "t": (np.zeros(n),)}
    for k in range(3):
        got = f({"a": a + k, "b": b}, out=out)
        assert got["s"] is out["s"]
        assert got["t"][0] is out["t"][0]
        same(got, f({"a": a + k, "b": b}))
    assert len(ways) == 1
    kept = f({"a": a, "b": b})
    out = f({"a": a, "b": b}, out=kept)                        # an earlier result will do
    assert out["s"] is kept["s"]


def test_numbers_are_written_into_arrays_of_no_dimension():
    f, place = ds.jit(lambda x: (np.sum(x), x)), np.zeros(())
    for _ in range(2):
        value, _ = f(X, out=(place, np.zeros(3)))
        assert value is place
        assert place == X.sum()


def test_a_result_may_replace_an_argument(ways):
    f = ds.jit(lambda x, y: (x + y, x - y))
    for n in (3, 4000):
        x, y = np.arange(float(n)), np.ones(n)
        want = x + y, x - y
        for _ in range(2):
            a, b = x.copy(), y.copy()
            same(f(a, b, out=(b, a)), want)
            np.testing.assert_array_equal(b, want[0])
            np.testing.assert_array_equal(a, want[1])
        big = np.arange(float(n + 1))                          # a result one place further on than an argument
        want, = ds.jit(lambda x: (2 * x,))(big[:-1].copy())
        got, = ds.jit(lambda x: (2 * x,))(big[:-1], out=(big[1:],))
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("make", [lambda: np.zeros((4, 3)).T, lambda: np.zeros((3, 8))[:, ::2], lambda: np.zeros((3, 4))[::-1]])
def test_out_may_lie_as_it_likes(make):
    f, a = ds.jit(lambda a: 2 * a), np.arange(12.0).reshape(3, 4)
    for _ in range(2):
        out = make()
        assert f(a, out=out) is out
        np.testing.assert_array_equal(out, 2 * a)


def test_columns_of_one_array_do_not_share_memory():
    f, table = ds.jit(lambda x: (x, 2 * x)), np.zeros((3, 2))
    for _ in range(2):
        f(X, out=(table[:, 0], table[:, 1]))
        np.testing.assert_array_equal(table, np.stack([X, 2 * X], 1))


READ_ONLY = np.zeros(3)
READ_ONLY.flags.writeable = False
BUFFER = np.zeros(5)
WRONG = {
    "shape": ((np.zeros(4), np.zeros(3)), ValueError, r"leaf 0 of out= is an array of shape \(4,\)"),
    "dtype": ((np.zeros(3), np.zeros(3, np.float32)), ValueError, "leaf 1 of out= .* dtype float32"),
    "byte order": ((np.zeros(3), np.zeros(3, ">f8")), ValueError, "leaf 1 of out= .* dtype >f8"),
    "structure": ([np.zeros(3), np.zeros(3)], ValueError, "another structure"),
    "missing": ((np.zeros(3),), ValueError, "another structure"),
    "read-only": ((np.zeros(3), READ_ONLY), ValueError, "read-only"),
    "overlap": ((BUFFER[:3], BUFFER[2:]), ValueError, "leaves 0 and 1 of out= share memory"),
    "twice": ((BUFFER[:3], BUFFER[:3]), ValueError, "share memory"),
    "no array": ((np.zeros(3), 0.0), TypeError, "leaf 1 of out= is a float"),
    "none": (None, ValueError, "another structure"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_written_to_is_an_error_and_nothing_is_written(name):
    out, error, message = WRONG[name]
    f = ds.jit(lambda x: (x + 1.0, x + 2.0))
    for _ in range(2):
        with pytest.raises(error, match=message):
            f(X, out=out)
        for x in ds.tree.leaves(out):
            np.testing.assert_array_equal(x, 0)
    assert f(X)[0] is not None


def test_out_is_not_for_transforms():
    f = ds.jit(lambda x: 2 * x)
    with pytest.raises(TypeError, match="out= is for calls on plain arrays"):
        ds.jvp(lambda x: f(x, out=np.zeros(3)), (X,), (X,))


def test_a_function_with_an_argument_out_keeps_it():
    def f(x, out):
        return x * out

    np.testing.assert_array_equal(ds.jit(f)(X, out=Y), X * Y)
    np.testing.assert_array_equal(ds.jit(ds.value_and_grad(lambda x, out=2.0: np.sum(x * out)))(X, out=3.0)[1], 3)
    np.testing.assert_array_equal(ds.jit(functools.partial(f, out=Y))(X), X * Y)
    np.testing.assert_array_equal(ds.jit(lambda x, **k: x * k["out"])(X, out=Y), X * Y)


def test_derivatives_that_had_to_be_repaired_are_written_too():
    f = ds.jit(ds.grad(lambda x: np.sum(np.where(x > 0, np.sqrt(np.abs(x)), 0.0))))
    x, out = np.array([0.0, 4.0]), np.zeros(2)
    for _ in range(2):
        with np.errstate(all="ignore"), pytest.warns(ds.errors.StrongZeroWarning):
            assert f(x, out=out) is out
        np.testing.assert_array_equal(out, [0.0, 0.25])


def test_functions_that_run_uncompiled_write_too():
    f = ds.jit(lambda x: np.sort(x) if x[0] > 0 else x)
    out = np.zeros(3)
    with pytest.warns(ds.errors.FallbackWarning):
        assert f(X, out=out) is out
    np.testing.assert_array_equal(out, np.sort(X))

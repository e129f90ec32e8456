"""The closure guard: whatever a compiled function reads outside its arguments may change, and the next call sees it."""

import array
import collections
import dataclasses
import functools
import queue
import sys
import types

import numpy as np
import pytest

import diffsim as ds
from diffsim.control import guard
from diffsim.errors import FallbackWarning

K = 1.0
MODULE = types.ModuleType("settings_of_a_model")


def base(k, x):
    return K * k * x


class Plain:
    k = 1.0

    def rate(self, x):
        return K * self.k * x

    def __call__(self, x):
        return self.rate(x)

    @classmethod
    def scaled(cls, x):
        return cls.k * x


class Slotted:
    __slots__ = ("__hidden", "seen")

    def __init__(self):
        self.__hidden, self.seen = 1.0, 1.0

    def change(self):
        self.__hidden = 3.0

    def __call__(self, x):
        return self.__hidden * self.seen * x


@dataclasses.dataclass
class Data:
    table: np.ndarray
    inner: object = None


class Tagged(np.ndarray):
    pass


def counter(x):
    return counter.k * x


def imports_module(x):
    import settings_of_a_model as m  # noqa: PLC0415
    return m.k * x


def imports_name(x):
    from settings_of_a_model import k  # noqa: PLC0415
    return k * x


def alias(x):
    cls = Plain
    return cls.k * x


FIRST, SECOND = types.SimpleNamespace(k=1.0), types.SimpleNamespace(k=5.0)


def alias_of_one_of_two(x, late=False):
    kept = FIRST
    if late:
        kept = SECOND
    return kept.k * x


def alias_around_a_loop(x):
    kept, total = SECOND, 0.0
    for _ in range(2):
        total = total + kept.k * x
        kept = FIRST
    return total


def two_aliases(x):
    one = FIRST
    two = SECOND
    return max(one, two, key=id).k * min(one, two, key=id).k * x


def with_default(x, ks=(1.0,)):
    return ks[0] * x


def closure(content, read):
    """A function that reads something held in a closure cell."""
    def f(x):
        return read(content) * x
    return f


def set_global():
    globals()["K"] = 3.0


def cases():
    """(name, function, change)."""
    plain, slotted, bare = Plain(), Slotted(), types.SimpleNamespace(k=1.0)
    data = Data(np.ones(2), Data(np.ones(1)))
    s, d, deep = {1.0}, collections.deque([1.0]), [[[[[[[[[1.0]]]]]]]]]
    masked, objects, tagged = np.ma.masked_array([1.0, 2.0]), np.array([1.0, None], object), np.ones(2).view(Tagged)
    held, mutable = np.ones(2), {"k": [1.0, 2.0]}
    user, chain, raw, many = collections.UserDict(k=1.0), collections.ChainMap({"k": 1.0}), array.array("d", [1.0]), [1.0] * 5000
    cached = functools.lru_cache(lambda: user["k"])
    yield "module in a cell", closure(MODULE, lambda m: m.k), lambda: setattr(MODULE, "k", 3.0)
    yield "class in a cell", closure(Plain, lambda c: c.k), lambda: setattr(Plain, "k", 3.0)
    yield "alias of a class", alias, lambda: setattr(Plain, "k", 3.0)
    yield "class attribute through self", plain, lambda: setattr(Plain, "k", 3.0)
    yield "global read by a method", plain, set_global
    yield "method patched on the class", plain, lambda: setattr(Plain, "rate", lambda self, x: 7 * x)
    yield "instance attribute over a class attribute", plain.rate, lambda: setattr(plain, "k", 3.0)
    yield "bound method", Plain().rate, lambda: setattr(Plain, "k", 3.0)
    yield "class method", lambda x: Plain.scaled(x), lambda: setattr(Plain, "k", 3.0)
    yield "private slot", slotted, slotted.change
    yield "slot", slotted, lambda: setattr(slotted, "seen", 3.0)
    yield "namespace", closure(bare, lambda b: b.k), lambda: setattr(bare, "k", 3.0)
    yield "late attribute", closure(bare, lambda b: getattr(b, "late", 1.0)), lambda: setattr(bare, "late", 3.0)
    yield "array in a dataclass", closure(data, lambda v: v.table[0]), lambda: data.table.__setitem__(0, 3.0)
    yield "array in a nested dataclass", closure(data, lambda v: v.inner.table[0]), lambda: data.inner.table.__setitem__(0, 3.0)
    large, strided = np.ones(5000), np.ones((5000, 2))[:, 0]
    yield "large array", closure(large, lambda v: v[-1]), lambda: large.__setitem__(-1, 3.0)
    yield "large array that is not contiguous", closure(strided, lambda v: v[-1]), lambda: strided.__setitem__(-1, 3.0)
    yield "array by its transpose", closure(large, lambda v: v.T[7]), lambda: large.__setitem__(7, 3.0)
    yield "shape of an array", closure(large, lambda v: float(v.shape[0] == 5000)), lambda: large.resize(4999, refcheck=False)
    yield "alias of one of two", alias_of_one_of_two, lambda: setattr(FIRST, "k", 3.0)
    yield "alias around a loop", alias_around_a_loop, lambda: setattr(FIRST, "k", 3.0)
    yield "two aliases", two_aliases, lambda: setattr(FIRST, "k", 3.0)
    yield "set", closure(s, sum), lambda: s.add(3.0)
    yield "deque", closure(d, sum), lambda: d.append(3.0)
    yield "deep list", closure(deep, lambda v: v[0][0][0][0][0][0][0][0][0]), lambda: deep[0][0][0][0][0][0][0][0].__setitem__(0, 3.0)
    yield "masked array", closure(masked, lambda m: float(m.sum())), lambda: masked.__setitem__(1, np.ma.masked)
    yield "object array", closure(objects, lambda v: v[0]), lambda: objects.__setitem__(0, 3.0)
    yield "array of a subclass", closure(tagged, lambda v: v[0]), lambda: tagged.__setitem__(0, 3.0)
    yield "partial over a global", functools.partial(base, 2.0), set_global
    yield "array in a partial", functools.partial(lambda v, x: v[0] * x, held), lambda: held.__setitem__(0, 3.0)
    yield "list in a dictionary", closure(mutable, lambda v: v["k"][1]), lambda: mutable["k"].__setitem__(1, 3.0)
    yield "method of a dictionary", closure(mutable["k"].__getitem__, lambda get: get(1)), lambda: mutable["k"].__setitem__(1, 3.0)
    yield "user dictionary", closure(user, lambda v: v["k"]), lambda: user.__setitem__("k", 3.0)
    yield "chain map", closure(chain, lambda v: v["k"]), lambda: chain.__setitem__("k", 3.0)
    yield "array of the library", closure(raw, lambda v: v[0]), lambda: raw.__setitem__(0, 3.0)
    yield "long list", closure(many, lambda v: v[4000]), lambda: many.__setitem__(4000, 3.0)
    yield "cached helper", closure(cached, lambda f: f()), lambda: (user.__setitem__("k", 3.0), cached.cache_clear())
    yield "function attribute", counter, lambda: setattr(counter, "k", 3.0)
    yield "import inside", imports_module, lambda: setattr(MODULE, "k", 3.0)
    yield "from-import inside", imports_name, lambda: setattr(MODULE, "k", 3.0)
    yield "defaults replaced", with_default, lambda: setattr(with_default, "__defaults__", ((3.0,),))


@pytest.fixture
def world(monkeypatch):
    """The things the cases change, as they are at first."""
    monkeypatch.setitem(sys.modules, "settings_of_a_model", MODULE)
    FIRST.k = 1.0
    MODULE.k, counter.k, with_default.__defaults__ = 1.0, 1.0, ((1.0,),)
    rate = Plain.rate
    yield
    Plain.rate, Plain.k, globals()["K"] = rate, 1.0, 1.0


@pytest.mark.parametrize("number", range(len(list(cases()))), ids=[name.replace(" ", "-") for name, *_ in cases()])
@pytest.mark.parametrize("verb", ["value", "gradient", "solve"])
def test_a_change_is_seen(number, verb, world):
    _, f, change = list(cases())[number]
    program = {
        "value": lambda: f,
        "gradient": lambda: ds.grad(lambda x: 0.5 * x * f(x)),
        "solve": lambda: lambda x: ds.solve_ivp(lambda t, y: -f(y), (0, 1), [1.0], t_eval=[1.0]).y[0, 0] * x,
    }[verb]()
    compiled = ds.jit(program)
    before = compiled(2.0)
    assert before == pytest.approx(program(2.0), rel=1e-6)
    change()
    assert compiled(2.0) == pytest.approx(program(2.0), rel=1e-6)
    assert compiled(2.0) != pytest.approx(before, rel=1e-3)


def test_what_a_callable_argument_reads_is_watched(world):
    k = {"k": 1.0}

    def callback(x):
        return k["k"] * x

    f = ds.jit(lambda g, x: g(x))
    assert f(callback, 2.0) == 2.0
    k["k"] = 3.0
    assert f(callback, 2.0) == 6.0


TRANSFORMS = [ds.grad, ds.hessian, ds.value_and_grad, lambda f: ds.grad(ds.grad(f)), lambda f: ds.jacobian(ds.jit(f))]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_every_transform_shows_what_its_function_reads(transform, world):
    def f(x):
        return K * x**3

    compiled = ds.jit(transform(f))
    compiled(1.5)
    set_global()
    np.testing.assert_allclose(compiled(1.5), transform(f)(1.5))


def test_compiled_inside_compiled_inside_grad():
    f = ds.jit(ds.grad(lambda x: ds.jit(ds.grad(lambda y: y**3))(x)))
    assert f(3.0) == pytest.approx(18.0)


def test_a_large_array_that_is_read_only_is_not_compared(monkeypatch):
    def refuse(a, b):
        raise AssertionError("compared")

    monkeypatch.setattr(guard, "same_bits", refuse)
    table = np.linspace(0.0, 1.0, 5000).copy()
    table.flags.writeable = False
    f = ds.jit(lambda x: np.sum(x * table))
    for _ in range(2):
        assert f(2.0) == pytest.approx(5000.0)
    assert f._last.captured[0] is table                        # nor copied
    table.flags.writeable = True                               # from here on it may change
    monkeypatch.undo()
    table[:] = 1.0
    assert f(2.0) == 10000.0
    table[0] = 2.0
    assert f(2.0) == 10002.0


def test_a_read_only_view_of_a_writeable_array_is_compared():
    whole = np.ones(5000)
    view = whole[:]
    view.flags.writeable = False
    f = ds.jit(lambda x: np.sum(x * view))
    assert f(2.0) == 10000.0
    whole[0] = 2.0
    assert f(2.0) == 10002.0


def test_what_is_not_read_is_not_watched():
    """Attributes beside those that code names cost nothing, and may change."""
    traced = queue.SimpleQueue()
    world = types.SimpleNamespace(k=2.0, other=np.ones(10), more=types.SimpleNamespace(a=1.0, b=2.0))

    def f(x):
        traced.put(1)
        return world.k * x + world.more.a

    jitted = ds.jit(f)
    assert jitted(1.0) == 3.0
    world.other[0] = 5.0
    world.more.b = world.late = 7.0
    assert jitted(1.0) == 3.0
    assert traced.qsize() == 1
    world.more = types.SimpleNamespace(a=2.0)
    assert jitted(1.0) == 4.0
    assert traced.qsize() == 2


def test_an_array_met_by_two_names_is_compared_once():
    table = np.ones(5000)
    first, second = types.SimpleNamespace(t=table), types.SimpleNamespace(t=table)
    f = ds.jit(lambda x: x * first.t[0] + second.t[1])
    assert f(1.0) == 2.0
    second.t = np.full(5000, 3.0)
    assert f(1.0) == 4.0
    table[0] = 2.0
    assert f(1.0) == 5.0


def through_loadtxt(x, path):
    return x * np.loadtxt(path)


def through_load(x, path):
    return x * np.load(path)


def through_fromfile(x, path):
    return x * np.fromfile(path)


def through_a_name(x, path, read=np.genfromtxt):
    return x * read(path)


@pytest.mark.parametrize("f", [through_loadtxt, through_load, through_fromfile, through_a_name])
def test_files_are_read_again(f, tmp_path):
    path = tmp_path / "number"

    def write(x):
        x = np.array([x])
        if f is through_fromfile:
            x.tofile(path)
        elif f is through_load:
            with open(path, "wb") as file:
                np.save(file, x)
        else:
            np.savetxt(path, x)

    compiled = ds.jit(lambda x: f(x, path))
    write(3.0)
    with pytest.warns(FallbackWarning, match="changes from call to call"):
        assert compiled(2.0) == 6.0
    write(4.0)
    assert compiled(2.0) == 8.0

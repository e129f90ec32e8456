"""What a function under a transform reaches through objects: it runs rebound, and what is the user's stays the user's."""

import functools
import linecache
import types

import numpy as np
import pytest
from programs import objects

import diffsim as ds
from diffsim.numpy import Array
from diffsim.numpy.rebind import rebound
from diffsim.numpy.source import HELPERS

X = np.array([0.4, 1.1, 0.7])
DATA = np.linspace(1.0, 2.0, 3)
TABLE = np.arange(12.0).reshape(4, 3)
PLACES = np.array([2, 0, 1])


def filled(y):
    out = np.zeros(3)
    out[:] = y**2
    return out


def cubed(y):
    out = np.empty(3)
    out[:] = y**3
    return out


class Thing:
    shared = filled

    def __init__(self, f=filled):
        self.f, self.seen, self.data, self._Thing__secret = f, [], DATA, 3.0

    def call(self, y):
        self.seen.append(1)
        self.last = self.f
        self.kept = self.data
        return self.f(y) * self.__secret

    @functools.cached_property
    def table(self):
        out = np.zeros(3)
        out[1] = 2.0
        return out

    def __matmul__(self, y):
        return self.call(y)


def derivative(f, *args):
    return ds.jacobian(f)(X, *args)


def test_attributes_keep_the_users_functions_and_arrays():
    thing = Thing()
    np.testing.assert_array_equal(derivative(lambda y: thing.call(y)), np.diag(6.0 * X))
    assert thing.last is filled
    assert thing.kept is DATA
    assert thing.seen == [1]
    assert type(thing) is Thing
    assert Thing.shared is filled


def test_a_function_has_one_identity_wherever_it_is_read():
    def choose(y, method=None):
        first = Thing().f is filled and Thing.shared is filled and methods[0] is not methods[1]
        return filled(y) if method is filled and first else cubed(y)
    methods = [filled, cubed]
    np.testing.assert_array_equal(derivative(choose, filled), np.diag(2.0 * X))
    np.testing.assert_allclose(derivative(choose, cubed), np.diag(3.0 * X**2))


def test_functions_in_containers_and_in_arguments_are_rebound():
    table = {"a": filled, "b": [cubed, Thing().call]}
    space = types.SimpleNamespace(model=types.SimpleNamespace(rhs=cubed))
    for f in (lambda y: table["a"](y) + table["b"][0](y), lambda y: filled(y) + space.model.rhs(y),
              lambda y: sum(map(Thing().f, [y])) + functools.reduce(lambda s, g: s + g(y), [cubed], 0.0),
              lambda y: getattr(space.model, "rhs")(y) + next(iter(table.values()))(y),            # noqa: B009
              lambda y, *more: [g for g in more][0](y) + cubed(y)):                                # noqa: RUF015
        np.testing.assert_allclose(ds.jacobian(f)(X, *([filled] if f.__code__.co_flags & 4 else [])), np.diag(2 * X + 3 * X**2))


def test_a_class_made_inside_is_the_users_class():
    kinds = []

    def f(y):
        thing = Thing(cubed)
        kinds.extend([type(thing) is Thing, isinstance(thing, Thing), thing.f is cubed])
        thing.table[0] = y[0]
        return thing.call(y) * 1.0 + thing.table

    wanted = np.diag(9.0 * X**2)
    wanted[0, 0] += 1.0
    np.testing.assert_allclose(derivative(f), wanted)
    assert kinds == [True, True, True]


def test_special_methods_reach_methods():
    with pytest.raises(ds.errors.DerivativeLost):
        derivative(lambda y: Thing() @ y)                   # the operator itself runs as Python finds it, and says so


def test_a_borrowed_array_is_written_where_it_lies_and_takes_no_traced_value():
    work, other = np.zeros(3), np.arange(6.0).reshape(2, 3)

    def f(y, work, other):
        work[1] = 5.0
        work += 1.0
        other[:, 0].fill(7.0)
        np.multiply(work, 2.0, out=work)
        view = other.T
        view[2] -= 1.0
        return y * work + other[1]
    y, y_dot = ds.jvp(lambda y: f(y, work, other), (X,), (np.ones(3),))
    twin = [np.zeros(3), np.arange(6.0).reshape(2, 3)]
    np.testing.assert_array_equal(y, f(X, *twin))
    np.testing.assert_array_equal(y_dot, twin[0])
    np.testing.assert_array_equal(work, twin[0])
    np.testing.assert_array_equal(other, twin[1])
    for write in (lambda y: work.__setitem__(0, y[0]), lambda y: work.fill(y[0]), lambda y: np.copyto(work, y),
                  lambda y: work.__iadd__(y), lambda y: np.add.at(work, [0], y[0])):
        with pytest.raises(ds.errors.DerivativeLost, match=r"test_reach\.py:\d+"):
            derivative(lambda y, write=write: (write(y), y)[1])
    np.testing.assert_array_equal(work, twin[0])


def test_a_borrowed_array_that_is_read_only_stays_so():
    data = np.zeros(3)
    data.flags.writeable = False

    def f(y):
        data[0] = 1.0
        return y
    with pytest.raises(ValueError, match="read-only"):
        derivative(f)
    assert not data[0]


def test_two_names_of_one_array_alias():
    base = np.zeros(4)
    left, right = base[:3], base[1:]

    def f(y):
        left[1] = 2.0
        return y * right + base[:3]
    y, y_dot = ds.jvp(f, (X,), (np.ones(3),))
    np.testing.assert_array_equal(y, X * [2, 0, 0] + [0, 2, 0])
    np.testing.assert_array_equal(y_dot, [2, 0, 0])


@pytest.mark.parametrize("data", [np.asfortranarray(TABLE), TABLE[:, ::2], TABLE[::-1], TABLE.T[1:],
                                  TABLE.reshape(2, 2, 3).transpose(1, 2, 0)])
def test_what_is_computed_of_an_array_of_any_layout_is_numpys(data):
    def f(y):
        u, v, w = data * 2.0, data.copy(), np.ravel(data) + 0.0
        u[0, ..., 0], v[-1, ..., -1], w[1] = y[0], y[1], y[2]
        return u, v, w, data.reshape(-1) * y[0], data.T @ np.ones(data.shape[0]), np.sum(data, axis=0) * y[0], data[1:].sum() * y[1]
    value, _ = ds.jvp(f, (X,), (X,))
    plain = f(X)
    for a, b in zip(value, plain, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.shape(a) == np.shape(b)


def test_copies_of_plain_arrays_take_traced_values():
    def f(x, y):
        made = [y.copy(), np.copy(y), np.array(y), y + 0, y.astype(float), y.flatten(), np.sin(y), y[::-1].copy(), np.clip(y, 0, 1),
                np.tile(y, 2), np.where(y > 1, y, 0.0), +y]
        for i, v in enumerate(made):
            v[0] = x * (i + 1)
        return sum(np.sum(v * v) for v in made)
    assert ds.grad(f)(1.5, DATA) == pytest.approx(2 * 1.5 * sum((i + 1) ** 2 for i in range(12)))
    np.testing.assert_array_equal(DATA, np.linspace(1.0, 2.0, 3))


@pytest.mark.parametrize("look", [lambda i: TABLE[i], lambda i: objects.NEIGHBOURS[i, 1] * 1.0, lambda i: np.take(TABLE, i, axis=0),
                                  lambda i: TABLE[1:, i], lambda i: objects.CONDITIONS["profile"][i], lambda i: TABLE[i, PLACES]])
def test_a_plain_array_is_indexed_by_a_traced_number(look):
    at = np.array([2, 0, 1])
    rows = [look(int(i)) * 1.0 for i in at]
    np.testing.assert_array_equal(ds.vmap(look)(at) * 1.0, rows)
    np.testing.assert_array_equal(ds.jit(look)(np.int64(2)), look(2))
    np.testing.assert_array_equal(ds.scan(lambda c, i: (c, look(i)), 0.0, at)[1] * 1.0, rows)


def test_a_cell_that_another_function_writes_is_read_as_it_is():
    def outer():
        data = np.ones(3)

        def renew():
            nonlocal data
            data = data + 1.0

        def f(y):
            renew()
            z = data * 1.0
            z[0] = y[0]
            return z * y
        return f, lambda: data
    f, data = outer()
    np.testing.assert_array_equal(ds.jvp(f, (X,), (np.ones(3),))[1], [2 * X[0], 2.0, 2.0])
    np.testing.assert_array_equal(data(), [2.0, 2.0, 2.0])


def grammar(y, model):
    """Statements and expressions that a second compilation must leave as they are."""
    match model:
        case types.SimpleNamespace(kind=objects.Registry.kernels):
            factor = 1.0
        case _:
            factor = 2.0
    label: model.nothing = f"{model.kind!r:>3}{factor}"
    less = lambda *a, k=3: k - len(a)                       # noqa: E731
    if (n := len(label)) > 2 and not less(1, k=n) < 0:
        model.count += 1
    total = [v * model.data[i] for i, v in enumerate(y) if model.kind]
    with pytest.raises(ZeroDivisionError):
        1 / (model.count - model.count)
    del model.kind
    a, *rest = total
    return np.stack([a, *rest]) * factor


def test_every_statement_means_what_it_meant():
    made = [types.SimpleNamespace(kind="k", count=0, data=DATA.copy()) for _ in range(2)]
    np.testing.assert_array_equal(derivative(grammar, made[0]), np.diag(2.0 * DATA))
    np.testing.assert_array_equal(grammar(X, made[1]), 2.0 * X * DATA)
    assert made[0].count == made[1].count == 1
    assert not hasattr(made[0], "kind")


def test_a_source_that_is_not_the_functions_is_not_used(tmp_path, monkeypatch):
    path = tmp_path / "changed.py"
    path.write_text("def f(y, model):\n    return model.rhs(y)\n")
    space = {}
    exec(compile(path.read_text().replace("rhs", "lhs"), path, "exec"), space)
    run = rebound(space["f"])
    assert run.__code__ is space["f"].__code__
    assert not set(run.__code__.co_names) & set(HELPERS)
    monkeypatch.delitem(linecache.cache, str(path), raising=False)
    model = types.SimpleNamespace(lhs=lambda y: 3.0 * y)
    np.testing.assert_array_equal(ds.jacobian(space["f"])(X, model), 3.0 * np.eye(3))
    exec("def g(y, model):\n    return model.lhs(y)\n", space)
    assert rebound(space["g"]).__code__ is space["g"].__code__


def test_a_compiled_function_is_given_numpys_arrays():
    numba = pytest.importorskip("numba")

    class Model:
        weights = DATA

        @staticmethod
        @numba.njit
        def prepare(a, out):
            out[0] = a[0] * 10.0
            return a * 2.0

        def run(self, y):
            out = np.zeros(3)
            return y * self.prepare(self.weights, out) * out[0]
    model = Model()
    np.testing.assert_array_equal(derivative(model.run), np.diag(2.0 * DATA * 10.0))


def test_an_array_made_inside_is_ours_and_what_is_returned_is_numpys():
    def f(y):
        assert isinstance(DATA, np.ndarray)
        assert isinstance(DATA * 1.0, Array)
        return np.sum(y), (DATA, DATA[1:], DATA * 2.0)
    _, aux = ds.grad(f, has_aux=True)(X)
    assert [type(a) for a in aux] == [np.ndarray] * 3
    aux[0][0] = 9.0
    assert DATA[0] == 1.0


@pytest.mark.parametrize("look", [lambda x: x[()], lambda x: x[...] * np.ones(2), lambda x: x[None] * np.ones(2),
                                  lambda x: x[..., np.newaxis, None], lambda x: np.sum(x)[()]])
def test_a_traced_number_is_subscripted_as_numpys(look):
    x = np.float64(1.5)
    y, y_dot = ds.jvp(look, (x,), (2.0,))
    assert np.shape(y) == np.shape(look(x))
    np.testing.assert_array_equal(y, look(x))
    np.testing.assert_array_equal(y_dot, 2.0 * look(x) / x)
    np.testing.assert_array_equal(ds.jit(look)(x), look(x))
    np.testing.assert_array_equal(ds.vmap(look)(np.array([1.5, 1.5]))[1], look(x))


def test_a_traced_number_has_no_elements():
    with pytest.raises(IndexError, match="no elements"):
        ds.grad(lambda x, i=0: x[i])(np.float64(1.5))

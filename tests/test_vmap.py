"""vmap: members at once equal members one by one, whatever is nested in whatever."""

import dataclasses
from collections import namedtuple

import numpy as np
import pytest

import diffsim as ds
from diffsim.core import ONE_BY_ONE, REGISTRY
from diffsim.errors import (
    ConcretizationError,
    DiffsimError,
    FallbackWarning,
    InputError,
    InputTypeError,
    MutationError,
    NotANumberError,
    StrongZeroWarning,
)
from diffsim.ode import odeint

N = 4
X = np.random.default_rng(1).uniform(0.3, 1.4, (N, 3))
A = np.random.default_rng(2).normal(size=(3, 3))
Pair = namedtuple("Pair", "a b")


def stacked(f, *columns):
    """The members' values, one call each, put together."""
    rows = [f(*row) for row in zip(*columns, strict=True)]
    return ds.tree.map(lambda *leaves: np.stack(leaves), rows[0], *rows[1:])


def agree(got, wanted, rtol=1e-12):
    got, struct = ds.tree.flatten(got)
    wanted, other = ds.tree.flatten(wanted)
    assert struct == other
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-12)
        assert np.asarray(a).dtype == np.asarray(b).dtype


# ---------------------------------------------------------------- axes
def test_axes_of_arguments_and_results():
    y = np.arange(12.0).reshape(3, N)
    agree(ds.vmap(np.dot, (0, 1))(X, y), np.einsum("ni,in->n", X, y))
    agree(ds.vmap(np.dot, (0, -1))(X, y), np.einsum("ni,in->n", X, y))
    agree(ds.vmap(np.dot, (0, None))(X, A[0]), X @ A[0])
    agree(ds.vmap(lambda x: A @ x, out_axes=1)(X), A @ X.T)
    agree(ds.vmap(lambda x: np.outer(x, x), out_axes=-1)(X), np.einsum("ni,nj->ijn", X, X))
    agree(ds.vmap(lambda x: np.outer(x, x), out_axes=-2)(X), np.einsum("ni,nj->inj", X, X))
    agree(ds.vmap(lambda x, y: x * y)(X, y=X), X * X)                   # keyword arguments along axis 0


@dataclasses.dataclass
class Rates:
    birth: np.ndarray
    death: float


def test_axes_over_containers():
    tree = {"pair": Pair(X, A), "list": [X[:, 0], 2.0], "rates": Rates(X.T, 3.0), "none": None}
    axes = ({"pair": Pair(0, None), "list": [0, None], "rates": Rates(1, None), "none": None},)

    def f(t):
        assert t["none"] is None
        assert isinstance(t["rates"].death, float)
        value = t["pair"].b @ t["pair"].a * t["list"][0] * t["list"][1] + t["rates"].birth * t["rates"].death
        return {"y": value, "pair": Pair(np.sum(value), t["list"][1])}

    wanted = [f({"pair": Pair(x, A), "list": [x[0], 2.0], "rates": Rates(x, 3.0), "none": None}) for x in X]
    got = ds.vmap(f, axes, {"y": 1, "pair": Pair(0, None)})(tree)
    agree(got["y"], np.stack([w["y"] for w in wanted], 1))
    agree(got["pair"].a, np.stack([w["pair"].a for w in wanted]))
    assert got["pair"].b == 2.0
    prefix = ds.vmap(lambda t: t["a"] @ t["b"][0], ({"a": 0, "b": None},))({"a": X, "b": (A, 1)})
    agree(prefix, X @ A)


def test_what_does_not_depend_on_the_member_is_repeated():
    y, z, n = ds.vmap(lambda x: (x, A[0], 2.5), out_axes=(0, 1, 0))(X)
    agree(z, np.stack([A[0]] * N, 1))
    agree(n, np.full(N, 2.5))
    z[0] = 7.0                                                          # results are the caller's own
    y[0] = 7.0
    assert z[1, 0] != 7.0
    assert X[0, 0] != 7.0
    assert ds.vmap(lambda x: ("text", x), axis_size=2, in_axes=None)(3)[0] == "text"
    agree(ds.vmap(lambda: A, axis_size=2)(), np.stack([A, A]))


def test_a_batch_may_be_empty():
    with np.errstate(all="ignore"):
        got = ds.vmap(lambda x: (np.sum(np.sin(x)) * x, np.linalg.solve(A, x)))(np.zeros((0, 3), np.float32))
    assert [g.shape for g in got] == [(0, 3), (0, 3)]
    assert got[0].dtype == np.float32
    assert ds.vmap(ds.grad(lambda x: np.sum(x**2)))(np.zeros((0, 3))).shape == (0, 3)


BAD = {
    "sizes": (lambda: ds.vmap(lambda a, b: a)(X, {"k": [X.T]}), InputError, r"argument 1 of <lambda>, leaf \['k'\]\[0\].* has 3 mem.*4"),
    "keyword sizes": (lambda: ds.vmap(lambda a, b: a)(X, b=X.T), InputError, r"keyword arguments of <lambda>, leaf \['b'\]"),
    "axis_size": (lambda: ds.vmap(lambda a: a, axis_size=5)(X), InputError, "4 members, but axis_size says 5"),
    "negative size": (lambda: ds.vmap(lambda: 1.0, axis_size=-1)(), InputError, "axis_size"),
    "axis": (lambda: ds.vmap(lambda a: a, in_axes=2)(X), InputError, r"argument 0 of <lambda> has shape \(4, 3\) and no axis 2"),
    "negative axis": (lambda: ds.vmap(lambda a: a, in_axes=-3)(X), InputError, "no axis -3"),
    "no axis": (lambda: ds.vmap(lambda a: a, in_axes=None)(X), InputError, "axis_size"),
    "a number": (lambda: ds.vmap(lambda a: a)(2.0), InputTypeError, "in_axes None"),
    "a number in an array": (lambda: ds.vmap(lambda a: a)(np.float64(2.0)), InputError, "None where it is the same"),
    "a text": (lambda: ds.vmap(lambda a, b: a)(X, "text"), InputTypeError, "argument 1 of <lambda> is a str"),
    "keyword": (lambda: ds.vmap(lambda a, b: a)(X, b=1.0), InputTypeError, "by position"),
    "length": (lambda: ds.vmap(lambda a: a, in_axes=(0, 0))(X), InputError, "in_axes has 2 entries"),
    "form": (lambda: ds.vmap(lambda a: a, in_axes=({"q": 0},))({"z": X}), InputError, r"a dict with entries \['z'\]"),
    "form of a dataclass": (lambda: ds.vmap(lambda a: a, in_axes=([0, 0],))(Rates(X, X)), InputError, ".birth, .death"),
    "depth": (lambda: ds.vmap(lambda a: a, in_axes=({"q": 0},))(X), InputTypeError, "no container"),
    "kind": (lambda: ds.vmap(lambda a: a, in_axes="0")(X), InputTypeError, "int or None"),
    "out_axes": (lambda: ds.vmap(lambda a: a, out_axes=2)(X), InputError, "between -2 and 1"),
    "out_axes None": (lambda: ds.vmap(lambda a: (1.0, a), out_axes=(None, None))(X), InputError, r"\[1\].*differs between members"),
    "no function": (lambda: ds.vmap(3), InputTypeError, "must be a function"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_axes_are_refused_by_name(case):
    call, kind, words = BAD[case]
    with pytest.raises(kind, match=words):
        call()


def test_a_branch_on_a_member_is_refused_with_advice():
    with pytest.raises(ConcretizationError, match=r"test_vmap.py:\d+: a branch.*4 members at once.*np.where"):
        ds.vmap(lambda x: x if x[0] > 0 else -x)(X)
    with pytest.raises(ConcretizationError, match="in_axes None"):
        ds.vmap(lambda i: X[0, :int(i)])(np.arange(N))
    agree(ds.vmap(lambda x, positive: x if positive > 0 else -x, (0, None))(X, 1.0), X)


def test_a_stored_member_is_refused_after_the_call():
    kept = []
    ds.vmap(lambda x: kept.append(x) or x)(X)
    with pytest.raises(DiffsimError, match="vmap had finished"):
        np.sin(kept[0])


# ---------------------------------------------------------------- writing
def written(x):
    y = np.zeros(3)
    y[0] = x[0]
    y[1:] += x[1]
    np.add.at(y, [0, 0, 1], x[2])
    z = y[::-1]
    z[0] *= 2.0
    w = np.zeros((2, 3))
    w[1] = y
    w.T[2] = x[:2]
    w *= 1.0 + x[0]
    return w


def indexed(x, i):
    y = np.zeros(3)
    y[i] = x[:2]                                                        # of two writes to one place the last stands
    np.add.at(y, i, x[1:])
    return y * x[i[0]] + np.sum(x[i] ** 2) + x[np.array([[0, 1], [2, 0]])][:, i[1] % 2][0]


PLACES = np.array([[0, 1], [2, 2], [-1, 0], [1, 1]])


def test_arrays_made_inside_are_written():
    agree(ds.vmap(written)(X), stacked(written, X))
    loss = ds.grad(lambda x: np.sum(written(x) ** 3))
    agree(ds.vmap(loss)(X), stacked(loss, X))
    agree(ds.grad(lambda x: np.sum(ds.vmap(written)(x) ** 3))(X), stacked(loss, X))
    with pytest.raises(MutationError, match="an input of vmap"):
        ds.vmap(lambda x: x.__setitem__(0, 1.0))(X)


def test_members_choose_positions():
    agree(ds.vmap(indexed)(X, PLACES), stacked(indexed, X, PLACES))
    gradient = ds.grad(lambda x, i: np.sum(indexed(x, i) ** 3))
    agree(ds.vmap(gradient)(X, PLACES), stacked(gradient, X, PLACES))
    agree(ds.grad(lambda x: np.sum(ds.vmap(indexed)(x, PLACES) ** 3))(X), stacked(gradient, X, PLACES))
    agree(ds.jit(ds.vmap(gradient))(X, PLACES), stacked(gradient, X, PLACES))
    agree(ds.jacfwd(lambda x: ds.vmap(indexed)(x, PLACES))(X), ds.jacrev(lambda x: ds.vmap(indexed)(x, PLACES))(X))
    with pytest.raises(IndexError, match="index 3 is out of bounds"):
        ds.vmap(indexed)(X, PLACES + 3)


def test_positions_alone_have_members():
    def f(i):
        return np.array(A)[i] + np.array(A)[:, i] * i
    agree(ds.vmap(f)(np.array([0, 2, 1])), stacked(f, np.array([0, 2, 1])))
    agree(ds.vmap(lambda i: np.array(A)[i, ::-1])(PLACES), A[PLACES][..., ::-1])


# ---------------------------------------------------------------- random programs, nested
OPERATIONS = (
    lambda x: np.sin(x) * x,
    lambda x: A @ np.tanh(x),
    lambda x: np.exp(-x * x) + np.sum(x) * 0.1,
    lambda x: np.where(x > 0.2, x * x, 0.3 * x),
    lambda x: np.stack([x[2] * x[0], x[1], x[0]]),
    lambda x: np.concatenate([x[1:], x[:1]]) * x[0],
    lambda x: np.cumsum(x)[::-1],
    lambda x: np.linalg.solve(A + 3.0 * np.eye(3), x) * x,
    lambda x: np.linalg.solve(np.outer(x, x) + 2.0 * np.eye(3), x),
    lambda x: np.einsum("i,j,ij->i", x, x, A),
    lambda x: np.sqrt(x * x + 0.5) / (1.0 + np.max(x * x)),
    lambda x: x[np.array([0, 2, 1])] * np.prod(x + 0.1),
    lambda x: np.log1p(x**2) - np.arctan2(x, 1.5),
    lambda x: np.clip(x, -0.5, 0.9) + np.mean(x) ** 3,
    lambda x: np.real(np.exp(1j * x) * (x + 0.5j)),
)


def program(seed, length=3):
    """A random program of vectors of three."""
    chosen = np.random.default_rng(seed).integers(0, len(OPERATIONS), length)

    def f(x):
        for i in chosen:
            x = OPERATIONS[i](x)
        return written(x)[1] * 0.3 if seed % 2 else x
    return f


V = np.random.default_rng(3).normal(size=(N, 3))


def along(f, x, v):
    return ds.jvp(f, (x,), (v,))[1]


@pytest.mark.parametrize("seed", range(16))
def test_transforms_of_random_programs_nest(seed):
    f = program(seed)

    def loss(x):
        return np.sum(f(x) ** 2)

    gradients = stacked(ds.grad(loss), X)
    agree(ds.vmap(f)(X), stacked(f, X))
    agree(ds.vmap(ds.grad(loss))(X), gradients)
    agree(ds.grad(lambda x: np.sum(ds.vmap(loss)(x)))(X), gradients)
    agree(ds.vmap(ds.value_and_grad(loss), out_axes=(0, 1))(X)[1], gradients.T)
    pushed = stacked(lambda x, v: along(f, x, v), X, V)
    agree(along(ds.vmap(f), X, V), pushed)
    agree(ds.vmap(lambda x, v: along(f, x, v))(X, V), pushed)
    twice = stacked(lambda x, v: along(lambda x: along(f, x, v), x, v), X, V)
    agree(along(lambda x: ds.vmap(lambda x, v: along(f, x, v))(x, V), X, V), twice)
    agree(ds.vmap(lambda x, v: along(lambda x: along(f, x, v), x, v))(X, V), twice)
    hessians = stacked(ds.hessian(loss), X)
    agree(ds.vmap(ds.hessian(loss))(X), hessians, 1e-9)
    agree(ds.vmap(ds.jacfwd(ds.jacrev(loss)))(X), hessians, 1e-9)
    agree(ds.vmap(ds.jacrev(ds.jacfwd(loss)))(X), hessians, 1e-9)
    agree(ds.vmap(lambda x, v: ds.hvp(loss, (x,), (v,)))(X, V), np.einsum("nij,nj->ni", hessians, V), 1e-9)
    agree(ds.grad(lambda x: np.sum(ds.vmap(ds.jacfwd(f))(x) ** 2))(X), stacked(ds.grad(lambda x: np.sum(ds.jacrev(f)(x) ** 2)), X), 1e-9)


@pytest.mark.parametrize("seed", range(16, 22))
def test_batches_of_batches(seed):
    f = program(seed, 2)
    both = np.stack([X, X[::-1] * 0.9])
    agree(ds.vmap(ds.vmap(f))(both), np.stack([stacked(f, x) for x in both]))
    wanted = np.stack([stacked(f, x) for x in both])
    agree(ds.vmap(ds.vmap(f, 1, 1), 0, 2)(np.moveaxis(both, 2, 1)), np.moveaxis(wanted, (0, 1, 2), (2, 1, 0)))
    table = ds.vmap(lambda x: ds.vmap(lambda v: along(f, x, v))(V))(X)
    agree(table, np.stack([[along(f, x, v) for v in V] for x in X]))
    inner = ds.grad(lambda x: np.sum(ds.vmap(lambda v: np.sum(f(x * v)) * np.sum(v))(V)))
    agree(ds.vmap(inner)(X), stacked(ds.grad(lambda x: sum(np.sum(f(x * v)) * np.sum(v) for v in V)), X), 1e-11)
    third = ds.grad(lambda x: np.sum(ds.vmap(ds.grad(lambda y: np.sum(f(y) * f(x))))(X) ** 2))
    agree(third(X[0]), ds.grad(lambda x: sum(np.sum(ds.grad(lambda y: np.sum(f(y) * f(x)))(y) ** 2) for y in X))(X[0]), 1e-11)


@pytest.mark.parametrize("seed", [0, 1, 2, 5, 6, 9])
def test_compiled_batches_and_batches_of_compiled_functions(seed):
    chosen = OPERATIONS[seed], OPERATIONS[seed + 4]               # of those that have code

    def loss(x):
        for step in chosen:
            x = step(x)
        return np.sum(x**2)
    g = ds.grad(loss)
    agree(ds.jit(ds.vmap(g))(X), stacked(g, X))
    agree(ds.vmap(ds.jit(g))(X), stacked(g, X))
    agree(ds.jit(ds.grad(lambda x: np.sum(ds.vmap(ds.jit(g))(x) ** 2)))(X), stacked(ds.grad(lambda x: np.sum(g(x) ** 2)), X))


def test_no_perturbation_confusion_with_batches():
    y = np.array([2.0, 5.0, 7.0])
    assert ds.grad(lambda x: np.sum(ds.vmap(lambda b: x * ds.grad(lambda z: x + z)(b))(y)))(3.0) == 3.0
    agree(ds.vmap(lambda b: ds.grad(lambda x: x * ds.grad(lambda z: x * z * b)(x))(b))(y), 2 * y * y)
    agree(ds.vmap(lambda b: ds.vmap(lambda c: ds.grad(lambda x: x * ds.jvp(lambda z: z * x * c, (b,), (1.0,))[1])(b))(y))(y),
          2 * np.outer(y, y))
    assert ds.jvp(lambda x: np.sum(ds.vmap(lambda b: ds.jvp(lambda z: x * z * z, (b,), (b,))[1])(y)), (3.0,), (1.0,))[1] == 2 * np.sum(y**2)
    outer = ds.vmap(lambda a: np.sum(ds.vmap(lambda b: a * b + a)(y)))(y)        # the inner batch never mixes with the outer one
    agree(outer, y * np.sum(y) + 3 * y)


# ---------------------------------------------------------------- kinds of numbers
def test_single_precision_and_integers_keep_their_dtype():
    x = X.astype(np.float32)
    agree(ds.vmap(lambda v: np.sum(v * 2.0 + 1) * v)(x), stacked(lambda v: np.sum(v * 2.0 + 1) * v, x), 1e-6)
    agree(ds.vmap(lambda i: i * 2 + np.argmax(A[0]))(np.arange(N)), np.arange(N) * 2 + np.argmax(A[0]))
    agree(ds.vmap(lambda b: np.logical_not(b))(np.array([True, False])), np.array([False, True]))
    gradient = ds.grad(lambda v: np.sum(v * np.float64(2.0)) ** 2)
    agree(ds.vmap(gradient)(x), stacked(gradient, x), 1e-6)


def test_complex_members():
    z = X + 1j * V
    f = ds.grad(lambda z: np.sum(np.abs(A @ z) ** 2 + np.real(z * z[::-1])))
    agree(ds.vmap(f)(z), stacked(f, z))
    agree(ds.vmap(lambda z: np.conj(z) * np.angle(z) + np.exp(z))(z), stacked(lambda z: np.conj(z) * np.angle(z) + np.exp(z), z))


def test_members_choose_where_known_numbers_are_written():
    def f(i, x):
        y = np.zeros((3, 2))
        y[i] = 1.5
        np.add.at(y, i, [1.0, 2.0])
        y[i, 1] *= 3.0
        z = np.arange(3.0)
        z[x > 0.9] = -1.0
        return y + np.sum(z * x)
    places = np.array([2, 0, -1, 1])
    agree(ds.vmap(f)(places, X), stacked(f, places, X))
    agree(ds.vmap(ds.jacfwd(f, 1))(places, X), stacked(ds.jacfwd(f, 1), places, X))
    agree(ds.vmap(f)(PLACES, X), stacked(f, PLACES, X))
    agree(ds.jit(f)(PLACES[0], X[0]), f(PLACES[0], X[0]))


def test_a_spoiled_derivative_is_repaired_in_its_member():
    def f(x):
        return np.sum(np.where(x > 0, np.log(x), 0.0)) + 1.0 / x[1]
    points = np.array([[0.0, 1.0], [2.0, 3.0], [0.0, 0.0]])             # 0 * inf in two members, an infinite value in one of them
    with np.errstate(all="ignore"):
        with pytest.warns(StrongZeroWarning):
            wanted = stacked(ds.grad(f), points)
        with pytest.warns(StrongZeroWarning):
            np.testing.assert_array_equal(ds.vmap(ds.grad(f))(points), wanted)
        with pytest.warns(StrongZeroWarning):
            np.testing.assert_array_equal(ds.vmap(ds.vmap(ds.grad(f)))(points[None])[0], wanted)
        with pytest.warns(StrongZeroWarning):
            np.testing.assert_array_equal(ds.grad(lambda x: np.sum(ds.vmap(f)(x)))(points[:2]), wanted[:2])
    assert np.isfinite(wanted).all(1).tolist() == [True, True, False]


def test_a_nan_is_found_in_a_batch():
    with np.errstate(all="ignore"), ds.debug_nans():
        with pytest.raises(NotANumberError, match=r"vmap: `sqrt` gave NaN.*test_vmap.py"):
            ds.vmap(lambda x: np.exp(np.sqrt(x)))(np.array([1.0, -1.0]))
        with pytest.raises(NotANumberError, match=r"`sqrt`.*test_vmap.py"):
            ds.vmap(ds.grad(lambda x: np.exp(np.sqrt(x))))(np.array([1.0, -1.0]))
        agree(ds.vmap(ds.grad(np.sin))(X[0]), np.cos(X[0]))


# ---------------------------------------------------------------- what has no batch rule
def test_a_primitive_without_a_rule_is_computed_one_by_one():
    without = {p.name for p in REGISTRY.values() if p.batch is ONE_BY_ONE}
    assert without >= {p.name for p in (odeint.odeint_p, odeint.adjoint)}
    rules = {name: REGISTRY[name].batch for name in ("reduce_sum", "cumsum", "dot_general")}

    def f(x):
        return np.sum(np.cumsum(np.sin(x) * (A @ x)) ** 2) * x
    try:
        for name in rules:
            REGISTRY[name].batch = ONE_BY_ONE
        got = ds.vmap(f)(X), ds.vmap(ds.jacfwd(f))(X), ds.jit(ds.vmap(ds.jacrev(f)))(X)
        both = ds.vmap(ds.vmap(f))(np.stack([X, X]))
    finally:
        for name, rule in rules.items():
            REGISTRY[name].batch = rule
    agree(got, (stacked(f, X), stacked(ds.jacfwd(f), X), stacked(ds.jacrev(f), X)))
    agree(both, np.stack([stacked(f, X)] * 2))


def rhs(t, y, k):
    return np.stack([-k[0] * y[0] * y[1], k[1] * y[0] - y[1]])


TIMES = np.linspace(0.0, 1.0, 5)
Y0, K = X[:, :2], X[:, 1:]


def states(y0, k):
    return ds.solve_ivp(rhs, (0.0, 1.0), y0, t_eval=TIMES, args=(k,)).y


def misfit(y0, k):
    return np.sum((states(y0, k) - 0.5) ** 2)


def test_batches_of_solves_and_of_their_derivatives():
    agree(ds.vmap(states)(Y0, K), stacked(states, Y0, K))
    gradients = stacked(ds.grad(misfit, (0, 1)), Y0, K)
    agree(ds.vmap(ds.grad(misfit, (0, 1)))(Y0, K), gradients)
    agree(ds.grad(lambda y, k: np.sum(ds.vmap(misfit)(y, k)), (0, 1))(Y0, K), gradients)
    agree(ds.jit(ds.vmap(ds.grad(misfit, (0, 1))))(Y0, K), gradients)
    agree(ds.vmap(ds.jacfwd(states))(Y0, K), stacked(ds.jacfwd(states), Y0, K))
    agree(ds.vmap(ds.hessian(misfit))(Y0, K), stacked(ds.hessian(misfit), Y0, K))
    table = ds.vmap(lambda k: ds.vmap(lambda y: ds.grad(misfit)(y, k))(Y0))(K)
    agree(table, np.stack([[ds.grad(misfit)(y, k) for y in Y0] for k in K]))
    sol = ds.vmap(lambda y0: ds.solve_ivp(rhs, (0.0, 1.0), y0, t_eval=TIMES, args=(K[0],)))(Y0)
    assert sol.success.tolist() == [True] * N
    assert sol.y.shape == (N, 2, 5)
    with pytest.raises(ConcretizationError, match="vmap, solve_ivp needs t_eval"):
        ds.vmap(lambda y0: ds.solve_ivp(rhs, (0.0, 1.0), y0, args=(K[0],)).y)(Y0)


def test_batches_of_solves_that_run_uncompiled():
    def branching(t, y, k):
        return -k * y if t < 0.5 else -2.0 * k * y

    def f(y0):
        return np.sum(ds.solve_ivp(branching, (0.0, 1.0), y0, t_eval=TIMES, args=(0.3,)).y ** 2)
    with pytest.warns(FallbackWarning, match="branching"):
        wanted = stacked(f, Y0)
    agree(ds.vmap(f)(Y0), wanted)
    agree(ds.vmap(ds.grad(f))(Y0), stacked(ds.grad(f), Y0))


def test_a_batch_inside_a_right_hand_side():
    def batched(t, y):
        return ds.vmap(lambda a, b: np.tanh(a @ y) - b)(A[:, :2], y[[0, 1, 0]])[:2]

    def plain(t, y):
        return np.tanh(A[:, :2] @ y)[:2] - y
    f, g = (ds.grad(lambda y0, rhs=rhs: np.sum(ds.solve_ivp(rhs, (0.0, 1.0), y0, t_eval=TIMES).y ** 2)) for rhs in (batched, plain))
    agree(f(Y0[0]), g(Y0[0]), 1e-9)


@pytest.mark.filterwarnings("ignore::diffsim.errors.FallbackWarning")
def test_an_index_without_a_branch_is_refused_for_any_member():
    def f(i, x):
        return ds.switch(i, [np.sin, np.cos, np.exp], x)

    ones = np.ones(2)
    for verb in (ds.vmap(f), ds.vmap(ds.grad(f, argnums=1)), ds.jit(ds.vmap(f))):
        np.testing.assert_array_equal(np.isfinite(verb(np.array([0, 2]), ones)), True)
        for bad in (-1, 3):
            with pytest.raises(IndexError, match=rf"test_vmap\.py.*switch: index {bad}"):
                verb(np.array([0, bad]), ones)


def test_choices_and_loops_of_no_members():
    none = np.zeros(0)
    for f in (lambda x: ds.cond(x < 3, np.sin, np.cos, x), lambda x: ds.while_loop(lambda c: c < 3, lambda c: 2 * c + 1, x)):
        assert ds.vmap(f)(none).shape == ds.vmap(ds.grad(f))(none).shape == (0,)


# ---------------------------------------------------------------- what is the same for all members
def test_random_draws_shared_by_all_members_are_announced():
    rng = np.random.default_rng(0)

    def noisy(x):
        return x + rng.normal()

    def legacy(x):
        return x + np.random.rand()                         # noqa: NPY002  (what is tested)
    for f, name in ((noisy, "normal"), (legacy, r"np\.random\.rand")):
        with pytest.warns(ds.errors.DiffsimWarning, match=f"once for all members, and it reads `{name}`"):
            y = ds.vmap(f)(np.zeros(3))
        assert y[0] == y[1] == y[2]
        ds.vmap(f)(np.zeros(3))                             # said once
    noise = rng.normal(size=3)
    np.testing.assert_array_equal(ds.vmap(lambda x, e: x + e)(np.zeros(3), noise), noise)

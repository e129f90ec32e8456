"""Graph passes: each keeps the meaning of a graph and does what its name says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import diffsim as ds
from diffsim.codegen.program import Program
from diffsim.core import REGISTRY, Aval, Const, eval_graph
from diffsim.passes import PASSES, cse, dce, early, finished, fold, optimise, simplify, sink
from diffsim.prims import contract
from diffsim.prims import elementwise as e
from diffsim.prims import layout as la
from diffsim.transforms import linearize, pull, trace

FLOAT = np.dtype(np.float64)


def graph_of(f, *shapes):
    return trace(f, [Aval(s, FLOAT) for s in shapes])[0]


def names(graph):
    return [eqn.prim.name for eqn in graph.eqns]


# ---------------------------------------------------------------- each pass
def test_equal_equations_are_computed_once():
    graph = cse(graph_of(lambda x: [e.add(e.mul(e.sin(x), e.sin(x)), e.mul(e.sin(x), e.sin(x)))], (3,)).verify())
    assert names(graph.verify()) == ["sin", "mul", "add"]


def test_equations_that_differ_in_a_param_or_a_constant_stay_apart():
    def f(x):
        a = la.reduce_sum(x, axes=(0,))
        b = la.reduce_sum(x, axes=(1,))
        return [e.add(e.mul(a, 0.0), e.mul(b, -0.0)), e.integer_pow(a, n=2), e.integer_pow(a, n=3)]

    graph = graph_of(f, (2, 2))
    assert cse(graph) is graph


def test_what_no_output_needs_is_dropped():
    graph = dce(graph_of(lambda x: [e.exp(x), e.sin(e.cos(x))][:1], (3,)))
    assert names(graph.verify()) == ["exp"]


def test_constants_are_folded_up_to_a_size():
    def f(x):
        return [e.add(x, e.exp(e.mul(np.arange(3.0), 2.0)))]

    graph = fold(graph_of(f, (3,)))
    traced = graph_of(lambda x: [e.add(x, REGISTRY["exp"](e.add(la.reduce_sum(np.ones(3), axes=(0,)), e.mul(x, 0.0))))], (3,))
    assert names(graph.verify()) == ["add"]
    assert fold(traced) is traced  # 0 * x is not a constant: x may be infinite


def test_a_program_of_constants_becomes_its_value():
    from diffsim.core import Eqn, Graph, Var  # noqa: PLC0415

    out = Var(Aval((), FLOAT))
    graph = fold(Graph([], [Eqn(e.exp, [Const(np.float64(1.0))], {}, [out])], [out]).verify())
    assert graph.eqns == []
    assert graph.outputs[0].value == np.exp(1.0)


PART, LATER = la.basic((3,), (slice(1, 3),)), la.basic((5,), (slice(4, 1, -1),))
IDENTITIES = {
    "x + -0": lambda x: e.add(x, -0.0),
    "-0 + x": lambda x: e.add(-np.zeros(3), x),
    "x - 0": lambda x: e.sub(x, 0.0),
    "x * 1": lambda x: e.mul(1.0, x),
    "x / 1": lambda x: e.div(x, 1.0),
    "--x": lambda x: e.neg(e.neg(x)),
    "x ** 1": lambda x: e.integer_pow(x, n=1),
    "same shape": lambda x: la.reshape(la.broadcast_to(la.convert(x, dtype=FLOAT), shape=(3,)), shape=(3,)),
    "there and back": lambda x: la.reshape(la.reshape(x, shape=(3, 1)), shape=(3,)),
    "whole slice": lambda x: la.index(x, at=la.basic((3,), (slice(None),))),
    "join of one": lambda x: la.concatenate(x, axis=0),
    "a choice between equals": lambda x: e.where(e.less(x, 0.0), x, x),
    "x * ones": lambda x: e.mul(x, la.broadcast_to(la.reshape(np.ones(1), shape=()), shape=(3,))),
    "real of what is real": lambda x: REGISTRY["real"](REGISTRY["conj"](x)),
    "what was put there": lambda x: la.index(la.index_set(np.zeros(5), x, at=LATER), at=LATER),
    "what was embedded": lambda x: la.index(la.embed(x, shape=(5,), at=LATER), at=LATER),
    "put where it is": lambda x: la.index_set(x, la.index(x, at=PART), at=PART),
    "cut out and put back": lambda x: e.add(la.embed(la.index(x, at=PART), shape=(3,), at=PART), la.index_set(x, np.zeros(2), at=PART)),
    "sum over nothing": lambda x: la.reduce_sum(x, axes=()),
    "transposed twice": lambda x: la.reshape(la.transpose(la.transpose(la.reshape(x, shape=(3, 1)), axes=(1, 0)), axes=(1, 0)), shape=(3,)),
}


@pytest.mark.parametrize("f", [lambda x: e.add(x, 0.0), lambda x: e.add(np.zeros(3), x), lambda x: e.sub(x, -0.0)])
def test_a_zero_added_to_minus_zero_stays(f):
    graph = optimise(graph_of(lambda x: [f(x)], (3,)))
    assert len(graph.eqns) == 1
    x = np.array([-0.0, 0.0, 1.0])
    np.testing.assert_array_equal(np.signbit(ds.jit(f)(x)), [False, False, False])


@pytest.mark.parametrize("f", [lambda x: e.exp(x), lambda x: e.absolute(x), lambda x: e.mul(x, x), lambda x: e.integer_pow(x, n=2)])
def test_a_zero_added_to_what_is_never_minus_zero_vanishes(f):
    assert len(optimise(graph_of(lambda x: [e.add(f(x), 0.0)], (3,))).eqns) == 1


@pytest.mark.parametrize("f", IDENTITIES.values(), ids=IDENTITIES)
def test_identities_vanish(f):
    graph = optimise(graph_of(lambda x: [f(x)], (3,)))
    assert graph.verify().eqns == []
    assert graph.outputs == graph.inputs


REWRITES = {
    "a + -b": (lambda x, y: e.add(x, e.neg(y)), ["sub"]),
    "-a + b": (lambda x, y: e.add(e.neg(x), y), ["sub"]),
    "a - -b": (lambda x, y: e.sub(x, e.neg(y)), ["add"]),
    "-a * -b": (lambda x, y: e.mul(e.neg(x), e.neg(y)), ["mul"]),
    "-1 * a + b": (lambda x, y: e.add(e.mul(-1.0, x), y), ["sub"]),
}


def take(x, at):
    return la.index(x, at=at)


def put(x, at):
    return la.embed(x, shape=(3,), at=at)


FIRST = la.basic((3,), (slice(0, 2),))
FILLED = {
    "emptied, then filled": (lambda x, y: e.add(la.index_set(x, np.zeros(2), at=PART), put(take(y, FIRST), PART)), "index_set"),
    "back into a summand": (lambda x, y: e.add(e.add(y, la.index_set(x, np.zeros(2), at=PART)), put(take(x, PART), PART)), "add"),
    "written twice": (lambda x, y: la.index_set(la.index_set(x, take(y, PART), at=PART), take(y, FIRST), at=PART), "index_set"),
    "another place": (lambda x, y: e.add(la.index_set(x, np.zeros(2), at=PART), put(take(x, FIRST), FIRST)), "add"),
}


@pytest.mark.parametrize(("f", "last"), FILLED.values(), ids=FILLED)
def test_what_is_cut_out_and_put_back_stays(f, last, rng):
    graph = graph_of(lambda x, y: [f(x, y)], (3,), (3,))
    better = optimise(graph).verify()
    assert names(better)[-1] == last
    x, y = rng.normal(size=(2, 3))
    np.testing.assert_array_equal(eval_graph(better, x, y)[0], eval_graph(graph, x, y)[0])


def test_the_adjoint_of_an_update_in_place_holds_no_repairs():
    """What flows into ``y`` through ``y[1:] += v`` is itself: nothing is emptied and filled again."""
    def loss(u):
        y = u.copy()
        v = u[1:] * u[:-1]
        y[1:] += v
        y[:-1] -= v
        return np.sum(y**2)
    u = np.arange(1.0, 9.0)
    graph = finished(ds.make_graph(ds.grad(loss))(u))
    assert names(graph).count("index_set") == 2              # of the function itself
    np.testing.assert_allclose(eval_graph(graph, u)[0], ds.grad(loss)(u), rtol=1e-15)


@pytest.mark.parametrize(("f", "want"), REWRITES.values(), ids=REWRITES)
def test_signs_are_absorbed(f, want, rng):
    graph = graph_of(lambda x, y: [f(x, y)], (3,), (3,))
    better = optimise(graph).verify()
    assert names(better) == want
    x, y = rng.normal(size=(2, 3))
    np.testing.assert_array_equal(eval_graph(better, x, y)[0], eval_graph(graph, x, y)[0])


KEPT = {
    "0 * x": lambda x: e.mul(x, 0.0),
    "x - x": lambda x: e.sub(x, x),
    "x / x": lambda x: e.div(x, x),
    "sum is not the array": lambda x: la.reduce_sum(x, axes=(0,)),
    "broadcasting zero": lambda x: e.add(x, np.zeros((2, 3))),
    "a product with repeated numbers that are not one": lambda x: e.mul(x, np.array([1.0, 1.0, 2.0])),
    "a reversed slice": lambda x: la.index(x, at=la.basic((3,), (slice(None, None, -1),))),
}


@pytest.mark.parametrize("f", KEPT.values(), ids=KEPT)
def test_what_holds_for_some_values_only_is_not_rewritten(f):
    graph = graph_of(lambda x: [f(x)], (3,))
    assert simplify(graph) is graph


def test_nothing_to_do_returns_the_graph_itself():
    graph = graph_of(lambda x, y: [e.add(x, e.sin(y))], (3,), (3,))
    assert optimise(graph) is graph


# ---------------------------------------------------------------- random graphs
SHAPE = (2, 2)
ROW, COLUMN, BACKWARDS = (la.basic(SHAPE, key) for key in ((0, slice(None)), (slice(None), 1), (slice(None), slice(None, None, -1))))
MIDDLE = la.basic((4, 2), (slice(1, 3), slice(None)))
UNARY = [
    e.sin,
    e.neg,
    e.absolute,
    e.square,
    lambda x: e.exp(e.minimum(x, 1.0)),
    lambda x: e.integer_pow(x, n=3),
    lambda x: la.transpose(x, axes=(1, 0)),
    lambda x: la.reshape(x, shape=SHAPE),
    lambda x: la.index(x, at=BACKWARDS),
    lambda x: la.cumsum(x, axis=0, reverse=False),
    lambda x: la.broadcast_to(la.reduce_sum(x, axes=(1,)), shape=SHAPE),
    lambda x: la.embed(la.index(x, at=ROW), shape=SHAPE, at=COLUMN),
]
BINARY = [
    e.add,
    e.sub,
    e.mul,
    e.maximum,
    lambda x, y: e.where(e.less(x, y), x, y),
    lambda x, y: e.div(x, e.add(e.square(y), 1.0)),
    lambda x, y: la.index(la.concatenate(x, la.broadcast_to(y, shape=SHAPE), axis=0), at=MIDDLE),
]
CONSTANTS = [0.0, 1.0, -1.0, 2.0, np.array([[0.0, 1.0], [0.5, -2.0]])]
step = st.one_of(st.tuples(st.integers(0, len(UNARY) - 1), st.integers(0, 9)),
                 st.tuples(st.integers(0, len(BINARY) - 1), st.integers(0, 9), st.integers(0, 9)),
                 st.tuples(st.integers(0, len(BINARY) - 1), st.integers(0, 9), st.sampled_from(range(-len(CONSTANTS), 0))))  # fmt: skip


def program(steps):
    """A function of two 2 x 2 matrices made of steps that read earlier values or constants."""

    def f(x, y):
        values = [x, y]
        for which, *reads in steps:
            operands = [CONSTANTS[r] if r < 0 else values[r % len(values)] for r in reads]
            values.append((UNARY if len(operands) == 1 else BINARY)[which](*operands))
        return values[-2:]

    return f


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(step, min_size=1, max_size=8))
def test_random_graphs_keep_their_values_through_every_pass_and_through_compilation(steps):
    f = program(steps)
    rng = np.random.default_rng(len(steps))
    x = rng.uniform(-1, 1, (4, 2, 2))

    def both(x, y, v, w):
        value, equations, outputs = linearize(f, [x, y], [True, True], "vjp")
        bars = pull(equations, [v, w], outputs, 2)
        return [*value, *[np.zeros((2, 2)) if b is None else b for b in bars]]

    graph = graph_of(both, *[(2, 2)] * 4).verify()
    want = eval_graph(graph, *x)
    for each in PASSES:
        for got, exact in zip(eval_graph(each(graph).verify(), *x), want, strict=True):
            np.testing.assert_array_equal(got, exact)
    optimised = optimise(graph).verify()
    for unroll in (None, 0):
        for got, exact in zip(Program(optimised, unroll)(*x), want, strict=True):
            np.testing.assert_allclose(got, exact, rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------- transposes
def along_columns(x, y):
    """Written for the first axis, run along the second, as ``np.moveaxis`` is used."""
    a, b = la.transpose(x, axes=(1, 0)), la.transpose(y, axes=(1, 0))
    rows = la.basic((4, 3), (slice(1, 4), slice(None)))
    less = la.basic((4, 3), (slice(0, 3), slice(None)))
    flux = e.mul(e.sin(e.sub(la.index(a, at=rows), la.index(a, at=less))), la.index(b, at=rows))
    new = la.index_set(a, e.add(la.index(a, at=less), flux), at=less)
    new = e.add(new, la.embed(e.mul(flux, 2.0), shape=(4, 3), at=rows))
    line = la.index(new, at=la.basic((4, 3), (1, slice(None))))
    return [la.transpose(new, axes=(1, 0)), line, e.mul(new, np.arange(12.0).reshape(4, 3))]


def test_transposes_move_behind_what_is_computed():
    graph = graph_of(along_columns, (3, 4), (3, 4))
    better = optimise(graph).verify()
    assert sum(name == "transpose" for name in names(better)) == 1             # of the output that is wanted transposed
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    for got, want in zip(eval_graph(better, x, y), eval_graph(graph, x, y), strict=True):
        np.testing.assert_array_equal(got, want)


def test_transposes_of_three_axes_move_behind_indices_that_take_axes_away():
    def f(x):
        y = la.transpose(x, axes=(2, 0, 1))
        plane, one = la.basic((4, 2, 3), (slice(None, None, -1), 1, slice(0, 2))), la.basic((4, 2, 3), (2, 1, 0))
        return [e.cos(la.index(y, at=plane)), e.exp(la.index(y, at=one))]
    graph = graph_of(f, (2, 3, 4))
    better = sink(graph).verify()
    assert names(better)[-3:] != names(graph)[-3:]
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    for got, want in zip(eval_graph(better, x), eval_graph(graph, x), strict=True):
        np.testing.assert_array_equal(got, want)


def test_operands_that_lie_otherwise_keep_transposes_where_they_are():
    def f(x, y):
        return [e.add(la.transpose(x, axes=(1, 0)), y)]
    graph = graph_of(f, (3, 3), (3, 3))
    assert sink(graph) is graph


# ---------------------------------------------------------------- sums before products
def product_of(a, b):
    """A product of members 0: of (2, 3, 4, 5) and (5, 2, 6) over the axis of 5; (2, 3, 4, 6)."""
    return contract.dot_general(a, b, contract=((3,), (0,)), batch=((0,), (1,)))


SCALES = np.random.default_rng(6).uniform(1, 2, size=(2, 1, 1, 6))
SUMS = {
    "of the first operand": (lambda a, b: la.reduce_sum(product_of(a, b), axes=(1,)), (2, 4, 6)),
    "of all its free axes": (lambda a, b: la.reduce_sum(product_of(a, b), axes=(1, 2)), (2, 6)),
    "of the second operand": (lambda a, b: la.reduce_sum(product_of(a, b), axes=(3,)), (2, 3, 4)),
    "of both": (lambda a, b: la.reduce_sum(product_of(a, b), axes=(2, 3)), (2, 3)),
    "turned": (lambda a, b: la.reduce_sum(la.transpose(product_of(a, b), axes=(2, 0, 3, 1)), axes=(0,)), (2, 6, 3)),
    "turned, negated, turned": (lambda a, b: la.reduce_sum(
        la.transpose(e.neg(la.transpose(product_of(a, b), axes=(3, 1, 2, 0))), axes=(2, 3, 0, 1)), axes=(2,)), (4, 2, 3)),
    "scaled": (lambda a, b: la.reduce_sum(e.mul(SCALES, e.div(product_of(a, b), 3.0)), axes=(1, 2)), (2, 6)),
    "divided": (lambda a, b: la.reduce_sum(e.mul(e.div(product_of(a, b), SCALES[0, 0, 0]), 2.0), axes=(1,)), (2, 4, 6)),
}  # fmt: skip


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_of_a_product_is_taken_of_its_operands(name):
    f, shape = SUMS[name]
    graph = graph_of(lambda a, b: [f(a, b)], (2, 3, 4, 5), (5, 2, 6))
    better = early(graph).verify()
    assert [x.aval.size for eqn in dce(better).eqns if eqn.prim.name == "dot_general" for x in eqn.outputs] == [np.prod(shape)]
    assert names(dce(better))[-1] != "reduce_sum"
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(5, 2, 6))
    (got,), (want,) = eval_graph(better, a, b), eval_graph(graph, a, b)
    assert got.shape == shape
    np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("f", [
    lambda y: [la.reduce_sum(y, axes=(1,)), y],                                 # the product itself is wanted
    lambda y: [la.reduce_sum(y, axes=(1,)), e.sin(y)],
    lambda y: [la.reduce_sum(e.sin(y), axes=(1,))],
    lambda y: [la.reduce_sum(y, axes=(0,))],                                    # members: summed where they are
    lambda y: [la.reduce_sum(e.mul(y, SCALES), axes=(3,))],                     # what is summed is not scaled alike
    lambda y: [la.reduce_sum(e.div(2.0, y), axes=(1,))],
])  # fmt: skip
def test_sums_stay_behind_products_that_are_needed(f):
    graph = graph_of(lambda a, b: f(product_of(a, b)), (2, 3, 4, 5), (5, 2, 6))
    assert early(graph) is graph


def test_sums_of_short_numbers_stay_behind_products_of_longer_ones():
    avals = [Aval((30, 4), np.dtype(np.float32)), Aval((4, 5), FLOAT)]
    graph = trace(lambda a, b: [la.reduce_sum(contract.dot_general(a, b, contract=((1,), (0,)), batch=((), ())), axes=(0,))], avals)[0]
    assert early(graph) is graph


def test_a_mean_taken_from_points_costs_no_product_in_the_gradient():
    """Of sum(sin((x - m) / w F)), a point a row: the derivative by m is a vector of sums times F, not a product a point."""
    rng = np.random.default_rng(2)
    x, by = rng.normal(size=(400, 20)), ds.jit(ds.grad(lambda m, factor: np.sum(np.sin((x - m) / width @ factor))))
    m, width, factor = rng.normal(size=20), rng.uniform(1, 2, size=20), rng.normal(size=(20, 20))
    np.testing.assert_allclose(by(m, factor), -(np.cos((x - m) / width @ factor) @ factor.T / width).sum(axis=0), rtol=1e-12)
    shapes = [eqn.outputs[0].aval.shape for eqn in finished(by.graph).eqns if eqn.prim.name == "dot_general"]
    assert sorted(shapes) == [(20,), (400, 20)]

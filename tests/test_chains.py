"""Products of several matrices and vectors: associated so that they cost least, where that is a clear gain."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import diffsim as ds
import diffsim.numpy
from diffsim.core import Aval, eval_graph
from diffsim.passes import PASSES, chains, cse, finished, optimise
from diffsim.prims import layout as la
from diffsim.prims.contract import dot_general
from diffsim.transforms import trace

FLOAT = np.dtype(np.float64)


def dot(x, y, i=None, j=0):
    """Sum over the last axis of x and the first of y, or those given."""
    return dot_general(x, y, contract=((len(x.shape) - 1 if i is None else i,), (j,)), batch=((), ()))


def outer(x, y):
    return dot_general(x, y, contract=((), ()), batch=((), ()))


def graph_of(f, *shapes, dtype=FLOAT):
    return trace(f, [Aval(s, np.dtype(dtype)) for s in shapes])[0]


def multiplications(graph):
    """Counted here from shapes: elements of each product's value, times the length of the axis summed over."""
    total = 0
    for eqn in graph.eqns:
        if eqn.prim.name != "dot_general":
            continue
        a, axes = eqn.inputs[0].aval, eqn.params["contract"][0]
        total += eqn.outputs[0].aval.size * int(np.prod([a.shape[i] for i in axes]))
    return total


def check(graph, cost, rng, rtol=1e-13):
    """One run of the pass: the cost told, the values kept, nothing found the second time."""
    better = cse(chains(graph).verify()).verify()
    assert multiplications(better) == cost
    x = [rng.uniform(0.5, 1.5, v.aval.shape).astype(v.aval.dtype) for v in graph.inputs]
    for got, want in zip(eval_graph(better, *x), eval_graph(graph, *x), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=rtol)
    assert chains(better) is better
    return better


CASES = {
    "(A B) x": (lambda a, b, x: [dot(dot(a, b), x)], [(9, 9), (9, 9), (9,)], 162),
    "x (A B)": (lambda x, a, b: [dot(x, dot(a, b))], [(9,), (9, 8), (8, 7)], 128),
    "(A B)' x": (lambda a, b, x: [dot(dot(a, b), x, 0)], [(6, 5), (5, 4), (6,)], 50),
    "(A' B) x": (lambda a, b, x: [dot(dot(a, b, 0), x)], [(5, 6), (5, 4), (4,)], 50),
    "(A B') x": (lambda a, b, x: [dot(dot(a, b, j=1), x)], [(6, 5), (4, 5), (4,)], 50),
    "((A B) C) x": (lambda a, b, c, x: [dot(dot(dot(a, b), c), x)], [(7, 7)] * 3 + [(7,)], 147),
    "(A B) (C x), from two sides": (lambda a, b, c, x: [dot(dot(a, b), dot(c, x))], [(7, 7)] * 3 + [(7,)], 147),
    "(x y') B": (lambda x, y, b: [dot(outer(x, y), b)], [(8,), (7,), (7, 6)], 90),
    "(x y') z": (lambda x, y, z: [dot(outer(x, y), z)], [(8,), (7,), (7,)], 15),
    "tall, wide, tall": (lambda a, b, c: [dot(dot(a, b), c)], [(30, 2), (2, 30), (30, 2)], 240),
    "a bilinear form of a product": (lambda x, a, b, y: [dot(dot(x, dot(a, b)), y)], [(8,), (8, 8), (8, 8), (8,)], 136),
}


@pytest.mark.parametrize(("f", "shapes", "cost"), CASES.values(), ids=CASES)
def test_chains_are_associated_by_cost(f, shapes, cost, rng):
    check(graph_of(f, *shapes), cost, rng)
    check(graph_of(f, *shapes, dtype=np.float32), cost, rng, 1e-5)


def with_product(a, b, x):
    p = dot(a, b)
    return [dot(p, x), p]


KEPT = {
    "best as it is": (lambda a, b, x: [dot(a, dot(b, x))], [(9, 9), (9, 9), (9,)]),
    "less than half is saved": (lambda a, b, c: [dot(dot(a, b), c)], [(4, 4), (4, 4), (4, 3)]),
    "the product is wanted too": (with_product, [(9, 9), (9, 9), (9,)]),
    "something stands between": (lambda a, b, x: [dot(np.exp(dot(a, b)), x)], [(9, 9), (9, 9), (9,)]),
    "nothing to multiply": (lambda a, b, x: [dot(dot(a, b), x)], [(0, 9), (9, 9), (9,)]),
    "three axes": (lambda a, b, x: [dot(dot(a, b), x)], [(2, 3, 9), (9, 9), (9,)]),
    "whole numbers": (lambda a, b: [dot(dot(la.convert(a, dtype=np.dtype(int)), la.convert(a, dtype=np.dtype(int))), b)], [(9, 9), (9,)]),
}


@pytest.mark.parametrize(("f", "shapes"), KEPT.values(), ids=KEPT)
def test_other_products_stay(f, shapes):
    graph = graph_of(f, *shapes)
    assert chains(graph) is graph


def test_a_product_that_must_be_computed_is_computed_once():
    def f(a, b, x):
        p = dot(a, b)
        return [dot(p, x), dot(dot(p, p), x), np.exp(p)]

    better = chains(graph_of(f, (9, 9), (9, 9), (9,))).verify()
    assert multiplications(better) == 9**3 + 3 * 9**2


def test_a_product_that_only_vectors_meet_is_not_computed(rng):
    def f(a, b, x, y):
        p = dot(a, b)
        return [dot(p, x), dot(y, p), dot(dot(p, p), x)]

    check(graph_of(f, (30, 30), (30, 30), (30,), (30,)), 6 * 30**2, rng)        # p x is also what p multiplies again


def test_a_product_within_products_is_associated_by_itself_too(rng):
    def f(a, b, x, c):
        p = dot(dot(a, b), x)
        return [dot(p, c), dot(c, p)]

    check(graph_of(f, (9, 9), (9, 9), (9,), (9, 9)), 4 * 9**2, rng)


def test_where_one_reader_needs_the_product_all_have_it(rng):
    def f(a, b, c, x):
        p = dot(a, b)
        return [dot(p, x), dot(p, c)]

    graph = graph_of(f, (9, 9), (9, 9), (9, 9), (9,))
    assert chains(graph) is graph


ends = st.lists(st.integers(1, 12), min_size=4, max_size=8)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(ends, st.booleans(), st.booleans(), st.data())
def test_random_chains_cost_what_the_best_order_costs_or_stay_within_twice_that(sizes, first, last, data):
    """Against an exhaustive search of all associations; operands lie transposed or not, vectors may stand at the ends."""
    n = len(sizes) - 1
    sizes = [1 if (i == 0 and first) or (i == n and last) else s for i, s in enumerate(sizes)]
    turned = [data.draw(st.booleans()) for _ in range(n)]
    shapes = [(b, a) if t else (a, b) for a, b, t in zip(sizes[:-1], sizes[1:], turned, strict=True)]
    if first:
        shapes[0], turned[0] = sizes[1:2], False
    if last:
        shapes[-1], turned[-1] = sizes[-2:-1], False

    def order(i, j):
        """A random association of operands i to j: nested pairs."""
        if i == j:
            return i
        k = data.draw(st.integers(i, j - 1))
        return order(i, k), order(k + 1, j)

    tree = order(0, n - 1)

    def f(*x):
        def value(t):
            if type(t) is int:
                y = x[t]
                return la.transpose(y, axes=(1, 0)) if turned[t] else y
            return dot(value(t[0]), value(t[1]))
        return [value(tree)]

    def least(i, j):
        if i == j:
            return 0
        return min(least(i, k) + least(k + 1, j) + sizes[i] * sizes[k + 1] * sizes[j + 1] for k in range(i, j))

    graph = optimise(graph_of(f, *map(tuple, shapes))).verify()
    now, best = multiplications(graph), least(0, n - 1)
    check(graph, best if now > best and now >= 2 * best else now, np.random.default_rng(n))


def test_long_chains_are_looked_at_in_pieces():
    def f(x, *a):
        for each in a:
            x = dot(x, each)
        return [dot(x, np.ones(3))]

    graph = graph_of(f, (3, 3), *[(3, 3)] * 60)
    better = finished(graph).verify()
    assert multiplications(graph) == 60 * 27 + 9
    assert multiplications(better) < multiplications(graph) / 2
    x = [np.random.default_rng(i).normal(size=(3, 3)) for i in range(61)]
    np.testing.assert_allclose(eval_graph(better, *x)[0], eval_graph(graph, *x)[0], rtol=1e-8)


# ---------------------------------------------------------------- as users meet it
def loss(a, b, x):
    return np.sum(np.sin(a @ b @ x))


def test_a_gradient_of_a_product_with_a_vector_multiplies_no_matrices(rng, monkeypatch):
    x = rng.normal(size=(30, 30)), rng.normal(size=(30, 30)), rng.normal(size=30)
    gradient = ds.grad(loss, argnums=(0, 1, 2))
    graph = ds.make_graph(gradient)(*x)
    assert multiplications(finished(graph)) == 6 * 30**2                    # B x, A (B x), back through both, two outer products
    got = ds.jit(gradient)(*x)
    monkeypatch.setenv("DIFFSIM_WITHOUT", "chains")
    assert multiplications(finished(graph)) > 3 * 30**3
    for one, other, eager in zip(got, ds.jit(ds.grad(loss, argnums=(0, 1, 2)))(*x), gradient(*x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-11)
        np.testing.assert_allclose(one, eager, rtol=1e-10, atol=1e-11)


def test_association_is_left_alone_until_code_is_generated():
    assert chains not in PASSES
    graph = graph_of(lambda a, b, x: [dot(dot(a, b), x)], (9, 9), (9, 9), (9,))
    assert optimise(graph) is graph
    assert multiplications(finished(graph).verify()) == 162

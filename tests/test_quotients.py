"""Divisions that derivatives repeat become products; others stay."""

from collections import Counter

import numpy as np
import pytest

from diffsim.core import Aval, eval_graph
from diffsim.passes import finished, optimise, quotients
from diffsim.prims.elementwise import add, div, mul, neg, sqrt
from diffsim.transforms import forward, linearize, pull, trace

FLOAT = np.dtype(np.float64)


def graph_of(f, *shapes):
    return trace(f, [Aval(s, FLOAT) for s in shapes])[0]


def count(graph):
    return Counter(e.prim.name for e in graph.eqns)


def force(m, x):
    """m x / |x|^3, as between bodies."""
    r2 = mul(x, x)
    return div(mul(m, x), mul(r2, sqrt(r2)))


def tangent(m, x, v):
    return forward.jvp(lambda m, x: [force(m, x)], [m, x], [v, v])[1]


def cotangents(m, x, w):
    _, equations, outputs = linearize(lambda m, x: [force(m, x)], [m, x], [True, True], "a test")
    return pull(equations, [w], outputs, 2)


@pytest.mark.parametrize("derivative", [tangent, cotangents])
def test_the_force_between_bodies_is_differentiated_with_two_divisions(derivative, rng):
    graph = graph_of(derivative, (7,), (7,), (7,))
    better = finished(graph).verify()
    assert count(optimise(graph))["div"] >= 4
    assert count(better)["div"] == 2
    x = rng.uniform(0.5, 2.0, (3, 7))
    for got, want in zip(eval_graph(better, *x), eval_graph(graph, *x), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-15)


@pytest.mark.parametrize("f", [
    lambda x, a: div(mul(x, a), sqrt(x)), lambda x, a: add(div(a, x), div(x, x)), lambda x, a: div(div(a, x), x),
    lambda x, a: add(div(div(x, a), x), div(1.0, a)), lambda x, a: mul(a, div(0.5, sqrt(x))),
])  # fmt: skip
def test_other_quotients_stay(f):
    graph = optimise(graph_of(lambda x, a: [f(x, a)], (5,), (5,)))
    assert quotients(graph) is graph


@pytest.mark.parametrize(("f", "exact"), [
    (lambda x, a: mul(x, div(0.5, sqrt(x))), lambda x, a: 0.5 * np.sqrt(x)),
    (lambda x, a: mul(div(0.5, sqrt(x)), x), lambda x, a: 0.5 * np.sqrt(x)),
    (lambda x, a: mul(mul(a, x), div(0.5, sqrt(x))), lambda x, a: a * 0.5 * np.sqrt(x)),
    (lambda x, a: mul(mul(x, a), div(0.5, sqrt(x))), lambda x, a: a * 0.5 * np.sqrt(x)),
    (lambda x, a: mul(x, mul(a, div(0.5, sqrt(x)))), lambda x, a: a * 0.5 * np.sqrt(x)),
    (lambda x, a: mul(mul(div(0.5, sqrt(x)), a), x), lambda x, a: a * 0.5 * np.sqrt(x)),
])  # fmt: skip
def test_a_number_times_the_slope_of_its_root_takes_no_division(f, exact, rng):
    graph = optimise(graph_of(lambda x, a: [f(x, a)], (5,), (5,)))
    better = finished(graph).verify()
    assert count(better)["div"] == 0
    x, a = rng.uniform(0.5, 2.0, (2, 5))
    np.testing.assert_allclose(eval_graph(better, x, a)[0], exact(x, a), rtol=1e-15)
    assert eval_graph(better, np.zeros(5), a)[0].tolist() == [0.0] * 5


def test_quotients_of_either_sign_are_divided_again_by_a_product(rng):
    graph = optimise(graph_of(lambda a, b: [div(1.0, b), div(div(a, b), b), div(neg(div(a, b)), b)], (5,), (5,)))
    better = finished(graph).verify()
    assert count(graph)["div"] == 4
    assert count(better)["div"] == 2
    a, b = rng.uniform(0.5, 2.0, (2, 5))
    for got, want in zip(eval_graph(better, a, b), (1 / b, a / b / b, -a / b / b), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-15)

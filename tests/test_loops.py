"""Loops that compiled programs are made of: how many, what they move, that fusing, shrinking and peeling keep every value."""

import os
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import diffsim as ds
from diffsim import passes
from diffsim.codegen.count import counted
from diffsim.codegen.fusion import lowered
from diffsim.codegen.nest import Loop, blocks
from diffsim.core import switches
from diffsim.errors import InputError

N = 1000
rng = np.random.default_rng(7)


def body(f, *args):
    return lowered(ds.make_graph(f, optimised=True)(*args))[1]


def loops(block):
    """Loops at the outermost level."""
    return [s for s in block.statements if type(s) is Loop]


def innermost(block):
    found = [loop for s in block.statements for inner in blocks(s) for loop in innermost(inner)]
    return found + [s for s in block.statements if type(s) is Loop and not any(type(x) is Loop for x in s.body.statements)]


def rosenbrock(x):
    a, b = x[:-1], x[1:]
    return (100 * (b - a * a) ** 2 + (1 - a) ** 2).sum()


# ---------------------------------------------------------------- counted costs
@pytest.mark.parametrize("f", [ds.grad(rosenbrock), ds.value_and_grad(rosenbrock), lambda x: ds.jvp(ds.grad(rosenbrock), (x,), (x,))[1]])
def test_rosenbrocks_derivatives_are_one_nest_without_memory_of_their_own(f):
    n = 100_000
    nest = body(f, rng.normal(size=n))
    assert len(loops(nest)) == 1
    assert counted(nest)[1] <= 8 * (4 * n + 40)             # three reads of x, one result


def chain(x, n=30):
    y = x
    for i in range(n):
        y = np.sin(y) if i % 7 == 6 else y * x if i % 2 else y + 0.5
    return y


def test_a_chain_of_elementwise_operations_moves_two_arrays():
    assert counted(body(chain, rng.normal(size=N)))[1] == 16 * N


def test_the_gradient_of_a_chain_moves_two_arrays():
    assert counted(body(ds.grad(lambda x: np.sum(chain(x))), rng.normal(size=N)))[1] == 16 * N


def test_a_value_and_its_gradient_share_one_sweep():
    nest = body(ds.value_and_grad(lambda x, y: np.mean((x - y) ** 2)), *rng.normal(size=(2, N)))
    assert len(loops(nest)) == 1
    assert counted(nest)[1] == 8 * (3 * N + 1)


def test_sums_over_the_same_arrays_are_one_loop():
    nest = body(lambda x, y: np.dot(x, y) / np.sqrt(np.dot(x, x) * np.dot(y, y)), *rng.normal(size=(2, N)))
    assert len(loops(nest)) == 1
    assert counted(nest)[1] == 8 * (2 * N + 1)


def test_products_without_a_sum_are_elementwise():
    similarity = ds.value_and_grad(lambda x, y: np.dot(x, y) / np.sqrt(np.dot(x, x) * np.dot(y, y)), (0, 1))
    nest = body(similarity, *rng.normal(size=(2, N)))
    assert len(loops(nest)) == 2                            # three sums, then both gradients
    assert counted(nest)[1] == 8 * (6 * N + 1)
    assert counted(body(lambda x, y: np.sin(np.outer(x, y)), *rng.normal(size=(2, N))))[1] <= 8 * (2 * N * N + N)


def test_what_waits_for_a_whole_sum_is_a_loop_of_its_own():
    assert len(loops(body(lambda x: x - np.mean(x), rng.normal(size=N)))) == 2


def softmax_loss(x, w):
    e = np.exp(x - x.max(1, keepdims=True))
    return np.sum(w * e / e.sum(1, keepdims=True))


def test_rows_are_worked_off_one_after_another():
    graph = ds.make_graph(ds.value_and_grad(softmax_loss), optimised=True)(*rng.normal(size=(2, 30, N)))
    nest = lowered(graph)[1]
    assert len(loops(nest)) == 1
    scratch = {s.buffer for loop in innermost(nest) for s in loop.body.statements if type(s).__name__ == "Store"}
    assert max((b.size for b in scratch if b.kind == "scratch"), default=0) <= N         # one row, not all of them


def test_a_logistic_loss_and_its_gradient_sweep_the_matrix_once():
    nest = body(ds.value_and_grad(lambda t, x: np.sum(np.logaddexp(0.0, (x * t).sum(1)))), rng.normal(size=40), rng.normal(size=(N, 40)))
    assert sum(loop.stop - loop.start == N for loop in loops(nest)) == 1


def divergence(u, k):
    f = k[1:] * (u[1:] - u[:-1])
    g = k[:, 1:] * (u[:, 1:] - u[:, :-1])
    z = np.zeros((1, u.shape[1]))
    return np.concatenate([f, z]) - np.concatenate([z, f]) + np.concatenate([g, z.T], 1) - np.concatenate([z.T, g], 1)


def test_the_adjoint_of_a_stencil_gathers_in_one_sweep():
    u, k, w = rng.normal(size=(3, 70, 70))
    graph = ds.make_graph(lambda u, k, w: ds.vjp(divergence, u, k)[1](w), optimised=True)(u, k, w)
    nest = lowered(graph)[1]
    largest = [loop for loop in innermost(nest) if loop.stop - loop.start >= 60]
    assert not any(type(s).__name__ == "Choice" for loop in largest for s in loop.body.statements)
    assert counted(nest)[1] <= 8 * 70 * 70 * 17              # 13 reads of neighbours, two results, the borders
    assert all(b.kind != "scratch" for b in {s.buffer for loop in largest for s in loop.body.statements if hasattr(s, "buffer")})


def test_repeated_numbers_are_no_arrays():
    graph = ds.make_graph(ds.grad(lambda x: np.sum(3.0 * x) + np.mean(x * x)), optimised=True)(rng.normal(size=N))
    f = ds.jit(ds.grad(lambda x: np.sum(3.0 * x) + np.mean(x * x)))
    f(rng.normal(size=N))
    assert len(graph.inputs) == 1
    assert counted(lowered(graph)[1])[1] == 16 * N
    assert f.stats["bytes"] == 16 * N


@pytest.mark.parametrize("n", [10, 40])
def test_programs_grow_with_their_equations_and_not_with_their_arrays(n):
    def f(x):
        v = x
        for i in range(n):
            v = v * np.sum(v) if i % 3 == 0 else np.concatenate([v[1:], v[:1]]) + v if i % 3 == 1 else v - 0.2 * x
        return np.sum(v)

    def size(block):
        return sum(1 + sum(map(size, blocks(s))) for s in block.statements)

    small, large = (ds.make_graph(ds.grad(f), optimised=True)(np.ones(m)) for m in (100, 3000))
    assert size(lowered(small)[1]) == size(lowered(large)[1]) < 40 * len(small.eqns)


# ---------------------------------------------------------------- the same values
def run(f, args, without):
    """Results of the compiled function with some passes switched off."""
    os.environ["DIFFSIM_WITHOUT"] = without
    try:
        return leaves(ds.jit(f)(*args))
    finally:
        del os.environ["DIFFSIM_WITHOUT"]


def leaves(x):
    return [leaf for each in x for leaf in leaves(each)] if isinstance(x, (tuple, list)) else [x]


STEPS = [
    lambda a, b: a * b + 0.1,
    lambda a, b: np.sin(a) - b,
    lambda a, b: a - np.sum(b) / b.size,
    lambda a, b: a * np.sum(a * b) / b.size,
    lambda a, b: np.concatenate([a[1:], b[:1]]),
    lambda a, b: np.concatenate([a[:1] * 0.5, b[1:-1] - b[:-2], a[-1:]]),
    lambda a, b: np.where(a > b, a, np.exp(-np.abs(b))),
    lambda a, b: a[::-1] + b,
    lambda a, b: np.cumsum(a * 0.1, axis=0) - b,
    lambda a, b: a / (1.0 + np.max(np.abs(b))),
    lambda a, b: a - np.max(b, -1, keepdims=True) if b.ndim == 2 else a - np.max(b),
    lambda a, b: a / (2.0 + np.sum(b * b, -1, keepdims=True)),
    lambda a, b: b - a.mean(0),
]
programs = st.lists(st.tuples(st.integers(0, len(STEPS) - 1), st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=9)


def program(steps):
    def f(x, y):
        values = [x, y]
        for which, i, j in steps:
            values.append(STEPS[which](values[i % len(values)], values[j % len(values)]))
        return np.sum(values[-1]) + np.sum(values[-2][1:] ** 2)
    return f


@settings(max_examples=10, deadline=None, derandomize=True)
@given(programs, st.sampled_from([(70,), (66, 5), (5, 70)]))
def test_random_programs_keep_their_values_through_the_passes_over_loops(steps, shape):
    x, y = np.random.default_rng(len(steps)).uniform(-1, 1, (2, *shape))
    f = ds.value_and_grad(program(steps), (0, 1))
    for got, want in zip(run(f, (x, y), ""), leaves(f(x, y)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-11)


def stored_last(x, y):
    """One element is stored after all loops that read others of its array."""
    rows = np.concatenate([x[1:] * x[:-1] - x[:-1], (x[1:2] * x[:1] - x[:1]) * 0.0])
    q = x / (2.0 + np.sum(rows * rows, 1, keepdims=True))
    e = y - np.sum(x) / x.size
    z = e * 0.5 + np.sum(e[2:] * e[:-2]) * 0.01
    last = np.concatenate([x[1:], q[:1]])
    return np.sum(last * x) + np.sum((np.clip(z, -0.5, 0.5) + x * np.tanh(np.min(z)))[1:] ** 2) + np.mean(last[1:])


def borders(x, y):
    """A loop over an inner range joins one over a whole range, whose borders later loops read."""
    u = x - ds.special.logsumexp(y, axis=0)
    v = y - np.sum(u) / u.size
    w = np.cumsum(v, 1) * 0.1 + np.cumsum(y, 1) * 0.1 + x
    z = np.concatenate([w[:1] * 0.5, v[1:-1] - v[:-2], w[-1:]])
    return np.sum(z * x) + np.sum(w[1:] ** 2) + np.mean(z[1:])


@pytest.mark.parametrize(("f", "shape"), [(stored_last, (64, 65)), (borders, (66, 5))])
def test_reordered_loops_keep_their_values(f, shape):
    x, y = np.random.default_rng(5).uniform(-1, 1, (2, *shape))
    for g in (f, ds.value_and_grad(f, (0, 1))):
        for got, want in zip(run(g, (x, y), ""), leaves(g(x, y)), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_long_sums_beside_maxima_are_as_exact_as_alone():
    x = np.random.default_rng(3).uniform(0, 1, 200_001)
    total, top = ds.jit(lambda x: (np.sum(x), np.max(x)))(x)
    exact = float(np.sum(x.astype(np.longdouble)))
    assert abs(total - exact) <= 2 * np.spacing(exact)
    assert top == x.max()


# ---------------------------------------------------------------- switches
def test_the_switches_name_all_passes(monkeypatch):
    assert {each.__name__ for each in passes.LAST} == set(switches.GRAPH)
    monkeypatch.setenv("DIFFSIM_WITHOUT", " cse , fuse ")
    assert switches.without() == {"cse", "fuse"}
    monkeypatch.setenv("DIFFSIM_WITHOUT", "cse,fusion")
    with pytest.raises(InputError, match=re.escape("names fusion, and there are no such passes; there are split, early, fold")):
        switches.without()


def test_each_pass_can_be_switched_off():
    f = ds.value_and_grad(softmax_loss)
    x, w = rng.normal(size=(2, 20, 70))
    want = leaves(f(x, w))
    for names in ("fold,simplify,cse,dce,lean", "fuse", "fuse,shrink", "cse,shrink"):
        for got, exact in zip(run(f, (x, w), names), want, strict=True):
            np.testing.assert_allclose(got, exact, rtol=1e-11, atol=1e-13)


def test_what_is_switched_off_costs(monkeypatch):
    def cost():
        graph = ds.make_graph(ds.value_and_grad(softmax_loss), optimised=True)(*rng.normal(size=(2, 20, N)))
        return len(graph.eqns), counted(lowered(graph)[1])[1]
    equations, moved = cost()
    monkeypatch.setenv("DIFFSIM_WITHOUT", "cse")
    assert cost()[0] > equations
    monkeypatch.setenv("DIFFSIM_WITHOUT", "fuse")
    assert cost()[1] > moved

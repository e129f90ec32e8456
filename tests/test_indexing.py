
"""Subscripts: every legal key reads and writes what NumPy reads and writes, with its derivative."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, basic_indices, integer_array_indices
from keeping import keeps

import diffsim as ds
from diffsim.core import eval_graph

EXAMPLES = [0, -1, slice(1, 3), slice(None, None, -1), slice(3, 0, -2), Ellipsis, None, (0, 1), (slice(1, None), 0), (..., -1),
            (None, 1, slice(0, 2)), [0, 2, 2],
            ([0, 1], [1, 2]), (slice(None), [2, 0]), ([1], slice(None), 0), np.array([[0, 1], [3, 3]]),
            (np.array([0, 3]), None, slice(1, 2)),
            np.eye(4, 3) > 0, np.arange(60).reshape(4, 3, 5) % 7 == 0, (np.array([True, False, True, True]),),
            (slice(None), np.array([True, False, True])), np.int64(2), (np.array(1), slice(None)),
            (np.array([[0], [1]]), np.array([0, 2])), (slice(0, 0),), [], ([], 0), (Ellipsis, [0, 1], None), True, (False, 0),
            np.array([-1, -4])]


@pytest.mark.parametrize("key", EXAMPLES, ids=str)
def test_a_subscript_reads_what_numpy_reads(key, rng):
    keeps(lambda x: x[key] * 2.0, [(4, 3, 5)], rng)


@st.composite
def shapes_and_keys(draw):
    shape = draw(array_shapes(max_dims=3, max_side=4))
    kind = draw(st.sampled_from(["basic", "advanced", "mixed"]))
    if kind == "basic":
        return shape, draw(basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    if kind == "advanced":
        return shape, draw(integer_array_indices(shape))
    key = [draw(st.one_of(st.slices(n), st.integers(-n, n - 1), st.lists(st.integers(-n, n - 1), min_size=2, max_size=2))) for n in shape]
    if draw(st.booleans()):
        key.insert(draw(st.integers(0, len(key))), None)
    return shape, tuple(key)


@given(shapes_and_keys())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_subscript_reads_and_writes_what_numpy_does(case):
    shape, key = case
    x = np.arange(1.0, np.prod(shape) + 1).reshape(shape)
    y, pullback = ds.vjp(lambda x: x[key] * 1.0, x)
    np.testing.assert_array_equal(y, x[key])
    counts = np.zeros(shape)
    np.add.at(counts, key, 1.0)
    np.testing.assert_array_equal(pullback(np.ones(np.shape(y)) if np.ndim(y) else 1.0)[0], counts)

    def write(x, new):
        z = x.copy()
        z[key] = new
        z[key] += new
        return z

    new = np.arange(np.size(x[key]), dtype=float).reshape(np.shape(x[key])) if np.ndim(x[key]) else np.float64(3.0)
    z, pullback = ds.vjp(write, x, new)
    wanted = write(x, new)
    np.testing.assert_array_equal(z, wanted)
    x_bar, new_bar = pullback(np.ones(shape))
    np.testing.assert_array_equal(x_bar, np.where(counts > 0, 0.0, 1.0))
    assert np.sum(new_bar) == 2 * np.count_nonzero(counts)


@pytest.mark.parametrize("key", [5, (0, 3), -5, [0, 7], (slice(None), 4), (0, 0, 0), "a", 1.0, (np.array([0, 9]), 0)])
def test_a_bad_subscript_raises_index_error_at_the_call(key):
    with pytest.raises(IndexError):
        ds.grad(lambda x: np.sum(x[key]))(np.ones((4, 3)))


def test_an_index_may_be_traced():
    x = np.arange(12.0).reshape(4, 3)

    def f(x, i):
        return x[i, 1] + x[i][2] * x[-1, i - 1] + np.sum(x[[0, 1], i])

    graph = ds.make_graph(lambda x, i: f(x, i))(x, np.int64(2))
    for i in (0, 1, 2, -1):
        assert eval_graph(graph, x, np.int64(i))[0] == f(x, i)
    grids = ds.make_graph(lambda x, i, j: x[i[:, None], None, j])(x, np.array([0, 1]), np.array([1, 2, 2]))
    i, j = np.array([3, -1]), np.array([0, -1, 1])
    np.testing.assert_array_equal(eval_graph(grids, x, i, j)[0], x[i[:, None], None, j])

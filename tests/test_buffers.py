"""Buffers captured from outside: what a derivative has read stays what it was, or the write is refused; never a wrong number."""

import numpy as np
import pytest

import diffsim as ds
from diffsim.core import eval_graph
from diffsim.core.held import COPY_BYTES, _locks
from diffsim.errors import MutationError

SMALL, LARGE = 5, COPY_BYTES // 8 + 3
GLOBAL = np.zeros(SMALL)


def wanted(n):
    """Gradient of sum over i < 3 of sum(i sin(x) + x**2 i)."""
    x = np.linspace(0.5, 1.5, n)
    return x, 3.0 * (np.cos(x) + 2.0 * x)


def reused(write, product=lambda x, b: x * b):
    """A loss whose loop writes 0, 1, 2 into one buffer and multiplies by it."""
    def loss(x):
        total = 0.0
        for i in range(3):
            buffer = write(i, len(x))
            total = total + np.sum(product(np.sin(x) + x**2, buffer))
        return total
    return loss


def itself():
    buffers = {}

    def write(i, n):
        b = buffers.setdefault(n, np.empty(n))
        b[:] = i
        return b
    return write


def through_a_view():
    buffers = {}

    def write(i, n):
        b = buffers.setdefault(n, np.empty(n))
        v = b[::-1]
        v[:] = i
        return b
    return write


def a_view_of_it():
    buffers = {}

    def write(i, n):
        b = buffers.setdefault(n, np.empty((2, n)))
        b[...] = i
        return b[1]
    return write


def read_only_view():
    buffers = {}

    def write(i, n):
        b = buffers.setdefault(n, np.empty(n))
        b[:] = i
        v = b.view()
        v.flags.writeable = False
        return v
    return write


def view_made_before():
    buffers = {}

    def write(i, n):
        if n not in buffers:
            b = np.empty(n)
            buffers[n] = b, b[:]
        b, v = buffers[n]
        v[:] = i
        return b
    return write


def a_column():
    buffers = {}

    def write(i, n):
        b = buffers.setdefault(n, np.empty((n, 2)))
        b[:, 0] = i
        return b[:, 0]
    return write


def the_global(i, n):
    GLOBAL[:] = i
    return GLOBAL


KINDS = {"itself": itself, "through a view": through_a_view, "a view of it": a_view_of_it, "read-only view": read_only_view,
         "view made before": view_made_before, "a column": a_column}


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_buffer_may_be_reused_in_every_mode(kind):
    x, g = wanted(SMALL)
    v = np.linspace(-1, 1, SMALL)
    make = KINDS[kind]
    np.testing.assert_allclose(ds.grad(reused(make()))(x), g, rtol=1e-14)
    np.testing.assert_allclose(ds.jvp(reused(make()), (x,), (v,))[1], g @ v, rtol=1e-14)
    np.testing.assert_allclose(ds.vjp(reused(make()), x)[1](1.0)[0], g, rtol=1e-14)
    np.testing.assert_allclose(ds.linearize(reused(make()), x)[1](v), g @ v, rtol=1e-14)
    np.testing.assert_allclose(eval_graph(ds.make_graph(ds.grad(reused(make())))(x), x)[0], g, rtol=1e-14)
    np.testing.assert_allclose(ds.jit(ds.grad(reused(make())))(x), g, rtol=1e-14)
    np.testing.assert_allclose(ds.grad(ds.jit(reused(make())))(x), g, rtol=1e-14)
    np.testing.assert_allclose(ds.grad(lambda x: ds.grad(reused(make()))(x) @ v)(x), 3.0 * (2.0 - np.sin(x)) * v, rtol=1e-13)
    np.testing.assert_allclose(ds.hvp(reused(make()), (x,), (v,)), 3.0 * (2.0 - np.sin(x)) * v, rtol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_a_larger_buffer_is_an_input_of_a_compiled_program_once_for_each_content(kind):
    """Arrays of more than a few elements are inputs of the program, not constants in it."""
    x, g = wanted(200)
    f = ds.jit(ds.grad(reused(KINDS[kind]())))
    for _ in range(3):
        np.testing.assert_allclose(f(x), g, rtol=1e-14)


def test_a_global_buffer_may_be_reused():
    x, g = wanted(SMALL)
    np.testing.assert_allclose(ds.grad(reused(the_global))(x), g, rtol=1e-14)
    np.testing.assert_allclose(ds.jit(ds.grad(reused(the_global)))(x), g, rtol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("product", [lambda x, b: x * b, np.dot, lambda x, b: np.where(b > 0, x * b, 0.0)], ids=["times", "dot", "where"])
def test_a_large_buffer_gives_the_right_gradient_or_is_refused(kind, product):
    x, g = wanted(LARGE)
    write = KINDS[kind]()
    made = []

    def kept(i, n):
        b = write(i, n)
        made.append(b)
        return b
    try:
        got = ds.grad(reused(kept, product))(x)
    except ValueError as refused:                           # NumPy's "assignment destination is read-only", or ours
        got, said = None, f"{type(refused).__name__}: {refused}"
    if got is None:
        assert "read-only" in said or said.startswith(MutationError.__name__)
    else:
        np.testing.assert_allclose(got, g, rtol=1e-12)
    np.testing.assert_allclose(ds.jvp(reused(KINDS[kind](), product), (x,), (np.ones(LARGE),))[1], g.sum(), rtol=1e-12)
    assert not _locks
    if kind != "read-only view":
        for b in made:
            b[0] = 7.0                                      # writeable again, whatever happened


def test_a_large_array_written_after_vjp_does_not_change_the_pullback():
    x, b = np.ones(LARGE), np.full(LARGE, 2.0)
    matrix = np.full((400, 400), 3.0)
    _, pull = ds.vjp(lambda x: np.sum(x * b), x)
    _, push = ds.linearize(lambda x: matrix @ x, np.ones(400))
    b[:], matrix[...] = 5.0, 0.0
    np.testing.assert_array_equal(pull(1.0)[0], 2.0)
    np.testing.assert_array_equal(push(np.ones(400)), 1200.0)


def test_locked_arrays_are_writeable_after_an_exception():
    b = np.ones((2, LARGE))

    def f(x):
        np.sum(x * b[0])
        assert not b.flags.writeable
        raise KeyError("the user's own")
    with pytest.raises(KeyError):
        ds.grad(f)(np.ones(LARGE))
    b[0, 0] = 2.0
    assert not _locks


def test_an_array_stays_locked_while_an_outer_derivative_reads_it():
    b = np.full(LARGE, 2.0)
    states = []

    def f(x):
        inner = ds.grad(lambda y: np.sum(y**2 * b))(x)
        states.append(b.flags.writeable)
        total = np.sum(inner * b)
        again = ds.grad(lambda y: np.sum(y * b))(x)
        states.append(b.flags.writeable)
        return total + np.sum(again)
    g = ds.grad(f)(np.ones(LARGE))
    np.testing.assert_array_equal(g, 2.0 * b**2)
    assert states[1] is False
    assert b.flags.writeable
    assert not _locks


def test_views_locked_by_an_inner_derivative_are_freed_with_their_owner():
    base = np.full((2, LARGE), 2.0)
    part = base[0]

    def f(x):
        return np.sum(x * base[1]) + np.sum(ds.grad(lambda y: np.sum(y * part))(x) * x)
    ds.grad(f)(np.ones(LARGE))
    part[0] = base[1, 0] = 1.0
    assert not _locks


def test_a_read_only_array_is_neither_copied_nor_locked():
    b = np.full(LARGE, 2.0)
    b.flags.writeable = False
    np.testing.assert_array_equal(ds.grad(lambda x: np.sum(x * b))(np.ones(LARGE)), 2.0)
    assert not b.flags.writeable


def test_a_name_bound_to_a_plain_array_accumulates_and_another_name_of_it_is_not_stale():
    def f(x):
        acc = OUTSIDE.copy()
        acc += x
        acc *= 2.0
        return acc
    np.testing.assert_array_equal(ds.jvp(f, (np.ones(3),), (np.ones(3),))[0], 2.0)

    def g(x):
        np.add(OUTSIDE, x, out=OUTSIDE)
        return OUTSIDE
    with pytest.raises(TypeError, match="inside the function"):
        ds.jvp(g, (np.ones(3),), (np.ones(3),))

    def h(x):
        OUTSIDE[1:] += x[1:]
        return OUTSIDE
    with pytest.raises(TypeError, match="inside the function"):
        ds.jvp(h, (np.ones(3),), (np.ones(3),))
    np.testing.assert_array_equal(OUTSIDE, 0.0)


OUTSIDE = np.zeros(3)


@pytest.mark.parametrize("shape", [(3 * LARGE,), (LARGE, 3)])
@pytest.mark.parametrize("write", [
    lambda v, n: v.reshape(-1).__setitem__(n, 7.0), lambda v, n: v.reshape(-1)[n:n + 2].sort(),
    lambda v, n: v.__setitem__(slice(None), v[::-1].copy())], ids=["one element", "two exchanged", "reversed"])
@pytest.mark.parametrize("cut", [lambda b: b, lambda b: b.T, lambda b: b[::-1], lambda b: b[1:]],
                         ids=["whole", "transposed", "backwards", "part"])
def test_a_small_write_through_an_older_view_is_seen(shape, write, cut):
    """The older view cannot be locked: what it changes is found by sums over all elements, or copied anew."""
    values = np.random.default_rng(0).permutation(np.arange(1.0, 1.0 + np.prod(shape))).reshape(shape)
    for n in (1001, values.size - 3):
        b = values.copy()
        if b.reshape(-1)[n] < b.reshape(-1)[n + 1]:
            b.reshape(-1)[n:n + 2] = b.reshape(-1)[n + 1:n - 1:-1].copy()
        older, seen = b[:], cut(b)

        def f(x, older=older, seen=seen, n=n):
            first = np.sum(np.sin(x) * seen)
            write(older, n)
            return first
        with pytest.raises(MutationError, match="another view"):
            ds.grad(f)(1.0)

        def g(x, older=older, seen=seen, n=n):
            first = np.sum(np.sin(x) * seen)
            write(older, n)
            return first + np.sum(np.cos(x) * seen)
        before = seen.copy()
        _, pullback = ds.vjp(g, 1.0)
        wanted_bar = np.cos(1.0) * before.sum() - np.sin(1.0) * seen.sum()
        assert pullback(1.0)[0] == pytest.approx(wanted_bar, rel=1e-12)

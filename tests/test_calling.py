"""The way into and out of compiled programs: arrays where they lie, copies where they must be, results that are not finite."""

import ctypes
import sys
import threading

import numpy as np
import pytest

import diffsim.numpy  # noqa: F401  (registers its primitives)
from diffsim.codegen import entry
from diffsim.codegen.program import Program
from diffsim.codegen.watching import seen
from diffsim.core import Aval
from diffsim.errors import InputError
from diffsim.prims import elementwise as e
from diffsim.prims import layout as la
from diffsim.prims.gather import gather, put, scatter_add, within
from diffsim.transforms import trace

FLOAT = np.dtype(np.float64)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFSIM_CACHE_DIR", str(tmp_path))


def program(f, *avals, **options):
    return Program(trace(f, [a if isinstance(a, Aval) else Aval(a, FLOAT) for a in avals])[0], **options)


def address(x):
    return x.__array_interface__["data"][0]


def test_array_objects_are_laid_out_as_the_entry_reads_them():
    x = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    def word(at, kind=ctypes.c_void_p):
        return kind.from_address(at).value
    assert word(id(x) + entry.TYPE) == id(np.ndarray)
    assert word(id(x) + entry.DATA) == address(x)
    assert word(id(x) + entry.NDIM, ctypes.c_int) == 3
    assert [word(word(id(x) + entry.DIMENSIONS) + 8 * i, ctypes.c_int64) for i in range(3)] == [2, 3, 4]
    assert word(id(x) + entry.DESCR) == id(x.dtype)
    assert word(id(x) + entry.FLAGS, ctypes.c_int) == x.flags.num
    assert x.flags.num & entry.FIT == entry.FIT
    assert x.T.flags.num & entry.FIT != entry.FIT
    for number in (0.1, np.float64(0.2)):
        assert word(id(number) + entry.HEAD, ctypes.c_double) == number


def unaligned(x):
    raw = np.zeros(x.nbytes + 1, np.uint8)
    made = raw[1:].view(x.dtype).reshape(x.shape)
    made[...] = x
    return made


def read_only(x):
    made = x.copy()
    made.flags.writeable = False
    return made


LAYOUTS = {
    "reversed": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "every other": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "Fortran": np.asfortranarray,
    "unaligned": unaligned,
    "read-only": read_only,
    "big-endian": lambda x: x.astype(">f8"),
    "subclass": lambda x: x.view(np.matrix),
    "repeated": lambda x: np.broadcast_to(x[:, :1], x.shape),
    "lists": lambda x: x.tolist(),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("n", [3, 2000])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_lie_as_they_like(layout, n, rng):
    run = program(lambda x, y: [e.sub(x, y), la.reduce_sum(x, axes=(0, 1))], (2, n), (2, n))
    x, y = rng.normal(size=(2, 2, n))
    given = LAYOUTS[layout](x)
    want = np.asarray(given, float)
    difference, total = run(given, y)
    np.testing.assert_array_equal(difference, want - y)
    np.testing.assert_allclose(total, want.sum(), rtol=1e-12)
    np.testing.assert_array_equal(run(y, given)[0], y - want)


def test_equal_dtypes_that_are_different_objects_are_taken(rng):
    run = program(lambda i: [e.add(i, i)], Aval((3,), np.dtype(np.int64)))
    other = np.dtype(np.longlong if np.dtype(np.int64) is np.dtype(np.int_) else np.int_)
    np.testing.assert_array_equal(run(np.arange(3, dtype=other))[0], [0, 2, 4])


@pytest.mark.parametrize("number", [2.5, np.float64(2.5), np.array(2.5), np.float32(2.5), np.array(2.5, np.float32), np.array(2.5, ">f8")])
def test_numbers_come_in_many_coats(number):
    assert program(lambda s: [e.mul(s, s)], ())(number) == [6.25]
    assert program(lambda s: [e.mul(s, s)], Aval((), np.dtype(np.float32)))(number) == [6.25]


@pytest.mark.parametrize("number", [3, np.int64(3), np.array(3), np.int32(3)])
def test_whole_numbers_too(number):
    assert program(lambda i: [e.mul(i, i)], Aval((), np.dtype(np.int64)))(number) == [9]


def test_wrong_shapes_are_refused():
    run = program(lambda x, s: [e.mul(x, s)], (3,), ())
    for x, s in ((np.ones(4), 1.0), (np.ones((1, 3)), 1.0), (np.ones(()), 1.0), (np.ones(3), np.ones(1)), (1.0, 1.0)):
        with pytest.raises(InputError, match="shape"):
            run(x, s)
    np.testing.assert_array_equal(run(np.ones(3), 2.0)[0], 2)


@pytest.mark.parametrize("n", [0, 1, 5, 5000])
def test_results_are_fresh_and_nobody_else_s(n):
    run = program(lambda x, y: [x, e.add(x, y), x], (n,), (n,))
    x = np.arange(float(n))
    first, total, again = run(x, x)
    for got in (first, total, again):
        assert got.flags.owndata and got.flags.writeable and type(got) is np.ndarray  # noqa: PT018
        assert not np.shares_memory(got, x)
    assert not np.shares_memory(first, again)
    kept = total.copy()
    run(x + 1, x)
    np.testing.assert_array_equal(total, kept)
    np.testing.assert_array_equal(first, x)


def test_the_caller_s_arrays_are_let_go():
    run = program(lambda x: [e.exp(x)], (50,))
    x = np.zeros(50)
    before = sys.getrefcount(x)
    for _ in range(10):
        run(x)
        run(x[::-1])
    assert sys.getrefcount(x) == before


def test_references_of_answers_are_counted():
    run = program(lambda x: [e.exp(x)], (50,))
    x, before = np.zeros(50), sys.getrefcount(None)
    for _ in range(1000):
        run(x)
    assert abs(sys.getrefcount(None) - before) < 100


def test_constants_are_handed_over_once_in_any_layout(rng):
    table = np.asfortranarray(rng.normal(size=(40, 50)))
    run = program(lambda x, t: [e.mul(t, x)], (), (40, 50), constants=[table])
    np.testing.assert_array_equal(run(2.0)[0], 2 * table)


def test_long_programs_let_other_threads_run():
    """While one thread is in a call, another counts: with Python's lock held it could not."""
    def f(x):
        for _ in range(20):
            x = e.sin(la.cumsum(x, axis=0, reverse=False))
        return [x]

    run, x, ticks, done = program(f, (200_000,)), np.ones(200_000), [], threading.Event()

    def count():
        while not done.is_set():
            ticks.append(1)
            done.wait(1e-4)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        seen = 0
        for _ in range(50):
            before = len(ticks)
            run(x)
            seen += len(ticks) > before
    finally:
        done.set()
        thread.join()
    assert seen


# ---------------------------------------------------------------- results that are not finite
@pytest.mark.parametrize("n", [1, 7, 100])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("bad", [np.inf, np.nan, -np.inf])
def test_results_that_are_not_finite_are_told(n, dtype, bad):
    run = program(lambda x: [e.sin(np.float64(0.5)), e.neg(x)], Aval((n,), np.dtype(dtype)), watch=True)
    x = np.full(n, np.finfo(dtype).max, dtype)          # a sum of these would not be finite
    assert run(x) is not None
    for i in {0, n // 2, n - 1}:
        x[i], kept = bad, x[i]
        assert run(x) is None
        x[i] = kept
    np.testing.assert_array_equal(run(x)[1], -x)


def fused(run):
    """Outputs of a program that its loops look at themselves."""
    return seen(run._nest().body, run._places.outputs)


def test_loops_look_at_what_they_store(rng):
    def sums(x, i):
        return [e.mul(x, x), scatter_add(x, within(i, size=50, axis=0), shape=(50,)), la.concatenate(x, e.neg(x), axis=0)]

    run = program(sums, (40,), Aval((40,), np.dtype(np.int64)), watch=True)
    assert fused(run) == {"y0", "y1", "y2"}
    x, i = rng.normal(size=40), rng.integers(0, 50, 40)
    assert run(x, i) is not None
    for bad in (np.nan, np.inf, 1e200):                         # the last is too large for a square alone
        y = x.copy()
        y[17] = bad
        assert run(y, i) is None


def test_what_is_stored_again_and_again_is_looked_at_afterwards(rng):
    index = Aval((400,), np.dtype(np.int64))
    run = program(lambda x, i: [scatter_add(x, within(i, size=5, axis=0), shape=(5,))], (400,), index, watch=True)
    assert fused(run) == set()
    x, i = rng.normal(size=400), rng.integers(0, 5, 400)
    assert run(x, i) is not None
    x[300] = np.inf
    assert run(x, i) is None


def test_what_is_replaced_is_not_what_is_looked_at():
    """An element that is not finite and is written over says nothing of the result."""
    run = program(lambda x, i: [put(x, e.mul(i, 2.0), within(i, size=5, axis=0))], (5,), Aval((2,), np.dtype(np.int64)), watch=True)
    assert fused(run) == set()
    x = np.array([1.0, np.nan, 1.0, np.inf, 1.0])
    np.testing.assert_array_equal(run(x, np.array([1, 3]))[0], [1.0, 2.0, 1.0, 6.0, 1.0])
    assert run(x, np.array([1, 2])) is None


def test_an_index_out_of_bounds_is_told_before_a_result_that_is_not_finite():
    run = program(lambda x, i: [gather(x, within(i, size=5, axis=0))], (5,), Aval((3,), np.dtype(np.int64)), watch=True)
    assert fused(run) == {"y0"}
    x = np.array([1.0, np.nan, 1.0, 2.0, 3.0])
    assert run(x, np.array([0, 2, 3])) is not None
    assert run(x, np.array([0, 1, 3])) is None
    with pytest.raises(IndexError):
        run(x, np.array([0, 1, 7]))


def test_a_value_that_is_not_finite_leaves_nothing_to_repair():
    run = program(lambda x, y: [la.reduce_sum(x, axes=(0,)), e.neg(y)], (2,), (2,), watch=True)
    fine, bad = np.zeros(2), np.array([0.0, np.nan])
    assert run(fine, fine) is not None
    assert run(fine, bad) is None
    assert run(bad, bad) is not None


def test_a_single_number_is_watched_and_whole_numbers_are_not():
    assert program(lambda x: [e.div(1.0, x)], (), watch=True)(0.0) is None
    assert program(lambda i: [e.add(i, i)], Aval((3,), np.dtype(np.int64)), watch=True)(np.arange(3)) is not None
    assert program(lambda x: [e.neg(x)], (0,), watch=True)(np.zeros(0)) is not None
    assert np.isinf(program(lambda x: [e.div(1.0, x)], ())(0.0)[0])

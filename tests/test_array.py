"""The mutable array: programs that write, alias and update behave as NumPy's, with derivatives."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import diffsim as ds
from diffsim.core import Tracer, eval_graph
from diffsim.errors import DerivativeLost, InputError, MissingRule, MutationError
from diffsim.numpy import Array
from diffsim.numpy.array import holding
from diffsim.numpy.lending import lent, own, taken
from diffsim.numpy.rebind import rebound
from diffsim.testing.laws import close, richardson


def heat(y):
    dy = np.zeros_like(y)
    dy[0] = -y[0] + y[1]
    dy[-1] = y[-2] - y[-1]
    dy[1:-1] += y[2:] - 2 * y[1:-1] + y[:-2]
    dy *= np.sin(y)
    return dy


def aliasing(y):
    z = y.copy()
    v = z[1:4]
    w = v[::2]
    w *= 3.0
    v[0] += z[0] ** 2
    z[2] = 5.0 * v[2]
    w[1] = w[1] + v[1]
    return z + np.sin(z)


def overlap(y):
    z = y.copy()
    z[1:] += z[:-1]
    z[:-1] *= z[1:]
    z[2:5] = z[0:3]
    return z


def transposed_views(y):
    m = y.copy().reshape(2, 3)
    t = m.T
    t[0] *= y[1]
    m[:, 2] = t[1]
    r = m.reshape(6)
    r[4] += r[0] * r[1]
    return m * m


def fancy(y):
    z = y.copy()
    z[[0, 2, 2]] = y[[1, 3, 4]] ** 2
    z[[1, 1]] += y[[0, 5]]
    np.add.at(z, [3, 3], y[[0, 5]] * 2.0)
    np.subtract.at(z, (np.array([0, 0]),), y[2])
    z[np.array([True, False] * 3)] *= 2.0
    return z


def out_keywords(y):
    z = np.zeros_like(y)
    np.multiply(y, y, out=z)
    np.sin(z, out=z)
    v = z[::2]
    np.add(v, 1.0, out=v)
    np.add(z, y, z)
    np.cumsum(z, out=z)
    np.multiply(z, 2.0, out=z, where=y > 1.0)
    return z


def creators(y):
    a, b, c, d = np.zeros(6), np.ones((2, 3)), np.empty(6), np.full(6, y[0])
    e, f, g = np.eye(3), np.linspace(0.0, 1.0, 6), np.arange(6.0)
    a[:] = y
    b[1] = y[:3]
    c[...] = 2.0
    d[1] += y[2]
    e[0, 1] = y[3]
    f[-1] *= y[4]
    g[2:4] -= y[0]
    return [a, b, c * d, e @ y[:3], f, g, np.identity(2) * y[1], np.tri(3) @ e]


def made_of_lists(y):
    a = np.array([y[0], 2.0, y[1] * y[2]])
    a[1] += y[3]
    b = np.asarray([[y[0], 1.0], [2.0, y[5]]])
    b[0] = b[1]
    c = np.array(a)
    c[0] = 7.0
    d = np.array(y, copy=True, ndmin=2)
    d[0, 0] = 0.0
    return [a, b, c, d]


def unpacked_rows(y):
    m = np.zeros((2, 3))
    top, bottom = m
    top[:] = y[:3]
    bottom += y[3:]
    for row in m:
        row[0] *= 2.0
    return m


def loop(y):
    x = np.empty(6)
    x[0] = y[0]
    for i in range(1, 6):
        x[i] = 0.5 * x[i - 1] + np.sin(y[i])
    return x


def elements(y):
    """Single elements written in any order, read back, overwritten, seen through views, mixed with writes of slices."""
    a, m, big, part = np.zeros(4), np.zeros((2, 3)), np.zeros(100), np.ones(80)
    a[2] = y[0]
    a[0] = a[2] * y[1]
    a[2] = 3.0
    a[-1] += y[2]
    head = a[:2]
    a[1] = y[3]
    head[0] *= 2.0
    a[0] += y[4]
    for i in range(2):
        for j in range(3):
            m[i, j] = y[i] * y[j] + len(m)
    row = m[1]
    m[1, 1] = y[5]
    row[2] = y[0]
    for i in range(10, 30):
        big[i] = big[i - 1] + y[i % 6]
    big[50], big[7], big[70] = y[0], y[1], 2.0
    for i in range(5, 9):
        part[i] = y[i % 6]
    part[40:] *= y[1]
    part[3] = y[2]
    part[60] = y[3]
    return [a, m, big, part, np.float64(1.0) * a[1], head]


def writes_through_views(y):
    m = np.zeros((2, 3, 2))
    m.swapaxes(0, 2)[1, 0] = y[:2]
    np.moveaxis(m, 1, 0)[2] += y[0]
    m.reshape(6, 2)[3:, 0] = y[3:]
    m[..., None][0, 0, 0] = y[4]
    np.flip(m, 0)[0, 1] = y[5]
    a, b = np.split(m, 2, axis=0)
    a *= 2.0
    b -= y[1]
    np.squeeze(m[:1])[1] += 3.0
    np.expand_dims(m, 0)[0, 1, 2, 1] = y[2] * y[3]
    np.atleast_3d(m)[1, 0, 0] = y[0]
    np.rot90(m[0])[0, 0] = y[1]
    return m


def copies_do_not_alias(y):
    m = np.zeros((2, 3))
    m[:] = y.reshape(2, 3)
    for other in (m.copy(), m.flatten(), m[[0, 1]], m[np.ones((2, 3), bool)], np.array(m), m.T.reshape(-1), m[:, ::2].ravel(), np.copy(m),
                  np.roll(m, 1), np.take(m, [0, 1], 0)):
        other[0] = 99.0
    v = m.T.ravel(order="F")
    v[0] *= 3.0
    return m


def functions_that_write(y):
    z = np.zeros(6)
    np.copyto(z, y)
    np.copyto(z, 0.5, where=y > 1.5)
    np.put(z, [0, 5], [y[1], y[2]])
    np.place(z, np.array([False, True] * 3), [y[3]])
    np.putmask(z, np.array([True, False] * 3), z * 2)
    m = np.zeros((2, 3))
    np.fill_diagonal(m, y[:2])
    np.put_along_axis(m, np.array([[2], [0]]), y[4], 1)
    z.sort()
    w = np.zeros(2)
    w.fill(y[0])
    return [z, m, w]


def computed(y):
    z = 2.0 * y
    v = z[1:4]
    v *= 3.0
    w = np.exp(z)
    w[0] += z[2]
    r = y.reshape(2, 3) @ y[:3]
    r[1] = w[-1]
    s = np.where(y > 1.0, y, 0.0)
    s[::2] -= 1.0
    t = np.concatenate([r, v])
    t[t.size // 2:] = 0.5
    return [z, w, r, s, t]


def no_dimension(y):
    total = np.zeros(())
    total += y[0]
    total = total + y[1]
    s = np.array(3.0)
    acc = 0.0
    for v in y:
        acc += v * s
    return total * acc


PROGRAMS = [heat, aliasing, overlap, transposed_views, fancy, out_keywords, creators, made_of_lists, unpacked_rows, loop,
            writes_through_views,
            copies_do_not_alias, functions_that_write, computed, no_dimension]


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_a_program_that_writes_does_what_numpy_does(f, rng):
    y, v = rng.permutation(np.linspace(0.4, 2.2, 6)), rng.uniform(-1, 1, 6)

    def parts(point):
        out = f(np.array(point[0]))
        return [np.asarray(a) for a in (out if isinstance(out, list) else [out])]

    plain = parts([y])
    value, tangent = ds.jvp(f, (y,), (v,))
    close([np.asarray(a) for a in ds.tree.leaves(value)], plain, 0.0, "value")
    close([np.asarray(a) for a in ds.tree.leaves(tangent)], richardson(parts, [y], [v], 1e-3), 1e-8, "forward derivative")
    w = [rng.uniform(-1, 1, a.shape) if a.ndim else float(rng.uniform(-1, 1)) for a in plain]
    y_bar, = ds.vjp(f, y)[1](w if isinstance(value, list) else w[0])
    assert y_bar @ v == pytest.approx(sum(np.sum(a * b) for a, b in zip(w, ds.tree.leaves(tangent), strict=True)), rel=1e-12)
    if f is not functions_that_write:                       # sorting needs the numbers
        graph = ds.make_graph(f)(y).verify()
        close([np.asarray(a) for a in eval_graph(graph, y)], plain, 1e-15, "graph")


# ---------------------------------------------------------------- random programs of views and writes
STEPS = st.lists(st.tuples(st.sampled_from(["slice", "T", "reshape", "flip", "copy", "swap", "write", "scale", "item", "fancy", "ravel",
                                            "newaxis"]),
                           st.integers(0, 7), st.integers(0, 5)), min_size=3, max_size=12)


def run(y, steps):                                           # noqa: C901  (one branch a step)
    """A program over a growing list of arrays, the same in plain NumPy and under a transform."""
    arrays = [y.copy(), np.zeros((2, 3))]
    for what, which, k in steps:
        a = arrays[which % len(arrays)]
        if what == "slice":
            arrays.append(a[k % a.shape[0]:] if k % 2 else a[::-1])
        elif what == "T":
            arrays.append(a.T)
        elif what == "reshape":
            arrays.append(a.reshape(-1) if k % 2 else a.reshape(1, -1))
        elif what == "ravel":
            arrays.append(np.ravel(a))
        elif what == "flip":
            arrays.append(np.flip(a, 0))
        elif what == "swap":
            arrays.append(np.swapaxes(a, 0, a.ndim - 1))
        elif what == "newaxis":
            arrays.append(a[None, ...] if a.ndim < 3 else a[0])
        elif what == "copy":
            arrays.append(a.copy())
        elif what == "write":
            a[...] = y[k] * np.ones(a.shape) + k
        elif what == "scale":
            a *= y[k]
        elif what == "item":
            a[(k % a.shape[0],) + (0,) * (a.ndim - 1)] = y[(k + 1) % 6] ** 2
        elif what == "fancy":
            a[[0, a.shape[0] - 1]] += y[k]
    return [np.sum(a * (1.0 + np.arange(a.size).reshape(a.shape))) for a in arrays]


@given(STEPS)
@settings(max_examples=120, deadline=None, derandomize=True)
def test_views_alias_as_numpys_in_any_program(steps):
    y, v = np.array([0.4, 0.7, 1.1, 1.3, 1.7, 2.0]), np.array([0.3, -0.2, 0.5, 0.1, -0.4, 0.2])
    plain = run(y.copy(), steps)
    value, tangent = ds.jvp(lambda y: run(y, steps), (y,), (v,))
    np.testing.assert_allclose(value, plain, rtol=1e-14, atol=1e-14)
    scale = 1.0 + np.max(np.abs(plain))
    wanted = (np.array(run(y + 1e-20j * v, steps)).imag / 1e-20) if not _writes_into_zeros(steps) else None
    if wanted is not None:
        np.testing.assert_allclose(tangent, wanted, rtol=1e-12, atol=1e-12 * scale)
    w = np.linspace(1.0, 2.0, len(plain))
    y_bar, = ds.vjp(lambda y: run(y, steps), y)[1](list(w))
    assert y_bar @ v == pytest.approx(float(np.dot(w, tangent)), rel=1e-11, abs=1e-11 * scale)


def _writes_into_zeros(steps):
    """Whether a write may reach the float array of zeros: it takes no complex numbers, so there is no complex step to compare with."""
    return any(what in ("write", "scale", "item", "fancy") for what, _, _ in steps)


# ---------------------------------------------------------------- what it is
def inside(f, *x):
    """Run ``f`` under a transform and hand back what it returned, whatever that is."""
    kept = []

    def probe(*args):
        kept.append(f(*args))
        return args[0].sum()
    ds.grad(rebound(probe))(*x)
    return kept[0]


def test_plain_arrays_stay_plain_for_everyone_else():
    def f(y):
        a = np.linspace(0.0, 1.0, 5)
        b = np.zeros((2, 3))
        b[0, 1] = 4.0
        grid = np.arange(4)
        return [isinstance(a, Array), np.asarray(a), PLAIN_ASARRAY(a), float(a[1]), a[1] + 1.0, b.shape, len(b), b.tolist(), grid,
                np.zeros(3, int), np.ones(2, bool),
                np.array([1, 2]), range(len(grid)), [10, 20, 30][grid[1]], b.sum(), b.max(), b.dtype, b.nbytes, f"{b.sum():.1f}",
                bool(a[0] < 1), str(b[0]), 4.0 in b]
    (is_array, _, plain, one, two, shape, n, listed, grid, zeros, ones, made, r, picked, total, largest, dtype, nbytes, text, truth,
     printed, has) = inside(f, np.ones(2))
    assert is_array
    assert type(plain) is np.ndarray
    np.testing.assert_array_equal(plain, np.linspace(0, 1, 5))
    assert (one, two, shape, n, total, largest, nbytes, text, truth, picked) == (0.25, 1.25, (2, 3), 2, 4.0, 4.0, 48, "4.0", True, 20)
    assert type(one) is float
    assert listed == [[0, 4, 0], [0, 0, 0]]
    assert [type(a) for a in (grid, zeros, ones, made)] == [np.ndarray] * 4
    assert r == range(4)
    assert dtype == np.float64
    assert printed == "[0. 4. 0.]"
    assert has


PLAIN_ASARRAY = np.asarray.__call__


def test_scipy_takes_an_array_that_holds_no_traced_value():
    scipy_special = pytest.importorskip("scipy.special")
    interpolate = pytest.importorskip("scipy.interpolate")

    def f(y):
        x = np.linspace(0.1, 1.0, 5)
        return np.sum(scipy_special.gamma(x) * y) + float(interpolate.CubicSpline(x, x**2)(0.5)) * y[0]
    g = ds.grad(f)(np.ones(5))
    np.testing.assert_allclose(g, scipy_special.gamma(np.linspace(0.1, 1.0, 5)) + 0.25 * np.eye(5)[0], rtol=1e-12)


def test_an_earlier_reader_never_sees_a_later_write():
    """A buffer reused in a loop: each use keeps the numbers it was used with."""
    def f(x):
        buf, total = np.zeros(3), 0.0
        for i in range(3):
            buf[:] = i
            total = total + np.sum(x * buf)
        return total
    np.testing.assert_array_equal(ds.grad(f)(np.ones(3)), [3, 3, 3])

    def large(x):
        buf, total = np.zeros(20000), 0.0
        for i in range(3):
            buf[:] = i
            total = total + np.sum(x * buf[10000:])
            buf[10000:] = 100.0
        return total
    np.testing.assert_array_equal(ds.grad(large)(np.ones(10000)), np.full(10000, 3.0))


def test_a_captured_plain_buffer_may_be_reused():
    buffer = np.zeros(3)

    def f(x):
        total = 0.0
        for i in range(3):
            buffer[:] = i
            total = total + np.sum(x * buffer)
        return total
    np.testing.assert_array_equal(ds.grad(f)(np.ones(3)), [3, 3, 3])


def test_a_long_plain_fill_does_not_copy():
    """Item writes into a plain array are in place: twenty thousand of them take no noticeable time."""
    x = holding(np.zeros(20000), False)
    cell = x._cell.value
    for i in range(20000):
        x[i] = i + (x[i - 1] if i else 0.0)
    assert x._cell.value is cell
    assert x[19999] == 19999 * 20000 / 2


def test_an_array_filled_element_by_element_is_one_stack():
    def f(y):
        dy = np.zeros(3)
        dy[0] = y[1]
        dy[1] = -y[0]
        dy[2] = dy[0] * dy[1]
        return dy
    assert [e.prim.name for e in ds.make_graph(f)(np.ones(2)).eqns] == ["index", "index", "neg", "mul", "stack"]

    def filled(y):
        x = np.zeros(500)
        x[0] = y
        for i in range(1, 500):
            x[i] = x[i - 1] * 0.5
        return np.sum(x)
    assert len(ds.make_graph(filled)(1.0).eqns) == 501


def test_repeated_writes_let_the_last_one_win():
    def f(y):
        z = np.zeros(3)
        z[[1, 1]] = y[:2]
        return z
    np.testing.assert_array_equal(ds.jacobian(f)(np.ones(3)), [[0, 0, 0], [0, 1, 0], [0, 0, 0]])


# ---------------------------------------------------------------- inputs lent to a program
def test_a_view_of_an_input_may_not_be_updated_in_place():
    """`v = y[1:]; v *= 2` writes into y in NumPy; a silent new value for v alone would be wrong."""
    def f(y):
        v = y[1:]
        v *= 2.0
        return np.sum(y)
    with pytest.raises(MutationError, match="copy"):
        ds.grad(f)(np.ones(3))
    with pytest.raises(MutationError, match="copy"):
        ds.jit(f)(np.ones(3))


def test_a_lent_input_refuses_writes_and_its_views_do_too():
    def f(y):
        y = lent(y)
        for write in (lambda: y.__setitem__(0, 1.0), lambda: y[1:].__setitem__(0, 1.0), lambda: y.__iadd__(1.0), lambda: y.T.fill(0.0),
                      lambda: np.add(y, 1, out=y),
                      lambda: np.add.at(y, [0], 1.0), lambda: y.reshape(3, 1).__imul__(2.0)):
            with pytest.raises(MutationError, match=r"test_array\.py:\d+.*copy"):
                write()
        z = y.copy()
        z[0] = 3.0
        w = 2.0 * y
        w[1] = 5.0
        return np.sum(z * w)
    np.testing.assert_array_equal(ds.grad(f)(np.array([1.0, 2.0, 4.0])), [6.0, 5.0, 16.0])


def test_a_plain_value_or_a_number_is_lent_as_it_is():
    x = np.ones(3)
    assert lent(x) is x
    assert lent(2.0) == 2.0
    assert own(taken(x)) is x
    assert taken(2.0) == 2.0


# ---------------------------------------------------------------- errors
@pytest.mark.parametrize(("use", "error"), [
    (lambda a, t: a.reshape(4, 2), InputError), (lambda a, t: a.reshape(-1, -1), InputError),
    (lambda a, t: a.__setitem__(7, t), IndexError),
    (lambda a, t: a.__setitem__(slice(None), np.ones((2, 6)) * t), ValueError), (lambda a, t: a.nothing, AttributeError),
    (lambda a, t: float(a), TypeError),
    (lambda a, t: hash(a), TypeError), (lambda a, t: [1, 2][a], TypeError), (lambda a, t: bool(a), ValueError),
    (lambda a, t: np.isnat.at(a * t, [0]), MissingRule),
    (lambda a, t: np.array([t, t], dtype=int), DerivativeLost)])
def test_misuse_raises_what_numpy_users_expect(use, error):
    def f(t):
        a = np.zeros(6)
        with pytest.raises(error):
            use(a, t)
        return t
    assert ds.grad(f)(1.0) == 1.0


def test_copies_and_pickles_are_independent():
    a = holding(np.arange(3.0), False)
    for b in (copy.copy(a), copy.deepcopy(a), pickle.loads(pickle.dumps(a))):
        b[0] = 9.0
    assert a[0] == 0.0
    assert type(pickle.loads(pickle.dumps(a))) is np.ndarray


def test_float_of_a_traced_item_is_refused():
    def f(y):
        a = np.zeros(2)
        a[0] = y
        assert isinstance(a.read(), Tracer)
        with pytest.raises(DerivativeLost):
            float(a[0])
        with pytest.raises(DerivativeLost):
            PLAIN_ASARRAY(a, float)
        return a[0]
    assert ds.grad(f)(1.0) == 1.0


def test_the_diagonal_of_a_view_is_filled_in_its_base():
    def f(x):
        y = np.zeros((3, 3)) * x
        np.fill_diagonal(y[:2, :2], x)
        np.fill_diagonal(y[1:].T, 3 * x)
        return y

    x = 2.0
    np.testing.assert_array_equal(ds.jvp(f, (x,), (1.0,))[0], f(x))
    np.testing.assert_array_equal(ds.jvp(f, (x,), (1.0,))[1], f(1.0))


@pytest.mark.parametrize("write", [
    lambda a: np.copyto(a, 5.0, where=np.arange(3) == 1), lambda a: np.put(a, [1], 5.0), lambda a: np.place(a, np.arange(3) == 1, [5.0]),
    lambda a: np.putmask(a, np.arange(3) == 1, 5.0), lambda a: np.fill_diagonal(a.reshape(3, 1), 5.0), lambda a: a.partition(1),
    lambda a: np.put_along_axis(a, np.array([1]), 5.0, 0), lambda a: np.nan_to_num(a, copy=False), lambda a: np.add(a, 1.0, out=a),
    lambda a: np.cumsum(a, out=a), lambda a: a.sort(), lambda a: np.add.at(a, [0], 1.0), lambda a: np.clip(a, 0.0, 0.1, out=a)])
def test_a_function_that_writes_leaves_the_copies_of_plain_arrays_alone(write):
    def f(x):
        a = np.array([0.3, np.nan if holed else 0.2, 0.1])
        b, c, kept = a.copy(), np.array(a), a + 0.0
        rebound(write)(b)
        assert np.array_equal(np.array(a), np.array(kept), equal_nan=True)
        assert np.array_equal(np.array(c), np.array(kept), equal_nan=True)
        return x * b
    holed = "nan_to_num" in write.__code__.co_names
    wanted = np.array([0.3, np.nan if holed else 0.2, 0.1])
    write(wanted)
    np.testing.assert_array_equal(ds.grad(lambda x: np.sum(f(x)))(np.ones(3)), wanted)


"""Arrays of integers and truth values are written, and seen through their views and other names, as NumPy's are."""

import copy

import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import MutationError

DTYPES = (np.int64, np.int32, np.int8, np.bool_, np.float64)
NUMBERS = np.array([3, 0, 2, 1, 1])


def raised(z):
    """Write through another name."""
    w = z
    if z.dtype == bool:
        w ^= True
    else:
        w += 1
    return z


def views(z):
    z = z.copy()
    bulk = z[1:-1]
    bulk |= bulk[::-1] > 0
    z.reshape(-1, 1)[:2] &= z[1:3].reshape(-1, 1)
    bulk[:] = bulk[::-1]
    z[0], z[-1] = z[-1], z[0]
    z[[1, 2]] = z[[2, 1]]
    return z


def relaxed(s):
    s = s.copy()
    s[1:] += 1
    bulk = s[1:-1]
    bulk += 1
    bulk *= 2
    bulk //= 3
    bulk -= s.dtype.type(1)
    return s


COPIES = {
    "copy": lambda x: x.copy(), "flatten": lambda x: x.flatten(), "copy of a view": lambda x: x[:].copy(), "picked": lambda x: x[[0, 1, 2]],
    "masked": lambda x: x[np.array([True, False] * 2 + [True])], "transposed": lambda x: x.T.copy(), "reversed": lambda x: x[::-1].copy(),
    "sorted": np.sort, "order": np.argsort, "running": np.cumsum, "absolute": np.abs, "repeated": lambda x: np.repeat(x, 2),
    "rolled": lambda x: np.roll(x, 1), "tiled": lambda x: np.tile(x, 2), "copied": copy.copy, "deeply": copy.deepcopy,
    "np.copy": np.copy, "np.array": np.array, "cast": lambda x: x.astype(np.int32), "sum": lambda x: x + x, "compared": lambda x: x > 1,
    "taken": lambda x: np.take(x, [1, 2]), "outer": lambda x: np.outer(x, x), "finite": np.isfinite, "not": np.logical_not,
    "clipped": lambda x: np.clip(x, 0, 1), "diagonal": np.diag, "joined": lambda x: np.concatenate([x, x]), "of an axis":
    lambda x: np.stack([x, x]).any(axis=0), "where": lambda x: np.where(x > 1, x, 0), "raveled": lambda x: x.copy().ravel(),
    "filled": lambda x: np.full_like(x, 1), "padded": lambda x: np.pad(x, 1), "view of a copy": lambda x: x.copy()[1:],
}  # fmt: skip


def agrees(f, x):
    """Raise unless compiled, member by member and beside a derivative a function gives NumPy's values and dtype."""
    wanted, other = f(x.copy()), f(x[::-1].copy())
    _, beside = ds.grad(lambda p, x: (2.0 * p, f(x)), has_aux=True)(1.0, x)
    for got in (ds.jit(f)(x), beside, ds.vmap(f)(np.stack([x, x[::-1]]))):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted if got.ndim == wanted.ndim else np.stack([wanted, other]))


@pytest.mark.parametrize("name", COPIES)
def test_another_name_of_a_result_sees_what_is_written(name):
    for dtype in DTYPES:
        agrees(lambda x: raised(COPIES[name](x)), NUMBERS.astype(dtype))


def test_views_of_a_copy_are_written():
    for dtype in DTYPES[:-1]:
        agrees(views, NUMBERS.astype(dtype))
    for dtype in DTYPES[:3]:
        agrees(relaxed, NUMBERS.astype(dtype))


def test_loops_write_integers():
    def scanned(x):
        def body(c, k):
            z = c.copy()
            w = z[1:]
            w += k
            return z, z.sum()
        return ds.scan(body, x, np.arange(3))

    def counted(x):
        def body(_, c):
            z = c.copy()
            w = z
            w += 1
            return z
        return ds.fori_loop(0, 3, body, x)

    for got, wanted in zip(ds.jit(scanned)(NUMBERS), ([3, 3, 5, 4, 4], [7, 11, 19]), strict=True):
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(ds.jit(counted)(NUMBERS), NUMBERS + 3)


def test_an_index_written_through_another_name_picks_the_same_elements_in_value_and_gradient():
    def picked(x, index):
        i = index.copy()
        j = i
        j += 1
        return np.sum(x[i] ** 2)

    x, index = np.arange(1.0, 6.0), np.array([0, 0, 2])
    assert ds.jit(picked)(x, index) == picked(x, index) == 24.0
    for gradient in (ds.grad(picked), ds.jit(ds.grad(picked)), ds.grad(ds.jit(picked))):
        np.testing.assert_array_equal(gradient(x, index), [0.0, 8.0, 0.0, 8.0, 0.0])


@pytest.mark.parametrize("alias", [
    lambda x: x, lambda x: x[1:], np.asarray, np.ravel, lambda x: x.reshape(-1), np.ascontiguousarray, lambda x: x.T,
])  # fmt: skip
def test_an_argument_is_not_written(alias):
    for dtype in DTYPES:
        x = NUMBERS.astype(dtype)
        for f in (ds.jit(lambda x: (raised(alias(x)), x)), ds.jit(lambda x: (alias(x).fill(1), x)[1])):
            with pytest.raises(MutationError, match="input of jit"):
                f(x)
        with pytest.raises(MutationError, match="input of vmap"):
            ds.vmap(lambda x: raised(alias(x)))(np.stack([x, x]))


def test_what_is_written_keeps_its_dtype_or_is_refused():
    def added(x, s):
        y = x.copy()
        y += s
        return y

    def halved(x):
        y = x.copy()
        y /= 2
        return y

    for f in (ds.jit(added), ds.vmap(added, in_axes=(0, None))):
        x = NUMBERS.astype(np.int8)[:, None]
        y = f(x, np.int64(3))
        assert y.dtype == np.int8
        np.testing.assert_array_equal(y, x + 3)
        for s in (2.5, np.ones(1)):
            with pytest.raises(TypeError, match=r"Cannot cast ufunc 'add' output from dtype.'float64'. to dtype.'int8'. with casting rule"):
                f(x, s)
        with pytest.raises(TypeError, match=r"to dtype.'bool'."):
            f(x > 1, 1)
    with pytest.raises(TypeError, match=r"Cannot cast ufunc 'divide' output from dtype.'float64'. to dtype.'int64'."):
        ds.jit(halved)(NUMBERS)


def answer(f, x):
    """What a function gives, or the message of what it raises."""
    try:
        return f(x)
    except (TypeError, OverflowError) as reason:
        return str(reason)


def agrees_or_refuses(f, x):
    """Raise unless NumPy's answer, be it an error, is that of a compiled function and of members."""
    wanted = answer(f, x)
    for got in (answer(ds.jit(f), x), answer(lambda x: ds.vmap(f)(x[None])[0], x)):
        assert getattr(got, "dtype", got) == getattr(wanted, "dtype", wanted)
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("f", [
    lambda x: np.multiply(x, 2.5, dtype=x.dtype), lambda x: np.multiply(x, 2.5, dtype=np.int64, casting="unsafe"),
    lambda x: np.add(x, 3, dtype=np.int32), lambda x: np.add(x, 300, dtype=np.int8, casting="unsafe"),
    lambda x: np.add(x, 0.5, dtype=np.float32),
    lambda x: np.add(x, 1.5, dtype=np.float32, casting="safe"), lambda x: np.true_divide(x, 2, dtype=np.int64),
    lambda x: np.less(x, 2, dtype=bool), lambda x: np.abs(x, dtype=np.int64), np.conj, np.positive,
], ids=range(11))  # fmt: skip
def test_a_ufunc_computes_in_the_dtype_asked_for_or_refuses_as_numpy_does(f):
    for dtype in DTYPES:
        agrees_or_refuses(f, NUMBERS.astype(dtype))


def test_a_plain_array_of_integers_takes_no_floats_nor_leaves_its_base_behind():
    def added(x):
        z = np.zeros(5, int)
        z += x
        return z

    def through_a_view(x):
        z = np.zeros(5, int)
        w = z[1:]
        w += x[1:]
        return z

    def shaped(x):
        z = np.arange(5).reshape(5, 1)
        z += x[:, None]
        return z

    agrees_or_refuses(added, NUMBERS)
    agrees_or_refuses(added, NUMBERS * 1.5)
    agrees_or_refuses(shaped, NUMBERS)
    with pytest.raises(ds.errors.DerivativeLost, match="a part of shape"):
        ds.vmap(through_a_view)(NUMBERS[None])
    with pytest.warns(ds.errors.DiffsimWarning, match="uncompiled"):
        np.testing.assert_array_equal(ds.jit(through_a_view)(NUMBERS), [0, *NUMBERS[1:]])

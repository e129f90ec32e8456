"""Compiled programs of integers and of NaN answer as NumPy does: dtypes, overflow, order."""

import numpy as np
import pytest

import diffsim as ds

TABLE = np.random.default_rng(4).integers(-120, 120, (5, 7))
MASK = TABLE > 0
DTYPES = (np.bool_, np.int8, np.uint8, np.int16, np.uint32, np.int64, np.uint64)
REDUCTIONS = {
    "sum": np.sum, "of an axis": lambda x: np.sum(x, axis=0), "of no axis": lambda x: np.sum(x, axis=()),
    "where": lambda x: np.sum(x, where=MASK), "initial": lambda x: x.sum(initial=5), "as asked": lambda x: np.sum(x, dtype=np.int8),
    "product": lambda x: np.prod(x[:3], axis=0), "product where": lambda x: np.prod(x[:2], axis=0, where=MASK[:2]),
    "mean": np.mean, "mean where": lambda x: np.mean(x, axis=1, where=MASK), "mean as asked": lambda x: np.mean(x, dtype=np.float32),
    "running sum": lambda x: np.cumsum(x, axis=1), "running product": lambda x: np.cumprod(x[:3], axis=0),
    "accumulate": lambda x: np.add.accumulate(x, axis=0), "reduce": np.add.reduce, "nansum": np.nansum,
    "nanprod": lambda x: np.nanprod(x[:1]),
    "nanmax": np.nanmax, "nanmin": lambda x: np.nanmin(x, axis=0), "nancumsum": np.nancumsum, "average": lambda x: np.average(x, axis=0),
    "isinf": np.isinf, "modf": np.modf,
}  # fmt: skip


def same(got, wanted):
    for x, y in zip(got if isinstance(got, tuple) else (got,), wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=1e-6 if y.dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_of_integers_have_the_dtype_and_the_value_of_numpy(name):
    f = ds.jit(REDUCTIONS[name])
    for dtype in DTYPES:
        same(f(TABLE.astype(dtype)), REDUCTIONS[name](TABLE.astype(dtype)))


@pytest.mark.parametrize("decimals", [0, 2, -1])
def test_rounding_leaves_integers_integers(decimals):
    for dtype in DTYPES[1:]:
        x = TABLE.astype(dtype) % 100
        same(ds.jit(lambda x: np.round(x, decimals))(x), np.round(x, decimals))


ODD = np.array([np.nan, 1.0, np.inf, -np.inf, 0.0, 0.5, 2.0, 9.0])
KNOTS = {"numbers": np.array([0.0, 1.0, 1.0, 2.0]), "nan behind": np.array([0.0, 1.0, np.nan, np.nan]), "none": np.zeros(0)}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("knots", KNOTS)
def test_nan_is_searched_behind_all_numbers(knots, side):
    table = KNOTS[knots]
    same(ds.jit(lambda x: np.searchsorted(table, x, side))(ODD), np.searchsorted(table, ODD, side))
    same(ds.jit(lambda t, x: np.searchsorted(t, x, side))(table, ODD), np.searchsorted(table, ODD, side))


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("step", [1, -1])
def test_nan_is_put_into_the_bin_behind_all_numbers(step, right):
    bins = KNOTS["numbers"][::step]
    same(ds.jit(lambda x: np.digitize(x, bins, right))(ODD), np.digitize(ODD, bins, right))


def test_infinity_has_no_fraction():
    same(ds.jit(np.modf)(ODD), np.modf(ODD))
    np.testing.assert_array_equal(ds.vjp(lambda x: np.modf(x)[0], ODD)[1](np.ones(8))[0][[1, 4, 5]], 1.0)


BITS = {
    "and": lambda x, y: x & y, "or": lambda x, y: x | 3, "xor": lambda x, y: 5 ^ x, "not": lambda x, y: ~x, "left": lambda x, y: x << y,
    "right": lambda x, y: x >> y, "of a number": lambda x, y: (1 << y) ^ x, "of truths": lambda x, y: (x > 2) & (y > 3) | ~(x > y),
    "of a truth": lambda x, y: (x > 2) & y, "together": lambda x, y: np.invert(x) + np.right_shift(x ^ y, 1),
    "in place": lambda x, y: masked(x),
}  # fmt: skip


def masked(x):
    x = x.copy()
    x &= 6
    x <<= 1
    return x


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
@pytest.mark.parametrize("name", BITS)
def test_bit_operations_are_numpys(name, dtype, rng):
    f, x = BITS[name], rng.integers(-90, 90, (3, 20)).astype(dtype)
    y = rng.integers(-3, 70, 20) if dtype is np.int64 else rng.integers(0, 8, 20).astype(dtype)
    same(ds.jit(f)(x, y), f(x, y))
    same(ds.vmap(f, in_axes=(0, None))(x, y), f(x, y))


def test_bits_of_floats_are_refused_as_by_numpy():
    for f in (lambda x: x & 1, lambda x: ~x, lambda x: x << 2):
        with pytest.raises(TypeError, match="takes integers and truth values"):
            ds.jit(f)(np.ones(3))


def test_a_generator_of_random_numbers_compiles():
    def loss(x, seed):
        for _ in range(3):
            seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
            x = x * (seed >> 16) / 2**15
        return x
    got = ds.jit(ds.value_and_grad(loss))(2.0, np.int64(3))
    np.testing.assert_allclose(got, (loss(2.0, np.int64(3)), loss(1.0, np.int64(3))), rtol=1e-14)

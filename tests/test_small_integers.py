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

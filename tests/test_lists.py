"""Lists of traced numbers where NumPy takes an array: ``np.mean([a, b])``."""

import numpy as np
import pytest
from numpy import median
from numpy.linalg import det

import diffsim as ds
from diffsim.errors import InputTypeError
from diffsim.testing import check_grads

A, B, X = 0.7, 0.2, np.array([1.0, 2.0])
PROGRAMS = {
    "mean": lambda a, b, x: np.mean([a, b]),
    "mean of arrays": lambda a, b, x: np.mean([a * x, x], axis=0),
    "sum": lambda a, b, x: np.exp(np.sum([a * x, x], axis=0)),
    "max beside an int": lambda a, b, x: np.max([[a, b], [b, 1]]),
    "std": lambda a, b, x: np.std((a, b, 1.0)),
    "median": lambda a, b, x: np.median([a, b, x[0]]) + median([a, b]),
    "percentile": lambda a, b, x: np.percentile([a, b], 30.0),
    "interp": lambda a, b, x: np.interp(0.5, [0.0, 1.0], [a, b]) + np.interp([a, b], [0.0, 1.0], fp=[1.0, b]),
    "average": lambda a, b, x: np.average([1.0, 2.0], weights=[a, b]),
    "cov": lambda a, b, x: np.cov([x, [a, b]]),
    "gradient": lambda a, b, x: np.gradient([a, b, 2.0]),
    "round": lambda a, b, x: np.round([a, b], 1) * x,
    "det": lambda a, b, x: np.linalg.det([[a, b], [b, 2.0]]) + det([[a, 1.0], [b, 2.0]]),
    "solve": lambda a, b, x: np.linalg.solve([[3.0, 1.0], [1.0, a]], [a, b]),
    "norm": lambda a, b, x: np.linalg.norm([a, b]),
    "fft": lambda a, b, x: np.fft.rfft([a, b, 1.0]).real,
    "insert": lambda a, b, x: np.insert(x, 1, [a]),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_list_of_traced_numbers_is_an_array(name):
    f = PROGRAMS[name]
    wanted = np.asarray(f(A, B, X))
    y, _ = ds.jvp(f, (A, B, X), (1.0, 0.5, np.ones(2)))
    assert (np.shape(y), np.asarray(y).dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_allclose(y, wanted, rtol=1e-13)
    check_grads(f, (A, B, X), order=1)
    np.testing.assert_allclose(ds.jvp(lambda a: f(a, B, X), (A,), (1.0,))[0], wanted, rtol=1e-13)


def test_a_list_is_promoted_as_numpy_promotes_it():
    x = np.arange(3, dtype=np.float32)
    for f in (lambda x: np.sum([x[0], 2.0]), lambda x: np.sum([x[0], x[1]]), lambda x: np.mean([x[1], x[2]])):
        y = ds.jvp(f, (x,), (x,))[0]
        assert y.dtype == f(x).dtype
        assert y == f(x)


@pytest.mark.parametrize("f", [lambda a: np.sum(np.array([a, None])), lambda a: np.stack([a, {}]),
                               lambda a: np.concatenate([np.array([None]), np.array([a])])])  # fmt: skip
def test_what_is_no_number_is_named(f):
    for transform in (ds.grad, ds.jit):
        with pytest.raises(InputTypeError, match=r"(None|\{\}) is no number"):
            transform(f)(A)

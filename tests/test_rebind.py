
"""Functions run with np rebound: plain `import numpy as np` programs that create and write arrays."""

import functools
import gc
import math
import numbers
import sys
import textwrap
import types
import warnings
import weakref

import numpy
import numpy as np
import pytest
from numpy import array, isscalar, linalg, zeros
from numpy import ones as all_ones

import diffsim as ds
from diffsim.core import Tracer
from diffsim.numpy import Array
from diffsim.numpy.rebind import is_user_function, original, rebound

SCALE = 2.0
RESULTS = []


def helper(y):
    out = np.empty(2)
    out[0] = SCALE * y[0]
    out[1] = y[1] ** 2
    return out


def by_names(y):
    a = zeros(2)
    a[:] = array([y[1], 1.0]) + all_ones(2)
    a[0] += numpy.full(1, y[0])[0]
    return linalg.norm(a)


def fib(y, n):
    return all_ones(2) * y if n < 2 else fib(y, n - 1) + fib(y, n - 2)


def counted(y):
    global COUNT
    COUNT += 1
    return np.sum(helper(y)) * COUNT


COUNT = 0


class Model:
    rate = 3.0

    def rhs(self, y):
        out = np.zeros(2)
        out[0] = self.rate * y[0]
        return out

    def __call__(self, y):
        out = np.zeros(2)
        out[1] = self.rate * y[1]
        return out

    @staticmethod
    def plain(y):
        out = np.zeros(2)
        out[:] = y
        return out

    @classmethod
    def named(cls, y):
        out = np.zeros(2)
        out[:] = cls.rate * y
        return out


def doubled(f):
    @functools.wraps(f)
    def run(*args):
        return 2.0 * f(*args)
    return run


@doubled
def decorated(y):
    out = np.zeros(2)
    out[0] = y[0]
    return out


def with_defaults(y, make=zeros, *, shape=2, create=np.ones):
    out = make(shape)
    out[0] = y[0]
    return out * create(2)


def total_of(f, y):
    return np.sum(f(y))


def generator(y):
    def parts():
        for i in range(2):
            out = np.zeros(2)
            out[i] = y[i]
            yield out
    return sum(parts())


def comprehension(y):
    return np.array([[np.array([a, 1.0])[0] * b for a in y] for b in y])


def imports_inside(y):
    import numpy as inner  # noqa: PLC0415  (what is tested)
    from numpy import zeros as make  # noqa: PLC0415  (what is tested)
    out, more = inner.zeros(2), make(2)
    out[0], more[1] = y[0], y[1]
    return out + more


def closure():
    local = np

    def inner(y):
        out = local.zeros(2)
        out[0] = y[0]
        return out

    def outer(y):
        return inner(y) + again(y, 1)

    def again(y, n):
        out = local.zeros(2)
        out[1] = y[1]
        return out if n == 0 else out + again(y, n - 1)
    return outer


def lambda_inside(y):
    make = lambda v: np.array([v, 1.0])                     # noqa: E731
    a = make(y[0])
    a[1] = y[1]
    return a


Y = np.array([0.7, 1.3])
CALLS = {"helper": helper, "by_names": by_names, "recursion": lambda y: fib(y, 4), "bound method": Model().rhs,
         "callable object": Model(), "static": Model.plain,
         "class method": Model.named, "decorated": decorated, "defaults": with_defaults,
         "keyword defaults": functools.partial(with_defaults, shape=2),
         "partial": functools.partial(lambda k, y: k * helper(y), 3.0), "partial of a method": functools.partial(Model().rhs),
         "generator": generator,
         "comprehension": comprehension, "imports inside": imports_inside, "closure": closure(), "lambda inside": lambda_inside,
         "global partial": lambda y: PARTIAL(y), "global method": lambda y: METHOD(y)}
PARTIAL, METHOD = functools.partial(helper), Model().rhs


@pytest.mark.parametrize("name", CALLS)
def test_a_program_that_creates_and_writes_arrays_has_a_derivative(name):
    f, v, h = CALLS[name], np.array([0.3, -0.4]), 1e-6
    y, y_dot = ds.jvp(f, (Y,), (v,))
    plain = f(Y)
    assert type(plain) in (np.ndarray, np.float64)
    np.testing.assert_allclose(y, plain, rtol=1e-14)
    np.testing.assert_allclose(y_dot, (f(Y + h * v) - f(Y - h * v)) / (2 * h), rtol=1e-8, atol=1e-9)


def test_functions_of_another_module_of_the_users_are_rebound(tmp_path, monkeypatch):
    (tmp_path / "my_rates.py").write_text(textwrap.dedent("""
        import numpy as np
        K = 2.0

        def rates(y):
            out = np.zeros(2)
            out[0] = K * y[0]
            return out
    """))
    monkeypatch.syspath_prepend(tmp_path)
    import my_rates  # noqa: PLC0415  (what is tested)
    from my_rates import rates  # noqa: PLC0415  (what is tested)
    monkeypatch.setitem(globals(), "my_rates", my_rates)
    monkeypatch.setitem(globals(), "rates", rates)
    for f in (lambda y: my_rates.rates(y), lambda y: rates(y), lambda y: _imported(y)):
        np.testing.assert_array_equal(ds.jacobian(f)(Y), [[2, 0], [0, 0]])
    monkeypatch.setattr(my_rates, "K", 5.0)
    np.testing.assert_array_equal(ds.jacobian(lambda y: my_rates.rates(y))(Y), [[5, 0], [0, 0]])
    del sys.modules["my_rates"]


def _imported(y):
    from my_rates import rates  # noqa: PLC0415  (what is tested)
    return rates(y)


def test_nothing_is_patched():
    before = dict(globals())
    ds.grad(lambda y: np.sum(helper(y)))(Y)
    assert all(globals()[k] is v for k, v in before.items())
    assert np.zeros is numpy.zeros
    assert type(np.zeros(2)) is np.ndarray
    assert type(helper(Y)) is np.ndarray


def test_globals_are_read_live(monkeypatch):
    f = rebound(helper)
    assert ds.jacobian(helper)(Y)[0, 0] == 2.0
    monkeypatch.setitem(globals(), "SCALE", 7.0)
    assert ds.jacobian(helper)(Y)[0, 0] == 7.0
    assert rebound(helper) is f
    monkeypatch.setitem(globals(), "helper_used", lambda y: 3.0 * y)
    g = lambda y: helper_used(y)                            # noqa: E731, F821
    assert ds.jacobian(g)(Y)[0, 0] == 3.0
    monkeypatch.setitem(globals(), "helper_used", lambda y: 4.0 * y)
    assert ds.jacobian(g)(Y)[0, 0] == 4.0


def test_the_name_np_may_come_to_mean_something_else():
    space = {"np": np}
    exec("def f(y): return np.zeros(2) + y", space)
    assert isinstance(rebound(space["f"])(Y), Array)
    space["np"] = types.SimpleNamespace(zeros=lambda n: 5.0)
    np.testing.assert_array_equal(rebound(space["f"])(Y), Y + 5.0)


def test_cells_are_live():
    k = 2.0

    def f(y):
        return k * y

    assert ds.grad(f)(1.0) == 2.0
    k = 3.0
    assert ds.grad(f)(1.0) == 3.0
    make = zeros

    def g(y):
        out = make(2)
        out[0] = y
        return out[0] * 2.0

    assert ds.grad(g)(1.0) == 2.0
    make = lambda n: {}                                     # noqa: E731
    assert ds.grad(g)(1.0) == 2.0
    assert k == 3.0


def test_global_statements_reach_the_real_globals():
    global COUNT
    COUNT = 0
    ds.grad(counted)(Y)
    ds.grad(counted)(Y)
    assert COUNT == 2
    assert ds.grad(counted)(Y)[0] == 6.0


def test_a_class_or_a_warning_made_inside_belongs_to_the_users_module():
    made = []

    def f(y: float) -> float:
        made.extend([type("Made", (), {}), types.SimpleNamespace])
        warnings.warn("look here", UserWarning, stacklevel=1)
        return np.sum(y)
    with pytest.warns(UserWarning, match="look here") as caught:
        ds.grad(f)(Y)
    assert made[0].__module__ == __name__
    assert caught[0].filename == __file__
    assert rebound(f).__annotations__ == f.__annotations__ == {"y": float, "return": float}


def test_nonlocal_and_lists_outside_work_as_ever():
    seen, n = [], 0

    def f(y):
        nonlocal n
        n += 1
        seen.append(len(seen))
        RESULTS.append(n)
        return np.sum(y)
    ds.grad(f)(Y)
    ds.grad(f)(Y)
    assert (seen, n) == ([0, 1], 2)


def test_rebinding_is_idempotent_and_reversible():
    f = rebound(helper)
    assert f is not helper
    assert rebound(f) is f
    assert rebound(helper) is f
    assert original(f) is helper
    assert original(helper) is helper
    method = Model().rhs
    assert original(rebound(method)) == method
    assert (f.__name__, f.__qualname__, f.__module__, f.__doc__) == (helper.__name__, helper.__qualname__, helper.__module__,
        helper.__doc__)
    assert original(rebound(counted)) is counted


def test_functions_defined_inside_a_rebound_one_are_rebound():
    kept = []

    def f(y):
        def inner(z):
            out = np.zeros(2)
            out[:] = z
            return np.sum(out)
        kept.append(inner)
        return ds.grad(inner)(y)[0] * inner(y)

    assert ds.grad(f)(Y)[0] == 1.0
    assert rebound(kept[0]) is kept[0]


def test_what_is_not_the_users_is_left_alone():
    scipy_optimize = pytest.importorskip("scipy.optimize")
    for f in (np.sum, np.sin, np.mean, len, scipy_optimize.approx_fprime, ds.grad, textwrap.dedent, dict, Model,
              functools.lru_cache(helper), 3.0, numpy.linalg.norm):
        assert rebound(f) is f
        assert original(f) is f
        assert not is_user_function(f)
    assert is_user_function(helper)
    assert is_user_function(Model().rhs)
    assert is_user_function(rebound(helper))


def test_compiled_functions_are_left_alone():
    numba = pytest.importorskip("numba")
    kernel = numba.njit(lambda x: x * 2.0)
    assert rebound(kernel) is kernel

    def f(y):
        return kernel(3.0) * y
    assert ds.grad(f)(1.0) == 6.0


def test_rebinding_keeps_no_function_alive():
    def make():
        def f(y, n=3):
            return f(y, n - 1) if n else np.zeros(2) + y
        return f
    f = make()
    ds.grad(functools.partial(total_of, f))(Y)
    dead = weakref.ref(f)
    del f
    gc.collect()
    assert dead() is None


def test_an_error_inside_points_to_the_users_line():
    def f(y):
        return np.isnat(np.zeros((2, 2)) + y)
    with pytest.raises(NotImplementedError, match=r"test_rebind\.py:\d+"):
        ds.grad(f)(1.0)


def test_traced_values_reach_print_and_format(capsys):
    def f(y):
        print(y, f"{y[0]:.2f}")
        return np.sum(y)
    ds.grad(f)(Y)
    assert "traced" in capsys.readouterr().out


def test_what_a_function_under_a_transform_holds():
    seen = []

    def f(y):
        a = np.zeros(2)
        seen.extend([isinstance(a, np.ndarray), isinstance(a, Array), isinstance(y, Array), isinstance(y[0], Tracer),
                     isinstance(np.zeros(2, int), np.ndarray)])
        return np.sum(y)
    ds.grad(f)(Y)
    assert seen == [True, True, True, True, True]


def test_traced_arrays_are_arrays_to_isinstance():
    def f(x):
        y = np.zeros(3)
        y[0] = x[0]
        return np.sum(x) * 2 if isinstance(x, np.ndarray) and isinstance(y, np.ndarray) and not isinstance(x[0], np.ndarray) else np.sum(x)

    x = np.ones(3)
    np.testing.assert_array_equal(ds.grad(f)(x), [2.0, 2.0, 2.0])
    np.testing.assert_array_equal(ds.jit(ds.grad(f))(x), [2.0, 2.0, 2.0])
    sol = ds.solve_ivp(lambda t, y: -y if isinstance(y, np.ndarray) else -2 * y, (0, 1), [1.0], t_eval=[1.0], rtol=1e-9)
    assert sol.y[0, 0] == pytest.approx(np.exp(-1))


def branches_on_kind(x):
    kinds = (isinstance(x, float), isinstance(x, (int, list)), np.isscalar(x), isscalar(x), isinstance(x, numbers.Real),
             isinstance(x, np.floating), isinstance(x, np.ndarray), isinstance(x, (list, np.ndarray, float)))
    return sum(2.0**i * x for i, kind in enumerate(kinds) if kind)


@pytest.mark.filterwarnings("ignore::diffsim.errors.FallbackWarning")
@pytest.mark.parametrize("x", [np.float64(1.5), np.float32(1.5), np.complex128(1.5), np.array([1.5, 2.0])])
def test_a_branch_on_the_kind_of_a_number_is_taken_as_in_numpy(x):
    wanted = branches_on_kind(x)
    for y in (ds.jvp(branches_on_kind, (x,), (x,))[1], ds.jit(branches_on_kind)(x),
              ds.jvp(lambda x: ds.jvp(branches_on_kind, (x,), (x,))[1], (x,), (x,))[1]):
        np.testing.assert_array_equal(y, wanted)
    np.testing.assert_array_equal(ds.vmap(branches_on_kind)(np.stack([x, x]))[0], wanted)


@pytest.mark.filterwarnings("ignore::diffsim.errors.FallbackWarning")
def test_a_traced_number_is_rounded():
    def f(x):
        return round(x, 1) * x + round(x) * x + math.floor(x) * x + math.ceil(x) * x + math.trunc(x) * x
    for x in (2.37, -2.37):
        y, y_dot = ds.jvp(f, (x,), (1.0,))
        assert (y, y_dot) == (f(x), pytest.approx(f(x) / x))
        assert ds.jit(ds.grad(f))(x) == pytest.approx(f(x) / x)
        assert ds.grad(ds.grad(f))(x) == 0.0


def test_code_replaced_in_place_is_seen():
    def helper(y):
        return 2.0 * y

    def f(y):
        return helper(y) + 1.0

    compiled = ds.jit(f)
    assert (ds.grad(f)(3.0), compiled(3.0)) == (2.0, 7.0)
    helper.__code__ = (lambda y: y * y).__code__            # as IPython's autoreload does
    assert (ds.grad(f)(3.0), compiled(3.0)) == (6.0, 10.0)

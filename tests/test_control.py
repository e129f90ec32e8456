"""Control flow: every verb against plain Python loops, in every mode and order; laws of the primitives; types, errors, levels."""

import numpy as np
import pytest

import diffsim as ds
from diffsim.core import Aval, eval_graph
from diffsim.errors import ConcretizationError, FallbackWarning, InputError, InputTypeError, NotANumberError, StrongZeroWarning
from diffsim.numpy.stacking import lift
from diffsim.testing import LAWS, Sample, check_grads
from diffsim.transforms import trace


# ---------------------------------------------------------------- programs, with a verb and without
def oscillator(loop, n, **options):
    """A driven, damped pendulum: constants, two carries, driving as slices, an energy as a result."""
    def f(k, q, v, force):
        def step(state, x):
            q, v = state
            v = v - 0.1 * (k * np.sin(q) + 0.3 * v - x * k)
            return (q + 0.1 * v, v), 0.5 * v * v - np.cos(q)
        (q, v), energy = loop(step, (q, v), force[:n], **options)
        return np.sum(q * v) + np.sum(energy * np.arange(1.0, n + 1))
    return f


def unrolled(f, init, xs=None, length=None, reverse=False):
    """What ``scan`` means."""
    n = length if xs is None else len(ds.tree.leaves(xs)[0])
    carry, ys = init, []
    for i in reversed(range(n)) if reverse else range(n):
        carry, y = f(carry, None if xs is None else ds.tree.map(lambda a, i=i: a[i], xs))
        ys.append(y)
    ys = ys[::-1] if reverse else ys
    return carry, ds.tree.map(lambda *column: np.stack(column), *ys) if ys else None


POINT = (np.float64(1.3), np.float64(0.4), np.float64(-0.2), np.array([0.3, -0.1, 0.5, 0.2, -0.4, 0.1, 0.7]))


def close(a, b, tol=1e-13):
    fa, fb = ds.tree.leaves(a), ds.tree.leaves(b)
    assert len(fa) == len(fb)
    for x, y in zip(fa, fb, strict=True):
        assert np.shape(x) == np.shape(y)
        np.testing.assert_allclose(x, y, rtol=tol, atol=tol)


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_is_the_unrolled_loop(reverse):
    f, g = oscillator(ds.scan, 7, reverse=reverse), oscillator(unrolled, 7, reverse=reverse)
    numbers = (0, 1, 2, 3)
    assert f(*POINT) == g(*POINT)
    close(ds.grad(f, numbers)(*POINT), ds.grad(g, numbers)(*POINT))
    dots = tuple(np.ones_like(x) * 0.7 for x in POINT)
    close(ds.jvp(f, POINT, dots), ds.jvp(g, POINT, dots))
    close(ds.hvp(f, POINT, dots), ds.hvp(g, POINT, dots))
    close(ds.hessian(f, 3)(*POINT), ds.hessian(g, 3)(*POINT))
    close(ds.hessian(f, (0, 1))(*POINT), ds.hessian(g, (0, 1))(*POINT))


def test_third_derivatives_of_a_scan():
    def f(loop):
        return lambda a: loop(lambda c, x: (np.sin(a * c) + x, c * c), a, np.array([0.1, 0.4, 0.2]))[0]
    third = [ds.grad(ds.grad(ds.grad(f(loop))))(0.8) for loop in (ds.scan, unrolled)]
    mixed = [ds.jvp(ds.grad(lambda a, loop=loop: ds.jvp(f(loop), (a,), (1.0,))[1]), (0.8,), (1.0,))[1] for loop in (ds.scan, unrolled)]
    close(third[0], third[1])
    close(mixed, [third[1]] * 2)


@pytest.mark.parametrize("verb", ["grad", "jvp", "hessian", "jacfwd", "vjp"])
def test_carries_may_be_trees_of_numbers_of_any_kind(verb):
    def f(loop):
        def step(s, x):
            n, flag = s["n"] + 1, np.logical_not(s["flag"])
            v = np.where(flag, s["v"] * x["a"], s["v"] + x["b"] * n)
            return {"n": n, "flag": flag, "v": v}, (v[0], n)

        def program(v):
            xs = {"a": np.array([0.5, 1.5, -0.3]) * v[0], "b": np.arange(3.0)}
            end, (first, counts) = loop(step, {"n": 0, "flag": np.bool_(True), "v": v}, xs)
            return np.sum(end["v"] ** 2) + np.sum(first * counts) + end["n"]
        return program
    v = np.array([0.3, -0.7])
    run = {"grad": lambda g: ds.grad(g)(v), "jvp": lambda g: ds.jvp(g, (v,), (np.ones(2),)), "hessian": lambda g: ds.hessian(g)(v),
           "jacfwd": lambda g: ds.jacfwd(g)(v), "vjp": lambda g: ds.vjp(g, v)[1](1.0)}[verb]
    close(run(f(ds.scan)), run(f(unrolled)))


def test_zero_steps():
    def f(c, x):
        c, y = ds.scan(lambda c, x: (np.sin(c) * x, c + x), c, x)
        return c + np.sum(y)
    assert f(0.3, np.zeros(0)) == 0.3
    close(ds.grad(f, (0, 1))(0.3, np.zeros(0)), (1.0, np.zeros(0)))
    close(ds.jvp(f, (0.3, np.zeros(0)), (2.0, np.zeros(0)))[1], 2.0)
    _, y = ds.scan(lambda c, x: (c, {"a": x, "b": c}), np.ones(2), np.zeros((0, 3)))
    assert y["a"].shape == (0, 3)
    assert y["b"].shape == (0, 2)
    assert ds.fori_loop(5, 2, lambda i, x: x * i, 1.5) == 1.5
    assert ds.grad(lambda x: ds.fori_loop(5, 2, lambda i, v: v * i, x))(1.5) == 1.0


def test_length_without_slices_and_empty_carries():
    def f(a):
        c, _ = ds.scan(lambda c, _: (c * a, None), 1.0, length=5)
        _, y = ds.scan(lambda c, x: (c, x * a), None, np.arange(3.0))
        _, z = ds.scan(lambda c, x: ((), a), (), length=2)
        return c + np.sum(y) + np.sum(z)
    assert f(2.0) == 32 + 6 + 4
    assert ds.grad(f)(2.0) == 5 * 16 + 3 + 2
    assert ds.hessian(f)(2.0) == 20 * 8


def test_carries_without_derivative_and_stopped_ones():
    def f(loop):
        def step(s, x):
            t, q, held = s
            return (t + 0.1, q * np.cos(t) + x, ds.stop_gradient(q) * 2.0 + held * 0.0), held * q
        def program(q):
            (t, q, held), y = loop(step, (0.0, q, 0.0), np.array([0.1, 0.2, 0.3]))
            return q + held * t + np.sum(y)
        return program
    close(ds.grad(f(ds.scan))(0.7), ds.grad(f(unrolled))(0.7))
    close(ds.grad(ds.grad(f(ds.scan)))(0.7), ds.grad(ds.grad(f(unrolled)))(0.7))


def test_outputs_that_depend_on_nothing_and_unused_inputs():
    def f(a, b):
        c, y = ds.scan(lambda c, x: (c * a, np.float64(2.0)), 1.0, np.arange(3.0) * b)
        return c + np.sum(y)
    close(ds.grad(f, (0, 1))(1.5, 2.0), (3 * 1.5 ** 2, 0.0))


# ---------------------------------------------------------------- closures
def test_closures_over_tracers_of_outer_levels():
    def inner(a):
        def f(b):
            return ds.scan(lambda c, x: (np.sin(c * a) + b * x, a * b), a * b, np.arange(3.0))[0]
        return ds.grad(f)(0.3 * a) + ds.jvp(f, (a,), (a,))[1]

    def plain(a):
        def f(b):
            return unrolled(lambda c, x: (np.sin(c * a) + b * x, a * b), a * b, np.arange(3.0))[0]
        return ds.grad(f)(0.3 * a) + ds.jvp(f, (a,), (a,))[1]
    close(inner(0.7), plain(0.7))
    close(ds.grad(inner)(0.7), ds.grad(plain)(0.7))
    close(ds.hessian(inner)(0.7), ds.hessian(plain)(0.7))


def test_only_the_closure_is_traced():
    def f(a):
        v = ds.while_loop(lambda v: v < 10.0, lambda v: v * a, 1.0)
        w = ds.fori_loop(0, 3, lambda i, w: w + a * i, 0.0)
        return v + w + ds.cond(True, lambda: a * a, lambda: a)
    assert f(3.0) == 27 + 9 + 9
    assert ds.grad(f)(3.0) == 27 + 3 + 6
    assert ds.jvp(f, (3.0,), (1.0,))[1] == 36


def test_a_large_constant_is_no_copy_a_step():
    table = np.linspace(0, 1, 1000)

    def f(a):
        return ds.fori_loop(0, 20, lambda i, v: v + a * table[i] * v, 1.0)
    g = ds.grad(f)
    want = ds.grad(lambda a: unrolled(lambda v, t: (v + a * t * v, None), 1.0, table[:20])[0])(0.5)
    close(g(0.5), want)
    graph = ds.make_graph(f)(0.5)
    (eqn,) = [e for e in graph.eqns if e.prim.name == "scan"]
    assert eqn.inputs[1].aval.shape in ((1000,), ())
    assert not any(x.aval.size > 100 for e in eqn.params["body"].eqns for x in e.inputs if x not in eqn.params["body"].inputs)


# ---------------------------------------------------------------- while and fori
def newton(loop):
    """Square root by Newton's method, to convergence: the number of iterations depends on the values."""
    def f(a):
        def going(s):
            return np.abs(s[0] * s[0] - a) > 1e-12 * a
        x, n = loop(going, lambda s: (0.5 * (s[0] + a / s[0]), s[1] + 1), (1.0 + 0.1 * a, 0))
        return x * n
    return f


def python_while(cond, body, init):
    while cond(init):
        init = body(init)
    return init


@pytest.mark.parametrize("a", [0.5, 9.0, 200.0])
def test_while_is_the_python_loop(a):
    f, g = newton(ds.while_loop), newton(python_while)
    assert f(a) == g(a)
    close(ds.grad(f)(a), ds.grad(g)(a))
    close(ds.jvp(f, (a,), (1.0,)), ds.jvp(g, (a,), (1.0,)))
    for order in (lambda h: ds.grad(ds.grad(h))(a), lambda h: ds.jvp(ds.grad(h), (a,), (1.0,))[1], lambda h: ds.hessian(h)(a),
                  lambda h: ds.grad(lambda x: ds.jvp(h, (x,), (1.0,))[1])(a), lambda h: ds.grad(ds.grad(ds.grad(h)))(a)):
        close(order(f), order(g), 1e-12)


def test_loops_that_do_not_run():
    assert ds.while_loop(lambda v: False, lambda v: v / 0, 3.0) == 3.0
    assert ds.grad(lambda v: ds.while_loop(lambda v: v < 0, lambda v: v * v, v))(3.0) == 1.0
    assert ds.grad(ds.grad(lambda v: ds.while_loop(lambda v: v < 0, lambda v: v * v, v) ** 2))(3.0) == 2.0


def test_while_in_scan_in_cond_in_scan():
    def program(scan, loop):
        def inner(c, x):
            c = loop(lambda v: np.sum(np.abs(v)) > 1.0, lambda v: v * 0.6 + 0.01 * x, c + x)
            return c, np.sum(c)

        def outer(c, x):
            def long(c):
                return scan(inner, c * 1.1, np.array([0.9, -0.4]) * np.sum(c))[0]
            return ds.cond(np.sum(c) > 0.2, long, lambda c: c + 0.5 * x, c), np.sum(c * c)

        def f(c):
            c, y = scan(outer, c, np.array([1.0, 0.7, 1.3]))
            return np.sum(c ** 2) + np.sum(y)
        return f
    f, g = program(ds.scan, ds.while_loop), program(unrolled, python_while)
    c = np.array([0.3, 0.4])
    assert f(c) == g(c)
    close(ds.grad(f)(c), ds.grad(g)(c))
    close(ds.jvp(f, (c,), (np.ones(2),)), ds.jvp(g, (c,), (np.ones(2),)))
    close(ds.hvp(f, (c,), (np.ones(2),)), ds.hvp(g, (c,), (np.ones(2),)), 1e-12)
    close(ds.hessian(f)(c), ds.hessian(g)(c), 1e-12)


def test_derivatives_of_while_as_graphs():
    f, a = newton(ds.while_loop), np.float64(9.0)
    for g in (f, ds.grad(f), ds.grad(ds.grad(f)), lambda x: ds.jvp(f, (x,), (1.0,))[1], lambda x: ds.hvp(f, (x,), (1.0,))):
        graph = ds.make_graph(g)(a).verify()
        close(eval_graph(graph, a)[0], g(a), 1e-12)
    close(ds.grad(lambda x: run_graph(ds.make_graph(ds.grad(f))(a), x)[0])(a), ds.grad(ds.grad(f))(a), 1e-12)


def test_fori_loop():
    def f(a, n):
        return ds.fori_loop(1, n, lambda i, v: v * a + i, 0.5)
    x, want = np.float64(1.1), 0.5
    for i in range(1, 6):
        want = want * x + i
    assert f(x, 6) == want
    g = ds.grad(lambda a: unrolled(lambda v, i: (v * a + i, None), 0.5, np.arange(1, 6))[0])(x)
    close(ds.grad(f)(x, 6), g)
    graph = ds.make_graph(lambda a, n: f(a, n))(x, 6).verify()          # the trip count is a symbol
    assert "while" in {e.prim.name for e in graph.eqns}
    close(eval_graph(graph, x, 6)[0], want)
    close(ds.grad(lambda a: run_graph(graph, a, np.int64(6))[0])(x), g)


# ---------------------------------------------------------------- choices
def choose(x, y):
    return ds.cond(np.sum(x) > y, lambda a, b: a * np.sin(b), lambda a, b: a * a + 1.0, x, y)


def test_cond_takes_one_branch():
    taken = []
    ds.cond(True, lambda: taken.append("yes"), lambda: taken.append("no"))
    ds.grad(lambda x: ds.cond(x > 0, lambda: taken.append("yes"), lambda: taken.append("no")) or x)(-1.0)
    assert taken == ["yes", "no"]
    assert ds.grad(lambda x: ds.cond(x > 0, np.sqrt, lambda x: 0.0 * x, x))(-1.0) == 0.0


@pytest.mark.parametrize("y", [0.1, 5.0])
def test_cond_in_graphs_and_its_derivatives(y):
    x, y = np.array([0.5, 0.3]), np.float64(y)

    def f(x, y):
        return np.sum(choose(x, y))
    graph = ds.make_graph(f)(x, y).verify()
    assert "switch" in {e.prim.name for e in graph.eqns}

    def g(x, y):
        return run_graph(graph, x, y)[0]
    assert g(x, y) == f(x, y)
    for run in (lambda h: ds.grad(h, (0, 1))(x, y), lambda h: ds.hessian(h, (0, 1))(x, y), lambda h: ds.jvp(h, (x, y), (x, 1.0)),
                lambda h: ds.hvp(h, (x, y), (x, np.float64(1.0)))):
        close(run(g), run(f))
    again = ds.make_graph(ds.grad(g, (0, 1)))(x, y).verify()
    close(eval_graph(again, x, y), ds.tree.leaves(ds.grad(f, (0, 1))(x, y)))


def test_switch():
    branches = [lambda x: x, lambda x: x * x, lambda x: 3.0]
    assert [ds.switch(i, branches, 5.0) for i in range(3)] == [5.0, 25.0, 3.0]
    for i in (-1, 3):
        with pytest.raises(IndexError, match="branches 0 to 2"):
            ds.switch(i, branches, 5.0)
    graph = ds.make_graph(lambda i, x: ds.switch(i, branches, x))(1, np.float64(5.0)).verify()
    assert [eval_graph(graph, np.int64(i), 5.0)[0] for i in range(3)] == [5.0, 25.0, 3.0]
    with pytest.raises(IndexError, match=r"index 3.*branches 0 to 2"):
        eval_graph(graph, np.int64(3), 5.0)
    assert [ds.grad(lambda x, i=i: eval_graph(graph, np.int64(i), x)[0])(5.0) for i in range(3)] == [1.0, 10.0, 0.0]


def test_branches_must_agree():
    def differ(true_fun, false_fun):
        return ds.make_graph(lambda p, x: ds.cond(p > 0, true_fun, false_fun, x))(1.0, np.ones(2))
    with pytest.raises(InputTypeError, match=r"result\['a'\] is float64\[2\] from false_fun and float64\[\] from true_fun"):
        differ(lambda x: {"a": np.sum(x)}, lambda x: {"a": x})
    with pytest.raises(InputTypeError, match=r"different structures: result\[0\], result\[1\] and result"):
        differ(lambda x: x, lambda x: (x, x))
    with pytest.raises(InputTypeError, match=r"int64\[\] from false_fun and float64\[\]"):
        differ(lambda x: x[0], lambda x: np.int64(3))
    graph = differ(lambda x: x[0], lambda x: 3)                              # a Python number takes the dtype of the other branch
    assert graph.outputs[0].aval == Aval((), np.dtype(float))
    with pytest.raises(InputTypeError, match="scalar bool"):
        ds.cond(np.array([True, False]), np.sin, np.cos, 1.0)
    with pytest.raises(InputTypeError, match="compare it"):
        ds.cond(0.5, np.sin, np.cos, 1.0)
    with pytest.raises(InputTypeError, match="true_fun must be a function"):
        ds.cond(True, 1.0, np.cos, 1.0)
    with pytest.raises(InputError, match="no branches"):
        ds.switch(0, [])


# ---------------------------------------------------------------- Python control flow inside
def collatz(c, x):
    """A step whose branch depends on the carried value: no graph holds it."""
    if c > 1.0:
        return 0.5 * c * x, c
    return 3.0 * c + x, c


@pytest.mark.parametrize("checkpoint", [None, "all"])
def test_bodies_that_branch_run_step_by_step_under_derivatives(checkpoint):
    def f(loop, **options):
        return lambda c, x: loop(collatz, c, x, **options)[0]
    x = np.array([0.9, 1.1, 0.7, 1.3])
    a, b = f(ds.scan, checkpoint=checkpoint), f(unrolled)
    assert a(0.7, x) == b(0.7, x)
    close(ds.grad(a, (0, 1))(0.7, x), ds.grad(b, (0, 1))(0.7, x), 0)
    close(ds.hessian(a, 1)(0.7, x), ds.hessian(b, 1)(0.7, x))
    close(ds.grad(lambda v: ds.while_loop(lambda s: s < 50.0, lambda s: s * 2.0 if s > 3.0 else s * v, v))(2.0), 4.0 * 16)


def test_such_bodies_in_a_graph_say_where():
    def f(x):
        return ds.scan(collatz, 0.7, x)[0]
    with pytest.raises(ConcretizationError, match=r"test_control\.py:\d+: a branch"):
        ds.make_graph(f)(np.ones(3))
    with pytest.raises(ConcretizationError, match=r"test_control\.py:\d+: a branch"):
        ds.make_graph(lambda a: ds.while_loop(lambda v: v < 9.0, lambda v: v * a if v > 2 else v + a, a))(1.0)
    with pytest.warns(FallbackWarning, match="uncompiled"):
        assert ds.jit(f)(np.ones(3)) == f(np.ones(3))


def test_a_checkpoint_that_cannot_be_says_so():
    with pytest.warns(FallbackWarning, match="cannot be traced"):
        ds.grad(lambda c: ds.scan(collatz, c, np.ones(3), checkpoint="sqrt")[0])(0.7)


# ---------------------------------------------------------------- types and messages
@pytest.mark.parametrize(("init", "body", "message"), [
    ({"q": np.zeros(3), "v": 1.0}, lambda s: {"q": s["q"][:2], "v": s["v"]}, r"carry\['q'\] is float64\[3\].* and float64\[2\]"),
    ((np.float32(1.0),), lambda s: (s[0] * np.float64(2.0),), r"carry\[0\] is float32\[\] before a step and float64\[\]"),
    (np.int64(1), lambda s: s * 0.5, r"carry is int64\[\] before a step and float64\[\]"),
    ((1.0, 2.0), lambda s: (s[0], (s[1],)), r"another structure.*missing carry\[1\]; unexpected carry\[1\]\[0\]"),
    ([1.0], lambda s: (s[0],), "another structure .*other containers"),
])
@pytest.mark.parametrize("traced", [False, True])
def test_a_carry_keeps_its_type(init, body, message, traced):
    def f(a):
        return ds.scan(lambda s, x: (body(s), None), init, a * np.ones(2))[0]
    with pytest.raises(InputTypeError, match=message):
        ds.make_graph(f)(1.0) if traced else f(1.0)
    with pytest.raises(InputTypeError, match=message.replace("another", "another")):
        ds.while_loop(lambda s: True, body, init)
    with pytest.raises(InputTypeError, match=message):
        ds.fori_loop(0, 2, lambda i, s: body(s), init)


def test_python_numbers_take_the_type_they_meet():
    for run in (lambda f: f(), lambda f: ds.make_graph(f)().outputs[0].aval):
        assert run(lambda: ds.scan(lambda c, x: (c + x, None), 0, np.arange(3.0))[0]).dtype == np.float64
        assert run(lambda: ds.scan(lambda c, x: (c * x, None), 1.0, np.ones(3, np.float32))[0]).dtype == np.float64
        assert run(lambda: ds.scan(lambda c, x: (0, None), np.float32(1), np.ones(3))[0]).dtype == np.float32
        assert run(lambda: ds.while_loop(lambda c: c < 3, lambda c: c + 0.5, 0)).dtype == np.float64
    close(ds.grad(lambda a: ds.scan(lambda c, x: (c + a * x, None), 0, np.arange(3.0))[0])(1.0), 3.0)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: ds.scan(lambda c, x: c, 0.0, np.ones(2)), InputTypeError, "must return a pair"),
    (lambda: ds.scan(lambda c, x: (c, x), 0.0), InputError, "give xs or length"),
    (lambda: ds.scan(lambda c, x: (c, x), 0.0, (np.ones(2), np.ones(3))), InputError, r"differ in length: \[2, 3\]"),
    (lambda: ds.scan(lambda c, x: (c, x), 0.0, np.ones(2), length=3), InputError, r"differ in length: \[2, 3\]"),
    (lambda: ds.scan(lambda c, x: (c, x), 0.0, {"a": 1.0}), InputError, r"xs\['a'\] is a scalar"),
    (lambda: ds.scan(lambda c, x: (c, x), 0.0, length=2.5), InputTypeError, "length is 2.5"),
    (lambda: ds.scan(lambda c, x: (c, x), 0.0, length=-1), InputError, "length is -1"),
    (lambda: ds.scan(lambda c, x: (c, x), {"a": "word"}, length=2), InputTypeError, r"carry\['a'\] is a str"),
    (lambda: ds.scan(lambda c, x: (c, "word"), 0.0, length=2), InputTypeError, "y is a str"),
    (lambda: ds.scan(3, 0.0, length=2), InputTypeError, "f must be a function"),
    (lambda: ds.scan(lambda c, x: (c, x), 0.0, length=9, checkpoint="some"), InputError, "checkpoint='some'"),
    (lambda: ds.scan(lambda c, x: (c, x), 0.0, length=9, checkpoint=0), InputError, "at least 1"),
    (lambda: ds.scan(lambda c, x: (c, x), 0.0, length=9, checkpoint="sqrt", memory=100), InputError, "give one of them"),
    (lambda: ds.scan(lambda c, x: (c, x), 0.0, length=9, memory=-1), InputError, "number of bytes"),
    (lambda: ds.fori_loop(0.0, 3, lambda i, c: c, 0.0), InputTypeError, "lower is .*scalar integer"),
    (lambda: ds.fori_loop(0, np.ones(2, int), lambda i, c: c, 0.0), InputTypeError, "upper is"),
    (lambda: ds.while_loop(lambda c: np.ones(2) > 0, lambda c: c, 0.0), InputTypeError, "scalar bool"),
    (lambda: ds.while_loop(lambda c: c, None, 0.0), InputTypeError, "body_fun must be a function"),
    (lambda: ds.checkpoint(np.sin, policy=3), InputTypeError, "policy is a int"),
    (lambda: ds.checkpoint(3), InputTypeError, "must be a function"),
    (lambda: ds.checkpoint_name(1.0, 3), InputTypeError, "not a string"),
])
def test_bad_input_fails_at_the_call(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_an_exception_in_a_body_leaves_no_level_behind():
    def f(a):
        return ds.scan(lambda c, x: (c * a, 1 / 0), 1.0, np.ones(2))[0]
    for run in (f, ds.grad(f), lambda a: ds.jvp(f, (a,), (1.0,)), ds.make_graph(f), lambda a: ds.vmap(f)(a * np.ones(2))):
        with pytest.raises(ZeroDivisionError):
            run(1.0)
    close(ds.grad(lambda a: ds.scan(lambda c, x: (c * a, c), 1.0, np.ones(2))[0])(3.0), 6.0)


def test_operands_are_safe_from_the_body_and_results_from_the_loop():
    first, xs = np.zeros(2), np.ones((3, 2))

    def write(c, x):
        c[0] = 1.0
        return c, None
    with pytest.raises(ValueError, match="read-only"):
        ds.scan(write, first, xs)
    with pytest.raises(ValueError, match="input of"):
        ds.grad(lambda a: np.sum(ds.scan(write, a * first, xs)[0]))(1.0)
    buffer = np.zeros(2)

    def reuse(c, x):
        buffer[:] = c * x
        return c + 1.0, buffer
    last, ys = ds.scan(reuse, first, xs)
    close(ys, np.array([[0.0, 0], [1, 1], [2, 2]]))
    last[:] = ys[:] = 5.0
    same, _ = ds.scan(lambda c, x: (c, None), first, xs)
    same[:] = 7.0
    assert not first.any()


# ---------------------------------------------------------------- jit and vmap
def test_jit_compiles_control_flow():
    f = ds.jit(oscillator(ds.scan, 7))
    close([f(*POINT), f(*POINT)], [oscillator(unrolled, 7)(*POINT)] * 2)
    assert f.stats["equations"] < 10
    g = ds.jit(ds.grad(oscillator(ds.scan, 7, checkpoint=2), (0, 3)))
    close(g(*POINT), ds.grad(oscillator(unrolled, 7), (0, 3))(*POINT))


def members(f, *columns):
    out = [f(*row) for row in zip(*columns, strict=True)]
    return ds.tree.map(lambda *leaves: np.stack(leaves), *out)


BATCHED = {
    "scan": lambda a, x: ds.scan(lambda c, s: (np.sin(c * a) + s, c * c), a, x),
    "scan of a constant carry": lambda a, x: ds.scan(lambda c, s: ((c[0] * 0.5, c[1] + a), s), (1.0, a), x),
    "fewer states": lambda a, x: ds.scan(lambda c, s: (np.sin(c * a) + s, c * c), a, x, checkpoint=1),
    "two levels": lambda a, x: ds.scan(lambda c, s: (np.sin(c * a) + s, c * c), a, x, checkpoint="sqrt"),
    "cond": lambda a, x: ds.cond(a > 0.6, lambda: np.sqrt(a - 0.6) * x, lambda: np.sqrt(0.6 - a) * x),
    "switch": lambda a, x: ds.switch(np.argmax(x), [lambda v: np.log(v), lambda v: v * v, lambda v: 1.0], a),
    "one switch": lambda a, x: ds.cond(np.sum(np.arange(3.0)) > 2, lambda v: np.log(v), lambda v: v * v, a),
    "while": lambda a, x: ds.while_loop(lambda v: v[0] < 10 * a, lambda v: (v[0] * (1.5 + a), v[1] + x, v[2] + 1), (a, x, 0))[:2],
    "one while": lambda a, x: ds.while_loop(lambda v: v[1] < 3, lambda v: (v[0] * a + x, v[1] + 1), (x, 0))[0],
    "checkpoint": lambda a, x: ds.checkpoint(lambda v: np.sin(v) * x, policy=ds.checkpoint_policies.save_within(1e6))(a),
}


@pytest.mark.parametrize("name", BATCHED)
def test_vmap_is_the_stack_of_calls(name):
    f, a = BATCHED[name], np.array([0.4, 0.9, 0.7, 2.0])
    x = np.array([[0.1, 0.5, 0.2], [0.8, -0.4, 0.3], [0.6, 0.1, 0.7], [0.2, 0.3, 0.1]])

    def total(a, x):
        return sum(np.sum(v * np.cos(v)) for v in ds.tree.leaves(f(a, x)))
    close(ds.vmap(f)(a, x), members(f, a, x))
    close(ds.vmap(ds.grad(total, (0, 1)))(a, x), members(ds.grad(total, (0, 1)), a, x))
    close(ds.grad(lambda a, x: np.sum(ds.vmap(total)(a, x)), (0, 1))(a, x), members(ds.grad(total, (0, 1)), a, x))
    close(ds.vmap(lambda a, x: ds.hvp(total, (a, x), (1.0, x)))(a, x), members(lambda a, x: ds.hvp(total, (a, x), (1.0, x)), a, x), 1e-12)
    close(ds.vmap(f, in_axes=(0, None))(a, x[0]), members(lambda a: f(a, x[0]), a))


# ---------------------------------------------------------------- graphs and laws
def test_graphs_hold_the_body_and_print_stably():
    f = oscillator(ds.scan, 7)
    one, two = ds.make_graph(f)(*POINT), ds.make_graph(f)(*POINT)
    (eqn,) = [e for e in one.eqns if e.prim.name == "scan"]
    assert str(one) == str(two)
    assert one.digest == two.digest
    assert eqn.params["body"].verify()
    assert eqn.params["body"] is next(e for e in two.eqns if e.prim.name == "scan").params["body"]
    other = ds.make_graph(oscillator(ds.scan, 7, reverse=True))(*POINT)
    assert other.digest != one.digest
    a = np.float64(9.0)
    loop = next(e for e in ds.make_graph(newton(ds.while_loop))(a).eqns if e.prim.name == "while")
    assert loop.params["cond"].verify()
    assert loop.params["body"].verify()


def run_graph(graph, *x):
    """A graph inside a function that is differentiated."""
    return eval_graph(graph, *map(lift, x))


def low(f, avals):
    """Graph of a function of single arrays."""
    return trace(lambda *x: list(map(lift, f(*x))), avals)[0]


def pendulum_samples(rng):
    scalar, vector = Aval((), np.dtype(float)), Aval((2,), np.dtype(float))

    def pendulum(k, q, v, x):
        v = v - 0.1 * (k * np.sin(q) + 0.3 * v - x)
        return [k, q + 0.1 * v, v, q * v]
    body, short = low(pendulum, [scalar, vector, vector, vector]), low(lambda p, x: [p * x, p], [scalar, scalar])
    fixed = {"keep": (), "asked": ()}
    going = low(lambda k, q, n: [n < 3], [scalar, vector, Aval((), np.dtype(int))])
    step = low(lambda k, q, n: [k, np.sin(q) * k, n + 1], [scalar, vector, Aval((), np.dtype(int))])
    k, q, v = np.float64(0.7), rng.uniform(-1, 1, 2), rng.uniform(-1, 1, 2)
    branches = ds.control.cond.Branches([low(lambda a, b: [a * np.sin(b), a], [vector, vector]),
                                         low(lambda a, b: [b * b, np.zeros(2)], [vector, vector])])
    return {
        "scan": [((k, q, v, rng.uniform(-1, 1, (3, 2))), {"body": body, "length": 3, "reverse": False, "carries": 3, **fixed}),
                 ((k, rng.uniform(-1, 1, 4)), {"body": short, "length": 4, "reverse": True, "carries": 1, **fixed}),
                 ((k, np.zeros(0)), {"body": short, "length": 0, "reverse": False, "carries": 1, **fixed})],
        "while": [((k, q, np.int64(n)), {"cond": going, "body": step, **fixed}) for n in (0, 2, 3)],
        "switch": [((np.int64(i), q, v), {"branches": branches}) for i in (0, 1)],
        "checkpoint": [((k, q, v, q), {"body": body, "saved": 0, "kept": False, "asked": False})],
    }


@pytest.mark.parametrize("name", ["scan", "while", "switch", "checkpoint"])
@pytest.mark.parametrize("law", [law for law in LAWS if law.__name__ not in ("aval_predicts_impl", "tangent_keeps_shape_and_dtype")],
                         ids=lambda law: law.__name__)
def test_the_primitives_keep_the_laws(name, law, rng):
    """All but those that change the dtype of the operands, which a graph fixes."""
    for x, params in pendulum_samples(rng)[name]:
        law(Sample(ds.core.REGISTRY[name], x, params), rng)


def test_gradients_of_everything_together(rng):
    def f(a, x):
        @ds.checkpoint
        def step(c, s):
            c = ds.cond(np.sum(c) > 0, lambda v: v * a, lambda v: np.sin(v) - s, c)
            return ds.while_loop(lambda v: np.sum(v * v) > 4.0, lambda v: 0.5 * v + 0.1 * a, c + s), np.sum(c)
        c, y = ds.scan(step, np.array([0.3, 0.2]) * a, x, checkpoint=1)
        return np.sum(c) + np.sum(y * y)
    check_grads(f, (np.float64(1.4), rng.uniform(-2, 2, 5)), order=2, rng=rng)


# ---------------------------------------------------------------- spoiled derivatives, NaN, complex numbers
def logs(loop, **options):
    """A where whose unused branch has an infinite derivative at 0."""
    def f(x):
        return loop(lambda c, x: (c + np.where(x > 0, np.log(x), 0.0) * x, None), 0.0, x, **options)[0]
    return f


@pytest.mark.parametrize("options", [{}, {"checkpoint": 1}, {"checkpoint": "sqrt"}], ids=str)
def test_zero_times_infinity_is_repaired_in_a_loop(options):
    f, x = logs(ds.scan, **options), np.array([0.0, 1.0, 2.0, 3.0])
    want = np.array([0.0, 1.0, 1.0 + np.log(2.0), 1.0 + np.log(3.0)])
    runs = [(ds.grad(f), want), (ds.hessian(f), np.diag([0.0, 1.0, 0.5, 1 / 3])),
            (ds.grad(ds.checkpoint(lambda x: logs(unrolled)(x))), want)]
    for run, wanted in runs:
        with np.errstate(all="ignore"), pytest.warns(StrongZeroWarning):
            close(run(x), wanted)
    with np.errstate(all="ignore"), pytest.warns(StrongZeroWarning):
        close(ds.vmap(ds.grad(f))(np.stack([x, x[::-1]])), np.stack([want, want[::-1]]))


def test_a_branch_not_taken_spoils_nothing():
    def f(x):
        return ds.cond(x > 0, lambda: np.sqrt(x), lambda: 2.0 * x)
    assert ds.vmap(ds.grad(f))(np.array([-1.0, 0.0, 4.0])).tolist() == [2.0, 2.0, 0.25]
    assert ds.grad(lambda x: np.sum(ds.vmap(f)(x)))(np.array([-1.0, 0.0, 4.0])).tolist() == [2.0, 2.0, 0.25]


def test_nan_in_a_loop_is_named():
    with ds.debug_nans(), np.errstate(all="ignore"):
        with pytest.raises(NotANumberError, match=r"`scan`.*test_control\.py"):
            ds.grad(lambda a: ds.scan(lambda c, x: (np.sqrt(c - a), None), a, np.ones(3))[0])(1.0)


def test_complex_carries():
    def f(loop):
        def program(z, a):
            w, y = loop(lambda c, x: (c * z + x, np.abs(c)), z, np.array([0.3, 1j, -0.2]) * a)
            return np.real(w * np.conj(w)) + np.sum(y)
        return program
    z, a = 0.4 + 0.3j, 0.7
    close(ds.grad(f(ds.scan), (0, 1))(z, a), ds.grad(f(unrolled), (0, 1))(z, a))
    close(ds.jvp(f(ds.scan), (z, a), (1j, 1.0)), ds.jvp(f(unrolled), (z, a), (1j, 1.0)))
    close(ds.grad(lambda z: np.real(ds.while_loop(lambda w: np.abs(w) > 0.1, lambda w: w * z, z)))(z),
          ds.grad(lambda z: np.real(python_while(lambda w: np.abs(w) > 0.1, lambda w: w * z, z)))(z))


def test_linear_loops_transpose():
    def f(x, u):
        return ds.scan(lambda s, u: ((s[0] + 1, s[1] * 0.5 * s[0] + u), s[1] * s[0]), (0, x), u)

    def g(x, u):
        (_, c), y = f(x, u)
        return c, y
    x, u = np.ones(2), np.arange(6.0).reshape(3, 2)
    back = ds.linear_transpose(g, x, u)
    w = (np.array([1.0, 2.0]), np.ones((3, 2)))
    close(back(w), ds.vjp(g, x, u)[1](w))


def test_a_python_number_as_a_carry_takes_a_lower_dtype_too():
    x = np.full(3, 2.0, np.float32)
    carry, before = ds.scan(lambda c, x: (np.float32(c) + x, c), 0.0, x)
    assert carry.dtype == before.dtype == np.float32
    assert (float(carry), list(before)) == (6.0, [0.0, 2.0, 4.0])
    assert ds.fori_loop(0, 3, lambda i, c: np.float32(c * 2), 1.0).dtype == np.float32
    assert ds.while_loop(lambda c: c < 10, lambda c: c * np.float64(2), 1.0).dtype == np.float64
    assert ds.grad(lambda s: ds.scan(lambda c, x: (x * s, c), 0.0, x)[0])(np.float32(3.0)) == 2.0

"""Control flow in compiled programs: every verb in every mode gives what the interpreter gives, in few compiled equations."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import diffsim as ds
from diffsim.codegen.program import Program
from diffsim.control.bodies import lowered
from diffsim.core import Graph
from diffsim.passes import finished

RNG = np.random.default_rng(3)
FORCE = np.array([0.3, -0.1, 0.5, 0.2, -0.4, 0.1, 0.7])


def close(a, b, tol=1e-11):
    fa, fb = ds.tree.leaves(a), ds.tree.leaves(b)
    assert len(fa) == len(fb)
    for x, y in zip(fa, fb, strict=True):
        assert np.shape(x) == np.shape(y)
        assert np.asarray(x).dtype == np.asarray(y).dtype
        np.testing.assert_allclose(x, y, rtol=tol, atol=tol)


# ---------------------------------------------------------------- programs
def oscillator(n, **options):
    """Constants, two carries, driving as slices, an energy as a result."""
    def f(k, q, v, force):
        def step(state, x):
            q, v = state
            v = v - 0.1 * (k * np.sin(q) + 0.3 * v - x * k)
            return (q + 0.1 * v, v), 0.5 * v * v - np.cos(q)
        (q, v), energy = ds.scan(step, (q, v), force[:n], **options)
        return np.sum(q * v) + np.sum(energy * np.arange(1.0, n + 1))
    return f, (np.float64(1.3), np.float64(0.4), np.float64(-0.2), FORCE)


def large(x, n=6):
    """A carry in memory, beside its rows and a sum."""
    def step(c, _):
        c = np.roll(c, 1) * 0.5 + np.sin(c) * 0.3
        return c, (np.sum(c * c), c)
    c, (s, rows) = ds.scan(step, x, None, length=n)
    return np.sum(c) + np.sum(s) + np.sum(rows[::2] ** 3)


def network(w, x):
    """Weights that stay, products of matrices."""
    def step(h, b):
        h = np.tanh(w @ h + b)
        return h, np.sum(h)
    h, y = ds.scan(step, x, np.outer(np.arange(5.0), x))
    return np.sum(h * h) + np.sum(y)


def mixed(v):
    """Carries of several kinds, some without derivative, one handed on, one of 32 bits."""
    def step(s, x):
        n, flag = s["n"] + 1, np.logical_not(s["flag"])
        w = np.where(flag, s["v"] * x["a"], s["v"] + x["b"] * n)
        return {"n": n, "flag": flag, "v": w, "same": s["same"], "small": s["small"] * np.float32(0.5) + n.astype(np.float32)}, (w[0], n)
    init = {"n": np.int64(0), "flag": np.bool_(True), "v": v, "same": v * 2, "small": np.float32(1.0)}
    end, (first, counts) = ds.scan(step, init, {"a": np.array([0.5, 1.5, -0.3]) * v[0], "b": np.arange(3.0)})
    return np.sum(end["v"] ** 2) + np.sum(first * counts) + end["n"] + np.sum(end["same"]) + end["small"]


def empty(a):
    c, _ = ds.scan(lambda c, _: (c * a, None), 1.0, length=5)
    _, y = ds.scan(lambda c, x: (c, x * a), None, np.arange(3.0))
    _, z = ds.scan(lambda c, x: ((), a), (), length=2)
    d, none = ds.scan(lambda c, x: (c * a, c + x), a, np.zeros(0))
    return c + np.sum(y) + np.sum(z) + d + np.sum(none)


def checkpointed(x):
    policy = ds.checkpoint_policies.save_within(1e3)
    saving = ds.checkpoint(lambda x: np.exp(np.sin(x)) * x, policy=policy)
    return np.sum(ds.checkpoint(lambda x: np.sin(np.exp(x) * x))(x)) + np.sum(saving(x))


def chosen(x, i=2):
    def three(i, x):
        return ds.switch(i, [lambda x: (x, 1.0), lambda x: (x * x, 2.0), lambda x: (np.sin(x), x[0])], x)
    (a, b), (c, d) = three(i, x), three(np.argmax(x), x)
    low = ds.cond(x[0] > x[1], lambda: x[0] * 2.0, lambda: x[1] ** 3)
    return np.sum(a * c) + b * d + low


def clamped(i, x):
    """Tables read at carried positions."""
    table = np.linspace(0.0, 1.0, 9)
    def step(i, x):
        return (i * 3 + 1) % 9, table[i] * x
    return np.sum(ds.scan(step, i, x)[1])


@ds.custom_vjp
def halved(x):
    return x * x


halved.defvjp(lambda x: (x * x, x), lambda x, w: (w * x,))


@ds.custom_jvp
def tripled(x):
    return np.sin(x)


tripled.defjvp(lambda x, x_dot: (np.sin(x[0]), 3.0 * np.cos(x[0]) * x_dot[0]))


def ruled(x):
    return np.sum(ds.scan(lambda c, s: (halved(c) * s, tripled(c)), x, np.array([0.5, 0.7, 1.1]))[1])


def newton(a):
    """A number of iterations that depends on the values."""
    x, n = ds.while_loop(lambda s: np.abs(s[0] * s[0] - a) > 1e-12 * a, lambda s: (0.5 * (s[0] + a / s[0]), s[1] + 1), (1.0 + 0.1 * a, 0))
    return x * n


def affine(v):
    """A loop whose derivative needs no states, one that does not run, one with a state in memory."""
    a = ds.while_loop(lambda w: np.sum(w) < 10.0, lambda w: w * 1.5 + 0.1, v)
    b = ds.while_loop(lambda w: np.sum(w) < -10.0, lambda w: w * w, v)
    c = ds.while_loop(lambda s: s[0] < 4, lambda s: (s[0] + 1, np.sin(s[1]) * np.roll(s[1], 3)), (0, np.outer(v, np.arange(1.0, 40.0))))[1]
    return np.sum(a * b) + np.sum(c)


def many(x):
    """More iterations than there is memory for at first."""
    return ds.while_loop(lambda s: s[1] < 1000, lambda s: (np.sin(s[0]) + x * 0.5, s[1] + 1), (x, 0))[0]


def nested(c):
    def inner(c, x):
        c = ds.while_loop(lambda v: np.sum(np.abs(v)) > 1.0, lambda v: v * v * 0.6 + 0.01 * x, c + x)
        return c, np.sum(c)

    def outer(c, x):
        def long(c):
            return ds.scan(inner, c * 1.1, np.array([0.9, -0.4]) * np.sum(c))[0]
        return ds.cond(np.sum(c) > 0.2, long, lambda c: c + 0.5 * x, c), np.sum(c * c)
    c, y = ds.scan(outer, c, np.array([1.0, 0.7, 1.3]))
    return np.sum(c ** 2) + np.sum(y)


VECTOR = np.array([0.3, 0.4])
PROGRAMS = {
    "none": oscillator(0), "one": oscillator(1), "many": oscillator(7), "reverse": oscillator(7, reverse=True),
    "two levels": oscillator(7, checkpoint="sqrt"), "two states": oscillator(7, checkpoint=2), "budget": oscillator(7, memory=40),
    "large": (large, (np.linspace(-1, 1, 100),)), "network": (network, (RNG.normal(size=(20, 20)), np.linspace(0, 1, 20))),
    "mixed": (mixed, (np.array([0.3, -0.7]),)), "empty": (empty, (np.float64(1.1),)),
    "checkpoint": (checkpointed, (np.linspace(0, 1, 50),)),
    "switch": (chosen, (VECTOR,)), "rules": (ruled, (np.float64(0.8),)),
    "while": (newton, (np.float64(9.0),)), "affine while": (affine, (VECTOR,)), "long while": (many, (np.float64(0.7),)),
    "nested": (nested, (VECTOR,)), "fori": (lambda x: np.sum(ds.fori_loop(2, 5, lambda i, v: np.sin(v) * i + x, x)), (VECTOR,)),
}
VALUES = {
    "scan of tables": (lambda x: clamped(np.int64(4), x), (FORCE,)),
    "choice by an argument": (lambda i, x: chosen(x, i), (np.int64(1), VECTOR)),
    "fori to a symbol": (lambda n, x: ds.fori_loop(1, n, lambda i, v: v * x + i, 0.5), (np.int64(6), np.float64(1.1))),
}


def modes(f, args):
    """Functions of the arguments."""
    numbers = tuple(range(len(args)))
    dots = tuple(np.ones_like(a) * 0.7 for a in args)

    def members(*a):
        return [np.stack([x, x * 1.1, x * 0.9]) for x in a]
    return {
        "value": f, "grad": ds.value_and_grad(f, numbers), "jvp": lambda *a: ds.jvp(f, a, dots), "hvp": lambda *a: ds.hvp(f, a, dots),
        "twice": ds.grad(lambda *a: sum(np.sum(t * t) for t in ds.tree.leaves(ds.grad(f, numbers)(*a))), numbers),
        "vmap": lambda *a: ds.vmap(f)(*members(*a)), "vmap of grad": lambda *a: ds.vmap(ds.grad(f, numbers))(*members(*a)),
        "grad of vmap": ds.grad(lambda *a: np.sum(ds.vmap(f)(*members(*a))), numbers),
    }


MODES = list(modes(np.sin, (1.0,)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_compiled_is_interpreted(name, mode):
    f, args = PROGRAMS[name]
    g = modes(f, args)[mode]
    close(ds.jit(g)(*args), g(*args))


@pytest.mark.parametrize("name", VALUES)
def test_values_of_integers(name):
    f, args = VALUES[name]
    close(ds.jit(f)(*args), f(*args))
    last = len(args) - 1
    close(ds.jit(lambda *a: ds.jvp(lambda x: f(*a[:-1], x), a[last:], (np.ones_like(a[last]),)))(*args),
          ds.jvp(lambda x: f(*args[:-1], x), args[last:], (np.ones_like(args[last]),)))


# ---------------------------------------------------------------- errors
def test_an_index_out_of_bounds_within_a_body():
    table = np.arange(5.0)

    def f(i):
        return ds.scan(lambda i, _: (i + 2, table[i]), i, None, length=3)[1]
    g = ds.jit(f)
    close(g(np.int64(0)), f(np.int64(0)))
    with pytest.raises(IndexError, match=r"5.*size 5|size 5.*5"):
        g(np.int64(1))
    close(g(np.int64(0)), f(np.int64(0)))


def test_an_index_that_names_no_branch():
    g = ds.jit(lambda i, x: ds.switch(i, [lambda x: x, lambda x: x * x], x))
    assert g(1, 3.0) == 9.0
    for i in (-1, 2):
        with pytest.raises(IndexError, match=f"index {i}, but there are branches 0 to 1"):
            g(i, 3.0)


def logistic(t, y, r):
    return r * y * (1 - y)


def test_solves_inside_bodies():
    """Memory of a solve grows while a loop runs; one that fails says so."""
    def f(r, y0):
        def step(y, rate):
            sol = ds.solve_ivp(logistic, (0.0, 30.0), y, args=(rate * r,), t_eval=[30.0], rtol=1e-10, atol=1e-12, method="RK45")
            return sol.y[:, -1] * 0.5, sol.y[0, -1]
        y, ends = ds.scan(step, y0, np.array([0.5, 2.0, 1.0]))
        return np.sum(y) + np.sum(ends * np.arange(1.0, 4.0))
    args = np.float64(0.7), np.array([0.1])
    for g in (f, ds.grad(f, (0, 1)), lambda *a: ds.hvp(f, a, a)):
        close(ds.jit(g)(*args), g(*args), 1e-8)


def test_threads_run_at_once():
    f, args = PROGRAMS["large"]
    g = ds.jit(ds.grad(f))
    points = [args[0] * s for s in (1.0, 0.5, 0.25, 2.0)]
    want, got = [ds.grad(f)(x) for x in points], [None] * 4
    g(points[0])

    def work(i):
        for _ in range(50):
            got[i] = g(points[i])
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    close(got, want)


# ---------------------------------------------------------------- size
def lowered_equations(graph):
    """Equations that are lowered: those of carried programs once each."""
    seen, total, todo = set(), 0, [lowered(graph)]
    while todo:
        each = todo.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        total += len(each.eqns)
        for eqn in each.eqns:
            for x in eqn.params.values():
                todo += [lowered(g) for g in (x if isinstance(x, tuple) else (x,)) if isinstance(g, Graph)]
    return total


@pytest.mark.parametrize("options", [{}, {"checkpoint": "sqrt"}])
def test_what_is_compiled_does_not_grow_with_the_number_of_steps(options):
    def f(n):
        return ds.grad(lambda x: ds.scan(lambda c, _: (np.sin(c) * x, c), x, None, length=n, **options)[0])
    counts, sizes = [], []
    for n in (5_000, 50_000):
        g = ds.jit(f(n))
        close(g(0.9), f(n)(0.9), 1e-9)
        counts.append(lowered_equations(g.graph))
        sizes.append(len(Program(g.graph).text()))
    assert counts[0] == counts[1]
    assert abs(sizes[0] - sizes[1]) < 0.05 * sizes[0]


# ---------------------------------------------------------------- what is seen
def test_source_stats_and_picture_show_what_loops_run():
    f, args = PROGRAMS["many"]
    g = ds.jit(f)
    g(*args)
    assert "np.sin" in g.source
    assert "length=7" in g.source
    compile(g.source, "source", "exec")
    one, _ = PROGRAMS["one"]
    h = ds.jit(one)
    h(*args)
    assert g.stats["flops"] > 5 * h.stats["flops"] > 0
    assert {k: g.graph.stats[k] for k in ("flops", "bytes")} == {k: g.stats[k] for k in ("flops", "bytes")}
    assert "scan" in g.graph.text(cost=True)


# ---------------------------------------------------------------- sums over the steps
def test_products_with_weights_are_summed_after_the_loop():
    w, x = RNG.normal(size=(40, 40)) / 7, np.linspace(0, 1, 40)
    g = ds.jit(ds.grad(network, (0, 1)))
    close(g(w, x), ds.grad(network, (0, 1))(w, x))
    text = str(finished(g.graph))
    body = text[text.rindex("body("):text.index("return", text.rindex("body("))]
    assert "dot_general[contract=((), ())" not in body
    assert "dot_general[contract=((0,), (0,))" in text[text.rindex("return", 0, text.rindex("return")):]


def test_a_sum_in_a_large_carry_is_formed_in_place():
    def f(x, start):
        def step(s, row):
            total, c = s
            return (total + np.outer(c, row) ** 2, np.sin(c)), total[0]
        (total, c), firsts = ds.scan(step, (start, x), np.outer(np.arange(4.0), x))
        return np.sum(total * total) + np.sum(c) + np.sum(firsts ** 2)
    args = np.linspace(0.1, 1, 30), np.full((30, 30), 0.5)
    for mode, g in modes(f, args).items():
        if "vmap" not in mode:
            close(ds.jit(g)(*args), g(*args))


def test_only_what_is_read_is_computed():
    def f(x):
        def step(s, row):
            a, b, k = s
            return (np.sin(a) * k, b * np.exp(k), k), (a * row, np.cos(b) * row)
        (a, _, _), (first, _) = ds.scan(step, (x, x, x * 2.0), np.arange(5.0))
        return a + np.sum(first)
    g = ds.jit(f)
    close(g(0.3), f(0.3))
    text = str(finished(g.graph))
    assert "sin" in text
    assert "cos" not in text
    assert "exp" not in text


# ---------------------------------------------------------------- right-hand sides
def test_control_flow_in_a_right_hand_side():
    def rhs(t, y, p):
        g = ds.cond(y[0] > 0.5, lambda y: -p * y, lambda y: -2 * p * y, y)
        s, _ = ds.scan(lambda c, x: (np.sin(c) * x, None), g, np.array([1.0, 0.5, 2.0]))
        n = ds.while_loop(lambda v: v[0] < 3, lambda v: (v[0] + 1, v[1] * 1.01), (0, 1.0))[1]
        return g + 0.1 * s * n

    def f(p, y0):
        return np.sum(ds.solve_ivp(rhs, (0, 2.0), y0, args=(p,), t_eval=[1.0, 2.0], rtol=1e-8, atol=1e-10).y)
    args = np.float64(0.7), np.array([1.0, 0.3])
    for g in (f, ds.grad(f, (0, 1)), lambda *a: ds.hvp(f, a, a)):
        close(ds.jit(g)(*args), g(*args), 1e-9)


# ---------------------------------------------------------------- from the cache
PROCESS = """
import numpy as np, diffsim as ds
def f(a, x):
    c, y = ds.scan(lambda c, s: (np.sin(c * a) + s, c * c), a, x, checkpoint=2)
    n = ds.while_loop(lambda v: v < 10.0, lambda v: v * (1.0 + a), a)
    return c + np.sum(y) + n + ds.cond(c > 0, lambda c: c * c, lambda c: -c, c)
g = ds.jit(ds.value_and_grad(f, (0, 1)))
v, (a, x) = g(np.float64(0.7), np.array([0.1, 0.4, 0.2, 0.3]))
print(g.stats["cached"], v.hex(), a.hex(), x.tobytes().hex())
"""


def test_a_fresh_process_runs_loops_from_the_cache(tmp_path):
    said = [subprocess.run([sys.executable, "-c", PROCESS], env={**os.environ, "DIFFSIM_CACHE_DIR": str(tmp_path)}, capture_output=True,
                           text=True, check=True).stdout.split() for _ in range(2)]
    assert [s[0] for s in said] == ["False", "True"]
    assert said[0][1:] == said[1][1:]


# ---------------------------------------------------------------- ensembles
def test_members_with_solves_are_a_loop():
    def loss(r, y0):
        sol = ds.solve_ivp(logistic, (0.0, 4.0), y0, args=(r,), t_eval=[1.0, 4.0], rtol=1e-8, method="RK45")
        return np.sum(sol.y ** 2), sol.y[0]
    r, y0 = np.linspace(0.5, 2.0, 7), np.array([0.1])

    def several(f, n=7):
        return ds.jit(lambda r, y0: ds.vmap(f, (0, None), out_axes=(0, 1))(r[:n], y0))
    total, rows = several(loss)(r, y0)
    for i in range(7):
        one = loss(r[i], y0)
        close([total[i], rows[:, i]], list(one), 1e-12)
    g = several(lambda r, y0: ds.grad(lambda *a: loss(*a)[0], (0, 1))(r, y0))
    got = g(r, y0)
    for i in range(7):
        close([got[0][i], got[1][:, i]], list(ds.grad(lambda *a: loss(*a)[0], (0, 1))(r[i], y0)), 1e-9)
    whole = ds.jit(ds.grad(lambda r, y0: np.sum(ds.vmap(loss, (0, None))(r, y0)[0]), (0, 1)))
    close(whole(r, y0), (got[0], got[1].sum(1)), 1e-9)
    more = ds.jit(lambda r, y0: ds.vmap(loss, (0, None))(r, y0))
    more(np.linspace(0.5, 2.0, 70), y0)
    assert more.stats["equations"] == several_equations(loss, r, y0)


def several_equations(loss, r, y0):
    few = ds.jit(lambda r, y0: ds.vmap(loss, (0, None))(r, y0))
    few(r, y0)
    return few.stats["equations"]


def test_a_member_may_return_what_is_the_same_for_all():
    def f(r):
        sol = ds.solve_ivp(logistic, (0.0, 1.0), np.array([0.1]), args=(r,), t_eval=[1.0], method="RK45")
        return sol.y[0, 0], np.float64(3.0), "text"
    y, three, text = ds.jit(lambda r: ds.vmap(f, out_axes=(0, None, None))(r)[:3])(np.linspace(0.5, 1.0, 6))
    close(three, np.float64(3.0))
    assert text == "text"
    assert y.shape == (6,)


# ---------------------------------------------------------------- what the way back reads
def loops(graph):
    """Loops of a finished graph."""
    return [e for e in finished(graph).eqns if e.prim.name == "scan"]


def names(e):
    return [inner.prim.name for inner in e.params["body"].eqns]


def test_dear_values_are_computed_once():
    f, args = PROGRAMS["network"]
    there, back = loops(ds.make_graph(ds.grad(f, (0, 1)))(*args))
    assert names(there).count("tanh") == names(there).count("dot_general") == 1
    assert "tanh" not in names(back)
    assert names(back).count("dot_general") == 1                       # with the transposed weights
    assert not there.params["keep"] or "sin" not in names(back)


def test_no_more_is_kept_than_a_budget_allows():
    f, args = oscillator(7, memory=40)
    for e in loops(ds.make_graph(ds.grad(f))(*args)):
        rows = [x for x in e.params["body"].outputs[e.params["carries"]:] if "sin" in str(e.params["body"])]
        assert len(rows) <= 1                                          # the energy, which is a result


def test_loops_one_after_the_other_share_nothing_by_chance():
    def f(x, w):
        a, rows = ds.scan(lambda c, s: (np.sin(c * w) + s, np.exp(c)), x, np.arange(4.0))
        b, more = ds.scan(lambda c, s: (np.sin(c * w) * s, np.exp(c) * s), a, rows)
        return b + np.sum(more * rows)
    args = np.float64(0.3), np.float64(1.2)
    for g in modes(f, args).values():
        close(ds.jit(g)(*args), g(*args))

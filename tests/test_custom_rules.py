"""Rules of the user's own: custom_jvp, custom_vjp, both on one function, and rows of primitives."""

import warnings

import numpy as np
import pytest

import diffsim as ds
from diffsim.core import REGISTRY
from diffsim.errors import DiffsimError, FallbackWarning, InputError, InputTypeError, MissingRule
from diffsim.testing import check_grads, check_primitive

X = np.array([0.3, 0.8])
calls = []


def body(x, k):
    return {"wave": k * np.sin(x), "power": np.sum(x**3)}


def wave_jvp(primals, tangents):
    (x, k), (x_dot, k_dot) = primals, tangents
    calls.append("jvp")
    return body(x, k), {"wave": k * np.cos(x) * x_dot + np.sin(x) * k_dot, "power": np.sum(3.0 * x**2 * x_dot)}


def wave_fwd(x, k):
    calls.append("fwd")
    return body(x, k), {"x": x, "k": k}


def wave_bwd(residuals, y_bar):
    x, k = residuals["x"], residuals["k"]
    calls.append("bwd")
    return k * np.cos(x) * y_bar["wave"] + 3.0 * x**2 * y_bar["power"], np.sum(np.sin(x) * y_bar["wave"])


def with_jvp(make=ds.custom_jvp):
    f = make(body)
    f.defjvp(wave_jvp)
    return f


def with_vjp(make=ds.custom_vjp):
    f = make(body)
    f.defvjp(wave_fwd, wave_bwd)
    return f


def with_both():
    f = with_jvp()
    f.defvjp(wave_fwd, wave_bwd)
    return f


MADE = pytest.mark.parametrize("make", [with_jvp, with_vjp, with_both], ids=["jvp", "vjp", "both"])


def loss_of(f):
    return lambda x, k: np.sum(f(x, k)["wave"] ** 2) * f(x, k)["power"]


# ---------------------------------------------------------------- derivatives
@MADE
def test_derivatives_of_every_kind_are_those_of_the_body(make):
    loss, plain = loss_of(make()), loss_of(body)
    assert loss(X, 2.0) == plain(X, 2.0)
    for verb in (ds.grad, ds.hessian, ds.jacobian):
        got, wanted = ds.tree.leaves(verb(loss, (0, 1))(X, 2.0)), ds.tree.leaves(verb(plain, (0, 1))(X, 2.0))
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13)
    direction = (np.array([0.4, -1.0]), 0.5)
    for f, g in ((loss, plain), (ds.grad(loss), ds.grad(plain))):
        np.testing.assert_allclose(ds.jvp(f, (X, 2.0), direction)[1], ds.jvp(g, (X, 2.0), direction)[1], rtol=1e-13)
    third = ds.grad(lambda x: np.sum(ds.hvp(lambda x: loss(x, 2.0), (x,), (np.ones(2),))))
    np.testing.assert_allclose(third(X), ds.grad(lambda x: np.sum(ds.hvp(lambda x: plain(x, 2.0), (x,), (np.ones(2),))))(X), rtol=1e-12)


@MADE
def test_the_two_modes_are_adjoint(make, rng):
    f = make()
    v = (rng.normal(size=2), rng.normal())
    w = {"wave": rng.normal(size=2), "power": rng.normal()}
    y_dot = ds.jvp(f, (X, 2.0), v)[1]
    x_bar = ds.vjp(f, X, 2.0)[1](w)
    left = np.sum(w["wave"] * y_dot["wave"]) + w["power"] * y_dot["power"]
    assert left == pytest.approx(np.sum(x_bar[0] * v[0]) + x_bar[1] * v[1], rel=1e-14)
    f_jvp = ds.linearize(f, X, 2.0)[1]
    np.testing.assert_allclose(f_jvp(*v)["wave"], y_dot["wave"], rtol=1e-14)


@MADE
def test_check_grads_passes(make, rng):
    check_grads(make(), (X, 2.0), order=2, rng=rng)


@pytest.mark.parametrize(("make", "forward", "reverse"), [
    (with_jvp, {"jvp"}, {"jvp"}), (with_vjp, {"fwd", "bwd"}, {"fwd", "bwd"}), (with_both, {"jvp"}, {"fwd", "bwd"})])
def test_each_mode_runs_its_own_rule(make, forward, reverse):
    f = make()
    ds.grad(loss_of(f))(X, 2.0)
    calls.clear()
    ds.jvp(f, (X, 2.0), (X, 1.0))
    assert set(calls) == forward
    calls.clear()
    ds.grad(loss_of(f))(X, 2.0)
    assert set(calls) == reverse


def test_the_rule_is_used_and_not_the_body():
    """JAX's example: the body's derivative overflows, the rule's does not."""
    @ds.custom_jvp
    def log1pexp(x):
        return np.log(1.0 + np.exp(x))

    @log1pexp.defjvp
    def log1pexp_jvp(primals, tangents):
        (x,), (x_dot,) = primals, tangents
        return log1pexp(x), (1.0 - 1.0 / (1.0 + np.exp(x))) * x_dot

    assert ds.grad(log1pexp)(100.0) == 1.0
    assert ds.grad(ds.grad(log1pexp))(2.0) == pytest.approx(np.exp(2.0) / (1 + np.exp(2.0)) ** 2, rel=1e-14)


def test_defjvps_takes_one_derivative_an_argument():
    f = ds.custom_jvp(lambda x, y: x**2 * y)
    f.defjvps(lambda t, z, x, y: 2.0 * x * y * t, lambda t, z, x, y: x**2 * t)
    assert ds.grad(f, (0, 1))(3.0, 2.0) == (12.0, 9.0)
    g = ds.custom_jvp(lambda x, y: x**2 * y)
    g.defjvps(None, lambda t, z, x, y: x**2 * t)
    assert ds.grad(g, (0, 1))(3.0, 2.0) == (0.0, 9.0)


def test_arguments_that_are_not_differentiated_come_first():
    f = ds.custom_jvp(lambda n, x, power=2: n * x**power, nondiff_argnums=(0, 2))
    f.defjvp(lambda n, power, primals, tangents: (f(n, primals[0], power), n * power * primals[0] ** (power - 1) * tangents[0]))
    assert ds.grad(lambda x: f(3, x))(2.0) == 12.0
    assert ds.grad(lambda x: f(3, x, power=3))(2.0) == 36.0
    g = ds.custom_vjp(lambda n, x: n * x**2, nondiff_argnums=0)
    g.defvjp(lambda n, x: (n * x**2, x), lambda n, x, w: (2.0 * n * x * w,))
    assert ds.grad(lambda x: g(3, x))(2.0) == 12.0
    assert ds.jvp(lambda x: g(3, x), (2.0,), (1.0,)) == (12.0, 12.0)
    with pytest.raises(InputTypeError, match="nondiff_argnums"):
        ds.grad(lambda x: g(x, 1.0))(2.0)


def test_none_is_a_zero_cotangent_and_a_zero_tangent():
    f = ds.custom_vjp(lambda p: p["a"] * p["b"])
    f.defvjp(lambda p: (p["a"] * p["b"], p), lambda p, w: ({"a": w * p["b"], "b": None},))
    assert ds.grad(f)({"a": 2.0, "b": 3.0}) == {"a": 3.0, "b": 0.0}
    g = ds.custom_jvp(lambda x: (x, 2.0 * x))
    g.defjvp(lambda primals, tangents: (g(*primals), (None, 2.0 * tangents[0])))
    assert ds.jvp(g, (1.0,), (1.0,))[1] == (0.0, 2.0)
    assert ds.grad(lambda x: g(x)[0] + g(x)[1])(1.0) == 2.0


def test_a_method_may_have_rules():
    class Spring:
        stiffness = 3.0

        @ds.custom_jvp
        def force(self, x):
            return self.stiffness * x

        @force.defjvp
        def force_jvp(primals, tangents):  # noqa: N805  (a rule, not a method)
            (self, x), (_, x_dot) = primals, tangents
            return self.stiffness * x, self.stiffness * x_dot

    assert ds.grad(Spring().force)(2.0) == 3.0


# ---------------------------------------------------------------- closures
def closing(make):
    def loss(c):
        f = ds.custom_jvp(lambda x: c * x**2)
        make(f, c)
        return f(2.0 * c)                                  # 4 c³
    return loss


def test_values_closed_over_are_differentiated_through_the_body():
    by_jvp = closing(lambda f, c: f.defjvp(lambda p, t: (c * p[0] ** 2, 2.0 * c * p[0] * t[0])))
    for c in (3.0, -0.5):
        assert ds.grad(by_jvp)(c) == pytest.approx(12.0 * c**2)
        assert ds.jvp(by_jvp, (c,), (1.0,))[1] == pytest.approx(12.0 * c**2)
        assert ds.hessian(by_jvp)(c) == pytest.approx(24.0 * c)
        assert ds.grad(ds.grad(ds.grad(by_jvp)))(c) == pytest.approx(24.0)


def test_a_backward_rule_takes_values_closed_over_as_residuals():
    right = closing(lambda f, c: f.defvjp(lambda x: (c * x**2, (c, x)), lambda r, w: (2.0 * r[0] * r[1] * w,)))
    assert ds.grad(right)(3.0) == pytest.approx(108.0)
    assert ds.grad(ds.grad(right))(3.0) == pytest.approx(72.0)
    wrong = closing(lambda f, c: f.defvjp(lambda x: (c * x**2, x), lambda x, w: (2.0 * c * x * w,)))
    with pytest.raises(DiffsimError, match=r"test_custom_rules\.py.*residual"):
        ds.grad(wrong)(3.0)


def test_a_closure_in_a_graph_is_refused():
    loss = closing(lambda f, c: f.defjvp(lambda p, t: (c * p[0] ** 2, 2.0 * c * p[0] * t[0])))
    with pytest.raises(MissingRule, match="pass it as an argument"):
        ds.make_graph(loss)(3.0)
    with pytest.warns(FallbackWarning, match="closes over a traced value"):
        assert ds.jit(loss)(3.0) == 108.0


# ---------------------------------------------------------------- compiled
@MADE
def test_compiled_programs_use_the_rules(make):
    f = make()
    loss, plain = loss_of(f), loss_of(body)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FallbackWarning)
        assert ds.jit(loss)(X, 2.0) == pytest.approx(plain(X, 2.0), rel=1e-14)
        for g in (ds.jit(ds.grad(loss)), ds.grad(ds.jit(loss))):
            calls.clear()
            np.testing.assert_allclose(g(X, 2.0), ds.grad(plain)(X, 2.0), rtol=1e-13)
            assert calls
        np.testing.assert_allclose(ds.jit(ds.hessian(loss))(X, 2.0), ds.hessian(plain)(X, 2.0), rtol=1e-12)


@MADE
def test_a_right_hand_side_may_hold_them(make):
    f = make()

    def end(y0, k, f):
        with warnings.catch_warnings():
            warnings.simplefilter("error", FallbackWarning)
            return np.sum(ds.solve_ivp(lambda t, y, k: -f(y, k)["wave"], (0.0, 1.0), y0, t_eval=[1.0], args=(k,)).y)

    for verb in (ds.grad, ds.hessian):
        np.testing.assert_allclose(verb(lambda y: end(y, 1.3, f))(X), verb(lambda y: end(y, 1.3, body))(X), rtol=1e-9, atol=1e-12)
    calls.clear()
    ds.grad(lambda k: end(X, k, make()))(1.7)
    assert calls


def test_a_rule_that_changes_gives_a_new_program():
    f = ds.custom_jvp(lambda x: x**2)
    f.defjvp(lambda p, t: (p[0] ** 2, 2.0 * p[0] * t[0]))
    run = ds.jit(ds.grad(lambda x: f(x)))
    assert run(3.0) == 6.0
    f.defjvp(lambda p, t: (p[0] ** 2, -1.0 * t[0]))
    assert run(3.0) == -1.0


@MADE
def test_batches_use_the_rules(make):
    f = make()
    rows = np.array([[0.3, 0.8], [0.1, -0.4], [1.0, 0.2]])
    wanted = np.array([ds.grad(loss_of(body))(x, 2.0) for x in rows])
    calls.clear()
    np.testing.assert_allclose(ds.vmap(ds.grad(loss_of(f)), (0, None))(rows, 2.0), wanted, rtol=1e-13)
    assert 0 < len(calls) <= 4                             # once each for all members
    calls.clear()
    whole = ds.grad(lambda x, k: np.sum(ds.vmap(loss_of(f), (0, None))(x, k)), (0, 1))(rows, 2.0)
    np.testing.assert_allclose(whole[0], wanted, rtol=1e-13)
    assert whole[1] == pytest.approx(sum(ds.grad(loss_of(body), 1)(x, 2.0) for x in rows), rel=1e-13)
    assert calls
    second = ds.vmap(ds.hessian(loss_of(f)), (0, None))(rows, 2.0)
    np.testing.assert_allclose(second, [ds.hessian(loss_of(body))(x, 2.0) for x in rows], rtol=1e-12, atol=1e-13)
    tangents = ds.jvp(lambda x: ds.vmap(f, (0, None))(x, 2.0)["wave"], (rows,), (np.ones((3, 2)),))[1]
    np.testing.assert_allclose(tangents, 2.0 * np.cos(rows), rtol=1e-14)


def test_values_of_another_transform_closed_over_are_refused():
    def member(c):
        f = ds.custom_jvp(lambda x: c * x)
        f.defjvp(lambda p, t: (c * p[0], c * t[0]))
        return f(2.0 * c)

    with pytest.raises(InputError, match="pass the value as an argument"):
        ds.vmap(member)(X)

    def outer(x):
        f = ds.custom_jvp(lambda x: x)

        def inner(c):
            g = ds.custom_jvp(lambda x: c * x)
            g.defjvp(lambda p, t: (c * p[0], c * t[0]))
            return g(x)
        f.defjvp(lambda p, t: (p[0], t[0]))
        return ds.grad(inner)(2.0)

    with pytest.raises(InputError, match="pass the value as an argument"):
        ds.grad(outer)(3.0)


# ---------------------------------------------------------------- wrong rules
@pytest.mark.parametrize(("rule", "why"), [
    (lambda p, t: p[0] ** 2, "pair"),
    (lambda p, t: (p[0] ** 2, {"a": t[0]}), "structure|dtype|leaf"),
    (lambda p, t: (p[0] ** 2, np.sum(t[0])), r"shape \(\)"),
    (lambda p, t: (p[0] ** 2, t[0].astype(np.float32)), "dtype float32"),
    (lambda p, t: (np.sum(p[0] ** 2), np.sum(t[0])), "returns float64"),
    (lambda p, t: ((p[0], p[0]), (t[0], t[0])), "structure"),
])
def test_a_wrong_jvp_rule_is_named(rule, why):
    f = ds.custom_jvp(lambda x: x**2)
    f.defjvp(rule)
    with pytest.raises((InputError, InputTypeError), match=rf"(?s)test_custom_rules\.py:\d+.*({why})"):
        ds.jvp(f, (X,), (X,))
    with pytest.raises((InputError, InputTypeError), match=rf"(?s)test_custom_rules\.py:\d+.*({why})"):
        ds.grad(lambda x: np.sum(f(x)))(X)


@pytest.mark.parametrize("rule", [
    lambda p, t: (p[0] ** 2, t[0] * t[0]),
    lambda p, t: (p[0] ** 2, np.sin(t[0])),
    lambda p, t: (p[0] ** 2, p[0] / (1.0 + t[0])),
    lambda p, t: (p[0] ** 2, 2.0 * p[0] * t[0] + 1.0),
    lambda p, t: (p[0] ** 2, np.ones(2)),
    lambda p, t: (p[0] ** 2, np.maximum(t[0], 0.0)),
])
def test_a_jvp_rule_that_is_not_linear_has_no_transpose(rule):
    f = ds.custom_jvp(lambda x: x**2)
    f.defjvp(rule)
    with pytest.raises(InputError, match=r"test_custom_rules\.py:\d+.*not linear"):
        ds.grad(lambda x: np.sum(f(x)))(X)


def test_a_jvp_rule_cannot_branch_on_a_tangent():
    f = ds.custom_jvp(lambda x: x**2)
    f.defjvp(lambda p, t: (p[0] ** 2, 2.0 * p[0] * t[0] if t[0] > 0 else t[0]))
    with pytest.raises(InputError, match=r"test_custom_rules\.py:\d+: a branch.*linear"):
        ds.grad(f)(1.0)


@pytest.mark.parametrize(("bwd", "why"), [
    (lambda x, w: (w, w), "tuple of 1"),
    (lambda x, w: (np.sum(w),), r"shape \(\)"),
    (lambda x, w: (1j * w,), "dtype complex128"),
])
def test_a_wrong_backward_rule_is_named(bwd, why):
    f = ds.custom_vjp(lambda x: x**2)
    f.defvjp(lambda x: (x**2, x), bwd)
    with pytest.raises(InputError, match=rf"test_custom_rules\.py:\d+.*{why}"):
        ds.grad(lambda x: np.sum(f(x)))(X)


def test_a_backward_rule_that_is_not_linear_has_no_transpose():
    f = ds.custom_vjp(lambda x: x**2)
    f.defvjp(lambda x: (x**2, x), lambda x, w: (2.0 * x * np.clip(w, -1.0, 1.0),))
    assert ds.grad(lambda x: 5.0 * f(x))(3.0) == 6.0       # clipped gradients: reverse mode does as it is told
    with pytest.raises(InputError, match=r"test_custom_rules\.py:\d+.*not linear in the cotangents"):
        ds.jvp(f, (3.0,), (1.0,))


def test_a_function_without_rules_says_so():
    f = ds.custom_vjp(lambda x: x**2)
    assert f(3.0) == 9.0
    with pytest.raises(MissingRule, match=r"test_custom_rules\.py.*defjvp"):
        ds.grad(f)(3.0)


def test_wrong_calls_are_refused():
    with pytest.raises(InputTypeError, match="function"):
        ds.custom_jvp(3.0)
    with pytest.raises(InputTypeError, match="rule"):
        ds.custom_jvp(np.sin).defjvp(None)
    with pytest.raises(TypeError, match="too many positional arguments"):
        ds.custom_jvp(lambda x: x)(1.0, 2.0)

    def keyword_only(x, *, k=1.0):
        return k * x
    f = ds.custom_jvp(keyword_only)
    with pytest.raises(InputTypeError, match="keyword-only"):
        f(1.0, k=2.0)


# ---------------------------------------------------------------- rows
def softplus(**more):
    return ds.primitive.elementwise("softplus", lambda x: np.logaddexp(0.0, x), lambda x, y: 1.0 / (1.0 + np.exp(-x)),
                                    emit=lambda k, x: k.call("log1p", k.call("exp", x)), domain=(-3.0, 3.0), **more)


def test_a_row_of_an_elementwise_primitive_is_complete():
    f = softplus()
    assert f.name == f"{__name__}.softplus"
    assert check_primitive(f) >= 3
    np.testing.assert_allclose(ds.hessian(lambda x: np.sum(f(x)))(X), np.diag(np.exp(X) / (1 + np.exp(X)) ** 2), rtol=1e-14)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FallbackWarning)
        assert ds.jit(lambda x: np.sum(f(x)))(X) == pytest.approx(np.sum(np.logaddexp(0.0, X)), rel=1e-14)
        sol = ds.solve_ivp(lambda t, y: -f(y), (0.0, 1.0), X)
    assert sol.success
    assert f([0.0])[0] == np.log(2.0)


def test_a_row_defined_again_replaces_the_first():
    first = softplus()
    second = softplus()
    assert REGISTRY[first.name] is second
    assert first.digest != second.digest
    assert ds.primitive.elementwise("sin", np.sin, lambda x, y: np.cos(x), domain=(-1, 1)) is not REGISTRY["sin"]


def test_a_linear_row_is_its_own_tangent():
    mirror = ds.primitive.linear("mirror", lambda x: x[::-1], lambda w, x: (w[::-1],), samples=[((np.arange(3.0),), {})])
    assert check_primitive(mirror) == 1
    np.testing.assert_array_equal(ds.jacobian(mirror)(np.arange(3.0)), np.eye(3)[::-1])
    step = ds.primitive.nondifferentiable("step", lambda x: np.floor(x), samples=[((np.array([0.3, 1.7]),), {})])
    assert check_primitive(step) == 1
    assert ds.grad(lambda x: step(x) * x)(1.5) == 1.0


def test_a_general_row_has_every_slot():
    power = ds.primitive("power_sum", lambda x, *, n: np.sum(x**n), aval=lambda x, *, n: ((), x.dtype),
                         jvp=lambda x, y, x_dot, *, n: np.sum(n * x[0] ** (n - 1) * x_dot[0]),
                         samples=lambda rng: [((rng.uniform(0.5, 1.0, 3),), {"n": n}) for n in (2, 3)])
    assert check_primitive(power) == 2
    np.testing.assert_allclose(ds.grad(lambda x: power(x, n=3))(X), 3 * X**2, rtol=1e-14)
    assert ds.make_graph(lambda x: power(x, n=3))(X).verify()
    pair = ds.primitive("pair", lambda x: (np.sin(x), 2.0 * x), aval=lambda x: (x, x), multiple=True,
                        jvp=lambda x, y, x_dot: (np.cos(x[0]) * x_dot[0], 2.0 * x_dot[0]), samples=[((X,), {})])
    assert check_primitive(pair) == 1
    assert ds.grad(lambda x: pair(x)[1])(3.0) == 2.0


def test_an_empty_slot_names_the_primitive_the_lines_and_the_remedy():
    bare = ds.primitive("bare", lambda x: x**2)
    here = r"test_custom_rules\.py:\d+"
    with pytest.raises(MissingRule, match=rf"bare.*`jvp`.*{here}.*add jvp=.*{here}"):
        ds.grad(bare)(1.0)
    with pytest.raises(MissingRule, match=rf"bare.*`aval`.*{here}.*like"):
        ds.make_graph(bare)(1.0)
    known = ds.primitive("known", lambda x: x**2, aval="like")
    assert ds.jit(lambda x: known(x))(3.0) == 9.0          # a compiled program calls it back


@pytest.mark.parametrize(("rules", "why"), [
    ({"jvp": lambda x, y, x_dot: np.sum(x_dot[0])}, r"shape \(\)"),
    ({"jvp": lambda x, y, x_dot: (x_dot[0] + 0j)}, "dtype complex128"),
])
def test_a_wrong_rule_of_a_row_is_named(rules, why):
    wrong = ds.primitive("wrong", lambda x: x**2, aval="like", **rules)
    with pytest.raises(InputError, match=rf"test_custom_rules\.py:\d+.*{why}"):
        ds.jvp(wrong, (X,), (X,))


def test_wrong_rows_are_refused():
    with pytest.raises(InputTypeError, match="impl"):
        ds.primitive("x", 3.0)
    with pytest.raises(InputTypeError, match="name"):
        ds.primitive("", np.sin)
    with pytest.raises(InputError, match="derivative"):
        ds.primitive.elementwise("x", np.sin)
    with pytest.raises(InputTypeError, match="emit"):
        ds.primitive.elementwise("x", np.sin, None, emit=3)
    with pytest.raises(InputTypeError, match="aval"):
        ds.primitive("x", np.sin, aval=3)


def test_an_affine_jvp_rule_is_refused_in_both_modes():
    @ds.custom_jvp
    def f(x):
        return x**2

    @f.defjvp
    def rule(primals, tangents):
        return primals[0] ** 2, 2.0 * primals[0] * tangents[0] + 1.0
    for run in (lambda: ds.jvp(f, (3.0,), (1.0,)), lambda: ds.grad(f)(3.0), lambda: ds.jacfwd(f)(3.0), lambda: ds.grad(ds.grad(f))(3.0),
                lambda: ds.jvp(lambda x: ds.jvp(f, (x,), (1.0,))[1], (3.0,), (1.0,))):
        with pytest.raises(ds.errors.InputError, match="not zero for zero tangents"):
            run()

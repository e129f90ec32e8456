"""solve_ivp: right answers, right gradients, the traps, every way of writing a right-hand side, bad input."""

import cmath
import math
import warnings

import numpy as np
import pytest
import scipy.integrate
import scipy.interpolate

import diffsim as ds
from diffsim.errors import DerivativeLost, FallbackWarning, InputError, InputTypeError, SolveError

P, Y0 = np.array([1.5, 1.0, 3.0, 1.0]), np.array([1.0, 1.0])


def predator_prey(t, y, p):
    x, z = y
    return np.array([p[0] * x - p[1] * x * z, p[3] * x * z - p[2] * z])


# ---------------------------------------------------------------- answers
# R1: the problem of SUNDIALS' cvsLotkaVolterra_ASA, x' = p0 x - p1 x y, y' = p3 x y - p2 y, u0 = (1, 1), p = (1.5, 1, 3, 1), T = 10,
# g = |u(T) - 1|^2 / 2.
# Gradient: heyoka's variational equations at tolerance 1e-18.  End state: SciPy's DOP853 at rtol 1e-13 (Radau at 1e-11 agrees to 2e-12).
R1_END = (1.026344767575, 0.909691078136)
R1_Y0 = (0.2995995083036782, -0.0141518163448535)
R1_P = (0.6219615855512728, 0.0680014041508734, 0.1691764639958905, 0.2725606939500041)


@pytest.mark.parametrize("method", ["Tsit5", "RK45", "Vern7", "DOP853"])
@pytest.mark.parametrize("compiled", [False, True])
def test_lotka_volterra_gives_the_published_end_state_and_gradient(method, compiled):
    def loss(y0, p):
        sol = ds.solve_ivp(predator_prey, (0, 10), y0, method=method, t_eval=[10.0], args=(p,), rtol=1e-10, atol=1e-12)
        return 0.5 * np.sum((sol.y[:, -1] - 1) ** 2), sol.y[:, -1]

    f = ds.value_and_grad(loss, (0, 1), has_aux=True)
    (value, end), (y_bar, p_bar) = (ds.jit(f) if compiled else f)(Y0, P)
    np.testing.assert_allclose(end, R1_END, rtol=1e-9)
    np.testing.assert_allclose(value, 0.5 * np.sum((np.array(R1_END) - 1) ** 2), rtol=1e-8)
    np.testing.assert_allclose(y_bar, R1_Y0, rtol=1e-8)
    np.testing.assert_allclose(p_bar, R1_P, rtol=1e-8)


# R19: y' = k - 10 y starting at rest (k = 10, y = 1), loss sum of y(0), y(1), ..., y(10): dL/dk = sum (1 - exp(-10 t)) / 10.
REST = float(np.sum(1 - np.exp(-10.0 * np.arange(11)))) / 10


@pytest.mark.parametrize("rtol", [1e-6, 1e-9])
@pytest.mark.parametrize("method", ["Tsit5", "RK45", "RK23"])
def test_a_start_at_rest_does_not_hide_the_sensitivity(method, rtol):
    def loss(k):
        return np.sum(ds.solve_ivp(lambda t, y: k - 10 * y, (0, 10), [1.0], method=method, t_eval=np.arange(11.0), rtol=rtol, atol=rtol).y)

    assert pytest.approx(0.999995459800899, abs=1e-14) == REST
    assert ds.grad(loss)(10.0) == pytest.approx(REST, rel=1e-4)
    assert ds.jit(ds.grad(loss))(10.0) == pytest.approx(REST, rel=1e-4)
    assert ds.jvp(loss, (10.0,), (1.0,))[1] == pytest.approx(REST, rel=1e-4)


# R20: u1' = a u1 - u1 u2, u2' = -a u2 + u1 u2 from its fixed point (a, a), a = 1; the start does not move with a. Loss: the sum of
# u1 + u2 over 0, 0.1, ..., 10.
def test_a_start_at_a_fixed_point_does_not_hide_the_sensitivity():
    t = np.linspace(0, 10, 101)

    def loss(a):
        def rhs(t, u):
            return np.array([a * u[0] - u[0] * u[1], -a * u[1] + u[0] * u[1]])
        return np.sum(ds.solve_ivp(rhs, (0, 10), np.ones(2), t_eval=t, rtol=1e-6, atol=1e-6).y)

    want = np.sum(2 - 2 * np.cos(t))
    assert want == pytest.approx(212.7104252168194, rel=1e-12)
    assert ds.grad(loss)(1.0) == pytest.approx(want, rel=1e-4)


def test_the_probe_can_be_left_out():
    def loss(k, errors):
        return np.sum(ds.solve_ivp(lambda t, y: k - 10 * y, (0, 10), [1.0], t_eval=np.arange(11.0), rtol=1e-6, gradient_errors=errors).y)

    assert abs(ds.grad(lambda k: loss(k, "state"))(10.0) - REST) > 1          # the state alone says nothing: few, huge steps
    assert ds.grad(lambda k: loss(k, "probe"))(10.0) == pytest.approx(REST, rel=1e-4)


def test_solutions_equal_scipy_at_tight_tolerance():
    t = np.linspace(0, 10, 31)
    want = scipy.integrate.solve_ivp(predator_prey, (0, 10), Y0, method="DOP853", t_eval=t, args=(P,), rtol=1e-12, atol=1e-12)
    for method, rtol in (("Tsit5", 1e-10), ("RK45", 1e-10), ("RK23", 1e-9), ("DOP853", 1e-10)):
        sol = ds.solve_ivp(predator_prey, (0, 10), Y0, method=method, t_eval=t, args=(P,), rtol=rtol, atol=rtol)
        assert sol.success
        assert sol.status == 0
        np.testing.assert_allclose(sol.y, want.y, rtol=3e-7)


@pytest.mark.parametrize(("method", "order"), [("RK4", 4), ("Euler", 1)])
def test_fixed_steps_have_their_order_and_exact_gradients(method, order):
    t = np.array([0.0, 0.25, 1.0, 2.0])

    def states(p, size, span=(0, 2)):
        return ds.solve_ivp(predator_prey, span, Y0, method=method, t_eval=t, args=(p,), first_step=size).y

    want = scipy.integrate.solve_ivp(predator_prey, (0, 2), Y0, method="DOP853", t_eval=t, args=(P,), rtol=1e-12, atol=1e-12).y
    errors = [np.abs(states(P, size) - want)[:, -1].max() for size in (0.02, 0.01)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2)
    sol = ds.solve_ivp(predator_prey, (0, 2), Y0, method=method, args=(P,), first_step=0.3)
    assert len(sol.mesh) == 7                                                     # 2 / 0.3 rounded up
    np.testing.assert_allclose(sol.mesh.increments, 2 / 7)
    slope = ds.jit(ds.grad(lambda p: np.sum(states(p, 0.1) ** 2)))(P)
    difference = [(np.sum(states(P + e, 0.1) ** 2) - np.sum(states(P - e, 0.1) ** 2)) / 2e-5 for e in 1e-5 * np.eye(4)]
    np.testing.assert_allclose(slope, difference, rtol=1e-7)
    with pytest.warns(FallbackWarning, match="needs t_span as numbers"):
        ds.jit(lambda end: states(P, 0.1, (0, end)))(2.0)


def test_results_have_the_fields_of_scipy():
    theirs = scipy.integrate.solve_ivp(predator_prey, (0, 1), Y0, args=(P,))
    ours = ds.solve_ivp(predator_prey, (0, 1), Y0, args=(P,))
    assert set(theirs) <= set(ours)
    assert ours.t.shape == (ours.accepted + 1,)
    assert ours.y.shape == (2, ours.accepted + 1)
    assert ours.t[0] == 0
    assert ours.t[-1] == 1
    assert ours.nfev > ours.accepted
    assert "<table>" in ours._repr_html_()


def test_backward_in_time_and_no_time_at_all():
    there = ds.solve_ivp(predator_prey, (0, 3), Y0, args=(P,), rtol=1e-10, atol=1e-12)
    back = ds.solve_ivp(predator_prey, (3, 0), there.y[:, -1], args=(P,), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(back.y[:, -1], Y0, rtol=1e-8)
    still = ds.solve_ivp(predator_prey, (1, 1), Y0, t_eval=[1.0], args=(P,))
    np.testing.assert_array_equal(still.y[:, 0], Y0)

    def end(y):
        return ds.solve_ivp(predator_prey, (1, 1), y, t_eval=[1.0], args=(P,)).y[:, 0]

    np.testing.assert_allclose(ds.jacobian(end)(Y0), np.eye(2))


def test_dense_output_and_its_derivative():
    sol = ds.solve_ivp(predator_prey, (0, 5), Y0, args=(P,), dense_output=True, rtol=1e-9, atol=1e-9)
    fine = ds.solve_ivp(predator_prey, (0, 5), Y0, args=(P,), t_eval=[1.3, 2.7], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(sol.sol([1.3, 2.7]), fine.y, rtol=1e-14)
    np.testing.assert_allclose(sol.sol([2.7, 1.3]), fine.y[:, ::-1], rtol=1e-14)
    assert sol.sol(2.0).shape == (2,)
    slope = ds.jacobian(sol.sol)(2.0)
    np.testing.assert_allclose(slope, predator_prey(2.0, sol.sol(2.0), P), rtol=1e-5)
    with pytest.raises(InputError, match="must lie in"):
        sol.sol(5.1)


# ---------------------------------------------------------------- derivatives
@pytest.mark.parametrize("rtol", [1e-3, 1e-8])
@pytest.mark.parametrize("method", ["Tsit5", "RK45", "RK23"])
def test_the_gradient_is_that_of_the_discrete_solution(method, rtol):
    t = np.linspace(0, 8, 17)
    if method == "RK23" and rtol < 1e-6:
        rtol = 1e-6

    def loss(theta, steps=None):
        sol = ds.solve_ivp(predator_prey, (0, 8), theta[:2], method=method, t_eval=t, args=(theta[2:],), rtol=rtol, atol=rtol, steps=steps)
        return np.sum(np.log(sol.y) ** 2), sol.mesh

    theta = np.concatenate([Y0 * 1.1, P])
    (_, mesh), gradient = ds.value_and_grad(loss, has_aux=True)(theta)
    e = 1e-4
    for i in range(6):
        h = e * np.eye(6)[i]
        f = {s: loss(theta + s * h, mesh)[0] for s in (-3, -2, -1, 1, 2, 3)}
        difference = (45 * (f[1] - f[-1]) - 9 * (f[2] - f[-2]) + (f[3] - f[-3])) / (60 * e)
        assert gradient[i] == pytest.approx(difference, rel=1e-8, abs=1e-8 * np.abs(gradient).max())


def test_derivatives_in_every_argument_at_once():
    def f(t0, t1, y0, p, tau):
        sol = ds.solve_ivp(predator_prey, (t0, t1), y0, t_eval=np.stack([0.5 * (t0 + t1), tau, t1]), args=(p,), rtol=1e-11, atol=1e-11)
        return sol.y

    z = (0.2, 3.0, Y0, P, 2.1)
    jac = ds.jacobian(f, (0, 1, 2, 3, 4))(*z)
    e = 1e-6
    for i, block in enumerate(jac):
        for k in np.ndindex(np.shape(z[i])):
            def moved(s, i=i, k=k):
                x = [np.array(v, float) for v in z]
                x[i][k] += s
                return f(*x)
            np.testing.assert_allclose(block[(..., *k)], (moved(e) - moved(-e)) / (2 * e), rtol=1e-6, atol=1e-6)


def test_the_end_of_the_span_is_differentiable_without_t_eval():
    def end(t1):
        return ds.solve_ivp(predator_prey, (0.0, t1), Y0, args=(P,), rtol=1e-9, atol=1e-9).y[:, -1]

    np.testing.assert_allclose(ds.jacobian(end)(2.0), predator_prey(2.0, end(2.0), P), rtol=1e-6)


def test_hessians_of_a_solve_forward_over_reverse_and_back():
    def loss(p):
        return np.sum(ds.solve_ivp(predator_prey, (0, 5), Y0, t_eval=[2.0, 5.0], args=(p,), rtol=1e-9, atol=1e-9).y ** 2)

    v = np.array([0.3, -0.2, 0.5, 0.1])
    forward_over_reverse = ds.hvp(loss, (P,), (v,))
    reverse_over_forward = ds.grad(lambda p: ds.jvp(loss, (p,), (v,))[1])(P)
    reverse_over_reverse = ds.grad(lambda p: np.sum(ds.grad(loss)(p) * v))(P)
    np.testing.assert_allclose(reverse_over_forward, forward_over_reverse, rtol=1e-5)
    np.testing.assert_allclose(reverse_over_reverse, forward_over_reverse, rtol=1e-5)
    compiled = ds.jit(lambda p: ds.hvp(loss, (p,), (v,)))(P)
    np.testing.assert_allclose(compiled, forward_over_reverse, rtol=1e-6)
    hessian = ds.hessian(loss)(P)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-6, atol=1e-6 * np.abs(hessian).max())
    np.testing.assert_allclose(hessian @ v, forward_over_reverse, rtol=1e-5)


def test_closed_over_values_are_differentiated():
    def loss(p):
        scale = np.exp(p[0] - 1.5)
        return np.sum(ds.solve_ivp(lambda t, y: scale * predator_prey(t, y, p), (0, 2), Y0, t_eval=[1.0, 2.0], rtol=1e-9, atol=1e-9).y)

    e = 1e-6
    want = [(loss(P + e * d) - loss(P - e * d)) / (2 * e) for d in np.eye(4)]
    np.testing.assert_allclose(ds.grad(loss)(P), want, rtol=1e-5)
    np.testing.assert_allclose(ds.jit(ds.grad(loss))(P), want, rtol=1e-5)


def test_args_are_pytrees():
    def rhs(t, y, model, label):
        assert label == "lotka"
        return np.array([model["growth"][0] * y[0] - model["meet"] * y[0] * y[1], model["growth"][1] * y[0] * y[1] - 3.0 * y[1]])

    def loss(model):
        return np.sum(ds.solve_ivp(rhs, (0, 2), Y0, t_eval=[2.0], args=(model, "lotka")).y)

    gradient = ds.jit(ds.grad(loss))({"growth": np.array([1.5, 1.0]), "meet": 1.0})
    assert set(gradient) == {"growth", "meet"}
    assert np.all(np.isfinite(gradient["growth"]))


# ---------------------------------------------------------------- ways of writing a right-hand side
def with_array(t, y, p):
    return np.array([p[0] * y[0] - p[1] * y[0] * y[1], p[3] * y[0] * y[1] - p[2] * y[1]])


def with_assignment(t, y, p):
    dy = np.zeros(2)
    dy[0] = p[0] * y[0] - p[1] * y[0] * y[1]
    dy[1] = p[3] * y[0] * y[1] - p[2] * y[1]
    return dy


def with_list(t, y, p):
    return [p[0] * y[0] - p[1] * y[0] * y[1], p[3] * y[0] * y[1] - p[2] * y[1]]


def with_stack(t, y, p):
    return np.stack([p[0] * y[0] - p[1] * y[0] * y[1], p[3] * y[0] * y[1] - p[2] * y[1]])


def meeting(y):
    out = np.empty(1)
    out[0] = y[0] * y[1]
    return out[0]


def with_helper(t, y, p):
    dy = np.empty_like(y)
    dy[0], dy[1] = p[0] * y[0] - p[1] * meeting(y), p[3] * meeting(y) - p[2] * y[1]
    return dy


def with_in_place(t, y, p):
    dy = np.zeros(2)
    dy += p[[0, 2]] * y * np.array([1.0, -1.0])
    dy[0] -= p[1] * y[0] * y[1]
    dy[1:] += p[3] * y[0] * y[1]
    return dy


WRITINGS = [with_array, with_assignment, with_list, with_stack, with_helper, with_in_place]


@pytest.mark.parametrize("rhs", WRITINGS, ids=lambda f: f.__name__)
def test_every_way_of_writing_the_right_hand_side_is_right_and_compiled(rhs):
    def loss(p, f=rhs):
        return np.sum(ds.solve_ivp(f, (0, 5), Y0, t_eval=[2.0, 5.0], args=(p,), rtol=1e-8, atol=1e-8).y ** 2)

    want = ds.grad(lambda p: loss(p, predator_prey))(P)
    f = ds.jit(ds.grad(loss))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(f(P), want, rtol=1e-7)
        np.testing.assert_allclose(ds.grad(loss)(P), want, rtol=1e-7)
    assert f.stats["equations"] > 0


def test_a_changed_closure_constant_is_seen_and_compiled():
    box = {"k": 1.0}

    def loss(p):
        return np.sum(ds.solve_ivp(lambda t, y: box["k"] * predator_prey(t, y, p), (0, 2), Y0, t_eval=[2.0], rtol=1e-8, atol=1e-8).y)

    f = ds.jit(ds.value_and_grad(loss))
    first = f(P)
    box["k"] = 0.5
    second = f(P)
    want = ds.value_and_grad(loss)(P)
    assert abs(second[0] - first[0]) > 1e-3
    assert second[0] == pytest.approx(want[0], rel=1e-9)
    np.testing.assert_allclose(second[1], want[1], rtol=1e-6)
    box["k"] = 1.0
    assert f(P)[0] == first[0]


def test_a_branch_on_a_traced_value_runs_uncompiled_with_one_warning_naming_the_line():
    def rhs(t, y, p):
        if y[0] > 1e6:
            return np.zeros(2)
        return predator_prey(t, y, p)

    def loss(p, f):
        return np.sum(ds.solve_ivp(f, (0, 1), Y0, t_eval=[0.5, 1.0], args=(p,), rtol=1e-6, atol=1e-6).y ** 2)

    f = ds.jit(ds.value_and_grad(lambda p: loss(p, rhs)))
    with pytest.warns(FallbackWarning, match=r"test_solve_ivp\.py:\d+") as caught:
        (value, gradient), (again, _) = [f(P) for _ in range(2)]
    assert len(caught) == 1
    want, want_gradient = ds.value_and_grad(lambda p: loss(p, predator_prey))(P)
    assert value == again == pytest.approx(want, rel=1e-12)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-9)


def test_a_known_forcing_only_python_can_run_is_solved_and_differentiated():
    def rhs(t, y, k):
        return -cmath.exp(-t).real * y + k * t

    with pytest.warns(FallbackWarning, match="uncompiled"):
        sol = ds.solve_ivp(rhs, (0, 3), [1.0], t_eval=[3.0], args=(1.0,), rtol=1e-8)
    want = scipy.integrate.solve_ivp(rhs, (0, 3), [1.0], t_eval=[3.0], args=(1.0,), rtol=1e-10, atol=1e-12).y
    np.testing.assert_allclose(sol.y, want, rtol=1e-6)

    def end(k):
        return ds.solve_ivp(rhs, (0, 3), [1.0], t_eval=[3.0], args=(k,), rtol=1e-8).y[0, 0]

    def shifted(t1):
        return ds.solve_ivp(rhs, (t1, 4), [1.0], args=(1.0,)).y[0, -1]

    assert ds.grad(end)(1.0) == pytest.approx((end(1.1) - end(0.9)) / 0.2, rel=1e-6)
    with pytest.raises(DerivativeLost):                  # the forcing has no derivative in t, which a shift of t0 needs
        ds.grad(shifted)(3.0)


def test_a_forcing_by_splines_has_derivatives_in_time():
    spline = scipy.interpolate.CubicSpline(np.arange(5.0), np.sin(np.arange(5.0)))

    def end(k, t0):
        return ds.solve_ivp(lambda t, y, k: -math.exp(-t) * y + k * spline(t), (t0, 3.5), [1.0], args=(k,), rtol=1e-10, atol=1e-12).y[0, -1]

    got = ds.grad(end, (0, 1))(1.0, 0.5)
    for i, (up, down) in enumerate((((1.001, 0.5), (0.999, 0.5)), ((1.0, 0.501), (1.0, 0.499)))):
        assert got[i] == pytest.approx((end(*up) - end(*down)) / 0.002, rel=1e-5)


def test_a_right_hand_side_may_factorise():
    mass = np.array([[2.0, 0.5], [0.5, 1.0]])

    def rhs(t, y, k):
        return np.linalg.solve(mass, -k * y)

    gradient = ds.grad(lambda k: np.sum(ds.solve_ivp(rhs, (0, 1), [1.0, 2.0], t_eval=[1.0], args=(k,)).y))(1.0)
    explicit = np.linalg.inv(mass)
    want = ds.grad(lambda k: np.sum(ds.solve_ivp(lambda t, y: -k * (explicit @ y), (0, 1), [1.0, 2.0], t_eval=[1.0]).y))(1.0)
    assert gradient == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("n", [np.int64(2), np.int32(2), np.array(2), np.float32(2), np.array(2, np.float32)])
def test_numbers_of_every_dtype_reach_a_compiled_right_hand_side(n):
    def closed_over(k, n):
        return ds.solve_ivp(lambda t, y: -k * y * n, (0, 1), np.array([1.0]), t_eval=[1.0], rtol=1e-9).y[0, 0]

    def passed(k, n):
        return ds.solve_ivp(lambda t, y, n: -k * y * n, (0, 1), np.array([1.0]), t_eval=[1.0], args=(n,), rtol=1e-9).y[0, 0]

    for f in (closed_over, passed):
        value, gradient = ds.jit(ds.value_and_grad(f))(1.0, n)
        assert value == pytest.approx(np.exp(-2), rel=1e-7)
        assert gradient == pytest.approx(-2 * np.exp(-2), rel=1e-7)


def test_flags_and_integer_arrays_reach_a_compiled_right_hand_side():
    def f(k, flags, whole):
        return ds.solve_ivp(lambda t, y: -k * y * np.sum(flags) * whole[1], (0, 1), np.array([1.0]), t_eval=[1.0], rtol=1e-9).y[0, 0]

    assert ds.jit(f)(0.5, np.array([True, False, True]), np.array([7, 1])) == pytest.approx(np.exp(-1), rel=1e-7)


def test_a_varied_constant_in_a_closure_is_compiled_twice_and_no_more():
    from diffsim.ode import run  # noqa: PLC0415

    def end(k):
        return ds.solve_ivp(lambda t, y: np.array([y[1], -k * y[0]]), (0, 1), [1.0, 0.0], t_eval=[1.0], rtol=1e-9).y[0, 0]

    before = len(run._programs)
    for k in np.linspace(1.1, 3.3, 7):
        assert end(float(k)) == pytest.approx(np.cos(np.sqrt(k)), rel=1e-7)
    assert len(run._programs) == before + 2


def test_output_times_are_checked_inside_compiled_programs():
    f = ds.jit(lambda t: ds.solve_ivp(lambda t, y: -y, (0, 1.0), np.array([1.0]), t_eval=t).y[0])
    np.testing.assert_allclose(f(np.array([0.5, 1.0])), np.exp([-0.5, -1]), rtol=1e-5)
    for t in ([0.5, 1.5], [-0.1, 0.5], [0.7, 0.5], [0.5, np.nan]):
        with pytest.raises(SolveError, match="an output time is NaN, outside the span or out of order"):
            f(np.array(t))


def test_steps_must_cover_the_span():
    for steps in ([0.5], [-1.0, -1.0], [3.0]):
        with pytest.raises(InputError, match="the steps lead from 0 to"):
            ds.solve_ivp(lambda t, y: -y, (0, 2), [1.0], steps=steps)
    with pytest.raises(InputError, match="at least one"):
        ds.solve_ivp(lambda t, y: -y, (0, 2), [1.0], steps=[])
    end = ds.grad(lambda t1: ds.solve_ivp(lambda t, y: -y, (0, t1), [1.0], steps=[0.5] * 4).y[0, -1])(2.0)
    assert end == pytest.approx(-np.exp(-2), rel=1e-2)


def test_the_end_of_a_frozen_mesh_may_be_moved_a_little():
    mesh = ds.solve_ivp(predator_prey, (0, 3), Y0, args=(P,)).mesh

    def end(t1):
        return ds.solve_ivp(predator_prey, (0, t1), Y0, t_eval=np.stack([t1]), args=(P,), steps=mesh).y[0, 0]

    e = 1e-4
    difference = (8 * (end(3 + e) - end(3 - e)) - (end(3 + 2 * e) - end(3 - 2 * e))) / (12 * e)
    assert ds.grad(end)(3.0) == pytest.approx(difference, rel=1e-8)


# ---------------------------------------------------------------- bad input
def solve(**change):
    call = {"fun": lambda t, y: -y, "t_span": (0, 1), "y0": [1.0, 2.0]} | change
    return ds.solve_ivp(**call)


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"y0": [1.0, np.nan]}, InputError, r"y0\[1\] is nan; it must be finite"),
    ({"y0": "warm"}, InputTypeError, "y0 must hold numbers, not <U4"),
    ({"y0": None}, InputTypeError, "y0 is None"),
    ({"rtol": -1e-3}, InputError, "rtol must not be negative"),
    ({"rtol": np.nan}, InputError, "rtol must not be negative"),
    ({"atol": -1.0}, InputError, "atol must be a number"),
    ({"atol": [1e-6] * 3}, InputError, r"atol must be a number or have shape \(2,\)"),
    ({"t_eval": [0.5, 1.5]}, InputError, r"t_eval\[1\] = 1\.5 lies outside t_span = \(0\.0, 1\.0\)"),
    ({"t_eval": [0.5, 0.2]}, InputError, r"t_eval\[1\] = 0\.2 comes after t_eval\[0\] = 0\.5"),
    ({"t_eval": [0.5, np.nan]}, InputError, r"t_eval\[1\]"),
    ({"t_span": (0, np.inf)}, InputError, r"t_span\[1\] must be one finite number"),
    ({"t_span": 3.0}, InputError, "t_span must be a pair"),
    ({"fun": lambda t, y: y[:1]}, InputError, r"returned shape \(1,\), but y0 has shape \(2,\)"),
    ({"fun": 3}, InputTypeError, "fun must be callable"),
    ({"fun": lambda t, y: None}, InputTypeError, "returned None; is a return missing"),
    ({"rtol": "tight"}, InputTypeError, "rtol must be a number"),
    ({"max_steps": None}, InputTypeError, "max_steps must be a number, not None"),
    ({"y0": [1.0, [2.0, 3.0]]}, InputError, "y0 must be a vector of numbers"),
    ({"method": "Heun"}, InputError, "there is no method 'Heun'; choose one of Tsit5, RK45, RK23"),
    ({"method": "rk45"}, InputError, "no method 'rk45'; names are spelled as in 'RK45'; choose one of"),
    ({"rtoll": 1e-3}, InputTypeError, "no argument 'rtoll'; did you mean 'rtol'"),
    ({"controller": "P"}, InputError, "controller must be one of 'PI', 'I', 'PID', 'predictive' or a ds.ode.Controller, not 'P'"),
    ({"method": "RK4"}, InputError, "'RK4' takes equal steps and estimates no error: give first_step="),
    ({"method": None}, InputError, "there is no method None"),
    ({"events": 3.0}, InputTypeError, "events must be a function"),
    ({"first_step": 0.0}, InputError, "first_step must be a positive"),
    ({"max_step": 0.0}, InputError, "max_step must be a positive"),
    ({"max_steps": 0}, InputError, "max_steps must be a positive"),
    ({"gradient_errors": "none"}, InputError, "gradient_errors must be"),
])
def test_bad_input_is_named(change, error, message):
    with pytest.raises(error, match=message):
        solve(**change)


def test_integer_parameters_to_grad_are_refused():
    with pytest.raises(InputTypeError, match=r"argument 0 of .*write 1\.0 instead of 1"):
        ds.grad(lambda k: np.sum(solve(fun=lambda t, y: -k * y, t_eval=[1.0]).y))(2)


def blow_up(t, y, k):
    return k * y * y


def test_a_blow_up_is_reported_and_has_no_gradient():
    sol = ds.solve_ivp(blow_up, (0, 2), [1.0], args=(1.0,))
    assert not sol.success
    assert sol.status == -1
    assert "stopped at t = 1" in sol.message
    assert sol.t[-1] == pytest.approx(1.0, abs=1e-3)

    def loss(k):
        return np.sum(ds.solve_ivp(blow_up, (0, 2), [1.0], t_eval=[0.5, 2.0], args=(k,)).y)

    for f in (ds.grad(loss), ds.jit(ds.value_and_grad(loss)), ds.jit(loss), lambda k: ds.jvp(loss, (k,), (1.0,))):
        with pytest.raises(SolveError, match=r"stopped at t = (1|0\.99)"):
            f(1.0)
    with pytest.raises(ArithmeticError):
        ds.grad(loss)(1.0)


def test_nan_inside_a_compiled_solve_is_an_error():
    f = ds.jit(ds.value_and_grad(lambda y0: np.sum(ds.solve_ivp(lambda t, y: -y, (0, 1), y0, t_eval=[1.0]).y)))
    assert f(np.ones(2))[0] == pytest.approx(2 * np.exp(-1), rel=1e-5)
    with pytest.raises(SolveError, match="not finite"):
        f(np.array([1.0, np.nan]))


def test_max_steps_is_a_limit():
    sol = ds.solve_ivp(predator_prey, (0, 10), Y0, args=(P,), max_steps=5)
    assert not sol.success
    assert "max_steps" in sol.message


def test_jit_needs_t_eval():
    with pytest.warns(FallbackWarning, match="needs t_eval"):
        end = ds.jit(lambda y0: ds.solve_ivp(lambda t, y: -y, (0, 1), y0).y[:, -1])(np.ones(2))
    np.testing.assert_allclose(end, np.exp(-1), rtol=1e-5)


def test_cost_is_counted_and_does_not_grow_with_observations():
    few = ds.solve_ivp(predator_prey, (0, 10), Y0, t_eval=[10.0], args=(P,))
    many = ds.solve_ivp(predator_prey, (0, 10), Y0, t_eval=np.linspace(0, 10, 500), args=(P,))
    assert few.nfev == many.nfev == 6 * (few.accepted + few.rejected) + 2


def test_the_code_of_a_hessian_does_not_grow_with_its_size():
    def linked(n):
        def loss(q):
            return np.sum(ds.solve_ivp(lambda t, y, q: -q * y, (0, 1), np.ones(n), t_eval=[1.0], args=(q,)).y ** 3)

        f = ds.jit(ds.hessian(loss))
        q = np.linspace(0.5, 1.5, n)
        np.testing.assert_allclose(f(q), np.diag(9 * np.exp(-3 * q)), rtol=1e-3, atol=1e-8)
        return len(f._last.program._text()[1])

    assert linked(4) == linked(9)

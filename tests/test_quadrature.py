"""Integrals along solutions: their values, that they leave the steps alone, their derivatives in every family."""


import numpy as np
import pytest
import scipy.sparse

import diffsim as ds
from diffsim.errors import InputError, InputTypeError

P = np.array([1.0, 0.1, 0.1, 1.0])
Y0 = np.array([10.0, 5.0])
METHODS = ("Tsit5", "RK45", "DOP853", "Rodas5P", "Kvaerno5", "KenCarp4")


def lotka_volterra(t, y, p):
    return np.array([p[0] * y[0] - p[1] * y[0] * y[1], p[2] * y[0] * y[1] - p[3] * y[1]])


def rates(t, y, p):
    return np.array([y[0] * y[1], t * p[0] * y[0]])


def integrals(p, y0=Y0, method="Tsit5", **options):
    return ds.ode.quadrature(lotka_volterra, rates, (0.0, 10.0), y0, method, args=(p,), t_eval=[4.0, 10.0], **options).q


def test_an_integral_known_in_closed_form():
    sol = ds.ode.quadrature(lambda t, y, k: -k * y, lambda t, y, k: k * y[0] ** 2, (0, 3), [2.0], args=(0.7,), rtol=1e-9, atol=1e-12)
    assert sol.q.shape == sol.t.shape
    assert sol.y.shape == (1, len(sol.t))
    np.testing.assert_allclose(sol.q, 2.0 * (1 - np.exp(-1.4 * sol.t)), rtol=1e-8, atol=1e-12)


def test_an_integral_backwards_in_time_is_negative():
    sol = ds.ode.quadrature(lambda t, y: -y, lambda t, y: y[0], (1.0, 0.0), [np.exp(-1.0)], rtol=1e-9)
    np.testing.assert_allclose(sol.q[-1], np.exp(-1.0) - 1.0, rtol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_the_steps_are_those_of_the_state_alone(method):
    plain = ds.solve_ivp(lotka_volterra, (0.0, 10.0), Y0, method, args=(P,))
    sol = ds.ode.quadrature(lotka_volterra, lambda t, y, p: 1e6 * np.sin(50 * t), (0.0, 10.0), Y0, method, args=(P,))
    assert len(sol.mesh) == len(plain.mesh)
    np.testing.assert_allclose(sol.mesh.increments, plain.mesh.increments, rtol=1e-6)
    np.testing.assert_allclose(sol.y, plain.y, rtol=1e-5)
    if method == "Rodas5P":                                 # Newton's iterations go by the size of the matrix when they factorise anew
        assert (sol.njev, sol.nlu) == (plain.njev, plain.nlu)


def test_the_error_test_sees_the_integrals_where_it_is_asked_to():
    def peak(t, y):
        return np.exp(-(((t - 5.0) / 0.02) ** 2))

    told = {"rtol": 1e-6, "atol": 1e-9}
    blind = ds.ode.quadrature(lambda t, y: 0.0 * y, peak, (0.0, 10.0), [1.0], **told)
    sees = ds.ode.quadrature(lambda t, y: 0.0 * y, peak, (0.0, 10.0), [1.0], error_test=True, max_step=0.05, **told)
    assert len(blind.mesh) < 10
    np.testing.assert_allclose(sees.q[-1], 0.02 * np.sqrt(np.pi), rtol=1e-5)


@pytest.mark.parametrize("method", ["Tsit5", "DOP853", "Rodas5P", "Kvaerno5"])
def test_derivatives_agree_three_ways(method):
    mesh = ds.ode.quadrature(lotka_volterra, rates, (0.0, 10.0), Y0, method, args=(P,)).mesh

    def cost(p, y0):
        return np.sum(integrals(p, y0, method, steps=mesh) * np.array([[1.0, 2.0], [0.1, 0.3]]))

    backward = ds.grad(cost, (0, 1))(P, Y0)
    forward = ds.jacfwd(cost, (0, 1))(P, Y0)
    for i, (b, f, x) in enumerate(zip(backward, forward, (P, Y0), strict=True)):
        np.testing.assert_allclose(b, f, rtol=1e-11)
        for j in range(len(x)):
            step = np.zeros(len(x))
            step[j] = 1e-5 * x[j]
            up, down = (cost(*[z + s * step if k == i else z for k, z in enumerate((P, Y0))]) for s in (1.0, -1.0))
            np.testing.assert_allclose((up - down) / (2 * step[j]), b[j], rtol=1e-7)


def test_compiled_and_second_order():
    def cost(p):
        return np.sum(integrals(p)[:, -1])

    value, slope = ds.jit(ds.value_and_grad(cost))(P)
    np.testing.assert_allclose(slope, ds.grad(cost)(P), rtol=1e-10)
    v = np.array([0.3, -0.1, 0.2, 0.5])
    product = ds.jit(lambda p: ds.jvp(ds.grad(cost), (p,), (v,))[1])(P)
    np.testing.assert_allclose(product, ds.grad(lambda p: ds.grad(cost)(p) @ v)(P), rtol=1e-9)
    np.testing.assert_allclose(value, cost(P), rtol=1e-7)


@pytest.mark.parametrize("form", [lambda m: m, np.diag, lambda m: scipy.sparse.csr_array(np.diag(m))], ids=["vector", "matrix", "sparse"])
def test_integrals_of_a_problem_with_a_mass_matrix(form):
    """2 y' = -y and 0 = y0 - y1: the integral of y1 over (0, 4) is 2 (1 - exp(-2))."""
    def f(t, y):
        return np.array([-y[0], y[0] - y[1]])

    mass = form(np.array([2.0, 0.0]))
    sol = ds.ode.quadrature(f, lambda t, y: y[1], (0.0, 4.0), [1.0, 1.0], "Rodas5P", mass=mass, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(sol.q[-1], 2 * (1 - np.exp(-2.0)), rtol=1e-6)


def test_integrals_through_events_resets_and_doses():
    """y' = -y from 1, set to 1 again at 1/2, a dose of 1 at t = 3/2: the integral of y is what was added, less what is left."""
    def half(t, y):
        return y[0] - 0.5

    told = {"rtol": 1e-10, "atol": 1e-12}
    again = ds.ode.Event(half, reset=lambda t, y: y + 0.5, direction=-1)
    dose = ds.ode.Dose(time=1.5, amount=1.0, into=-1)
    sol = ds.ode.quadrature(lambda t, y: -y, lambda t, y: y[0], (0.0, 2.0), [1.0], events=[again], doses=[dose], t_eval=[1.0, 2.0], **told)
    np.testing.assert_allclose(sol.t_events[0][:2], [np.log(2.0), 2 * np.log(2.0)], rtol=1e-7)
    assert sol.y_events[0].shape[1] == 1
    added = 1.0 + 1.0 + 0.5 * len(sol.t_events[0])
    np.testing.assert_allclose(sol.q[-1], added - sol.y[0, -1], rtol=1e-8)

    half.terminal = True
    sol = ds.ode.quadrature(lambda t, y: -y, lambda t, y: y[0], (0.0, 2.0), [1.0], events=half, **told)
    assert sol.status == 1
    np.testing.assert_allclose(sol.q[-1], 0.5, rtol=1e-8)


def test_dense_output_of_state_and_integrals():
    sol = ds.ode.quadrature(lotka_volterra, rates, (0.0, 10.0), Y0, args=(P,), dense_output=True, rtol=1e-9)
    t = np.array([1.0, 7.5])
    at = ds.ode.quadrature(lotka_volterra, rates, (0.0, 10.0), Y0, args=(P,), t_eval=t, rtol=1e-9)
    np.testing.assert_allclose(sol.sol(t), at.y, rtol=1e-12)
    np.testing.assert_allclose(sol.q_sol(t), at.q, rtol=1e-12)
    whole = ds.ode.quadrature(lotka_volterra, lambda t, y, p: y[0], (0.0, 10.0), Y0, args=(P,), dense_output=True)
    assert whole.q_sol(5.0).shape == ()


def test_the_gradient_from_rest_is_right():
    """y' = k - 10 y from its fixed point: d/dk of the integral of y over (0, 10) is 10/10 - (1 - e^-100)/100."""
    def area(k):
        return ds.ode.quadrature(lambda t, y, k: k - 10 * y, lambda t, y, k: y[0], (0, 10), [1.0], args=(k,), t_eval=[10.0]).q[0]

    np.testing.assert_allclose(ds.grad(area)(10.0), 1.0 - 0.01, rtol=1e-6)


@pytest.mark.parametrize(("g", "error", "says"), [
    (3.0, InputTypeError, "g must be a function"),
    (lambda t, y, p: None, InputError, "not nothing"),
    (lambda t, y, p: {"cost": "dear"}, InputError, "numbers, arrays of them or a pytree"),
])  # fmt: skip
def test_rates_that_are_none(g, error, says):
    with pytest.raises(error, match=says):
        ds.ode.quadrature(lotka_volterra, g, (0.0, 1.0), Y0, args=(P,))


def test_wrong_shapes_are_named():
    def short(t, y, p):
        return y[:1]

    with pytest.raises(InputError, match=r"short\(t, y\) returned shape \(1,\)"):
        ds.ode.quadrature(short, rates, (0.0, 1.0), Y0, args=(P,))
    with pytest.raises(InputError, match=r"atol must be a number or have shape \(2,\)"):
        integrals(P, atol=np.ones(3))


# ---------------------------------------------------------------- states and costs of other kinds
def test_states_and_rates_may_be_numbers():
    sol = ds.ode.quadrature(lambda t, y, k: -k * y, lambda t, y, k: k * y, (0.0, 2.0), 3.0, args=(0.5,), t_eval=[1.0, 2.0], rtol=1e-9)
    assert sol.y.shape == sol.q.shape == (2,)
    np.testing.assert_allclose(sol.q, 3.0 - sol.y, rtol=1e-8)


def test_states_and_rates_may_be_trees():
    """What leaves a tank is what it loses; the amount is an array of two axes."""
    def tank(t, y, k):
        return {"level": -k * y["level"], "salt": -2.0 * k * y["salt"]}

    def lost(t, y, k):
        return {"water": k * y["level"], "salt": [2.0 * k * y["salt"], t * np.ones((2, 1))]}
    y0 = {"level": 2.0, "salt": np.array([[1.0, 3.0]])}

    def cost(k, y0):
        q = ds.ode.quadrature(tank, lost, (0.0, 2.0), y0, "Kvaerno5", args=(k,), t_eval=[1.0, 2.0], rtol=1e-9, atol=1e-11).q
        return q["water"][1] + np.sum(q["salt"][0][0, :, 1] * np.array([1.0, -2.0])) + np.sum(q["salt"][1][:, 0, 0])

    def exact(k, y0):
        kept = 1 - np.exp(-2 * k), 1 - np.exp(-4 * k)
        return y0["level"] * kept[0] + np.sum(y0["salt"][0] * np.array([1.0, -2.0])) * kept[1] + 1.0
    np.testing.assert_allclose(cost(0.5, y0), exact(0.5, y0), rtol=1e-7)
    backward, forward, known = (d(f, (0, 1))(0.5, y0) for d, f in ((ds.grad, cost), (ds.jacfwd, cost), (ds.grad, exact)))
    for found in (backward, forward):
        np.testing.assert_allclose(found[0], known[0], rtol=1e-6)
        for name in ("level", "salt"):
            np.testing.assert_allclose(found[1][name], known[1][name], rtol=1e-6)


def test_states_and_rates_may_be_complex():
    sol = ds.ode.quadrature(lambda t, y: 1j * y, lambda t, y: y, (0.0, 1.0), np.array([1.0 + 0j]), t_eval=[0.4, 1.0], rtol=1e-9,
                            dense_output=True)
    np.testing.assert_allclose(sol.q[0], (np.exp(1j * sol.t) - 1) / 1j, rtol=1e-8)
    np.testing.assert_allclose(sol.q_sol(1.0), sol.q[:, -1], rtol=1e-12)
    np.testing.assert_allclose(sol.sol(np.array([0.4, 1.0])), sol.y, rtol=1e-12)


def test_events_and_doses_speak_of_a_tree():
    def low(t, y):
        return y["a"] - 0.5

    again = ds.ode.Event(low, reset=lambda t, y: {**y, "a": y["a"] + 0.5}, direction=-1)
    sol = ds.ode.quadrature(lambda t, y: {"a": -y["a"], "b": 0.0}, lambda t, y: y["a"], (0.0, 2.0), {"a": 1.0, "b": 0.0}, events=[again],
                            doses=[ds.ode.Dose(time=1.5, amount=2.0, into="b")], t_eval=[1.0, 2.0], rtol=1e-9, atol={"a": 1e-11, "b": 1e-3})
    np.testing.assert_allclose(sol.y_events[0]["a"], 0.5, rtol=1e-7)
    np.testing.assert_allclose(sol.q[-1], 1.0 + 0.5 * len(sol.t_events[0]) - sol.y["a"][-1], rtol=1e-8)
    np.testing.assert_allclose(sol.y["b"], [0.0, 2.0], atol=1e-12)


def test_integrals_of_a_problem_in_two_parts():
    fun = ds.ode.Split(lambda t, y, k: -k * (y - np.cos(t)), lambda t, y, k: -np.sin(t) * y**0)

    def area(k, method="KenCarp4"):
        told = {"args": (k,), "t_eval": [1.0], "rtol": 1e-8, "atol": 1e-10}
        return ds.ode.quadrature(fun, lambda t, y, k: y[0] ** 2, (0.0, 1.0), [1.5], method, **told).q[0]
    np.testing.assert_allclose(area(50.0), area(50.0, "Radau"), rtol=1e-5)
    np.testing.assert_allclose(ds.grad(area)(50.0), ds.grad(lambda k: area(k, "Radau"))(50.0), rtol=1e-4)


def test_integrals_of_nothing():
    sol = ds.ode.quadrature(lambda t, y: y, lambda t, y: np.cos(t), (0.0, 1.0), [], t_eval=[1.0], max_step=0.05)
    assert sol.y.shape == (0, 1)
    np.testing.assert_allclose(sol.q[-1], np.sin(1.0), rtol=1e-6)

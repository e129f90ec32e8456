"""Estimates of the error of a gradient, and the report of every way to compute it: they fire on traps and are silent otherwise."""

import warnings

import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import GradientErrorWarning, InputError
from diffsim.ode import check_gradient, gradient_error


def rest(**options):
    """y' = k - 10 y from its rest point, k = 10: sum of y(0), y(1), ... y(10). dL/dk = sum (1 - exp(-10 t)) / 10 in closed form."""
    def loss(k):
        return np.sum(ds.solve_ivp(lambda t, y, k: k - 10 * y, (0, 10), [1.0], t_eval=np.arange(11.0), args=(k,), **options).y)
    return loss, 10.0, float(np.sum(1 - np.exp(-10 * np.arange(11.0))) / 10)


def fixed_point(**options):
    """Lotka-Volterra at its fixed point: dL/da = sum over t = 0, 0.1 .. 10 of 2 - 2 cos t."""
    def f(t, u, a):
        return np.array([a * u[0] - u[0] * u[1], -a * u[1] + u[0] * u[1]])

    def loss(a):
        return np.sum(ds.solve_ivp(f, (0, 10), np.ones(2), t_eval=np.linspace(0, 10, 101), args=(a,), **options).y)
    return loss, 1.0, float(np.sum(2 - 2 * np.cos(np.linspace(0, 10, 101))))


def hares(rtol=1e-6, **options):
    def f(t, y, p):
        return np.array([p[0] * y[0] - p[1] * y[0] * y[1], p[3] * y[0] * y[1] - p[2] * y[1]])

    def loss(theta):
        sol = ds.solve_ivp(f, (0, 20), theta["y0"], t_eval=np.linspace(0, 20, 21), args=(theta["p"],), rtol=rtol, atol=rtol, **options)
        return np.sum(np.log(sol.y) ** 2)
    return loss, {"p": np.array([0.55, 0.028, 0.84, 0.026]), "y0": np.array([30.0, 4.0])}


@pytest.mark.parametrize("case", [rest, fixed_point])
@pytest.mark.parametrize("rtol", [1e-6, 1e-9])
def test_a_gradient_from_rest_is_found_out(case, rtol):
    """R19 and R20 of the literature's traps: the state alone takes steps that its derivatives do not survive."""
    loss, k, exact = case(gradient_errors="state", rtol=rtol, method="RK45" if case is fixed_point else "Tsit5")
    with pytest.warns(GradientErrorWarning, match="do not trust it"):
        _, gradient, error = gradient_error(loss, k)
    assert abs(gradient - exact) > 0.1 * exact
    assert abs(error) > 0.1 * abs(gradient - exact)
    loss, k, exact = case(rtol=rtol)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, gradient, error = gradient_error(loss, k)
    assert gradient == pytest.approx(exact, rel=1e-3)
    assert abs(gradient - exact) < 3 * abs(error) + 1e-9


@pytest.mark.parametrize("case", [rest, fixed_point])
@pytest.mark.parametrize("method", ["Tsit5", "Rodas5P", "KenCarp4"])
def test_every_tangent_may_join_the_error_norm(case, method):
    """As strictly as the state: the error is a good deal smaller than with one probe, and that of a state that moves."""
    loss, k, exact = case(gradient_errors="full", rtol=1e-6, method=method)
    for gradient in (ds.grad(loss)(k), ds.jvp(loss, (k,), (1.0,))[1]):
        assert gradient == pytest.approx(exact, rel=3e-6)
    assert ds.jit(ds.grad(loss))(k) == pytest.approx(ds.grad(loss)(k), rel=1e-12)


def test_what_joins_the_error_norm_is_counted():
    """The more tangents, and the more strictly, the more steps."""
    def steps(errors):
        seen = []

        def loss(theta):
            sol = ds.solve_ivp(lambda t, y, p: np.array([p[0] * y[0] - p[1] * y[0] * y[1], p[1] * y[0] * y[1] - p[2] * y[1]]), (0, 10),
                               theta["y0"], t_eval=[10.0], args=(theta["p"],), gradient_errors=errors)
            seen.append(sol.accepted)
            return np.sum(sol.y)
        theta = {"p": np.array([1.5, 1.0, 3.0]), "y0": np.array([1.0, 1.0])}
        ds.value_and_grad(loss)(theta)
        uncompiled = ds.ode.check_gradient(loss, theta, show=False)
        assert uncompiled.exact
        return seen[0]
    counted = [steps(errors) for errors in ("state", "probe", "full")]
    assert counted == sorted(counted)
    assert counted[2] > counted[1]


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_the_estimate_is_of_the_size_of_the_error(rtol):
    loss, theta = hares(rtol)
    _, gradient, error = gradient_error(loss, theta)
    exact = ds.grad(hares(1e-12)[0])(theta)
    for name in theta:
        wrong = np.linalg.norm(gradient[name] - exact[name])
        assert wrong / 3 < np.linalg.norm(error[name]) < 3 * wrong


@pytest.mark.parametrize("method", ["Tsit5", "Rodas5P"])
def test_a_report_of_an_ordinary_problem(method, capsys):
    loss, theta = hares(method=method)
    report = check_gradient(loss, theta)
    assert report.passed
    assert report.forward == pytest.approx(report.slope, rel=1e-10)
    assert report.differences == pytest.approx(report.slope, rel=1e-6)
    assert report.taylor == pytest.approx(2, abs=0.1)
    assert report.solves == 1
    told = capsys.readouterr().out
    assert "passed" in told
    assert "order of the Taylor test" in told


def test_a_report_of_a_trap_says_so(capsys):
    loss, k, _ = rest(gradient_errors="state")
    with pytest.warns(GradientErrorWarning):
        report = ds.check_gradient(loss, k)
    assert report.exact                                                    # the derivative of that solution it is
    assert not report.passed
    assert "NOT to be trusted" in capsys.readouterr().out


def test_a_wrong_derivative_is_called_wrong():
    @ds.custom_jvp
    def f(x):
        return np.sin(x)
    f.defjvp(lambda x, t: (np.sin(x[0]), 1.5 * np.cos(x[0]) * t[0]))

    def loss(k):
        return ds.solve_ivp(lambda t, y, k: -f(k) * y, (0, 1), [1.0], t_eval=[1.0], args=(k,)).y[0, 0]
    report = check_gradient(loss, 0.7, show=False)
    assert not report.exact
    assert "WRONG" in str(report)


def test_several_solves_and_equal_steps():
    def loss(k):
        a = ds.solve_ivp(lambda t, y, k: -k * y, (0, 1), [1.0], t_eval=[1.0], args=(k,)).y[0, -1]
        return ds.solve_ivp(lambda t, y, a: a - y, (0, 2), [0.5], method="RK4", first_step=0.1, t_eval=[2.0], args=(a,)).y[0, 0]
    report = check_gradient(loss, 1.2, show=False)
    assert report.passed
    assert report.solves == 2


def test_what_cannot_be_checked_is_said():
    with pytest.raises(InputError, match="no solve"):
        gradient_error(lambda k: k * k, 1.0)
    loss, k, _ = rest()
    with pytest.raises(InputError, match=r"before ds\.jit"):
        gradient_error(ds.jit(loss), k)


def test_a_second_direction_finds_what_the_first_one_misses():
    """A wrong derivative that is right along (1, 1) and (-1, -1), to which half of all signs belong."""
    @ds.custom_jvp
    def f(a, b):
        return a + b
    f.defjvp(lambda x, t: (x[0] + x[1], 1.5 * t[0] + 0.5 * t[1]))

    def loss(k):
        return ds.solve_ivp(lambda t, y, k: -f(k[0], k[1]) * y, (0, 1), [1.0], t_eval=[1.0], args=(k,)).y[0, 0]
    found = [not check_gradient(loss, np.array([0.7, 0.7]), seed=seed, show=False).exact for seed in range(8)]
    assert sum(found) >= 5                                 # three of four on average, one of two along one direction
    assert check_gradient(loss, np.array([0.7, 0.7]), seed=found.index(True), show=False).disagreement > 0.1


def test_solves_with_events_are_refused():
    """Their steps are not one mesh, whatever other solves the function makes."""
    def loss(k):
        plain = ds.solve_ivp(lambda t, y, k: -k * y, (0, 1), [1.0], t_eval=[1.0], args=(k,)).y[0, 0]
        fall = ds.solve_ivp(lambda t, y, k: -k * y, (0, 2), [1.0], t_eval=[2.0], args=(k,),
                            events=ds.ode.Event(lambda t, y, k: y[0] - 0.5, reset=lambda t, y, k: 2 * y))
        return plain + fall.y[0, 0]
    for check in (gradient_error, check_gradient):
        with pytest.raises(InputError, match="not one mesh"):
            check(loss, 1.0)

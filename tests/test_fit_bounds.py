"""Fits that end on a bound: the bound exactly, held there, whatever rounding the search stops in."""

from collections import namedtuple

import numpy as np
import pytest

import diffsim as ds
from diffsim.fit import Curve, Dataset, LogNormal, Model, Normal, Parameter, fit

Rates = namedtuple("Rates", "beta gamma")
WEEKS = np.linspace(0.0, 20.0, 21)


def sir(t, y, p):
    s, i = y
    return np.array([-p.beta * s * i, p.beta * s * i - p.gamma * i])


def infected(t, y, p):
    return {"infected": y[1]}


@pytest.fixture(scope="module")
def epidemic():
    """Its unbounded estimate of gamma is close to 0.45."""
    i = ds.solve_ivp(sir, (0.0, 20.0), np.array([0.99, 0.01]), t_eval=WEEKS, args=(Rates(1.2, 0.45),), rtol=1e-9).y[1]
    return Dataset(WEEKS, {"infected": i * np.exp(0.05 * np.random.default_rng(0).standard_normal(21))})


def bounded(epidemic, scale, side, bound, **options):
    start = 0.9 * bound if side == "upper" else 1.1 * bound
    model = Model(sir, ("s", "i"), [Parameter("beta", 1.0, scale=scale), Parameter("gamma", start, scale=scale, **{side: bound})],
                  initial=[0.99, 0.01], observable=infected)
    return fit(model, epidemic, **options)


@pytest.mark.parametrize("noise", [Normal(), LogNormal()], ids=["normal", "log-normal"])
@pytest.mark.parametrize("method", ["trf", "dogbox"])
@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize(("side", "bounds"), [("upper", np.linspace(0.2, 0.4, 11)), ("lower", np.linspace(0.5, 0.7, 11))])
def test_an_estimate_pressed_against_a_bound_is_the_bound(epidemic, noise, method, scale, side, bounds):
    for bound in bounds:
        result = bounded(epidemic, scale, side, bound, noise=noise, method=method)
        gamma = result.parameters["gamma"]
        assert gamma.estimate == result.p.gamma == result.values["gamma"] == bound
        assert gamma.at_bound == side
        assert np.isnan(gamma.stderr)
        assert result.success, (bound, result.message)
        assert result.gradient < 1e-5
        assert any(f"gamma is held at its {side} bound" in note for note in result.notes)


def test_the_others_are_estimated_as_if_it_were_fixed(epidemic):
    result = bounded(epidemic, "linear", "upper", 0.3, noise=Normal())
    fixed = fit(Model(sir, ("s", "i"), [Parameter("beta", 1.0), Parameter("gamma", 0.3, vary=False)], initial=[0.99, 0.01],
                      observable=infected), epidemic, noise=Normal())
    assert result.values["beta"] == pytest.approx(fixed.values["beta"], rel=1e-7)
    assert result.parameters["beta"].stderr == pytest.approx(fixed.parameters["beta"].stderr * np.sqrt(20 / 19), rel=1e-5)


@pytest.mark.parametrize(("side", "slack"), [("upper", 1e-4), ("lower", -1e-4), ("upper", 1e-6), ("lower", -1e-6)])
def test_an_estimate_just_inside_a_bound_is_left_there(side, slack):
    x = np.arange(8.0)
    data = Dataset(x, {"y": 2.0 + 0.5 * x + 0.1 * np.cos(3.0 * x)})
    slope, level = np.polyfit(x, data["y"], 1)
    line = Curve(lambda x, p: p.a + p.b * x, [Parameter("a", 0.0), Parameter("b", slope + 1e3 * -slack, **{side: slope + slack})])
    result = fit(line, data, noise=Normal())
    assert result.parameters["b"].at_bound == ""
    np.testing.assert_allclose([result.values["a"], result.values["b"]], [level, slope], rtol=1e-9)
    assert np.isfinite(result.parameters["b"].stderr)
    assert result.success


def test_all_parameters_at_bounds_leave_nothing_to_judge():
    x = np.arange(8.0)
    line = Curve(lambda x, p: p.a + p.b * x, [Parameter("a", 0.5, upper=0.7), Parameter("b", 0.1, upper=0.3)])
    result = fit(line, Dataset(x, {"y": 2.0 + 0.5 * x + 0.1 * np.cos(3.0 * x)}), noise=Normal())
    assert [e.estimate for e in result.parameters.values()] == [0.7, 0.3]
    assert [e.at_bound for e in result.parameters.values()] == ["upper", "upper"]
    assert result.success
    assert "at upper bound" in result.summary()

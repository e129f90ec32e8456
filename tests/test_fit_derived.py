"""Quantities derived from a fit: standard errors by the delta method."""

import numpy as np
import pytest

from diffsim.errors import InputError, InputTypeError
from diffsim.fit import Curve, Dataset, Normal, Parameter, fit

X = np.linspace(0.0, 4.0, 15)
Y = 3.0 * np.exp(-0.5 * X) + 0.02 * np.cos(9.0 * X)


def decay(scale="linear", **k):
    return Curve(lambda x, p: p.a * np.exp(-p.k * x), [Parameter("a", 2.0, scale=scale), Parameter("k", 0.3, scale=scale, **k)])


@pytest.fixture(scope="module", params=["linear", "log"])
def fitted(request):
    return fit(decay(request.param), Dataset(X, {"y": Y}))


def test_a_ratio_has_the_standard_error_of_the_delta_method(fitted):
    a, k = fitted.values["a"], fitted.values["k"]
    ratio = fitted.derive(lambda p: p.a / p.k, name="R0")
    slope = np.array([1.0 / k, -a / k**2])
    assert ratio.estimate == pytest.approx(a / k, rel=1e-14)
    assert isinstance(ratio.stderr, float)
    assert ratio.stderr == pytest.approx(np.sqrt(slope @ fitted.covariance @ slope), rel=1e-10)
    assert ratio.covariance == pytest.approx(np.array([[ratio.stderr**2]]), rel=1e-12)
    assert (ratio.interval[1] - ratio.estimate) / ratio.stderr == pytest.approx(2.1603686564610127, rel=1e-9)    # t(0.975), 13 dof
    assert repr(ratio).startswith(f"R0 = {a / k:.6g} +/- {ratio.stderr:.3g} (95 %: ")


def test_parameters_themselves_are_derived_with_their_own_covariance(fitted):
    both = fitted.derive(lambda p: np.array([[p.k], [p.a]]))
    assert both.estimate.shape == both.stderr.shape == (2, 1)
    np.testing.assert_allclose(both.covariance, fitted.covariance[::-1, ::-1], rtol=1e-10)
    np.testing.assert_allclose(both.stderr[:, 0], [fitted.parameters[n].stderr for n in "ka"], rtol=1e-10)
    assert repr(both).splitlines()[1].startswith("quantity[1, 0] = ")
    page = both._repr_html_()
    assert page.count("<tr>") == page.count("</tr>") == 3
    assert f"{fitted.values['a']:.6g}" in page


def test_the_curve_derived_is_the_curve_predicted(fitted):
    curve = fitted.derive(lambda p: p.a * np.exp(-p.k * X))
    np.testing.assert_allclose(curve.stderr, fitted.predict(X).stderr["y"], rtol=1e-9)
    assert repr(fitted.derive(lambda p: p.a * np.ones(50))).endswith("... 30 more")


def test_what_the_data_determine_together_has_an_error_and_what_they_do_not_has_none():
    curve = Curve(lambda x, p: p.a * p.b * x, [Parameter("a", 1.0), Parameter("b", 2.0)])
    result = fit(curve, Dataset(X, {"y": 3.0 * X + 0.1 * np.cos(9.0 * X)}))
    product = result.derive(lambda p: p.a * p.b)
    line, residual, *_ = np.linalg.lstsq(X[:, None], 3.0 * X + 0.1 * np.cos(9.0 * X), rcond=None)
    assert product.estimate == pytest.approx(line[0], rel=1e-8)
    assert product.stderr == pytest.approx(np.sqrt(residual[0] / 13 / np.sum(X**2)), rel=1e-6)
    assert np.isinf(result.derive(lambda p: p.a / p.b).stderr)


def test_a_parameter_at_its_bound_counts_as_fixed_and_is_mentioned():
    result = fit(decay(upper=0.4), Dataset(X, {"y": Y}))
    ratio = result.derive(lambda p: p.a / p.k)
    assert ratio.stderr == pytest.approx(result.parameters["a"].stderr / 0.4, rel=1e-9)
    assert "k is held at its upper bound" in repr(ratio)
    assert np.isnan(result.derive(lambda p: 2.0 * p.k).stderr)
    assert result.derive(lambda p: 2.0 * p.a).notes == ()


@pytest.mark.parametrize(("f", "error", "says"), [
    (lambda p: {"a": p.a}, InputTypeError, "a number or an array, got {'a'"),
    (lambda p: None, InputTypeError, "got None"),
    (lambda p: 1j * p.a, InputTypeError, "must be real"),
    (lambda p: np.log(-p.a), InputError, "is nan at the estimates"),
    (lambda p: p.gamma, AttributeError, "no parameter 'gamma'; known are a, k"),
    (3.0, InputTypeError, "must be a function of the parameters"),
])
def test_what_cannot_be_derived_says_why(f, error, says):
    result = fit(decay(), Dataset(X, {"y": Y}), noise=Normal(sigma=0.1))
    with pytest.raises(error, match=says):
        result.derive(f)


def test_a_prediction_that_hangs_on_what_the_data_do_not_determine_has_no_band():
    curve = Curve(lambda x, p: p.a * x + p.b * np.maximum(x - 4.0, 0.0), [Parameter("a", 1.0), Parameter("b", 2.0)])
    result = fit(curve, Dataset(X, {"y": 3.0 * X + 0.1 * np.cos(9.0 * X)}))       # no datum beyond x = 4
    spread = result.predict([1.0, 4.0, 5.0]).stderr["y"]
    np.testing.assert_allclose(spread[:2], result.parameters["a"].stderr * np.array([1.0, 4.0]), rtol=1e-7)
    assert np.isinf(spread[2])
    assert "do not determine b" in result.summary()
    assert len(result.plot().axes) == 2

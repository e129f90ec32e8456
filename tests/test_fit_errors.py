"""Error bars of the data: fixed weights, standard errors that the residuals do not rescale."""

import re

import numpy as np
import pytest
from scipy.optimize import curve_fit

from diffsim.errors import InputError, InputTypeError
from diffsim.fit import Curve, Dataset, LogNormal, Normal, Parameter, fit

NAN = float("nan")
X = np.linspace(0.0, 5.0, 12)
SIGMA = 0.05 + 0.04 * X
Y = 3.0 * np.exp(-0.5 * X) + SIGMA * np.random.default_rng(4).standard_normal(12)
CURVE = Curve(lambda x, p: p.a * np.exp(-p.k * x), [Parameter("a", 2.0), Parameter("k", 0.3)])


@pytest.fixture(scope="module")
def weighed():
    return fit(CURVE, Dataset(X, {"y": Y}, errors={"y": SIGMA}))


def test_estimates_and_covariance_are_those_of_curve_fit_with_absolute_sigma(weighed):
    best, cov = curve_fit(lambda x, a, k: a * np.exp(-k * x), X, Y, p0=[2.0, 0.3], sigma=SIGMA, absolute_sigma=True,
                          jac=lambda x, a, k: np.stack([np.exp(-k * x), -a * x * np.exp(-k * x)], axis=1), xtol=1e-14, ftol=1e-14)
    np.testing.assert_allclose(list(weighed.values.values()), best, rtol=1e-8)
    np.testing.assert_allclose(weighed.covariance, cov, rtol=1e-6)
    np.testing.assert_array_equal(weighed.sigma["y"], SIGMA)
    assert weighed.chi2 == pytest.approx(np.sum((weighed.residuals / SIGMA) ** 2), rel=1e-12)
    assert weighed.n_estimated == 2
    half = 0.5 * (weighed.parameters["k"].interval[1] - weighed.parameters["k"].interval[0])
    assert half == pytest.approx(1.9599639845400545 * weighed.parameters["k"].stderr, rel=1e-9)


def test_equal_error_bars_are_a_given_sigma_and_twice_as_large_ones_double_the_standard_errors():
    one = fit(CURVE, Dataset(X, {"y": Y}, errors={"y": 0.1}))
    given = fit(CURVE, Dataset(X, {"y": Y}), noise=Normal(sigma=0.1))
    two = fit(CURVE, Dataset(X, {"y": Y}, errors={"y": np.full(12, 0.2)}))
    assert one.log_likelihood == pytest.approx(given.log_likelihood, rel=1e-12)
    np.testing.assert_allclose(one.covariance, given.covariance, rtol=1e-9)
    np.testing.assert_allclose(two.covariance, 4.0 * one.covariance, rtol=1e-7)


def test_error_bars_are_relative_for_log_normal_noise():
    y = 3.0 * np.exp(-0.5 * X) * np.exp(SIGMA * np.cos(9.0 * X))
    result = fit(CURVE, Dataset(X, {"y": y}, errors={"y": SIGMA}), noise=LogNormal())
    slope, level = np.polyfit(X, np.log(y), 1, w=1.0 / SIGMA)
    np.testing.assert_allclose([result.values["k"], result.values["a"]], [-slope, np.exp(level)], rtol=1e-8)
    low, high = result.plot().axes[0].collections[1].get_segments()[3][:, 1]
    np.testing.assert_allclose([low, high], y[3] * np.exp([-SIGMA[3], SIGMA[3]]), rtol=1e-12)


def test_a_datum_with_a_huge_error_is_as_if_missing_and_a_missing_one_needs_none():
    spread, y = np.where(X == X[4], 1e6, SIGMA), np.where(X == X[4], 50.0, Y)
    far = fit(CURVE, Dataset(X, {"y": y}, errors={"y": spread}))
    gone = fit(CURVE, Dataset(X, {"y": np.where(X == X[4], NAN, Y)}, errors={"y": np.where(X == X[4], NAN, SIGMA)}))
    np.testing.assert_allclose(list(far.values.values()), list(gone.values.values()), rtol=1e-6)
    assert gone.n_data == 11
    assert gone.sigma["y"].shape == (11,)


def test_the_report_and_the_picture_tell_the_two_cases_apart(weighed):
    text = weighed.summary()
    assert re.search(r"sigma y \(known\) +0.05 to 0.25", text)
    assert "sigma known" in text
    assert "chi-square" in text
    assert "Student" not in text
    free = fit(CURVE, Dataset(X, {"y": Y})).summary()
    assert "sigma (estimated)" in free
    assert "sigma estimated with n - p = 10 degrees of freedom" in " ".join(free.split())
    assert "chi-square" not in free
    curve = weighed.predict(X)["y"]
    assert np.all(np.isnan(curve.data_upper))
    assert np.all(curve.upper > curve.value)
    labels = [c.get_label() for c in weighed.plot().axes[0].collections]
    assert "95 % band of the curve" in labels
    assert "95 % band of new data" not in labels


def test_errors_are_read_from_a_file(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("t,u,u_sd,v,v_sd\n0,1,0.1,5,0.5\n1,2,0.2,NA,\n")
    data = Dataset.from_csv(path, time="t", errors={"u": "u_sd", "v": "v_sd"})
    assert data.names == ("u", "v")
    np.testing.assert_array_equal(data.errors, [[0.1, 0.5], [0.2, NAN]])
    assert repr(data).endswith("with errors)")
    with pytest.raises(InputError, match="no column 'w_sd'"):
        Dataset.from_csv(path, time="t", errors={"u": "w_sd", "v": "v_sd"})


@pytest.mark.parametrize(("errors", "error", "says"), [
    ({"y": [0.1, 0.0, 0.1]}, InputError, "error of y at t = 1 is 0; a standard deviation is positive"),
    ({"y": [0.1, -0.2, 0.1]}, InputError, "error of y at t = 1 is -0.2"),
    ({"y": [0.1, NAN, 0.1]}, InputError, "error of y at t = 1 is nan"),
    ({"y": [0.1, np.inf, 0.1]}, InputError, "error of y at t = 1 is inf"),
    ({"y": [0.1, 0.1]}, InputError, r"shape \(2,\) for 3 times"),
    ({"y": ["a", "b", "c"]}, InputTypeError, "errors of y must be numbers"),
    ({"z": 0.1}, InputError, "an entry for each of y, got z"),
    ({}, InputError, "an entry for each of y"),
    (0.1, InputError, "must be a dictionary"),
])
def test_errors_that_are_none_are_refused(errors, error, says):
    with pytest.raises(error, match=says):
        Dataset([0.0, 1.0, 2.0], {"y": [1.0, 2.0, 3.0]}, errors=errors)


@pytest.mark.parametrize("noise", [Normal(sigma=0.1), Normal(per_observable=True)])
def test_two_sources_of_sigma_are_one_too_many(noise):
    with pytest.raises(InputError, match="the dataset has errors"):
        fit(CURVE, Dataset(X, {"y": Y}, errors={"y": SIGMA}), noise=noise)

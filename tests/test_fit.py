"""ds.fit: estimates and standard errors against published values, reports, pictures, and bad input."""

import re

import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import FitError, InputError, InputTypeError
from diffsim.fit import Curve, Dataset, LogNormal, Model, Normal, Parameter, fit

NAN = float("nan")

# NIST/ITL StRD, Misra1a: observations, certified values and standard deviations of estimates, residual sum of squares.
PRESSURE = [77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0]
VOLUME = [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78]
MISRA = Dataset(PRESSURE, {"volume": VOLUME}, time_name="pressure")
# Treloar (1974), initial velocities with puromycin; estimates 212.7, 0.06412, sum of squares 1195 in Bates & Watts,
# Nonlinear Regression Analysis (1988), tables 2.1 and A1.3.  More digits: independent fit with tolerances 1e-15.
PUROMYCIN = Dataset(np.repeat([0.02, 0.06, 0.11, 0.22, 0.56, 1.10], 2), {"rate": [76, 47, 97, 107, 123, 139, 159, 152, 191, 201, 207, 200]},
                    time_name="concentration", units={"concentration": "ppm", "rate": "counts/min^2"})


def misra_curve():
    return Curve(lambda x, p: p.b1 * (1.0 - np.exp(-p.b2 * x)), [Parameter("b1", 500.0), Parameter("b2", 1e-4)])


def michaelis_menten(scale="linear"):
    return Curve(lambda x, p: p.vm * x / (p.k + x), [Parameter("vm", 200.0, scale=scale), Parameter("k", 0.05, scale=scale)])


def decay_rhs(t, y, p):
    return -p.k * y


def decay(**k):
    return Model(decay_rhs, ["x"], [Parameter("k", 0.3, **k), Parameter("x0", 2.0)])


def decay_data(n=9, seed=3):
    t = np.linspace(0.0, 4.0, n)
    return Dataset(t, {"x": 3.0 * np.exp(-0.5 * t) * np.exp(0.05 * np.random.default_rng(seed).standard_normal(n))})


@pytest.fixture(scope="module")
def misra():
    return fit(misra_curve(), MISRA, noise=Normal())


@pytest.fixture(scope="module")
def decayed():
    return fit(decay(scale="log", unit="1/s"), decay_data(), noise=LogNormal())


# ---------------------------------------------------------------- numbers
def test_certified_estimates_and_standard_errors(misra):
    b1, b2 = misra.parameters["b1"], misra.parameters["b2"]
    assert b1.estimate == pytest.approx(2.3894212918e02, rel=1e-9)
    assert b2.estimate == pytest.approx(5.5015643181e-04, rel=1e-9)
    assert b1.stderr == pytest.approx(2.7070075241, rel=1e-8)
    assert b2.stderr == pytest.approx(7.2668688436e-06, rel=1e-8)
    assert misra.rss == pytest.approx(1.2455138894e-01, rel=1e-10)
    assert misra.sigma == pytest.approx(1.0187876330e-01, rel=1e-10)
    assert misra.dof == 12
    assert misra.gradient < 1e-10
    assert misra.success


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_repeated_measurements_and_scale_of_the_search_leave_the_estimates(scale):
    result = fit(michaelis_menten(scale), PUROMYCIN, noise=Normal())
    assert result.values["vm"] == pytest.approx(212.68374270386423, rel=1e-8)
    assert result.values["k"] == pytest.approx(0.06412128108895848, rel=1e-8)
    assert result.parameters["vm"].stderr == pytest.approx(6.94715513816479, rel=1e-7)
    assert result.parameters["k"].stderr == pytest.approx(0.00828094943759264, rel=1e-7)
    assert result.rss == pytest.approx(1195.448814439359, rel=1e-11)


def test_log_scale_reports_the_error_of_the_logarithm():
    e = fit(michaelis_menten("log"), PUROMYCIN, noise=Normal()).parameters["k"]
    assert e.scale_stderr == pytest.approx(e.stderr / e.estimate, rel=1e-12)
    assert e.interval[0] * e.interval[1] == pytest.approx(e.estimate**2, rel=1e-12)


def test_likelihood_and_information_criteria_follow_their_definitions(misra):
    n, rss = 14, 1.2455138894e-01
    log_likelihood = -0.5 * n * (np.log(2.0 * np.pi * rss / n) + 1.0)
    assert misra.log_likelihood == pytest.approx(log_likelihood, rel=1e-10)
    assert misra.n_estimated == 3                         # two parameters and sigma
    assert misra.aic == pytest.approx(6.0 - 2.0 * log_likelihood, rel=1e-10)
    assert misra.bic == pytest.approx(3.0 * np.log(14) - 2.0 * log_likelihood, rel=1e-10)


def test_log_normal_likelihood_is_that_of_the_data_not_of_their_logarithms(decayed):
    data = decay_data()["x"]
    s2 = decayed.rss / data.size
    density = np.exp(-0.5 * decayed.residuals**2 / s2) / (data * np.sqrt(2.0 * np.pi * s2))
    assert decayed.log_likelihood == pytest.approx(np.sum(np.log(density)), rel=1e-10)


def test_exponential_decay_with_log_noise_is_linear_regression(decayed):
    data = decay_data()
    slope, cov = np.polyfit(data.t, np.log(data["x"]), 1, cov=True)
    assert decayed.values["k"] == pytest.approx(-slope[0], rel=1e-6)
    assert decayed.values["x0"] == pytest.approx(np.exp(slope[1]), rel=1e-6)
    assert decayed.parameters["k"].stderr == pytest.approx(np.sqrt(cov[0, 0]), rel=1e-5)
    assert decayed.correlations[0, 1] == pytest.approx(-cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1]), rel=1e-5)


def test_a_given_sigma_sets_the_standard_errors():
    a, b = (fit(misra_curve(), MISRA, noise=Normal(sigma=s)) for s in (0.1, 0.2))
    assert b.parameters["b1"].stderr == pytest.approx(2.0 * a.parameters["b1"].stderr, rel=1e-9)
    assert a.chi2 == pytest.approx(1.2455138894e-01 / 0.01, rel=1e-9)
    assert a.n_estimated == 2
    assert a.sigma == 0.1


def two_lines(t, p):
    return {"u": p.a + p.b * t, "v": p.a - p.b * t}


def two_line_data():
    t, rng = np.arange(12.0), np.random.default_rng(5)
    return Dataset(t, {"u": 2.0 + 0.5 * t + 0.1 * rng.standard_normal(12), "v": 2.0 - 0.5 * t + rng.standard_normal(12)})


def test_one_sigma_per_observable_maximises_the_likelihood():
    curve, data = Curve(two_lines, [Parameter("a", 1.0), Parameter("b", 1.0)]), two_line_data()
    result = fit(curve, data, noise=Normal(per_observable=True))
    assert result.sigma["v"] > 4.0 * result.sigma["u"]
    assert result.n_estimated == 4

    def concentrated(a, b):
        h = two_lines(data.t, result.p._replace(a=a, b=b))
        return sum(-6.0 * (np.log(2.0 * np.pi * np.mean((h[n] - data[n]) ** 2)) + 1.0) for n in "uv")

    best = concentrated(result.p.a, result.p.b)
    assert result.log_likelihood == pytest.approx(best, rel=1e-12)
    for da, db in ((1e-3, 0.0), (-1e-3, 0.0), (0.0, 1e-4), (0.0, -1e-4)):
        assert concentrated(result.p.a + da, result.p.b + db) < best


def test_a_sigma_for_each_observable_weighs_them():
    curve, data = Curve(two_lines, [Parameter("a", 1.0), Parameter("b", 1.0)]), two_line_data()
    result = fit(curve, data, noise=Normal(sigma={"v": 1.0, "u": 0.1}))
    rows = np.vstack([np.column_stack([np.ones(12), data.t]) / 0.1, np.column_stack([np.ones(12), -data.t])])
    exact = np.linalg.lstsq(rows, np.concatenate([data["u"] / 0.1, data["v"]]), rcond=None)[0]
    np.testing.assert_allclose([result.values["a"], result.values["b"]], exact, rtol=1e-10)
    np.testing.assert_allclose(result.covariance, np.linalg.inv(rows.T @ rows), rtol=1e-8)


def test_missing_values_are_as_if_never_measured():
    t = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    u, v = np.array([2.1, 2.4, NAN, 3.6, 4.1, 4.4]), np.array([2.0, NAN, NAN, 0.4, 0.1, NAN])
    curve = Curve(two_lines, [Parameter("a", 1.0), Parameter("b", 1.0)])
    result = fit(curve, Dataset(t, {"u": u, "v": v}), noise=Normal())
    keep_u, keep_v = ~np.isnan(u), ~np.isnan(v)
    rows = np.vstack([np.column_stack([np.ones(5), t[keep_u]]), np.column_stack([np.ones(3), -t[keep_v]])])
    exact = np.linalg.lstsq(rows, np.concatenate([u[keep_u], v[keep_v]]), rcond=None)[0]
    assert result.n_data == 8
    np.testing.assert_allclose([result.values["a"], result.values["b"]], exact, rtol=1e-10)


def test_order_of_columns_and_their_number_do_not_matter():
    data = two_line_data()
    curve = Curve(two_lines, [Parameter("a", 1.0), Parameter("b", 1.0)])
    swapped = fit(curve, Dataset(data.t, {"v": data["v"], "u": data["u"]}), noise=Normal())
    assert swapped.values["a"] == pytest.approx(fit(curve, data, noise=Normal()).values["a"], rel=1e-10)
    alone = fit(curve, Dataset(data.t, {"u": data["u"]}), noise=Normal())
    assert alone.values["b"] == pytest.approx(np.polyfit(data.t, data["u"], 1)[0], rel=1e-9)


def test_a_parameter_at_its_bound_is_flagged_and_held_fixed_for_the_others():
    result = fit(misra_curve(), MISRA, [Parameter("b1", 200.0, upper=230.0)], noise=Normal())
    b1, b2 = result.parameters["b1"], result.parameters["b2"]
    assert b1.estimate == 230.0
    assert b1.at_bound == "upper"
    assert np.isnan(b1.stderr)
    fixed = fit(misra_curve(), MISRA, [Parameter("b1", 230.0, vary=False)], noise=Normal())
    assert b2.estimate == pytest.approx(fixed.values["b2"], rel=1e-9)
    assert b2.stderr == pytest.approx(fixed.parameters["b2"].stderr * np.sqrt(13 / 12), rel=1e-7)     # b1 was free to move: one degree less
    assert "b1 is held at its upper bound" in result.summary()
    assert result.success


def test_directions_the_data_are_blind_to_have_infinite_standard_errors():
    curve = Curve(lambda x, p: p.a * p.b * x + p.c, [Parameter("a", 1.0), Parameter("b", 2.0), Parameter("c", 0.0)])
    x = np.arange(6.0)
    result = fit(curve, Dataset(x, {"y": 3.0 * x + 1.0 + 0.1 * np.cos(x)}), noise=Normal())
    assert np.isinf(result.parameters["a"].stderr)
    assert np.isinf(result.parameters["b"].stderr)
    line, cov = np.polyfit(x, 3.0 * x + 1.0 + 0.1 * np.cos(x), 1, cov=True)
    assert result.values["a"] * result.values["b"] == pytest.approx(line[0], rel=1e-8)
    assert result.parameters["c"].stderr == pytest.approx(np.sqrt(cov[1, 1] * 4 / 3), rel=1e-6)
    assert any("do not determine a, b" in note for note in result.notes)


# ---------------------------------------------------------------- models
def test_initial_values_are_parameters_numbers_or_a_function(decayed):
    other = [Parameter("k", 0.3), Parameter("start", 2.0)]
    for initial in ({"x": "start"}, ["start"], lambda p: np.stack([p.start])):
        named = fit(Model(decay_rhs, "x", other, initial=initial), decay_data(), noise=LogNormal())
        assert named.values["start"] == pytest.approx(decayed.values["x0"], rel=1e-7)
    known = fit(Model(decay_rhs, "x", [Parameter("k", 0.3)], initial={"x": 3.0}), decay_data())
    assert known.values["k"] == pytest.approx(0.5, abs=0.05)


def test_an_observable_may_scale_and_mix_states():
    def observed(t, y, p):
        return {"half": 0.5 * y[0], "late": y[0] * np.exp(-t)}

    t = np.linspace(0.0, 3.0, 7)
    x = 3.0 * np.exp(-0.5 * t)
    data = Dataset(t, {"late": x * np.exp(-t) * (1.0 + 0.01 * np.cos(9.0 * t)), "half": 0.5 * x})
    result = fit(Model(decay_rhs, "x", [Parameter("k", 0.3), Parameter("x0", 2.0)], observable=observed), data)
    assert result.values["k"] == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(result.predict(t)["half"].value, 0.5 * x, rtol=0.02)


def test_the_model_may_start_before_the_data():
    t = np.linspace(1.0, 4.0, 7)
    data = Dataset(t, {"x": 3.0 * np.exp(-0.5 * t) * (1.0 + 0.01 * np.cos(9.0 * t))})
    early = fit(Model(decay_rhs, "x", [Parameter("k", 0.3), Parameter("x0", 2.0)], t0=0.0), data)
    assert early.values["x0"] == pytest.approx(3.0, rel=0.02)
    late = fit(Model(decay_rhs, "x", [Parameter("k", 0.3), Parameter("x0", 2.0)]), data)
    assert late.values["x0"] == pytest.approx(3.0 * np.exp(-0.5), rel=0.02)


def test_fixed_parameters_stay_and_starts_can_be_replaced(decayed):
    result = fit(decay(), decay_data(), [Parameter("x0", 3.0, vary=False)])
    assert result.values["x0"] == 3.0
    assert result.free_names == ("k",)
    assert not result.parameters["x0"].vary
    assert "fixed" in result.summary()


def test_predictions_carry_the_bands_of_linear_regression():
    x, rng = np.arange(8.0), np.random.default_rng(2)
    y = 1.0 + 0.4 * x + 0.3 * rng.standard_normal(8)
    result = fit(Curve(lambda x, p: p.a + p.b * x, [Parameter("a", 0.0), Parameter("b", 0.0)]), Dataset(x, {"y": y}), noise=Normal())
    at = np.array([9.0, 0.5])                              # any order
    curve = result.predict(at, level=0.95)["y"]
    spread = result.sigma * np.sqrt(1.0 / 8.0 + (at - 3.5) ** 2 / np.sum((x - 3.5) ** 2))
    t_975 = 2.4469118511449692                             # Student's t, 6 degrees of freedom; 2.447 in NIST/SEMATECH e-Handbook 1.3.6.7.2
    np.testing.assert_allclose(curve.upper - curve.value, t_975 * spread, rtol=1e-7)
    np.testing.assert_allclose(curve.data_upper - curve.value, t_975 * np.hypot(spread, result.sigma), rtol=1e-7)
    np.testing.assert_allclose(curve.value - curve.lower, curve.upper - curve.value, rtol=1e-9)


def test_log_normal_bands_stay_positive(decayed):
    curve = decayed.predict(np.linspace(0.0, 40.0, 5))["x"]
    assert np.all(curve.data_lower > 0.0)
    np.testing.assert_allclose(curve.lower * curve.upper, curve.value**2, rtol=1e-9)


# ---------------------------------------------------------------- report and picture
def test_the_report_says_what_a_reader_needs(decayed):
    text = decayed.summary()
    for needed in ("log-normal noise", "converged", "parameter", "std. error", "95 % interval", "1/s", "Correlations", "k, x0",
                   "degrees of freedom", "sigma (estimated)", "AIC (k = 3)", "BIC (k = 3)", "residual evaluations", "Jacobian evaluations",
                   "rhs calls", "time", "n - p"):
        assert needed in text, needed
    row = next(line for line in text.splitlines() if line.strip().startswith("k "))
    assert f"{decayed.values['k']:.6g}" in row
    assert repr(decayed) == text


def test_the_html_report_holds_the_same_numbers_and_balanced_tags(misra):
    page = misra._repr_html_()
    assert f"{misra.values['b1']:.6g}" in page
    for tag in ("table", "tr", "td", "th", "div", "p", "h4", "caption"):
        assert len(re.findall(f"<{tag}>", page)) == len(re.findall(f"</{tag}>", page)) > 0


def test_the_picture_shows_data_curve_bands_and_residuals():
    result = fit(Curve(two_lines, [Parameter("a", 1.0), Parameter("b", 1.0)]), two_line_data(), noise=Normal(per_observable=True))
    figure = result.plot()
    top, middle, bottom = figure.axes
    assert len(top.collections) == len(middle.collections) == 2                    # two bands
    data = next(line for line in top.lines if line.get_label() == "data")
    np.testing.assert_array_equal(data.get_ydata(), two_line_data()["u"])
    model = next(line for line in middle.lines if line.get_label() == "model")
    np.testing.assert_allclose(model.get_ydata(), result.p.a - result.p.b * model.get_xdata(), rtol=1e-9)
    zero = bottom.lines[0]
    assert list(zero.get_ydata()) == [0.0, 0.0]
    standard = np.concatenate([line.get_ydata() for line in bottom.lines if line.get_label() in ("u", "v")])
    np.testing.assert_allclose(np.sum(standard[:12] ** 2), 12 * result.dof / 24, rtol=1e-6)
    assert top.get_yscale() == "linear"
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_log_noise_is_drawn_on_log_axes_in_a_figure_of_the_callers(decayed):
    from matplotlib.figure import Figure  # noqa: PLC0415  drawing is optional for the other tests

    mine = Figure()
    assert decayed.plot(mine) is mine
    assert mine.axes[0].get_yscale() == "log"
    assert mine.axes[0].get_ylabel() == "x"
    assert mine.axes[-1].get_xlabel() == "t"


# ---------------------------------------------------------------- data
def test_csv_columns_gaps_and_comments(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("# counted by hand\nyear,hare,lynx\n1900,30.0,4.0\n\n1901,,6.1\n1902,70.2,NA\n")
    data = Dataset.from_csv(path, time="year", units={"hare": "thousands"})
    assert data.names == ("hare", "lynx")
    np.testing.assert_array_equal(data["hare"], [30.0, NAN, 70.2])
    assert data.n_data == 4
    assert data.label("hare") == "hare (thousands)"
    assert Dataset.from_csv(path, time="year", columns=["lynx"]).names == ("lynx",)
    for bad, says in (({"time": "day"}, "no column 'day'"),
                      ({"time": "year", "columns": ["fox"]}, "no column 'fox'; it has year, hare, lynx")):
        with pytest.raises(InputError, match=says):
            Dataset.from_csv(path, **bad)
    path.write_text("year,hare\n1900,many\n")
    with pytest.raises(InputError, match="hare in row 1 after the header is 'many'"):
        Dataset.from_csv(path, time="year")
    path.write_text("year,hare\n1900\n")
    with pytest.raises(InputError, match="row 1 after the header has 1 fields"):
        Dataset.from_csv(path, time="year")


@pytest.mark.parametrize(("args", "error", "says"), [
    (([0.0, 1.0], {"x": [1.0]}), InputError, r"x has \(1,\) values for 2 times"),
    (([0.0, 2.0, 1.0], {"x": [1.0, 2.0, 3.0]}), InputError, r"time 2 \(1\) comes after 2; sort"),
    (([0.0, NAN], {"x": [1.0, 2.0]}), InputError, "time 1 is not finite"),
    (([0.0, 1.0], {"x": [1.0, np.inf]}), InputError, "x is infinite in row 1"),
    (([0.0, 1.0], {"x": [NAN, NAN]}), InputError, "every value is missing"),
    (([0.0, 1.0], {"x": ["a", "b"]}), InputTypeError, "x must be numbers"),
    (([0.0, 1.0], np.ones((2, 2)), ["x"]), InputError, "needs a name of its own"),
    (([0.0, 1.0], {"x": [1.0, 2.0]}, ["x"]), InputError, "leave names out"),
    (([[0.0, 1.0]], {"x": [1.0, 2.0]}), InputError, "one-dimensional"),
])
def test_bad_data_say_what_is_wrong(args, error, says):
    with pytest.raises(error, match=says):
        Dataset(*args)


@pytest.mark.parametrize(("args", "error", "says"), [
    ({"name": "growth rate", "start": 1.0}, InputError, "must be a Python name"),
    ({"name": "lambda", "start": 1.0}, InputError, "must be a Python name"),
    ({"name": "k", "start": 2.0, "upper": 1.0}, InputError, "start 2 is outside its bounds -inf to 1"),
    ({"name": "k", "start": -1.0, "scale": "log"}, InputError, "start -1 has no logarithm"),
    ({"name": "k", "start": NAN}, InputError, "start must be finite"),
    ({"name": "k", "start": "one"}, InputTypeError, "start must be a number"),
    ({"name": "k", "start": 1.0, "scale": "logit"}, InputError, "scale must be one of"),
    ({"name": "k", "start": 1.0, "lower": 1.0, "upper": 1.0}, InputError, "use vary=False"),
])
def test_bad_parameters_say_what_is_wrong(args, error, says):
    with pytest.raises(error, match=says):
        Parameter(**args)


@pytest.mark.parametrize(("args", "error", "says"), [
    ({"sigma": -0.1}, InputError, "positive"),
    ({"sigma": {"x": 0.0}}, InputError, "positive"),
    ({"sigma": "estimate"}, InputTypeError, "must be a number"),
    ({"sigma": 1.0, "per_observable": True}, InputError, "nothing to estimate"),
])
def test_bad_noise_says_what_is_wrong(args, error, says):
    with pytest.raises(error, match=says):
        Normal(**args)


def _fits_that_cannot_be():
    k, x0 = Parameter("k", 0.3), Parameter("x0", 2.0)
    data, model = decay_data(), decay()
    late = Dataset([0.0, 1.0, 2.0, 3.0], {"x": [1.0, 0.0, 2.0, 3.0]})
    yield "unknown parameter", lambda: fit(model, data, [Parameter("rate", 1.0)]), InputError, "no parameter 'rate'; known are k, x0"
    yield "wrong column", lambda: fit(model, Dataset([0.0, 1.0, 2.0], {"z": [1.0, 2.0, 3.0]})), InputError, "data have z.*it predicts x"
    yield "zero datum", lambda: fit(model, late, noise=LogNormal()), InputError, "x is 0 at t = 1; mark it as missing"
    yield "sigma names", lambda: fit(model, data, noise=Normal(sigma={"z": 1.0})), InputError, "sigma speaks of z, the data of x"
    few, fixed = Dataset([0.0, 1.0], {"x": [1.0, 2.0]}), [Parameter("k", 1.0, vary=False), Parameter("x0", 1.0, vary=False)]
    yield "too few data", lambda: fit(model, few), InputError, "2 data cannot determine 2 free parameters and the noise"
    yield "nothing free", lambda: fit(model, data, fixed), InputError, "every parameter has vary=False"
    yield "data before t0", lambda: fit(Model(decay_rhs, "x", [k, x0], t0=1.0), data), InputError, "before the model's .* at t0 = 1"
    yield "method", lambda: fit(model, data, method="newton"), InputError, "no method 'newton'"
    yield "lm and bounds", lambda: fit(decay(lower=0.0), data, method="lm"), InputError, "lm keeps no bounds"
    yield "noise", lambda: fit(model, data, noise="lognormal"), InputTypeError, "ds.fit.Normal"
    yield "not a model", lambda: fit(decay_rhs, data), InputTypeError, "must be a ds.fit.Model"
    yield "not a dataset", lambda: fit(model, {"x": [1.0]}), InputTypeError, "must be a ds.fit.Dataset"
    yield "same name", lambda: Model(decay_rhs, "x", [k, k]), InputError, "share the name k"
    yield "no parameter", lambda: Model(decay_rhs, "x", []), InputError, "at least one"
    yield "initial", lambda: Model(decay_rhs, "x", [k]), InputError, "x starts at the parameter 'x0', which is not there"
    yield "initial too long", lambda: Model(decay_rhs, "x", [k, x0], initial=[1.0, 2.0]), InputError, "2 entries for the 1 states"
    yield "initial of a stranger", lambda: Model(decay_rhs, "x", [k, x0], initial={"z": 1.0}), InputError, r"speaks of \('z',\)"
    yield "rhs", lambda: Model("decay", "x", [k, x0]), InputTypeError, "rhs must be a function"
    short = Model(decay_rhs, "x", [k, x0], observable=lambda t, y, p: y[0, 1:])
    yield "observable shape", lambda: fit(short, data), InputError, r"shape \(8,\)"
    negative = Model(decay_rhs, "x", [k, Parameter("x0", -2.0)])
    yield "log of negative", lambda: fit(negative, data, noise=LogNormal()), FitError, "prediction of x at t = 0 has no finite value"


@pytest.mark.parametrize(("call", "error", "says"), [pytest.param(*rest, id=name) for name, *rest in _fits_that_cannot_be()])
def test_fits_that_cannot_be_say_why(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_bad_predictions_say_what_is_wrong(decayed):
    for t, level, says in (([NAN], 0.95, "finite"), ([1.0], 95, "between 0 and 1"), ([[1.0]], 0.5, "vector"),
                           ([-1.0, 1.0], 0.5, "before the model")):
        with pytest.raises(InputError, match=says):
            decayed.predict(t, level)
    with pytest.raises(InputError, match="predicts x, not 'y'"):
        decayed.predict([1.0])["y"]


def test_a_model_that_cannot_be_simulated_at_the_start_names_the_parameters():
    def blow_up(t, y, p):
        return p.k * y**2

    model = Model(blow_up, "x", [Parameter("k", 5.0), Parameter("x0", 2.0)])
    with pytest.raises(FitError, match=r"cannot be simulated at the start \(k = 5, x0 = 2\)"):
        fit(model, decay_data())


def test_a_fit_steps_back_from_parameters_it_cannot_simulate():
    def logistic_or_worse(t, y, p):
        return p.k * y**2                                  # y = x0 / (1 - k x0 t): no solution beyond t = 1/(k x0)

    t = np.linspace(0.0, 1.0, 9)
    data = Dataset(t, {"x": 1.0 / (1.0 - 0.9 * t) * (1.0 + 0.01 * np.cos(7.0 * t))})
    model = Model(logistic_or_worse, "x", [Parameter("k", 0.1), Parameter("x0", 1.3)])
    result = fit(model, data)
    assert result.success
    assert result.values["k"] * result.values["x0"] == pytest.approx(0.9, abs=0.02)


def test_public_names_of_the_package_are_reachable_from_the_top():
    assert ds.fit.fit is fit
    assert ds.fit.Parameter is Parameter


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
@pytest.mark.parametrize("noise", [Normal(), LogNormal()])
def test_units_of_the_data_do_not_matter(scale, noise):
    t = np.linspace(0, 3, 12)
    data = 3 * np.exp(-0.7 * t) * (1 + 0.02 * np.cos(17 * t))

    def fitted(s):
        model = Model(lambda t, y, p: -p.k * y, "x", [Parameter("k", 0.5), Parameter("x0", 2 * s, scale="log")], initial={"x": "x0"})
        return fit(model, Dataset(t, {"x": data * s}), noise=noise)

    here, there = fitted(1.0), fitted(scale)
    assert there.success
    assert there.parameters["k"].estimate == pytest.approx(here.parameters["k"].estimate, rel=1e-7)
    assert there.parameters["k"].stderr == pytest.approx(here.parameters["k"].stderr, rel=1e-5)
    assert there.parameters["x0"].estimate == pytest.approx(scale * here.parameters["x0"].estimate, rel=1e-7)


def test_a_long_fit_shows_its_progress(monkeypatch):
    from diffsim.fit import search  # noqa: PLC0415

    bars = []

    class Bar:
        def __init__(self, **options):
            self.options, self.count = options, 0
            bars.append(self)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.closed = True

        def update(self):
            self.count += 1

    monkeypatch.setattr(search, "tqdm", Bar)
    t = np.linspace(0, 3, 8)
    curve = Curve(lambda x, p: p.a * np.exp(-p.k * x), [Parameter("a", 1.0), Parameter("k", 1.0)])
    result = fit(curve, Dataset(t, {"x": 3 * np.exp(-0.7 * t) + 0.01 * t}))
    (bar,) = bars
    assert bar.closed
    assert bar.options["disable"] is None                 # quiet when not a terminal
    assert bar.count == result.residual_calls

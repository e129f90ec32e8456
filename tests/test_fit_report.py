"""The report of a fit fits a page; its picture fits a small figure."""

import numpy as np
import pytest

from diffsim.fit import Curve, Dataset, LogNormal, Model, Parameter, fit

T = np.linspace(0.0, 8.0, 17)


def predator_prey(t, y, p):
    hare, lynx = y
    return np.array([p.a * hare - p.b * hare * lynx, p.d * hare * lynx - p.c * lynx])


@pytest.fixture(scope="module")
def hare_lynx():
    wave = np.sin(T)
    data = Dataset(T, {"hare": 33.0 * np.exp(0.9 * wave), "lynx": 17.0 * np.exp(-0.9 * np.cos(T))}, time_name="year",
                   units={"hare": "thousand pelts", "lynx": "thousand pelts"})
    units = {"a": "1/year", "b": "1/(year thousand)", "c": "1/year", "d": "1/(year thousand)", "hare0": "thousand", "lynx0": "thousand"}
    starts = {"a": 0.8, "b": 0.04, "c": 0.9, "d": 0.03, "hare0": 33.0, "lynx0": 8.0}
    parameters = [Parameter(name, start, scale="log", unit=units[name]) for name, start in starts.items()]
    return fit(Model(predator_prey, ("hare", "lynx"), parameters), data, noise=LogNormal())


def oscillator(t, y, p):
    return np.array([y[1], -p.frequency**2 * y[0] - p.damping * y[1]])


@pytest.fixture(scope="module")
def swing():
    parameters = [Parameter("frequency", 1.2, unit="rad/s", upper=1.25), Parameter("damping", 0.2, unit="1/s", scale="log"),
                  Parameter("position0", 1.0, unit="m"), Parameter("velocity0", 0.0, vary=False, unit="m/s")]
    model = Model(oscillator, ("x", "v"), parameters, observable=lambda t, y, p: {"x": y[0]}, initial=["position0", "velocity0"])
    return fit(model, Dataset(T, {"x": np.cos(1.3 * T) * np.exp(-0.1 * T)}, units={"x": "m"}))


def table(report):
    return report.split("Parameters\n")[1].split("\n\n")[0].splitlines()


def test_a_report_is_at_most_80_columns_wide(hare_lynx, swing):
    for result in (hare_lynx, swing):
        assert max(map(len, result.summary().splitlines())) <= 80
        assert repr(result) == result.summary()
        for row, e in zip(table(result.summary())[1:], result.parameters.values(), strict=True):
            assert row.split()[0] == e.name
            assert f"({e.unit})" in row
            assert f"{e.estimate:.6g}" in row
    assert table(swing.summary())[1].endswith("at upper bound")


def test_a_wide_page_has_room_for_every_column(hare_lynx):
    narrow, wide = (table(hare_lynx.summary(width))[0] for width in (80, 140))
    for head in ("se of log", "start"):
        assert head in wide
        assert head not in narrow
        assert head in hare_lynx._repr_html_()
    assert "interval" in narrow


def test_the_report_says_which_law_the_intervals_use(swing):
    assert "intervals use Student's t" in " ".join(swing.summary().split())
    assert f"n - p = {17 - 3}" in swing.summary()


def test_long_names_are_never_cut():
    name = "a_parameter_with_a_name_that_is_much_longer_than_anybody_should_ever_write_in_a_report"
    result = fit(Curve(lambda x, p: p[0] * x, [Parameter(name, 1.0)]), Dataset(T, {"y": 2.0 * T + np.cos(T)}))
    assert name in table(result.summary())[1]

"""The report of a fit fits a page; its picture fits a small figure."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from diffsim.errors import InputError, InputTypeError
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


# ---------------------------------------------------------------- picture
@pytest.mark.parametrize("size", [(5.0, 4.0), (8.0, 6.0), None])
def test_nothing_of_the_picture_is_cut(hare_lynx, size):
    figure = hare_lynx.plot(None if size is None else Figure(figsize=size))
    figure.draw_without_rendering()                        # lays it out
    labels = [t for axes in figure.axes for t in (axes.xaxis.label, axes.yaxis.label, axes.title) if t.get_text()]
    labels += [axes.get_legend() for axes in figure.axes if axes.get_legend()] + figure.legends
    page = figure.bbox
    for artist in labels:
        box = artist.get_window_extent()
        assert page.x0 <= box.x0 < box.x1 <= page.x1, artist
        assert page.y0 <= box.y0 < box.y1 <= page.y1, artist
    upper, lower = (axes.yaxis.label.get_window_extent() for axes in figure.axes[:2])
    assert not upper.overlaps(lower)
    assert figure.axes[0].get_window_extent().width > 0.5 * page.width


def test_subfigures_are_drawn_into_and_axes_refused(hare_lynx):
    figure = Figure(figsize=(12.0, 4.0), layout="constrained")
    left, right = figure.subfigures(1, 2)
    assert hare_lynx.plot(left) is left
    assert len(left.axes) == 3
    with pytest.raises(InputTypeError, match=r"needs a matplotlib Figure or SubFigure, got Axes; .* result.predict"):
        hare_lynx.plot(right.subplots())


def test_logarithmic_axes_need_positive_data(swing, hare_lynx):
    with pytest.raises(InputError, match=r"log=True needs positive data, but x is -0\.\d+ at t = 1\.5"):
        swing.plot(log=True)
    assert hare_lynx.plot(log=False).axes[0].get_yscale() == "linear"

"""Pictures of solutions: what is drawn, what it is called, what is refused; the sketch in notebooks."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import InputError, InputTypeError
from diffsim.ode.pictures.pictures import COLOURS, NAMED, REJECTED, curves

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def oscillator(t, y):
    return {"x": y["v"], "v": -y["x"]}


@pytest.fixture(scope="module")
def tree():
    return ds.solve_ivp(oscillator, (0, 6), {"x": np.ones(2), "v": np.zeros(2)}, t_eval=np.linspace(0, 6, 9), dense_output=True)


@pytest.fixture(scope="module")
def failed():
    return ds.solve_ivp(lambda t, y: y**2, (0, 2), [1.0], history=True)


# ---------------------------------------------------------------- components over time
def test_curves_are_named_as_the_state_is_made(tree):
    assert [name for name, _ in curves(tree.y)] == ["v[0]", "v[1]", "x[0]", "x[1]"]
    sol = ds.solve_ivp(lambda t, y: (1j * y[0], -y[1]), (0, 1), (np.ones((1, 2), complex), 1.0))
    assert [name for name, _ in curves(sol.y)] == ["Re [0][0, 0]", "Im [0][0, 0]", "Re [0][0, 1]", "Im [0][0, 1]", "[1]"]
    assert [name for name, _ in curves(ds.solve_ivp(lambda t, y: -y, (0, 1), 1.0).y)] == ["y"]


def test_a_plot_draws_the_interpolant_and_marks_the_outputs(tree):
    ax = tree.plot()
    lines, marks = ax.lines[::2], ax.lines[1::2]
    assert [line.get_label() for line in lines] == ["v[0]", "v[1]", "x[0]", "x[1]"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["v[0]", "v[1]", "x[0]", "x[1]"]
    assert len({line.get_color() for line in lines}) == 4
    for line, mark in zip(lines, marks, strict=True):
        assert len(line.get_xdata()) > 100
        np.testing.assert_array_equal(mark.get_xdata(), tree.t)
    np.testing.assert_allclose(lines[2].get_ydata(), np.cos(lines[2].get_xdata()), atol=1e-5)
    np.testing.assert_array_equal(marks[2].get_ydata(), tree.y["x"][0])
    assert ax.get_xlabel() == "t"


def test_components_names_axes_and_looks_are_the_users(tree):
    _, ax = plt.subplots()
    assert tree.plot(["x[0]", 0], names=["place", "speed"], ax=ax, lw=3, log="x") is ax
    assert [line.get_label() for line in ax.lines[::2]] == ["place", "speed"]
    assert ax.lines[0].get_linewidth() == 3
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    one = tree.plot(-1)
    assert one.get_legend() is None
    assert one.get_ylabel() == "x[1]"


def test_parts_of_a_complex_component_share_a_colour():
    ax = ds.solve_ivp(lambda t, y: 1j * y, (0, 1), [1 + 0j, 2j]).plot()
    assert [(line.get_color(), line.get_linestyle()) for line in ax.lines] == [
        (COLOURS[0], "-"), (COLOURS[0], "--"), (COLOURS[1], "-"), (COLOURS[1], "--")]


def test_many_components_are_told_by_a_scale_of_colours():
    n = NAMED + 1
    ax = ds.solve_ivp(lambda t, y: -y * np.arange(1.0, n + 1), (0, 1), np.ones(n)).plot()
    assert len(ax.lines) == n
    assert ax.get_legend() is None
    assert ax.figure.axes[1].get_ylabel() == "component"


def test_where_a_solve_stopped_and_events_are_marked(failed, tree):
    ax = failed.plot(log=True)
    assert ax.get_yscale() == "log"
    assert ax.get_title(loc="right") == f"stopped at t = {failed.t[-1]:.4g}"
    with_events = ds.ode.OdeResult({**tree, "t_events": [np.array([1.0, 2.0]), np.array([])]})
    dotted = [line for line in with_events.plot().lines if line.get_linestyle() == ":"]
    assert [line.get_xdata()[0] for line in dotted] == [1.0, 2.0]


def test_what_cannot_be_drawn_is_told(tree):
    for bad in ("y", 4, 1.5):
        with pytest.raises(InputError, match=r"there is no component .*; there are v\[0\], v\[1\], x\[0\], x\[1\]"):
            tree.plot(bad)
    with pytest.raises(InputError, match="names must be a sequence of 4 names"):
        tree.plot(names=["a"])
    with pytest.raises(InputError, match="log must be True, False, 'x', 'y' or 'xy', not 'z'"):
        tree.plot(log="z")
    with pytest.raises(InputTypeError, match="a picture needs numbers"):
        ds.grad(lambda k: ds.solve_ivp(lambda t, y: -k * y, (0, 1), [1.0], t_eval=[1.0]).plot())(1.0)


# ---------------------------------------------------------------- phases and steps
def test_a_phase_plot_joins_two_components(tree):
    ax = tree.plot_phase("x[0]", "v[0]")
    x, v = ax.lines[0].get_data()
    np.testing.assert_allclose(x**2 + v**2, 1, atol=1e-5)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x[0]", "v[0]")
    assert [float(line.get_xdata()[0]) for line in ax.lines[1:]] == [tree.y["x"][0, 0], tree.y["x"][0, -1]]


@pytest.mark.parametrize("span", [(1, 5), (5, 1)])
def test_steps_and_errors_are_drawn_where_they_were_taken(span):
    rhs = lambda t, y: [y[1], 5 * (1 - y[0] ** 2) * y[1] - y[0]]  # noqa: E731
    sol = ds.solve_ivp(rhs, span, [1.0, 0.0], history=True, controller="I", t_eval=[sum(span) / 2])
    sizes, errors = sol.plot_steps()
    steps = sizes.patches[0].get_data()
    np.testing.assert_allclose(np.sort(steps.values), np.sort(np.abs(sol.mesh.increments)))
    np.testing.assert_allclose(steps.edges[[0, -1]], sorted(span))
    assert sizes.get_title(loc="left") == f"{sol.accepted} steps, {sol.rejected} rejected"
    lost = ~sol.attempts.accepted
    assert lost.any()
    np.testing.assert_array_equal(sizes.lines[0].get_xdata(), sol.attempts.t[lost])
    assert sizes.lines[0].get_color() == errors.lines[1].get_color() == REJECTED
    assert np.all(errors.lines[0].get_ydata() <= 1)
    assert np.all(errors.lines[1].get_ydata() > 1)


def test_steps_are_drawn_without_a_history_too(failed):
    sol = ds.solve_ivp(lambda t, y: -y, (2, 4), [1.0])
    (ax,) = sol.plot_steps()
    np.testing.assert_allclose(ax.patches[0].get_data().edges, sol.t)
    _, axes = plt.subplots(2)
    assert sol.plot_steps(axes=axes)[0] is axes[0]
    assert len(failed.plot_steps()) == 2
    with pytest.raises(InputError, match="needs two axes"):
        failed.plot_steps(axes=axes[0])
    with pytest.raises(InputError, match="no steps to draw"):
        ds.solve_ivp(lambda t, y: -y, (1, 1), [1.0]).plot_steps()


# ---------------------------------------------------------------- in notebooks
def test_a_notebook_shows_the_fields_and_a_sketch():
    sol = ds.solve_ivp(lambda t, y: [y[1], -y[0]], (0, 6), [1.0, 0.0])
    html = sol._repr_html_()
    assert "<th style='text-align:left'>message</th>" in html
    svg = ElementTree.fromstring(re.search("<svg.*</svg>", html)[0])
    lines = [e for e in svg if e.tag == "polyline"]
    assert [e.get("stroke") for e in lines] == list(COLOURS[:2])
    points = np.array([[float(c) for c in p.split(",")] for p in lines[0].get("points").split()])
    assert np.all(np.diff(points[:, 0]) >= 0)
    height = np.corrcoef(points[:, 1], sol.y[0])[0, 1]
    assert height == pytest.approx(-1, abs=1e-4)           # pixels count downwards
    assert [e.text for e in svg if e.tag == "text"][-1] == "6"


@pytest.mark.parametrize("sol", [
    lambda: ds.solve_ivp(lambda t, y: -y, (1, 1), [1.0]),
    lambda: ds.solve_ivp(lambda t, y: -y, (0, 1), []),
    lambda: ds.solve_ivp(lambda t, y: -y, (0, 1), [1.0], t_eval=[]),
], ids=["no time", "no state", "no outputs"])
def test_where_there_is_nothing_to_draw_nothing_is_drawn(sol):
    html = sol()._repr_html_()
    assert "<table>" in html
    assert "<svg" not in html


def test_a_tree_is_printed_by_its_shapes(tree):
    assert re.search(r"y: \{'x': float64 array of shape \(2, 9\), 'v': float64 array of shape \(2, 9\)\}", repr(tree))

"""The picture of a fit: each observable with its curve and bands, and the residuals below, drawn without touching a backend."""

import io
from functools import cache

import numpy as np

from ..errors import InputError, InputTypeError

__all__ = ["draw"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")      # Okabe & Ito: distinct for colour-blind readers
MARKERS = "osD^vP"
CURVE_POINTS = 400
GREY = "0.35"
NARROW = 7.0                   # inches: below this the legend stands under the axes, and labels are small


def draw(fit, figure=None, level=0.95, log=None):
    """Draw data, fitted curves, bands and residuals; see :meth:`Fit.plot`."""
    problem = fit.problem
    names = problem.names
    log = bool(problem.noise.scale_name) if log is None else log
    _check(problem.dataset, figure, log)
    if figure is None:
        figure = _figure_class()(figsize=(8.0, 1.6 + 2.0 * len(names) + 1.4), layout="constrained")
    elif hasattr(figure, "set_layout_engine") and figure.get_layout_engine() is None:
        figure.set_layout_engine("constrained")
    narrow = figure.bbox.width / figure.dpi < NARROW
    grid = figure.subplots(len(names) + 1, 1, sharex=True, height_ratios=[2.0] * len(names) + [1.3], squeeze=False)[:, 0]
    t0 = problem.times[0] if problem.model.t0 is None else problem.model.t0
    t = np.linspace(t0, problem.times[-1], CURVE_POINTS)
    curves = fit.predict(np.union1d(t, problem.times), level)
    for i in range(len(names)):
        _observable(grid[i], fit, curves, i)
        if log:
            grid[i].set_yscale("log")
            _plain_log_ticks(grid[i])
    _residuals(grid[-1], fit)
    grid[-1].set_xlabel(problem.dataset.label(problem.dataset.time_name))
    for axes in grid:
        axes.spines[["top", "right"]].set_visible(False)
        if not narrow:
            axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize="small", borderaxespad=0.0)
    if narrow:
        _narrow(figure, grid)
    if np.all(problem.times == np.round(problem.times)):
        grid[-1].locator_params(axis="x", integer=True)
    figure.align_ylabels(grid)
    grid[0].set_title(f"{', '.join(names)}: data and fitted model", loc="left", fontsize="medium")
    return figure


def _check(dataset, figure, log):
    if figure is not None and not hasattr(figure, "subplots"):
        raise InputTypeError("plot: the picture has several axes, so it needs a matplotlib Figure or SubFigure, got "
                             f"{type(figure).__name__}; to draw one curve into axes of your own, take the numbers of result.predict(t)")
    bad = dataset.present & ~(np.nan_to_num(dataset.values, nan=1.0) > 0)
    if log and np.any(bad):
        row, i = (int(k) for k in np.argwhere(bad)[0])
        raise InputError(f"plot: log=True needs positive data, but {dataset.names[i]} is {dataset.values[row, i]:g} at "
                         f"{dataset.time_name} = {dataset.t[row]:g}; use log=False")


def _narrow(figure, grid):
    """One legend below for all axes, small labels broken before the unit."""
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize="x-small")
    for axes in grid[:-1]:
        axes.set_ylabel(axes.get_ylabel().replace(" (", "\n(", 1), fontsize="x-small")
    grid[-1].set_ylabel("residual\n/ sigma", fontsize="x-small")
    for axes in grid:
        axes.tick_params(labelsize="x-small")
        axes.xaxis.label.set_fontsize("small")


def _observable(axes, fit, curves, i):
    dataset, name, colour, marker = fit.problem.dataset, curves.names[i], COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
    curve, percent = curves[name], f"{100 * curves.level:g} %"
    band = {"color": colour, "linewidth": 0}
    if not np.all(np.isnan(curve.data_lower)):
        axes.fill_between(curves.t, curve.data_lower, curve.data_upper, alpha=0.10, label=f"{percent} band of new data", **band)
    axes.fill_between(curves.t, curve.lower, curve.upper, alpha=0.30, label=f"{percent} band of the curve", **band)
    axes.plot(curves.t, curve.value, color=colour, linewidth=1.6, label="model")
    if dataset.errors is not None:
        noise, centre = fit.problem.noise, dataset[name]
        low, high = (noise.inverse(noise.transform(centre) + sign * dataset.errors[:, i]) for sign in (-1.0, 1.0))
        axes.errorbar(dataset.t, centre, [centre - low, high - centre], fmt="none", ecolor=GREY, elinewidth=1.0)
    axes.plot(dataset.t, dataset[name], marker, color="black", markersize=4, markerfacecolor="white", label="data")
    axes.set_ylabel(dataset.label(name))


def _residuals(axes, fit):
    problem = fit.problem
    axes.axhline(0.0, color=GREY, linewidth=1.0)
    for edge in (-2.0, 2.0):
        axes.axhline(edge, color=GREY, linewidth=0.7, linestyle=":", label="2 sigma" if edge > 0 else None)
    for i, name in enumerate(problem.names):
        mine = problem.column == i
        standard = -fit.residuals[mine] / fit.sigma_of(name)
        axes.plot(problem.t[mine], standard, MARKERS[i % len(MARKERS)], color=COLOURS[i % len(COLOURS)], markersize=4, label=name)
    reach = 1.15 * max(2.2, np.max(np.abs(axes.dataLim.intervaly)))
    axes.set_ylim(-reach, reach)
    axes.set_ylabel("log(data / model)\n/ sigma" if problem.noise.scale_name else "(data - model)\n/ sigma")


def _plain_log_ticks(axes):
    """Ticks at 1, 2, 5 times powers of ten, written plainly."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter  # noqa: PLC0415  as in _figure_class

    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


@cache
def _figure_class():
    """Figure that notebooks show without pyplot; matplotlib costs too much to import before something is drawn."""
    from matplotlib.figure import Figure  # noqa: PLC0415  0.3 s, paid only by those who draw

    class FitFigure(Figure):
        def _repr_png_(self):
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=100)
            return buffer.getvalue()

    return FitFigure

"""The order of every method, measured: errors of a pendulum over steps of equal size, and the slope of their logarithms.

    python benchmarks/orders.py --plot orders.png

Steps are given, so that nothing but the method decides the error. "auto" and "BDF", which choose a method or an order for each step, have
no order of their own. The reference is DOP853 at a tolerance of 1e-13. The slope is that of a straight line through the six smallest errors
above rounding.
"""

import argparse

import numpy as np

import diffsim as ds
from diffsim.ode.tableaus import METHODS, PAIRS, Auto, Ndf

START, END, LENGTH = np.array([1.2, 0.3]), 4.0, 1.7
#: Numbers of steps, and the errors between which the order shows.
COUNTS, ROUNDING, SETTLED = [round(10 * 2 ** (i / 2)) for i in range(17)], 3e-12, 3e-2
COLOURS = {1: "#999999", 2: "#0072B2", 3: "#56B4E9", 4: "#009E73", 5: "#E69F00", 6: "#D55E00", 7: "#CC79A7", 8: "#000000"}


def pendulum(t, y):
    """Angle and speed: the slope of the one depends on the other alone, as splitting methods want it."""
    return np.array([y[1], -np.sin(y[0]) / LENGTH])


SPLIT = ds.ode.Split(lambda t, y: np.array([y[1], -y[0] / LENGTH]), lambda t, y: np.array([0.0 * y[0], (y[0] - np.sin(y[0])) / LENGTH]))


def methods():
    """Name in the table to (right-hand side, method, order)."""
    rows = {name: (pendulum, name, row.order) for name, row in METHODS.items()
            if row.name == name and not isinstance(row, Auto | Ndf)}
    return rows | {pair.name: (SPLIT, name, pair.order) for name, pair in PAIRS.items()}


def errors(fun, method, exact, counts=COUNTS):
    """Step sizes, and the largest error at the end with each."""
    ends = [ds.solve_ivp(fun, (0.0, END), START, method, [END], steps=np.full(n, END / n)).y[:, -1] for n in counts]
    return END / np.array(counts), np.array([np.max(np.abs(y - exact)) for y in ends])


def measured(sizes, error):
    """The slope, from the smallest errors that are not rounding."""
    good = np.flatnonzero((error > ROUNDING) & (error < SETTLED))[-6:]
    return float(np.polyfit(np.log(sizes[good]), np.log(error[good]), 1)[0])


def reference():
    """The state at the end."""
    return ds.solve_ivp(pendulum, (0.0, END), START, "DOP853", [END], rtol=1e-13, atol=1e-15).y[:, -1]


def draw(path, found):
    """Errors over step sizes, a colour for each order, a panel for each kind of method."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    kinds = {"explicit": ("Tableau",), "implicit": ("Esdirk", "Radau", "Rosenbrock", "Additive"), "symplectic": ("Splitting", "Midpoint")}
    figure = Figure(figsize=(11.0, 5.0), layout="constrained")
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    for axes, (kind, classes) in zip(panels, kinds.items(), strict=True):
        ours = {name: x for name, x in found.items() if type(METHODS[name]).__name__ in classes}
        for i, (name, (sizes, error, order)) in enumerate(sorted(ours.items(), key=lambda item: item[1][2])):
            shown = error > ROUNDING / 3
            axes.loglog(sizes[shown], error[shown], marker="os^Dv<>P"[i % 8], markersize=3.5, lw=1.1, color=COLOURS[order],
                        label=f"{name} ({order})")
        axes.set_title(kind, loc="left")
        axes.set(xlabel="step size", ylim=(ROUNDING / 3, 3.0))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
    panels[0].set_ylabel("error at the end")
    figure.savefig(path, dpi=150)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plot", metavar="PATH", help="where to draw the errors")
    options = parser.parse_args(arguments)
    exact, found = reference(), {}
    print("| method | order | measured |\n|---|--:|--:|")
    for name, (fun, method, order) in methods().items():
        found[name] = (*errors(fun, method, exact), order)
        print(f"| {name} | {order} | {measured(*found[name][:2]):.2f} |", flush=True)
    if options.plot:
        draw(options.plot, found)


if __name__ == "__main__":
    main()

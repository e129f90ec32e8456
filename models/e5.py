"""E5, four substances of a pyrolysis: badly scaled (22 powers of ten) and solved to the end of time, t = 1e13.

The balance y2 = y3 + y4 holds only as exactly as the right-hand side has it, and the last digits of both are what is left of it at the end:
four digits are reached, by methods that solve their stages to the end; y1 has decayed below any tolerance.

A problem of the test set for initial value solvers. Source: Enright, Hull & Lindberg, BIT 15 (1975) 10-48; Hairer & Wanner,
Solving Ordinary Differential Equations II, IV.10.

Run it: ``python models/e5.py [--plot PATH]``.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import diffsim as ds

times = 10.0 ** np.arange(-2.0, 3.0)
theta0 = {"rates": np.array([7.89e-10, 1.1e7, 1.13e3, 1e6]), "first": 1.76e-3}
reference = {
    "t": 1e13,
    "y": np.array([0.1152903278711829e-290, 0.8867655517642120e-22, 0.8854814626268838e-22, 0.0]),
    "source": "Mazzia & Magherini, Test Set for IVP Solvers, release 2.4 (2008), problem E5",
}


def rhs(t, y, k):
    """Rates of change of the four concentrations."""
    a, b, c, m = k
    second = a * y[0] - m * c * y[1] * y[2]
    fourth = b * y[0] * y[2] - c * y[3]
    return np.array([-a * y[0] - b * y[0] * y[2], second, second - fourth, fourth])       # y2 = y3 + y4, to the last digit


def solve(theta, t_eval=times, method="Rodas5P", atol=1e-24, **options):
    """Concentrations at ``t_eval``."""
    start = np.concatenate([np.stack([theta["first"]]), np.zeros(3)])
    return ds.solve_ivp(rhs, (0.0, t_eval[-1]), start, method, t_eval, args=(theta["rates"],), atol=atol, **options)


def loss(theta, **options):
    """Mean square of the logarithm of the second concentration."""
    return np.mean(np.log(solve(theta, **options).y[1]) ** 2)


def draw(path):
    """The concentrations over the logarithm of time."""
    t = np.geomspace(1.0, 1e13, 400)
    y = solve(theta0, t, "Kvaerno5", rtol=1e-6, atol=1e-28).y
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    for i, (line, colour) in enumerate(zip(y, ("#000000", "#0072B2", "#D55E00", "#009E73"), strict=True)):
        axes.loglog(t, np.maximum(line, 1e-40), label=f"y{i + 1}", color=colour, linestyle="--" if i == 2 else "-")
    axes.set(xlabel="time", ylabel="concentration", ylim=(1e-26, 1e-1))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False)
    figure.savefig(path, dpi=150)


def main(arguments=None):
    """Solve, compare with the reference, differentiate, draw."""
    parser = argparse.ArgumentParser(description="E5: four concentrations over 22 powers of ten.")
    parser.add_argument("--plot", default="e5.png", metavar="PATH", help="where to write the picture (default: %(default)s)")
    path = Path(parser.parse_args(arguments).plot)
    y = solve(theta0, np.array([reference["t"]]), "Kvaerno5", rtol=1e-6, atol=1e-28).y[:, -1]
    print(f"{'t = 1e13':10}{'computed':>22}{'reference':>22}")
    for i, (x, known) in enumerate(zip(y, reference["y"], strict=True)):
        print(f"y{i + 1:<9}{x:22.12e}{known:22.12e}")
    gradient = ds.grad(lambda theta: loss(theta, rtol=1e-8))(theta0)
    print("\nd loss / d log k:", theta0["rates"] * gradient["rates"])
    draw(path)
    print(f"Picture: {path.resolve()}")


if __name__ == "__main__":
    main()

"""HIRES, eight reactions of photomorphogenesis: how a plant pigment answers to light ("High Irradiance Response").

Stiff; a problem of the test set for initial value solvers. Source of the equations: Schafer, J. Math. Biol. 2 (1975) 41-56;
Hairer & Wanner, Solving Ordinary Differential Equations II, IV.10.

Run it: ``python models/hires.py [--plot PATH]``.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import diffsim as ds

NAMES = ("P_r", "P_fr", "P_r X", "P_fr X", "P_r X'", "P_fr X'", "P_fr X' E", "E")
times = np.geomspace(1.0, 321.8122, 13)
start = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057])
theta0 = {"rates": np.array([1.71, 0.43, 8.32, 0.69, 0.035, 8.32, 280.0, 0.69, 0.69]), "source": 0.0007}
reference = {
    "t": 321.8122,
    "y": np.array([0.7371312573325668e-3, 0.1442485726316185e-3, 0.5888729740967575e-4, 0.1175651343283149e-2, 0.2386356198831331e-2,
                   0.6238968252742796e-2, 0.2849998395185769e-2, 0.2850001604814231e-2]),
    "source": "Mazzia & Magherini, Test Set for IVP Solvers, release 2.4 (2008), problem HIRES",
}


def rhs(t, y, k, source):
    """Rates of change of the eight concentrations."""
    k1, k2, k3, k4, k5, k6, k_plus, k_minus, k_star = k
    bound = k_plus * y[5] * y[7]
    return np.array([
        -k1 * y[0] + k2 * y[1] + k6 * y[2] + source,
        k1 * y[0] - (k2 + k3) * y[1],
        -(k6 + k1) * y[2] + k2 * y[3] + k5 * y[4],
        k3 * y[1] + k1 * y[2] - (k4 + k2) * y[3],
        -(k1 + k5) * y[4] + k2 * y[5] + k2 * y[6],
        -bound + k4 * y[3] + k1 * y[4] - k2 * y[5] + k_minus * y[6],
        bound - (k2 + k_minus + k_star) * y[6],
        -bound + (k2 + k_minus + k_star) * y[6],
    ])


def solve(theta, t_eval=times, method="Rodas5P", **options):
    """Concentrations at ``t_eval``."""
    return ds.solve_ivp(rhs, (0.0, t_eval[-1]), start, method, t_eval, args=(theta["rates"], theta["source"]), **options)


def loss(theta, **options):
    """Sum of the squares of the logarithms of the concentrations."""
    return np.sum(np.log(solve(theta, **options).y) ** 2)


def draw(path):
    """The concentrations over time."""
    t = np.geomspace(1e-3, 321.8122, 300)
    y = solve(theta0, t, rtol=1e-8, atol=1e-12).y
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for name, line, colour in zip(NAMES, y, ("#000000", "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#999999"),
                                  strict=True):
        axes.loglog(t, line, label=name, color=colour)
    axes.set(xlabel="time", ylabel="concentration", ylim=(1e-6, 2.0))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False)
    figure.savefig(path, dpi=150)


def main(arguments=None):
    """Solve, compare with the reference, differentiate, draw."""
    parser = argparse.ArgumentParser(description="HIRES: the solution and how it depends on its rates.")
    parser.add_argument("--plot", default="hires.png", metavar="PATH", help="where to write the picture (default: %(default)s)")
    path = Path(parser.parse_args(arguments).plot)
    y = solve(theta0, np.array([reference["t"]]), rtol=1e-10, atol=1e-14).y[:, -1]
    print(f"{'':12}{'computed':>22}{'reference':>22}")
    for name, x, known in zip(NAMES, y, reference["y"], strict=True):
        print(f"{name:12}{x:22.14e}{known:22.14e}")
    gradient = ds.grad(lambda theta: loss(theta, rtol=1e-8, atol=1e-12))(theta0)
    print("\nGradient of the loss by the rates:", np.array2string(gradient["rates"], precision=5))
    draw(path)
    print(f"Picture: {path.resolve()}")


if __name__ == "__main__":
    main()

"""The Oregonator, a model of the Belousov-Zhabotinskii reaction: a stiff oscillator whose three concentrations span five powers of ten.

A problem of the test set for initial value solvers. Source: Field & Noyes, J. Chem. Phys. 60 (1974) 1877-1884; Hairer & Wanner, Solving
Ordinary Differential Equations II, IV.10.

Run it: ``python models/oregonator.py [--plot PATH]``.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import diffsim as ds

times = np.linspace(2.0, 60.0, 30)
theta0 = {"s": 77.27, "q": 8.375e-6, "w": 0.161}
start = np.array([1.0, 2.0, 3.0])
reference = {
    "t": 360.0,
    "y": np.array([0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3]),
    "source": "Mazzia & Magherini, Test Set for IVP Solvers, release 2.4 (2008), problem OREGO",
}


def rhs(t, y, s, q, w):
    """Rates of change of HBrO2, Br- and Ce(IV), scaled."""
    x, z, c = y
    return np.array([s * (z + x * (1.0 - q * x - z)), (c - (1.0 + x) * z) / s, w * (x - c)])


def solve(theta, t_eval=times, method="Rodas5P", **options):
    """Concentrations at ``t_eval``."""
    args = theta["s"], theta["q"], theta["w"]
    return ds.solve_ivp(rhs, (0.0, t_eval[-1]), start, method, t_eval, args=args, **options)


def loss(theta, **options):
    """Mean of the squared logarithms of the concentrations of Br- and Ce(IV)."""
    return np.mean(np.log(solve(theta, **options).y[1:]) ** 2)


def draw(path):
    """One and a bit of the oscillation."""
    t = np.linspace(0.0, 360.0, 2000)
    y = solve(theta0, t, rtol=1e-8).y
    figure = Figure(figsize=(6.8, 3.6), layout="constrained")
    axes = figure.subplots()
    for line, label, colour in zip(y, ("HBrO2", "Br-", "Ce(IV)"), ("#0072B2", "#D55E00", "#009E73"), strict=True):
        axes.semilogy(t, line, label=label, color=colour)
    axes.set(xlabel="time (scaled)", ylabel="concentration (scaled)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(path, dpi=150)


def main(arguments=None):
    """Solve, compare with the reference, differentiate, draw."""
    parser = argparse.ArgumentParser(description="The Oregonator: a stiff chemical oscillator.")
    parser.add_argument("--plot", default="oregonator.png", metavar="PATH", help="where to write the picture (default: %(default)s)")
    path = Path(parser.parse_args(arguments).plot)
    y = solve(theta0, np.array([reference["t"]]), rtol=1e-11, atol=1e-11).y[:, -1]
    print(f"{'t = 360':10}{'computed':>22}{'reference':>22}")
    for name, x, known in zip(("HBrO2", "Br-", "Ce(IV)"), y, reference["y"], strict=True):
        print(f"{name:10}{x:22.12e}{known:22.12e}")
    gradient = ds.grad(lambda theta: loss(theta, rtol=1e-8))(theta0)
    print("\nGradient of the loss:", {name: float(gradient[name]) for name in "sqw"})
    draw(path)
    print(f"Picture: {path.resolve()}")


if __name__ == "__main__":
    main()

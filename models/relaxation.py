"""Van der Pol's equation where it is stiff, eps x'' = (1 - x^2) x' - x with eps = 1e-6: slow arcs with sudden jumps between them.

A problem of the test set for initial value solvers, VDPOL. Source: Hairer & Wanner, Solving Ordinary Differential Equations II, IV.10.
The moderate case, and the period of its cycle, is in ``van_der_pol.py``.

Run it: ``python models/relaxation.py [--plot PATH]``.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import diffsim as ds

times = np.linspace(0.1, 0.7, 7)
theta0 = {"log_eps": np.log(1e-6), "start": np.array([2.0, 0.0])}
reference = {
    "t": 2.0,
    "y": np.array([0.1706167732170483e1, -0.8928097010247975]),
    "source": "Mazzia & Magherini, Test Set for IVP Solvers, release 2.4 (2008), problem VDPOL",
}


def rhs(t, y, log_eps):
    """Velocity and acceleration."""
    x, v = y
    return np.array([v, ((1.0 - x**2) * v - x) / np.exp(log_eps)])


def solve(theta, t_eval=times, method="Rodas5P", **options):
    """Position and velocity at ``t_eval``."""
    return ds.solve_ivp(rhs, (0.0, t_eval[-1]), theta["start"], method, t_eval, args=(theta["log_eps"],), **options)


def loss(theta, **options):
    """Sum of the squares of the positions."""
    return np.sum(solve(theta, **options).y[0] ** 2)


def draw(path):
    """Position over two turns; where the solver steps."""
    t = np.linspace(0.0, 3.4, 3000)
    y = solve(theta0, t, rtol=1e-6).y
    steps = ds.solve_ivp(rhs, (0.0, 3.4), theta0["start"], "Rodas5P", args=(theta0["log_eps"],))
    figure = Figure(figsize=(6.8, 4.2), layout="constrained")
    wave, sizes = figure.subplots(2, 1, sharex=True)
    wave.plot(t, y[0], color="#0072B2")
    wave.set(ylabel="position x")
    sizes.semilogy(steps.t[:-1], np.diff(steps.t), color="#D55E00", linewidth=0.8)
    sizes.set(xlabel="time", ylabel="step size")
    for axes in (wave, sizes):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main(arguments=None):
    """Solve, compare with the reference, differentiate, draw."""
    parser = argparse.ArgumentParser(description="Van der Pol's equation where it is stiff.")
    parser.add_argument("--plot", default="relaxation.png", metavar="PATH", help="where to write the picture (default: %(default)s)")
    path = Path(parser.parse_args(arguments).plot)
    y = solve(theta0, np.array([reference["t"]]), rtol=1e-11, atol=1e-11).y[:, -1]
    print(f"{'t = 2':10}{'computed':>22}{'reference':>22}")
    for name, x, known in zip(("position", "velocity"), y, reference["y"], strict=True):
        print(f"{name:10}{x:22.14f}{known:22.14f}")
    gradient = ds.grad(lambda theta: loss(theta, rtol=1e-8))(theta0)
    print(f"\nd loss / d log eps = {gradient['log_eps']:.6e}")
    draw(path)
    print(f"Picture: {path.resolve()}")


if __name__ == "__main__":
    main()

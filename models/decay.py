"""Radioactive decay, x' = -k x: the smallest model, where everything has a closed form to compare with.

Run it: ``python models/decay.py [--plot PATH]``.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import diffsim as ds

times = np.linspace(0.0, 10.0, 11)                         # h
theta0 = {"k": 0.3, "x0": 2.0}                             # 1/h, MBq


def rhs(t, x, k):
    """Rate of change of the activity, MBq/h."""
    return -k * x


def solve(theta, **options):
    """Activity at ``times``."""
    return ds.solve_ivp(rhs, (times[0], times[-1]), np.stack([theta["x0"]]), t_eval=times, args=(theta["k"],), **options)


def loss(theta, **options):
    """Half the sum of squares of the activities."""
    return 0.5 * np.sum(solve(theta, **options).y ** 2)


def exact(theta):
    """Activity, and its derivatives by k and x0, at ``times``."""
    share = np.exp(-theta["k"] * times)
    return theta["x0"] * share, -theta["x0"] * times * share, share


def exact_loss_and_gradient(theta):
    """The loss of the exact solution, and its gradient."""
    x, by_k, by_x0 = exact(theta)
    return 0.5 * np.sum(x**2), {"k": np.sum(x * by_k), "x0": np.sum(x * by_x0)}


def draw(path):
    """Activity and its sensitivity to k, computed and exact."""
    x, slope = ds.jvp(lambda k: solve({**theta0, "k": k}, rtol=1e-9).y[0], (theta0["k"],), (1.0,))
    fine = np.linspace(times[0], times[-1], 300)
    share = np.exp(-theta0["k"] * fine)
    figure = Figure(figsize=(7.0, 3.4), layout="constrained")
    axes = figure.subplots(1, 2)
    for ax, computed, curve, label in ((axes[0], x, theta0["x0"] * share, "activity x (MBq)"),
                                       (axes[1], slope, -theta0["x0"] * fine * share, "sensitivity dx/dk (MBq h)")):
        ax.plot(fine, curve, color="#0072B2", label="exact")
        ax.plot(times, computed, "o", color="black", markerfacecolor="white", markersize=4, label="computed")
        ax.set_xlabel("time (h)")
        ax.set_ylabel(label)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylim(bottom=0.0)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(path, dpi=150)


def main(arguments=None):
    """Solve, differentiate, compare with the closed form."""
    parser = argparse.ArgumentParser(description="Exponential decay and its derivatives against the closed form.")
    parser.add_argument("--plot", default="decay.png", metavar="PATH", help="where to write the picture (default: %(default)s)")
    path = Path(parser.parse_args(arguments).plot)
    value, gradient = ds.value_and_grad(lambda theta: loss(theta, rtol=1e-9))(theta0)
    exact_value, exact_gradient = exact_loss_and_gradient(theta0)
    print(f"{'':14}{'computed':>16}{'exact':>16}")
    print(f"{'loss':14}{value:16.9f}{exact_value:16.9f}")
    for name in theta0:
        print(f"{'d loss / d ' + name:14}{gradient[name]:16.9f}{exact_gradient[name]:16.9f}")
    draw(path)
    print(f"\nPicture: {path.resolve()}")
    return value, gradient


if __name__ == "__main__":
    main()

"""Kepler's problem: a planet on an ellipse, solved by symplectic methods, whose energy does not drift however long they run.

Position and velocity have a closed form, by way of Kepler's equation E - e sin E = t.

Run it: ``python models/kepler.py [--plot PATH]``.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import diffsim as ds

times = np.linspace(0.5, 6.0, 12)
theta0 = {"eccentricity": 0.3, "pull": 1.0}
METHODS = {"Verlet": 1, "Yoshida4": 3, "KahanLi6": 9, "KahanLi8": 17, "RK4": 4}           # evaluations a step


def rhs(t, y, pull):
    """Velocity and acceleration."""
    cube = (y[0] ** 2 + y[1] ** 2) ** 1.5
    return np.array([y[2], y[3], -pull * y[0] / cube, -pull * y[1] / cube])


def start(eccentricity):
    """Position and velocity where the planet is nearest, for a pull of 1 and a period of 2 pi."""
    e = eccentricity
    return np.stack([1.0 - e, 0.0 * e, 0.0 * e, np.sqrt((1.0 + e) / (1.0 - e))])


def exact(t, eccentricity):
    """Position and velocity in closed form, shape (4, len(t))."""
    e, turn = eccentricity, np.array(t, float)
    for _ in range(60):                                    # Newton's method for Kepler's equation
        turn = turn - (turn - e * np.sin(turn) - t) / (1.0 - e * np.cos(turn))
    minor, speed = np.sqrt(1.0 - e**2), 1.0 / (1.0 - e * np.cos(turn))
    return np.stack([np.cos(turn) - e, minor * np.sin(turn), -np.sin(turn) * speed, minor * np.cos(turn) * speed])


reference = {"t": 20.0, "y": exact(np.array([20.0]), 0.3)[:, 0], "source": "closed form, by Kepler's equation"}


def solve(theta, t_eval=times, **options):
    """Position and velocity at ``t_eval``."""
    return ds.solve_ivp(rhs, (0.0, t_eval[-1]), start(theta["eccentricity"]), t_eval=t_eval, args=(theta["pull"],), **options)


def loss(theta, **options):
    """Sum of the squares of the coordinates, weighted by their number."""
    return np.sum(solve(theta, **options).y ** 2 * np.arange(1.0, 5.0)[:, None])


def energy(y):
    """Energy of a unit mass for a pull of 1."""
    return 0.5 * (y[2] ** 2 + y[3] ** 2) - 1.0 / np.sqrt(y[0] ** 2 + y[1] ** 2)


def drift(method, evaluations, periods, size):
    """Times in periods, and relative errors of the energy, at some of the steps of a long solve.

    ``size`` is the step of a method with one evaluation: the others take steps longer in proportion, so that all do the same work.
    """
    h = size * evaluations
    every = max(1, round(2.0 * np.pi * periods / h / 20_000))
    t = h * every * np.arange(1, int(2.0 * np.pi * periods / h / every))
    y = ds.solve_ivp(rhs, (0.0, t[-1]), start(0.3), method, t, args=(1.0,), first_step=h).y
    return t / (2.0 * np.pi), np.abs(energy(y) / energy(start(0.3)) - 1.0)


def draw(path, periods=1600, size=0.01):
    """The energy's error over many periods, at equal work, a million evaluations; its largest error in each of sixty windows."""
    figure = Figure(figsize=(6.8, 4.2), layout="constrained")
    axes = figure.subplots()
    for (method, evaluations), colour in zip(METHODS.items(), ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00"), strict=True):
        t, error = drift(method, evaluations, periods, size)
        turn = np.searchsorted(t, 1.0)                     # no window is shorter than a period
        edges = np.unique((turn * np.round(np.geomspace(1, len(t) // turn, 60))).astype(int))
        top = np.maximum.reduceat(error, np.append(0, edges[:-1]))
        axes.loglog(t[edges - 1], top, color=colour, linestyle="--" if method == "RK4" else "-")
        axes.text(1.01, top[-1], method, color=colour, va="center", transform=axes.get_yaxis_transform())
    axes.set(xlabel="time [periods]", ylabel="relative error of the energy", xlim=(1.0, 0.98 * periods))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main(arguments=None):
    """Compare with the closed form, follow the energy, draw."""
    parser = argparse.ArgumentParser(description="Kepler's problem by symplectic methods.")
    parser.add_argument("--plot", default="kepler.png", metavar="PATH", help="where to write the picture (default: %(default)s)")
    path = Path(parser.parse_args(arguments).plot)
    print(f"{'method':10}{'steps':>8}{'error at t = 20':>18}{'energy error':>16}")
    for method, evaluations in METHODS.items():
        sol = solve(theta0, np.array([reference["t"]]), method=method, first_step=0.01 * evaluations)
        miss = np.max(np.abs(sol.y[:, -1] - reference["y"]))
        print(f"{method:10}{sol.accepted:8}{miss:18.2e}{abs(energy(sol.y[:, -1]) / energy(start(0.3)) - 1.0):16.2e}")
    draw(path)
    print(f"\nPicture: {path.resolve()}")


if __name__ == "__main__":
    main()

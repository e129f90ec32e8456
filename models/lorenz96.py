"""Lorenz's model of the weather on a circle of latitude, x_i' = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + F: forty places, chaotic for F = 8.

Source: Lorenz, Predictability - a problem partly solved, ECMWF Seminar (1996) 1-18.

Run it: ``python models/lorenz96.py [--plot PATH]``.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import diffsim as ds

PLACES = 40
times = np.linspace(0.1, 0.5, 5)                           # 1 is about five days
theta0 = {"forcing": 8.0, "start": 8.0 + 0.01 * (np.arange(PLACES) == 19) + np.sin(np.arange(PLACES))}
#: By two other codes, which agree to the digits given.
reference = {
    "t": 2.0,
    "places": np.array([0, 10, 20, 30]),
    "y": np.array([4.6402968723, 8.9599274778, 4.8806241735, -1.3283823720]),
    "source": "scipy.integrate's DOP853 and Radau at tolerance 1e-13",
}


def rhs(t, x, forcing):
    """Rates of change."""
    return (np.roll(x, -1) - np.roll(x, 2)) * np.roll(x, 1) - x + forcing


def solve(theta, t_eval=times, **options):
    """The weather at ``t_eval``."""
    return ds.solve_ivp(rhs, (0.0, t_eval[-1]), theta["start"], t_eval=t_eval, args=(theta["forcing"],), **options)


def loss(theta, **options):
    """Mean square of the weather at the end."""
    return np.mean(solve(theta, **options).y[:, -1] ** 2)


def draw(path):
    """Weather over place and time, and how fast a small change of the start grows."""
    t = np.linspace(0.0, 20.0, 400)

    def weather(start):
        return solve({**theta0, "start": start}, t, rtol=1e-8).y

    x, change = ds.jvp(weather, (theta0["start"],), (np.eye(PLACES)[19],))
    figure = Figure(figsize=(6.8, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    image = upper.imshow(x, aspect="auto", origin="lower", extent=(0.0, 20.0, 0, PLACES), cmap="RdBu_r", vmin=-12, vmax=12)
    figure.colorbar(image, ax=upper, label="x")
    upper.set(ylabel="place")
    lower.semilogy(t, np.linalg.norm(change, axis=0), color="#0072B2")
    lower.set(xlabel="time", ylabel="size of a\nsmall change")
    lower.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main(arguments=None):
    """Solve, compare with the reference, differentiate, draw."""
    parser = argparse.ArgumentParser(description="Lorenz's weather on a circle of latitude.")
    parser.add_argument("--plot", default="lorenz96.png", metavar="PATH", help="where to write the picture (default: %(default)s)")
    path = Path(parser.parse_args(arguments).plot)
    y = solve(theta0, np.array([reference["t"]]), method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    for place, known in zip(reference["places"], reference["y"], strict=True):
        print(f"place {place:<4}{y[place]:18.11f}{known:18.11f}")
    gradient = ds.grad(lambda theta: loss(theta, rtol=1e-9))(theta0)
    print(f"\nd loss / d forcing = {gradient['forcing']:.6f}; by the start, largest {np.max(np.abs(gradient['start'])):.4f}")
    draw(path)
    print(f"Picture: {path.resolve()}")


if __name__ == "__main__":
    main()

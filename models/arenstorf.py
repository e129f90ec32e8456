"""Arenstorf's orbit: a satellite in the plane of Earth and Moon that returns, after two and a half loops, to where it started.

The coordinates turn with Earth and Moon. Near them steps must be a thousand times smaller than far away, and the orbit amplifies errors ten
thousandfold. Source: Arenstorf, Amer. J. Math. 85 (1963) 27-35; Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I, II.0.

Run it: ``python models/arenstorf.py [--plot PATH]``.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import diffsim as ds

times = np.linspace(0.1, 1.0, 10)
MOON = 0.012277471
#: Part of the Moon in the mass of both; distance to it at the start; speed there.
theta0 = {"moon": MOON, "gap": 1.0 - MOON - 0.994, "speed": -2.00158510637908252240537862224}
reference = {
    "t": 17.0652165601579625588917206249,
    "y": np.array([0.994, 0.0, 0.0, theta0["speed"]]),
    "source": "the orbit closes: Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I, II.0 (0.1)",
}


def rhs(t, y, moon):
    """Velocity and acceleration; ``moon`` is the part of the Moon in the mass of both."""
    x, z, vx, vz = y
    earth = 1.0 - moon
    to_earth = ((x + moon) ** 2 + z**2) ** 1.5
    to_moon = ((x - earth) ** 2 + z**2) ** 1.5
    return np.array([
        vx, vz,
        x + 2.0 * vz - earth * (x + moon) / to_earth - moon * (x - earth) / to_moon,
        z - 2.0 * vx - earth * z / to_earth - moon * z / to_moon,
    ])


def start(theta):
    """Position and velocity at the start."""
    return np.stack([1.0 - theta["moon"] - theta["gap"], 0.0, 0.0, theta["speed"]])


def solve(theta, t_eval=times, method="DOP853", **options):
    """Position and velocity at ``t_eval``."""
    return ds.solve_ivp(rhs, (0.0, t_eval[-1]), start(theta), method, t_eval, args=(theta["moon"],), **options)


def loss(theta, **options):
    """Mean square of the distance to the origin."""
    y = solve(theta, **options).y
    return np.mean(y[0] ** 2 + y[1] ** 2)


def draw(path):
    """The orbit, with a dot at each step the solver takes."""
    t = np.linspace(0.0, reference["t"], 2000)
    y = solve(theta0, t, rtol=1e-11, atol=1e-11).y
    steps = ds.solve_ivp(rhs, (0.0, reference["t"]), start(theta0), args=(theta0["moon"],), method="DOP853", rtol=1e-8, atol=1e-8).y
    figure = Figure(figsize=(5.4, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(y[0], y[1], color="#0072B2", linewidth=1.0)
    axes.plot(steps[0], steps[1], ".", color="#0072B2", markersize=5)
    for name, x, colour, size in (("Earth", -theta0["moon"], "#009E73", 12), ("Moon", 1.0 - theta0["moon"], "#999999", 6)):
        axes.plot(x, 0.0, "o", color=colour, markersize=size)
        axes.annotate(name, (x, 0.0), (0, -16), textcoords="offset points", ha="center")
    axes.set(xlabel="x", ylabel="y", aspect="equal")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main(arguments=None):
    """Solve over one period, differentiate, draw."""
    parser = argparse.ArgumentParser(description="Arenstorf's orbit around Earth and Moon.")
    parser.add_argument("--plot", default="arenstorf.png", metavar="PATH", help="where to write the picture (default: %(default)s)")
    path = Path(parser.parse_args(arguments).plot)
    end = np.array([reference["t"]])
    for tolerance in (1e-6, 1e-9, 1e-12):
        sol = solve(theta0, end, rtol=tolerance, atol=tolerance)
        miss = np.max(np.abs(sol.y[:2, -1] - reference["y"][:2]))
        print(f"tolerance {tolerance:.0e}: {sol.accepted:4} steps, the orbit closes to {miss:.1e}")

    def last(speed):
        return solve({**theta0, "speed": speed}, end, rtol=1e-12, atol=1e-12).y[0, -1]

    slope = ds.grad(last)(theta0["speed"])
    print(f"\nThe end moves by {slope:.0f} for a first speed that is 1 higher")
    draw(path)
    print(f"Picture: {path.resolve()}")


if __name__ == "__main__":
    main()

"""Pleiades, seven stars that attract each other in a plane, with close encounters: a celestial problem of the test set for IVP solvers.

Source: Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I, II.10.

Run it: ``python models/pleiades.py [--plot PATH]``.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import diffsim as ds

times = np.linspace(0.1, 0.8, 8)
theta0 = {
    "masses": np.arange(1.0, 8.0),
    "start": np.array([3.0, 3.0, -1.0, -3.0, 2.0, -2.0, 2.0, 3.0, -3.0, 2.0, 0.0, 0.0, -4.0, 4.0,
                       0.0, 0.0, 0.0, 0.0, 0.0, 1.75, -1.5, 0.0, 0.0, 0.0, -1.25, 1.0, 0.0, 0.0]),
}
reference = {
    "t": 3.0,
    "positions": np.array([0.3706139143970502, 3.237284092057233, -3.222559032418324, 0.6597091455775310, 0.3425581707156584,
                           1.562172101400631, -0.7003092922212495, -3.943437585517392, -3.271380973972550, 5.225081843456543,
                           -2.590612434977470, 1.198213693392275, -0.2429682344935824, 1.091449240428980]),
    "source": "Mazzia & Magherini, Test Set for IVP Solvers, release 2.4 (2008), problem PLEIADES",
}


def rhs(t, y, masses):
    """Velocities, then accelerations: x of the seven stars, y of them."""
    x, z = y[:7], y[7:14]
    dx, dz = x - x[:, None], z - z[:, None]                # from star i to star j
    cubes = (dx**2 + dz**2 + np.eye(7)) ** 1.5             # a star does not attract itself: dx = 0, and 1 keeps 0 / 0 away
    return np.concatenate([y[14:], (dx / cubes) @ masses, (dz / cubes) @ masses])


def solve(theta, t_eval=times, method="DOP853", **options):
    """Positions and velocities at ``t_eval``."""
    return ds.solve_ivp(rhs, (0.0, t_eval[-1]), theta["start"], method, t_eval, args=(theta["masses"],), **options)


def loss(theta, **options):
    """Mean square of the coordinates."""
    return np.mean(solve(theta, **options).y[:14] ** 2)


def draw(path):
    """The orbits."""
    y = solve(theta0, np.linspace(0.0, 3.0, 1500), rtol=1e-9, atol=1e-9).y
    figure = Figure(figsize=(5.6, 5.2), layout="constrained")
    axes = figure.subplots()
    for i, colour in enumerate(("#000000", "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00")):
        axes.plot(y[i], y[7 + i], color=colour, linewidth=1.0)
        axes.plot(y[i, -1], y[7 + i, -1], "o", color=colour, markersize=3 + i, label=f"mass {i + 1}")
    axes.set(xlabel="x", ylabel="y", aspect="equal")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False)
    figure.savefig(path, dpi=150)


def main(arguments=None):
    """Solve, compare with the reference, differentiate, draw."""
    parser = argparse.ArgumentParser(description="Seven stars in a plane.")
    parser.add_argument("--plot", default="pleiades.png", metavar="PATH", help="where to write the picture (default: %(default)s)")
    path = Path(parser.parse_args(arguments).plot)
    y = solve(theta0, np.array([reference["t"]]), rtol=1e-12, atol=1e-12).y[:, -1]
    print(f"{'t = 3':6}{'x':>20}{'reference':>20}{'y':>20}{'reference':>20}")
    for i in range(7):
        known = reference["positions"]
        print(f"{i + 1:<6}{y[i]:20.12f}{known[i]:20.12f}{y[7 + i]:20.12f}{known[7 + i]:20.12f}")
    gradient = ds.grad(lambda theta: loss(theta, rtol=1e-9, atol=1e-9))(theta0)
    print("\nGradient of the loss by the masses:", np.array2string(gradient["masses"], precision=6))
    draw(path)
    print(f"Picture: {path.resolve()}")


if __name__ == "__main__":
    main()

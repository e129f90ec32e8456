"""Heat in a square plate, u_t = div(k grad u), cold at the edges, with a conductivity that varies from place to place.

Finite volumes on ``size`` x ``size`` points: the flow between two points takes the mean of their conductivities. Where k = 1, the first
mode of the grid decays exactly as exp(-2 m t), m = (4 / h^2) sin^2(pi h / 2), which checks the solver.

Run it: ``python models/heat.py [--plot PATH]``.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import diffsim as ds

SMALL, WHOLE = 8, 64
times = np.linspace(0.01, 0.06, 6)
theta0 = {"bumps": np.zeros(4), "heat": 1.0}


def grid(size):
    """Coordinates of the points, shapes (size, 1) and (1, size)."""
    x = np.arange(1, size + 1) / (size + 1)
    return x[:, None], x[None, :]


def conductivity(bumps, size):
    """exp of a sum of four waves, shape (size, size)."""
    x, z = grid(size)
    p, q = np.pi * (x + 0.0 * z), np.pi * (z + 0.0 * x)
    return np.exp(bumps[0] * np.cos(p) + bumps[1] * np.cos(q) + bumps[2] * np.cos(p) * np.cos(q) + bumps[3] * np.cos(2.0 * p))


def faces(k, axis):
    """Conductivity at the faces between neighbours along an axis, edges included."""
    inner = 0.5 * (k[1:] + k[:-1]) if axis == 0 else 0.5 * (k[:, 1:] + k[:, :-1])
    ends = (k[:1], k[-1:]) if axis == 0 else (k[:, :1], k[:, -1:])
    return np.concatenate([ends[0], inner, ends[1]], axis=axis)


def rhs(t, y, k):
    """Rates of change of the temperatures, row by row."""
    size = k.shape[0]
    u = np.pad(y.reshape(size, size), 1)
    down, across = faces(k, 0) * (u[1:, 1:-1] - u[:-1, 1:-1]), faces(k, 1) * (u[1:-1, 1:] - u[1:-1, :-1])
    return ((down[1:] - down[:-1] + across[:, 1:] - across[:, :-1]) * (size + 1) ** 2).reshape(-1)


def start(size):
    """The first mode of the grid."""
    x, z = grid(size)
    return (np.sin(np.pi * x) * np.sin(np.pi * z)).reshape(-1)


def exact(t, size):
    """Temperatures at a time, for k = 1."""
    h = 1.0 / (size + 1)
    return start(size) * np.exp(-8.0 / h**2 * np.sin(0.5 * np.pi * h) ** 2 * t)


reference = {"t": 0.06, "y": exact(0.06, SMALL), "source": "closed form: the first mode of the grid"}


def solve(theta, t_eval=times, size=SMALL, method="KenCarp4", **options):
    """Temperatures at ``t_eval``."""
    k = conductivity(theta["bumps"], size)
    return ds.solve_ivp(rhs, (0.0, t_eval[-1]), theta["heat"] * start(size), method, t_eval, args=(k,), **options)


def loss(theta, **options):
    """Mean square of the temperature, weighted to one corner."""
    size = options.get("size", SMALL)
    x, z = grid(size)
    return np.mean((solve(theta, **options).y * (1.0 + x + 2.0 * z).reshape(-1, 1)) ** 2)


def draw(path):
    """A plate that conducts better on one side: conductivity, temperature, and the loss's gradient by each point's conductivity."""
    bumps = np.array([0.8, 0.0, 0.6, 0.0])
    k = conductivity(bumps, WHOLE)

    def mean(k):
        y = ds.solve_ivp(rhs, (0.0, 0.05), start(WHOLE), "RK4", np.array([0.05]), args=(k,), first_step=1.2e-5).y
        return np.mean(y[:, -1])

    slope = ds.grad(mean)(k)
    final = solve({"bumps": bumps, "heat": 1.0}, np.array([0.05]), WHOLE, "RK4", first_step=1.2e-5).y[:, -1]
    u = final.reshape(WHOLE, WHOLE)
    figure = Figure(figsize=(9.6, 3.2), layout="constrained")
    fields = ("conductivity k", k, "cividis"), ("temperature at t = 0.05", u, "inferno"), ("d mean temperature / d k", slope, "RdBu_r")
    for axes, (title, field, colours) in zip(figure.subplots(1, 3), fields, strict=True):
        limit = np.max(np.abs(field))
        limits = {"vmin": -limit, "vmax": limit} if field is slope else {}
        image = axes.imshow(field.T, origin="lower", extent=(0, 1, 0, 1), cmap=colours, **limits)
        axes.set(title=title, xlabel="x", ylabel="y")
        figure.colorbar(image, ax=axes, shrink=0.85)
    figure.savefig(path, dpi=150)


def main(arguments=None):
    """Solve, compare with the closed form, differentiate, draw."""
    parser = argparse.ArgumentParser(description="Heat in a plate whose conductivity varies.")
    parser.add_argument("--plot", default="heat.png", metavar="PATH", help="where to write the picture (default: %(default)s)")
    path = Path(parser.parse_args(arguments).plot)
    for tolerance in (1e-4, 1e-6, 1e-8):
        sol = solve(theta0, np.array([0.06]), WHOLE // 2, rtol=tolerance, atol=tolerance)
        error = np.max(np.abs(sol.y[:, -1] - exact(0.06, WHOLE // 2)))
        print(f"tolerance {tolerance:.0e}: {sol.accepted:4} steps, error {error:.1e}")
    gradient = ds.grad(loss)(theta0)
    print("\nGradient of the loss by the four waves:", gradient["bumps"])
    draw(path)
    print(f"Picture: {path.resolve()}")


if __name__ == "__main__":
    main()

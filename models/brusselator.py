"""The Brusselator with diffusion on a line: waves of a chemical oscillator, 2 N stiff equations with a band of five diagonals.

    u' = a + u^2 v - (b + 1) u + d u_xx        v' = b u - u^2 v + d v_xx        u = a, v = b / a at both ends

Source: Hairer & Wanner, Solving Ordinary Differential Equations II, IV.1 and IV.10 (BRUSS).

Run it: ``python models/brusselator.py [--plot PATH]``.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import diffsim as ds

SMALL, WHOLE = 12, 64
times = np.linspace(0.5, 5.0, 10)
theta0 = {"a": 1.0, "b": 3.0, "d": 0.02}
#: With 64 points; by two other codes, which agree to the digits given.
reference = {
    "t": 10.0,
    "points": np.array([16, 32, 48]),
    "u": np.array([0.53105354276, 0.42993412038, 0.51745558722]),
    "v": np.array([3.58046381572, 3.68803458793, 3.60824747951]),
    "source": "scipy.integrate's Radau and LSODA at tolerance 1e-13 and 1e-12",
}


def rhs(t, y, a, b, d):
    """Rates of change of u and v, one after the other at each point."""
    u, v = y[0::2], y[1::2]
    stiffness = d * (u.shape[0] + 1) ** 2
    ends_u, ends_v = np.stack([a]), np.stack([b / a])
    spread_u = np.concatenate([ends_u, u[:-1]]) - 2.0 * u + np.concatenate([u[1:], ends_u])
    spread_v = np.concatenate([ends_v, v[:-1]]) - 2.0 * v + np.concatenate([v[1:], ends_v])
    made = u**2 * v
    return np.stack([a + made - (b + 1.0) * u + stiffness * spread_u, b * u - made + stiffness * spread_v], axis=1).reshape(-1)


def start(size):
    """u = 1 + sin(2 pi x), v = 3."""
    x = np.arange(1, size + 1) / (size + 1)
    return np.stack([1.0 + np.sin(2.0 * np.pi * x), np.full(size, 3.0)], axis=1).reshape(-1)


def solve(theta, t_eval=times, size=SMALL, method="Rodas5P", **options):
    """u and v at ``t_eval``."""
    args = theta["a"], theta["b"], theta["d"]
    return ds.solve_ivp(rhs, (0.0, t_eval[-1]), start(size), method, t_eval, args=args, **options)


def loss(theta, **options):
    """Mean square of u."""
    return np.mean(solve(theta, **options).y[0::2] ** 2)


def draw(path):
    """u over place and time."""
    t = np.linspace(0.0, 20.0, 300)
    u = solve(theta0, t, WHOLE).y[0::2]
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(u, aspect="auto", origin="lower", extent=(0.0, 20.0, 0.0, 1.0), cmap="viridis", interpolation="bilinear")
    axes.set(xlabel="time", ylabel="place x")
    figure.colorbar(image, label="u")
    figure.savefig(path, dpi=150)


def main(arguments=None):
    """Solve with 64 points, compare with the reference, differentiate, draw."""
    parser = argparse.ArgumentParser(description="The Brusselator with diffusion on a line.")
    parser.add_argument("--plot", default="brusselator.png", metavar="PATH", help="where to write the picture (default: %(default)s)")
    path = Path(parser.parse_args(arguments).plot)
    y = solve(theta0, np.array([reference["t"]]), WHOLE, rtol=1e-10, atol=1e-10).y[:, -1]
    print(f"{'t = 10':14}{'u':>18}{'reference':>18}{'v':>18}{'reference':>18}")
    for point, u, v in zip(reference["points"], reference["u"], reference["v"], strict=True):
        print(f"point {point:<8}{y[2 * point - 2]:18.10f}{u:18.10f}{y[2 * point - 1]:18.10f}{v:18.10f}")
    gradient = ds.grad(lambda theta: loss(theta, size=WHOLE))(theta0)
    print("\nGradient of the loss:", {name: float(x) for name, x in gradient.items()})
    draw(path)
    print(f"Picture: {path.resolve()}")


if __name__ == "__main__":
    main()

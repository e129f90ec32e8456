"""Medical Akzo: how a radioactively labelled antibody enters tissue that a tumour has affected, and reacts there.

A reaction-diffusion equation on a half-line, mapped to (0, 1) and discretised with ``size`` points: 400 equations for 200 points, with a
band of five diagonals. What flows in stops at t = 5: the solution is computed up to there and on from there. A problem of the test set for
initial value solvers. Source: R. van der Hout, Akzo Nobel Central Research (1994); the test set's description.

Run it: ``python models/medical_akzo.py [--plot PATH]``.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import diffsim as ds

STOPS = 5.0
SMALL, WHOLE = 20, 200
times = np.linspace(0.5, 4.5, 9)
theta0 = {"k": 100.0, "c": 4.0, "inflow": 2.0}
reference = {
    "t": 20.0,
    "points": np.array([40, 75, 100, 120]),
    "labelled": np.array([0.2339942217046434e-3, 0.3595616017506735e-3, 0.11737412926802e-3, 0.68600948191191e-11]),
    "source": "Mazzia & Magherini, Test Set for IVP Solvers, release 2.4 (2008), problem MEDICAL AKZO NOBEL",
}


def rhs(t, y, k, c, inflow):
    """Rates of change of antibody and substrate, one after the other at each point."""
    size = y.shape[0] // 2
    antibody, substrate = y[0::2], y[1::2]
    step = 1.0 / size
    z = step * np.arange(1, size + 1) - 1.0
    left = np.concatenate([np.stack([inflow]), antibody[:-1]])
    right = np.concatenate([antibody[1:], antibody[-1:]])
    transport = 2.0 * z**3 / c**2 * (right - left) / (2.0 * step) + z**4 / c**2 * (left - 2.0 * antibody + right) / step**2
    reaction = k * antibody * substrate
    return np.stack([transport - reaction, -reaction], axis=1).reshape(-1)


def start(size):
    """No antibody, substrate everywhere."""
    return np.tile([0.0, 1.0], size)


def solve(theta, t_eval=times, size=SMALL, method="Rodas5P", **options):
    """Antibody and substrate at ``t_eval``, all before or all after the inflow stops."""
    def part(span, y0, at, inflow):
        return ds.solve_ivp(rhs, span, y0, method, at, args=(theta["k"], theta["c"], inflow), **options)

    if t_eval[-1] <= STOPS:
        return part((0.0, t_eval[-1]), start(size), t_eval, theta["inflow"])
    stopped = part((0.0, STOPS), start(size), np.array([STOPS]), theta["inflow"])
    return part((STOPS, t_eval[-1]), stopped.y[:, -1], t_eval, 0.0)


def loss(theta, **options):
    """Mean square of the antibody."""
    return np.mean(solve(theta, **options).y[0::2] ** 2)


def draw(path):
    """Antibody and substrate over depth, at four times."""
    figure = Figure(figsize=(8.0, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True)
    z = np.arange(1, WHOLE + 1) / WHOLE
    for t, colour in ((1.0, "#56B4E9"), (5.0, "#0072B2"), (10.0, "#E69F00"), (20.0, "#D55E00")):
        y = solve(theta0, np.array([t]), WHOLE, rtol=1e-6, atol=1e-9).y[:, -1]
        for axes, line in zip(panels, (y[0::2], y[1::2]), strict=True):
            axes.plot(z, line, color=colour, label=f"t = {t:g}")
    panels[0].set(xlabel="depth (mapped)", ylabel="antibody", xlim=(0.0, 0.8))
    panels[1].set(xlabel="depth (mapped)", ylabel="substrate")
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    panels[1].legend(frameon=False)
    figure.savefig(path, dpi=150)


def main(arguments=None):
    """Solve with 200 points, compare with the reference, differentiate, draw."""
    parser = argparse.ArgumentParser(description="Medical Akzo: an antibody enters tissue.")
    parser.add_argument("--plot", default="medical_akzo.png", metavar="PATH", help="where to write the picture (default: %(default)s)")
    path = Path(parser.parse_args(arguments).plot)
    y = solve(theta0, np.array([reference["t"]]), WHOLE, rtol=1e-9, atol=1e-13).y[:, -1]
    print(f"{'antibody at':14}{'computed':>22}{'reference':>22}")
    for point, known in zip(reference["points"], reference["labelled"], strict=True):
        print(f"point {point:<8}{y[2 * point - 2]:22.12e}{known:22.12e}")
    gradient = ds.grad(lambda theta: loss(theta, size=WHOLE))(theta0)
    print("\nGradient of the loss:", {name: float(x) for name, x in gradient.items()})
    draw(path)
    print(f"Picture: {path.resolve()}")


if __name__ == "__main__":
    main()

"""A transistor amplifier: two stages lift a signal of 0.1 V, and the eight voltages obey a differential-algebraic equation of index one.

M y' = f(t, y): capacitors couple neighbouring nodes, so that M is singular without a row of zeros; three combinations of the equations hold
at every moment. A problem of the test set for initial value solvers. Source: Rentrop, Roche & Steinebach, Numer. Math. 55 (1989) 545-563;
Hairer, Lubich & Roche, The Numerical Solution of Differential-Algebraic Systems by Runge-Kutta Methods (1989).

Run it: ``python models/transistor.py [--plot PATH]``.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import diffsim as ds

times = np.linspace(0.0025, 0.05, 20)
theta0 = {"gain": 0.99, "signal": 0.1, "supply": 6.0, "resistance": 9e3}
capacities = 1e-6 * np.arange(1.0, 6.0)
reference = {
    "t": 0.2,
    "y": np.array([-0.5562145012262709e-2, 0.3006522471903042e1, 0.2849958788608128e1, 0.2926422536206241e1, 0.2704617865010554e1,
                   0.2761837778393145e1, 0.4770927631616772e1, 0.1236995868091548e1]),
    "source": "Mazzia & Magherini, Test Set for IVP Solvers, release 2.4 (2008), problem TRANSISTOR AMPLIFIER",
}


def mass():
    """Capacities between the nodes, shape (8, 8) [F]."""
    m = np.diag(-capacities[[0, 0, 1, 2, 2, 3, 4, 4]])
    for i, c in ((0, 0), (3, 2), (6, 4)):
        m[i, i + 1] = m[i + 1, i] = capacities[c]
    return m


def current(voltage):
    """Through a transistor [A]."""
    return 1e-6 * (np.exp(voltage / 0.026) - 1.0)


def rhs(t, y, gain, signal, supply, resistance):
    """Currents into the eight nodes [A]."""
    first, second = current(y[1] - y[2]), current(y[4] - y[5])
    lost, pushed = (1.0 - gain), signal * np.sin(200.0 * np.pi * t)
    return np.array([
        (y[0] - pushed) / 1e3,
        (2.0 * y[1] - supply) / resistance + lost * first,
        y[2] / resistance - first,
        (y[3] - supply) / resistance + gain * first,
        (2.0 * y[4] - supply) / resistance + lost * second,
        y[5] / resistance - second,
        (y[6] - supply) / resistance + gain * second,
        y[7] / resistance,
    ])  # fmt: skip


def start(supply):
    """Voltages before the signal comes [V]."""
    return supply * np.array([0.0, 0.5, 0.5, 1.0, 0.5, 0.5, 1.0, 0.0])


def solve(theta, t_eval=times, method="Rodas5P", **options):
    """The voltages at ``t_eval``."""
    args = tuple(theta[name] for name in ("gain", "signal", "supply", "resistance"))
    return ds.solve_ivp(rhs, (0.0, t_eval[-1]), start(theta["supply"]), method, t_eval, args=args, mass=mass(), **options)


def loss(theta, **options):
    """Mean square of what comes out [V^2]."""
    return np.mean(solve(theta, **options).y[7] ** 2)


def draw(path):
    """The signal, and what the amplifier makes of it."""
    t = np.linspace(0.0, 0.1, 1200)
    y = solve(theta0, t, rtol=1e-7).y
    figure = Figure(figsize=(6.8, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(1e3 * t, y[7], color="#0072B2", label="out")
    axes.plot(1e3 * t, y[3], color="#999999", lw=1.0, label="between the stages")
    axes.plot(1e3 * t, theta0["signal"] * np.sin(200.0 * np.pi * t), color="#D55E00", label="in")
    axes.set(xlabel="time [ms]", ylabel="voltage [V]", xlim=(0.0, 100.0))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(path, dpi=150)


def main(arguments=None):
    """Solve, compare with the reference, differentiate, draw."""
    parser = argparse.ArgumentParser(description="A transistor amplifier: a differential-algebraic equation.")
    parser.add_argument("--plot", default="transistor.png", metavar="PATH", help="where to write the picture (default: %(default)s)")
    path = Path(parser.parse_args(arguments).plot)
    y = solve(theta0, np.array([reference["t"]]), rtol=1e-9, atol=1e-9).y[:, -1]
    print(f"{'t = 0.2 s':10}{'computed':>22}{'reference':>22}")
    for node, (x, known) in enumerate(zip(y, reference["y"], strict=True), 1):
        print(f"node {node:<5}{x:22.12e}{known:22.12e}")
    gradient = ds.grad(lambda theta: loss(theta, rtol=1e-8))(theta0)
    print("\nGradient of the loss:", {name: float(x) for name, x in gradient.items()})
    draw(path)
    print(f"Picture: {path.resolve()}")


if __name__ == "__main__":
    main()

"""Robertson's three reactions, A -> B, 2 B -> B + C, B + C -> A + C: rates that differ by nine powers of ten, over eleven of time.

The stiffest of the small problems of the test set for initial value solvers. Source: Robertson in Walsh (ed.), Numerical Analysis, an
Introduction (1966) 178-182; sensitivities: the example cvsRoberts_FSA_dns of SUNDIALS.

Run it: ``python models/robertson.py [--plot PATH]``.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import diffsim as ds

times = np.array([0.4, 4.0, 40.0, 400.0, 4000.0, 4e4])
start = np.array([1.0, 0.0, 0.0])
theta0 = {"rates": np.array([0.04, 1e4, 3e7])}
reference = {
    "t": 1e11,
    "y": np.array([2.083340149701255e-8, 8.333360770334713e-14, 0.9999999791665050]),
    "source": "Mazzia & Magherini, Test Set for IVP Solvers, release 2.4 (2008), problem ROBER",
}
#: State, and its derivatives by the three rates, at t = 40: eleven digits, by two methods at two tolerances each.
sensitivities = {
    "t": 40.0,
    "y": np.array([7.158270687194e-1, 9.185534764558e-6, 2.841637457458e-1]),
    "by_rates": np.array([[-4.2475587717, 4.5911962493e-5, 4.2475128597], [1.3730807973e-5, -2.3571921138e-10, -1.3730572254e-5],
                          [-2.2883550889e-9, -1.1380595094e-13, 2.2884688949e-9]]).T,
}


def rhs(t, y, k):
    """Rates of change of the three concentrations."""
    a, b, c = y
    first, back, second = k[0] * a, k[1] * b * c, k[2] * b * b
    return np.array([back - first, first - back - second, second])


def solve(theta, t_eval=times, method="Rodas5P", atol=1e-10, **options):
    """Concentrations at ``t_eval``."""
    return ds.solve_ivp(rhs, (0.0, t_eval[-1]), start, method, t_eval, args=(theta["rates"],), atol=atol, **options)


def loss(theta, **options):
    """Sum of the squares of the logarithms of the concentrations."""
    return np.sum(np.log(solve(theta, **options).y) ** 2)


def draw(path):
    """Concentrations over the logarithm of time, and what a percent of each rate changes."""
    t = np.geomspace(1e-6, 1e11, 400)

    def scaled(logs):
        return solve({"rates": theta0["rates"] * np.exp(logs)}, t, rtol=1e-8, atol=1e-14).y

    y, slopes = scaled(np.zeros(3)), ds.jacfwd(scaled)(np.zeros(3))
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for line, label, colour in zip(y, ("A", "10^4 B", "C"), ("#0072B2", "#D55E00", "#009E73"), strict=True):
        left.semilogx(t, line * (1e4 if "B" in label else 1.0), label=label, color=colour)
    for i, (colour, name) in enumerate(zip(("#0072B2", "#D55E00", "#009E73"), ("k1", "k2", "k3"), strict=True)):
        right.semilogx(t, slopes[0, :, i], color=colour, label=f"d A / d log {name}")
    left.set(xlabel="time", ylabel="concentration")
    right.set(xlabel="time", ylabel="sensitivity of A")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def main(arguments=None):
    """Solve, compare with the references, draw."""
    parser = argparse.ArgumentParser(description="Robertson's reactions: solution and sensitivities.")
    parser.add_argument("--plot", default="robertson.png", metavar="PATH", help="where to write the picture (default: %(default)s)")
    path = Path(parser.parse_args(arguments).plot)
    y = solve(theta0, np.array([reference["t"]]), rtol=1e-10, atol=1e-20).y[:, -1]
    print(f"{'t = 1e11':10}{'computed':>24}{'reference':>24}")
    for name, x, known in zip("ABC", y, reference["y"], strict=True):
        print(f"{name:10}{x:24.15e}{known:24.15e}")
    at = np.array([sensitivities["t"]])
    jacobian = ds.jacobian(lambda rates: solve({"rates": rates}, at, rtol=1e-10, atol=1e-14).y[:, -1])(theta0["rates"])
    print(f"\n{'t = 40':10}{'computed':>24}{'reference':>24}")
    for i, name in enumerate("ABC"):
        for j in range(3):
            print(f"d{name}/dk{j + 1:<6}{jacobian[i, j]:24.10e}{sensitivities['by_rates'][i, j]:24.10e}")
    draw(path)
    print(f"\nPicture: {path.resolve()}")


if __name__ == "__main__":
    main()

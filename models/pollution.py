"""POLLU, the chemistry of air pollution: 25 reactions among 20 species, a stiff problem of the test set for initial value solvers.

Source of the equations: Verwer, SIAM J. Sci. Comput. 15 (1994) 1243-1250.

Run it: ``python models/pollution.py [--plot PATH]``.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import diffsim as ds

#: Each reaction: what it takes and what it makes, by the species' numbers from 1 on.
REACTIONS = (
    ((1,), (2, 3)), ((2, 4), (1,)), ((5, 2), (6, 1)), ((7,), (5, 5, 8)), ((7,), (8,)), ((7, 6), (8, 5)), ((9,), (10, 5, 8)),
    ((9, 6), (11,)), ((11, 2), (1, 10, 12)), ((11, 1), (13,)), ((13,), (11, 1)), ((10, 2), (1, 14)), ((14,), (7, 5)), ((1, 6), (15,)),
    ((3,), (4,)), ((4,), (16,)), ((4,), (3,)), ((16,), (6, 6)), ((16,), (3,)), ((17, 6), (18, 5)), ((19,), (2,)), ((19,), (1, 3)),
    ((1, 4), (19,)), ((19, 1), (20,)), ((20,), (1, 19)),
)  # fmt: skip
times = np.linspace(0.0, 60.0, 13)                         # min
start = np.zeros(20)                                       # ppm
start[[1, 3, 6, 7, 8, 16]] = 0.2, 0.04, 0.1, 0.3, 0.01, 0.007
theta0 = {
    "rates": np.array([0.35, 26.6, 1.23e4, 8.6e-4, 8.2e-4, 1.5e4, 1.3e-4, 2.4e4, 1.65e4, 9e3, 0.022, 1.2e4, 1.88, 1.63e4, 4.8e6, 3.5e-4,
                       0.0175, 1e8, 4.44e11, 1240.0, 2.1, 5.78, 0.0474, 1780.0, 3.12]),
}
reference = {
    "t": 60.0,
    "y": np.array([0.5646255480022769e-1, 0.1342484130422339, 0.4139734331099427e-8, 0.5523140207484359e-2, 0.2018977262302196e-6,
                   0.1464541863493966e-6, 0.7784249118997964e-1, 0.3245075353396018, 0.7494013383880406e-2, 0.1622293157301561e-7,
                   0.1135863833257075e-7, 0.2230505975721359e-2, 0.2087162882798630e-3, 0.1396921016840158e-4, 0.8964884856898295e-2,
                   0.4352846369330103e-17, 0.6899219696263405e-2, 0.1007803037365946e-3, 0.1772146513969984e-5, 0.5682943292316392e-4]),
    "source": "Mazzia & Magherini, Test Set for IVP Solvers, release 2.4 (2008), problem POLLUTION",
}


def stoichiometry():
    """Molecules of each species that each reaction makes, less those it takes, shape (20, 25)."""
    table = np.zeros((20, len(REACTIONS)))
    for j, (taken, made) in enumerate(REACTIONS):
        for species in taken:
            table[species - 1, j] -= 1.0
        for species in made:
            table[species - 1, j] += 1.0
    return table


FIRST = np.array([taken[0] - 1 for taken, _ in REACTIONS])
SECOND = np.array([taken[1] - 1 if len(taken) > 1 else 20 for taken, _ in REACTIONS])     # number 20 stands for none
TABLE = stoichiometry()


def rhs(t, y, k):
    """Rates of change of the concentrations, ppm/min."""
    partners = np.concatenate([y, np.ones(1)])
    return TABLE @ (k * y[FIRST] * partners[SECOND])


def solve(theta, t_eval=times, method="Rodas5P", **options):
    """Concentrations at ``t_eval``, ppm."""
    return ds.solve_ivp(rhs, (0.0, t_eval[-1]), start, method, t_eval, args=(theta["rates"],), **options)


def loss(theta, **options):
    """Mean of the squared concentrations of ozone, nitrogen monoxide and dioxide, in units of their sizes."""
    y = solve(theta, **options).y
    return np.mean((y[3] / 0.005) ** 2 + (y[1] / 0.1) ** 2 + (y[0] / 0.05) ** 2)


def draw(path):
    """Six of the concentrations over time."""
    t = np.linspace(0.0, 60.0, 301)
    y = solve(theta0, t, rtol=1e-8, atol=1e-14).y
    figure = Figure(figsize=(6.8, 4.0), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True)
    shown = ((0, "NO$_2$", -2), (1, "NO", -2), (3, "O$_3$", -2), (4, "HO$_2$", -7), (5, "OH", -7), (10, "C$_2$O$_3$", -8))
    for axes, (i, name, power) in zip(panels.flat, shown, strict=True):
        axes.plot(t, y[i] / 10.0**power, color="#0072B2")
        axes.set_title(f"{name}  [$10^{{{power}}}$ ppm]", fontsize="medium", loc="left")
        axes.set(xlim=(-1.5, 60.0), ylim=(0.0, None))
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("time [min]", fontsize="medium")
    figure.savefig(path, dpi=150)


def main(arguments=None):
    """Solve, compare with the reference, differentiate, draw."""
    parser = argparse.ArgumentParser(description="Air pollution: 20 species, and how three of them depend on 25 rates.")
    parser.add_argument("--plot", default="pollution.png", metavar="PATH", help="where to write the picture (default: %(default)s)")
    path = Path(parser.parse_args(arguments).plot)
    y = solve(theta0, np.array([reference["t"]]), rtol=1e-10, atol=1e-18).y[:, -1]
    print(f"{'species':>8}{'computed':>22}{'reference':>22}")
    for i, (x, known) in enumerate(zip(y, reference["y"], strict=True)):
        print(f"{i + 1:8}{x:22.14e}{known:22.14e}")
    gradient = ds.grad(lambda theta: loss(theta, rtol=1e-8, atol=1e-14))(theta0)
    weight = theta0["rates"] * gradient["rates"]
    order = np.argsort(-np.abs(weight))[:5]
    print("\nThe rates that matter most (d loss / d log k):", ", ".join(f"k{i + 1}: {weight[i]:.4f}" for i in order))
    draw(path)
    print(f"Picture: {path.resolve()}")


if __name__ == "__main__":
    main()

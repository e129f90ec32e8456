"""Van der Pol's oscillator, x'' = mu (1 - x^2) x' - x: the period of its limit cycle and how it changes with mu.

The cycle crosses x = 0 upwards with a speed s and does so again after the period T: x(T) = 0, x'(T) = s for a start at (0, s).  Newton's
method takes the derivatives of these two equations from the solver, the end of the time span included; the implicit function theorem
then gives dT/dmu.

Run it: ``python models/van_der_pol.py [--plot PATH]``.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import diffsim as ds

times = np.linspace(0.5, 10.0, 20)
theta0 = {"mu": 1.2, "start": np.array([2.0, 0.0])}
COLOURS = ("#56B4E9", "#0072B2", "#009E73", "#D55E00", "#000000")


def rhs(t, y, mu):
    """Velocity and acceleration."""
    x, v = y
    return np.array([v, mu * (1.0 - x**2) * v - x])


def solve(theta, **options):
    """Position and velocity at ``times``."""
    return ds.solve_ivp(rhs, (0.0, times[-1]), theta["start"], t_eval=times, args=(theta["mu"],), **options)


def loss(theta, **options):
    """Mean square of the position."""
    return np.mean(solve(theta, **options).y[0] ** 2)


def closure(unknowns, mu):
    """How far from (0, s) the motion is after one turn: zero for the speed s and the period T of the limit cycle."""
    speed, period = unknowns
    start = np.array([0.0, speed])
    sol = ds.solve_ivp(rhs, (0.0, period), start, t_eval=np.stack([period]), args=(mu,), rtol=1e-11, atol=1e-12)
    return sol.y[:, -1] - start


def limit_cycle(mu, guess=(2.0, 2.0 * np.pi)):
    """Speed at x = 0 and period, and the derivatives of the two by mu: two arrays (2,).

    Raises
    ------
    RuntimeError
        Newton's method did not converge from the guess.
    """
    by_unknowns, by_mu = ds.jit(ds.jacobian(closure)), ds.jit(ds.jacobian(closure, 1))
    unknowns = np.array(guess)
    for _ in range(20):
        step = np.linalg.solve(by_unknowns(unknowns, mu), -closure(unknowns, mu))
        unknowns = unknowns + step
        if np.max(np.abs(step)) < 1e-10:
            return unknowns, np.linalg.solve(by_unknowns(unknowns, mu), -by_mu(unknowns, mu))
    raise RuntimeError(f"no limit cycle found for mu = {mu} from speed {guess[0]} and period {guess[1]}")


def draw(path, cycles):
    """The limit cycles in the phase plane, and x over one turn."""
    figure = Figure(figsize=(8.0, 3.9), layout="constrained")
    plane, wave = figure.subplots(1, 2)
    for (mu, ((speed, period), _)), colour in zip(cycles.items(), COLOURS, strict=True):
        t = np.linspace(0.0, period, 300)
        y = ds.solve_ivp(rhs, (0.0, period), np.array([0.0, speed]), t_eval=t, args=(mu,)).y
        plane.plot(*y, color=colour, label=f"mu = {mu:g}, T = {period:.4f}")
        wave.plot(t, y[0], color=colour)
    plane.set(xlabel="position x", ylabel="velocity x'", title="limit cycles")
    wave.set(xlabel="time", ylabel="position x", title="one turn")
    for axes in (plane, wave):
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*plane.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)


def main(arguments=None):
    """Periods of the limit cycle, their derivatives, and the picture."""
    parser = argparse.ArgumentParser(description="Period of van der Pol's limit cycle and its derivative by mu.")
    parser.add_argument("--plot", default="van_der_pol.png", metavar="PATH", help="where to write the picture (default: %(default)s)")
    path = Path(parser.parse_args(arguments).plot)
    cycles, mu, unknowns, slopes = {}, 0.0, np.array([2.0, 2.0 * np.pi]), np.zeros(2)       # the cycle for mu = 0 is a circle
    print(f"{'mu':>6}{'speed at 0':>14}{'period':>14}{'d period/d mu':>16}")
    for following in (0.1, 0.5, 1.0, 1.5, 2.0):
        guess = unknowns + (following - mu) * slopes       # along the tangent from the cycle before
        mu = following
        unknowns, slopes = cycles[mu] = limit_cycle(mu, guess)
        print(f"{mu:6.2f}{unknowns[0]:14.8f}{unknowns[1]:14.8f}{slopes[1]:16.8f}")
    draw(path, cycles)
    print(f"\nPicture: {path.resolve()}")
    return cycles


if __name__ == "__main__":
    main()

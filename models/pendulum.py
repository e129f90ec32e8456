"""A pendulum with a large swing, angle'' = -(g / L) sin(angle): gravity measured from a noisy record of the angle.

Run it: ``python models/pendulum.py [--plot PATH]``.
"""

import argparse
from collections import namedtuple
from pathlib import Path

import numpy as np
from scipy.special import ellipj, ellipk

import diffsim as ds
from diffsim.fit import Dataset, Model, Normal, Parameter, fit

LENGTH = 0.75                                              # m
TRUE_G, TRUE_ANGLE, NOISE = 9.81, 1.6, 0.02                # m/s^2, rad, rad
times = np.linspace(0.0, 6.0, 61)                          # s

Setting = namedtuple("Setting", "g")
theta0 = {"setting": Setting(g=9.0), "start": np.array([1.5, 0.0])}


def rhs(t, y, p):
    """Angular velocity and acceleration, rad/s and rad/s^2."""
    angle, speed = y
    return np.array([speed, -(p.g / LENGTH) * np.sin(angle)])


def solve(theta, t_eval=times, **options):
    """Angle and angular velocity at ``t_eval``."""
    return ds.solve_ivp(rhs, (times[0], t_eval[-1]), theta["start"], t_eval=t_eval, args=(theta["setting"],), **options)


def energy(y, g):
    """Energy for unit mass, J/kg; the pendulum keeps it."""
    return 0.5 * (LENGTH * y[1]) ** 2 + g * LENGTH * (1.0 - np.cos(y[0]))


def exact_angle(t, g, angle0):
    """Angle of a pendulum let go at rest, 2 arcsin(k cd(t sqrt(g / L), k)) with k = sin(angle0 / 2).

    Source: NIST Digital Library of Mathematical Functions, section 22.19(i).
    """
    k = np.sin(angle0 / 2.0)
    _, cn, dn, _ = ellipj(t * np.sqrt(g / LENGTH), k**2)
    return 2.0 * np.arcsin(k * cn / dn)


def exact_period(g, angle0):
    """Period of a full swing, 4 sqrt(L / g) K(k)."""
    return 4.0 * np.sqrt(LENGTH / g) * ellipk(np.sin(angle0 / 2.0) ** 2)


def record(seed=20):
    """A record of the angle with normal noise."""
    angle = exact_angle(times, TRUE_G, TRUE_ANGLE)
    noisy = angle + NOISE * np.random.default_rng(seed).standard_normal(times.size)
    return Dataset(times, {"angle": noisy}, time_name="time", units={"time": "s", "angle": "rad"})


data = record()


def loss(theta, **options):
    """Sum of squared differences between model and record."""
    return np.sum((solve(theta, **options).y[0] - data["angle"]) ** 2)


model = Model(
    rhs,
    states=("angle", "speed"),
    parameters=[Parameter("g", 9.0, lower=1.0, upper=30.0, unit="m/s^2"), Parameter("angle0", 1.5, lower=0.0, upper=3.1, unit="rad")],
    initial={"angle": "angle0", "speed": 0.0},
)


def main(arguments=None):
    """Fit gravity and the first angle, print the report, draw the picture."""
    parser = argparse.ArgumentParser(description="Gravity from a noisy record of a pendulum.")
    parser.add_argument("--plot", default="pendulum.png", metavar="PATH", help="where to write the picture (default: %(default)s)")
    path = Path(parser.parse_args(arguments).plot)
    result = fit(model, data, noise=Normal())
    print(result.summary())
    print(f"\nThe record was made with g = {TRUE_G} m/s^2, first angle {TRUE_ANGLE} rad and noise {NOISE} rad.")
    result.plot().savefig(path, dpi=150)
    print(f"Picture: {path.resolve()}")
    return result


if __name__ == "__main__":
    main()

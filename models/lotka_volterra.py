"""Hare and lynx: the predator-prey equations of Lotka and Volterra fitted to the pelts of the Hudson's Bay Company, 1900 to 1920.

    hare' = a hare - b hare lynx
    lynx' = d hare lynx - c lynx

Run it: ``python models/lotka_volterra.py [--plot PATH]``.
"""

import argparse
from collections import namedtuple
from pathlib import Path

import numpy as np

import diffsim as ds
from diffsim.fit import Dataset, LogNormal, Model, Parameter, fit

PELTS = Path(__file__).parent / "data" / "hudson_lynx_hare.csv"
data = Dataset.from_csv(PELTS, time="year", units={"hare": "thousand pelts", "lynx": "thousand pelts"})

Rates = namedtuple("Rates", "a b c d")
theta0 = {"rates": Rates(a=0.5, b=0.03, c=0.8, d=0.03), "start": np.array([30.0, 4.0])}


def rhs(t, y, p):
    """Rate of change of hare and lynx, thousand pelts a year."""
    hare, lynx = y
    return np.array([p.a * hare - p.b * hare * lynx, p.d * hare * lynx - p.c * lynx])


def solve(theta, **options):
    """Hare and lynx in the years of the data."""
    return ds.solve_ivp(rhs, (data.t[0], data.t[-1]), theta["start"], t_eval=data.t, args=(theta["rates"],), **options)


def loss(theta, **options):
    """Sum of squared differences of the logarithms of model and data."""
    return np.sum((np.log(solve(theta, **options).y) - np.log(data.values.T)) ** 2)


model = Model(
    rhs,
    states=("hare", "lynx"),
    parameters=[
        Parameter("a", 0.5, scale="log", unit="1/year"),
        Parameter("b", 0.03, scale="log", unit="1/(year thousand)"),
        Parameter("c", 0.8, scale="log", unit="1/year"),
        Parameter("d", 0.03, scale="log", unit="1/(year thousand)"),
        Parameter("hare0", 30.0, scale="log", unit="thousand"),
        Parameter("lynx0", 4.0, scale="log", unit="thousand"),
    ],
)


def main(arguments=None):
    """Fit, print the report, draw the picture."""
    parser = argparse.ArgumentParser(description="Fit the predator-prey equations to the hare and lynx pelts of 1900 to 1920.")
    parser.add_argument("--plot", default="lotka_volterra.png", metavar="PATH", help="where to write the picture (default: %(default)s)")
    path = Path(parser.parse_args(arguments).plot)
    result = fit(model, data, noise=LogNormal())
    print(result.summary())
    result.plot().savefig(path, dpi=150)
    print(f"\nPicture: {path.resolve()}")
    return result


if __name__ == "__main__":
    main()

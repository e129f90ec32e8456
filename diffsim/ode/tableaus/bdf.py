"""Numerical differentiation formulas of orders 1 to 5 as exact numbers: backward differences with less error than BDF."""

import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from .numbers import floats, numbers


@dataclass(frozen=True)
class Ndf:
    """A family of multistep formulas in backward differences, of which a solve chooses one for each step.

    With differences D_0 = y_n, D_1 = y_n - y_{n-1}, ... at equal steps, order k predicts y' = D_0 + .. + D_k and finds the new state
    y' + d from alpha_k (y' + d) - (alpha_k y' - sum_j gamma_j D_j) = h f, that is d = h f / alpha_k - sum_j gamma_j D_j / alpha_k.

    Parameters
    ----------
    name : str
    kappa : str
        kappa_1, kappa_2, ...: how far each order goes from BDF, 0, to less error and less stability.
    source : str

    Attributes
    ----------
    order : int
        The highest order.
    error_order : int
        Order of the error estimate that a solve starts with.
    fixed, algebraic : bool
        Whether steps are given; whether algebraic equations are kept.
    stages, degree : int
        As many differences, and as high a degree, as the highest order has.
    exact_sums, exact_alpha, exact_errors, exact_dense
        The numbers.
    sums, alpha : ndarray, shape (order + 1,)
        gamma_k = 1 + 1/2 + .. + 1/k, and (1 - kappa_k) gamma_k.
    errors : ndarray, shape (order + 2,)
        The error of order k is errors_k times the difference of order k + 1; the last one is infinite: that order there is not.
    dense : ndarray, shape (order, order)
        Coefficients of x, x^2, ... of x (x + 1) .. (x + j - 1) / j!: D_j's weight in the polynomial through the last states.
    ahead : ndarray, shape (order, order)
        The same from the start of the step on: coefficients of theta = x + 1, and no constant.
    """

    name: str
    kappa: str
    source: str
    order: int = field(init=False)
    error_order: int = field(init=False, default=1)
    kept: int = field(init=False, default=1)
    fixed: bool = field(init=False, default=False)
    algebraic: bool = field(init=False, default=True)

    def __post_init__(self):
        kappa = (Fraction(0), *numbers(self.kappa))
        n = len(kappa) - 1
        sums = [sum((Fraction(1, i) for i in range(1, k + 1)), Fraction(0)) for k in range(n + 1)]
        alpha = [(1 - x) * g for x, g in zip(kappa, sums, strict=True)]
        errors = [x * g + Fraction(1, k + 1) for k, (x, g) in enumerate(zip(kappa, sums, strict=True))]
        rows, row = [], [Fraction(1)]
        for j in range(1, n + 1):
            row = [(x + (j - 1) * y) / j for x, y in zip([0, *row], [*row, 0], strict=True)]
            rows.append((*row[1:], *[Fraction(0)] * (n - j)))
        values = {"exact_sums": tuple(sums), "exact_alpha": tuple(alpha), "exact_errors": tuple(errors), "exact_dense": tuple(rows)}
        values |= {
            "order": n, "stages": n, "degree": n, "sums": floats(sums), "alpha": floats(alpha), "dense": floats(tuple(rows)),
            "errors": np.append(floats(errors), np.inf), "one": floats([1]), "ahead": floats(tuple(map(_ahead, rows))),
        }  # fmt: skip
        for name, value in values.items():
            object.__setattr__(self, name, value)


def _ahead(row):
    """Coefficients of theta, theta^2, ... of a polynomial without constant in x = theta - 1."""
    return tuple(sum((-1) ** (d - i) * math.comb(d, i) * c for d, c in enumerate(row, 1)) for i in range(1, len(row) + 1))


BDF = Ndf(
    name="BDF",
    kappa="-37/200 -1/9 -823/10000 -83/2000 0",
    source="Shampine & Reichelt, SIAM J. Sci. Comput. 18 (1997) 1-22, table 1",
)

"""Rosenbrock methods satisfy the order conditions over rooted trees, to the digits their sources print, and damp stiff components."""

from fractions import Fraction
from operator import attrgetter

import numpy as np
import pytest
from rooted_trees import density, rooted_trees

from diffsim.ode.tableaus.rosenbrock import ROSENBROCK, Rosenbrock

EACH = pytest.mark.parametrize("tableau", ROSENBROCK, ids=attrgetter("name"))
DIGITS = {"Rosenbrock23": Fraction(1, 10**40), "Rodas5P": Fraction(1, 10**12)}
DENSE_ORDER = {"Rosenbrock23": 2, "Rodas5P": 4}


def inverse_lower(matrix):
    """Inverse of a lower triangular matrix."""
    n = len(matrix)
    out = [[Fraction(0)] * n for _ in range(n)]
    for j in range(n):
        for i in range(j, n):
            total = Fraction(int(i == j)) - sum(matrix[i][k] * out[k][j] for k in range(j, i))
            out[i][j] = total / matrix[i][i]
    return out


def product(x, y):
    return [[sum(p * q for p, q in zip(row, column, strict=True)) for column in zip(*y, strict=True)] for row in x]


def gammas(tableau):
    """Gamma = (1 / gamma - c)^-1."""
    n = tableau.stages
    return inverse_lower([[(i == j) / tableau.exact_gamma - tableau.exact_c[i][j] for j in range(n)] for i in range(n)])


def stage_weights(tree, alpha, beta):
    """Phi_i(tau): a vertex with one branch sees alpha + Gamma, one with several alpha alone."""
    result = [Fraction(1)] * len(alpha)
    for branch in tree:
        inner = stage_weights(branch, alpha, beta)
        matrix = beta if len(tree) == 1 else alpha
        result = [x * sum(p * q for p, q in zip(row, inner, strict=True)) for x, row in zip(result, matrix, strict=True)]
    return result


class Classical:
    """A method as the order conditions want it: alpha, beta = alpha + Gamma, and rows of weights times Gamma."""

    def __init__(self, tableau):
        self.gamma = gammas(tableau)
        self.alpha = product(tableau.exact_a, self.gamma)
        self.beta = [[x + y for x, y in zip(*rows, strict=True)] for rows in zip(self.alpha, self.gamma, strict=True)]

    def weights(self, row):
        return product([row], self.gamma)[0]

    def sums(self, row, order):
        """(tree, sum_i w_i Phi_i) for all trees of an order."""
        w = self.weights(row)
        return [(t, sum(p * q for p, q in zip(w, stage_weights(t, self.alpha, self.beta), strict=True))) for t in rooted_trees(order)]


def defects(tableau, row, order):
    return [abs(x - Fraction(1, density(t))) for t, x in Classical(tableau).sums(row, order)]


@EACH
@pytest.mark.parametrize("part", ["propagated", "embedded"])
def test_order_is_exactly_what_is_claimed(tableau, part):
    row, order = tableau.exact_b, tableau.order
    if part == "embedded":
        row, order = [x - y for x, y in zip(tableau.exact_b, tableau.exact_e, strict=True)], tableau.embedded_order
    for n in range(1, order + 1):
        assert max(defects(tableau, row, n)) <= DIGITS[tableau.name], n
    assert max(defects(tableau, row, order + 1)) > Fraction(1, 10**5), "the method is better than it claims"


@EACH
def test_nodes_and_factors_of_the_time_derivative_are_row_sums(tableau):
    method = Classical(tableau)
    for alpha, row in zip(tableau.exact_alpha, method.alpha, strict=True):
        assert abs(alpha - sum(row)) <= DIGITS[tableau.name]
    for d, row in zip(tableau.exact_d, method.gamma, strict=True):
        assert abs(d - sum(row)) <= DIGITS[tableau.name]


@EACH
def test_interpolant_has_its_order_at_every_theta(tableau):
    for n in range(1, DENSE_ORDER[tableau.name] + 1):
        for power in range(1, tableau.degree + 1):
            for tree, total in Classical(tableau).sums([row[power - 1] for row in tableau.exact_dense], n):
                wanted = Fraction(1, density(tree)) if power == n else 0
                assert abs(total - wanted) <= 100 * DIGITS[tableau.name], (tree, power)


@EACH
def test_stiff_components_are_damped(tableau):
    """R(z) = 1 + z b (1 - z beta)^-1 1 is at most 1 on the left half-plane and vanishes at infinity (L-stability)."""
    method = Classical(tableau)
    beta, b = np.array(method.beta, float), np.array(method.weights(tableau.exact_b), float)
    n = tableau.stages

    def growth(z):
        return 1 + z * b @ np.linalg.solve(np.eye(n) - z * beta, np.ones(n))

    for y in np.logspace(-3, 6, 200):
        assert abs(growth(1j * y)) <= 1 + 1e-10
    assert abs(growth(-1e12)) < 1e-8


@pytest.mark.parametrize(
    ("change", "words"),
    [({"d": "1/2 0 0"}, "same number of stages"), ({"a": "1\n1"}, "same number of stages"), ({"dense": "1 1\n1 1"}, "end at")])
def test_rows_that_do_not_fit_together_are_refused(change, words):
    rows = {"a": "1", "c": "-4", "alpha": "0 1", "d": "1/2 -1/2", "b": "3/2 1/2", "e": "1/2 1/2", "dense": "3/2\n1/2"}
    Rosenbrock(name="two", order=1, embedded_order=1, gamma="1/2", source="none", **rows)
    with pytest.raises(ValueError, match=words):
        Rosenbrock(name="two", order=1, embedded_order=1, gamma="1/2", source="none", **{**rows, **change})

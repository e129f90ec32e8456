"""ESDIRK methods satisfy the order conditions over rooted trees, to the digits their sources print, and damp stiff components."""

from fractions import Fraction
from operator import attrgetter

import numpy as np
import pytest
from rooted_trees import density, rooted_trees, stage_weights

from diffsim.ode.tableaus.esdirk import ESDIRK, Esdirk

EACH = pytest.mark.parametrize("tableau", ESDIRK, ids=attrgetter("name"))
DIGITS = {"TRBDF2": Fraction(1, 10**48), "Kvaerno3": Fraction(1, 10**13), "Kvaerno5": Fraction(1, 10**15), "KenCarp4": Fraction(0)}
DENSE_ORDER = {"TRBDF2": 2, "Kvaerno3": 3, "Kvaerno5": 4, "KenCarp4": 4}


def defects(weights, a, order):
    sums = [(t, sum(w * f for w, f in zip(weights, stage_weights(t, a), strict=True))) for t in rooted_trees(order)]
    return [abs(x - Fraction(1, density(t))) for t, x in sums]


@EACH
@pytest.mark.parametrize("part", ["propagated", "embedded"])
def test_order_is_exactly_what_is_claimed(tableau, part):
    weights, order = (tableau.exact_b, tableau.order) if part == "propagated" else (tableau.exact_b_hat, tableau.embedded_order)
    for n in range(1, order + 1):
        assert max(defects(weights, tableau.exact_a, n)) <= DIGITS[tableau.name], n
    assert max(defects(weights, tableau.exact_a, order + 1)) > Fraction(1, 10**4), "the method is better than it claims"


@EACH
def test_interpolant_has_its_order_at_every_theta_and_both_slopes(tableau):
    for n in range(1, DENSE_ORDER[tableau.name] + 1):
        for tree in rooted_trees(n):
            inner = stage_weights(tree, tableau.exact_a)
            for power in range(1, tableau.degree + 1):
                total = sum(row[power - 1] * f for row, f in zip(tableau.exact_dense, inner, strict=True))
                wanted = Fraction(1, density(tree)) if power == n else 0
                assert abs(total - wanted) <= max(10 * DIGITS[tableau.name], Fraction(1, 10**17)), (tree, power)
    assert [sum(row) for row in tableau.exact_dense] == list(tableau.exact_b)
    slopes = [[row[0], sum(d * x for d, x in enumerate(row, 1))] for row in tableau.exact_dense]
    wanted = [[int(i == 0), int(i == tableau.stages)] for i in range(tableau.stages + 1)]
    assert np.max(np.abs(np.array(slopes, float) - wanted)) < 1e-15


@EACH
def test_stiff_components_are_damped(tableau):
    """R(z) = 1 + z b (1 - z a)^-1 1 is at most 1 on the left half-plane and vanishes at infinity (L-stability)."""
    a, b = np.array(tableau.exact_a, float), np.array(tableau.exact_b, float)

    def growth(z, weights):
        return 1 + z * weights @ np.linalg.solve(np.eye(len(b)) - z * a, np.ones(len(b)))

    for y in np.logspace(-3, 6, 200):
        assert abs(growth(1j * y, b)) <= 1 + 1e-9
    assert abs(growth(-1e9, b)) < 1e-6
    embedded = abs(growth(-1e6, np.array(tableau.exact_b_hat, float)))
    assert (embedded > 1) == tableau.filtered, "an estimate that is not bounded must be filtered"


@EACH
def test_the_iteration_starts_on_a_line_through_known_slopes(tableau):
    c = np.array(tableau.exact_c, float)
    np.testing.assert_allclose(tableau.guess[1:].sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose((tableau.guess @ c)[2:], c[2:], rtol=1e-14)
    assert np.all(np.triu(tableau.guess) == 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"b_hat": "1 0 0"}, "same number of stages"), ({"a": "1/2\n1"}, "same number of stages"), ({"dense": "1\n1"}, "end at")])
def test_rows_that_do_not_fit_together_are_refused(change, words):
    rows = {"a": "1/2", "b_hat": "1 0"}
    Esdirk(name="trapezoid", order=2, embedded_order=1, gamma="1/2", source="none", **rows)
    with pytest.raises(ValueError, match=words):
        Esdirk(name="trapezoid", order=2, embedded_order=1, gamma="1/2", source="none", **{**rows, **change})

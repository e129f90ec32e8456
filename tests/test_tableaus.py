"""Tableaus satisfy the order conditions over rooted trees: exactly if the source prints fractions, else to its digits."""

from fractions import Fraction
from operator import attrgetter

import numpy as np
import pytest
from rooted_trees import density, rooted_trees, stage_weights

from diffsim.ode.tableaus import DOP853, EXPLICIT, TSIT5, Tableau

EACH = pytest.mark.parametrize("tableau", EXPLICIT, ids=attrgetter("name"))
DIGITS = {"Tsit5": Fraction(1, 10**13), "DOP853": Fraction(1, 10**24), "Vern7": Fraction(1, 10**32)}
DENSE_ORDER = {"Tsit5": 4, "RK45": 4, "RK23": 3, "DOP853": 7, "Vern7": 6, "RK4": 3, "Euler": 1}
#: The least that the largest defect of the next order amounts to.
NEXT = {"DOP853": Fraction(1, 10**7), "Vern7": Fraction(1, 10**6)}
HEUN = {"name": "Heun", "order": 2, "embedded_order": 1, "c": "0 1", "a": "1", "b": "1/2 1/2", "b_hat": "1 0", "source": "Heun 1900"}


def defects(weights, a, order):
    return [sum(w * f for w, f in zip(weights, stage_weights(t, a), strict=True)) - Fraction(1, density(t)) for t in rooted_trees(order)]


def test_there_are_as_many_rooted_trees_as_cayley_counted():
    assert [len(rooted_trees(n)) for n in range(1, 8)] == [1, 1, 2, 4, 9, 20, 48]


@EACH
@pytest.mark.parametrize("part", ["propagated", "embedded"])
def test_order_is_exactly_what_is_claimed(tableau, part):
    if part == "embedded" and tableau.fixed:
        assert not np.any(tableau.e)
        return
    weights, order = (tableau.exact_b, tableau.order) if part == "propagated" else (tableau.exact_b_hat, tableau.embedded_order)
    for n in range(1, order + 1):
        assert all(abs(defect) <= DIGITS.get(tableau.name, 0) for defect in defects(weights, tableau.exact_a, n)), n
    largest = max(map(abs, defects(weights, tableau.exact_a, order + 1)))
    assert largest > NEXT.get(tableau.name, Fraction(1, 10**4)), "the method is better than it claims"


@EACH
def test_nodes_are_the_row_sums(tableau):
    for c, row in zip(tableau.exact_c, tableau.exact_a, strict=True):
        assert abs(c - sum(row)) <= DIGITS.get(tableau.name, 0)


@EACH
def test_interpolant_has_its_order_at_every_theta(tableau):
    """sum_i b_i(theta) Phi_i(tau) = theta^|tau| / gamma(tau), coefficient by coefficient."""
    order = DENSE_ORDER[tableau.name]
    for n in range(1, order + 1):
        for tree in rooted_trees(n):
            inner = stage_weights(tree, tableau.exact_a)
            for power in range(1, tableau.degree + 1):
                total = sum(row[power - 1] * f for row, f in zip(tableau.exact_dense, inner, strict=True))
                wanted = Fraction(1, density(tree)) if power == n else 0
                assert abs(total - wanted) <= 10 * DIGITS.get(tableau.name, 0), (tree, power)
    ends = [sum(row) for row in tableau.exact_dense]
    assert ends == list(tableau.exact_b)


@EACH
def test_interpolant_ends_at_the_weights_in_floating_point(tableau):
    weights = np.array([float(b) for b in tableau.exact_b])
    assert np.max(np.abs(tableau.dense.sum(axis=1) - weights)) <= 4 * np.finfo(float).eps * np.max(np.abs(tableau.dense))


@EACH
def test_the_last_stage_is_the_new_state(tableau):
    s = tableau.stages
    assert tableau.exact_a[s] == tableau.exact_b
    assert tableau.a.shape == (s + 1 + tableau.extra, s + tableau.extra)
    assert tableau.c[s] == 1.0
    assert np.all(tableau.e == [float(x - y) for x, y in zip(tableau.exact_b[:s + 1], tableau.exact_b_hat[:s + 1], strict=True)])


def test_the_second_estimate_of_dop853_compares_with_order_three():
    compared = [b - Fraction(float(e)) for b, e in zip(DOP853.exact_b[:13], DOP853.e_low, strict=True)] + [Fraction(0)] * 3
    assert all(abs(defect) <= Fraction(1, 10**15) for n in (1, 2, 3) for defect in defects(compared, DOP853.exact_a, n))
    assert max(map(abs, defects(compared, DOP853.exact_a, 4))) > Fraction(1, 10**4)


def test_a_method_without_fsal_gets_the_stage_appended():
    heun = Tableau(**HEUN, dense="1 -1/2\n0 1/2\n0 0")
    assert (heun.stages, heun.degree) == (2, 2)
    assert heun.a.tolist() == [[0, 0], [1, 0], [0.5, 0.5]]
    assert heun.e.tolist() == [-0.5, 0.5, 0]
    assert heun.c.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("change", "words"),
    [({"c": "0 1 1"}, "same number of stages"), ({"dense": "1 -1/2\n0 1/2"}, "one row"), ({"dense": "1 0\n0 1/2\n0 0"}, "does not end"),
     ({"extra_c": "1/2"}, "extra_c"), ({"e_low": "1"}, "e_low")],
)
def test_rows_that_do_not_fit_together_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        Tableau(**{**HEUN, "dense": "1 -1/2\n0 1/2\n0 0", **change})


def test_numbers_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        TSIT5.a[0, 0] = 1.0

"""Radau IIA: its numbers satisfy the order conditions, its linear algebra solves what it says, its replay repeats the solve bit for bit."""

from fractions import Fraction

import numpy as np
import pytest
from rooted_trees import density, rooted_trees, stage_weights

import diffsim as ds
from diffsim.ode.matrices import stage_lu
from diffsim.ode.matrices.plan import HEADER, PLAIN
from diffsim.ode.tableaus.radau import RADAU, Radau

PRINTED = Fraction(1, 10**50)           # what the printed digits leave


def defects(weights, order):
    trees = [(t, stage_weights(t, RADAU.exact_a)) for t in rooted_trees(order)]
    return max(abs(sum(w * f for w, f in zip(weights, inner, strict=True)) - Fraction(1, density(t))) for t, inner in trees)


# ---------------------------------------------------------------- the tableau
@pytest.mark.parametrize(("weights", "order"), [(RADAU.exact_b, RADAU.order), (RADAU.exact_b_hat, RADAU.embedded_order)])
def test_order_is_exactly_what_is_claimed(weights, order):
    assert max(defects(weights, n) for n in range(1, order + 1)) <= PRINTED
    assert defects(weights, order + 1) > Fraction(1, 10**4), "the method is better than it claims"


def test_the_interpolant_is_of_order_four_at_every_theta_and_has_both_slopes():
    for tree in [t for n in range(1, 5) for t in rooted_trees(n)]:
        inner, n = stage_weights(tree, RADAU.exact_a), sum(1 for x in str(tree) if x == "(")
        for power in range(1, RADAU.degree + 1):
            total = sum(row[power - 1] * f for row, f in zip(RADAU.exact_dense, inner, strict=True))
            assert abs(total - (Fraction(1, density(tree)) if power == n else 0)) <= PRINTED
    assert max(abs(sum(row) - b) for row, b in zip(RADAU.exact_dense, RADAU.exact_b, strict=True)) <= PRINTED
    ends = [[row[0], sum(d * x for d, x in enumerate(row, 1))] for row in RADAU.exact_dense]
    np.testing.assert_allclose(np.array(ends, float), [[1, 0], [0, 0], [0, 0], [0, 1]], atol=1e-15)


def test_stiff_components_are_damped():
    def growth(z, a, b):
        return 1 + z * b @ np.linalg.solve(np.eye(len(b)) - z * a, np.ones(len(b)))

    for y in np.logspace(-3, 6, 200):
        assert abs(growth(1j * y, RADAU.a, RADAU.a[-1])) <= 1 + 1e-9
    assert abs(growth(-1e9, RADAU.a, RADAU.a[-1])) < 1e-6


def test_eigenvectors_part_the_matrix():
    block = np.array([[RADAU.gamma, 0, 0], [0, RADAU.pair_re, -RADAU.pair_im], [0, RADAU.pair_im, RADAU.pair_re]])
    np.testing.assert_allclose(RADAU.onto @ RADAU.basis, np.eye(3), atol=1e-15)
    np.testing.assert_allclose(RADAU.into @ RADAU.basis, block, atol=1e-15)
    np.testing.assert_allclose(RADAU.inverse @ RADAU.a, np.eye(3), atol=2e-15)


def test_the_estimate_is_the_published_one():
    root = 6**0.5
    np.testing.assert_allclose(RADAU.e[1:] @ RADAU.inverse, RADAU.gamma / 3 * np.array([-13 - 7 * root, -13 + 7 * root, -1]), rtol=1e-14)
    assert RADAU.e[0] == RADAU.gamma


@pytest.mark.parametrize(("change", "words"), [({"nodes": "1/3 1"}, "three nodes"), ({"nodes": "0 1/2 3/4"}, "three nodes"),
                                               ({"gamma": "0.3"}, "no eigenvalue")])
def test_rows_that_do_not_fit_together_are_refused(change, words):
    rows = {"nodes": RADAU.nodes, "gamma": "0.274888829595677367747828603599414779294593414004159654098055250", "pair": RADAU.pair}
    Radau(name="again", order=5, embedded_order=3, source="none", **rows)
    with pytest.raises(ValueError, match=words):
        Radau(name="again", order=5, embedded_order=3, source="none", **{**rows, **change})


# ---------------------------------------------------------------- linear algebra
#: What the loops are told of a mass matrix that is the identity: a plan's header, and no entries.
IDENTITY = (np.where(np.arange(HEADER) == PLAIN, 1, 0), np.zeros(0))


def banded(n, kl, ku, seed):
    """Entries of a random matrix within a band: rows, columns, values, and the matrix."""
    rng = np.random.default_rng(seed)
    rows, columns = (x.ravel() for x in np.indices((n, n)))
    inside = (rows - columns <= kl) & (columns - rows <= ku)
    rows, columns = rows[inside], columns[inside]
    values, full = rng.standard_normal(len(rows)), np.zeros((n, n))
    full[rows, columns] = values
    return rows, columns, values, full


@pytest.mark.parametrize(("n", "kl", "ku"), [(1, 0, 0), (5, 4, 4), (9, 2, 1), (9, 0, 3)])
def test_a_complex_matrix_is_solved_within_its_band(n, kl, ku):
    rows, columns, values, full = banded(n, kl, ku, n + kl)
    scale, place = 3.0 - 4.0j, np.arange(n)
    width = min(2 * kl + ku + 1, n + kl)
    w, v, pivots = np.zeros((n, width)), np.zeros((n, width)), np.zeros(n, int)
    stage_lu.form_pair(*IDENTITY, values, rows, columns, scale.real, scale.imag, w, v, kl)
    assert stage_lu.factor_pair(w, v, pivots, kl, ku)
    x = np.random.default_rng(1).standard_normal((2, n))
    want = np.linalg.solve(np.eye(n) - scale * full, x[0] + 1j * x[1])
    stage_lu.solve_pair(w, v, pivots, place, kl, ku, x[0], x[1], 0, np.zeros(n), np.zeros(n))
    np.testing.assert_allclose(x[0] + 1j * x[1], want, rtol=1e-10)


@pytest.mark.parametrize(("n", "kl", "ku"), [(1, 0, 0), (4, 3, 3), (9, 2, 1), (9, 0, 3)])
def test_the_matrix_of_all_stages_is_solved_within_its_band(n, kl, ku):
    s, h, place = 3, 0.7, np.arange(n)
    parts = [banded(n, kl, ku, seed) for seed in range(s)]
    wide_kl, wide_ku = s * (kl + 1) - 1, s * (ku + 1) - 1
    w, pivots = np.zeros((s * n, min(2 * wide_kl + wide_ku + 1, s * n + wide_kl))), np.zeros(s * n, int)
    full = np.eye(s * n) - h * np.block([[RADAU.a[i, j] * parts[i][3] for j in range(s)] for i in range(s)])
    stage_lu.form_stages(*IDENTITY, np.array([part[2] for part in parts]), parts[0][0], parts[0][1], RADAU.a, h, w, wide_kl)
    assert stage_lu.factor_stages(w, pivots, wide_kl, wide_ku)
    x, z = np.random.default_rng(1).standard_normal((s, n)), np.zeros(s * n)
    for matrix, solve in ((full, stage_lu.solve_stages), (full.T, stage_lu.solve_stages_transposed)):
        got = x.copy()
        stage_lu.gather_stages(x, place, 0, z)
        solve(w, pivots, wide_kl, wide_ku, z)
        stage_lu.spread_stages(z, place, 0, got)
        np.testing.assert_allclose(got.ravel(), np.linalg.solve(matrix, x.ravel()), rtol=1e-9)


def test_singular_matrices_are_refused():
    rows, columns, w, v = np.array([0]), np.array([0]), np.zeros((1, 1)), np.zeros((1, 1))
    stage_lu.form_pair(*IDENTITY, np.ones(1), rows, columns, 1.0, 0.0, w, v, 0)
    assert not stage_lu.factor_pair(w, v, np.zeros(1, int), 0, 0)
    w = np.zeros((3, 5))
    stage_lu.form_stages(*IDENTITY, np.full((3, 1), np.nan), rows, columns, RADAU.a, 1.0, w, 2)
    assert not stage_lu.factor_stages(w, np.zeros(3, int), 2, 2)


# ---------------------------------------------------------------- solves
def van_der_pol(t, y, mu):
    return np.array([y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]])


def test_a_replay_repeats_the_solve_bit_for_bit_with_and_without_tangents():
    def states(mu, steps=None):
        return ds.solve_ivp(van_der_pol, (0, 30), [2.0, 0.0], method="Radau", args=(mu,), rtol=1e-5, atol=1e-7, steps=steps)

    sol = states(20.0)
    assert sol.rejected > 3
    assert np.array_equal(states(20.0, sol.mesh).y, sol.y)
    value, _ = ds.jvp(lambda mu: states(mu, sol.mesh).y, (20.0,), (1.0,))
    assert np.array_equal(value, sol.y)


def test_the_interpolant_and_its_slope_are_continuous_and_its_error_falls_with_order_four():
    def decay(t, y):
        return np.array([-y[0] + np.sin(t), y[0] * y[1] * np.cos(t)])

    def solve(n, t):
        return ds.solve_ivp(decay, (0, 2), [1.0, 0.5], method="Radau", steps=np.full(n, 2 / n), t_eval=t).y

    t = np.linspace(0.0, 2.0, 41)[1:-1] + 0.007
    exact = ds.solve_ivp(decay, (0, 2), [1.0, 0.5], method="DOP853", t_eval=t, rtol=1e-13, atol=1e-13).y
    coarse, fine = (np.abs(solve(n, t) - exact).max() for n in (4, 8))
    assert np.log2(coarse / fine) > 4.4
    sol = ds.solve_ivp(decay, (0, 2), [1.0, 0.5], method="Radau", steps=np.full(4, 0.5), dense_output=True).sol
    for node in (0.5, 1.0):
        slopes = [ds.jvp(sol, (node + e,), (1.0,))[1] for e in (-1e-9, 1e-9)]
        np.testing.assert_allclose(slopes[0], slopes[1], rtol=1e-7)


def test_jacobians_and_factors_are_kept_where_nobody_wants_derivatives():
    def solve(**more):
        return ds.solve_ivp(van_der_pol, (0, 2000), [2.0, 0.0], method="Radau", args=(1000.0,), rtol=1e-8, atol=1e-8, **more)

    loose, tight = solve(t_eval=[2000.0]), solve()
    assert loose.njev < 0.7 * loose.accepted
    assert loose.nlu < 1.2 * loose.accepted
    assert tight.njev >= tight.accepted
    np.testing.assert_allclose(loose.y[:, -1], tight.y[:, -1], rtol=1e-6)


def test_third_derivatives_agree_with_differences_of_second_ones():
    def loss(q):
        def rhs(t, y):
            return np.array([-q * y[0] + y[1] ** 2, y[0] * y[1] - q * y[1]])
        return np.sum(ds.solve_ivp(rhs, (0, 1), [1.0, 0.5], method="Radau", steps=np.full(6, 1 / 6), t_eval=[0.33, 1.0]).y)

    second, e = ds.grad(ds.grad(loss)), 1e-3
    want = (8 * (second(1.3 + e) - second(1.3 - e)) - second(1.3 + 2 * e) + second(1.3 - 2 * e)) / (12 * e)
    assert ds.grad(second)(1.3) == pytest.approx(want, rel=1e-8)

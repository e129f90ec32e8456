"""Linear algebra by structure: fill counted beforehand, factors of every layout, the choice between them, iteration in place of factors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import diffsim as ds
from diffsim.core import Aval
from diffsim.errors import InputError
from diffsim.ode.loops.families import fixed
from diffsim.ode.matrices import lu, plan
from diffsim.ode.matrices.structure import EXACT, Mass, Plan, _fill_by_rows, fill
from diffsim.ode.system import System
from diffsim.transforms import trace
from diffsim.transforms.strong import strong_zeros

KINDS = ("dense", "banded", "sparse", "gmres", "gmres jacobi")
FACTORISED = KINDS[:3]


def random_matrix(rng, n, density):
    pattern = (rng.random((n, n)) < density) | np.eye(n, dtype=bool)
    return np.where(pattern, rng.normal(size=(n, n)), 0.0)


def factors_of(kind, jacobian, scale, mass=None):
    """The plan, w and pivots of M - scale J."""
    rows, columns = np.nonzero(jacobian)
    made = Plan(len(jacobian), rows, columns, mass, kind)
    w, pivots = np.zeros(made.size), np.zeros(len(jacobian) + 1, np.int64)
    lu.form(made.numbers, made.mass, jacobian[rows, columns], scale, w)
    assert lu.factor(made.numbers, w, pivots)
    return made, w, pivots


def solved(solve, made, w, pivots, b):
    x = np.concatenate([[7.0], b, [9.0]])
    solve(made.numbers, w, pivots, x, 1, np.zeros(len(b)))
    assert x[0] == 7.0
    assert x[-1] == 9.0
    return x[1:-1]


# ---------------------------------------------------------------- factors
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 24), density=st.floats(0.0, 0.5), seed=st.integers(0, 999))
def test_every_layout_solves_and_solves_transposed(kind, n, density, seed):
    rng = np.random.default_rng(seed)
    jacobian, b = random_matrix(rng, n, density), rng.normal(size=n)
    scale = rng.normal()
    matrix = np.eye(n) - scale * jacobian
    if np.linalg.cond(matrix) > 1e8:
        return
    made, w, pivots = factors_of(kind, jacobian, scale)
    np.testing.assert_allclose(matrix @ solved(lu.solve_exactly, made, w, pivots, b), b, atol=1e-6)
    np.testing.assert_allclose(matrix.T @ solved(lu.solve_exactly_transposed, made, w, pivots, b), b, atol=1e-6)


def test_a_band_that_needs_interchanges_gets_them():
    n = 30
    jacobian = np.diag(np.full(n - 1, 5.0), 1) + np.diag(np.full(n - 1, -4.0), -1) + np.diag(np.full(n, 1.0 - 1e-9))
    made, w, pivots = factors_of("banded", jacobian, 1.0)                                     # the diagonal of 1 - J is 1e-9
    assert made.numbers[plan.NARROW] == 1
    assert pivots[-1] == 0
    assert np.any(pivots[:-1] != np.arange(n))
    b = np.cos(np.arange(n))
    np.testing.assert_allclose((np.eye(n) - jacobian) @ solved(lu.solve, made, w, pivots, b), b, atol=1e-12)


@pytest.mark.parametrize("tiny", [0.0, 1e-14, 1e-6])
def test_sparse_factors_that_need_interchanges_are_corrected_by_iteration(tiny):
    """Pairs of components that swap: the diagonal is tiny, and elimination in any order without interchanges is garbage."""
    n = 24
    matrix = np.diag(np.full(n, tiny)) + np.kron(np.eye(n // 2), [[0.0, 1.0], [2.0, 0.0]]) + np.diag(np.full(n - 2, 0.1), 2)
    made, w, pivots = factors_of("sparse", np.eye(n) - matrix, 1.0)
    assert pivots[-1] == 1
    b = np.cos(np.arange(n))
    np.testing.assert_allclose(matrix @ solved(lu.solve_exactly, made, w, pivots, b), b, atol=1e-10)
    np.testing.assert_allclose(matrix.T @ solved(lu.solve_exactly_transposed, made, w, pivots, b), b, atol=1e-10)
    np.testing.assert_allclose(matrix @ solved(lu.solve, made, w, pivots, b), b, atol=1e-2)


@pytest.mark.parametrize("kind", ["sparse", "gmres"])
def test_an_iteration_that_finds_nothing_says_so(kind):
    made, w, pivots = factors_of(kind, np.eye(12) - np.ones((12, 12)), 1.0)                   # of rank one
    x = solved(lu.solve, made, w, pivots, np.cos(np.arange(12)))
    assert np.all(np.isnan(x))
    assert pivots[-1] == -1


def test_singular_matrices_are_found_in_every_layout():
    for kind in KINDS:
        made = Plan(12, *np.nonzero(np.eye(12)), None, kind)
        w, pivots = np.zeros(made.size), np.zeros(13, np.int64)
        for values, scale in ((np.ones(12), 1.0), (np.full(12, np.nan), 1.0), (np.full(12, np.inf), 0.1)):
            lu.form(made.numbers, made.mass, values, scale, w)
            assert not lu.factor(made.numbers, w, pivots)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mass_matrix_is_multiplied_and_completed(kind):
    rng = np.random.default_rng(4)
    m = random_matrix(rng, 14, 0.1) + 5 * np.eye(14)
    rows, columns = np.nonzero(m)
    mass = Mass(rows, columns, m[rows, columns])
    jacobian, x = random_matrix(rng, 14, 0.1), rng.normal(size=14)
    made, w, pivots = factors_of(kind, jacobian, 0.05, mass)
    np.testing.assert_allclose((m - 0.05 * jacobian) @ solved(lu.solve_exactly, made, w, pivots, x), x, atol=1e-12)
    out = np.zeros(28)
    lu.times_mass(made.numbers, made.mass, x, 0, 14, out, 14)
    lu.times_mass_transposed(made.numbers, made.mass, x, 0, 14, out, 0)
    np.testing.assert_allclose(out, np.concatenate([m.T @ x, m @ x]), atol=1e-14)
    lu.form_start(made.numbers, made.mass, w)
    assert lu.factor(made.numbers, w, pivots)
    np.testing.assert_allclose(m @ solved(lu.solve_exactly, made, w, pivots, x), x, atol=1e-12)


# ---------------------------------------------------------------- fill
@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 20), density=st.floats(0.0, 0.3), seed=st.integers(0, 999))
def test_fill_is_what_elimination_fills(n, density, seed):
    matrix = random_matrix(np.random.default_rng(seed), n, density) + 50 * np.eye(n)
    starts, diagonals, columns = fill(n, *np.nonzero(matrix))
    eliminated = matrix.copy()
    for j in range(n):
        for i in range(j + 1, n):
            if eliminated[i, j]:
                eliminated[i, j] /= eliminated[j, j]
                eliminated[i, j + 1:] -= eliminated[i, j] * eliminated[j, j + 1:]
    rows = np.repeat(np.arange(n), np.diff(starts))
    assert set(zip(rows, columns, strict=True)) >= set(zip(*np.nonzero(eliminated), strict=True))
    assert len(columns) <= np.count_nonzero(eliminated) + n                                  # but for entries that cancel
    assert np.array_equal(columns[diagonals], np.arange(n))


def test_the_elimination_tree_finds_the_same_fill_as_rows_do():
    n = EXACT + 40
    rng = np.random.default_rng(1)
    rows, columns = np.concatenate([np.arange(n), rng.integers(0, n, 60)]), np.concatenate([np.arange(n), rng.integers(0, n, 60)])
    both = np.concatenate([rows, columns]), np.concatenate([columns, rows])
    starts, _, found = fill(n, rows, columns)
    exact = _fill_by_rows(n, *both)
    assert all(np.array_equal(found[starts[i]:starts[i + 1]], x) for i, x in enumerate(exact))


# ---------------------------------------------------------------- the choice
def grid_entries(n):
    """Five-point stencil on an n by n grid."""
    at = np.arange(n * n).reshape(n, n)
    pairs = [(at, at), (at[1:], at[:-1]), (at[:-1], at[1:]), (at[:, 1:], at[:, :-1]), (at[:, :-1], at[:, 1:])]
    return n * n, np.concatenate([a.ravel() for a, _ in pairs]), np.concatenate([b.ravel() for _, b in pairs])


def test_the_layout_of_least_work_is_chosen():
    assert Plan(6, *np.nonzero(np.ones((6, 6)))).kind == "dense"
    assert Plan(40, *np.nonzero(np.ones((40, 40)))).kind == "dense"
    line = np.eye(200) + np.eye(200, k=1) + np.eye(200, k=-1)
    shuffled = np.random.default_rng(2).permutation(200)
    chosen = Plan(200, *np.nonzero(line[shuffled][:, shuffled]))
    assert (chosen.kind, chosen.kl, chosen.ku) == ("banded", 1, 1)
    plane = Plan(*grid_entries(40))
    assert plane.kind == "sparse"
    assert plane.fill < 0.35 * 1600 * 81                                                     # of the band it has instead
    scattered = np.random.default_rng(1).random((2, 200, 200))
    assert Plan(60, *np.nonzero((scattered[0, :60, :60] < 0.05) | np.eye(60, dtype=bool))).kind == "sparse"
    assert Plan(200, *np.nonzero((scattered[1] < 0.01) | np.eye(200, dtype=bool))).kind == "sparse"
    assert Plan(200, *np.nonzero((scattered[1] < 0.1) | np.eye(200, dtype=bool))).kind != "sparse"      # fill takes all of it
    assert Plan(20, *np.nonzero((scattered[0, :20, :20] < 0.2) | np.eye(20, dtype=bool))).kind != "sparse"     # small, and half full


def test_a_system_repaired_by_strong_products_keeps_its_base():
    """Or the state and its tangent would be factorised as one."""
    y = Aval((12,), np.dtype(float))
    graph, _ = trace(lambda t, y: [-y * y], [Aval((), np.dtype(float)), y])
    joined = System(12, [], graph=graph).augmented((False, True))
    with strong_zeros():
        strong = joined.repairing()
        assert strong is not joined
        assert (strong.base.n, strong.base_at, strong.depth) == (12, 12, 1)
        assert fixed("Kvaerno5", strong)["nb"] == 12


# ---------------------------------------------------------------- in a solve
def reactions_in_a_plane(t, y, b):
    """The Brusselator on a periodic grid."""
    n = int(np.sqrt(len(y) // 2))
    u, v = np.reshape(y[:n * n], (n, n)), np.reshape(y[n * n:], (n, n))
    uuv = u * u * v

    def spread(q):
        return 0.3 * (np.roll(q, 1, 0) + np.roll(q, -1, 0) + np.roll(q, 1, 1) + np.roll(q, -1, 1) - 4 * q)

    return np.concatenate([(1 + uuv - (b + 1) * u + spread(u)).ravel(), (b * u - uuv + spread(v)).ravel()])


@pytest.mark.parametrize("method", ["Rodas5P", "Kvaerno5", "BDF"])
def test_layouts_agree_on_values_and_gradients(method):
    y0 = np.concatenate([1 + np.sin(np.arange(25.0)), np.full(25, 3.0)])

    def loss(b, kind):
        solver, *preconditioner = kind.split()
        sol = ds.solve_ivp(reactions_in_a_plane, (0, 1), y0, method=method, t_eval=[1.0], args=(b,), rtol=1e-5, atol=1e-5,
                           linear_solver=solver, preconditioner=preconditioner[0] if preconditioner else None)
        return np.sum(sol.y ** 2)

    results = [ds.value_and_grad(loss)(3.4, kind) for kind in KINDS]
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=1e-8)


@pytest.mark.parametrize("kind", [*FACTORISED, "gmres"])
def test_stages_by_iteration_have_the_derivatives_of_stages_by_factors(kind):
    """Where factors are dear, tangents and cotangents of a stage are iterated with the step's: the same down to rounding."""
    n = 36
    y0, b = np.cos(np.arange(n)), np.linspace(0.5, 2.0, n)
    far = np.exp(-0.1 * np.abs(np.arange(n)[:, None] - np.arange(n)))

    def coupled(t, y, b):
        return -b * y ** 3 + np.tanh(far @ y) - 5 * y

    def end(b, steps=None):
        return ds.solve_ivp(coupled, (0, 1), y0, method="Kvaerno5", t_eval=[1.0], args=(b,), rtol=1e-6, atol=1e-6, steps=steps,
                            linear_solver=kind).y[:, 0]

    mesh = ds.solve_ivp(coupled, (0, 1), y0, method="Kvaerno5", args=(b,), rtol=1e-6, atol=1e-6, linear_solver=kind).mesh
    v, w = np.sin(np.arange(n)), np.cos(3 * np.arange(n))
    tangent = ds.jvp(lambda b: end(b, mesh), (b,), (v,))[1]
    cotangent = ds.grad(lambda b: w @ end(b, mesh))(b)
    assert w @ tangent == pytest.approx(cotangent @ v, rel=1e-11)
    e = 1e-3
    difference = (8 * (end(b + e * v, mesh) - end(b - e * v, mesh)) - (end(b + 2 * e * v, mesh) - end(b - 2 * e * v, mesh))) / (12 * e)
    np.testing.assert_allclose(tangent, difference, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("method", ["Kvaerno5", "BDF"])
@pytest.mark.parametrize("solver", ["sparse", "gmres"])
def test_states_of_one_number_or_none_and_complex_ones(method, solver):
    def end(f, y0):
        return ds.solve_ivp(f, (0, 1), y0, method=method, t_eval=[1.0], rtol=1e-7, atol=1e-10, linear_solver=solver).y[..., 0]

    assert end(lambda t, y: -y, np.zeros(0)).shape == (0,)
    assert end(lambda t, y: -3 * y, 2.0) == pytest.approx(2 * np.exp(-3), rel=1e-5)
    np.testing.assert_allclose(end(lambda t, y: (2j - 3) * y, np.array([1 + 1j, 2.0])), np.exp(2j - 3) * np.array([1 + 1j, 2]), rtol=1e-5)


def test_solvers_that_do_not_fit_are_refused_by_name():
    def f(t, y):
        return -y

    with pytest.raises(InputError, match=r"one of 'auto'.*not 'klu'"):
        ds.solve_ivp(f, (0, 1), np.ones(3), method="Rodas5P", linear_solver="klu")
    with pytest.raises(InputError, match="'Tsit5' solves no linear systems"):
        ds.solve_ivp(f, (0, 1), np.ones(3), linear_solver="dense")
    for solver in ("sparse", "gmres"):
        with pytest.raises(InputError, match="'Radau' factorises full and banded matrices only"):
            ds.solve_ivp(f, (0, 1), np.ones(3), method="Radau", linear_solver=solver)
    for solver, preconditioner in (("gmres", "ssor"), ("sparse", "jacobi")):
        with pytest.raises(InputError, match=r"preconditioner is for linear_solver='gmres' and one of 'ilu0', 'jacobi'"):
            ds.solve_ivp(f, (0, 1), np.ones(3), method="BDF", linear_solver=solver, preconditioner=preconditioner)

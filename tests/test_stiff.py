"""Stiff problems: published answers, exact gradients on the accepted steps, every form of a program, named failures."""

import warnings

import numpy as np
import pytest
import scipy.integrate

import diffsim as ds
from diffsim.errors import FallbackWarning, SolveError
from diffsim.ode.compiled.kernels import jacobian
from diffsim.ode.rhs import system_of
from diffsim.ode.tableaus import METHODS

ORDER = {"Rodas5P": 5, "Rosenbrock23": 2, "Kvaerno5": 5, "KenCarp4": 4, "Kvaerno3": 3, "TRBDF2": 2, "Radau": 5}
EACH = pytest.mark.parametrize("method", [*ORDER, "BDF"])
FAMILIES = pytest.mark.parametrize("method", ["Rodas5P", "Kvaerno5", "Radau", "BDF", "auto"])      # one of each, for what families decide
LOW = ("Rosenbrock23", "Kvaerno3", "TRBDF2")


# ---------------------------------------------------------------- problems
def robertson(t, y, k):
    a, b, c = k[0] * y[0], k[1] * y[1] * y[1], k[2] * y[1] * y[2]
    return np.array([c - a, a - c - b, b])


def van_der_pol(t, y, mu):
    return np.array([y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]])


def hires(t, y):
    """Schäfer's eight reactions of plant photomorphogenesis, as in the Test Set for IVP Solvers (Mazzia & Magherini 2008)."""
    p = 280 * y[5] * y[7]
    return np.array([
        -1.71 * y[0] + 0.43 * y[1] + 8.32 * y[2] + 0.0007, 1.71 * y[0] - 8.75 * y[1], -10.03 * y[2] + 0.43 * y[3] + 0.035 * y[4],
        8.32 * y[1] + 1.71 * y[2] - 1.12 * y[3], -1.745 * y[4] + 0.43 * y[5] + 0.43 * y[6],
        -p + 0.69 * y[3] + 1.71 * y[4] - 0.43 * y[5] + 0.69 * y[6], p - 1.81 * y[6], -p + 1.81 * y[6]])


def oregonator(t, y):
    return np.array([77.27 * (y[1] + y[0] * (1 - 8.375e-6 * y[0] - y[1])), (y[2] - (1 + y[0]) * y[1]) / 77.27, 0.161 * (y[0] - y[2])])


K = np.array([0.04, 3e7, 1e4])
START = np.array([1.0, 0.0, 0.0])
# R3: Robertson with its forward sensitivities, from two solvers that agree to these digits; columns k1, k2 (of y1²), k3.
ROBERTSON = {
    0.4: ((9.851721138610e-1, 3.386395378975e-5, 1.479402218522e-2),
          ((-3.5595256598e-1, 3.9025440538e-4, 3.5556231158e-1), (-1.5831766356e-11, -5.2900410932e-13, 1.6360770465e-11),
           (9.5423814278e-8, -2.1309610302e-10, -9.5210718175e-8))),
    40.0: ((7.158270687194e-1, 9.185534764558e-6, 2.841637457458e-1),
           ((-4.2475587717, 4.5911962493e-5, 4.2475128597), (-2.2883550889e-9, -1.1380595094e-13, 2.2884688949e-9),
            (1.3730807973e-5, -2.3571921138e-10, -1.3730572254e-5))),
}


@FAMILIES
def test_robertson_and_its_sensitivities(method):
    rtol = 1e-7 if method in LOW else 1e-9
    t = np.array(sorted(ROBERTSON))

    def states(k):
        return ds.solve_ivp(robertson, (0, 40), START, method=method, t_eval=t, args=(k,), rtol=rtol, atol=rtol * 1e-4).y.T

    accuracy = 300 * rtol
    want = [np.array(x) for x in zip(*[ROBERTSON[x] for x in t], strict=True)]
    np.testing.assert_allclose(states(K), want[0], rtol=accuracy)
    size = np.abs(want[1]).max(axis=2, keepdims=True)
    got = ds.jit(ds.jacobian(states))(K)
    assert np.all(np.abs(np.moveaxis(got, 2, 1) - want[1]) <= accuracy * size)


@EACH
@pytest.mark.parametrize(
    ("rhs", "y0", "end", "want"),
    [
        # reference solutions of the Test Set for IVP Solvers (release 2.4), confirmed by SciPy's Radau at 1e-12
        (hires, (1.0, 0, 0, 0, 0, 0, 0, 0.0057), 321.8122,
         (7.371312573325668e-4, 1.442485726316185e-4, 5.888729740967575e-5, 1.175651343283149e-3, 2.386356198831331e-3,
          6.238968252742796e-3, 2.849998395185769e-3, 2.850001604814231e-3)),
        (oregonator, (1.0, 2.0, 3.0), 360.0, (1.000814870318523, 1228.178521549917, 132.0554942846706)),
    ], ids=["hires", "oregonator"])
def test_published_solutions(method, rhs, y0, end, want):
    rtol = 1e-5 if method in LOW else 1e-8
    sol = ds.solve_ivp(rhs, (0, end), y0, method=method, rtol=rtol, atol=rtol * 1e-4)
    assert sol.success
    np.testing.assert_allclose(sol.y[:, -1], want, rtol=3e3 * rtol)
    assert sol.nlu >= sol.accepted
    assert sol.njev > 0


@EACH
def test_van_der_pol_is_solved_in_few_steps(method):
    want = scipy.integrate.solve_ivp(van_der_pol, (0, 2000), [2.0, 0.0], method="Radau", args=(1000.0,), rtol=1e-10, atol=1e-10).y[:, -1]
    sol = ds.solve_ivp(van_der_pol, (0, 2000), [2.0, 0.0], method=method, args=(1000.0,), rtol=1e-6, atol=1e-6)
    assert sol.accepted < 4000
    np.testing.assert_allclose(sol.y[0, -1], want[0], rtol=2e-3)


# ---------------------------------------------------------------- order
@pytest.mark.parametrize("method", ORDER)
def test_error_falls_with_the_order_of_the_method(method):
    def end(n):
        steps = np.full(n, 1.0 / n)
        return ds.solve_ivp(driven, (0, 1), [1.0, 0.5], method=method, steps=steps, t_eval=[1.0], args=(1.3,)).y[:, -1]

    want = scipy.integrate.solve_ivp(driven, (0, 1), [1.0, 0.5], method="DOP853", args=(1.3,), rtol=1e-13, atol=1e-13).y[:, -1]
    coarse, fine = (np.abs(end(n) - want).max() for n in (8, 16))
    assert np.log2(coarse / fine) == pytest.approx(ORDER[method], abs=0.4)


def driven(t, y, q):
    return np.array([-q * y[0] + np.sin(3 * t) * y[1], y[0] * y[1] - np.cos(2 * t) * y[1] ** 2])


# ---------------------------------------------------------------- gradients
def losses(method, steps=None, rtol=1e-4, t_eval=(0.0, 0.3, 1.1, 2.0), **more):
    def loss(y0, q):
        return np.sum(ds.solve_ivp(driven, (0, 2), y0, method=method, t_eval=np.array(t_eval), args=(q,), rtol=rtol, atol=rtol, steps=steps,
                                   **more).y ** 2 * np.array([[1.0], [-0.7]]))
    return loss


@pytest.mark.parametrize(("method", "rtol"), [*[(m, 1e-3) for m in (*ORDER, "BDF")],
                                              *[(m, 1e-8) for m in ("Rodas5P", "Kvaerno5", "Radau", "BDF")]])
def test_gradients_are_differences_on_the_frozen_steps(method, rtol):
    point = np.array([1.0, 0.5]), 1.3
    sol = ds.solve_ivp(driven, (0, 2), point[0], method=method, args=(point[1],), rtol=rtol, atol=rtol)
    loss, e = losses(method, steps=sol.mesh), 1e-4
    y_bar, q_bar = ds.grad(loss, (0, 1))(*point)

    def difference(f):
        return (8 * (f(e) - f(-e)) - (f(2 * e) - f(-2 * e))) / (12 * e)

    assert q_bar == pytest.approx(difference(lambda s: loss(point[0], point[1] + s)), rel=1e-8)
    for i, unit in enumerate(np.eye(2)):
        assert y_bar[i] == pytest.approx(difference(lambda s, unit=unit: loss(point[0] + s * unit, point[1])), rel=1e-8)
    assert ds.jvp(lambda q: loss(point[0], q), (point[1],), (1.0,))[1] == pytest.approx(q_bar, rel=1e-11)


@FAMILIES
def test_every_form_of_a_program_agrees(method):
    y0, q = np.array([1.0, 0.5]), 1.3
    loss = losses(method)
    want = ds.grad(loss, (0, 1))(y0, q)
    compiled = ds.jit(ds.grad(loss, (0, 1)))(y0, q)
    np.testing.assert_allclose(compiled[0], want[0], rtol=1e-10)
    assert compiled[1] == pytest.approx(want[1], rel=1e-10)
    many = ds.vmap(lambda q: ds.grad(loss, 1)(y0, q))(np.array([1.2, 1.3, 1.4]))
    assert many[1] == pytest.approx(ds.grad(loss, 1)(y0, q), rel=1e-10)
    hessian = ds.hessian(lambda z: loss(z[:2], z[2]))(np.append(y0, q))
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-8, atol=1e-10)
    product = ds.jit(lambda z, v: ds.jvp(ds.grad(lambda z: loss(z[:2], z[2])), (z,), (v,))[1])
    np.testing.assert_allclose(product(np.append(y0, q), np.array([0.3, -1.0, 2.0])), hessian @ [0.3, -1.0, 2.0], rtol=1e-8)


@FAMILIES
def test_the_uncompiled_loop_gives_the_same(method):
    t = np.array([0.0, 0.7, 2.0])

    def opaque(t, y, q):
        return driven(t, y, q) if q > 0 else y             # asks for a number, which a traced program does not have

    def loss(f, q):
        return np.sum(ds.solve_ivp(f, (0, 2), [1.0, 0.5], method=method, t_eval=t, args=(q,), rtol=1e-4, atol=1e-4).y)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FallbackWarning)
        value, slope = ds.value_and_grad(lambda q: loss(opaque, q))(1.3)
    want = ds.value_and_grad(lambda q: loss(driven, q))(1.3)
    assert value == pytest.approx(want[0], rel=1e-12)
    assert slope == pytest.approx(want[1], rel=1e-9)


@FAMILIES
@pytest.mark.parametrize("rtol", [1e-6, 1e-9])
def test_a_start_at_rest_does_not_hide_the_sensitivity(method, rtol):
    def loss(k):
        t = np.arange(11.0)
        return np.sum(ds.solve_ivp(lambda t, y: k - 10 * y, (0, 10), [1.0], method=method, t_eval=t, rtol=rtol, atol=rtol).y)

    assert ds.grad(loss)(10.0) == pytest.approx(np.sum(1 - np.exp(-10.0 * np.arange(11))) / 10, rel=1e-3)


@EACH
def test_dense_output_and_times_are_differentiable(method):
    sol = ds.solve_ivp(driven, (0, 2), [1.0, 0.5], method=method, args=(1.3,), rtol=1e-9, atol=1e-9, dense_output=True)
    fine = ds.solve_ivp(driven, (0, 2), [1.0, 0.5], args=(1.3,), t_eval=[0.77], rtol=1e-11, atol=1e-11).y[:, 0]
    np.testing.assert_allclose(sol.sol(0.77), fine, rtol=1e-5)
    slope = ds.jvp(sol.sol, (0.77,), (1.0,))[1]
    np.testing.assert_allclose(slope, driven(0.77, fine, 1.3), rtol=1e-3)
    back = ds.solve_ivp(driven, (2, 0), sol.y[:, -1], method=method, args=(1.3,), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(back.y[:, -1], [1.0, 0.5], rtol=1e-5)


# ---------------------------------------------------------------- the Jacobian
def reaction_diffusion(t, y, b):
    """A Brusselator on a line: u, then v."""
    n = len(y) // 2
    u, v = y[:n], y[n:]
    up, vp = np.concatenate([[1.0], u, [1.0]]), np.concatenate([[3.0], v, [3.0]])
    c = (n + 1) ** 2 / 50
    uuv = u * u * v
    return np.concatenate([1 + uuv - (b + 1) * u + c * (up[2:] - 2 * u + up[:-2]), b * u - uuv + c * (vp[2:] - 2 * v + vp[:-2])])


def test_the_pattern_is_found_and_renumbered_to_a_narrow_band():
    n = 24
    system, _ = system_of(reaction_diffusion, np.float64(0), np.ones(2 * n), (np.full(n, 3.0),))
    found = jacobian(system)
    assert len(found.rows) == 2 * (3 * n - 2) + 2 * n
    assert max(found.plan.kl, found.plan.ku) <= 4
    assert sorted(found.plan.place) == list(range(2 * n))


@FAMILIES
def test_a_band_is_solved_like_a_full_matrix(method):
    n = 24
    y0, b = np.concatenate([1 + np.sin(2 * np.pi * np.arange(n) / n), np.full(n, 3.0)]), 3 + 0.3 * np.cos(np.arange(n))
    mixed = np.random.default_rng(3).permutation(2 * n)

    def shuffled(t, z, b):
        return reaction_diffusion(t, z[np.argsort(mixed)], b)[mixed]

    def loss(f, start, b):
        return np.sum(ds.solve_ivp(f, (0, 0.5), start, method=method, t_eval=[0.5], args=(b,), rtol=1e-5, atol=1e-5).y ** 2)

    value, slope = ds.value_and_grad(lambda b: loss(reaction_diffusion, y0, b))(b)
    again, moved = ds.value_and_grad(lambda b: loss(shuffled, y0[mixed], b))(b)
    assert value == pytest.approx(again, rel=1e-9)
    np.testing.assert_allclose(slope, moved, rtol=1e-6)
    want = scipy.integrate.solve_ivp(reaction_diffusion, (0, 0.5), y0, method="Radau", args=(b,), rtol=1e-9, atol=1e-9).y[:, -1]
    assert value == pytest.approx(np.sum(want**2), rel=1e-3)


# ---------------------------------------------------------------- failures
@FAMILIES
def test_failures_are_named(method):
    sol = ds.solve_ivp(lambda t, y: y**2, (0, 2), [1.0], method=method)
    assert not sol.success
    assert sol.t[-1] == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(SolveError, match="not finite"):
        ds.grad(lambda k: ds.solve_ivp(lambda t, y: np.log(k * y), (0, 1), [-1.0], method=method, t_eval=[1.0]).y[0, 0])(1.0)
    with pytest.raises(SolveError, match="max_steps"):
        ds.grad(lambda k: ds.solve_ivp(robertson, (0, 40), START, method=method, t_eval=[40.0], args=(k,), max_steps=5).y[0, 0])(K)


@pytest.mark.parametrize("method", ["Rodas5P", "Kvaerno5", "Radau"])
def test_a_singular_matrix_on_given_steps_is_named(method):
    # 1 - h gamma J = 0 for y' = k y with k = 1 / (h gamma), here to the last bit
    scales = [h * METHODS[method].gamma for h in range(1, 20)]
    h, k = next((h, 1 / scale) for h, scale in enumerate(scales, 1) if scale * (1 / scale) == 1.0)
    with pytest.raises(SolveError, match="singular"):
        ds.grad(lambda k: ds.solve_ivp(lambda t, y: k * y, (0, h), [1.0], method=method, t_eval=[h], steps=[h]).y[0, 0])(k)


@pytest.mark.parametrize("method", ["Kvaerno5", "TRBDF2"])
def test_stages_without_a_solution_are_named_or_avoided(method):
    """Y = y + h gamma Y^2 has no real solution for large h: given steps fail, chosen ones become smaller."""
    def end(y, **more):
        return ds.solve_ivp(lambda t, y: y**2, (0, 0.9), [y], method=method, t_eval=[0.9], rtol=1e-7, atol=1e-7, **more).y[0, 0]

    with pytest.raises(SolveError, match="Newton's iteration"):
        ds.grad(lambda y: end(y, steps=[0.9]))(3.0)
    slope = ds.grad(lambda y: end(y, first_step=0.9))(1.0)
    assert slope == pytest.approx(100.0, rel=1e-3)


def test_every_name_of_scipys_methods_is_known():
    for name in ("RK23", "RK45", "DOP853", "Radau", "BDF", "LSODA"):
        assert ds.solve_ivp(driven, (0, 1), [1.0, 0.5], method=name, args=(1.3,)).success


@FAMILIES
def test_stages_that_are_not_finite_are_rejected(method):
    def end(k):
        return ds.solve_ivp(lambda t, y: -k * np.sqrt(0.4 - t), (0, 2), [1.0], method=method, t_eval=[2.0], max_step=0.3).y[0, 0]

    with pytest.raises(SolveError, match=r"stopped at t = 0\.4 .*last error norm inf"):
        ds.grad(end)(1.0)

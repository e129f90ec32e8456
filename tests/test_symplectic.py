"""Symplectic splitting methods: order proven by composition algebra, laws of geometry, exact derivatives, refusals."""

from fractions import Fraction
from math import factorial
from operator import attrgetter

import numpy as np
import pytest

import diffsim as ds
from diffsim.errors import InputError, SolveError
from diffsim.ode.tableaus import METHODS
from diffsim.ode.tableaus.symplectic import SYMPLECTIC

NAMES = [method.name for method in SYMPLECTIC]
EACH = pytest.mark.parametrize("name", NAMES)


# ---------------------------------------------------------------- the numbers
def words_of(method, degree):
    """Coefficients of the words in the letters 0 (drift) and 1 (kick) of a step's exponentials, up to a length.

    A step is exp(b_0 B) exp(a_0 A) exp(b_1 B) ..., in the algebra of words: the flow of the system is exp(A + B), in which every word of
    length k has the coefficient 1 / k!.  The two agree up to length p if and only if the method has order p for all separable systems.
    """
    series = {(): Fraction(1)}
    moves = [(1, method.exact_kicks[0])]
    for a, b in zip(method.exact_drifts, method.exact_kicks[1:], strict=True):
        moves += [(0, a), (1, b)]
    for letter, size in moves:
        grown = dict(series)
        for word, x in series.items():
            for k in range(1, degree - len(word) + 1):
                x *= size / k
                longer = word + (letter,) * k
                grown[longer] = grown.get(longer, 0) + x
        series = {word: x.limit_denominator(10**60) for word, x in grown.items()}         # 60 digits: fractions would grow without end
    return series


def defect(series, degree):
    """Largest error among the coefficients of words of one length."""
    words = [tuple(int(bit) for bit in f"{i:0{degree}b}") for i in range(2**degree)]
    return max(abs(series.get(word, 0) - Fraction(1, factorial(degree))) for word in words)


@pytest.mark.parametrize("method", SYMPLECTIC, ids=attrgetter("name"))
def test_order_conditions_hold_up_to_the_order_and_fail_beyond(method):
    digits = Fraction(1, 10**23) if method.name.startswith("KahanLi") else Fraction(1, 10**44)
    series = words_of(method, method.order + 1)
    for degree in range(1, method.order + 1):
        assert defect(series, degree) < digits
    assert defect(series, method.order + 1) > Fraction(1, 10**7)


@pytest.mark.parametrize("method", SYMPLECTIC, ids=attrgetter("name"))
def test_a_step_reads_the_same_from_both_ends(method):
    assert method.exact_drifts == method.exact_drifts[::-1]
    assert method.exact_kicks == method.exact_kicks[::-1]
    assert sum(method.exact_drifts) == sum(method.exact_kicks) == 1
    assert method.kick_times[0] == 0.0
    assert method.kick_times[-1] == 1.0
    np.testing.assert_allclose(method.drift_times + method.drift_times[::-1], 1.0, rtol=1e-15)


# ---------------------------------------------------------------- the solutions
def kepler(t, y):
    r3 = (y[0] ** 2 + y[1] ** 2) ** 1.5
    return np.array([y[2], y[3], -y[0] / r3, -y[1] / r3])


def orbit(eccentricity):
    """Start at the pericentre of an orbit of period 2 pi."""
    return np.array([1.0 - eccentricity, 0.0, 0.0, np.sqrt((1.0 + eccentricity) / (1.0 - eccentricity))])


def driven(t, y, p):
    """Separable, with both halves depending on time, and no Hamiltonian behind the drift."""
    q, v = y[:2], y[2:]
    velocity = (1.0 + 0.3 * np.sin(p[0] * t)) * v / np.sqrt(1.0 + v[::-1] ** 2)
    return np.concatenate([velocity, -p[1] * np.sin(q) * np.cos(0.7 * t) - 0.2 * q[::-1]])


DRIVEN = np.array([0.4, -0.3, 0.9, 0.2])
RATES = np.array([1.3, 1.1])


@EACH
def test_order_is_reached_where_both_halves_depend_on_time(name):
    order, span = METHODS[name].order, (0.3, 3.3)
    exact = ds.solve_ivp(driven, span, DRIVEN, args=(RATES,), method="DOP853", rtol=1e-13, atol=1e-15).y[:, -1]
    steps = {2: 200, 4: 100, 6: 40, 8: 12}[order]
    coarse, fine = (np.max(np.abs(ds.solve_ivp(driven, span, DRIVEN, args=(RATES,), method=name, first_step=3.0 / n).y[:, -1] - exact))
                    for n in (steps, 2 * steps))
    assert fine > 2e-14                                  # above rounding
    assert np.log2(coarse / fine) == pytest.approx(order, abs=0.35)


def test_a_step_of_verlet_is_kick_drift_kick():
    h, (x, v) = 0.1, (0.3, 1.2)
    got = ds.solve_ivp(lambda t, y: np.array([y[1], -np.sin(y[0])]), (0.0, h), [x, v], method="Verlet", first_step=h)
    middle = v - 0.5 * h * np.sin(x)
    end = x + h * middle
    np.testing.assert_allclose(got.y[:, -1], [end, middle - 0.5 * h * np.sin(end)], rtol=1e-15)
    same = ds.solve_ivp(lambda t, y: np.array([y[1], -np.sin(y[0])]), (0.0, h), [x, v], method="leapfrog", first_step=h)
    assert np.array_equal(same.y, got.y)
    assert got.nfev == 2


@EACH
def test_the_map_of_a_solve_is_symplectic_and_keeps_volumes(name):
    def end(y0):
        return ds.solve_ivp(kepler, (0.0, 2.0), y0, method=name, first_step=0.1).y[:, -1]

    forward, reverse = ds.jacfwd(end)(orbit(0.3)), ds.jacrev(end)(orbit(0.3))
    form = np.kron(np.array([[0.0, 1.0], [-1.0, 0.0]]), np.eye(2))
    np.testing.assert_allclose(forward.T @ form @ forward, form, atol=1e-11)
    np.testing.assert_allclose(reverse, forward, rtol=1e-11, atol=1e-12)


@EACH
def test_backwards_in_time_it_returns_to_where_it_came_from(name):
    there = ds.solve_ivp(driven, (0.0, 4.0), DRIVEN, args=(RATES,), method=name, first_step=0.05)
    back = ds.solve_ivp(driven, (4.0, 0.0), there.y[:, -1], args=(RATES,), method=name, first_step=0.05)
    np.testing.assert_allclose(back.y[:, -1], DRIVEN, rtol=1e-12)


def test_outputs_at_steps_are_the_states_and_others_lie_on_a_cubic():
    t = np.linspace(0.0, 2.0, 21)
    sol = ds.solve_ivp(kepler, (0.0, 2.0), orbit(0.3), method="Yoshida6", first_step=0.1, dense_output=True)
    given = ds.solve_ivp(kepler, (0.0, 2.0), orbit(0.3), method="Yoshida6", first_step=0.1, t_eval=t)
    np.testing.assert_allclose(given.y, sol.y, rtol=1e-13)
    np.testing.assert_allclose(sol.sol(sol.t[:-1] + 1e-9), sol.y[:, :-1], rtol=1e-7, atol=1e-8)
    errors = []
    for h in (0.1, 0.05):
        sol = ds.solve_ivp(kepler, (0.0, 2.0), orbit(0.3), method="Yoshida6", first_step=h, dense_output=True)
        middle = sol.t[:-1] + 0.5 * h
        exact = ds.solve_ivp(kepler, (0.0, 2.0), orbit(0.3), method="DOP853", rtol=1e-12, atol=1e-13, t_eval=middle)
        errors.append(np.max(np.abs(sol.sol(middle) - exact.y)))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4.0, abs=0.5)


# ---------------------------------------------------------------- derivatives
TIMES = np.array([0.2, 0.55, 0.9, 1.31, 2.2])


def loss(z, name, rhs=driven, times=TIMES):
    """Of the start, its time, two rates and the times of output; the steps stay."""
    steps = np.array([0.25, 0.25, 0.4, 0.4, 0.45, 0.25])
    t = times + z["shift"]
    sol = ds.solve_ivp(rhs, (z["t0"], 2.2), z["y0"], args=(z["p"],), t_eval=t, method=name, steps=steps)
    return np.sum(np.sin(sol.y) * np.arange(1.0, 1.0 + 4 * times.size).reshape(4, -1))


Z = {"t0": 0.2, "y0": DRIVEN, "p": RATES, "shift": np.array([0.0, 0.01, -0.02, 0.0, -0.03])}


def tangent(rng):
    v = ds.tree.map(lambda x: rng.normal(size=np.shape(x))[()], Z)
    v["shift"][0] = v["t0"]                              # the first output stays at the start
    return v


def inner(a, b):
    return sum(np.sum(x * y) for x, y in zip(ds.tree.leaves(a), ds.tree.leaves(b), strict=True))


def difference(f, v, e=2e-3):
    """Central differences extrapolated twice."""
    def central(h):
        up, down = (ds.tree.map(lambda x, d, s=s: x + s * h * d, Z, v) for s in (1.0, -1.0))
        return (f(up) - f(down)) / (2.0 * h)
    a, b, c = central(e), central(e / 2), central(e / 4)
    b, c = (4 * b - a) / 3, (4 * c - b) / 3
    return (16 * c - b) / 15


@EACH
def test_first_and_second_derivatives_agree_three_ways(name, rng):
    u, v = tangent(rng), tangent(rng)
    v["shift"][3] = u["shift"][3] = v["t0"] * 0.0        # one output on a step, where the interpolant's slope is one-sided

    def f(z):
        return loss(z, name)

    gradient = ds.grad(f)
    forward = ds.jvp(f, (Z,), (v,))[1]
    assert inner(gradient(Z), v) == pytest.approx(forward, rel=1e-12)
    assert difference(f, v) == pytest.approx(forward, rel=1e-8)
    curved = ds.jvp(gradient, (Z,), (v,))[1]
    assert inner(curved, u) == pytest.approx(ds.jvp(lambda z: ds.jvp(f, (z,), (u,))[1], (Z,), (v,))[1], rel=1e-11)
    assert inner(ds.grad(lambda z: inner(gradient(z), v))(Z), u) == pytest.approx(inner(curved, u), rel=1e-11)
    assert difference(lambda z: inner(gradient(z), u), v) == pytest.approx(inner(curved, u), rel=1e-7)


def test_third_derivatives_agree(rng):
    u, v, w = tangent(rng), tangent(rng), tangent(rng)

    def f(z):
        return loss(z, "Yoshida4")

    def second(z):
        return ds.jvp(lambda z: ds.jvp(f, (z,), (u,))[1], (z,), (v,))[1]

    want = ds.jvp(second, (Z,), (w,))[1]
    assert inner(ds.grad(second)(Z), w) == pytest.approx(want, rel=1e-10)
    assert difference(second, w) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("name", ["Verlet", "KahanLi6"])
def test_compiled_gradients_are_the_same(name):
    eager, compiled = ds.grad(lambda z: loss(z, name))(Z), ds.jit(ds.grad(lambda z: loss(z, name)))(Z)
    for a, b in zip(ds.tree.leaves(eager), ds.tree.leaves(compiled), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-12)


def test_an_untraceable_right_hand_side_gives_the_same(rng):
    def stubborn(t, y, p):
        scale = 1.0
        while float(scale) < 2.0 and not isinstance(t, str):      # what follows asks for a number
            scale = scale + np.float64(abs(float(t)) + 1.0)
        return driven(t, y, p)

    v = tangent(rng)
    with pytest.warns(UserWarning, match="uncompiled"):
        value, gradient = ds.value_and_grad(lambda z: loss(z, "Yoshida4", stubborn))({**Z, "t0": 0.2})
    again, expected = ds.value_and_grad(lambda z: loss(z, "Yoshida4"))(Z)
    assert value == pytest.approx(again, rel=1e-13)
    assert inner(gradient, v) == pytest.approx(inner(expected, v), rel=1e-11)


def test_members_of_a_batch_are_solved_alike():
    starts = np.stack([orbit(e) for e in (0.1, 0.3, 0.5)])

    def end(y0):
        return ds.solve_ivp(kepler, (0.0, 1.0), y0, t_eval=[1.0], method="Verlet", first_step=0.05).y[:, -1]

    np.testing.assert_allclose(ds.vmap(end)(starts), [end(y0) for y0 in starts], rtol=1e-13)


# ---------------------------------------------------------------- refusals
def lorentz(t, y):
    return np.array([y[2], y[3], y[3] - y[0], -y[2]])


def swapped(t, y):
    return np.array([-y[1], y[0] * 2.0 + 0.0 * y[1]])


def friction(t, y):
    if t > 1e300:                                        # keeps it from being traced
        return y
    return np.array([y[1], -y[0] - 0.1 * y[1]])


@pytest.mark.parametrize(("fun", "y0", "message"), [
    (lorentz, [1.0, 0.0, 0.0, 1.0], r"in lorentz .*test_symplectic.py:\d+\) the slope of y\[2\], among the momenta, depends on y\[3\]"),
    (lambda t, y: -y, [1.0, 2.0, 3.0], r"\(positions, momenta\), the first half and the second, but y0 has shape \(3,\)"),
    (lambda t, y: np.array([y[0], y[0]]), [1.0, 2.0], r"the slope of y\[0\], among the positions, depends on y\[0\]"),
])  # fmt: skip
def test_what_is_not_separable_is_refused_by_name(fun, y0, message):
    with pytest.raises(InputError, match=message):
        ds.solve_ivp(fun, (0.0, 1.0), y0, method="Verlet", first_step=0.1)


def test_what_cannot_be_traced_is_refused_by_its_numbers():
    with pytest.warns(UserWarning, match="uncompiled"), pytest.raises(InputError, match=r"slope of y\[1\], among the momenta, depends"):
        ds.solve_ivp(friction, (0.0, 1.0), [1.0, 0.0], method="Verlet", first_step=0.1)


def test_steps_must_be_given_and_may_be_none():
    with pytest.raises(InputError, match="'Yoshida8' takes equal steps and estimates no error: give first_step="):
        ds.solve_ivp(kepler, (0.0, 1.0), orbit(0.1), method="Yoshida8")
    still = ds.solve_ivp(kepler, (1.0, 1.0), orbit(0.1), method="Yoshida8", first_step=0.1, t_eval=[1.0])
    np.testing.assert_array_equal(still.y[:, 0], orbit(0.1))


def test_a_state_that_overflows_is_a_failure():
    def solve(y0):
        return ds.solve_ivp(lambda t, y: np.array([y[1], y[0] ** 3]), (0.0, 50.0), y0, method="Verlet", first_step=0.1)
    sol = solve(np.array([3.0, 3.0]))
    assert (sol.success, sol.status) == (False, -1)
    assert "not finite" in sol.message
    assert len(sol.t) > 1
    assert np.all(np.isfinite(sol.y))
    with pytest.raises(SolveError, match="not finite"):
        ds.grad(lambda y0: solve(y0).y[0, -1])(np.array([3.0, 3.0]))


# ---------------------------------------------------------------- energy over a long time
def henon_heiles(t, y):
    return np.array([y[2], y[3], -y[0] - 2.0 * y[0] * y[1], -y[1] - y[0] ** 2 + y[1] ** 2])


def energy_of_henon_heiles(y):
    return 0.5 * (y[2] ** 2 + y[3] ** 2 + y[0] ** 2 + y[1] ** 2) + y[0] ** 2 * y[1] - y[1] ** 3 / 3.0


SYSTEMS = {
    "kepler": (kepler, orbit(0.2), 0.05, lambda y: 0.5 * (y[2] ** 2 + y[3] ** 2) - 1.0 / np.hypot(y[0], y[1])),
    "pendulum": (lambda t, y: np.array([y[1], -np.sin(y[0])]), np.array([2.0, 0.0]), 0.1, lambda y: 0.5 * y[1] ** 2 - np.cos(y[0])),
    "henon_heiles": (henon_heiles, np.array([0.0, 0.1, 0.49, 0.0]), 0.1, energy_of_henon_heiles),
}


def wander(case, name, steps):
    """Largest relative energy errors in the first and in the last tenth of a long solve."""
    rhs, y0, h, energy = SYSTEMS[case]
    every = max(steps // 20_000, 1) * h                  # some 20,000 outputs on steps
    times = np.arange(0, steps * h * (1 + 1e-12), every)
    y = ds.solve_ivp(rhs, (0.0, times[-1]), y0, method=name, first_step=h, t_eval=times).y
    error = np.abs(energy(y) / energy(y[:, :1]) - 1.0)
    tenth = error.size // 10
    return error[:tenth].max(), error[-tenth:].max()


@pytest.mark.parametrize("case", SYSTEMS)
def test_energy_stays_where_rk4_loses_it(case):
    early, late = wander(case, "Verlet", 20_000)
    assert late < 1.1 * early
    early, late = wander(case, "RK4", 20_000)
    assert late > 5.0 * early


@pytest.mark.slow
@pytest.mark.parametrize("case", SYSTEMS)
@EACH
def test_energy_does_not_drift_over_a_million_steps(case, name):
    early, late = wander(case, name, 1_000_000)
    assert late < 1.2 * early + 2e-12                    # rounding errors walk: 1e6 steps take them to 1e-12

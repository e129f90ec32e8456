"""Laws of the Runge-Kutta loops: replay, adjoint against tangent, outputs, step control, and Python against machine code."""


import ctypes
from functools import cache
from operator import attrgetter

import numpy as np
import pytest

from diffsim.codegen import engine, loops
from diffsim.errors import InputError
from diffsim.ode.loops import erk, stepsize
from diffsim.ode.loops.families import watching
from diffsim.ode.tableaus import ADAPTIVE, DOP853, TSIT5

EACH = pytest.mark.parametrize("tableau", ADAPTIVE, ids=attrgetter("name"))
EPS = np.finfo(float).eps
P = np.array([0.55, 0.028, 0.84, 0.026])
Y0 = np.array([30.0, 4.0])


class Model:
    """Kernels of y' = f(t, y, p) and of its tangent, from f and its derivatives by y, p and t, all in plain Python."""

    def __init__(self, f, f_y, f_p, f_t=None):
        self.f, self.f_y, self.f_p = f, f_y, f_p
        self.f_t = f_t or (lambda t, y, p: np.zeros(len(y)))
        self.calls = 0

    def rhs(self, t, y, p, out):
        self.calls += 1
        out[:] = self.f(t, y, p)

    def vjp(self, t, y, p, w, y_bar, p_bar, t_bar):
        self.calls += 1
        y_bar += w @ self.f_y(t, y, p)
        p_bar += w @ self.f_p(t, y, p)
        t_bar += w @ self.f_t(t, y, p)

    def tangent(self, p_dot, t_dot=0.0):
        """The system of (y, y_dot) for one direction of the parameters and one shift of all times."""

        def augmented(t, y, p):
            n = len(y) // 2
            primal, dot = y[:n], y[n:]
            f_dot = self.f_y(t, primal, p) @ dot + self.f_p(t, primal, p) @ p_dot + self.f_t(t, primal, p) * t_dot
            return np.r_[self.f(t, primal, p), f_dot]

        return Model(augmented, None, None)


PREY = Model(
    lambda t, y, p: np.array([p[0] * y[0] - p[1] * y[0] * y[1], p[3] * y[0] * y[1] - p[2] * y[1]]),
    lambda t, y, p: np.array([[p[0] - p[1] * y[1], -p[1] * y[0]], [p[3] * y[1], p[3] * y[0] - p[2]]]),
    lambda t, y, p: np.array([[y[0], -y[0] * y[1], 0.0, 0.0], [0.0, 0.0, -y[1], y[0] * y[1]]]),
)
DRIVEN = Model(
    lambda t, y, p: np.array([-p[0] * y[0] + np.sin(p[1] * t) * y[1], y[0] * y[1] - np.cos(t)]),
    lambda t, y, p: np.array([[-p[0], np.sin(p[1] * t)], [y[1], y[0]]]),
    lambda t, y, p: np.array([[-y[0], t * np.cos(p[1] * t) * y[1]], [0.0, 0.0]]),
    lambda t, y, p: np.array([p[1] * np.cos(p[1] * t) * y[1], np.sin(t)]),
)
REST = Model(  # a component at rest until its parameter moves: y' = k - 10 y at y = k / 10
    lambda t, y, p: p - 10.0 * y, lambda t, y, p: np.array([[-10.0]]), lambda t, y, p: np.array([[1.0]])
)


def exec_python(loop, model, values):
    return loop.function(model, *(values[name] for name in loop.arguments))


class Solve:
    """One forward pass and what it recorded; ``adjoint`` walks it back."""

    def __init__(self, model, y0, p, span, sigma=(), *, tableau=TSIT5, tol=1e-6, t0=0.0, rate=0, run=exec_python, **more):
        y0 = np.array(y0, dtype=float)
        big, n, cap, s = len(y0), more.pop("n", len(y0)), more.pop("cap", 1000), tableau.stages
        rows = s + 1 + tableau.extra
        mesh, n_out = more.pop("mesh", None), more.pop("n_out", n)
        self.model, self.tableau, self.run, self.n = model, tableau, run, n
        self.mesh, self.nodes = np.full(cap, np.nan), np.full(cap + 1, np.nan)
        self.nodes[0] = 0.0
        if mesh is not None:
            self.mesh[: len(mesh)] = mesh
        self.stages, self.out = np.full((cap + 1, rows - 1, more.pop("n_rec", n)), np.nan), np.full((len(sigma), n_out), np.nan)
        self.y, self.counts, self.last = y0.copy(), np.zeros(len(erk.COUNTS), np.int64), np.zeros(4)
        self.values = {
            "order": tableau.error_order + 1.0, "t0": t0, "span": span, "rtol": np.full(n, tol), "probe_factor": 0.0, "first_step": 0.0,
            "max_step": np.inf, "max_steps": 100000, "replay": 0 if mesh is None else len(mesh), "rate": rate, "a": tableau.a,
            "c": tableau.c, "e": tableau.e, "e_low": tableau.e_low, "end": s, "mid": np.full(big, np.nan),
            "dense": tableau.dense, "y": self.y, "p": np.asarray(p, dtype=float), "atol": np.full(n, tol),
            "probe_atol": np.full(n, tol), "sigma": np.asarray(sigma, dtype=float), "out": self.out, "mesh": self.mesh, "nodes": self.nodes,
            "stages": self.stages, "ks": np.full((rows, big), np.nan), "new": np.full(big, np.nan), "w": np.full(rows, np.nan),
            "counts": self.counts, "last": self.last, "pace": np.zeros(0), "past": np.zeros(0), "history": np.zeros((0, 3)),
            "at": np.zeros(0, np.int64), "kept": np.zeros((0, 2, n)), **watching(), **more,
        }  # fmt: skip
        self.status = run(erk.FORWARD, model, self.values)
        self.steps = int(self.counts[0])
        self.mesh, self.nodes = self.mesh[: self.steps], self.nodes[: self.steps + 1]

    def adjoint(self, out_bar, y_bar=None):
        v, n, rows = self.values, self.n, len(self.tableau.c)
        bars = np.zeros(n) if y_bar is None else np.array(y_bar, dtype=float), np.zeros(len(v["p"])), np.zeros(1)
        self.status = self.run(erk.ADJOINT, self.model, {
            **{name: v[name] for name in ("t0", "span", "rate", "end", "a", "c", "dense", "p", "sigma", "mesh", "nodes", "stages")},
            "steps": self.steps, "out_bar": out_bar, "y_bar": bars[0], "p_bar": bars[1], "t_bar": bars[2],
            "kappa": np.full((rows, n), np.nan), "g": np.full((rows, n), np.nan), "w": np.full(rows, np.nan),
        })  # fmt: skip
        return bars


# ------------------------------------------------------------------ derivatives


def directions(model, y0, p, solve, rng):
    """Random tangents and cotangents, and the tangent solve over the recorded mesh."""
    y_dot, p_dot, t_dot = rng.standard_normal(len(y0)), rng.standard_normal(len(p)), rng.standard_normal()
    v = solve.values
    tangent = Solve(
        model.tangent(p_dot, t_dot), np.r_[y0, y_dot], p, v["span"], v["sigma"], tableau=solve.tableau, t0=v["t0"], rate=v["rate"],
        mesh=solve.mesh, n=len(y0), n_out=2 * len(y0), n_rec=0,
    )  # fmt: skip
    return y_dot, p_dot, t_dot, tangent


@EACH
@pytest.mark.parametrize("rate", [0, 1, 2, 4])
@pytest.mark.parametrize("span", [3.0, -1.2])
def test_adjoint_is_the_transpose_of_the_tangent(tableau, rate, span):
    """<out_bar, out_dot> + <y_bar, y_dot(end)> = <x_bar, x_dot> for outputs anywhere, boundaries, ends and repeats included."""
    rng = np.random.default_rng(4 + rate)
    y0, p, t0 = np.array([0.7, -0.3]), np.array([0.9, 1.7]), 0.4
    first = Solve(DRIVEN, y0, p, span, tableau=tableau, t0=t0, tol=1e-4)
    inside = span * np.sort(rng.random(7))
    sigma = np.sort(np.r_[0.0, 0.0, inside, inside[:2], first.nodes[1:4], span, span] * np.sign(span)) * np.sign(span)
    solve = Solve(DRIVEN, y0, p, span, sigma, tableau=tableau, t0=t0, tol=1e-4, rate=rate)
    assert solve.status == erk.DONE
    y_dot, p_dot, t_dot, tangent = directions(DRIVEN, y0, p, solve, rng)
    assert np.array_equal(tangent.out[:, :2], solve.out)
    out_bar, end_bar = rng.standard_normal((len(sigma), 2)), rng.standard_normal(2)
    calls = DRIVEN.calls
    y_bar, p_bar, t_bar = solve.adjoint(out_bar, end_bar)
    assert calls + tableau.stages * solve.steps + 1 <= DRIVEN.calls <= calls + (tableau.stages + tableau.extra) * solve.steps + 1
    forward = [np.sum(out_bar * tangent.out[:, 2:]), end_bar @ tangent.y[2:]]
    backward = [y_bar @ y_dot, p_bar @ p_dot, t_bar[0] * t_dot]
    size = np.sum(np.abs(out_bar * tangent.out[:, 2:])) + np.sum(np.abs(np.r_[y_bar * y_dot, p_bar * p_dot]))
    assert sum(forward) == pytest.approx(sum(backward), rel=0, abs=300 * EPS * size * 5**rate)   # weights of derivatives cancel


def test_adjoint_is_the_derivative_of_the_frozen_mesh():
    sigma = np.linspace(0, 20, 21)
    solve = Solve(PREY, Y0, P, 20.0, sigma)
    out_bar = np.cos(np.arange(42.0)).reshape(21, 2)
    y_bar, p_bar, _ = solve.adjoint(out_bar)

    def loss(theta):
        return np.sum(out_bar * Solve(PREY, theta[4:], theta[:4], 20.0, sigma, mesh=solve.mesh).out)

    theta = np.r_[P, Y0]
    for i, exact in enumerate(np.r_[p_bar, y_bar]):
        h = 1e-4 * theta[i]
        step = h * np.eye(6)[i]
        # fourth-order difference: truncation and rounding are both near 1e-11
        slope = (8 * (loss(theta + step) - loss(theta - step)) - (loss(theta + 2 * step) - loss(theta - 2 * step))) / (12 * h)
        assert slope == pytest.approx(exact, rel=2e-8)


def test_an_interval_of_length_zero_is_the_identity():
    solve = Solve(PREY, Y0, P, 0.0, [0.0, 0.0])
    assert (solve.status, solve.steps) == (erk.DONE, 0)
    assert np.array_equal(solve.out, [Y0, Y0])
    y_bar, p_bar, _ = solve.adjoint(np.array([[1.0, 2.0], [3.0, 5.0]]), [10.0, 20.0])
    assert y_bar.tolist() == [14.0, 27.0]
    assert not p_bar.any()


def test_derivative_outputs_at_an_interval_of_length_zero_are_the_slope():
    solve = Solve(PREY, Y0, P, 0.0, [0.0], rate=1)
    assert np.array_equal(solve.out[0], PREY.f(0.0, Y0, P))
    _, p_bar, _ = solve.adjoint(np.array([[1.0, 0.0]]))
    assert np.array_equal(p_bar, PREY.f_p(0.0, Y0, P)[0])


# ------------------------------------------------------------------ the mesh and the outputs


@EACH
def test_replay_gives_the_bits_of_the_solve_that_recorded(tableau):
    sigma = np.linspace(0, 10, 15)
    solve = Solve(PREY, Y0, P, 10.0, sigma, tableau=tableau)
    again = Solve(PREY, Y0, P, 10.0, sigma, tableau=tableau, mesh=solve.mesh)
    wider = Solve(PREY.tangent(P), np.r_[Y0, 1.0, 1.0], P, 10.0, sigma, tableau=tableau, mesh=solve.mesh, n=2)
    for other in (again, wider):
        assert np.array_equal(other.out, solve.out)
        assert np.array_equal(other.stages[: solve.steps], solve.stages[: solve.steps], equal_nan=True)
        assert np.array_equal(other.y[:2], solve.y)
        assert np.array_equal(other.nodes, solve.nodes)
    assert np.array_equal(solve.stages[solve.steps, 0], solve.y)
    assert again.counts[1] == 0


@EACH
def test_measured_order(tableau):
    """Halving a fixed step divides the error by 2^order, at the end and (by the interpolant's order) between nodes."""
    y0, p, sigma = [0.7, -0.3], [0.9, 1.7], np.linspace(0, 2, 57)
    exact = Solve(DRIVEN, y0, p, 2.0, sigma, tableau=DOP853, tol=1e-14)
    errors = []
    for n in (20, 40) if tableau.order < 7 else (6, 12):
        solve = Solve(DRIVEN, y0, p, 2.0, sigma, tableau=tableau, mesh=np.full(n, 2.0 / n))
        errors.append([np.max(np.abs(solve.y - exact.y)), np.max(np.abs(solve.out - exact.out))])
    end, between = np.log2(np.divide(*errors))
    assert end == pytest.approx(tableau.order, abs=0.5)
    assert between > tableau.order - (0.35 if tableau.order < 7 else 1.5)


@pytest.mark.parametrize("span", [20.0, -6.0])
def test_solution_is_right_to_tolerance(span):
    exact = Solve(PREY, Y0, P, span, tol=1e-12, cap=3000).y
    for tol in (1e-4, 1e-6, 1e-8):
        assert np.max(np.abs(Solve(PREY, Y0, P, span, tol=tol, cap=1000).y / exact - 1)) < 100 * tol


@EACH
@pytest.mark.parametrize("span", [7.0, -3.0])
def test_steps_land_on_the_end_without_slivers(tableau, span):
    solve = Solve(PREY, Y0, P, span, tableau=tableau)
    assert solve.nodes[-1] == span
    assert np.all(np.sign(solve.mesh) == np.sign(span))
    assert abs(solve.mesh[-1]) > 0.3 * abs(solve.mesh[-2])


@EACH
def test_outputs_at_nodes_are_the_states(tableau):
    nodes = Solve(PREY, Y0, P, 5.0, tableau=tableau).nodes
    solve = Solve(PREY, Y0, P, 5.0, nodes, tableau=tableau)
    assert np.array_equal(solve.out, solve.stages[: solve.steps + 1, 0])


def interpolant(tableau, solve, sigma, rate):
    """Dense output by its definition: y_n + h sum_i b_i(theta) k_i, differentiated in time ``rate`` times."""
    step = min(max(int(np.searchsorted(np.sign(solve.nodes[-1]) * solve.nodes, np.sign(solve.nodes[-1]) * sigma)) - 1, 0), solve.steps - 1)
    h, y = solve.mesh[step], solve.stages[step, 0]
    own, s = solve.stages[step], tableau.stages
    states = [*own[:s], solve.stages[step + 1, 0], *own[s:]]
    ks = [PREY.f(0.0, state, P) for state in states]
    out = y.copy() if rate == 0 else np.zeros_like(y)
    for row, k in zip(tableau.dense, ks, strict=True):
        b = np.polynomial.Polynomial([0.0, *row])
        out += h ** (1 - rate) * (b.deriv(rate) if rate else b)((sigma - solve.nodes[step]) / h) * k
    return out


@EACH
@pytest.mark.parametrize("span", [5.0, -3.0])
@pytest.mark.parametrize("rate", [0, 1, 2])
def test_outputs_are_the_interpolant(tableau, span, rate):
    sigma = np.linspace(0, span, 33)
    solve = Solve(PREY, Y0, P, span, sigma, tableau=tableau, rate=rate)
    dense = np.array([interpolant(tableau, solve, s, rate) for s in sigma])
    cancelling = max(1e-11, 1e-13 * np.max(np.abs(tableau.dense)))
    assert np.max(np.abs(dense - solve.out)) <= cancelling * np.max(np.abs(solve.out))


def test_derivative_outputs_approach_the_derivatives_of_the_solution():
    sigma = np.linspace(0, 10, 41)
    solution = Solve(PREY, Y0, P, 10.0, sigma, tol=1e-10, cap=2000).out
    first = Solve(PREY, Y0, P, 10.0, sigma, tol=1e-10, cap=2000, rate=1).out
    second = Solve(PREY, Y0, P, 10.0, sigma, tol=1e-10, cap=2000, rate=2).out
    for y, dy, ddy in zip(solution, first, second, strict=True):
        slope = PREY.f(0, y, P)
        assert dy == pytest.approx(slope, rel=1e-6, abs=1e-6)
        assert ddy == pytest.approx(PREY.f_y(0, y, P) @ slope, rel=1e-3, abs=1e-3)
    assert not Solve(PREY, Y0, P, 10.0, sigma, rate=5).out.any()


def test_a_large_t0_changes_no_step():
    here, there = (Solve(PREY, Y0, P, 10.0, [3.0, 7.0], t0=t0) for t0 in (0.0, 1e9))
    assert np.array_equal(here.mesh, there.mesh)
    assert np.array_equal(here.out, there.out)


def test_kernel_calls_are_counted_and_shared_between_steps():
    before = PREY.calls
    solve = Solve(PREY, Y0, P, 10.0)
    accepted, rejected, calls, worst = solve.counts[:4]
    assert calls == PREY.calls - before == 6 * (accepted + rejected) + 2
    assert worst == -1


# ------------------------------------------------------------------ step control


def probe_solve(model, y0, p, seed, span, sigma, **more):
    """Forward with one tangent in the norm."""
    n = len(y0)
    return Solve(model.tangent(seed), np.r_[y0, np.zeros(n)], p, span, sigma, n=n, probe_factor=10.0, **more)


@pytest.mark.parametrize("tol", [1e-6, 1e-9])
def test_a_state_at_rest_still_has_its_gradient(tol):
    """y' = k - 10 y from y = k / 10: the state says nothing about the step size, the sensitivity (1 - e^{-10 t}) / 10 does."""
    sigma = np.arange(11.0)
    solve = probe_solve(REST, [1.0], [10.0], np.array([10.0]), 10.0, sigma, tol=tol)
    solve.model = REST
    _, p_bar, _ = solve.adjoint(np.ones((11, 1)))
    assert p_bar[0] == pytest.approx(0.999995459800899, rel=100 * tol)
    blind = Solve(REST, [1.0], [10.0], 10.0, sigma, tol=tol)
    _, p_bar, _ = blind.adjoint(np.ones((11, 1)))
    assert abs(p_bar[0] - 1) > 1, "the trap is gone: the probe is not what saves this gradient"


def test_a_fixed_point_still_has_its_gradient():
    """Lotka-Volterra at (1, 1): d/da of sum(u1 + u2) is sum(2 - 2 cos t). Source: Sapienza et al. 2024, closed form derived."""
    model = Model(
        lambda t, y, p: np.array([p[0] * y[0] - y[0] * y[1], y[0] * y[1] - p[0] * y[1]]),
        lambda t, y, p: np.array([[p[0] - y[1], -y[0]], [y[1], y[0] - p[0]]]),
        lambda t, y, p: np.array([[y[0]], [-y[1]]]),
    )
    sigma = np.linspace(0, 10, 101)
    solve = probe_solve(model, [1.0, 1.0], [1.0], np.ones(1), 10.0, sigma, tol=1e-6)
    solve.model = model
    _, p_bar, _ = solve.adjoint(np.ones((101, 2)))
    assert p_bar[0] == pytest.approx(212.7104252168194, rel=1e-5)


def test_the_probe_hardly_costs_steps_on_an_ordinary_problem():
    with_probe = probe_solve(PREY, Y0, P, P, 20.0, ())
    assert with_probe.steps <= 1.15 * Solve(PREY, Y0, P, 20.0).steps


def test_step_limits_are_kept():
    solve = Solve(PREY, Y0, P, 5.0, max_step=0.1, first_step=0.01)
    assert solve.mesh[0] == 0.01
    assert np.max(solve.mesh) <= 0.1
    assert solve.mesh.sum() == pytest.approx(5.0)


def test_a_component_at_zero_without_absolute_tolerance_is_no_trap():
    decay = Model(lambda t, y, p: -p[0] * y, None, None)
    solve = Solve(decay, [1.0, 0.0], [1.0], 2.0, atol=np.zeros(2))
    assert solve.status == erk.DONE
    assert solve.y == pytest.approx([np.exp(-2.0), 0.0], rel=1e-5)


def test_a_nan_inside_a_step_is_rejected_not_accepted():
    """The right-hand side exists for y >= 0 only; the solution stays there, a long step does not."""
    calls = []

    def root(t, y, p):
        calls.append(y[0])
        return -50.0 * np.where(y >= 0, y, np.nan)

    solve = Solve(Model(root, None, None), [1.0], [0.0], 1.0, first_step=0.5)
    assert min(calls) < 0
    assert solve.counts[1] >= 1
    assert (solve.status, np.isfinite(solve.y).all()) == (erk.DONE, True)


def test_statuses():
    blow_up = Model(lambda t, y, p: np.array([-y[0], y[1] ** 2]), None, None)
    short = Solve(PREY, Y0, P, 20.0, cap=5)
    assert (short.status, short.steps) == (erk.FULL, 5)
    with np.errstate(over="ignore", invalid="ignore"):
        pole = Solve(blow_up, [1.0, 1.0], P, 2.0)
    assert (pole.status, pole.counts[3]) == (stepsize.UNDERFLOW, 1)
    assert pole.last[0] == pytest.approx(1.0, abs=1e-5)
    few = Solve(PREY, Y0, P, 20.0, max_steps=7)
    assert few.status == stepsize.MAX_STEPS
    assert few.counts[0] + few.counts[1] == 7
    lost = Solve(Model(lambda t, y, p: np.array([0.0, np.nan]), None, None), Y0, P, 1.0)
    assert (lost.status, lost.steps, lost.counts[3]) == (erk.NOT_FINITE, 0, 1)


def test_a_full_record_changes_nothing_once_enlarged():
    assert np.array_equal(Solve(PREY, Y0, P, 20.0, cap=70).mesh, Solve(PREY, Y0, P, 20.0, cap=700).mesh)


def test_nothing_need_be_recorded():
    kept, bare = Solve(PREY, Y0, P, 8.0, [4.0]), Solve(PREY, Y0, P, 8.0, [4.0], n_rec=0)
    assert np.array_equal(kept.out, bare.out)
    assert np.array_equal(kept.mesh, bare.mesh)
    assert bare.stages.size == 0


# ------------------------------------------------------------------ compiled

CTYPES = {"double": ctypes.c_double, "i64": ctypes.c_int64, "ptr": ctypes.c_void_p}
LV_RHS = """
define void @ds_rhs(double %t, ptr %y, ptr %p, ptr %out) {
  %y1p = getelementptr double, ptr %y, i64 1
  %p1p = getelementptr double, ptr %p, i64 1
  %p2p = getelementptr double, ptr %p, i64 2
  %p3p = getelementptr double, ptr %p, i64 3
  %y0 = load double, ptr %y
  %y1 = load double, ptr %y1p
  %p0 = load double, ptr %p
  %p1 = load double, ptr %p1p
  %p2 = load double, ptr %p2p
  %p3 = load double, ptr %p3p
  %birth = fmul double %p0, %y0
  %b0 = fmul double %p1, %y0
  %b = fmul double %b0, %y1
  %c0 = fmul double %p3, %y0
  %c = fmul double %c0, %y1
  %death = fmul double %p2, %y1
  %f0 = fsub double %birth, %b
  %f1 = fsub double %c, %death
  %out1 = getelementptr double, ptr %out, i64 1
  store double %f0, ptr %out
  store double %f1, ptr %out1
  ret void
}
"""


def callback(model, symbol):
    """A kernel of Python as a C function, called through its address; NumPy sees the loop's own memory."""
    sizes = (2, 4, 2) if symbol == "ds_rhs" else (2, 4, 2, 2, 4, 1)

    def kernel(t, *pointers):
        doubles = (ctypes.cast(x, ctypes.POINTER(ctypes.c_double)) for x in pointers)
        arrays = [np.ctypeslib.as_array(x, (n,)) for x, n in zip(doubles, sizes, strict=True)]
        (model.rhs if symbol == "ds_rhs" else model.vjp)(t, *arrays)

    return ctypes.CFUNCTYPE(None, ctypes.c_double, *[ctypes.c_void_p] * len(sizes))(kernel)


CALLBACKS = {symbol: callback(PREY, symbol) for symbol in loops.SYMBOLS}


@cache
def compiled(loop, form):
    if form == "linked":
        kernels = [LV_RHS, loops.unused("ds_event", "ds_event")]
    else:
        kernels = [loops.trampoline(symbol, ctypes.cast(CALLBACKS[symbol], ctypes.c_void_p).value) for symbol in loops.SYMBOLS]
    text = loop.text
    return engine.compile_ir([*kernels, text], [loop.symbol])


def exec_compiled(form):
    def run(loop, model, values):
        sizes = {"N": len(values.get("new", ())), "n": len(values.get("atol", values.get("y_bar"))), "n_p": len(values["p"])}
        sizes |= {"n_out": values.get("out", values.get("out_bar")).shape[1], "n_rec": values["stages"].shape[2]}
        sizes |= {"S": values["end"], "X": len(values["c"]) - 1 - values["end"], "L": len(values.get("e_low", ()))}
        sizes |= {"degree": values["dense"].shape[1], "m": len(values["sigma"]), "cap": len(values["nodes"]) - 1}
        sizes |= {"C": len(values.get("pace", ())), "P": len(values.get("past", ())), "H": len(values.get("history", ()))}
        sizes |= {"room": len(values["stages"]) - 1, "slots": len(values.get("at", ())), "n_kept": len(values.get("atol", ()))}
        given = {**sizes, **values}
        code = compiled(loop, form)
        kinds = [CTYPES[kind] for _, kind in loop.signature]
        function = code.function(loop.symbol, ctypes.c_int64, *kinds)
        return function(*(given[name].ctypes.data if kind == "ptr" else given[name] for name, kind in loop.signature))

    return run


@EACH
@pytest.mark.parametrize("form", ["linked", "by address"])
def test_machine_code_gives_the_bits_of_the_python_loop(tableau, form):
    sigma = np.linspace(0, 20, 21)
    here, there = (Solve(PREY, Y0, P, 20.0, sigma, tableau=tableau, run=run) for run in (exec_python, exec_compiled(form)))
    assert (here.status, there.status) == (erk.DONE, erk.DONE)
    assert np.array_equal(here.counts, there.counts)
    assert np.array_equal(here.mesh, there.mesh)
    assert np.array_equal(here.out, there.out)
    assert np.array_equal(here.stages, there.stages, equal_nan=True)
    out_bar = np.cos(np.arange(42.0)).reshape(21, 2)
    there.run = exec_compiled("by address")
    for x, y in zip(here.adjoint(out_bar), there.adjoint(out_bar), strict=True):
        assert np.array_equal(x, y)


def test_compiled_failures_are_those_of_the_python_loop():
    for more in ({"cap": 5}, {"max_steps": 7}, {"max_step": 1e-16}):
        here, there = (Solve(PREY, Y0, P, 20.0, run=run, **more) for run in (exec_python, exec_compiled("linked")))
        assert here.status == there.status != erk.DONE
        assert np.array_equal(here.counts, there.counts)


def test_instances_with_other_names_share_a_module():
    texts = [LV_RHS.replace("@ds_rhs", "@first"), LV_RHS.replace("@ds_rhs", "@second")]
    texts += [loops.unused("ds_event", "event")]
    texts += [erk.FORWARD.instance({"ds_rhs": name, "ds_event": "event", "erk_forward": f"loop_{name}"}) for name in ("first", "second")]
    code = engine.compile_ir(texts, ["loop_first", "loop_second"])
    assert code.address("loop_first") != code.address("loop_second")


def test_a_call_names_every_argument():
    values = {name: 1.5 if kind == "double" else 2 if kind == "i64" else f"%{name}" for name, kind in erk.ADJOINT.signature}
    text = erk.ADJOINT.call("done", values, "mine")
    assert text.startswith("  %done = call i64 @mine(i64 2, ")
    assert "double 0x3FF8000000000000" in text
    assert erk.ADJOINT.declaration("mine").count("ptr") == text.count("ptr")
    with pytest.raises(InputError, match="'t0'"):
        erk.ADJOINT.call("done", {name: x for name, x in values.items() if name != "t0"})


ENTRY = """
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
define i64 @solve(double %span, ptr noalias %rtol, ptr noalias %y0, ptr noalias %p, ptr noalias %atol, ptr noalias %sigma, ptr noalias %out,
                  ptr noalias %mesh, ptr noalias %nodes, ptr noalias %stages, ptr noalias %counts, ptr noalias %last) {
  %y = alloca [2 x double]
  %ks = alloca [14 x double]
  %new = alloca [2 x double]
  %w = alloca [7 x double]
  call void @llvm.memcpy.p0.p0.i64(ptr %y, ptr %y0, i64 16, i1 false)
CALL
  ret i64 %status
}
"""


def specialised():
    """Texts of an entry that fixes sizes and method, as a model's does."""
    values = {name: f"%{name}" for name, kind in erk.FORWARD.signature}
    values |= {"N": 2, "n": 2, "n_out": 2, "n_rec": 2, "n_p": 4, "S": 6, "X": 0, "L": 0, "end": 6, "degree": 4, "m": 21, "cap": 1000}
    values |= {"order": 5.0, "t0": 0.0}
    values |= {"probe_factor": 0.0, "first_step": 0.0, "max_step": np.inf, "max_steps": 100000, "replay": 0, "rate": 0}
    values |= {"probe_atol": "%atol", "e_low": "%atol", "mid": "%new", "C": 0, "P": 0, "H": 0}
    values |= dict.fromkeys(("pace", "past", "history"), "%atol")
    values |= {"room": 1000, "slots": 0, "n_kept": 2, "at": "%mesh", "kept": "%mesh"}
    values |= {name: "null" if isinstance(x, np.ndarray) else x for name, x in watching().items()}
    values |= {name: f"@tsit5_{name}" for name in ("a", "c", "e", "dense")}
    tables = [loops.constant(f"tsit5_{name}", getattr(TSIT5, name)) for name in ("a", "c", "e", "dense")]
    call = erk.FORWARD.call("status", values, "loop_3")
    entry = "".join(tables) + erk.FORWARD.declaration("loop_3") + ENTRY.replace("CALL", call)
    loop = erk.FORWARD.instance({"ds_rhs": "prey", "ds_event": "prey_event", "erk_forward": "loop_3"}, S=6, X=0, L=0, end=6, degree=4,
                                 C=0, P=0, H=0, G=0, n_stops=0, n_news=0)
    return [entry, LV_RHS.replace("@ds_rhs", "@prey"), loop, loops.unused("ds_event", "prey_event")]


@pytest.mark.parametrize("long_loops", [True, False])
def test_a_specialised_entry_gives_the_same_bits_and_llvm_unrolls_it_without_complaint(long_loops, capfd):
    code = engine.compile_ir(specialised(), ["solve"], loops=long_loops)
    assert capfd.readouterr().err == ""
    here = Solve(PREY, Y0, P, 20.0, np.linspace(0, 20, 21))
    v = here.values
    there = {name: np.zeros_like(v[name]) for name in ("out", "mesh", "nodes", "stages", "counts", "last")}
    kinds = [ctypes.c_int64, ctypes.c_double, *[ctypes.c_void_p] * 11]
    arrays = [v["rtol"], Y0, v["p"], v["atol"], v["sigma"], *there.values()]
    assert code.function("solve", *kinds)(20.0, *(array.ctypes.data for array in arrays)) == erk.DONE
    for name in ("out", "counts", "last"):
        assert np.array_equal(there[name], v[name]), name
    assert np.array_equal(there["mesh"][: here.steps], here.mesh)


def test_a_specialised_loop_keeps_its_stages_in_registers():
    machine = engine._target_machine()
    module = engine.link(specialised(), ["solve"])
    engine.optimise(module, machine, 3, engine.INLINE_THRESHOLD, unroll=True, vectorise=True)
    assert "alloca" not in str(module)
    assert [f.name for f in module.functions if not f.is_declaration] == ["solve"]

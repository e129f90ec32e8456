"""Tangents of a solve along several directions at once: those taken one by one, closed under differentiation."""

import numpy as np
import pytest

import diffsim as ds
from diffsim.core import Aval
from diffsim.ode.control import Control
from diffsim.ode.loops.families import directions_innermost
from diffsim.ode.odeint import adjoint, odeint, replay, tangent, tangents
from diffsim.ode.system import FLOAT, SCALAR, System
from diffsim.prims import elementwise as ew
from diffsim.prims import layout
from diffsim.transforms import jvp, linearize, pull, trace

T0, SPAN, SIGMA = np.float64(0.2), np.float64(1.5), np.array([0.4, 1.1, 1.5])
Z = [T0, np.array([1.0, 0.3, 0.1, -0.4]), SIGMA, np.array([1.5, 0.8]), np.float64(1.1)]
METHODS = ["Tsit5", "DOP853", "Rodas5P", "KenCarp4", "Radau", "BDF", "auto"]
FIXED = ["RK4", "Yoshida4", "CrankNicolson"]


def pendulums(t, y, p, q):
    """Two pendulums coupled by a spring, y = (angles, velocities): separable."""
    angles, velocities = (layout.index(y, at=layout.basic((4,), (slice(i, i + 2),))) for i in (0, 2))
    other = layout.index(angles, at=layout.basic((2,), (slice(None, None, -1),)))
    force = ew.sub(ew.mul(q, ew.sub(other, angles)), ew.mul(p, ew.sin(angles)))
    return layout.concatenate(velocities, ew.add(force, ew.mul(0.1, ew.sin(t))), axis=0)


def system(kind="graph"):
    avals = (Aval((2,), FLOAT), SCALAR)
    if kind == "python":
        return System(4, avals, fun=pendulums, digest="pendulums")
    return System(4, avals, graph=trace(lambda *x: [pendulums(*x)], [SCALAR, Aval((4,), FLOAT), *avals])[0])


def solved(method, kind="graph"):
    """A record of a solve and what is static of it."""
    static = {"system": system(kind), "method": method, "rate": 0}
    if method in FIXED:
        return replay(np.full(12, SPAN / 12), T0, Z[1], SIGMA, *Z[3:], **static)[1], static
    return odeint(T0, SPAN, Z[1], SIGMA, *Z[3:], control=Control(1e-6, 1e-8), probe=None, keep=True, **static)[1], static


def directions(rng, wrt, k):
    shapes = [(), (4,), (2,), ()]
    return [rng.normal(size=(*shape, k)) for shape, on in zip(shapes, wrt, strict=True) if on]


def in_order(out, method):
    """Tangents as (k, m, n)."""
    return np.transpose(out, (2, 0, 1) if directions_innermost(method) else (1, 0, 2))


@pytest.mark.parametrize("method", METHODS + FIXED)
def test_block_is_its_members(method, rng):
    k, (record, static) = 5, solved(method)
    for wrt in ((True, True, True, True), (False, False, True, False))[:1 + (method in METHODS[:3])]:
        d = directions(rng, wrt, k)
        out = in_order(tangents(record, T0, Z[1], SIGMA, *Z[3:], *d, wrt=wrt, **static), method)
        for j in range(k):
            one = tangent(record, T0, Z[1], SIGMA, *Z[3:], *[np.float64(x) if np.ndim(x) == 0 else x for x in (v[..., j] for v in d)],
                          wrt=wrt, **static)
            np.testing.assert_allclose(out[j], one, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("method", ["Tsit5", "Rodas5P", "KenCarp4", "Radau"])
def test_uncompiled_is_compiled(method, rng):
    wrt = (True, True, True, False)
    d = directions(rng, wrt, 3)
    record, static = solved(method)
    fast = tangents(record, T0, Z[1], SIGMA, *Z[3:], *d, wrt=wrt, **static)
    slow = tangents(record, T0, Z[1], SIGMA, *Z[3:], *d, wrt=wrt, **static | {"system": system("python")})
    np.testing.assert_allclose(fast, slow, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", ["Tsit5", "Rodas5P", "Kvaerno5"])
def test_closed_under_differentiation(method, rng):
    """Tangents of tangents are their differences, and tangents of those again; the transpose is the adjoint."""
    record, static = solved(method)
    wrt, k = (True, True, True, True), 3
    d = directions(rng, wrt, k)

    def f(*z):
        t0, y0, sigma, *rest = z
        return [tangents(record, t0, y0, sigma, *rest, wrt=wrt, **static)]
    point = [T0, *Z[1:], *d]
    v = [rng.normal(size=np.shape(x)) if np.ndim(x) else np.float64(rng.normal()) for x in point]
    v[2][-1] = 0.0                                        # the last output is the end of the span

    def along(*z):
        return jvp(f, z, v)[1]

    def moved(g, e):
        return g(*[x + e * dx for x, dx in zip(point, v, strict=True)])[0]
    for g in (f, along):
        y_dot = jvp(g, point, v)[1][0]
        e = 1e-4
        difference = (8 * (moved(g, e) - moved(g, -e)) - (moved(g, 2 * e) - moved(g, -2 * e))) / (12 * e)
        np.testing.assert_allclose(y_dot, difference, rtol=2e-7, atol=2e-7 * np.abs(difference).max())
    y, equations, outputs = linearize(f, point, [True] * len(point), "grad")
    w = rng.normal(size=y[0].shape)
    bars = pull(equations, [w], outputs, len(point))
    forward = jvp(f, point, v)[1][0]
    assert np.sum(w * forward) == pytest.approx(sum(np.sum(b * x) for b, x in zip(bars, v, strict=True)), rel=1e-9)
    cut = w[..., 1] if directions_innermost(method) else w[:, 1]
    row = adjoint(record, T0, Z[1], SIGMA, *Z[3:], cut, wrt=wrt, **static)
    np.testing.assert_allclose(bars[7][:, 1], row[2], rtol=1e-10, atol=1e-12)


def decay(t, y, k):
    return np.array([-k[0] * y[0], k[0] * y[0] - k[1] * y[1] * y[1], k[2] * y[1]])


def outputs(k, method):
    return ds.solve_ivp(decay, (0, 2), [1.0, 0.1, 0.0], method, t_eval=[0.5, 2.0], args=(k,)).y


def count(graph):
    """How often each primitive occurs in a graph."""
    names = [e.prim.name for e in graph.eqns]
    return {name: names.count(name) for name in ("odeint_tangent", "odeint_tangents", "odeint_adjoint")}


@pytest.mark.parametrize("method", ["Tsit5", "Kvaerno5"])
def test_forward_jacobians_take_one_loop(method):
    k = np.array([1.0, 2.0, 0.5])
    forwards, backwards = ds.jacfwd(outputs)(k, method), ds.jacrev(outputs)(k, method)
    np.testing.assert_allclose(forwards, backwards, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ds.jit(ds.jacfwd(lambda k: outputs(k, method)))(k), forwards, rtol=1e-9, atol=1e-12)
    directional = ds.vmap(lambda v: ds.jvp(lambda k: outputs(k, method), (k,), (v,))[1])
    np.testing.assert_allclose(np.stack(directional(np.eye(3)), -1), forwards, rtol=1e-12, atol=1e-14)
    for f, x in ((ds.jacfwd(lambda k: outputs(k, method)), k), (directional, np.eye(3))):
        graph = ds.make_graph(f)(x)
        assert count(graph) == {"odeint_tangent": 0, "odeint_tangents": 1, "odeint_adjoint": 0}


def test_members_with_points_of_their_own():
    """Where each member starts elsewhere, each is a solve; where only directions differ within members, each member is one block."""
    starts = np.array([[1.0, 0.1, 0.0], [0.8, 0.3, 0.1]])

    def end(y0):
        return ds.solve_ivp(decay, (0, 2), y0, t_eval=[2.0], args=(np.array([1.0, 2.0, 0.5]),)).y[:, 0]
    together = ds.vmap(ds.jacfwd(end))(starts)
    np.testing.assert_allclose(together, [ds.jacfwd(end)(y0) for y0 in starts], rtol=1e-12)
    twice = ds.jacfwd(ds.jacfwd(end))(starts[0])
    np.testing.assert_allclose(twice, ds.jacfwd(ds.jacrev(end))(starts[0]), rtol=1e-8, atol=1e-12)


def many_rates(k, n_out, method="Tsit5"):
    """A chain of decays with as many rates as states."""
    def f(t, y, k):
        flow = k * y
        return np.concatenate([-flow[:1], flow[:-1] - flow[1:]])
    return ds.solve_ivp(f, (0, 2), np.linspace(1.0, 0.1, k.size), method, t_eval=np.linspace(0.5, 2.0, n_out), args=(k,)).y[-1]


@pytest.mark.parametrize(("n_rates", "n_out", "method", "forwards"), [
    (12, 2, "Tsit5", False), (12, 40, "Tsit5", True), (3, 2, "Kvaerno5", True), (12, 1, "Kvaerno5", False)])
def test_a_jacobian_goes_the_cheaper_way(n_rates, n_out, method, forwards):
    """By counted operations: a few inputs more than outputs still go forwards, where a direction costs less than a cotangent."""
    k = np.linspace(0.5, 1.5, n_rates)

    def f(k):
        return many_rates(k, n_out, method)
    counted = count(ds.make_graph(ds.jacobian(f))(k))
    assert counted["odeint_tangents"] == forwards
    assert counted["odeint_adjoint"] == (0 if forwards else n_out)
    np.testing.assert_allclose(ds.jacobian(f)(k), ds.jacrev(f)(k), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(ds.jit(ds.jacobian(f))(k), ds.jacfwd(f)(k), rtol=1e-8, atol=1e-12)


def test_what_a_way_costs_is_counted():
    """The way back costs the same however many inputs there are, a block of tangents one slope and so many tangents of it."""
    static = {"system": system(), "method": "RK4", "rate": 0}
    record = solved("RK4")[0]
    for wrt in ((False, True, True, True), (False, False, True, False)):
        once, each, back = tangent.effort((record,), static | {"wrt": wrt})
        assert 0 < each < back
        assert once > 0
    alone = tangent.effort((None,), static | {"wrt": wrt})
    assert once == 12 * alone[0]

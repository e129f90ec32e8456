"""The solve primitives on a frozen mesh: derivatives of every order and mix agree with each other and with differences."""

import numpy as np
import pytest

from diffsim.core import Aval
from diffsim.ode.control import Control
from diffsim.ode.odeint import odeint, replay
from diffsim.ode.system import FLOAT, SCALAR, System
from diffsim.prims import elementwise as ew
from diffsim.prims import layout
from diffsim.transforms import jvp, linearize, pull, push, trace

N = 2
T0, SPAN = np.float64(0.3), np.float64(2.0)
SIGMA = np.array([0.0, 0.5, 1.1, 2.0 - 1e-3])


def predator_prey(t, y, p, q):
    """A forced predator-prey system, written in primitives."""
    a, b = (layout.index(y, at=layout.basic((2,), (i,))) for i in range(2))
    c, d = (layout.index(p, at=layout.basic((2,), (i,))) for i in range(2))
    slopes = (ew.add(ew.sub(ew.mul(c, a), ew.mul(q, ew.mul(a, b))), ew.mul(0.1, ew.sin(ew.mul(t, b)))), ew.sub(ew.mul(d, ew.mul(a, b)), b))
    return layout.concatenate(*[layout.reshape(np.asarray(s) if isinstance(s, np.floating) else s, shape=(1,)) for s in slopes], axis=0)


def system(kind):
    avals = (Aval((2,), FLOAT), SCALAR)
    if kind == "python":
        return System(N, avals, fun=predator_prey, digest="predator-prey")
    return System(N, avals, graph=trace(lambda *x: [predator_prey(*x)], [SCALAR, Aval((N,), FLOAT), *avals])[0])


class Case:
    """A loss of (t0, y0, sigma, p, q) over a replayed mesh, and directions to differentiate along."""

    def __init__(self, kind, method, rtol, rng):
        self.static = {"system": system(kind), "method": method}
        self.z = [T0, np.array([1.0, 1.2]), SIGMA, np.array([1.5, 0.8]), np.float64(1.1)]
        control = Control(rtol, rtol)
        self.record = odeint(T0, SPAN, self.z[1], SIGMA, *self.z[3:], rate=0, control=control, probe=None, keep=True, **self.static)[1]
        self.weights = rng.normal(size=(len(SIGMA), N))
        self.rng = rng

    def loss(self, t0, y0, sigma, p, q):
        ys = replay(self.record, t0, y0, sigma, p, q, rate=0, **self.static)[0]
        return [layout.reduce_sum(ew.mul(self.weights, ew.mul(ys, ys)), axes=(0, 1))]

    def grad(self, *z):
        _, equations, outputs = linearize(self.loss, z, [True] * 5, "grad")
        return pull(equations, [np.float64(1)], outputs, 5)

    def direction(self):
        v = [np.float64(self.rng.normal()) if np.ndim(x) == 0 else self.rng.normal(size=x.shape) for x in self.z]
        v[2][0] = 0.0                                    # the output at t0 itself has a derivative on one side only
        return v

    def difference(self, f, v):
        """Fourth-order central difference of f along v."""
        e = 1e-4 if self.static["method"] == "DOP853" else 1e-5        # the weights of its interpolant cancel three digits

        def at(s):
            return f([x + s * d for x, d in zip(self.z, v, strict=True)])
        return (8 * (at(e) - at(-e)) - (at(2 * e) - at(-2 * e))) / (12 * e)


def dot(a, b):
    return float(sum(np.sum(x * y) for x, y in zip(a, b, strict=True)))


CASES = [("python", "Tsit5", 1e-3), ("graph", "Tsit5", 1e-3), ("graph", "Tsit5", 1e-8), ("graph", "RK45", 1e-3), ("graph", "RK23", 1e-3),
         ("python", "Rodas5P", 1e-3), ("graph", "Rodas5P", 1e-3), ("graph", "Rosenbrock23", 1e-3),
         ("python", "DOP853", 1e-3), ("graph", "DOP853", 1e-3),
         ("python", "KenCarp4", 1e-3), ("graph", "KenCarp4", 1e-3), ("graph", "TRBDF2", 1e-3)]


@pytest.fixture(params=CASES, ids=lambda c: f"{c[0]}-{c[1]}-{c[2]:g}")
def case(request, rng):
    return Case(*request.param, rng)


def test_first_derivatives_are_those_of_the_discrete_solution(case):
    v = case.direction()
    forward = jvp(case.loss, case.z, v)[1][0]
    assert dot(case.grad(*case.z), v) == pytest.approx(forward, rel=1e-12)
    assert forward == pytest.approx(case.difference(lambda z: case.loss(*z)[0], v), rel=1e-8)


def test_second_derivatives_agree_in_every_order_of_the_modes(case):
    u, v = case.direction(), case.direction()
    forward_over_reverse = dot(jvp(case.grad, case.z, v)[1], u)

    def along_v(*z):
        return [jvp(case.loss, z, v)[1][0]]

    _, equations, outputs = linearize(along_v, case.z, [True] * 5, "grad")
    reverse_over_forward = dot(pull(equations, [np.float64(1)], outputs, 5), u)
    _, equations, outputs = linearize(case.grad, case.z, [True] * 5, "grad")
    reverse_over_reverse = dot(pull(equations, v, outputs, 5), u)
    assert reverse_over_forward == pytest.approx(forward_over_reverse, rel=1e-11)
    assert reverse_over_reverse == pytest.approx(forward_over_reverse, rel=1e-11)
    assert dot(push(equations, u, outputs), v) == pytest.approx(forward_over_reverse, rel=1e-11)
    assert jvp(along_v, case.z, u)[1][0] == pytest.approx(forward_over_reverse, rel=1e-11)
    assert forward_over_reverse == pytest.approx(case.difference(lambda z: dot(case.grad(*z), u), v), rel=1e-8)


@pytest.mark.parametrize("kind", ["python", "graph"])
def test_third_derivatives_agree(kind, rng):
    case = Case(kind, "Tsit5", 1e-3, rng)
    u, v, w = case.direction(), case.direction(), case.direction()

    def forward(*z):
        return jvp(case.grad, z, v)[1]

    def reverse(*z):
        _, equations, outputs = linearize(case.grad, z, [True] * 5, "grad")
        return pull(equations, v, outputs, 5)

    want = dot(jvp(forward, case.z, w)[1], u)
    for f in (forward, reverse):
        _, equations, outputs = linearize(f, case.z, [True] * 5, "grad")
        assert dot(pull(equations, u, outputs, 5), w) == pytest.approx(want, rel=1e-11)
    assert want == pytest.approx(case.difference(lambda z: dot(forward(*z), u), w), rel=1e-7)

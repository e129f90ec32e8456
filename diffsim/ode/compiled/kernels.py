"""What the stepping loops call: a system's slopes and their derivatives, as graphs that become machine code and as Python.

Each kernel of ``codegen.loops`` is a function of a system: ``rhs`` its slopes, ``base_rhs`` its base's, ``vjp`` their cotangents, ``jac``
the entries of the base's Jacobian, ``rhs_t`` the derivative by time, ``push`` and ``pull`` products with the Jacobian from the right and
from the left, ``bend`` the cotangents of ``push`` and ``rhs_t``: second derivatives; ``drift`` and ``kick`` the slopes of positions and of
momenta, ``gentle`` those that are added to the stiff ones, ``drift_vjp``, ``kick_vjp`` and ``gentle_vjp`` their cotangents.
"""

import functools

import numpy as np

from diffsim.colouring import Pattern
from diffsim.core import Aval, Const, Eqn, Graph
from diffsim.ode.matrices.structure import SMALL, Plan
from diffsim.ode.system import FLOAT, SCALAR, System
from diffsim.passes import optimise
from diffsim.prims.elementwise import mul
from diffsim.prims.gather import gather
from diffsim.prims.layout import basic, concatenate, index, reshape
from diffsim.transforms import batch, forward, linearize, linearize_for_pattern, pattern_of, pull, push, trace


# ---------------------------------------------------------------- derivatives of the slopes
def vjp(system, wrt, t, y, p, w):
    """Cotangents of t (if active), y and the active leaves, for the cotangent ``w`` of dy/dt."""
    active = [bool(wrt[0]), True, *wrt[2:]]
    _, equations, outputs = linearize(lambda *x: [system.call(*x)], [t, y, *p], active, "the adjoint of a solve")
    return pull(equations, [w], outputs, sum(active))


def along(system, t, y, v, tau, p):
    """df/dy v + df/dt tau; None for a direction that is not there."""
    (f_dot,) = forward.jvp(lambda *x: [system.call(*x)], [t, y, *p], [tau, v, *[None] * len(p)], verb="a stiff solve")[1]
    return np.zeros(system.n) if f_dot is None else f_dot


def bend(system, wrt, t, y, v, tau, p, w):
    """Cotangents of t (if active), y and the active leaves, for the cotangent ``w`` of :func:`along`."""
    active = [bool(wrt[0]), True, *wrt[2:]]
    _, equations, outputs = linearize(lambda t, y, *p: [along(system, t, y, v, tau, p)], [t, y, *p], active, "the adjoint of a stiff solve")
    return pull(equations, [w], outputs, sum(active))


class Jacobian:
    """df/dy of a base system: where it may differ from zero, and the program of these entries.

    Attributes
    ----------
    rows, columns : ndarray of int, shape (nnz,)
    graph : Graph
        Inputs t, y and the leaves; one output of shape (nnz,).
    plan : Plan
        How matrices with these entries are stored and factorised.
    """

    def __init__(self, system):
        n, pattern, vector = system.n, None, Aval((system.n,), FLOAT)

        def entries(t, y, *p):
            nonlocal pattern
            _, equations, outputs = linearize_for_pattern(lambda y: [system.call(t, y, *p)], [y], "a stiff solve")
            pattern = Pattern((n, n), *pattern_of(equations, outputs, [vector], [vector]))
            if not pattern.nnz:
                return [np.zeros(0)]
            colouring = pattern.colouring("fwd")
            seeds = (colouring.columns == np.arange(colouring.n_forward)[:, None]) * 1.0
            if n <= SMALL:
                pushed = concatenate(*[push(equations, [seed], outputs)[0] for seed in seeds], axis=0)
            else:
                (pushed,), _ = batch(lambda v: push(equations, [v], outputs), len(seeds), [seeds], [True], "a stiff solve")
                pushed = reshape(pushed, shape=(len(seeds) * n,))
            return [gather(pushed, colouring.at)]

        if system.graph is None:
            pattern, self.graph = Pattern((n, n), *np.divmod(np.arange(n * n), n)), None
        else:
            self.graph = _without_zeros(trace(entries, [SCALAR, vector, *system.p_avals], verb="a stiff solve")[0])
        self.rows, self.columns = pattern.rows, pattern.cols
        self.plan = Plan(n, self.rows, self.columns, system.mass, system.solver)
        self.mass = system.mass

    @functools.cached_property
    def banded(self):
        """The plan of loops that store a band, or a full matrix, themselves."""
        return self.plan if self.plan.kind != "sparse" else Plan(len(self.plan.place), self.rows, self.columns, self.mass, "banded")


def _without_zeros(graph):
    """The graph with products of zeros left out: seeds are full of them, and 0 times anything is no part of a derivative."""
    while True:
        graph, zero, eqns = optimise(graph), {}, []
        for e in graph.eqns:
            if e.prim is mul and any(isinstance(x, Const) and not np.any(x.value) for x in e.inputs):
                zero[e.outputs[0]] = Const(np.zeros(e.outputs[0].aval.shape))
            else:
                eqns.append(Eqn(e.prim, [zero.get(x, x) for x in e.inputs], e.params, e.outputs, e.line))
        if not zero:
            return graph
        graph = Graph(graph.inputs, eqns, [zero.get(x, x) for x in graph.outputs])


def jacobian(system):
    """:class:`Jacobian` of the base of a system."""
    return system.base.once("jacobian", lambda: Jacobian(system.base))


# ---------------------------------------------------------------- as graphs
def _point(system):
    return [SCALAR, Aval((system.n,), FLOAT)]


def _full(bars, avals):
    return [np.zeros(a.shape) if b is None else b for a, b in zip(avals, bars, strict=True)]


def _bar_avals(system, wrt):
    return [a for a, on in zip([*_point(system), *system.p_avals], (wrt[0], True, *wrt[2:]), strict=True) if on]


def vjp_graph(system, wrt):
    """Inputs t, y, leaves, w; outputs the cotangents, zeros where they vanish."""
    def fun(*x):
        return _full(vjp(system, wrt, x[0], x[1], x[2:-1], x[-1]), _bar_avals(system, wrt))
    avals = [*_point(system), *system.p_avals, Aval((system.n,), FLOAT)]
    return system.once(("vjp", wrt), lambda: trace(fun, avals, verb="the adjoint of a solve")[0])


def half(system, which):
    """A system's slopes of its positions ("drift") or of its momenta ("kick"), of all blocks one after the other."""
    nb = system.base.n
    at = 0 if which == "drift" else nb // 2
    cuts = [basic((system.n,), (slice(block + at, block + at + nb // 2),)) for block in range(0, system.n, nb)]

    def fun(t, y, *p):
        f = system.call(t, y, *p)
        parts = [index(f, at=cut) for cut in cuts]
        return parts[0] if len(parts) == 1 else concatenate(*parts, axis=0)

    def make():
        if system.graph is None:
            return System(system.n, system.p_avals, fun=fun, digest=f"{system.digest} {which}")
        return System(system.n, system.p_avals, graph=optimise(trace(lambda *x: [fun(*x)], [*_point(system), *system.p_avals])[0]))
    return system.once(which, make)


def half_vjp_graph(system, which, wrt):
    """As :func:`vjp_graph`, of the slopes of one half: w is of size n / 2."""
    def fun(*x):
        return _full(vjp(half(system, which), wrt, x[0], x[1], x[2:-1], x[-1]), _bar_avals(system, wrt))
    avals = [*_point(system), *system.p_avals, Aval((system.n // 2,), FLOAT)]
    return system.once((which, "vjp", wrt), lambda: trace(fun, avals, verb="the adjoint of a solve")[0])


def rhs_t_graph(system):
    """Inputs t, y, leaves; output df/dt."""
    avals = [*_point(system), *system.p_avals]
    return system.once("rhs_t", lambda: trace(lambda t, y, *p: [along(system, t, y, None, np.float64(1), p)], avals)[0])


def push_graph(system):
    """Inputs t, y, v, leaves; output df/dy v."""
    avals = [*_point(system), Aval((system.n,), FLOAT), *system.p_avals]
    return system.once("push", lambda: trace(lambda t, y, v, *p: [along(system, t, y, v, None, p)], avals)[0])


def pull_graph(system):
    """Inputs t, y, w, leaves; output w^T df/dy."""
    wrt = (False, True, *[False] * len(system.p_avals))

    def fun(t, y, w, *p):
        return _full(vjp(system, wrt, t, y, p, w), [Aval((system.n,), FLOAT)])
    avals = [*_point(system), Aval((system.n,), FLOAT), *system.p_avals]
    return system.once("pull", lambda: trace(fun, avals)[0])


def bend_graph(system, wrt):
    """Inputs t, y, v, tau, leaves, w; outputs the cotangents, zeros where they vanish."""
    def fun(t, y, v, tau, *rest):
        return _full(bend(system, wrt, t, y, v, tau, rest[:-1], rest[-1]), _bar_avals(system, wrt))
    vector = Aval((system.n,), FLOAT)
    avals = [*_point(system), vector, SCALAR, *system.p_avals, vector]
    return system.once(("bend", wrt), lambda: trace(fun, avals, verb="the adjoint of a stiff solve")[0])


# ---------------------------------------------------------------- as Python
class PythonKernels:
    """Kernels of a system for the uncompiled loops."""

    def __init__(self, system, wrt=None, conditions=None):
        self.system, self.wrt, self.conditions = system, wrt, conditions

    def rhs(self, t, y, p, out):
        out[:] = self.system.call(np.float64(t), y.copy(), *self.system.unpack(p))

    def base_rhs(self, t, y, p, out):
        base, at = self.system.base, slice(self.system.base_at, self.system.base_at + self.system.base.n)
        out[at] = base.call(np.float64(t), y[at].copy(), *base.unpack(p))

    def event(self, t, y, p, out):
        leaves = self.system.unpack(p)[:len(self.conditions.p_avals)]
        out[:] = self.conditions.call(np.float64(t), y[:self.conditions.n_states].copy(), *leaves)

    def jac(self, t, y, p, out):
        base = self.system.base
        place, leaves = jacobian(base), base.unpack(p)
        columns = [along(base, np.float64(t), y.copy(), v, None, leaves) for v in np.eye(base.n)]
        out[:] = np.transpose(columns)[place.rows, place.columns]

    def rhs_t(self, t, y, p, out):
        out[:] = along(self.system, np.float64(t), y.copy(), None, np.float64(1), self.system.unpack(p))

    def push(self, t, y, v, p, out):
        out[:] = along(self.system, np.float64(t), y.copy(), v.copy(), None, self.system.unpack(p))

    def pull(self, t, y, w, p, out):
        wrt = (False, True, *[False] * len(self.system.p_avals))
        (bar,) = vjp(self.system, wrt, np.float64(t), y.copy(), self.system.unpack(p), w.copy())
        out[:] = 0.0 if bar is None else bar

    def vjp(self, t, y, p, w, y_bar, p_bar, t_bar):
        self._add(vjp(self.system, self.wrt, np.float64(t), y.copy(), self.system.unpack(p), w.copy()), y_bar, p_bar, t_bar)

    def drift(self, t, y, p, out):
        out[:] = half(self.system, "drift").call(np.float64(t), y.copy(), *self.system.unpack(p))

    def kick(self, t, y, p, out):
        out[:] = half(self.system, "kick").call(np.float64(t), y.copy(), *self.system.unpack(p))

    def drift_vjp(self, t, y, p, w, y_bar, p_bar, t_bar):
        self._half_vjp("drift", t, y, p, w, y_bar, p_bar, t_bar)

    def kick_vjp(self, t, y, p, w, y_bar, p_bar, t_bar):
        self._half_vjp("kick", t, y, p, w, y_bar, p_bar, t_bar)

    def gentle(self, t, y, p, out):
        out[:] = self.system.gentle.call(np.float64(t), y.copy(), *self.system.unpack(p))

    def gentle_vjp(self, t, y, p, w, y_bar, p_bar, t_bar):
        self._add(vjp(self.system.gentle, self.wrt, np.float64(t), y.copy(), self.system.unpack(p), w.copy()), y_bar, p_bar, t_bar)

    def _half_vjp(self, which, t, y, p, w, y_bar, p_bar, t_bar):
        bars = vjp(half(self.system, which), self.wrt, np.float64(t), y.copy(), self.system.unpack(p), w.copy())
        self._add(bars, y_bar, p_bar, t_bar)

    def bend(self, t, y, v, tau, p, w, y_bar, p_bar, t_bar):
        point = np.float64(t), y.copy(), v.copy(), np.float64(tau), self.system.unpack(p), w.copy()
        self._add(bend(self.system, self.wrt, *point), y_bar, p_bar, t_bar)

    def _add(self, bars, y_bar, p_bar, t_bar):
        bars = list(bars)
        if self.wrt[0]:
            bar = bars.pop(0)
            t_bar[0] += 0.0 if bar is None else bar
        first = bars.pop(0)
        if first is not None:
            y_bar += first
        start = 0
        for a, bar in zip([a for a, on in zip(self.system.p_avals, self.wrt[2:], strict=True) if on], bars, strict=True):
            if bar is not None:
                p_bar[start:start + a.size] += np.ravel(bar)
            start += a.size

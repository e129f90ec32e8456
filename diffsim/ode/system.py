"""Systems: a right-hand side as the loops want it, traced to a graph or kept as Python, and the systems derived from it.

A system is ``f(t, y, *p) -> dy/dt`` with ``y`` of shape (n,) and parameter leaves ``p`` of any shapes.  From it follow

* the *augmented* system, whose state is a tangent and the state, (y_dot, y) or (y, y_dot): its solution is the forward sensitivity
  along one direction, and because a Runge-Kutta method commutes with linearisation it is, on one mesh, exactly the derivative of the
  discrete solution;
* the system *joined* by k tangents: the same along k directions at once, each step's work on the state done once;
* the *vjp*, which the discrete adjoint calls.

``wrt`` says what is differentiated: one flag for t0, one for y0, one for each parameter leaf.
"""

import functools
import hashlib

import numpy as np

from ..core import Aval, eval_graph
from ..prims.layout import basic, broadcast_to, concatenate, index, reshape, transpose
from ..transforms import batch, forward, trace
from ..transforms.strong import STRONG

FLOAT = np.dtype(np.float64)
SCALAR = Aval((), FLOAT)


class System:
    """A right-hand side with its parameter leaves.

    Parameters
    ----------
    n : int
        Size of the state.
    p_avals : tuple of Aval
        Parameter leaves.
    graph : Graph, optional
        Inputs t, y, then the leaves; one output of shape (n,).
    fun : callable, optional
        ``fun(t, y, *p)``: the same as Python, for what cannot be traced.
    digest : str
        Equal for systems that compute the same.
    within : (System, int), optional
        The system this is the state and one tangent of, and where its state begins.
    mass : Mass, optional
        M of M y' = f(t, y); the identity if not given. (Of a state with its tangents it is the base that has it.)
    solver : str
        How linear systems with its Jacobian are solved (``structure.SOLVERS``).
    gentle : System, optional
        A second part of dy/dt that is no part of its graph, for methods that treat the two in different ways.

    Attributes
    ----------
    base : System
        The innermost system of states and tangents; this one if it is none.
    base_at, depth : int
        Where the base's state begins; how many times a tangent was added.
    """

    __slots__ = ("_derived", "base", "base_at", "depth", "digest", "fun", "gentle", "graph", "mass", "n", "p_avals", "solver")

    def __init__(self, n, p_avals, graph=None, fun=None, digest=None, within=None, mass=None, solver="auto", gentle=None):
        self.n, self.p_avals, self.graph, self.fun = n, tuple(p_avals), graph, fun
        self.digest, self.gentle = digest or graph.digest, gentle
        self._derived, self.mass, self.solver = {}, mass, solver
        self.base, self.base_at, self.depth = self, 0, 0
        if within is not None:
            inner, at = within
            self.base, self.base_at, self.depth = inner.base, at + inner.base_at, inner.depth + 1

    def __eq__(self, other):
        return type(other) is System and self.digest == other.digest

    def __hash__(self):
        return hash(self.digest)

    def __repr__(self):
        return f"<system of {self.n} states, {self.digest[:8]}>"

    @property
    def n_p(self):
        """Length of the leaves laid end to end."""
        return sum(a.size for a in self.p_avals)

    def call(self, t, y, *p):
        """dy/dt on arrays or tracers."""
        return self.fun(t, y, *p) if self.graph is None else eval_graph(self.graph, t, y, *p)[0]

    def slopes(self, t, y, *p):
        """dy/dt with both parts, if there are two."""
        f = self.call(t, y, *p)
        return f if self.gentle is None else f + self.gentle.call(t, y, *p)

    def with_gentle(self, gentle):
        """The system of the sum of this one's slopes and another's with the same leaves."""
        digest = hashlib.sha256(f"{self.digest} and {gentle.digest}".encode()).hexdigest()
        return System(self.n, self.p_avals, self.graph, self.fun, digest, mass=self.mass, solver=self.solver, gentle=gentle)

    def repairing(self):
        """This system; while products are strong one with another digest: programs made of its derivatives before are not its programs."""
        if not STRONG.get():
            return self
        if "strong" not in self._derived:
            digest = hashlib.sha256(f"{self.digest} strong".encode()).hexdigest()
            gentle = self.gentle and self.gentle.repairing()
            strong = System(self.n, self.p_avals, self.graph, self.fun, digest, mass=self.mass, solver=self.solver, gentle=gentle)
            self._derived["strong"] = strong
            if self.depth:                                # its blocks are the base's
                strong.base, strong.base_at, strong.depth = self.base, self.base_at, self.depth
        return self._derived["strong"]

    def with_mass(self, mass, digest):
        """The system M y' = f(t, y) of the same f."""
        digest = hashlib.sha256(f"{self.digest} mass {digest}".encode()).hexdigest()
        return System(self.n, self.p_avals, self.graph, self.fun, digest, mass=mass, solver=self.solver)

    def solved_by(self, solver):
        """The same system with its linear systems solved in another way."""
        if solver == self.solver:
            return self
        digest = hashlib.sha256(f"{self.digest} solved {solver}".encode()).hexdigest()
        return System(self.n, self.p_avals, self.graph, self.fun, digest, mass=self.mass, solver=solver, gentle=self.gentle)

    def mapped(self, linear, key):
        """The system of ``linear(f)``, made once for each key."""
        def fun(t, y, *p):
            return linear(self.call(t, y, *p))

        def plain():
            if self.graph is None:
                return System(self.n, self.p_avals, fun=fun, digest=f"{self.digest} {key}")
            return System(self.n, self.p_avals, graph=trace(lambda *x: [fun(*x)], [SCALAR, Aval((self.n,), FLOAT), *self.p_avals])[0])

        def make():
            return plain() if self.gentle is None else plain().with_gentle(self.gentle.mapped(linear, key))
        return self.once(("mapped", key), make)

    def augmented(self, wrt, tangent_first=True):
        """System of the state and one tangent.

        Its leaves are those of this system, then a tangent for each active leaf, then the tangent of t if t0 is active.
        """
        make = functools.partial(self._augmented, wrt, tangent_first)
        gentle = self.gentle and self.gentle.augmented(wrt, tangent_first)
        return self._derive(("augmented", wrt, tangent_first), make, self.n * tangent_first, gentle)

    def _augmented(self, wrt, tangent_first):
        n, active = self.n, wrt[2:]
        avals = self.p_avals + tuple(a for a, on in zip(self.p_avals, active, strict=True) if on) + ((SCALAR,) if wrt[0] else ())
        lo, hi = basic((2 * n,), (slice(0, n),)), basic((2 * n,), (slice(n, 2 * n),))

        def fun(t, both, *leaves):
            y, y_dot = index(both, at=hi if tangent_first else lo), index(both, at=lo if tangent_first else hi)
            p, rest = leaves[:len(active)], list(leaves[len(active):])
            p_dot = [rest.pop(0) if on else None for on in active]
            t_dot = rest.pop(0) if wrt[0] else None
            point, direction = [t, y, *p], [t_dot, y_dot, *p_dot]
            (f,), (f_dot,) = forward.jvp(lambda *x: [self.call(*x)], point, direction, verb="solve_ivp")
            f_dot = np.zeros(n) if f_dot is None else f_dot
            return concatenate(*((f_dot, f) if tangent_first else (f, f_dot)), axis=0)
        return fun, 2 * n, avals

    def joined(self, wrt, k, tangent_first=True, inner=False):
        """System of the state and k tangents: (y_dot_1 .. y_dot_k, y) or (y, y_dot_1 .. y_dot_k), one slope of the state serving all.

        Its leaves are those of this system, then of each active leaf its k tangents, shape (*leaf, k), then those of t, shape (k,), if t0
        is active. Tangents of the state lie one after the other, shape (k, n), or if ``inner`` with directions innermost, shape (n, k).
        """
        make = functools.partial(self._joined, wrt, k, tangent_first, inner)
        gentle = self.gentle and self.gentle.joined(wrt, k, tangent_first, inner)
        return self._derive(("joined", wrt, k, tangent_first, inner), make, k * self.n * tangent_first, gentle)

    def _joined(self, wrt, k, tangent_first, inner):
        n, active, size = self.n, wrt[2:], (k + 1) * self.n
        avals = [Aval((*a.shape, k), FLOAT) for a, on in zip(self.p_avals, active, strict=True) if on]
        avals = (*self.p_avals, *avals, *[Aval((k,), FLOAT)] * wrt[0])
        cut = (k if tangent_first else 1) * n
        first, last = basic((size,), (slice(0, cut),)), basic((size,), (slice(cut, size),))

        def fun(t, whole, *leaves):
            y, dots = index(whole, at=last if tangent_first else first), index(whole, at=first if tangent_first else last)
            p, rest = leaves[:len(active)], [outermost(x) for x in leaves[len(active):]]
            dots = outermost(reshape(dots, shape=(n, k))) if inner else reshape(dots, shape=(k, n))

            def one(y_dot, *rest):
                rest = list(rest)
                p_dot = [rest.pop(0) if on else None for on in active]
                (f,), (f_dot,) = forward.jvp(lambda *x: [self.call(*x)], [t, y, *p], [rest.pop(0) if wrt[0] else None, y_dot, *p_dot],
                                             verb="solve_ivp")
                return [f, np.zeros(n) if f_dot is None else f_dot]
            (f, f_dots), (_, on) = batch(one, k, [dots, *rest], [True] * (1 + len(rest)), "solve_ivp")
            f_dots = f_dots if on else broadcast_to(f_dots, shape=(k, n))
            f_dots = reshape(innermost(f_dots) if inner else f_dots, shape=(k * n,))
            return concatenate(*((f_dots, f) if tangent_first else (f, f_dots)), axis=0)
        return fun, size, avals

    def _derive(self, key, make, at, gentle=None):
        key = (*key, "strong") if STRONG.get() else key
        have = self._derived.get(key)
        if have is None:
            fun, n, avals = make()
            digest = hashlib.sha256(f"{self.digest}{key}".encode()).hexdigest()
            if self.graph is None:
                have = System(n, avals, fun=fun, digest=digest, within=(self, at), gentle=gentle)
            else:
                graph, _ = trace(lambda *x: [fun(*x)], [SCALAR, Aval((n,), FLOAT), *avals], verb="solve_ivp")
                have = System(n, avals, graph=graph, digest=digest, within=(self, at), gentle=gentle)
            self._derived[key] = have
        return have

    def once(self, key, make):
        """``make()`` the first time it is asked for, under ``key`` and whether products are strong; what it returned from then on."""
        key = (key, STRONG.get())
        if key not in self._derived:
            self._derived[key] = make()
        return self._derived[key]

    def unpack(self, flat):
        """Leaves of a flat parameter vector, as views."""
        out, start = [], 0
        for a in self.p_avals:
            out.append(flat[start:start + a.size].reshape(a.shape))
            start += a.size
        return out


def outermost(x):
    """The last axis first: directions as the axis of a batch."""
    d = len(x.shape) - 1
    return transpose(x, axes=(d, *range(d)))


def innermost(x):
    """The first axis last."""
    d = len(x.shape)
    return transpose(x, axes=(*range(1, d), 0))


def pack(leaves):
    """Leaves laid end to end, a new float64 vector."""
    return np.concatenate([np.ravel(x) for x in leaves]).astype(float) if leaves else np.zeros(0)


__all__ = ["FLOAT", "SCALAR", "System", "innermost", "outermost", "pack"]

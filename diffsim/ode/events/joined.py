"""The result of a solve in stretches."""

import math

import numpy as np

from diffsim import tree
from diffsim.core import Tracer
from diffsim.errors import InputError
from diffsim.ode.arguments import concrete, vector
from diffsim.ode.dense import Dense
from diffsim.ode.loops.erk import COUNTS
from diffsim.ode.odeint import replay
from diffsim.ode.outcome import REACHED, warn_of_scale, with_attempts
from diffsim.ode.record import Mesh, Record
from diffsim.ode.result import OdeResult
from diffsim.prims.elementwise import add, sub
from diffsim.prims.layout import basic, concatenate, index, reshape

ENDED = "A termination event occurred."


class Piece:
    """Part of a solution: from ``t`` on, on a mesh, as a differentiable function of sigma = time - t.

    Parameters
    ----------
    t : scalar
    close : scalar
        Its end, as a sigma; maybe traced.
    y : array, shape (n,)
        The state at its start.
    mesh : Record or array of increments
    leaves : list
    jumped : bool
        Whether the state at its start is not the one at the end of the piece before.
    """

    __slots__ = ("close", "end", "jumped", "leaves", "mesh", "t", "y")

    def __init__(self, t, close, y, mesh, leaves, jumped):
        self.t, self.close, self.y, self.mesh, self.leaves, self.jumped = t, close, y, mesh, leaves, jumped
        self.end = float(concrete(close))

    @property
    def cut(self):
        """Whether it ends inside its last step."""
        return isinstance(self.mesh, Record) and abs(self.end) < abs(self.mesh.nodes[-1])

    def increments(self):
        """Sizes of its steps."""
        if not isinstance(self.mesh, Record):
            return np.array([self.end])
        h = self.mesh.increments
        return np.append(h[:-1], self.end - self.mesh.nodes[-2]) if self.cut else h

    def nodes(self):
        """Sigma at the nodes, the last one at the end, wherever it moves."""
        inside = self.mesh.nodes[:-1] if isinstance(self.mesh, Record) else np.zeros(1)
        return concatenate(inside, reshape(self.close, shape=(1,)), axis=0) if len(inside) else np.zeros(1)

    def kept(self, traced):
        """States at the nodes if they were kept and are plain numbers, else None."""
        recorded = not traced and isinstance(self.mesh, Record) and self.mesh.n == self.y.shape[0] and not self.cut
        return self.mesh.stages[:, 0, :] if recorded else None


def states(problem, piece, sigma):
    """Outputs of a piece, shape (m, n)."""
    return replay(piece.mesh, piece.t, piece.y, sigma, *piece.leaves, system=problem.system, method=problem.method, rate=0,
                  checkpoint=problem.policy)[0]


def finished(run, error, dense_output):
    """OdeResult of a run that came to its end, or ended with an error."""
    problem, hybrid = run.problem, run.hybrid
    t, ys = _at_nodes(run) if run.t_eval is None else at_times(run)
    counts = dict(zip(COUNTS, map(int, run.counts), strict=True))
    seen = [joined(chunks) for chunks in run.seen]
    result = OdeResult(
        t=t, y=problem.layout.outputs(ys), sol=PiecewiseInterpolant(problem, run.pieces) if dense_output and run.pieces else None,
        t_events=[t for t, _ in seen] if hybrid.given else None,
        y_events=[rows_of(problem.layout, ys) for _, ys in seen] if hybrid.given else None,
        nfev=counts["rhs_calls"], njev=counts["jac_calls"], nlu=counts["factorisations"], status=run.status,
        message=ENDED if run.status == 1 else REACHED, success=True, mesh=_mesh(run), accepted=counts["accepted"],
        rejected=counts["rejected"])
    if error is not None:
        result.update(status=-1, message=str(error), success=False, failure=error.failure)
    else:
        warn_of_scale(problem, ys, lambda: np.concatenate([_numbers(problem, piece) for piece in run.pieces]))
    return with_attempts(result, problem)


def _mesh(run):
    """The steps of all pieces, one after the other; None if none was taken."""
    sizes = [piece.increments() for piece in run.pieces if piece.end]
    sizes = np.concatenate(sizes) if sizes else np.zeros(0)
    return Mesh(sizes) if len(sizes) else None


def _numbers(problem, piece):
    """States at the nodes of a piece, as numbers."""
    t, y, *leaves = map(concrete, (piece.t, piece.y, *piece.leaves))
    mesh = piece.mesh if not isinstance(piece.mesh, Record) else piece.mesh.increments
    return replay(mesh, t, y, np.asarray(concrete(piece.nodes())), *leaves, system=problem.system, method=problem.method, rate=0,
                  keep=False)[0]


def joined(chunks):
    """Times and states of one kind of event, in order."""
    if not chunks:
        return np.zeros(0), np.zeros(0)
    if len(chunks) == 1:
        return chunks[0]
    return concatenate(*[t for t, _ in chunks], axis=0), concatenate(*[y for _, y in chunks], axis=0)


def rows_of(layout, ys):
    """States of events, one a row."""
    if layout.plain or not ys.shape[0]:
        return ys
    return tree.map(lambda x: np.moveaxis(x, -1, 0), layout.outputs(ys))


def at_times(run):
    t_eval = run.problem.times.t_eval
    m = run.done
    t = t_eval if m == int(t_eval.shape[0]) else index(t_eval, at=basic(tuple(map(int, t_eval.shape)), (slice(0, m),)))
    if not run.rows:
        return t, np.zeros((0, run.n))
    return t, run.rows[0] if len(run.rows) == 1 else concatenate(*run.rows, axis=0)


def _at_nodes(run):
    """Times and states at the accepted steps; two at a time at which the state jumps."""
    times, rows, n = [], [], run.n
    if run.moved if not run.pieces else run.pieces[0].jumped:   # a dose at the very start: the state before it, too
        times.append(reshape(run.problem.times.t0, shape=(1,)))
        rows.append(reshape(run.problem.y0, shape=(1, n)))
    for i, piece in enumerate(run.pieces):
        sigma = piece.nodes()
        skip = 1 if i and not piece.jumped else 0
        ys = piece.kept(run.traced)
        ys = states(run.problem, piece, sigma) if ys is None else ys
        m = int(sigma.shape[0])
        if m > skip:
            times.append(index(add(sigma, piece.t), at=basic((m,), (slice(skip, m),))))
            rows.append(index(ys, at=basic((m, n), (slice(skip, m), slice(None)))))
    if run.moved or not times:
        times.append(reshape(run.t, shape=(1,)))
        rows.append(reshape(run.y, shape=(1, n)))
    return concatenate(*times, axis=0), concatenate(*rows, axis=0)


class PiecewiseInterpolant(Dense):
    """Dense output of a solve in stretches: states at any time of the span, differentiable; where the state jumps, the one before."""

    def __init__(self, problem, pieces):
        self._problem, self._pieces = problem, [piece for piece in pieces if piece.end] or pieces[:1]
        starts = [float(concrete(piece.t)) for piece in self._pieces]
        self._sign = math.copysign(1.0, self._pieces[0].end or 1.0)
        self._ends = np.array([t + piece.end for t, piece in zip(starts, self._pieces, strict=True)])
        nodes = [piece.mesh.nodes if isinstance(piece.mesh, Record) else np.array([0.0, piece.end]) for piece in self._pieces]
        inside = [t + s[:-1] for t, s in zip(starts, nodes, strict=True)]
        super().__init__(np.concatenate([*inside, self._ends[-1:]]))

    def __call__(self, t):
        scalar = not np.shape(t) if not isinstance(t, Tracer) else not t.shape
        t = vector([t] if scalar and not isinstance(t, Tracer) else reshape(t, shape=(1,)) if scalar else t, "t", allow_empty=True)
        value, slack = np.asarray(concrete(t)), 1e-12 * (self.t_max - self.t_min)
        if value.size and (value.min() < self.t_min - slack or value.max() > self.t_max + slack):
            raise InputError(f"sol: times must lie in [{self.t_min:g}, {self.t_max:g}]")
        order = np.argsort(self._sign * value, kind="stable")
        back, sorted_t = np.argsort(order), t[order]
        owner = np.minimum(np.searchsorted(self._sign * self._ends, self._sign * value[order]), len(self._pieces) - 1)
        rows = []
        for i in np.unique(owner):
            at = np.flatnonzero(owner == i)
            piece = self._pieces[i]
            rows.append(states(self._problem, piece, sub(sorted_t[at], piece.t)))
        layout = self._problem.layout
        ys = concatenate(*rows, axis=0)[back] if rows else np.zeros((0, layout.n))
        return layout.state(index(ys, at=basic(tuple(map(int, ys.shape)), (0, slice(None))))) if scalar else layout.outputs(ys)

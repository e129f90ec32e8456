"""What a solve leaves behind for its derivatives: the mesh, the stage states, the counts."""

from typing import NamedTuple

import numpy as np

from ..core import Opaque
from ..errors import InputError
from .loops.erk import COUNTS, LAST

#: Context words of a record in a compiled program: address of the work arrays, steps there is room for, addresses of mesh, nodes and
#: stages; counts, last values, start and span, where attempts are noted.
WORK, CAP, MESH, NODES, STAGES, COUNTS_AT, LAST_AT, START_AT, SPAN_AT, NOTED_AT = (*range(6), 12, 16, 17, 18)
#: Steps whose stages there is room for; which states are kept, as planned and as it came, their number and address.
ROOM, AT_PLAN, AT, SLOTS, KEPT = range(19, 24)
#: On the way back: stages of a part and how many there is room for; states kept then, how many, and how many at most of both kinds.
PART, LENGTH, INNER_AT, INNER, INNERS, LIMIT = range(24, 30)
#: Steps walked beside the solve and the reversals, and most states kept at a time.
TOLD = 30
WORDS = 32

#: Counts that are told of each member of an ensemble.
COUNTED = ("accepted", "rejected", "rhs_calls", "jac_calls", "factorisations")
COUNTED_AT = tuple(COUNTS_AT + COUNTS.index(name) for name in COUNTED)


def record_spec(system, method, keep=True, checkpoint=None):
    """What producers and consumers of a record agree on."""
    if not keep:
        return ()
    return (system.digest, method) if checkpoint is None else (system.digest, method, checkpoint)


def policy_in(spec):
    """The policy of a record of this spec; None if it keeps all stages, or nothing."""
    return spec[-1] if len(spec) == len(("system", "method", "policy")) else None


class Kept(NamedTuple):
    """States a policy kept: their steps, states and slopes (kept, 2, n), and the plan."""

    at: np.ndarray
    states: np.ndarray
    plan: tuple


class Record:
    """Memory of one solve.

    Attributes
    ----------
    increments : ndarray, shape (steps,)
        Accepted step sizes, signed.
    nodes : ndarray, shape (steps + 1,)
        Times relative to t0.
    stages : ndarray, shape (steps + 1, kept, n)
        ``stages[i, 0]`` is the state at node i; the others are what the method's adjoint needs, stage states or slopes.  The last row holds
        the final state alone.  With a policy that keeps less, of the first steps only or of none.
    kept : Kept or None
    """

    __slots__ = ("aval", "counts", "increments", "kept", "last", "nodes", "stages")

    def __init__(self, spec, increments, nodes, stages, counts, last, kept=None):
        self.aval = Opaque("record", spec, WORDS)
        self.increments, self.nodes, self.stages, self.counts, self.last, self.kept = increments, nodes, stages, counts, last, kept

    @property
    def whole(self):
        """Whether the stages of all steps were kept."""
        policy = policy_in(self.aval.spec)
        return policy is None or (policy.holds and len(self.stages) > self.steps)

    @property
    def n(self):
        """Size of the recorded state, 0 if stages were not kept."""
        return self.stages.shape[2]

    def of(self, spec):
        """The same memory under another spec."""
        return Record(spec, self.increments, self.nodes, self.stages, self.counts, self.last, self.kept)

    def first(self, n):
        """The same memory up to step n."""
        counts, last = self.counts.copy(), np.array(self.last, float)
        counts[0], last[0] = n, self.nodes[n]
        return Record((), self.increments[:n], self.nodes[:n + 1], self.stages[:n + 1], counts, last)

    @property
    def words(self):
        """Context words for a program that takes this record as an input."""
        words = np.zeros(WORDS, np.int64)
        words[CAP] = max(len(self.increments), 1)
        words[MESH], words[NODES], words[STAGES] = self.increments.ctypes.data, self.nodes.ctypes.data, self.stages.ctypes.data
        words[ROOM] = len(self.stages) - 1
        if self.kept is not None:
            words[AT], words[SLOTS], words[KEPT] = self.kept.at.ctypes.data, len(self.kept.at), self.kept.states.ctypes.data
        words[COUNTS_AT:LAST_AT] = self.counts
        words[LAST_AT:START_AT] = np.asarray(self.last, float).view(np.int64)
        return words

    @property
    def steps(self):
        return int(self.counts[0])

    @property
    def statistics(self):
        """Counts and last values by name."""
        counts = {name: int(x) for name, x in zip(COUNTS, self.counts, strict=True)}
        return counts | {name: float(x) for name, x in zip(LAST, self.last, strict=True)}


class Mesh:
    """The accepted steps of a solve: what a replay needs.

    Parameters
    ----------
    increments : array_like, shape (steps,)
        Step sizes, all of one sign, finite, none zero.

    Raises
    ------
    InputError
        They are not.
    """

    __slots__ = ("increments",)

    def __init__(self, increments):
        h = np.array(increments, dtype=float)
        if h.ndim != 1 or not h.size or not np.all(np.isfinite(h)) or not (np.all(h > 0) or np.all(h < 0)):
            raise InputError("Mesh: increments are a vector of finite step sizes, at least one, none zero, all of one sign")
        h.flags.writeable = False
        self.increments = h

    @property
    def nodes(self):
        """Times of the nodes relative to the start, shape (steps + 1,)."""
        return np.concatenate([[0.0], np.cumsum(self.increments)])

    def record(self):
        """The mesh as a record without stage states, for a replay."""
        h = self.increments
        return Record((), h, self.nodes, np.zeros((len(h) + 1, 0, 0)), np.array([len(h), 0, 0, -1, 0, 0, 0]), np.zeros(4))

    def __len__(self):
        return len(self.increments)

    def __repr__(self):
        if not len(self):
            return "Mesh(no steps)"
        size = np.abs(self.increments)
        return f"Mesh({len(self)} steps, {size.min():.3g} to {size.max():.3g})"

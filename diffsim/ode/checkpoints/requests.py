"""Memory of the solve primitives in compiled programs: what a call asks of the program's caller, and how it is laid out."""

import ctypes

import numpy as np

from diffsim.ode.failure import failure
from diffsim.ode.loops import erk
from diffsim.ode.pictures import attempts
from diffsim.ode.record import (
    AT,
    AT_PLAN,
    CAP,
    COUNTS_AT,
    INNER,
    INNER_AT,
    INNERS,
    KEPT,
    LAST_AT,
    LENGTH,
    LIMIT,
    MESH,
    NODES,
    NOTED_AT,
    PART,
    ROOM,
    SLOTS,
    SPAN_AT,
    STAGES,
    START_AT,
    WORDS,
    WORK,
    Kept,
    Record,
)

from .policies import Plan, first_cap

#: Work arrays of a call of up to this many doubles in all live on the stack, where the optimiser can keep them in registers.
ON_STACK = 4096


class RecordRequest:
    """Memory of one call.

    Parameters
    ----------
    work : int
        Doubles of work arrays, 0 if they are on the stack.
    n_rec : int
        Components of the state to record; 0 for none.
    stages : int
        Rows recorded of each step.
    spec : tuple
        Of the record.
    policy : Checkpoints, optional
        What is kept of the record, or what is reversed; all stages by default.
    n : int
        Components of a state that is kept by a policy, and of the stages of a part.
    known : int, optional
        Number of steps, where it is known beforehand.
    keeps, reverses : bool
        With a policy: whether the call makes a record, and whether it goes back over one.
    """

    words = WORDS
    #: Words an ensemble tells of each member.
    counts = ()

    def __init__(self, work, n_rec, stages, spec, *, policy=None, n=0, known=None, keeps=False, reverses=False):
        self.work, self.n_rec, self.stages, self.spec = work, n_rec, stages, spec
        self.policy, self.n, self.known, self.keeps, self.reverses = policy, n, known, keeps, reverses
        self.cap = max(known, 1) if known is not None else first_cap(policy)

    def allocate(self):
        words, memory = np.zeros(WORDS, np.int64), {"work": np.zeros(self.work)}
        words[WORK], words[NOTED_AT] = memory["work"].ctypes.data, attempts.memory().ctypes.data
        self._buffers(words, memory)
        return words, memory

    def _plan(self):
        if self.policy is None:
            return Plan(self.cap, np.zeros(0, np.int64), 0, 0, 1)
        return self.policy.plan(self.cap, self.known is not None, 16 * self.n, 8 * self.stages * self.n)

    def _buffers(self, words, memory):
        cap, plan = self.cap, self._plan()
        made = {}
        if self.keeps or not self.reverses:
            made |= {MESH: np.zeros(cap), NODES: np.zeros(cap + 1), AT: plan.at.copy(), AT_PLAN: plan.at}
            made[STAGES] = np.zeros((plan.held + 1, self.stages, self.n_rec))
            made[KEPT] = self._kept(len(plan.at))
            words[SLOTS], words[ROOM] = len(plan.at), plan.held
        if self.reverses:
            made |= {PART: np.zeros((plan.room + 1, self.stages, self.n)), INNER_AT: np.zeros(plan.more, np.int64)}
            made[INNER] = np.zeros((plan.more, 2, self.n))
            words[LENGTH], words[INNERS], words[LIMIT] = plan.room, plan.more, plan.limit
        memory.update(made)
        words[CAP] = cap
        for word, array in made.items():
            words[word] = array.ctypes.data

    def _kept(self, slots):
        shape = (slots, 2, self.n)
        return self.policy.memory_for(shape) if self.policy is not None else np.zeros(shape)

    def grow(self, status, words, memory):
        if status != erk.FULL:
            return False
        self.cap = max(self.cap, 2 * int(words[CAP]))
        self._buffers(words, memory)
        return True

    def error(self, status, words, memory):
        t0, span = words[START_AT:SPAN_AT + 1].view(np.float64)
        return failure(status, self.export(words, memory), t0, span)

    def export(self, words, memory):
        """The record: the mesh copied out, the rest too unless it is kept by a policy; then it is handed over."""
        steps = int(words[COUNTS_AT])
        mesh = _at(words[MESH], (steps,))
        counts, last = words[COUNTS_AT:LAST_AT].copy(), words[LAST_AT:START_AT].view(np.float64).copy()
        nodes = memory[NODES][:steps + 1].copy() if NODES in memory else np.zeros(steps + 1)
        if self.policy is None or not self.keeps:
            stages = memory[STAGES][:steps + 1].copy() if STAGES in memory else np.zeros((steps + 1, 0, 0))
            return Record(self.spec, mesh, nodes, stages, counts, last)
        held = int(counts[-1])
        record = Record(self.spec, mesh, nodes, memory[STAGES], counts, last, Kept(memory[AT][:held], memory[KEPT][:held], self._plan()))
        self._buffers(words, memory)
        return record


def _at(address, shape):
    """Copy of doubles in memory."""
    size = int(np.prod(shape, dtype=int))
    return np.array((ctypes.c_double * size).from_address(int(address))).reshape(shape) if size else np.zeros(shape)


class Memory:
    """Work arrays of a call: a plan of names and sizes, then their addresses."""

    def __init__(self, **sizes):
        self.sizes = sizes
        total = sum(sizes.values())
        self.heap = total if total > ON_STACK else 0

    def addresses(self, k):
        """Operand text of each array."""
        if not self.heap:
            return {name: k.alloca(max(size, 1)) for name, size in self.sizes.items()}
        base, at, out = k.context(WORK), 0, {}
        for name, size in self.sizes.items():
            out[name] = k.line(f"getelementptr inbounds double, ptr {base}, i64 {at}")
            at += size
        return out

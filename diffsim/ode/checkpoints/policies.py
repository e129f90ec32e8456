"""Checkpoints: what a solve keeps for its gradient, and what is computed again from it.

A gradient goes back over the steps of a solve and needs their stages.  Where these do not fit into memory, states at some nodes are kept,
and the steps between two of them are taken again when their turn comes: bit for bit, because the mesh is kept (16 bytes a step).  Values
and gradients are therefore the same, to the last bit, whatever is kept.

A policy is an answer to one question, for a number of steps: at which nodes to keep the state in the first pass, how many more states to
keep while going back, and of how many steps to hold the stages at once (:class:`Plan`).

Sources: Griewank & Walther, ACM Trans. Math. Softw. 26 (2000) 19-45 (binomial); Wang, Moin & Iaccarino, SIAM J. Sci. Comput. 31 (2009)
2549-2567 (number of steps unknown); Hindmarsh et al., ACM Trans. Math. Softw. 31 (2005) 363-396 (CVODES: two levels).
"""

import math
import tempfile
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from diffsim.control.schedule import MOST_REPEATS, fewest_states, memory_bytes, repeats, split
from diffsim.errors import InputError
from diffsim.ode.loops.sweep import sweep

#: Largest part whose stages two levels hold at once, in bytes, where fewer steps a part cost no time: what a core's cache holds.
CACHE = 1 << 18
#: Bytes of the stages of one part beside a file.
PART_BYTES = 1 << 24


class Plan(NamedTuple):
    """What to keep for a number of steps.

    Attributes
    ----------
    held : int
        Steps whose stages the first pass holds; if these are all of them nothing is computed again.
    at : ndarray of int
        Steps whose states the first pass keeps; the last entry may be one that is never reached.  If all are, every other state is
        dropped and the distances double.
    more : int
        States that are kept beside those while going back.
    room : int
        Steps whose stages are held at once while going back.
    limit : int
        States kept at a time, at most.
    """

    held: int
    at: np.ndarray
    more: int
    room: int
    limit: int

    def bytes(self, state, stage):
        """Memory of all this, for states and stages of so many bytes."""
        held = (self.held + 1) * stage if self.held else 0
        return held + (len(self.at) + self.more) * state + (self.room + 1) * stage


class Checkpoints:
    """A policy.  ``plan(steps, known, state, stage)`` is its :class:`Plan`.

    ``steps`` is how many there are, or, if they are not ``known``, how many there may be; ``state`` and ``stage`` are the bytes of one kept
    state and of one step's stages.
    """

    __slots__ = ()
    #: Whether the first pass may hold stages: it knows where to put them.
    holds = False

    def plan(self, steps, known, state, stage):
        """What is kept of a solve, and what is computed again.

        Parameters
        ----------
        steps : int
            Steps there is to be room for.
        known : bool
            Whether the solve takes exactly so many.
        state, stage : int
            Bytes of a kept state with its slope; of the stages of a step.

        Returns
        -------
        Plan
        """
        raise NotImplementedError

    def memory_for(self, shape):
        """Zeros for the states that are kept."""
        return np.zeros(shape)


@dataclass(frozen=True, slots=True)
class StoreAll(Checkpoints):
    """Keep the stages of every step: nothing is computed again."""

    holds = True

    def plan(self, steps, known, state, stage):
        return Plan(steps, _none(), 0, steps, 1)


@dataclass(frozen=True, slots=True)
class TwoLevel(Checkpoints):
    """Keep every so many steps a state: each step is taken once more, and memory grows with the root of their number.

    Parameters
    ----------
    every : int, optional
        Steps between two kept states; the root of their number by default.
    """

    every: int | None = None

    def __post_init__(self):
        _whole(self, "every", self.every, optional=True)

    def plan(self, steps, known, state, stage):
        every = self.every or math.isqrt(max(steps, 1) - 1) + 1
        at = np.arange(0, steps + 2 * every, every, dtype=np.int64)            # the last one is never reached
        return Plan(0, at, 0, every, len(at))


@dataclass(frozen=True, slots=True)
class States(Checkpoints):
    """Keep the state of every step, and compute its stages again."""

    def plan(self, steps, known, state, stage):
        return TwoLevel(1).plan(steps, known, state, stage)


@dataclass(frozen=True, slots=True)
class Binomial(Checkpoints):
    """Keep so many states at a time, where they spare the most steps.

    Where the number of steps is known when the program is compiled (methods of equal steps, or ``steps=``, inside jit), as few steps as
    possible are taken again (Griewank & Walther).
    Otherwise the first pass keeps states at equal distances, which double whenever all slots are full, and the binomial schedule
    goes on between them: see :class:`Online`.

    Parameters
    ----------
    slots : int
        States kept at a time, the initial one among them.
    """

    slots: int

    def __post_init__(self):
        _whole(self, "slots", self.slots)

    def plan(self, steps, known, state, stage):
        if not known:
            return Online(self.slots).plan(steps, known, state, stage)
        _check_repeats(self, steps, self.slots)
        return _offline(steps, self.slots, 1)


@dataclass(frozen=True, slots=True)
class Online(Checkpoints):
    """Keep so many states at a time without knowing how many steps there will be.

    Parameters
    ----------
    slots : int
        States kept at a time, the initial one among them; at least 2.
    """

    slots: int

    def __post_init__(self):
        _whole(self, "slots", self.slots, least=2)

    def plan(self, steps, known, state, stage):
        return Plan(0, np.arange(self.slots, dtype=np.int64), self.slots - 1, 1, self.slots)


@dataclass(frozen=True, slots=True)
class Budget(Checkpoints):
    """Take the fewest steps again that so much memory allows: everything is kept if it fits, else states on two levels, else binomially.

    Parameters
    ----------
    memory : int
        Bytes for the mesh, the states and the stages.
    """

    memory: int
    holds = True

    def plan(self, steps, known, state, stage):
        left = self.memory - 16 * steps
        if (steps + 1) * stage <= left:
            return StoreAll().plan(steps, known, state, stage)
        room = max(1, min(steps, (CACHE if CACHE * 8 < left else left // 4) // stage))
        levels = TwoLevel(room).plan(steps, known, state, stage)
        if levels.bytes(state, stage) <= left:
            return levels
        # parts of the length that make the sum of both levels least
        best = TwoLevel(max(1, math.isqrt(int(steps * state / stage)))).plan(steps, known, state, stage)
        if best.bytes(state, stage) <= left:
            return best
        return self._binomial(steps, known, state, stage, left)

    def _binomial(self, steps, known, state, stage, left):
        """Parts of the length, a power of two, that repeat the fewest steps."""
        found, room = None, 1
        while (room + 1) * stage + 2 * state <= left:
            slots = (left - (room + 1) * stage) // (2 * state)          # a slot of the first pass is not used again on the way back
            parts = -(-steps // room)
            again = repeats(parts, slots)
            if again <= MOST_REPEATS and (found is None or again < found[0]):
                found = again, room, slots
            room *= 2
        if found is None:
            raise InputError(
                f"solve_ivp: memory={self.memory} bytes is too little to reverse {steps} steps of {stage} bytes of stages and {state} of a "
                f"state; allow {self.least(steps, state, stage)}")
        _, room, slots = found
        if known:
            return _offline(steps, slots, room)
        first = max(2, slots // 2)
        return Plan(0, np.arange(first, dtype=np.int64) * room, slots - 1, room, slots + first)

    @staticmethod
    def least(steps, state, stage):
        """Bytes with which no step is taken more than ``MOST_REPEATS`` times."""
        return int(16 * steps + 2 * stage + 2 * state * (fewest_states(steps, MOST_REPEATS) + 1))


@dataclass(frozen=True, slots=True)
class Disk(Checkpoints):
    """Keep states in a file, which is removed afterwards, and the stages of one part at a time in memory.

    Parameters
    ----------
    directory : str, optional
        Where the file is made; the system's directory for temporary files by default.
    every : int, optional
        Steps between two kept states; by default as many as have stages of some 16 MB.
    """

    directory: str | None = None
    every: int | None = None

    def __post_init__(self):
        _whole(self, "every", self.every, optional=True)

    def plan(self, steps, known, state, stage):
        every = self.every or max(1, PART_BYTES // stage)
        return TwoLevel(every).plan(steps, known, state, stage)

    def memory_for(self, shape):
        """Zeros in a file that has no name from the start on: nothing is left behind, however the process ends."""
        if not math.prod(shape):
            return np.zeros(shape)
        try:
            with tempfile.TemporaryFile(prefix="diffsim-", dir=self.directory) as file:
                return np.memmap(file, np.float64, "w+", shape=shape)
        except OSError as error:
            raise InputError(f"solve_ivp: checkpoint={self}: {error.strerror}: the file for kept states cannot be made") from error


#: Steps there is room for at first; with a budget the mesh of so many takes this part of it at most.
FIRST_CAP, FIRST_SHARE = 256, 16


def first_cap(policy):
    """Steps there is room for before any are known."""
    return min(FIRST_CAP, max(8, policy.memory // FIRST_SHARE // 16)) if isinstance(policy, Budget) else FIRST_CAP


def _offline(steps, slots, room):
    """The binomial schedule of parts of ``room`` steps: its first pass, and room for the others."""
    parts, first, at = -(-steps // room), 0, [0]
    while parts > 1:
        part = split(parts, slots - len(at) + 1)
        first += part * room
        parts -= part
        if parts > 1:
            at.append(first)
    return Plan(0, np.array([*at, 2**62], np.int64), max(slots - 1, 0), room, slots)


def _none():
    return np.zeros(0, np.int64)


def _whole(policy, name, value, least=1, optional=False):
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InputError(f"{type(policy).__name__}: {name}={value!r}; it is a whole number, at least {least}")


def _check_repeats(policy, steps, slots):
    if steps > 1 and repeats(steps, slots) > MOST_REPEATS:
        raise InputError(f"{policy}: each of {steps} steps would be taken up to {repeats(steps, slots)} times; keep at least "
                         f"{fewest_states(steps, MOST_REPEATS)} states")


class Walker:
    """Carries out a sweep on numbers of steps."""

    def walk(self, y, slope, first, last):
        y[0] = last
        return 0

    def reverse(self, y, slope, first, last, begin, end):
        return 0


@dataclass(frozen=True, slots=True)
class Stats:
    """What a solve kept for its derivatives.

    Attributes
    ----------
    checkpoint : Checkpoints
    steps : int
    bytes : int
        Memory of the mesh, the states and the stages, those on the way back too.
    """

    checkpoint: Checkpoints
    steps: int
    bytes: int
    plan: Plan
    at: np.ndarray

    @property
    def taken_again(self):
        """Steps that a gradient takes again, each as often as it does."""
        if self.plan.held >= self.steps:
            return 0
        plan, told, held = self.plan, np.zeros(2, np.int64), len(self.at)
        kept, inner = self.at.astype(float).reshape(held, 1, 1).repeat(2, 1), np.zeros((plan.more, 2, 1))
        sweep(Walker(), None, self.steps, 0, plan.room, plan.limit, held, 1.0, np.zeros(0), np.arange(self.steps + 1.0), np.zeros(1),
              np.zeros(1), self.at, kept, np.zeros(plan.more, np.int64), inner, told)
        return self.steps + int(told[0])

    def __repr__(self):
        return f"<{self.checkpoint} of {self.steps} steps: {self.bytes} bytes, {self.taken_again} steps taken again>"


def stats_of(record, policy):
    """:class:`Stats` of a record that was kept for a derivative; None if it was not."""
    if record is None or not record.aval.spec:
        return None
    if record.kept is None:
        size = record.stages.nbytes + record.increments.nbytes + record.nodes.nbytes
        return Stats(StoreAll(), record.steps, size, StoreAll().plan(record.steps, True, 0, 0), _none())
    n, plan = record.kept.states.shape[2], record.kept.plan
    stage = record.stages.shape[1] * 8 * n
    return Stats(policy, record.steps, plan.bytes(16 * n, stage) + 16 * record.steps, plan, record.kept.at)


def policy_of(memory, checkpoint, verb="solve_ivp"):
    """The policy that arguments ask for; None for keeping everything."""
    if memory is not None and checkpoint is not None:
        raise InputError(f"{verb}: memory={memory!r} and checkpoint={checkpoint!r} both say how much to keep; give one of them")
    if memory is not None:
        return Budget(memory_bytes(memory, verb))
    if isinstance(checkpoint, type) and issubclass(checkpoint, Checkpoints):
        raise InputError(f"{verb}: checkpoint={checkpoint.__name__} is a class; give an object, such as {checkpoint.__name__}(...)")
    if checkpoint is not None and not isinstance(checkpoint, Checkpoints):
        raise InputError(f"{verb}: checkpoint={checkpoint!r}; it is a policy such as ode.TwoLevel() or ode.Binomial(20)")
    return None if isinstance(checkpoint, StoreAll) else checkpoint

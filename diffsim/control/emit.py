"""Control flow in compiled programs: loops, choices and calls of the functions that bodies and branches become.

The carries of a loop that take few bytes are in its function's stack, where the optimiser makes registers of them; a large carry moves
between two places, or through the rows of what is stacked, so that nothing is copied from step to step.
"""

import numpy as np

from ..codegen.caller import size_of
from ..core import user_line
from ..core.emission import Call
from .bodies import constant_carries, lowered
from .sums import accumulated, step_of

#: Carries of at most this many bytes are copied from step to step: they may be registers.
SMALL = 256
#: Iterations a loop of unknown length is taken to have.
UNKNOWN = 100


# ---------------------------------------------------------------- calls
def _call_rule(k, outs, ins, *, body, saved, kept, asked):
    k.run(0, [k.pointer(b) for b in ins], [k.pointer(b) for b in outs])


#: Of a call of one program.
CALL = Call(_call_rule, None, inside=True, graphs=lambda body, **_: (lowered(body),))


# ---------------------------------------------------------------- choices
class SwitchRequest:
    """A word for an index that names no branch."""

    words = 1

    def __init__(self, params, avals_in, avals_out):
        self.n = len(params["branches"])

    def allocate(self):
        return np.zeros(1, np.int64), None

    def grow(self, status, words, memory):
        return False

    def error(self, status, words, memory):
        return IndexError(f"{user_line()}: switch: index {int(words[0])}, but there are branches 0 to {self.n - 1}")


def _switch_rule(k, outs, ins, *, branches):
    number, *ins = ins
    i = k.integer(number)
    ins, targets = [k.pointer(b) for b in ins], [k.pointer(b) for b in outs]

    def branch(n):
        return lambda: k.run(n, ins, targets)

    def wrong():
        if k.answered:
            k.context_store(0, i)
            k.check("1")
        for b in outs:                                        # in a kernel what could not be computed is NaN
            k.poison(b)
    k.switch(i, [branch(n) for n in range(len(branches))], wrong)


SWITCH = Call(_switch_rule, SwitchRequest, inside=True, graphs=lambda branches: tuple(map(lowered, branches)),
              cost=lambda costs, **_: max(costs))


# ---------------------------------------------------------------- loops
class _Carries:
    """The state of a loop between its steps: where each carry is read and where the next one is written.

    Parameters
    ----------
    k : Caller
    ins, outs : list of str
        Addresses of the first and the last carries.
    sizes : list of int
        Bytes.
    constant : sequence of bool
        Carries that stay.
    added : frozenset of int
        Carries that a step adds to, where they are.
    """

    def __init__(self, k, ins, outs, sizes, constant, added=frozenset()):
        self.k, self.ins, self.outs, self.sizes, self.constant, self.added = k, ins, outs, sizes, constant, added
        moving = [j for j, c in enumerate(constant) if not c]
        self.small = [j for j in moving if sizes[j] <= SMALL]
        self.large = [j for j in moving if sizes[j] > SMALL and j not in added]
        self.here, self.next = {}, {}

    def begin(self):
        """Memory of all carries but the large ones that move, filled with the first values."""
        k, sizes = self.k, self.sizes
        for j in (*self.small, *(j for j in self.added if sizes[j] > SMALL)):
            self.here[j] = k.alloca(max(sizes[j], 1), "i8") if j in self.small else self.outs[j]
            self.next[j] = self.here[j] if j in self.added else k.alloca(max(sizes[j], 1), "i8")
            k.copy(self.here[j], self.ins[j], sizes[j])

    def reads(self, large):
        """Addresses of all carries, from those of the large ones."""
        return [self.ins[j] if c else self.here[j] if j in self.here else large[j] for j, c in enumerate(self.constant)]

    def writes(self, large):
        """Addresses the next ones are written to, those of constants left out."""
        return [self.next[j] if j in self.next else large[j] for j, c in enumerate(self.constant) if not c]

    @property
    def sums(self):
        """Numbers of the values a step writes that are added to what is there."""
        moving = [j for j, c in enumerate(self.constant) if not c]
        return frozenset(i for i, j in enumerate(moving) if j in self.added)

    def advance(self):
        """Let the next small carries be the present ones."""
        for j in self.here:
            if j not in self.added:
                self.k.copy(self.here[j], self.next[j], self.sizes[j])

    def end(self, large, fixed):
        """Put the last carries in their places, where the large ones are already if ``fixed``."""
        here, k = self.reads(large), self.k
        for j, end in enumerate(self.outs):
            if j in self.large and not fixed:
                k.move(end, here[j], self.sizes[j])
            elif here[j] != end and j not in self.large:
                k.copy(end, here[j], self.sizes[j])


class _Steps:
    """A loop over the rows of arrays.

    Parameters
    ----------
    k : Caller
    body : Graph
    carries : int
    reverse : bool
    length : int or str
        A number, or the text of an i64.
    """

    def __init__(self, k, body, carries, reverse, length):
        self.k, self.body, self.carries, self.reverse, self.length = k, lowered(body), carries, reverse, length
        self.sizes = [size_of(v.aval) for v in body.inputs]
        self.results = [size_of(x.aval) for x in body.outputs[carries:]]

    def run(self, starts, ends, xs, ys, kept):
        """Write the loop: addresses of first and last carries, of the arrays sliced and written; ``kept`` by the number of the carry."""
        k, n, sizes, length = self.k, self.carries, self.sizes, self.length
        state = _Carries(k, starts, ends, sizes[:n], constant_carries(self.body, n), frozenset(accumulated(self.body, n)))
        state.begin()
        large = state.large
        spare = {j: k.scratch(sizes[j]) for j in large}
        # places take turns; where the number of steps is known, so that the last one writes to the place of the last carries
        odd = isinstance(length, int) and length % 2
        first = [("ptr", starts[j]) for j in large] + [("ptr", ends[j] if odd else spare[j]) for j in large]
        other = [("ptr", spare[j] if odd else ends[j]) for j in large]

        def step(i, *places):
            m = len(large)
            here, to, then = (dict(zip(large, part, strict=True)) for part in (places[:m], places[m:2 * m], places[2 * m:]))
            at = i if not self.reverse else k.line(f"sub nuw nsw i64 {k.line(f'sub nuw nsw i64 {length}, 1')}, {i}")
            reads = state.reads(here)
            for j, rows in kept.items():
                k.copy(k.row(rows, at, sizes[j]), reads[j], sizes[j])
            slices = [k.row(x, at, size) for x, size in zip(xs, sizes[n:], strict=True)]
            results = [k.row(y, at, size) for y, size in zip(ys, self.results, strict=True)]
            k.run(0, [*reads, *slices], [*state.writes(to), *results], state.sums, length if isinstance(length, int) else UNKNOWN)
            state.advance()
            return [k.line(f"add nuw nsw i64 {i}, 1"), *to.values(), *then.values(), *to.values()]

        _, *places = k.cycle([("i64", "0"), *first, *other], lambda i, *_: k.line(f"icmp ult i64 {i}, {length}"), step)
        state.end(dict(zip(large, places, strict=False)), isinstance(length, int))


def _scan_rule(k, outs, ins, *, body, length, reverse, carries, keep, asked):
    m = len(body.outputs)
    starts, xs = [k.pointer(b) for b in ins[:carries]], [k.pointer(b) for b in ins[carries:]]
    ends, ys, kept = ([k.pointer(b) for b in part] for part in (outs[:carries], outs[carries:m], outs[m:]))
    if length:
        _Steps(k, body, carries, reverse, length).run(starts, ends, xs, ys, {j: kept[j] for j in keep})
        return
    for end, start, v in zip(ends, starts, body.inputs, strict=False):
        k.copy(end, start, size_of(v.aval))


def _step_of(body, carries, **_):
    return (step_of(lowered(body), carries),)


def _all_steps(costs, length, **_):
    return tuple(length * x for x in costs[0])


SCAN = Call(_scan_rule, None, inside=True, graphs=_step_of, cost=_all_steps)


def _while_rule(k, outs, ins, *, cond, body, keep, asked):
    *ends, count = [k.pointer(b) for b in outs[:len(ins) + 1]]
    _iterate(k, body, [k.pointer(b) for b in ins], ends, count, lambda i, reads: None)


def _iterate(k, body, starts, ends, count, note):
    """Write a loop while carried program 0 says so; ``note(i, addresses)`` is called before each step."""
    body = lowered(body)
    sizes = [size_of(v.aval) for v in body.inputs]
    state = _Carries(k, starts, ends, sizes, constant_carries(body, len(starts)), frozenset(accumulated(body, len(starts))))
    state.begin()
    large, flag = state.large, k.alloca(1, "i8")
    places = [(k.scratch(sizes[j]), k.scratch(sizes[j])) for j in large]
    for j, (here, _) in zip(large, places, strict=True):
        k.copy(here, starts[j], sizes[j])

    def going(i, *places):
        here = dict(zip(large, places[:len(large)], strict=True))
        k.run(0, state.reads(here), [flag], runs=UNKNOWN)
        return k.line(f"trunc i8 {k.line(f'load i8, ptr {flag}')} to i1")

    def step(i, *places):
        here, to = places[:len(large)], places[len(large):]
        reads = state.reads(dict(zip(large, here, strict=True)))
        note(i, reads)
        k.run(1, reads, state.writes(dict(zip(large, to, strict=True))), state.sums, UNKNOWN)
        state.advance()
        return [k.line(f"add nuw nsw i64 {i}, 1"), *to, *here]

    trips, *places = k.cycle([("i64", "0"), *[("ptr", a) for a, _ in places], *[("ptr", b) for _, b in places]], going, step)
    state.end(dict(zip(large, places[:len(large)], strict=True)), False)
    k.store(count, trips, "i64")


def _test_and_step(cond, body, **_):
    body = lowered(body)
    return lowered(cond), step_of(body, len(body.inputs))


WHILE = Call(_while_rule, None, inside=True, graphs=_test_and_step)

# ---------------------------------------------------------------- loops over as many rows as a loop had iterations
#: Status of a loop whose stacks are full, and the rows there is room for at first.
FULL, FIRST_ROWS = 2, 256
#: Words of a loop's stacks: rows there is room for, rows asked for, and one address a stack.
ROOM, ASKED, STACKS = 0, 1, 2


class StackRequest:
    """Memory of the rows that a loop of unknown length leaves behind, which grows.

    Parameters
    ----------
    rows : list of int
        Bytes of a row of each stack.
    """

    def __init__(self, rows):
        self.rows, self.words, self.room = rows, STACKS + len(rows), FIRST_ROWS

    def allocate(self):
        words, memory = np.zeros(self.words, np.int64), []
        self._fill(words, memory)
        return words, memory

    def _fill(self, words, memory):
        memory[:] = [np.empty(self.room * size, np.uint8) for size in self.rows]
        words[ROOM] = self.room
        words[STACKS:] = [x.ctypes.data for x in memory]

    def grow(self, status, words, memory):
        if status != FULL:
            return False
        self.room = max(self.room, 2 * int(words[ROOM]), int(words[ASKED]))
        self._fill(words, memory)
        return True

    def error(self, status, words, memory):
        return MemoryError("no room for the states of a loop")


def _room(k, needed):
    """Leave, to come back with more memory, unless there is room for so many rows."""
    k.context_store(ASKED, needed)
    full = k.line(f"icmp ugt i64 {needed}, {k.context(ROOM, 'i64')}")
    k.check(k.line(f"select i1 {full}, i64 {FULL}, i64 0"))


def _kept_rule(k, outs, ins, *, cond, body, keep):
    n = len(ins)
    stacks = {j: k.context(STACKS + i) for i, j in enumerate(keep)}
    sizes = [size_of(v.aval) for v in body.inputs]

    def note(i, reads):
        _room(k, k.line(f"add nuw nsw i64 {i}, 1"))
        for j, rows in stacks.items():
            k.copy(k.row(rows, i, sizes[j]), reads[j], sizes[j])
    _iterate(k, body, [k.pointer(b) for b in ins], [k.pointer(b) for b in outs[:n]], k.pointer(outs[n]), note)


def _over_rule(k, outs, ins, *, body, reverse, carries, keep, sources):
    count, starts, handles = k.integer(ins[0]), [k.pointer(b) for b in ins[1:1 + carries]], ins[1 + carries:]
    xs = [k.context(STACKS + i, base=handles[h]) for h, i in sources]
    n = len(body.outputs) - carries
    if n or keep:
        _room(k, count)
    made = [k.context(STACKS + i) for i in range(n + len(keep))]
    steps = _Steps(k, body, carries, reverse, count)
    steps.run(starts, [k.pointer(b) for b in outs[:carries]], xs, made[:n], dict(zip(keep, made[n:], strict=True)))


def rows_kept(params):
    """Bytes of a row of each stack that a loop leaves."""
    body, carries = params["body"], params.get("carries", 0)
    results = body.outputs[carries:] if "carries" in params else []
    return [size_of(x.aval) for x in results] + [size_of(body.inputs[j].aval) for j in params["keep"]]


def _stack_request(params, avals_in, avals_out):
    return StackRequest(rows_kept(params))


KEPT = Call(_kept_rule, _stack_request, graphs=_test_and_step)
OVER = Call(_over_rule, _stack_request, graphs=_step_of)

__all__ = ["CALL", "KEPT", "OVER", "SCAN", "STACKS", "SWITCH", "WHILE", "rows_kept"]

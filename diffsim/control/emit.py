"""Control flow in compiled programs: loops, choices and calls of the functions that bodies and branches become.

The carries of a loop that take few bytes are in its function's stack, where the optimiser makes registers of them; a large carry moves
between two places, or through the rows of what is stacked, so that nothing is copied from step to step.
"""

import numpy as np

from ..codegen.caller import size_of
from ..core.emission import Call
from . import bodies
from .bodies import constant_carries, lowered

#: Carries of at most this many bytes are copied from step to step: they may be registers.
SMALL = 256


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
        return IndexError(f"switch: index {int(words[0])}, but there are branches 0 to {self.n - 1}")


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


SWITCH = Call(_switch_rule, SwitchRequest, inside=True, graphs=lambda branches: tuple(map(lowered, branches)))


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
    rows : dict of int to (str, bool)
        Carries that move through the rows of a stack.
    """

    def __init__(self, k, ins, sizes, constant):
        self.k, self.ins, self.sizes, self.constant = k, ins, sizes, constant
        self.small = [not c and n <= SMALL for c, n in zip(constant, sizes, strict=True)]
        self.large = [j for j, (c, s) in enumerate(zip(constant, self.small, strict=True)) if not c and not s]
        self.here, self.next = {}, {}

    def begin(self):
        """Memory of small carries, filled with the first ones; the values a loop carries."""
        k = self.k
        for j, small in enumerate(self.small):
            if small:
                self.here[j], self.next[j] = k.alloca(max(self.sizes[j], 1), "i8"), k.alloca(max(self.sizes[j], 1), "i8")
                k.copy(self.here[j], self.ins[j], self.sizes[j])

    def reads(self, large):
        """Addresses of all carries, from those of the large ones."""
        return [self.ins[j] if c else self.here[j] if s else large[j]
                for j, (c, s) in enumerate(zip(self.constant, self.small, strict=True))]

    def writes(self, large):
        """Addresses the next ones are written to; constants to memory nobody reads."""
        return [self.k.scratch(self.sizes[j]) if c else self.next[j] if s else large[j]
                for j, (c, s) in enumerate(zip(self.constant, self.small, strict=True))]

    def advance(self):
        """Let the next small carries be the present ones."""
        for j in self.here:
            self.k.copy(self.here[j], self.next[j], self.sizes[j])


def _scan_rule(k, outs, ins, *, body, length, reverse, carries, keep, asked):
    avals, m = bodies.avals(body), len(body.outputs)
    sizes = [size_of(a) for a in avals]
    starts, xs = [k.pointer(b) for b in ins[:carries]], [k.pointer(b) for b in ins[carries:]]
    ends, ys, kept = ([k.pointer(b) for b in part] for part in (outs[:carries], outs[carries:m], outs[m:]))
    steps = [size_of(x.aval) for x in body.outputs[carries:]]
    constant = constant_carries(body, carries)
    if not length:
        for end, start, size in zip(ends, starts, sizes, strict=False):
            k.copy(end, start, size)
        return
    state = _Carries(k, starts, sizes[:carries], constant)
    state.begin()
    large = state.large
    spare = {j: k.scratch(sizes[j]) for j in large}
    # the last step writes to the place of the last carries: places take turns, counted from the end
    first = [("ptr", starts[j]) for j in large] + [("ptr", ends[j] if length % 2 else spare[j]) for j in large]
    other = [("ptr", spare[j] if length % 2 else ends[j]) for j in large]

    def row(base, i, size):
        return k.address(base, k.line(f"mul nuw nsw i64 {i}, {size}"))

    def step(i, *places):
        n = len(large)
        here, to, then = (dict(zip(large, part, strict=True)) for part in (places[:n], places[n:2 * n], places[2 * n:]))
        at = i if not reverse else k.line(f"sub nuw nsw i64 {length - 1}, {i}")
        reads = state.reads(here)
        for j in keep:
            k.copy(row(kept[j], at, sizes[j]), reads[j], sizes[j])
        slices = [row(x, at, size) for x, size in zip(xs, sizes[carries:], strict=True)]
        k.run(0, [*reads, *slices], [*state.writes(to), *[row(y, at, size) for y, size in zip(ys, steps, strict=True)]])
        state.advance()
        return [k.line(f"add nuw nsw i64 {i}, 1"), *to.values(), *then.values(), *to.values()]

    k.cycle([("i64", "0"), *first, *other], lambda i, *_: k.line(f"icmp ult i64 {i}, {length}"), step)
    for j, end in enumerate(ends):
        if constant[j] or state.small[j]:
            k.copy(end, starts[j] if constant[j] else state.here[j], sizes[j])


SCAN = Call(_scan_rule, None, inside=True, graphs=lambda body, **_: (lowered(body),))


def _while_rule(k, outs, ins, *, cond, body, keep, asked):
    n = len(ins)
    sizes = [size_of(a) for a in bodies.avals(body)]
    starts, ends, count = [k.pointer(b) for b in ins], [k.pointer(b) for b in outs[:n]], k.pointer(outs[n])
    constant = constant_carries(body, n)
    state = _Carries(k, starts, sizes, constant)
    state.begin()
    large, flag = state.large, k.alloca(1, "i8")
    places = [(k.scratch(sizes[j]), k.scratch(sizes[j])) for j in large]
    for j, (here, _) in zip(large, places, strict=True):
        k.copy(here, starts[j], sizes[j])

    def going(i, *places):
        here = dict(zip(large, places[:len(large)], strict=True))
        k.run(0, state.reads(here), [flag])
        return k.line(f"trunc i8 {k.line(f'load i8, ptr {flag}')} to i1")

    def step(i, *places):
        here, to = places[:len(large)], places[len(large):]
        k.run(1, state.reads(dict(zip(large, here, strict=True))), state.writes(dict(zip(large, to, strict=True))))
        state.advance()
        return [k.line(f"add nuw nsw i64 {i}, 1"), *to, *here]

    trips, *places = k.cycle([("i64", "0"), *[("ptr", a) for a, _ in places], *[("ptr", b) for _, b in places]], going, step)
    here = state.reads(dict(zip(large, places[:len(large)], strict=True)))
    for end, at, size in zip(ends, here, sizes, strict=True):
        k.copy(end, at, size)
    k.store(count, trips, "i64")


WHILE = Call(_while_rule, None, inside=True, graphs=lambda cond, body, **_: (lowered(cond), lowered(body)))

__all__ = ["CALL", "SCAN", "SWITCH", "WHILE"]

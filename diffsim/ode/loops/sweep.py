"""Keeping some states of a solve, and reversing it from them: a part of its steps is taken again, then swept back.

Part of the stepping loops (``erk.py``), in the same subset of Python. While a solve runs, :func:`keep_state` keeps the states it was told
to; where the number of steps is not known beforehand, the distances between them double whenever all slots are full (so that at least half
of them are always in use, at equal distances). :func:`sweep` goes back over the mesh: between two kept states it keeps more of them by the
binomial schedule of ``control/schedule.py``, in units of ``room`` steps, whose stages fit at once.

A mesh repeats a solve bit for bit, part by part: the state and the slope at its start are all that a part needs. Hence the cotangents
are, bit for bit, those of a solve that kept everything.
"""

from diffsim.codegen.loops import Loop, reverse, row3, walk
from diffsim.control.schedule import beta, rounds, split

DONE = 0
#: Shapes of what forward loops are told of keeping, and the sizes these speak of, with those of the recorded stages.
KEEPING = {"at": "slots", "kept": "slots, 2, n_kept"}
KEPT_SIZES = ("n_kept", "room", "slots")


def put(x, slope, slot, kept):
    """The state and its slope into a slot."""
    for q in range(kept.shape[2]):
        kept[slot, 0, q] = x[q]
        kept[slot, 1, q] = slope[q]


def take(kept, slot, x, slope):
    """The state and its slope out of a slot."""
    for q in range(kept.shape[2]):
        x[q] = kept[slot, 0, q]
        slope[q] = kept[slot, 1, q]


def keep_state(step, count, y, slope, at, kept):
    """Keep the state at a step if ``at[count]`` says so; returns how many are kept.

    Parameters
    ----------
    step, count : int
        Steps taken; states kept so far.
    y, slope : ndarray, shapes (>= n,), (>= n,)
    at : ndarray of int, shape (slots,)
        Steps whose states are to be kept, increasing. Once all slots are full every other state is dropped and the distances double.
    kept : ndarray, shape (slots, 2, n)
        Written: state and slope.
    """
    slots = at.shape[0]
    if count == slots or at[count] != step:
        return count
    put(y, slope, count, kept)
    count += 1
    if count < slots or slots < 2:
        return count
    count = (slots + 1) // 2
    for i in range(1, count):
        at[i] = at[2 * i]
        put(row3(kept, 2 * i, 0), row3(kept, 2 * i, 1), i, kept)
    apart = at[1] if count > 1 else 2 * at[1]
    for i in range(count, slots):
        at[i] = at[i - 1] + apart
    return count


def gone(o, begin, first, sigma, sign, nodes):
    """Number of the first output after step ``first``, counted down from ``o``."""
    while o > begin and sigma[o - 1] * sign > nodes[first] * sign:
        o -= 1
    return o


def sweep(k, frame, steps, whole, room, limit, held, span, sigma, nodes, y, slope, outer_at, outer, at, kept, told):
    """Reverse a solve from its kept states; returns a status.

    Parameters
    ----------
    k : object
        Walks and reverses parts when run as Python: ``k.walk(y, slope, first, last)``, ``k.reverse(y, slope, first, last, begin, end)``.
    frame : ndarray of int
        What the compiled ``walk`` and ``reverse`` read.
    steps : int
        Steps of the solve.
    whole : int
        1 if the stages of all steps are at hand: nothing is to be taken again.
    room : int
        Steps whose stages fit at once.
    limit : int
        States kept at a time, at most.
    held : int
        States the solve kept: ``outer_at[:held]`` are their steps, the first of them 0.
    span, sigma, nodes
        As in ``erk.adjoint``.
    y, slope : ndarray, shapes (>= n,), (>= n,)
        The state at work and its slope: read and written by ``walk`` and ``reverse``.
    outer_at, outer, at, kept : ndarray, shapes (outers,), (outers, 2, n), (inners,), (inners, 2, n)
        Steps, and states and slopes: those the solve kept, which are left as they are, and those that are kept on the way back.
    told : ndarray of int, shape (2,)
        Written: steps walked beside the solve and the reversals, most states kept at a time.

    Notes
    -----
    The order of work is that of ``schedule.binomial``, in parts of ``room`` steps, where the first pass kept what that asks for.
    """
    count, last, status, sign, o = 0, steps, DONE, 1.0 if span > 0.0 else -1.0, sigma.shape[0]
    told[0], told[1] = 0, held
    if whole > 0:
        return reverse(k, frame, y, slope, 0, steps, 0, o)
    while status == DONE and last >= 0:
        while count > 0 and at[count - 1] >= last:
            count -= 1
        while held > 1 and outer_at[held - 1] >= last:
            held -= 1
        if count > 0 and at[count - 1] > outer_at[held - 1]:
            first = at[count - 1]
            take(kept, count - 1, y, slope)
        else:
            first = outer_at[held - 1]
            take(outer, held - 1, y, slope)
        parts = (last - first + room - 1) // room
        while parts > 1 and status == DONE:
            free = max(0, min(at.shape[0] - count, limit - held - count))
            part = split(parts, free + 1)
            status = walk(k, frame, y, slope, first, first + part * room)
            told[0] += part * room
            first += part * room
            parts -= part
            if parts > 1:
                at[count] = first
                put(y, slope, count, kept)
                count += 1
                told[1] = max(told[1], held + count)
        begin = gone(o, 0, first, sigma, sign, nodes) if first > 0 else 0
        if status == DONE:
            status = reverse(k, frame, y, slope, first, last, begin, o)
        last, o = first if first > 0 else -1, begin
    return status


SWEEP = Loop(
    "ode_sweep",
    sweep,
    sizes=("N", "n", "outers", "inners", "m", "cap", "n_frame"),
    integers=("steps", "whole", "room", "limit", "held"),
    shapes={
        "frame": "n_frame", "sigma": "m", "nodes": "cap + 1", "y": "N", "slope": "N", "outer_at": "outers", "outer": "outers, 2, n",
        "at": "inners", "kept": "inners, 2, n", "told": "2",
    },
    integer_arrays=("frame", "outer_at", "at", "told"),
    helpers=(beta, rounds, split, put, take, gone),
)

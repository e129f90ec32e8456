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
#: Entries of ``told``: states kept in the end, steps walked beside the solve and the reversals, most states kept at a time.
KEPT, WALKED, MOST = range(3)


def put(x, slope, slot, kept):
    """The state and its slope into a slot."""
    for q in range(kept.shape[2]):
        kept[slot, 0, q] = x[q]
        kept[slot, 1, q] = slope[q]


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


def sweep(k, frame, steps, room, y, slope, at, kept, told):
    """Reverse a solve from its kept states; returns a status.

    Parameters
    ----------
    k : object
        Walks and reverses parts when run as Python: ``k.walk(y, slope, first, last)``, ``k.reverse(y, slope, first, last)``.
    frame : ndarray of int
        What the compiled ``walk`` and ``reverse`` read.
    steps, room : int
        Steps of the solve; steps whose stages fit at once.
    y, slope : ndarray, shapes (n,), (n,)
        The state at work and its slope: read and written by ``walk`` and ``reverse``.
    at : ndarray of int, shape (slots,)
        Steps of the states that are kept, ``at[0]`` is 0.
    kept : ndarray, shape (slots, 2, n)
        Kept states and slopes. Both arrays are overwritten.
    told : ndarray of int, shape (3,)
        ``told[KEPT]`` in: how many states are kept. Out: ``WALKED``, ``MOST``.
    """
    count, end, status, slots = told[0], steps, DONE, at.shape[0]
    told[1], told[2] = 0, count
    while end > 0 and status == DONE:
        while count > 1 and at[count - 1] >= end:
            count -= 1
        first = at[count - 1]
        for q in range(kept.shape[2]):
            y[q] = kept[count - 1, 0, q]
            slope[q] = kept[count - 1, 1, q]
        blocks = (end - first + room - 1) // room
        while blocks > 1 and status == DONE:
            part = split(blocks, slots - count + 1)
            status = walk(k, frame, y, slope, first, first + part * room)
            told[1] += part * room
            first += part * room
            blocks -= part
            if blocks > 1:
                at[count] = first
                put(y, slope, count, kept)
                count += 1
                told[2] = max(told[2], count)
        if status == DONE:
            status = reverse(k, frame, y, slope, first, end, 0, 0)
        end = first
    return status


SWEEP = Loop(
    "ode_sweep",
    sweep,
    sizes=("n", "slots", "n_frame"),
    integers=("steps", "room"),
    shapes={"frame": "n_frame", "y": "n", "slope": "n", "at": "slots", "kept": "slots, 2, n", "told": "3"},
    integer_arrays=("frame", "at", "told"),
    helpers=(beta, rounds, split, put),
)

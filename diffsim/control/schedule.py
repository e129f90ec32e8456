"""Which states of a loop to keep for its reversal, and which to compute again.

With room for ``s`` states beside the one at work, a loop of n steps is reversed like this: its first k steps are run, their start kept;
the other n - k steps are reversed in the same way with room for s - 1; then the first k, from the kept start, with room for s.  The split
that runs the fewest steps forward is the binomial one.  With beta(s, r) = (s + r)! / (s! r!), the length of the longest loop in which no
step is run forward more than r times, and r the least number with beta(s, r) >= n, it takes r n - beta(s + 1, r - 1) forward steps.

Source: Griewank & Walther, ACM Trans. Math. Softw. 26 (2000) 19-45 (algorithm 799, "revolve"), propositions 1 and 2.

The same :func:`segments` serve the list of actions and the program that is run (``scan.py``), which are compared by the tests.  Solves are
reversed by the same :func:`split` (``ode/sweep.py``): it and what it calls are written in the subset of Python that stepping loops are.
"""

import math
from typing import NamedTuple

from ..errors import InputError

#: More steps than any loop has; binomials stop growing there.
MANY = 2**40
#: Above this number of repetitions of a step a schedule is refused: it would take that many times the time of the loop.
MOST_REPEATS = 40
#: "binomial" without a budget: as few states as let every step be run at most so often.
REPEATS = 3


_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def memory_bytes(memory, verb="scan"):
    """Bytes of a budget: a number, or a text such as "20 MB" or "1.5 GiB"."""
    if isinstance(memory, str):
        number = memory.strip().rstrip("BbKkMmGgTtIi").strip()
        unit = memory.strip()[len(number):].strip().upper() or "B"
        try:
            size = float(number) * _UNITS[unit]
        except (ValueError, KeyError):
            raise InputError(f"{verb}: memory={memory!r}; it is a number of bytes, or a text such as '20 MB'") from None
    else:
        try:
            size = float(memory)
        except (TypeError, ValueError):
            raise InputError(f"{verb}: memory={memory!r}; it is a number of bytes, or a text such as '20 MB'") from None
    if not 0 < size < math.inf:
        raise InputError(f"{verb}: memory={memory!r}; it is a positive number of bytes")
    return int(size)


class Action(NamedTuple):
    """What to do next.

    ``keep`` the state at a step (a copy), ``advance`` from it to another step, ``reverse`` a step (forward once more with its
    intermediate values, then back), ``restore`` a kept state and ``drop`` it.
    """

    kind: str
    at: int
    to: int = -1


def beta(s, r):
    """Steps that ``s`` kept states can reverse when no step is run forward more than ``r`` times; exact up to ``MANY``."""
    if r < 0:
        return 0
    few, many, count = min(s, r), max(s, r), 1
    for i in range(1, few + 1):
        count = count * (many + i) // i
        if count > MANY:
            return MANY
    return count


def rounds(n, s):
    """The least r with beta(s, r) >= n; s is 1 or more."""
    r = 0
    while beta(s, r) < n:
        r += 1
    return r


def repeats(n, s):
    """How often at most a step of ``n`` is run forward with ``s`` kept states: the least r with beta(s, r) >= n.

    Raises
    ------
    InputError
        More than one step, and no state kept.
    """
    if n > 1 and s < 1:
        raise InputError(f"a loop of {n} steps cannot be reversed without keeping any of its states")
    return rounds(n, s) if n > 1 else 0


def forward_steps(n, s):
    """Forward steps of the best schedule, beside the reversals themselves: r n - beta(s + 1, r - 1)."""
    r = repeats(n, s)
    return r * n - beta(s + 1, r - 1)


def split(n, s):
    """Steps before the first kept state but one: as many as form a full binomial, so that few lengths occur in all."""
    r = rounds(n, s)
    return min(beta(s, r - 1), n - beta(s - 1, r - 1))


def segments(n, s):
    """Parts reversed last to first: ``[(steps, states), ...]``, each with its start kept, and the steps after them, whose states all fit.

    Parameters
    ----------
    n : int
        Steps.
    s : int
        Kept states.
    """
    parts = []
    while n > s + 1:
        k = split(n, s)
        parts.append((k, s))
        n, s = n - k, s - 1
    return parts, n


def binomial(n, s, at=0):
    """Actions that reverse ``n`` steps from step ``at`` with ``s`` kept states."""
    parts, rest = segments(n, s)
    here = at
    for k in [k for k, _ in parts] + [1] * (rest - 1):
        yield Action("keep", here)
        yield Action("advance", here, here + k)
        here += k
    if rest:
        yield Action("reverse", here)
    for k, room in reversed(parts + [(1, 0)] * (rest - 1)):
        here -= k
        yield Action("restore", here)
        yield Action("drop", here)
        yield from binomial(k, room, here)


def two_level(n):
    """Lengths for two levels: ``(m, q, rest)``, q parts of m steps and one of the rest, m the root of n rounded up."""
    m = math.isqrt(n - 1) + 1 if n else 1
    return m, n // m, n % m


def square_root(n):
    """Actions that reverse ``n`` steps on two levels: the start of each part is kept, then each state within a part."""
    m, q, rest = two_level(n)
    lengths = [m] * q + [rest] * (rest > 0)
    starts = [m * i for i in range(len(lengths))]
    for at, k in zip(starts, lengths, strict=True):
        yield Action("keep", at)
        yield Action("advance", at, at + k)
    for at, k in zip(reversed(starts), reversed(lengths), strict=True):
        yield Action("restore", at)
        yield Action("drop", at)
        yield from binomial(k, k, at)


def fewest_states(n, r=REPEATS):
    """Least number of kept states with which no step of ``n`` is run forward more than ``r`` times."""
    s = 1
    while beta(s, r) < n:
        s += 1
    return s


def chosen(n, state_bytes, checkpoint, memory, verb="scan"):
    """``("all", n)``, ``("sqrt", n)`` or ``("binomial", s)`` for a loop of ``n`` steps.

    Parameters
    ----------
    n : int
    state_bytes : int
        Size of one state.
    checkpoint : {None, "all", "sqrt", "binomial"} or int
        An int is the number of kept states.
    memory : float or str, optional
        Bytes the kept states may take, or a text such as "20 MB".

    Raises
    ------
    InputError
        The budget holds no state, or so few that the steps would be repeated too often.
    """
    if checkpoint not in (None, "all", "sqrt", "binomial") and (isinstance(checkpoint, bool) or not isinstance(checkpoint, int)):
        raise InputError(f"{verb}: checkpoint={checkpoint!r}; it is 'all', 'sqrt', 'binomial', or the number of states to keep")
    if memory is not None and checkpoint not in (None, "binomial"):
        raise InputError(f"{verb}: memory={memory!r} and checkpoint={checkpoint!r} both say how many states to keep; give one of them")
    asked, memory = memory, None if memory is None else memory_bytes(memory, verb)
    if n < 2 or (memory is None and checkpoint in (None, "all")):
        return "all", n
    if checkpoint == "sqrt":
        return "sqrt", n
    if memory is not None:
        s = n if state_bytes == 0 else int(memory // state_bytes)
        if s < 1:
            raise InputError(f"{verb}: memory={asked!r} bytes hold no state of {state_bytes} bytes; allow at least {state_bytes}")
    else:
        s = fewest_states(n) if checkpoint == "binomial" else checkpoint
    if s < 1:
        raise InputError(f"{verb}: checkpoint={checkpoint!r}; at least 1 state must be kept")
    if s >= n - 1:
        return "all", n
    if repeats(n, s) > MOST_REPEATS:
        enough = fewest_states(n, MOST_REPEATS)
        raise InputError(f"{verb}: with {s} kept states each of {n} steps would run up to {repeats(n, s)} times; keep at least {enough}"
                         + (f" (memory={enough * state_bytes})" if memory is not None else ""))
    return "binomial", s

"""One contestant on one row, in a process of its own: ``python -m compiled.worker contestant row``.

Answers orders on its standard input with pickled objects on its standard output: the first result and what it cost, then times of calls.
"""

import importlib
import os
import pickle
import sys
import time

clock = time.perf_counter
MODULES = {"diffsim": ("with_diffsim", "ROWS"), "jax": ("with_jax", "ROWS"), "torch": ("with_torch", "EAGER"),
           "torch-compile": ("with_torch", "COMPILED"), "autograd": ("with_autograd", "ROWS"), "casadi": ("with_casadi", "ROWS"),
           "hand": ("by_hand", "ROWS")}  # fmt: skip
#: A sample lasts at least this long: shorter ones measure the clock, longer ones the neighbours.
SAMPLE = 5e-3


def result(out, alike):
    """Value and derivatives as NumPy arrays."""
    import numpy as np  # noqa: PLC0415  (a contestant's imports are part of its first call; NumPy is there by then)

    value, bars = out
    bars = bars if isinstance(bars, (tuple, list)) else (bars,)
    bars = bars if alike is None else alike(bars)
    return float(value), [np.asarray(b, dtype=float).ravel() for b in bars]


def best(call, seconds):
    """Shortest time of a call in samples that last ``seconds`` in all, after one that may compile."""
    call()
    began, shortest = clock(), float("inf")
    call()
    once = clock() - began
    repeats = max(1, int(SAMPLE / max(once, 1e-9)))
    while True:
        start = clock()
        for _ in range(repeats):
            call()
        shortest = min(shortest, (clock() - start) / repeats)
        if clock() - began > seconds:
            return shortest


def main(contestant, name):
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)                                            # what libraries print must not mix with the answers

    def answer(x):
        pickle.dump(x, answers)
        answers.flush()

    from .data import data  # noqa: PLC0415

    w = data(name)
    start = clock()
    try:
        module, attribute = MODULES[contestant]
        build = getattr(importlib.import_module(f".{module}", __package__), attribute).get(name)
        if build is None:
            answer(("absent", "not written for it"))
            return
        row = build(w)
        out = row.call()
    except ImportError as missing:
        answer(("absent", f"{missing.name or missing} is not installed"))
        return
    except Exception as failed:  # whatever a contestant raises is its result in this row
        answer(("failed", f"{type(failed).__name__}: {failed}"))
        return
    first = clock() - start
    answer(("first", first, result(out, row.alike)))
    for order in sys.stdin:
        kind, seconds = order.split()
        call = row.call if kind == "call" else row.own
        answer(None if call is None else best(call, float(seconds)))


if __name__ == "__main__":
    main(*sys.argv[1:])

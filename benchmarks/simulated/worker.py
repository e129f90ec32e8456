"""One contestant on one problem, in a process of its own: ``python -m simulated.worker contestant variant row kind``.

Reads orders from its standard input and answers with pickled objects on its standard output: ``first TOL`` builds everything for a
tolerance and answers what the first result cost and was, ``call TOL SECONDS`` the shortest time of a call, ``memory`` the peak in MB.
"""

import importlib
import os
import pickle
import sys
import time

clock = time.perf_counter
MODULES = {"diffsim": "with_diffsim", "scipy": "with_scipy", "diffrax": "with_diffrax", "casadi": "with_casadi", "heyoka": "with_heyoka",
           "torchdiffeq": "with_torch", "hand": "by_hand"}  # fmt: skip
#: A sample lasts at least this long: shorter ones measure the clock, longer ones the neighbours.
SAMPLE = 5e-3


def best(call, seconds):
    """Shortest time of a call in samples that last ``seconds`` in all."""
    began, shortest = clock(), float("inf")
    call()
    once = clock() - began
    if once > seconds:
        return once
    repeats = max(1, int(SAMPLE / max(once, 1e-9)))
    while True:
        start = clock()
        for _ in range(repeats):
            call()
        shortest = min(shortest, (clock() - start) / repeats)
        if clock() - began > seconds:
            return shortest


def peak():
    """Most memory that the process has used, MB."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def main(contestant, variant, name, kind):
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)                                           # what libraries print must not mix with the answers

    def answer(x):
        pickle.dump(x, answers)
        answers.flush()

    from .rows import rows  # noqa: PLC0415

    row, calls, build = rows()[name], {}, None
    for order in sys.stdin:
        what, *rest = order.split()
        if what == "memory":
            answer(peak())
            continue
        tol = float(rest[0])
        if what == "call":
            answer(best(calls[tol], float(rest[1])))
            continue
        start = clock()
        try:
            build = build or getattr(importlib.import_module(f".{MODULES[contestant]}", __package__), kind)(row, variant)
            calls[tol] = build(tol)
            out = calls[tol]()
        except Exception as failed:  # whatever a contestant raises is its result
            answer(("failed", f"{type(failed).__name__}: {str(failed)[:300]}"))
            continue
        answer(("first", clock() - start, out))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Attempted steps of a solve, written down while it runs: what progress bars read and the history of step sizes is made of.

The stepping loops write to memory of the process (``stepsize.note``), whether they are compiled or not; a thread looks at it now and then.
One solve at a time is watched.
"""

import contextlib
import functools
import sys
import threading

import numpy as np

#: Attempts that are kept, the last ones; the least time between two looks, and until a bar appears, in seconds.
ROWS, PAUSE, PATIENCE = 1 << 17, 0.1, 1.0
START, SIZE, ERROR = range(3)
_LOCK = threading.Lock()


@functools.cache
def memory():
    """Start, increment and squared error norm of attempts, the latest of each place: shape (ROWS, 3)."""
    return np.zeros((ROWS, 3))


class Attempts:
    """The attempted steps of one solve.

    Attributes
    ----------
    t, h, error : ndarray, shape (attempts,)
        Where each attempt began, its signed size, its error norm: at most 1 where it was accepted. Of a solve of many attempts the last
        ones.
    accepted : ndarray of bool, shape (attempts,)
    """

    def __init__(self, t, h, error):
        self.t, self.h, self.error, self.accepted = t, h, error, error <= 1.0

    def __len__(self):
        return len(self.t)

    def __repr__(self):
        return f"Attempts({len(self)}, {int(np.count_nonzero(~self.accepted))} of them rejected)"


def taken(t0, record):
    """The :class:`Attempts` that are in memory after a solve from t0 that left this record."""
    count = record.statistics["accepted"] + record.statistics["rejected"]
    if count <= ROWS:
        rows = memory()[:count]
    else:
        rows = np.roll(memory(), -(count % ROWS), axis=0)
    return Attempts(t0 + rows[:, START], rows[:, SIZE].copy(), np.sqrt(rows[:, ERROR]))


@contextlib.contextmanager
def watched(t0, span, progress):
    """Hold the memory for one solve, and show how far it is if ``progress`` is true or a function of the time reached."""
    with _LOCK:
        memory()[:, START] = 0.0
        with _shown(t0, span, progress) as tell:
            if tell is None:
                yield
                return
            done = threading.Event()
            thread = threading.Thread(target=_look, args=(tell, t0, done), daemon=True)
            thread.start()
            try:
                yield
            finally:
                done.set()
                thread.join()


def _look(tell, t0, done):
    """Tell the time reached until a solve is done."""
    furthest = 0.0
    while not done.wait(PAUSE):
        starts = memory()[:, START]
        furthest = max(furthest, float(starts[np.argmax(np.abs(starts))]), key=abs)      # a solve may begin again with more memory
        tell(t0 + furthest)


def _somebody_looks():
    """Whether bars are seen: in a terminal or a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


@contextlib.contextmanager
def _shown(t0, span, progress):
    """A function of the time reached; None if nobody wants to know."""
    if callable(progress):
        yield progress
        return
    if not progress or not _somebody_looks():
        yield None
        return
    from tqdm.auto import tqdm  # noqa: PLC0415  (imported late: it costs 20 ms)

    total = abs(span) if np.isfinite(span) else None
    end = f" of {t0 + span:.4g}" if total else ""
    look = "solve_ivp {percentage:3.0f}%|{bar}| {desc} [{elapsed}<{remaining}]" if total else "solve_ivp {desc} [{elapsed}]"
    with tqdm(total=total, delay=PATIENCE, bar_format=look) as bar:
        def tell(t):
            bar.set_description_str(f"t = {t:.4g}{end}", refresh=False)
            bar.update(min(abs(t - t0), total or np.inf) - bar.n)
        yield tell
        tell(t0 + span if total else t0 + bar.n)

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


class Watch:
    """What is seen of one solve, which may come in stretches.

    Parameters
    ----------
    keep : bool
        Whether attempts are kept.
    """

    def __init__(self, keep):
        self.keep, self.kept, self.t0 = keep, [], 0.0

    def begin(self, t0):
        """A stretch begins at t0."""
        memory()[:, START] = 0.0
        self.t0 = t0

    def end(self, record):
        """A stretch has left this record."""
        if not self.keep:
            return
        count = record.statistics["accepted"] + record.statistics["rejected"]
        rows = memory()[:count] if count <= ROWS else np.roll(memory(), -(count % ROWS), axis=0)
        self.kept.append((self.t0 + rows[:, START], rows[:, SIZE].copy(), np.sqrt(rows[:, ERROR])))

    @property
    def attempts(self):
        """The :class:`Attempts` so far, None if they are not kept."""
        if not self.keep:
            return None
        return Attempts(*map(np.concatenate, zip(*self.kept, strict=True))) if self.kept else Attempts(*np.zeros((3, 0)))

    def reached(self):
        """The time reached now."""
        starts = memory()[:, START]
        return self.t0 + float(starts[np.argmax(np.abs(starts))])


@contextlib.contextmanager
def watched(t0, span, progress, keep):
    """A :class:`Watch` over one solve, which shows how far it is if ``progress`` is true or a function of the time reached."""
    with _LOCK:
        watch = Watch(keep)
        watch.begin(t0)
        with _shown(t0, span, progress) as tell:
            if tell is None:
                yield watch
                return
            done = threading.Event()
            thread = threading.Thread(target=_look, args=(tell, watch, t0, done), daemon=True)
            thread.start()
            try:
                yield watch
            finally:
                done.set()
                thread.join()


def _look(tell, watch, t0, done):
    """Tell the time reached until a solve is done."""
    furthest = t0
    while not done.wait(PAUSE):
        furthest = max(furthest, watch.reached(), key=lambda t: abs(t - t0))       # a solve may begin again with more memory
        tell(furthest)


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

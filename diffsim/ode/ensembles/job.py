"""One simulation for many members: compiled for one, run for a chunk of them after another, in this process or in others."""

import functools
import hashlib
import pickle
import threading

import numpy as np

from diffsim import tree
from diffsim.control.jit import STATIC, Jitted, described
from diffsim.core import Tracer
from diffsim.errors import InputTypeError, SolveError
from diffsim.numpy.stacking import is_value
from diffsim.ode.record import COUNTED
from diffsim.transforms.strong import finite

#: What a member may fail with, its numbers being at fault; other exceptions are a mistake in the program and go to the user.
FAILURES = (ArithmeticError, np.linalg.LinAlgError, ValueError, IndexError)
#: Functions whose compiled programs are kept from one call to the next.
KEPT = 32

_jitted = functools.lru_cache(maxsize=KEPT)(Jitted)


def compiled(simulate):
    """The simulation as a compiled function, the same one for the same function."""
    if isinstance(simulate, Jitted):
        return simulate
    if not callable(simulate):
        raise InputTypeError(f"ensemble: simulate must be a function of one member, not a {type(simulate).__name__}")
    try:
        return _jitted(simulate)
    except TypeError:                                       # an instance that cannot be hashed
        return Jitted(simulate)


class Varying:
    """Stands for a leaf of which each member has its own."""

    def __repr__(self):
        return "varying"


VARYING = Varying()


class Chunk:
    """Results of some members: a tree of arrays, members along axis 0 (None where none came to its end); what failed; counts."""

    __slots__ = ("counts", "failures", "values")

    def __init__(self, values, failures, counts=None):
        self.values, self.failures, self.counts = values, failures, counts


class Job:
    """A simulation and everything its members share.

    Parameters
    ----------
    simulate : callable
        ``simulate(member, *args)``.
    struct : structure
        Of ``(member, *args)``.
    leaves : list
        Its leaves, ``VARYING`` (or an instance of ``Varying``) where each member has its own.
    """

    def __init__(self, simulate, struct, leaves):
        self.simulate, self.struct, self.leaves = compiled(simulate), struct, leaves
        self._entry, self._ready, self._lock = None, False, threading.Lock()

    def __reduce__(self):
        return Job, (self.simulate, self.struct, self.leaves)

    def arguments(self, rows):
        """``(member, *args)`` with one member's values of the varying leaves."""
        rows = iter(rows)
        return tree.unflatten(self.struct, [next(rows) if isinstance(x, Varying) else x for x in self.leaves])

    def prepare(self, rows):
        """Trace and compile for members like this one; returns whether a transform outside is part of what the simulation reads."""
        with self._lock:
            if not self._ready:
                _, self._entry = self.simulate.prepared(*self.arguments(rows))
                self._ready = True
        return self._entry is not None and self._entry.closes_over_tracers

    def run(self, columns):
        """A :class:`Chunk` of the members whose varying leaves are the rows of ``columns``."""
        n = len(columns[0])
        self.prepare([x[0] for x in columns])
        if self._entry is None:
            return self._one_by_one(columns, n)
        return self._compiled(columns, n)

    # ------------------------------------------------------------ compiled
    def _compiled(self, columns, n):
        failures, repaired, rows = [], {}, iter(columns)
        inputs, shared = [], []
        for x in self.leaves:
            own = isinstance(x, Varying)
            x = next(rows) if own else x
            if own or not (isinstance(x, STATIC) or callable(x)):
                inputs.append(x)
                shared.append(not own)

        def failed(i, error):
            careful = error is None or (isinstance(error, SolveError) and error.not_finite and self._entry.derives)
            if careful and finite([x[i] for x in columns]):  # 0 * inf in a derivative: the uncompiled way takes care of it
                try:
                    repaired[i] = tree.flatten(self.simulate.__wrapped__(*self.arguments([x[i] for x in columns])))[0]
                    return
                except FAILURES as reason:
                    error = reason
            failures.append(_failure(i, error))

        out, counts = self._entry.many()(n, inputs, shared, failed)
        for i, _, _, _ in failures:
            for y in out:
                y[i] = missing(y.dtype)
        for i, flat in repaired.items():
            for y, x in zip(out, filter(is_value, flat), strict=True):
                y[i] = x
        return Chunk(self._entry.result(list(out)), failures, counts.reshape(n, -1, len(COUNTED)).sum(1))

    # ------------------------------------------------------------ uncompiled
    def _one_by_one(self, columns, n):
        failures, rows, struct = [], [None] * n, None
        for i in range(n):
            try:
                rows[i], struct = tree.flatten(self.simulate(*self.arguments([x[i] for x in columns])))
            except FAILURES as error:
                failures.append(_failure(i, error))
        first = next((row for row in rows if row is not None), None)
        if first is None:
            return Chunk(None, failures)
        whole = []
        for j, x in enumerate(first):
            if is_value(x):
                blank = np.full(np.shape(x), missing(np.asarray(x).dtype), np.asarray(x).dtype)
                x = np.stack([blank if row is None else np.asarray(row[j]) for row in rows])
            whole.append(x)
        return Chunk(tree.unflatten(struct, whole), failures)


def missing(dtype):
    """What stands for a number of a member that failed."""
    return np.nan if dtype.kind in "fc" else 0


def _failure(i, error):
    """What is kept of a member's failure: its number, status, message, and whether its arithmetic was at fault."""
    return i, int(getattr(error, "status", -1)), f"{type(error).__name__}: {error}", isinstance(error, (ArithmeticError, IndexError))


def split(members, args):
    """Structure and leaves of ``(members, *args)``, the varying ones marked, and these with their names.

    Leaves of members that are arrays with an axis hold one value a member; numbers, strings and the like are the same for all.
    """
    flat, struct = tree.flatten((members, *args))
    count = len(tree.flatten(members)[0])
    leaves, columns = [], []
    for i, x in enumerate(flat):
        x = x.read() if hasattr(x, "read") and not isinstance(x, Tracer) else x
        if i < count and getattr(x, "shape", ()):
            columns.append(x)
            x = VARYING
        leaves.append(x)
    return struct, leaves, columns


# ---------------------------------------------------------------- other processes
def packed(job):
    """A job as bytes for another process.

    Raises
    ------
    InputTypeError
        It cannot be sent.
    """
    try:
        import cloudpickle as pickler  # noqa: PLC0415  (optional; it sends what pickle cannot)
    except ImportError:
        pickler = pickle
    try:
        return pickler.dumps(job)
    except Exception as error:                              # whatever an object of the user's raises
        advice = ("make it a function of a module that the processes can import, or install cloudpickle (pip install 'diffsim[dask]'), "
                  "which sends functions of notebooks and scripts, closures and lambdas" if pickler is pickle else
                  "it holds something that lives in this process alone, such as a lock, an open file or a generator")
        raise InputTypeError(f"ensemble: {described(job.simulate)} cannot be sent to other processes ({error}): {advice}. Without "
                             f"executor= it runs in threads of this process, and nothing is sent.") from error


_jobs, _jobs_lock = {}, threading.Lock()


def run_packed(data, columns):
    """A chunk in another process; what is sent again is unpacked and compiled once."""
    key = hashlib.sha256(data).digest()
    with _jobs_lock:
        job = _jobs.get(key)
        if job is None:
            job = _jobs[key] = _unpacked(data)
            for oldest in list(_jobs)[:-KEPT]:
                _jobs.pop(oldest)
    return job.run(columns)


def _unpacked(data):
    try:
        return pickle.loads(data)
    except AttributeError as error:
        raise InputTypeError(f"ensemble: this process has no such function as the simulation: {error}. Functions of notebooks and scripts "
                             f"are sent with cloudpickle only (pip install 'diffsim[dask]'); or make it a function of a module.") from error


__all__ = ["Chunk", "Job", "compiled", "missing", "packed", "run_packed", "split"]

"""Who runs the chunks of an ensemble: this thread, threads, an executor, a cluster; and how they come back in order."""

import collections
import concurrent.futures
import contextlib
import os
import sys

from diffsim.errors import InputTypeError

from .job import packed, run_packed

#: Chunks under way at once, for each worker: the rest waits, so that memory does not grow with the ensemble.
AHEAD = 4
#: Workers of an executor that does not tell their number.
SOME_WORKERS = 16


def processors():
    """How many threads can run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Here:
    """Chunks in this thread."""

    workers = 1

    def __init__(self, job):
        self._job = job

    def chunks(self, pieces):
        """``(first member, Chunk)`` in order, from ``(first member, columns)``."""
        for first, columns in pieces:
            yield first, self._job.run(columns)


class Pool:
    """Chunks in an executor of concurrent.futures.

    Parameters
    ----------
    submit : callable
        ``submit(columns) -> Future``.
    workers : int
    """

    def __init__(self, submit, workers):
        self._submit, self.workers = submit, workers

    def chunks(self, pieces):
        """``(first member, Chunk)`` in order, from ``(first member, columns)``."""
        pending = collections.deque()
        try:
            for first, columns in pieces:
                pending.append((first, self._submit(columns)))
                if len(pending) >= AHEAD * self.workers:
                    yield _next(pending)
            while pending:
                yield _next(pending)
        finally:
            for _, future in pending:                       # after an error or Ctrl-C
                future.cancel()


def _next(pending):
    first, future = pending.popleft()
    try:
        return first, future.result()
    except concurrent.futures.BrokenExecutor as error:
        raise RuntimeError(f"ensemble: the executor broke while members from {first} on were computed ({error}): a worker process died, "
                           f"often for lack of memory. Use fewer workers or a smaller chunk=; a dask client starts lost chunks again by "
                           f"itself.") from error


@contextlib.contextmanager
def pool(job, threads, executor):
    """What runs the chunks: an executor of the user's, threads of our own, or this thread."""
    if executor is None:
        if threads == 1:
            yield Here(job)
            return
        with concurrent.futures.ThreadPoolExecutor(threads, "ensemble") as own:
            yield Pool(lambda columns: own.submit(job.run, columns), threads)
        return
    if isinstance(executor, concurrent.futures.ThreadPoolExecutor):
        yield Pool(lambda columns: executor.submit(job.run, columns), _workers(executor))
        return
    with _client(executor) as client:
        far, workers = (client.get_executor(pure=False), sum(client.nthreads().values())) if _is_client(client) else (client, None)
        data = packed(job)
        yield Pool(lambda columns: far.submit(run_packed, data, columns), workers or _workers(executor))


def _workers(executor):
    return getattr(executor, "_max_workers", None) or SOME_WORKERS


def _is_client(x):
    """Whether it is a client of dask.distributed."""
    return hasattr(x, "get_executor") and hasattr(x, "nthreads")


@contextlib.contextmanager
def _client(executor):
    """The executor or client; one of our own for the address of a scheduler."""
    if not isinstance(executor, str):
        if not hasattr(executor, "submit"):
            raise InputTypeError(f"ensemble: executor must be a concurrent.futures.Executor, a dask.distributed Client or the address of a "
                                 f"dask scheduler, not a {type(executor).__name__}")
        yield executor
        return
    try:
        from distributed import Client  # noqa: PLC0415  (an extra, and it takes a second)
    except ImportError as error:
        raise ImportError(f"ensemble: executor={executor!r} is the address of a dask scheduler, which needs dask.distributed: "
                          f"pip install 'diffsim[dask]'") from error
    with Client(executor) as client:
        yield client


# ---------------------------------------------------------------- progress
@contextlib.contextmanager
def bar(n, progress):
    """``tick(members)`` of a progress bar; of none where nobody looks at a terminal, unless it is asked for."""
    if progress is False or (progress is None and not sys.stderr.isatty()):
        yield lambda members: None
        return
    from tqdm.auto import tqdm  # noqa: PLC0415  (imported late: it costs 20 ms)

    with tqdm(total=n, unit="member", desc="ensemble", delay=0.0 if progress else 1.0) as shown:
        yield shown.update


__all__ = ["Here", "Pool", "bar", "pool", "processors"]

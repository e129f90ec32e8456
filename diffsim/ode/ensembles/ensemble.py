"""``ensemble``: one simulation for many members, each with its own steps, in threads, processes or on a cluster."""

import contextlib

import numpy as np

from diffsim import tree
from diffsim.api.arguments import array
from diffsim.control.members import looped
from diffsim.control.members import members as batched
from diffsim.core import Tracer
from diffsim.errors import ConcretizationError, InputError, InputTypeError, MissingRule
from diffsim.numpy.lending import taken
from diffsim.numpy.rebind import rebound
from diffsim.numpy.stacking import is_value

from .job import Job, Varying, compiled, split
from .pools import bar, pool, processors
from .result import EnsembleResult, Gathered

__all__ = ["ensemble"]

#: Members of a chunk at most, in this process and in others.
HERE, AFAR = 256, 1000
#: Chunks a thread gets, and chunks altogether elsewhere, where there are enough members.
EACH, ALL = 8, 64


def ensemble(simulate, members, args=(), *, threads=None, executor=None, chunk=None, progress=None, out=None):
    """Run a simulation for many members, each with its own steps; a member that fails does not disturb the others.

    Parameters
    ----------
    simulate : callable
        ``simulate(member, *args)``: a pytree of arrays and numbers, such as ``solve_ivp(...).y``; or a derivative, such as
        ``value_and_grad(loss)``.  It is compiled once for one member, if it can be compiled.
    members : pytree of ndarray, or list
        Arrays with one row a member along axis 0, in any structure; numbers and strings in it are the same for all.  Or a list of members,
        in which integers and strings that are the same for all stay constants.
    args : tuple
        Further arguments, the same for all members.
    threads : int, optional
        Threads of this process; default: one for each processor.
    executor : concurrent.futures.Executor, dask.distributed.Client or str, optional
        Who runs the chunks instead; a string is the address of a dask scheduler.  Simulation and ``args`` are sent to processes, by
        cloudpickle where it is installed (functions of notebooks and scripts, closures and lambdas need it).
    chunk : int, optional
        Members that are run in one go; results do not depend on it.
    progress : bool, optional
        Whether to show a bar; default: on a terminal, if it takes more than a second.
    out : pytree of ndarray, optional
        Arrays to write the values to, of the structure of ``values``: memory-mapped files hold what memory does not.

    Returns
    -------
    EnsembleResult
        ``values``, with the members along axis 0, ``success``, ``status``, ``messages`` and ``counts``.

    Raises
    ------
    InputError
        Numbers of members differ, or there are none; every member failed, and not for its numbers.
    InputTypeError
        The simulation cannot be sent to other processes.
    SolveError
        A member failed while derivatives are taken of the ensemble itself: there a row of NaN would make all of them NaN.

    Notes
    -----
    The same numbers come out whatever runs them: in order, bit for bit on processors of one kind.  Members of a compiled simulation are run
    by machine code in a loop of its own, without Python's lock.

    Gradients of each member: run ``value_and_grad(loss)`` (or ``jacobian``, or a vjp).  The gradient of a sum over members with respect to
    ``args`` is the sum of theirs.  A transform around an ensemble (``grad`` of a function that calls it, ``jit``) works too; the members
    are then a compiled loop, in one thread.

    Examples
    --------
    >>> def decay(member):
    ...     return ds.solve_ivp(lambda t, y, k: -k * y, (0, 1), member["y0"], t_eval=[1.0], args=(member["k"],)).y[0, 0]
    >>> ds.ode.ensemble(decay, {"k": np.array([1.0, 2.0]), "y0": np.ones((2, 1))}).values.round(6)
    array([0.36788 , 0.135335])
    """
    members = _stacked(members) if isinstance(members, list) else members
    struct, leaves, columns = split(members, tuple(args))
    n = _count(members, columns)
    threads, chunk = _number(threads, "threads"), _number(chunk, "chunk")
    if threads is not None and executor is not None:
        raise InputError("ensemble: threads= are of this process; an executor has its own: give one of the two")
    job = None
    traced = any(isinstance(x, Tracer) for x in (*leaves, *columns))
    if not traced:
        columns = [np.asarray(x) for x in columns]
        job = Job(simulate, struct, leaves)
        traced = bool(n) and job.prepare([x[0] for x in columns])
    if traced or not n:
        return _mapped(simulate, struct, leaves, columns, n, (executor, out))
    with pool(job, threads or min(processors(), -(-n // EACH)), executor) as runner:
        return _run(runner, columns, n, _chunk(chunk, n, runner.workers, executor is not None), progress, out)


def _run(runner, columns, n, size, progress, out):
    gathered = Gathered(n, out)
    pieces = ((first, [x[first : first + size] for x in columns]) for first in range(0, n, size))
    with bar(n, progress) as tick, contextlib.closing(runner.chunks(pieces)) as chunks:
        for first, done in chunks:
            gathered.put(first, done)
            tick(min(size, n - first))
    return gathered.result()


def _mapped(simulate, struct, leaves, columns, n, given):
    """What a transform outside can see through: a loop over the members, or ``vmap``."""
    executor, out = given
    if out is not None and n:
        raise InputError("ensemble: out= takes numbers, and a transform (grad, jit, ...) around the ensemble traces them; leave it out")
    if executor is not None:
        raise InputError("ensemble: an executor cannot run what a transform (grad, jit, ...) around the ensemble traces; transform the "
                         "simulation instead: ensemble(value_and_grad(loss), members, executor=...)")
    f, found = compiled(simulate).__wrapped__, []

    def member(*rows):
        rows = iter(rows)
        out, made = tree.flatten(rebound(f)(*tree.unflatten(struct, [taken(next(rows)) if isinstance(x, Varying) else x for x in leaves])))
        found[:] = [made]
        return [array(x) if is_value(x) else x for x in out]

    own = [True] * len(columns)
    try:
        y, moving = (looped if n else batched)(member, n, columns, own, "ensemble")
    except (ConcretizationError, MissingRule):              # a simulation that no graph can hold
        y, moving = batched(member, n, columns, own, "ensemble")
    y = [x if on or not is_value(x) else np.broadcast_to(x, (n, *np.shape(x))) for x, on in zip(y, moving, strict=True)]
    return EnsembleResult(tree.unflatten(found[0], y), np.zeros(n, np.int8), {})


def _stacked(members):
    """One tree of arrays from a list of trees."""
    if not members:
        raise InputError("ensemble: the list of members is empty, so that nothing is known of a member; give arrays with no rows")
    flat = [tree.flatten(m) for m in members]
    struct = flat[0][1]
    for i, (_, own) in enumerate(flat):
        if own != struct:
            raise InputError(f"ensemble: member {i} has another structure than member 0")
    columns = []
    for j, x in enumerate(flat[0][0]):
        rows = [leaves[j] for leaves, _ in flat]
        same = isinstance(x, (str, bytes, bool, int)) or callable(x)
        if same and all(type(row) is type(x) and row == x for row in rows):
            columns.append(x)
        elif isinstance(x, (str, bytes)) or callable(x):
            raise InputError(f"ensemble: leaf {j} of the members is {x!r} and other texts or functions; these must be the same for all")
        else:
            columns.append(np.stack([np.asarray(row) for row in rows]))
    return tree.unflatten(struct, columns)


def _count(members, columns):
    """Number of members."""
    if not columns:
        raise InputError("ensemble: members must hold arrays with one row a member, or be a list; there is no array with an axis")
    sizes = {int(x.shape[0]) for x in columns}
    if len(sizes) > 1:
        shapes = ", ".join(str(tuple(map(int, x.shape))) for x in columns)
        raise InputError(f"ensemble: members' arrays have {' and '.join(map(str, sorted(sizes)))} rows (shapes {shapes}); one row a member "
                         f"is needed. What is the same for all members goes into args=.")
    return sizes.pop()


def _number(x, name):
    if x is None:
        return None
    if not isinstance(x, (int, np.integer)) or isinstance(x, bool):
        raise InputTypeError(f"ensemble: {name} must be an integer, not {x!r}")
    if x < 1:
        raise InputError(f"ensemble: {name} must be at least 1, got {x}")
    return int(x)


def _chunk(chunk, n, workers, afar):
    """Members of one chunk."""
    if chunk is not None:
        return chunk
    return max(1, min(AFAR, -(-n // ALL)) if afar else min(HERE, -(-n // (EACH * workers))))

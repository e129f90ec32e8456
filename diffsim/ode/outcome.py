"""What comes out of a solve: the result's fields, in success and in failure."""

import bisect
import warnings

import numpy as np

from ..core import user_depth
from ..errors import SolveError, ToleranceWarning
from .arguments import concrete
from .checkpoints.policies import stats_of
from .dense import Interpolant
from .failure import failure
from .loops.erk import COUNTS, NOT_FINITE
from .record import Mesh
from .result import OdeResult
from .tableaus import METHODS

REACHED = "The solver successfully reached the end of the integration interval."


def result_of(problem, t, ys, record, dense_output=False):
    """The result of a solve that reached its end.

    Parameters
    ----------
    problem : Problem
    t, ys : array, shapes (m,), (m, n)
        Times of output and the vectors there.
    record : Record or None
        None while a program is traced.
    dense_output : bool
    """
    counts = record.statistics if record is not None else dict.fromkeys(COUNTS)
    result = OdeResult(
        t=t, y=problem.layout.outputs(ys), sol=Interpolant(problem, record) if dense_output else None, t_events=None, y_events=None,
        nfev=counts["rhs_calls"], njev=counts["jac_calls"], nlu=counts["factorisations"], status=0, message=REACHED, success=True,
        mesh=None if record is None or not record.steps else Mesh(record.increments),
        accepted=counts["accepted"], rejected=counts["rejected"], stats=stats_of(record, problem.policy))
    return with_attempts(result, problem)


def with_attempts(result, problem):
    """The result with what was tried, if that was to be kept."""
    if problem.watch is not None and problem.watch.keep:
        result["attempts"] = problem.watch.attempts
    return result


#: A component below this part of the largest one is not meant to be resolved. Among many it is more often the far end of a profile than a
#: species of its own: those of the models in ``models/`` that are in nobody's mind lie below 5e-9 of the largest, of 8 to 40.
FAINT, FAINT_OF_MANY, MANY = np.sqrt(np.finfo(float).eps), 1e-3, 32


def warn_of_scale(problem, ys, everywhere):
    """ToleranceWarning for components that are below their absolute tolerance at all accepted steps, and not zero.

    ``everywhere()`` gives the states there, as numbers, where ``ys`` are those at the outputs. A component that is zero throughout, or next
    to nothing beside the largest one (``FAINT``), is not meant: there is nothing in it to resolve.
    """
    ys, y0 = concrete(ys), concrete(problem.y0)
    if ys is None or y0 is None or problem.layout.empty:
        return
    unseen = _unseen(problem, ys, y0)
    if unseen.size and problem.times.t_eval is not None:    # it may be large between the outputs: look at all steps
        unseen = _unseen(problem, everywhere(), y0)
    if not unseen.size:
        return
    names, atol = [problem.layout.name(i) for i in unseen[:3]], problem.control.atol_vector(len(y0))[unseen[0]]
    more = f" and {unseen.size - 3} more" if unseen.size > 3 else ""
    warnings.warn(f"solve_ivp: {', '.join(names)}{more}: smaller than atol = {atol:g} throughout, so that no digit of it is controlled and "
                  f"its derivatives may be wrong. Give an atol well below the values that matter, one for each component if their scales "
                  f"differ, or change units.", ToleranceWarning, stacklevel=user_depth())


def _unseen(problem, ys, y0):
    """Components that are below their absolute tolerance in the states ``ys`` and at the start, and not zero."""
    largest = problem.layout.moduli(np.maximum(np.max(np.abs(ys), axis=0, initial=0.0), np.abs(y0)))
    atol, faint = problem.control.atol_vector(len(y0)), FAINT if len(y0) <= MANY else FAINT_OF_MANY
    return np.flatnonzero((largest < atol) & np.isfinite(atol) & (largest > faint * np.max(largest)))


def _repeatable(problem, record, n):
    """How many of the first n steps can be taken again with a finite state: the last ones before a failure may not."""
    def fails(k):
        try:
            problem.states(record.first(k), np.zeros(0))
        except SolveError:
            return True
        return False
    if n <= 0 or not fails(n):
        return max(n, 0)
    return max(bisect.bisect_left(range(n), True, lo=1, key=fails) - 1, 0)


def failed(problem, error, dense_output=False):
    """SciPy's way: what was reached, success False."""
    record, times = error.record, problem.times
    whole = _repeatable(problem, record, record.steps - (error.status == NOT_FINITE))
    if METHODS[problem.method].fixed and whole < record.steps:
        error = problem.named(failure(error.status, record.first(whole), times.t0, times.span))
    record, t0 = record.first(whole), np.float64(times.t0)
    if times.t_eval is None:
        sigma, t = record.nodes, t0 + record.nodes
    else:
        reached = np.abs(times.sigma) <= abs(record.nodes[-1])
        sigma, t = times.sigma[reached], times.t_eval[reached]
    try:
        ys, _ = problem.states(record, sigma)             # read off the accepted steps once more
    except SolveError:                                    # not even the start is finite
        t, ys = t[:0], np.zeros((0, len(problem.y0)))
    result = result_of(problem, t, ys, record, dense_output)
    result.update(status=-1, message=str(error), success=False, failure=error.failure)
    return result

"""What comes out of a solve: the result's fields, in success and in failure."""

import warnings

import numpy as np

from ..core import user_depth
from ..errors import SolveError, ToleranceWarning
from .arguments import concrete
from .dense import Interpolant
from .erk import COUNTS, NOT_FINITE
from .record import Mesh
from .result import OdeResult

REACHED = "The solver successfully reached the end of the integration interval."


def result_of(problem, t, ys, record, dense_output=False, tried=None):
    """The result of a solve that reached its end.

    Parameters
    ----------
    problem : Problem
    t, ys : array, shapes (m,), (m, n)
        Times of output and the vectors there.
    record : Record or None
        None while a program is traced.
    dense_output : bool
    tried : Attempts, optional
    """
    counts = record.statistics if record is not None else dict.fromkeys(COUNTS)
    result = OdeResult(
        t=t, y=problem.layout.outputs(ys), sol=Interpolant(problem, record) if dense_output else None, t_events=None, y_events=None,
        nfev=counts["rhs_calls"], njev=counts["jac_calls"], nlu=counts["factorisations"], status=0, message=REACHED, success=True,
        mesh=None if record is None or not record.steps else Mesh(record.increments),
        accepted=counts["accepted"], rejected=counts["rejected"])
    if tried is not None:
        result["attempts"] = tried
    return result


#: A component below this part of the largest one is rounding errors.
NOISE = 1e3 * np.finfo(float).eps


def warn_of_scale(problem, ys):
    """ToleranceWarning for components that are below their absolute tolerance wherever they are seen, and not zero.

    What is seen are the start and the outputs. A component that is zero throughout, or rounding errors beside the largest one, is not
    meant: there is nothing in it to resolve.
    """
    ys, y0 = concrete(ys), concrete(problem.y0)
    if ys is None or y0 is None or problem.layout.empty:
        return
    largest = problem.layout.moduli(np.maximum(np.max(np.abs(ys), axis=0, initial=0.0), np.abs(y0)))
    atol = problem.control.atol_vector(len(y0))
    unseen = np.flatnonzero((largest < atol) & np.isfinite(atol) & (largest > NOISE * np.max(largest)))
    if unseen.size:
        names, atol = [problem.layout.name(i) for i in unseen[:3]], atol[unseen[0]]
        more = f" and {unseen.size - 3} more" if unseen.size > 3 else ""
        warnings.warn(f"solve_ivp: {', '.join(names)}{more}: smaller than atol = {atol:g} throughout, so that no digit of it is controlled "
                      f"and its derivatives may be wrong. Give an atol well below the values that matter, one for each component if their "
                      f"scales differ, or change units.", ToleranceWarning, stacklevel=user_depth())


def failed(problem, error, dense_output=False):
    """SciPy's way: what was reached, success False."""
    record, times = error.record, problem.times
    if error.status == NOT_FINITE and record.steps:
        record = record.without_last()
    t0 = np.float64(times.t0)
    if times.t_eval is None:
        sigma, t = record.nodes, t0 + record.nodes
    else:
        reached = np.abs(times.sigma) <= abs(record.nodes[-1])
        sigma, t = times.sigma[reached], times.t_eval[reached]
    try:
        ys, _ = problem.states(record, sigma)             # read off the accepted steps once more
    except SolveError:                                    # not even the start is finite
        t, ys = t[:0], np.zeros((0, len(problem.y0)))
    result = result_of(problem, t, ys, record, dense_output, getattr(error, "attempts", None))
    result.update(status=-1, message=str(error), success=False)
    return result

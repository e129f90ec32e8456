"""What comes out of a solve: the result's fields, in success and in failure."""

import numpy as np

from ..errors import SolveError
from .dense import Interpolant
from .erk import COUNTS, NOT_FINITE
from .record import Mesh
from .result import OdeResult

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
    return OdeResult(
        t=t, y=problem.layout.outputs(ys), sol=Interpolant(problem, record) if dense_output else None, t_events=None, y_events=None,
        nfev=counts["rhs_calls"], njev=counts["jac_calls"], nlu=counts["factorisations"], status=0, message=REACHED, success=True,
        mesh=None if record is None or not record.steps else Mesh(record.increments),
        accepted=counts["accepted"], rejected=counts["rejected"])


def failed(problem, error):
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
    result = result_of(problem, t, ys, record)
    result.update(status=-1, message=str(error), success=False)
    return result

"""What to say of a solve that stopped before its end."""

from ..errors import SolveError
from . import erk

REASONS = {
    erk.UNDERFLOW: ("the step size fell below the spacing of numbers", "the solution may blow up near there, or the problem is stiff or discontinuous: "
                    "end the span before it, loosen rtol and atol, or set the times of jumps as ends of separate solves"),
    erk.MAX_STEPS: ("max_steps was reached", "raise max_steps, loosen rtol and atol, or use a shorter span; many rejected steps point to stiffness"),
    erk.NOT_FINITE: ("the state or its derivative is not finite", "check y0 and the parameters for NaN and inf, and the right-hand side for overflow, "
                     "log or sqrt of negative numbers and division by zero"),
}


def failure(status, record, t0, span, out=None):
    """The error of a solve that stopped before its end; it carries the record and the outputs reached."""
    s = record.statistics
    t = float(t0) + s["s"]
    reason, remedy = REASONS[status]
    error = SolveError(
        f"solve_ivp stopped at t = {t:.6g} of {float(t0):.6g} to {float(t0) + float(span):.6g}: {reason}. Accepted {s['accepted']} steps, rejected "
        f"{s['rejected']}, last step size {s['h']:.3g}, last error norm {s['error']:.3g}, worst component y[{s['worst']}]. Remedy: {remedy}.",
        status=int(status), t=t)
    error.record, error.out = record, out
    return error

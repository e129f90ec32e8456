"""What to say of a solve that stopped before its end."""

from diffsim.ode.loops import stepsize

from ..errors import SolveError

#: Status to reason and remedy.
REASONS = {
    stepsize.UNDERFLOW: (
        "the step size fell below the spacing of numbers",
        "the solution may blow up near there, or the problem is stiff or discontinuous: end the span before it, loosen rtol and atol, "
        "or solve in pieces between the jumps",
    ),
    stepsize.MAX_STEPS: (
        "max_steps was reached",
        "raise max_steps, loosen rtol and atol, or use a shorter span; many rejected steps point to stiffness",
    ),
    stepsize.NOT_FINITE: (
        "the state or its derivative is not finite",
        "check y0 and the parameters for NaN and inf, and the right-hand side for overflow, log or sqrt of negative numbers, division by "
        "zero and indices out of range",
    ),
    stepsize.SINGULAR: (
        "the matrix of a step's linear system, identity - h gamma df/dy, is singular or not finite, or GMRES does not solve it",
        "the steps given do not suit this problem: leave steps out, or give the steps of a solve near this one",
    ),
    stepsize.UNSOLVED: (
        "Newton's iteration found no solution of the equations of a step",
        "the steps given do not suit this problem: leave steps out, or give the steps of a solve near this one",
    ),
    stepsize.UNORDERED: (
        "the steps given do not say by which order or method each is to be taken",
        "give sol.mesh of a solve with the same method, whole and as it is, or leave steps out",
    ),
    stepsize.BAD_TIMES: (
        "an output time is NaN, outside the span or out of order",
        "t_eval must be sorted from t_span[0] to t_span[1] and lie between them",
    ),
}

#: Status to the name a program asks for: ``SolveError.failure`` and ``sol.failure``.
NAMES = {
    stepsize.UNDERFLOW: "step_size", stepsize.MAX_STEPS: "max_steps", stepsize.NOT_FINITE: "not_finite", stepsize.SINGULAR: "singular",
    stepsize.UNSOLVED: "unsolved", stepsize.UNORDERED: "unordered", stepsize.BAD_TIMES: "bad_times",
}  # fmt: skip


def failure(status, record, t0, span):
    """The error of a solve that stopped before its end; its ``record`` holds the steps taken."""
    s = record.statistics
    t0, end, t = float(t0), float(t0) + float(span), float(t0) + s["s"]
    reason, remedy = REASONS[status]
    if status == stepsize.BAD_TIMES:
        error = SolveError(f"solve_ivp did not start: {reason}. Remedy: {remedy}.", status=int(status), t=t0)
        error.record, error.failure = record, NAMES[status]
        return error
    n = record.n
    worst = f"the sensitivity of y[{s['worst'] % n}]" if n and s["worst"] >= n else f"y[{s['worst']}]"
    error = SolveError(
        f"solve_ivp stopped at t = {t:.6g} of {t0:.6g} to {end:.6g}: {reason}. Accepted {s['accepted']} steps, rejected {s['rejected']}, "
        f"last step size {s['h']:.3g}, last error norm {s['error']:.3g}, worst component {worst}. Remedy: {remedy}.",
        status=int(status), t=t, not_finite=status == stepsize.NOT_FINITE)
    error.record, error.failure = record, NAMES[status]
    return error

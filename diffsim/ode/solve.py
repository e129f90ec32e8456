"""``solve_ivp``: SciPy's call, differentiable in y0, args, t_eval and t_span."""

import numpy as np

from ..core import Tracer, user_line
from ..errors import ConcretizationError, InputError, SolveError
from ..prims.layout import concatenate, reshape, transpose
from .arguments import checked_times, concrete, initial_state
from .control import checked_control, refuse
from .dense import Interpolant
from .erk import COUNTS, NOT_FINITE
from .odeint import odeint, replay
from .record import Mesh
from .result import OdeResult
from .rhs import system_of
from .separable import check_separable
from .tableaus import METHODS, Splitting

__all__ = ["solve_ivp"]


def solve_ivp(fun, t_span, y0, method="Tsit5", t_eval=None, dense_output=False, events=None, vectorized=False, args=None, *,
              rtol=1e-6, atol=1e-9, first_step=None, max_step=np.inf, max_steps=100_000, steps=None, gradient_errors="probe", **options):
    """Solve y' = fun(t, y, *args) from t_span[0] to t_span[1]; the result is differentiable in y0, args, t_eval and t_span.

    Parameters
    ----------
    fun : callable
        ``fun(t, y, *args) -> dy/dt`` in plain NumPy, of shape (n,).
    t_span : (float, float)
        Start and end; the end may be smaller.
    y0 : array_like, shape (n,)
    method : {"Tsit5", "RK45", "RK23", "Vern7", "DOP853", "RK4", "Euler", "Rodas5P", "Rosenbrock23", "Kvaerno5", "KenCarp4", "Kvaerno3",
        "TRBDF2", "Verlet", "leapfrog", "Yoshida4", "Yoshida6", "Yoshida8", "KahanLi6", "KahanLi8"}
        Explicit pairs: Tsitouras 5(4) (default), Dormand-Prince 5(4), Bogacki-Shampine 3(2), and for tight tolerances Verner 7(6) and
        Hairer's 8(5, 3); RK4 and Euler take equal steps of the size first_step, or a little less so that they end where the span does.
        For stiff problems, with df/dy and its band found by themselves: Rosenbrock methods, which solve linear systems only
        (Steinebach's Rodas5P 5(4); Rosenbrock23, which is ode23s), and implicit Runge-Kutta pairs with Newton's iteration (Kvaerno 5(4)
        and 3(2), Kennedy-Carpenter 4(3), TR-BDF2).
        For separable Hamiltonian systems over long times, with equal steps of the size first_step: the symplectic methods Verlet, also
        called leapfrog, of order 2, and compositions of it of orders 4, 6 and 8 (Yoshida; Kahan and Li, with smaller errors and more
        stages). They take y = (positions, momenta), the first half of y and the second: the slopes of the one may depend on the other
        and on t only, which is checked. Outputs between steps lie on a cubic.
    t_eval : array_like, shape (n_t,), optional
        Times of output, sorted, within the span; default: the accepted steps (not inside jit and vmap, where shapes must be known).
    dense_output : bool
        Whether to return ``sol.sol``, the interpolant (not inside jit and vmap).
    events, vectorized
        SciPy's; events are refused, vectorized has no meaning here and must be False.
    args : tuple, optional
        Further arguments of fun; pytrees.  Floating-point leaves are parameters, everything else is constant.
    rtol, atol : float, or array_like of shape (n,) for atol
        A step is accepted when the RMS of error / (atol + rtol |y|) is at most 1.  Tighter by default than SciPy's 1e-3 and 1e-6:
        the error of a gradient is ten to a hundred times that of the state.
    first_step, max_step : float, optional
    max_steps : int
        Limit of the attempted steps.
    steps : Mesh or array_like, optional
        Take these steps (``sol.mesh`` of another solve, or increments) without error control.
    gradient_errors : {"probe", "state"}
        What the step sizes resolve when a derivative is taken: "probe" adds one tangent to the error norm, "state" leaves it at the state.
    **options
        SciPy's others, such as ``jac``: refused.

    Returns
    -------
    OdeResult
        With SciPy's fields, ``mesh``, ``accepted`` and ``rejected``.

    Raises
    ------
    InputError, InputTypeError
        An argument is wrong; the message names it.
    SolveError
        The solve failed and a derivative or a compiled result was asked for.  (Otherwise ``success`` is False, as in SciPy.)

    Notes
    -----
    Derivatives are those of the discrete solution on the accepted steps, which move with t0: exact to rounding, in both modes and to any
    order.

    Where the right-hand side jumps as the state crosses a surface, the derivative of the solution has a jump of its own, which steps do not
    see: gradients through such a crossing are wrong, at any tolerance. Solve up to the crossing and on from there. Kinks are harmless.
    """
    if events is not None:
        raise InputError("solve_ivp: events are not supported; remove events=, or end the span at the event and solve on from there")
    refuse(options)
    if vectorized:
        raise InputError("solve_ivp: vectorized=True has no meaning here; fun takes y of shape (n,)")
    times, y0 = checked_times(t_span, t_eval), initial_state(y0)
    control = checked_control(y0.shape[0], method, rtol, atol, first_step, max_step, max_steps, gradient_errors, steps is not None)
    system, leaves = system_of(fun, times.t0, y0, args)
    if isinstance(METHODS[method], Splitting):
        check_separable(system, fun, method, times.t0, y0, leaves)
    problem = _Problem(system, leaves, method, control, times, y0)
    if steps is None and METHODS[method].fixed:
        steps = _equal_steps(times, method, min(control.first_step, control.max_step))
    if steps is not None:
        return _replayed(problem, steps, dense_output)
    return _solved(problem, dense_output)


# ---------------------------------------------------------------- solving
class _Problem:
    """Everything a solve needs, checked."""

    __slots__ = ("control", "leaves", "method", "system", "times", "y0")

    def __init__(self, system, leaves, method, control, times, y0):
        self.system, self.leaves, self.method, self.control, self.times, self.y0 = system, leaves, method, control, times, y0

    @property
    def traced(self):
        """Whether any operand is a tracer, and whether any is a symbol without a number."""
        operands = [self.times.t0, self.times.span, self.y0, *self.leaves] + ([] if self.times.sigma is None else [self.times.sigma])
        return any(isinstance(x, Tracer) for x in operands), any(concrete(x) is None for x in operands)

    def states(self, mesh, sigma):
        """Outputs on a mesh."""
        return replay(mesh, self.times.t0, self.y0, sigma, *self.leaves, system=self.system, method=self.method, rate=0)


def _solved(problem, dense_output):
    times = problem.times
    traced, symbolic = problem.traced
    if symbolic and (times.sigma is None or dense_output):
        raise ConcretizationError(
            f"{user_line()}: inside jit and vmap, solve_ivp needs t_eval and no dense_output: the number of accepted steps, and so the "
            f"shape of the result, is not known while the program is traced, and differs between members.")
    sigma = np.zeros(0) if times.sigma is None else times.sigma
    try:
        ys, record = odeint(times.t0, times.span, problem.y0, sigma, *problem.leaves, system=problem.system, method=problem.method, rate=0,
                            control=problem.control, probe=None, keep=times.sigma is None)
    except SolveError as error:
        if traced:
            raise
        return _failed(problem, error)
    if symbolic:
        return _result(problem, times.t_eval, ys, None)
    if times.sigma is None:
        ys, t = _at_steps(problem, record, traced)
    else:
        t = times.t_eval
    return _result(problem, t, ys, record, dense_output)


def _at_steps(problem, record, traced):
    """States and times at the accepted steps; the last time is the end of the span and moves with it."""
    times, nodes = problem.times, record.nodes
    if not traced:
        t = times.t0 + nodes
        t[-1] = times.t1 if len(nodes) > 1 else times.t0
        return record.stages[:, 0, :], t
    if len(nodes) == 1:
        return problem.states(record, np.zeros(1))[0], reshape(times.t0, shape=(1,))
    sigma = concatenate(nodes[:-1], reshape(times.span, shape=(1,)), axis=0)
    t = concatenate(nodes[:-1] + times.t0, reshape(times.t1, shape=(1,)), axis=0)
    return problem.states(record, sigma)[0], t


def _failed(problem, error):
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
    result = _result(problem, t, ys, record)
    result.update(status=-1, message=str(error), success=False)
    return result


def _result(problem, t, ys, record, dense_output=False):
    counts = record.statistics if record is not None else dict.fromkeys(COUNTS)
    y = transpose(ys, axes=(1, 0)) if isinstance(ys, Tracer) else np.ascontiguousarray(ys.T)
    result = OdeResult(
        t=t, y=y, sol=None, t_events=None, y_events=None, nfev=counts["rhs_calls"], njev=counts["jac_calls"], nlu=counts["factorisations"],
        status=0,
        message="The solver successfully reached the end of the integration interval.", success=True,
        mesh=None if record is None else Mesh(record.increments) if record.steps else None,
        accepted=counts["accepted"], rejected=counts["rejected"])
    if dense_output:
        result["sol"] = Interpolant(problem, record)
    return result


#: Steps given may miss the end of the span by this part of it: differences on a frozen mesh move the ends a little.
COVERED = 1e-2


def _replayed(problem, steps, dense_output):
    """Solve on given steps."""
    mesh = steps if isinstance(steps, Mesh) else Mesh(steps)
    times, (traced, symbolic) = problem.times, problem.traced
    _check_cover(mesh, concrete(times.t0), concrete(times.span))
    source = mesh.increments if symbolic else mesh.record()
    if times.sigma is not None:
        ys, record = problem.states(source, times.sigma)
        return _result(problem, times.t_eval, ys, None if symbolic else record, dense_output and not symbolic)
    _, record = (None, None) if symbolic else problem.states(source, np.zeros(0))
    if not traced:
        return _result(problem, times.t0 + record.nodes, record.stages[:, 0, :], record, dense_output)
    sigma = concatenate(mesh.nodes[:-1], reshape(times.span, shape=(1,)), axis=0)
    t = concatenate(mesh.nodes[:-1] + times.t0, reshape(times.t1, shape=(1,)), axis=0)
    return _result(problem, t, problem.states(source, sigma)[0], record, dense_output and not symbolic)


def _equal_steps(times, method, size):
    """Steps of one size, at most the one asked for, that end where the span does; None if it has no length."""
    span = concrete(times.span)
    if span is None:
        raise ConcretizationError(
            f"{user_line()}: method {method!r} needs t_span as numbers, because the number of its steps follows from its length; "
            f"give steps=, which leave the ends free to move.")
    count = int(np.ceil(abs(span) / size * (1 - 1e-12)))
    return np.full(count, span / count) if count else None


def _check_cover(mesh, t0, span):
    if t0 is None or span is None:
        return
    end = float(mesh.nodes[-1])
    if not abs(end - span) <= COVERED * abs(span):
        raise InputError(f"solve_ivp: the steps lead from {t0:g} to {t0 + end:g}, but t_span ends at {t0 + span:g}; give steps that cover "
                         f"t_span, or leave steps out")

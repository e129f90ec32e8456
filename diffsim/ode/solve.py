"""``solve_ivp``: SciPy's call, differentiable in y0, args, t_eval and t_span."""

from dataclasses import replace

import numpy as np

from ..core import user_line
from ..errors import ConcretizationError, InputError, SolveError
from ..prims.layout import concatenate, reshape
from .arguments import checked_times, concrete
from .control import checked_control
from .events.dispatch import solve_in_stretches
from .events.hybrid import Hybrid
from .frozen import CHECKED
from .loops.families import family_of
from .matrices.mass import checked_mass, checked_solver, consistent, suited, with_mass
from .options import checked_method, checked_options, with_options
from .outcome import failed, result_of, warn_of_scale
from .problem import Problem
from .record import Mesh
from .rhs import system_of
from .separable import check_separable
from .split import method_for
from .states import initial_state
from .tableaus import METHODS, Additive, Splitting

__all__ = ["solve_ivp"]


@with_options
def solve_ivp(fun, t_span, y0, method="Tsit5", t_eval=None, dense_output=False, events=None, vectorized=False, args=None, *,
              tstops=None, doses=None, max_events=None, **options):
    """Solve y' = fun(t, y, *args) from t_span[0] to t_span[1]; the result is differentiable in y0, args, t_eval and t_span.

    Parameters
    ----------
    fun : callable
        ``fun(t, y, *args) -> dy/dt`` in plain NumPy, made as y0 is; a list or a tuple will do for a vector. :class:`ode.Split` is such a
        function with a stiff part, which "KenCarp4" alone solves equations for.
    t_span : (float, float)
        Start and end; the end may be smaller, and infinite if an event ends the solve.
    y0 : array_like, or a pytree of them
        A vector of shape (n,) as in SciPy; also a number, an array of any shape, or a dict, tuple or dataclass of such. Complex numbers
        stay complex. Everything is computed in double precision.
    method : str, or a class of scipy.integrate
        Explicit pairs: Tsitouras 5(4) "Tsit5", Dormand-Prince 5(4) "RK45", Bogacki-Shampine 3(2) "RK23", and for tight tolerances
        Verner 7(6) "Vern7" and Hairer's 8(5, 3) "DOP853"; "RK4" and "Euler" take equal steps of the size first_step, or a little less so
        that they end where the span does.
        For stiff problems, with df/dy and its band found by themselves: Rosenbrock methods, which solve linear systems only
        (Steinebach's 5(4) "Rodas5P"; "Rosenbrock23", which is ode23s), and implicit Runge-Kutta pairs with Newton's iteration ("Kvaerno5"
        and "Kvaerno3", Kennedy-Carpenter 4(3) "KenCarp4", "TRBDF2"; for tight tolerances Hairer & Wanner's "Radau" of order 5, which
        solves for all stages together), and multistep formulas of the orders 1 to 5 as they suit ("BDF", the NDF of ode15s): one linear
        system of the state's size for each step, for large systems at moderate tolerances. Its steps can be repeated only as a whole.
        Where it is not known whether a problem is stiff, or where it is only in parts: "auto", also called "LSODA" because it does what
        that is for, begins with Tsit5, goes over to Kvaerno5 where stability limits the steps, and back.
        For separable Hamiltonian systems over long times, with equal steps of the size first_step: the symplectic methods "Verlet", also
        called "leapfrog", of order 2, and compositions of it of orders 4, 6 and 8 ("Yoshida4", "Yoshida6", "Yoshida8"; "KahanLi6" and
        "KahanLi8", with smaller errors and more stages). They take y = (positions, momenta), the first half of y and the second: the
        slopes of the one may depend on the other and on t only, which is checked. Outputs between steps lie on a cubic.
        Implicit methods of order 2 with equal steps: "CrankNicolson", for stiff problems, and "ImplicitMidpoint", which is symplectic
        for any Hamiltonian system and keeps quadratic invariants.
        fun is never called outside t_span, but by "Kvaerno5", which "auto" takes where it is stiff, and by the compositions: they have
        stages outside their steps.
    t_eval : array_like, shape (n_t,), optional
        Times of output, sorted, within the span; a time may be repeated. Default: the accepted steps (not inside jit and vmap, where
        shapes must be known).
    dense_output : bool
        Whether to return ``sol.sol``, the interpolant (not inside jit and vmap).
    events : callable, Event, or list of them, optional
        ``event(t, y, *args) -> float``, with SciPy's attributes ``terminal`` and ``direction``, or :class:`Event` with a reset: the solve
        finds where they change their signs. Times and states go to ``t_events`` and ``y_events``, differentiable. Events that end the
        solve or change the state stop a step where they happen. Inside jit and vmap, outputs after the end of a solve are NaN; they are
        constants, of derivative zero, so that ``np.nansum`` of a loss and its gradient leave them out.
    vectorized : bool
        Whether fun wants y as a column, shape (n, 1), and returns one. It is not called with several columns.
    args : tuple, optional
        Further arguments of fun; pytrees.  Floating-point leaves are parameters, everything else is constant.
    tstops : array_like, optional
        Times at which the right-hand side may jump: steps end there, with values from before, and go on with values from after. They may
        be traced: the derivative with respect to the time of a jump is right.
    doses : list of Dose, optional
        What is added to components of the state at known times, at once or over a time.
    max_events : int, optional
        An error says so if more happen; default: 10,000. Inside jit and vmap, ``t_events`` of events that may recur has that many entries
        if it is given, NaN beyond those that happened, and none otherwise.
    rtol, atol : float, or shaped like y0
        A step is accepted when the RMS of error / (atol + rtol |y|) is at most 1, over all components, real and imaginary parts counted
        apart.  Tighter by default than SciPy's 1e-3 and 1e-6: the error of a gradient is ten to a hundred times that of the state.
    first_step, max_step : float, optional
    max_steps : int
        Limit of the attempted steps.
    steps : Mesh or array_like, optional
        Take these steps (``sol.mesh`` of another solve, or increments) without error control.
    memory : float or str, optional
        Budget of what is kept for derivatives, in bytes or as a text such as "20 MB": see :class:`ode.Budget`.
    checkpoint : policy, optional
        What is kept for derivatives: :class:`ode.StoreAll` (default), ``States``, ``TwoLevel``, ``Binomial``, ``Online``, ``Disk``. What is
        not kept is computed again, bit for bit: values and derivatives are the same. Where events, stops or doses break a solve, each
        part from one to the next keeps that much.
    gradient_errors : {"probe", "full", "state"}
        What the step sizes resolve when a derivative is taken. "probe" adds one tangent to the error norm, a tenth as strictly as the
        state; "full" one for each number that is differentiated in, as strictly as the state and at the cost of so many; "state" none.
    controller : {"PI", "I", "PID", "predictive"} or Controller
        How the size of a step follows from the errors of those before. "predictive" is Gustafsson's, for implicit methods.
    mass : array_like, shape (n,) or (n, n), or sparse matrix, optional
        M of M y' = fun(t, y): constant, a vector for a diagonal matrix. Where it is singular the problem is a differential-algebraic one,
        of index one, and the algebraic part of y0 (what M says nothing about) is a first guess: it is moved so that the algebraic
        equations hold. Such problems need Radau, BDF, Rodas5P, Kvaerno5, KenCarp4, Kvaerno3 or TRBDF2; "auto" solves them with Kvaerno5
        alone.
    linear_solver : {"auto", "dense", "banded", "sparse", "gmres"}
        How the linear systems of implicit methods are solved; "auto" counts the operations of each factorisation. Full and banded
        matrices with row interchanges; sparse ones in an order of little fill, which is found once, without: where that does not go
        well, an iteration corrects it. "gmres" factorises nothing: for many states coupled in two or three dimensions, by methods that
        iterate, such as "Kvaerno5" and "BDF". Derivatives are solved for down to rounding.
    preconditioner : {"ilu0", "jacobi"}, optional
        What GMRES is preconditioned by: the LU factors without fill (default), or the diagonal.
    progress : bool or callable
        Whether to show a bar on a solve that takes longer than a second, if somebody sees it: in a terminal or a notebook. A function is
        called with the time reached, some ten times a second, by another thread. Not inside jit and vmap.
    history : bool
        Whether to return ``attempts``, every step that was tried, for ``sol.plot_steps()``. Not inside jit and vmap.
    jac, jac_sparsity, lband, uband, min_step
        SciPy's, for calls written for it: they change nothing. The Jacobian and its band are found from fun itself, exactly. Where SciPy
        would warn that a method does not use them, so does this.

    Returns
    -------
    OdeResult
        With SciPy's fields, ``mesh``, ``accepted`` and ``rejected``. ``y`` is made as y0 is, the time axis last.

    Raises
    ------
    InputError, InputTypeError
        An argument is wrong; the message names it.
    ConvergenceError, SingularError
        A problem with a singular mass matrix has no consistent initial values near y0, or an index higher than one.
    SolveError
        The solve failed and a derivative or a compiled result was asked for.  (Otherwise ``success`` is False, as in SciPy.)

    Notes
    -----
    Derivatives are those of the discrete solution on the accepted steps, which move with t0: exact to rounding, in both modes and to any
    order.

    Between its steps a stiff method's solution is a polynomial. Where a component follows others at once (a fast equilibrium, an algebraic
    equation) a step of any length ends right and may be wrong inside. So where outputs lie inside a step, or ``dense_output`` or events
    want all of it, its interpolant is held to the tolerances too, by its defect in the middle; a step that fails ends at its first output
    if that is no shorter. The steps of a stiff solve therefore depend on ``t_eval``.

    Where the right-hand side jumps as the state crosses a surface, write the choice as ``ds.where_event(condition, a, b)``: the crossing is
    found, and the derivative has its jump there too. A plain ``np.where`` that jumps gives wrong gradients, at any tolerance, because steps
    do not see it. Kinks are harmless. An output at the time of an event, a dose or a stop is the state before it.
    """
    method, hybrid = method_for(fun, checked_method(method)), Hybrid(events, tstops, doses, max_events, args)
    times, (y0, layout) = checked_times(t_span, t_eval, hybrid.ends), initial_state(y0, vectorized)
    options = checked_options(method, options, layout.vector)
    matrix = checked_mass(options.mass, y0.shape[0])
    method = suited(method, matrix)
    control = checked_control(layout, method, options, concrete(times.span))
    system, leaves = system_of(fun, times.t0, y0, args, layout, hybrid, isinstance(METHODS[method], Additive))
    system = with_mass(system, matrix, method).solved_by(checked_solver(options.linear_solver, options.preconditioner, method))
    y0 = consistent(system, matrix, times.t0, y0, leaves)
    if isinstance(METHODS[method], Splitting):
        check_separable(system, fun, method, times.t0, y0, leaves)
    control = replace(control, everywhere=dense_output or hybrid.looks_inside(times.t_eval))
    problem = Problem(system, leaves, method, control, times, y0, layout, options)
    _check_kept(problem)
    checked = CHECKED.get()
    if hybrid.needed:
        if checked is not None:
            checked.refuse()
        return solve_in_stretches(problem, hybrid, args, dense_output)
    steps = options.steps
    if steps is None and METHODS[method].fixed:
        steps = _equal_steps(times, method, min(control.first_step, control.max_step))
    noted = None if checked is None else checked.steps()
    steps = steps if noted is None else noted
    try:
        result = _solved(problem, dense_output) if steps is None else _replayed(problem, steps, dense_output)
    except SolveError as error:
        if not METHODS[method].fixed or problem.traced[0]:
            raise
        return failed(problem, error, dense_output)
    if checked is not None:
        checked.note(result.mesh)
    return result


def _check_kept(problem):
    """InputError where steps cannot be taken again from a state alone."""
    if problem.policy is None:
        return
    if "kept" not in family_of(problem.method).forward.arguments:
        raise InputError(f"solve_ivp: a step of {problem.method!r} depends on the steps before it, so that none can be taken again from a "
                         f"state that was kept; leave memory= and checkpoint= out, or use 'Radau', 'Kvaerno5' or 'Rodas5P'")


# ---------------------------------------------------------------- solving
def _solved(problem, dense_output):
    times = problem.times
    traced, symbolic = problem.traced
    if symbolic and (times.sigma is None or dense_output):
        raise ConcretizationError(
            f"{user_line()}: inside jit and vmap, solve_ivp needs t_eval and no dense_output: the number of accepted steps, and so the "
            f"shape of the result, is not known while the program is traced, and differs between members.")
    sigma = np.zeros(0) if times.sigma is None else times.sigma
    try:
        with problem.watched():
            ys, record = problem.integrated(sigma, times.sigma is None)
    except SolveError as error:
        error = problem.named(error)
        if traced:
            raise error from None
        return failed(problem, error, dense_output)
    if symbolic:
        return result_of(problem, times.t_eval, ys, None)
    if times.sigma is None:
        ys, t = _at_steps(problem, record, traced)
    else:
        t = times.t_eval
    warn_of_scale(problem, ys, lambda: problem.plain_states(record, record.nodes))
    return result_of(problem, t, ys, record, dense_output)


def _at_steps(problem, record, traced):
    """States and times at the accepted steps; the last time is the end of the span and moves with it."""
    times, nodes = problem.times, record.nodes
    if not traced:
        t = times.t0 + nodes
        if len(nodes) == 1:                                # no time at all: SciPy gives both ends
            return np.repeat(record.stages[:, 0, :], 2, axis=0), np.repeat(t, 2)
        t[-1] = times.t1
        return record.stages[:, 0, :], t
    if len(nodes) == 1:
        return problem.states(record, np.zeros(2))[0], concatenate(*[reshape(x, shape=(1,)) for x in (times.t0, times.t1)], axis=0)
    sigma = concatenate(nodes[:-1], reshape(times.span, shape=(1,)), axis=0)
    t = concatenate(nodes[:-1] + times.t0, reshape(times.t1, shape=(1,)), axis=0)
    return problem.states(record, sigma)[0], t


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
        return result_of(problem, times.t_eval, ys, None if symbolic else record, dense_output and not symbolic)
    _, record = (None, None) if symbolic else problem.states(source, np.zeros(0), keep=not traced)
    if not traced:
        return result_of(problem, times.t0 + record.nodes, record.stages[:, 0, :], record, dense_output)
    sigma = concatenate(mesh.nodes[:-1], reshape(times.span, shape=(1,)), axis=0)
    t = concatenate(mesh.nodes[:-1] + times.t0, reshape(times.t1, shape=(1,)), axis=0)
    return result_of(problem, t, problem.states(source, sigma)[0], record, dense_output and not symbolic)


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

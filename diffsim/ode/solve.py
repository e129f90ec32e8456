"""``solve_ivp``: SciPy's call, differentiable in y0, args, t_eval and t_span."""

import itertools

import numpy as np

from .. import tree
from ..codegen.emissions import emission
from ..control.jit import described, warn_once
from ..core import Aval, Eqn, Graph, Tracer, Var, eval_graph, user_line
from ..core.aval import is_float
from ..core.emission import Call
from ..errors import ConcretizationError, DerivativeLost, InputError, InputTypeError, MissingRule, SolveError
from ..numpy.lending import taken
from ..numpy.rebind import original, rebound
from ..numpy.stacking import Handle, stacked
from ..passes import inline, optimise
from ..prims.elementwise import sub
from ..prims.layout import basic, concatenate, convert, index, reshape, transpose
from ..transforms import trace
from .control import checked_control, refuse
from .erk import COUNTS, NOT_FINITE
from .odeint import odeint, replay
from .record import Mesh
from .result import OdeResult
from .system import FLOAT, SCALAR, System
from .tableaus import METHODS

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
        "TRBDF2"}
        Explicit pairs: Tsitouras 5(4) (default), Dormand-Prince 5(4), Bogacki-Shampine 3(2), and for tight tolerances Verner 7(6) and
        Hairer's 8(5, 3); RK4 and Euler take equal steps of the size first_step, or a little less so that they end where the span does.
        For stiff problems, with df/dy and its band found by themselves: Rosenbrock methods, which solve linear systems only
        (Steinebach's Rodas5P 5(4); Rosenbrock23, which is ode23s), and implicit Runge-Kutta pairs with Newton's iteration (Kvaerno 5(4)
        and 3(2), Kennedy-Carpenter 4(3), TR-BDF2).
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
    times, y0 = _times(t_span, t_eval), _initial(y0)
    control = checked_control(y0.shape[0], method, rtol, atol, first_step, max_step, max_steps, gradient_errors, steps is not None)
    system, leaves = _system(fun, times.t0, y0, args)
    problem = _Problem(system, leaves, method, control, times, y0)
    if steps is None and METHODS[method].fixed:
        steps = _equal_steps(times, method, min(control.first_step, control.max_step))
    if steps is not None:
        return _replayed(problem, steps, dense_output)
    return _solved(problem, dense_output)


# ---------------------------------------------------------------- arguments
def concrete(x):
    """The number behind a value; None while a graph is traced, and for members of a batch."""
    while isinstance(x, Tracer):
        x = x.primal
    return None if isinstance(x, Aval) else x


def _recorded(x):
    """Whether a value is a symbol of a graph, with no number behind it however it is computed."""
    while isinstance(x, Tracer):
        x = x.dual if isinstance(x.primal, Aval) else x.primal
    return isinstance(x, Var)


def _number(x, what):
    x = x.read() if isinstance(x, Handle) else x
    if isinstance(x, Tracer):
        if x.shape:
            raise InputError(f"solve_ivp: {what} must be a number, not an array of shape {x.shape}")
        return x if x.dtype == FLOAT else convert(x, dtype=FLOAT)
    try:
        value = np.float64(x)
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"solve_ivp: {what} must be a number: {error}") from None
    if np.ndim(value) or not np.isfinite(value):
        raise InputError(f"solve_ivp: {what} must be one finite number, got {x!r}")
    return value


class _Times:
    """t0, span and output times; sigma is relative to t0, None where the accepted steps are wanted."""

    __slots__ = ("sigma", "span", "t0", "t1", "t_eval")


def _times(t_span, t_eval):
    times = _Times()
    try:
        t0, t1 = t_span
    except (TypeError, ValueError):
        raise InputError("solve_ivp: t_span must be a pair (start, end)") from None
    times.t0, times.t1 = _number(t0, "t_span[0]"), _number(t1, "t_span[1]")
    times.span = sub(times.t1, times.t0)
    times.t_eval = times.sigma = None
    if t_eval is not None:
        times.t_eval = t_eval = _vector(t_eval, "t_eval", allow_empty=True)
        _check_t_eval(concrete(t_eval), concrete(times.t0), concrete(times.t1))
        times.sigma = sub(t_eval, times.t0)
    return times


def _check_t_eval(t, t0, t1):
    if t is None or t0 is None or t1 is None or not np.size(t):
        return
    sign = -1.0 if t1 < t0 else 1.0
    late = np.flatnonzero((sign * (t - t0) < 0) | (sign * (t - t1) > 0))
    if late.size:
        raise InputError(f"solve_ivp: t_eval[{late[0]}] = {t[late[0]]} lies outside t_span = ({t0}, {t1})")
    back = np.flatnonzero(sign * np.diff(t) < 0)
    if back.size:
        i = back[0]
        raise InputError(f"solve_ivp: t_eval must be sorted from t_span[0] to t_span[1], but t_eval[{i + 1}] = {t[i + 1]} comes after "
                         f"t_eval[{i}] = {t[i]}")


def _vector(x, what, allow_empty=False):
    """A float64 vector, checked to be finite where its numbers are known."""
    try:
        x = stacked(x) if isinstance(x, (list, tuple, Handle)) or getattr(x, "dtype", None) == np.dtype(object) else x
        x = x if isinstance(x, Tracer) else np.asarray(x)
    except ValueError as error:
        raise InputError(f"solve_ivp: {what} must be a vector of numbers: {error}") from None
    if x.dtype.kind == "c":
        raise InputTypeError(f"solve_ivp: {what} is complex; split it into real and imaginary parts")
    if x.dtype.kind not in "fiub":
        raise InputTypeError(f"solve_ivp: {what} must hold numbers, not {x.dtype}")
    if len(x.shape) != 1:
        raise InputError(f"solve_ivp: {what} must have one dimension, not shape {tuple(x.shape)}")
    if not allow_empty and not x.shape[0]:
        raise InputError(f"solve_ivp: {what} is empty")
    value = concrete(x)
    if value is not None and not np.all(np.isfinite(value)):
        at = int(np.flatnonzero(~np.isfinite(value))[0])
        raise InputError(f"solve_ivp: {what}[{at}] is {np.asarray(value)[at]}; it must be finite")
    return x if x.dtype == FLOAT else convert(x, dtype=FLOAT)


def _initial(y0):
    y0 = _vector(y0, "y0")
    return y0.copy() if isinstance(y0, np.ndarray) else y0


# ---------------------------------------------------------------- the right-hand side
class _Arguments:
    """args of the user's function split into parameter leaves and constants."""

    def __init__(self, args):
        if args is None:
            args = ()
        if not isinstance(args, tuple):
            args = tuple(args) if isinstance(args, list) else (args,)
        flat, self.struct = tree.flatten(args)
        self.flat, self.is_leaf, self.leaves = flat, [], []
        for x in flat:
            x = x.read() if isinstance(x, Handle) else x
            x = stacked(x) if isinstance(x, np.ndarray) and x.dtype == object else x
            leaf = (isinstance(x, (Tracer, np.ndarray, np.generic)) and is_float(x.dtype)) or type(x) is float
            self.is_leaf.append(leaf)
            if leaf:
                self.leaves.append(np.float64(x) if type(x) is float else x if x.dtype == FLOAT else convert(x, dtype=FLOAT))

    def rebuild(self, leaves):
        """args with other leaves."""
        leaves = iter(leaves)
        return tree.unflatten(self.struct, [next(leaves) if leaf else x for x, leaf in zip(self.flat, self.is_leaf, strict=True)])


def _checked(f, n, fun):
    """dy/dt as one vector of shape (n,)."""
    if f is None:
        raise InputTypeError(f"solve_ivp: {getattr(original(fun), '__name__', 'fun')}(t, y) returned None; is a return missing?")
    f = stacked(f)
    shape = tuple(np.shape(f)) if not isinstance(f, Tracer) else f.shape
    name = getattr(original(fun), "__name__", "fun")
    if shape != (n,):
        if shape == () and n == 1:
            return reshape(f if isinstance(f, Tracer) else np.asarray(f, float), shape=(1,))
        raise InputError(f"solve_ivp: {name}(t, y) returned shape {shape}, but y0 has shape ({n},)")
    f = f if isinstance(f, Tracer) else np.asarray(f)
    if f.dtype.kind == "c":
        raise InputTypeError(f"solve_ivp: {name}(t, y) returned complex numbers; split the state into real and imaginary parts")
    return f if f.dtype == FLOAT else convert(f, dtype=FLOAT)


def _system(fun, t0, y0, args):
    """System of the right-hand side and its parameter leaves (outer values it closes over included)."""
    if not callable(fun):
        raise InputTypeError(f"solve_ivp: fun must be callable, not a {type(fun).__name__}")
    n, split = y0.shape[0], _Arguments(args)
    avals = [Aval(tuple(x.shape), FLOAT) for x in split.leaves]
    run = rebound(fun)

    def flat(t, y, *leaves):
        return [_checked(run(t, taken(y), *split.rebuild(map(taken, leaves))), n, fun)]

    try:
        graph, captured = trace(flat, [SCALAR, Aval((n,), FLOAT), *avals], verb="solve_ivp", hoist=True)
        graph = optimise(graph)
        _check_emission(graph)
        if _met_once(graph) and not any(map(_recorded, (t0, y0, *split.leaves))):
            return _python_system(flat, avals, split.leaves, y0, t0, (fun, None)), split.leaves
    except (ConcretizationError, DerivativeLost, MissingRule) as reason:
        return _python_system(flat, avals, split.leaves, y0, t0, (fun, reason)), split.leaves
    graph, values = _hoisted(_in_double(graph))
    captured = [x if x.dtype == FLOAT else convert(x, dtype=FLOAT) for x in captured] + values
    return System(n, [v.aval for v in graph.inputs[2:]], graph=graph), [*split.leaves, *captured]


def _check_emission(graph):
    """Raise MissingRule, with the user's remedy, if an equation cannot become code."""
    for v in graph.inputs:
        if v.aval.dtype.kind == "c":
            raise MissingRule("solve_ivp", "emit", "stepping loops hand real numbers to a right-hand side, and it closes over complex ones")
    for eqn in inline(graph).eqns:
        emit = emission(eqn)
        if isinstance(emit, Call) and not emit.inside:
            raise MissingRule(eqn.prim.name, "emit", "a solve inside a right-hand side is not compiled")


def _met_once(graph):
    """Whether it calls a function of the user's that was not met before: one run of it is not worth compiling for."""
    return any(not getattr(eqn.params.get("fn"), "lasting", True) for eqn in graph.eqns)


def _in_double(graph):
    """The graph with every input in double precision, which is how loops hand over parameters: others are cast inside."""
    avals = [v.aval for v in graph.inputs]
    if all(a.dtype == FLOAT for a in avals):
        return graph

    def fun(*x):
        return eval_graph(graph, *[v if a.dtype == FLOAT else convert(v, dtype=a.dtype) for v, a in zip(x, avals, strict=True)])
    return trace(fun, [Aval(a.shape, FLOAT) for a in avals])[0]


#: Digests of programs up to their numbers, to the numbers they were first seen with.
_numbers_of = {}


def _hoisted(graph):
    """The graph, and values of inputs added to it.

    A right-hand side that comes back with other numbers in it (a constant in a closure that is varied) has them made inputs: it is
    compiled once more, and not for each number.
    """
    inputs = {}

    def place(x):
        if isinstance(x, Var) or x.value.ndim or x.value.dtype != FLOAT or x.value in (0.0, 1.0, -1.0, 2.0, 0.5):
            return x
        return inputs.setdefault(x, Var(x.aval))

    eqns = [Eqn(e.prim, map(place, e.inputs), e.params, e.outputs, e.line) for e in graph.eqns]
    bare = Graph([*graph.inputs, *inputs.values()], eqns, [place(x) for x in graph.outputs])
    values = [x.value[()] for x in inputs]
    if _numbers_of.setdefault(bare.digest, values) == values:
        return graph, []
    return bare, values


def _python_system(flat, avals, leaves, y0, t0, cause):
    """The right-hand side uncompiled; inside jit there is nothing to run, so the reason is passed on."""
    fun, reason = cause
    if any(map(_recorded, (t0, y0, *leaves))):
        raise reason
    if reason is None:
        return _uncompiled(flat, avals, y0)
    place = described(fun)
    key = f"{place} {reason}" if isinstance(reason, MissingRule) else str(reason)
    warn_once(key, f"solve_ivp runs the right-hand side {place} uncompiled (the same answer, slower): {reason}")
    return _uncompiled(flat, avals, y0)


def _uncompiled(flat, avals, y0):
    return System(y0.shape[0], avals, fun=lambda t, y, *p: flat(t, y, *p)[0], digest=f"python {next(_python_systems)}")


_python_systems = itertools.count()


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
        result["sol"] = _Interpolant(problem, record)
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


class _Interpolant:
    """Dense output: states at any time of the span, differentiable like the solution itself."""

    def __init__(self, problem, record):
        self._problem, self._record = problem, record
        t0 = concrete(problem.times.t0)
        self.t_min, self.t_max = sorted((float(t0), float(t0) + float(record.nodes[-1])))

    def __call__(self, t):
        scalar = not np.shape(t) if not isinstance(t, Tracer) else not t.shape
        t = _vector([t] if scalar and not isinstance(t, Tracer) else reshape(t, shape=(1,)) if scalar else t, "t", allow_empty=True)
        value = concrete(t)
        slack = 1e-12 * (self.t_max - self.t_min)
        if value is not None and np.size(value) and (value.min() < self.t_min - slack or value.max() > self.t_max + slack):
            raise InputError(f"sol: times must lie in [{self.t_min:g}, {self.t_max:g}]")
        sigma, back = sub(t, self._problem.times.t0), None
        if value is not None and np.any(np.diff(value) * (1 if self._record.nodes[-1] >= 0 else -1) < 0):
            order = np.argsort(value if self._record.nodes[-1] >= 0 else -value, kind="stable")
            back = np.argsort(order)
            sigma = sigma[order]
        ys, _ = self._problem.states(self._record, sigma)
        ys = ys if back is None else ys[back]
        if scalar:
            return index(ys, at=basic(tuple(ys.shape), (0, slice(None))))
        return transpose(ys, axes=(1, 0))



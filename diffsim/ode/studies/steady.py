"""``steady_state``: where a solution comes to rest, differentiable as an implicit function."""

import warnings

import numpy as np

from diffsim.api.external import ShapeDtype, callback
from diffsim.api.graphs import stop_gradient
from diffsim.control.implicit import Equation, solution
from diffsim.control.jit import described
from diffsim.core import Aval, Tracer, user_depth
from diffsim.errors import ConvergenceError, InputError, InputTypeError, StabilityWarning
from diffsim.ode.arguments import concrete, number
from diffsim.ode.rhs import system_of
from diffsim.ode.states import initial_state
from diffsim.ode.system import FLOAT
from diffsim.prims.elementwise import add, sub

from .steady_find import DENSE, Rest, abscissa, conserved, entries, given, newton, pseudo_transient, spanning

__all__ = ["SteadyState", "steady_state"]

#: Times at which a right-hand side is compared to see whether it depends on time.
OTHER_TIME = 1.37
#: Parameters are moved by this part of themselves to see whether what is conserved depends on them.
NEARBY = 1e-3
#: Part of the fastest rate below which an eigenvalue counts as 0.
NEUTRAL = 1e-12


class SteadyState:
    """A steady state and what is known of it.

    Attributes
    ----------
    y : pytree
        The state, made as y0 is.
    success : bool
        False where none was found; ``y`` is then the last state.
    message : str
    stable : bool or None
        Whether solutions that start nearby, with the same conserved quantities, come back to it; None where that is not known (more than
        512 states, or inside ``jit``).
    abscissa : float or None
        Largest real part of an eigenvalue: the rate, negative, at which the slowest deviation dies away.
    conserved : ndarray, shape (m, n), or None
        Orthonormal rows: linear combinations of the components that no solution changes.
    residual : ndarray, shape (n,), or None
        What is left of dy/dt.
    nfev, njev, steps : int or None
        Evaluations of fun and of its Jacobian, steps in pseudo-time.
    """

    __slots__ = ("abscissa", "conserved", "message", "nfev", "njev", "residual", "stable", "steps", "success", "y")

    def __init__(self, y, success=True, message="a steady state was found", **told):
        self.y, self.success, self.message = y, success, message
        for name in ("stable", "abscissa", "conserved", "residual", "nfev", "njev", "steps"):
            setattr(self, name, told.get(name))

    def __repr__(self):
        return "\n".join(f"{name:>9}: {getattr(self, name)}" for name in ("y", "success", "message", "stable", "abscissa", "steps"))


def steady_state(fun, y0, args=None, *, t=None, method="pseudo_transient", conservation="auto", rtol=1e-10, maxiter=1000):
    """The steady state that the solution of y' = fun(t, y, *args) from y0 leads to, differentiable in args and y0.

    Parameters
    ----------
    fun : callable
        As in ``solve_ivp``; it must not depend on t, unless ``t`` is given.
    y0 : array_like, or a pytree of them
        As in ``solve_ivp``; n numbers in all.
    args : tuple, optional
    t : float, optional
        Time at which fun is frozen.
    method : {"pseudo_transient", "newton"}
        Implicit Euler steps that follow the solution and turn into Newton's method as it comes to rest; or Newton's method from y0, which
        finds unstable steady states too and needs a y0 nearby.
    conservation : {"auto", None} or array_like, shape (m, n)
        Weights of linear combinations of the components that no solution changes, such as total amounts; the steady state then depends
        on y0 through them.  "auto" finds them itself, for up to 512 states; None says that there are none.
    rtol : float
        Newton's steps must come below this part of each component; as a rule they end at rounding.
    maxiter : int
        Limit of the steps.

    Returns
    -------
    SteadyState

    Raises
    ------
    ConvergenceError
        None was found, and a derivative or a compiled result was asked for (otherwise ``success`` is False).
    SingularError
        A derivative is asked for where the steady state is not isolated.
    InputError
        An argument is wrong; fun depends on t.

    Warns
    -----
    StabilityWarning
        The steady state is not asymptotically stable: no solution comes to rest there.

    Notes
    -----
    With f = 0 and W y = W y0 for the conserved quantities W, derivatives follow from the implicit function theorem: one linear solve with
    df/dy, transposed for gradients, however long the way was.

    Every component is tested by itself: a small one is not hidden by a large one.

    Examples
    --------
    >>> rest = ds.ode.steady_state(lambda t, y, k: k[0] - k[1] * y**2, [1.0], (np.array([8.0, 2.0]),))
    >>> rest.y, rest.stable
    (array([2.]), True)
    """
    if method not in ("pseudo_transient", "newton"):
        raise InputError(f"steady_state: method is 'pseudo_transient' or 'newton', not {method!r}")
    if isinstance(conservation, Tracer) or not (conservation is None or np.ndim(conservation) or conservation == "auto"):
        raise InputTypeError("steady_state: conservation must be 'auto', None or rows of plain numbers")
    if not (isinstance(rtol, (int, float, np.number)) and 0.0 < rtol < 1.0):
        raise InputError(f"steady_state: rtol must be a number between 0 and 1, not {rtol!r}")
    if not (isinstance(maxiter, (int, np.integer)) and maxiter > 0):
        raise InputError(f"steady_state: maxiter must be a positive whole number, not {maxiter!r}")
    y0, layout = initial_state(y0)
    system, leaves = system_of(fun, np.float64(0.0), y0, args, layout)
    if isinstance(t, Tracer):
        raise InputTypeError("steady_state: t must be a plain number: the state at rest is not differentiated by it; make it one of args")
    if t is None:
        _check_time(fun, system, y0, leaves)
    search = _Search(fun, system, 0.0 if t is None else float(concrete(number(t, "t"))), method, conservation, rtol, maxiter)
    search.differentiated = any(isinstance(x, Tracer) for x in leaves)
    hold = search.hold(y0, leaves)
    equation = Equation(f"the steady state of {described(fun)}", search.residual, (Aval((system.n,), FLOAT),), search.find, "steady_state")
    if hold is None and system.graph is not None and system.n > DENSE:
        equation.jacobian.matrix = search.matrix
    search.held = hold is not None
    equation.jacobian.name = f"df/dy at the steady state of {described(fun)} (conservation= takes linear quantities that fun keeps)"
    operands = ([y0, hold] if search.held else []) + list(leaves)
    traced = any(isinstance(x, Tracer) for x in (y0, *leaves))
    try:
        (y,) = solution(y0, *operands, eq=equation)
    except ConvergenceError as error:
        if traced:
            raise
        return SteadyState(layout.state(error.state), False, str(error), **search.told)
    return SteadyState(layout.state(y), **search.told)


class _Search:
    """How a steady state is found, and what is told of it."""

    def __init__(self, fun, system, t, method, conservation, rtol, maxiter):
        self.fun, self.system, self.t, self.method, self.rtol, self.maxiter = fun, system, t, method, rtol, maxiter
        self.conservation, self.told, self.held, self.differentiated, self.span = conservation, {}, False, False, None

    # ------------------------------------------------------------ what is conserved
    def laws(self, y0, p):
        """Orthonormal rows of what is conserved."""
        rest = Rest(self.system, self.t, p)
        if self.conservation is None:
            return np.zeros((0, self.system.n))
        rows = conserved(rest, y0) if isinstance(self.conservation, str) else given(rest, self.conservation, y0)
        if self.differentiated and len(rows) and self.span is None and self._depend(rows, y0, p):
            self.span = None if self.traced else spanning(rest, rows, y0)
            if self.span is None:
                raise InputError(f"steady_state: the weights of a quantity that {described(self.fun)} conserves depend on its parameters, "
                                 f"and their derivatives are found only outside jit and vmap, where fun is finite near y0; write the "
                                 f"equations for fewer components, without the conserved quantity")
        return rows

    def _depend(self, rows, y0, p):
        """Whether what is conserved depends on the parameters: then its weights have derivatives."""
        rng = np.random.default_rng(0)
        near = [np.asarray(x) * (1.0 + NEARBY * rng.uniform(0.5, 1.0, np.shape(x))) for x in p]
        y = np.abs(y0) + rng.uniform(0.5, 1.5, y0.shape)
        drift = np.abs(rows @ Rest(self.system, self.t, near).f(y))
        size = np.abs(rows) @ np.abs(Rest(self.system, self.t, near).f(y))
        return bool(np.any(drift > 1e-3 * NEARBY * size))

    def hold(self, y0, leaves):
        """The matrix that holds a state to the conserved quantities of another: sigma Wᵀ W; None if nothing is conserved."""
        values = [concrete(x) for x in (y0, *leaves)]
        self.traced = any(v is None for v in values)
        if not self.traced:
            made = self._hold(np.asarray(values[0]), *values[1:])
            return made if np.any(made) else None
        if self.conservation is None or (self.system.n > DENSE and isinstance(self.conservation, str)):
            return None
        shape = (self.system.n, self.system.n)
        return callback(self._hold, ShapeDtype(shape), *map(stop_gradient, (y0, *leaves)))

    def _hold(self, y0, *p):
        rows = self.laws(y0, p)
        if not len(rows):
            return np.zeros((self.system.n, self.system.n))
        size = entries(self.system, np.float64(self.t), y0, list(p))
        return (float(np.max(np.abs(size))) or 1.0) * rows.T @ rows

    # ------------------------------------------------------------ the equation
    def parts(self, a):
        """(y0, hold, leaves) of an equation's operands."""
        return (a[0], a[1], a[2:]) if self.held else (None, None, a)

    def residual(self, x, a):
        """f(y) - hold (y - y0): 0 where the state is at rest and what is conserved is what it was."""
        y0, hold, leaves = self.parts(a)
        f = self.system.call(np.float64(self.t), x[0], *leaves)
        return [f if hold is None else add(f, np.matmul(hold, self.away(sub(y0, x[0]), leaves)))]

    def away(self, x, leaves):
        """x without what solutions can change; x itself where the weights of what they keep depend on nothing.

        Rates at given states span what solutions can change, whatever the parameters, and so carry the derivatives of the weights.
        """
        if self.span is None:
            return x
        points, weights = self.span
        basis = np.matmul(np.stack([self.system.call(np.float64(self.t), y, *leaves) for y in points], axis=1), weights)
        return sub(x, np.matmul(basis, np.linalg.solve(np.matmul(basis.T, basis), np.matmul(basis.T, x))))

    def matrix(self, theta):
        return entries(self.system, np.float64(self.t), theta[0], list(theta[1:]))

    def find(self, x0, a):
        """The steady state, on plain arrays."""
        start = np.array(x0[0], float)
        leaves = self.parts(a)[2]
        rest = Rest(self.system, self.t, leaves)
        laws = self.laws(start, leaves)
        self.told = {"conserved": laws}
        if self.method == "newton":
            y, steps = newton(rest, start, start, laws, self.rtol, np.inf, float(np.max(np.abs(start)))), None
            if y is None:
                error = ConvergenceError("steady_state: Newton's method found no steady state from y0; start nearer, or leave method out")
                error.state = start
                raise error
        else:
            y, steps = pseudo_transient(rest, start, laws, self.rtol, self.maxiter)
        self._tell(rest, y, laws, steps)
        return [y]

    def _tell(self, rest, y, laws, steps):
        matrix = rest.jacobian(y)
        rate = abscissa(matrix, laws)
        known = not np.isnan(rate)
        stable = bool(rate < -NEUTRAL * np.max(np.abs(matrix), initial=0.0)) if known else None
        self.told |= {"stable": stable, "abscissa": rate if known else None, "residual": rest.f(y), "steps": steps,
                      "nfev": rest.rhs_calls, "njev": rest.jac_calls}
        if stable is False:
            what = "unstable" if rate > NEUTRAL * np.max(np.abs(matrix), initial=0.0) else "not asymptotically stable"
            warnings.warn(f"the steady state of {described(self.fun)} is {what} (largest real part of an eigenvalue: {rate:.3g}): "
                          f"solutions do not come to rest there", StabilityWarning, stacklevel=user_depth())


def _check_time(fun, system, y0, leaves):
    """InputError if a right-hand side depends on time, as far as two evaluations tell."""
    values = [concrete(x) for x in (y0, *leaves)]
    if any(v is None for v in values):
        return
    with np.errstate(all="ignore"):
        now, then = (np.asarray(system.call(np.float64(t), *values)) for t in (0.0, OTHER_TIME))
    if not np.array_equal(now, then, equal_nan=True):
        raise InputError(f"steady_state: {described(fun)} depends on t, so it has no steady state; give t= to look for one of the equation "
                         f"frozen at that time")

"""``scipy.optimize`` with derivatives supplied: the same calls and results, over any pytree, honest about failed simulations."""

import inspect
from dataclasses import dataclass

import numpy as np
from scipy import optimize
from scipy.sparse.linalg import LinearOperator

from .. import api
from ..errors import InputError, InputTypeError
from .layout import Layout, lower_and_upper, pairs
from .objective import Objective, Residuals

__all__ = ["cosine", "flat", "gauss_newton_step", "least_squares", "minimize", "solve_least_squares", "stationary"]

STATIONARY = 1e-3              # a relative gradient above this is no minimum, whatever stopped the optimiser
NOTHING = 1e-8                 # relative change of a parameter that is none


@dataclass(frozen=True)
class Traits:
    """What a method of ``scipy.optimize.minimize`` takes (SciPy 1.17)."""

    gradient: bool = True
    second: str = ""           # "hessp", "hess" or none
    bounds: bool = False
    constraints: bool = False


METHODS = {
    "Nelder-Mead": Traits(gradient=False, bounds=True),
    "Powell": Traits(gradient=False, bounds=True),
    "CG": Traits(),
    "BFGS": Traits(),
    "L-BFGS-B": Traits(bounds=True),
    "TNC": Traits(bounds=True),
    "Newton-CG": Traits(second="hessp"),
    "trust-ncg": Traits(second="hessp"),
    "trust-krylov": Traits(second="hessp"),
    "trust-exact": Traits(second="hess"),
    "dogleg": Traits(second="hess"),
    "trust-constr": Traits(second="hessp", bounds=True, constraints=True),
    "SLSQP": Traits(bounds=True, constraints=True),
    "COBYLA": Traits(gradient=False, bounds=True, constraints=True),
    "COBYQA": Traits(gradient=False, bounds=True, constraints=True),
}
NAMES = {name.lower(): name for name in METHODS}


def flat(loss, x0, args=(), *, jit=True):
    """A loss over a pytree as what ``scipy.optimize.minimize`` wants: ``minimize(*flat(loss, x0), jac=True)``.

    Parameters
    ----------
    loss : callable
        ``loss(theta, *args) -> scalar``.
    x0 : pytree of real numbers and arrays
    args : tuple
        Passed on to ``loss``, not differentiated.
    jit : bool
        Compile the loss with its gradient.

    Returns
    -------
    fun : Objective
        ``fun(x) -> (value, gradient)``, with ``fun.unflatten(x)`` back to a tree like x0, ``fun.hessp(x, v)``, ``fun.hess(x)``,
        ``fun.best_x`` and ``fun.failures()``.
    flat_x0 : ndarray, shape (n,)
    """
    objective = Objective(loss, x0, args, jit=jit)
    return objective, objective.layout.x0.copy()


def minimize(fun, x0, args=(), method="L-BFGS-B", *, bounds=None, constraints=(), tol=None, callback=None, options=None, jit=True):
    """Minimise a scalar loss over a pytree with ``scipy.optimize.minimize``, derivatives supplied.

    Parameters
    ----------
    fun : callable
        ``fun(theta, *args) -> scalar``, plain NumPy, ``theta`` a pytree like x0.
    x0 : pytree of real numbers and arrays
    args : tuple
        Passed on, not differentiated.
    method : str or callable
        Any method of SciPy.  Those that use second derivatives get exact Hessian products (Newton-CG, trust-ncg, trust-krylov,
        trust-constr) or the exact Hessian (dogleg, trust-exact).
    bounds : None, scipy.optimize.Bounds, sequence of (lower, upper), or pytree
        One pair for each entry of x0, or a tree like x0 with pairs; None is no bound.
    constraints : scipy.optimize.LinearConstraint or NonlinearConstraint, dict, or list of them
        As in SciPy; functions receive a pytree like x0, and their derivatives are supplied where none are given.
    tol, options
        As in SciPy.
    callback : callable, optional
        ``callback(xk)`` or ``callback(intermediate_result)`` as in SciPy, ``x`` being a pytree.
    jit : bool
        Compile the loss with its derivatives.

    Returns
    -------
    scipy.optimize.OptimizeResult
        SciPy's fields; ``x`` and ``jac`` have the structure of x0.  In addition ``evaluations`` (programs really run: points asked for
        twice are run once) and ``n_failed`` (evaluations that failed).  Without constraints, ``x`` is the best point seen in the bounds.
        ``success`` is False if evaluations failed and the gradient there is not small.

    Raises
    ------
    InputError
        Unknown method, bounds or constraints it cannot take, malformed bounds, x0 outside them.
    SolveError
        The loss cannot be evaluated at x0.
    """
    constraints = list(constraints) if isinstance(constraints, (list, tuple)) else [constraints]
    name, traits = _traits(method, bool(constraints), bounds is not None)
    layout = Layout(x0)
    box = None if bounds is None else pairs(bounds, layout)
    objective = Objective(fun, layout, args, jit=jit, box=box)
    objective.start()
    call = {"bounds": None if box is None else optimize.Bounds(*box), "constraints": [_constraint(c, objective) for c in constraints]}
    call |= {"jac": True} if traits.gradient else {}
    call |= {traits.second: getattr(objective, traits.second)} if traits.second else {}
    call |= {"callback": _callback(callback, objective)} if callback is not None else {}
    result = optimize.minimize(objective if traits.gradient else objective.value, layout.x0, method=name, tol=tol, options=options, **call)
    return _finish(result, objective, traits, bool(constraints))


def _traits(method, constrained, bounded):
    if callable(method):
        return method, Traits(second="hessp", bounds=True, constraints=True)
    if not isinstance(method, str):
        raise InputTypeError(f"minimize: method must be a name or a callable, got {type(method).__name__}")
    if method.lower() not in NAMES:
        raise InputError(f"minimize: no method {method!r}; known are {', '.join(METHODS)}")
    name = NAMES[method.lower()]
    traits = METHODS[name]
    for asked, can, what in ((bounded, traits.bounds, "bounds"), (constrained, traits.constraints, "constraints")):
        if asked and not can:
            able = ", ".join(n for n, t in METHODS.items() if getattr(t, what))
            raise InputError(f"minimize: method {name} cannot take {what}; these can: {able}")
    return name, traits


def _constraint(constraint, objective):
    """A SciPy constraint on flat vectors, its derivatives supplied."""
    unflatten = objective.unflatten
    if isinstance(constraint, dict):
        given = dict(constraint)
        args = given.pop("args", ())
        rows = Residuals(given["fun"], objective.layout, args, jit=False)
        own = given.get("jac")
        return given | {"fun": rows, "jac": rows.jac if own is None else lambda x: own(unflatten(x), *args)}
    if isinstance(constraint, optimize.NonlinearConstraint):
        rows = Residuals(constraint.fun, objective.layout, jit=False)
        own = constraint.jac
        jac = (lambda x: own(unflatten(x))) if callable(own) else rows.jac
        return optimize.NonlinearConstraint(rows, constraint.lb, constraint.ub, jac=jac, hess=_weighted_hessian(rows),
                                            keep_feasible=constraint.keep_feasible)
    if isinstance(constraint, optimize.LinearConstraint):
        return constraint
    kind = type(constraint).__name__
    raise InputTypeError(f"minimize: a constraint is a LinearConstraint, a NonlinearConstraint or a dictionary, got {kind}")


def _weighted_hessian(rows):
    """Hessian of ``w . c(x)`` as the linear operator trust-constr takes."""
    def hess(x, w):
        theta, n = rows.unflatten(x), rows.layout.size

        def weighted(tree):
            return np.sum(np.ravel(rows.function(tree)) * w)

        def times(v):
            return rows.flatten(api.hvp(weighted, (theta,), (rows.unflatten(np.ravel(v)),)))

        return LinearOperator((n, n), matvec=times, dtype=np.float64)

    return hess


def _callback(callback, objective):
    """The user's callback with pytrees: TNC passes bare vectors whatever is asked, the others a result."""
    wants_result = list(inspect.signature(callback).parameters) == ["intermediate_result"]

    def call(intermediate_result):
        seen = intermediate_result
        if not isinstance(seen, optimize.OptimizeResult):
            seen = optimize.OptimizeResult(x=np.array(seen), fun=objective.value(np.asarray(seen)))
        tree = objective.unflatten(seen.x)
        if not wants_result:
            return callback(tree)
        return callback(optimize.OptimizeResult({**seen, "x": tree}))

    return call


def _finish(result, objective, traits, constrained):
    """SciPy's result as trees, at the best point, with a status that owns up to failed evaluations."""
    x = np.array(result.x, dtype=np.float64)
    if not constrained or (objective.failed and objective.failed_at(x)):
        x = objective.best_x                              # SciPy returns the last point of some methods, and may end on a failed one
    result.fun = objective.value(x)
    if traits.gradient:
        result.jac = objective.unflatten(objective.grad(x))
    result.x = objective.unflatten(x)
    result.evaluations, result.n_failed = objective.evaluations, objective.failed
    if not objective.failed:
        return result
    if not constrained and _slope(x, *objective(x), objective.box) > STATIONARY:
        result.success = False
        result.message = f"stopped at a region where the simulation fails ({objective.failures()})"
    else:
        result.message = f"{result.message} ({objective.failures()})"
    return result


def _slope(x, value, gradient, box):
    """Largest relative change of the loss per relative change of an entry that is free to move: 0 at a minimum."""
    free = np.ones(x.size, dtype=bool)
    if box is not None:
        # Interior methods stop just inside a bound.
        low, high = (NOTHING * np.maximum(1.0, np.abs(np.where(np.isfinite(b), b, 1.0))) for b in box)
        free = ~((x <= box[0] + low) & (gradient > 0) | (x >= box[1] - high) & (gradient < 0))
    return float(np.max(np.abs(gradient) * np.maximum(1.0, np.abs(x)), where=free, initial=0.0)) / max(1.0, abs(value))


def least_squares(fun, x0, *, bounds=(-np.inf, np.inf), method="trf", ftol=1e-8, xtol=1e-8, gtol=1e-8, x_scale="jac",
                  loss="linear", f_scale=1.0, max_nfev=None, verbose=0, args=(), kwargs=None, callback=None, jit=True):
    """Minimise a sum of squared residuals with ``scipy.optimize.least_squares``, the exact Jacobian supplied.

    Parameters
    ----------
    fun : callable
        ``fun(theta, *args, **kwargs) -> array`` of residuals, plain NumPy, ``theta`` a pytree like x0.
    x0 : pytree of real numbers and arrays
    bounds : (lower, upper), scipy.optimize.Bounds, or dict of pairs
        Each side a number, a flat vector or a tree like x0; a dictionary gives (lower, upper) by name.
    method, ftol, xtol, gtol, loss, f_scale, max_nfev, verbose
        As in SciPy.
    x_scale : "jac", number or tree like x0
        As in SciPy, but "jac" by default: with exact Jacobians it is what solves all 27 nonlinear NIST StRD problems from both starts.
    args, kwargs
        Passed on, not differentiated.
    callback : callable, optional
        ``callback(xk)`` or ``callback(intermediate_result)``, ``x`` being a pytree (SciPy >= 1.16).
    jit : bool
        Compile residuals and Jacobian.

    Returns
    -------
    scipy.optimize.OptimizeResult
        SciPy's fields; ``x`` and ``grad`` have the structure of x0, ``jac`` is (n_data, n).  In addition ``evaluations`` and ``n_failed``.
        ``success`` is False if evaluations failed and the residuals are not orthogonal to the Jacobian there.

    Raises
    ------
    InputError
        Malformed bounds, x0 outside them, no residual.
    SolveError
        The residuals cannot be evaluated at x0.
    """
    rows = Residuals(fun, x0, args, kwargs, jit=jit)
    box = lower_and_upper(bounds, rows.layout)
    rows.start()
    plain = isinstance(x_scale, str) or (np.ndim(x_scale) == 0 and not isinstance(x_scale, dict))
    scale = x_scale if plain else rows.flatten(x_scale)
    more = {} if callback is None else {"callback": _callback(callback, rows)}
    return solve_least_squares(rows, rows.layout.x0, box, method=method, ftol=ftol, xtol=xtol, gtol=gtol, x_scale=scale, loss=loss,
                               f_scale=f_scale, max_nfev=max_nfev, verbose=verbose, **more)


def solve_least_squares(rows, start, box, **options):
    """Run SciPy on :class:`Residuals` from a flat start; the result's ``x`` and ``grad`` are trees."""
    bounds = (-np.inf, np.inf) if not np.any(np.isfinite(box)) else box
    result = optimize.least_squares(rows, start, jac=rows.jac, bounds=bounds, **options)
    settled = stationary(result.x, result.fun, result.jac, result.active_mask == 0)
    result.x, result.grad = rows.unflatten(result.x), rows.unflatten(result.grad)
    result.evaluations, result.n_failed = rows.evaluations, rows.failed
    if rows.failed and not settled:
        result.success, result.status = False, -1
        result.message = f"stopped at a region where the simulation fails ({rows.failures()})"
    elif rows.failed:
        result.message = f"{result.message} ({rows.failures()})"
    return result


def cosine(r, jac, free):
    """Largest |cosine| between residuals and a column of the Jacobian that may still move: 0 at a minimum, free of units."""
    lengths = np.linalg.norm(jac, axis=0) * np.linalg.norm(r)
    cosines = np.abs(jac.T @ r) / np.where(lengths > 0, lengths, 1.0)
    return float(np.max(cosines, where=free, initial=0.0))


def gauss_newton_step(r, jac, free):
    """Full least-squares step of the entries that may still move; columns are brought to one length first."""
    lengths = np.linalg.norm(jac, axis=0)
    lengths = np.where(lengths > 0, lengths, 1.0)[free]
    step = np.zeros(jac.shape[1])
    if np.any(free):
        step[free] = np.linalg.lstsq(jac[:, free] / lengths, -r, rcond=None)[0] / lengths
    return step


def stationary(x, r, jac, free):
    """Whether a point is a minimum of the sum of squares, whatever stopped the search.

    Either the residuals are orthogonal to the Jacobian, or (where the model goes through the data and their direction is rounding) the
    full Gauss-Newton step changes nothing.
    """
    if cosine(r, jac, free) < STATIONARY:
        return True
    return bool(np.all(np.abs(gauss_newton_step(r, jac, free)) <= NOTHING * np.abs(x)))

"""What an optimiser sees of a program: a function of a flat vector that is evaluated once per point and never returns NaN.

A failed evaluation (the simulation stopped early, or a number is not finite) is counted and, for scalar losses, replaced by
``f_best + w (1 + |x - x_best|^2)`` with its gradient: line searches then step back into the region that can be simulated.  Given inf
instead, SciPy's L-BFGS-B reports success at a wrong point; given NaN, it returns NaN.
"""

from collections import OrderedDict

import numpy as np

from .. import api
from .. import tree as pytree
from ..errors import InputError, InputTypeError, SolveError
from ..numpy.rebind import rebound
from ..numpy.stacking import stacked
from .layout import Layout

__all__ = ["Objective", "Residuals"]

CACHED_POINTS = 4              # line searches and trust regions come back to the last accepted point
PENALTY = 1e3
ADVICE = "start from a point that can be simulated"


class _Memory:
    """The last few points and what was computed there."""

    def __init__(self):
        self._points = OrderedDict()

    def at(self, x):
        """Dictionary of what is known at x."""
        key = x.tobytes()
        known = self._points.setdefault(key, {})
        self._points.move_to_end(key)
        if len(self._points) > CACHED_POINTS:
            self._points.popitem(last=False)
        return known


class _Program:
    """A function of a pytree, run at flat vectors; failures are counted, not raised."""

    def __init__(self, function, x0, args, kwargs, jit):
        self.layout = x0 if isinstance(x0, Layout) else Layout(x0)
        self.compiled = api.jit if jit else lambda f: f
        self.function = lambda theta: rebound(function)(theta, *args, **kwargs)      # ours is not the user's code, theirs is
        self.unflatten = self.layout.unravel
        self.flatten = self.layout.ravel
        self.evaluations = 0
        self.failed = 0
        self.last_failure = ""
        self._memory = _Memory()

    def run(self, program, x, *more):
        """Run a program at x; None if it failed."""
        if not np.all(np.isfinite(x)):
            return self.fail("the optimiser asked for a point that is not finite")
        self.evaluations += 1
        try:
            with np.errstate(all="ignore"):               # the outcome is checked for finiteness by the caller
                return program(self.unflatten(x), *more)
        except (ArithmeticError, np.linalg.LinAlgError) as error:
            return self.fail(f"{type(error).__name__}: {error}")

    def fail(self, why):
        """Count a failed evaluation and remember the reason; returns None."""
        self.failed += 1
        self.last_failure = why

    def failures(self):
        """One phrase for reports: how many evaluations failed and why the last did."""
        noun = "evaluation" if self.failed == 1 else "evaluations"
        return f"{self.failed} failed {noun}, last: {self.last_failure}" if self.failed else "no failed evaluation"


class Objective(_Program):
    """A scalar loss of a pytree as a function of a flat vector, with derivatives.

    Calling it gives ``(value, gradient)``, what ``scipy.optimize.minimize(..., jac=True)`` wants.  Values, gradients and failures are kept
    for the last few points, so asking for one after the other costs one evaluation.

    Parameters
    ----------
    loss : callable
        ``loss(theta, *args) -> scalar``, ``theta`` a pytree like ``x0``.
    x0 : pytree
        Where to start; also the structure of every ``theta``.
    args : tuple
        Passed on to ``loss``, not differentiated.
    jit : bool
        Compile the loss with its derivatives.
    box : (ndarray, ndarray), optional
        Bounds within which a point may count as the best one.

    Attributes
    ----------
    unflatten, flatten : callable
        From a flat vector to a tree like ``x0`` and back.
    best_x, best_value : ndarray, float
        Best point evaluated without failure, inside the box.
    evaluations, failed : int
        Programs run, and how many of them failed.
    """

    def __init__(self, loss, x0, args=(), *, jit=True, box=None):
        super().__init__(loss, x0, args, {}, jit)
        self.box = box
        self.best_x = None
        self.best_value = np.inf
        f = self.function
        self._value = self.compiled(f)
        self._value_and_grad = self.compiled(api.value_and_grad(f))
        self._hvp = self.compiled(lambda theta, v: api.hvp(f, (theta,), (v,)))

    def __call__(self, x):
        """Value and gradient at x: float and ndarray, shape (n,)."""
        x = np.array(x, dtype=np.float64)
        known = self._memory.at(x)
        if "grad" not in known:
            out = None if known.get("failed") else self.run(self._value_and_grad, x)
            self._learn(known, x, *((None, None) if out is None else (_scalar(out[0]), self.flatten(out[1]))))
        return known["value"], known["grad"].copy()       # some optimisers write into the gradient they are given

    def value(self, x):
        """Value at x, for methods that use no gradient."""
        x = np.array(x, dtype=np.float64)
        known = self._memory.at(x)
        if "value" not in known:
            out = self.run(self._value, x)
            self._learn(known, x, None if out is None else _scalar(out), None)
        return known["value"]

    def grad(self, x):
        """Gradient at x, ndarray, shape (n,)."""
        return self(x)[1]

    def hessp(self, x, v):
        """Hessian at x times v, by differentiating the gradient along v: ndarray, shape (n,)."""
        out = self.run(self._hvp, np.array(x, dtype=np.float64), self.unflatten(v))
        if out is None:
            return 2.0 * self._weight() * np.asarray(v, dtype=np.float64)
        return self.flatten(out)

    def hess(self, x):
        """Hessian at x, ndarray, shape (n, n), one product for each column."""
        columns = np.stack([self.hessp(x, e) for e in np.eye(self.layout.size)], axis=1)
        return 0.5 * (columns + columns.T)

    def failed_at(self, x):
        """Whether the evaluation at x failed (it is made if it is no longer known)."""
        self(x)
        return self._memory.at(np.array(x, dtype=np.float64))["failed"]

    def start(self):
        """Value and gradient at x0.

        Raises
        ------
        SolveError
            The loss cannot be evaluated there, so no optimiser has anything to start from.
        """
        out = self(self.layout.x0)
        if self.failed:
            raise SolveError(f"minimize: the loss cannot be evaluated at x0 ({self.last_failure}); {ADVICE}")
        return out

    def _learn(self, known, x, value, grad):
        if value is not None and not np.isfinite(value):
            self.fail(f"the loss is {value}")
            value = None
        elif grad is not None and not np.all(np.isfinite(grad)):
            where = self.layout.names[int(np.flatnonzero(~np.isfinite(grad))[0])]
            self.fail(f"the gradient is not finite in {where}")
            value = None
        known["failed"] = value is None
        if value is None:
            known["value"], known["grad"] = self._substitute(x)
            return
        known["value"] = value
        if grad is not None:
            known["grad"] = grad
        inside = self.box is None or bool(np.all((x >= self.box[0]) & (x <= self.box[1])))
        if inside and value < self.best_value:
            self.best_x, self.best_value = x, value

    def _weight(self):
        return PENALTY * max(1.0, abs(self.best_value)) if self.best_x is not None else PENALTY

    def _substitute(self, x):
        reference = self.layout.x0 if self.best_x is None else self.best_x
        value = 0.0 if self.best_x is None else self.best_value
        away = np.where(np.isfinite(x), x, reference) - reference
        return value + self._weight() * (1.0 + away @ away), 2.0 * self._weight() * away


def _scalar(value):
    if np.ndim(value) or np.iscomplexobj(value):
        got = np.asarray(value)
        raise InputTypeError(f"the loss must return one real number, got an array of shape {got.shape} and dtype {got.dtype}")
    return float(value)


class Residuals(_Program):
    """A residual vector of a pytree as a function of a flat vector, with its exact Jacobian.

    A failed evaluation gives NaN: with an exact Jacobian each method of ``scipy.optimize.least_squares`` then shortens its step.

    Parameters
    ----------
    residual : callable
        ``residual(theta, *args, **kwargs) -> array``, or a list of arrays and numbers.
    x0 : pytree
    args : tuple
    kwargs : dict, optional
    jit : bool

    Attributes
    ----------
    weights : float or ndarray, shape (n_data,)
        Factors of the residuals; may be changed between calls without evaluating anything anew.
    describe : callable
        Name of residual ``i`` in messages.
    residual_calls, jac_calls : int
    watch : callable or None
        Called at each evaluation of the residuals.
    """

    def __init__(self, residual, x0, args=(), kwargs=None, *, jit=True):
        super().__init__(lambda theta, *a, **k: _one_array(rebound(residual)(theta, *a, **k)), x0, args, kwargs or {}, jit)
        self._residual = self.compiled(self.function)
        self._jacobian = self.compiled(api.jacobian(self.function))
        self.residual_calls = self.jac_calls = 0
        self.n_data = None
        self.weights, self.watch = 1.0, None
        self.describe = "residual {}".format

    def __call__(self, x):
        """Residuals at x, ndarray, shape (n_data,); NaN where the evaluation failed."""
        x = np.array(x, dtype=np.float64)
        known = self._memory.at(x)
        if "residual" not in known:
            self.residual_calls += 1
            if self.watch is not None:
                self.watch()
            r = self.run(self._residual, x)
            r = None if r is None else np.asarray(r, dtype=np.float64).ravel()
            if r is not None and not np.all(np.isfinite(r)):
                r = self.fail(f"{self.describe(int(np.flatnonzero(~np.isfinite(r))[0]))} is not finite")
            if self.n_data is None and r is not None:
                self.n_data = r.size
            known["residual"] = np.full(self.n_data or 0, np.nan) if r is None else r
        return known["residual"] * self.weights

    def jac(self, x):
        """Exact Jacobian at x, ndarray, shape (n_data, n).

        Raises
        ------
        SolveError
            It cannot be evaluated although the residuals could.
        """
        x = np.array(x, dtype=np.float64)
        known = self._memory.at(x)
        if "jac" not in known:
            self.jac_calls += 1
            out = self.run(self._jacobian, x)
            if out is None:
                point = self.unflatten(x)
                raise SolveError(f"least_squares: the residuals could be evaluated at {point} and their Jacobian not: {self.last_failure}")
            known["jac"] = self._matrix(out)
        return known["jac"] * np.reshape(self.weights, (-1, 1))

    def start(self):
        """Residuals at x0.

        Raises
        ------
        SolveError
            They cannot be evaluated there.
        InputError
            There is none.
        """
        r = self(self.layout.x0)
        if self.failed:
            raise SolveError(f"least_squares: the residuals cannot be evaluated at x0 ({self.last_failure}); {ADVICE}")
        if not r.size:
            raise InputError("least_squares: the residual function returned no number")
        return r

    def _matrix(self, tree):
        return np.concatenate([np.reshape(j, (self.n_data, -1)) for j in pytree.leaves(tree)], axis=1).astype(np.float64)


def _one_array(value):
    if isinstance(value, (list, tuple)):
        return np.concatenate([np.ravel(stacked(v)) for v in value])
    return stacked(value)

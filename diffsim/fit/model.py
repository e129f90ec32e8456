"""What is fitted: an ordinary differential equation with named parameters, or a formula."""

import copy

import numpy as np

from ..errors import InputError, InputTypeError, SolveError
from ..numpy.rebind import rebound
from ..numpy.stacking import stacked
from ..ode import solve_ivp
from .parameter import Parameters

__all__ = ["Curve", "Model"]

EPS = float(np.finfo(np.float64).eps)


class Model:
    """An initial value problem with named states, parameters and observables.

    Parameters
    ----------
    rhs : callable
        ``rhs(t, y, p) -> dy/dt`` in plain NumPy.  ``y`` unpacks in the order of ``states``; ``p`` is a record: ``p.rate``.
    states : sequence of str
    parameters : sequence of Parameter
    initial : dict, sequence or callable, optional
        The state at ``t0``: for each state a number or the name of a parameter, or ``initial(p) -> array``.
        By default the state ``x`` starts at the parameter ``x0``.
    observable : callable, optional
        ``observable(t, y, p)``, with ``t`` (n_t,) and ``y`` (n_states, n_t), gives what was measured: a dictionary of arrays (n_t,) by
        name, or an array (n_t,) or (n_obs, n_t) in the order of the dataset's columns.  By default the states under their names.
    t0 : float, optional
        Time of the initial state; by default the first time of the data.
    solver : str
        Method of ``ds.solve_ivp``.

    Raises
    ------
    InputError
        Two states share a name, or ``initial`` leaves out a state or names an unknown one or an unknown parameter.
    """

    def __init__(self, rhs, states, parameters, initial=None, observable=None, *, t0=None, solver="Tsit5"):
        for what, value in (("rhs", rhs), ("observable", observable)):
            if not callable(value) and not (what == "observable" and value is None):
                raise InputTypeError(f"Model: {what} must be a function of (t, y, p), got {value!r}")
        self.rhs, self.observable, self.t0, self.solver = rhs, observable, t0, solver
        self.states = (states,) if isinstance(states, str) else tuple(states)
        if len(set(self.states)) != len(self.states) or not self.states:
            raise InputError(f"Model: each state needs a name of its own, got {self.states}")
        self.parameters = parameters if isinstance(parameters, Parameters) else Parameters(parameters)
        self.initial = initial if callable(initial) else self._starts(initial)

    def __repr__(self):
        observable = "" if self.observable is None else f", observable {_named(self.observable)}"
        return (f"Model({_named(self.rhs)}: states {', '.join(self.states)}; parameters {', '.join(self.parameters.names)}{observable}; "
                f"{self.solver})")

    def _starts(self, initial):
        if initial is None:
            initial = {s: f"{s}0" for s in self.states}
        elif not isinstance(initial, dict):
            initial = tuple(initial)
            if len(initial) != len(self.states):
                raise InputError(f"Model: initial has {len(initial)} entries for the {len(self.states)} states {self.states}")
            initial = dict(zip(self.states, initial, strict=True))
        if set(initial) != set(self.states):
            raise InputError(f"Model: initial speaks of {tuple(initial)}, the states are {self.states}")
        for state, value in initial.items():
            if isinstance(value, str) and value not in self.parameters.names:
                raise InputError(f"Model: {state} starts at the parameter {value!r}, which is not there; "
                                 f"give initial={{{state!r}: ...}}, a number or one of {', '.join(self.parameters.names)}")
        return tuple(initial[s] for s in self.states)

    def start(self, p):
        """State at t0 for a record of parameters, array, shape (n_states,); entries may be traced."""
        if callable(self.initial):
            return stacked(rebound(self.initial)(p))
        return np.stack([getattr(p, v) if isinstance(v, str) else float(v) for v in self.initial])

    def scales(self, p, dataset):
        """Size of each state, array, shape (n_states,): of its start and of its data; of the largest where both are 0 or unknown."""
        sizes = np.abs(np.asarray(self.start(p), float))
        if self.observable is None:
            for i, name in enumerate(self.states):
                if name in dataset.names:
                    sizes[i] = max(sizes[i], np.nanmax(np.abs(dataset[name]), initial=0.0))
        return np.where(sizes > 0, sizes, sizes.max(initial=0.0) or 1.0)

    def starting_at(self, t0):
        """This model with its initial state at ``t0``, unless it already says when."""
        if self.t0 is not None:
            return self
        model = copy.copy(self)
        model.t0 = float(t0)
        return model

    def span(self, t):
        """(t0, last time) for increasing times.

        Raises
        ------
        InputError
            The times begin before t0, or there is nothing to integrate.
        """
        t0 = self.starting_at(t[0]).t0
        if t[0] < t0:
            raise InputError(f"the first time asked for is {t[0]:g}, before the model's initial state at t0 = {t0:g}")
        if not t[-1] > t0:
            raise InputError(f"all times are at t0 = {t0:g}, where the state is given; at least one must be later")
        return float(t0), float(t[-1])

    def solve(self, p, t, *, rtol, atol):
        """Solution at strictly increasing times for a record of parameters, as ``ds.solve_ivp`` returns it."""
        return solve_ivp(self.rhs, self.span(t), self.start(p), method=self.solver, t_eval=t, args=(p,), rtol=rtol, atol=atol)

    def predict(self, p, t, *, rtol, atol):
        """What is observed at times ``t``: a dictionary of arrays (n_t,), or whatever the user's observable returns."""
        sol = self.solve(p, t, rtol=rtol, atol=atol)
        if not sol.success:
            raise SolveError(sol.message, sol.status, float(sol.t[-1]) if len(sol.t) else np.nan)
        y = sol.y
        if self.observable is None:
            return {name: y[i] for i, name in enumerate(self.states)}
        return observed(self.observable, t, y, p)

    def precision(self, rtol):
        """Relative accuracy to be expected of predictions."""
        return rtol


def observed(function, *arguments):
    """What the user's function returns, each array in one piece."""
    out = rebound(function)(*arguments)
    return {name: stacked(v) for name, v in out.items()} if isinstance(out, dict) else stacked(out)


def _named(function):
    return getattr(function, "__name__", type(function).__name__)


class Curve:
    """A formula to be fitted: ``function(x, p)`` in plain NumPy.

    Parameters
    ----------
    function : callable
        ``function(x, p)`` with ``x`` (n_t,) and the record ``p`` gives an array (n_t,) or (n_obs, n_t), or a dictionary of arrays by name.
    parameters : sequence of Parameter
    """

    t0 = None

    def __init__(self, function, parameters):
        if not callable(function):
            raise InputTypeError(f"Curve: function must be a function of (x, p), got {function!r}")
        self.function = function
        self.parameters = parameters if isinstance(parameters, Parameters) else Parameters(parameters)

    def __repr__(self):
        return f"Curve({_named(self.function)}: parameters {', '.join(self.parameters.names)})"

    def scales(self, p, dataset):
        """There is no state whose size could matter."""
        return 1.0

    def starting_at(self, t0):
        """This curve: a formula has no initial time."""
        return self

    def predict(self, p, t, *, rtol, atol):
        """Values of the formula at ``t``; there is nothing to integrate, so no tolerance matters."""
        return observed(self.function, t, p)

    def precision(self, rtol):
        """Relative accuracy to be expected of predictions: rounding."""
        return EPS

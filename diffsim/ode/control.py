"""How a solve chooses its steps: tolerances, limits, the probe."""

import warnings
from dataclasses import dataclass

import numpy as np

from ..core import Tracer, user_depth
from ..errors import InputError, InputTypeError
from .controller import pace_of
from .loops.families import family_of
from .tableaus import METHODS, Ndf

#: The probe's error norm counts one part in this many (ode notes: a tenth of the state's tolerance costs no steps on ordinary problems).
PROBE_FACTOR = 10.0
#: What step sizes may resolve where a derivative is taken.
GRADIENT_ERRORS = ("probe", "full", "state")


@dataclass(frozen=True, slots=True)
class Control:
    """Step-size control of one solve.

    Parameters
    ----------
    rtol, atol : float or tuple of float
    first_step : float
        0 to estimate it.
    max_step : float
    max_steps : int
    gradient_errors : str
        What a derivative puts into the error norm: "probe", one tangent; "full", one for each number differentiated in; "state", nothing.
    pace : tuple of float
        The controller as numbers, see ``stepsize.steer``; empty for the usual one.
    history : int
        How many attempted steps are written down (``attempts.memory``).
    everywhere : bool
        Whether the interpolant is wanted in every step, not only around outputs.
    """

    rtol: float | tuple
    atol: float | tuple
    first_step: float = 0.0
    max_step: float = float("inf")
    max_steps: int = 100_000
    gradient_errors: str = "probe"
    pace: tuple = ()
    history: int = 0
    everywhere: bool = False

    @property
    def probe_factor(self):
        """The error norm of tangents counts one part in this many."""
        return 1.0 if self.gradient_errors == "full" else PROBE_FACTOR

    def rtol_vector(self, n):
        """Relative tolerance of each component, shape (n,)."""
        return np.ascontiguousarray(np.broadcast_to(np.asarray(self.rtol, float), (n,)))

    def atol_vector(self, n):
        """Absolute tolerance of each component, shape (n,); the probe's too, whose components are of the size of the state's."""
        return np.ascontiguousarray(np.broadcast_to(np.asarray(self.atol, float), (n,)))


#: For a replay, which has no error control: nothing of it is used but its shape.
REPLAYING = Control(1e-6, 1.0, max_steps=10**9)


# ---------------------------------------------------------------- what a user asks for
def checked_control(layout, method, options, span=None):
    """The :class:`Control` that a user's options ask for; InputError, naming the argument, where they are wrong.

    ``span`` is the length of the interval, None if it is not known.
    """
    if METHODS[method].fixed and options.first_step is None and options.steps is None:
        raise InputError(f"solve_ivp: method {method!r} takes equal steps and estimates no error: give first_step=, their size, or steps=")
    if not family_of(method).steered and options.controller != "PI":
        raise InputError(f"solve_ivp: method {method!r} takes no controller=, it chooses order and size together: leave it out")
    if options.gradient_errors not in GRADIENT_ERRORS:
        raise InputError(f"solve_ivp: gradient_errors must be 'probe', 'full' or 'state', not {options.gradient_errors!r}")
    if isinstance(METHODS[method], Ndf) and options.controller != "PI":
        raise InputError(f"solve_ivp: method {method!r} chooses order and size together and takes no controller: remove controller=")
    rtol, atol = layout.spread(options.rtol, "rtol"), layout.spread(options.atol, "atol")
    if not np.all(rtol >= 0):
        raise InputError(f"solve_ivp: rtol must not be negative, got {options.rtol}")
    if not np.all(atol >= 0):
        raise InputError(f"solve_ivp: atol must be a number or shaped like y0, and not be negative; got {options.atol}")
    first_step = 0.0 if options.first_step is None else _positive(options.first_step, "first_step")
    if span and not METHODS[method].fixed and first_step > abs(span):
        raise InputError(f"solve_ivp: first_step = {first_step:g} exceeds bounds: the span is {abs(span):g} long")
    max_step, max_steps = _positive(options.max_step, "max_step", finite=False), _positive(options.max_steps, "max_steps", finite=False)
    if max_steps < 1:
        raise InputError(f"solve_ivp: max_steps must be at least 1, got {max_steps:g}")
    if layout.empty and not METHODS[method].fixed:        # nothing to resolve: one step
        first_step, max_step = np.inf, np.inf
    least = 100 * np.finfo(float).eps
    if np.any(rtol < least):
        warnings.warn(f"At least one element of `rtol` is too small. Setting `rtol = np.maximum(rtol, {least})`.", UserWarning,
                      stacklevel=user_depth())
    return Control(_hashable(np.maximum(rtol, least)), _hashable(atol), first_step, max_step, int(min(max_steps, 2**62)),
                   options.gradient_errors, pace_of(options.controller))


def _hashable(x):
    return float(x) if x.ndim == 0 else tuple(map(float, x))


def _plain(x, name):
    if isinstance(x, Tracer):
        raise InputTypeError(f"solve_ivp: {name} must be a plain number: step sizes are not differentiated")
    try:
        return np.asarray(float(x) if x is None else x, float)
    except (TypeError, ValueError):
        raise InputTypeError(f"solve_ivp: {name} must be a number, not {x!r}") from None


def _positive(x, name, finite=True):
    x = _plain(x, name)
    if x.ndim or not x > 0 or (finite and not np.isfinite(x)):
        raise InputError(f"solve_ivp: {name} must be a positive number, got {x}")
    return float(x)

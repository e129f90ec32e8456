"""How a solve chooses its steps: tolerances, limits, the probe."""

import warnings
from dataclasses import dataclass

import numpy as np

from ..core import Tracer
from ..errors import InputError, InputTypeError
from .tableaus import METHODS

#: The probe's error norm counts one part in this many (ode notes: a tenth of the state's tolerance costs no steps on ordinary problems).
PROBE_FACTOR = 10.0


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
    probed : bool
        Whether a derivative puts the probe into the error norm.
    pace : tuple of float
        The controller as numbers, see ``stepsize.steer``; empty for the usual one.
    history : int
        How many attempted steps are written down.
    """

    rtol: float | tuple
    atol: float | tuple
    first_step: float = 0.0
    max_step: float = float("inf")
    max_steps: int = 100_000
    probed: bool = True
    pace: tuple = ()
    history: int = 0

    def rtol_vector(self, n):
        """Relative tolerance of each component, shape (n,)."""
        return np.ascontiguousarray(np.broadcast_to(np.asarray(self.rtol, float), (n,)))

    def atol_vector(self, n):
        """Absolute tolerance of each component, shape (n,); the probe's too, whose components are of the size of the state's."""
        return np.ascontiguousarray(np.broadcast_to(np.asarray(self.atol, float), (n,)))


#: For a replay, which has no error control: nothing of it is used but its shape.
REPLAYING = Control(1e-6, 1.0, max_steps=10**9)


def probe_signs(n):
    """Signs of the probe's direction, the same in every run."""
    return np.where(np.random.default_rng(20110525).integers(0, 2, n) == 1, 1.0, -1.0)


# ---------------------------------------------------------------- what a user asks for
_STIFF = "use 'Rodas5P' or 'Kvaerno5' for stiff problems; "
#: Methods of SciPy that are not here, and what to use instead.
MISSING = {
    "Radau": _STIFF, "BDF": _STIFF,
    "LSODA": "nothing switches between stiff and non-stiff methods by itself: use 'Tsit5', or 'Rodas5P' if the problem is stiff; ",
}

_OWN_JACOBIAN = "the Jacobian of fun, and the band it lies in, are found from fun itself: remove it"
#: Arguments of SciPy's solve_ivp that are not here, and what to do instead.
OPTIONS = {"jac": _OWN_JACOBIAN, "jac_sparsity": _OWN_JACOBIAN, "lband": _OWN_JACOBIAN, "uband": _OWN_JACOBIAN,
           "min_step": "only LSODA takes it: remove it"}  # fmt: skip


def _spelled(method):
    """A hint where the letters are a method's but for their case."""
    return next((f"names are spelled as in {name!r}; " for name in METHODS if name.lower() == method.lower()), "")


def refuse(options):
    """InputTypeError for the first of arguments that ``solve_ivp`` does not know."""
    for name in options:
        raise InputTypeError(f"solve_ivp: there is no argument {name!r}; {OPTIONS.get(name, 'see help(diffsim.solve_ivp)')}")


def checked_control(n, method, rtol, atol, first_step, max_step, max_steps, gradient_errors, steps_given=False):
    """The :class:`Control` that a user's arguments ask for; InputError, naming the argument, where they are wrong."""
    if not isinstance(method, str) or method not in METHODS:
        why = MISSING.get(method, "") or _spelled(method) if isinstance(method, str) else ""
        raise InputError(f"solve_ivp: there is no method {method!r}; {why}choose one of {', '.join(METHODS)}")
    if METHODS[method].fixed and first_step is None and not steps_given:
        raise InputError(f"solve_ivp: method {method!r} takes equal steps and estimates no error: give first_step=, their size, or steps=")
    if gradient_errors not in ("probe", "state"):
        raise InputError(f"solve_ivp: gradient_errors must be 'probe' or 'state', not {gradient_errors!r}")
    rtol, atol = _plain(rtol, "rtol"), _plain(atol, "atol")
    if rtol.ndim or not rtol > 0:
        raise InputError(f"solve_ivp: rtol must be a positive number, got {rtol}")
    if atol.shape not in ((), (n,)) or not np.all(atol >= 0):
        raise InputError(f"solve_ivp: atol must be a number or have shape ({n},), and not be negative; got {atol}")
    first_step = 0.0 if first_step is None else _positive(first_step, "first_step")
    max_step, max_steps = _positive(max_step, "max_step", finite=False), _positive(max_steps, "max_steps", finite=False)
    if max_steps < 1:
        raise InputError(f"solve_ivp: max_steps must be at least 1, got {max_steps:g}")
    least = 100 * np.finfo(float).eps
    if rtol < least:
        warnings.warn(f"solve_ivp: rtol = {rtol:g} is below 100 rounding errors; {least:.3g} is used", RuntimeWarning, stacklevel=3)
    tolerance = float(atol) if atol.ndim == 0 else tuple(map(float, atol))
    return Control(max(float(rtol), least), tolerance, first_step, max_step, int(min(max_steps, 2**62)), gradient_errors == "probe")


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

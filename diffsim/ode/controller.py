"""Controllers: how the next step follows from the errors and sizes of the last ones."""

import math
from dataclasses import dataclass

from ..errors import InputError, InputTypeError

__all__ = ["CONTROLLERS", "Controller"]


@dataclass(frozen=True)
class Controller:
    """A digital filter for step sizes.

    With r = safety^k * tolerance / error of a step, k the order of the error estimate, h its size and _1, _2 the accepted steps before, the
    next size is::

        h * r^(beta_1 / k) * r_1^(beta_2 / k) * r_2^(beta_3 / k) * (h / h_1)^-alpha_1 * (h_1 / h_2)^-alpha_2

    A step that is rejected is repeated with r^(1 / k) times its size. All filters aim at the same error, a part safety^k of the tolerance.

    Parameters
    ----------
    beta : sequence of one to three floats
    alpha : sequence of up to two floats
    bounded : bool
        Whether r^(1 / k) is a bound from above.
    safety, shrink, grow : float
        The factor that keeps a distance from the tolerance; the least and the greatest ratio of two sizes.

    Raises
    ------
    InputError, InputTypeError
        A coefficient is not a finite number, or a bound is out of range.

    Notes
    -----
    Source: G. Soderlind, Digital filters in adaptive time-stepping, ACM Trans. Math. Softw. 29 (2003) 1-26.

    Examples
    --------
    Soderlind's filter H211b with b = 4, smooth sequences of steps:

    >>> import diffsim as ds
    >>> ds.ode.Controller(beta=(0.25, 0.25), alpha=(0.25,))
    Controller(beta=(0.25, 0.25, 0.0), alpha=(0.25, 0.0), bounded=False, safety=0.9, shrink=0.2, grow=10.0)
    """

    beta: tuple
    alpha: tuple = ()
    bounded: bool = False
    safety: float = 0.9
    shrink: float = 0.2
    grow: float = 10.0

    def __post_init__(self):
        for name, most in (("beta", 3), ("alpha", 2)):
            given = getattr(self, name)
            try:
                values = tuple(map(float, given))
            except (TypeError, ValueError):
                raise InputTypeError(f"Controller: {name} must be a sequence of numbers, not {given!r}") from None
            if len(values) > most or not all(map(math.isfinite, values)) or (name == "beta" and not values):
                raise InputError(f"Controller: {name} must be {'one' if name == 'beta' else 'none'} to {most} finite numbers, got {values}")
            object.__setattr__(self, name, values + (0.0,) * (most - len(values)))
        for name, low, high in (("safety", 0.0, 1.0), ("shrink", 0.0, 1.0), ("grow", 1.0, math.inf)):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not low < value <= high or value == math.inf:
                most = f" and at most {high:g}" if high < math.inf else " and finite"
                raise InputError(f"Controller: {name} must be above {low:g}{most}, got {value}")
        if self.shrink >= self.safety:
            raise InputError(f"Controller: shrink = {self.shrink:g} must be below safety = {self.safety:g}")

    @property
    def pace(self):
        """The numbers that the stepping loops read (``stepsize.steer``)."""
        return (*self.beta, *self.alpha, float(self.bounded), *map(math.log2, (self.safety, self.shrink, self.grow)))


#: Controllers by name; "PI" is the one built into the loops (Hairer & Wanner II, IV.2, beta = 0.02).  "PID": Kennedy & Carpenter's, as in
#: SUNDIALS' ARKODE; "predictive": Gustafsson's, for implicit methods (Hairer & Wanner II, IV.8).
CONTROLLERS = {
    "PI": None,
    "I": Controller((1.0,)),
    "PID": Controller((0.58, -0.21, 0.1)),
    "predictive": Controller((2.0, -1.0), (-1.0,), bounded=True),
}


def pace_of(controller):
    """Numbers of a controller given by name or as a :class:`Controller`; empty for the usual one."""
    if isinstance(controller, Controller):
        return controller.pace
    if not isinstance(controller, str) or controller not in CONTROLLERS:
        raise InputError(f"solve_ivp: controller must be one of {', '.join(map(repr, CONTROLLERS))} or a ds.ode.Controller, "
                         f"not {controller!r}")
    chosen = CONTROLLERS[controller]
    return () if chosen is None else chosen.pace

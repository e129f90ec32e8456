"""How a solve chooses its steps: tolerances, limits, the probe."""

from dataclasses import dataclass

import numpy as np

from .tableaus import METHODS

#: The probe's error norm counts one part in this many (ode notes: a tenth of the state's tolerance costs no steps on ordinary problems).
PROBE_FACTOR = 10.0


@dataclass(frozen=True, slots=True)
class Control:
    """Step-size control of one solve.

    Parameters
    ----------
    rtol : float
    atol : float or tuple of float
    first_step : float
        0 to estimate it.
    max_step : float
    max_steps : int
    probed : bool
        Whether a derivative puts the probe into the error norm.
    """

    rtol: float
    atol: float | tuple
    first_step: float = 0.0
    max_step: float = float("inf")
    max_steps: int = 100_000
    probed: bool = True

    def atol_vector(self, n):
        """Absolute tolerance of each component, shape (n,); the probe's too, whose components are of the size of the state's."""
        return np.ascontiguousarray(np.broadcast_to(np.asarray(self.atol, float), (n,)))


#: For a replay, which has no error control: nothing of it is used but its shape.
REPLAYING = Control(1e-6, 1.0, max_steps=10**9)


def order_of_error(method):
    """Order of a method's error estimate plus one: the exponent of the controller."""
    return float(METHODS[method].embedded_order + 1)


def probe_signs(n):
    """Signs of the probe's direction, the same in every run."""
    return np.where(np.random.default_rng(20110525).integers(0, 2, n) == 1, 1.0, -1.0)

"""A problem to solve: everything that ``solve_ivp`` has checked."""

import re

from ..core import Tracer
from .arguments import concrete
from .odeint import replay


class Problem:
    """Everything a solve needs, checked.

    Attributes
    ----------
    system : System
    leaves : list
        Its parameters.
    method : str
    control : Control
    times : Times
    y0 : array, shape (n,)
        The vector to start from.
    layout : Layout
        How the user's state lies in it.
    """

    __slots__ = ("control", "layout", "leaves", "method", "system", "times", "y0")

    def __init__(self, system, leaves, method, control, times, y0, layout):
        self.system, self.leaves, self.method, self.control = system, leaves, method, control
        self.times, self.y0, self.layout = times, y0, layout

    @property
    def traced(self):
        """Whether any operand is a tracer, and whether any is a symbol without a number."""
        operands = [self.times.t0, self.times.span, self.y0, *self.leaves] + ([] if self.times.sigma is None else [self.times.sigma])
        return any(isinstance(x, Tracer) for x in operands), any(concrete(x) is None for x in operands)

    def states(self, mesh, sigma):
        """Outputs on a mesh, shape (m, n), and their record."""
        return replay(mesh, self.times.t0, self.y0, sigma, *self.leaves, system=self.system, method=self.method, rate=0)

    def named(self, error):
        """An error of the solve, its components in the user's words."""
        if not self.layout.plain:
            error.args = (re.sub(r"\by\[(\d+)\]", lambda found: self.layout.name(int(found[1])), str(error)),)
        return error

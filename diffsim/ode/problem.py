"""A problem to solve: everything that ``solve_ivp`` has checked."""

import contextlib
import re
from dataclasses import replace

from diffsim.ode.pictures import attempts

from ..core import Tracer
from ..errors import InputError, SolveError
from .arguments import concrete
from .checkpoints.policies import policy_of
from .loops.families import family_of
from .odeint import odeint, replay


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
    options : Options
    policy : Checkpoints or None
        What is kept for derivatives; all stages if None.
    watch : Watch or None
        What is seen of the solve while it runs.
    """

    __slots__ = ("control", "layout", "leaves", "method", "options", "policy", "system", "times", "watch", "y0")

    def __init__(self, system, leaves, method, control, times, y0, layout, options):
        self.system, self.leaves, self.method, self.control = system, leaves, method, control
        self.times, self.y0, self.layout, self.options, self.watch = times, y0, layout, options, None
        self.policy = policy_of(options.memory, options.checkpoint)
        if self.policy is not None and "kept" not in family_of(method).forward.arguments:
            raise InputError(f"solve_ivp: method {method!r} repeats its steps only as a whole, and keeps one state of each: remove memory= "
                             f"and checkpoint=, or use 'Radau' or 'Kvaerno5'")

    @property
    def traced(self):
        """Whether any operand is a tracer, and whether any is a symbol without a number."""
        operands = [self.times.t0, self.times.span, self.y0, *self.leaves] + ([] if self.times.sigma is None else [self.times.sigma])
        return any(isinstance(x, Tracer) for x in operands), any(concrete(x) is None for x in operands)

    def states(self, mesh, sigma, keep=False):
        """Outputs on a mesh, shape (m, n), and their record, with all stages if ``keep``."""
        return replay(mesh, self.times.t0, self.y0, sigma, *self.leaves, system=self.system, method=self.method, rate=0, keep=keep,
                      checkpoint=None if keep else self.policy)

    def plain_states(self, mesh, sigma):
        """Outputs on a mesh as numbers, of which no derivative is taken."""
        t0, y0, *leaves = map(concrete, (self.times.t0, self.y0, *self.leaves))
        return replay(mesh, t0, y0, sigma, *leaves, system=self.system, method=self.method, rate=0, keep=False)[0]

    def integrated(self, sigma, keep):
        """Outputs at sigma and the record: a solve with steps of its own choice."""
        policy = self.policy if self.traced[0] else None    # without derivatives the states at the steps are what is kept for
        control = self.begun(concrete(self.times.t0))
        try:
            ys, record = odeint(self.times.t0, self.times.span, self.y0, sigma, *self.leaves, system=self.system, method=self.method,
                                rate=0, control=control, probe=None, keep=keep, checkpoint=policy)
        except SolveError as error:
            self.ended(error.record)
            raise
        self.ended(record)
        return ys, record

    # ------------------------------------------------------------ who looks on
    @contextlib.contextmanager
    def watched(self):
        """While a solve runs: let who wants to look on."""
        options = self.options
        if not (options.progress or options.history) or self.traced[1]:
            yield
            return
        t0, span = float(concrete(self.times.t0)), float(concrete(self.times.span))
        with attempts.watched(t0, span, options.progress, bool(options.history)) as self.watch:
            yield

    def begun(self, t0):
        """The control of a stretch that begins at t0."""
        if self.watch is None:
            return self.control
        self.watch.begin(float(t0))
        return replace(self.control, history=attempts.ROWS)

    def ended(self, record):
        """A stretch has left this record."""
        if self.watch is not None and record is not None:
            self.watch.end(record)

    def named(self, error):
        """An error of the solve, its components in the user's words."""
        if not self.layout.plain:
            error.args = (re.sub(r"\by\[(\d+)\]", lambda found: self.layout.name(int(found[1])), str(error)),)
        return error

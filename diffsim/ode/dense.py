"""Dense output of a solve."""

import numpy as np

from ..core import Tracer
from ..errors import InputError
from ..prims.elementwise import sub
from ..prims.layout import basic, index, reshape
from .arguments import concrete, vector

#: Times may lie outside the span by this part of it: rounding.
SLACK = 1e-12


class Dense:
    """A solution as a function of time, made of steps; SciPy's ``OdeSolution``.

    Parameters
    ----------
    ts : ndarray, shape (n_segments + 1,)
        Times between the steps, in the order they were taken.

    Attributes
    ----------
    ts : ndarray
    ts_sorted : ndarray
        The same in ascending order.
    t_min, t_max : float
        Ends of the span.
    n_segments : int
    ascending : bool
        Whether time ran forward.
    interpolants : list of Segment
        The solution over each step.
    """

    def __init__(self, ts):
        self.ts, self.n_segments, self.ascending = ts, len(ts) - 1, bool(ts[-1] >= ts[0])
        self.ts_sorted = ts if self.ascending else ts[::-1]
        self.t_min, self.t_max = float(self.ts_sorted[0]), float(self.ts_sorted[-1])

    def __repr__(self):
        return f"<solution from t = {self.ts[0]:g} to {self.ts[-1]:g}, {self.n_segments} steps>"

    @property
    def interpolants(self):
        return [Segment(self, *ends) for ends in zip(self.ts[:-1], self.ts[1:], strict=True)]


class Interpolant(Dense):
    """The solution of one problem on one mesh, differentiable like the solution itself."""

    def __init__(self, problem, record):
        self._problem, self._record = problem, record
        times, nodes = problem.times, record.nodes
        t0 = float(concrete(times.t0))
        ts = t0 + nodes if len(nodes) > 1 else np.array([t0, t0])
        if nodes[-1] == concrete(times.span):              # which a failed solve has not reached
            ts[-1] = concrete(times.t1)
        super().__init__(ts)

    def __call__(self, t):
        """The state at times t.

        Parameters
        ----------
        t : float or array_like, shape (m,)
            Within the span.

        Returns
        -------
        y
            As y0, with a last axis of length m if t has one.

        Raises
        ------
        InputError
            A time lies outside the span, where nothing is known.
        """
        scalar = not np.shape(t) if not isinstance(t, Tracer) else not t.shape
        t = vector([t] if scalar and not isinstance(t, Tracer) else reshape(t, shape=(1,)) if scalar else t, "t", allow_empty=True)
        value = concrete(t)
        slack = SLACK * max(self.t_max - self.t_min, abs(self.t_min), abs(self.t_max))
        if value is not None and np.size(value) and (value.min() < self.t_min - slack or value.max() > self.t_max + slack):
            raise InputError(f"sol: times must lie in [{self.t_min:g}, {self.t_max:g}]")
        sigma, back = sub(t, self._problem.times.t0), None
        if value is not None and np.any(np.diff(value) * (1 if self.ascending else -1) < 0):
            order = np.argsort(value if self.ascending else -value, kind="stable")
            back = np.argsort(order)
            sigma = sigma[order]
        ys, _ = self._problem.states(self._record, sigma)
        ys = ys if back is None else ys[back]
        layout = self._problem.layout
        return layout.state(index(ys, at=basic(tuple(ys.shape), (0, slice(None))))) if scalar else layout.outputs(ys)


class Segment:
    """The solution over one step; SciPy's ``DenseOutput``.

    Attributes
    ----------
    t_old, t : float
        Where the step began and ended.
    t_min, t_max : float
    """

    def __init__(self, whole, t_old, t):
        self._whole, self.t_old, self.t = whole, t_old, t
        self.t_min, self.t_max = min(t_old, t), max(t_old, t)

    def __call__(self, t):
        """The state at times t, as by the whole solution."""
        return self._whole(t)

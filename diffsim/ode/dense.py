"""Dense output of a solve."""

import numpy as np

from ..core import Tracer
from ..errors import InputError
from ..prims.elementwise import sub
from ..prims.layout import basic, index, reshape
from .arguments import concrete, vector


class Interpolant:
    """Dense output: states at any time of the span, differentiable like the solution itself."""

    def __init__(self, problem, record):
        self._problem, self._record = problem, record
        t0 = concrete(problem.times.t0)
        self.t_min, self.t_max = sorted((float(t0), float(t0) + float(record.nodes[-1])))

    def __call__(self, t):
        scalar = not np.shape(t) if not isinstance(t, Tracer) else not t.shape
        t = vector([t] if scalar and not isinstance(t, Tracer) else reshape(t, shape=(1,)) if scalar else t, "t", allow_empty=True)
        value = concrete(t)
        slack = 1e-12 * (self.t_max - self.t_min)
        if value is not None and np.size(value) and (value.min() < self.t_min - slack or value.max() > self.t_max + slack):
            raise InputError(f"sol: times must lie in [{self.t_min:g}, {self.t_max:g}]")
        sigma, back = sub(t, self._problem.times.t0), None
        if value is not None and np.any(np.diff(value) * (1 if self._record.nodes[-1] >= 0 else -1) < 0):
            order = np.argsort(value if self._record.nodes[-1] >= 0 else -value, kind="stable")
            back = np.argsort(order)
            sigma = sigma[order]
        ys, _ = self._problem.states(self._record, sigma)
        ys = ys if back is None else ys[back]
        layout = self._problem.layout
        return layout.state(index(ys, at=basic(tuple(ys.shape), (0, slice(None))))) if scalar else layout.outputs(ys)

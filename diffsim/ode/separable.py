"""Whether a system is what splitting methods want: positions moved by momenta alone, momenta by positions alone."""

import functools

import numpy as np

from ..control.jit import described
from ..core import Aval
from ..errors import InputError
from ..transforms import linearize_for_pattern, pattern_of, trace
from .arguments import concrete
from .compiled.kernels import along
from .system import FLOAT, SCALAR


def check_separable(system, fun, method, t0, y0, leaves):
    """InputError, naming the slope and the component it depends on, if a splitting method does not suit a system.

    The pattern of df/dy of the traced right-hand side decides; of one that cannot be traced, its numbers at the start.
    """
    n, place, takes = system.n, described(fun), f"solve_ivp: method {method!r} takes y = (positions, momenta)"
    if n % 2:
        raise InputError(f"{takes}, the first half and the second, but y0 has shape ({n},)")
    rows, columns = _traced_pattern(system) if system.graph is not None else _pattern_at(system, *map(concrete, (t0, y0)), leaves)
    wrong = np.flatnonzero((rows < n // 2) == (columns < n // 2))
    if wrong.size:
        i, j = rows[wrong[0]], columns[wrong[0]]
        what = "positions" if i < n // 2 else "momenta"
        raise InputError(
            f"{takes}, where the slopes of positions depend on momenta alone and those of momenta on positions alone; but in {place} the "
            f"slope of y[{i}], among the {what}, depends on y[{j}]. Order the state so, or use a method that takes any system: "
            f"'ImplicitMidpoint', which is symplectic too, or 'DOP853'.")


@functools.lru_cache(maxsize=256)
def _traced_pattern(system):
    """Rows and columns of df/dy that may differ from zero; systems with one digest share them."""
    vector, found = Aval((system.n,), FLOAT), []

    def entries(t, y, *p):
        _, equations, outputs = linearize_for_pattern(lambda y: [system.call(t, y, *p)], [y], "a symplectic method")
        found.append(pattern_of(equations, outputs, [vector], [vector]))
        return [np.zeros(0)]
    trace(entries, [SCALAR, vector, *system.p_avals], verb="a symplectic method")
    return found[0]


def _pattern_at(system, t0, y0, leaves):
    """Where df/dy differs from zero at the start."""
    leaves = list(map(concrete, leaves))
    columns = [along(system, np.float64(t0), np.array(y0), v, None, leaves) for v in np.eye(system.n)]
    return np.nonzero(np.transpose(columns))

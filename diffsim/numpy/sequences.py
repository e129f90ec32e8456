"""NumPy's functions as rebound functions see them, where an operand may be a list of traced numbers: ``np.mean([a, b])``.

NumPy asks operands for their protocol, but not what a list or tuple holds: it would make an array of objects of it.  Such an operand is
made an array of ours first.  Functions of sequences of arrays (``np.stack``, ``np.concatenate``) do ask, and stay NumPy's own.
"""

import functools
from types import ModuleType

import numpy as np

from .creation import array
from .stacking import holds_traced

#: Functions of arrays that are often given a list.
_OFTEN = """all allclose any amax amin angle argmax argmin argsort around average clip corrcoef cov cross cumprod cumsum diag diff dot
flip gradient inner insert interp kron max mean median min nanmax nanmean nanmedian nanmin nanpercentile nanprod nanquantile nanstd nansum
nanvar outer percentile poly polyfit polyval prod ptp quantile ravel repeat reshape roll roots round sort std sum take tensordot tile trace
transpose trapezoid unwrap vander var vdot"""


def _made(x):
    return array(x) if (x.__class__ is list or x.__class__ is tuple) and holds_traced(x) else x


def taking_lists(function):
    """A NumPy function that takes lists and tuples of traced values for arrays."""
    @functools.wraps(function)
    def apply(*args, **kwargs):
        for x in args:
            if x.__class__ is list or x.__class__ is tuple:
                args = map(_made, args)
                break
        if kwargs:
            kwargs = {k: _made(v) for k, v in kwargs.items()}
        return function(*args, **kwargs)
    return apply


def _dispatched(module):
    """Functions of a module whose operands NumPy asks for their protocol, and that do not take a sequence of arrays."""
    return [f for name, f in vars(module).items() if not name.startswith("_") and hasattr(f, "_implementation") and name != "multi_dot"]


#: NumPy's function -> ours.
LISTS = {f: taking_lists(f) for f in (*[getattr(np, name) for name in _OFTEN.split()], *_dispatched(np.linalg), *_dispatched(np.fft))}


class Namespace(ModuleType):
    """``np.linalg`` or ``np.fft``, all of whose functions take lists."""

    def __init__(self, real):
        super().__init__(real.__name__, real.__doc__)
        self._real = real
        self.__dict__.update({f.__name__: LISTS[f] for f in _dispatched(real)})

    def __getattr__(self, name):
        return getattr(self._real, name)

    def __dir__(self):
        return dir(self._real)


#: NumPy's module -> ours.
NAMESPACES = {module: Namespace(module) for module in (np.linalg, np.fft)}

__all__ = ["LISTS", "NAMESPACES", "taking_lists"]

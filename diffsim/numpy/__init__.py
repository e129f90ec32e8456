"""NumPy's front door: ``diffsim.numpy`` is NumPy's namespace with creators whose arrays a traced value may be stored in.

Plain ``import numpy as np`` does as well: functions under a transform are run with ``np`` rebound (:mod:`diffsim.numpy.rebind`).
"""

import numpy as _np

from . import (  # noqa: F401  (they fill the tables)
    apply,
    fourier,
    linear,
    lookup,
    matrices,
    methods,
    norms,
    padding,
    polynomials,
    reach,
    rearrange,
    reductions,
    scipy_linalg,
    scipy_matrices,
    scipy_ndimage,
    scipy_signal,
    shapes,
    sorting,
    special,
    statistics,
    ufunc_methods,
    ufuncs,
    values,
)
from . import array as _array
from .creation import CREATORS as _CREATORS
from .rebind import original, rebound  # noqa: F401  (public names)

Array = _array.Array

globals().update({f.__name__: ours for f, ours in _CREATORS.items()})          # last: ``array`` is a module of ours and NumPy's creator


def __getattr__(name):
    try:
        return getattr(_np, name)
    except AttributeError:
        raise AttributeError(f"module 'diffsim.numpy' has no attribute {name!r}: NumPy has none of this name") from None


def __dir__():
    return sorted({*dir(_np), *globals()})

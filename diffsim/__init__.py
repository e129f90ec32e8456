"""diffsim: differentiable scientific simulation in plain NumPy.

>>> import numpy as np
>>> import diffsim as ds
>>> float(ds.grad(lambda x: np.sin(x) * x)(1.0))
1.3817732906760363
"""

import importlib

from . import errors, tree
from .api import grad, hessian, hvp, jacobian, jit, jvp, linearize, make_graph, stop_gradient, value_and_grad, vjp

__version__ = "0.1.0"

#: Loaded at first use, so that ``import diffsim`` stays light.
_LATE = {name: name for name in ("fit", "numpy", "ode", "optimize", "testing")} | {"solve_ivp": "ode"}


def __getattr__(name):
    if name not in _LATE:
        raise AttributeError(f"module 'diffsim' has no attribute {name!r}")
    module = importlib.import_module(f".{_LATE[name]}", __name__)
    value = module if name == _LATE[name] else getattr(module, name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_LATE})


__all__ = ["errors", "fit", "grad", "hessian", "hvp", "jacobian", "jit", "jvp", "linearize", "make_graph", "numpy", "ode", "optimize",
           "solve_ivp", "stop_gradient", "testing", "tree", "value_and_grad", "vjp"]

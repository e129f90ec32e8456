"""diffsim: differentiable scientific simulation in plain NumPy.

>>> import numpy as np
>>> import diffsim as ds
>>> round(float(ds.grad(lambda x: np.sin(x) * x)(1.0)), 12)
1.38177329068

Names are loaded at first use: ``import diffsim`` costs milliseconds.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import errors, fit, linalg, numpy, ode, optimize, special, testing, tree
    from .api import (
        Pattern,
        ShapeDtype,
        callback,
        checkpoint,
        checkpoint_name,
        checkpoint_policies,
        cond,
        custom_jvp,
        custom_vjp,
        debug_nans,
        draw,
        fixed_point,
        fori_loop,
        gnvp,
        grad,
        hessian,
        hvp,
        jacfwd,
        jacobian,
        jacrev,
        jit,
        jvp,
        kernel,
        linear_solve,
        linear_transpose,
        linearize,
        make_graph,
        primitive,
        residuals,
        root,
        scan,
        sparse_hessian,
        sparse_jacobian,
        sparsity,
        stop_gradient,
        switch,
        value_and_grad,
        vjp,
        vmap,
        while_loop,
    )
    from .ode import check_gradient, solve_ivp, where_event

__version__ = "0.1.0"

__all__ = [
    "Pattern",
    "ShapeDtype",
    "callback",
    "check_gradient",
    "checkpoint",
    "checkpoint_name",
    "checkpoint_policies",
    "cond",
    "custom_jvp",
    "custom_vjp",
    "debug_nans",
    "draw",
    "errors",
    "fit",
    "fixed_point",
    "fori_loop",
    "gnvp",
    "grad",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "kernel",
    "linalg",
    "linear_solve",
    "linear_transpose",
    "linearize",
    "make_graph",
    "numpy",
    "ode",
    "optimize",
    "primitive",
    "residuals",
    "root",
    "scan",
    "solve_ivp",
    "sparse_hessian",
    "sparse_jacobian",
    "sparsity",
    "special",
    "stop_gradient",
    "switch",
    "testing",
    "tree",
    "value_and_grad",
    "vjp",
    "vmap",
    "where_event",
    "while_loop",
]

_PACKAGES = ("errors", "fit", "linalg", "numpy", "ode", "optimize", "special", "testing", "tree")
_ODE = ("check_gradient", "solve_ivp", "where_event")
_HOME = {name: "ode" if name in _ODE else "api" for name in __all__ if name not in _PACKAGES}


def __getattr__(name):
    if name in _PACKAGES:
        value = importlib.import_module(f".{name}", __name__)
    elif name in _HOME:
        value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    else:
        raise AttributeError(f"module 'diffsim' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})

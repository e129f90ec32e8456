"""The verbs: transforms of functions of pytrees.  The one package that knows transforms, passes and code generation together."""

from ..transforms import debug_nans
from . import scipy_calls  # noqa: F401  (it enters SciPy's solvers)
from .batching import vmap
from .choices import cond, switch
from .control import fori_loop, scan, while_loop
from .derivatives import gnvp, grad, hvp, jvp, linear_transpose, linearize, value_and_grad, vjp
from .external import ShapeDtype, callback, kernel
from .graphs import jit, make_graph, stop_gradient
from .implicit import fixed_point, linear_solve, root
from .matrices import hessian, jacfwd, jacobian, jacrev
from .remat import checkpoint, checkpoint_name, checkpoint_policies
from .rows import primitive
from .rules import custom_jvp, custom_vjp
from .seeing import draw, residuals
from .sparse import Pattern, sparse_hessian, sparse_jacobian, sparsity

__all__ = [
    "Pattern",
    "ShapeDtype",
    "callback",
    "checkpoint",
    "checkpoint_name",
    "checkpoint_policies",
    "cond",
    "custom_jvp",
    "custom_vjp",
    "debug_nans",
    "draw",
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
    "linear_solve",
    "linear_transpose",
    "linearize",
    "make_graph",
    "primitive",
    "residuals",
    "root",
    "scan",
    "sparse_hessian",
    "sparse_jacobian",
    "sparsity",
    "stop_gradient",
    "switch",
    "value_and_grad",
    "vjp",
    "vmap",
    "while_loop",
]

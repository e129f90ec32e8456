"""The verbs: transforms of functions of pytrees.  The one package that knows transforms, passes and code generation together."""

from ..transforms import debug_nans
from .batching import vmap
from .choices import cond, switch
from .control import fori_loop, scan, while_loop
from .derivatives import gnvp, grad, hvp, jvp, linear_transpose, linearize, value_and_grad, vjp
from .graphs import jit, make_graph, stop_gradient
from .matrices import hessian, jacfwd, jacobian, jacrev
from .remat import checkpoint, checkpoint_name, checkpoint_policies
from .seeing import draw, residuals
from .sparse import Pattern, sparse_hessian, sparse_jacobian, sparsity

__all__ = [
    "Pattern",
    "checkpoint",
    "checkpoint_name",
    "checkpoint_policies",
    "cond",
    "debug_nans",
    "draw",
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
    "linear_transpose",
    "linearize",
    "make_graph",
    "residuals",
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

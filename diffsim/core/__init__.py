"""The core: abstract values, primitives, tracers and levels, graphs.  Knows no operation and no transform."""

from .aval import Aval, Opaque, aval_of, is_float
from .graph import Const, Eqn, Graph, Var, eval_graph
from .primitive import DENSE, ONE_BY_ONE, REGISTRY, SLOTS, Absent, Linear, Primitive, bind
from .tracer import (
    FUNCTIONS,
    METHODS,
    NO_PARAMS,
    UFUNCS,
    ArrayTracer,
    Trace,
    Tracer,
    called_by_user,
    concretization_error,
    user_depth,
    user_line,
    wrap,
)

__all__ = ["DENSE", "FUNCTIONS", "METHODS", "NO_PARAMS", "ONE_BY_ONE", "REGISTRY", "SLOTS", "UFUNCS", "Absent", "ArrayTracer", "Aval",
           "Const", "Eqn", "Graph", "Linear", "Opaque", "Primitive", "Trace", "Tracer", "Var", "aval_of", "bind", "called_by_user",
           "concretization_error", "eval_graph", "is_float", "user_depth", "user_line", "wrap"]

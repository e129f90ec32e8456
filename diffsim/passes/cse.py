"""Common subexpressions: equal equations are computed once."""

import numpy as np

from ..core import Const
from .rewrite import Rewriting

#: Constants up to this many bytes are compared by content, larger ones by identity.
COMPARED = 1 << 16


def param_key(value):
    """A hashable stand-in: equal for params that mean the same, different types kept apart."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, (tuple, list)):
        return type(value), tuple(map(param_key, value))
    if isinstance(value, dict):
        return dict, tuple((name, param_key(v)) for name, v in sorted(value.items()))
    if isinstance(value, float):
        return float, repr(value)
    digest = getattr(value, "digest", None)
    if isinstance(digest, str):
        return type(value), digest
    try:
        hash(value)
    except TypeError:
        return id(value)
    return type(value), value


def operand_key(x):
    """A variable is itself; a constant is its content."""
    if isinstance(x, Const) and x.value.nbytes <= COMPARED:
        return x.value.dtype.str, x.value.shape, x.value.tobytes()
    return x


def cse(graph):
    """Compute equal equations once (hash-consing: one pass in program order finds them all)."""
    work, seen = Rewriting(graph), {}
    for eqn in graph.eqns:
        inputs = work.inputs(eqn)
        key = (eqn.prim, tuple(map(operand_key, inputs)), tuple((k, param_key(v)) for k, v in sorted(eqn.params.items())))
        have = seen.get(key)
        if have is None:
            seen[key] = work.keep(eqn, inputs)
        else:
            for v, other in zip(eqn.outputs, have.outputs, strict=True):
                work.replace(v, other)
    return work.done()

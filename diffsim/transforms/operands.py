"""Operands of a primitive as a trace sees them."""

import numpy as np

from ..core import TRACED, ArrayTracer, Tracer

WEAK = frozenset((bool, int, float, complex))


def tracer(x):
    """An operand as a tracer proper: a light mutable array stands for one."""
    return ArrayTracer(x.owner, x.primal, x.dual) if x.__class__ in TRACED and not isinstance(x, Tracer) else x


def split(trace, args):
    """Primals and duals of operands: a value of another trace is a constant."""
    primals, duals = [], []
    for x in args:
        if isinstance(x, Tracer) and x.owner is trace:
            primals.append(x.primal)
            duals.append(x.dual)
        else:
            primals.append(x)
            duals.append(None)
    return tuple(primals), tuple(duals)


def strong(args):
    """Operands with Python scalars made arrays of the dtype they take beside the others (NEP 50)."""
    if not any(type(x) in WEAK for x in args):
        return args
    dtypes = [x.dtype for x in args if hasattr(x, "dtype") and x.dtype.kind in "iufc"]
    return tuple(np.asarray(x, np.result_type(x, *dtypes)) if type(x) in WEAK else x for x in args)


__all__ = ["split", "strong", "tracer"]

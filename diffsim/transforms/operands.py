"""Operands of a primitive as a trace sees them."""

import numpy as np

from ..core import PYTHON_NUMBERS, TRACED, ArrayTracer, Tracer, is_weak, narrow
from ..core.emission import Scalar
from ..prims.layout import convert

#: Kinds of dtypes that take part in promotion with Python's numbers.
NUMERIC = "iufc"


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
    if not any(x.__class__ in PYTHON_NUMBERS for x in args):
        return args
    dtypes = [x.dtype for x in args if hasattr(x, "dtype") and x.dtype.kind in NUMERIC]
    return tuple(np.asarray(x, np.result_type(x, *dtypes)) if x.__class__ in PYTHON_NUMBERS else x for x in args)


def narrowed(prim, args):
    """Operands with traced numbers of Python's converted where those beside them are narrower."""
    weak = [x.__class__ is Tracer and is_weak(x) for x in args]
    if not any(weak) or not isinstance(prim.emit, Scalar):
        return args
    dtypes = [x.dtype for x, on in zip(args, weak, strict=True) if not on and hasattr(x, "dtype") and x.dtype.kind in NUMERIC]
    if not dtypes:
        return args
    wanted = {kind: np.result_type(number, *dtypes) for kind, number in (("f", 0.0), ("c", 0j))}
    made = []
    for x, on in zip(args, weak, strict=True):
        if on and x.dtype != wanted[x.dtype.kind]:
            narrow(x)
            x = convert(x, dtype=wanted[x.dtype.kind])
        made.append(x)
    return tuple(made)


__all__ = ["narrowed", "split", "strong", "tracer"]

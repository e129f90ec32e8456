"""Constant folding: what depends on no input is computed now."""

import numpy as np

from ..core import Absent, Const, Opaque
from ..core.emission import Call
from .rewrite import Rewriting

#: Results larger than this (elements) are left to be computed: a constant costs memory in the program and in its cache entry.
LARGEST = 4096
#: Repetition costs nothing where it is read: it stays what it is where it makes arrays larger than this.
REPEATED = 64


def fold(graph):
    """Replace equations of constants by their values."""
    work = Rewriting(graph)
    for eqn in graph.eqns:
        inputs = work.inputs(eqn)
        if not _foldable(eqn, inputs):
            work.keep(eqn, inputs)
            continue
        with np.errstate(all="ignore"):
            value = eqn.prim.impl(*[x.value for x in inputs], **eqn.params)
        for v, x in zip(eqn.outputs, value if eqn.prim.multiple else (value,), strict=True):
            work.replace(v, Const(np.asarray(x, v.aval.dtype)))
    return work.done()


def _foldable(eqn, inputs):
    if not all(isinstance(x, Const) for x in inputs) or isinstance(eqn.prim.emit, Call) or isinstance(eqn.prim.impl, Absent):
        return False
    if eqn.prim.name == "broadcast_to" and eqn.outputs[0].aval.size > REPEATED:
        return False
    return all(not isinstance(v.aval, Opaque) and v.aval.size <= LARGEST for v in eqn.outputs)

"""Transforms: forward tangents, linear lists, batches, tracing to a graph.  They read slots and know no operation by name."""

from .batch import batch
from .forward import jvp
from .linear import linearize
from .linearity import differs_from_zero, fault, record
from .once import linearize_once
from .sparsity import fingerprint, linearize_for_pattern, pattern_of
from .stage import trace
from .strong import repaired
from .sweep import pull, push
from .watch import debug_nans

__all__ = [
    "batch",
    "debug_nans",
    "differs_from_zero",
    "fault",
    "fingerprint",
    "jvp",
    "linearize",
    "linearize_for_pattern",
    "linearize_once",
    "pattern_of",
    "pull",
    "push",
    "record",
    "repaired",
    "trace",
]

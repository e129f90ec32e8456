"""Transforms: forward tangents, linear lists, batches, tracing to a graph.  They read slots and know no operation by name."""

from .batch import batch
from .forward import jvp
from .linear import linearize, pull, push
from .stage import trace

__all__ = ["batch", "jvp", "linearize", "pull", "push", "trace"]

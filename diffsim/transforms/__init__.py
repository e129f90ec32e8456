"""Transforms: forward tangents, linearisation and transposition, tracing to a graph.  They read slots and know no operation by name."""

from .forward import jvp
from .linear import linearize, pull, push
from .stage import trace

__all__ = ["jvp", "linearize", "pull", "push", "trace"]

"""First-order primitives: one file a family, one row a primitive."""

from . import contract, elementwise, gather, layout, linalg, reduce, update

__all__ = ["contract", "elementwise", "gather", "layout", "linalg", "reduce", "update"]

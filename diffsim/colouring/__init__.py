"""Sparsity patterns, their colourings, and matrices recovered from compressed ones.  Knows no function and no derivative."""

from .pattern import Colouring, Pattern

__all__ = ["Colouring", "Pattern"]

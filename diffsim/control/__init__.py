"""Primitives and machinery that carry graphs: compiled calls and the guard that keeps them honest."""

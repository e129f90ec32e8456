"""Stepping loops: one source a family of methods, in a small subset of Python, and which loops run a method."""

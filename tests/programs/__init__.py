"""Simulations as scientists write them: plain NumPy that knows nothing of who runs it.

Each module ends with ``PROGRAMS``: function -> domains of its arguments, each ``(low, high, shape)``.
"""

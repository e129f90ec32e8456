"""Bridges to ``scipy.optimize``: its calls and results, over pytrees, with exact derivatives and an honest word on failed simulations."""

from .objective import Objective, Residuals
from .scipy_bridge import cosine, flat, gauss_newton_step, least_squares, minimize, solve_least_squares, stationary

__all__ = [
    "Objective", "Residuals", "cosine", "flat", "gauss_newton_step", "least_squares", "minimize", "solve_least_squares", "stationary",
]

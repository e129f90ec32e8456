"""Bridges to ``scipy.optimize``: its calls and results, over pytrees, with exact derivatives and an honest word on failed simulations."""

from .objective import Objective, Residuals
from .scipy_bridge import flat, least_squares, minimize

__all__ = ["Objective", "Residuals", "flat", "least_squares", "minimize"]

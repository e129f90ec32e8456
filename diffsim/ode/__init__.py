"""Ordinary differential equations: solving, and derivatives of solutions."""

from .control import Control
from .record import Mesh
from .result import OdeResult
from .solve import solve_ivp
from .tableaus import METHODS, Tableau

__all__ = ["METHODS", "Control", "Mesh", "OdeResult", "Tableau", "solve_ivp"]

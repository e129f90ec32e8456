"""The methods by name: rows of exact numbers of every family."""

from .auto_tableaus import AUTO, Auto
from .bdf_tableaus import BDF, Ndf
from .esdirk_tableaus import CRANK_NICOLSON, ESDIRK, MIDPOINT, Esdirk, Midpoint
from .explicit_tableaus import EULER, RK4, RK23, RK45, TSIT5, Tableau
from .high_order_tableaus import DOP853, VERN7
from .radau_tableaus import RADAU, Radau
from .rosenbrock_tableaus import ROSENBROCK, Rosenbrock
from .symplectic_tableaus import SYMPLECTIC, VERLET, Splitting

ADAPTIVE = (TSIT5, RK45, RK23, DOP853, VERN7)
FIXED = (RK4, EULER)
EXPLICIT = (*ADAPTIVE, *FIXED)
SINGLE = (RADAU, BDF, AUTO, CRANK_NICOLSON, MIDPOINT)
METHODS = {tableau.name: tableau for tableau in (*EXPLICIT, *ROSENBROCK, *ESDIRK, *SINGLE, *SYMPLECTIC)}
METHODS |= {"leapfrog": VERLET, "LSODA": AUTO}

__all__ = [
           "ADAPTIVE",
           "AUTO",
           "BDF",
           "DOP853",
           "ESDIRK",
           "EULER",
           "EXPLICIT",
           "FIXED",
           "METHODS",
           "RADAU",
           "RK4",
           "RK23",
           "RK45",
           "ROSENBROCK",
           "SYMPLECTIC",
           "TSIT5",
           "VERN7",
           "Auto",
           "Esdirk",
           "Midpoint",
           "Ndf",
           "Radau",
           "Rosenbrock",
           "Splitting",
           "Tableau",
]

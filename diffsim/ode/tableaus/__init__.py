"""The methods by name: rows of exact numbers of every family."""

from .additive import PAIRS, Additive
from .auto import AUTO, Auto
from .bdf import BDF, Ndf
from .esdirk import CRANK_NICOLSON, ESDIRK, MIDPOINT, Esdirk, Midpoint
from .explicit import EULER, RK4, RK23, RK45, TSIT5, Tableau
from .high_order import DOP853, VERN7
from .radau import RADAU, Radau
from .rosenbrock import ROSENBROCK, Rosenbrock
from .symplectic import SYMPLECTIC, VERLET, Splitting

ADAPTIVE = (TSIT5, RK45, RK23, DOP853, VERN7)
FIXED = (RK4, EULER)
EXPLICIT = (*ADAPTIVE, *FIXED)
SINGLE = (RADAU, BDF, AUTO, CRANK_NICOLSON, MIDPOINT)


class Methods(dict):
    """Methods by the names a user may choose; additive pairs, which a solve takes by itself, are found by theirs but not listed."""

    def __missing__(self, name):
        return next(pair for pair in PAIRS.values() if pair.name == name)


METHODS = Methods({tableau.name: tableau for tableau in (*EXPLICIT, *ROSENBROCK, *ESDIRK, *SINGLE, *SYMPLECTIC)})
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
    "PAIRS",
    "RADAU",
    "RK4",
    "RK23",
    "RK45",
    "ROSENBROCK",
    "SYMPLECTIC",
    "TSIT5",
    "VERN7",
    "Additive",
    "Auto",
    "Esdirk",
    "Midpoint",
    "Ndf",
    "Radau",
    "Rosenbrock",
    "Splitting",
    "Tableau",
]

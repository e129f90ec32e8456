"""Ordinary differential equations: solving, and derivatives of solutions.

What needs the verbs of ``api`` is loaded at first use: a solve alone needs few files.
"""

import importlib

from .check import GradientCheck, check_gradient, gradient_error
from .checkpoint import Binomial, Budget, Disk, Online, States, StoreAll, TwoLevel
from .control import Control
from .controller import CONTROLLERS, Controller
from .events import Event
from .inputs import Input
from .record import Mesh
from .result import OdeResult
from .schedule import Dose
from .solve import solve_ivp
from .switches import where_event
from .tableaus import METHODS, Tableau

__all__ = [
    "CONTROLLERS",
    "METHODS",
    "AdjointResult",
    "Binomial",
    "Budget",
    "Control",
    "Controller",
    "Disk",
    "Dose",
    "EnsembleResult",
    "EnsembleSolution",
    "Event",
    "GradientCheck",
    "Input",
    "Mesh",
    "OdeResult",
    "Online",
    "Shooting",
    "ShootingResult",
    "States",
    "SteadyState",
    "StoreAll",
    "Tableau",
    "TwoLevel",
    "check_gradient",
    "continuous_adjoint",
    "ensemble",
    "gradient_error",
    "quadrature",
    "shooting",
    "solve_ensemble",
    "solve_ivp",
    "steady_state",
    "where_event",
]

#: Names that are loaded at first use, and their files.
_LATER = {
    "AdjointResult": "continuous",
    "continuous_adjoint": "continuous",
    "ensemble": "ensembles",
    "EnsembleResult": "ensemble_result",
    "EnsembleSolution": "ensemble_result",
    "solve_ensemble": "ensemble_solve",
    "quadrature": "integrals",
    "Shooting": "multiple_shooting",
    "shooting": "multiple_shooting",
    "ShootingResult": "shooting_solve",
    "SteadyState": "steady",
    "steady_state": "steady",
}


def __getattr__(name):
    if name not in _LATER:
        raise AttributeError(f"module 'diffsim.ode' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    return value


def __dir__():
    return sorted({*globals(), *__all__})

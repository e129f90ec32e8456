"""Ordinary differential equations: solving, and derivatives of solutions.

What needs the verbs of ``api`` is loaded at first use: a solve alone needs few files.
"""

import importlib

from .check import GradientCheck, check_gradient, gradient_error
from .checkpoints.policies import Binomial, Budget, Disk, Online, States, StoreAll, TwoLevel
from .control import Control
from .controller import CONTROLLERS, Controller
from .events.events import Event
from .events.inputs import Input
from .events.schedule import Dose
from .events.switches import where_event
from .record import Mesh
from .result import OdeResult
from .solve import solve_ivp
from .split import Split
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
    "Split",
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
    "AdjointResult": "studies.continuous",
    "continuous_adjoint": "studies.continuous",
    "ensemble": "ensembles.ensemble",
    "EnsembleResult": "ensembles.result",
    "EnsembleSolution": "ensembles.result",
    "solve_ensemble": "ensembles.solve",
    "quadrature": "studies.integrals",
    "Shooting": "studies.multiple_shooting",
    "shooting": "studies.multiple_shooting",
    "ShootingResult": "studies.shooting_solve",
    "SteadyState": "studies.steady",
    "steady_state": "studies.steady",
}


def __getattr__(name):
    if name not in _LATER:
        raise AttributeError(f"module 'diffsim.ode' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    return value


def __dir__():
    return sorted({*globals(), *__all__})

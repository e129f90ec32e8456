"""Ordinary differential equations: solving, and derivatives of solutions."""

from .check import GradientCheck, check_gradient, gradient_error
from .checkpoint import Binomial, Budget, Disk, Online, States, StoreAll, TwoLevel
from .continuous import AdjointResult, continuous_adjoint
from .control import Control
from .controller import CONTROLLERS, Controller
from .ensemble import ensemble
from .ensemble_result import EnsembleResult, EnsembleSolution
from .ensemble_solve import solve_ensemble
from .events import Event
from .quadrature import quadrature
from .record import Mesh
from .result import OdeResult
from .schedule import Dose
from .shooting import Shooting, shooting
from .shooting_solve import ShootingResult
from .solve import solve_ivp
from .steady import SteadyState, steady_state
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

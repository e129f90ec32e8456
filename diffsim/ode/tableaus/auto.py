"""A pair of methods of one shape, for problems that are stiff in parts: an explicit one and an implicit one."""

from dataclasses import dataclass, field

import numpy as np

from .esdirk import KVAERNO5, Esdirk
from .explicit import TSIT5, Tableau


@dataclass(frozen=True)
class Auto:
    """An explicit and an implicit method that go on from each other's steps.

    Both start with the slope that the step before ended with, and have the same numbers of stages and slopes, orders and degree.

    Parameters
    ----------
    name : str
    explicit : Tableau
        Its last stage but one lies at the step's end, too: the slopes of the two tell the problem's stiffness.
    implicit : Esdirk

    Attributes
    ----------
    order, error_order, stages, degree, kept : int
        Of both.
    a, c, e, dense : ndarray
        Of the explicit method.
    gamma, filtered, stiff_a, stiff_c, stiff_e, stiff_dense, guess
        Of the implicit method.
    reach : float
        The explicit method is stable for y' = z y / h with z from -reach to 0.

    Raises
    ------
    ValueError
        The methods are not of one shape.
    """

    name: str
    explicit: Tableau
    implicit: Esdirk
    fixed: bool = field(init=False, default=False)

    def __post_init__(self):
        one, two = self.explicit, self.implicit
        shapes = [(x.order, x.error_order, x.stages, x.degree, x.kept, x.c.shape, x.c[-1]) for x in (one, two)]
        if shapes[0] != shapes[1] or one.c[one.stages - 1] != 1.0 or len(one.e_low):
            raise ValueError(f"{self.name}: the methods must be of one shape, and the explicit one's last two stages at the end")
        values = {name: getattr(one, name) for name in ("order", "error_order", "stages", "degree", "kept", "a", "c", "e", "dense")}
        values |= {name: getattr(two, name) for name in ("gamma", "filtered", "guess", "one")}
        values |= {f"stiff_{name}": getattr(two, name) for name in ("a", "c", "e", "dense")}
        values["reach"] = _reach(one)
        for name, value in values.items():
            object.__setattr__(self, name, value)


def _reach(tableau):
    """Where the stability function of an explicit method leaves [-1, 1] on the negative axis."""
    s = tableau.stages
    a, b = tableau.a[:s, :s], tableau.a[s, :s]

    def growth(z):
        return abs(1 + z * b @ np.linalg.solve(np.eye(s) - z * a, np.ones(s)))

    inside, outside = 1.0, 100.0
    while outside - inside > 1e-9:
        middle = 0.5 * (inside + outside)
        inside, outside = (middle, outside) if growth(-middle) <= 1.0 else (inside, middle)
    return inside


AUTO = Auto(name="auto", explicit=TSIT5, implicit=KVAERNO5)

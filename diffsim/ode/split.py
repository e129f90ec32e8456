"""Right-hand sides in two parts: a stiff one, and one that an explicit method can take."""

from dataclasses import dataclass

from .. import tree
from ..errors import InputTypeError
from .tableaus import PAIRS


@dataclass(frozen=True)
class Split:
    """A right-hand side y' = stiff(t, y, *args) + gentle(t, y, *args).

    With ``method="KenCarp4"`` a solve takes the stiff part by the implicit method and the other by its explicit partner: only the stiff
    part is in the equations of the stages, and only its Jacobian is formed and factorised. This pays where the stiff part is simple, as
    diffusion is, with a banded Jacobian that may be constant, and the other is dear or couples everything. Every other method solves the
    sum, so that a problem written so can be solved by any.

    Parameters
    ----------
    stiff, gentle : callable
        Both as ``fun`` of :func:`solve_ivp`: ``(t, y, *args) -> array`` made as y0 is. Both may depend on parameters.

    Raises
    ------
    InputTypeError
        One of them is not callable.

    Notes
    -----
    Derivatives of a solve are those of the discrete solution, as ever, in both modes and to any order.
    Outputs between steps lie on a cubic, of order 3.
    Source: Kennedy & Carpenter, Appl. Numer. Math. 44 (2003) 139-181.

    >>> import numpy as np, diffsim as ds
    >>> fun = ds.ode.Split(lambda t, y, k: -k * y, lambda t, y, k: np.cos(y))
    >>> sol = ds.solve_ivp(fun, (0.0, 1.0), np.array([1.0]), "KenCarp4", t_eval=[1.0], args=(1e4,))
    >>> float(sol.y[0, 0].round(10))
    0.0001
    """

    stiff: object
    gentle: object

    def __post_init__(self):
        for name, part in (("stiff", self.stiff), ("gentle", self.gentle)):
            if not callable(part):
                raise InputTypeError(f"Split: {name} must be callable, as fun(t, y, *args), not a {type(part).__name__}")

    @property
    def parts(self):
        """The stiff part and the other."""
        return self.stiff, self.gentle

    def __call__(self, t, y, *args):
        """The whole right-hand side."""
        return tree.map(lambda f, g: f + g, self.stiff(t, y, *args), self.gentle(t, y, *args))


def method_for(fun, method):
    """The method that solves with a right-hand side: an additive pair where it is in two parts and the method has one."""
    return PAIRS[method].name if isinstance(fun, Split) and method in PAIRS else method

"""SciPy's solvers called by a traced function: their solution, with the derivatives of the equation it solves.

SciPy finds the solution on plain numbers, as ever.  Where the equation turns out to hold traced values, the solution is polished and
differentiated by :func:`root` (implicit function theorem); a sparse system goes to :func:`linear_solve`.
"""

import numpy as np

from ..control.places import value_of
from ..core import Tracer
from ..numpy.array import Array
from ..numpy.indexing import concrete
from ..numpy.stacking import lift
from ..numpy.standins import STAND_INS
from .implicit import linear_solve, root

_optimize, _sparse = STAND_INS["scipy.optimize"], STAND_INS["scipy.sparse.linalg"]


def _number(x, what):
    """The plain value of an argument or of what a function returned."""
    x = lift(x)
    return concrete(x, what) if isinstance(x, Tracer) else x


def _solver(name, guesses, positional=("args",)):
    """A solver ``name(f, guess, ..., args, **options)`` of SciPy's: how many guesses it takes, and the options that follow by position."""
    def solve(f, *given, **options):
        real, traced = getattr(_optimize.real(), name), []

        def plain(function):
            def call(x, *a):
                y = function(np.copy(x) if np.ndim(x) else x, *a)
                traced.append(isinstance(lift(y), Tracer))
                return _number(y, f"scipy.optimize.{name}")
            return call
        guess = [_number(x, f"a guess for scipy.optimize.{name}") for x in given[:guesses]]
        options |= dict(zip(positional, given[guesses:], strict=False))
        args = options.get("args", ())
        found = real(plain(f), *guess, **{k: plain(v) if callable(v) else v for k, v in options.items()})
        if not any(traced):
            return found
        x = found[0] if isinstance(found, tuple) else found
        solution = root(f, np.asarray(x, float)[()], args if isinstance(args, tuple) else (args,), method="newton")
        return (solution, *found[1:]) if isinstance(found, tuple) else solution
    solve.__name__ = solve.__qualname__ = name
    return solve


for _name in ("brentq", "brenth", "bisect", "ridder", "toms748"):
    _optimize.put(_name, _solver(_name, 2))
_optimize.put("fsolve", _solver("fsolve", 1))
_optimize.put("newton", _solver("newton", 1, ("fprime", "args")))


@_sparse.entry()
def spsolve(A, b, permc_spec=None, use_umfpack=True):       # noqa: N803  (SciPy's name)
    """Solution of a sparse system with traced right-hand side."""
    return linear_solve(A, value_of(b) if b.__class__ is Array else b)

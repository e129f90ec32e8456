"""The options of ``solve_ivp``, one field each, and what of SciPy's has no effect here."""

import dataclasses
import difflib
import inspect
import warnings
from dataclasses import dataclass

import numpy as np

from ..core import user_depth
from ..errors import InputError, InputTypeError
from .loops.families import family_of
from .tableaus import METHODS

#: Options of SciPy's solvers that say what is found from ``fun`` itself, or what only LSODA takes.
UNUSED = ("jac", "jac_sparsity", "lband", "uband", "min_step")
#: Those of them that its implicit methods take, and those that LSODA does.
IMPLICIT, LSODA = ("jac", "jac_sparsity"), ("jac", "lband", "uband")


@dataclass(frozen=True, slots=True)
class Options:
    """What a call of ``solve_ivp`` may say beyond SciPy's positional arguments: see there."""

    rtol: object = 1e-6
    atol: object = 1e-9
    first_step: object = None
    max_step: object = np.inf
    max_steps: object = 100_000
    steps: object = None
    gradient_errors: str = "probe"
    controller: object = "PI"
    mass: object = None
    linear_solver: str = "auto"
    preconditioner: str | None = None
    progress: object = False
    history: bool = False
    memory: object = None
    checkpoint: object = None


FIELDS = {field.name: field.default for field in dataclasses.fields(Options)}


def checked_options(method, given, size):
    """The :class:`Options` of a call; SciPy's others are checked and left aside.

    Parameters
    ----------
    method : str
    given : dict
    size : int or None
        Length of the state if it is a vector.

    Raises
    ------
    InputTypeError
        There is no such option.

    Warns
    -----
    UserWarning
        An option of SciPy's has no effect for the method, in SciPy's words.
    """
    ours = {name: x for name, x in given.items() if name in FIELDS}
    idle = {name: x for name, x in given.items() if name not in FIELDS}
    for name in idle:
        if name not in UNUSED:
            near = difflib.get_close_matches(name, [*FIELDS, *UNUSED], 1)
            hint = f"did you mean {near[0]!r}?" if near else "see help(diffsim.solve_ivp)"
            raise InputTypeError(f"solve_ivp: there is no argument {name!r}; {hint}")
    if idle:
        _check_idle(method, idle, size)
    return Options(**ours)


def _check_idle(method, idle, size):
    """SciPy's checks of what has no effect here, and its warning."""
    for name in IMPLICIT:
        matrix = idle.get(name)
        shape = () if matrix is None or callable(matrix) else tuple(getattr(matrix, "shape", np.shape(matrix)))
        if shape and size is not None and shape != (size, size):
            raise InputError(f"solve_ivp: `{name}` is expected to have shape {(size, size)}, but it has {shape}")
    if idle.get("min_step") is not None and not idle["min_step"] >= 0:
        raise InputError(f"solve_ivp: `min_step` must be nonnegative, got {idle['min_step']}")
    silent = LSODA if method == "LSODA" else IMPLICIT if family_of(method).structured else ()
    names = [f"`{name}`" for name in idle if name not in silent]
    if names:
        warnings.warn(f"The following arguments have no effect for a chosen solver: {', '.join(names)}.", UserWarning,
                      stacklevel=user_depth())


def checked_method(method):
    """Name of a method, given as such or as one of SciPy's classes."""
    if inspect.isclass(method) and method.__module__.startswith("scipy.integrate"):
        method = method.__name__
    if isinstance(method, str) and method in METHODS:
        return method
    why = _spelled(method) if isinstance(method, str) else ""
    if inspect.isclass(method):
        why = "a solver of your own has no derivatives; "
    raise InputError(f"solve_ivp: there is no method {method!r}; {why}choose one of {', '.join(METHODS)}")


def _spelled(method):
    """A hint where the letters are a method's but for their case."""
    return next((f"names are spelled as in {name!r}; " for name in METHODS if name.lower() == method.lower()), "")


def with_options(f):
    """``f`` with the options in its signature, for ``help`` and editors."""
    own = inspect.signature(f)
    kept = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    named = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
             for name, default in {**FIELDS, **dict.fromkeys(UNUSED)}.items()]
    f.__signature__ = own.replace(parameters=kept + named)
    return f

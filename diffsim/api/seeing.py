"""Looking at functions: their graphs as pictures, and what their derivatives keep."""

import inspect

import numpy as np

from .. import tree
from ..control.jit import Jitted
from ..core import Aval, Graph, Tracer, aval_of
from ..core.aval import is_float
from ..errors import InputError, InputTypeError
from ..numpy.array import Array
from ..passes import optimise
from ..seeing import ResidualReport, kept_by, peak_of
from ..seeing import draw as _draw
from ..transforms import linearize, pull
from .arguments import Flat, count, leaves_of, name_of, zeros_like
from .derivatives import value_and_grad
from .graphs import make_graph


def draw(f, *args, path=None, optimised=True, detail="auto", title=None, nested=True):
    """Draw the graph of a function: its equations with their shapes, families and costs, and the loops they are compiled to.

    A box is an equation, or an input, output or constant.  Its colour is its family, its outline says whether the value is stored in
    memory, computed where it is read or held as single numbers, its bar how many operations it takes; a shade lies under equations
    computed in one loop.  Time runs downwards.

    Parameters
    ----------
    f : callable or Graph
    *args : pytree
        Arguments of ``f``: the graph depends on their shapes.  None for a graph, and for a compiled function that has been called.
    path : str or Path, optional
        Where to write it; its ending chooses SVG, PNG or PDF.
    optimised : bool
        Whether to draw the graph as it is compiled, after the graph passes.
    detail : {"auto", "equations", "loops"}
        One box an equation, or one a loop; "auto" draws loops where equations are too many.
    title : str, optional
    nested : bool
        Whether graphs among the parameters of its equations (a loop's body, a solve's right-hand side) are drawn below it, while there
        is room.

    Returns
    -------
    matplotlib.figure.Figure
        Shown sharply by notebooks.

    Raises
    ------
    InputError
        The graph is too large for a picture, or the path names no format.
    """
    if isinstance(f, Graph):
        if args:
            raise InputError("draw: a graph has its shapes already; pass no arguments with it")
        return _draw(optimise(f) if optimised else f, path, detail=detail, title=title, nested=nested)
    if not callable(f):
        raise InputTypeError(f"draw: the first argument must be a function or a graph, not a {type(f).__name__}")
    if not args and isinstance(f, Jitted):
        graph = f.graph
        return _draw(optimise(graph) if optimised else graph, path, detail=detail, title=title, nested=nested)
    return _draw(make_graph(f, optimised)(*args), path, detail=detail, title=title, names=_leaf_names(f, args),
                 nested=nested)


def _leaf_names(f, args):
    """A name for each leaf of the arguments: the parameter's, with a number where it has several."""
    try:
        params = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):                       # a callable that does not tell
        params = []
    names = []
    for i, a in enumerate(args):
        param = params[min(i, len(params) - 1)] if params else None
        label = f"argument {i}" if param is None else param.name
        if param is not None and param.kind is param.VAR_POSITIONAL:
            label = f"{label}[{i - params.index(param)}]"
        struct = tree.structure(a)
        names += [label] if struct == tree.LEAF else [f"{label}.{k}" for k in range(count(struct))]
    return names


def residuals(f, *args, argnums=None):
    """What the gradient of ``f`` keeps in memory between its forward and its backward pass, by the lines that ask for it.

    ``f`` is run three times: once noting who keeps what, then its gradient twice, the second time measured.

    Parameters
    ----------
    f : callable
        A compiled function is looked at uncompiled.
    *args : pytree
    argnums : int or tuple of int, optional
        Arguments to differentiate in; if None, all whose leaves are floating-point.

    Returns
    -------
    ResidualReport
        ``print`` it, or ``plot()`` it; ``total``, ``peak`` and ``rows`` hold the numbers.

    Raises
    ------
    InputTypeError
        No argument can be differentiated in, or one is traced.
    """
    while isinstance(f, Jitted):
        f = f.__wrapped__
    if not callable(f):
        raise InputTypeError(f"residuals: the first argument must be a function, not a {type(f).__name__}")
    if any(isinstance(x.read() if type(x) is Array else x, Tracer) for x in tree.leaves(args)):
        raise InputTypeError("residuals: the arguments are traced; call it outside jit, grad and the other transforms")
    numbers = _numbers(f, args, argnums)
    flat, leaves = Flat(f, args, numbers, {}), []
    for i in numbers:
        got, struct = leaves_of(args[i], "residuals", f"argument {i} of {name_of(f)}")
        leaves += got
        flat.structs.append(struct)
    others = [x for i, a in enumerate(args) if i not in numbers for x in tree.leaves(a) if isinstance(x, np.ndarray)]
    rows, equations, y = kept_by(flat, leaves, others)

    def gradient():
        with np.errstate(all="ignore"):
            if flat.out_struct == tree.LEAF and aval_of(y[0]) == Aval((), np.dtype(float)):
                value_and_grad(f, numbers)(*args)
                return
            values, linear_list, outputs = linearize(flat, leaves, [True] * len(leaves), "residuals")
            pull(linear_list, [zeros_like(aval_of(v)) + 1 for v in values], outputs, len(leaves))

    gradient()                                                # what is made once and kept is not the gradient's own
    return ResidualReport(name_of(f), rows, equations, peak_of(gradient))


def _numbers(f, args, argnums):
    if argnums is None:
        numbers = tuple(i for i, a in enumerate(args) if tree.leaves(a) and all(map(_differentiable, tree.leaves(a))))
        if not numbers:
            raise InputTypeError(f"residuals: no argument of {name_of(f)} is made of floating-point numbers, so nothing is differentiated")
        return numbers
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for i in numbers:
        if not -len(args) <= i < len(args):
            raise InputError(f"residuals: argnums={argnums}, but {len(args)} arguments were given")
    return tuple(i % len(args) for i in numbers)


def _differentiable(x):
    dtype = getattr(x, "dtype", None)
    return type(x) in (float, Array) or (dtype is not None and (is_float(dtype) or dtype.kind == "O"))


__all__ = ["draw", "residuals"]

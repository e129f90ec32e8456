"""Programs as graphs and as machine code, and values whose derivative is stopped."""

import functools

import numpy as np

from .. import tree
from ..control.jit import Jitted
from ..control.named import NamedStatic
from ..core import Tracer, aval_of, is_weak, weaken
from ..numpy.stacking import stacked
from ..passes import optimise
from ..prims import layout
from ..transforms import trace
from .arguments import Flat


def make_graph(f, optimised=False):
    """Function that returns the graph of ``f`` at the shapes of its arguments.

    Parameters
    ----------
    f : callable
    optimised : bool
        Whether to run the graph passes.
    """
    @functools.wraps(f, updated=())
    def run(*args, **kwargs):
        flat = Flat(f, args, tuple(range(len(args))), kwargs)
        leaves = []
        for a in args:
            got, struct = tree.flatten(a)
            leaves += [np.asarray(x) if not isinstance(x, Tracer) else x for x in got]
            flat.structs.append(struct)
        graph, _ = trace(flat, [aval_of(x) for x in leaves], lines=True)
        return optimise(graph) if optimised else graph

    run.__wrapped__ = run.__diffsim_wraps__ = f
    return run


def jit(f=None, static_argnums=(), static_argnames=()):
    """``f`` compiled: traced once for each structure and shape of its arguments, then run as machine code.

    Python ints, bools and strings among the arguments are static: another value compiles anew.  Python floats are double precision inside:
    unlike outside, they do not take the precision of a single-precision array beside them.  A program is used again only while what
    the function closed over (globals, cells, defaults, attributes) is unchanged.  What cannot be compiled runs as it is, with one warning.

    Results are fresh arrays, or the caller's: ``jit(f)(*args, out=tree)`` writes into the arrays of a tree of the result's structure,
    shapes and dtypes, and returns them.  They may be those of the arguments, and an earlier result will do; a function that has an
    argument ``out``, or takes any by name, keeps it to itself.

    Parameters
    ----------
    f : callable
        Of pytrees of arrays; transforms and ``solve_ivp`` may appear inside, and ``f`` may itself be a transform's result.  Without it
        the result is a decorator: ``@jit(static_argnums=1)``.
    static_argnums : int or tuple of int
        Positional arguments to treat as constants (hashable).
    static_argnames : str or tuple of str
        Arguments to treat as constants (hashable) by their names, given by name or by position.
    """
    if f is None:
        return functools.partial(jit, static_argnums=static_argnums, static_argnames=static_argnames)
    return NamedStatic(f, static_argnums, static_argnames) if static_argnames else Jitted(f, static_argnums)


def stop_gradient(x):
    """The value of a pytree, its derivative zero."""
    def stopped(v):
        y = stacked(v)
        return v if not isinstance(y, Tracer) else weaken(layout.stop_gradient(y)) if is_weak(v) else layout.stop_gradient(y)
    return tree.map(stopped, x)


__all__ = ["jit", "make_graph", "stop_gradient"]

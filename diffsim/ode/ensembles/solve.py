"""``solve_ensemble``: one initial value problem for many members."""

import functools

import numpy as np

from diffsim.core import Tracer
from diffsim.errors import InputError
from diffsim.ode.solve import solve_ivp

from .ensemble import ensemble
from .job import KEPT
from .result import EnsembleSolution

__all__ = ["solve_ensemble"]


def solve_ensemble(fun, t_span, y0s, method="Tsit5", t_eval=None, args=(), *, args_axes=0, threads=None, executor=None, chunk=None,
                   progress=None, **options):
    """Solve y' = fun(t, y, *args) for many members, each with its own steps.

    Parameters
    ----------
    fun : callable
        ``fun(t, y, *args) -> dy/dt`` of one member.
    t_span : (float or ndarray, float or ndarray)
        Start and end; arrays of shape (members,) where members differ.
    y0s : array_like, shape (members, n) or (n,)
        Initial states; one for all where it has one dimension.
    method : str
        As in ``solve_ivp``.
    t_eval : array_like, shape (n_t,) or (members, n_t), optional
        Times of output; default: the end of the span alone.
    args : tuple of pytree
        Further arguments of fun.
    args_axes : {0, None} or tuple of them
        For each argument whether its arrays have one row a member (0) or are the same for all (None).  Numbers are the same for all.
    threads, executor, chunk, progress
        As in :func:`ensemble`.
    **options
        ``rtol``, ``atol`` and the others of ``solve_ivp``.

    Returns
    -------
    EnsembleSolution
        ``t``, ``y`` of shape (members, n, n_t), ``success``, ``status`` and ``messages``.

    Raises
    ------
    InputError
        Numbers of members differ, or nothing has one row a member.

    Examples
    --------
    >>> rates = np.array([1.0, 2.0])
    >>> ds.ode.solve_ensemble(lambda t, y, k: -k * y, (0, 1), [1.0], args=(rates,)).y[:, 0, 0].round(6)
    array([0.36788 , 0.135335])
    """
    axes = args_axes if isinstance(args_axes, (tuple, list)) else (args_axes,) * len(args)
    if len(axes) != len(args) or any(a not in (0, None) for a in axes):
        raise InputError(f"solve_ensemble: args_axes must be 0, None or one of them for each of the {len(args)} args, not {args_axes!r}")
    try:
        t0, t1 = t_span
    except (TypeError, ValueError):
        raise InputError("solve_ensemble: t_span must be a pair (start, end)") from None
    t0, t1, y0s = _array(t0), _array(t1), _array(y0s)
    t_eval = np.reshape(t1, (-1, 1)) if t_eval is None and t1.shape else np.reshape(t1, (1,)) if t_eval is None else _array(t_eval)
    parts = {"t0": (t0, len(t0.shape) > 0), "t1": (t1, len(t1.shape) > 0), "y0": (y0s, len(y0s.shape) > 1),
             "t_eval": (t_eval, len(t_eval.shape) > 1), **{f"arg{i}": (x, a == 0) for i, (x, a) in enumerate(zip(args, axes, strict=True))}}
    members, shared = ({name: x for name, (x, own) in parts.items() if own is which} for which in (True, False))
    simulate = _simulation(fun, method, len(args), **options)
    told = {"threads": threads, "executor": executor, "chunk": chunk, "progress": progress}
    return EnsembleSolution(t_eval, ensemble(simulate, members, (shared,), **told))


def _array(x):
    return x if isinstance(x, Tracer) else np.asarray(x, float)


def _simulation(fun, method, n_args, **options):
    """The simulation of one member; the same for the same problem, so that it is compiled once."""
    try:
        return _kept(fun, method, n_args, tuple(sorted(options.items())))
    except TypeError:                                       # tolerances as arrays, say
        return functools.partial(_solve, fun, method, n_args, tuple(options.items()))


@functools.lru_cache(maxsize=KEPT)
def _kept(*problem):
    return functools.partial(_solve, *problem)


def _solve(fun, method, n_args, options, member, shared):
    """States of one member at its output times."""
    at = {**member, **shared}
    args = tuple(at[f"arg{i}"] for i in range(n_args))
    return solve_ivp(fun, (at["t0"], at["t1"]), at["y0"], method, at["t_eval"], args=args, **dict(options)).y

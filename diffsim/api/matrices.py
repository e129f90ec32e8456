"""Whole matrices of derivatives."""

import functools

import numpy as np

from .. import tree
from ..core import aval_of
from ..prims import layout
from ..transforms import linearize as _linearize
from ..transforms import pull, push
from .arguments import arguments, plain, regroup, zeros_like
from .derivatives import grad


def jacobian(f, argnums=0):
    """Function that returns the Jacobian: for each output leaf, for each input leaf, an array of shape output + input.

    The function is linearised once; the list is then run forwards over the inputs or backwards over the outputs, whichever are fewer.
    """
    @functools.wraps(f, updated=())
    def run(*args, **kwargs):
        flat, x = arguments(f, args, argnums, kwargs, "jacobian")
        y, equations, outputs = _linearize(flat, x, [True] * len(x), "jacobian")
        y_avals, x_avals = [aval_of(v) for v in y], [aval_of(v) for v in x]
        build = _by_rows if sum(a.size for a in y_avals) < sum(a.size for a in x_avals) else _by_columns
        blocks = build(equations, outputs, y_avals, x_avals)
        rows = [regroup(flat.structs, argnums, row) for row in blocks]
        return tree.unflatten(flat.out_struct, rows)

    run.__wrapped__ = run.__diffsim_wraps__ = f
    return run


def _basis(aval, i):
    e = np.zeros(aval.size, aval.dtype)
    e[i] = 1
    return e.reshape(aval.shape)


def _stack(parts, shape, dtype):
    """Arrays joined along a new first axis, then given their shape."""
    if not parts:
        return np.zeros(shape, dtype)
    joined = layout.concatenate(*[layout.reshape(p, shape=(1, *tuple(p.shape))) for p in parts], axis=0)
    return plain(layout.reshape(joined, shape=shape))


def _by_rows(equations, outputs, y_avals, x_avals):
    blocks = []
    for k, a in enumerate(y_avals):
        rows = []
        for i in range(a.size):
            bars = [None] * len(y_avals)
            bars[k] = _basis(a, i)
            got = pull(equations, bars, outputs, len(x_avals))
            rows.append([zeros_like(v) if b is None else b for v, b in zip(x_avals, got, strict=True)])
        blocks.append([_stack([r[j] for r in rows], a.shape + v.shape, v.dtype) for j, v in enumerate(x_avals)])
    return blocks


def _by_columns(equations, outputs, y_avals, x_avals):
    blocks = [[] for _ in y_avals]
    for j, v in enumerate(x_avals):
        columns = []
        for i in range(v.size):
            t = [_basis(v, i) if m == j else zeros_like(w) for m, w in enumerate(x_avals)]
            got = push(equations, t, outputs)
            columns.append([zeros_like(a) if b is None else b for a, b in zip(y_avals, got, strict=True)])
        for k, a in enumerate(y_avals):
            block = _stack([c[k] for c in columns], v.shape + a.shape, a.dtype)
            n, m = len(v.shape), len(a.shape)
            blocks[k].append(plain(layout.transpose(block, axes=(*range(n, n + m), *range(n)))))
    return blocks


def hessian(f, argnums=0):
    """Function that returns the matrix of second derivatives of a scalar function: the Jacobian of its gradient."""
    run = jacobian(grad(f, argnums), argnums)
    run.__wrapped__ = run.__diffsim_wraps__ = f
    return run


__all__ = ["hessian", "jacobian"]

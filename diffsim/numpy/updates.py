"""``ufunc.at`` of a value: positions updated one after another, as NumPy does it."""

import numpy as np

from ..core import UFUNCS, Aval
from ..prims import layout
from ..prims.update import add_at
from . import indexing


def updated(value, at, ufunc, operands):
    """``ufunc.at`` of a value: every position in turn takes the result of the ufunc."""
    aval = Aval(tuple(at.shape), value.dtype)
    operands = [indexing.cast(x if hasattr(x, "shape") else np.asarray(x), aval) for x in operands]
    if ufunc is np.add or ufunc is np.subtract:
        return add_at(value, operands[0] if ufunc is np.add else UFUNCS[np.negative](operands[0]), at)
    at = indexing.concrete(at, f"the positions of np.{ufunc.__name__}.at").reshape(-1)
    flat, operands = layout.reshape(value, shape=(int(np.prod(value.shape)),)), [layout.reshape(x, shape=(at.size,)) for x in operands]
    for turn in _turns(at):
        here = [indexing.getitem(x, turn) for x in operands]
        new = UFUNCS[ufunc](indexing.getitem(flat, at[turn]), *here)
        flat = indexing.setitem(flat, at[turn], new)
    return layout.reshape(flat, shape=tuple(value.shape))


def _turns(at):
    """Writes in groups without repeated positions, in order: the first writes to each position, the second ones, and so on."""
    order = np.argsort(at, kind="stable")
    ranked = at[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]) if at.size else np.zeros(0, int)
    turn = np.empty(at.size, int)
    turn[order] = np.arange(at.size) - np.repeat(starts, np.diff(np.r_[starts, at.size]))
    return [np.flatnonzero(turn == n) for n in range(int(turn.max(initial=-1)) + 1)]


__all__ = ["updated"]

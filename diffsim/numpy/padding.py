"""``np.pad`` in every mode: axis after axis, as NumPy does it, so that corners come out alike."""

import numpy as np

from ..core import Tracer, user_line
from ..errors import MissingRule
from ..prims import elementwise as ew
from ..prims.gather import gather
from ..prims.layout import basic, convert, index_set
from . import indexing
from .dispatch import row, value_of
from .reductions import at_least_array, max, mean, min
from .shapes import along, broadcast_to, concatenate, part, reshaped
from .sorting import median
from .stacking import lift

_STATISTICS = {"maximum": max, "minimum": min, "mean": mean, "median": median}


def _pairs(x, ndim, what, whole=False):
    """One (before, after) pair an axis, from any of the forms NumPy takes."""
    if isinstance(x, dict):
        pairs = [(0, 0)] * ndim
        for axis, width in x.items():
            pairs[axis] = tuple(width) if np.ndim(width) else (width, width)
        return pairs
    x = at_least_array(lift(x))
    if whole:
        plain = np.asarray(value_of(x, what))
        x = np.round(plain).astype(np.intp)
        if plain.dtype.kind not in "iu":
            raise TypeError(f"pad: {what} must be of integral type")
        if np.any(x < 0):
            raise ValueError("index can't contain negative values")
    if tuple(x.shape) == (2,):
        x = reshaped(x, (1, 2))
    wide = broadcast_to(x, (ndim, 2))
    if not isinstance(wide, Tracer):
        return [tuple(pair) for pair in (wide.tolist() if whole else wide)]
    return [tuple(indexing.getitem(wide, (i, j)) for j in range(2)) for i in range(ndim)]


@row(np.pad)
def pad(array, pad_width, mode="constant", **options):
    x = at_least_array(array)
    if callable(mode):
        raise MissingRule("np.pad", "derivative", f"{user_line()}: mode is a function that writes into the padded array; build the border "
                                                  f"with np.concatenate")
    width = _pairs(pad_width, len(x.shape), "pad_width", whole=True)
    np.pad(np.broadcast_to(np.int8(0), (1,) * len(x.shape)), 0, mode, **{k: 0 if "values" in k else v for k, v in options.items()
                                                                        if k != "stat_length"})          # NumPy checks mode and options
    if mode == "constant":
        return _constant(x, width, options.get("constant_values", 0))
    if mode in ("edge", "wrap") or (mode in ("reflect", "symmetric") and options.get("reflect_type", "even") == "even"):
        positions = np.arange(int(np.prod(x.shape))).reshape(tuple(x.shape))
        return gather(x, np.pad(positions, width, mode, **options))
    if mode == "empty":                                     # what NumPy leaves undefined
        return _constant(x, width, 0)
    for axis, pair in enumerate(width):
        if any(pair):
            x = _along(x, axis, pair, mode, options)
    return x


def _constant(x, width, values):
    shape = tuple(s + a + b for s, (a, b) in zip(x.shape, width, strict=True))
    pairs = _pairs(values, len(x.shape), "constant_values")
    if not any(isinstance(v, Tracer) for pair in pairs for v in pair):
        plain = [[np.asarray(v).item() for v in pair] for pair in pairs]
        frame = np.pad(np.zeros(tuple(x.shape), x.dtype), width, constant_values=plain if x.shape else 0)
        at = basic(shape, tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, width, strict=True)))
        return index_set(frame, x, at=at)
    for axis, (pair, fill) in enumerate(zip(width, pairs, strict=True)):
        x = _joined(x, axis, *[_repeated(v, x, axis, n) for v, n in zip(fill, pair, strict=True)])
    return x


def _repeated(v, x, axis, n):
    """A value, or a slice of ``x``, over a border ``n`` wide."""
    v = at_least_array(v)
    v = v if v.dtype == x.dtype else convert(v, dtype=x.dtype)
    return broadcast_to(v, tuple(n if i == axis else s for i, s in enumerate(x.shape)))


def _joined(x, axis, before, after):
    parts = [p for p in (before, x, after) if p.shape[axis]]
    return concatenate(parts, axis) if parts else x


def _along(x, axis, pair, mode, options):
    """One axis of the modes that compute."""
    ndim, n = len(x.shape), x.shape[axis]
    if mode in _STATISTICS:
        return _statistic(x, axis, pair, _STATISTICS[mode], options.get("stat_length"))
    if n == 0:
        raise ValueError(f"can't extend empty axis {axis} using modes other than 'constant' or 'empty'")
    edges = [part(x, along(axis, ndim, slice(i, i + 1))) for i in (0, n - 1)]
    if mode == "linear_ramp":
        ends = _pairs(options.get("end_values", 0), ndim, "end_values")[axis]
        return _joined(x, axis, *[_ramp(end, edge, x, axis, k, flip)
                                  for end, edge, k, flip in zip(ends, edges, pair, (False, True), strict=True)])
    return _odd(x, axis, pair, mode, edges)


def _ramp(end, edge, x, axis, n, flip):
    """From the end value to the edge in equal steps, the edge itself left out."""
    exact = x.dtype.kind in "biu"
    t = np.arange(n, dtype=float if exact else x.dtype) / n if n else np.zeros(0, x.dtype)
    t = (t[::-1] if flip else t).reshape((1,) * axis + (-1,) + (1,) * (len(x.shape) - axis - 1))
    t = t if exact else t.astype(x.dtype)
    y = ew.add(ew.mul(ew.sub(edge, _repeated(end, x, axis, 1)), t), _repeated(end, x, axis, 1))
    return convert(ew.floor(y), dtype=x.dtype) if exact else y


def _statistic(x, axis, pair, function, length):
    n = x.shape[axis]
    lengths = (n, n) if length is None else [np.minimum(k, n) for k in _pairs(length, len(x.shape), "stat_length", whole=True)[axis]]
    if 0 in lengths and function in (max, min):
        raise ValueError("stat_length of 0 yields no value for padding")
    sides = [function(part(x, along(axis, len(x.shape), slice(0, int(lengths[0])))), axis, keepdims=True),
             function(part(x, along(axis, len(x.shape), slice(n - int(lengths[1]), n))), axis, keepdims=True)]
    if x.dtype.kind in "iu":
        sides = [s if s.dtype.kind in "iu" else ew.rint(s) for s in sides]
    return _joined(x, axis, *[_repeated(side, x, axis, k) for side, k in zip(sides, pair, strict=True)])


def _odd(x, axis, pair, mode, edges):
    """Odd reflection: ±x[position] plus multiples of the two edges, which NumPy tells of probes."""
    n, ndim = x.shape[axis], len(x.shape)

    def probe(values):
        return np.pad(np.asarray(values, float), pair, mode, reflect_type="odd")

    at = np.pad(np.arange(n), pair, mode)
    inner = (at > 0) & (at < n - 1)
    first, last = probe(np.arange(n) == 0), probe((np.arange(n) == n - 1) & (n > 1))
    bump = probe(np.where((np.arange(n) > 0) & (np.arange(n) < n - 1), 1.0, 0.0))

    def wide(weights):
        return weights.reshape((1,) * axis + (-1,) + (1,) * (ndim - axis - 1)).astype(x.dtype)
    moved = part(x, along(axis, ndim, at))
    total = ew.mul(moved, wide(np.where(inner, bump, 0.0)))
    return ew.add(total, ew.add(ew.mul(edges[0], wide(first)), ew.mul(edges[1], wide(last))))


__all__ = ["pad"]

"""A pytree of numbers as one flat vector, and bounds written in the shape of the tree."""

from itertools import pairwise

import numpy as np

from .. import tree as pytree
from ..errors import InputError, InputTypeError

__all__ = ["Layout", "lower_and_upper", "pairs"]

PAIR = 2


class Layout:
    """Where each leaf of a pytree lies in a flat float64 vector.

    Parameters
    ----------
    tree : pytree of real numbers and arrays
        Integers are taken as float64; float32 leaves stay float32 when unravelled.

    Attributes
    ----------
    x0 : ndarray, shape (n,)
        The leaves of ``tree``, one after another.
    names : list of str
        A name for each entry of the flat vector, for messages: ``y0[1]``, ``rates.a``.

    Raises
    ------
    InputTypeError
        A leaf is not a real number or array.
    InputError
        There is no leaf, or an entry is not finite.
    """

    def __init__(self, tree):
        leaves, self.structure = pytree.flatten(tree)
        self.paths = [p or "x0" for p in _paths(self.structure)]
        arrays = [_real(leaf, path) for leaf, path in zip(leaves, self.paths, strict=True)]
        self.shapes = [a.shape for a in arrays]
        self.dtypes = [a.dtype for a in arrays]
        ends = np.cumsum([0, *[a.size for a in arrays]])
        self.slices = [slice(a, b) for a, b in pairwise(ends)]
        self.size = int(ends[-1])
        if not self.size:
            raise InputError("x0 holds no number, so there is nothing to optimise")
        self.x0 = np.concatenate([np.ravel(a).astype(np.float64) for a in arrays])
        self.names = [name for path, shape in zip(self.paths, self.shapes, strict=True) for name in _entries(path, shape)]
        if not np.all(np.isfinite(self.x0)):
            bad = int(np.flatnonzero(~np.isfinite(self.x0))[0])
            raise InputError(f"x0 must be finite, but {self.names[bad]} is {self.x0[bad]}")

    def ravel(self, tree):
        """Flat float64 vector of a tree of this structure and these shapes."""
        leaves, structure = pytree.flatten(tree)
        if structure != self.structure:
            raise InputError(f"expected a tree like x0, {self.structure}, and got {structure}")
        return np.concatenate([np.broadcast_to(v, s).ravel() for v, s in zip(leaves, self.shapes, strict=True)]).astype(np.float64)

    def unravel(self, x):
        """Tree of the shape of x0 with the entries of a flat vector; the tree owns its numbers."""
        x = np.array(x, dtype=np.float64)
        if x.shape != (self.size,):
            raise InputError(f"expected a vector of {self.size} entries, one for each number of x0, and got shape {x.shape}")
        parts = [x[s].astype(d).reshape(shape)[()] for s, d, shape in zip(self.slices, self.dtypes, self.shapes, strict=True)]
        return pytree.unflatten(self.structure, parts)

    def per_leaf(self, tree, what):
        """For each leaf of x0, the part of ``tree`` that speaks about it (None where it is silent)."""
        out = []
        _align(tree, self.structure, "", what, out)
        return out


def _real(leaf, path):
    try:
        array = np.asarray(leaf)
    except (TypeError, ValueError):
        array = None
    if array is None or array.dtype.kind not in "fiu":
        raise InputTypeError(f"x0 must hold real numbers, but {path} is {type(leaf).__name__} {leaf!r}")
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def _children(structure):
    """(key, path suffix, structure) of the children of an inner node."""
    kind, meta, children = structure
    for i, child in enumerate(children):
        key = i if meta is None else meta[i]
        named = meta is not None and not (kind is not None and issubclass(kind, dict))
        yield key, (f".{key}" if named else f"[{key!r}]" if not isinstance(key, str) else f".{key}"), child


def _paths(structure, here=""):
    if structure == pytree.LEAF:
        return [here.lstrip(".")]
    return [p for _, suffix, child in _children(structure) for p in _paths(child, here + suffix)]


def _entries(path, shape):
    if not shape:
        return [path]
    return [f"{path}[{', '.join(map(str, index))}]" for index in np.ndindex(shape)]


def _align(tree, structure, here, what, out):
    if structure == pytree.LEAF:
        out.append(tree)
        return
    children = list(_children(structure))
    if tree is None or _is_pair_of_numbers(tree):
        parts = {key: tree for key, _, _ in children}
    elif isinstance(tree, dict):
        parts = tree
    elif isinstance(tree, (list, tuple)) and not hasattr(tree, "_fields") and len(tree) == len(children):
        parts = {key: part for (key, _, _), part in zip(children, tree, strict=True)}
    else:
        parts = {key: getattr(tree, key, None) for key, _, _ in children if isinstance(key, str)}
    unknown = [key for key in parts if key not in {key for key, _, _ in children}]
    if unknown or not parts:
        at = here.lstrip(".") or "x0"
        raise InputError(f"{what}: {at} has the entries {[key for key, _, _ in children]}, but {what} speaks of {unknown or tree!r}")
    for key, suffix, child in children:
        _align(parts.get(key), child, here + suffix, what, out)


def _is_pair_of_numbers(value):
    """Whether this is (lo, hi), each a number or None."""
    return isinstance(value, (tuple, list)) and len(value) == PAIR and all(v is None or np.ndim(v) == 0 for v in value) and not any(
        isinstance(v, (dict, str)) for v in value)


def _check(lower, upper, layout):
    empty = np.flatnonzero(~(lower <= upper))
    if len(empty):
        i = int(empty[0])
        raise InputError(f"bounds: {layout.names[i]} has lower {lower[i]} and upper {upper[i]}; lower must not exceed upper")
    outside = np.flatnonzero((layout.x0 < lower) | (layout.x0 > upper))
    if len(outside):
        i = int(outside[0])
        raise InputError(f"x0 is outside its bounds: {layout.names[i]} starts at {layout.x0[i]}, bounds {lower[i]} to {upper[i]}")
    return lower, upper


def _side(value, shape, missing, path):
    """One side of the bounds of a leaf, None meaning unbounded."""
    array = np.asarray(value, dtype=object)
    array = np.where(np.equal(array, None), missing, array).astype(np.float64)
    try:
        return np.broadcast_to(array, shape).ravel()
    except ValueError:
        raise InputError(f"bounds of {path} have shape {array.shape}, which does not fit its shape {shape}") from None


def _leaf_pair(pair, shape, path):
    if pair is None:
        pair = (None, None)
    if shape and len(pair) == np.prod(shape) and all(p is None or np.ndim(p) == 1 for p in pair):
        rows = [(None, None) if p is None else p for p in pair]
        pair = ([r[0] for r in rows], [r[1] for r in rows])
    if not isinstance(pair, (tuple, list, np.ndarray)) or len(pair) != PAIR:
        raise InputError(f"bounds of {path} must be (lower, upper), got {pair!r}")
    return _side(pair[0], shape, -np.inf, path), _side(pair[1], shape, np.inf, path)


def pairs(bounds, layout):
    """Lower and upper bounds from the forms ``minimize`` takes.

    Parameters
    ----------
    bounds : None, scipy.optimize.Bounds, sequence of (lower, upper), or pytree
        A sequence has one pair for each entry of x0.  A tree follows the structure of x0 with a pair (lower, upper) at a leaf or above it;
        the sides may be arrays of the leaf's shape; None is no bound; entries of a dictionary may be left out.
    layout : Layout

    Returns
    -------
    lower, upper : ndarray, shape (n,)

    Raises
    ------
    InputError
        A pair is malformed, crossed, names an entry x0 does not have, or excludes x0.
    """
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        return lower_and_upper((bounds.lb, bounds.ub), layout)
    parts = layout.per_leaf(bounds, "bounds")
    sides = [_leaf_pair(p, shape, path) for p, shape, path in zip(parts, layout.shapes, layout.paths, strict=True)]
    return _check(np.concatenate([lo for lo, _ in sides]), np.concatenate([hi for _, hi in sides]), layout)


def lower_and_upper(bounds, layout):
    """Lower and upper bounds from the forms ``least_squares`` takes.

    Parameters
    ----------
    bounds : (lower, upper), scipy.optimize.Bounds, or dict
        Each side is a number, a vector over all entries of x0, or a tree like x0.  A dictionary is read as by :func:`pairs`.
    layout : Layout

    Returns
    -------
    lower, upper : ndarray, shape (n,)

    Raises
    ------
    InputError
        As :func:`pairs`.
    """
    if bounds is None or isinstance(bounds, dict):
        return pairs(bounds, layout)
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        bounds = (bounds.lb, bounds.ub)
    if not isinstance(bounds, (tuple, list)) or len(bounds) != PAIR:
        raise InputError(f"bounds must be (lower, upper), scipy.optimize.Bounds or a dictionary of pairs, got {bounds!r}")
    return _check(_whole_side(bounds[0], layout, -np.inf), _whole_side(bounds[1], layout, np.inf), layout)


def _whole_side(side, layout, missing):
    if side is None or (np.ndim(side) == 0 and not isinstance(side, dict)):
        return np.full(layout.size, missing if side is None else float(side))
    if isinstance(side, (list, tuple, np.ndarray)) and len(side) == layout.size and all(v is None or np.ndim(v) == 0 for v in side):
        return _side(side, (layout.size,), missing, "x0")
    parts = layout.per_leaf(side, "bounds")
    return np.concatenate([_side(p, s, missing, path) for p, s, path in zip(parts, layout.shapes, layout.paths, strict=True)])

"""A user's state as the vector that is integrated: numbers, arrays of any shape, complex arrays, and pytrees of them."""

import math
from dataclasses import dataclass

import numpy as np

from .. import tree
from ..core import Tracer
from ..errors import InputError, InputTypeError
from ..numpy.lending import taken
from ..numpy.stacking import Handle, stacked
from ..prims.complexes import imag, make_complex, real
from ..prims.layout import basic, concatenate, convert, index, reshape, transpose
from .arguments import concrete
from .system import FLOAT

COMPLEX = np.dtype(complex)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One array of a state.

    Parameters
    ----------
    path : str
        How it is reached from y: ``""``, ``"['x']"``, ``".position[1]"``.
    shape : tuple of int
    whole : bool
        Whether it is complex: its real parts lie in the vector, then its imaginary ones.
    start : int
        Where it begins in the vector.
    """

    path: str
    shape: tuple
    whole: bool
    start: int

    @property
    def size(self):
        """How many numbers, complex ones counted once."""
        return math.prod(self.shape)

    @property
    def stop(self):
        return self.start + self.size * (2 if self.whole else 1)


class Layout:
    """Where the arrays of a state lie in the vector that is integrated.

    Attributes
    ----------
    n : int
        Length of the vector; an empty state has one component that stays 0.
    leaves : tuple of Leaf
    struct : hashable
        Of the pytree.
    plain : bool
        Whether the user's state is the vector.
    columns : bool
        Whether ``fun`` takes and returns one column, shape (n, 1): SciPy's ``vectorized``.
    """

    __slots__ = ("columns", "leaves", "n", "plain", "struct")

    def __init__(self, struct, leaves, columns=False):
        self.struct, self.leaves, self.columns = struct, tuple(leaves), columns
        self.n = max(self.leaves[-1].stop if self.leaves else 0, 1)
        only = self.leaves[0] if struct == tree.LEAF else None
        self.plain = only is not None and len(only.shape) == 1 and not only.whole and not columns and only.size > 0

    @property
    def empty(self):
        """Whether there is nothing to integrate."""
        return not any(leaf.size for leaf in self.leaves)

    @property
    def vector(self):
        """Length of the user's state if it is a vector, real or complex; else None."""
        only = self.leaves[0] if self.struct == tree.LEAF else None
        return only.size if only is not None and len(only.shape) == 1 else None

    @property
    def scalar(self):
        """Whether the user's state is a number."""
        return self.struct == tree.LEAF and not self.leaves[0].shape

    # ------------------------------------------------------------ to the user
    def state(self, y):
        """The user's state from the vector, shape (n,)."""
        if self.plain:
            return y
        return tree.unflatten(self.struct, [self._array(y, leaf) for leaf in self.leaves])

    def argument(self, y):
        """The state as ``fun`` receives it."""
        if self.plain:
            return taken(y)
        if self.columns:
            y = self._array(y, self.leaves[0])
            return taken(reshape(y, shape=(int(y.shape[0]), 1)))
        return tree.unflatten(self.struct, [taken(self._array(y, leaf)) for leaf in self.leaves])

    def _array(self, y, leaf):
        def part(start):
            if not leaf.shape:
                return index(y, at=basic((self.n,), (start,)))
            return reshape(index(y, at=basic((self.n,), (slice(start, start + leaf.size),))), shape=leaf.shape)
        return make_complex(part(leaf.start), part(leaf.start + leaf.size)) if leaf.whole else part(leaf.start)

    def outputs(self, ys):
        """Outputs, shape (m, n), as the user's structure with the time axis last."""
        if self.plain:
            return transpose(ys, axes=(1, 0)) if isinstance(ys, Tracer) else np.ascontiguousarray(ys.T)
        return tree.unflatten(self.struct, [self._outputs(ys, leaf) for leaf in self.leaves])

    def _outputs(self, ys, leaf):
        m = int(ys.shape[0])

        def part(start):
            x = index(ys, at=basic((m, self.n), (slice(None), slice(start, start + leaf.size))))
            x = reshape(transpose(x, axes=(1, 0)), shape=(*leaf.shape, m))
            return x if isinstance(x, Tracer) else np.ascontiguousarray(x)
        return make_complex(part(leaf.start), part(leaf.start + leaf.size)) if leaf.whole else part(leaf.start)

    # ------------------------------------------------------------ from the user
    def flat(self, f, called):
        """What ``fun`` returned as a vector; ``called`` says how it was called, for messages."""
        if f is None:
            raise InputTypeError(f"solve_ivp: {called} returned None; is a return missing?")
        parts, struct = ([f], tree.LEAF) if self.struct == tree.LEAF else tree.flatten(f)
        if _unordered(struct) != _unordered(self.struct):
            raise InputError(f"solve_ivp: {called} must return what y0 is made of, {_told(self.struct)}, not {_told(struct)}")
        parts = [p for x, leaf in zip(parts, self.leaves, strict=True) for p in self._part(x, leaf, called)]
        if len(parts) == 1:
            return parts[0]
        return concatenate(*parts, axis=0) if parts else np.zeros(1)

    def _part(self, f, leaf, called):
        f = stacked(f)
        f = f if isinstance(f, Tracer) else np.asarray(f)
        want = (*leaf.shape, 1) if self.columns else leaf.shape
        shape = tuple(f.shape)
        if shape != want and not (leaf.size == 1 and math.prod(shape) == 1):
            where = f"{shape}" if not leaf.path else f"{shape} for {leaf.path}"
            raise InputError(f"solve_ivp: {called} returned shape {where}, but y0{leaf.path} has shape {want}")
        if f.dtype.kind not in "fiubc":
            raise InputTypeError(f"solve_ivp: {called} must return numbers, not {f.dtype}")
        if f.dtype.kind == "c" and not leaf.whole:
            raise InputTypeError(f"solve_ivp: {called} returned complex numbers, but y0{leaf.path} is real: give y0 a complex dtype, as in "
                                 f"y0 = np.array([...], dtype=complex)")
        if not leaf.size:
            return [np.zeros(1)] if self.empty and leaf is self.leaves[0] else []
        return _parts(f, leaf)

    def spread(self, x, name):
        """A tolerance as a number, or as a vector of shape (n,).

        Raises
        ------
        InputError
            It is neither a number nor shaped like the state.
        """
        if isinstance(x, Tracer):
            raise InputTypeError(f"solve_ivp: {name} must be a plain number: step sizes are not differentiated")
        flat, struct = tree.flatten(x)
        if self.struct == tree.LEAF or struct == tree.LEAF:
            flat, struct = [x], tree.LEAF
        try:
            flat = [np.asarray(float(v) if v is None else v, float) for v in flat]
        except (TypeError, ValueError):
            raise InputTypeError(f"solve_ivp: {name} must be a number, not {x!r}") from None
        if struct == tree.LEAF and not flat[0].shape:
            return flat[0]
        fits = _unordered(struct) == _unordered(self.struct)
        if not fits or any(v.shape not in ((), leaf.shape) for v, leaf in zip(flat, self.leaves, strict=True)):
            what = f"have shape {self.leaves[0].shape}" if self.struct == tree.LEAF else f"be made as y0 is, of {_told(self.struct)}"
            raise InputError(f"solve_ivp: {name} must be a number or {what}, and not be negative; got {x}")
        parts = [np.broadcast_to(v, leaf.shape).ravel() for v, leaf in zip(flat, self.leaves, strict=True) for _ in range(1 + leaf.whole)]
        return np.concatenate(parts) if not self.empty else np.ones(1)

    def moduli(self, x):
        """Magnitudes of components, shape (n,), both parts of a complex number replaced by its modulus."""
        x = np.array(x)
        for leaf in self.leaves:
            if leaf.whole:
                re, im = x[leaf.start:leaf.start + leaf.size], x[leaf.start + leaf.size:leaf.stop]
                re[:] = im[:] = np.hypot(re, im)
        return x

    def name(self, i):
        """Component i of the vector in the user's words."""
        for leaf in self.leaves:
            if leaf.start <= i < leaf.stop:
                inside = i - leaf.start
                part = "" if not leaf.whole else "the imaginary part of " if inside >= leaf.size else "the real part of "
                at = np.unravel_index(inside % leaf.size, leaf.shape) if leaf.shape else ()
                return f"{part}y{leaf.path}" + (f"[{', '.join(map(str, map(int, at)))}]" if at else "")
        return f"y[{i}]"


def _parts(x, leaf):
    """An array as vectors of doubles: itself, or its real and its imaginary part."""
    x = reshape(x, shape=(leaf.size,))
    if not leaf.whole:
        return [x if x.dtype == FLOAT else convert(x, dtype=FLOAT)]
    x = x if x.dtype == COMPLEX else convert(x, dtype=COMPLEX)
    return [real(x), imag(x)]


def _unordered(struct):
    """A structure in which lists are tuples: a state may come back as either."""
    if struct == tree.LEAF:
        return struct
    kind, meta, children = struct
    return tuple if kind is list else kind, meta, tuple(map(_unordered, children))


def _told(struct):
    """A structure in words."""
    if struct == tree.LEAF:
        return "one array"
    kind, meta, children = struct
    if kind is None:
        return "None"
    name = kind.__name__
    return f"a {name} of {', '.join(map(str, meta))}" if meta is not None else f"a {name} of {len(children)}"


def paths(struct, path=""):
    """How each leaf of a structure is reached."""
    if struct == tree.LEAF:
        yield path
        return
    kind, meta, children = struct
    for i, child in enumerate(children):
        by_key = isinstance(kind, type) and issubclass(kind, dict)
        step = f"[{meta[i]!r}]" if by_key else f".{meta[i]}" if meta is not None else f"[{i}]"
        yield from paths(child, path + step)


def vector_layout(n):
    """The layout of a vector of n real numbers."""
    return Layout(tree.LEAF, [Leaf("", (n,), False, 0)])


def _numbers(x):
    """Whether a value is a number, or a list of such: an array, not a tree of arrays."""
    if type(x) in (list, tuple):
        return all(map(_numbers, x))
    return tree.structure(x) == tree.LEAF and tuple(getattr(x, "shape", ())) == ()


def initial_state(y0, columns=False):
    """The vector to start from, shape (n,), and its :class:`Layout`.

    Raises
    ------
    InputError, InputTypeError
        A part of y0 is no array of finite numbers.
    """
    if y0 is None:
        raise InputTypeError("solve_ivp: y0 is None; give the state at t_span[0]")
    flat, struct = ([y0], tree.LEAF) if _numbers(y0) or isinstance(y0, np.ndarray) else tree.flatten(y0)
    leaves, parts, start = [], [], 0
    for x, path in zip(flat, paths(struct), strict=True):
        x = _leaf(x, f"y0{path}")
        leaf = Leaf(path, tuple(map(int, x.shape)), x.dtype.kind == "c", start)
        start = leaf.stop
        leaves.append(leaf)
        parts += _parts(x, leaf) if leaf.size else []
    layout = Layout(struct, leaves, columns)
    if columns and layout.vector is None:
        raise InputError("solve_ivp: vectorized=True is for a state that is a vector; y0 has another shape: remove it")
    y0 = np.zeros(1) if not parts else parts[0] if len(parts) == 1 else concatenate(*parts, axis=0)
    return (y0.copy() if isinstance(y0, np.ndarray) else y0), layout


def _leaf(x, what):
    """An array of finite numbers; finiteness is checked where the numbers are known."""
    try:
        x = stacked(x) if isinstance(x, (list, tuple, Handle)) or getattr(x, "dtype", None) == np.dtype(object) else x
        x = x if isinstance(x, Tracer) else np.asarray(x)
    except ValueError as error:
        raise InputError(f"solve_ivp: {what} must be a vector of numbers: {error}") from None
    if x.dtype.kind not in "fiubc":
        raise InputTypeError(f"solve_ivp: {what} must hold numbers, not {x.dtype}")
    value = concrete(x)
    if value is not None and not np.all(np.isfinite(value)):
        at = tuple(map(int, np.argwhere(~np.isfinite(value))[0]))
        place = f"[{', '.join(map(str, at))}]" if at else ""
        raise InputError(f"solve_ivp: {what}{place} is {np.asarray(value)[at]}; it must be finite")
    return x

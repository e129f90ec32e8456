"""``vmap``: a function of one member as a function of many."""

import functools

import numpy as np

from .. import tree
from ..control.guard import changing
from ..control.jit import described, warn_once
from ..control.members import members
from ..errors import DiffsimWarning, InputError, InputTypeError
from ..numpy.array import Array
from ..numpy.lending import taken
from ..numpy.rebind import rebound
from ..numpy.stacking import is_value, stacked
from ..prims import layout
from .arguments import array, count, name_of, own_each


def vmap(f, in_axes=0, out_axes=0, axis_size=None):
    """Function of many members at once from a function of one.

    Inside ``f`` an argument has the shape of one member; each NumPy call computes all of them.

    Parameters
    ----------
    f : callable
        Of pytrees of arrays and numbers.
    in_axes : int, None, or tuple of pytree
        Where the members lie in each positional argument: an axis (negative ones count from the end), or None for an argument that is the
        same for all.  A tuple has one entry an argument; an entry is an int or None for the whole argument, or a container like the
        argument with such entries in it.  Keyword arguments have their members along axis 0.
    out_axes : int, None, or pytree
        Where to put them in the result, likewise.  None: the result does not depend on the member.
    axis_size : int, optional
        Number of members; needed where every axis is None.

    Returns
    -------
    callable
        Of the same arguments as ``f``.

    Raises
    ------
    InputError
        Axes out of range, numbers of members that differ, containers that do not match; the message names the leaf.
    InputTypeError
        A leaf with an axis is no array; an axis is no int.
    ConcretizationError
        ``f`` branches on a value that may differ between members.

    Notes
    -----
    The solve primitives (``solve_ivp``) are computed one member after another, compiled in a loop; everything else in one NumPy call.
    ``f`` is called once: what it draws from a random number generator is the same for all members, which a warning tells.

    Examples
    --------
    >>> dot = ds.vmap(np.dot, in_axes=(0, None))
    >>> dot(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 10.0]))
    array([21., 43.])
    """
    if not callable(f):
        raise InputTypeError(f"vmap: the first argument must be a function, not a {type(f).__name__}")

    @functools.wraps(f, updated=())
    def run(*args, **kwargs):
        _announce(f)
        leaves, axes, names, member = _members(f, args, kwargs, in_axes)
        n = _size(leaves, axes, names, axis_size, name_of(f))
        operands = [x if a is None else layout.to_front(x, a) for x, a in zip(leaves, axes, strict=True)]
        y, batched = members(member, n, operands, [a is not None for a in axes])
        places = _spread(out_axes, member.out_struct, "out_axes", f"the value of {name_of(f)}")
        out = [_placed(v, on, place, n, name) for v, on, (place, name) in zip(y, batched, places, strict=True)]
        return tree.unflatten(member.out_struct, own_each(out, leaves))

    run.__wrapped__ = run.__diffsim_wraps__ = f
    return run


#: Code of functions that were looked at.
_known = set()


def _announce(f):
    """Warn of a function that draws random numbers or reads a clock: it is called once for all members."""
    code = getattr(f, "__code__", type(f))
    if code in _known:
        return
    _known.add(code)
    what = changing(f)
    if what:
        warn_once(f"members of {described(f)}", f"vmap calls {described(f)} once for all members, and it reads {what}, whose value changes "
                  f"from call to call: all members have the same value of it. Draw one number a member outside, and pass them as an "
                  f"argument.", DiffsimWarning)


class _Member:
    """``f`` as a function of the flat leaves of one member.  What it returns beside numbers (a text, None) is handed through."""

    def __init__(self, f):
        self.f, self.structs, self.out_struct = f, [], None

    def __call__(self, *leaves):
        leaves, whole = list(leaves), []
        for struct in self.structs:
            n = count(struct)
            whole.append(tree.unflatten(struct, map(taken, leaves[:n])))
            del leaves[:n]
        *args, kwargs = whole
        flat, self.out_struct = tree.flatten(rebound(self.f)(*args, **kwargs))
        return [array(x) if is_value(x) else x for x in flat]


# ---------------------------------------------------------------- arguments
def _members(f, args, kwargs, in_axes):
    """Flat leaves, their axes (counted from the front; None for none), their names, and the function of one member's."""
    entries = in_axes if isinstance(in_axes, (tuple, list)) and not hasattr(in_axes, "_fields") else (in_axes,) * len(args)
    if len(entries) != len(args):
        raise InputError(f"vmap: in_axes has {len(entries)} entries, but {name_of(f)} was called with {len(args)} positional arguments")
    member, leaves, axes, names = _Member(f), [], [], []
    for i, (x, entry) in enumerate(zip((*args, kwargs), (*entries, 0), strict=True)):
        got, struct = tree.flatten(x)
        member.structs.append(struct)
        what = f"argument {i} of {name_of(f)}" if i < len(args) else f"the keyword arguments of {name_of(f)}"
        for leaf, (axis, name) in zip(got, _spread(entry, struct, "in_axes", what), strict=True):
            leaf, axis = _leaf(leaf, axis, name)
            leaves.append(leaf)
            axes.append(axis)
            names.append(name)
    return leaves, axes, names, member


def _leaf(x, axis, name):
    """A leaf, and its axis counted from the front."""
    x = x.read() if type(x) is Array else stacked(x)
    if axis is None:
        return x, None
    if not is_value(x) or not hasattr(x, "shape"):
        raise InputTypeError(f"vmap: {name} is a {type(x).__name__}, which has no axis to find members along; give it in_axes None"
                             + (", by position" if "keyword" in name else ""))
    rank = len(x.shape)
    if not -rank <= axis < rank:
        raise InputError(f"vmap: {name} has shape {tuple(x.shape)} and no axis {axis}; correct in_axes"
                         + (", or None where it is the same for all members" if not rank else ""))
    return x, axis % rank


def _size(leaves, axes, names, axis_size, f):
    """Number of members."""
    n, first = axis_size, "axis_size"
    if n is not None and (not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 0):
        raise InputError(f"vmap: axis_size must be a number of members, not {n!r}")
    for x, axis, name in zip(leaves, axes, names, strict=True):
        if axis is None:
            continue
        if n is None:
            n, first = x.shape[axis], f"{name} (shape {tuple(x.shape)}, axis {axis})"
        elif x.shape[axis] != n:
            raise InputError(f"vmap: {name} (shape {tuple(x.shape)}, axis {axis}) has {x.shape[axis]} members, but {first} "
                             f"{'says' if first == 'axis_size' else 'has'} {n}")
    if n is None:
        raise InputError(f"vmap: {f} was called without an argument that has members; give an axis in in_axes, or axis_size")
    return int(n)


# ---------------------------------------------------------------- axes over trees
def _spread(axes, struct, option, what):
    """(axis, name) of each leaf of a structure: an axis given for a container holds for all in it."""
    if axes is None or (isinstance(axes, (int, np.integer)) and not isinstance(axes, bool)):
        names = [what] if struct == tree.LEAF else [f"{what}, leaf {p}" for p in _paths(struct)]
        return [(None if axes is None else int(axes), name) for name in names]
    if struct == tree.LEAF:
        raise InputTypeError(f"vmap: {option} has {axes!r} for {what}, which is no container; an int or None is needed")
    out = []
    for key, part, child in zip(_keys(struct), _parts(axes, struct, option, what), struct[2], strict=True):
        out += _spread(part, child, option, f"{what}, {key}" if "," not in what else f"{what}{key}")
    return out


def _parts(axes, struct, option, what):
    """Entries of a container of axes, in the order of the container it describes."""
    kind, meta, children = struct
    if kind is not None and issubclass(kind, dict):
        if isinstance(axes, dict) and set(axes) == set(meta):
            return [axes[k] for k in meta]
    elif kind is not None and meta is not None and not issubclass(kind, tuple):
        if isinstance(axes, kind):
            return [getattr(axes, name) for name in meta]
    elif isinstance(axes, (list, tuple)) and len(axes) == len(children):
        return list(axes)
    described = "None" if kind is None else f"a {kind.__name__} with entries {', '.join(map(str, _keys(struct)))}"
    raise InputError(f"vmap: {option} has {axes!r} for {what}, which is {described}; give an int, None, or a container of the same form")


def _keys(struct):
    """How the children of a container are reached, as the user would write it."""
    kind, meta, children = struct
    if meta is None:
        return [f"[{i}]" for i in range(len(children))]
    return [f"[{k!r}]" for k in meta] if issubclass(kind, dict) else [f".{name}" for name in meta]


def _paths(struct):
    """How each leaf of a structure is reached."""
    if struct == tree.LEAF:
        return [""]
    return [key + rest for key, child in zip(_keys(struct), struct[2], strict=True) for rest in _paths(child)]


# ---------------------------------------------------------------- results
def _placed(y, batched, axis, n, name):
    """A result with its members along an axis; what is no value stays as it is."""
    if not is_value(y):
        return y
    if axis is None:
        if batched:
            raise InputError(f"vmap: out_axes is None for {name}, which differs between members; give an axis")
        return y
    shape = tuple(y.shape)[1:] if batched else tuple(y.shape)
    rank = len(shape) + 1
    if not -rank <= axis < rank:
        raise InputError(f"vmap: {name} has shape {shape} in each member, so out_axes must lie between {-rank} and {rank - 1}, not {axis}")
    if not batched:
        y = layout.broadcast_to(y, shape=(n, *shape))
    axis %= rank
    return y if axis == 0 else layout.transpose(y, axes=(*range(1, axis + 1), 0, *range(axis + 1, rank)))


__all__ = ["vmap"]

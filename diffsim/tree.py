"""Pytrees: nested dicts, lists, tuples, namedtuples, dataclasses and None, with arrays at the leaves.

``flatten`` gives the leaves and a hashable structure; ``unflatten`` puts leaves back.  A structure is nested tuples:
``LEAF``, ``(dict, keys, children)``, ``(list, None, children)``, ``(cls, names, children)`` for a dataclass, and so on.
Dictionaries are walked in sorted key order, so two dictionaries with equal keys have one structure; trees are built with their keys in the
order they came in, which a program may see.
"""

import collections
import dataclasses

from .errors import ConcretizationError, InputError

__all__ = ["flatten", "leaves", "map", "structure", "unflatten"]

LEAF = "*"


class Keys(tuple):
    """Keys of a dictionary in sorted order, which remember the order they came in; equal to all tuples of the same keys.

    Attributes
    ----------
    order : tuple
    """

    order = ()


class OrderedKeys(Keys):
    """Keys that equal those of the same order alone."""

    def __eq__(self, other):
        return tuple.__eq__(self, other) and self.order == getattr(other, "order", None)

    def __ne__(self, other):
        return not self == other

    __hash__ = Keys.__hash__


def _with_order(kind, keys, order):
    made = kind(keys)
    made.order = order
    return made


def _sorted_keys(tree):
    own = tuple(tree)
    try:
        keys = tuple(sorted(own))
    except TypeError:                                   # keys of mixed types have no order: keep the user's
        return own
    return keys if keys == own else _with_order(Keys, keys, own)


def in_order(keys, parts):
    """Pairs of keys and what belongs to them, in the order the keys came in."""
    pairs = zip(keys, parts, strict=True)
    if not isinstance(keys, Keys):
        return list(pairs)
    parts = dict(pairs)
    return [(k, parts[k]) for k in keys.order]


def ordered(struct, order=None):
    """The structure that equals only those whose dictionaries have their keys in the same order; ``order`` is that of the outermost one."""
    if struct == LEAF:
        return struct
    kind, meta, children = struct
    if isinstance(meta, Keys) or order is not None:
        meta = _with_order(OrderedKeys, meta, order or meta.order)
    return kind, meta, tuple([ordered(c) for c in children])


def _dataclass_fields(cls):
    return tuple(f.name for f in dataclasses.fields(cls))


def remade(cls, names, values):
    """A dataclass instance with the given fields, exactly.

    ``__init__`` does not run.  ``__post_init__`` does, for what it derives from the fields; what it does to the fields themselves is
    undone, and it may fail: a check of a rate has nothing to say of the rate's derivative.
    """
    made = object.__new__(cls)
    derive = getattr(cls, "__post_init__", None)
    for _ in range(2 if derive else 1):
        for name, value in zip(names, values, strict=True):
            object.__setattr__(made, name, value)
        if derive:
            try:
                derive(made)
            except ConcretizationError:                   # a check of a symbol: jit has to know
                raise
            except Exception:                             # a check of numbers that are derivatives
                pass
            derive = None
    return made


def dictionary(cls, items):
    """A dictionary of a class; one with default values (``defaultdict``) keeps its items and loses its factory."""
    return cls(None, items) if issubclass(cls, collections.defaultdict) else cls(items)


def _walk(tree, out):
    kind = type(tree)
    if kind is dict:
        keys = _sorted_keys(tree)
        return dict, keys, tuple([_walk(tree[k], out) for k in keys])
    if kind is list or kind is tuple:
        return kind, None, tuple([_walk(x, out) for x in tree])
    if tree is None:
        return None, None, ()
    if isinstance(tree, dict):
        keys = _sorted_keys(tree)
        return kind, keys, tuple([_walk(tree[k], out) for k in keys])
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return kind, tree._fields, tuple([_walk(x, out) for x in tree])
    if isinstance(tree, (list, tuple)):
        return kind, None, tuple([_walk(x, out) for x in tree])
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        names = _dataclass_fields(kind)
        return kind, names, tuple([_walk(getattr(tree, n), out) for n in names])
    out.append(tree)
    return LEAF


def flatten(tree):
    """Leaves of a pytree, in order, and its structure.

    Parameters
    ----------
    tree : pytree

    Returns
    -------
    leaves : list
    structure : hashable
        What :func:`unflatten` needs to build the same tree from other leaves.
    """
    out = []
    return out, _walk(tree, out)


def leaves(tree):
    """Leaves of a pytree, in order."""
    return flatten(tree)[0]


def structure(tree):
    """Structure of a pytree: equal for trees that differ only in their leaves."""
    return flatten(tree)[1]


def _build(struct, leaf):
    if struct == LEAF:
        return next(leaf)
    kind, meta, children = struct
    parts = [_build(c, leaf) for c in children]
    if kind is None:
        return None
    if kind is list:
        return parts
    if kind is tuple:
        return tuple(parts)
    if issubclass(kind, dict):
        return dictionary(kind, dict(in_order(meta, parts)))
    if meta is None:
        return kind(parts)
    if issubclass(kind, tuple):
        return kind(*parts)
    return remade(kind, meta, parts)


def unflatten(struct, leaves):
    """Tree of the given structure with the given leaves.

    Raises
    ------
    InputError
        The number of leaves is not the structure's.
    """
    leaf = iter(leaves)
    try:
        tree = _build(struct, leaf)
    except StopIteration:
        raise InputError("unflatten: fewer leaves than the structure has") from None
    if next(leaf, LEAF) is not LEAF:
        raise InputError("unflatten: more leaves than the structure has")
    return tree


def map(f, tree, *rest):
    """Apply ``f`` to corresponding leaves of one or more trees of one structure.

    Raises
    ------
    InputError
        The trees differ in structure.
    """
    first, struct = flatten(tree)
    columns = [first]
    for other in rest:
        more, other_struct = flatten(other)
        if other_struct != struct:
            raise InputError(f"tree.map: the trees differ in structure: {struct} and {other_struct}")
        columns.append(more)
    return unflatten(struct, [f(*row) for row in zip(*columns, strict=True)])

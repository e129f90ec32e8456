"""Sparsity rules of control flow: the pattern of a body is found once, for each set of operands it is linear in."""

import numpy as np

from ..core import Linear
from ..transforms.dependence import fitting
from ..transforms.sparsity import graph_sparsity, joined, mapped
from . import bodies


def _linear(x):
    return tuple(isinstance(a, Linear) for a in x)


def maps_of(body, linear):
    """For each output, for each input the chain of maps from it, None where there is no dependence."""
    return bodies.derived(body, ("pattern", linear), lambda: graph_sparsity(body, linear))


def of_call(i, *x, body, **params):
    """A call depends on its operands as its body does."""
    return [row[i] for row in maps_of(body, _linear(x))]


def of_switch(i, index, *x, branches):
    """Whatever the index, the union over the branches: which is taken may not be known."""
    each = [[row[i - 1] for row in maps_of(g, _linear(x))] for g in branches]
    return [_union([chain for chain in chains if chain is not None]) for chains in zip(*each, strict=True)]


def _union(chains):
    if not chains:
        return None
    rows, columns = (np.concatenate([chain[0][k] for chain in chains]) for k in (0, 1))
    return [(rows, columns, chains[0][0][2])]


def of_scan(i, *x, body, length, reverse, carries, keep, asked):
    """The sets of the carries, step by step, through the pattern of the body."""
    linear = _linear(x)
    while True:                                             # a carry that starts from a constant may become linear in a later step
        maps = maps_of(body, linear)
        grown = tuple(on or any(c is not None for c in row) for on, row in zip(linear, maps[:carries], strict=False))
        if grown == linear[:carries]:
            break
        linear = (*grown, *linear[carries:])
    n, sizes = x[i].aval.size, [v.aval.size for v in (*body.inputs, *body.outputs)]
    kind = fitting(n, sizes)
    states = [kind.identity(np.arange(s) if j == i else np.full(s, -1), n) for j, s in enumerate(sizes[:carries])]
    none = [kind.identity(np.full(s, -1), n) for s in sizes]
    stacked = [[] for _ in range(len(body.outputs) - carries)]
    kept = [[] for _ in range(carries)]
    slice_size = sizes[i]
    for t in range(length - 1, -1, -1) if reverse else range(length):
        slices = [kind.identity(np.arange(s) + t * slice_size, n) if j == i else none[j]
                  for j, s in enumerate(sizes[carries:len(body.inputs)], carries)]
        for j in keep:
            kept[j].append((t, states[j]))
        out = [_step(row, [*states, *slices], none[len(body.inputs) + o]) for o, row in enumerate(maps)]
        states = out[:carries]
        for found, sets in zip(stacked, out[carries:], strict=True):
            found.append((t, sets))
    ends = [[(0, sets)] for sets in states]
    return [_chain(found, size) for found, size in zip([*ends, *stacked, *kept], _sizes(body, carries, length, keep), strict=True)]


def _step(row, sets, nothing):
    images = [mapped(p, chain) for p, chain in zip(sets, row, strict=True) if chain is not None]
    return joined(images) if images else nothing


def _sizes(body, carries, length, keep):
    """Elements of the values of a scan."""
    out = [v.aval.size for v in body.outputs]
    return [*out[:carries], *[length * s for s in out[carries:]], *[length * s if j in keep else 0 for j, s in enumerate(out[:carries])]]


def _chain(found, size):
    """One map from the sets of the parts of a value, each with its place along the first axis."""
    entries = [(rows + t * len(sets), columns) for t, sets in found for rows, columns in [sets.entries()]]
    if not any(len(rows) for rows, _ in entries):
        return None
    return [(np.concatenate([rows for rows, _ in entries]), np.concatenate([columns for _, columns in entries]), size)]


__all__ = ["of_call", "of_scan", "of_switch"]

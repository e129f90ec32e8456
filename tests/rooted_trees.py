"""Rooted trees, which order conditions are numbered by (Hairer, Norsett & Wanner I, II.2)."""

from fractions import Fraction
from functools import cache
from itertools import combinations_with_replacement


@cache
def rooted_trees(order):
    """All rooted trees with ``order`` vertices; a tree is the sorted tuple of its branches."""
    if order == 1:
        return ((),)
    found = set()
    for parts in _partitions(order - 1):
        found |= set(_forests(parts))
    return tuple(sorted(found, key=repr))


def _partitions(total, largest=None):
    largest = min(total, largest or total)
    if total == 0:
        yield ()
    for first in range(largest, 0, -1):
        for rest in _partitions(total - first, min(first, total - first) or 1):
            yield (first, *rest)


def _forests(parts):
    forests = [()]
    for size in sorted(set(parts)):
        choices = combinations_with_replacement(rooted_trees(size), parts.count(size))
        forests = [(*forest, *choice) for choice in list(choices) for forest in forests]
    return [tuple(sorted(forest, key=repr)) for forest in forests]


def size(tree):
    return 1 + sum(map(size, tree))


def density(tree):
    """gamma(tau): the size times the densities of the branches."""
    result = size(tree)
    for branch in tree:
        result *= density(branch)
    return result


def stage_weights(tree, a):
    """Phi_i(tau) for each stage i."""
    result = [Fraction(1)] * len(a)
    for branch in tree:
        inner = stage_weights(branch, a)
        result = [x * sum(p * q for p, q in zip(row, inner, strict=True)) for x, row in zip(result, a, strict=True)]
    return result

"""Sparsity rules that rows share: which elements of a value depend on which elements of a linear operand.

A rule ``sparsity(i, *x, **params)`` gives flat positions ``(rows, columns)``, or a chain ``[(rows, columns, size), ...]`` of maps one after
the other, ``size`` being the number of elements each gives.  Linear operands arrive as ``Linear(aval)``.  A floating-point operand is there
for its zeros alone: one that was computed from what is differentiated arrives as ones.
"""

import numpy as np


def size_of(shape):
    """Number of elements of a shape."""
    n = 1
    for s in shape:
        n *= s
    return n


def numbered(shape):
    """Positions 0, 1, ... in the given shape."""
    return np.arange(size_of(shape)).reshape(shape)


def moved(impl, indices=()):
    """Rule of a primitive each element of whose value is one element of an operand, or zero: ``impl`` is run on positions.

    Parameters
    ----------
    impl : callable
        The primitive's.
    indices : tuple of int
        Operands that say where: they are passed on as they are.
    """
    def rule(i, *x, **params):
        marks = [a if k in indices else numbered(a.shape) + 1 if k == i else np.zeros(a.shape, int) for k, a in enumerate(x)]
        found = np.ravel(impl(*marks, **params))
        rows = np.flatnonzero(found)
        return rows, found[rows] - 1
    return rule


def selected(shape, at):
    """Positions in an array of the given shape that a basic index selects, in the order of its value."""
    total, stride = np.zeros((), int), 1
    for size, entry in zip(shape[::-1], at.spec[::-1], strict=True):
        along = np.arange(*entry) if type(entry) is tuple else np.asarray(entry)
        total = np.add.outer(along * stride, total)
        stride *= size
    return total.ravel()


def same_place(i, *x, **params):
    """Rule of elementwise primitives: an element depends on the one it is broadcast from."""
    shape = np.broadcast_shapes(*[np.shape(a) for a in x])
    return np.arange(size_of(shape)), np.broadcast_to(numbered(x[i].shape), shape).ravel()


def repeated(shape, axes):
    """Positions in the array of the given shape summed over ``axes``, one for each of its elements."""
    kept = tuple(1 if k in axes else s for k, s in enumerate(shape))
    return np.broadcast_to(numbered(kept), shape).ravel()


def summed(i, x, *, axes):
    """Rule of sums along axes."""
    return repeated(x.shape, axes), np.arange(size_of(x.shape))


def running(i, x, *, axis, reverse):
    """Rule of running sums: log2(n) maps, each joining what stands a power of two before."""
    at = np.moveaxis(numbered(x.shape), axis, 0)
    at = at[::-1] if reverse else at
    chain, step = [], 1
    while step < x.shape[axis]:
        rows, columns = np.concatenate([at.ravel(), at[step:].ravel()]), np.concatenate([at.ravel(), at[:-step].ravel()])
        chain.append((rows, columns, at.size))
        step *= 2
    return chain or (at.ravel(), at.ravel())


__all__ = ["moved", "numbered", "repeated", "running", "same_place", "selected", "size_of", "summed"]

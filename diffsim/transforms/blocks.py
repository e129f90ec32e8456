"""Steps of a backward sweep over large arrays, block by block, so that what is used twice is still in the processor's cache.

A product of a cotangent with a derivative that is first computed reads and writes five arrays where three would do; in blocks the
derivative never leaves the cache.  On arrays of a million numbers a gradient of a chain of sines and products is a tenth faster for it.
"""

import numpy as np

#: Elements of a block, and how many an array must have to be taken in blocks.
BLOCK, LARGE = 1 << 14, 1 << 16


def _in_order(*arrays):
    """Whether arrays can be cut into blocks alike: plain, of one size, in row-major order."""
    return all(x.__class__ is np.ndarray and x.flags.c_contiguous and x.shape == arrays[0].shape for x in arrays)


def _cuts(*arrays):
    """Corresponding blocks of arrays."""
    flat = [x.reshape(-1) for x in arrays]
    for start in range(0, flat[0].size, BLOCK):
        yield [x[start:start + BLOCK] for x in flat]


def late(deriv, kept):
    """``deriv(kept, kept)`` without a warning: the value gave the same one, where the function may have asked for none."""
    with np.errstate(all="ignore"):
        return deriv(kept, kept)


def times_late(y_bar, deriv, kept):
    """``y_bar *= deriv(kept, kept)`` where memory is in order; the factor that is left."""
    if not _in_order(y_bar, kept):
        return late(deriv, kept)
    for y, k in _cuts(y_bar, kept):
        np.multiply(y, late(deriv, k), y)
    return 1


def twice(y_bar, d, e, total):
    """``total += y_bar * d``, then ``y_bar *= e``; whether it was done."""
    if not _in_order(y_bar, d, e, total) or d is total or e is total:
        return False
    for y, a, b, t in _cuts(y_bar, d, e, total):
        np.add(t, y * a, t)
        np.multiply(y, b, y)
    return True


__all__ = ["LARGE", "late", "times_late", "twice"]

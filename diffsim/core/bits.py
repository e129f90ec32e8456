"""Whether two arrays, or all numbers of one array, hold the same bits, at the speed of memory."""

import contextlib
import ctypes

import numpy as np

#: Where an array object keeps the address of its data: behind the head that every Python object has.
DATA = object.__basicsize__
_word, _memcmp = ctypes.c_void_p.from_address, None
with contextlib.suppress(OSError, AttributeError, TypeError):     # elsewhere than on POSIX NumPy compares, at half the speed
    _memcmp = ctypes.CDLL(None).memcmp
    _memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


def same_bits(a, b):
    """Whether two arrays of one shape and dtype hold the same bits.

    Parameters
    ----------
    a, b : ndarray
        Contiguous arrays are compared without a copy.

    Returns
    -------
    bool
    """
    if a.flags.c_contiguous and b.flags.c_contiguous:
        if _memcmp is not None:
            return not _memcmp(_word(id(a) + DATA).value, _word(id(b) + DATA).value, b.nbytes)
    kind = np.uint8 if a.nbytes % 8 else np.uint64
    return np.array_equal(np.ascontiguousarray(a).reshape(-1).view(kind), np.ascontiguousarray(b).reshape(-1).view(kind))


def one_number(x):
    """Whether an array holds one number everywhere, bit for bit: two zeros of different sign are two numbers.

    The array is compared with itself, shifted by one number: of most arrays two numbers are looked at.
    """
    if x.size < 2 or not any(stride for stride, n in zip(x.strides, x.shape, strict=True) if n > 1):
        return True
    x = np.ascontiguousarray(x).reshape(-1)
    return same_bits(x[1:], x[:-1])


__all__ = ["DATA", "one_number", "same_bits"]

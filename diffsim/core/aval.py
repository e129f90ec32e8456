"""Abstract values: what is known of an array before its numbers are."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True, slots=True)
class Aval:
    """Shape and dtype of an array.

    Parameters
    ----------
    shape : tuple of int
    dtype : numpy.dtype
    """

    shape: tuple
    dtype: np.dtype

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def size(self):
        n = 1
        for s in self.shape:
            n *= s
        return n

    def __str__(self):
        return f"{self.dtype.name}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value that is no array: primitives hand it to each other, nothing else looks inside.

    Parameters
    ----------
    what : str
        Its kind, for printing.
    spec : hashable
        What its producer and its consumers must agree on.
    words : int
        Context words it takes in a compiled program.
    """

    what: str
    spec: tuple = ()
    words: int = 0
    shape = ()
    ndim = 0
    size = 0
    dtype = np.dtype(object)

    def __str__(self):
        return self.what


def aval_of(x):
    """Aval of a concrete value, a tracer, an Aval or a Python scalar."""
    kind = type(x)
    if kind is Aval or kind is Opaque:
        return x
    if kind is np.ndarray:
        return Aval(x.shape, x.dtype)
    aval = getattr(x, "aval", None)
    if aval is not None:
        return aval
    x = np.asarray(x)
    return Aval(x.shape, x.dtype)


def is_float(dtype):
    """Whether a dtype carries derivatives."""
    return dtype.kind in "fc"


@lru_cache(maxsize=64)
def part_dtype(dtype):
    """Dtype of the real part of a complex number; a real dtype itself."""
    return np.empty(0, dtype).real.dtype


@lru_cache(maxsize=64)
def whole_dtype(dtype):
    """Dtype of the complex number a real part belongs to."""
    return np.result_type(dtype, np.complex64)

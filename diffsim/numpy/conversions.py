"""What Python asks of the mutable array: its length, its elements, a number, a text, a copy."""

import numpy as np

from . import indexing
from .stacking import Handle


class Converts(Handle):
    """A handle as a Python object, by way of ``shape``, ``_peek()``, ``read()``, ``copy()`` and subscripts."""

    __slots__ = ()

    def __len__(self):
        shape = self.shape
        if not shape:
            raise TypeError("len() of unsized object")
        return shape[0]

    def __iter__(self):
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __contains__(self, item):
        return bool(np.any(self.read() == item))

    def __bool__(self):
        return bool(self._peek())

    def __float__(self):
        return float(self._single())

    def __complex__(self):
        return complex(self._single())

    def __int__(self):
        return int(self._single())

    def __index__(self):
        if self.dtype.kind in "iu" and not self.shape:
            return self._peek().__index__()
        raise TypeError("only integer scalar arrays can be converted to a scalar index")

    def _single(self):
        if self.size != 1:
            raise TypeError(f"only arrays of one element can be converted to a Python number, not one of shape {self.shape}")
        value = self._peek()
        return value if not value.shape else indexing.getitem(value, (0,) * len(value.shape))

    def __format__(self, spec):
        return format(self._peek(), spec)

    def __repr__(self):
        return repr(self._peek())

    def __str__(self):
        return str(self._peek())

    def __copy__(self):
        return self.copy("K")

    def __deepcopy__(self, memo):
        return self.copy("K")

    def __reduce__(self):
        return np.array(self).__reduce__()


__all__ = ["Converts"]

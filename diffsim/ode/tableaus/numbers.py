"""Numbers as printed in a source, exactly, and what follows from them alike in all methods that estimate their error."""

from fractions import Fraction

import numpy as np


def numbers(text):
    """The numbers of a text, exactly as printed: integers, fractions ``3/40`` and decimals."""
    return tuple(Fraction(word) for word in text.split())


def rows(text):
    """The numbers of each line of a text."""
    return tuple(numbers(line) for line in text.strip().splitlines())


def floats(rows):
    """A read-only float64 array: the numbers rounded once."""
    array = np.array([[float(x) for x in row] if isinstance(row, tuple) else float(row) for row in rows])
    array.flags.writeable = False
    return array


def square(lower, n):
    """A matrix from the lines of its lower triangle, shorter ones filled with zeros."""
    return tuple(row + (Fraction(0),) * (n - len(row)) for row in lower)


#: Coefficients of theta, theta^2, theta^3 of the cubic Hermite interpolant, for the slope at the start, the mean slope and that at the end.
HERMITE = rows("""
    1  -2  1
    0  3   -2
    0  -1  1
""")


class Embedded:
    """A method with an estimate of its error, from a second one embedded in it, and an interpolant."""

    @property
    def fixed(self):
        """Whether there is no estimate of the error to choose steps by."""
        return self.embedded_order == 0

    @property
    def error_order(self):
        """Order of the error estimate."""
        return min(self.order, self.embedded_order)

    @property
    def degree(self):
        """Degree of the interpolant in theta."""
        return self.dense.shape[1]

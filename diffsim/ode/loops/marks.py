"""Marks in the steps of a mesh: which order or method took each, held in the increment itself.

Part of the stepping loops (``erk.py``), in the same subset of Python. A method that chooses more than sizes can be repeated on its mesh
only if the rest of its choice is known, too. The eight lowest bits of an increment's mantissa hold it, which changes a step by less than
2^-44 of itself, and a mesh stays a vector of increments. Increments made otherwise are most unlikely to hold marks that make sense.
"""

import math

from diffsim.codegen.loops import exponent, mantissa, power_of_two

MARKS = 256.0


def mark_of(h):
    """The number from 0 to 255 that an increment holds."""
    whole = mantissa(abs(h)) * 2.0**53
    return int(whole - MARKS * math.floor(whole / MARKS))


def marked(h, mark):
    """The increment next to h that holds a number."""
    whole = mantissa(abs(h)) * 2.0**53
    size = (MARKS * math.floor(whole / MARKS) + mark) * power_of_two(int(exponent(abs(h))) - 53)
    return size if h > 0.0 else -size

"""LU factors of sparse matrices whose pattern of fill is known beforehand: without row interchanges, row by row.

Part of the stepping loops (``lu.py``). W's own entries lie first in w, row by row; after them the rows of L and U one after the other: of
each row L's entries, the reciprocal of U's diagonal entry and U's others, columns ascending; a row of work follows. Elimination keeps to
the order of the plan. Matrices 1 - scale J allow that where steps resolve the solution. Where it does not go well, a pivot is replaced or
entries of a row grow beyond ``GROWTH``, the factors are those of a matrix near W, and systems are solved by an iteration that they
precondition (``krylov.py``).

The pattern may lack entries that elimination fills: then the factors are incomplete, and there is always an iteration.

Sources: Davis, Direct Methods for Sparse Linear Systems, SIAM 2006, chapters 3 and 6; Li & Demmel, ACM Trans. Math. Software 29 (2003)
110-140 (replaced pivots); Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., SIAM 2003, 10.3 (incomplete factors).
"""

import math

from diffsim.ode.matrices.banded_lu import subtract
from diffsim.ode.matrices.plan import COLUMNS, DIAGONALS, INCOMPLETE, INTO, OWN_ROWS, ROWS

#: A pivot has at least this part of the largest entry of its row in W; of incomplete factors, which need not be near it, this part.
LEAST, LEAST_INCOMPLETE = 2.0**-26, 0.05
#: Factors are trusted where no entry of U is larger than this times the largest of its row in W.
GROWTH = 1e4


def spread(plan, w, n):
    """W's entries go to their places among the factors; the others there become 0."""
    own = plan[plan[OWN_ROWS] + n]
    for e in range(plan[plan[ROWS]], plan[plan[ROWS] + n] + n):
        w[e] = 0.0
    into = plan[INTO]
    for e in range(own):
        to = plan[into + e]
        if to >= 0:
            w[to] = w[e]


def largest_of(w, first, last):
    """The largest absolute value among entries, NaN if there is one."""
    largest = 0.0
    for e in range(first, last):
        size = abs(w[e])
        if not size <= largest:
            largest = size
    return largest


def factor_sparse(plan, w, n):
    """The factors of W's entries. Returns whether W is regular as far as is seen, and whether they may be those of another matrix."""
    starts, diagonals, columns, own = plan[ROWS], plan[DIAGONALS], plan[COLUMNS], plan[OWN_ROWS]
    work, doubtful, least = plan[starts + n], plan[INCOMPLETE] > 0, LEAST_INCOMPLETE if plan[INCOMPLETE] > 0 else LEAST
    spread(plan, w, n)
    for i in range(n):
        first, middle, last = plan[starts + i], plan[diagonals + i], plan[starts + i + 1]
        for e in range(first, last):
            w[work + plan[columns + e]] = w[e]
        for e in range(first, middle):
            k = plan[columns + e]
            multiple = w[work + k] * w[plan[diagonals + k]]
            w[e] = multiple
            if multiple != 0.0:
                for f in range(plan[diagonals + k] + 1, plan[starts + k + 1]):
                    w[work + plan[columns + f]] -= multiple * w[f]
        for e in range(middle, last):
            w[e] = w[work + plan[columns + e]]
        pivot, size, largest = w[middle], largest_of(w, plan[own + i], plan[own + i + 1]), largest_of(w, middle, last)
        if not (size > 0.0 and largest < math.inf):
            return False, True
        if abs(pivot) < least * size:
            pivot, doubtful = math.copysign(least * size, pivot), True
        doubtful = doubtful or largest > GROWTH * size
        w[middle] = 1.0 / pivot
    return True, doubtful


def solve_sparse(plan, w, z):
    """z becomes the solution of L U z = z."""
    n, starts, diagonals, columns = z.shape[0], plan[ROWS], plan[DIAGONALS], plan[COLUMNS]
    for i in range(n):
        z[i] -= gathered(plan, w, plan[starts + i], plan[diagonals + i], columns, z)
    for back in range(n):
        i = n - 1 - back
        middle = plan[diagonals + i]
        z[i] = (z[i] - gathered(plan, w, middle + 1, plan[starts + i + 1], columns, z)) * w[middle]


def gathered(plan, w, first, last, columns, z):
    """Sum of products of entries of w and what their columns say of z; rows are short: pairs cost more than they save."""
    acc = 0.0
    for e in range(first, last):
        acc += w[e] * z[plan[columns + e]]
    return acc


def solve_sparse_transposed(plan, w, z):
    """z becomes the solution of (L U)^T z = z."""
    n, starts, diagonals, columns = z.shape[0], plan[ROWS], plan[DIAGONALS], plan[COLUMNS]
    for i in range(n):
        middle = plan[diagonals + i]
        top = z[i] * w[middle]
        z[i] = top
        for e in range(middle + 1, plan[starts + i + 1]):
            z[plan[columns + e]] -= w[e] * top
    for back in range(n):
        i = n - 1 - back
        top = z[i]
        for e in range(plan[starts + i], plan[diagonals + i]):
            z[plan[columns + e]] -= w[e] * top


def solve_sparse_panel(plan, w, panel, count, n):
    """As ``solve_sparse``, for ``count`` right-hand sides that lie row by row in w from ``panel`` on."""
    starts, diagonals, columns = plan[ROWS], plan[DIAGONALS], plan[COLUMNS]
    for i in range(n):
        for e in range(plan[starts + i], plan[diagonals + i]):
            subtract(w, panel + i * count, w[e], w, panel + plan[columns + e] * count, count)
    for back in range(n):
        i = n - 1 - back
        middle, here = plan[diagonals + i], panel + i * count
        for e in range(middle + 1, plan[starts + i + 1]):
            subtract(w, here, w[e], w, panel + plan[columns + e] * count, count)
        for c in range(count):
            w[here + c] *= w[middle]

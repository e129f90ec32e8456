"""LU factors of sparse matrices whose pattern of fill is known beforehand: without row interchanges, row by row.

Part of the stepping loops (``lu.py``). The rows of L and U lie one after the other in w: of each row L's entries, the reciprocal of U's
diagonal entry and U's others, columns ascending; a row of work follows. Elimination keeps to the order of the plan. Matrices 1 - scale J
allow that where steps resolve the solution; a pivot that is small beside its row counts as a singular matrix, and the step is tried again
with half its size.

Source: Davis, Direct Methods for Sparse Linear Systems, SIAM 2006, chapters 3 and 6.
"""

import math

from diffsim.ode.matrices.plan import COLUMNS, DIAGONALS, ROWS

THRESHOLD = 1e-10        # part of the largest entry of its row in U that a pivot must have


def factor_sparse(plan, w, n):
    """The rows of W in w become those of L and U; False if a pivot is too small or not finite."""
    starts, diagonals, columns = plan[ROWS], plan[DIAGONALS], plan[COLUMNS]
    work = plan[starts + n]
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
        pivot, largest = w[work + i], 0.0
        for e in range(middle + 1, last):
            w[e] = w[work + plan[columns + e]]
            largest = max(largest, abs(w[e]))
        if not (abs(pivot) > THRESHOLD * largest and abs(pivot) < math.inf):
            return False
        w[middle] = 1.0 / pivot
    return True


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
    """Sum of products of entries of w and what their columns say of z, in two interleaved parts."""
    even, odd = 0.0, 0.0
    for e in range(first, last - 1, 2):
        even += w[e] * z[plan[columns + e]]
        odd += w[e + 1] * z[plan[columns + e + 1]]
    if (last - first) % 2 == 1:
        even += w[last - 1] * z[plan[columns + last - 1]]
    return even + odd


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

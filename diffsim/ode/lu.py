"""LU factorisation with row interchanges, within a band: the linear algebra of the implicit stepping loops.

Part of the stepping loops (``erk.py``), in the same subset of Python. A matrix is stored in full, row by row, and only what elimination
within its band can fill is touched: a full matrix is a band of half-widths n - 1. Rows and columns are renumbered by ``place`` to make
the band narrow: component q of a vector belongs to row place[q].

A state with its tangents has a matrix of blocks, all those on the diagonal being the one of the state alone, its *base*: that is what is
factorised. The off-diagonal blocks hold second derivatives and couple a block to those with fewer tangents (``level``), so that solving
level by level is exact.

Source: Golub & Van Loan, Matrix Computations, 4th ed., 3.4 and 4.3.
"""

import math

from diffsim.codegen.loops import pull, push


def form(values, rows, columns, scale, w, kl, ku):
    """w = 1 - scale J, J given by its entries at (rows, columns)."""
    n = w.shape[0]
    for i in range(n):
        for j in range(max(0, i - kl), min(n, i + kl + ku + 1)):
            w[i, j] = 0.0
        w[i, i] = 1.0
    for e in range(values.shape[0]):
        w[rows[e], columns[e]] -= scale * values[e]


def factor(w, pivots, kl, ku):
    """w becomes its factors, with the reciprocals of U's diagonal; False if it is singular or a pivot is not finite."""
    n = w.shape[0]
    for j in range(n):
        best, at = abs(w[j, j]), j
        bottom, right = min(n, j + kl + 1), min(n, j + kl + ku + 1)
        for i in range(j + 1, bottom):
            size = abs(w[i, j])
            if size > best:
                best, at = size, i
        pivots[j] = at
        if not (best > 0.0 and best < math.inf):
            return False
        if at != j:
            for c in range(j, right):
                kept = w[j, c]
                w[j, c] = w[at, c]
                w[at, c] = kept
        inverse = 1.0 / w[j, j]
        w[j, j] = inverse
        for i in range(j + 1, bottom):
            multiple = w[i, j] * inverse
            w[i, j] = multiple
            if multiple != 0.0:
                for c in range(j + 1, right):
                    w[i, c] -= multiple * w[j, c]
    return True


def solve(w, pivots, place, kl, ku, x, first, z):
    """The block of x from ``first`` on becomes the solution of W x = x; z is work."""
    n = w.shape[0]
    for q in range(n):
        z[place[q]] = x[first + q]
    for j in range(n):
        at = pivots[j]
        top = z[at]
        z[at] = z[j]
        z[j] = top
        for i in range(j + 1, min(n, j + kl + 1)):
            z[i] -= w[i, j] * top
    for back in range(n):
        j = n - 1 - back
        acc = z[j]
        for c in range(j + 1, min(n, j + kl + ku + 1)):
            acc -= w[j, c] * z[c]
        z[j] = acc * w[j, j]
    for q in range(n):
        x[first + q] = z[place[q]]


def solve_transposed(w, pivots, place, kl, ku, x, first, z):
    """The block of x from ``first`` on becomes the solution of W^T x = x; z is work."""
    n = w.shape[0]
    for q in range(n):
        z[place[q]] = x[first + q]
    for j in range(n):
        top = z[j] * w[j, j]
        z[j] = top
        for c in range(j + 1, min(n, j + kl + ku + 1)):
            z[c] -= w[j, c] * top
    for back in range(n):
        j = n - 1 - back
        acc = z[j]
        for i in range(j + 1, min(n, j + kl + 1)):
            acc -= w[i, j] * z[i]
        at = pivots[j]
        z[j] = z[at]
        z[at] = acc
    for q in range(n):
        x[first + q] = z[place[q]]


def level(block, base):
    """How many tangents a block has: the ones in the numbers of the block and of the base that differ."""
    count, bits = 0, block ^ base
    while bits > 0:
        count += bits & 1
        bits >>= 1
    return count


def solve_joined(k, t, y, p, scale, base, depth, r, lu, pivots, place, kl, ku, x, z, work):
    """x becomes the solution of (1 - scale J) x = r, J the Jacobian of a state joined ``depth`` times by its tangent."""
    n = z.shape[0]
    for q in range(x.shape[0]):
        x[q] = 0.0
    for now in range(depth + 1):
        if now > 0:
            push(k, t, y, x, p, work)
        for block in range(x.shape[0] // n):
            if level(block, base // n) == now:
                for q in range(block * n, block * n + n):
                    x[q] = r[q] if now == 0 else r[q] + scale * work[q]
                solve(lu, pivots, place, kl, ku, x, block * n, z)


def solve_joined_transposed(k, t, y, p, scale, base, depth, r, lu, pivots, place, kl, ku, x, z, work):
    """The same for (1 - scale J)^T x = r."""
    n = z.shape[0]
    for q in range(x.shape[0]):
        x[q] = 0.0
    for done in range(depth + 1):
        if done > 0:
            pull(k, t, y, x, p, work)
        for block in range(x.shape[0] // n):
            if level(block, base // n) == depth - done:
                for q in range(block * n, block * n + n):
                    x[q] = r[q] if done == 0 else r[q] + scale * work[q]
                solve_transposed(lu, pivots, place, kl, ku, x, block * n, z)

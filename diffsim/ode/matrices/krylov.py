"""GMRES for W x = b and W^T x = b, preconditioned by factors of a matrix near W.

Part of the stepping loops (``lu.py``), in the same subset of Python. W's own entries and the factors are those of ``sparse_lu.py``. The
preconditioner works from the right, W P^-1 (P x) = b, so that what falls is the residual itself; after ``RESTART`` turns, or where a cycle
has gained ``DIGITS``, the true residual is computed and the iteration starts again from it, as in iterative refinement: it ends at rounding
where that is asked for. Where it does not arrive, the solution is NaN, and what asked for it is told.

Source: Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., SIAM 2003, 6.5 and 9.3.
"""

import math

from diffsim.ode.matrices.plan import KRYLOV, OWN_COLUMNS, OWN_ROWS, RESTART
from diffsim.ode.matrices.sparse_lu import gathered, solve_sparse, solve_sparse_transposed

#: Part of the right-hand side that may be left: for one turn of Newton's iteration, and where the solution itself is wanted.
ROUGH, EXACT = 1e-3, 4 * 2.0**-52
#: What a cycle may gain before the true residual is looked at.
DIGITS = 1e-8
#: Cycles; what one must gain at least; a residual below this that no longer falls has reached its rounding errors.
CYCLES, SLOWEST, SETTLED = 60, 0.98, 1e-10


def multiply(plan, w, z, back, to):
    """n numbers of w from ``to`` on become W z, or W^T z if ``back``."""
    n, starts, columns = z.shape[0], plan[OWN_ROWS], plan[OWN_COLUMNS]
    if not back:
        for i in range(n):
            w[to + i] = gathered(plan, w, plan[starts + i], plan[starts + i + 1], columns, z)
    else:
        for i in range(n):
            w[to + i] = 0.0
        for i in range(n):
            top = z[i]
            for e in range(plan[starts + i], plan[starts + i + 1]):
                w[to + plan[columns + e]] += w[e] * top


def condition(plan, w, z, back):
    """z becomes P^-1 z, or P^-T z if ``back``."""
    if back:
        solve_sparse_transposed(plan, w, z)
    else:
        solve_sparse(plan, w, z)


def inner(w, first, second, n):
    """Sum of products of two vectors in w, in four interleaved parts."""
    a, b, c, d, whole = 0.0, 0.0, 0.0, 0.0, n // 4 * 4
    for i in range(0, whole, 4):
        a += w[first + i] * w[second + i]
        b += w[first + i + 1] * w[second + i + 1]
        c += w[first + i + 2] * w[second + i + 2]
        d += w[first + i + 3] * w[second + i + 3]
    for i in range(whole, n):
        a += w[first + i] * w[second + i]
    return (a + b) + (c + d)


def orthogonal(w, basis, j, n, column):
    """Vector j + 1 of the basis becomes orthogonal to those before and of norm 1; what was taken off goes to ``column``."""
    new = basis + (j + 1) * n
    for i in range(j + 1):
        part = inner(w, basis + i * n, new, n)
        w[column + i] = part
        for q in range(n):
            w[new + q] -= part * w[basis + i * n + q]
    size = math.sqrt(inner(w, new, new, n))
    w[column + j + 1] = size
    inverse = 1.0 / size if size > 0.0 else 0.0
    for q in range(n):
        w[new + q] *= inverse


def rotate(w, j, column, turns, goal):
    """Rotations that make the table triangular: those before applied to its column j, one more made, and applied to the goal."""
    for i in range(j):
        c, s, x, y = w[turns + 2 * i], w[turns + 2 * i + 1], w[column + i], w[column + i + 1]
        w[column + i], w[column + i + 1] = c * x + s * y, c * y - s * x
    x, y = w[column + j], w[column + j + 1]
    size = math.sqrt(x * x + y * y)
    c, s = (x / size, y / size) if size > 0.0 else (1.0, 0.0)
    w[turns + 2 * j], w[turns + 2 * j + 1], w[column + j], w[column + j + 1] = c, s, size, 0.0
    top = w[goal + j]
    w[goal + j], w[goal + j + 1] = c * top, -s * top


def cycle(plan, w, z, back, left, enough, found, basis):
    """From the residual, of norm ``left``, which is the basis' first vector: the solution gains what one cycle finds."""
    n, m = z.shape[0], plan[RESTART]
    table = basis + (m + 1) * n
    turns, goal, j, going = table + m * (m + 1), table + m * (m + 1) + 2 * m, 0, True
    for q in range(n):
        w[basis + q] /= left
    w[goal] = left
    while going:
        column = table + j * (m + 1)
        for q in range(n):
            z[q] = w[basis + j * n + q]
        condition(plan, w, z, back)
        multiply(plan, w, z, back, basis + (j + 1) * n)
        orthogonal(w, basis, j, n, column)
        rotate(w, j, column, turns, goal)
        j += 1
        going = j < m and abs(w[goal + j]) > enough
    for q in range(n):
        z[q] = 0.0
    for above in range(j):
        i = j - 1 - above
        acc = w[goal + i]
        for after in range(i + 1, j):
            acc -= w[table + after * (m + 1) + i] * w[goal + after]
        size = w[table + i * (m + 1) + i]
        part = acc / size if size != 0.0 else 0.0          # W takes this vector to one met before: nothing is gained along it
        w[goal + i] = part
        for q in range(n):
            z[q] += part * w[basis + i * n + q]
    condition(plan, w, z, back)
    for q in range(n):
        w[found + q] += z[q]


def gmres(plan, w, z, back, tolerance):
    """z becomes the solution of W z = z, or of W^T z = z if ``back``, up to a residual of ``tolerance`` times the size of z.

    Returns whether it is found; z is NaN if it is not.
    """
    n, right = z.shape[0], plan[KRYLOV]
    found, basis, turn = right + n, right + 2 * n, 0
    for q in range(n):
        w[right + q], w[basis + q], w[found + q] = z[q], z[q], 0.0
    whole = math.sqrt(inner(w, right, right, n))
    left, going = whole, whole > 0.0 and whole < math.inf
    while going:
        before = left
        cycle(plan, w, z, back, left, max(0.5 * tolerance * whole, DIGITS * left), found, basis)
        for q in range(n):
            z[q] = w[found + q]
        multiply(plan, w, z, back, basis)
        for q in range(n):
            w[basis + q] = w[right + q] - w[basis + q]
        left, turn = math.sqrt(inner(w, basis, basis, n)), turn + 1
        going = left > tolerance * whole and turn < CYCLES and left < (0.5 if left <= SETTLED * whole else SLOWEST) * before
    reached = left <= max(tolerance, SETTLED) * whole and whole < math.inf
    for q in range(n):
        z[q] = w[found + q] if reached else math.nan
    return reached

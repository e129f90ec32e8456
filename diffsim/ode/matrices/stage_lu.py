"""LU factorisation for stages that are solved for together: a complex matrix, and the matrix of all stages.

Part of the stepping loops (``erk.py``), in the same subset of Python; the conventions are those of ``lu.py``. Both matrices lie in a band,
of which rows are kept: entry (i, j) is w[i, j - i + kl], with room for what row interchanges fill. Complex numbers are pairs of arrays.

Source: Golub & Van Loan, Matrix Computations, 4th ed., 3.4 and 4.3.
"""

import math

from diffsim.ode.matrices.plan import MASS_COLUMNS, MASS_ROWS, MASSES, PLACE, PLAIN


def form_pair(plan, mass, values, rows, columns, re, im, w, v, kl):
    """w + i v = M - (re + i im) J, J given by its entries at (rows, columns)."""
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            w[i, j] = 0.0
            v[i, j] = 0.0
    add_mass(plan, mass, 1, w, kl)
    for e in range(values.shape[0]):
        at = columns[e] - rows[e] + kl
        w[rows[e], at] -= re * values[e]
        v[rows[e], at] -= im * values[e]


def add_mass(plan, mass, s, w, kl):
    """M of each of s stages is added to w."""
    if plan[PLAIN] > 0:
        for i in range(w.shape[0]):
            w[i, kl] += 1.0
    else:
        for e in range(plan[MASSES]):
            row, column = plan[plan[PLACE] + plan[plan[MASS_ROWS] + e]], plan[plan[PLACE] + plan[plan[MASS_COLUMNS] + e]]
            for i in range(s):
                w[s * row + i, s * (column - row) + kl] += mass[e]


def factor_pair(w, v, pivots, kl, ku):
    """w + i v becomes its factors, with the reciprocals of U's diagonal; False if it is singular or a pivot is not finite."""
    n = w.shape[0]
    for j in range(n):
        best, at = abs(w[j, kl]) + abs(v[j, kl]), j
        bottom, right = min(n, j + kl + 1), min(n, j + kl + ku + 1)
        for i in range(j + 1, bottom):
            size = abs(w[i, j - i + kl]) + abs(v[i, j - i + kl])
            if size > best:
                best, at = size, i
        pivots[j] = at
        if not (best > 0.0 and best < math.inf):
            return False
        if at != j:
            for c in range(j, right):
                kept, other = w[j, c - j + kl], v[j, c - j + kl]
                w[j, c - j + kl], v[j, c - j + kl] = w[at, c - at + kl], v[at, c - at + kl]
                w[at, c - at + kl], v[at, c - at + kl] = kept, other
        size = w[j, kl] * w[j, kl] + v[j, kl] * v[j, kl]
        re, im = w[j, kl] / size, -v[j, kl] / size
        w[j, kl], v[j, kl] = re, im
        for i in range(j + 1, bottom):
            x, y = w[i, j - i + kl], v[i, j - i + kl]
            f, g = x * re - y * im, x * im + y * re
            w[i, j - i + kl], v[i, j - i + kl] = f, g
            if f != 0.0 or g != 0.0:
                for c in range(j + 1, right):
                    x, y = w[j, c - j + kl], v[j, c - j + kl]
                    w[i, c - i + kl] -= f * x - g * y
                    v[i, c - i + kl] -= f * y + g * x
    return True


def solve_pair(w, v, pivots, place, kl, ku, x, y, first, z, u):
    """The blocks of x + i y from ``first`` on become the solution of (W + i V) X = x + i y; z and u are work."""
    n = w.shape[0]
    for q in range(n):
        z[place[q]] = x[first + q]
        u[place[q]] = y[first + q]
    for j in range(n):
        at = pivots[j]
        top, under = z[at], u[at]
        z[at], u[at] = z[j], u[j]
        z[j], u[j] = top, under
        for i in range(j + 1, min(n, j + kl + 1)):
            f, g = w[i, j - i + kl], v[i, j - i + kl]
            z[i] -= f * top - g * under
            u[i] -= f * under + g * top
    for back in range(n):
        j = n - 1 - back
        top, under = z[j], u[j]
        for c in range(j + 1, min(n, j + kl + ku + 1)):
            f, g = w[j, c - j + kl], v[j, c - j + kl]
            top -= f * z[c] - g * u[c]
            under -= f * u[c] + g * z[c]
        f, g = w[j, kl], v[j, kl]
        z[j] = top * f - under * g
        u[j] = top * g + under * f
    for q in range(n):
        x[first + q] = z[place[q]]
        y[first + q] = u[place[q]]


def form_stages(plan, mass, values, rows, columns, a, h, w, kl):
    """w = M - h (a_ij J_i), J_i given by the entries values[i]: equation i of component q is row S place[q] + i.

    kl is the half-width of this matrix.
    """
    s = a.shape[0]
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            w[i, j] = 0.0
    add_mass(plan, mass, s, w, kl)
    for e in range(rows.shape[0]):
        for i in range(s):
            at = s * rows[e] + i
            for j in range(s):
                w[at, s * columns[e] + j - at + kl] -= h * a[i, j] * values[i, e]


def factor_stages(w, pivots, kl, ku):
    """w becomes its factors, as in ``lu.factor``."""
    n = w.shape[0]
    for j in range(n):
        best, at = abs(w[j, kl]), j
        bottom, right = min(n, j + kl + 1), min(n, j + kl + ku + 1)
        for i in range(j + 1, bottom):
            size = abs(w[i, j - i + kl])
            if size > best:
                best, at = size, i
        pivots[j] = at
        if not (best > 0.0 and best < math.inf):
            return False
        if at != j:
            for c in range(j, right):
                kept = w[j, c - j + kl]
                w[j, c - j + kl] = w[at, c - at + kl]
                w[at, c - at + kl] = kept
        inverse = 1.0 / w[j, kl]
        w[j, kl] = inverse
        for i in range(j + 1, bottom):
            multiple = w[i, j - i + kl] * inverse
            w[i, j - i + kl] = multiple
            if multiple != 0.0:
                for c in range(j + 1, right):
                    w[i, c - i + kl] -= multiple * w[j, c - j + kl]
    return True


def gather_stages(x, place, first, z):
    """z = the blocks of the rows of x from ``first`` on, in the order of the equations."""
    s = x.shape[0]
    for q in range(place.shape[0]):
        for i in range(s):
            z[s * place[q] + i] = x[i, first + q]


def spread_stages(z, place, first, x):
    """The reverse of :func:`gather_stages`."""
    s = x.shape[0]
    for q in range(place.shape[0]):
        for i in range(s):
            x[i, first + q] = z[s * place[q] + i]


def solve_stages(w, pivots, kl, ku, z):
    """z becomes the solution of W x = z."""
    n = w.shape[0]
    for j in range(n):
        at = pivots[j]
        top = z[at]
        z[at] = z[j]
        z[j] = top
        for i in range(j + 1, min(n, j + kl + 1)):
            z[i] -= w[i, j - i + kl] * top
    for back in range(n):
        j = n - 1 - back
        acc = z[j]
        for c in range(j + 1, min(n, j + kl + ku + 1)):
            acc -= w[j, c - j + kl] * z[c]
        z[j] = acc * w[j, kl]


def solve_stages_transposed(w, pivots, kl, ku, z):
    """z becomes the solution of W^T x = z."""
    n = w.shape[0]
    for j in range(n):
        top = z[j] * w[j, kl]
        z[j] = top
        for c in range(j + 1, min(n, j + kl + ku + 1)):
            z[c] -= w[j, c - j + kl] * top
    for back in range(n):
        j = n - 1 - back
        acc = z[j]
        for i in range(j + 1, min(n, j + kl + 1)):
            acc -= w[i, j - i + kl] * z[i]
        at = pivots[j]
        z[j] = z[at]
        z[at] = acc

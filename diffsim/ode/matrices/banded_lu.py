"""LU factors of full and banded matrices, with row interchanges.

Part of the stepping loops (``lu.py``), whose conventions these are.

Source: Golub & Van Loan, Matrix Computations, 4th ed., 3.4 and 4.3.
"""

import math

from diffsim.ode.matrices.plan import KL, KU, NARROW, SHIFT, STRIDE


# ---------------------------------------------------------------- columns
def subtract(x, to, factor, w, source, count):
    """count entries of x from ``to`` on lose factor times those of w from ``source`` on."""
    if to >= 0 and source >= 0:                           # always so; says that no index counts from the end
        for i in range(count):
            x[to + i] -= factor * w[source + i]


def product(w, source, x, to, count):
    """Sum of products of count entries of w from ``source`` on and of x from ``to`` on, in four interleaved parts."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    if to >= 0 and source >= 0:
        whole = count // 4 * 4
        for i in range(0, whole, 4):
            a += w[source + i] * x[to + i]
            b += w[source + i + 1] * x[to + i + 1]
            c += w[source + i + 2] * x[to + i + 2]
            d += w[source + i + 3] * x[to + i + 3]
        for i in range(whole, count):
            a += w[source + i] * x[to + i]
    return (a + b) + (c + d)


# ---------------------------------------------------------------- full and banded matrices
def factor_banded(plan, w, pivots):
    """w becomes its factors, with the reciprocals of U's diagonal; False if it is singular or a pivot is not finite.

    pivots[n] says whether a narrow band went without interchanges: then U's rows are divided by their diagonal.
    """
    n, stride, shift, kl, ku = pivots.shape[0] - 1, plan[STRIDE], plan[SHIFT], plan[KL], plan[KU]
    pivots[n] = plan[NARROW]
    for j in range(n):
        column = j * stride + shift
        best, at = abs(w[column + j]), j
        bottom = min(n, j + kl + 1)
        for i in range(j + 1, bottom):
            size = abs(w[column + i])
            if size > best:
                best, at = size, i
        pivots[j] = at
        if at != j:
            pivots[n] = 0
        if not (best > 0.0 and best < math.inf):
            return False
        inverse = 1.0 / w[column + at]
        w[column + at] = w[column + j]
        w[column + j] = inverse
        for i in range(j + 1, bottom):
            w[column + i] *= inverse
        for c in range(j + 1, min(n, j + kl + ku + 1)):
            other = c * stride + shift
            top = w[other + at]
            w[other + at] = w[other + j]
            w[other + j] = top
            if top != 0.0:
                subtract(w, other + j + 1, top, w, column + j + 1, bottom - j - 1)
    if pivots[n] > 0:
        for c in range(n):
            for i in range(max(0, c - ku), c):
                w[c * stride + shift + i] *= w[i * stride + shift + i]
    return True


def solve_narrow(plan, w, z):
    """z becomes the solution of L U z = z for a narrow band without interchanges.

    Each component waits for the one before it: what does not wait is done first, and the last product by itself.
    """
    n, stride, shift, kl, ku = z.shape[0], plan[STRIDE], plan[SHIFT], plan[KL], plan[KU]
    for j in range(min(kl, n)):
        for i in range(j):
            z[j] -= w[i * stride + shift + j] * z[i]
    for j in range(kl, n):
        acc, at = z[j], (j - kl) * stride + shift + j
        for d in range(kl):
            acc -= w[at + d * stride] * z[j - kl + d]
        z[j] = acc
    for back in range(n):
        j = n - 1 - back
        acc, at = z[j] * w[j * stride + shift + j], (j + ku) * stride + shift + j
        if back >= ku:
            for d in range(ku):
                acc -= w[at - d * stride] * z[j + ku - d]
        else:
            for i in range(n - 1, j, -1):
                acc -= w[i * stride + shift + j] * z[i]
        z[j] = acc


def solve_narrow_transposed(plan, w, z):
    """The same for (L U)^T z = z."""
    n, stride, shift, kl, ku = z.shape[0], plan[STRIDE], plan[SHIFT], plan[KL], plan[KU]
    for j in range(min(ku, n)):
        for i in range(j):
            z[j] -= w[j * stride + shift + i] * z[i]
    for j in range(ku, n):
        acc, at = z[j], j * stride + shift + j - ku
        for d in range(ku):
            acc -= w[at + d] * z[j - ku + d]
        z[j] = acc
    for back in range(n):
        j = n - 1 - back
        at = j * stride + shift + j
        acc = z[j] * w[at]
        if back >= kl:
            for d in range(kl):
                acc -= w[at + kl - d] * z[j + kl - d]
        else:
            for i in range(n - 1, j, -1):
                acc -= w[at + i - j] * z[i]
        z[j] = acc


def solve_banded(plan, w, pivots, z):
    """z becomes the solution of W z = z, the components in the plan's order."""
    n, stride, shift, kl, ku = z.shape[0], plan[STRIDE], plan[SHIFT], plan[KL], plan[KU]
    for j in range(n):
        at = pivots[j]
        top = z[at]
        z[at] = z[j]
        z[j] = top
        subtract(z, j + 1, top, w, j * stride + shift + j + 1, min(n, j + kl + 1) - j - 1)
    for back in range(n):
        j = n - 1 - back
        top = z[j] * w[j * stride + shift + j]
        z[j] = top
        above = max(0, j - kl - ku)
        subtract(z, above, top, w, j * stride + shift + above, j - above)


def solve_banded_transposed(plan, w, pivots, z):
    """The same for W^T z = z."""
    n, stride, shift, kl, ku = z.shape[0], plan[STRIDE], plan[SHIFT], plan[KL], plan[KU]
    for j in range(n):
        above = max(0, j - kl - ku)
        z[j] = (z[j] - product(w, j * stride + shift + above, z, above, j - above)) * w[j * stride + shift + j]
    for back in range(n):
        j = n - 1 - back
        acc = z[j] - product(w, j * stride + shift + j + 1, z, j + 1, min(n, j + kl + 1) - j - 1)
        at = pivots[j]
        z[j] = z[at]
        z[at] = acc


def solve_banded_panel(plan, w, pivots, panel, count):
    """As ``solve_banded`` or ``solve_narrow``, for ``count`` right-hand sides that lie row by row in w from ``panel`` on."""
    n, stride, shift, kl, ku = pivots.shape[0] - 1, plan[STRIDE], plan[SHIFT], plan[KL], plan[KU]
    narrow = pivots[n] > 0
    for j in range(n):
        here, there = panel + j * count, panel + pivots[j] * count
        if here != there:
            for c in range(count):
                top = w[here + c]
                w[here + c] = w[there + c]
                w[there + c] = top
        for i in range(j + 1, min(n, j + kl + 1)):
            subtract(w, panel + i * count, w[j * stride + shift + i], w, here, count)
    for back in range(n):
        j = n - 1 - back
        here, inverse = panel + j * count, w[j * stride + shift + j]
        if narrow:
            for c in range(count):
                w[here + c] *= inverse
            for i in range(j + 1, min(n, j + ku + 1)):
                subtract(w, here, w[i * stride + shift + j], w, panel + i * count, count)
        else:
            for c in range(count):
                w[here + c] *= inverse
            for i in range(max(0, j - kl - ku), j):
                subtract(w, panel + i * count, w[j * stride + shift + i], w, here, count)

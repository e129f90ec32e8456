"""Linear systems with W = M - scale J: the linear algebra of the implicit stepping loops.

Part of the stepping loops (``erk.py``), in the same subset of Python. What is known before a solve about where M and J may differ from
zero is one vector of integers, the *plan* (``plan.py``). W and its factors lie in one vector w. A full or banded matrix lies there column
by column, entry (i, j) at w[j stride + i + shift], and a band has room for what row interchanges fill; sparse factors are those of
``sparse_lu.py``. Where they are not W's own there is an iteration (``krylov.py``): down to rounding where the solution is wanted
(``solve_exactly``), not so far where it is one change of many (``solve``). Rows and columns are renumbered to make a band narrow, or
elimination sparse: component q of a vector belongs to row plan[PLACE + q]. Where a state is joined by tangents, there is room at the end
of w for the right-hand sides of a level, row by row.

A state with its tangents has a matrix of blocks, all those on the diagonal being the one of the state alone, its *base*: that is what is
factorised. The off-diagonal blocks hold second derivatives and couple a block to those with fewer tangents (``level``), so that solving
level by level is exact.

Source: Golub & Van Loan, Matrix Computations, 4th ed., 3.4 and 4.3.
"""

from diffsim.codegen.loops import jac, pull, push, rhs, row
from diffsim.ode.loops.erk import begin_with_slopes
from diffsim.ode.loops.stepsize import modest_first_step
from diffsim.ode.matrices.banded_lu import (
    factor_banded,
    product,
    solve_banded,
    solve_banded_panel,
    solve_banded_transposed,
    solve_narrow,
    solve_narrow_transposed,
    subtract,
)
from diffsim.ode.matrices.krylov import EXACT, ROUGH, condition, cycle, gmres, inner, multiply, orthogonal, rotate
from diffsim.ode.matrices.plan import (
    FILLERS,
    FORMED,
    JACOBIAN_AT,
    KIND,
    MASS_AT,
    MASS_COLUMNS,
    MASS_ROWS,
    MASSES,
    PLACE,
    PLAIN,
    SPARSE,
)
from diffsim.ode.matrices.sparse_lu import (
    factor_sparse,
    gathered,
    largest_of,
    solve_sparse,
    solve_sparse_panel,
    solve_sparse_transposed,
    spread,
)

MANY = 4                 # right-hand sides that are worth a panel


def form(plan, mass, values, scale, w):
    """w = M - scale J, J given by its entries."""
    for i in range(plan[FORMED]):
        w[i] = 0.0
    at = plan[MASS_AT]
    for e in range(plan[MASSES]):
        w[plan[at + e]] += mass[e]
    at = plan[JACOBIAN_AT]
    for e in range(values.shape[0]):
        w[plan[at + e]] -= scale * values[e]


def form_start(plan, mass, w):
    """w = M, completed to a regular matrix where M is singular."""
    for i in range(plan[FORMED]):
        w[i] = 0.0
    at = plan[MASS_AT]
    for e in range(plan[MASSES] + plan[FILLERS]):
        w[plan[at + e]] += mass[e]


def times_mass(plan, mass, x, first, n, out, to):
    """The n components of out from ``to`` on become M times those of x from ``first`` on."""
    if plan[PLAIN] > 0:
        for q in range(n):
            out[to + q] = x[first + q]
    else:
        add_entries(plan, mass, plan[MASS_ROWS], plan[MASS_COLUMNS], x, first, n, out, to)


def times_mass_transposed(plan, mass, x, first, n, out, to):
    """The same for M^T."""
    if plan[PLAIN] > 0:
        for q in range(n):
            out[to + q] = x[first + q]
    else:
        add_entries(plan, mass, plan[MASS_COLUMNS], plan[MASS_ROWS], x, first, n, out, to)


def add_entries(plan, mass, rows, columns, x, first, n, out, to):
    """Product with the entries of M, whose rows and columns are listed from these places on."""
    for q in range(n):
        out[to + q] = 0.0
    for e in range(plan[MASSES]):
        out[to + plan[rows + e]] += mass[e] * x[first + plan[columns + e]]


# ---------------------------------------------------------------- any matrix
def factor(plan, w, pivots):
    """w becomes its factors; False if it is singular or a pivot is not finite."""
    if plan[KIND] == SPARSE:
        n = pivots.shape[0] - 1
        regular, doubtful = factor_sparse(plan, w, n)
        pivots[n] = 1 if doubtful else 0
        return regular
    return factor_banded(plan, w, pivots)


def solve(plan, w, pivots, x, first, z):
    """The block of x from ``first`` on becomes the solution of W x = x, as far as an iteration around it wants it; z is work."""
    solve_to(plan, w, pivots, x, first, z, ROUGH)


def solve_exactly(plan, w, pivots, x, first, z):
    """The block of x from ``first`` on becomes the solution of W x = x; z is work."""
    solve_to(plan, w, pivots, x, first, z, EXACT)


def solve_to(plan, w, pivots, x, first, z, tolerance):
    """Either of them. pivots[n] becomes -1 where an iteration does not find the solution, which then is NaN."""
    n, place = z.shape[0], plan[PLACE]
    for q in range(n):
        z[plan[place + q]] = x[first + q]
    if plan[KIND] == SPARSE:
        if pivots[n] == 0:
            solve_sparse(plan, w, z)
        elif not gmres(plan, w, z, False, tolerance):
            pivots[n] = -1
    elif pivots[n] > 0:
        solve_narrow(plan, w, z)
    else:
        solve_banded(plan, w, pivots, z)
    for q in range(n):
        x[first + q] = z[plan[place + q]]


def solve_level(plan, w, pivots, x, now, base, depth, z):
    """The blocks of x that have ``now`` tangents become solutions of W x = x, together if there are many."""
    n, count = z.shape[0], 0
    for block in range(x.shape[0] // n):
        if level(block, base // n, depth) == now:
            count += 1
    if count < MANY or (plan[KIND] == SPARSE and pivots[n] != 0):
        for block in range(x.shape[0] // n):
            if level(block, base // n, depth) == now:
                solve_exactly(plan, w, pivots, x, block * n, z)
    else:
        panel = w.shape[0] - x.shape[0]
        exchange(plan, w, panel, x, now, base, depth, n, count, True)
        if plan[KIND] == SPARSE:
            solve_sparse_panel(plan, w, panel, count, n)
        else:
            solve_banded_panel(plan, w, pivots, panel, count)
        exchange(plan, w, panel, x, now, base, depth, n, count, False)


def exchange(plan, w, panel, x, now, base, depth, n, count, into):
    """Blocks of x that have ``now`` tangents go into a panel as its columns, or come back."""
    place, column = plan[PLACE], panel
    for block in range(x.shape[0] // n):
        if level(block, base // n, depth) == now:
            for q in range(n):
                if into:
                    w[column + plan[place + q] * count] = x[block * n + q]
                else:
                    x[block * n + q] = w[column + plan[place + q] * count]
            column += 1


def solve_transposed(plan, w, pivots, x, first, z):
    """As ``solve``, of W^T x = x."""
    solve_transposed_to(plan, w, pivots, x, first, z, ROUGH)


def solve_exactly_transposed(plan, w, pivots, x, first, z):
    """As ``solve_exactly``, of W^T x = x."""
    solve_transposed_to(plan, w, pivots, x, first, z, EXACT)


def solve_transposed_to(plan, w, pivots, x, first, z, tolerance):
    """As ``solve_to``, of W^T x = x."""
    n, place = z.shape[0], plan[PLACE]
    for q in range(n):
        z[plan[place + q]] = x[first + q]
    if plan[KIND] == SPARSE:
        if pivots[n] == 0:
            solve_sparse_transposed(plan, w, z)
        elif not gmres(plan, w, z, True, tolerance):
            pivots[n] = -1
    elif pivots[n] > 0:
        solve_narrow_transposed(plan, w, z)
    else:
        solve_banded_transposed(plan, w, pivots, z)
    for q in range(n):
        x[first + q] = z[plan[place + q]]


# ---------------------------------------------------------------- slopes at the start
def start_slopes(k, t, y, p, plan, mass, w, pivots, z, slopes):
    """The slopes at the start, M slopes = f(t, y); where M is singular they do not change what it says nothing about."""
    rhs(k, t, y, p, slopes)
    if plan[PLAIN] == 0:
        form_start(plan, mass, w)
        if factor(plan, w, pivots):
            for first in range(0, y.shape[0], z.shape[0]):
                solve_exactly(plan, w, pivots, slopes, first, z)


def start_cotangents(plan, mass, w, pivots, z, x):
    """From the cotangent of ``start_slopes`` to that of f(t, y)."""
    if plan[PLAIN] == 0:
        form_start(plan, mass, w)
        if factor(plan, w, pivots):
            for first in range(0, x.shape[0], z.shape[0]):
                solve_exactly_transposed(plan, w, pivots, x, first, z)


#: Part of the span that scales J where a probe is settled.
FAINTLY = 2.0**-30


def settle_probe(k, t, y, p, scale, base, plan, mass, values, r, w, pivots, z):
    """Move tangents at the start so that they satisfy the linearised algebraic equations; the smaller scale, the less else it changes.

    In W x = scale r with r of the algebraic equations alone, their rows say J x = -r and the others M x = scale J x.
    """
    n = z.shape[0]
    for q in range(n):
        z[q] = y[base + q]
    jac(k, t, z, p, values)
    form(plan, mass, values, scale, w)
    if factor(plan, w, pivots):
        rhs(k, t, y, p, r)
        for tangent in range(0, y.shape[0], n):
            if tangent != base:
                for q in range(n):
                    r[base + q] = 0.0
                for e in range(plan[MASSES], plan[MASSES] + plan[FILLERS]):
                    q = plan[plan[MASS_ROWS] + e]
                    r[base + q] = scale * r[tangent + q]
                solve_exactly(plan, w, pivots, r, base, z)
                for q in range(n):
                    y[tangent + q] += r[base + q]


def begin_implicit(
    k, order, t0, s, span, y, p, base, plan, mass, sigma, rate, replay, first_step, max_step, rtol, atol, probe_atol, probe_factor, values,
    r, w, pivots, z, ks, new, out,
):  # fmt: skip
    """As ``erk.begin``, with a mass matrix."""
    if plan[FILLERS] > 0 and probe_factor > 0.0:
        settle_probe(k, t0, y, p, FAINTLY * span, base, plan, mass, values, r, w, pivots, z)
    if s == 0.0:
        start_slopes(k, t0, y, p, plan, mass, w, pivots, z, row(ks, 0))
    if plan[PLAIN] == 0 and first_step <= 0.0:
        first_step = modest_first_step(span, y, rtol, atol, probe_atol, probe_factor, ks)
    return begin_with_slopes(k, order, t0, s, span, y, p, sigma, rate, replay, first_step, max_step, rtol, atol, probe_atol, probe_factor,
                             ks, new, out)


# ---------------------------------------------------------------- a state with its tangents
def level(block, base, depth):
    """How many tangents a block has.

    The last tangents that a system was joined by, one or many, are groups of blocks; within a group, where there was one at a time, they
    are the ones in the numbers of the block and of the base that differ.
    """
    if depth == 0:
        return 0
    group = 1 << (depth - 1)
    count = 0 if block // group == base // group else 1
    bits = (block % group) ^ (base % group)
    while bits > 0:
        count += bits & 1
        bits >>= 1
    return count


def solve_joined(k, t, y, p, scale, base, depth, r, plan, w, pivots, x, z, work):
    """x becomes the solution of (M - scale J) x = r, J the Jacobian of a state joined ``depth`` times by its tangent.

    Returns whether it was found.
    """
    n = z.shape[0]
    for q in range(x.shape[0]):
        x[q] = 0.0
    for now in range(depth + 1):
        if now > 0:
            push(k, t, y, x, p, work)
        for block in range(x.shape[0] // n):
            if level(block, base // n, depth) == now:
                for q in range(block * n, block * n + n):
                    x[q] = r[q] if now == 0 else r[q] + scale * work[q]
        solve_level(plan, w, pivots, x, now, base, depth, z)
    return pivots[n] >= 0


def solve_joined_transposed(k, t, y, p, scale, base, depth, r, plan, w, pivots, x, z, work):
    """The same for (M - scale J)^T x = r."""
    n = z.shape[0]
    for q in range(x.shape[0]):
        x[q] = 0.0
    for done in range(depth + 1):
        if done > 0:
            pull(k, t, y, x, p, work)
        for block in range(x.shape[0] // n):
            if level(block, base // n, depth) == depth - done:
                for q in range(block * n, block * n + n):
                    x[q] = r[q] if done == 0 else r[q] + scale * work[q]
                solve_exactly_transposed(plan, w, pivots, x, block * n, z)
    return pivots[n] >= 0


#: The functions above, each after those it calls: helpers of a loop (``codegen.loops.Loop``).
MATRICES = (
    form, form_start, add_entries, times_mass, times_mass_transposed, subtract, product, factor_banded, solve_narrow,
    solve_narrow_transposed, solve_banded, solve_banded_transposed, spread, largest_of, factor_sparse, gathered, solve_sparse,
    solve_sparse_transposed, multiply, condition, inner, orthogonal, rotate, cycle, gmres, factor, solve_to, solve, solve_exactly,
    solve_transposed_to, solve_transposed, solve_exactly_transposed, start_slopes, start_cotangents, settle_probe, level,
    solve_banded_panel, solve_sparse_panel, exchange, solve_level, solve_joined, solve_joined_transposed,
)  # fmt: skip

"""How far a stiff method's interpolant is to be trusted, and steps that land on outputs where it is not.

Part of the stepping loops (``erk.py``), in the same subset of Python. The error estimate of a step speaks of its end. A component that
follows others at once (a fast equilibrium, an algebraic equation) is right there however long the step, because the stages solve its
equation; between them the interpolant is a polynomial through the stages, and may be anything. So where something is wanted inside a step,
its interpolant's defect M u' - f(t, u) is looked at in the middle, filtered by the step's matrix: h gamma (M - h gamma J)^-1 makes of it
the error itself in components that follow, and h gamma times the rate at which it grows in those that do not.

``bears`` is the size of a step whose interpolant is within the tolerances. A longer step that has outputs inside ends at the first of them
instead, if that is no shorter.

Sources: Shampine & Reichelt, SIAM J. Sci. Comput. 18 (1997) 1-22 (filtered estimates); Enright, J. Comput. Appl. Math. 125 (2000) 159-170
(control of the defect).
"""

import math

from diffsim.codegen.loops import rhs, row
from diffsim.ode.loops.erk import weights
from diffsim.ode.loops.stepsize import GROW, SAFETY, SHRINK, joint_error
from diffsim.ode.loops.watch import inside
from diffsim.ode.matrices.lu import solve, times_mass

MIDDLE = 0.5
CLOSE = 1e-10            # part of a step by which an output is at its end, not inside
REGAIN = 2.0             # factor of what the interpolant bears after a step of which nothing was wanted


def wanted_inside(everywhere, o, sigma, sign, s, h):
    """Distance from s to the first output inside a step of size h, from number ``o`` on: 0 if every step is wanted, inf if none is."""
    if everywhere > 0:
        return 0.0
    while o < sigma.shape[0]:
        gap = (sigma[o] - s) * sign
        if gap > CLOSE * h:
            return gap if gap < (1.0 - CLOSE) * h else math.inf
        o += 1
    return math.inf


def within(size, bears, everywhere, o, sigma, sign, s):
    """The size of a step that is no longer than its interpolant bears, or lands on its first output."""
    if size <= bears:
        return size
    gap = wanted_inside(everywhere, o, sigma, sign, s, size)
    return max(bears, gap) if gap < math.inf else size


def filtered_defect(gamma, dense, h, ks, r, plan, mass, lu, pivots, w, mid, est, z):
    """est[0] = h gamma (M - h gamma J)^-1 (M u' - r), r the slope of the interpolant u in the middle of a step; mid is lost."""
    n = z.shape[0]
    weights(dense, MIDDLE, h, 1, w)
    for q in range(mid.shape[0]):
        acc = 0.0
        for i in range(w.shape[0]):
            acc += w[i] * ks[i, q]
        mid[q] = acc
    for first in range(0, mid.shape[0], n):
        times_mass(plan, mass, mid, first, n, z, 0)
        for q in range(n):
            est[0, first + q] = h * gamma * (z[q] - r[first + q])
        solve(plan, lu, pivots, row(est, 0), first, z)


def look_inside(
    k, error, bears, everywhere, o, order, gamma, dense, sigma, sign, t, s, h, y, new, p, rtol, atol, probe_atol, probe_factor, one, ks,
    plan, mass, lu, pivots, w, mid, r, est, z,
):  # fmt: skip
    """Square of the error norm of a step, and of its interpolant if something is wanted of it; the size that the interpolant bears."""
    if not error <= 1.0:
        return error, bears
    if wanted_inside(everywhere, o, sigma, sign, s, abs(h)) == math.inf:
        return error, REGAIN * bears
    inside(dense, MIDDLE, h, y, ks, w, mid)
    rhs(k, t + MIDDLE * h, mid, p, r)
    filtered_defect(gamma, dense, h, ks, r, plan, mass, lu, pivots, w, mid, est, z)
    return judged(error, joint_error(one, est, y, new, 1.0, rtol, atol, probe_atol, probe_factor), order, h)


def judged(error, amiss, order, h):
    """As ``look_inside``, of a step whose interpolant is this much amiss."""
    return max(error, amiss), abs(h) * min(GROW, max(SHRINK, SAFETY * max(amiss, 1e-20) ** (-0.5 / order)))


#: In the order in which they call each other.
WITHIN = (wanted_inside, within, filtered_defect, judged)
INSIDE = (*WITHIN, look_inside)

"""How large a step: error norms, the first step, the controller, the ends of the interval.

Part of the stepping loops (``erk.py``), in the same subset of Python: numbers and arrays in, numbers out.
"""

import math

from diffsim.codegen.loops import exponent, mantissa, power_of_two, rhs, row, summed, unroll

DONE, FULL, UNDERFLOW, MAX_STEPS, NOT_FINITE, BAD_TIMES, SINGULAR, UNSOLVED, UNORDERED = range(9)

EPS = 2.0**-52
SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0
CAREFUL = 0.02           # exponent of the previous error norm (beta of Hairer & Wanner II, IV.2); fewest steps over
#                          Lotka-Volterra, Arenstorf and van der Pol, 1e-4 to 1e-8: 1762 against 1807 (0), 1788 (0.04), 1836 (0.06)
LANDS = 1.0 - 1e-12      # a step that leaves less than this part of itself reaches the end
LOG_SMALL = math.log2(1e-4)      # smallest error norm the controller remembers
LOG_SHRINK, LOG_KEEP, LOG_GROW = (math.log2(x / SAFETY) for x in (SHRINK, 1.0, GROW))
SMALLEST = 1e-30         # a step below this part of the interval is none, wherever it starts
SLOW, FLAT = 1e-5, 1e-15  # norms below which the heuristic of the first step falls back to fixed sizes
FLOOR = 1e-300           # keeps 0/0 out of the norm when atol is 0 and a component is 0


def mean_square(x, y, scale, rtol, atol, first):
    """Mean of (scale x_q / (atol_q + rtol_q |y_q|))^2 over the components from ``first`` that the tolerances cover."""
    total = 0.0
    for q in range(atol.shape[0]):
        z = scale * x[first + q] / (atol[q] + rtol[q] * abs(y[first + q]) + FLOOR)
        total = summed(total, z * z)
    return total / atol.shape[0]


def start_norm(x, y, rtol, atol, probe_atol, probe_factor):
    """Size of x in the norm of the first step: the larger of the state's and, if there are any, its tangents'."""
    size, n = mean_square(x, y, 1.0, rtol, atol, 0), atol.shape[0]
    if probe_factor > 0.0:
        for first in range(n, y.shape[0], n):
            probe = mean_square(x, y, 1.0 / probe_factor, rtol, probe_atol, first)
            if not probe <= size:
                size = probe
    return math.sqrt(size)


def first_step_size(k, order, t0, span, y, p, rtol, atol, probe_atol, probe_factor, ks, new):
    """Initial step of Hairer, Norsett & Wanner I, II.4; one evaluation, into ks[1].

    The probe takes part: a state at rest says nothing about the scale of its sensitivities. Norms overflow where
    atol and the state are 0: as with a vanishing norm, the fallback is a fixed small step.
    """
    sign = 1.0 if span > 0.0 else -1.0
    d0 = start_norm(y, y, rtol, atol, probe_atol, probe_factor)
    d1 = start_norm(row(ks, 0), y, rtol, atol, probe_atol, probe_factor)
    h0 = 0.01 * d0 / d1 if d0 >= SLOW and d1 >= SLOW and d0 + d1 < math.inf else 1e-6
    h0 = min(h0, abs(span))
    for q in range(y.shape[0]):
        new[q] = y[q] + sign * h0 * ks[0, q]
    rhs(k, t0 + sign * h0, new, p, row(ks, 1))
    for q in range(y.shape[0]):
        new[q] = (ks[1, q] - ks[0, q]) / h0
    d2 = start_norm(new, y, rtol, atol, probe_atol, probe_factor)
    steepest = max(d1, d2)
    if not steepest < math.inf:
        return h0
    h1 = max(1e-6, 1e-3 * h0) if steepest <= FLAT else (0.01 / steepest) ** (1.0 / order)
    return min(100.0 * h0, h1, abs(span))


def modest_first_step(span, y, rtol, atol, probe_atol, probe_factor, ks):
    """First size from the slopes alone, for mass matrices: what changes a state by a hundredth of it, a thousandth of the span at most."""
    d0 = start_norm(y, y, rtol, atol, probe_atol, probe_factor)
    d1 = start_norm(row(ks, 0), y, rtol, atol, probe_atol, probe_factor)
    size = 1e-3 * abs(span)
    return min(size, 0.01 * d0 / d1) if d0 >= SLOW and d1 >= SLOW and d0 + d1 < math.inf else 1e-3 * size


def error_square(e, ks, y, new, h, rtol, atol, first):
    """Mean square of the error estimate h sum_i e_i k_i over atol + rtol max(|y|, |new|), as ``mean_square``."""
    total = 0.0
    for q in range(atol.shape[0]):
        scale = h / (atol[q] + rtol[q] * max(abs(y[first + q]), abs(new[first + q])) + FLOOR)
        acc = e[0] * ks[0, first + q]
        for i in range(1, e.shape[0]):
            unroll()
            if e[i] != 0.0:
                acc += e[i] * ks[i, first + q]
        acc *= scale
        total = summed(total, acc * acc)
    return total * (1.0 / atol.shape[0])


def joint_error(e, ks, y, new, h, rtol, atol, probe_atol, probe_factor):
    """Square of the error norm of a step: the larger of the state's and its tangents'; huge if any is not finite."""
    error, n = error_square(e, ks, y, new, h, rtol, atol, 0), atol.shape[0]
    if probe_factor > 0.0:
        for first in range(n, y.shape[0], n):
            probe = error_square(e, ks, y, new, h / probe_factor, rtol, probe_atol, first)
            error = max(error, probe) if error + probe < math.inf else math.inf
    return error if error < math.inf else math.inf


def paired_error(e, e_low, ks, y, new, h, rtol, atol, probe_atol, probe_factor):
    """As ``joint_error``, with E^2 / sqrt(E^2 + F^2 / 100) for the norms E, F of two estimates if there is a second one.

    Source: Hairer, Norsett & Wanner I, II.10: of orders 5 and 3 they make one that behaves like order 7.
    """
    if e_low.shape[0] == 0:
        return joint_error(e, ks, y, new, h, rtol, atol, probe_atol, probe_factor)
    error = error_square(e, ks, y, new, h, rtol, atol, 0)
    error *= error / (error + 0.01 * error_square(e_low, ks, y, new, h, rtol, atol, 0) + FLOOR)
    if probe_factor > 0.0:
        n = atol.shape[0]
        for first in range(n, y.shape[0], n):
            probe = error_square(e, ks, y, new, h / probe_factor, rtol, probe_atol, first)
            probe *= probe / (probe + 0.01 * error_square(e_low, ks, y, new, h / probe_factor, rtol, probe_atol, first) + FLOOR)
            error = max(error, probe) if error + probe < math.inf else math.inf
    return error if error < math.inf else math.inf


def first_not_finite(x):
    """Index of the first entry that is not finite, -1 if there is none."""
    for q in range(x.shape[0]):
        if not abs(x[q]) < math.inf:
            return q
    return -1


def worst_component(e, ks, y, new, h, rtol, atol, probe_atol, probe_factor):
    """Index of the component with the largest scaled error (not finite counts as largest)."""
    worst, size, n = 0, -1.0, atol.shape[0]
    for q in range(y.shape[0] if probe_factor > 0.0 else n):
        acc = 0.0
        for i in range(e.shape[0]):
            acc += e[i] * ks[i, q]
        tolerance = atol[q] if q < n else probe_factor * probe_atol[q % n]
        relative = rtol[q] if q < n else probe_factor * rtol[q % n]
        acc = abs(h * acc / (tolerance + relative * max(abs(y[q]), abs(new[q])) + FLOOR))
        if not acc <= size:
            worst, size = q, acc
            if not acc < math.inf:
                return worst
    return worst


def log2(x):
    """Binary logarithm of a positive, normal number to 7e-4, by a cubic on [1/2, 1]: enough for a controller, and short."""
    m = mantissa(x)
    return (exponent(x) + (6.058956424048538 * m - 3.1449406309235926)) + (m * m) * (1.2435668406357423 * m - 4.157032648692196)


def exp2(x):
    """2^x to a relative 1e-4, by a cubic on [0, 1]."""
    n = math.floor(x)
    r = x - n
    cubic = (0.6963905466553747 * r + 0.9998966910282046) + (r * r) * (0.07908570124787104 * r + 0.22451634404563026)
    return cubic * power_of_two(n)


def next_size(size, error, before, order, cap):
    """Size of the next step after an error whose square is ``error``, and what the controller remembers of it.

    PI controller; after an error that is too large, its integral part alone. Source: Hairer & Wanner II, IV.2 (2.43c).
    The next step waits for this number: everything that can be formed without the error is.
    """
    log_square = log2(min(max(error, 1e-20), 1e300))
    slope = (0.375 * CAREFUL - 0.5 / order) if error <= 1.0 else -0.5 / order
    power = slope * log_square + (before if error <= 1.0 else 0.0)
    return SAFETY * size * exp2(min(cap, max(LOG_SHRINK, power))), max(0.5 * CAREFUL * log_square, CAREFUL * LOG_SMALL)


def steer(size, error, before, order, cap, pace, past):
    """As ``next_size``, by the digital filter that ``pace`` describes if there is one.

    With r = safety^k / error norm and k the order, a step accepted makes the next size
    h r^(b1 / k) r_1^(b2 / k) r_2^(b3 / k) (h / h_1)^-a2 (h_1 / h_2)^-a3, where _1 and _2 are the accepted steps before; a step rejected
    shrinks by r^(1 / k). ``pace`` holds b1, b2, b3, a2, a3, whether r^(1 / k) is a bound, and the binary logarithms of the safety factor,
    the least and the greatest ratio of sizes; ``past`` two errors and two sizes. Before a first step is accepted ``before`` is negative.
    Source: Soderlind, ACM Trans. Math. Softw. 29 (2003) 1-26, eq. (31); the bound is Gustafsson's, Hairer & Wanner II, IV.8.
    """
    if pace.shape[0] == 0:
        return next_size(size, error, before, order, cap)
    log_error, log_h = 0.5 * log2(min(max(error, 1e-20), 1e300)) - order * pace[6], log2(size)
    plain = -log_error / order
    power = plain
    if error <= 1.0:
        if before < 0.0:
            past[0], past[1], past[2], past[3] = 0.0, 0.0, log_h, log_h
        power = -(pace[0] * log_error + pace[1] * past[0] + pace[2] * past[1]) / order
        power -= pace[3] * (log_h - past[2]) + pace[4] * (past[2] - past[3])
        if pace[5] > 0.0:
            power = min(power, plain)
        past[1], past[0], past[3], past[2] = past[0], log_error, past[2], log_h
    return size * exp2(min(0.0 if cap < LOG_GROW else pace[8], max(pace[7], power))), 1.0


def note(history, attempt, s, h, error):
    """Write start, increment and squared error norm of an attempted step; after the last row comes the first."""
    if history.shape[0] > 0:
        place = attempt % history.shape[0]
        history[place, 0] = s
        history[place, 1] = h
        history[place, 2] = error


def propose(size, s, span, replay, mesh, accepted, rejected, max_steps):
    """The next increment: (status, h, |h|, whether it reaches the end). The last two steps share what is left.

    Sizes below ten spacings of s count as underflow. Where no step can be taken the increment is the size refused.
    """
    if accepted == mesh.shape[0]:
        return FULL, size, size, False
    if replay > 0:
        return DONE, mesh[accepted], size, accepted == replay - 1
    if accepted + rejected == max_steps:
        return MAX_STEPS, size, size, False
    if size < 10.0 * EPS * abs(s) + (SMALLEST * abs(span) if abs(span) < math.inf else 0.0):
        return UNDERFLOW, size, size, False
    left = abs(span - s)
    landed = size >= left * LANDS
    size = left if landed else min(size, 0.5 * left)
    return DONE, size if span > 0.0 else -size, size, landed

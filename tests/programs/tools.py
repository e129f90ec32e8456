"""Helpers of the programs, in a module of their own."""

import numpy as np


def thomas(lower, main, upper, right):
    """Solution of a tridiagonal system; the arguments are left as they are."""
    n = len(main)
    c, d = np.zeros(n - 1), np.array(right)
    denominator = main[0]
    c[0] = upper[0] / denominator
    d[0] /= denominator
    for i in range(1, n):
        denominator = main[i] - lower[i - 1] * c[i - 1]
        if i < n - 1:
            c[i] = upper[i] / denominator
        d[i] = (d[i] - lower[i - 1] * d[i - 1]) / denominator
    for i in range(n - 2, -1, -1):
        d[i] -= c[i] * d[i + 1]
    return d


def accelerations(positions, masses):
    """Softened gravity on every body, pair by pair."""
    a = np.zeros_like(positions)
    i, j = np.triu_indices(len(masses), 1)
    r = positions[j] - positions[i]
    f = r / (np.sum(r * r, axis=1) + 0.1)[:, None] ** 1.5
    np.add.at(a, i, f * masses[j][:, None])
    np.subtract.at(a, j, f * masses[i][:, None])
    return a

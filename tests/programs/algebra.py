"""Linear algebra by loops, sums and recursions, as in a textbook."""

import numpy as np

from .tools import thomas


def lu_in_place(a, b):
    """Doolittle's elimination in the matrix itself, then two substitutions."""
    m, x = a + 4.0 * np.eye(4), b.copy()
    n = len(m)
    for k in range(n):
        m[k + 1:, k] /= m[k, k]
        m[k + 1:, k + 1:] -= np.outer(m[k + 1:, k], m[k, k + 1:])
    for i in range(n):
        for j in range(i):
            x[i] -= m[i, j] * x[j]
    for i in reversed(range(n)):
        for j in range(i + 1, n):
            x[i] -= m[i, j] * x[j]
        x[i] /= m[i, i]
    return m, x


def cholesky_by_loops(a):
    """The factor column by column."""
    s = a * a.T
    s[np.diag_indices(3)] += 5.0
    low = np.zeros((3, 3))
    for j in range(3):
        low[j, j] = np.sqrt(s[j, j] - np.sum(low[j, :j] ** 2))
        for i in range(j + 1, 3):
            low[i, j] = (s[i, j] - np.sum(low[i, :j] * low[j, :j])) / low[j, j]
    return low


def gram_schmidt(a):
    """Orthonormal columns, modified Gram-Schmidt on columns that are views."""
    q, r = a.copy(), np.zeros((3, 3))
    for j in range(3):
        v = q[:, j]
        for i in range(j):
            r[i, j] = np.sum(q[:, i] * v)
            v -= r[i, j] * q[:, i]
        r[j, j] = np.sqrt(np.sum(v**2))
        v /= r[j, j]
    return q, r


def power_iteration(a, x0):
    """The largest eigenvalue of a positive matrix."""
    x = x0.copy()
    for _ in range(8):
        x = (a * x).sum(axis=1)
        x /= np.abs(x).max()
    return x, np.sum(x * (a * x).sum(axis=1)) / np.sum(x * x)


def matrix_power(a):
    """Exponentiation by squaring, the identity filled in by np.fill_diagonal."""
    n, base = 11, 0.5 * a
    result = np.zeros_like(a)
    np.fill_diagonal(result, 1.0)
    while n:
        if n & 1:
            result = result @ base
        base = base @ base
        n >>= 1
    return result


def jacobi(a, b):
    """Jacobi's iteration with the diagonal taken out by a read-only view."""
    m = a + 5.0 * np.eye(4)
    d = np.diagonal(m)
    x = np.zeros_like(b)
    for _ in range(10):
        x = (b - (m * x).sum(axis=1) + d * x) / d
    return x


def spline(x, y):
    """Second derivatives of a natural cubic spline, and its value between the knots."""
    x = np.cumsum(0.2 + x)
    h = np.diff(x)
    m = np.zeros_like(y)
    m[1:-1] = thomas(h[1:-1], 2.0 * (h[:-1] + h[1:]), h[1:-1], 6.0 * np.diff(np.diff(y) / h))
    a, b = 0.4, 0.6
    return a * y[:-1] + b * y[1:] + ((a**3 - a) * m[:-1] + (b**3 - b) * m[1:]) * h**2 / 6.0


def horner(coefficients, x):
    """A polynomial by Horner's rule with out=, and its derivative."""
    p, d = np.zeros_like(x), np.zeros_like(x)
    for c in coefficients:
        np.multiply(d, x, out=d)
        np.add(d, p, out=d)
        np.multiply(p, x, out=p)
        np.add(p, c, out=p)
    return p, d


def dft(x):
    """The Fourier sums without a transform: cosines and sines accumulated into two rows."""
    n = x.size
    spectrum = np.zeros((2, n))
    t = np.arange(n)
    for k in range(n):
        spectrum[0, k] = np.sum(x * np.cos(2 * np.pi * k * t / n))
        spectrum[1, k] -= np.sum(x * np.sin(2 * np.pi * k * t / n))
    return np.hypot(*spectrum)


def assembly(nodes, stiffness):
    """Linear elements on a line: local matrices added into the global one by connectivity."""
    elements = np.array([[0, 1], [1, 2], [2, 3], [3, 4]])
    x = np.cumsum(0.5 + nodes)
    h = x[elements[:, 1]] - x[elements[:, 0]]
    k, f = np.zeros((5, 5)), np.zeros(5)
    local = np.array([[1.0, -1.0], [-1.0, 1.0]])
    np.add.at(k, (elements[:, :, None], elements[:, None, :]), (stiffness / h)[:, None, None] * local)
    np.add.at(f, elements, (0.5 * h)[:, None])
    k[0, :] = 0.0
    k[0, 0] = 1.0
    f[0] = 0.0
    return k, f


def givens(a):
    """Rotations applied to two rows at a time through fancy indices."""
    r = a.copy()
    for j in range(2):
        for i in range(j + 1, 3):
            c, s = r[j, j], r[i, j]
            length = np.hypot(c, s)
            g = np.array([[c, s], [-s, c]]) / length
            rows = r[[j, i]]
            r[[j, i]] = np.stack([g[0, 0] * rows[0] + g[0, 1] * rows[1], g[1, 0] * rows[0] + g[1, 1] * rows[1]])
    return r


def conjugate_gradients(a, b):
    """Five steps of conjugate gradients, the vectors updated in place."""
    m = 0.1 * (a + a.T) + 3.0 * np.eye(4)
    x, r = np.zeros(4), b.copy()
    p, rho = r.copy(), np.sum(r * r)
    for _ in range(3):
        q = m.dot(p)
        step = rho / p.dot(q)
        x += step * p
        r -= step * q
        rho, old = np.sum(r * r), rho
        p *= rho / old
        p += r
    return x, r


def contraction_into(t, w):
    """np.einsum and np.matmul into buffers that are used again."""
    out, total = np.empty((3, 2)), np.zeros((3, 2))
    for k in range(3):
        np.einsum("i,j->ij", t[k], w[k], out=out)
        total += out
        np.matmul(t, total, out=out)
        total -= 0.1 * out
    return total


SQUARE = (-1.0, 1.0, (4, 4))
PROGRAMS = {
    lu_in_place: [SQUARE, (-1.0, 1.0, (4,))], cholesky_by_loops: [(-1.0, 1.0, (3, 3))], gram_schmidt: [(0.5, 2.0, (4, 3))],
    power_iteration: [(0.5, 1.5, (3, 3)), (0.5, 1.0, (3,))], matrix_power: [(-1.0, 1.0, (3, 3))], jacobi: [SQUARE, (-1.0, 1.0, (4,))],
    spline: [(0.1, 1.0, (7,)), (-1.0, 1.0, (7,))], horner: [(-1.0, 1.0, (5,)), (-1.0, 1.0, (4,))], dft: [(-1.0, 1.0, (8,))],
    assembly: [(0.1, 1.0, (5,)), (0.5, 2.0, (4,))], givens: [(0.5, 1.5, (3, 3))], conjugate_gradients: [SQUARE, (-1.0, 1.0, (4,))],
    contraction_into: [(-1.0, 1.0, (3, 3)), (-1.0, 1.0, (3, 2))],
}

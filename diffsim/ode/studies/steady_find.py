"""Finding a steady state: conserved quantities, pseudo-transient continuation, Newton's method, stability.

Pseudo-transient continuation takes linearly implicit Euler steps, (1/d - J) dy = f, whose size d grows as the state comes to rest: at first
it follows the solution in time, at the end it is Newton's method.  A step is accepted while it solves the implicit Euler equation to a
tenth of each component, so that the steady state is the one the solution leads to.  Linear conserved quantities are kept exactly.

Sources: Kelley & Keyes, SIAM J. Numer. Anal. 35 (1998) 508-523; Deuflhard, Newton Methods for Nonlinear Problems (2004), 6.4; conserved
quantities as the left null space of the Jacobian: Reder, J. Theor. Biol. 135 (1988) 175-201.
"""

import numpy as np

from diffsim.core import eval_graph
from diffsim.errors import ConvergenceError, InputError
from diffsim.ode.compiled.kernels import PythonKernels, jacobian
from diffsim.ode.system import pack

#: Part of each component that a step's nonlinear residual may reach, and of the largest that counts for components near 0.
CLOSE, FLOOR = 0.1, 1e-8
#: Part of the largest component ever met that counts as 0: a state may come to rest where all of it vanishes.
NOTHING = 1e-20
GROW, SHRINK = 6.0, 0.2
#: Steps this small, relative to each component, are worth a try by Newton's method.
TRY = 0.03
#: Newton's first step may change no component by more than this part: it is to find the steady state that is near.
NEAR, NEWTON = 0.3, 25
EPS = float(np.finfo(float).eps)
#: Relative singular values below which a combination of rates is zero everywhere, and how well it must be zero.
LAW, EXACT = 1e-12, 1e-9
#: States at which they must be so, and how far these are from the start, tried one after the other.
SAMPLES, SAMPLED = 4, (0.3, 1e-2, 1e-4)
#: Up to so many states matrices are dense, and conserved quantities and eigenvalues are looked for.
DENSE = 512


class Rest:
    """f(y) and its Jacobian for given parameters, with counts.

    Parameters
    ----------
    system : System
    t : float
    p : list of array
    """

    def __init__(self, system, t, p):
        self.system, self.t, self.p, self.rhs_calls, self.jac_calls = system, np.float64(t), list(p), 0, 0

    @property
    def n(self):
        return self.system.n

    def f(self, y):
        self.rhs_calls += 1
        with np.errstate(all="ignore"):
            return np.array(self.system.call(self.t, y, *self.p), float)

    def jacobian(self, y):
        """df/dy: an array, or a sparse matrix of many states."""
        self.jac_calls += 1
        return entries(self.system, self.t, y, self.p)


def entries(system, t, y, p):
    """df/dy at a point: an array, or a sparse matrix of many states."""
    place, n = jacobian(system), system.n
    if place.graph is None:
        values = np.zeros(n * n)
        PythonKernels(system).jac(t, y, pack(p), values)
        return values.reshape(n, n)
    with np.errstate(all="ignore"):
        (values,) = eval_graph(place.graph, t, y, *p)
    if n > DENSE:
        from scipy.sparse import csc_array  # noqa: PLC0415  (imported late: it costs 0.1 s)

        return csc_array((np.asarray(values), (place.rows, place.columns)), shape=(n, n))
    matrix = np.zeros((n, n))
    matrix[place.rows, place.columns] = values
    return matrix


def solved(matrix, shift, b):
    """x with (shift - matrix) x = b; None if that has no solution that is finite."""
    if isinstance(matrix, np.ndarray):
        try:
            x = np.linalg.solve(shift * np.eye(len(b)) - matrix, b)
        except np.linalg.LinAlgError:
            return None
    else:
        from scipy.sparse import eye_array  # noqa: PLC0415
        from scipy.sparse.linalg import splu  # noqa: PLC0415

        try:
            x = splu((shift * eye_array(len(b), format="csc") - matrix).tocsc()).solve(b)
        except RuntimeError:
            return None
    return x if np.all(np.isfinite(x)) else None


# ---------------------------------------------------------------- conserved quantities
def sample_points(rest, y0, count=SAMPLES):
    """States near y0, none of whose components is 0 as a rule, at which f and its Jacobian are finite; none if they are hard to find."""
    rng, scale = np.random.default_rng(1988), np.max(np.abs(y0), initial=0.0) or 1.0
    for far in SAMPLED:
        tried = [y0 * np.exp(far * rng.normal(size=y0.shape)) + 0.3 * far * scale * rng.random(y0.shape) for _ in range(2 * count)]
        found = [y for y in tried if np.all(np.isfinite(rest.f(y))) and np.all(np.isfinite(rest.jacobian(y)))]
        if len(found) >= count:
            return found[:count]
    return []


def spanning(rest, laws, y0):
    """States, and weights C: the products of C with f at these states span, orthonormal, all rates that keep the ``laws``; None without."""
    rank = rest.n - len(laws)
    points = sample_points(rest, y0, 2 * rank)
    if not points:
        return None
    _, s, v = np.linalg.svd(np.stack([rest.f(y) for y in points], axis=1), full_matrices=False)
    return (points, v[:rank].T / s[:rank]) if s[rank - 1] > EXACT * s[0] else None


def conserved(rest, y0):
    """Orthonormal rows W with W f = 0 everywhere: linear quantities that the dynamics keep.  None are looked for among many states."""
    if rest.n > DENSE:
        return np.zeros((0, rest.n))
    points = sample_points(rest, y0)
    if not points:
        return np.zeros((0, rest.n))
    columns = np.concatenate([*[rest.jacobian(y) for y in points], *[rest.f(y)[:, None] for y in points]], axis=1)
    size = np.linalg.norm(columns, axis=0)
    columns = columns[:, size > 0] / size[size > 0]
    if not columns.shape[1]:
        return np.eye(rest.n)
    u, s, _ = np.linalg.svd(columns, full_matrices=True)
    rank = int(np.sum(s > LAW * s[0]))
    rows = u[:, rank:].T
    return rows if kept(rest, rows, points) is None else np.zeros((0, rest.n))


def kept(rest, rows, points):
    """Number of the first row that is not conserved; None if all are."""
    for f in map(rest.f, points):
        wrong = np.abs(rows @ f) > EXACT * (np.abs(rows) @ np.abs(f))
        if np.any(wrong):
            return int(np.flatnonzero(wrong)[0])
    return None


def given(rest, conservation, y0):
    """Orthonormal rows of the user's conserved quantities.

    Raises
    ------
    InputError
        Their shape is wrong, or one is not conserved.
    """
    rows = np.atleast_2d(np.asarray(conservation, float))
    if rows.shape[1:] != (rest.n,):
        raise InputError(f"steady_state: conservation must have rows of {rest.n} weights, one for each component, not shape {rows.shape}")
    wrong = kept(rest, rows, [y0, *sample_points(rest, y0)])
    if wrong is not None:
        raise InputError(f"steady_state: row {wrong} of conservation is not conserved: its product with fun(t, y) is not 0")
    q, r = np.linalg.qr(rows.T)
    if np.min(np.abs(np.diag(r)), initial=np.inf) <= LAW * np.max(np.abs(rows), initial=0.0):
        raise InputError("steady_state: the rows of conservation depend on each other")
    return q.T


# ---------------------------------------------------------------- iterations
def pseudo_transient(rest, y, laws, rtol, maxiter):
    """The steady state that the solution from y leads to, and the number of steps.

    Raises
    ------
    ConvergenceError
        It was not reached; the error's ``state`` is the last one.
    """
    start, f = y, rest.f(y)
    if not np.all(np.isfinite(f)):
        raise _failed(f"fun is not finite at y0 (component {int(np.argmin(np.isfinite(f)))})", y, f)
    seen, time, grown = float(np.max(np.abs(y), initial=0.0)), 0.0, 0
    d = 1e-3 / max(float(np.max(np.abs(f) / _weight(y, y, seen))), 1e-300)
    candidate = None
    for step in range(maxiter):
        if not np.any(f):
            return y, step
        dy = solved(rest.jacobian(y), 1.0 / d, f)
        trial = y + dy if dy is not None else y
        f_new = rest.f(trial) if dy is not None else np.full_like(y, np.nan)
        error = float(np.max(np.abs(d * f_new - dy) / _weight(y, trial, seen))) / CLOSE if np.all(np.isfinite(f_new)) else np.inf
        if not error <= 1.0:
            d, grown = d * max(SHRINK, 0.8 / np.sqrt(error)), 0
            if d <= 1e-300 or d < EPS * time:
                raise _failed(f"no step from pseudo-time {time:.3g} on, however small, follows the solution", y, f)
            continue
        move = float(np.max(np.abs(dy) / _weight(y, trial, seen)))
        y, f, time, grown, seen = trial, f_new, time + d, grown + 1, max(seen, float(np.max(np.abs(trial))))
        d = min(d * min(GROW, 0.8 / np.sqrt(max(error, 1e-6))), 1e300)
        if move < TRY and grown > 1:
            found = newton(rest, y, start, laws, rtol, seen=seen)
            if found is not None:
                if abscissa(rest.jacobian(found), laws) <= 0.0 or np.max(np.abs(found - y) / _weight(y, found, seen)) < 1e-6:
                    return found, step + 1
                candidate = found
    if candidate is not None:
        return candidate, maxiter
    worst = int(np.argmax(np.abs(f) / _weight(y, y, seen)))
    raise _failed(f"after {maxiter} steps, at pseudo-time {time:.3g}, the state still moves: y[{worst}] = {y[worst]:.3g} changes at a rate "
                  f"of {f[worst]:.3g}. The solution may oscillate, grow or drift; simulate it to see", y, f)


def _weight(a, b, seen):
    """Sizes of components, none of them 0; ``seen`` is the largest component met so far."""
    size = np.maximum(np.abs(a), np.abs(b))
    return size + (max(FLOOR * float(np.max(size)), NOTHING * seen) or FLOOR)


def _failed(reason, y, f):
    error = ConvergenceError(f"steady_state: {reason}", float(np.max(np.abs(f))))
    error.state = y
    return error


def newton(rest, y, start, laws, rtol, near=NEAR, seen=0.0):
    """Newton's method for f = 0 and the start's conserved quantities, until its steps are rounding; None if it leads nowhere."""
    matrix, last = None, np.inf
    for turn in range(NEWTON):
        f = rest.f(y)
        if not np.all(np.isfinite(f)):
            return None
        matrix = rest.jacobian(y)
        stiff = float(np.max(np.abs(matrix))) if matrix.size else 1.0
        if len(laws):
            matrix, f = matrix - stiff * laws.T @ laws, f - stiff * laws.T @ (laws @ (y - start))
        dy = solved(matrix, 0.0, f)
        if dy is None or (turn == 0 and np.max(np.abs(dy) / _weight(y, y + dy, seen)) > near):
            return None
        y = y + dy
        size = float(np.max(np.abs(dy) / (np.abs(y) + FLOOR * EPS * (max(np.max(np.abs(y)), seen) or 1.0) + 1e-300)))
        if size <= 16 * EPS or (size <= rtol and size >= 0.5 * last):
            return y
        if size > 1e3 and size > 10 * last:
            return None
        last = size
    return y if last <= rtol else None


# ---------------------------------------------------------------- stability
def reduced(matrix, laws):
    """The Jacobian of the motion that keeps the conserved quantities."""
    if not len(laws):
        return matrix
    basis = np.linalg.svd(laws, full_matrices=True)[2][len(laws) :]
    return basis @ matrix @ basis.T


def abscissa(matrix, laws):
    """Largest real part of the eigenvalues of the motion that keeps the conserved quantities; -inf if there is none, NaN if unknown."""
    if not isinstance(matrix, np.ndarray):
        return np.nan
    inner = reduced(matrix, laws)
    if not inner.size:
        return -np.inf
    return float(np.max(np.linalg.eigvals(inner).real)) if np.all(np.isfinite(inner)) else np.nan

"""A Gauss-Newton method for least squares under equations, with sparse Jacobians.

First the equations c = 0 are wishes: |r|^2 + |c / w|^2 is lowered, by damped steps, for widths w that shrink; so a chaotic solution is
joined together bit by bit.  Then they are conditions: a step minimises |r + R d|^2 + lambda |d|_D^2 under c + C d = 0, R and C the
Jacobians, and is shortened until it lowers |r|^2 / 2 + mu |c|_1 enough, mu above the multipliers.  Either step solves a system with the
matrix [R^T R + lambda D, C^T; C, -w^2], whose inverse, at the end, holds the covariance of the unknowns under the conditions.

Sources: Bock (1981), as in ``multiple_shooting.py``; Nocedal & Wright, Numerical Optimization, 2nd ed. (2006), 17.1 and 18.4; for the
damping Marquardt, J. Soc. Ind. Appl. Math. 11 (1963) 431-441; shrinking widths:
Quinn & Abarbanel, Q. J. R. Meteorol. Soc. 136 (2010) 1855-1867.
"""

import numpy as np

from diffsim.errors import ConvergenceError

__all__ = ["ShootingResult", "constrained"]

#: Part of the predicted decrease a step must bring, and how far it is shortened for that.
ENOUGH, SHORTEST = 1e-4, 2.0**-12
#: Damping: at first, at most, by how much it changes.
DAMPED, TOO_DAMPED, MORE, LESS = 1e-4, 1e12, 10.0, 0.1
#: A variance this small beside the square of its number is rounding.
FAINT = 1e-14
#: Widths of the wishes, as parts of the sizes of the states; steps for each at most, and how small a step ends them.
WIDTHS, TURNS, SETTLED = tuple(10.0 ** (-0.5 * k) for k in range(2, 9)), 12, 0.03


class ShootingResult:
    """A fit by multiple shooting.

    Attributes
    ----------
    params : pytree
        Like the first guess.
    states : ndarray, shape (windows, n)
        At the starts of the windows.
    stderr : pytree
        Standard errors of params, from the linearised fit and the sigma given; NaN where the data do not determine them.
    cost : float
        Half the sum of squares of the residuals.
    residuals : ndarray
    defect : float
        Largest distance between the end of a window and the start of the next.
    steps : int
    success : bool
    message : str
    """

    __slots__ = ("cost", "defect", "message", "params", "residuals", "states", "stderr", "steps", "success")

    def __init__(self, **told):
        for name, value in told.items():
            setattr(self, name, value)

    def __repr__(self):
        names = ("params", "stderr", "cost", "defect", "steps", "success", "message")
        return "\n".join(f"{name:>9}: {getattr(self, name)}" for name in names)


class _Point:
    """Residuals and conditions at some unknowns."""

    def __init__(self, problem, z):
        self.z = z
        self.r, self.c = problem.evaluate(z)
        self.fine = bool(np.all(np.isfinite(self.r)) and np.all(np.isfinite(self.c)))


class _Wishes:
    """The misfit and the defects in units of their widths."""

    def __init__(self, widths):
        self.squares = widths**2

    def merit(self, point):
        return 0.5 * float(point.r @ point.r + point.c @ (point.c / self.squares))

    def slope(self, point, slopes, d, multipliers):
        return float((slopes[0].T @ point.r + slopes[1].T @ (point.c / self.squares)) @ d)


class _Conditions:
    """The misfit and the sizes of the defects, weighted above their multipliers."""

    def __init__(self, count):
        self.squares, self._weight = np.zeros(count), 0.0

    def merit(self, point):
        return 0.5 * float(point.r @ point.r) + self._weight * float(np.sum(np.abs(point.c)))

    def slope(self, point, slopes, d, multipliers):
        self._weight = max(self._weight, 2.0 * _largest(multipliers))
        return float((slopes[0].T @ point.r) @ d) - self._weight * float(np.sum(np.abs(point.c)))


class _Way:
    """Where a fit is, and how it goes on."""

    def __init__(self, problem, verbose):
        self.problem, self.verbose, self.steps, self.damping = problem, verbose, 0, DAMPED
        self.here = _Point(problem, problem.start)
        if not self.here.fine:
            raise ConvergenceError("shooting: a window cannot be solved from the first guess; take shorter windows, or give other params "
                                   "or states")
        self.scale = _scales(problem)

    def step(self, goal):
        """Go on by one step; returns how far it led, relative to each unknown, or None where none lowers the goal."""
        here, slopes = self.here, self.problem.jacobian(self.here.z)
        while self.damping < TOO_DAMPED:
            d, multipliers = _direction(here, slopes, self.damping, goal.squares)
            slope = 0.0 if d is None else goal.slope(here, slopes, d, multipliers)
            before, part = goal.merit(here), 1.0
            while slope < 0.0 and part >= SHORTEST:
                there = _Point(self.problem, here.z + part * d)
                if there.fine and goal.merit(there) <= before + ENOUGH * part * slope + 1e-14 * abs(before):
                    self.damping = max(self.damping * LESS, 1e-14) if part == 1.0 else self.damping
                    return self._moved(there)
                part *= 0.5
            self.damping *= MORE
        self.damping = DAMPED
        return None

    def _moved(self, there):
        far = float(np.max(np.abs(there.z - self.here.z) / (np.abs(there.z) + self.scale)))
        self.here, self.steps = there, self.steps + 1
        if self.verbose:
            print(f"step {self.steps}: cost {0.5 * float(there.r @ there.r):.8g}, defect {_largest(there.c):.2e}, moved {far:.2e}, "
                  f"damping {self.damping:.0e}")
        return far


def constrained(problem, tol, maxiter, verbose):
    """Minimise the residuals of a :class:`Shooting` under its conditions."""
    way = _Way(problem, verbose)
    sizes = np.tile(way.scale[-problem.n :] / SMALL, len(way.here.c) // problem.n)
    if len(sizes):
        for width in WIDTHS:
            _wish(way, _Wishes(width * sizes))
    goal = _Conditions(len(way.here.c))
    for _ in range(maxiter):
        moved = way.step(goal)
        joined = bool(np.all(np.abs(way.here.c) <= tol * sizes)) if len(sizes) else True
        if moved is None:
            near = joined and _nothing_left(way, tol)
            return _result(way, near, "only rounding is left" if near else "no step, however short, lowers misfit and defects")
        if moved <= tol and joined:
            return _result(way, True, "a step changed nothing any more")
    return _result(way, False, f"{maxiter} steps did not settle it")


def _wish(way, goal):
    """Lower misfit and wishes until a step changes little."""
    for _ in range(TURNS):
        moved = way.step(goal)
        if moved is None or moved <= SETTLED:
            return


def _nothing_left(way, tol):
    """Whether the next step, undamped, would be rounding."""
    d, _ = _direction(way.here, way.problem.jacobian(way.here.z), 0.0, np.zeros(len(way.here.c)))
    return d is not None and float(np.max(np.abs(d) / (np.abs(way.here.z) + way.scale))) <= np.sqrt(tol)


#: Part of the largest state below which a change of a state counts as small.
SMALL = 1e-3


def _scales(problem):
    """Sizes beside which a change of an unknown is small: nothing for numbers of params, for states a part of the largest."""
    _, states = problem.unpack(problem.start)
    sizes = np.max(np.abs(states), axis=0)
    free = (len(problem.start) - problem.numbers) // problem.n
    return np.concatenate([np.full(problem.numbers, 1e-300), np.tile(SMALL * np.where(sizes > 0, sizes, 1.0), free)])


def _largest(c):
    return float(np.max(np.abs(c), initial=0.0))


def _matrix(slopes, damping, squares):
    """The symmetric matrix of a step, sparse."""
    from scipy.sparse import block_array, csc_array, diags_array  # noqa: PLC0415  (imported late: it costs 0.1 s)

    by_r, by_c = slopes
    normal = (by_r.T @ by_r).tocsc()
    weights = normal.diagonal()
    weights = np.maximum(weights, 1e-12 * (np.max(weights, initial=0.0) or 1.0))
    normal = csc_array(normal + diags_array(damping * weights))
    return csc_array(block_array([[normal, by_c.T], [by_c, -diags_array(squares)]])) if len(squares) else normal


def _direction(here, slopes, damping, squares):
    """The step and the multipliers; None where the matrix is singular."""
    from scipy.sparse.linalg import splu  # noqa: PLC0415

    right = -np.concatenate([slopes[0].T @ here.r, here.c])
    try:
        both = splu(_matrix(slopes, damping, squares)).solve(right)
    except RuntimeError:
        return None, None
    return (both[: len(here.z)], both[len(here.z) :]) if np.all(np.isfinite(both)) else (None, None)


def _result(way, success, message):
    here = way.here
    params, states = way.problem.unpack(here.z)
    return ShootingResult(params=params, states=states, stderr=_errors(way.problem, here), cost=0.5 * float(here.r @ here.r),
                          residuals=here.r, defect=_largest(here.c), steps=way.steps, success=success, message=message)


def _errors(problem, here):
    """Standard errors of params."""
    from scipy.sparse.linalg import splu  # noqa: PLC0415

    q, slopes = problem.numbers, problem.jacobian(here.z)
    unit = np.zeros((len(here.z) + len(here.c), q))
    unit[np.arange(q), np.arange(q)] = 1.0
    try:
        variance = np.diag(splu(_matrix(slopes, 0.0, np.zeros(len(here.c)))).solve(unit)[:q]) if q else np.zeros(0)
    except RuntimeError:
        variance = np.full(q, np.nan)
    variance = np.where(np.abs(variance) <= FAINT * here.z[:q] ** 2, np.abs(variance), variance)
    with np.errstate(invalid="ignore"):
        z = np.concatenate([np.sqrt(variance), here.z[q:]])
    return problem.unpack(z)[0]

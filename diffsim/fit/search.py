"""The search for the minimum: a trust region with exact Jacobians, then Gauss-Newton steps down to rounding."""

from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from ..errors import FitError
from ..optimize.scipy_bridge import cosine, gauss_newton_step, solve_least_squares, stationary

__all__ = ["METHODS", "Point", "Search", "free_to_move", "polish", "search"]

METHODS = ("auto", "trf", "dogbox", "lm")
TIGHTEST = 1e-15               # SciPy refuses tolerances below the spacing of numbers at 1
POLISH_STEPS = 12
PATIENCE = 2                   # steps without gain before polishing ends; some problems approach in a zigzag
EVALUATIONS = 1000             # of the residuals for each parameter; NIST's Bennett5 and MGH17 need more than SciPy's 100
REWEIGHTINGS = 100
PATIENT = 2.0                  # seconds before a progress bar shows; on a terminal only
SNAP = 1e-3                    # a bound is near if going there changes the residuals by less than this part of their length
NEAR = 1e-8                    # or if it is this close, relative to its size


@dataclass
class Search:
    """Where the search for the minimum stands.

    Attributes
    ----------
    z : ndarray, shape (n_free,)
    sigma : ndarray, shape (n_obs,)
        Current estimates of the standard deviations; 1 for all if one sigma is common, or if sigma is known.
    cosine : float
        Largest |cosine| between the residuals and a column of the Jacobian that is free to move.
    success : bool
    message : str
    """

    z: np.ndarray
    sigma: np.ndarray
    cosine: float = np.nan
    success: bool = False
    message: str = ""


def search(problem, box, method, max_nfev):
    """Minimise the misfit of a problem.

    Parameters
    ----------
    problem : Problem
        The weights of ``problem.rows`` are left as they are at the minimum.
    box : (ndarray, ndarray)
        Bounds of the free vector.
    method : str
        One of METHODS.
    max_nfev : int or None

    Returns
    -------
    Search

    Raises
    ------
    SolveError
        The residuals cannot be evaluated at the start, or their Jacobian on the way.
    FitError
        A sigma is to be estimated from residuals that are all zero.
    """
    precision = problem.model.precision(problem.tolerances["rtol"])
    # Below a hundredth of the solver's tolerance the sum of squares is noise, and a trust region only shrinks in it.
    tolerance = max(TIGHTEST, 1e-2 * precision)
    options = {"method": "trf" if method == "auto" else method, "ftol": tolerance, "xtol": tolerance, "gtol": TIGHTEST,
               "x_scale": "jac", "max_nfev": EVALUATIONS * problem.parameters.start().size if max_nfev is None else max_nfev}
    rows, noise = problem.rows, problem.noise
    found = Search(z=problem.parameters.start(), sigma=np.ones(len(problem.names)))
    rows.weights = np.ones(problem.n_data) if problem.estimated else 1.0 / problem.sigma
    with tqdm(desc="fit", unit=" evaluations", delay=PATIENT, disable=None, leave=False) as bar:
        rows.watch = bar.update
        try:
            rows.start()
            _minimise(rows, found, box, options)
            if problem.estimated and noise.per_observable:
                _reweight(problem, found, box, options, max(1e-12, precision))
        finally:
            rows.watch = None
    return found


def _reweight(problem, found, box, options, tolerance):
    """Alternate between the sigma of each observable and the parameters, to the fixed point: the maximum of the likelihood."""
    rows = problem.rows
    for _ in range(REWEIGHTINGS):
        sigma = _spread(rows(found.z) / rows.weights, problem)
        change = np.max(np.abs(sigma / found.sigma - 1.0))
        found.sigma = sigma
        rows.weights = (1.0 / sigma)[problem.column]
        if change < tolerance:
            return
        _minimise(rows, found, box, options)
    found.success, found.message = False, f"the standard deviations still moved after {REWEIGHTINGS} reweightings"


def _spread(residuals, problem):
    """Root mean square of the residuals of each observable."""
    n_obs = len(problem.names)
    counts = np.bincount(problem.column, minlength=n_obs)
    sigma = np.sqrt(np.bincount(problem.column, residuals**2, n_obs) / np.maximum(counts, 1))
    sigma[counts == 0] = 1.0
    if np.any(sigma == 0.0):
        name = problem.names[int(np.flatnonzero(sigma == 0.0)[0])]
        raise FitError(f"fit: the model goes exactly through the data of {name}, so their sigma cannot be estimated; give sigma")
    return sigma


def _minimise(rows, found, box, options):
    result = solve_least_squares(rows, found.z, box, **options)
    end = polish(rows, np.asarray(result.x), box, result.active_mask != 0)
    found.z, found.cosine, found.message = end.z, end.cosine, result.message
    # Whatever stopped the trust region, the polished point is a minimum or it is not.
    found.success = stationary(end.z, end.r, end.jac, end.free)
    if result.success and not found.success:
        found.message = f"stopped where the residuals still slope (cosine {end.cosine:.1e}): {result.message}"


def polish(rows, z, box, active=None):
    """The point of least gradient among a few Gauss-Newton steps from near the minimum.

    Trust regions compare sums of squares, which are flat to rounding while the gradient is not: with these steps the NIST StRD estimates
    gain two to four digits.  Trust regions also stop just inside a bound; the point is first moved onto bounds it is pressed against.

    Parameters
    ----------
    rows : diffsim.optimize.Residuals
    z : ndarray, shape (n,)
    box : (ndarray, ndarray)
    active : ndarray of bool, shape (n,), optional
        Entries the trust region says are at a bound.

    Returns
    -------
    Point
    """
    here = _on_bounds(rows, Point(rows, z, box), box, np.zeros(z.shape, dtype=bool) if active is None else active)
    best, worse = here, 0
    for _ in range(POLISH_STEPS):
        if not np.any(here.free) or here.cosine == 0.0:
            break
        there = Point(rows, np.clip(here.z + gauss_newton_step(here.r, here.jac, here.free), *box), box)
        if not there.usable or there.cost > best.cost * (1.0 + 1e-8):
            break
        worse = 0 if there.cosine < best.cosine else worse + 1
        best, here = there if worse == 0 else best, there
        if worse == PATIENCE:
            break
    return best


class Point:
    """Residuals, Jacobian and gradient at one free vector.

    Attributes
    ----------
    z, r, jac, gradient : ndarray
    cost : float
        Sum of squares.
    free : ndarray of bool, shape (n,)
        Which entries no bound holds.
    cosine : float
        Largest |cosine| between the residuals and a column of the Jacobian that is free to move: 0 at a minimum, free of units.
    usable : bool
        Whether the residuals could be evaluated; nothing else is set otherwise.
    """

    def __init__(self, rows, z, box):
        self.z, self.r = z, rows(z)
        self.usable = bool(np.all(np.isfinite(self.r)))
        if not self.usable:
            return
        self.jac = rows.jac(z)
        self.cost = float(self.r @ self.r)
        self.gradient = self.jac.T @ self.r
        self.free = free_to_move(z, self.gradient, box)
        self.cosine = cosine(self.r, self.jac, self.free)


def _on_bounds(rows, point, box, active):
    """The point with entries moved onto bounds that are near and that the gradient presses against, before and after the move.

    The sums of squares of the two points say nothing: rounding, and the steps a solver happens to take, change them by more.
    """
    lengths = np.linalg.norm(point.jac, axis=0)
    reach = SNAP * np.sqrt(point.cost) / np.where(lengths > 0, lengths, np.inf)
    bound = np.where(point.gradient > 0, box[0], box[1])
    finite = np.isfinite(bound)
    away = np.abs(point.z - np.where(finite, bound, 0.0))
    near = finite & (point.gradient != 0) & ((away < reach) | active | (away <= NEAR * np.abs(np.where(finite, bound, 0.0))))
    while np.any(near & (away > 0)):
        there = Point(rows, np.where(near, bound, point.z), box)
        if not there.usable:
            break
        if not np.any(near & there.free):
            return there
        near &= ~there.free                               # the minimum lies between the two points: leave that entry inside
    return point


def free_to_move(z, gradient, box):
    """Which entries are not held at a bound by the gradient; ndarray of bool, shape (n,)."""
    return ~((z <= box[0]) & (gradient > 0) | (z >= box[1]) & (gradient < 0))

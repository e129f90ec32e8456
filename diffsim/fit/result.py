"""The result of a fit: estimates with their uncertainty, the likelihood, predictions, report and picture."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import UnknownNameError
from .derived import derive
from .model import Model
from .plot import draw
from .prediction import Prediction
from .report import html, text
from .search import free_to_move
from .statistics import correlations, covariance, gaussian_log_likelihood, information_criteria, quantile

__all__ = ["Estimate", "Fit"]

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """One parameter after a fit.

    Attributes
    ----------
    name, unit, scale : str
    estimate : float
        In the user's unit.
    stderr : float
        Standard error in that unit; NaN if the parameter is fixed or held at a bound, inf if the data do not determine it.
    scale_stderr : float
        Standard error on the scale of the fit: of the logarithm if ``scale`` is "log".
    relative : float
        ``stderr / |estimate|``.
    interval : (float, float)
        95 % interval, symmetric on the scale of the fit.
    at_bound : str
        "lower", "upper" or "".
    vary : bool
    start, lower, upper : float
    """

    name: str
    estimate: float
    stderr: float
    scale_stderr: float
    relative: float
    interval: tuple
    at_bound: str
    vary: bool
    scale: str
    unit: str
    start: float
    lower: float
    upper: float


class Estimates(dict):
    """Estimates by name, in the model's order."""

    def __missing__(self, name):
        raise UnknownNameError(f"there is no parameter {name!r}; known are {', '.join(self)}")


class Fit:
    """Estimates of a model's parameters from data.

    Attributes
    ----------
    parameters : dict of name to Estimate
        All parameters of the model, in its order.
    values : dict of name to float
    p : record
        The estimates as the model reads them.
    free_names : tuple of str
        Parameters that varied: the order of the matrices.
    covariance : ndarray, shape (n_free, n_free)
        In the parameters' units; NaN for those held at a bound.
    scale_covariance : ndarray, shape (n_free, n_free)
        On the scale of the fit: of the logarithm for parameters with ``scale="log"``.
    correlations : ndarray, shape (n_free, n_free)
    residuals : ndarray, shape (n_data,)
        Prediction minus data on the scale of the noise model, observable by observable.
    rss : float
        Sum of their squares.
    chi2 : float
        Sum of squares of ``residuals / sigma`` if sigma is known, else NaN.
    sigma : float or dict of name to float or ndarray
        Standard deviation of the noise: as given (arrays over the data of an observable if the dataset has errors), or estimated with
        n_data - n_free degrees of freedom.
    sigma_known : bool
        Whether it was given: standard errors are then not scaled by the residuals, and intervals use the normal law, not Student's t.
    log_likelihood : float
        Of the data, at the maximum-likelihood sigma (n_data degrees of freedom) if sigma is estimated.
    n_data, n_free, n_estimated, dof : int
        Residuals; parameters that varied; these and the estimated sigmas; n_data - n_free.
    aic, bic : float
        With k = n_estimated: 2 k - 2 log L, and k log n_data - 2 log L.
    gradient : float
        Largest |cosine| of the residuals and the derivative by a parameter: 0 at a minimum.
    residual_calls, jac_calls, n_failed : int
    rhs_calls : int or None
        Of the fitted solution.
    time : float
        Seconds, compilation included.
    success : bool
    message : str
    notes : list of str
        What to know before believing the numbers.
    """

    def __init__(self, problem, found, seconds):
        rows = problem.rows
        self.problem, self.z = problem, found.z
        self.success, self.message, self.gradient = found.success, found.message, found.cosine
        self.residual_calls, self.jac_calls, self.n_failed = rows.residual_calls, rows.jac_calls, rows.failed
        self.time = seconds
        self.free_names = tuple(p.name for p in problem.parameters.free)
        self.n_data, self.n_free = problem.n_data, len(self.free_names)
        self.dof = self.n_data - self.n_free

        weighted, jac = rows(found.z), rows.jac(found.z)
        self.residuals = weighted / rows.weights
        self.rss = float(self.residuals @ self.residuals)
        self._noise(problem, found.sigma, float(weighted @ weighted))
        box = problem.parameters.box()
        moving = free_to_move(self.z, jac.T @ weighted, box)
        self.held = {n: "lower" if z <= lower else "upper"
                     for n, z, lower, m in zip(self.free_names, self.z, box[0], moving, strict=True) if not m}
        self.values = {name: float(v) for name, v in problem.parameters.at(self.z)._asdict().items()}
        # The exponential of the logarithm of a bound may miss it by a rounding; what is reported is the bound.
        self.values |= {name: getattr(problem.parameters[name], side) for name, side in self.held.items()}
        self.p = problem.parameters.record(**self.values)
        self._uncertainty(problem, jac, moving)
        self.notes = self._notes(problem)

    def _noise(self, problem, weights_sigma, weighted_rss):
        """Sigma, likelihood and information criteria."""
        noise, names, column = problem.noise, problem.names, problem.column
        self.sigma_known = not problem.estimated
        if self.sigma_known:
            self.variance, self.chi2, n_sigma, likely = 1.0, weighted_rss, 0, problem.sigma
            if noise.sigma is None:
                self.sigma = {name: problem.sigma[column == i] for i, name in enumerate(names)}
            else:
                self.sigma = {n: float(noise.sigma[n]) for n in names} if isinstance(noise.sigma, dict) else float(noise.sigma)
        else:
            self.variance, self.chi2 = weighted_rss / self.dof, np.nan
            reported = weights_sigma * np.sqrt(self.variance)
            self.sigma = dict(zip(names, map(float, reported), strict=True)) if noise.per_observable else float(reported[0])
            n_sigma = len(set(column)) if noise.per_observable else 1
            likely = (weights_sigma * np.sqrt(weighted_rss / self.n_data))[column]
        self.n_estimated = self.n_free + n_sigma
        if np.any(likely == 0.0):                         # the model goes exactly through the data
            self.log_likelihood = np.inf
        else:
            self.log_likelihood = gaussian_log_likelihood(self.residuals, likely) + noise.log_jacobian(problem.data)
        self.aic, self.bic = information_criteria(self.log_likelihood, self.n_estimated, self.n_data)

    def _uncertainty(self, problem, jac, moving):
        """Covariance, correlations and the table of estimates."""
        free = problem.parameters.free
        cov = covariance(jac[:, moving], self.variance)
        n = self.n_free
        self.scale_covariance = np.full((n, n), np.nan)
        self.scale_covariance[np.ix_(moving, moving)] = cov.matrix
        self.factor = np.zeros((n, cov.factor.shape[1]))
        self.factor[moving] = cov.factor
        self.lost = np.zeros((n, cov.lost.shape[1]))
        self.lost[moving] = cov.lost
        self.blind = np.zeros(n, dtype=bool)
        self.blind[moving] = cov.blind
        slope = np.array([p.slope(self.values[p.name]) for p in free])
        self.covariance = self.scale_covariance * np.outer(slope, slope)
        self.correlations = correlations(self.scale_covariance)
        half = self.quantile(LEVEL)
        self.parameters = Estimates()
        for p in problem.parameters:
            i = self.free_names.index(p.name) if p.vary else None
            self.parameters[p.name] = self._estimate(p, i, self.held.get(p.name, ""), half)

    def _estimate(self, p, i, at_bound, half):
        value = self.values[p.name]
        scale_stderr = np.nan if i is None else float(np.sqrt(self.scale_covariance[i, i]))
        stderr = scale_stderr * abs(p.slope(value))
        relative = stderr / abs(value) if value else np.nan
        edges = (np.nan, np.nan) if i is None else (self.z[i] - half * scale_stderr, self.z[i] + half * scale_stderr)
        if p.scale == "log":
            with np.errstate(over="ignore"):              # an undetermined parameter has the interval (0, inf)
                edges = np.exp(edges)
        interval = (float(edges[0]), float(edges[1]))
        return Estimate(p.name, value, stderr, scale_stderr, relative, interval, at_bound,
                        vary=p.vary, scale=p.scale, unit=p.unit, start=p.start, lower=p.lower, upper=p.upper)

    def _notes(self, problem):
        notes = []
        blind = [n for n, b in zip(self.free_names, self.blind, strict=True) if b]
        if blind:
            notes.append(f"the data do not determine {', '.join(blind)}: some change of them leaves every prediction as it is")
        for e in self.parameters.values():
            if e.at_bound:
                notes.append(f"{e.name} is held at its {e.at_bound} bound; the other standard errors take it as fixed there")
        if self.n_failed:
            notes.append(f"the search met {problem.rows.failures()}")
        return notes

    def quantile(self, level):
        """Half-width of a two-sided interval in standard errors: Student's t with n - p degrees of freedom; normal if sigma is known."""
        return quantile(level, None if self.sigma_known else self.dof)

    def sigma_of(self, name):
        """Standard deviation of the noise of one observable; an array over its data if the dataset has errors."""
        return self.sigma[name] if isinstance(self.sigma, dict) else self.sigma

    @cached_property
    def solution(self):
        """The fitted solution at the times of the data, as ``ds.solve_ivp`` returns it; None for a Curve."""
        if not isinstance(self.problem.model, Model):
            return None
        return self.problem.model.solve(self.p, self.problem.times, **self.problem.tolerances)

    @cached_property
    def rhs_calls(self):
        """Evaluations of the rhs in the fitted solution; None for a Curve."""
        return None if self.solution is None else self.solution.nfev

    def __getstate__(self):
        # A solution may hold compiled code; it is made again when asked for.  Its count belongs to the report.
        return {**{k: v for k, v in self.__dict__.items() if k != "solution"}, "rhs_calls": self.rhs_calls}

    def predict(self, t, level=LEVEL):
        """Observables at times ``t`` with bands of probability ``level``.

        Parameters
        ----------
        t : array_like, shape (n_t,)
            Not before the model's initial time.
        level : float

        Returns
        -------
        Prediction
            ``prediction["name"].value``, ``.lower``, ``.upper``, ``.data_lower``, ``.data_upper``.

        Raises
        ------
        InputError
            A time before the initial one, or a level that is no probability.
        """
        return Prediction(self, t, level)

    def derive(self, f, name=""):
        """A quantity computed from the parameters, with its standard error: ``result.derive(lambda p: p.beta / p.gamma, name="R0")``.

        Parameters
        ----------
        f : callable
            Of the record of parameters; plain NumPy, returns a number or an array of any shape.
        name : str
            For reports; by default that of ``f``.

        Returns
        -------
        Derived

        Raises
        ------
        InputError, InputTypeError
            The value is not finite, or not real numbers.

        Notes
        -----
        Delta method with the exact derivative of ``f``: Seber & Wild, Nonlinear Regression (1989), section 2.1.
        """
        return derive(self, f, name)

    def summary(self, width=80):
        """The report as text: estimates, correlations, statistics, counts.

        Parameters
        ----------
        width : int
            Columns of the page; the table of estimates leaves out what it has no room for (the HTML report has everything).
        """
        return text(self, width)

    def __repr__(self):
        return self.summary()

    def _repr_html_(self):
        return html(self)

    def plot(self, figure=None, level=LEVEL, log=None):
        """Data, fitted curves with bands, and residuals.

        Parameters
        ----------
        figure : matplotlib.figure.Figure or SubFigure, optional
            Where to draw, of any size; a new one by default, which notebooks show.
        level : float
            Probability of the bands.
        log : bool, optional
            Logarithmic axes for the observables; by default with log-normal noise.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        InputError
            Logarithmic axes are asked for data that are not positive.
        InputTypeError
            ``figure`` is no figure, axes for instance.

        Notes
        -----
        pyplot is not used, so a script opens no window by itself: write a file with ``result.plot().savefig("fit.png")``, or hand over a
        figure of pyplot's, ``result.plot(figure=plt.figure(figsize=(8, 6)))``, and call ``plt.show()``.
        """
        return draw(self, figure, level, log)

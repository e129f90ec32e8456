"""Predictions of a fitted model with bands by the delta method."""

from typing import NamedTuple

import numpy as np

from .. import api
from ..errors import InputError, UnknownNameError
from .statistics import undetermined

__all__ = ["PredictedCurve", "Prediction"]


class PredictedCurve(NamedTuple):
    """One observable over time; arrays of shape (n_t,).

    ``lower`` to ``upper`` holds the curve itself with the probability asked for, ``data_lower`` to ``data_upper`` a new measurement (NaN
    if the dataset has an error for each value: nobody knows that of a new one).
    """

    value: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    data_lower: np.ndarray
    data_upper: np.ndarray


class Prediction:
    """Observables of a fitted model at given times, with uncertainty.

    Attributes
    ----------
    t : ndarray, shape (n_t,)
    names : tuple of str
    level : float
        Probability of the bands.
    stderr : dict of name to ndarray, shape (n_t,)
        Standard error of the curve on the scale of the noise model.

    Notes
    -----
    Delta method: with G = d prediction / d z on the scale of the noise model and the covariance C of the free vector z, the variance of
    the curve is diag(G C G^T), inf where it depends on what the data do not determine; a new measurement adds sigma^2.  Bands are
    symmetric on that scale.  Seber & Wild, Nonlinear Regression (1989), section 5.1.
    """

    def __init__(self, fit, t, level):
        self.t, self.level, self.names = np.asarray(t, dtype=np.float64), level, fit.problem.names
        if self.t.ndim != 1 or not self.t.size or not np.all(np.isfinite(self.t)):
            raise InputError(f"predict: t must be a vector of finite times, got {t!r}")
        if not 0.0 < level < 1.0:
            raise InputError(f"predict: level is a probability between 0 and 1, such as 0.95, got {level}")
        times, back = np.unique(self.t, return_inverse=True)
        noise = fit.problem.noise

        def on_noise_scale(z):
            return np.reshape(fit.problem.prediction(z, times), (-1,))

        shape = (len(self.names), times.size)
        centre = np.asarray(on_noise_scale(fit.z)).reshape(shape)[:, back]
        slope = np.asarray(api.jacobian(on_noise_scale)(fit.z))
        spread = np.sqrt(np.sum((slope @ fit.factor) ** 2, axis=1))
        spread[undetermined(slope, fit.lost)] = np.inf
        spread = spread.reshape(shape)[:, back]
        q = fit.quantile(level)
        self.stderr, self._curves = {}, {}
        for i, name in enumerate(self.names):
            sigma = fit.sigma_of(name)
            both = np.hypot(spread[i], sigma if np.ndim(sigma) == 0 else np.nan)
            edges = [noise.inverse(centre[i] + sign * q * width) for width in (spread[i], both) for sign in (-1.0, 1.0)]
            self.stderr[name] = spread[i]
            self._curves[name] = PredictedCurve(noise.inverse(centre[i]), *edges)

    def __repr__(self):
        span = f"{self.t.size} times, {self.t.min():g} to {self.t.max():g}"
        return f"Prediction({', '.join(self.names)}; {span}; {100 * self.level:g} % bands)"

    def __getitem__(self, name):
        """Curve of one observable."""
        if name not in self._curves:
            raise UnknownNameError(f"the fit predicts {', '.join(self.names)}, not {name!r}")
        return self._curves[name]

"""How measurements scatter about the prediction: on which scale residuals are taken, and what the standard deviation is."""

import math
from dataclasses import dataclass

import numpy as np

from ..errors import InputError, InputTypeError

__all__ = ["LogNormal", "Normal"]


@dataclass(frozen=True)
class Normal:
    """Gaussian noise on the values: data = prediction + sigma e.

    Parameters
    ----------
    sigma : None, float, or dict of name to float
        Standard deviation, if it is known: one for all observables or one for each.  None: the errors of the dataset if it has any,
        else estimated from the residuals.
    per_observable : bool
        Estimate a standard deviation for each observable instead of one for all.

    Raises
    ------
    InputError
        A sigma is not positive, or it is both given and to be estimated per observable.
    """

    sigma: object = None
    per_observable: bool = False
    title = "normal"
    scale_name = ""

    def __post_init__(self):
        given = () if self.sigma is None else self.sigma.values() if isinstance(self.sigma, dict) else (self.sigma,)
        for s in given:
            if isinstance(s, (str, bool)) or not np.isscalar(s):
                raise InputTypeError(f"sigma must be a number or a dictionary of numbers by observable, got {self.sigma!r}")
            if not (math.isfinite(s) and s > 0):
                raise InputError(f"sigma must be positive and finite, got {s}")
        if given and self.per_observable:
            raise InputError("sigma is given, so there is nothing to estimate: leave out per_observable=True or sigma")

    @property
    def estimated(self):
        """Whether sigma comes from the residuals."""
        return self.sigma is None

    def transform(self, prediction):
        """The scale on which residuals are taken; traced values pass through."""
        return prediction

    def inverse(self, transformed):
        """Back from that scale."""
        return transformed

    def log_jacobian(self, data):
        """Sum of log |d transform / d data|: what the density of the data themselves has beyond that of the transformed data."""
        return 0.0

    def check(self, dataset):
        """Raise InputError if the noise model cannot produce these data."""

    def given_sigma(self, names):
        """Known standard deviations, ndarray, shape (n_obs,), in the order of ``names``.

        Raises
        ------
        InputError
            The dictionary lacks an observable or has one too many.
        """
        if not isinstance(self.sigma, dict):
            return np.full(len(names), float(self.sigma))
        if set(self.sigma) != set(names):
            raise InputError(f"sigma speaks of {', '.join(map(str, self.sigma))}, the data of {', '.join(names)}")
        return np.array([float(self.sigma[n]) for n in names])


@dataclass(frozen=True)
class LogNormal(Normal):
    """Gaussian noise on the logarithm: log data = log prediction + sigma e.  Sigma is then close to a relative error.

    Parameters
    ----------
    sigma, per_observable
        As for :class:`Normal`, on the natural logarithm.
    """

    title = "log-normal"
    scale_name = "log "

    def transform(self, prediction):
        return np.log(prediction)

    def inverse(self, transformed):
        return np.exp(transformed)

    def log_jacobian(self, data):
        return -float(np.sum(np.log(data)))

    def check(self, dataset):
        bad = dataset.present & ~(np.nan_to_num(dataset.values, nan=1.0) > 0)
        if np.any(bad):
            row, column = (int(k) for k in np.argwhere(bad)[0])
            value, when = dataset.values[row, column], dataset.t[row]
            raise InputError(f"LogNormal noise needs positive data, but {dataset.names[column]} is {value:g} "
                             f"at {dataset.time_name} = {when:g}; mark it as missing (NaN) or use Normal noise")

"""A model, a dataset and a noise model as residuals of a free vector."""

import copy
import pickle
from functools import cached_property

import numpy as np

from ..errors import FitError, InputError, InputTypeError, SolveError
from ..optimize import Residuals
from .dataset import Dataset
from .model import Curve, Model

__all__ = ["Problem"]


class Problem:
    """Residuals (prediction - data) on the scale of the noise model, as a function of the free vector.

    Data are ordered observable by observable, in time order; missing values are left out.

    Pickles and deep copies leave compiled code behind.  A pickle holds the model as bytes, read when it is first needed, so that a result
    can be read where the model cannot: a lambda, or a function of a script, has no name another process could import.

    Parameters
    ----------
    model : Model or Curve
    dataset : Dataset
    parameters : Parameters
    noise : Normal or LogNormal
    tolerances : dict
        ``rtol`` and ``atol`` of the solver.
    jit : bool

    Attributes
    ----------
    rows : diffsim.optimize.Residuals
    column : ndarray of int, shape (n_data,)
        Which observable a residual belongs to.
    sigma : ndarray, shape (n_data,), or None
        Known standard deviations: those of the noise model or the errors of the dataset.  None: estimated from the residuals.
    t : ndarray, shape (n_data,)
    """

    def __init__(self, model, dataset, parameters, noise, *, tolerances, jit):
        if not isinstance(model, (Model, Curve)):
            raise InputTypeError(f"fit: the model must be a ds.fit.Model or ds.fit.Curve, got {type(model).__name__}")
        if not isinstance(dataset, Dataset):
            raise InputTypeError(f"fit: the data must be a ds.fit.Dataset, got {type(dataset).__name__}")
        self._model = model.starting_at(dataset.t[0])
        self.jit = jit
        self.dataset, self.parameters, self.noise = dataset, parameters, noise
        self.tolerances, self.names = tolerances, dataset.names
        noise.check(dataset)
        self.times, place = np.unique(dataset.t, return_inverse=True)
        present = dataset.present.T
        self.column, row = np.nonzero(present)
        self.sigma = self._known_sigma(present)
        self.t = dataset.t[row]
        self.data = dataset.values.T[present]
        self.target = noise.transform(self.data)
        index = self.column * self.times.size + place[row]
        self.index = None if index.size == len(self.names) * self.times.size and np.all(np.diff(index) == 1) else index
        self._check_sizes()
        self.check_prediction()

    @property
    def model(self):
        """The model with its initial time.

        Raises
        ------
        InputError
            The problem comes from a pickle and its model cannot be read here.
        """
        if isinstance(self._model, bytes):
            try:
                self._model = pickle.loads(self._model)
            except (pickle.UnpicklingError, AttributeError, ImportError, TypeError, EOFError) as error:
                self._model = str(error)
        if isinstance(self._model, str):
            raise InputError(f"this fit was pickled and its model cannot be read here ({self._model}); the estimates and the report are "
                             "complete, but predictions, plots and solutions need a model made of functions a module defines by name")
        return self._model

    @cached_property
    def rows(self):
        """The residuals with their Jacobian, compiled at first use."""
        rows = Residuals(self.residual, self.parameters.start(), jit=self.jit)
        rows.describe = self.describe
        return rows

    def __getstate__(self):
        state = {k: v for k, v in self.__dict__.items() if k != "rows"}
        if not isinstance(self._model, (bytes, str)):
            try:
                state["_model"] = pickle.dumps(self._model)
            except (pickle.PicklingError, AttributeError, TypeError, ValueError) as error:
                state["_model"] = str(error)
        return state

    def __deepcopy__(self, memo):
        new = object.__new__(type(self))
        shared = {k: self.__dict__[k] for k in ("_model", "noise", "parameters")}         # none of them changes
        new.__dict__.update(shared, **{k: copy.deepcopy(v, memo) for k, v in self.__dict__.items() if k not in shared and k != "rows"})
        return new

    @property
    def n_data(self):
        """Number of residuals."""
        return self.target.size

    @property
    def estimated(self):
        """Whether sigma comes from the residuals."""
        return self.sigma is None

    def _known_sigma(self, present):
        noise, errors = self.noise, self.dataset.errors
        if errors is None:
            return None if noise.estimated else noise.given_sigma(self.names)[self.column]
        if noise.sigma is not None or noise.per_observable:
            raise InputError("fit: the dataset has errors, which are the sigma of each value; leave sigma and per_observable out of the "
                             "noise, or errors out of the dataset")
        return errors.T[present]

    def _check_sizes(self):
        free = self.parameters.free
        if not free:
            raise InputError("fit: every parameter has vary=False, so there is nothing to fit")
        needed = len(free) + 1 if self.estimated else len(free)
        if self.n_data < needed:
            also = " and the noise" if self.estimated else ""
            raise InputError(f"fit: {self.n_data} data cannot determine {len(free)} free parameters{also}; fix some with vary=False")

    def check_prediction(self):
        """Run the model once at the start, before anything is compiled.

        Raises
        ------
        FitError
            It cannot be simulated there.
        InputError
            It does not predict what was measured.
        """
        p = self.parameters.at(self.parameters.start())
        try:
            with np.errstate(all="ignore"):               # whether the numbers are usable is checked below
                predicted = self.model.predict(p, self.times, **self.tolerances)
        except SolveError as error:
            raise FitError(f"fit: the model cannot be simulated at the start ({listed(p)}): {error}") from error
        if isinstance(predicted, dict):
            missing = [n for n in self.names if n not in predicted]
            if missing:
                raise InputError(f"fit: the data have {', '.join(missing)}, which the model does not predict; it predicts "
                                 f"{', '.join(predicted)}. Rename the columns, choose them with Dataset.from_csv(columns=...), or give the "
                                 "model an observable")
        elif np.size(predicted) != len(self.names) * self.times.size or np.shape(predicted)[-1:] != self.times.shape:
            raise InputError(f"fit: the observable returned shape {np.shape(predicted)}; needed are {len(self.names)} rows "
                             f"({', '.join(self.names)}) of {self.times.size} times")
        with np.errstate(all="ignore"):
            bad = ~np.isfinite(self.noise.transform(self._matrix(predicted, self.times).astype(np.float64)))
        if np.any(bad):
            k, i = (int(v) for v in np.argwhere(bad)[0])
            raise FitError(f"fit: at the start ({listed(p)}) the prediction of {self.names[k]} at {self.dataset.time_name} = "
                           f"{self.times[i]:g} has no finite value on the scale of {self.noise.title} noise; start elsewhere")

    def _matrix(self, predicted, t):
        """Predictions as an array (n_obs, n_t)."""
        if isinstance(predicted, dict):
            return np.stack([predicted[n] for n in self.names])
        return np.reshape(predicted, (len(self.names), t.size))

    def prediction(self, z, t):
        """Prediction on the scale of the noise model at strictly increasing times, (n_obs, n_t); ``z`` may be traced."""
        return self.noise.transform(self._matrix(self.model.predict(self.parameters.at(z), t, **self.tolerances), t))

    def residual(self, z):
        """Residuals at a free vector, (n_data,), without division by sigma."""
        predicted = np.reshape(self.prediction(z, self.times), (-1,))
        if self.index is not None:
            predicted = predicted[self.index]
        return predicted - self.target

    def describe(self, i):
        """Which datum residual ``i`` belongs to, for messages."""
        return f"{self.names[self.column[i]]} at {self.dataset.time_name} = {self.t[i]:g}"


def listed(p):
    """Record of parameters in one line."""
    return ", ".join(f"{name} = {float(value):.6g}" for name, value in p._asdict().items())

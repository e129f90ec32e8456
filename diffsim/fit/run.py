"""From a model and data to a fit."""

import time

import numpy as np

from ..errors import FitError, InputError, InputTypeError, SolveError
from .dataset import Dataset
from .noise import Normal
from .problem import Problem, listed
from .result import Fit
from .search import METHODS, search

__all__ = ["fit"]


def fit(model, dataset, parameters=None, noise=None, *, method="auto", rtol=1e-9, atol=None, max_nfev=None, jit=True):
    """Estimate the parameters of a model from data by maximum likelihood.

    Parameters
    ----------
    model : Model or Curve
    dataset : Dataset
        Its columns are observables of the model.
    parameters : sequence of Parameter, optional
        Replace the model's parameters of the same name: other starts, bounds, ``vary=False``.
    noise : Normal or LogNormal, optional
        How the data scatter; ``Normal()`` by default: ordinary least squares, sigma estimated from the residuals.
    method : "auto", "trf", "dogbox" or "lm"
        Method of ``scipy.optimize.least_squares``; "auto" is "trf", which keeps bounds.
    rtol, atol : float, or array of shape (n_states,) for atol
        Tolerances of the solver; atol by default is 1e-11 of the size of each state, so that units do not matter.
    max_nfev : int, optional
        Most evaluations of the residuals the trust region may spend; 1000 for each parameter by default.
    jit : bool
        Compile residuals and Jacobian.

    Returns
    -------
    Fit

    Raises
    ------
    InputError, InputTypeError
        The parts do not fit together; the message names what and how to mend it.
    FitError
        The model cannot be simulated at the start.

    Notes
    -----
    Residuals are prediction minus data on the scale of the noise model.  With one estimated sigma the estimates minimise their sum of
    squares; with one sigma per observable, the concentrated likelihood sum_k n_k/2 log RSS_k, found by reweighting until the weights
    stand still (Seber & Wild, Nonlinear Regression, 1989, section 2.8).
    """
    started = time.perf_counter()
    noise = Normal() if noise is None else noise
    if isinstance(parameters, Normal):
        raise InputTypeError(f"fit: the third argument is the list of changed parameters; give the noise by name, noise={parameters!r}")
    if not isinstance(noise, Normal):
        raise InputTypeError(f"fit: noise must be ds.fit.Normal(...) or ds.fit.LogNormal(...), got {noise!r}")
    if method not in METHODS:
        raise InputError(f"fit: no method {method!r}; known are {', '.join(METHODS)}")
    if not hasattr(model, "parameters"):
        raise InputTypeError(f"fit: the model must be a ds.fit.Model or ds.fit.Curve, got {type(model).__name__}")
    everything = model.parameters if parameters is None else model.parameters.replaced(parameters)
    box = everything.box()
    if method == "lm" and np.any(np.isfinite(box)):
        raise InputError("fit: method lm keeps no bounds; use 'trf' or remove the bounds")

    if atol is None and isinstance(dataset, Dataset):
        start = everything.at(everything.start())
        atol = 1e-11 * model.scales(start, dataset)
    problem = Problem(model, dataset, everything, noise, tolerances={"rtol": rtol, "atol": atol}, jit=jit)
    try:
        found = search(problem, box, method, max_nfev)
    except SolveError as error:
        raise FitError(f"fit: {error} (start: {listed(everything.at(everything.start()))})") from error
    return Fit(problem, found, time.perf_counter() - started)

"""What a least-squares fit says about its parameters: covariance, correlations, likelihood, information criteria.

Sources: Seber & Wild, Nonlinear Regression (1989), chapters 2 and 5; Burnham & Anderson, Model Selection and Multimodel Inference
(2nd ed. 2002), sections 2.2 and 6.4.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri, stdtrit

__all__ = ["Covariance", "correlations", "covariance", "gaussian_log_likelihood", "information_criteria", "propagated", "quantile",
           "undetermined"]

LOST = 1e3                     # a direction is lost below this many roundings of the largest singular value


class Covariance(NamedTuple):
    """Covariance of least-squares estimates.

    Attributes
    ----------
    matrix : ndarray, shape (n, n)
        Where the data do not determine a parameter: inf on the diagonal, NaN beside it.
    factor : ndarray, shape (n, n_determined)
        ``factor factor^T`` is the covariance in the directions the data determine.
    blind : ndarray of bool, shape (n,)
        Parameters the data do not determine.
    lost : ndarray, shape (n, n_lost)
        Directions the data say nothing about.
    """

    matrix: np.ndarray
    factor: np.ndarray
    blind: np.ndarray
    lost: np.ndarray


def covariance(jac, variance):
    """Covariance of least-squares estimates, ``variance (J^T J)^-1``.

    Parameters
    ----------
    jac : ndarray, shape (n_data, n)
        Derivative of the residuals.
    variance : float
        Variance of one residual.

    Returns
    -------
    Covariance
    """
    n = jac.shape[1]
    norms = np.linalg.norm(jac, axis=0)
    unit = np.where(norms > 0, norms, 1.0)                # columns of one length: conditioning free of units
    _, s, vt = np.linalg.svd(jac / unit, full_matrices=False)
    keep = s > s[0] * max(jac.shape) * LOST * np.finfo(np.float64).eps if s.size and s[0] > 0 else np.zeros(s.size, dtype=bool)
    half = (vt[keep].T / s[keep]) / unit[:, None]
    half *= np.sqrt(variance)
    cov = half @ half.T
    blind = np.max(np.abs(vt[~keep]), axis=0, initial=0.0) > np.sqrt(np.finfo(np.float64).eps)
    cov[blind, :] = cov[:, blind] = np.nan
    cov[np.arange(n)[blind], np.arange(n)[blind]] = np.inf
    return Covariance(cov, half, blind, vt[~keep].T / unit[:, None])


def undetermined(slope, lost):
    """Which quantities with derivative ``slope`` (m, n) change along a lost direction: ndarray of bool, shape (m,)."""
    return np.any(np.abs(slope @ lost) > np.sqrt(np.finfo(np.float64).eps) * (np.abs(slope) @ np.abs(lost)), axis=1)


def propagated(slope, factor, lost):
    """Covariance of quantities with derivative ``slope`` (m, n), by the delta method: G C G^T, (m, m).

    A quantity that changes along a lost direction has variance inf, and NaN beside it.
    """
    half = slope @ factor
    cov = half @ half.T
    unknown = undetermined(slope, lost)
    cov[unknown, :] = cov[:, unknown] = np.nan
    cov[unknown, unknown] = np.inf
    return cov


def correlations(cov):
    """Correlation matrix of a covariance matrix; NaN where a variance is not finite."""
    sd = np.sqrt(np.diag(cov))
    with np.errstate(invalid="ignore"):                   # inf / inf is the NaN that is meant
        out = cov / np.outer(sd, sd)
    finite = np.isfinite(sd) & (sd > 0)
    out[~np.outer(finite, finite)] = np.nan
    np.fill_diagonal(out, 1.0)
    return out


def gaussian_log_likelihood(residuals, sigma):
    """Log density of independent Gaussian residuals.

    Parameters
    ----------
    residuals : ndarray, shape (n_data,)
        Not divided by sigma.
    sigma : float or ndarray, shape (n_data,)
    """
    sigma = np.broadcast_to(sigma, residuals.shape)
    return float(-0.5 * np.sum((residuals / sigma) ** 2) - np.sum(np.log(sigma)) - 0.5 * residuals.size * math.log(2.0 * math.pi))


def information_criteria(log_likelihood, n_estimated, n_data):
    """(AIC, BIC) = (2 k - 2 log L, k log n - 2 log L); k counts every estimated number, sigma included."""
    return 2.0 * n_estimated - 2.0 * log_likelihood, n_estimated * math.log(n_data) - 2.0 * log_likelihood


def quantile(level, dof):
    """Half-width of a two-sided interval in standard errors: Student's t with ``dof`` degrees of freedom, the normal law for None."""
    p = 0.5 * (1.0 + level)
    return float(ndtri(p) if dof is None else stdtrit(dof, p))

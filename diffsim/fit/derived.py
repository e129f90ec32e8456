"""Quantities computed from fitted parameters, with standard errors by the delta method."""

from dataclasses import dataclass
from html import escape

import numpy as np

from .. import api
from ..errors import InputError, InputTypeError
from ..numpy.rebind import rebound
from ..numpy.stacking import stacked
from .statistics import propagated

__all__ = ["Derived", "derive"]

LEVEL = 0.95
SHOWN = 20                     # entries of an array in a repr


@dataclass(frozen=True, repr=False)
class Derived:
    """A quantity computed from the parameters of a fit.

    Attributes
    ----------
    name : str
    estimate, stderr : float or ndarray
        Of the shape of the quantity.  A standard error is inf where the data do not determine the quantity, and NaN where it depends on
        nothing but parameters held at bounds.
    covariance : ndarray, shape (n, n)
        Of its n entries one after another; (1, 1) for a number.
    interval : (float, float) or (ndarray, ndarray)
        95 % interval.
    notes : tuple of str
    """

    name: str
    estimate: object
    stderr: object
    covariance: np.ndarray
    interval: tuple
    notes: tuple = ()

    def _rows(self):
        """(name, estimate, standard error, interval) of each entry, as text."""
        for index in np.ndindex(np.shape(self.estimate)):
            label = f"{self.name}[{', '.join(map(str, index))}]" if index else self.name
            low, high = (np.asarray(edge)[index] for edge in self.interval)
            yield label, f"{np.asarray(self.estimate)[index]:.6g}", f"{np.asarray(self.stderr)[index]:.3g}", f"{low:.4g} to {high:.4g}"

    def __repr__(self):
        rows = list(self._rows())
        lines = [f"{label} = {value} +/- {error} (95 %: {interval})" for label, value, error, interval in rows[:SHOWN]]
        more = [f"... {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
        return "\n".join([*lines, *more, *(f"Note: {note}." for note in self.notes)])

    def _repr_html_(self):
        rows = [("", "estimate", "std. error", "95 % interval"), *self._rows()]
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        return f"<div><table>{body}</table>" + "".join(f"<p>Note: {escape(note)}.</p>" for note in self.notes) + "</div>"


def derive(fit, f, name=""):
    """Quantity ``f(p)`` of a fit; see :meth:`Fit.derive`."""
    if not callable(f):
        raise InputTypeError(f"derive: the quantity must be a function of the parameters, such as lambda p: p.a / p.b, got {f!r}")
    name = name or getattr(f, "__name__", "quantity").replace("<lambda>", "quantity")
    parameters = fit.problem.parameters

    def quantity(p):
        value = rebound(f)(p)
        if value is None or isinstance(value, (dict, str)):
            raise InputTypeError(f"derive: {name} must be a number or an array, got {value!r}")
        return stacked(value)

    def of_free(z):
        return np.reshape(quantity(parameters.at(z)), (-1,)) * 1.0

    with np.errstate(all="ignore"):                       # whether the numbers are usable is checked below
        value = np.asarray(quantity(fit.p))
    if value.dtype.kind not in "fiu":
        raise InputTypeError(f"derive: {name} must be real, got an array of dtype {value.dtype}")
    if not np.all(np.isfinite(value)):
        raise InputError(f"derive: {name} is {value} at the estimates; it must be finite")
    slope = np.reshape(api.jacobian(of_free)(fit.z), (value.size, fit.z.size))
    cov = propagated(slope, fit.factor, fit.lost)
    held = np.array([n in fit.held for n in fit.free_names])
    only_held = np.any(slope[:, held] != 0, axis=1) & ~np.any(slope[:, ~held] != 0, axis=1)
    cov[only_held, :] = cov[:, only_held] = np.nan
    stderr = np.sqrt(np.diag(cov)).reshape(value.shape)
    half = fit.quantile(LEVEL) * stderr
    used = [n for n, column in zip(fit.free_names, slope.T, strict=True) if n in fit.held and np.any(column != 0)]
    notes = tuple(f"{n} is held at its {fit.held[n]} bound and taken as fixed there" for n in used)
    if not value.ndim:
        value, stderr, half = float(value), float(stderr), float(half)
    return Derived(name, value, stderr, cov, (value - half, value + half), notes)

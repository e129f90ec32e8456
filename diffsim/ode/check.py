"""How far a gradient of solves can be trusted: its error by steps of half the size, and a report of every way to compute it."""

import warnings
from dataclasses import dataclass

import numpy as np

from .. import tree
from ..api.derivatives import jvp, value_and_grad
from ..core import user_depth
from ..errors import GradientErrorWarning, InputError
from .frozen import Meshes

#: A gradient whose estimated error is this part of it deserves a warning.
ALARM = 0.1
#: Along one direction a wrong derivative may happen to be right.
DIRECTIONS = 2


def gradient_error(loss, theta, *, warn=True):
    """Gradient of a function that solves differential equations, and an estimate of its error.

    The gradient is computed once more on steps of half the size, in whatever solves the function makes. Unlike an estimate from embedded
    weights this sees what a large step does to the derivatives of a state that is at rest, and the error of the state itself.

    Parameters
    ----------
    loss : callable
        ``loss(theta) -> number``; not compiled by ``ds.jit``, solves without events.
    theta : pytree of arrays
    warn : bool
        Whether to warn where the estimate exceeds a tenth of the gradient.

    Returns
    -------
    value : float
    gradient, error : pytrees like theta
        The gradient, and what is estimated to be wrong with it.

    Warns
    -----
    GradientErrorWarning

    Notes
    -----
    The estimate is the difference of both gradients. It is a good alarm and no bound. It costs two gradients on twice the steps.

    >>> import numpy as np
    >>> import diffsim as ds
    >>> def loss(k):
    ...     return ds.solve_ivp(lambda t, y, k: -k * y, (0, 1), [1.0], t_eval=[1.0], args=(k,)).y[0, 0]
    >>> value, gradient, error = ds.ode.gradient_error(loss, 2.0)
    >>> bool(abs(gradient + np.exp(-2.0)) < 1e-6), bool(abs(error) < 1e-6)
    (True, True)
    """
    value, gradient, error, _ = _estimated(loss, theta)
    if warn:
        _alarm(size_of(error), size_of(gradient), "gradient_error")
    return value, gradient, error


def _estimated(loss, theta):
    """Value, gradient, estimate and the meshes."""
    with Meshes().used() as meshes:
        value, gradient = value_and_grad(loss)(theta)
    if not meshes.made:
        raise InputError("gradient_error: the function made no solve that it could note; give it as it is before ds.jit")
    with Meshes(meshes.made, 2).used():
        finer = value_and_grad(loss)(theta)[1]
    return value, gradient, tree.map(np.subtract, gradient, finer), meshes.made


def size_of(x):
    """Euclidean norm of all leaves."""
    return float(np.sqrt(sum(np.sum(np.square(np.asarray(v, float))) for v in tree.leaves(x))))


def _alarm(error, size, verb):
    if not error <= ALARM * size:
        part = f"{error / size:.2g} times as large as the gradient" if size else "while the gradient is zero"
        warnings.warn(
            f"{verb}: steps of half the size change the gradient by {error:.3g}, {part}: do not trust it. Leave gradient_errors at "
            f"'probe', tighten rtol and atol, or limit max_step; if the right-hand side jumps, stop at the jumps (tstops, events).",
            GradientErrorWarning, stacklevel=user_depth())


@dataclass(frozen=True, slots=True)
class GradientCheck:
    """A gradient, computed in every way there is.

    Attributes
    ----------
    value : float
    gradient : pytree
    slope : float
        Derivative along a random direction, by the gradient (reverse mode).
    forward, differences : float
        The same by forward mode, and by differences of the function on the same steps.
    taylor : float
        Order at which the remainder of the expansion to first order vanishes: 2.
    error : float
        Estimated size of the gradient's error.
    size : float
        Of the gradient.
    solves, steps : int
    """

    value: float
    gradient: object
    slope: float
    forward: float
    differences: float
    taylor: float
    error: float
    size: float
    solves: int
    steps: int

    @property
    def passed(self):
        """Whether all ways agree, and the estimated error is below a tenth of the gradient."""
        return self.exact and self.error <= ALARM * self.size

    @property
    def disagreement(self):
        """Largest difference of the slopes, relative to the gradient's size where they are small."""
        scale = max(abs(self.slope), 1e-3 * self.size, 1e-300)
        return max(abs(self.forward - self.slope), abs(self.differences - self.slope)) / scale

    @property
    def exact(self):
        """Whether the derivative is that of the discrete solution."""
        scale = max(abs(self.slope), 1e-12 * self.size)
        return abs(self.forward - self.slope) <= 1e-8 * scale and abs(self.differences - self.slope) <= 1e-4 * max(scale, 1e-3 * self.size)

    def __str__(self):
        def against(x):
            return f"{x:.12g}   (differs by {abs(x - self.slope) / max(abs(self.slope), 1e-300):.1e})"
        rows = [
            ("value", f"{self.value:.12g}"), ("solves, steps", f"{self.solves}, {self.steps}"),
            ("along a direction, reverse", f"{self.slope:.12g}"), ("forward", against(self.forward)),
            ("differences, same steps", against(self.differences)), ("order of the Taylor test", f"{self.taylor:.2f}   (2 is right)"),
            ("error of the gradient", f"{self.error / self.size if self.size else self.error:.1e} of it   (steps of half the size)"),
            ("verdict", "passed" if self.passed else "NOT to be trusted" if self.exact else "WRONG: not the derivative of this solution"),
        ]  # fmt: skip
        return "\n".join(f"{name:>28}  {text}" for name, text in rows)


def check_gradient(loss, theta, *, seed=0, show=True):
    """Compute a gradient in every way there is, and report how they agree.

    Reverse mode, forward mode and differences on the same steps must agree whatever the tolerance: they are derivatives of the same
    discrete solution; they are compared along two directions, and the one along which they differ more is reported. Steps of half the size
    tell how far that is from the derivative of the exact one.

    Parameters
    ----------
    loss : callable
        ``loss(theta) -> number``; not compiled by ``ds.jit``, solves without events.
    theta : pytree of arrays
    seed : int
        Of the random directions: signs of +-1 times the magnitudes of theta.
    show : bool
        Whether to print the report.

    Returns
    -------
    GradientCheck
        With ``passed``, and everything the report says.

    Warns
    -----
    GradientErrorWarning
        The estimated error exceeds a tenth of the gradient.
    """
    value, gradient, error, meshes = _estimated(loss, theta)
    rng = np.random.default_rng(seed)
    theta = tree.map(lambda x: np.asarray(x, float) if np.ndim(x) else np.float64(x), theta)
    reports, told = [], (size_of(error), size_of(gradient), len(meshes), sum(map(len, meshes)))
    for _ in range(DIRECTIONS):
        slopes = _along(loss, theta, value, gradient, meshes, tree.map(lambda x: _signed(rng, x), theta))
        reports.append(GradientCheck(float(value), gradient, *slopes, *told))
    report = max(reports, key=lambda r: r.disagreement)
    if show:
        print(report)
    _alarm(report.error, report.size, "check_gradient")
    return report


def _along(loss, theta, value, gradient, meshes, direction):
    """Slope along a direction by reverse mode, by forward mode and by differences, and the order of the Taylor test."""
    def moved(s):
        with Meshes(meshes).used():
            return float(loss(tree.map(lambda x, d: x + s * d, theta, direction)))
    with Meshes(meshes).used():
        forward = float(jvp(loss, (theta,), (direction,))[1])
    slope = float(sum(np.sum(g * d) for g, d in zip(tree.leaves(gradient), tree.leaves(direction), strict=True)))
    h = 1e-4
    differences = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)
    rest = [abs(moved(s) - value - s * slope) for s in (4e-3, 1e-3)]
    taylor = float(np.log(rest[0] / rest[1]) / np.log(4)) if min(rest) > 1e-14 * abs(value) else 2.0
    return slope, forward, differences, taylor


def _signed(rng, x):
    size = np.abs(x)
    return np.where(rng.integers(0, 2, np.shape(x)) == 1, 1.0, -1.0) * np.where(size == 0, 1.0, size)

"""What step sizes resolve besides the state where a derivative is taken: one tangent, or one for each number differentiated in."""

import numpy as np

from ..prims.elementwise import absolute, equal, mul, where
from ..prims.layout import reshape, transpose


def probe_signs(n):
    """Signs of the probe's direction, the same in every run."""
    return np.where(np.random.default_rng(20110525).integers(0, 2, n) == 1, 1.0, -1.0)


def _sizes(system, wrt):
    """How many numbers of (t0, y0, *p) are differentiated in."""
    return [size if on else 0 for size, on in zip((1, system.n, *[a.size for a in system.p_avals]), wrt, strict=True)]


def probed(system, wrt, control):
    """The system whose errors a solve controls: the state, then its tangents where it is differentiated along ``wrt``."""
    if wrt is None:
        return system
    if control.gradient_errors == "probe":
        return system.augmented(wrt, tangent_first=False)
    return system.joined(wrt, sum(_sizes(system, wrt)), tangent_first=False)


def _sized(x):
    """Magnitudes, 1 where there is none."""
    size = absolute(x)
    return where(equal(size, 0.0), 1.0, size)


def probe_start(system, wrt, control):
    """Function from (y0, *p) to what the probed system starts from: the state, its tangents, the leaves and theirs.

    One tangent points into everything that is differentiated in, by signs of +-1 times magnitudes; several each into one number, by its
    magnitude.
    """
    return (_one if control.gradient_errors == "probe" else _each)(system, wrt)


def _one(system, wrt):
    sizes = (system.n, *[a.size for a in system.p_avals])
    starts = 1 + np.cumsum((0, *sizes))
    signs = probe_signs(int(starts[-1]))

    def fun(y0, *p):
        dots = [mul(np.reshape(signs[at:at + size], np.shape(x)), _sized(x)) if on else None
                for x, at, size, on in zip((y0, *p), starts, sizes, wrt[1:], strict=False)]
        y_dot = np.zeros(system.n) if dots[0] is None else dots[0]
        return [y0, y_dot, *p, *[d for d in dots[1:] if d is not None], *([np.float64(signs[0])] if wrt[0] else [])]
    return fun


def _each(system, wrt):
    sizes = _sizes(system, wrt)
    k, ends = sum(sizes), np.cumsum(sizes)

    def tangents_of(x, which):
        """Shape (*x, k)."""
        shape, size = tuple(map(int, np.shape(x))), sizes[which]
        unit = np.zeros((size, k))
        unit[np.arange(size), ends[which] - size + np.arange(size)] = 1.0
        return mul(reshape(_sized(x), shape=(*shape, 1)), np.reshape(unit, (*shape, k)))

    def fun(y0, *p):
        y_dots = transpose(tangents_of(y0, 1), axes=(1, 0)) if wrt[1] else np.zeros((k, system.n))
        dots = [tangents_of(x, 2 + i) for i, (x, on) in enumerate(zip(p, wrt[2:], strict=True)) if on]
        return [y0, y_dots, *p, *dots, *([np.eye(1, k)[0]] if wrt[0] else [])]
    return fun

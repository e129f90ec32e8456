"""``scipy.ndimage``: linear filters of images under SciPy's names and signatures, differentiable in the image.

A filter is a correlation with plain weights after the image is continued beyond its border.
"""

import operator

import numpy as np

from ..core import user_line
from ..errors import MissingRule
from ..prims.convolution import convolve as convolved
from ..prims.convolution import reversed_
from ..prims.layout import convert
from .dispatch import value_of
from .padding import pad
from .reductions import at_least_array, axes_of
from .standins import STAND_INS

stand_in = STAND_INS["scipy.ndimage"]
_CONTINUED = {"reflect": "symmetric", "grid-mirror": "symmetric", "constant": "constant", "grid-constant": "constant", "nearest": "edge",
              "mirror": "reflect", "wrap": "wrap", "grid-wrap": "wrap"}


def _image(x, output):
    x = at_least_array(x)
    if output is not None:
        raise MissingRule("scipy.ndimage", "derivative", f"{user_line()}: traced images take no output=; use what is returned")
    return x if x.dtype.kind in "fc" else convert(x, dtype=np.dtype(float))


def _weights(w, x):
    """Plain weights in the dtype of the image."""
    w = np.asarray(value_of(w, "the weights of a filter of scipy.ndimage"))
    if w.size == 0:
        raise RuntimeError("no filter weights given")
    return w.astype(x.dtype)


def _correlated(x, w, axes, mode, cval, origins):
    """Correlation over some axes with weights that have those axes."""
    if mode not in _CONTINUED:
        raise RuntimeError(f"boundary mode not supported: {mode!r}")
    sizes = dict(zip(axes, w.shape, strict=True))
    before = {i: n // 2 + origin for (i, n), origin in zip(sizes.items(), origins, strict=True)}
    widths = [(before[i], sizes[i] - 1 - before[i]) if i in sizes else (0, 0) for i in range(len(x.shape))]
    wide = pad(x, widths, mode=_CONTINUED[mode], **({"constant_values": cval} if _CONTINUED[mode] == "constant" else {}))
    return convolved(wide, reversed_(w.reshape([sizes.get(i, 1) for i in range(len(x.shape))])), mode="valid")


@stand_in.entry()
def correlate1d(input, weights, axis=-1, output=None, mode="reflect", cval=0.0, origin=0):
    """Correlation along an axis."""
    x = _image(input, output)
    return _correlated(x, _weights(weights, x).reshape(-1), axes_of(operator.index(axis), len(x.shape)), mode, cval, (origin,))


@stand_in.entry()
def convolve1d(input, weights, axis=-1, output=None, mode="reflect", cval=0.0, origin=0):
    """Convolution along an axis."""
    x = _image(input, output)
    w = _weights(weights, x).reshape(-1)[::-1]
    return _correlated(x, w, axes_of(operator.index(axis), len(x.shape)), mode, cval, (-origin - (w.size % 2 == 0),))


def _origins(origin, n):
    return tuple(origin) if np.ndim(origin) else (origin,) * n


@stand_in.entry()
def correlate(input, weights, output=None, mode="reflect", cval=0.0, origin=0):
    """Correlation over all axes."""
    x = _image(input, output)
    w = _weights(weights, x)
    if w.ndim != len(x.shape):
        raise RuntimeError(f"weights.ndim ({w.ndim}) must match len(axes) ({len(x.shape)})")
    return _correlated(x, w, tuple(range(w.ndim)), mode, cval, _origins(origin, w.ndim))


@stand_in.entry()
def convolve(input, weights, output=None, mode="reflect", cval=0.0, origin=0):
    """Convolution over all axes."""
    x = _image(input, output)
    w = _weights(weights, x)
    if w.ndim != len(x.shape):
        raise RuntimeError(f"weights.ndim ({w.ndim}) must match len(axes) ({len(x.shape)})")
    origins = tuple(-o - (n % 2 == 0) for o, n in zip(_origins(origin, w.ndim), w.shape, strict=True))
    return _correlated(x, w[(slice(None, None, -1),) * w.ndim], tuple(range(w.ndim)), mode, cval, origins)


@stand_in.entry()
def gaussian_filter1d(input, sigma, axis=-1, order=0, output=None, mode="reflect", cval=0.0, truncate=4.0, *, radius=None):
    """Gaussian smoothing, or a derivative of it, along an axis."""
    sigma = float(value_of(sigma, "the width of a Gaussian filter"))
    reach = int(truncate * sigma + 0.5) if radius is None else operator.index(radius)
    unit = np.zeros(2 * reach + 1)
    unit[reach] = 1.0
    weights = stand_in.real().gaussian_filter1d(unit, sigma, order=order, mode="constant", truncate=truncate, radius=radius)[::-1]
    return correlate1d(_image(input, output), weights, axis, None, mode, cval)


@stand_in.entry()
def gaussian_filter(input, sigma, order=0, output=None, mode="reflect", cval=0.0, truncate=4.0, *, radius=None, axes=None):
    """Gaussian smoothing along several axes."""
    x = _image(input, output)
    axes = axes_of(axes, len(x.shape))
    each = [value if isinstance(value, (tuple, list)) else (value,) * len(axes) for value in (sigma, order, mode, radius)]
    for i, width, n, continued, reach in zip(axes, *each, strict=True):
        if width > 1e-15:
            x = gaussian_filter1d(x, width, i, n, None, continued, cval, truncate, radius=reach)
    return x


@stand_in.entry()
def uniform_filter1d(input, size, axis=-1, output=None, mode="reflect", cval=0.0, origin=0):
    """Moving average along an axis."""
    return correlate1d(input, np.full(size, 1.0 / size), axis, output, mode, cval, origin)


@stand_in.entry()
def uniform_filter(input, size=3, output=None, mode="reflect", cval=0.0, origin=0, *, axes=None):
    """Moving average along several axes."""
    x = _image(input, output)
    axes = axes_of(axes, len(x.shape))
    sizes = tuple(size) if np.ndim(size) else (size,) * len(axes)
    for i, n, o in zip(axes, sizes, _origins(origin, len(axes)), strict=True):
        x = uniform_filter1d(x, n, i, None, mode, cval, o) if n > 1 else x
    return x


@stand_in.entry()
def laplace(input, output=None, mode="reflect", cval=0.0):
    """Sum of second differences."""
    x = _image(input, output)
    total = correlate1d(x, [1.0, -2.0, 1.0], 0, None, mode, cval)
    for i in range(1, len(x.shape)):
        total = total + correlate1d(x, [1.0, -2.0, 1.0], i, None, mode, cval)
    return total


def _edges(name, smooth):
    def rule(input, axis=-1, output=None, mode="reflect", cval=0.0):
        x = _image(input, output)
        axis, = axes_of(operator.index(axis), len(x.shape))
        y = correlate1d(x, [-1.0, 0.0, 1.0], axis, None, mode, cval)
        for i in range(len(x.shape)):
            y = correlate1d(y, smooth, i, None, mode, cval) if i != axis else y
        return y
    rule.__name__ = rule.__qualname__ = name
    stand_in.entry()(rule)


_edges("sobel", [1.0, 2.0, 1.0])
_edges("prewitt", [1.0, 1.0, 1.0])

__all__ = ["stand_in"]

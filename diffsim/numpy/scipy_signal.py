"""``scipy.signal``: convolutions and linear filters under SciPy's names and signatures, differentiable in signals and in coefficients.

A recursive filter is the solution y of a triangular banded system, a_0 y_n + a_1 y_(n-1) + ... = b_0 x_n + b_1 x_(n-1) + ... + zi_n
(Oppenheim & Schafer, Discrete-Time Signal Processing, 3rd ed., sec. 6.3): its derivatives are those of the solve.  Initial and final states
are those of the transposed direct form II, as SciPy's.
"""

import itertools
import math
import operator

import numpy as np

from ..core import user_line
from ..errors import MissingRule
from ..prims.convolution import convolve as convolved
from ..prims.convolution import reversed_
from ..prims.layout import convert
from . import fourier, matrices
from .dispatch import value_of
from .padding import pad
from .reductions import at_least_array, axes_of, moved, sum
from .scipy_linalg import banded
from .shapes import broadcast_to, concatenate, part, reshaped
from .standins import StandIn
from .ufuncs import conjugate, matmul

_COMPOSE = "it has no rule yet; compose it of np.fft, lfilter and convolve"
_REASONS = dict.fromkeys(("welch", "periodogram", "csd", "coherence", "spectrogram", "stft", "istft", "resample", "resample_poly",
                          "decimate", "upfirdn", "freqz", "czt", "zoom_fft", "lombscargle", "deconvolve"), _COMPOSE)
_REASONS |= dict.fromkeys(("find_peaks", "argrelextrema", "argrelmax", "argrelmin", "peak_widths", "peak_prominences"),
                          "it answers with places; find them in plain values and read the signal there")

stand_in = StandIn("scipy.signal", _REASONS)
entry = stand_in.entry


# ---------------------------------------------------------------- convolutions over all axes
def _pair(in1, in2):
    """Two operands of one dimension and one dtype."""
    a, b = at_least_array(in1), at_least_array(in2)
    if len(a.shape) != len(b.shape):
        raise ValueError("in1 and in2 should have the same dimensionality")
    dtype = np.result_type(a.dtype, b.dtype, np.float32 if a.dtype.kind in "fc" or b.dtype.kind in "fc" else float)
    return [x if x.dtype == dtype else convert(x, dtype=dtype) for x in (a, b)]


def _centred(y, shape):
    """The middle of an array, of a shape."""
    starts = [(n - m) // 2 for n, m in zip(y.shape, shape, strict=True)]
    return part(y, tuple(slice(s, s + m) for s, m in zip(starts, shape, strict=True)))


def _within(a, b, mode):
    """Whether ``valid`` asks for the operands to be exchanged."""
    if mode != "valid" or all(m >= n for m, n in zip(a.shape, b.shape, strict=True)):
        return False
    if not all(m <= n for m, n in zip(a.shape, b.shape, strict=True)):
        raise ValueError("For 'valid' mode, one must be at least as large as the other in every dimension")
    return True


def _mode(mode):
    if mode not in ("full", "valid", "same"):
        raise ValueError(f"Acceptable mode flags are 'valid', 'same', or 'full', not {mode!r}")
    return mode


@entry()
def convolve(in1, in2, mode="full", method="auto"):
    """Convolution over all axes."""
    (a, b), mode = _pair(in1, in2), _mode(mode)
    if _within(a, b, mode):
        a, b = b, a
    y = convolved(a, b, mode="valid" if mode == "valid" else "full")
    return _centred(y, tuple(at_least_array(in1).shape)) if mode == "same" else y


@entry("oaconvolve")
def fftconvolve(in1, in2, mode="full", axes=None):
    """Convolution by Fourier transforms, over some axes or all."""
    (a, b), mode = _pair(in1, in2), _mode(mode)
    axes = axes_of(axes, len(a.shape))
    if axes == tuple(range(len(a.shape))) and _within(a, b, mode):
        a, b = b, a
    lengths = [a.shape[i] + b.shape[i] - 1 for i in axes]
    if a.dtype.kind == "c":
        y = fourier.ifftn(fourier.fftn(a, lengths, axes) * fourier.fftn(b, lengths, axes), lengths, axes)
    else:
        y = fourier.irfftn(fourier.rfftn(a, lengths, axes) * fourier.rfftn(b, lengths, axes), lengths, axes)
    y = y if y.dtype == a.dtype else convert(y, dtype=a.dtype)
    if mode == "full":
        return y
    shape = list(y.shape)
    for i in axes:
        shape[i] = a.shape[i] if mode == "same" else a.shape[i] - b.shape[i] + 1
    return _centred(y, tuple(shape))


@entry()
def correlate(in1, in2, mode="full", method="auto"):
    """c_k = sum_n a_(n+k) conj(b_n) over all axes."""
    (a, b), mode = _pair(in1, in2), _mode(mode)
    if _within(a, b, mode):
        return reversed_(conjugate(correlate(b, a, mode)))
    return convolve(a, reversed_(conjugate(b)), mode)


_BOUNDARY = {"fill": "constant", "wrap": "wrap", "symm": "symmetric"}


@entry()
def convolve2d(in1, in2, mode="full", boundary="fill", fillvalue=0):
    """Convolution of two matrices, the first continued beyond its border."""
    (a, b), mode = _pair(in1, in2), _mode(mode)
    if boundary not in _BOUNDARY:
        raise ValueError(f"Acceptable boundary flags are 'fill', 'circular' (or 'wrap'), and 'symmetric' (or 'symm'), not {boundary!r}")
    if _within(a, b, mode):
        a, b = b, a
    if mode == "valid":
        return convolve(a, b, "valid")
    widths = [(n - 1, n - 1) for n in b.shape]
    wide = pad(a, widths, mode=_BOUNDARY[boundary], **({"constant_values": fillvalue} if boundary == "fill" else {}))
    y = convolved(wide, b, mode="valid")
    return y if mode == "full" else _centred(y, tuple(a.shape))


@entry()
def correlate2d(in1, in2, mode="full", boundary="fill", fillvalue=0):
    """Correlation of two matrices, the first continued beyond its border."""
    (a, b), mode = _pair(in1, in2), _mode(mode)
    if _within(a, b, mode):
        return reversed_(conjugate(correlate2d(b, a, mode, boundary, fillvalue)))
    wanted = convolve2d(a, reversed_(conjugate(b)), "full", boundary, fillvalue)
    if mode == "full":
        return wanted
    if mode == "valid":
        return convolve(a, reversed_(conjugate(b)), "valid")
    starts = [n // 2 for n in b.shape]                      # SciPy centres a correlation of even length on its other middle
    return part(wanted, tuple(slice(s, s + m) for s, m in zip(starts, a.shape, strict=True)))


# ---------------------------------------------------------------- filters along an axis
def _last(x, axis):
    """The array with an axis moved to the end, and the function that moves it back."""
    n = len(x.shape)
    i, = axes_of(operator.index(axis), n)
    back = (*range(i), n - 1, *range(i, n - 1))
    return moved(x, (*range(i), *range(i + 1, n), i)), lambda y: moved(y, back)


def _coefficients(b, a):
    """Numerator and denominator of equal length, the leading coefficient of the denominator being one."""
    b, a = (reshaped(at_least_array(c), (-1,)) if not at_least_array(c).shape else at_least_array(c) for c in (b, a))
    if len(b.shape) != 1 or len(a.shape) != 1:
        raise ValueError("the coefficients of a filter are vectors")
    n, lead = max(b.shape[0], a.shape[0]), part(a, slice(0, 1))
    return [concatenate([c / lead, np.zeros(n - c.shape[0])], 0) if c.shape[0] < n else c / lead for c in (b, a)]


def _delayed(c, x):
    """sum_k c_k x_(n-k) along the last axis."""
    n, lead = x.shape[-1], (1,) * (len(x.shape) - 1)
    return part(convolved(x, reshaped(c, (*lead, c.shape[0])), mode="full"), (..., slice(0, n)))


def _filtered(b, a, x, zi):
    """Filter along the last axis, for normalised coefficients; and the final state where there is an initial one."""
    n, order = x.shape[-1], b.shape[0] - 1
    rhs = _delayed(b, x)
    if zi is not None and order:
        zi = broadcast_to(at_least_array(zi), (*x.shape[:-1], order))
        rhs = rhs + (concatenate([zi, np.zeros((*x.shape[:-1], n - order))], -1) if n > order else part(zi, (..., slice(0, n))))
    recursive = order and not (isinstance(a, np.ndarray) and not a[1:].any())
    y = rhs
    if recursive:
        columns = reshaped(rhs, (math.prod(rhs.shape[:-1]), n))
        rows = broadcast_to(reshaped(a, (order + 1, 1)), (order + 1, n))
        y = reshaped(moved(banded(rows, moved(columns, (1, 0)), order, 0), (1, 0)), tuple(rhs.shape))
    return (y, None) if zi is None else (y, _state(b, a, x, y, zi))


def _state(b, a, x, y, zi):
    """The state after the last sample: what earlier samples contribute to the next ones."""
    n, order, lead = x.shape[-1], b.shape[0] - 1, tuple(x.shape[:-1])
    parts = []
    for m in range(order):
        k = min(order - m, n)                               # coefficients m + 1, m + 2, ... of the samples n - 1, n - 2, ...
        last = (..., slice(n - k, n))
        ahead = slice(m + 1, m + 1 + k)
        total = sum(reversed_(part(b, ahead)) * part(x, last) - reversed_(part(a, ahead)) * part(y, last), axis=-1)
        parts.append(reshaped(total + part(zi, (..., m + n)) if m + n < order else total, (*lead, 1)))
    return concatenate(parts, -1) if parts else np.zeros((*lead, 0))


def _signal(x, *coefficients):
    """A signal in the dtype of the result."""
    x = at_least_array(x)
    dtype = np.result_type(x.dtype, *[c.dtype for c in coefficients], np.float32 if x.dtype.kind in "fc" else float)
    return x if x.dtype == dtype else convert(x, dtype=dtype)


@entry()
def lfilter(b, a, x, axis=-1, zi=None):
    """Filter with a rational transfer function."""
    b, a = _coefficients(b, a)
    x, back = _last(_signal(x, b, a), axis)
    y, zf = _filtered(b, a, x, None if zi is None else _last(at_least_array(zi), axis)[0])
    return back(y) if zi is None else (back(y), back(zf))


@entry()
def lfilter_zi(b, a):
    """The state of a filter in which a constant input of one has been for ever."""
    b, a = _coefficients(b, a)
    n = b.shape[0] - 1
    rest = part(a, slice(1, None))
    first = np.eye(n)[:1] if n else np.zeros((1, 0))
    system = np.eye(n) - np.eye(n, k=1) + reshaped(rest, (n, 1)) * first
    return matrices.solve(system, part(b, slice(1, None)) - rest * part(b, slice(0, 1)))


def _sections(sos):
    sos = at_least_array(sos)
    if len(sos.shape) != 2 or sos.shape[1] != 6:
        raise ValueError("sos array must be shape (n_sections, 6)")
    return [_coefficients(part(sos, (i, slice(0, 3))), part(sos, (i, slice(3, 6)))) for i in range(sos.shape[0])]


@entry()
def sosfilt(sos, x, axis=-1, zi=None):
    """Filter by sections of second order."""
    sections = _sections(sos)
    x, back = _last(_signal(x, sections[0][0]), axis)
    states = [None] * len(sections)
    if zi is not None:
        zi = at_least_array(zi)
        states = [_last(part(zi, i), axis)[0] for i in range(len(sections))]
    out = []
    for (b, a), state in zip(sections, states, strict=True):
        x, zf = _filtered(b, a, x, state)
        out.append(zf)
    if zi is None:
        return back(x)
    return back(x), concatenate([reshaped(z, (1, *z.shape)) for z in map(back, out)], 0)


@entry()
def sosfilt_zi(sos):
    """States of the sections in which a constant input of one has been for ever."""
    states, scale = [], 1.0
    for b, a in _sections(sos):
        states.append(reshaped(scale * lfilter_zi(b, a), (1, 2)))
        scale = scale * sum(b) / sum(a)
    return concatenate(states, 0)


# ---------------------------------------------------------------- forwards and backwards
_EXTENSION = {"odd": ("reflect", {"reflect_type": "odd"}), "even": ("reflect", {}), "constant": ("edge", {})}


def _both_ways(x, axis, padtype, padlen, taps, run):
    """A signal continued at both ends, filtered forwards and backwards by ``run(x, x_0)``, and cut again."""
    x, back = _last(x, axis)
    if padtype not in (*_EXTENSION, None):
        raise ValueError(f"Unknown value {padtype!r} given to padtype. padtype must be 'even', 'odd', 'constant', or None.")
    edge = 0 if padtype is None else taps * 3 if padlen is None else operator.index(padlen)
    if x.shape[-1] <= edge:
        raise ValueError(f"The length of the input vector x must be greater than padlen, which is {edge}.")
    if edge:
        mode, options = _EXTENSION[padtype]
        x = pad(x, [(0, 0)] * (len(x.shape) - 1) + [(edge, edge)], mode=mode, **options)
    turned = (..., slice(None, None, -1))
    for _ in range(2):
        x = part(run(x, part(x, (..., slice(0, 1)))), turned)
    return back(part(x, (..., slice(edge, x.shape[-1] - edge))) if edge else x)


@entry()
def filtfilt(b, a, x, axis=-1, padtype="odd", padlen=None, method="pad", irlen=None):
    """Filter forwards and backwards; Gustafsson's method is not among the rules."""
    if method != "pad":
        raise MissingRule("scipy.signal.filtfilt", "derivative", f"{user_line()}: traced values have method='pad' alone, not {method!r}")
    b, a = _coefficients(b, a)
    zi = lfilter_zi(b, a)
    return _both_ways(_signal(x, b, a), axis, padtype, padlen, b.shape[0], lambda x, first: _filtered(b, a, x, zi * first)[0])


@entry()
def sosfiltfilt(sos, x, axis=-1, padtype="odd", padlen=None):
    """Filter forwards and backwards by sections of second order."""
    sections, zi = _sections(sos), sosfilt_zi(sos)
    plain = np.asarray(value_of(sos, "the order of the filter of sosfiltfilt"))
    taps = 2 * len(sections) + 1 - min((plain[:, 2] == 0).sum(), (plain[:, 5] == 0).sum())

    def run(x, first):
        for i, (b, a) in enumerate(sections):
            x, _ = _filtered(b, a, x, part(zi, i) * first)
        return x
    return _both_ways(_signal(x, sections[0][0]), axis, padtype, padlen, int(taps), run)


# ---------------------------------------------------------------- trends, envelopes, smoothing
@entry()
def detrend(data, axis=-1, type="linear", bp=0, overwrite_data=False):
    """A signal without its mean or its straight lines between break points."""
    x, back = _last(_signal(data), axis)
    n = x.shape[-1]
    if type in ("constant", "c"):
        return back(x - sum(x, axis=-1, keepdims=True) / n)
    if type not in ("linear", "l"):
        raise ValueError("Trend type must be 'linear' or 'constant'.")
    breaks = np.unique(np.concatenate([[0], np.atleast_1d(bp), [n]]))
    if breaks[-1] > n:
        raise ValueError("Breakpoints must be less than length of data along given axis.")
    parts = []
    for low, high in itertools.pairwise(breaks):
        line = np.stack([np.arange(1, high - low + 1) / (high - low), np.ones(high - low)])
        here = part(x, (..., slice(int(low), int(high))))
        parts.append(here - matmul(matmul(here, np.linalg.pinv(line).astype(x.dtype)), line.astype(x.dtype)))
    return back(concatenate(parts, -1))


@entry()
def hilbert(x, N=None, axis=-1):                            # noqa: N803  (SciPy's name)
    """The analytic signal."""
    x, back = _last(_signal(x), axis)
    n = x.shape[-1] if N is None else operator.index(N)
    if x.dtype.kind == "c":
        raise ValueError("x must be real.")
    if n <= 0:
        raise ValueError("N must be positive.")
    weights = np.zeros(n)
    weights[0] = 1.0
    weights[1:(n + 1) // 2] = 2.0
    if n % 2 == 0:
        weights[n // 2] = 1.0
    return back(fourier.ifft(fourier.fft(x, n) * weights))


_CONTINUED = {"mirror": "reflect", "nearest": "edge", "wrap": "wrap", "constant": "constant"}


@entry()
def savgol_filter(x, window_length, polyorder, deriv=0, delta=1.0, axis=-1, mode="interp", cval=0.0):
    """Local polynomials of least squares."""
    real, half = stand_in.real(), window_length // 2
    taps = real.savgol_coeffs(window_length, polyorder, deriv=deriv, delta=delta)
    x, back = _last(_signal(x), axis)
    kernel = taps.reshape((1,) * (len(x.shape) - 1) + (-1,)).astype(x.dtype)
    before = (window_length - 1) // 2
    if mode != "interp":
        if mode not in _CONTINUED:
            raise ValueError("mode must be 'mirror', 'constant', 'nearest' 'wrap' or 'interp'.")
        widths = [(0, 0)] * (len(x.shape) - 1) + [(before, window_length - 1 - before)]
        x = pad(x, widths, mode=_CONTINUED[mode], **({"constant_values": cval} if mode == "constant" else {}))
        return back(convolved(x, kernel, mode="valid"))
    if window_length > x.shape[-1]:
        raise ValueError("If mode is 'interp', window_length must be less than or equal to the size of x.")
    ends = real.savgol_filter(np.eye(window_length), window_length, polyorder, deriv, delta, 0, "interp").astype(x.dtype)
    n = x.shape[-1]
    first = matmul(part(x, (..., slice(0, window_length))), ends[:half].T)
    last = matmul(part(x, (..., slice(n - window_length, n))), ends[window_length - half:].T)
    inside = part(convolved(x, kernel, mode="valid"), (..., slice(half - before, n - half - before)))
    return back(concatenate([first, inside, last], -1))


__all__ = ["stand_in"]

"""Discrete Fourier, cosine and sine transforms.

Each is linear.  A transform's matrix is transposed without conjugation: that of ``fft`` is symmetric; the half spectra of real data take
weights, 1 for the zero and the Nyquist frequency and 2 for the others, which stand for two.
"""

import numpy as np

from ..core import Aval
from ..core.aval import part_dtype, whole_dtype
from ..core.emission import Back
from .complexes import conj
from .elementwise import div, mul
from .family import REAL, draw, draw_complex, linear, shifted
from .layout import unbroadcast
from .linalg_base import coupled, scipy_fft

BY_FFT = Back("Fourier transforms are computed by SciPy's pocketfft")

#: The normalisation that makes the inverse transform the transpose.
DUAL = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def _shifted_axes(prim):
    """Batch rule of a transform over axes: they count from the second."""
    def rule(n, batched, x, *, axes, **params):
        return prim(x, axes=shifted(axes), **params)
    prim.batch = rule
    return prim


def _along_axes(aval):
    """Sparsity of a transform over axes: the others do not mix."""
    def rule(i, x, *, axes, **params):
        return coupled(x.shape, axes, aval(x, axes=axes, **params).shape, axes)
    return rule


# ---------------------------------------------------------------- complex to complex
def _spectrum(x, *, axes, norm):
    return Aval(x.shape, whole_dtype(x.dtype))


def _complex_transform(name, function):
    def samples(rng):
        cases = (((4,), (0,), "backward"), ((3,), (0,), "forward"), ((2, 3), (0, 1), "ortho"), ((2, 1, 3), (2,), "backward"))
        return [((drawn(rng, REAL, s),), {"axes": axes, "norm": norm}) for s, axes, norm in cases for drawn in (draw_complex, draw)]

    prim = linear(
        name,
        impl=lambda x, *, axes, norm: function(x, axes=axes, norm=norm),
        aval=_spectrum,
        transpose=lambda y_bar, x, *, axes, norm: (unbroadcast(prim(y_bar, axes=axes, norm=norm), x.aval),),
        sparsity=_along_axes(_spectrum),
        emit=BY_FFT,
        samples=samples,
    )
    return _shifted_axes(prim)


fft = _complex_transform("fft", np.fft.fftn)
ifft = _complex_transform("ifft", np.fft.ifftn)


# ---------------------------------------------------------------- real to half a spectrum, and back
def _weights(x, axis, n):
    """1 for the frequencies that stand alone, 2 for those that stand for two, along an axis of a half spectrum."""
    m = n // 2 + 1
    w = np.full(m, 2.0, part_dtype(x.dtype))
    w[0] = 1.0
    if n % 2 == 0:
        w[-1] = 1.0
    return w.reshape([m if i == axis else 1 for i in range(len(x.shape))])


def _half(x, *, axes):
    axis, = axes
    return (*x.shape[:axis], x.shape[axis] // 2 + 1, *x.shape[axis + 1:])


def _rfft_aval(x, *, axes, norm):
    return Aval(_half(x, axes=axes), whole_dtype(x.dtype))


def _irfft_aval(x, *, axes, length, norm):
    axis, = axes
    return Aval((*x.shape[:axis], length, *x.shape[axis + 1:]), part_dtype(x.dtype))


def _rfft_transpose(y_bar, x, *, axes, norm):
    """x_bar[j] = Re Σ y_bar[k] exp(-2 pi i j k / n), which the inverse of the conjugate gives, each frequency counted once."""
    n = x.shape[axes[0]]
    return (irfft(conj(div(y_bar, _weights(y_bar, axes[0], n))), axes=axes, length=n, norm=DUAL[norm]),)


def _irfft_transpose(y_bar, x, *, axes, length, norm):
    y = conj(rfft(y_bar, axes=axes, norm=DUAL[norm]))
    return (mul(y, _weights(y, axes[0], length)),)


rfft = _shifted_axes(linear(
    "rfft",                                                 # over one axis; others follow by fft
    impl=lambda x, *, axes, norm: np.fft.rfft(x, axis=axes[0], norm=norm),
    aval=_rfft_aval,
    transpose=_rfft_transpose,
    sparsity=_along_axes(_rfft_aval),
    emit=BY_FFT,
    samples=lambda rng: [((draw(rng, REAL, s),), {"axes": axes, "norm": norm}) for s, axes, norm in (
        ((4,), (0,), "backward"), ((5,), (0,), "ortho"), ((2, 3), (1,), "forward"), ((1, 2), (0,), "backward"), ((2, 2), (0,), "ortho"))],
))

irfft = _shifted_axes(linear(
    "irfft",                                                # ``length`` numbers from length // 2 + 1 frequencies
    impl=lambda x, *, axes, length, norm: np.fft.irfft(x, length, axes[0], norm),
    aval=_irfft_aval,
    transpose=_irfft_transpose,
    sparsity=_along_axes(_irfft_aval),
    emit=BY_FFT,
    samples=lambda rng: [((draw_complex(rng, REAL, s),), {"axes": axes, "length": n, "norm": norm}) for s, axes, n, norm in (
        ((3,), (0,), 4, "backward"), ((3,), (0,), 5, "ortho"), ((2, 2), (1,), 3, "forward"), ((1, 2), (0,), 1, "backward"))],
))


# ---------------------------------------------------------------- cosine and sine
def _ends(x, axis, first, last):
    """Ones along an axis but for its ends."""
    w = np.ones(x.shape[axis], x.dtype)
    w[0] *= first
    w[-1] *= last
    return w.reshape([-1 if i == axis else 1 for i in range(len(x.shape))])


#: How the unnormalised transform of a type is transposed: M = diag(out)⁻¹ (transform of type ``of``) diag(into), the ends given.
#: From the definitions in Makhoul, IEEE Trans. Acoust. Speech 28, 1980, 27-34, as SciPy states them.
_TRANSPOSED = {("dct", 1): (1, (2.0, 2.0), (0.5, 0.5)), ("dct", 2): (3, (2.0, 1.0), (1.0, 1.0)), ("dct", 3): (2, (1.0, 1.0), (0.5, 1.0)),
               ("dct", 4): (4, (1.0, 1.0), (1.0, 1.0)), ("dst", 1): (1, (1.0, 1.0), (1.0, 1.0)), ("dst", 2): (3, (1.0, 2.0), (1.0, 1.0)),
               ("dst", 3): (2, (1.0, 1.0), (1.0, 0.5)), ("dst", 4): (4, (1.0, 1.0), (1.0, 1.0))}


def _trigonometric(name):
    def impl(x, *, kind, axes, norm):
        if x.dtype.kind == "c":                             # SciPy heeds orthogonalize=False for the real part only
            return impl(x.real, kind=kind, axes=axes, norm=norm) + 1j * impl(x.imag, kind=kind, axes=axes, norm=norm)
        return getattr(scipy_fft(), name)(x, kind, axis=axes[0], norm=norm, orthogonalize=False)

    def transpose(y_bar, x, *, kind, axes, norm):
        of, into, out = _TRANSPOSED[name, kind]
        axis, = axes
        y = prim(mul(y_bar, _ends(y_bar, axis, *into)), kind=of, axes=axes, norm=norm)
        return (mul(y, _ends(y, axis, *out)),)

    def samples(rng):
        cases = [((4,), 0, kind, norm) for kind in (1, 2, 3, 4) for norm in ("backward", "ortho")]
        return [((draw(rng, REAL, s),), {"kind": kind, "axes": (axis,), "norm": norm}) for s, axis, kind, norm in (
            *cases, ((2, 3), 1, 2, "forward"), ((2, 1), 1, 3, "backward"))]

    prim = linear(name, impl=impl, aval=lambda x, **params: x, transpose=transpose, sparsity=_along_axes(lambda x, **params: x),
                  emit=BY_FFT, samples=samples)
    return _shifted_axes(prim)


dct, dst = _trigonometric("dct"), _trigonometric("dst")

__all__ = ["DUAL", "dct", "dst", "fft", "ifft", "irfft", "rfft"]

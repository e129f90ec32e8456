"""``numpy.fft`` (and, over the same rules, ``scipy.fft``): transforms composed of the four primitives, a length at a time."""

import numpy as np

from ..prims import fourier as prim
from ..prims.complexes import conj
from ..prims.fourier import DUAL
from ..prims.layout import basic, convert, embed
from .dispatch import row
from .rearrange import roll
from .reductions import at_least_array, axes_of
from .shapes import along, part
from .standins import StandIn

#: Two dimensions.
PLANE = (-2, -1)


# ---------------------------------------------------------------- operands
def _numbers(x, complex_=False):
    """Operand in a dtype the transforms have: integers become double precision, half becomes single; complex where asked."""
    x = at_least_array(x)
    dtype = np.dtype(float) if x.dtype.kind in "biu" else np.result_type(x.dtype, np.float32)
    dtype = np.result_type(dtype, np.complex64) if complex_ else dtype
    return x if x.dtype == dtype else convert(x, dtype=dtype)


def _reals(x, name):
    x = _numbers(x)
    if x.dtype.kind == "c":
        raise TypeError(f"{name}: the data must be real, not {x.dtype}; take np.real(...) or use fft")
    return x


def _sized(x, n, axis):
    """Cropped, or padded with zeros at the end, to length ``n`` along an axis."""
    if n < 1:
        raise ValueError(f"Invalid number of FFT data points ({n}) specified.")
    have = x.shape[axis]
    if n == have:
        return x
    if n < have:
        return part(x, along(axis, len(x.shape), slice(0, n)))
    shape = tuple(n if i == axis else s for i, s in enumerate(x.shape))
    return embed(x, shape=shape, at=basic(shape, along(axis, len(x.shape), slice(0, have))))


def _norm(norm):
    norm = "backward" if norm is None else norm
    if norm not in DUAL:
        raise ValueError(f'Invalid norm value {norm}; should be "backward", "ortho" or "forward".')
    return norm


def _lengths(x, s, axes, last=None):
    """Axes, in the order given, and the length along each; ``last`` makes the length of the last where none is given."""
    ndim = len(x.shape)
    if axes is None:
        axes = range(ndim) if s is None else range(ndim - len(s), ndim)
    axes = [axes_of(int(i), ndim)[0] for i in axes]
    if s is None:
        s = [x.shape[i] for i in axes]
        if last is not None and s:
            s[-1] = last(s[-1])
    if len(s) != len(axes):
        raise ValueError("Shape and axes have different lengths.")
    return axes, [x.shape[i] if n == -1 else int(n) for i, n in zip(axes, s, strict=True)]


# ---------------------------------------------------------------- transforms
def _complex_over(transform, x, axes, lengths, norm):
    """A complex transform over axes; one that is named twice is transformed twice."""
    for i, n in zip(axes, lengths, strict=True):
        x = _sized(x, n, i)
    if len(set(axes)) == len(axes):
        return transform(x, axes=tuple(axes), norm=norm) if axes else _numbers(x, True)
    for i in reversed(axes):
        x = transform(x, axes=(i,), norm=norm)
    return x


def _one(transform):
    def rule(a, n=None, axis=-1, norm=None):
        a = _numbers(a)
        i, = axes_of(int(axis), len(a.shape))
        return _complex_over(transform, a, [i], [a.shape[i] if n is None else n], _norm(norm))
    return rule


def _many(transform, plane=None):
    def rule(a, s=None, axes=plane, norm=None):
        a = _numbers(a)
        axes, lengths = _lengths(a, s, axes)
        return _complex_over(transform, a, axes, lengths, _norm(norm))
    return rule


fft = row(np.fft.fft)(_one(prim.fft))
ifft = row(np.fft.ifft)(_one(prim.ifft))
fftn = row(np.fft.fftn)(_many(prim.fft))
ifftn = row(np.fft.ifftn)(_many(prim.ifft))
fft2 = row(np.fft.fft2)(_many(prim.fft, PLANE))
ifft2 = row(np.fft.ifft2)(_many(prim.ifft, PLANE))


def _half_spectrum(a, axes, lengths, norm):
    last = axes[-1]
    y = prim.rfft(_sized(a, lengths[-1], last), axes=(last,), norm=norm)
    return _complex_over(prim.fft, y, axes[:-1], lengths[:-1], norm) if len(axes) > 1 else y


def _whole(a, axes, lengths, norm):
    y = _complex_over(prim.ifft, a, axes[:-1], lengths[:-1], norm) if len(axes) > 1 else a
    last, n = axes[-1], lengths[-1]
    if n < 1:
        raise ValueError(f"Invalid number of data points ({n}) specified.")
    return prim.irfft(_sized(y, n // 2 + 1, last), axes=(last,), length=n, norm=norm)


def _twice(m):
    """How many numbers have m frequencies, if they are even in number."""
    return 2 * (m - 1)


@row(np.fft.rfft)
def rfft(a, n=None, axis=-1, norm=None):
    return rfftn(a, None if n is None else (n,), (axis,), norm)


@row(np.fft.irfft)
def irfft(a, n=None, axis=-1, norm=None):
    return irfftn(a, None if n is None else (n,), (axis,), norm)


@row(np.fft.rfftn)
def rfftn(a, s=None, axes=None, norm=None):
    a = _reals(a, "rfft")
    return _half_spectrum(a, *_lengths(a, s, axes), _norm(norm))


@row(np.fft.irfftn)
def irfftn(a, s=None, axes=None, norm=None):
    a = _numbers(a, True)
    axes, lengths = _lengths(a, s, axes, _twice)
    return _whole(a, axes, lengths, _norm(norm))


@row(np.fft.rfft2)
def rfft2(a, s=None, axes=PLANE, norm=None):
    return rfftn(a, s, axes, norm)


@row(np.fft.irfft2)
def irfft2(a, s=None, axes=PLANE, norm=None):
    return irfftn(a, s, axes, norm)


@row(np.fft.hfft)
def hfft(a, n=None, axis=-1, norm=None):
    return irfft(conj(_numbers(a, True)), n, axis, DUAL[_norm(norm)])


@row(np.fft.ihfft)
def ihfft(a, n=None, axis=-1, norm=None):
    return conj(rfft(_reals(a, "ihfft"), n, axis, DUAL[_norm(norm)]))


def _shift(sign):
    def rule(x, axes=None):
        x = at_least_array(x)
        axes = axes_of(axes, len(x.shape))
        halves = tuple(sign * (x.shape[i] // 2) for i in axes)
        return roll(x, halves, axes)
    return rule


fftshift = row(np.fft.fftshift)(_shift(1))
ifftshift = row(np.fft.ifftshift)(_shift(-1))


# ---------------------------------------------------------------- scipy.fft
scipy_fft = StandIn("scipy.fft", dict.fromkeys(
    ("fht", "ifht", "hfft2", "ihfft2", "hfftn", "ihfftn"), "this transform has no rule yet; compose it of fft, rfft and their inverses"))


def _as_scipy(rule, name, several):
    """A rule under SciPy's signature."""
    if several:
        def apply(x, s=None, axes=rule.__defaults__[1], norm=None, overwrite_x=False, workers=None, *, plan=None):
            return rule(x, (s,) if isinstance(s, (int, np.integer)) else s, (axes,) if isinstance(axes, (int, np.integer)) else axes, norm)
    else:
        def apply(x, n=None, axis=-1, norm=None, overwrite_x=False, workers=None, *, plan=None):
            return rule(x, n, axis, norm)
    apply.__name__ = apply.__qualname__ = name
    scipy_fft.entry()(apply)


for _name, _rule in {"fft": fft, "ifft": ifft, "rfft": rfft, "irfft": irfft, "hfft": hfft, "ihfft": ihfft}.items():
    _as_scipy(_rule, _name, False)
for _name, _rule in {"fft2": fft2, "ifft2": ifft2, "rfft2": rfft2, "irfft2": irfft2, "fftn": fftn, "ifftn": ifftn, "rfftn": rfftn,
                     "irfftn": irfftn}.items():
    _as_scipy(_rule, _name, True)
for _name, _rule in {"fftshift": fftshift, "ifftshift": ifftshift}.items():
    _rule.__name__ = _name
    scipy_fft.entry()(_rule)


def _scaled_ends(x, axis, first, last):
    """Elements at the ends of an axis times numbers."""
    w = np.ones(x.shape[axis], x.dtype)
    w[0], w[-1] = w[0] * first, w[-1] * last
    return x * w.reshape([-1 if i == axis else 1 for i in range(len(x.shape))])


_ROOT = 2.0**0.5

#: (transform, type) -> ends of the operand and of the value that are scaled to make the transform orthogonal (SciPy's ``orthogonalize``).
_ORTHOGONAL = {("dct", 1): ((_ROOT, _ROOT), (1 / _ROOT, 1 / _ROOT)), ("dct", 2): ((1.0, 1.0), (1 / _ROOT, 1.0)),
               ("dct", 3): ((_ROOT, 1.0), (1.0, 1.0)), ("dst", 2): ((1.0, 1.0), (1.0, 1 / _ROOT)), ("dst", 3): ((1.0, _ROOT), (1.0, 1.0))}
_INVERSE_TYPE = {1: 1, 2: 3, 3: 2, 4: 4}


def _trigonometric(name, inverse):
    """A cosine or sine transform of SciPy's four types along one axis; the inverse is the transform of the inverse type, scaled."""
    transform = getattr(prim, name)

    def along_axis(x, kind, n, axis, norm, orthogonalize):
        x = _reals(x, name)
        i, = axes_of(int(axis), len(x.shape))
        x = x if n is None else _sized(x, n, i)
        if kind not in _INVERSE_TYPE:
            raise ValueError(f"{name}: invalid transform type {kind}; there are the types 1 to 4")
        if inverse:
            kind = _INVERSE_TYPE[kind]
        into, out = ((1.0, 1.0), (1.0, 1.0))
        if orthogonalize if orthogonalize is not None else norm == "ortho":
            into, out = _ORTHOGONAL.get((name, kind), (into, out))
        norm = DUAL[_norm(norm)] if inverse else _norm(norm)
        x = x if into == (1.0, 1.0) else _scaled_ends(x, i, *into)
        y = transform(x, kind=kind, axes=(i,), norm=norm)
        return y if out == (1.0, 1.0) else _scaled_ends(y, i, *out)

    def one(x, type=2, n=None, axis=-1, norm=None, overwrite_x=False, workers=None, orthogonalize=None):
        return along_axis(x, type, n, axis, norm, orthogonalize)

    def many(x, type=2, s=None, axes=None, norm=None, overwrite_x=False, workers=None, *, orthogonalize=None):
        x = at_least_array(x)
        axes, lengths = _lengths(x, s, axes)
        for i, n in zip(axes, lengths, strict=True):
            x = along_axis(x, type, n, i, norm, orthogonalize)
        return x

    for rule, suffix in ((one, ""), (many, "n")):
        rule.__name__ = rule.__qualname__ = ("i" if inverse else "") + name + suffix
        scipy_fft.entry()(rule)


for _name in ("dct", "dst"):
    _trigonometric(_name, False)
    _trigonometric(_name, True)

__all__ = ["fft", "fft2", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft", "irfft2", "irfftn", "rfft",
           "rfft2", "rfftn", "scipy_fft"]

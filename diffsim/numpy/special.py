"""``scipy.special`` for traced values: its ufuncs by dispatch, its other functions by name.

SciPy's ufuncs find their rule through NumPy's protocol (``LATE`` in dispatch), so ``scipy.special.erf(x)`` works as it is.  The functions
that are no ufuncs (``logsumexp``, ``softmax``, ...) do not dispatch: rebound functions see ours in their place.
"""

import functools
import math

import numpy as np

from ..core import FUNCTIONS, PYTHON_NUMBERS, UFUNCS, Tracer, bind, is_weak, narrow, user_line
from ..errors import MissingRule
from ..prims import bessel, distributions, further, gammas, orthogonal  # noqa: F401  (they fill SPECIAL)
from ..prims import elementwise as ew
from ..prims import special as sp
from ..prims.complexes import real
from ..prims.layout import convert, stop_gradient
from .dispatch import LATE, elementwise_entry
from .reductions import at_least_array, axes_of, max, sum
from .stacking import lift
from .standins import StandIn


@functools.cache
def _integers(name):
    """Positions where a ufunc has a loop of its own for an integer."""
    loops = [types.partition("->")[0] for types in sp.scipy_function(name).types]
    return frozenset(i for loop in loops for i, kind in enumerate(loop) if kind == "l")


@functools.lru_cache(maxsize=1024)
def _loop(name, kinds):
    """Dtypes of the loop a ufunc takes for dtypes and Python's classes of numbers, which mean single precision to some, not to others."""
    ufunc = sp.scipy_function(name)
    return ufunc.resolve_dtypes((*kinds, *[None] * ufunc.nout))


def _special_entry(name, prim):
    """The entry of a ufunc: Python's numbers are to it what they are to SciPy's loops, also where a graph is recorded."""
    entry = elementwise_entry(prim, len(prim.derivs))

    @functools.wraps(entry)
    def apply(*x):
        if any(v.__class__ is int for v in x):
            x = tuple(np.asarray(v) if v.__class__ is int and i in _integers(name) else v for i, v in enumerate(x))
        if any(map(_inexact, x)) and all(hasattr(v, "dtype") or v.__class__ in PYTHON_NUMBERS for v in x):
            dtypes = _loop(name, tuple(_inexact(v) or (v.dtype if hasattr(v, "dtype") else v.__class__) for v in x))
            x = tuple(map(_as, x, dtypes))
        return entry(*x)
    return apply


def _inexact(x):
    """The class of a number of Python's that is no integer, traced or not; None for all else."""
    if x.__class__ is float or x.__class__ is complex:
        return x.__class__
    return (complex if x.dtype.kind == "c" else float) if x.__class__ is Tracer and is_weak(x) else None


def _as(x, dtype):
    """An operand in the dtype a loop takes it in."""
    if x.__class__ in PYTHON_NUMBERS:
        return dtype.type(x)
    if x.__class__ is Tracer and is_weak(x):
        narrow(x)
    return x if x.dtype.kind not in "fc" or x.dtype == dtype else convert(lift(x), dtype=dtype)


for _name, _prim in sp.SPECIAL.items():
    LATE[_name] = _special_entry(_name, _prim)
for _name, _ufunc in {"cbrt": np.cbrt, "exp2": np.exp2, "expm1": np.expm1, "log1p": np.log1p, "round": np.rint}.items():
    LATE[_name] = lambda x, _ufunc=_ufunc: UFUNCS[_ufunc](x)


def _several(name, *prims):
    LATE[name] = lambda *x: tuple(bind(p, tuple(map(lift, x)), {}) for p in prims)


_several("airy", bessel.airy_ai, bessel.airy_aip, bessel.airy_bi, bessel.airy_bip)
_several("sici", sp.sici_si, sp.sici_ci)
_several("shichi", sp.shichi_shi, sp.shichi_chi)
_several("fresnel", sp.fresnel_s, sp.fresnel_c)
for _name, _prims in further.SEVERAL.items():
    _several(_name, *_prims)


# ---------------------------------------------------------------- functions that do not dispatch
stand_in = StandIn("scipy.special")
_enter = stand_in.entry()


def _unsupported(name, option):
    raise MissingRule(f"scipy.special.{name}", "derivative", f"{user_line()}: {option} has no rule")


@_enter
def logsumexp(a, axis=None, b=None, keepdims=False, return_sign=False):
    """Logarithm of a sum of exponentials, the largest taken out; minus infinity with derivative zero where every term is zero."""
    a = at_least_array(a)
    axes = axes_of(axis, len(a.shape))
    if b is not None:
        b = at_least_array(b)
        a = ew.where(ew.equal(b, 0.0), -np.inf, a)
    top = stop_gradient(real(max(a, axes, True) if axes else a))
    top = ew.where(ew.isfinite(top), top, 0.0)
    terms = ew.exp(ew.sub(a, top))
    total = sum(terms if b is None else ew.mul(b, terms), axes, None, keepdims)
    top = top if keepdims else FUNCTIONS[np.reshape](top, tuple(total.shape))
    if return_sign:
        sign = ew.sign(total)
        total = ew.magnitude(total)
    elif b is not None:
        total = ew.where(ew.less(total, 0.0), np.nan, total)
    none = ew.equal(total, 0.0)
    y = ew.where(none, -np.inf, ew.add(ew.log(ew.where(none, 1.0, total)), top))
    return (y, sign) if return_sign else y


@_enter
def softmax(x, axis=None):
    """Exponentials that sum to one."""
    x = at_least_array(x)
    e = ew.exp(ew.sub(x, stop_gradient(max(x, axis, True))))
    return ew.div(e, sum(e, axis, None, True))


@_enter
def log_softmax(x, axis=None):
    """Logarithm of ``softmax``."""
    x = at_least_array(x)
    shifted = ew.sub(x, stop_gradient(max(x, axis, True)))
    return ew.sub(shifted, ew.log(sum(ew.exp(shifted), axis, None, True)))


@_enter
def softplus(x):
    """log(1 + exp(x))."""
    return ew.logaddexp(0.0, x)


@_enter
def multigammaln(a, d):
    """Logarithm of the multivariate gamma function (DLMF 35.3.1)."""
    y = d * (d - 1) * 0.25 * math.log(math.pi)
    for j in range(d):
        y = ew.add(gammas.gammaln(ew.sub(a, 0.5 * j)), y)
    return y


@_enter
def polygamma(n, x):
    """Derivatives of the digamma function."""
    return gammas.polygamma(n, x)


@_enter
def zeta(x, q=None):
    """Hurwitz's zeta function; differentiable in q."""
    return gammas.zeta(x, 1.0 if q is None else q)


@_enter
def lambertw(z, k=0, tol=1e-8):
    """The inverse of w exp(w); its value is complex."""
    if not isinstance(k, (int, np.integer)):
        _unsupported("lambertw", "an array of branches k")
    return sp.lambertw(z, k=int(k))


def _spherical(prim):
    def rule(n, z, derivative=False):
        if derivative:
            return prim.derivs[1](lift(n), z, prim(n, z))
        return prim(n, z)
    rule.__name__, rule.__doc__ = prim.name, "Spherical Bessel function of integer order; differentiable in z."
    return _enter(rule)


spherical_jn, spherical_yn = _spherical(bessel.spherical_jn), _spherical(bessel.spherical_yn)
spherical_in, spherical_kn = _spherical(bessel.spherical_in), _spherical(bessel.spherical_kn)


@_enter
def sph_harm_y(n, m, theta, phi):
    """Spherical harmonics; differentiable in both angles."""
    return orthogonal.sph_harm_y(n, m, theta, phi)


def _derivative_of(name, f, ratio, sign):
    """n-th derivative in z of a Bessel function by its recurrence (DLMF 10.6.7, 10.29.5)."""
    def rule(v, z, n=1):
        total = 0.0
        for k in range(n + 1):
            total = ew.add(ew.mul(f(v - n + 2 * k, z), float(math.comb(n, k) * sign**k)), total)
        return ew.mul(total, (0.5 * ratio) ** n)
    rule.__name__, rule.__doc__ = name, "n-th derivative of a Bessel function with respect to z."
    return _enter(rule)


jvp, yvp = _derivative_of("jvp", bessel.jv, 1.0, -1), _derivative_of("yvp", bessel.yv, 1.0, -1)
ivp, kvp = _derivative_of("ivp", bessel.iv, 1.0, 1), _derivative_of("kvp", bessel.kv, -1.0, 1)
h1vp, h2vp = _derivative_of("h1vp", bessel.hankel1, 1.0, -1), _derivative_of("h2vp", bessel.hankel2, 1.0, -1)


@_enter
def comb(N, k, *, exact=False, repetition=False):                           # noqa: N803  (SciPy's name)
    """Binomial coefficients of real numbers, 0 outside 0 <= k <= N."""
    if exact:
        _unsupported("comb", "exact=True (integers)")
    if repetition:
        N = ew.add(N, ew.sub(k, 1.0))                                        # noqa: N806
    inside = ew.logical_and(ew.less_equal(k, N), ew.logical_and(ew.greater_equal(k, 0.0), ew.greater_equal(N, 0.0)))
    return ew.where(inside, gammas.binom(ew.where(inside, N, 2.0), ew.where(inside, k, 1.0)), 0.0)


@_enter
def perm(N, k, exact=False):                                                # noqa: N803  (SciPy's name)
    """Numbers of arrangements, 0 outside 0 <= k <= N."""
    if exact:
        _unsupported("perm", "exact=True (integers)")
    inside = ew.logical_and(ew.less_equal(k, N), ew.logical_and(ew.greater_equal(k, 0.0), ew.greater_equal(N, 0.0)))
    N, k = ew.where(inside, N, 2.0), ew.where(inside, k, 1.0)                # noqa: N806
    return ew.where(inside, gammas.poch(ew.add(ew.sub(N, k), 1.0), k), 0.0)


@_enter
def factorial(n, exact=False, extend="zero"):
    """Gamma of n + 1, 0 below 0."""
    if exact or extend != "zero":
        _unsupported("factorial", "exact=True and extend='complex'")
    below = ew.less(n, 0.0)
    return ew.where(below, 0.0, gammas.gamma(ew.add(ew.where(below, 1.0, n), 1.0)))


@_enter
def diric(x, n):
    """Periodic sinc: sin(n x/2) / (n sin(x/2)), by cosines where the denominator is small (n an integer)."""
    if isinstance(n, Tracer) or np.ndim(n) or n != int(n) or n < 1:
        _unsupported("diric", "n that is not one positive integer")
    n, total = int(n), 1.0 if int(n) % 2 else 0.0           # (1 + 2 cos x + ... ) / n, or (2 cos x/2 + 2 cos 3x/2 + ...) / n
    for k in range(1 + n % 2, n, 2):
        total = ew.add(ew.mul(ew.cos(ew.mul(x, k / 2)), 2.0), total)
    return ew.mul(ew.add(total, ew.mul(x, 0.0)), 1.0 / n)


@_enter
def sinc(x):
    """NumPy's sinc."""
    return FUNCTIONS[np.sinc](x)


@_enter
def assoc_laguerre(x, n, k=0.0):
    """Generalised Laguerre polynomial."""
    return orthogonal.eval_genlaguerre(n, k, x)

__all__ = ["stand_in"]

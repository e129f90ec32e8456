"""Bessel, Airy, Struve and spherical Bessel functions: derivatives by their recurrences (DLMF 9.2, 10.6, 10.29, 10.51, 11.4).

The derivative with respect to the order of K is an integral (DLMF 10.32.9); that of the others has no closed form and is one of an
interpolant (:mod:`~diffsim.prims.parameter`).
"""

import math

import numpy as np

from ..core import Aval, Primitive
from .elementwise import (
    absolute,
    arcsinh,
    batch_elementwise,
    elementwise_jvp,
    equal,
    greater,
    logical_and,
    magnitude,
    maximum,
    power,
    sign,
    where,
)
from .family import NOT_LINEAR, POSITIVE, REAL, broadcast_shapes
from .gammas import rgamma
from .parameter import in_parameter
from .special import NOT_LINKED, PLUS, SPECIAL, refused, scipy_function, special, special_samples

ORDERS = range(0, 4)


def _count(name):
    return refused(name, "the order n, an integer")


def _reach(v, x):
    """Functions of order v grow with it as exp(v arcsinh(v/x)), and turn a quarter where they oscillate."""
    size = where(equal(x, 0.0), 1.0, magnitude(x))
    return 1.5 / maximum(1.5, arcsinh((absolute(v) + 2.0) / size))


def _in_order(name, vanishes=None):
    return in_parameter(lambda: SPECIAL[name], name, 0, "v", reach=_reach, samples=special_samples(PLUS, POSITIVE), vanishes=vanishes)


def _at_zero(v, x):
    """Where (x/2)^v is 0 for every order beside v, too."""
    return logical_and(equal(x, 0.0), greater(v, 0.0))


def _neighbours(prim, sign_):
    """(f_{v-1} + sign f_{v+1}) / 2."""
    def rule(v, x):
        low, high = prim()(v - 1, x), prim()(v + 1, x)
        return 0.5 * (low + high if sign_ > 0 else low - high)
    return rule


def _family(name, sign_, scaled=None, domain=POSITIVE, vanishes=None):
    """A row of functions of order v and argument x; ``scaled(x)`` times the value is added where the row carries an exponential factor."""
    half = _neighbours(lambda: SPECIAL[name], sign_)

    def deriv(v, x, y):
        return half(v, x) if scaled is None else half(v, x) + scaled(x) * y
    return special(name, _in_order(name, vanishes), deriv, domain=(ORDERS, domain), analytic=name not in ("ive", "jve", "yve"))


jv = _family("jv", -1, vanishes=_at_zero)
jve = _family("jve", -1, vanishes=_at_zero)
yv = _family("yv", -1)
yve = _family("yve", -1)
iv = _family("iv", 1, vanishes=_at_zero)
ive = _family("ive", 1, scaled=lambda x: -sign(x), vanishes=_at_zero)
SPECIAL["jn"] = jv
yn = special("yn", _count("yn"), lambda n, x, y: 0.5 * (yn(n - 1, x) - yn(n + 1, x)), domain=(ORDERS, POSITIVE))


hankel1, hankel2 = _family("hankel1", -1), _family("hankel2", -1)
hankel1e, hankel2e = _family("hankel1e", -1, scaled=lambda x: -1j), _family("hankel2e", -1, scaled=lambda x: 1j)


# ---------------------------------------------------------------- K of real order (DLMF 10.32.9)
_T = np.arange(0, 401) / 400.0


def _kv_order_impl(v, x, *, n, scaled):
    """n-th derivative in v: the integral over t > 0 of t^n exp(-x cosh t) cosh(v t) (sinh for odd n), by the trapezoidal rule.

    The integrand is even and falls like exp(-exp t), so the rule converges exponentially.  It ends where the integrand is below 1e-20 of
    its largest value.
    """
    v, x = np.broadcast_arrays(v, x)
    dtype = np.result_type(v.dtype, x.dtype)
    flat_v, flat_x = np.abs(v.astype(float)).reshape(-1, 1), x.astype(float).reshape(-1, 1)
    inside = (flat_x > 0) & np.isfinite(flat_x)
    safe = np.where(inside, flat_x, 1.0)
    peak = np.arcsinh(flat_v / safe)
    far = peak + np.arccosh(1.0 + 60.0 / np.sqrt(flat_v**2 + safe**2)) + np.log1p(1.0 / safe) * (flat_v < 1)
    t = far * _T
    level = -safe * (np.cosh(t) - (1.0 if scaled else 0.0))
    half = -0.5 * np.expm1(-2.0 * flat_v * t) if n % 2 else 0.5 + 0.5 * np.exp(-2.0 * flat_v * t)
    with np.errstate(over="ignore", invalid="ignore"):      # of large orders and small arguments it is infinite, as kv
        terms = t**n * half * np.exp(level + flat_v * t)
        terms[:, 0] *= 0.5
        y = np.sum(terms, 1, keepdims=True) * far / 400.0
    y = np.where(inside, y, np.nan).reshape(v.shape)
    return (np.sign(v) * y if n % 2 else y).astype(dtype)[()]         # even in v: of even n not 0 at order 0


def _kv_order_v(v, x, y, *, n, scaled):
    return kv_order(v, x, n=n + 1, scaled=scaled)


def _kv_order_x(v, x, y, *, n, scaled):
    """-(K_{v-1} + K_{v+1})/2, differentiated in v as often."""
    half = -0.5 * (kv_order(v - 1.0, x, n=n, scaled=scaled) + kv_order(v + 1.0, x, n=n, scaled=scaled))
    return half + y if scaled else half


#: d^n/dv^n of kv (``scaled``: kve): relative error about 1e-13.
kv_order = Primitive(
    "kv_order", impl=_kv_order_impl,
    aval=lambda v, x, **params: Aval(broadcast_shapes(v.shape, x.shape), np.result_type(v.dtype, x.dtype)),
    derivs=(_kv_order_v, _kv_order_x), jvp=elementwise_jvp((_kv_order_v, _kv_order_x)), transpose=NOT_LINEAR,
    batch=batch_elementwise(lambda: kv_order), emit=NOT_LINKED,
    samples=lambda rng: [(x, {"n": 1 + i % 2, "scaled": i % 3 == 0}) for i, (x, _) in enumerate(special_samples(PLUS, POSITIVE)(rng))])
kv = special("kv", lambda v, x, y: kv_order(v, x, n=1, scaled=False), lambda v, x, y: -0.5 * (kv(v - 1, x) + kv(v + 1, x)),
             domain=(PLUS, POSITIVE))
kve = special("kve", lambda v, x, y: kv_order(v, x, n=1, scaled=True), lambda v, x, y: y - 0.5 * (kve(v - 1, x) + kve(v + 1, x)),
              domain=(PLUS, POSITIVE))
kn = special("kn", _count("kn"), lambda n, x, y: -0.5 * (kn(absolute(n - 1), x) + kn(n + 1, x)), domain=(ORDERS, POSITIVE))

# ---------------------------------------------------------------- orders 0 and 1
j0 = special("j0", lambda x, y: -j1(x), domain=REAL)
j1 = special("j1", lambda x, y: 0.5 * (j0(x) - jv(2, x)), domain=REAL)
y0 = special("y0", lambda x, y: -y1(x), domain=POSITIVE)
y1 = special("y1", lambda x, y: y0(x) - y / x, domain=POSITIVE)
i0 = special("i0", lambda x, y: i1(x), domain=REAL)
i1 = special("i1", lambda x, y: 0.5 * (i0(x) + iv(2, x)), domain=REAL)
i0e = special("i0e", lambda x, y: i1e(x) - sign(x) * y, domain=POSITIVE)
i1e = special("i1e", lambda x, y: 0.5 * (i0e(x) + ive(2, x)) - sign(x) * y, domain=POSITIVE)
k0 = special("k0", lambda x, y: -k1(x), domain=POSITIVE)
k1 = special("k1", lambda x, y: -k0(x) - y / x, domain=POSITIVE)
k0e = special("k0e", lambda x, y: y - k1e(x), domain=POSITIVE)
k1e = special("k1e", lambda x, y: y - k0e(x) - y / x, domain=POSITIVE)


# ---------------------------------------------------------------- Airy (DLMF 9.2) and Struve (11.4) functions
def _airy(name, n, deriv):
    return special("airy", deriv, domain=REAL, part=(n, name), analytic=True)


airy_ai = _airy("airy_ai", 0, lambda x, y: airy_aip(x))
airy_aip = _airy("airy_aip", 1, lambda x, y: x * airy_ai(x))
airy_bi = _airy("airy_bi", 2, lambda x, y: airy_bip(x))
airy_bip = _airy("airy_bip", 3, lambda x, y: x * airy_bi(x))


def _struve_rest(v, x):
    """(x/2)^v / (sqrt(π) Γ(v + 3/2))."""
    return power(0.5 * x, v) * rgamma(v + 1.5) / math.sqrt(math.pi)


struve = special("struve", _in_order("struve"), lambda v, x, y: 0.5 * (struve(v - 1.0, x) - struve(v + 1.0, x) + _struve_rest(v, x)),
                 domain=(range(0, 3), POSITIVE))
modstruve = special("modstruve", _in_order("modstruve"),
                    lambda v, x, y: 0.5 * (modstruve(v - 1.0, x) + modstruve(v + 1.0, x) + _struve_rest(v, x)),
                    domain=(range(0, 3), POSITIVE))


# ---------------------------------------------------------------- spherical Bessel functions (DLMF 10.51)
def _spherical(name, sign_, first):
    """f_n' = ±f_{n+1} + n f_n / x; at 0 that is the limit of (n f_{n-1} ± (n+1) f_{n+1}) / (2n+1)."""
    def deriv(n, x, y):
        n = n if hasattr(n, "shape") else np.asarray(n)
        below = where(equal(n, 0), 0.0, n * prim(where(equal(n, 0), 0, n - 1), x) * first)
        return (below + sign_ * (n + 1) * prim(n + 1, x)) / (2 * n + 1)

    rules = (_count(name), deriv)
    prim = Primitive(
        name, impl=lambda n, x: scipy_function(name)(n, x),
        aval=lambda n, x: Aval(broadcast_shapes(n.shape, x.shape), np.dtype(x.dtype if name == "spherical_kn" else np.float64)),
        derivs=rules, jvp=elementwise_jvp(rules), transpose=NOT_LINEAR, batch=batch_elementwise(lambda: prim), emit=NOT_LINKED,
        samples=special_samples(ORDERS, POSITIVE))
    return prim


spherical_jn, spherical_yn = _spherical("spherical_jn", -1.0, 1.0), _spherical("spherical_yn", -1.0, 1.0)
spherical_in, spherical_kn = _spherical("spherical_in", 1.0, 1.0), _spherical("spherical_kn", -1.0, -1.0)

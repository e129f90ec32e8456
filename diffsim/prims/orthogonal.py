"""Orthogonal polynomials, hypergeometric functions, elliptic integrals (DLMF, chapters 13, 15, 16, 18 and 19)."""

import math

import numpy as np

from ..core import Aval, Primitive
from .elementwise import (
    absolute,
    batch_elementwise,
    cos,
    elementwise_jvp,
    equal,
    exp,
    less,
    log,
    log1p,
    magnitude,
    maximum,
    minimum,
    sin,
    sqrt,
    square,
    where,
)
from .family import NONZERO, NOT_LINEAR, POSITIVE, REAL, UNIT, broadcast_shapes
from .parameter import in_parameter, near_poles
from .special import FRACTION, NOT_LINKED, PLUS, SPECIAL, refused, scipy_function, special, special_samples

DEGREES = range(0, 5)
LOW_FRACTION = (-0.6, 0.6, False)


# ---------------------------------------------------------------- polynomials (DLMF 18.9)
def _count(name):
    return refused(name, "the degree n, an integer")


def _half(n, *x):
    """How far a degree may be varied: values turn with it by at most π, and -1 may be a pole."""
    return near_poles(0.75, n + 1.0)


def _degree(name, *others):
    """The derivative in a degree that need not be an integer; ``others`` draw the other operands."""
    return in_parameter(lambda: SPECIAL[name], name, 0, "n", reach=_half, samples=special_samples((2.2, 4.0, False), *others))


def _parameter(name, place, symbol, reach, *domains):
    return in_parameter(lambda: SPECIAL[name], name, place, symbol, reach=reach, samples=special_samples(*domains))


def _above(end):
    """How far a parameter may be varied beside a pole at the end."""
    return minimum(1.0, absolute(end) / 4.0)


def _lower(n, rule):
    """``rule(n - 1)``, and 0 for degree 0."""
    zero = equal(n, 0)
    return where(zero, 0.0, rule(where(zero, 0, n - 1)))


eval_legendre = special("eval_legendre", _degree("eval_legendre", LOW_FRACTION),
                        lambda n, x, y: _lower(n, lambda m: eval_gegenbauer(m, 1.5, x)), domain=(DEGREES, UNIT))
eval_gegenbauer = special("eval_gegenbauer", _degree("eval_gegenbauer", PLUS, LOW_FRACTION),
                          _parameter("eval_gegenbauer", 1, "alpha", lambda n, alpha, x: _above(alpha + 0.5 * n), DEGREES, PLUS, UNIT),
                          lambda n, alpha, x, y: 2 * alpha * _lower(n, lambda m: eval_gegenbauer(m, alpha + 1, x)),
                          domain=(DEGREES, range(1, 4), UNIT))
eval_chebyt = special("eval_chebyt", _degree("eval_chebyt", LOW_FRACTION),
                      lambda n, x, y: n * _lower(n, lambda m: eval_chebyu(m, x)), domain=(DEGREES, UNIT))
eval_chebyu = special("eval_chebyu", _degree("eval_chebyu", LOW_FRACTION),
                      lambda n, x, y: 2.0 * _lower(n, lambda m: eval_gegenbauer(m, 2.0, x)), domain=(DEGREES, UNIT))
eval_hermite = special("eval_hermite", _count("eval_hermite"), lambda n, x, y: 2 * n * _lower(n, lambda m: eval_hermite(m, x)),
                       domain=(DEGREES, REAL))
eval_hermitenorm = special("eval_hermitenorm", _count("eval_hermitenorm"),
                           lambda n, x, y: n * _lower(n, lambda m: eval_hermitenorm(m, x)), domain=(DEGREES, REAL))
eval_laguerre = special("eval_laguerre", _degree("eval_laguerre", POSITIVE),
                        lambda n, x, y: -_lower(n, lambda m: eval_genlaguerre(m, 1.0, x)), domain=(DEGREES, POSITIVE))
eval_genlaguerre = special("eval_genlaguerre", _degree("eval_genlaguerre", PLUS, POSITIVE),
                           _parameter("eval_genlaguerre", 1, "alpha", lambda n, alpha, x: _above(alpha + n + 1.0), DEGREES, PLUS, POSITIVE),
                           lambda n, alpha, x, y: -_lower(n, lambda m: eval_genlaguerre(m, alpha + 1, x)),
                           domain=(DEGREES, range(0, 3), POSITIVE))
eval_jacobi = special("eval_jacobi", _degree("eval_jacobi", PLUS, PLUS, LOW_FRACTION),
                      _parameter("eval_jacobi", 1, "alpha", lambda n, a, b, x: _above(a + n + 1.0), DEGREES, PLUS, PLUS, UNIT),
                      _parameter("eval_jacobi", 2, "beta", lambda n, a, b, x: _above(b + n + 1.0), DEGREES, PLUS, PLUS, UNIT),
                      lambda n, a, b, x, y: 0.5 * (n + a + b + 1) * _lower(n, lambda m: eval_jacobi(m, a + 1, b + 1, x)),
                      domain=(DEGREES, range(0, 3), range(0, 3), UNIT))

# ---------------------------------------------------------------- Legendre functions and spherical harmonics (DLMF 14.10, 14.30)
lpmv = special("lpmv", refused("lpmv", "the order m, an integer"),
               _parameter("lpmv", 1, "v", lambda m, v, x: _half(v), range(0, 3), (3.2, 4.8, False), LOW_FRACTION),
               lambda m, v, x, y: (v * x * y - (v + m) * lpmv(m, v - 1, x)) / (square(x) - 1.0), domain=(range(0, 3), range(2, 5), UNIT))


def _sph_harm_theta(n, m, theta, phi, y):
    """m cot(θ) Y + sqrt((n - m)(n + m + 1)) e^(-iφ) Y of order m + 1."""
    n, m = (a if hasattr(a, "shape") else np.asarray(a) for a in (n, m))
    rise = np.sqrt((n - m) * (n + m + 1.0))
    above = sph_harm_y(n, np.minimum(m + 1, n), theta, phi)
    return m * cos(theta) / sin(theta) * y + rise * exp(-1j * phi) * above


_SPH_HARM = (refused("sph_harm_y", "the degree n"), refused("sph_harm_y", "the order m"), _sph_harm_theta,
             lambda n, m, theta, phi, y: 1j * m * y)
sph_harm_y = Primitive(
    "sph_harm_y", impl=lambda *x: scipy_function("sph_harm_y")(*x),
    aval=lambda *x: Aval(broadcast_shapes(*[a.shape for a in x]), np.dtype(np.complex128)),
    derivs=_SPH_HARM, jvp=elementwise_jvp(_SPH_HARM), transpose=NOT_LINEAR,
    batch=batch_elementwise(lambda: sph_harm_y), emit=NOT_LINKED,
    samples=special_samples(range(2, 4), range(-2, 3), FRACTION, REAL))

# ---------------------------------------------------------------- hypergeometric functions (DLMF 13.3, 15.5, 16.3)
def _reach(z):
    """How far a parameter may be varied: the functions grow with it about as a power of z."""
    return 2.0 / maximum(2.0, 1.0 + log1p(magnitude(z)))


def _two_reach(z):
    """The same of 2F1, which grows about as a power of 1 - z."""
    away = magnitude(1.0 - z)
    return 1.0 / (1.0 + absolute(log(where(equal(away, 0.0), 1.0, away))))


_ONE, _TWO = (PLUS, (4.6, 6.4, False), REAL), (PLUS, PLUS, (2.6, 4.4, False), LOW_FRACTION)
hyp0f1 = special("hyp0f1", _parameter("hyp0f1", 0, "v", lambda v, z: near_poles(_reach(z), v), PLUS, REAL),
                 lambda v, z, y: hyp0f1(v + 1, z) / v, domain=(range(1, 4), REAL), analytic=True)
hyp1f1 = special("hyp1f1", _parameter("hyp1f1", 0, "a", lambda a, b, z: _reach(z), *_ONE),
                 _parameter("hyp1f1", 1, "b", lambda a, b, z: near_poles(_reach(z), b), *_ONE),
                 lambda a, b, z, y: a / b * hyp1f1(a + 1, b + 1, z), domain=(range(1, 4), range(1, 4), REAL), analytic=True)
hyperu = special("hyperu", *[refused("hyperu", f"the parameter {p}", "SciPy's values are not accurate enough for it") for p in "ab"],
                 lambda a, b, z, y: -a * hyperu(a + 1, b + 1, z), domain=(range(1, 3), range(1, 3), POSITIVE))
hyp2f1 = special("hyp2f1", _parameter("hyp2f1", 0, "a", lambda a, b, c, z: _two_reach(z), *_TWO),
                 _parameter("hyp2f1", 1, "b", lambda a, b, c, z: _two_reach(z), *_TWO),
                 _parameter("hyp2f1", 2, "c", lambda a, b, c, z: near_poles(_two_reach(z), c), *_TWO),
                 lambda a, b, c, z, y: a * b / c * hyp2f1(a + 1, b + 1, c + 1, z),
                 domain=(range(1, 3), range(1, 3), range(3, 5), LOW_FRACTION), analytic=True)

# ---------------------------------------------------------------- complete elliptic integrals of the parameter m (DLMF 19.4, 19.5)
SMALL = 0.05


def _by_series(m, near, far):
    """``near(m)`` (a hypergeometric series) for small m, where ``far`` subtracts nearly equal numbers."""
    small = less(absolute(m), SMALL)
    return where(small, near(where(small, m, 0.0)), far(where(small, 0.5, m)))


def _ellipk_deriv(m, y):
    return _by_series(m, lambda t: math.pi / 8 * hyp2f1(1.5, 1.5, 2.0, t),
                      lambda t: (ellipe(t) / (1.0 - t) - ellipk(t)) / (2.0 * t))


def _ellipe_deriv(m, y):
    return _by_series(m, lambda t: -math.pi / 8 * hyp2f1(0.5, 1.5, 2.0, t), lambda t: (ellipe(t) - ellipk(t)) / (2.0 * t))


def _ellipkm1_deriv(p, y):
    """K at m = 1 - p."""
    return -_by_series(1.0 - p, lambda t: math.pi / 8 * hyp2f1(1.5, 1.5, 2.0, t),
                       lambda t: (ellipe(t) / (1.0 - t) - ellipkm1(1.0 - t)) / (2.0 * t))


ellipk = special("ellipk", _ellipk_deriv, domain=LOW_FRACTION)
ellipe = special("ellipe", _ellipe_deriv, domain=LOW_FRACTION)
ellipkm1 = special("ellipkm1", _ellipkm1_deriv, domain=FRACTION)


# ---------------------------------------------------------------- incomplete elliptic integrals (DLMF 19.4)
def _delta(phi, m):
    return sqrt(1.0 - m * square(sin(phi)))


def _moments(phi, n):
    """Integrals of sin^2k from 0 to phi, k = 0 to n, by their recurrence."""
    out, s, c = [phi], sin(phi), cos(phi)
    odd = s
    for k in range(1, n + 1):
        out.append(((2 * k - 1) * out[-1] - c * odd) / (2.0 * k))
        odd = odd * square(s)
    return out


def _small_m(phi, m, exponent):
    """d/dm of the integral of (1 - m sin²)^exponent from 0 to phi, to m⁹: for abs(m) below ``SMALL`` the rest is below rounding."""
    total, coefficient = 0.0, 1.0
    moments, terms = _moments(phi, 10), []
    for k in range(1, 11):
        coefficient *= -(exponent - k + 1) / k              # of m^k sin^2k
        terms.append(k * coefficient * moments[k])
    for term in reversed(terms):
        total = total * m + term
    return total


def _incomplete(m, exponent, phi, far):
    small = less(absolute(m), SMALL)
    return where(small, _small_m(phi, where(small, m, 0.0), exponent), far(where(small, 0.5, m)))


def _ellipkinc_m(phi, m, y):
    def far(t):
        e, f = ellipeinc(phi, t), ellipkinc(phi, t)
        return e / (2.0 * t * (1.0 - t)) - f / (2.0 * t) - sin(2.0 * phi) / (4.0 * (1.0 - t) * _delta(phi, t))
    return _incomplete(m, -0.5, phi, far)


def _ellipeinc_m(phi, m, y):
    return _incomplete(m, 0.5, phi, lambda t: (ellipeinc(phi, t) - ellipkinc(phi, t)) / (2.0 * t))


ellipkinc = special("ellipkinc", lambda phi, m, y: 1.0 / _delta(phi, m), _ellipkinc_m, domain=(NONZERO, LOW_FRACTION))
ellipeinc = special("ellipeinc", lambda phi, m, y: _delta(phi, m), _ellipeinc_m, domain=(NONZERO, LOW_FRACTION))


# ---------------------------------------------------------------- the arithmetic-geometric mean (DLMF 19.8)
def _agm_part(a, b, y):
    """From agm(a, b) = π (a + b) / (4 K(((a - b)/(a + b))²))."""
    s = (a - b) / (a + b)
    m = square(s)
    k = ellipk(m)
    return y / (a + b) - y * _ellipk_deriv(m, None) / k * 2.0 * s * (2.0 * b) / square(a + b)


agm = special("agm", _agm_part, lambda a, b, y: _agm_part(b, a, y), domain=(POSITIVE, PLUS))

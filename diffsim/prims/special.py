"""Special functions: error functions, exponential integrals, gamma functions, entropies, normal and logistic distributions.

A row names the function of ``scipy.special`` it is; SciPy is loaded at the first value.  Derivatives: DLMF, chapters 4 to 8.
Where a derivative in an operand has no closed form the row refuses that operand (:func:`refused`), and it alone.
"""

import functools
import importlib
import math

import numpy as np

from ..core import Aval, Primitive, user_line
from ..core.emission import Back, Scalar
from ..errors import MissingRule
from .elementwise import (
    absolute,
    batch_elementwise,
    cos,
    cosh,
    elementwise_jvp,
    equal,
    exp,
    greater,
    less_equal,
    log,
    log1p,
    magnitude,
    minimum,
    power,
    sign,
    sin,
    sinh,
    sqrt,
    square,
    where,
)
from .entries import emitted
from .family import NONZERO, NOT_LINEAR, POSITIVE, REAL, SHAPES_1, SHAPES_2, SHAPES_3, UNIT, broadcast_shapes, draw, draw_complex

#: scipy.special's name -> the primitive that answers to it.
SPECIAL = {}
NOT_LINKED = Back("SciPy offers its routine to Python alone")
SQRT_PI, SQRT_2PI, LN_2 = math.sqrt(math.pi), math.sqrt(2 * math.pi), math.log(2)
SHAPES_4 = (((), (), (), ()), ((3,), (3,), (3,), (3,)), ((2, 1), (), (1, 3), (2, 3)))
FRACTION, PLUS, LOW = (0.1, 0.9, False), (0.5, 2.5, False), (-2.0, 0.7, False)


@functools.cache
def scipy_function(name):
    """The function of ``scipy.special`` of this name."""
    return getattr(importlib.import_module("scipy.special"), name)


@functools.lru_cache(maxsize=4096)
def _resolved(name, dtypes):
    ufunc = scipy_function(name)
    return ufunc.resolve_dtypes((*dtypes, *[None] * ufunc.nout))[-1]


def special_samples(*domains, analytic=False):
    """Draws operands, for analytic functions also complex ones; a ``range`` draws integers, which carry no derivative."""
    shapes = {1: tuple((s,) for s in SHAPES_1), 2: SHAPES_2, 3: SHAPES_3, 4: SHAPES_4}[len(domains)]

    def one(rng, domain, shape, pick):
        return np.asarray(rng.integers(domain.start, domain.stop, shape)) if isinstance(domain, range) else pick(rng, domain, shape)

    def samples(rng):
        return [(tuple(one(rng, d, s, pick) for d, s in zip(domains, each, strict=True)), {})
                for pick in ((draw, draw_complex) if analytic else (draw,)) for each in shapes]
    samples.operands = len(domains)
    return samples


def _real_only(name, deriv):
    """A derivative that holds for real operands alone, refusing others."""
    if not callable(deriv):
        return deriv

    def checked(*x):
        if any(getattr(a, "dtype", None) is not None and a.dtype.kind == "c" for a in x):
            raise MissingRule(f"scipy.special.{name}", "derivative", f"{user_line()}: no rule is known for complex operands")
        return deriv(*x)
    return checked


def special(name, *derivs, domain, emit=None, part=None, analytic=False):
    """A row: a ufunc of ``scipy.special``, its derivatives in each operand, where it is sampled.

    Parameters
    ----------
    name : str
        SciPy's name; ``part`` says which of several values, and names the primitive then.
    *derivs : callable, 1, -1 or None
        ``deriv(*x, y)``, as in ``elementwise``.
    domain : tuple
        One entry an operand.
    emit : callable, optional
        ``rule(k, *scalars)``.
    analytic : bool
        The derivatives hold for complex operands too.
    """
    number, label = (None, name) if part is None else part
    domain = domain if isinstance(domain[0], (tuple, range)) else (domain,)

    def impl(*x):
        y = scipy_function(name)(*x)
        return y if number is None else y[number]

    derivs = derivs if analytic else tuple(_real_only(name, d) for d in derivs)
    prim = Primitive(
        label,
        impl=impl, aval=lambda *x: Aval(broadcast_shapes(*[a.shape for a in x]), _resolved(name, tuple(a.dtype for a in x))),
        jvp=elementwise_jvp(derivs), derivs=derivs, transpose=NOT_LINEAR,
        batch=batch_elementwise(lambda: prim), emit=emitted(label, NOT_LINKED) if emit is None else Scalar(emit),
        samples=special_samples(*domain, analytic=analytic))
    if number is None:
        SPECIAL[name] = prim
    return prim


def refused(name, operand, reason="it has no closed form"):
    """Derivative of a row in an operand it cannot be differentiated in."""
    def deriv(*x):
        raise MissingRule(f"scipy.special.{name}", "derivative",
                          f"{user_line()}: the derivative with respect to {operand} is not available: {reason}. Hold it constant "
                          f"(diffsim.stop_gradient)")
    return deriv


def by_series(t, coefficients, far, radius=0.05):
    """A power series for small t, where ``far(t)`` divides nearly by zero; right in every derivative the series has terms for."""
    small = less_equal(magnitude(t), radius)
    near, total = where(small, t, 0.0), 0.0
    for c in reversed(coefficients):
        total = total * near + c
    return where(small, total, far(where(small, 1.0, t)))


# ---------------------------------------------------------------- error functions (DLMF 7.2, 7.10)
def _gauss(x):
    return exp(-square(x))


erf = special("erf", lambda x, y: 2 / SQRT_PI * _gauss(x), domain=REAL, emit=lambda k, x: k.call("erf", x), analytic=True)
erfc = special("erfc", lambda x, y: -2 / SQRT_PI * _gauss(x), domain=REAL, emit=lambda k, x: k.call("erfc", x), analytic=True)
erfcx = special("erfcx", lambda x, y: 2.0 * x * y - 2 / SQRT_PI, domain=REAL, analytic=True)
erfi = special("erfi", lambda x, y: 2 / SQRT_PI * exp(square(x)), domain=UNIT, analytic=True)
dawsn = special("dawsn", lambda x, y: 1.0 - 2.0 * x * y, domain=REAL, analytic=True)
erfinv = special("erfinv", lambda x, y: SQRT_PI / 2 * exp(square(y)), domain=UNIT)
erfcinv = special("erfcinv", lambda x, y: -SQRT_PI / 2 * exp(square(y)), domain=FRACTION)


# ---------------------------------------------------------------- the normal distribution
def _ndtr_emit(k, x):
    return k.mul(k.const(0.5, x.dtype), k.call("erfc", k.mul(x, k.const(-math.sqrt(0.5), x.dtype))))


ndtr = special("ndtr", lambda x, y: exp(-0.5 * square(x)) * (1 / SQRT_2PI), domain=REAL, emit=_ndtr_emit, analytic=True)
ndtri = special("ndtri", lambda x, y: SQRT_2PI * exp(0.5 * square(y)), domain=FRACTION)
log_ndtr = special("log_ndtr", lambda x, y: exp(-0.5 * square(x) - y) * (1 / SQRT_2PI), domain=REAL, analytic=True)
ndtri_exp = special("ndtri_exp", lambda x, y: SQRT_2PI * exp(x + 0.5 * square(y)), domain=(-3.0, -0.3, False))


def _owens_h(h, a, y):
    return exp(-0.5 * square(h)) * erf(h * a * math.sqrt(0.5)) * (-0.5 / SQRT_2PI)


def _owens_a(h, a, y):
    one = 1.0 + square(a)
    return exp(-0.5 * square(h) * one) / (one * (2 * math.pi))


owens_t = special("owens_t", _owens_h, _owens_a, domain=(REAL, REAL))


# ---------------------------------------------------------------- logistic functions
def _one_minus(y, x):
    """1 - expit(x), to its own precision."""
    return expit(-x)


def _expit_emit(k, x):
    one = k.const(1.0, x.dtype)
    return k.div(one, k.add(one, k.call("exp", k.neg(x))))


def _log_expit_emit(k, x):
    return k.neg(k.logaddexp(k.const(0.0, x.dtype), k.neg(x)))


expit = special("expit", lambda x, y: y * _one_minus(y, x), domain=REAL, emit=_expit_emit)
logit = special("logit", lambda x, y: 1.0 / (x * (1.0 - x)), domain=FRACTION)
log_expit = special("log_expit", lambda x, y: expit(-x), domain=REAL, emit=_log_expit_emit)


# ---------------------------------------------------------------- logarithms and powers kept apart from their singular points
def _ratio(x, y):
    """x / y, and 0 where x is 0 (whatever y)."""
    return where(equal(x, 0.0), 0.0, x / where(equal(x, 0.0), 1.0, y))


xlogy = special("xlogy", lambda x, y, z: log(y), lambda x, y, z: _ratio(x, y), domain=(REAL, POSITIVE),
                emit=lambda k, x, y: k.select(k.compare("==", x, k.const(0.0, x.dtype)), k.const(0.0, x.dtype), k.mul(x, k.call("log", y))))
xlog1py = special("xlog1py", lambda x, y, z: log1p(y), lambda x, y, z: _ratio(x, 1.0 + y), domain=(REAL, UNIT))
entr = special("entr", lambda x, y: -log(x) - 1.0, domain=POSITIVE)
rel_entr = special("rel_entr", lambda x, y, z: log(x / y) + 1.0, lambda x, y, z: -x / y, domain=(POSITIVE, POSITIVE))
kl_div = special("kl_div", lambda x, y, z: log(x / y), lambda x, y, z: 1.0 - x / y, domain=(POSITIVE, POSITIVE))
cosm1 = special("cosm1", lambda x, y: -sin(x), domain=REAL)
powm1 = special("powm1", lambda x, y, z: y * power(x, y - 1.0), lambda x, y, z: log(x) * (z + 1.0), domain=(POSITIVE, REAL))
exp10 = special("exp10", lambda x, y: y * math.log(10), domain=REAL)


def _exprel_deriv(x, y):
    """(e^x - exprel(x)) / x; near 0 by its series 1/2 + x/3 + x²/8 + x³/30 + ..."""
    return by_series(x, [(n + 1) / math.factorial(n + 2) for n in range(12)], lambda u: (exp(u) - exprel(u)) / u)


exprel = special("exprel", _exprel_deriv, domain=REAL)


def _boxcox_lmbda(x, lmbda, y, logx):
    """d/dλ (x^λ - 1)/λ = ln x (1 + λ y)/λ - y/λ, and (ln x)²/2 at λ = 0; by its series near there."""
    t = lmbda * logx
    return square(logx) * _exprel_deriv(t, None)


boxcox = special("boxcox", lambda x, lmbda, y: power(x, lmbda - 1.0), lambda x, lmbda, y: _boxcox_lmbda(x, lmbda, y, log(x)),
                 domain=(POSITIVE, REAL))
boxcox1p = special("boxcox1p", lambda x, lmbda, y: power(1.0 + x, lmbda - 1.0), lambda x, lmbda, y: _boxcox_lmbda(x, lmbda, y, log1p(x)),
                   domain=(POSITIVE, REAL))


def _inverse_boxcox_lmbda(x, lmbda, y):
    """y = (1 + λ x)^(1/λ): the implicit function theorem on boxcox(y, λ) = x."""
    return -_boxcox_lmbda(y, lmbda, x, log(y)) * power(y, 1.0 - lmbda)


inv_boxcox = special("inv_boxcox", lambda x, lmbda, y: power(y, 1.0 - lmbda), _inverse_boxcox_lmbda, domain=(UNIT, FRACTION))
inv_boxcox1p = special("inv_boxcox1p", lambda x, lmbda, y: power(y + 1.0, 1.0 - lmbda),
                       lambda x, lmbda, y: _inverse_boxcox_lmbda(x, lmbda, y + 1.0), domain=(UNIT, FRACTION))


# ---------------------------------------------------------------- angles in degrees
DEGREE = math.pi / 180
sindg = special("sindg", lambda x, y: cosdg(x) * DEGREE, domain=REAL)
cosdg = special("cosdg", lambda x, y: sindg(x) * -DEGREE, domain=REAL)
tandg = special("tandg", lambda x, y: (1.0 + square(y)) * DEGREE, domain=(10.0, 60.0, False))
cotdg = special("cotdg", lambda x, y: (1.0 + square(y)) * -DEGREE, domain=(20.0, 60.0, False))
radian = special("radian", lambda d, m, s, y: DEGREE, lambda d, m, s, y: DEGREE / 60, lambda d, m, s, y: DEGREE / 3600,
                 domain=(POSITIVE, POSITIVE, POSITIVE))


# ---------------------------------------------------------------- robust losses
def _huber_delta(delta, r, y):
    return where(greater(absolute(r), delta), absolute(r) - delta, 0.0)


huber = special("huber", _huber_delta, lambda delta, r, y: sign(r) * minimum(absolute(r), delta), domain=(PLUS, (3.0, 4.0, True)))


def _pseudo(delta, r):
    return sqrt(1.0 + square(r / delta))


pseudo_huber = special("pseudo_huber", lambda delta, r, y: 2.0 * y / delta - square(r) / (delta * _pseudo(delta, r)),
                       lambda delta, r, y: r / _pseudo(delta, r), domain=(PLUS, REAL))


# ---------------------------------------------------------------- exponential, sine and cosine integrals (DLMF 6.2), Fresnel's (7.2)
expi = special("expi", lambda x, y: exp(x) / x, domain=NONZERO)
exp1 = special("exp1", lambda x, y: -exp(-x) / x, domain=POSITIVE, analytic=True)
expn = special("expn", refused("expn", "the order n, an integer"), lambda n, x, y: -_lower_expn(n, x), domain=(range(0, 4), POSITIVE))


def _lower_expn(n, x):
    """E_(n-1): e^-x (1 + 1/x) / x stands for E_(-1)."""
    n = n if hasattr(n, "shape") else np.asarray(n)
    zero = equal(n, 0)
    return where(zero, exp(-x) * (1.0 + 1.0 / x) / x, expn(where(zero, 1, n - 1), x))


_SINC = [(-1.0) ** (n // 2) / math.factorial(n + 1) if n % 2 == 0 else 0.0 for n in range(13)]
sici_si = special("sici", lambda x, y: by_series(x, _SINC, lambda u: sin(u) / u), domain=NONZERO, part=(0, "sici_si"))
sici_ci = special("sici", lambda x, y: cos(x) / x, domain=POSITIVE, part=(1, "sici_ci"))
shichi_shi = special("shichi", lambda x, y: by_series(x, list(map(abs, _SINC)), lambda u: sinh(u) / u), domain=NONZERO,
                     part=(0, "shichi_shi"))
shichi_chi = special("shichi", lambda x, y: cosh(x) / x, domain=POSITIVE, part=(1, "shichi_chi"))
fresnel_s = special("fresnel", lambda x, y: sin(square(x) * (math.pi / 2)), domain=REAL, part=(0, "fresnel_s"))
fresnel_c = special("fresnel", lambda x, y: cos(square(x) * (math.pi / 2)), domain=REAL, part=(1, "fresnel_c"))


def _spence_deriv(x, y):
    """log x / (1 - x), by the series of log(1 + t) / -t near 1."""
    return by_series(x - 1.0, [(-1.0) ** (n + 1) / (n + 1) for n in range(16)], lambda t: -log(1.0 + t) / t)


spence = special("spence", _spence_deriv, domain=(1.3, 3.0, False), analytic=True)
wrightomega = special("wrightomega", lambda x, y: y / (1.0 + y), domain=REAL, analytic=True)


# ---------------------------------------------------------------- functions of complex value (DLMF 4.13, 7.10)
wofz = special("wofz", lambda z, y: 2j / SQRT_PI - 2.0 * z * y, domain=REAL, analytic=True)


def _lambertw_deriv(z, y, *, k):
    """From w e^w = z."""
    return exp(-y) / (1.0 + y)


lambertw = Primitive(
    "lambertw", impl=lambda z, *, k: scipy_function("lambertw")(z, k), aval=lambda z, *, k: Aval(z.shape, np.dtype(np.complex128)),
    derivs=(_lambertw_deriv,), jvp=elementwise_jvp((_lambertw_deriv,)), transpose=NOT_LINEAR,
    batch=batch_elementwise(lambda: lambertw), emit=NOT_LINKED,
    samples=lambda rng: [(x, {"k": (0, -1, 1)[i % 3]}) for i, (x, _) in enumerate(special_samples(POSITIVE, analytic=True)(rng))])


# ---------------------------------------------------------------- the Voigt profile (DLMF 7.4, 7.10)
def _voigt_x(x, s, g, y):
    """V' = -(x V - gamma L)/σ² with L the imaginary part of the Faddeeva function beside V's real one."""
    return (g * voigt_dispersion(x, s, g) - x * y) / square(s)


def _voigt_gamma(x, s, g, y):
    """-L' (Cauchy-Riemann)."""
    return (x * voigt_dispersion(x, s, g) + g * y - 1 / math.pi) / square(s)


def _voigt_sigma(x, s, g, y):
    """V is homogeneous of degree -1 (Euler)."""
    return -(y + x * _voigt_x(x, s, g, y) + g * _voigt_gamma(x, s, g, y)) / s


def _dispersion_x(x, s, g, y):
    return (1 / math.pi - x * y - g * voigt_profile(x, s, g)) / square(s)


def _dispersion_gamma(x, s, g, y):
    return (g * y - x * voigt_profile(x, s, g)) / square(s)


def _dispersion_sigma(x, s, g, y):
    return -(y + x * _dispersion_x(x, s, g, y) + g * _dispersion_gamma(x, s, g, y)) / s


def _dispersion_impl(x, s, g):
    z = (x + 1j * g) / (s * math.sqrt(2))
    return np.imag(scipy_function("wofz")(z)) / (s * SQRT_2PI)


voigt_profile = special("voigt_profile", _voigt_x, _voigt_sigma, _voigt_gamma, domain=(REAL, PLUS, PLUS))
voigt_dispersion = Primitive(
    "voigt_dispersion", impl=_dispersion_impl,
    aval=lambda *x: Aval(broadcast_shapes(*[a.shape for a in x]), np.result_type(*[a.dtype for a in x])),
    derivs=(_dispersion_x, _dispersion_sigma, _dispersion_gamma),
    jvp=elementwise_jvp((_dispersion_x, _dispersion_sigma, _dispersion_gamma)), transpose=NOT_LINEAR,
    batch=batch_elementwise(lambda: voigt_dispersion), emit=NOT_LINKED, samples=special_samples(REAL, PLUS, PLUS))

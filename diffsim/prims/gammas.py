"""Gamma, beta and zeta functions and the incomplete ones, with derivatives of any order in real arguments (DLMF, chapters 5, 8, 25)."""

import functools
import math

import numpy as np

from ..core import Aval, Primitive
from .elementwise import absolute, batch_elementwise, cos, elementwise_jvp, equal, exp, log, log1p, minimum, sin, where
from .family import NOT_LINEAR, POSITIVE, broadcast_shapes
from .parameter import in_parameter
from .special import FRACTION, NOT_LINKED, PLUS, SPECIAL, refused, scipy_function, special, special_samples

ABOVE = (1.3, 3.0, False)


# ---------------------------------------------------------------- gamma (DLMF 5.2, 5.15)
def _digamma(x):
    return digamma(x)


gamma = special("gamma", lambda x, y: y * _digamma(x), domain=POSITIVE, emit=lambda k, x: k.call("tgamma", x))
gammaln = special("gammaln", lambda x, y: _digamma(x), domain=POSITIVE, emit=lambda k, x: k.call("lgamma", x))
loggamma = special("loggamma", lambda x, y: _digamma(x), domain=POSITIVE)


def _rgamma_deriv(x, y):
    """-ψ(x)/Γ(x); to the left of 1/2, where Γ has poles, from 1/Γ(x) = sin(π x) Γ(1 - x)/π."""
    left = x < 0.5
    r = where(left, 1.0 - x, 1.0)
    turned = cos(x * math.pi) - sin(x * math.pi) * _digamma(r) / math.pi
    return where(left, gamma(r) * turned, -y * _digamma(where(left, 1.0, x)))


rgamma = special("rgamma", _rgamma_deriv, domain=(-1.5, 2.5, False))
digamma = special("digamma", lambda x, y: polygamma(1, x), domain=POSITIVE)
psi = SPECIAL["psi"] = digamma


polygamma = Primitive(
    "polygamma", impl=lambda n, x: scipy_function("polygamma")(n, x),
    aval=lambda n, x: Aval(broadcast_shapes(n.shape, x.shape), np.dtype(np.float64)),
    derivs=(refused("polygamma", "the order n, an integer"), lambda n, x, y: polygamma(n + 1, x)),
    jvp=elementwise_jvp((refused("polygamma", "the order n, an integer"), lambda n, x, y: polygamma(n + 1, x))),
    transpose=NOT_LINEAR,
    batch=batch_elementwise(lambda: polygamma), emit=NOT_LINKED, samples=special_samples(range(0, 3), PLUS))
beta = special("beta", lambda a, b, y: y * (_digamma(a) - _digamma(a + b)), lambda a, b, y: y * (_digamma(b) - _digamma(a + b)),
               domain=(POSITIVE, POSITIVE))
betaln = special("betaln", lambda a, b, y: _digamma(a) - _digamma(a + b), lambda a, b, y: _digamma(b) - _digamma(a + b),
                 domain=(POSITIVE, POSITIVE))
poch = special("poch", lambda z, m, y: y * (_digamma(z + m) - _digamma(z)), lambda z, m, y: y * _digamma(z + m),
               domain=(POSITIVE, POSITIVE))
binom = special("binom", lambda n, k, y: y * (_digamma(n + 1.0) - _digamma(n - k + 1.0)),
                lambda n, k, y: y * (_digamma(n - k + 1.0) - _digamma(k + 1.0)), domain=((3.2, 5.0, False), ABOVE))


def _zeta_reach(s, q):
    """The terms are (q + k)^-s; a pole stands at s = 1."""
    return minimum(1.5 / (1.5 + absolute(log(q))), (s - 1.0) / 4.0)


_ZETA = (in_parameter(lambda: zeta, "zeta", 0, "x", reach=_zeta_reach, samples=special_samples((2.5, 4.0, False), PLUS)),
         lambda s, q, y: -s * zeta(s + 1, q))
zeta = Primitive(
    "hurwitz_zeta", impl=lambda s, q: scipy_function("zeta")(s, q),
    aval=lambda s, q: Aval(broadcast_shapes(s.shape, q.shape), np.dtype(np.float64)),
    derivs=_ZETA, jvp=elementwise_jvp(_ZETA), transpose=NOT_LINEAR,
    batch=batch_elementwise(lambda: zeta), emit=NOT_LINKED, samples=special_samples(range(2, 5), PLUS))


# ---------------------------------------------------------------- derivatives of a density in its parameters
def bell(n, logs):
    """Derivatives of order up to ``n`` (one number a parameter) of a function g, divided by g, from those of log g.

    ``logs(k)`` is the derivative of log g of order ``k`` (a tuple, not all zero).  Leibniz's rule on g' = g (log g)'.
    """
    @functools.cache
    def value(order):
        first = next((i for i, k in enumerate(order) if k), None)
        if first is None:
            return 1.0
        rest = tuple(k - (i == first) for i, k in enumerate(order))
        total = 0.0
        for below in np.ndindex(*[k + 1 for k in rest]):
            weight = math.prod(math.comb(a, b) for a, b in zip(rest, below, strict=True))
            up = tuple(a - b + (i == first) for i, (a, b) in enumerate(zip(rest, below, strict=True)))
            total = total + float(weight) * logs(up) * value(tuple(below))
        return total
    return value(tuple(n))


#: u = exp(τ - exp(-τ)) and the trapezoidal rule in τ, for integrands on (0, inf) that fall exponentially (Takahasi & Mori, Publ. RIMS 9,
#: 1974, 721-741).
_TAU = np.arange(-72, 161) / 20.0
NODES = np.exp(_TAU - np.exp(-_TAU))
WEIGHTS = NODES * (1.0 + np.exp(-_TAU)) / 20.0
CHUNK = 4096


def integral(integrand, rate, *x):
    """Integral over u in (0, inf) of ``integrand(u, *x)``, which falls about as ``exp(-rate u)``; elementwise in ``rate`` and ``x``."""
    rate, *x = (a.reshape(-1, 1) for a in np.broadcast_arrays(rate, *x))
    out = np.empty(len(rate))
    with np.errstate(all="ignore"):
        for i in range(0, out.size, CHUNK):
            r = rate[i:i + CHUNK]
            terms = integrand(NODES / r, *[a[i:i + CHUNK] for a in x]) * (WEIGHTS / r)
            out[i:i + CHUNK] = np.sum(np.where(np.isnan(terms), 0.0, terms), 1)
    return out


def _log_tables(polygammas, n):
    """The polygammas that ``bell`` asks for, computed once."""
    return [polygammas(k) for k in range(n)]


# ---------------------------------------------------------------- incomplete gamma functions (DLMF 8.2)
def _gamma_logs(log_t, psis):
    """Derivatives in a of log of t^(a-1) e^-t / Γ(a)."""
    return lambda k: (log_t - psis[0]) if k[0] == 1 else -psis[k[0] - 1]


def _gamma_integrand(n, side):
    """n-th derivative in a of the density x^(a-1) e^-x / Γ(a) at t below x (``side`` -1, t = x e^-u) or above it (1, t = x + u)."""
    special_polygamma, lgamma = scipy_function("polygamma"), scipy_function("gammaln")

    def integrand(u, a, x):
        t = x * np.exp(-u) if side < 0 else x + u
        log_t = np.log(x) - u if side < 0 else np.log(t)
        psis = _log_tables(lambda k: special_polygamma(k, a), n)
        power = a if side < 0 else a - 1.0
        return np.exp(power * log_t - t - lgamma(a)) * bell((n,), _gamma_logs(log_t, psis))
    return integrand


def _gammainc_impl(a, x, *, n, upper):
    """Over (0, x) or (x, inf), whichever holds less of the density: the two derivatives differ in sign alone."""
    a, x = np.broadcast_arrays(a, x)
    dtype = np.result_type(a.dtype, x.dtype)
    inside = (a > 0) & (x > 0) & np.isfinite(x) & np.isfinite(a)
    safe_a, safe_x = np.where(inside, a, 1.0).astype(float), np.where(inside, x, 1.0).astype(float)
    spread = np.sqrt(np.maximum(safe_a - 1.0, 0.0))
    below = np.minimum(safe_a, safe_a - safe_x + np.sqrt(safe_x))
    above = np.minimum(1.0, (np.maximum(safe_x - safe_a + 1.0, 0.0) + spread) / safe_x)
    out = np.zeros(a.shape)
    for side, rate, chosen in ((-1, below, safe_x < safe_a), (1, above, safe_x >= safe_a)):
        value = integral(_gamma_integrand(n, side), rate[chosen], safe_a[chosen], safe_x[chosen])
        out[chosen] = value if (side > 0) == upper else -value
    out = np.where(inside, out, np.where((a > 0) & (x >= 0), 0.0, np.nan))
    return out.astype(dtype)[()]


def density_gamma(a, x, n):
    """d^n/da^n of the density x^(a-1) e^-x / Γ(a)."""
    safe = where(equal(x, 0.0), 1.0, x)
    psis = [polygamma(k, a) if k else digamma(a) for k in range(n)]
    value = exp((a - 1.0) * log(safe) - safe - gammaln(a)) * bell((n,), _gamma_logs(log(safe), psis))
    at_zero = where(equal(a, 1.0), 1.0, where(a < 1.0, np.inf, 0.0)) if n == 0 else 0.0
    return where(equal(x, 0.0), at_zero, value)


def _gammainc_a(a, x, y, *, n, upper):
    return gammainc_parameter(a, x, n=n + 1, upper=upper)


def _gammainc_x(a, x, y, *, n, upper):
    density = density_gamma(a, x, n)
    return -density if upper else density


#: d^n/da^n of gammainc (``upper``: gammaincc), n at least 1: relative error about 1e-13.
gammainc_parameter = Primitive(
    "gammainc_parameter", impl=_gammainc_impl,
    aval=lambda a, x, **params: Aval(broadcast_shapes(a.shape, x.shape), np.result_type(a.dtype, x.dtype)),
    derivs=(_gammainc_a, _gammainc_x), jvp=elementwise_jvp((_gammainc_a, _gammainc_x)), transpose=NOT_LINEAR,
    batch=batch_elementwise(lambda: gammainc_parameter), emit=NOT_LINKED,
    samples=lambda rng: [(x, {"n": 1 + i % 2, "upper": i % 2 == 0}) for i, (x, _) in enumerate(special_samples(PLUS, POSITIVE)(rng))])
gammainc = special("gammainc", lambda a, x, y: gammainc_parameter(a, x, n=1, upper=False), lambda a, x, y: density_gamma(a, x, 0),
                   domain=(PLUS, POSITIVE))
gammaincc = special("gammaincc", lambda a, x, y: gammainc_parameter(a, x, n=1, upper=True), lambda a, x, y: -density_gamma(a, x, 0),
                    domain=(PLUS, POSITIVE))
gammaincinv = special("gammaincinv", lambda a, p, x: -gammainc_parameter(a, x, n=1, upper=False) / density_gamma(a, x, 0),
                      lambda a, p, x: 1.0 / density_gamma(a, x, 0), domain=(PLUS, FRACTION))
gammainccinv = special("gammainccinv", lambda a, p, x: gammainc_parameter(a, x, n=1, upper=True) / density_gamma(a, x, 0),
                       lambda a, p, x: -1.0 / density_gamma(a, x, 0), domain=(PLUS, FRACTION))


# ---------------------------------------------------------------- incomplete beta functions (DLMF 8.17)
def _beta_logs(log_t, log_s, psi_a, psi_b, psi_ab):
    """Derivatives in a and b of log of t^(a-1) (1-t)^(b-1) / B(a, b)."""
    def logs(k):
        n = k[0] + k[1] - 1
        if k[1] == 0:
            own = -psi_a[n]
        else:
            own = -psi_b[n] if k[0] == 0 else 0.0
        linear = (log_t if k[0] else log_s) if n == 0 else 0.0
        return linear + own + psi_ab[n]
    return logs


def _beta_integrand(order):
    polygamma_, betaln_ = scipy_function("polygamma"), scipy_function("betaln")
    n = sum(order)

    def integrand(u, a, b, log_x, x):
        log_t = log_x - u                                   # t = x e^-u
        log_s = np.log1p(-x * np.exp(-u))
        psis = [_log_tables(lambda k, c=c: polygamma_(k, c), n) for c in (a, b, a + b)]
        return np.exp(a * log_t + (b - 1.0) * log_s - betaln_(a, b)) * bell(order, _beta_logs(log_t, log_s, *psis))
    return integrand


def _beta_part(order, a, b, log_x, x, s):
    """Integral over (0, x); ``s`` is 1 - x."""
    rate = np.maximum(a - (b - 1.0) * x / s, 0.0) + np.sqrt(np.abs(b - 1.0) * x) / s
    return integral(_beta_integrand(order), np.minimum(a, rate), a, b, log_x, x)


def _betainc_impl(a, b, x, *, order, upper):
    a, b, x = np.broadcast_arrays(a, b, x)
    dtype = np.result_type(a.dtype, b.dtype, x.dtype)
    inside = (a > 0) & (b > 0) & (x > 0) & (x < 1)
    a_, b_, x_ = (np.where(inside, v, 0.5).astype(float) for v in (a, b, x))
    left = x_ * (a_ + b_) < a_                              # below the mean: less of the density lies below
    right = ~left
    below = _beta_part(order, a_[left], b_[left], np.log(x_[left]), x_[left], 1.0 - x_[left])
    above = _beta_part(order[::-1], b_[right], a_[right], np.log1p(-x_[right]), 1.0 - x_[right], x_[right])
    out = np.zeros(a.shape)
    out[left], out[right] = (-below, above) if upper else (below, -above)
    edge = (a > 0) & (b > 0) & ((x == 0) | (x == 1))
    return np.where(inside, out, np.where(edge, 0.0, np.nan)).astype(dtype)[()]


def density_beta(a, b, x, order):
    """Derivative of the given order in (a, b) of x^(a-1) (1-x)^(b-1) / B(a, b)."""
    psis = [[polygamma(k, c) if k else digamma(c) for k in range(sum(order))] for c in (a, b, a + b)]
    log_x, log_s = log(x), log1p(-x)
    return exp((a - 1.0) * log_x + (b - 1.0) * log_s - betaln(a, b)) * bell(order, _beta_logs(log_x, log_s, *psis))


def _betainc_derivs():
    def in_a(a, b, x, y, *, order, upper):
        return betainc_parameter(a, b, x, order=(order[0] + 1, order[1]), upper=upper)

    def in_b(a, b, x, y, *, order, upper):
        return betainc_parameter(a, b, x, order=(order[0], order[1] + 1), upper=upper)

    def in_x(a, b, x, y, *, order, upper):
        density = density_beta(a, b, x, order)
        return -density if upper else density
    return in_a, in_b, in_x


_BETAINC = _betainc_derivs()

#: Derivative of betainc (``upper``: betaincc) of an order at least one in (a, b): relative error about 1e-12.
betainc_parameter = Primitive(
    "betainc_parameter", impl=_betainc_impl,
    aval=lambda a, b, x, **params: Aval(broadcast_shapes(a.shape, b.shape, x.shape), np.result_type(a.dtype, b.dtype, x.dtype)),
    derivs=_BETAINC, jvp=elementwise_jvp(_BETAINC), transpose=NOT_LINEAR,
    batch=batch_elementwise(lambda: betainc_parameter), emit=NOT_LINKED,
    samples=lambda rng: [(x, {"order": order, "upper": i % 2 == 0}) for i, ((x, _), order) in enumerate(
        zip(special_samples(PLUS, PLUS, FRACTION)(rng), ((1, 0), (0, 1), (1, 1), (2, 0)), strict=True))])


def _of_beta(order, upper=False):
    return lambda a, b, x, y: betainc_parameter(a, b, x, order=order, upper=upper)


betainc = special("betainc", _of_beta((1, 0)), _of_beta((0, 1)), lambda a, b, x, y: density_beta(a, b, x, (0, 0)),
                  domain=(PLUS, PLUS, FRACTION))
betaincc = special("betaincc", _of_beta((1, 0), True), _of_beta((0, 1), True), lambda a, b, x, y: -density_beta(a, b, x, (0, 0)),
                   domain=(PLUS, PLUS, FRACTION))


def _inverse_of_beta(order, upper):
    """By the implicit function theorem."""
    sign_ = 1.0 if upper else -1.0
    return lambda a, b, p, x: sign_ * betainc_parameter(a, b, x, order=order, upper=upper) / density_beta(a, b, x, (0, 0))


betaincinv = special("betaincinv", _inverse_of_beta((1, 0), False), _inverse_of_beta((0, 1), False),
                     lambda a, b, p, x: 1.0 / density_beta(a, b, x, (0, 0)), domain=(PLUS, PLUS, FRACTION))
betainccinv = special("betainccinv", _inverse_of_beta((1, 0), True), _inverse_of_beta((0, 1), True),
                      lambda a, b, p, x: -1.0 / density_beta(a, b, x, (0, 0)), domain=(PLUS, PLUS, FRACTION))

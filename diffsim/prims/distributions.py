"""Distribution functions of scipy.special: chi-squared, gamma, Poisson, binomial, negative binomial, F and Student's t.

Each is an incomplete gamma or beta function (DLMF 8.2, 8.17; Abramowitz & Stegun 26.4 to 26.7), and is differentiated as that.
"""

from .elementwise import absolute, exp, log, log1p, power, sign, square
from .family import POSITIVE
from .gammas import betainc_parameter, betaln, density_beta, density_gamma, gammainc_parameter
from .special import FRACTION, PLUS, refused, special

COUNTS = range(0, 4)
DEGREES_OF_FREEDOM = (1.5, 4.0, False)


# ---------------------------------------------------------------- of the incomplete gamma function
def _chi(v, x, upper):
    return 0.5 * gammainc_parameter(0.5 * v, 0.5 * x, n=1, upper=upper)


def _chi_density(v, x):
    return 0.5 * density_gamma(0.5 * v, 0.5 * x, 0)


chdtr = special("chdtr", lambda v, x, y: _chi(v, x, False), lambda v, x, y: _chi_density(v, x), domain=(PLUS, POSITIVE))
chdtrc = special("chdtrc", lambda v, x, y: _chi(v, x, True), lambda v, x, y: -_chi_density(v, x), domain=(PLUS, POSITIVE))
chdtri = special("chdtri", lambda v, p, x: _chi(v, x, True) / _chi_density(v, x), lambda v, p, x: -1.0 / _chi_density(v, x),
                 domain=(PLUS, FRACTION))


def _gdtr(name, sign_):
    return special(name, lambda a, b, x, y: sign_ * x * density_gamma(b, a * x, 0),
                   lambda a, b, x, y: gammainc_parameter(b, a * x, n=1, upper=sign_ < 0),
                   lambda a, b, x, y: sign_ * a * density_gamma(b, a * x, 0), domain=(PLUS, PLUS, POSITIVE))


gdtr, gdtrc = _gdtr("gdtr", 1.0), _gdtr("gdtrc", -1.0)


def _pdtr(name, sign_):
    return special(name, refused(name, "the count k, an integer"), lambda k, m, y: sign_ * density_gamma(k + 1.0, m, 0),
                   domain=(COUNTS, POSITIVE))


pdtr, pdtrc = _pdtr("pdtr", -1.0), _pdtr("pdtrc", 1.0)


# ---------------------------------------------------------------- of the incomplete beta function
def _counted(name, a, b, sign_):
    """P(count <= k) or its complement as a function of the probability: I_p(a, b), or with ``sign_`` -1 one less that."""
    return special(name, refused(name, "the count k, an integer"), refused(name, "the number n of trials"),
                   lambda k, n, p, y: sign_ * density_beta(a(k, n), b(k, n), p, (0, 0)), domain=(range(0, 3), range(4, 7), FRACTION))


# bdtr = I_{1-p}(n-k, k+1) = 1 - I_p(k+1, n-k), nbdtr = I_p(n, k+1)
bdtr = _counted("bdtr", lambda k, n: k + 1.0, lambda k, n: n - k + 0.0, -1.0)
bdtrc = _counted("bdtrc", lambda k, n: k + 1.0, lambda k, n: n - k + 0.0, 1.0)
nbdtr = _counted("nbdtr", lambda k, n: n + 0.0, lambda k, n: k + 1.0, 1.0)
nbdtrc = _counted("nbdtrc", lambda k, n: n + 0.0, lambda k, n: k + 1.0, -1.0)


def _f_argument(n, d, x):
    return n * x / (d + n * x)


def _fdtr(name, sign_):
    upper = sign_ < 0

    def density(n, d, x):
        return sign_ * density_beta(0.5 * n, 0.5 * d, _f_argument(n, d, x), (0, 0)) * d / square(d + n * x)

    def in_n(n, d, x, y):
        own = betainc_parameter(0.5 * n, 0.5 * d, _f_argument(n, d, x), order=(1, 0), upper=upper)
        return 0.5 * own + density(n, d, x) * x

    def in_d(n, d, x, y):
        own = betainc_parameter(0.5 * n, 0.5 * d, _f_argument(n, d, x), order=(0, 1), upper=upper)
        return 0.5 * own - density(n, d, x) * x * n / d
    return special(name, in_n, in_d, lambda n, d, x, y: density(n, d, x) * n, domain=(DEGREES_OF_FREEDOM, DEGREES_OF_FREEDOM, POSITIVE))


fdtr, fdtrc = _fdtr("fdtr", 1.0), _fdtr("fdtrc", -1.0)


def _t_density(v, t):
    return exp(-0.5 * (v + 1.0) * log1p(square(t) / v) - betaln(0.5 * v, 0.5)) / power(v, 0.5)


def _t_degrees(v, t):
    """Of F(t) = 1 - I_w(v/2, 1/2)/2 at w = v/(v + t²), t > 0; odd about t = 0."""
    total = v + square(t)
    w = v / total
    inner = exp((0.5 * v - 1.0) * log(w) - betaln(0.5 * v, 0.5)) * absolute(t) * power(total, -1.5)
    return -0.5 * sign(t) * (0.5 * betainc_parameter(0.5 * v, 0.5, w, order=(1, 0), upper=False) + inner)


stdtr = special("stdtr", lambda v, t, y: _t_degrees(v, t), lambda v, t, y: _t_density(v, t),
                domain=(DEGREES_OF_FREEDOM, (0.3, 2.0, True)))
stdtrit = special("stdtrit", lambda v, p, t: -_t_degrees(v, t) / _t_density(v, t), lambda v, p, t: 1.0 / _t_density(v, t),
                  domain=(DEGREES_OF_FREEDOM, (0.55, 0.9, False)))

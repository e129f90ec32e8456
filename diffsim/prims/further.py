"""Further functions of scipy.special: elliptic functions and Carlson's integrals, Kelvin and parabolic cylinder functions, scaled Airy
functions, integrals of Bessel functions, non-central distributions, inverses of distribution functions, shifted polynomials.

Derivatives: DLMF 9.2, 10.61, 10.63, 12.2, 18.1, 19.18, 22.13; those without closed form are of interpolants (``parameter``).
"""

import math

from .bessel import i0, j0, k0, modstruve, struve, y0
from .distributions import fdtr, gdtr
from .elementwise import absolute, equal, exp, less, maximum, minimum, sin, sqrt, square, where
from .family import NONZERO, POSITIVE, UNIT
from .gammas import betainc, zeta
from .orthogonal import (
    DEGREES,
    _ellipkinc_m,
    eval_chebyt,
    eval_chebyu,
    eval_legendre,
)
from .parameter import in_parameter
from .special import FRACTION, PLUS, SPECIAL, refused, special, special_samples

COUNTS = range(1, 4)
_A_COUNT = "the order, an integer"


def _in(name, place, symbol, reach, *domains):
    return in_parameter(lambda: SPECIAL[name], name, place, symbol, reach=reach, samples=special_samples(*domains))


def _quarter(place):
    """A quarter of the way to 0, where the operand may go no further."""
    return lambda *x: 0.25 * absolute(x[place])


def _limited(place):
    """The same, and no more than 1."""
    return lambda *x: minimum(0.25 * absolute(x[place]), 1.0)


#: Where operands of Carlson's integrals and of distributions are drawn.
_FAR = (2.5, 4.5, False)


# ---------------------------------------------------------------- elliptic functions of Jacobi, u = F(φ, m)
def _phi_m(u, m):
    """dφ/dm at constant u."""
    phi = ellipj_ph(u, m)
    return -_ellipkinc_m(phi, m, None) * sqrt(1.0 - m * square(sin(phi)))


def _dn_m(u, m, y):
    sn, cn = ellipj_sn(u, m), ellipj_cn(u, m)
    return -(square(sn) + 2.0 * m * sn * cn * _phi_m(u, m)) / (2.0 * y)


def _ellipj(part, name, in_u, in_m):
    return special("ellipj", in_u, in_m, domain=(NONZERO, (0.1, 0.6, False)), part=(part, name))


ellipj_sn = _ellipj(0, "ellipj_sn", lambda u, m, y: ellipj_cn(u, m) * ellipj_dn(u, m), lambda u, m, y: ellipj_cn(u, m) * _phi_m(u, m))
ellipj_cn = _ellipj(1, "ellipj_cn", lambda u, m, y: -ellipj_sn(u, m) * ellipj_dn(u, m), lambda u, m, y: -ellipj_sn(u, m) * _phi_m(u, m))
ellipj_dn = _ellipj(2, "ellipj_dn", lambda u, m, y: -m * ellipj_sn(u, m) * ellipj_cn(u, m), _dn_m)
ellipj_ph = _ellipj(3, "ellipj_ph", lambda u, m, y: ellipj_dn(u, m), lambda u, m, y: _phi_m(u, m))

# ---------------------------------------------------------------- Carlson's integrals
elliprf = special("elliprf", lambda x, y, z, f: elliprd(y, z, x) / -6.0, lambda x, y, z, f: elliprd(z, x, y) / -6.0,
                  lambda x, y, z, f: elliprd(x, y, z) / -6.0, domain=(PLUS, PLUS, PLUS))
elliprc = special("elliprc", lambda x, y, f: elliprd(y, y, x) / -6.0, lambda x, y, f: elliprd(x, y, y) / -3.0, domain=(PLUS, PLUS))
elliprd = special("elliprd", *[_in("elliprd", i, s, _quarter(i), *[_FAR] * 3) for i, s in enumerate("xyz")], domain=(PLUS,) * 3)
elliprg = special("elliprg", *[_in("elliprg", i, s, _quarter(i), *[_FAR] * 3) for i, s in enumerate("xyz")], domain=(PLUS,) * 3)
elliprj = special("elliprj", *[_in("elliprj", i, s, _quarter(i), *[_FAR] * 4) for i, s in enumerate("xyzp")],
                  domain=(PLUS,) * 4)


# ---------------------------------------------------------------- Kelvin functions: y = ber + i bei solves x² y'' + x y' = i x² y
def _second(x, first, other, at_zero):
    """``other`` - y'/x, and its limit at 0."""
    zero = equal(x, 0.0)
    return where(zero, at_zero, other - first / where(zero, 1.0, x))


ber = special("ber", lambda x, y: berp(x), domain=NONZERO)
bei = special("bei", lambda x, y: beip(x), domain=NONZERO)
berp = special("berp", lambda x, y: _second(x, y, -bei(x), 0.0), domain=NONZERO)
beip = special("beip", lambda x, y: _second(x, y, ber(x), 0.5), domain=NONZERO)
ker = special("ker", lambda x, y: kerp(x), domain=POSITIVE)
kei = special("kei", lambda x, y: keip(x), domain=POSITIVE)
kerp = special("kerp", lambda x, y: -kei(x) - y / x, domain=POSITIVE)
keip = special("keip", lambda x, y: ker(x) - y / x, domain=POSITIVE)


# ---------------------------------------------------------------- parabolic cylinder functions: y'' = (x²/4 - v - 1/2) y
def _cylinder(name, part, label, deriv):
    own = in_parameter(lambda: _CYLINDER[label], label, 0, "v", reach=lambda v, x: 0.5 + 0.0 * v, samples=special_samples(PLUS, UNIT))
    row = _CYLINDER[label] = special(name, own, deriv, domain=(PLUS, UNIT), part=(part, label))
    return row


_CYLINDER = {}
pbdv_d = _cylinder("pbdv", 0, "pbdv_d", lambda v, x, y: pbdv_dp(v, x))
pbdv_dp = _cylinder("pbdv", 1, "pbdv_dp", lambda v, x, y: (0.25 * square(x) - v - 0.5) * pbdv_d(v, x))


# ---------------------------------------------------------------- Airy functions scaled by exp(±2/3 x^(3/2))
def _slope(x):
    return sqrt(maximum(x, 0.0))


def _airye(part, name, deriv):
    return special("airye", deriv, domain=POSITIVE, part=(part, name))


airye_ai = _airye(0, "airye_ai", lambda x, y: airye_aip(x) + _slope(x) * y)
airye_aip = _airye(1, "airye_aip", lambda x, y: x * airye_ai(x) + _slope(x) * y)
airye_bi = _airye(2, "airye_bi", lambda x, y: airye_bip(x) - _slope(x) * y)
airye_bip = _airye(3, "airye_bip", lambda x, y: x * airye_bi(x) - _slope(x) * y)


# ---------------------------------------------------------------- integrals
def _integral(name, *derivs, domain=POSITIVE):
    """Rows of the values of ``name``, one a derivative."""
    if len(derivs) == 1:
        return [special(name, derivs[0], domain=domain)]
    return [special(name, d, domain=domain, part=(i, f"{name}_{i}")) for i, d in enumerate(derivs)]


#: SciPy's name -> rows of its values, where there are several.
SEVERAL = {
    "ellipj": [ellipj_sn, ellipj_cn, ellipj_dn, ellipj_ph], "airye": [airye_ai, airye_aip, airye_bi, airye_bip],
    "pbdv": [pbdv_d, pbdv_dp],
    "itj0y0": _integral("itj0y0", lambda x, y: j0(x), lambda x, y: y0(x)),
    "iti0k0": _integral("iti0k0", lambda x, y: i0(x), lambda x, y: k0(x)),
    "it2j0y0": _integral("it2j0y0", lambda x, y: (1.0 - j0(x)) / x, lambda x, y: -y0(x) / x),
    "it2i0k0": _integral("it2i0k0", lambda x, y: (i0(x) - 1.0) / x, lambda x, y: -k0(x) / x),
}
_integral("itstruve0", lambda x, y: struve(0.0, x))
_integral("it2struve0", lambda x, y: -struve(0.0, x) / x)
_integral("itmodstruve0", lambda x, y: modstruve(0.0, x))

# ---------------------------------------------------------------- shifted and scaled polynomials
special("eval_chebyc", refused("eval_chebyc", "the degree n"), lambda n, x, y: _slope_of(eval_chebyt, n, 0.5 * x), domain=(DEGREES, UNIT))
special("eval_chebys", refused("eval_chebys", "the degree n"), lambda n, x, y: 0.5 * _slope_of(eval_chebyu, n, 0.5 * x),
        domain=(DEGREES, UNIT))


def _slope_of(row, *x):
    """The derivative of a row in its last operand."""
    return row.derivs[-1](*x, row(*x))


def _shifted(name, row, *domains):
    """A polynomial of 2x - 1."""
    return special(name, *[refused(name, "the degree and parameters")] * (len(domains) - 1),
                   lambda *x: 2.0 * _slope_of(row, *x[:-2], 2.0 * x[-2] - 1.0), domain=domains)


_shifted("eval_sh_legendre", eval_legendre, DEGREES, FRACTION)
_shifted("eval_sh_chebyt", eval_chebyt, DEGREES, FRACTION)
_shifted("eval_sh_chebyu", eval_chebyu, DEGREES, FRACTION)


# ---------------------------------------------------------------- distributions
def _distribution(name, *symbols, domains):
    """A distribution function all of whose derivatives are of interpolants."""
    return special(name, *[_in(name, i, s, _limited(i), *[_FAR] * len(domains)) for i, s in enumerate(symbols)], domain=domains)


_F = (1.5, 4.0, False)
_distribution("chndtr", "x", "df", "nc", domains=(PLUS, PLUS, PLUS))
_distribution("nctdtr", "df", "nc", "t", domains=(_F, PLUS, PLUS))
_distribution("ncfdtr", "dfn", "dfd", "nc", "f", domains=(_F, _F, PLUS, PLUS))


def _kolmogorov(y):
    """By the terms of 1 - F = 2 (e^(-2 y²) - e^(-8 y²) + ...) above 1, below by those of F = sqrt(2π)/y (e^(-π²/(8 y²)) + ...)."""
    low = less(y, 1.0)
    a, b, above, below = where(low, 1.0, y), where(low, y, 1.0), 0.0, 0.0
    for k in range(1, 5):
        above = above + (-1.0) ** k * 8.0 * k * k * a * exp(-2.0 * k * k * square(a))
        c, r = (2 * k - 1) ** 2 * math.pi**2 / 8, 1.0 / square(b)
        below = below + exp(-c * r) * r * (1.0 - 2.0 * c * r)
    return where(low, below * math.sqrt(2 * math.pi), above)


special("kolmogorov", lambda y, p: _kolmogorov(y), domain=PLUS)
special("kolmogi", lambda p, y: 1.0 / _kolmogorov(y), domain=FRACTION)
special("wright_bessel", _in("wright_bessel", 0, "a", _limited(0), *[_FAR] * 3),
        _in("wright_bessel", 1, "b", _limited(1), *[_FAR] * 3), lambda a, b, x, y: SPECIAL["wright_bessel"](a, a + b, x),
        domain=(PLUS, PLUS, PLUS))
special("zetac", lambda s, y: zeta.derivs[0](s, 1.0, None), domain=(2.5, 4.0, False))
for _name in ("mathieu_a", "mathieu_b"):
    special(_name, refused(_name, _A_COUNT), _in(_name, 1, "q", lambda m, q: 0.25 + 0.0 * q, COUNTS, PLUS), domain=(COUNTS, PLUS))


# ---------------------------------------------------------------- inverses: x with F(..., x, ...) = p
def _inverse(name, row, unknown, *domains, places):
    """The inverse of a distribution function in one of its operands, by the implicit function theorem.

    ``places`` gives the operands of ``row`` by their place among those of ``name``, None for the unknown; the one left over is p.
    """
    p = next(i for i in range(len(domains)) if i not in places)

    def solved(x, y):
        return [y if i is None else x[i] for i in places]

    def deriv(k):
        def in_operand(*xy):
            *x, y = xy
            at = solved(x, y)
            f = row(*at)
            slope = row.derivs[unknown](*at, f)
            return 1.0 / slope if k == p else -row.derivs[places.index(k)](*at, f) / slope
        return in_operand
    return special(name, *map(deriv, range(len(domains))), domain=domains)


_inverse("fdtri", fdtr, 2, _F, _F, FRACTION, places=[0, 1, None])
_inverse("gdtrix", gdtr, 2, PLUS, PLUS, FRACTION, places=[0, 1, None])
_inverse("gdtria", gdtr, 0, FRACTION, PLUS, PLUS, places=[None, 1, 2])
_inverse("gdtrib", gdtr, 1, PLUS, FRACTION, PLUS, places=[0, None, 2])
_inverse("btdtria", betainc, 0, FRACTION, PLUS, FRACTION, places=[None, 1, 2])
_inverse("btdtrib", betainc, 1, PLUS, FRACTION, FRACTION, places=[0, None, 2])

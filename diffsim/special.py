"""``scipy.special`` with derivatives: SciPy's names and signatures, for traced and for plain values.

SciPy's ufuncs (``scipy.special.erf``, ...) find these rules by themselves, and functions under a transform may call ``scipy.special``:
they are run with these in its place.  A name that is not listed here is SciPy's own.

>>> import diffsim as ds
>>> round(float(ds.grad(lambda x: ds.special.logsumexp(x))(ds.numpy.array([0.0, 1.0]))[1]), 6)
0.731059
"""

from .numpy.special import (
    assoc_laguerre,
    comb,
    diric,
    factorial,
    h1vp,
    h2vp,
    ivp,
    jvp,
    kvp,
    lambertw,
    log_softmax,
    logsumexp,
    multigammaln,
    perm,
    polygamma,
    sinc,
    softmax,
    softplus,
    sph_harm_y,
    spherical_in,
    spherical_jn,
    spherical_kn,
    spherical_yn,
    yvp,
    zeta,
)
from .numpy.special import stand_in as _stand_in

__all__ = ["assoc_laguerre", "comb", "diric", "factorial", "h1vp", "h2vp", "ivp", "jvp", "kvp", "lambertw", "log_softmax", "logsumexp",
           "multigammaln", "perm", "polygamma", "sinc", "softmax", "softplus", "sph_harm_y", "spherical_in", "spherical_jn",
           "spherical_kn", "spherical_yn", "yvp", "zeta"]


def __getattr__(name):
    try:
        return getattr(_stand_in, name)
    except AttributeError:
        raise AttributeError(f"module 'diffsim.special' has no attribute {name!r}: scipy.special has none of this name") from None


def __dir__():
    return sorted({*__all__, *dir(_stand_in)})

"""Complex numbers taken apart and put together.

Linear maps are transposed without conjugation: the pairing of a cotangent w and a tangent v is Re(Σ w v).  For a holomorphic function the
gradient is then its complex derivative, as in JAX and autograd, and the direction of steepest descent of a real function is the negative
of the gradient's conjugate.
"""

import numpy as np

from ..core import Absent, Aval
from ..core.aval import part_dtype, whole_dtype
from ..core.emission import Back, Gather
from .family import REAL, draw, draw_complex, linear, zeros
from .positions import same_place

NOT_EMITTED = Back("complex numbers become two real ones before code is generated")


def _one_part(which):
    """Emission of a part of complex numbers; of real ones, themselves or zero."""
    def rule(k, index, x):
        if x.dtype.kind == "c":
            return k.part(x, index, which)
        return k.const(0, x.dtype) if which else x(index)
    return Gather(rule, moves=True, parts=True)


def _both_parts(k, out, re, im):
    k.loop(out.shape, lambda index: k.store_parts(out, index, re(index), im(index)))


_SHAPES = ((), (3,), (2, 3), (0,))


def _z(rng):
    return [((draw_complex(rng, REAL, s),), {}) for s in _SHAPES]


def part(x):
    """Aval of the real part."""
    return Aval(tuple(x.shape), part_dtype(x.dtype))


real = linear(
    "real",
    impl=lambda x: np.real(x).copy() if isinstance(x, np.ndarray) else np.real(x),
    aval=part,
    transpose=lambda y_bar, x: (make_complex(y_bar, zeros(part(y_bar))),),
    batch=lambda n, batched, x: real(x),
    sparsity=same_place,
    emit=_one_part(0),
    samples=_z,
)

imag = linear(
    "imag",
    impl=lambda x: np.imag(x).copy() if isinstance(x, np.ndarray) else np.imag(x),
    aval=part,
    transpose=lambda y_bar, x: (make_complex(zeros(part(y_bar)), -y_bar),),
    batch=lambda n, batched, x: imag(x),
    sparsity=same_place,
    emit=_one_part(1),
    samples=_z,
)

conj = linear(
    "conj",
    impl=np.conjugate,
    aval=lambda x: x,
    transpose=lambda y_bar, x: (conj(y_bar),),
    batch=lambda n, batched, x: conj(x),
    sparsity=same_place,
    emit=NOT_EMITTED,
    samples=_z,
)


def _make_complex(re, im):
    z = np.empty(np.shape(re), whole_dtype(np.asarray(re).dtype))
    z.real, z.imag = re, im
    return z if z.shape else z[()]


def _make_complex_batch(n, batched, *parts):
    """A part without members is repeated by a product with ones (which keeps signed zeros): broadcasting stands a floor above."""
    return make_complex(*[x if on else x * np.ones((n, *x.shape), x.dtype) for x, on in zip(parts, batched, strict=True)])


make_complex = linear(
    "make_complex",                                         # of real and imaginary part, of one shape
    impl=_make_complex,
    aval=lambda re, im: Aval(tuple(re.shape), whole_dtype(re.dtype)),
    transpose=lambda y_bar, re, im: (real(y_bar), -imag(y_bar)),
    batch=_make_complex_batch,
    sparsity=same_place,
    emit=Gather(Absent("its elements are two numbers"), _both_parts, parts=True),
    samples=lambda rng: [((draw(rng, REAL, s), draw(rng, REAL, s)), {}) for s in _SHAPES],
)

__all__ = ["conj", "imag", "make_complex", "real"]

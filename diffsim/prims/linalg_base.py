"""What the rows of linear algebra share: products, adjoints, triangles and diagonals over the last two axes, and LAPACK matrix by matrix.

Every primitive of linear algebra works on the last two axes of its operands; the axes before them are equal in all operands, so that a
batch axis is one more of them.
"""

import numpy as np

from ..core.emission import Back
from .complexes import conj
from .contract import dot_general
from .elementwise import mul, where
from .family import REAL, draw, draw_complex
from .layout import basic, concatenate, convert, index, reduce_sum, reshape, spread, transpose
from .positions import repeated, size_of

BY_LAPACK = Back("matrices are factorised by LAPACK through NumPy and SciPy")
MATRIX = 2


# ---------------------------------------------------------------- algebra over the last two axes
def swap(a):
    """Transpose of the last two axes."""
    n = len(a.shape)
    return transpose(a, axes=(*range(n - 2), n - 1, n - 2))


def conjugate(a):
    """Complex conjugate; a real array itself."""
    return conj(a) if a.dtype.kind == "c" else a


def adjoint(a):
    """Conjugate transpose of the last two axes."""
    return conjugate(swap(a))


def product(*factors):
    """Matrix product of two or more factors with equal leading axes, from the left."""
    a, *rest = factors
    for b in rest:
        n = len(a.shape)
        lead = tuple(range(n - 2))
        a = dot_general(a, b, contract=((n - 1,), (n - 2,)), batch=(lead, lead))
    return a


def part(a, rows, columns):
    """Block of the last two axes."""
    return index(a, at=basic(tuple(a.shape), (*[slice(None)] * (len(a.shape) - 2), rows, columns)))


def blocks(upper_left, upper_right, lower_left, lower_right):
    """Matrix of four blocks."""
    axis = len(upper_left.shape) - 1
    return concatenate(concatenate(upper_left, upper_right, axis=axis), concatenate(lower_left, lower_right, axis=axis), axis=axis - 1)


def lower_part(a, k=0):
    """Elements on and below diagonal ``k``."""
    return where(np.tri(*a.shape[-2:], k, bool), a, 0.0)


def upper_part(a, k=0):
    """Elements on and above diagonal ``k``."""
    return where(~np.tri(*a.shape[-2:], k - 1, bool), a, 0.0)


def eye(a):
    """Identity of the size of the last axis, in the dtype, without leading axes."""
    return np.eye(a.shape[-1], dtype=a.dtype)


def eyes(a):
    """Identities, one for each matrix."""
    return np.array(np.broadcast_to(eye(a), (*a.shape[:-2], a.shape[-1], a.shape[-1])))


def diagonal(a):
    """Diagonal of square matrices, as vectors."""
    return reduce_sum(where(np.eye(a.shape[-1], dtype=bool), a, 0.0), axes=(len(a.shape) - 1,))


def trace(a):
    """Sum of the diagonal."""
    n = len(a.shape)
    return reduce_sum(where(np.eye(a.shape[-1], dtype=bool), a, 0.0), axes=(n - 2, n - 1))


def columns_times(a, d):
    """Column j of ``a`` times ``d[j]``."""
    return mul(a, reshape(d, shape=(*d.shape[:-1], 1, d.shape[-1])))


def per_matrix(x):
    """Numbers, one for each matrix, in a shape that multiplies matrices."""
    return reshape(x, shape=(*x.shape, 1, 1))


def hermitian_from_lower(a):
    """Hermitian matrix whose lower triangle is that of ``a``; the imaginary part of its diagonal is not read."""
    low = lower_part(a, -1)
    d = where(np.eye(a.shape[-1], dtype=bool), a, 0.0)
    d = mul(d + conj(d), 0.5) if a.dtype.kind == "c" else d
    return low + adjoint(low) + d


def in_dtype(x, dtype):
    """``x`` cast where it is of another dtype."""
    return x if x.dtype == dtype else convert(x, dtype=dtype)


# ---------------------------------------------------------------- batches
def batch_leading(prim):
    """Batch rule of a primitive that takes any leading axes: the batch axis is one more."""
    def rule(n, batched, *x, **params):
        return prim(*spread(n, batched, x), **params)
    prim.batch = rule
    return prim


# ---------------------------------------------------------------- sparsity
def coupled(shape_x, axes_x, shape_y, axes_y):
    """Sparsity of a map that is dense over some axes and does not mix the others: by way of one number a line of the others."""
    n_x, n_y = size_of(shape_x), size_of(shape_y)
    n_lines = size_of(tuple(n for i, n in enumerate(shape_x) if i not in axes_x))
    return [(repeated(shape_x, axes_x), np.arange(n_x), n_lines), (np.arange(n_y), repeated(shape_y, axes_y), n_y)]


def per_column(prim):
    """Sparsity of a solution in its right-hand sides: columns, and matrices, do not mix."""
    def rule(i, *x, **params):
        shape = tuple(x[-1].shape)
        axis = (len(shape) - 2,)
        return coupled(shape, axis, shape, axis)
    prim.sparsity = rule
    return prim


# ---------------------------------------------------------------- LAPACK
def scipy_linalg():
    """SciPy's module, imported when a matrix first needs it."""
    import scipy.linalg  # noqa: PLC0415  (0.1 s, paid only by those who factorise)
    return scipy.linalg


def scipy_fft():
    """SciPy's Fourier transforms, imported when first needed."""
    import scipy.fft  # noqa: PLC0415  (0.05 s, paid only by those who transform)
    return scipy.fft


def routines(names, *arrays):
    """LAPACK routines of SciPy for the dtype of some arrays."""
    return scipy_linalg().get_lapack_funcs(names, arrays)


def each_matrix(f, avals, *x):
    """``f`` of each matrix of operands with equal leading axes; its values stand in arrays of the given avals (a tuple)."""
    lead = x[0].shape[:-2]
    if not lead:
        return tuple(np.asarray(y, a.dtype) for y, a in zip(f(*x), avals, strict=True))
    out = tuple(np.empty(a.shape, a.dtype) for a in avals)
    for i in np.ndindex(*lead):
        for o, y in zip(out, f(*[a[i] for a in x]), strict=True):
            o[i] = y
    return out


# ---------------------------------------------------------------- samples
def either(rng, shape, kind):
    """A random matrix, ``kind`` "f" for a real and "c" for a complex one."""
    return (draw_complex if kind == "c" else draw)(rng, REAL, shape)


def well_conditioned(rng, shape, kind="f"):
    """A random matrix with a heavy diagonal."""
    return either(rng, shape, kind) + 4 * np.eye(*shape[-2:])


def positive_definite(rng, shape, kind="f"):
    """A random Hermitian matrix with eigenvalues above one."""
    a = either(rng, shape, kind)
    return a @ np.conj(np.swapaxes(a, -1, -2)) / shape[-1] + 2 * np.eye(shape[-1])

"""Dense linear algebra: solve."""

import numpy as np

from ..core import Absent, Aval, Linear, Primitive
from .contract import dot_general
from .elementwise import neg, sub
from .family import REAL, draw
from .layout import reshape, spread, transpose


def _swap(a):
    """Transpose of the last two axes."""
    n = len(a.shape)
    return transpose(a, axes=(*range(n - 2), n - 1, n - 2))


def matmul_last(a, b):
    """Matrix product over the last two axes, equal leading axes."""
    n = len(a.shape)
    lead = tuple(range(n - 2))
    return dot_general(a, b, contract=((n - 1,), (n - 2,)), batch=(lead, lead))


def _solve_jvp(x, y, x_dot):
    """A x = b gives x' = A⁻¹ (b' - A' x)."""
    (a, _), (a_dot, b_dot) = x, x_dot
    if a_dot is None:
        return solve(a, b_dot)
    change = matmul_last(a_dot, y)
    return solve(a, neg(change) if b_dot is None else sub(b_dot, change))


def _solve_batch(n, batched, a, b):
    """Members with one matrix are columns of one right-hand side; members with a matrix each are stacked."""
    if batched[0]:
        return solve(*spread(n, batched, (a, b)))
    lead, m = tuple(range(1, len(b.shape) - 2)), b.shape[-1]
    columns = transpose(b, axes=(*lead, len(b.shape) - 2, 0, len(b.shape) - 1))
    y = reshape(solve(a, reshape(columns, shape=(*columns.shape[:-2], n * m))), shape=tuple(columns.shape))
    return transpose(y, axes=(len(lead) + 1, *range(len(lead) + 1), len(lead) + 2))


def _solve_samples(rng):
    return [((draw(rng, REAL, (*lead, n, n)) + 4 * np.eye(n), draw(rng, REAL, (*lead, n, m))), {}) for lead, n, m in (
        ((), 3, 1), ((), 2, 3), ((2,), 3, 2))]


solve = Primitive(
    "solve",
    impl=np.linalg.solve,
    aval=lambda a, b: Aval(b.shape, np.result_type(a.dtype, b.dtype)),
    jvp=_solve_jvp,
    transpose=lambda y_bar, a, b: (None, None if isinstance(a, Linear) else solve(_swap(a), y_bar)),
    batch=_solve_batch,
    emit=Absent("matrices are factorised by LAPACK through NumPy"),
    samples=_solve_samples,
)

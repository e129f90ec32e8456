"""Large contractions as calls of BLAS: each operand as a matrix where it lies, transposed by a flag, never copied.

BLAS counts by columns, so a product C = A B of arrays in row-major order is asked for as Cᵀ = Bᵀ Aᵀ.
"""

from itertools import pairwise
from math import prod
from typing import NamedTuple

from ..core.emission import Call

#: A product of matrices is a call from this many multiplications on (12 x 12 gains a third, 32 x 32 takes a quarter; 8 x 8 is even), a
#: matrix times a vector from this many elements on (loops are as fast in the cache, and join what stands around them).
MATRICES, VECTORS = 1000, 1 << 17
#: Longer sums of single precision are formed in double precision, which BLAS does not do.
LONGEST_SINGLE = 1024


class Side(NamedTuple):
    """One operand as a stack of matrices: elements from one free index to the next, from one contracted index, from one member."""

    free: int
    inner: int
    member: int


class Product(NamedTuple):
    """``members`` products of an m by k and a k by n matrix; ``a`` and ``b`` say where these are."""

    members: int
    m: int
    n: int
    k: int
    a: Side
    b: Side


def merged(shape, axes):
    """Elements from one index to the next of several axes taken as one, in the order given; None where they do not lie like that."""
    strides = [prod(shape[i + 1:]) for i in range(len(shape))]
    axes = [i for i in axes if shape[i] != 1]
    if any(strides[i] != strides[j] * shape[j] for i, j in pairwise(axes)):
        return None
    return strides[axes[-1]] if axes else 1


def as_product(a, b, contract, batch):
    """A contraction as a :class:`Product`, None where an operand would have to be copied.

    Parameters
    ----------
    a, b : tuple of int
        Shapes.
    contract, batch : pair of tuples of int
        As of ``dot_general``.
    """
    for key in (0, 1):                                      # the axes summed over in the order of one operand, or of the other
        pairs = sorted(zip(*contract, strict=True), key=lambda pair: pair[key])
        inner = [tuple(pair[side] for pair in pairs) for side in (0, 1)]
        sides = [_side(shape, summed, shared) for shape, summed, shared in ((a, inner[0], batch[0]), (b, inner[1], batch[1]))]
        if None not in sides:
            (m, left), (n, right) = sides
            return Product(prod(a[i] for i in batch[0]), m, n, prod(a[i] for i in inner[0]), left, right)
    return None


def _side(shape, summed, shared):
    """Size of the free index and :class:`Side` of an operand; None if a call cannot say where it is."""
    free = tuple(i for i in range(len(shape)) if i not in summed and i not in shared)
    found = Side(*(merged(shape, axes) for axes in (free, summed, shared)))
    size = prod(shape[i] for i in free)
    if None in found or not (found.free == 1 or found.inner == 1 or size == 1):
        return None
    return size, found


def worthwhile(p, width):
    """Whether a product of numbers of so many bytes is large enough for a call."""
    if p.k == 1 or p.m == p.n == 1 or 0 in p[:4]:
        return False                                        # outer products and sums are loops, which join others
    if letter(width) == "s" and p.k > LONGEST_SINGLE:
        return False
    return p.m * p.n * p.k >= (VECTORS if 1 in (p.m, p.n) else MATRICES)


def matrix(rows, columns, down, across):
    """``(flag, leading dimension)`` by which BLAS takes the matrix whose (i, j) lies ``i down + j across`` elements on."""
    return ("N", max(across, rows)) if down == 1 or rows == 1 else ("T", max(down, columns))


def _rule(k, outs, ins, *, contract, batch):
    a, b = ins
    p = as_product(tuple(a.shape), tuple(b.shape), contract, batch)
    width, (left, right, out) = a.dtype.itemsize, [k.pointer(x) for x in (a, b, outs[0])]

    def one(i):
        x, y, z = k.member(left, i, p.a.member * width), k.member(right, i, p.b.member * width), k.member(out, i, p.m * p.n * width)
        if p.n == 1:
            times_vector(k, width, (x, p.m, p.a), (y, p.b.inner), z, p.k)
        elif p.m == 1:
            times_vector(k, width, (y, p.n, p.b), (x, p.a.inner), z, p.k)
        else:
            times_matrix(k, width, p, x, y, z)
    k.members(p.members, one)


def letter(width):
    """First letter of routines for numbers of so many bytes."""
    return "s" if width == 4 else "d"


def times_matrix(k, width, p, a, b, c):
    """Cᵀ = Bᵀ Aᵀ."""
    flag_b, lead_b = matrix(p.n, p.k, p.b.free, p.b.inner)
    flag_a, lead_a = matrix(p.k, p.m, p.a.inner, p.a.free)
    k.routine("blas", letter(width) + "gemm", flag_b, flag_a, p.n, p.m, p.k, 1.0, b, lead_b, a, lead_a, 0.0, c, p.n)


def times_vector(k, width, of, vector, out, inner):
    """A matrix times a vector; ``of`` is its address, number of rows and :class:`Side`, ``vector`` an address and a step."""
    address, rows, side = of
    name = letter(width) + "gemv"
    if side.free == 1:
        k.routine("blas", name, "N", rows, inner, 1.0, address, max(side.inner, rows), *vector, 0.0, out, 1)
    else:                                                   # rows lie together: columns of the transpose
        k.routine("blas", name, "T", inner, rows, 1.0, address, max(side.free, inner), *vector, 0.0, out, 1)


def _work(ins, outs, *, contract, batch):
    return 2 * outs[0].size * prod(ins[0].shape[i] for i in contract[0])


blas_call = Call(_rule, None, inside=True, work=_work)

__all__ = ["Product", "Side", "as_product", "blas_call", "letter", "worthwhile"]

"""Tangents and cotangents of Cholesky factors as calls of BLAS.

Row-major matrices are their transposes to BLAS: the factor is an upper triangle there, and products change their sides.
"""

from .lapack import cleared, cubic, element, lowered, members, position, real, stepped, triangular_in_place

#: Rows of a block of the cotangents' recursion.
BLOCK = 64


def _halved(k, a, n, width):
    """Phi of Murray in place: the lower triangle, its diagonal halved."""
    kind = real(width)
    cleared(k, a, n, width, above=True)

    def one(i):
        at = element(k, a, position(k, i, n, i), width)
        k.store(at, k.line(f"fmul {kind} {k.line(f'load {kind}, ptr {at}')}, 0.5"), kind)
    stepped(k, n, one)


def _symmetric(k, target, source, n, width, plus=True):
    """The symmetric matrix ``source + sourceᵀ``, or that whose lower triangle is the source's."""
    kind = real(width)

    def row(i):
        def one(j):
            low, high = (position(k, *at) for at in ((i, n, j), (j, n, i)))
            x = k.line(f"load {kind}, ptr {element(k, source, low, width)}")
            if plus:
                x = k.line(f"fadd {kind} {x}, {k.line(f'load {kind}, ptr {element(k, source, high, width)}')}")
            k.store(element(k, target, low, width), x, kind)
            k.store(element(k, target, high, width), x, kind)
        stepped(k, k.line(f"add nuw nsw i64 {i}, 1"), one)
    stepped(k, n, row)


# ---------------------------------------------------------------- tangents
def _push(k, kind, width, outs, ins):
    """L Phi(L⁻¹ A' L⁻ᵀ): two triangular solves and a triangular product."""
    (factor, a_dot), (out,) = ins, outs
    n, size = factor.shape[-1], factor.shape[-1] ** 2 * width
    whole = k.scratch(size)
    left, source, target = k.pointer(factor), k.pointer(a_dot), k.pointer(out)

    def one(i):
        m, y = k.member(left, i, size), k.member(target, i, size)
        _symmetric(k, whole, k.member(source, i, size), n, width, plus=False)
        triangular_in_place(k, kind, n, n, m, whole, lower=True, unit=False)
        triangular_in_place(k, kind, n, n, m, whole, lower=True, unit=False, transposed=True, right=True)
        _halved(k, whole, n, width)
        k.copy(y, whole, size)
        k.routine("blas", kind + "trmm", "R", "U", "N", "N", n, n, 1.0, m, n, y, n)
    k.members(members(factor), one)


def push(why):
    return lowered(_push, why, work=cubic(3))


# ---------------------------------------------------------------- cotangents
class _Blocks:
    """Addresses of blocks of the factor and its cotangent, and the products of the recursion."""

    def __init__(self, k, kind, width, n, factor, bar, work):
        self.k, self.kind, self.width, self.n, self.factor, self.bar, self.work = k, kind, width, n, factor, bar, work

    def at(self, base, row, column):
        return self.k.address(base, self.width * (row * self.n + column))

    def less(self, flags, sizes, a, b, c):
        """``c -= op(a) op(b)`` of row-major blocks; sizes are rows and columns of c and the sum's length; a, b are (address, row)."""
        (rows, columns, inner), (x, lead_x), (y, lead_y) = sizes, a, b
        if 0 not in sizes:
            self.k.routine("blas", self.kind + "gemm", flags[1], flags[0], columns, rows, inner, -1.0, y, lead_y, x, lead_x, 1.0, c, self.n)

    def block(self, start, stop):
        """One step, for the rows and columns from ``start`` to ``stop``."""
        k, kind, n, rest, size = self.k, self.kind, self.n, self.n - stop, stop - start
        d, d_bar = self.at(self.factor, start, start), self.at(self.bar, start, start)
        c_bar, c, b = self.at(self.bar, stop, start), self.at(self.factor, stop, start), self.at(self.factor, stop, 0)
        r, r_bar = self.at(self.factor, start, 0), self.at(self.bar, start, 0)
        if rest:
            k.routine("blas", kind + "trsm", "L", "U", "N", "N", size, rest, 1.0, d, n, c_bar, n)
            self.less("NN", (rest, start, size), (c_bar, n), (r, n), self.at(self.bar, stop, 0))
            self.less("TN", (size, size, rest), (c_bar, n), (c, n), d_bar)
        symmetric = self.diagonal(d, d_bar, size)
        self.less("TN", (size, start, rest), (c_bar, n), (b, n), r_bar)
        self.less("NN", (size, start, size), (symmetric, size), (r, n), r_bar)

    def diagonal(self, d, d_bar, size):
        """The cotangent of a block on the diagonal, in place; returns the address of it plus its transpose."""
        k, kind, width = self.k, self.kind, self.width
        low, inner = self.work, k.address(self.work, size * size * width)

        def packed(i):
            k.copy(k.row(low, i, size * width), k.row(d_bar, i, self.n * width), size * width)
        stepped(k, size, packed)
        cleared(k, low, size, width, above=True)
        k.routine("blas", kind + "gemm", "N", "T", size, size, size, 1.0, low, size, d, self.n, 0.0, inner, size)
        _halved(k, inner, size, width)
        k.routine("blas", kind + "trsm", "L", "U", "N", "N", size, size, 1.0, d, self.n, inner, size)
        k.routine("blas", kind + "trsm", "R", "U", "T", "N", size, size, 1.0, d, self.n, inner, size)
        _symmetric(k, low, inner, size, width)

        def back(i):
            k.copy(k.row(d_bar, i, self.n * width), k.row(low, i, size * width), size * width)
            at = k.row(d_bar, i, (self.n + 1) * width)
            k.store(at, k.line(f"fmul {real(width)} {k.line(f'load {real(width)}, ptr {at}')}, 0.5"), real(width))
        stepped(k, size, back)
        return low


def _pull(k, kind, width, outs, ins):
    """Blocks from the last to the first (Murray, arXiv:1602.07527, sec. 4): 2/3 n^3 operations, nearly all of them products."""
    (factor, bar), (out,) = ins, outs
    n, size = factor.shape[-1], factor.shape[-1] ** 2 * width
    step = max(BLOCK, -(-n // 16))
    work = k.scratch(2 * min(step, n) ** 2 * width)
    left, source, target = k.pointer(factor), k.pointer(bar), k.pointer(out)

    def one(i):
        y = k.member(target, i, size)
        k.copy(y, k.member(source, i, size), size)
        blocks = _Blocks(k, kind, width, n, k.member(left, i, size), y, work)
        for start in reversed(range(0, n, step)):
            blocks.block(start, min(start + step, n))
        cleared(k, y, n, width, above=True)
    k.members(members(factor), one)


def pull(why):
    return lowered(_pull, why, work=cubic(2 / 3))


__all__ = ["pull", "push"]

"""Factorisations and linear systems as calls of LAPACK and BLAS, matrix by matrix.

LAPACK counts by columns: an array in row-major order is to it the transpose.  Triangles and systems are asked for so that this costs
nothing (A X = B is Xᵀ Aᵀ = Bᵀ); where signs or pivots would differ from those of NumPy, matrices are transposed in scratch memory first.
"""

import numpy as np

from ..core.emission import Call, Either
from .products import letter

LOG = ("log", "logf")
WIDTH = {"d": 8, "s": 4}
#: Triangles of twice this order and more are solved with block by block: products of matrices run at twice the speed of such solves.
BLOCK = 64


class Failing:
    """What a call of LAPACK needs from the caller of the program: a word for what it says, and somebody to raise it.

    Parameters
    ----------
    message : callable
        ``message(info) -> str``, of the LinAlgError.
    """

    words = 1

    def __init__(self, message):
        self.message = message

    def allocate(self):
        return np.zeros(1, np.int64), None

    def grow(self, status, words, memory):
        return False

    def error(self, status, words, memory):
        return np.linalg.LinAlgError(self.message(int(words[0])))


def lowered(rule, why, message=None, suits=None, work=None):
    """Emission of a row: ``rule(k, letter, width, outs, ins, **params)`` on non-empty real arrays of one precision, else calls back.

    Parameters
    ----------
    rule : callable
    why : Back
        For all other operands.
    message : callable, optional
        See :class:`Failing`.
    suits : callable, optional
        ``suits(**params)``: whether the rule serves these parameters.
    work : callable, optional
        ``work(avals_in, avals_out, **params)``: operations, as Golub & Van Loan (Matrix Computations, 4th ed. 2013) count them.
    """
    def write(k, outs, ins, **params):
        width = ins[0].dtype.itemsize
        rule(k, letter(width), width, outs, ins, **params)
    call = Call(write, None if message is None else lambda params, ins, outs: Failing(message), inside=True, work=work)

    def choose(ins, outs, **params):
        real = {a.dtype for a in ins if a.dtype.kind != "i"} == {ins[0].dtype} and ins[0].dtype.kind == "f"
        fits = real and all(a.size for a in (*ins, *outs)) and (suits is None or suits(**params))
        return call if fits else why
    return Either(choose, "LAPACK")


# ---------------------------------------------------------------- what rules share
def members(a):
    """How many matrices an array holds."""
    return int(np.prod(a.shape[:-2], dtype=int))


def cubic(share):
    """Operations on square matrices: a share of n^3."""
    return lambda ins, outs, **params: round(share * ins[0].size * ins[0].shape[-1])


def stepped(k, n, body, down=False):
    """``body(i)`` for i = 0, ..., n - 1, or from n - 1 down to 0."""
    def step(i):
        body(k.line(f"sub nsw i64 {n - 1}, {i}") if down else i)
        return (k.line(f"add nuw nsw i64 {i}, 1"),)
    k.cycle([("i64", "0")], lambda i: k.line(f"icmp slt i64 {i}, {n}"), step)


def element(k, base, at, width):
    """Address of element ``at``, the text of an i64."""
    return k.line(f"getelementptr inbounds [{width} x i8], ptr {base}, i64 {at}")


def position(k, i, n, j):
    """``i n + j``, as the text of an i64."""
    return k.line(f"add nuw nsw i64 {k.line(f'mul nuw nsw i64 {i}, {n}')}, {j}")


def real(width):
    """LLVM's name of a number of so many bytes."""
    return "float" if width == np.dtype(np.float32).itemsize else "double"


def flipped(k, target, source, rows, columns, width):
    """Write the transpose of a rows by columns matrix, in squares that stay in the cache."""
    kind, side = real(width), 16

    def one(i, j):
        x = k.line(f"load {kind}, ptr {element(k, source, position(k, i, columns, j), width)}")
        k.store(element(k, target, position(k, j, rows, i), width), x, kind)

    def strip(block):
        first = k.line(f"mul nuw nsw i64 {block}, {side}")
        last = k.line(f"add nuw nsw i64 {first}, {side}")
        last = k.line(f"select i1 {k.line(f'icmp slt i64 {last}, {columns}')}, i64 {last}, i64 {columns}")

        def row(i):
            def step(j):
                one(i, j)
                return (k.line(f"add nuw nsw i64 {j}, 1"),)
            k.cycle([("i64", first)], lambda j: k.line(f"icmp slt i64 {j}, {last}"), step)
        stepped(k, rows, row)
    stepped(k, -(-columns // side), strip)


def info_of(k):
    """Memory for what a routine says."""
    return k.alloca(1, "i32")


def told(k, info, outs):
    """Where a routine says that it failed, leave the program; within a kernel all values become NaN instead."""
    code = k.line(f"sext i32 {k.line(f'load i32, ptr {info}')} to i64")
    if k.answered:
        k.context_store(0, code)
        k.check(k.line(f"zext i1 {k.line(f'icmp ne i64 {code}, 0')} to i64"))
        return

    def poison():
        for b in outs:
            k.poison(b)
    k.switch(k.line(f"zext i1 {k.line(f'icmp ne i64 {code}, 0')} to i64"), [lambda: None, poison])


def cleared(k, matrix, n, width, above):
    """Zero in one strict triangle of a square matrix."""
    def row(i):
        start = k.line(f"add nuw nsw i64 {i}, 1") if above else "0"
        count = k.line(f"sub nsw i64 {n - 1}, {i}") if above else i
        at = element(k, matrix, position(k, i, n, start), width)
        k.clear(at, k.line(f"mul nuw nsw i64 {count}, {width}"))
    stepped(k, n, row)


# ---------------------------------------------------------------- Cholesky
def _cholesky(k, kind, width, outs, ins, *, lower):
    """The triangle that is read, and the factor, are the other triangle to LAPACK."""
    a, (out,), info = ins[0], outs, info_of(k)
    n = a.shape[-1]
    source, target, size = k.pointer(a), k.pointer(out), n * n * width

    def one(i):
        y = k.member(target, i, size)
        k.copy(y, k.member(source, i, size), size)
        k.routine("lapack", kind + "potrf", "U" if lower else "L", n, y, n, info)
        cleared(k, y, n, width, above=lower)
        told(k, info, outs)
    k.members(members(a), one)


def cholesky(why):
    return lowered(_cholesky, why, lambda info: "Matrix is not positive definite", work=cubic(1 / 3))


# ---------------------------------------------------------------- systems
def triangular_in_place(k, kind, n, m, a, x, *, lower, unit, transposed=False, right=False):
    """Overwrite x (n by m) by the solution of op(A) Y = x, or with ``right`` of Y op(A) = x."""
    triangle, diagonal = "U" if lower else "L", "U" if unit else "N"
    if not right and m == 1:
        k.routine("blas", kind + "trsv", triangle, "N" if transposed else "T", diagonal, n, a, n, x, 1)
        return
    order, flag = m if right else n, "T" if transposed else "N"
    size = max(BLOCK, -(-order // 16)) if order >= 2 * BLOCK else order
    blocks = [(start, min(start + size, order)) for start in range(0, order, size)]
    forward = (lower != transposed) != right
    for start, stop in blocks if forward else reversed(blocks):
        known = (0, start) if forward else (stop, order)
        if known[0] != known[1]:
            _less_known(k, kind, n, m, a, x, (start, stop), known, flag, right)
        at = WIDTH[kind] * (start if right else start * m)
        sizes = (stop - start, n) if right else (m, stop - start)
        block = k.address(a, WIDTH[kind] * start * (order + 1))
        k.routine("blas", kind + "trsm", "L" if right else "R", triangle, flag, diagonal, *sizes, 1.0, block, order, k.address(x, at), m)


def _less_known(k, kind, n, m, a, x, block, known, flag, right):
    """Subtract from a block of rows (``right``: columns) of x what those solved before, the range ``known``, contribute there."""
    width, order = WIDTH[kind], m if right else n
    (start, stop), (first, last) = block, known
    row, column = (first, start) if right != (flag == "T") else (start, first)
    factor = k.address(a, width * (row * order + column))
    before, here = (k.address(x, width * (i if right else i * m)) for i in (first, start))
    if right:
        k.routine("blas", kind + "gemm", flag, "N", stop - start, n, last - first, -1.0, factor, order, before, m, 1.0, here, m)
    else:
        k.routine("blas", kind + "gemm", "N", flag, m, stop - start, last - first, -1.0, before, m, factor, order, 1.0, here, m)


def _zero_on_diagonal(k, a, n, width, info):
    """Write the number, from 1, of a zero on the diagonal to ``info``; 0 if there is none."""
    kind = real(width)

    def step(i, found):
        x = k.line(f"load {kind}, ptr {element(k, a, position(k, i, n, i), width)}")
        zero = k.line(f"fcmp oeq {kind} {x}, 0.0")
        following = k.line(f"add nuw nsw i64 {i}, 1")
        first = k.line(f"and i1 {zero}, {k.line(f'icmp eq i64 {found}, 0')}")
        return following, k.line(f"select i1 {first}, i64 {following}, i64 {found}")
    _, found = k.cycle([("i64", "0"), ("i64", "0")], lambda i, _: k.line(f"icmp slt i64 {i}, {n}"), step)
    k.store(info, k.line(f"trunc i64 {found} to i32"), "i32")


def _triangular(k, kind, width, outs, ins, *, lower, unit, transposed=False, right=False):
    (a, b), (out,), info = ins, outs, info_of(k)
    order, (n, m) = a.shape[-1], b.shape[-2:]
    left, source, target = k.pointer(a), k.pointer(b), k.pointer(out)

    def one(i):
        m_i, y = k.member(left, i, order * order * width), k.member(target, i, n * m * width)
        k.copy(y, k.member(source, i, n * m * width), n * m * width)
        if not unit:
            _zero_on_diagonal(k, m_i, order, width, info)
            if k.answered:
                told(k, info, outs)
        triangular_in_place(k, kind, n, m, m_i, y, lower=lower, unit=unit, transposed=transposed, right=right)
        if not unit and not k.answered:
            told(k, info, outs)
    k.members(members(a), one)


def triangular(why):
    return lowered(_triangular, why, lambda info: f"singular matrix: diagonal element {info - 1} of a triangular matrix is zero",
                   work=lambda ins, outs, **params: outs[0].size * ins[0].shape[-1])


def _exchanged(k, kind, n, m, pivots, x, *, back, first):
    """The row exchanges of a factorisation on the rows of x (n by m), or ``back``, last first; pivots count from ``first``."""
    width = 4 if kind == "s" else 8

    def row(i):
        p = k.line(f"sext i32 {k.line(f'load i32, ptr {element(k, pivots, i, 4)}')} to i64")
        other = k.line(f"sub nsw i64 {p}, {first}")
        x_i, x_p = (element(k, x, k.line(f"mul nuw nsw i64 {j}, {m}"), width) for j in (i, other))
        k.routine("blas", kind + "swap", m, x_i, 1, x_p, 1)
    stepped(k, n, row, down=back)


def _solve(k, kind, width, outs, ins, *, factors=None):
    """To LAPACK the array is Aᵀ = P L U: one right-hand side by its transposed system, several from the right: Xᵀ = Bᵀ U⁻¹ L⁻¹ Pᵀ."""
    (a, b), (out,), info = ins, outs, info_of(k)
    n, m = b.shape[-2:]
    size, (left, source, target) = n * n * width, [k.pointer(x) for x in (a, b, out)]
    lu, pivots = k.scratch(size), k.scratch(4 * n)

    def one(i):
        y = k.member(target, i, n * m * width)
        k.copy(lu, k.member(left, i, size), size)
        k.routine("lapack", kind + "getrf", n, n, lu, n, pivots, info)
        if k.answered:
            told(k, info, outs)
        k.copy(y, k.member(source, i, n * m * width), n * m * width)
        if m == 1:
            k.routine("lapack", kind + "getrs", "T", n, 1, lu, n, pivots, y, n, k.alloca(1, "i32"))
        else:
            triangular_in_place(k, kind, n, m, lu, y, lower=True, unit=False)
            triangular_in_place(k, kind, n, m, lu, y, lower=False, unit=True)
            _exchanged(k, kind, n, m, pivots, y, back=True, first=1)
        if not k.answered:
            told(k, info, outs)
    k.members(members(a), one)


def solve(why):
    return lowered(_solve, why, lambda info: "Singular matrix", work=lambda ins, outs, factors=None: (
        round(2 / 3 * ins[0].size * ins[0].shape[-1]) + 2 * outs[0].size * ins[0].shape[-1]))


def _factored(k, kind, width, outs, ins, *, transposed):
    """P A = L U: X = U⁻¹ L⁻¹ P B, and of the transpose X = Pᵀ L⁻ᵀ U⁻ᵀ B."""
    (packed, pivots, b), (out,), info = ins, outs, info_of(k)
    n, m = b.shape[-2:]
    lu, exchanges, source, target = (k.pointer(x) for x in (packed, pivots, b, out))

    def one(i):
        f, p, y = k.member(lu, i, n * n * width), k.member(exchanges, i, 4 * n), k.member(target, i, n * m * width)
        k.copy(y, k.member(source, i, n * m * width), n * m * width)
        _zero_on_diagonal(k, f, n, width, info)
        if k.answered:
            told(k, info, outs)
        if not transposed:
            _exchanged(k, kind, n, m, p, y, back=False, first=0)
        for lower in (False, True) if transposed else (True, False):
            triangular_in_place(k, kind, n, m, f, y, lower=lower, unit=lower, transposed=transposed)
        if transposed:
            _exchanged(k, kind, n, m, p, y, back=True, first=0)
        if not k.answered:
            told(k, info, outs)
    k.members(members(b), one)


def factored(why):
    return lowered(_factored, why, lambda info: "Singular matrix", work=lambda ins, outs, **params: 2 * outs[0].size * ins[0].shape[-1])


def _banded(k, kind, width, outs, ins, *, low, up):
    (ab, b), (out,), info = ins, outs, info_of(k)
    n, m = b.shape[-2:]
    rows, leading = low + up + 1, 2 * low + up + 1
    left, source, target = k.pointer(ab), k.pointer(b), k.pointer(out)
    work, pivots, turned = k.scratch(leading * n * width), k.scratch(4 * n), k.scratch(n * m * width)
    number = real(width)

    def one(i):
        band, x, y = k.member(left, i, rows * n * width), k.member(source, i, n * m * width), k.member(target, i, n * m * width)
        for r in range(rows):                               # LAPACK's storage, with room for what exchanges of rows fill in

            def column(j, r=r):
                value = k.line(f"load {number}, ptr {element(k, band, k.line(f'add nuw nsw i64 {j}, {r * n}'), width)}")
                at = k.line(f"add nuw nsw i64 {k.line(f'mul nuw nsw i64 {j}, {leading}')}, {low + r}")
                k.store(element(k, work, at, width), value, number)
            stepped(k, n, column)
        place = y if m == 1 else turned
        if m == 1:
            k.copy(y, x, n * width)
        else:
            flipped(k, turned, x, n, m, width)
        k.routine("lapack", kind + "gbsv", n, low, up, m, work, leading, pivots, place, n, info)
        if m > 1:
            flipped(k, y, turned, m, n, width)
        told(k, info, outs)
    k.members(members(ab), one)


def banded(why):
    return lowered(_banded, why, lambda info: "singular matrix", work=lambda ins, outs, *, low, up: (
        2 * low * (low + up) * ins[0].shape[-1] * members(ins[0]) + 2 * (2 * low + up) * outs[0].size))


# ---------------------------------------------------------------- LU and determinants
def _lu(k, kind, width, outs, ins):
    a, (packed, pivots), info = ins[0], outs, info_of(k)
    m, n = a.shape[-2:]
    few, size = min(m, n), m * n * width
    source, target, exchanged, work = k.pointer(a), k.pointer(packed), k.pointer(pivots), k.scratch(size)

    def one(i):
        p = k.member(exchanged, i, 4 * few)
        flipped(k, work, k.member(source, i, size), m, n, width)
        k.routine("lapack", kind + "getrf", m, n, work, m, p, info)
        flipped(k, k.member(target, i, size), work, n, m, width)

        def from_zero(j):
            at = element(k, p, j, 4)
            k.store(at, k.line(f"sub i32 {k.line(f'load i32, ptr {at}')}, 1"), "i32")
        stepped(k, few, from_zero)
    k.members(members(a), one)


def lu(why):
    return lowered(_lu, why, work=_lu_work)


def _lu_work(ins, outs):
    (m, n), k = ins[0].shape[-2:], min(ins[0].shape[-2:])
    return round(members(ins[0]) * (2 * m * n * k - (m + n) * k**2 + 2 * k**3 / 3))


def _factorised(k, kind, a, i, width):
    """LU factors of a member's transpose, which has the same determinant, in scratch memory: their address, that of the pivots."""
    n = a.shape[-1]
    size, info = n * n * width, info_of(k)
    work, pivots = k.scratch(size), k.scratch(4 * n)
    k.copy(work, k.member(k.pointer(a), i, size), size)
    k.routine("lapack", kind + "getrf", n, n, work, n, pivots, info)
    return work, pivots


def _over_diagonal(k, work, pivots, n, width, start, step):
    """Fold ``step(u, exchanged, *values)`` over the pivots u; ``exchanged`` says whether rows were exchanged there."""
    number = real(width)

    def each(i, *values):
        u = k.line(f"load {number}, ptr {element(k, work, position(k, i, n, i), width)}")
        p = k.line(f"sext i32 {k.line(f'load i32, ptr {element(k, pivots, i, 4)}')} to i64")
        following = k.line(f"add nuw nsw i64 {i}, 1")
        return following, *step(u, k.line(f"icmp ne i64 {p}, {following}"), *values)
    start = [("i64", "0"), *((number, x) for x in start)]
    return k.cycle(start, lambda i, *_: k.line(f"icmp slt i64 {i}, {n}"), each)[1:]


def _det(k, kind, width, outs, ins):
    a, target, number = ins[0], k.pointer(outs[0]), real(width)

    def factor(u, exchanged, total):
        signed = k.line(f"select i1 {exchanged}, {number} {k.line(f'fneg {number} {u}')}, {number} {u}")
        return (k.line(f"fmul {number} {total}, {signed}"),)

    def one(i):
        work, pivots = _factorised(k, kind, a, i, width)
        total, = _over_diagonal(k, work, pivots, a.shape[-1], width, ["1.0"], factor)
        k.store(element(k, target, i, width), total, number)
    k.members(members(a), one)


def det(why):
    return lowered(_det, why, work=cubic(2 / 3))


def _slogdet(k, kind, width, outs, ins):
    a, targets, number = ins[0], [k.pointer(b) for b in outs], real(width)

    def factor(u, exchanged, sign, total):
        flipped_u = k.line(f"select i1 {exchanged}, {number} {k.line(f'fneg {number} {u}')}, {number} {u}")
        negative = k.line(f"fcmp olt {number} {flipped_u}, 0.0")
        turned = k.line(f"select i1 {negative}, {number} {k.line(f'fneg {number} {sign}')}, {number} {sign}")
        zero = k.line(f"fcmp oeq {number} {u}, 0.0")
        size = k.line(f"select i1 {k.line(f'fcmp olt {number} {u}, 0.0')}, {number} {k.line(f'fneg {number} {u}')}, {number} {u}")
        log = k.call(number, LOG[width == 4], [(number, size)])
        return k.line(f"select i1 {zero}, {number} 0.0, {number} {turned}"), k.line(f"fadd {number} {total}, {log}")

    def one(i):
        work, pivots = _factorised(k, kind, a, i, width)
        values = _over_diagonal(k, work, pivots, a.shape[-1], width, ["1.0", "0.0"], factor)
        for target, value in zip(targets, values, strict=True):
            k.store(element(k, target, i, width), value, number)
    k.members(members(a), one)


def slogdet(why):
    return lowered(_slogdet, why, work=cubic(2 / 3))


__all__ = ["banded", "cholesky", "cubic", "det", "factored", "flipped", "info_of", "lowered", "lu", "members", "real", "slogdet", "solve",
           "told", "triangular"]

"""Eigenvalues, singular values and QR as calls of LAPACK: NumPy's routines, on matrices laid out by columns, so that signs agree."""

from .lapack import cubic, flipped, info_of, lowered, members, real, told

NOT_CONVERGED = "Eigenvalues did not converge"


# ---------------------------------------------------------------- Hermitian
def _symmetric(k, kind, width, a, values, vectors, outs, lower):
    """Eigenvalues, and unless ``vectors`` is None eigenvectors, of symmetric matrices in one triangle."""
    n, info = a.shape[-1], info_of(k)
    size, letters = n * n * width, ("N" if vectors is None else "V", "L" if lower else "U")
    long, short = k.workspace(kind + "syevd", *letters, n, None, n, None, "work", -1, "iwork", -1, None)
    work, spare, numbers = k.scratch(size), k.scratch(long * width), k.scratch(4 * short)
    source, targets = k.pointer(a), [b and k.pointer(b) for b in (values, vectors)]

    def one(i):
        flipped(k, work, k.member(source, i, size), n, n, width)
        w = k.member(targets[0], i, n * width)
        k.routine("lapack", kind + "syevd", *letters, n, work, n, w, spare, long, numbers, short, info)
        if vectors is not None:
            flipped(k, k.member(targets[1], i, size), work, n, n, width)
        told(k, info, outs)
    k.members(members(a), one)


def eigh(why):
    def rule(k, kind, width, outs, ins, *, lower, driver=None):
        _symmetric(k, kind, width, ins[0], *outs, outs, lower)
    return lowered(rule, why, lambda info: NOT_CONVERGED, lambda lower, driver=None: driver is None, cubic(9))


def eigvalsh(why):
    def rule(k, kind, width, outs, ins, *, lower):
        _symmetric(k, kind, width, ins[0], outs[0], None, outs, lower)
    return lowered(rule, why, lambda info: NOT_CONVERGED, work=cubic(4 / 3))


# ---------------------------------------------------------------- singular values
def _singular(k, kind, width, a, outs, job):
    """``outs`` are (U, S, Vᴴ), or the singular values alone."""
    (m, n), info = a.shape[-2:], info_of(k)
    few = min(m, n)
    p, q = (m, n) if job == "A" else (few, few)             # columns of U, rows of Vᴴ
    long, _ = k.workspace(kind + "gesdd", job, m, n, None, m, None, None, m, None, q, "work", -1, "iwork", None)
    work, spare, numbers = k.scratch(m * n * width), k.scratch(long * width), k.scratch(32 * few)
    left, right = k.scratch(m * p * width), k.scratch(q * n * width)
    source, targets = k.pointer(a), [k.pointer(b) for b in outs]

    def one(i):
        flipped(k, work, k.member(source, i, m * n * width), m, n, width)
        s = k.member(targets[len(outs) // 2], i, few * width)
        k.routine("lapack", kind + "gesdd", job, m, n, work, m, s, left, m, right, q, spare, long, numbers, info)
        if job != "N":
            flipped(k, k.member(targets[0], i, m * p * width), left, p, m, width)
            flipped(k, k.member(targets[2], i, q * n * width), right, n, q, width)
        told(k, info, outs)
    k.members(members(a), one)


def svd(why):
    def rule(k, kind, width, outs, ins, *, full):
        _singular(k, kind, width, ins[0], outs, "A" if full else "S")

    def work(ins, outs, *, full):
        n, m = sorted(ins[0].shape[-2:])
        return members(ins[0]) * (4 * m**2 * n + 8 * m * n**2 + 9 * n**3 if full else 14 * m * n**2 + 8 * n**3)
    return lowered(rule, why, lambda info: "SVD did not converge", work=work)


def svdvals(why):
    def rule(k, kind, width, outs, ins):
        _singular(k, kind, width, ins[0], outs, "N")

    def work(ins, outs):
        n, m = sorted(ins[0].shape[-2:])
        return round(members(ins[0]) * (4 * m * n**2 - 4 * n**3 / 3))
    return lowered(rule, why, lambda info: "SVD did not converge", work=work)


# ---------------------------------------------------------------- QR
def _upper(k, target, source, rows, m, n, width):
    """Write the first rows of an upper triangular matrix, stored by columns of length m, by rows."""
    k.clear(target, rows * n * width)
    kind = real(width)

    def column(j):
        inside = k.line(f"icmp slt i64 {j}, {rows}")
        last = k.line(f"select i1 {inside}, i64 {j}, i64 {rows - 1}")

        def step(i):
            at = k.line(f"add nuw nsw i64 {k.line(f'mul nuw nsw i64 {j}, {m}')}, {i}")
            to = k.line(f"add nuw nsw i64 {k.line(f'mul nuw nsw i64 {i}, {n}')}, {j}")
            value = k.line(f"load {kind}, ptr {k.line(f'getelementptr inbounds {kind}, ptr {source}, i64 {at}')}")
            k.store(k.line(f"getelementptr inbounds {kind}, ptr {target}, i64 {to}"), value, kind)
            return (k.line(f"add nuw nsw i64 {i}, 1"),)
        k.cycle([("i64", "0")], lambda i: k.line(f"icmp sle i64 {i}, {last}"), step)
    k.members(n, column)


def _qr(k, kind, width, outs, ins, *, complete):
    a, (q, r) = ins[0], outs
    (m, n), info = a.shape[-2:], info_of(k)
    few = min(m, n)
    columns = m if complete else few
    long = max(k.workspace(kind + "geqrf", m, n, None, m, None, "work", -1, None)[0],
               k.workspace(kind + "orgqr", m, columns, few, None, m, None, "work", -1, None)[0])
    work, spare, tau = k.scratch(m * max(n, columns) * width), k.scratch(long * width), k.scratch(few * width)
    source, q_at, r_at = k.pointer(a), k.pointer(q), k.pointer(r)

    def one(i):
        flipped(k, work, k.member(source, i, m * n * width), m, n, width)
        k.routine("lapack", kind + "geqrf", m, n, work, m, tau, spare, long, info)
        _upper(k, k.member(r_at, i, columns * n * width), work, columns, m, n, width)
        k.routine("lapack", kind + "orgqr", m, columns, few, work, m, tau, spare, long, info)
        flipped(k, k.member(q_at, i, m * columns * width), work, columns, m, width)
    k.members(members(a), one)


def qr(why):
    def work(ins, outs, *, complete):
        (m, n), few = ins[0].shape[-2:], min(ins[0].shape[-2:])
        triangle = 4 * m * n * few - 2 * (m + n) * few**2 + 4 * few**3 / 3
        factor = 4 * (m**2 * few - m * few**2 + few**3 / 3) if complete else 2 * m * few**2 - 2 * few**3 / 3
        return round(members(ins[0]) * (triangle + factor))
    return lowered(_qr, why, work=work)


__all__ = ["eigh", "eigvalsh", "qr", "svd", "svdvals"]

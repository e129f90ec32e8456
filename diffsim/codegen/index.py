"""Index arithmetic: sums of counters with known ranges, so that most divisions and comparisons are decided before the code runs."""

import math


class Split(Exception):  # noqa: N818  (a request to the loop around it, not an error)
    """A comparison changes its answer inside a loop: the loop is to be cut there."""

    def __init__(self, atom, at):
        super().__init__()
        self.atom, self.at = atom, at


class Index:
    """``const + sum(coefficient * atom)`` with its range [lo, hi]."""

    __slots__ = ("const", "hi", "key", "lo", "terms")

    def __init__(self, terms, const):
        self.terms, self.const, self.key = terms, const, (terms, const)
        self.lo = const + sum(c * (a.lo if c > 0 else a.hi) for a, c in terms)
        self.hi = const + sum(c * (a.hi if c > 0 else a.lo) for a, c in terms)

    def __eq__(self, other):
        return type(other) is Index and self.key == other.key

    def __hash__(self):
        return hash(self.key)


def of(atom):
    """The index that is one atom; its value if its range is a point."""
    return atom.lo if atom.lo == atom.hi else Index(((atom, 1),), 0)


def _made(coefficients, const):
    """Terms sorted outermost loop first, so that sums of outer counters are formed outside."""
    terms = tuple(sorted(((a, c) for a, c in coefficients.items() if c), key=lambda t: (t[0].block.depth, t[0].number)))
    return Index(terms, const) if terms else const


def add(a, b):
    """a + b."""
    if type(a) is int:
        a, b = b, a
    if type(b) is int:
        return a + b if type(a) is int else a if b == 0 else Index(a.terms, a.const + b)
    total = dict(a.terms)
    for atom, c in b.terms:
        total[atom] = total.get(atom, 0) + c
    return _made(total, a.const + b.const)


def scale(a, n):
    """n a for an int n."""
    if type(a) is int:
        return a * n
    return a if n == 1 else 0 if n == 0 else Index(tuple((atom, c * n) for atom, c in a.terms), a.const * n)


def split_multiple(a, n):
    """``(q, r)`` with a = n q + r and as many terms as possible in q; r is exact when its range lies in [0, n)."""
    if type(a) is int:
        return a // n, a % n
    whole = {atom: c // n for atom, c in a.terms if c % n == 0}
    rest = {atom: c for atom, c in a.terms if c % n}
    return _made(whole, a.const // n), _made(rest, a.const % n)


def bounds(a):
    """Range of an index."""
    return (a, a) if type(a) is int else (a.lo, a.hi)


def decide(op, a, b):
    """Truth of ``a op b`` if the ranges tell, else None."""
    d = add(a, scale(b, -1))
    lo, hi = bounds(d)
    if op == "<":
        return True if hi < 0 else False if lo >= 0 else None
    if op == "<=":
        return True if hi <= 0 else False if lo > 0 else None
    if op == "==":
        return True if lo == hi == 0 else False if lo > 0 or hi < 0 or _never_zero(d) else None
    answer = decide({">=": "<", ">": "<=", "!=": "=="}[op], a, b)
    return None if answer is None else not answer


def _never_zero(d):
    """Whether divisibility forbids zero."""
    return d.const % math.gcd(*(c for _, c in d.terms)) != 0


def cut(op, a, b):
    """``(atom, at)`` such that ``a op b`` is constant on either side of ``at`` (or one step further on), if a single counter decides it."""
    d = add(a, scale(b, -1))
    if len(d.terms) != 1 or not d.terms[0][0].splits:
        return None
    (atom, c), k = d.terms[0], d.const
    if op in ("==", "!="):
        root = -k // c
        return atom, (root if root > atom.lo else root + 1)
    if op in ("<=", ">"):
        k -= 1  # over the integers: d <= 0 is d - 1 < 0
    return atom, (-(k // c) if c > 0 else k // -c + 1)

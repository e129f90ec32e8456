"""Sets held by rows are the sets held as lists, whatever maps and unions they go through."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsim.transforms.dependence import Lists
from diffsim.transforms.rowwise import Rowwise

STEPS = st.lists(st.tuples(st.sampled_from(["within", "across", "join", "take", "rows", "sum", "full"]), st.integers(0, 10**6)), max_size=9)


def same(a, b):
    for got, want in zip(a.entries(), b.entries(), strict=True):
        np.testing.assert_array_equal(got, want)
    assert len(a) == len(b)


def within_rows(rng, n, width):
    """A map that does the same with every row, its size, and whether its rows ascend."""
    new, m = int(rng.integers(1, 5)), int(rng.integers(0, 6))
    to, of, at = rng.integers(0, new, m), rng.integers(0, width, m), np.arange(n)[:, None]
    return (to + at * new).ravel(), (of + at * width).ravel(), n * new


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(1, 7), st.integers(1, 4))
def test_rows_and_lists_hold_the_same(steps, n, width):
    numbers = np.arange(n * width) - 2
    pairs = [(Rowwise.identity(numbers, n * width).in_rows(n), Lists.identity(numbers, n * width))]
    for word, seed in steps:
        rng = np.random.default_rng(seed)
        a, b = pairs[rng.integers(len(pairs))]
        size = len(b)
        if word in ("within", "sum"):
            wide = size // n
            rows, columns, new = within_rows(rng, n, wide) if word == "within" else (np.arange(size) // wide, np.arange(size), n)
            a, b = a.mapped(rows, columns, new), b.mapped(rows, columns, new)
        elif word == "across":
            rows, columns = rng.integers(0, 2 * n, 5), rng.integers(0, size, 5)
            a, b = a.mapped(rows, columns, 2 * n), b.mapped(rows, columns, 2 * n)
        elif word == "take":
            at = rng.integers(0, size, 3 * n)
            a, b = a.take(at), b.take(at)
        elif word == "rows":
            a = a.in_rows(int(rng.integers(1, 2 * n + 1)))
        elif word == "full":
            a, b = a.full([a], 2 * n), b.full([b], 2 * n)
        else:
            others = [p for p in pairs if len(p[1]) == size and p[0] is not a] + [(a.nothing(size), b.nothing(size))]
            a, b = a.joined([a, *[p[0] for p in others]]), b.joined([b, *[p[1] for p in others]])
        same(a, b)
        pairs.append((a, b))


@pytest.mark.parametrize("width", [3, 40])
def test_what_does_the_same_with_every_row_joins_no_lists(width, monkeypatch, rng):
    n = 50
    x = Rowwise.of(Lists.identity(rng.permutation(n * width), n * width), n if width == 3 else None)
    monkeypatch.setattr(Lists, "joined", None)
    rows, columns = np.arange(n * width) // width, np.arange(n * width)
    total = x.mapped(rows, columns, n)
    back = total.mapped(columns, rows, n * width)
    if width == 3:                                           # else the table would be wide, and the sums are unions of lists
        assert (total.n, total.table.shape) == (n, (1, width))
        assert x.joined([x, back]).table.all()
    assert [len(total.whole), len(total.entries()[0])] == [n, n * width]

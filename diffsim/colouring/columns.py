"""Columns that share no row get one colour: one directional derivative then shows all of them (Curtis, Powell & Reid 1974).

Columns are coloured greedily in several orders; the fewest colours win.  No column colouring has fewer colours than the longest row has
entries, so an order that attains this ends the search.  Colours in use are the bits of one integer a row: a pass costs two operations an
entry, whatever the degrees.  Rows are coloured as the columns of the transpose.

Mixed colourings (Hossain & Steihaug 1998; Coleman & Verma, SIAM J. Sci. Comput. 19 (1998) 1210-1233) take the longest rows out and pull
them back, and push the columns of what is left; or the longest columns the other way round.
"""

import numpy as np

from .orders import by_classes, incidence_degree, largest_first, lists, smallest_last

#: Orders that need the graph of columns are tried where it has at most so many edges.
MOST_EDGES = 2_000_000
#: Rounds of recolouring by classes, how many without gain end them, and how many entries they may visit in all.
ROUNDS, IDLE, VISITS = 30, 6, 20_000_000
#: Entries that a turn over arrays must treat, on average, to be faster than one by one; a word with all colours in use.
TURN, ALL = 300, np.uint64(2**64 - 1)
#: Bits that hold a row or a column.
SHIFT = 32


def greedy(columns, n_rows, order, begun=None):
    """Distance-1 colouring of the graph of columns, each taking the least colour free in all of its rows.

    Parameters
    ----------
    columns : list of list of int
        The rows of each column.
    n_rows : int
    order : sequence of int
    begun : (list of int, list of int), optional
        Colours in use in each row, as bits, and colours of columns, of those coloured already.

    Returns
    -------
    list of int
        -1 for a column without entries.
    """
    used, colours = begun or ([0] * n_rows, [-1] * len(columns))
    for j in order:
        column = columns[j]
        if not column:
            continue
        taken = 0
        for i in column:
            taken |= used[i]
        bit = ~taken & (taken + 1)
        for i in column:
            used[i] |= bit
        colours[j] = bit.bit_length() - 1
    return colours


def first_greedy(rows, columns):
    """The greedy colouring in natural order, by arrays: all columns at a time that are the first uncoloured ones of all their rows.

    Such columns share no row, and those before them are coloured: colours are those of :func:`greedy`.  Where few columns are ready at a
    time, or words have too few bits, it goes on column by column.

    Parameters
    ----------
    rows, columns : (pointers, indices)
        As in :func:`colour_columns`.

    Returns
    -------
    list of int
    """
    (row_ptr, column_of), (column_ptr, row_of) = rows, columns
    degree, head, n_rows = np.diff(column_ptr), row_ptr[:-1].copy(), len(row_ptr) - 1
    colours, used = np.full(len(degree), -1), np.zeros(n_rows, np.uint64)
    waiting = degree - np.bincount(column_of[head[head < row_ptr[1:]]], minlength=len(degree))
    ready, done, turns = np.flatnonzero((degree > 0) & (waiting == 0)), 0, 0
    while len(ready):
        lengths = degree[ready]
        starts = np.cumsum(lengths) - lengths
        touched = row_of[np.arange(lengths.sum()) + np.repeat(column_ptr[ready] - starts, lengths)]
        taken = np.bitwise_or.reduceat(used[touched], starts)
        done, turns = done + len(touched), turns + 1
        if done < TURN * turns or np.any(taken == ALL):
            left = [j for j in np.flatnonzero(colours < 0).tolist() if degree[j]]
            return greedy(lists(*columns), n_rows, left, (used.tolist(), colours.tolist()))
        bits = ~taken & (taken + np.uint64(1))
        colours[ready] = np.frexp(bits.astype(float))[1] - 1
        used[touched] |= np.repeat(bits, lengths)
        head[touched] += 1
        going = touched[head[touched] < row_ptr[touched + 1]]
        following = np.sort(column_of[head[going]])
        first = np.flatnonzero(np.concatenate([[True], following[1:] != following[:-1]])[:len(following)])
        following, times = following[first], np.diff(first, append=len(following))
        waiting[following] -= times
        ready = following[waiting[following] == 0]
    return colours.tolist()


def _last(colours):
    """The highest colour; -1 where there is none."""
    return max(colours, default=-1)


def column_graph(rows, n_columns):
    """Neighbours of each column: those it shares a row with."""
    near = [set() for _ in range(n_columns)]
    for row in rows:
        for j in row:
            near[j].update(row)
    for j, others in enumerate(near):
        others.discard(j)
    return [sorted(others) for others in near]


def colour_columns(rows, columns, thorough=True):
    """Colouring of columns with few colours.

    Parameters
    ----------
    rows, columns : (pointers, indices)
        The pattern compressed by rows and by columns.
    thorough : bool
        Whether to try orders that need the graph of columns, and recolouring.

    Returns
    -------
    ndarray of int
        Colour of each column; -1 where it is empty.
    """
    lengths = np.diff(rows[0])
    n_rows = len(lengths)
    least = int(lengths.max(initial=0))
    best = first_greedy(rows, columns)
    if _last(best) + 1 <= least:
        return np.array(best, int)                           # no colouring has fewer
    as_lists = lists(*columns)
    for order in _orders(rows, columns, lengths, thorough):
        colours = greedy(as_lists, n_rows, order)
        if _last(colours) < _last(best):
            best = colours
        if _last(best) + 1 <= least:
            return np.array(best, int)
    idle = 0
    for turn in range(min(ROUNDS, VISITS // max(len(columns[1]), 1)) if thorough else 0):
        order = by_classes(best) if turn % 2 == 0 else _shuffled_classes(best, turn)
        colours = greedy(as_lists, n_rows, order)
        idle = 0 if _last(colours) < _last(best) else idle + 1
        best = colours
        if _last(best) + 1 <= least or idle == IDLE:
            break
    return np.array(best, int)


def _shuffled_classes(colours, seed):
    """Vertices class by class, classes in random order."""
    colours = np.asarray(colours)
    rank = np.random.default_rng(seed).permutation(colours.max() + 2)
    return np.argsort(rank[colours + 1], kind="stable").tolist()


def _orders(rows, columns, lengths, thorough):
    """Orders beside the natural one, the cheap ones first."""
    column_ptr, row_of = columns
    n = len(column_ptr) - 1
    shared = np.zeros(n)
    np.add.at(shared, np.repeat(np.arange(n), np.diff(column_ptr)), lengths[row_of] - 1)
    yield largest_first(shared)
    if thorough and np.sum(lengths.astype(float) ** 2) <= MOST_EDGES:
        graph = column_graph(lists(*rows), n)
        yield smallest_last(graph)
        yield incidence_degree(graph)
        yield largest_first([len(near) for near in graph])


def split_rows(rows, shape, ratio, n_forward):
    """Colouring by pushes of columns after some of the longest rows are left to pulls.

    Parameters
    ----------
    rows : (pointers, indices)
        The pattern compressed by rows.
    shape : tuple of int
    ratio : float
        Cost of a pull in pushes.
    n_forward : int
        Colours of the columns when no row is left out.

    Returns
    -------
    (row_colours, column_colours) or None
        Cheapest found, -1 where a row is not pulled or a column not pushed; None where leaving rows out does not pay.
    """
    pointers, indices = rows
    lengths = np.diff(pointers)
    order = np.argsort(-lengths, kind="stable")
    best, cost = None, n_forward
    row_of = np.repeat(np.arange(shape[0]), lengths)
    for k in _cuts(lengths[order]):                          # few rows are long: those taken out hold at most half of the entries
        if 2 * lengths[order[:k]].sum() > len(indices):
            break
        if lengths[order[k]] >= cost:
            continue                                         # too many colours, whatever the colouring
        apart = np.zeros(shape[0], bool)
        apart[order[:k]] = True
        left, pulled = ~apart[row_of], apart[row_of]
        if ratio * np.bincount(indices[pulled]).max() >= cost:
            continue
        row_colours = colour_columns(*_both(indices[pulled], row_of[pulled], shape[::-1]), thorough=False)
        n_pulls = int(row_colours.max(initial=-1)) + 1
        if ratio * n_pulls >= cost:
            continue
        column_colours = colour_columns(*_both(row_of[left], indices[left], shape), thorough=False)
        total = ratio * n_pulls + int(column_colours.max(initial=-1)) + 1
        if total < cost:
            best, cost = (row_colours, column_colours), total
    return best


def _cuts(lengths):
    """How many of the longest rows to take out: where the length falls, at most some twenty places."""
    falls = np.flatnonzero(np.diff(lengths) < 0) + 1
    if len(falls) > 20:
        return sorted({*falls[:8].tolist(), *falls[np.geomspace(8, len(falls) - 1, 12).astype(int)].tolist()})
    return falls.tolist()


def compressed(major, minor, n):
    """Pointers and indices of entries sorted by ``major``, then by ``minor``; one sort of numbers that hold both."""
    keys = np.sort(major << SHIFT | minor)
    return np.concatenate([[0], np.cumsum(np.bincount(major, minlength=n))]), keys & ((1 << SHIFT) - 1)


def _both(row_of, column_of, shape):
    """A pattern compressed by rows and by columns."""
    return compressed(row_of, column_of, shape[0]), compressed(column_of, row_of, shape[1])


__all__ = ["colour_columns", "compressed", "greedy", "split_rows"]

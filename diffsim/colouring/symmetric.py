"""Colourings of symmetric matrices: each entry stands in two columns, so fewer products than columns of a row can be enough.

A colouring is a *star colouring* when no two neighbours share a colour and no path of four vertices has only two colours: an entry can
then be read off one product (Coleman & Moré 1984).  It is *acyclic* when no cycle has only two colours: the vertices of two colours form
trees, and entries follow by substitution from the leaves (Coleman & Cai 1986).  Sources: Gebremedhin, Manne & Pothen, SIAM Review 47 (2005)
629-705; Gebremedhin, Tarafdar, Manne & Pothen, SIAM J. Sci. Comput. 29 (2007) 1042-1072.
"""

import numpy as np

from .orders import incidence_degree, largest_first, smallest_last

#: Orders that need priority queues are tried where the graph has at most so many edges.
MOST_EDGES = 2_000_000


def star(graph, order):
    """Greedy star colouring.

    A vertex ``v`` must not take the colour of a neighbour ``w``; nor that of a neighbour ``x`` of ``w`` where ``w`` has company of its
    colour around ``x`` (path v-w-x-y) or around ``v`` (path w'-v-w-x).  Both sets are kept as the bits of one integer a vertex, so
    colouring takes a few operations an edge even where one vertex touches all others.

    Parameters
    ----------
    graph : list of list of int
    order : sequence of int

    Returns
    -------
    list of int
    """
    n = len(graph)
    colours, seen, barred = [-1] * n, [0] * n, [0] * n
    by_colour = [{} for _ in range(n)]                       # of each vertex: colour -> its neighbour of that colour, None if several
    for v in order:
        near = by_colour[v]
        taken = 0
        for w in graph[v]:
            c = colours[w]
            if c >= 0:
                taken |= 1 << c | barred[w]
                if near[c] is None:
                    taken |= seen[w]
        bit = ~taken & (taken + 1)
        colour = colours[v] = bit.bit_length() - 1
        for w in graph[v]:
            seen[w] |= bit
            if colours[w] >= 0 and near[colours[w]] is None:  # v is the middle of a star of that colour
                barred[w] |= bit
            around = by_colour[w]
            if colour not in around:
                around[colour] = v
            elif colours[w] >= 0:
                first, around[colour] = around[colour], None
                barred[v] |= 1 << colours[w]
                if first is not None:
                    barred[first] |= 1 << colours[w]
            else:
                around[colour] = None
    return colours


def acyclic(graph, order):
    """Greedy acyclic colouring: a vertex joins trees of two colours, never two places of one tree.

    Returns
    -------
    list of int
    """
    colours, parent = [-1] * len(graph), {}                  # the forest of colours a, b: keys (vertex of a, b) and (vertex of b, a)

    def root(key):
        top = key
        while parent.setdefault(top, top) != top:
            top = parent[top]
        while parent[key] != top:
            parent[key], key = top, parent[key]
        return top

    for v in order:
        groups = {}
        for w in graph[v]:
            if colours[w] >= 0:
                groups.setdefault(colours[w], []).append(w)
        several = [g for g in groups.values() if len(g) > 1]
        colour = 0
        while colour in groups or any(_closes(g, colour, parent, root) for g in several):
            colour += 1
        colours[v] = colour
        for c, group in groups.items():
            for w in group:
                parent[root((w, colour))] = root((v, c))
    return colours


def _closes(group, colour, parent, root):
    """Whether two of the vertices stand in one tree of their colour and another."""
    tops = [root((w, colour)) for w in group if (w, colour) in parent]
    return len(set(tops)) < len(tops)


def colour_symmetric(graph, kind):
    """Colouring of a symmetric matrix with few colours, the best of several orders.

    Parameters
    ----------
    graph : list of list of int
        Neighbours of each vertex: the off-diagonal entries of each row.
    kind : {"star", "acyclic"}

    Returns
    -------
    ndarray of int
    """
    paint, best = star if kind == "star" else acyclic, None
    for order in _orders(graph):
        colours = paint(graph, order)
        if best is None or max(colours, default=-1) < max(best):
            best = colours
        if max(best, default=-1) <= 1:                                   # an edge takes two
            break
    return np.array(best, int)


def _orders(graph):
    degrees = [len(near) for near in graph]
    yield largest_first(degrees)
    yield range(len(graph))
    if sum(degrees) <= MOST_EDGES:
        yield smallest_last(graph)
        yield incidence_degree(graph)


def star_columns(rows, columns, colours):
    """Where each entry is read: in the product of the colour of one of its two columns.

    Returns
    -------
    seed, row : ndarray of int
        Entry ``k`` is element ``row[k]`` of the product with the columns of colour ``seed[k]``.
    """
    n, n_colours = len(colours), int(colours.max(initial=-1)) + 1
    counts = np.bincount(rows * n_colours + colours[columns], minlength=n * n_colours)
    low, high = np.minimum(rows, columns), np.maximum(rows, columns)            # an entry and its mirror image are read at one place
    alone = counts[high * n_colours + colours[low]] == 1                        # nothing else of that colour in the row
    return np.where(alone, colours[low], colours[high]), np.where(alone, high, low)


class Substitution:
    """How the entries of a symmetric matrix follow from its products with the colours of an acyclic colouring.

    The vertices of two colours form trees.  A vertex ``i`` with parent ``p`` has ``h[i, p] = B[i, colour of p] - sum of h[i, k]`` over its
    children ``k``: entries follow level by level, leaves first.

    Attributes
    ----------
    seed, row : ndarray of int
        Where the product of each unknown stands.
    unknown : ndarray of int
        Number of the unknown of each entry of the pattern.
    rounds : list of (known, into)
        In each round the unknowns ``known`` are taken from the unknowns ``into``.
    """

    def __init__(self, rows, columns, colours):
        n, lower, diagonal = len(colours), np.flatnonzero(rows > columns), np.flatnonzero(rows == columns)
        child, parent, level, above = _trees(rows[lower].tolist(), columns[lower].tolist(), colours.tolist())
        self.seed = np.concatenate([colours[parent], colours[rows[diagonal]]])
        self.row = np.concatenate([child, rows[diagonal]])
        keys = np.concatenate([rows[lower] * n + columns[lower], rows[diagonal] * (n + 1)])
        order = np.argsort(keys)
        wanted = np.maximum(rows, columns) * n + np.minimum(rows, columns)
        self.unknown = order[np.searchsorted(keys, wanted, sorter=order)] if len(keys) else np.zeros(0, int)
        inner = np.flatnonzero(above >= 0)
        inner = inner[np.argsort(level[above[inner]], kind="stable")]
        cuts = np.flatnonzero(np.diff(level[above[inner]])) + 1
        self.rounds = [(known, above[known]) for known in np.split(inner, cuts) if len(known)]


def _trees(rows, columns, colours):
    """Edges as (child, parent) in the trees of two colours, the level of each (leaves 0) and the edge from its parent up (-1 at a top)."""
    forests = {}
    for e, (i, j) in enumerate(zip(rows, columns, strict=True)):
        a, b = colours[i], colours[j]
        near = forests.setdefault((a, b) if a < b else (b, a), {})
        near.setdefault(i, []).append((j, e))
        near.setdefault(j, []).append((i, e))
    child, parent, level, above = [0] * len(rows), [0] * len(rows), [0] * len(rows), [-1] * len(rows)
    for near in forests.values():
        for top in _centres(near):
            order, stack = [], [(top, -1)]
            for v, up in stack:
                for w, e in near[v]:
                    if e != up:
                        child[e], parent[e], above[e] = w, v, up
                        order.append(e)
                        stack.append((w, e))
            for e in reversed(order):
                if above[e] >= 0:
                    level[above[e]] = max(level[above[e]], level[e] + 1)
    return tuple(np.array(x, int) for x in (child, parent, level, above))


def _centres(near):
    """The middle of each tree: what is left when leaves are taken off layer by layer."""
    degree = {v: len(edges) for v, edges in near.items()}
    layer, centres = [v for v, d in degree.items() if d == 1], []
    while layer:
        following = []
        for v in layer:
            if degree[v] == 0:
                centres.append(v)
                continue
            degree[v] = -1
            for w, _ in near[v]:
                if degree[w] > 0:
                    degree[w] -= 1
                    if degree[w] == 1:
                        following.append(w)
        layer = following
    return centres


__all__ = ["Substitution", "acyclic", "colour_symmetric", "star", "star_columns"]

"""Layered layout of a directed acyclic graph: layers, order within them, coordinates.

The steps of Sugiyama, Tagawa and Toda (IEEE Trans. Syst. Man Cybern. 11, 1981, 109-125): longest-path layers, crossings reduced by
barycentres and exchanges of neighbours, then coordinates.  Long edges go through one bend a layer, shared by all edges that leave a node:
they part where their targets are.  The coordinates minimise the weighted sum of the horizontal offsets of all edges, with weights that
make long edges straight, as Gansner, Koutsofios, North and Vo do (IEEE Trans. Softw. Eng. 19, 1993, 214-230, section 4).
"""

from bisect import bisect_right, insort
from itertools import pairwise

#: Sweeps over all layers for the order.
ORDER_SWEEPS = 16
#: Weight of an edge's offset by the number of bends among its ends.
PULL = (1.0, 2.0, 8.0)


class Layout:
    """Places of the nodes of a directed acyclic graph.

    Parameters
    ----------
    widths : list of float
        One a node.
    edges : list of (int, int)
        From node to node; no cycle.
    low : set of int
        Nodes to place as far down as their successors allow (inputs, constants).
    groups : list
        For each node a hashable group or None; in a layer, members of a group stand side by side.
    gap, bend : float
        Distance between neighbours, and the width of a bend.

    Attributes
    ----------
    x : list of float
        Centres of the nodes, then of the bends.
    layer : list of int
        Of the nodes, then of the bends; 0 is the top.
    routes : dict of (int, int) to list of int
        Nodes and bends each edge goes through, its ends included.
    """

    def __init__(self, widths, edges, low=frozenset(), groups=None, gap=0.25, bend=0.08):
        self.n = len(widths)
        self.edges = list(dict.fromkeys(edges))
        self.gap, self.bend = gap, bend
        self.width = list(widths)
        self.group = list(groups) if groups is not None else [None] * self.n
        self.layer = _layers(self.n, self.edges, low)
        self._route()
        self.order = self._initial()
        self._reduce_crossings()
        self.x = self._place()

    # ------------------------------------------------------------ bends
    def _route(self):
        self.routes, self.links, trunk = {}, {}, {}
        for u, v in sorted(self.edges, key=lambda e: (e[0], self.layer[e[1]])):
            path = [u]
            for at in range(self.layer[u] + 1, self.layer[v]):
                if (u, at) not in trunk:
                    trunk[u, at] = len(self.layer)
                    self.layer.append(at)
                    self.width.append(self.bend)
                    self.group.append(self.group[u] if self.group[u] is not None and self.group[u] == self.group[v] else None)
                path.append(trunk[u, at])
            path.append(v)
            self.routes[u, v] = path
            self.links.update(dict.fromkeys(pairwise(path)))
        size = len(self.layer)
        self.above, self.below = [[] for _ in range(size)], [[] for _ in range(size)]
        for a, b in self.links:
            self.below[a].append(b)
            self.above[b].append(a)

    def _initial(self):
        """Nodes of each layer in depth-first order from the top."""
        rows = [[] for _ in range(max(self.layer, default=0) + 1)]
        seen = set()
        for start in sorted(range(len(self.layer)), key=self.layer.__getitem__):
            todo = [start]
            while todo:
                v = todo.pop()
                if v not in seen:
                    seen.add(v)
                    rows[self.layer[v]].append(v)
                    todo += reversed(self.below[v])
        return rows

    # ------------------------------------------------------------ order
    def _reduce_crossings(self):
        self.position = [0] * len(self.layer)
        self._number(*self.order)
        best, fewest = [list(r) for r in self.order], self.crossings()
        for sweep in range(ORDER_SWEEPS):
            down = sweep % 2 == 0
            for row in self.order if down else reversed(self.order):
                self._by_barycentre(row, self.above if down else self.below)
            for row in self.order:
                self._exchange(row)
            now = self.crossings()
            if now < fewest:
                best, fewest = [list(r) for r in self.order], now
            if not fewest:
                break
        self.order = best
        self._number(*best)

    def _number(self, *rows):
        for row in rows:
            for i, v in enumerate(row):
                self.position[v] = i

    def _by_barycentre(self, row, neighbours):
        position = self.position
        centre = {v: _mean([position[u] for u in neighbours[v]], position[v]) for v in row}
        together = {}
        for v in row:
            together.setdefault(self._club(v), []).append(centre[v])
        of_club = {club: sum(c) / len(c) for club, c in together.items()}
        row.sort(key=lambda v: (of_club[self._club(v)], str(self._club(v)), centre[v]))
        self._number(row)

    def _club(self, v):
        """What stays together in a layer: a group, or the node alone."""
        return ("node", v) if self.group[v] is None else ("group", self.group[v])

    def _exchange(self, row):
        """Swap neighbours while that saves crossings."""
        position = self.position
        for _ in range(4):
            changed = False
            for i in range(len(row) - 1):
                a, b = row[i], row[i + 1]
                if self.group[a] != self.group[b]:
                    continue
                before = after = 0
                for side in (self.above, self.below):
                    p, q = sorted(position[u] for u in side[a]), sorted(position[u] for u in side[b])
                    before, after = before + _inversions(p, q), after + _inversions(q, p)
                if after < before:
                    row[i], row[i + 1], changed = b, a, True
            self._number(row)
            if not changed:
                return

    def crossings(self):
        """Pairs of edges that cross."""
        position, total = self.position, 0
        for row in self.order:
            seen = []
            for v in row:
                ends = sorted(position[u] for u in self.below[v])
                total += sum(len(seen) - bisect_right(seen, e) for e in ends)
                for e in ends:
                    insort(seen, e)
        return total

    # ------------------------------------------------------------ coordinates
    def _place(self):
        """Coordinates by linear programming: the positions, then one length an edge, no shorter than the offset of its ends."""
        from scipy.optimize import linprog  # noqa: PLC0415  0.2 s, paid only by those who draw
        from scipy.sparse import coo_array  # noqa: PLC0415

        size, links = len(self.layer), list(self.links)
        rows, columns, values, bounds = [], [], [], []

        def constrain(terms, bound):
            for column, value in terms:
                rows.append(len(bounds))
                columns.append(column)
                values.append(value)
            bounds.append(bound)

        for k, (a, b) in enumerate(links):
            for sign in (1.0, -1.0):
                constrain([(a, sign), (b, -sign), (size + k, -1.0)], 0.0)
        for row in self.order:
            for a, b in pairwise(row):
                constrain([(a, 1.0), (b, -1.0)], -((self.width[a] + self.width[b]) / 2 + self._gap(a, b)))
        pull = [0.0] * size + [PULL[(a >= self.n) + (b >= self.n)] for a, b in links]
        table = coo_array((values, (rows, columns)), shape=(len(bounds), len(pull))).tocsr() if bounds else None
        at = linprog(pull, table, bounds or None, bounds=[(w / 2, None) for w in self.width] + [(0, None)] * len(links)).x
        left = min((at[v] - self.width[v] / 2 for v in range(size)), default=0.0)
        return [float(x - left) for x in at[:size]]

    def _gap(self, a, b):
        """Neighbours of different groups keep a greater distance, bends a smaller one."""
        if a >= self.n and b >= self.n:
            return self.gap * 0.4
        apart = self.group[a] != self.group[b]
        return self.gap * (1.35 if apart else 1.0) * (0.8 if a >= self.n or b >= self.n else 1.0)


def _layers(n, edges, low):
    """Longest-path layers; a node moves down where that shortens edges, ``low`` ones as far as they can."""
    after, before = [[] for _ in range(n)], [[] for _ in range(n)]
    for u, v in edges:
        after[u].append(v)
        before[v].append(u)
    order, missing = [], [len(b) for b in before]
    todo = [v for v in range(n) if not missing[v]]
    while todo:
        v = todo.pop()
        order.append(v)
        for w in after[v]:
            missing[w] -= 1
            if not missing[w]:
                todo.append(w)
    layer = [0] * n
    for v in order:
        layer[v] = max((layer[u] + 1 for u in before[v]), default=0)
    for _ in range(4):
        for v in reversed(order):
            if after[v] and (v in low or len(after[v]) > len(before[v])):
                layer[v] = max(layer[v], min(layer[w] for w in after[v]) - 1)
    top = min(layer, default=0)
    return [at - top for at in layer]


def _mean(values, default):
    return sum(values) / len(values) if values else default


def _inversions(p, q):
    """Pairs with an element of p after one of q, both sorted."""
    count = j = 0
    for e in p:
        while j < len(q) and q[j] < e:
            j += 1
        count += j
    return count


__all__ = ["Layout"]

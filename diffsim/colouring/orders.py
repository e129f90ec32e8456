"""Orders in which a greedy colouring takes the vertices of a graph.

Sources: Gebremedhin, Manne & Pothen, What Color Is Your Jacobian?, SIAM Review 47 (2005) 629-705, sec. 7 (orderings); Matula & Beck,
J. ACM 30 (1983) 417-427 (smallest last in linear time); Coleman & Moré, SIAM J. Numer. Anal. 20 (1983) 187-209 (incidence degree).
A graph is a list of lists: the neighbours of each vertex.
"""

import heapq
import itertools

import numpy as np


def lists(pointers, indices):
    """Rows of a compressed matrix as a list of lists."""
    indices = indices.tolist()
    return [indices[a:b] for a, b in itertools.pairwise(pointers.tolist())]


def largest_first(degrees):
    """Vertices by falling degree, in their own order where equal."""
    return np.argsort(-np.asarray(degrees), kind="stable").tolist()


def smallest_last(graph):
    """The vertex of least degree among those left is put last, again and again."""
    degree = [len(near) for near in graph]
    heap = [(d, v) for v, d in enumerate(degree)]
    heapq.heapify(heap)
    gone, order = bytearray(len(graph)), []
    while heap:
        d, v = heapq.heappop(heap)
        if gone[v] or d != degree[v]:
            continue
        gone[v] = 1
        order.append(v)
        for w in graph[v]:
            if not gone[w]:
                degree[w] -= 1
                heapq.heappush(heap, (degree[w], w))
    return order[::-1]


def incidence_degree(graph):
    """Next comes the vertex with most neighbours already taken; of several the one of largest degree."""
    taken = [0] * len(graph)
    heap = [(0, -len(near), v) for v, near in enumerate(graph)]
    heapq.heapify(heap)
    done, order = bytearray(len(graph)), []
    while heap:
        t, _, v = heapq.heappop(heap)
        if done[v] or -t != taken[v]:
            continue
        done[v] = 1
        order.append(v)
        for w in graph[v]:
            if not done[w]:
                taken[w] += 1
                heapq.heappush(heap, (-taken[w], -len(graph[w]), w))
    return order


def by_classes(colours):
    """Vertices class by class, the last colour first.

    A greedy colouring in such an order needs no more colours than the one it comes from (Culberson, Iterated greedy graph coloring and the
    difficulty landscape, University of Alberta TR 92-07, 1992, lemma 1).
    """
    return np.argsort(-np.asarray(colours), kind="stable").tolist()


__all__ = ["by_classes", "incidence_degree", "largest_first", "lists", "smallest_last"]

"""Products of matrices and vectors are associated so that they cost least.

``A @ B @ x`` written from the left is a product of matrices and one with a vector; ``A @ (B @ x)`` is two with a vector.  Reverse mode
writes the like by itself: the cotangent of ``A`` is an outer product times ``B.T``.  The best association is found by dynamic programming
over all (Cormen et al., Introduction to Algorithms, section 15.2, "Matrix-chain multiplication").
"""

from collections import Counter
from typing import NamedTuple

from ..core import REGISTRY, Eqn, Opaque, Var
from .dce import dce
from .rewrite import Rewriting

#: Another association rounds otherwise; it has to save this factor of the multiplications.
GAIN = 2
#: Operands of a chain that are looked at together: the search takes the cube of their number.
LONGEST = 16
MATRIX = 2


class Link(NamedTuple):
    """A matrix or vector in a chain: which of its axes stand to its left and right, None for a vector's side of length one."""

    x: object
    left: object
    right: object

    @property
    def turned(self):
        """Its transpose."""
        return Link(self.x, self.right, self.left)


def chains(graph):
    """Associate each product of three or more matrices and vectors anew where that saves half of the multiplications.

    A product that several others read is part of each of them, if none is then left to read it.  The values are those of exact arithmetic,
    rounded otherwise: this is a pass for programs about to be compiled, no part of ``PASSES``.
    """
    inside = _inner_products(graph)
    while inside:
        plans, used = _plans(graph, inside)
        if not plans:
            return graph
        better = _rewritten(graph, plans)
        made = {v for eqn in better.eqns for v in eqn.outputs}
        kept = [v for v in used if v in made and inside[v][0].params["contract"][0]]
        if not kept:
            return better
        for v in kept:                                                  # somebody needs it as it is: then nobody is to compute it anew
            del inside[v]
    return graph


def _plans(graph, inside):
    """New associations of the graph's products: root to chain and splits; and the products that others contain."""
    plans, used, seen = {}, set(), set()
    for eqn in reversed(graph.eqns):
        if eqn in seen or not _is_product(eqn):
            continue
        chain, parts = _chain(eqn, inside)
        now = sum(share * _multiplications(part) for part, share in parts.items())
        cost, splits = _best([_size(chain[0], chain[0].left), *(_size(link, link.right) for link in chain)])
        if now > cost and now >= GAIN * cost:
            plans[eqn] = chain, splits
            used.update(part.outputs[0] for part in parts if part is not eqn)
        seen.update(part for part, share in parts.items() if share == 1 or eqn in plans)        # others are looked at by themselves too
    return plans, used


def _rewritten(graph, plans):
    """The graph with its products associated as planned, and without those that nobody reads any more."""
    work = Rewriting(graph)
    work.changed = True
    for eqn in graph.eqns:
        if eqn in plans:
            _write(work.eqns, eqn, *plans[eqn])
        else:
            work.keep(eqn, eqn.inputs)
    return dce(work.done())


def _is_product(eqn):
    """Whether an equation multiplies matrices or vectors of one kind of floating-point numbers."""
    if eqn.prim.name != "dot_general" or eqn.params["batch"][0] or len(eqn.params["contract"][0]) > 1:
        return False
    avals = [x.aval for x in (*eqn.inputs, *eqn.outputs)]
    if any(type(a) is Opaque for a in avals) or any(a.dtype != avals[0].dtype or a.dtype.kind != "f" for a in avals):
        return False
    return all(1 <= len(a.shape) <= MATRIX for a in avals[:2]) and len(avals[2].shape) <= MATRIX


def _inner_products(graph):
    """Products that may be computed within others, by the variable they make: the equation, and each reader's share of its cost.

    Those that nothing but products reads; and outer products, which are free: what reads them multiplies the vectors as well.
    """
    made = {eqn.outputs[0]: eqn for eqn in graph.eqns if _is_product(eqn)}
    if len(made) <= 1:
        return {}
    reads = Counter(x for eqn in graph.eqns for x in eqn.inputs if x in made)
    reads.update(x for x in graph.outputs if x in made)
    within = Counter(x for eqn in made.values() for x in eqn.inputs if x in made)
    inside = {}
    for v, eqn in made.items():
        is_outer = not eqn.params["contract"][0]
        if v.aval.shape and within[v] and (is_outer or within[v] == reads[v]):
            inside[v] = eqn, 0 if is_outer and reads[v] > 1 else 1 / reads[v]
    return inside


def _chain(root, inside):
    """The operands that a product multiplies, from left to right; and the products it consists of with the share of each it pays."""
    parts, room = Counter(), [LONGEST - 2]

    def product(eqn, share):
        parts[eqn] += share
        a, b = eqn.inputs
        (i, j) = [axes[0] if axes else None for axes in eqn.params["contract"]]
        left, right = operand(a, share), operand(b, share)
        left = left if _ends(left, a)[1] == i else [link.turned for link in reversed(left)]
        right = right if _ends(right, b)[0] == j else [link.turned for link in reversed(right)]
        return left + right

    def operand(x, share):
        eqn, part = inside.get(x, (None, 0))
        if eqn is not None and room[0]:
            room[0] -= 1
            return product(eqn, share * part)
        return [Link(x, 0, 1) if len(x.aval.shape) == MATRIX else Link(x, None, 0)]

    return product(root, 1), parts


def _ends(chain, x):
    """The axes of a value that stand at the two ends of the chain that makes it."""
    if len(chain) == 1:
        return chain[0].left, chain[0].right
    return _axes(chain[0].left is not None, chain[-1].right is not None)


def _axes(left, right):
    """Axes of a product's value at its left and right, by whether there is one."""
    return 0 if left else None, int(left) if right else None


def _size(link, axis):
    return 1 if axis is None else link.x.aval.shape[axis]


def _multiplications(eqn):
    (i, *_), shape = (*eqn.params["contract"][0], None), eqn.inputs[0].aval.shape
    return eqn.outputs[0].aval.size * (1 if i is None else shape[i])


def _best(sizes):
    """Fewest multiplications for a chain of matrices of ``sizes[i]`` by ``sizes[i + 1]``; after which operand each piece is to be split."""
    n = len(sizes) - 1
    cost, splits = {(i, i): 0 for i in range(n)}, {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i, j], splits[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j))
    return cost[0, n - 1], splits


def _write(eqns, root, chain, splits):
    """Append the products of a chain, split as told; the last one makes what the root made."""
    dot = REGISTRY["dot_general"]

    def piece(i, j):
        if i == j:
            return chain[i]
        k = splits[i, j]
        a, b = piece(i, k), piece(k + 1, j)
        contract = ((), ()) if a.right is None else ((a.right,), (b.left,))
        first, second = a.x, b.x
        if contract[0] and len(first.aval.shape) < len(second.aval.shape):      # a vector and a matrix: one order, so that equals are found
            first, second, contract = second, first, contract[::-1]
        params = {"contract": contract, "batch": ((), ())}
        outputs = root.outputs if (i, j) == (0, len(chain) - 1) else [Var(dot.aval(first.aval, second.aval, **params))]
        eqns.append(Eqn(dot, (first, second), params, outputs, root.line))
        return Link(outputs[0], *_axes(a.left is not None, b.right is not None))

    piece(0, len(chain) - 1)

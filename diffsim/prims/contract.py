"""Contractions: sums of products over shared axes, batched or not."""

import math

import numpy as np

from ..core import Aval, Linear, Primitive
from ..core.emission import Either, Gather
from .elementwise import add
from .family import REAL, draw, draw_complex, shifted
from .layout import to_front, unbroadcast
from .layout import transpose as permute
from .positions import numbered, size_of
from .products import as_product, blas_call, worthwhile

#: Rows shorter than this are summed element by element.
SHORT_ROW = 4


MATRIX = 2
#: A map of more entries than this is taken as full, which is written down in fewer.
LARGEST_MAP = 1 << 25
ITEM = np.dtype(int).itemsize


def _free(ndim, contracted, batch):
    return tuple(i for i in range(ndim) if i not in contracted and i not in batch)


def _dot_aval(a, b, *, contract, batch):
    shape = tuple(a.shape[i] for i in batch[0])
    shape += tuple(a.shape[i] for i in _free(a.ndim, contract[0], batch[0]))
    shape += tuple(b.shape[i] for i in _free(b.ndim, contract[1], batch[1]))
    return Aval(shape, np.result_type(a.dtype, b.dtype))


def _dot_impl(a, b, *, contract, batch):
    if not batch[0]:
        if max(a.ndim, b.ndim) <= MATRIX and contract == ((a.ndim - 1,), (0,)):
            return np.dot(a, b)
        return np.tensordot(a, b, contract)
    shape = _dot_aval(a, b, contract=contract, batch=batch).shape
    lead = tuple(a.shape[i] for i in batch[0])
    inner = int(np.prod([a.shape[i] for i in contract[0]]))
    free_a, free_b = _free(a.ndim, contract[0], batch[0]), _free(b.ndim, contract[1], batch[1])
    left = np.transpose(a, batch[0] + free_a + contract[0]).reshape(*lead, int(np.prod([a.shape[i] for i in free_a])), inner)
    right = np.transpose(b, batch[1] + contract[1] + free_b).reshape(*lead, inner, int(np.prod([b.shape[i] for i in free_b])))
    return np.matmul(left, right).reshape(shape)


def _pull(y_bar, other, contract, batch, mine):
    """Cotangent of one operand: contract ``y_bar`` with the other over the other's free axes, then put the axes in order."""
    side, far = (0, 1) if mine == "a" else (1, 0)
    n_batch = len(batch[0])
    free_other = _free(len(other.shape), contract[far], batch[far])
    n_mine = len(y_bar.shape) - n_batch - len(free_other)
    mine_first = mine == "a"
    at = n_batch + n_mine if mine_first else n_batch
    out_axes = tuple(range(at, at + len(free_other)))
    x_bar = dot_general(y_bar, other, contract=(out_axes, free_other), batch=(tuple(range(n_batch)), batch[far]))
    free_mine = _free(n_batch + n_mine + len(contract[side]), contract[side], batch[side])
    order = np.argsort(contract[far], kind="stable")            # the result's last axes stand in the other's axis order
    have = batch[side] + free_mine + tuple(contract[side][i] for i in order)
    return permute(x_bar, axes=tuple(int(i) for i in np.argsort(have)))


def _dot_transpose(y_bar, a, b, *, contract, batch):
    return (unbroadcast(_pull(y_bar, b, contract, batch, "a"), a.aval) if isinstance(a, Linear) else None,
            unbroadcast(_pull(y_bar, a, contract, batch, "b"), b.aval) if isinstance(b, Linear) else None)


def _dot_jvp(x, y, x_dot, **params):
    (a, b), (a_dot, b_dot) = x, x_dot
    left = None if a_dot is None else dot_general(a_dot, b, **params)
    right = None if b_dot is None else dot_general(a, b_dot, **params)
    return right if left is None else left if right is None else add(left, right)


def _dot_batch(n, batched, a, b, *, contract, batch):
    """A further batch dimension where both operands have members; otherwise a further free axis, which is then put first."""
    contract = tuple(shifted(axes) if on else axes for axes, on in zip(contract, batched, strict=True))
    batch = tuple(shifted(axes) if on else axes for axes, on in zip(batch, batched, strict=True))
    if all(batched):
        return dot_general(a, b, contract=contract, batch=((0, *batch[0]), (0, *batch[1])))
    n_batch = len(batch[0])
    if batched[0]:
        return to_front(dot_general(a, b, contract=contract, batch=batch), n_batch)
    y = dot_general(b, a, contract=contract[::-1], batch=batch[::-1])       # (batch, n, free b, free a): rows of b lie together
    n_b = len(b.shape) - 1 - n_batch - len(contract[1])
    free_b, free_a = range(n_batch + 1, n_batch + 1 + n_b), range(n_batch + 1 + n_b, len(y.shape))
    order = (n_batch, *range(n_batch), *free_a, *free_b)
    return y if order == tuple(range(len(order))) else permute(y, axes=order)


def _places(i, a, b, contract, batch):
    """For operand i: its axes that appear in the value, and where."""
    n_batch, free = len(batch[0]), (_free(a.ndim, contract[0], batch[0]), _free(b.ndim, contract[1], batch[1]))
    first = n_batch + (len(free[0]) if i else 0)
    return (*batch[i], *free[i]), (*range(n_batch), *range(first, first + len(free[i])))


def _dot_sparsity_full(x, shape_out, axes, places):
    """The map where the other operand is full: a sum over the axes contracted, repeated along the other's free axes."""
    kept = tuple(s if k in axes else 1 for k, s in enumerate(x.shape))
    middle = np.transpose(numbered(kept), (*axes, *(k for k in range(x.ndim) if k not in axes)))
    spaced = [1] * len(shape_out)
    for axis, place in zip(axes, places, strict=True):
        spaced[place] = x.shape[axis]
    n_in, n_out = size_of(x.shape), size_of(shape_out)
    sums = np.broadcast_to(numbered(kept), x.shape).ravel()
    return [(sums, np.arange(n_in), size_of(kept)), (np.arange(n_out), np.broadcast_to(middle.reshape(spaced), shape_out).ravel(), n_out)]


def _dot_sparsity(i, a, b, *, contract, batch):
    """Zeros of the other operand are zeros of the map (see ``positions`` for what that operand is)."""
    x, other, far = (a, b, 1) if i == 0 else (b, a, 0)
    shape_out = _dot_aval(a, b, contract=contract, batch=batch).shape
    axes, places = _places(i, a, b, contract, batch)
    free = axes[len(batch[0]):]
    n_free = size_of(tuple(x.shape[k] for k in free))
    n_other = size_of(other.shape) if isinstance(other, Linear) else np.count_nonzero(other)
    if n_other == size_of(other.shape) or n_other * n_free > LARGEST_MAP:
        return _dot_sparsity_full(x, shape_out, axes, places)
    rows, columns = np.zeros((n_other, n_free), int), np.zeros((n_other, n_free), int)
    out, inside = numbered(shape_out).strides, numbered(x.shape).strides
    axes_far, places_far = _places(far, a, b, contract, batch)
    where = np.nonzero(other)
    for k, place in zip(axes_far, places_far, strict=True):
        rows += where[k][:, None] * (out[place] // ITEM)
    for k, j in zip((*batch[far], *contract[far]), (*batch[i], *contract[i]), strict=True):
        columns += where[k][:, None] * (inside[j] // ITEM)
    for k, place, at in zip(free, places[len(batch[0]):], np.indices([x.shape[k] for k in free]).reshape(len(free), n_free), strict=True):
        rows += at * (out[place] // ITEM)
        columns += at * (inside[k] // ITEM)
    return rows.ravel(), columns.ravel()


def _dot_work(a, b, *, contract, batch):
    """One multiplication and addition for each element of the value and each index summed over."""
    return _dot_aval(a, b, contract=contract, batch=batch).size * math.prod(a.shape[i] for i in contract[0])


def _dot_term(k, a, b, contract, batch):
    """``term(index, inner)``: the product that enters element ``index`` for the summation indices ``inner``."""
    n_batch, free_a = len(batch[0]), _free(a.ndim, contract[0], batch[0])
    free_b = _free(b.ndim, contract[1], batch[1])

    def term(index, inner):
        at_a, at_b = [0] * a.ndim, [0] * b.ndim
        for axes, entries in ((batch[0], index[:n_batch]), (free_a, index[n_batch:n_batch + len(free_a)]), (contract[0], inner)):
            for axis, i in zip(axes, entries, strict=True):
                at_a[axis] = i
        for axes, entries in ((batch[1], index[:n_batch]), (free_b, index[n_batch + len(free_a):]), (contract[1], inner)):
            for axis, i in zip(axes, entries, strict=True):
                at_b[axis] = i
        return k.mul(a(tuple(at_a)), b(tuple(at_b)))

    return term


def _dot_index(k, index, a, b, *, contract, batch):
    term = _dot_term(k, a, b, contract, batch)
    aval = Aval((), np.result_type(a.dtype, b.dtype))
    return k.reduce("add", tuple(a.shape[i] for i in contract[0]), lambda inner: term(index, inner), aval)


def _dot_store(k, out, a, b, *, contract, batch):
    """Where the value's last axis is the last axis of an operand, rows are added to rows: memory is then read in order."""
    free_a, free_b = _free(a.ndim, contract[0], batch[0]), _free(b.ndim, contract[1], batch[1])
    rows = free_b[-1] == b.ndim - 1 if free_b else bool(free_a) and free_a[-1] == a.ndim - 1
    if not rows or out.shape[-1] < SHORT_ROW:
        k.loop(out.shape, lambda index: out.store(index, k.convert(_dot_index(k, index, a, b, contract=contract, batch=batch), out.dtype)))
        return
    term, inner, n = _dot_term(k, a, b, contract, batch), tuple(a.shape[i] for i in contract[0]), out.shape[-1]
    total = out.accumulator()

    def row(lead):
        k.loop((n,), lambda j: total.store((*lead, *j), k.const(0, total.dtype)))
        k.loop((*inner, n), lambda i: total.add((*lead, i[-1]), k.convert(term((*lead, i[-1]), i[:-1]), total.dtype)))
        if total is not out:
            k.loop((n,), lambda j: out.store((*lead, *j), k.convert(total((*lead, *j)), out.dtype)))

    k.loop(out.shape[:-1], row)


_by_loops = Gather(_dot_index, _dot_store, work=_dot_work)
#: Nothing is summed: each element is one product, computed where it is read.
_outer = Gather(_dot_index, work=_dot_work)


def _dot_emission(ins, outs, *, contract, batch):
    """A call of BLAS for what is large; loops otherwise, and where an operand would have to be copied or cast for the call."""
    a, b = ins
    if not contract[0]:
        return _outer
    if not a.dtype == b.dtype == outs[0].dtype or a.dtype.kind != "f":
        return _by_loops
    p = as_product(a.shape, b.shape, contract, batch)
    return blas_call if p is not None and worthwhile(p, a.dtype.itemsize) else _by_loops


def _dot_samples(rng):
    cases = (((3,), (3,), ((0,), (0,)), ((), ())), ((2, 3), (3,), ((1,), (0,)), ((), ())), ((2, 3), (3, 4), ((1,), (0,)), ((), ())),
             ((2, 3, 4), (4, 3), ((1, 2), (1, 0)), ((), ())), ((5, 2, 3), (5, 3, 2), ((2,), (1,)), ((0,), (0,))),
             ((2,), (3,), ((), ()), ((), ())),
             ((2, 3), (4, 2, 3), ((1,), (2,)), ((0,), (1,))))
    out = [((draw(rng, REAL, s), draw(rng, REAL, t)), {"contract": c, "batch": b}) for s, t, c, b in cases]
    s, t, c, b = cases[2]
    return [*out, *[((x(rng, REAL, s), y(rng, REAL, t)), {"contract": c, "batch": b}) for x, y in (
        (draw_complex, draw_complex), (draw_complex, draw), (draw, draw_complex))]]


dot_general = Primitive(
    "dot_general",
    impl=_dot_impl,
    aval=_dot_aval,
    jvp=_dot_jvp,
    transpose=_dot_transpose,
    batch=_dot_batch,
    sparsity=_dot_sparsity,
    emit=Either(_dot_emission, "loops or BLAS"),
    samples=_dot_samples,
)

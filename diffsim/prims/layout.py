"""Linear rearrangements: casts, shapes, axes, sums along axes, joins, basic indexing and its transpose."""

import numpy as np

from ..core import Absent, Aval, Linear, Primitive, user_line
from ..core.emission import Gather, Scalar
from .complexes import real
from .family import REAL, draw, draw_complex, linear, shaped, shifted, zeros
from .positions import moved, running, same_place, selected, size_of, summed


def like(x, aval):
    """``x`` broadcast and cast to the shape and dtype of ``aval``.

    Raises
    ------
    TypeError
        A complex value would lose its imaginary part.
    """
    if x.dtype.kind == "c" and aval.dtype.kind != "c":
        raise TypeError(f"{user_line()}: complex numbers were to become {aval.dtype}, which would discard their imaginary parts; take "
                        f"np.real(...) or np.abs(...), or make the array complex")
    if tuple(x.shape) != tuple(aval.shape):
        x = broadcast_to(x, shape=tuple(aval.shape))
    return x if x.dtype == aval.dtype else convert(x, dtype=aval.dtype)


def unbroadcast(y_bar, aval):
    """Transpose of broadcasting and casting: sums ``y_bar`` down to the shape of ``aval``, in its dtype."""
    shape = y_bar.shape
    if y_bar.dtype.kind == "c" and aval.dtype.kind != "c":
        y_bar = real(y_bar)
    if shape != aval.shape:
        extra = len(shape) - len(aval.shape)
        axes = tuple(range(extra)) + tuple(i + extra for i, s in enumerate(aval.shape) if s == 1 and shape[i + extra] != 1)
        if axes:
            y_bar = reduce_sum(y_bar, axes=axes)
        if y_bar.shape != aval.shape:
            y_bar = reshape(y_bar, shape=aval.shape)
    return y_bar if y_bar.dtype == aval.dtype else convert(y_bar, dtype=aval.dtype)


# ---------------------------------------------------------------- batches
def aligned(batched, x):
    """Operands of an elementwise primitive so that all members broadcast at once: axes of length one follow the batch axis."""
    shapes = [getattr(a, "shape", ()) for a in x]
    ranks = [len(s) - on for s, on in zip(shapes, batched, strict=True)]
    rank = max(ranks)
    return [reshape(a, shape=(s[0], *(1,) * (rank - r), *s[1:])) if on and r < rank else a
            for a, s, r, on in zip(x, shapes, ranks, batched, strict=True)]


def spread(n, batched, x):
    """Operands with a batch axis each: the ones that have none are repeated."""
    return [a if on else broadcast_to(a, shape=(n, *getattr(a, "shape", ()))) for a, on in zip(x, batched, strict=True)]


def to_front(x, axis):
    """``x`` with one axis before the others."""
    return x if axis == 0 else transpose(x, axes=(axis, *[i for i in range(len(x.shape)) if i != axis]))


# ---------------------------------------------------------------- casts
def _convert_emit(k, x, *, dtype):
    return k.convert(x, dtype)


def _convert_impl(x, *, dtype):
    """Another dtype; of a complex number cast to a real one the real part."""
    x = np.asarray(x)
    return (x.real if x.dtype.kind == "c" and dtype.kind in "fiu" else x).astype(dtype)


convert = linear(
    "convert",
    impl=_convert_impl,
    aval=lambda x, *, dtype: Aval(x.shape, dtype),
    transpose=lambda y_bar, x, *, dtype: (convert(y_bar, dtype=x.dtype),),
    batch=lambda n, batched, x, *, dtype: convert(x, dtype=dtype),
    emit=Scalar(_convert_emit),
    sparsity=same_place,
    samples=lambda rng: [((draw(rng, REAL, s),), {"dtype": np.dtype(np.float32)}) for s in ((), (3,))] + [
        ((draw(rng, REAL, (3,)),), {"dtype": np.dtype(complex)}), ((draw_complex(rng, REAL, (3,)),), {"dtype": np.dtype(float)})],
)


# ---------------------------------------------------------------- shapes
def _broadcast_to_aval(x, *, shape):
    if np.broadcast_shapes(x.shape, shape) != tuple(shape):
        raise ValueError(f"an array of shape {tuple(x.shape)} cannot be broadcast to shape {tuple(shape)}")
    return Aval(shape, x.dtype)


def _broadcast_to_transpose(y_bar, x, *, shape):
    return (unbroadcast(y_bar, x.aval),)


def _broadcast_to_batch(n, batched, x, *, shape):
    thin = (n, *(1,) * (len(shape) + 1 - len(x.shape)), *x.shape[1:])
    return broadcast_to(x if thin == tuple(x.shape) else reshape(x, shape=thin), shape=(n, *shape))


def _broadcast_index(k, index, x, *, shape):
    shape_in = x.shape
    tail = index[len(index) - len(shape_in):]
    return x(tuple(0 if s == 1 else i for i, s in zip(tail, shape_in, strict=True)))


broadcast_to = linear(
    "broadcast_to",
    impl=lambda x, *, shape: np.broadcast_to(x, shape),
    aval=_broadcast_to_aval,
    transpose=_broadcast_to_transpose,
    batch=_broadcast_to_batch,
    emit=Gather(_broadcast_index, moves=True),
    sparsity=moved(np.broadcast_to),
    samples=shaped(((3,), {"shape": (2, 3)}), ((), {"shape": (2,)}), ((2, 1), {"shape": (3, 2, 4)}), ((1,), {"shape": (0,)})),
)


def _reshape_index(k, index, x, *, shape):
    return x(k.unravel(k.ravel(index, shape), x.shape))


reshape = linear(
    "reshape",
    impl=lambda x, *, shape: np.reshape(x, shape),
    aval=lambda x, *, shape: Aval(shape, x.dtype),
    transpose=lambda y_bar, x, *, shape: (reshape(y_bar, shape=x.shape),),
    batch=lambda n, batched, x, *, shape: reshape(x, shape=(n, *shape)),
    emit=Gather(_reshape_index, moves=True),
    sparsity=moved(np.reshape),
    samples=shaped(((6,), {"shape": (2, 3)}), ((), {"shape": (1, 1)}), ((2, 3), {"shape": (3, 2)}), ((1,), {"shape": ()})),
)


def _transpose_transpose(y_bar, x, *, axes):
    return (transpose(y_bar, axes=tuple(int(i) for i in np.argsort(axes))),)


def _transpose_index(k, index, x, *, axes):
    inner = [0] * len(axes)
    for i, axis in zip(index, axes, strict=True):
        inner[axis] = i
    return x(tuple(inner))


transpose = linear(
    "transpose",
    impl=lambda x, *, axes: np.transpose(x, axes),
    aval=lambda x, *, axes: Aval(tuple(x.shape[i] for i in axes), x.dtype),
    transpose=_transpose_transpose,
    batch=lambda n, batched, x, *, axes: transpose(x, axes=(0, *shifted(axes))),
    emit=Gather(_transpose_index, moves=True),
    sparsity=moved(np.transpose),
    samples=shaped(((2, 3), {"axes": (1, 0)}), ((2, 3, 4), {"axes": (2, 0, 1)}), ((), {"axes": ()})),
)


# ---------------------------------------------------------------- sums
def expand(y, shape, axes):
    """Put back the axes a reduction removed, and repeat along them."""
    keep = tuple(1 if i in axes else s for i, s in enumerate(shape))
    return broadcast_to(reshape(y, shape=keep), shape=tuple(shape))


def without(shape, axes):
    """Shape (or index) with the axes of a reduction removed."""
    return tuple(s for i, s in enumerate(shape) if i not in axes)


def inserted(index, axes, inner):
    """Index of the summand ``inner`` (one entry a reduced axis) of the element ``index``."""
    index, inner = list(index), list(inner)
    ndim = len(index) + len(inner)
    return tuple(inner.pop(0) if i in axes else index.pop(0) for i in range(ndim))


def _sum_aval(x, *, axes):
    dtype = np.dtype(np.int64) if x.dtype.kind in "bi" else x.dtype
    return Aval(without(x.shape, axes), dtype)


def _sum_index(k, index, x, *, axes):
    return k.reduce("add", tuple(x.shape[i] for i in axes), lambda inner: x(inserted(index, axes, inner)), x.aval)


def _sum_store(k, out, x, *, axes):
    """A sum that keeps the last axis adds rows to rows: memory is then read in order."""
    if x.ndim - 1 in axes or not out.shape:
        k.loop(out.shape, lambda index: out.store(index, k.convert(_sum_index(k, index, x, axes=axes), out.dtype)))
        return
    total = out.accumulator()
    k.loop(out.shape, lambda index: total.store(index, k.const(0, total.dtype)))
    k.loop(x.shape, lambda i: total.add(without(i, axes), k.convert(x(i), total.dtype)))
    if total is not out:
        k.loop(out.shape, lambda index: out.store(index, k.convert(total(index), out.dtype)))


reduce_sum = linear(
    "reduce_sum",
    impl=lambda x, *, axes: np.sum(x, axis=axes),
    aval=_sum_aval,
    transpose=lambda y_bar, x, *, axes: (expand(y_bar, x.shape, axes),),
    batch=lambda n, batched, x, *, axes: reduce_sum(x, axes=shifted(axes)),
    emit=Gather(_sum_index, _sum_store),
    sparsity=summed,
    samples=shaped(((3, 4), {"axes": (0,)}), ((2, 3, 4), {"axes": (0, 2)}), ((0, 3), {"axes": (0,)}), ((3,), {"axes": (0,)})),
)


def _cumsum_index(k, index, x, *, axis, reverse):
    return k.partial_sum(x, index, axis, reverse)


def _cumsum_store(k, out, x, *, axis, reverse):
    n = x.shape[axis]

    def line(rest):
        def step(j, total):
            at = (*rest[:axis], k.isub(n - 1, j) if reverse else j, *rest[axis:])
            total = k.add(total, x(at))
            out.store(at, total)
            return total
        k.fold(n, k.const(0, x.dtype), step)
    k.loop(without(x.shape, (axis,)), line)


cumsum = linear(
    "cumsum",
    impl=lambda x, *, axis, reverse: np.flip(np.cumsum(np.flip(x, axis), axis), axis) if reverse else np.cumsum(x, axis),
    aval=lambda x, *, axis, reverse: x,
    transpose=lambda y_bar, x, *, axis, reverse: (cumsum(y_bar, axis=axis, reverse=not reverse),),
    batch=lambda n, batched, x, *, axis, reverse: cumsum(x, axis=axis + 1, reverse=reverse),
    emit=Gather(_cumsum_index, _cumsum_store),
    sparsity=running,
    samples=shaped(((4,), {"axis": 0, "reverse": False}), ((2, 3), {"axis": 1, "reverse": True}), ((0, 2), {"axis": 0, "reverse": False})),
)


# ---------------------------------------------------------------- basic indexing
class Basic:
    """A basic index: one entry a dimension, an int or a slice given as (start, stop, step) within bounds."""

    __slots__ = ("key", "offset", "shape", "spec", "step")

    def __init__(self, spec, shape):
        self.spec = tuple(spec)
        self.key = tuple(slice(s[0], None if s[1] < 0 else s[1], s[2]) if type(s) is tuple else s for s in self.spec)
        self.offset = tuple(s[0] if type(s) is tuple else s for s in self.spec)
        self.step = tuple(s[2] if type(s) is tuple else None for s in self.spec)
        self.shape = tuple(len(range(*s)) for s in self.spec if type(s) is tuple)

    def __eq__(self, other):
        return type(other) is Basic and self.spec == other.spec

    def __hash__(self):
        return hash(self.spec)

    def __repr__(self):
        return "[" + ",".join(f"{s[0]}:{s[1]}:{s[2]}" if type(s) is tuple else str(s) for s in self.spec) + "]"


def basic(shape, key):
    """Basic index from a key of ints and slices, one a dimension, negative entries allowed."""
    spec = []
    for s, i in zip(shape, key, strict=True):
        spec.append(i.indices(s) if isinstance(i, slice) else (i + s if i < 0 else i))
    return Basic(spec, shape)


def of_each(n, at):
    """The basic index that takes ``at`` of each member."""
    return Basic(((0, n, 1), *at.spec), None)


def _index_index(k, index, x, *, at):
    rest = iter(index)
    return x(tuple(o if s is None else k.iadd(o, k.imul(next(rest), s)) for o, s in zip(at.offset, at.step, strict=True)))


def _index_into(accumulator, y_bar, x, *, at):
    accumulator[at.key] += y_bar


index = linear(
    "index",
    impl=lambda x, *, at: x[at.key],
    aval=lambda x, *, at: Aval(at.shape, x.dtype),
    transpose=lambda y_bar, x, *, at: (embed(y_bar, shape=x.shape, at=at),),
    batch=lambda n, batched, x, *, at: index(x, at=of_each(n, at)),
    emit=Gather(_index_index, moves=True),
    sparsity=lambda i, x, *, at: (np.arange(size_of(at.shape)), selected(x.shape, at)),
    samples=lambda rng: [((draw(rng, REAL, s),), {"at": basic(s, key)}) for s, key in (
        ((4,), (2,)), ((5,), (slice(1, 4),)), ((5,), (slice(None, None, -1),)), ((3, 4), (slice(None), -1)),
        ((6, 2), (slice(0, 6, 2), slice(1, 2))))],
    linear_fast=_index_into,
)


def _embed(x, *, shape, at):
    y = np.zeros(shape, x.dtype)
    y[at.key] = x
    return y


def _inside(k, index, at):
    """Whether ``index`` is one the basic index selects, and its position there."""
    inner, test = [], True
    for i, o, s, spec in zip(index, at.offset, at.step, at.spec, strict=True):
        if s is None:
            test = k.both(test, k.icompare("==", i, o))
            continue
        n = len(range(*spec))
        d = k.isub(i, o) if s > 0 else k.isub(o, i)
        if abs(s) != 1:
            test = k.both(test, k.icompare("==", k.imod(d, abs(s)), 0))
        j = k.idiv(d, abs(s))
        test = k.both(test, k.both(k.icompare(">=", j, 0), k.icompare("<", j, n)))
        inner.append(j)
    return test, tuple(inner)


def _embed_index(k, index, x, *, shape, at):
    test, inner = _inside(k, index, at)
    return k.guarded(test, lambda: x(inner), x.aval)


def _embed_store(k, out, x, *, shape, at):
    k.loop(shape, lambda i: out.store(i, k.const(0, out.dtype)))
    k.loop(x.shape, lambda i: out.store(_outer(k, i, at), x(i)))


def _outer(k, inner, at):
    rest = iter(inner)
    return tuple(o if s is None else k.iadd(o, k.imul(next(rest), s)) for o, s in zip(at.offset, at.step, strict=True))


embed = linear(
    "embed",
    impl=_embed,
    aval=lambda x, *, shape, at: Aval(shape, x.dtype),
    transpose=lambda y_bar, x, *, shape, at: (index(y_bar, at=at),),
    batch=lambda n, batched, x, *, shape, at: embed(x, shape=(n, *shape), at=of_each(n, at)),
    emit=Gather(_embed_index, _embed_store, moves=True),
    sparsity=lambda i, x, *, shape, at: (selected(shape, at), np.arange(size_of(x.shape))),
    samples=lambda rng: [((draw(rng, REAL, basic(s, key).shape),), {"shape": s, "at": basic(s, key)}) for s, key in (
        ((4,), (2,)), ((5,), (slice(1, 4),)), ((5,), (slice(None, None, -2),)), ((3, 4), (slice(None), -1)))],
)


def _index_set(x, new, *, at):
    y = np.array(x)
    y[at.key] = new
    return y


def _index_set_transpose(y_bar, x, new, *, at):
    x_bar = index_set(y_bar, np.zeros(at.shape, y_bar.dtype), at=at) if isinstance(x, Linear) else None
    return x_bar, (index(y_bar, at=at) if isinstance(new, Linear) else None)


def _index_set_index(k, i, x, new, *, at):
    test, inner = _inside(k, i, at)
    return k.choose(test, lambda: new(inner), lambda: x(i), x.aval)


def _index_set_store(k, out, x, new, *, at):
    k.loop(x.shape, lambda i: out.store(i, x(i)))
    k.loop(at.shape, lambda i: out.store(_outer(k, i, at), new(i)))


index_set = linear(
    "index_set",
    impl=_index_set,
    aval=lambda x, new, *, at: x,
    transpose=_index_set_transpose,
    batch=lambda n, batched, *x, at: index_set(*spread(n, batched, x), at=of_each(n, at)),
    emit=Gather(_index_set_index, _index_set_store, moves=True),
    sparsity=moved(_index_set),
    samples=lambda rng: [((draw(rng, REAL, s), draw(rng, REAL, basic(s, key).shape)), {"at": basic(s, key)}) for s, key in (
        ((4,), (2,)), ((5,), (slice(1, 4),)), ((3, 4), (slice(0, 3, 2), -1)))],
)


# ---------------------------------------------------------------- joins
def _concatenate_aval(*x, axis):
    shape = list(x[0].shape)
    shape[axis] = sum(a.shape[axis] for a in x)
    return Aval(tuple(shape), np.result_type(*[a.dtype for a in x]))


def _concatenate_transpose(y_bar, *x, axis):
    out, start = [], 0
    for a in x:
        n = a.shape[axis]
        if isinstance(a, Linear):
            at = basic(y_bar.shape, tuple(slice(start, start + n) if i == axis else slice(None) for i in range(len(a.shape))))
            out.append(unbroadcast(index(y_bar, at=at), a.aval))
        else:
            out.append(None)
        start += n
    return tuple(out)


def _concatenate_index(k, i, *x, axis):
    def pick(position, rest):
        shifted = (*i[:axis], position, *i[axis + 1:])
        if len(rest) == 1:
            return rest[0](shifted)
        n = rest[0].shape[axis]
        return k.choose(k.icompare("<", position, n), lambda: rest[0](shifted), lambda: pick(k.isub(position, n), rest[1:]), rest[0].aval)
    return pick(i[axis], [a for a in x if a.shape[axis]])


def _concatenate_store(k, out, *x, axis):
    start = 0
    for a in x:
        def body(i, a=a, start=start):
            out.store((*i[:axis], k.iadd(i[axis], start), *i[axis + 1:]), k.convert(a(i), out.dtype))
        k.loop(a.shape, body)
        start += a.shape[axis]


concatenate = linear(
    "concatenate",
    impl=lambda *x, axis: np.concatenate(x, axis),
    aval=_concatenate_aval,
    transpose=_concatenate_transpose,
    batch=lambda n, batched, *x, axis: concatenate(*spread(n, batched, x), axis=axis + 1),
    emit=Gather(_concatenate_index, _concatenate_store, moves=True),
    sparsity=moved(lambda *x, axis: np.concatenate(x, axis)),
    samples=lambda rng: [(tuple(draw(rng, REAL, s) for s in shapes), {"axis": axis}) for shapes, axis in (
        (((2,), (3,)), 0), (((2, 2), (2, 1), (2, 3)), 1), (((0,), (2,)), 0), (((1,),), 0))],
)


def _stack_aval(*x, axis):
    shape = x[0].shape
    return Aval((*shape[:axis], len(x), *shape[axis:]), np.result_type(*[a.dtype for a in x]))


def _stack_transpose(y_bar, *x, axis):
    if y_bar.__class__ is np.ndarray:
        parts = np.moveaxis(y_bar, axis, 0)
        return tuple(unbroadcast(part, a.aval) if isinstance(a, Linear) else None for part, a in zip(parts, x, strict=True))

    def part(n):
        at = basic(y_bar.shape, tuple(n if i == axis else slice(None) for i in range(len(y_bar.shape))))
        return index(y_bar, at=at)
    return tuple(unbroadcast(part(n), a.aval) if isinstance(a, Linear) else None for n, a in enumerate(x))


def _stack_index(k, i, *x, axis):
    rest = (*i[:axis], *i[axis + 1:])
    if isinstance(i[axis], int):
        return x[i[axis]](rest)

    def pick(low, high):                                    # a balanced tree: the depth stays small for many operands
        if high - low == 1:
            return x[low](rest)
        middle = (low + high) // 2
        return k.choose(k.icompare("<", i[axis], middle), lambda: pick(low, middle), lambda: pick(middle, high), x[0].aval)
    return pick(0, len(x))


def _stack_store(k, out, *x, axis):
    for n, a in enumerate(x):
        k.loop(a.shape, lambda i, a=a, n=n: out.store((*i[:axis], n, *i[axis:]), k.convert(a(i), out.dtype)))


stack = linear(
    "stack",
    impl=lambda *x, axis: np.stack(x, axis),
    aval=_stack_aval,
    transpose=_stack_transpose,
    batch=lambda n, batched, *x, axis: stack(*spread(n, batched, x), axis=axis + 1),
    emit=Gather(_stack_index, _stack_store, moves=True),
    sparsity=moved(lambda *x, axis: np.stack(x, axis)),
    samples=lambda rng: [(tuple(draw(rng, REAL, s) for _ in range(n)), {"axis": axis}) for s, n, axis in (
        ((), 3, 0), ((2,), 1, 0), ((2, 3), 2, 1), ((2,), 4, 1), ((0,), 2, 0))],
)


# ---------------------------------------------------------------- stopping derivatives
stop_gradient = Primitive(
    "stop_gradient",
    impl=lambda x: x.copy() if isinstance(x, np.ndarray) else x,       # the caller may write into it
    aval=lambda x: x,
    jvp=lambda x, y, x_dot: None,
    transpose=lambda y_bar, x: (zeros(x.aval),),
    batch=lambda n, batched, x: stop_gradient(x),
    emit=Scalar(lambda k, x: x),
    samples=Absent("its derivative is zero by declaration, which no difference quotient confirms"),
)

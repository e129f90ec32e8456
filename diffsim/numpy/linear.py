"""Products of arrays, composed of ``dot_general``."""

import string

import numpy as np

from ..core import Tracer
from ..prims import elementwise as ew
from ..prims.contract import dot_general
from ..prims.layout import convert, reduce_sum
from ..prims.layout import transpose as permute
from . import indexing
from .array import Array
from .dispatch import row
from .reductions import at_least_array, axes_of
from .shapes import concatenate, permuted, reshaped
from .stacking import lift_all, strengthened
from .ufuncs import conjugate, matmul, vecdot

#: Dimensions of the space of a cross product.
SPACE = 3


def _size(x):
    return int(np.prod(x.shape))


# ---------------------------------------------------------------- products
@row(np.dot, operands=2)
def dot(a, b):
    a, b = strengthened(at_least_array(a)), strengthened(at_least_array(b))
    if not a.shape or not b.shape:
        return ew.mul(a, b)
    return _contracted(a, b, (len(a.shape) - 1,), (builtin_max(len(b.shape) - 2, 0),))


def builtin_max(a, b):
    """The larger of two counts."""
    return a if a > b else b


def _contracted(a, b, axes_a, axes_b):
    left, right = tuple(a.shape[i] for i in axes_a), tuple(b.shape[i] for i in axes_b)
    if left != right:
        raise ValueError(f"shapes {tuple(a.shape)} and {tuple(b.shape)} do not fit: {left} is to be summed with {right}")
    return dot_general(a, b, contract=(axes_a, axes_b), batch=((), ()))


@row(np.vdot, operands=2)
def vdot(a, b, /):
    a, b = at_least_array(a), at_least_array(b)
    return _contracted(conjugate(reshaped(a, (_size(a),))), reshaped(b, (_size(b),)), (0,), (0,))


@row(np.inner, operands=2)
def inner(a, b, /):
    a, b = strengthened(at_least_array(a)), strengthened(at_least_array(b))
    if not a.shape or not b.shape:
        return ew.mul(a, b)
    return _contracted(a, b, (len(a.shape) - 1,), (len(b.shape) - 1,))


@row(np.outer, np.linalg.outer, operands=2)
def outer(a, b):
    a, b = at_least_array(a), at_least_array(b)
    return ew.mul(reshaped(a, (_size(a), 1)), reshaped(b, (1, _size(b))))


@row(np.tensordot, np.linalg.tensordot, operands=2)
def tensordot(a, b, axes=2):
    a, b = at_least_array(a), at_least_array(b)
    if isinstance(axes, (int, np.integer)):
        left, right = range(len(a.shape) - axes, len(a.shape)), range(axes)
    else:
        left, right = (x if np.ndim(x) else (x,) for x in axes)
    return _contracted(a, b, tuple(int(i) % len(a.shape) for i in left), tuple(int(i) % len(b.shape) for i in right))


@row(np.kron, operands=2)
def kron(a, b):
    a, b = at_least_array(a), at_least_array(b)
    n = builtin_max(len(a.shape), len(b.shape))
    shape_a, shape_b = ((1,) * (n - len(x.shape)) + tuple(x.shape) for x in (a, b))
    wide_a = reshaped(a, tuple(k for s in shape_a for k in (s, 1)))
    wide_b = reshaped(b, tuple(k for s in shape_b for k in (1, s)))
    return reshaped(ew.mul(wide_a, wide_b), tuple(s * t for s, t in zip(shape_a, shape_b, strict=True)))


@row(np.cross, np.linalg.cross, operands=2)
def cross(a, b, axisa=-1, axisb=-1, axisc=-1, axis=None):
    axisa, axisb, axisc = (axis,) * 3 if axis is not None else (axisa, axisb, axisc)
    a, b = (_last(x, i) for x, i in ((a, axisa), (b, axisb)))
    if a.shape[-1] != SPACE or b.shape[-1] != SPACE:
        raise ValueError(f"cross: both arrays need three components, got {a.shape[-1]} and {b.shape[-1]}")
    x, y = ([indexing.getitem(v, (..., i)) for i in range(SPACE)] for v in (a, b))
    parts = [ew.sub(ew.mul(x[i], y[j]), ew.mul(x[j], y[i])) for i, j in ((1, 2), (2, 0), (0, 1))]
    joined = concatenate([reshaped(p, (*tuple(p.shape), 1)) for p in parts], -1)
    n = len(joined.shape)
    target = axes_of(axisc, n)[0]
    order = [*range(n - 1)]
    order.insert(target, n - 1)
    return permuted(joined, tuple(order))


def _last(x, axis):
    n = len(x.shape)
    i = axes_of(axis, n)[0]
    return permuted(x, (*[j for j in range(n) if j != i], i))


row(np.linalg.matmul, operands=2)(lambda x1, x2, /: matmul(x1, x2))
row(np.linalg.vecdot, operands=2)(lambda x1, x2, /, *, axis=-1: vecdot(_last(x1, axis), _last(x2, axis)))


# ---------------------------------------------------------------- einsum
def _parse(spec, shapes):
    """Subscripts of operands and result as lists of letters; an ellipsis becomes capital letters not otherwise used."""
    spec = spec.replace(" ", "")
    inputs, arrow, output = spec.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(shapes):
        raise ValueError(f"einsum: {spec!r} names {len(terms)} operands, {len(shapes)} were given")
    spare = [c for c in map(chr, range(0x100, 0x180)) if c not in spec]
    widest = 0
    for term, shape in zip(terms, shapes, strict=True):
        if "..." in term:
            widest = builtin_max(widest, len(shape) - len(term) + 3)
    names = "".join(spare[:widest])
    full = []
    for term, shape in zip(terms, shapes, strict=True):
        n = len(shape) - len(term) + 3 if "..." in term else 0
        full.append(term.replace("...", names[widest - n:]))
        if len(full[-1]) != len(shape):
            raise ValueError(f"einsum: {spec!r} gives {len(full[-1])} subscripts to an operand of shape {tuple(shape)}")
    joint = "".join(full)
    if not arrow:
        output = names + "".join(sorted(c for c in set(joint) if joint.count(c) == 1 and c not in names))
    output = output.replace("...", names)
    if any_repeated(output) or not set(output) <= set(joint):
        raise ValueError(f"einsum: the output subscripts of {spec!r} must be distinct and appear in the input")
    return full, output


def any_repeated(text):
    """Whether a letter stands twice."""
    return len(set(text)) != len(text)


def _diagonals(x, term):
    """An operand without repeated subscripts: their diagonal is taken."""
    while any_repeated(term):
        c = next(c for c in term if term.count(c) > 1)
        i, j = [n for n, d in enumerate(term) if d == c][:2]
        if x.shape[i] != x.shape[j]:
            raise ValueError(f"einsum: the axes named {c!r} have lengths {x.shape[i]} and {x.shape[j]}")
        x = indexing.take_along(x, lambda at, i=i, j=j: np.diagonal(at, 0, i, j))
        term = "".join(d for n, d in enumerate(term) if n not in (i, j)) + c
    return x, term


def _summed(x, term, keep):
    """Sum over subscripts that appear nowhere else."""
    axes = tuple(i for i, c in enumerate(term) if c not in keep)
    return (reduce_sum(x, axes=axes) if axes else x), "".join(c for c in term if c in keep)


def _pair(x, y, keep, last):
    """Contract two operands: shared subscripts that are kept are batched, the others summed.

    The operand that has ``last``, the last subscript of the output, comes second: what lies together is then what is read together.
    """
    (a, s), (b, t) = (y, x) if last and last in x[1] and last not in y[1] else (x, y)
    a, s = _squeezed(a, s, b, t)
    b, t = _squeezed(b, t, a, s)
    a, s = _summed(a, s, keep | set(t))
    b, t = _summed(b, t, keep | set(s))
    batch = [c for c in s if c in t and c in keep]
    inner_ = [c for c in s if c in t and c not in keep]
    for c in batch + inner_:
        if a.shape[s.index(c)] != b.shape[t.index(c)]:
            raise ValueError(f"einsum: the axes named {c!r} have lengths {a.shape[s.index(c)]} and {b.shape[t.index(c)]}")
    contract = tuple(s.index(c) for c in inner_), tuple(t.index(c) for c in inner_)
    lead = tuple(s.index(c) for c in batch), tuple(t.index(c) for c in batch)
    value = dot_general(a, b, contract=contract, batch=lead)
    return value, "".join(batch) + "".join(c for c in s if c not in t) + "".join(c for c in t if c not in s)


def _squeezed(a, s, b, t):
    """Axes of length one whose partner is longer broadcast: they are dropped here."""
    gone = [c for c in s if c in t and a.shape[s.index(c)] == 1 and b.shape[t.index(c)] != 1]
    if not gone:
        return a, s
    return reshaped(a, tuple(n for n, c in zip(a.shape, s, strict=True) if c not in gone)), "".join(c for c in s if c not in gone)


def _shown(spec, x):
    """Whether ``np.einsum`` of one operand is a view: nothing is summed."""
    terms, output = _parse(spec, [tuple(x.shape)])
    return set(terms[0]) == set(output)


def _from_sublists(operands):
    """``einsum(a, [0, 1], b, [1, 2], [0, 2])`` as ``einsum("ab,bc->ac", a, b)``."""
    def text(sublist):
        return "".join("..." if i is Ellipsis else string.ascii_letters[i] for i in sublist)
    whole = len(operands) // 2 * 2
    spec = ",".join(map(text, operands[1:whole:2]))
    return (spec if whole == len(operands) else f"{spec}->{text(operands[-1])}", *operands[:whole:2])


@row(np.einsum, operands=0, view=True)
def einsum(*operands, optimize=False, **options):
    """Any subscripts, contracted two operands at a time (in NumPy's best order where ``optimize`` asks for it)."""
    operands = operands if isinstance(operands[0], str) else _from_sublists(operands)
    if len(operands) == 2 and operands[1].__class__ is Array and not options and _shown(operands[0], operands[1]):
        return operands[1].moved(lambda a: np.einsum(operands[0], a), writeable=True)
    values = [at_least_array(x) for x in lift_all(operands[1:])]
    if not any(isinstance(x, Tracer) for x in values):
        return np.einsum(operands[0], *values, optimize=optimize, **options)
    terms, output = _parse(operands[0], [x.shape for x in values])
    pool = [_diagonals(x, t) for x, t in zip(values, terms, strict=True)]
    path = [(0, 1)] * (len(pool) - 1)
    if optimize and len(path) > 1:
        best = [p for p in einsum_path(operands[0], *values, optimize=optimize)[0][1:] if len(p) == len(path[0])]
        path = best if len(best) == len(path) else path
    for i, j in path:
        y, x = pool.pop(builtin_max(i, j)), pool.pop(i if i < j else j)
        pool.append(_pair(x, y, set(output).union(*[t for _, t in pool]), output[-1:]))
    value, term = _summed(*pool[0], set(output))
    dtype = np.result_type(*[x.dtype for x in values])      # not widened, as a sum's would be
    value = value if value.dtype == dtype else convert(value, dtype=dtype)
    return permute(value, axes=tuple(term.index(c) for c in output)) if term != output else value


@row(np.einsum_path, operands=0, view=True, value=True)
def einsum_path(*operands, **options):
    return np.einsum_path(*[np.broadcast_to(np.int8(0), tuple(x.shape)) if hasattr(x, "shape") else x for x in operands], **options)


__all__ = ["cross", "dot", "einsum", "inner", "kron", "outer", "tensordot"]

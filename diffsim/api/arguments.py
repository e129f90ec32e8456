"""Arguments in, results out: pytrees of a user's call as flat lists of arrays, and back."""

import functools
import operator

import numpy as np

from .. import tree
from ..core import Tracer
from ..core.aval import is_float
from ..errors import InputError, InputTypeError
from ..numpy.array import Array, own_result
from ..numpy.lending import taken
from ..numpy.rebind import outside, rebound
from ..numpy.stacking import is_value, stacked
from ..prims import layout


def leaf(x, verb, where):
    """A differentiable leaf as an array, NumPy scalar or tracer."""
    if type(x) is Array:
        x = x.read()
    if isinstance(x, Tracer):
        if not is_float(x.dtype):
            raise InputTypeError(f"{verb}: {where} is {x.aval}; derivatives are taken in floating-point numbers")
        return x
    if isinstance(x, (float, complex)) and not isinstance(x, np.generic):
        return np.asarray(x)[()]
    if isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "fc":
        return x
    if isinstance(x, np.ndarray) and x.dtype == object:
        return stacked(x)
    name = type(x).__name__
    got = f"an array of dtype {x.dtype}" if isinstance(x, (np.ndarray, np.generic)) else f"{'an' if name == 'int' else 'a'} {name}"
    remedy = "pass it through an argument that is not differentiated"
    if _is_integer(x):
        remedy = "write 1.0 instead of 1, or convert with float() or .astype(float)"
    raise InputTypeError(f"{verb}: {where} is {got}; derivatives are taken in floating-point numbers: {remedy}.")


def _is_integer(x):
    return isinstance(x, (int, np.integer)) or (isinstance(x, np.ndarray) and x.dtype.kind in "iub")


def leaves_of(value, verb, where):
    flat, struct = tree.flatten(value)
    return [leaf(x, verb, where if struct == tree.LEAF else f"{where}, leaf {i}") for i, x in enumerate(flat)], struct


def name_of(f):
    return getattr(f, "__name__", type(f).__name__)


#: Under what Numba says of a type it does not know.
NUMBA = "diffsim: a function compiled by Numba was given a traced value: wrap it in diffsim.kernel, with a rule for its derivative."


class Flat:
    """``f`` as a function of flat leaves: unflattens, runs it with NumPy rebound, flattens and stacks what it returns."""

    def __init__(self, f, args, argnums, kwargs, has_aux=False):
        self.f, self.args, self.argnums, self.kwargs, self.has_aux = f, args, argnums, kwargs, has_aux
        self.structs, self.out_struct, self.aux_struct, self.n_out = [], None, None, None

    def __call__(self, *leaves):
        leaves, args = list(leaves), [x if i in self.argnums else outside(x) for i, x in enumerate(self.args)]
        for i, struct in zip(self.argnums, self.structs, strict=True):
            n = count(struct)
            args[i] = tree.unflatten(struct, map(taken, leaves[:n]))
            del leaves[:n]
        try:
            out = rebound(self.f)(*args, **{k: outside(x) for k, x in self.kwargs.items()})
        except Exception as error:
            if type(error).__module__.startswith("numba."):
                error.add_note(NUMBA)
            raise
        aux = []
        if self.has_aux:
            if not (isinstance(out, tuple) and len(out) == 2):
                raise InputTypeError(f"has_aux: {name_of(self.f)} must return a pair (value, aux)")
            out, extra = out
            aux, self.aux_struct = tree.flatten(extra)
        flat, self.out_struct = tree.flatten(out)
        self.n_out = len(flat)
        return [array(x) for x in flat] + [stacked(x) if is_value(x) else x for x in aux]

    def parted(self, y):
        """The leaves of the value and those beside it, of what a call returned."""
        return y[:self.n_out], y[self.n_out:]

    def auxiliary(self, aux, given=()):
        """What the function returned beside its value, from its leaves."""
        return tree.unflatten(self.aux_struct, own_each(aux, given))


def array(x):
    """An output leaf as a tracer, array or NumPy scalar."""
    x = stacked(x)
    return x if isinstance(x, (Tracer, np.ndarray, np.generic)) else np.asarray(x)[()]


@functools.lru_cache(maxsize=1024)
def count(struct):
    if struct == tree.LEAF:
        return 1
    return sum(map(count, struct[2]))


def arguments(f, args, argnums, kwargs, verb, has_aux=False):
    """Flat function, flat leaves of the differentiated arguments, and those argument numbers."""
    if not callable(f):
        raise InputTypeError(f"{verb}: the first argument must be a function, not a {type(f).__name__}")
    numbers = _numbers(argnums, len(args), verb, f)
    flat = Flat(f, args, numbers, kwargs, has_aux)
    leaves = []
    for i in numbers:
        got, struct = leaves_of(args[i], verb, f"argument {i} of {name_of(f)}")
        leaves += got
        flat.structs.append(struct)
    return flat, leaves


def _numbers(argnums, n, verb, f):
    """Argument numbers as a tuple of ints counted from the front."""
    try:
        numbers = tuple(map(operator.index, argnums if isinstance(argnums, (tuple, list)) else (argnums,)))
    except TypeError:
        raise InputTypeError(f"{verb}: argnums is an int or a tuple of ints, not {argnums!r}") from None
    for i in numbers:
        if not -n <= i < n:
            raise InputError(f"{verb}: argnums={argnums}, but {name_of(f)} was called with {n} positional arguments")
    numbers = tuple(i % n for i in numbers)
    if len(set(numbers)) < len(numbers):
        raise InputError(f"{verb}: argnums={argnums} names an argument twice")
    return numbers


def zeros_like(x):
    return np.zeros(x.shape, x.dtype) if x.shape else x.dtype.type(0)


def plain(x):
    """A result as the caller's own: no view of a broadcast or of an input."""
    if x.__class__ is np.ndarray:
        if not x.shape:
            return x[()]
        return x if x.flags.owndata and x.flags.writeable else x.copy()
    return own_result(x)


def own_each(results, given=()):
    """Results as the caller's own, none sharing memory with another or with what was given."""
    seen, out = {id(x) for x in given}, []
    for x in results:
        x = plain(x)
        if x.__class__ is np.ndarray:
            if id(x) in seen:
                x = x.copy()
            seen.add(id(x))
        out.append(x)
    return out


def regroup(structs, argnums, flat):
    """Flat results as pytrees, one an argument; a tuple of them unless argnums was an int."""
    flat, out = list(flat), []
    for struct in structs:
        n = count(struct)
        out.append(tree.unflatten(struct, flat[:n]))
        del flat[:n]
    return tuple(out) if isinstance(argnums, (tuple, list)) else out[0]


def as_tuple(x, verb):
    """Primals or tangents, which must be a tuple or list."""
    if not isinstance(x, (tuple, list)):
        raise InputTypeError(f"{verb}: primals and tangents are tuples, one entry an argument; write (x,) for one argument")
    return tuple(x)


def directions(structs, x, tangents, verb):
    """Flat tangents of the arguments, in the dtypes of their primals."""
    if len(structs) != len(tangents):
        raise InputError(f"{verb}: {len(structs)} primals but {len(tangents)} tangents")
    out = []
    for i, (struct, t) in enumerate(zip(structs, tangents, strict=True)):
        got, t_struct = leaves_of(t, verb, f"tangent {i}")
        if t_struct != struct:
            raise InputError(f"{verb}: tangent {i} has another structure than its primal")
        out += got
    for p, t in zip(x, out, strict=True):
        fitting("tangent", "primal", t, p, verb)
    return [t if t.dtype == p.dtype else layout.convert(t, dtype=p.dtype) for p, t in zip(x, out, strict=True)]


def fitting(word, of, t, p, verb):
    """Check that a tangent fits its primal, or a cotangent its value.

    Raises
    ------
    InputError
        Shapes differ.
    InputTypeError
        It is complex beside a real number.
    """
    if tuple(t.shape) != tuple(p.shape):
        raise InputError(f"{verb}: a {word} of shape {tuple(t.shape)} for a {of} of shape {tuple(p.shape)}")
    if t.dtype.kind == "c" and p.dtype.kind != "c":
        raise InputTypeError(f"{verb}: a complex {word} for a {of} of dtype {p.dtype}; a real one is needed")


def holomorphic_only(x, y, verb, f):
    """Check that all arguments and values are complex, as ``holomorphic=True`` promises.

    Raises
    ------
    InputTypeError
    """
    for what, leaves in (("argument", x), ("value", y)):
        for v in leaves:
            if v.dtype.kind != "c":
                raise InputTypeError(f"{verb}: holomorphic=True is for complex functions of complex arguments, but {name_of(f)} has an "
                                     f"{what} of dtype {v.dtype}".replace("an value", "a value"))


def own(x):
    """Copies of arrays the caller may write to before the derivative is used."""
    return [v.copy(order="K") if v.__class__ is np.ndarray else v for v in x]


__all__ = ["Flat", "arguments", "array", "as_tuple", "count", "directions", "fitting", "holomorphic_only", "leaves_of", "name_of", "own",
           "own_each", "plain", "regroup", "zeros_like"]

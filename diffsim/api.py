"""The verbs: transforms of functions of pytrees.  The one file that knows transforms, passes and code generation together."""

import functools

import numpy as np

from . import tree
from .control.jit import Jitted
from .core import Tracer, aval_of
from .core.aval import is_float
from .errors import InputError, InputTypeError
from .numpy.array import Array, lent
from .numpy.rebind import rebound
from .numpy.stacking import is_value, stacked
from .passes import optimise
from .prims import layout
from .transforms import forward, pull, push, trace
from .transforms import linearize as _linearize

__all__ = ["grad", "hessian", "hvp", "jacobian", "jit", "jvp", "linearize", "make_graph", "stop_gradient", "value_and_grad", "vjp"]


# ---------------------------------------------------------------- arguments in, results out
def _leaf(x, verb, where):
    """A differentiable leaf as an array, NumPy scalar or tracer."""
    if type(x) is Array:
        x = x.read()
    if isinstance(x, Tracer):
        if not is_float(x.dtype):
            raise InputTypeError(f"{verb}: {where} is {x.aval}; derivatives are taken in floating-point numbers")
        return x
    if isinstance(x, float) and not isinstance(x, np.generic):
        return np.float64(x)
    if isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind == "f":
        return x
    if isinstance(x, np.ndarray) and x.dtype == object:
        return stacked(x)
    got = f"an array of dtype {x.dtype}" if isinstance(x, (np.ndarray, np.generic)) else f"a {type(x).__name__}"
    remedy = "pass it through an argument that is not differentiated"
    if isinstance(x, complex) or getattr(x, "dtype", None) == np.dtype(complex):
        remedy = "split it into real and imaginary parts"
    elif _is_integer(x):
        remedy = "write 1.0 instead of 1, or convert with float() or .astype(float)"
    raise InputTypeError(f"{verb}: {where} is {got}; derivatives are taken in floating-point numbers: {remedy}.")


def _is_integer(x):
    return isinstance(x, (int, np.integer)) or (isinstance(x, np.ndarray) and x.dtype.kind in "iub")


def _leaves(value, verb, where):
    flat, struct = tree.flatten(value)
    return [_leaf(x, verb, where if struct == tree.LEAF else f"{where}, leaf {i}") for i, x in enumerate(flat)], struct


def _name(f):
    return getattr(f, "__name__", type(f).__name__)


class _Flat:
    """``f`` as a function of flat leaves: unflattens, runs it with NumPy rebound, flattens and stacks what it returns."""

    def __init__(self, f, args, argnums, kwargs, has_aux=False):
        self.f, self.args, self.argnums, self.kwargs, self.has_aux = f, args, argnums, kwargs, has_aux
        self.structs, self.out_struct, self.aux_struct, self.n_out = [], None, None, None

    def __call__(self, *leaves):
        leaves, args = list(leaves), list(self.args)
        for i, struct in zip(self.argnums, self.structs, strict=True):
            n = _count(struct)
            args[i] = tree.unflatten(struct, map(lent, leaves[:n]))
            del leaves[:n]
        out = rebound(self.f)(*args, **self.kwargs)
        aux = []
        if self.has_aux:
            if not (isinstance(out, tuple) and len(out) == 2):
                raise InputTypeError(f"has_aux: {_name(self.f)} must return a pair (value, aux)")
            out, extra = out
            aux, self.aux_struct = tree.flatten(extra)
        flat, self.out_struct = tree.flatten(out)
        self.n_out = len(flat)
        return [_array(x) for x in flat] + [stacked(x) if is_value(x) else x for x in aux]


def _array(x):
    """An output leaf as a tracer, array or NumPy scalar."""
    x = stacked(x)
    return x if isinstance(x, (Tracer, np.ndarray, np.generic)) else np.asarray(x)[()]


@functools.lru_cache(maxsize=1024)
def _count(struct):
    if struct == tree.LEAF:
        return 1
    return sum(map(_count, struct[2]))


def _arguments(f, args, argnums, kwargs, verb, has_aux=False):
    """Flat function, flat leaves of the differentiated arguments, and those argument numbers."""
    if not callable(f):
        raise InputTypeError(f"{verb}: the first argument must be a function, not a {type(f).__name__}")
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for i in numbers:
        if not -len(args) <= i < len(args):
            raise InputError(f"{verb}: argnums={argnums}, but {_name(f)} was called with {len(args)} positional arguments")
    numbers = tuple(i % len(args) for i in numbers)
    flat = _Flat(f, args, numbers, kwargs, has_aux)
    leaves = []
    for i in numbers:
        got, struct = _leaves(args[i], verb, f"argument {i} of {_name(f)}")
        leaves += got
        flat.structs.append(struct)
    return flat, leaves


def _zeros_like(x):
    return np.zeros(x.shape, x.dtype) if x.shape else x.dtype.type(0)


def _plain(x):
    """A result as the caller's own: no view of a broadcast or of an input."""
    if x.__class__ is np.ndarray:
        if not x.shape:
            return x[()]
        return x if x.flags.owndata and x.flags.writeable else x.copy()
    return x


def _own_each(results, given=()):
    """Results as the caller's own, none sharing memory with another or with what was given."""
    seen, out = {id(x) for x in given}, []
    for x in results:
        x = _plain(x)
        if x.__class__ is np.ndarray:
            if id(x) in seen:
                x = x.copy()
            seen.add(id(x))
        out.append(x)
    return out


def _regroup(structs, numbers, argnums, flat):
    """Flat results as pytrees, one an argument; a tuple of them unless argnums was an int."""
    flat, out = list(flat), []
    for struct in structs:
        n = _count(struct)
        out.append(tree.unflatten(struct, flat[:n]))
        del flat[:n]
    return out[0] if isinstance(argnums, int) else tuple(out)


# ---------------------------------------------------------------- forward
def jvp(f, primals, tangents):
    """Value of ``f`` and its derivative along a direction.

    Parameters
    ----------
    f : callable
    primals, tangents : tuple of pytree
        Arguments of ``f`` and a direction of the same structure and shapes.

    Returns
    -------
    y, y_dot : pytree
        ``f(*primals)`` and J(primals) · tangents.

    Raises
    ------
    InputTypeError
        A primal is not floating point.
    InputError
        Structures or shapes differ.
    """
    primals, tangents = _tuple(primals, "jvp"), _tuple(tangents, "jvp")
    flat, x = _arguments(f, primals, tuple(range(len(primals))), {}, "jvp")
    x_dot = _directions(flat.structs, x, tangents, "jvp")
    y, y_dot = forward.jvp(flat, x, x_dot)
    y_dot = [_zeros_like(aval_of(v)) if t is None else t for v, t in zip(y, y_dot, strict=True)]
    out = _own_each([*y, *y_dot], [*x, *x_dot])
    return tree.unflatten(flat.out_struct, out[:len(y)]), tree.unflatten(flat.out_struct, out[len(y):])


def _tuple(x, verb):
    if not isinstance(x, (tuple, list)):
        raise InputTypeError(f"{verb}: primals and tangents are tuples, one entry an argument; write (x,) for one argument")
    return tuple(x)


def _directions(structs, x, tangents, verb):
    if len(structs) != len(tangents):
        raise InputError(f"{verb}: {len(structs)} primals but {len(tangents)} tangents")
    out = []
    for i, (struct, t) in enumerate(zip(structs, tangents, strict=True)):
        got, t_struct = _leaves(t, verb, f"tangent {i}")
        if t_struct != struct:
            raise InputError(f"{verb}: tangent {i} has another structure than its primal")
        out += got
    for p, t in zip(x, out, strict=True):
        if tuple(p.shape) != tuple(t.shape):
            raise InputError(f"{verb}: a tangent of shape {tuple(t.shape)} for a primal of shape {tuple(p.shape)}")
    return [t if t.dtype == p.dtype else layout.convert(t, dtype=p.dtype) for p, t in zip(x, out, strict=True)]


def linearize(f, *primals):
    """Value of ``f`` and its derivative as a function of the direction, computed once.

    Returns
    -------
    y : pytree
    f_jvp : callable
        ``f_jvp(*tangents) -> y_dot``, linear.
    """
    flat, x = _arguments(f, primals, tuple(range(len(primals))), {}, "linearize")
    y, equations, outputs = _linearize(flat, _own(x), [True] * len(x), "linearize")
    avals = [aval_of(v) for v in y]

    def f_jvp(*tangents):
        x_dot = _directions(flat.structs, x, tangents, "linearize")
        full = [_zeros_like(a) if t is None else t for a, t in zip(avals, push(equations, x_dot, outputs), strict=True)]
        return tree.unflatten(flat.out_struct, _own_each(full, x_dot))

    return tree.unflatten(flat.out_struct, _own_each(y, x)), f_jvp


def _own(x):
    """Copies of arrays the caller may write to before the derivative is used."""
    return [v.copy() if v.__class__ is np.ndarray else v for v in x]


# ---------------------------------------------------------------- reverse
def vjp(f, *primals):
    """Value of ``f`` and the function that pulls cotangents back.

    Returns
    -------
    y : pytree
    pullback : callable
        ``pullback(y_bar) -> tuple``: Jᵀ · y_bar, one entry a primal.
    """
    flat, x = _arguments(f, primals, tuple(range(len(primals))), {}, "vjp")
    y, equations, outputs = _linearize(flat, _own(x), [True] * len(x), "vjp")
    avals, x_avals = [aval_of(v) for v in y], [aval_of(v) for v in x]

    def pullback(y_bar):
        bars, struct = _leaves(y_bar, "vjp", "the cotangent")
        if struct != flat.out_struct:
            raise InputError("vjp: the cotangent has another structure than the value")
        for a, b in zip(avals, bars, strict=True):
            if tuple(b.shape) != a.shape:
                raise InputError(f"vjp: a cotangent of shape {tuple(b.shape)} for a value of shape {a.shape}")
        x_bar = pull(equations, bars, outputs, len(x))
        full = [_zeros_like(a) if b is None else b for a, b in zip(x_avals, x_bar, strict=True)]
        return _regroup(flat.structs, None, (), _own_each(full, bars))

    return tree.unflatten(flat.out_struct, _own_each(y, x)), pullback


def value_and_grad(f, argnums=0, has_aux=False):
    """Function that returns the value of a scalar function and its gradient.

    Parameters
    ----------
    f : callable
        Returns a real scalar (and, with ``has_aux``, anything beside it).
    argnums : int or tuple of int
        Arguments to differentiate in; each may be any pytree of floating-point arrays.
    has_aux : bool
        ``f`` returns ``(value, aux)``; so does the result: ``((value, aux), gradient)``.

    Raises
    ------
    InputTypeError
        An argument to differentiate in is not floating point.
    InputError
        ``f`` does not return a scalar.
    """
    @functools.wraps(f, updated=())
    def run(*args, **kwargs):
        flat, x = _arguments(f, args, argnums, kwargs, "grad", has_aux)
        y, equations, outputs = _linearize(flat, x, [True] * len(x), "grad")
        if flat.n_out != 1 or flat.out_struct != tree.LEAF or tuple(y[0].shape):
            got = f"a value of shape {tuple(y[0].shape)}" if flat.out_struct == tree.LEAF else "a container"
            got = "None (is a return missing?)" if flat.out_struct == tree.structure(None) else got
            raise InputError(f"grad: {_name(f)} returned {got}; the gradient needs a scalar. Sum it, or use jacobian.")
        value, aux = y[0], y[1:]
        dtype = aval_of(value).dtype
        if dtype.kind != "f":
            raise InputTypeError(f"grad: {_name(f)} returned a {dtype} scalar; the gradient needs a real floating-point value")
        bars = [None] * len(x) if outputs[0] is None else pull(equations, [dtype.type(1)], outputs[:1], len(x))
        full = [_zeros_like(aval_of(v)) if b is None else b for v, b in zip(x, bars, strict=True)]
        gradient = _regroup(flat.structs, None, argnums, _own_each(full))
        value = _plain(value)
        return ((value, tree.unflatten(flat.aux_struct, _own_each(aux, x))) if has_aux else value), gradient

    run.__wrapped__ = run.__diffsim_wraps__ = f
    return run


def grad(f, argnums=0, has_aux=False):
    """Function that returns the gradient of a scalar function; arguments as :func:`value_and_grad`.

    With ``has_aux`` it returns ``(gradient, aux)``.
    """
    both = value_and_grad(f, argnums, has_aux)

    @functools.wraps(f, updated=())
    def run(*args, **kwargs):
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    run.__wrapped__ = run.__diffsim_wraps__ = f
    return run


# ---------------------------------------------------------------- matrices
def jacobian(f, argnums=0):
    """Function that returns the Jacobian: for each output leaf, for each input leaf, an array of shape output + input.

    The function is linearised once; the list is then run forwards over the inputs or backwards over the outputs, whichever are fewer.
    """
    @functools.wraps(f, updated=())
    def run(*args, **kwargs):
        flat, x = _arguments(f, args, argnums, kwargs, "jacobian")
        y, equations, outputs = _linearize(flat, x, [True] * len(x), "jacobian")
        y_avals, x_avals = [aval_of(v) for v in y], [aval_of(v) for v in x]
        build = _by_rows if sum(a.size for a in y_avals) < sum(a.size for a in x_avals) else _by_columns
        blocks = build(equations, outputs, y_avals, x_avals)
        rows = [_regroup(flat.structs, None, argnums, row) for row in blocks]
        return tree.unflatten(flat.out_struct, rows)

    run.__wrapped__ = run.__diffsim_wraps__ = f
    return run


def _basis(aval, i):
    e = np.zeros(aval.size, aval.dtype)
    e[i] = 1
    return e.reshape(aval.shape)


def _stack(parts, shape, dtype):
    """Arrays joined along a new first axis, then given their shape."""
    if not parts:
        return np.zeros(shape, dtype)
    joined = layout.concatenate(*[layout.reshape(p, shape=(1, *tuple(p.shape))) for p in parts], axis=0)
    return _plain(layout.reshape(joined, shape=shape))


def _by_rows(equations, outputs, y_avals, x_avals):
    blocks = []
    for k, a in enumerate(y_avals):
        rows = []
        for i in range(a.size):
            bars = [None] * len(y_avals)
            bars[k] = _basis(a, i)
            got = pull(equations, bars, outputs, len(x_avals))
            rows.append([_zeros_like(v) if b is None else b for v, b in zip(x_avals, got, strict=True)])
        blocks.append([_stack([r[j] for r in rows], a.shape + v.shape, v.dtype) for j, v in enumerate(x_avals)])
    return blocks


def _by_columns(equations, outputs, y_avals, x_avals):
    blocks = [[] for _ in y_avals]
    for j, v in enumerate(x_avals):
        columns = []
        for i in range(v.size):
            t = [_basis(v, i) if m == j else _zeros_like(w) for m, w in enumerate(x_avals)]
            got = push(equations, t, outputs)
            columns.append([_zeros_like(a) if b is None else b for a, b in zip(y_avals, got, strict=True)])
        for k, a in enumerate(y_avals):
            block = _stack([c[k] for c in columns], v.shape + a.shape, a.dtype)
            n, m = len(v.shape), len(a.shape)
            blocks[k].append(_plain(layout.transpose(block, axes=(*range(n, n + m), *range(n)))))
    return blocks


def hessian(f, argnums=0):
    """Function that returns the matrix of second derivatives of a scalar function: the Jacobian of its gradient."""
    run = jacobian(grad(f, argnums), argnums)
    run.__wrapped__ = run.__diffsim_wraps__ = f
    return run


def hvp(f, primals, tangents):
    """Hessian-vector product of a scalar function, forward over reverse.

    Parameters
    ----------
    f : callable
    primals, tangents : tuple of pytree

    Returns
    -------
    pytree or tuple of pytree
        H(primals) · tangents, shaped like the primals (not in a tuple when there is one).
    """
    primals = _tuple(primals, "hvp")
    out = jvp(grad(f, tuple(range(len(primals)))), primals, tangents)[1]
    return out[0] if len(primals) == 1 else out


# ---------------------------------------------------------------- graphs
def make_graph(f, optimised=False):
    """Function that returns the graph of ``f`` at the shapes of its arguments.

    Parameters
    ----------
    f : callable
    optimised : bool
        Whether to run the graph passes.
    """
    @functools.wraps(f, updated=())
    def run(*args, **kwargs):
        flat = _Flat(f, args, tuple(range(len(args))), kwargs)
        leaves = []
        for a in args:
            got, struct = tree.flatten(a)
            leaves += [np.asarray(x) if not isinstance(x, Tracer) else x for x in got]
            flat.structs.append(struct)
        graph, _ = trace(flat, [aval_of(x) for x in leaves], lines=True)
        return optimise(graph) if optimised else graph

    run.__wrapped__ = run.__diffsim_wraps__ = f
    return run


def jit(f, static_argnums=()):
    """``f`` compiled: traced once for each structure and shape of its arguments, then run as machine code.

    Python ints, bools and strings among the arguments are static: another value compiles anew.  A program is used again only while what
    the function closed over (globals, cells, defaults, attributes) is unchanged.  What cannot be compiled runs as it is, with one warning.

    Parameters
    ----------
    f : callable
        Of pytrees of arrays; transforms and ``solve_ivp`` may appear inside, and ``f`` may itself be a transform's result.
    static_argnums : int or tuple of int
        Positional arguments to treat as constants (hashable).
    """
    return Jitted(f, static_argnums)


def stop_gradient(x):
    """The value of a pytree, its derivative zero."""
    return tree.map(lambda v: layout.stop_gradient(stacked(v)) if isinstance(stacked(v), Tracer) else v, x)



"""Whole matrices of derivatives: one linearisation, its list run for all unit vectors at once.

The list of linear equations (``transforms.linear``) is run forwards on the unit tangents, or backwards on the unit cotangents, as a batch:
one NumPy call an equation, not one an equation and vector.
"""

import functools

import numpy as np

from .. import tree
from ..core import aval_of
from ..core.aval import is_float
from ..errors import InputError, InputTypeError
from ..prims import layout
from ..transforms import batch, pull, push, repaired
from ..transforms import linearize as _linearize
from .arguments import arguments, holomorphic_only, name_of, own, plain, regroup
from .derivatives import gradient_for

#: Unless told otherwise, as many unit vectors are taken at a time as keep the list's largest value for all of them in a core's cache, but
#: not fewer than 32: below that the calls cost more than the numbers (a Laplacian of 400: 3.4 ms with 128 at a time, 5.9 ms with all, 10 ms
#: with 8).
CACHE_BYTES, FEWEST = 1 << 19, 32
#: All values of the list together stay below this, whatever that means for their number.
BATCH_BYTES = 1 << 28


def jacfwd(f, argnums=0, has_aux=False, holomorphic=False, chunk_size=None):
    """Function that returns the Jacobian, computed forwards: its cost grows with the number of inputs.

    Parameters
    ----------
    f : callable
        Of pytrees, returning a pytree of floating-point arrays (and, with ``has_aux``, anything beside it).
    argnums : int or tuple of int
        Arguments to differentiate in; negative ones count from the end.
    has_aux : bool
        ``f`` returns ``(value, aux)``; the result is then ``(jacobian, aux)``.
    holomorphic : bool
        ``f`` is a holomorphic function, complex of complex arguments; the Jacobian holds its complex derivatives.
    chunk_size : int, optional
        How many columns are computed at a time: fewer take less memory.

    Returns
    -------
    callable
        Of the arguments of ``f``.  For each leaf of the value, in its containers, it returns the argument's containers (a tuple of them
        unless ``argnums`` is an int) with arrays of shape value leaf + argument leaf.

    Raises
    ------
    InputTypeError
        An argument to differentiate in, or a leaf of the value, is not floating point; arguments are complex without ``holomorphic``.
    InputError
        ``argnums`` or ``chunk_size`` is out of range.
    """
    return _matrix(f, argnums, has_aux, holomorphic, chunk_size, "jacfwd")


def jacrev(f, argnums=0, has_aux=False, holomorphic=False, chunk_size=None):
    """Function that returns the Jacobian, computed backwards: its cost grows with the number of outputs.

    Arguments and result as :func:`jacfwd`; ``chunk_size`` counts rows.  Without ``holomorphic`` the value must be real; arguments may be
    complex, and rows are then gradients as of :func:`grad`.
    """
    return _matrix(f, argnums, has_aux, holomorphic, chunk_size, "jacrev")


def jacobian(f, argnums=0, has_aux=False, holomorphic=False, chunk_size=None):
    """Function that returns the Jacobian, forwards or backwards, whichever costs less.

    Where the function solves differential equations the operations of both ways are counted, of the same program always alike; elsewhere
    it is the way of fewer unit vectors. :func:`jacfwd` and :func:`jacrev` say the way. Arguments and result as :func:`jacfwd`.  Without
    ``holomorphic`` arguments or values may be complex, but not both.
    """
    return _matrix(f, argnums, has_aux, holomorphic, chunk_size, "jacobian")


def hessian(f, argnums=0, has_aux=False, holomorphic=False, chunk_size=None):
    """Function that returns the matrix of second derivatives of a scalar function: the forward Jacobian of its gradient.

    Arguments as :func:`jacfwd`; for each leaf of the argument the result holds the argument's containers with arrays of shape
    leaf + leaf.
    """
    run = _matrix(gradient_for("hessian", f, argnums, has_aux, holomorphic), argnums, has_aux, holomorphic, chunk_size, "hessian")
    run.__wrapped__ = run.__diffsim_wraps__ = f
    return run


def _matrix(f, argnums, has_aux, holomorphic, chunk_size, verb):
    if chunk_size is not None and (not isinstance(chunk_size, (int, np.integer)) or isinstance(chunk_size, bool) or chunk_size < 1):
        raise InputError(f"{verb}: chunk_size must be a positive number of unit vectors, not {chunk_size!r}")

    @functools.wraps(f, updated=())
    def run(*args, **kwargs):
        flat, x = arguments(f, args, argnums, kwargs, verb, has_aux)
        y, equations, outputs = _linearize(flat, own(x), [True] * len(x), verb)
        y, aux = flat.parted(y)
        if holomorphic:
            holomorphic_only(x, y, verb, f)
        x_avals, y_avals = [aval_of(v) for v in x], [aval_of(v) for v in y]
        forwards = _forwards(equations, x_avals, y_avals, holomorphic, verb, f)
        size = _at_once(equations, _total(x_avals if forwards else y_avals)) if chunk_size is None else int(chunk_size)
        blocks = (_by_columns if forwards else _by_rows)(equations, outputs[:len(y)], y_avals, x_avals, size, verb)
        matrix = tree.unflatten(flat.out_struct, [regroup(flat.structs, argnums, row) for row in blocks])
        return (matrix, flat.auxiliary(aux, x)) if has_aux else matrix

    run.__wrapped__ = run.__diffsim_wraps__ = f
    return run


def _forwards(equations, x_avals, y_avals, holomorphic, verb, f):
    """Whether to run the list forwards: as the verb says, or where it leaves the choice, if that is cheaper and has a meaning."""
    for a in y_avals:
        if not is_float(a.dtype):
            raise InputTypeError(f"{verb}: {name_of(f)} returned {a}, which has no derivative; return floating-point arrays, and anything "
                                 f"else beside them with has_aux=True")
    forwards = verb in ("jacfwd", "hessian")
    if verb == "jacobian":
        forwards = _cheaper_forwards(equations, _total(x_avals), _total(y_avals))
    if holomorphic:
        return forwards
    of_complex, complex_valued = (any(a.dtype.kind == "c" for a in avals) for avals in (x_avals, y_avals))
    if verb == "jacobian" and of_complex is not complex_valued:
        return complex_valued
    if of_complex if forwards else complex_valued:
        raise InputTypeError(f"{verb}: {name_of(f)} has a complex {'argument' if forwards else 'value'}: say holomorphic=True if it is "
                             f"holomorphic; otherwise use {'jacrev of a real value' if forwards else 'jacfwd of real arguments'}, or "
                             f"differentiate in real and imaginary parts")
    return forwards


def _cheaper_forwards(equations, n, m):
    """Whether a list of n inputs and m outputs costs less forwards: by what its dear equations cost, by n and m where there are none."""
    dear = [e for e in equations.eqns if e[1] is not None and e[1].effort is not None]
    if not dear:
        return n <= m
    once, each, back = map(sum, zip(*[prim.effort(args, params) for _, prim, args, params in dear], strict=True))
    return once + n * each <= m * back


def _total(avals):
    return sum(a.size for a in avals)


def _at_once(equations, n):
    """How many of ``n`` unit vectors to take at a time."""
    sizes = [a.size * a.dtype.itemsize for a in equations.avals]
    wanted = max(FEWEST, CACHE_BYTES // max([1, *sizes]))
    return max(1, min(n, wanted, BATCH_BYTES // max(1, sum(sizes))))


def _unit(avals, start, stop):
    """Rows ``start`` to ``stop`` of the identity matrix, as (values, whether they have a batch axis) of each leaf."""
    values, batched, low = [], [], 0
    for a in avals:
        first, last = max(start, low), min(stop, low + a.size)
        if first < last:
            e = np.zeros((stop - start, a.size), a.dtype)
            rows = np.arange(first, last)
            e[rows - start, rows - low] = 1
            values.append(e.reshape(stop - start, *a.shape))
        else:
            values.append(np.zeros(a.shape, a.dtype))
        batched.append(first < last)
        low += a.size
    return values, batched


def _images(run, sources, targets, size, verb):
    """Images of the unit vectors of the sources: for each target an array of shape (number of unit vectors, *target).

    ``run`` is a linear function from a list of values shaped like the sources to one shaped like the targets, None for zero.
    """
    n, parts = _total(sources), [[] for _ in targets]
    for start in range(0, n, size):
        stop = min(start + size, n)
        got, batched = _repaired(run, stop - start, _unit(sources, start, stop), verb)
        for part, v, on, a in zip(parts, got, batched, targets, strict=True):
            shape = (stop - start, *a.shape)
            part.append(np.zeros(shape, a.dtype) if v is None else v if on else layout.broadcast_to(v, shape=shape))
    joined = [np.zeros((0, *a.shape), a.dtype) if not p else p[0] if len(p) == 1 else layout.concatenate(*p, axis=0)
              for p, a in zip(parts, targets, strict=True)]
    return joined


def _repaired(run, n, unit, verb):
    """Images of unit vectors.  Where they are not finite the zeros of the unit vectors are taken to stay zeros: infinite derivatives then
    stand in their own entries alone, forwards and backwards.
    """
    flags = []

    def once():
        values, on = batch(run, n, *unit, verb)
        flags[:] = on
        return values
    return repaired(once, once(), (), lambda: "a derivative of the function is infinite"), flags


def _rows_of(image, avals):
    """An image cut into the blocks of the source leaves, each of shape source + target."""
    low, out = 0, []
    for a in avals:
        at = layout.basic(image.shape, (slice(low, low + a.size), *[slice(None)] * (len(image.shape) - 1)))
        block = image if len(avals) == 1 else layout.index(image, at=at)
        out.append(layout.reshape(block, shape=(*a.shape, *image.shape[1:])))
        low += a.size
    return out


def _by_rows(equations, outputs, y_avals, x_avals, size, verb):
    def run(*bars):
        return pull(equations, bars, outputs, len(x_avals))

    columns = [_rows_of(image, y_avals) for image in _images(run, y_avals, x_avals, size, verb)]
    return [[plain(c[k]) for c in columns] for k in range(len(y_avals))]


def _by_columns(equations, outputs, y_avals, x_avals, size, verb):
    def run(*dots):
        return push(equations, dots, outputs)

    blocks = []
    for image, a in zip(_images(run, x_avals, y_avals, size, verb), y_avals, strict=True):
        m, row = len(a.shape), []
        for block in _rows_of(image, x_avals):
            n = len(block.shape) - m
            row.append(plain(layout.transpose(block, axes=(*range(n, n + m), *range(n)))))
        blocks.append(row)
    return blocks


__all__ = ["hessian", "jacfwd", "jacobian", "jacrev"]

"""Derivatives of functions of pytrees: along a direction, of a scalar, and their reuse."""

import functools

from .. import tree
from ..core import aval_of
from ..core.aval import is_float
from ..errors import InputError, InputTypeError
from ..prims.layout import like
from ..transforms import forward, pull, push
from ..transforms import linearize as _linearize
from .arguments import arguments, as_tuple, directions, fitting, leaves_of, name_of, own, own_each, plain, regroup, zeros_like


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
    primals, tangents = as_tuple(primals, "jvp"), as_tuple(tangents, "jvp")
    flat, x = arguments(f, primals, tuple(range(len(primals))), {}, "jvp")
    x_dot = directions(flat.structs, x, tangents, "jvp")
    y, y_dot = forward.jvp(flat, x, x_dot)
    y_dot = [zeros_like(aval_of(v)) if t is None else t for v, t in zip(y, y_dot, strict=True)]
    out = own_each([*y, *y_dot], [*x, *x_dot])
    return tree.unflatten(flat.out_struct, out[:len(y)]), tree.unflatten(flat.out_struct, out[len(y):])


def linearize(f, *primals):
    """Value of ``f`` and its derivative as a function of the direction, computed once.

    Returns
    -------
    y : pytree
    f_jvp : callable
        ``f_jvp(*tangents) -> y_dot``, linear.
    """
    flat, x = arguments(f, primals, tuple(range(len(primals))), {}, "linearize")
    y, equations, outputs = _linearize(flat, own(x), [True] * len(x), "linearize")
    avals = [aval_of(v) for v in y]

    def f_jvp(*tangents):
        x_dot = directions(flat.structs, x, tangents, "linearize")
        full = [zeros_like(a) if t is None else t for a, t in zip(avals, push(equations, x_dot, outputs), strict=True)]
        return tree.unflatten(flat.out_struct, own_each(full, x_dot))

    return tree.unflatten(flat.out_struct, own_each(y, x)), f_jvp


# ---------------------------------------------------------------- reverse
def vjp(f, *primals):
    """Value of ``f`` and the function that pulls cotangents back.

    Returns
    -------
    y : pytree
    pullback : callable
        ``pullback(y_bar) -> tuple``: Jᵀ · y_bar, one entry a primal.
    """
    flat, x = arguments(f, primals, tuple(range(len(primals))), {}, "vjp")
    y, equations, outputs = _linearize(flat, own(x), [True] * len(x), "vjp")
    avals, x_avals = [aval_of(v) for v in y], [aval_of(v) for v in x]

    def pullback(y_bar):
        bars, struct = leaves_of(y_bar, "vjp", "the cotangent")
        if struct != flat.out_struct:
            raise InputError("vjp: the cotangent has another structure than the value")
        for a, b in zip(avals, bars, strict=True):
            fitting("cotangent", "value", b, a, "vjp")
        bars = [like(b, a) if is_float(a.dtype) else b for a, b in zip(avals, bars, strict=True)]
        x_bar = pull(equations, bars, outputs, len(x))
        full = [zeros_like(a) if b is None else b for a, b in zip(x_avals, x_bar, strict=True)]
        return regroup(flat.structs, (), own_each(full, bars))

    return tree.unflatten(flat.out_struct, own_each(y, x)), pullback


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
        flat, x = arguments(f, args, argnums, kwargs, "grad", has_aux)
        y, equations, outputs = _linearize(flat, own(x), [True] * len(x), "grad")
        if flat.n_out != 1 or flat.out_struct != tree.LEAF or tuple(y[0].shape):
            got = f"a value of shape {tuple(y[0].shape)}" if flat.out_struct == tree.LEAF else "a container"
            got = "None (is a return missing?)" if flat.out_struct == tree.structure(None) else got
            raise InputError(f"grad: {name_of(f)} returned {got}; the gradient needs a scalar. Sum it, or use jacobian.")
        value, aux = y[0], y[1:]
        dtype = aval_of(value).dtype
        if dtype.kind != "f":
            raise InputTypeError(f"grad: {name_of(f)} returned a {dtype} scalar; the gradient needs a real floating-point value"
                                 + (": take np.real(...) or np.abs(...) of it" if dtype.kind == "c" else ""))
        bars = [None] * len(x) if outputs[0] is None else pull(equations, [dtype.type(1)], outputs[:1], len(x))
        full = [zeros_like(aval_of(v)) if b is None else b for v, b in zip(x, bars, strict=True)]
        gradient = regroup(flat.structs, argnums, own_each(full))
        value = plain(value)
        return ((value, tree.unflatten(flat.aux_struct, own_each(aux, x))) if has_aux else value), gradient

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


# ---------------------------------------------------------------- second order
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
    primals = as_tuple(primals, "hvp")
    out = jvp(grad(f, tuple(range(len(primals)))), primals, tangents)[1]
    return out[0] if len(primals) == 1 else out


__all__ = ["grad", "hvp", "jvp", "linearize", "value_and_grad", "vjp"]

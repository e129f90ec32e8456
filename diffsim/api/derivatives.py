"""Derivatives of functions of pytrees: along a direction, of a scalar, and their reuse."""

import functools

import numpy as np

from .. import tree
from ..core import aval_of
from ..core.aval import is_float
from ..errors import ConcretizationError, InputError, InputTypeError
from ..numpy.indexing import concrete
from ..prims.layout import like
from ..transforms import forward, linearize_once, pull, push
from ..transforms import linearize as _linearize
from .arguments import (
    arguments,
    as_tuple,
    directions,
    fitting,
    holomorphic_only,
    leaves_of,
    name_of,
    own,
    own_each,
    plain,
    regroup,
    zeros_like,
)


# ---------------------------------------------------------------- forward
def jvp(f, primals, tangents, has_aux=False):
    """Value of ``f`` and its derivative along a direction.

    Parameters
    ----------
    f : callable
    primals, tangents : tuple of pytree
        Arguments of ``f`` and a direction of the same structure and shapes.
    has_aux : bool
        ``f`` returns ``(value, aux)``, and the result has ``aux`` as a third entry.

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
    return _pushed(f, primals, tangents, has_aux, "jvp")


def _pushed(f, primals, tangents, has_aux, verb):
    """:func:`jvp`, for a verb that errors name."""
    flat, x = arguments(f, primals, tuple(range(len(primals))), {}, verb, has_aux)
    x_dot = directions(flat.structs, x, tangents, verb)
    y, y_dot = forward.jvp(flat, x, x_dot, verb)
    y, aux = flat.parted(y)
    y_dot = [zeros_like(aval_of(v)) if t is None else t for v, t in zip(y, flat.parted(y_dot)[0], strict=True)]
    out = own_each([*y, *y_dot], [*x, *x_dot])
    both = tree.unflatten(flat.out_struct, out[:len(y)]), tree.unflatten(flat.out_struct, out[len(y):])
    return (*both, flat.auxiliary(aux, x)) if has_aux else both


class _Linearised:
    """A function at a point: its value, and the list of linear equations of its derivative there."""

    def __init__(self, f, primals, verb, has_aux=False):
        self.verb = verb
        self.flat, self.x = arguments(f, primals, tuple(range(len(primals))), {}, verb, has_aux)
        y, self.equations, outputs = _linearize(self.flat, own(self.x), [True] * len(self.x), verb, lasting=True)
        self.y, self.aux = self.flat.parted(y)
        self.outputs = outputs[:len(self.y)]
        self.x_avals, self.y_avals = [aval_of(v) for v in self.x], [aval_of(v) for v in self.y]

    def value(self):
        return tree.unflatten(self.flat.out_struct, own_each(self.y, self.x))

    def auxiliary(self):
        return self.flat.auxiliary(self.aux, self.x)

    def push(self, *tangents):
        """J · tangents."""
        x_dot = directions(self.flat.structs, self.x, tangents, self.verb)
        y_dot = push(self.equations, x_dot, self.outputs)
        full = [zeros_like(a) if t is None else t for a, t in zip(self.y_avals, y_dot, strict=True)]
        return tree.unflatten(self.flat.out_struct, own_each(full, x_dot))

    def pull(self, y_bar):
        """Jᵀ · y_bar, one entry an argument."""
        bars, struct = leaves_of(y_bar, self.verb, "the cotangent")
        if struct != self.flat.out_struct:
            raise InputError(f"{self.verb}: the cotangent has another structure than the value")
        for a, b in zip(self.y_avals, bars, strict=True):
            fitting("cotangent", "value", b, a, self.verb)
        bars = [like(b, a) if is_float(a.dtype) else b for a, b in zip(self.y_avals, bars, strict=True)]
        x_bar = pull(self.equations, bars, self.outputs, len(self.x))
        full = [zeros_like(a) if b is None else b for a, b in zip(self.x_avals, x_bar, strict=True)]
        return regroup(self.flat.structs, (), own_each(full, bars))


def linearize(f, *primals, has_aux=False):
    """Value of ``f`` and its derivative as a function of the direction, computed once.

    Parameters
    ----------
    f : callable
    *primals : pytree
    has_aux : bool
        ``f`` returns ``(value, aux)``, and the result has ``aux`` as a third entry.

    Returns
    -------
    y : pytree
    f_jvp : callable
        ``f_jvp(*tangents) -> y_dot``, linear; to be called as often as wanted, also inside vmap, jit and derivatives.
    """
    at = _Linearised(f, primals, "linearize", has_aux)

    def f_jvp(*tangents):
        return at.push(*tangents)

    return (at.value(), f_jvp, at.auxiliary()) if has_aux else (at.value(), f_jvp)


# ---------------------------------------------------------------- reverse
def vjp(f, *primals, has_aux=False):
    """Value of ``f`` and the function that pulls cotangents back.

    Parameters
    ----------
    f : callable
    *primals : pytree
    has_aux : bool
        ``f`` returns ``(value, aux)``, and the result has ``aux`` as a third entry.

    Returns
    -------
    y : pytree
    pullback : callable
        ``pullback(y_bar) -> tuple``: Jᵀ · y_bar, one entry a primal; to be called as often as wanted.
    """
    at = _Linearised(f, primals, "vjp", has_aux)

    def pullback(y_bar):
        return at.pull(y_bar)

    return (at.value(), pullback, at.auxiliary()) if has_aux else (at.value(), pullback)


def linear_transpose(f, *primals):
    """Transpose of a linear function: ``<y_bar, f(x)> = <transpose(y_bar), x>`` for all x.

    Parameters
    ----------
    f : callable
        Linear in all its arguments together.
    *primals : pytree
        What ``f`` takes; of each leaf only shape and dtype are read.

    Returns
    -------
    transpose : callable
        ``transpose(y_bar) -> tuple``, one entry an argument.  Complex numbers are paired without conjugation.

    Raises
    ------
    InputError
        ``f`` is not linear: checked at zero and at one random point.
    """
    zero = tuple(tree.map(lambda a: np.zeros(np.shape(a), getattr(a, "dtype", type(a))), x) for x in primals)
    at = _Linearised(f, zero, "linear_transpose")
    rng = np.random.default_rng(0)
    point = [np.asarray(rng.uniform(-1, 1, a.shape) * (1 + 0.7j if a.dtype.kind == "c" else 1)).astype(a.dtype) for a in at.x_avals]
    there = at.flat.parted(at.flat(*point))[0]
    for a, start, y, t in zip(at.y_avals, at.y, there, push(at.equations, point, at.outputs), strict=True):
        try:
            start, y, t = (concrete(v, "a check") for v in (start, y, zeros_like(a) if t is None else t))
        except ConcretizationError:                       # what the function closes over has no number yet
            continue
        slack = np.sqrt(np.finfo(a.dtype).eps) * (1 + np.max(np.abs(y), initial=0)) if is_float(a.dtype) else -1
        if np.any(start != 0) or not np.all(np.abs(y - t) <= slack):
            raise InputError(f"linear_transpose: {name_of(f)} is not linear: " + (
                "it is not zero at zero" if np.any(start != 0) else "it differs from its derivative times its argument"))

    def transpose(y_bar):
        return at.pull(y_bar)

    return transpose


def value_and_grad(f, argnums=0, has_aux=False, holomorphic=False):
    """Function that returns the value of a scalar function and its gradient.

    Parameters
    ----------
    f : callable
        Returns a real scalar (and, with ``has_aux``, anything beside it).
    argnums : int or tuple of int
        Arguments to differentiate in, negative ones counted from the end; each may be any pytree of floating-point arrays.  In a complex
        argument the gradient g is the one of f(z + dz) = f(z) + Re(sum(g dz)); descent goes along -conj(g).
    has_aux : bool
        ``f`` returns ``(value, aux)``; so does the result: ``((value, aux), gradient)``.
    holomorphic : bool
        ``f`` is a holomorphic function, complex of complex arguments; the gradient is its complex derivative.

    Raises
    ------
    InputTypeError
        An argument to differentiate in is not floating point; the value is complex without ``holomorphic``, or real with it.
    InputError
        ``f`` does not return a scalar.
    """
    return _value_and_grad(f, argnums, has_aux, holomorphic, "value_and_grad")


def _value_and_grad(f, argnums, has_aux, holomorphic, verb):
    @functools.wraps(f, updated=())
    def run(*args, **kwargs):
        flat, x = arguments(f, args, argnums, kwargs, verb, has_aux)
        y, equations, outputs = linearize_once(flat, own(x), [True] * len(x), verb)
        value, aux = flat.parted(y)
        dtype = _scalar_dtype(f, flat, value, verb)
        if holomorphic:
            holomorphic_only(x, value, verb, f)
        elif dtype.kind != "f":
            raise InputTypeError(f"{verb}: {name_of(f)} returned a {dtype} scalar; the gradient needs a real floating-point value"
                                 + (": take np.real(...) or np.abs(...) of it, or say holomorphic=True" if dtype.kind == "c" else ""))
        bars = [None] * len(x) if outputs[0] is None else pull(equations, [dtype.type(1)], outputs[:1], len(x), consume=True)
        full = [zeros_like(aval_of(v)) if b is None else b for v, b in zip(x, bars, strict=True)]
        gradient, value = regroup(flat.structs, argnums, own_each(full)), plain(value[0])
        return ((value, flat.auxiliary(aux, x)) if has_aux else value), gradient

    run.__wrapped__ = run.__diffsim_wraps__ = f
    return run


def _scalar_dtype(f, flat, value, verb):
    """Dtype of a value, checked to be a scalar."""
    if flat.out_struct == tree.LEAF and not tuple(value[0].shape):
        return aval_of(value[0]).dtype
    got = f"a value of shape {tuple(value[0].shape)}" if flat.out_struct == tree.LEAF else "a container"
    got = "None (is a return missing?)" if flat.out_struct == tree.structure(None) else got
    raise InputError(f"{verb}: {name_of(f)} returned {got}; the gradient needs a scalar. Sum it, or use jacobian.")


def grad(f, argnums=0, has_aux=False, holomorphic=False):
    """Function that returns the gradient of a scalar function; arguments as :func:`value_and_grad`.

    With ``has_aux`` it returns ``(gradient, aux)``.
    """
    return gradient_for("grad", f, argnums, has_aux, holomorphic)


def gradient_for(verb, f, argnums=0, has_aux=False, holomorphic=False):
    """:func:`grad` as part of another verb, which errors then name."""
    both = _value_and_grad(f, argnums, has_aux, holomorphic, verb)

    @functools.wraps(f, updated=())
    def run(*args, **kwargs):
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    run.__wrapped__ = run.__diffsim_wraps__ = f
    return run


# ---------------------------------------------------------------- products with second derivatives
def _alone(out, n):
    """The entry of a tuple of one; a longer tuple as it is."""
    return out[0] if n == 1 else out


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
    return _hvp(f, primals, tangents, "hvp")


def _hvp(f, primals, tangents, verb):
    primals, tangents = as_tuple(primals, verb), as_tuple(tangents, verb)
    gradient = gradient_for(verb, f, tuple(range(len(primals))))
    return _alone(_pushed(gradient, primals, tangents, False, verb)[1], len(primals))


def gnvp(f, primals, tangents, loss=None):
    """Gauss-Newton-vector product of ``loss(f(...))``: Jᵀ H J · tangents, J of ``f`` and H the Hessian of the loss.

    It is the Hessian's product without the part that holds second derivatives of ``f``: never indefinite for a convex loss, and equal to
    the Hessian's where the loss is stationary.

    Parameters
    ----------
    f : callable
        Returns a pytree of floating-point arrays: a prediction, or residuals.
    primals, tangents : tuple of pytree
    loss : callable, optional
        A scalar function of what ``f`` returns.  Default: half the sum of squares, whose Hessian is the identity.

    Returns
    -------
    pytree or tuple of pytree
        Shaped like the primals (not in a tuple when there is one).

    Notes
    -----
    One evaluation of ``f``.  Source: Schraudolph, Neural Computation 14 (2002) 1723-1738.
    """
    primals, tangents = as_tuple(primals, "gnvp"), as_tuple(tangents, "gnvp")
    at = _Linearised(f, primals, "gnvp")
    pushed = at.push(*tangents)
    return _alone(at.pull(pushed if loss is None else _hvp(loss, (at.value(),), (pushed,), "gnvp")), len(primals))


__all__ = ["gnvp", "grad", "gradient_for", "hvp", "jvp", "linear_transpose", "linearize", "value_and_grad", "vjp"]

"""Black boxes in differentiable programs: Python functions diffsim calls without looking inside."""

import functools
import weakref

import numpy as np

from .. import tree
from ..control.callback import ROUNDING, External, external
from ..control.jit import described
from ..control.kernel import KernelExternal, handed
from ..control.kernel import kernel as kernel_carriers
from ..control.numba_source import Code
from ..control.places import Place, spread
from ..core import Aval, Tracer, aval_of
from ..core.aval import is_float
from ..errors import InputError, InputTypeError


class ShapeDtype:
    """Shape and dtype of an array that is not there yet.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype, optional
        float64 if left out.
    """

    __slots__ = ("dtype", "shape")

    def __init__(self, shape, dtype=float):
        self.shape, self.dtype = (shape,) if isinstance(shape, int) else tuple(shape), np.dtype(dtype)

    def __repr__(self):
        return f"ShapeDtype({self.shape}, {self.dtype})"


def declared(result, verb):
    """Avals of a declared result, and its structure."""
    leaves, struct = tree.flatten(result)
    avals = []
    for x in leaves:
        x = np.asarray(x) if isinstance(x, (int, float, complex)) else x
        if not (hasattr(x, "shape") and hasattr(x, "dtype")):
            raise InputTypeError(f"{verb}: the result is declared by things with a shape and a dtype (ds.ShapeDtype((3,)), or an array "
                                 f"like it), not by a {type(x).__name__}")
        avals.append(Aval(tuple(x.shape), np.dtype(x.dtype)))
    return tuple(avals), struct


def callback(f, result_shape_dtypes, *args, jvp=None, vjp=None, differences=None, vectorized=False):
    """Call any Python function from a differentiated, batched or traced program: a SciPy routine, a C library, another simulator.

    Parameters
    ----------
    f : callable
        ``f(*args)`` on plain arrays; the same result for the same arguments.
    result_shape_dtypes : pytree
        Like the result, with things that have ``shape`` and ``dtype`` at the leaves: ``ds.ShapeDtype((3,))``, or arrays.
    *args : pytree
    jvp : callable, optional
        ``jvp(primals, tangents) -> y_dot``, on plain arrays.  Tangents are None beside what is not floating point.
    vjp : callable, optional
        ``vjp(primals, y_bar) -> tuple``: the cotangent of each argument, None for zero.
    differences : bool or float, optional
        Without either rule derivatives are central differences, announced by a warning: True says that they are wanted, a float is their
        relative step, False refuses them.
    vectorized : bool
        ``f`` and its rules may be given arrays with one more leading axis, of members of a batch (``vmap``).

    Returns
    -------
    pytree
        What ``f`` returns.

    Raises
    ------
    InputError
        ``f`` or a rule returns another shape or dtype than was declared.
    MissingRule
        A derivative is asked for without rules and with ``differences=False``.

    Notes
    -----
    One rule serves both modes: the other is computed from it, one basis vector after another.  The rules are black boxes like ``f``:
    derivatives of second order are differences of them.  For exact ones put the callback into a function with rules
    (:func:`custom_jvp`) written in NumPy and callbacks.

    Examples
    --------
    >>> from scipy.special import j0, j1
    >>> bessel = lambda x: ds.callback(j0, x, x, vjp=lambda primals, y_bar: (-j1(primals[0]) * y_bar,))
    >>> float(ds.grad(bessel)(1.0)) == -j1(1.0)
    True
    """
    if not callable(f):
        raise InputTypeError(f"callback: the first argument must be a function, not a {type(f).__name__}")
    avals, struct = declared(result_shape_dtypes, "callback")
    place, leaves = Place.of(args)
    box = _Box(f, jvp, vjp, place, avals, struct)
    fn = External(f"the callback {described(f)}", box.run, lambda *x: avals, push=jvp and box.push, pull=vjp and box.pull,
                  differences=differences, vectorized=vectorized)
    fn = _met((f, jvp, vjp), (place.key, tuple(avals), struct, differences, vectorized), fn)
    return tree.unflatten(struct, external.value(*leaves, fn=fn))


_functions, _externals = weakref.WeakSet(), weakref.WeakValueDictionary()


def _met(functions, rest, fn):
    """The external function made before of the same Python functions in the same way, else this one.

    Programs are compiled for functions that come back; one that is defined anew in every call of a program does not.
    """
    try:
        fn = _externals.setdefault((functions, rest), fn)
        fn.lasting = all(f is None or f in _functions for f in functions)
        _functions.update(f for f in functions if f is not None)
    except TypeError:                                       # it cannot be hashed, or be referred to weakly
        fn.lasting = False
    return fn


class _Box:
    """A function of pytrees and its rules as functions of lists of arrays."""

    def __init__(self, f, jvp, vjp, place, avals, struct):
        self.f, self.jvp, self.vjp, self.place, self.avals, self.struct = f, jvp, vjp, place, avals, struct

    def _spread(self, struct, x, f):
        def fail(reason):
            raise InputError(f"{described(f)} returned another structure than was declared: {reason}")
        return spread(struct, x, fail)

    def primals(self, x):
        """Arguments as the user sees them; copies, which it may write to."""
        return self.place.build([np.array(a)[()] for a in x])

    def run(self, *x):
        return self._spread(self.struct, self.f(*self.primals(x)), self.f)

    def push(self, x, x_dot):
        tangents = self.place.beside([t if is_float(a.dtype) else None for a, t in zip(x, x_dot, strict=True)])
        return self._spread(self.struct, self.jvp(self.primals(x), tangents), self.jvp)

    def pull(self, x, y_bar):
        bars = self.vjp(self.primals(x), tree.unflatten(self.struct, y_bar))
        bars = bars if isinstance(bars, (tuple, list)) else (bars,)
        return [leaf for leaf, on in zip(self._spread(self.place.struct, bars, self.vjp), self.place.on, strict=True) if on]


class Kernel:
    """A Numba function as part of differentiable programs: what :func:`kernel` returns."""

    def __init__(self, f, jvp, vjp, out, differences):
        functools.update_wrapper(self, f, updated=())
        self.__wrapped__ = self.__diffsim_wraps__ = f
        self._f, self._jvp, self._vjp, self._out, self._differences = f, jvp, vjp, out, differences
        self._made = {}

    def __repr__(self):
        return f"<kernel {getattr(self._f, '__name__', self._f)}>"

    def __call__(self, *args):
        place, leaves = Place.of(args)
        if not any(isinstance(x, Tracer) for x in leaves):
            return self._f(*place.build(map(handed, leaves)))
        avals = tuple(map(aval_of, leaves))
        key = place.key, avals
        fn = self._made.get(key)
        if fn is None:
            fn = self._made[key] = self._external(place, leaves, avals)
        y = kernel_carriers.value(*leaves, fn=fn)
        return y[0] if fn.code.single else y

    def _external(self, place, leaves, avals):
        single, out = self._result(place, leaves, avals)
        step = ROUNDING ** (1 / 3) if self._differences in (None, True, False) else float(self._differences)
        code = Code(f"the kernel {described(getattr(self._f, 'py_func', self._f))}", self._f, self._jvp, self._vjp, place, single, step)
        return KernelExternal(code, lambda *x: out, differences=self._differences)

    def _result(self, place, leaves, avals):
        """Whether the value is one array, and what it is like."""
        if self._out is None:
            return _learned(self._f, place, leaves, avals)
        if isinstance(self._out, str) and self._out == "like":
            return True, (avals[0],)
        if callable(self._out) and not hasattr(self._out, "shape"):
            made, struct = declared(self._out(*place.build(map(_stand_in, avals))), "kernel")
        else:
            made, struct = declared(self._out, "kernel")
        return struct == tree.LEAF, made


def _stand_in(aval):
    return np.empty(aval.shape, aval.dtype)[()]


def _learned(f, place, leaves, avals):
    """The result's avals, from a call at the point itself or, where it has no numbers, at ones."""
    point = []
    for x, a in zip(leaves, avals, strict=True):
        while isinstance(x, Tracer):
            x = x.primal
        point.append(np.ones(a.shape, a.dtype)[()] if isinstance(x, Aval) else np.array(x)[()])
    y = f(*place.build(point))
    single = not isinstance(y, tuple)
    return single, tuple(aval_of(np.asarray(v)) for v in ((y,) if single else y))


def kernel(f, jvp=None, vjp=None, *, out=None, differences=None):
    """A Numba function as a part of differentiable, batched and compiled programs.

    On plain arrays it is called as it is.  In ``jit`` and in right-hand sides of ``solve_ivp`` its machine code is linked into the program.

    Parameters
    ----------
    f : Numba function
        Made by ``numba.njit``; of arrays, numbers and tuples of them; returns an array or a number, or a tuple of those.
    jvp : Numba function, optional
        ``jvp(primals, tangents) -> y_dot``; both are tuples, one entry an argument.  A tangent is None beside what is not floating point.
    vjp : Numba function, optional
        ``vjp(primals, y_bar) -> tuple``: the cotangent of each argument (None only beside what is not floating point).
    out : optional
        What the result is like: "like" (the first argument), ``ds.ShapeDtype``, an array, a tuple of such, or a function of the arguments
        that returns one.  If left out it is learned by a call.
    differences : bool or float, optional
        As in :func:`callback`: without either rule derivatives are central differences, announced by a warning.

    Returns
    -------
    Kernel
        Call it like ``f``.

    Raises
    ------
    InputError
        ``f`` or a rule returns another shape or dtype than was declared.

    Notes
    -----
    One rule serves both modes: the other is computed from it, one basis vector after another.  Second derivatives are differences of the
    rules; for exact ones put kernels into a function with rules (:func:`custom_jvp`).  An exception raised inside a right-hand side makes
    its value NaN, and the solve fails.

    Examples
    --------
    >>> from numba import njit
    >>> @njit
    ... def rate(x):
    ...     return np.exp(-1.0 / x)
    >>> @njit
    ... def rate_jvp(primals, tangents):
    ...     (x,), (x_dot,) = primals, tangents
    ...     return np.exp(-1.0 / x) / x**2 * x_dot
    >>> arrhenius = ds.kernel(rate, rate_jvp, out="like")
    >>> ds.grad(arrhenius)(1.0) == rate(1.0)
    True
    """
    for name, function in (("f", f), ("jvp", jvp), ("vjp", vjp)):
        if function is not None and not hasattr(function, "py_func"):
            got = f"a {type(function).__name__}"
            raise InputTypeError(f"kernel: {name} must be a function compiled by numba.njit, not {got}; for a Python function use "
                                 f"ds.callback")
    return Kernel(f, jvp, vjp, out, differences)


__all__ = ["Kernel", "ShapeDtype", "callback", "kernel"]

"""Primitives of the user's own: a row of rules, as diffsim's own primitives have."""

import sys
import uuid

import numpy as np

from ..control.places import fitted, zeros_of
from ..core import REGISTRY, Absent, Aval, Linear, Primitive, aval_of, bind, user_line
from ..core.emission import Back, Call, Gather, Scalar
from ..errors import InputError, InputTypeError
from ..numpy.rebind import rebound
from ..numpy.stacking import lift, stacked
from ..prims.elementwise import batch_elementwise, elementwise_jvp, ufunc_aval
from ..prims.family import NOT_LINEAR, broadcast_shapes, elementwise_samples

#: What to write into a slot, shown where it is empty.
SIGNATURES = {
    "aval": 'aval="like" (shape and dtype of the first operand) or aval=lambda *avals, **params: ...',
    "jvp": "jvp=lambda x, y, x_dot, **params: ... (x_dot[i] is None for a zero tangent)",
    "transpose": "transpose=lambda y_bar, *x, **params: ... (one cotangent an operand, None where it is not linear)",
    "emit": "emit=lambda k, *x: ... for code, or compiled programs call impl back",
    "samples": "samples=[((x, ...), {params}), ...], or a function of a random generator that returns such a list",
}


class UserPrimitive(Primitive):
    """A primitive made by :func:`primitive`: a function of arrays with rules of its own."""

    __slots__ = ("_token", "line")

    def __init__(self, name, **slots):
        self.line = user_line()
        qualified = f"{_caller()}.{name}"
        if isinstance(REGISTRY.get(qualified), UserPrimitive):    # a cell of a notebook run again
            del REGISTRY[qualified]
        self._token = uuid.uuid4().hex if not isinstance(slots["emit"], Absent) else ""
        for slot, signature in SIGNATURES.items():
            if slots[slot] is None:
                slots[slot] = Absent(f"its row ({self.line}) gives none; add {signature}")
        super().__init__(qualified, **slots)

    @property
    def digest(self):
        """Its name, and which definition of that name it is: machine code on disk outlives a definition."""
        return f"{self.name} {self._token}"

    def __call__(self, *args, **params):
        return bind(self, tuple(map(lift, args)), params)


def _caller():
    """Name of the module that defines a primitive."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "diffsim":
        frame = frame.f_back
    return frame.f_globals.get("__name__", "__main__")


def _live(rule):
    """A rule of the user's as it runs under transforms: NumPy's creators rebound, lists of tracers stacked."""
    def run(*args, **params):
        return stacked(rebound(rule)(*args, **params))
    return run


def _checked_jvp(rule, line):
    def jvp(x, y, x_dot, **params):
        y_dot = rebound(rule)(x, y, x_dot, **params)
        if isinstance(y, tuple):
            if y_dot is None:
                return None
            if not isinstance(y_dot, (tuple, list)) or len(y_dot) != len(y):
                raise InputError(f"the jvp rule of the primitive defined at {line} must return one tangent a value, {len(y)} in all")
            return tuple(fitted(t, aval_of(v), f"a tangent returned by the jvp rule of the primitive defined at {line}")
                         for t, v in zip(y_dot, y, strict=True))
        return fitted(y_dot, aval_of(y), f"the tangent returned by the jvp rule of the primitive defined at {line}")
    return jvp


def _checked_transpose(rule, line):
    def transpose(y_bar, *x, **params):
        bars = rebound(rule)(y_bar, *x, **params)
        bars = bars if isinstance(bars, (tuple, list)) else (bars,)
        if len(bars) != len(x):
            raise InputError(f"the transpose rule of the primitive defined at {line} must return one cotangent an operand (None where it "
                             f"is not linear): {len(x)}, not {len(bars)}")
        return tuple(fitted(b, a.aval, f"the cotangent of operand {i} returned by the transpose rule of the primitive defined at {line}")
                     if isinstance(a, Linear) else None for i, (b, a) in enumerate(zip(bars, x, strict=True)))
    return transpose


def _aval(rule):
    if rule == "like":
        return lambda *avals, **params: avals[0]
    if callable(rule) or rule is None:
        return None if rule is None else lambda *avals, **params: _as_avals(rule(*avals, **params))
    raise InputTypeError('primitive: aval is "like" or a function of the operands\' shapes and dtypes')


def _as_avals(made):
    """What a user's aval rule returned: anything with a shape and a dtype, or a pair of them, or a tuple of such."""
    if hasattr(made, "shape") and hasattr(made, "dtype"):
        return Aval(tuple(made.shape), np.dtype(made.dtype))
    if isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], tuple) and isinstance(made[1], (np.dtype, type, str)):
        return Aval(made[0], np.dtype(made[1]))
    return tuple(map(_as_avals, made))


def _samples(given):
    if given is None or isinstance(given, Absent):
        return given
    return given if callable(given) else lambda rng: [(tuple(map(np.asarray, x)), params) for x, params in given]


def _emit(rule, line):
    if rule is None:
        return Back(f"its row ({line}) gives none, so that compiled programs call its impl back; add {SIGNATURES['emit']}")
    if isinstance(rule, (Scalar, Gather, Call, Absent)):
        return rule
    if isinstance(rule, str):
        return Scalar(lambda k, *x: k.call(rule, *x))
    raise InputTypeError("primitive: emit is Scalar(...) or Gather(...) of diffsim.core.emission, or the name of a function of the "
                         "generated code such as 'exp'")


def _named(name, impl):
    if not callable(impl):
        raise InputTypeError(f"primitive: impl must be a function of arrays, not a {type(impl).__name__}")
    if not (isinstance(name, str) and name):
        raise InputTypeError(f"primitive: the name must be a text, not {name!r}")
    return name


def primitive(name, impl, *, aval=None, jvp=None, transpose=None, batch=None, sparsity=None, emit=None, samples=None, multiple=False):
    """A new operation on arrays, given by its rules.

    Families save most of them: ``primitive.elementwise``, ``primitive.linear``, ``primitive.nondifferentiable``.

    Parameters
    ----------
    name : str
        It is known as ``module.name``; defining it again replaces it.
    impl : callable
        ``impl(*x, **params)``: the value, by NumPy.
    aval : "like" or callable
        ``aval(*avals, **params)``: something with ``shape`` and ``dtype``; "like" is that of the first operand.  Needed in graphs (``jit``,
        right-hand sides) and where tangents pass through the primitive itself.
    jvp : callable
        ``jvp(x, y, x_dot, **params)``: tangent of the value, written with NumPy; ``x_dot[i]`` is None for zero, and so may be the result.
    transpose : callable
        ``transpose(y_bar, *x, **params)``: for a primitive that is linear in some operands, the cotangent of each (None for others).
    batch, sparsity, emit, samples
        As in a built-in row: see docs/add_a_primitive.md.
    multiple : bool
        The value is a tuple of arrays.

    Returns
    -------
    UserPrimitive
        Call it like a function.  ``ds.testing.check_primitive`` checks its laws.

    Raises
    ------
    MissingRule
        When a transform needs a rule that is not there: the message names the primitive, the rule, the line, and what to write.
    """
    line = user_line()
    slots = {
        "impl": impl, "aval": _aval(aval), "jvp": None if jvp is None else _checked_jvp(jvp, line),
        "transpose": None if transpose is None else _checked_transpose(transpose, line), "emit": _emit(emit, line),
        "samples": _samples(samples), "multiple": multiple,
    }  # fmt: skip
    return UserPrimitive(_named(name, impl), **slots, **_optional(batch, sparsity))


def _optional(batch, sparsity):
    return {k: v for k, v in (("batch", batch), ("sparsity", sparsity)) if v is not None}


def elementwise(name, impl, *derivs, emit=None, domain=None):
    """A function of numbers, applied to arrays element by element with broadcasting.

    Parameters
    ----------
    name : str
    impl : callable
        ``impl(*x)`` on arrays.
    *derivs : callable, 1, -1 or None
        One an operand: ``deriv(*x, y)``, the partial derivative from operands and value; None for zero.
    emit : str or callable, optional
        ``emit(k, *scalars)``, or the name of a function of the generated code; without it compiled programs call ``impl`` back.
    domain : tuple, optional
        ``(low, high)`` of the operand, or one such an operand: where the laws try it.
    """
    if not derivs:
        raise InputError(f"primitive.elementwise: {name!r} needs a derivative for each operand (None where it is zero)")
    rules = tuple(_live(d) if callable(d) else d for d in derivs)
    line, samples = user_line(), None
    if domain is not None:
        domains = domain if isinstance(domain[0], tuple) else (domain,) * len(derivs)
        samples = elementwise_samples(*[(float(low), float(high), False) for low, high in domains])
    emit = Scalar(emit) if callable(emit) else _emit(emit, line)
    aval = ufunc_aval(impl) if isinstance(impl, np.ufunc) else _broadcast
    made = UserPrimitive(_named(name, impl), impl=impl, aval=aval, jvp=elementwise_jvp(rules), transpose=NOT_LINEAR, emit=emit,
                         batch=batch_elementwise(lambda: made), samples=samples, derivs=rules)
    return made


def _broadcast(*avals):
    """Aval of an elementwise function that answers in floating-point numbers."""
    dtype = np.result_type(*[a.dtype for a in avals])
    return Aval(broadcast_shapes(*[a.shape for a in avals]), dtype if dtype.kind in "fc" else np.dtype(np.float64))


def linear(name, impl, transpose, *, aval="like", emit=None, samples=None):
    """A function linear in all its operands together: its tangent is itself.

    ``transpose(y_bar, *x, **params)`` gives one cotangent an operand; of the operands only shapes and dtypes are known.
    """
    line = user_line()

    def jvp(x, y, x_dot, **params):
        return made(*[zeros_of(aval_of(a)) if t is None else t for a, t in zip(x, x_dot, strict=True)], **params)

    made = UserPrimitive(_named(name, impl), impl=impl, aval=_aval(aval), jvp=jvp, transpose=_checked_transpose(transpose, line),
                         emit=_emit(emit, line), samples=_samples(samples))
    return made


def nondifferentiable(name, impl, *, aval="like", emit=None, samples=None):
    """A function whose value does not change with its operands, but in jumps: its derivative is zero."""
    return UserPrimitive(_named(name, impl), impl=impl, aval=_aval(aval), jvp=lambda x, y, x_dot, **params: None, transpose=NOT_LINEAR,
                         emit=_emit(emit, user_line()), samples=_samples(samples))


primitive.elementwise, primitive.linear, primitive.nondifferentiable = elementwise, linear, nondifferentiable

__all__ = ["UserPrimitive", "primitive"]

"""Derivative rules of the user's own, for functions written in NumPy."""

import functools
import inspect
import types

from .. import tree
from ..control.custom import CustomCall, Rules, custom
from ..control.jit import described
from ..control.places import Place
from ..core import Tracer, aval_of
from ..errors import InputError, InputTypeError
from ..numpy.array import Array
from ..numpy.rebind import rebound
from ..prims.elementwise import add, mul


class CustomFunction:
    """A function with derivative rules: what :func:`custom_jvp` and :func:`custom_vjp` return.

    It may have a rule for each mode: forward mode takes the jvp rule, reverse mode the vjp rule, and whichever is missing is derived from
    the other by transposition.
    """

    def __init__(self, f, nondiff_argnums, verb):
        if not callable(f):
            raise InputTypeError(f"{verb}: the first argument must be a function, not a {type(f).__name__}")
        functools.update_wrapper(self, f, updated=())
        self.__wrapped__ = self.__diffsim_wraps__ = f
        self._nondiff = (nondiff_argnums,) if isinstance(nondiff_argnums, int) else tuple(nondiff_argnums)
        self._rules, self._calls, self._verb = Rules(f, verb), {}, verb

    def __repr__(self):
        return f"<{getattr(self.__wrapped__, '__name__', self.__wrapped__)} with rules of its own>"

    def __get__(self, instance, owner):
        return self if instance is None else types.MethodType(self, instance)

    @property
    def __diffsim_rules__(self):
        """Functions beside the wrapped one that derivatives read."""
        return tuple(f for f in (self._rules.jvp, self._rules.fwd, self._rules.bwd) if f is not None)

    # ------------------------------------------------------------ rules
    def defjvp(self, rule):
        """Set the rule of forward mode; may be used as a decorator.

        Parameters
        ----------
        rule : callable
            ``rule(*nondiff, primals, tangents) -> (y, y_dot)``.  Tangents are zeros where an argument does not vary, and None beside ints,
            texts and the like.  ``y_dot`` has the structure of ``y``; None in it stands for zero.
        """
        return self._set(jvp=rule)

    def defjvps(self, *rules):
        """Set the rule of forward mode by one derivative an argument.

        Parameters
        ----------
        *rules : callable or None
            ``rule(t, y, *args) -> y_dot`` for the tangent ``t`` of one argument; None where the derivative is zero.
        """
        def jvp(primals, tangents):
            if len(rules) != len(primals):
                raise InputError(f"defjvps: {len(rules)} rules for the {len(primals)} arguments of {described(self.__wrapped__)}")
            y, total = self(*primals), None
            for rule, t in zip(rules, tangents, strict=True):
                if rule is not None:
                    part = rule(t, y, *primals)
                    total = part if total is None else tree.map(add, total, part)
            return y, tree.map(lambda v: mul(v, 0.0), y) if total is None else total
        if self._nondiff:
            raise InputError("defjvps: a function with nondiff_argnums takes its rule from defjvp")
        self._set(jvp=jvp)

    def defvjp(self, fwd, bwd):
        """Set the rule of reverse mode.

        Parameters
        ----------
        fwd : callable
            ``fwd(*args) -> (y, residuals)``, of all arguments.
        bwd : callable
            ``bwd(*nondiff, residuals, y_bar) -> tuple``: the cotangent of each differentiated argument; None stands for zero.
        """
        return self._set(fwd=fwd, bwd=bwd)

    def _set(self, **rules):
        for name, rule in rules.items():
            if not callable(rule):
                raise InputTypeError(f"{self._verb}: the rule {name} must be a function, not a {type(rule).__name__}")
            setattr(self._rules, name, rule)
        self._calls = {}
        return next(iter(rules.values()))

    # ------------------------------------------------------------ calls
    def __call__(self, *args, **kwargs):
        args = self._positional(args, kwargs)
        given = {i % len(args) for i in self._nondiff} if args else set()
        place, leaves = Place.of(tuple(x for i, x in enumerate(args) if i not in given))
        constants = tuple((i, args[i]) for i in sorted(given))
        if any(isinstance(x, Tracer) for _, c in constants for x in tree.leaves(c)):
            raise InputTypeError(f"{self._verb}: an argument of {described(self.__wrapped__)} named in nondiff_argnums is being "
                                 f"differentiated or traced; take it out of nondiff_argnums, and return None for it from the rule if its "
                                 f"derivative is zero")
        if not any(isinstance(x, Tracer) for x in leaves):
            return _plain(rebound(self.__wrapped__)(*args))
        call = self._call(place, leaves, constants)
        y = custom(*leaves, call=call)
        return tree.unflatten(call.out, y)

    def _positional(self, args, kwargs):
        """Arguments in order, defaults filled in."""
        if not kwargs and len(args) == self._n_parameters():
            return args
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{getattr(self.__wrapped__, '__name__', 'f')}: {error}") from None
        bound.apply_defaults()
        if bound.kwargs:
            raise InputTypeError(f"{self._verb}: {described(self.__wrapped__)} has keyword-only arguments ({', '.join(bound.kwargs)}); "
                                 f"rules know arguments by position, so make them positional")
        return bound.args

    @functools.cached_property
    def _signature(self):
        return inspect.signature(self.__wrapped__)

    def _n_parameters(self):
        kinds = [p.kind for p in self._signature.parameters.values()]
        return len(kinds) if inspect.Parameter.VAR_POSITIONAL not in kinds else -1

    def _call(self, place, leaves, constants):
        """The call with this structure, shapes and constants: made once for each where they can be compared."""
        avals = tuple(map(aval_of, leaves))
        try:
            key = place.key, avals, constants
            have = self._calls.get(key)
        except TypeError:                                 # a constant without a hash
            return CustomCall(self._rules, place, avals, constants)
        if have is None:
            have = self._calls[key] = CustomCall(self._rules, place, avals, constants)
        return have


def _plain(y):
    return tree.map(lambda v: v.read() if type(v) is Array else v, y)


def custom_jvp(f, nondiff_argnums=()):
    """``f`` with a derivative rule of the user's own for forward mode; reverse mode transposes it.

    Parameters
    ----------
    f : callable
        Of pytrees, in NumPy.
    nondiff_argnums : int or tuple of int
        Positions of arguments that are constants; rules are given them first.

    Returns
    -------
    CustomFunction
        Give it the rule with ``defjvp`` (or ``defjvps``); ``defvjp`` may add one for reverse mode.

    Raises
    ------
    InputError
        When a rule is used and returns another structure, shape or dtype than it must, or is not linear in the tangents; the message names
        the rule.

    Notes
    -----
    Rules run on values that outer transforms may trace, so second derivatives are those of the rules' own code.  Values the function closes
    over are differentiated through its body.

    Examples
    --------
    >>> @ds.custom_jvp
    ... def log1pexp(x):
    ...     return np.log(1.0 + np.exp(x))
    >>> @log1pexp.defjvp
    ... def log1pexp_jvp(primals, tangents):
    ...     (x,), (x_dot,) = primals, tangents
    ...     return log1pexp(x), x_dot / (1.0 + np.exp(-x))
    >>> ds.grad(log1pexp)(100.0)
    np.float64(1.0)
    """
    return CustomFunction(f, nondiff_argnums, "custom_jvp")


def custom_vjp(f, nondiff_argnums=()):
    """``f`` with a derivative rule of the user's own for reverse mode; forward mode transposes it.

    Parameters
    ----------
    f : callable
        Of pytrees, in NumPy.
    nondiff_argnums : int or tuple of int
        Positions of arguments that are constants; the backward rule is given them first.

    Returns
    -------
    CustomFunction
        Give it the rule with ``defvjp``; ``defjvp`` may add one for forward mode.

    Raises
    ------
    InputError
        As :func:`custom_jvp`.

    Notes
    -----
    Without a jvp rule the tangent is the transpose of the backward rule, which must then be written in NumPy and be linear in the
    cotangent.

    Examples
    --------
    >>> @ds.custom_vjp
    ... def clipped(x):
    ...     return x
    >>> clipped.defvjp(lambda x: (x, None), lambda residuals, y_bar: (np.clip(y_bar, -1.0, 1.0),))
    """
    return CustomFunction(f, nondiff_argnums, "custom_vjp")


__all__ = ["CustomFunction", "custom_jvp", "custom_vjp"]

"""NumPy's two protocols, answered by tables.

``UFUNCS`` maps a ufunc to our operation, ``FUNCTIONS`` a NumPy function to its rule; :func:`row` enters one.  What stands in neither is
refused by name, with the reason where there is a particular one (``REFUSED``) and always with the user's line.
"""

import functools
import sys

import numpy as np

from ..core import FUNCTIONS, METHODS, NO_PARAMS, PRIMITIVE_OF, UFUNCS, ArrayTracer, Aval, Tracer, bind, called_by_user, is_weak, user_line
from ..errors import DerivativeLost, MissingRule
from ..prims import layout
from ..prims.elementwise import where
from . import indexing
from .array import Array, fresh, own_result, result_of
from .operators import NUMBERS, check_output
from .order import as_laid, out_of_order
from .stacking import READY, lift, strengthened
from .statement import stored_as

#: Name in scipy.special -> our operation; entered in ``UFUNCS`` when the first of SciPy's ufuncs arrives, so that SciPy need not be loaded.
LATE = {}

#: NumPy functions that return plain values, and those that are refused, with the reason.
VALUE_ONLY, REFUSED = set(), {}
ADVICE = ("Apply it to values that do not depend on what is differentiated (diffsim.stop_gradient), "
          "or write it with functions that have a rule")


# ---------------------------------------------------------------- entering rules
def elementwise_entry(prim, n):
    """Entry of ``UFUNCS`` for a primitive: operands are lifted, the common ones without a call."""
    apply = {1: _unary_entry, 2: _binary_entry}.get(n, _entry)(prim)
    apply.__name__ = prim.name
    return apply


def _entry(prim):
    return lambda *x: bind(prim, tuple(map(lift, x)), NO_PARAMS)


def _unary_entry(prim):
    derives = prim.derivs is not None

    def apply(x):
        kind = x.__class__
        if kind not in READY:
            x = lift(x)
            kind = x.__class__
        if kind is ArrayTracer or kind is Tracer:
            owner = x.owner
            return owner.unary(prim, x) if derives and owner.alive else bind(prim, (x,), NO_PARAMS)
        return prim.impl(x)
    return apply


def _binary_entry(prim):
    derives = prim.derivs is not None

    def apply(x, y):
        kind, other = x.__class__, y.__class__
        if kind not in READY:
            x = lift(x)
            kind = x.__class__
        if other not in READY:
            y = lift(y)
            other = y.__class__
        owner = x.owner if kind is ArrayTracer or kind is Tracer else None
        if other is ArrayTracer or other is Tracer:
            if derives and y.owner is owner and owner.direct:
                return owner.both(prim, x, y, ArrayTracer)
            if owner is None or y.owner.level > owner.level:
                owner = y.owner
        elif derives and owner is not None and owner.direct and other in NUMBERS:
            return owner.scaled(prim, x, y, ArrayTracer)
        if owner is None:
            return prim.impl(x, y)
        return owner.binary(prim, x, y) if derives and owner.alive else bind(prim, (x, y), NO_PARAMS)
    return apply


def ufunc_row(*ufuncs, value=False):
    """Enter a function of lifted operands as the rule of ufuncs."""
    def register(rule):
        @functools.wraps(rule)
        def apply(*args):
            return strengthened(rule(*[x if x.__class__ in READY else lift(x) for x in args]))
        for ufunc in ufuncs:
            UFUNCS[ufunc] = apply
            PRIMITIVE_OF.pop(ufunc, None)                   # the rule says when the primitive serves
            if value:
                VALUE_ONLY.add(ufunc)
        return rule
    return register


def row(*functions, operands=1, view=False, value=False):
    """Enter a rule with the NumPy function's own signature.

    Parameters
    ----------
    *functions : callable
        NumPy functions the rule answers to.
    operands : int
        How many leading parameters are arrays (lifted before the call); 0 where the rule lifts by itself.
    view : bool
        A mutable array is handed to the rule as it is: what NumPy returns as a view stays one.
    value : bool
        The result is a plain value without derivative.
    """
    def register(rule):
        names = rule.__code__.co_varnames[:operands]
        prepare = _keep_handle if view else lift

        @functools.wraps(rule)
        def apply(*args, out=None, **kwargs):
            mutable = any(map(_holds_array, args)) or any(map(_holds_array, kwargs.values()))
            plain = mutable and not _holds_tracer(args) and not _holds_tracer(kwargs.values())
            if plain and not view:
                return _settle(functions[0](*map(_plain, args), **{k: _plain(v) for k, v in kwargs.items()}), out, True)
            given, named = args, dict(kwargs) if mutable else kwargs
            args = [*map(prepare, args[:operands]), *args[operands:]]
            for name in names:
                if name in kwargs:
                    kwargs[name] = prepare(kwargs[name])
            result = rule(*args, **kwargs)
            if out is None and not mutable:
                return result if functions[0] is np.real else strengthened(result)      # np.real(2.0) is a number of Python's
            result = _settle(result, out, mutable)
            if out is None and not view and any(map(out_of_order, (*given, *named.values()))):
                return as_laid(functions[0], given, named, result)
            return result
        for function in functions:
            FUNCTIONS[function] = apply
            if value:
                VALUE_ONLY.add(function)
        return rule
    return register


def refuse(reason, *functions):
    """Enter NumPy functions that have no rule, and why."""
    for function in functions:
        REFUSED[function] = reason


def _keep_handle(x):
    return x if x.__class__ is Array else lift(x)


def _holds_array(x):
    return x.__class__ is Array or (x.__class__ in (list, tuple) and any(map(_holds_array, x)))


def _holds_tracer(items):
    for x in items:
        if isinstance(x, Tracer) or (x.__class__ is Array and isinstance(x.read(), Tracer)):
            return True
        if x.__class__ in (list, tuple) and _holds_tracer(x):
            return True
        if x.__class__ is np.ndarray and x.dtype == object and _holds_tracer(x.flat):
            return True
    return False


def _plain(x):
    """An argument with its mutable arrays read: for NumPy's own functions to look at, not to write to."""
    if x.__class__ is Array:
        return x.__array__()
    return type(x)(map(_plain, x)) if x.__class__ in (list, tuple) else x


def _settle(result, out, mutable):
    """Write a result where ``out`` asks for it; results of mutable arrays are arrays that can be written."""
    if out is not None:
        return _write_out(result, out)
    if not mutable:
        return result
    if isinstance(result, (list, tuple)):
        parts = [_settle(x, None, True) for x in result]
        return result._make(parts) if hasattr(result, "_make") else type(result)(parts) if type(result) in (list, tuple) else result
    return fresh(result) if isinstance(result, (np.ndarray, Tracer)) else result


def _write_out(result, out):
    out = out[0] if isinstance(out, tuple) else out
    if isinstance(out, Array):
        check_output(np.add, result if hasattr(result, "shape") else np.asarray(result), out)
        out.write(result)
    elif isinstance(out, np.ndarray) and not isinstance(result, Tracer):
        out[...] = result
    else:
        raise lost(f"out= of shape {np.shape(out)}")
    return out


def lost(what):
    """The error of storing a traced value in a plain array."""
    return DerivativeLost(
        f"{user_line()}: a traced value was to be written into {what}, a plain array, which would drop its derivative. Create that array "
        f"inside the function that is differentiated (np.zeros, np.empty, np.zeros_like), or use the returned value.")


# ---------------------------------------------------------------- ufuncs
def array_ufunc(ufunc, method, inputs, kwargs):
    """NEP 13: what a ufunc does when an operand is a tracer or a mutable array."""
    mutable = False
    for x in inputs:
        if x.__class__ is Array:
            mutable = True
    if method == "__call__":
        if kwargs:
            return _with_options(ufunc, inputs, dict(kwargs), mutable)
        apply = UFUNCS.get(ufunc) or _late(ufunc)
        result = apply(*inputs) if apply is not None else _unknown_ufunc(ufunc, inputs, {})
        if mutable:
            return result_of(result, inputs) if ufunc.nout == 1 else _settle(result, None, True)
        return handed(result, 4)
    if method == "at":
        return _at(ufunc, *inputs)
    out = kwargs.pop("out", None)
    if not _holds_tracer(inputs) and not _holds_tracer(kwargs.values()):
        return _settle(getattr(ufunc, method)(*map(_plain, inputs), **{k: _plain(v) for k, v in kwargs.items()}), out, True)
    result = strengthened(UFUNC_METHODS[method](ufunc, *map(strengthened, inputs), **kwargs))
    return _settle(result, out, mutable or called_by_user(3))


def handed(result, depth):
    """A result as the caller that many frames up may have it: the user's arrays can be written, diffsim's own code wants values."""
    if isinstance(result, Tracer):
        return own_result(result) if called_by_user(depth) else result
    if result.__class__ in (list, tuple) and called_by_user(depth):
        return result.__class__(map(own_result, result))
    return result


def _late(ufunc):
    """Rule of a ufunc of SciPy's, or None."""
    special = sys.modules.get("scipy.special")
    if special is None or LATE.get(ufunc.__name__) is None or getattr(special, ufunc.__name__, None) is not ufunc:
        return None
    UFUNCS[ufunc] = apply = LATE[ufunc.__name__]
    return apply


#: Creators by name, for calls with ``like=``: NumPy dispatches those under functions of its own.
LIKE = {}

#: Method of a ufunc -> ``rule(ufunc, *operands, **options)``.
UFUNC_METHODS = {}


def _with_options(ufunc, inputs, options, mutable):
    """A ufunc called with out=, where=, dtype=."""
    out, mask, dtype = options.pop("out", None), options.pop("where", True), options.pop("dtype", None)
    casting = options.pop("casting", "same_kind")
    for name in ("order", "subok"):
        options.pop(name, None)
    out = out[0] if isinstance(out, tuple) else out
    operands, mask = [lift(x) for x in inputs], mask if mask is True else lift(mask)
    if not _holds_tracer([*operands, mask, out]):
        return _plain_with_options(ufunc, operands, {"where": mask, "dtype": dtype, **options}, out, mutable)
    apply = UFUNCS.get(ufunc) or _late(ufunc)
    if dtype is not None:
        operands = _as_computed(ufunc, operands, np.dtype(dtype), casting)
    if apply is not None and options and ufunc.signature is not None:
        result = UFUNC_METHODS["generalised"](ufunc, apply, operands, options)
    else:
        result = apply(*operands) if apply is not None and not options else _unknown_ufunc(ufunc, inputs, options)
    if dtype is not None and result.dtype != np.dtype(dtype):
        result = layout.convert(result, dtype=np.dtype(dtype))
    if mask is not True:
        if not isinstance(out, Array):
            raise MissingRule(f"np.{ufunc.__name__}(where=...)", "derivative",
                              f"{user_line()}: where= leaves the other elements undefined; write np.where(mask, value, other), "
                              f"or give out= an array created inside the function")
        result = where(mask, result, out.read())
    if out is None:
        return _settle(result, None, mutable)
    return _write_out(result, out) if isinstance(out, Array) else _accumulated(ufunc, inputs, out, result)


def _as_computed(ufunc, operands, dtype, casting):
    """Operands in the dtypes NumPy computes a result of a dtype in: it casts the operands, not the result.

    Raises
    ------
    TypeError
        NumPy's: an operand cannot be cast so, or there is no loop of that dtype.
    OverflowError
        A number of Python's is out of its bounds.
    """
    if all(set(kinds) <= set("O->") for kinds in ufunc.types):       # np.frompyfunc: objects, whatever they hold
        return operands
    arrays = [x if hasattr(x, "shape") else np.asarray(x) for x in operands]
    kinds = [type(x.dtype.type().item()) if is_weak(given) else x.dtype for x, given in zip(arrays, operands, strict=True)]
    kinds = [k if k is not bool else np.dtype(bool) for k in kinds]
    found = ufunc.resolve_dtypes((*kinds, *[None] * ufunc.nout), signature=(None,) * ufunc.nin + (dtype,) * ufunc.nout, casting=casting)
    return [given if x.dtype == wanted else wanted.type(given) if given.__class__ is int else indexing.cast(x, Aval(tuple(x.shape), wanted))
            for given, x, wanted in zip(operands, arrays, found, strict=False)]


def _plain_with_options(ufunc, operands, options, out, mutable):
    """The same where nothing is traced: NumPy's own, into a copy of what ``out`` holds."""
    if not isinstance(out, Array):
        result = ufunc(*operands, **({} if out is None else {"out": out}), **options)
        return _settle(result, None, mutable and out is None)
    return _write_out(ufunc(*operands, out=np.array(out.read()), **options), out)


def _accumulated(ufunc, inputs, out, result):
    """``b += t`` into a plain array: the name is bound to the new value, as in an accumulation.

    Another name of the old array would go on with a stale value in silence, so the old numbers are replaced by NaN.  Where the statement
    goes on with the old array itself (``np.add(b, t, out=b)``, ``b[1:] += t``) it is refused.
    """
    stored = stored_as()
    if not isinstance(out, np.ndarray) or inputs[0] is not out or tuple(result.shape) != out.shape or stored is None:
        raise lost(f"out= of np.{ufunc.__name__}")
    exact = out.dtype.kind in "biu"                         # no NaN tells who goes on with its numbers: the array it is a view of
    if out.base is not None and (stored == "STORE_SUBSCR" or (exact and sys.getrefcount(out.base) > 2)):
        raise lost(f"a part of shape {out.shape} of an array")
    if exact:
        check_output(ufunc, result, out)
    result = own_result(result)
    if out.flags.writeable and out.dtype.kind == "f":
        out[...] = np.nan
    return result


def _unknown_ufunc(ufunc, inputs, options):
    operands = [lift(x) for x in inputs]
    if not _holds_tracer(operands):
        return ufunc(*operands, **options)
    if ufunc.types and all(set(kinds) <= set("O->") for kinds in ufunc.types):          # np.frompyfunc: called with each element
        y = ufunc(*[np.asarray(x, dtype=object) for x in operands], **options)
        return tuple(map(lift, y)) if isinstance(y, tuple) else lift(y)
    name = ufunc.__name__
    home = "np" if getattr(np, name, None) is ufunc else "ufunc"
    special = sys.modules.get("scipy.special")
    if special is not None and getattr(special, name, None) is ufunc:
        home = "scipy.special"
    reason = REFUSED.get(ufunc, "no rule is known for this ufunc")
    raise MissingRule(f"{home}.{name}", "derivative", f"{user_line()}: {reason}. {ADVICE}")


def _at(ufunc, target, key, *values):
    if not isinstance(target, Array):
        raise lost(f"the array of np.{ufunc.__name__}.at")
    if ufunc not in UFUNCS and _holds_tracer([target, *values]):
        _unknown_ufunc(ufunc, [target, *values], {})        # raises with the reason
    return target.update_at(key, ufunc, *values)


# ---------------------------------------------------------------- functions
def array_function(func, args, kwargs):
    """NEP 18: what a NumPy function does when an argument is a tracer or a mutable array."""
    rule = FUNCTIONS.get(func) or LIKE.get(func.__name__)
    if rule is not None:
        return handed(rule(*args, **kwargs), 4)
    if _holds_tracer(args) or _holds_tracer(kwargs.values()):
        reason = reason_of(func) or "no rule is known for this function"
        name = f"{getattr(func, '__module__', 'numpy')}.{func.__name__}".replace("numpy", "np", 1)
        raise MissingRule(name, "derivative", f"{user_line()}: {reason}. {ADVICE}")
    return _settle(func(*map(_plain, args), **{k: _plain(v) for k, v in kwargs.items()}), None, True)


def into(destination, name):
    """The mutable array a function is about to write; a plain one would lose the derivative.

    Raises
    ------
    DerivativeLost
    """
    if not isinstance(destination, Array):
        raise lost(f"the destination of np.{name}")
    return destination


def value_of(x, what):
    """Plain value of an operand that carries no derivative here; raises where a graph is traced."""
    x = lift(x)
    return indexing.concrete(x, what) if isinstance(x, Tracer) else x


def reason_of(func):
    """Why a NumPy function is refused; empty where no particular reason is known."""
    named = (func.__module__, func.__name__)
    return REFUSED.get(func) or next((why for f, why in REFUSED.items() if (f.__module__, f.__name__) == named), "")


def support(functions):
    """How each of some NumPy functions is treated.

    Parameters
    ----------
    functions : iterable of callable

    Returns
    -------
    dict
        function -> ("differentiable" | "value only" | "refused" | "unknown", reason or "")
    """
    out = {}
    for f in functions:
        known = f in UFUNCS or f in FUNCTIONS or LIKE.get(f.__name__) is not None
        status = "value only" if f in VALUE_ONLY else "differentiable" if known else "refused" if reason_of(f) else "unknown"
        out[f] = status, reason_of(f) if status == "refused" else ""
    return out


METHODS["__array_ufunc__"] = array_ufunc
METHODS["__array_function__"] = array_function
METHODS["result_of"] = result_of
METHODS["accumulated"] = _accumulated
METHODS["__getitem__"] = indexing.getitem

__all__ = ["LATE", "LIKE", "REFUSED", "UFUNC_METHODS", "VALUE_ONLY", "array_function", "array_ufunc", "elementwise_entry", "handed", "into",
           "lost", "refuse", "row", "support", "ufunc_row", "value_of"]

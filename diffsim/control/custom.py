"""Functions with derivative rules of the user's own: one object may carry a rule for each mode.

``custom`` is the function as a primitive.  A transform that differentiates asks it for value and tangent together.  Forward mode runs the
jvp rule; without one, the pullback (which is linear in the cotangent) is recorded and transposed.  Reverse mode runs the forward half
of the vjp rule and leaves one equation, ``custom_tangent``, whose transpose is the backward half; without one, the jvp rule is recorded
on symbols for its tangents, checked to be linear in them, and transposed as any other equations are.  Rules run one level down, on
values that outer transforms may trace: so derivatives of any order go through the rules.
"""

import hashlib
import uuid

import numpy as np

from .. import tree
from ..core import Absent, Linear, Primitive, aval_of
from ..core.aval import is_float
from ..errors import DiffsimError, InputError, InputTypeError, MissingRule
from ..numpy.rebind import rebound
from ..prims.layout import broadcast_to, reduce_sum
from ..transforms import batch, differs_from_zero, fault, forward, pull, push, record, trace
from .jit import described
from .places import Place, fitted, short, spread, value_of, zeros_of


class Rules:
    """A function and what it says of its derivative.

    Parameters
    ----------
    f : callable
    verb : str
        What made it, for messages.

    Attributes
    ----------
    jvp : callable or None
        ``jvp(*constants, primals, tangents) -> (y, y_dot)``.
    fwd, bwd : callable or None
        ``fwd(*args) -> (y, residuals)`` and ``bwd(*constants, residuals, y_bar) -> tuple``.
    """

    def __init__(self, f, verb):
        self.f, self.verb, self.jvp, self.fwd, self.bwd = f, verb, None, None, None


# ---------------------------------------------------------------- one call
class CustomCall:
    """A function with rules at arguments of one structure, as functions of flat arrays.

    Parameters
    ----------
    rules : Rules
    place : Place
        Of the arguments that are differentiated, a tuple.
    avals : tuple of Aval
    constants : tuple of (int, object)
        The arguments that are not, by position.
    """

    def __init__(self, rules, place, avals, constants):
        self.rules, self.place, self.avals, self.constants = rules, place, avals, constants
        self.out = self._graph = self._digest = None
        self.settled, self.expected = False, None
        self.linear = set()                                # which rules were found to be linear

    def __repr__(self):
        return getattr(self.rules.f, "__name__", "f")

    @property
    def given(self):
        """The arguments that are not differentiated, in order."""
        return tuple(x for _, x in self.constants)

    @property
    def active(self):
        """For each operand whether it carries a derivative."""
        return tuple(is_float(a.dtype) for a in self.avals)

    def arguments(self, x):
        """All arguments, from operands."""
        args = list(self.place.build(x))
        for i, value in self.constants:
            args.insert(i, value)
        return args

    def flat_out(self, y, who):
        """Operands of a value, whose structure is remembered."""
        place, leaves = Place.of(y)
        if place.constants and not all(type(v) in (int, bool, float) for v in place.constants):
            raise InputTypeError(f"{described(who)} returned a {type(place.constants[0]).__name__}; a function with rules returns numbers "
                                 f"and containers of them")
        leaves = [value_of(v) for v in tree.leaves(y)]
        if self.out is None:
            self.out = place.struct
        elif place.struct != self.out:
            raise InputError(f"{described(who)} returned another structure than {described(self.rules.f)}: {place.struct} and {self.out}")
        return leaves

    def value(self, *x):
        """The function itself."""
        return self.flat_out(rebound(self.rules.f)(*self.arguments(x)), self.rules.f)

    # ------------------------------------------------------------ the rules, flat
    def jvp(self, x, x_dot):
        """The jvp rule; a tangent of the value is None where it has none."""
        self.settle()
        rule = self.rules.jvp
        tangents = self.place.beside([zeros_of(a) if t is None and on else t
                                      for t, a, on in zip(x_dot, self.avals, self.active, strict=True)])
        out = rebound(rule)(*self.given, self.place.build(x), tangents)
        if not (isinstance(out, (tuple, list)) and len(out) == 2):
            raise InputTypeError(f"the jvp rule {described(rule)} must return a pair (value, tangent), got {short(out)}")
        y = self.flat_out(out[0], rule)
        self.check_value(y, rule)

        def fail(reason):
            raise InputError(f"the tangent returned by the jvp rule {described(rule)} has another structure than the value: {reason}")

        y_dot = [fitted(t, aval_of(v), f"the tangent returned by the jvp rule {described(rule)}")
                 for t, v in zip(spread(self.out, out[1], fail), y, strict=True)]
        return y, y_dot

    def fwd(self, *x):
        """The forward half of the vjp rule: value, residual operands and their place."""
        self.settle()
        rule = self.rules.fwd
        out = rebound(rule)(*self.arguments(x))
        if not (isinstance(out, (tuple, list)) and len(out) == 2):
            raise InputTypeError(f"the forward rule {described(rule)} must return a pair (value, residuals), got {short(out)}")
        y = self.flat_out(out[0], rule)
        self.check_value(y, rule)
        place, residuals = Place.of(out[1])
        return y, residuals, place

    def bwd(self, place, residuals, y_bar):
        """The backward half: cotangents of the operands, None for zero."""
        rule = self.rules.bwd
        try:
            out = rebound(rule)(*self.given, place.build(residuals), tree.unflatten(self.out, y_bar))
        except DiffsimError as error:
            if type(error) is DiffsimError:                # a dead tracer
                raise DiffsimError(f"the backward rule {described(rule)} uses a value that is being differentiated and is neither a "
                                   f"residual nor a cotangent: return it from the forward rule among the residuals") from error
            raise
        out = out if isinstance(out, (tuple, list)) else (out,)

        def fail(reason):
            raise InputError(f"the cotangents returned by the backward rule {described(rule)} do not match the arguments: {reason}")

        return [fitted(b, a, f"the cotangent returned by the backward rule {described(rule)}") if on else None
                for b, a, on in zip(self.place.pick(out, fail), self.avals, self.active, strict=True)]

    def settle(self):
        """Learn structure and avals of the value from the function itself, once, where shapes are all that takes."""
        if not self.settled:
            self.settled = True
            try:
                self.expected = [x.aval for x in trace(self.value, self.avals)[0].outputs]
            except Exception:                             # it runs on numbers only: there is nothing to compare rules with
                self.expected = None

    def check_value(self, y, rule):
        """Compare what a rule returned as the value with what the function returns."""
        for n, (a, b) in enumerate(zip(map(aval_of, y), self.expected or (), strict=False)):
            if a != b:
                raise InputError(f"the rule {described(rule)} returned {a} as the value, but {described(self.rules.f)} returns {b}"
                                 + (f" (leaf {n})" if len(self.expected) > 1 else ""))

    # ------------------------------------------------------------ as a graph
    @property
    def graph(self):
        """The function's own program.

        Raises
        ------
        MissingRule
            It closes over traced values, which a graph cannot carry along.
        """
        if self._graph is None:
            graph, captured = trace(self.value, self.avals, verb=self.rules.verb)
            if captured:
                raise MissingRule(repr(self), "body", f"{described(self.rules.f)} closes over a traced value, which cannot be recorded "
                                                      f"with its rule: pass it as an argument")
            self._graph = graph
        return self._graph

    @property
    def digest(self):
        """Equal for functions and rules that compute the same; unique where that cannot be told."""
        if self._digest is None:
            try:
                self._digest = hashlib.sha256(" ".join(self._parts()).encode()).hexdigest()
            except Exception:                             # a rule that runs on numbers only
                self._digest = uuid.uuid4().hex
        return self._digest

    def _parts(self):
        yield f"{self.graph.digest} {self.place.key} {self.constants}"
        floats = [a for a, on in zip(self.avals, self.active, strict=True) if on]
        if self.rules.jvp is not None:
            def jvp(*z):
                x_dot = iter(z[len(self.avals):])
                return [t for t in self.jvp(z[:len(self.avals)], [next(x_dot) if on else None for on in self.active])[1] if t is not None]
            yield closed(jvp, [*self.avals, *floats])
        if self.rules.bwd is not None:
            def vjp(*z):
                y, residuals, place = self.fwd(*z[:len(self.avals)])
                return [*y, *[b for b in self.bwd(place, residuals, z[len(self.avals):]) if b is not None]]
            yield closed(vjp, [*self.avals, *[x.aval for x in self.graph.outputs]])


class BatchedCall:
    """The same for ``n`` members at once: what a :class:`CustomCall` offers, of operands with a leading axis where ``batched``."""

    def __init__(self, call, n, batched, avals):
        self.inner, self.n, self.batched, self.avals, self.rules, self.linear = call, n, batched, avals, call.rules, set()

    def __repr__(self):
        return repr(self.inner)

    @property
    def active(self):
        return self.inner.active

    @property
    def graph(self):
        return trace(self.value, self.avals, verb=self.rules.verb)[0]

    @property
    def digest(self):
        return hashlib.sha256(f"{self.inner.digest} {self.n} {self.batched}".encode()).hexdigest()

    def _run(self, f, operands, batched):
        """Values of all members; None stays None."""
        gone = []

        def present(*z):
            out = f(*z)
            gone[:] = [v is None for v in out]
            return [v for v in out if v is not None]

        out, on = batch(present, self.n, operands, batched, self.rules.verb)
        full = iter([y if o else broadcast_to(y, shape=(self.n, *y.shape)) for y, o in zip(out, on, strict=True)])
        return [None if g else next(full) for g in gone]

    def value(self, *x):
        return self._run(self.inner.value, x, self.batched)

    def jvp(self, x, x_dot):
        m, on = len(x), [t is not None for t in x_dot]

        def rule(*z):
            t = iter(z[m:])
            y, y_dot = self.inner.jvp(z[:m], [next(t) if o else None for o in on])
            return [*y, *y_dot]

        out = self._run(rule, [*x, *[t for t in x_dot if t is not None]],
                        [*self.batched, *[b for b, o in zip(self.batched, on, strict=True) if o]])
        return out[:len(out) // 2], out[len(out) // 2:]

    def fwd(self, *x):
        found = {}

        def rule(*z):
            y, residuals, found["place"] = self.inner.fwd(*z)
            found["n"] = len(y)
            return [*y, *residuals]

        out = self._run(rule, x, self.batched)
        return out[:found["n"]], out[found["n"]:], found["place"]

    def bwd(self, place, residuals, y_bar):
        m, on = len(residuals), [b is not None for b in y_bar]

        def rule(*z):
            bars = iter(z[m:])
            return self.inner.bwd(place, z[:m], [next(bars) if o else None for o in on])

        operands = [*residuals, *[b for b in y_bar if b is not None]]
        bars = self._run(rule, operands, [True] * len(operands))
        return [b if b is None or o else reduce_sum(b, axes=(0,)) for b, o in zip(bars, self.batched, strict=True)]


def _custom_batch(n, batched, *x, call):
    return custom(*x, call=BatchedCall(call, n, tuple(batched), tuple(map(aval_of, x))))


def _tail_batch(n, batched, *operands, tail):
    out, on = batch(lambda *z: list(_tail_value(*z, tail=tail)), n, operands, batched, tail.call.rules.verb)
    return tuple(y if o else broadcast_to(y, shape=(n, *y.shape)) for y, o in zip(out, on, strict=True))


def closed(f, avals):
    """Digest of the graph of a function that captures nothing."""
    graph, captured = trace(f, avals)
    if captured:
        raise MissingRule("a rule", "digest", "it closes over traced values")
    return graph.digest


# ---------------------------------------------------------------- value and tangent together
def _together(x, x_dot, reverse, *, call):
    rules = call.rules
    if reverse and rules.bwd is not None:
        return _by_vjp(call, x, x_dot)
    if rules.jvp is not None:
        if reverse:
            return _recorded_jvp(call, x, x_dot)
        _check_at_zero(call, x)
        return call.jvp(x, x_dot)
    if rules.bwd is None:
        raise MissingRule(repr(call), "jvp", f"{described(rules.f)} was made by {rules.verb} and never given a rule: "
                                             f"f.defjvp(rule) or f.defvjp(fwd, bwd)")
    y, residuals, place = call.fwd(*x)
    return y, _transposed_bwd(call, place, residuals, [aval_of(v) for v in y], x_dot)


def _recorded_jvp(call, x, x_dot):
    """The jvp rule on symbols for the tangents, checked to be linear in them, then run on the tangents themselves."""
    found, on = {}, [t is not None for t in x_dot]

    def rule(*tangents):
        t = iter(tangents)
        found["y"], y_dot = call.jvp(x, [next(t) if o else None for o in on])
        return [np.float64(0.0) if t is None else t for t in y_dot]

    avals = [a for a, o in zip(call.avals, on, strict=True) if o]
    values, equations, outputs = record(rule, avals, call.rules.verb)
    _check_linear(call, "jvp", call.rules.jvp, (values, equations, len(avals), outputs))
    y_dot = push(equations, [t for t in x_dot if t is not None], outputs)
    return found["y"], y_dot


def _check_linear(call, which, rule, recorded):
    if which not in call.linear:
        why = fault(*recorded)
        if why:
            word = "cotangents" if which == "backward" else "tangents"
            raise InputError(f"the {which} rule {described(rule)} is not linear in the {word}, so there is no transpose of it: "
                             f"{why.replace('tangents', word)}")
        call.linear.add(which)


def _check_at_zero(call, x):
    """Refuse, at the first call, a jvp rule that returns a tangent for no tangent: the derivative it stands for is not linear."""
    if not call.linear and any(t is not None and differs_from_zero(t) for t in call.jvp(x, [None] * len(x))[1]):
        raise InputError(f"the jvp rule {described(call.rules.jvp)} is not linear in the tangents, so it is no derivative: what it returns "
                         f"is not zero for zero tangents")
    call.linear.add("at zero")


def _transposed_bwd(call, place, residuals, y_avals, x_dot):
    """J x_dot from the pullback, a linear map whose transpose J is."""
    on = [is_float(a.dtype) for a in y_avals]

    def pullback(*w):
        w = iter(w)
        bars = call.bwd(place, residuals, [next(w) if o else None for o in on])
        return [np.float64(0.0) if b is None else b for b in bars]

    floats = [a for a, o in zip(y_avals, on, strict=True) if o]
    values, equations, outputs = record(pullback, floats, call.rules.verb)
    _check_linear(call, "backward", call.rules.bwd, (values, equations, len(floats), outputs))
    bars = iter(pull(equations, x_dot, outputs, len(floats)))
    return [next(bars) if o else None for o in on]


def _by_vjp(call, x, x_dot):
    y, residuals, place = call.fwd(*x)
    point = tuple(x) if call.rules.jvp is not None else ()
    tail = Tail(call, place, tuple(aval_of(v) for v in y), len(point), len(residuals), tuple(t is not None for t in x_dot))
    made = iter(custom_tangent(*point, *residuals, *[t for t in x_dot if t is not None], tail=tail))
    return y, [next(made) if is_float(a.dtype) else None for a in tail.y_avals]


class Tail:
    """The linear part of a function with a vjp rule: what ``custom_tangent`` needs beside its operands.

    Its operands are the point (where there is a jvp rule to run there), the residuals, the tangents of the active operands.
    """

    __slots__ = ("active", "call", "n_point", "n_residuals", "place", "y_avals")

    def __init__(self, call, place, y_avals, n_point, n_residuals, active):
        self.call, self.place, self.y_avals, self.active = call, place, y_avals, active
        self.n_point, self.n_residuals = n_point, n_residuals

    def __repr__(self):
        return repr(self.call)

    @property
    def digest(self):
        return hashlib.sha256(f"{self.call.digest} {self.place.key} {self.active}".encode()).hexdigest()

    def split(self, operands):
        """Point, residuals, and one tangent an operand (None for zero)."""
        a, b = self.n_point, self.n_point + self.n_residuals
        t = iter(operands[b:])
        return operands[:a], operands[a:b], [next(t) if on else None for on in self.active]


def _tail_value(*operands, tail):
    point, residuals, x_dot = tail.split(operands)
    if tail.n_point:
        y_dot = tail.call.jvp(point, x_dot)[1]
    else:
        y_dot = _transposed_bwd(tail.call, tail.place, residuals, tail.y_avals, x_dot)
    return tuple(zeros_of(a) if t is None else t for a, t in zip(tail.y_avals, y_dot, strict=True) if is_float(a.dtype))


def _tail_jvp(x, y, x_dot, *, tail):
    return forward.jvp(lambda *z: list(_tail_value(*z, tail=tail)), x, x_dot, tail.call.rules.verb)[1]


def _tail_transpose(y_bar, *operands, tail):
    _, residuals, _ = tail.split(operands)
    bars = iter(y_bar)
    full = [next(bars) if is_float(a.dtype) else None for a in tail.y_avals]
    x_bar = tail.call.bwd(tail.place, residuals, full)
    wanted = [b for b, on in zip(x_bar, tail.active, strict=True) if on]
    return (None,) * (tail.n_point + tail.n_residuals) + tuple(wanted)


def _custom_transpose(y_bar, *x, call):
    """Of a function that is linear, called on tangents: its own equations, transposed."""
    on = [isinstance(a, Linear) for a in x]

    def f(*z):
        z = iter(z)
        return call.value(*[next(z) if o else a for a, o in zip(x, on, strict=True)])

    avals = [a.aval for a in x if isinstance(a, Linear)]
    values, equations, outputs = record(f, avals, call.rules.verb)
    _check_linear(call, "transposed", call.rules.f, (values, equations, len(avals), outputs))
    bars = iter(pull(equations, y_bar, outputs, len(avals)))
    return tuple(next(bars) if o else None for o in on)


def _custom_value(*x, call):
    return tuple(call.value(*x))


COMPOSED = Absent("code is generated from its body")
BY_USERS = Absent("it stands for functions of users: tests/test_custom_rules.py tries some")

custom = Primitive(
    "custom",
    impl=_custom_value,
    aval=lambda *x, call: tuple(v.aval for v in call.graph.outputs),
    jvp=lambda x, y, x_dot, *, call: _together(x, x_dot, False, call=call)[1],
    transpose=_custom_transpose,
    batch=_custom_batch,
    ruled=_together,
    body=lambda *x, call: call.graph,
    emit=COMPOSED,
    samples=BY_USERS,
    multiple=True,
)

custom_tangent = Primitive(
    "custom_tangent",
    impl=_tail_value,
    aval=lambda *x, tail: tuple(a for a in tail.y_avals if is_float(a.dtype)),
    jvp=_tail_jvp,
    transpose=_tail_transpose,
    batch=_tail_batch,
    body=lambda *x, tail: trace(lambda *z: list(_tail_value(*z, tail=tail)), x, verb=tail.call.rules.verb)[0],
    emit=COMPOSED,
    samples=BY_USERS,
    multiple=True,
)

__all__ = ["CustomCall", "Rules", "custom", "custom_tangent"]

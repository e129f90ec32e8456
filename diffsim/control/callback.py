"""Functions diffsim cannot look into: it calls them, and their derivative rules, on plain arrays.

Three primitives carry one: ``external`` is its value, ``external_push`` its tangent along a direction, ``external_pull`` its cotangents.
The last two are linear in what they push or pull and each other's transpose.  Either may be missing among the rules given: it is then
computed from the other one, basis vector by basis vector; where both are missing, from central differences of the function.  The same goes
for second derivatives, which are differences of the rules unless those are external functions with rules themselves.
"""

import itertools
import uuid
import warnings

import numpy as np

from ..core import Absent, Aval, Linear, Primitive, Tracer, aval_of, user_depth
from ..core.aval import is_float
from ..core.emission import Back
from ..errors import DifferencesWarning, InputError, MissingRule
from ..prims.elementwise import add
from ..prims.layout import Basic, index, spread, stack
from .places import zeros_of

#: Relative error of what a function computes, where it is not itself made of differences.
ROUNDING = float(np.finfo(float).eps)
#: An element much smaller than the largest one of its array is moved as if it were this part of it.
SMALLEST = 1e-2
_warned, _tokens, _process = set(), itertools.count(), uuid.uuid4().hex


class External:
    """A function of flat plain arrays, with rules of the same kind or without.

    Parameters
    ----------
    name : str
        The user's function and where it is, for messages.
    run : callable
        ``run(*x) -> list of array``.
    out : callable
        ``out(*avals) -> tuple of Aval``.
    push, pull : callable or None
        ``push(x, x_dot) -> y_dot`` and ``pull(x, y_bar) -> x_bar``; lists, None beside what carries no derivative.
    differences : bool, float or None
        Whether differences are wanted (a float is their relative step); None: they are announced by a warning; False: refused.
    vectorized : bool
        Whether all of it may be called with a leading axis of members on every array.
    noise : float
        Relative error of the value.
    """

    remedy = "Give jvp= or vjp=, or say that differences are wanted (differences=True)"

    def __init__(self, name, run, out, *, push=None, pull=None, differences=None, vectorized=False, noise=ROUNDING):
        self.name, self.run, self.out, self.push, self.pull = name, run, out, push, pull
        self.differences, self.vectorized, self.noise = differences, vectorized, noise
        self.digest = f"{_process} {next(_tokens)}"
        self.lasting = True                                 # whether it will be met again: else compiling for it alone is not worth it
        self._jacobian, self._derived = None, {}

    def __repr__(self):
        return self.name

    # ------------------------------------------------------------ values
    def value(self, *x):
        """The value, checked against what was declared."""
        x = [np.asarray(a) for a in x]
        wanted = self.out(*map(aval_of, x))
        y = self.run(*x)
        if len(y) != len(wanted):
            raise InputError(f"{self.name} returned {len(y)} arrays; {len(wanted)} were declared")
        return tuple(as_declared(v, a, f"{self.name} returned") for v, a in zip(y, wanted, strict=True))

    def pushed(self, x, x_dot):
        """Tangents of the value's floating-point parts; ``x_dot[i]`` is None beside operands that do not move."""
        y_avals = self.out(*map(aval_of, x))
        if self.push is not None:
            y_dot = self.push(x, [zeros_of(aval_of(a)) if t is None and is_float(a.dtype) else t for a, t in zip(x, x_dot, strict=True)])
            return self._parts(y_dot, y_avals, "the jvp rule of")
        if self.pull is None and self._known(x) is None:
            return self._along(x, x_dot)
        parts = [a for a in y_avals if is_float(a.dtype)]
        return [as_declared(sum((block.push(t) for block, t in zip(row, x_dot, strict=True) if t is not None), zeros_of(a)), a, self.name)
                for row, a in zip(self.jacobian(x), parts, strict=True)]

    def pulled(self, x, y_bar):
        """Cotangents of the operands (None for those without derivative)."""
        if self.pull is not None:
            full, bars = [], iter(y_bar)
            for a in self.out(*map(aval_of, x)):
                full.append(next(bars) if is_float(a.dtype) else None)
            bars = self.pull(x, full)
            return [None if not is_float(a.dtype) else zeros_of(aval_of(a)) if b is None
                    else as_declared(b, aval_of(a), f"the vjp rule of {self.name} returned, as a cotangent,")
                    for a, b in zip(x, bars, strict=True)]
        out = [zeros_of(aval_of(a)) if is_float(a.dtype) else None for a in x]
        for row, b in zip(self.jacobian(x), y_bar, strict=True):
            for i, block in enumerate(row):
                if block is not None:
                    out[i] = out[i] + block.pull(b).astype(x[i].dtype)
        return out

    def _parts(self, y_dot, y_avals, who):
        if len(y_dot) != len(y_avals):
            raise InputError(f"{who} {self.name} returned {len(y_dot)} tangents for {len(y_avals)} values")
        return [zeros_of(a) if t is None else as_declared(t, a, f"{who} {self.name} returned, as a tangent,")
                for t, a in zip(y_dot, y_avals, strict=True) if is_float(a.dtype)]

    # ------------------------------------------------------------ Jacobians
    def _known(self, x):
        """The Jacobian last computed, if it was here."""
        if self._jacobian is None:
            return None
        at, blocks = self._jacobian
        return blocks if all(np.array_equal(a, b) for a, b in zip(at, x, strict=True)) else None

    def jacobian(self, x):
        """Blocks of the Jacobian: one row a floating-point part of the value, in it one array (or None) an operand."""
        blocks = self._known(x)
        if blocks is None:
            blocks = self._by_rows(x) if self.pull is not None else self._by_columns(x)
            self._jacobian = [np.array(a) for a in x], blocks
        return blocks

    def _by_columns(self, x):
        rows = [[Block(v, a) if is_float(a.dtype) else None for a in x] for v in self.out(*map(aval_of, x)) if is_float(v.dtype)]
        for i, a in enumerate(x):
            for j, unit, part in _basis(a):
                column = self.pushed(x, [unit if k == i else None for k in range(len(x))])
                for row, t in zip(rows, column, strict=True):
                    getattr(row[i], part)[..., j] = t
        return rows

    def _by_rows(self, x):
        parts = [v for v in self.out(*map(aval_of, x)) if is_float(v.dtype)]
        rows = [[Block(v, a) if is_float(a.dtype) else None for a in x] for v in parts]
        for i, v in enumerate(parts):
            for j, unit, part in _basis(np.empty(v.shape, v.dtype)):
                bars = self.pulled(x, [unit if k == i else zeros_of(w) for k, w in enumerate(parts)])
                for block, bar in zip(rows[i], bars, strict=True):
                    if block is not None:
                        block.set_row(j, np.reshape(bar, -1), part)
        return rows

    def _along(self, x, x_dot):
        """Central difference along a direction."""
        self.announce(x)
        step = self.step
        sizes = [float(np.max(np.abs(t) / _scale(a), initial=0.0)) for a, t in zip(x, x_dot, strict=True) if t is not None]
        largest = max(sizes, default=0.0)
        y = self.out(*map(aval_of, x))
        if not largest > 0:
            return [zeros_of(a) for a in y if is_float(a.dtype)]
        h = step / largest
        up, down = ([a if t is None else (a + s * t).astype(a.dtype) for a, t in zip(x, x_dot, strict=True)] for s in (h, -h))
        return [((np.asarray(b) - np.asarray(c)) / (2 * h)).astype(v.dtype)[()]
                for b, c, v in zip(self.value(*up), self.value(*down), y, strict=True) if is_float(v.dtype)]

    @property
    def step(self):
        """Relative step of differences."""
        return self.noise ** (1 / 3) if self.differences in (None, True) else float(self.differences)

    def announce(self, x):
        """Say, once, that differences take the place of rules.

        Raises
        ------
        MissingRule
            They are refused.
        """
        if self.push is not None or self.pull is not None:
            return
        if self.differences is False:
            raise MissingRule(self.name, "jvp", "neither jvp= nor vjp= was given, and differences=False")
        if self.differences is None and self.name not in _warned:
            _warned.add(self.name)
            n = sum(a.size for a in x if is_float(a.dtype))
            warnings.warn(f"{self.name} has no derivative rule: central differences are used, 2 calls a direction and {2 * n} for a "
                          f"gradient. {self.remedy}", DifferencesWarning, stacklevel=user_depth())

    # ------------------------------------------------------------ made from it
    def batched(self, n):
        """The same of arrays with a leading axis of ``n`` members."""
        def out(*avals):
            return tuple(Aval((n, *a.shape), a.dtype) for a in self.out(*[Aval(a.shape[1:], a.dtype) for a in avals]))
        return self._made(("batched", n), lambda: External(self.name, self.run, out, push=self.push, pull=self.pull, vectorized=True,
                                                           differences=self.differences, noise=self.noise))

    def pushing(self, active):
        """The tangent as an external function of operands and tangents."""
        m = len(active)

        def run(*z):
            t = iter(z[m:])
            return self.pushed(list(z[:m]), [next(t) if on else None for on in active])

        return self._made(("push", active), lambda: self.derivative(
            "push", active, f"the tangent of {self.name}", run, lambda *a: tuple(v for v in self.out(*a[:m]) if is_float(v.dtype)),
            lambda n: self.batched(n).pushing(active), differences=self.differences, noise=self._noise_of_rules,
            vectorized=self.vectorized and self.pull is None))

    def pulling(self, active):
        """The cotangents as an external function of operands and cotangents."""
        m = len(active)

        def run(*z):
            return [b for b, on in zip(self.pulled(list(z[:m]), list(z[m:])), active, strict=True) if on]

        return self._made(("pull", active), lambda: self.derivative(
            "pull", active, f"the cotangent of {self.name}", run, lambda *a: tuple(v for v, on in zip(a[:m], active, strict=True) if on),
            lambda n: self.batched(n).pulling(active), differences=self.differences, noise=self._noise_of_rules,
            vectorized=self.vectorized and self.pull is not None))

    def derivative(self, kind, active, *rest, **more):
        """Make what :meth:`pushing` and :meth:`pulling` return."""
        return Derivative(*rest, **more)

    @property
    def _noise_of_rules(self):
        return ROUNDING if self.push or self.pull else self.noise ** (2 / 3)

    def _made(self, key, make):
        if key not in self._derived:
            self._derived[key] = make()
        return self._derived[key]


class Derivative(External):
    """A tangent or cotangent as a function of the point: what second derivatives differentiate."""

    remedy = ("For exact second derivatives write the rule in NumPy and external functions, with ds.custom_jvp around this one; or say "
              "that differences are wanted (differences=True)")

    def __init__(self, name, run, out, batched, **more):
        super().__init__(name, run, out, **more)
        self._members = batched

    def batched(self, n):
        return self._members(n)


def as_declared(v, aval, what):
    """A plain array of the declared shape and dtype.

    Raises
    ------
    InputError
        It has another shape, or a dtype that cannot be cast to the declared one.
    """
    v = v if isinstance(v, Tracer) else np.asarray(v)
    if isinstance(v, Tracer) or v.dtype == object:
        raise InputError(f"{what} a traced value, but it was called on plain arrays: it must not use values of the transform around it")
    if v.shape != tuple(aval.shape) or not np.can_cast(v.dtype, aval.dtype, "same_kind"):
        raise InputError(f"{what} {aval_of(v)}; {aval} was declared")
    return v.astype(aval.dtype)[()]


def _basis(a):
    """Directions of an array: position, direction, and whether it is a real or an imaginary one."""
    for j in range(a.size if is_float(a.dtype) else 0):
        for part, one in (("real", 1.0), ("imag", 1j))[:2 if a.dtype.kind == "c" else 1]:
            e = np.zeros(a.size, a.dtype)
            e[j] = one
            yield j, e.reshape(a.shape)[()], part


class Block:
    """Part of a Jacobian: what a value's array does when one operand moves, in real directions and (if complex) in imaginary ones."""

    __slots__ = ("imag", "real", "shape")

    def __init__(self, v, a):
        self.shape = a.shape
        self.real = np.zeros((*v.shape, a.size), v.dtype)
        self.imag = np.zeros((*v.shape, a.size), v.dtype) if a.dtype.kind == "c" else None

    def set_row(self, j, bar, part):
        """Enter the cotangent for the unit j of the value: Re(bar v) is the real part, for an imaginary unit minus the imaginary one."""
        unit = 1.0 if part == "real" else -1j
        self.real.reshape(-1, bar.size)[j] += unit * bar.real
        if self.imag is not None:
            self.imag.reshape(-1, bar.size)[j] -= unit * bar.imag

    def push(self, t):
        """The value's tangent."""
        t = np.reshape(t, -1)
        return self.real @ t if self.imag is None else self.real @ t.real + self.imag @ t.imag

    def pull(self, w):
        """The operand's cotangent: Re(sum(pull(w) v)) = Re(sum(w push(v)))."""
        w = np.reshape(w, -1)
        bar = (w @ self.real.reshape(w.size, -1)).real
        if self.imag is not None:
            bar = bar - 1j * (w @ self.imag.reshape(w.size, -1)).real
        return np.reshape(bar, self.shape)


def _scale(a):
    """Sizes of the elements of an array, for steps."""
    size = np.abs(a)
    largest = float(np.max(size, initial=0.0))
    return np.maximum(size, SMALLEST * largest) if largest > 0 and np.isfinite(largest) else np.ones(np.shape(a))


# ---------------------------------------------------------------- the primitives
class Carriers:
    """The three primitives of one kind of external functions.

    Parameters
    ----------
    name : str
    emits : (emit, emit, emit)
        Of the value, the tangent, the cotangent.
    """

    def __init__(self, name, emits):
        why = Absent(f"it stands for functions of users: tests/test_{'kernel' if name == 'kernel' else 'custom_rules'}.py tries some")
        shared = {"samples": why, "multiple": True}
        self.value = Primitive(name, impl=lambda *x, fn: fn.value(*x), aval=lambda *x, fn: fn.out(*x), jvp=self._value_jvp,
                               transpose=Absent("what is inside is not known: its tangent has a transpose"), batch=self._value_batch,
                               emit=emits[0], **shared)
        self.push = Primitive(f"{name}_push", impl=_push_value, aval=_push_aval, jvp=self._push_jvp, transpose=self._push_transpose,
                              batch=self._push_batch, emit=emits[1], **shared)
        self.pull = Primitive(f"{name}_pull", impl=_pull_value, aval=_pull_aval, jvp=self._pull_jvp, transpose=self._pull_transpose,
                              batch=self._pull_batch, emit=emits[2], **shared)

    # ------------------------------------------------------------ derivatives
    def _value_jvp(self, x, y, x_dot, *, fn):
        active = tuple(t is not None for t in x_dot)
        return _among(self.push(*x, *[t for t in x_dot if t is not None], fn=fn, active=active), y)

    def _push_jvp(self, x, y, x_dot, *, fn, active):
        """The tangent along the tangents' tangents, and the change of the tangent with the point."""
        m = len(active)
        total = self._linear_part(self.push, x, x_dot, m, {"fn": fn, "active": active})
        return self._with_point(fn.pushing(active), x, x_dot, m, total)

    def _pull_jvp(self, x, y, x_dot, *, fn, active):
        m = len(active)
        total = self._linear_part(self.pull, x, x_dot, m, {"fn": fn, "active": active})
        return self._with_point(fn.pulling(active), x, x_dot, m, total)

    def _linear_part(self, prim, x, x_dot, m, params):
        if all(t is None for t in x_dot[m:]):
            return None
        return prim(*x[:m], *[zeros_of(aval_of(a)) if t is None else t for a, t in zip(x[m:], x_dot[m:], strict=True)], **params)

    def _with_point(self, made, x, x_dot, m, total):
        if all(t is None for t in x_dot[:m]):
            return total
        moving = tuple(t is not None for t in x_dot[:m]) + (False,) * (len(x) - m)
        change = self.push(*x, *[t for t in x_dot[:m] if t is not None], fn=made, active=moving)
        return change if total is None else tuple(map(add, total, change))

    def _push_transpose(self, y_bar, *x, fn, active):
        m = len(active)
        bars = iter(self.pull(*x[:m], *y_bar, fn=fn, active=active))
        return (None,) * m + tuple(b if isinstance(a, Linear) else None for a, b in zip(x[m:], bars, strict=True))

    def _pull_transpose(self, x_bar, *x, fn, active):
        m = len(active)
        return (None,) * m + tuple(self.push(*x[:m], *x_bar, fn=fn, active=active))

    # ------------------------------------------------------------ batches
    def _value_batch(self, n, batched, *x, fn):
        return _members(self.value, n, batched, x, fn, {}, fn.vectorized)

    def _push_batch(self, n, batched, *x, fn, active):
        return _members(self.push, n, batched, x, fn, {"active": active}, fn.vectorized and fn.pull is None)

    def _pull_batch(self, n, batched, *x, fn, active):
        return _members(self.pull, n, batched, x, fn, {"active": active}, fn.vectorized and fn.pull is not None)


def _among(y_dot, y):
    """Tangents of all parts of a value from those of its floating-point ones."""
    y_dot = iter(y_dot)
    return tuple(next(y_dot) if is_float(aval_of(v).dtype) else None for v in y)


def _push_value(*z, fn, active):
    m, t = len(active), iter(z[len(active):])
    return tuple(fn.pushed([np.asarray(a) for a in z[:m]], [np.asarray(next(t)) if on else None for on in active]))


def _push_aval(*z, fn, active):
    return tuple(a for a in fn.out(*z[:len(active)]) if is_float(a.dtype))


def _pull_value(*z, fn, active):
    m = len(active)
    bars = fn.pulled([np.asarray(a) for a in z[:m]], [np.asarray(b) for b in z[m:]])
    return tuple(b for b, on in zip(bars, active, strict=True) if on)


def _pull_aval(*z, fn, active):
    return tuple(a for a, on in zip(z, active, strict=False) if on)


def _members(prim, n, batched, x, fn, params, at_once):
    """All members: in one call where the function takes them, else one by one."""
    if at_once and n:
        return prim(*spread(n, batched, x), fn=fn.batched(n), **params)
    rows = [prim(*[index(a, at=Basic((i, *[(0, s, 1) for s in a.shape[1:]]), None)) if on else a for a, on in zip(x, batched, strict=True)],
                 fn=fn, **params) for i in range(n)]
    if not rows:
        member = [Aval(tuple(a.shape[1:]), a.dtype) if on else aval_of(a) for a, on in zip(x, batched, strict=True)]
        avals = prim.aval(*member, fn=fn, **params)
        return tuple(np.zeros((0, *a.shape), a.dtype) for a in avals)
    return tuple(stack(*column, axis=0) for column in zip(*rows, strict=True))


PYTHON = Back("it calls a Python function")
external = Carriers("external", (PYTHON, PYTHON, PYTHON))

__all__ = ["Carriers", "External", "external"]

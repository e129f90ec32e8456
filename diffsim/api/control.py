"""Loops that transforms and graphs keep as they are.

Plain Python loops and branches work under every derivative too; they are unrolled.  With plain numbers these verbs are Python loops
themselves.  Under a transform their functions are traced once to graphs and run as one primitive; where that is impossible because
a function branches on a carried value, derivatives run it step by step in Python, and ``jit`` says so.
"""

import operator

import numpy as np

from .. import tree
from ..control import bodies as graphs
from ..control.cond import INDEX
from ..control.jit import warn_once
from ..control.loops import NOT_KEPT, while_
from ..control.scan import run, state_bytes
from ..control.schedule import chosen
from ..control.steady import Watch
from ..core import Tracer, aval_of, bind, user_line
from ..errors import InputError, InputTypeError, UnsteadyError
from ..numpy.rebind import rebound
from ..prims.elementwise import add, not_equal, sub
from ..prims.layout import basic
from ..prims.layout import index as _index
from .arguments import name_of
from .bodies import (
    UNTRACEABLE,
    Carry,
    Returned,
    Traced,
    any_traced,
    callable_or_raise,
    cast,
    given,
    joined,
    paths,
    recorded,
    results,
    slice_aval,
    stacked_leaf,
    union,
    value,
)
from .choices import scalar
from .closures import closed_over, with_tables


# ---------------------------------------------------------------- loops of known length
def scan(f, init, xs=None, length=None, reverse=False, *, memory=None, checkpoint=None):
    """Run ``carry, y = f(carry, x)`` over the entries of ``xs``; the last carry and all y stacked.

    Parameters
    ----------
    f : callable
        ``f(carry, x) -> (carry, y)``.  The carry keeps its structure, shapes and dtypes; Python numbers take the dtype they meet.
    init : pytree
        First carry.
    xs : pytree, optional
        Arrays with one leading length; ``x`` has their entries (None: there are none).
    length : int, optional
        Number of steps; needed where ``xs`` has no arrays.
    reverse : bool
        From the last entry to the first; ``y`` stay beside their ``x``.
    memory : float, optional
        Bytes that the states kept for a gradient may take.
    checkpoint : {None, "all", "sqrt", "binomial"} or int
        Which states are kept for a gradient: all (default), those of two levels (about 2 sqrt(n), each step computed twice), the fewest
        with which no step is run forward more than three times, or the given number; the steps between are computed again, as few as
        possible.  The gradient is the same to the last bit.

    Returns
    -------
    carry, ys : pytree

    Raises
    ------
    InputTypeError
        The carry changes its structure, a shape or a dtype (the leaf is named).
    InputError
        Lengths differ or are missing; the budget is too small.

    Notes
    -----
    Reverse mode keeps the states before the steps and computes each step again; forward mode keeps nothing.  Binomial schedule: Griewank &
    Walther, ACM Trans. Math. Softw. 26 (2000) 19-45.

    A function that draws random numbers, or changes a list or an object of Python's, is run step by step by derivatives and uncompiled
    under ``jit``, with the draws of a plain call: pass the numbers as ``xs`` to have one fast loop.
    """
    callable_or_raise(f, "scan", "f")
    return _Scan("scan", f, _step_of_pairs, init, xs, length, reverse, memory, checkpoint).result()


def _step_of_pairs(f, carry, x):
    out = f(carry, x)
    if not (isinstance(out, tuple) and len(out) == 2):
        raise InputTypeError(f"{user_line()}: scan: {name_of(f)} must return a pair (carry, y), not a {type(out).__name__}")
    return out


def fori_loop(lower, upper, body_fun, init_val, *, memory=None, checkpoint=None):
    """``val = body_fun(i, val)`` for i from ``lower`` to ``upper - 1``; the last val.

    Parameters
    ----------
    lower, upper : int
        May be symbols in a graph: the loop is then a :func:`while_loop`.
    body_fun : callable
        ``body_fun(i, val) -> val``; keeps structure, shapes and dtypes.
    init_val : pytree
    memory, checkpoint
        As in :func:`scan`.

    Returns
    -------
    pytree

    Raises
    ------
    InputTypeError
        A bound is no integer; or as :func:`scan`.
    """
    callable_or_raise(body_fun, "fori_loop", "body_fun")
    lower, upper = scalar(lower, "fori_loop", "lower", "iu"), scalar(upper, "fori_loop", "upper", "iu")
    if isinstance(lower, Tracer) or isinstance(upper, Tracer):
        if memory is not None or checkpoint is not None:
            raise InputError(f"{user_line()}: fori_loop: memory and checkpoint need bounds that are known")
        first = np.int64(0)
        n, low = cast(sub(upper, lower), INDEX), cast(add(lower, first), INDEX)
        return while_loop(lambda state: state[0] < n, lambda state: (state[0] + 1, body_fun(state[0] + low, state[1])),
                          (first, init_val))[1]
    xs = np.arange(int(lower), int(upper))
    return _Scan("fori_loop", body_fun, lambda f, carry, i: (f(i, carry), None), init_val, xs, None, False, memory, checkpoint).result()[0]


class _Scan:
    """One call of a loop of known length."""

    def __init__(self, verb, f, step, init, xs, length, reverse, memory, checkpoint):
        self.verb, self.f, self.step, self.carry, self.reverse = verb, f, step, Carry(init, verb), bool(reverse)
        flat, self.xs_struct = tree.flatten(xs)
        self.xs = [value(x, f"{verb}: {where}") for x, where in zip(flat, paths(self.xs_struct, "xs"), strict=True)]
        self.n = self._length(length)
        self.memory, self.checkpoint = memory, checkpoint
        chosen(self.n, 0, checkpoint, memory, verb)           # complain about arguments at the call

    def _length(self, length):
        for x, where in zip(self.xs, paths(self.xs_struct, "xs"), strict=True):
            if not x.shape:
                raise InputError(f"{user_line()}: {self.verb}: {where} is a scalar; the loop runs over its first axis")
        lengths = {int(x.shape[0]) for x in self.xs}
        if length is not None:
            try:
                length = operator.index(length)
            except TypeError:
                raise InputTypeError(f"{user_line()}: {self.verb}: length is {length!r}; it must be an integer") from None
            if length < 0:
                raise InputError(f"{user_line()}: {self.verb}: length is {length}")
            lengths.add(length)
        if len(lengths) != 1:
            what = f"the arrays of xs (and length) differ in length: {sorted(lengths)}" if lengths else "give xs or length"
            raise InputError(f"{user_line()}: {self.verb}: {what}")
        return lengths.pop()

    def result(self):
        """The last carry and the stacked results."""
        if self.n and not any_traced([*self.carry.values, *self.xs]) and not closed_over(self.f):
            done = self._python(rebind=False)
            if done is not None:
                return done
        try:
            body, outer = self._graph()
        except UNTRACEABLE as reason:
            if not self.n or _refused(reason, [*self.carry.values, *self.xs, *closed_over(self.f)]):
                raise
            if self.checkpoint not in (None, "all") or self.memory is not None:
                warn_once(("scan", str(reason)), f"{self.verb} keeps everything for the gradient, as its function cannot be traced: "
                                                 f"{reason}")
            return self._python(rebind=True)
        n = len(outer) + len(self.carry.values)
        kept = chosen(self.n, state_bytes(body, n), self.checkpoint, self.memory, self.verb)
        operands = [*outer, *self.carry.values, *self.xs]
        out = run(operands, body, length=self.n, reverse=self.reverse, carries=n, kept=kept)
        return (results(self.carry.struct, out[len(outer):n], operands), results(self.y_struct, out[n:], operands))

    # ------------------------------------------------------------ as one primitive
    def _graph(self):
        """The body as a graph from outer values, carries and slices, and those outer values."""
        f = with_tables(self.f)
        while True:
            found = []

            def flat(*x, found=found):
                n = len(self.carry.values)
                carry, y = self.step(f, self.carry.tree(x[:n]), tree.unflatten(self.xs_struct, map(given, x[n:])))
                out, ys = Returned(carry, self.verb, "carry"), Returned(y, self.verb, "y")
                self.y_struct = ys.struct
                found.append(self.carry.promoted(out, self.f))
                return [*self.carry.fitted(out), *ys.values]

            part = Traced(flat, [*self.carry.avals(), *map(slice_aval, self.xs)], self.verb, (f, self.f))
            if found[0]:
                part.undo()
            else:
                outer = union([part.steady()])
                n = len(self.carry.values)
                graph = joined(part, n + len(self.xs), outer, loop=True)
                return graphs.interned(graph), outer

    # ------------------------------------------------------------ as a Python loop
    def _python(self, rebind):
        """Step by step; None where plain numbers turn out to meet traced ones."""
        f, before = rebound(self.f) if rebind else self.f, Watch((self.f,))
        while True:
            state, columns = self.carry.values, []
            for k in range(self.n):
                i = self.n - 1 - k if self.reverse else k
                x = tree.unflatten(self.xs_struct, [given(_entry(a, i)) for a in self.xs])
                carry, y = self.step(f, self.carry.tree(state), x)
                out, ys = Returned(carry, self.verb, "carry"), Returned(y, self.verb, "y")
                if not rebind and not k and any_traced([*out.values, *ys.values]):
                    return before.restore()
                if self.carry.promoted(out, self.f):
                    _begun_again(before, self.verb, self.f)
                    break
                state = self.carry.fitted(out)
                columns.append([v.copy() if v.__class__ is np.ndarray else v for v in ys.values])
            else:
                columns = columns[::-1] if self.reverse else columns
                stacks = [stacked_leaf(column) for column in zip(*columns, strict=True)]
                operands = [*self.carry.values, *self.xs]
                return results(self.carry.struct, state, operands), results(ys.struct, stacks, operands)


def _refused(reason, values):
    """Whether a loop whose function is another at every step stands in a graph, which cannot hold that."""
    return isinstance(reason, UnsteadyError) and recorded(values)


def _begun_again(before, verb, f):
    """The first step is run again from a value of another dtype: put back what it changed."""
    if before.moving and before.moving[:2] == "a ":
        raise InputTypeError(f"{user_line()}: {verb}: {name_of(f)} returned a carry of another dtype than it was given, and reads "
                             f"{before.moving}, which cannot begin again: convert the first value (1.0 in place of 1)")
    before.restore()


def _entry(x, i):
    """Entry i along the first axis."""
    return x[i] if x.__class__ is np.ndarray else _index(x, at=basic(tuple(x.shape), (i, *[slice(None)] * (len(x.shape) - 1))))


# ---------------------------------------------------------------- loops of unknown length
def while_loop(cond_fun, body_fun, init_val):
    """``val = body_fun(val)`` as long as ``cond_fun(val)``; the last val.

    Parameters
    ----------
    cond_fun : callable
        ``cond_fun(val) -> bool``, a scalar.
    body_fun : callable
        ``body_fun(val) -> val``; keeps structure, shapes and dtypes.
    init_val : pytree

    Returns
    -------
    pytree

    Raises
    ------
    InputTypeError
        ``cond_fun`` returns no scalar; or as :func:`scan`.

    Notes
    -----
    The derivative is that of the iterations that are run; their number is a constant.  Reverse mode keeps the states, however many.
    """
    callable_or_raise(cond_fun, "while_loop", "cond_fun")
    callable_or_raise(body_fun, "while_loop", "body_fun")
    return _While(cond_fun, body_fun, init_val).result()


class _While:
    """One call of a loop of unknown length."""

    def __init__(self, cond_fun, body_fun, init):
        self.cond_fun, self.body_fun, self.carry = cond_fun, body_fun, Carry(init, "while_loop")

    def result(self):
        """The last carry."""
        if not any_traced(self.carry.values) and not closed_over(self.cond_fun) and not closed_over(self.body_fun):
            done = self._python(rebind=False)
            if done is not None:
                return done
        try:
            test, body, outer = self._graphs()
        except UNTRACEABLE as reason:
            if _refused(reason, [*self.carry.values, *closed_over(self.cond_fun), *closed_over(self.body_fun)]):
                raise
            return self._python(rebind=True)
        operands = [*outer, *self.carry.values]
        out = bind(while_, operands, {"cond": test, "body": body, **NOT_KEPT})
        return results(self.carry.struct, out[len(outer):len(operands)], operands)

    def _going(self, going):
        """The condition: a scalar."""
        x = value(going, "while_loop: the value of cond_fun")
        if tuple(x.shape):
            raise InputTypeError(f"{user_line()}: while_loop: {name_of(self.cond_fun)} returned {aval_of(x)}; it must return a scalar bool")
        return x

    def _graphs(self):
        n, cond_fun, body_fun = len(self.carry.values), with_tables(self.cond_fun), with_tables(self.body_fun)

        def test(*x):
            going = self._going(cond_fun(self.carry.tree(x)))
            return [going if going.dtype.kind == "b" else not_equal(going, 0)]

        def body(*x):
            out = Returned(body_fun(self.carry.tree(x)), "while_loop", "carry")
            found.append(self.carry.promoted(out, self.body_fun))
            return self.carry.fitted(out)
        while True:
            found = []
            parts = [Traced(test, self.carry.avals(), "while_loop", (cond_fun, self.cond_fun)).steady(),
                     Traced(body, self.carry.avals(), "while_loop", (body_fun, self.body_fun))]
            if found[0]:
                parts[1].undo()
            else:
                outer = union([parts[0], parts[1].steady()])
                return (graphs.interned(joined(parts[0], n, outer)), graphs.interned(joined(parts[1], n, outer, loop=True)), outer)

    def _python(self, rebind):
        """Step by step; None where plain numbers turn out to meet traced ones."""
        cond_fun, body_fun = (rebound(self.cond_fun), rebound(self.body_fun)) if rebind else (self.cond_fun, self.body_fun)
        before = Watch((self.cond_fun, self.body_fun))
        while True:
            state, first = self.carry.values, True
            while True:
                going = self._going(cond_fun(self.carry.tree(state)))
                if not rebind and first and isinstance(going, Tracer):
                    return before.restore()
                if not going:
                    return results(self.carry.struct, state, self.carry.values)
                out = Returned(body_fun(self.carry.tree(state)), "while_loop", "carry")
                if not rebind and first and any_traced(out.values):
                    return before.restore()
                if self.carry.promoted(out, self.body_fun):
                    _begun_again(before, "while_loop", self.body_fun)
                    break
                state, first = self.carry.fitted(out), False


__all__ = ["fori_loop", "scan", "while_loop"]

"""Functions a user gives to a control-flow verb, as graphs: pytrees in and out, types checked, Python numbers taken as weak.

A Python number has no dtype of its own: as a carry or a result it takes that of what it meets, as in NumPy.
"""

import numpy as np

from .. import tree
from ..control import bodies as graphs
from ..control.jit import described
from ..control.steady import CHANGED, GROWN, SAME, Watch
from ..core import ArrayTracer, Aval, Graph, Tracer, Var, aval_of, narrow, user_line
from ..core import is_weak as is_number
from ..core.bits import same_bits
from ..errors import ConcretizationError, DerivativeLost, InputTypeError, MissingRule, UnsteadyError
from ..numpy.array import fresh
from ..numpy.lending import lent
from ..numpy.stacking import is_value, stacked
from ..passes.cse import operand_key
from ..prims import layout
from ..transforms import trace
from ..transforms.forward import ForwardTrace
from ..transforms.stage import GraphTrace
from .arguments import array, name_of

WEAK = (bool, int, float, complex)
#: What tracing a function may raise that running it on numbers need not.  IndexError: a plain array was indexed by a symbol.
UNTRACEABLE = (ConcretizationError, DerivativeLost, MissingRule, IndexError)


def is_weak(x):
    """Whether a leaf is a number of Python's own."""
    return type(x) in WEAK


def value(x, where):
    """A leaf as a tracer, array or NumPy scalar.

    Raises
    ------
    InputTypeError
        It is no number.
    """
    if not is_value(x):
        raise InputTypeError(f"{where} is a {type(x).__name__}; loops carry numbers, arrays and containers of them")
    x = array(x)
    return x[()] if x.__class__ is np.ndarray and not x.shape else x


def paths(struct, root):
    """Where each leaf of a structure stands, as one would write it."""
    if struct == tree.LEAF:
        return [root]
    kind, meta, children = struct
    keyed = isinstance(kind, type) and issubclass(kind, dict)
    names = range(len(children)) if meta is None else meta
    out = []
    for name, child in zip(names, children, strict=True):
        out += paths(child, f"{root}[{name!r}]" if keyed or meta is None else f"{root}.{name}")
    return out


def given(x):
    """A leaf as a user's function receives it: traced ones as arrays that refuse to be written, plain ones read-only."""
    if x.__class__ is np.ndarray:
        x = x.view()
        x.flags.writeable = False
        return x
    return lent(x)


def result(x, operands=()):
    """A value as it is handed to the user: an array of his own."""
    if x.__class__ is ArrayTracer:
        return fresh(x)
    if x.__class__ is np.ndarray:
        if not x.shape:
            return x[()]
        return x if x.flags.writeable and x.flags.owndata and all(x is not a for a in operands) else x.copy()
    return x


def results(struct, values, operands=()):
    """Values as a tree of the user's own arrays."""
    return tree.unflatten(struct, [result(x, operands) for x in values])


def any_traced(values):
    """Whether a transform is at work on any of them."""
    return any(isinstance(x, Tracer) for x in values)


class Returned:
    """What a function returned: flat values, which of them are weak (``numbers``: traced ones, too), and their structure."""

    __slots__ = ("numbers", "struct", "values", "weak")

    def __init__(self, out, verb, what):
        flat, self.struct = tree.flatten(out)
        self.weak, self.numbers = [is_weak(x) for x in flat], [is_number(x) for x in flat]
        self.values = [value(x, f"{verb}: {where}") for x, where in zip(flat, paths(self.struct, what), strict=True)]

    def avals(self):
        return [aval_of(x) for x in self.values]


def callable_or_raise(f, verb, what):
    """Raise InputTypeError unless ``f`` can be called."""
    if not callable(f):
        raise InputTypeError(f"{verb}: {what} must be a function, not a {type(f).__name__}")


def cast(x, dtype):
    """A value in a dtype."""
    if x.dtype == dtype:
        return x
    return layout.convert(x, dtype=dtype) if isinstance(x, Tracer) else np.asarray(x).astype(dtype)[()]


class Carry:
    """The state of a loop: flat values, their structure, and which of them may still change their dtype.

    Parameters
    ----------
    init : pytree
    verb : str
    """

    def __init__(self, init, verb):
        flat, self.struct = tree.flatten(init)
        self.verb, self.weak, self.paths = verb, [is_weak(x) for x in flat], paths(self.struct, "carry")
        self.lowered = set()                                  # places that took a lower dtype: once, so that this ends
        self.values = [value(x, f"{verb}: {where}") for x, where in zip(flat, self.paths, strict=True)]

    def avals(self):
        return [aval_of(x) for x in self.values]

    def promoted(self, out, f):
        """Whether the first values must take another dtype, which they then have, for the body to return what it was given.

        Raises
        ------
        InputTypeError
            Structure, shape or dtype of the carry would change.
        """
        if out.struct != self.struct:
            mine, theirs = set(self.paths), set(paths(out.struct, "carry"))
            differ = "".join(f"; {word} {', '.join(sorted(some))}" for word, some in (
                ("missing", mine - theirs), ("unexpected", theirs - mine)) if some)
            raise InputTypeError(f"{user_line()}: {self.verb}: {name_of(f)} returned a carry of another structure than it was given"
                                 f"{differ or ' (other containers)'}. The carry keeps its structure, shapes and dtypes.")
        changed = False
        for n, (x, new, weak) in enumerate(zip(self.values, out.values, out.weak, strict=True)):
            have, got = aval_of(x), aval_of(new)
            if have == got:
                continue
            dtype = np.result_type(have.dtype, got.dtype) if not weak else np.result_type(have.dtype, _python(got.dtype))
            if have.shape == got.shape and dtype == have.dtype and weak:
                continue                                      # a Python number takes the carry's dtype
            if self.weak[n] and not weak and n not in self.lowered:
                dtype = np.result_type(_python(have.dtype), got.dtype)          # it takes the dtype of what it becomes, a lower one too
            if have.shape == got.shape and self.weak[n] and dtype != have.dtype:
                self.lowered |= {n} if np.can_cast(dtype, have.dtype) else set()
                self.values[n], changed = cast(x, dtype), True
                continue
            raise InputTypeError(f"{user_line()}: {self.verb}: {self.paths[n]} is {have} before a step and {got} after it "
                                 f"({name_of(f)}). The carry keeps its structure, shapes and dtypes: convert the first value, or what is "
                                 f"returned.")
        return changed

    def fitted(self, out):
        """What the body returned, Python numbers in the dtype of the carry."""
        return [cast(x, aval_of(have).dtype) if weak else x for x, have, weak in zip(out.values, self.values, out.weak, strict=True)]

    def tree(self, values):
        """Values as the user's function receives them."""
        return tree.unflatten(self.struct, map(given, values))


def _python(dtype):
    """A Python number of the kind of a dtype."""
    return {"b": False, "i": 0, "u": 0, "f": 0.0, "c": 0j}[dtype.kind]


# ---------------------------------------------------------------- graphs with what they close over as inputs
def numbers(values):
    """Those of some operands that are numbers of Python's, None for each other."""
    return [x if is_number(x) and (isinstance(x, Tracer) or x.__class__ in (float, complex)) else None for x in values]


class Traced:
    """A function's graph and the outer values it reads.

    Parameters
    ----------
    f : callable
        Of arrays, returning a list of them.
    avals : sequence of Aval
    verb : str
    functions : sequence of callable
        Of the user's, that ``f`` calls; what they reach is as it was if tracing fails.
    numbers : sequence, optional
        The inputs that are numbers of Python's here, traced or not; None for each other.

    Raises
    ------
    UnsteadyError
        They read an iterator or a clock, each step its own value; nothing is traced.
    """

    __slots__ = ("_again", "_functions", "_verb", "_watch", "_weak", "captured", "graph")

    def __init__(self, f, avals, verb, functions, steady=True, numbers=()):
        self._weak = [x is not None for x in numbers]
        self._again, self._functions, self._verb = (f, avals, verb), functions, verb
        self._watch = Watch(functions)
        if steady and self._watch.moving:
            raise self._unsteady(self._watch.moving)
        try:
            self.graph, self.captured = trace(f, avals, verb=verb, hoist=True, weak=self._weak)
        except Exception:
            self._watch.restore()
            raise
        if self.graph.narrowed:
            for x in numbers:
                if isinstance(x, Tracer):
                    narrow(x)

    def undo(self):
        """Put back what tracing changed."""
        self._watch.restore()

    def steady(self):
        """This, if the next call of the function would do the same.

        What only grew (a list of notes, a table of results) does no harm where a second trace gives the same graph.

        Raises
        ------
        UnsteadyError
            It would not; what it changed is as it was before.
        """
        how, what = self._watch.changed()
        if how is SAME or (how is GROWN and self._repeats()):
            return self
        self._watch.restore()
        raise self._unsteady(what)

    def _repeats(self):
        f, avals, verb = self._again
        after = Watch(self._functions)
        try:
            graph, captured = trace(f, avals, verb=verb, hoist=True, weak=self._weak)
        except Exception:                                     # it read what the first trace left
            return False
        how, _ = after.changed()
        after.restore()
        return (how is not CHANGED and graph.digest == self.graph.digest and len(captured) == len(self.captured)
                and all(map(_alike, captured, self.captured)))

    def _unsteady(self, what):
        return UnsteadyError(
            f"{user_line()}: {self._verb}: {described(self._functions[-1])} reads {what}, which is another at every call, so that a graph "
            f"traced once would repeat the first. Draw the numbers before the loop and pass them as xs (or as an operand), and carry what "
            f"changes from step to step")


def _alike(a, b):
    """Whether two outer values that a function read are one, or were computed alike; where that cannot be told they are not."""
    if a is b or not (isinstance(a, Tracer) or isinstance(b, Tracer)):
        return a is b or (a is not None and b is not None and same_bits(np.asarray(a), np.asarray(b)))
    if not (isinstance(a, Tracer) and isinstance(b, Tracer)) or a.owner is not b.owner:
        return False
    if isinstance(a.owner, ForwardTrace):
        return _alike(a.primal, b.primal) and _alike(a.dual, b.dual)
    return isinstance(a.owner, GraphTrace) and _computed_alike(a.owner.eqns, a.dual, b.dual)


def _computed_alike(eqns, a, b):
    """Whether two variables of a graph in the making are the same function of the same variables."""
    maker, todo = {v: eqn for eqn in eqns for v in eqn.outputs}, [(a, b)]
    while todo:
        a, b = todo.pop()
        if operand_key(a) == operand_key(b):
            continue
        one, other = maker.get(a), maker.get(b)
        if one is None or other is None or one.prim is not other.prim or graphs.params_key(one) != graphs.params_key(other):
            return False
        if one.outputs.index(a) != other.outputs.index(b):
            return False
        todo += zip(one.inputs, other.inputs, strict=True)
    return True


def recorded(values):
    """Whether a graph is being recorded of any of the values."""
    for x in values:
        while isinstance(x, Tracer):
            if isinstance(x.owner, GraphTrace):
                return True
            x = x.dual if getattr(x.owner, "batches", False) else x.primal
    return False


def union(parts):
    """All outer values several traced functions read, each once."""
    return list({id(x): x for part in parts for x in part.captured}.values())


def joined(part, n, outer, loop=False):
    """The graph of a traced function with all outer values as its first inputs, and of a loop's body as its first outputs too.

    Parameters
    ----------
    part : Traced
    n : int
        Number of its own inputs.
    outer : list
        Outer values, a superset of those it reads.
    """
    place = {id(x): v for x, v in zip(part.captured, part.graph.inputs[n:], strict=True)}
    first = [place.get(id(x)) or Var(aval_of(x)) for x in outer]
    return Graph([*first, *part.graph.inputs[:n]], part.graph.eqns, [*(first if loop else ()), *part.graph.outputs])


def stacked_leaf(column):
    """The values of one result over all steps along a new leading axis."""
    values = [stacked(x) for x in column]
    if not any_traced(values):
        return np.stack(values)
    dtype = np.result_type(*[x.dtype for x in values])
    return layout.stack(*[cast(x, dtype) for x in values], axis=0)


def slice_aval(x):
    """Aval of one entry along the first axis."""
    a = aval_of(x)
    return Aval(a.shape[1:], a.dtype)

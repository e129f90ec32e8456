"""Which outputs of a linear list depend on which inputs, and a fingerprint of what that answer rests on.

The pattern of each variable (its rows: which inputs each of its elements depends on) follows from those of its operands by the
``sparsity`` rules; an elementwise equation joins its operands' element by element, whatever its factors' numbers are.  The pattern belongs
to the program that ran: to the branch an ``if`` took, the positions an index array named, the zeros of a constant matrix.  ``fingerprint``
covers all of that, so that equal fingerprints have equal patterns.  ``np.where`` takes no branch: its pattern is the union, whatever the
condition.
"""

import hashlib

import numpy as np

from ..core import Absent, Const, Linear, Tracer
from ..core.graph import canonical_param
from ..core.held import Held
from .dependence import Lists, TooManyEntriesError, fitting
from .linear import LinearList, LinearTrace, Ref, record
from .rowwise import Rowwise

#: Maps of equations that may come again are kept as long as they have no more entries than this in all.
KEPT_ENTRIES = 1 << 24


class FixedList(LinearList):
    """Linear equations that know which of their operands no input moves: ``fixed[n]`` are those of equation n, by identity."""

    __slots__ = ("fixed",)

    def __init__(self):
        super().__init__()
        self.fixed = {}


class Noted(Held):
    """The constants of one trace, remembered."""

    __slots__ = ("seen",)

    def __init__(self, lasting=False):
        super().__init__(lasting)
        self.seen = []

    def keep(self, x):
        x = super().keep(x)
        self.seen.append(x)
        return x


class PatternTrace(LinearTrace):
    """A linear trace that remembers which operands were constants."""

    __slots__ = ()

    def __init__(self, verb, lasting=False):
        super().__init__(verb, lasting)
        self.list, self.held = FixedList(), Noted(lasting)
        self.tangents.list = self.list

    def _general(self, prim, args, params):
        start = len(self.list.eqns)
        self.held.seen.clear()
        y = super()._general(prim, args, params)
        for n in range(start, len(self.list.eqns)):
            constant = [a for a in self.list.eqns[n][2] if any(a is x for x in self.held.seen)]
            if constant:
                self.list.fixed[n] = constant
        return y


def linearize_for_pattern(f, primals, verb):
    """As :func:`linearize` in all inputs, with a list whose pattern can be found."""
    return record(PatternTrace, f, primals, [True] * len(primals), verb)


# ---------------------------------------------------------------- propagation
def joined(parts):
    """Union of sets of one size; equal ones are often the same object."""
    different = list({id(p): p for p in parts}.values())
    return different[0] if len(different) == 1 else different[0].joined(different)


def mapped(p, chain):
    """Sets of a value from those of its operand."""
    for rows, columns, size in chain:
        p = p.mapped(rows, columns, size)
    return p


def size_of(aval):
    """Elements of a variable; a value that is no array counts as one."""
    return aval.size if aval.dtype.kind != "O" else 1


class Propagation:
    """Patterns of the variables of a list, in the order of its equations, each dropped after its last use."""

    def __init__(self, linear_list, outputs):
        self.list, self.outputs = linear_list, [n for n in outputs if n is not None]
        self.needed, self.last = self._uses()
        self.maps, self.room = {}, KEPT_ENTRIES

    def _uses(self):
        """Which equations matter, and the last that reads each variable."""
        wanted, last, needed = set(self.outputs), {}, []
        for number in range(len(self.list.eqns) - 1, -1, -1):
            eqn = self.list.eqns[number]
            outs = eqn[0] if isinstance(eqn[0], tuple) else (eqn[0],)
            if not wanted.isdisjoint(outs):
                needed.append(number)
                for n in operands(eqn):
                    wanted.add(n)
                    last.setdefault(n, number)
        return needed[::-1], last

    def run(self, inputs, low, high):
        """Patterns of the outputs with respect to the inputs' elements ``low`` to ``high``, numbered from 0.

        Returns
        -------
        dict
            From the number of an output to the sets of its elements (see ``dependence``).
        """
        n, known, first = high - low, {}, 0
        keep = set(self.outputs)
        kind = fitting(n, [size_of(self.list.avals[k]) for k in {*self.last, *keep}])
        kind = Rowwise if kind is Lists else kind
        for number, aval in enumerate(inputs):
            known[number] = kind.identity(np.arange(first, first + aval.size) - low, n)
            first += aval.size
        for number in self.needed:
            eqn = self.list.eqns[number]
            for k, sets in self._equation(number, eqn, known).items():
                shape = self.list.avals[k].shape
                known[k] = sets.in_rows(shape[0]) if kind is Rowwise and len(shape) > 1 else sets
            for used in operands(eqn):
                if self.last[used] == number and used not in keep:
                    known.pop(used, None)
        return {k: known[k].whole if kind is Rowwise else known[k] for k in keep}

    def _equation(self, number, eqn, known):
        out, prim, args, params = eqn
        avals = self.list.avals
        if prim is None:
            parts = [self._broadcast(known[k], avals[k].shape, avals[out].shape) for k, _ in args]
            return {out: joined(parts)}
        refs = [(i, a.n) for i, a in enumerate(args) if a.__class__ is Ref]
        parts, outs = [known[k] for _, k in refs], out if prim.multiple else (out,)
        chains = self._chains(number, prim, args, params, refs)
        if chains is None:
            return {o: parts[0].full(parts, size_of(avals[o])) for o in outs}
        if not prim.multiple:
            chains = [[chain] for chain in chains]
        found = {}
        for o, each in zip(outs, zip(*chains, strict=True), strict=True):
            images = [mapped(p, chain) for p, chain in zip(parts, each, strict=True) if chain is not None]
            found[o] = joined(images) if images else parts[0].nothing(size_of(avals[o]))
        return found

    def _broadcast(self, p, have, want):
        if have == want:
            return p
        key = (have, want)
        if key not in self.maps:
            self.maps[key] = np.broadcast_to(np.arange(len(p)).reshape(have), want).ravel()
        return p.take(self.maps[key])                        # few shapes: these maps are all kept

    def _chains(self, number, prim, args, params, refs):
        """The maps from each linear operand to the value (to each value); None where all depends on all.  Kept for equations alike."""
        if isinstance(prim.sparsity, Absent) or any(_unknown(a) for a in args):
            return None
        key = None
        if len(refs) == len(args):
            key = (prim, tuple(self.list.avals[k] for _, k in refs), tuple(sorted(params.items())))
            try:
                if key in self.maps:
                    return self.maps[key]
            except TypeError:                                # a parameter without hash
                key = None
        fixed = self.list.fixed.get(number, ())
        x = tuple(_structure(a, self.list.avals, fixed) for a in args)
        out, chains = self.list.eqns[number][0], []
        for i, _ in refs:
            rule = prim.sparsity(i, *x, **params)
            chains.append(rule if isinstance(rule, list) else [(*rule, self.list.avals[out].size)])
        if prim.multiple:
            return chains
        self.room -= sum(len(rows) for chain in chains for rows, _, _ in chain)
        if key is not None and self.room > 0:
            self.maps[key] = chains
        return chains


def operands(eqn):
    """Numbers of the linear operands of an equation."""
    _, prim, args, _ = eqn
    return [n for n, _ in args] if prim is None else [a.n for a in args if a.__class__ is Ref]


def _unknown(a):
    """Whether an operand is an index that has no number yet."""
    return isinstance(a, (Tracer, Unknown)) and a.dtype.kind in "iu"


def _structure(a, avals, fixed):
    """An operand as a sparsity rule sees it: truth values and what was computed from the inputs as ones."""
    if a.__class__ is Ref:
        return Linear(avals[a.n])
    if a.dtype.kind in "iu" or _counts(a, fixed):
        return a
    return np.ones(a.shape, bool)


class Unknown:
    """An operand of which only the aval is known."""

    __slots__ = ("aval",)

    def __init__(self, aval):
        self.aval = aval

    @property
    def shape(self):
        return self.aval.shape

    @property
    def dtype(self):
        return self.aval.dtype


def pattern_of(linear_list, outputs, y_avals, x_avals):
    """Positions where the matrix of the list may differ from zero.

    Parameters
    ----------
    linear_list : FixedList
    outputs : list of int or None
        Variables of the outputs' tangents.
    y_avals, x_avals : list of Aval
        Outputs and inputs; rows and columns number their elements one after the other.

    Returns
    -------
    rows, columns : ndarray of int
    """
    work = Propagation(linear_list, outputs)
    n = sum(a.size for a in x_avals)
    found, todo = [], [(0, n)] if n else []
    while todo:
        low, high = todo.pop()
        try:
            rows_of = work.run(x_avals, low, high)
        except TooManyEntriesError:
            if high - low == 1:
                raise MemoryError("the pattern of one input alone exceeds the limit of entries") from None
            middle = (low + high) // 2
            todo += [(middle, high), (low, middle)]
            continue
        first = 0
        for k, aval in zip(outputs, y_avals, strict=True):
            if k is not None:
                at, columns = rows_of[k].entries()
                found.append((at + first if first else at, columns + low if low else columns))
            first += aval.size
    if len(found) == 1:
        return found[0]
    return tuple(np.concatenate([f[k] for f in found]) if found else np.zeros(0, int) for k in (0, 1))


def graph_sparsity(graph, linear):
    """Maps of a graph that is linear in some of its inputs.

    Parameters
    ----------
    graph : Graph
    linear : sequence of bool
        Which inputs it is linear in.

    Returns
    -------
    list of list
        For each output, for each input a chain of maps, or None where the output does not depend on it.
    """
    made, number = FixedList(), {}
    number.update((v, made.new(v.aval)) for v, on in zip(graph.inputs, linear, strict=True) if on)
    avals = list(made.avals)
    for eqn in graph.eqns:
        if any(x in number for x in eqn.inputs):
            args = tuple(Ref(number[x]) if x in number else x.value if isinstance(x, Const) else Unknown(x.aval) for x in eqn.inputs)
            outs = tuple(made.new(v.aval) for v in eqn.outputs)
            number.update(zip(eqn.outputs, outs, strict=True))
            made.fixed[len(made.eqns)] = [x.value for x in eqn.inputs if isinstance(x, Const)]
            made.eqns.append((outs if eqn.prim.multiple else outs[0], eqn.prim, args, eqn.params))
    outputs = [number.get(x) for x in graph.outputs]
    sets = Propagation(made, outputs).run(avals, 0, sum(a.size for a in avals))
    return [[None] * len(linear) if n is None else _by_inputs(sets[n], graph.inputs, linear) for n in outputs]


def _by_inputs(sets, inputs, linear):
    """The chain from each input to a variable whose sets number the elements of all linear inputs one after the other."""
    rows, columns = sets.entries()
    out, first = [], 0
    for v, on in zip(inputs, linear, strict=True):
        mine = (columns >= first) & (columns < first + v.aval.size) if on else np.zeros(0, bool)
        out.append([(rows[mine], columns[mine] - first, len(sets))] if on and mine.any() else None)
        first += v.aval.size if on else 0
    return out


def fingerprint(linear_list, outputs, n_inputs):
    """Hash of all that the pattern of a list depends on."""
    words, avals = [str([(a.shape, a.dtype.kind) for a in linear_list.avals[:n_inputs]]), str(outputs)], linear_list.avals
    for number, (out, prim, args, params) in enumerate(linear_list.eqns):
        if prim is None:
            words.append(f"{out}{avals[out].shape}{[n for n, _ in args]}")
            continue
        words.append(f"{out}{prim.name}{[a.n if a.__class__ is Ref else -1 for a in args]}")
        words.append(str([(avals[n].shape, avals[n].dtype.kind) for n in (out if prim.multiple else (out,))]))
        if isinstance(prim.sparsity, Absent):
            continue
        words += [f"{k}={canonical_param(v)}" for k, v in sorted(params.items())]
        fixed = linear_list.fixed.get(number, ())
        words += [_operand_text(a, fixed) for a in args if a.__class__ is not Ref]
    return hashlib.blake2b("\n".join(words).encode(), digest_size=16).hexdigest()


def _operand_text(a, fixed):
    if isinstance(a, Tracer):
        return f"traced {a.aval}"
    if a.dtype.kind in "iu":
        return canonical_param(np.asarray(a))
    return canonical_param(np.packbits(a != 0)) + str(a.shape) if _counts(a, fixed) else f"any {a.shape}"


def _counts(a, fixed):
    """Whether the zeros of an operand are zeros at any point."""
    return a.dtype.kind in "fc" and any(a is x for x in fixed)


__all__ = ["fingerprint", "graph_sparsity", "linearize_for_pattern", "pattern_of"]

"""From graphs to loop nests: every value answers for one element at an index, and is computed where its plan says."""

from itertools import product

import numpy as np

from ..core import Absent, Const, Opaque
from ..core.emission import Call, Scalar
from .builder import Builder, flatten, unflatten
from .nest import Buffer, Function, Link, canonical, prune
from .plan import ELEMENTS, INLINE, MEMORY, OPAQUE, Plan


class Cell:
    """A value of the graph as rules see it: called with an index it gives the element there."""

    __slots__ = ("aval", "buffer", "dtype", "k", "shape")

    def __init__(self, k, aval, buffer=None):
        self.k, self.aval, self.buffer = k, aval, buffer
        self.shape, self.dtype = aval.shape, canonical(aval.dtype)

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def size(self):
        return self.aval.size

    def __call__(self, index):
        """Element at an index, from memory."""
        return self.flat(flatten(index, self.shape))

    def flat(self, position):
        """Element at a row-major position, from memory."""
        return self.k.convert(self.k.load(self.memory(), position), self.dtype)

    def memory(self):
        """The buffer that holds the whole value."""
        return self.buffer


class Constant(Cell):
    """A known array: a number where the index is known or all elements are alike, a table otherwise."""

    __slots__ = ("alike", "span", "value")

    def __init__(self, k, const):
        super().__init__(k, const.aval)
        self.value = np.ascontiguousarray(const.value).reshape(-1)
        self.alike = self.value.size > 0 and bool((self.value == self.value[0]).all())
        whole = self.value.size and self.value.dtype.kind == "i"
        self.span = (int(self.value.min()), int(self.value.max())) if whole else None

    def flat(self, position):
        if type(position) is int or self.alike:
            return self.k.const(self.value[position if type(position) is int else 0], self.dtype)
        x = self.k.load(self.memory(), position)
        return self.k.atom(x, *self.span) if self.span else x

    def memory(self):
        if self.buffer is None:
            self.buffer = Buffer("const", self.dtype, self.shape, value=self.value.astype(self.dtype))
        return self.buffer


class Unrolled(Cell):
    """An array whose elements are scalars by their index."""

    __slots__ = ("elements",)

    def __init__(self, k, aval):
        super().__init__(k, aval)
        self.elements = {}

    def __call__(self, index):
        made = self.elements.get(index)
        return super().__call__(index) if made is None else made

    def flat(self, position):
        if type(position) is int:
            return self.elements[unflatten(self.k, position, self.shape)]
        return super().flat(position)

    def memory(self):
        if self.buffer is None:
            self.buffer = Buffer("scratch", self.dtype, self.shape)
            self.k.within(self.k.top, self._spill)
        return self.buffer

    def _spill(self):
        for index, x in self.elements.items():
            self.k.store(self.buffer, flatten(index, self.shape), x)

    # what a store rule writes to, when its loops run over ints
    def store(self, index, x):
        self.elements[index] = self.k.convert(x, self.dtype)

    def add(self, index, x):
        self.elements[index] = self.k.add(self.elements[index], self.k.convert(x, self.dtype))

    def store_flat(self, position, x):
        self.store(self._place(position), x)

    def add_flat(self, position, x):
        self.add(self._place(position), x)

    def _place(self, position):
        return unflatten(self.k, self.k.position_index(position, self.size), self.shape)


class Inlined(Cell):
    """A value computed where it is read, once in each loop that reads it."""

    __slots__ = ("rule",)

    def __init__(self, k, aval, rule):
        super().__init__(k, aval)
        self.rule = rule

    def __call__(self, index):
        k = self.k
        home = k.home(index)
        key = (self, index)
        made = home.memo.get(key)
        if made is None:
            made = k.within(home, lambda: self.rule(index))
            home.memo[key] = made
        return made

    def flat(self, position):
        return self(unflatten(self.k, position, self.shape))

    def memory(self):
        if self.buffer is None:
            self.buffer = Buffer("scratch", self.dtype, self.shape)
            self.k.within(self.k.top, lambda: self.k.loop(self.shape, lambda i: self.k.store(self.buffer, flatten(i, self.shape), self(i))))
        return self.buffer


class Target:
    """Memory that a store rule writes to."""

    __slots__ = ("buffer", "dtype", "k", "shape", "size")

    def __init__(self, k, buffer):
        self.k, self.buffer, self.shape, self.dtype, self.size = k, buffer, buffer.shape, buffer.dtype, buffer.size

    def store(self, index, x):
        self.k.store(self.buffer, flatten(index, self.shape), x)

    def add(self, index, x):
        self.k.store(self.buffer, flatten(index, self.shape), x, add=True)

    def store_flat(self, position, x):
        self.k.store(self.buffer, self.k.position_index(position, self.size), x)

    def add_flat(self, position, x):
        self.k.store(self.buffer, self.k.position_index(position, self.size), x, add=True)


class Output:
    """Where an output of the graph goes.

    Parameters
    ----------
    base, offset : str, int
        Parameter, and bytes from its start.
    dtype : numpy.dtype
        Of the elements there.
    add : bool
        Whether the value is added to what is there.
    """

    __slots__ = ("add", "base", "dtype", "offset")

    def __init__(self, base, offset, dtype, add=False):
        self.base, self.offset, self.dtype, self.add = base, offset, canonical(dtype), add


def lower(name, params, graph, inputs, outputs, unroll=None):
    """Loop nest of a graph.

    Parameters
    ----------
    name : str
    params : list of (str, "double" or "ptr")
    graph : Graph
    inputs : list of (str, int, numpy.dtype)
        For each input its parameter, the bytes from its start, and the dtype of the elements there; None for an opaque one, which rules
        of calls know as -1 minus its number.
    outputs : list of Output or None
    unroll : int, optional
        Arrays up to this size become scalars; chosen by the work if None.

    Returns
    -------
    Function

    Raises
    ------
    MissingRule
        A primitive cannot be emitted, or a dtype is not one generated code computes in.
    """
    return _Lowering(graph, unroll).function(name, params, inputs, outputs)


class _Lowering:
    def __init__(self, graph, unroll):
        self.graph, self.plan, self.k = graph, Plan(graph, unroll), Builder()
        self.cells, self.handles = {}, {}

    def function(self, name, params, inputs, outputs):
        kinds = dict(params)
        for number, (v, place) in enumerate(zip(self.graph.inputs, inputs, strict=True)):
            if isinstance(v.aval, Opaque):
                self.handles[v] = -1 - number
                continue
            base, offset, dtype = place
            buffer = Buffer("param" if kinds[base] == "ptr" else "argument", canonical(dtype), v.aval.shape, base=base, offset=offset)
            self.cells[v] = Cell(self.k, v.aval, buffer)
        direct = self._direct(outputs)
        for number, eqn in enumerate(self.graph.eqns):
            self._equation(eqn, number, direct)
        self._write(outputs, direct)
        prune(self.k.top)
        return Function(name, params, self.k.top)

    def _direct(self, outputs):
        """Variables in memory whose memory may be an output's own."""
        direct = {}
        for x, out in zip(self.graph.outputs, outputs, strict=True):
            if self.plan.mode.get(x) == MEMORY and not out.add and out.dtype == x.aval.dtype and x not in direct:
                direct[x] = Buffer("param", out.dtype, x.aval.shape, base=out.base, offset=out.offset)
        return direct

    def cell(self, x):
        """The cell of an operand."""
        made = self.cells.get(x)
        if made is None and isinstance(x, Const):
            made = self.cells[x] = Constant(self.k, x)
        return made

    # ------------------------------------------------------------ equations
    def _equation(self, eqn, number, direct):
        emit = eqn.prim.emit
        if isinstance(emit, Call):
            self._link(eqn, emit, number, direct)
            return
        (v,) = eqn.outputs
        mode = self.plan.mode[v]
        if mode == ELEMENTS:
            self.cells[v] = self._unrolled(eqn, v)
        elif mode == INLINE:
            self.cells[v] = Inlined(self.k, v.aval, self._rule(eqn))
        else:
            buffer = direct.get(v) or Buffer("scratch", canonical(v.aval.dtype), v.aval.shape)
            self._fill(eqn, buffer)
            self.cells[v] = Cell(self.k, v.aval, buffer)

    def _rule(self, eqn):
        """``rule(index)``: one element of an equation's value."""
        k, emit, params = self.k, eqn.prim.emit, eqn.params
        (v,), cells = eqn.outputs, [self.cell(x) for x in eqn.inputs]
        if not isinstance(emit, Scalar):
            dtype = canonical(v.aval.dtype)
            return lambda index: k.convert(emit.rule(k, index, *cells, **params), dtype)
        dtype = canonical(v.aval.dtype)
        aligned = [(c, _alignment(c.shape, v.aval.shape)) for c in cells]

        def rule(index):
            x = [c(index if at is None else tuple(index[i] if i >= 0 else 0 for i in at)) for c, at in aligned]
            return k.convert(emit.rule(k, *x, **params), dtype)

        return rule

    def _unrolled(self, eqn, v):
        k, emit = self.k, eqn.prim.emit
        cell = Unrolled(k, v.aval)
        k.unrolling = eqn in self.plan.unrolled
        try:
            if isinstance(emit, Scalar) or not isinstance(emit.rule, Absent):
                rule = self._rule(eqn)
                for index in product(*map(range, v.aval.shape)):
                    cell.elements[index] = rule(index)
            else:
                emit.store(k, cell, *[self.cell(x) for x in eqn.inputs], **eqn.params)
        finally:
            k.unrolling = False
        return cell

    def _fill(self, eqn, buffer):
        """Write the value of an equation to memory."""
        emit, target = eqn.prim.emit, Target(self.k, buffer)
        if not isinstance(emit, Scalar) and emit.store is not None:
            emit.store(self.k, target, *[self.cell(x) for x in eqn.inputs], **eqn.params)
            return
        rule = self._rule(eqn)
        self.k.loop(buffer.shape, lambda index: target.store(index, rule(index)))

    def _link(self, eqn, emit, number, direct):
        ins = [self.handles[x] if isinstance(x.aval, Opaque) else self.cell(x).memory() for x in eqn.inputs]
        outs = []
        for v in eqn.outputs:
            if self.plan.mode[v] == OPAQUE:
                self.handles[v] = number
                outs.append(None)
                continue
            buffer = direct.get(v) or Buffer("scratch", canonical(v.aval.dtype), v.aval.shape)
            self.cells[v] = Cell(self.k, v.aval, buffer)
            outs.append(buffer)
        self.k.append(Link(eqn, emit.rule, outs, ins, number))

    # ------------------------------------------------------------ outputs
    def _write(self, outputs, direct):
        """Write what is not in its place yet; outputs of one shape share their loops."""
        groups = {}
        for x, out in zip(self.graph.outputs, outputs, strict=True):
            if isinstance(x.aval, Opaque):
                continue
            held = direct.get(x)
            if held is not None and (held.base, held.offset) == (out.base, out.offset):
                continue
            cell = self.cell(x)
            target = Buffer("param", out.dtype, x.aval.shape, base=out.base, offset=out.offset)
            shape = cell.shape
            if isinstance(cell, Unrolled):
                for index, value in cell.elements.items():
                    self.k.store(target, flatten(index, shape), value, out.add)
            else:
                groups.setdefault(shape, []).append((cell, target, out.add))
        for shape, members in groups.items():
            self._write_group(shape, members)

    def _write_group(self, shape, members):
        def body(index):
            at = flatten(index, shape)
            values = [(target, cell(index), add) for cell, target, add in members]
            for target, value, add in values:
                self.k.store(target, at, value, add)

        self.k.loop(shape, body)


def _alignment(shape, out):
    """For each axis of an operand the axis of the value it follows, -1 where it is repeated; None if they are the same."""
    if tuple(shape) == tuple(out):
        return None
    extra = len(out) - len(shape)
    return tuple(-1 if s == 1 and out[i + extra] != 1 else i + extra for i, s in enumerate(shape))

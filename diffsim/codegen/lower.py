"""From graphs to loop nests: every value answers for one element at an index, and is computed where its plan says."""

from itertools import product

from ..core import Absent, Const, Opaque
from ..core.emission import Call, Scalar
from ..core.switches import without
from .builder import Builder, flatten
from .cells import Cell, Constant, Group, Inlined, Stored, Target, Unrolled
from .emissions import emission, own_outputs
from .fuse import fuse
from .nest import Buffer, Function, Link, canonical, prune
from .plan import ELEMENTS, INLINE, MEMORY, OPAQUE, UNROLL, Plan
from .scalars import cost
from .shrink import shrink


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


def lower(name, params, graph, inputs, outputs, unroll=None, often=False, tables=None):
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
    often : bool
        Whether it is the body of a loop: what it reads is in the cache, and functions such as exp are what it takes time for.
    tables : dict of Const to str, optional
        Constants whose memory is behind a parameter; the others become part of the code.

    Returns
    -------
    Function

    Raises
    ------
    MissingRule
        A primitive cannot be emitted, or a dtype is not one generated code computes in.
    """
    return Lowering(graph, unroll, often, tables).function(name, params, inputs, outputs)


#: In what runs often, arrays of at least so many elements stay arrays where functions such as exp are computed of them: vectors hold them
#: (the gates of an LSTM of 14 units: 0.33 us a step in loops, 0.85 as scalars).  What runs often, and what a function costs.
WIDE, OFTEN, FUNCTION = 8, 8, 10


def _unroll(graph, runs):
    """Up to which size arrays of a carried program become scalars; None for the usual one."""
    if runs >= OFTEN:
        for e in graph.eqns:
            emit = emission(e)
            if isinstance(emit, Scalar) and WIDE <= e.outputs[0].aval.size <= UNROLL:
                if cost(emit.rule, [canonical(x.aval.dtype) for x in e.inputs], e.params) >= FUNCTION:
                    return WIDE - 1
    return None


def nest_of(name, graph, status=False, add=frozenset(), runs=1):
    """Loop nest of a carried program: ``name(in0, ..., out0, ...)``, one pointer an operand, and ``ctx`` last if it returns a status.

    Outputs whose numbers are in ``add`` are added to what is there; ``runs`` says how often it is called.
    """
    graph = own_outputs(graph)
    ins, outs = [f"in{n}" for n in range(len(graph.inputs))], [f"out{n}" for n in range(len(graph.outputs))]
    params = [(name, "ptr") for name in (*ins, *outs, *(["ctx"] if status else []))]
    function = lower(name, params, graph, [(i, 0, v.aval.dtype) for i, v in zip(ins, graph.inputs, strict=True)],
                     [Output(o, 0, x.aval.dtype, n in add) for n, (o, x) in enumerate(zip(outs, graph.outputs, strict=True))],
                     _unroll(graph, runs), runs >= OFTEN)
    function.internal = True
    return function


class Lowering:
    """The lowering of one graph.

    Its plan, the cells of its values, the groups of its loops, the loops of single equations (``own``), and for each loop that became part
    of another that one (``joined``) stay for those who look.
    """

    def __init__(self, graph, unroll, often=False, tables=None):
        self.graph, self.plan, self.k, self.often = graph, Plan(graph, unroll, often), Builder(), often
        self.cells, self.handles, self.groups, self.own, self.joined = {}, {}, {}, {}, {}
        self._tables = tables or {}

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
        off = without()
        self.joined = {} if "fuse" in off else fuse(self.k.top, often=self.often)
        prune(self.k.top)
        if "shrink" not in off and shrink(self.k.top, self.k):
            prune(self.k.top)
        places = [(x.aval, out) for x, out in zip(self.graph.outputs, outputs, strict=True) if not isinstance(x.aval, Opaque)]
        results = [Buffer("param", out.dtype, aval.shape, base=out.base, offset=out.offset) for aval, out in places]
        return Function(name, params, self.k.top, results)

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
            made = self.cells[x] = Constant(self.k, x, self._tables.get(x))
        return made

    # ------------------------------------------------------------ equations
    def _equation(self, eqn, number, direct):
        emit = emission(eqn)
        if isinstance(emit, Call):
            self._link(eqn, emit, number, direct)
            return
        (v,) = eqn.outputs
        mode = self.plan.mode[v]
        if mode == ELEMENTS:
            self.cells[v], self.own[eqn] = self.k.written(lambda: self._unrolled(eqn, v))
        elif mode == INLINE:
            self.cells[v] = Inlined(self.k, v.aval, self._rule(eqn), [self.cell(x) for x in eqn.inputs])
        else:
            buffer = direct.get(v) or Buffer("scratch", canonical(v.aval.dtype), v.aval.shape)
            self.cells[v] = self._stored(eqn, v, buffer)

    def _stored(self, eqn, v, buffer):
        """The cell of an array in memory: by its own loops, if its row has such, or in a group."""
        emit, operands = emission(eqn), [self.cell(x) for x in eqn.inputs]
        if not isinstance(emit, Scalar) and emit.store is not None:
            _, self.own[eqn] = self.k.written(lambda: emit.store(self.k, Target(self.k, buffer), *operands, **eqn.params))
            return Cell(self.k, v.aval, buffer)
        cell = Stored(self.k, v.aval, self._rule(eqn), operands, buffer)
        self._group(v).compute(cell, self.plan.cost(v))
        return cell

    def _group(self, v):
        """The group of a variable's shape; what loops are cut for keeps apart from what they are not."""
        key = v.aval.shape, self.plan.pieces(v) > 0, self.plan.apart(v)
        made = self.groups.get(key)
        if made is None:
            made = self.groups[key] = Group(self.k, v.aval.shape)
        return made

    def _rule(self, eqn):
        """``rule(index)``: one element of an equation's value."""
        k, emit, params = self.k, emission(eqn), eqn.params
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
        k, emit = self.k, emission(eqn)
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

    def _link(self, eqn, emit, number, direct):
        ins = [self.handles[x] if isinstance(x.aval, Opaque) else self._whole(self.cell(x)) for x in eqn.inputs]
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

    def _whole(self, cell):
        """The memory of a value in its own dtype."""
        buffer = cell.memory()
        if buffer.dtype is cell.dtype:
            return buffer
        made = Buffer("scratch", cell.dtype, cell.shape)
        self.k.loop(cell.shape, lambda index: self.k.store(made, flatten(index, cell.shape), cell(index)))
        return made

    # ------------------------------------------------------------ outputs
    def _write(self, outputs, direct):
        """Write what is not in its place yet; outputs of one shape share their loops."""
        for x, out in zip(self.graph.outputs, outputs, strict=True):
            held = direct.get(x)
            if isinstance(x.aval, Opaque) or (held is not None and (held.base, held.offset) == (out.base, out.offset)):
                continue
            cell = self.cell(x)
            target = Buffer("param", out.dtype, x.aval.shape, base=out.base, offset=out.offset)
            if isinstance(cell, Unrolled):
                for index, value in cell.elements.items():
                    self.k.store(target, flatten(index, cell.shape), value, out.add)
            else:
                self._group(x).write(cell, target, out.add, self.plan.cost(x))
        for group in self.groups.values():
            group.run()


def _alignment(shape, out):
    """For each axis of an operand the axis of the value it follows, -1 where it is repeated; None if they are the same."""
    if tuple(shape) == tuple(out):
        return None
    extra = len(out) - len(shape)
    return tuple(-1 if s == 1 and out[i + extra] != 1 else i + extra for i, s in enumerate(shape))

"""The Python around a program's entry: where its values are, memory of its calls, and calling code written for it.

Arrays are used where they are, without a copy: inputs in the caller's memory, results in fresh arrays, which Python makes before the call.
Only results of no dimension are packed, into ``numbers``, memory of the call.  An input that lies in another order, or is of another dtype
of the same meaning, is told by the entry and copied; nothing is spent on that otherwise.
"""

import contextlib

import numpy as np

from ..core import Const, Opaque
from ..core.bits import same_bits
from ..errors import InputError
from . import back
from .entry import NOT_FINITE, NOT_OURS, process_words
from .lower import Output
from .nest import FLOAT, WIDTH, canonical

#: Constant arrays of so many bytes are not written into code.
TABLE = 1 << 12


class Place:
    """Where a value is: a parameter of the program's body, bytes from its start, dtype and shape."""

    __slots__ = ("base", "dtype", "offset", "shape")

    def __init__(self, base, offset, aval):
        self.base, self.offset, self.dtype, self.shape = base, offset, canonical(aval.dtype), tuple(aval.shape)


class Places:
    """Where the values of a graph are while it runs as a program; None for opaque ones.

    Attributes
    ----------
    inputs, outputs : list of Place or None
    numbers : int
        Bytes of the outputs of no dimension.
    tables : list of (array, Place)
        Large constant arrays, which the program is handed over with its constants: as part of the code each number would be compiled.
    handed : dict of Const to str
        Parameters of the tables, as ``lower`` takes them.
    params : list of (str, "ptr")
        Of the program's body.
    """

    def __init__(self, graph):
        self.inputs = [None if isinstance(v.aval, Opaque) else Place(f"x{i}", 0, v.aval) for i, v in enumerate(graph.inputs)]
        self.outputs, self.numbers = [], 0
        for j, x in enumerate(graph.outputs):
            if isinstance(x.aval, Opaque):
                self.outputs.append(None)
            elif x.aval.shape:
                self.outputs.append(Place(f"y{j}", 0, x.aval))
            else:
                self.outputs.append(Place("numbers", self.numbers, x.aval))
                self.numbers += -(-x.aval.dtype.itemsize // 8) * 8
        self.tables, self.handed = [], {}
        for x in (x for eqn in graph.eqns for x in eqn.inputs if isinstance(x, Const) and x.value.nbytes >= TABLE):
            if any(x.value.strides):
                self._table(x)
        names = [p.base for p in (*self.inputs, *(p for _, p in self.tables), *self.outputs) if p and p.base != "numbers"]
        self.params = [(name, "ptr") for name in (*names, *["numbers"] * bool(self.numbers), "ctx")]

    def _table(self, const):
        """Hand over a constant.  Those of one content share a place: which they are is known by the digest of the graph."""
        if const in self.handed:
            return
        value, aval = const.value, const.aval
        like = (place for x, place in self.tables if (x.shape, x.dtype) == (value.shape, value.dtype) and same_bits(x, value))
        place = next(like, None)
        if place is None:
            place = Place(f"k{len(self.tables)}", 0, aval)
            self.tables.append((value, place))
        self.handed[const] = place.base

    def sources(self):
        """What ``lower`` takes for inputs."""
        return [p and (p.base, p.offset, p.dtype) for p in self.inputs]

    def targets(self):
        """What ``lower`` takes for outputs."""
        return [p and Output(p.base, p.offset, p.dtype) for p in self.outputs]


class Calling:
    """Calls of one program.

    Parameters
    ----------
    places : Places
    entry : callable
        See ``entry.builtin``.
    constants : sequence of array
        Values of the last inputs.
    scratch : int
        Bytes of scratch memory beside the stack.
    context : Context
        The table of words that calls into stepping loops keep their memory in.
    calls_back : bool
        Whether the program calls rows back, which may leave an exception.

    Attributes
    ----------
    run : callable
        The program as a function of its inputs: returns a list of the outputs; None where a result that was to be watched is not finite.
    scope : dict
        What calling code names.
    may_fail : bool
        Whether a call within may give up.
    targets : list of (str, Place) or None
        For each output its variable in ``lines`` and where it is, if it is an array.
    """

    def __init__(self, places, entry, constants, scratch, context, calls_back=False):
        self._calls_back, self._places, self._entry, self._scratch, self._context = calls_back, places, entry, scratch, context
        self._free = len(places.inputs) - len(constants)
        own = [*zip(constants, places.inputs[self._free :], strict=True), *places.tables]
        self._constants = [np.require(np.asarray(x), place.dtype, "CA") for x, place in own]
        self._given = [i for i, place in enumerate(places.inputs[: self._free]) if place]
        self._pool = []
        self.targets = [(place.base, place) if place and place.base != "numbers" else None for place in places.outputs]
        self._arrays = [target[0] for target in self.targets if target]
        self.scope = {
            "pop": self._pool.pop, "push": self._pool.append, "make": self._frame, "entry": entry, "again": self._again, "empty": np.empty,
            "export": context.export, "forget": back.failure, "ndarray": np.ndarray, "asarray": np.asarray,
            **{f"t_{d.name}": d for d in WIDTH},
        }  # fmt: skip
        # what no call writes to beside its arrays is shared by all
        self._shared = not (places.numbers or scratch or context.used)
        if self._shared:
            self.scope["frame"], self.scope["ctx"], self.scope["memory"], *_ = self._frame()
        self.may_fail = bool(context.requests)
        self.names = [f"x{i}" for i in range(self._free)]
        self.run = self._function("run", self.names, fresh=True)
        self._into = None

    def into(self, *values):
        """Call with the inputs and then the arrays to write to, one for each output that has a dimension; returns as ``run``."""
        if self._into is None:
            self._into = self._function("into", [*self.names, *self._arrays], fresh=False)
        return self._into(*values)

    # ------------------------------------------------------------ memory
    def _frame(self):
        """Memory of one call at a time: frame, context words, memory of requests, views of the numbers, and what else is to stay alive."""
        numbers, scratch = aligned(self._places.numbers), aligned(self._scratch)
        ctx, memory = self._context.allocate()
        addresses = [x.ctypes.data for x in (numbers, scratch, ctx, *self._constants)]
        frame = np.array(process_words() + addresses, np.int64)
        views = [numbers[p.offset : p.offset + p.dtype.itemsize].view(p.dtype) for p in self._places.outputs if p and p.base == "numbers"]
        return frame, ctx, memory, *views, (numbers, scratch)

    @contextlib.contextmanager
    def frame(self):
        """Frame, context words and memory of requests for the calls of one thread; they are used again."""
        try:
            state = self._pool.pop()
        except IndexError:
            state = self._frame()
        try:
            yield state[:3]
        finally:
            self._pool.append(state)

    # ------------------------------------------------------------ code
    def _function(self, name, names, fresh):
        lines = self.lines(self.names, "{again}", "return None", lambda results: f"[{', '.join(results)}]", fresh)
        source = "\n".join([f"def {name}({', '.join(names)}):", *(f"    {line}" for line in lines), ""])
        scope = dict(self.scope)
        scope["__name__"] = __name__                        # errors name the user's line, not one of this text
        exec(compile(source, "<program call>", "exec"), scope)
        return scope[name]

    def _arguments(self, names):
        return "".join(f"{name}, " for name in (*[names[i] for i in self._given], *self._arrays))

    def lines(self, names, unfit, missed, finish, fresh=True, done="pass"):
        """Lines of a function that calls the program; they use the names in ``scope``.

        Parameters
        ----------
        names : list of str
            Variables that hold the inputs, the constants not among them.
        unfit, missed : str
            Condition, if ``status`` is not zero, for the statement ``missed``.  A negative status says that an argument is not what it was
            made for, or that a result is not finite; ``{again}`` in the condition stands for doing what the status asks for and trying
            again, which is true if a result is not finite.
        finish : callable
            ``finish(expressions of the outputs) -> expression`` that is returned.
        fresh : bool
            Whether results are fresh arrays; else they are in variables y0, y1 and so on.
        done : str
            Statement that follows a call that succeeded.
        """
        places, views = self._places, []
        for j, place in enumerate(places.outputs):
            if place and place.base == "numbers":
                views.append(f"v{j}")
        before = [] if self._shared else ["try:", "    state = pop()", "except IndexError:", "    state = make()",
                                          f"frame, ctx, memory, {''.join(f'{v}, ' for v in views)}_ = state"]  # fmt: skip
        made = [target for target in self.targets if target and fresh]
        call = [f"{name} = empty({place.shape}, t_{place.dtype.name})" for name, place in made]
        for name, place, i in zip(names, places.inputs, range(self._free), strict=False):
            if place is None:
                call.append(self._context.write(i, name))
            elif not place.shape and place.dtype is not FLOAT:
                call += [f"if {name}.__class__ is not ndarray:", f"    {name} = asarray({name}, t_{place.dtype.name})"]
        arguments = self._arguments(names) + ("" if fresh else "None, ")        # one more: the entry is to look at the outputs
        unfit = unfit.format(again=f"again(status, frame, ({arguments}), ctx, memory)")
        call += ["forget()"] * self._calls_back
        call += [f"status = entry(frame, {arguments})", f"if status and {unfit}: {missed}", done, f"return {finish(self._results())}"]
        if self._shared:
            return call
        return [*before, "try:", *(f"    {line}" for line in call), "finally:", "    push(state)"]

    def _results(self):
        """Expressions of the outputs."""
        return [f"export({j}, ctx, memory)" if p is None else f"v{j}[0]" if p.base == "numbers" else f"y{j}"
                for j, p in enumerate(self._places.outputs)]  # fmt: skip

    # ------------------------------------------------------------ what the entry does not take
    def _again(self, status, frame, values, ctx, memory):
        """Do what a status asks for, and call once more; returns whether a result is not finite."""
        values = list(values)
        while status and status != NOT_FINITE:
            if status == NOT_OURS:
                raise InputError("a compiled program was given arrays to write to that are not its results' or share memory")
            if status < 0:
                values[-1 - status] = self._fit(self._given[-1 - status], values[-1 - status])
            else:
                self._context.settle(status, ctx, memory)
            status = self._entry(frame, *values)
        return status == NOT_FINITE

    def _fit(self, i, x):
        """Input i as an array that the entry takes."""
        place = self._places.inputs[i]
        made = np.asarray(x)
        if made.shape != place.shape:
            raise InputError(f"a compiled program was called with an array of shape {made.shape} for input {i}, which is {place.shape}")
        made = np.require(made, place.dtype, "CA")
        return made if made.dtype is place.dtype else made.view(place.dtype)


def aligned(size):
    """Bytes that start at a multiple of 64."""
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]

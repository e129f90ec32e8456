"""Programs: a whole graph as one compiled function of NumPy arrays.

Machine code is ``i64 entry(ptr frame)``; the frame holds the addresses of the packed inputs, the packed outputs, scratch memory and the
context, a table of words that calls into stepping loops keep their memory in.  One address costs less to pass than four.
"""

import ctypes
import hashlib
import json
import platform
import time
from collections import Counter
from pathlib import Path

import numpy as np

from ..core import Absent, Opaque
from ..core.emission import Call
from ..errors import MissingRule
from . import cache, engine, vector_math
from .caller import Caller
from .count import counted
from .llvm_printer import LONG_LOOPS, FunctionPrinter, Text
from .lower import Output, lower
from .nest import WIDTH, canonical
from .python_printer import python_source
from .scalars import out_of_bounds

ENTRY, BODY = "diffsim_entry", "diffsim_body"
#: Scratch memory up to this many bytes is on the stack; more belongs to the call's frame.
STACK = 1 << 18
PARAMS = (("inputs", "ptr"), ("outputs", "ptr"), ("ctx", "ptr"))
_SIGNATURE = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)


class Program:
    """A compiled graph.

    Parameters
    ----------
    graph : Graph
    unroll : int, optional
        Arrays up to this size become scalars; chosen by the size of the graph if None.
    constants : sequence of array
        Values of the last inputs: they are handed over once, and not at every call.

    Attributes
    ----------
    source : str
        Readable Python of what was compiled.
    stats : dict
        ``equations``, ``seconds`` to have machine code, ``cached`` (whether from disk), ``scratch`` bytes beyond the stack, and of one
        call without its linked loops ``flops`` (operations on floating-point numbers) and ``bytes`` (loaded and stored).

    Raises
    ------
    MissingRule
        A primitive cannot be emitted, or a dtype is not one generated code computes in.

    Notes
    -----
    ``program(*arrays)`` takes one array an input, of its shape, and returns a list of fresh arrays, and NumPy scalars for outputs of no
    dimension.  An opaque input is an object with ``words``, an opaque output what its producer's request exports.  It may be called from
    any number of threads; they run at once.  A call raises IndexError where an index it reads is out of bounds.
    """

    def __init__(self, graph, unroll=None, constants=()):
        began = time.perf_counter()
        self._graph, self._unroll, self._constants = graph, unroll, tuple(constants)
        self._inputs, self._in_size = packed([v.aval for v in graph.inputs])
        self._outputs, self._out_size = packed([x.aval for x in graph.outputs])
        self._requests, self._bases, self._words = _requests(graph)
        self._opaque = [self._opaque_base(x) for x in (*graph.inputs, *graph.outputs)]
        self._report, self._words = self._words, self._words + 1
        key = _key(graph, unroll)
        header, code = _stored(key)
        cached = code is not None
        if not cached:
            text, modules, header = self._text()
            loops = any(m.startswith(LONG_LOOPS) for m in (text, *modules))
            self._code = engine.compile_ir([text, *modules], [ENTRY], loops)
            cache.put("program", key, json.dumps(header).encode() + b"\n" + self._code.object_code)
        else:
            self._code = code
        self._scratch, self._checks = header["scratch"], header["checks"]
        self._entry = _SIGNATURE(self._code.address(ENTRY))
        self._pool = []
        self._run = self._specialised()
        seconds = time.perf_counter() - began
        self.stats = {"equations": len(graph.eqns), "seconds": seconds, "cached": cached, "scratch": self._scratch, **header["counts"]}

    def __call__(self, *arrays):
        return self._run(*arrays)

    @property
    def source(self):
        return python_source(self._nest())

    # ------------------------------------------------------------ compiling
    def _nest(self):
        places = [place and ("inputs", *place[:2]) for place in self._inputs]
        targets = [place and Output("outputs", *place[:2]) for place in self._outputs]
        return lower(BODY, PARAMS, self._graph, places, targets, self._unroll)

    def _text(self):
        """LLVM IR of the entry, the modules to link, and what to remember beside the code."""
        text, modules, shared = Text(), [], {}
        alike = Counter(map(_call_key, self._graph.eqns))

        def link(printer, statement):
            number = list(self._bases).index(statement.number)
            k = Caller(printer, modules, self._bases[statement.number], number, shared, alike[_call_key(statement.eqn)])
            ins = [x if not isinstance(x, int) else self._bases[x] if x >= 0 else self._opaque[-1 - x][0] for x in statement.ins]
            statement.rule(k, statement.outs, ins, **statement.eqn.params)

        nest = self._nest()
        flops, moved = counted(nest.body)
        printer = FunctionPrinter(nest, text, link=link, report=(self._report, len(self._requests)))
        total = printer.scratch_size
        on_stack = total <= STACK
        printer.scratch = "alloca" if on_stack else "param"
        printer.print()
        text.functions.append(_entry_text(on_stack))
        header = {"scratch": 0 if on_stack else total, "checks": printer.guards.kinds, "counts": {"flops": flops, "bytes": moved}}
        return str(text), modules, header

    def text(self):
        """LLVM IR of the program before optimisation, without what it links."""
        return self._text()[0]

    # ------------------------------------------------------------ running
    def _frame(self):
        """Memory of one call at a time: the frame's address and what it holds."""
        in_, out = aligned(self._in_size), aligned(self._out_size)
        scratch, ctx = aligned(self._scratch), np.zeros(max(self._words, 1), np.int64)
        memory = []
        for request, base in zip(self._requests, self._bases.values(), strict=True):
            words, owner = request.allocate()
            ctx[base : base + request.words] = words
            memory.append(owner)
        frame = np.array([in_.ctypes.data, out.ctypes.data, scratch.ctypes.data, ctx.ctypes.data], np.int64)
        views = tuple(place and _view(in_, *place) for place in self._inputs) + tuple(
            place and _view(out, *place) for place in self._outputs
        )
        first = len(self._inputs) - len(self._constants)
        for view, value in zip(views[first : len(self._inputs)], self._constants, strict=True):
            view[...] = value
        return ctypes.c_void_p(frame.ctypes.data), views, ctx, memory, (in_, out, scratch, frame)

    def _specialised(self):
        """The calling function, written out for these inputs and outputs: a loop over them would cost as much as the call."""
        n, m = len(self._inputs), len(self._outputs)
        free = n - len(self._constants)
        names = ", ".join(f"a{i}" for i in range(free))
        views = "".join(f"v{i}, " for i in range(n + m))
        given = enumerate(self._inputs[:free])
        writes = [f"        {self._write(i, place)}" for i, place in given if place is None or 0 not in place[2]]
        reads = ", ".join(self._read(n + i, place) for i, place in enumerate(self._outputs))
        source = "\n".join([
            f"def run({names}):",
            "    try:",
            "        state = pop()",
            "    except IndexError:",
            "        state = make()",
            f"    frame, ({views}), ctx, memory, _ = state",
            "    try:",
            *writes,
            "        status = entry(frame)",
            "        while status:",
            "            status = again(status, frame, ctx, memory)",
            f"        return [{reads}]",
            "    finally:",
            "        push(state)",
        ])  # fmt: skip
        scope = {"pop": self._pool.pop, "push": self._pool.append, "make": self._frame, "entry": self._entry, "again": self._again,
                 "export": self._export}  # fmt: skip
        exec(compile(source, "<program call>", "exec"), scope)
        return scope["run"]

    def _write(self, i, place):
        """Code that hands over input i."""
        if place is None:
            base, words = self._opaque[i]
            return f"ctx[{base}:{base + words}] = a{i}.words"
        return f"v{i}[{'0' if place[2] == () else '...'}] = a{i}"

    def _read(self, i, place):
        """Code of the output in view i."""
        if place is None:
            return f"export({i}, ctx, memory)"
        return f"v{i}[0]" if place[2] == () else f"v{i}.copy()"

    def _export(self, i, ctx, memory):
        """An opaque output as an object of its own."""
        base = self._opaque[i][0]
        number = list(self._bases.values()).index(base)
        request = self._requests[number]
        return request.export(ctx[base : base + request.words], memory[number])

    def _opaque_base(self, x):
        """First context word and number of words of an opaque input (new words) or output (its producer's); None for arrays."""
        if not isinstance(x.aval, Opaque):
            return None
        for number, eqn in enumerate(self._graph.eqns):
            if x in eqn.outputs:
                return self._bases[number], None
        base = self._words
        self._words += x.aval.words
        return base, x.aval.words

    def _again(self, status, frame, ctx, memory):
        """A call within the program gave up: enlarge its memory and run once more, or raise what it has to say."""
        number, status = status >> 32, status & 0xFFFFFFFF
        if number >= len(self._requests):
            raise IndexError(out_of_bounds(int(ctx[self._report]), *self._checks[number - len(self._requests)]))
        request, base = self._requests[number], list(self._bases.values())[number]
        words = ctx[base : base + request.words]
        if not request.grow(status, words, memory[number]):
            raise request.error(status, words, memory[number])
        return self._entry(frame)


def _entry_text(on_stack):
    """Text of the entry: unpacks the frame and calls the body, with scratch memory if the body's is not on its stack."""
    lines = [f"define i64 @{ENTRY}(ptr noalias %frame) nounwind {{"]
    for i, name in enumerate(("inputs", "outputs", "scratch", "ctx")):
        lines += [f"  %{name}.at = getelementptr inbounds i8, ptr %frame, i64 {8 * i}", f"  %{name} = load ptr, ptr %{name}.at"]
    arguments = [f"ptr %{name}" for name, _ in PARAMS] + ([] if on_stack else ["ptr %scratch"])
    return "\n".join([*lines, f"  %status = call i64 @{BODY}({', '.join(arguments)})", "  ret i64 %status", "}"])


def _call_key(eqn):
    """Equal for calls into loops that differ in their operands alone; None for other equations."""
    return (eqn.prim.name, *sorted(eqn.params.items(), key=lambda item: item[0])) if isinstance(eqn.prim.emit, Call) else None


def aligned(size):
    """Bytes that start at a multiple of 64."""
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


def _view(memory, offset, dtype, shape):
    """Array in packed memory; one element for a value of no dimension, which is written and read faster by its index."""
    size = int(np.prod(shape, dtype=int))
    flat = memory[offset : offset + size * dtype.itemsize].view(dtype)
    return flat.reshape(shape) if shape else flat


def packed(avals):
    """Offset, dtype and shape of each array in one block of memory, and the size of the block."""
    places, at = [], 0
    for a in avals:
        if isinstance(a, Opaque):
            places.append(None)
            continue
        dtype = canonical(a.dtype)
        places.append((at, dtype, tuple(a.shape)))
        at += -(-a.size * WIDTH[dtype] // 8) * 8
    return places, at


def _requests(graph):
    """Requests of the calls into loops, the first context word of each by the number of its equation, and the words in all."""
    requests, bases, words = [], {}, 0
    for number, eqn in enumerate(graph.eqns):
        emit = eqn.prim.emit
        if isinstance(emit, Absent):
            raise MissingRule(eqn.prim.name, "emit", emit.why)
        if isinstance(emit, Call):
            request = emit.request(eqn.params, [x.aval for x in eqn.inputs], [v.aval for v in eqn.outputs])
            requests.append(request)
            bases[number] = words
            words += request.words
    return requests, bases, words


_sources = []


def _key(graph, unroll):
    """Everything machine code depends on: the program, the versions and sources that compile it, the processor."""
    if not _sources:
        from llvmlite import __version__ as llvmlite_version  # noqa: PLC0415  (imported late: it costs 30 ms)

        root = Path(__file__).resolve().parent.parent
        parts = []
        for path in sorted(root.rglob("*.py")):
            status = path.stat()
            parts.append(f"{path.relative_to(root)} {status.st_size} {status.st_mtime_ns}")
        parts += [platform.python_version(), np.__version__, llvmlite_version, *engine.host()]
        _sources.append(hashlib.sha256("\n".join(parts).encode()).hexdigest())
    return hashlib.sha256(f"{graph.digest} {unroll} {_sources[0]}".encode()).hexdigest()[:40]


def _stored(key):
    """Header and code from the cache, or (None, None)."""
    kept = cache.get("program", key)
    if kept is None:
        return None, None
    head, _, code = kept.partition(b"\n")
    vector_math.variants()  # the code may call them: the library must be there before it is loaded
    return json.loads(head), engine.load_object(code)

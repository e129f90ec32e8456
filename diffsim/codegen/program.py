"""Programs: a whole graph as one compiled function of NumPy arrays.

The body is ``i64 diffsim_body(ptr x0, ..., ptr y0, ..., ptr ctx)``: an address for each input and output, and the context, a table of words
that calls into stepping loops keep their memory in.  The entry around it (``entry.py``) is a built-in function of Python's.
"""

import hashlib
import json
import time

from ..core.emission import Call
from ..core.switches import without
from . import build, cache, engine, vector_math
from .caller import Caller
from .calling import Calling, Places
from .context import Context
from .count import counted
from .emissions import emission, own_outputs
from .entry import BODY, ENTRY, EntryText, builtin
from .llvm_printer import LONG_LOOPS, Text
from .lower import lower
from .many import MEMBERS, Members, MembersText
from .many import counted as counted_words
from .python_printer import python_source
from .sub import Assembly
from .watching import WatchingPrinter, seen

#: Scratch memory up to this many bytes is on the stack; more belongs to the call's frame.
STACK = 1 << 18
#: Programs of less work than this (operations and numbers moved) keep Python's lock: they take microseconds, and giving it up costs 0.1.
BRIEF = 20_000


class Program:
    """A compiled graph.

    Parameters
    ----------
    graph : Graph
    unroll : int, optional
        Arrays up to this size become scalars; chosen by the size of the graph if None.
    constants : sequence of array
        Values of the last inputs: they are handed over once, and not at every call.
    many : bool
        Whether it can be called for many members (``members``) as well.
    watch : bool
        Whether a call returns None where a result is not finite.  A first result of no dimension that is not finite is taken for the
        function's value, and the results are returned as they are.

    Attributes
    ----------
    calling : Calling
        What calls are made of, for those who write calling code of their own.
    members : Members or None
        Calls for many members.
    source : str
        Readable Python of what was compiled.
    stats : dict
        ``equations``; of one call without its linked loops ``flops`` (operations on floating-point numbers) and ``bytes`` (loaded and
        stored); loops ``vectorised``; ``scratch`` bytes beyond the stack; ``cached``, whether it came from disk; routines of a ``library``
        and ``callbacks`` of Python it calls; ``seconds`` of each stage: lower and compile, or load.

    Raises
    ------
    MissingRule
        A primitive cannot be emitted, or a dtype is not one generated code computes in.

    Notes
    -----
    ``program(*arrays)`` takes one array an input, of its shape, and returns a list of fresh arrays, and NumPy scalars for outputs of no
    dimension.  An opaque input is an object with ``words``, an opaque output what its producer's request exports.  It may be called from
    any number of threads; they run at once, unless a call takes a few microseconds only.  A call raises IndexError where an index it reads
    is out of bounds.
    """

    def __init__(self, graph, unroll=None, constants=(), watch=False, many=False):
        clock, seconds = time.perf_counter, {}
        began = clock()
        graph = own_outputs(graph)
        self._graph, self._unroll, self._watch, self._many, self._fixed = graph, unroll, watch, many, len(constants)
        self._places, self._context = Places(graph), Context(graph)
        key = _key(graph, unroll, f"{watch} many" if many else watch, len(constants))
        header, code = _stored(key)
        cached = code is not None
        seconds["load"] = clock() - began
        if not cached:
            text, modules, header = self._text()
            seconds["lower"], began = clock() - began - seconds.pop("load"), clock()
            loops = any(m.startswith(LONG_LOOPS) for m in (text, *modules))
            code = engine.compile_ir([text, *modules], [ENTRY, MEMBERS] if many else [ENTRY], loops)
            seconds["compile"] = clock() - began
            header["counts"]["vectorised"] = code.vectorised
            if None not in header["outside"]["back"].values():      # else only this process can call what it calls
                cache.put("program", key, json.dumps(header).encode() + b"\n" + code.object_code)
        self._context.checks = header["checks"]
        self.calling = Calling(self._places, builtin(code), constants, header["scratch"], self._context, bool(header["outside"]["back"]))
        self._run = self.calling.run
        self.members = Members(code, self.calling, self._places, len(constants), self._context) if many else None
        outside = header["outside"]
        self.stats = {
            "equations": len(graph.eqns), **header["counts"], "scratch": header["scratch"], "cached": cached,
            "library": list(outside["library"]), "callbacks": list(outside["back"]), "seconds": seconds,
        }  # fmt: skip

    def __call__(self, *arrays):
        return self._run(*arrays)

    @property
    def source(self):
        return python_source(self._nest())

    # ------------------------------------------------------------ compiling
    def _nest(self):
        places = self._places
        return lower(BODY, places.params, self._graph, places.sources(), places.targets(), self._unroll, tables=places.handed)

    def _text(self):
        """LLVM IR of the entry, the modules to link, and what to remember beside the code."""
        text, modules = Text(), []
        assembly, nest = Assembly(text, modules, Caller, self._context), self._nest()
        watched = seen(nest.body, self._places.outputs) if self._watch else set()
        printer = WatchingPrinter(nest, text, watched, STACK, assembly.link(self._graph), assembly.report).print()
        flops, moved = counted(nest.body)
        calls, on_stack = any(isinstance(emission(eqn), Call) for eqn in self._graph.eqns), printer.scratch == "alloca"
        release = calls or flops + moved // 8 > BRIEF
        text.functions.append(str(EntryText(self._places, self._fixed, not on_stack, release, self._watch, text.attributes, watched)))
        if self._many:
            more = text.attributes, watched, counted_words(self._context)
            text.functions.append(str(MembersText(self._places, self._fixed, not on_stack, self._watch, *more)))
        scratch = 0 if on_stack else printer.scratch_size
        header = {"scratch": scratch, "checks": assembly.report[2], "counts": {"flops": flops, "bytes": moved},
                  "outside": engine.outside([str(text), *modules])}  # fmt: skip
        return str(text), modules, header

    def text(self):
        """LLVM IR of the program before optimisation, without what it links."""
        return self._text()[0]


def _key(graph, unroll, watch, fixed):
    """Everything machine code depends on."""
    return hashlib.sha256(f"{graph.digest} {unroll} {watch} {fixed} {sorted(without())} {build.identity()}".encode()).hexdigest()[:40]


def _stored(key):
    """Header and code from the cache, or (None, None)."""
    kept = cache.get("program", key)
    if kept is None:
        return None, None
    head, _, code = kept.partition(b"\n")
    try:
        header = json.loads(head)
        engine.bind(header["outside"])
    except (KeyError, ValueError):
        return None, None
    vector_math.variants()  # the code may call them: the library must be there before it is loaded
    return header, engine.load_object(code)

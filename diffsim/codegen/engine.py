"""LLVM IR to machine code: link, optimise, load. The one file that talks to LLVM.

LLVM's C interface is not safe between threads as llvmlite uses it: one lock covers every call.
"""

import ctypes
import functools
import os
import re
import threading

from ..errors import InputError
from . import back, library

_LOCK = threading.RLock()
if hasattr(os, "register_at_fork"):                         # a child forked while another thread compiles would wait for ever
    os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)
INLINE_THRESHOLD = 2000      # a kernel becomes part of its loop up to this size
LARGE_KERNEL = 2000          # lines; a larger function keeps its calls


class Compiled:
    """Machine code in memory; its addresses are valid as long as this object lives.

    Attributes
    ----------
    object_code : bytes
        Relocatable object for ``load_object`` in another process of the same machine.
    vectorised : int or None
        Loops that became vector instructions; None if it was loaded.
    """

    def __init__(self, engine, keep, object_code):
        self._engine, self._keep, self.object_code, self.vectorised = engine, keep, object_code, None

    def address(self, name):
        """Address of an entry.

        Raises
        ------
        InputError
            There is no such entry.
        """
        with _LOCK:
            address = self._engine.get_function_address(name)
        if not address:
            raise InputError(f"the compiled module has no entry `{name}`; entries are the names given when it was compiled")
        return address


    def function(self, name, result, *arguments):
        """An entry as a ctypes function that keeps the machine code alive.

        Parameters
        ----------
        name : str
        result, *arguments : ctypes types
        """
        pointer = ctypes.CFUNCTYPE(result, *arguments)(self.address(name))
        pointer.code = self
        return pointer


@functools.cache
def _binding():
    """llvmlite's binding, with the native target ready."""
    import llvmlite.binding as llvm  # noqa: PLC0415  (imported late: it costs 30 ms)

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


@functools.cache
def host():
    """Name and features of the processor: machine code is for these alone."""
    llvm = _binding()
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


@functools.cache
def width():
    """Attribute of functions with long loops: the vectors they prefer; empty for LLVM's own choice.

    LLVM prefers 256 bits on Intel's processors, as the first with AVX-512 slowed down for more. Those since Ice Lake (the first with
    VBMI2) do not: chains of elementary functions take 22 ms with 512 bits, 38 ms with 256, sums a fifth less; what waits for memory
    loses nothing.
    """
    return '"prefer-vector-width"="512" ' if "+avx512vbmi2" in host()[1].split(",") else ""


def _target_machine():
    cpu, features = host()
    return _binding().Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=3, jit=True)


def optimise(module, machine, level, inline, *, unroll, vectorise):
    """Run LLVM's standard pipeline over a module in place.

    The superword vectoriser stays off: it packs a handful of states into vectors and lengthens the chain from one stage to
    the next (Lotka-Volterra, forward and adjoint: 9.6 us without, 10.2 us with it; from 8 states on it would gain). Fused
    multiply-adds are allowed in sums of products alone (see ``llvm_printer``): elsewhere they gain nothing (9.6 against 10.4 us)
    and would make results depend on what else is in the module.
    """
    llvm = _binding()
    options = llvm.create_pipeline_tuning_options(speed_level=level)
    options.inlining_threshold = inline
    options.loop_unrolling, options.loop_vectorization = unroll, vectorise
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)


def link(texts, entries):
    """One verified module of several texts, everything but the entries internal to it."""
    llvm = _binding()
    module = llvm.parse_assembly(texts[0])
    for text in texts[1:]:
        module.link_in(llvm.parse_assembly(text))
    missing = set(entries)
    for function in module.functions:
        if function.name in missing and not function.is_declaration:
            missing.discard(function.name)
        elif not function.is_declaration:
            function.linkage = "internal"
    if missing:
        raise InputError(f"the linked module does not define the entries {sorted(missing)}")
    module.verify()
    return module


_HEAD = re.compile(r'^define [^@\n]*@"?([^"(]+)"?\(', re.MULTILINE)


def _keep_large_kernels_apart(module, texts):
    """A kernel much larger than the loop around it stays a call: copies of it for every stage would gain nothing."""
    for definition in (d for text in texts for d in text.split("\n}\n") if d.count("\n") > LARGE_KERNEL):
        head = _HEAD.search(definition)
        function = head and module.get_function(head[1])
        if function and not any(b"alwaysinline" in attribute for attribute in function.attributes):
            function.add_function_attribute("noinline")


def compile_ir(texts, entries, loops=True):
    """Machine code of LLVM IR.

    Parameters
    ----------
    texts : list of str
        Modules that call each other's functions; what is left undefined must be a symbol of the process (libm, libc).
    entries : list of str
        Functions to keep callable. Everything else is internal: inlined, specialised, dropped.
    loops : bool
        Whether the code has loops long enough to vectorise. Without them compiling takes a fifth less, and straight-line
        kernels lose nothing (a forward loop with its kernel 0.08 s against 0.10 s).

    Returns
    -------
    Compiled

    Raises
    ------
    InputError
        An entry is not defined.
    RuntimeError
        The IR is not valid (LLVM's own message).
    """
    llvm = _binding()
    bind(outside(texts))
    with _LOCK:
        machine = _target_machine()
        module = link(texts, entries)
        _keep_large_kernels_apart(module, texts)
        module.triple, module.data_layout = llvm.get_process_triple(), str(machine.target_data)
        optimise(module, machine, 3 if loops else 1, INLINE_THRESHOLD, unroll=True, vectorise=loops)
        vectorised = sum(block.name.startswith("vector.body") for function in module.functions for block in function.blocks)
        code = machine.emit_object(module)
    made = load_object(code)
    made.vectorised = vectorised
    return made


def joined(texts, entries):
    """Text of one module made of several, everything but the entries internal to it."""
    with _LOCK:
        return str(link(texts, entries))


def cleaned(texts, entries):
    """Text of one module in which everything is inlined into the entries and no loop is transformed yet."""
    with _LOCK:
        machine = _target_machine()
        module = link(texts, entries)
        optimise(module, machine, level=2, inline=10**6, unroll=False, vectorise=False)
        return str(module)


_bound = set()


def outside(texts):
    """What LLVM IR calls beyond the C library, as data: ``library`` symbols, and ``back``, recipes of calls back by their symbols."""
    return {"library": library.needed(texts), "back": back.recipes(back.needed(texts))}


def bind(needs):
    """Bind the symbols of :func:`outside` to addresses of this process; code that calls them can then be loaded.

    Raises
    ------
    KeyError
        A call back cannot be made in this process.
    MissingRule
        The installed SciPy lacks a routine.
    """
    back.learn(needs["back"])
    for place, names in ((library, needs["library"]), (back, needs["back"])):
        for name in names:
            if name not in _bound:
                address = place.address(name)
                with _LOCK:
                    _binding().add_symbol(name, address)
                    _bound.add(name)


def load_object(code):
    """Load machine code made by ``compile_ir`` on this machine.

    Parameters
    ----------
    code : bytes

    Returns
    -------
    Compiled
    """
    llvm = _binding()
    with _LOCK:
        machine = _target_machine()
        module = llvm.parse_assembly("")
        engine = llvm.create_mcjit_compiler(module, machine)
        file = llvm.ObjectFileRef.from_data(code)
        engine.add_object_file(file)
        engine.finalize_object()
        return Compiled(engine, (machine, module, file), code)

"""Compiled calls: trace once for each shape of the arguments, compile, run; trace anew when what the function closed over has changed."""

import bisect
import functools
import itertools
import sys
import time
import timeit
import types
import warnings

import numpy as np

from .. import tree
from ..core import Aval, Tracer, eval_graph, user_depth
from ..errors import ConcretizationError, DerivativeLost, FallbackWarning, InputError, InputTypeError, MissingRule, RetraceWarning
from ..numpy.array import Array
from ..numpy.lending import lent
from ..numpy.memory import memory_order
from ..numpy.rebind import original, rebound
from ..numpy.stacking import is_value, stacked
from ..transforms import trace
from ..transforms.watch import WATCH
from .compiled import Compiled
from .entrance import MISS, python_number, typed
from .guard import snapshot
from .results import written
from .retracing import PATIENCE, Retracing

STATIC = (bool, int, str, bytes, type(None))
#: Programs kept for one function and one signature: a closure that alternates between a few values stays compiled.
PER_SIGNATURE = 8
#: Bytes of arrays from outside that these may hold; the one used last stays in any case.
HELD = 1 << 28
#: Instances whose compiled methods are kept.
INSTANCES = 64
#: Signatures a function keeps programs for: a loop over a static number must not fill the memory.
SIGNATURES = 256
#: Programs that a call is tried on before its arguments are looked at one by one, the one used last first.
WAYS = 4
_warned = set()


def warn_once(key, message, kind=FallbackWarning):
    """Give a warning once in a process for each key."""
    if key not in _warned:
        _warned.add(key)
        warnings.warn(message, kind, stacklevel=user_depth())


def described(f):
    """Name of a function and where it is defined."""
    while hasattr(f, "__diffsim_wraps__"):
        f = f.__diffsim_wraps__
    code = getattr(original(f), "__code__", None)
    return getattr(f, "__name__", "the function") + (f" ({code.co_filename}:{code.co_firstlineno})" if code else "")


def avals(kinds):
    """Shapes and dtypes of the leaves that are no constants."""
    return [Aval(k[0], k[1]) for k in kinds if k[0] != "static"]


def weak(kinds):
    """Which of these are numbers of Python's."""
    return [python_number(k) for k in kinds if k[0] != "static"]


def _numba_error():
    """Numba's error class; nothing if Numba has not been imported."""
    errors = sys.modules.get("numba.core.errors")
    return () if errors is None else errors.NumbaError


#: Flags of code objects that do not run when they are called: generators, coroutines, asynchronous generators.
SUSPENDED = 0x20 | 0x80 | 0x200
#: Flag of those that take arguments of any name.
ANY_NAMES = 0x08


def _code(f):
    """The code of the function within; None where there is none."""
    while hasattr(f, "__diffsim_wraps__") or isinstance(f, functools.partial):
        f = f.func if isinstance(f, functools.partial) else f.__diffsim_wraps__
    return getattr(original(f), "__code__", None)


def _takes_any_name(f):
    """Whether a function may see the order of arguments given by name."""
    code = _code(f)
    return code is None or bool(code.co_flags & ANY_NAMES)


def _takes_out(f):
    """Whether a function has an argument called ``out`` of its own, or takes any by name."""
    code = _code(f)
    if code is None:
        return False
    return bool(code.co_flags & ANY_NAMES) or "out" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


class Jitted:
    """A function that runs compiled.

    Attributes
    ----------
    graph : Graph
        Of the program used last.
    source : str
        Readable Python of what was compiled.
    stats : dict
        Of the program used last: equations ``traced`` and, after the passes, ``equations``; of one call without its linked loops ``flops``
        (operations on floating-point numbers) and ``bytes`` (loaded and stored); loops ``vectorised``; ``scratch`` bytes beyond the stack;
        ``cached``, whether the code came from disk; routines of a ``library`` and ``callbacks`` of Python it calls; bytes of
        ``constants``; ``seconds`` of each stage (trace, passes, lower, compile or load, and run where ``time`` was called);
        ``calls`` of it; ``programs`` and ``traces`` of the function.
    """

    def __init__(self, f, static_argnums=()):
        if not callable(f):
            raise InputTypeError(f"jit: the first argument must be a function, not a {type(f).__name__}")
        code = getattr(original(f), "__code__", None)
        if code is not None and code.co_flags & SUSPENDED:
            raise InputTypeError(f"jit: {described(f)} is a generator or coroutine, which computes nothing when it is called")
        functools.update_wrapper(self, f, updated=())
        self.__wrapped__ = self.__diffsim_wraps__ = f
        self._static = tuple(sorted({static_argnums} if isinstance(static_argnums, int) else set(static_argnums)))
        self._bound = {}
        self._writes, self._any_names = not _takes_out(f), _takes_any_name(f)
        self._compiled, self._ways, self._refused, self._traces, self._retracing = {}, (), None, 0, Retracing()

    def __repr__(self):
        return f"<compiled {getattr(self.__wrapped__, '__name__', self.__wrapped__)}>"

    def __get__(self, instance, owner):
        """The compiled method of an instance; the instance is part of what it closes over."""
        if instance is None:
            return self
        made = self._bound.get(id(instance))                # which stays its own as long as its method is kept
        if made is None:
            made = self._bound[id(instance)] = Jitted(types.MethodType(self.__wrapped__, instance), [i - 1 for i in self._static])
            for oldest in list(self._bound)[:-INSTANCES]:
                self._bound.pop(oldest, None)
        return made

    def __call__(self, *args, **kwargs):
        if kwargs and "out" in kwargs and self._writes:
            return self._written(args, kwargs, kwargs.pop("out"))
        ways = self._ways
        for call in ways:
            out = call(args, kwargs)
            if out is not MISS:
                if call is not ways[0]:
                    self._first(call)
                return out
        return self._general(args, kwargs)

    def _first(self, call):
        """Try this program first from now on."""
        self._ways = (call, *[way for way in self._ways if way is not call][: WAYS - 1])

    def _written(self, args, kwargs, out):
        """A call that writes into the caller's arrays."""
        for call in self._ways:
            result = call.entry.written(args, kwargs, out)
            if result is not MISS:
                return result
        return written(self(*args, **kwargs), out)

    def _general(self, args, kwargs):
        """A call whose arguments are looked at one by one."""
        if WATCH.get():
            return self.__wrapped__(*args, **kwargs)
        leaves, signature, traced = self._signature(args, kwargs)
        entry = self._entry(signature, leaves)
        if entry is None:
            return self.__wrapped__(*args, **kwargs)
        if traced or entry.closes_over_tracers:
            next(entry.ticks)
            return entry.result(eval_graph(entry.graph, *leaves, *entry.captured))
        try:
            out = entry.run(leaves)
        except MissingRule as missing:
            self._refuse(signature, f"{missing}{self._where(signature, missing.primitive)}")
            return self.__wrapped__(*args, **kwargs)
        self._first(entry.call)
        return self.__wrapped__(*args, **kwargs) if out is None else entry.result(out)

    def prepared(self, *args, **kwargs):
        """The leaves of a call and the traced program for them; None in its place where the function runs uncompiled."""
        leaves, signature, traced = self._signature(args, kwargs)
        return leaves, None if traced else self._entry(signature, leaves)

    def __reduce__(self):
        return Jitted, (self.__wrapped__, self._static)

    def _signature(self, args, kwargs):
        """Traceable leaves, the hashable rest, and whether any leaf is a tracer."""
        static, moving = self._split_static(args) if self._static else ((), args)
        flat, (kind, _, (positional, named)) = tree.flatten((moving, kwargs if self._any_names else dict(sorted(kwargs.items()))))
        order = tuple(kwargs) if self._any_names and len(kwargs) > 1 else None
        struct = kind, None, (tree.ordered(positional), tree.ordered(named, order))
        leaves, kinds, traced = [], [], False
        for x in flat:
            kind = type(x)
            if kind is np.ndarray:
                if x.dtype.kind not in "fiubc":
                    raise InputTypeError(f"jit: an argument is an array of dtype {x.dtype}; compiled functions take numbers")
                if not x.dtype.isnative:
                    x = x.astype(x.dtype.newbyteorder("="))
                order = None if len(x.shape) < MATRIX or x.flags.c_contiguous else memory_order(x)
                kinds.append((x.shape, x.dtype) if order is None else (x.shape, x.dtype, order))
                leaves.append(x)
            elif kind is float or kind is np.float64:
                kinds.append(PYTHON_FLOAT if kind is float else FLOAT)
                leaves.append(x)
            elif kind is complex:
                kinds.append(PYTHON_COMPLEX)
                leaves.append(np.complex128(x))
            elif isinstance(x, Tracer):
                traced = True
                kinds.append((x.shape, x.dtype))
                leaves.append(x)
            elif kind is Array:
                x = x.read()
                traced = traced or isinstance(x, Tracer)
                kinds.append((x.shape, x.dtype))
                leaves.append(x)
            elif isinstance(x, np.generic):
                kinds.append(((), x.dtype))
                leaves.append(x)
            elif isinstance(x, STATIC) or callable(x):
                kinds.append(("static", kind, x))
            else:
                raise InputTypeError(f"jit: an argument holds a {kind.__name__}; pass arrays, numbers, strings or containers of them, "
                                     f"or name it in static_argnums")
        return leaves, (struct, tuple(kinds), static), traced

    def _split_static(self, args):
        """Constant arguments with their numbers, and the others."""
        numbers = set()
        for i in self._static:
            if not -len(args) <= i < len(args):
                raise InputError(f"jit: static_argnums names argument {i}, but {described(self.__wrapped__)} was called with {len(args)}")
            numbers.add(i % len(args))
        static = tuple((i, args[i], typed(args[i])) for i in sorted(numbers))
        for i, x, _ in static:
            try:
                hash(x)
            except TypeError:
                raise InputTypeError(f"jit: argument {i} is static and must be hashable; a {type(x).__name__} is not: pass a tuple, or do "
                                     f"not name it in static_argnums") from None
        return static, tuple(a for i, a in enumerate(args) if i not in numbers)

    def _entry(self, signature, leaves):
        entries = self._compiled.get(signature)
        if entries is False:
            return None
        if entries is not None:
            for entry in entries:
                if entry.holds():
                    return entry
        elif self._retracing.hopeless(signature):
            return None
        entry = self._trace(signature, leaves)
        if entry is None or entry.closes_over_tracers:
            return entry
        self._keep(signature, entry)
        return entry if self._compiled[signature] else None

    def _keep(self, signature, entry):
        """Remember a program; give up where programs are made again and again and hardly used."""
        entries = self._compiled.setdefault(signature, [])
        reason = self._retracing.note(signature, entry, entries[0].guard.changed if entries else None)
        if reason is not None:
            self._compiled[signature], name = False, described(self.__wrapped__)
            warn_once(f"{name} is retraced", f"jit stops compiling {name}, which was traced {PATIENCE} times in a row: {reason}. It runs "
                                             f"uncompiled from here on (the same answer).", RetraceWarning)
            return
        entries.insert(0, entry)
        held = list(itertools.accumulate(e.held for e in entries))
        del entries[max(1, min(PER_SIGNATURE, bisect.bisect_right(held, HELD))):]
        for oldest in list(self._compiled)[:-SIGNATURES]:
            self._compiled.pop(oldest, None)

    def _trace(self, signature, leaves):
        _, kinds, static = signature
        f, found, began = self.__wrapped__, {}, time.perf_counter()
        self._traces += 1
        guard = snapshot(f, [k[2] for k in kinds if k[0] == "static" and callable(k[2])] + [x for _, x, _ in static])
        if guard.volatile:
            self._refuse(signature, f"it reads {guard.volatile}, whose value changes from call to call; a compiled program would "
                                    f"repeat the first one. Draw random numbers and read clocks outside, and pass them as arguments.")
            return None

        try:
            graph, captured = trace(self._flat(signature, found), avals(kinds), verb="jit", hoist=True, keep=guard.kept, weak=weak(kinds))
        except _numba_error() as reason:
            self._refuse(signature, f"a function compiled by Numba was given a traced value ({str(reason).splitlines()[0]}). "
                                    f"Wrap it in diffsim.kernel to have it compiled along.")
            return None
        except (ConcretizationError, DerivativeLost, MissingRule) as reason:
            self._refuse(signature, reason)
            return None
        return Compiled(signature, graph, captured, found["struct"], found["constants"], guard, {"trace": time.perf_counter() - began})

    def _flat(self, signature, found):
        """The function on flat leaves; what its result is besides arrays is left in ``found``."""
        struct, kinds, static = signature

        def flat(*traced):
            values = iter(traced)
            moving, kwargs = tree.unflatten(struct, [k[2] if k[0] == "static" else lent(next(values), *k[2:]) for k in kinds])
            args = list(moving)
            for i, x, _ in sorted(static):
                args.insert(i, x)
            out, found["struct"] = tree.flatten(rebound(self.__wrapped__)(*args, **kwargs))
            found["constants"] = [(i, x) for i, x in enumerate(out) if not is_value(x)]
            return [stacked(x) for x in out if is_value(x)]

        return flat

    def _where(self, signature, primitive):
        """The user's line that calls for a primitive, if the function itself does."""
        graph, _ = trace(self._flat(signature, {}), avals(signature[1]), verb="jit", lines=True)
        lines = [eqn.line for eqn in graph.eqns if eqn.prim.name == primitive and eqn.line]
        return f" ({lines[0]})" if lines else ""

    def _refuse(self, signature, reason):
        """Run this signature uncompiled from now on, and say so once."""
        self._compiled[signature], self._refused = False, str(reason)
        name = described(self.__wrapped__)
        says_where = isinstance(reason, (ConcretizationError, DerivativeLost))
        warn_once(str(reason) if says_where else f"{name} {reason}", f"jit runs {name} uncompiled (the same answer, slower): {reason}")

    @property
    def _last(self):
        """The program used last."""
        if self._ways:
            return self._ways[0].entry
        if self._refused:
            raise InputTypeError(f"the function runs uncompiled, so it has no graph, source or stats: {self._refused}")
        raise InputTypeError("the function has not been called yet: call it once, then look at its graph, source or stats")

    @property
    def graph(self):
        return self._last.graph

    @property
    def source(self):
        return self._last.program.source

    @property
    def stats(self):
        told = self._last.stats
        told["programs"] = sum(len(entries) for entries in self._compiled.values() if entries)
        told["traces"] = self._traces
        return told

    def time(self, *args, **kwargs):
        """Seconds a call with these arguments takes: the least of several runs after the first, which compiles.

        Returns
        -------
        float
            It then also stands among the ``seconds`` of ``stats``.
        """
        self(*args, **kwargs)
        timer = timeit.Timer(lambda: self(*args, **kwargs))
        number = max(1, int(BATCH / max(timer.timeit(1), 1e-9)))
        least = min(timer.repeat(5, number)) / number
        if self._ways:
            self._last.seconds["run"] = least
        return least


#: Arrays of fewer dimensions lie in one order only.
MATRIX = 2
#: Seconds a batch of calls is timed for.
BATCH = 0.01
FLOAT, PYTHON_FLOAT, PYTHON_COMPLEX = ((), np.dtype(float)), ((), np.dtype(float), float), ((), np.dtype(complex), complex)
__all__ = ["Compiled", "Jitted", "warn_once"]

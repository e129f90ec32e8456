"""From a stepping loop in Numba's subset to LLVM IR that links with a model's kernels, and the shim the loops are written on.

The shim functions mean three things: in plain Python they call methods of ``k`` or index an array; compiled, the kernels (``rhs``, ``vjp``
and the others of ``SYMBOLS``) call the external symbols ``ds_rhs``, ``ds_vjp`` and so on, ``row`` and ``row3`` are pointers into an array,
``mantissa``, ``exponent`` and ``power_of_two`` handle bits, ``summed`` adds in any order, and ``unroll`` marks the innermost loop around it
for full unrolling.

A loop's IR is made by Numba once a machine and kept on disk; with the text at hand Numba is never imported.
"""


import ctypes
import functools
import hashlib
import inspect
import math
import platform
import re
import struct
import sys
from types import FunctionType

import numpy as np

from diffsim.codegen import cache, engine
from diffsim.codegen.intrinsics import intrinsics
from diffsim.errors import InputError


def rhs(k, t, y, p, out):
    """Kernel: out = f(t, y, p)."""
    k.rhs(t, y, p, out)


def base_rhs(k, t, y, p, out):
    """Kernel: as ``rhs``, of the state without its tangents, in its place among them."""
    k.base_rhs(t, y, p, out)


def vjp(k, t, y, p, w, y_bar, p_bar, t_bar):
    """Kernel: adds w^T df/d(y, p, t) to y_bar, p_bar, t_bar."""
    k.vjp(t, y, p, w, y_bar, p_bar, t_bar)


def jac(k, t, y, p, out):
    """Kernel: out = the entries of df/dy that may differ from zero."""
    k.jac(t, y, p, out)


def rhs_t(k, t, y, p, out):
    """Kernel: out = df/dt."""
    k.rhs_t(t, y, p, out)


def push(k, t, y, v, p, out):
    """Kernel: out = df/dy v."""
    k.push(t, y, v, p, out)


def pull(k, t, y, w, p, out):
    """Kernel: out = w^T df/dy."""
    k.pull(t, y, w, p, out)


def bend(k, t, y, v, tau, p, w, y_bar, p_bar, t_bar):
    """Kernel: adds the derivatives of w^T (df/dy v + df/dt tau) by y, p and t to y_bar, p_bar, t_bar."""
    k.bend(t, y, v, tau, p, w, y_bar, p_bar, t_bar)


def drift(k, t, y, p, out):
    """Kernel: out = the slopes of the positions."""
    k.drift(t, y, p, out)


def kick(k, t, y, p, out):
    """Kernel: out = the slopes of the momenta."""
    k.kick(t, y, p, out)


def drift_vjp(k, t, y, p, w, y_bar, p_bar, t_bar):
    """Kernel: as ``vjp``, of the slopes of the positions."""
    k.drift_vjp(t, y, p, w, y_bar, p_bar, t_bar)


def kick_vjp(k, t, y, p, w, y_bar, p_bar, t_bar):
    """Kernel: as ``vjp``, of the slopes of the momenta."""
    k.kick_vjp(t, y, p, w, y_bar, p_bar, t_bar)


def gentle(k, t, y, p, out):
    """Kernel: out = the part of the slopes that is not stiff."""
    k.gentle(t, y, p, out)


def gentle_vjp(k, t, y, p, w, y_bar, p_bar, t_bar):
    """Kernel: as ``vjp``, of that part."""
    k.gentle_vjp(t, y, p, w, y_bar, p_bar, t_bar)


def walk(k, frame, y, slope, first, last):
    """Take the steps first .. last - 1 of a solve again from the state y and its slope, which become those at the end; returns a status."""
    return k.walk(y, slope, first, last)


def reverse(k, frame, y, slope, first, last, begin, end):
    """Take these steps again, and sweep them and the outputs begin .. end - 1 back; returns a status."""
    return k.reverse(y, slope, first, last, begin, end)


def event(k, t, y, p, out):
    """Kernel: out = the values of the event functions."""
    k.event(t, y, p, out)


def row(array, i):
    """Row i of a matrix, not copied."""
    return array[i]


def row3(array, i, j):
    """Row (i, j) of an array of three axes, not copied."""
    return array[i, j]


def mantissa(x):
    """m in [1/2, 1) with x = m 2^exponent(x); x positive and normal."""
    return math.frexp(x)[0]


def exponent(x):
    """Binary exponent of a positive, normal number, as a float."""
    return float(math.frexp(x)[1])


def power_of_two(n):
    """2^n for an integer -1022 <= n <= 1023."""
    return math.ldexp(1.0, n)


def summed(total, x):
    """total + x, in a sum whose terms may be added in any order: long ones in vectors."""
    return total + x


def unroll():
    """Mark the innermost loop around this call: its count is a small constant once the loop is specialised."""


SYMBOLS = {                                                                     # kernels and their C arguments
    "ds_rhs": ["double"] + ["ptr"] * 3, "ds_base_rhs": ["double"] + ["ptr"] * 3,
    "ds_vjp": ["double"] + ["ptr"] * 6, "ds_jac": ["double"] + ["ptr"] * 3,
    "ds_rhs_t": ["double"] + ["ptr"] * 3, "ds_push": ["double"] + ["ptr"] * 4, "ds_pull": ["double"] + ["ptr"] * 4,
    "ds_bend": ["double", "ptr", "ptr", "double"] + ["ptr"] * 5,
    "ds_drift": ["double"] + ["ptr"] * 3, "ds_kick": ["double"] + ["ptr"] * 3,
    "ds_drift_vjp": ["double"] + ["ptr"] * 6, "ds_kick_vjp": ["double"] + ["ptr"] * 6,
    "ds_gentle": ["double"] + ["ptr"] * 3, "ds_gentle_vjp": ["double"] + ["ptr"] * 6,
    "ds_walk": ["ptr"] * 3 + ["i64"] * 2, "ds_reverse": ["ptr"] * 3 + ["i64"] * 4,
    "ds_event": ["double"] + ["ptr"] * 3,
}


@functools.cache
def _announce():
    """Say, once a process, why the first solve on a machine takes seconds."""
    print("diffsim: compiling stepping loops for this machine, once for each family of methods (10 to 30 s)", file=sys.stderr, flush=True)


class Loop:
    """A stepping loop: a Python function, and the LLVM IR of the same function.

    Parameters
    ----------
    symbol : str
        Name of the function in the IR.
    function : callable
        The loop; its first argument is the kernel carrier ``k``, which the compiled form does not have.
    sizes : sequence of str
        Names of the sizes that ``shapes`` speak of; they come first in the compiled signature.
    shapes : dict
        Name of each array argument to its shape, as text.
    integers, integer_arrays : sequence of str
        Scalar arguments that are int64; array arguments of int64. The others are double.
    helpers : sequence of callable
        Plain functions the loop calls, each after the ones it calls itself.

    Attributes
    ----------
    signature : list of (str, str)
        (name, LLVM type) of the compiled function ``i64 symbol(...)``: sizes, then the arguments in the function's order.
    """

    def __init__(self, symbol, function, *, sizes, shapes, integers=(), integer_arrays=(), helpers=()):
        self.symbol, self.function, self.sizes, self.shapes = symbol, function, tuple(sizes), dict(shapes)
        self.integer_arrays, self.helpers = frozenset(integer_arrays), tuple(helpers)
        self.arguments = tuple(inspect.signature(function).parameters)[1:]
        whole = {*sizes, *integers}
        self.signature = [
            (name, "i64" if name in whole else "ptr" if name in shapes else "double") for name in (*self.sizes, *self.arguments)
        ]

    @functools.cached_property
    def text(self):
        """LLVM IR of the loop; made by Numba once a machine, then read from the cache."""
        key = self._key()
        kept = cache.get("loop", key)
        if kept is None:
            _announce()
            kept = _loop_ir(self).encode()
            cache.put("loop", key, kept)
        return kept.decode()

    def _key(self):
        from importlib.metadata import version  # noqa: PLC0415  (24 ms, wanted only when a model is compiled)

        sources = {inspect.getsourcefile(f) for f in (self.function, *self.helpers, Loop, intrinsics.__wrapped__)}
        parts = [self.symbol, platform.python_version(), version("numba"), version("llvmlite"), *engine.host(), *self._constants()]
        for source in sorted(sources):
            with open(source, "rb") as file:
                parts.append(hashlib.sha256(file.read()).hexdigest())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:40]

    def _constants(self):
        """Numbers that the loop and its helpers read from their modules, which may have them from others."""
        for f in (self.function, *self.helpers):
            for name in f.__code__.co_names:
                if isinstance(f.__globals__.get(name), (int, float)):
                    yield f"{f.__qualname__} {name} = {f.__globals__[name]!r}"

    def instance(self, symbols, **sizes):
        """The IR with external symbols and the loop itself renamed, so that several instances fit into one module.

        Parameters
        ----------
        symbols : dict
            Old name to new name, e.g. ``{"ds_rhs": "lv_rhs", "erk_forward": "erk_forward_3"}``.
        **sizes : int
            Sizes the marked loops depend on, ``S=6, degree=4``: these loops are unrolled, and what a call passes for
            the sizes is ignored. Kept on disk: it saves every model the work.
        """
        pattern = re.compile(r"@(" + "|".join(map(re.escape, symbols)) + r")\b")
        return pattern.sub(lambda match: "@" + symbols[match[1]], self._fixed(tuple(sorted(sizes.items()))))

    @functools.cache  # noqa: B019  (loops are few and live as long as their modules)
    def _fixed(self, sizes):
        """The IR for given sizes, with its marked loops unrolled."""
        if not sizes:
            return self.text
        name = "-".join(f"{size}{value}" for size, value in sizes)
        kept = cache.get("loop", f"{self._key()}-{name}")
        if kept is None:
            whole = self.text.replace(_MARK, _UNROLL).replace(f"@{self.symbol}(", "@whole(")
            kept = engine.cleaned([_fixing_wrapper(self, dict(sizes)), whole], [self.symbol]).encode()
            cache.put("loop", f"{self._key()}-{name}", kept)
        return kept.decode()

    def shape(self, name, sizes):
        """Shape of an array argument for given sizes, a dictionary."""
        return eval(f"({self.shapes[name]},)", {"__builtins__": {}}, sizes)  # the table of shapes is the loop's own text

    def declaration(self, symbol=None):
        """Text that declares the loop in another module."""
        return f"declare i64 @{symbol or self.symbol}({', '.join(kind for _, kind in self.signature)})\n"

    def call(self, result, values, symbol=None):
        """Text of a call.

        Parameters
        ----------
        result : str
            Name of the i64 that receives the status, without ``%``.
        values : dict
            Every name of ``signature`` to a Python number or to the text of an operand (``"%y"``, ``"@a"``).
        symbol : str, optional

        Raises
        ------
        InputError
            Names are missing or unknown.
        """
        wrong = {name for name, _ in self.signature} ^ set(values)
        if wrong:
            raise InputError(f"a call of `{self.symbol}` must give exactly the names of its signature; wrong are {sorted(wrong)}")
        operands = (f"{kind} {_operand(values[name], kind)}" for name, kind in self.signature)
        return f"  %{result} = call i64 @{symbol or self.symbol}({', '.join(operands)})\n"


def apart(text):
    """The IR of a loop's instance with its entry kept a function of its own, however small.

    Numbers that all its callers pass alike are still made constants of it.
    """
    made, n = re.subn(r"\balwaysinline\b", "noinline", text)
    if not n:
        raise InputError("the text is no instance of a loop: nothing in it is marked to be inlined")
    return made


def _operand(value, kind):
    if isinstance(value, str):
        return value
    if kind == "double":
        return double(value)
    return str(int(value))


def double(value):
    """A number as LLVM prints a double: its bits."""
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def constant(name, values):
    """Text of a global constant array of doubles, in C order."""
    flat = [float(x) for x in np.ravel(values)]
    body = ", ".join(f"double {double(x)}" for x in flat)
    return f"@{name} = internal unnamed_addr constant [{len(flat)} x double] [{body}], align 64\n"


def unused(symbol, name):
    """IR of a kernel that a loop names but will not call."""
    return f"define void @{name}({', '.join(SYMBOLS[symbol])}) {{\n  ret void\n}}\n"


def another(symbol, name, target):
    """IR of a kernel that calls another one of the same arguments."""
    kinds = SYMBOLS[symbol]
    formal = ", ".join(f"{kind} %{i}" for i, kind in enumerate(kinds))
    return f"""declare void @{target}({", ".join(kinds)})

define void @{name}({formal}) alwaysinline {{
  call void @{target}({formal})
  ret void
}}
"""


def trampoline(symbol, address):
    """IR of a kernel that calls an address: for kernels that cannot or should not be linked."""
    kinds = SYMBOLS[symbol]
    formal = ", ".join(f"{kind} %{i}" for i, kind in enumerate(kinds))
    return f"""define void @{symbol}({formal}) {{
  %f = inttoptr i64 {address} to ptr
  call void %f({formal})
  ret void
}}
"""


def _jitted(loop):
    """The loop under Numba, and a C-callable entry of plain pointers around it (compiled on the spot)."""
    from numba import carray, cfunc, njit, types  # noqa: PLC0415

    namespace = dict(intrinsics())
    for function in (*loop.helpers, loop.function):
        copied = FunctionType(function.__code__, {**function.__globals__, **namespace}, function.__name__)
        # Python never calls these: without wrappers for it, compiling takes 2.7 s, not 3.4 s
        namespace[function.__name__] = njit(copied, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
    names = [name for name, _ in loop.signature]
    given = (f"carray({name}, ({loop.shapes[name]},))" if name in loop.shapes else name for name in loop.arguments)
    source = f"def {loop.symbol}_entry({', '.join(names)}):\n    return loop(0, {', '.join(given)})\n"
    scope = {"carray": carray, "loop": namespace[loop.function.__name__]}
    exec(source, scope)  # the arguments of a cfunc are positional: its body is written out from the table of shapes
    kinds = {"i64": types.int64, "double": types.float64}

    def kind(name, text):
        element = types.int64 if name in loop.integer_arrays else types.float64
        return types.CPointer(element) if text == "ptr" else kinds[text]

    signature = types.int64(*[kind(*pair) for pair in loop.signature])
    return cfunc(signature, error_model="numpy")(scope[f"{loop.symbol}_entry"])


def _unoptimised(loop):
    """Numba's IR of a loop before any optimisation, while its blocks still follow the source."""
    import llvmlite.binding as llvm  # noqa: PLC0415
    from numba.core import compiler_lock, config  # noqa: PLC0415

    dummy = ctypes.cast(ctypes.pythonapi.Py_IsInitialized, ctypes.c_void_p).value
    for symbol in (*SYMBOLS, "ds_unroll"):          # Numba resolves every symbol of what it compiles; these are never called
        llvm.add_symbol(symbol, dummy)
    with compiler_lock.global_compiler_lock:        # nobody else compiles while the setting is changed
        kept, config.OPT = config.OPT, type(config.OPT)(0)
        try:
            return _jitted(loop).inspect_llvm()
        finally:
            config.OPT = kept


_MARK, _UNROLL = "diffsim.unroll", "llvm.loop.unroll.full"      # LLVM knows the second and would warn that it cannot do it yet
_BLOCK = re.compile(r"B(\d+)(?:\.\S*)?:")
_BACK = re.compile(r"  br label %B(\d+)$")


def _marked(text):
    """The IR with ``unroll()`` turned into metadata of the innermost loop around each mark.

    Numba names blocks after offsets in the bytecode, so that a branch to a lower number closes a loop.
    """
    lines, number = text.split("\n"), -1
    marks, backs, close = [], [], set()
    for at, line in enumerate(lines):
        if line.startswith("define"):
            marks, backs, number = [], [], -1
        elif block := _BLOCK.match(line):
            number = int(block[1])
        elif line.startswith("  call void @ds_unroll()"):
            marks.append(number)
            lines[at] = ""
        elif (back := _BACK.match(line)) and int(back[1]) <= number:
            backs.append((int(back[1]), number, at))
        elif line.startswith("}"):
            close |= {min((b - a, at_) for a, b, at_ in backs if a <= mark <= b)[1] for mark in marks}
    for count, at in enumerate(sorted(close)):
        lines[at] += f", !llvm.loop !{90000 + 2 * count}"
        lines.append(f"!{90000 + 2 * count} = distinct !{{!{90000 + 2 * count}, !{90001 + 2 * count}}}")
        lines.append(f'!{90001 + 2 * count} = !{{!"{_MARK}"}}')
    return "\n".join(lines)


def _fixing_wrapper(loop, sizes):
    """The loop with some of its sizes fixed; the signature stays."""
    formal = ", ".join(f"{kind}{' noalias' * (kind == 'ptr')} %{name}" for name, kind in loop.signature)
    actual = ", ".join(f"{kind} {sizes.get(name, '%' + name)}" for name, kind in loop.signature)
    plain = ", ".join(kind for _, kind in loop.signature)
    return f"""declare i64 @whole({plain})
define i64 @{loop.symbol}({formal}) alwaysinline {{
  %result = call i64 @whole({actual})
  ret i64 %result
}}
"""


def _wrapper(loop, inner):
    """The loop under its own name and with plain arguments; Numba's form returns a status and takes two pointers more."""
    kinds = [kind + (" noalias" if kind == "ptr" else "") for _, kind in loop.signature]
    formal = ", ".join(f"{kind} %{name}" for kind, (name, _) in zip(kinds, loop.signature, strict=True))
    actual = ", ".join(f"{kind} %{name}" for name, kind in loop.signature)
    plain = ", ".join(kind for _, kind in loop.signature)
    return f"""declare i32 @{inner}(ptr, ptr, {plain})
define void @NRT_MemInfo_call_dtor(ptr %memory) alwaysinline {{
  ret void
}}
define i64 @{loop.symbol}({formal}) alwaysinline {{
  %value = alloca i64
  %exception = alloca ptr
  %status = call i32 @{inner}(ptr %value, ptr %exception, {actual})
  %result = load i64, ptr %value
  ret i64 %result
}}
"""


def _loop_ir(loop):
    """LLVM IR of a loop, inlined and cleaned but with its loops as they are, ready to be specialised."""
    raw = _marked(_unoptimised(loop))
    inner = re.search(rf"define i32 @(_Z\w*{loop.symbol}_entry\w*)\(", raw)[1]
    return engine.cleaned([_wrapper(loop, inner), raw], [loop.symbol])

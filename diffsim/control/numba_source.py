"""Numba functions of a kernel's value, tangent and cotangents on arrays, and their LLVM IR with plain pointers.

A rule that was not given is written here from the one that was, basis vector by basis vector, or as central differences: the same
mathematics as in ``callback.py``, as code that compiles.
"""

import functools
import re
import types
from typing import NamedTuple

import numpy as np

from .. import tree
from ..codegen import engine
from ..core.aval import is_float
from ..errors import MissingRule
from .places import leaf_count

DTYPES = ("float64", "int64", "bool")
#: As in ``callback.py``.
SMALLEST = 1e-2


class Code(NamedTuple):
    """What a kernel is made of.

    Parameters
    ----------
    name : str
        For messages.
    f, jvp, vjp : Numba dispatcher
        The rules may be None.
    place : Place
        Of the arguments: which leaves are operands.
    single : bool
        Whether ``f`` returns one array, and not a tuple.
    step : float
        Relative step of differences.
    """

    name: str
    f: object
    jvp: object
    vjp: object
    place: object
    single: bool
    step: float


def _texts(struct, leaves):
    """Source of a tree of tuples with the given leaves."""
    if struct == tree.LEAF:
        return next(leaves)
    kind, meta, children = struct
    if kind is None:
        return "None"
    if kind is not tuple or meta is not None:
        raise MissingRule("kernel", "emit", f"an argument is a {getattr(kind, '__name__', kind)}; compiled kernels take arrays, numbers "
                                            f"and tuples of them")
    inner = ", ".join(_texts(c, leaves) for c in children)
    return f"({inner},)" if children else "()"


def arguments(place, names):
    """Source of the arguments of a call, one text for each operand given; constants are written out."""
    names, constants = iter(names), iter(place.constants)
    texts = iter([next(names) if on else _literal(next(constants)) for on in place.on])
    return _texts(place.struct, texts)


def _literal(x):
    if isinstance(x, (int, float, bool, str)):
        return repr(x)
    raise MissingRule("kernel", "emit", f"a compiled kernel takes no {type(x).__name__} as an argument")


def _zeros(a):
    return f"np.zeros({a.shape})" if a.shape else "0.0"


class _Writer:
    """Lines of one function of operands x0, x1, ..., of tangents v0, ... (of the active ones), of cotangents w0, ... (of the values)."""

    def __init__(self, code, avals, out, active):
        self.code, self.avals, self.out, self.active, self.lines = code, avals, out, active, []
        self.x = [f"x{i}" for i in range(len(avals))]
        self.moving = [i for i, on in enumerate(active) if on]
        self.parts = [k for k, a in enumerate(out) if is_float(a.dtype)]

    def call(self, names):
        return f"f(*{arguments(self.code.place, names)})" if self.code.place.struct[2] else "f()"

    def part(self, y, k):
        """Source of part k of a value."""
        return y if self.code.single else f"{y}[{k}]"

    def values(self, texts):
        """Source of something that is a value: one text, or a tuple with None beside what carries no derivative."""
        full = [texts[k] if k in texts else "None" for k in range(len(self.out))]
        return full[0] if self.code.single else f"({', '.join(full)},)"

    def tangents(self, texts):
        """Source of a tangent of the arguments."""
        full = [texts.get(i, _zeros(a) if is_float(a.dtype) else "None") for i, a in enumerate(self.avals)]
        names, place = iter(full), self.code.place
        return _texts(place.struct, iter([next(names) if on else "None" for on in place.on]))

    def cotangent(self, bars, i):
        """Source of the cotangent of operand i in a tuple of those of the arguments."""
        place, at = self.code.place, -1
        for leaf, on in enumerate(place.on):
            at += on
            if on and at == i:
                return bars + _path(place.struct, leaf)
        raise MissingRule(self.code.name, "emit", "an operand is missing")

    def add(self, *lines):
        self.lines += [f"    {line}" for line in lines]

    # ------------------------------------------------------------ the three functions
    def value(self):
        self.add(f"y = {self.call(self.x)}", f"return ({', '.join(self.part('y', k) for k in range(len(self.out)))},)")
        return self.x

    def push(self):
        code, v = self.code, {i: f"v{i}" for i in self.moving}
        primals = arguments(code.place, self.x)
        if code.jvp is not None:
            self.add(f"d = jvp({primals}, {self.tangents(v)})", f"return ({', '.join(self.part('d', k) for k in self.parts)},)")
        elif code.vjp is not None:
            for k in self.parts:
                self.add(f"r{k}, w{k} = np.zeros({self.out[k].size}), np.zeros({self.out[k].size})")
            ws = self.values({k: self.shaped(f"w{k}", self.out[k]) for k in self.parts})
            for k in self.parts:
                inner = " + ".join(f"inner({self.cotangent('bars', i)}, v{i})" for i in self.moving)
                self.add(f"for j in range({self.out[k].size}):", f"    w{k}[j] = 1.0", f"    bars = vjp({primals}, {ws})",
                         f"    r{k}[j] = {inner}", f"    w{k}[j] = 0.0")
            self.add(f"return ({', '.join(self.shaped(f'r{k}', self.out[k]) for k in self.parts)},)")
        else:
            self.add("big = 0.0", *[f"big = max(big, ratio({self.flat(i)}, {self.flat(i, 'v')}))" for i in self.moving],
                     f"h = {code.step!r} / big if big > 0.0 else 1.0")
            up, down = ([f"x{i} {s} h * v{i}" if i in self.moving else f"x{i}" for i in range(len(self.avals))] for s in "+-")
            quotients = ", ".join(self.quotient(k) for k in self.parts)
            self.add(f"a = {self.call(up)}", f"b = {self.call(down)}", f"return ({quotients},)")
        return [*self.x, *v.values()]

    def pull(self):
        code, w = self.code, {k: f"w{k}" for k in self.parts}
        primals = arguments(code.place, self.x)
        if code.vjp is not None:
            self.add(f"bars = vjp({primals}, {self.values(w)})", f"return ({', '.join(self.cotangent('bars', i) for i in self.moving)},)")
            return [*self.x, *w.values()]
        for i in self.moving:
            self.add(f"r{i} = np.zeros({self.avals[i].size})")
            self.add(f"t{i} = np.zeros({self.avals[i].size})" if code.jvp is not None else f"t{i} = {self.flat(i)}.copy()")
        at = [self.shaped(f"t{i}", self.avals[i]) if i in self.moving else f"x{i}" for i in range(len(self.avals))]
        for i in self.moving:
            self.add(f"for j in range({self.avals[i].size}):")
            if code.jvp is not None:
                turned = {m: at[m] for m in self.moving}
                change = " + ".join(f"inner({self.part('d', k)}, w{k})" for k in self.parts)
                self.add(f"    t{i}[j] = 1.0", f"    d = jvp({primals}, {self.tangents(turned)})", f"    r{i}[j] = {change}",
                         f"    t{i}[j] = 0.0")
            else:
                change = " + ".join(f"inner({self.quotient(k)}, w{k})" for k in self.parts)
                self.add(f"    middle, h = t{i}[j], {code.step!r} * scale({self.flat(i)}, j)", f"    t{i}[j] = middle + h",
                         f"    a = {self.call(at)}", f"    t{i}[j] = middle - h", f"    b = {self.call(at)}", f"    t{i}[j] = middle",
                         f"    r{i}[j] = {change}")
        self.add(f"return ({', '.join(self.shaped(f'r{i}', self.avals[i]) for i in self.moving)},)")
        return [*self.x, *w.values()]

    def quotient(self, k):
        """Source of the difference quotient of part k of the values a and b."""
        return f"({self.part('a', k)} - {self.part('b', k)}) / (2.0 * h)"

    @staticmethod
    def shaped(name, aval):
        """Source of a flat array in the shape of an aval."""
        return f"{name}.reshape({aval.shape})" if aval.shape else f"{name}[0]"

    def flat(self, i, letter="x"):
        """Source of an operand as a vector."""
        return f"np.ascontiguousarray({letter}{i}).reshape({self.avals[i].size})" if self.avals[i].shape else f"np.array([{letter}{i}])"


def _path(struct, leaf):
    """Source of the way to a leaf of a tree of tuples."""
    if struct == tree.LEAF:
        return ""
    for n, child in enumerate(struct[2]):
        size = leaf_count(child)
        if leaf < size:
            return f"[{n}]{_path(child, leaf)}"
        leaf -= size
    raise IndexError(leaf)


# ---------------------------------------------------------------- helpers of the generated code
def _inner(a, b):
    return np.sum(np.asarray(a) * np.asarray(b))


def _scale(x, j):
    """Size of element j of a vector, for a step; as ``callback._scale``."""
    largest = 0.0
    for value in x:
        largest = max(largest, abs(value))
    if not (largest > 0.0 and largest < np.inf):
        return 1.0
    return max(abs(x[j]), SMALLEST * largest)


def _ratio(x, v):
    """The largest part of a direction, relative to where it starts."""
    found = 0.0
    for j in range(x.size):
        found = max(found, abs(v[j]) / _scale(x, j))
    return found


@functools.cache
def _helpers():
    """The helpers as Numba functions, by name."""
    from numba import njit  # noqa: PLC0415  (imported late: it costs 0.5 s)

    scale = njit(_scale)
    ratio = njit(types.FunctionType(_ratio.__code__, {**_ratio.__globals__, "_scale": scale}))
    return {"np": np, "inner": njit(_inner), "scale": scale, "ratio": ratio}


# ---------------------------------------------------------------- functions
def function(code, kind, avals, out, active):
    """A Numba function of plain operands that returns a tuple: the ``"value"``, the ``"push"`` or the ``"pull"`` of a kernel.

    Raises
    ------
    MissingRule
        Operands of another dtype than double, int64 or bool, or of other containers than tuples.
    """
    from numba import njit  # noqa: PLC0415

    for a in (*avals, *out):
        if a.dtype.name not in DTYPES:
            raise MissingRule(code.name, "emit", f"compiled kernels take and give {', '.join(DTYPES)}, not {a.dtype}")
    writer = _Writer(code, avals, out, active)
    parameters = getattr(writer, kind)()
    text = "\n".join([f"def {kind}({', '.join(parameters)}):", *writer.lines, ""])
    scope = {**_helpers(), "f": code.f, "jvp": code.jvp, "vjp": code.vjp}
    exec(compile(text, f"<{kind} of {code.name}>", "exec"), scope)
    return njit(scope[kind], error_model="numpy")


# ---------------------------------------------------------------- LLVM IR
FAILED, WRONG_SHAPE = 2, 1


def entry_ir(symbol, fun, ins, outs):
    """LLVM IR of ``i64 symbol(ptr ins..., ptr outs...)`` that calls a Numba function on arrays in memory.

    It returns 0, 1 where a result has another shape than ``outs`` say, 2 where the function raised; its results are then NaN.
    """
    from numba import carray, cfunc  # noqa: PLC0415
    from numba import types as nb  # noqa: PLC0415

    lines = [f"def entry({', '.join([f'p{i}' for i in range(len(ins))] + [f'q{k}' for k in range(len(outs))])}):"]
    operands = [f"carray(p{i}, {a.shape or (1,)}, np.{NUMBA[a.dtype.name]})" + ("" if a.shape else "[0]") for i, a in enumerate(ins)]
    lines.append(f"    y = fun({', '.join(operands)})")
    for k, a in enumerate(outs):
        if a.shape:
            lines.append(f"    if y[{k}].shape != {a.shape}:\n        return {WRONG_SHAPE}")
        place = f"carray(q{k}, {a.shape or (1,)}, np.{NUMBA[a.dtype.name]})"
        lines.append(f"    {place}[{'...' if a.shape else '0'}] = y[{k}]")
    text = "\n".join([*lines, "    return 0", ""])
    scope = {"carray": carray, "np": np, "fun": fun}
    exec(compile(text, "<entry of a kernel>", "exec"), scope)
    made = cfunc(nb.int64(*[nb.voidptr] * (len(ins) + len(outs))), error_model="numpy")(scope["entry"])
    raw = made.inspect_llvm()
    inner = re.search(r"^define [^@\n]*i32 @(_Z\w*)\(", raw, re.MULTILINE)[1]
    return engine.cleaned([_wrapper(symbol, inner, len(ins), outs), raw], [symbol])


NUMBA = {"float64": "float64", "int64": "int64", "bool": "bool_"}


def _wrapper(symbol, inner, n_in, outs):
    """The entry under its own name and with plain arguments; Numba's form returns a status and takes two pointers more."""
    names = [f"%p{i}" for i in range(n_in)] + [f"%q{k}" for k in range(len(outs))]
    formal, kinds = ", ".join(f"ptr {n}" for n in names), ", ".join(["ptr"] * (len(names) + 2))
    poison = [f"  call void @llvm.memset.p0.i64(ptr %q{k}, i8 -1, i64 {a.size * a.dtype.itemsize}, i1 false)"
              for k, a in enumerate(outs) if is_float(a.dtype)]
    return "\n".join([
        f"declare i32 @{inner}({kinds})", "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)",
        f"define i64 @{symbol}({formal}) {{", "  %value = alloca i64", "  %exception = alloca ptr", "  store i64 0, ptr %value",
        f"  %status = call i32 @{inner}({', '.join(['ptr %value', 'ptr %exception', *[f'ptr {n}' for n in names]])})",
        "  %result = load i64, ptr %value", "  %raised = icmp ne i32 %status, 0",
        f"  %code = select i1 %raised, i64 {FAILED}, i64 %result", "  %bad = icmp ne i64 %code, 0",
        "  br i1 %bad, label %poison, label %end", "poison:", *poison, "  br label %end", "end:", "  ret i64 %code", "}", ""])


__all__ = ["FAILED", "WRONG_SHAPE", "Code", "entry_ir", "function"]

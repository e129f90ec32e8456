"""Numba functions as primitives: called as they are on plain arrays, linked as LLVM IR into compiled programs and right-hand sides."""

import hashlib

import numpy as np

from ..core import aval_of
from ..core.aval import is_float
from ..core.emission import Call
from ..errors import InputError
from .callback import Carriers, Derivative, External
from .kernel_digest import digest
from .numba_source import WRONG_SHAPE, Code, entry_ir, function
from .places import Place


class Compilable:
    """Mixin of an external function whose code is Numba's."""

    def code_at(self, avals):
        """The :class:`Code` to compile at operands of the given avals."""
        raise NotImplementedError

    def function(self, kind, avals, active):
        """A Numba function of the value, the tangent or the cotangents, and the avals it takes and gives."""
        def make():
            out = self.out(*avals)
            floats = tuple(a for a in out if is_float(a.dtype))
            moving = tuple(a for a, on in zip(avals, active, strict=True) if on)
            ins = avals + {"value": (), "push": moving, "pull": floats}[kind]
            return function(self.code_at(avals), kind, avals, out, active), ins, {"value": out, "push": floats, "pull": moving}[kind]
        return self._made((kind, avals, active, "function"), make)

    def ir(self, kind, avals, active):
        """Symbol and LLVM IR of the same."""
        def make():
            key = f"{self.digest} {kind} {';'.join(map(str, avals))} {active}"
            symbol = "ds_kernel_" + hashlib.sha256(key.encode()).hexdigest()[:24]
            return symbol, entry_ir(symbol, *self.function(kind, avals, active))
        return self._made((kind, avals, active, "ir"), make)

    def derivative(self, kind, active, *rest, **more):
        return KernelDerivative(self, kind, active, *rest, **more)


class KernelExternal(Compilable, External):
    """A kernel at one structure of its arguments."""

    def __init__(self, code, out, **more):
        super().__init__(code.name, self._run, out, push=code.jvp and self._push, pull=code.vjp and self._pull, **more)
        self.code = code
        struct, on, constants = code.place.key
        told = digest(code.f, code.jvp, code.vjp, repr((struct, on)), constants, code.single, code.step, self.differences)
        self.digest = told or self.digest

    def code_at(self, avals):
        self.announce(avals)
        return self.code

    def primals(self, x):
        return self.code.place.build(map(handed, x))

    def _run(self, *x):
        return self._split(self.code.f(*self.primals(x)))

    def _split(self, y):
        return [y] if self.code.single else list(y)

    def _push(self, x, x_dot):
        return self._split(self.code.jvp(self.primals(x), self.code.place.beside(x_dot)))

    def _pull(self, x, y_bar):
        def fail(reason):
            raise InputError(f"the vjp rule of {self.name} must return a tuple with one cotangent an argument: {reason}")

        bars = self.code.vjp(self.primals(x), y_bar[0] if self.code.single else tuple(y_bar))
        return self.code.place.pick(bars, fail)


def handed(a):
    """An array as Numba sees it in every call: contiguous and writeable, so that it compiles for one type; numbers as such."""
    a = np.asarray(a)
    if not a.ndim:
        return a[()]
    return a if a.flags.c_contiguous and a.flags.writeable and a.flags.aligned else np.array(a, order="C")


class KernelDerivative(Compilable, Derivative):
    """A kernel's tangent or cotangents as a function of the point."""

    def __init__(self, base, kind, active, *rest, **more):
        super().__init__(*rest, **more)
        self.base, self.kind, self.active = base, kind, active
        self.digest = hashlib.sha256(f"{base.digest} {kind} {active}".encode()).hexdigest()

    def code_at(self, avals):
        self.announce(avals)
        f, ins, _ = self.base.function(self.kind, avals[:len(self.active)], self.active)
        return Code(self.name, f, None, None, Place.of((0.0,) * len(ins))[0], False, self.step)


# ---------------------------------------------------------------- in compiled programs
class Request:
    """What a kernel needs from the caller of a compiled program: nothing but somebody to say what went wrong."""

    words = 1

    def __init__(self, params, avals_in, avals_out):
        fn, active = params["fn"], params.get("active")
        fn.announce(avals_in if active is None else avals_in[:len(active)])      # also where the code comes from the cache
        self.name = fn.name

    def allocate(self):
        return np.zeros(1, np.int64), None

    def grow(self, status, words, memory):
        return False

    def error(self, status, words, memory):
        if status == WRONG_SHAPE:
            return InputError(f"{self.name} returned an array of another shape than was declared")
        return RuntimeError(f"{self.name} raised an exception in a compiled program; call it on plain arrays to see which")


def _call(kind):
    def rule(k, outs, ins, *, fn, active=None):
        m = len(ins) if active is None else len(active)
        avals = tuple(aval_of(np.empty(b.shape, b.dtype)) for b in ins[:m])
        symbol, text = fn.ir(kind, avals, (False,) * m if active is None else active)
        k.once(("kernel", symbol), lambda: k.link(text))
        k.check(k.call("i64", symbol, [("ptr", k.pointer(b)) for b in (*ins, *outs)]))
    return Call(rule, Request, inside=True)


kernel = Carriers("kernel", (_call("value"), _call("push"), _call("pull")))

__all__ = ["KernelExternal", "handed", "kernel"]

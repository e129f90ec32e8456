"""Scalar expressions: made once each, folded where IEEE arithmetic allows it, placed as far out of loops as their operands are."""

import math
import re
import struct
from typing import NamedTuple

import numpy as np

from ..errors import MissingRule
from .library import symbol
from .nest import BOOL, FLOAT, INT, Atom, Block, Check, Literal, Value, canonical
from .ranges import span

#: Elementary functions: name -> (how LLVM calls it, NumPy's function, relative cost).  "llvm." names are exact instructions.
FUNCTIONS = {
    "fabs": ("llvm.fabs", "absolute", 1), "sqrt": ("llvm.sqrt", "sqrt", 4), "floor": ("llvm.floor", "floor", 1),
    "ceil": ("llvm.ceil", "ceil", 1), "trunc": ("llvm.trunc", "trunc", 1), "rint": ("llvm.rint", "rint", 1),
    "copysign": ("llvm.copysign", "copysign", 1), "cbrt": ("cbrt", "cbrt", 15), "exp": ("exp", "exp", 10), "exp2": ("exp2", "exp2", 10),
    "expm1": ("expm1", "expm1", 15), "log": ("log", "log", 10), "log2": ("log2", "log2", 10), "log10": ("log10", "log10", 10),
    "log1p": ("log1p", "log1p", 15), "sin": ("sin", "sin", 10), "cos": ("cos", "cos", 10), "tan": ("tan", "tan", 20),
    "asin": ("asin", "arcsin", 20), "acos": ("acos", "arccos", 20), "atan": ("atan", "arctan", 20), "sinh": ("sinh", "sinh", 20),
    "cosh": ("cosh", "cosh", 20), "tanh": ("tanh", "tanh", 20), "asinh": ("asinh", "arcsinh", 20), "acosh": ("acosh", "arccosh", 20),
    "atanh": ("atanh", "arctanh", 20), "pow": ("pow", "power", 20), "hypot": ("hypot", "hypot", 10), "atan2": ("atan2", "arctan2", 20),
    "fmod": ("fmod", "fmod", 10), "erf": ("erf", None, 15), "erfc": ("erfc", None, 15),
    "tgamma": ("tgamma", None, 30), "lgamma": ("lgamma", None, 30),
}  # fmt: skip
#: Relative cost of a routine of a library.
ROUTINE = 100
ROUNDINGS = ("floor", "ceil", "trunc", "rint")
COMPARE = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "==": np.equal, "!=": np.not_equal}
MIRROR = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
LOG_2 = 0.6931471805599453


class Special(NamedTuple):
    """The operation of a value that a routine of a library computes: its symbol, and which of how many values (0: it returns the one)."""

    symbol: str
    part: int = 0
    parts: int = 0

    @property
    def name(self):
        """Name of the function among those of scipy.special."""
        return re.sub(r"^ds_special_(__pyx_fuse_(\d_)?\d)?", "", self.symbol)


class Scalars:
    """Makes scalar values.  ``stack`` is the chain of blocks being filled, outermost first."""

    def __init__(self):
        self.top = Block(0)
        self.stack, self.literals, self.made = [self.top], {}, 0

    # ------------------------------------------------------------ making
    def const(self, x, dtype=FLOAT, structural=False):
        """The number ``x``."""
        dtype = canonical(dtype)
        x = bool(x) if dtype is BOOL else int(x) if dtype.kind == "i" else float(x)
        key = (struct.pack("d", x) if dtype.kind == "f" else x, dtype.num, structural)
        made = self.literals.get(key)
        if made is None:
            made = self.literals[key] = Literal(x, dtype, self.top, structural)
        return made

    def emit(self, op, args, dtype):
        """The value ``op(*args)``: one and the same for equal operands, in the outermost block that knows them."""
        block = self.top
        for a in args:
            if a.block.depth > block.depth:
                block = a.block
        key = (op, dtype.num, *args)
        made = block.memo.get(key)
        if made is None:
            self.made += 1
            made = block.memo[key] = Value(op, args, dtype, block, self.made)
            block.statements.append(made)
        return made

    def _fold(self, function, dtype, *x):
        with np.errstate(all="ignore"):
            return self.const(function(*[a.dtype.type(a.value) for a in x]), dtype)

    def _common(self, x, y):
        if x.dtype is y.dtype:
            return x, y
        dtype = np.result_type(x.dtype, y.dtype)
        return self.convert(x, dtype), self.convert(y, dtype)

    # ------------------------------------------------------------ arithmetic
    def add(self, x, y):
        x, y = self._common(x, y)
        if x.dtype is BOOL:
            return self.logical("or", x, y)
        if type(x) is Literal:
            x, y = y, x
        if type(y) is Literal:
            if type(x) is Literal:
                return y if x.structural else x if y.structural else self._fold(np.add, x.dtype, x, y)
            if y.structural or (y.value == 0 and (x.dtype.kind != "f" or math.copysign(1.0, y.value) < 0)):     # -0.0 + 0.0 is 0.0
                return x
        if y.op == "neg":
            return self.sub(x, y.args[0])
        if x.op == "neg":
            return self.sub(y, x.args[0])
        return self.emit("add", (x, y) if x.number <= y.number else (y, x), x.dtype)

    def sub(self, x, y):
        x, y = self._common(x, y)
        if type(y) is Literal and (y.structural or (y.value == 0 and type(x) is not Literal
                                                    and (x.dtype.kind != "f" or math.copysign(1.0, y.value) > 0))):
            return x
        if type(x) is Literal and x.structural:
            return self.neg(y)
        if type(x) is Literal and type(y) is Literal:
            return self._fold(np.subtract, x.dtype, x, y)
        if y.op == "neg":
            return self.add(x, y.args[0])
        return self.emit("sub", (x, y), x.dtype)

    def neg(self, x):
        if type(x) is Literal:
            return x if x.structural else self._fold(np.negative, x.dtype, x)
        return x.args[0] if x.op == "neg" else self.emit("neg", (x,), x.dtype)

    def mul(self, x, y):
        x, y = self._common(x, y)
        if x.dtype is BOOL:
            return self.logical("and", x, y)
        if type(x) is Literal:
            x, y = y, x
        if type(y) is Literal:
            if y.structural:
                return y
            if type(x) is Literal:
                return x if x.structural else self._fold(np.multiply, x.dtype, x, y)
            if y.value == 1:
                return x
            if y.value == -1:
                return self.neg(x)
            return self.mul(x.args[0], self.neg(y)) if x.op == "neg" else self.emit("mul", (x, y), x.dtype)
        if x.op == "neg":
            return self.mul(x.args[0], y.args[0]) if y.op == "neg" else self.neg(self.mul(x.args[0], y))
        if y.op == "neg":
            return self.neg(self.mul(x, y.args[0]))
        return self.emit("mul", (x, y) if x.number <= y.number else (y, x), x.dtype)

    def div(self, x, y):
        x, y = self._common(x, y)
        if x.dtype.kind != "f":
            x, y = self.convert(x, FLOAT), self.convert(y, FLOAT)
        if type(x) is Literal and x.structural:
            return x
        if type(y) is Literal:
            if type(x) is Literal:
                return self._fold(np.true_divide, x.dtype, x, y)
            if y.value == 1:
                return x
        if x.op == "neg":
            return self.neg(self.div(x.args[0], y))
        return self.emit("div", (x, y), x.dtype)

    def mod(self, x, y):
        """Remainder with the sign of the divisor, as NumPy's."""
        x, y = self._common(x, y)
        zero = self.const(0, x.dtype)
        if x.dtype.kind != "f":
            return self._integer_division(x, y)[1]
        r = self.call("fmod", x, y)
        wrong = self._opposed(r, y)
        moved = self.select(wrong, self.add(r, y), r)
        return self.select(self.compare("==", r, zero), self.call("copysign", zero, y), moved)

    def _opposed(self, x, y):
        """Whether one is negative and the other is not."""
        return self.logical("xor", self.compare("<", x, self.const(0, x.dtype)), self.compare("<", y, self.const(0, y.dtype)))

    def floor_divide(self, x, y):
        """Quotient rounded down, as NumPy's: from the exact remainder, not from the rounded quotient."""
        x, y = self._common(x, y)
        if x.dtype.kind != "f":
            return self._integer_division(x, y)[0]
        zero, one = self.const(0, x.dtype), self.const(1, x.dtype)
        r = self.call("fmod", x, y)
        whole = self.div(self.sub(x, r), y)
        wrong = self.logical("and", self.compare("!=", r, zero), self._opposed(r, y))
        whole = self.select(wrong, self.sub(whole, one), whole)
        down = self.call("floor", whole)
        down = self.select(self.compare(">", self.sub(whole, down), self.const(0.5, x.dtype)), self.add(down, one), down)
        quotient = self.div(x, y)
        rounded = self.select(self.compare("==", whole, zero), self.call("copysign", zero, quotient), down)
        return self.select(self.compare("==", y, zero), quotient, rounded)

    def fmod(self, x, y):
        """Remainder with the sign of the dividend, as NumPy's."""
        x, y = self._common(x, y)
        if x.dtype.kind == "f":
            return self.call("fmod", x, y)
        none, _, _, r = self._truncated(x, y)
        return self.select(none, self.const(0, r.dtype), r)

    def _integer_division(self, x, y):
        none, y, q, r = self._truncated(x, y)
        zero, one = self.const(0, r.dtype), self.const(1, r.dtype)
        wrong = self.logical("and", self.compare("!=", r, zero), self._opposed(r, y))
        q, r = self.select(wrong, self.sub(q, one), q), self.select(wrong, self.add(r, y), r)
        return self.select(none, zero, q), self.select(none, zero, r)

    def _truncated(self, x, y):
        """``(y is 0, y, quotient, remainder)`` by the machine's division, which traps on 0 and where the smallest integer meets -1."""
        if x.dtype is BOOL:
            x, y = self.convert(x, INT), self.convert(y, INT)
        one = self.const(1, x.dtype)
        none, minus = self.compare("==", y, self.const(0, x.dtype)), self.compare("==", y, self.const(-1, x.dtype))
        y = self.select(self.logical("or", none, minus), one, y)
        q, r = self.emit("idiv", (x, y), x.dtype), self.emit("irem", (x, y), x.dtype)
        return none, y, self.select(minus, self.neg(x), q), r

    # ------------------------------------------------------------ tests and choices
    def compare(self, op, x, y):
        x, y = self._common(x, y)
        if type(x) is Literal and type(y) is Literal:
            return self._fold(COMPARE[op], BOOL, x, y)
        if x.dtype is BOOL:
            x, y = self.convert(x, INT), self.convert(y, INT)
        if op in (">", ">="):
            op, x, y = MIRROR[op], y, x
        return self.emit(op, (x, y), BOOL)

    def truth(self, x):
        """Whether x is not zero (a NaN is true)."""
        return x if x.dtype is BOOL else self.compare("!=", x, self.const(0, x.dtype))

    def logical(self, op, x, y):
        """``and``, ``or`` or ``xor`` of two truths."""
        x, y = self.truth(x), self.truth(y)
        if type(x) is Literal:
            x, y = y, x
        if type(y) is Literal:
            if op == "xor":
                return self.logical_not(x) if y.value else x
            return y if y.value == (op == "or") else x
        if x is y:
            return self.const(False, BOOL) if op == "xor" else x
        return self.emit(op, (x, y) if x.number <= y.number else (y, x), BOOL)

    def bits(self, op, x, y):
        """``bitwise_and``, ``bitwise_or`` or ``bitwise_xor`` of two integers; of truths what is said of them."""
        x, y = self._common(x, y)
        if x.dtype is BOOL:
            return self.logical(op.removeprefix("bitwise_"), x, y)
        if type(x) is Literal and type(y) is Literal:
            return self._fold(getattr(np, op), x.dtype, x, y)
        return self.emit(op, (x, y), x.dtype)

    def shift(self, op, x, y):
        """``left_shift`` or ``right_shift`` of an integer; by a number of bits that it has not, as by all, like NumPy."""
        x, y = self._common(x, y)
        zero, all_ = self.const(0, x.dtype), self.const(8 * x.dtype.itemsize, x.dtype)
        inside = self.logical("and", self.compare("<=", zero, y), self.compare("<", y, all_))
        moved = self.emit(op, (x, self.select(inside, y, zero)), x.dtype)
        gone = zero if op == "left_shift" else self.select(self.compare("<", x, zero), self.const(-1, x.dtype), zero)
        return self.select(inside, moved, gone)

    def logical_not(self, x):
        x = self.truth(x)
        if type(x) is Literal:
            return self.const(not x.value, BOOL)
        return x.args[0] if x.op == "not" else self.emit("not", (x,), BOOL)

    def select(self, test, x, y):
        """x where test, else y."""
        test = self.truth(test)
        x, y = self._common(x, y)
        if type(test) is Literal:
            return x if test.value else y
        if x is y:
            return x
        return self.emit("select", (test.args[0], y, x) if test.op == "not" else (test, x, y), x.dtype)

    def maximum(self, x, y):
        return self._extreme("maximum", x, y)

    def minimum(self, x, y):
        return self._extreme("minimum", x, y)

    def _extreme(self, op, x, y):
        """A NaN wins, as NumPy's."""
        x, y = self._common(x, y)
        if x.dtype is BOOL:
            return self.logical("or" if op == "maximum" else "and", x, y)
        if type(x) is Literal and type(y) is Literal:
            return self._fold(getattr(np, op), x.dtype, x, y)
        return x if x is y else self.emit(op, (x, y), x.dtype)

    def sign(self, x):
        if x.dtype is BOOL:
            return x
        zero, one = self.const(0, x.dtype), self.const(1, x.dtype)
        below = self.select(self.compare("<", x, zero), self.neg(one), self.select(self.compare("==", x, zero), zero, x))
        return self.select(self.compare(">", x, zero), one, below)

    def isfinite(self, x):
        if x.dtype.kind != "f":
            return self.const(True, BOOL)
        return self.compare("<", self.call("fabs", x), self.const(np.inf, x.dtype))

    # ------------------------------------------------------------ array indices
    def wrapped(self, i, size, axis=None):
        """A user's index i into ``size`` elements as an integer known to lie in [0, size); negative ones count from the end.

        Where the range of i is not known to fit, the run checks it, and fails where it does not.

        Raises
        ------
        IndexError
            i is known, and out of bounds.
        """
        i = self.convert(i, INT)
        lo, hi = span(i)
        if lo >= size or hi < -size or size == 0:
            raise IndexError(out_of_bounds(lo if lo == hi else "in the program", size, axis))
        block = self._guarded(i.block)
        key = ("wrapped", i, size, axis)
        made = block.memo.get(key)
        if made is None:
            if lo < -size or hi >= size:
                block.statements.append(Check(i, size, axis, lo < -size, hi >= size))
            if lo < 0:
                i = self.select(self.compare("<", i, self.const(0, INT)), self.add(i, self.const(size, INT)), i)
            if lo < -size:
                i = self.maximum(i, self.const(0, INT))
            if hi >= size:
                i = self.minimum(i, self.const(size - 1, INT))
            made = block.memo[key] = i if type(i) is Literal else self.atom(i, max(lo, 0), min(hi, size - 1) if lo >= 0 else size - 1)
        return made

    def atom(self, value, lo, hi):
        """An integer value with the range it is known to lie in."""
        key = ("range", value, lo, hi)
        made = value.block.memo.get(key)
        if made is None:
            self.made += 1
            made = value.block.memo[key] = Atom("same", (value,), value.block, self.made, lo, hi)
            value.block.statements.append(made)
        return made

    def _guarded(self, block):
        """The block where what may fail is computed: inside every choice between there and here."""
        for b in self.stack[block.depth + 1 :]:
            if b.conditional:
                block = b
        return block

    # ------------------------------------------------------------ functions and casts
    def call(self, name, *x):
        """An elementary function of ``FUNCTIONS``.

        Raises
        ------
        MissingRule
            It is not in the table.
        """
        if name not in FUNCTIONS:
            raise MissingRule(name, "emit", "generated code has no such elementary function")
        dtype = x[0].dtype if len(x) == 1 else np.result_type(*[a.dtype for a in x])
        if dtype.kind != "f":
            if name in ROUNDINGS:
                return x[0]
            if name == "fabs":
                return x[0] if dtype is BOOL else self.select(self.compare("<", x[0], self.const(0, dtype)), self.neg(x[0]), x[0])
            dtype = FLOAT
        x = tuple(self.convert(a, dtype) for a in x)
        if FUNCTIONS[name][1] and all(type(a) is Literal for a in x):
            return self._fold(getattr(np, FUNCTIONS[name][1]), dtype, *x)
        return self.emit(name, x, dtype)

    def special(self, routine, types, part, parts, *x):
        """A routine of ``scipy.special.cython_special`` on doubles and integers; the arguments are those of ``prims/entries.Entry``."""
        x = tuple(self.convert(a, FLOAT if t == "d" else INT) for a, t in zip(x, types, strict=True))
        return self.emit(Special(symbol("special", routine), part, parts), x, FLOAT)

    def logaddexp(self, x, y):
        """log(exp x + exp y) = max + log1p(exp(-|x - y|)); equal infinities keep their value."""
        x, y = self._common(x, y)
        if x.dtype.kind != "f":
            x, y = self.convert(x, FLOAT), self.convert(y, FLOAT)
        apart = self.add(self.maximum(x, y), self.call("log1p", self.call("exp", self.neg(self.call("fabs", self.sub(x, y))))))
        return self.select(self.compare("==", x, y), self.add(x, self.const(LOG_2, x.dtype)), apart)

    def convert(self, x, dtype):
        """x in another dtype, as ``ndarray.astype``."""
        dtype = canonical(dtype)
        if x.dtype is dtype:
            return x
        if type(x) is Literal and not (dtype.kind == "i" and x.dtype.kind == "f"):
            with np.errstate(all="ignore"):
                return self.const(x.dtype.type(x.value).astype(dtype), dtype, x.structural)
        return self.truth(x) if dtype is BOOL else self.emit("convert", (x,), dtype)


def out_of_bounds(index, size, axis):
    """What to say of an index."""
    where = "an array" if axis is None else f"axis {axis}"
    return f"index {index} is out of bounds for {where} with size {size}"


def cost(rule, dtypes, params):
    """Operations one application of a scalar rule takes; functions count by their cost."""
    k = Scalars()
    before = len(k.top.statements)
    x = [Value("operand", (), d, k.top, -i - 2) for i, d in enumerate(dtypes)]
    rule(k, *x, **params)
    return sum(operations(s.op) for s in k.top.statements[before:])


def operations(op):
    """Relative cost of one operation."""
    return ROUTINE if type(op) is Special else FUNCTIONS[op][2] if op in FUNCTIONS else 4 if op == "div" else 1

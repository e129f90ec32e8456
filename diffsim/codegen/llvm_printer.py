"""Loop nests as LLVM IR.

The text is written directly: 1,000 statements take 1.4 ms, against 4.6 ms through ``llvmlite.ir``, which would have to be imported too.
"""

import struct
from itertools import accumulate

import numpy as np

from . import engine, parts, vector_math
from .fuse import called_one_by_one, in_vectors
from .guards import Guards
from .lower import WIDE
from .masks import masks
from .nest import BOOL, COMPUTED, FLOAT, INT, PARTS, WIDTH, Atom, Block, Check, Choice, Link, Literal, Loop, Store, Value, numbers, slots
from .scalars import FUNCTIONS, Special
from .sums import block_length, block_sums
from .weight import count_loops, heaviest, size, work

TYPE = {d: {"f8": "double", "f4": "float", "i8": "i64", "i4": "i32", "b1": "i1"}[d.str[1:]] for d in COMPUTED}
SUFFIX = {d: {"f8": "f64", "f4": "f32", "i8": "i64", "i4": "i32", "b1": "i1"}[d.str[1:]] for d in COMPUTED}
#: Sums of products may use fused multiply-adds, one rounding instead of two (sums are reassociated anyway, products of matrices gain an
#: eighth); other additions may not: results would depend on what stands beside them, and long elementwise loops gain 3 % at most.
FLOAT_OPS = {"add": "fadd", "sub": "fsub", "mul": "fmul contract", "div": "fdiv", "sum": "fadd reassoc contract", "<": "fcmp olt",
             "<=": "fcmp ole", "==": "fcmp oeq", "!=": "fcmp une"}  # fmt: skip
INT_OPS = {"add": "add", "sub": "sub", "mul": "mul", "sum": "add", "iadd": "add nsw", "imul": "mul nsw", "idiv": "sdiv", "irem": "srem",
           "<": "icmp slt", "<=": "icmp sle", "==": "icmp eq", "!=": "icmp ne", "and": "and", "or": "or", "xor": "xor",
           "bitwise_and": "and", "bitwise_or": "or", "bitwise_xor": "xor", "left_shift": "shl", "right_shift": "ashr"}  # fmt: skip
#: Reductions of floats take the intrinsics, which the vectoriser knows; among zeros of both signs these choose by the sign.
EXTREMES = {"maximum": "llvm.smax", "minimum": "llvm.smin", "reduce_maximum": "llvm.maximum", "reduce_minimum": "llvm.minimum"}
#: First line of a module with nests of loops long enough to vectorise, and how long that is in all (7 x 7 gains half, 2 x 21 nothing).
LONG_LOOPS, LONG = "; has long loops", 48
#: Where a function has more loops than this, those of more iterations than this are not unrolled: it makes sums 5 % faster, vectorised
#: loops being interleaved anyway, and takes four fifths of the time to compile (60 sums of 1000 terms 0.55 s without it, 2.8 s with it).
MANY, UNROLLED = 12, 16
#: Loops over sums of rows of at most so many numbers are not unrolled: LLVM writes the rows out and makes one sum of all, which takes
#: 0.5 s for 63 rows of 63 numbers, 1.6 s with a cosine, 15 s with one in single precision; rolled up 0.05, 0.05 and 0.15 s.
ROWS = 128
#: Loops that do less than this part of what the heaviest one does, where that is many operations, are not vectorised: borders of stencils.
COLD, ENOUGH = 0.02, 5_000
NOT_UNROLLED, NOT_VECTORISED = '!"llvm.loop.unroll.disable"', '!"llvm.loop.vectorize.enable", i1 false'
PURE = "nounwind willreturn memory(none)"
#: Tables of more bytes than this are written byte by byte, by one call: number by number a million take 0.9 s to print, 0.8 s to parse.
LISTED = 512


def memory_type(dtype):
    """LLVM type of an element in memory: a bool is a byte; what is not computed in is bytes."""
    dtype = numbers(dtype)
    return "i8" if dtype is BOOL else TYPE[dtype] if dtype in COMPUTED else f"[{WIDTH[dtype]} x i8]"


def literal(value, dtype):
    """A number as LLVM writes it: floats by their bits."""
    if dtype.kind == "f":
        return f"0x{struct.unpack('<Q', struct.pack('<d', dtype.type(value)))[0]:016X}"
    return str(value).lower() if dtype is BOOL else str(value)


def table(name, buffer):
    """Text of a constant array."""
    kind = memory_type(buffer.dtype)
    if buffer.dtype not in COMPUTED or buffer.value.nbytes > LISTED:
        data = np.ascontiguousarray(buffer.value).tobytes()
        text = "\\" + data.hex("\\") if data else ""
        return f'@{name} = internal unnamed_addr constant [{len(data)} x i8] c"{text}", align 64'
    items = [int(x) for x in buffer.value] if buffer.dtype is BOOL else buffer.value.tolist()
    if buffer.dtype.kind == "f":
        body = ", ".join(f"{kind} {literal(x, buffer.dtype)}" for x in items)
    else:
        body = ", ".join(f"{kind} {x}" for x in items)
    return f"@{name} = internal unnamed_addr constant [{buffer.size} x {kind}] [{body}], align 64"


class Text:
    """A module in the making: globals, declarations and function bodies, each name once."""

    def __init__(self):
        self.globals, self.declared, self.functions = [], {}, []
        self.long_loops, self.vectors, self._number = False, set(), 0
        self._metadata = []

    def unique(self, stem):
        """A name that no other symbol of the module has."""
        self._number += 1
        return f"{stem}.{self._number}"

    def loop_id(self, *hints):
        """Metadata of a loop with these hints for LLVM, as it ends the branch back; empty without hints."""
        if not hints:
            return ""
        n = len(self._metadata)
        self._metadata.append(f"!{n} = distinct !{{!{n}, {', '.join(f'!{{{hint}}}' for hint in hints)}}}")
        return f", !llvm.loop !{n}"

    @property
    def attributes(self):
        """Of functions defined here, and of those they are inlined into."""
        return f"nounwind {engine.width()}".strip() if self.long_loops else "nounwind"

    def declare(self, symbol, result, arguments, attributes=""):
        """Make an external function known."""
        self.declared[symbol] = f"declare {result} @{symbol}({', '.join(arguments)}) {attributes}".rstrip()

    def __str__(self):
        first = [LONG_LOOPS] if self.long_loops else []
        return "\n".join([*first, *self.globals, *self.declared.values(), *vector_math.declarations(self.vectors), *self.functions,
                          *self._metadata, ""])  # fmt: skip


class FunctionPrinter:
    """Prints one function into a module.

    Parameters
    ----------
    function : nest.Function
    text : Text
    stack : int, optional
        Scratch memory of up to so many bytes (None: all of it) is the function's own stack; more comes as a further pointer ``%scratch`` to
        ``scratch_size`` bytes (``scratch`` says which, once the function is printed: "alloca" or "param").
    link : callable, optional
        ``link(printer, statement)`` writes a ``Link``.
    report : (int, int, list), optional
        The function returns an i64: 0, or a status with this number plus that of the kind of index in the list, which grows, in its upper
        half where an index was out of bounds, which then stands in this word of ``%ctx``.  Without it the function is void, and its
        results are NaN in that case.
    runs : int
        How often its caller calls it: in what runs often, short loops are worth vectorising.
    """

    def __init__(self, function, text, stack=None, link=None, report=None, runs=1):
        self.function, self.text, self.link = function, text, link
        self.guards, self.result = Guards(self, report), "void" if report is None else "i64"
        self.stack, self.scratch, self.work = stack, None, 0
        self.head, self.lines, self.names = [], [], {}
        self.slot, self.slot_sizes = slots(function.body)
        self.label, self._n, self._trips, self._heaviest = "entry", 0, 1, heaviest(function.body)
        self.runs, self._inner = runs, 1
        self._many = count_loops(function.body) > MANY

    @property
    def scratch_size(self):
        """Bytes of scratch memory in all; that of calls, ``work``, is known once the function is printed."""
        return sum(self.slot_sizes) + self.work

    def print(self, given=None):
        """Append the definition to the module, under the name ``given`` if its scratch memory is the caller's."""
        params = [f"ptr noalias %{n}" if kind == "ptr" else f"{kind} %{n}" for n, kind in self.function.params]
        self._body()
        self.guards.finish()
        memory = [(f"%.s{i}", n) for i, n in enumerate(self.slot_sizes)] + [("%.work", self.work)] * (self.work > 0)
        self.scratch = "alloca" if self.stack is None or self.scratch_size <= self.stack else "param"
        name = self.function.name
        if self.scratch == "alloca":
            head = [f"  {slot} = alloca [{n} x i8], align 64" for slot, n in memory]
        else:
            name = given or name
            params.append("ptr noalias align 64 %scratch")
            starts = accumulate((n for _, n in memory), initial=0)
            head = [f"  {slot} = getelementptr inbounds i8, ptr %scratch, i64 {at}" for (slot, _), at in zip(memory, starts, strict=False)]
        linkage = "internal " if self.function.internal else ""
        opening = f"define {linkage}{self.result} @{name}({', '.join(params)}) {self.text.attributes} {{"
        self.text.functions.append("\n".join([opening, "entry:", *head, *self.head, *self.lines, "}"]))
        return self

    def _body(self):
        """Print the statements, of a long function as calls of parts."""
        statements, cuts = self.function.body.statements, [0]
        if size(self.function.body) <= parts.LONG:
            self.block(self.function.body)
            return
        for s in statements:
            self.statement(s)
            if len(self.lines) - cuts[-1] >= parts.PART or s is statements[-1]:
                cuts.append(len(self.lines))
                self.label = "entry"
        memory = [("ptr noalias", f"%.s{i}") for i in range(len(self.slot_sizes))] + [("ptr noalias", "%.work")]
        params = [("ptr noalias" if kind == "ptr" else kind, f"%{n}") for n, kind in self.function.params]
        types = {name: TYPE[v.dtype] for v, name in self.names.items()}
        parts.Parts(self, cuts[1:], [*params, *memory], types).call(self.function.name)

    def leave_if(self, status):
        """Return a status that is not zero."""
        n = self.fresh()[2:]
        self.lines.append(f"  br i1 {self.line(f'icmp ne i64 {status}, 0')}, label %.stop{n}, label %.on{n}")
        self.open(f".stop{n}")
        self.lines.append(f"  ret i64 {status}")
        self.open(f".on{n}")

    # ------------------------------------------------------------ names
    def fresh(self):
        self._n += 1
        return f"%.{self._n}"

    def line(self, code):
        """Append an instruction; returns the name of its result."""
        name = self.fresh()
        self.lines.append(f"  {name} = {code}")
        return name

    def name(self, x):
        """Text of an operand."""
        return literal(x.value, x.dtype) if type(x) is Literal else self.names[x]

    @staticmethod
    def type(x):
        """LLVM type of a value."""
        return TYPE[x.dtype]

    def open(self, label):
        """Start a basic block."""
        self.lines.append(f"{label}:")
        self.label = label

    # ------------------------------------------------------------ memory
    def pointer(self, buffer):
        """Text of the address of a buffer's first element."""
        if buffer.kind == "scratch":
            return f"%.s{self.slot[buffer]}"
        if buffer.kind == "const":
            if buffer.name is None:
                buffer.name = self.text.unique(f"{self.function.name}.table")
                self.text.globals.append(table(buffer.name, buffer))
            return f"@{buffer.name}"
        return f"%{buffer.base}" if buffer.offset == 0 else self.address(f"%{buffer.base}", "i8", str(buffer.offset))

    def address(self, base, kind, index):
        return self.line(f"getelementptr inbounds {kind}, ptr {base}, i64 {index}")

    def element(self, buffer, index):
        """Text of the address of an element."""
        kind = memory_type(buffer.dtype)
        if type(index) is Literal:
            bytes_ = index.value * WIDTH[numbers(buffer.dtype)] + (buffer.offset if buffer.kind == "param" else 0)
            base = f"%{buffer.base}" if buffer.kind == "param" else self.pointer(buffer)
            return base if bytes_ == 0 else self.address(base, "i8", str(bytes_))
        return self.address(self.pointer(buffer), kind, self.name(index))

    def read(self, buffer, index):
        """Load an element; returns the name of its value."""
        if buffer.kind == "argument":
            return f"%{buffer.base}"
        x = self.line(f"load {memory_type(buffer.dtype)}, ptr {self.element(buffer, index)}")
        return self.line(f"trunc i8 {x} to i1") if buffer.dtype is BOOL else x

    def write(self, statement):
        buffer, value, kind = statement.buffer, self.name(statement.value), memory_type(statement.buffer.dtype)
        at = self.element(buffer, statement.index)
        if buffer.dtype is BOOL:
            value = self.line(f"zext i1 {value} to i8")
        if statement.add:
            op = "fadd contract" if buffer.dtype.kind == "f" else INT_OPS["add"]
            value = self.line(f"{op} {kind} {self.line(f'load {kind}, ptr {at}')}, {value}")
        self.lines.append(f"  store {kind} {value}, ptr {at}")

    # ------------------------------------------------------------ statements
    def block(self, block):
        for s in block.statements:
            self.statement(s)

    def statement(self, s):
        kind = type(s)
        if kind is Store:
            self.write(s)
        elif kind is Loop:
            self.loop(s)
        elif kind is Choice:
            self.choice(s)
        elif kind is Link:
            self.guards.leave()
            self.link(self, s)
        elif kind is Check:
            self.guards.check(s)
        else:
            self.names[s] = self.value(s)

    def loop(self, loop):
        """Bounds are constant and the loop is not empty: the test stands at its end."""
        n = self._n = self._n + 1
        outer, self._inner = self._inner, loop.stop - loop.start
        self._trips *= self._inner
        self.text.long_loops |= self.worthwhile
        before, names = self.label, self.names
        counter = names[loop.counter] = f"%.i{n}"
        for inside, *_ in loop.carried:
            names[inside] = self.fresh()
        length, ident = block_length(loop), self._ident(loop)
        if length:
            block_sums(self, loop, n, length, ident)
            self._trips, self._inner = self._trips // (loop.stop - loop.start), outer
            return
        self.lines.append(f"  br label %.loop{n}")
        self.open(f".loop{n}")
        place = len(self.lines)
        self.block(loop.body)
        heads = [f"  {counter} = phi i64 [{loop.start}, %{before}], [{counter}.next, %{self.label}]"]
        for inside, initial, following, _ in loop.carried:
            kind = TYPE[inside.dtype]
            heads.append(f"  {names[inside]} = phi {kind} [{self.name(initial)}, %{before}], [{self.name(following)}, %{self.label}]")
        self.lines[place:place] = heads
        self.lines += [f"  {counter}.next = add nuw nsw i64 {counter}, 1", f"  {counter}.end = icmp eq i64 {counter}.next, {loop.stop}",
                       f"  br i1 {counter}.end, label %.done{n}, label %.loop{n}{ident}"]  # fmt: skip
        self._trips, self._inner = self._trips // (loop.stop - loop.start), outer
        self.open(f".done{n}")
        for _, _, following, after in loop.carried:
            names[after] = self.name(following)

    @property
    def worthwhile(self):
        """Whether the loop being printed is worth vectorising."""
        return self._trips >= LONG or (self._inner >= WIDE and self._trips * self.runs >= LONG)

    def fill(self, buffer, value):
        """Write one number to every element, to both parts of complex ones."""
        size = buffer.size * (1 + (buffer.dtype in PARTS))
        if size:
            body = Block(1)
            counter = Atom("counter", (), body, 0, 0, size - 1)
            body.statements.append(Store(buffer, counter, Literal(value, numbers(buffer.dtype), body)))
            self.loop(Loop(counter, 0, size, body))

    def _ident(self, loop):
        """Metadata of a loop; ``_trips`` are its iterations in all."""
        hints = [NOT_UNROLLED] if self._many and loop.stop - loop.start > UNROLLED else []
        if loop.carried and any(type(s) is Loop and UNROLLED < s.stop - s.start <= ROWS for s in loop.body.statements):
            hints = [NOT_UNROLLED]
        if any(isinstance(s, Value) and called_one_by_one(s) for s in loop.body.statements):
            return self.text.loop_id(NOT_UNROLLED, NOT_VECTORISED)
        if self.runs > 1 and self.worthwhile and any(isinstance(s, Value) and in_vectors(s.op) for s in loop.body.statements):
            hints = [NOT_UNROLLED]                          # written out before they are vectorised, short loops would call for each number
        inner = all(type(s) is not Loop for s in loop.body.statements)
        if inner and self._heaviest > ENOUGH and self._trips * work(loop.body) < COLD * self._heaviest:
            hints = [NOT_UNROLLED, NOT_VECTORISED]
        elif inner and self.worthwhile and engine.width():
            hints = list(dict.fromkeys([*hints, *masks(loop)]))
        return self.text.loop_id(*hints)

    def choice(self, choice):
        n = self._n = self._n + 1
        self.lines.append(f"  br i1 {self.name(choice.test)}, label %.yes{n}, label %.no{n}")
        ends = []
        for label, block in ((f".yes{n}", choice.yes), (f".no{n}", choice.no)):
            self.open(label)
            self.block(block)
            ends.append(self.label)
            self.lines.append(f"  br label %.both{n}")
        self.open(f".both{n}")
        sides = ", ".join(f"[{self.name(v)}, %{end}]" for v, end in zip(choice.values, ends, strict=True))
        self.names[choice.result] = self.line(f"phi {TYPE[choice.result.dtype]} {sides}")

    def value(self, v):
        """Print a value; returns its name."""
        op, args = v.op, v.args
        if op == "load":
            return self.read(*args)
        x = [self.name(a) for a in args]
        if op == "same":
            return x[0]
        if op == "convert":
            return self.convert(x[0], args[0].dtype, v.dtype)
        if type(op) is Special:
            return self.special(op, args, x)
        dtype = args[0].dtype
        kind = TYPE[dtype]
        simple = (FLOAT_OPS if dtype.kind == "f" else INT_OPS).get(op)
        if simple is not None:
            return self.line(f"{simple} {kind} {x[0]}, {x[1]}")
        if op == "neg":
            return self.line(f"fneg {kind} {x[0]}" if dtype.kind == "f" else f"sub {kind} 0, {x[0]}")
        if op == "not":
            return self.line(f"xor i1 {x[0]}, true")
        if op == "select":
            kind = TYPE[v.dtype]
            return self.line(f"select i1 {x[0]}, {kind} {x[1]}, {kind} {x[2]}")
        if op in ("maximum", "minimum") and dtype.kind == "f":
            return self.extreme(op, kind, x)
        if op in EXTREMES:
            symbol = EXTREMES[op]
        else:
            symbol = FUNCTIONS[op][0]
        return self.call(symbol, dtype, x)

    def extreme(self, op, kind, x):
        """The first operand where it is the more extreme or a NaN, else the second: NumPy's answer for zeros of both signs."""
        more = self.line(f"fcmp {'ogt' if op == 'maximum' else 'olt'} {kind} {x[0]}, {x[1]}")
        first = self.line(f"or i1 {more}, {self.line(f'fcmp uno {kind} {x[0]}, {x[0]}')}")
        return self.line(f"select i1 {first}, {kind} {x[0]}, {kind} {x[1]}")

    def special(self, op, args, x):
        """A routine of scipy.special: the last operand of those that return something says that Python need not be asked for another."""
        operands = [f"{TYPE[a.dtype]} {name}" for a, name in zip(args, x, strict=True)]
        kinds = [TYPE[a.dtype] for a in args]
        if not op.parts:
            self.text.declare(op.symbol, "double", [*kinds, "i32"], PURE)
            return self.line(f"call double @{op.symbol}({', '.join([*operands, 'i32 0'])})")
        places = [self.fresh() for _ in range(op.parts)]
        self.head += [f"  {place} = alloca double" for place in places]
        self.text.declare(op.symbol, "void", [*kinds, *["ptr"] * op.parts])
        self.lines.append(f"  call void @{op.symbol}({', '.join([*operands, *(f'ptr {place}' for place in places)])})")
        return self.line(f"load double, ptr {places[op.part]}")

    def call(self, symbol, dtype, x):
        """A function of numbers of one dtype."""
        kind = TYPE[dtype]
        if symbol.startswith("llvm."):
            symbol = f"{symbol}.{SUFFIX[dtype]}"
        elif dtype is not FLOAT:
            symbol += "f"
        self.text.declare(symbol, kind, [kind] * len(x), PURE)
        vector = ""
        if self.worthwhile and dtype is FLOAT:
            vector = vector_math.attribute(symbol)
            self.text.vectors.update([symbol] if vector else [])
        return self.line(f"call {kind} @{symbol}({', '.join(f'{kind} {a}' for a in x)}){vector}")

    def convert(self, x, old, new):
        a, b = TYPE[old], TYPE[new]
        if old.kind == new.kind:
            wider = WIDTH[new] > WIDTH[old]
            op = ("fpext" if wider else "fptrunc") if old.kind == "f" else ("sext" if wider else "trunc")
        elif new.kind == "f":
            op = "uitofp" if old is BOOL else "sitofp"
        elif old is BOOL:
            op = "zext"
        else:
            symbol = f"llvm.fptosi.sat.{SUFFIX[new]}.{SUFFIX[old]}"
            self.text.declare(symbol, b, [a], PURE)
            return self.line(f"call {b} @{symbol}({a} {x})")
        return self.line(f"{op} {a} {x} to {b}")


__all__ = ["INT", "FunctionPrinter", "Text", "literal", "memory_type", "table"]

"""Loop nests as readable Python: runs eagerly and under Numba, and is the second opinion on the LLVM printer."""

import importlib
import math
from keyword import iskeyword

import numpy as np

from .context import carried
from .lower import nest_of
from .nest import BOOL, PARTS, WIDTH, Check, Choice, Link, Literal, Loop, Store, blocks, numbers, operands
from .scalars import FUNCTIONS, Special, out_of_bounds

BINARY = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "sum": "+", "iadd": "+", "imul": "*", "idiv": "//", "irem": "%", "<": "<", "<=": "<=",
    "==": "==", "!=": "!=", "and": "and", "or": "or", "xor": "!=",
}  # fmt: skip
RANK = {
    "or": 1, "and": 2, "not": 3, "<": 4, "<=": 4, "==": 4, "!=": 4, "xor": 4, "add": 5, "sub": 5, "sum": 5, "iadd": 5, "imul": 6, "mul": 6,
    "div": 6, "idiv": 6, "irem": 6, "neg": 7,
}  # fmt: skip
ATOM = 9
#: A value used once, in its own block, is written where it is used, up to expressions of this length.  Loads may be moved like that,
#: because memory is written before it is first read.
INLINE = 60


def python_source(function):
    """Python text of a loop nest.

    Arrays are one-dimensional; an offset into a parameter shows as part of the index.  Complex arrays are read and written as real ones
    that hold real and imaginary parts in turn: the text takes that view of them.  Constant tables are globals of the text, filled in by
    :func:`compiled_python`.
    """
    return "\n".join(_Printer(function).lines()) + "\n"


class _Late:
    """A module that is imported when one of its names is first used."""

    def __init__(self, name):
        self.name = name

    def __getattr__(self, name):
        return getattr(importlib.import_module(self.name), name)


def compiled_python(function):
    """The function of :func:`python_source`, with its constant tables; its ``source`` is the text."""
    printer = _Printer(function)
    source = "\n".join(printer.lines()) + "\n"
    scope = {"np": np, "math": math, "special": _Late("scipy.special"), **{name: b.value for b, name in printer.tables.items()}}
    exec(compile(source, f"<{function.name}>", "exec"), scope)
    made = scope[printer.identifier]
    made.source = source
    return made


#: Functions of the C library that Python's math names otherwise.
PYTHON = {"tgamma": "gamma"}


def _length(buffer):
    """Numbers in memory: a complex element is two."""
    return buffer.size * (1 + (buffer.dtype in PARTS))


class _Printer:
    def __init__(self, function, parent=None):
        self.function, self.text, self.tables, self.scratch = function, {}, {} if parent is None else parent.tables, {}
        self.before, self.taken, self.viewed = [], {name for name, _ in function.params}, {}
        self.identifier = function.name.replace(".", "_")
        self.uses, self.home, self.counters, self.named = {}, {}, 0, 0

    def lines(self):
        """The whole text, line by line."""
        self._count(self.function.body)
        out = []
        self._block(self.function.body, out, 1)
        head = [f"def {self.identifier}({', '.join(name for name, _ in self.function.params)}):"]
        sizes = ((name, _length(b), numbers(b.dtype)) for b, name in self.scratch.items())
        head += [f"    {name} = np.empty({size}, np.{dtype.name})" for name, size, dtype in sizes]
        head += [f"    {name} = {name}.view(np.{dtype.name})" for name, dtype in self.viewed.items()]
        return [*self.before, *head, *(out or ["    pass"])]

    def _count(self, block):
        for s in block.statements:
            for x in operands(s):
                self.uses[x] = self.uses.get(x, 0) + 1
                self.home[x] = block
            if type(s) is Loop:
                self.home.update((c[2], s.body) for c in s.carried)
            for inner in blocks(s):
                self._count(inner)

    # ------------------------------------------------------------ names
    def _name(self):
        self.named += 1
        return self._name() if f"x{self.named}" in self.taken else f"x{self.named}"

    def expr(self, x, rank=0):
        """Text of an operand inside an operation of a rank."""
        if type(x) is Literal:
            return self._literal(x, rank)
        text, own = self.text[x]
        return f"({text})" if own < rank else text

    @staticmethod
    def _literal(x, rank):
        if x.dtype.kind != "f":
            return repr(x.value)
        if math.isnan(x.value) or math.isinf(x.value):
            return {"nan": "np.nan", "inf": "np.inf", "-inf": "-np.inf"}[str(x.value)]
        text = repr(x.value) if x.dtype.itemsize == 8 else f"np.float32({x.value!r})"
        return f"({text})" if text[0] == "-" and rank > RANK["add"] else text

    def _element(self, buffer, index):
        if buffer.kind == "argument":
            return buffer.base
        if buffer.kind == "scratch":
            base = self.scratch.setdefault(buffer, f"s{len(self.scratch)}")
        elif buffer.kind == "const":
            base = self.tables.setdefault(buffer, f"TABLE_{len(self.tables)}")
        else:
            base = buffer.base
            if buffer.dtype in PARTS:
                self.viewed[base] = numbers(buffer.dtype)
        skipped = buffer.offset // WIDTH[numbers(buffer.dtype)] if buffer.kind == "param" else 0
        at = self.expr(index)
        if skipped:
            at = str(skipped + index.value) if type(index) is Literal else f"{skipped} + {at}"
        return f"{base}[{at}]"

    # ------------------------------------------------------------ statements
    def _block(self, block, out, depth):
        for s in block.statements:
            kind = type(s)
            pad = "    " * depth
            if kind is Store:
                out.append(f"{pad}{self._element(s.buffer, s.index)} {'+=' if s.add else '='} {self.expr(s.value)}")
            elif kind is Loop:
                self._loop(s, out, depth)
            elif kind is Choice:
                self._choice(s, out, depth)
            elif kind is Link:
                self._link(s, out, pad)
            elif kind is Check:
                out.append(f"{pad}if not -{s.size} <= {self.expr(s.args[0], RANK['<'] + 1)} < {s.size}:")
                out.append(f'{pad}    raise IndexError("{out_of_bounds("in the program", s.size, s.axis)}")')
            else:
                self._value(s, out, pad)

    def _value(self, v, out, pad):
        text, rank = self._expression(v)
        if self.uses.get(v, 0) == 1 and self.home[v] is v.block and len(text) <= INLINE:
            self.text[v] = text, rank
            return
        if v.op == "same" or (v.op == "load" and v.args[0].kind == "argument"):
            self.text[v] = text, rank
            return
        name = self._name()
        out.append(f"{pad}{name} = {text}")
        self.text[v] = name, ATOM

    def _expression(self, v):
        op, args = v.op, v.args
        if op == "load":
            return self._element(*args), ATOM
        if op == "same":
            return self.text[args[0]] if type(args[0]) is not Literal else (self.expr(args[0]), ATOM)
        if op == "convert":
            kind = "bool" if v.dtype is BOOL else v.dtype.name
            return f"np.{kind}({self.expr(args[0])})", ATOM
        if op == "select":
            return f"({self.expr(args[1])} if {self.expr(args[0])} else {self.expr(args[2])})", ATOM
        if op == "neg":
            return f"-{self.expr(args[0], RANK['neg'] + 1)}", RANK["neg"]
        if op == "not":
            return f"not {self.expr(args[0], RANK['not'])}", RANK["not"]
        if op in BINARY:
            rank = RANK[op]
            return f"{self.expr(args[0], rank + (rank == RANK['<']))} {BINARY[op]} {self.expr(args[1], rank + 1)}", rank
        inner = ", ".join(self.expr(a) for a in args)
        if type(op) is Special:
            return f"special.{op.name}({inner}){f'[{op.part}]' if op.parts else ''}", ATOM
        name = FUNCTIONS[op][1] if op in FUNCTIONS else op.removeprefix("reduce_")
        return (f"math.{PYTHON.get(op, op)}({inner})" if name is None else f"np.{name}({inner})"), ATOM

    def _loop(self, loop, out, depth):
        pad, i = "    " * depth, f"i{self.counters}"
        self.counters += 1
        self.text[loop.counter] = i, ATOM
        names = []
        for inside, initial, _, after in loop.carried:
            name = self._name()
            names.append(name)
            out.append(f"{pad}{name} = {self.expr(initial)}")
            self.text[inside] = self.text[after] = name, ATOM
        bounds = f"{loop.start}, {loop.stop}" if loop.start else str(loop.stop)
        out.append(f"{pad}for {i} in range({bounds}):")
        body = []
        self._block(loop.body, body, depth + 1)
        following = [self.expr(c[2]) for c in loop.carried]
        if names:
            body.append(f"{pad}    {', '.join(names)} = {', '.join(following)}")
        out += body

    def _choice(self, choice, out, depth):
        pad, name = "    " * depth, self._name()
        for head, block, value in ((f"if {self.expr(choice.test)}:", choice.yes, choice.values[0]), ("else:", choice.no, choice.values[1])):
            out.append(pad + head)
            self._block(block, out, depth + 1)
            out.append(f"{pad}    {name} = {self.expr(value)}")
        self.text[choice.result] = name, ATOM

    def _link(self, s, out, pad):
        def shown(b):
            return f"call_{b}" if isinstance(b, int) else "_" if b is None else self._whole(b)

        name, programs = s.eqn.prim.name.replace(".", "_"), carried(s.eqn)
        functions = [self._carried(f"{self.identifier}_{name}{s.number}{'abcdefgh'[i % 8]}", g) for i, g in enumerate(programs)]
        call = f"{name}{'_' if iskeyword(name) else ''}({', '.join([*functions, *map(shown, s.ins)])})"
        plain = {k: v for k, v in s.eqn.params.items() if isinstance(v, (int, str)) and programs}
        said = ", ".join(["linked loop" if not programs else name, *(f"{k}={v}" for k, v in plain.items()), f"call_{s.number}"])
        out.append(f"{pad}{', '.join(map(shown, s.outs))} = {call}    # {said}")

    def _carried(self, name, graph):
        """Text of a carried program as a function, before this one; its name."""
        printer = _Printer(nest_of(name, graph), self)
        self.before += printer.lines()
        return printer.identifier

    def _whole(self, buffer):
        text = self._element(buffer, Literal(0, np.dtype(np.int64), None))
        base, _, start = text.partition("[")
        first = int(start[:-1]) if start else 0
        return base if buffer.kind != "param" or not start else f"{base}[{first}:{first + _length(buffer)}]"

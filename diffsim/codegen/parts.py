"""Long functions in parts: LLVM's passes take more than twice the time for twice the code, so that a function is split as it is printed.

A part is a function of its own, called once, in order.  Pointers are its arguments; numbers that another part reads go through memory.
"""

import re

NAME, MADE = re.compile(r"%[-\w$.]+"), re.compile(r"^  (%[-\w$.]+) = ")
#: Statements of a nest, at all depths, from which a function is split, and lines of a part: 56 loops in 14,000 lines take LLVM 0.9 s, 306
#: loops in 71,000 lines 9.3 s, in parts 4.6.
LONG, PART = 8_000, 4_000


class Part:
    """Lines of a function between two cuts: the names made there, and those only read."""

    def __init__(self, lines):
        self.lines, self.head, self.tail, self.arguments = lines, [], [], []
        self.made = {m[1] for m in map(MADE.match, lines) if m}
        labels = {f"%{line[:-1]}" for line in lines if line[-1] == ":"}
        self.free = dict.fromkeys(name for line in lines for name in NAME.findall(line))
        self.free = [n for n in self.free if n not in self.made and n not in labels and n != "%entry"]
        self.leaves = any(line.startswith("  ret ") for line in lines)

    def text(self, name, result, attributes):
        """The part as a function."""
        arguments = ", ".join(f"{kind} {n}" for kind, n in self.arguments)
        end = "  ret void" if result == "void" else f"  ret {result} 0"
        opening = f"define internal {result} @{name}({arguments}) noinline {attributes} {{"
        return "\n".join([opening, "entry:", *self.head, *self.lines, *self.tail, end, "}"])


class Parts:
    """The parts of one function.

    Parameters
    ----------
    printer : FunctionPrinter
        Whose ``lines`` hold the whole body, labels beginning anew at each cut; they become calls of the parts.
    cuts : list of int
        Where each part ends.
    params : list of (str, str)
        LLVM types and names of the function's parameters and of its memory.
    types : dict of str to str
        LLVM types of values by their names.
    """

    def __init__(self, printer, cuts, params, types):
        self.printer, self.params, self.types = printer, {name: kind for kind, name in params}, types
        self.parts = [Part(printer.lines[a:b]) for a, b in zip([0, *cuts], cuts, strict=False)]
        self.crossing = {}

    def call(self, name):
        """Let the function call its parts instead."""
        p = self.printer
        self._memory()
        for part in self.parts:
            for n in part.free:
                self._argument(part, n)
        for part in self.parts:
            for n in part.made & self.crossing.keys():
                part.tail += self._across(part, n, f"store {self.types[n]} {n}, ptr")
        if self.crossing:
            p.head.append(f"  %.across = alloca [{len(self.crossing)} x i64], align 64")
        p.lines, p.label = [], "entry"
        for part in self.parts:
            result, symbol = "i64" if part.leaves else "void", p.text.unique(f"{name}.part")
            p.text.functions.append(part.text(symbol, result, p.text.attributes))
            given = [(kind.removesuffix(" noalias"), n.removesuffix(".up")) for kind, n in part.arguments]
            code = f"call {result} @{symbol}({', '.join(f'{kind} {n}' for kind, n in given)})"
            if part.leaves:
                p.leave_if(p.line(code))
            else:
                p.lines.append(f"  {code}")

    def _memory(self):
        """Share out memory on the stack: what one part uses is its own; the sums up of checks are the function's."""
        p, initial = self.printer, {line.rpartition(" ")[2] for line in self.printer.head if line.startswith("  store ")}
        users = {}
        for part in self.parts:
            for n in part.free:
                users.setdefault(n, []).append(part)
        kept = []
        for line in p.head:
            made = MADE.match(line)
            n = made and made[1]
            if made and n not in initial and len(users.get(n, ())) == 1:
                users[n][0].head.append(line)
                users[n][0].free.remove(n)
                continue
            kept.append(line)
            if made:
                self.params[n] = "up" if n in initial else "ptr noalias"
        p.head[:] = kept

    def _argument(self, part, n):
        """Hand a name to a part that reads it."""
        kind = self.params.get(n)
        if kind == "up":                                    # a register in the part, as in a function that is not split
            part.arguments.append(("ptr noalias", f"{n}.up"))
            part.head += [f"  {n} = alloca i64", f"  {n}.in = load i64, ptr {n}.up", f"  store i64 {n}.in, ptr {n}"]
            part.tail += [f"  {n}.out = load i64, ptr {n}", f"  store i64 {n}.out, ptr {n}.up"]
        elif kind is not None:
            part.arguments.append((kind, n))
        else:
            self.crossing.setdefault(n, len(self.crossing))
            part.head += self._across(part, n, f"{n} = load {self.types[n]}, ptr")

    def _across(self, part, n, code):
        """Lines that load or store a value that crosses parts."""
        if ("ptr noalias", "%.across") not in part.arguments:
            part.arguments.append(("ptr noalias", "%.across"))
        at = f"{n}.at"
        return [f"  {at} = getelementptr inbounds i64, ptr %.across, i64 {self.crossing[n]}", f"  {code} {at}"]


__all__ = ["LONG", "PART", "Parts"]

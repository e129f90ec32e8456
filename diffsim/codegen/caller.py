"""What the rule of a ``Call`` emission writes with: pointers, numbers, calls and the context words of a compiled program."""

import numpy as np

from .context import carried
from .library import symbol, workspace
from .llvm_printer import literal, memory_type, table
from .nest import BOOL, FLOAT, INT, WIDTH, Buffer, canonical


class Caller:
    """The builder ``k`` of ``emission.Call`` rules.  Values are LLVM operand texts such as ``"%.12"`` or ``"0x3FF0000000000000"``.

    Parameters
    ----------
    printer : FunctionPrinter
    assembly : Assembly
    eqn : Eqn
    path : tuple of int
        Of the equation, by which its request is known.
    repeats : int
        How many calls of the program are like this one.
    """

    def __init__(self, printer, assembly, eqn, path, repeats):
        self.printer, self.assembly, self.eqn, self.path, self.repeats = printer, assembly, eqn, path, repeats
        self.carried, self.shared, self._work, self.answered = carried(eqn), assembly.shared, 0, assembly.context is not None
        if self.answered and path in assembly.context.bases:
            self.base, self.number = assembly.context.bases[path], assembly.context.number(path)

    def once(self, key, make):
        """``make()`` the first time, and what it returned from then on."""
        if key not in self.shared:
            self.shared[key] = make()
        return self.shared[key]

    # ------------------------------------------------------------ memory and numbers
    def pointer(self, buffer):
        """Address of a buffer's first element."""
        if buffer.kind == "argument":                     # a number passed by value
            address = self.alloca(1)
            self.store(address, f"%{buffer.base}")
            return address
        return self.printer.pointer(buffer)

    def scalar(self, buffer):
        """The number in a buffer of one element, as a double."""
        if buffer.kind == "const":
            return literal(float(buffer.value[0]), FLOAT)
        x = self.line(f"load {memory_type(buffer.dtype)}, ptr {self.pointer(buffer)}")
        return x if buffer.dtype is FLOAT else self.printer.convert(x, buffer.dtype, FLOAT)

    def integer(self, buffer):
        """The number in a buffer of one element, as an i64."""
        if buffer.kind == "const":
            return str(int(buffer.value[0]))
        kind, longer = memory_type(buffer.dtype), "zext" if buffer.dtype is BOOL else "sext"
        x = self.line(f"load {kind}, ptr {self.pointer(buffer)}")
        return x if buffer.dtype is INT else self.line(f"{longer} {kind} {x} to i64")

    def poison(self, buffer):
        """NaN in every element of an array of floats."""
        if buffer.dtype.kind in "fc":
            self.printer.fill(buffer, np.nan)

    def alloca(self, n, kind="double"):
        """Stack memory for n numbers (double, i64 or i8), made once at the entry of the program."""
        name = self.printer.fresh()
        self.printer.head.append(f"  {name} = alloca [{int(n)} x {kind}], align 64")
        return name

    def constants(self, values):
        """Address of a constant array: int64 if the values are integers, else float64."""
        values = np.ascontiguousarray(values)
        dtype = INT if values.dtype.kind in "iub" else FLOAT
        flat = values.astype(dtype).reshape(-1)

        def add():
            name = self.unique("numbers")
            self.printer.text.globals.append(table(name, Buffer("const", dtype, values.shape, value=flat)))
            return f"@{name}"
        return self.once(("constants", dtype, flat.tobytes()), add)

    # ------------------------------------------------------------ code
    def unique(self, stem):
        """A symbol no other part of the program has."""
        return self.printer.text.unique(stem)

    def link(self, text):
        """Add a module to the program."""
        self.assembly.modules.append(text)

    def line(self, code):
        """Append an instruction that has a result; returns the result."""
        return self.printer.line(code)

    def store(self, address, value, kind="double"):
        """Write a number to an address."""
        self.printer.lines.append(f"  store {kind} {value}, ptr {address}")

    def call(self, result, symbol, arguments):
        """Call a linked function.

        Parameters
        ----------
        result : str
            LLVM type, "void" for none.
        symbol : str
        arguments : list of (str, str or number)
            LLVM types and operands.

        Returns
        -------
        str or None
        """
        self.printer.text.declare(symbol, result, [kind for kind, _ in arguments])
        texts = [x if isinstance(x, str) else literal(float(x), FLOAT) if kind == "double" else str(int(x)) for kind, x in arguments]
        code = f"call {result} @{symbol}({', '.join(f'{kind} {x}' for (kind, _), x in zip(arguments, texts, strict=True))})"
        if result == "void":
            self.printer.lines.append(f"  {code}")
            return None
        return self.line(code)

    def routine(self, library, name, *arguments):
        """Call a routine of BLAS or LAPACK, which takes everything by address.

        Parameters
        ----------
        library : {"blas", "lapack"}
        name : str
        *arguments : int, float or str
            Integers and numbers (in single precision for routines of it), letters such as "N", or addresses.
        """
        real = "float" if name.startswith("s") else "double"
        self.call("void", symbol(library, name), [("ptr", self._by_address(x, real)) for x in arguments])

    def _by_address(self, x, real):
        if isinstance(x, str) and x[0] in "%@":
            return x
        kind, text = ("i8", str(ord(x))) if isinstance(x, str) else ("i32", str(x)) if isinstance(x, int) else (real, literal(x, FLOAT))

        def add():
            name = self.unique("argument")
            self.printer.text.globals.append(f"@{name} = internal constant {kind} {text}")
            return f"@{name}"
        return self.once(("argument", kind, text), add)

    @staticmethod
    def workspace(routine, *arguments):
        """Sizes of the work arrays of a routine of LAPACK: see ``library.workspace``."""
        return workspace(routine, *arguments)

    def members(self, n, body):
        """``body(i)`` for i from 0 to n - 1, an i64: a loop, or no loop where n is 1."""
        if n == 1:
            body("0")
            return

        def step(i):
            body(i)
            return (self.line(f"add nuw nsw i64 {i}, 1"),)
        self.cycle([("i64", "0")], lambda i: self.line(f"icmp slt i64 {i}, {n}"), step)

    def member(self, address, i, size):
        """Address of member i of an array of members that lie so many bytes apart."""
        return address if i == "0" else self.address(address, self.line(f"mul nuw nsw i64 {i}, {size}"))

    # ------------------------------------------------------------ context
    def _word(self, i, base):
        at = 8 * ((self.base if base is None else base) + i)
        return "%ctx" if at == 0 else self.printer.address("%ctx", "i8", str(at))

    def context(self, i, kind="ptr", base=None):
        """Word i of this call's request (of the request at ``base``, an opaque input, if given), as "ptr", "i64" or "double"."""
        return self.line(f"load {kind}, ptr {self._word(i, base)}")

    def context_store(self, i, value, kind="i64"):
        """Write word i of this call's request."""
        self.store(self._word(i, None), value, kind)

    def context_address(self, i, base=None):
        """Address of word i, for code that writes there."""
        return self._word(i, base)

    def check(self, status):
        """Leave the program if an i64 status is not zero; the caller of the program then asks this call's request what to do."""
        p = self.printer
        n = p.fresh()[2:]
        bad = self.line(f"icmp ne i64 {status}, 0")
        p.lines.append(f"  br i1 {bad}, label %.fail{n}, label %.go{n}")
        p.open(f".fail{n}")
        told = self.line(f"or i64 {status}, {self.number << 32}")
        p.lines.append(f"  ret i64 {told}")
        p.open(f".go{n}")

    # ------------------------------------------------------------ carried programs
    def run(self, i, ins, outs, add=frozenset(), runs=1):
        """Call carried program ``i``: one address an input and an output; what is written overlaps nothing else.  A status leaves.

        Outputs whose numbers are in ``add`` are added to what is there.  ``runs``: how often this call is made, about.
        """
        made = self.assembly.function(self.carried[i], (*self.path, i), add, runs * self.printer.runs)
        arguments = [f"ptr {x}" for x in (*ins, *outs)] + ["ptr %ctx"] * made.status
        if made.scratch:
            arguments.append(f"ptr {self.scratch(made.scratch)}")
        if not made.status:
            self.printer.lines.append(f"  call void @{made.symbol}({', '.join(arguments)})")
            return
        self.printer.leave_if(self.line(f"call i64 @{made.symbol}({', '.join(arguments)})"))

    def scratch(self, size):
        """Address of so many bytes that this call uses and no other at the same time."""
        at, self._work = self._work, self._work + -(-size // 64) * 64
        self.printer.work = max(self.printer.work, self._work)
        return self.address("%.work", at)

    def address(self, base, offset):
        """An address some bytes on: an int, or the text of an i64."""
        return base if offset == 0 else self.line(f"getelementptr inbounds i8, ptr {base}, i64 {offset}")

    def row(self, base, i, size):
        """Address of row i of an array, of so many bytes a row."""
        return self.address(base, self.line(f"mul nuw nsw i64 {i}, {size}"))

    def move(self, target, source, size):
        """Copy bytes, also onto themselves."""
        if size:
            self.call("void", "llvm.memmove.p0.p0.i64", [("ptr", target), ("ptr", source), ("i64", size), ("i1", "false")])

    def copy(self, target, source, size):
        """Copy bytes."""
        if size:
            self.call("void", "llvm.memcpy.p0.p0.i64", [("ptr", target), ("ptr", source), ("i64", size), ("i1", "false")])

    def clear(self, target, size):
        """Set bytes to zero."""
        if size:
            self.call("void", "llvm.memset.p0.i64", [("ptr", target), ("i8", 0), ("i64", size), ("i1", "false")])

    def cycle(self, start, going, step):
        """A loop: ``values = step(*values)`` as long as ``going(*values)``, an i1; returns the last values.

        Parameters
        ----------
        start : list of (str, str)
            LLVM type and operand of each value.
        going, step : callable
        """
        p, n = self.printer, self.printer.fresh()[2:]
        before, names = p.label, [p.fresh() for _ in start]
        p.lines.append(f"  br label %.cycle{n}")
        p.open(f".cycle{n}")
        place = len(p.lines)
        p.lines.append(f"  br i1 {going(*names)}, label %.step{n}, label %.over{n}")
        p.open(f".step{n}")
        following = step(*names)
        heads = [f"  {name} = phi {kind} [{first}, %{before}], [{last}, %{p.label}]"
                 for name, (kind, first), last in zip(names, start, following, strict=True)]
        p.lines.append(f"  br label %.cycle{n}")
        p.lines[place:place] = heads
        p.open(f".over{n}")
        return names

    def switch(self, value, cases, otherwise=None):
        """``cases[value]()``, or ``otherwise()`` for any other i64."""
        p, n = self.printer, self.printer.fresh()[2:]
        labels = " ".join(f"i64 {i}, label %.case{n}.{i}" for i in range(len(cases)))
        p.lines.append(f"  switch i64 {value}, label %.else{n} [ {labels} ]")
        for label, write in [*((f".case{n}.{i}", case) for i, case in enumerate(cases)), (f".else{n}", otherwise)]:
            p.open(label)
            if write is None:
                p.lines.append("  unreachable")
                continue
            write()
            p.lines.append(f"  br label %.joined{n}")
        p.open(f".joined{n}")


def size_of(aval):
    """Bytes of an array in memory."""
    return aval.size * WIDTH[canonical(aval.dtype)]

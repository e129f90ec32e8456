"""What the rule of a ``Call`` emission writes with: pointers, numbers, calls and the context words of a compiled program."""

import numpy as np

from .llvm_printer import literal, memory_type, table
from .nest import FLOAT, INT, Buffer


class Caller:
    """The builder ``k`` of ``emission.Call`` rules.  Values are LLVM operand texts such as ``"%.12"`` or ``"0x3FF0000000000000"``.

    Parameters
    ----------
    printer : FunctionPrinter
    modules : list of str
        Grows by what rules link.
    base : int
        First context word of this call's request.
    number : int
        Number of the request, which a failed status is reported with.
    shared : dict
        What calls of one program have in common: symbols of functions and tables already there.
    repeats : int
        How many calls of the program are like this one.
    """

    def __init__(self, printer, modules, base, number, shared, repeats):
        self.printer, self.modules, self.base, self.number = printer, modules, base, number
        self.shared, self.repeats = shared, repeats

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

    def alloca(self, n, kind="double"):
        """Stack memory for n numbers (double or i64), made once at the entry of the program."""
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
        self.modules.append(text)

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

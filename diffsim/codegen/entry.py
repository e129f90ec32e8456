"""The entry of a program as a built-in function of Python's: machine code that looks at its arguments itself.

``entry(frame, *inputs, *outputs)`` reads the addresses of arrays out of the array objects, after it has looked at their type, dtype, shape
and layout, which takes nanoseconds there and tenths of microseconds in Python (an empty call through ctypes takes 0.35 us, this one 0.05).
The frame is an array of words: addresses the code needs of the running process, and memory of one call at a time.

The layout of array objects is part of NumPy's binary interface (``PyArrayObject_fields`` in ``numpy/ndarraytypes.h``): after the head of
every Python object come data, number of dimensions, dimensions, strides, base, dtype and flags.  A float, and a ``numpy.float64``, is its
head and the number.
"""

import ctypes
from math import prod

import numpy as np

from .nest import FLOAT, WIDTH

ENTRY, BODY = "diffsim_entry", "diffsim_body"
HEAD = object.__basicsize__
TYPE = HEAD - 8
DATA, NDIM, DIMENSIONS, DESCR, FLAGS = HEAD, HEAD + 8, HEAD + 16, HEAD + 40, HEAD + 48
#: Flags of arrays that can be used where they are: contiguous in C's order, aligned.
FIT = 0x001 | 0x100
#: Words of a frame: types and functions of the process, dtypes; memory: numbers (outputs of no dimension), scratch, context; constants.
PROCESS = ("ndarray", "float", "float64", "answer", "save", "restore")
DTYPES = {d: len(PROCESS) + i for i, d in enumerate(WIDTH)}
NUMBERS = len(PROCESS) + len(DTYPES)
SCRATCH, CONTEXT, CONSTANTS = NUMBERS + 1, NUMBERS + 2, NUMBERS + 3
#: What the entry returns where a result is not finite that was to be watched; -1 - i where argument i is not what it was made for.
NOT_FINITE = -(1 << 40)


def process_words():
    """Words of a frame that are the same in all frames of a process."""
    types = [id(np.ndarray), id(float), id(np.float64)]
    api = [ctypes.pythonapi.PyLong_FromLongLong, ctypes.pythonapi.PyEval_SaveThread, ctypes.pythonapi.PyEval_RestoreThread]
    return types + [ctypes.cast(f, ctypes.c_void_p).value for f in api] + [id(d) for d in DTYPES]


class _Method(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


_FASTCALL = 0x80


def builtin(code):
    """The entry of compiled code as a Python function, which keeps the code alive."""
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    method = _Method(ENTRY.encode(), code.address(ENTRY), _FASTCALL, None)
    return make(ctypes.addressof(method), (method, code), None)


class EntryText:
    """LLVM IR of an entry.

    Parameters
    ----------
    places : Places
    constants : int
        How many of the inputs, the last ones, are handed over in the frame.
    scratch : bool
        Whether the body takes scratch memory.
    release : bool
        Whether other threads may run meanwhile: for a call that takes a few microseconds the lock is not worth giving up.
    watch : bool
        Whether ``NOT_FINITE`` is returned where a result is not finite.  A first result of no dimension that is not finite is taken for
        the function's value: then there is nothing to repair, and all is well.
    attributes : str
        Of the function: the body's loops become part of it.
    """

    def __init__(self, places, constants, scratch, release, watch, attributes="nounwind"):
        self.attributes = attributes
        self.lines, self.number, self.bad, self.kinds, self.label = [], 0, [], set(), "entry"
        given = len(places.inputs) - constants
        self.words(places.inputs[:given])
        arguments = 0
        for i, place in enumerate(places.inputs[:given]):
            if place:
                self.input(f"x{i}", place, arguments)
                arguments += 1
        for i in range(constants):
            self.load(f"x{given + i}", "ptr", "%frame", 8 * (CONSTANTS + i))
        for j, place in enumerate(places.outputs):
            if place and place.base != "numbers":
                arguments += 1
                self.load(f"y{j}.object", "ptr", "%args", 8 * arguments)
                self.load(f"y{j}", "ptr", f"%y{j}.object", DATA)
        names = [name for name, _ in places.params] + ["scratch"] * scratch
        if release:
            self.line("thread", "call ptr %save()")
        self.line("status", f"call i64 @{BODY}({', '.join(f'ptr %{name}' for name in names)})")
        result = self.watched(places.outputs) if watch else "%status"
        if release:
            self.lines.append("  call void %restore(ptr %thread)")
        self.answer("told", result)
        if self.bad:
            cases = ", ".join(f"[{-1 - argument}, %{label}]" for label, argument in self.bad)
            self.lines.append("unfit:")
            self.answer("unfit.told", self.line("unfit.number", f"phi i64 {cases}"))

    def __str__(self):
        head = f"define ptr @{ENTRY}(ptr %self, ptr %args, i64 %count) {self.attributes} {{"
        return "\n".join([head, "entry:", *self.lines, "}", *[_FINITE.format(*kind) for kind in sorted(self.kinds)]])

    def words(self, inputs):
        """Load what the frame holds."""
        self.line("frame.object", "load ptr, ptr %args")
        self.load("frame", "ptr", "%frame.object", DATA)
        for at, name in enumerate(PROCESS):
            self.load(name, "ptr", "%frame", 8 * at)
        for at, name in ((NUMBERS, "numbers"), (SCRATCH, "scratch"), (CONTEXT, "ctx")):
            self.load(name, "ptr", "%frame", 8 * at)
        for dtype in dict.fromkeys(p.dtype for p in inputs if p):
            self.load(f"dtype.{dtype.name}", "ptr", "%frame", 8 * DTYPES[dtype])

    def answer(self, name, value):
        """Return a number as a Python object."""
        self.lines.append(f"  ret ptr {self.line(name, f'call ptr %answer(i64 {value})')}")

    # ------------------------------------------------------------ lines
    def line(self, name, code):
        self.lines.append(f"  %{name} = {code}")
        return f"%{name}"

    def fresh(self):
        self.number += 1
        return f"t{self.number}"

    def load(self, name, kind, base, offset):
        """Load a field of an object or a word of a table."""
        address = self.line(f"{name}.at", f"getelementptr i8, ptr {base}, i64 {offset}") if offset else base
        return self.line(name, f"load {kind}, ptr {address}")

    def field(self, kind, base, offset):
        return self.load(self.fresh(), kind, base, offset)

    def compare(self, kind, x, y):
        return self.line(self.fresh(), f"icmp eq {kind} {x}, {y}")

    def all(self, tests):
        """Conjunction of conditions."""
        done = tests[0]
        for test in tests[1:]:
            done = self.line(self.fresh(), f"and i1 {done}, {test}")
        return done

    def require(self, test, label, argument, here):
        """Go on at a new block if a condition holds, else say that an argument does not fit."""
        self.bad.append((here, argument))
        self.lines += [f"  br i1 {test}, label %{label}, label %unfit", f"{label}:"]

    # ------------------------------------------------------------ arguments
    def input(self, name, place, argument):
        """Look at argument number ``argument`` and take its address."""
        self.load(f"{name}.object", "ptr", "%args", 8 * (1 + argument))
        self.load(f"{name}.type", "ptr", f"%{name}.object", TYPE)
        is_array = self.compare("ptr", f"%{name}.type", "%ndarray")
        number = place.shape == () and place.dtype is FLOAT
        if number:
            self.lines += [f"  br i1 {is_array}, label %{name}.array, label %{name}.other", f"{name}.other:"]
            either = [self.compare("ptr", f"%{name}.type", f"%{kind}") for kind in ("float", "float64")]
            test = self.line(self.fresh(), f"or i1 {either[0]}, {either[1]}")
            self.line(f"{name}.inside", f"getelementptr i8, ptr %{name}.object, i64 {HEAD}")
            self.bad.append((f"{name}.other", argument))
            self.lines += [f"  br i1 {test}, label %{name}.known, label %unfit", f"{name}.array:"]
        else:
            self.require(is_array, f"{name}.array", argument, self.label)
        dimensions = self.field("i32", f"%{name}.object", NDIM)
        self.require(self.compare("i32", dimensions, len(place.shape)), f"{name}.shape", argument, f"{name}.array")
        flags = self.line(self.fresh(), f"and i32 {self.field('i32', f'%{name}.object', FLAGS)}, {FIT}")
        tests = [self.compare("i32", flags, FIT),
                 self.compare("ptr", self.field("ptr", f"%{name}.object", DESCR), f"%dtype.{place.dtype.name}")]  # fmt: skip
        if place.shape:
            sizes = self.field("ptr", f"%{name}.object", DIMENSIONS)
            tests += [self.compare("i64", self.field("i64", sizes, 8 * axis), n) for axis, n in enumerate(place.shape)]
        data = f"{name}.data" if number else name
        self.load(data, "ptr", f"%{name}.object", DATA)
        fits = self.all(tests)
        if not number:
            self.require(fits, f"{name}.known", argument, f"{name}.shape")
        else:
            self.bad.append((f"{name}.shape", argument))
            self.lines += [f"  br i1 {fits}, label %{name}.known, label %unfit", f"{name}.known:"]
            self.line(name, f"phi ptr [%{name}.inside, %{name}.other], [%{data}, %{name}.shape]")
        self.label = f"{name}.known"

    # ------------------------------------------------------------ results
    def watched(self, outputs):
        """The status, or ``NOT_FINITE`` where results say so."""
        floats = [(j, p) for j, p in enumerate(outputs) if p and p.dtype in _KIND and 0 not in p.shape]
        value = None
        if floats and floats[0][0] == 0 and not floats[0][1].shape and len(outputs) > 1:
            value = self.finite(*floats.pop(0))
        if not floats:
            return "%status"
        fine = self.all([self.finite(j, place) for j, place in floats])
        if value is not None:                              # the function's own value is not finite: nothing to repair
            fine = self.line(self.fresh(), f"or i1 {fine}, {self.line(self.fresh(), f'xor i1 {value}, true')}")
        kept = self.line(self.fresh(), f"or i1 {fine}, {self.line(self.fresh(), 'icmp ne i64 %status, 0')}")
        return self.line(self.fresh(), f"select i1 {kept}, i64 %status, i64 {NOT_FINITE}")

    def finite(self, j, place):
        """Whether all numbers of an output are finite."""
        base = f"%{place.base}"
        if place.offset:
            base = self.line(self.fresh(), f"getelementptr i8, ptr {base}, i64 {place.offset}")
        kind, parts = _KIND[place.dtype]
        if not place.shape and parts == 1:
            x = self.line(self.fresh(), f"load {kind}, ptr {base}")
            zero = self.line(self.fresh(), f"fsub {kind} {x}, {x}")
            return self.line(self.fresh(), f"fcmp ord {kind} {zero}, 0.0")
        self.kinds.add((kind,))
        return self.line(self.fresh(), f"call i1 @diffsim_finite.{kind}(ptr {base}, i64 {parts * prod(place.shape)})")


#: LLVM type of the numbers an element is made of, and how many there are.
_KIND = {np.dtype(d): kind for d, kind in (("f8", ("double", 1)), ("f4", ("float", 1)), ("c16", ("double", 2)), ("c8", ("float", 2)))}

#: Whether n > 0 numbers are all finite: x - x is 0 or NaN, and a sum of these may be taken in any order.
_FINITE = """define internal i1 @diffsim_finite.{0}(ptr %x, i64 %n) nounwind {{
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
  %sum = phi {0} [0.0, %entry], [%more, %loop]
  %at = getelementptr inbounds {0}, ptr %x, i64 %i
  %value = load {0}, ptr %at
  %zero = fsub {0} %value, %value
  %more = fadd reassoc {0} %sum, %zero
  %next = add nuw nsw i64 %i, 1
  %end = icmp eq i64 %next, %n
  br i1 %end, label %done, label %loop
done:
  %fine = fcmp ord {0} %more, 0.0
  ret i1 %fine
}}"""

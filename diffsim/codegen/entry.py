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

from ..core.bits import DATA
from .nest import FLOAT, WIDTH

ENTRY, BODY = "diffsim_entry", "diffsim_body"
HEAD = DATA
TYPE = HEAD - 8
NDIM, DIMENSIONS, DESCR, FLAGS = HEAD + 8, HEAD + 16, HEAD + 40, HEAD + 48
#: Flags of arrays that can be used where they are: contiguous in C's order and aligned; and those that can be written to.
FIT, WRITEABLE = 0x001 | 0x100, 0x400
#: Words of a frame: types and functions of the process, dtypes; memory: numbers (outputs of no dimension), scratch, context; constants.
DTYPES = {d: 6 + i for i, d in enumerate(WIDTH)}
MEMORY = 6 + len(DTYPES)
WORDS = {"answer": 3, "save": 4, "restore": 5, "numbers": MEMORY, "scratch": MEMORY + 1, "ctx": MEMORY + 2}
CONSTANTS = MEMORY + 3
#: What the entry returns where a result is not finite that was to be watched, and where an array to write to is not of its dtype, shape and
#: layout or shares memory with another argument; -1 - i where argument i is not what it was made for.
NOT_FINITE, NOT_OURS = -(1 << 40), -(1 << 41)


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

    What the arguments must be is a table that one function reads, the same in all programs.  Neither that nor the entry is optimised, and
    the body stays a call: for ten arguments and ten results code for each, or the body within the entry, takes 10 ms more to compile.

    Parameters
    ----------
    places : Places
    constants : int
        How many of the inputs, the last ones, are handed over in the frame; tables follow them.
    scratch : bool
        Whether the body takes scratch memory.
    release : bool
        Whether other threads may run meanwhile: for a call that takes a few microseconds the lock is not worth giving up.
    watch : bool
        Whether ``NOT_FINITE`` is returned where a result is not finite.  A first result of no dimension that is not finite is taken for
        the function's value: then there is nothing to repair, and all is well.
    attributes : str
        Of functions with loops.
    seen : set of str
        Outputs that the body looks at itself: it returns ``NOT_FINITE`` if one of them is not finite, where it would have returned 0.
    """

    def __init__(self, places, constants, scratch, release, watch, attributes="nounwind", seen=()):
        self.attributes = attributes
        self.lines, self.kinds, self._number = [], set(), 0
        free = len(places.inputs) - constants
        given = [p for p in places.inputs[:free] if p]
        arrays = [p for p in places.outputs if p and p.base != "numbers"]
        self.words()
        self.table = self.arguments(given, arrays)
        for i, place in enumerate([*places.inputs[free:], *(place for _, place in places.tables)]):
            self.load(place.base, "ptr", "%frame", 8 * (CONSTANTS + i))
        names = [name for name, _ in places.params] + ["scratch"] * scratch
        if release:
            self.line("thread", "call ptr %save()")
        self.line("status", f"call i64 @{BODY}({', '.join(f'ptr %{name}' for name in names)})")
        result = self.watched(places.outputs, seen) if watch else "%status"
        if release:
            self.lines.append("  call void %restore(ptr %thread)")
        self.answer("told", result)

    def __str__(self):
        head = f"define ptr @{ENTRY}(ptr %self, ptr %args, i64 %count) noinline optnone nounwind {{"
        finite = [_FINITE.format(kind, self.attributes) for kind in sorted(self.kinds)]
        return "\n".join([*self.table, head, "entry:", *self.lines, "}", *finite])

    def words(self):
        """Load what the frame holds."""
        self.line("frame.object", "load ptr, ptr %args")
        self.load("frame", "ptr", "%frame.object", DATA)
        for name, at in WORDS.items():
            self.load(name, "ptr", "%frame", 8 * at)

    # ------------------------------------------------------------ lines
    def line(self, name, code):
        self.lines.append(f"  %{name} = {code}")
        return f"%{name}"

    def fresh(self):
        self._number += 1
        return f"t{self._number}"

    def load(self, name, kind, base, offset):
        """Load a field of an object or a word of a table."""
        address = self.line(f"{name}.at", f"getelementptr i8, ptr {base}, i64 {offset}") if offset else base
        return self.line(name, f"load {kind}, ptr {address}")

    def all(self, tests):
        """Conjunction of conditions."""
        done = tests[0]
        for test in tests[1:]:
            done = self.line(self.fresh(), f"and i1 {done}, {test}")
        return done

    def answer(self, name, value):
        """Return a number as a Python object."""
        self.lines.append(f"  ret ptr {self.line(name, f'call ptr %answer(i64 {value})')}")

    # ------------------------------------------------------------ arguments
    def arguments(self, given, arrays):
        """Look at the arguments and take their addresses; returns the table and the function that reads it."""
        places = [*given, *arrays]
        if not places:
            return []
        number = [p in given and not p.shape and p.dtype is FLOAT for p in places]
        sizes = [0 if is_number else prod(p.shape) * p.dtype.itemsize for p, is_number in zip(places, number, strict=True)]
        row = [len(given), len(places), *sizes]
        for place, is_number in zip(places, number, strict=True):
            row += [8 * DTYPES[place.dtype], int(is_number), len(place.shape), *place.shape]
        self.line("addresses", f"alloca [{len(places)} x ptr]")
        self.line("unfit", "call i64 @diffsim_arguments(ptr %args, i64 %count, ptr %frame, ptr @diffsim_table, ptr %addresses)")
        self.lines += [f"  br i1 {self.line('fits', 'icmp eq i64 %unfit, 0')}, label %fit, label %wrong", "wrong:"]
        self.answer("wrong.told", "%unfit")
        self.lines.append("fit:")
        for i, place in enumerate(places):
            self.load(place.base, "ptr", "%addresses", 8 * i)
        table = f"@diffsim_table = internal unnamed_addr constant [{len(row)} x i64] [{', '.join(f'i64 {n}' for n in row)}]"
        return [table, _ARGUMENTS]

    # ------------------------------------------------------------ results
    def watched(self, outputs, seen):
        """The status, or ``NOT_FINITE`` where results say so."""
        floats = [(j, p) for j, p in enumerate(outputs) if p and p.dtype in _KIND and 0 not in p.shape and p.base not in seen]
        value = None
        if floats and floats[0][0] == 0 and not floats[0][1].shape and len(outputs) > 1:
            value = self.finite(floats.pop(0)[1])
        tests, status = [self.finite(place) for _, place in floats], "%status"
        if seen:
            tests.append(self.line(self.fresh(), f"icmp ne i64 %status, {NOT_FINITE}"))
            status = self.line(self.fresh(), f"select i1 {tests[-1]}, i64 %status, i64 0")
        if not tests:
            return status
        fine = self.all(tests)
        if value is not None:                              # the function's own value is not finite: nothing to repair
            fine = self.line(self.fresh(), f"or i1 {fine}, {self.line(self.fresh(), f'xor i1 {value}, true')}")
        kept = self.line(self.fresh(), f"or i1 {fine}, {self.line(self.fresh(), f'icmp ne i64 {status}, 0')}")
        return self.line(self.fresh(), f"select i1 {kept}, i64 {status}, i64 {NOT_FINITE}")

    def finite(self, place):
        """Whether all numbers of an output are finite."""
        base = f"%{place.base}"
        if place.offset:
            base = self.line(self.fresh(), f"getelementptr i8, ptr {base}, i64 {place.offset}")
        kind, parts = _KIND[place.dtype]
        if not place.shape and parts == 1:
            x = self.line(self.fresh(), f"load {kind}, ptr {base}")
            zero = self.line(self.fresh(), f"fsub {kind} {x}, {x}")
            return self.line(self.fresh(), f"fcmp ord {kind} {zero}, 0.0")
        self.kinds.add(kind)
        return self.line(self.fresh(), f"call i1 @diffsim_finite.{kind}(ptr {base}, i64 {parts * prod(place.shape)})")


#: Takes the addresses of the arguments behind the frame.  The table holds the number of inputs and of all arguments, the bytes of each, and
#: for each a row: place of its dtype in the frame, whether it may be a float, dimensions, shape.  Outputs are looked at if there is one
#: argument more: they are the caller's then, and may share memory neither with each other nor with an input.
_ARGUMENTS = f"""define internal i64 @diffsim_arguments(ptr %args, i64 %count, ptr %frame, ptr %table, ptr %to) noinline optnone nounwind {{
entry:
  %inputs = load i64, ptr %table
  %n.at = getelementptr i64, ptr %table, i64 1
  %n = load i64, ptr %n.at
  %n.own = add i64 %n, 1
  %theirs = icmp sgt i64 %count, %n.own
  %array = load ptr, ptr %frame
  %float.at = getelementptr i64, ptr %frame, i64 1
  %float = load ptr, ptr %float.at
  %float64.at = getelementptr i64, ptr %frame, i64 2
  %float64 = load ptr, ptr %float64.at
  %bytes = getelementptr i64, ptr %table, i64 2
  %rows = getelementptr i64, ptr %bytes, i64 %n
  br label %each
each:
  %i = phi i64 [0, %entry], [%i.next, %taken]
  %row = phi ptr [%rows, %entry], [%row.next, %taken]
  %ended = icmp eq i64 %i, %n
  br i1 %ended, label %all, label %look
look:
  %i.next = add i64 %i, 1
  %x.at = getelementptr ptr, ptr %args, i64 %i.next
  %x = load ptr, ptr %x.at
  %inside = getelementptr i8, ptr %x, i64 {DATA}
  %ndim.at = getelementptr i64, ptr %row, i64 2
  %ndim = load i64, ptr %ndim.at
  %shape = getelementptr i64, ptr %row, i64 3
  %row.next = getelementptr i64, ptr %shape, i64 %ndim
  %input = icmp slt i64 %i, %inputs
  %looked = or i1 %input, %theirs
  br i1 %looked, label %type, label %address
type:
  %type.at = getelementptr i8, ptr %x, i64 {TYPE}
  %kind = load ptr, ptr %type.at
  %is.array = icmp eq ptr %kind, %array
  br i1 %is.array, label %head, label %number
number:
  %may.at = getelementptr i64, ptr %row, i64 1
  %may.x = load i64, ptr %may.at
  %may = icmp ne i64 %may.x, 0
  %is.float = icmp eq ptr %kind, %float
  %is.float64 = icmp eq ptr %kind, %float64
  %is.number = or i1 %is.float, %is.float64
  %fine = and i1 %may, %is.number
  br i1 %fine, label %taken, label %unfit
head:
  %ndim.x.at = getelementptr i8, ptr %x, i64 {NDIM}
  %ndim.x = load i32, ptr %ndim.x.at
  %ndim.y = zext i32 %ndim.x to i64
  %same.n = icmp eq i64 %ndim.y, %ndim
  %dtype.at = getelementptr i8, ptr %x, i64 {DESCR}
  %dtype = load ptr, ptr %dtype.at
  %word = load i64, ptr %row
  %wanted.at = getelementptr i8, ptr %frame, i64 %word
  %wanted = load ptr, ptr %wanted.at
  %same.dtype = icmp eq ptr %dtype, %wanted
  %flags.at = getelementptr i8, ptr %x, i64 {FLAGS}
  %flags = load i32, ptr %flags.at
  %needed = select i1 %input, i32 {FIT}, i32 {FIT | WRITEABLE}
  %held = and i32 %flags, %needed
  %same.flags = icmp eq i32 %held, %needed
  %same.head = and i1 %same.n, %same.dtype
  %same = and i1 %same.head, %same.flags
  br i1 %same, label %sizes, label %unfit
sizes:
  %dims.at = getelementptr i8, ptr %x, i64 {DIMENSIONS}
  %dims = load ptr, ptr %dims.at
  br label %axis
axis:
  %k = phi i64 [0, %sizes], [%k.next, %size]
  %k.end = icmp eq i64 %k, %ndim
  br i1 %k.end, label %address, label %size
size:
  %u.at = getelementptr i64, ptr %dims, i64 %k
  %v.at = getelementptr i64, ptr %shape, i64 %k
  %u = load i64, ptr %u.at
  %v = load i64, ptr %v.at
  %k.next = add i64 %k, 1
  %equal = icmp eq i64 %u, %v
  br i1 %equal, label %axis, label %unfit
address:
  %data = load ptr, ptr %inside
  br label %taken
taken:
  %p = phi ptr [%inside, %number], [%data, %address]
  %p.at = getelementptr ptr, ptr %to, i64 %i
  store ptr %p, ptr %p.at
  br label %each
unfit:
  %told = xor i64 %i, -1
  %why = select i1 %input, i64 %told, i64 {NOT_OURS}
  ret i64 %why
all:
  br i1 %theirs, label %outer, label %good
outer:
  %o = phi i64 [%inputs, %all], [%o.next, %inner]
  %o.next = add i64 %o, 1
  %o.end = icmp sge i64 %o, %n
  br i1 %o.end, label %good, label %span
span:
  %a.at = getelementptr i64, ptr %to, i64 %o
  %a = load i64, ptr %a.at
  %a.bytes.at = getelementptr i64, ptr %bytes, i64 %o
  %a.bytes = load i64, ptr %a.bytes.at
  %b = add i64 %a, %a.bytes
  br label %inner
inner:
  %j = phi i64 [0, %span], [%j.next, %other]
  %j.end = icmp eq i64 %j, %o
  br i1 %j.end, label %outer, label %other
other:
  %c.at = getelementptr i64, ptr %to, i64 %j
  %c = load i64, ptr %c.at
  %c.bytes.at = getelementptr i64, ptr %bytes, i64 %j
  %c.bytes = load i64, ptr %c.bytes.at
  %d = add i64 %c, %c.bytes
  %before = icmp ult i64 %a, %d
  %after = icmp ult i64 %c, %b
  %overlap = and i1 %before, %after
  %j.next = add i64 %j, 1
  br i1 %overlap, label %shared, label %inner
shared:
  ret i64 {NOT_OURS}
good:
  ret i64 0
}}"""

#: LLVM type of the numbers an element is made of, and how many there are.
_KIND = {np.dtype(d): kind for d, kind in (("f8", ("double", 1)), ("f4", ("float", 1)), ("c16", ("double", 2)), ("c8", ("float", 2)))}

#: Whether n > 0 numbers are all finite: x - x is 0 or NaN, and a sum of these may be taken in any order.
_FINITE = """define internal i1 @diffsim_finite.{0}(ptr %x, i64 %n) {1} {{
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

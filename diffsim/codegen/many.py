"""One program for many members: machine code that calls the body of a program for one member after another.

A member's arrays are rows of the callers' arrays, so a call moves pointers by their strides.  A member that gives up (a solve failed,
memory of a record is full, a derivative is not finite) stops the loop and is told by its number: what is to be done about it is Python's
to decide, and the loop goes on from there.  One member thus never spoils the others, and nothing is spent on that where none fails.

The loop is called through ctypes, which gives up Python's lock: threads run at once, each with a frame of its own.
"""

import ctypes

import numpy as np

from . import back
from .entry import BODY, CONSTANTS, NOT_FINITE, WORDS, EntryText

MEMBERS = "diffsim_members"
_SIGNATURE = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


class MembersText(EntryText):
    """LLVM IR of ``i64 diffsim_members(ptr frame, ptr table, i64 first, i64 last, ptr reached)``.

    The table holds an address and a stride in bytes for each array, and for the numbers; ``reached`` is left at the member that gave up,
    whose status is returned, or at ``last``.  Parameters are those of ``EntryText``, and ``counts``, context words of which each member's
    are kept in one more array.
    """

    def __init__(self, places, constants, scratch, watch, attributes="nounwind", seen=(), counts=()):
        self.attributes = attributes
        self.lines, self.kinds, self._number = [], set(), 0
        free = len(places.inputs) - constants
        for name, at in WORDS.items():
            self.load(name, "ptr", "%frame", 8 * at)
        for i, place in enumerate(places.inputs[free:]):
            self.load(place.base, "ptr", "%frame", 8 * (CONSTANTS + i))
        bases = [*moved(places, constants), *["counts"] * bool(counts)]
        for i, name in enumerate(bases):
            self.load(f"{name}.base", "ptr", "%table", 16 * i)
            self.load(f"{name}.stride", "i64", "%table", 16 * i + 8)
        self.lines += ["  br label %each", "each:", "  %i = phi i64 [%first, %entry], [%next, %fine]",
                       "  %ended = icmp sge i64 %i, %last", "  br i1 %ended, label %done, label %member", "member:"]  # fmt: skip
        row = {name: self.row(name) for name in bases}
        names = [name for name, _ in places.params] + ["scratch"] * scratch
        self.line("status", f"call i64 @{BODY}({', '.join(f'ptr {row.get(name, chr(37) + name)}' for name in names)})")
        result = self.watched(places.outputs, seen) if watch else "%status"
        self.line("good", f"icmp eq i64 {result}, 0")
        self.lines += ["  br i1 %good, label %fine, label %stop", "fine:"]
        for i, word in enumerate(counts):
            self.load(f"count{i}", "i64", "%ctx", 8 * word)
            to = self.line(f"count{i}.to", f"getelementptr i8, ptr %counts, i64 {8 * i}")
            self.lines.append(f"  store i64 %count{i}, ptr {to}")
        self.lines += ["  %next = add i64 %i, 1", "  br label %each",
                       "stop:", "  store i64 %i, ptr %reached", f"  ret i64 {result}",
                       "done:", "  store i64 %last, ptr %reached", "  ret i64 0"]  # fmt: skip

    def row(self, name):
        """Address of a member's part."""
        offset = self.line(f"{name}.offset", f"mul i64 %i, %{name}.stride")
        own = "numbers.row" if name == "numbers" else name
        return self.line(own, f"getelementptr i8, ptr %{name}.base, i64 {offset}")

    def finite(self, place):
        if place.base != "numbers":
            return super().finite(place)
        moved_to = type(place).__new__(type(place))
        moved_to.base, moved_to.offset, moved_to.dtype, moved_to.shape = "numbers.row", place.offset, place.dtype, place.shape
        return super().finite(moved_to)

    def __str__(self):
        head = f"define i64 @{MEMBERS}(ptr %frame, ptr %table, i64 %first, i64 %last, ptr %reached) noinline nounwind {{"
        return "\n".join([head, "entry:", *self.lines, "}"])


def moved(places, constants):
    """Names of the arrays a member has a part of, in the order of the table."""
    free = len(places.inputs) - constants
    names = [p.base for p in (*places.inputs[:free], *places.outputs) if p and p.base != "numbers"]
    return [*names, *["numbers"] * bool(places.numbers)]


def counted(context):
    """Context words of what the solves of a program count, request by request; solves within loops, which run many times, are not told."""
    return [base + word for (path, base), request in zip(context.bases.items(), context.requests, strict=True)
            if len(path) == 1 for word in getattr(request, "counts", ())]


class Members:
    """Calls of a program for many members.

    Parameters
    ----------
    code : engine.Compiled
    calling : Calling
    places : Places
    constants : int
        How many of the inputs, the last ones, the frame holds.
    context : Context
    """

    def __init__(self, code, calling, places, constants, context):
        self._run = _SIGNATURE(code.address(MEMBERS))
        self._code, self._calling, self._places, self._context = code, calling, places, context
        self.free, self._counts = len(places.inputs) - constants, len(counted(context))

    def outputs(self, n):
        """Fresh arrays for the results of n members: one for each output, numbers of all members together."""
        numbers = np.zeros((n, max(self._places.numbers, 1)), np.uint8)
        made = []
        for p in self._places.outputs:
            if p.base == "numbers":
                made.append(numbers[:, p.offset : p.offset + p.dtype.itemsize].view(p.dtype)[:, 0])
            else:
                made.append(np.empty((n, *p.shape), p.dtype))
        return made, numbers

    def __call__(self, n, inputs, shared, failed):
        """Results of n members.

        Parameters
        ----------
        n : int
        inputs : sequence of array
            One for each input, of the dtype it was made for, rows (or, if it is shared, the whole) contiguous.
        shared : sequence of bool
            Which of them are the same for all members.
        failed : callable
            ``failed(i, error)`` for a member that gave up; error is None where a derivative is not finite.

        Returns
        -------
        list of array
            One for each output, members along axis 0.
        ndarray of int, shape (n, counts)
            What the solves counted (``counted``); 0 for members that gave up.
        """
        inputs = [self._fit(place, x, one) for place, x, one in zip(self._places.inputs, inputs, shared, strict=False)]
        (out, numbers), counts = self.outputs(n), np.zeros((n, self._counts), np.int64)
        if not n:
            return out, counts
        rows = [(x.ctypes.data, 0 if one else x.strides[0]) for x, one in zip(inputs, shared, strict=True)]
        rows += [(y.ctypes.data, y.strides[0]) for y, p in zip(out, self._places.outputs, strict=True) if p.base != "numbers"]
        rows += [(numbers.ctypes.data, numbers.strides[0])] * bool(self._places.numbers) + [(counts.ctypes.data, counts.strides[0])]
        table, reached = np.array(rows, np.int64), np.zeros(1, np.int64)
        with self._calling.frame() as (frame, ctx, memory):
            at = 0
            while at < n:
                back.failure()
                status = self._run(frame.ctypes.data, table.ctypes.data, at, n, reached.ctypes.data)
                at = int(reached[0])
                if status:
                    at += self._settled(at, status, ctx, memory, failed)
        return out, counts

    def _settled(self, i, status, ctx, memory, failed):
        """Do what the status of member i asks for; returns how many members to go on by: none where it is to be tried again."""
        error = None
        if status != NOT_FINITE:
            try:
                self._context.settle(status, ctx, memory)   # its memory was enlarged
                return 0
            except Exception as reason:
                error = reason
        failed(i, error)
        return 1

    @staticmethod
    def _fit(place, x, one):
        x = np.asarray(x, place.dtype)
        inside = x if one or not len(x) else x[0]
        whole = x if inside.flags.c_contiguous and x.flags.aligned else np.ascontiguousarray(x)
        return whole if whole.ndim else whole.reshape(1)


__all__ = ["MEMBERS", "Members", "MembersText", "counted"]

"""What linearising a function keeps in memory for its backward pass, and which of the user's lines asks for it."""

import gc
import linecache
import tracemalloc
from dataclasses import dataclass

import numpy as np

from ..core import TRACED, Graph, Primitive, Trace
from ..core.held import Held, owner
from ..core.printing import html_table, quantity, short_line, shortened
from ..transforms.linear import LinedTrace, record
from .bars import bar_figure

#: What a residual is: memory that is there anyway, or memory made for the backward pass alone.
INPUT, CONSTANT, VALUE, FACTOR = "input", "constant", "value", "factor"
MEANING = {INPUT: "an argument", CONSTANT: "an array that does not depend on the arguments", VALUE: "a value the function computes",
           FACTOR: "made for the backward pass"}
#: Lines a printed report, and bars a plot, shows.
SHOWN = 20
SOURCE_ROOM = 48


@dataclass(frozen=True, slots=True)
class Residual:
    """One piece of memory that the backward pass reads.

    Attributes
    ----------
    bytes : int
        Of the whole array that is kept alive, were it by a view of it.
    shape : tuple of int
    dtype : numpy.dtype
    primitive : str
        The operation whose derivative keeps it.
    line : str
        The user's file and line, in full.
    kind : {"input", "constant", "value", "factor"}
        An argument, an array that depends on none, a value the function computes, or what is made for the backward pass alone.
    uses : int
        Linear equations that read it; it is counted with the first.
    """

    bytes: int
    shape: tuple
    dtype: np.dtype
    primitive: str
    line: str
    kind: str
    uses: int


class NotedConstants(Held):
    """Arrays a derivative goes on reading, and their copies, by the memory they own."""

    __slots__ = ("constants",)

    def __init__(self, lasting=False):
        super().__init__(lasting)
        self.constants = {}

    def note(self, x):
        self.constants[id(owner(x)[0])] = x

    def keep(self, x):
        """A copy of a constant is a constant."""
        y = super().keep(x)
        if id(owner(x)[0]) in self.constants:
            self.note(y)
        return y


class ResidualTrace(LinedTrace):
    """A linear trace that remembers the primitive and the user's line of each equation, and which arrays are values or constants."""

    __slots__ = ("prims", "values")

    def __init__(self, verb, lasting=False):
        super().__init__(verb, lasting)
        self.held, self.prims, self.values = NotedConstants(lasting), [], {}

    def process(self, prim, args, params):
        self._given(args)
        return self._made(prim, super().process(prim, args, params))

    def unary(self, prim, x, *made):
        return self._made(prim, super().unary(prim, x, *made))

    def binary(self, prim, x, y, *made):
        self._given((x, y))
        return self._made(prim, super().binary(prim, x, y, *made))

    def _given(self, args):
        for x in args:
            if isinstance(x, np.ndarray):
                self.held.note(x)

    def _made(self, prim, out):
        self.prims += [prim.name] * (len(self.list.eqns) - len(self.prims))
        for y in out if prim.multiple else (out,):
            primal = y.primal if y.__class__ in TRACED and y.owner is self else None
            if isinstance(primal, np.ndarray):
                self.values[id(owner(primal)[0])] = primal
        return out


def arrays_in(thing, seen):
    """Arrays and NumPy scalars reachable from a part of an equation."""
    if isinstance(thing, (np.ndarray, np.generic)):
        yield thing
        return
    if id(thing) in seen or isinstance(thing, (str, bytes, bool, int, float, complex, type, Primitive, Graph, Trace, np.dtype)):
        return
    seen.add(id(thing))
    if isinstance(thing, (tuple, list, set, frozenset)):
        inside = thing
    elif isinstance(thing, dict):
        inside = thing.values()
    elif callable(thing):
        return
    else:
        slots = {name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())} - {"__weakref__", "__dict__"}
        inside = [getattr(thing, name, None) for name in slots] + list(getattr(thing, "__dict__", {}).values())
    for x in inside:
        yield from arrays_in(x, seen)


# ---------------------------------------------------------------- the report
class ResidualReport:
    """What a gradient keeps between its forward and its backward pass.

    Attributes
    ----------
    rows : list of Residual
        Each piece of memory once, largest first.
    total : int
        Bytes kept in all.
    added : int
        Those of them that are made for the backward pass alone.
    peak : int
        Most bytes that the whole gradient had allocated at once beside its arguments, as measured.
    equations : int
        Length of the linear list.
    name : str
    """

    def __init__(self, name, rows, equations, peak):
        self.name, self.rows, self.equations = name, sorted(rows, key=lambda r: -r.bytes), equations
        self.total = sum(r.bytes for r in rows)
        self.added = sum(r.bytes for r in rows if r.kind == FACTOR)
        self.peak = peak

    def by_line(self):
        """Residuals of one line, primitive and kind together: ``(bytes, pieces, example, kind)``, largest first."""
        together = {}
        for r in self.rows:
            together.setdefault((r.line, r.primitive, r.kind), []).append(r)
        found = [(sum(r.bytes for r in rows), len(rows), rows[0]) for rows in together.values()]
        return sorted(found, key=lambda row: -row[0])

    def _head(self):
        return (f"residuals of {self.name}: {quantity(self.total, 'B')} kept for the backward pass in {len(self.rows)} arrays "
                f"({quantity(self.added, 'B')} made for it alone), {quantity(self.peak, 'B')} at the peak of the gradient, "
                f"{self.equations} linear equations")

    def _cells(self, limit):
        shown = self.by_line()[:limit]
        for size, pieces, r in shown:
            shape = f"{r.dtype.name}{list(r.shape)}".replace(" ", "")
            yield [quantity(size, "B"), f"{100 * size / max(self.total, 1):.0f} %", shape if pieces == 1 else f"{pieces} x {shape}",
                   r.primitive, r.kind, short_line(r.line), shortened(source_of(r.line), SOURCE_ROOM)]

    HEAD = ("bytes", "share", "arrays", "kept by", "kind", "line", "source")

    def text(self, limit=SHOWN):
        """The report as text.

        Parameters
        ----------
        limit : int or None
            Rows to show; None for all.

        Returns
        -------
        str
        """
        rows = [list(self.HEAD), *self._cells(limit)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        right = (0, 1)
        lines = ["  ".join(c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip()
                 for row in rows]
        return "\n".join([self._head(), "", *lines, *self._rest(limit), *self._legend()])

    def _rest(self, limit):
        hidden = self.by_line()[limit:] if limit is not None else []
        return [f"and {len(hidden)} more of {quantity(sum(row[0] for row in hidden), 'B')}: text(limit=None) shows all"] if hidden else []

    def _legend(self):
        kinds = [k for k in MEANING if any(r.kind == k for r in self.rows)]
        return ["", "; ".join(f"{k}: {MEANING[k]}" for k in kinds)] if kinds else []

    def __str__(self):
        return self.text()

    def __repr__(self):
        return f"<residuals of {self.name}: {quantity(self.total, 'B')} in {len(self.rows)} arrays>"

    def _repr_html_(self):
        return html_table(self.HEAD, [*self._cells(SHOWN), *self._rest(SHOWN), *filter(None, self._legend())], self._head())

    def plot(self, limit=SHOWN):
        """Bars of the bytes kept by each line, coloured by kind.

        Parameters
        ----------
        limit : int
            Lines to show.

        Returns
        -------
        matplotlib.figure.Figure
        """
        lines = {}
        for size, _, r in self.by_line():
            label = f"{short_line(r.line)}  {shortened(source_of(r.line), SOURCE_ROOM)}"
            parts = lines.setdefault(label, dict.fromkeys(MEANING, 0))
            parts[r.kind] += size
        order = sorted(lines, key=lambda label: -sum(lines[label].values()))[:limit]
        return bar_figure([(label, lines[label]) for label in order], MEANING, self._head())


def source_of(line):
    """The text of a line of source; empty if the file is not to be had."""
    path, _, number = line.rpartition(":")
    return linecache.getline(path, int(number)).strip() if number.isdigit() else ""


def kept_by(f, leaves, others):
    """What linearising ``f`` keeps.

    Parameters
    ----------
    f : callable
        Of the leaves; returns a list of arrays.
    leaves : list of array
        What is differentiated in.
    others : list of array
        Further arguments.

    Returns
    -------
    rows : list of Residual
        Each piece of memory once.
    equations : int
    y : list of array
    """
    trace, found = ResidualTrace("residuals"), {}
    y, linear_list, _ = record(lambda *_: trace, f, leaves, [True] * len(leaves), "residuals")
    arguments = {id(owner(x)[0]) for x in (*leaves, *others) if isinstance(x, np.ndarray)}
    for eqn, prim, line in zip(linear_list.eqns, trace.prims, linear_list.lines, strict=True):
        mine = {}
        for x in arrays_in(eqn, set()):
            piece = owner(x)[0] if isinstance(x, np.ndarray) else x
            mine[id(piece)] = piece
        for key, piece in mine.items():
            if key in found:
                found[key][-1] += 1
            elif piece.nbytes:
                found[key] = [piece, prim, line, _kind(key, piece, trace, arguments), 1]
    rows = [Residual(piece.nbytes, piece.shape, piece.dtype, prim, line, kind, uses) for piece, prim, line, kind, uses in found.values()]
    return rows, len(linear_list.eqns), y


def _kind(key, piece, trace, arguments):
    if key in arguments:
        return INPUT
    if not isinstance(piece, np.ndarray):
        return FACTOR
    return CONSTANT if key in trace.held.constants else VALUE if key in trace.values else FACTOR


def peak_of(call):
    """Most bytes that a call had allocated at once, beside what was there before; as Python and NumPy report it."""
    ours = not tracemalloc.is_tracing()
    gc.collect()
    if ours:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        call()
        return max(tracemalloc.get_traced_memory()[1] - before, 0)
    finally:
        if ours:
            tracemalloc.stop()


__all__ = ["Residual", "ResidualReport", "kept_by", "peak_of"]

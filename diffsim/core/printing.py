"""Graphs as text and as HTML: the same graph always prints the same, whatever the process and NumPy's print options."""

import html
import re
from pathlib import Path

import numpy as np

#: Elements of an array, and characters of any other parameter, beyond which a parameter is printed in part.
LONGEST_ARRAY, LONGEST_PARAM = 8, 120
#: Equations an HTML table shows.
TABLE_ROWS = 300
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def names():
    """a, b, ..., z, ba, bb, ... : stable names in order of definition."""
    n = 0
    while True:
        name, k = "", n
        while True:
            name = chr(97 + k % 26) + name
            k //= 26
            if not k:
                break
        yield name
        n += 1


# ---------------------------------------------------------------- parts of an equation
def graph_in(value):
    """The graph that a parameter is, or carries as its ``graph``; None if it has none."""
    if hasattr(value, "eqns"):
        return value
    inside = getattr(value, "graph", None)
    return inside if hasattr(inside, "eqns") else None


def subgraphs(eqn):
    """Graphs among the parameters of an equation (a loop's body, the branches of a choice) as ``(label, graph)``."""
    found = []
    for key, value in eqn.params.items():
        members = enumerate(value) if isinstance(value, (tuple, list)) else value.items() if isinstance(value, dict) else None
        if members is None:
            found.append((key, graph_in(value)))
        else:
            found += [(f"{key}[{i}]", graph_in(v)) for i, v in members]
    return [(label, graph) for label, graph in found if graph is not None]


def _holds_graph(value):
    members = value if isinstance(value, (tuple, list)) else value.values() if isinstance(value, dict) else (value,)
    return len(members) > 0 and all(graph_in(v) is not None for v in members)


def param_text(value):
    """A parameter in one line."""
    if isinstance(value, np.ndarray):
        flat = list(map(str, value.ravel()[:LONGEST_ARRAY].tolist())) + ["..."] * (value.size > LONGEST_ARRAY)
        return f"{value.dtype.name}{list(value.shape)}({', '.join(flat)})".replace(" ", "")
    if graph_in(value) is not None:
        return "graph"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(param_text, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, list):
        return "[" + ", ".join(map(param_text, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {param_text(v)}" for k, v in value.items()) + "}"
    name = getattr(value, "name", None) or getattr(value, "__name__", None)
    return name if isinstance(name, str) else _ADDRESS.sub("", str(value))


def shortened(text, longest=LONGEST_PARAM):
    """The text with its middle left out if it is too long."""
    return text if len(text) <= longest else f"{text[:longest * 2 // 3]}...{text[-longest // 4:]}"


def operation(eqn):
    """The primitive of an equation with its parameters; graphs among them are printed below it."""
    params = ", ".join(f"{k}={shortened(param_text(v))}" for k, v in eqn.params.items() if not _holds_graph(v))
    return eqn.prim.name + (f"[{params}]" if params else "")


def constant_text(const):
    """A constant: its number if it is a single one."""
    return repr(const.value.item()) if const.value.ndim == 0 else f"const {const.aval}"


def short_line(line):
    """File name and number of a line, without the directories; a notebook's cell is named [cell]."""
    if not line:
        return ""
    path, _, number = line.rpartition(":")
    cell = "ipykernel_" in path or path.startswith("<ipython-input")
    return f"{'[cell]' if cell else Path(path).name}:{number}"


def quantity(n, unit=""):
    """A count in three digits: 1234 is "1.23 k"."""
    if n is None:
        return "?"
    for prefix in ("", "k", "M", "G", "T", "P"):
        if abs(n) < 999.5 or prefix == "P":
            digits = f"{n:.0f}" if not prefix else f"{n:.3g}"
            return f"{digits} {prefix}{unit}".rstrip()
        n /= 1000
    return ""


# ---------------------------------------------------------------- rows
class _Row:
    """One line of a printed graph: a graph's head, an equation or a return."""

    __slots__ = ("depth", "eqn", "kind", "left", "operands", "right")

    def __init__(self, depth, kind, left, right, operands=(), eqn=None):
        self.depth, self.kind, self.left, self.right, self.operands, self.eqn = depth, kind, left, right, operands, eqn


def _rows(graph, label="graph", depth=0):
    source = names()
    name = {v: next(source) for v in graph.inputs}

    def show(x):
        return constant_text(x) if hasattr(x, "value") else name[x]

    yield _Row(depth, "head", label, ", ".join(f"{name[v]}: {v.aval}" for v in graph.inputs))
    for eqn in graph.eqns:
        for v in eqn.outputs:
            name[v] = next(source)
        left = ", ".join(f"{name[v]}: {v.aval}" for v in eqn.outputs)
        yield _Row(depth, "eqn", left, operation(eqn), tuple(map(show, eqn.inputs)), eqn)
        for inner, nested in subgraphs(eqn):
            yield from _rows(nested, inner, depth + 1)
    yield _Row(depth, "return", "return", ", ".join(map(show, graph.outputs)))


def graph_text(graph, lines=False, cost=None):
    """A graph as text.

    Parameters
    ----------
    graph : Graph
    lines : bool
        Whether a column gives the user's file and line.
    cost : callable, optional
        ``cost(eqn) -> (flops, bytes)``, for a column of each.

    Returns
    -------
    str
    """
    out = []
    for row in _rows(graph):
        indent = "    " * row.depth
        if row.kind == "head":
            out.append((f"{indent}{row.left}({row.right}):", ()))
        elif row.kind == "return":
            out.append((f"{indent}  return {row.right}", ()))
        else:
            out.append((f"{indent}  {row.left} = {' '.join([row.right, *row.operands])}", _columns(row.eqn, lines, cost)))
    width = max((len(code) for code, columns in out if columns), default=0)
    widths = [max(map(len, column)) for column in zip(*(columns for _, columns in out if columns), strict=True)]

    def line(code, columns):
        cells = [c.rjust(w) if cost and i < 2 else c.ljust(w) for i, (c, w) in enumerate(zip(columns, widths, strict=True))]
        return f"{code.ljust(width)}  # {'  '.join(cells)}".rstrip()
    return "\n".join(line(*row) if row[1] else row[0] for row in out)


def _columns(eqn, lines, cost):
    columns = ()
    if cost:
        flops, moved = cost(eqn)
        columns = (quantity(flops, "flop"), quantity(moved, "B"))
    return (*columns, short_line(eqn.line)) if lines else columns


# ---------------------------------------------------------------- HTML
#: No colour is named but in grey that reads on light and dark pages.
_CELL = "padding:1px 10px 1px 0;text-align:left;white-space:pre;font-family:monospace"
_FAINT = "opacity:.6;"
_RULE = "border-bottom:1px solid rgba(128,128,128,.5);"


def html_table(head, rows, caption=""):
    """A table whose cells are escaped; a row may be a single string, set across all columns.

    Parameters
    ----------
    head : sequence of str
    rows : iterable of (sequence of str) or str
    caption : str

    Returns
    -------
    str
    """
    out = ['<table style="border-collapse:collapse;border:none;background:none">']
    if caption:
        out.append(f'<caption style="text-align:left;padding:2px 0;caption-side:top">{html.escape(caption)}</caption>')
    out.append("<thead><tr>" + "".join(f'<th style="{_CELL};{_RULE}">{html.escape(h)}</th>' for h in head) + "</tr></thead><tbody>")
    for row in rows:
        if isinstance(row, str):
            cells = f'<td colspan="{len(head)}" style="{_CELL};{_FAINT}">{html.escape(row)}</td>'
        else:
            cells = "".join(f'<td style="{_CELL}">{html.escape(c)}</td>' for c in row)
        out.append(f'<tr style="background:none">{cells}</tr>')
    return "".join([*out, "</tbody></table>"])


def graph_html(graph):
    """A graph as an HTML table: names, types, operations, operands and, where they were recorded, the user's lines."""
    with_lines, shown, rows, hidden = any(e.line for e in graph.eqns), 0, [], 0
    for row in _rows(graph):
        indent = "    " * row.depth
        if row.kind != "eqn":
            rows.append(f"{indent}{row.left}({row.right})" if row.kind == "head" else f"{indent}return {row.right}")
            continue
        shown += 1
        if shown > TABLE_ROWS:
            hidden += 1
            continue
        cells = [f"{indent}{row.left}", row.right, "  ".join(row.operands)]
        rows.append([*cells, short_line(row.eqn.line)] if with_lines else cells)
    if hidden:
        rows.insert(-1, f"... {hidden} more equations: print(graph) shows all")
    counted = f"{len(graph.eqns)} equation{'s' * (len(graph.eqns) != 1)}"
    return html_table(["value", "operation", "operands", *["line"] * with_lines], rows, f"graph of {counted}")


__all__ = ["graph_html", "graph_text", "html_table", "names", "quantity", "short_line", "subgraphs"]

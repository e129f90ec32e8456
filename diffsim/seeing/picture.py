"""Pictures of graphs: layered, coloured by family, shaded by loop, drawn by matplotlib without touching a backend."""

import io
from functools import cache
from itertools import pairwise
from pathlib import Path

from ..core import Graph
from ..core.printing import subgraphs
from ..errors import InputError, InputTypeError
from .layout import Layout
from .network import (
    CONSTANT,
    EQUATION,
    FAMILIES,
    FUSED,
    INPUT,
    LOOP,
    OUTPUT,
    SCALARS,
    STORED,
    TIMES,
    compiled,
    of_equations,
    of_loops,
)

#: Boxes that one picture holds; beyond it equations are drawn loop by loop, and beyond that the graph is refused.
LARGEST = 220
#: Inches: height of a box, from one row to the next, between boxes, around text, around the picture, height of a bar.
BOX, ROW, GAP, PAD, MARGIN, BAR = 0.42, 0.73, 0.26, 0.11, 0.25, 0.04
CHIP, LINE, APART = 0.075, 0.24, 0.3
#: Share of the dearest equation's operations below which no bar is drawn.
LEAST = 0.03
TITLE_SIZE, DETAIL_SIZE, SMALL_SIZE, HEADING_SIZE = 8.5, 6.8, 6.8, 10.0
FILL = dict(zip(FAMILIES, ("#BFDDF2", "#E4E4E4", "#FBD9A5", "#C6E7D3", "#F2C4DC", "#F4F1C9"), strict=True))
EDGE = dict(zip(FAMILIES, ("#3A7CA8", "#8A8A8A", "#B9770E", "#2E8B62", "#A8467F", "#8F8A2B"), strict=True))
SHADES = ("#EEF1F6", "#F6F1EA", "#EDF5EF", "#F5EEF4")
SHADE_EDGE, INK, FAINT, WIRE = "#B9C0CC", "#1B1F24", "#5A626D", "#7C8794"
FONT = "DejaVu Sans"


def draw(graph, path=None, *, detail="auto", title=None, names=None, nested=True):
    """Figure of a graph; see :func:`diffsim.draw`."""
    if not isinstance(graph, Graph):
        raise InputTypeError(f"draw: needs a graph, got {type(graph).__name__}")
    if detail not in ("auto", "equations", "loops"):
        raise InputError(f'draw: detail={detail!r}; it is "equations" (one box each), "loops" (one box a loop) or "auto"')
    suffix = Path(path).suffix.lower() if path is not None else None
    if suffix is not None and suffix not in (".svg", ".png", ".pdf"):
        raise InputError(f"draw: {path} names no format; end it in .svg, .png or .pdf")
    figure = _Page(_panels(graph, detail, title or "", names, nested)).figure
    if path is not None:
        write(figure, path, suffix[1:])
    return figure


def write(figure, target, kind):
    """Save a figure, the same bytes each time."""
    from matplotlib import rc_context  # noqa: PLC0415  as in figure_class

    with rc_context({"svg.hashsalt": "diffsim"}):
        figure.savefig(target, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)


def _panels(graph, detail, heading, names, nested):
    """The graph's panel, and one for each graph in its parameters, as long as they are not too many."""
    panels = [_Panel(_network(graph, detail, names), heading)]
    todo = [(graph, "")] if nested else []
    while todo:
        outer, path = todo.pop(0)
        for n, eqn in enumerate(outer.eqns):
            for label, inner in subgraphs(eqn):
                size = sum(len(p.net.nodes) for p in panels) + len(inner.eqns) + len(inner.inputs)
                if size <= LARGEST and all(p.net.graph is not inner for p in panels):
                    heading = f"{path}{eqn.prim.name} (equation {n + 1}): {label}"
                    panels.append(_Panel(_network(inner, "equations", None), heading))
                    todo.append((inner, f"{heading}, "))
    return panels


def _network(graph, detail, names):
    fused = compiled(graph)
    size = len(graph.eqns) + len(graph.inputs) + len(graph.outputs)
    if detail == "equations" or (detail == "auto" and size <= LARGEST):
        if size > LARGEST:
            raise InputError(f'draw: a graph of {len(graph.eqns)} equations makes no readable picture; use detail="loops", '
                             f"graph.draw() of a part, or print(graph.text(lines=True))")
        return of_equations(graph, fused, names)
    if isinstance(fused, Exception):
        raise InputError(f"draw: the {len(graph.eqns)} equations are too many to draw one by one, and there are no loops to draw, as the "
                         f"graph cannot be compiled ({fused}); print(graph.text(lines=True)) shows it as text")
    net = of_loops(graph, fused, names)
    if len(net.nodes) > LARGEST:
        raise InputError(f"draw: {len(graph.eqns)} equations in {len(fused.nests)} loops make no readable picture; graph.stats counts "
                         f"them, graph.text(lines=True, cost=True) lists them; draw the function at fewer steps, or one step of it")
    return net


# ---------------------------------------------------------------- geometry
@cache
def _text_width(text, size, bold=False):
    """Width of a text in inches."""
    from matplotlib.font_manager import FontProperties  # noqa: PLC0415  as in figure_class
    from matplotlib.textpath import TextToPath  # noqa: PLC0415

    font = FontProperties(family=FONT, size=size, weight="bold" if bold else "normal")
    return TextToPath().get_text_width_height_descent(text, font, ismath=False)[0] / 72.0


def _width(node):
    badge = 0.22 if node.copies > 1 else 0.0
    return max(0.62, _text_width(node.title, TITLE_SIZE) + badge, _text_width(node.detail, DETAIL_SIZE)) + 2 * PAD


class _Panel:
    """One network on a page: where its boxes stand, in inches, y upwards."""

    def __init__(self, net, heading):
        low = {i for i, node in enumerate(net.nodes) if node.kind in (INPUT, CONSTANT)}
        self.net, self.heading, self.page = net, heading, None
        self.layout = place = Layout([_width(n) for n in net.nodes], net.edges, low, [n.group for n in net.nodes], gap=GAP)
        self.inside = max((x + w / 2 for x, w in zip(place.x, place.width, strict=True)), default=0.0)
        self.w = max(self.inside, _text_width(net.caption, SMALL_SIZE), _text_width(heading, HEADING_SIZE, True))
        used = sorted({n.group for n in net.nodes if n.group is not None})
        self.loops = [("shade", "in one loop, over:"), *((n, net.loops[n]) for n in used)] if used else []

    def stand(self, page, top):
        """Take a place on a page; returns the height used."""
        self.page, self.axes, self.text = page, page.axes, page.text
        self.shift = (page.w - self.inside) / 2
        head = 0.36 if self.heading else 0.0
        self.top = top - head - BOX / 2
        rows = max(self.layout.layer, default=0) + 1
        self.foot = top - head - (rows - 1) * ROW - BOX - 0.3
        if self.heading:
            self.text(MARGIN, top, self.heading, HEADING_SIZE, va="top", weight="bold")
        return top - self.foot + LINE * len(self.loop_rows())

    def loop_rows(self):
        return _legend_rows(self.loops, self.page.w - 2 * MARGIN) if self.loops else []

    def height(self, w):
        """Height on a page of a width, known before it stands there."""
        rows = max(self.layout.layer, default=0) + 1
        loops = len(_legend_rows(self.loops, w - 2 * MARGIN)) if self.loops else 0
        return (0.36 if self.heading else 0.0) + (rows - 1) * ROW + BOX + 0.3 + LINE * loops

    def x(self, v):
        return self.layout.x[v] + self.shift

    def y(self, v):
        return self.top - self.layout.layer[v] * ROW

    def draw(self):
        wires = _wires(self)
        _shade(self, wires)
        _draw_wires(self, wires)
        dearest = max((n.flops or 0 for n in self.net.nodes), default=0)
        for i, node in enumerate(self.net.nodes):
            _box(self, i, node, dearest)
        self.text(MARGIN, self.foot, self.net.caption, SMALL_SIZE, FAINT)
        for n, row in enumerate(self.loop_rows()):
            _legend_row(self.page, row, self.foot - (n + 1) * LINE)


class _Page:
    """Panels below each other, and the legend."""

    def __init__(self, panels):
        self.w = max(3.4, *(p.w for p in panels)) + 2 * MARGIN
        self.legend = _legend_rows(_legend_entries([n for p in panels for n in p.net.nodes]), self.w - 2 * MARGIN)
        self.h = 2 * MARGIN + sum(p.height(self.w) for p in panels) + APART * (len(panels) - 1) + LINE * len(self.legend)
        self.figure = figure_class()(figsize=(self.w, self.h), facecolor="white")
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, self.w), ylim=(0, self.h))
        self.axes.axis("off")
        top = self.h - MARGIN
        for p in panels:
            top -= p.stand(self, top) + APART
            p.draw()
        top += APART
        for n, row in enumerate(self.legend):
            _legend_row(self, row, top - (n + 1) * LINE)

    def text(self, x, y, text, size, colour=INK, ha="left", va="center", z=6, **more):
        return self.axes.text(x, y, text, fontsize=size, color=colour, ha=ha, va=va, zorder=z, family=FONT, parse_math=False, **more)


# ---------------------------------------------------------------- edges
def _ports(panel):
    """Where on a box's top each of its edges ends: side by side in the order in which they come."""
    place, port = panel.layout, {}
    for v in range(place.n):
        ends = sorted({path[-2] for (_, to), path in place.routes.items() if to == v}, key=lambda u: place.x[u])
        span = min(0.55 * place.width[v], 0.16 * (len(ends) - 1))
        for i, u in enumerate(ends):
            port[u, v] = panel.x(v) + (span * (i / (len(ends) - 1) - 0.5) if len(ends) > 1 else 0.0)
    return port


def _wires(panel):
    """Each piece of an edge, from row to row: (upper end, lower end) -> the points of a path."""
    place, port, wires = panel.layout, _ports(panel), {}
    for a, b in place.links:
        xa, ya = panel.x(a), panel.y(a)
        xb, yb = port.get((a, b), panel.x(b)), panel.y(b)
        start, stop, half = ya - BOX / 2, yb + BOX / 2, (ROW - BOX) / 2
        points = [(xa, start), (xa, start - half), (xb, stop + half), (xb, stop)]
        wires[a, b] = points + ([(xb, yb - BOX / 2)] if b >= place.n else [])
    return wires


def _path(points):
    from matplotlib.path import Path as Outline  # noqa: PLC0415  as in figure_class

    return Outline(points, [Outline.MOVETO, *[Outline.CURVE4] * 3, *[Outline.LINETO] * (len(points) - 4)])


def _draw_wires(panel, wires):
    from matplotlib.patches import PathPatch, Polygon  # noqa: PLC0415  as in figure_class

    place = panel.layout
    for (_, b), points in wires.items():
        panel.axes.add_patch(PathPatch(_path(points), fill=False, edgecolor=WIRE, linewidth=0.9, zorder=3, capstyle="round"))
        if b < place.n:
            x, y = points[-1]
            tip = [(x, y), (x - 0.035, y + 0.08), (x + 0.035, y + 0.08)]
            panel.axes.add_patch(Polygon(tip, closed=True, facecolor=WIRE, edgecolor="none", zorder=4))


# ---------------------------------------------------------------- loops
def _shade(panel, wires):
    """A shade behind the boxes of each loop and the edges among them, its outline first: the pieces become one area."""
    from matplotlib.patches import FancyBboxPatch, PathPatch, Rectangle  # noqa: PLC0415  as in figure_class

    place, members = panel.layout, {}
    for i, node in enumerate(panel.net.nodes):
        if node.group is not None:
            members.setdefault(node.group, []).append(i)
    for group, boxes in members.items():
        shade, rim = SHADES[group % len(SHADES)], 0.085
        inner = [w for w in wires if all(place.group[v] == group for v in w)]
        for colour, grow, z in ((SHADE_EDGE, 0.012, 1.0), (shade, 0.0, 1.5)):
            for v in boxes:
                w, pad = place.width[v], rim + grow
                panel.axes.add_patch(FancyBboxPatch(
                    (panel.x(v) - w / 2 - pad, panel.y(v) - BOX / 2 - pad), w + 2 * pad, BOX + 2 * pad,
                    boxstyle="round,pad=0,rounding_size=0.1", facecolor=colour, edgecolor="none", zorder=z))
            for left, right in _neighbours(place, group):
                panel.axes.add_patch(Rectangle((panel.x(left), panel.y(left) - BOX / 2 - rim - grow), panel.x(right) - panel.x(left),
                                                BOX + 2 * (rim + grow), facecolor=colour, edgecolor="none", zorder=z))
            for w in inner:
                panel.axes.add_patch(PathPatch(_path(wires[w]), fill=False, edgecolor=colour, linewidth=72 * 2 * (0.11 + grow), zorder=z,
                                                capstyle="round"))
        first = min(boxes, key=lambda v: (place.layer[v], place.x[v]))
        _chip(panel, panel.x(first) - place.width[first] / 2 - rim, panel.y(first) + BOX / 2 + rim, group)


def _neighbours(place, group):
    """Boxes of a group that stand side by side."""
    for row in place.order:
        for a, b in pairwise(row):
            if place.group[a] == place.group[b] == group and max(a, b) < place.n:
                yield a, b


def _chip(panel, x, y, group, z=7):
    """The number of a loop, in a disc."""
    from matplotlib.patches import Circle  # noqa: PLC0415  as in figure_class

    panel.axes.add_patch(Circle((x, y), CHIP, facecolor=SHADES[group % len(SHADES)], edgecolor=FAINT, linewidth=0.7, zorder=z - 0.5))
    panel.text(x, y - 0.003, str(group + 1), 5.6, FAINT, ha="center", z=z)


# ---------------------------------------------------------------- boxes
def _style(node):
    """Fill, outline, width and dashes of a box."""
    if node.kind in (INPUT, OUTPUT):
        return "#2F3B4A", "#2F3B4A", 0.8, "-"
    if node.kind == CONSTANT:
        return "white", "#8A8A8A", 0.8, (0, (3, 2))
    width, dashes = {STORED: (1.9, "-"), SCALARS: (0.8, (0, (1, 1.4)))}.get(node.kept, (0.8, "-"))
    return FILL[node.family], EDGE[node.family], width, dashes


def _box(panel, i, node, dearest):
    from matplotlib.patches import FancyBboxPatch, Rectangle  # noqa: PLC0415  as in figure_class

    x, y, w = panel.x(i), panel.y(i), panel.layout.width[i]
    fill, edge, width, dashes = _style(node)
    rounding = BOX / 2 if node.kind in (INPUT, OUTPUT) else 0.07
    panel.axes.add_patch(FancyBboxPatch(
        (x - w / 2, y - BOX / 2), w, BOX, boxstyle=f"round,pad=0,rounding_size={rounding}", facecolor=fill, edgecolor=edge,
        linewidth=width, linestyle=dashes, zorder=5))
    ink, faint = ("white", "#D5DCE5") if node.kind in (INPUT, OUTPUT) else (INK, "#454C56")
    panel.text(x, y + 0.083, node.title, TITLE_SIZE, ink, ha="center")
    panel.text(x, y - 0.068, node.detail, DETAIL_SIZE, faint, ha="center")
    if node.copies > 1:
        panel.text(x + w / 2 - 0.03, y + BOX / 2 - 0.03, f"{TIMES}{node.copies}", 5.8, FAINT, ha="right", va="top")
    if node.flops and node.flops >= LEAST * dearest:
        left, room = x - w / 2 + 0.07, w - 0.14
        panel.axes.add_patch(Rectangle((left, y - BOX / 2 + 0.02), room * node.flops / dearest, BAR, facecolor=edge, edgecolor="none",
                                        zorder=5.5))


# ---------------------------------------------------------------- legend
def _legend_entries(nodes):
    """(kind of sample, text) of what the boxes show."""
    have = {n.family for n in nodes if n.family}
    kept = {n.kept for n in nodes if n.kind == EQUATION}
    entries = [((FILL[f], EDGE[f], 0.8, "-"), f) for f in FAMILIES if f in have]
    texts = {STORED: "stored in memory", FUSED: "computed where it is read", SCALARS: "single numbers"}
    styles = {STORED: (1.9, "-"), FUSED: (0.8, "-"), SCALARS: (0.8, (0, (1, 1.4)))}
    entries += [(("white", FAINT, *styles[k]), t) for k, t in texts.items() if k in kept]
    if any(n.copies > 1 for n in nodes):
        entries.append((f"{TIMES}2", "computed in 2 loops"))
    if any(n.flops for n in nodes):
        entries.append(("bar", "operations, relative to the dearest " + ("loop" if any(n.kind == LOOP for n in nodes) else "equation")))
    return entries


def _legend_rows(entries, room):
    rows, at = [[]], 0.0
    for sample, text in entries:
        width = 0.26 + _text_width(text, SMALL_SIZE) + (0.12 if isinstance(sample, int) else 0.2)
        if rows[-1] and at + width > room:
            rows.append([])
            at = 0.0
        rows[-1].append((at, sample, text))
        at += width
    return rows


def _legend_row(page, row, y):
    from matplotlib.patches import FancyBboxPatch, Rectangle  # noqa: PLC0415  as in figure_class

    for at, sample, text in row:
        x = MARGIN + at
        if sample == "bar":
            page.axes.add_patch(Rectangle((x, y - 0.025), 0.2, 0.05, facecolor=FAINT, edgecolor="none", zorder=5))
        elif isinstance(sample, int):
            _chip(page, x + 0.16, y, sample)
        elif isinstance(sample, str) and sample != "shade":
            page.text(x + 0.1, y, sample, SMALL_SIZE, FAINT, ha="center")
        else:
            fill, edge, width, dashes = (SHADES[0], SHADE_EDGE, 0.8, "-") if sample == "shade" else sample
            page.axes.add_patch(FancyBboxPatch((x, y - 0.055), 0.2, 0.11, boxstyle="round,pad=0,rounding_size=0.03", facecolor=fill,
                                               edgecolor=edge, linewidth=width, linestyle=dashes, zorder=5))
        page.text(x + 0.26, y, text, SMALL_SIZE, FAINT)


@cache
def figure_class():
    """Figure that notebooks show sharply without pyplot; matplotlib costs too much to import before something is drawn."""
    from matplotlib.figure import Figure  # noqa: PLC0415  0.3 s, paid only by those who draw

    class GraphFigure(Figure):
        def _repr_svg_(self):
            buffer = io.StringIO()
            write(self, buffer, "svg")
            return buffer.getvalue()

    return GraphFigure


__all__ = ["draw"]

"""Horizontal bars in parts, one a line of the user's source."""

from .picture import FONT, figure_class

COLOURS = ("#56B4E9", "#999999", "#009E73", "#D55E00")        # Okabe & Ito: distinct for colour-blind readers
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))


def bar_figure(rows, meaning, title):
    """Figure of bars.

    Parameters
    ----------
    rows : list of (str, dict of str to int)
        Label, and bytes of each kind.
    meaning : dict of str to str
        Kinds in order, with what they are.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    largest = max((sum(parts.values()) for _, parts in rows), default=0)
    scale, unit = next(((s, u) for s, u in _UNITS if largest >= s), _UNITS[-1])
    figure = figure_class()(figsize=(9.0, 1.5 + 0.27 * max(len(rows), 1)), layout="constrained", facecolor="white")
    axes = figure.subplots()
    left = [0.0] * len(rows)
    for colour, (kind, text) in zip(COLOURS, meaning.items(), strict=True):
        sizes = [parts[kind] / scale for _, parts in rows]
        if any(sizes):
            axes.barh(range(len(rows)), sizes, left=left, color=colour, height=0.72, label=f"{kind}: {text}")
        left = [a + b for a, b in zip(left, sizes, strict=True)]
    axes.set_yticks(range(len(rows)), [label for label, _ in rows], fontsize="small", family="DejaVu Sans Mono", parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel(f"kept for the backward pass ({unit})", fontsize="small", family=FONT)
    axes.tick_params(axis="x", labelsize="small")
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    first, _, rest = title.partition(": ")
    figure.suptitle(f"{first}\n{rest}", x=0.01, ha="left", fontsize="small", parse_math=False)
    if rows:
        figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize="x-small")
    return figure


__all__ = ["bar_figure"]

"""A small picture of a solution for notebooks: SVG written by hand, because it must cost nothing."""

import numpy as np

from diffsim.errors import InputTypeError

from .pictures import COLOURS, curves

WIDTH, HEIGHT, LEFT, FOOT, TOP = 340, 150, 52, 20, 8
#: Curves and points that are drawn, of many.
CURVES, POINTS = len(COLOURS), 200


def sketch(sol):
    """SVG of up to seven components over time; nothing where there is nothing to draw."""
    try:
        t, drawn = np.asarray(sol.t, float), curves(sol.y)
    except (InputTypeError, TypeError):                   # traced
        return ""
    if len(t) < 2 or not drawn or t[0] == t[-1]:
        return ""
    drawn = [drawn[i] for i in np.unique(np.linspace(0, len(drawn) - 1, min(len(drawn), CURVES)).astype(int))]
    at = np.unique(np.linspace(0, len(t) - 1, min(len(t), POINTS)).astype(int))
    values = np.array([y[at] for _, y in drawn])
    seen = values[np.isfinite(values)]
    if not seen.size:
        return ""
    low, high = float(seen.min()), float(seen.max())
    if high == low:
        low, high = low - 0.5, high + 0.5
    x = LEFT + (t[at] - t[0]) / (t[-1] - t[0]) * (WIDTH - LEFT - 8)
    parts = [_line(x, TOP + (high - y) / (high - low) * (HEIGHT - TOP - FOOT), colour) for y, colour in zip(values, COLOURS, strict=False)]
    parts.append(f"<path d='M{LEFT} {TOP}V{HEIGHT - FOOT}H{WIDTH - 8}' fill='none' stroke='#8a8a8a'/>")
    for text, place, anchor in ((f"{high:.3g}", (LEFT - 5, TOP + 8), "end"), (f"{low:.3g}", (LEFT - 5, HEIGHT - FOOT), "end"),
                                (f"t = {t[0]:.4g}", (LEFT, HEIGHT - 5), "start"), (f"{t[-1]:.4g}", (WIDTH - 8, HEIGHT - 5), "end")):
        parts.append(f"<text x='{place[0]}' y='{place[1]}' text-anchor='{anchor}'>{text}</text>")
    return (f"<svg width='{WIDTH}' height='{HEIGHT}' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='components over time' "
            f"style='margin-left:1em' font-family='sans-serif' font-size='11' fill='currentColor'>{''.join(parts)}</svg>")


def _line(x, y, colour):
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True) if np.isfinite(b))
    return f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='1.5'/>"

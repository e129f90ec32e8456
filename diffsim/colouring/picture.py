"""Pictures of patterns: entries in the colours of the derivatives they are read from."""

import html as text

import numpy as np

from ..errors import InputTypeError

#: Okabe & Ito (2008): distinct for colour-blind readers; black is kept for text.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442")
#: Matrices with at most so many rows and columns show each entry as a tile with a gap around it.
TILES = 64
#: Larger matrices are drawn on so many pixels at most.
PIXELS = 280
#: Matrices longer than this many widths are not drawn to scale.
LONGEST = 2
GROUND, GRID, FRAME = "#ffffff", "#eef1f4", "#9aa4ae"


def palette(n):
    """``n`` colours as an array of red, green, blue in [0, 1]: the first are chosen, the others spread over hues at two brightnesses."""
    chosen = np.array([[int(c[k:k + 2], 16) for k in (1, 3, 5)] for c in PALETTE]) / 255
    rest = np.arange(max(n - len(chosen), 0))
    hue = (rest * 0.61803398875) % 1.0                       # steps of the golden ratio keep neighbours in number apart in hue
    bright, grey = np.where(rest % 2, 0.95, 0.7), 0.25
    ramp = np.clip(np.abs((hue[:, None] * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    return np.concatenate([chosen, bright[:, None] * (grey + (1 - grey) * ramp)])[:n]


def groups(pattern, colouring):
    """Number of the derivative each entry is read from, pushes first."""
    m, n = pattern.shape
    at = colouring.at if colouring.substitution is None else colouring.at[colouring.substitution.unknown]
    split = colouring.n_forward * m
    return np.where(at < split, at // max(m, 1), colouring.n_forward + (at - split) // max(n, 1))


def raster(pattern, colouring, limit):
    """Red, green, blue and opacity of the matrix on at most ``limit`` pixels a side; of entries that meet one is seen."""
    m, n = pattern.shape
    height, width = min(m, limit), min(n, limit)
    colours = palette(max(colouring.n_colours, 1))[groups(pattern, colouring)]
    cell = (pattern.rows * height // max(m, 1)) * width + pattern.cols * width // max(n, 1)
    image = np.zeros((height * width, 4))
    image[cell, :3], image[cell, 3] = colours, 1.0
    return image.reshape(height, width, 4)


def summary(pattern, colouring):
    """Two lines of numbers."""
    m, n = pattern.shape
    share = 100.0 * pattern.nnz / max(m * n, 1)
    each = [f"{k} {word}{'s' if k != 1 else ''}" for k, word in ((colouring.n_forward, "push"), (colouring.n_reverse, "pull")) if k]
    each = [e.replace("pushs", "pushes") for e in each]
    return f"{m:,} x {n:,}, {pattern.nnz:,} nonzeros ({share:.3g} %)\n{colouring.mode}: {' + '.join(each) or 'nothing'}"


def draw(pattern, colouring, ax=None):
    """Draw a pattern; see :meth:`Pattern.plot`."""
    if ax is None:
        ax = _axes(pattern.shape)
    elif not hasattr(ax, "imshow"):
        raise InputTypeError(f"plot: ax is a matplotlib Axes, not a {type(ax).__name__}")
    m, n = pattern.shape
    tiles = max(m, n) <= TILES
    colours = palette(max(colouring.n_colours, 1))
    if tiles:
        _tiles(ax, pattern.rows, pattern.cols, colours[groups(pattern, colouring)], (m, n))
    else:
        ax.imshow(raster(pattern, colouring, PIXELS), extent=(-0.5, n - 0.5, m - 0.5, -0.5), interpolation="nearest", aspect="auto")
    _strips(ax, colouring, colours, (m, n))
    ax.set_xlim(-0.5, max(n, 1) - 0.5)
    ax.set_ylim(max(m, 1) - 0.5, -0.5)
    square = max(m, n) <= LONGEST * max(1, min(m, n))
    ax.set_aspect("equal" if square else "auto", adjustable="box")
    ax.set_title(summary(pattern, colouring), loc="left", fontsize="medium", pad=20 if colouring.n_forward else 8)
    ax.set_xlabel("input")
    ax.set_ylabel("output" if not pattern.symmetric else "input", labelpad=16 if colouring.n_reverse else None)
    for axis, size in ((ax.xaxis, n), (ax.yaxis, m)):
        axis.get_major_locator().set_params(integer=True, min_n_ticks=1 if size < 2 else 2)
    for spine in ax.spines.values():
        spine.set_color(FRAME)
    ax.tick_params(color=FRAME)
    return ax


def _axes(shape):
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  (0.3 s, paid only by those who draw)
    from matplotlib.figure import Figure  # noqa: PLC0415
    m, n = max(shape[0], 1), max(shape[1], 1)
    width, height = (5.6, max(5.6 * m / n, 2.8)) if m <= n else (max(5.6 * n / m, 2.8), 5.6)
    figure = Figure(figsize=(width + 1.2, height + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.subplots()


def _tiles(ax, rows, columns, colours, shape):
    from matplotlib.collections import PolyCollection  # noqa: PLC0415
    ax.set_facecolor(GROUND)
    for size, lines in ((shape[1], ax.axvline), (shape[0], ax.axhline)):
        for k in range(1, size):
            lines(k - 0.5, color=GRID, linewidth=0.6, zorder=0)
    half = 0.42
    corner = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
    centres = np.stack([columns, rows], 1)[:, None, :]
    ax.add_collection(PolyCollection(centres + corner, facecolors=colours, linewidths=0, zorder=1))


def _strips(ax, colouring, colours, shape):
    """The colour of each column above the matrix, of each row beside it."""
    def strip(codes, first, place, extent, along):
        if not np.any(codes >= 0) or not codes.size:
            return
        image = np.ones((codes.size, 4))
        image[:, :3] = np.where(codes[:, None] >= 0, colours[np.maximum(codes, 0) + first], 1.0)
        image[:, 3] = codes >= 0
        inset = ax.inset_axes(place, **along)
        inset.imshow(image[None] if "sharex" in along else image[:, None], extent=extent, interpolation="nearest", aspect="auto")
        inset.set_axis_off()

    if colouring.n_forward:
        strip(colouring.columns, 0, (0.0, 1.012, 1.0, 0.022), (-0.5, shape[1] - 0.5, 0, 1), {"sharex": ax})
    if colouring.n_reverse:
        strip(colouring.rows, colouring.n_forward, (-0.034, 0.0, 0.022, 1.0), (0, 1, shape[0] - 0.5, -0.5), {"sharey": ax})


def html(pattern, colouring):
    """A small drawing (SVG) with the numbers beside it."""
    image = raster(pattern, colouring, 48)
    height, width = image.shape[:2]
    scale = 168 / max(height, width, 1)
    cells = []
    for i, j in np.argwhere(image[:, :, 3] > 0):
        r, g, b = (round(255 * c) for c in image[i, j, :3])
        cells.append(f'<rect x="{j}" y="{i}" width="1.02" height="1.02" fill="#{r:02x}{g:02x}{b:02x}"/>')
    box = f'viewBox="0 0 {max(width, 1)} {max(height, 1)}"'
    drawing = (f'<svg width="{max(width * scale, 4):.0f}" height="{max(height * scale, 4):.0f}" {box} '
               f'preserveAspectRatio="none" style="border:1px solid {FRAME};background:{GROUND}">{"".join(cells)}</svg>')
    lines = [("symmetric " if pattern.symmetric else "") + "pattern", *summary(pattern, colouring).splitlines()]
    words = "<br>".join(map(text.escape, lines))
    return f'<div style="display:flex;gap:1em;align-items:center">{drawing}<div>{words}</div></div>'


__all__ = ["draw", "groups", "html", "palette", "raster", "summary"]

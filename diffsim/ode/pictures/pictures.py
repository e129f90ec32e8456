"""Pictures of a solution: components over time, one against another, the steps and their errors."""

import numpy as np

from diffsim import tree
from diffsim.core import Tracer
from diffsim.errors import InputError, InputTypeError
from diffsim.ode.states import paths

#: Okabe & Ito's palette, which colour-blind readers tell apart, without its yellow; rejected steps are vermillion everywhere.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
REJECTED, FAINT = "#D55E00", "#8A8A8A"
STYLES = ("-", "--")
#: Up to so many curves have a line in the legend; more are coloured by their place. Points drawn in a step, and at least; outputs that are
#: marked.
NAMED, FINE, LEAST, MARKED = len(COLOURS) * len(STYLES), 12, 400, 40


def curves(y):
    """Names and values over time of the components of a solution.

    Parameters
    ----------
    y : pytree of ndarray
        Time axis last.

    Returns
    -------
    list of (str, ndarray of shape (n_t,))
        Of complex components the real part, then the imaginary one.
    """
    out = []
    flat, struct = tree.flatten(y)
    for x, path in zip(flat, paths(struct), strict=True):
        if isinstance(x, Tracer):
            raise InputTypeError("a picture needs numbers, and this solution is traced: draw outside of grad, jit and vmap")
        name = path.lstrip(".").replace("['", "").replace("']", "") or "y"
        for at in np.ndindex(x.shape[:-1]):
            label = f"{name}[{', '.join(map(str, at))}]" if at else name
            parts = [("Re ", np.real), ("Im ", np.imag)] if x.dtype.kind == "c" else [("", np.asarray)]
            out += [(part + label, np.asarray(take(x[at]))) for part, take in parts]
    return out


def fine(sol):
    """Times and states to draw: the interpolant between the steps if there is one, else the outputs."""
    if sol.sol is None or not len(sol.t):
        return np.asarray(sol.t), sol.y
    ts = sol.sol.ts
    if ts[0] == ts[-1]:
        return np.asarray(sol.t), sol.y
    within = np.linspace(0, 1, FINE, endpoint=False)
    steps = (ts[:-1, None] + np.diff(ts)[:, None] * within).ravel()
    t = np.unique(np.concatenate([steps, np.linspace(ts[0], ts[-1], LEAST)]))
    return t, sol.sol(t)


def chosen(every, which):
    """The curves asked for by number or name."""
    by_name = {name: i for i, (name, _) in enumerate(every)}
    out = []
    for one in which:
        i = by_name.get(one) if isinstance(one, str) else one
        if not isinstance(i, (int, np.integer)) or not -len(every) <= i < len(every):
            raise InputError(f"there is no component {one!r}; there are {_listed(list(by_name))}")
        out.append(int(i) % len(every))
    return out


def _listed(names):
    return ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:6])}, ... {names[-1]} ({len(names)} in all)"


def _axes(ax, **size):
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # noqa: PLC0415  (slow to import, and wanted for pictures alone)

    return plt.subplots(layout="constrained", **size)[1]


def _tidy(ax):
    """An open frame: only the axes that are read."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(direction="out", length=3)


def plot(sol, components=None, *, names=None, ax=None, log=False, **line):
    """Draw components over time; see ``OdeResult.plot``."""
    (t, y), seen = fine(sol), curves(sol.y)
    drawn = curves(y)
    which = range(len(drawn)) if components is None else chosen(drawn, [components] if np.ndim(components) == 0 else components)
    labels = _labels(drawn, which, names)
    ax = _axes(ax, figsize=(6.4, 3.6))
    many = len(which) > NAMED
    marked = not many and len(sol.t) <= MARKED and len(sol.t) < len(t)
    looks = [{"lw": 1.0, "color": _shade(place, len(which))} for place in range(len(which))] if many else _looks(drawn, which)
    for i, label, look in zip(which, labels, looks, strict=True):
        ax.plot(t, drawn[i][1], label=label, **{**look, **line})
        if marked:
            ax.plot(sol.t, seen[i][1], "o", ms=3, color=line.get("color", look["color"]))
    _mark_ends(ax, sol)
    _scales(ax, log)
    ax.set_xlabel("t")
    ax.margins(x=0.01)
    _tidy(ax)
    if many:
        _scale(ax, len(which))
        ax.set_ylabel("y")
    elif len(which) == 1:
        ax.set_ylabel(labels[0])
    else:
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, handlelength=1.6, borderaxespad=0.4)
    return ax


def _labels(drawn, which, names):
    if names is None:
        return [drawn[i][0] for i in which]
    if isinstance(names, str) or len(names) != len(which):
        raise InputError(f"names must be a sequence of {len(which)} names, one for each curve, not {names!r}")
    return list(names)


def _looks(drawn, which):
    """Colour and style of each line; the two parts of a complex component share a colour, and the imaginary one is dashed."""
    if any(drawn[i][0].startswith("Im ") for i in which):
        of = list(dict.fromkeys(drawn[i][0][3:] if drawn[i][0][:3] in ("Re ", "Im ") else drawn[i][0] for i in which))
        places = [(of.index(drawn[i][0].removeprefix("Re ").removeprefix("Im ")), drawn[i][0].startswith("Im ")) for i in which]
    else:
        places = [(place, place >= len(COLOURS)) for place in range(len(which))]
    return [{"lw": 1.6, "color": COLOURS[place % len(COLOURS)], "ls": STYLES[dashed]} for place, dashed in places]


def _scales(ax, log):
    """Make axes logarithmic: "x", "y", "xy"; True is "y"."""
    if log not in (False, True, "x", "y", "xy"):
        raise InputError(f"log must be True, False, 'x', 'y' or 'xy', not {log!r}")
    for axis in "y" if log is True else log or "":
        ax.set(**{f"{axis}scale": "log"})


def _shade(place, n):
    """A colour of viridis, which grows lighter with the component's number; the palest are left out."""
    from matplotlib import colormaps  # noqa: PLC0415

    return colormaps["viridis"](0.9 * place / max(n - 1, 1))


def _scale(ax, n):
    """A bar that tells the colours of many components."""
    from matplotlib import cm, colormaps, colors  # noqa: PLC0415

    shades = colors.ListedColormap(colormaps["viridis"](np.linspace(0, 0.9, 256)))
    bar = ax.figure.colorbar(cm.ScalarMappable(colors.Normalize(0, n - 1), shades), ax=ax, pad=0.02, aspect=30)
    bar.set_label("component")
    bar.outline.set_visible(False)


def _mark_ends(ax, sol):
    """Times of events, and where a solve stopped that did not reach its end."""
    for times in sol.t_events or ():
        for t in np.atleast_1d(times):
            ax.axvline(t, color=FAINT, lw=0.8, ls=":", zorder=0)
    if sol.status < 0 and len(sol.t):
        ax.axvline(sol.t[-1], color=REJECTED, lw=1.0, zorder=0)
        ax.set_title(f"stopped at t = {sol.t[-1]:.4g}", color=REJECTED, fontsize="medium", loc="right")


def plot_phase(sol, i=0, j=1, *, ax=None, **line):
    """Draw one component against another; see ``OdeResult.plot_phase``."""
    (_, y), ends = fine(sol), curves(sol.y)
    drawn = curves(y)
    i, j = chosen(drawn, (i, j))
    ax = _axes(ax, figsize=(4.6, 4.2))
    x, z = drawn[i][1], drawn[j][1]
    look = {"lw": 1.5, "color": COLOURS[0], **line}
    ax.plot(x, z, **look)
    if len(ends[i][1]):
        ax.plot(ends[i][1][0], ends[j][1][0], "o", ms=6, mfc="white", mec=look["color"], mew=1.5, label="start")
        ax.plot(ends[i][1][-1], ends[j][1][-1], "o", ms=6, color=look["color"], label="end")
        ax.legend(frameon=False, handletextpad=0.1, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.0)
    ax.set_xlabel(drawn[i][0])
    ax.set_ylabel(drawn[j][0])
    _tidy(ax)
    return ax


def plot_steps(sol, *, axes=None):
    """Draw the sizes of the steps and their errors; see ``OdeResult.plot_steps``."""
    if not np.ptp(_edges(sol)):
        raise InputError("there are no steps to draw: give dense_output=True or history=True, and a span that is not empty")
    tried = sol.get("attempts")
    if axes is None:
        import matplotlib.pyplot as plt  # noqa: PLC0415

        tall = (2, 1) if tried is not None else (1, 1)
        _, axes = plt.subplots(*tall, figsize=(6.4, 2.6 + 1.4 * (tall[0] - 1)), sharex=True, squeeze=False, layout="constrained",
                               height_ratios=[3, 2][:tall[0]])
        axes = axes.ravel()
    axes = np.atleast_1d(axes)
    if len(axes) < 1 + (tried is not None):
        raise InputError("plot_steps with a history needs two axes, for the sizes and for the errors")
    _draw_sizes(axes[0], sol, tried)
    if tried is not None:
        _draw_errors(axes[1], tried)
    axes[-1].set_xlabel("t")
    return axes


def _draw_sizes(ax, sol, tried):
    t = _edges(sol)
    h = np.abs(np.diff(t))
    t, h = t[np.append(True, h > 0)], h[h > 0]             # a reset takes no time
    many = len(h) > 400
    onward = slice(None, None, 1 if t[-1] > t[0] else -1)
    ax.stairs(h[onward], t[onward], baseline=None, color=COLOURS[0], lw=0.8 if many else 1.2, label="accepted")
    said = f"{sol.accepted} steps" + (f", {sol.rejected} rejected" if sol.rejected else "")
    if tried is not None and not np.all(tried.accepted):
        lost = ~tried.accepted
        ax.plot(tried.t[lost], np.abs(tried.h[lost]), "x", color=REJECTED, ms=3 if many else 4.5, mew=1.2, label="rejected")
        ax.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.0, handlelength=1.4)
    ax.set_title(said, loc="left", fontsize="medium", color="#404040")
    ax.set_yscale("log")
    if h.max() > 100 * h.min():
        ax.yaxis.set_minor_formatter("")
    ax.set_ylabel("step size")
    ax.margins(x=0.01)
    _tidy(ax)


def _draw_errors(ax, tried):
    shown = np.isfinite(tried.error) & (tried.error > 0)
    for good, colour, marker in ((True, COLOURS[0], "."), (False, REJECTED, "x")):
        of = shown & (tried.accepted == good)
        ax.plot(tried.t[of], tried.error[of], marker, color=colour, ms=3.5 if good else 4.5, mew=1.2 if not good else 0.5)
    ax.axhline(1, color=FAINT, lw=0.8, zorder=0)
    ax.annotate("tolerance", (1, 1), xycoords=("axes fraction", "data"), xytext=(3, 0), textcoords="offset points", ha="left", va="center",
                color=FAINT, fontsize="small")
    ax.set_yscale("log")
    ax.set_ylabel("error norm")
    _tidy(ax)


def _edges(sol):
    """Times between the accepted steps."""
    tried = sol.get("attempts")
    if sol.sol is not None:
        return sol.sol.ts
    if sol.mesh is not None:
        known = tried is not None and len(tried) == sol.accepted + sol.rejected
        start = tried.t[0] if known else sol.t[0] if len(sol.t) == len(sol.mesh) + 1 else 0.0
        return start + sol.mesh.nodes
    if tried is not None and np.any(tried.accepted):
        t, h = tried.t[tried.accepted], tried.h[tried.accepted]
        return np.append(t, t[-1] + h[-1])
    return np.zeros(1)

"""The report of a fit as text and as HTML, from one list of tables."""

import math
import textwrap
from html import escape

import numpy as np

__all__ = ["html", "text"]

SHOWN = 0.1                    # correlations below this are left out
GAP = "  "
DISPENSABLE = ("se of log", "start", "relative")         # columns a narrow page does without, the first first


def _number(x, digits=6):
    if x is None or np.isnan(x):
        return "-"
    return f"{x:.{digits}g}"


def _range(x):
    if np.ndim(x) == 0 or np.min(x, initial=np.inf) == np.max(x, initial=-np.inf):
        return _number(np.ravel(x)[0])
    return f"{_number(np.min(x), 3)} to {_number(np.max(x), 3)}" if np.size(x) else "-"


def _percent(x):
    return "-" if np.isnan(x) else f"{100 * x:.2g} %" if np.isfinite(x) else "inf"


def _parameter_rows(fit, width):
    """The table of estimates, without the columns that matter least if it would be wider than ``width``."""
    table = {"parameter": [], "estimate": [], "std. error": [], "relative": [], "95 % interval": [], "se of log": [], "start": [], "": []}
    for e in fit.parameters.values():
        interval = "-" if np.isnan(e.interval[0]) else f"{_number(e.interval[0], 4)} to {_number(e.interval[1], 4)}"
        log = _number(e.scale_stderr, 4) if e.vary and e.scale == "log" else ""
        remark = "fixed" if not e.vary else f"at {e.at_bound} bound" if e.at_bound else ""
        name = f"{e.name} ({e.unit})" if e.unit else e.name
        cells = (name, _number(e.estimate), _number(e.stderr, 3), _percent(e.relative), interval, log, _number(e.start), remark)
        for column, cell in zip(table.values(), cells, strict=True):
            column.append(cell)
    table = {head: column for head, column in table.items() if any(column)}
    for least in DISPENSABLE:
        rows = [list(table), *map(list, zip(*table.values(), strict=True))]
        if sum(_widths(rows)) + len(GAP) * len(rows[0]) <= width:
            break
        table.pop(least, None)
    return [list(table), *map(list, zip(*table.values(), strict=True))]


def _widths(rows):
    return [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]


def _correlation_rows(fit):
    pairs = [(fit.correlations[i, j], fit.free_names[i], fit.free_names[j]) for i in range(fit.n_free) for j in range(i)]
    pairs = sorted((p for p in pairs if abs(p[0]) >= SHOWN), key=lambda p: -abs(p[0]))
    return [[f"{b}, {a}", f"{value:+.3f}"] for value, a, b in pairs]


def _statistics_rows(fit):
    kind = "known" if fit.sigma_known else "estimated"
    sigma = fit.sigma if isinstance(fit.sigma, dict) else {"": fit.sigma}
    rows = [["data", str(fit.n_data)], ["free parameters", str(fit.n_free)], ["degrees of freedom", str(fit.dof)]]
    rows += [[f"sigma {name}".strip() + f" ({kind})", _range(value)] for name, value in sigma.items()]
    rows += [["sum of squared residuals", _number(fit.rss, 11)]]
    if fit.sigma_known:
        rows += [["chi-square", _number(fit.chi2)], ["chi-square / dof", _number(fit.chi2 / fit.dof) if fit.dof else "-"]]
    rows += [["log-likelihood", _number(fit.log_likelihood, 8)], [f"AIC (k = {fit.n_estimated})", _number(fit.aic, 7)],
             [f"BIC (k = {fit.n_estimated})", _number(fit.bic, 7)]]
    return rows


def _work_rows(fit):
    rows = [["residual evaluations", str(fit.residual_calls)], ["Jacobian evaluations", str(fit.jac_calls)]]
    if fit.rhs_calls is not None:
        rows += [["rhs calls of the fitted solution", str(fit.rhs_calls)]]
    rows += [["failed evaluations", str(fit.n_failed)]] if fit.n_failed else []
    return [*rows, ["gradient (cosine)", f"{fit.gradient:.1e}"], ["time", f"{fit.time:.3g} s"]]


def _title(fit):
    observed = ", ".join(fit.problem.names)
    return f"Fit of {observed}: {fit.problem.noise.title} noise"


def _status(fit):
    return ("converged: " if fit.success else "NOT CONVERGED: ") + fit.message.rstrip(".")


def _footnotes(fit):
    count = f"{fit.n_free} parameters" + ("" if fit.sigma_known else f" and {fit.n_estimated - fit.n_free} sigma")
    how = "sigma known; they are not scaled by the residuals, and intervals use the normal law" if fit.sigma_known else \
        f"sigma estimated with n - p = {fit.dof} degrees of freedom; it scales them, and intervals use Student's t with as many"
    counted = f"AIC and BIC count k = {count}; the likelihood is that of the data."
    return [*(f"Note: {n}." for n in fit.notes), f"Standard errors: {how}.", counted]


def _sections(fit, width):
    """(heading, rows, whether the first row is a head)."""
    yield "Parameters", _parameter_rows(fit, width), True
    correlations = _correlation_rows(fit)
    if correlations:
        yield f"Correlations of at least {SHOWN}", correlations, False
    yield "Statistics", _statistics_rows(fit), False
    yield "Work", _work_rows(fit), False


def text(fit, width):
    """Report of a fit as text, columns aligned, at most ``width`` wide unless names are long."""
    def wrapped(paragraphs):
        return [line for p in paragraphs for line in textwrap.wrap(p, width, subsequent_indent=GAP, break_long_words=False)]

    lines = wrapped([_title(fit), _status(fit)])
    for heading, rows, _ in _sections(fit, width):
        widths = _widths(rows)
        lines += ["", heading]
        for row in rows:
            cells = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
            lines.append((GAP + GAP.join(cells)).rstrip())
    return "\n".join([*lines, "", *wrapped(_footnotes(fit))])


def html(fit):
    """Report of a fit as HTML tables, for notebooks."""
    parts = [f"<h4>{escape(_title(fit))}</h4>", f"<p>{escape(_status(fit))}</p>"]
    for heading, rows, has_head in _sections(fit, math.inf):
        body = []
        for k, row in enumerate(rows):
            tag = "th" if has_head and k == 0 else "td"
            body.append("<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) + "</tr>")
        parts.append(f"<table><caption>{escape(heading)}</caption>{''.join(body)}</table>")
    parts += [f"<p>{escape(line)}</p>" for line in _footnotes(fit)]
    return "<div>" + "".join(parts) + "</div>"

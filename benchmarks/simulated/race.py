"""Races: contestants in processes of their own, rounds of calls that follow each other, tables and work-precision diagrams."""

import argparse
import contextlib
import json
import os
import pickle
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
ENVIRONMENT = {**dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "JAX_ENABLE_X64"), "1"),
               "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
               "PYTHONWARNINGS": "ignore"}  # fmt: skip
OURS = ("diffsim", "hand")
COLOURS = {"diffsim": "#D55E00", "scipy": "#999999", "diffrax": "#0072B2", "casadi": "#009E73", "heyoka": "#CC79A7",
           "torchdiffeq": "#E69F00", "hand": "#000000"}  # fmt: skip
MARKERS = "os^Dv<>P"


class Contestant:
    """A worker process: one code, one method, one problem."""

    def __init__(self, kind, name, variant, row, python, cache):
        self.name, self.variant = name, variant
        environment = {**os.environ, **ENVIRONMENT, "XDG_CACHE_HOME": cache, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}
        pinned = ["taskset", "-c", "0"] if shutil.which("taskset") else []
        command = [*pinned, python, "-m", "simulated.worker", name, variant, row, kind]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        self.first, self.errors, self.times, self.why = None, {}, {}, None

    def ask(self, *order):
        """The answer to an order; None if the process died."""
        try:
            self.process.stdin.write((" ".join(map(str, order)) + "\n").encode())
            self.process.stdin.flush()
            return pickle.load(self.process.stdout)
        except (EOFError, OSError):
            self.process.stdin = None
            return None

    def start(self, tol, error):
        """Build for a tolerance and take the first result; ``error`` says how good it is."""
        answer = self.ask("first", tol) if self.process.stdin else None
        if answer is None or answer[0] == "failed":
            self.why = self.why or ("the process died" if answer is None else answer[1].partition("\n")[0][:100])
            return
        self.first = answer[1] if self.first is None else self.first
        self.errors[tol] = error(answer[2])
        self.times[tol] = []

    def stop(self):
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def race(kind, row, entries, tolerances, error, options):
    """All contestants of one row: a list of dictionaries, one a contestant.

    Parameters
    ----------
    kind : {"solve", "gradient"}
    row : Row
    entries : list of (str, str)
        Names and variants.
    tolerances : list of float
    error : callable
        Error of a result.
    options : namespace
        ``python``, ``rounds``, ``seconds``, and ``cache``, where compiled code is kept.
    """
    out, contestants = [], []
    try:
        for name, variant in entries:
            c = Contestant(kind, name, variant, row.name, sys.executable if name in OURS else options.python, options.cache)
            for tol in tolerances:
                c.start(tol, error)
            contestants.append(c)
            print(f"    {name} {variant}: {c.why or 'ready'}", file=sys.stderr, flush=True)
        for _ in range(options.rounds):
            for c in contestants:
                for tol in c.times:
                    c.times[tol].append(c.ask("call", tol, options.seconds))
        for c in contestants:
            cells = [{"tol": tol, "error": c.errors[tol], "seconds": statistics.median(times), "best": min(times)}
                     for tol, times in c.times.items()]
            out.append({"row": row.name, "contestant": c.name, "variant": c.variant, "why": c.why, "first": c.first,
                        "memory": c.ask("memory") if cells else None, "cells": cells})
        return out
    finally:
        for c in contestants:
            c.stop()


@contextlib.contextmanager
def fresh_cache():
    """A directory for compiled code, removed afterwards."""
    path = tempfile.mkdtemp(prefix="diffsim-benchmark-")
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def quickest(entry, target):
    """The fastest cell of an entry whose error is at most the target."""
    good = [cell for cell in entry["cells"] if cell["error"] <= target]
    return min(good, key=lambda cell: cell["best"]) if good else None


def shown(seconds):
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def table(row, entries):
    """Lines of Markdown: who reaches the target how fast, best first."""
    target = row.target
    lines = [f"\n### {row.title} (error at most {target:g})\n",
             "| code | method | tolerance | error | time | x fastest diffsim | first call | peak MB |", "|---|---|--:|--:|--:|--:|--:|--:|"]
    found = [(entry, quickest(entry, target)) for entry in entries]
    ours = min((cell["best"] for entry, cell in found if cell and entry["contestant"] == "diffsim"), default=None)
    for entry, cell in sorted(found, key=lambda pair: pair[1]["best"] if pair[1] else float("inf")):
        label = f"| {entry['contestant']} | {entry['variant']} |"
        if cell is None:
            reached = min((c["error"] for c in entry["cells"]), default=None)
            why = f"smallest error {reached:.1e}" if reached is not None else entry["why"]
            lines.append(f"{label} | | {why} | | | |")
            continue
        ratio = f"{cell['best'] / ours:.2f}" if ours else ""
        lines.append(f"{label} {cell['tol']:.0e} | {cell['error']:.1e} | {shown(cell['best'])} | {ratio} | {entry['first']:.2f} s | "
                     f"{entry['memory']:.0f} |")
    return lines


def draw(path, results, titles, targets):
    """Work-precision diagrams, one panel a row: time over achieved error."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    names = [name for name in titles if any(e["row"] == name and e["cells"] for e in results)]
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(5.6 * columns, 3.6 * lines), layout="constrained")
    for axes, name in zip(figure.subplots(lines, columns, squeeze=False).flat, names, strict=False):
        seen = {}
        for entry in (e for e in results if e["row"] == name and e["cells"]):
            code = entry["contestant"]
            marker = MARKERS[seen.setdefault(code, 0) % len(MARKERS)]
            seen[code] += 1
            cells = sorted(entry["cells"], key=lambda cell: -cell["error"])
            axes.loglog([c["error"] for c in cells], [c["best"] * 1e3 for c in cells], marker=marker, color=COLOURS[code], markersize=4,
                        linewidth=1.6 if code in OURS else 1.0, markerfacecolor=COLOURS[code] if code in OURS else "white",
                        label=f"{code} {entry['variant']}", zorder=3 if code in OURS else 2)
        axes.axvline(targets[name], color="#CCCCCC", linewidth=0.8, zorder=0)
        axes.invert_xaxis()
        axes.set(title=titles[name], xlabel="error", ylabel="time (ms)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.02), borderaxespad=0.0)
    for axes in figure.axes[len(names):]:
        axes.set_visible(False)
    figure.savefig(path, dpi=150)


def options_of(description, rows, results):
    """The parser of a program that runs races: ``rows`` are those it runs by default, ``results`` is where it keeps what it finds."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--rows", default=",".join(rows))
    parser.add_argument("--contestants", help="codes, separated by commas; default: all")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the peers (default: this one)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1, help="time a call is repeated for in each round")
    parser.add_argument("--json", default=results, metavar="PATH", help="where results are kept (default: %(default)s)")
    parser.add_argument("--plot", metavar="PATH", help="where to draw work-precision diagrams of all that is kept")
    return parser


def chosen(field, options):
    """Name of each row that is to be run, and its contestants."""
    codes = options.contestants and options.contestants.split(",")
    return [(name, [e for e in field[name] if codes is None or e[0] in codes]) for name in options.rows.split(",") if name]


def keep(path, results):
    """Results on disk; rows measured again replace the old ones."""
    path = Path(path)
    old = json.loads(path.read_text()) if path.exists() else []
    fresh = {(e["row"], e["contestant"], e["variant"]) for e in results}
    whole = [e for e in old if (e["row"], e["contestant"], e["variant"]) not in fresh] + results
    path.write_text(json.dumps(whole, indent=1))
    return whole

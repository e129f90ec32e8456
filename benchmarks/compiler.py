"""Compiled array programs: gradients, products and Hessians beside JAX, PyTorch, CasADi, autograd and hand-written code.

    python benchmarks/compiler.py                                     # every row, every contestant that is installed: half an hour
    python benchmarks/compiler.py --rows rosenbrock,latency --contestants diffsim,jax
    python benchmarks/compiler.py --python path/to/python             # an interpreter that has the peers, if this one has not

One processor, one thread.  Every contestant runs a row in a process of its own, cold: its first result is timed with its import and its
compilation (nothing is cached but Python's bytecode, which an installation has, too; data are made before).  Then rounds of all
contestants follow each other, so that a slow spell of the machine meets all alike, and the best time of each round is taken; printed is
the median over rounds, and its ratio to diffsim's.  Values and derivatives must agree with diffsim's to 1e-10.  ``own`` is diffsim's
gradient in units of its own function, ``again`` its first result once programs are on disk.
"""

import argparse
import compileall
import json
import os
import pickle
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from compiled.data import ROWS  # noqa: E402  (after the path is set)
from compiled.worker import MODULES  # noqa: E402

AGREE = 1e-10
ENVIRONMENT = {**dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "JAX_ENABLE_X64"), "1"),
               "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
               "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1", "PYTHONWARNINGS": "ignore"}  # fmt: skip
OURS = ("diffsim", "hand")


class Contestant:
    """A worker process and what it answered."""

    def __init__(self, name, row, python, cache):
        self.name = name
        environment = {**os.environ, **ENVIRONMENT, "XDG_CACHE_HOME": cache, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}
        pinned = ["taskset", "-c", "0"] if shutil.which("taskset") else []
        self.process = subprocess.Popen([*pinned, python, "-m", "compiled.worker", name, row], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)  # fmt: skip
        self.times = []
        try:
            kind, *rest = pickle.load(self.process.stdout)
        except EOFError:
            kind, rest = "failed", ["the process died"]
        self.why = None if kind == "first" else rest[0]
        self.first, (self.value, self.bars) = rest if kind == "first" else (None, (None, None))
        if self.why is not None:
            self.stop()

    def time(self, kind, seconds):
        """Shortest time of ``"call"`` or ``"own"``."""
        self.process.stdin.write(f"{kind} {seconds}\n".encode())
        self.process.stdin.flush()
        return pickle.load(self.process.stdout)

    def stop(self):
        self.process.stdin.close()
        self.process.wait()

    def difference(self, other):
        """Largest relative difference of value and derivatives from another contestant's."""
        def apart(a, b):
            return np.linalg.norm(np.subtract(a, b)) / max(np.linalg.norm(b), 1e-300)
        if len(self.bars) != len(other.bars) or any(a.shape != b.shape for a, b in zip(self.bars, other.bars, strict=True)):
            return float("inf")
        return max([apart(self.value, other.value) if other.value else 0.0, *map(apart, self.bars, other.bars)])


def run(row, options):
    """All contestants of one row: a list of dictionaries, diffsim's first."""
    cold = tempfile.mkdtemp(prefix="diffsim-benchmark-")
    contestants = []
    try:
        for name in options.contestants:
            contestants.append(Contestant(name, row, sys.executable if name in OURS else options.python, cold))
        ours = next((c for c in contestants if c.name == "diffsim" and c.why is None), None)
        running = [c for c in contestants if c.why is None]
        owns = []
        for _ in range(options.rounds):
            for c in running:
                c.times.append(c.time("call", options.seconds))
            owns.append(ours.time("own", options.seconds) if ours else None)
        own = statistics.median(owns) if ours and owns and None not in owns else None
        out = []
        for c in contestants:
            entry = {"row": row, "contestant": c.name, "why": c.why}
            if c.why is None:
                entry.update(first=c.first, seconds=statistics.median(c.times), best=min(c.times))
                entry["difference"] = c.difference(ours) if ours else None
            if c is ours:
                entry["own"] = entry["seconds"] / own if own else None
                again = Contestant("diffsim", row, sys.executable, cold)
                entry["again"] = again.first
                again.stop()
            out.append(entry)
        return out
    finally:
        for c in contestants:
            if c.why is None:
                c.stop()
        shutil.rmtree(cold, ignore_errors=True)


def shown(seconds):
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def printed(entries):
    """Lines of the table of one row."""
    ours = next((e for e in entries if e["contestant"] == "diffsim" and e["why"] is None), None)
    for e in entries:
        if e["why"] is not None:
            if e["why"] != "not written for it":
                yield f"| {e['row']} | {e['contestant']} | {e['why'][:60]} | | | |"
            continue
        ratio = f"{e['seconds'] / ours['seconds']:.2f}" if ours else ""
        apart = "" if ours is None or e is ours else f"{e['difference']:.0e}{'' if e['difference'] <= AGREE else ' DIFFERS'}"
        notes = ""
        if e is ours:
            notes = (f"own {e['own']:.1f}, " if e["own"] else "") + f"again {shown(e['again'])}"
        yield f"| {e['row']} | {e['contestant']} | {shown(e['seconds'])} | {ratio} | {shown(e['first'])} | {apart or notes} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=lambda s: s.split(","), default=list(ROWS))
    parser.add_argument("--contestants", type=lambda s: s.split(","), default=list(MODULES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="length of a sample")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the peers")
    parser.add_argument("--json", type=Path, help="also write all figures there")
    options = parser.parse_args()
    for sources in (HERE / "compiled", HERE.parent / "diffsim"):
        compileall.compile_dir(sources, quiet=1)
    print("| row | contestant | a call | x diffsim | first | difference from diffsim, notes |\n|---|---|--:|--:|--:|---|")
    entries = []
    for row in options.rows:
        found = run(row, options)
        print(*printed(found), sep="\n", flush=True)
        entries += found
    if options.json:
        options.json.write_text(json.dumps(entries, indent=1))


if __name__ == "__main__":
    main()

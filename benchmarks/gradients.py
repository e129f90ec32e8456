"""Gradients of solutions at equal achieved accuracy, beside diffrax, CasADi (CVODES, IDAS), heyoka, torchdiffeq and scans in JAX.

    python benchmarks/gradients.py --python path/to/python     # every row; an interpreter that has the peers, if this one has not
    python benchmarks/gradients.py --rows robertson --contestants diffsim,casadi --plot gradients.png

The manner is that of ``solves.py``. The loss is the mean over the outputs of the sum of the squared states, each in a unit of its size; the
gradient is taken by the parameters, and by the start where the row says so. Its error is that of the whole vector, each derivative times
the size of what it is by, relative to that of the gradient at tolerance 1e-12 by a method of another family. ``own`` is the time of
diffsim's gradient in units of its own solve by the same method at the same tolerance.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from simulated import with_diffsim
from simulated.race import chosen, draw, fresh_cache, keep, options_of, quickest, race, table
from simulated.rows import rows

EXPLICIT = [("diffsim", "Tsit5"), ("diffsim", "DOP853"), ("diffrax", "Tsit5-reverse"), ("diffrax", "Dopri8-forward"),
            ("casadi", "cvodes-adams-reverse"), ("heyoka", "variational"), ("torchdiffeq", "dopri5")]
STIFF = [("diffsim", "Rodas5P"), ("diffsim", "Kvaerno5"), ("diffsim", "KenCarp4"), ("diffsim", "Radau"), ("diffrax", "Kvaerno5-reverse"),
         ("diffrax", "Kvaerno5-forward"), ("casadi", "cvodes-bdf-reverse"), ("casadi", "cvodes-bdf-forward"), ("casadi", "idas-reverse")]
FIELDS = [("diffsim", "Tsit5"), ("diffsim", "Rodas5P"), ("diffsim", "Kvaerno5"), ("diffsim", "KenCarp4"), ("diffsim", "Radau"),
          ("diffrax", "Tsit5-reverse"), ("diffrax", "Kvaerno5-reverse"), ("casadi", "cvodes-bdf-reverse")]
LARGE = [e for e in FIELDS if e != ("diffrax", "Kvaerno5-reverse")]
NETWORK = [("diffsim", "Tsit5"), ("diffsim", "DOP853"), ("diffrax", "Tsit5-reverse"), ("diffrax", "Dopri8-reverse"),
           ("torchdiffeq", "dopri5")]
#: Row to contestants.
FIELD = {
    "hare_lynx": EXPLICIT, "robertson": STIFF, "van_der_pol": STIFF, "pleiades": EXPLICIT, "brusselator64": FIELDS,
    "brusselator512": LARGE, "pollution": STIFF, "neural1": NETWORK, "neural32": NETWORK, "heat": LARGE,
    "ensemble": [("diffsim", "Tsit5"), ("diffsim", "Vern7"), ("diffrax", "Tsit5-reverse"), ("diffrax", "Tsit5-forward")],
    "heat_fixed": [("diffsim", "RK4@5e-5"), ("diffrax", "RK4@all@5e-5"), ("diffrax", "RK4@part@5e-5")],
    "lorenz96": [("diffsim", "RK4@1e-4"), ("diffrax", "RK4@part@1e-4")],
}  # fmt: skip
#: Methods of the references: of another family than those that are timed where possible.
EXACT = {
    "hare_lynx": "Vern7", "pleiades": "Vern7", "neural1": "Vern7", "neural32": "Vern7", "ensemble": "DOP853", "heat": "DOP853",
    "brusselator64": "DOP853", "brusselator512": "DOP853", "heat_fixed": "RK4@5e-5", "lorenz96": "RK4@1e-4",
}  # fmt: skip
TOLERANCES = {"ensemble": [1e-6, 1e-8], "heat": [1e-4, 1e-6, 1e-8], "brusselator512": [1e-4, 1e-6, 1e-8], "heat_fixed": [1.0],
              "lorenz96": [1.0]}  # fmt: skip
USUAL = [1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10]
TARGETS = {"heat_fixed": 1e-9, "lorenz96": 1e-6}


def error_of(row, name):
    """Function from a value and its gradient to the error of the gradient."""
    exact = with_diffsim.gradient(row, EXACT.get(name, "KenCarp4" if name == "van_der_pol" else "Kvaerno5"))(1e-12)()[1]
    by = np.concatenate([row.y0, row.p]) if row.by == "both" else np.ravel(row.p)
    size = np.where(by == 0.0, 1.0, np.abs(by))
    return lambda out: float(np.linalg.norm(size * (np.asarray(out[1]) - exact)) / np.linalg.norm(size * exact))


def own(row, entries, options):
    """Time of the fastest diffsim gradient that reaches the target, in units of the solve alone."""
    ours = [(e, quickest(e, row.target)) for e in entries if e["contestant"] == "diffsim"]
    ours = min(((e, cell) for e, cell in ours if cell), key=lambda pair: pair[1]["best"], default=None)
    if ours is None:
        return ""
    solve = race("solve", row, [("diffsim", ours[0]["variant"])], [ours[1]["tol"]], lambda y: 0.0, options)[0]
    return f"\nown: {ours[1]['best'] / solve['cells'][0]['best']:.2f} x diffsim's solve ({ours[0]['variant']}, {ours[1]['tol']:.0e})"


def main(arguments=None):
    options = options_of(__doc__, FIELD, "gradients.json").parse_args(arguments)
    every, whole = {**rows(), "heat_fixed": rows()["heat"]}, keep(options.json, [])
    every["heat_fixed"].title = "heat 2-D, 64 x 64, 4096 coefficients, RK4 x 200"
    with fresh_cache() as options.cache:
        for name, entries in chosen(FIELD, options):
            row = every[name]
            row.target = TARGETS.get(name, max(row.target, 1e-5))
            print(f"  {row.title}", file=sys.stderr, flush=True)
            results = race("gradient", row, entries, TOLERANCES.get(name, USUAL), error_of(row, name), options)
            for entry in results:
                entry["row"] = name
            print("\n".join(table(row, results)) + own(row, results, options), flush=True)
            whole = keep(options.json, results)
    if options.plot:
        draw(options.plot, whole, {name: row.title for name, row in every.items()}, {name: row.target for name, row in every.items()})


if __name__ == "__main__":
    main()

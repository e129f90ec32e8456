"""Solves of initial value problems at equal achieved accuracy, beside SciPy, diffrax, CasADi, heyoka, torchdiffeq and Numba by hand.

    python benchmarks/solves.py --python path/to/python        # every row; an interpreter that has the peers, if this one has not
    python benchmarks/solves.py --rows lotka,robertson --contestants diffsim,casadi --plot work_precision.png

One processor, one thread. Every code and method runs in a process of its own, cold: its first result is timed with import and compilation.
It is run at several tolerances, and the error of each result is measured against a solution to some eleven digits (SciPy's at 1e-12; for
heat the exponential of the matrix): the root mean square over outputs and components in units of each component's size. Rounds of all
contestants follow each other, so that a slow spell of the machine meets all alike. The table has the fastest tolerance whose error is at
most the row's target, by the best time of all rounds. diffsim's stepping loops are compiled once a machine: here in the first row that
needs them.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from simulated.race import chosen, draw, fresh_cache, keep, options_of, race, table
from simulated.rows import reference, rows

EXPLICIT = [
    ("diffsim", "Tsit5"), ("diffsim", "Vern7"), ("diffsim", "DOP853"), ("scipy", "DOP853"), ("scipy", "LSODA"), ("diffrax", "Tsit5"),
    ("diffrax", "Dopri8"), ("casadi", "cvodes-adams"), ("heyoka", "taylor"), ("torchdiffeq", "dopri5"), ("torchdiffeq", "dopri8"),
]  # fmt: skip
STIFF = [
    ("diffsim", "Rodas5P"), ("diffsim", "Kvaerno5"), ("diffsim", "KenCarp4"), ("diffsim", "Radau"), ("diffsim", "BDF"),
    ("scipy", "Radau"), ("scipy", "LSODA"), ("scipy", "BDF"), ("diffrax", "Kvaerno5"), ("casadi", "cvodes-bdf"), ("casadi", "idas"),
]  # fmt: skip
MILD = [("diffsim", "Tsit5"), *[e for e in STIFF if e[0] != "diffrax"], ("diffrax", "Tsit5"), ("casadi", "cvodes-adams")]
#: Row to contestants.
FIELD = {
    "lotka": [*EXPLICIT, ("hand", "Tsit5")], "pleiades": EXPLICIT,
    **dict.fromkeys(("robertson", "van_der_pol", "hires", "pollution"), STIFF),
    "brusselator64": [*MILD, ("diffrax", "Kvaerno5")], "brusselator512": MILD, "heat": MILD,
    "ensemble": [("diffsim", "Tsit5"), ("diffsim", "Vern7"), ("diffrax", "Tsit5"), ("heyoka", "taylor"), ("hand", "Tsit5")],
}  # fmt: skip
TOLERANCES = {"ensemble": [1e-6, 1e-8], "heat": [1e-4, 1e-6, 1e-8], "brusselator512": [1e-4, 1e-6, 1e-8]}
USUAL = [1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10]


def error_of(row):
    """Function from a result to its error."""
    exact = reference(row)
    if row.members == 1:
        return lambda y: row.error(np.asarray(y), exact)
    some = slice(None, None, row.members // 20)

    def error(y):
        return float(np.sqrt(np.mean([row.error(member, known) ** 2 for member, known in zip(y[some], exact, strict=True)])))
    return error


def main(arguments=None):
    options = options_of(__doc__, FIELD, "solves.json").parse_args(arguments)
    every, whole = rows(), keep(options.json, [])
    with fresh_cache() as options.cache:
        for name, entries in chosen(FIELD, options):
            row = every[name]
            print(f"  {row.title}", file=sys.stderr, flush=True)
            results = race("solve", row, entries, TOLERANCES.get(name, USUAL), error_of(row), options)
            print("\n".join(table(row, results)), flush=True)
            whole = keep(options.json, results)
    if options.plot:
        draw(options.plot, whole, {name: row.title for name, row in every.items()}, {name: row.target for name, row in every.items()})


if __name__ == "__main__":
    main()

"""Which rule every primitive has: the table of docs/primitives.md."""

import importlib
import pkgutil

from ..core import REGISTRY, SLOTS, Absent
from ..core.emission import Back, Call, Either, Gather, Scalar

INTRO = """# Primitives and their rules

Every operation is a row of slots ([how to add one](add_a_primitive.md)). A slot holds a rule or says why it does not: the reasons follow
the table. A primitive without `batch` rule is computed one member after another under `vmap`, one without `sparsity` is taken to be dense,
one without `emit` runs in programs that are not compiled; only `jvp` and `transpose` decide what can be differentiated. How a primitive
lowers in a compiled program stands in the column `emit`: as generated *loops*, as a call of *linked* code, of a routine of BLAS, LAPACK or
scipy.special, or by its own `impl`, which the program calls *back*, on its own memory. Complex numbers become two real ones first, in
arithmetic, layout and sums; all other rows are called back on them, as on other dtypes that generated code does not compute in (small
integers, float16, longdouble).

This page is written by `python -m diffsim.testing > docs/primitives.md`.
"""


def _everything():
    """Import all of diffsim, so that every row is in the registry; returns the built-in rows by name."""
    package = importlib.import_module(__package__.partition(".")[0])
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return [REGISTRY[name] for name in sorted(REGISTRY) if "." not in name]


def slot_table():
    """The table of primitives and slots, as Markdown.

    Returns
    -------
    str
        One row a primitive, with the number of rules in each column; then why the others are absent.
    """
    prims = _everything()
    shown = [slot for slot in SLOTS if slot not in ("impl", "aval")]
    lacking = {slot: [p for p in prims if isinstance(getattr(p, slot), Absent)] for slot in shown}
    lines = [INTRO, f"| {len(prims)} primitives | {' | '.join(f'`{slot}`' for slot in shown)} |", "|---" * (len(shown) + 1) + "|"]
    lines.append("| **with a rule** | " + " | ".join(str(len(prims) - len(lacking[slot])) for slot in shown) + " |")
    for p in prims:
        cells = ("-" if p in lacking[slot] else _how(p.emit) if slot == "emit" else "✓" for slot in shown)
        lines.append(f"| `{p.name}` | {' | '.join(cells)} |")
    lines += ["", "## Absent, and why", ""]
    for slot in shown:
        reasons = {}
        for p in lacking[slot]:
            reasons.setdefault(getattr(p, slot).why, []).append(f"`{p.name}`")
        lines += [f"- `{slot}`: {why}. {', '.join(names)}" for why, names in sorted(reasons.items())]
    lines += ["", "## Called back, and why", ""]
    reasons = {}
    for p in prims:
        if isinstance(p.emit, Back):
            reasons.setdefault(p.emit.why, []).append(f"`{p.name}`")
    lines += [f"- {why}. {', '.join(names)}" for why, names in sorted(reasons.items())]
    return "\n".join(lines) + "\n"


def _how(emit):
    """How a row lowers, in a word or two."""
    if isinstance(emit, Either):
        return emit.how
    return {Scalar: "loops", Gather: "loops", Call: "linked", Back: "back"}[type(emit)]


__all__ = ["slot_table"]

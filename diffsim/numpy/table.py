"""The table of NumPy's functions and how each is treated: ``python -m diffsim.numpy.table > docs/numpy_support.md`` writes it.

NumPy's dispatch is what a traced value can answer to: its ufuncs, and the functions its ``__array_function__`` protocol reaches.
"""

import numpy as np

from .creation import CREATORS
from .dispatch import support

NAMESPACES = (("", np), ("linalg.", np.linalg), ("fft.", np.fft))
_HEAD = """# What NumPy's functions do with traced values

Written by `python -m diffsim.numpy.table > docs/numpy_support.md`; a test compares.

Every ufunc and every function of `numpy`, `numpy.linalg` and `numpy.fft` that NumPy dispatches is listed once, under its first name.
**Differentiable**: forward and reverse mode, any order. **Value only**: answers with plain values (places, shapes, truths), which carry no
derivative. **Refused**: raises `MissingRule` with the reason, never a number that lost its derivative.
Functions that NumPy does not dispatch see traced values as follows: the creators {creators} become diffsim's own inside a function that
is differentiated or compiled (and in `diffsim.numpy`); all others get what `__array__` of a traced value gives, which raises rather than
drop a derivative.
"""


def functions():
    """NumPy's dispatchable functions.

    Returns
    -------
    dict
        name (``"linalg.solve"``) -> (function, list of its other names)
    """
    found = {}
    for prefix, home in NAMESPACES:
        for name in sorted(n for n in dir(home) if not n.startswith("_")):
            f = getattr(home, name)
            if isinstance(f, np.ufunc) or hasattr(f, "_implementation"):
                found.setdefault(f, []).append(prefix + name)
    first = {f: next((n for n in names if n.rpartition(".")[2] == f.__name__), names[0]) for f, names in found.items()}
    return {first[f]: (f, [n for n in names if n != first[f]]) for f, names in found.items()}


def rows():
    """``(name, other names, status, reason)`` of every function."""
    listed = functions()
    treated = support(f for f, _ in listed.values())
    return [(name, others, *treated[f]) for name, (f, others) in sorted(listed.items(), key=lambda item: (item[0].count("."), item[0]))]


def markdown():
    """The table as the text of docs/numpy_support.md."""
    listed = rows()
    creators = ", ".join(f"`{f.__name__}`" for f in CREATORS if not hasattr(f, "_implementation"))
    parts = [_HEAD.format(creators=creators)]
    for status in ("differentiable", "value only", "refused", "unknown"):
        chosen = [r for r in listed if r[2] == status]
        if not chosen:
            continue
        parts.append(f"\n## {status.capitalize()}: {len(chosen)}\n")
        if status == "refused":
            parts.append("| function | why |\n|---|---|")
            parts += [f"| `{name}` | {reason} |" for name, _, _, reason in chosen]
        else:
            parts.append(", ".join("/".join(f"`{n}`" for n in (name, *others)) for name, others, _, _ in chosen))
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")

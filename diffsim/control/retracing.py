"""Functions that are traced again and again: which value changes from call to call, and when to stop compiling."""

from .. import tree

#: After this many programs in a row that were hardly used, compiling is given up; a program used this often was worth it.
PATIENCE, WORTH = 12, 4


class Retracing:
    """Counts programs of one compiled function that were made and hardly used.

    Programs count together if they were made for arguments that differ in constants alone.
    """

    def __init__(self):
        self._rows = {}

    def note(self, signature, entry, changed):
        """A program was made; returns what changes from call to call if compiling is to be given up, else None.

        Parameters
        ----------
        signature : tuple
            See ``Jitted``.
        entry : Compiled
        changed : callable
            What the function read that is not as it was; None if only arguments changed.
        """
        row = self._rows.setdefault(family(signature), [0, None, None])
        count, last, before = row
        row[:] = (count + 1 if last is None or last.calls < WORTH else 1), entry, signature
        if row[0] < PATIENCE:
            return None
        return _closed_over(changed()) if before == signature else _constant(before, signature)

    def hopeless(self, signature):
        """Whether compiling was given up for arguments like these."""
        row = self._rows.get(family(signature))
        return row is not None and row[0] >= PATIENCE and row[1].calls < WORTH


def family(signature):
    """What signatures that differ in the values of constants have in common."""
    struct, kinds, static = signature
    return struct, tuple(k[:2] if k[0] == "static" else k for k in kinds), tuple(i for i, *_ in static)


def _closed_over(what):
    return f"{what or 'something it reads'} changes from call to call: pass it as an argument"


def _constant(before, now):
    """Which argument took another value."""
    for (i, x, _), (_, y, _) in zip(before[2], now[2], strict=True):
        if x is not y and x != y:
            return f"static argument {i} changes from call to call (now {_short(y)}): do not name it in static_argnums, if it is a number"
    skipped = {i for i, *_ in now[2]}
    for place, k, m in zip(leaf_names(now[0], skipped), before[1], now[1], strict=True):
        if k != m:
            return (f"{place} changes from call to call (now {_short(m[2])}), and integers, strings and functions are constants of a "
                    f"compiled program: if it is a number, pass a float or an array")
    return "an argument that is a constant changes from call to call"


def _short(x):
    text = repr(x)
    return text if len(text) <= 60 else f"{text[:57]}..."


def leaf_names(struct, skipped=()):
    """Where each leaf of ``(args, kwargs)`` stands, in words; positions in ``skipped`` are not in the structure."""
    args, kwargs = struct[2]
    count = len(args[2]) + len(skipped)
    numbers = [i for i in range(count) if i not in skipped]
    for i, part in zip(numbers, args[2], strict=True):
        yield from _named(part, f"argument {i}")
    for key, part in zip(kwargs[1], kwargs[2], strict=True):
        yield from _named(part, f"argument `{key}`")


def _named(struct, name):
    if struct == tree.LEAF:
        yield name
        return
    kind, meta, children = struct
    for i, child in enumerate(children):
        key = i if meta is None else meta[i]
        dotted = meta is not None and not issubclass(kind, dict)
        yield from _named(child, f"{name}.{key}" if dotted else f"{name}[{key!r}]")


__all__ = ["PATIENCE", "Retracing", "leaf_names"]

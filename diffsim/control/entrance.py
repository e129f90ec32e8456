"""The way into a compiled program, written out as Python for one signature: checks and unpacks arguments, packs results.

Walking pytrees costs microseconds; a program may take as long itself.  ``matcher`` writes a function that returns the leaves of
arguments of the signature it was made for, or None (then the general way is taken); ``builder`` writes a function from leaves to the
result's tree.
"""

import dataclasses

import numpy as np

from .. import tree

PLAIN_FLOAT = ((), np.dtype(np.float64))


class _Lines:
    def __init__(self):
        self.lines, self.scope, self.count = [], {"ndarray": np.ndarray, "float64": np.float64}, 0

    def keep(self, x):
        self.count += 1
        self.scope[f"k{self.count}"] = x
        return f"k{self.count}"

    def name(self):
        self.count += 1
        return f"x{self.count}"

    def require(self, condition):
        self.lines.append(f"if not ({condition}): return None")

    def function(self, head, result):
        """The function with what was written as its body."""
        source = "\n".join([f"def {head}:", "    try:", *[f"        {line}" for line in self.lines], f"        return {result}",
                            "    except (KeyError, AttributeError, IndexError):", "        return None", ""])
        exec(compile(source, "<compiled call>", "exec"), self.scope)
        return self.scope[head.partition("(")[0]]


def matcher(struct, kinds):
    """Function of the positional arguments that returns their traceable leaves as a list, or None if they are of another signature.

    Parameters
    ----------
    struct : structure of ``(args, {})``
    kinds : tuple
        For each leaf ``(shape, dtype)`` or ``("static", type, value)``.
    """
    out, leaves, kinds = _Lines(), [], iter(kinds)
    arguments = struct[2][0][2]
    names = [f"a{i}" for i in range(len(arguments))]
    for name, part in zip(names, arguments, strict=True):
        _take(out, name, part, kinds, leaves)
    return out.function(f"match({', '.join(names)})", f"[{', '.join(leaves)}]")


def _take(out, name, struct, kinds, leaves):
    if struct == tree.LEAF:
        kind = next(kinds)
        if kind[0] == "static":
            out.require(f"{name}.__class__ is {out.keep(kind[1])} and {name} == {out.keep(kind[2])}")
            return
        shape, dtype = kind
        test = f"{name}.__class__ is ndarray and {name}.shape == {shape} and {name}.dtype is {out.keep(dtype)}"
        if len(shape) > 1:                                  # another order of memory is another signature
            test += f" and {name}.flags.c_contiguous"
        if kind == PLAIN_FLOAT:
            test = f"{name}.__class__ is float or {name}.__class__ is float64 or ({test})"
        out.require(test)
        leaves.append(name)
        return
    kind, meta, children = struct
    if kind is None:
        out.require(f"{name} is None")
        return
    keyed = issubclass(kind, dict)
    fields = meta is not None and not keyed and dataclasses.is_dataclass(kind)
    out.require(f"{name}.__class__ is {out.keep(kind)}" + ("" if fields else f" and len({name}) == {len(children)}"))
    for i, child in enumerate(children):
        part = out.name()
        place = f".{meta[i]}" if fields else f"[{out.keep(meta[i])}]" if keyed else f"[{i}]"
        out.lines.append(f"{part} = {name}{place}")
        _take(out, part, child, kinds, leaves)


def builder(struct):
    """Function from a list of leaves to the tree of a structure."""
    out, n = _Lines(), iter(range(10**9))
    return out.function("build(x)", _expression(out, struct, n))


def _expression(out, struct, n):
    if struct == tree.LEAF:
        return f"x[{next(n)}]"
    kind, meta, children = struct
    parts = [_expression(out, c, n) for c in children]
    if kind is None:
        return "None"
    if kind is list:
        return f"[{', '.join(parts)}]"
    if kind is tuple:
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
    if kind is dict:
        return "{" + ", ".join(f"{out.keep(k)}: {p}" for k, p in zip(meta, parts, strict=True)) + "}"
    name = out.keep(kind)
    if issubclass(kind, dict):
        items = ", ".join(f"{out.keep(k)}: {p}" for k, p in zip(meta, parts, strict=True))
        return f"{out.keep(tree.dictionary)}({name}, {{{items}}})"
    if meta is None:
        return f"{name}([{', '.join(parts)}])"
    if issubclass(kind, tuple):
        return f"{name}({', '.join(parts)})"
    return f"{out.keep(tree.remade)}({name}, {meta!r}, ({', '.join(parts)},))"

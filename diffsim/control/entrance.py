"""The way into a compiled program, written out as Python for one signature: unpacks arguments, calls, packs results.

Walking pytrees costs microseconds; a program may take as long itself.  ``entrance`` writes one function of arguments that does all of a
call, in the order of what it costs: the structure of the arguments, the closure guard, the program, whose entry looks at the arrays itself.
Where anything is not as it was when the function was traced, it returns ``MISS``, and the general way is taken.
"""

import dataclasses

import numpy as np

from .. import tree
from ..errors import SolveError
from ..numpy.memory import memory_order
from ..transforms.watch import WATCH

#: What a call returns that has to go the general way.
MISS = object()
#: A kind of more than two parts says in which order an array lies in memory, or what number of Python's it is.
PLAIN = 2
PLAIN_FLOAT = ((), np.dtype(np.float64))
#: Stands for the class of a number that may be Python's or NumPy's.
EITHER = object()


def python_number(kind):
    """Whether a leaf is a number of Python's."""
    return len(kind) > PLAIN and isinstance(kind[2], type)


def typed(x):
    """What tells apart constants that are equal and not the same: 1, 1.0 and True; 0.0 and -0.0."""
    if type(x) in (float, complex):
        return repr(x)
    return (type(x), *map(typed, x)) if isinstance(x, tuple) else type(x)


class _Lines:
    """Lines of a function in the making, and the objects they name."""

    def __init__(self, scope=()):
        self.lines, self.scope, self.count = [], dict(scope), 0
        self.scope.update(MISS=MISS, ndarray=np.ndarray, ascontiguousarray=np.ascontiguousarray, memory_order=memory_order)

    def keep(self, x):
        self.count += 1
        self.scope[f"k{self.count}"] = x
        return f"k{self.count}"

    def name(self):
        self.count += 1
        return f"p{self.count}"

    def require(self, condition):
        self.lines.append(f"if not ({condition}): return MISS")

    def function(self, name, arguments, lines):
        """The function of these lines."""
        source = "\n".join([f"def {name}({arguments}):", *(f"    {line}" for line in lines), ""])
        self.scope["__name__"] = __name__                   # errors name the user's line, not one of this text
        exec(compile(source, "<compiled call>", "exec"), self.scope)
        return self.scope[name]


def entrance(signature, holds, calling, out, constants, derives, tick, narrowed=False):
    """Function ``call(args, kwargs)``: the result, or ``MISS``.

    Parameters
    ----------
    signature : (structure of ``(args, kwargs)``, kinds, static arguments)
        See ``Jitted``.
    holds : callable
        The closure guard.
    calling : Calling
        Of the program.
    out : structure
        Of the result.
    constants : list of (int, object)
        Leaves of the result that are no arrays, and their places among the leaves.
    derives : bool
        Whether a solve that meets a number that is not finite is to be tried the general way.
    tick : callable
        Counts a call.
    narrowed : bool
        Whether NumPy's numbers in place of Python's would be another program.
    """
    lines = _Lines({**calling.scope, "holds": holds, "watching": WATCH.get, "SolveError": SolveError, "tick": tick})
    leaves, result = _match(lines, *signature, narrowed), _result(lines, out, constants)
    run = calling.lines(leaves, "(status < 0 or {again})", "return MISS", result, done="tick()")
    if derives and calling.may_fail:
        run = ["try:", *(f"    {line}" for line in run), "except SolveError as error:", "    if error.not_finite: return MISS", "    raise"]
    return lines.function("call", "args, kwargs", [*_tried(lines), "if not holds() or watching(): return MISS", *run])


def into(signature, holds, calling, out, constants, tick, narrowed=False):
    """Function ``call(args, kwargs, out)`` that writes into the arrays of ``out``, or ``MISS``.

    It is missed, too, where these arrays are not contiguous or share memory, where a call within gives up, and where a derivative is not
    finite: results are then computed the general way and copied.
    """
    lines = _Lines({**calling.scope, "holds": holds, "watching": WATCH.get, "tick": tick})
    leaves, result = _match(lines, *signature, narrowed), _result(lines, out, constants)
    slots = list(calling.targets)
    for i, _ in constants:
        slots.insert(i, None)
    _fill(lines, "out", out, iter(slots))
    run = calling.lines(leaves, "True", "return MISS", result, fresh=False, done="tick()")
    return lines.function("call", "args, kwargs, out", [*_tried(lines), "if not holds() or watching(): return MISS", *run])


def _fill(lines, name, struct, slots):
    """Write what takes the arrays to write to out of a tree."""
    if struct == tree.LEAF:
        slot = next(slots)
        if slot is None:
            lines.require(f"{name}.__class__ is not ndarray")
        else:
            lines.lines.append(f"{slot[0]} = {name}")
        return
    for child, part in _parts(lines, name, struct):
        _fill(lines, part, child, slots)


def _tried(lines):
    """What was written to take arguments apart: a missing key or attribute is a miss."""
    caught = ["except (KeyError, AttributeError, IndexError):", "    return MISS"]
    return ["try:", *(f"    {line}" for line in lines.lines or ["pass"]), *caught]


def _result(lines, struct, constants):
    """Function from the expressions of arrays to the expression of a result."""
    whole = [(i, lines.keep(x)) for i, x in constants]

    def result(expressions):
        for i, name in whole:
            expressions.insert(i, name)
        return _expression(lines, struct, iter(expressions))

    return result


def _match(lines, struct, kinds, static, narrowed):
    """Write what takes the arguments apart; returns the variables of the leaves that are arrays or numbers."""
    moving, named = struct[2]
    static = {i: (x, kind) for i, x, kind in static}
    leaves, kinds = [], iter([(*k[:PLAIN], EITHER) if python_number(k) and not narrowed else k for k in kinds])
    names = [lines.name() for _ in range(len(moving[2]) + len(static))]
    lines.require(f"len(args) == {len(names)} and {f'len(kwargs) == {len(named[2])}' if named[2] else 'not kwargs'}")
    if names:
        lines.lines.append(f"{', '.join(names)}, = args")
    for i, (x, kind) in static.items():
        lines.require(_same(lines, names[i], x, kind))
    for name, part in zip((n for i, n in enumerate(names) if i not in static), moving[2], strict=True):
        _take(lines, name, part, kinds, leaves)
    if isinstance(named[1], tree.OrderedKeys):
        _require_order(lines, "kwargs", named[1])
    for key, part in zip(named[1], named[2], strict=True):
        name = lines.name()
        lines.lines.append(f"{name} = kwargs[{key!r}]")
        _take(lines, name, part, kinds, leaves)
    return leaves


def _same(lines, name, x, kind):
    """Whether a static argument is the same constant."""
    kept = lines.keep(x)
    test = f"{name}.__class__ is {lines.keep(type(x))} and {name} == {kept}"
    if type(x) not in (int, str, bool, bytes, type(None)):
        test += f" and {lines.keep(typed)}({name}) == {lines.keep(kind)}"
    return f"{name} is {kept} or ({test})"


def _take(lines, name, struct, kinds, leaves):
    if struct == tree.LEAF:
        kind = next(kinds)
        if kind[0] == "static":
            lines.require(f"{name}.__class__ is {lines.keep(kind[1])} and {name} == {lines.keep(kind[2])}")
            return
        if not kind[0]:
            _require_number(lines, name, *kind)
        elif len(kind) > PLAIN:                                # an array that lies in another order
            axes = kind[2]
            own = f"{name}.flags.fnc" if axes == tuple(reversed(range(len(axes)))) else f"memory_order({name}) == {axes}"
            lines.require(f"{name}.__class__ is ndarray and {own}")
            lines.lines.append(f"{name} = ascontiguousarray({name})")
        leaves.append(name)
        return
    for child, part in _parts(lines, name, struct):
        _take(lines, part, child, kinds, leaves)
    if _has_keys(struct):
        _require_order(lines, name, struct[1])


def _require_number(lines, name, shape, dtype, cls=None):
    """A number: of ``cls`` if it is one of Python's, else a scalar of NumPy's or an array; of either if ``cls`` is ``EITHER``."""
    if (shape, dtype) == PLAIN_FLOAT:
        if cls is not EITHER:
            lines.require(f"{name}.__class__ is {'not ' if cls is None else ''}float")
    elif cls is complex:                                       # the program itself does not read them
        lines.require("False")
    else:
        lines.require(f"{name}.__class__ is {lines.keep(dtype.type)} or {name}.__class__ is ndarray")
        lines.require(f"{name}.dtype is {lines.keep(dtype)}")


def _has_keys(struct):
    """Whether a structure is a dictionary whose order can be told."""
    return struct[0] is not None and issubclass(struct[0], dict) and len(struct[1]) > 1


def _require_order(lines, name, keys):
    """A program may see the order of the keys: it is for dictionaries of that order alone."""
    lines.require(f"(*{name},) == {lines.keep(getattr(keys, 'order', tuple(keys)))}")


def _parts(lines, name, struct):
    """The children of a container and the variables that hold them, once it is known to be one of that kind."""
    kind, meta, children = struct
    if kind is None:
        lines.require(f"{name} is None")
        return
    keyed = issubclass(kind, dict)
    fields = meta is not None and not keyed and dataclasses.is_dataclass(kind)
    lines.require(f"{name}.__class__ is {lines.keep(kind)}" + ("" if fields else f" and len({name}) == {len(children)}"))
    for i, child in enumerate(children):
        part = lines.name()
        place = f".{meta[i]}" if fields else f"[{lines.keep(meta[i])}]" if keyed else f"[{i}]"
        lines.lines.append(f"{part} = {name}{place}")
        yield child, part


def builder(struct):
    """Function from a list of leaves to the tree of a structure."""
    lines = _Lines()
    return lines.function("build", "x", [f"return {_expression(lines, struct, (f'x[{i}]' for i in range(10**9)))}"])


def _expression(lines, struct, leaf):
    """Expression of the tree of a structure; its leaves are expressions from an iterator."""
    if struct == tree.LEAF:
        return next(leaf)
    kind, meta, children = struct
    parts = [_expression(lines, c, leaf) for c in children]
    if kind is None:
        return "None"
    if kind is list:
        return f"[{', '.join(parts)}]"
    if kind is tuple:
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
    if kind is dict:
        return "{" + ", ".join(f"{lines.keep(k)}: {p}" for k, p in tree.in_order(meta, parts)) + "}"
    name = lines.keep(kind)
    if issubclass(kind, dict):
        items = ", ".join(f"{lines.keep(k)}: {p}" for k, p in tree.in_order(meta, parts))
        return f"{lines.keep(tree.dictionary)}({name}, {{{items}}})"
    if meta is None:
        return f"{name}([{', '.join(parts)}])"
    if issubclass(kind, tuple):
        return f"{name}({', '.join(parts)})"
    if hasattr(kind, "__post_init__"):
        return f"{lines.keep(tree.remade)}({name}, {meta!r}, ({', '.join(parts)},))"
    return f"{lines.keep(_remaker(kind, meta))}({', '.join(parts)})"


def _remaker(cls, fields):
    """``tree.remade`` written out for a dataclass that derives nothing from its fields."""
    lines = _Lines({"new": object.__new__, "set": object.__setattr__, "cls": cls})
    plain = cls.__setattr__ is object.__setattr__              # not of a frozen class
    sets = [f"made.{name} = x{i}" if plain else f"set(made, {name!r}, x{i})" for i, name in enumerate(fields)]
    return lines.function("remake", ", ".join(f"x{i}" for i in range(len(fields))), ["made = new(cls)", *sets, "return made"])

"""Algebra that holds in IEEE arithmetic and rearrangements that undo or repeat each other.

``0 * x`` stays: it is not 0 where x is infinite.  So does ``x + 0.0``, which is 0.0 where x is -0.0; ``x - 0.0`` and ``x + (-0.0)`` are x.
"""

import numpy as np

from ..core import REGISTRY, Const, Eqn, Var
from ..core.emission import Scalar
from .rewrite import Rewriting

RULES = {}
#: Functions whose value carries no sign of minus.
NEVER_NEGATIVE = frozenset(("abs", "cosh", "exp", "exp2", "hypot"))


def rule(*names):
    """Register ``f(find, out, *operands, **params)`` for primitives: returns None, an operand, or ``(name, operands, params)``."""

    def register(f):
        RULES.update(dict.fromkeys(names, f))
        return f

    return register


class Find:
    """Answers what a value is made of."""

    def __init__(self):
        self.eqn = {}

    def made_by(self, x, name):
        """The equation that computes x, if it is one of that primitive."""
        eqn = self.eqn.get(x) if isinstance(x, Var) else None
        return eqn if eqn is not None and eqn.prim.name == name else None

    def neg(self, x):
        """y where x is -y."""
        eqn = self.made_by(x, "neg")
        return None if eqn is None else eqn.inputs[0]

    def all_equal(self, x, number):
        """Whether x is known to hold one number everywhere."""
        if isinstance(x, Const):
            return x.value.size > 0 and x.value.dtype.kind in "fi" and bool((x.value == number).all())
        eqn = self.made_by(x, "broadcast_to")
        return eqn is not None and isinstance(eqn.inputs[0], Const) and self.all_equal(eqn.inputs[0], number)

    def all_negative(self, x):
        """Whether all numbers of what holds one number carry the sign of minus, as -0.0 does."""
        if isinstance(x, Const):
            return bool(np.signbit(x.value).all())
        return self.all_negative(self.made_by(x, "broadcast_to").inputs[0])

    def never_negative_zero(self, x):
        """Whether x is known not to be -0.0, to which adding 0.0 makes a difference."""
        if x.aval.dtype.kind not in "fc":
            return True
        if isinstance(x, Const):
            return x.value.dtype.kind == "f" and not bool((np.signbit(x.value) & (x.value == 0)).any())
        eqn = self.eqn.get(x)
        if eqn is None:
            return False
        name = eqn.prim.name
        if name in ("broadcast_to", "reshape", "transpose", "index"):
            return self.never_negative_zero(eqn.inputs[0])
        if name == "add":                                   # a sum is -0.0 where both operands are
            return any(map(self.never_negative_zero, eqn.inputs))
        square = name == "mul" and eqn.inputs[0] is eqn.inputs[1]
        return x.aval.dtype.kind == "f" and (square or name in NEVER_NEGATIVE or (name == "integer_pow" and eqn.params["n"] % 2 == 0))

    def same_part(self, v, x, at):
        """Whether v is the part of x at some places."""
        eqn = self.made_by(v, "index")
        return eqn is not None and eqn.inputs[0] is x and eqn.params["at"] == at

    def refilled(self, out, a, b):
        """``a + b`` where b holds numbers at places that were emptied in a, or in a summand of a, and zeros elsewhere.

        The adjoint of ``y[1:] += v`` is made of this: what flows into y is cut out and put back.
        """
        put = self.made_by(b, "embed")
        if put is None or a.aval != out or b.aval != out:
            return None
        (v,), at = put.inputs, put.params["at"]
        total = self.made_by(a, "add")
        for rest, hole in ((None, a), *zip(total.inputs, total.inputs[::-1], strict=True)) if total else ((None, a),):
            eqn = self.made_by(hole, "index_set")
            if eqn is None or eqn.params["at"] != at or hole.aval != out or not self.all_equal(eqn.inputs[1], 0):
                continue
            x = eqn.inputs[0]
            if rest is None:
                return x if self.same_part(v, x, at) else ("index_set", (x, v), {"at": at})
            if self.same_part(v, x, at):
                return "add", (rest, x), {}
        return None

    def thin(self, prim, inputs, params, out):
        """Operands without the repetitions that the operation does itself; None if there are none."""
        if len(inputs) == 1 or not isinstance(prim.emit, Scalar):
            return None
        thin = list(inputs)
        for i, x in enumerate(inputs):
            eqn = self.made_by(x, "broadcast_to")
            if eqn is not None:
                thin[i] = eqn.inputs[0]
                if np.broadcast_shapes(*[tuple(a.aval.shape) for a in thin]) != out.shape:
                    thin[i] = x
        if all(a is b for a, b in zip(thin, inputs, strict=True)) or prim.aval(*[x.aval for x in thin], **params) != out:
            return None
        return tuple(thin)


def simplify(graph):
    """Rewrite each equation by the rule of its primitive, once."""
    work, find = Rewriting(graph), Find()
    for eqn in graph.eqns:
        inputs = work.inputs(eqn)
        each = RULES.get(eqn.prim.name)
        better = each(find, eqn.outputs[0].aval, *inputs, **eqn.params) if each is not None else None
        thin = find.thin(eqn.prim, inputs, eqn.params, eqn.outputs[0].aval) if better is None and eqn.outputs else None
        if better is None:
            kept = work.keep(eqn, inputs if thin is None else thin)
            work.changed |= thin is not None
        elif type(better) is tuple:
            name, operands, params = better
            kept, work.changed = Eqn(REGISTRY[name], operands, params, eqn.outputs, eqn.line), True
            work.eqns.append(kept)
        else:
            work.replace(eqn.outputs[0], better)
            continue
        for v in kept.outputs:
            find.eqn[v] = kept
    return work.done()


# ---------------------------------------------------------------- arithmetic
@rule("add")
def _add(find, out, x, y):
    for a, b in ((x, y), (y, x)):
        if find.all_equal(b, 0) and a.aval == out and (find.all_negative(b) or find.never_negative_zero(a)):
            return a
        if find.neg(b) is not None:
            return "sub", (a, find.neg(b)), {}
        better = find.refilled(out, a, b)
        if better is not None:
            return better
    return None


@rule("sub")
def _sub(find, out, x, y):
    if find.all_equal(y, 0) and x.aval == out and (not find.all_negative(y) or find.never_negative_zero(x)):
        return x
    return ("add", (x, find.neg(y)), {}) if find.neg(y) is not None else None


@rule("mul")
def _mul(find, out, x, y):
    for a, b in ((x, y), (y, x)):
        if find.all_equal(b, 1) and a.aval == out:
            return a
        if find.all_equal(b, -1) and a.aval == out and out.dtype.kind == "f":
            return "neg", (a,), {}
    if find.neg(x) is not None and find.neg(y) is not None:
        return "mul", (find.neg(x), find.neg(y)), {}
    return None


@rule("div")
def _div(find, out, x, y):
    return x if find.all_equal(y, 1) and x.aval == out else None


@rule("neg")
def _neg(find, out, x):
    return find.neg(x)


@rule("pow")
def _pow(find, out, x, y):
    """Whole numbers to one known power: products, which wrap around as NumPy's powers do."""
    if out.dtype.kind != "i" or x.aval != out or not isinstance(y, Const) or y.value.size == 0:
        return None
    n = int(y.value.flat[0])
    return ("integer_pow", (x,), {"n": n}) if n >= 0 and find.all_equal(y, n) else None


@rule("integer_pow")
def _integer_pow(find, out, x, *, n):
    return x if n == 1 and x.aval == out else None


@rule("real", "conj")
def _real(find, out, x):
    """Of what is real: itself."""
    return x if x.aval == out and out.dtype.kind != "c" else None


@rule("where")
def _where(find, out, test, x, y):
    return x if x is y and x.aval == out else None


# ---------------------------------------------------------------- rearrangements
@rule("convert")
def _convert(find, out, x, *, dtype):
    return x if x.aval == out else None


def _composed(name):
    """Broadcasts of broadcasts, reshapes of reshapes: the last shape counts."""

    def simpler(find, out, x, *, shape):
        if x.aval == out:
            return x
        inner = find.made_by(x, name)
        return None if inner is None else (name, inner.inputs, {"shape": shape})

    return simpler


RULES.update({name: _composed(name) for name in ("broadcast_to", "reshape")})


@rule("transpose")
def _transpose(find, out, x, *, axes):
    if axes == tuple(range(len(axes))):
        return x
    inner = find.made_by(x, "transpose")
    return None if inner is None else ("transpose", inner.inputs, {"axes": tuple(inner.params["axes"][i] for i in axes)})


@rule("index")
def _index(find, out, x, *, at):
    """Of all of an array, or of what was just put there."""
    if out.shape == x.aval.shape and all(s == 1 for s in at.step):
        return x
    for name in ("index_set", "embed"):
        eqn = find.made_by(x, name)
        if eqn is not None and eqn.params["at"] == at and eqn.inputs[-1].aval == out:
            return eqn.inputs[-1]
    return None


@rule("index_set")
def _index_set(find, out, x, v, *, at):
    """Of what is there, or was written there before."""
    if find.same_part(v, x, at):
        return x
    before = find.made_by(x, "index_set")
    return ("index_set", (before.inputs[0], v), {"at": at}) if before is not None and before.params["at"] == at else None


@rule("concatenate")
def _concatenate(find, out, *x, axis):
    return x[0] if len(x) == 1 and x[0].aval == out else None


@rule("reduce_sum")
def _reduce_sum(find, out, x, *, axes):
    return x if not axes and x.aval == out else None


@rule("dot_general")
def _dot_general(find, out, a, b, *, contract, batch):
    """A product with a number; a transposition that leaves the order of the free axes is another numbering of the axes contracted."""
    if not contract[0] and () in (a.aval.shape, b.aval.shape):
        return "mul", (a, b), {}
    operands, contract, batch, changed = [a, b], list(contract), list(batch), False
    for side, x in enumerate((a, b)):
        inner = find.made_by(x, "transpose")
        if inner is None:
            continue
        axes = inner.params["axes"]
        free = [axes[i] for i in range(len(axes)) if i not in contract[side] and i not in batch[side]]
        if free == sorted(free):
            operands[side], changed = inner.inputs[0], True
            contract[side], batch[side] = tuple(axes[i] for i in contract[side]), tuple(axes[i] for i in batch[side])
    return ("dot_general", tuple(operands), {"contract": tuple(contract), "batch": tuple(batch)}) if changed else None

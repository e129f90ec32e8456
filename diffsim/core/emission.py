"""What an ``emit`` slot may hold.  ``diffsim.codegen`` gives the builder ``k`` its meaning; rows only call it.

``k`` makes scalars: ``k.add sub mul div neg`` and the functions of ``k.call(name, *x)``, ``k.select(c, a, b)``, ``k.compare(op, a, b)``,
``k.const(x, dtype)``.  An index is a tuple whose entries are Python ints (small arrays, unrolled) or loop counters, on which
``+ - * // %`` and comparisons work alike through ``k``.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Scalar:
    """``rule(k, *scalars, **params) -> scalar``: one element of the value from one element of each operand (broadcast)."""

    rule: Any


@dataclass(frozen=True, slots=True)
class Gather:
    """``rule(k, index, *operands, **params) -> scalar``: one element of the value; an operand is called with an index tuple.

    ``store(k, out, *operands, **params)``, where given, writes the whole value by loops and serves arrays too large to unroll:
    ``k.loop(shape, body)`` calls ``body(index)``; ``out.store(index, x)``, ``out.add(index, x)``.
    """

    rule: Any
    store: Any = None

"""What an ``emit`` slot may hold.  ``diffsim.codegen`` gives the builder ``k`` its meaning; rows only call it.

``diffsim.codegen.emissions.emission`` says how one equation lowers: it resolves ``Either``, and calls rows back (``Back``) wherever a dtype
is not one generated code computes in.

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

    ``moves`` says that each element is one element of an operand, or zero: it costs nothing where it is read.
    ``work(*avals, **params)`` is the number of scalar operations of the whole value, where it is not the size of its largest array.
    ``parts`` says that it reads or writes the parts of complex numbers (``k.part``, ``k.store_parts``), and computes in none.
    """

    rule: Any
    store: Any = None
    moves: bool = False
    work: Any = None
    parts: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A call into a linked stepping loop.

    ``rule(k, outs, ins, **params)`` writes it: ``outs`` and ``ins`` are buffers (for an opaque input: the number of its producer's
    request), ``k`` is ``diffsim.codegen.program.Caller``.

    ``inside`` says that it may also be called within the kernel of a stepping loop, where nobody answers requests and ``k.check`` does
    nothing: what it could not compute must be NaN.

    ``graphs(**params) -> tuple of Graph``, where given, are programs it carries, ready to be lowered: functions of the same module that the
    rule calls (``k.run(i, ins, outs)``), with requests of their own for the calls in them.

    ``cost(costs, **params) -> (flops, bytes)``: what it costs, from the costs of these programs; their sum if it is left out.
    ``work(avals_in, avals_out, **params) -> flops``: operations of a routine of a library.

    ``request(params, avals_in, avals_out)`` is what a call needs from the caller of the program (None: nothing), an object with

    ``words``
        Number of words (int64) of its table: addresses and sizes of memory too large, or too variable, for the stack.
    ``allocate() -> (words, memory)``
        Initial words, and an object that owns what they point to.
    ``grow(status, words, memory) -> bool``
        After a run that ended with a status: whether memory was enlarged (``words``, an int64 array, and ``memory`` changed in place), so
        that the program is to be run again.
    ``error(status, words, memory) -> Exception``
        What to raise otherwise.
    ``export(words, memory) -> object``
        The opaque output as an object of its own, with ``words`` for a program that takes it as an input.
    """

    rule: Any
    request: Any
    inside: bool = False
    graphs: Any = None
    cost: Any = None
    work: Any = None


@dataclass(frozen=True, slots=True)
class Either:
    """``choose(avals_in, avals_out, **params)`` says which of several emissions serves operands of these shapes and dtypes.

    ``how`` names them for readers.
    """

    choose: Any
    how: str


@dataclass(frozen=True, slots=True)
class Back:
    """Compiled code calls the row's own ``impl`` back, on arrays that lie in the program's memory; ``why`` says why it is not code."""

    why: str

"""Loops whose last vector is filled in part: where processors mask lanes at no cost, no rest is left to be done number by number.

A row of 62 numbers is seven vectors of eight and six single numbers, which take as long as the vectors; with masks it is eight vectors (the
adjoint of heat on a grid of 64 x 64: 6.4 us, 7.2 us without). Loops shorter than two vectors stay as they are: masked, those of Pleiades
took 0.35 us in some processes and 0.83 us in most, 0.43 us without.
"""

from .access import Indices
from .fuse import in_vectors
from .nest import FLOAT, Store, Value
from .scalars import Special

#: Numbers in a vector; loops of so many iterations are masked: in longer ones the rest does not count.
LANES, LEAST, MOST = 8, 16, 256
PREDICATED = '!"llvm.loop.vectorize.predicate.enable", i1 true'


def masks(loop):
    """Hints for LLVM, none where the loop is better off with a rest.

    Parameters
    ----------
    loop : nest.Loop
        Without loops inside.
    """
    n, indices = loop.stop - loop.start, Indices()
    if not (LEAST <= n < MOST and n % LANES and all(_in_lanes(s, loop, indices) for s in loop.body.statements)):
        return ()
    return (PREDICATED,)


def _in_lanes(s, loop, indices):
    """Whether a statement is arithmetic of doubles, or reads or writes neighbours in memory."""
    if type(s) is Store:
        return s.buffer.dtype is FLOAT and _step(s.index, loop, indices) == 1
    if not isinstance(s, Value) or type(s.op) is Special or in_vectors(s.op) or s.op in ("idiv", "irem"):
        return False
    return s.op != "load" or (s.args[0].dtype is FLOAT and _step(s.args[1], loop, indices) in (0, 1))


def _step(index, loop, indices):
    """Elements from one iteration to the next; None where it differs."""
    terms = indices(index).terms
    inside = any(v is not loop.counter and getattr(v, "block", None) is loop.body for v in terms)
    return None if inside else terms.get(loop.counter, 0)

"""Primitives: one object an operation, its rules in slots.

A slot holds a rule or ``Absent("why")``, never nothing, so that what a primitive lacks is a question with an answer.

======================================  =========================================================================
slot                                    rule
======================================  =========================================================================
``impl(*x, **params)``                  the value, by NumPy
``aval(*avals, **params)``              shape and dtype of the value
``jvp(x, y, x_dot, **params)``          tangent of the value; ``x_dot[i] is None`` is a zero tangent; None for zero
``transpose(y_bar, *x, **params)``      cotangents, one an operand (None where not linear); a linear operand arrives
                                        as ``Linear(aval)``
``batch(n, batched, *x, **params)``     the value for ``n`` members at once: operand i has a leading axis of length n where
                                        ``batched[i]``, and so has the value; Absent, or a rule that returns NotImplemented:
                                        the members are computed one by one
``sparsity(i, *x, **params)``           ``(rows, columns)``: which elements of the value (flat) depend on which elements of
                                        the linear operand i, or a chain ``[(rows, columns, size), ...]`` of such maps; of
                                        the other operands integers and zeros count; Absent: all on all
``emit``                                how code generation computes it (see ``diffsim.codegen``)
``samples``                             where the laws try it
======================================  =========================================================================
"""

from dataclasses import dataclass

from ..errors import MissingRule
from .aval import Aval
from .tracer import ArrayTracer, Tracer, user_line

REGISTRY = {}


@dataclass(frozen=True, slots=True)
class Absent:
    """A rule that is not there, and why."""

    why: str


#: The slots every primitive has.
SLOTS = ("impl", "aval", "jvp", "transpose", "batch", "sparsity", "emit", "samples")
ONE_BY_ONE = Absent("its members are computed one by one")
DENSE = Absent("each element of the value is taken to depend on each element of the operand")


@dataclass(frozen=True, slots=True)
class Linear:
    """Stands for an operand a primitive is being transposed in: only its shape and dtype are known."""

    aval: Aval

    @property
    def shape(self):
        return self.aval.shape

    @property
    def dtype(self):
        return self.aval.dtype

    @property
    def ndim(self):
        return len(self.aval.shape)

    @property
    def size(self):
        return self.aval.size


class Primitive:
    """An operation with its rules.

    Parameters
    ----------
    name : str
        Unique; what graphs print.
    impl, aval, jvp, transpose, batch, sparsity, emit, samples : rule or Absent
        See the module docstring.
    multiple : bool
        The value is a tuple of values.
    derivs : tuple, optional
        For elementwise primitives: the partial derivative in each operand, as ``deriv(*x, y)``, or 1 or -1 or None (zero).
    late : "x" or "y", optional
        For elementwise primitives of one operand: the derivative is a function of the operand alone, or of the value alone, and gives no
        floating-point warning the value does not give, so that it may be computed as late as in the backward pass.
    quick : callable, optional
        What ``impl`` computes, for operands of which one is a NumPy array or number: operators cost scalars a tenth of a ufunc.
    linear_fast : callable, optional
        ``scatter(accumulator, y_bar, *x, **params)``: adds the cotangent of operand 0 into an array in place.
    prepare : callable, optional
        ``prepare(x, active, params) -> params``: called before the value is computed by a transform that is about to
        differentiate in the operands marked active.
    together : callable, optional
        ``together(x, x_dot, **params) -> (y, y_dot)``: value and tangent in one go, for forward mode; for primitives whose tangent
        would otherwise compute the value again.
    ruled : callable, optional
        ``ruled(x, x_dot, reverse, **params) -> (y, y_dot)``: value and tangent by a user's rules, called instead of all else by a
        transform that differentiates; ``reverse`` says that the tangent will be transposed.
    body : callable, optional
        ``body(*avals, **params) -> Graph``: the program the primitive stands for; code is generated from that.
    effort : callable, optional
        ``effort(args, params) -> (once, each, back)``: what an equation of a linear list costs, run forwards on k tangents (once + k each)
        and backwards on one cotangent; for primitives that are dear beside all others.
    lean : callable, optional
        ``lean(eqn, needed, maker)``: a smaller form of an equation of which only the marked values are needed (``passes/lean.py``).
    """

    __slots__ = ("aval", "batch", "body", "derivs", "effort", "emit", "impl", "jvp", "late", "lean", "linear_fast", "multiple", "name",
                 "plain_derivs", "prepare", "quick", "ruled", "samples", "sparsity", "together", "transpose")

    def __init__(self, name, *, impl, aval, jvp, transpose, emit, samples, batch=ONE_BY_ONE, sparsity=DENSE, multiple=False, derivs=None,
                 late=None, quick=None, linear_fast=None, prepare=None, together=None, ruled=None, body=None, lean=None, effort=None):
        if name in REGISTRY:
            raise ValueError(f"a primitive named {name!r} exists already")
        self.name, self.impl, self.aval, self.jvp, self.transpose = name, impl, aval, jvp, transpose
        self.emit, self.samples, self.multiple = emit, samples, multiple
        self.batch, self.sparsity = batch, sparsity
        self.derivs, self.late, self.quick, self.linear_fast, self.prepare = derivs, late, quick or impl, linear_fast, prepare
        self.plain_derivs, self.together, self.ruled, self.body = None, together, ruled, body
        self.lean, self.effort = lean, effort
        for slot in SLOTS:
            rule = getattr(self, slot)
            if rule is None:
                raise ValueError(f"primitive {name!r}: slot {slot!r} is empty; give a rule or Absent('why')")
        REGISTRY[name] = self

    def rule(self, slot):
        """The rule in a slot.

        Raises
        ------
        MissingRule
            The slot says Absent.
        """
        rule = getattr(self, slot)
        if isinstance(rule, Absent):
            raise MissingRule(self.name, slot, f"{rule.why} (asked for at {user_line()})")
        return rule

    @property
    def digest(self):
        """What programs that use it are told apart by: equal names mean equal rules."""
        return self.name

    def __call__(self, *args, **params):
        return bind(self, args, params)

    def __repr__(self):
        return f"<primitive {self.name}>"


def bind(prim, args, params):
    """Apply a primitive under the interpretation of the highest level among its operands."""
    top, level = None, -1
    for x in args:
        kind = x.__class__                                # the two classes there are; isinstance costs twice as much
        if (kind is ArrayTracer or kind is Tracer) and x.owner.level > level:
            top, level = x.owner, x.owner.level
    if top is None:
        return prim.impl(*args, **params)
    if not top.alive:
        top.escaped(prim)
    return top.process(prim, args, params)

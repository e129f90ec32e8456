"""What rows share: where samples are drawn, and the families `linear` and `nondifferentiable`.

The elementwise family stands in ``elementwise.py``, beside its rows.
"""

import numpy as np

from ..core import DENSE, ONE_BY_ONE, Absent, Aval, Primitive

SHAPES_1 = ((), (3,), (2, 3), (0,))
SHAPES_2 = (((), ()), ((3,), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 2)), ((0, 3), (3,)))
SHAPES_3 = (((), (), ()), ((3,), (3,), (3,)), ((2, 3), (3,), ()), ((2, 1), (1, 3), (2, 3)))

#: Where an operand is drawn: (low, high, signs mixed), and for operands that must not tie the offset of a lattice of spacing 1/2.
REAL, POSITIVE, NONZERO = (-2.0, 2.0, False), (0.3, 3.0, False), (0.4, 2.0, True)
HALVES, QUARTERS = (-2.0, 2.0, False, 0.0), (-2.0, 2.0, False, 0.25)
UNIT, ABOVE_ONE, MODEST = (-0.9, 0.9, False), (1.2, 3.0, False), (-1.2, 1.2, False)

NOT_LINEAR = Absent("it is not linear: reverse mode transposes its tangent program instead")


def draw(rng, domain, shape):
    """A sample of an operand."""
    low, high, signed, *lattice = domain
    x = rng.uniform(low, high, shape)
    if lattice:
        return np.asarray(np.round(2.0 * x) / 2.0 + lattice[0])
    return np.asarray(np.where(rng.integers(0, 2, shape) == 1, -x, x) if signed else x)


def draw_complex(rng, domain, shape):
    """A complex sample: its real part drawn from the domain, its imaginary part between -1/2 and 1/2."""
    return np.asarray(draw(rng, domain, shape) + 1j * rng.uniform(-0.5, 0.5, shape))


def elementwise_samples(*domains, analytic=False):
    """Draws operands over scalars, vectors, broadcasts and empty arrays; for analytic functions also complex ones."""
    shapes = {1: tuple((s,) for s in SHAPES_1), 2: SHAPES_2, 3: SHAPES_3}[len(domains)]

    def samples(rng):
        out = [(tuple(draw(rng, d, s) for d, s in zip(domains, each, strict=True)), {}) for each in shapes]
        if analytic:
            out += [(tuple(draw_complex(rng, d, s) for d, s in zip(domains, each, strict=True)), {}) for each in shapes]
            if len(domains) > 1:                            # a real operand beside a complex one
                real, *rest = [draw_complex(rng, d, (3,)) for d in domains]
                out += [((real.real, *rest), {}), ((real, rest[0].real, *rest[1:]), {})]
        return out
    return samples


def shaped(*cases, domain=REAL):
    """Draws one operand for each ``(shape, params)``."""
    return lambda rng: [((draw(rng, domain, shape),), params) for shape, params in cases]


def broadcast_shapes(*shapes):
    """Shape of the broadcast, as NumPy."""
    first = shapes[0]
    return first if all(s == first for s in shapes) else np.broadcast_shapes(*shapes)


def same(*avals, **params):
    """Aval of an operation that keeps its first operand's."""
    return avals[0]


def zeros(aval):
    """Array of zeros of an aval."""
    return np.zeros(aval.shape, aval.dtype)


def linear(name, *, impl, aval, transpose, emit, samples, batch=ONE_BY_ONE, sparsity=DENSE, linear_fast=None):
    """A primitive linear in all its operands at once: its tangent is itself, of the tangents.

    ``transpose(y_bar, *x, **params)`` and the other slots as in ``Primitive``.
    """
    def jvp(x, y, x_dot, **params):
        return prim(*[zeros(a.aval if hasattr(a, "aval") else a) if t is None else t for a, t in zip(x, x_dot, strict=True)], **params)

    prim = Primitive(name, impl=impl, aval=aval, jvp=jvp, transpose=transpose, batch=batch, sparsity=sparsity, emit=emit, samples=samples,
                     linear_fast=linear_fast)
    return prim


def nondifferentiable(name, *, impl, aval, emit, samples, batch=ONE_BY_ONE):
    """A primitive whose value is locally constant: its tangent is zero."""
    return Primitive(name, impl=impl, aval=aval, jvp=lambda x, y, x_dot, **params: None, transpose=NOT_LINEAR, batch=batch, emit=emit,
                     samples=samples)


def shifted(axes):
    """Axes of a member as axes of the batch, whose members lie along axis 0."""
    return tuple(i + 1 for i in axes)


__all__ = ["ABOVE_ONE", "HALVES", "MODEST", "NONZERO", "NOT_LINEAR", "POSITIVE", "QUARTERS", "REAL", "UNIT", "Aval", "broadcast_shapes",
           "draw", "draw_complex", "elementwise_samples", "linear", "nondifferentiable", "same", "shaped", "shifted", "zeros"]

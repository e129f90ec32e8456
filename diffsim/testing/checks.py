"""Checks of derivatives for users: of a function, of a primitive's rules, of a gradient by its Taylor remainder."""

import itertools

import numpy as np

from .. import tree
from ..api import jvp, vjp
from ..core import Primitive
from ..errors import InputError, InputTypeError
from .laws import LAWS, close, inner, richardson, samples

#: Below this the first-order Taylor remainder does not fall as h².
LOWEST_ORDER = 1.8
#: Differences that scatter by this many tolerances are no judge.
ROUGHNESS = 100.0


def _generator(rng):
    return np.random.default_rng(0) if rng is None else rng


def _direction(x, rng):
    """A random direction, each leaf of the size of what it moves (1 where that is 0)."""
    def draw(a):
        v = rng.uniform(-1, 1, np.shape(a)) * np.where(np.asarray(a) == 0, 1.0, np.abs(a))
        return v if np.ndim(a) else float(v)
    return tree.map(draw, x)


#: What to do when a function is not smooth enough for differences.
ROUGH = ("Differences of an adaptive solve see its steps move: freeze them with solve_ivp(..., steps=sol.mesh), or tighten rtol and atol. "
         "Otherwise the function has a kink or noise near this point.")


def _differences(f, point, along):
    """Derivative along a direction by Richardson extrapolation, and how far its last two stages lie apart."""
    fine, coarse = richardson(f, point, along), richardson(f, point, along, h=4e-3)
    return fine, [float(np.max(np.abs(a - b), initial=0.0)) for a, b in zip(fine, coarse, strict=True)]


def _flat_function(f, args):
    """``f`` on lists of leaves, returning a list of leaves."""
    structure = tree.structure(args)

    def flat(point):
        return [np.asarray(y) for y in tree.leaves(f(*tree.unflatten(structure, point)))]
    return flat


def check_grads(f, args, order=2, modes=("fwd", "rev"), atol=1e-6, rtol=1e-6, *, rng=None):
    """Check derivatives of a function against differences, along one random direction.

    Parameters
    ----------
    f : callable
        Of pytrees of floating-point arrays.
    args : tuple of pytree
        Where to check.
    order : int
        How many derivatives: the check is repeated on the derivative itself.
    modes : sequence of {"fwd", "rev"}
    atol, rtol : float
        Allowed error, absolute and relative to the largest component.
    rng : numpy.random.Generator, optional
        Draws the direction.

    Raises
    ------
    AssertionError
        A derivative differs, or the function is too rough for differences to judge; the message says which.
    InputError
        A mode that does not exist, or an order below one.

    Notes
    -----
    Differences of a loss over an adaptive solve see its step sizes move, which the derivative does not: give the solve ``steps=sol.mesh``.
    """
    if not isinstance(args, tuple):
        raise InputTypeError("check_grads: args is a tuple of arguments; write (x,) for one")
    unknown = set(modes) - {"fwd", "rev"}
    if unknown or order < 1:
        raise InputError(f"check_grads: modes are 'fwd' and 'rev' and order is at least 1; got modes={modes!r}, order={order!r}")
    rng = _generator(rng)
    v = _direction(args, rng)
    point, along = ([np.asarray(a, float) for a in tree.leaves(x)] for x in (args, v))
    numeric, scatter = _differences(_flat_function(f, args), point, along)
    tol = max(atol, rtol)
    size = 1.0 + max((float(np.max(np.abs(x), initial=0.0)) for x in numeric), default=0.0)
    if max(scatter, default=0.0) > ROUGHNESS * tol * size:
        raise AssertionError(f"check_grads: differences cannot judge this function here: they scatter by {max(scatter):.3g} around a "
                             f"derivative of size {size - 1:.3g}. {ROUGH}")
    tol += max(scatter, default=0.0) / size
    if "fwd" in modes:
        close([np.asarray(t) for t in tree.leaves(jvp(f, args, v)[1])], numeric, tol, "forward derivative against differences")
        if order > 1:
            check_grads(lambda *a: jvp(f, a, v)[1], args, order - 1, modes, atol, rtol, rng=rng)
    if "rev" in modes:
        y, pullback = vjp(f, *args)
        w = _direction(y, rng)
        left, scale = inner([np.asarray(a) for a in tree.leaves(w)], numeric)
        right, _ = inner([np.asarray(a) for a in tree.leaves(pullback(w))], along)
        if not abs(left - right) <= tol * (1.0 + scale):
            raise AssertionError(f"reverse derivative against differences: <w, J v> = {left!r} by differences but <J' w, v> = {right!r}")
        if order > 1:
            check_grads(lambda *a: vjp(f, *a)[1](w), args, order - 1, modes, atol, rtol, rng=rng)


def check_primitive(prim, *, rng=None):
    """Check every law of a primitive on every sample its row offers.

    Parameters
    ----------
    prim : Primitive
    rng : numpy.random.Generator, optional

    Returns
    -------
    int
        How many samples were checked.

    Raises
    ------
    AssertionError
        A law is broken; the message names the law and the sample.
    InputError
        The row offers no sample.
    """
    if not isinstance(prim, Primitive):
        raise InputTypeError(f"check_primitive: a Primitive is needed, not a {type(prim).__name__}")
    rng = _generator(rng)
    drawn = samples(prim, rng)
    if not drawn:
        raise InputError(f"check_primitive: `{prim.name}` offers no samples: {getattr(prim.samples, 'why', 'the list is empty')}")
    for sample in drawn:
        for law in LAWS:
            try:
                law(sample, rng)
            except AssertionError as error:
                where = f"shapes {[np.shape(a) for a in sample.x]}, parameters {sample.params}"
                raise AssertionError(f"{law.__name__} is broken by `{prim.name}` at {where}: {error}") from error
    return len(drawn)


def taylor_test(f, x, v=None, *, h=1e-2, halvings=4, rng=None):
    """Order at which the first-order Taylor remainder of a scalar function falls: 2 for a right gradient.

    The remainder ``|f(x + h v) - f(x) - h <grad f(x), v>|`` is measured while h is halved.

    Parameters
    ----------
    f : callable
        Of one pytree, returning a scalar.
    x, v : pytree
        A point, and a direction (random if left out).
    h : float
        First step.
    halvings : int
        How often it is halved.

    Returns
    -------
    float
        The order at the finest steps above rounding; ``inf`` if the remainder is rounding from the start (a linear function).

    Raises
    ------
    AssertionError
        The order is below 1.8.
    InputError
        The function does not return a scalar.

    Notes
    -----
    A loss over an adaptive solve must be given its steps (``steps=sol.mesh``): otherwise they move with x, and the order seen is theirs.
    """
    rng = _generator(rng)
    v = _direction(x, rng) if v is None else v
    value, slope = jvp(f, (x,), (v,))
    if np.ndim(value):
        raise InputError(f"taylor_test: the function returned an array of shape {np.shape(value)}; a scalar is needed: sum it, or use "
                         f"check_grads")
    value, slope = float(value), float(slope)
    steps = [h / 2**k for k in range(halvings + 1)]
    remainders = [abs(float(f(tree.map(lambda a, t, s=s: a + s * t, x, v))) - value - s * slope) for s in steps]
    floor = 1e3 * np.finfo(float).eps * (abs(value) + abs(h * slope))
    rates = [np.log2(a / b) for a, b in itertools.pairwise(remainders) if b > floor]
    order = float(rates[-1]) if rates else float("inf")     # the finest: coarser steps may still feel the cubic term
    if order < LOWEST_ORDER:
        raise AssertionError(f"taylor_test: the remainder falls with order {order:.2f}, not 2: the gradient is wrong, or the function is "
                             f"rough. {ROUGH} Remainders {remainders} at steps {steps}")
    return order


__all__ = ["check_grads", "check_primitive", "taylor_test"]

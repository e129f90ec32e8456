"""Checks of derivatives for users: of a function, of a primitive's rules, of a gradient by its Taylor remainder."""

import itertools

import numpy as np

from .. import tree
from ..api import hvp, jvp, vjp
from ..core import Primitive
from ..core.aval import is_float
from ..errors import InputError, InputTypeError
from ..numpy import rebound
from ..numpy.stacking import holds_traced
from .laws import EXACT_LAWS, LAWS, close, inner, richardson, samples, variants

#: Below this the first-order Taylor remainder does not fall as h².
LOWEST_ORDER = 1.8
#: Differences that scatter by this many tolerances are no judge.
ROUGHNESS = 100.0


def _generator(rng):
    return np.random.default_rng(0) if rng is None else rng


def _direction(x, rng):
    """A random direction, each leaf of the size of what it moves (1 where that is 0)."""
    def draw(a):
        a = np.asarray(a)
        v = rng.uniform(-1, 1, a.shape) * np.where(a == 0, 1.0, np.abs(a))
        if a.dtype.kind == "c":
            v = v * np.exp(1j * rng.uniform(-np.pi, np.pi, a.shape))
        return v.astype(np.result_type(a.dtype, np.float32))[()]
    return tree.map(draw, x)


#: What to do when a function is not smooth enough for differences.
ROUGH = ("Differences of an adaptive solve see its steps move: freeze them with solve_ivp(..., steps=sol.mesh), or tighten rtol and atol. "
         "Otherwise the function has a kink or noise near this point.")


def _differences(f, point, along):
    """Derivative along a direction by Richardson extrapolation, and how far its last two stages lie apart."""
    fine, coarse = richardson(f, point, along), richardson(f, point, along, h=4e-3)
    return fine, [float(np.max(np.abs(a - b), initial=0.0)) for a, b in zip(fine, coarse, strict=True)]


def _paths(struct, name):
    """Names of the leaves of a structure, as one would write them."""
    if struct == tree.LEAF:
        return [name]
    kind, meta, children = struct
    if kind is not None and (issubclass(kind, dict) or meta is None):
        steps = [f"[{k!r}]" for k in (meta if meta is not None else range(len(children)))]
    else:
        steps = [f".{n}" for n in meta or ()]
    return [path for step, child in zip(steps, children, strict=True) for path in _paths(child, name + step)]


def _carries(x):
    """Whether a leaf carries a derivative."""
    return isinstance(x, (float, complex)) or (hasattr(x, "dtype") and is_float(x.dtype))


class _Moving:
    """A function of the leaves that carry a derivative, returning those of its value that do."""

    def __init__(self, f, args):
        leaves, self.struct = tree.flatten(args)
        self.f, self.leaves, self.on = f, leaves, [_carries(x) for x in leaves]
        self.point = [x for x, on in zip(leaves, self.on, strict=True) if on]
        paths = [path for i, arg in enumerate(args) for path in _paths(tree.structure(arg), f"argument {i}")]
        self.names = [path for path, on in zip(paths, self.on, strict=True) if on]

    def value(self, point):
        """The value's tree, at other leaves."""
        f = rebound(self.f) if holds_traced(list(point)) else self.f       # transforms do not reach through our code
        point = iter(point)
        return f(*tree.unflatten(self.struct, [next(point) if on else x for x, on in zip(self.leaves, self.on, strict=True)]))

    def __call__(self, *point):
        return [y for y in tree.leaves(self.value(point)) if _carries(y)]

    def out_names(self):
        leaves, struct = tree.flatten(self.value(self.point))
        return [path for path, y in zip(_paths(struct, "the value"), leaves, strict=True) if _carries(y)]


def check_grads(f, args, order=2, modes=("fwd", "rev"), atol=1e-6, rtol=1e-6, *, rng=None):
    """Check derivatives of a function against differences, along one random direction.

    Parameters
    ----------
    f : callable
        Of pytrees; real or complex.  Leaves that are no floating-point numbers are passed over, in arguments and in the value.
    args : tuple of pytree
        Where to check.  In single precision derivatives are compared with differences in double precision, to 5e-3.
    order : int
        How many derivatives: the check is repeated on the derivative itself.
    modes : sequence of {"fwd", "rev"}
    atol, rtol : float
        Allowed error, absolute and relative to the largest component.
    rng : numpy.random.Generator, optional
        Draws the direction; that of complex leaves has real and imaginary parts.

    Raises
    ------
    AssertionError
        A derivative differs, or the function is too rough for differences to judge; the message says which, and at which leaf.
    InputError
        A mode that does not exist, an order below one, or nothing to differentiate.

    Notes
    -----
    Differences of a loss over an adaptive solve see its step sizes move, which the derivative does not: give the solve ``steps=sol.mesh``.
    Complex derivatives are paired without conjugation: Re(sum(w J v)).
    """
    if not isinstance(args, tuple):
        raise InputTypeError("check_grads: args is a tuple of arguments; write (x,) for one")
    unknown = set(modes) - {"fwd", "rev"}
    if unknown or order < 1:
        raise InputError(f"check_grads: modes are 'fwd' and 'rev' and order is at least 1; got modes={modes!r}, order={order!r}")
    moving = _Moving(f, args)
    if not moving.point:
        raise InputError("check_grads: no argument holds floating-point numbers, so there is nothing to differentiate")
    single = any(getattr(x, "dtype", None) in (np.float32, np.complex64) for x in [*moving.point, *moving(*moving.point)])
    tol = max(atol, rtol, SINGLE if single else 0.0)
    _check(moving, moving.point, moving.names, moving.out_names(), order, modes, tol, _generator(rng))


#: Allowed error of derivatives in single precision.
SINGLE = 5e-3


def _doubled(x):
    x = np.asarray(x)
    return x.astype(np.result_type(x.dtype, np.float64))


def _check(f, x, names, out_names, order, modes, tol, rng):
    """Check a function of flat leaves; ``f(*x) -> list``."""
    v = _direction(x, rng)
    point, along = [_doubled(a) for a in x], [_doubled(t) for t in v]
    numeric, scatter = _differences(lambda p: [np.asarray(y) for y in f(*p)], point, along)
    size = 1.0 + max((float(np.max(np.abs(y), initial=0.0)) for y in numeric), default=0.0)
    if max(scatter, default=0.0) > ROUGHNESS * tol * size:
        raise AssertionError(f"check_grads: differences cannot judge this function here: they scatter by {max(scatter):.3g} around a "
                             f"derivative of size {size - 1:.3g}. {ROUGH}")
    allowed = tol + max(scatter, default=0.0) / size
    if "fwd" in modes:
        for got, wanted, name in zip(jvp(lambda *a: f(*a), tuple(x), tuple(v))[1], numeric, out_names, strict=True):
            close([np.asarray(got)], [wanted], allowed, f"forward derivative of {name} against differences")
        if order > 1:
            _check(lambda *a: jvp(lambda *b: f(*b), a, tuple(v))[1], x, names, out_names, order - 1, modes, tol, rng)
    if "rev" in modes:
        y, pullback = vjp(lambda *a: f(*a), *x)
        w = _direction(y, rng)
        bars = pullback(w)
        left, scale = inner([np.asarray(a) for a in w], numeric)
        right, _ = inner([np.asarray(a) for a in bars], along)
        if not abs(left - right) <= allowed * (1.0 + scale):
            raise AssertionError(f"reverse derivative against differences: <w, J v> = {left!r} by differences but <J' w, v> = {right!r}; "
                                 f"it is wrong in {_culprits(f, point, along, w, bars, names, allowed)}")
        if order > 1:
            _check(lambda *a: list(vjp(lambda *b: f(*b), *a)[1](w)), x, names, names, order - 1, modes, tol, rng)


def _culprits(f, point, along, w, bars, names, allowed):
    """Leaves whose cotangent is wrong by themselves."""
    found = []
    for i, name in enumerate(names):
        numeric = richardson(lambda p: [np.asarray(y) for y in f(*p)], point, [t if k == i else 0 * t for k, t in enumerate(along)])
        left, scale = inner([np.asarray(a) for a in w], numeric)
        right, _ = inner([np.asarray(bars[i])], [along[i]])
        if not abs(left - right) <= allowed * (1.0 + scale):
            found.append(f"{name} ({right!r}, not {left!r})")
    return ", ".join(found) or "no leaf alone"


def check_primitive(prim, *, rng=None):
    """Check every law of a primitive on every sample its row offers, and the exact ones on variants of it.

    Variants are the sample in single precision, with operands that are not contiguous, and with one-element operands.

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
    trials = [(law, sample, "") for sample in drawn for law in LAWS]
    trials += [(law, other, f", {how}") for sample in drawn for how, other in variants(sample) for law in EXACT_LAWS]
    for law, sample, how in trials:
        try:
            law(sample, rng)
        except AssertionError as error:
            where = f"shapes {[np.shape(a) for a in sample.x]}{how}, parameters {sample.params}"
            raise AssertionError(f"{law.__name__} is broken by `{prim.name}` at {where}: {error}") from error
    return len(drawn)


def taylor_test(f, x, v=None, *, order=1, h=1e-2, halvings=4, rng=None):
    """Order at which the Taylor remainder of a scalar function falls: 2 for a right gradient, 3 for a right Hessian.

    The remainder ``|f(x + h v) - f(x) - h <grad f(x), v>|``, less ``h²/2 <v, H v>`` where ``order`` is 2, is measured while h is halved.

    Parameters
    ----------
    f : callable
        Of one pytree, returning a scalar.
    x, v : pytree
        A point, and a direction (random if left out).
    order : {1, 2}
        Derivatives to test: the gradient, or the gradient and the Hessian-vector product.
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
        It is below 1.8, or below 2.8 where ``order`` is 2.
    InputError
        The function does not return a scalar.

    Notes
    -----
    A loss over an adaptive solve must be given its steps (``steps=sol.mesh``): otherwise they move with x, and the order seen is theirs.
    """
    if order not in (1, 2):
        raise InputError(f"taylor_test: order is 1 or 2, not {order!r}")
    rng = _generator(rng)
    v = _direction(x, rng) if v is None else v
    value, slope = jvp(f, (x,), (v,))
    if np.ndim(value):
        raise InputError(f"taylor_test: the function returned an array of shape {np.shape(value)}; a scalar is needed: sum it, or use "
                         f"check_grads")
    value, slope, bend = float(value), float(slope), 0.0
    if order > 1:
        bend = inner([np.asarray(a) for a in tree.leaves(hvp(f, (x,), (v,)))], [np.asarray(a) for a in tree.leaves(v)])[0]
    steps = [h / 2**k for k in range(halvings + 1)]
    remainders = [abs(float(f(tree.map(lambda a, t, s=s: a + s * t, x, v))) - value - s * slope - 0.5 * s**2 * bend) for s in steps]
    floor = 1e3 * np.finfo(float).eps * (abs(value) + abs(h * slope) + h * h * abs(bend))
    rates = [np.log2(a / b) for a, b in itertools.pairwise(remainders) if b > floor]
    rate = float(rates[-1]) if rates else float("inf")      # the finest: coarser steps may still feel the next term
    if rate < LOWEST_ORDER + order - 1:
        raise AssertionError(f"taylor_test: the remainder falls with order {rate:.2f}, not {order + 1}: the "
                             f"{'gradient' if order == 1 else 'Hessian'} is wrong, or the function is rough. {ROUGH} Remainders "
                             f"{remainders} at steps {steps}")
    return rate


__all__ = ["check_grads", "check_primitive", "taylor_test"]

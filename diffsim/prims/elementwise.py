"""Elementwise primitives: one row each, its NumPy ufunc, its derivatives, its emitted expression, where it is sampled.

A derivative is ``deriv(*x, y)`` of the operands and the value; ``1`` and ``-1`` say the tangent passes as it is or negated, ``None`` that
it is zero.  Conventions at kinks and ties are those of docs/conventions: 0 for abs at 0, the average for ties of maximum and minimum.
"""

import operator
from functools import lru_cache

import numpy as np

from ..core import PRIMITIVE_OF, UFUNCS, Aval, Linear, Primitive, user_line
from ..core.emission import Scalar
from ..errors import MissingRule
from .complexes import imag, real
from .family import (
    ABOVE_ONE,
    HALVES,
    MODEST,
    NONZERO,
    NOT_LINEAR,
    POSITIVE,
    QUARTERS,
    REAL,
    UNIT,
    broadcast_shapes,
    draw,
    elementwise_samples,
    nondifferentiable,
)
from .layout import aligned, like, unbroadcast
from .positions import same_place


@lru_cache(maxsize=4096)
def _resolved(ufunc, dtypes):
    return ufunc.resolve_dtypes((*dtypes, None))[-1]


def ufunc_aval(ufunc):
    """Aval rule of an elementwise NumPy ufunc."""
    def aval(*x):
        return Aval(broadcast_shapes(*[a.shape for a in x]), _resolved(ufunc, tuple(a.dtype for a in x)))
    return aval


def elementwise_jvp(derivs):
    """Tangent rule: the sum over operands of derivative times tangent, in the shape and dtype of the value."""
    def jvp(x, y, x_dot, **params):
        total = None
        for d, t in zip(derivs, x_dot, strict=True):
            if t is None or d is None:
                continue
            term = t if d == 1 else neg(t) if d == -1 else mul(d(*x, y, **params), t)
            total = term if total is None else add(total, term)
        return None if total is None else like(total, y)
    return jvp


def batch_elementwise(prim):
    """Batch rule of an elementwise primitive; ``prim`` is a function that gives it, as the row is not made yet."""
    return lambda n, batched, /, *x, **params: prim()(*aligned(batched, x), **params)


def elementwise(name, ufunc, *derivs, emit, domain, transpose=NOT_LINEAR, aval=None, impl=None, quick=None, analytic=False,
                late=None):
    """A row: ``emit`` is the name of a scalar function or ``rule(k, *scalars)``; ``domain`` one entry an operand.

    ``analytic`` says that the derivatives hold for complex operands too, ``late`` that they may wait (see :class:`Primitive`).
    """
    domain = domain if isinstance(domain[0], tuple) else (domain,)
    rule = emit if callable(emit) else lambda k, *x: k.call(emit, *x)
    prim = Primitive(name, impl=impl or ufunc, aval=aval or ufunc_aval(ufunc), jvp=elementwise_jvp(derivs), transpose=transpose,
                     batch=batch_elementwise(lambda: prim), sparsity=same_place, emit=Scalar(rule),
                     samples=elementwise_samples(*domain, analytic=analytic), derivs=derivs, quick=quick, late=late)
    if ufunc is not None:
        UFUNCS[ufunc] = PRIMITIVE_OF[ufunc] = prim
    return prim


def valued(name, ufunc, *, emit, domain):
    """A row without derivative: comparisons, rounding, tests."""
    domain = domain if isinstance(domain[0], tuple) else (domain,)
    rule = emit if callable(emit) else lambda k, *x: k.call(emit, *x)
    samples = elementwise_samples(*domain)
    prim = UFUNCS[ufunc] = nondifferentiable(name, impl=ufunc, aval=ufunc_aval(ufunc), batch=batch_elementwise(lambda: prim),
                                             emit=Scalar(rule), samples=samples)
    return prim


# ---------------------------------------------------------------- transposes of the (bi)linear ones
def _in_place(*bars):
    """Rule that pulls ``y_bar`` back through each linear operand; ``bars[i](y_bar, *x)`` where operand i is linear."""
    def rule(y_bar, *x):
        return tuple(unbroadcast(bar(y_bar, *x), a.aval) if isinstance(a, Linear) else None for bar, a in zip(bars, x, strict=True))
    return rule


neg = elementwise("neg", np.negative, -1, emit=lambda k, x: k.neg(x), domain=REAL, transpose=_in_place(lambda g, x: neg(g)), analytic=True,
                  quick=operator.neg)
add = elementwise("add", np.add, 1, 1, emit=lambda k, x, y: k.add(x, y), domain=(REAL, REAL),
                  transpose=_in_place(lambda g, x, y: g, lambda g, x, y: g), analytic=True, quick=operator.add)
sub = elementwise("sub", np.subtract, 1, -1, emit=lambda k, x, y: k.sub(x, y), domain=(REAL, REAL),
                  transpose=_in_place(lambda g, x, y: g, lambda g, x, y: neg(g)), analytic=True, quick=operator.sub)
mul = elementwise("mul", np.multiply, lambda x, y, z: y, lambda x, y, z: x, emit=lambda k, x, y: k.mul(x, y), domain=(REAL, REAL),
                  transpose=_in_place(lambda g, x, y: mul(g, y), lambda g, x, y: mul(g, x)), analytic=True, quick=operator.mul)


def _abs_part(x):
    """Sign of a real number; of a complex one `magnitude` is composed instead, for its tangent is not a multiple of the operand's."""
    if x.dtype.kind == "c":
        raise MissingRule("abs", "jvp", f"{user_line()}: an operand is complex; use hypot of real and imaginary part")
    return sign(x)


def magnitude(x):
    """Absolute value of a real or complex number, 0 its derivative at 0."""
    return absolute(x) if getattr(x, "dtype", None) is None or x.dtype.kind != "c" else hypot(real(x), imag(x))


def _inverse(y):
    """1 / y, where a Python zero divides as NumPy's does."""
    return 1.0 / (np.float64(y) if y.__class__ in (float, int) and y == 0 else y)


div = elementwise("div", np.true_divide, lambda x, y, z: _inverse(y), lambda x, y, z: -z / y, emit=lambda k, x, y: k.div(x, y),
                  domain=(REAL, NONZERO),
                  transpose=lambda y_bar, x, y: (None if isinstance(y, Linear) else unbroadcast(div(y_bar, y), x.aval), None),
                  analytic=True, quick=operator.truediv)

# ---------------------------------------------------------------- one operand
reciprocal = elementwise("reciprocal", np.reciprocal, lambda x, y: -y * y, emit=lambda k, x: k.div(k.const(1.0, x.dtype), x),
                         domain=NONZERO, analytic=True)
square = elementwise("square", np.square, lambda x, y: 2.0 * x, emit=lambda k, x: k.mul(x, x), domain=REAL, analytic=True, late="x")
absolute = elementwise("abs", np.absolute, lambda x, y: _abs_part(x), emit="fabs", domain=NONZERO)
sqrt = elementwise("sqrt", np.sqrt, lambda x, y: 0.5 / y, emit="sqrt", domain=POSITIVE, analytic=True)
cbrt = elementwise("cbrt", np.cbrt, lambda x, y: 1.0 / (3.0 * y * y), emit="cbrt", domain=NONZERO)
exp = elementwise("exp", np.exp, lambda x, y: y, emit="exp", domain=REAL, analytic=True)
exp2 = elementwise("exp2", np.exp2, lambda x, y: y * 0.6931471805599453, emit="exp2", domain=REAL, analytic=True, late="y")
expm1 = elementwise("expm1", np.expm1, lambda x, y: y + 1.0, emit="expm1", domain=REAL, analytic=True, late="y")
log = elementwise("log", np.log, lambda x, y: 1.0 / x, emit="log", domain=POSITIVE, analytic=True)
log2 = elementwise("log2", np.log2, lambda x, y: 1.4426950408889634 / x, emit="log2", domain=POSITIVE, analytic=True)
log10 = elementwise("log10", np.log10, lambda x, y: 0.4342944819032518 / x, emit="log10", domain=POSITIVE, analytic=True)
log1p = elementwise("log1p", np.log1p, lambda x, y: 1.0 / (1.0 + x), emit="log1p", domain=UNIT, analytic=True)
sin = elementwise("sin", np.sin, lambda x, y: cos(x), emit="sin", domain=REAL, analytic=True, late="x")
cos = elementwise("cos", np.cos, lambda x, y: -sin(x), emit="cos", domain=REAL, analytic=True, late="x")
tan = elementwise("tan", np.tan, lambda x, y: 1.0 + y * y, emit="tan", domain=MODEST, analytic=True)
arcsin = elementwise("arcsin", np.arcsin, lambda x, y: 1.0 / sqrt((1.0 - x) * (1.0 + x)), emit="asin", domain=UNIT, analytic=True)
arccos = elementwise("arccos", np.arccos, lambda x, y: -1.0 / sqrt((1.0 - x) * (1.0 + x)), emit="acos", domain=UNIT, analytic=True)
arctan = elementwise("arctan", np.arctan, lambda x, y: 1.0 / (1.0 + x * x), emit="atan", domain=REAL, analytic=True)
sinh = elementwise("sinh", np.sinh, lambda x, y: cosh(x), emit="sinh", domain=REAL, analytic=True, late="x")
cosh = elementwise("cosh", np.cosh, lambda x, y: sinh(x), emit="cosh", domain=REAL, analytic=True, late="x")
tanh = elementwise("tanh", np.tanh, lambda x, y: 1.0 - y * y, emit="tanh", domain=REAL, analytic=True, late="y")
arcsinh = elementwise("arcsinh", np.arcsinh, lambda x, y: 1.0 / sqrt(x * x + 1.0), emit="asinh", domain=REAL, analytic=True)
arccosh = elementwise("arccosh", np.arccosh, lambda x, y: 1.0 / (sqrt(x - 1.0) * sqrt(x + 1.0)), emit="acosh", domain=ABOVE_ONE,
                      analytic=True)
arctanh = elementwise("arctanh", np.arctanh, lambda x, y: 1.0 / ((1.0 - x) * (1.0 + x)), emit="atanh", domain=UNIT, analytic=True)

# ---------------------------------------------------------------- two operands
def _power_base(x, y, z):
    """y x**(y-1), and 0 where y is 0, whatever x."""
    return where(equal(y, 0.0), 0.0, y * power(x, where(equal(y, 0.0), 1.0, y - 1.0)))


def _power_exponent(x, y, z):
    """log(x) x**y, and 0 where x is 0 and y is not negative."""
    at_zero = logical_and(equal(x, 0.0), greater_equal(y, 0.0))
    return where(at_zero, 0.0, z * log(where(at_zero, 1.0, x)))


def _tie(wins, loses, ties):
    """1 where the operand is the value, 1/2 at a tie, 0 elsewhere."""
    return where(wins, 1.0, where(ties, 0.5, 0.0))


def _hypot_part(a, z):
    """a / z, and 0 at the origin (a subgradient)."""
    return a / where(equal(z, 0.0), 1.0, z)


def _arctan2_part(a, y, x):
    """a / (x² + y²), and 0 at the origin."""
    r2 = x * x + y * y
    return where(equal(r2, 0.0), 0.0, a / where(equal(r2, 0.0), 1.0, r2))


def _softmax_part(x, z):
    """exp(x - z); 1/2 where both operands of logaddexp are -inf."""
    return where(equal(z, -np.inf), 0.5, exp(x - where(equal(z, -np.inf), 0.0, z)))


def _power_emit(k, x, y):
    if x.dtype.kind != "f" and y.dtype.kind != "f":
        raise MissingRule("pow", "emit", "integers to powers not known before the run may have to raise; convert to float")
    return k.call("pow", x, y)


power = elementwise("pow", np.power, _power_base, _power_exponent, emit=_power_emit, domain=(POSITIVE, REAL), analytic=True)
maximum = elementwise("maximum", np.maximum, lambda x, y, z: _tie(greater(x, y), None, equal(x, y)),
                      lambda x, y, z: _tie(greater(y, x), None, equal(x, y)), emit=lambda k, x, y: k.maximum(x, y),
                      domain=(HALVES, QUARTERS))
minimum = elementwise("minimum", np.minimum, lambda x, y, z: _tie(less(x, y), None, equal(x, y)),
                      lambda x, y, z: _tie(less(y, x), None, equal(x, y)), emit=lambda k, x, y: k.minimum(x, y), domain=(HALVES, QUARTERS))
hypot = elementwise("hypot", np.hypot, lambda x, y, z: _hypot_part(x, z), lambda x, y, z: _hypot_part(y, z), emit="hypot",
                    domain=(NONZERO, NONZERO))
arctan2 = elementwise("arctan2", np.arctan2, lambda y, x, z: _arctan2_part(x, y, x), lambda y, x, z: -_arctan2_part(y, y, x), emit="atan2",
                      domain=(REAL, NONZERO))
logaddexp = elementwise("logaddexp", np.logaddexp, lambda x, y, z: _softmax_part(x, z), lambda x, y, z: _softmax_part(y, z),
                        emit=lambda k, x, y: k.logaddexp(x, y), domain=(REAL, REAL))


def _softmax2_part(x, z):
    """2**(x - z); 1/2 where both operands of logaddexp2 are -inf."""
    return where(equal(z, -np.inf), 0.5, exp2(x - where(equal(z, -np.inf), 0.0, z)))


def _logaddexp2_emit(k, x, y):
    ln2 = 0.6931471805599453
    x, y = (a if a.dtype.kind == "f" else k.convert(a, float) for a in (x, y))
    x, y = (k.mul(a, k.const(ln2, a.dtype)) for a in (x, y))
    return k.mul(k.logaddexp(x, y), k.const(1 / ln2, x.dtype))


logaddexp2 = elementwise("logaddexp2", np.logaddexp2, lambda x, y, z: _softmax2_part(x, z), lambda x, y, z: _softmax2_part(y, z),
                         emit=_logaddexp2_emit, domain=(REAL, REAL))
remainder = elementwise("mod", np.remainder, 1, lambda x, y, z: -floor(x / y), emit=lambda k, x, y: k.mod(x, y), domain=(REAL, NONZERO))
fmod = elementwise("fmod", np.fmod, 1, lambda x, y, z: -trunc(x / y), emit=lambda k, x, y: k.fmod(x, y),
                   domain=(REAL, NONZERO))
copysign = elementwise("copysign", np.copysign, lambda x, y, z: sign(x) * copysign(1.0, y), None, emit="copysign",
                       domain=(NONZERO, NONZERO))


# ---------------------------------------------------------------- integer powers: exact at 0 and for negative bases
def _raised(x, exponent):
    """A power; of a NumPy number as its operator ``**`` computes it, which rounds otherwise than the ufunc."""
    return x ** exponent if x.__class__ is np.float64 else np.power(x, exponent)


def _integer_pow_emit(k, x, *, n):
    result, square_, m = None, x, abs(n)
    while m:
        if m & 1:
            result = square_ if result is None else k.mul(result, square_)
        m >>= 1
        square_ = k.mul(square_, square_) if m else square_
    result = k.const(1.0, x.dtype) if result is None else result
    return k.div(k.const(1.0, x.dtype), result) if n < 0 else result


def _integer_pow_aval(x, *, n):
    if n < 0 and x.dtype.kind in "biu":
        raise ValueError("Integers to negative integer powers are not allowed.")
    return Aval(x.shape, np.int8) if x.dtype.kind == "b" else x


def _integer_pow_deriv(x, y, *, n):
    return float(n) if n in (0, 1) else float(n) * (integer_pow(x, n=n - 1) if n - 1 != 1 else x)


integer_pow = Primitive(
    "integer_pow",
    impl=lambda x, *, n: _raised(x, n),
    aval=_integer_pow_aval,
    jvp=elementwise_jvp((_integer_pow_deriv,)),
    derivs=(_integer_pow_deriv,),
    transpose=NOT_LINEAR,
    batch=lambda size, batched, x, *, n: integer_pow(x, n=n),
    emit=Scalar(_integer_pow_emit),
    samples=lambda rng: [((draw(rng, NONZERO, s),), {"n": n}) for s, n in (
        ((), 3), ((3,), 2), ((2, 2), -2), ((3,), 5), ((0,), 4), ((2,), 1), ((2,), 0))],
)

def _scalar_pow_deriv(x, y, *, exponent):
    return exponent * scalar_pow(x, exponent=exponent - 1.0)


def _scalar_pow_emit(k, x, *, exponent):
    """Half-integers up to 5/2 by a root, in a fifth of the time, rounded two or three times; -inf and -0.0 as ``pow`` has them."""
    n = abs(exponent) - 0.5
    if n not in (0.0, 1.0, 2.0):
        return k.call("pow", x, k.const(exponent, x.dtype))
    root = k.call("sqrt", x)
    value = k.mul(x, root) if n == 1.0 else k.call("fabs", root)
    value = k.mul(k.mul(x, x), value) if n == 2.0 else value
    if exponent < 0.0:
        value = k.div(k.const(1.0, x.dtype), value)
    return k.select(k.compare("==", x, k.const(-np.inf, x.dtype)), k.const(np.inf if exponent > 0.0 else 0.0, x.dtype), value)


scalar_pow = Primitive(
    "scalar_pow",                                           # a constant exponent that is no integer: no case at 0 to tell apart
    impl=lambda x, *, exponent: _raised(x, exponent),
    aval=lambda x, *, exponent: x,
    jvp=elementwise_jvp((_scalar_pow_deriv,)),
    derivs=(_scalar_pow_deriv,),
    transpose=NOT_LINEAR,
    batch=lambda n, batched, x, *, exponent: scalar_pow(x, exponent=exponent),
    emit=Scalar(_scalar_pow_emit),
    samples=lambda rng: [((draw(rng, POSITIVE, s),), {"exponent": e}) for s, e in (
        ((), 1.5), ((3,), -0.3), ((0,), 2.5), ((5,), -1.5), ((5,), 0.5), ((5,), -0.5), ((5,), 2.5), ((5,), -2.5), ((5,), 3.5))],
)

# ---------------------------------------------------------------- values without derivative
sign = valued("sign", np.sign, emit=lambda k, x: k.sign(x), domain=NONZERO)
floor = valued("floor", np.floor, emit="floor", domain=REAL)
ceil = valued("ceil", np.ceil, emit="ceil", domain=REAL)
rint = valued("rint", np.rint, emit="rint", domain=REAL)
trunc = valued("trunc", np.trunc, emit="trunc", domain=REAL)
floor_divide = valued("floor_divide", np.floor_divide, emit=lambda k, x, y: k.floor_divide(x, y), domain=(REAL, NONZERO))


def _isinf(k, x):
    if x.dtype.kind in "biu":                             # no integer is infinite
        return k.compare("!=", x, x)
    return k.compare("==", k.call("fabs", x), k.const(np.inf, x.dtype))


isfinite = valued("isfinite", np.isfinite, emit=lambda k, x: k.isfinite(x), domain=REAL)
isnan = valued("isnan", np.isnan, emit=lambda k, x: k.compare("!=", x, x), domain=REAL)
isinf = valued("isinf", np.isinf, emit=_isinf, domain=REAL)
equal = valued("eq", np.equal, emit=lambda k, x, y: k.compare("==", x, y), domain=(REAL, REAL))
not_equal = valued("ne", np.not_equal, emit=lambda k, x, y: k.compare("!=", x, y), domain=(REAL, REAL))
less = valued("lt", np.less, emit=lambda k, x, y: k.compare("<", x, y), domain=(REAL, REAL))
less_equal = valued("le", np.less_equal, emit=lambda k, x, y: k.compare("<=", x, y), domain=(REAL, REAL))
greater = valued("gt", np.greater, emit=lambda k, x, y: k.compare(">", x, y), domain=(REAL, REAL))
greater_equal = valued("ge", np.greater_equal, emit=lambda k, x, y: k.compare(">=", x, y), domain=(REAL, REAL))
logical_and = valued("and", np.logical_and, emit=lambda k, x, y: k.logical("and", x, y), domain=(REAL, REAL))
logical_or = valued("or", np.logical_or, emit=lambda k, x, y: k.logical("or", x, y), domain=(REAL, REAL))
logical_xor = valued("xor", np.logical_xor, emit=lambda k, x, y: k.logical("xor", x, y), domain=(REAL, REAL))
logical_not = valued("not", np.logical_not, emit=lambda k, x: k.logical_not(x), domain=REAL)


# ---------------------------------------------------------------- bits of integers
def _of_bits(ufunc, rule, low=-9, high=9):
    """A row of integers and truths; ``low`` and ``high`` bound the samples of the second operand."""
    def samples(rng):
        shapes = (((3,), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2,)), ((0,), ()))
        drawn = [(rng.integers(-9, 9, a), rng.integers(low, high, b)) for a, b in shapes]
        drawn.append((rng.integers(-9, 9, 4).astype(np.int32), rng.integers(0, 9, 4).astype(np.int32)))
        return [(x[: ufunc.nin], {}) for x in drawn]

    name = ufunc.__name__
    prim = UFUNCS[ufunc] = nondifferentiable(name, impl=ufunc, aval=ufunc_aval(ufunc), batch=batch_elementwise(lambda: prim),
                                             emit=Scalar(rule), samples=samples)
    return prim


bitwise_and = _of_bits(np.bitwise_and, lambda k, x, y: k.bits("bitwise_and", x, y))
bitwise_or = _of_bits(np.bitwise_or, lambda k, x, y: k.bits("bitwise_or", x, y))
bitwise_xor = _of_bits(np.bitwise_xor, lambda k, x, y: k.bits("bitwise_xor", x, y))
invert = _of_bits(np.invert, lambda k, x: k.bits("bitwise_xor", x, k.const(x.dtype.kind == "b" or -1, x.dtype)))
left_shift = _of_bits(np.left_shift, lambda k, x, y: k.shift("left_shift", x, y), -1, 70)
right_shift = _of_bits(np.right_shift, lambda k, x, y: k.shift("right_shift", x, y), -1, 70)


# ---------------------------------------------------------------- choices
def _where_aval(c, x, y):
    return Aval(broadcast_shapes(c.shape, x.shape, y.shape), np.result_type(x.dtype, y.dtype))


def _where_transpose(y_bar, c, x, y):
    x_bar = unbroadcast(where(c, y_bar, 0.0), x.aval) if isinstance(x, Linear) else None
    return None, x_bar, (unbroadcast(where(c, 0.0, y_bar), y.aval) if isinstance(y, Linear) else None)


def _where_jvp(x, y, x_dot):
    _, t, f = x_dot
    if t is None and f is None:
        return None
    return like(where(x[0], 0.0 if t is None else t, 0.0 if f is None else f), y)


where = Primitive(
    "where",
    impl=lambda c, x, y: np.where(c, x, y),
    aval=_where_aval,
    jvp=_where_jvp,
    transpose=_where_transpose,
    batch=batch_elementwise(lambda: where),
    emit=Scalar(lambda k, c, x, y: k.select(c, x, y)),
    sparsity=same_place,
    samples=lambda rng: [((draw(rng, REAL, s[0]) > 0, draw(rng, REAL, s[1]), draw(rng, REAL, s[2])), {}) for s in (
        ((), (), ()), ((3,), (3,), (3,)), ((2, 3), (3,), ()), ((2, 1), (1, 3), (2, 3)))],
)


def _clip_part(x, lo, hi, y):
    """1 inside the closed interval."""
    return where(logical_and(less_equal(lo, x), less_equal(x, hi)), 1.0, 0.0)


def _clip_low_part(x, lo, hi, y):
    """1 below the lower bound, unless the bounds are crossed: NumPy then answers with the upper one."""
    return where(logical_and(less(x, lo), less_equal(lo, hi)), 1.0, 0.0)


def _clip_high_part(x, lo, hi, y):
    return where(greater(maximum(x, lo), hi), 1.0, 0.0)


clip = elementwise(
    "clip", None, _clip_part, _clip_low_part, _clip_high_part,
    impl=lambda x, lo, hi: np.clip(x, lo, hi),
    aval=lambda *x: Aval(broadcast_shapes(*[a.shape for a in x]), np.result_type(*[a.dtype for a in x])),
    emit=lambda k, x, lo, hi: k.minimum(hi, k.maximum(lo, x)),  # at a tie the operand, as NumPy's for scalar bounds
    domain=(REAL, (-1.0, -0.5, False), (0.5, 1.0, False)))

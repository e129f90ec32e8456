"""Complex numbers become two real ones: what is left is real arithmetic, which generated code, its loops and BLAS know.

An equation on complex numbers becomes equations on their parts by a rule of its primitive; where there is none, its operands are put
together again and it is computed as it is.  What enters and leaves the program, and what such equations compute, lies in memory as ever.
"""

import numpy as np

from ..core import REGISTRY, Const, Eqn, Graph, Opaque, Var

#: dtype -> dtype of its parts.
PARTS = {np.dtype(np.complex128): np.dtype(np.float64), np.dtype(np.complex64): np.dtype(np.float32)}
RULES = {}
#: What takes numbers apart and puts them together; where nothing else is left to do, the graph is as it should be.
BASIC = ("real", "imag", "make_complex")


def rule(*names):
    """Register ``f(do, x, **params)`` for primitives: ``x`` holds a value or a :class:`Pair` an operand; returns one, or None to pass."""
    def register(f):
        RULES.update(dict.fromkeys(names, f))
        return f
    return register


class Pair:
    """A complex value by its parts; ``im`` is None where it is zero, as of a real operand."""

    __slots__ = ("im", "re")

    def __init__(self, re, im):
        self.re, self.im = re, im


def is_complex(x):
    """Whether a variable or constant holds numbers that can be split."""
    return type(x.aval) is not Opaque and x.aval.dtype in PARTS


def split(graph):
    """The graph with real parts and imaginary parts as values of their own."""
    if not any(is_complex(x) for e in graph.eqns for x in (*e.inputs, *e.outputs)):
        return graph
    work = Splitting()
    for eqn in graph.eqns:
        work.equation(eqn)
    if not work.changed:
        return graph
    return Graph(graph.inputs, work.eqns, [work.whole(x) for x in graph.outputs])


class _Known:
    """What is known of a complex variable: its parts, and the variable that holds it in memory, if there is one yet."""

    __slots__ = ("pair", "whole")

    def __init__(self, pair, whole=None):
        self.pair, self.whole = pair, whole


class Splitting:
    """A graph in the making: its equations, what is known of complex variables, and what stands for real ones."""

    def __init__(self):
        self.eqns, self.known, self.replaced, self.line, self.changed = [], {}, {}, None, False

    def __call__(self, name, *x, **params):
        """A new equation; returns its value."""
        prim = REGISTRY[name]
        out = Var(prim.aval(*[a.aval for a in x], **params))
        self.eqns.append(Eqn(prim, x, params, (out,), self.line))
        return out

    def zeros(self, like):
        """Zeros of the shape and dtype of a value."""
        zero = Const(np.zeros((), like.aval.dtype))
        return self("broadcast_to", zero, shape=tuple(like.aval.shape)) if like.aval.shape else zero

    def imaginary(self, x):
        """The imaginary part of what a rule is given, zeros spelled out."""
        im = x.im if type(x) is Pair else None
        return self.zeros(x.re if type(x) is Pair else x) if im is None else im

    def whole(self, x):
        """A value as one variable or constant."""
        x = self.replaced.get(x, x)
        known = self.known.get(x)
        if known is None:
            return x
        if known.whole is None:
            known.whole = self("make_complex", known.pair.re, self.imaginary(known.pair))
        return known.whole

    def parts(self, x):
        """A value as rules see it: a complex one as a :class:`Pair`."""
        x = self.replaced.get(x, x)
        if not is_complex(x):
            return x
        if isinstance(x, Const):
            return Pair(*(Const(np.array(part)) for part in (x.value.real, x.value.imag)))
        if x not in self.known:
            self.known[x] = _Known(Pair(self("real", x), self("imag", x)), x)
        return self.known[x].pair

    def equation(self, eqn):
        """The equation on parts, or as it is."""
        self.line, each = eqn.line, RULES.get(eqn.prim.name)
        mixed = any(is_complex(self.replaced.get(x, x)) for x in (*eqn.inputs, *eqn.outputs))
        y = each(self, *map(self.parts, eqn.inputs), **eqn.params) if each is not None and mixed else None
        self.changed |= y is not None and eqn.prim.name not in BASIC
        if y is None:
            inputs = tuple(map(self.whole, eqn.inputs))
            self.eqns.append(eqn if inputs == eqn.inputs else Eqn(eqn.prim, inputs, eqn.params, eqn.outputs, eqn.line))
        elif is_complex(eqn.outputs[0]):
            out = eqn.outputs[0].aval
            self.known[eqn.outputs[0]] = _Known(Pair(*(part and self.fitted(part, out.shape, PARTS[out.dtype]) for part in (y.re, y.im))))
        else:
            self.replaced[eqn.outputs[0]] = self.fitted(y, eqn.outputs[0].aval.shape, eqn.outputs[0].aval.dtype)

    def fitted(self, x, shape, dtype):
        """A value in the shape and dtype that the program has there: a part that follows from one operand alone may lack them."""
        x = x if x.aval.dtype == dtype else self("convert", x, dtype=dtype)
        return x if tuple(x.aval.shape) == tuple(shape) else self("broadcast_to", x, shape=tuple(shape))


# ---------------------------------------------------------------- what moves or adds elements treats both parts alike
def both(name, indices):
    """Rule of a primitive that is linear in all its operands at once, but for as many arrays of indices."""
    def parts(do, *x, **params):
        whole = [type(a) is not Pair and a.aval.dtype.kind != "f" for a in x]
        if sum(whole) != indices:
            return None
        real = [a.re if type(a) is Pair else a for a in x]
        im = [a if keep else do.imaginary(a) for a, keep in zip(x, whole, strict=True)]
        return Pair(do(name, *real, **params), do(name, *im, **params))
    return parts


LINEAR = ("transpose", "reshape", "broadcast_to", "index", "embed", "index_set", "concatenate", "stack", "reduce_sum", "cumsum", "neg")
RULES.update({name: both(name, 0) for name in LINEAR} | {name: both(name, 1) for name in ("gather", "put", "scatter_add", "add_at")})


def _parts(x):
    return (x.re, x.im) if type(x) is Pair else (x, None)


@rule("add")
def _add(do, x, y):
    (a, b), (c, d) = _parts(x), _parts(y)
    return Pair(do("add", a, c), d if b is None else b if d is None else do("add", b, d))


@rule("sub")
def _sub(do, x, y):
    (a, b), (c, d) = _parts(x), _parts(y)
    return Pair(do("sub", a, c), do("neg", d) if b is None else b if d is None else do("sub", b, d))


def _product(name):
    def times(do, x, y, **params):
        (a, b), (c, d) = _parts(x), _parts(y)

        def of(u, v):
            return do(name, u, v, **params)
        if d is None:
            return Pair(of(a, c), of(b, c))
        if b is None:
            return Pair(of(a, c), of(a, d))
        return Pair(do("sub", of(a, c), of(b, d)), do("add", of(a, d), of(b, c)))
    return times


RULES["mul"], RULES["dot_general"] = _product("mul"), _product("dot_general")


@rule("div")
def _div(do, x, y):
    """Scaled so that nothing overflows between (Smith, Comm. ACM 5, 1962, 435)."""
    (a, b), (c, d) = _parts(x), _parts(y)
    if d is None:
        return Pair(do("div", a, c), do("div", b, c))
    larger = do("ge", do("abs", c), do("abs", d))
    first, second = do("where", larger, c, d), do("where", larger, d, c)
    ratio = do("div", second, first)
    below = do("add", first, do("mul", second, ratio))
    b = do.zeros(a) if b is None else b
    u = do("where", larger, do("add", a, do("mul", b, ratio)), do("add", do("mul", a, ratio), b))
    v = do("where", larger, do("sub", b, do("mul", a, ratio)), do("sub", do("mul", b, ratio), a))
    return Pair(do("div", u, below), do("div", v, below))


@rule("square")
def _square(do, x):
    return RULES["mul"](do, x, x)


@rule("integer_pow")
def _integer_pow(do, x, *, n):
    """Small powers, as products of squares."""
    if not 1 <= n <= LARGEST_POWER:
        return None
    out, power = None, x
    while n:
        if n & 1:
            out = power if out is None else RULES["mul"](do, out, power)
        n >>= 1
        power = RULES["mul"](do, power, power) if n else power
    return out


#: Powers above this one are left to NumPy, whose roundings are fewer.
LARGEST_POWER = 4


@rule("exp")
def _exp(do, x):
    size = do("exp", x.re)
    return Pair(do("mul", size, do("cos", x.im)), do("mul", size, do("sin", x.im)))


# ---------------------------------------------------------------- parts and choices
@rule("real")
def _real(do, x):
    return x.re if type(x) is Pair else None


@rule("imag")
def _imag(do, x):
    return do.imaginary(x) if type(x) is Pair else None


@rule("conj")
def _conj(do, x):
    return Pair(x.re, do("neg", do.imaginary(x))) if type(x) is Pair else None


@rule("make_complex")
def _make_complex(do, re, im):
    return Pair(re, im)


@rule("abs")
def _abs(do, x):
    return do("hypot", x.re, do.imaginary(x)) if type(x) is Pair else None


@rule("where")
def _where(do, test, x, y):
    if type(test) is Pair:
        return None
    (a, _), (c, _) = _parts(x), _parts(y)
    return Pair(do("where", test, a, c), do("where", test, do.imaginary(x), do.imaginary(y)))


@rule("eq")
def _equal(do, x, y):
    (a, _), (c, _) = _parts(x), _parts(y)
    return do("and", do("eq", a, c), do("eq", do.imaginary(x), do.imaginary(y)))


@rule("isfinite")
def _isfinite(do, x):
    return do("and", do("isfinite", x.re), do("isfinite", do.imaginary(x)))


@rule("convert")
def _convert(do, x, *, dtype):
    """To other complex numbers, or from real ones; what drops an imaginary part is left to NumPy, which warns."""
    part = PARTS.get(np.dtype(dtype))
    if part is None:
        return None
    a, b = _parts(x)
    return Pair(do("convert", a, dtype=part), None if b is None else do("convert", b, dtype=part))


__all__ = ["split"]

"""Random NumPy programs: statements drawn over every elementwise primitive and NumPy's structure, as source text that can be printed.

A program is a list of statements, each of which defines one array; it returns the last few.  Values stay of the order of one and inside
the domains the primitives' rows name, so that derivatives can be compared to rounding.
"""

import linecache
from dataclasses import dataclass, field

import numpy as np

import diffsim as ds
import diffsim.numpy
from diffsim.core import REGISTRY, Absent

INPUTS = {"x": (4,), "y": (2, 3), "z": ()}


# ---------------------------------------------------------------- what the registry offers
def _domain(samples, i):
    """An interval inside which the samples of operand i lie; of signs mixed around a gap only the positive side."""
    values = np.concatenate([np.ravel(s[0][i]) for s in samples])
    values = values[np.isreal(values)].real.astype(float)
    low, high = values.min(), values.max()
    gap = np.min(np.abs(values))
    return (gap, high) if low < 0.0 and gap > 0.35 else (low, high)


def elementwise_primitives():
    """Name in NumPy -> domains of its operands, for every differentiable elementwise primitive that is a NumPy function."""
    rng, out = np.random.default_rng(0), {}
    for prim in REGISTRY.values():
        name = getattr(prim.impl, "__name__", "")
        if prim.derivs is None or isinstance(prim.samples, Absent) or getattr(np, name, None) is not prim.impl:
            continue
        samples = [s for _ in range(20) for s in prim.samples(rng) if not any(np.iscomplexobj(a) for a in s[0])]
        out[name] = [_domain(samples, i) for i in range(len(samples[0][0]))]
    return out


ELEMENTWISE = elementwise_primitives()


# ---------------------------------------------------------------- programs
@dataclass
class Program:
    """Statements and the names they define."""

    seed: int
    statements: list = field(default_factory=list)
    by_value: bool = False

    @property
    def source(self):
        body = [line for _, text, _ in self.statements for line in text.split("\n")]
        names = [name for name, _, _ in self.statements]
        kept = list(dict.fromkeys(names[-3:]))
        return "\n".join(["def f(x, y, z):", *[f"    {line}" for line in body], f"    return [{', '.join(kept)}]", ""])

    def function(self):
        """The program as a Python function that tracebacks can quote."""
        file = f"<random program {self.seed}: {len(self.statements)} statements, {abs(hash(self.source))}>"
        source = self.source
        linecache.cache[file] = len(source), None, source.splitlines(True), file
        scope = {"np": np, "ds": ds, "__name__": "random_program"}
        exec(compile(source, file, "exec"), scope)
        return scope["f"]

    def smaller(self):
        """Programs with one statement left out, or replaced by a simple one of the same shape."""
        for n in reversed(range(len(self.statements))):
            yield Program(self.seed, self.statements[:n] + self.statements[n + 1:], self.by_value)
        for n, (name, text, shape) in enumerate(self.statements):
            simple = f"{name} = z + 0.1 * np.arange({int(np.prod(shape))}.0).reshape({shape})"
            if text != simple:
                yield Program(self.seed, [*self.statements[:n], (name, simple, shape), *self.statements[n + 1:]], self.by_value)


class Writer:
    """Draws statements; knows the shape of every name."""

    def __init__(self, seed, rng, by_value, depth):
        self.rng, self.shapes, self.program, self.count = rng, dict(INPUTS), Program(seed, [], by_value), 0
        kinds = KINDS + (BY_VALUE if by_value else [])
        weights = np.array([w for _, w in kinds], float)
        while len(self.program.statements) < depth:
            kind = kinds[rng.choice(len(kinds), p=weights / weights.sum())][0]
            kind(self)

    # helpers of the statements
    def new(self, shape):
        self.count += 1
        name = f"v{self.count}"
        return name, tuple(shape)

    def add(self, text, shape, name=None):
        name = name or self.new(shape)[0]
        self.program.statements.append((name, text.replace("$", name), tuple(shape)))
        self.shapes[name] = tuple(shape)
        return name

    def pick(self, test=lambda s: True):
        """A name whose shape passes, the newer the likelier; None if there is none."""
        names = [n for n, s in self.shapes.items() if test(s) and int(np.prod(s)) <= 64 and 0 not in s]
        if not names:
            return None
        weights = np.arange(1, len(names) + 1) ** 2.0
        return names[self.rng.choice(len(names), p=weights / weights.sum())]

    def partner(self, name):
        """A name that broadcasts with another."""
        shape = self.shapes[name]

        def fits(s):
            try:
                return len(np.broadcast_shapes(s, shape)) <= 3
            except ValueError:
                return False
        return self.pick(fits)

    def of(self, *items):
        return items[self.rng.integers(len(items))]

    def number(self, low=0.2, high=1.5):
        return f"{self.rng.uniform(low, high):.3f}"

    def into(self, name, domain):
        """Text of a smooth map of a value into an interval."""
        low, high = domain
        middle, half = (low + high) / 2, 0.95 * (high - low) / 2
        return f"({middle:.4f} + {half:.4f} * np.sin({name}))"


def unary(w):
    a = w.pick()
    name = w.of(*[n for n, d in ELEMENTWISE.items() if len(d) == 1])
    w.add(f"$ = np.{name}({w.into(a, ELEMENTWISE[name][0])})", w.shapes[a])


def binary(w):
    a = w.pick()
    b = w.partner(a)
    shape = np.broadcast_shapes(w.shapes[a], w.shapes[b])
    name = w.of(*[n for n, d in ELEMENTWISE.items() if len(d) == 2])
    low, high = ELEMENTWISE[name]
    w.add(f"$ = np.{name}({w.into(a, low)}, {w.into(b, high)})", shape)


def operator(w):
    a = w.pick()
    b = w.partner(a)
    shape = np.broadcast_shapes(w.shapes[a], w.shapes[b])
    op, c = w.of("+", "-", "*"), w.number()
    w.add(w.of(f"$ = np.sin({a} {op} {c} * {b})", f"$ = {a} / (1.5 + np.cos({b}))", f"$ = np.cos({a} * {b}) - {c}",
               f"$ = {c} - np.sin({a})**{w.rng.integers(1, 4)} * {b} * 0.5",
               f"$ = (2.0 + np.sin({a})) ** {w.number(-1, 2)} - np.sin({b})"), shape)


def reduction(w):
    a = w.pick(lambda s: len(s) >= 1)
    shape = w.shapes[a]
    axis = int(w.rng.integers(len(shape)))
    keep = bool(w.rng.integers(2))
    rest = tuple(1 if i == axis else s for i, s in enumerate(shape)) if keep else shape[:axis] + shape[axis + 1:]
    name = w.of("sum", "mean", "prod", "var", "std", "max", "min", "ptp", "linalg.norm")
    inner = f"1.2 + 0.5 * np.sin({a} + 0.1 * np.arange({int(np.prod(shape))}.0).reshape({shape}))"
    if name in ("var", "std") and shape[axis] < 2:
        name = "mean"
    w.add(f"$ = np.sin(np.{name}({inner}, axis={axis}, keepdims={keep}))" if name != "ptp" or keep is False else
          f"$ = np.cos(np.ptp({inner}, axis={axis}, keepdims={keep}))", rest)


def scan(w):
    a = w.pick(lambda s: len(s) >= 1)
    axis = int(w.rng.integers(len(w.shapes[a])))
    w.add(w.of(f"$ = np.sin(np.cumsum({a}, axis={axis}))", f"$ = np.cumprod(1.0 + 0.2 * np.sin({a}), axis={axis})",
               f"$ = np.cos(np.add.accumulate({a}, {axis}))"), w.shapes[a])


def index(w):
    a = w.pick(lambda s: len(s) >= 1)
    n, tail = w.shapes[a][0], w.shapes[a][1:]
    k = int(w.rng.integers(n))
    key, shape = w.of((f"{k}", tail), (f"{k}:", (n - k, *tail)), ("::-1", (n, *tail)), ("::2", ((n + 1) // 2, *tail)),
                      (f"[{k}, -1, {k}]", (3, *tail)), ("None", (1, n, *tail)), ("..., 0", w.shapes[a][:-1]),
                      (f"np.arange({n}) % 2 == 0", ((n + 1) // 2, *tail)), (f"[[0, {k}], [-1, 0]]", (2, 2, *tail)))
    if len(shape) <= 3:
        w.add(f"$ = {a}[{key}]" + w.of("", " * 1.0", " + 0.5"), shape)


def rearranged(w):
    a = w.pick(lambda s: len(s) >= 1)
    shape = w.shapes[a]
    size, n = int(np.prod(shape)), shape[0]
    halves = [(2, size // 2)] if size % 2 == 0 else []
    options = [("{}.reshape(-1)", (size,)), ("{}.T", shape[::-1]), ("np.flip({})", shape), ("np.roll({}, 1)", shape),
               ("np.concatenate([{0}, 2.0 * {0}])", (2 * n, *shape[1:])), ("np.repeat({}, 2)", (2 * size,)),
               ("np.expand_dims({}, 0)", (1, *shape)), ("np.pad({}, 1)", tuple(s + 2 for s in shape)), ("np.ravel({}, 'F')", (size,)),
               ("np.moveaxis({}, 0, -1)", (*shape[1:], n)), ("np.diff({}, prepend=0.5)", shape),
               ("np.stack([{0}, np.sin({0})], axis=-1)", (*shape, 2)), ("np.broadcast_to({0}, (2, *{0}.shape))", (2, *shape)),
               *([("np.sort({}, axis=-1)", shape)] if w.program.by_value else []),
               *[(f"{{}}.reshape({h})", h) for h in halves], *[(f"np.reshape({{}}, {h}, order='F')", h) for h in halves]]
    text, out = w.of(*options)
    if len(out) <= 3 and np.prod(out) <= 64:
        w.add(f"$ = {text.format(a)}", out)


def chosen(w):
    a = w.pick()
    b = w.partner(a)
    shape = np.broadcast_shapes(w.shapes[a], w.shapes[b])
    c = w.number(-0.5, 0.5)
    w.add(w.of(f"$ = np.where({a} > {c}, np.sin({a}), 0.5 * {b})", f"$ = np.clip({a}, -0.83, 0.91) * np.cos({b})",
               f"$ = np.where(np.sin({b}) < {c}, {a}, {a} * {b})", f"$ = np.minimum({a}, 0.3 + np.sin({b}))"), shape)


def product(w):
    a = w.pick(lambda s: 1 <= len(s) <= 2)
    n = w.shapes[a][-1]
    b = w.pick(lambda s: 1 <= len(s) <= 2 and s[0] == n)
    if b is None:
        b, shape_b = f"np.ones(({n}, 2))", (n, 2)
    else:
        shape_b = w.shapes[b]
    shape = w.shapes[a][:-1] + shape_b[1:]
    w.add(w.of(f"$ = np.sin({a} @ {b})", f"$ = np.sin(np.dot({a}, {b}))", f"$ = np.tanh(0.5 * np.tensordot({a}, {b}, 1))"), shape)


def outer(w):
    a, b = w.pick(lambda s: len(s) == 1), w.pick(lambda s: len(s) == 1)
    n, m = w.shapes[a][0], w.shapes[b][0]
    if n * m <= 64:
        w.add(w.of(f"$ = np.outer({a}, {b})", f"$ = np.einsum('i,j->ij', {a}, {b})", f"$ = np.multiply.outer(np.sin({a}), {b})"), (n, m))


def solved(w):
    a = w.pick(lambda s: len(s) == 2 and s[0] == s[1] and s[0] <= 4) or w.pick(lambda s: len(s) == 1 and s[0] <= 4)
    if a is None:
        return
    n = w.shapes[a][0]
    name, shape = w.of(("np.linalg.solve({m}, np.arange({n}.0))", (n,)), ("np.linalg.inv({m})", (n, n)), ("np.log(np.linalg.det({m}))", ()),
                       ("np.linalg.slogdet({m})[1]", ()), ("np.linalg.cholesky({m} @ {m}.T + np.eye({n}))", (n, n)))
    m = f"(np.sin({a}) * np.ones(({n}, {n})) + 5.0 * np.eye({n}))"
    w.add(f"$ = np.sin({name.format(m=m, n=n)})", shape)


def written(w):
    """A buffer made inside, written through slices, views, masks, repeated indices and out=."""
    a = w.pick(lambda s: len(s) >= 1)
    shape = w.shapes[a]
    name, _ = w.new(shape)
    n, b = shape[0], w.pick()
    scalar = f"np.sum(np.sin({b}))"
    lines = [w.of(f"$ = np.zeros({shape})\n$[...] = {a}", f"$ = {a}.copy()", f"$ = 1.0 * {a}", f"$ = np.array({a})",
                  f"$ = np.full_like({a}, {w.number()})", f"$ = np.asfortranarray({a}) * 1.0")]
    pool = [f"$[0] = {scalar}", f"$[1:] += 0.5 * $[:-1] * {w.number()}", "$ *= np.cos($)", "$[::-1] -= 0.1 * $.copy()",
            f"np.add.at($, [0, 0, -1], {scalar})", "np.sin($, out=$)", f"$[[0, 0]] = $[[-1, {n // 2}]] * 0.7",
            f"$.T[...] += 0.3 * {a}.T", f"$.reshape(-1)[::2] *= {w.number()}", f"$[np.arange({n}) % 2 == 1] = {scalar} * 0.5",
            f"np.multiply.at($, [0, -1, 0], {w.number()})", f"$.flat[{int(np.prod(shape)) - 1}] = {scalar}", "np.add($, 0.25, out=$)",
            f"for i in range({n}):\n    $[i] = 0.5 * $[i - 1] + np.sin($[i])", f"part = $[{n // 2}:]\npart[0] += {scalar}\npart *= 0.9",
            f"np.copyto($, 0.1, where=np.arange({shape[-1]}) == 0)", f"$.fill({scalar})\n$ += {a}"]
    lines += [pool[i] for i in w.rng.choice(len(pool), 4, replace=False)]
    w.add("\n".join(lines), shape, name)


def looped(w):
    a = w.pick()
    b = w.partner(a)
    shape = np.broadcast_shapes(w.shapes[a], w.shapes[b])
    n, c = w.rng.integers(2, 5), w.number()
    w.add(w.of(f"$ = {a} * np.ones({shape})\nfor _ in range({n}):\n    $ = np.sin($) + {c} * np.cos({b})",
               f"$ = 0.0\nfor k in range({n}):\n    $ = $ + np.sin(k * {a}) / (k + 1.0) * {b}",
               f"history = []\n$ = {a} + {b}\nfor _ in range({n}):\n    $ = $ - 0.1 * np.sin($)\n    history.append($)\n"
               f"$ = sum(history)"), shape)


def nested(w):
    """A derivative inside the program, of a function that closes over what is outside."""
    a = w.pick()
    b = w.partner(a)
    shape = w.shapes[a]
    c = w.number()
    text = w.of(f"$ = np.sin(ds.grad(lambda t: np.sum(np.sin(t * {c}) * np.cos({b})))({a}))",
                f"$ = np.sin(ds.jvp(lambda t: np.sin(t) * t + np.sum({b}), ({a},), (np.cos({a}),))[1])",
                f"$ = np.tanh(ds.vjp(lambda t: np.exp(np.sin(t)) * {c}, {a})[1](np.sin({a}))[0])",
                f"$ = np.cos(ds.hvp(lambda t: np.sum(np.sin(t) ** 2) * np.mean(np.cos({b})), ({a},), (0.5 * {a},)))")
    w.add(text, shape)


def branched(w):
    """A choice by a value."""
    a = w.pick()
    b = w.partner(a)
    shape = np.broadcast_shapes(w.shapes[a], w.shapes[b])
    w.add(f"if np.sum(np.sin({a})) > {w.number(-0.3, 0.3)}:\n    $ = np.sin({a}) * {b}\nelse:\n    $ = {a} + np.cos({b})", shape)


def iterated(w):
    """As many steps as the values ask for."""
    a = w.pick()
    w.add(f"$ = 3.0 + np.sin({a})\nsteps = 0\nwhile np.max($) > 1.1 and steps < 6:\n    $ = 0.6 * $ + 0.1 * np.sin({a})\n    steps += 1",
          w.shapes[a])


KINDS = [(unary, 5), (binary, 4), (operator, 4), (reduction, 2), (scan, 1), (index, 3), (rearranged, 3), (chosen, 2), (product, 2),
         (outer, 1), (solved, 1), (written, 4), (looped, 1), (nested, 1)]
BY_VALUE = [(branched, 2), (iterated, 1)]


def draw(seed):
    """The program of a seed."""
    rng = np.random.default_rng(seed)
    return Writer(seed, rng, by_value=seed % 3 == 0, depth=int(rng.integers(1, 31))).program


def shrunk(program, fails):
    """The program with every statement left out that the failure does not need."""
    done = False
    while not done:
        done = True
        for smaller in program.smaller():
            if smaller.statements and runs(smaller) and fails(smaller):
                program, done = smaller, False
                break
    return program


def runs(program):
    """Whether plain NumPy can run it."""
    try:
        program.function()(*point(program.seed))
    except Exception:
        return False
    return True


def point(seed):
    """Inputs of a program."""
    rng = np.random.default_rng((seed, 1))
    return [rng.uniform(-1.2, 1.2, s) if s else float(rng.uniform(-1, 1)) for s in INPUTS.values()]

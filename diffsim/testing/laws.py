"""The laws every primitive keeps.  A law is a function of a sample; ``LAWS`` is the list; the suite is its product with the registry.

A sample is one choice of operands and parameters a row offers (``samples``).  Laws look at a row only through the transforms, so a
new primitive earns all of them by existing.
"""

import functools
import itertools
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..core import Absent, Linear, aval_of, eval_graph
from ..core.aval import is_float
from ..transforms import batch, jvp, linearize, pull, push, trace


@dataclass
class Sample:
    """A primitive at a point.

    Parameters
    ----------
    prim : Primitive
    x : tuple of ndarray
        All operands.
    params : dict
    """

    prim: Any
    x: tuple
    params: dict

    @cached_property
    def active(self):
        """Numbers of the operands that carry a derivative."""
        return tuple(i for i, a in enumerate(self.x) if is_float(aval_of(a).dtype))

    @property
    def point(self):
        """The operands that carry a derivative."""
        return [np.asarray(self.x[i]) for i in self.active]

    def f(self, *point):
        """The primitive as a function of those operands: a list of arrays."""
        full = list(self.x)
        for i, a in zip(self.active, point, strict=True):
            full[i] = a
        y = self.prim(*full, **self.params)
        return list(y) if self.prim.multiple else [y]

    def value(self, point):
        """Value at another point, by ``impl`` alone."""
        full = list(self.x)
        for i, a in zip(self.active, point, strict=True):
            full[i] = a
        y = self.prim.impl(*full, **self.params)
        return [np.asarray(v) for v in (y if self.prim.multiple else (y,))]

    def direction(self, rng):
        """A random tangent of the point."""
        return [random_like(a, rng) for a in self.point]

    def covector(self, rng):
        """A random cotangent of the value; None for parts without derivative."""
        return [random_like(v, rng) if is_float(v.dtype) else None for v in self.value(self.point)]


def samples(prim, rng):
    """The samples a row offers; none where its slot says so."""
    return [] if isinstance(prim.samples, Absent) else [Sample(prim, x, params) for x, params in prim.samples(rng)]


# ---------------------------------------------------------------- helpers of the laws
def random_like(a, rng):
    """Numbers between -1 and 1 in the shape, dtype and memory order of an array; complex ones in both parts."""
    x, made = rng.uniform(-1, 1, a.shape), np.empty_like(a)
    made[...] = x + 1j * rng.uniform(-1, 1, a.shape) if a.dtype.kind == "c" else x
    return made


def single(a):
    """An operand in single precision; integers and truth values as they are."""
    a = np.asarray(a)
    return a.astype({"f": np.float32, "c": np.complex64}.get(a.dtype.kind, a.dtype))


def numeric(a):
    """A value as double-precision numbers, real or complex."""
    a = np.asarray(a)
    return a.astype(complex if a.dtype.kind == "c" else float)


def zero_or(t, like):
    """A tangent, zero spelled out."""
    return np.zeros(np.shape(like)) if t is None else np.asarray(t)


def pushed(f, point, v):
    """Tangents of ``f`` at a point along ``v``; a list."""
    y, y_dot = jvp(f, point, v)
    return [zero_or(t, a) for a, t in zip(y, y_dot, strict=True)]


def pulled(f, point, w):
    """Cotangents of the point for those of the value; a list, zeros spelled out."""
    _, equations, outputs = linearize(f, point, [True] * len(point), "vjp")
    bars = pull(equations, [None if n is None else b for n, b in zip(outputs, w, strict=True)], outputs, len(point))
    return [np.zeros(a.shape, a.dtype) if b is None else b for a, b in zip(map(aval_of, point), bars, strict=True)]


def inner(a, b):
    """Real part of the sum of products over lists of arrays (the pairing that transposes keep), and the sum of their sizes for scale."""
    terms = [np.asarray(np.real(x * y), float).ravel() for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    flat = np.concatenate(terms) if terms else np.zeros(0)
    return float(np.sum(flat)), float(np.sum(np.abs(flat)))


def _precision(sample):
    """Rounding of the coarsest number involved."""
    dtypes = [a.dtype for a in [*sample.point, *sample.value(sample.point)] if is_float(a.dtype)]
    return max([float(np.finfo(d).eps) for d in dtypes], default=0.0)


def moved(point, v, h):
    """The point at a distance along a direction."""
    return [a + h * t for a, t in zip(point, v, strict=True)]


def richardson(f, point, v, h=2e-3):
    """Derivative of a list of arrays along ``v``: central differences, extrapolated twice (error of order h⁶)."""
    def central(step):
        up, down = f(moved(point, v, step)), f(moved(point, v, -step))
        return [(numeric(a) - numeric(b)) / (2 * step) for a, b in zip(up, down, strict=True)]
    rows = [central(h), central(h / 2), central(h / 4)]
    first = [[(4 * b - a) / 3 for a, b in zip(low, high, strict=True)] for low, high in itertools.pairwise(rows)]
    return [(16 * b - a) / 15 for a, b in zip(*first, strict=True)]


def complex_step(sample, v):
    """Derivative along ``v`` from an imaginary step, or None where the implementation takes no complex numbers (or has them already)."""
    if any(a.dtype.kind == "c" for a in sample.point):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            y = sample.value([a + 1e-30j * t for a, t in zip(sample.point, v, strict=True)])
    except (TypeError, ValueError, Warning):
        return None
    return [np.imag(part) / 1e-30 for part in y] if all(np.iscomplexobj(part) for part in y) else None


def close(a, b, tol, what):
    """Raise unless two lists of arrays agree to ``tol`` relative to their size.

    Raises
    ------
    AssertionError
    """
    for n, (x, y) in enumerate(zip(map(np.asarray, a), map(np.asarray, b), strict=True)):
        if x.shape != y.shape:
            raise AssertionError(f"{what}: part {n} has shape {x.shape}, expected {y.shape}")
        error = float(np.max(np.abs(x - y), initial=0.0))
        scale = 1.0 + float(np.max(np.abs(y), initial=0.0))
        if not error <= tol * scale:
            raise AssertionError(f"{what}: part {n} differs by {error:.3g} (allowed {tol * scale:.3g})\n got      {x}\n expected {y}")


# ---------------------------------------------------------------- the laws
def aval_predicts_impl(sample, rng):
    """Shape and dtype of the value are those the aval rule announces, in double and in single precision."""
    for cast in (np.asarray, single):
        x = [cast(a) for a in sample.x]
        y = sample.prim.impl(*x, **sample.params)
        predicted = sample.prim.rule("aval")(*map(aval_of, x), **sample.params)
        pairs = zip(y, predicted, strict=True) if sample.prim.multiple else [(y, predicted)]
        for value, aval in pairs:
            got = aval_of(np.asarray(value))
            if got != aval:
                raise AssertionError(f"{sample.prim.name}: impl gives {got}, the aval rule announces {aval}")


def tangent_is_the_derivative(sample, rng):
    """The jvp agrees with differences, and with the complex step to rounding where the implementation is analytic."""
    v = sample.direction(rng)
    got = pushed(sample.f, sample.point, v)
    wanted = richardson(sample.value, sample.point, v)
    coarse = any(a.dtype == np.float32 for a in sample.value(sample.point))
    close(got, wanted, 5e-3 if coarse else 2e-7, f"jvp of {sample.prim.name} against differences")
    exact = complex_step(sample, v)
    if exact is not None and all(np.allclose(a, b, rtol=1e-6, atol=1e-6) for a, b in zip(exact, wanted, strict=True)):
        close(got, exact, 1e-12, f"jvp of {sample.prim.name} against the complex step")


def tangent_keeps_shape_and_dtype(sample, rng):
    """A tangent has the shape and dtype of its value, a cotangent those of its operand, also in single precision."""
    for cast in (np.asarray, single):
        at = Sample(sample.prim, tuple(cast(a) for a in sample.x), sample.params)
        y, y_dot = jvp(at.f, at.point, at.direction(rng))
        for value, t in zip(y, y_dot, strict=True):
            if t is not None and aval_of(t) != aval_of(np.asarray(value)):
                raise AssertionError(f"{sample.prim.name}: a value {aval_of(np.asarray(value))} has a tangent {aval_of(t)}")
        for a, bar in zip(at.point, pulled(at.f, at.point, at.covector(rng)), strict=True):
            if aval_of(bar) != aval_of(a):
                raise AssertionError(f"{sample.prim.name}: an operand {aval_of(a)} has a cotangent {aval_of(bar)}")


def pullback_is_the_adjoint(sample, rng):
    """⟨w, J v⟩ = ⟨Jᵀ w, v⟩ to rounding.  No difference quotient, hence no tolerance to tune."""
    v, w = sample.direction(rng), sample.covector(rng)
    left, scale = inner(w, pushed(sample.f, sample.point, v))
    right, _ = inner(pulled(sample.f, sample.point, w), v)
    if not abs(left - right) <= 256 * _precision(sample) * (1.0 + scale):
        raise AssertionError(f"{sample.prim.name}: <w, J v> = {left!r} but <J' w, v> = {right!r}")


def transpose_rule_transposes(sample, rng):
    """For each operand a row calls linear: ⟨w, P(v) - P(0)⟩ = ⟨Pᵀ w, v⟩ with the other operands held."""
    if isinstance(sample.prim.transpose, Absent) or sample.prim.multiple:
        return
    w = sample.covector(rng)
    if w[0] is None:
        return
    for n, i in enumerate(sample.active):
        x = [Linear(aval_of(a)) if k == i else np.asarray(a) for k, a in enumerate(sample.x)]
        bar = sample.prim.transpose(w[0], *x, **sample.params)[i]
        if bar is None:
            continue
        v = sample.direction(rng)[n]
        at = [[v if k == n else a for k, a in enumerate(sample.point)], [0 * v if k == n else a for k, a in enumerate(sample.point)]]
        change = [a - b for a, b in zip(sample.value(at[0]), sample.value(at[1]), strict=True)]
        left, scale = inner(w, change)
        right, _ = inner([bar], [v])
        if not abs(left - right) <= 256 * _precision(sample) * (1.0 + scale):
            raise AssertionError(f"{sample.prim.name}, operand {i}: <w, P v> = {left!r} but <P' w, v> = {right!r}")


def pattern_covers_the_map(sample, rng):
    """For each operand a row calls linear: where the map is not zero its sparsity rule has an entry, and no entry lies outside."""
    prim = sample.prim
    if isinstance(prim.transpose, Absent) or isinstance(prim.sparsity, Absent) or prim.multiple:
        return
    w = sample.covector(rng)
    x = [Linear(aval_of(a)) if k in sample.active else np.asarray(a) for k, a in enumerate(sample.x)]
    for n, i in enumerate(sample.active):
        others = [Linear(aval_of(a)) if k == i else np.asarray(a) for k, a in enumerate(sample.x)]
        if w[0] is None or prim.transpose(w[0], *others, **sample.params)[i] is None:
            continue
        columns = map_of(sample, n)
        for operands in (others, x):
            try:
                allowed = dense_pattern(prim.sparsity(i, *operands, **sample.params), columns.shape)
            except IndexError as outside:
                raise AssertionError(f"{prim.name}, operand {i}: the sparsity rule has an entry outside: {outside}") from None
            if np.any(columns & ~allowed):
                at = tuple(int(k) for k in np.argwhere(columns & ~allowed)[0])
                raise AssertionError(f"{prim.name}, operand {i}: element {at[0]} of the value depends on element {at[1]} of the operand; "
                                     f"the sparsity rule has no such entry")


def map_of(sample, n):
    """Nonzeros of the linear map from operand ``n`` of the active ones to the value, by its columns."""
    zero = [0 * a if k == n else a for k, a in enumerate(sample.point)]
    base = np.ravel(sample.value(zero)[0])
    out = np.zeros((base.size, zero[n].size), bool)
    for j in range(zero[n].size):
        e = np.zeros(zero[n].size, zero[n].dtype)
        e[j] = 1 + 1j if e.dtype.kind == "c" else 1
        out[:, j] = np.ravel(sample.value([e.reshape(a.shape) if k == n else a for k, a in enumerate(zero)])[0]) != base
    return out


def dense_pattern(rule, shape):
    """What a sparsity rule gave, as a matrix of truth values."""
    chain = rule if isinstance(rule, list) else [(*rule, shape[0])]
    total, before = np.eye(shape[1], dtype=bool), shape[1]
    for rows, columns, size in chain:
        part = np.zeros((size, before), bool)
        part[rows, columns] = True
        total, before = part @ total, size
    return total


def second_derivatives_agree(sample, rng):
    """Forward over reverse equals reverse over forward, and both the difference of gradients."""
    v, w = sample.direction(rng), sample.covector(rng)

    def gradient(*point):
        return pulled(sample.f, list(point), w)

    def tangent(*point):
        y, y_dot = jvp(sample.f, list(point), v)
        return [np.zeros(np.shape(a)) if t is None else t for a, t in zip(y, y_dot, strict=True)]

    forward_over_reverse = pushed(gradient, sample.point, v)
    reverse_over_forward = pulled(tangent, sample.point, [0.0 if b is None else b for b in w])
    close(forward_over_reverse, reverse_over_forward, 1e-11, f"{sample.prim.name}: second derivatives, forward over reverse and back")
    wanted = richardson(lambda p: gradient(*p), sample.point, v)
    close(forward_over_reverse, wanted, 1e-6, f"{sample.prim.name}: second derivatives against differences")


def nested_derivatives_keep_apart(sample, rng):
    """d/ds at 1 of the derivative of s f(y) along v is f's own: an inner tangent never reads an outer one."""
    v = sample.direction(rng)
    if any(b is None for b in sample.covector(rng)):
        return

    def outer(s):
        y_dot = jvp(lambda *p: [s * part for part in sample.f(*p)], sample.point, v)[1]
        return [np.zeros(()) if t is None else t for t in y_dot]

    one = np.float64(1.0)
    got = pushed(outer, [one], [one])
    wanted = pushed(sample.f, sample.point, v)
    got = [g + np.zeros(np.shape(t)) for g, t in zip(got, wanted, strict=True)]
    close(got, wanted, 1e-14, f"{sample.prim.name}: derivative of a derivative")


def graph_is_the_program(sample, rng):
    """The traced graph is valid and evaluates to the same bits; so does the graph of the pullback."""
    avals = [aval_of(a) for a in sample.point]
    graph, _ = trace(sample.f, avals)
    graph.verify()
    _same_bits(sample.prim.name, eval_graph(graph, *sample.point), sample.f(*sample.point))
    w = sample.covector(rng)

    def gradient(*point):
        return pulled(sample.f, list(point), w)

    graph, _ = trace(gradient, avals)
    graph.verify()
    close(eval_graph(graph, *sample.point), gradient(*sample.point), 64 * _precision(sample), f"{sample.prim.name}: graph of the pullback")


def _same_bits(name, a, b):
    for x, y in zip(a, b, strict=True):
        if np.asarray(x).dtype != np.asarray(y).dtype or not np.array_equal(x, y, equal_nan=True):
            raise AssertionError(f"{name}: the graph evaluates to {x!r}, the program to {y!r}")


#: Members of a batch; no shape a row offers for a sample is as long, so that a confusion of axes shows.
MEMBERS = 7
#: Sums of the members of a batch may run in another order than those of one call.
REORDERED = 64


def _members(a, n):
    """An operand and others like it: numbers shrunk, which no domain minds; integers and truths in another order."""
    a = np.asarray(a)
    if is_float(a.dtype):
        return np.stack([a * a.dtype.type(1.0 - i / 64) for i in range(n)])
    return np.stack([np.roll(a.reshape(-1), i).reshape(a.shape) for i in range(n)])


def _subsets(n):
    """Every choice of operands but the empty one; of many operands each alone and all together."""
    if n > MANY:
        return [*[tuple(i == k for i in range(n)) for k in range(n)], (True,) * n]
    return [s for s in itertools.product((False, True), repeat=n) if any(s)]


MANY = 4


def _one_by_one(sample, x, batched):
    """The values of all members by ``impl``, stacked."""
    rows = []
    for i in range(MEMBERS):
        y = sample.prim.impl(*[a[i] if on else a for a, on in zip(x, batched, strict=True)], **sample.params)
        rows.append([np.asarray(v) for v in (y if sample.prim.multiple else (y,))])
    return [np.stack(column) for column in zip(*rows, strict=True)]


def batch_is_a_stack_of_calls(sample, rng):
    """For each choice of operands that have members, the batch is the members' values stacked; so is a batch of batches."""
    def f(*x):
        y = sample.prim(*x, **sample.params)
        return list(y) if sample.prim.multiple else [y]

    given = [np.asarray(a) for a in sample.x]
    for batched in _subsets(len(given)):
        x = [_members(a, MEMBERS) if on else a for a, on in zip(given, batched, strict=True)]
        wanted = _one_by_one(sample, x, batched)
        got, _ = batch(f, MEMBERS, x, batched)
        _same_members(got, wanted, f"batch of {sample.prim.name} in operands {batched}")

        def twice(*inner, batched=batched):
            return batch(f, MEMBERS, inner, batched)[0]

        outer = [np.stack([a, a[::-1]]) if on else np.stack([a, a]) for a, on in zip(x, batched, strict=True)]
        got, _ = batch(twice, 2, outer, [True] * len(outer))
        _same_members(got, [np.stack([w, w[::-1]]) for w in wanted], f"batch of batches of {sample.prim.name} in operands {batched}")


def directions_come_in_batches(sample, rng):
    """Tangents and cotangents with members go through the list of linear equations as they do one by one."""
    y, equations, outputs = linearize(sample.f, sample.point, [True] * len(sample.point), "vjp")
    if any(n is None for n in outputs):
        return
    forwards = functools.partial(push, equations), sample.point, (outputs,)
    backwards = functools.partial(pull, equations), y, (outputs, len(sample.point))
    for through, avals, options in (forwards, backwards):
        def run(*v, through=through, options=options):
            return through(v, *options)

        given = [np.stack([random_like(a, rng) for _ in range(MEMBERS)]) for a in map(np.asarray, avals)]
        got, batched = batch(run, MEMBERS, given, [True] * len(given))
        rows = [run(*[a[i] for a in given]) for i in range(MEMBERS)]
        for part, on, column in zip(got, batched, zip(*rows, strict=True), strict=True):
            if on:
                _same_members([part], [np.stack(column)], f"batch of directions of {sample.prim.name}")
            elif part is not None or any(c is not None for c in column):
                raise AssertionError(f"{sample.prim.name}: a batch of directions gives {part}, which has no members; one by one {column}")


def _same_members(got, wanted, what):
    for a, b in zip(got, wanted, strict=True):
        if a.dtype != b.dtype:
            raise AssertionError(f"{what}: the value is {a.dtype}, that of one member {b.dtype}")
        if is_float(b.dtype):
            close([a], [b], REORDERED * float(np.finfo(b.dtype).eps), what)
        elif not np.array_equal(a, b):
            raise AssertionError(f"{what}: got {a}, expected {b}")


LAWS = [aval_predicts_impl, tangent_is_the_derivative, tangent_keeps_shape_and_dtype, pullback_is_the_adjoint, transpose_rule_transposes,
        pattern_covers_the_map, second_derivatives_agree, nested_derivatives_keep_apart, graph_is_the_program, batch_is_a_stack_of_calls,
        directions_come_in_batches]

#: Laws without differences: they hold to the rounding of whatever precision a sample has.
EXACT_LAWS = [pullback_is_the_adjoint, transpose_rule_transposes, graph_is_the_program]


def _strided(a):
    """The same numbers with gaps between them; in column order where there are two axes or more."""
    a = np.asarray(a)
    if a.ndim > 1:
        return np.asfortranarray(a)
    if not a.ndim:
        return a
    wide = np.zeros(2 * a.size, a.dtype)
    wide[::2] = a
    return wide[::2]


def _first(a):
    """One element of an operand, with as many axes."""
    a = np.asarray(a)
    return a[(slice(0, 1),) * a.ndim]


#: Rows linear in an operand that is real by definition, or whose samples have equal singular values once they are complex.
REAL_ONLY = frozenset(("cholesky_pull", "cholesky_push", "make_complex", "rfft", "unrotated", "logm_frechet"))


def variants(sample):
    """A sample in other forms: ``(description, Sample)``.

    Single precision and strided operands for all rows; complex ones for those that are linear in an operand (analytic rows offer such
    samples themselves); for elementwise ones also each operand reduced to one element, which broadcasts.
    """
    x = [np.asarray(a) for a in sample.x]
    made = [("single precision", [single(a) for a in x])] if any(is_float(a.dtype) for a in x) else []
    if any(a.ndim for a in x):
        made.append(("not contiguous", [_strided(a) for a in x]))
    if not isinstance(sample.prim.transpose, Absent) and sample.prim.name not in REAL_ONLY and any(a.dtype == float for a in x):
        made.append(("complex", [a * (1.0 - 0.5j) + 0.25j if a.dtype == float else a for a in x]))
    if sample.prim.derivs is not None:
        made += [(f"operand {i} of one element", [_first(a) if k == i else a for k, a in enumerate(x)])
                 for i, b in enumerate(x) if b.size > 1]
    return [(how, Sample(sample.prim, tuple(y), sample.params)) for how, y in made]


__all__ = ["EXACT_LAWS", "LAWS", "Sample", "samples", "variants"]

"""Random programs: every mode computes the same derivatives, and NumPy's values bit for bit."""

import warnings

import numpy as np
import pytest
from random_programs import ELEMENTWISE, draw, point, shrunk

import diffsim as ds
from diffsim.core import eval_graph
from diffsim.errors import FallbackWarning
from diffsim.testing.laws import richardson


def arrays(value):
    return [np.asarray(a, float) for a in value]


def apart(got, wanted, tol):
    """What is wrong with some arrays, or None: shapes, or a difference beyond ``tol`` relative to their size."""
    for n, (a, b) in enumerate(zip(arrays(got), arrays(wanted), strict=True)):
        if a.shape != b.shape:
            return f"part {n} has shape {a.shape}, not {b.shape}"
        error, scale = np.max(np.abs(a - b), initial=0.0), 1.0 + np.max(np.abs(b), initial=0.0)
        if not error <= tol * scale:
            return f"part {n} differs by {error:.2g} of {scale:.2g}"
    return None


def different(got, wanted):
    """What is wrong with values that should be NumPy's bit for bit, or None."""
    for n, (a, b) in enumerate(zip(got, wanted, strict=True)):
        a, b = np.asarray(a), np.asarray(b)
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            return f"part {n} is {a.dtype}{a.shape}, not {b.dtype}{b.shape}"
        if not np.array_equal(a, b):
            return f"part {n} differs by {np.max(np.abs(a - b)):.2g}"
    return None


class Case:
    """A program at a point, with directions."""

    def __init__(self, program):
        self.program, self.f, self.x = program, program.function(), point(program.seed)
        rng = np.random.default_rng((program.seed, 2))
        self.v = [rng.uniform(-1, 1, np.shape(a)) if np.ndim(a) else float(rng.uniform(-1, 1)) for a in self.x]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.plain = self.f(*self.x)
        self.w = [rng.uniform(-1, 1, np.shape(a)) for a in self.plain]

        f, weights = self.f, self.w
        self.loss = lambda *x: sum(np.sum(w * a) for w, a in zip(weights, f(*x), strict=True))


# ---------------------------------------------------------------- what is checked; each returns what is wrong, or None
def value_is_numpys(case):
    y, case.y_dot = ds.jvp(case.f, tuple(case.x), tuple(case.v))
    case.y, case.pull = ds.vjp(case.f, *case.x)
    if _rounds(case.program):
        return apart(y, case.plain, 1e-10) or apart(case.y, case.plain, 1e-10)
    return different(y, case.plain) or different(case.y, case.plain)


def _rounds(program):
    """Whether a program calls what sums in another order than NumPy does."""
    return any(name in program.source for name in ("einsum", "tensordot", "linalg", "std", "var", "**", "power", "prod"))


def forward_derivative_is_the_difference(case):
    for h, tol in ((1e-3, 2e-6), (2e-4, 2e-6), (5e-5, 2e-6), (1e-6, 1e-4)):             # a smaller step where a kink or a branch is near
        wanted = richardson(lambda p: case.f(*p), case.x, case.v, h)
        wrong = apart(case.y_dot, wanted, tol)
        if wrong is None:
            return None
    jumps = apart(richardson(lambda p: case.f(*p), case.x, case.v, 2e-6), wanted, 1e-2)
    return None if jumps else wrong                         # differences that do not settle are no judge: a jump within the step


def pullback_is_the_adjoint(case):
    bars = case.pull([w if w.shape else float(w) for w in case.w])
    left = sum(np.sum(w * t) for w, t in zip(case.w, case.y_dot, strict=True))
    right = sum(np.sum(b * v) for b, v in zip(bars, case.v, strict=True))
    size = sum(np.sum(np.abs(w * t)) for w, t in zip(case.w, case.y_dot, strict=True))
    size += sum(np.sum(np.abs(b * v)) for b, v in zip(bars, case.v, strict=True))
    return None if abs(left - right) <= 1e-11 * (1.0 + size) else f"<w, J v> = {left!r}, <J' w, v> = {right!r}"


def second_derivatives_agree(case):
    numbers = tuple(range(len(case.x)))
    forward = ds.jvp(ds.grad(case.loss, numbers), tuple(case.x), tuple(case.v))[1]
    backward = ds.grad(lambda *x: ds.jvp(case.loss, x, tuple(case.v))[1], numbers)(*case.x)
    return apart(forward, backward, 1e-10)


def graph_is_the_program(case):
    if case.program.by_value:
        return None
    graph = ds.make_graph(case.f)(*case.x).verify()
    return apart(eval_graph(graph, *map(np.asarray, case.x)), case.y, 1e-13)


def batch_is_the_stack(case):
    if case.program.by_value:
        return None
    points = [point(case.program.seed + k) for k in (0, 1000003)]
    got = ds.vmap(case.f)(*[np.stack(a) for a in zip(*points, strict=True)])
    return apart(got, [np.stack(a) for a in zip(*[case.f(*p) for p in points], strict=True)], 1e-11)


def compiled_is_the_program(case):
    if case.program.by_value:
        return None
    warnings.simplefilter("ignore", FallbackWarning)        # matrices are factorised uncompiled
    gradient = ds.grad(case.loss, tuple(range(len(case.x))))
    return apart(ds.jit(case.f)(*case.x), case.plain, 1e-11) or apart(ds.jit(gradient)(*case.x), gradient(*case.x), 1e-10)


EAGER = [value_is_numpys, forward_derivative_is_the_difference, pullback_is_the_adjoint, second_derivatives_agree, graph_is_the_program,
         batch_is_the_stack]


def failure(program, checks):
    """The first check a program fails, with the reason; None if it keeps them all."""
    case = Case(program)
    for check in checks:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                wrong = check(case)
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        if wrong is not None:
            return check.__name__, wrong
    return None


def assert_kept(program, checks):
    """Raise with the shortest program that fails in the same way."""
    found = failure(program, checks)
    if found is None:
        return

    def fails_alike(smaller):
        try:
            again = failure(smaller, checks)
        except Exception:
            return False
        return again is not None and again[0] == found[0] and again[1][:12] == found[1][:12]
    small = shrunk(program, fails_alike)
    what, why = failure(small, checks)
    raise AssertionError(f"{what}: {why}\nseed {program.seed}, at {point(program.seed)}\n{small.source}")


@pytest.mark.parametrize("block", range(8))
def test_random_programs_are_differentiated_alike_in_every_mode(block):
    for seed in range(30 * block, 30 * block + 30):
        assert_kept(draw(seed), EAGER)


@pytest.mark.parametrize("seed", [*range(100001, 100013, 3), *range(100002, 100014, 3)])
def test_random_programs_compile_to_themselves(seed):
    assert_kept(draw(seed), [compiled_is_the_program])


@pytest.mark.slow
@pytest.mark.parametrize("block", range(50))
def test_many_more_random_programs(block):
    for seed in range(10**6 + 100 * block, 10**6 + 100 * block + 100):
        assert_kept(draw(seed), EAGER if seed % 10 else [*EAGER, compiled_is_the_program])


def test_programs_reach_the_whole_elementwise_registry():
    """Every elementwise primitive with a name in NumPy is drawn."""
    assert len(ELEMENTWISE) >= 35
    text = "".join(draw(seed).source for seed in range(300))
    assert [name for name in ELEMENTWISE if f"np.{name}(" not in text] == []


def test_a_wrong_program_is_found_and_made_short():
    """A check that fails on the sine shrinks to a program of the sine."""
    def no_sine(case):
        return "a sine" if "np.sinh(" in case.program.source else None
    seed = next(s for s in range(400) if "np.sinh(" in draw(s).source and len(draw(s).statements) > 5)
    with pytest.raises(AssertionError, match=r"a sine(.|\n)*def f\(x, y, z\):(.|\n)*np\.sinh"):
        assert_kept(draw(seed), [no_sine])

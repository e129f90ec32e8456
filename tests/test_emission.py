"""Compiled programs compute every primitive as its NumPy rule does: by generated loops, by a library's routine, or by calling it back."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import diffsim as ds
import diffsim.numpy
import diffsim.ode
from diffsim.codegen import back
from diffsim.codegen.emissions import emission
from diffsim.codegen.program import Program
from diffsim.core import REGISTRY, Absent, Eqn, Graph, Var, aval_of
from diffsim.passes import finished, inline, optimise
from diffsim.testing import samples
from diffsim.testing.laws import Sample

PRIMITIVES = [p for p in REGISTRY.values() if not isinstance(p.samples, Absent) and "." not in p.name]


def one_program(drawn):
    """Graph that computes a primitive at several samples, and all operands."""
    inputs, eqns, outputs, values = [], [], [], []
    for s in drawn:
        x = [Var(aval_of(np.asarray(a))) for a in s.x]
        made = s.prim.aval(*[v.aval for v in x], **s.params)
        y = [Var(a) for a in (made if s.prim.multiple else (made,))]
        eqns.append(Eqn(s.prim, x, s.params, y))
        inputs += x
        outputs += y
        values += [np.asarray(a) for a in s.x]
    return Graph(inputs, eqns, outputs), values


@pytest.mark.parametrize("prim", PRIMITIVES, ids=lambda p: p.name)
def test_compiled_is_impl(prim, rng):
    drawn = samples(prim, rng)
    graph, x = one_program(drawn)
    got = Program(graph)(*x)
    with np.errstate(all="ignore"):
        want = [np.asarray(v) for s in drawn for v in s.value(s.point)]
    for a, b, v in zip(got, want, graph.outputs, strict=True):
        assert a.dtype == v.aval.dtype
        assert a.shape == v.aval.shape
        tolerance = 1e-12 if a.dtype.kind in "fc" else 0
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, np.max(np.abs(b), initial=0.0)))


def test_every_row_lowers_or_is_control_flow():
    absent = {p.name for p in REGISTRY.values() if isinstance(p.emit, Absent) and "." not in p.name}
    assert absent <= {"checkpoint", "custom", "custom_tangent", "scan", "switch", "while", "while_derivative"}


# ---------------------------------------------------------------- calls back
def spectrum(a, b):
    """A program of calls back only: transforms, sorting, a matrix function."""
    return np.sum(np.abs(np.fft.rfft(b)) ** 2) + np.sum(np.sort(b) * b) + np.trace(ds.linalg.expm(0.1 * a))


A, B = np.array([[0.3, 1.2, 0.1], [0.5, 2.0, -0.4], [0.2, 0.1, 1.0]]), np.array([0.4, -1.0, 2.2])


def test_derivatives_and_batches_of_calls_back_are_those_of_the_program():
    f = ds.value_and_grad(spectrum, (0, 1))
    want, got = f(A, B), ds.jit(f)(A, B)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-14)
    for a, b in zip(got[1], want[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    members = np.stack([B, 2 * B])
    np.testing.assert_allclose(ds.jit(ds.vmap(spectrum, (None, 0)))(A, members), [spectrum(A, b) for b in members], rtol=1e-13)
    np.testing.assert_allclose(ds.grad(ds.jit(spectrum), 1)(A, B), want[1][1], rtol=1e-12)


def test_an_exception_of_a_call_back_is_raised_and_the_program_runs_again():
    f = ds.jit(lambda a: np.sum(ds.linalg.sqrtm(a)) + np.sum(np.fft.ifft(a).real) + np.linalg.eigvals(a)[0].real)
    with pytest.raises(np.linalg.LinAlgError, match="infs or NaNs"):
        f(np.full((2, 2), np.nan))
    assert back.failure() is None
    assert np.isfinite(f(np.diag([4.0, 9.0])))


def test_a_right_hand_side_may_transform():
    wave = 2 * np.pi * np.fft.fftfreq(8)

    def heat(t, u):
        return np.fft.ifft(-(wave**2) * np.fft.fft(u)).real

    def end(u0):
        return np.sum(ds.solve_ivp(heat, (0.0, 1.0), u0, t_eval=[1.0], rtol=1e-9).y ** 2)
    u0 = np.cos(np.arange(8.0)) + 0.3
    exact = np.fft.ifft(np.exp(-(wave**2)) * np.fft.fft(u0)).real
    value, gradient = ds.value_and_grad(end)(u0)
    assert value == pytest.approx(np.sum(exact**2), rel=1e-7)
    np.testing.assert_allclose(gradient, 2 * np.fft.ifft(np.exp(-(wave**2)) * np.fft.fft(exact)).real, rtol=1e-6)


def test_an_exception_in_a_right_hand_side_is_raised():
    def fails(v):
        raise ZeroDivisionError("by the user")

    def rhs(t, y):
        return ds.callback(fails, y, y, differences=True)

    def end(y0):
        return np.sum(ds.solve_ivp(rhs, (0.0, 1.0), y0, t_eval=[1.0]).y)
    for f in (end, ds.jit(end), ds.jit(ds.grad(end))):
        with pytest.raises(ZeroDivisionError, match="by the user"):
            f(B)


def test_threads_call_back_at_once():
    f, wrong = ds.jit(spectrum), []
    f(A, B)

    def work(i):
        for _ in range(20):
            b = B + i
            if abs(f(A, b) - spectrum(A, b)) > 1e-12 * abs(spectrum(A, b)):
                wrong.append(i)
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_arrays_of_every_dtype_pass_through_a_program():
    for dtype in "bBhHiIlLefdgFDG?":
        x = np.array([1, 0, 1]).astype(dtype)
        y, z, flipped = ds.jit(lambda x: (x, np.sort(x), x[::-1]))(x)
        for got, want in ((y, x), (z, np.sort(x)), (flipped, x[::-1])):
            assert got.dtype == x.dtype
            np.testing.assert_array_equal(got, want)


FAMILIES = {
    "lapack": "np.sum(np.linalg.solve(np.outer(x, x) + np.eye(3), x) ** 2) + np.linalg.slogdet(np.outer(x, x) + np.eye(3))[1]",
    "special": "np.sum(ds.special.j0(x) + ds.special.gammaincc(x, 2 * x) + ds.special.kv(2, x) + ds.special.fresnel(x)[0])",
    "blas": "np.sum((np.outer(np.repeat(x, 30), np.ones(70)) @ np.outer(np.ones(70), np.sin(np.repeat(x, 20)))) ** 2)",
    "blas in a rhs": "np.sum(ds.solve_ivp(lambda t, y: -(np.outer(y, y) @ np.outer(y, y))[0], (0.0, 1), np.repeat(x, 9), t_eval=[1]).y)",
    "back": "np.sum(np.sort(x)) + np.sum(np.abs(np.fft.fft(x)) ** 2) + np.trace(ds.linalg.expm(np.outer(x, x)))",
    "rhs": "np.sum(ds.solve_ivp(lambda t, y: -np.sort(y), (0.0, 1.0), x, t_eval=[1.0]).y)",
}
RUN = """import sys
import numpy as np
import diffsim as ds
f = ds.jit(ds.value_and_grad(lambda x: {}))
value, gradient = f(np.array([0.1, 0.7, 0.4]))
print(repr((float(value), gradient.tolist(), f.stats["cached"])))
"""


@pytest.mark.parametrize("family", FAMILIES)
def test_a_program_runs_from_the_disk_in_a_fresh_process(family, tmp_path):
    def run():
        environment = {**os.environ, "DIFFSIM_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-W", "error", "-c", RUN.format(FAMILIES[family])], env=environment, capture_output=True,
                              text=True, check=True)
        return eval(done.stdout)
    (value, gradient, cached), again = run(), run()
    assert not cached
    assert again == (value, gradient, True)


# ---------------------------------------------------------------- BLAS
#: Shapes of the operands, contracted axes, batch axes: matrices and vectors in every order they can lie in, and some no call can say.
PRODUCTS = [
    ((70, 80), (80, 30), ((1,), (0,)), ((), ())), ((80, 70), (80, 30), ((0,), (0,)), ((), ())),
    ((70, 80), (30, 80), ((1,), (1,)), ((), ())),
    ((80, 70), (30, 80), ((0,), (1,)), ((), ())), ((400, 350), (350,), ((1,), (0,)), ((), ())),
    ((350, 400), (350,), ((0,), (0,)), ((), ())),
    ((350,), (350, 400), ((0,), (0,)), ((), ())), ((350,), (400, 350), ((0,), (1,)), ((), ())),
    ((6, 50, 20), (6, 20, 30), ((2,), (1,)), ((0,), (0,))), ((50, 6, 20), (20, 30, 6), ((2,), (0,)), ((1,), (2,))),
    ((2, 3, 40, 20), (2, 3, 30, 20), ((3,), (3,)), ((0, 1), (0, 1))), ((7, 5, 40), (8, 5, 40), ((1, 2), (1, 2)), ((), ())),
    ((7, 5, 40), (40, 5, 8), ((1, 2), (1, 0)), ((), ())), ((5, 7, 40), (40, 8), ((2,), (0,)), ((), ())),
    ((6, 300, 90), (6, 90), ((2,), (1,)), ((0,), (0,))), ((6, 90), (6, 300, 90), ((1,), (2,)), ((0,), (0,))),
    ((1, 400), (400, 350), ((1,), (0,)), ((), ())),
    ((350, 400), (400, 1), ((1,), (0,)), ((), ())), ((300, 1, 40), (300, 50), ((0,), (0,)), ((), ())),
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("a", "b", "contract", "batch"), PRODUCTS)
def test_large_products_are_those_of_numpy(a, b, contract, batch, dtype, rng):
    x, y = rng.normal(size=a).astype(dtype), rng.normal(size=b).astype(dtype)
    dot = REGISTRY["dot_general"]
    inputs = [Var(aval_of(x)), Var(aval_of(y))]
    out = Var(dot.aval(*[v.aval for v in inputs], contract=contract, batch=batch))
    program = Program(Graph(inputs, [Eqn(dot, inputs, {"contract": contract, "batch": batch}, [out])], [out]))
    scale = dot.impl(np.abs(x), np.abs(y), contract=contract, batch=batch)
    got = program(x, y)[0]
    assert got.dtype == dtype
    np.testing.assert_array_less(np.abs(got - dot.impl(x, y, contract=contract, batch=batch)), 30 * np.finfo(dtype).eps * scale)


def test_transposed_operands_are_flags(rng):
    """The program has products and nothing else: no copy of an operand or a result."""
    x, y = rng.normal(size=(60, 50)), rng.normal(size=(40, 50))
    f = ds.jit(ds.grad(lambda x, y: np.sum((x @ y.T) ** 2), (0, 1)))
    got = f(x, y)
    z = 2 * x @ y.T
    np.testing.assert_allclose(got[0], z @ y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(got[1], z.T @ x, rtol=1e-12, atol=1e-12)
    names = [e.prim.name for e in optimise(inline(f.graph)).eqns]
    assert names.count("dot_general") == 3
    assert "transpose" not in names


def test_a_right_hand_side_may_call_a_library(rng):
    a = rng.normal(size=(20, 20)) / 10 - np.eye(20)

    def rhs(t, y, a):                                       # four systems at once
        return np.ravel(a @ np.reshape(y, (20, 4)))

    def end(y0, a):
        return np.sum(ds.solve_ivp(rhs, (0.0, 1.0), np.ravel(y0), t_eval=[1.0], args=(a,), rtol=1e-9).y ** 2)
    y0 = rng.normal(size=(20, 4))
    flow = ds.linalg.expm(a)
    value, (by_state, _) = ds.value_and_grad(end, (0, 1))(y0, a)
    assert value == pytest.approx(np.sum((flow @ y0) ** 2), rel=1e-7)
    np.testing.assert_allclose(by_state, 2 * flow.T @ flow @ y0, rtol=1e-6, atol=1e-7)


# ---------------------------------------------------------------- LAPACK
def systems(a, b):
    """Systems with a matrix and its transpose, a factor that is known to be triangular, determinants."""
    s = a @ a.T + np.eye(len(a))
    factor = np.linalg.cholesky(s)
    x = np.linalg.solve(a, b) + np.linalg.solve(a.T, b) + np.linalg.solve(factor, b) + np.linalg.inv(a) @ b
    return np.sum(x**2) + np.linalg.slogdet(s)[1] + np.linalg.det(a) + np.sum(ds.linalg.solve_banded((1, 1), a[:3] + 4.0, b) ** 2)


@pytest.mark.parametrize("shape", [(5,), (5, 3)])
def test_compiled_systems_are_those_of_the_program(shape, rng):
    a, b = rng.normal(size=(5, 5)) + 3 * np.eye(5), rng.normal(size=shape)
    f = ds.value_and_grad(systems, (0, 1))
    j = ds.jit(f)
    for got, want in zip(j(a, b)[1], f(a, b)[1], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10)
    batched = ds.jit(ds.vmap(systems))(np.stack([a, a.T]), np.stack([b, -b]))
    np.testing.assert_allclose(batched, [systems(a, b), systems(a.T, -b)], rtol=1e-11)
    names = [e.prim.name for e in finished(j.graph).eqns]
    # of a: of both systems, the inverse, and all derivatives of these; of a @ a.T: of slogdet and its derivative
    assert names.count("lu") == 2
    assert not {"solve", "slogdet"} & set(names)


FAILING = {
    "cholesky": (np.linalg.cholesky, -np.eye(3)),
    "solve": (lambda a: np.linalg.solve(a, np.ones((3, 2))), np.ones((3, 3))),
    "triangular": (lambda a: ds.linalg.solve_triangular(a, np.ones(3)), np.diag([1.0, 0.0, 1.0])),
    "banded": (lambda a: ds.linalg.solve_banded((1, 1), a, np.ones(3)), np.zeros((3, 3))),
    "shared": (lambda a: np.linalg.solve(a, np.ones(3)) + np.linalg.solve(a.T, np.ones(3)), np.ones((3, 3))),
}


@pytest.mark.parametrize("name", FAILING)
def test_what_lapack_refuses_is_raised_as_uncompiled(name):
    f, a = FAILING[name]
    with pytest.raises(np.linalg.LinAlgError) as plain:
        f(a)
    g = ds.jit(f)
    with pytest.raises(np.linalg.LinAlgError) as compiled:
        g(a)
    if name not in ("shared", "triangular"):                # where NumPy and SciPy would solve otherwise
        assert str(compiled.value) == str(plain.value)
    assert np.isfinite(g(np.array([[4.0, 1.0, 0.5], [1.0, 5.0, 1.0], [0.5, 1.0, 6.0]]))).all()


@pytest.mark.parametrize("name", FAILING)
def test_what_lapack_refuses_is_nan_in_a_right_hand_side(name):
    f, a = FAILING[name]
    result = ds.solve_ivp(lambda t, y, a: -y * np.sum(f(a)), (0.0, 1.0), [1.0], args=(a,))
    assert not result.success
    assert "not finite" in result.message


@pytest.mark.parametrize("n", [200, 129])
def test_large_triangles_are_solved_block_by_block(n, rng):
    a, b = np.tril(rng.normal(size=(n, n))) / 10 + np.eye(n), rng.normal(size=(n, 3))
    row = REGISTRY["triangular_solve"]
    drawn = [Sample(row, (x, y), {"lower": lower, "unit": unit, "transposed": transposed, "right": right})
             for x, lower in ((a, True), (a.T.copy(), False)) for unit in (False, True) for transposed in (False, True)
             for right, y in ((False, b), (True, b.T.copy()))]
    graph, x = one_program(drawn)
    for got, want in zip(Program(graph)(*x), [s.value(s.point)[0] for s in drawn], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-11 * np.abs(want).max())


# ---------------------------------------------------------------- special functions
def test_orders_that_are_integers_take_the_routine_for_integers():
    x, n = np.linspace(-0.9, 0.9, 7), np.arange(7)
    legendre, hermite, integral = ds.special.eval_legendre, ds.special.eval_hermite, ds.special.expn
    for f, counts in ((legendre, n), (integral, n), (hermite, n), (legendre, n + 0.5)):
        y = np.abs(x) + 0.1 if f is integral else x
        np.testing.assert_array_equal(ds.jit(f)(counts, y), f(counts, y))


def test_special_functions_meet_special_values_as_scipy_does():
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -3.0, 1e300, 5e-324])
    for f in (ds.special.j0, ds.special.k1, ds.special.digamma, ds.special.expi, ds.special.ellipk, ds.special.ndtri, ds.special.rgamma):
        np.testing.assert_array_equal(ds.jit(f)(x), f(x))


def test_a_right_hand_side_may_use_special_functions():
    def end(y0):
        return ds.solve_ivp(lambda t, y: -ds.special.j1(t) * y, (0.0, 2.0), y0, t_eval=[2.0], rtol=1e-10).y[0, 0]
    decay = np.exp(ds.special.j0(2.0) - 1.0)                # y' = J0'(t) y
    assert ds.grad(end)(np.array([3.0]))[0] == pytest.approx(decay, rel=1e-8)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(60, 60), (3, 20, 20), (40, 70), (2, 30, 12)])
def test_large_factorisations_have_the_signs_of_numpy(shape, dtype, rng):
    a = rng.normal(size=shape).astype(dtype)
    cases = [(np.linalg.qr, a), (lambda a: np.linalg.qr(a, "complete"), a), (np.linalg.svd, a), (np.linalg.svdvals, a),
             (lambda a: np.linalg.svd(a, full_matrices=False), a)]
    if shape[-1] == shape[-2]:
        s = a + np.swapaxes(a, -1, -2)
        cases += [(np.linalg.eigh, s), (lambda a: np.linalg.eigh(a, "U"), s), (np.linalg.eigvalsh, s)]
    tolerance = 2e3 * np.finfo(dtype).eps
    for f, x in cases:
        got, want = ds.jit(f)(x), f(x)
        for y, z in zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]:
            assert y.dtype == dtype
            if dtype is np.float32:                         # there signs depend on roundings, which differ between builds of LAPACK
                y, z = np.abs(y), np.abs(z)
            np.testing.assert_allclose(y, z, rtol=tolerance, atol=tolerance * np.abs(z).max())


# ---------------------------------------------------------------- complex numbers
def has_complex(prim):
    """Whether some sample has complex numbers."""
    return any(np.iscomplexobj(x) for s in samples(prim, np.random.default_rng(0)) for x in s.x) or prim.name in ("make_complex", "ifft")


@pytest.mark.parametrize("prim", [p for p in PRIMITIVES if has_complex(p)], ids=lambda p: p.name)
def test_split_complex_numbers_are_those_of_impl(prim, rng):
    drawn = [s for s in samples(prim, rng) if any(np.iscomplexobj(y) for y in (*s.x, *s.value(s.point)))]
    graph, x = one_program(drawn)
    program = finished(graph)
    program.verify()
    with np.errstate(all="ignore"):
        want = [np.asarray(v) for s in drawn for v in s.value(s.point)]
    for a, b in zip(Program(program)(*x), want, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * max(1.0, np.max(np.abs(b), initial=0.0)))


def waves(z, k):
    """Arithmetic, layout and sums of complex numbers, between transforms, with operands of several dtypes."""
    u = np.exp(1j * k * z.real) * z + np.arange(len(z)) * (2 - 1j)
    u[1:3] = z[:2] / (u[1:3] + 3)
    v = np.fft.ifft(np.conj(u) * np.fft.fft(u)) + np.concatenate([np.arange(2), z[2:]])
    w = np.outer(v, v.conj()) @ (u - 1) / np.float32(3)
    return np.sum(np.abs(w) ** 2) + np.sum(np.where(v.real > 0, v, 2j) ** 3).imag


def test_complex_programs_are_compiled_to_real_arithmetic(rng):
    z, k = rng.normal(size=6) + 1j * rng.normal(size=6), 0.7
    f = ds.jit(ds.value_and_grad(waves, (0, 1)))
    (value, (by_z, by_k)), (want, (z_bar, k_bar)) = f(z, k), ds.value_and_grad(waves, (0, 1))(z, k)
    assert value == pytest.approx(want, rel=1e-13)
    np.testing.assert_allclose(by_z, z_bar, rtol=1e-11)
    assert by_k == pytest.approx(k_bar, rel=1e-11)
    back_to_numpy = [e.prim.name for e in finished(f.graph).eqns if emission(e) is back.call_back]
    assert set(back_to_numpy) <= {"fft", "ifft"}
    for dtype in (np.complex64, np.complex128):
        y = ds.jit(lambda a: (a * 2 + 1).conj())(z.astype(dtype))
        assert y.dtype == dtype
        np.testing.assert_allclose(y, (z.astype(dtype) * 2 + 1).conj(), rtol=1e-6)


def test_quotients_of_complex_numbers_do_not_overflow():
    x, y = np.array([1e300 + 1e300j, 1e-300 + 1j, 3 + 0j]), np.array([1e300 - 2e300j, 1e-308 + 1e-300j, 4e-320j + 5])
    np.testing.assert_allclose(ds.jit(np.divide)(x, y), x / y, rtol=1e-14)


def test_loops_and_choices_carry_complex_numbers(rng):
    u0 = rng.normal(size=8) + 1j * rng.normal(size=8)
    phase = np.exp(-0.1j * np.arange(8) ** 2)

    def propagated(u, strength):
        def step(u, _):
            u = np.fft.ifft(phase * np.fft.fft(u * np.exp(1j * strength * np.abs(u) ** 2)))
            return u, u[0]
        u, trace = ds.scan(step, u, None, length=5)
        u, v = ds.fori_loop(0, 3, lambda i, s: (s[1], s[0] * 1j), (u, trace[0] + u))
        chosen = ds.cond(strength > 0.0, lambda u, v: (u, u), lambda u, v: (v, 2 * v), u, v)
        return np.sum(np.abs(chosen[0] + chosen[1]) ** 2) + np.sum(trace * u[:5]).real
    f = ds.value_and_grad(propagated, (0, 1))
    for strength in (0.3, -0.2):
        got, want = ds.jit(f)(u0, strength), f(u0, strength)
        assert got[0] == pytest.approx(want[0], rel=1e-12)
        np.testing.assert_allclose(got[1][0], want[1][0], rtol=1e-10, atol=1e-10)
        assert got[1][1] == pytest.approx(want[1][1], rel=1e-10)
    program = ds.jit(lambda u: ds.scan(lambda c, _: (c * (1 + 0.5j) + 1, None), u, None, length=20)[0])
    want = u0
    for _ in range(20):
        want = want * (1 + 0.5j) + 1
    np.testing.assert_allclose(program(u0), want, rtol=1e-13)
    assert not [e for e in finished(program.graph).eqns if emission(e) is back.call_back]

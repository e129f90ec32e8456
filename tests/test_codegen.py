"""Generated code: every emission rule agrees with its NumPy rule, in every form the code can take."""

import ctypes
import math
import platform

import numpy as np
import pytest

import diffsim.numpy  # noqa: F401  (registers its primitives)
from diffsim.codegen import engine, vector_math
from diffsim.codegen.kernel import kernel_ir, kernel_python, kernel_source
from diffsim.codegen.llvm_printer import FunctionPrinter, Text
from diffsim.codegen.lower import Output, lower
from diffsim.codegen.places import in_place
from diffsim.codegen.program import Program
from diffsim.codegen.python_printer import compiled_python
from diffsim.core import REGISTRY, Absent, Aval, Eqn, Graph, Var, aval_of, eval_graph
from diffsim.core.emission import Gather, Scalar
from diffsim.errors import MissingRule
from diffsim.passes import optimise
from diffsim.prims import elementwise as e
from diffsim.prims import layout as la
from diffsim.prims.contract import dot_general
from diffsim.prims.gather import gather, put, scatter_add, within
from diffsim.transforms import linearize, pull, trace

FLOAT = np.dtype(np.float64)
EMITTED = [p for p in REGISTRY.values() if isinstance(p.emit, (Scalar, Gather)) and not isinstance(p.samples, Absent)]
FORMS = {"chosen": None, "loops": 0, "unrolled": 10**6}


def one_equation(prim, x, params):
    """Graph of one primitive."""
    inputs = [Var(aval_of(a)) for a in x]
    out = Var(prim.aval(*[v.aval for v in inputs], **params))
    return Graph(inputs, [Eqn(prim, inputs, params, [out])], [out])


def nest(graph, unroll):
    """Loop nest with a parameter for each input and output."""
    places = [(f"a{i}", 0, v.aval.dtype) for i, v in enumerate(graph.inputs)]
    targets = [Output(f"b{i}", 0, x.aval.dtype) for i, x in enumerate(graph.outputs)]
    return lower("f", [(p[0], "ptr") for p in places] + [(t.base, "ptr") for t in targets], graph, places, targets, unroll)


def call(function, graph, x):
    """Run a function of pointers, printed as machine code or Python, on copies."""
    flat = [np.ascontiguousarray(a, v.aval.dtype).reshape(-1).copy() for a, v in zip(x, graph.inputs, strict=True)]
    out = [np.full(max(v.aval.size, 1), 77, v.aval.dtype) for v in graph.outputs]
    with np.errstate(all="ignore"):
        function(*flat, *out)
    return [b[: v.aval.size].reshape(v.aval.shape) for b, v in zip(out, graph.outputs, strict=True)]


def machines(functions):
    """Loop nests as machine code that takes arrays: one module of all."""
    text, runs = Text(), []
    for number, function in enumerate(functions):
        function.name = f"f{number}"
        FunctionPrinter(function, text).print()
    code = engine.compile_ir([str(text)], [f.name for f in functions])
    for function in functions:
        entry = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(function.params))(code.address(function.name))

        def run(*arrays, entry=entry):
            entry(*[a.ctypes.data for a in arrays])
            return code  # as long as this function lives, so does the code

        runs.append(run)
    return runs


def machine(function):
    return machines([function])[0]


def same(got, want, scale=None):
    """Equal; floats within four units in the last place of what was summed."""
    want = np.asarray(want)
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want)
        return
    size = np.abs(want) if scale is None else scale
    with np.errstate(invalid="ignore"):
        close = np.abs(got - want) <= 4 * np.spacing(np.maximum(size, np.finfo(want.dtype).tiny))
    assert np.all(close | (got == want) | (np.isnan(got) & np.isnan(want))), f"{got} is not {want}"


#: What four units are taken of where the value is no measure: SciPy's gamma rounds by more, the others pass through zero or near it.
SIZES = {"gamma": lambda y: 4 * np.abs(y), **dict.fromkeys(("logaddexp", "logaddexp2", "gammaln", "erfc", "ndtr"), lambda y: np.abs(y) + 1)}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("prim", EMITTED, ids=lambda p: p.name)
def test_emitted_code_is_the_numpy_rule(prim, dtype, rng):
    cases, narrow = [], {"f": dtype, "c": np.result_type(dtype, np.complex64)}
    for drawn, params in prim.samples(rng):
        if any(np.iscomplexobj(a) for a in drawn) and not getattr(prim.emit, "parts", False):
            continue                                        # generated code computes with real numbers
        if np.dtype(params.get("dtype", float)).kind == "c":
            continue
        x = tuple(np.asarray(a).astype(narrow.get(np.asarray(a).dtype.kind, np.asarray(a).dtype)) for a in drawn)
        graph = one_equation(prim, x, params)
        want = np.asarray(prim.impl(*x, **params)).astype(graph.outputs[0].aval.dtype)
        scale = SIZES[prim.name](want) if prim.name in SIZES else None
        if prim is dot_general:
            scale = prim.impl(*map(np.abs, x), **params)
        elif prim.name in ("reduce_sum", "cumsum", "scatter_add"):
            scale = np.full(want.shape, np.abs(x[0]).sum(dtype=dtype))
        cases += [(x, graph, want, scale, nest(graph, unroll)) for unroll in FORMS.values()]
    for (x, graph, want, scale, function), compiled in zip(cases, machines([c[-1] for c in cases]), strict=True):
        same(call(compiled, graph, x)[0], want, scale)
        same(call(compiled_python(function), graph, x)[0], want, scale)


HARD = np.array([0.0, -0.0, 1.0, -1.0, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e308, 5e-324])
TWO = ["maximum", "minimum", "mod", "floor_divide", "fmod", "copysign", "logaddexp", "pow", "hypot", "arctan2", "lt", "ne", "and", "xor"]


@pytest.mark.parametrize("name", TWO)
def test_two_operands_meet_every_special_value_as_numpy_does(name):
    x, y = map(np.ravel, np.meshgrid(HARD, HARD))
    with np.errstate(all="ignore"):
        want = REGISTRY[name].impl(x, y)
    graph = one_equation(REGISTRY[name], (x, y), {})
    same(call(machine(nest(graph, 0)), graph, (x, y))[0], want)


@pytest.mark.parametrize("name", ["sign", "abs", "floor", "rint", "isnan", "isinf", "isfinite", "not", "sqrt", "exp", "log", "tanh"])
def test_one_operand_meets_every_special_value_as_numpy_does(name):
    with np.errstate(all="ignore"):
        want = REGISTRY[name].impl(HARD)
    graph = one_equation(REGISTRY[name], (HARD,), {})
    same(call(machine(nest(graph, 0)), graph, (HARD,))[0], want)


@pytest.mark.parametrize("exponent", [0.5, 1.5, 2.5, 3.5, -0.5, -1.5, -2.5, 0.3])
def test_powers_meet_every_special_value_as_numpy_does(exponent):
    with np.errstate(all="ignore"):
        want = np.power(HARD, np.full(HARD.size, exponent))
    graph = one_equation(e.scalar_pow, (HARD,), {"exponent": exponent})
    same(call(machine(nest(graph, 0)), graph, (HARD,))[0], want)


@pytest.mark.parametrize("prim", [p for p in EMITTED if isinstance(p.emit, Scalar) and p.name != "convert"], ids=lambda p: p.name)
def test_long_loops_stay_within_four_units(prim, rng):
    """Long loops may use vector forms of elementary functions, which round differently."""
    draws = [prim.samples(rng)[1] for _ in range(40)]
    params = draws[0][1]
    x = tuple(np.resize(np.concatenate([np.ravel(each[n]) for each, _ in draws]), 200) for n in range(len(draws[0][0])))
    graph = one_equation(prim, x, params)
    want = prim.impl(*x, **params)
    same(call(machine(nest(graph, 0)), graph, x)[0], want, SIZES[prim.name](want) if prim.name in SIZES else None)


def test_vector_forms_are_used_where_the_library_is_installed():
    x = np.linspace(0, 1, 200)
    text = Text()
    FunctionPrinter(nest(one_equation(e.sin, (x,), {}), 0), text).print()
    assert ("@_ZGV" in str(text)) == ("sin" in vector_math.variants())
    assert vector_math.attribute("no such function") == ""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="SVML is for x86-64")
def test_intels_library_is_preferred_where_it_is_faster(monkeypatch):
    class Library:
        """Has every symbol of one naming, as far as a version goes."""

        def __init__(self, path):
            self.known = "__svml_" if vector_math.SVML in path else "_ZGV"

        def __getattr__(self, symbol):
            if not symbol.startswith(self.known) or symbol.endswith("_tanh"):     # of which this libmvec has none
                raise AttributeError(symbol)
            return symbol
    alone = vector_math.variants.__wrapped__()
    monkeypatch.setattr(vector_math, "svml", lambda: f"/nowhere/{vector_math.SVML}")
    assert vector_math.variants.__wrapped__() == alone       # what cannot be loaded is left alone
    monkeypatch.setattr(vector_math, "_loaded", lambda *paths: Library(paths[-1]))
    monkeypatch.setattr(engine, "host", lambda: ("some", "+avx2,+avx512f"))
    found = vector_math.variants.__wrapped__()
    assert found["pow"] == [("__svml_pow8", 8, 2), ("__svml_pow4", 4, 2)]
    assert found["sin"][0] == ("_ZGVeN8v_sin", 8, 1)
    assert found["tanh"][0] == ("__svml_tanh8", 8, 1)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_the_first_nan_is_the_extreme(name):
    for x in map(np.array, ([1.0, np.nan, 3.0, np.nan], [np.nan, 1.0], [2.0, 2.0, 1.0, 1.0])):
        graph = one_equation(REGISTRY[name], (x,), {"axis": 0})
        for unroll in FORMS.values():
            assert call(machine(nest(graph, unroll)), graph, (x,))[0] == REGISTRY[name].impl(x, axis=0)


WHOLE = ["mod", "floor_divide", "add", "mul", "sub", "lt", "maximum", "sign", "abs", "convert"]
#: NumPy has no difference or sign of truths, and divides them as int8, which generated code does not compute in.
TRUTHS = [name for name in WHOLE if name not in ("mod", "floor_divide", "sub", "sign")]


@pytest.mark.parametrize(("name", "dtype"), [(n, d) for d in (np.int64, np.int32) for n in WHOLE] + [(n, bool) for n in TRUTHS])
def test_integers_and_truths_follow_numpy(name, dtype):
    prim = REGISTRY[name]
    x, y = np.array([7, -7, 7, -7, 0, 1]).astype(dtype), np.array([2, 2, -2, -2, 5, 0]).astype(dtype)
    operands = (x,) if name in ("sign", "abs", "convert") else (x, y)
    params = {"dtype": FLOAT} if name == "convert" else {}
    with np.errstate(all="ignore"):
        want = prim.impl(*operands, **params)
    graph = one_equation(prim, operands, params)
    same(call(machine(nest(graph, 0)), graph, operands)[0], want)


def test_integers_wrap_around_as_numpy_arrays_do():
    x = np.array([2**63 - 1, -(2**63), 2**62])
    for prim in (e.add, e.mul, e.sub):
        graph = one_equation(prim, (x, x[::-1]), {})
        same(call(machine(nest(graph, 0)), graph, (x, x[::-1]))[0], prim.impl(x, x[::-1]))


@pytest.mark.parametrize("n", [3, 300])
@pytest.mark.parametrize("dtype", [np.int64, np.int32])
@pytest.mark.parametrize("name", ["floor_divide", "mod", "fmod"])
def test_integer_division_does_not_trap(name, dtype, n):
    """The smallest integer over -1 wraps around; anything over 0 is 0."""
    prim, least = REGISTRY[name], np.iinfo(dtype).min
    x, y = (np.resize(np.array(v, dtype), n) for v in ([least, least, least + 1, 7, -7, 0], [-1, 0, -1, -1, 0, -1]))
    for operands in ((x, y), (x, np.array(-1, dtype)), (x, np.array(0, dtype)), (np.array(least, dtype), np.array(-1, dtype))):
        with np.errstate(all="ignore"):
            want = prim.impl(*operands)
        graph = one_equation(prim, operands, {})
        for unroll in FORMS.values():
            same(call(machine(nest(graph, unroll)), graph, operands)[0], want)


def test_remainders_of_large_integers_are_exact():
    x, y = np.array([2**62 + 1, -(2**62) - 1]), np.array([10, 10])
    graph = one_equation(e.fmod, (x, y), {})
    same(call(machine(nest(graph, None)), graph, (x, y))[0], np.fmod(x, y))


@pytest.mark.parametrize("n", [4, 100])
@pytest.mark.parametrize("name", ["maximum", "minimum", "clip"])
def test_the_sign_of_a_zero_among_zeros_is_numpys(name, n):
    """Bounds of clip are scalars here: for arrays of bounds NumPy takes the bound's sign, generated code the operand's.

    The largest and smallest of a whole array choose by the sign: +0 is more than -0, wherever they stand.
    """
    x, y = np.resize([0.0, -0.0, 0.0, -0.0], n), np.resize([0.0, 0.0, -0.0, -0.0], n)
    low_high = [(np.float64(a), np.float64(b)) for a, b in ((0.0, 1.0), (-0.0, 1.0), (-1.0, 0.0), (-1.0, -0.0))]
    for operands in [(x, y)] if name != "clip" else [(x, *bounds) for bounds in low_high]:
        graph = one_equation(REGISTRY[name], operands, {})
        got = call(machine(nest(graph, None)), graph, operands)[0]
        np.testing.assert_array_equal(np.signbit(got), np.signbit(getattr(np, name)(*operands)))


def test_integers_to_powers_are_exact_or_left_to_numpy():
    x = np.array([2, 3])
    with pytest.raises(MissingRule, match="powers not known"):
        nest(one_equation(e.power, (x, x), {}), None)
    graph, _ = trace(lambda x: [e.power(x, np.int64(39))], [aval_of(x)])
    same(call(machine(nest(optimise(graph), None)), graph, (x,))[0], x**39)
    with pytest.raises(ValueError, match="negative integer powers"):
        e.integer_pow.aval(aval_of(x), n=-1)


def raised(kind, f, *x, **params):
    with pytest.raises(kind) as error:
        f(*x, **params)
    return str(error.value)


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
@pytest.mark.parametrize("name", ["reduce_max", "reduce_min", "argmax", "argmin"])
def test_the_extreme_of_nothing_is_refused_as_numpy_refuses_it(name, shape):
    prim, axis = REGISTRY[name], len(shape) - 1
    params = {"axis": axis} if name.startswith("arg") else {"axes": (axis,)}
    said = [raised(ValueError, prim.impl, np.zeros(shape), **params), raised(ValueError, prim.aval, Aval(shape, FLOAT), **params)]
    assert said[0] == said[1]
    if len(shape) > 1:
        params = {"axis": 0} if name.startswith("arg") else {"axes": (0,)}
        assert prim.aval(Aval(shape, FLOAT), **params).shape == prim.impl(np.zeros(shape), **params).shape


# ---------------------------------------------------------------- sums
def summed(x, axes):
    graph = one_equation(la.reduce_sum, (x,), {"axes": axes})
    return call(machine(nest(graph, None)), graph, (x,))[0]


@pytest.mark.parametrize("shape", [(10**6,), (1000, 1000), (3, 300_000), (300_000, 3), (2047,), (2048,), (2049,)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_long_sums_are_as_exact_as_numpys(shape, dtype, rng):
    """Equal terms are the worst case: their rounding errors all have one sign."""
    for x in (np.full(shape, 0.1, dtype), rng.normal(size=shape).astype(dtype)):
        exact, size = math.fsum(x.ravel().tolist()), math.fsum(np.abs(x).ravel().tolist())
        error = abs(float(summed(x, tuple(range(x.ndim)))) - exact)
        assert error <= 8 * np.finfo(np.float64).eps * size + (np.finfo(dtype).eps * abs(exact) if dtype is np.float32 else 0)


def test_sums_of_single_precision_rows_and_products_are_formed_in_double(rng):
    x = np.full((100_000, 5), 0.1, np.float32)
    exact = 100_000 * float(x[0, 0])
    np.testing.assert_allclose(summed(x, (0,)), np.full(5, exact), rtol=1e-7)
    ones = np.ones((3, 100_000), np.float32)
    graph = one_equation(dot_general, (ones, x), {"contract": ((1,), (0,)), "batch": ((), ())})
    np.testing.assert_allclose(call(machine(nest(graph, None)), graph, (ones, x))[0], np.full((3, 5), exact), rtol=1e-7)


def test_long_sums_meet_infinities_as_numpy_does():
    for special, want in (([np.inf], np.inf), ([np.inf, -np.inf], np.nan), ([np.nan], np.nan), ([1e308, 1e308, -1e308], np.inf)):
        x = np.ones(5000)
        x[1000 : 1000 + 1200 * len(special) : 1200] = special
        np.testing.assert_equal(summed(x, (0,)), want)


def test_a_long_sum_over_a_join_keeps_its_pieces_and_its_other_sums(rng):
    def f(x, y):
        both = la.concatenate(x, y, axis=0)
        return [la.reduce_sum(e.mul(both, both), axes=(0,)), la.reduce_sum(e.sin(both), axes=(0,))]

    x, y = rng.normal(size=3000), rng.normal(size=4001)
    graph, _ = trace(f, [aval_of(x), aval_of(y)])
    got = call(machine(nest(graph, None)), graph, (x, y))
    np.testing.assert_allclose(got, [np.sum(x**2) + np.sum(y**2), np.sum(np.sin(x)) + np.sum(np.sin(y))], rtol=1e-14)


def test_an_unknown_dtype_is_refused_by_name():
    v = Var(Aval((3,), np.dtype("M8[s]")))
    with pytest.raises(MissingRule, match="datetime64"):
        nest(Graph([v], [], [v]), None)


# ---------------------------------------------------------------- compositions
def rolled(x):
    """A stencil with a border, as users write it."""
    up = la.concatenate(np.ones((1, x.shape[1])), la.index(x, at=la.basic(x.shape, (slice(0, -1), slice(None)))), axis=0)
    left = la.concatenate(la.index(x, at=la.basic(x.shape, (slice(None), slice(1, None)))), np.zeros((x.shape[0], 1)), axis=1)
    return e.sub(e.mul(up, left), e.mul(2.0, e.sin(x)))


def strided(x):
    odd = la.index(x, at=la.basic(x.shape, (slice(1, None, 2), slice(None, None, -1))))
    return la.embed(e.exp(odd), shape=x.shape, at=la.basic(x.shape, (slice(0, 2 * odd.shape[0], 2), slice(None))))


def reshaped(x):
    flat = la.reshape(la.transpose(x, axes=(1, 0)), shape=(x.shape[0] * x.shape[1],))
    return e.add(la.cumsum(flat, axis=0, reverse=False), e.cos(flat))


def products(x):
    g = dot_general(x, x, contract=((1,), (1,)), batch=((), ()))
    h = dot_general(x, g, contract=((0,), (0,)), batch=((), ()))
    return e.add(la.reduce_sum(h, axes=(0,)), e.tanh(la.reduce_sum(h, axes=(0, 1))))


def indexed(x):
    at = np.array([[0, 5], [5, 2]])
    y = gather(x, at)
    z = scatter_add(e.mul(y, y), at, shape=(7,))
    return put(z, e.neg(y), at)


def overwritten(x):
    for i in range(3):
        x = la.index_set(x, la.reduce_sum(x, axes=(0,)), at=la.basic(x.shape, (i, slice(None))))
    return x


def masked(x):
    return e.where(e.greater(x, 0.3), e.log(e.maximum(x, 0.1)), e.integer_pow(x, n=3))


COMPOSITIONS = [rolled, strided, reshaped, products, indexed, overwritten, masked]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(3, 4), (6, 9)])
@pytest.mark.parametrize("f", COMPOSITIONS, ids=lambda f: f.__name__)
def test_a_function_and_its_adjoint_compile_to_what_they_compute(f, shape, form, rng):
    x = rng.uniform(-1, 1, shape)
    y = f(x)
    w = rng.normal(size=y.shape)

    def both(x, w):
        value, equations, outputs = linearize(lambda x: [f(x)], [x], [True], "vjp")
        return [value[0], pull(equations, [w], outputs, 1)[0]]

    graph, _ = trace(both, [aval_of(x), aval_of(w)])
    want = eval_graph(graph, x, w)
    function = nest(graph, FORMS[form])
    for run in (machine(function), compiled_python(function)):
        for got, exact in zip(call(run, graph, (x, w)), want, strict=True):
            np.testing.assert_allclose(got, exact, rtol=1e-13, atol=1e-13)


def test_a_stencil_is_one_nest_of_loops_without_tests_or_memory():
    graph, _ = trace(lambda x: [rolled(x)], [Aval((40, 50), FLOAT)])
    source = compiled_python(nest(graph, None)).source
    assert "if" not in source
    assert "empty" not in source


def shift(x):
    return la.concatenate(la.index(x, at=la.basic(x.shape, (slice(1, None),))), np.zeros(1), axis=0)


def test_arrays_read_where_they_are_computed_share_one_loop():
    def f(x):
        costly = e.exp(x)  # read three times: computed once, kept
        return [e.add(costly, e.sin(costly)), e.mul(costly, x)]

    graph, _ = trace(f, [Aval((100,), FLOAT)])
    source = compiled_python(nest(graph, None)).source
    assert source.count("for ") == 1
    assert source.count("np.exp") == 1
    assert "empty" not in source


def test_an_array_read_beside_where_it_is_computed_is_finished_first(rng):
    def f(x):
        costly = e.exp(x)
        other = e.sin(costly)
        return [e.add(e.mul(costly, shift(costly)), other), e.mul(other, shift(other))]

    graph, _ = trace(f, [Aval((100,), FLOAT)])
    x = rng.normal(size=100)
    function = nest(graph, None)
    for got, want in zip(call(machine(function), graph, (x,)), f(x), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-14)
    assert compiled_python(function).source.count("np.exp") == 1


def test_padding_leaves_no_trace_in_unrolled_code():
    def f(x):
        first = la.embed(la.index(x, at=la.basic((3,), (0,))), shape=(3,), at=la.basic((3,), (0,)))
        return [e.add(first, la.embed(la.index(x, at=la.basic((3,), (2,))), shape=(3,), at=la.basic((3,), (2,))))]

    graph, _ = trace(f, [Aval((3,), FLOAT)])
    assert compiled_python(nest(graph, None)).source.splitlines()[1:] == ["    b0[0] = a0[0]", "    b0[1] = 0.0", "    b0[2] = a0[2]"]


def test_equal_expressions_of_different_elements_are_computed_once():
    graph, _ = trace(lambda x: [la.stack(*[e.exp(e.add(x, 1.0)) for _ in range(4)], axis=0)], [Aval((), FLOAT)])
    assert compiled_python(nest(graph, None)).source.count("np.exp") == 1


# ---------------------------------------------------------------- kernels
PARAMS = [("t", "double"), ("y", "ptr"), ("p", "ptr"), ("out", "ptr")]


def rhs(t, y, p):
    return [e.add(e.mul(y, p), e.sin(t))]


def kernel(symbol="ds_rhs", n=3, add=False, unroll=None, f=rhs):
    graph, _ = trace(f, [Aval((), FLOAT), Aval((n,), FLOAT), Aval((), FLOAT)])
    return symbol, PARAMS, graph, [("t", 0), ("y", 1), ("p", 2)], [("out", 1, add)], unroll


def run_kernel(arguments, t, *arrays):
    code = engine.compile_ir([kernel_ir(*arguments)], [arguments[0]])
    entry = ctypes.CFUNCTYPE(None, ctypes.c_double, *[ctypes.c_void_p] * len(arrays))(code.address(arguments[0]))
    entry(t, *[a.ctypes.data for a in arrays])


@pytest.mark.parametrize("unroll", [None, 0])
@pytest.mark.parametrize("add", [False, True])
def test_a_kernel_reads_and_writes_where_it_is_told(add, unroll):
    y, p = np.arange(5.0), np.array([0.0, 0.0, 10.0])
    want = np.ones(6)
    want[1:4] = add * 1.0 + y[1:4] * 10.0 + math.sin(0.5)
    for run in (run_kernel, lambda arguments, *x: kernel_python(*arguments)(*x)):
        out = np.ones(6)
        run(kernel(add=add, unroll=unroll), 0.5, y, p, out)
        np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("n", [3, 100])
@pytest.mark.parametrize("add", [False, True])
def test_a_kernel_that_meets_an_index_out_of_bounds_gives_nan(add, n):
    """So that a solve stops; in Python it is an IndexError."""

    def f(t, y, p):
        return [e.mul(y, gather(np.arange(4.0), within(la.convert(t, dtype=np.dtype(np.int64)), size=4, axis=0)))]

    arguments = kernel(n=n, f=f, add=add)
    y, p = np.ones(n + 1), np.zeros(3)
    for t, want in ((3.5, 3.0), (-1.0, 3.0), (4.0, np.nan), (-5.0, np.nan), (np.inf, np.nan)):
        out = np.zeros(n + 2)
        run_kernel(arguments, t, y, p, out)
        np.testing.assert_array_equal(out, [0.0, *[want] * n, 0.0])
    with pytest.raises(IndexError, match="axis 0 with size 4"):
        kernel_python(*arguments)(4.0, y, p, out)


def test_an_index_out_of_bounds_that_is_known_is_refused_at_once():
    graph, _ = trace(lambda x: [gather(x, np.array([1, 5]))], [Aval((5,), FLOAT)])
    with pytest.raises(IndexError, match="index 5 is out of bounds"):
        nest(graph, None)
    none, at = Aval((0,), FLOAT), Aval((3,), np.dtype(np.int64))
    cases = [(gather, [none, at], {}), (put, [none, at, at], {}), (scatter_add, [at, at], {"shape": (0,)})]
    for prim, avals, params in [*cases, (within, [at], {"size": 0, "axis": 1})]:
        assert "out of bounds" in raised(IndexError, prim.aval, *avals, **params)


def test_the_source_of_a_kernel_reads_like_the_function():
    assert kernel_source(*kernel(n=1)) == "def ds_rhs(t, y, p, out):\n    out[1] = y[1] * p[2] + np.sin(t)\n"


def fields(t, y, p):
    """Two coupled fields, laid end to end in a vector, as slopes of a model with a table of coefficients."""
    cut = [la.reshape(la.index(y, at=la.basic((240,), (slice(a, a + 120),))), shape=(10, 12)) for a in (0, 120)]
    u, v = cut
    flow = e.mul(p, rolled(u))
    parts = [e.add(flow, v), e.mul(u, v)]
    return [la.concatenate(*[la.reshape(x, shape=(120,)) for x in parts], axis=0), la.reshape(flow, shape=(5, 24)), y]


@pytest.mark.parametrize("add", [False, True])
def test_fields_in_a_vector_are_computed_in_their_own_shape(add, rng):
    graph, _ = trace(fields, [Aval((), FLOAT), Aval((240,), FLOAT), Aval((10, 12), FLOAT)])
    outputs = [("out", 1, add), ("out", 241, add), ("out", 361, add)]
    arguments = "k", PARAMS, graph, [("t", 0), ("y", 1), ("p", 2)], outputs, None
    source = kernel_source(*arguments)
    assert "%" not in source
    assert "if" not in source
    y, p = rng.normal(size=241), rng.normal(size=122)
    want = np.concatenate([[3.0], *[add * 3.0 + np.ravel(x) for x in eval_graph(graph, 0.5, y[1:], p[2:].reshape(10, 12))], [3.0]])
    for run in (run_kernel, lambda arguments, *x: kernel_python(*arguments)(*x)):
        out = np.full(602, 3.0)
        run(arguments, 0.5, y, p, out)
        np.testing.assert_allclose(out, want, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("cut", "start"), [
    ((slice(2, 5), slice(0, 4), slice(0, 6)), 48), ((3, slice(1, 4), slice(0, 6)), 78), ((1, 2, slice(3, 6)), 39),
    ((slice(0, 5), slice(1, 4), slice(0, 6)), None), ((1, slice(0, 4), slice(1, 6)), None), ((slice(0, 5, 2), 0, 0), None),
    ((1, 0, slice(5, None, -1)), None),
])  # fmt: skip
def test_slices_of_inputs_that_are_contiguous_are_inputs(cut, start, rng):
    at = la.basic((5, 4, 6), cut)
    size = math.prod(at.shape)
    graph, _ = trace(lambda y: [e.mul(la.reshape(la.index(y, at=at), shape=(size, 1)), 2.0)], [Aval((5, 4, 6), FLOAT)])
    made, inputs, outputs = in_place(graph, [("y", 7)], [("out", 0, False)])
    assert inputs == ([("y", 7)] if start is None else [("y", 7), ("y", 7 + start)])
    assert outputs == [("out", 0, False)]
    y = rng.normal(size=(5, 4, 6))
    pieces = [y] if start is None else [y, y.reshape(-1)[start:start + size].reshape(size, 1)]
    np.testing.assert_array_equal(eval_graph(made, *pieces)[0], 2.0 * y[cut].reshape(size, 1))


@pytest.mark.parametrize("n", [5, 7, 9, 13, 15, 23, 62, 70])
@pytest.mark.parametrize("add", [False, True])
def test_rests_of_vectors_leave_alone_what_lies_behind(add, n, rng):
    """Loops of so many iterations may be masked: rows of a table, their sums both ways, and neighbours."""
    def f(t, y, p):
        left = la.index(y, at=la.basic((11, n + 2), (slice(0, 11), slice(0, n))))
        right = la.index(y, at=la.basic((11, n + 2), (slice(0, 11), slice(2, n + 2))))
        z = e.div(e.mul(left, p), e.add(e.mul(right, right), 1.0))
        return [z, la.reduce_sum(z, axes=(0,)), la.reduce_sum(z, axes=(1,))]

    graph, _ = trace(f, [Aval((), FLOAT), Aval((11, n + 2), FLOAT), Aval((n,), FLOAT)])
    sizes = [v.aval.size for v in graph.outputs]
    starts = [1 + sum(sizes[:i]) + i for i in range(3)]
    arguments = "k", PARAMS, graph, [("t", 0), ("y", 1), ("p", 2)], [("out", at, add) for at in starts], None
    assert ("vectorize.predicate.enable" in kernel_ir(*arguments)) == (engine.width() != "" and n > 16)
    y, p = rng.normal(size=11 * (n + 2) + 1), rng.normal(size=n + 2)
    want = np.full(sum(sizes) + 4, 3.0)
    for at, size, x in zip(starts, sizes, eval_graph(graph, 0.5, y[1:].reshape(11, n + 2), p[2:]), strict=True):
        want[at:at + size] = add * 3.0 + np.ravel(x)
    out = np.full(want.size, 3.0)
    run_kernel(arguments, 0.5, y, p, out)
    np.testing.assert_allclose(out, want, rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(out[[0, *[at + size for at, size in zip(starts, sizes, strict=True)]]], 3.0)


def test_kernels_with_much_scratch_memory_take_it_from_the_heap():
    n = 300_000

    def f(t, y, p):
        z = la.cumsum(e.exp(e.mul(y, p)), axis=0, reverse=False)
        return [la.cumsum(e.mul(z, t), axis=0, reverse=True)]

    arguments = kernel(n=n, f=f)
    assert "@malloc" in kernel_ir(*arguments)
    y, p, out = np.linspace(0, 1, n + 1), np.array([0.0, 0.0, -1.0]), np.zeros(n + 1)
    run_kernel(arguments, 2.0, y, p, out)
    z = 2 * np.cumsum(np.exp(-y[1:]))
    np.testing.assert_allclose(out[1:], np.cumsum(z[::-1])[::-1], rtol=1e-12)
    assert out[0] == 0


def test_a_kernel_runs_under_numba_too():
    numba = pytest.importorskip("numba")
    run = numba.njit(kernel_python(*kernel(unroll=0)))
    out, want = np.zeros(5), np.zeros(5)
    y, p = np.arange(5.0), np.array([0.0, 0.0, 3.0])
    run(0.1, y, p, out)
    kernel_python(*kernel())(0.1, y, p, want)
    np.testing.assert_allclose(out, want, rtol=1e-15)


def test_sums_of_rows_and_calls_of_functions_are_not_written_out(rng):
    def hints(f, *avals):
        return Program(trace(f, avals)[0]).text().count("llvm.loop.unroll.disable")
    double, single = Aval((63, 63), np.dtype(float)), Aval((63, 63), np.dtype(np.float32))

    def total(x):
        return [la.reduce_sum(e.mul(e.cos(x), x), axes=(0, 1))]
    assert hints(lambda x: [e.mul(e.cos(x), x)], double) == 0
    assert hints(total, double) == 1
    assert hints(total, single) == 2                         # the rows, and calls of a function that takes no vectors

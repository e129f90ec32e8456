"""Every NumPy function in the table is tried: its value is NumPy's, its derivative the difference quotient's, both modes agree."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from surface_cases import ARRAYS, CASES, VALUES, program

import diffsim as ds
import diffsim.numpy
from diffsim.core import Tracer, eval_graph
from diffsim.errors import ConcretizationError, DerivativeLost, MissingRule
from diffsim.numpy.table import markdown, rows
from diffsim.testing.laws import richardson

STATUS = {name: status for name, _, status, _ in rows()}
PROGRAMS = {}
for _name, _texts in CASES.items():
    if STATUS.get(_name, "differentiable") == "differentiable":
        seen = {text for texts in PROGRAMS.values() for text in texts}
        PROGRAMS[_name] = [text for text in dict.fromkeys(_texts) if text not in seen]
PROGRAMS = {name: texts for name, texts in PROGRAMS.items() if texts}


def parts(y):
    """A result as a list of arrays."""
    return [a for part in y for a in parts(part)] if isinstance(y, (tuple, list)) else [np.asarray(y)]


def floats(y):
    """The parts of a result that carry a derivative."""
    return [a for a in parts(y) if a.dtype.kind == "f"]


def tangents(y, y_dot):
    """Tangents of the floating-point parts of a result, zeros spelled out."""
    pairs = zip(leaves(y), leaves(y_dot), strict=True)
    return [np.zeros(a.shape, a.dtype) if t is None else np.asarray(t) for a, t in pairs if a.dtype.kind == "f"]


def leaves(y):
    return [a for part in y for a in leaves(part)] if isinstance(y, (tuple, list)) else [np.asarray(y) if y is not None else None]


def noncontiguous(a):
    """The same array with gaps between its elements, its axes stored backwards."""
    if a.ndim == 0:
        return a
    wide = np.zeros([2 * s for s in a.shape[::-1]], a.dtype).T
    view = wide[tuple(slice(None, None, 2) for _ in a.shape)]
    view[...] = a
    return view


def same(got, wanted, rtol, what):
    assert len(got) == len(wanted), what
    for x, y in zip(got, wanted, strict=True):
        assert x.shape == y.shape, f"{what}: shape {x.shape}, not {y.shape}"
        assert x.dtype == y.dtype, f"{what}: dtype {x.dtype}, not {y.dtype}"
        size = np.max(np.abs(y[np.isfinite(y)]), initial=1.0) if y.dtype.kind in "fc" else 0.0
        np.testing.assert_allclose(x, y, rtol=rtol, atol=2 * rtol * size, err_msg=what)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_value_is_numpys(name):
    for text in PROGRAMS[name]:
        check_value(text)


def check_value(text):
    f, point = program(text)
    single = tuple(a.astype(np.float32) for a in point)
    for x, rtol in ((tuple(point), 1e-12), (tuple(map(noncontiguous, point)), 1e-12), (single, 3e-5)):
        same(parts(ds.jvp(f, x, tuple(map(np.ones_like, x)))[0]), parts(f(*x)), rtol, f"{text} in {[str(a.dtype) for a in x]}")
    try:
        graph = ds.make_graph(f)(*point)
    except (ConcretizationError, DerivativeLost):
        return
    same([np.asarray(a) for a in eval_graph(graph, *point)], parts(f(*point)), 1e-12, f"graph of {text}")


@pytest.mark.parametrize("name", PROGRAMS)
def test_members_of_a_batch_are_computed_as_each_alone(name):
    for text in PROGRAMS[name]:
        check_batch(text)


def check_batch(text):
    f, point = program(text)
    members = [point, [1.1 * a for a in point]]
    try:
        got = parts(ds.vmap(f)(*[np.stack(pair) for pair in zip(*members, strict=True)]))
    except (ConcretizationError, DerivativeLost):           # the program asks for numbers: which elements, how many, in what order
        return
    wanted = [np.stack(pair) for pair in zip(*[parts(f(*x)) for x in members], strict=True)]
    same(got, wanted, 1e-12, f"batch of {text}")


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_derivative_is_the_difference_quotient(name):
    for text in PROGRAMS[name]:
        check_derivative(text)


def check_derivative(text):
    f, point = program(text)
    rng = np.random.default_rng(3)
    v = [rng.uniform(-1, 1, a.shape) for a in point]
    if sum(a.size for a in point) == 0:
        return
    got, wanted = tangents(*ds.jvp(f, tuple(point), tuple(v))), richardson(lambda p: floats(f(*p)), point, v, h=1e-3)
    single = any(a.dtype == np.float32 for a in got)        # a program that asks for single precision
    same([a.astype(float) for a in got], wanted, 3e-3 if single else 2e-7, f"tangent of {text}")
    if not got:
        return
    w = [rng.uniform(-1, 1, a.shape) for a in got]
    bars = ds.grad(lambda *p: sum(np.sum(a * c) for a, c in zip(flat(f(*p)), w, strict=True)), argnums=tuple(range(len(point))))(*point)
    left = sum(float(np.sum(a * b)) for a, b in zip(w, got, strict=True))
    right = sum(float(np.sum(a * b)) for a, b in zip(bars, v, strict=True))
    scale = sum(float(np.sum(np.abs(a * b))) for a, b in zip(w, got, strict=True))
    assert left == pytest.approx(right, rel=0, abs=(1e-5 if single else 1e-11) * (1 + scale)), text
    for bar, a in zip(bars, point, strict=True):
        assert np.shape(bar) == a.shape, text
        assert np.asarray(bar).dtype == a.dtype, text


def flat(y):
    """The parts of a traced result that carry a derivative."""
    if isinstance(y, (tuple, list)):
        return [a for part in y for a in flat(part)]
    return [y] if y.dtype.kind == "f" else []


@pytest.mark.parametrize("name", VALUES)
def test_a_plain_value_is_numpys(name):
    for text in VALUES[name]:
        check_plain_value(text)


def check_plain_value(text):
    f, point = program(text)
    held = []

    def run(*p):
        held.append(f(*p))
        return sum(np.sum(a) for a in p)

    for x in (tuple(point), tuple(map(noncontiguous, point)), tuple(a.astype(np.float32) for a in point)):
        ds.grad(run)(*x)
        got, wanted = (parts(y) if isinstance(y, (tuple, list)) or hasattr(y, "dtype") else [y] for y in (held[-1], f(*x)))
        assert len(got) == len(wanted)
        for a, b in zip(got, wanted, strict=True):
            assert not isinstance(a, Tracer)
            assert np.asarray(a).dtype == np.asarray(b).dtype
            np.testing.assert_array_equal(a, b)


REFUSALS = {
    "busday_count": "np.busday_count(v, v)", "busday_offset": "np.busday_offset(v, 1)", "is_busday": "np.is_busday(v)",
    "datetime_as_string": "np.datetime_as_string(v)",
    "isnat": "np.isnat(v)", "packbits": "np.packbits(v)", "unpackbits": "np.unpackbits(v)",
    "save": "np.save('nowhere', v)", "savez": "np.savez('nowhere', v)", "savez_compressed": "np.savez_compressed('nowhere', v)",
    "savetxt": "np.savetxt('nowhere', v)",
}  # fmt: skip


@pytest.mark.parametrize("name", [n for n, status in STATUS.items() if status == "refused"])
def test_a_refusal_names_the_function_the_line_and_the_reason(name):
    reason = next(r for n, _, _, r in rows() if n == name)
    text = REFUSALS.get(name, f"np.{name}(v)")
    f, _ = program(text)
    with pytest.raises(MissingRule) as caught:
        ds.grad(lambda v: np.sum(f(v)))(ARRAYS["v"])
    for part in (f"np.{name}", reason, f"<{text}>"):
        assert part in str(caught.value)


def test_every_function_is_tried():
    aliases = {alias for _, others, _, _ in rows() for alias in others}
    for status, cases in (("differentiable", CASES), ("value only", VALUES)):
        missing = [name for name, s in STATUS.items() if s == status and name not in cases]
        assert missing == []
        assert set(cases) <= set(STATUS) | aliases
    assert "unknown" not in STATUS.values()
    assert sum(s == "differentiable" for s in STATUS.values()) >= 240


def test_the_table_in_the_docs_is_current():
    text = (Path(__file__).parent.parent / "docs" / "numpy_support.md").read_text()
    assert text == markdown(), "run `python -m diffsim.numpy.table > docs/numpy_support.md`"


# ---------------------------------------------------------------- what has no name in the table
CUBE, JOINT = np.frompyfunc(lambda y: y * y * y, 1, 1), np.frompyfunc(lambda y, z: (y * z, y + z), 2, 2)
BRANCHED = np.vectorize(lambda y, k=2.0: y * y * k if y > 0 else y)
ENTRIES = [
    lambda v: np.r_[v, 1.0, v[:2]], lambda v: np.c_[v, 2 * v], lambda v: np.r_[v[:0]], lambda v: np.c_[v[:0], v[:0]],
    lambda v: np.r_[0:3, v],
    lambda v: np.r_[0:1:5j, v[0]], lambda v: np.r_["0,2", v, v], lambda v: np.r_["1,2,0", v, v], lambda v: np.r_[v[0], v[1]],
    lambda v: np.c_[v[0], v[1]], lambda v: np.r_["-1", np.outer(v, v), np.outer(v, v)], lambda v: np.r_["0,3,1", v, v],
]  # fmt: skip


@pytest.mark.parametrize("f", ENTRIES)
def test_joining_by_subscript(f):
    v = ARRAYS["v"]
    wanted = f(v)
    got, slope = ds.jvp(f, (v,), (v,))
    assert got.dtype == wanted.dtype == np.float64
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_allclose(slope, richardson(lambda p: [f(*p)], [v], [v])[0], rtol=1e-9)


def test_functions_of_elements():
    v = ARRAYS["v"]
    np.testing.assert_allclose(ds.grad(lambda y: np.sum(CUBE(y)))(v), 3 * v**2)
    np.testing.assert_allclose(ds.grad(lambda y: np.sum(JOINT(y, 2.0)[0] + JOINT(y, y)[1]))(v), np.full(5, 4.0))
    np.testing.assert_allclose(ds.grad(lambda y: np.sum(BRANCHED(y)))(v), np.where(v > 0, 4 * v, 1.0))


def test_order_in_memory_is_not_guessed():
    x = ARRAYS["x"]
    f = lambda y: np.ravel(y.transpose(2, 0, 1), order="K") * np.arange(24.0)  # noqa: E731
    np.testing.assert_array_equal(ds.jvp(f, (x,), (x,))[0], f(x))


def test_options_of_ufuncs():
    m, out = ARRAYS["m"], ARRAYS["m"] > 0

    def f(y):
        z = np.zeros((3, 4))
        np.sin(y, out=z, where=out)
        np.add(z, y, out=z)
        return np.multiply(z, 2, dtype=np.float32) + np.exp(y, order="F")
    assert ds.jvp(f, (m,), (m,))[0].dtype == f(m).dtype
    np.testing.assert_allclose(ds.jvp(f, (m,), (m,))[0], f(m), rtol=1e-6)
    np.testing.assert_allclose(ds.jvp(f, (m,), (m,))[1], richardson(lambda p: [f(*p)], [m], [m])[0], rtol=1e-3)


OTHER_DTYPES = {"int64": np.int64, "int8": np.int8, "bool": bool, "float32": np.float32, "complex128": complex}
#: NumPy gives half precision, or a dtype of its own for one function; ties of a sort that keeps no order.
LEFT_OUT = {("angle", "int8"), ("conjugate", "bool"), ("argsort", "int64")}


def converted(a, dtype):
    a = np.asarray(a)
    if dtype in (np.float32, bool):
        return (a > 0 if dtype is bool else a.astype(dtype))[()]
    return (a + 0.5j * np.cos(a) if dtype is complex else np.abs(np.round(a * 3)).astype(dtype))[()]


def compiled_is_numpy(name, text, dtype):
    """Whether a program NumPy runs on arrays of a dtype gives the same values of the same dtypes compiled."""
    f, used = program(text)[:2]
    args = [converted(ARRAYS[x] if isinstance(x, str) else x, OTHER_DTYPES[dtype]) for x in used]
    try:
        wanted = parts(f(*[np.copy(a)[()] for a in args]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = parts(ds.jit(f)(*[np.copy(a)[()] for a in args]))
    except (TypeError, ValueError, FloatingPointError, np.linalg.LinAlgError, MissingRule):   # of NumPy, or ours: no wrong number
        return
    if all(a.dtype.kind in "fciub" for a in wanted):
        same(got, wanted, 2e-4 if any(a.dtype.char in "fF" for a in (*args, *wanted)) else 1e-9, f"{name} of {dtype}: {text}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["int64", "int8"])
@pytest.mark.parametrize("name", [*sorted(PROGRAMS)[::4], "logaddexp2", "heaviside", "diff", "tril", "average", "einsum", "fabs", "clip"])
def test_compiled_programs_of_integers_have_numpys_dtypes(name, dtype):
    if (name, dtype) not in LEFT_OUT:
        for text in PROGRAMS[name][:2]:
            compiled_is_numpy(name, text, dtype)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", OTHER_DTYPES)
@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_compiled_programs_of_every_dtype_are_numpys(name, dtype):
    if (name, dtype) not in LEFT_OUT:
        for text in PROGRAMS[name]:
            compiled_is_numpy(name, text, dtype)

"""Programs: compiled graphs as functions of arrays; their cache, their threads, their calls into linked loops."""

import threading

import numpy as np
import pytest

import diffsim as ds
import diffsim.numpy  # registers its primitives
from diffsim.codegen import engine
from diffsim.codegen import program as module
from diffsim.codegen.program import Program
from diffsim.core import REGISTRY, Absent, Aval, Opaque, Primitive, eval_graph
from diffsim.core.emission import Call
from diffsim.errors import MissingRule
from diffsim.prims import elementwise as e
from diffsim.prims import layout as la
from diffsim.prims.gather import gather, put, scatter_add, within
from diffsim.transforms import trace

FLOAT = np.dtype(np.float64)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFSIM_CACHE_DIR", str(tmp_path))
    return tmp_path


def graph_of(f, *avals):
    return trace(f, [a if isinstance(a, (Aval, Opaque)) else Aval(a, FLOAT) for a in avals])[0]


def test_a_program_returns_fresh_arrays_and_numpy_scalars():
    run = Program(graph_of(lambda x, s: [e.mul(x, s), la.reduce_sum(x, axes=(0,))], (3,), ()))
    x = np.array([1.0, 2.0, 3.0])
    first, total = run(x, 2.0)
    second, _ = run(np.zeros(3), 2.0)
    np.testing.assert_array_equal(first, [2.0, 4.0, 6.0])
    np.testing.assert_array_equal(second, 0)
    assert type(total) is np.float64
    assert total == 6.0
    assert first.flags.owndata
    assert first.flags.writeable


def test_every_dtype_goes_in_and_comes_out_exactly():
    values = [
        np.array([2**62 + 1, -1]),
        np.array([True, False]),
        np.array([1.5, np.nan], np.float32),
        np.array([7, -7], np.int32),
        np.array([0.1, np.inf]),
    ]
    run = Program(graph_of(lambda *x: list(x), *[Aval(v.shape, v.dtype) for v in values]))
    for got, want in zip(run(*values), values, strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


def test_empty_arrays_and_constant_outputs_pass_through():
    run = Program(graph_of(lambda x: [e.exp(x), np.arange(3.0), np.float64(2.0)], (0, 2)))
    empty, table, number = run(np.zeros((0, 2)))
    assert empty.shape == (0, 2)
    np.testing.assert_array_equal(table, [0, 1, 2])
    assert number == 2.0


def test_a_program_may_have_no_inputs():
    assert Program(graph_of(lambda: [e.exp(np.float64(0.0))]))() == [1.0]


def test_inputs_need_not_be_contiguous():
    x = np.arange(12.0).reshape(3, 4)
    run = Program(graph_of(lambda x: [e.add(x, 1.0)], (4, 3)))
    np.testing.assert_array_equal(run(x.T)[0], x.T + 1)


def test_large_programs_keep_their_scratch_memory_in_the_frame():
    def f(x):
        y = la.cumsum(x, axis=0, reverse=False)
        z = la.cumsum(e.mul(y, x), axis=0, reverse=True)
        return [la.cumsum(e.add(y, z), axis=0, reverse=False)]

    graph = graph_of(f, (50_000,))
    run = Program(graph)
    x = np.random.default_rng(0).normal(size=50_000)
    assert run.stats["scratch"] >= 400_000
    np.testing.assert_allclose(run(x)[0], eval_graph(graph, x)[0], rtol=1e-9)


def test_threads_run_at_once_and_do_not_mix():
    graph = graph_of(lambda x: [la.reduce_sum(e.sin(x), axes=(0,))], (2000,))
    run = Program(graph)
    wrong = []

    def work(seed):
        x = np.random.default_rng(seed).normal(size=2000)
        want = run(x)[0]
        wrong.extend(1 for _ in range(200) if run(x)[0] != want)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_a_primitive_without_emission_is_named():
    no = Absent("no code")
    bare = Primitive("bare", impl=np.sin, aval=lambda x: x, jvp=no, transpose=no, emit=no, samples=no)
    try:
        with pytest.raises(MissingRule, match=r"bare.*no code"):
            Program(graph_of(lambda a: [bare(a)], (2, 2)))
    finally:
        REGISTRY.pop("bare")


def test_the_source_is_readable_python():
    assert (
        Program(graph_of(lambda x: [e.add(x, 1.0)], ())).source
        == "def diffsim_body(x0, numbers, ctx):\n    numbers[0] = x0[0] + 1.0\n"
    )


# ---------------------------------------------------------------- indices
def at(i, size, axis=0):
    return within(i, size=size, axis=axis)


def taken(x, i):
    return [gather(x, at(i, x.shape[0]))]


def added(x, i):
    return [scatter_add(e.mul(i, 1.0), at(i, 5), shape=(5,)), x]


def written(x, i):
    return [put(x, e.mul(i, 2.0), at(i, x.shape[0]))]


def unnamed(x, i):
    return [gather(x, i)]


INT = np.dtype(np.int64)


@pytest.mark.parametrize("n", [1, 3, 200])
@pytest.mark.parametrize("f", [taken, added, written, unnamed])
def test_an_index_out_of_bounds_raises_and_the_program_lives_on(f, n):
    graph = graph_of(f, (5,), Aval((n,), INT))
    x, good = np.arange(5.0), np.resize([4, -5, 0, -1, 2], n)
    for _ in range(2):  # compiled, then from the cache
        run = Program(graph)
        for bad in (5, -6, 2**62, -(2**63)):
            for place in {0, n // 2, n - 1}:
                i = good.copy()
                i[place] = bad
                with pytest.raises(IndexError, match=f"index {bad} is out of bounds for a.* with size 5"):
                    run(x, i)
            np.testing.assert_array_equal(run(x, good)[0], eval_graph(graph, x, good)[0])


def test_each_axis_is_checked_for_itself():
    def f(x, i, j):
        return [gather(x, e.add(e.mul(at(i, 2), 3), at(j, 3, 1)))]

    run = Program(graph_of(f, (2, 3), Aval((), INT), Aval((), INT)))
    x = np.arange(6.0).reshape(2, 3)
    assert run(x, 1, -1) == [5.0]
    with pytest.raises(IndexError, match="index 3 is out of bounds for axis 1 with size 3"):
        run(x, 0, 3)
    with pytest.raises(IndexError, match="index -3 is out of bounds for axis 0 with size 2"):
        run(x, -3, 0)


def test_an_index_into_one_element_is_checked_too():
    run = Program(graph_of(taken, (1,), Aval((), INT)))
    assert run(np.ones(1), -1) == [1.0]
    with pytest.raises(IndexError, match="index 1 "):
        run(np.ones(1), 1)


def test_indices_proven_in_bounds_are_not_checked(rng):
    def f(x, i):
        kept = e.minimum(e.maximum(i, 1), 4)
        below = at(e.sub(kept, 1), 5)
        table = np.array([0, 1, 1, 4, 3])
        return [gather(x, below), gather(x, gather(table, below)), gather(x, REGISTRY["argmax"](x, axis=0)), gather(x, np.arange(5))]

    for n in (3, 100):
        program = Program(graph_of(f, (5,), Aval((n,), INT)))
        assert program._context.checks == []
        x, i = rng.normal(size=5), rng.integers(-9, 9, n)
        np.testing.assert_array_equal(program(x, i)[0], x[np.clip(i, 1, 4) - 1])


def test_threads_report_only_their_own_indices():
    run = Program(graph_of(taken, (5,), Aval((50,), INT)))
    wrong = []

    def work(bad):
        for _ in range(300):
            i = np.full(50, bad)
            try:
                got = run(np.arange(5.0), i)
            except IndexError as error:
                wrong.extend([error] * (bad < 5 or f"index {bad} " not in str(error)))
            else:
                wrong.extend([got] * (bad >= 5))

    threads = [threading.Thread(target=work, args=(bad,)) for bad in (1, 7, 4, 99)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_a_program_counts_its_work():
    stats = Program(graph_of(lambda x, y: [e.add(e.mul(x, y), e.sin(x)), la.reduce_sum(x, axes=(0,))], (1000,), (1000,))).stats
    assert stats["flops"] == 3 * 1000 + 1000
    assert stats["bytes"] == 8 * (3 * 1000 + 1)  # the sum shares the sweep


# ---------------------------------------------------------------- cache
@pytest.mark.parametrize(("f", "flops"), [
    (lambda a: a @ a, 2 * 40**3),
    (lambda a: np.stack([a, a]) @ a, 4 * 40**3),
    (np.linalg.cholesky, round(40**3 / 3)),
    (lambda a: np.linalg.solve(a, a[:, :5]), round(2 * 40**3 / 3) + 2 * 40**2 * 5),
    (np.linalg.det, round(2 * 40**3 / 3)),
    (np.linalg.eigvalsh, round(4 * 40**3 / 3)),
    (lambda a: np.linalg.svd(a, compute_uv=False), round(8 * 40**3 / 3)),
    (lambda a: np.linalg.qr(a[:, :20])[1], round((2 * 40 * 20**2 - 2 * 20**3 / 3) * 2)),
], ids=["product", "products", "cholesky", "solve", "det", "eigvalsh", "singular values", "qr"])  # fmt: skip
def test_routines_of_libraries_count(f, flops, rng):
    run = ds.jit(f)
    run(np.eye(40) + 0.01 * np.ones((40, 40)))
    assert abs(run.stats["flops"] - flops) <= 1
    assert run.stats["bytes"] >= 8 * 40 * 20
    assert run.stats["library"]


def test_a_second_program_comes_from_the_cache_without_compiling(monkeypatch):
    graph = graph_of(lambda x: [e.sin(x)], (3,))
    assert not Program(graph).stats["cached"]

    def refuse(*args):
        raise AssertionError("compiled again")

    monkeypatch.setattr(engine, "compile_ir", refuse)
    monkeypatch.setattr(module, "lower", refuse)
    again = Program(graph_of(lambda x: [e.sin(x)], (3,)))
    assert again.stats["cached"]
    np.testing.assert_array_equal(again(np.ones(3))[0], np.sin(np.ones(3)))


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"", lambda data: data[:-9] + b"not these"])
def test_a_damaged_entry_is_rebuilt(own_cache, damage):
    graph = graph_of(lambda x: [e.cos(x)], (3,))
    Program(graph)
    (entry,) = own_cache.glob("program-*")
    entry.write_bytes(damage(entry.read_bytes()))
    again = Program(graph)
    assert not again.stats["cached"]
    np.testing.assert_array_equal(again(np.zeros(3))[0], 1)
    assert Program(graph).stats["cached"]


def test_large_constants_are_handed_over_and_not_compiled(monkeypatch, rng):
    at, other = rng.integers(0, 9, 4000), rng.integers(0, 9, 4000)
    def shared(x):
        return [e.add(gather(x, at), gather(x, at.copy())), gather(x, other)]
    graph, x = graph_of(shared, (9,)), rng.normal(size=9)
    assert len(Program(graph).text()) < 20_000
    assert len(Program(graph).calling._constants) == 2      # arrays of one content share their memory
    monkeypatch.setattr(engine, "compile_ir", None)         # from the cache on
    for run in (Program(graph), Program(graph_of(shared, (9,)))):
        assert run.stats["cached"]
        for got, want in zip(run(x), (2 * x[at], x[other]), strict=True):
            np.testing.assert_array_equal(got, want)
    assert "x0[k0[i0]] + x0[k0[i0]]" in Program(graph).source


def test_large_constants_of_a_loop_are_compiled_by_bytes(rng):
    table, at = rng.normal(size=(300,)), rng.integers(0, 300, 300)
    kept = rng.random(1000) < 0.5

    def f(x):
        def step(carry, _):
            return carry * table[at] + np.where(kept, 1.0, -1.0)[:300], None
        return ds.scan(step, x, None, length=3)[0]
    x = rng.normal(size=300)
    np.testing.assert_array_equal(ds.jit(f)(x), f(x))


def test_programs_that_differ_in_a_constant_do_not_share_an_entry():
    for number in (1.0, 2.0):
        run = Program(graph_of(lambda x, number=number: [e.mul(x, number)], ()))
        assert run(3.0)[0] == 3.0 * number


# ---------------------------------------------------------------- calls into linked code
LOOP = """
define i64 @{name}(double %rate, ptr %x, ptr %memory, i64 %room, ptr %needed, ptr %out) {{
  store i64 3, ptr %needed
  %small = icmp slt i64 %room, 3
  br i1 %small, label %full, label %check
check:
  %v = load double, ptr %x
  %bad = fcmp olt double %v, 0.0
  br i1 %bad, label %failed, label %run
run:
  %p = fmul double %v, %rate
  %last = getelementptr double, ptr %memory, i64 2
  store double %p, ptr %last
  store double %p, ptr %out
  ret i64 0
full:
  ret i64 1
failed:
  ret i64 7
}}
"""


class Request:
    """Room for numbers: words are address, room, needed."""

    words = 3

    def __init__(self):
        self.log = []

    def allocate(self):
        memory = [np.zeros(1)]
        return [memory[0].ctypes.data, 1, 0], memory

    def grow(self, status, words, memory):
        self.log.append(status)
        if status != 1:
            return False
        memory[0] = np.zeros(int(words[2]))
        words[:2] = memory[0].ctypes.data, memory[0].size
        return True

    def error(self, status, words, memory):
        return ArithmeticError(f"status {status}, needed {words[2]}")

    def export(self, words, memory):
        return Exported(np.array(words), memory)


class Exported:
    """An opaque value outside programs."""

    def __init__(self, words, memory):
        self.words, self.memory = words, memory


@pytest.fixture
def scale():
    """Primitives: (rate, x) -> (rate * x, record), and record -> what was recorded."""
    request, linked = Request(), []
    record = Opaque("record", (), Request.words)

    def rule(k, outs, ins):
        rate, x = ins
        name = k.unique("scale")
        k.link(LOOP.format(name=name))
        linked.append(name)
        arguments = [("double", k.scalar(rate)), ("ptr", k.pointer(x)), ("ptr", k.context(0)), ("i64", k.context(1, "i64"))]
        k.check(k.call("i64", name, [*arguments, ("ptr", k.context_address(2)), ("ptr", k.pointer(outs[0]))]))

    def read(k, outs, ins):
        last = k.line(f"getelementptr double, ptr {k.context(0, 'ptr', ins[0])}, i64 2")
        x, two = k.line(f"load double, ptr {last}"), k.line(f"load double, ptr {k.constants([2.0])}")
        k.store(k.pointer(outs[0]), k.line(f"fmul double {x}, {two}"))

    class Nothing(Request):
        words = 0

        def allocate(self):
            return [], None

    none, aval = Absent("a test"), Aval((), FLOAT)
    slots = {"jvp": none, "transpose": none, "samples": none}
    make = Primitive(
        "test_scale", impl=none, aval=lambda rate, x: (aval, record), emit=Call(rule, lambda *a: request), multiple=True, **slots
    )
    last = Primitive("test_last", impl=none, aval=lambda r: aval, emit=Call(read, lambda *a: Nothing()), **slots)
    yield make, last, request, linked
    for prim in (make, last):
        del REGISTRY[prim.name]


def test_a_call_grows_its_memory_reads_numbers_and_hands_on_its_record(scale):
    make, last, request, linked = scale

    def f(x):
        y, record = make(np.float64(3.0), e.add(x, 1.0))
        return [e.mul(y, y), last(record)]

    run = Program(graph_of(f, ()))
    assert run(1.0) == [36.0, 12.0]
    assert run(2.0) == [81.0, 18.0]
    assert request.log == [1]  # enlarged once, kept for the next call
    assert linked == ["scale.1"]


def test_a_call_that_fails_raises_its_own_error_and_the_program_lives_on(scale):
    make, *_ = scale
    run = Program(graph_of(lambda x: [make(np.float64(2.0), x)[0]], ()))
    with pytest.raises(ArithmeticError, match="status 7, needed 3"):
        run(-1.0)
    assert run(4.0) == [8.0]


def test_an_index_out_of_bounds_is_told_before_a_call_that_would_fail_for_it(scale):
    make, *_ = scale

    def f(x, i):
        return [make(np.float64(2.0), e.sub(gather(x, at(i, 3)), 1.0))[0]]

    run = Program(graph_of(f, (3,), Aval((), INT)))
    x = np.array([0.0, 3.0, 0.5])
    assert run(x, 1) == [4.0]
    with pytest.raises(IndexError, match="index 7 is out of bounds for axis 0 with size 3"):
        run(x, 7)
    with pytest.raises(ArithmeticError, match="status 7"):
        run(x, 0)


def test_the_second_of_two_calls_reports_for_itself(scale):
    make, *_ = scale
    run = Program(graph_of(lambda x: [make(np.float64(2.0), e.sub(5.0, make(np.float64(2.0), x)[0]))[0]], ()))
    assert run(1.0) == [6.0]
    with pytest.raises(ArithmeticError, match="status 7"):
        run(3.0)


def test_an_opaque_value_leaves_one_program_and_enters_another(scale):
    make, last, *_ = scale
    first = Program(graph_of(lambda x: list(make(np.float64(2.0), x)), ()))
    record = first(5.0)[1]
    second = Program(graph_of(lambda r: [last(r)], record_aval(make)))
    assert second(record) == [20.0]


def record_aval(make):
    return make.aval(None, None)[1]

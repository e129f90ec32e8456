"""Functions traced again and again get one warning that names what changes; what programs tell of themselves."""

import warnings

import numpy as np
import pytest

import diffsim as ds
from diffsim.control import compiled as compiled_module
from diffsim.control import jit as jit_module
from diffsim.control.compiled import shown
from diffsim.control.retracing import PATIENCE, leaf_names
from diffsim.errors import FallbackWarning, InputTypeError, MissingRule, RetraceWarning

X = np.array([0.3, -0.7, 1.1])


class Settings:
    def __init__(self):
        self.gain, self.table = 1.0, np.ones(3)


@pytest.fixture(autouse=True)
def no_warning_given_yet(monkeypatch):
    monkeypatch.setattr(jit_module, "_warned", set())


def storm(call, match):
    """Call with one number after the other; exactly one warning is given, at this file."""
    with pytest.warns(RetraceWarning, match=match) as caught:
        results = [call(i) for i in range(2 * PATIENCE)]
    np.testing.assert_allclose(results, [X * i for i in range(2 * PATIENCE)])
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_a_closure_constant_that_changes_is_named():
    k = 0.0

    def f(x):
        return x * k

    jitted = ds.jit(f)

    def call(i):
        nonlocal k
        k = float(i)
        return jitted(X)

    storm(call, r"f \(.*test_retracing.py:\d+\), which was traced .* `k` changes from call to call: pass it as an argument")
    traces = jitted.stats["traces"]
    call(5)
    assert jitted.stats["traces"] == traces                    # it is not traced for nothing either


@pytest.mark.parametrize(("change", "name"), [
    (lambda s, i: setattr(s, "gain", float(i)), r"`settings\.gain`"),
    (lambda s, i: s.table.fill(float(i)), r"`settings\.table`"),
])
def test_an_attribute_that_changes_is_named(change, name):
    settings = Settings()
    jitted = ds.jit(lambda x: x * settings.gain * settings.table)

    def call(i):
        change(settings, i)
        return jitted(X)

    storm(call, name)


def test_a_default_value_and_an_object_are_named():
    def f(x, k=[0.0]):  # noqa: B006
        return x * k[0]

    jitted = ds.jit(f)

    def call(i):
        f.__defaults__[0][0] = float(i)
        return jitted(X)

    storm(call, "a default value of `f`")

    class Model:
        k = 0.0

        def rate(self, x):
            return self.k * x

    model = Model()
    method = ds.jit(model.rate)

    def call_method(i):
        model.k = float(i)
        return method(X)

    storm(call_method, "the Model whose method it is")


def test_static_arguments_that_change_are_named():
    f = ds.jit(lambda x, k: x * k, static_argnums=1)
    storm(lambda i: f(X, float(i)), r"static argument 1 changes from call to call \(now 11\.0\)")
    g = ds.jit(lambda p, *, options: p["x"][0] * options["k"])
    storm(lambda i: g({"x": [X]}, options={"k": i}), r"argument `options`\['k'\] changes from call to call \(now 11\)")
    h = ds.jit(lambda x, f: f(x))
    storm(lambda i: h(X, lambda x: x * i), r"argument 1 changes from call to call \(now <function")


def test_programs_that_are_used_are_no_storm():
    k = 0.0
    f, g = ds.jit(lambda x: x * k), ds.jit(lambda x, n: x * n)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i in range(2 * PATIENCE):
            k = float(i)
            for _ in range(5):
                np.testing.assert_array_equal(f(X), X * k)
                np.testing.assert_array_equal(g(X, i), X * i)
    assert f.stats["traces"] == g.stats["traces"] == 2 * PATIENCE


def test_programs_kept_hold_a_bounded_amount_of_memory(monkeypatch):
    monkeypatch.setattr(jit_module, "HELD", 3 * 8 * 5000)
    table = np.arange(5000.0)
    f = ds.jit(lambda s: s * np.sum(table))
    for k in range(6):
        table[0] = k
        for _ in range(5):
            assert f(1.0) == table.sum()
    assert f.stats["programs"] == 3
    monkeypatch.setattr(jit_module, "HELD", 0)
    table[0] = 7.0
    assert f(1.0) == table.sum()
    assert f.stats["programs"] == 1


def test_shapes_and_derivatives_are_no_storm():
    f, k = ds.jit(lambda x: np.sum(x * x * k)), 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n in range(1, 2 * PATIENCE):
            assert f(np.ones(n)) == n
        for n in range(2 * PATIENCE):                            # traced from outside; each value is used a few times
            k = float(n)
            for _ in range(5):
                np.testing.assert_array_equal(ds.grad(f)(np.ones(2)), 2 * k)


def test_leaves_have_names():
    _, struct = ds.tree.flatten((({"a": [1, (2,)]}, compiled_module.Stats(b=3)), {"key": [4]}))
    assert list(leaf_names(struct)) == ["argument 0['a'][0]", "argument 0['a'][1][0]", "argument 1['b']", "argument `key`[0]"]
    assert next(leaf_names(struct, skipped={0})) == "argument 1['a'][0]"


def test_what_has_no_rule_is_named_with_its_line(monkeypatch):
    def missing(graph, **options):
        raise MissingRule("sinh", "emit", "a test takes it away")

    monkeypatch.setattr(compiled_module, "Program", missing)
    f = ds.jit(lambda x: np.exp(x) + np.sinh(x))
    with pytest.warns(FallbackWarning, match=r"`sinh` has no rule `emit`: a test takes it away \(.*test_retracing.py:\d+") as caught:
        results = [f(X) for _ in range(3)]
    np.testing.assert_array_equal(results, [np.exp(X) + np.sinh(X)] * 3)
    assert len(caught) == 1


# ------------------------------------------------------------ what programs tell of themselves
def test_stats_tell_all_of_the_program_used_last(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFSIM_CACHE_DIR", str(tmp_path))
    table = np.linspace(0.0, 1.0, 500)

    def f(x):
        unused = np.exp(x)  # noqa: F841
        return np.sum(np.sin(x) * table)

    jitted, x = ds.jit(f), np.ones(500)
    for _ in range(3):
        jitted(x)
    stats = jitted.stats
    assert stats["traced"] == 4
    assert stats["equations"] == 3
    assert stats["flops"] == 3 * 500
    assert stats["bytes"] == 8 * (2 * 500 + 1)
    assert stats["constants"] == 4000
    assert (stats["calls"], stats["programs"], stats["traces"]) == (3, 1, 1)
    assert (stats["cached"], stats["scratch"], stats["library"], stats["callbacks"]) == (False, 0, [], [])
    assert list(stats["seconds"]) == ["trace", "passes", "lower", "compile"]
    assert all(s > 0 for s in stats["seconds"].values())
    short = np.ones(2)
    table = np.ones(2)
    jitted(short)
    assert (jitted.stats["calls"], jitted.stats["programs"]) == (1, 2)
    table = np.linspace(0.0, 1.0, 500)
    jitted(x)
    assert (jitted.stats["calls"], jitted.stats["flops"], jitted.stats["traces"]) == (4, 1500, 2)
    assert jitted.graph.inputs[0].aval.shape == (500,)
    again = ds.jit(f)
    again(x)
    assert again.stats["cached"]
    assert list(again.stats["seconds"]) == ["trace", "passes", "load"]
    assert {k: v for k, v in again.stats.items() if k in ("flops", "bytes", "vectorised")} == {
        k: stats[k] for k in ("flops", "bytes", "vectorised")}


def test_long_loops_are_vectorised(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFSIM_CACHE_DIR", str(tmp_path))
    f = ds.jit(lambda x: 2.0 * x + 1.0)
    f(np.ones(1000))
    assert f.stats["vectorised"] >= 1
    f(np.ones(3))
    assert f.stats["vectorised"] == 0


def test_time_is_measured_when_asked():
    f = ds.jit(lambda x, *, k: x * k)
    assert 0 < f.time(X, k=2.0) < 1
    assert f.stats["seconds"]["run"] > 0
    assert f.stats["calls"] > 1


def test_stats_are_a_table_in_notebooks():
    f = ds.jit(lambda x: 2 * x)
    with pytest.raises(InputTypeError, match="not been called"):
        _ = f.stats
    f(X)
    table = f.stats._repr_html_()
    assert table.count("<tr") == len(f.stats) + 1
    assert "flops" in table
    assert shown({"trace": 0.0012, "load": 0.5}) == "trace 1.2 ms, load 500 ms"
    assert (shown([]), shown(["dgemm"]), shown(True), shown(None)) == ("none", "dgemm", "True", "None")

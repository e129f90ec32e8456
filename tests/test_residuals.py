"""What a gradient keeps between its passes: sizes, kinds and lines."""

import inspect

import numpy as np
import pytest

import diffsim as ds
from diffsim.core.held import owner
from diffsim.errors import InputTypeError
from diffsim.seeing.residuals import source_of

N = 10_000
BYTES = 8 * N


def rows(report, **wanted):
    return [r for r in report.rows if all(getattr(r, k) == v for k, v in wanted.items())]


def wave(x):
    return np.sum(np.sin(x))


def test_a_sine_keeps_its_cosine():
    report = ds.residuals(wave, np.ones(N))
    (row,) = report.rows
    line = inspect.getsourcelines(wave)[1] + 1
    assert (row.bytes, row.shape, row.dtype, row.primitive, row.kind, row.uses) == (BYTES, (N,), np.float64, "sin", "factor", 1)
    assert row.line == f"{__file__}:{line}"
    assert (report.total, report.added, report.equations) == (BYTES, BYTES, 2)
    assert BYTES < report.peak < 4 * BYTES


def test_an_argument_is_kept_without_new_memory():
    report = ds.residuals(lambda x, k: np.sum(k * x), np.ones(N), np.ones(N))
    assert sorted((r.kind, r.bytes) for r in report.rows) == [("input", BYTES)] * 2
    assert (report.total, report.added) == (2 * BYTES, 0)


def test_a_value_kept_twice_counts_once():
    def f(x):
        y = np.exp(x)
        return np.sum(y * y)
    (row,) = ds.residuals(f, np.ones(N)).rows
    assert (row.kind, row.bytes, row.uses, row.primitive) == ("value", BYTES, 2, "exp")


def test_a_view_counts_as_what_it_keeps_alive():
    report = ds.residuals(lambda x: np.sum(x[1:] * 3.0 * x[:-1]), np.ones(N))
    (row,) = rows(report, kind="input")
    assert (row.bytes, row.shape) == (BYTES, (N,))


def test_constants_are_told_from_values():
    weights = np.linspace(0.0, 1.0, N)
    report = ds.residuals(lambda x: np.sum(np.tanh(x) * weights), np.ones(N))
    assert sorted((r.kind, r.primitive) for r in report.rows) == [("constant", "mul"), ("factor", "tanh")]
    small = ds.residuals(lambda x: np.sum(x * weights[:5]), np.ones(5))
    assert [(r.kind, r.bytes) for r in small.rows] == [("constant", 40)]


def test_what_is_linear_keeps_nothing():
    report = ds.residuals(lambda x: np.sum(2.0 * x[::-1]) - x[0], np.ones(N))
    assert report.rows == []
    assert report.total == 0
    assert "0 B kept" in str(report)


def test_lines_of_a_loop_stand_together():
    def f(x):
        for _ in range(25):
            x = np.sin(x)
        return np.sum(x)
    report = ds.residuals(f, np.ones(N))
    ((size, pieces, example),) = report.by_line()
    assert (size, pieces, len(report.rows)) == (25 * BYTES, 25, 25)
    assert example.line.endswith(str(inspect.getsourcelines(f)[1] + 2))
    assert report.peak >= report.total


def test_a_solve_keeps_its_record():
    def f(p):
        return np.sum(ds.solve_ivp(lambda t, y, p: -p * y, (0, 1), np.ones(4), t_eval=[1.0], args=(p,)).y)
    report = ds.residuals(f, 2.0)
    assert any(r.primitive == "odeint" and r.shape[-1:] == (4,) and len(r.shape) == 3 for r in report.rows)


def test_a_report_prints_as_a_table():
    text = str(ds.residuals(wave, np.ones(N)))
    line = inspect.getsourcelines(wave)[1] + 1
    assert text.splitlines() == [
        text.splitlines()[0], "", "bytes  share  arrays          kept by  kind    line                  source",
        f"80 kB  100 %  float64[10000]  sin      factor  test_residuals.py:{line}  return np.sum(np.sin(x))", "",
        "factor: made for the backward pass"]
    assert text.startswith("residuals of wave: 80 kB kept for the backward pass in 1 arrays (80 kB made for it alone), ")


def test_a_long_report_says_what_it_leaves_out():
    source = "def f(x):\n" + "".join(f"    x = np.sin(x)  # {i}\n" for i in range(30)) + "    return np.sum(x)\n"
    space = {"np": np}
    exec(compile(source, "long.py", "exec"), space)
    report = ds.residuals(space["f"], np.ones(10))
    assert "and 10 more of 800 B: text(limit=None) shows all" in str(report)
    assert "more of" not in report.text(limit=None)
    assert report.text(limit=None).count("long.py:") == 30


def test_a_notebook_shows_a_table_and_a_plot_has_a_bar_a_line():
    report = ds.residuals(lambda x: np.sum(np.sin(x) *
                                           np.exp(x)), np.ones(N))
    shown = report._repr_html_()
    assert shown.count("<tr") == 1 + len(report.by_line()) + 1
    assert "np.exp(x)), np.ones(N))" in shown
    axes = report.plot().axes[0]
    assert len(axes.get_yticklabels()) == len({r.line for r in report.rows})
    widths = sum(bar.get_width() for bar in axes.patches)
    assert widths == pytest.approx(report.total / 1e3)
    assert repr(report) == f"<residuals of <lambda>: {report.total / 1e3:.0f} kB in {len(report.rows)} arrays>"


def test_all_floating_arguments_are_differentiated_in():
    def f(p, mode, n):
        return np.sum(p["a"] * p["b"]) * (2.0 if mode == "twice" else 1.0) + n
    p = {"a": np.ones(N), "b": np.ones(N)}
    assert ds.residuals(f, p, "twice", 3).total == 2 * BYTES
    assert ds.residuals(f, p, "twice", 3, argnums=0).total == 2 * BYTES
    half = ds.residuals(lambda a, b: np.sum(a * b), np.ones(N), np.ones(N), argnums=1)
    assert [(r.kind, r.bytes) for r in half.rows] == [("input", BYTES)]


def test_a_compiled_function_is_looked_at_uncompiled():
    (row,) = ds.residuals(ds.jit(wave), np.ones(N)).rows
    assert row.line.endswith(str(inspect.getsourcelines(wave)[1] + 1))


def test_the_gradient_itself_can_be_looked_at():
    report = ds.residuals(lambda x: np.sum(ds.grad(wave)(x) ** 2), np.ones(N))
    assert report.total >= 2 * BYTES
    assert rows(report, primitive="cos")


def test_memory_locked_by_the_trace_is_given_back():
    weights = np.ones(N)
    ds.residuals(lambda x: np.sum(x * weights), np.ones(N))
    weights[0] = 2.0
    assert owner(weights[3:][::2].T)[0] is weights


@pytest.mark.parametrize(("call", "words"), [
    (lambda: ds.residuals(3.0, 1.0), "must be a function"), (lambda: ds.residuals(wave, 3), "nothing is differentiated"),
    (lambda: ds.residuals(wave, np.ones(3, int), argnums=0), "floating-point"),
    (lambda: ds.grad(lambda x: ds.residuals(wave, x).total * x)(1.0), "traced")])
def test_bad_calls_are_refused(call, words):
    with pytest.raises(InputTypeError, match=words):
        call()
    with pytest.raises(ValueError, match="argnums=5"):
        ds.residuals(wave, 1.0, argnums=5)


def test_source_is_empty_where_there_is_no_file():
    assert source_of("nowhere.py:3") == source_of("<unknown line>") == ""

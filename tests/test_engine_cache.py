"""The engine compiles, specialises and reloads machine code; the cache survives damage, strangers and races."""

import ctypes
import math
import os
import re
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from diffsim.codegen import cache, engine, loops
from diffsim.errors import InputError
from diffsim.ode.loops import erk

HYPOT = """
declare double @sqrt(double)
declare double @square(double)
define double @hypotenuse(double %x, double %y) {
  %a = call double @square(double %x)
  %b = call double @square(double %y)
  %sum = fadd double %a, %b
  %root = call double @sqrt(double %sum)
  ret double %root
}
"""
SQUARE = "define double @square(double %x) {\n  %r = fmul double %x, %x\n  ret double %r\n}\n"
LIBM = """
declare double @erf(double)
declare double @llvm.exp.f64(double)
declare double @llvm.pow.f64(double, double)
define double @mixed(double %x) {
  %a = call double @erf(double %x)
  %b = call double @llvm.exp.f64(double %a)
  %c = call double @llvm.pow.f64(double %b, double %x)
  ret double %c
}
"""


def function(code, name, arguments):
    return code.function(name, ctypes.c_double, *[ctypes.c_double] * arguments)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty cache directory, in use."""
    path = tmp_path / "cache"
    monkeypatch.setenv("DIFFSIM_CACHE_DIR", str(path))
    return path


# ------------------------------------------------------------------ engine


def test_linked_texts_become_one_entry():
    code = engine.compile_ir([HYPOT, SQUARE], ["hypotenuse"])
    assert function(code, "hypotenuse", 2)(3.0, 4.0) == 5.0
    with pytest.raises(InputError, match="no entry `square`"):
        code.address("square")


def test_a_large_kernel_keeps_its_calls():
    body = "\n".join(f"  %r{i + 1} = fadd double %r{i}, %x" for i in range(engine.LARGE_KERNEL + 1))
    last = engine.LARGE_KERNEL + 1
    large = f"define double @square(double %x) {{\n  %r0 = fadd double %x, %x\n{body}\n  ret double %r{last}\n}}\n"
    for text, kept in ((large, True), (SQUARE, False), (large.replace("(double %x) {", "(double %x) alwaysinline {"), False)):
        module = engine.link([HYPOT, text], ["hypotenuse"])
        engine._keep_large_kernels_apart(module, [HYPOT, text])
        assert (b"noinline" in b" ".join(module.get_function("square").attributes)) is kept


def test_symbols_of_the_mathematical_library_resolve():
    x = 0.7
    assert function(engine.compile_ir([LIBM], ["mixed"]), "mixed", 1)(x) == math.pow(math.exp(math.erf(x)), x)


def test_object_code_loads_again():
    code = engine.compile_ir([HYPOT, SQUARE], ["hypotenuse"])
    again = engine.load_object(code.object_code)
    del code
    assert function(again, "hypotenuse", 2)(5.0, 12.0) == 13.0


def test_a_missing_entry_and_bad_text_are_errors():
    with pytest.raises(InputError, match="absent"):
        engine.compile_ir([SQUARE], ["absent"])
    with pytest.raises(RuntimeError, match="expected"):
        engine.compile_ir(["define nonsense"], ["f"])


def test_threads_compile_side_by_side():
    results = {}

    def work(i):
        text = SQUARE.replace("@square", f"@square{i}")
        results[i] = function(engine.compile_ir([text], [f"square{i}"]), f"square{i}", 1)(float(i))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: float(i * i) for i in range(8)}


def test_a_trampoline_reaches_a_kernel_by_its_address():
    seen = []
    pointer = ctypes.c_void_p
    kernel = ctypes.CFUNCTYPE(None, ctypes.c_double, pointer, pointer, pointer)(lambda t, y, p, out: seen.append((t, y, p, out)))
    code = engine.compile_ir([loops.trampoline("ds_rhs", ctypes.cast(kernel, pointer).value)], ["ds_rhs"])
    code.function("ds_rhs", None, ctypes.c_double, pointer, pointer, pointer)(0.5, 8, 16, 24)
    assert seen == [(0.5, 8, 16, 24)]


def test_constants_keep_every_bit():
    values = np.array([[0.1, -np.pi], [1e-310, np.inf]])
    code = engine.compile_ir(
        [
            loops.constant("table", values)
            + "define double @entry(double %i) {\n  %j = fptosi double %i to i64\n  %p = getelementptr double, ptr @table, i64 %j\n"
            "  %x = load double, ptr %p\n  ret double %x\n}\n"
        ],
        ["entry"],
    )
    entry = function(code, "entry", 1)
    assert [entry(float(i)) for i in range(4)] == values.ravel().tolist()


# ------------------------------------------------------------------ loops and the cache


def test_a_kept_loop_is_used_without_numba(place):
    """One process compiles (and says so once), the next reads the text and never imports Numba."""
    source = (
        "import sys; from diffsim.ode.loops import erk; print(len(erk.FORWARD.text), len(erk.ADJOINT.text)); "
        "print([m for m in ('numba', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    first, second = (
        subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True, env=dict(os.environ)) for _ in range(2)
    )
    assert first.stderr == "diffsim: compiling stepping loops for this machine, once for each family of methods (10 to 30 s)\n"
    assert second.stderr == ""
    assert second.stdout.split("\n")[0] == first.stdout.split("\n")[0]
    assert second.stdout.split("\n")[1] == "[]"
    assert "define" in cache.get("loop", erk.ADJOINT._key()).decode()


def test_a_loop_s_text_needs_its_kernels_and_libm_alone():
    declared = set(re.findall(r"^declare [^@]*@([\w.]+)\(", erk.FORWARD.text, re.MULTILINE))
    assert {name for name in declared if not name.startswith("llvm.")} <= {"ds_rhs", "ds_event", "sqrt", "pow", "exp", "log"}
    defined = re.findall(r"^define (?!internal)[^@]*@([\w.]+)\(", erk.FORWARD.text, re.MULTILINE)
    assert defined == ["erk_forward"]
    for text in (erk.FORWARD.text, erk.FORWARD.instance({"ds_rhs": "f"}, S=6, X=0, L=0, end=6, degree=4, G=0, n_stops=0, n_news=0)):
        assert "llvm.loop.unroll.full" not in text


def test_a_loop_is_another_one_once_a_constant_it_reads_changes(monkeypatch):
    """The constant may come from a file that holds none of the loop's functions."""
    before = erk.FORWARD._key()
    monkeypatch.setattr(erk, "DONE", erk.DONE + 1)
    assert erk.FORWARD._key() != before
    monkeypatch.undo()
    assert erk.FORWARD._key() == before


def test_importing_the_loops_imports_no_compiler():
    source = "import sys; import diffsim.ode.loops.erk; print([m for m in ('numba', 'llvmlite', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_process_forked_while_another_thread_compiles_compiles_too():
    script = textwrap.dedent("""
        import os, signal, threading
        import numpy as np
        import diffsim as ds
        from diffsim.codegen import engine

        assert ds.jit(lambda x: np.sum(np.sin(x)))(np.zeros(3)) == 0.0
        held = threading.Event()

        def compile_long():
            with engine._LOCK:
                held.set()
                threading.Event().wait(0.3)

        thread = threading.Thread(target=compile_long)
        thread.start()
        held.wait()
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)
            os._exit(0 if ds.jit(lambda x: np.sum(np.cos(x)))(np.zeros(3)) == 3.0 else 1)
        assert os.waitpid(pid, 0)[1] == 0
        thread.join()
        assert ds.jit(lambda x: np.sum(np.exp(x)))(np.zeros(3)) == 3.0
    """)
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "DIFFSIM_CACHE_DIR": ""}
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120, env=environment)

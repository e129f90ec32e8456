"""Freed memory is kept for the next derivative, within a bound, and only where that was not decided elsewhere."""

import os
import subprocess
import sys

import numpy as np
import pytest

from diffsim.core import heap
from diffsim.errors import InputError

GLIBC = heap._is_glibc()
MB = heap.MB
needs_glibc = pytest.mark.skipif(not GLIBC, reason="mallopt is glibc's")

#: Prints the page faults of the second of two equal gradients, then the megabytes the process holds.
PROGRAM = """
import resource
import numpy as np
import diffsim as ds

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()

def f(x):
    y = x
    for _ in range({operations}):
        y = np.sin(y)
    return np.sum(y)

x = np.ones({n})
before = resident()
ds.grad(f)(x)
start = faults()
ds.grad(f)(x)
print(faults() - start, (resident() - before) >> 20)
"""


def run(program, **settings):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "DIFFSIM_KEEP", "GLIBC_TUNABLES"))}
    done = subprocess.run([sys.executable, "-c", program], env=clean | settings, capture_output=True, text=True, check=True, timeout=120)
    return [int(word) for word in done.stdout.split()]


@pytest.fixture
def settings(monkeypatch):
    """Set variables of the environment, those of the allocator being unset otherwise."""
    for name in [n for n in os.environ if n.startswith(("MALLOC_", "DIFFSIM_KEEP", "GLIBC_TUNABLES"))]:
        monkeypatch.delenv(name)
    return monkeypatch.setenv


@needs_glibc
def test_the_second_gradient_faults_in_no_memory():
    program = PROGRAM.format(n=20_000, operations=100)      # a tape of 16 MB is 4,000 pages
    kept, _ = run(program)
    given_back, _ = run(program, DIFFSIM_KEEP_MB="0")
    assert kept < 400 < 2000 < given_back


@needs_glibc
def test_what_is_kept_has_a_bound():
    program = PROGRAM.format(n=100_000, operations=200)     # 160 MB
    assert run(program, DIFFSIM_KEEP_MB="64")[1] < 80
    assert run(program, DIFFSIM_KEEP_MB="256")[1] > 120


@needs_glibc
def test_huge_arrays_go_back_to_the_system():
    program = PROGRAM.format(n=5_000_000, operations=4)     # 40 MB each
    assert run(program, DIFFSIM_KEEP_MB="64")[1] < 80


@needs_glibc
@pytest.mark.skipif(not heap._huge_pages_on_request(), reason="huge pages are given to all, or to nobody")
def test_the_heap_asks_for_huge_pages():
    program = PROGRAM.format(n=100_000, operations=100).rpartition("print")[0] + (
        "print(*[line.split()[1] for line in open('/proc/self/smaps_rollup') if line.startswith('AnonHugePages')])")
    huge, none = run(program, DIFFSIM_KEEP_MB="512")[0], run(program, DIFFSIM_KEEP_MB="0")[0]
    assert huge > none + 10_000                             # kilobytes


@needs_glibc
def test_importing_diffsim_sets_nothing():
    program = ("import diffsim, diffsim.core, diffsim.transforms\nfrom diffsim.core import heap, tracer\nprint(next(tracer._levels))")
    assert run(program) == [0]


def test_the_bound(settings):
    assert heap.LEAST * MB <= heap.kept_bytes() <= heap.MOST * MB
    settings("DIFFSIM_KEEP_MB", "32")
    assert heap.kept_bytes() == 32 * MB
    settings("DIFFSIM_KEEP_MB", "100000000")
    assert heap.kept_bytes() == heap.LARGEST
    settings("DIFFSIM_KEEP_MB", "0")
    assert heap.kept_bytes() == heap.keep_heap() == 0


@pytest.mark.parametrize("bad", ["", "-1", "much", "1.5"])
def test_a_bound_that_is_no_number_is_refused(settings, bad):
    settings("DIFFSIM_KEEP_MB", bad)
    with pytest.raises(InputError, match="DIFFSIM_KEEP_MB"):
        heap.kept_bytes()


@pytest.mark.parametrize(("name", "value"), [("MALLOC_TRIM_THRESHOLD_", "1"), ("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=65536")])
def test_settings_of_the_allocator_come_first(settings, name, value):
    settings(name, value)
    assert heap.kept_bytes() == 0
    settings("DIFFSIM_KEEP_MB", "8")                        # unless ours says otherwise
    assert heap.kept_bytes() == 8 * MB


def test_other_c_libraries_are_left_alone(settings, monkeypatch):
    def unknown(name):
        raise ValueError("unrecognized configuration name")
    monkeypatch.setattr(os, "confstr", unknown, raising=False)
    assert heap.keep_heap() == 0
    monkeypatch.delattr(os, "confstr")
    assert heap.keep_heap() == 0


def test_a_machine_that_does_not_tell_its_memory_keeps_the_least(settings, monkeypatch):
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert heap.kept_bytes() == heap.LEAST * MB


def test_gradients_do_not_depend_on_it():
    program = "import numpy as np, diffsim as ds\nprint(int(ds.grad(lambda x: np.sum(x * x))(np.full(3, 2.0)).sum()))"
    assert run(program) == run(program, DIFFSIM_KEEP_MB="0") == [int(np.sum(2 * np.full(3, 2.0)))]

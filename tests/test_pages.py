"""Large arrays a compiled function closes over: every way of writing to them is seen, whether the system watches their pages or not."""

import ctypes
import gc
import os
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

import diffsim as ds
from diffsim.control import pages

N = 100_000
try:
    pages.System().close()
    ABLE = True
except OSError:
    ABLE = False


@pytest.fixture(params=["watched", "compared"])
def way(request, monkeypatch):
    """Pages watched by the system, if it can, and arrays compared."""
    if request.param == "compared":
        monkeypatch.setattr(pages, "_system", False)
        monkeypatch.setattr(pages, "_known", {})
    elif not ABLE:
        pytest.skip("this system cannot watch pages")
    return request.param


def total(table):
    """A compiled function of what is in an array, and the same uncompiled."""
    f = ds.jit(lambda s: s * np.sum(table))
    return f, lambda s: s * np.sum(table)


def by_reading(x):
    with open(os.devnull, "rb"), open("/dev/zero", "rb") as zeros:
        zeros.readinto(memoryview(x)[N // 2 : N // 2 + 1000].cast("B"))


def by_a_thread(x):
    thread = threading.Thread(target=lambda: x.__setitem__(N // 3, 5.0))
    thread.start()
    thread.join()


WRITES = {
    "first element": lambda x: x.__setitem__(0, 3.0),
    "last element": lambda x: x.__setitem__(-1, 3.0),
    "inner element": lambda x: x.__setitem__(N // 2, 3.0),
    "sign of zero": lambda x: x.__setitem__(7, -0.0),
    "all": lambda x: x.fill(2.0),
    "in place": lambda x: np.multiply(x, 2.0, out=x),
    "sorted": lambda x: x[::-1].sort(),
    "a view": lambda x: x.reshape(-1, 10)[:, 3].__setitem__(5000, 9.0),
    "memory": lambda x: ctypes.memset(x.ctypes.data + 8 * 500, 0, 80_000),
    "a file": by_reading,
    "a thread": by_a_thread,
    "a random generator": lambda x: np.random.default_rng(0).random(out=x),
}


@pytest.mark.parametrize("write", WRITES)
def test_every_write_is_seen(way, write):
    table = np.arange(float(N)) + 1.0
    table[7] = 0.0
    f, plain = total(table)
    holds = None
    for _ in range(3):
        assert f(2.0) == pytest.approx(plain(2.0), rel=1e-13)
        holds = holds or f._last.holds
    assert holds()
    assert f.stats["traces"] == 1
    before = table.copy()
    WRITES[write](table)
    assert not holds()
    assert f(2.0) == pytest.approx(plain(2.0), rel=1e-13)
    table[:] = before
    assert holds()
    assert holds()
    assert f(2.0) == pytest.approx(plain(2.0), rel=1e-13)


def test_the_same_values_again_are_no_change(way):
    table = np.arange(float(N))
    f, plain = total(table)
    for _ in range(4):
        assert f(2.0) == pytest.approx(plain(2.0), rel=1e-13)
        table += 0.0
    assert f.stats["traces"] == 1


def test_two_programs_may_watch_one_array(way):
    """What one of them was told must not be lost on the other."""
    table = np.arange(float(N))
    (f, plain), (g, _) = total(table), total(table)
    for k in range(6):
        table[k * 10_000] = -float(k)
        first, second = (f, g) if k % 2 else (g, f)
        assert first(2.0) == pytest.approx(plain(2.0), rel=1e-13)
        assert first(2.0) == pytest.approx(plain(2.0), rel=1e-13)
        assert second(2.0) == pytest.approx(plain(2.0), rel=1e-13)


def test_views_share_the_pages_of_their_array(way):
    whole = np.arange(2.0 * N)
    head, tail = whole[: N + 1000], whole[N - 1000 :]
    (f, first), (g, second), (h, third) = total(head), total(tail), total(whole)
    for k, at in enumerate([N, 0, 2 * N - 1, N - 500, N + 500, 3]):
        for call, plain in ((f, first), (g, second), (h, third)):
            assert call(2.0) == pytest.approx(plain(2.0), rel=1e-13)
        whole[at] += k + 1.0
        order = [(f, first), (g, second), (h, third)]
        for call, plain in order[k % 3 :] + order[: k % 3]:
            assert call(2.0) == pytest.approx(plain(2.0), rel=1e-13)


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning", "ignore:Setting the strides:DeprecationWarning")
def test_another_shape_dtype_or_place_is_a_change(way):
    table = np.arange(float(N))
    f = ds.jit(lambda s: s * np.sum(table[0]))
    assert f(2.0) == 0.0
    holds = f._last.holds
    assert holds()
    table.shape = (10, N // 10)
    assert not holds()
    table.shape = (N,)
    assert holds()
    if way == "compared":                                       # NumPy resizes no array that is watched for its end
        table.resize(N // 2, refcheck=False)
        assert not holds()
    table = np.arange(float(N))
    assert holds()                                              # another array of the same contents
    table[0] = 1.0
    assert not holds()


def test_large_arrays_of_every_layout_are_seen_to_change(way):
    for make in (lambda x: x.reshape(100, -1).T, lambda x: x[::2], lambda x: x.reshape(100, -1), lambda x: x[1:], lambda x: x.view("i8")):
        base = np.arange(2.0 * N)
        table = make(base)
        f, plain = total(table)
        for at in (2, N // 2 * 2, N + 8, 2 * N - 2):
            assert f(2.0) == pytest.approx(plain(2.0), rel=1e-13)
            base[at] += 1.0
            assert f(2.0) == pytest.approx(plain(2.0), rel=1e-13)


def test_memory_that_others_may_write_to_is_not_watched(tmp_path):
    copy = np.zeros(N)
    mapped = np.memmap(tmp_path / "m", np.float64, "w+", shape=(N,))
    assert pages.watcher(np.frombuffer(bytearray(8 * N)), copy) is None
    assert pages.watcher(mapped, copy) is None
    assert pages.watcher(np.asarray(mapped), copy) is None
    assert pages.watcher(np.zeros((N, 2))[:, 0], copy) is None


@pytest.mark.skipif(not ABLE, reason="this system cannot watch pages")
def test_nothing_is_compared_while_nothing_is_written(monkeypatch):
    table = np.arange(float(N))
    f, plain = total(table)
    f(2.0)

    def refuse(*args):
        raise AssertionError("compared")

    f(2.0)
    monkeypatch.setattr(pages, "same_bits", refuse)
    assert f(2.0) == pytest.approx(plain(2.0), rel=1e-13)


@pytest.mark.skipif(not ABLE, reason="this system cannot watch pages")
def test_pages_are_let_go_with_their_array():
    table = np.arange(float(N))
    watch = pages.watcher(table, table.copy())
    key, known = id(table), weakref.ref(pages._known[id(table)])
    assert watch(table)
    assert known().written() is False
    del table
    gc.collect()
    assert key not in pages._known
    assert known().written()


@pytest.mark.skipif(not ABLE, reason="this system cannot watch pages")
def test_so_many_arrays_are_watched_and_no_more(monkeypatch):
    monkeypatch.setattr(pages, "_known", {})
    monkeypatch.setattr(pages, "MOST", 2)
    tables = [np.arange(float(N)) + k for k in range(3)]
    watchers = [pages.watcher(table, table.copy()) for table in tables]
    assert [watch is None for watch in watchers] == [False, False, True]
    assert pages.watcher(tables[0][: N // 2], tables[0][: N // 2].copy()) is not None
    functions = [total(table) for table in tables]
    for table, (f, plain) in zip(tables, functions, strict=True):
        assert f(2.0) == pytest.approx(plain(2.0), rel=1e-13)
        table[3] += 1e6
        assert f(2.0) == pytest.approx(plain(2.0), rel=1e-13)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_child_process_sees_its_own_writes(way):
    source = f"""
import os, numpy as np, diffsim as ds
from diffsim.control import pages
if {way == "compared"}:
    pages._system = False
table = np.arange(float({N}))
f = ds.jit(lambda s: s * np.sum(table))
right = lambda: abs(f(2.0) / (2 * np.sum(table)) - 1) < 1e-12
wrong = [not right(), not right()]
child = os.fork()
if not child:
    wrong.append(not right())
    table[5] = 1e9
    wrong.append(not right())
    wrong.append(not right())
    table[50000] = 1e9
    wrong.append(not right())
    os._exit(sum(wrong))
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
wrong += [status, not right()]
table[7] = 1e9
wrong += [not right(), not right()]
print(sum(wrong))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"


def test_a_system_that_cannot_is_asked_once(monkeypatch):
    asked = []

    def fail():
        asked.append(1)
        raise PermissionError("not allowed")

    monkeypatch.setattr(pages, "_system", None)
    monkeypatch.setattr(pages, "_known", {})
    monkeypatch.setattr(pages, "System", fail)
    for _ in range(2):
        table = np.arange(float(N))
        f, plain = total(table)
        assert f(2.0) == plain(2.0)
        table[3] = 100.0
        assert f(2.0) == plain(2.0)
    assert asked == [1]
    monkeypatch.setattr(pages, "_system", None)
    monkeypatch.setenv("DIFFSIM_WATCH_PAGES", "0")
    assert pages.watcher(table, table.copy()) is None
    assert asked == [1]

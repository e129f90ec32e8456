"""The on-disk cache: damage, strangers, races, full disks; what makes an entry another one; the command that shows and clears it."""

import errno
import hashlib
import os
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import pytest

import diffsim as ds
from diffsim import __main__ as shell
from diffsim.codegen import build, cache, engine
from diffsim.errors import CacheWarning


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty cache directory, in use."""
    path = tmp_path / "cache"
    monkeypatch.setenv("DIFFSIM_CACHE_DIR", str(path))
    monkeypatch.delenv("DIFFSIM_CACHE_MB", raising=False)
    return path


def names(place):
    return sorted(path.name for path in place.iterdir())


def test_what_is_put_is_got(place):
    assert cache.get("object", "k") is None
    assert cache.put("object", "k", b"machine code")
    assert cache.get("object", "k") == b"machine code"
    assert cache.get("loop", "k") is None
    assert place.stat().st_mode & 0o777 == 0o700
    assert names(place) == ["object-k.diffsim"]


DAMAGES = [lambda b: b[:-1], lambda b: b[:5], lambda b: b"", lambda b: b[:40] + b"x" + b[41:], lambda b: b"x" + b[1:], lambda b: b + b"x"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_counts_as_absent_and_is_rebuilt(place, damage):
    cache.put("object", "k", b"0123456789")
    entry = place / "object-k.diffsim"
    entry.write_bytes(damage(entry.read_bytes()))
    assert cache.get("object", "k") is None
    assert cache.put("object", "k", b"0123456789")
    assert cache.get("object", "k") == b"0123456789"


# ------------------------------------------------------------------ directories
def test_a_directory_that_cannot_be_used_warns_once_and_is_done_without(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("in the way")
    monkeypatch.setenv("DIFFSIM_CACHE_DIR", str(file / "cache"))
    with pytest.warns(CacheWarning, match="Every process compiles anew"):
        assert not cache.put("object", "k", b"data")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.get("object", "k") is None
        assert cache.entries() == []


def test_a_read_only_directory_is_read_and_not_written(place, monkeypatch):
    cache.put("object", "old", b"made before")
    cache._trusted.cache_clear()
    monkeypatch.setattr(os, "access", lambda path, mode: False)       # root may write anywhere: modes alone prove nothing
    with pytest.warns(CacheWarning, match="not writable"):
        assert not cache.put("object", "k", b"data")
    assert cache.get("object", "old") == b"made before"
    assert names(place) == ["object-old.diffsim"]


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners of files exist on POSIX only")
def test_a_stranger_s_directory_is_refused(place, monkeypatch):
    place.mkdir()
    (place / "object-k.diffsim").write_bytes(b"theirs")
    monkeypatch.setattr(os, "getuid", lambda: place.stat().st_uid + 1)
    with pytest.warns(CacheWarning, match="belongs to user"):
        assert cache.directory() is None
    assert cache.get("object", "k") is None
    assert not cache.put("object", "k", b"data")
    assert cache.clear() == (0, 0)
    assert names(place) == ["object-k.diffsim"]


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="modes of files exist on POSIX only")
def test_a_directory_others_may_write_to_is_closed_to_them(place):
    place.mkdir()
    place.chmod(0o777)
    assert cache.put("object", "k", b"data")
    assert place.stat().st_mode & 0o777 == 0o700


def test_a_user_without_a_home_is_told(monkeypatch):
    for name in ("DIFFSIM_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)     # what it does if neither $HOME nor the password file know
    with pytest.warns(CacheWarning, match="no home directory"):
        assert cache.directory() is None
    assert not os.path.exists("~")
    cache._trusted.cache_clear()


def test_the_cache_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("DIFFSIM_CACHE_DIR", "")
    assert cache.directory() is None
    assert not cache.put("object", "k", b"data")


def test_the_default_place_follows_the_user(tmp_path, monkeypatch):
    monkeypatch.delenv("DIFFSIM_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.directory() == tmp_path / "xdg" / "diffsim"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert cache.directory() == tmp_path / "home" / ".cache" / "diffsim"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.directory() == tmp_path / "home" / ".cache" / "diffsim"


# ------------------------------------------------------------------ full disks
class FullDisk:
    """A file on a disk without room."""

    def __init__(self, file):
        self._file = file

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

    def write(self, data):
        self._file.write(data[:10])
        self._file.flush()
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["create", "write", "rename"])
def test_a_full_disk_is_no_error(place, monkeypatch, step):
    def fail(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    assert cache.directory() == place
    fdopen = os.fdopen
    broken = {"create": (tempfile, "mkstemp", fail), "rename": (os, "replace", fail),
              "write": (os, "fdopen", lambda *args: FullDisk(fdopen(*args)))}
    monkeypatch.setattr(*broken[step])
    assert not cache.put("object", "k", b"data of some length")
    assert names(place) == []
    f = ds.jit(lambda x: x * 1.25)
    assert f(2.0) == 2.5
    assert not f.stats["cached"]
    assert names(place) == []


# ------------------------------------------------------------------ races
RACER = """
import sys
from diffsim.codegen import cache
word = sys.argv[1].encode() * 20000
bad = 0
for i in range(200):
    cache.put("object", "shared", word)
    got = cache.get("object", "shared")
    bad += got is None or len(set(got)) != 1
print(bad)
"""

BUILDER = """
import sys, time
import numpy as np, diffsim as ds
start, n = float(sys.argv[1]), int(sys.argv[2])
x = np.arange(5.0)
time.sleep(max(0.0, start - time.time()))
wrong = 0
for i in range(n):
    f = ds.jit(lambda x, k=float(i): np.sum(x * k + 1.0))
    wrong += f(x) != 10.0 * i + 5.0
print(wrong)
"""


def run_together(*commands):
    env = dict(os.environ)
    started = [subprocess.Popen([sys.executable, "-c", *command], stdout=subprocess.PIPE, text=True, env=env) for command in commands]
    return [each.communicate(timeout=120)[0].strip() for each in started]


def test_two_processes_may_write_the_same_entry_at_once(place):
    assert run_together((RACER, "a"), (RACER, "b")) == ["0", "0"]
    assert names(place) == ["object-shared.diffsim"]


def test_two_processes_may_compile_the_same_programs_at_once(place):
    start = str(time.time() + 2.0)
    assert run_together((BUILDER, start, "6"), (BUILDER, start, "6")) == ["0", "0"]
    assert len([name for name in names(place) if name.startswith("program-")]) == 6
    assert not [name for name in names(place) if name.startswith("partial-")]


# ------------------------------------------------------------------ what an entry is for
def scaled(k):
    return ds.jit(lambda x: np.sin(x) * k)


def test_programs_are_found_again_and_only_for_what_they_were_made_of(place, monkeypatch):
    x = np.ones(3)

    def cached(k=2.0, given=x):
        f = scaled(k)
        np.testing.assert_allclose(f(given), np.sin(given) * k, rtol=1e-6)
        return f.stats["cached"]

    assert not cached()
    assert cached()
    assert not cached(k=3.0)                                          # what it closes over
    assert not cached(given=np.ones(4))                               # shapes
    assert not cached(given=np.ones(3, np.float32))                   # dtypes
    changes = {
        "version of NumPy": (np, "__version__", "9.9.9"),
        "version of Numba or llvmlite": (build, "version", lambda package: "another"),
        "interpreter": (sys, "version", "4.0 another"),
        "processor": (engine, "host", lambda: ("another", "+features")),
        "sources": (build, "sources", lambda folder, root: ["another.py 1 2"]),
    }
    for what, change in changes.items():
        if what == "processor":
            continue                                                  # nothing can be compiled for it here: see below
        with monkeypatch.context() as patch:
            patch.setattr(*change)
            build.identity.cache_clear()
            assert not cached(), what
            assert cached(), what
        build.identity.cache_clear()
        assert cached(), what
    before = build.identity()
    monkeypatch.setattr(*changes["processor"])
    build.identity.cache_clear()
    assert build.identity() != before
    monkeypatch.undo()
    build.identity.cache_clear()


def test_versions_are_read_without_importing(tmp_path, monkeypatch):
    package = tmp_path / "numba"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    bare = build.version("numba")
    (package / "_version.py").write_text("version = '1'\n")
    first = build.version("numba")
    (package / "_version.py").write_text("version = '2'\n")
    assert len({bare, first, build.version("numba")}) == 3


def test_a_changed_source_makes_another_identity(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.py").write_text("x = 1\n")
    (tmp_path / "b.txt").write_text("no source")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.py").write_text("")
    before = list(build.sources(str(tmp_path), len(str(tmp_path))))
    assert [line.split()[0] for line in before] == ["/inner/a.py"]
    (tmp_path / "inner" / "a.py").write_text("x = 12\n")
    assert list(build.sources(str(tmp_path), len(str(tmp_path)))) != before


def test_an_entry_of_another_form_is_rebuilt(place):
    f = scaled(1.75)
    f(1.0)
    (entry,) = place.glob("program-*")
    key = entry.name.removeprefix("program-").removesuffix(".diffsim")
    cache.put("program", key, b'{"old": 1}\nno code')
    again = scaled(1.75)
    assert again(1.0) == f(1.0)
    assert not again.stats["cached"]


# ------------------------------------------------------------------ size
def fill(place, n, size=1_000, age=100.0):
    """Entries of 1,000 bytes used one after the other, long ago."""
    now = time.time()
    for i in range(n):
        entry = place / f"test-{i}.diffsim"
        entry.write_bytes(bytes(size))
        os.utime(entry, (now - 1e6 + age * i,) * 2)


def test_the_cache_is_trimmed_to_half_its_limit_oldest_first(place, monkeypatch):
    monkeypatch.setattr(cache, "limit", lambda: 10_000)
    assert cache.directory() == place
    fill(place, 12)
    (place / "notes.txt").write_bytes(bytes(100_000))
    os.utime(place / "notes.txt", (0, 0))
    assert cache.put("test", "new", b"x")
    cache.trim()
    left = names(place)
    assert {"notes.txt", "test-new.diffsim", "test-11.diffsim"} <= set(left)
    assert "test-0.diffsim" not in left
    assert sum(e.size for e in cache.entries()) <= 5_000


def test_a_long_process_keeps_to_the_limit_too(place, monkeypatch):
    monkeypatch.setattr(cache, "limit", lambda: 10_000)
    for i in range(40):
        assert cache.put("test", str(i), bytes(900))
        assert sum(e.size for e in cache.entries()) <= 11_000
    assert not cache.put("test", "huge", bytes(20_000))


def test_now_and_then_the_size_is_looked_at(place, monkeypatch):
    monkeypatch.setattr(cache, "limit", lambda: 10_000)
    assert cache.directory() == place
    fill(place, 12)
    looked = next(data for data in (bytes([i, j]) for i in range(256) for j in range(256)) if hashlib.sha256(data).digest()[0] == 0)
    assert cache.put("test", "k", b"another")
    assert len(names(place)) == 13
    assert cache.put("test", "k", looked)
    assert len(names(place)) == 5


def test_what_is_read_is_used(place):
    cache.put("test", "k", b"data")
    entry = place / "test-k.diffsim"
    os.utime(entry, (1000, 1000))
    cache.get("test", "k")
    assert entry.stat().st_mtime > time.time() - 60


def test_what_was_never_finished_is_dropped(place):
    assert cache.directory() == place
    for name, age in (("partial-old.diffsim", 1e5), ("partial-new.diffsim", 0.0)):
        (place / name).write_bytes(b"half")
        os.utime(place / name, (time.time() - age,) * 2)
    cache.put("test", "k", b"data")
    cache.trim()
    assert names(place) == ["partial-new.diffsim", "test-k.diffsim"]


def test_the_limit_is_the_users(monkeypatch):
    monkeypatch.setenv("DIFFSIM_CACHE_MB", "3")
    assert cache.limit() == 3 << 20
    monkeypatch.delenv("DIFFSIM_CACHE_MB")
    assert cache.limit() == cache.LIMIT_MB << 20
    monkeypatch.setenv("DIFFSIM_CACHE_MB", "much")
    with pytest.warns(CacheWarning, match="'much' is not a whole number"):
        assert cache.limit() == cache.LIMIT_MB << 20


# ------------------------------------------------------------------ the command
def test_the_command_shows_and_clears(place, capsys):
    assert shell.main(["cache"]) == 0
    assert capsys.readouterr().out.split("\n")[:2] == [f"directory  {place}", "entries    none"]
    for i in range(3):
        cache.put("program", str(i), bytes(1000))
    cache.put("loop", "a", bytes(2 << 20))
    (place / "notes.txt").write_text("the user's own")
    shell.main(["cache"])
    told = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in told.splitlines() if line}
    assert rows["directory"] == [str(place)]
    assert rows["program"] == ["3", "3.0", "kB"]
    assert rows["loop"] == ["1", "2.0", "MB"]
    assert rows["all"] == ["4", "2.0", "MB", "of", "256.0", "MB"]
    assert rows["used"][1] == time.strftime("%Y-%m-%d")
    shell.main(["cache", "clear"])
    assert "removed    4 entries, 2.0 MB" in capsys.readouterr().out
    assert names(place) == ["notes.txt"]


def test_the_command_says_when_nothing_is_kept(monkeypatch, capsys):
    monkeypatch.setenv("DIFFSIM_CACHE_DIR", "")
    shell.main(["cache"])
    assert "none: nothing is kept" in capsys.readouterr().out


def test_the_command_explains_itself(capsys):
    assert shell.main([]) == 0
    alone = capsys.readouterr().out
    assert "cache clear" in alone
    assert "diffsim.numpy.table" in alone
    with pytest.raises(SystemExit) as done:
        shell.main(["cache", "--help"])
    assert done.value.code == 0
    assert "DIFFSIM_CACHE_MB" in capsys.readouterr().out
    with pytest.raises(SystemExit) as done:
        shell.main(["cash"])
    assert done.value.code == 2
    assert "cash" in capsys.readouterr().err


def test_the_command_runs_without_a_compiler(place):
    done = subprocess.run([sys.executable, "-X", "importtime", "-m", "diffsim", "cache"], capture_output=True, text=True, check=True)
    assert "directory" in done.stdout
    assert not [name for name in ("numba", "llvmlite", "scipy") if f" {name}\n" in done.stderr]

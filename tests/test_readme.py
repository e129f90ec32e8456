"""The README's Python runs, in order, as one program; its test command is the one continuous integration runs."""

import re
from pathlib import Path

import numpy as np

import diffsim as ds
from diffsim.codegen import cache

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_blocks_run_and_fit_what_they_say(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    program = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), program)
    assert len(blocks) == 6
    assert set(program["gradient"]) == {"p", "y0"}
    assert program["best"].fun < 0.3 * program["value"]
    np.testing.assert_allclose(list(program["result"].values.values())[:4], program["best"].x["p"], rtol=1e-3)
    bounce, h = program["bounce"], 1e-6
    np.testing.assert_allclose(program["ds"].grad(bounce)(0.8), (bounce(0.8 + h) - bounce(0.8 - h)) / (2 * h), rtol=1e-6)
    printed = capsys.readouterr().out
    assert "2998 3" in printed
    assert "'equations'" in printed
    assert "def " in printed
    assert "a = 0." in printed
    assert "period = " in printed
    assert 0.0 < program["period"].stderr < 0.2 * program["period"].estimate
    np.testing.assert_allclose(program["gradient"]["p"], program["ds"].grad(program["on_mesh"])(program["theta"])["p"], rtol=1e-5)


def test_ci_finds_the_test_command():
    command = 'python -m pip install -e ".[test]" && python -m pytest -n 2'
    assert command in README.splitlines()
    pattern = re.search(r"grep -m1 -x '(.*)' README\.md", (ROOT / ".ci" / "run").read_text(encoding="utf-8")).group(1)
    assert re.fullmatch(pattern, command)


def test_what_is_said_of_the_cache_and_of_methods_is_so(monkeypatch, tmp_path):
    """The defaults and methods the page promises."""
    monkeypatch.delenv("DIFFSIM_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.directory() == tmp_path / "diffsim"
    monkeypatch.setenv("DIFFSIM_CACHE_DIR", "")
    assert cache.directory() is None
    assert f"at most {cache.LIMIT_MB} MB" in " ".join(README.split())
    table = README[README.index("| problem | methods |"):README.index("Stiff methods take")]
    for name in re.findall(r"`(\w+)`", table):
        assert name in ds.ode.METHODS or name in ("LSODA", "first_step"), name


def test_files_named_in_the_readme_exist():
    for name in re.findall(r"`((?:models|notebooks|docs)/[\w./]+|CHANGELOG\.md)`", README):
        assert (ROOT / name).exists(), name

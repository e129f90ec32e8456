"""The README's Python runs, in order, as one program; its test command is the one continuous integration runs."""

import re
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_blocks_run_and_fit_what_they_say(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    program = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), program)
    assert len(blocks) == 2
    assert set(program["gradient"]) == {"p", "y0"}
    assert program["best"].fun < 0.3 * program["value"]
    np.testing.assert_allclose(list(program["result"].values.values())[:4], program["best"].x["p"], rtol=1e-3)
    assert "a = 0." in capsys.readouterr().out


def test_ci_finds_the_test_command():
    command = 'python -m pip install -e ".[test]" && python -m pytest'
    assert command in README.splitlines()
    pattern = re.search(r"grep -m1 -x '(.*)' README\.md", (ROOT / ".ci" / "run").read_text(encoding="utf-8")).group(1)
    assert re.fullmatch(pattern, command)


def test_files_named_in_the_readme_exist():
    for name in re.findall(r"`((?:models|notebooks|docs)/[\w./]+|CHANGELOG\.md)`", README):
        assert (ROOT / name).exists(), name

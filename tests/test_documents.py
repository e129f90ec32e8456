"""Pages of docs/ whose blocks are run: what a Python block prints stands in the text block after it, if it prints anything."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ("compiled_functions", "continuous_adjoints", "ensembles", "from_scipy", "integrals", "multiple_shooting", "steady_states")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs_and_prints_what_it_says(page, tmp_path, monkeypatch, capsys):
    if page == "compiled_functions":                         # it tells what is in the cache
        monkeypatch.setenv("DIFFSIM_CACHE_DIR", str(tmp_path))
    blocks = re.findall(r"```(\w+)\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.DOTALL)
    assert {"python", "text"} == {kind for kind, _ in blocks}
    scope = {"__name__": "page"}
    for (kind, text), (following, printed) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind == "python":
            exec(compile(text, f"docs/{page}.md", "exec"), scope)
            assert capsys.readouterr().out == (printed if following == "text" else "")

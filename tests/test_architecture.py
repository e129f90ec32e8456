"""The shape of the house: floors, sizes, absences."""

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
ROOT = PROJECT / "diffsim"

FLOORS = ({"errors"}, {"tree"}, {"core", "colouring"}, {"prims"}, {"numpy", "transforms", "passes", "codegen"},
          {"control", "linalg", "seeing", "special"}, {"api"},
          {"ode", "optimize"}, {"fit"}, {"inverse"},
          {"testing"}, {"__main__"})
FLOOR = {name: n for n, names in enumerate(FLOORS) for name in names}
FILES = sorted(ROOT.rglob("*.py"))

#: Imports between packages of one floor, with their reason.
CROSSINGS = {("codegen/kernel.py", "passes"): "a kernel optimises the graph it is given, so that no caller can forget to"}

#: Over-runs with their reason.  The lists may only shrink.
LONG_FILES = {}
LONG_FUNCTIONS = {}
MAX_FILE, MAX_FUNCTION = 500, 60

#: Packages a file may import only inside a function, so that `import diffsim` stays light.
HEAVY = {"numba", "llvmlite", "scipy", "matplotlib"}


def name_of(path):
    return str(path.relative_to(ROOT))


def imports(path):
    """Yield (node, dotted target) for each import in the file, at any depth."""
    here = ("diffsim", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            for name in node.names:
                yield node, (*base, *filter(None, (node.module or "").split(".")), name.name)
        elif isinstance(node, ast.Import):
            for name in node.names:
                yield node, tuple(name.name.split("."))


def functions(path):
    return [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down(path):
    home = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if home == "__init__":
        return
    assert home in FLOOR, f"{home} stands on no floor: place it in FLOORS"
    for node, (top, *rest) in imports(path):
        if top != "diffsim":
            continue
        there = rest[0]
        down = there == home or FLOOR[there] < FLOOR[home] or (name_of(path), there) in CROSSINGS
        assert down, f"{name_of(path)}:{node.lineno}: {home} imports {there}, which stands above or beside it"
        assert there == home or not rest[-1].startswith("_"), f"{name_of(path)}:{node.lineno}: {rest[-1]} is private to {there}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_function_imports_our_own_code(path):
    """A late import of our own code hides a cycle."""
    for function in functions(path):
        for node in ast.walk(function):
            if isinstance(node, ast.ImportFrom):
                ours = node.level or (node.module or "").partition(".")[0] == "diffsim"
                assert not ours, f"{name_of(path)}:{node.lineno}"
            elif isinstance(node, ast.Import):
                assert all(n.name.partition(".")[0] != "diffsim" for n in node.names), f"{name_of(path)}:{node.lineno}"


def at_top(path):
    """Lines of the imports that run when the file is imported."""
    return {n.lineno for n in ast.parse(path.read_text()).body if isinstance(n, (ast.Import, ast.ImportFrom))}


def light_files():
    """Files the verbs need: those reached from the package and `api` by imports at the top of a file."""
    seen, todo = set(), [ROOT / "__init__.py", ROOT / "api" / "__init__.py"]
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        top = at_top(path)
        for node, target in imports(path):
            if node.lineno in top and target[0] == "diffsim":
                bases = [ROOT.joinpath(*target[1:n]) for n in range(2, len(target) + 1)]
                todo += [p for base in bases for p in (base.with_suffix(".py"), base / "__init__.py") if p.exists()]
    return sorted(seen)


@pytest.mark.parametrize("path", light_files(), ids=name_of)
def test_importing_diffsim_imports_nothing_heavy(path):
    lines = at_top(path)
    for node, (top, *_) in imports(path):
        assert top not in HEAVY or node.lineno not in lines, f"{name_of(path)}:{node.lineno} imports {top} at the top"


def test_light_files_are_found():
    names = set(map(name_of, light_files()))
    assert {"__init__.py", "api/derivatives.py", "core/tracer.py", "numpy/rebind.py"} <= names
    assert not any(n.startswith(("fit/", "testing/")) for n in names)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_is_not_too_long(path):
    allowed, _reason = LONG_FILES.get(name_of(path), (MAX_FILE, ""))
    assert len(path.read_text().splitlines()) <= allowed


def length(node):
    """Lines of a function without its docstring."""
    first = node.body[0]
    is_doc = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return node.end_lineno - node.lineno + 1 - (first.end_lineno - first.lineno + 1 if is_doc else 0)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_function_is_not_too_long(path):
    for node in functions(path):
        allowed, _reason = LONG_FUNCTIONS.get(f"{name_of(path)}:{node.name}", (MAX_FUNCTION, ""))
        assert length(node) <= allowed, f"{name_of(path)}:{node.lineno} {node.name}"


def test_exemptions_are_needed():
    for (name, there), reason in CROSSINGS.items():
        assert any(target[:2] == ("diffsim", there) for _, target in imports(ROOT / name))
        assert reason
    for name, (allowed, reason) in LONG_FILES.items():
        assert MAX_FILE < len((ROOT / name).read_text().splitlines()) <= allowed
        assert reason
    for key, (_, reason) in LONG_FUNCTIONS.items():
        name, function = key.split(":")
        assert any(n.name == function and length(n) > MAX_FUNCTION for n in functions(ROOT / name)), key
        assert reason


def test_files_named_in_the_map_exist():
    page = PROJECT / "ARCHITECTURE.md"
    named = re.findall(r"`([\w./]+\.(?:py|md|ipynb|toml|txt|json))`", page.read_text())
    assert named
    missing = [n for n in named if not any((base / n).exists() for base in (PROJECT, ROOT)) and not list(PROJECT.glob(f"*/**/{n}"))]
    assert missing == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_unfinished_is_left(path):
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", path.read_text())

"""The shape of the code that docs/architecture.md promises."""

from __future__ import annotations

import ast
import io
import re
import statistics
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "chainette-core/src/chainette"
FLOORS = [
    "cli",
    "testing",
    "loading",
    "run",
    "reports",
    "folder",
    "backend",
    "registry",
    "plugins",
    "samplers",
    "pipeline",
    "engine",
]
"""From the top down; below them are the modules of the ground."""
BACKENDS = [
    path
    for path in [*ROOT.glob("chainette-*/src/*"), *ROOT.glob("examples/*/src/*")]
    if path.is_dir() and path != CORE
]


def name_of(path: Path) -> str:
    parts = ["chainette", *path.relative_to(CORE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = sorted(path for path in CORE.rglob("*.py") if "plugin_template" not in path.parts)
MODULES = {name_of(path): path for path in PATHS}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def imports(tree: ast.AST) -> Iterator[str]:
    """Modules of the core that are imported: at the top, in functions, and for types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "chainette")


GRAPH = {name: {*imports(tree)} - {name} for name, tree in TREES.items() if name != "chainette"}
"""Imports by module. The package itself only names modules, which it imports when asked."""


def height(module: str) -> int:
    """Higher floors have higher numbers; the modules of the ground have 0."""
    parts = module.split(".")
    floor = parts[1] if len(parts) > 1 else ""
    return len(FLOORS) - FLOORS.index(floor) if floor in FLOORS else 0


def test_the_floors_are_those_of_the_documentation() -> None:
    for page in ["docs/architecture.md", "CONTRIBUTING.md"]:
        written = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", (ROOT / page).read_text(), re.MULTILINE)
        assert written == FLOORS


def test_an_import_only_goes_down() -> None:
    upward = [
        (module, imported)
        for module, targets in GRAPH.items()
        for imported in targets
        if height(imported) > height(module) or imported == "chainette"
    ]
    assert upward == []


def test_no_imports_form_a_circle() -> None:
    left = dict(GRAPH)
    while leaves := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in leaves:
            del left[name]
    assert left == {}, "these modules import one another"


def test_every_folder_has_two_to_ten_modules() -> None:
    floor = CORE / "backend.py"  # the one floor that is a module
    sizes = Counter(path.parent for path in PATHS if path.name != "__init__.py" and path != floor)
    assert {
        str(folder.relative_to(CORE)): size for folder, size in sizes.items() if not 2 <= size <= 10
    } == {}


def test_modules_and_functions_are_short() -> None:
    lengths: dict[str, int] = {}
    for module, tree in TREES.items():
        assert len(MODULES[module].read_text().splitlines()) <= 400, module
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or 0) - node.lineno + 1
                lengths[f"{module}:{node.lineno} {node.name}"] = size
    assert {name: size for name, size in lengths.items() if size > 40} == {}
    assert statistics.median(lengths.values()) <= 7


def lines_of_code(path: Path) -> int:
    """Lines with code: no blank ones, no comments, no docstrings, no imports."""
    source = path.read_text()
    other = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    ignored = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in ignored and token.type != tokenize.ENDMARKER:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - other)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda path: path.name)
def test_a_backend_is_at_most_150_lines_of_code(backend: Path) -> None:
    counted = {path.name: lines_of_code(path) for path in backend.glob("*.py")}
    counted.pop("server.py", None)  # the server of a model does not belong to its client
    project = (backend.parent.parent / "pyproject.toml").read_text()
    backends = project.count(f'= "{backend.name}"')
    assert 0 < sum(counted.values()) <= 150 * backends, counted


PLUGINS = [
    *(path for backend in BACKENDS for path in backend.rglob("*.py")),
    *CORE.glob("cli/commands/plugin_template/**/src/**/*.jinja"),
    *(ROOT / "tests/plugin_author").rglob("src/**/*.py"),
]


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_plugin_imports_one_module_of_the_core_and_calls_nothing_private(plugin: Path) -> None:
    source = plugin.read_text()
    modules = {*re.findall(r"^\s*(?:from|import) (chainette\b[\w.]*)", source, re.MULTILINE)}
    assert modules <= {"chainette.backend"}
    assert not set(re.findall(r"super\(\)\.(_\w+)", source)) - {"__init__", "_chat"}

"""The shape of the code that CONTRIBUTING.md promises."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "chainette-core/src/chainette"
FLOORS = ["testing", "cli", "run", "pipeline", "engine", "plugins"]
"""From the top down; below them are the modules of the package itself."""
BACKENDS = [
    path
    for path in [*ROOT.glob("chainette-*/src/*"), *ROOT.glob("examples/*/src/*")]
    if path.is_dir() and path != CORE
]


def test_the_floors_are_those_of_the_documentation() -> None:
    for page in ["docs/architecture.md", "CONTRIBUTING.md"]:
        written = re.findall(r"^\| `(\w+)/` \|", (ROOT / page).read_text(), re.MULTILINE)
        assert written == FLOORS


def height(module: str) -> int:
    """Higher floors have higher numbers; the modules of the ground have 0."""
    parts = module.split(".")
    floor = parts[1] if len(parts) > 1 else ""
    return len(FLOORS) - FLOORS.index(floor) if floor in FLOORS else 0


def imports(path: Path) -> Iterator[str]:
    """Modules that are imported when this one is; what a function imports comes later."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda p: str(p.relative_to(CORE)))
def test_an_import_only_goes_down(path: Path) -> None:
    module = ".".join(["chainette", *path.relative_to(CORE).with_suffix("").parts])
    own = [name for name in imports(path) if name.split(".")[0] == "chainette"]
    assert [name for name in own if height(name) > height(module)] == []


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
    counted.pop("server.py", None)  # the server of a model is no part of its client
    project = (backend.parent.parent / "pyproject.toml").read_text()
    backends = project.count(f'= "{backend.name}"')
    assert 0 < sum(counted.values()) <= 150 * backends, counted


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda p: str(p.relative_to(CORE)))
def test_modules_stay_under_400_lines_and_functions_fit_on_a_screen(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) < 400
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name

